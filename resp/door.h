/* door.h - the parts of the door among themselves: server, loops, connections,
 * workers.
 *
 * A connection belongs to one loop, from accept to close; only that loop's
 * thread touches it. Others leave word in the loop's post box and wake it:
 * the log thread (a gate is open), workers (a job is done), other loops'
 * commands (CLIENT KILL, MONITOR).
 *
 * One turn of a loop: wait; read and run what came, connection by connection;
 * then send. Replies that wait for the log are kept with their tickets; one
 * waiter for the whole loop stands at the gate.
 *
 * Locks: loop->post_lock (POST), pool->lock (DOOR). */
#ifndef KVSQL_RESP_DOOR_H
#define KVSQL_RESP_DOOR_H

#include <stdatomic.h>
#include <stddef.h>

#include "command/client.h"
#include "kvsql/base/listen.h"
#include "kvsql/base/lock.h"
#include "resp/parse.h"
#include "resp/resp.h"

struct epoll_event;

#define RESP_LOOPS_MAX 64
#define RESP_WORKERS_MAX 64
#define RESP_READ_SIZE ((size_t)64 << 10)   /* of one recv into the loop's
                                               buffer */
#define RESP_READ_MAX ((size_t)1 << 20)     /* of one recv of a large argument */
#define RESP_INPUT_MAX ((size_t)1 << 30)    /* client-query-buffer-limit */
#define RESP_OUTPUT_PAUSE ((size_t)64 << 20) /* bytes that wait: run no more */
#define RESP_OUTPUT_MAX ((size_t)4 << 30)   /* ... and the end of patience */
#define RESP_PUSH_MAX ((size_t)32 << 20)    /* bytes of MONITOR that wait, or
                                               of invalidations */
#define RESP_REPLY_MAX ((size_t)2 << 30)    /* of one reply that a worker
                                               makes, or of a part */
#define RESP_AHEAD ((size_t)1 << 20)        /* of a reply in parts: bytes that
                                               wait when the next is made */
#define RESP_EAGER_NS 1000000000ull         /* takes nothing for so long: it may
                                               want to be done writing first */
#define RESP_OUTPUT_KEEP ((size_t)512)      /* kept by an idle connection */
#define RESP_STALL_NS 10000000000ull        /* reads nothing for so long */
#define RESP_HALF_NS 1000000000ull          /* a worker works so long for one
                                               that may be gone (L6) */
#define RESP_TAKE_NS 20000000000ull         /* a request must be there after
                                               this, and a second for each */
#define RESP_PIPE_NS 100000ull          /* about the longest that one connection
                                           keeps the store from others */
#define RESP_TAKE_RATE ((size_t)32 << 10)   /* ... of so many bytes */

struct resp_loop;

/* A reply that may not go yet: where it begins, and what it waits for. */
struct resp_mark {
    uint64_t start; /* offset in the stream of output */
    struct kv_ticket ticket;
};

enum resp_hold {
    RESP_HOLD_NO,
    RESP_HOLD_WORK,  /* a worker has its command */
    RESP_HOLD_BLOCK, /* it waits until something is there: block.c */
    RESP_HOLD_PAUSE  /* CLIENT PAUSE */
};

/* CLIENT UNBLOCK, and how it is answered. */
enum resp_unblock {
    RESP_UNBLOCK_NO,
    RESP_UNBLOCK_TIMEOUT,
    RESP_UNBLOCK_ERROR
};

struct resp_conn {
    struct cmd_client client; /* first: the client is the connection */
    struct resp_loop *loop;
    struct resp_conn *next, **link;          /* of the loop */
    struct resp_conn *gated_next, *ready_next, *paused_next;
    int fd;
    uint32_t events; /* what epoll is asked for */
    uint32_t window; /* the last in which it sent something (wait.c) */
    enum resp_hold hold;
    bool gated, ready, paused; /* on the lists above */
    bool closed;               /* to be freed at the end of the turn */
    bool gone;                 /* all that will come is read */
    bool more;                 /* there may be input that nobody was told of */
    bool half;                 /* the other side has said that it is done */
    uint64_t half_ns;          /* ... and a worker has had its command since */

    struct resp_parser *parser; /* of a request that has begun, or NULL */
    struct kv_buf in;           /* input that is not run yet */
    size_t in_at;               /* ... of which so much is done with */
    uint64_t begun_ns;          /* when the request that is not whole began */
    uint64_t begun_bytes;       /* ... and what has come of it */

    struct kv_buf out;
    size_t out_at;         /* bytes of out that are sent */
    uint64_t out_start;    /* offset of out.p[0] in the stream */
    struct kv_buf marks;   /* struct resp_mark, by start */
    size_t mark_first;     /* index of the first that is not open */
    struct resp_job *job;  /* with a worker, or resting; or NULL */
    bool flowing;          /* parts of a reply are sent, others are to come */
    bool eager;            /* its client takes nothing: make more for it */
    uint64_t stalled_ns;   /* since when nothing could be sent, 0 = not */
    uint64_t over_ns;      /* ... or more than the soft limit waited */

    _Atomic uint64_t shown_in, shown_out; /* for CLIENT LIST */

    bool push_kept;        /* what was posted waits: push.c */
    bool resume;           /* it waits no more: run what stands behind that */
    uint64_t until_ns;     /* while it waits: its end, 0 = never */
    size_t heap_at;        /* 1 + its place in the loop's heap, 0 = not there */

    atomic_bool pushed;    /* post_push is not empty; changes under its lock */
    /* under loop->post_lock */
    bool post_kill, posted;
    bool post_over;          /* more messages than the limit: it goes */
    bool woken;              /* on the loop's list: look again */
    enum resp_unblock post_unblock;
    struct resp_conn *woken_next;
    struct kv_buf post_push; /* struct push_head and bytes, by position */
    struct kv_buf post_behind; /* ... without one */
    struct resp_conn *post_next;
};

/* A command on its way through a worker. Its reply may come in parts
 * (cmd_slice): between two of them it rests with the loop until the client has
 * taken what there is. */
struct resp_job {
    struct resp_job *next;
    struct resp_conn *conn;
    kvsql *db;
    struct vt_session *session; /* while it runs: to interrupt it (pool lock) */
    atomic_bool cancelled;
    struct kv_buf out;       /* the reply in bytes, or a part of it */
    struct cmd_reply reply;  /* ... as it is written */
    struct cmd_slice slice;  /* what is to come */
    struct kv_ticket ticket;
    bool failed;             /* no memory for the reply */
    bool resting;            /* the loop's */
    struct kvsql_error why;  /* rc not OK: no part comes after those sent */
};

/* What a loop knows of its waiting. */
struct resp_wait {
    uint64_t since_ns;      /* when the window began */
    uint64_t reads, active; /* in it: times that input came, and from how many
                               connections */
    uint64_t nap_ns;        /* what the last window allows, 0 = none */
    uint32_t window;        /* its number */
    uint32_t skipped;       /* times that it did not look again */
    unsigned worth;         /* of looking again */
    bool found;             /* the turn that is over had something to do */
    bool naps;              /* the system can */
};

struct resp_loop {
    struct resp_server *server;
    struct kv_thread thread;
    int epoll, wake;

    struct resp_conn *first;
    struct resp_conn *gated, **gated_last;  /* replies wait for the log */
    struct resp_conn *ready;                /* have something to send */
    struct resp_conn *pausing;              /* held by CLIENT PAUSE */
    uint8_t *scratch;                       /* RESP_READ_SIZE bytes */
    struct resp_parser parser;
    struct cmd_pipe pipe;                   /* the one that runs */
    struct resp_run run;                    /* ... and its requests */
    struct cmd_request requests[RESP_RUN_MAX];
    struct kv_ticket open;                  /* the last that was seen open */
    struct resp_listening *listening; /* what it looks at, or NULL */
    uint64_t now_ns, swept_ns, accept_again_ns;
    struct resp_wait wait;
    struct kv_waiter waiter;
    bool waiting;
    struct resp_conn **heap; /* those that wait, by until_ns (block.c) */
    size_t heap_count, heap_cap;
    atomic_bool has_woken;   /* woken_first is set; changes under post_lock */

    struct kv_lock post_lock;
    struct resp_conn *post;          /* kill, push */
    struct resp_conn *woken_first, **woken_last; /* wait, and are to look */
    struct resp_job *done, **done_last;
    bool gate_opened, stop, woken, relisten;
};

/* Sockets that are listened on. They go with the last user: the server, each
 * loop. */
struct resp_listening {
    struct kv_listeners set;
    unsigned users; /* under listen_lock */
};

struct resp_worker {
    struct resp_server *server;
    struct kv_thread thread;
    struct vt_session *session;
    bool running; /* a command of a client, on the session (pool lock) */
};

struct resp_server {
    _Atomic(kvsql *) db;
    struct kv_lock listen_lock;       /* POST */
    struct resp_listening *listening; /* under it: what is to be looked at */
    struct resp_limits limits, anonymous;
    struct resp_config config;
    struct resp_loop loops[RESP_LOOPS_MAX];
    unsigned loop_count;
    _Atomic unsigned connections, connection_max;
    _Atomic uint64_t idle_ms, keepalive_s; /* as in resp.h */
    _Atomic uint64_t pubsub_hard, pubsub_soft, pubsub_soft_s;
    atomic_bool stopping;

    struct kv_lock pool_lock;
    struct kv_cond pool_more;
    struct resp_job *queue, **queue_last;
    bool pool_closed;
    struct resp_worker workers[RESP_WORKERS_MAX];
    unsigned worker_count;
};

/* ---- loop.c -------------------------------------------------------------- */

KV_INTERNAL kvsql_rc resp_loop_start(struct resp_loop *loop,
                                     struct kvsql_error *err) KV_MUST_USE;
/* Behind resp_post_stop: wait for the thread to end, and free all. */
KV_INTERNAL void resp_loop_fini(struct resp_loop *loop);
/* The connection has something to send, or to be closed: look at it at the
 * end of the turn. The loop's thread. */
KV_INTERNAL void resp_loop_ready(struct resp_conn *conn);
KV_INTERNAL void resp_loop_gated(struct resp_conn *conn);
KV_INTERNAL void resp_loop_paused(struct resp_conn *conn);
/* Everybody who waits for the log: look again, at the end of the turn. */
KV_INTERNAL void resp_loop_look_at_gated(struct resp_loop *loop);

/* ---- wait.c -------------------------------------------------------------- */

/* Of the calling thread's loop, which begins now. */
KV_INTERNAL void resp_wait_init(struct resp_wait *wait, uint64_t now_ns);
/* epoll_wait, for `rest_ms` milliseconds at most; what is found and returned is
 * as there. The turn that is over began at loop->now_ns. */
KV_INTERNAL int resp_wait(struct resp_loop *loop, struct epoll_event *events,
                          int most, int rest_ms);
/* How long a nap may be where so many reads of so many connections took
 * `elapsed_ns`; 0 where it does not pay. */
KV_INTERNAL uint64_t resp_wait_nap_ns(uint64_t elapsed_ns, uint64_t reads,
                                      uint64_t active);

/* The connection has sent something. */
static inline void resp_wait_note(struct resp_conn *conn)
{
    struct resp_wait *wait = &conn->loop->wait;

    wait->reads++;
    if (conn->window != wait->window) {
        conn->window = wait->window;
        wait->active++;
    }
}

/* ---- block.c ------------------------------------------------------------- */

/* The connection has begun to wait; its request is in conn->parser. */
KV_INTERNAL void resp_block_begin(struct resp_conn *conn);
/* The connection goes. */
KV_INTERNAL void resp_block_leave(struct resp_conn *conn);
/* Any thread, post_lock held: the connection is to look again. */
KV_INTERNAL void resp_block_wake(struct resp_conn *conn);
/* All that were woken look. No txn is open, and no connection has begun to wait and
 * has not kept its request yet. */
KV_INTERNAL void resp_block_serve(struct resp_loop *loop);
/* The time of some is over. */
KV_INTERNAL void resp_block_expire(struct resp_loop *loop);
/* Milliseconds until then, at most so many. */
KV_INTERNAL int resp_block_rest_ms(const struct resp_loop *loop, int most);

/* ---- post.c -------------------------------------------------------------- */

extern const struct cmd_door resp_post_door;
/* Any thread: a job is done, or a part of it. */
KV_INTERNAL void resp_post_job_done(struct resp_loop *loop,
                                    struct resp_job *job);
/* The log thread: what the loop's waiter stood for is decided. */
KV_INTERNAL void resp_post_gate_done(struct kv_waiter *waiter, kvsql_rc rc);
/* There are other sockets to listen on. Any thread. */
KV_INTERNAL void resp_post_listen(struct resp_loop *loop);
/* Any thread: the loop's is to end. */
KV_INTERNAL void resp_post_stop(struct resp_loop *loop);
/* The loop: all that was left for it. False: it is to end. */
KV_INTERNAL bool resp_post_take(struct resp_loop *loop);
/* What is in the list of jobs goes to its connections, or rests, or is freed.
 * The loop, or nobody else any more. */
KV_INTERNAL void resp_post_take_jobs(struct resp_job *job);

/* ---- listen.c ------------------------------------------------------------ */

/* The loop uses what the server listens on; uses it no more; uses what is new. */
KV_INTERNAL void resp_listen_enter(struct resp_loop *loop);
KV_INTERNAL void resp_listen_leave(struct resp_loop *loop);
KV_INTERNAL void resp_listen_switch(struct resp_loop *loop);

/* ---- accept.c ------------------------------------------------------------ */

/* Take what waits at a listener. */
KV_INTERNAL void resp_accept(struct resp_loop *loop,
                             const struct kv_listener *listener);
/* Take what waits at all of them, and look no more; look at them from now on. */
KV_INTERNAL void resp_accept_last(struct resp_loop *loop);
KV_INTERNAL void resp_accept_first(struct resp_loop *loop);
/* Look at the listeners again, after a time without descriptors to spare. */
KV_INTERNAL void resp_accept_again(struct resp_loop *loop);

/* ---- conn.c -------------------------------------------------------------- */

/* fd is the connection's from here. NULL: no memory, fd is closed. */
KV_INTERNAL struct resp_conn *resp_conn_new(struct resp_loop *loop, int fd);
/* Its client is closed, and it is on no list but the loop's. */
KV_INTERNAL void resp_conn_free(struct resp_conn *conn);
/* There is something to read. */
KV_INTERNAL void resp_conn_readable(struct resp_conn *conn);
/* Run what stands in conn->in. */
KV_INTERNAL void resp_conn_resume(struct resp_conn *conn);
/* Give back what of conn->in is done with. */
KV_INTERNAL void resp_conn_trim(struct resp_conn *conn);
/* Its request is over, or goes with it. */
KV_INTERNAL void resp_conn_parser_drop(struct resp_conn *conn);
/* Set what epoll looks for. */
KV_INTERNAL void resp_conn_watch(struct resp_conn *conn);

/* ---- part.c -------------------------------------------------------------- */

/* A job of the connection is done; job->out is taken. */
KV_INTERNAL void resp_part_last(struct resp_conn *conn, struct resp_job *job);
/* A part is done, others are to come: the job rests, or goes on at once. */
KV_INTERNAL void resp_part_some(struct resp_conn *conn, struct resp_job *job);
/* The next part, when a job rests and its client has taken enough. */
KV_INTERNAL void resp_part_feed(struct resp_conn *conn);
/* Once in a second: why a reply in parts cannot go on, or NULL. */
KV_INTERNAL const char *resp_part_rests(struct resp_conn *conn,
                                        struct kvsql_error *err);

/* ---- send.c -------------------------------------------------------------- */

/* The reply, which stands in conn->out already, may go when its ticket is
 * open. */
KV_INTERNAL void resp_send_reply(struct resp_conn *conn,
                                 struct cmd_reply *reply,
                                 struct kv_ticket ticket);
/* The reply that was just put in may go, and so may one for which the same
 * ticket is asked. */
KV_INTERNAL bool resp_send_flows(const struct resp_conn *conn,
                                 struct kv_ticket ticket);
/* Bytes that are a reply already; bytes that are none. */
KV_INTERNAL void resp_send_bytes(struct resp_conn *conn, const void *p,
                                 size_t size, struct kv_ticket ticket);
/* The same; what is in a buffer of KV_MEM_CLIENT is not copied when nothing else
 * waits, and the buffer is empty then. */
KV_INTERNAL void resp_send_take(struct resp_conn *conn, struct kv_buf *bytes,
                                struct kv_ticket ticket);
/* More of the reply that was put in last. */
KV_INTERNAL void resp_send_more(struct resp_conn *conn, const void *p,
                                size_t size);
/* "-ERR ..." by itself. */
KV_INTERNAL void resp_send_error(struct resp_conn *conn, const char *text);
/* Send what may go. Sets closed when the other side is gone. */
KV_INTERNAL void resp_send_some(struct resp_conn *conn);
/* Whether replies wait for the log; *ticket is the first one's. */
KV_INTERNAL bool resp_send_is_gated(const struct resp_conn *conn,
                                    struct kv_ticket *ticket);
/* Bytes that wait, with those that tell what for. */
KV_INTERNAL size_t resp_send_waiting(const struct resp_conn *conn);

/* ---- push.c -------------------------------------------------------------- */

/* Any thread, post_lock held. */
KV_INTERNAL void resp_push_add(struct resp_conn *conn,
                               const struct cmd_push *push);
/* There was no memory for one of them, or too much of MONITOR waits. post_lock
 * held. */
KV_INTERNAL bool resp_push_failed(const struct resp_conn *conn);
/* Move what may come before a reply that tells of the state at `position` to
 * the end of `out`; with CMD_PUSH_BEHIND all. post_lock is taken. */
KV_INTERNAL void resp_push_take(struct resp_conn *conn, uint64_t position,
                                struct kv_buf *out);
/* Add what was posted about values by others to the end of `out`; it stays
 * posted. post_lock is taken. */
KV_INTERNAL void resp_push_copy(struct resp_conn *conn, struct kv_buf *out);
/* All that was posted goes behind the replies, now or when a worker is done
 * and the output has been read. */
KV_INTERNAL bool resp_push_waits(const struct resp_conn *conn);
KV_INTERNAL void resp_push_send(struct resp_conn *conn);
/* Once in a second: has more than the soft limit waited for too long? */
KV_INTERNAL bool resp_push_is_over(struct resp_conn *conn);
/* It is to be closed, for it does not read what it has subscribed to. */
KV_INTERNAL void resp_push_complain(const struct resp_conn *conn);

/* ---- work.c -------------------------------------------------------------- */

KV_INTERNAL kvsql_rc resp_work_start(struct resp_server *server,
                                     struct kvsql_error *err) KV_MUST_USE;
/* No more jobs, interrupt what runs, wait for the threads. */
KV_INTERNAL void resp_work_stop(struct resp_server *server);
/* Give the request that conn->parser holds to a worker. False: no memory, or
 * the workers have ended. */
KV_INTERNAL bool resp_work_give(struct resp_conn *conn);
/* A job that rested goes on. False: the workers have ended. */
KV_INTERNAL bool resp_work_again(struct resp_job *job);
/* Free a job that no worker has. */
KV_INTERNAL void resp_work_free(struct resp_job *job);
/* The connection is gone: interrupt what runs for it. */
KV_INTERNAL void resp_work_cancel(struct resp_conn *conn);

#endif

/* context.h - one running command, and the help that all handlers share.
 *
 * A handler reads its arguments from the context, reads and changes the store
 * through it and leaves one value in the reply. It says "no" through
 * cmd_fail() or cmd_fail_rc(), which throw away what was written of the reply;
 * the dispatcher (command.c) then takes the changes back. So a handler may
 * return at any point and never cleans up the store.
 *
 * Thread: the caller's of cmd_run(). */
#ifndef KVSQL_COMMAND_CONTEXT_H
#define KVSQL_COMMAND_CONTEXT_H

#include <stddef.h>
#include <string.h>

#include "command/command.h"
#include "command/stats.h"

struct cmd_client;
struct cmd_embed;
struct cmd_later;
struct cmd_slice;
struct cmd_pipe;
struct vt_session;

struct cmd_context {
    const struct cmd_row *row;
    unsigned argc;
    const kvsql_slice *argv;
    struct cmd_reply *reply;
    kvsql *db;
    struct kv_txn *txn;      /* NULL: on a view, or a control command */
    const struct kv_at *view; /* where to read without a txn */
    const struct kv_view *pinned; /* ... that of this view */
    struct cmd_slice *slice; /* the answer may be made in slices, or NULL */
    const struct cmd_embed *embed; /* it is a part of a statement, or NULL */
    kvsql_rc stopped;        /* why the work was given up: c->err */
    unsigned steps;          /* of loops, for a look at that now and then */
    struct kv_at at;         /* where cmd_get() read last */
    struct cmd_client *client;  /* the connection, or NULL */
    struct vt_session *session; /* for SQL, or NULL */
    struct kv_ticket *ticket;   /* for handlers that make a batch themselves */
    struct cmd_later *later;    /* of a transaction: for when it is over */
    struct cmd_pipe *pipe;      /* commands around it that share a txn, or NULL */
    const struct kv_key *near;  /* its key, looked up already, or NULL */
    bool read_only;          /* the way in only reads: a read keeps nothing */
    bool has_room;           /* made for a whole batch (cmd_make_room) */
    bool may_defer;          /* on the live tree, and a view could be had */
    bool deferred;           /* the handler asked for a view, or ... */
    bool waits;              /* ... to wait: it stands in the queues */
    /* from here on it is not cleared */
    struct kv_mark began;    /* cmd_execute_in: where to go back to */
    struct kvsql_error err;  /* for effects */
};

/* A context with nothing done; its error stays as it is, for it is large. */
static inline void cmd_context_init(struct cmd_context *c, kvsql *db,
                                    unsigned argc, const kvsql_slice *argv,
                                    struct cmd_reply *reply)
{
    memset(c, 0, offsetof(struct cmd_context, began));
    c->err.text[0] = '\0';
    c->db = db;
    c->argc = argc;
    c->argv = argv;
    c->reply = reply;
}

/* Elements or keys up to which a command works on the live tree, under the
 * lock; above, CMD_LONG commands move to a view. */
#define CMD_LIVE_MAX 1024

#define CMD_TEXT_WRONGTYPE                                                    \
    "WRONGTYPE Operation against a key holding the wrong kind of value"
#define CMD_TEXT_NOTINT "ERR value is not an integer or out of range"
#define CMD_TEXT_NOTFLOAT "ERR value is not a valid float"
#define CMD_TEXT_SYNTAX "ERR syntax error"
#define CMD_TEXT_OVERFLOW "ERR increment or decrement would overflow"
#define CMD_TEXT_STRING_TOOBIG                                                \
    "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
#define CMD_TEXT_NAN "ERR increment would produce NaN or Infinity"

/* ---- saying no ---------------------------------------------------------- */

/* Replace the reply by one error: the whole line, prefix first. */
KV_INTERNAL void cmd_fail(struct cmd_context *c, kvsql_rc rc,
                          const char *format, ...) KV_PRINTF(3, 4);
/* The same for what an effect answered: its sentence is in c->err. */
KV_INTERNAL void cmd_fail_rc(struct cmd_context *c, kvsql_rc rc);
KV_INTERNAL void cmd_fail_syntax(struct cmd_context *c);
/* The command's name as answers show it. */
#define CMD_NAME_MAX 48
KV_INTERNAL const char *cmd_name(const struct cmd_context *c,
                                 char out[CMD_NAME_MAX]);
KV_INTERNAL void cmd_fail_arity(struct cmd_context *c);
KV_INTERNAL void cmd_fail_nomem(struct cmd_context *c);
/* True when an effect succeeded, else answers for it. */
static inline bool cmd_ok(struct cmd_context *c, kvsql_rc rc)
{
    if (KV_LIKELY(rc == KVSQL_OK)) {
        return true;
    }
    cmd_fail_rc(c, rc);
    return false;
}

/* ---- arguments ---------------------------------------------------------- */

KV_INTERNAL struct kv_key cmd_key(const struct cmd_context *c, unsigned index);
KV_INTERNAL bool cmd_letters_are(const char *p, const char *word, size_t size);
/* True when the slice is `word` (upper case), in any case. */
static inline bool cmd_word_is(kvsql_slice slice, const char *word)
{
    return slice.size == strlen(word) &&
           cmd_letters_are((const char *)slice.p, word, slice.size);
}
/* The same of argument `index`, if there is one. */
static inline bool cmd_is(const struct cmd_context *c, unsigned index,
                          const char *word)
{
    return index < c->argc && cmd_word_is(c->argv[index], word);
}
/* Each answers with `text` (NULL: the usual sentence) and returns false when
 * the argument is none. */
KV_INTERNAL bool cmd_int(struct cmd_context *c, unsigned index, int64_t *out,
                         const char *text);
KV_INTERNAL bool cmd_int_within(struct cmd_context *c, unsigned index,
                                int64_t low, int64_t high, int64_t *out,
                                const char *text);
KV_INTERNAL bool cmd_double(struct cmd_context *c, unsigned index, double *out,
                            const char *text);

/* A word that turns something on, wherever it stands among others. */
struct cmd_switch {
    const char *word;
    bool *on;
};
/* Turn on what the arguments from `index` on name, up to the first that is
 * none of the words; its index. */
KV_INTERNAL unsigned cmd_switches(const struct cmd_context *c, unsigned index,
                                  const struct cmd_switch *switches,
                                  unsigned count);

/* key [count]: *count stays what it is without one. *rc tells whether the key
 * is there, with *item, or NOTFOUND. False: answered. */
KV_INTERNAL bool cmd_pop_parse(struct cmd_context *c, enum kv_type type,
                               int64_t *count, struct kv_item *item,
                               kvsql_rc *rc);

/* numkeys key [key ...] <low | high> [COUNT count] */
struct cmd_mpop {
    unsigned first, keys; /* arguments */
    bool high;            /* the second of the two words */
    uint64_t count;       /* at most so many, > 0 */
};
/* From argument `index` on. False: answered. */
KV_INTERNAL bool cmd_mpop_parse(struct cmd_context *c, unsigned index,
                                const char *low, const char *high,
                                struct cmd_mpop *m);

/* ---- pops that may wait (block.c) --------------------------------------- */

/* Which keys such a command names, and how long it waits for one of them. */
struct cmd_wait {
    unsigned first, keys;  /* arguments */
    enum kv_type type;     /* what is waited for */
    uint64_t timeout_ms;   /* 0 = for ever */
    bool single;           /* without one the answer is null, not no array */
};
/* Argument `index` as seconds. False: answered. */
KV_INTERNAL bool cmd_wait_timeout(struct cmd_context *c, unsigned index,
                                  struct cmd_wait *w);
/* The argument of the n-th key to look at, from 0 on; 0: there are no more. The
 * first time all in order; when it has waited the one of which it was told first, of
 * those that have what it waits for. */
KV_INTERNAL unsigned cmd_wait_key(const struct cmd_context *c,
                                  const struct cmd_wait *w, unsigned n);
/* As cmd_get_type(), but what others wait for already is not there; and when it has
 * waited, neither is what has another type. */
KV_INTERNAL kvsql_rc cmd_wait_get(struct cmd_context *c,
                                  const struct cmd_wait *w,
                                  const struct kv_key *key,
                                  struct kv_item *item);
/* Nothing is there: the handler returns behind this. It waits, or is answered where
 * nobody waits: in a transaction, over HTTP, inside SQL. */
KV_INTERNAL void cmd_wait(struct cmd_context *c, const struct cmd_wait *w);
/* It waits no more; others may have what it was told of. Fine when it does not
 * wait. */
KV_INTERNAL void cmd_block_end(struct cmd_client *client);

/* ---- reading ------------------------------------------------------------ */

/* Refresh c->at and look the key up. */
KV_INTERNAL bool cmd_get(struct cmd_context *c, const struct kv_key *key,
                         struct kv_item *item);
/* KVSQL_OK found, KVSQL_NOTFOUND absent (nothing answered), KVSQL_WRONGTYPE
 * (answered). */
KV_INTERNAL kvsql_rc cmd_get_type(struct cmd_context *c,
                                  const struct kv_key *key, enum kv_type type,
                                  struct kv_item *item);
/* n <= KV_BATCH_MAX keys at once: arguments first, first + step, ... */
KV_INTERNAL void cmd_get_batch(struct cmd_context *c, unsigned first,
                               unsigned step, unsigned n,
                               struct kv_item *items, bool *found);
/* The key stays as it is, and counts as changed for who watches or tracks it.
 * False: answered. */
KV_INTERNAL bool cmd_touch(struct cmd_context *c, const struct kv_key *key,
                           const struct kv_item *item);
/* Wall ms of the command; the same during one batch. */
KV_INTERNAL int64_t cmd_wall(struct cmd_context *c);
/* True: `count` elements are much, a view can be had, and the handler must
 * return at once without a reply; it will be called again on a view. */
KV_INTERNAL bool cmd_defer(struct cmd_context *c, uint64_t count);

/* ---- long answers (slice.c) ---------------------------------------------- */

KV_INTERNAL bool cmd_still_wanted(struct cmd_context *c);
#define CMD_CHECK_EVERY 1024 /* steps between looks at who still wants it */
/* For loops that may be long: false when the reply has failed, the client has
 * left, the view was ended or the statement around it is to end. What was written is thrown away then. */
static inline bool cmd_goes_on(struct cmd_context *c)
{
    return !cmd_reply_failed(c->reply) &&
           (++c->steps % CMD_CHECK_EVERY != 0 || cmd_still_wanted(c));
}
KV_INTERNAL bool cmd_slice_is_full(const struct cmd_context *c);
/* The same; also false when a slice of the answer is full. */
KV_INTERNAL bool cmd_slice_room(struct cmd_context *c);
/* Makes a slice of the answer; true when that was the last. */
typedef bool (*cmd_slice_fn)(struct cmd_context *c, void *state);
/* Zeroed memory for what goes on behind the first slice; it does not move. Not
 * without c->slice. NULL: answered. */
KV_INTERNAL void *cmd_slice_new(struct cmd_context *c, size_t size);
/* The same, and `state` moves there: no pointer into itself may be in it. What
 * it holds is no longer the caller's, whose copy is zeroed; `fini` gives it back.
 * NULL: answered, and all is as it was. */
KV_INTERNAL void *cmd_slice_take(struct cmd_context *c, void *state,
                                 size_t size, void (*fini)(void *state));
/* The first slice, now; `more` will be called again while it says false. */
KV_INTERNAL void cmd_slice_run(struct cmd_context *c, cmd_slice_fn more);
typedef void (*cmd_put_fn)(struct cmd_context *c, const struct kv_elem *elem);
/* The `count` elements of an item from a rank on, or backwards, in slices; they
 * are there. Behind the header. */
KV_INTERNAL void cmd_slice_elems(struct cmd_context *c,
                                 const struct kv_item *item,
                                 enum kv_elem_order order, uint64_t rank,
                                 bool back, uint64_t count, cmd_put_fn put);

/* Values that are made one by one: first in what makes them. */
struct cmd_each {
    uint64_t next, end;
    void (*put)(struct cmd_context *c, void *state, uint64_t index);
};
/* put(next) .. put(end - 1), behind the header; in slices, if the answer may be:
 * then what is `size` bytes from `each` on moves as in cmd_slice_take(). Where it
 * stays, it is the caller's to give back. */
KV_INTERNAL void cmd_answer_each(struct cmd_context *c, struct cmd_each *each,
                                 size_t size, void (*fini)(void *state));

/* The value of argument `index`; item NULL: its key is absent. */
typedef void (*cmd_put_arg_fn)(struct cmd_context *c,
                               const struct kv_item *item, unsigned index);
/* An array with a value for each argument behind the key, in slices when they
 * are many. */
KV_INTERNAL void cmd_answer_args(struct cmd_context *c, enum kv_type type,
                                 cmd_put_arg_fn put);

/* ---- replies ------------------------------------------------------------ */

KV_INTERNAL void cmd_answer_ok(struct cmd_context *c);
KV_INTERNAL void cmd_answer_val(struct cmd_context *c,
                                const struct kv_val *value);
/* Number of elements of the key, 0 when it is absent. */
KV_INTERNAL void cmd_answer_length(struct cmd_context *c, enum kv_type type);
/* kv_sadd, kv_srem, kv_zrem, kv_hdel */
typedef kvsql_rc (*cmd_element_fn)(struct kv_txn *txn, const struct kv_key *key,
                                   const struct kv_key *element, bool *changed,
                                   struct kvsql_error *err);
/* The effect on each of the arguments behind the key; how many it changed. */
KV_INTERNAL void cmd_answer_elements(struct cmd_context *c,
                                     cmd_element_fn effect);

/* ---- elements copied out (elements.c) ------------------------------------ */

/* A run of byte strings, each with numbers, copied out of the store so that
 * the store can be changed while they are walked. Owner: the handler. */
struct cmd_list {
    struct kv_buf bytes; /* u32 size | double score | i64 number | bytes ... */
    struct kv_buf at;    /* u64 offset of each */
    uint64_t count;
};
struct cmd_list_item {
    const uint8_t *p;
    size_t size;
    double score;
    int64_t number; /* an expiry or an index */
};
/* Bytes that a command may copy out of the store at a time. */
#define CMD_LIST_MAX ((size_t)1 << 30)
KV_INTERNAL void cmd_list_init(struct cmd_list *list);
KV_INTERNAL void cmd_list_fini(struct cmd_list *list);
KV_INTERNAL void cmd_list_add(struct cmd_list *list, const void *p, size_t size,
                              double score, int64_t number);
KV_INTERNAL struct cmd_list_item cmd_list_at(const struct cmd_list *list,
                                             uint64_t index);
/* False, and answered, when something did not fit. */
KV_INTERNAL bool cmd_list_ok(struct cmd_context *c,
                             const struct cmd_list *list);
/* By score, then bytes. False: answered. */
KV_INTERNAL bool cmd_list_sort(struct cmd_context *c, struct cmd_list *list);
/* As qsort_r(), but it stops when nobody wants the answer any more. Takes as much
 * memory again. False: answered, and the order is none. */
KV_INTERNAL bool cmd_sort(struct cmd_context *c, void *base, uint64_t count,
                          size_t size,
                          int (*compare)(const void *, const void *, void *),
                          void *arg);
/* Replace argument `index` by a set, or a sorted set, of the elements, and
 * answer with their number. */
KV_INTERNAL void cmd_list_store(struct cmd_context *c, unsigned index,
                                enum kv_type type,
                                const struct cmd_list *list);
/* Remove the elements from a sorted set. False: answered. */
KV_INTERNAL bool cmd_list_zrem(struct cmd_context *c, const struct kv_key *key,
                               const struct cmd_list *list);

/* ---- elements by chance (elements.c) ------------------------------------- */

/* Uniform in [0, below); below > 0. */
KV_INTERNAL uint64_t cmd_random(uint64_t below);
/* Put a cursor in KEY order on an element by chance. False: all fields have
 * expired. */
KV_INTERNAL bool cmd_seek_random(struct kv_elems *elems);
/* key [count [with]], `with` NULL: two arguments at most. */
KV_INTERNAL void cmd_answer_random(struct cmd_context *c, enum kv_type type,
                                   const char *with);

/* ---- sets made of sets (algebra.c) --------------------------------------- */

enum cmd_algebra { CMD_INTER, CMD_UNION, CMD_DIFF };
enum cmd_aggregate { CMD_SUM, CMD_MIN, CMD_MAX };

struct cmd_source {
    struct kv_item item; /* when count > 0 */
    uint64_t count;      /* members; 0: absent */
    double weight;
    unsigned place;      /* among the arguments */
};
/* The sets that a command names. Owner: the handler. */
struct cmd_sources {
    struct cmd_source *at;
    unsigned count;
    bool scored;      /* sorted sets, too, and scores are asked for */
    bool missing;     /* one is absent */
    uint64_t members; /* of all */
    enum cmd_aggregate aggregate;
};
/* `count` keys from argument `first` on. False: answered, nothing to free. */
KV_INTERNAL bool cmd_sources_find(struct cmd_context *c, unsigned first,
                                  unsigned count, bool scored,
                                  struct cmd_sources *s);
KV_INTERNAL void cmd_sources_fini(struct cmd_sources *s);
/* A walk over the members of a result, in order of bytes. Owner: the handler;
 * it holds the sources, whose order it changes, and may be moved. */
struct cmd_members {
    struct cmd_sources sources;
    enum cmd_algebra algebra;
    struct algebra_cursor *cursors; /* private from here */
    struct algebra_cursor **heap;
    unsigned cursor_count, heap_count;
    struct algebra_cursor *least;
    const struct kv_val *member; /* the current one */
    double score;
};
/* Takes the sources, which are not the caller's any more. False: answered. */
KV_INTERNAL bool cmd_members_init(struct cmd_context *c, struct cmd_members *m,
                                  enum cmd_algebra algebra,
                                  const struct cmd_sources *sources);
KV_INTERNAL void cmd_members_fini(struct cmd_members *m);
/* False: there is none, or none is wanted (cmd_goes_on). The first may be asked
 * for again at any time. */
KV_INTERNAL bool cmd_members_first(struct cmd_context *c,
                                   struct cmd_members *m);
KV_INTERNAL bool cmd_members_next(struct cmd_context *c,
                                  struct cmd_members *m);
/* All of them, copied out; takes the sources. False: answered. */
KV_INTERNAL bool cmd_sources_list(struct cmd_context *c,
                                  const struct cmd_sources *sources,
                                  enum cmd_algebra algebra,
                                  struct cmd_list *list);
/* How many members all sources have; counts up to `limit`, 0 = all. Takes the
 * sources. */
KV_INTERNAL void cmd_answer_inter_count(struct cmd_context *c,
                                        const struct cmd_sources *sources,
                                        int64_t limit);

/* ---- numbers ------------------------------------------------------------ */

/* Numbers of INCRBYFLOAT: at least as precise as double. */
KV_INTERNAL bool cmd_real_parse(const void *p, size_t size, long double *out);
#define CMD_REAL_TEXT_MAX 5200
/* So many decimals, 17 at most, no exponent. Returns the length. */
KV_INTERNAL size_t cmd_real_fixed(char out[CMD_REAL_TEXT_MAX],
                                  long double value, unsigned decimals);
/* Up to 17 decimals, no exponent, no zeros behind. Returns the length. */
KV_INTERNAL size_t cmd_real_format(char out[CMD_REAL_TEXT_MAX],
                                   long double value);
/* ---- expiry (c_expire.c) ------------------------------------------------ */

enum cmd_time { CMD_TIME_EX, CMD_TIME_PX, CMD_TIME_EXAT, CMD_TIME_PXAT };
/* Argument `index` as a deadline in wall ms, > 0, for SET and its kin. */
KV_INTERNAL bool cmd_deadline(struct cmd_context *c, unsigned index,
                              enum cmd_time unit, int64_t *expires_at);
/* "ERR invalid expire time in 'set' command" */
KV_INTERNAL void cmd_fail_expire(struct cmd_context *c);

/* EX PX EXAT PXAT KEEPTTL PERSIST: when what a command writes goes. At most
 * one of them, but the same unit may come again. */
struct cmd_ttl {
    bool keep, persist, has_time;
    enum cmd_time unit;
    unsigned index; /* the argument with the time */
};
#define CMD_TTL_KEEP 1u    /* KEEPTTL is known */
#define CMD_TTL_PERSIST 2u /* PERSIST is known */
/* Take the option at `*i`, leaving *i at its last argument. False: it is none
 * of `known` and the four units, or may not stand here. */
KV_INTERNAL bool cmd_ttl_option(const struct cmd_context *c, unsigned *i,
                                unsigned known, struct cmd_ttl *ttl);
/* The deadline that was given; 0 without one. False: answered. */
KV_INTERNAL bool cmd_ttl_deadline(struct cmd_context *c,
                                  const struct cmd_ttl *ttl,
                                  int64_t *expires_at);

/* Argument `index` as a deadline in wall ms of fields, which may have passed.
 * False: answered. */
KV_INTERNAL bool cmd_field_deadline(struct cmd_context *c, unsigned index,
                                    enum cmd_time unit, int64_t *at);
/* FIELDS numfields, then arguments in groups of `each` up to the end, at
 * `index`; *first is the first of them. False: answered. */
KV_INTERNAL bool cmd_fields(struct cmd_context *c, unsigned index,
                            unsigned each, unsigned *first);
/* The fields of the hash at argument 1, FIELDS at argument 2: the answer is an
 * array, whose values are still to come. False: answered. */
KV_INTERNAL bool cmd_fields_begin(struct cmd_context *c, unsigned *first);

/* ---- strings (c_string.c) ----------------------------------------------- */

/* kv_set, or a deletion when the time has come already; one that was absent has
 * come and gone for who watches or tracks it. False: answered. */
KV_INTERNAL bool cmd_string_set(struct cmd_context *c,
                                const struct kv_key *key, kvsql_slice value,
                                int64_t expires_at);
KV_INTERNAL bool cmd_string_equals(const struct kv_item *item,
                                   kvsql_slice bytes);

/* ---- connections (client.c, multi.c) ------------------------------------- */

/* Take and drop the lock of the registry: for a client's name and library,
 * and to walk all clients with cmd_client_first() and ->next. Rank COMMAND. */
KV_INTERNAL void cmd_registry_lock(void);
KV_INTERNAL void cmd_registry_unlock(void);
KV_INTERNAL struct cmd_client *cmd_client_first(void);
/* Is there a client with this id? */
KV_INTERNAL bool cmd_client_is_open(uint64_t id);
/* Hold commands until `until_ns` (monotonic, 0 = no more); with `all` reads,
 * too. */
KV_INTERNAL void cmd_pause_set(uint64_t until_ns, bool all);
/* 1 right, 0 wrong, -1 there is none. `user` may be NULL. */
KV_INTERNAL int cmd_password_check(const kvsql_slice *user,
                                   kvsql_slice password);
/* Tell the messages of a wrong password, not more than once a minute. */
KV_INTERNAL void cmd_auth_failed(const struct cmd_client *client);
#define CMD_TEXT_CLIENT_NAME                                                  \
    "ERR Client names cannot contain spaces, newlines or special characters."
KV_INTERNAL bool cmd_client_name_ok(kvsql_slice name);
KV_INTERNAL void cmd_client_name_set(struct cmd_client *client,
                                     kvsql_slice name);
KV_INTERNAL void cmd_monitor_change(int by);
/* What a run leaves for later ones: who asked for durability (WAITAOF). */
KV_INTERNAL void cmd_client_ran(struct cmd_client *client,
                                const struct cmd_row *row,
                                const struct kv_ticket *ticket);
/* Show a command to those who MONITOR, unless it is an administrator's. It may
 * hold the store. */
KV_INTERNAL void cmd_monitor_feed(const struct cmd_context *c);
/* Nothing is subscribed to any more. */
KV_INTERNAL void cmd_subscriber_end(struct cmd_client *client);
/* What a client of RESP2 that has subscribed may still run. */
KV_INTERNAL bool cmd_may_subscriber(const struct cmd_row *row);
/* Put a command behind MULTI; false: no room, or no memory. */
KV_INTERNAL bool cmd_queue_add(struct cmd_client *client,
                               const struct cmd_row *row, unsigned argc,
                               const kvsql_slice *argv);
/* Forget MULTI, and forget WATCH. */
KV_INTERNAL void cmd_multi_end(struct cmd_client *client);
KV_INTERNAL void cmd_watch_end(struct cmd_client *client);

/* ---- the table (command.c) ---------------------------------------------- */

/* The row that argv means, subcommands included; *row is NULL when there is
 * none. UNKNOWN, ARITY, SYNTAX: with the sentence, prefix first. */
KV_INTERNAL kvsql_rc cmd_resolve(unsigned argc, const kvsql_slice *argv,
                                 const struct cmd_row **row,
                                 struct kvsql_error *err);
KV_INTERNAL bool cmd_arity_fits(const struct cmd_row *row, unsigned argc);
/* Answer with a sentence made elsewhere, prefix first, and count it. */
KV_INTERNAL void cmd_refuse(struct cmd_reply *reply, const struct cmd_row *row,
                            const struct kvsql_error *err);
/* How long a command waits for the store lock before it answers BUSY. */
#define COMMAND_WAIT_MS 10000
/* Room for a command that may grow the store, unless it was made for the whole
 * batch. False: there is none; answered. */
KV_INTERNAL bool cmd_room(struct cmd_context *c);
/* Run the handler and count it. */
KV_INTERNAL void cmd_call(struct cmd_context *c);
/* Run c->row with the commands around it (pipe.c); NOT: it wants to be alone,
 * and nothing is open. */
enum cmd_piped { CMD_PIPED_NOT, CMD_PIPED_DONE, CMD_PIPED_VIEW };
KV_INTERNAL enum cmd_piped cmd_pipe_run(struct cmd_context *c,
                                        struct kv_ticket *ticket);
/* The member that the request names (pipe_element()) is known to be in the set
 * that its first argument names. */
KV_INTERNAL bool cmd_near_there(const struct cmd_context *c);
/* cmd_client_gets(), for its pipe; `row` is GET's. */
KV_INTERNAL unsigned cmd_pipe_gets(struct cmd_pipe *pipe,
                                   const struct cmd_row *row,
                                   struct cmd_reply *reply);
/* What was found of c->near, where it lies; NULL: it is absent. False: look for
 * it. For one whose use is noted, too: that changes the store. */
KV_INTERNAL bool cmd_near_item(const struct cmd_context *c,
                               const struct kv_item **item);
/* Run c->row in a batch of its own, or of its pipeline. False: it wants a view and has done
 * nothing yet (c->deferred); cmd_execute_view() does it. */
KV_INTERNAL bool cmd_execute(struct cmd_context *c, struct kv_ticket *ticket);
KV_INTERNAL void cmd_execute_view(struct cmd_context *c);
/* The next slice of c->slice, counted when it is the last. */
KV_INTERNAL void cmd_call_more(struct cmd_context *c);
/* Wait until all that has been done so far is released. A view that is pinned
 * then holds it: what a connection did, or saw, before in its pipeline, though
 * no reply has left yet. */
KV_INTERNAL void cmd_catch_up(kvsql *db);
/* Run c->row inside the open c->txn; on an error nothing has changed. */
KV_INTERNAL kvsql_rc cmd_execute_in(struct cmd_context *c);
/* Run c->row, a read, at a place of the caller's. */
KV_INTERNAL void cmd_execute_at(struct cmd_context *c, const struct kv_at *at);
/* Before the first command of a batch: room for all of them, for none may lose
 * what another has just put there; they run with has_room. OOM, with EXEC's
 * sentence. */
KV_INTERNAL kvsql_rc cmd_make_room(struct kv_txn *txn, bool grows,
                                   struct kvsql_error *err) KV_MUST_USE;

/* How many rows there are; cmd_at(index) gives each. */
KV_INTERNAL unsigned cmd_count(void);
/* The row of a name in any case, "object|encoding" included, or NULL. */
KV_INTERNAL const struct cmd_row *cmd_find_full(const void *name, size_t size);

/* ---- options of SCAN and its kin (c_scan.c) ----------------------------- */

struct cmd_scan {
    uint64_t cursor;
    int64_t count;
    bool has_match, no_values, with_type;
    kvsql_slice match;
    unsigned types; /* 0 = all; CMD_SCAN_NO_TYPE matches nothing */
};
#define CMD_SCAN_NO_TYPE (1u << 31)
KV_INTERNAL bool cmd_scan_cursor(struct cmd_context *c, unsigned index,
                                 uint64_t *cursor);

/* ---- what waits for the end of a transaction (c_config.c) ---------------- */

/* CONFIG REWRITE inside EXEC: it has answered OK, but the file is written when
 * the store lock is free. Owner: the run of EXEC; zeroes are none. */
struct cmd_later {
    size_t *places; /* where each +OK begins in the reply's buffer */
    unsigned count, cap;
};
/* Do it. What fails takes the place of its OK in `reply`, which is whole. */
KV_INTERNAL void cmd_later_run(struct cmd_later *later,
                               struct cmd_reply *reply);
KV_INTERNAL void cmd_later_fini(struct cmd_later *later);

/* ---- statistics (stats.c) ----------------------------------------------- */

/* `index` is the row's place in the table; `held`: under the store lock. */
KV_INTERNAL void cmd_stats_call(unsigned index, uint64_t ns, bool failed,
                                bool held);
KV_INTERNAL void cmd_stats_reject(unsigned index);
/* Count an error line by its prefix. */
KV_INTERNAL void cmd_stats_error(const char *line, size_t size);
KV_INTERNAL uint64_t cmd_stats_calls(void);
KV_INTERNAL void cmd_stats_write_commands(struct kv_buf *out);
KV_INTERNAL void cmd_stats_write_errors(struct kv_buf *out);
KV_INTERNAL uint64_t cmd_stats_errors(void);
/* `count` calls that took `ns` together, under the store lock; `hits` of them
 * found their key. */
KV_INTERNAL void cmd_stats_gets(unsigned index, unsigned count, unsigned hits,
                                uint64_t ns);
/* Keys that reads looked for. */
KV_INTERNAL void cmd_stats_lookup(const struct cmd_context *c, bool hit);
KV_INTERNAL uint64_t cmd_stats_hits(void);
KV_INTERNAL uint64_t cmd_stats_misses(void);
/* The name of a row in small letters. */
KV_INTERNAL void cmd_name_lower(const struct cmd_row *row, struct kv_buf *out);
/* A command that took `ns`, when that is at least cmd_slow_ns(): SLOWLOG and
 * LATENCY may keep it. */
extern _Atomic uint64_t cmd_slow_ns;
KV_INTERNAL void cmd_slow(const struct cmd_context *c, uint64_t ns);
/* The histogram of a row (latency.c); `held`: the caller holds the store
 * lock. */
KV_INTERNAL void cmd_latency_record(unsigned index, uint64_t ns, bool held);
/* The same for `count` calls at once, the store lock held. */
KV_INTERNAL void cmd_latency_add(unsigned index, uint64_t ns, unsigned count);
KV_INTERNAL void cmd_latency_reset_histograms(void);
KV_INTERNAL void cmd_latency_write(struct kv_buf *out);
/* Facts of the store, inside a batch, too. */
KV_INTERNAL void cmd_info_get(const struct cmd_context *c,
                              struct kv_info *info);
/* What INFO counts from now on (c_info.c). */
KV_INTERNAL void cmd_info_reset(const struct kv_info *info);
/* All counters become zero. */
KV_INTERNAL void cmd_stats_reset(void);
KV_INTERNAL const struct cmd_host *cmd_host_get(void);
KV_INTERNAL unsigned cmd_host_port(void);

/* ---- the handlers ------------------------------------------------------- */

#define CMD_ROW(name, arity, flags, first, last, step, group, since, run,     \
                complexity, syntax, summary)                                  \
    KV_INTERNAL void run(struct cmd_context *c);
#define CMD_BOX(name, arity, flags, group, since, run, summary)               \
    KV_INTERNAL void run(struct cmd_context *c);
#include "command/commands.def"
#include "kvsql/admin.h"
#undef CMD_ROW
#undef CMD_BOX

#endif

/* server.c - the door as a whole: start, ready, stop.
 *
 * Thread: the owner's. */
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "resp/door.h"

#define SERVER_ARGS_MAX (1u << 20)
#define SERVER_INLINE_MAX ((size_t)64 << 10)
#define SERVER_BULK_MAX ((uint64_t)512 << 20)
/* Before the password (section 8 of the reliability rules). */
#define SERVER_ANONYMOUS_ARGS_MAX 1024
#define SERVER_ANONYMOUS_BULK_MAX ((uint64_t)64 << 10)
#define SERVER_RESERVED_FDS 32 /* L9 */
#define SERVER_CONNECTIONS 10000
#define SERVER_WORKERS 4
#define SERVER_KEEPALIVE_S 300
/* What Redis has for who has subscribed. */
#define SERVER_PUBSUB_HARD ((uint64_t)32 << 20)
#define SERVER_PUBSUB_SOFT ((uint64_t)8 << 20)
#define SERVER_PUBSUB_SOFT_S 60

unsigned resp_connections_possible(unsigned wanted)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
        limit.rlim_cur != RLIM_INFINITY &&
        limit.rlim_cur < (rlim_t)wanted + SERVER_RESERVED_FDS) {
        return limit.rlim_cur > 2 * SERVER_RESERVED_FDS
                   ? (unsigned)limit.rlim_cur - SERVER_RESERVED_FDS
                   : SERVER_RESERVED_FDS;
    }
    return wanted;
}

void resp_set(struct resp_server *server, const struct resp_limit_set *limits)
{
    atomic_store(&server->connection_max,
                 resp_connections_possible(limits->connection_max));
    atomic_store(&server->idle_ms, limits->idle_ms);
    atomic_store(&server->keepalive_s, limits->keepalive_s);
    atomic_store(&server->limits.bulk_max, limits->bulk_max);
    atomic_store(&server->pubsub_hard, limits->pubsub_hard);
    atomic_store(&server->pubsub_soft, limits->pubsub_soft);
    atomic_store(&server->pubsub_soft_s, limits->pubsub_soft_s);
}

static void server_configure(struct resp_server *server,
                             const struct resp_config *config)
{
    struct resp_config *own = &server->config;

    *own = *config;
    own->bind = NULL; /* is not ours to keep */
    own->threads = own->threads == 0               ? 1
                   : own->threads > RESP_LOOPS_MAX ? RESP_LOOPS_MAX
                                                   : own->threads;
    own->workers = own->workers == 0                 ? SERVER_WORKERS
                   : own->workers > RESP_WORKERS_MAX ? RESP_WORKERS_MAX
                                                     : own->workers;
    server->limits = (struct resp_limits){.args_max = SERVER_ARGS_MAX,
                                          .inline_max = SERVER_INLINE_MAX};
    const struct resp_limit_set limits = {
        .connection_max = own->connection_max != 0 ? own->connection_max
                                                   : SERVER_CONNECTIONS,
        .idle_ms = own->idle_ms,
        .keepalive_s =
            own->keepalive_s != 0 ? own->keepalive_s : SERVER_KEEPALIVE_S,
        .bulk_max = own->bulk_max != 0 ? own->bulk_max : SERVER_BULK_MAX,
        .pubsub_hard = SERVER_PUBSUB_HARD,
        .pubsub_soft = SERVER_PUBSUB_SOFT,
        .pubsub_soft_s = SERVER_PUBSUB_SOFT_S};
    resp_set(server, &limits);
    server->anonymous =
        (struct resp_limits){.args_max = SERVER_ANONYMOUS_ARGS_MAX,
                             .bulk_max = SERVER_ANONYMOUS_BULK_MAX,
                             .inline_max = SERVER_INLINE_MAX,
                             .anonymous = true};
}

static kvsql_rc server_open(struct resp_server *server,
                            const struct resp_config *config,
                            struct kvsql_error *err)
{
    kvsql_rc rc = resp_listen(config->bind, config->port, config->secret,
                              &server->listening, err);

    if (rc == KVSQL_OK) {
        rc = resp_work_start(server, err);
    }
    for (unsigned i = 0; i < server->config.threads && rc == KVSQL_OK; i++) {
        server->loops[i] = (struct resp_loop){
            .server = server, .epoll = -1, .wake = -1};
        server->loop_count++;
        rc = resp_loop_start(&server->loops[i], err);
    }
    return rc;
}

kvsql_rc resp_start(const struct resp_config *config,
                    struct resp_server **out, struct kvsql_error *err)
{
    struct resp_server *server =
        kv_mem_zalloc(KV_MEM_CLIENT, sizeof(*server));

    *out = NULL;
    if (server == NULL) {
        return kv_fail(err, KVSQL_NOMEM, "resp: no memory for the door");
    }
    kv_lock_init(&server->pool_lock, KV_RANK_DOOR);
    kv_lock_init(&server->listen_lock, KV_RANK_POST);
    kv_cond_init(&server->pool_more);
    server->queue_last = &server->queue;
    server_configure(server, config);
    const kvsql_rc rc = server_open(server, config, err);
    if (rc != KVSQL_OK) {
        resp_stop(server);
        return rc;
    }
    *out = server;
    return KVSQL_OK;
}

void resp_ready(struct resp_server *server, kvsql *db)
{
    atomic_store_explicit(&server->db, db, memory_order_release);
}

void resp_stop(struct resp_server *server)
{
    if (server == NULL) {
        return;
    }
    resp_work_stop(server);
    for (unsigned i = 0; i < server->loop_count; i++) {
        resp_post_stop(&server->loops[i]);
    }
    for (unsigned i = 0; i < server->loop_count; i++) {
        resp_loop_fini(&server->loops[i]);
    }
    resp_listen_drop(server->listening); /* all loops have left */
    kv_lock_fini(&server->listen_lock);
    kv_cond_fini(&server->pool_more);
    kv_lock_fini(&server->pool_lock);
    kv_mem_free(KV_MEM_CLIENT, server, sizeof(*server));
}

/* listen.c - the listening sockets of the door, which may be replaced while it
 * runs.
 *
 *   resp_listen         bind and listen; nobody looks yet
 *   resp_listen_take    the door has these now; each loop is told
 *   resp_listen_switch  a loop looks at the new ones, and no more at the old
 *
 * New sockets are there before the old ones go, and what waits at an old one when
 * a loop turns away is taken first. The last loop closes them.
 *
 * Thread: any; switch and leave are the loop's. */
#include "resp/door.h"

kvsql_rc resp_listen(const char *bind, uint16_t port, bool secret,
                     struct resp_listening **out, struct kvsql_error *err)
{
    struct resp_listening *listening =
        kv_mem_zalloc(KV_MEM_CLIENT, sizeof(*listening));

    *out = NULL;
    if (listening == NULL) {
        return kv_fail(err, KVSQL_NOMEM, "resp: no memory to listen");
    }
    listening->users = 1;
    listening->set = (struct kv_listeners){.door = "resp",
                                           .option = "port",
                                           .secret = "password",
                                           .secret_option =
                                               "requirepass-file"};
    const kvsql_rc rc = kv_listen(&listening->set,
                                  bind != NULL ? bind : "127.0.0.1", port,
                                  secret, err);
    if (rc != KVSQL_OK) {
        resp_listen_drop(listening);
        return rc;
    }
    *out = listening;
    return KVSQL_OK;
}

void resp_listen_drop(struct resp_listening *listening)
{
    if (listening != NULL) {
        kv_listen_close(&listening->set);
        kv_mem_free(KV_MEM_CLIENT, listening, sizeof(*listening));
    }
}

/* One user less. */
static void listen_unuse(struct resp_server *server,
                         struct resp_listening *listening)
{
    kv_lock_take(&server->listen_lock);
    const bool last = listening != NULL && --listening->users == 0;
    kv_lock_drop(&server->listen_lock);
    if (last) {
        resp_listen_drop(listening);
    }
}

void resp_listen_take(struct resp_server *server,
                      struct resp_listening *listening)
{
    kv_lock_take(&server->listen_lock);
    struct resp_listening *old = server->listening;
    server->listening = listening;
    kv_lock_drop(&server->listen_lock);
    listen_unuse(server, old);
    for (unsigned i = 0; i < server->loop_count; i++) {
        resp_post_listen(&server->loops[i]);
    }
}

void resp_listen_enter(struct resp_loop *loop)
{
    struct resp_server *server = loop->server;

    kv_lock_take(&server->listen_lock);
    loop->listening = server->listening;
    loop->listening->users++;
    kv_lock_drop(&server->listen_lock);
}

void resp_listen_leave(struct resp_loop *loop)
{
    listen_unuse(loop->server, loop->listening);
    loop->listening = NULL;
}

void resp_listen_switch(struct resp_loop *loop)
{
    resp_accept_last(loop);
    resp_listen_leave(loop);
    resp_listen_enter(loop);
    resp_accept_first(loop);
}

bool resp_is_exposed(struct resp_server *server)
{
    kv_lock_take(&server->listen_lock);
    const bool exposed = kv_listen_exposed(&server->listening->set);
    kv_lock_drop(&server->listen_lock);
    return exposed;
}

uint16_t resp_port(struct resp_server *server)
{
    kv_lock_take(&server->listen_lock);
    const uint16_t port = server->listening->set.port;
    kv_lock_drop(&server->listen_lock);
    return port;
}

const char *resp_address(const struct resp_server *server)
{
    return kv_listen_local(&server->listening->set);
}

/* client_fx.h - the fixture of a test program that is about connections as
 * commands see them: `one` and `two` on a store in memory whose clock is the test's;
 * commands are typed as lines, and what a door would be told is kept.
 *
 * Thread: the test's. */
#ifndef KVSQL_TESTS_LIB_CLIENT_FX_H
#define KVSQL_TESTS_LIB_CLIENT_FX_H

#include <stdio.h>
#include <string.h>

#include "command/client.h"
#include "command/context.h"
#include "command/track.h"
#include "kvsql/admin.h"
#include "tests/lib/fakeos.h"
#include "tests/lib/unit.h"
#include "vtab/session.h"

static struct fakeos *fake;
static kvsql *db;
static struct cmd_client one, two;
static struct vt_session *session;
static struct cmd_reply reply;
static struct kv_ticket ticket;
static struct kv_buf line_buf, out, pushed;
static struct kvsql_error err;
static kvsql_slice args[CMD_LINE_ARGS_MAX];
static unsigned args_count;
static const struct cmd_client *killed, *woken;
/* What a client was told of keys since it was asked, with `|` for CR LF. */
static struct kv_buf told_one, told_two;

static inline void door_kill(struct cmd_client *client)
{
    killed = client;
}

static inline void door_push(struct cmd_client *client, const struct cmd_push *push)
{
    if (push->resp == 0) {
        kv_buf_add(&pushed, push->p, push->size);
        return;
    }
    ck_assert_uint_gt(push->position, 0);
    for (size_t i = 0; i < push->size; i++) {
        const char ch = ((const char *)push->p)[i];

        if (ch != '\r') {
            kv_buf_byte(client == &one ? &told_one : &told_two,
                        ch == '\n' ? '|' : (uint8_t)ch);
        }
    }
}

static inline void door_facts(struct cmd_client *client,
                       struct cmd_client_facts *facts)
{
    (void)client;
    *facts = (struct cmd_client_facts){.query_size = 7};
}

/* Under the store lock. */
static inline void door_wake(struct cmd_client *client)
{
    woken = client;
}

static const struct cmd_door door = {.kill = door_kill,
                                     .push = door_push,
                                     .facts = door_facts,
                                     .wake = door_wake};

static inline void client_new(struct cmd_client *client, const char *addr)
{
    memset(client, 0, sizeof(*client));
    (void)snprintf(client->addr, sizeof(client->addr), "%s", addr);
    (void)snprintf(client->laddr, sizeof(client->laddr), "127.0.0.1:6379");
    cmd_client_open(client, &door);
}

static inline void setup(void)
{
    const struct kvsql_options options = {.no_keeper = true};

    fake = fakeos_new(1);
    ck_assert_int_eq(kv_open_os("", &options, fakeos_os(fake), NULL, NULL, &db,
                                &err),
                     KVSQL_OK);
    ck_assert_int_eq(vt_start(&err), KVSQL_OK);
    ck_assert_int_eq(vt_session_open(db, &(struct vt_limits){0}, &session,
                                     &err),
                     KVSQL_OK);
    kv_buf_init(&line_buf, KV_MEM_MISC, 1 << 20);
    kv_buf_init(&out, KV_MEM_MISC, 64 << 20);
    kv_buf_init(&pushed, KV_MEM_MISC, 1 << 20);
    kv_buf_init(&told_one, KV_MEM_MISC, 8 << 20);
    kv_buf_init(&told_two, KV_MEM_MISC, 8 << 20);
    client_new(&one, "127.0.0.1:1");
    client_new(&two, "127.0.0.1:2");
    killed = woken = NULL;
}

static inline void teardown(void)
{
    cmd_client_close(&one);
    cmd_client_close(&two);
    cmd_password_set(NULL);
    cmd_pause_set(0, false);
    vt_session_close(session);
    kv_buf_fini(&line_buf);
    kv_buf_fini(&out);
    kv_buf_fini(&pushed);
    kv_buf_fini(&told_one);
    kv_buf_fini(&told_two);
    cmd_track_limit(1000000);
    ck_assert_int_eq(kv_close(db, &err), KVSQL_OK);
    fakeos_free(fake);
}

/* What stands in the output before each reply. */
#define BEFORE "+before\r\n"

/* The next command's n-th allocation fails; 0 is none. */
static unsigned fail_at;

static inline enum cmd_next run(struct cmd_client *client, const char *line)
{
    enum cmd_next next;

    ck_assert_int_eq(cmd_split(line, strlen(line), &line_buf, args,
                               &args_count, &err),
                     KVSQL_OK);
    kv_buf_reset(&out, out.cap);
    kv_buf_text(&out, BEFORE);
    cmd_reply_init_resp(&reply, &out, client->resp);
    kv_mem_fail_at(fail_at, 0);
    fail_at = 0;
    next = cmd_client_run(client, db, NULL, args_count, args, &reply, &ticket);
    if (next != CMD_DONE) {
        ck_assert_uint_eq(out.size, strlen(BEFORE)); /* CL1 */
    }
    if (next == CMD_WORK) {
        cmd_client_work(client, db, session, args_count, args, &reply,
                        &ticket, NULL);
        next = CMD_DONE;
    }
    return next;
}

/* The answer that stands in `out`, with `|` for CR LF. */
static inline const char *answered(void)
{
    static char text[8192];
    size_t n = 0;

    ck_assert(cmd_reply_finish(&reply));
    ck_assert_mem_eq(out.p, BEFORE, strlen(BEFORE));
    for (size_t i = strlen(BEFORE); i < out.size && n + 1 < sizeof(text); i++) {
        if (out.p[i] == '\r') {
            continue;
        }
        text[n++] = out.p[i] == '\n' ? '|' : (char)out.p[i];
    }
    text[n] = '\0';
    return text;
}

/* The answer in the client's protocol. */
static inline const char *ask(struct cmd_client *client, const char *line)
{
    ck_assert_int_eq(run(client, line), CMD_DONE);
    return answered();
}
#define says(client, line, answer) ck_assert_str_eq(ask(client, line), answer)

#endif

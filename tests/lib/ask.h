/* ask.h - commands typed as lines on a store without files, their answers as
 * RESP2 text: the fixture of the tests of the command layer.
 *
 *   ASK("SET a 1", "+OK|");       `|` stands for CR LF
 *
 * One store per test: tcase_add_checked_fixture(tests, setup, teardown). The
 * clock is the fake's (fakeos_advance).
 *
 * Thread: main. */
#ifndef TESTS_LIB_ASK_H
#define TESTS_LIB_ASK_H

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "command/cursor.h"
#include "kvsql/admin.h"
#include "kvsql/base/os.h"
#include "tests/lib/fakeos.h"

#define ASK_UNUSED __attribute__((unused)) /* not every test needs all */

static struct fakeos *fake;
static kvsql *db;
static struct cmd_reply reply;
static struct kv_buf line_buf, out;
static struct kvsql_error err;
static kvsql_slice args[CMD_LINE_ARGS_MAX];
static unsigned args_count;

ASK_UNUSED static void setup(void)
{
    const struct kvsql_options options = {.no_keeper = true};

    fake = fakeos_new(1);
    ck_assert_int_eq(kv_open_os("", &options, fakeos_os(fake), NULL, NULL, &db,
                                &err),
                     KVSQL_OK);
    cmd_reply_init(&reply, 64 << 20);
    kv_buf_init(&line_buf, KV_MEM_MISC, 1 << 20);
    kv_buf_init(&out, KV_MEM_MISC, 64 << 20);
}

ASK_UNUSED static void teardown(void)
{
    cmd_reply_fini(&reply);
    kv_buf_fini(&line_buf);
    kv_buf_fini(&out);
    cmd_cursor_clear();
    ck_assert_int_eq(kv_close(db, &err), KVSQL_OK);
    fakeos_free(fake);
}

ASK_UNUSED static void split(const char *line)
{
    ck_assert_int_eq(cmd_split(line, strlen(line), &line_buf, args,
                               &args_count, &err),
                     KVSQL_OK);
}

ASK_UNUSED static const char *reply_text(void)
{
    kv_buf_reset(&out, out.cap);
    cmd_reply_resp2(&reply, &out);
    kv_buf_byte(&out, 0);
    return (const char *)out.p;
}

/* Run a line; the answer is in `reply`. */
ASK_UNUSED static void run_line(const char *line)
{
    struct kv_ticket ticket;

    split(line);
    cmd_run(db, args_count, args, true, &reply, &ticket);
    ck_assert_int_eq(kv_gate_wait(db, ticket, &err), KVSQL_OK);
}

/* The RESP2 answer to a line, with `|` for CR LF. */
ASK_UNUSED static const char *ask(const char *line)
{
    size_t size = 0;

    run_line(line);
    (void)reply_text();
    for (size_t i = 0; i < out.size; i++) {
        if (out.p[i] == '\r') {
            out.p[size++] = '|';
        } else if (out.p[i] != '\n') {
            out.p[size++] = out.p[i];
        }
    }
    return (const char *)out.p;
}

#define ASK(line, answer) ck_assert_str_eq(ask(line), answer)

/* Run a line with the n-th allocation failing, for every n, until it gets
 * through; each failure leaves `check` answered by `before`. */
ASK_UNUSED static void fail_each_allocation(const char *line,
                                            const char *check,
                                            const char *before)
{
    char state[256];
    struct kv_ticket ticket;

    for (unsigned n = 1;; n++) {
        bool failed;

        ck_assert_uint_lt(n, 1000);
        split(line);
        kv_mem_fail_at(n, 0);
        cmd_run(db, args_count, args, true, &reply, &ticket);
        failed = kv_mem_failed() != 0;
        kv_mem_fail_at(0, 0);
        if (!failed) {
            ck_assert_int_eq(reply.rc, KVSQL_OK);
            return;
        }
        if (reply.rc == KVSQL_OK) {
            return; /* it could do without */
        }
        ck_assert_int_eq(reply.rc, KVSQL_NOMEM);
        ck_assert_int_eq(reply_text()[0], '-');
        snprintf(state, sizeof(state), "%s", ask(check));
        ck_assert_str_eq(state, before);
    }
}

#endif

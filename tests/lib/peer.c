/* peer.c - see peer.h. */
#include "tests/lib/peer.h"

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void peer_open(struct peer *peer, struct rows *rows, const char *test,
               uint64_t seed)
{
    memset(peer, 0, sizeof(*peer));
    peer->rows = rows;
    rows->literal = true;
    peer->rand = rand_of(rand_seed(test, seed));
    ck_assert_int_eq(sqlite3_open(":memory:", &peer->native), SQLITE_OK);
}

void peer_close(struct peer *peer)
{
    ck_assert_int_eq(sqlite3_close(peer->native), SQLITE_OK);
}

void peer_native(struct peer *peer, const char *sql)
{
    const int rc = sqlite3_exec(peer->native, sql, NULL, NULL, NULL);

    ck_assert_msg(rc == SQLITE_OK, "%s: %s", sql,
                  sqlite3_errmsg(peer->native));
}

/* ---- statements ------------------------------------------------------------- */

unsigned peer_below(struct peer *peer, unsigned n)
{
    return (unsigned)rand_below(&peer->rand, n);
}

void peer_say(struct peer *peer, const char *format, ...)
{
    const size_t size = strlen(peer->sql);
    va_list args;

    va_start(args, format);
    (void)vsnprintf(peer->sql + size, PEER_SQL_MAX - size, format, args);
    va_end(args);
}

const char *peer_control(struct peer *peer)
{
    static const char *const controls[] = {
        "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a", "SAVEPOINT b",
        "RELEASE a", "ROLLBACK TO a", "ROLLBACK TO b"};

    return PEER_PICK(peer, controls);
}

unsigned peer_steps(unsigned otherwise)
{
    const char *text = getenv("KVSQL_SQL_STEPS");

    return text != NULL ? (unsigned)atol(text) : otherwise;
}

/* ---- both -------------------------------------------------------------------- */

static int native_rows(struct peer *peer)
{
    sqlite3_stmt *stmt = NULL;
    size_t size = 0;
    int rc = sqlite3_prepare_v2(peer->native, peer->sql, -1, &stmt, NULL);

    peer->text[0] = 0;
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(stmt);
        for (int i = 0; rc == SQLITE_ROW && i < sqlite3_column_count(stmt);
             i++) {
            struct vt_value v;
            rows_native(stmt, i, &v);
            rows_between(peer->text, &size, i);
            rows_value(peer->text, &size, &v, true);
        }
    }
    (void)sqlite3_finalize(stmt);
    return rc;
}

void peer_both(struct peer *peer)
{
    struct rows *rows = peer->rows;
    const bool fails = rows_run(rows, rows->session, peer->sql) != KVSQL_OK;
    const int rc = native_rows(peer);

    /* a ck_assert that holds is a write to a file */
    if (fails != (rc != SQLITE_DONE))
        ck_abort_msg("%s\nours: %s\nnative: %s", peer->sql,
                     fails ? rows->err.text : "done",
                     sqlite3_errmsg(peer->native));
    if (!fails && strcmp(rows->text, peer->text) != 0)
        ck_abort_msg("%s\nours:\n%s\nnative:\n%s", peer->sql, rows->text,
                     peer->text);
    if (fails && peer->sentences && strstr(rows->err.text, "constraint") != NULL)
        ck_assert_str_eq(rows->err.text, sqlite3_errmsg(peer->native));
}

void peer_run(struct peer *peer, const char *sql)
{
    (void)snprintf(peer->sql, PEER_SQL_MAX, "%s", sql);
    peer_both(peer);
}

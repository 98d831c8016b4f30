/* test_dml.c - TE5 of the SQL reference: each statement of its section 2.5 and
 * the commands that it stands for, on two stores. The frames of the wal must
 * have the same bytes, watchers must be told the same, the same must be there.
 *
 * The stores are alike to the clock. Both sides are one batch: commands run in
 * one transaction, as behind MULTI. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "command/command.h"
#include "kvsql/admin.h"
#include "kvsql/base/diag.h"
#include "kvsql/base/num.h"
#include "tests/lib/fakeos.h"
#include "tests/lib/unit.h"
#include "vtab/state.h"

#define WAL "data/wal-0000000000000001"
#define WAL_HEADER 64
#define FRAME_HEADER 36
#define TEXT_MAX 8192
#define WAL_MAX 65536

struct side {
    struct fakeos *fake;
    kvsql *db;
    struct vt_session *session;
    size_t seen; /* bytes of the wal that were looked at */
    uint8_t ops[TEXT_MAX];
    size_t ops_size;
    char events[TEXT_MAX], rows[TEXT_MAX];
};
static struct side sql_side, command_side;
static struct side *telling; /* whose thread it is: there is one */
static struct kvsql_error err;

/* ---- what a batch was ------------------------------------------------------ */

static void event(const char *format, int kind, kvsql_slice key)
{
    const size_t size = strlen(telling->events);

    ck_assert_int_lt(snprintf(telling->events + size, TEXT_MAX - size, format,
                              kind, (int)key.size,
                              key.p ? (const char *)key.p : ""),
                     (int)(TEXT_MAX - size));
}

static void event_begin(uint64_t position)
{
    event("%d:%.*s[", (int)position, (kvsql_slice){"", 0});
}

static void event_key(enum kv_observed change, kvsql_slice key)
{
    event("%d %.*s,", (int)change, key);
}

static void event_done(enum kv_observed change, kvsql_slice key)
{
    event("(%d %.*s)", (int)change, key);
}

static void event_end(void)
{
    event("]%d%.*s\n", 0, (kvsql_slice){"", 0});
}

static const _Atomic unsigned wanted = 1;
static const struct kv_observer observer = {
    .wanted = &wanted, .begin = event_begin, .key = event_key,
    .done = event_done, .end = event_end};

/* Payloads of the batches that the wal has got since the last look. */
static void read_ops(struct side *side)
{
    static uint8_t wal[WAL_MAX];
    const int64_t size = fakeos_peek(side->fake, WAL, wal, sizeof(wal), 0);

    ck_assert_int_gt(size, 0);
    ck_assert_int_lt(size, WAL_MAX);
    side->ops_size = 0;
    while (side->seen + FRAME_HEADER <= (size_t)size) {
        const uint8_t *frame = wal + side->seen;
        const size_t payload = kv_u32_get(frame + 4);
        if (kv_u32_get(frame) == 0) break; /* room that was set aside */
        ck_assert_uint_le(side->ops_size + payload, TEXT_MAX);
        memcpy(side->ops + side->ops_size, frame + FRAME_HEADER, payload);
        side->ops_size += payload;
        side->seen += FRAME_HEADER + payload;
    }
}

static void read_rows(struct side *side)
{
    static const char sql[] =
        "SELECT group_concat(r, x'0a') FROM ("
        "SELECT quote(key) || type || length || ifnull(expires_at, '') AS r"
        " FROM keys UNION ALL SELECT quote(key) || quote(value) FROM strings"
        " UNION ALL SELECT quote(key) || quote(field) || quote(value) ||"
        " ifnull(expires_at, '') FROM hashes UNION ALL SELECT quote(key) ||"
        " idx || quote(value) FROM lists UNION ALL SELECT quote(key) ||"
        " quote(member) FROM sets UNION ALL SELECT quote(key) ||"
        " quote(member) || score FROM zsets)";
    struct vt_statement *statement;
    struct vt_value v;
    bool row;

    ck_assert_int_eq(vt_prepare(side->session, sql, sizeof(sql) - 1, NULL,
                                &statement, &err),
                     KVSQL_OK);
    ck_assert_int_eq(vt_step(statement, &row, &err), KVSQL_OK);
    vt_column(statement, 0, &v);
    ck_assert_uint_lt(v.size, TEXT_MAX);
    memcpy(side->rows, v.size > 0 ? v.p : (const uint8_t *)"", v.size);
    side->rows[v.size] = 0;
    vt_finish(statement);
}

/* ---- both ways in ------------------------------------------------------------- */

static kvsql_rc run_sql(struct side *side, const char *sql)
{
    struct vt_statement *statement;
    bool row = true;
    kvsql_rc rc = vt_prepare(side->session, sql, strlen(sql), NULL, &statement,
                             &err);

    if (rc != KVSQL_OK) return rc;
    while (rc == KVSQL_OK && row) rc = vt_step(statement, &row, &err);
    vt_finish(statement);
    return rc;
}

static void run_line(struct kv_txn *txn, const char *line, size_t size)
{
    static kvsql_slice argv[CMD_LINE_ARGS_MAX];
    struct cmd_reply reply;
    struct kv_buf words;
    unsigned argc;

    kv_buf_init(&words, KV_MEM_MISC, 1 << 20);
    cmd_reply_init(&reply, 1 << 20);
    ck_assert_int_eq(cmd_split(line, size, &words, argv, &argc, &err),
                     KVSQL_OK);
    (void)cmd_run_in(txn, argc, argv, &reply);
    cmd_reply_fini(&reply);
    kv_buf_fini(&words);
}

/* Lines, as one batch. */
static void run_commands(struct side *side, const char *lines)
{
    struct kv_ticket ticket;
    struct kv_txn *txn;

    ck_assert_int_eq(kv_txn_begin(side->db, true, 0, &txn, &err), KVSQL_OK);
    while (*lines != 0) {
        const size_t size = strcspn(lines, "\n");
        run_line(txn, lines, size);
        lines += size + (lines[size] == '\n');
    }
    ck_assert_int_eq(kv_txn_commit(txn, &ticket, &err), KVSQL_OK);
    ck_assert_int_eq(kv_gate_wait(side->db, ticket, &err), KVSQL_OK);
}

static void diag_drop(void *arg, const char *line)
{
    (void)arg, (void)line;
}

static void start(struct side *side)
{
    const struct vt_limits limits = {.trusted = true};
    const struct kvsql_options options = {.no_keeper = true};

    memset(side, 0, sizeof(*side));
    telling = side;
    side->fake = fakeos_new(5);
    ck_assert_int_eq(kv_open_os("data", &options, fakeos_os(side->fake), NULL,
                                NULL, &side->db, &err),
                     KVSQL_OK);
    kv_observe(side->db, &observer);
    ck_assert_int_eq(vt_session_open(side->db, &limits, &side->session, &err),
                     KVSQL_OK);
    side->seen = WAL_HEADER;
}

static void stop(struct side *side)
{
    telling = side;
    vt_session_close(side->session);
    ck_assert_int_eq(kv_close(side->db, &err), KVSQL_OK);
    fakeos_free(side->fake);
}

/* ---- statements and what they stand for ------------------------------------------ */

#define FUTURE "1800000000000"
#define EXPIRED "@" /* in front of a setup: 20 ms go by behind it */

struct row {
    const char *setup;    /* commands, on both */
    const char *sql;
    kvsql_rc rc;          /* of the statement */
    const char *commands; /* "": they change nothing */
};
static const struct row rows[] = {
    /* strings */
    {"", "INSERT INTO strings(key, value) VALUES('k', 'v')", KVSQL_OK,
     "SETNX k v"},
    {"", "INSERT INTO strings(key, value) VALUES(x'ff', x'00ff')", KVSQL_OK,
     "SETNX \"\\xff\" \"\\x00\\xff\""},
    {"", "INSERT INTO strings(key, value) VALUES('k', 42)", KVSQL_OK,
     "SET k 42 NX"},
    {"", "INSERT INTO strings VALUES('k', 'v', " FUTURE ")", KVSQL_OK,
     "SET k v NX PXAT " FUTURE},
    {"SET k old", "INSERT INTO strings(key, value) VALUES('k', 'v')",
     KVSQL_EXISTS, "SETNX k v"},
    {"SADD k m", "INSERT INTO strings(key, value) VALUES('k', 'v')",
     KVSQL_WRONGTYPE, "SETNX k v"},
    {EXPIRED "SET k old PX 10",
     "INSERT INTO strings(key, value) VALUES('k', 'v')", KVSQL_OK,
     "SETNX k v"},
    {"SET k old PXAT " FUTURE, "REPLACE INTO strings(key, value) VALUES('k',"
                               " 'v')", KVSQL_OK, "SET k v"},
    {"SADD k m", "INSERT OR REPLACE INTO strings(key, value) VALUES('k', 'v')",
     KVSQL_OK, "SET k v"},
    {"", "REPLACE INTO strings VALUES('k', 'v', " FUTURE ")", KVSQL_OK,
     "SET k v PXAT " FUTURE},
    {"SET k old", "INSERT OR IGNORE INTO strings(key, value) VALUES('k', 'v'),"
                  " ('l', 'w')", KVSQL_OK, "SET k v NX\nSET l w NX"},
    {"SET k old PXAT " FUTURE, "UPDATE strings SET value = 'v' WHERE key = 'k'",
     KVSQL_OK, "SET k v KEEPTTL"},
    {"MSET a 1 b 2 c 3", "UPDATE strings SET value = value || 'x'", KVSQL_OK,
     "SET a 1x KEEPTTL\nSET b 2x KEEPTTL\nSET c 3x KEEPTTL"},
    {"SET k v", "UPDATE strings SET expires_at = " FUTURE " WHERE key = 'k'",
     KVSQL_OK, "PEXPIREAT k " FUTURE},
    {"SET k v PXAT " FUTURE, "UPDATE strings SET expires_at = NULL", KVSQL_OK,
     "PERSIST k"},
    {"SET k v", "UPDATE strings SET expires_at = 1", KVSQL_OK,
     "PEXPIREAT k 1"},
    {"SET k v PXAT " FUTURE, "UPDATE strings SET key = 'l'", KVSQL_OK,
     "RENAMENX k l"},
    {"MSET k v l w", "UPDATE strings SET key = 'l' WHERE key = 'k'",
     KVSQL_EXISTS, "RENAMENX k l"},
    {"MSET k v l w", "UPDATE OR REPLACE strings SET key = 'l' WHERE key = 'k'",
     KVSQL_OK, "RENAME k l"},
    {"MSET k v l w", "DELETE FROM strings", KVSQL_OK, "DEL k\nDEL l"},
    {"", "INSERT INTO strings(key, incr) VALUES('n', 5)", KVSQL_OK,
     "INCRBY n 5"},
    {"SET n 37 PXAT " FUTURE, "INSERT INTO strings(key, incr) VALUES('n', 5)",
     KVSQL_OK, "INCRBY n 5"},
    {"SET n 1", "INSERT INTO strings(key, incr) VALUES('n', 0.5)", KVSQL_OK,
     "INCRBYFLOAT n 0.5"},
    {"SET n x", "INSERT INTO strings(key, incr) VALUES('n', 5)", KVSQL_NOTINT,
     "INCRBY n 5"},
    {"MSET m 1 n 2", "UPDATE strings SET incr = -3", KVSQL_OK,
     "INCRBY m -3\nINCRBY n -3"},
    {"SET s ab PXAT " FUTURE, "INSERT INTO strings(key, append) VALUES('s',"
                              " 'cd')", KVSQL_OK, "APPEND s cd"},
    {"", "INSERT INTO strings(key, append) VALUES('s', 'cd')", KVSQL_OK,
     "APPEND s cd"},
    {"", "INSERT INTO strings(key, append) VALUES('s', '')", KVSQL_OK,
     "APPEND s \"\""},
    /* hashes, sets, zsets */
    {"", "INSERT INTO hashes(key, field, value) VALUES('h', 'f', 'v')",
     KVSQL_OK, "HSETNX h f v"},
    {"HSET h f old", "INSERT INTO hashes(key, field, value) VALUES('h', 'f',"
                     " 'v')", KVSQL_EXISTS, "HSETNX h f v"},
    {"HSET h f old", "REPLACE INTO hashes(key, field, value) VALUES('h', 'f',"
                     " 'v'), ('h', 'g', 'w')", KVSQL_OK, "HSET h f v g w"},
    {"SET h x", "REPLACE INTO hashes(key, field, value) VALUES('h', 'f', 'v')",
     KVSQL_WRONGTYPE, "HSET h f v"},
    {"HSET h f old\nHPEXPIREAT h " FUTURE " FIELDS 1 f",
     "UPDATE hashes SET expires_at = NULL", KVSQL_OK, "HPERSIST h FIELDS 1 f"},
    {"HSET h f v", "UPDATE hashes SET expires_at = " FUTURE, KVSQL_OK,
     "HPEXPIREAT h " FUTURE " FIELDS 1 f"},
    {"HSET h f v g w", "UPDATE hashes SET field = 'i' WHERE field = 'f'",
     KVSQL_OK, "HSET h i v\nHDEL h f"},
    {"HSET h f v g w", "DELETE FROM hashes WHERE key = 'h' AND field = 'f'",
     KVSQL_OK, "HDEL h f"},
    {"HSET h f v g w", "DELETE FROM hashes", KVSQL_OK, "HDEL h f\nHDEL h g"},
    {"HSET h n 3", "INSERT INTO hashes(key, field, incr) VALUES('h', 'n', 4)",
     KVSQL_OK, "HINCRBY h n 4"},
    {"HSET h n 3", "INSERT INTO hashes(key, field, incr) VALUES('h', 'n',"
                   " 0.25)", KVSQL_OK, "HINCRBYFLOAT h n 0.25"},
    {"", "INSERT INTO sets VALUES('s', 'a'), ('s', x'ff')", KVSQL_OK,
     "SADD s a \"\\xff\""},
    {"SADD s a", "INSERT INTO sets VALUES('s', 'a')", KVSQL_EXISTS,
     "SADD s a"},
    {"SADD s a", "REPLACE INTO sets VALUES('s', 'a'), ('s', 'b')", KVSQL_OK,
     "SADD s a b"},
    {"SADD s a", "INSERT OR IGNORE INTO sets VALUES('s', 'a'), ('s', 'b')",
     KVSQL_OK, "SADD s a b"},
    {"SADD s a b", "UPDATE sets SET member = 'c' WHERE member = 'a'", KVSQL_OK,
     "SADD s c\nSREM s a"},
    {"SADD s a b", "UPDATE sets SET key = 't' WHERE member = 'a'", KVSQL_OK,
     "SADD t a\nSREM s a"},
    {"SADD s a b", "DELETE FROM sets WHERE member > 'a'", KVSQL_OK,
     "SREM s b"},
    {"SADD s a", "DELETE FROM sets", KVSQL_OK, "SREM s a"},
    {"", "INSERT INTO zsets VALUES('z', 'a', 1.5), ('z', 'b', -7)", KVSQL_OK,
     "ZADD z 1.5 a -7 b"},
    {"ZADD z 1 a", "INSERT INTO zsets VALUES('z', 'a', 2)", KVSQL_EXISTS,
     "ZADD z NX 2 a"},
    {"ZADD z 1 a", "REPLACE INTO zsets VALUES('z', 'a', 2)", KVSQL_OK,
     "ZADD z 2 a"},
    {"ZADD z 1 a 2 b", "UPDATE zsets SET score = score * 10", KVSQL_OK,
     "ZADD z 10 a\nZADD z 20 b"},
    {"ZADD z 1 a", "INSERT INTO zsets(key, member, incr) VALUES('z', 'a', 2.5)",
     KVSQL_OK, "ZINCRBY z 2.5 a"},
    {"ZADD z 1 a 2 b", "DELETE FROM zsets WHERE score < 2", KVSQL_OK,
     "ZREM z a"},
    /* lists */
    {"RPUSH l a", "INSERT INTO lists(key, value) VALUES('l', 'b')", KVSQL_OK,
     "RPUSH l b"},
    {"RPUSH l a", "INSERT INTO lists VALUES('l', 1, 'b')", KVSQL_OK,
     "RPUSH l b"},
    {"RPUSH l a", "INSERT INTO lists VALUES('l', -1, 'b')", KVSQL_OK,
     "LPUSH l b"},
    {"RPUSH l a", "INSERT INTO lists VALUES('l', 0, 'b')", KVSQL_EXISTS, ""},
    {"RPUSH l a", "REPLACE INTO lists VALUES('l', 0, 'b')", KVSQL_OK,
     "LSET l 0 b"},
    {"RPUSH l a", "INSERT INTO lists VALUES('l', 5, 'b')", KVSQL_CONSTRAINT,
     "LSET l 5 b"},
    {"RPUSH l a b c", "UPDATE lists SET value = 'x' WHERE idx = 1", KVSQL_OK,
     "LSET l 1 x"},
    {"RPUSH l a b c", "DELETE FROM lists WHERE key = 'l' AND idx = 0",
     KVSQL_OK, "LPOP l"},
    {"RPUSH l a b c", "DELETE FROM lists WHERE key = 'l' AND idx = 2",
     KVSQL_OK, "RPOP l"},
    {"RPUSH l a b c", "DELETE FROM lists WHERE value = 'b'", KVSQL_OK,
     "LREM l 1 b"},
    {"RPUSH l a", "DELETE FROM lists", KVSQL_OK, "LPOP l"},
    /* keys */
    {"", "INSERT INTO keys(key, type, length) VALUES('k', 'set', 1)",
     KVSQL_CONSTRAINT, ""},
    {"SADD k m", "UPDATE keys SET expires_at = " FUTURE, KVSQL_OK,
     "PEXPIREAT k " FUTURE},
    {"SADD k m\nPEXPIREAT k " FUTURE, "UPDATE keys SET expires_at = NULL",
     KVSQL_OK, "PERSIST k"},
    {"SADD k m", "UPDATE keys SET expires_at = 1", KVSQL_OK, "PEXPIREAT k 1"},
    {"SADD k m\nSET l v", "UPDATE keys SET key = 'l' WHERE key = 'k'",
     KVSQL_EXISTS, "RENAMENX k l"},
    {"SADD k m\nSET l v",
     "UPDATE OR REPLACE keys SET key = 'l' WHERE key = 'k'", KVSQL_OK,
     "RENAME k l"},
    {"SADD a m\nSET b v\nRPUSH c x", "DELETE FROM keys WHERE key < 'c'",
     KVSQL_OK, "DEL a\nDEL b"},
    {"SADD a m\nSET b v", "INSERT INTO kv_exec(cmd) VALUES('FLUSHDB')",
     KVSQL_OK, "FLUSHDB"},
};

static void set_up(struct side *side, const char *setup)
{
    const bool expires = setup[0] == '@';

    telling = side;
    run_commands(side, setup + expires);
    if (expires) fakeos_advance(side->fake, 20);
    read_ops(side);
    side->events[0] = 0;
}

static void look(struct side *side)
{
    read_ops(side);
    read_rows(side);
}

START_TEST(a_statement_is_its_commands)
{
    const struct row *row = &rows[_i];

    cli_join_sql();
    kv_diag_sink(diag_drop, NULL);
    ck_assert_int_eq(vt_start(&err), KVSQL_OK);
    start(&sql_side);
    start(&command_side);
    set_up(&command_side, row->setup);
    run_commands(&command_side, row->commands);
    look(&command_side);
    set_up(&sql_side, row->setup);
    ck_assert_msg(run_sql(&sql_side, row->sql) == row->rc, "%s: %s", row->sql,
                  err.text);
    look(&sql_side);
    ck_assert_msg(strcmp(sql_side.rows, command_side.rows) == 0,
                  "%s\n%s\n-- %s\n%s", row->sql, sql_side.rows, row->commands,
                  command_side.rows);
    ck_assert_msg(strcmp(sql_side.events, command_side.events) == 0,
                  "%s\n%s-- %s\n%s", row->sql, sql_side.events, row->commands,
                  command_side.events);
    ck_assert_msg(sql_side.ops_size == command_side.ops_size &&
                      memcmp(sql_side.ops, command_side.ops,
                             sql_side.ops_size) == 0,
                  "%s and %s: other bytes in the wal", row->sql,
                  row->commands);
    ck_assert_msg((row->rc == KVSQL_OK) == (sql_side.ops_size > 0),
                  "%s: %zu bytes in the wal", row->sql, sql_side.ops_size);
    stop(&sql_side);
    stop(&command_side);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_loop_test(tests, a_statement_is_its_commands, 0,
                        (int)(sizeof(rows) / sizeof(rows[0])));
}

int main(void)
{
    return unit_run("dml", add);
}

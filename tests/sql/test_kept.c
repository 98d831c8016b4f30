/* test_kept.c - statements that are kept, and so perhaps run without SQLite
 * (vtab/point.h), against the same statements in another store, where each text is
 * compiled anew and is SQLite's.
 *
 * Rows, column names, errors, counts of changes, positions and what is stored are
 * the same, whatever came before: transactions, savepoints, other tables of the
 * name, pragmas, limits, statements that are left in the middle, memory that runs
 * out. KVSQL_SEED gives another run; KVSQL_SQL_STEPS sets how many are tried. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/kept_fx.h"
#include "tests/lib/peer.h"
#include "tests/lib/rand.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STEPS 4000
#else
#define STEPS 20000
#endif
#define STEPS_PER_STORE 400

enum { KEPT, PLAIN, SIDES };
static struct rows sides[SIDES];
static struct rand_state rnd;
static char said[SIDES][ROWS_TEXT_MAX + 2048];
static unsigned long long step;

static unsigned below(unsigned n)
{
    return (unsigned)rand_below(&rnd, n);
}

/* Two stores by turns in one thread: their locks have no order and need none. */
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "detect_deadlocks=0";
}

/* ---- what is asked ------------------------------------------------------------ */

static const char *const reads[] = {
    "SELECT value FROM strings WHERE key = ?",
    "SELECT key, value, expires_at FROM strings WHERE key = ?1",
    "SELECT * FROM strings WHERE key = ?",
    "SELECT * FROM strings", "SELECT count(*) FROM strings",
    "SELECT key, value FROM strings WHERE key >= ? AND key < ?",
    "SELECT key FROM strings WHERE key > ? ORDER BY key DESC LIMIT ?",
    "SELECT key FROM strings ORDER BY key LIMIT ? OFFSET ?",
    "SELECT key FROM strings LIMIT 3", "SELECT key FROM strings LIMIT -1",
    "SELECT key FROM strings LIMIT NULL", "SELECT key FROM strings LIMIT ?",
    "SELECT key FROM strings WHERE key GLOB ?",
    "SELECT key FROM strings WHERE key LIKE ?",
    "SELECT key FROM strings WHERE key LIKE 'A%'",
    "SELECT count(*) FROM strings WHERE key BETWEEN ? AND ?",
    "SELECT count(*) FROM strings WHERE key LIKE 'K%'",
    "SELECT key FROM strings WHERE key = ? COLLATE NOCASE",
    "SELECT key FROM strings WHERE key IN (?, ?)",
    "SELECT rank, key FROM strings WHERE rank >= ? LIMIT 4",
    "SELECT key FROM strings WHERE rank BETWEEN ? AND ?",
    "SELECT incr, append, value FROM strings WHERE key = ?",
    "SELECT key, type, length FROM keys", "SELECT count(*) FROM keys",
    "SELECT key, ttl FROM keys WHERE expires_at > ? ORDER BY expires_at",
    "SELECT key FROM keys WHERE expires_at <= ?",
    "SELECT version IS NOT NULL, key FROM keys WHERE key = ?",
    "SELECT field, value FROM hashes WHERE key = ? AND field = ?",
    "SELECT field, value, _id FROM hashes WHERE key = 'h'",
    "SELECT value FROM hashes WHERE key = 'h' AND field > ? ORDER BY field",
    "SELECT idx, value FROM lists WHERE key = 'l' AND idx >= ?",
    "SELECT value FROM lists WHERE key = 'l' AND idx = ?",
    "SELECT idx FROM lists WHERE key = ? ORDER BY idx DESC LIMIT ?",
    "SELECT member FROM sets WHERE key = 's' AND member >= ?",
    "SELECT member, score FROM zsets WHERE key = 'z' AND score >= ?",
    "SELECT member, score FROM zsets WHERE key = 'z' ORDER BY score LIMIT ?",
    "SELECT member, rank FROM zsets WHERE key = 'z' AND rank < ?",
    "SELECT count(*) FROM zsets WHERE key = 'z' AND score BETWEEN ? AND ?",
    "SELECT * FROM users", "SELECT count(*) FROM users",
    "SELECT * FROM users WHERE id = ?",
    "SELECT id, age FROM users WHERE age = ?",
    "SELECT id, age FROM users WHERE age > ? AND age <= ?",
    "SELECT id, age FROM users WHERE city = ? ORDER BY age DESC LIMIT 2",
    "SELECT count(*) FROM users WHERE age >= ?",
    "SELECT id FROM users WHERE city = 'c1' ORDER BY age LIMIT ?",
    "SELECT kv_get(?)", "SELECT a.key FROM strings a, keys b WHERE a.key = b.key",
    "SELECT key AS x, value y FROM strings WHERE key >= 'a' LIMIT 2",
    "SELECT strings.key FROM main.strings WHERE strings.key < ?",
    "SELECT 1 WHERE EXISTS (SELECT 1 FROM strings WHERE key = ?)",
    "SELECT last_insert_rowid()"};
#define READS (sizeof(reads) / sizeof(reads[0]))

static const char *const writes[] = {
    "DELETE FROM strings WHERE key = ?", "DELETE FROM strings WHERE key = 'a'",
    "DELETE FROM strings WHERE key > ? AND key <= ?",
    "DELETE FROM strings WHERE key BETWEEN 'k:05' AND 'k:09'",
    "DELETE FROM strings WHERE key < ?", "DELETE FROM strings WHERE key LIKE ?",
    "DELETE FROM strings WHERE key >= ? LIMIT 2",
    "DELETE FROM strings WHERE key = ? RETURNING key",
    "DELETE FROM strings WHERE 0", "DELETE FROM sets WHERE member >= ?",
    "DELETE FROM main.strings WHERE key IS ?",
    "UPDATE strings SET value = ? WHERE key = ?",
    "UPDATE strings SET value = ?2 WHERE key = ?1",
    "UPDATE strings SET value = ?1 WHERE key >= ?1",
    "UPDATE strings SET value = 'w' WHERE key = ?",
    "UPDATE strings SET value = 42 WHERE key >= ?",
    "UPDATE strings SET value = -42 WHERE key >= 'k' AND key < 'k:03'",
    "UPDATE strings SET value = 1.5 WHERE key = 'b'",
    "UPDATE strings SET value = NULL WHERE key >= 'k'",
    "UPDATE strings SET value = x'ff00' WHERE key = 'b'",
    "UPDATE strings SET value = ? WHERE key BETWEEN ? AND ?",
    "UPDATE strings SET value = ?", "UPDATE strings SET value = value",
    "UPDATE strings SET value = value || 'x' WHERE key >= ?",
    "UPDATE strings SET value = ?, expires_at = NULL WHERE key = ?",
    "UPDATE strings SET expires_at = ? WHERE key = ?",
    "UPDATE strings SET key = ? WHERE key = ?",
    "UPDATE strings SET incr = ? WHERE key = ?",
    "UPDATE strings SET append = ? WHERE key >= ?",
    "UPDATE OR IGNORE strings SET value = ? WHERE key >= ?",
    "UPDATE OR ROLLBACK strings SET value = ? WHERE key >= ?",
    "UPDATE OR FAIL strings SET value = ? WHERE key = ?",
    "UPDATE strings SET value = ? WHERE key = ? RETURNING value",
    "UPDATE strings SET value = ? WHERE rank = 3",
    "UPDATE hashes SET value = ? WHERE key = 'h' AND field = ?",
    "UPDATE users SET age = ? WHERE id = ?", "UPDATE users SET city = ?",
    "DELETE FROM users WHERE id = ?", "DELETE FROM keys WHERE key = ?",
    "INSERT INTO strings(key, value) VALUES(?, ?)",
    "INSERT OR REPLACE INTO strings(key, value) VALUES(?, ?)",
    "INSERT OR IGNORE INTO strings(key, value) VALUES(?, ?)",
    "INSERT INTO strings(key, value) VALUES(?, ?) ON CONFLICT DO NOTHING",
    "REPLACE INTO strings VALUES(?, ?, ?) RETURNING key, value",
    "REPLACE INTO strings SELECT key, ?, NULL FROM keys",
    "INSERT INTO hashes(key, field, value) VALUES(?, ?, ?)",
    "INSERT INTO lists(key, value) VALUES('l', ?)",
    "REPLACE INTO sets VALUES('s', ?)", "REPLACE INTO zsets VALUES('z', ?, ?)",
    "INSERT OR REPLACE INTO users(id, name, age, city) VALUES(?, ?, ?, 'c1')",
    "INSERT INTO aside VALUES(?)", "UPDATE aside SET n = ? WHERE n > ?",
    "DELETE FROM aside",
    "INSERT INTO kv_exec(cmd, a1, a2) VALUES('SET', 'k:01', ?)"};
#define WRITES (sizeof(writes) / sizeof(writes[0]))

static const char *const controls[] = {
    "BEGIN", "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK", "COMMIT", "BEGIN",
    "SAVEPOINT a", "SAVEPOINT b", "RELEASE a", "RELEASE b", "ROLLBACK TO a",
    "ROLLBACK TO b"};
#define CONTROLS (sizeof(controls) / sizeof(controls[0]))

static const char *const turns[] = {
    "PRAGMA case_sensitive_like = 1", "PRAGMA case_sensitive_like = 0",
    "PRAGMA reverse_unordered_selects = 1",
    "PRAGMA reverse_unordered_selects = 0", "PRAGMA query_only = 1",
    "PRAGMA query_only = 0", "PRAGMA query_only = 0", "PRAGMA query_only",
    "PRAGMA count_changes = 1", "PRAGMA count_changes = 0",
    "PRAGMA full_column_names = 1", "PRAGMA full_column_names = 0",
    "PRAGMA short_column_names = 0", "PRAGMA short_column_names = 1",
    "PRAGMA writable_schema = 1", "PRAGMA user_version = 7",
    "PRAGMA recursive_triggers = 1", "PRAGMA automatic_index = 0",
    "PRAGMA cache_size = 5", "PRAGMA temp_store = 2", "PRAGMA optimize",
    "CREATE TEMP TABLE strings(key, value, expires_at)",
    "DROP TABLE temp.strings", "DROP TABLE temp.strings",
    "CREATE TEMP VIEW strings AS SELECT 'a' AS key, 'v' AS value, 1 AS x",
    "DROP VIEW temp.strings", "DROP VIEW temp.strings",
    "CREATE TEMP TABLE aside(n)", "DROP TABLE aside", "CREATE TABLE aside(n)",
    "CREATE TABLE keys(key, type, length)", "DROP TABLE main.keys",
    "ALTER TABLE aside RENAME TO strings", "ALTER TABLE aside ADD COLUMN m",
    "CREATE TEMP TRIGGER t AFTER INSERT ON aside BEGIN UPDATE strings SET value "
    "= new.n WHERE key >= 'k:10'; DELETE FROM strings WHERE key = 'k:11'; END",
    "CREATE TEMP TABLE other(n)", "DROP TABLE other",
    "CREATE VIRTUAL TABLE users USING kv_hash('u:{id}', id, name TEXT, age "
    "INTEGER, city TEXT, INDEX(age), INDEX(city, age))",
    "CREATE VIRTUAL TABLE users USING kv_hash('u:{id}', id, city TEXT, age TEXT, "
    "name TEXT, INDEX(age))",
    "CREATE VIRTUAL TABLE temp.users USING kv_hash('u:{n}', n, age, city, id)",
    "DROP TABLE users", "DROP TABLE users", "ALTER TABLE users RENAME TO others",
    "DROP TABLE others", "CREATE VIRTUAL TABLE temp.strings USING strings",
    "CREATE VIRTUAL TABLE temp.strings USING keys", "ANALYZE", "VACUUM",
    "ATTACH ':memory:' AS x", "DETACH x", "CREATE TABLE x.strings(key, value, n)",
    "SELECT changes(), total_changes()", "REINDEX", "EXPLAIN SELECT 1"};
#define TURNS (sizeof(turns) / sizeof(turns[0]))

static const struct vt_value more[] = {
    TEXT_OF("k:01"), TEXT_OF("k:05"), TEXT_OF("k:15"), TEXT_OF("k"),
    TEXT_OF("l"), TEXT_OF("s"), TEXT_OF("z"), TEXT_OF("f"), TEXT_OF("K:0%"),
    TEXT_OF("1"), TEXT_OF("c1"), TEXT_OF("1800000000000"), TEXT_OF("2.5"),
    TEXT_OF(" 7"), TEXT_OF("1e1"), TEXT_OF("x\xc3"), TEXT_OF("k:0[3-5]"),
    INT_OF(1), INT_OF(3), INT_OF(1800000000000), INT_OF(1700000005000),
    INT_OF(9007199254740993), REAL_OF(1.5), REAL_OF(3), REAL_OF(0.5)};
#define MORE (sizeof(more) / sizeof(more[0]))

/* ---- both sides --------------------------------------------------------------- */

static struct vt_value chosen[4];

static void choose(void)
{
    for (int i = 0; i < 4; i++) {
        const unsigned n = below(VALUES + 2 * MORE);
        chosen[i] = n < VALUES ? values[n] : more[(n - VALUES) % MORE];
    }
}

/* Run a statement of a side; stop it behind `until` rows. What it says goes to
 * said[side]. */
static kvsql_rc say(int side, struct vt_session *session, const char *sql,
                    unsigned until)
{
    struct rows *rows = &sides[side];
    struct vt_statement *statement = NULL;
    char *out = said[side];
    size_t size = 0, n = 0;
    bool row = false, truncated = false;
    kvsql_rc rc;

    if (side == PLAIN) vt_statements_forget(session);
    rc = vt_prepare(session, sql, strlen(sql), NULL, &statement, &rows->err);
    for (int i = 0; rc == KVSQL_OK && statement != NULL &&
                    i < vt_param_count(statement) && i < 4; i++)
        rc = vt_bind(statement, i + 1, &chosen[i], &rows->err);
    rows->text[0] = 0;
    for (unsigned at = 0; rc == KVSQL_OK && statement != NULL; at++) {
        if (at == until && row) break;
        rc = vt_step(statement, &row, &rows->err);
        if (rc != KVSQL_OK || !row) break;
        for (int i = 0; i < vt_column_count(statement); i++) {
            struct vt_value v;
            vt_column(statement, i, &v);
            rows_between(rows->text, &size, i);
            rows_value(rows->text, &size, &v, true);
        }
    }
    if (statement != NULL) {
        truncated = vt_truncated(statement);
        if (rc == KVSQL_OK)
            n = (size_t)snprintf(out, sizeof(said[0]), "%d columns%s,",
                                 vt_column_count(statement),
                                 vt_is_readonly(statement) ? ", reads" : "");
        for (int i = 0; rc == KVSQL_OK && i < vt_column_count(statement); i++)
            n += (size_t)snprintf(out + n, sizeof(said[0]) - n, " %s",
                                  vt_column_name(statement, i));
        vt_finish(statement);
    }
    /* a name is missed when the text is compiled, or behind ROLLBACK TO when it
     * runs */
    if (rc == KVSQL_SYNTAX) rc = KVSQL_INVALID;
    (void)snprintf(out + n, sizeof(said[0]) - n,
                   "\n%d %s%s, %lld changes, position %llu, %s\n%s", (int)rc,
                   rc != KVSQL_OK ? rows->err.text : "",
                   truncated ? " truncated" : "",
                   (long long)vt_changes(session),
                   (unsigned long long)vt_position(session),
                   vt_in_transaction(session) ? "inside" : "outside",
                   rows->text);
    return rc;
}

static void differ(const char *sql)
{
    printf("step %llu: %s\n", step, sql);
    for (int i = 0; i < 4; i++)
        printf("  ?%d kind %d int %lld real %g text '%.*s'\n", i + 1,
               (int)chosen[i].kind, (long long)chosen[i].integer,
               chosen[i].real, (int)chosen[i].size,
               chosen[i].p ? (const char *)chosen[i].p : "");
    printf("kept: %.1500s\n\nplain: %.1500s\n", said[KEPT], said[PLAIN]);
    fflush(stdout);
    ck_abort_msg("kept and plain differ");
}

static struct vt_session *session_of(int side, bool other)
{
    return other ? sides[side].other : sides[side].session;
}

static kvsql_rc both(const char *sql, bool other, unsigned until)
{
    kvsql_rc rc = KVSQL_OK;

    for (int side = 0; side < SIDES; side++)
        rc = say(side, session_of(side, other), sql, until);
    if (strcmp(said[KEPT], said[PLAIN]) != 0) differ(sql);
    return rc;
}

static void contents(void)
{
    static const char *const asks[] = {
        "SELECT key, value, expires_at FROM main.strings ORDER BY key LIMIT 9999",
        "SELECT key, type, length, expires_at FROM main.keys ORDER BY key LIMIT "
        "9999",
        "SELECT key, field, value FROM hashes"};

    for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
        for (int side = 0; side < SIDES; side++)
            (void)say(side, session_of(side, true), asks[i], ~0u);
        if (strcmp(said[KEPT], said[PLAIN]) != 0) differ(asks[i]);
    }
}

/* ---- a store ------------------------------------------------------------------ */

static const char *const setup[] = {
    "INSERT INTO strings(key, value, expires_at) VALUES('a', 'one', NULL), "
    "('b', 42, 1800000000000), ('', 'empty', NULL), (x'ff', x'00ff', NULL), "
    "('gone', 'x', 1700000005000), ('7', 7, NULL), ('7.0', '7.0', NULL), "
    "(printf('%.*c', 70, 'l'), printf('%.*c', 2100, 'x'), NULL)",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20) "
    "INSERT INTO strings(key, value) SELECT printf('k:%02d', i), i FROM n",
    "INSERT INTO hashes(key, field, value) VALUES('h', 'f', 1), ('h', 'g', 'w'), "
    "('h', x'ff', x'fe')",
    "INSERT INTO lists(key, value) VALUES('l', 'x'), ('l', 'y'), ('l', 3)",
    "INSERT INTO sets VALUES('s', 'm'), ('s', 'n'), ('a:s', 7)",
    "INSERT INTO zsets VALUES('z', 'm', 1.5), ('z', 'n', 2), ('z', 'o', -3)",
    "CREATE VIRTUAL TABLE users USING kv_hash('u:{id}', id, name TEXT, age "
    "INTEGER, city TEXT, INDEX(age), INDEX(city, age))",
    "INSERT INTO users VALUES('1', 'ann', 7, 'a'), ('2', 'bob', 2, 'a'), ('3', "
    "'cid', NULL, 'c1'), ('4', NULL, 'old', 'c1'), (5, 'eve', 2.5, 7)",
    "CREATE TEMP TABLE aside(n)"};

static void open_both(void)
{
    struct vt_limits limits = {.row_max = 1u << 30, .byte_max = 1u << 30,
                               .deadline_ms = 3600000, .admin = true};

    for (int side = 0; side < SIDES; side++) {
        rows_init(&sides[side]);
        sides[side].literal = true;
        vt_session_limits(sides[side].other, &limits);
    }
    for (size_t i = 0; i < sizeof(setup) / sizeof(setup[0]); i++)
        if (both(setup[i], false, ~0u) != KVSQL_OK) differ(setup[i]);
}

static void close_both(void)
{
    for (int side = 0; side < SIDES; side++) {
        vt_rollback(sides[side].session);
        vt_rollback(sides[side].other);
        rows_fini(&sides[side]);
    }
}

/* Little room for rows, or enough. */
static void limit(void)
{
    struct vt_limits limits = {.row_max = 1u << 30, .byte_max = 1u << 30,
                               .deadline_ms = 3600000, .admin = true};

    switch (below(4)) {
    case 0: limits.row_max = 1 + below(6); break;
    case 1: limits.byte_max = 1 + below(400); break;
    default: break;
    }
    limits.read_only = below(8) == 0;
    for (int side = 0; side < SIDES; side++)
        vt_session_limits(sides[side].other, &limits);
}

/* A statement of the kept side that finds no memory at its n-th allocation has
 * been made, or not at all. */
static void without_memory(const char *sql)
{
    struct vt_session *kept = session_of(KEPT, false),
                      *plain = session_of(PLAIN, false);
    const bool inside = vt_in_transaction(kept);
    kvsql_rc rc;

    kv_mem_fail_at(1 + below(40), 0);
    rc = say(KEPT, kept, sql, ~0u);
    kv_mem_fail_at(0, 0);
    if (rc != KVSQL_NOMEM) {
        /* SQLite may find no memory for what it says */
        if (say(PLAIN, plain, sql, ~0u) != rc ||
            (rc == KVSQL_OK && strcmp(said[KEPT], said[PLAIN]) != 0))
            differ(sql);
    } else if (inside && !vt_in_transaction(kept)) {
        vt_rollback(plain);
    }
    (void)both("DELETE FROM main.sets WHERE 0", false, ~0u); /* their counts */
    if (!vt_in_transaction(kept)) contents();
}

static bool busy(bool other)
{
    /* one thread, so the other session could wait for itself */
    return vt_in_transaction(session_of(KEPT, !other));
}

static void one_step(void)
{
    static const char *last = "SELECT count(*) FROM strings";
    const bool other = below(5) == 0 && !busy(true);
    const unsigned what = below(100);
    const unsigned until = below(6) == 0 ? 1 + below(3) : ~0u;
    const char *sql = last;

    choose();
    if (what < 30) sql = reads[below(READS)];
    else if (what < 55) sql = writes[below(WRITES)];
    else if (what < 63) sql = below(3) ? writes[below(24)] : reads[below(8)];
    else if (what < 85) sql = last;
    else if (what < 95) sql = other ? "SELECT 1" : controls[below(CONTROLS)];
    else if (what < 98) sql = other ? "SELECT 2" : turns[below(TURNS)];
    else if (what == 98) {
        if (!vt_in_transaction(sides[KEPT].other)) limit();
        for (int side = 0; side < SIDES; side++) { /* SQL may count no more */
            struct vt_session *s = session_of(side, false);
            if (!vt_in_transaction(s) && !s->changes_own) s->counts_asked = false;
        }
        sides[KEPT].wall += below(3) * 4000;
        sides[PLAIN].wall = sides[KEPT].wall;
        return;
    } else if (below(3) == 0) {
        without_memory(below(2) ? writes[below(WRITES)] : reads[below(READS)]);
        return;
    }
    if (!other && busy(false)) return;
    last = sql;
    (void)both(sql, other, until);
}

START_TEST(kept_statements_are_those_that_sqlite_runs)
{
    const unsigned steps = peer_steps(STEPS);

    rnd = rand_of(rand_seed("kept", 4));
    for (step = 0; step < steps; step++) {
        if (step % STEPS_PER_STORE == 0) {
            if (step > 0) close_both();
            open_both();
        }
        one_step();
        if (step % 10 == 0 && !vt_in_transaction(sides[KEPT].session) &&
            !vt_in_transaction(sides[KEPT].other))
            contents();
    }
    close_both();
}
END_TEST

static void add(TCase *tests)
{
    tcase_set_timeout(tests, 0);
    tcase_add_test(tests, kept_statements_are_those_that_sqlite_runs);
}

int main(void)
{
    return unit_run("kept", add);
}

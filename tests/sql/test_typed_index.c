/* test_typed_index.c - TE1, TE4 of the SQL reference for typed tables with
 * indexes: generated statements on a kv_hash table and on a native one with the
 * same indexes, unique ones too. */
#include <string.h>

#include "tests/lib/peer_fx.h"

#define STEPS 6000

#define USERS                                                                 \
    "CREATE VIRTUAL TABLE users USING kv_hash('user:{id}', id, name TEXT,"    \
    " age INTEGER, city TEXT, score REAL, data BLOB, INDEX(age),"             \
    " INDEX(city, age), INDEX(score, name), INDEX(data))"

static const char *const ids[] = {"'1'", "'2'", "'7'", "'007'", "' 7'", "'7.0'",
                                  "'a'", "'ab'", "x'ff'", "':'"};
static const char *const columns[] = {"name", "age", "score", "city", "data"};
static const char *const values[] = {
    "7", "'7'", "'007'", "7.0", "'7.0'", "' 7 '", "0.5", "'1e1'", "10", "1e17",
    "'abc'", "''", "-5", "'-5'", "'7a'", "x'ff'", "x'3700'", "x'00'",
    "9223372036854775807", "'9223372036854775808'", "0.1 + 0.2", "9e999",
    "9007199254740993", "9007199254740992.0", "0.1", "'\xc3\xa9'", "3 + 4"};
static const char *const operators[] = {"=", "=", "<", "<=", ">", ">=", "IS"};

static void say_value(void)
{
    switch (below(12)) {
    case 0:
        say("CAST(%s AS %s)", PICK(values), below(2) ? "INTEGER" : "TEXT");
        break;
    case 1: say("t.%s", below(2) ? "i" : "x"); break;
    case 2: say("NULL"); break;
    default: say("%s", PICK(values)); break;
    }
}

static void say_term(void)
{
    switch (below(7)) {
    case 0:
        say("%s IN (", PICK(columns));
        say_value();
        say(", %s, %s)", PICK(values), PICK(values));
        break;
    case 1:
        say("%s %s", PICK(columns), below(2) ? "IS NULL" : "NOT NULL");
        break;
    case 2: say("%s IN (SELECT x FROM t)", PICK(columns)); break;
    case 3:
        say("%s BETWEEN ", PICK(columns));
        say_value();
        say(" AND ");
        say_value();
        break;
    default:
        say("%s %s ", PICK(columns), PICK(operators));
        say_value();
        break;
    }
}

static void say_where(void)
{
    say_term();
    for (unsigned n = below(4); n > 0; n--) {
        say(below(5) ? " AND " : " OR ");
        say_term();
    }
}

static void say_order(void)
{
    const char *way = below(2) ? " DESC" : "";

    for (unsigned n = below(3); n > 0; n--) say("%s%s, ", PICK(columns), way);
    say("id%s, t.i%s", way, way);
}

static void say_query(void)
{
    switch (below(5)) {
    case 0:
        say("SELECT t.i, id, name, age FROM t LEFT JOIN users ON ");
        say_where();
        say(" ORDER BY t.i, id");
        break;
    case 1:
        say("SELECT %s, count(*), max(age), min(city) FROM users, t WHERE ",
            PICK(columns));
        say_where();
        say(" GROUP BY 1 ORDER BY 1");
        break;
    case 2:
        say("SELECT DISTINCT %s FROM users, (SELECT 7 AS i, '7' AS x) t WHERE ",
            PICK(columns));
        say_where();
        say(" ORDER BY 1");
        break;
    default:
        say("SELECT users.*, typeof(age), t.i FROM users,%s WHERE ",
            below(2) ? " t" : " (SELECT 7 AS i, '7' AS x) t");
        say_where();
        say(" ORDER BY ");
        say_order();
        if (below(2)) say(" LIMIT %u OFFSET %u", 1 + below(9), below(3));
        break;
    }
}

/* `name` is never NULL: a row of NULLs cannot be. */
static void say_write(void)
{
    const char *column = columns[1 + below(4)];

    switch (below(5)) {
    case 0:
    case 1:
        say("INSERT OR %s INTO users VALUES", below(2) ? "REPLACE" : "IGNORE");
        SAY_ROWS(ids, values);
        break;
    case 2:
        say("UPDATE OR REPLACE users SET id = %s WHERE id = %s", PICK(ids),
            PICK(ids));
        break;
    case 3:
        say("UPDATE users SET %s = %s WHERE %s %s %s", column,
            strcmp(column, "data") == 0 ? "x'ff'" : PICK(values),
            PICK(columns), PICK(operators), PICK(values));
        break;
    default:
        say("DELETE FROM users WHERE %s = %s AND id < '%u'", PICK(columns),
            PICK(values), 100 + below(600));
        break;
    }
}

static void compare_tables(const char *table, const char *indexes)
{
    const unsigned steps = peer_steps(STEPS);

    peer_open(&peer, &fx, "typed_index", 9);
    ok(table);
    peer_native(&peer, "CREATE TABLE users(id TEXT NOT NULL PRIMARY KEY, name"
                       " TEXT, age INTEGER, city TEXT, score REAL, data BLOB)"
                       " WITHOUT ROWID");
    peer_native(&peer, indexes);
    peer_run(&peer, "CREATE TEMP TABLE t(i INTEGER, x TEXT)");
    peer_run(&peer, "INSERT INTO t VALUES(7, '7'), (1, 'abc'), (2, NULL)");
    peer_run(&peer, "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i+1"
                    " FROM n LIMIT 60) INSERT INTO users SELECT i, 'n' || i,"
                    " i % 13, i % 7, i * 0.5, CAST('c' || i AS BLOB) FROM n");
    for (unsigned i = 0; i < steps; i++) {
        peer.sql[0] = 0;
        switch (below(8)) {
        case 0: say("%s", peer_control(&peer)); break;
        case 1:
        case 2: say_write(); break;
        default: say_query(); break;
        }
        peer_both(&peer);
        keep_up(i);
        if (i % 32 > 0) continue;
        peer_run(&peer, "SELECT *, typeof(age) FROM users ORDER BY id");
        if (!vt_in_transaction(fx.session))
            kv_store_check(kv_db_store(fx.db));
    }
    printf("typed_index: %u statements\n", steps);
    peer_close(&peer);
}

START_TEST(statements_give_what_a_native_table_with_the_indexes_gives)
{
    compare_tables(USERS, "CREATE INDEX a ON users(age);"
                          "CREATE INDEX b ON users(city, age);"
                          "CREATE INDEX c ON users(score, name);"
                          "CREATE INDEX d ON users(data)");
}
END_TEST

START_TEST(unique_indexes_refuse_and_replace_what_native_ones_do)
{
    compare_tables("CREATE VIRTUAL TABLE users USING kv_hash('user:{id}', id,"
                   " name TEXT, age INTEGER, city TEXT, score REAL, data BLOB,"
                   " UNIQUE(name), UNIQUE(city, age) STRICT, INDEX(score))",
                   "CREATE UNIQUE INDEX a ON users(name);"
                   "CREATE UNIQUE INDEX b ON users(city, age);"
                   "CREATE INDEX c ON users(score)");
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, fixture_setup, fixture_teardown);
    tcase_set_timeout(tests, 0);
    tcase_add_test(tests,
                   statements_give_what_a_native_table_with_the_indexes_gives);
    tcase_add_test(tests, unique_indexes_refuse_and_replace_what_native_ones_do);
}

int main(void)
{
    return unit_run("typed_index", add);
}

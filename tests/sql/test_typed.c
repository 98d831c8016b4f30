/* test_typed.c - TE1, TE4 of the SQL reference for typed tables: generated
 * statements on a kv_hash table and on a native one of the same declaration. */
#include <string.h>

#include "tests/lib/peer_fx.h"

#define STEPS 6000

static const char *const ids[] = {"'1'", "'2'", "'7'", "'007'", "' 7'", "'7.0'",
                                  "'a'", "'ab'", "''", "x'ff'", "x'00'", "':'"};
static const char *const columns[] = {"name", "age", "score", "n"};
static const char *const values[] = {
    "7", "'7'", "'007'", "7.0", "'7.0'", "' 7 '", "'+7'", "'.5'", "0.5",
    "'1e1'", "'1e17'", "1e17", "'abc'", "''", "-5", "'-5'", "'0x7'", "'7a'",
    "x'ff'", "x'3700'", "9223372036854775807", "'9223372036854775808'",
    "0.1 + 0.2", "'0.30000000000000004'", "9e999", "'1e400'", "'Inf'",
    "9007199254740993", "'123456789012345678901234567890'", "0.1", "-0.0",
    "'-0'", "'1_000'", "'1.'", "'5e-324'", "1.5", "'\xc3\xa9'"};
static const char *const conflicts[] = {"", "", " OR REPLACE", " OR IGNORE",
                                        " OR FAIL", " OR ROLLBACK"};
static const char *const operators[] = {"=", "<", "<=", ">", ">=", "<>", "IS"};
static const char *const patterns[] = {"'7*'", "'*'", "'a%'", "'A_'", "'[0-7]*'",
                                       "'%7'", "''"};

static void say_value(void)
{
    if (below(12) == 0)
        say("CAST(%s AS %s)", PICK(values), below(2) ? "INTEGER" : "TEXT");
    else
        say("%s", below(3) ? PICK(values) : PICK(ids));
}

static void say_where(int depth)
{
    switch (below(depth > 0 ? 9 : 7)) {
    case 0: say("id = %s", PICK(ids)); break;
    case 1:
        say("id %s ", PICK(operators));
        say_value();
        break;
    case 2:
        say("%s %s ", PICK(columns), PICK(operators));
        say_value();
        break;
    case 3: say("id IN (%s, %s, %s)", PICK(ids), PICK(ids), PICK(values)); break;
    case 4:
        say("id %s %s", below(2) ? "GLOB" : "LIKE", PICK(patterns));
        break;
    case 5: say("%s %s", PICK(columns), below(2) ? "IS NULL" : "NOT NULL"); break;
    case 6: say("id = t.%s", below(2) ? "i" : "x"); break;
    default:
        say("(");
        say_where(depth - 1);
        say(below(2) ? " AND " : " OR ");
        say_where(depth - 1);
        say(")");
        break;
    }
}

static void say_query(void)
{
    switch (below(4)) {
    case 0:
        say("SELECT users.*, typeof(age), typeof(score), typeof(n), t.i FROM"
            " users, t WHERE ");
        say_where(2);
        say(" ORDER BY id, t.i");
        break;
    case 1:
        say("SELECT t.i, id, name, age FROM t LEFT JOIN users ON ");
        say_where(1);
        say(" ORDER BY t.i, id");
        break;
    case 2:
        say("SELECT %s, count(*), max(id) FROM users, t WHERE ", PICK(columns));
        say_where(1);
        say(" GROUP BY 1 ORDER BY 1, 3");
        break;
    default:
        say("SELECT id, %s, data FROM users, (SELECT 7 AS i, '7' AS x) t WHERE ",
            PICK(columns));
        say_where(1);
        say(" ORDER BY id DESC LIMIT %u OFFSET %u", 1 + below(5), below(3));
        break;
    }
}

/* `name` is never NULL: a row of NULLs cannot be. */
static void say_write(void)
{
    const char *column = PICK(columns);

    switch (below(5)) {
    case 0:
    case 1:
        say("INSERT%s INTO users VALUES", PICK(conflicts));
        SAY_ROWS(ids, values);
        break;
    case 2:
        say("UPDATE%s users SET id = %s WHERE id = %s", PICK(conflicts),
            PICK(ids), PICK(ids));
        break;
    case 3:
        say("UPDATE users SET %s = ", column);
        if (below(4) == 0)
            say("age + 1, name = 'x'");
        else
            say("%s", strcmp(column, "name") != 0 && below(4) == 0
                          ? "NULL"
                          : PICK(values));
        if (below(3)) say(" WHERE id %s %s", below(2) ? "=" : "<", PICK(ids));
        break;
    default: say("DELETE FROM users WHERE id = %s", PICK(ids)); break;
    }
}

START_TEST(statements_give_what_a_native_table_gives)
{
    const unsigned steps = peer_steps(STEPS);

    peer_open(&peer, &fx, "typed", 8);
    peer.sentences = true;
    ok("CREATE VIRTUAL TABLE users USING kv_hash('user:{id}', id, name TEXT,"
       " age INTEGER, score REAL, n NUMERIC, data BLOB)");
    peer_native(&peer, "CREATE TABLE users(id TEXT NOT NULL PRIMARY KEY, name"
                       " TEXT, age INTEGER, score REAL, n NUMERIC, data BLOB)"
                       " WITHOUT ROWID");
    peer_run(&peer, "CREATE TEMP TABLE t(i INTEGER, x TEXT)");
    peer_run(&peer, "INSERT INTO t VALUES(7, '7'), (1, 'a'), (2, NULL)");
    ok("INSERT INTO hashes(key, field, value) VALUES('user', 'name', 'x'),"
       " ('user;', 'name', 'y'), (x'ff', 'name', 'z')"); /* around it */
    for (unsigned i = 0; i < steps; i++) {
        peer.sql[0] = 0;
        switch (below(8)) {
        case 0: say("%s", peer_control(&peer)); break;
        case 1:
        case 2:
        case 3: say_write(); break;
        default: say_query(); break;
        }
        peer_both(&peer);
        keep_up(i);
        if (i % 8 == 0)
            peer_run(&peer, "SELECT *, typeof(age), typeof(n) FROM users"
                            " ORDER BY id");
    }
    printf("typed: %u statements\n", steps);
    peer_close(&peer);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, fixture_setup, fixture_teardown);
    tcase_set_timeout(tests, 0);
    tcase_add_test(tests, statements_give_what_a_native_table_gives);
}

int main(void)
{
    return unit_run("typed", add);
}

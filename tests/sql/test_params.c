/* test_params.c - what a bound number means, wherever it stands (PL2, PL5).
 *
 * A bound number that is compared with a column of text is its text; but SQLite
 * puts it where a column stands that is equal to it (`a.key = b.score AND
 * b.score = ?`), and there it is a number, and '7' and '007' are equal to it.
 * A module is told neither. Each of these statements is made on our tables and
 * on native ones with the same rows, with each of these values. */
#include "tests/lib/unit.h"
#include "tests/sql/twin.h"

static struct twin twin;

static const struct vt_value values[] = {
    {.kind = VT_INTEGER, .integer = 7},
    {.kind = VT_INTEGER, .integer = 10},
    {.kind = VT_REAL, .real = 7.0},
    {.kind = VT_TEXT, .p = (const uint8_t *)"7", .size = 1},
    {.kind = VT_TEXT, .p = (const uint8_t *)"007", .size = 3},
    {.kind = VT_BLOB, .p = (const uint8_t *)"7", .size = 1},
    {.kind = VT_NULL}};

static void params_setup(void)
{
    twin_open(&twin, "params", 1);
    twin.gen.loose = true;
    twin_do(&twin, "INSERT INTO strings(key, value) VALUES('7', '7'),"
                   " ('007', 'a'), ('7.0', 'b'), ('10', '10'), ('10.0', 'c'),"
                   " ('a', '7.0')");
    twin_do(&twin, "INSERT INTO sets VALUES('s', '7'), ('s', '007'),"
                   " ('s', '7.0'), ('s', '10'), ('s', '10.0'), ('s', 'a')");
    twin_do(&twin, "INSERT INTO hashes(key, field, value) VALUES"
                   " ('h', '7', '7'), ('h', '007', '7.0'), ('h', '10.0', '1'),"
                   " ('h', '10', 'x')");
    twin_do(&twin, "INSERT INTO zsets VALUES('z', '7', 7), ('z', '007', 7),"
                   " ('z', '10.0', 10), ('z', '10', 1), ('y', '7.0', 7)");
    twin_do(&twin, "CREATE TEMP TABLE log(n INTEGER, x TEXT, u)");
    twin_do(&twin, "CREATE TEMP VIEW numbers AS SELECT n FROM t");
    twin_do(&twin, "CREATE TEMP TRIGGER forget AFTER INSERT ON log"
                   " WHEN new.x = 'delete' BEGIN"
                   " DELETE FROM sets WHERE key = 's' AND member = new.u; END");
    twin_do(&twin, "CREATE TEMP TRIGGER mark AFTER INSERT ON log"
                   " WHEN new.x = 'update' BEGIN"
                   " UPDATE strings SET value = 'new' WHERE key > new.n; END");
}

static void params_teardown(void)
{
    twin_close(&twin);
}

static void both(const char *sql, const struct vt_value *value)
{
    gen_begin(&twin.gen);
    twin.gen.loose = true;
    twin.gen.params[0] = *value;
    twin.gen.param_count = 1;
    twin_both(&twin, sql);
}

#define EACH_OF(list, sql)                                                    \
    for (size_t n = 0; n < sizeof(list) / sizeof((list)[0]); n++)             \
        for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++)       \
            sql((list)[n], &values[v])

START_TEST(a_query_finds_what_native_tables_have)
{
    static const char *const queries[] = {
        "SELECT key FROM strings WHERE key = ?1",
        "SELECT key FROM strings WHERE key > ?1",
        "SELECT key FROM strings WHERE key <= ?1",
        "SELECT key, CAST(value AS INTEGER) FROM strings WHERE key = ?1",
        /* a column of the same row */
        "SELECT * FROM zsets WHERE member = score AND score = ?1",
        "SELECT * FROM zsets WHERE key = 'z' AND member = score AND score = ?1",
        "SELECT * FROM zsets WHERE member >= score AND score = ?1",
        "SELECT * FROM zsets WHERE member IN (score, 'a') AND score = ?1",
        "SELECT * FROM keys WHERE key = length AND length = ?1",
        /* ... of another row of the same table */
        "SELECT b.* FROM zsets a, zsets b WHERE a.score = ?1"
        " AND b.member = a.score",
        "SELECT b.* FROM zsets a JOIN zsets b ON b.key = 'z'"
        " AND b.member = a.score WHERE a.score = ?1",
        "SELECT b.* FROM zsets a, zsets b WHERE a.score = ?1"
        " AND b.member < a.score",
        "SELECT a.* FROM zsets a WHERE a.score = ?1 AND EXISTS"
        " (SELECT 1 FROM zsets b WHERE b.member = a.score)",
        "SELECT a.key, (SELECT group_concat(b.member) FROM zsets b"
        " WHERE b.member = a.score ORDER BY b.key, b.member)"
        " FROM zsets a WHERE a.score = ?1",
        /* ... of another table */
        "SELECT s.key FROM strings s, zsets z WHERE s.key = z.score"
        " AND z.score = ?1",
        "SELECT s.key FROM strings s, t WHERE s.key = t.n AND t.n = ?1",
        "SELECT s.key FROM strings s, t WHERE s.key >= t.i AND t.i = ?1",
        "SELECT s.key FROM strings s, t WHERE s.key > t.b AND t.b = ?1",
        "SELECT s.key FROM strings s, t WHERE s.key > t.u AND t.u = ?1",
        "SELECT s.key FROM strings s, t WHERE s.key = t.x AND t.x = ?1",
        "SELECT s.key FROM strings s, numbers WHERE s.key = n AND n = ?1",
        "SELECT s.key FROM strings s JOIN sets m ON m.member = ?1"
        " WHERE s.key = ?1",
        /* ... of a subquery */
        "SELECT s.key FROM strings s, (SELECT DISTINCT CAST(value AS INTEGER)"
        " AS n FROM strings) q WHERE q.n = ?1 AND s.key = q.n",
        "SELECT q.member FROM (SELECT DISTINCT member, CAST(score AS INTEGER)"
        " AS n FROM zsets) q WHERE q.member = q.n AND q.n = ?1",
        "SELECT s.key FROM strings s, (SELECT n FROM t WHERE n = ?1) q"
        " WHERE s.key = q.n",
        "WITH q(n) AS (SELECT max(score) FROM zsets GROUP BY key)"
        " SELECT s.key FROM strings s, q WHERE q.n = ?1 AND s.key = q.n",
        "SELECT key FROM strings WHERE key = CAST(?1 AS INTEGER)",
        "SELECT key FROM strings WHERE key >= CAST(coalesce(?1, 1) AS REAL)",
        "SELECT key FROM strings WHERE key = (SELECT CAST(?1 AS INTEGER))",
        "SELECT key FROM strings WHERE key = CAST(?1 AS TEXT)",
        "SELECT key FROM strings WHERE key = CAST(CAST(?1 AS TEXT) AS INTEGER)",
        "SELECT 'cast(', key FROM strings WHERE key = CAST(?1 AS INTEGER)"
        " AND ')' <> ''",
        "SELECT key FROM strings WHERE key = CAST(CASE ' AS TEXT)' WHEN 'x'"
        " THEN 1 ELSE ?1 END AS INTEGER)",
        "SELECT key FROM strings WHERE key = CAST/* as text) */(?1 AS REAL)",
        "SELECT s.key FROM strings s, (SELECT CAST(?1 AS NUMERIC) AS n) q"
        " WHERE s.key = q.n",
        "SELECT key FROM strings WHERE key = (SELECT ?1)",
        "SELECT key FROM strings WHERE key IN (SELECT ?1)",
        "SELECT key FROM strings WHERE key IN (?1, 'a')",
        "SELECT key FROM strings WHERE key = coalesce(?1, 7)",
        "SELECT key FROM strings WHERE key BETWEEN ?1 AND ?1",
        "SELECT key FROM strings WHERE key = ?1 OR key = 'a'"};

    EACH_OF(queries, both);
}
END_TEST

/* Of a text in a row of such a subquery nobody can say that it is compared as a
 * number (SQL.md). */
START_TEST(a_number_in_a_compound_is_what_the_compound_is)
{
    static const char *const queries[] = {
        "SELECT key FROM strings WHERE key ="
        " (SELECT ?1 UNION ALL SELECT CAST(1 AS INTEGER) LIMIT 1)",
        "SELECT key FROM strings WHERE key ="
        " (SELECT ?1 UNION ALL SELECT n FROM t LIMIT 1)",
        "SELECT key FROM strings WHERE key > (SELECT * FROM"
        " (VALUES(?1), (CAST(1 AS INTEGER))) LIMIT 1)",
        "SELECT key FROM strings WHERE key = (VALUES(?1), (CAST(1 AS INTEGER)))",
        "WITH q(n) AS (SELECT ?1 UNION ALL SELECT CAST(1 AS INTEGER))"
        " SELECT s.key FROM strings s, q WHERE s.key = q.n",
        "SELECT key FROM strings WHERE key IN"
        " (SELECT ?1 UNION ALL SELECT CAST(1 AS INTEGER))"};

    for (size_t n = 0; n < sizeof(queries) / sizeof(queries[0]); n++)
        for (size_t v = 0; v < 3; v++) both(queries[n], &values[v]);
}
END_TEST

static void change(const char *sql, const struct vt_value *value)
{
    twin_do(&twin, "SAVEPOINT before");
    both(sql, value);
    twin_do(&twin, "SELECT * FROM strings");
    twin_do(&twin, "SELECT * FROM hashes");
    twin_do(&twin, "SELECT * FROM sets");
    twin_do(&twin, "SELECT * FROM zsets");
    twin_do(&twin, "ROLLBACK TO before");
    twin_do(&twin, "RELEASE before");
}

START_TEST(a_change_reaches_the_rows_it_would_reach_in_native_tables)
{
    static const char *const changes[] = {
        "DELETE FROM strings WHERE key = ?1",
        "UPDATE strings SET value = 'new' WHERE key = ?1",
        "DELETE FROM sets WHERE key = 's' AND member = ?1",
        "UPDATE hashes SET value = 'new' WHERE key = 'h' AND field = ?1",
        "DELETE FROM zsets WHERE member = score AND score = ?1",
        "UPDATE zsets SET score = 1 WHERE key = 'z' AND member = score"
        " AND score = ?1",
        /* a second table is named */
        "DELETE FROM sets WHERE key = 's' AND member = ?1"
        " AND member IN (SELECT key FROM strings)",
        "DELETE FROM strings WHERE key = ?1 AND value IN (SELECT x FROM t)",
        "DELETE FROM strings WHERE key = ?1 OR key IN (SELECT n FROM t)",
        "DELETE FROM hashes WHERE (key, field) IS (CAST('h' AS TEXT), ?1)"
        " OR field IN (SELECT n FROM t WHERE id > 9)",
        "DELETE FROM hashes WHERE key = 'h' AND field = ?1"
        " AND field = CAST(?1  as  Text ) AND 'cast(1 as int)' <> ?1",
        "UPDATE strings SET value = (SELECT max(n) FROM t) WHERE key = ?1",
        "UPDATE sets SET member = 'new' WHERE key = 's' AND member = ?1"
        " AND EXISTS (SELECT 1 FROM t WHERE n = 7)",
        "UPDATE zsets SET score = (SELECT count(*) FROM strings WHERE key > ?1)"
        " WHERE key = 'z' AND member = ?1",
        "DELETE FROM sets WHERE key = 's' AND member IN"
        " (SELECT key FROM strings WHERE key = ?1)",
        "DELETE FROM sets WHERE key = 's' AND EXISTS (SELECT 1 FROM strings,"
        " t WHERE strings.key = t.n AND t.n = ?1)",
        "UPDATE zsets SET score = 9 WHERE score = ?1 AND EXISTS"
        " (SELECT 1 FROM strings WHERE key = zsets.score)",
        /* a join */
        "UPDATE strings SET value = 'new' FROM t WHERE strings.key = ?1"
        " AND t.id = 1",
        "UPDATE strings SET value = 'new' FROM t WHERE strings.key = t.n"
        " AND t.n = ?1",
        "UPDATE sets SET member = member || '~' FROM t WHERE key = 's'"
        " AND member = t.i AND t.i = ?1",
        "UPDATE zsets SET score = 9 FROM zsets b WHERE zsets.key = 'z'"
        " AND zsets.member = b.score AND b.score = ?1 AND b.member = '007'",
        /* SQLite's own programs */
        "INSERT INTO log(x, n) VALUES('update', ?1)",
        "INSERT INTO log(x, n) SELECT 'update', ?1",
        "INSERT OR REPLACE INTO strings(key, value)"
        " SELECT 'new', s.key FROM strings s, t WHERE s.key = t.n AND t.n = ?1"
        " ORDER BY s.key"};

    EACH_OF(changes, change);
}
END_TEST

/* A declared table has columns of text and of numbers, and indexes of them. */
START_TEST(a_typed_table_is_asked_and_changed_as_a_native_one)
{
    static const char *const statements[] = {
        "SELECT id FROM users WHERE id = ?1",
        "SELECT id FROM users WHERE name = ?1",
        "SELECT id FROM users WHERE name >= ?1",
        "SELECT id FROM users WHERE age = ?1",
        "SELECT id FROM users WHERE name = age AND age = ?1",
        "SELECT id FROM users WHERE id = age AND age = ?1",
        "SELECT b.id FROM users a, users b WHERE a.age = ?1 AND b.name = a.age",
        "SELECT b.id FROM users a, users b WHERE a.age = ?1 AND b.id = a.age",
        "SELECT u.id FROM users u, t WHERE u.name = t.n AND t.n = ?1",
        "SELECT u.id FROM users u, t WHERE u.id > t.i AND t.i = ?1",
        "SELECT id FROM users WHERE name = CAST(?1 AS INTEGER)",
        "SELECT id FROM users WHERE name IN (?1, 'a')",
        "DELETE FROM users WHERE id = ?1",
        "DELETE FROM users WHERE name = ?1 AND id IN (SELECT x FROM t)",
        "DELETE FROM users WHERE id = ?1 AND name IN (SELECT x FROM t)",
        "UPDATE users SET age = 1 WHERE name = ?1"
        " AND EXISTS (SELECT 1 FROM t WHERE n = 7)",
        "UPDATE users SET age = t.id FROM t WHERE users.name = t.n"
        " AND t.n = ?1"};

    twin_ours(&twin,
              "CREATE VIRTUAL TABLE users USING kv_hash('user:{id}', id,"
              " name TEXT, age INTEGER, INDEX(name), INDEX(age))", &twin.a);
    ck_assert_msg(!twin.a.error, "%s", twin.a.message);
    twin_native(&twin, "CREATE TABLE users(id TEXT NOT NULL PRIMARY KEY,"
                       " name TEXT, age INTEGER) WITHOUT ROWID", &twin.b);
    twin_do(&twin, "INSERT INTO users VALUES('7', '10', 7), ('007', '7', 7),"
                   " ('7.0', '007', 7), ('10', '10.0', 10), ('a', '7.0', 1)");
    for (size_t n = 0; n < sizeof(statements) / sizeof(statements[0]); n++)
        for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
            twin_do(&twin, "SAVEPOINT before");
            both(statements[n], &values[v]);
            twin_do(&twin, "SELECT * FROM users ORDER BY id");
            twin_do(&twin, "ROLLBACK TO before");
            twin_do(&twin, "RELEASE before");
        }
}
END_TEST

/* new.u is a column: what it is compared as is not known. */
START_TEST(a_trigger_refuses_a_number_that_may_mean_several_rows)
{
    gen_begin(&twin.gen);
    twin.gen.params[0] = values[1];
    twin.gen.param_count = 1;
    twin_ours(&twin, "INSERT INTO log(x, u) VALUES('delete', ?1)", &twin.a);
    ck_assert(twin.a.error);
    ck_assert_str_eq(twin.a.message, "ambiguous number, compare with text:"
                                     " several keys of sets are equal to it");
    twin_do(&twin, "SELECT * FROM sets");
    twin_do(&twin, "SELECT * FROM log");
    both("INSERT INTO log(x, u) VALUES('delete', ?1)", &values[3]);
    twin_do(&twin, "SELECT * FROM sets");
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, params_setup, params_teardown);
    tcase_set_timeout(tests, 0);
    tcase_add_test(tests, a_query_finds_what_native_tables_have);
    tcase_add_test(tests, a_number_in_a_compound_is_what_the_compound_is);
    tcase_add_test(tests, a_trigger_refuses_a_number_that_may_mean_several_rows);
    tcase_add_test(tests, a_typed_table_is_asked_and_changed_as_a_native_one);
    tcase_add_test(tests,
                   a_change_reaches_the_rows_it_would_reach_in_native_tables);
}

int main(void)
{
    return unit_run("params", add);
}

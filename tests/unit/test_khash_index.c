/* test_khash_index.c - indexes of kv_hash tables (sql.md KH3, KH4, KH6).
 *
 * Every way in which a hash changes is taken at random, with expiry, rollback
 * and views that stay pinned; each time what an index gives is what a full scan
 * of the same state gives, and the store is checked. tests/sql/test_typed_index
 * has generated statements against a native table with the same indexes.
 *
 * KVSQL_SEED gives another run, KVSQL_SQL_STEPS more steps. */
#include <stdio.h>
#include <string.h>

#include "kvsql/admin.h"
#include "kvsql/store.h"
#include "tests/lib/rand.h"
#include "tests/lib/rows_fx.h"

#define SQL_MAX 4096
#define STEPS 3000

/* Beside the fixture. */
static char theirs[ROWS_TEXT_MAX], scratch[SQL_MAX];
static struct rand_state walk;

/* ---- fixture --------------------------------------------------------------- */

static void khash_setup(void)
{
    fixture_setup();
    fx.literal = true;
}

static void check_store(void)
{
    kv_store_check(kv_db_store(fx.db));
}

static void tick(void)
{
    while (kv_store_tick(kv_db_store(fx.db))) continue;
}

/* ---- running --------------------------------------------------------------- */

static kvsql_rc run(const char *sql)
{
    return rows_run(&fx, fx.session, sql);
}

/* The same statement without any plan. */
static void same_without_plan(const char *sql)
{
    vt_session_plan_off(fx.session, true);
    /* another text: a cached statement keeps its plan */
    (void)snprintf(scratch, SQL_MAX, "%s -- scan", sql);
    const kvsql_rc rc = run(scratch);
    vt_session_plan_off(fx.session, false);
    ck_assert_msg(rc == KVSQL_OK, "%s: %s", sql, fx.err.text);
    memcpy(theirs, fx.text, sizeof(theirs));
    ok(sql);
    ck_assert_msg(strcmp(fx.text, theirs) == 0,
                  "%s\nby index:\n%s\nby scan:\n%s", sql, fx.text, theirs);
}

static const char *plan_of(const char *sql)
{
    char *colon;

    (void)snprintf(scratch, SQL_MAX, "EXPLAIN QUERY PLAN %s", sql);
    ok(scratch);
    colon = strstr(fx.text, "INDEX ");
    if (colon == NULL) return "";
    colon = strchr(colon, ':');
    colon[strlen(colon) - (strstr(colon, "'\n") ? strlen(strstr(colon, "'\n"))
                                                : 1)] = 0;
    return colon + 1;
}

#define USERS                                                                 \
    "CREATE VIRTUAL TABLE users USING kv_hash('user:{id}', id, name TEXT,"    \
    " age INTEGER, city TEXT, score REAL, data BLOB, INDEX(age),"             \
    " INDEX(city, age), INDEX(score, name), INDEX(data))"
#define FILL                                                                  \
    "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i+1 FROM n LIMIT"    \
    " 400) INSERT INTO users(id, name, age, city, score) SELECT i, 'n' || i," \
    " i % 50, 'c' || (i % 7), i * 0.5 FROM n"

/* ---- definitions ----------------------------------------------------------- */

START_TEST(an_index_that_cannot_be_kept_is_refused_in_a_sentence)
{
    static const char *const cases[][2] = {
        {"a, INDEX(b)", "kv_hash: INDEX(b): there is no column b before it"},
        {"INDEX(a), a", "kv_hash: INDEX(a): there is no column a before it"},
        {"a, INDEX(id)", "kv_hash: INDEX(id): rows are found by id without an "
                         "index, and every index ends in it"},
        {"a, INDEX(a, A)", "kv_hash: INDEX(a, A): column A comes twice"},
        {"a, INDEX(a), INDEX ( \"a\" )",
         "kv_hash: INDEX ( \"a\" ) comes twice"},
        {"a, INDEX", "kv_hash: 'INDEX' is no index: INDEX(column, ...), "
         "UNIQUE(column, ...), or that and STRICT"},
        {"a, INDEX()", "kv_hash: 'INDEX()' is no index: INDEX(column, ...), "
         "UNIQUE(column, ...), or that and STRICT"},
        {"a, INDEX(a) b", "kv_hash: 'INDEX(a) b' is no index: INDEX(column, "
                          "...), UNIQUE(column, ...), or that and STRICT"},
        {"a, INDEX(a DESC)", "kv_hash: 'INDEX(a DESC)' is no index: "
                             "INDEX(column, ...), UNIQUE(column, ...), or that "
                             "and STRICT"},
        {"a, b, c, d, e, f, g, h, i, INDEX(a,b,c,d,e,f,g,h,i)",
         "kv_hash: INDEX(a,b,c,d,e,f,g,h,i): an index has at most 8 columns"},
        {"a, UNIQUE", "kv_hash: 'UNIQUE' is no index: INDEX(column, ...), "
                      "UNIQUE(column, ...), or that and STRICT"},
        {"a, INDEX(a) STRICT", "kv_hash: 'INDEX(a) STRICT' is no index: "
                               "INDEX(column, ...), UNIQUE(column, ...), or "
                               "that and STRICT"},
        {"a, CHECK(a)", "kv_hash: CHECK(a) cannot be kept: a table has "
                        "columns and indexes"}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void)snprintf(scratch, SQL_MAX,
                       "CREATE VIRTUAL TABLE x USING kv_hash('u:{id}', id, %s)",
                       cases[i][0]);
        ck_assert_int_ne(run(scratch), KVSQL_OK);
        ck_assert_str_eq(fx.err.text, cases[i][1]);
    }
    FAILS("CREATE VIRTUAL TABLE temp.x USING kv_hash('u:{id}', id, a,"
          " INDEX(a))", KVSQL_INVALID,
          "kv_hash: an index is kept by the store: a TEMP table has none");
}
END_TEST

/* ---- plans ----------------------------------------------------------------- */

START_TEST(plans_name_the_index_and_what_is_wanted_of_it)
{
    static const char *const cases[][2] = {
        {"SELECT * FROM users WHERE age = 1", "index age: age=?"},
        {"SELECT * FROM users WHERE age > 1 AND age <= 2",
         "index age: age>? and age<=?"},
        {"SELECT * FROM users WHERE age = 1 ORDER BY id DESC",
         "index age: age=?"},
        {"SELECT * FROM users WHERE city = 'c1' AND age > 3",
         "index city, age: city=? and age>?"},
        {"SELECT * FROM users WHERE city = ?1 ORDER BY age DESC, id DESC",
         "index city, age: city=?"},
        {"SELECT * FROM users WHERE city = 'c1' AND age IN (1, 2) ORDER BY age",
         "index city, age: city=? and age IN"},
        {"SELECT * FROM users WHERE score IN (1, 2)",
         "index score, name: score IN"},
        {"SELECT * FROM users WHERE age IS NULL", "index age: age IS ?"},
        {"SELECT * FROM users ORDER BY age, id", "index age"},
        {"SELECT max(age) FROM users", "index age"},
        {"SELECT age, count(*) FROM users GROUP BY age", "index age"},
        {"SELECT * FROM users ORDER BY score DESC, name DESC",
         "index score, name"},
        {"SELECT * FROM users WHERE id = '1' AND age = 1", "id=?"},
        {"SELECT * FROM users WHERE id > '499' AND age >= 0", "id range"},
        {"SELECT * FROM users WHERE age >= 0", ""},
        {"SELECT * FROM users WHERE name = 'x'", ""},
        {"SELECT * FROM users WHERE city COLLATE NOCASE = 'C1'", ""}};

    ok(USERS);
    ok(FILL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_str_eq(plan_of(cases[i][0]), cases[i][1]);
        ck_assert_ptr_null(strstr(fx.text, "TEMP B-TREE"));
    }
    ck_assert_str_eq(plan_of("SELECT * FROM users WHERE age > 20 AND age < 22"
                             " ORDER BY id"),
                     "index age: age>? and age<?");
}
END_TEST

START_TEST(rows_are_found_by_value_as_the_column_compares_it)
{
    ok(USERS);
    ok("INSERT INTO users(id, name, age, city, score, data) VALUES"
       "('1', 'a', 41, '7', 1.5, x'00'), ('2', 'b', '41', '007', 2, x'0001'),"
       "('3', 'c', 'abc', '7', -1, x''), ('4', 'd', NULL, NULL, NULL, NULL),"
       "('5', 'e', 9007199254740993, '7.0', 9007199254740993, x'ff'),"
       "('6', 'f', 9007199254740992, x'ff', -0.0, x'00ff')");
    ok(FILL);
    same_without_plan("SELECT id FROM users WHERE age = 41 ORDER BY id");
    same_without_plan("SELECT id FROM users WHERE age = '41.0' ORDER BY id");
    GIVES("SELECT id FROM users WHERE age = 'abc'", "'3'");
    GIVES("SELECT id FROM users WHERE age = 9007199254740993", "'5'");
    GIVES("SELECT id FROM users WHERE age > 9007199254740992.0 AND age < 'a'",
          "'5'");
    GIVES("SELECT id FROM users WHERE age IS NULL", "'4'");
    GIVES("SELECT id FROM users WHERE age = NULL", "");
    GIVES("SELECT id FROM users WHERE score = 0", "'6'");
    GIVES("SELECT id FROM users WHERE city = '7' ORDER BY id", "'1'\n'3'");
    GIVES("SELECT id FROM users WHERE city = CAST('7' AS INTEGER) ORDER BY age,"
          " id", "'1'\n'2'\n'5'\n'3'");
    GIVES("SELECT id FROM users WHERE city = x'ff'", "'6'");
    GIVES("SELECT id FROM users WHERE data = x'00'", "'1'");
    GIVES("SELECT id FROM users WHERE data > x'00' ORDER BY data",
          "'2'\n'6'\n'5'");
    GIVES("SELECT id FROM users WHERE city = 'c1' || char(0)", "");
}
END_TEST

/* ---- every door ------------------------------------------------------------ */

static unsigned below(unsigned n)
{
    return (unsigned)rand_below(&walk, n);
}

#define PICK(list) ((list)[below((unsigned)(sizeof(list) / sizeof((list)[0])))])

static const char *const texts[] = {
    "7", "007", "7.0", "41", "42", "-5", "abc", "", "a", "9007199254740993",
    "9007199254740992", "1e3", "0.1", "-0", "9e999", "z", "\xff", "c1", "c2"};

static struct kv_key door_key(char *name)
{
    static const char *const prefixes[] = {"user:", "user:", "user:", "user:",
                                           "user", "user;", "pet:"};
    const char *last = below(8) == 0 ? "\xff" : "";

    return kv_key_of(name, (size_t)snprintf(name, 64, "%s%u%s", PICK(prefixes),
                                            below(40), last));
}

static struct kv_key door_field(void)
{
    static const char *const fields[] = {"name", "age", "age", "city", "city",
                                         "score", "data", "other", "x"};
    const char *field = PICK(fields);

    return kv_key_of(field, strlen(field));
}

static kvsql_slice door_value(void)
{
    static char wide[400];
    const char *text = PICK(texts);

    if (below(20) > 0) return (kvsql_slice){text, strlen(text)};
    memset(wide, 'w', sizeof(wide)); /* a key of its own block (EN7) */
    wide[299] = (char)('0' + below(3));
    return (kvsql_slice){wide, 300 + below(2)};
}

static void fine(kvsql_rc rc)
{
    ck_assert_msg(rc == KVSQL_OK || rc == KVSQL_NOTFOUND ||
                      rc == KVSQL_WRONGTYPE,
                  "%s", fx.err.text);
}

static void door(struct kv_txn *txn)
{
    char name[64], other[64], many[32];
    struct kv_key key = door_key(name), to = door_key(other);
    const struct kv_key field = door_field();

    switch (below(16)) {
    case 0: fine(kv_hdel(txn, &key, &field, NULL, &fx.err)); break;
    case 1: fine(kv_del(txn, &key, NULL, &fx.err)); break;
    case 2: fine(kv_rename(txn, &key, &to, &fx.err)); break;
    case 3: fine(kv_copy(txn, &key, &to, &fx.err)); break;
    case 4: fine(kv_set(txn, &key, door_value(), 0, &fx.err)); break;
    case 5:
        fine(kv_expire(txn, &key, fx.wall + below(200), &fx.err));
        break;
    case 6:
        fine(kv_hexpire(txn, &key, &field, fx.wall + below(200), &fx.err));
        break;
    case 7:
        fine(kv_hset(txn, &key, &field, door_value(), fx.wall + below(200),
                     NULL, &fx.err));
        break;
    case 8: /* becomes a tree */
        for (unsigned i = 0; i < 140; i++) {
            to = kv_key_of(many, (size_t)snprintf(many, 32, "f%u", i));
            fine(kv_hset(txn, &key, &to, door_value(), 0, NULL, &fx.err));
        }
        break;
    case 9:
        if (below(20) == 0) fine(kv_flush(txn, &fx.err));
        break;
    case 10:
    case 11: {
        const struct kv_field fields[] = {
            {field, door_value()},
            {kv_key_of("city", 4), door_value()},
            {kv_key_of("age", 3), door_value()}};
        unsigned created;
        fine(kv_hset_many(txn, &key, fields, 1 + below(3), 0, &created,
                          &fx.err));
        break;
    }
    default:
        fine(kv_hset(txn, &key, &field, door_value(), 0, NULL, &fx.err));
        break;
    }
}

static void doors(void)
{
    const struct kv_mark none = {.undo = 0};
    struct kv_mark mark = none;
    struct kv_txn *txn;
    uint64_t hash = 0;
    bool back = false;

    ck_assert_int_eq(kv_txn_begin(fx.db, true, 0, &txn, &fx.err), KVSQL_OK);
    for (unsigned i = 0, n = 1 + below(5); i < n; i++) {
        if (!back && below(4) == 0) {
            mark = kv_txn_mark(txn);
            hash = kv_store_hash(kv_db_store(fx.db));
            back = true;
        }
        door(txn);
    }
    if (back) {
        kv_txn_restore(txn, mark);
        ck_assert_uint_eq(kv_store_hash(kv_db_store(fx.db)), hash);
    }
    if (below(8) == 0)
        kv_txn_rollback(txn);
    else
        ck_assert_int_eq(kv_txn_commit(txn, NULL, &fx.err), KVSQL_OK);
}

static void statement(void)
{
    char sql[SQL_MAX];
    const char *value = PICK(texts);
    const char *quoted = strcmp(value, "\xff") == 0 ? "x" : value;

    switch (below(5)) {
    case 0:
        (void)snprintf(sql, SQL_MAX,
                       "INSERT OR REPLACE INTO users(id, name, age, city)"
                       " VALUES('%u', 'n', '%s', 'c%u')", below(40), quoted,
                       below(3));
        break;
    case 1:
        (void)snprintf(sql, SQL_MAX,
                       "UPDATE users SET age = '%s', city = NULL WHERE age ="
                       " '%s'", quoted, PICK(texts) + 0);
        if (strstr(sql, "\xff")) return;
        break;
    case 2:
        (void)snprintf(sql, SQL_MAX,
                       "UPDATE users SET name = 'm', age = age + 1 WHERE city"
                       " >= 'c%u' AND city < 'd'", below(3));
        break;
    case 3:
        (void)snprintf(sql, SQL_MAX, "DELETE FROM users WHERE age = %u",
                       40 + below(3));
        break;
    default:
        (void)snprintf(sql, SQL_MAX,
                       "UPDATE OR REPLACE users SET id = '%u' WHERE id = '%u'",
                       below(40), below(40));
        break;
    }
    const kvsql_rc rc = run(sql);
    ck_assert_msg(rc == KVSQL_OK || rc == KVSQL_WRONGTYPE ||
                      rc == KVSQL_CONSTRAINT, "%s: %s", sql, fx.err.text);
}

static void compare_some(void)
{
    static const char *const columns[] = {"age", "city", "score", "data"};
    static const char *const wheres[] = {
        "age = 7", "age = 41", "age IS NULL", "age > 7 AND age < 1000",
        "age < 'b'", "age IN (7, '41', NULL, 1000.0)", "city = '7'",
        "city = 'c1' AND age > 3", "city IN ('7', 'c1', 'z')",
        "city IS NULL AND age = 7", "city = 7 + 0", "city > 'a'",
        "score = 0.1", "score >= 7 AND score <= 7", "data > x'37'",
        "data IS NULL", "city = 'c1' AND age IS NULL", "1"};
    static const char *const ways[] = {"", " DESC"};
    char sql[SQL_MAX];

    for (unsigned i = 0; i < 3; i++) {
        const char *way = PICK(ways), *column = PICK(columns);
        (void)snprintf(sql, SQL_MAX,
                       "SELECT id, age, city, score, data FROM users WHERE %s"
                       " ORDER BY %s%s, %sid%s", PICK(wheres), column, way,
                       below(2) ? "age, " : "", way);
        same_without_plan(sql);
    }
}

static unsigned steps_of(unsigned otherwise)
{
    const char *text = getenv("KVSQL_SQL_STEPS");

    return text != NULL ? (unsigned)atol(text) : otherwise;
}

START_TEST(what_any_door_changes_an_index_finds)
{
    const unsigned steps = steps_of(STEPS);
    bool pinned = false;

    walk = rand_of(rand_seed("khash_index", 4));
    ok(USERS);
    for (unsigned i = 0; i < steps; i++) {
        if (!pinned && below(3) > 0)
            doors();
        else if (!pinned)
            statement();
        compare_some();
        if (pinned) {
            pinned = below(3) > 0;
            if (!pinned) ok("COMMIT");
        } else if (below(40) == 0) {
            ok("BEGIN"); /* the view that it reads stays */
            pinned = true;
            compare_some();
        }
        if (below(3) == 0) fx.wall += below(100);
        if (below(10) == 0) tick();
        if (!pinned && below(300) == 0) {
            ok("DROP TABLE users");
            doors();
            ok(USERS);
            if (below(2)) tick();
        }
        if (below(10) == 0) check_store();
    }
    if (pinned) ok("COMMIT");
    tick();
    check_store();
}
END_TEST

START_TEST(an_expired_field_is_found_as_null_before_it_is_removed)
{
    char name[8];
    struct kv_txn *txn;
    const struct kv_key age = kv_key_of("age", 3), key = kv_key_of("user:1", 6);

    ok(USERS);
    ok(FILL);
    ok("INSERT INTO users(id, name, age) VALUES('1', 'a', 7777)");
    ck_assert_int_eq(kv_txn_begin(fx.db, true, 0, &txn, &fx.err), KVSQL_OK);
    ck_assert_int_eq(kv_hexpire(txn, &key, &age, fx.wall + 100, &fx.err),
                     KVSQL_OK);
    ck_assert_int_eq(kv_txn_commit(txn, NULL, &fx.err), KVSQL_OK);
    (void)name;
    GIVES("SELECT id FROM users WHERE age = 7777", "'1'");
    GIVES("SELECT id FROM users WHERE age IS NULL", "");
    GIVES("SELECT id FROM users ORDER BY age DESC LIMIT 1", "'1'");
    fx.wall += 100;
    GIVES("SELECT id FROM users WHERE age = 7777", "");
    GIVES("SELECT id FROM users WHERE age IS NULL", "'1'");
    GIVES("SELECT id FROM users ORDER BY age LIMIT 1", "'1'");
    check_store();
    tick();
    check_store();
    GIVES("SELECT id FROM users WHERE age IS NULL", "'1'");
    ok("UPDATE users SET expires_at = unixepoch() * 1000 + 1 WHERE id = '1'");
}
END_TEST

START_TEST(an_index_of_hashes_that_are_there_is_built_by_the_keeper)
{
    ok("CREATE VIRTUAL TABLE users USING kv_hash('user:{id}', id, name TEXT,"
       " age INTEGER, city TEXT, score REAL)");
    ok(FILL);
    ok("WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i+1 FROM n LIMIT"
       " 3000) INSERT INTO users(id, name, age) SELECT i, 'n', i % 97 FROM n");
    ok("INSERT INTO hashes(key, field, value) VALUES(x'757365723aff', 'age',"
       " '41')");
    ok("DROP TABLE users");
    ok(USERS);
    ck_assert_str_eq(plan_of("SELECT * FROM users WHERE age = 1"), "");
    ck_assert(kv_store_tick(kv_db_store(fx.db)));
    check_store();
    GIVES("SELECT value GLOB 'building [1-9]* of 3401' FROM stats WHERE name ="
          " 'index users(age)' AND unit = 'text'", "1");
    ok("UPDATE users SET age = 41 WHERE id = '1001'"); /* it has been there */
    ok("UPDATE users SET age = 41 WHERE id = '999'");
    ok("DELETE FROM users WHERE id = '1002'");
    ok("BEGIN"); /* a view in which it is not complete */
    GIVES("SELECT count(*) FROM users WHERE age = 41", "41");
    tick();
    ck_assert_str_eq(plan_of("SELECT * FROM users WHERE age = 2"), "");
    ok("COMMIT");
    check_store();
    GIVES("SELECT name, value FROM stats WHERE name LIKE 'index %' AND unit ="
          " 'text' ORDER BY 1", "'index users(age)'|'ready'\n"
                     "'index users(city, age)'|'ready'\n"
                     "'index users(data)'|'ready'\n"
                     "'index users(score, name)'|'ready'");
    ck_assert_str_eq(plan_of("SELECT * FROM users WHERE age = 3"),
                     "index age: age=?");
    GIVES("SELECT count(*) FROM users WHERE age = 41", "41");
    same_without_plan("SELECT id, age FROM users WHERE age > 40 AND age < 43"
                      " ORDER BY age DESC, id DESC");
}
END_TEST

/* All four are complete, and lead to what a scan finds. */
static void built(void)
{
    tick();
    check_store();
    GIVES("SELECT count(*) FROM stats WHERE name LIKE 'index users(%' AND"
          " value = 'ready'", "4");
    ck_assert_str_eq(plan_of("SELECT * FROM users WHERE age = 3"),
                     "index age: age=?");
    same_without_plan("SELECT id, age FROM users WHERE age > 0 ORDER BY age,"
                      " id");
    same_without_plan("SELECT id FROM users WHERE city > 'c' AND city < 'd'"
                      " ORDER BY city, age, id");
}

START_TEST(an_index_that_is_defined_again_is_built_from_its_beginning)
{
    ok("CREATE VIRTUAL TABLE users USING kv_hash('user:{id}', id, name TEXT,"
       " age INTEGER, city TEXT, score REAL)");
    ok("WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i+1 FROM n LIMIT"
       " 3000) INSERT INTO users(id, name, age, city) SELECT i, 'n', i % 97,"
       " 'c' || i FROM n");
    ok("DROP TABLE users");
    ok(USERS);
    built();
    for (unsigned slices = 0; slices < 9; slices++) { /* in hand by the keeper */
        ok("DROP TABLE users");
        ok(USERS);
        for (unsigned i = 0; i < slices; i++)
            (void)kv_store_tick(kv_db_store(fx.db));
        ok("DROP TABLE users"); /* and it does not look in between */
        ok("REPLACE INTO hashes(key, field, value) VALUES('user:1', 'x', 1)");
        ok(USERS);
        built();
    }
}
END_TEST

/* One field by the way of commands. */
static kvsql_rc hset(const char *key, const char *field, const char *value)
{
    const struct kv_key k = kv_key_of(key, strlen(key));
    const struct kv_key f = kv_key_of(field, strlen(field));
    struct kv_txn *txn;
    kvsql_rc rc;

    ck_assert_int_eq(kv_txn_begin(fx.db, true, 0, &txn, &fx.err), KVSQL_OK);
    rc = kv_hset(txn, &k, &f, (kvsql_slice){value, strlen(value)}, 0, NULL,
                 &fx.err);
    if (rc == KVSQL_OK) return kv_txn_commit(txn, NULL, &fx.err);
    kv_txn_rollback(txn);
    return rc;
}

START_TEST(unique_columns_are_unique_for_who_writes_through_sql)
{
    ok("CREATE VIRTUAL TABLE users USING kv_hash('user:{id}', id, name, email"
       " TEXT, n INTEGER, UNIQUE(email), unique ( name, n ))");
    ok("INSERT INTO users VALUES('1', 'a', 'x@y', 1), ('2', 'a', 'z@y', 2),"
       " ('3', 'a', NULL, 3), ('4', 'b', NULL, 3)");
    FAILS("INSERT INTO users VALUES('5', 'c', 'x@y', 1)", KVSQL_EXISTS,
          "UNIQUE constraint failed: users.email");
    FAILS("UPDATE users SET n = '1' WHERE id = '2'", KVSQL_EXISTS,
          "UNIQUE constraint failed: users.name, users.n");
    FAILS("UPDATE users SET email = 'q'", KVSQL_EXISTS,
          "UNIQUE constraint failed: users.email");
    ok("INSERT OR IGNORE INTO users VALUES('5', 'c', 'x@y', 1), ('6', 'd',"
       " 'd@y', 1)");
    GIVES("SELECT id FROM users ORDER BY id", "'1'\n'2'\n'3'\n'4'\n'6'");
    ok("INSERT OR REPLACE INTO users VALUES('5', 'a', 'x@y', 2)");
    GIVES("SELECT id FROM users ORDER BY id", "'3'\n'4'\n'5'\n'6'");
    ok("UPDATE OR REPLACE users SET email = 'd@y' WHERE id = '3'");
    GIVES("SELECT id FROM users WHERE email = 'd@y'", "'3'");
    ok("UPDATE users SET email = email, n = n");
    ck_assert_int_eq(hset("user:7", "email", "d@y"), KVSQL_OK);
    GIVES("SELECT id FROM users WHERE email = 'd@y'", "'3'\n'7'");
    ok("UPDATE users SET n = 8, expires_at = 1800000000000 WHERE id = '7'");
    FAILS("UPDATE users SET email = 'd@y' WHERE id = '7'", KVSQL_EXISTS,
          "UNIQUE constraint failed: users.email");
    ok("UPDATE users SET expires_at = 1700000000001 WHERE id = '3'");
    fx.wall += 1;
    ok("UPDATE users SET email = 'd@y' WHERE id = '7'");
    check_store();
}
END_TEST

START_TEST(strict_indexes_refuse_what_collides_by_any_door)
{
    struct kv_txn *txn;
    const struct kv_key from = kv_key_of("pet:1", 5), to = kv_key_of("user:9", 6);

    ok("CREATE VIRTUAL TABLE users USING kv_hash('user:{id}', id, email,"
       " n INTEGER, UNIQUE(email) STRICT)");
    ck_assert_int_eq(hset("user:1", "email", "x@y"), KVSQL_OK);
    ck_assert_int_eq(hset("user:1", "email", "x@y"), KVSQL_OK);
    ck_assert_int_eq(hset("user:2", "n", "1"), KVSQL_OK);
    ck_assert_int_eq(hset("user:2", "email", "x@y"), KVSQL_CONSTRAINT);
    ck_assert_str_eq(fx.err.text, "UNIQUE constraint failed: users.email: key "
                                  "'user:1' has the same");
    ck_assert_int_eq(hset("pet:1", "email", "x@y"), KVSQL_OK);
    /* fields in one go: it is what they come to that counts */
    const struct kv_key two = kv_key_of("user:2", 6);
    const struct kv_field pair[] = {
        {kv_key_of("email", 5), {"x@y", 3}}, {kv_key_of("n", 1), {"2", 1}},
        {kv_key_of("email", 5), {"z@y", 3}}};
    unsigned created;
    ck_assert_int_eq(kv_txn_begin(fx.db, true, 0, &txn, &fx.err), KVSQL_OK);
    ck_assert_int_eq(kv_hset_many(txn, &two, pair, 2, 0, &created, &fx.err),
                     KVSQL_CONSTRAINT);
    ck_assert_str_eq(fx.err.text, "UNIQUE constraint failed: users.email: key "
                                  "'user:1' has the same");
    ck_assert_int_eq(kv_hset_many(txn, &two, pair, 3, 0, &created, &fx.err),
                     KVSQL_OK);
    kv_txn_rollback(txn);
    ck_assert_int_eq(kv_txn_begin(fx.db, true, 0, &txn, &fx.err), KVSQL_OK);
    ck_assert_int_eq(kv_rename(txn, &from, &to, &fx.err), KVSQL_CONSTRAINT);
    ck_assert_int_eq(kv_copy(txn, &from, &to, &fx.err), KVSQL_CONSTRAINT);
    kv_txn_rollback(txn);
    FAILS("INSERT INTO hashes(key, field, value) VALUES('user:3', 'email',"
          " 'x@y')", KVSQL_CONSTRAINT,
          "UNIQUE constraint failed: users.email: key 'user:1' has the same");
    FAILS("INSERT INTO users VALUES('3', 'x@y', 1)", KVSQL_EXISTS,
          "UNIQUE constraint failed: users.email");
    ok("INSERT OR REPLACE INTO users VALUES('3', 'x@y', 1)");
    GIVES("SELECT id FROM users", "'2'\n'3'");
    ok("DROP TABLE users");
    ok("CREATE VIRTUAL TABLE users USING kv_hash('user:{id}', id, email,"
       " n INTEGER, UNIQUE(email) STRICT)");
    ck_assert_int_eq(hset("user:4", "email", "u@y"), KVSQL_BUSY);
    ck_assert_str_eq(fx.err.text, "UNIQUE of users.email is not known to hold "
                                  "before its index is complete; try again");
    ck_assert_int_eq(hset("user:4", "n", "1"), KVSQL_OK);
    FAILS("INSERT INTO users VALUES('5', 'v@y', 1)", KVSQL_BUSY,
          "UNIQUE of table users is not known to hold before its index is "
          "complete; try again");
    tick();
    ck_assert_int_eq(hset("user:4", "email", "u@y"), KVSQL_OK);
    ck_assert_int_eq(hset("user:5", "email", "u@y"), KVSQL_CONSTRAINT);
    check_store();
}
END_TEST

/* As a store is after a start: definitions, hashes, and no trees yet. */
START_TEST(strict_indexes_hold_before_the_keeper_has_been_there)
{
    static const char text[] = "CREATE VIRTUAL TABLE users USING"
                               " kv_hash('user:{id}', id, email,"
                               " UNIQUE(email) STRICT)";
    static const char view[] = "CREATE VIEW users AS SELECT 1";
    const struct kv_def def = {.name = {"users", 5},
                               .text = {text, sizeof(text) - 1},
                               .view = {view, sizeof(view) - 1}};
    const struct kvsql_options options = {.no_keeper = true};
    struct kv_txn *txn;
    kvsql *const db = fx.db;

    ck_assert_int_eq(
        kv_open_os("", &options, &fx.os, NULL, NULL, &fx.db, &fx.err),
        KVSQL_OK);
    ck_assert_int_eq(kv_txn_begin(fx.db, true, 0, &txn, &fx.err), KVSQL_OK);
    ck_assert_int_eq(kv_define(txn, &def, &fx.err), KVSQL_OK);
    ck_assert_int_eq(kv_txn_commit(txn, NULL, &fx.err), KVSQL_OK);
    ck_assert_int_eq(hset("user:1", "email", "x@y"), KVSQL_OK);
    ck_assert_int_eq(vt_indexes_keep(fx.db, &fx.err), KVSQL_OK);
    ck_assert_int_eq(hset("user:2", "email", "x@y"), KVSQL_BUSY);
    ck_assert_int_eq(hset("user:2", "other", "x@y"), KVSQL_OK);
    tick();
    check_store();
    ck_assert_int_eq(hset("user:2", "email", "x@y"), KVSQL_CONSTRAINT);
    ck_assert_int_eq(hset("user:2", "email", "z@y"), KVSQL_OK);
    check_store();
    ck_assert_int_eq(kv_close(fx.db, &fx.err), KVSQL_OK);
    fx.db = db;
}
END_TEST

START_TEST(dropping_a_table_gives_back_its_indexes_and_no_hash)
{
    struct kv_info before, after;

    ok("CREATE VIRTUAL TABLE plain USING kv_hash('user:{id}', id, name TEXT,"
       " age INTEGER, city TEXT, score REAL)");
    ok("INSERT INTO plain SELECT * FROM (WITH RECURSIVE n(i) AS (SELECT 100"
       " UNION ALL SELECT i+1 FROM n LIMIT 400) SELECT i, 'n' || i, i % 50,"
       " 'c' || (i % 7), i * 0.5 FROM n)");
    tick();
    kv_info_get(fx.db, &before);
    ok(USERS);
    tick();
    kv_info_get(fx.db, &after);
    ck_assert_uint_gt(after.memory_data, before.memory_data + 400 * 8);
    ok("DROP TABLE users");
    tick();
    kv_info_get(fx.db, &after);
    ck_assert_uint_le(after.memory_data, before.memory_data + 256);
    GIVES("SELECT count(*) FROM keys", "400");
    check_store();
}
END_TEST

START_TEST(nothing_is_torn_when_an_allocation_fails)
{
    static const char *const statements[] = {
        "INSERT INTO users(id, name, age, city) VALUES('3', 'c', 1, 'x')",
        "UPDATE users SET age = age + 1, city = NULL WHERE age > 0",
        "DELETE FROM users WHERE city = 'Rome'",
        "SELECT id FROM users WHERE city = 'Rome' AND age IN (1, 41) ORDER BY 1",
        "SELECT id FROM users WHERE city = 7 + 0 ORDER BY age"};
    static const char *const rows = "'1'|41\n'2'|30";

    ok(USERS);
    ok("INSERT INTO users(id, name, age, city) VALUES('1', 'a', 41, 'Rome'),"
       " ('2', 'b', 30, 'Paris')");
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        int failed = 1;
        for (uint64_t n = 1; failed; n++) {
            kvsql_rc rc;
            ok("BEGIN");
            kv_mem_fail_at(n, 0);
            rc = run(statements[i]);
            failed = kv_mem_failed();
            kv_mem_fail_at(0, 0);
            ck_assert_msg(rc == KVSQL_OK || failed, "%s: %s", statements[i],
                          fx.err.text);
            if (vt_in_transaction(fx.session)) ok("ROLLBACK");
            GIVES("SELECT id, age FROM users WHERE age > 0 ORDER BY id", rows);
            check_store();
        }
    }
}
END_TEST

START_TEST(a_definition_comes_whole_or_not_when_an_allocation_fails)
{
    int failed = 1;

    ok("INSERT INTO hashes(key, field, value) VALUES('user:1', 'age', '41')");
    for (uint64_t n = 1; failed; n++) {
        kvsql_rc rc;
        kv_mem_fail_at(n, 0);
        rc = run(USERS);
        failed = kv_mem_failed();
        kv_mem_fail_at(0, 0);
        ck_assert_msg(rc == KVSQL_OK || failed, "%s", fx.err.text);
        check_store();
        kv_mem_fail_at(n, 0);
        (void)kv_store_tick(kv_db_store(fx.db));
        failed |= kv_mem_failed();
        kv_mem_fail_at(0, 0);
        check_store();
        if (rc == KVSQL_OK) {
            tick();
            check_store();
            GIVES("SELECT id FROM users WHERE age = 41", "'1'");
            ok("DROP TABLE users");
        }
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, khash_setup, fixture_teardown);
    tcase_set_timeout(tests, 0);
    tcase_add_test(tests,
                   an_index_that_cannot_be_kept_is_refused_in_a_sentence);
    tcase_add_test(tests, plans_name_the_index_and_what_is_wanted_of_it);
    tcase_add_test(tests, rows_are_found_by_value_as_the_column_compares_it);
    tcase_add_test(tests,
                   an_expired_field_is_found_as_null_before_it_is_removed);
    tcase_add_test(tests,
                   an_index_of_hashes_that_are_there_is_built_by_the_keeper);
    tcase_add_test(tests,
                   an_index_that_is_defined_again_is_built_from_its_beginning);
    tcase_add_test(tests,
                   unique_columns_are_unique_for_who_writes_through_sql);
    tcase_add_test(tests, strict_indexes_refuse_what_collides_by_any_door);
    tcase_add_test(tests,
                   strict_indexes_hold_before_the_keeper_has_been_there);
    tcase_add_test(tests, dropping_a_table_gives_back_its_indexes_and_no_hash);
    tcase_add_test(tests, nothing_is_torn_when_an_allocation_fails);
    tcase_add_test(tests,
                   a_definition_comes_whole_or_not_when_an_allocation_fails);
    tcase_add_test(tests, what_any_door_changes_an_index_finds);
}

int main(void)
{
    return unit_run("khash_index", add);
}

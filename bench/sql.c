/* sql.c - our tables beside SQLite's own, in one connection.
 *
 *   sql ROWS [PART | COUNT SIDES [CASE]]
 *
 * The table strings with ROWS rows (key of 12 bytes, value of 31) and a table
 * WITHOUT ROWID of the same rows in the session's :memory: database; in another
 * store a kv_hash table of USERS rows with indexes, and a table with the same
 * ones. Each case runs on both in turns with prepared statements; the smallest
 * time of PAIRS turns counts; with PART only of cases whose name begins so. With
 * COUNT each case, or CASE, runs that often inside of measured(), where the
 * script bench/sql has callgrind dump: on ours and, with SIDES 2, on the other
 * table.
 *
 * The log is not in it: the store has no directory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vtab/session.h"

#define PAIRS 5
#define VALUE_SIZE 31
#define KEY_DIGITS 8 /* "key:00000042" */
#define KEY_SIZE 12
#define IN_COUNT 100
#define RANGE 1000
#define JOIN_ROWS 100000
#define TEXT_MAX 2048

enum side { OURS, NATIVE, SIDES };
static const char *const table_name[SIDES] = {"strings", "native"};
static const char *const users_name[SIDES] = {"users", "native_users"};
#define USERS 20000
#define AGES 2000   /* USERS / AGES rows of each */
#define CITIES 100

static struct kvsql_error err;
static kvsql *db, *users_db; /* apart: a scan of strings meets no hash */
static struct vt_session *session, *rows_session, *users_session;
static unsigned rows, added[SIDES];
static uint64_t random_state = UINT64_C(88172645463325252);
static volatile uint64_t sink;

static void must(kvsql_rc rc)
{
    if (rc != KVSQL_OK) {
        fprintf(stderr, "sql: %s\n", err.text);
        exit(1);
    }
}

static unsigned random_below(unsigned n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state % n);
}

static void key_text(unsigned i, char out[KEY_SIZE + 1])
{
    memcpy(out, "key:", KEY_SIZE - KEY_DIGITS);
    for (unsigned at = KEY_SIZE; at > KEY_SIZE - KEY_DIGITS; at--, i /= 10)
        out[at - 1] = (char)('0' + i % 10);
    out[KEY_SIZE] = 0;
}

static void value_text(char out[VALUE_SIZE + 1])
{
    for (unsigned i = 0; i < VALUE_SIZE; i++)
        out[i] = "0123456789abcdefghijklmnopqrstuv"[random_below(32)];
    out[VALUE_SIZE] = 0;
}

/* ---- statements ------------------------------------------------------------ */

static struct vt_statement *prepare(const char *text)
{
    struct vt_statement *statement;

    must(vt_prepare(session, text, strlen(text), NULL, &statement, &err));
    return statement;
}

static void bind(struct vt_statement *statement, int index, const char *text)
{
    const struct vt_value value = {.kind = VT_TEXT,
                                   .p = (const uint8_t *)text,
                                   .size = strlen(text)};

    must(vt_bind(statement, index, &value, &err));
}

/* Step to the end; every column is read. */
static void finish(struct vt_statement *statement)
{
    const int columns = vt_column_count(statement);
    struct vt_value value;
    bool row;

    for (;;) {
        must(vt_step(statement, &row, &err));
        if (!row)
            break;
        for (int i = 0; i < columns; i++) {
            vt_column(statement, i, &value);
            sink += value.size + (uint64_t)value.integer;
        }
    }
    vt_finish(statement);
}

static void execute(const char *text)
{
    finish(prepare(text));
}

/* ---- the cases ---------------------------------------------------------------- */

/* What is bound to the parameters of a case. */
enum binding {
    NOTHING,
    ANY_KEY,      /* one key that is there */
    MANY_KEYS,    /* IN_COUNT of them */
    KEY_RANGE,    /* two, RANGE apart */
    NEW_KEY,      /* a new key and a value */
    OLD_KEY,      /* a key that is there and a value */
    VALUE_KEY,    /* the other way around */
    VALUE_RANGE,  /* a value, and keys RANGE apart */
    GONE_KEY,     /* a key, each once */
    ANY_AGE,
    AGE_RANGE,    /* two, RANGE rows apart */
    ANY_CITY,
    NEW_USER,     /* a new key */
    OLD_USER      /* a key that is there */
};

struct test {
    const char *name;
    const char *unit;
    const char *text;        /* %s is the table; NULL: IN_COUNT parameters */
    const char *bounds;      /* what SQLite's own glob() adds natively */
    enum binding binding;
    unsigned units;          /* of one run; 0: the rows */
    unsigned runs;           /* of one turn at 1,000,000 rows */
    bool transaction;
    double goal_time, goal_instructions; /* ratios; 0: none */
};

static const struct test tests[] = {
    {"point lookup", "statement", "SELECT value FROM %s WHERE key=?", NULL, ANY_KEY,
     1, 50000, false, 0.5, 0.60},
    {"IN of 100", "key", NULL, NULL, MANY_KEYS, IN_COUNT, 500, false, 0.6, 0.75},
    {"range of 1000, literals", "row",
     "SELECT key, value FROM %s WHERE key>='key:00005000' AND "
     "key<'key:00006000'",
     NULL, NOTHING, RANGE, 50, false, 1.1, 1.0},
    {"range of 1000, parameters", "row",
     "SELECT key, value FROM %s WHERE key>=? AND key<?", NULL, KEY_RANGE, RANGE, 50,
     false, 1.1, 1.0},
    {"GLOB prefix, count", "row",
     "SELECT count(*) FROM %s WHERE key GLOB 'key:0000*'",
     " AND key>='key:0000' AND key<'key:0001'", NOTHING, 10000, 5, false, 0.7,
     0.65},
    {"LIKE prefix", "statement",
     "SELECT count(*) FROM %s WHERE key LIKE 'key:000012%%'", NULL, NOTHING, 1, 1,
     false, 0.05, 0.05},
    {"sum(length(value))", "row", "SELECT sum(length(value)) FROM %s", NULL, NOTHING,
     0, 1, false, 1.1, 1.1},
    {"sum(value)", "row", "SELECT sum(value) FROM %s", NULL, NOTHING, 0, 1, false,
     1.1, 1.1},
    {"value LIKE", "row", "SELECT count(*) FROM %s WHERE value LIKE '%%xyz%%'",
     NULL, NOTHING, 0, 1, false, 1.1, 1.1},
    {"GROUP BY", "row",
     "SELECT substr(value, 1, 1), count(*) FROM %s GROUP BY 1", NULL, NOTHING, 0, 1,
     false, 1.1, 1.1},
    {"ORDER BY value LIMIT 10", "row",
     "SELECT key FROM %s ORDER BY value LIMIT 10", NULL, NOTHING, 0, 1, false, 1.1,
     1.05},
    {"ORDER BY key LIMIT 10", "statement",
     "SELECT key, value FROM %s ORDER BY key LIMIT 10", NULL, NOTHING, 1, 20000,
     false, 1.1, 1.05},
    {"join by key", "outer row",
     "SELECT sum(length(s.value)) FROM ids JOIN %s s ON s.key=ids.id", NULL, NOTHING,
     JOIN_ROWS, 1, false, 0.4, 0.50},
    {"INSERT new", "statement", "INSERT INTO %s(key, value) VALUES(?, ?)",
     NULL, NEW_KEY, 1, 20000, true, 0.9, 0.65},
    {"REPLACE", "statement", "REPLACE INTO %s(key, value) VALUES(?, ?)",
     NULL, OLD_KEY, 1, 20000, true, 0.9, 0.45},
    {"UPDATE by key", "statement", "UPDATE %s SET value=? WHERE key=?",
     NULL, VALUE_KEY, 1, 20000, true, 0.9, 0.60},
    {"DELETE by key", "statement", "DELETE FROM %s WHERE key=?", NULL, GONE_KEY, 1,
     10000, true, 0.9, 0.80},
    {"UPDATE by key, autocommit", "statement",
     "UPDATE %s SET value=? WHERE key=?", NULL, VALUE_KEY, 1, 20000, false, 1.1,
     0.75},
    {"UPDATE of 1000", "row", "UPDATE %s SET value=? WHERE key>=? AND key<?",
     NULL, VALUE_RANGE, RANGE, 20, true, 3, 3},
    {"UPDATE of 1000, autocommit", "row",
     "UPDATE %s SET value=? WHERE key>=? AND key<?", NULL, VALUE_RANGE, RANGE,
     20, false, 3, 3},
    {"count(*)", "row", "SELECT count(*) FROM %s", NULL, NOTHING, 0, 3, false, 8,
     40},
    {"by INDEX(age)", "row", "SELECT id, name FROM %s WHERE age=?", NULL,
     ANY_AGE, USERS / AGES, 5000, false, 1.0, 1.0},
    {"range of INDEX(age)", "row",
     "SELECT id, name FROM %s WHERE age>=? AND age<?", NULL, AGE_RANGE, RANGE,
     50, false, 1.0, 1.0},
    {"INDEX(city, age) LIMIT 10", "row",
     "SELECT id, age FROM %s WHERE city=? ORDER BY age DESC LIMIT 10", NULL,
     ANY_CITY, 10, 5000, false, 1.0, 1.0},
    {"INSERT with 2 indexes", "statement",
     "INSERT INTO %s VALUES(?, 'Ann of Kent', abs(random() % 2000), 'c' || "
     "abs(random() % 100))", NULL, NEW_USER, 1, 10000, true, 1.0, 1.0},
    {"UPDATE of an indexed column", "statement",
     "UPDATE %s SET age=abs(random() % 2000) WHERE id=?", NULL, OLD_USER, 1,
     10000, true, 1.0, 1.0},
};
#define TESTS (sizeof(tests) / sizeof(tests[0]))

static const char *table_of(const struct test *test, enum side side)
{
    return test->binding >= ANY_AGE ? users_name[side] : table_name[side];
}

static unsigned units_of(const struct test *test)
{
    return test->units > 0 ? test->units : rows;
}

static void test_text(const struct test *test, enum side side,
                      char out[TEXT_MAX])
{
    size_t size;

    if (test->text != NULL) {
        size = 0;
        for (const char *p = test->text; *p != 0; p++) {
            if (p[0] == '%' && p[1] == 's') {
                size += (size_t)snprintf(out + size, TEXT_MAX - size, "%s",
                                         table_of(test, side));
                p++;
            } else {
                out[size++] = *p;
                p += p[0] == '%' && p[1] == '%';
            }
        }
        (void)snprintf(out + size, TEXT_MAX - size, "%s",
                       side == NATIVE && test->bounds ? test->bounds : "");
        return;
    }
    size = (size_t)snprintf(out, TEXT_MAX,
                            "SELECT value FROM %s WHERE key IN (?",
                            table_name[side]);
    for (unsigned i = 1; i < IN_COUNT; i++, size += 2)
        memcpy(out + size, ",?", 2);
    memcpy(out + size, ")", 2);
}

static void test_bind(const struct test *test, enum side side,
                      struct vt_statement *statement)
{
    char key[KEY_SIZE + 1], value[VALUE_SIZE + 1];
    /* half of the keys that DELETE takes away are never asked for again */
    unsigned i = random_below(rows / 2);

    if (test->binding > KEY_RANGE)
        value_text(value);
    key_text(i, key);
    switch (test->binding) {
    case NOTHING:
        break;
    case ANY_KEY:
        bind(statement, 1, key);
        break;
    case MANY_KEYS:
        for (int k = 1; k <= IN_COUNT; k++) {
            key_text(random_below(rows / 2), key);
            bind(statement, k, key);
        }
        break;
    case KEY_RANGE:
    case VALUE_RANGE: {
        const int first = test->binding == VALUE_RANGE;
        if (first)
            bind(statement, 1, value);
        i = random_below(rows / 2 - RANGE);
        key_text(i, key);
        bind(statement, first + 1, key);
        key_text(i + RANGE, key);
        bind(statement, first + 2, key);
        break;
    }
    case NEW_KEY:
        /* in no order; 7919 and 10^8 have no common factor */
        key_text(++added[side] * 7919, key);
        memcpy(key, "new", 3);
        bind(statement, 1, key);
        bind(statement, 2, value);
        break;
    case OLD_KEY:
        bind(statement, 1, key);
        bind(statement, 2, value);
        break;
    case VALUE_KEY:
        bind(statement, 1, value);
        bind(statement, 2, key);
        break;
    case GONE_KEY:
        key_text(rows / 2 + added[side]++ * 3 % (rows / 2), key);
        bind(statement, 1, key);
        break;
    default:
        break; /* users_bind() */
    }
}

static void bind_int(struct vt_statement *statement, int index, int64_t n)
{
    const struct vt_value value = {.kind = VT_INTEGER, .integer = n};

    must(vt_bind(statement, index, &value, &err));
}

static void users_bind(const struct test *test, enum side side,
                       struct vt_statement *statement)
{
    const unsigned span = RANGE * AGES / USERS;
    char text[KEY_SIZE + 1];
    unsigned i;

    switch (test->binding) {
    case ANY_AGE:
        bind_int(statement, 1, random_below(AGES));
        break;
    case AGE_RANGE:
        i = random_below(AGES - span);
        bind_int(statement, 1, i);
        bind_int(statement, 2, i + span);
        break;
    case ANY_CITY:
        (void)snprintf(text, sizeof(text), "c%u", random_below(CITIES));
        bind(statement, 1, text);
        break;
    case NEW_USER:
        key_text(++added[side] * 7919, text);
        bind(statement, 1, text);
        break;
    default:
        (void)snprintf(text, sizeof(text), "%u", random_below(USERS));
        bind(statement, 1, text);
        break;
    }
}

static void test_run(const struct test *test, enum side side, unsigned runs)
{
    char text[TEXT_MAX];

    session = test->binding >= ANY_AGE ? users_session : rows_session;
    test_text(test, side, text);
    if (test->transaction)
        must(vt_begin(session, &err));
    for (unsigned i = 0; i < runs; i++) {
        struct vt_statement *statement = prepare(text);
        if (test->binding >= ANY_AGE)
            users_bind(test, side, statement);
        else
            test_bind(test, side, statement);
        finish(statement);
    }
    if (test->transaction)
        must(vt_commit(session, &err));
}

/* ---- loading -------------------------------------------------------------------- */

static void load(void)
{
    char key[KEY_SIZE + 1], value[VALUE_SIZE + 1];

    execute("CREATE TABLE native(key TEXT NOT NULL PRIMARY KEY, value TEXT "
            "NOT NULL, expires_at INTEGER) WITHOUT ROWID");
    execute("CREATE TABLE ids(id TEXT NOT NULL)");
    must(vt_begin(session, &err));
    for (unsigned i = 0; i < rows; i++) {
        key_text(i, key);
        value_text(value);
        for (enum side side = 0; side < SIDES; side++) {
            struct vt_statement *statement = prepare(
                side == OURS ? "INSERT INTO strings(key, value) VALUES(?, ?)"
                             : "INSERT INTO native(key, value) VALUES(?, ?)");
            bind(statement, 1, key);
            bind(statement, 2, value);
            finish(statement);
        }
    }
    for (unsigned i = 0; i < JOIN_ROWS; i++) {
        struct vt_statement *statement = prepare("INSERT INTO ids VALUES(?)");
        key_text(random_below(rows / 2), key);
        bind(statement, 1, key);
        finish(statement);
    }
    must(vt_commit(session, &err));
}

static void load_users(void)
{
    char text[256];

    execute("CREATE VIRTUAL TABLE users USING kv_hash('user:{id}', id, name "
            "TEXT, age INTEGER, city TEXT, INDEX(age), INDEX(city, age))");
    execute("CREATE TABLE native_users(id TEXT NOT NULL PRIMARY KEY, name TEXT,"
            " age INTEGER, city TEXT) WITHOUT ROWID");
    execute("CREATE INDEX native_age ON native_users(age)");
    execute("CREATE INDEX native_city ON native_users(city, age)");
    for (enum side side = 0; side < SIDES; side++) {
        (void)snprintf(text, sizeof(text),
                       "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 "
                       "FROM n LIMIT %d) INSERT INTO %s SELECT i, 'name of ' "
                       "|| i, i * 7919 %% %d, 'c' || (i %% %d) FROM n",
                       USERS, users_name[side], AGES, CITIES);
        execute(text);
    }
}

/* ---- time and counts -------------------------------------------------------------- */

static double processor_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double turn(const struct test *test, enum side side)
{
    const double before = processor_ns();

    test_run(test, side, test->runs);
    return (processor_ns() - before) / test->runs / units_of(test);
}

static void measure_times(const char *part)
{
    printf("%-28s %-10s %10s %10s %6s %6s\n", "strings beside native", "per",
           "ours ns", "native", "ratio", "goal");
    for (size_t i = 0; i < TESTS; i++) {
        double best[SIDES] = {0, 0};

        if (strncmp(tests[i].name, part, strlen(part)) != 0)
            continue;
        for (unsigned pair = 0; pair < PAIRS; pair++)
            for (enum side side = 0; side < SIDES; side++) {
                const double took = turn(&tests[i], side);
                if (best[side] == 0 || took < best[side])
                    best[side] = took;
            }
        const double ratio = best[OURS] / best[NATIVE];
        printf("%-28s %-10s %10.1f %10.1f %6.2f %6.2f %s\n", tests[i].name,
               tests[i].unit, best[OURS], best[NATIVE], ratio,
               tests[i].goal_time,
               ratio <= tests[i].goal_time ? "met" : "missed");
        (void)fflush(stdout);
    }
}

static void measure_count(void)
{
    enum { RUNS = 2000 };
    const double before = processor_ns();
    char text[64];

    (void)snprintf(text, sizeof(text), "SELECT kv_count('key:00%u*')", 1u);
    for (unsigned i = 0; i < RUNS; i++)
        execute(text);
    const double took = (processor_ns() - before) / RUNS;
    printf("%-28s %-10s %10.1f %10s %6s %6s %s\n", "kv_count('key:001*')",
           "statement", took, "-", "-", "2000", took <= 2000 ? "met" : "missed");
}

static void measure_pages(void)
{
    enum { RUNS = 2000 };
    double took[2];

    for (unsigned deep = 0; deep < 2; deep++) {
        char text[128];
        const unsigned from = deep ? rows / 2 : 0;
        const double before = processor_ns();

        (void)snprintf(text, sizeof(text),
                       "SELECT key FROM keys WHERE rank BETWEEN %u AND %u",
                       from, from + 99);
        for (unsigned i = 0; i < RUNS; i++)
            execute(text);
        took[deep] = (processor_ns() - before) / RUNS;
    }
    printf("%-28s %-10s %10.1f %10.1f %6.2f %6.2f %s\n",
           "deep page by rank / first", "statement", took[1], took[0],
           took[1] / took[0], 1.0, took[1] <= took[0] * 1.05 ? "met" : "missed");
}

__attribute__((noinline)) static void measured(const struct test *test,
                                               enum side side, unsigned runs)
{
    test_run(test, side, runs);
}

/* Of all cases, or of one. */
static void measure_instructions(unsigned count, unsigned sides,
                                 const char *only)
{
    for (size_t i = 0; i < TESTS; i++) {
        unsigned runs = count / units_of(&tests[i]);

        if (only != NULL && strcmp(only, tests[i].name) != 0)
            continue;
        runs += runs == 0;
        for (enum side side = 0; side < sides; side++) {
            test_run(&tests[i], side, 2); /* prepared, judged, and warm */
            measured(&tests[i], side, runs);
        }
        printf("%s|%s|%u|%.2f\n", tests[i].name, tests[i].unit,
               runs * units_of(&tests[i]), tests[i].goal_instructions);
    }
}

int main(int argc, char **argv)
{
    const struct kvsql_options options = {.no_keeper = true};
    const struct vt_limits limits = {.trusted = true};

    if (argc < 2 || argc > 5) {
        fprintf(stderr, "usage: sql ROWS [PART | COUNT SIDES [CASE]]\n");
        return 2;
    }
    rows = (unsigned)strtoul(argv[1], NULL, 10);
    must(rows < 2 * RANGE + 20000
             ? kv_fail(&err, KVSQL_SYNTAX, "at least 22,000 rows")
             : KVSQL_OK);
    must(kvsql_open(NULL, &options, &db, &err));
    must(kvsql_open(NULL, &options, &users_db, &err));
    must(vt_session_open(db, &limits, &rows_session, &err));
    must(vt_session_open(users_db, &limits, &users_session, &err));
    session = users_session;
    load_users();
    session = rows_session;
    load();
    if (argc == 3) {
        measure_times(argv[2]);
    } else if (argc > 3) {
        measure_instructions((unsigned)strtoul(argv[2], NULL, 10),
                             argv[3][0] == '2' ? SIDES : 1, argv[4]);
    } else {
        measure_times("");
        session = rows_session;
        measure_count();
        measure_pages();
    }
    vt_session_close(rows_session);
    vt_session_close(users_session);
    must(kvsql_close(db, &err));
    must(kvsql_close(users_db, &err));
    return 0;
}

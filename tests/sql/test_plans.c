/* test_plans.c - TE10 of the SQL reference: what EXPLAIN QUERY PLAN says, and how
 * many xFilter and xNext a statement needs, for a fixed list; what SQLite's
 * planner passes to a module, on which the rules PL1-PL13 rest.
 *
 * Calls are counted between SQLite and the modules (modules.h). The control: with
 * nothing pushed down every plan that pushes something is another one.
 *
 * The store has keys k000..k199 (strings), hashes h0..h9 of 20 fields, lists
 * l0, l1 of 50, sets s0..s9 of 20 and the sorted set z of 100. */
#include <stdio.h>
#include <string.h>

#include "tests/lib/modules.h"
#include "tests/lib/planner.h"
#include "tests/lib/rows.h"

static struct rows fx;

/* ---- the store ----------------------------------------------------------------- */

#define N(n) "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n" \
             " LIMIT " #n ") "

static void setup(void)
{
    rows_init(&fx);
    rows_ok(&fx, N(200) "INSERT INTO strings(key, value) SELECT 'k' ||"
                        " substr('00' || i, -3), i FROM n");
    rows_ok(&fx, N(200) "INSERT INTO hashes(key, field, value) SELECT 'h' ||"
                        " (i / 20), 'f' || (i % 20), i FROM n");
    rows_ok(&fx, N(100) "INSERT INTO lists(key, value) SELECT 'l' || (i / 50), i"
                        " FROM n");
    rows_ok(&fx, N(200) "INSERT INTO sets SELECT 's' || (i / 20), 'm' || (i % 20)"
                        " FROM n");
    rows_ok(&fx, N(100) "INSERT INTO zsets SELECT 'z', 'm' || i, i FROM n");
    rows_ok(&fx, "UPDATE keys SET expires_at = 1800000000000 WHERE key < 'k'");
    rows_ok(&fx, "CREATE VIRTUAL TABLE users USING kv_hash('h{id}', id,"
                 " f1 INTEGER, f2 TEXT)");
    rows_ok(&fx, "CREATE TEMP TABLE t(x TEXT, n INTEGER)");
    rows_ok(&fx, "INSERT INTO t VALUES('k007', 7), ('k100', 100), ('no', 0)");
}

static void teardown(void)
{
    rows_fini(&fx);
}

/* ---- plans ----------------------------------------------------------------------- */

struct plan {
    const char *sql;
    const char *text; /* of the plan, after SCAN; lines by newline */
    unsigned filters, nexts;
};
static const struct plan plans[] = {
    {"SELECT value FROM strings WHERE key = 'k007'",
     "SCAN strings:key=?", 1, 1},
    {"SELECT value FROM strings WHERE key = 7",
     "SCAN strings:key=?", 1, 0},
    {"SELECT value FROM strings WHERE key IN ('k001', 'k003', 'k100', 'no')",
     "SCAN strings:key IN", 1, 3},
    {"SELECT value FROM strings WHERE key = 'k001' OR key = 'k002'",
     "SCAN strings:key IN", 1, 2},
    {"SELECT key FROM strings WHERE key >= 'k190' ORDER BY key DESC",
     "SCAN strings:key range", 1, 10},
    {"SELECT key FROM strings WHERE key > 'k010' AND key <= 'k020'",
     "SCAN strings:key range", 1, 10},
    {"SELECT key FROM strings WHERE key BETWEEN 'k010' AND 'k019' LIMIT 3"
     " OFFSET 2",
     "SCAN strings:key range", 1, 4},
    {"SELECT key FROM strings WHERE key GLOB 'k01*'",
     "SCAN strings:key prefix", 1, 10},
    {"SELECT key FROM strings WHERE key LIKE 'K01%'",
     "SCAN strings:key prefix", 1, 10},
    {"SELECT key FROM strings WHERE key = 'K001' COLLATE NOCASE",
     "SCAN strings:", 1, 200},
    {"SELECT key FROM strings WHERE +key = 'k001'",
     "SCAN strings:", 1, 200},
    {"SELECT key FROM strings WHERE (key, value) > ('k190', '0')",
     "SCAN strings:key range", 1, 10},
    {"SELECT max(key) FROM strings",
     "SEARCH strings:", 1, 0},
    {"SELECT min(key) FROM strings",
     "SEARCH strings:", 1, 0},
    {"SELECT count(*) FROM strings",
     "SCAN strings:", 1, 200},
    {"SELECT count(*) FROM strings WHERE key GLOB 'k1*'",
     "SCAN strings:key prefix", 1, 100},
    {"SELECT key FROM strings ORDER BY key LIMIT 5",
     "SCAN strings:", 1, 4},
    {"SELECT key FROM strings ORDER BY value LIMIT 5",
     "SCAN strings:\n"
     "USE TEMP B-TREE FOR ORDER BY", 1, 200},
    {"SELECT key FROM strings WHERE rank BETWEEN 250 AND 259",
     "SCAN strings:rank range", 1, 0},
    {"SELECT key FROM keys WHERE rank < 3",
     "SCAN keys:rank range", 1, 3},
    {"SELECT key FROM keys WHERE expires_at < 1900000000000 ORDER BY"
     " expires_at LIMIT 4",
     "SCAN keys:expires_at range", 1, 3},
    {"SELECT key FROM keys WHERE type = 'hash'",
     "SCAN keys:", 1, 223},
    {"SELECT DISTINCT key FROM hashes",
     "SCAN hashes:\n"
     "USE TEMP B-TREE FOR DISTINCT", 1, 10},
    {"SELECT key, count(*) FROM hashes GROUP BY key",
     "SCAN hashes:", 1, 200},
    {"SELECT DISTINCT value FROM hashes WHERE length(key) > 0",
     "SCAN hashes:\n"
     "USE TEMP B-TREE FOR DISTINCT", 1, 200},
    {"SELECT value FROM hashes WHERE key = 'h3' AND field = 'f7'",
     "SCAN hashes:key=? field=?", 1, 1},
    {"SELECT value FROM hashes WHERE key = 'h3' AND field > 'f5' ORDER BY"
     " field",
     "SCAN hashes:key=? field range", 1, 4},
    {"SELECT value FROM hashes WHERE key = 'h3'",
     "SCAN hashes:key=?", 1, 20},
    {"SELECT value FROM hashes WHERE key IN ('h1', 'h2') AND field IN"
     " ('f1', 'f2')",
     "SCAN hashes:key IN field IN", 1, 4},
    {"SELECT value FROM hashes WHERE field = 'f7'",
     "SCAN hashes:field=?", 1, 10},
    {"SELECT value FROM hashes WHERE key = 'h1' ORDER BY key, field DESC",
     "SCAN hashes:key=?\n"
     "USE TEMP B-TREE FOR ORDER BY", 1, 20},
    {"SELECT value FROM hashes ORDER BY key, field DESC",
     "SCAN hashes:\n"
     "USE TEMP B-TREE FOR ORDER BY", 1, 200},
    {"SELECT value FROM lists WHERE key = 'l0' AND idx = 49",
     "SCAN lists:key=? idx=?", 1, 1},
    {"SELECT value FROM lists WHERE key = 'l0' AND idx BETWEEN 10 AND 14",
     "SCAN lists:key=? idx range", 1, 5},
    {"SELECT value FROM lists WHERE key = 'l0' AND idx IN (3, 1, 2)",
     "SCAN lists:key=? idx IN", 1, 3},
    {"SELECT value FROM lists WHERE key = 'l0' ORDER BY idx DESC LIMIT 2",
     "SCAN lists:key=?", 1, 1},
    {"SELECT 1 FROM sets WHERE key = 's4' AND member = 'm4'",
     "SCAN sets:key=? member=?", 1, 1},
    {"SELECT member FROM sets WHERE key = 's4' AND member GLOB 'm1*'",
     "SCAN sets:key=? member prefix", 1, 11},
    {"SELECT member FROM zsets WHERE key = 'z' AND score BETWEEN 10 AND 19",
     "SCAN zsets:key=? score range", 1, 10},
    {"SELECT member FROM zsets WHERE key = 'z' ORDER BY score DESC LIMIT 3",
     "SCAN zsets:key=?", 1, 2},
    {"SELECT member FROM zsets WHERE key = 'z' AND rank < 3",
     "SCAN zsets:key=? rank range", 1, 3},
    {"SELECT score FROM zsets WHERE key = 'z' AND member = 'm42'",
     "SCAN zsets:key=? member=?", 1, 1},
    {"SELECT t.n, s.value FROM t JOIN strings s ON s.key = t.x",
     "SCAN t\n"
     "SCAN s:key=?", 3, 2},
    {"SELECT t.n, s.value FROM t LEFT JOIN strings s ON s.key = t.x",
     "SCAN t\n"
     "SCAN s:key=? LEFT-JOIN", 3, 2},
    {"SELECT count(*) FROM t JOIN strings s ON s.key = t.n",
     "SCAN t\n"
     "SCAN s:key=?", 3, 0},
    {"SELECT count(*) FROM keys k JOIN hashes h USING(key) WHERE k.type ="
     " 'hash'",
     "SCAN k:\n"
     "SCAN h:key=?", 11, 423},
    {"SELECT value FROM strings WHERE key IN (SELECT x FROM t)",
     "SCAN strings:key IN\n"
     "LIST SUBQUERY 1\n"
     "SCAN t\n"
     "REUSE LIST SUBQUERY 1", 1, 2},
    {"SELECT id, f1 FROM users WHERE id = '3'",
     "SCAN users:id=?", 1, 1},
    {"SELECT id, f1 FROM users WHERE f1 = 61",
     "SCAN users:", 1, 10},
    {"SELECT id FROM users WHERE id >= '5' ORDER BY id",
     "SCAN users:id range", 1, 5},
    {"UPDATE strings SET value = 'v' WHERE key = 'k007'",
     "SCAN strings:key=?", 1, 0},
    {"DELETE FROM strings WHERE key = 'k007'",
     "SCAN strings:key=?", 1, 0},
    {"UPDATE strings SET value = 'v' WHERE key GLOB 'k00*'",
     "SCAN strings:key prefix", 1, 10},
    {"DELETE FROM hashes WHERE key = 'h3'",
     "SCAN hashes:key=?", 1, 20},
    {"UPDATE zsets SET score = 0 WHERE key = 'z' AND rank < 2",
     "SCAN zsets:key=? rank range", 1, 2},
    {"DELETE FROM lists WHERE key = 'l0' AND idx IN (0, 2)",
     "SCAN lists:key=? idx IN", 1, 2},
};

/* The lines of the plan without their numbers and the bits of idxNum. */
static const char *plan_of(const char *sql)
{
    static const char bits[] = " VIRTUAL TABLE INDEX ";
    static char text[4096];
    char explain[1024];
    size_t size = 0;

    (void)snprintf(explain, sizeof(explain), "EXPLAIN QUERY PLAN %s", sql);
    rows_ok(&fx, explain);
    text[0] = 0;
    for (char *line = strtok(fx.text, "\n"); line; line = strtok(NULL, "\n")) {
        const char *from = strrchr(line, '|') + 1;
        const char *number = strstr(from, bits);
        const size_t head = number ? (size_t)(number - from) : strlen(from);
        size += (size_t)snprintf(
            text + size, sizeof(text) - size, "%s%.*s%s", size > 0 ? "\n" : "",
            (int)head, from, number ? strchr(number, ':') : "");
    }
    return text;
}

/* What the statement does, which is taken back. */
static void steps_of(const char *sql, uint64_t *filters, uint64_t *nexts)
{
    rows_ok(&fx, "BEGIN");
    *filters = modules_calls(MODULES_FILTER);
    *nexts = modules_calls(MODULES_NEXT);
    rows_ok(&fx, sql);
    *filters = modules_calls(MODULES_FILTER) - *filters;
    *nexts = modules_calls(MODULES_NEXT) - *nexts;
    rows_ok(&fx, "ROLLBACK");
}

START_TEST(a_plan_and_its_steps_are_these)
{
    const struct plan *plan = &plans[_i];
    const char *text = plan_of(plan->sql);
    uint64_t filters, nexts;

    ck_assert_msg(strcmp(text, plan->text) == 0, "%s\n{\"%s\"}", plan->sql,
                  text);
    steps_of(plan->sql, &filters, &nexts);
    ck_assert_msg(filters == plan->filters && nexts == plan->nexts,
                  "%s: %llu, %llu", plan->sql, (unsigned long long)filters,
                  (unsigned long long)nexts);
}
END_TEST

/* The plan asks something of a module: "SCAN strings:key=?". */
static bool pushes(const char *text)
{
    for (const char *colon = strchr(text, ':'); colon;
         colon = strchr(colon + 1, ':'))
        if (colon[1] != 0 && colon[1] != '\n') return true;
    return false;
}

/* The control: what each plan is without plans. */
START_TEST(a_plan_that_asks_for_less_is_told_apart)
{
    unsigned pushing = 0, texts = 0, steps = 0;

    vt_session_plan_off(fx.session, true);
    for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
        const struct plan *plan = &plans[i];
        uint64_t filters, nexts;
        if (!pushes(plan->text)) continue;
        pushing++;
        texts += strcmp(plan_of(plan->sql), plan->text) != 0;
        steps_of(plan->sql, &filters, &nexts);
        steps += filters != plan->filters || nexts != plan->nexts;
    }
    vt_session_plan_off(fx.session, false);
    ck_assert_uint_gt(pushing, 40);
    ck_assert_uint_eq(texts, pushing);
    ck_assert_uint_eq(steps, pushing);
}
END_TEST

/* ---- what reaches xBestIndex (section 3) --------------------------------------- */

static const struct {
    const char *sql, *text; /* the first call */
} facts[] = {
    {"SELECT 1 FROM p WHERE key = 'a'",
     "key EQ 'a' BINARY; distinct 0; cols 1"},
    {"SELECT 1 FROM p WHERE key = 7", "key EQ 7 BINARY; distinct 0; cols 1"},
    {"SELECT 1 FROM p WHERE key = CAST('7' AS INTEGER)",
     "key EQ 7 BINARY; distinct 0; cols 1"},
    {"SELECT 1 FROM p WHERE key = ?", "key EQ ? BINARY; distinct 0; cols 1"},
    {"SELECT 1 FROM p WHERE key = 'a' COLLATE NOCASE",
     "key EQ ? NOCASE; distinct 0; cols 1"},
    {"SELECT 1 FROM p WHERE key IN ('a', 'b')",
     "key EQ ? BINARY IN; distinct 0; cols 1"},
    {"SELECT 1 FROM p WHERE key GLOB 'a*'",
     "key GLOB 'a*' BINARY; distinct 0; cols 1"},
    {"SELECT 1 FROM p WHERE key LIKE 'a%'",
     "key LIKE 'a%' BINARY; distinct 0; cols 1"},
    {"SELECT 1 FROM p WHERE (key, value) > ('a', 'b')",
     "key GE ? BINARY; distinct 0; cols 3"},
    {"SELECT value FROM p ORDER BY key DESC",
     "; order key DESC; distinct 0; cols 3"},
    {"SELECT DISTINCT value FROM p WHERE length(key) > 0",
     "; order value; distinct 2; cols 3"},
    {"SELECT value, count(*) FROM p GROUP BY value",
     "; order value; distinct 1; cols 2"},
    {"SELECT key FROM p LIMIT 5 OFFSET 2",
     "LIMIT 5, OFFSET 2; distinct 0; cols 1"},
    {"SELECT key FROM p WHERE key IS NULL", /* folded away: NOT NULL */
     "; distinct 0; cols 1"},
    {"SELECT count(*) FROM p", "; distinct 0; cols 0"},
    {"SELECT 1 FROM t, p WHERE p.key = t.n",
     "key EQ ? BINARY; distinct 0; cols 1"},
};

START_TEST(the_planner_passes_this)
{
    struct planner planner;
    sqlite3 *sql = vt_session_sqlite(fx.session);
    char *end;

    ck_assert_int_eq(planner_register(sql, &planner), SQLITE_OK);
    rows_ok(&fx, "CREATE VIRTUAL TABLE p USING planner");
    planner.text[0] = 0;
    rows_ok(&fx, facts[_i].sql);
    end = strchr(planner.text, '\n');
    if (end != NULL) *end = 0;
    ck_assert_msg(strcmp(planner.text, facts[_i].text) == 0,
                  "%s\n\"%s\"", facts[_i].sql, planner.text);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, a_plan_and_its_steps_are_these, 0,
                        (int)(sizeof(plans) / sizeof(plans[0])));
    tcase_add_test(tests, a_plan_that_asks_for_less_is_told_apart);
    tcase_add_loop_test(tests, the_planner_passes_this, 0,
                        (int)(sizeof(facts) / sizeof(facts[0])));
}

int main(void)
{
    return unit_run("plans", add);
}

/* test_twin.c - TE1, TE2, TE4 of the SQL reference: our tables against native
 * twins, with and without plans, and through histories of transactions.
 *
 * KVSQL_SEED gives another run; KVSQL_SQL_STEPS sets how many statements each
 * test tries. */
#include <string.h>

#include "tests/lib/unit.h"
#include "tests/sql/twin.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STEPS 5000
#else
#define STEPS 20000
#endif
#define STEPS_PER_FILL 400
#define STEPS_PER_HISTORY 2000

static struct twin twin;
static uint64_t refused; /* statements that fail on both sides */

/* Whether another statement should be tried. */
static bool more(void)
{
    const char *steps = getenv("KVSQL_SQL_STEPS");

    twin.gen.step++;
    return twin.gen.step <= (steps != NULL ? strtoull(steps, NULL, 0) : STEPS);
}

START_TEST(queries_give_the_rows_of_native_tables)
{
    struct gen *g = &twin.gen;

    twin_open(&twin, "TE1", 1);
    while (more()) {
        if (g->step % STEPS_PER_FILL == 1) twin_fill(&twin);
        gen_query(g);
        twin_both(&twin, g->sql);
        refused += twin.a.error;
        if (!gen_one_in(g, 4)) continue;
        vt_session_plan_off(twin.ours, true); /* TE2 */
        twin_ours(&twin, g->sql, &twin.a);
        vt_session_plan_off(twin.ours, false);
        twin_compare(&twin, g->sql);
    }
    printf("TE1: %llu queries, %llu refused, %llu as SQLite without optimizer\n",
           (unsigned long long)g->step - 1, (unsigned long long)refused,
           (unsigned long long)twin.judged);
    ck_assert_uint_lt(refused * 100, g->step);
    ck_assert_uint_le(twin.judged * 100000, g->step + 300000);
    twin_close(&twin);
}
END_TEST

static void check_contents(void)
{
    static const char *const contents[] = {
        "SELECT a.key, a.value, a.expires_at FROM strings a ORDER BY a.key",
        "SELECT a.* FROM hashes a ORDER BY a.key, field",
        "SELECT a.* FROM sets a ORDER BY a.key, member",
        "SELECT a.* FROM zsets a ORDER BY a.key, member",
        "SELECT * FROM t ORDER BY id"};

    gen_begin(&twin.gen);
    for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++)
        twin_both(&twin, contents[i]);
}

START_TEST(histories_of_writes_and_savepoints_end_as_native_tables)
{
    struct gen *g = &twin.gen;

    twin_open(&twin, "TE4", 2);
    g->writing = true;
    while (more()) {
        if (gen_one_in(g, 4))
            gen_control(g);
        else
            gen_write(g);
        twin_both(&twin, g->sql);
        refused += twin.a.error;
        ck_assert_int_eq(vt_in_transaction(twin.ours),
                         !sqlite3_get_autocommit(twin.native));
        check_contents();
        if (g->step % STEPS_PER_HISTORY == 0) {
            twin_ours(&twin, "ROLLBACK", &twin.a);
            twin_native(&twin, "ROLLBACK", &twin.b);
            twin_empty(&twin);
        }
    }
    printf("TE4: %llu statements, %llu refused\n",
           (unsigned long long)g->step - 1, (unsigned long long)refused);
    ck_assert_uint_lt(refused * 2, g->step);
    twin_close(&twin);
}
END_TEST

static void add(TCase *tests)
{
    tcase_set_timeout(tests, 0);
    tcase_add_test(tests, queries_give_the_rows_of_native_tables);
    tcase_add_test(tests,
                   histories_of_writes_and_savepoints_end_as_native_tables);
}

int main(void)
{
    return unit_run("twin", add);
}

/* test_twin.c - TE1, TE2 of the SQL reference: our tables against native twins,
 * with and without plans.
 *
 * KVSQL_SEED gives another run; KVSQL_SQL_STEPS sets how many statements are
 * tried. */
#include <string.h>

#include "tests/lib/unit.h"
#include "tests/sql/twin.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STEPS 5000
#else
#define STEPS 20000
#endif
#define STEPS_PER_FILL 400

static struct twin twin;
static uint64_t refused; /* statements that fail on both sides */

START_TEST(queries_give_the_rows_of_native_tables)
{
    struct gen *g = &twin.gen;

    twin_open(&twin, "TE1", 1);
    while (twin_more(&twin, STEPS)) {
        if (g->step % STEPS_PER_FILL == 1) twin_fill(&twin);
        gen_query(g);
        twin_both(&twin, g->sql);
        refused += twin.a.error;
        if (!gen_one_in(g, 4)) continue;
        gen_lookup(g);
        twin_both(&twin, g->sql);
        gen_query(g);
        twin_both(&twin, g->sql);
        refused += twin.a.error;
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

static void add(TCase *tests)
{
    tcase_set_timeout(tests, 0);
    tcase_add_test(tests, queries_give_the_rows_of_native_tables);
}

int main(void)
{
    return unit_run("twin", add);
}

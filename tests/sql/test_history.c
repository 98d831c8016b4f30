/* test_history.c - TE4 of the SQL reference: histories of transactions with
 * savepoints and conflict clauses on our tables and on native twins.
 *
 * After each statement all that is there is compared, and whether a transaction
 * is open. KVSQL_SEED gives another run; KVSQL_SQL_STEPS sets how many statements
 * are tried. */
#include "tests/lib/unit.h"
#include "tests/sql/twin.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STEPS 5000
#else
#define STEPS 20000
#endif
#define STEPS_PER_HISTORY 2000

static struct twin twin;
static uint64_t refused; /* statements that fail on both sides */

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
    while (twin_more(&twin, STEPS)) {
        if (gen_one_in(g, 4))
            gen_control(g);
        else
            gen_write(g);
        twin_both(&twin, g->sql);
        refused += twin.a.error;
        if (vt_in_transaction(twin.ours) ==
            (sqlite3_get_autocommit(twin.native) != 0))
            ck_abort_msg("step %llu: only one of both is in a transaction",
                         (unsigned long long)g->step);
        gen_lookup(g);
        twin_both(&twin, g->sql);
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
    tcase_add_test(tests,
                   histories_of_writes_and_savepoints_end_as_native_tables);
}

int main(void)
{
    return unit_run("history", add);
}

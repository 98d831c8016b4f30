/* test_view.c - views that are ended because they are too old or hold back too
 * much (M8, VW6, EV3): which, when, what their readers are told.
 *
 * The store runs without its keeper and is ticked by hand; ages are real time,
 * waited for and never bounded from above. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command/command.h"
#include "kvsql/admin.h"
#include "kvsql/base/diag.h"
#include "kvsql/store_private.h"
#include "tests/lib/unit.h"
#include "vtab/session.h"

#define KEYS 2000
#define VALUE_SIZE 100
#define LIMIT ((uint64_t)64 << 10) /* less than all values take */

static kvsql *db;
static struct kvsql_error err;
static char told[512];
static char dir[64]; /* "": none */

static void diag_keep(void *arg, const char *line)
{
    (void)arg;
    if (strstr(line, "view.ended") != NULL)
        (void)snprintf(told, sizeof(told), "%s", line);
}

static void open_at(const char *path)
{
    const struct kvsql_options options = {.no_keeper = true};

    ck_assert_int_eq(
        kv_open_os(path, &options, kv_os_real(), NULL, NULL, &db, &err),
        KVSQL_OK);
}

static void setup(void)
{
    told[0] = '\0';
    kv_diag_sink(diag_keep, NULL);
    open_at("");
}

static void teardown(void)
{
    char command[96];

    ck_assert_int_eq(kv_close(db, &err), KVSQL_OK);
    kv_diag_sink(NULL, NULL);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    ck_assert(dir[0] == '\0' || system(command) == 0);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_NODE), 0);
}

static void tick(void)
{
    while (kv_store_tick(kv_db_store(db)))
        continue;
}

static struct kv_info info_now(void)
{
    struct kv_info info;

    kv_info_get(db, &info);
    return info;
}

/* Give every key a new value. */
static void overwrite(unsigned round)
{
    char name[32], value[VALUE_SIZE];
    struct kv_txn *txn;

    memset(value, 'a' + (int)(round % 26), sizeof(value));
    ck_assert_int_eq(kv_txn_begin(db, true, 60000, &txn, &err), KVSQL_OK);
    for (unsigned i = 0; i < KEYS; i++) {
        const struct kv_key key = kv_key_of(
            name, (size_t)snprintf(name, sizeof(name), "key:%u", i));

        ck_assert_int_eq(kv_set(txn, &key,
                                (kvsql_slice){value, sizeof(value)}, 0, &err),
                         KVSQL_OK);
    }
    ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
}

static struct kv_view *pin(void)
{
    struct kv_view *view;

    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    return view;
}

static bool ended(const struct kv_view *view)
{
    return kv_view_ended(view, &err) != KVSQL_OK;
}

/* ---- what is held back ---------------------------------------------------- */

START_TEST(what_a_view_holds_back_is_what_was_replaced_behind_it)
{
    overwrite(0);
    struct kv_view *const first = pin();
    ck_assert_uint_eq(info_now().views_retained, 0);
    overwrite(1);
    const uint64_t once = info_now().views_retained;
    ck_assert_uint_gt(once, KEYS * VALUE_SIZE);
    overwrite(2); /* what was replaced now, the view never saw */
    ck_assert_uint_eq(info_now().views_retained, once);
    struct kv_view *const second = pin();
    overwrite(3);
    ck_assert_uint_eq(first->retained, once);
    ck_assert_uint_gt(second->retained, KEYS * VALUE_SIZE);
    kv_store_check(kv_db_store(db));
    kv_unpin(first);
    kv_unpin(second);
    tick();
    ck_assert_uint_eq(info_now().views_retained, 0);
    ck_assert_uint_eq(info_now().memory_retired, 0);
}
END_TEST

START_TEST(what_is_taken_back_is_not_held_back)
{
    struct kv_txn *txn;

    overwrite(0);
    struct kv_view *const view = pin();
    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    const struct kv_key key = kv_key_of("key:7", 5);
    ck_assert_int_eq(kv_set(txn, &key, (kvsql_slice){"new", 3}, 0, &err),
                     KVSQL_OK);
    ck_assert_uint_gt(view->retained, 0);
    kv_txn_rollback(txn);
    ck_assert_uint_eq(view->retained, 0);
    kv_store_check(kv_db_store(db));
    kv_unpin(view);
}
END_TEST

/* ---- the end -------------------------------------------------------------- */

START_TEST(a_view_that_holds_back_too_much_is_ended)
{
    kv_set_views(db, 0, LIMIT);
    overwrite(0);
    struct kv_view *const view = pin();
    tick();
    ck_assert(!ended(view));
    overwrite(1);
    tick();
    ck_assert(ended(view));
    ck_assert_int_eq(err.rc, KVSQL_INTERRUPT);
    ck_assert_ptr_nonnull(strstr(err.text, "view-max-bytes"));
    ck_assert_ptr_nonnull(strstr(told, "warn view.ended views=1 "
                                       "why=view-max-bytes retained_bytes="));
    ck_assert_uint_eq(info_now().views_ended, 1);
    tick(); /* told once */
    ck_assert_uint_eq(info_now().views_ended, 1);
    kv_unpin(view);
    tick();
    ck_assert_uint_eq(info_now().memory_retired, 0);
}
END_TEST

START_TEST(a_view_that_was_ended_is_not_handed_out)
{
    kv_set_views(db, 0, LIMIT);
    overwrite(0);
    struct kv_view *const view = pin();
    struct kv_view *const same = pin();
    ck_assert_ptr_eq(view, same);
    overwrite(1);
    tick();
    ck_assert(ended(same)); /* all its readers end */
    struct kv_view *const other = pin();
    ck_assert_ptr_ne(view, other);
    ck_assert(!ended(other));
    kv_unpin(view);
    kv_unpin(same);
    kv_unpin(other);
}
END_TEST

START_TEST(without_a_limit_no_view_ends)
{
    overwrite(0);
    struct kv_view *const view = pin();
    for (unsigned i = 1; i < 5; i++) {
        overwrite(i);
        tick();
    }
    ck_assert(!ended(view));
    kv_set_views(db, 0, LIMIT); /* a change of the option counts at once */
    tick();
    ck_assert(ended(view));
    kv_unpin(view);
}
END_TEST

START_TEST(a_view_that_is_too_old_is_ended)
{
    kv_set_views(db, 1, 0);
    struct kv_view *const view = pin();
    while (!ended(view)) { /* in a millisecond or so; the test has patience */
        tick();
        kv_os_sleep_ms(1);
    }
    ck_assert_int_eq(err.rc, KVSQL_INTERRUPT);
    ck_assert_ptr_nonnull(strstr(err.text, "view-max-age"));
    ck_assert_ptr_nonnull(strstr(told, "why=view-max-age"));
    kv_unpin(view);
}
END_TEST

START_TEST(readers_share_a_view_while_it_is_young)
{
    kv_set_views(db, 3600000, 0);
    struct kv_view *const view = pin();
    struct kv_view *other = pin();
    ck_assert_ptr_eq(view, other);
    kv_unpin(other);
    kv_set_views(db, 80, 0); /* young for 10 ms */
    do {
        kv_os_sleep_ms(5);
        other = pin();
        kv_unpin(other);
    } while (other == view);
    kv_unpin(view);
}
END_TEST

/* ---- snapshots ------------------------------------------------------------ */

START_TEST(a_view_of_a_snapshot_is_its_own_and_ends_when_memory_is_short)
{
    struct kv_view *view;
    struct kv_txn *txn;

    kv_set_views(db, 1, LIMIT);
    overwrite(0);
    ck_assert_int_eq(kv_pin_own(db, &view, &err), KVSQL_OK);
    struct kv_view *const other = pin();
    ck_assert_ptr_ne(view, other);
    kv_unpin(other);
    overwrite(1);
    kv_os_sleep_ms(5);
    tick();
    ck_assert(!ended(view));
    kv_set_maxmemory(db, info_now().memory_data + LIMIT);
    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    ck_assert_int_eq(kv_txn_command(txn, true, &err), KVSQL_OOM);
    kv_txn_command_done(txn);
    kv_txn_rollback(txn);
    ck_assert(ended(view));
    kv_unpin(view);
    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    ck_assert_int_eq(kv_txn_command(txn, true, &err), KVSQL_OK);
    kv_txn_command_done(txn);
    kv_txn_rollback(txn);
}
END_TEST

START_TEST(an_evicting_store_ends_the_view_and_evicts_no_key_for_it)
{
    struct kv_txn *txn;

    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    kv_set_views(db, 0, LIMIT);
    overwrite(0);
    struct kv_view *const view = pin();
    overwrite(1);
    kv_set_maxmemory(db, info_now().memory_data + LIMIT +
                             kv_mem_bytes(KV_MEM_CLIENT));
    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    ck_assert_int_eq(kv_txn_command(txn, true, &err), KVSQL_OK);
    kv_txn_command_done(txn);
    kv_txn_rollback(txn);
    ck_assert(ended(view));
    ck_assert_uint_eq(info_now().evicted_keys, 0);
    kv_unpin(view);
}
END_TEST

/* The first progress of the file being written: memory becomes short. */
static void snapshot_progress(void *arg, const struct kv_progress *progress)
{
    unsigned *const calls = arg;
    struct kv_txn *txn;
    struct kvsql_error why;

    (void)progress;
    if ((*calls)++ > 0)
        return;
    overwrite(1);
    kv_set_maxmemory(db, info_now().memory_data + LIMIT);
    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &why), KVSQL_OK);
    ck_assert_int_eq(kv_txn_command(txn, true, &why), KVSQL_OOM);
    kv_txn_command_done(txn);
    kv_txn_rollback(txn);
    kv_set_maxmemory(db, 0);
}

static void fill_more(unsigned count)
{
    char name[32];
    struct kv_txn *txn;

    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    for (unsigned i = 0; i < count; i++) {
        const struct kv_key key = kv_key_of(
            name, (size_t)snprintf(name, sizeof(name), "more:%u", i));

        ck_assert_int_eq(kv_set(txn, &key, (kvsql_slice){"v", 1}, 0, &err),
                         KVSQL_OK);
    }
    ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
}

START_TEST(a_snapshot_whose_view_ends_fails_and_the_next_is_written)
{
    struct kv_snapshot_info info;
    unsigned calls = 0;

    ck_assert_int_eq(kv_close(db, &err), KVSQL_OK);
    (void)snprintf(dir, sizeof(dir), "/tmp/test_view.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    open_at(dir);
    kv_set_views(db, 0, LIMIT);
    overwrite(0);
    fill_more(20000); /* a progress every 10,000 keys */
    ck_assert_int_eq(
        kv_snapshot_run(db, snapshot_progress, &calls, &info, &err),
        KVSQL_INTERRUPT);
    ck_assert_uint_gt(calls, 0);
    ck_assert_ptr_nonnull(strstr(err.text, "view-max-bytes"));
    tick();
    ck_assert_uint_eq(info_now().views, 0);
    ck_assert_int_eq(
        kv_snapshot_run(db, snapshot_progress, &calls, &info, &err), KVSQL_OK);
    ck_assert_uint_eq(info.keys, KEYS + 20000);
}
END_TEST

/* ---- SQL ------------------------------------------------------------------ */

START_TEST(a_transaction_of_sql_whose_view_ends_says_so)
{
    const struct vt_limits limits = {.trusted = true};
    static const char *const lines[] = {"BEGIN", "SELECT count(*) FROM keys",
                                        "SELECT max(value) FROM strings",
                                        "SELECT count(*) FROM keys",
                                        "ROLLBACK"};
    struct vt_session *session;
    struct vt_statement *statement;
    bool row;

    ck_assert_int_eq(vt_start(&err), KVSQL_OK);
    ck_assert_int_eq(vt_session_open(db, &limits, &session, &err), KVSQL_OK);
    kv_set_views(db, 0, LIMIT);
    overwrite(0);
    for (unsigned i = 0; i < 5; i++) {
        kvsql_rc rc;

        if (i == 2) {
            overwrite(1);
            tick();
        }
        /* what was compiled before ends in its first step */
        for (unsigned again = 0; again < 1 + (i == 1); again++) {
            rc = vt_prepare(session, lines[i], strlen(lines[i]), NULL,
                            &statement, &err);
            row = rc == KVSQL_OK;
            while (rc == KVSQL_OK && row)
                rc = vt_step(statement, &row, &err);
            vt_finish(statement);
        }
        ck_assert_int_eq(rc, i == 2 || i == 3 ? KVSQL_INTERRUPT : KVSQL_OK);
        if (rc == KVSQL_INTERRUPT)
            ck_assert_ptr_nonnull(strstr(err.text, "view-max-bytes"));
    }
    tick();
    ck_assert_uint_eq(info_now().views, 0);
    vt_session_close(session);
}
END_TEST

/* ---- threads -------------------------------------------------------------- */

#define READERS 3

static atomic_bool stop;
static atomic_uint gave_up;

/* Readers that let go when they are told to, and begin anew. */
static void *reader(void *arg)
{
    struct kvsql_error e;

    (void)arg;
    while (!atomic_load(&stop)) {
        struct kv_view *view;
        struct kv_keys keys;
        struct kv_at at;

        if (kv_pin(db, &view, &e) != KVSQL_OK)
            break;
        kv_at_view(view, &at);
        kv_keys_init(&keys, &at, 0);
        while (!atomic_load(&stop) && kv_view_ended(view, &e) == KVSQL_OK)
            (void)(kv_keys_next(&keys) || kv_keys_first(&keys));
        atomic_fetch_add(&gave_up, !atomic_load(&stop));
        kv_unpin(view);
    }
    return NULL;
}

START_TEST(readers_beside_a_writer_let_go_when_told)
{
    pthread_t threads[READERS];

    kv_set_views(db, 0, LIMIT);
    overwrite(0);
    for (unsigned i = 0; i < READERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, reader, NULL), 0);
    for (unsigned round = 1; atomic_load(&gave_up) < 20; round++) {
        overwrite(round);
        tick();
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    kv_store_check(kv_db_store(db));
    tick();
    ck_assert_uint_eq(info_now().views, 0);
    ck_assert_uint_eq(info_now().memory_retired, 0);
}
END_TEST

/* The lock's own holder stands for one that does not let go of it. */
START_TEST(who_will_not_wait_for_the_lock_is_told)
{
    struct kv_view *view = NULL, *other = NULL;
    struct kv_txn *txn;

    ck_assert_int_eq(kv_pin_within(db, 1000, &view, &err), KVSQL_OK);
    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    ck_assert_int_eq(kv_pin_within(db, 1, &other, &err), KVSQL_BUSY);
    ck_assert_ptr_nonnull(strstr(err.text, "longer than 1 ms"));
    ck_assert_ptr_null(other);
    ck_assert(!kv_unpin_try(view));
    kv_txn_rollback(txn);
    ck_assert(kv_unpin_try(view));
    ck_assert_int_eq(kv_pin_within(db, 0, &view, &err), KVSQL_OK);
    kv_unpin(view);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests,
                   what_a_view_holds_back_is_what_was_replaced_behind_it);
    tcase_add_test(tests, what_is_taken_back_is_not_held_back);
    tcase_add_test(tests, a_view_that_holds_back_too_much_is_ended);
    tcase_add_test(tests, a_view_that_was_ended_is_not_handed_out);
    tcase_add_test(tests, without_a_limit_no_view_ends);
    tcase_add_test(tests, a_view_that_is_too_old_is_ended);
    tcase_add_test(tests, readers_share_a_view_while_it_is_young);
    tcase_add_test(
        tests, a_view_of_a_snapshot_is_its_own_and_ends_when_memory_is_short);
    tcase_add_test(tests,
                   an_evicting_store_ends_the_view_and_evicts_no_key_for_it);
    tcase_add_test(tests,
                   a_snapshot_whose_view_ends_fails_and_the_next_is_written);
    tcase_add_test(tests, a_transaction_of_sql_whose_view_ends_says_so);
    tcase_add_test(tests, readers_beside_a_writer_let_go_when_told);
    tcase_add_test(tests, who_will_not_wait_for_the_lock_is_told);
}

int main(void)
{
    return unit_run("view", add_tests);
}

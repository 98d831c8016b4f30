/* test_answers.c - answers that are kept: no keys, known to views and undo,
 * gone at their time, there again after a start. */
#include <stdio.h>
#include <string.h>

#include "kvsql/admin.h"
#include "tests/lib/keys_fx.h"
#include "tests/lib/rand.h"
#include "tests/lib/tempdir.h"

#define NAMES 200
#define STEPS 20000

static char dir[TEMPDIR_MAX];

static void keep_in(struct kv_txn *txn, const char *name, const char *text,
                    int64_t until)
{
    ck_assert_int_eq(kv_answer_keep(txn, kvsql_text(name), kvsql_text(text),
                                    until, &err),
                     KVSQL_OK);
}

static void keep(const char *name, const char *text, int64_t ms)
{
    struct kv_txn *const txn = begin();

    keep_in(txn, name, text, clock_wall + ms);
    commit(txn);
}

/* The answer of a state, NULL for none; good until the next call. */
static const char *answer_at(const struct kv_at *at, const char *name)
{
    static char text[4096];
    struct kv_buf buf;

    kv_buf_init(&buf, KV_MEM_MISC, sizeof(text) - 1);
    const bool found = kv_answer_get(at, kvsql_text(name), &buf);
    ck_assert(!buf.failed);
    if (found)
        memcpy(text, buf.p, buf.size);
    text[buf.size] = 0;
    kv_buf_fini(&buf);
    return found ? text : NULL;
}

static const char *answer(const char *name)
{
    struct kv_txn *txn;
    struct kv_at at;

    ck_assert_int_eq(kv_txn_begin(db, false, 0, &txn, &err), KVSQL_OK);
    kv_at_txn(txn, &at);
    const char *const text = answer_at(&at, name);
    commit(txn);
    return text;
}

static uint64_t answers_size(void)
{
    struct kv_txn *const txn = begin();
    struct kv_at at;

    kv_at_txn(txn, &at);
    const uint64_t size = kv_answers_size(&at);
    kv_txn_rollback(txn);
    return size;
}

START_TEST(an_answer_is_no_key_and_a_flush_leaves_it)
{
    struct kv_info info;
    struct kv_txn *txn;

    keep("a", "one", 1000);
    keep("\xff", "two", 1000);
    keep("a", "three", 1000);
    kv_info_get(db, &info);
    ck_assert_uint_eq(info.keys, 0);
    ck_assert_uint_eq(info.keys_with_expiry, 0);
    ck_assert_str_eq(answer("a"), "three");
    ck_assert_str_eq(answer("\xff"), "two");
    ck_assert_ptr_null(answer("b"));
    txn = begin();
    const struct kv_key key = kv_key_of("k", 1);
    ck_assert_int_eq(kv_set(txn, &key, kvsql_text("v"), 0, &err), KVSQL_OK);
    ck_assert_int_eq(kv_flush(txn, &err), KVSQL_OK);
    commit(txn);
    ck_assert_str_eq(answer("a"), "three");
    kv_store_check(store);
}
END_TEST

START_TEST(its_name_has_a_limit)
{
    static char name[KV_ANSWER_NAME_MAX + 1];
    struct kv_txn *const txn = begin();

    memset(name, 'n', sizeof(name));
    ck_assert_int_eq(kv_answer_keep(txn, (kvsql_slice){name, sizeof(name)},
                                    kvsql_text("x"), 1, &err),
                     KVSQL_TOOBIG);
    ck_assert_uint_eq(kv_txn_count(txn), 0);
    kv_txn_rollback(txn);
}
END_TEST

START_TEST(views_and_rollbacks_know_answers_as_they_know_keys)
{
    struct kv_view *view;
    struct kv_at old, at;

    keep("a", "one", 1000);
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    kv_at_view(view, &old);
    struct kv_txn *txn = begin();
    keep_in(txn, "b", "kept", clock_wall + 1000);
    const struct kv_mark mark = kv_txn_mark(txn);
    const uint64_t hash = kv_store_hash(store);
    keep_in(txn, "a", "two", clock_wall + 1000);
    keep_in(txn, "c", "three", clock_wall + 1000);
    keep_in(txn, "b", "", 0);
    kv_txn_restore(txn, mark);
    ck_assert_uint_eq(kv_store_hash(store), hash);
    kv_at_txn(txn, &at);
    ck_assert_str_eq(answer_at(&at, "b"), "kept");
    ck_assert_str_eq(answer_at(&at, "a"), "one");
    commit(txn);
    txn = begin();
    keep_in(txn, "a", "", 0);
    kv_txn_rollback(txn);
    ck_assert_str_eq(answer("a"), "one");
    keep("a", "four", 1000);
    ck_assert_str_eq(answer_at(&old, "a"), "one");
    ck_assert_ptr_null(answer_at(&old, "b"));
    kv_unpin(view);
    kv_store_check(store);
}
END_TEST

START_TEST(it_goes_at_its_time_and_its_memory_soon_after)
{
    char name[16], text[300];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    for (int i = 0; i < 3000; i++) {
        (void)snprintf(name, sizeof(name), i % 2 ? "n%d" : "\xff%d", i);
        keep(name, text, i < 2000 ? 500 : 90000);
    }
    const uint64_t before = answers_size();
    ck_assert_uint_gt(before, 3000u * 300u);
    pass_ms(500);
    ck_assert_ptr_null(answer("n1"));
    ck_assert_str_eq(answer("n2001"), text);
    pass_ms(KV_EXPIRE_STEP_MS);
    ck_assert(kv_expire_pending(store));
    while (kv_expire_some(store)) {
    }
    ck_assert(!kv_expire_pending(store));
    ck_assert_uint_lt(answers_size(), before / 2);
    ck_assert_str_eq(answer("n2999"), text);
    kv_store_check(store);
}
END_TEST

/* Names against a plain table, with a view pinned now and then. */
START_TEST(random_steps_agree_with_a_plain_model)
{
    static struct {
        char text[8];
        int64_t until;
    } model[NAMES];
    struct rand_state r = rand_of(rand_seed("test_answers", 20261127));

    memset(model, 0, sizeof(model));
    for (unsigned step = 0; step < STEPS; step++) {
        const unsigned i = (unsigned)(rand_next(&r) % NAMES);
        char name[16], text[8] = "";
        (void)snprintf(name, sizeof(name), i % 3 ? "n%u" : "\xfe%u", i);
        if (rand_next(&r) % 8 == 0)
            pass_ms((int64_t)(rand_next(&r) % 20));
        const int64_t until = clock_wall + 1 + (int64_t)(rand_next(&r) % 800);
        if (rand_next(&r) % 4)
            (void)snprintf(text, sizeof(text), "%u", step % 10000);
        struct kv_txn *const txn = begin();
        keep_in(txn, name, text, until);
        if (rand_next(&r) % 5 == 0) {
            kv_txn_rollback(txn);
        } else {
            commit(txn);
            memcpy(model[i].text, text, sizeof(text));
            model[i].until = until;
        }
        if (step % 50 == 0)
            (void)kv_expire_some(store);
        const char *const got = answer(name);
        const bool there =
            model[i].text[0] != 0 && model[i].until > clock_wall;
        ck_assert_msg((got != NULL) == there, "step %u", step);
        if (there)
            ck_assert_str_eq(got, model[i].text);
        if (step % 1000 == 0)
            kv_store_check(store);
    }
}
END_TEST

START_TEST(nothing_is_torn_when_an_allocation_fails)
{
    static char text[2000];

    memset(text, 'x', sizeof(text) - 1);
    keep("a", "one", 1000);
    bool failed = true;
    for (uint64_t n = 1; failed; n++) {
        struct kv_view *view;
        ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
        struct kv_txn *const txn = begin();
        const uint64_t hash = kv_store_hash(store);
        kv_mem_fail_at(n, 0);
        const kvsql_rc rc = kv_answer_keep(txn, kvsql_text("b"),
                                           kvsql_text(text),
                                           clock_wall + 1000, &err);
        failed = kv_mem_failed();
        kv_mem_fail_at(0, 0);
        ck_assert_int_eq(rc, failed ? KVSQL_NOMEM : KVSQL_OK);
        if (failed)
            ck_assert_uint_eq(kv_store_hash(store), hash);
        kv_txn_rollback(txn);
        kv_unpin(view);
    }
    ck_assert_str_eq(answer("a"), "one");
    ck_assert_ptr_null(answer("b"));
    kv_store_check(store);
}
END_TEST

/* ---- on disk ------------------------------------------------------------------ */

static void open_dir(void)
{
    const struct kvsql_options options = {.no_keeper = true,
                                          .fsync = KVSQL_FSYNC_NO};

    ck_assert_msg(kv_open_os(dir, &options, &clock_os, NULL, NULL, &db,
                             &err) == KVSQL_OK,
                  "%s", err.text);
    store = kv_db_store(db);
}

static void setup_dir(void)
{
    keys_fx_open();
    store_fx_close();
    tempdir_make(dir, "test_answers");
    open_dir();
}

static void teardown_dir(void)
{
    store_fx_close();
    tempdir_remove(dir);
}

static void reopen(void)
{
    store_fx_close();
    open_dir();
}

START_TEST(wal_and_snapshot_keep_answers)
{
    struct kv_snapshot_info info;

    keep("a", "one", 5000);
    ck_assert_int_eq(kv_snapshot_run(db, NULL, NULL, &info, &err), KVSQL_OK);
    reopen(); /* one alone */
    ck_assert_str_eq(answer("a"), "one");
    keep("\xff", "two", 5000);
    keep("c", "three", 100);
    reopen(); /* from the wal */
    ck_assert_str_eq(answer("a"), "one");
    ck_assert_str_eq(answer("\xff"), "two");
    ck_assert_str_eq(answer("c"), "three");
    pass_ms(100);
    ck_assert_int_eq(kv_snapshot_run(db, NULL, NULL, &info, &err), KVSQL_OK);
    keep("d", "four", 5000);
    reopen(); /* from the snapshot, and what came behind it */
    ck_assert_str_eq(answer("a"), "one");
    ck_assert_str_eq(answer("\xff"), "two");
    ck_assert_ptr_null(answer("c"));
    ck_assert_str_eq(answer("d"), "four");
    pass_ms(5000);
    reopen();
    ck_assert_ptr_null(answer("a"));
    ck_assert_ptr_null(answer("d"));
    kv_store_check(store);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("answers");
    TCase *memory = tcase_create("memory"), *disk = tcase_create("disk");

    tcase_add_checked_fixture(memory, keys_fx_open, store_fx_close);
    tcase_set_timeout(memory, 300);
    tcase_add_test(memory, an_answer_is_no_key_and_a_flush_leaves_it);
    tcase_add_test(memory, its_name_has_a_limit);
    tcase_add_test(memory, views_and_rollbacks_know_answers_as_they_know_keys);
    tcase_add_test(memory, it_goes_at_its_time_and_its_memory_soon_after);
    tcase_add_test(memory, random_steps_agree_with_a_plain_model);
    tcase_add_test(memory, nothing_is_torn_when_an_allocation_fails);
    tcase_add_checked_fixture(disk, setup_dir, teardown_dir);
    tcase_set_timeout(disk, 300);
    tcase_add_test(disk, wal_and_snapshot_keep_answers);
    suite_add_tcase(suite, memory);
    suite_add_tcase(suite, disk);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

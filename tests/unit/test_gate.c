/* test_gate.c - D3 under `always`, when the disk fails (TS12).
 *
 * A writer commits a few numbered batches at a time; the sync of one group
 * fails, so its batches are taken back (F2). Readers of both kinds run beside
 * it: on views (kv_pin waits), and as commands do, on the live tree with a
 * reply that waits at the gate. What a reader has seen must never be a number
 * whose batch was taken back. The same readers without their wait do see one:
 * the failing sync lets each of them look once before it answers. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "kvsql/admin.h"
#include "kvsql/base/diag.h"
#include "kvsql/base/num.h"
#include "kvsql/store_private.h"
#include "tests/lib/fakeos.h"
#include "tests/lib/unit.h"

#define READERS 4 /* even: on views; odd: as commands */
#define GROUP 3u
#define GROUPS 6u
#define ROUNDS 12
#define NUMBERS (GROUP * GROUPS + 1)

enum fate { FATE_OPEN, FATE_KEPT, FATE_UNDONE };

static struct fakeos *fake;
static struct kv_os os;
static int (*real_data_sync)(void *arg, int file);
static kvsql *db;
static struct kv_store *store;
static bool blind; /* the control: readers do not wait */
static atomic_bool armed, stop;
static atomic_uint begun[READERS], seen[NUMBERS], pins, early;

static void diag_drop(void *arg, const char *line)
{
    (void)arg, (void)line;
}

/* The group is appended and visible in live. Blind readers are let in twice,
 * so that each has begun and ended a look in between; the others wait for
 * this very sync, so they get some turns only. */
static int failing_sync(void *arg, int file)
{
    unsigned from[READERS];

    if (!atomic_exchange(&armed, false))
        return real_data_sync(arg, file);
    for (unsigned i = 0; i < READERS; i++)
        from[i] = atomic_load(&begun[i]);
    for (unsigned i = 0; i < READERS; i++)
        while (blind && atomic_load(&begun[i]) < from[i] + 2)
            sched_yield();
    for (unsigned i = 0; i < 200; i++)
        sched_yield();
    return -EIO;
}

static void look(const struct kv_at *at, int64_t *number)
{
    const struct kv_key key = kv_key_of("n", 1);
    struct kv_item item;
    struct kv_val value;

    *number = 0;
    if (!kv_get(at, &key, &item))
        return;
    kv_item_string(&item, &value);
    *number = value.number;
}

static bool look_at_view(int64_t *number)
{
    struct kvsql_error err;
    struct kv_view *view;
    struct kv_at at;

    if (blind) { /* what kv_pin does, but for its wait */
        kv_lock_take(&store->lock);
        view = kv_view_take(store, false);
        if (view != NULL)
            atomic_fetch_add(&view->refs, 1);
        kv_lock_drop(&store->lock);
        if (view == NULL)
            return false;
    } else if (kv_pin(db, &view, &err) != KVSQL_OK) {
        return false;
    } else {
        atomic_fetch_add(&pins, 1);
        if (kv_view_position(view) > kv_store_released(store)) /* I7 */
            atomic_fetch_add(&early, 1);
    }
    if (!blind) {
        kv_at_view(view, &at);
        look(&at, number);
    } else { /* an undo may drop it meanwhile: hold the lock */
        kv_lock_take(&store->lock);
        kv_at_view(view, &at);
        if (!view->dropped)
            look(&at, number);
        kv_lock_drop(&store->lock);
    }
    kv_unpin(view);
    return true;
}

static bool look_as_command(int64_t *number)
{
    struct kv_ticket ticket;
    struct kvsql_error err;
    struct kv_txn *txn;
    struct kv_at at;

    if (kv_txn_begin(db, false, 0, &txn, &err) != KVSQL_OK)
        return false;
    kv_at_txn(txn, &at);
    look(&at, number);
    if (kv_txn_commit(txn, &ticket, &err) != KVSQL_OK)
        return false;
    return blind || kv_gate_wait(db, ticket, &err) == KVSQL_OK;
}

static void *reader(void *arg)
{
    const uintptr_t self = (uintptr_t)arg;

    while (!atomic_load(&stop)) {
        int64_t number = 0;
        atomic_fetch_add(&begun[self], 1);
        const bool saw =
            self % 2 ? look_as_command(&number) : look_at_view(&number);
        if (saw)
            atomic_fetch_add(&seen[number], 1);
    }
    return NULL;
}

/* Commit number n; its fate is known later. */
static bool put(unsigned n, struct kv_ticket *ticket)
{
    const struct kv_key key = kv_key_of("n", 1);
    char text[KV_INT_TEXT_MAX];
    struct kvsql_error err;
    struct kv_txn *txn;

    if (kv_txn_begin(db, true, 0, &txn, &err) != KVSQL_OK)
        return false;
    const size_t size = kv_num_format_int(text, (int64_t)n);
    if (kv_set(txn, &key, (kvsql_slice){text, size}, 0, &err) != KVSQL_OK) {
        kv_txn_rollback(txn);
        return false;
    }
    return kv_txn_commit(txn, ticket, &err) == KVSQL_OK;
}

/* Groups until one is lost; returns how many numbers were taken back. */
static unsigned write_until_lost(unsigned lost_group, enum fate *fate)
{
    struct kv_ticket ticket[GROUP];
    struct kvsql_error err;
    unsigned undone = 0;

    for (unsigned group = 0; group < GROUPS && undone == 0; group++) {
        bool there[GROUP];
        if (group == lost_group)
            atomic_store(&armed, true);
        for (unsigned i = 0; i < GROUP; i++)
            there[i] = put(1 + group * GROUP + i, &ticket[i]);
        for (unsigned i = 0; i < GROUP; i++) {
            if (!there[i])
                continue; /* refused, after the fault */
            const bool kept = kv_gate_wait(db, ticket[i], &err) == KVSQL_OK;
            fate[1 + group * GROUP + i] = kept ? FATE_KEPT : FATE_UNDONE;
            undone += !kept;
        }
    }
    return undone;
}

/* One store, one fault. Returns how often a number was seen that was undone. */
static unsigned round_of(unsigned seed)
{
    const struct kvsql_options options = {.fsync = KVSQL_FSYNC_ALWAYS,
                                          .no_keeper = true};
    enum fate fate[NUMBERS] = {FATE_OPEN};
    pthread_t thread[READERS];
    struct kvsql_error err;
    unsigned bad = 0;

    fake = fakeos_new(seed);
    os = *fakeos_os(fake);
    real_data_sync = os.data_sync;
    os.data_sync = failing_sync;
    atomic_store(&armed, false);
    atomic_store(&stop, false);
    for (unsigned i = 0; i < NUMBERS; i++)
        atomic_store(&seen[i], 0);
    ck_assert_int_eq(
        kv_open_os("data", &options, &os, NULL, NULL, &db, &err), KVSQL_OK);
    store = kv_db_store(db);
    for (uintptr_t i = 0; i < READERS; i++)
        ck_assert_int_eq(
            pthread_create(&thread[i], NULL, reader, (void *)i), 0);
    ck_assert_uint_gt(write_until_lost(seed % GROUPS, fate), 0);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(thread[i], NULL);
    for (unsigned i = 1; i < NUMBERS; i++)
        if (fate[i] == FATE_UNDONE)
            bad += atomic_load(&seen[i]);
    (void)kv_close(db, &err);
    fakeos_free(fake);
    return bad;
}

static unsigned rounds(bool without_wait)
{
    unsigned bad = 0;

    kv_diag_sink(diag_drop, NULL);
    blind = without_wait;
    atomic_store(&pins, 0);
    atomic_store(&early, 0);
    for (unsigned i = 0; i < ROUNDS; i++)
        bad += round_of(i);
    kv_diag_sink(NULL, NULL);
    return bad;
}

START_TEST(no_reader_ever_sees_what_a_failed_wal_takes_back)
{
    ck_assert_uint_eq(rounds(false), 0);
    ck_assert_uint_gt(atomic_load(&pins), ROUNDS);
    ck_assert_uint_eq(atomic_load(&early), 0);
}
END_TEST

START_TEST(readers_that_do_not_wait_see_what_is_taken_back)
{
    /* at least the two kinds of readers in each round */
    ck_assert_uint_ge(rounds(true), 2 * ROUNDS);
}
END_TEST

/* ---- facts ----------------------------------------------------------------------- */

static struct kv_info between; /* while the sync of a batch runs */

static int looking_sync(void *arg, int file)
{
    if (!atomic_exchange(&armed, false))
        return real_data_sync(arg, file);
    kv_info_get(db, &between);
    return blind ? -EIO : real_data_sync(arg, file);
}

/* A new key that has a time to live; is it there? */
static bool put_new(const char *name)
{
    const struct kv_key key = kv_key_of(name, strlen(name));
    struct kv_ticket ticket;
    struct kvsql_error err;
    struct kv_txn *txn;

    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    ck_assert_int_eq(
        kv_set(txn, &key, (kvsql_slice){"v", 1}, 4102444800000, &err), KVSQL_OK);
    ck_assert_int_eq(kv_txn_commit(txn, &ticket, &err), KVSQL_OK);
    return kv_gate_wait(db, ticket, &err) == KVSQL_OK;
}

static void check_keys(const struct kv_info *info, uint64_t keys)
{
    ck_assert_uint_eq(info->keys, keys);
    ck_assert_uint_eq(info->keys_with_expiry, keys);
}

/* Asked while a batch is synced, before its writer has its reply. */
START_TEST(facts_that_wait_for_no_gate_show_what_is_released)
{
    const struct kvsql_options options = {.fsync = KVSQL_FSYNC_ALWAYS,
                                          .no_keeper = true};
    struct kvsql_error err;
    struct kv_info info;

    kv_diag_sink(diag_drop, NULL);
    fake = fakeos_new(1);
    os = *fakeos_os(fake);
    real_data_sync = os.data_sync;
    os.data_sync = looking_sync;
    atomic_store(&armed, false);
    ck_assert_int_eq(
        kv_open_os("data", &options, &os, NULL, NULL, &db, &err), KVSQL_OK);
    ck_assert(put_new("one") && put_new("two"));
    blind = false;
    atomic_store(&armed, true);
    ck_assert(put_new("three"));
    check_keys(&between, 2);
    ck_assert_uint_eq(between.position, 3);
    kv_info_get(db, &info);
    check_keys(&info, 3);
    blind = true; /* and now it fails */
    atomic_store(&armed, true);
    ck_assert(!put_new("four"));
    check_keys(&between, 3);
    kv_info_get(db, &info);
    check_keys(&info, 3);
    (void)kv_close(db, &err);
    fakeos_free(fake);
    kv_diag_sink(NULL, NULL);
}
END_TEST

static void add(TCase *tests)
{
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, no_reader_ever_sees_what_a_failed_wal_takes_back);
    tcase_add_test(tests, readers_that_do_not_wait_see_what_is_taken_back);
    tcase_add_test(tests, facts_that_wait_for_no_gate_show_what_is_released);
}

int main(void)
{
    return unit_run("gate", add);
}

/* test_store.c - the keyspace through inside.h: what writes do, versions, several
 * fields at once, readers in other threads. Random operations against a model are
 * in tests/model. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "kvsql/base/num.h"
#include "tests/lib/keys_fx.h"

/* ---- effects ------------------------------------------------------------------ */

START_TEST(partial_writes_fill_gaps_grow_and_keep_the_expiry)
{
    const struct kv_key k = text_key("s");
    struct kv_item item;
    struct kv_val value;
    struct kv_at at;
    static char big[100000];

    set("s", "12", clock_wall + 1000);
    struct kv_txn *txn = begin();
    ck_assert_int_eq(kv_patch(txn, &k, 4, text_slice("ab"), &err), KVSQL_OK);
    memset(big, 'x', sizeof(big));
    ck_assert_int_eq(
        kv_patch(txn, &k, 6, (kvsql_slice){big, sizeof(big)}, &err), KVSQL_OK);
    ck_assert_int_eq(kv_patch(txn, &k, 50000, text_slice("YY"), &err),
                     KVSQL_OK);
    commit(txn);
    txn = begin();
    kv_at_txn(txn, &at);
    ck_assert(kv_get(&at, &k, &item));
    kv_item_string(&item, &value);
    ck_assert_uint_eq(value.size, 100006);
    ck_assert_mem_eq(value.p, "12\0\0abx", 7);
    ck_assert_mem_eq(value.p + 49999, "xYYx", 4);
    ck_assert_int_eq(value.cls, KV_BLOB);
    ck_assert_int_eq(item.expires_at, clock_wall + 1000);
    commit(txn);
}
END_TEST

START_TEST(an_append_under_a_view_leaves_the_view_alone)
{
    const struct kv_key k = text_key("s");
    struct kv_view *view;
    struct kv_item item;
    struct kv_val value;
    struct kv_at at;
    char big[1000];

    memset(big, 'a', sizeof(big));
    for (int round = 0; round < 4; round++) {
        struct kv_txn *const txn = begin();
        ck_assert_int_eq(kv_patch(txn, &k, (uint64_t)round * 1000,
                                  (kvsql_slice){big, sizeof(big)}, &err),
                         KVSQL_OK);
        commit(txn);
        ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
        kv_at_view(view, &at);
        set("other", "x", 0);
        struct kv_txn *const more = begin();
        ck_assert_int_eq(kv_patch(more, &k, 0, text_slice("B"), &err),
                         KVSQL_OK);
        commit(more);
        ck_assert(kv_get(&at, &k, &item));
        kv_item_string(&item, &value);
        ck_assert_uint_eq(value.size, (uint32_t)(round + 1) * 1000);
        ck_assert_int_eq(value.p[0], round == 0 ? 'a' : 'B');
        kv_unpin(view);
    }
}
END_TEST

START_TEST(rename_moves_value_and_expiry_and_replaces)
{
    const struct kv_key a = text_key("a"), b = text_key("b"),
                        none = text_key("none");
    struct kv_item item;

    hset("a", "f", "v", 0);
    set("b", "old", 0);
    struct kv_txn *const txn = begin();
    ck_assert_int_eq(kv_expire(txn, &a, clock_wall + 50, &err), KVSQL_OK);
    ck_assert_int_eq(kv_rename(txn, &a, &b, &err), KVSQL_OK);
    ck_assert_int_eq(kv_rename(txn, &none, &b, &err), KVSQL_NOTFOUND);
    commit(txn);
    ck_assert(!exists("a", NULL));
    ck_assert(exists("b", &item));
    ck_assert_int_eq(item.type, KV_HASH);
    ck_assert_int_eq(item.expires_at, clock_wall + 50);
}
END_TEST

START_TEST(the_wrong_type_is_refused_and_nothing_changes)
{
    const struct kv_key k = text_key("s"), e = text_key("e");

    set("s", "text", 0);
    struct kv_txn *const txn = begin();
    const uint64_t before = kv_store_hash(store);
    ck_assert_int_eq(kv_hset(txn, &k, &e, text_slice("v"), 0, NULL, &err),
                     KVSQL_WRONGTYPE);
    ck_assert_str_eq(err.text, "key 's' holds a string, not a hash");
    ck_assert_int_eq(kv_sadd(txn, &k, &e, NULL, &err), KVSQL_WRONGTYPE);
    ck_assert_int_eq(kv_zadd(txn, &k, &e, 1, NULL, &err), KVSQL_WRONGTYPE);
    ck_assert_int_eq(kv_push(txn, &k, KV_LEFT, text_slice("v"), &err),
                     KVSQL_WRONGTYPE);
    ck_assert_int_eq(kv_zadd(txn, &e, &e, NAN, NULL, &err), KVSQL_INVALID);
    ck_assert_uint_eq(kv_store_hash(store), before);
    ck_assert_uint_eq(kv_txn_count(txn), 0);
    commit(txn);
}
END_TEST

START_TEST(limits_are_named_and_nothing_changes)
{
    static char big[KVSQL_KEY_MAX + 1];
    const struct kv_key k = kv_key_of(big, sizeof(big)), small = text_key("a");
    struct kv_txn *const txn = begin();

    ck_assert_int_eq(kv_set(txn, &k, text_slice("v"), 0, &err), KVSQL_TOOBIG);
    ck_assert_ptr_nonnull(strstr(err.text, "65536"));
    ck_assert_int_eq(
        kv_patch(txn, &small, UINT64_MAX, text_slice("v"), &err),
        KVSQL_TOOBIG);
    commit(txn);
    ck_assert_uint_eq(info_now().keys, 0);
}
END_TEST

START_TEST(over_maxmemory_growth_is_refused_and_deleting_works)
{
    const struct kv_key k = text_key("a");
    bool existed;

    set("a", "value", 0);
    kv_store_set_maxmemory(store, 1);
    struct kv_txn *const txn = begin();
    ck_assert_int_eq(kv_set(txn, &k, text_slice("more"), 0, &err), KVSQL_OOM);
    ck_assert_int_eq(kv_del(txn, &k, &existed, &err), KVSQL_OK);
    ck_assert(existed);
    commit(txn);
}
END_TEST

START_TEST(equal_scores_order_by_bytes_and_minus_zero_sorts_as_zero)
{
    const struct kv_key k = text_key("z");
    struct kv_elems elems;
    struct kv_item item;
    struct kv_at at;
    char member[16], order[512] = "";

    struct kv_txn *const txn = begin();
    for (int i = 0; i < 300; i++) { /* a tree */
        snprintf(member, sizeof(member), "m%03d", i);
        const struct kv_key m = text_key(member);
        ck_assert_int_eq(kv_zadd(txn, &k, &m, i % 2 ? 0.0 : -0.0, NULL, &err),
                         KVSQL_OK);
    }
    const struct kv_key low = text_key("zlow"), high = text_key("ahigh");
    ck_assert_int_eq(kv_zadd(txn, &k, &low, -INFINITY, NULL, &err), KVSQL_OK);
    ck_assert_int_eq(kv_zadd(txn, &k, &high, INFINITY, NULL, &err), KVSQL_OK);
    kv_at_txn(txn, &at);
    ck_assert(kv_get(&at, &k, &item));
    kv_elems_init(&elems, &at, &item, KV_ELEMS_SCORE);
    ck_assert(kv_elems_first(&elems));
    ck_assert_mem_eq(elems.elem.key.p, "zlow", 4);
    for (int i = 0; i < 300; i++) {
        ck_assert(kv_elems_next(&elems));
        snprintf(order, sizeof(order), "m%03d", i);
        ck_assert_mem_eq(elems.elem.key.p, order, 4);
        ck_assert_int_eq(signbit(elems.elem.score) != 0, i % 2 == 0);
    }
    ck_assert(kv_elems_next(&elems));
    ck_assert(isinf(elems.elem.score));
    ck_assert(!kv_elems_next(&elems));
    ck_assert_uint_eq(kv_elem_score_rank(&at, &item, 0, false), 1);
    ck_assert_uint_eq(kv_elem_score_rank(&at, &item, 0, true), 301);
    ck_assert_uint_eq(kv_elem_score_rank(&at, &item, INFINITY, true), 302);
    commit(txn);
}
END_TEST

START_TEST(a_batch_of_lookups_agrees_with_single_ones)
{
    struct kv_key keys[KV_BATCH_MAX];
    struct kv_item items[KV_BATCH_MAX], one;
    bool found[KV_BATCH_MAX];
    char names[KV_BATCH_MAX][16];
    struct kv_at at;

    for (int i = 0; i < 2000; i += 2) {
        snprintf(names[0], sizeof(names[0]), "k%d", i);
        set(names[0], names[0], 0);
    }
    struct kv_txn *const txn = begin();
    kv_at_txn(txn, &at);
    for (int i = 0; i < KV_BATCH_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "k%d", i * 61);
        keys[i] = text_key(names[i]);
    }
    kv_get_batch(&at, keys, items, found, KV_BATCH_MAX);
    kv_warm_batch(&at, keys, KV_BATCH_MAX);
    for (int i = 0; i < KV_BATCH_MAX; i++) {
        ck_assert_int_eq(found[i], kv_get(&at, &keys[i], &one));
        ck_assert_int_eq(found[i], i * 61 % 2 == 0 && i * 61 < 2000);
        if (found[i])
            ck_assert_ptr_eq(items[i].payload, one.payload);
    }
    commit(txn);
}
END_TEST

/* ---- versions (EN6) -------------------------------------------------------------- */

static uint64_t version_of(const char *key)
{
    const struct kv_key k = text_key(key);
    struct kv_view *view;
    struct kv_item item;
    struct kv_at at;

    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    kv_at_view(view, &at);
    const uint64_t version =
        kv_get(&at, &k, &item) ? kv_item_version(&at, &item) : 0;
    kv_unpin(view);
    return version;
}

START_TEST(a_version_moves_with_each_change_of_its_key_only)
{
    set("a", "1", 0);
    set("b", "1", 0);
    const uint64_t a = version_of("a"), b = version_of("b");
    set("a", "2", 0);
    ck_assert_uint_gt(version_of("a"), a);
    ck_assert_uint_eq(version_of("b"), b);
    hset("h", "f", "1", 0);
    const uint64_t h = version_of("h");
    for (int i = 0; i < 400; i++) {
        char field[16];
        snprintf(field, sizeof(field), "f%d", i);
        hset("h", field, "1", 0);
    }
    const uint64_t large = version_of("h");
    ck_assert_uint_gt(large, h);
    hset("h", "f1", "2", 0); /* below a tree */
    ck_assert_uint_gt(version_of("h"), large);
    ck_assert_uint_eq(version_of("b"), b);
    ck_assert_uint_eq(version_of("absent"), 0);
}
END_TEST

/* Add members 0 .. count - 1 to a set and a sorted set, a batch each; the ops
 * that the batches made. */
static uint64_t add_members(unsigned count)
{
    const struct kv_key t = text_key("t"), z = text_key("z");
    uint64_t ops = 0;

    for (unsigned i = 0; i < count; i++) {
        struct kv_txn *const txn = begin();
        char member[16];
        bool created;

        snprintf(member, sizeof(member), "m%u", i);
        const struct kv_key m = text_key(member);
        ck_assert_int_eq(kv_sadd(txn, &t, &m, &created, &err), KVSQL_OK);
        ck_assert_int_eq(kv_zadd(txn, &z, &m, i, &created, &err), KVSQL_OK);
        ops += kv_txn_count(txn);
        commit(txn);
    }
    return ops;
}

/* What changes nothing is no op and no new version; removing what is absent
 * neither. */
static void add_again(unsigned count)
{
    const struct kv_key t = text_key("t"), z = text_key("z"),
                        absent = text_key("absent");
    const uint64_t set_version = version_of("t"), zset_version = version_of("z");
    struct kv_txn *const txn = begin();
    bool existed = true;

    ck_assert_int_eq(kv_srem(txn, &t, &absent, &existed, &err), KVSQL_OK);
    ck_assert(!existed);
    ck_assert_int_eq(kv_zrem(txn, &z, &absent, &existed, &err), KVSQL_OK);
    ck_assert(!existed);
    ck_assert_uint_eq(kv_txn_count(txn), 0);
    commit(txn);
    ck_assert_uint_eq(add_members(count), 0);
    ck_assert_uint_eq(version_of("t"), set_version);
    ck_assert_uint_eq(version_of("z"), zset_version);
    kv_store_check(store);
}

START_TEST(what_is_there_already_is_no_change)
{
    struct kv_view *view;

    ck_assert_uint_eq(add_members(5), 10);
    add_again(5);
    ck_assert_uint_eq(add_members(600), 1190); /* trees from here on */
    add_again(600);
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    add_again(600);
    kv_unpin(view);
}
END_TEST

/* ---- several fields in one go ------------------------------------------------ */

/* The hash, and the ops since `mark`, as bytes. */
static void fields_result(struct kv_txn *txn, const struct kv_key *key,
                          struct kv_mark mark, struct kv_buf *out)
{
    struct kv_item item;
    struct kv_at at;

    kv_at_txn(txn, &at);
    kv_buf_reset(out, SIZE_MAX);
    ck_assert(kv_get(&at, key, &item));
    ck_assert(kv_item_dump(&at, &item, out));
    kv_buf_add(out, txn->ops.p + mark.ops_size, txn->ops.size - mark.ops_size);
    ck_assert(!out->failed);
}

/* kv_hset of each and kv_hset_many: the same ops, hash and number of new
 * fields. Case 0: no hash, 1: a packed one, 2: with a field that has expired and
 * one that will, 3: values too long for a run, 4: a tree, 5: becoming one, 6:
 * under a view. */
START_TEST(fields_in_one_go_are_what_they_are_one_by_one)
{
    enum { COUNT = 30 };
    const struct kv_key key = text_key("hash");
    char name[COUNT][8], value[COUNT][200];
    struct kv_field field[COUNT];
    struct kv_view *view = NULL;
    struct kv_buf each, many;
    unsigned created = 0, made = 0;

    kv_buf_init(&each, KV_MEM_MISC, 1 << 20);
    kv_buf_init(&many, KV_MEM_MISC, 1 << 20);
    for (unsigned i = 0; i < COUNT; i++) {
        const int size = _i == 3 ? 140 : _i == 5 ? 60 : 1 + (int)i % 9;
        snprintf(name[i], sizeof(name[i]), "f%u", i % 25);
        snprintf(value[i], sizeof(value[i]), "%0*u", size, i);
        field[i] = (struct kv_field){text_key(name[i]), text_slice(value[i])};
    }
    for (unsigned i = 10; _i > 0 && i < (_i == 4 ? 200 : 15); i++) {
        char other[16];
        snprintf(other, sizeof(other), "f%u", i);
        hset("hash", other, "old", 0);
    }
    if (_i == 2) {
        hset("hash", "f11", "old", clock_wall + 10);
        hset("hash", "f12", "old", clock_wall + 1000);
        pass_ms(11);
    }
    if (_i == 6)
        ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    for (unsigned keep = 0; keep < 2; keep++) {
        const int64_t expires_at = keep ? KV_KEEP_EXPIRY : 0;
        struct kv_txn *const txn = begin();
        const struct kv_mark mark = kv_txn_mark(txn);
        made = 0;
        for (unsigned i = 0; i < COUNT; i++) {
            bool is_new = false;
            ck_assert_int_eq(kv_hset(txn, &key, &field[i].name, field[i].value,
                                     expires_at, &is_new, &err),
                             KVSQL_OK);
            made += is_new;
        }
        fields_result(txn, &key, mark, &each);
        ck_assert_uint_eq(kv_txn_count(txn), COUNT + (_i == 2));
        kv_txn_restore(txn, mark);
        ck_assert_int_eq(kv_hset_many(txn, &key, field, COUNT, expires_at,
                                      &created, &err),
                         KVSQL_OK);
        fields_result(txn, &key, mark, &many);
        ck_assert_uint_eq(kv_txn_count(txn), COUNT + (_i == 2));
        ck_assert_uint_eq(created, made);
        ck_assert_uint_eq(many.size, each.size);
        ck_assert_int_eq(memcmp(many.p, each.p, each.size), 0);
        if (keep)
            commit(txn);
        else
            kv_txn_rollback(txn);
        kv_store_check(store);
    }
    kv_unpin(view);
    kv_buf_fini(&each);
    kv_buf_fini(&many);
}
END_TEST

START_TEST(a_new_hash_is_made_only_where_no_key_is)
{
    const struct kv_field field[] = {{text_key("a"), text_slice("1")},
                                     {text_key("b"), text_slice("2")}};
    const struct kv_key string = text_key("s"), hash = text_key("h"),
                        gone = text_key("gone");
    bool existed;

    set("s", "text", 0);
    set("gone", "text", clock_wall + 10);
    pass_ms(11);
    struct kv_txn *const txn = begin();
    ck_assert_int_eq(kv_hset_new(txn, &string, field, 2, &existed, &err),
                     KVSQL_OK);
    ck_assert(existed);
    ck_assert_uint_eq(kv_txn_count(txn), 0);
    ck_assert_int_eq(kv_hset_new(txn, &hash, field, 2, &existed, &err),
                     KVSQL_OK);
    ck_assert(!existed);
    ck_assert_uint_eq(kv_txn_count(txn), 2);
    ck_assert_int_eq(kv_hset_new(txn, &hash, field, 1, &existed, &err),
                     KVSQL_OK);
    ck_assert(existed);
    ck_assert_int_eq(kv_hset_new(txn, &gone, field, 2, &existed, &err),
                     KVSQL_OK);
    ck_assert(!existed);
    ck_assert_uint_eq(kv_txn_count(txn), 5); /* DEL of what had expired */
    commit(txn);
    ck_assert(field_exists("h", "b") && field_exists("gone", "a"));
    kv_store_check(store);
}
END_TEST

/* ---- threads (TS7) ----------------------------------------------------------------------- */

#define THREAD_KEYS 200
static atomic_bool thread_stop;
static atomic_uint thread_scans, thread_errors;

/* A writer moves one unit between two keys; every view must sum to 0. */
static void *thread_reader(void *arg)
{
    struct kvsql_error e;
    struct kv_view *view;
    static _Thread_local struct kv_keys keys;
    struct kv_val value;
    struct kv_at at;

    (void)arg;
    while (!atomic_load(&thread_stop)) {
        int64_t sum = 0;
        unsigned n = 0;
        if (kv_pin(db, &view, &e) != KVSQL_OK) {
            atomic_fetch_add(&thread_errors, 1);
            break;
        }
        kv_at_view(view, &at);
        kv_keys_init(&keys, &at, 0);
        for (bool ok = kv_keys_first(&keys); ok; ok = kv_keys_next(&keys)) {
            kv_item_string(&keys.item, &value);
            sum += value.number;
            n++;
        }
        kv_unpin(view);
        if (sum != 0 || n != THREAD_KEYS)
            atomic_fetch_add(&thread_errors, 1);
        atomic_fetch_add(&thread_scans, 1);
    }
    return NULL;
}

static void *thread_keeper(void *arg)
{
    (void)arg;
    while (!atomic_load(&thread_stop))
        kv_store_tick(store);
    return NULL;
}

static void thread_add(struct kv_txn *txn, unsigned i, int64_t by)
{
    char name[32], text[KV_INT_TEXT_MAX];
    struct kv_item item;
    struct kv_val value = {.number = 0};
    struct kv_at at;

    snprintf(name, sizeof(name), "account:%u", i);
    const struct kv_key k = text_key(name);
    kv_at_txn(txn, &at);
    if (kv_get(&at, &k, &item))
        kv_item_string(&item, &value);
    const size_t size = kv_num_format_int(text, value.number + by);
    ck_assert_int_eq(kv_set(txn, &k, (kvsql_slice){text, size}, 0, &err),
                     KVSQL_OK);
}

START_TEST(readers_in_other_threads_see_whole_batches_only)
{
    pthread_t reader[3], keeper;

    atomic_store(&thread_stop, false);
    struct kv_txn *txn = begin();
    for (unsigned i = 0; i < THREAD_KEYS; i++)
        thread_add(txn, i, 0);
    commit(txn);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(
            pthread_create(&reader[i], NULL, thread_reader, NULL), 0);
    ck_assert_int_eq(pthread_create(&keeper, NULL, thread_keeper, NULL), 0);
    for (unsigned n = 0; n < 20000 || atomic_load(&thread_scans) < 30; n++) {
        txn = begin();
        thread_add(txn, n * 7 % THREAD_KEYS, 5);
        const struct kv_mark mark = kv_txn_mark(txn);
        thread_add(txn, n * 13 % THREAD_KEYS, 1000);
        kv_txn_restore(txn, mark);
        thread_add(txn, n * 11 % THREAD_KEYS, -5);
        if (n % 10 == 0)
            kv_txn_rollback(txn);
        else
            commit(txn);
    }
    atomic_store(&thread_stop, true);
    for (int i = 0; i < 3; i++)
        pthread_join(reader[i], NULL);
    pthread_join(keeper, NULL);
    ck_assert_uint_eq(atomic_load(&thread_errors), 0);
    ck_assert_uint_gt(atomic_load(&thread_scans), 0);
    kv_store_check(store);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, keys_fx_open, store_fx_close);
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, partial_writes_fill_gaps_grow_and_keep_the_expiry);
    tcase_add_test(tests, an_append_under_a_view_leaves_the_view_alone);
    tcase_add_test(tests, rename_moves_value_and_expiry_and_replaces);
    tcase_add_test(tests, the_wrong_type_is_refused_and_nothing_changes);
    tcase_add_test(tests, limits_are_named_and_nothing_changes);
    tcase_add_test(tests,
                   over_maxmemory_growth_is_refused_and_deleting_works);
    tcase_add_test(
        tests, equal_scores_order_by_bytes_and_minus_zero_sorts_as_zero);
    tcase_add_test(tests, a_batch_of_lookups_agrees_with_single_ones);
    tcase_add_test(tests,
                   a_version_moves_with_each_change_of_its_key_only);
    tcase_add_test(tests, what_is_there_already_is_no_change);
    tcase_add_loop_test(tests, fields_in_one_go_are_what_they_are_one_by_one, 0,
                        7);
    tcase_add_test(tests, a_new_hash_is_made_only_where_no_key_is);
    tcase_add_test(tests, readers_in_other_threads_see_whole_batches_only);
}

int main(void)
{
    return unit_run("store", add);
}

/* test_store.c - the keyspace through inside.h: time, undo, views, versions,
 * memory that fails, readers in other threads. Random operations against a
 * model are in tests/model. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "kvsql/base/num.h"
#include "tests/lib/store_fx.h"

static struct kv_os clock_os;
static int64_t clock_wall;
static uint64_t clock_boot;

static int64_t fake_wall(void *arg)
{
    (void)arg;
    return clock_wall;
}

static uint64_t fake_boot(void *arg)
{
    (void)arg;
    return clock_boot;
}

static void setup(void)
{
    clock_os = *kv_os_real();
    clock_os.wall_ms = fake_wall;
    clock_os.boot_ns = fake_boot;
    clock_wall = 1000000;
    clock_boot = 5000000000;
    store_fx_open(&clock_os);
}

static struct kv_key text_key(const char *text)
{
    return kv_key_of(text, strlen(text));
}

static kvsql_slice text_slice(const char *text)
{
    return (kvsql_slice){.p = text, .size = strlen(text)};
}

static void set(const char *key, const char *value, int64_t expires_at)
{
    const struct kv_key k = text_key(key);
    struct kv_txn *const txn = begin();

    ck_assert_int_eq(kv_set(txn, &k, text_slice(value), expires_at, &err),
                     KVSQL_OK);
    commit(txn);
}

static void hset(const char *key, const char *field, const char *value,
                 int64_t expires_at)
{
    const struct kv_key k = text_key(key), f = text_key(field);
    struct kv_txn *const txn = begin();

    ck_assert_int_eq(
        kv_hset(txn, &k, &f, text_slice(value), expires_at, NULL, &err),
        KVSQL_OK);
    commit(txn);
}

static bool exists(const char *key, struct kv_item *item)
{
    const struct kv_key k = text_key(key);
    struct kv_txn *const txn = begin();
    struct kv_item ignored;
    struct kv_at at;

    kv_at_txn(txn, &at);
    const bool found = kv_get(&at, &k, item != NULL ? item : &ignored);
    commit(txn);
    return found;
}

static bool field_exists(const char *key, const char *field)
{
    const struct kv_key k = text_key(key), f = text_key(field);
    struct kv_txn *const txn = begin();
    struct kv_item item;
    struct kv_at at;

    kv_at_txn(txn, &at);
    const bool found =
        kv_get(&at, &k, &item) && kv_elem_find(&at, &item, &f, NULL);
    commit(txn);
    return found;
}

static void tick(void)
{
    while (kv_store_tick(kv_db_store(db)))
        continue;
}

static void pass_ms(int64_t ms)
{
    clock_wall += ms;
    clock_boot += (uint64_t)ms * 1000000;
}

static struct kv_info info_now(void)
{
    struct kv_info info;

    memset(&info, 0, sizeof(info));
    kv_store_info(kv_db_store(db), &info);
    return info;
}

/* ---- time ---------------------------------------------------------------- */

START_TEST(an_expired_key_is_invisible_at_once_and_removed_by_the_keeper)
{
    set("a", "1", clock_wall + 500);
    set("b", "2", 0);
    ck_assert(exists("a", NULL));
    ck_assert_uint_eq(info_now().keys_with_expiry, 1);
    pass_ms(500);
    ck_assert(!exists("a", NULL));
    ck_assert(exists("b", NULL));
    pass_ms(100);
    tick();
    ck_assert_uint_eq(info_now().keys, 1);
    ck_assert_uint_eq(info_now().expired_keys, 1);
    ck_assert_uint_eq(info_now().keys_with_expiry, 0);
}
END_TEST

START_TEST(many_expired_keys_go_and_those_without_deadline_stay)
{
    char key[32];

    for (int i = 0; i < 5000; i++) {
        snprintf(key, sizeof(key), "key:%d", i);
        set(key, "value", i % 3 == 0 ? 0 : clock_wall + 1 + i % 200);
    }
    pass_ms(400);
    tick();
    ck_assert_uint_eq(info_now().keys, 1667);
    ck_assert_uint_eq(info_now().keys_with_expiry, 0);
    kv_store_check(kv_db_store(db));
}
END_TEST

START_TEST(expired_fields_vanish_in_small_and_large_hashes)
{
    char field[32];

    for (int large = 0; large < 2; large++) {
        const char *const key = large ? "large" : "small";
        const int count = large ? 1000 : 10;
        for (int i = 0; i < count; i++) {
            snprintf(field, sizeof(field), "f%d", i);
            hset(key, field, "v", i % 2 ? clock_wall + 300 : 0);
        }
        ck_assert(field_exists(key, "f1"));
        pass_ms(300);
        ck_assert(!field_exists(key, "f1"));
        ck_assert(field_exists(key, "f2"));
        pass_ms(100);
        tick();
        struct kv_item item;
        ck_assert(exists(key, &item));
        ck_assert_uint_eq(kv_item_length(&item), (uint64_t)count / 2);
    }
    ck_assert_uint_eq(info_now().expired_fields, 505);
    kv_store_check(kv_db_store(db));
}
END_TEST

START_TEST(deleting_an_expired_field_finds_nothing)
{
    const struct kv_key k = text_key("h"), f = text_key("f");
    bool existed = true;

    hset("h", "f", "v", clock_wall + 10);
    hset("h", "other", "v", 0);
    pass_ms(10);
    struct kv_txn *const txn = begin();
    ck_assert_int_eq(kv_hdel(txn, &k, &f, &existed, &err), KVSQL_OK);
    ck_assert(!existed);
    commit(txn);
    ck_assert(field_exists("h", "other"));
}
END_TEST

START_TEST(a_hash_whose_last_field_expires_is_gone)
{
    hset("h", "only", "v", clock_wall + 10);
    ck_assert(exists("h", NULL));
    pass_ms(10);
    ck_assert(!exists("h", NULL)); /* at once */
    set("other", "v", 0);
    hset("h", "new", "v", 0);
    ck_assert(exists("h", NULL));
    ck_assert(!field_exists("h", "only"));
    hset("h", "new", "v", clock_wall + 10);
    pass_ms(200);
    tick();
    ck_assert(exists("other", NULL));
    const struct kv_key other = text_key("other");
    struct kv_txn *const txn = begin();
    ck_assert_int_eq(kv_del(txn, &other, NULL, &err), KVSQL_OK);
    commit(txn);
    ck_assert_uint_eq(info_now().keys, 0);
}
END_TEST

START_TEST(a_plain_write_drops_a_fields_ttl_and_keeping_keeps_it)
{
    struct kv_elem elem;
    struct kv_item item;
    struct kv_at at;
    const struct kv_key k = text_key("h"), f = text_key("f");

    hset("h", "f", "1", clock_wall + 1000);
    hset("h", "f", "2", KV_KEEP_EXPIRY);
    struct kv_txn *const txn = begin();
    kv_at_txn(txn, &at);
    ck_assert(kv_get(&at, &k, &item) && kv_elem_find(&at, &item, &f, &elem));
    ck_assert_int_eq(elem.expires_at, clock_wall + 1000);
    commit(txn);
    hset("h", "f", "3", 0);
    pass_ms(2000);
    ck_assert(field_exists("h", "f"));
}
END_TEST

START_TEST(a_step_back_of_the_wall_clock_never_lengthens_a_ttl)
{
    set("a", "1", clock_wall + 1000);
    clock_wall -= 7200 * 1000; /* T1 */
    struct kv_item item;
    ck_assert(exists("a", &item));
    ck_assert_int_eq(item.expires_at - clock_wall, 1000);
    clock_boot += 1001 * UINT64_C(1000000);
    clock_wall += 1001;
    ck_assert(!exists("a", NULL));
}
END_TEST

START_TEST(a_time_is_shown_as_it_was_given_though_the_clocks_jitter)
{
    struct kv_item item;

    set("a", "1", clock_wall + 100000);
    const int64_t given = clock_wall + 100000;
    for (int i = 0; i < 50; i++) {
        clock_wall += i % 3 - 1; /* read a little early, a little late */
        clock_boot += (uint64_t)(i % 2) * 1000000;
        ck_assert(exists("a", &item));
        ck_assert_int_eq(item.expires_at, given);
    }
}
END_TEST

START_TEST(a_step_forward_expires)
{
    set("a", "1", clock_wall + 1000);
    clock_wall += 7200 * 1000;
    ck_assert(!exists("a", NULL));
}
END_TEST

static int64_t deadlines_seen[64];
static unsigned deadlines_count;

static bool deadline_each(void *arg, const struct kv_key *key,
                          const struct kv_item *item)
{
    (void)arg;
    (void)key;
    deadlines_seen[deadlines_count++] = item->expires_at;
    return deadlines_count < 50;
}

START_TEST(keys_come_in_order_of_deadline)
{
    struct kv_view *view;
    struct kv_at at;
    char key[32];

    for (int i = 0; i < 3000; i++) {
        snprintf(key, sizeof(key), "key:%d", i);
        set(key, "v", i % 2 ? 0 : clock_wall + 1 + (i * 7919) % 100000);
    }
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    kv_at_view(view, &at);
    deadlines_count = 0;
    ck_assert_int_eq(kv_deadlines(&at, clock_wall + 100, clock_wall + 100001,
                                  deadline_each, NULL, &err),
                     KVSQL_OK);
    ck_assert_uint_eq(deadlines_count, 50);
    ck_assert_int_ge(deadlines_seen[0], clock_wall + 100);
    for (unsigned i = 1; i < deadlines_count; i++)
        ck_assert_int_le(deadlines_seen[i - 1], deadlines_seen[i]);
    kv_unpin(view);
}
END_TEST

START_TEST(counts_of_a_range_leave_out_what_has_expired)
{
    const struct kv_key lo = text_key("key:"), hi = text_key("key;");
    struct kv_view *view;
    struct kv_at at;
    char key[32];

    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "key:%d", i);
        set(key, "v", i < 100 ? clock_wall + 10 : 0);
    }
    set("other", "v", 0);
    pass_ms(100);
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    kv_at_view(view, &at);
    ck_assert_uint_eq(kv_count_all(&at), 1001);
    ck_assert_uint_eq(kv_count_range(&at, &lo, &hi), 900);
    ck_assert_uint_eq(kv_count_range(&at, &lo, NULL), 901);
    kv_unpin(view);
}
END_TEST

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
    kv_store_set_maxmemory(kv_db_store(db), 1);
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
    kv_store_check(kv_db_store(db));
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

/* ---- undo ------------------------------------------------------------------------------ */

static void sink_append(void *arg, uint64_t position, const uint8_t *ops,
                        size_t size, uint64_t count)
{
    (void)arg;
    (void)position;
    (void)ops;
    (void)size;
    (void)count;
}

START_TEST(what_the_wal_lost_is_taken_back_byte_for_byte)
{
    const struct kv_sink sink = {.append = sink_append};
    char key[32];

    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof(key), "key:%d", i);
        set(key, "value", 0);
        hset("hash", key, "value", 0);
    }
    const uint64_t position = kv_store_position(store);
    const uint64_t before = kv_store_hash(store);
    const struct kv_sink none = {.arg = NULL};
    kv_store_sink(store, &sink); /* from here on nothing is released */
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof(key), "key:%d", i * 3);
        set(key, "another value that is longer", clock_wall + 100);
        hset("hash", key, "x", 0);
        if (i == 200) {
            struct kv_txn *const txn = begin();
            ck_assert_int_eq(kv_flush(txn, &err), KVSQL_OK);
            commit(txn);
        }
    }
    ck_assert_uint_eq(kv_store_released(store), position);
    const uint64_t epoch = kv_store_epoch(store);
    kv_store_fail(store); /* F2 */
    ck_assert_uint_eq(kv_store_hash(store), before);
    ck_assert_uint_eq(kv_store_position(store), position);
    ck_assert_uint_eq(kv_store_epoch(store), epoch + 1);
    kv_store_check(store);
    kv_store_sink(store, &none);
    set("again", "works", 0);
}
END_TEST

START_TEST(marks_nest_and_what_is_taken_back_leaves_no_op)
{
    const struct kv_key k = text_key("l");
    struct kv_mark mark[5];
    uint64_t hash[5];

    struct kv_txn *const txn = begin();
    for (int i = 0; i < 5; i++) {
        mark[i] = kv_txn_mark(txn);
        hash[i] = kv_store_hash(store);
        for (int n = 0; n < 60; n++)
            ck_assert_int_eq(
                kv_push(txn, &k, n % 2 ? KV_LEFT : KV_RIGHT,
                        text_slice("an item of some length"), &err),
                KVSQL_OK);
    }
    kv_txn_restore(txn, mark[3]);
    ck_assert_uint_eq(kv_store_hash(store), hash[3]);
    ck_assert_uint_eq(kv_txn_count(txn), 180);
    kv_txn_restore(txn, mark[1]);
    ck_assert_uint_eq(kv_store_hash(store), hash[1]);
    kv_txn_restore(txn, mark[0]);
    ck_assert_uint_eq(kv_store_hash(store), hash[0]);
    ck_assert_uint_eq(kv_txn_count(txn), 0);
    commit(txn);
    ck_assert_uint_eq(kv_store_position(store), 0);
}
END_TEST

START_TEST(a_flush_under_a_view_frees_everything_in_the_end)
{
    struct kv_view *view;
    struct kv_keys keys;
    struct kv_at at;
    char key[32];
    unsigned n = 0;

    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof(key), "key:%d", i);
        set(key, "value", 0);
        hset("hash", key, "a value that is longer than one hundred and twenty "
                          "eight bytes, so that it becomes a block of its own "
                          "outside of the leaf that names it ........",
             0);
    }
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    struct kv_txn *const txn = begin();
    ck_assert_int_eq(kv_flush(txn, &err), KVSQL_OK);
    commit(txn);
    tick();
    kv_at_view(view, &at);
    kv_keys_init(&keys, &at, 0);
    for (bool ok = kv_keys_first(&keys); ok; ok = kv_keys_next(&keys))
        n++;
    ck_assert_uint_eq(n, 2001);
    kv_unpin(view);
    tick();
    tick();
    ck_assert_uint_eq(info_now().keys, 0);
    ck_assert_uint_eq(info_now().memory_retired, 0);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_NODE), 0);
}
END_TEST

START_TEST(a_statement_view_inside_a_txn_does_not_see_later_changes)
{
    const struct kv_key a = text_key("a"), b = text_key("b");
    struct kv_view *view;
    struct kv_item item;
    struct kv_at at;

    struct kv_txn *const txn = begin();
    ck_assert_int_eq(kv_set(txn, &a, text_slice("1"), 0, &err), KVSQL_OK);
    ck_assert_int_eq(kv_txn_view(txn, &view, &err), KVSQL_OK);
    ck_assert_int_eq(kv_set(txn, &b, text_slice("1"), 0, &err), KVSQL_OK);
    kv_at_view(view, &at);
    ck_assert(kv_get(&at, &a, &item));
    ck_assert(!kv_get(&at, &b, &item));
    kv_unpin(view);
    commit(txn);
    tick();
    ck_assert_uint_eq(info_now().views, 0);
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

/* ---- memory that fails (TS8) ---------------------------------------------------------- */

static kvsql_rc many_effects(struct kv_txn *txn, int round)
{
    char name[64], value[300];
    struct kv_key k, e;
    kvsql_rc rc = KVSQL_OK;

    memset(value, 'v', sizeof(value));
    for (int i = 0; rc == KVSQL_OK && i < 40; i++) {
        const size_t size = (size_t)((i * 37 + round) % 300);
        snprintf(name, sizeof(name), "key:%d", i * 7 % 50);
        k = text_key(name);
        e = text_key(i % 2 ? name : "element");
        const kvsql_slice v = {.p = value, .size = size};
        struct kv_field field[] = {{e, v}, {text_key("x"), v}, {k, v}};
        bool existed;
        unsigned created;
        switch (i % 7) {
        case 0:
            rc = kv_set(txn, &k, v, 0, &err);
            break;
        case 5:
            k = text_key(i % 3 ? "hash" : "another");
            rc = kv_hset_many(txn, &k, field, 3, 0, &created, &err);
            break;
        case 6:
            k = text_key(i % 2 ? "third" : name);
            rc = kv_hset_new(txn, &k, field, 3, &existed, &err);
            break;
        case 1:
            k = text_key("hash");
            rc = kv_hset(txn, &k, &e, v, i % 3 ? 0 : 1u << 30, NULL, &err);
            break;
        case 2:
            k = text_key("zset");
            rc = kv_zadd(txn, &k, &e, i, NULL, &err);
            break;
        case 3:
            k = text_key("list");
            rc = kv_push(txn, &k, i % 2 ? KV_LEFT : KV_RIGHT, v, &err);
            break;
        default:
            rc = kv_del(txn, &k, NULL, &err);
            break;
        }
    }
    return rc;
}

START_TEST(when_the_nth_allocation_fails_the_store_is_as_before)
{
    struct kv_view *view;
    unsigned failures = 0;

    for (int i = 0; i < 30; i++) {
        struct kv_txn *const txn = begin();
        ck_assert_int_eq(many_effects(txn, i), KVSQL_OK);
        commit(txn);
    }
    for (uint64_t n = 1;; n++) {
        if (n % 2) /* so that paths are copied */
            ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
        const uint64_t before = kv_store_hash(store);
        struct kv_txn *const txn = begin();
        kv_mem_fail_at(n, n % 3 == 0);
        const kvsql_rc rc = many_effects(txn, (int)n);
        const bool hit = kv_mem_failed();
        kv_mem_fail_at(0, 0);
        kv_txn_rollback(txn);
        ck_assert_uint_eq(kv_store_hash(store), before);
        kv_store_check(store);
        if (n % 2)
            kv_unpin(view);
        if (!hit) {
            ck_assert_int_eq(rc, KVSQL_OK);
            break;
        }
        ck_assert_int_eq(rc, KVSQL_NOMEM);
        failures++;
        kv_store_tick(store);
    }
    ck_assert_uint_gt(failures, 10);
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
        kv_store_tick(kv_db_store(db));
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
    kv_store_check(kv_db_store(db));
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, store_fx_close);
    tcase_set_timeout(tests, 300);
    tcase_add_test(
        tests, an_expired_key_is_invisible_at_once_and_removed_by_the_keeper);
    tcase_add_test(tests,
                   many_expired_keys_go_and_those_without_deadline_stay);
    tcase_add_test(tests, expired_fields_vanish_in_small_and_large_hashes);
    tcase_add_test(tests, deleting_an_expired_field_finds_nothing);
    tcase_add_test(tests, a_hash_whose_last_field_expires_is_gone);
    tcase_add_test(tests,
                   a_plain_write_drops_a_fields_ttl_and_keeping_keeps_it);
    tcase_add_test(tests,
                   a_step_back_of_the_wall_clock_never_lengthens_a_ttl);
    tcase_add_test(tests,
                   a_time_is_shown_as_it_was_given_though_the_clocks_jitter);
    tcase_add_test(tests, a_step_forward_expires);
    tcase_add_test(tests, keys_come_in_order_of_deadline);
    tcase_add_test(tests, counts_of_a_range_leave_out_what_has_expired);
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
    tcase_add_test(tests, what_the_wal_lost_is_taken_back_byte_for_byte);
    tcase_add_test(tests,
                   marks_nest_and_what_is_taken_back_leaves_no_op);
    tcase_add_test(tests, a_flush_under_a_view_frees_everything_in_the_end);
    tcase_add_test(
        tests, a_statement_view_inside_a_txn_does_not_see_later_changes);
    tcase_add_test(tests,
                   when_the_nth_allocation_fails_the_store_is_as_before);
    tcase_add_test(tests, readers_in_other_threads_see_whole_batches_only);
}

int main(void)
{
    return unit_run("store", add);
}

/* test_tree.c - the prefixes of nodes that lack a fence (T1 of kvsql/tree.c):
 * what their keys have in common is kept once, and a key that does not share it
 * finds its place all the same.
 *
 * The model is a sorted array of all keys that may come and which are there.
 * Build with CFLAGS=-DKV_LEAF_MAX=256 for small nodes. */
#include <stdio.h>
#include <string.h>

#include "kvsql/admin.h"
#include "kvsql/store_private.h"
#include "tests/lib/rand.h"
#include "tests/lib/unit.h"

#define KEYS_MAX 3000
#define KEY_MAX 320
#define LONG (KV_PREFIX_MAX >= 512 ? 200 : 12) /* bytes that many share */

static struct model_key {
    char p[KEY_MAX];
    uint32_t size;
    bool there, saved;
} model[KEYS_MAX];
static unsigned keys;
static size_t value_size;
static struct rand_state random_state;
static kvsql *db;
static struct kvsql_error err;

static void setup(void)
{
    const struct kvsql_options options = {.no_keeper = true};

    keys = 0;
    value_size = 1;
    random_state = rand_of(rand_seed("tree", 7));
    ck_assert_int_eq(
        kv_open_os("", &options, kv_os_real(), NULL, NULL, &db, &err),
        KVSQL_OK);
}

static void teardown(void)
{
    ck_assert_int_eq(kv_close(db, &err), KVSQL_OK);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_NODE), 0);
}

/* ---- the model --------------------------------------------------------------- */

static int model_compare(const void *a, const void *b)
{
    const struct model_key *const x = a, *const y = b;
    const int c =
        memcmp(x->p, y->p, x->size < y->size ? x->size : y->size);

    return c != 0 ? c : (x->size > y->size) - (x->size < y->size);
}

/* `shared` times a letter, then the number, filled up with letters to `size`. */
static void model_add(char letter, unsigned shared, const char *format,
                      unsigned number, unsigned size)
{
    struct model_key *const k = &model[keys++];

    ck_assert_uint_le(keys, KEYS_MAX);
    *k = (struct model_key){.size = shared};
    memset(k->p, letter, shared);
    k->size += (unsigned)snprintf(k->p + shared, 32, format, number);
    if (k->size < size) {
        memset(k->p + k->size, letter, size - k->size);
        k->size = size;
    }
}

/* In order, each once. */
static void model_sort(void)
{
    unsigned n = 0;

    qsort(model, keys, sizeof(model[0]), model_compare);
    for (unsigned i = 0; i < keys; i++)
        if (n == 0 || model_compare(&model[n - 1], &model[i]) != 0)
            model[n++] = model[i];
    keys = n;
}

static struct kv_key model_key(unsigned i)
{
    return kv_key_of(model[i].p, model[i].size);
}

/* Keys that begin like the many, and part with them at every length. */
static void model_strays(void)
{
    for (unsigned n = 0; n <= LONG; n += LONG / 12) {
        model_add('p', n, "", 0, 0);
        for (unsigned i = 0; i < 3; i++) {
            model_add('p', n, "a%u", i, 0);
            model_add('p', n, "z%u", i, 0);
            model_add('p', n, "z%u", i, 300); /* a key blob, perhaps */
        }
    }
    model_sort();
}

/* ---- changes ------------------------------------------------------------------- */

static void put(struct kv_txn *txn, unsigned i, bool there)
{
    static const char value[KV_INLINE_MAX] = "v";
    const struct kv_key key = model_key(i);

    ck_assert_int_eq(there ? kv_set(txn, &key, (kvsql_slice){value, value_size},
                                    0, &err)
                           : kv_del(txn, &key, NULL, &err),
                     KVSQL_OK);
    model[i].there = there;
}

static struct kv_txn *begin(void)
{
    struct kv_txn *txn;

    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    return txn;
}

static void commit(struct kv_txn *txn)
{
    ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
}

static void put_now(unsigned i, bool there)
{
    struct kv_txn *const txn = begin();

    put(txn, i, there);
    commit(txn);
}

/* The key is there from now on, but in between it is taken back. */
static void put_twice(unsigned i)
{
    struct kv_store *const store = kv_db_store(db);
    struct kv_txn *txn = begin();
    const uint64_t before = kv_store_hash(store);

    put(txn, i, true);
    ck_assert_uint_ne(kv_store_hash(store), before);
    kv_txn_rollback(txn);
    txn = begin();
    ck_assert_uint_eq(kv_store_hash(store), before);
    put(txn, i, true);
    commit(txn);
}

/* ---- comparing ------------------------------------------------------------------ */

static void check_seeks(struct kv_keys *cursor, unsigned i, int before,
                        int after)
{
    const struct kv_key key = model_key(i);

    ck_assert_int_eq(kv_keys_seek(cursor, &key, false), after >= 0);
    if (after >= 0)
        ck_assert_mem_eq(cursor->key.p, model[after].p, model[after].size);
    ck_assert_int_eq(kv_keys_seek_back(cursor, &key, false), before >= 0);
    if (before >= 0)
        ck_assert_mem_eq(cursor->key.p, model[before].p, model[before].size);
}

static void check_batch(const struct kv_at *at, unsigned from, unsigned n)
{
    struct kv_key key[KV_BATCH_MAX];
    struct kv_item item[KV_BATCH_MAX];
    bool found[KV_BATCH_MAX];

    for (unsigned i = 0; i < n; i++)
        key[i] = model_key(from + i);
    kv_get_batch(at, key, item, found, n);
    for (unsigned i = 0; i < n; i++)
        ck_assert_int_eq(found[i], model[from + i].there);
}

/* Everything that reads agrees with the model, for keys that are there and for
 * those that are not. */
static void check_all(void)
{
    static struct kv_keys cursor;
    struct kv_txn *txn;
    struct kv_at at;
    uint64_t rank = 0;
    int before = -1, after = 0;

    kv_store_check(kv_db_store(db));
    txn = begin();
    kv_at_txn(txn, &at);
    kv_keys_init(&cursor, &at, 0);
    for (unsigned i = 0; i < keys; i++) {
        const struct kv_key key = model_key(i);
        struct kv_item item;
        ck_assert_int_eq(kv_get(&at, &key, &item), model[i].there);
        ck_assert_uint_eq(kv_rank(&at, &key), rank);
        rank += model[i].there;
        before = model[i].there ? (int)i : before;
        after = after < (int)i ? (int)i : after;
        while (after < (int)keys && !model[after].there)
            after++;
        check_seeks(&cursor, i, before, after < (int)keys ? after : -1);
        if (i % KV_BATCH_MAX == 0)
            check_batch(&at, i,
                        keys - i < KV_BATCH_MAX ? keys - i : KV_BATCH_MAX);
    }
    bool any = kv_keys_first(&cursor);
    for (unsigned i = 0; i < keys; i++) {
        if (!model[i].there)
            continue;
        ck_assert(any);
        ck_assert_uint_eq(cursor.key.size, model[i].size);
        ck_assert_mem_eq(cursor.key.p, model[i].p, model[i].size);
        any = kv_keys_next(&cursor);
    }
    ck_assert(!any);
    commit(txn);
}

static const struct kv_node *root(void)
{
    return kv_db_store(db)->live.keys[KV_TEXT];
}

/* ---- the tests ------------------------------------------------------------------- */

START_TEST(what_all_keys_begin_with_is_kept_once_in_the_root)
{
    for (unsigned i = 0; i < 1000; i++)
        model_add('k', 1, "ey:%05u", i * 7919 % 1000, 0);
    for (unsigned i = 0; i < keys; i++)
        put_now(i, true);
    ck_assert_uint_gt(root()->level, 0);
    if (KV_LEAF_MAX >= 2048) { /* of small ones it is not worth it */
        ck_assert(root()->flags & KV_NODE_OWN);
        ck_assert_uint_eq(root()->plen, strlen("key:00"));
    }
    model_sort();
    check_all();
}
END_TEST

START_TEST(a_key_that_does_not_share_the_prefix_makes_it_shorter)
{
    static const char *const other[] = {"key:1", "kez", "ka", "b", "", "zz"};
    static const unsigned left[] = {4, 2, 1, 0, 0, 0};

    for (unsigned i = 0; i < 20; i++)
        model_add('k', 1, "ey:%05u", i, 0);
    model_sort();
    for (unsigned i = 20; i-- > 0;)
        put_now(i, true);
    if (KV_LEAF_MAX >= 2048) {
        ck_assert_uint_eq(root()->level, 0);
        ck_assert_uint_ge(root()->plen, strlen("key:000"));
    }
    for (unsigned i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
        model_add('k', 0, other[i], 0, 0);
        put_twice(keys - 1);
        if (KV_LEAF_MAX >= 2048)
            ck_assert_uint_eq(root()->plen, left[i]);
    }
    ck_assert_int_eq((root()->flags & KV_NODE_OWN) != 0, root()->plen > 0);
    model_sort();
    check_all();
}
END_TEST

/* Written out, the long prefix of the many does not fit into their nodes: not
 * into the leaf at the edge, nor into the root. */
START_TEST(where_there_is_no_room_for_that_the_key_gets_a_node_of_its_own)
{
    static const char end[] = {'a', 'z'};

    for (unsigned side = 0; side < 2; side++) {
        if (side > 0) {
            teardown();
            setup();
        }
        for (unsigned i = 0; i < 2000; i++)
            model_add('p', LONG, "%05u", i * 7919 % 10000, 0);
        model_sort();
        for (unsigned i = 0; i < keys; i++)
            put_now(i * 997 % keys, true);
        const unsigned level = root()->level;
        ck_assert_uint_ge(root()->plen, LONG);
        model_add(end[side], 1, "", 0, 0);
        put_twice(keys - 1);
        if (KV_LEAF_MAX >= 2048) { /* small nodes are more, and stop it below */
            ck_assert_uint_gt(root()->level, level);
            ck_assert_uint_eq(root()->plen, 0);
        }
        model_strays();
        check_all();
        for (unsigned i = 0; i < keys; i++)
            if (!model[i].there)
                put_twice(i);
        check_all();
        for (unsigned i = keys; i-- > 0;)
            if (i % 300 != side)
                put_now(i, false);
        check_all();
    }
}
END_TEST

/* Neighbours have 290 bytes in common and strangers none: so separators are key
 * blobs, which go up when an inner node is split, and down when two become
 * one. */
START_TEST(separators_that_are_key_blobs_go_up_and_down)
{
    for (unsigned i = 0; i < 1300; i++)
        model_add((char)('a' + i % 26), 290, "%u", i / 26 * 7919 % 100, 0);
    model_sort();
    value_size = KV_INLINE_MAX;
    for (unsigned i = 0; i < keys; i++)
        put_twice(i * 997 % keys);
    ck_assert_uint_ge(root()->level, 2);
    check_all();
    for (unsigned i = 0; i < keys; i++)
        if (i % 500 != 0)
            put_now(i * 991 % keys, false);
    ck_assert_uint_le(root()->level, 1);
    check_all();
}
END_TEST

/* Some keys of a run of neighbours come or go. */
static void random_step(struct kv_txn *txn, bool there, unsigned from,
                        unsigned n)
{
    for (unsigned k = 0; k < 4; k++) {
        const unsigned i =
            (from + (unsigned)rand_below(&random_state, n)) % keys;
        if (model[i].there != there)
            put(txn, i, there);
    }
}

static void model_save(bool back)
{
    for (unsigned i = 0; i < keys; i++)
        if (back)
            model[i].there = model[i].saved;
        else
            model[i].saved = model[i].there;
}

START_TEST(keys_of_all_kinds_come_and_go_and_are_taken_back)
{
    struct kv_store *const store = kv_db_store(db);

    for (unsigned i = 0; i < 1000; i++)
        model_add('p', LONG, "%05u", i * 7919 % 10000, 0);
    for (unsigned i = 0; i < 500; i++)
        model_add('q', LONG, "%05u", i, i % 7 == 0 ? 300 : 0);
    for (unsigned i = 0; i < 500; i++)
        model_add('k', 1, "ey:%u", i * i, 0);
    model_strays();
    for (unsigned step = 0; step < 4000; step++) {
        static unsigned from, n;
        static bool there;
        if (step % 100 == 0) {
            from = (unsigned)rand_below(&random_state, keys);
            n = 1 + (unsigned)rand_below(&random_state, keys);
            there = rand_below(&random_state, 5) > 1;
        }
        struct kv_txn *const txn = begin();
        const struct kv_mark mark = kv_txn_mark(txn);
        const uint64_t hash = step % 8 == 0 ? kv_store_hash(store) : 0;
        model_save(false);
        random_step(txn, there, from, n);
        if (step % 8 == 0) {
            kv_txn_restore(txn, mark);
            model_save(true);
            ck_assert_uint_eq(kv_store_hash(store), hash);
        }
        commit(txn);
        kv_store_check(store);
        if (step % 200 == 0)
            check_all();
    }
    check_all();
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, what_all_keys_begin_with_is_kept_once_in_the_root);
    tcase_add_test(tests, a_key_that_does_not_share_the_prefix_makes_it_shorter);
    tcase_add_test(
        tests, where_there_is_no_room_for_that_the_key_gets_a_node_of_its_own);
    tcase_add_test(tests, separators_that_are_key_blobs_go_up_and_down);
    tcase_add_test(tests, keys_of_all_kinds_come_and_go_and_are_taken_back);
}

int main(void)
{
    return unit_run("tree", add);
}

/* test_load.c - what is loaded in order is what was set key by key (load.c), and
 * can be changed like it.
 *
 * The model is a sorted array of keys, a store that was filled by kv_set beside
 * the one that was loaded. Build with CFLAGS=-DKV_LEAF_MAX=256 for small nodes. */
#include "kvsql/load.h"
#include "tests/lib/rand.h"
#include "tests/lib/snapshot_fx.h"

#define KEYS_MAX 4000
#define KEY_MAX 600
#define VALUE_MAX 300

static struct model_key {
    uint8_t p[KEY_MAX];
    struct kv_key key;
    uint32_t value_size;
    int64_t expires_at;
    enum kv_type type;
    unsigned elems; /* of another type than a string */
} model[KEYS_MAX];
static unsigned keys;
static uint8_t bytes[VALUE_MAX];
static struct rand_state random_state;

/* ---- the model --------------------------------------------------------------- */

/* One of some kinds of keys: counted, with much in common, long, any bytes. */
static void model_key_make(struct model_key *k, unsigned kind)
{
    const unsigned number = (unsigned)rand_below(&random_state, 1u << 20);
    unsigned size = 0;

    switch (kind) {
    case 0:
        size = (unsigned)sprintf((char *)k->p, "key:%012u", number);
        break;
    case 1:
        size = (unsigned)sprintf((char *)k->p, "user:%u:%u", number % 50,
                                 number);
        break;
    case 2: /* long, alike at the begin */
        size = 200 + number % 390;
        memset(k->p, 'l', size);
        (void)sprintf((char *)k->p + 150, "%u", number);
        k->p[strlen((char *)k->p)] = 'x';
        break;
    case 3: /* short */
        size = number % 3;
        memcpy(k->p, &number, 2);
        break;
    default: /* BLOB mostly */
        size = 1 + number % 40;
        for (unsigned i = 0; i < size; i++)
            k->p[i] = (uint8_t)rand_below(&random_state, 256);
        break;
    }
    k->key = kv_key_of(k->p, size);
}

static int model_compare(const void *a, const void *b)
{
    const struct model_key *const x = a, *const y = b;
    const struct kv_key left = {x->p, x->key.size, x->key.cls};
    const struct kv_key right = {y->p, y->key.size, y->key.cls};

    return kv_key_compare(&left, &right);
}

/* Few mostly, some more than a run holds. */
static unsigned model_elems(unsigned size)
{
    return rand_one_in(&random_state, 20) ? 100 + size
                                          : 1 + size % 9;
}

/* `kinds`: mask of kinds of keys; of strings, or of all types. In order, each
 * once. */
static void model_make(unsigned count, unsigned kinds, bool all)
{
    unsigned n = 0;

    for (keys = 0; keys < count;) {
        struct model_key *const k = &model[keys];
        const unsigned kind = (unsigned)rand_below(&random_state, 5);
        memset(k, 0, sizeof(*k));
        if (!(kinds >> kind & 1))
            continue;
        model_key_make(k, kind);
        k->value_size = (uint32_t)rand_below(
            &random_state, rand_one_in(&random_state, 10) ? VALUE_MAX : 40);
        k->type = KV_STRING;
        if (all && rand_one_in(&random_state, 3))
            k->type = (enum kv_type)rand_between(&random_state, KV_HASH,
                                                 KV_ZSET);
        k->elems = model_elems(k->value_size);
        if (rand_one_in(&random_state, 6))
            k->expires_at =
                NOW + 1 + (int64_t)rand_below(&random_state, 1u << 30);
        keys++;
    }
    qsort(model, keys, sizeof(model[0]), model_compare);
    for (unsigned i = 0; i < keys; i++)
        if (n == 0 || model_compare(&model[n - 1], &model[i]) != 0)
            model[n++] = model[i];
    keys = n;
    for (unsigned i = 0; i < keys; i++)
        model[i].key.p = model[i].p;
}

/* Numbers, TEXT and BLOB, by the key's. */
static struct kv_key model_value(const struct model_key *k)
{
    static char text[VALUE_MAX];
    const unsigned number = k->value_size;

    if (number % 3 == 0)
        return kv_key_of(text, (size_t)sprintf(text, "%u", number * 12345));
    memset(bytes, number % 3 == 1 ? 'v' : 0x80 + (int)(number % 20),
           sizeof(bytes));
    return kv_key_of(bytes, number);
}

/* Element `i`, in order. Some are long, some have a deadline. */
static struct kv_load_elem model_elem(const struct model_key *k, unsigned i)
{
    static char name[VALUE_MAX], value[VALUE_MAX];
    const unsigned size = k->value_size % 7 == 0 && i > 3 ? 150 : 12;
    struct kv_load_elem elem = {.score = (double)(i * 37 % 11) - 4.5};

    memset(name, 'e', sizeof(name));
    (void)sprintf(name, "%06u", i);
    name[6] = 'e';
    elem.key = kv_key_of(name, size);
    elem.value = kv_key_of(value, (size_t)sprintf(value, "%u", i * 1234567));
    if (k->type == KV_HASH && i % 5 == k->value_size % 5)
        elem.expires_at = NOW + 1000 + i;
    return elem;
}

static kvsql_rc model_set_elem(struct kv_txn *txn, const struct model_key *k,
                               const struct kv_load_elem *e)
{
    const kvsql_slice value = {e->value.p, e->value.size};

    switch (k->type) {
    case KV_HASH:
        return kv_hset(txn, &k->key, &e->key, value, e->expires_at, NULL, &err);
    case KV_LIST:
        return kv_push(txn, &k->key, KV_RIGHT, value, &err);
    case KV_SET:
        return kv_sadd(txn, &k->key, &e->key, NULL, &err);
    default:
        return kv_zadd(txn, &k->key, &e->key, e->score, NULL, &err);
    }
}

static void model_set(struct kv_txn *txn, const struct model_key *k)
{
    const struct kv_key value = model_value(k);

    if (k->type == KV_STRING) {
        ck_assert_int_eq(kv_set(txn, &k->key,
                                (kvsql_slice){value.p, value.size},
                                k->expires_at, &err),
                         KVSQL_OK);
        return;
    }
    ck_assert_int_eq(kv_del(txn, &k->key, NULL, &err), KVSQL_OK);
    for (unsigned i = 0; i < k->elems; i++) {
        const struct kv_load_elem elem = model_elem(k, i);
        ck_assert_int_eq(model_set_elem(txn, k, &elem), KVSQL_OK);
    }
    if (k->expires_at != 0)
        ck_assert_int_eq(kv_expire(txn, &k->key, k->expires_at, &err),
                         KVSQL_OK);
}

/* In any order. */
static void model_fill(kvsql *db)
{
    struct kv_txn *const txn = txn_new(db);

    for (unsigned i = 0; i < keys; i++)
        model_set(txn, &model[(i * 7919u) % keys]);
    txn_end(txn);
}

static kvsql_rc model_load_key(struct kv_load *load, const struct model_key *k)
{
    const struct kv_key value = model_value(k);
    kvsql_rc rc = KVSQL_OK;

    if (k->type == KV_STRING)
        return kv_load_string(load, &k->key, &value, k->expires_at, &err);
    kv_load_elems(load, &k->key, k->type);
    for (unsigned i = 0; rc == KVSQL_OK && i < k->elems; i++) {
        const struct kv_load_elem elem = model_elem(k, i);
        rc = kv_load_elem(load, &elem, &err);
    }
    return rc == KVSQL_OK ? kv_load_elems_end(load, k->expires_at, &err) : rc;
}

static kvsql_rc model_load(kvsql *db)
{
    kvsql_rc rc = KVSQL_OK;
    struct kv_load load;

    kv_load_begin(&load, kv_db_store(db));
    for (unsigned i = 0; rc == KVSQL_OK && i < keys; i++)
        rc = model_load_key(&load, &model[i]);
    const kvsql_rc ended = kv_load_end(&load, rc == KVSQL_OK ? &err : NULL);
    return rc == KVSQL_OK ? ended : rc;
}

static kvsql *model_loaded(void)
{
    kvsql *const db = store_new();

    ck_assert_int_eq(model_load(db), KVSQL_OK);
    kv_store_check(kv_db_store(db));
    return db;
}

static struct kv_info info_of(kvsql *db)
{
    struct kv_info info;

    kv_store_info(kv_db_store(db), &info);
    return info;
}

static void load_set_up(void)
{
    set_up();
    random_state = rand_of(rand_seed("load", 5));
}

/* ---- tests --------------------------------------------------------------------- */

#define KINDS_ALL 31
static const unsigned kinds_of[] = {1, 2, 4, 8, 16, 3, 5, KINDS_ALL};
#define KINDS (int)(sizeof(kinds_of) / sizeof(kinds_of[0]))

START_TEST(what_is_loaded_is_what_was_set)
{
    for (unsigned count = 0; count < KEYS_MAX; count = count * 2 + 1) {
        model_make(count, kinds_of[_i], count % 2 == 1);
        kvsql *const db = store_new(), *const copy = model_loaded();
        model_fill(db);
        check_same(db, copy);
        ck_assert_uint_eq(info_of(copy).keys, keys);
        ck_assert_uint_eq(info_of(copy).keys_with_expiry,
                          info_of(db).keys_with_expiry);
        store_end(db);
        store_end(copy);
    }
}
END_TEST

START_TEST(it_can_be_changed_like_any_other)
{
    model_make(2000, kinds_of[_i], true);
    kvsql *const db = store_new(), *const copy = model_loaded();

    model_fill(db);
    model_make(500, KINDS_ALL, false); /* others between them */
    for (unsigned i = 0; i < keys; i++) {
        struct kv_txn *txn = txn_new(db);
        model_set(txn, &model[i]);
        txn_end(txn);
        txn = txn_new(copy);
        model_set(txn, &model[i]);
        txn_end(txn);
        if (i % 50 == 0)
            kv_store_check(kv_db_store(copy));
    }
    check_same(db, copy);
    for (unsigned i = 0; i < keys; i++) {
        struct kv_txn *const txn = txn_new(copy);
        ck_assert_int_eq(kv_del(txn, &model[i].key, NULL, &err), KVSQL_OK);
        txn_end(txn);
    }
    kv_store_check(kv_db_store(copy));
    store_end(db);
    store_end(copy);
}
END_TEST

/* Blocks that are as good as full. */
START_TEST(it_takes_no_more_memory_than_inserts_in_order)
{
    model_make(KEYS_MAX, 1, false);
    kvsql *const db = store_new(), *const copy = model_loaded();
    struct kv_txn *const txn = txn_new(db);

    for (unsigned i = 0; i < keys; i++)
        model_set(txn, &model[i]);
    txn_end(txn);
    ck_assert_uint_le(info_of(copy).memory_data,
                      info_of(db).memory_data / 100 * 102);
    store_end(db);
    store_end(copy);
}
END_TEST

START_TEST(entries_that_tell_of_use_are_loaded_too)
{
    model_make(300, KINDS_ALL, true);
    kvsql *const db = store_new(), *const copy = store_new();

    model_fill(db);
    kv_store_set_policy(kv_db_store(copy), KVSQL_ALLKEYS_LRU, 5);
    ck_assert_int_eq(model_load(copy), KVSQL_OK);
    kv_store_check(kv_db_store(copy));
    check_same(db, copy);
    store_end(db);
    store_end(copy);
}
END_TEST

START_TEST(no_allocation_is_needed_silently)
{
    kvsql_rc rc = KVSQL_NOMEM;
    uint64_t n = 0;

    model_make(300, KINDS_ALL, true);
    for (; rc != KVSQL_OK; n += 1 + n / 50) {
        kvsql *const db = store_new();
        kv_mem_fail_at(n + 1, 0);
        rc = model_load(db);
        ck_assert_int_eq(rc, kv_mem_failed() ? KVSQL_NOMEM : KVSQL_OK);
        kv_mem_fail_at(0, 0);
        kv_store_check(kv_db_store(db)); /* what is there is whole */
        store_end(db);
        ck_assert_uint_eq(kv_mem_blocks(KV_MEM_NODE), 0);
    }
    ck_assert_uint_gt(n, 100);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, load_set_up, tear_down);
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, what_is_loaded_is_what_was_set, 0, KINDS);
    tcase_add_loop_test(tests, it_can_be_changed_like_any_other, 0, KINDS);
    tcase_add_test(tests, it_takes_no_more_memory_than_inserts_in_order);
    tcase_add_test(tests, entries_that_tell_of_use_are_loaded_too);
    tcase_add_test(tests, no_allocation_is_needed_silently);
}

int main(void)
{
    return unit_run("load", add);
}

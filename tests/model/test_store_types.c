/* test_store_types.c - TS1, TS3: the store against a plain model, for every
 * type, across the packed and the tree form.
 *
 * The model is arrays and strcmp. Each step is one transaction of a few random
 * effects; one in eight is taken back by a mark, and the bytes of the store
 * must then be as before. Views are pinned, digested, and digested again when
 * they are released. KVSQL_MODEL_STEPS sets the steps, KVSQL_SEED the run;
 * build with CFLAGS=-DKV_LEAF_MAX=256 for small nodes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvsql/admin.h"
#include "kvsql/base/num.h"
#include "kvsql/store.h"
#include "tests/lib/rand.h"
#include "tests/lib/unit.h"

#define KEYS 500
#define ELEMENTS 300  /* of a collection */
#define ITEMS_MAX 1200 /* of a list */
#define STRING_MAX 3000
#define VIEWS 4
#define STEPS 30000

struct model_element {
    bool there;
    char value[40];
    double score;
};
struct model_key {
    enum kv_type type; /* KV_NONE = absent */
    char *string;
    unsigned size;
    struct model_element *element;
    unsigned count;
    char **item;
    unsigned length;
};

static struct model_key model[KEYS], saved[KEYS];
static bool is_saved[KEYS];
static struct rand_state random_state;
static kvsql *db;
static struct kvsql_error err;
static char filler[STRING_MAX];

static unsigned below(unsigned n)
{
    return (unsigned)rand_below(&random_state, n);
}

static void must(kvsql_rc rc)
{
    ck_assert_msg(rc == KVSQL_OK, "%d: %s", (int)rc, err.text);
}

/* Shapes of TS1: shared prefixes, long common ones, long suffixes, bytes. */
static struct kv_key key_of(unsigned i, char name[512])
{
    int n = 0;

    switch (i % 5) {
    case 0:
        n = snprintf(name, 512, "user:%u:field", i);
        break;
    case 1:
        n = snprintf(name, 512, "%08x", i * 2654435761u);
        break;
    case 2: /* the suffix leaves the node (EN7) */
        n = snprintf(name, 512, "%u-", i);
        memset(name + n, 'a' + (int)(i % 3), 300);
        n += 300;
        break;
    case 3: /* a prefix of 260 bytes in common */
        memset(name, 'p', 260);
        n = 260 + snprintf(name + 260, 200, "%u", i);
        break;
    default: /* of class BLOB */
        name[0] = (char)0xff;
        n = 1 + snprintf(name + 1, 500, "%u", i);
        break;
    }
    return kv_key_of(name, (size_t)n);
}

static struct kv_key element_of(unsigned i, char name[64])
{
    const int n = i % 9 == 8 ? snprintf(name, 64, "\xff%u", i)
                             : snprintf(name, 64, "element:%u", i);

    return kv_key_of(name, (size_t)n);
}

/* ---- the model ----------------------------------------------------------------- */

static void model_clear(struct model_key *k)
{
    for (unsigned i = 0; i < k->length; i++)
        free(k->item[i]);
    free(k->item);
    free(k->string);
    free(k->element);
    *k = (struct model_key){.type = KV_NONE};
}

static struct model_key model_copy(const struct model_key *k)
{
    struct model_key copy = *k;

    if (k->string != NULL) {
        copy.string = malloc(STRING_MAX);
        memcpy(copy.string, k->string, k->size);
    }
    if (k->element != NULL) {
        copy.element = malloc(ELEMENTS * sizeof(*k->element));
        memcpy(copy.element, k->element, ELEMENTS * sizeof(*k->element));
    }
    if (k->item != NULL) {
        copy.item = malloc(ITEMS_MAX * sizeof(*k->item));
        for (unsigned i = 0; i < k->length; i++)
            copy.item[i] = strdup(k->item[i]);
    }
    return copy;
}

static void model_type(struct model_key *k, enum kv_type type)
{
    k->type = type;
    if (type == KV_STRING && k->string == NULL)
        k->string = calloc(1, STRING_MAX);
    else if (type == KV_LIST && k->item == NULL)
        k->item = calloc(ITEMS_MAX, sizeof(*k->item));
    else if (type != KV_STRING && type != KV_LIST && k->element == NULL)
        k->element = calloc(ELEMENTS, sizeof(*k->element));
}

/* ---- effects on both -------------------------------------------------------------- */

/* Add to what may be a number. */
static void step_add(struct kv_txn *txn, const struct kv_key *key,
                     struct model_key *k)
{
    const int64_t step =
        (int64_t)(rand_next(&random_state) >> below(64)) / (below(2) ? 1 : -2);
    int64_t number = 0, sum = 99;
    const bool is_number = k->type == KV_NONE ||
                           kv_num_int(k->string, k->size, &number);
    const bool fits = !__builtin_add_overflow(number, step, &number);
    const kvsql_rc rc = kv_add(txn, key, step, &sum, &err);

    ck_assert_int_eq(rc, !is_number ? KVSQL_NOTINT
                         : !fits    ? KVSQL_OVERFLOW
                                    : KVSQL_OK);
    ck_assert_int_eq(sum, rc == KVSQL_OK ? number : 99);
    if (rc != KVSQL_OK)
        return;
    model_type(k, KV_STRING);
    k->size = (unsigned)kv_num_format_int(k->string, number);
}

static void step_string(struct kv_txn *txn, const struct kv_key *key,
                        struct model_key *k)
{
    char number[32];
    unsigned n = below(3) == 0 ? below(400) : below(30);
    const char *bytes = filler;

    if ((k->type == KV_STRING || k->type == KV_NONE) && below(3) == 0) {
        step_add(txn, key, k);
        return;
    }
    if (k->type == KV_STRING && below(4) == 0 && k->size < 2500) {
        n = 1 + below(150);
        must(kv_patch(txn, key, k->size, (kvsql_slice){filler, n}, &err));
        memcpy(k->string + k->size, filler, n);
        k->size += n;
        return;
    }
    if (below(3) == 0) {
        n = (unsigned)snprintf(number, sizeof(number), "%lld",
                               (long long)(rand_next(&random_state) >>
                                           below(64)));
        bytes = number;
    }
    must(kv_set(txn, key, (kvsql_slice){bytes, n}, 0, &err));
    model_type(k, KV_STRING);
    memcpy(k->string, bytes, n);
    k->size = n;
}

static void step_remove(struct kv_txn *txn, const struct kv_key *key,
                        enum kv_type type, const struct kv_key *element,
                        struct model_key *k, unsigned i)
{
    const bool there = k->type != KV_NONE && k->element[i].there;
    bool existed = !there;

    if (type == KV_HASH)
        must(kv_hdel(txn, key, element, &existed, &err));
    else if (type == KV_SET)
        must(kv_srem(txn, key, element, &existed, &err));
    else
        must(kv_zrem(txn, key, element, &existed, &err));
    ck_assert_int_eq(existed, there);
    if (!there)
        return;
    k->element[i].there = false;
    if (--k->count == 0)
        k->type = KV_NONE;
}

/* Several fields in one go, some of them twice. */
static void step_fields(struct kv_txn *txn, const struct kv_key *key,
                        struct model_key *k, bool large)
{
    enum { MANY = 20 };
    const unsigned n = 1 + below(MANY);
    char name[MANY][64], value[MANY][40];
    struct kv_field field[MANY];
    unsigned at[MANY], fresh = 0, created = 0;
    const bool is_new = k->type == KV_NONE;
    bool existed = is_new;

    for (unsigned i = 0; i < n; i++) {
        at[i] = below(large ? ELEMENTS : 20);
        const int size = snprintf(value[i], sizeof(value[i]),
                                  below(2) ? "%u" : "v%u", below(100000));
        field[i] = (struct kv_field){element_of(at[i], name[i]),
                                     {value[i], (size_t)size}};
    }
    if (below(3) == 0) {
        must(kv_hset_new(txn, key, field, n, &existed, &err));
        ck_assert_int_eq(existed, !is_new);
        if (existed)
            return;
    } else {
        must(kv_hset_many(txn, key, field, n,
                          below(2) ? 0 : KV_KEEP_EXPIRY, &created, &err));
        existed = true;
    }
    model_type(k, KV_HASH);
    for (unsigned i = 0; i < n; i++) {
        fresh += !k->element[at[i]].there;
        k->element[at[i]].there = true;
        memcpy(k->element[at[i]].value, value[i], sizeof(value[i]));
    }
    k->count += fresh;
    if (existed)
        ck_assert_uint_eq(created, fresh);
}

static void step_element(struct kv_txn *txn, const struct kv_key *key,
                         enum kv_type type, struct model_key *k, bool large)
{
    const unsigned i = below(large ? ELEMENTS : 20);
    char name[64], value[40];
    const struct kv_key element = element_of(i, name);
    const double score =
        below(9) == 0 ? -0.0 : (double)below(20) - 10 + below(4) * 0.25;
    bool created = false;

    if (below(3) == 0) {
        step_remove(txn, key, type, &element, k, i);
        return;
    }
    if (type == KV_HASH && below(3) == 0) {
        step_fields(txn, key, k, large);
        return;
    }
    const int n = snprintf(value, sizeof(value), below(2) ? "%u" : "v%u",
                           below(100000));
    if (type == KV_HASH)
        must(kv_hset(txn, key, &element, (kvsql_slice){value, (size_t)n}, 0,
                     &created, &err));
    else if (type == KV_SET)
        must(kv_sadd(txn, key, &element, &created, &err));
    else
        must(kv_zadd(txn, key, &element, score, &created, &err));
    model_type(k, type);
    ck_assert_int_eq(created, !k->element[i].there);
    k->count += created;
    k->element[i].there = true;
    k->element[i].score = score;
    memcpy(k->element[i].value, value, sizeof(value));
}

static void list_put(struct model_key *k, unsigned at, const char *text)
{
    memmove(k->item + at + 1, k->item + at,
            (k->length - at) * sizeof(*k->item));
    k->item[at] = strdup(text);
    k->length++;
}

static void step_list(struct kv_txn *txn, const struct kv_key *key,
                      struct model_key *k)
{
    char text[160];
    int n = snprintf(text, sizeof(text), below(2) ? "%u" : "item%u",
                     below(1000000));
    const unsigned what = below(10), at = k->length ? below(k->length) : 0;

    if (below(20) == 0) { /* longer than a packed item may be */
        memset(text, 'L', 150);
        text[n = 150] = 0;
    }
    const kvsql_slice value = {.p = text, .size = (size_t)n};
    if (what < 5 && k->length < ITEMS_MAX - 1) {
        must(kv_push(txn, key, what < 3 ? KV_RIGHT : KV_LEFT, value, &err));
        model_type(k, KV_LIST);
        list_put(k, what < 3 ? k->length : 0, text);
    } else if (k->length == 0) {
        ck_assert_int_eq(kv_lset(txn, key, 0, value, &err), KVSQL_NOTFOUND);
    } else if (what == 5 && k->length < ITEMS_MAX - 1) {
        must(kv_linsert(txn, key, at, value, &err));
        list_put(k, at, text);
    } else if (what == 6) {
        must(kv_lset(txn, key, at, value, &err));
        free(k->item[at]);
        k->item[at] = strdup(text);
    } else {
        const unsigned left = k->length - at;
        const unsigned count = below(50) == 0 ? left : 1 + below(left) % 5;
        must(kv_lremove(txn, key, at, count, &err));
        for (unsigned i = 0; i < count; i++)
            free(k->item[at + i]);
        memmove(k->item + at, k->item + at + count,
                (left - count) * sizeof(*k->item));
        k->length -= count;
        if (k->length == 0)
            k->type = KV_NONE;
    }
}

static void step_one(struct kv_txn *txn, bool save)
{
    const unsigned i = below(KEYS);
    struct model_key *const k = &model[i];
    char name[512];
    const struct kv_key key = key_of(i, name);
    bool existed;

    if (save && !is_saved[i]) {
        saved[i] = model_copy(k);
        is_saved[i] = true;
    }
    if (below(60) == 0) {
        must(kv_del(txn, &key, &existed, &err));
        ck_assert_int_eq(existed, k->type != KV_NONE);
        model_clear(k);
        return;
    }
    switch (i / 5 % 5) { /* every type in every shape of key */
    case 0:
        step_string(txn, &key, k);
        break;
    case 1:
        step_list(txn, &key, k);
        break;
    default:
        step_element(txn, &key, i / 5 % 5 == 2   ? KV_HASH
                                : i / 5 % 5 == 3 ? KV_SET
                                                 : KV_ZSET,
                     k, i % 7 == 0);
        break;
    }
}

/* ---- comparing ------------------------------------------------------------------------ */

static void compare_elements(const struct kv_at *at, const struct kv_item *item,
                             const struct model_key *k)
{
    char name[64], other[64];
    struct kv_elem elem;
    uint64_t rank;

    ck_assert_uint_eq(kv_item_length(item), k->count);
    for (unsigned i = 0; i < ELEMENTS; i++) {
        const struct kv_key element = element_of(i, name);
        ck_assert_int_eq(kv_elem_find(at, item, &element, &elem),
                         k->element[i].there);
        if (!k->element[i].there)
            continue;
        if (k->type == KV_HASH) {
            ck_assert_uint_eq(elem.value.size, strlen(k->element[i].value));
            ck_assert_mem_eq(elem.value.p, k->element[i].value,
                             elem.value.size);
        }
        if (k->type != KV_ZSET || below(8) != 0)
            continue;
        ck_assert_double_eq(elem.score, k->element[i].score);
        ck_assert(kv_elem_rank(at, item, &element, &rank));
        for (unsigned o = 0; o < ELEMENTS; o++) {
            const double a = k->element[o].score, b = k->element[i].score;
            (void)element_of(o, other);
            rank -= k->element[o].there &&
                    (a < b || (a == b && strcmp(other, name) < 0));
        }
        ck_assert_uint_eq(rank, 0);
    }
}

static void compare_list(const struct kv_at *at, const struct kv_item *item,
                         const struct model_key *k)
{
    struct kv_elem elem;

    ck_assert_uint_eq(kv_item_length(item), k->length);
    for (unsigned i = 0; i < k->length; i++) {
        ck_assert(kv_elem_at(at, item, i, &elem));
        ck_assert_uint_eq(elem.value.size, strlen(k->item[i]));
        ck_assert_mem_eq(elem.value.p, k->item[i], elem.value.size);
    }
    ck_assert(!kv_elem_at(at, item, k->length, &elem));
}

static void compare_all(void)
{
    struct kv_txn *txn;
    struct kv_item item;
    struct kv_val value;
    struct kv_at at;
    char name[512];
    uint64_t there = 0;

    kv_store_check(kv_db_store(db));
    must(kv_txn_begin(db, false, 0, &txn, &err));
    kv_at_txn(txn, &at);
    for (unsigned i = 0; i < KEYS; i++) {
        const struct model_key *const k = &model[i];
        const struct kv_key key = key_of(i, name);
        ck_assert_int_eq(kv_get(&at, &key, &item), k->type != KV_NONE);
        if (k->type == KV_NONE)
            continue;
        there++;
        ck_assert_int_eq(item.type, k->type);
        if (k->type == KV_STRING) {
            kv_item_string(&item, &value);
            ck_assert_uint_eq(value.size, k->size);
            if (k->size > 0)
                ck_assert_mem_eq(value.p, k->string, k->size);
        } else if (k->type == KV_LIST) {
            compare_list(&at, &item, k);
        } else {
            compare_elements(&at, &item, k);
        }
    }
    ck_assert_uint_eq(kv_count_all(&at), there);
    must(kv_txn_commit(txn, NULL, &err));
}

static uint64_t mix(uint64_t hash, const void *p, size_t size)
{
    const uint8_t *const b = p; /* FNV-1a */

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ b[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* Values that are read some at a time are those of the cursor. */
static void check_values(const struct kv_at *at, const struct kv_item *item)
{
    static struct kv_elems one, many;
    struct kv_val part[7];
    uint32_t n;

    kv_elems_init(&one, at, item, KV_ELEMS_INDEX);
    kv_elems_init(&many, at, item, KV_ELEMS_INDEX);
    bool ok = kv_elems_first(&one);
    ck_assert(kv_elems_first(&many) == ok);
    while ((n = kv_elems_values(&many, part, 7)) > 0) {
        for (uint32_t i = 0; i < n; i++, ok = kv_elems_next(&one)) {
            ck_assert(ok);
            ck_assert_uint_eq(part[i].size, one.elem.value.size);
            ck_assert_mem_eq(part[i].p, one.elem.value.p, part[i].size);
            ck_assert_uint_eq(part[i].cls, one.elem.value.cls);
        }
        ck_assert(many.valid == ok);
        ck_assert(!ok || many.elem.index == one.elem.index);
    }
    ck_assert(!ok);
}

/* Everything that a view shows, read in full, forwards. */
static uint64_t digest(const struct kv_view *view)
{
    static struct kv_keys keys;
    static struct kv_elems elems;
    struct kv_val value;
    struct kv_at at;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    kv_at_view(view, &at);
    kv_keys_init(&keys, &at, 0);
    for (bool ok = kv_keys_first(&keys); ok; ok = kv_keys_next(&keys)) {
        hash = mix(hash, keys.key.p, keys.key.size);
        if (keys.item.type == KV_STRING) {
            kv_item_string(&keys.item, &value);
            hash = mix(hash, value.p, value.size);
            continue;
        }
        uint64_t n = 0;
        kv_elems_init(&elems, &at, &keys.item,
                      keys.item.type == KV_LIST   ? KV_ELEMS_INDEX
                      : keys.item.type == KV_ZSET ? KV_ELEMS_SCORE
                                                  : KV_ELEMS_KEY);
        for (bool e = kv_elems_first(&elems); e; e = kv_elems_next(&elems)) {
            hash = mix(hash, elems.elem.key.p, elems.elem.key.size);
            hash = mix(hash, elems.elem.value.p, elems.elem.value.size);
            n++;
        }
        ck_assert_uint_eq(n, kv_item_length(&keys.item));
        if (keys.item.type == KV_LIST)
            check_values(&at, &keys.item);
    }
    return hash;
}

/* ---- the test ------------------------------------------------------------------------------ */

static struct kv_view *view[VIEWS];
static uint64_t view_digest[VIEWS];

static void step_view(void)
{
    const unsigned v = below(VIEWS);

    if (view[v] == NULL) {
        must(kv_pin(db, &view[v], &err));
        view_digest[v] = digest(view[v]);
        return;
    }
    ck_assert_uint_eq(digest(view[v]), view_digest[v]);
    kv_unpin(view[v]);
    view[v] = NULL;
}

static void step_txn(void)
{
    struct kv_store *const store = kv_db_store(db);
    const bool back = below(8) == 0;
    struct kv_txn *txn;

    must(kv_txn_begin(db, true, 0, &txn, &err));
    const struct kv_mark mark = kv_txn_mark(txn);
    const uint64_t before = back ? kv_store_hash(store) : 0;
    for (unsigned n = 1 + below(4); n > 0; n--)
        step_one(txn, back);
    if (!back) {
        must(kv_txn_commit(txn, NULL, &err));
        return;
    }
    kv_txn_restore(txn, mark);
    ck_assert_uint_eq(kv_store_hash(store), before);
    for (unsigned i = 0; i < KEYS; i++) {
        if (!is_saved[i])
            continue;
        model_clear(&model[i]);
        model[i] = saved[i];
        is_saved[i] = false;
    }
    if (below(2) == 0)
        kv_txn_rollback(txn);
    else
        must(kv_txn_commit(txn, NULL, &err));
}

START_TEST(random_effects_agree_with_a_plain_model)
{
    const struct kvsql_options options = {.no_keeper = true};
    const char *const text = getenv("KVSQL_MODEL_STEPS");
    const uint64_t steps = text != NULL ? strtoull(text, NULL, 10) : STEPS;

    memset(filler, 'z', sizeof(filler));
    must(kv_open_os("", &options, kv_os_real(), NULL, NULL, &db, &err));
    for (uint64_t i = 0; i < steps; i++) {
        step_txn();
        if (below(40) == 0)
            step_view();
        if (below(16) == 0)
            kv_store_tick(kv_db_store(db));
        if (i % (steps / 30 + 1) == 0)
            compare_all();
    }
    compare_all();
    for (unsigned v = 0; v < VIEWS; v++)
        if (view[v] != NULL)
            kv_unpin(view[v]);
    for (unsigned i = 0; i < KEYS; i++)
        model_clear(&model[i]);
    must(kv_close(db, &err));
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_NODE), 0);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_UNDO), 0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_set_timeout(tests, 36000);
    tcase_add_test(tests, random_effects_agree_with_a_plain_model);
}

int main(void)
{
    random_state = rand_of(rand_seed("store_types", 7));
    return unit_run("store types", add);
}

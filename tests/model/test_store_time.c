/* test_store_time.c - deadlines and versions against plain models.
 *
 *   TS10  random deadlines on keys and fields while the clock runs, jumps
 *         forward and is set back: what is visible, in which order deadlines
 *         come (DL5), what a range counts (DL6), what the keeper removes.
 *   TS13  random changes, undos and failures of the wal, the first question
 *         for a version at a random moment: reads of a key that report the
 *         same version report the same content (EN6).
 *
 * KVSQL_MODEL_STEPS makes both longer, KVSQL_SEED sets the run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/clock_fx.h"
#include "tests/lib/rand.h"
#include "tests/lib/store_fx.h"

#define STEPS 6000
#define KEYS 300
#define HASHES 3
#define FIELDS 200
#define STEP_BACK 5000 /* ms */
#define STEP_LEAST 1000 /* ms; less behind is two clocks that jitter (DL2) */

static struct rand_state r;

static void sink_append(void *arg, uint64_t position, const uint8_t *ops,
                        size_t size, uint64_t count)
{
    (void)arg, (void)position, (void)ops, (void)size, (void)count;
}

static void setup(void)
{
    clock_start(1700000000000);
    store_fx_open(&clock_os);
}

static uint64_t steps(void)
{
    const char *const text = getenv("KVSQL_MODEL_STEPS");

    return text != NULL ? strtoull(text, NULL, 10) : STEPS;
}

static struct kv_key numbered(char *name, const char *form, unsigned n)
{
    return kv_key_of(name, (size_t)snprintf(name, 32, form, n));
}

/* ---- TS10 ------------------------------------------------------------------- */

/* A thing with a deadline: in store time, 0 = none. */
struct timed {
    bool there;
    int64_t kept;
};
static struct timed keys[KEYS], fields[HASHES][FIELDS];
static int64_t store_ahead; /* store time - boot time; only grows (DL2) */

static int64_t boot_ms(void)
{
    return (int64_t)(clock_boot / 1000000);
}

static int64_t model_now(void)
{
    if (clock_wall - boot_ms() > store_ahead)
        store_ahead = clock_wall - boot_ms();
    return boot_ms() + store_ahead;
}

/* How far the wall is behind store time: times are shown so much smaller. */
static int64_t model_behind(void)
{
    const int64_t behind = model_now() - clock_wall;

    return behind >= STEP_LEAST ? behind : 0;
}

static bool model_sees(const struct timed *t)
{
    return t->there && (t->kept == 0 || t->kept > model_now());
}

/* A deadline as a client gives it, and as the store keeps it. */
static int64_t some_deadline(int64_t *kept)
{
    int64_t given;

    *kept = 0;
    if (rand_one_in(&r, 3))
        return 0;
    given = clock_wall + (int64_t)rand_between(&r, 1, 3000);
    *kept = given + model_behind();
    return given;
}

static void change_key(struct kv_txn *txn)
{
    const unsigned n = (unsigned)rand_below(&r, KEYS);
    struct timed *const t = &keys[n];
    char name[32];
    const struct kv_key key = numbered(name, "key:%03u", n);
    int64_t kept;
    const int64_t given = some_deadline(&kept);

    if (rand_one_in(&r, 6)) {
        ck_assert_int_eq(kv_del(txn, &key, NULL, &err), KVSQL_OK);
        t->there = false;
    } else if (rand_one_in(&r, 2)) {
        const kvsql_rc rc = kv_expire(txn, &key, given, &err);
        ck_assert_int_eq(rc, model_sees(t) ? KVSQL_OK : KVSQL_NOTFOUND);
        if (rc == KVSQL_OK)
            t->kept = kept;
        else
            t->there = false;
    } else {
        ck_assert_int_eq(kv_set(txn, &key, (kvsql_slice){"v", 1}, given, &err),
                         KVSQL_OK);
        *t = (struct timed){true, kept};
    }
}

/* Hash 0 stays small (packed), the others grow into trees. */
static void change_field(struct kv_txn *txn)
{
    const unsigned h = (unsigned)rand_below(&r, HASHES);
    const unsigned n = (unsigned)rand_below(&r, h == 0 ? 12 : FIELDS);
    struct timed *const t = &fields[h][n];
    char name[32], field_name[32];
    const struct kv_key key = numbered(name, "hash:%u", h),
                        field = numbered(field_name, "f%u", n);
    int64_t kept;
    const int64_t given = some_deadline(&kept);

    if (rand_one_in(&r, 6)) {
        const kvsql_rc rc = kv_hdel(txn, &key, &field, NULL, &err);
        ck_assert(rc == KVSQL_OK || rc == KVSQL_NOTFOUND);
        t->there = false;
    } else if (rand_one_in(&r, 2)) {
        const kvsql_rc rc = kv_hexpire(txn, &key, &field, given, &err);
        ck_assert_int_eq(rc, model_sees(t) ? KVSQL_OK : KVSQL_NOTFOUND);
        if (rc == KVSQL_OK)
            t->kept = kept;
        else
            t->there = false;
    } else {
        ck_assert_int_eq(kv_hset(txn, &key, &field, (kvsql_slice){"v", 1},
                                 given, NULL, &err),
                         KVSQL_OK);
        *t = (struct timed){true, kept};
    }
}

static void pass(void)
{
    pass_ms((int64_t)rand_below(&r, 200));
    const int64_t now = boot_ms() + store_ahead; /* as the store last saw */
    if (rand_one_in(&r, 40))
        clock_wall += (int64_t)rand_below(&r, 2000);
    else if (rand_one_in(&r, 40)) /* to far behind store time, or not at all */
        clock_wall = now - STEP_BACK - (int64_t)rand_below(&r, 5000);
    else if (rand_one_in(&r, 15)) /* and it was put right */
        clock_wall = now;
}

/* ---- what the store says ---- */

struct order {
    int64_t last;
    unsigned count;
};

static bool order_each(void *arg, const struct kv_key *key,
                       const struct kv_item *item)
{
    struct order *const order = arg;
    const int64_t behind = model_behind();
    char digits[8] = {0};

    ck_assert_int_ge(item->expires_at, order->last);
    order->last = item->expires_at;
    ck_assert_uint_eq(key->size, 7);
    memcpy(digits, key->p + 4, 3);
    const struct timed *const t = &keys[atoi(digits)];
    ck_assert(model_sees(t));
    ck_assert_int_eq(item->expires_at, t->kept - behind);
    order->count++;
    return true;
}

static void check_order(const struct kv_at *at)
{
    const int64_t behind = model_behind();
    const int64_t from = clock_wall + (int64_t)rand_below(&r, 1000),
                  to = from + (int64_t)rand_below(&r, 2000);
    struct order order = {.last = INT64_MIN};
    unsigned want = 0;

    for (unsigned i = 0; i < KEYS; i++) {
        const int64_t shown = keys[i].kept - behind;
        want += model_sees(&keys[i]) && keys[i].kept != 0 && shown >= from &&
                shown <= to;
    }
    ck_assert_int_eq(kv_deadlines(at, from, to, order_each, &order, &err),
                     KVSQL_OK);
    ck_assert_uint_eq(order.count, want);
}

static void check_count(const struct kv_at *at)
{
    unsigned low = (unsigned)rand_below(&r, KEYS),
             high = (unsigned)rand_below(&r, KEYS);
    char low_name[32], high_name[32];
    uint64_t want = 0;

    if (low > high) {
        const unsigned other = low;
        low = high;
        high = other;
    }
    for (unsigned i = low; i < high; i++)
        want += model_sees(&keys[i]);
    const struct kv_key lo = numbered(low_name, "key:%03u", low),
                        hi = numbered(high_name, "key:%03u", high);
    ck_assert_uint_eq(kv_count_range(at, &lo, &hi), want);
}

static void check_visible(const struct kv_at *at)
{
    char name[32], field_name[32];
    struct kv_item item;
    struct kv_elem elem;

    for (unsigned i = 0; i < KEYS; i++) {
        const struct kv_key key = numbered(name, "key:%03u", i);
        ck_assert_int_eq(kv_get(at, &key, &item), model_sees(&keys[i]));
    }
    for (unsigned h = 0; h < HASHES; h++) {
        const struct kv_key key = numbered(name, "hash:%u", h);
        const bool there = kv_get(at, &key, &item);
        unsigned seen = 0;
        for (unsigned i = 0; i < FIELDS; i++) {
            const struct kv_key field = numbered(field_name, "f%u", i);
            const bool sees = model_sees(&fields[h][i]);
            ck_assert_int_eq(there && kv_elem_find(at, &item, &field, &elem),
                             sees);
            seen += sees;
        }
        ck_assert_int_eq(there, seen > 0); /* an empty hash is none */
    }
}

/* Its deadline is none, or not older than the 64 ms that bounds count. */
static bool model_may_stay(const struct timed *t)
{
    return t->there && (t->kept == 0 || t->kept >> 6 >= model_now() >> 6);
}

/* The keeper has nothing left to do: what it kept is what is seen, or was until
 * a moment ago. */
static void check_removed(void)
{
    uint64_t least = 0, most = 0;
    struct kv_at at;

    while (kv_store_tick(store))
        continue;
    for (unsigned i = 0; i < KEYS; i++) {
        least += model_sees(&keys[i]);
        most += model_may_stay(&keys[i]);
    }
    for (unsigned h = 0; h < HASHES; h++) {
        bool seen = false, stays = false;
        for (unsigned i = 0; i < FIELDS; i++) {
            seen = seen || model_sees(&fields[h][i]);
            stays = stays || model_may_stay(&fields[h][i]);
        }
        least += seen;
        most += stays;
    }
    struct kv_txn *const txn = begin();
    kv_at_txn(txn, &at);
    ck_assert_uint_ge(kv_count_all(&at), least);
    ck_assert_uint_le(kv_count_all(&at), most);
    commit(txn);
    kv_store_check(store);
}

START_TEST(deadlines_agree_with_a_model_whatever_the_clock_does)
{
    struct kv_at at;

    memset(keys, 0, sizeof(keys));
    memset(fields, 0, sizeof(fields));
    store_ahead = INT64_MIN;
    r = rand_of(rand_seed("deadlines", 10));
    for (uint64_t i = 0; i < steps(); i++) {
        (void)model_now();
        struct kv_txn *const txn = begin();
        for (uint64_t k = rand_below(&r, 12); k > 0; k--) {
            if (rand_one_in(&r, 2))
                change_key(txn);
            else
                change_field(txn);
        }
        kv_at_txn(txn, &at);
        check_count(&at);
        if (rand_one_in(&r, 10))
            check_visible(&at);
        check_order(&at);
        commit(txn);
        pass();
        if (rand_one_in(&r, 4))
            (void)kv_store_tick(store);
        if (rand_one_in(&r, 50))
            check_removed();
    }
}
END_TEST

/* ---- TS13 ------------------------------------------------------------------------ */

#define VERSIONED 40
#define READS_MAX 4096
#define KEPT_VIEWS 4

struct read {
    uint64_t version, content;
};
static struct read reads[VERSIONED][READS_MAX];
static unsigned read_count[VERSIONED];
static uint64_t repeated; /* reads whose version had been seen */

static uint64_t mix(uint64_t hash, const void *p, size_t size)
{
    const uint8_t *const b = p;

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ b[i]) * UINT64_C(0x100000001b3);
    return (hash ^ size) * UINT64_C(0x100000001b3);
}

static uint64_t content_of(const struct kv_at *at, const struct kv_item *item)
{
    uint64_t hash = mix(item->type, &item->expires_at, sizeof(int64_t));
    struct kv_elems elems;
    struct kv_val value;

    if (item->type == KV_STRING) {
        kv_item_string(item, &value);
        return mix(hash, value.p, value.size);
    }
    kv_elems_init(&elems, at, item,
                  item->type == KV_LIST ? KV_ELEMS_INDEX : KV_ELEMS_KEY);
    for (bool ok = kv_elems_first(&elems); ok; ok = kv_elems_next(&elems)) {
        hash = mix(hash, elems.elem.key.p, elems.elem.key.size);
        hash = mix(hash, elems.elem.value.p, elems.elem.value.size);
        hash = mix(hash, &elems.elem.expires_at, sizeof(int64_t));
        hash = mix(hash, &elems.elem.score, sizeof(double));
    }
    return hash;
}

static void read_version(const struct kv_at *at, unsigned n)
{
    char name[32];
    const struct kv_key key = numbered(name, "%u", n);
    struct kv_item item;

    if (!kv_get(at, &key, &item))
        return;
    const struct read now = {.version = kv_item_version(at, &item),
                             .content = content_of(at, &item)};
    for (unsigned i = 0; i < read_count[n]; i++) {
        if (reads[n][i].version != now.version)
            continue;
        ck_assert_uint_eq(reads[n][i].content, now.content);
        repeated++;
        return;
    }
    if (read_count[n] < READS_MAX)
        reads[n][read_count[n]++] = now;
}

/* Keys hold the type that their number says; sets and lists grow to trees. */
static void change_versioned(struct kv_txn *txn)
{
    const unsigned n = (unsigned)rand_below(&r, VERSIONED);
    char name[32], element[32], text[32];
    const struct kv_key key = numbered(name, "%u", n),
                        e = numbered(element, "element-number-%u",
                                     (unsigned)rand_below(&r, 200));
    const size_t size = (size_t)snprintf(text, sizeof(text), "%u",
                                         (unsigned)rand_below(&r, 5));
    const kvsql_slice value = {.p = text, .size = size};
    const int64_t far = clock_wall + 1000000 +
                        (int64_t)rand_below(&r, 3) * 1000;
    kvsql_rc rc = KVSQL_OK;

    if (rand_one_in(&r, 40))
        rc = kv_del(txn, &key, NULL, &err);
    else if (rand_one_in(&r, 20))
        rc = kv_expire(txn, &key, rand_one_in(&r, 2) ? 0 : far, &err);
    else if (n % 5 == 0)
        rc = kv_set(txn, &key, value, 0, &err);
    else if (n % 5 == 1)
        rc = kv_hset(txn, &key, &e, value, 0, NULL, &err);
    else if (n % 5 == 2)
        rc = rand_one_in(&r, 2) ? kv_sadd(txn, &key, &e, NULL, &err)
                                : kv_srem(txn, &key, &e, NULL, &err);
    else if (n % 5 == 3)
        rc = kv_zadd(txn, &key, &e, (double)rand_below(&r, 3), NULL, &err);
    else
        rc = rand_one_in(&r, 2)
                 ? kv_push(txn, &key, KV_RIGHT, value, &err)
                 : kv_lset(txn, &key, rand_below(&r, 100), value, &err);
    ck_assert(rc == KVSQL_OK || rc == KVSQL_NOTFOUND || rc == KVSQL_RANGE);
}

static void versioned_batch(void)
{
    struct kv_txn *const txn = begin();

    for (uint64_t i = rand_below(&r, 6); i > 0; i--) {
        change_versioned(txn);
        const struct kv_mark mark = kv_txn_mark(txn);
        if (rand_one_in(&r, 4)) {
            change_versioned(txn);
            kv_txn_restore(txn, mark);
        }
    }
    if (rand_one_in(&r, 8))
        kv_txn_rollback(txn);
    else
        commit(txn);
}

static void read_some(const struct kv_at *at)
{
    for (unsigned i = 0; i < 6; i++)
        read_version(at, (unsigned)rand_below(&r, VERSIONED));
}

START_TEST(the_same_version_means_the_same_content)
{
    const struct kv_sink sink = {.append = sink_append};
    struct kv_view *view[KEPT_VIEWS] = {NULL};
    struct kv_at at;

    memset(read_count, 0, sizeof(read_count));
    repeated = 0;
    kv_store_sink(store, &sink);
    r = rand_of(rand_seed("versions", 13));
    const uint64_t first_question = rand_below(&r, steps() / 3);
    for (uint64_t i = 0; i < steps(); i++) {
        versioned_batch();
        if (rand_one_in(&r, 3))
            kv_store_release_to(store, store->pos);
        if (rand_one_in(&r, 20))
            kv_store_fail(store); /* positions come again: none was seen */
        /* what is released may be read; a view of it also much later */
        const unsigned slot = (unsigned)rand_below(&r, KEPT_VIEWS);
        if (kv_store_released(store) == store->pos && view[slot] == NULL)
            ck_assert_int_eq(kv_pin(db, &view[slot], &err), KVSQL_OK);
        if (view[slot] != NULL && i > first_question) {
            kv_at_view(view[slot], &at);
            read_some(&at);
        }
        if (view[slot] != NULL && rand_one_in(&r, 6)) {
            kv_unpin(view[slot]);
            view[slot] = NULL;
        }
        (void)kv_store_tick(store);
    }
    for (unsigned i = 0; i < KEPT_VIEWS; i++)
        kv_unpin(view[i]);
    kv_store_release_to(store, store->pos);
    ck_assert_uint_gt(repeated, steps());
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, store_fx_close);
    tcase_set_timeout(tests, 600);
    tcase_add_test(tests,
                   deadlines_agree_with_a_model_whatever_the_clock_does);
    tcase_add_test(tests, the_same_version_means_the_same_content);
}

int main(void)
{
    return unit_run("time and versions of the store", add);
}

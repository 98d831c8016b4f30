/* test_packed.c - runs of small collections against a plain array.
 *
 * Random changes are made to a run and to an array of elements side by side;
 * after each the whole run is read back by every way there is. The seed is
 * printed when a comparison fails. */
#include "kvsql/packed.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL_MAX KV_PACKED_COUNT_MAX
#define BYTES_MAX KV_PACKED_ITEM_MAX

struct model_bytes {
    uint8_t p[BYTES_MAX];
    uint32_t size;
    uint8_t cls;
};

struct model_elem {
    struct model_bytes key, value;
    uint64_t deadline;
    double score;
};

struct model {
    enum kv_type type;
    struct model_elem elem[MODEL_MAX];
    uint32_t count;
};

static uint64_t seed;

static uint64_t random_u64(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * UINT64_C(2685821657736338717);
}

static uint32_t random_below(uint32_t n)
{
    return (uint32_t)(random_u64() >> 33) % n;
}

static struct kv_key key_of(const struct model_bytes *b)
{
    return (struct kv_key){.p = b->p, .size = b->size, .cls = b->cls};
}

static struct model_bytes bytes_of(const char *text)
{
    struct model_bytes b = {.size = (uint32_t)strlen(text), .cls = KV_TEXT};

    memcpy(b.p, text, b.size);
    return b;
}

/* A number of 1-64 bits of either sign, as its decimal. */
static struct model_bytes random_number(void)
{
    char text[32];
    const int64_t bits = (int64_t)(random_u64() >> random_below(64));

    snprintf(text, sizeof(text), "%lld",
             (long long)(random_below(2) ? bits : (int64_t)(0 - (uint64_t)bits)));
    return bytes_of(text);
}

/* Few enough different ones that put meets what is there. */
static struct model_bytes random_bytes(void)
{
    static const char *const odd[] = {
        "", "0", "-0", "00", "-1", "7", "07", "+7", "-9223372036854775808",
        "9223372036854775807", "9223372036854775808", "128", "127", "-128",
        "-129", "32767", "32768", "1e3", " 1", "-", "12345678901234567890123"};
    struct model_bytes b = {.cls = KV_TEXT};

    switch (random_below(6)) {
    case 0:
        return bytes_of(odd[random_below(sizeof(odd) / sizeof(odd[0]))]);
    case 1:
        return random_number();
    case 2: /* BLOB, sometimes with the bytes of a number */
        b.size = random_below(5);
        for (uint32_t i = 0; i < b.size; i++) {
            b.p[i] = (uint8_t)"019\0\xff"[random_below(5)];
        }
        b.cls = KV_BLOB;
        return b;
    case 3: /* one prefix, lengths on both sides of the tag's two sizes */
        b.size = 24 + random_below(BYTES_MAX - 24 + 1);
        memset(b.p, 'p', b.size);
        b.p[b.size - 1] = (uint8_t)('a' + random_below(3));
        return b;
    default:
        b.size = random_below(9);
        for (uint32_t i = 0; i < b.size; i++) {
            b.p[i] = (uint8_t)('a' + random_below(3));
        }
        return b;
    }
}

static bool same_bytes(const struct model_bytes *a, const struct model_bytes *b)
{
    return a->cls == b->cls && a->size == b->size &&
           memcmp(a->p, b->p, a->size) == 0;
}

static int raw_compare(const struct model_bytes *a, const struct model_bytes *b)
{
    const uint32_t n = a->size < b->size ? a->size : b->size;
    const int order = memcmp(a->p, b->p, n);

    return order != 0 ? order : (int)a->size - (int)b->size;
}

static int key_order(const void *x, const void *y)
{
    const struct model_elem *const *a = x, *const *b = y;

    if ((*a)->key.cls != (*b)->key.cls) {
        return (int)(*a)->key.cls - (int)(*b)->key.cls;
    }
    return raw_compare(&(*a)->key, &(*b)->key);
}

static bool score_before(const struct model_elem *a, const struct model_elem *b)
{
    if (a->score != b->score) {
        return a->score < b->score;
    }
    const int order = raw_compare(&a->key, &b->key);
    return order != 0 ? order < 0 : a->key.cls < b->key.cls;
}

static uint32_t model_find(const struct model *m, const struct model_bytes *key)
{
    uint32_t i = 0;

    while (i < m->count && !same_bytes(&m->elem[i].key, key)) {
        i++;
    }
    return i;
}

static void model_remove(struct model *m, uint32_t at, uint32_t count)
{
    memmove(&m->elem[at], &m->elem[at + count],
            (m->count - at - count) * sizeof(m->elem[0]));
    m->count -= count;
}

static void model_insert(struct model *m, uint32_t at,
                         const struct model_elem *elem)
{
    memmove(&m->elem[at + 1], &m->elem[at],
            (m->count - at) * sizeof(m->elem[0]));
    m->elem[at] = *elem;
    m->count++;
}

static void model_put(struct model *m, const struct model_elem *elem)
{
    uint32_t at = model_find(m, &elem->key);

    if (at < m->count && m->type == KV_HASH) {
        m->elem[at] = *elem;
        return;
    }
    if (at < m->count && m->type == KV_SET) {
        return;
    }
    if (at < m->count) {
        model_remove(m, at, 1);
    }
    at = m->count;
    if (m->type == KV_ZSET) {
        at = 0;
        while (at < m->count && score_before(&m->elem[at], elem)) {
            at++;
        }
    }
    model_insert(m, at, elem);
}

static void check_val(const struct kv_val *val, const struct model_bytes *want)
{
    char number[32];

    ck_assert_uint_eq(val->size, want->size);
    ck_assert_mem_eq(val->p, want->p, want->size);
    ck_assert_uint_eq(val->cls, want->cls);
    ck_assert_uint_eq(val->p[val->size], 0);
    if (val->is_int) {
        snprintf(number, sizeof(number), "%lld", (long long)val->number);
        ck_assert_uint_eq(strlen(number), want->size);
        ck_assert_mem_eq(number, want->p, want->size);
    } else {
        ck_assert(val->stable);
    }
}

static void check_item(const struct model *m, const struct kv_packed_item *item,
                       const struct model_elem *want)
{
    check_val(&item->key, &want->key);
    if (m->type == KV_HASH) {
        check_val(&item->value, &want->value);
        ck_assert_uint_eq(item->deadline, want->deadline);
    }
    if (m->type == KV_ZSET) {
        ck_assert_mem_eq(&item->score, &want->score, sizeof(double));
    }
}

static void check_sorted(const struct model *m, const uint8_t *run,
                         uint32_t size)
{
    const struct model_elem *want[MODEL_MAX];
    struct kv_packed_item item;
    uint16_t order[KV_PACKED_COUNT_MAX];

    for (uint32_t i = 0; i < m->count; i++) {
        want[i] = &m->elem[i];
    }
    if (m->type != KV_LIST) {
        qsort(want, m->count, sizeof(want[0]), key_order);
    }
    ck_assert_uint_eq(kv_packed_sort(m->type, run, size, false, order),
                      m->count);
    for (uint32_t i = 0; i < m->count; i++) {
        ck_assert(kv_packed_at(m->type, run, size, order[i], &item));
        check_item(m, &item, want[i]);
    }
}

/* The run says exactly what the model says. */
static void check_run(const struct model *m, const uint8_t *run, uint32_t size)
{
    struct kv_packed_item item;
    uint32_t offset = 2;
    uint64_t lowest = 0;
    uint16_t order[KV_PACKED_COUNT_MAX];

    ck_assert_uint_eq(kv_packed_count(run), m->count);
    for (uint32_t i = 0; i < m->count; i++) {
        const struct model_elem *const e = &m->elem[i];

        ck_assert(kv_packed_at(m->type, run, size, offset, &item));
        ck_assert_uint_eq(item.offset, offset);
        check_item(m, &item, e);
        offset = item.next;
        if (m->type == KV_HASH && e->deadline != 0 &&
            (lowest == 0 || e->deadline < lowest)) {
            lowest = e->deadline;
        }
    }
    ck_assert_uint_eq(offset, size);
    ck_assert(!kv_packed_at(m->type, run, size, offset, &item));
    ck_assert(!kv_packed_index(m->type, run, size, m->count, &item));
    if (m->type == KV_HASH) {
        ck_assert_uint_eq(kv_packed_deadline(run, size), lowest);
    }
    if (m->type == KV_ZSET) {
        ck_assert_uint_eq(kv_packed_sort(KV_ZSET, run, size, true, order),
                          m->count);
        for (uint32_t i = 1; i < m->count; i++) {
            ck_assert_uint_lt(order[i - 1], order[i]);
        }
    }
    check_sorted(m, run, size);
}

static void check_lookups(const struct model *m, const uint8_t *run,
                          uint32_t size)
{
    const struct model_bytes probe = random_bytes();
    const struct kv_key key = key_of(&probe);
    struct kv_packed_item item;

    if (m->count > 0) {
        const uint32_t at = random_below(m->count);

        ck_assert(kv_packed_index(m->type, run, size, at, &item));
        check_item(m, &item, &m->elem[at]);
    }
    if (m->type != KV_LIST) {
        const uint32_t at = model_find(m, &probe);

        ck_assert_int_eq(kv_packed_find(m->type, run, size, &key, &item),
                         at < m->count);
        if (at < m->count) {
            check_item(m, &item, &m->elem[at]);
        }
    }
}

static struct model_elem random_elem(void)
{
    static const double scores[] = {0.0,  -0.0,        1.0,
                                    -1.5, 1e300,       (double)INFINITY,
                                    2.0,  -(double)INFINITY};
    struct model_elem e = {.key = random_bytes(), .value = random_bytes()};

    switch (random_below(4)) {
    case 0:
        e.deadline = 1 + (random_u64() >> 16);
        break;
    case 1:
        e.deadline = random_u64() | UINT64_C(1) << 48;
        break;
    default:
        break;
    }
    e.score = scores[random_below(8)];
    return e;
}

/* One random change of run and model; returns the new size. */
static uint32_t change_keyed(struct model *m, const uint8_t *run,
                             uint32_t size, uint8_t *out)
{
    struct model_elem e = random_elem();
    const struct kv_key key = key_of(&e.key), value = key_of(&e.value);
    const uint32_t at = model_find(m, &e.key);
    bool created = false;

    if (random_below(3) == 0 && m->count > 0) {
        struct kv_packed_item item;
        const uint32_t gone = random_below(m->count);

        ck_assert(kv_packed_index(m->type, run, size, gone, &item));
        model_remove(m, gone, 1);
        return kv_packed_remove(run, size, &item, out);
    }
    const uint32_t grown = kv_packed_put(m->type, run, size, &key, &value,
                                         e.deadline, e.score, out, &created);
    ck_assert_uint_ne(grown, 0);
    ck_assert_int_eq(created, at == m->count);
    model_put(m, &e);
    return grown;
}

static uint32_t change_list(struct model *m, const uint8_t *run, uint32_t size,
                            uint8_t *out)
{
    const struct model_elem e = random_elem();
    const struct kv_key key = key_of(&e.key);
    const uint32_t choice = random_below(4);

    if (choice == 0 && m->count > 0) {
        const uint32_t at = random_below(m->count);

        m->elem[at] = e;
        return kv_packed_list_set(run, size, at, &key, out);
    }
    if (choice == 1) {
        const uint32_t at = random_below(m->count + 1);
        const uint32_t most = m->count - at < 4 ? m->count - at : 4;
        const uint32_t count = random_below(most + 1);

        model_remove(m, at, count);
        return kv_packed_list_remove(run, size, at, count, out);
    }
    const uint32_t at = random_below(m->count + 1);
    model_insert(m, at, &e);
    return kv_packed_list_insert(run, size, at, &key, out);
}

static void run_random(enum kv_type type, uint64_t start, int steps)
{
    static struct model m;
    uint8_t run[2][KV_PACKED_BUFFER];
    unsigned now = 0;
    uint32_t size = kv_packed_init(run[0]);

    seed = start;
    m.type = type;
    m.count = 0;
    for (int i = 0; i < steps; i++) {
        uint32_t next;

        memset(run[!now], 0xdd, sizeof(run[0]));
        next = type == KV_LIST ? change_list(&m, run[now], size, run[!now])
                               : change_keyed(&m, run[now], size, run[!now]);
        ck_assert_uint_le(next, KV_PACKED_BUFFER);
        check_run(&m, run[!now], next);
        check_lookups(&m, run[!now], next);
        if (next > KV_PACKED_SIZE_MAX || m.count == MODEL_MAX) {
            m.count = 0; /* the store would convert; begin again */
            next = kv_packed_init(run[!now]);
        }
        size = next;
        now = !now;
    }
}

START_TEST(random_changes_agree_with_an_array)
{
    static const enum kv_type types[] = {KV_HASH, KV_SET, KV_ZSET, KV_LIST};

    for (uint64_t s = 1; s <= 3; s++) {
        run_random(types[_i], s * 7919 + (uint64_t)_i, 500);
    }
}
END_TEST

START_TEST(an_integer_takes_as_few_bytes_as_it_needs)
{
    static const struct {
        const char *text;
        uint32_t size;
    } rows[] = {
        {"0", 2}, {"-1", 2}, {"127", 2}, {"128", 3}, {"-128", 2},
        {"-129", 3}, {"32767", 3}, {"32768", 4}, {"8388607", 4},
        {"8388608", 5}, {"2147483647", 5}, {"2147483648", 6},
        {"549755813887", 6}, {"549755813888", 7},
        {"140737488355327", 7}, {"140737488355328", 8},
        {"36028797018963967", 8}, {"36028797018963968", 9},
        {"9223372036854775807", 9}, {"-9223372036854775808", 9},
        {"-9223372036854775809", 22}, {"", 2}, {"-0", 4}, {"01", 4}};
    uint8_t out[KV_PACKED_ITEM_MAX + 3];
    struct kv_val val;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct model_bytes b = bytes_of(rows[i].text);
        const struct kv_key key = key_of(&b);

        ck_assert_uint_eq(kv_packed_item_size(&key), rows[i].size);
        ck_assert_uint_eq(kv_packed_item_write(out, &key), rows[i].size);
        ck_assert_uint_eq(kv_packed_item_read(out, &val), rows[i].size);
        check_val(&val, &b);
    }
}
END_TEST

START_TEST(a_blob_of_digits_is_not_the_integer)
{
    const struct kv_key text = {(const uint8_t *)"12", 2, KV_TEXT};
    const struct kv_key blob = {(const uint8_t *)"12", 2, KV_BLOB};
    uint8_t a[KV_PACKED_BUFFER], b[KV_PACKED_BUFFER];
    struct kv_packed_item item;
    bool created;
    uint32_t size = kv_packed_init(a);

    size = kv_packed_put(KV_SET, a, size, &text, NULL, 0, 0, b, &created);
    ck_assert(created);
    ck_assert(!kv_packed_find(KV_SET, b, size, &blob, &item));
    size = kv_packed_put(KV_SET, b, size, &blob, NULL, 0, 0, a, &created);
    ck_assert(created);
    ck_assert_uint_eq(kv_packed_count(a), 2);
    ck_assert(kv_packed_find(KV_SET, a, size, &blob, &item));
    ck_assert(!item.key.is_int);
    ck_assert_uint_eq(item.key.cls, KV_BLOB);
}
END_TEST

/* (128 elements of a zset are always longer than a run may be.) */
START_TEST(the_129th_element_is_refused_and_a_known_one_is_not)
{
    static const enum kv_type types[] = {KV_HASH, KV_SET, KV_LIST};
    const enum kv_type type = types[_i];
    uint8_t run[2][KV_PACKED_BUFFER];
    uint32_t size = kv_packed_init(run[0]);
    bool created = false;

    for (uint32_t i = 0; i <= KV_PACKED_COUNT_MAX; i++) {
        const uint8_t *const from = run[i & 1];
        uint8_t *const to = run[!(i & 1)];
        char text[16];

        snprintf(text, sizeof(text), "%u", i % KV_PACKED_COUNT_MAX + 1000);
        struct kv_key key = {(const uint8_t *)text, 4, KV_TEXT};
        if (i == KV_PACKED_COUNT_MAX && type != KV_LIST) {
            ck_assert_uint_eq(kv_packed_put(type, from, size, &key, &key, 0, 5,
                                            to, &created),
                              size);
            ck_assert(!created);
            key = (struct kv_key){(const uint8_t *)"new", 3, KV_TEXT};
        }
        const uint32_t next =
            type == KV_LIST
                ? kv_packed_list_insert(from, size, i / 2, &key, to)
                : kv_packed_put(type, from, size, &key, &key, 0, i, to,
                                &created);
        if (i < KV_PACKED_COUNT_MAX) {
            ck_assert_uint_gt(next, size);
            ck_assert_uint_eq(kv_packed_count(to), i + 1);
            size = next;
        } else {
            ck_assert_uint_eq(next, 0);
            ck_assert_uint_eq(kv_packed_count(from), KV_PACKED_COUNT_MAX);
        }
    }
}
END_TEST

START_TEST(a_value_over_64_bytes_is_remembered_after_it_went)
{
    uint8_t a[KV_PACKED_BUFFER], b[KV_PACKED_BUFFER], bytes[65];
    struct kv_packed_item item;
    bool created;
    uint32_t size = kv_packed_init(a);

    memset(bytes, 'x', sizeof(bytes));
    const struct kv_key field = {bytes, 1, KV_TEXT};
    const struct kv_key at_limit = {bytes, 64, KV_TEXT};
    const struct kv_key above = {bytes, 65, KV_TEXT};

    size = kv_packed_put(KV_HASH, a, size, &field, &at_limit, 0, 0, b,
                         &created);
    ck_assert_uint_eq(b[0] & KV_PACKED_BIG, 0);
    size = kv_packed_put(KV_HASH, b, size, &field, &above, 0, 0, a, &created);
    ck_assert_uint_eq(a[0] & KV_PACKED_BIG, KV_PACKED_BIG);
    ck_assert(kv_packed_find(KV_HASH, a, size, &field, &item));
    size = kv_packed_remove(a, size, &item, b);
    ck_assert_uint_eq(size, 2);
    ck_assert_uint_eq(b[0] & KV_PACKED_BIG, KV_PACKED_BIG);
}
END_TEST

START_TEST(a_key_longer_than_an_item_is_never_found)
{
    uint8_t run[KV_PACKED_BUFFER], bytes[KV_PACKED_ITEM_MAX + 1];
    struct kv_packed_item item;
    const uint32_t size = kv_packed_init(run);
    const struct kv_key key = {bytes, sizeof(bytes), KV_TEXT};

    memset(bytes, 'k', sizeof(bytes));
    ck_assert(!kv_packed_find(KV_SET, run, size, &key, &item));
}
END_TEST

START_TEST(ties_of_score_go_by_bytes_and_zero_has_one_place)
{
    static const char *const members[] = {"b", "-5", "a", "12", "c"};
    static const char *const sorted[] = {"-5", "12", "a", "b", "c"};
    uint8_t run[2][KV_PACKED_BUFFER];
    struct kv_packed_item item;
    uint32_t size = kv_packed_init(run[0]);
    bool created;

    for (uint32_t i = 0; i < 5; i++) {
        const struct model_bytes b = bytes_of(members[i]);
        const struct kv_key key = key_of(&b);

        size = kv_packed_put(KV_ZSET, run[i & 1], size, &key, NULL, 0,
                             i % 2 ? -0.0 : 0.0, run[!(i & 1)], &created);
    }
    for (uint32_t i = 0; i < 5; i++) {
        const struct model_bytes want = bytes_of(sorted[i]);

        ck_assert(kv_packed_index(KV_ZSET, run[1], size, i, &item));
        check_val(&item.key, &want);
    }
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("packed");
    TCase *const tc = tcase_create("packed");

    tcase_add_loop_test(tc, random_changes_agree_with_an_array, 0, 4);
    tcase_add_test(tc, an_integer_takes_as_few_bytes_as_it_needs);
    tcase_add_test(tc, a_blob_of_digits_is_not_the_integer);
    tcase_add_loop_test(tc, the_129th_element_is_refused_and_a_known_one_is_not,
                        0, 3);
    tcase_add_test(tc, a_value_over_64_bytes_is_remembered_after_it_went);
    tcase_add_test(tc, a_key_longer_than_an_item_is_never_found);
    tcase_add_test(tc, ties_of_score_go_by_bytes_and_zero_has_one_place);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);

    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

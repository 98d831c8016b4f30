/* packed.c - small collections as one run of bytes (EN1).
 *
 * A run is at most about 1 KiB and 128 elements, so everything here walks it
 * from the left; one step of the walk is a load, a shift and an add. A key is
 * looked for by its encoding: equal keys of one class have equal items,
 * because integers are kept as kind 2 exactly when they are canonical
 * decimals of class TEXT.
 *
 *   tag:   1 byte below 128, else 2: length << 2 | kind as LEB128
 *   item:  tag | length bytes | NUL when kind is TEXT or BLOB
 *   score: byte 33 (8 << 2 | BLOB) | 8 bytes | no NUL
 *
 * Always true:
 *   PK1  run[1] elements fill [2, size) exactly.
 *   PK2  an int item has as few bytes as its number allows.
 *   PK3  no two elements of a hash, set or zset have equal keys.
 *   PK4  a zset is ascending by score (-0.0 equals 0.0), ties by bytes, then
 *        TEXT before BLOB.
 *
 * Thread: any; all functions are pure. */
#include "kvsql/packed.h"

#include <string.h>

#include "kvsql/base/num.h"

#define PACKED_HEAD 2                /* flags and count */
#define PACKED_SCORE_TAG 33          /* 8 << 2 | BLOB */
#define PACKED_SCORE_SIZE 9          /* tag and 8 bytes */
#define PACKED_ENCODED_MAX (KV_PACKED_ITEM_MAX + 3) /* tag 2, NUL 1 */
#define PACKED_DEADLINE_MAX 9        /* tag and 8 bytes */
#define PACKED_SHORT_DEADLINE (UINT64_C(1) << 48) /* below: 6 bytes */
#define PACKED_LISTPACK_VALUE_MAX 64 /* Redis's limit behind KV_PACKED_BIG */

enum packed_kind {
    PACKED_TEXT = KV_TEXT,
    PACKED_BLOB = KV_BLOB,
    PACKED_INT = 2,
    PACKED_DEADLINE = 3
};

/* ---- one item ------------------------------------------------------------- */

struct packed_tag {
    uint32_t size; /* bytes of the tag itself */
    uint32_t length;
    uint32_t kind;
};

static inline struct packed_tag packed_tag_get(const uint8_t *p)
{
    uint32_t t = p[0];
    uint32_t size = 1;

    if (KV_UNLIKELY(t >= 128)) {
        t = (t & 127) | ((uint32_t)p[1] << 7);
        size = 2;
    }
    return (struct packed_tag){size, t >> 2, t & 3};
}

static inline uint32_t packed_tag_put(uint8_t *out, uint32_t length,
                                      uint32_t kind)
{
    const uint32_t t = length << 2 | kind;

    if (t < 128) {
        out[0] = (uint8_t)t;
        return 1;
    }
    KV_ASSERT(t < 128u * 128u);
    out[0] = (uint8_t)(t | 128);
    out[1] = (uint8_t)(t >> 7);
    return 2;
}

/* The item behind the one at p. */
static inline const uint8_t *packed_skip(const uint8_t *p)
{
    const struct packed_tag tag = packed_tag_get(p);

    return p + tag.size + tag.length + (tag.kind < PACKED_INT);
}

/* Bytes that hold `number` in two's complement (PK2). */
static uint32_t packed_int_size(int64_t number)
{
    const uint64_t magnitude = (uint64_t)(number ^ (number >> 63));

    if (magnitude == 0) {
        return 1;
    }
    return (uint32_t)(64 - __builtin_clzll(magnitude)) / 8 + 1;
}

static bool packed_is_int(const struct kv_key *value, int64_t *number)
{
    if (value->cls != KV_TEXT || value->size == 0 ||
        value->size >= KV_INT_TEXT_MAX) {
        return false;
    }
    if (value->p[0] != '-' && (value->p[0] < '0' || value->p[0] > '9')) {
        return false;
    }
    return kv_num_int(value->p, value->size, number);
}

static int64_t packed_int_get(const uint8_t *p, uint32_t size)
{
    uint64_t bits = 0;

    KV_ASSERT(size >= 1 && size <= 8);
    for (uint32_t i = 0; i < size; i++) {
        bits |= (uint64_t)p[i] << (8 * i);
    }
    const unsigned unused = 64 - 8 * size;
    return (int64_t)(bits << unused) >> unused;
}

uint32_t kv_packed_item_size(const struct kv_key *value)
{
    int64_t number;

    if (packed_is_int(value, &number)) {
        return 1 + packed_int_size(number);
    }
    return (value->size < 32 ? 1 : 2) + value->size + 1;
}

uint32_t kv_packed_item_write(uint8_t *out, const struct kv_key *value)
{
    int64_t number;

    KV_ASSERT(value->size <= KV_PACKED_ITEM_MAX);
    KV_ASSERT(value->cls <= KV_BLOB);
    if (packed_is_int(value, &number)) {
        const uint32_t size = packed_int_size(number);

        packed_tag_put(out, size, PACKED_INT);
        for (uint32_t i = 0; i < size; i++) {
            out[1 + i] = (uint8_t)((uint64_t)number >> (8 * i));
        }
        return 1 + size;
    }
    const uint32_t head = packed_tag_put(out, value->size, value->cls);
    if (value->size > 0) {
        memcpy(out + head, value->p, value->size);
    }
    out[head + value->size] = 0;
    return head + value->size + 1;
}

uint32_t kv_packed_item_read(const uint8_t *p, struct kv_val *out)
{
    const struct packed_tag tag = packed_tag_get(p);

    KV_ASSERT(tag.kind != PACKED_DEADLINE);
    if (tag.kind == PACKED_INT) {
        out->number = packed_int_get(p + tag.size, tag.length);
        out->size = (uint32_t)kv_num_format_int(out->scratch, out->number);
        out->p = (const uint8_t *)out->scratch;
        out->cls = KV_TEXT;
        out->stable = false;
        out->is_int = true;
        return tag.size + tag.length;
    }
    out->p = p + tag.size;
    out->size = tag.length;
    out->cls = (uint8_t)tag.kind;
    out->stable = true;
    out->is_int = false;
    out->number = 0;
    return tag.size + tag.length + 1;
}

static uint32_t packed_deadline_write(uint8_t *out, uint64_t deadline)
{
    const uint32_t size = deadline < PACKED_SHORT_DEADLINE ? 6 : 8;

    packed_tag_put(out, size, PACKED_DEADLINE);
    for (uint32_t i = 0; i < size; i++) {
        out[1 + i] = (uint8_t)(deadline >> (8 * i));
    }
    return 1 + size;
}

/* Reads the deadline at p, if there is one; returns its bytes. */
static inline uint32_t packed_deadline_read(const uint8_t *p,
                                            uint64_t *deadline)
{
    const struct packed_tag tag = packed_tag_get(p);

    *deadline = 0;
    if (tag.kind != PACKED_DEADLINE) {
        return 0;
    }
    KV_ASSERT(tag.length == 6 || tag.length == 8);
    for (uint32_t i = 0; i < tag.length; i++) {
        *deadline |= (uint64_t)p[1 + i] << (8 * i);
    }
    return 1 + tag.length;
}

/* ---- one element ---------------------------------------------------------- */

/* Where the element's field, member or item begins. */
static inline uint32_t packed_key_at(enum kv_type type)
{
    return type == KV_ZSET ? PACKED_SCORE_SIZE : 0;
}

static inline const uint8_t *packed_next(enum kv_type type, const uint8_t *p)
{
    p = packed_skip(p + packed_key_at(type));
    if (type == KV_HASH) {
        if ((p[0] & 3) == PACKED_DEADLINE) {
            p += 1 + (p[0] >> 2);
        }
        p = packed_skip(p);
    }
    return p;
}

static inline double packed_score(const uint8_t *p)
{
    double score;

    KV_ASSERT(p[0] == PACKED_SCORE_TAG);
    memcpy(&score, p + 1, sizeof(score));
    return score;
}

static void packed_decode(enum kv_type type, const uint8_t *run,
                          uint32_t offset, struct kv_packed_item *item)
{
    const uint8_t *p = run + offset;

    item->offset = offset;
    item->score = 0;
    item->deadline = 0;
    if (type == KV_ZSET) {
        item->score = packed_score(p);
        p += PACKED_SCORE_SIZE;
    }
    p += kv_packed_item_read(p, &item->key);
    if (type == KV_HASH) {
        p += packed_deadline_read(p, &item->deadline);
        p += kv_packed_item_read(p, &item->value);
    } else {
        item->value.p = (const uint8_t *)"";
        item->value.size = 0;
        item->value.cls = KV_TEXT;
        item->value.stable = false;
        item->value.is_int = false;
    }
    item->next = (uint32_t)(p - run);
}

uint32_t kv_packed_init(uint8_t *out)
{
    out[0] = 0;
    out[1] = 0;
    return PACKED_HEAD;
}

bool kv_packed_at(enum kv_type type, const uint8_t *run, uint32_t size,
                  uint32_t offset, struct kv_packed_item *item)
{
    KV_ASSERT(offset >= PACKED_HEAD && offset <= size);
    if (offset == size) {
        return false;
    }
    packed_decode(type, run, offset, item);
    KV_ASSERT(item->next <= size); /* PK1 */
    return true;
}

/* Offset of the element whose key is encoded as `key`, or 0. */
static uint32_t packed_search(enum kv_type type, const uint8_t *run,
                              uint32_t size, const uint8_t *key,
                              uint32_t key_size)
{
    const uint8_t *p = run + PACKED_HEAD;
    const uint8_t *const end = run + size;
    const uint32_t skip = packed_key_at(type);
    const struct packed_tag tag = packed_tag_get(key);
    /* the byte most likely to differ: the lowest of a number, else the last */
    const uint32_t probe =
        tag.kind == PACKED_INT || tag.length == 0 ? 1 : key_size - 2;

    while (p < end) {
        const uint8_t *const k = p + skip;

        /* equal tags have equal sizes, so the probe lies inside the item */
        if (k[0] == key[0] && (tag.size == 1 || k[1] == key[1]) &&
            k[probe] == key[probe] && memcmp(k, key, key_size) == 0) {
            return (uint32_t)(p - run);
        }
        p = packed_next(type, p);
    }
    KV_ASSERT(p == end); /* PK1 */
    return 0;
}

bool kv_packed_find(enum kv_type type, const uint8_t *run, uint32_t size,
                    const struct kv_key *key, struct kv_packed_item *item)
{
    uint8_t encoded[PACKED_ENCODED_MAX];

    if (key->size > KV_PACKED_ITEM_MAX) {
        return false;
    }
    const uint32_t key_size = kv_packed_item_write(encoded, key);
    const uint32_t offset = packed_search(type, run, size, encoded, key_size);
    if (offset == 0) {
        return false;
    }
    packed_decode(type, run, offset, item);
    return true;
}

/* Offset of element `index`; index == count gives the end of the run. */
static uint32_t packed_offset(enum kv_type type, const uint8_t *run,
                              uint32_t size, uint32_t index)
{
    const uint8_t *p = run + PACKED_HEAD;

    KV_ASSERT(index <= run[1]);
    if (index == run[1]) {
        return size;
    }
    for (; index > 0; index--) {
        p = packed_next(type, p);
    }
    KV_ASSERT(p < run + size); /* PK1 */
    return (uint32_t)(p - run);
}

bool kv_packed_index(enum kv_type type, const uint8_t *run, uint32_t size,
                     uint32_t index, struct kv_packed_item *item)
{
    if (index >= run[1]) {
        return false;
    }
    packed_decode(type, run, packed_offset(type, run, size, index), item);
    return true;
}

uint64_t kv_packed_deadline(const uint8_t *run, uint32_t size)
{
    uint64_t lowest = 0;

    if (!(run[0] & KV_PACKED_DEADLINES)) {
        return 0;
    }
    for (const uint8_t *p = run + PACKED_HEAD; p < run + size;) {
        uint64_t deadline;

        p = packed_skip(p);
        p += packed_deadline_read(p, &deadline);
        p = packed_skip(p);
        if (deadline != 0 && (lowest == 0 || deadline < lowest)) {
            lowest = deadline;
        }
    }
    return lowest;
}

/* ---- order ---------------------------------------------------------------- */

static int packed_compare_bytes(const uint8_t *a, uint32_t a_size,
                                const uint8_t *b, uint32_t b_size)
{
    const int order = memcmp(a, b, a_size < b_size ? a_size : b_size);

    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

struct packed_sort_key {
    uint64_t head; /* first 8 bytes, big endian, zero padded */
    const uint8_t *p;
    uint16_t size, offset;
    uint8_t cls;
};

struct packed_sorter {
    struct packed_sort_key keys[KV_PACKED_COUNT_MAX];
    char digits[KV_PACKED_COUNT_MAX][KV_INT_TEXT_MAX];
};

static bool packed_sort_less(const struct packed_sort_key *a,
                             const struct packed_sort_key *b)
{
    if (a->cls != b->cls) {
        return a->cls < b->cls; /* KO1 */
    }
    if (a->head != b->head) {
        return a->head < b->head;
    }
    return packed_compare_bytes(a->p, a->size, b->p, b->size) < 0;
}

/* Fill one key from the item at p. */
static void packed_sort_load(struct packed_sort_key *key, char *digits,
                             const uint8_t *p, uint16_t offset)
{
    const struct packed_tag tag = packed_tag_get(p);
    uint8_t head[8] = {0};

    key->p = p + tag.size;
    key->size = (uint16_t)tag.length;
    key->cls = (uint8_t)tag.kind;
    key->offset = offset;
    if (tag.kind == PACKED_INT) {
        const int64_t number = packed_int_get(p + tag.size, tag.length);

        key->size = (uint16_t)kv_num_format_int(digits, number);
        key->p = (const uint8_t *)digits;
        key->cls = KV_TEXT;
    }
    memcpy(head, key->p, key->size < 8 ? key->size : 8);
    memcpy(&key->head, head, 8);
    key->head = __builtin_bswap64(key->head);
}

/* Merge the sorted runs from[lo, mid) and from[mid, hi) into to[lo, hi). */
static void packed_merge(const struct packed_sort_key *keys,
                         const uint8_t *from, uint8_t *to, uint32_t lo,
                         uint32_t mid, uint32_t hi)
{
    uint32_t a = lo, b = mid;

    for (uint32_t i = lo; i < hi; i++) {
        if (a < mid && (b >= hi || !packed_sort_less(&keys[from[b]],
                                                     &keys[from[a]]))) {
            to[i] = from[a++];
        } else {
            to[i] = from[b++];
        }
    }
}

static void packed_sort_keys(const struct packed_sort_key *keys,
                             uint32_t count,
                             uint16_t out[KV_PACKED_COUNT_MAX])
{
    uint8_t order[2][KV_PACKED_COUNT_MAX];
    unsigned from = 0;

    for (uint32_t i = 0; i < count; i++) {
        order[0][i] = (uint8_t)i;
    }
    for (uint32_t width = 1; width < count; width *= 2) {
        for (uint32_t lo = 0; lo < count; lo += 2 * width) {
            const uint32_t mid = lo + width < count ? lo + width : count;
            const uint32_t hi = mid + width < count ? mid + width : count;

            packed_merge(keys, order[from], order[!from], lo, mid, hi);
        }
        from = !from;
    }
    for (uint32_t i = 0; i < count; i++) {
        out[i] = keys[order[from][i]].offset;
    }
}

uint32_t kv_packed_sort(enum kv_type type, const uint8_t *run, uint32_t size,
                        bool by_score, uint16_t out[KV_PACKED_COUNT_MAX])
{
    const bool as_is = type == KV_LIST || (type == KV_ZSET && by_score);
    const uint32_t skip = packed_key_at(type);
    const uint8_t *p = run + PACKED_HEAD;
    struct packed_sorter sorter;
    uint32_t count = 0;

    while (p < run + size) {
        const uint16_t offset = (uint16_t)(p - run);

        KV_ASSERT(count < KV_PACKED_COUNT_MAX);
        if (as_is) {
            out[count] = offset;
        } else {
            packed_sort_load(&sorter.keys[count], sorter.digits[count],
                             p + skip, offset);
        }
        count++;
        p = packed_next(type, p);
    }
    KV_ASSERT(count == run[1]); /* PK1 */
    if (!as_is) {
        packed_sort_keys(sorter.keys, count, out);
    }
    return count;
}

/* ---- change --------------------------------------------------------------- */

/* run with [at, at + gone) replaced by `size_new` bytes; returns the size. */
static uint32_t packed_splice(const uint8_t *run, uint32_t size, uint32_t at,
                              uint32_t gone, const uint8_t *bytes,
                              uint32_t size_new, uint8_t *out)
{
    KV_ASSERT(at >= PACKED_HEAD && at + gone <= size);
    KV_ASSERT(size - gone + size_new <= KV_PACKED_BUFFER);
    memmove(out + at + size_new, run + at + gone, size - at - gone);
    if (out != run) {
        memcpy(out, run, at);
    }
    if (size_new > 0) {
        memcpy(out + at, bytes, size_new);
    }
    return size - gone + size_new;
}

static uint32_t packed_hash_put(const uint8_t *run, uint32_t size,
                                const struct kv_key *field,
                                const struct kv_key *value, uint64_t deadline,
                                uint8_t *out, bool *created)
{
    uint8_t bytes[2 * PACKED_ENCODED_MAX + PACKED_DEADLINE_MAX];
    const uint32_t field_size = kv_packed_item_write(bytes, field);
    const uint32_t found = packed_search(KV_HASH, run, size, bytes, field_size);
    uint32_t used = field_size;

    *created = found == 0;
    if (found == 0 && run[1] == KV_PACKED_COUNT_MAX) {
        return 0;
    }
    if (deadline != 0) {
        used += packed_deadline_write(bytes + used, deadline);
    }
    used += kv_packed_item_write(bytes + used, value);
    if (found == 0) {
        const uint32_t grown =
            packed_splice(run, size, size, 0, bytes, used, out);
        out[1]++;
        return grown;
    }
    const uint8_t *const next = packed_next(KV_HASH, run + found);
    return packed_splice(run, size, found, (uint32_t)(next - run) - found,
                         bytes, used, out);
}

static uint32_t packed_set_put(const uint8_t *run, uint32_t size,
                               const struct kv_key *member, uint8_t *out,
                               bool *created)
{
    uint8_t bytes[PACKED_ENCODED_MAX];
    const uint32_t used = kv_packed_item_write(bytes, member);

    *created = packed_search(KV_SET, run, size, bytes, used) == 0;
    if (!*created) {
        memcpy(out, run, size);
        return size;
    }
    if (run[1] == KV_PACKED_COUNT_MAX) {
        return 0;
    }
    const uint32_t grown = packed_splice(run, size, size, 0, bytes, used, out);
    out[1]++;
    return grown;
}

/* Offset of the first element behind (score, member) in order (PK4). */
static uint32_t packed_zset_place(const uint8_t *run, uint32_t size,
                                  double score, const struct kv_key *member)
{
    const uint8_t *p = run + PACKED_HEAD;

    while (p < run + size) {
        const double other = packed_score(p);

        if (other > score) {
            break;
        }
        if (other == score) {
            struct kv_val val;

            kv_packed_item_read(p + PACKED_SCORE_SIZE, &val);
            const int order = packed_compare_bytes(val.p, val.size, member->p,
                                                   member->size);
            if (order > 0 || (order == 0 && val.cls > member->cls)) {
                break;
            }
        }
        p = packed_next(KV_ZSET, p);
    }
    return (uint32_t)(p - run);
}

static uint32_t packed_zset_put(const uint8_t *run, uint32_t size,
                                const struct kv_key *member, double score,
                                uint8_t *out, bool *created)
{
    uint8_t bytes[PACKED_SCORE_SIZE + PACKED_ENCODED_MAX];
    uint8_t without[KV_PACKED_BUFFER];
    const uint32_t used = PACKED_SCORE_SIZE +
        kv_packed_item_write(bytes + PACKED_SCORE_SIZE, member);
    const uint32_t found =
        packed_search(KV_ZSET, run, size, bytes + PACKED_SCORE_SIZE,
                      used - PACKED_SCORE_SIZE);

    KV_ASSERT(score == score); /* NaN never gets here (EN3) */
    packed_tag_put(bytes, 8, PACKED_BLOB);
    memcpy(bytes + 1, &score, sizeof(score));
    *created = found == 0;
    if (found == 0 && run[1] == KV_PACKED_COUNT_MAX) {
        return 0;
    }
    if (found != 0) {
        if (memcmp(run + found, bytes, PACKED_SCORE_SIZE) == 0) {
            memcpy(out, run, size);
            return size;
        }
        size = packed_splice(run, size, found, used, NULL, 0, without);
        run = without;
    }
    const uint32_t at = packed_zset_place(run, size, score, member);
    const uint32_t grown = packed_splice(run, size, at, 0, bytes, used, out);
    out[1] = (uint8_t)(out[1] + (found == 0));
    return grown;
}

uint32_t kv_packed_put(enum kv_type type, const uint8_t *run, uint32_t size,
                       const struct kv_key *key, const struct kv_key *value,
                       uint64_t deadline, double score, uint8_t *out,
                       bool *created)
{
    bool big = key->size > PACKED_LISTPACK_VALUE_MAX;
    uint32_t grown;

    KV_ASSERT(key->size <= KV_PACKED_ITEM_MAX);
    switch (type) {
    case KV_HASH:
        KV_ASSERT(value->size <= KV_PACKED_ITEM_MAX);
        big = big || value->size > PACKED_LISTPACK_VALUE_MAX;
        grown = packed_hash_put(run, size, key, value, deadline, out, created);
        break;
    case KV_SET:
        grown = packed_set_put(run, size, key, out, created);
        break;
    default:
        KV_ASSERT(type == KV_ZSET);
        grown = packed_zset_put(run, size, key, score, out, created);
        break;
    }
    if (grown != 0 && big) {
        out[0] |= KV_PACKED_BIG;
    }
    if (grown != 0 && deadline != 0) {
        out[0] |= KV_PACKED_DEADLINES;
    }
    return grown;
}

uint32_t kv_packed_remove(const uint8_t *run, uint32_t size,
                          const struct kv_packed_item *item, uint8_t *out)
{
    KV_ASSERT(item->offset < item->next && run[1] > 0);
    const uint32_t left = packed_splice(run, size, item->offset,
                                        item->next - item->offset, NULL, 0,
                                        out);
    out[1]--;
    return left;
}

uint32_t kv_packed_list_insert(const uint8_t *run, uint32_t size,
                               uint32_t index, const struct kv_key *value,
                               uint8_t *out)
{
    uint8_t bytes[PACKED_ENCODED_MAX];

    if (run[1] == KV_PACKED_COUNT_MAX) {
        return 0;
    }
    const uint32_t used = kv_packed_item_write(bytes, value);
    const uint32_t at = packed_offset(KV_LIST, run, size, index);
    const uint32_t grown = packed_splice(run, size, at, 0, bytes, used, out);
    out[1]++;
    return grown;
}

uint32_t kv_packed_list_set(const uint8_t *run, uint32_t size, uint32_t index,
                            const struct kv_key *value, uint8_t *out)
{
    uint8_t bytes[PACKED_ENCODED_MAX];

    KV_ASSERT(index < run[1]);
    const uint32_t used = kv_packed_item_write(bytes, value);
    const uint32_t at = packed_offset(KV_LIST, run, size, index);
    const uint8_t *const next = packed_next(KV_LIST, run + at);
    return packed_splice(run, size, at, (uint32_t)(next - run) - at, bytes,
                         used, out);
}

uint32_t kv_packed_list_remove(const uint8_t *run, uint32_t size,
                               uint32_t index, uint32_t count, uint8_t *out)
{
    KV_ASSERT(index <= run[1] && count <= run[1] - index);
    const uint32_t at = packed_offset(KV_LIST, run, size, index);
    const uint32_t end = packed_offset(KV_LIST, run, size, index + count);
    const uint32_t left =
        packed_splice(run, size, at, end - at, NULL, 0, out);

    out[1] = (uint8_t)(out[1] - count);
    return left;
}

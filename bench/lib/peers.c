/* peers.c - a dict of Redis's shape and a bare table; see peers.h.
 *
 * Thread: one. */
#include "bench/lib/peers.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define STRING_HEADER 3 /* length, room, kind */

struct peer_object {
    uint32_t kind;
    uint32_t refs;
    char *p; /* the string behind this header */
};
struct peer_entry {
    char *key; /* behind its header */
    struct peer_object *value;
    struct peer_entry *next;
};
struct peer_half {
    struct peer_entry **bucket;
    size_t size, used;
};
static struct {
    struct peer_half half[2]; /* the second is there while it is filled */
    size_t moved;             /* buckets of the first that are empty for good */
    bool moving;
} dict;

static void *peer_alloc(size_t size)
{
    void *const p = malloc(size);

    if (p == NULL)
        exit(1);
    return p;
}

static void *peer_zalloc(size_t count, size_t size)
{
    void *const p = calloc(count, size);

    if (p == NULL)
        exit(1);
    return p;
}

/* ---- SipHash-1-2 ----------------------------------------------------------------- */

#define ROTATE(x, n) (((x) << (n)) | ((x) >> (64 - (n))))

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = ROTATE(v[1], 13) ^ v[0];
    v[0] = ROTATE(v[0], 32);
    v[2] += v[3];
    v[3] = ROTATE(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = ROTATE(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = ROTATE(v[1], 17) ^ v[2];
    v[2] = ROTATE(v[2], 32);
}

static uint64_t sip_hash(const void *bytes, size_t size)
{
    static const uint64_t seed[2] = {UINT64_C(0x6a09e667f3bcc908),
                                     UINT64_C(0xbb67ae8584caa73b)};
    const uint8_t *p = bytes;
    uint64_t v[4] = {seed[0] ^ UINT64_C(0x736f6d6570736575),
                     seed[1] ^ UINT64_C(0x646f72616e646f6d),
                     seed[0] ^ UINT64_C(0x6c7967656e657261),
                     seed[1] ^ UINT64_C(0x7465646279746573)};
    uint64_t word, last = (uint64_t)size << 56;

    for (size_t n = size / 8; n > 0; n--, p += 8) {
        memcpy(&word, p, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    for (size_t i = 0; i < size % 8; i++)
        last |= (uint64_t)p[i] << (8 * i);
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* ---- the dict ----------------------------------------------------------------------- */

/* Bytes behind a string's header, a NUL behind them. */
static char *string_write(char *header, const void *bytes, size_t size)
{
    header[0] = header[1] = (char)size;
    header[2] = 1;
    memcpy(header + STRING_HEADER, bytes, size);
    header[STRING_HEADER + size] = 0;
    return header + STRING_HEADER;
}

static size_t string_size(const char *string)
{
    return (uint8_t)string[-STRING_HEADER];
}

/* Move one bucket that is not empty, or step over ten that are. */
static void dict_move(void)
{
    struct peer_half *const from = &dict.half[0], *const to = &dict.half[1];

    for (unsigned empty = 0; from->bucket[dict.moved] == NULL;) {
        dict.moved++;
        if (++empty == 10)
            return;
    }
    for (struct peer_entry *e = from->bucket[dict.moved], *next; e != NULL;
         e = next) {
        const size_t at =
            sip_hash(e->key, string_size(e->key)) & (to->size - 1);
        next = e->next;
        e->next = to->bucket[at];
        to->bucket[at] = e;
        from->used--;
        to->used++;
    }
    from->bucket[dict.moved++] = NULL;
    if (from->used > 0)
        return;
    free(from->bucket);
    *from = *to;
    *to = (struct peer_half){.size = 0};
    dict.moving = false;
}

static void dict_room(void)
{
    struct peer_half *const first = &dict.half[0];

    if (dict.moving || first->used < first->size)
        return;
    struct peer_half bigger = {.size = first->size ? first->size * 2 : 4};
    bigger.bucket = peer_zalloc(bigger.size, sizeof(*bigger.bucket));
    if (first->size == 0) {
        *first = bigger;
        return;
    }
    dict.half[1] = bigger;
    dict.moved = 0;
    dict.moving = true;
}

static struct peer_entry *dict_find(const char *key, size_t size,
                                    uint64_t hash)
{
    for (unsigned h = 0; h <= (dict.moving ? 1u : 0u); h++) {
        const struct peer_half *const half = &dict.half[h];
        for (struct peer_entry *e = half->bucket[hash & (half->size - 1)];
             e != NULL; e = e->next)
            if (string_size(e->key) == size && memcmp(e->key, key, size) == 0)
                return e;
    }
    return NULL;
}

void peer_dict_put(const uint8_t *key, uint64_t number)
{
    struct peer_object *const value =
        peer_alloc(sizeof(*value) + STRING_HEADER + sizeof(number) + 1);
    *value = (struct peer_object){.kind = 8, .refs = 1};
    value->p = string_write((char *)(value + 1), &number, sizeof(number));
    char *const copy = string_write(peer_alloc(STRING_HEADER + KEY_SIZE + 1),
                                    key, KEY_SIZE);
    if (dict.moving)
        dict_move();
    dict_room();
    const uint64_t hash = sip_hash(copy, KEY_SIZE);
    if (dict_find(copy, KEY_SIZE, hash) != NULL)
        exit(1); /* keys are random: none comes twice */
    struct peer_half *const half = &dict.half[dict.moving ? 1 : 0];
    struct peer_entry **const bucket = &half->bucket[hash & (half->size - 1)];
    struct peer_entry *const e = peer_alloc(sizeof(*e));
    *e = (struct peer_entry){.key = copy, .value = value, .next = *bucket};
    *bucket = e;
    half->used++;
}

uint64_t peer_dict_get(const uint8_t *key)
{
    uint64_t number = 0;

    if (dict.moving)
        dict_move();
    const struct peer_entry *const e =
        dict_find((const char *)key, KEY_SIZE, sip_hash(key, KEY_SIZE));
    if (e != NULL)
        memcpy(&number, e->value->p, sizeof(number));
    return number;
}

static uint64_t dict_bucket_sum(const struct peer_half *half, size_t at)
{
    uint64_t sum = 0;

    if (half->size == 0)
        return 0;
    for (const struct peer_entry *e = half->bucket[at & (half->size - 1)];
         e != NULL; e = e->next)
        sum += (uint64_t)e->key[0] + (uint64_t)e->value->p[0];
    return sum;
}

static uint64_t bits_reversed(uint64_t x)
{
    x = (x >> 1 & UINT64_C(0x5555555555555555)) |
        (x & UINT64_C(0x5555555555555555)) << 1;
    x = (x >> 2 & UINT64_C(0x3333333333333333)) |
        (x & UINT64_C(0x3333333333333333)) << 2;
    x = (x >> 4 & UINT64_C(0x0f0f0f0f0f0f0f0f)) |
        (x & UINT64_C(0x0f0f0f0f0f0f0f0f)) << 4;
    return __builtin_bswap64(x);
}

/* The cursor counts from its top bit down. No half is being moved, or this
 * one's buckets are visited with those that they split into. */
uint64_t peer_dict_scan(void)
{
    const struct peer_half *const small = &dict.half[0];
    const struct peer_half *const large = &dict.half[dict.moving ? 1 : 0];
    uint64_t sum = 0, cursor = 0;

    do {
        sum += dict_bucket_sum(small, cursor);
        for (size_t at = cursor; large != small && at < large->size;
             at += small->size)
            sum += dict_bucket_sum(large, at);
        cursor |= ~(uint64_t)(small->size - 1);
        cursor = bits_reversed(bits_reversed(cursor) + 1);
    } while (cursor != 0);
    return sum;
}

uint64_t peer_dict_walk(void)
{
    uint64_t sum = 0;

    for (unsigned h = 0; h < 2; h++)
        for (size_t i = 0; i < dict.half[h].size; i++)
            sum += dict_bucket_sum(&dict.half[h], i);
    return sum;
}

/* ---- the table ----------------------------------------------------------------------- */

struct peer_slot {
    uint8_t key[KEY_SIZE]; /* key[0] 0: free */
    uint64_t value;
};
static struct peer_slot *table;
static size_t table_size, table_used;

static uint64_t table_hash(const uint8_t *key)
{
    uint64_t a, b;

    memcpy(&a, key, 8);
    memcpy(&b, key + 8, 8);
    a = (a ^ (b >> 29) ^ (b << 31)) * UINT64_C(0x9e3779b97f4a7c15);
    return a ^ (a >> 32);
}

static struct peer_slot *table_find(const uint8_t *key)
{
    size_t at = table_hash(key) & (table_size - 1);

    while (table[at].key[0] != 0 && memcmp(table[at].key, key, KEY_SIZE) != 0)
        at = (at + 1) & (table_size - 1);
    return &table[at];
}

void peer_table_put(const uint8_t *key, uint64_t value)
{
    if (table_used++ * 2 >= table_size) {
        struct peer_slot *const old = table;
        const size_t size = table_size;
        table_size = size ? size * 2 : 4;
        table = peer_zalloc(table_size, sizeof(*table));
        for (size_t i = 0; i < size; i++)
            if (old[i].key[0] != 0)
                *table_find(old[i].key) = old[i];
        free(old);
    }
    struct peer_slot *const slot = table_find(key);
    memcpy(slot->key, key, KEY_SIZE);
    slot->value = value;
}

uint64_t peer_table_get(const uint8_t *key)
{
    return table_find(key)->value;
}

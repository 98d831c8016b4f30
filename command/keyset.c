/* keyset.c - keys, and the numbers of those who want to know.
 *
 * Always true:
 *   KS1  The numbers of a key ascend, and there is at least one.
 *   KS2  items is the sum of all counts; neither it nor keys counts what is
 *        dead.
 *
 * Thread: as keyset.h says. */
#include "command/keyset.h"

#include <stdatomic.h>
#include <string.h>

#include "command/context.h"
#include "kvsql/base/mem.h"

#define KEYSET_SLOTS_MIN 64
#define KEYSET_IDS_MIN 4

/* ---- hashing ------------------------------------------------------------ */

/* Keys are clients' words: which of them meet in a slot is not for them to
 * choose. */
static uint64_t keyset_seed(void)
{
    static _Atomic uint64_t seed;
    uint64_t none = 0;

    if (atomic_load_explicit(&seed, memory_order_relaxed) == 0) {
        (void)atomic_compare_exchange_strong(
            &seed, &none, cmd_random(UINT64_MAX - 1) + 1);
    }
    return atomic_load_explicit(&seed, memory_order_relaxed);
}

static uint64_t keyset_mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 29;
}

static uint64_t keyset_hash(kvsql_slice key)
{
    const uint8_t *p = key.p;
    uint64_t hash = keyset_mix(keyset_seed(), key.size), word;
    size_t size = key.size;

    for (; size >= sizeof(word); size -= sizeof(word), p += sizeof(word)) {
        memcpy(&word, p, sizeof(word));
        hash = keyset_mix(hash, word);
    }
    word = 0;
    if (size > 0) {
        memcpy(&word, p, size);
    }
    return keyset_mix(hash, word);
}

static struct cmd_keyset_key **keyset_slot(const struct cmd_keyset *set,
                                           uint64_t hash)
{
    return &set->slots[hash & (set->slot_count - 1)];
}

static struct cmd_keyset_key *keyset_search(const struct cmd_keyset *set,
                                            kvsql_slice key, uint64_t hash)
{
    struct cmd_keyset_key *at =
        set->slot_count == 0 ? NULL : *keyset_slot(set, hash);

    while (at != NULL && (at->hash != hash || at->size != key.size ||
                          memcmp(at->bytes, key.p, key.size) != 0)) {
        at = at->chain;
    }
    return at;
}

struct cmd_keyset_key *cmd_keyset_find(const struct cmd_keyset *set,
                                       kvsql_slice key)
{
    return set->keys == 0 ? NULL : keyset_search(set, key, keyset_hash(key));
}

/* ---- order -------------------------------------------------------------- */

int cmd_keyset_order(const void *a, size_t a_size, const void *b,
                     size_t b_size)
{
    const size_t size = a_size < b_size ? a_size : b_size;
    const int order = size == 0 ? 0 : memcmp(a, b, size);

    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

static void keyset_unlink(struct cmd_keyset *set, struct cmd_keyset_key *key)
{
    if (key->older != NULL) {
        key->older->newer = key->newer;
    } else {
        set->oldest = key->newer;
    }
    if (key->newer != NULL) {
        key->newer->older = key->older;
    } else {
        set->newest = key->older;
    }
}

/* Behind `older`, NULL: as the oldest. */
static void keyset_link(struct cmd_keyset *set, struct cmd_keyset_key *key,
                        struct cmd_keyset_key *older)
{
    key->older = older;
    key->newer = older != NULL ? older->newer : set->oldest;
    if (older != NULL) {
        older->newer = key;
    } else {
        set->oldest = key;
    }
    if (key->newer != NULL) {
        key->newer->older = key;
    } else {
        set->newest = key;
    }
}

void cmd_keyset_settle(struct cmd_keyset *set)
{
    struct cmd_keyset_key *key = set->newest, *older = key->older;

    while (older != NULL && cmd_keyset_order(older->bytes, older->size,
                                             key->bytes, key->size) > 0) {
        older = older->older;
    }
    keyset_unlink(set, key);
    keyset_link(set, key, older);
}

/* ---- adding ------------------------------------------------------------- */

/* As many slots as keys, at least. A table that cannot grow is only slower. */
static bool keyset_room(struct cmd_keyset *set)
{
    const size_t count =
        set->slot_count == 0 ? KEYSET_SLOTS_MIN : 2 * set->slot_count;
    struct cmd_keyset_key **slots, **old = set->slots;
    const size_t old_size = set->slot_count * sizeof(*slots);

    if (set->keys < set->slot_count) {
        return true;
    }
    slots = kv_mem_zalloc(KV_MEM_CLIENT, count * sizeof(*slots));
    if (slots == NULL) {
        return set->slot_count > 0;
    }
    set->slots = slots;
    set->slot_count = count;
    for (struct cmd_keyset_key *key = set->oldest; key != NULL;
         key = key->newer) {
        struct cmd_keyset_key **slot = keyset_slot(set, key->hash);

        key->chain = *slot;
        *slot = key;
    }
    kv_mem_free(KV_MEM_CLIENT, old, old_size);
    return true;
}

static struct cmd_keyset_key *keyset_new(struct cmd_keyset *set,
                                         kvsql_slice bytes, uint64_t hash)
{
    struct cmd_keyset_key *key, **slot;

    if (!keyset_room(set)) {
        return NULL;
    }
    key = kv_mem_alloc(KV_MEM_CLIENT, sizeof(*key) + bytes.size);
    if (key == NULL) {
        return NULL;
    }
    slot = keyset_slot(set, hash);
    *key = (struct cmd_keyset_key){.chain = *slot,
                                   .hash = hash,
                                   .size = (uint32_t)bytes.size};
    if (bytes.size > 0) {
        memcpy(key->bytes, bytes.p, bytes.size);
    }
    *slot = key;
    keyset_link(set, key, set->newest);
    set->keys++;
    return key;
}

/* Where the number stands, or would. */
static uint32_t keyset_place(const struct cmd_keyset_key *key, uint64_t id)
{
    const uint64_t *ids = cmd_keyset_ids(key);
    uint32_t low = 0, high = key->count;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;

        if (ids[middle] < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool cmd_keyset_has(const struct cmd_keyset_key *key, uint64_t id)
{
    const uint32_t at = keyset_place(key, id);

    return at < key->count && cmd_keyset_ids(key)[at] == id;
}

/* Room for one more number behind the first. */
static bool keyset_ids_room(struct cmd_keyset_key *key)
{
    const uint32_t cap = key->cap > 0 ? 2 * key->cap : KEYSET_IDS_MIN;
    uint64_t *ids;

    if (key->count < key->cap) {
        return true;
    }
    ids = kv_mem_realloc(KV_MEM_CLIENT, key->ids, key->cap * sizeof(*ids),
                         cap * sizeof(*ids));
    if (ids == NULL) {
        return false;
    }
    if (key->ids == NULL) {
        ids[0] = key->one;
    }
    key->ids = ids;
    key->cap = cap;
    return true;
}

/* Is the number there now? */
static bool keyset_put(struct cmd_keyset *set, struct cmd_keyset_key *key,
                       uint64_t id)
{
    const uint32_t at = keyset_place(key, id);

    if (cmd_keyset_has(key, id)) {
        return true;
    }
    if (key->count == 0) {
        key->one = id;
    } else {
        if (!keyset_ids_room(key)) {
            return false;
        }
        memmove(key->ids + at + 1, key->ids + at,
                (key->count - at) * sizeof(*key->ids));
        key->ids[at] = id;
    }
    key->count++;
    set->items++;
    return true;
}

struct cmd_keyset_key *cmd_keyset_add(struct cmd_keyset *set, kvsql_slice bytes,
                                      uint64_t id)
{
    const uint64_t hash = keyset_hash(bytes);
    struct cmd_keyset_key *key = keyset_search(set, bytes, hash);

    if (key == NULL) {
        key = keyset_new(set, bytes, hash);
    }
    return key != NULL && keyset_put(set, key, id) ? key : NULL;
}

/* ---- removing ----------------------------------------------------------- */

static void keyset_free(struct cmd_keyset_key *key)
{
    kv_mem_free(KV_MEM_CLIENT, key->ids, key->cap * sizeof(*key->ids));
    kv_mem_free(KV_MEM_CLIENT, key, sizeof(*key) + key->size);
}

/* Nothing is left: not even the slots. */
static void keyset_slots_free(struct cmd_keyset *set)
{
    kv_mem_free(KV_MEM_CLIENT, set->slots,
                set->slot_count * sizeof(struct cmd_keyset_key *));
    set->slots = NULL;
    set->slot_count = 0;
}

void cmd_keyset_drop(struct cmd_keyset *set, struct cmd_keyset_key *key)
{
    struct cmd_keyset_key **link = keyset_slot(set, key->hash);

    while (*link != key) {
        link = &(*link)->chain;
    }
    *link = key->chain;
    keyset_unlink(set, key);
    set->keys--;
    set->items -= key->count;
    keyset_free(key);
    if (set->keys == 0 && set->slot_count > KEYSET_SLOTS_MIN) {
        keyset_slots_free(set);
    }
}

bool cmd_keyset_remove(struct cmd_keyset *set, kvsql_slice bytes, uint64_t id)
{
    struct cmd_keyset_key *key = cmd_keyset_find(set, bytes);
    uint32_t at;

    if (key == NULL || !cmd_keyset_has(key, id)) {
        return false;
    }
    at = keyset_place(key, id);
    if (key->count == 1) {
        cmd_keyset_drop(set, key);
        return true;
    }
    memmove(key->ids + at, key->ids + at + 1,
            (key->count - at - 1) * sizeof(*key->ids));
    key->count--;
    set->items--;
    return true;
}

void cmd_keyset_clear(struct cmd_keyset *set)
{
    if (set->newest != NULL) {
        set->newest->newer = set->dead;
        set->dead = set->oldest;
    }
    set->oldest = set->newest = NULL;
    set->keys = set->items = 0;
    keyset_slots_free(set);
}

bool cmd_keyset_reap(struct cmd_keyset *set, unsigned max)
{
    while (set->dead != NULL && max > 0) {
        struct cmd_keyset_key *key = set->dead;

        set->dead = key->newer;
        keyset_free(key);
        max--;
    }
    return set->dead != NULL;
}

/* keyset.h - keys, and the numbers of those who want to know when one changes.
 *
 * A hash table of keys in order of age, each with its numbers sorted. Clearing
 * it costs nothing at once: what it held is dead, and freed in steps.
 *
 * Thread: whoever holds the lock that the owner keeps it under. */
#ifndef KVSQL_COMMAND_KEYSET_H
#define KVSQL_COMMAND_KEYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvsql/inside.h"

struct cmd_keyset_key {
    struct cmd_keyset_key *chain, *older, *newer;
    uint64_t hash, one;
    uint64_t *ids; /* `cap` of them; NULL: `one` is the only one */
    uint32_t count, cap, size;
    uint8_t bytes[];
};

struct cmd_keyset {
    struct cmd_keyset_key **slots; /* slot_count, a power of two */
    size_t slot_count;
    struct cmd_keyset_key *oldest, *newest, *dead;
    uint64_t keys, items;
};

/* Zeroed is empty. Put the number with the key; NULL: no memory. */
KV_INTERNAL struct cmd_keyset_key *cmd_keyset_add(struct cmd_keyset *set,
                                                  kvsql_slice key,
                                                  uint64_t id);
KV_INTERNAL struct cmd_keyset_key *cmd_keyset_find(const struct cmd_keyset *set,
                                                   kvsql_slice key);
/* The numbers of a key, ascending; key->count of them. */
static inline const uint64_t *cmd_keyset_ids(const struct cmd_keyset_key *key)
{
    return key->ids != NULL ? key->ids : &key->one;
}
KV_INTERNAL bool cmd_keyset_has(const struct cmd_keyset_key *key, uint64_t id);
/* Take a key out. Its memory goes. */
KV_INTERNAL void cmd_keyset_drop(struct cmd_keyset *set,
                                 struct cmd_keyset_key *key);
/* One number less, and the key with the last of them. False: not there. */
KV_INTERNAL bool cmd_keyset_remove(struct cmd_keyset *set, kvsql_slice key,
                                   uint64_t id);
/* memcmp, and what is shorter comes first. */
KV_INTERNAL int cmd_keyset_order(const void *a, size_t a_size, const void *b,
                                 size_t b_size);
/* The newest key goes where it belongs in that order, if the others are in
 * it; from oldest to newest is that order then. */
KV_INTERNAL void cmd_keyset_settle(struct cmd_keyset *set);
/* Empty at once. */
KV_INTERNAL void cmd_keyset_clear(struct cmd_keyset *set);
/* Free what is dead, `max` keys at most; true: there is more. */
KV_INTERNAL bool cmd_keyset_reap(struct cmd_keyset *set, unsigned max);

#endif

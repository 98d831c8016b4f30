/* lru.h - when and how often a key was used; see lru.c.
 *
 * Thread: the holder of the store lock. */
#ifndef KVSQL_LRU_H
#define KVSQL_LRU_H

#include "kvsql/store_private.h"

/* The sentence behind both refusals of OBJECT, as in Redis. */
#define KV_LRU_NOTE                                                           \
    "Please note that when switching between policies at runtime LRU and "    \
    "LFU data will take some time to adjust."

/* The key is used: note it in the bytes at `place` (NULL: it has none). */
KV_INTERNAL void kv_lru_use(struct kv_txn *txn, const struct kv_key *key,
                            const uint8_t *place);
/* The bytes for an entry that is being written, into `out`; only while
 * store->lru_mode wants some. Writing is a use. */
KV_INTERNAL const uint8_t *kv_lru_written(struct kv_txn *txn,
                                          const struct kv_key *key,
                                          const struct kv_cell *given,
                                          uint8_t out[KV_LRU_SIZE]);
/* Seconds since the last use; 0 when that is not known. */
KV_INTERNAL uint32_t kv_lru_idle(const struct kv_store *store,
                                 const uint8_t *place, uint64_t now);
/* The counter, decayed; that of a new key when it is not known. */
KV_INTERNAL uint32_t kv_lru_freq(const struct kv_store *store,
                                 const uint8_t *place, uint64_t now);
/* What the bytes mean from now on; the keeper does the rest. */
KV_INTERNAL void kv_lru_select(struct kv_store *store, enum kv_lru_mode wanted);
/* Keeper: a slice of that rest. True when there is more to do now. Takes the
 * lock itself. */
KV_INTERNAL bool kv_lru_sweep_some(struct kv_store *store);
/* Uniform in [0, below); below > 0. Not for secrets. */
KV_INTERNAL uint64_t kv_random(struct kv_store *store, uint64_t below);

#endif

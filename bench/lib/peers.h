/* peers.h - what bench/store measures the tree beside, in the same process.
 *
 * The dict has the shape of Redis's main dictionary, written from its public
 * description: SipHash-1-2 of the key under a random seed, chained entries of
 * 24 bytes, the key in a block of its own behind a header of 3 bytes, the value
 * in another behind an object header of 16 bytes, and two halves: a full one is
 * moved over to one of twice the size bucket by bucket, with each operation.
 * Insertion hashes once and looks for the key in its chains; the server around
 * it looks twice.
 *
 * The table is the floor: open addressing, entries of key and value inside, at
 * most half full, doubled at once, a hash of a few instructions.
 *
 * Keys have KEY_SIZE bytes, the first of them not 0; values have 8.
 * Thread: one. */
#ifndef BENCH_LIB_PEERS_H
#define BENCH_LIB_PEERS_H

#include <stdint.h>

#define KEY_SIZE 16

void peer_dict_put(const uint8_t *key, uint64_t value);
uint64_t peer_dict_get(const uint8_t *key);
/* Reads a byte of each key and value in the order of SCAN's cursor, or from
 * bucket to bucket; returns their sum. */
uint64_t peer_dict_scan(void);
uint64_t peer_dict_walk(void);

void peer_table_put(const uint8_t *key, uint64_t value);
uint64_t peer_table_get(const uint8_t *key);

#endif

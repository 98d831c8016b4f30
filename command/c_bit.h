/* c_bit.h - what the commands on bits share (c_bit.c, c_bitfield.c).
 *
 * Thread: the caller's of cmd_run(). */
#ifndef KVSQL_COMMAND_C_BIT_H
#define KVSQL_COMMAND_C_BIT_H

#include "command/context.h"

/* Argument `index` as the offset of a bit; "#n" counts in units of `scale`
 * bits unless that is 0. False: answered. */
KV_INTERNAL bool cmd_bit_offset(struct cmd_context *c, unsigned index,
                                unsigned scale, uint64_t *offset);
/* The string of key, empty when absent; not copied: valid until the next
 * change. False: wrong type, answered. */
KV_INTERNAL bool cmd_bit_string(struct cmd_context *c, const struct kv_key *key,
                                struct kv_item *item, struct kv_val *value,
                                bool *found);
/* Overwrite bytes from byte `offset` on. False: answered. */
KV_INTERNAL bool cmd_bit_patch(struct cmd_context *c, const struct kv_key *key,
                               uint64_t offset, const void *p, size_t size);

#endif

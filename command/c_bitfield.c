/* c_bitfield.c - strings as arrays of small integers: BITFIELD, BITFIELD_RO.
 *
 * A field is `bits` bits from a bit offset on, its highest bit first; signed
 * ones are two's complement. Fields may overlap and need no alignment. All
 * operations are parsed before the first one runs; then each is done on the
 * string as the ones before left it, and a field that changes is a patch of at
 * most 9 bytes.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/c_bit.h"

#include <string.h>

#include "kvsql/base/num.h"

#define BITFIELD_SPAN 9 /* bytes that a field of 64 bits may touch */

enum bitfield_verb { BITFIELD_GET, BITFIELD_SET, BITFIELD_INCRBY };
enum bitfield_overflow { BITFIELD_WRAP, BITFIELD_SAT, BITFIELD_FAIL };

struct bitfield_op {
    enum bitfield_verb verb;
    enum bitfield_overflow overflow;
    bool is_signed;
    unsigned bits;   /* 1..64, unsigned 1..63 */
    uint64_t offset; /* of the first bit */
    int64_t number;  /* SET, INCRBY */
};

/* ---- arguments ---------------------------------------------------------- */

/* "i16", "u8". False: answered. */
static bool bitfield_type(struct cmd_context *c, unsigned index,
                          struct bitfield_op *op)
{
    const kvsql_slice text = c->argv[index];
    const char *p = text.p;
    int64_t bits;

    op->is_signed = text.size > 0 && p[0] == 'i';
    if (text.size < 2 || (p[0] != 'i' && p[0] != 'u') ||
        !kv_num_int(p + 1, text.size - 1, &bits) || bits < 1 ||
        bits > (op->is_signed ? 64 : 63)) {
        cmd_fail(c, KVSQL_INVALID,
                 "ERR Invalid bitfield type. Use something like i16 u8. Note "
                 "that u64 is not supported but i64 is.");
        return false;
    }
    op->bits = (unsigned)bits;
    return true;
}

/* WRAP, SAT, FAIL. False: answered. */
static bool bitfield_overflow(struct cmd_context *c, unsigned index,
                              enum bitfield_overflow *overflow)
{
    if (cmd_is(c, index, "WRAP")) {
        *overflow = BITFIELD_WRAP;
    } else if (cmd_is(c, index, "SAT")) {
        *overflow = BITFIELD_SAT;
    } else if (cmd_is(c, index, "FAIL")) {
        *overflow = BITFIELD_FAIL;
    } else {
        cmd_fail(c, KVSQL_SYNTAX, "ERR Invalid OVERFLOW type specified");
        return false;
    }
    return true;
}

/* The operation at argument *index, which moves behind it; *is_op tells it
 * from an OVERFLOW, which holds for the ones to come. False: answered. */
static bool bitfield_parse(struct cmd_context *c, unsigned *index,
                           struct bitfield_op *op, bool *is_op)
{
    const unsigned i = *index, rest = c->argc - i - 1;

    *is_op = true;
    if (cmd_is(c, i, "OVERFLOW") && rest >= 1) {
        *is_op = false;
        *index = i + 2;
        return bitfield_overflow(c, i + 1, &op->overflow);
    }
    if (cmd_is(c, i, "GET") && rest >= 2) {
        op->verb = BITFIELD_GET;
    } else if (cmd_is(c, i, "SET") && rest >= 3) {
        op->verb = BITFIELD_SET;
    } else if (cmd_is(c, i, "INCRBY") && rest >= 3) {
        op->verb = BITFIELD_INCRBY;
    } else {
        cmd_fail_syntax(c);
        return false;
    }
    *index = i + (op->verb == BITFIELD_GET ? 3 : 4);
    return bitfield_type(c, i + 1, op) &&
           cmd_bit_offset(c, i + 2, op->bits, &op->offset) &&
           (op->verb == BITFIELD_GET || cmd_int(c, i + 3, &op->number, NULL));
}

/* Look at all operations before the first runs. *bytes is what the string must
 * have for the writes among them. False: answered. */
static bool bitfield_check(struct cmd_context *c, bool *writes,
                           uint64_t *bytes, unsigned *count)
{
    struct bitfield_op op = {0};

    *writes = false;
    *bytes = 0;
    *count = 0;
    for (unsigned i = 2; i < c->argc;) {
        bool is_op;

        if (!bitfield_parse(c, &i, &op, &is_op)) {
            return false;
        }
        *count += is_op;
        if (is_op && op.verb != BITFIELD_GET) {
            const uint64_t end = (op.offset + op.bits + 7) / 8;

            *writes = true;
            *bytes = end > *bytes ? end : *bytes;
        }
    }
    return true;
}

/* ---- fields as numbers -------------------------------------------------- */

/* The bytes of a field, zero where the string ends before. */
static void bitfield_bytes(const struct kv_val *value,
                           const struct bitfield_op *op,
                           uint8_t bytes[BITFIELD_SPAN])
{
    const uint64_t first = op->offset / 8;
    size_t size = BITFIELD_SPAN;

    memset(bytes, 0, BITFIELD_SPAN);
    if (first < value->size) {
        size = value->size - first < size ? value->size - (size_t)first : size;
        memcpy(bytes, value->p + first, size);
    }
}

static int64_t bitfield_load(const uint8_t bytes[BITFIELD_SPAN],
                             const struct bitfield_op *op)
{
    const unsigned skip = op->offset & 7;
    uint64_t bits = 0;

    for (unsigned i = 0; i < 8; i++) {
        bits = bits << 8 | bytes[i];
    }
    /* The field's first bit becomes the highest. */
    bits = bits << skip | (skip > 0 ? (uint64_t)bytes[8] >> (8 - skip) : 0);
    return op->is_signed ? (int64_t)bits >> (64 - op->bits)
                         : (int64_t)(bits >> (64 - op->bits));
}

static void bitfield_store(uint8_t bytes[BITFIELD_SPAN],
                           const struct bitfield_op *op, int64_t number)
{
    const unsigned skip = op->offset & 7;

    for (unsigned i = 0; i < op->bits; i++) {
        const unsigned at = skip + i;
        const uint8_t mask = (uint8_t)(0x80 >> (at & 7));

        if ((uint64_t)number >> (op->bits - 1 - i) & 1) {
            bytes[at / 8] |= mask;
        } else {
            bytes[at / 8] &= (uint8_t)~mask;
        }
    }
}

/* The low bits of a number, as a field would give them back. */
static int64_t bitfield_wrap(const struct bitfield_op *op, uint64_t number)
{
    const unsigned drop = 64 - op->bits;

    return op->is_signed ? (int64_t)(number << drop) >> drop
                         : (int64_t)(number << drop >> drop);
}

/* What a field becomes that holds `old`. False: it does not fit, and such
 * operations fail. */
static bool bitfield_next(const struct bitfield_op *op, int64_t old,
                          int64_t *next)
{
    const int64_t max = (int64_t)(
        (UINT64_C(1) << (op->bits - (op->is_signed ? 1 : 0))) - 1);
    const int64_t min = op->is_signed ? -max - 1 : 0;
    const int64_t base = op->verb == BITFIELD_INCRBY ? old : 0;
    int64_t sum;
    int over = 0; /* -1 below min, 1 above max */

    if (__builtin_add_overflow(base, op->number, &sum)) {
        over = op->number < 0 ? -1 : 1;
    } else if (sum > max || (sum < min && !op->is_signed &&
                             op->verb == BITFIELD_SET)) {
        over = 1; /* an unsigned field is set to a negative: a huge one */
    } else if (sum < min) {
        over = -1;
    }
    if (over == 0 || op->overflow == BITFIELD_WRAP) {
        *next = bitfield_wrap(op, (uint64_t)base + (uint64_t)op->number);
        return true;
    }
    *next = over > 0 ? max : min;
    return op->overflow == BITFIELD_SAT;
}

/* ---- running ------------------------------------------------------------ */

/* One operation, and its reply. False: answered. */
static bool bitfield_run(struct cmd_context *c, const struct kv_key *key,
                         const struct bitfield_op *op)
{
    uint8_t bytes[BITFIELD_SPAN];
    struct kv_item item;
    struct kv_val value;
    int64_t old, next;
    bool found;

    if (!cmd_bit_string(c, key, &item, &value, &found)) {
        return false;
    }
    bitfield_bytes(&value, op, bytes);
    old = bitfield_load(bytes, op);
    if (op->verb == BITFIELD_GET) {
        cmd_reply_int(c->reply, old);
        return true;
    }
    if (!bitfield_next(op, old, &next)) {
        cmd_reply_null(c->reply);
        return true;
    }
    cmd_reply_int(c->reply, op->verb == BITFIELD_SET ? old : next);
    if (next == old) {
        return true;
    }
    bitfield_store(bytes, op, next);
    return cmd_bit_patch(c, key, op->offset / 8, bytes,
                         ((op->offset & 7) + op->bits + 7) / 8);
}

/* Writes make room first, also those that then fail for their overflow.
 * False: answered. */
static bool bitfield_grow(struct cmd_context *c, const struct kv_key *key,
                          uint64_t bytes)
{
    struct kv_item item;
    struct kv_val value;
    bool found;

    if (!cmd_bit_string(c, key, &item, &value, &found)) {
        return false;
    }
    return value.size >= bytes || cmd_bit_patch(c, key, bytes - 1, "", 1);
}

static void bitfield(struct cmd_context *c, bool read_only)
{
    const struct kv_key key = cmd_key(c, 1);
    struct bitfield_op op = {0};
    struct kv_item item;
    uint64_t bytes;
    unsigned count;
    bool writes;

    if (!bitfield_check(c, &writes, &bytes, &count)) {
        return;
    }
    if (writes && read_only) {
        cmd_fail(c, KVSQL_INVALID,
                 "ERR BITFIELD_RO only supports the GET subcommand");
        return;
    }
    if (writes ? !bitfield_grow(c, &key, bytes)
               : cmd_get_type(c, &key, KV_STRING, &item) ==
                     KVSQL_WRONGTYPE) {
        return;
    }
    cmd_reply_array(c->reply, count);
    for (unsigned i = 2; i < c->argc;) {
        bool is_op;

        if (!bitfield_parse(c, &i, &op, &is_op) ||
            (is_op && !bitfield_run(c, &key, &op))) {
            return;
        }
    }
}

void cmd_do_bitfield(struct cmd_context *c)
{
    bitfield(c, false);
}

void cmd_do_bitfield_ro(struct cmd_context *c)
{
    bitfield(c, true);
}

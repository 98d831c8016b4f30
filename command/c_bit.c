/* c_bit.c - strings as rows of bits: SETBIT GETBIT BITCOUNT BITPOS BITOP.
 *
 * Bit 0 is the highest bit of byte 0, so a row of bits reads as its bytes do;
 * bits behind the end are 0. Searching goes by words of 8 bytes; a changed bit
 * is a patch of one byte. BITOP writes its result where it will stay (bits.c):
 * what a long value costs is memory that is touched for the first time.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/c_bit.h"

#include <string.h>

#include "command/bits.h"
#include "kvsql/base/mem.h"
#include "kvsql/base/num.h"

#define BIT_TEXT_OFFSET "ERR bit offset is not an integer or out of range"
#define BIT_TEXT_VALUE "ERR bit is not an integer or out of range"
#define BIT_WORD 8 /* bytes read at a time */

/* ---- what BITFIELD shares ----------------------------------------------- */

bool cmd_bit_offset(struct cmd_context *c, unsigned index, unsigned scale,
                    uint64_t *offset)
{
    kvsql_slice text = c->argv[index];
    const char *p = text.p;
    int64_t number;

    if (scale > 0 && text.size > 0 && p[0] == '#') {
        text = (kvsql_slice){p + 1, text.size - 1};
    } else {
        scale = 1;
    }
    if (!kv_num_int(text.p, text.size, &number) ||
        __builtin_mul_overflow(number, (int64_t)scale, &number) ||
        number < 0 || number / 8 >= (int64_t)KVSQL_VALUE_MAX) {
        cmd_fail(c, KVSQL_RANGE, BIT_TEXT_OFFSET);
        return false;
    }
    *offset = (uint64_t)number;
    return true;
}

bool cmd_bit_patch(struct cmd_context *c, const struct kv_key *key,
                   uint64_t offset, const void *p, size_t size)
{
    const kvsql_rc rc =
        kv_patch(c->txn, key, offset, (kvsql_slice){p, size}, &c->err);

    if (rc == KVSQL_TOOBIG) {
        cmd_fail(c, rc, CMD_TEXT_STRING_TOOBIG);
        return false;
    }
    return cmd_ok(c, rc);
}

bool cmd_bit_string(struct cmd_context *c, const struct kv_key *key,
                    struct kv_item *item, struct kv_val *value, bool *found)
{
    const kvsql_rc rc = cmd_get_type(c, key, KV_STRING, item);

    *found = rc == KVSQL_OK;
    if (*found) {
        kv_item_string(item, value);
    } else {
        *value = (struct kv_val){.p = (const uint8_t *)""};
    }
    return rc != KVSQL_WRONGTYPE;
}

/* ---- one bit ------------------------------------------------------------ */

void cmd_do_setbit(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    struct kv_val value;
    uint64_t offset;
    int64_t on;
    uint8_t byte = 0, mask;
    bool found;

    if (!cmd_bit_offset(c, 2, 0, &offset) ||
        !cmd_int_within(c, 3, 0, 1, &on, BIT_TEXT_VALUE) ||
        !cmd_bit_string(c, &key, &item, &value, &found)) {
        return;
    }
    mask = (uint8_t)(0x80 >> (offset & 7));
    if (offset / 8 < value.size) {
        byte = value.p[offset / 8];
    }
    cmd_reply_int(c->reply, (byte & mask) != 0);
    if (offset / 8 >= value.size || ((byte & mask) != 0) != (on != 0)) {
        byte = (uint8_t)(on != 0 ? byte | mask : byte & ~mask);
        (void)cmd_bit_patch(c, &key, offset / 8, &byte, 1);
    }
}

void cmd_do_getbit(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    struct kv_val value;
    uint64_t offset;
    bool found;

    if (cmd_bit_offset(c, 2, 0, &offset) &&
        cmd_bit_string(c, &key, &item, &value, &found)) {
        cmd_reply_int(c->reply, offset / 8 < value.size &&
                                    (value.p[offset / 8] &
                                     (0x80 >> (offset & 7))) != 0);
    }
}

/* ---- ranges ------------------------------------------------------------- */

/* Bits first .. last of a string. */
struct bit_range {
    int64_t first, last;
};

/* Argument `index`, when there is one, says whether a range counts bits.
 * False: answered. */
static bool bit_unit(struct cmd_context *c, unsigned index, bool *bits)
{
    *bits = cmd_is(c, index, "BIT");
    if (index < c->argc && !*bits && !cmd_is(c, index, "BYTE")) {
        cmd_fail_syntax(c);
        return false;
    }
    return true;
}

/* From both ends, negative ones counted from behind, to bits of a string of
 * `size` bytes; first > last when nothing is left. */
static struct bit_range bit_range_of(int64_t start, int64_t end, int64_t size,
                                     bool bits)
{
    const int64_t total = bits ? size * 8 : size;

    start = start < 0 ? start + total : start;
    end = end < 0 ? end + total : end;
    start = start < 0 ? 0 : start;
    end = end < 0 ? 0 : end;
    end = end >= total ? total - 1 : end;
    if (start > end) {
        return (struct bit_range){1, 0};
    }
    if (bits) {
        return (struct bit_range){start, end};
    }
    return (struct bit_range){start * 8, end * 8 + 7};
}

/* The bits of byte `index` that lie in the range. */
static uint8_t bit_range_mask(const struct bit_range *r, int64_t index)
{
    uint8_t mask = 0xff;

    if (index == r->first / 8) {
        mask &= (uint8_t)(0xff >> (r->first & 7));
    }
    if (index == r->last / 8) {
        mask &= (uint8_t)(0xff << (7 - (r->last & 7)));
    }
    return mask;
}

/* ---- BITCOUNT ----------------------------------------------------------- */

static uint64_t bit_count(const uint8_t *p, const struct bit_range *r)
{
    const int64_t last = r->last / 8;
    int64_t i = r->first / 8;
    uint64_t count;

    if (r->first > r->last) {
        return 0;
    }
    count = (uint64_t)__builtin_popcount(p[i] & bit_range_mask(r, i));
    i++;
    if (i < last) {
        count += cmd_bits_count(p + i, (size_t)(last - i));
    }
    if (i <= last) {
        count += (uint64_t)__builtin_popcount(p[last] &
                                              bit_range_mask(r, last));
    }
    return count;
}

void cmd_do_bitcount(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    struct kv_val value;
    struct bit_range r;
    int64_t start = 0, end = -1;
    bool found, bits = false;

    if (!cmd_bit_string(c, &key, &item, &value, &found)) {
        return;
    }
    if (!found) {
        cmd_reply_int(c->reply, 0);
        return;
    }
    if (c->argc == 3 || c->argc > 5) {
        cmd_fail_syntax(c);
        return;
    }
    if (c->argc > 3 &&
        (!cmd_int(c, 2, &start, NULL) || !cmd_int(c, 3, &end, NULL))) {
        return;
    }
    if (start < 0 && end < 0 && start > end) {
        cmd_reply_int(c->reply, 0);
        return;
    }
    if (!bit_unit(c, 4, &bits)) {
        return;
    }
    r = bit_range_of(start, end, value.size, bits);
    cmd_reply_int(c->reply, (int64_t)bit_count(value.p, &r));
}

/* ---- BITPOS ------------------------------------------------------------- */

/* Where the words from `i` on stop being `nothing`, or the last word below
 * `end` begins. */
static int64_t bit_skip(const uint8_t *p, int64_t i, int64_t end,
                        uint64_t nothing)
{
    while (i + BIT_WORD < end && kv_u64_get(p + i) == nothing) {
        i += BIT_WORD;
    }
    return i;
}

/* The first bit equal to `bit` in the range, or -1. */
static int64_t bit_find(const uint8_t *p, const struct bit_range *r, bool bit)
{
    const uint8_t flip = bit ? 0 : 0xff;
    const int64_t first = r->first / 8, last = r->last / 8;

    for (int64_t i = first; i <= last; i++) {
        unsigned byte;

        if (i > first) {
            i = bit_skip(p, i, last, bit ? 0 : UINT64_MAX);
        }
        byte = (uint8_t)(p[i] ^ flip) & bit_range_mask(r, i);
        if (byte != 0) {
            return i * 8 + __builtin_clz(byte) - 24;
        }
    }
    return -1;
}

/* start, end and unit of BITPOS, as far as they are there. False: answered. */
static bool bit_pos_range(struct cmd_context *c, int64_t size,
                          struct bit_range *r)
{
    int64_t start = 0, end = -1;
    bool bits = false;

    if (c->argc > 6) {
        cmd_fail_syntax(c);
        return false;
    }
    if ((c->argc > 3 && !cmd_int(c, 3, &start, NULL)) ||
        !bit_unit(c, 5, &bits) ||
        (c->argc > 4 && !cmd_int(c, 4, &end, NULL))) {
        return false;
    }
    *r = bit_range_of(start, end, size, bits);
    return true;
}

void cmd_do_bitpos(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    struct kv_val value;
    struct bit_range r;
    int64_t bit, place = -1;
    bool found;

    if (!cmd_int(c, 2, &bit, NULL)) {
        return;
    }
    if (bit != 0 && bit != 1) {
        cmd_fail(c, KVSQL_RANGE, "ERR The bit argument must be 1 or 0.");
        return;
    }
    if (!cmd_bit_string(c, &key, &item, &value, &found)) {
        return;
    }
    if (!found) {
        cmd_reply_int(c->reply, bit == 1 ? -1 : 0);
        return;
    }
    if (!bit_pos_range(c, value.size, &r)) {
        return;
    }
    if (r.first <= r.last) {
        place = bit_find(value.p, &r, bit == 1);
        /* Without an end the zeros behind the string count, too. */
        if (place < 0 && bit == 0 && c->argc <= 4) {
            place = (int64_t)value.size * 8;
        }
    }
    cmd_reply_int(c->reply, place);
}

/* ---- BITOP -------------------------------------------------------------- */

static const char *const bit_op_words[CMD_BITS_COUNT] = {
    "AND", "OR", "XOR", "NOT", "DIFF", "DIFF1", "ANDOR", "ONE"};

/* False: answered. */
static bool bit_op_parse(struct cmd_context *c, enum cmd_bits *op)
{
    unsigned i = 0;

    while (i < CMD_BITS_COUNT && !cmd_is(c, 1, bit_op_words[i])) {
        i++;
    }
    if (i == CMD_BITS_COUNT) {
        cmd_fail_syntax(c);
        return false;
    }
    *op = (enum cmd_bits)i;
    if (*op == CMD_BITS_NOT && c->argc != 4) {
        cmd_fail(c, KVSQL_SYNTAX,
                 "ERR BITOP NOT must be called with a single source key.");
        return false;
    }
    if (*op >= CMD_BITS_DIFF && *op <= CMD_BITS_ANDOR && c->argc < 5) {
        cmd_fail(c, KVSQL_SYNTAX,
                 "ERR BITOP %s must be called with at least two source keys.",
                 bit_op_words[i]);
        return false;
    }
    return true;
}

/* What is joined, and how. */
struct bit_join {
    enum cmd_bits op;
    struct kv_val *rows;
    unsigned count;
    size_t size; /* of the longest */
};

/* Find the keys; their bytes stay where they are. False: answered. */
static bool bit_join_find(struct cmd_context *c, struct bit_join *join)
{
    for (unsigned i = 0; i < join->count; i++) {
        const struct kv_key key = cmd_key(c, 3 + i);
        struct kv_item item;
        bool found;

        if (!cmd_bit_string(c, &key, &item, &join->rows[i], &found)) {
            return false;
        }
        if (join->rows[i].size > join->size) {
            join->size = join->rows[i].size;
        }
    }
    return true;
}

static void bit_join_fill(void *arg, uint8_t *to)
{
    const struct bit_join *join = arg;

    cmd_bits_join(join->op, to, join->size, join->rows, join->count);
}

static void bit_join_store(struct cmd_context *c, struct bit_join *join)
{
    const struct kv_key to = cmd_key(c, 2);
    const kvsql_rc rc =
        join->size == 0 ? kv_del(c->txn, &to, NULL, &c->err)
                        : kv_set_filled(c->txn, &to, join->size, &c->err,
                                        bit_join_fill, join);

    if (cmd_ok(c, rc)) {
        cmd_reply_int(c->reply, (int64_t)join->size);
    }
}

void cmd_do_bitop(struct cmd_context *c)
{
    struct bit_join join = {.count = c->argc - 3};
    const size_t room = join.count * sizeof(*join.rows);

    if (!bit_op_parse(c, &join.op)) {
        return;
    }
    join.rows = kv_mem_alloc(KV_MEM_CLIENT, room);
    if (join.rows == NULL) {
        cmd_fail_nomem(c);
        return;
    }
    if (bit_join_find(c, &join)) {
        bit_join_store(c, &join);
    }
    kv_mem_free(KV_MEM_CLIENT, join.rows, room);
}

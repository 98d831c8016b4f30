/* c_bit.c - strings as rows of bits: SETBIT GETBIT BITCOUNT BITPOS BITOP.
 *
 * Bit 0 is the highest bit of byte 0, so a row of bits reads as its bytes do;
 * bits behind the end are 0. Counting and searching go by words of 8 bytes;
 * a changed bit is a patch of one byte. BITOP folds one key after the other
 * into its result, so it holds one value at a time, however many there are.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/c_bit.h"

#include <string.h>

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

#define BIT_EACH_2 UINT64_C(0x5555555555555555)
#define BIT_EACH_4 UINT64_C(0x3333333333333333)
#define BIT_EACH_8 UINT64_C(0x0f0f0f0f0f0f0f0f)
#define BIT_EACH_16 UINT64_C(0x00ff00ff00ff00ff)
#define BIT_SUM_16 UINT64_C(0x0001000100010001)
#define BIT_RUN 31 /* words whose counts fit in a byte: 31 * 8 < 256 */

/* Bits that are set in whole words. Counts stay side by side in the bytes of a
 * word for a run, and are added across once at its end. */
static uint64_t bit_count_words(const uint8_t *p, size_t words)
{
    uint64_t count = 0;

    while (words > 0) {
        const size_t run = words < BIT_RUN ? words : BIT_RUN;
        uint64_t sum = 0;

        for (size_t i = 0; i < run; i++) {
            uint64_t w = kv_u64_get(p + i * BIT_WORD);

            w -= (w >> 1) & BIT_EACH_2;
            w = (w & BIT_EACH_4) + ((w >> 2) & BIT_EACH_4);
            sum += (w + (w >> 4)) & BIT_EACH_8;
        }
        sum = (sum & BIT_EACH_16) + ((sum >> 8) & BIT_EACH_16);
        count += (sum * BIT_SUM_16) >> 48;
        p += run * BIT_WORD;
        words -= run;
    }
    return count;
}

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
        const size_t words = (size_t)(last - i) / BIT_WORD;

        count += bit_count_words(p + i, words);
        i += (int64_t)(words * BIT_WORD);
    }
    for (; i <= last; i++) {
        count += (uint64_t)__builtin_popcount(p[i] & bit_range_mask(r, i));
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

enum bit_op {
    BIT_AND, BIT_OR, BIT_XOR, BIT_NOT,
    BIT_DIFF,  /* in the first and in no other */
    BIT_DIFF1, /* in another, and not in the first */
    BIT_ANDOR, /* in the first and in another */
    BIT_ONE,   /* in exactly one */
    BIT_OPS
};

static const char *const bit_op_words[BIT_OPS] = {
    "AND", "OR", "XOR", "NOT", "DIFF", "DIFF1", "ANDOR", "ONE"};

/* False: answered. */
static bool bit_op_parse(struct cmd_context *c, enum bit_op *op)
{
    unsigned i = 0;

    while (i < BIT_OPS && !cmd_is(c, 1, bit_op_words[i])) {
        i++;
    }
    if (i == BIT_OPS) {
        cmd_fail_syntax(c);
        return false;
    }
    *op = (enum bit_op)i;
    if (*op == BIT_NOT && c->argc != 4) {
        cmd_fail(c, KVSQL_SYNTAX,
                 "ERR BITOP NOT must be called with a single source key.");
        return false;
    }
    if (*op >= BIT_DIFF && *op <= BIT_ANDOR && c->argc < 5) {
        cmd_fail(c, KVSQL_SYNTAX,
                 "ERR BITOP %s must be called with at least two source keys.",
                 bit_op_words[i]);
        return false;
    }
    return true;
}

/* One more key into what the keys before made. DIFF, DIFF1 and ANDOR gather
 * the others and meet the first at the end. */
static uint64_t bit_op_fold_word(enum bit_op op, uint64_t to, uint64_t w)
{
    return op == BIT_AND ? to & w : op == BIT_XOR ? to ^ w : to | w;
}

/* The first key, with what the others made. */
static uint64_t bit_op_first_word(enum bit_op op, uint64_t to, uint64_t w)
{
    switch (op) {
    case BIT_NOT:
        return ~w;
    case BIT_DIFF:
        return w & ~to;
    case BIT_DIFF1:
        return to & ~w;
    case BIT_ANDOR:
        return to & w;
    default:
        return bit_op_fold_word(op, to, w);
    }
}

/* The result in the making: whole words, zero behind the last byte. */
struct bit_result {
    uint8_t *to, *twice; /* twice: bits of ONE that came more than once */
    size_t size, room;   /* room: bytes of each, words and one more */
};

/* The word of a value at byte i; zero behind its end. */
static uint64_t bit_op_load(const struct kv_val *value, size_t i)
{
    uint8_t bytes[BIT_WORD] = {0};

    if (i + BIT_WORD <= value->size) {
        return kv_u64_get(value->p + i);
    }
    if (i < value->size) {
        memcpy(bytes, value->p + i, value->size - i);
    }
    return kv_u64_get(bytes);
}

static void bit_op_fold(enum bit_op op, struct bit_result *r,
                        const struct kv_val *value, bool is_first)
{
    for (size_t i = 0; i < r->size; i += BIT_WORD) {
        const uint64_t w = bit_op_load(value, i);
        const uint64_t to = kv_u64_get(r->to + i);

        if (op == BIT_ONE) {
            kv_u64_put(r->twice + i, kv_u64_get(r->twice + i) | (to & w));
        }
        kv_u64_put(r->to + i, is_first ? bit_op_first_word(op, to, w)
                                       : bit_op_fold_word(op, to, w));
    }
}

/* Everything but the first, then the first. False: answered. */
static bool bit_op_run(struct cmd_context *c, enum bit_op op,
                       struct bit_result *r)
{
    memset(r->to, op == BIT_AND ? 0xff : 0, r->room);
    if (op == BIT_ONE) {
        memset(r->twice, 0, r->room);
    }
    for (unsigned i = c->argc - 1; i >= 3; i--) {
        const struct kv_key key = cmd_key(c, i);
        struct kv_item item;
        struct kv_val value;
        bool found;

        if (!cmd_bit_string(c, &key, &item, &value, &found)) {
            return false;
        }
        bit_op_fold(op, r, &value, i == 3);
    }
    for (size_t i = 0; op == BIT_ONE && i < r->size; i += BIT_WORD) {
        kv_u64_put(r->to + i,
                   kv_u64_get(r->to + i) & ~kv_u64_get(r->twice + i));
    }
    return true;
}

/* Bytes of the longest key. False: answered. */
static bool bit_op_size(struct cmd_context *c, size_t *size)
{
    *size = 0;
    for (unsigned i = 3; i < c->argc; i++) {
        const struct kv_key key = cmd_key(c, i);
        struct kv_item item;
        const kvsql_rc rc = cmd_get_type(c, &key, KV_STRING, &item);

        if (rc == KVSQL_WRONGTYPE) {
            return false;
        }
        if (rc == KVSQL_OK && kv_item_length(&item) > *size) {
            *size = (size_t)kv_item_length(&item);
        }
    }
    return true;
}

void cmd_do_bitop(struct cmd_context *c)
{
    const struct kv_key to = cmd_key(c, 2);
    struct bit_result r = {0};
    enum bit_op op;
    bool ok;

    if (!bit_op_parse(c, &op) || !bit_op_size(c, &r.size)) {
        return;
    }
    if (r.size == 0) {
        if (cmd_ok(c, kv_del(c->txn, &to, NULL, &c->err))) {
            cmd_reply_int(c->reply, 0);
        }
        return;
    }
    r.room = r.size + BIT_WORD;
    r.to = kv_mem_alloc(KV_MEM_CLIENT, r.room);
    r.twice = op == BIT_ONE ? kv_mem_alloc(KV_MEM_CLIENT, r.room) : NULL;
    if (r.to == NULL || (op == BIT_ONE && r.twice == NULL)) {
        cmd_fail_nomem(c);
    } else {
        ok = bit_op_run(c, op, &r) &&
             cmd_ok(c, kv_set(c->txn, &to, (kvsql_slice){r.to, r.size}, 0,
                              &c->err));
        if (ok) {
            cmd_reply_int(c->reply, (int64_t)r.size);
        }
    }
    kv_mem_free(KV_MEM_CLIENT, r.to, r.room);
    kv_mem_free(KV_MEM_CLIENT, r.twice, r.room);
}

/* c_lcs.c - LCS: the longest common subsequence of two strings.
 *
 * The textbook table of lengths, of which two rows are kept at a time: row i
 * holds the lengths for the first i bytes of a and each beginning of b. The
 * way back from the end needs one bit a cell, whether it goes up (a byte less
 * of a) or left (a byte less of b), as equal bytes are seen by comparing them.
 * So the memory is an eighth of a byte a cell and 8 bytes a byte of b, and LEN
 * alone needs no bits.
 *
 * Work is size times size; above LCS_CELLS_MAX it is refused with the sentence
 * of Redis, whose table would pass proto-max-bulk-len there. Much work is done
 * on a view, outside the lock.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/context.h"

#include <string.h>

#define LCS_CELLS_MAX (((uint64_t)512 << 20) / 4)

struct lcs {
    struct kv_val a, b;
    bool length, ranges, with_size; /* LEN, IDX, WITHMATCHLEN */
    int64_t size_min;               /* MINMATCHLEN */
    uint32_t *rows;                 /* two of b.size + 1 */
    uint8_t *up;                    /* a bit a cell; NULL with LEN alone */
    uint32_t total;                 /* length of the subsequence */
};

/* False: answered. */
static bool lcs_options(struct cmd_context *c, struct lcs *l)
{
    for (unsigned i = 3; i < c->argc; i++) {
        if (cmd_is(c, i, "IDX")) {
            l->ranges = true;
        } else if (cmd_is(c, i, "LEN")) {
            l->length = true;
        } else if (cmd_is(c, i, "WITHMATCHLEN")) {
            l->with_size = true;
        } else if (cmd_is(c, i, "MINMATCHLEN") && i + 1 < c->argc) {
            if (!cmd_int(c, ++i, &l->size_min, NULL)) {
                return false;
            }
        } else {
            cmd_fail_syntax(c);
            return false;
        }
    }
    if (l->ranges && l->length) {
        cmd_fail(c, KVSQL_SYNTAX,
                 "ERR If you want both the length and indexes, please just use "
                 "IDX.");
        return false;
    }
    return true;
}

/* The string of argument `index`, empty when absent. False: answered. */
static bool lcs_read(struct cmd_context *c, unsigned index,
                     struct kv_val *value)
{
    const struct kv_key key = cmd_key(c, index);
    struct kv_item item;

    *value = (struct kv_val){.p = (const uint8_t *)""};
    if (!cmd_get(c, &key, &item)) {
        return true;
    }
    if (item.type != KV_STRING) {
        cmd_fail(c, KVSQL_WRONGTYPE,
                 "ERR The specified keys must contain string values");
        return false;
    }
    kv_item_string(&item, value);
    return true;
}

static uint64_t lcs_cells(const struct lcs *l)
{
    return ((uint64_t)l->a.size + 1) * ((uint64_t)l->b.size + 1);
}

static size_t lcs_rows_size(const struct lcs *l)
{
    return 2 * ((size_t)l->b.size + 1) * sizeof(*l->rows);
}

static size_t lcs_up_size(const struct lcs *l)
{
    return (size_t)(lcs_cells(l) / 8 + 1);
}

static bool lcs_alloc(struct lcs *l)
{
    l->rows = kv_mem_zalloc(KV_MEM_CLIENT, lcs_rows_size(l));
    if (l->rows != NULL && !l->length) {
        l->up = kv_mem_zalloc(KV_MEM_CLIENT, lcs_up_size(l));
    }
    return l->rows != NULL && (l->length || l->up != NULL);
}

static void lcs_free(struct lcs *l)
{
    kv_mem_free(KV_MEM_CLIENT, l->rows, lcs_rows_size(l));
    kv_mem_free(KV_MEM_CLIENT, l->up, lcs_up_size(l));
}

/* Before each row: does anybody want it? Long rows look each time. */
static bool lcs_goes_on(struct cmd_context *c, const struct lcs *l)
{
    return l->b.size < CMD_CHECK_EVERY ? cmd_goes_on(c) : cmd_still_wanted(c);
}

/* Fill the table row by row; the length is left in total. False: nobody wants
 * it. */
static bool lcs_fill(struct cmd_context *c, struct lcs *l)
{
    uint32_t *above = l->rows, *row = l->rows + l->b.size + 1;
    uint64_t cell = l->b.size + UINT64_C(1);

    for (uint32_t i = 1; i <= l->a.size; i++) {
        uint32_t *swap = above;

        if (!lcs_goes_on(c, l)) {
            return false;
        }
        row[0] = 0;
        cell++;
        for (uint32_t j = 1; j <= l->b.size; j++, cell++) {
            if (l->a.p[i - 1] == l->b.p[j - 1]) {
                row[j] = above[j - 1] + 1;
            } else if (above[j] > row[j - 1]) {
                row[j] = above[j];
                if (l->up != NULL) {
                    l->up[cell / 8] |= (uint8_t)(1u << (cell % 8));
                }
            } else {
                row[j] = row[j - 1];
            }
        }
        above = row;
        row = swap;
    }
    l->total = above[l->b.size];
    return true;
}

static bool lcs_goes_up(const struct lcs *l, uint32_t i, uint32_t j)
{
    const uint64_t cell = (uint64_t)i * (l->b.size + UINT64_C(1)) + j;

    return (l->up[cell / 8] >> (cell % 8)) & 1;
}

/* Go on to the next pair of equal bytes on the way back; false at its end.
 * They are a[i - 1] and b[j - 1]. */
static bool lcs_back(const struct lcs *l, uint32_t *i, uint32_t *j)
{
    while (*i > 0 && *j > 0) {
        if (l->a.p[*i - 1] == l->b.p[*j - 1]) {
            return true;
        }
        if (lcs_goes_up(l, *i, *j)) {
            (*i)--;
        } else {
            (*j)--;
        }
    }
    return false;
}

static void lcs_answer_text(struct cmd_context *c, const struct lcs *l)
{
    uint32_t i = l->a.size, j = l->b.size, left = l->total;
    uint8_t *text;

    if (left == 0) {
        cmd_reply_bulk(c->reply, "", 0);
        return;
    }
    text = kv_mem_alloc(KV_MEM_CLIENT, l->total);
    if (text == NULL) {
        cmd_fail_nomem(c);
        return;
    }
    for (; lcs_back(l, &i, &j); i--, j--) {
        KV_ASSERT(left > 0);
        text[--left] = l->a.p[i - 1];
    }
    cmd_reply_bulk(c->reply, text, l->total);
    kv_mem_free(KV_MEM_CLIENT, text, l->total);
}

static void lcs_answer_pair(struct cmd_context *c, uint32_t start,
                            uint32_t size)
{
    cmd_reply_array(c->reply, 2);
    cmd_reply_int(c->reply, start);
    cmd_reply_int(c->reply, (int64_t)start + size - 1);
}

/* The runs that lie side by side in both strings, the last one first. */
static void lcs_answer_ranges(struct cmd_context *c, const struct lcs *l)
{
    uint32_t i = l->a.size, j = l->b.size;
    uint64_t count = 0;
    size_t place;

    cmd_reply_map(c->reply, 2);
    cmd_reply_text(c->reply, "matches");
    place = cmd_reply_begin(c->reply, CMD_REPLY_ARRAY);
    while (lcs_back(l, &i, &j) && !cmd_reply_failed(c->reply)) {
        uint32_t size = 0;

        while (i > 0 && j > 0 && l->a.p[i - 1] == l->b.p[j - 1]) {
            i--;
            j--;
            size++;
        }
        if (size < l->size_min) {
            continue;
        }
        cmd_reply_array(c->reply, l->with_size ? 3 : 2);
        lcs_answer_pair(c, i, size);
        lcs_answer_pair(c, j, size);
        if (l->with_size) {
            cmd_reply_int(c->reply, size);
        }
        count++;
    }
    cmd_reply_end(c->reply, place, count);
    cmd_reply_text(c->reply, "len");
    cmd_reply_int(c->reply, l->total);
}

void cmd_do_lcs(struct cmd_context *c)
{
    struct lcs l = {0};

    if (!lcs_read(c, 1, &l.a) || !lcs_read(c, 2, &l.b) ||
        !lcs_options(c, &l)) {
        return;
    }
    if (lcs_cells(&l) > LCS_CELLS_MAX) {
        cmd_fail(c, KVSQL_TOOBIG,
                 "ERR Insufficient memory, transient memory for LCS exceeds "
                 "proto-max-bulk-len");
        return;
    }
    if (cmd_defer(c, lcs_cells(&l) / 64)) {
        return;
    }
    if (!lcs_alloc(&l)) {
        cmd_fail_nomem(c);
        lcs_free(&l);
        return;
    }
    if (!lcs_fill(c, &l)) {
        KV_ASSERT(cmd_reply_failed(c->reply));
    } else if (l.length) {
        cmd_reply_int(c->reply, l.total);
    } else if (l.ranges) {
        lcs_answer_ranges(c, &l);
    } else {
        lcs_answer_text(c, &l);
    }
    lcs_free(&l);
}

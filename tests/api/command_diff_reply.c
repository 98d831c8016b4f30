/* command_diff_reply.c - are two replies equal, or do they differ as we mean
 * it? RESP2 and RESP3.
 *
 * Thread: main. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "kvsql/base/num.h"
#include "tests/api/command_diff.h"

/* ---- items -------------------------------------------------------------- */

struct diff_item {
    char mark;
    long long number;
    const uint8_t *p;
    size_t size;
};
#define DIFF_ITEMS_MAX 65536

/* The next line, and the bytes behind it if it announces them; *at moves
 * behind. */
static bool diff_item_next(const uint8_t **at, const uint8_t *end,
                           struct diff_item *item)
{
    const uint8_t *p = *at;
    const uint8_t *line = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;

    if (line == NULL || line - p < 2) {
        return false;
    }
    *item = (struct diff_item){.mark = (char)*p, .p = p + 1,
                               .size = (size_t)(line - p) - 2,
                               .number =
                                   strtoll((const char *)p + 1, NULL, 10)};
    *at = line + 1;
    if ((item->mark == '$' || item->mark == '=') && item->number >= 0) {
        item->p = *at;
        item->size = (size_t)item->number;
        if ((size_t)(end - *at) < item->size + 2) {
            return false;
        }
        *at += item->size + 2;
    }
    return true;
}

/* All items of a reply, one behind the other; their count. */
static unsigned diff_items(kvsql_slice reply, struct diff_item *items)
{
    const uint8_t *p = reply.p, *end = p + reply.size;
    unsigned count = 0;

    while (count < DIFF_ITEMS_MAX && diff_item_next(&p, end, &items[count])) {
        count++;
    }
    return count;
}

size_t diff_reply_size(const uint8_t *p, size_t size)
{
    const uint8_t *at = p;
    long long left = 1;

    while (left > 0) {
        struct diff_item item;

        if (!diff_item_next(&at, p + size, &item)) {
            return 0;
        }
        left--;
        if (strchr("*~>%", item.mark) != NULL && item.number > 0) {
            left += item.number * (item.mark == '%' ? 2 : 1);
        }
    }
    return (size_t)(at - p);
}

static int diff_item_compare(const struct diff_item *a,
                             const struct diff_item *b)
{
    const size_t size = a->size < b->size ? a->size : b->size;
    const int order = size > 0 ? memcmp(a->p, b->p, size) : 0;

    if (a->mark != b->mark) {
        return a->mark - b->mark;
    }
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

static int diff_order_one(const void *a, const void *b)
{
    return diff_item_compare(a, b);
}

static int diff_order_pair(const void *a, const void *b)
{
    const struct diff_item *x = a, *y = b;
    const int order = diff_item_compare(x, y);

    return order != 0 ? order : diff_item_compare(x + 1, y + 1);
}

/* A pair that is an array of two. */
static int diff_order_triple(const void *a, const void *b)
{
    const struct diff_item *x = a, *y = b;

    return diff_order_pair(x + 1, y + 1);
}

static bool diff_item_equal(const struct diff_item *a,
                            const struct diff_item *b, bool real)
{
    double x, y;

    if (diff_item_compare(a, b) == 0) {
        return true;
    }
    return real && a->mark == b->mark &&
           (a->mark == '$' || a->mark == ',') && a->size > 0 && b->size > 0 &&
           kv_num_double(a->p, a->size, &x) &&
           kv_num_double(b->p, b->size, &y) && x == y;
}

/* A score of -0 as 0, so that texts are sorted alike. */
static void diff_drop_sign(struct diff_item *items, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (items[i].size == 2 && memcmp(items[i].p, "-0", 2) == 0) {
            items[i].p++;
            items[i].size--;
        }
    }
}

/* ---- equal -------------------------------------------------------------- */

static void diff_sort(enum diff_how how, struct diff_item *items, unsigned n)
{
    if (how == DIFF_SCAN || how == DIFF_SET) {
        const unsigned head = how == DIFF_SCAN ? 3 : 1;

        if (n > head) {
            qsort(items + head, n - head, sizeof(*items), diff_order_one);
        }
    } else if (how == DIFF_MAP || how == DIFF_SCORES) {
        const unsigned step = n > 1 && items[1].mark == '*' ? 3 : 2;

        qsort(items + 1, (n - 1) / step, step * sizeof(*items),
              step == 3 ? diff_order_triple : diff_order_pair);
    }
}

bool diff_equal(enum diff_how how, kvsql_slice ours, kvsql_slice theirs)
{
    static struct diff_item a[DIFF_ITEMS_MAX], b[DIFF_ITEMS_MAX];
    const bool real =
        how == DIFF_REAL || how == DIFF_SCAN || how == DIFF_SCORES;
    unsigned n, m;

    if (ours.size == theirs.size && memcmp(ours.p, theirs.p, ours.size) == 0) {
        return true;
    }
    if (how == DIFF_EXACT || *(const char *)ours.p == '-' ||
        *(const char *)theirs.p == '-') {
        return false;
    }
    n = diff_items(ours, a);
    m = diff_items(theirs, b);
    if (how == DIFF_NEAR) {
        return n == 1 && m == 1 && a[0].mark == ':' && b[0].mark == ':' &&
               a[0].number >= 0 && b[0].number >= 0 &&
               llabs(a[0].number - b[0].number) <= DIFF_NEAR_S;
    }
    if (how == DIFF_SHAPE) {
        return n == m && a[0].mark == b[0].mark &&
               (a[0].mark != ':' || (a[0].number < 0) == (b[0].number < 0));
    }
    if (n != m) {
        return false;
    }
    if (how == DIFF_SCAN) {
        diff_drop_sign(a, n);
        diff_drop_sign(b, n);
    }
    diff_sort(how, a, n);
    diff_sort(how, b, n);
    for (unsigned i = 0; i < n; i++) {
        if (!diff_item_equal(&a[i], &b[i], real)) {
            return false;
        }
    }
    return true;
}

/* ---- different as it is meant ------------------------------------------- */

static bool diff_begins(kvsql_slice bytes, const char *text)
{
    return bytes.size >= strlen(text) &&
           memcmp(bytes.p, text, strlen(text)) == 0;
}

/* SORT: what lies in the order of a hash table, and an error of Redis that
 * hangs on an earlier command. */
static bool diff_allowed_sort(const struct diff_command *c, const char *type,
                              kvsql_slice ours, kvsql_slice theirs)
{
    static const char stale[] =
        "-ERR One or more scores can't be converted into double\r\n";
    bool by = false, alpha = false, is_set, is_zset;

    if (*(const char *)ours.p == '*' && theirs.size == sizeof(stale) - 1 &&
        diff_begins(theirs, stale)) {
        return true; /* R */
    }
    for (unsigned i = 2; i + 1 < c->argc; i++) {
        by = by || (strcmp(c->text[i], "BY") == 0 &&
                    strchr(c->text[i + 1], '*') == NULL);
        alpha = alpha || strcmp(c->text[i + 1], "ALPHA") == 0;
    }
    is_set = strcmp(type, "set") == 0;
    is_zset = strcmp(type, "zset") == 0;
    return (by && is_set) || (alpha && (is_set || is_zset)); /* S */
}

/* What we mean to answer otherwise: each case is explained, under its letter,
 * in command_diff.allow. */
static bool diff_allowed(const struct diff_command *c, const char *type,
                         kvsql_slice ours, kvsql_slice theirs)
{
    const bool error = *(const char *)ours.p == '-';
    const char *name = c->text[0];

    if (strcmp(name, "ZRANK") == 0 || strcmp(name, "ZREVRANK") == 0) {
        return c->argc > 3; /* A */
    }
    if (strncmp(name, "SORT", 4) == 0) {
        return diff_allowed_sort(c, type, ours, theirs);
    }
    if (diff_begins(ours, "-ERR unknown subcommand '\\x")) {
        return true; /* E */
    }
    if (strcmp(name, "OBJECT") == 0) {
        return c->argc == 3 && *(const char *)ours.p == '$'; /* B */
    }
    for (unsigned i = 1; i < c->argc && error; i++) {
        if (name[0] == 'Z' && (c->size[i] == 0 ||
                               (c->size[i] == 1 && c->text[i][0] == '('))) {
            return true; /* C */
        }
        if (strcmp(name, "LPOS") == 0 &&
            strcmp(c->text[i], "-9223372036854775808") == 0) {
            return true; /* D */
        }
        if (strcasecmp(name, "NOSUCH") == 0 &&
            memchr(c->text[i], 1, c->size[i]) != NULL) {
            return true; /* E */
        }
    }
    return false;
}

bool diff_accept(const struct diff_command *c, const char *type,
                 kvsql_slice ours, kvsql_slice theirs, bool *allowed)
{
    *allowed = false;
    if (diff_equal(c->how, ours, theirs)) {
        return true;
    }
    *allowed = diff_allowed(c, type, ours, theirs);
    return *allowed;
}

/* ---- for people --------------------------------------------------------- */

void diff_show(const char *who, kvsql_slice bytes)
{
    const uint8_t *p = bytes.p;

    printf("    %s ", who);
    for (size_t i = 0; i < bytes.size && i < 400; i++) {
        if (p[i] >= 0x20 && p[i] < 0x7f) {
            putchar(p[i]);
        } else {
            printf("\\x%02x", p[i]);
        }
    }
    putchar('\n');
}

void diff_show_command(const struct diff_command *c)
{
    for (unsigned i = 0; i < c->argc; i++) {
        diff_show("arg  ", (kvsql_slice){c->text[i], c->size[i]});
    }
}

/* value.c - bytes and SQLite values, and the sets of keys that right-hand
 * sides stand for (sql.md 2.1, 3.1).
 *
 * SQLite hands a virtual table the raw right-hand side of a comparison and
 * does not say which affinity the comparison has. So a set is a superset of
 * what may match, and SQLite checks the rows again (PL2). A number that is not
 * a bound parameter may be compared as a number: then every TEXT key that can
 * look like one is a candidate. Those begin with one of
 *
 *     09-0D  20  '+'  '-'  '.'  '0'-'9'
 *
 * and lie in the few intervals of vvalue_numeric.
 *
 * Always true: the intervals of a set are ascending and disjoint after
 * vt_set_sort() and every narrowing.
 *
 * Thread: the session's. */
#include "vtab/value.h"

#include "kvsql/base/num.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define VVALUE_LIKE_LETTERS_MAX 6 /* letters of a LIKE prefix in two cases */
#define VVALUE_STATIC_TEXT_MAX 4096

/* ---- values in --------------------------------------------------------------- */

bool vt_input_init(struct vt_input *input, sqlite3_value *value)
{
    const void *p;
    int size;

    input->dup = NULL;
    switch (sqlite3_value_type(value)) {
    case SQLITE_INTEGER: {
        size_t n = kv_num_format_int(input->scratch,
                                     sqlite3_value_int64(value));
        input->key = (struct kv_key){(const uint8_t *)input->scratch,
                                     (uint32_t)n, KV_TEXT};
        return true;
    }
    case SQLITE_FLOAT: /* a copy: the text would stay on SQLite's register */
        input->dup = sqlite3_value_dup(value);
        if (input->dup == NULL) return false;
        value = input->dup;
        break;
    default: break;
    }
    size = sqlite3_value_bytes(value);
    p = sqlite3_value_blob(value);
    /* the text of a REAL is made now, and is never empty */
    if (p == NULL && (size > 0 || input->dup != NULL)) {
        vt_input_fini(input);
        return false;
    }
    input->key = kv_key_of(p, (size_t)size);
    return true;
}

void vt_input_fini(struct vt_input *input)
{
    sqlite3_value_free(input->dup);
    input->dup = NULL;
}

/* The value stays TEXT: sqlite3_value_numeric_type() would change it, and a copy
 * of it has no connection, without which newer versions crash. */
static bool vvalue_number_of_text(sqlite3_value *value, struct vt_number *out)
{
    const int size = sqlite3_value_bytes(value);
    const uint8_t *p = sqlite3_value_blob(value);

    if (p == NULL && size > 0) return false;
    if (p == NULL || !vt_number_of_text(p, (size_t)size, out))
        *out = (struct vt_number){.kind = VT_NUM_ABOVE};
    else if (out->kind == VT_NUM_INT)
        out->real = (double)out->integer;
    else
        out->real = sqlite3_value_double(value); /* to SQLite's last bit */
    return true;
}

bool vt_number_get(sqlite3_value *value, struct vt_number *out)
{
    const int type = sqlite3_value_type(value);

    if (type == SQLITE_TEXT) return vvalue_number_of_text(value, out);
    *out = (struct vt_number){.kind = VT_NUM_ABOVE};
    if (type == SQLITE_INTEGER) {
        out->kind = VT_NUM_INT;
        out->integer = sqlite3_value_int64(value);
        out->real = (double)out->integer;
    } else if (type == SQLITE_FLOAT) {
        out->kind = VT_NUM_REAL;
        out->real = sqlite3_value_double(value);
    } else if (type == SQLITE_NULL) {
        out->kind = VT_NUM_NULL;
    }
    return true;
}

static bool vvalue_is_space(uint8_t c)
{
    return c == ' ' || (c >= 9 && c <= 13);
}

/* Decimal digits from p[i] on; returns the index behind them. */
static size_t vvalue_digits(const uint8_t *p, size_t i, size_t size)
{
    while (i < size && p[i] >= '0' && p[i] <= '9') i++;
    return i;
}

/* With or without a sign and zeros in front. */
static bool vvalue_integer(const uint8_t *p, size_t size, int64_t *out)
{
    const bool minus = p[0] == '-';

    if (kv_num_int(p, size, out)) return true;
    if (minus || p[0] == '+') p++, size--;
    while (size > 1 && p[0] == '0') p++, size--;
    if (!kv_num_int(p, size, out)) return false;
    if (minus) *out = -*out;
    return true;
}

bool vt_number_of_text(const uint8_t *p, size_t size, struct vt_number *out)
{
    size_t i = 0, start, digits;
    bool tiny = false;

    while (size > 0 && vvalue_is_space(p[size - 1])) size--;
    while (size > 0 && vvalue_is_space(*p)) p++, size--;
    if (size == 0) return false;
    if (p[0] == '+' || p[0] == '-') i++;
    start = i;
    i = vvalue_digits(p, i, size);
    digits = i - start;
    *out = (struct vt_number){.kind = VT_NUM_INT};
    if (i < size && p[i] == '.') {
        start = ++i;
        i = vvalue_digits(p, i, size);
        digits += i - start;
    }
    if (digits == 0) return false;
    if (i < size && (p[i] == 'e' || p[i] == 'E')) {
        i++;
        tiny = i < size && p[i] == '-';
        if (i < size && (p[i] == '+' || p[i] == '-')) i++;
        start = i;
        i = vvalue_digits(p, i, size);
        if (i == start) return false;
    }
    if (i != size) return false;
    if (!kv_num_double(p, size, &out->real)) { /* beyond a double */
        out->real = tiny ? 0 : INFINITY;
        if (p[0] == '-') out->real = -out->real;
    }
    if (!vvalue_integer(p, size, &out->integer)) out->kind = VT_NUM_REAL;
    return true;
}

/* Both as SQLite compares an integer with a real: exactly. */
bool vt_number_equal(const struct vt_number *a, const struct vt_number *b)
{
    const double limit = 9223372036854775808.0;

    if (a->kind == VT_NUM_INT && b->kind == VT_NUM_INT)
        return a->integer == b->integer;
    if (a->kind == VT_NUM_REAL && b->kind == VT_NUM_REAL)
        return a->real == b->real;
    if (a->kind == VT_NUM_INT && b->kind == VT_NUM_REAL)
        return b->real >= -limit && b->real < limit &&
               b->real == floor(b->real) && (int64_t)b->real == a->integer;
    if (a->kind == VT_NUM_REAL && b->kind == VT_NUM_INT)
        return vt_number_equal(b, a);
    return false;
}

/* ---- numeric ranges ------------------------------------------------------------ */

void vt_span_all(struct vt_span *span)
{
    span->lo = INT64_MIN;
    span->hi = INT64_MAX;
}

static void vvalue_span_lo(struct vt_span *span, int64_t lo)
{
    if (lo > span->lo) span->lo = lo;
}

static void vvalue_span_hi(struct vt_span *span, int64_t hi)
{
    if (hi < span->hi) span->hi = hi;
}

static void vvalue_span_none(struct vt_span *span)
{
    span->lo = 1;
    span->hi = 0;
}

/* The largest integer <= real as a bound; -1, +1 when it is out of range. */
static int vvalue_floor(double real, int64_t *out)
{
    const double limit = 9223372036854775808.0;

    if (real < -limit) return -1;
    if (real >= limit) return 1;
    *out = (int64_t)floor(real);
    return 0;
}

static void vvalue_span_real(struct vt_span *span, int op, double real)
{
    int64_t n = 0;
    int out = vvalue_floor(real, &n);
    bool whole = out == 0 && (double)n == real;
    bool lower = op == SQLITE_INDEX_CONSTRAINT_GT ||
                 op == SQLITE_INDEX_CONSTRAINT_GE;

    if (op == SQLITE_INDEX_CONSTRAINT_EQ) {
        if (!whole) {
            vvalue_span_none(span);
            return;
        }
        vvalue_span_lo(span, n);
        vvalue_span_hi(span, n);
    } else if (out != 0) {
        if ((out > 0) == lower) vvalue_span_none(span);
    } else if (lower) {
        if (whole && op == SQLITE_INDEX_CONSTRAINT_GE) {
            vvalue_span_lo(span, n);
        } else if (n == INT64_MAX) {
            vvalue_span_none(span);
        } else {
            vvalue_span_lo(span, n + 1);
        }
    } else if (whole && op == SQLITE_INDEX_CONSTRAINT_LT) {
        if (n == INT64_MIN)
            vvalue_span_none(span);
        else
            vvalue_span_hi(span, n - 1);
    } else {
        vvalue_span_hi(span, n);
    }
}

void vt_span_narrow(struct vt_span *span, int op, const struct vt_number *number)
{
    int64_t n = number->integer;

    if (number->kind == VT_NUM_NULL) {
        vvalue_span_none(span);
        return;
    }
    if (number->kind == VT_NUM_REAL) {
        vvalue_span_real(span, op, number->real);
        return;
    }
    if (number->kind == VT_NUM_ABOVE) { /* above every number */
        if (op != SQLITE_INDEX_CONSTRAINT_LT &&
            op != SQLITE_INDEX_CONSTRAINT_LE)
            vvalue_span_none(span);
        return;
    }
    switch (op) {
    case SQLITE_INDEX_CONSTRAINT_GT:
        if (n == INT64_MAX)
            vvalue_span_none(span);
        else
            vvalue_span_lo(span, n + 1);
        break;
    case SQLITE_INDEX_CONSTRAINT_GE: vvalue_span_lo(span, n); break;
    case SQLITE_INDEX_CONSTRAINT_LT:
        if (n == INT64_MIN)
            vvalue_span_none(span);
        else
            vvalue_span_hi(span, n - 1);
        break;
    case SQLITE_INDEX_CONSTRAINT_LE: vvalue_span_hi(span, n); break;
    default:
        vvalue_span_lo(span, n);
        vvalue_span_hi(span, n);
        break;
    }
}

void vt_scores_all(struct vt_scores *scores)
{
    *scores = (struct vt_scores){.lo = -INFINITY, .hi = INFINITY};
}

/* An integer that no double holds exactly: take its neighbour too, SQLite
 * checks again (PL4). */
static bool vvalue_inexact(const struct vt_number *number)
{
    const int64_t exact = (int64_t)1 << 53;

    return number->kind == VT_NUM_INT &&
           (number->integer > exact || number->integer < -exact);
}

void vt_scores_narrow(struct vt_scores *scores, int op,
                      const struct vt_number *number)
{
    double real = number->real;
    bool open;

    if (number->kind == VT_NUM_NULL) scores->empty = true;
    if (number->kind == VT_NUM_ABOVE && op != SQLITE_INDEX_CONSTRAINT_LT &&
        op != SQLITE_INDEX_CONSTRAINT_LE)
        scores->empty = true;
    if (number->kind == VT_NUM_NULL || number->kind == VT_NUM_ABOVE) return;
    open = (op == SQLITE_INDEX_CONSTRAINT_GT ||
            op == SQLITE_INDEX_CONSTRAINT_LT) &&
           !vvalue_inexact(number);
    if (op != SQLITE_INDEX_CONSTRAINT_LT && op != SQLITE_INDEX_CONSTRAINT_LE &&
        (real > scores->lo || (real == scores->lo && open))) {
        scores->lo = real;
        scores->lo_open = open;
    }
    if (op != SQLITE_INDEX_CONSTRAINT_GT && op != SQLITE_INDEX_CONSTRAINT_GE &&
        (real < scores->hi || (real == scores->hi && open))) {
        scores->hi = real;
        scores->hi_open = open;
    }
}

/* ---- memory of a set -------------------------------------------------------------- */

#define VVALUE_CHUNK 1000 /* bytes of a chunk, or what one key needs */

struct vt_chunk {
    struct vt_chunk *next;
    uint32_t used, size;
    uint8_t bytes[];
};

void vt_set_init(struct vt_set *set)
{
    set->ranges = set->first;
    set->count = 0;
    set->cap = sizeof(set->first) / sizeof(set->first[0]);
    set->chunks = NULL;
    set->used = 0;
    set->numeric = set->bound = set->text = false;
}

void vt_set_free(struct vt_set *set)
{
    while (set->chunks != NULL) {
        struct vt_chunk *next = set->chunks->next;
        sqlite3_free(set->chunks);
        set->chunks = next;
    }
    if (set->ranges != set->first) sqlite3_free(set->ranges);
    vt_set_init(set);
}

void vt_set_reset(struct vt_set *set)
{
    if (set->chunks != NULL) {
        const bool bound = set->bound, text = set->text;
        vt_set_free(set);
        set->bound = bound;
        set->text = text;
        return;
    }
    set->count = 0;
    set->used = 0;
    set->numeric = false;
}

/* Room for `size` bytes; NULL: no memory. */
static uint8_t *vvalue_room(struct vt_set *set, uint32_t size)
{
    struct vt_chunk *chunk = set->chunks;

    if (size <= sizeof(set->first_bytes) - set->used) {
        set->used += size;
        return set->first_bytes + set->used - size;
    }
    if (chunk == NULL || size > chunk->size - chunk->used) {
        const uint32_t room = size > VVALUE_CHUNK ? size : VVALUE_CHUNK;
        chunk = sqlite3_malloc64(sizeof(*chunk) + room);
        if (chunk == NULL) return NULL;
        *chunk = (struct vt_chunk){.next = set->chunks, .size = room};
        set->chunks = chunk;
    }
    chunk->used += size;
    return chunk->bytes + chunk->used - size;
}

bool vt_set_keep(struct vt_set *set, const struct kv_key *key,
                 struct kv_key *out)
{
    uint8_t *place = vvalue_room(set, key->size);

    if (place == NULL) return false;
    memcpy(place, key->p, key->size);
    *out = (struct kv_key){place, key->size, key->cls};
    return true;
}

static struct vt_range *vvalue_range_new(struct vt_set *set)
{
    struct vt_range *grown;

    if (set->count == set->cap) {
        unsigned cap = set->cap * 4;
        bool own = set->ranges != set->first;
        grown = sqlite3_realloc64(own ? set->ranges : NULL,
                                  (sqlite3_uint64)cap * sizeof(*grown));
        if (grown == NULL) return NULL;
        if (!own) memcpy(grown, set->first, sizeof(set->first));
        set->ranges = grown;
        set->cap = cap;
    }
    grown = &set->ranges[set->count++];
    *grown = (struct vt_range){.has_lo = false};
    return grown;
}

void vt_set_all(struct vt_set *set)
{
    vt_set_reset(set);
    set->count = 1;
    set->ranges[0] = (struct vt_range){.has_lo = false};
}

/* ---- building ----------------------------------------------------------------------- */

static const struct {
    const char *lo, *hi;
} vvalue_numeric[] = {
    {"\x09", "\x0E"}, {" ", "!"}, {"+", ","}, {"-", "/"}, {"0", ":"}};

static struct kv_key vvalue_literal(const char *text)
{
    return (struct kv_key){(const uint8_t *)text, (uint32_t)strlen(text),
                           KV_TEXT};
}

/* The smallest BLOB: the end of all TEXT. */
static const struct kv_key vvalue_text_end = {(const uint8_t *)"", 0, KV_BLOB};

bool vt_set_point(struct vt_set *set, const struct kv_key *key)
{
    struct vt_range *range = vvalue_range_new(set);

    if (range == NULL || !vt_set_keep(set, key, &range->lo)) return false;
    range->hi = range->lo;
    range->has_lo = range->has_hi = range->point = true;
    return true;
}

static bool vvalue_set_numeric(struct vt_set *set)
{
    for (size_t i = 0; i < sizeof(vvalue_numeric) / sizeof(vvalue_numeric[0]);
         i++) {
        struct vt_range *range = vvalue_range_new(set);
        if (range == NULL) return false;
        range->lo = vvalue_literal(vvalue_numeric[i].lo);
        range->hi = vvalue_literal(vvalue_numeric[i].hi);
        range->has_lo = range->has_hi = range->hi_open = true;
    }
    return true;
}

/* The key that a right-hand side is equal to as text: its class is its SQL
 * type, whatever its bytes (VA5). */
static bool vvalue_rhs(struct vt_input *input, sqlite3_value *value)
{
    int type = sqlite3_value_type(value);

    if (!vt_input_init(input, value)) return false;
    input->key.cls = type == SQLITE_BLOB ? KV_BLOB : KV_TEXT;
    return true;
}

/* Whether the comparison may be numeric. A bound number is compared as text, but
 * where it may stand for a column that it is equal to (texts.c): SQLite makes
 * `s.key = t.n AND t.n = ?` into `s.key = ?` and keeps the affinity of t.n. */
static bool vvalue_computed(const struct vt_set *set, sqlite3_value *value)
{
    int type = sqlite3_value_type(value);

    return !set->text && (type == SQLITE_INTEGER || type == SQLITE_FLOAT) &&
           (set->bound || !sqlite3_value_frombind(value));
}

bool vt_key_of_value(sqlite3_value *value, struct kv_key *out)
{
    const int size = sqlite3_value_bytes(value);
    const void *p = sqlite3_value_blob(value);

    *out = (struct kv_key){p != NULL ? (const uint8_t *)p
                                     : (const uint8_t *)"",
                           (uint32_t)size,
                           sqlite3_value_type(value) == SQLITE_BLOB ? KV_BLOB
                                                                    : KV_TEXT};
    return p != NULL || size == 0;
}

bool vt_set_equal(struct vt_set *set, sqlite3_value *value)
{
    const int type = sqlite3_value_type(value);
    struct vt_input input;
    bool ok;

    if (type == SQLITE_NULL) return true;
    if (type == SQLITE_TEXT || type == SQLITE_BLOB) {
        struct kv_key key;
        return vt_key_of_value(value, &key) && vt_set_point(set, &key);
    }
    if (!vvalue_rhs(&input, value)) return false;
    ok = vt_set_point(set, &input.key);
    vt_input_fini(&input);
    if (!ok || !vvalue_computed(set, value)) return ok;
    if (!set->numeric && !vvalue_set_numeric(set)) return false;
    set->numeric = true;
    return vt_number_get(value, &set->number);
}

/* Order of lower bounds: which interval begins first. */
static int vvalue_lo_compare(const struct vt_range *a, const struct vt_range *b)
{
    int order;

    if (!a->has_lo || !b->has_lo) return (int)a->has_lo - (int)b->has_lo;
    order = kv_key_compare(&a->lo, &b->lo);
    return order != 0 ? order : (int)a->lo_open - (int)b->lo_open;
}

static int vvalue_hi_compare(const struct vt_range *a, const struct vt_range *b)
{
    int order;

    if (!a->has_hi || !b->has_hi) return (int)b->has_hi - (int)a->has_hi;
    order = kv_key_compare(&a->hi, &b->hi);
    return order != 0 ? order : (int)b->hi_open - (int)a->hi_open;
}

static int vvalue_sort_compare(const void *a, const void *b)
{
    return vvalue_lo_compare((const struct vt_range *)a,
                            (const struct vt_range *)b);
}

/* Whether b, which begins no earlier, shares a key with a. */
static bool vvalue_overlaps(const struct vt_range *a, const struct vt_range *b)
{
    int order;

    if (!a->has_hi || !b->has_lo) return true;
    order = kv_key_compare(&b->lo, &a->hi);
    return order < 0 || (order == 0 && !a->hi_open && !b->lo_open);
}

/* One key before another? */
static bool vvalue_before(const struct vt_range *a, const struct vt_range *b)
{
    return a->point && b->point && kv_key_compare(&a->lo, &b->lo) < 0;
}

void vt_set_sort(struct vt_set *set)
{
    unsigned kept = 0, sorted = 1;

    if (set->count < 2) return;
    while (sorted < set->count && /* as SQLite hands lists over */
           vvalue_before(&set->ranges[sorted - 1], &set->ranges[sorted]))
        sorted++;
    if (sorted == set->count) return;
    qsort(set->ranges, set->count, sizeof(set->ranges[0]), vvalue_sort_compare);
    for (unsigned i = 1; i < set->count; i++) {
        struct vt_range *last = &set->ranges[kept], *next = &set->ranges[i];
        if (!vvalue_overlaps(last, next)) {
            set->ranges[++kept] = *next;
            continue;
        }
        if (vvalue_hi_compare(next, last) > 0) {
            last->hi = next->hi;
            last->has_hi = next->has_hi;
            last->hi_open = next->hi_open;
            last->point = false;
        }
    }
    set->count = kept + 1;
}

/* ---- narrowing ----------------------------------------------------------------------- */

static bool vvalue_range_empty(const struct vt_range *range)
{
    int order;

    if (!range->has_lo || !range->has_hi) return false;
    order = kv_key_compare(&range->lo, &range->hi);
    return order > 0 || (order == 0 && (range->lo_open || range->hi_open));
}

static void vvalue_range_cut(struct vt_range *range, const struct vt_range *by)
{
    if (vvalue_lo_compare(by, range) > 0) {
        range->lo = by->lo;
        range->has_lo = by->has_lo;
        range->lo_open = by->lo_open;
    }
    if (vvalue_hi_compare(by, range) < 0) {
        range->hi = by->hi;
        range->has_hi = by->has_hi;
        range->hi_open = by->hi_open;
    }
    range->point = range->has_lo && range->has_hi && !range->lo_open &&
                   !range->hi_open &&
                   kv_key_compare(&range->lo, &range->hi) == 0;
}

static void vvalue_set_cut(struct vt_set *set, const struct vt_range *by)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < set->count; i++) {
        vvalue_range_cut(&set->ranges[i], by);
        if (!vvalue_range_empty(&set->ranges[i]))
            set->ranges[kept++] = set->ranges[i];
    }
    set->count = kept;
}

bool vt_set_between(struct vt_set *set, const struct kv_key *lo,
                    const struct kv_key *hi)
{
    struct vt_range by = {.has_lo = lo != NULL, .has_hi = hi != NULL};

    if (lo != NULL && !vt_set_keep(set, lo, &by.lo)) return false;
    if (hi != NULL && !vt_set_keep(set, hi, &by.hi)) return false;
    by.hi_open = hi != NULL;
    vvalue_set_cut(set, &by);
    return true;
}

bool vt_set_above(struct vt_set *set, sqlite3_value *value, bool open)
{
    struct vt_range by = {.has_lo = true, .lo_open = open};
    struct vt_input input;
    bool ok;

    if (sqlite3_value_type(value) == SQLITE_NULL) {
        set->count = 0;
        return true;
    }
    if (vvalue_computed(set, value)) return true; /* no bound */
    if (!vvalue_rhs(&input, value)) return false;
    ok = vt_set_keep(set, &input.key, &by.lo);
    vt_input_fini(&input);
    if (ok) vvalue_set_cut(set, &by);
    return ok;
}

bool vt_set_below(struct vt_set *set, sqlite3_value *value, bool open,
                  bool known)
{
    static const uint8_t colon[] = ":";
    const struct kv_key digits_end = {colon, 1, KV_TEXT};
    struct vt_range by = {.has_hi = true, .hi_open = open};
    struct vt_input input;
    bool ok;

    if (sqlite3_value_type(value) == SQLITE_NULL) {
        set->count = 0;
        return true;
    }
    if (!vvalue_rhs(&input, value)) return false;
    ok = vt_set_keep(set, &input.key, &by.hi);
    vt_input_fini(&input);
    if (!ok) return false;
    if (!known && by.hi.cls == KV_TEXT &&
        kv_key_compare(&by.hi, &digits_end) < 0) {
        by.hi = digits_end;
        by.hi_open = true;
    }
    vvalue_set_cut(set, &by);
    return true;
}

/* The first TEXT that is above everything that begins with `prefix`. */
static bool vvalue_prefix_end(struct vt_set *set, const struct kv_key *prefix,
                             struct kv_key *out)
{
    uint32_t size = prefix->size;
    uint8_t *last;

    while (size > 0 && prefix->p[size - 1] == 0xff) size--;
    if (size == 0) {
        *out = vvalue_text_end;
        return true;
    }
    if (!vt_set_keep(set, &(struct kv_key){prefix->p, size, KV_TEXT}, out))
        return false;
    last = (uint8_t *)(uintptr_t)out->p + size - 1; /* our own copy */
    (*last)++;
    return true;
}

/* The interval of TEXT that begins with `prefix`. */
static bool vvalue_prefix_range(struct vt_set *set, const struct kv_key *prefix,
                               struct vt_range *range)
{
    *range = (struct vt_range){
        .has_lo = true, .has_hi = true, .hi_open = true};
    return vt_set_keep(set, prefix, &range->lo) &&
           vvalue_prefix_end(set, prefix, &range->hi);
}

/* `prefix` and the key behind it, kept; NULL: nothing behind it. */
static bool vvalue_join(struct vt_set *set, const struct kv_key *prefix,
                        const struct kv_key *key, unsigned cls,
                        struct kv_key *out)
{
    const uint32_t size = key != NULL ? key->size : 0;
    uint8_t *bytes;

    if (size > UINT32_MAX - prefix->size) return false;
    bytes = sqlite3_malloc64((sqlite3_uint64)prefix->size + size + 1);
    if (bytes == NULL) return false;
    memcpy(bytes, prefix->p, prefix->size);
    if (size > 0) memcpy(bytes + prefix->size, key->p, size);
    *out = (struct kv_key){bytes, prefix->size + size, (uint8_t)cls};
    if (!vt_set_keep(set, out, out)) out->p = NULL;
    sqlite3_free(bytes);
    return out->p != NULL;
}

/* What `range` has of one class, behind `prefix`. */
static bool vvalue_range_prefix(struct vt_set *set, const struct kv_key *prefix,
                                const struct vt_range *range, unsigned cls)
{
    const bool lo = range->has_lo && range->lo.cls == cls;
    const bool hi = range->has_hi && range->hi.cls == cls;
    struct vt_range *out;

    if (range->has_lo && range->lo.cls > cls) return true;
    if (range->has_hi && range->hi.cls < cls) return true;
    out = vvalue_range_new(set);
    if (out == NULL) return false;
    out->has_lo = out->has_hi = true;
    out->lo_open = lo && range->lo_open;
    out->hi_open = !hi || range->hi_open;
    out->point = range->point;
    if (!vvalue_join(set, prefix, lo ? &range->lo : NULL, cls, &out->lo))
        return false;
    if (hi) return vvalue_join(set, prefix, &range->hi, cls, &out->hi);
    if (!vvalue_prefix_end(set, prefix, &out->hi)) return false;
    out->hi.cls = (uint8_t)cls;
    return true;
}

/* The class of a key is that of what follows the prefix, and so is the order:
 * the prefix is TEXT. An interval that reaches from TEXT into BLOB becomes
 * two, for the keys that begin otherwise lie in between. */
bool vt_set_prefix(struct vt_set *set, const struct kv_key *prefix)
{
    const unsigned count = set->count;
    struct vt_range *old;
    bool ok = true;

    static_assert(KV_TEXT < KV_BLOB, "in the order of keys (VA3)");
    if (prefix->size == 0 || count == 0) return true;
    old = sqlite3_malloc64((sqlite3_uint64)count * sizeof(*old));
    if (old == NULL) return false;
    memcpy(old, set->ranges, count * sizeof(*old));
    set->count = 0;
    for (unsigned i = 0; ok && i < count; i++)
        ok = vvalue_range_prefix(set, prefix, &old[i], KV_TEXT) &&
             vvalue_range_prefix(set, prefix, &old[i], KV_BLOB);
    sqlite3_free(old);
    return ok;
}

bool vt_set_glob(struct vt_set *set, const struct kv_key *pattern, bool *exact)
{
    struct kv_key prefix = {pattern->p, 0, KV_TEXT};
    struct vt_range by;

    *exact = true;
    while (prefix.size < pattern->size &&
           strchr("*?[", pattern->p[prefix.size]) == NULL) {
        if (pattern->p[prefix.size] >= 0x80) *exact = false; /* if not UTF-8 */
        prefix.size++; /* strchr finds the NUL too: the pattern ends there */
    }
    if (prefix.size + 1 != pattern->size || pattern->p[prefix.size] != '*')
        *exact = false;
    if (!vvalue_prefix_range(set, &prefix, &by)) return false;
    vvalue_set_cut(set, &by);
    return true;
}

static bool vvalue_is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Case variant number `variant` of the prefix, in ascending order of bytes:
 * the first letter is the highest bit, 0 is upper case. */
static void vvalue_like_variant(struct kv_key *prefix, uint8_t *out,
                               unsigned letters, unsigned variant)
{
    for (uint32_t i = 0; i < prefix->size; i++) {
        out[i] = prefix->p[i];
        if (!vvalue_is_letter(out[i])) continue;
        letters--;
        out[i] = (uint8_t)((out[i] & ~0x20) |
                           ((variant >> letters & 1) ? 0x20 : 0));
    }
}

bool vt_set_like(struct vt_set *set, const struct kv_key *pattern)
{
    struct kv_key prefix = {pattern->p, 0, KV_TEXT};
    struct kv_key variant;
    struct vt_range before, *range;
    unsigned letters = 0;

    KV_ASSERT(set->count <= 1); /* LIKE narrows one interval */
    if (set->count == 0) return true;
    for (; prefix.size < pattern->size; prefix.size++) {
        uint8_t c = pattern->p[prefix.size];
        if (c == '%' || c == '_' || c == 0 || c >= 0x80) break;
        if (vvalue_is_letter(c) && letters++ == VVALUE_LIKE_LETTERS_MAX) {
            letters--;
            break;
        }
    }
    before = set->ranges[0];
    set->count = 0;
    if (!vt_set_keep(set, &prefix, &variant)) return false;
    for (unsigned i = 0; i < 1u << letters; i++) {
        vvalue_like_variant(&prefix, (uint8_t *)(uintptr_t)variant.p, letters,
                           i);
        range = vvalue_range_new(set);
        if (range == NULL || !vvalue_prefix_range(set, &variant, range))
            return false;
    }
    vvalue_set_cut(set, &before);
    return true;
}

/* ---- values out ------------------------------------------------------------------------ */

void vt_result_bytes(sqlite3_context *context, const uint8_t *p, size_t size,
                     unsigned cls, bool keep)
{
    if (p == NULL) p = (const uint8_t *)"";
    if (cls == KV_BLOB)
        sqlite3_result_blob64(context, p, size,
                              keep ? SQLITE_STATIC : SQLITE_TRANSIENT);
    else if (keep && size < VVALUE_STATIC_TEXT_MAX)
        sqlite3_result_text(context, (const char *)p, -1, SQLITE_STATIC);
    else
        sqlite3_result_text64(context, (const char *)p, size,
                              keep ? SQLITE_STATIC : SQLITE_TRANSIENT,
                              SQLITE_UTF8);
}

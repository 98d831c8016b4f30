/* seek.c - what a query wants of an index, as intervals of its entries
 * (sql.md KH4).
 *
 * Entries are compared as bytes (datum.h), so a value of a right-hand side is
 * made what the column would compare it as: PL4 for columns of numbers, which
 * is exact for every type; as it is for columns of BLOBs, whose affinity
 * converts nothing; PL1 and PL2 for TEXT, where a number that may be compared
 * as one stands for all texts that look like numbers.
 *
 *   city = 'Rome' AND age > 30   lo: 20 "Rome" 00 | 10 30. END
 *                                hi: 20 "Rome" 00 | END
 *
 * Thread: the session's. */
#include "vtab/khash.h"

#include <stdlib.h>
#include <string.h>

#define SEEK_SIZE_MAX ((size_t)1 << 30) /* bytes of all bounds */

void vt_seek_init(struct vt_seek *seek)
{
    memset(seek, 0, sizeof(*seek));
    kv_buf_init(&seek->bytes, KV_MEM_MISC, SEEK_SIZE_MAX);
    kv_buf_init(&seek->scratch, KV_MEM_MISC, SEEK_SIZE_MAX);
    kv_buf_init(&seek->text, KV_MEM_MISC, KVSQL_KEY_MAX + 1);
    kv_buf_init(&seek->pile, KV_MEM_MISC, SIZE_MAX / 4);
}

void vt_seek_begin(struct vt_seek *seek, struct vt_khash *khash, unsigned bits)
{
    seek->khash = khash;
    seek->index = &khash->index[bits & VT_SEEK_NUMBER];
    seek->bits = bits;
    seek->loose = seek->walking = seek->piled = seek->covers = false;
    seek->fixed_columns = 0;
    seek->fixed = 0;
    seek->parsed = -1;
    seek->count = seek->arm = 0;
    seek->row_count = seek->row = 0;
    kv_buf_cut(&seek->bytes, 0);
    kv_buf_cut(&seek->scratch, 0);
    kv_buf_cut(&seek->text, 0);
    kv_buf_cut(&seek->pile, 0);
}

void vt_seek_fini(struct vt_seek *seek)
{
    kv_buf_fini(&seek->bytes);
    kv_buf_fini(&seek->scratch);
    kv_buf_fini(&seek->text);
    kv_buf_fini(&seek->pile);
    sqlite3_free(seek->arms);
    sqlite3_free(seek->rows);
}

/* ---- bounds ---------------------------------------------------------------- */

/* A TEXT ends at a NUL; no value lies between what is before it and it. */
static bool seek_cut(struct kv_datum *datum)
{
    const uint8_t *nul = datum->kind == KV_DATUM_TEXT && datum->size > 0
                             ? memchr(datum->p, 0, datum->size)
                             : NULL;

    if (nul != NULL) datum->size = (uint32_t)(nul - datum->p);
    return nul != NULL;
}

/* The first `equal` bytes of scratch, then the value (NULL: none), then a
 * byte. Into bytes; returns the place. */
static size_t seek_bound(struct vt_seek *seek, size_t equal,
                         const struct kv_datum *datum, int last)
{
    const size_t place = seek->bytes.size;

    if (equal > 0) kv_buf_add(&seek->bytes, seek->scratch.p, equal);
    if (datum != NULL) kv_datum_put(&seek->bytes, datum);
    if (last >= 0) kv_buf_byte(&seek->bytes, (uint8_t)last);
    return place;
}

static int seek_arm(struct vt_seek *seek, size_t lo, size_t hi)
{
    if (seek->bytes.failed) return SQLITE_NOMEM;
    if (seek->count == seek->cap) {
        const unsigned cap = seek->cap > 0 ? seek->cap * 2 : 4;
        void *grown = sqlite3_realloc64(
            seek->arms, (sqlite3_uint64)cap * sizeof(seek->arms[0]));
        if (grown == NULL) return SQLITE_NOMEM;
        seek->arms = grown;
        seek->cap = cap;
    }
    seek->arms[seek->count++] = (struct vt_arm_bytes){
        lo, hi - lo, hi, seek->bytes.size - hi};
    return SQLITE_OK;
}

/* Entries that begin with what scratch holds. */
static int seek_all(struct vt_seek *seek)
{
    const size_t equal = seek->scratch.size;
    const size_t lo = seek_bound(seek, equal, NULL, -1);

    return seek_arm(seek, lo, seek_bound(seek, equal, NULL, KV_DATUM_END));
}

/* ... and go on with this value. */
static int seek_point(struct vt_seek *seek, struct kv_datum *datum)
{
    const size_t equal = seek->scratch.size;
    size_t lo;

    if (seek_cut(datum)) return SQLITE_OK; /* equal to nothing */
    lo = seek_bound(seek, equal, datum, -1);
    return seek_arm(seek, lo, seek_bound(seek, equal, datum, KV_DATUM_END));
}

/* ... or with one between the two; NULL pointers: no bound. */
static int seek_between(struct vt_seek *seek, struct kv_datum *lo, bool lo_open,
                        struct kv_datum *hi, bool hi_open)
{
    const size_t equal = seek->scratch.size;
    size_t from, to;

    if (lo == NULL) {
        from = seek_bound(seek, equal, NULL, KV_DATUM_NONE + 1);
    } else {
        const bool cut = seek_cut(lo);
        from = seek_bound(seek, equal, lo, cut || lo_open ? KV_DATUM_END : -1);
    }
    if (hi == NULL) {
        to = seek_bound(seek, equal, NULL, KV_DATUM_END);
    } else {
        const bool cut = seek_cut(hi);
        to = seek_bound(seek, equal, hi, cut || !hi_open ? KV_DATUM_END : -1);
    }
    return seek_arm(seek, from, to);
}

/* ---- values ---------------------------------------------------------------- */

static void seek_bytes(sqlite3_value *value, struct kv_datum *datum)
{
    datum->size = (uint32_t)sqlite3_value_bytes(value);
    datum->p = sqlite3_value_blob(value);
    if (datum->p == NULL) { /* empty, or a zeroblob without memory: SQLite's
                               statement will say so */
        datum->p = (const uint8_t *)"";
        datum->size = 0;
    }
}

/* A right-hand side as a column that is not TEXT compares it. */
static int seek_datum(sqlite3_value *value, enum vt_affinity affinity,
                      struct kv_datum *datum)
{
    const int type = sqlite3_value_type(value);
    struct vt_number number = {.kind = VT_NUM_ABOVE};

    *datum = (struct kv_datum){.kind = KV_DATUM_NULL};
    if (type == SQLITE_NULL) return SQLITE_OK;
    if ((type == SQLITE_INTEGER || type == SQLITE_FLOAT ||
         (type == SQLITE_TEXT && affinity != VT_AFFINITY_NONE)) &&
        !vt_number_get(value, &number))
        return SQLITE_NOMEM;
    switch (number.kind) {
    case VT_NUM_INT:
        datum->kind = KV_DATUM_INT;
        datum->integer = number.integer;
        break;
    case VT_NUM_REAL:
        datum->kind = KV_DATUM_REAL;
        datum->real = number.real;
        break;
    case VT_NUM_NULL: break;
    case VT_NUM_ABOVE:
        datum->kind = type == SQLITE_BLOB ? KV_DATUM_BLOB : KV_DATUM_TEXT;
        seek_bytes(value, datum);
        break;
    }
    return SQLITE_OK;
}

static struct kv_datum seek_key(const struct kv_key *key)
{
    return (struct kv_datum){
        .kind = key->cls == KV_TEXT ? KV_DATUM_TEXT : KV_DATUM_BLOB,
        .p = key->p, .size = key->size};
}

/* The intervals of a set of TEXT. */
static int seek_set(struct vt_seek *seek, const struct vt_set *set)
{
    int rc = SQLITE_OK;

    for (unsigned i = 0; rc == SQLITE_OK && i < set->count; i++) {
        const struct vt_range *range = &set->ranges[i];
        struct kv_datum lo, hi;
        if (range->has_lo) lo = seek_key(&range->lo);
        if (range->has_hi) hi = seek_key(&range->hi);
        rc = range->point
                 ? seek_point(seek, &lo)
                 : seek_between(seek, range->has_lo ? &lo : NULL,
                                range->lo_open, range->has_hi ? &hi : NULL,
                                range->hi_open);
    }
    return rc;
}

/* ---- columns --------------------------------------------------------------- */

static enum vt_affinity seek_affinity(const struct vt_seek *seek, unsigned i)
{
    return seek->khash->column[seek->index->column[i]].affinity;
}

/* Column i is equal to the value: scratch goes on with it. *done: there are
 * intervals already, or there is nothing. */
static int seek_equal(struct vt_seek *seek, unsigned i, struct vt_set *set,
                      sqlite3_value *value, bool *done)
{
    const int type = sqlite3_value_type(value);
    const bool is = (seek->bits >> VT_SEEK_IS_SHIFT & 1u << i) != 0;
    struct kv_datum datum;
    int rc;

    *done = type == SQLITE_NULL && !is;
    if (*done) return SQLITE_OK;
    if (seek_affinity(seek, i) == VT_AFFINITY_TEXT && type != SQLITE_NULL &&
        type != SQLITE_TEXT && type != SQLITE_BLOB) {
        vt_set_reset(set);
        if (!vt_set_equal(set, value)) return SQLITE_NOMEM;
        vt_set_sort(set);
        if (set->count != 1 || !set->ranges[0].point) {
            *done = seek->loose = true;
            return seek_set(seek, set);
        }
        datum = seek_key(&set->ranges[0].lo);
    } else {
        rc = seek_datum(value,
                        seek_affinity(seek, i) == VT_AFFINITY_TEXT
                            ? VT_AFFINITY_NONE
                            : seek_affinity(seek, i),
                        &datum);
        if (rc != SQLITE_OK) return rc;
    }
    if (seek_cut(&datum)) {
        *done = true;
        return SQLITE_OK;
    }
    kv_datum_put(&seek->scratch, &datum);
    return seek->scratch.failed ? SQLITE_NOMEM : SQLITE_OK;
}

struct seek_sortable {
    struct vt_arm_bytes arm;
    const uint8_t *lo;
};

static int seek_compare(const void *a_arg, const void *b_arg)
{
    const struct seek_sortable *a = a_arg, *b = b_arg;
    const struct kv_key x = {a->lo, (uint32_t)a->arm.lo_size, KV_BLOB};
    const struct kv_key y = {b->lo, (uint32_t)b->arm.lo_size, KV_BLOB};

    return kv_key_compare(&x, &y);
}

/* Points in order, each once. */
static int seek_sort(struct vt_seek *seek)
{
    struct seek_sortable *rows;
    unsigned kept = 0;

    if (seek->count < 2) return SQLITE_OK;
    rows = sqlite3_malloc64((sqlite3_uint64)seek->count * sizeof(*rows));
    if (rows == NULL) return SQLITE_NOMEM;
    for (unsigned i = 0; i < seek->count; i++)
        rows[i] = (struct seek_sortable){seek->arms[i],
                                         seek->bytes.p + seek->arms[i].lo};
    qsort(rows, seek->count, sizeof(*rows), seek_compare);
    for (unsigned i = 0; i < seek->count; i++)
        if (i == 0 || seek_compare(&rows[i - 1], &rows[i]) != 0)
            seek->arms[kept++] = rows[i].arm;
    seek->count = kept;
    sqlite3_free(rows);
    return SQLITE_OK;
}

static int seek_in(struct vt_seek *seek, unsigned i, struct vt_set *set,
                   sqlite3_value *list)
{
    const enum vt_affinity affinity = seek_affinity(seek, i);
    sqlite3_value *value = NULL;
    struct kv_datum datum;
    int rc = sqlite3_vtab_in_first(list, &value);

    vt_set_reset(set);
    for (; rc == SQLITE_OK; rc = sqlite3_vtab_in_next(list, &value)) {
        if (affinity == VT_AFFINITY_TEXT) {
            if (!vt_set_equal(set, value)) return SQLITE_NOMEM;
            continue;
        }
        rc = seek_datum(value, affinity, &datum);
        if (rc == SQLITE_OK && datum.kind != KV_DATUM_NULL)
            rc = seek_point(seek, &datum);
        if (rc != SQLITE_OK) return rc;
    }
    if (rc != SQLITE_DONE) return rc;
    if (affinity != VT_AFFINITY_TEXT) return seek_sort(seek);
    vt_set_sort(set);
    return seek_set(seek, set);
}

static int seek_range_text(struct vt_seek *seek, struct vt_set *set,
                           sqlite3_value *lo, sqlite3_value *hi)
{
    const unsigned bits = seek->bits;

    vt_set_reset(set);
    vt_set_all(set);
    if (lo != NULL && !vt_set_above(set, lo, (bits & VT_SEEK_LO_OPEN) != 0))
        return SQLITE_NOMEM;
    if (hi != NULL && !vt_set_below(set, hi, (bits & VT_SEEK_HI_OPEN) != 0,
                                    (bits & VT_SEEK_HI_KNOWN) != 0))
        return SQLITE_NOMEM;
    return seek_set(seek, set);
}

static int seek_range(struct vt_seek *seek, unsigned i, struct vt_set *set,
                      sqlite3_value **argv)
{
    sqlite3_value *lo = seek->bits & VT_SEEK_LO ? *argv++ : NULL;
    sqlite3_value *hi = seek->bits & VT_SEEK_HI ? *argv : NULL;
    struct kv_datum from = {.kind = KV_DATUM_NULL};
    struct kv_datum to = {.kind = KV_DATUM_NULL};
    int rc = SQLITE_OK;

    if (seek_affinity(seek, i) == VT_AFFINITY_TEXT)
        return seek_range_text(seek, set, lo, hi);
    if (lo != NULL) rc = seek_datum(lo, seek_affinity(seek, i), &from);
    if (rc == SQLITE_OK && hi != NULL)
        rc = seek_datum(hi, seek_affinity(seek, i), &to);
    if (rc != SQLITE_OK || (lo != NULL && from.kind == KV_DATUM_NULL) ||
        (hi != NULL && to.kind == KV_DATUM_NULL))
        return rc;
    return seek_between(seek, lo != NULL ? &from : NULL,
                        (seek->bits & VT_SEEK_LO_OPEN) != 0,
                        hi != NULL ? &to : NULL,
                        (seek->bits & VT_SEEK_HI_OPEN) != 0);
}

int vt_seek_arms(struct vt_seek *seek, bool bound, bool text,
                 sqlite3_value **argv)
{
    const unsigned equal =
        (seek->bits & VT_SEEK_EQUAL) >> VT_SEEK_EQUAL_SHIFT;
    struct vt_set set;
    bool done = false;
    int rc = SQLITE_OK;

    vt_set_init(&set);
    set.bound = bound;
    set.text = text;
    for (unsigned i = 0; rc == SQLITE_OK && !done && i < equal; i++)
        rc = seek_equal(seek, i, &set, *argv++, &done);
    if (rc == SQLITE_OK && !done) {
        seek->fixed_columns = (int)equal;
        seek->fixed = seek->scratch.size;
    }
    if (rc == SQLITE_OK && !done)
        rc = seek->bits & VT_SEEK_IN ? seek_in(seek, equal, &set, *argv)
             : seek->bits & (VT_SEEK_LO | VT_SEEK_HI)
                 ? seek_range(seek, equal, &set, argv)
                 : seek_all(seek);
    vt_set_fini(&set);
    return rc;
}

uint64_t vt_seek_count(const struct vt_seek *seek, const struct kv_at *at,
                       const struct kv_item *entries)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < seek->count; i++) {
        const struct vt_arm_bytes *arm = &seek->arms[i];
        const struct kv_key lo = {seek->bytes.p + arm->lo,
                                  (uint32_t)arm->lo_size, KV_BLOB};
        const struct kv_key hi = {seek->bytes.p + arm->hi,
                                  (uint32_t)arm->hi_size, KV_BLOB};
        const uint64_t from = kv_elem_key_rank(at, entries, &lo);
        const uint64_t to = kv_elem_key_rank(at, entries, &hi);
        count += to > from ? to - from : 0;
    }
    return count;
}

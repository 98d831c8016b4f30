/* khash_rows.c - rows of kv_hash in the order of an index (sql.md KH4).
 *
 * The cursor's walk over elements, which a table without elements does not
 * need, goes over entries; each leads to a key, and that to its hash. A hash
 * whose key has expired is not found. One whose fields expire has an entry for
 * each state to come: the one that says what the row is now is the row.
 *
 * A plan was made when the index was complete, and may be run where it is not:
 * on an older view, or behind a failure that took the end of its building
 * back. And a computed number that is compared with TEXT stands for many texts,
 * among which the order of the next column is none. Then the entries of the
 * intervals are collected, from the hashes or from the index, and sorted.
 *
 * A query that asks for columns of the index alone is read from the entries,
 * without a look at the hashes, where nothing has expired or will have entries
 * for it.
 *
 * Thread: the session's. */
#include "vtab/khash.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct vt_seek_row {
    const uint8_t *sort, *entry;
    uint32_t sort_size, size;
    size_t place; /* in the pile, until it is whole */
};

#define KROWS_KEEP 4096 /* bytes of each buffer that wait for the next */

int vt_seek_args(struct vt_cursor *cursor, unsigned plan, sqlite3_value **argv)
{
    struct vt_khash *khash = (struct vt_khash *)cursor->table;

    if (cursor->seek == NULL) {
        cursor->seek = sqlite3_malloc64(sizeof(*cursor->seek));
        if (cursor->seek == NULL) return SQLITE_NOMEM;
        vt_seek_init(cursor->seek);
    }
    vt_seek_begin(cursor->seek, khash, plan);
    cursor->seeking = true;
    return vt_seek_arms(cursor->seek, (plan & VT_PLAN_BOUND) != 0,
                        (plan & VT_PLAN_TEXT) != 0, argv);
}

void vt_seek_end(struct vt_cursor *cursor)
{
    const struct vt_seek *seek = cursor->seek;

    cursor->seeking = false;
    if (seek != NULL &&
        (seek->piled || seek->cap > 16 || seek->bytes.cap > KROWS_KEEP ||
         seek->scratch.cap > KROWS_KEEP || seek->text.cap > KROWS_KEEP))
        vt_seek_free(cursor);
}

void vt_seek_free(struct vt_cursor *cursor)
{
    if (cursor->seek == NULL) return;
    vt_seek_fini(cursor->seek);
    sqlite3_free(cursor->seek);
    cursor->seek = NULL;
}

/* ---- entries --------------------------------------------------------------- */

/* Bytes of the first `columns` values of an entry. */
static size_t krows_values(const struct kv_key *entry, int columns)
{
    size_t place = 0;

    for (int i = 0; i < columns; i++)
        place += kv_datum_size(entry->p + place, entry->size - place);
    return place;
}

/* The values that a row has now, in scratch. */
static int krows_encode(struct vt_seek *seek, const struct kv_at *at,
                       const struct kv_item *item)
{
    struct vt_khash *khash = seek->khash;
    int rc = SQLITE_OK;

    kv_buf_cut(&seek->scratch, 0);
    for (int i = 0; rc == SQLITE_OK && i < seek->index->columns; i++) {
        struct vt_cell cell = {.kind = VT_CELL_NULL};
        struct kv_datum datum;
        struct kv_elem elem;
        rc = vt_khash_cell(khash, at, item, seek->index->column[i], &elem,
                           &cell);
        vt_typed_datum(&cell, &datum);
        kv_datum_put(&seek->scratch, &datum);
    }
    if (rc == SQLITE_OK && seek->scratch.failed) rc = SQLITE_NOMEM;
    return rc;
}

/* The key that an entry leads to, behind `values` bytes; false: no memory. */
static bool krows_key(struct vt_seek *seek, const struct kv_key *entry,
                      size_t values)
{
    const struct kv_key *prefix = &seek->khash->prefix;

    KV_ASSERT(values < entry->size);
    if (seek->text.size < prefix->size) {
        kv_buf_cut(&seek->text, 0);
        kv_buf_add(&seek->text, prefix->p, prefix->size);
        if (seek->text.failed) return false;
    }
    kv_buf_cut(&seek->text, prefix->size);
    kv_buf_add(&seek->text, entry->p + values + 1, entry->size - values - 1);
    seek->key = (struct kv_key){seek->text.p, (uint32_t)seek->text.size,
                                entry->p[values]};
    return !seek->text.failed;
}

/* The row of an entry into cursor->looked_up; *found: it is there, and says
 * what the entry says. */
static int krows_open(struct vt_cursor *cursor, const struct kv_key *entry,
                      bool *found)
{
    struct vt_seek *seek = cursor->seek;
    const size_t values = krows_values(entry, seek->index->columns);
    int rc;

    if (!krows_key(seek, entry, values)) return SQLITE_NOMEM;
    *found = kv_get(&cursor->at, &seek->key, &cursor->looked_up);
    if (!*found || !kv_item_fields_expire(&cursor->looked_up))
        return SQLITE_OK;
    rc = krows_encode(seek, &cursor->at, &cursor->looked_up);
    *found = rc == SQLITE_OK && seek->scratch.size == values &&
             memcmp(seek->scratch.p, entry->p, values) == 0;
    return rc;
}

/* ---- walking --------------------------------------------------------------- */

static struct kv_key krows_lo(const struct vt_seek *seek, unsigned arm)
{
    return (struct kv_key){seek->bytes.p + seek->arms[arm].lo,
                           (uint32_t)seek->arms[arm].lo_size, KV_BLOB};
}

static struct kv_key krows_hi(const struct vt_seek *seek, unsigned arm)
{
    return (struct kv_key){seek->bytes.p + seek->arms[arm].hi,
                           (uint32_t)seek->arms[arm].hi_size, KV_BLOB};
}

static struct kv_key krows_entry(const struct vt_cursor *cursor)
{
    const struct kv_val *val = &cursor->elem_walk.elem.key;

    return (struct kv_key){val->p, val->size, KV_BLOB};
}

/* The next entry of the interval in hand, or the first one of the next. */
static bool krows_step(struct vt_cursor *cursor)
{
    struct vt_seek *seek = cursor->seek;
    struct kv_elems *walk = &cursor->elem_walk;
    const bool desc = (seek->bits & VT_SEEK_DESC) != 0;
    bool found = seek->walking &&
                 (desc ? kv_elems_prev(walk) : kv_elems_next(walk));

    for (;;) {
        unsigned arm = desc ? seek->count - seek->arm : seek->arm - 1;
        if (found) {
            const struct kv_key entry = krows_entry(cursor);
            const struct kv_key end = desc ? krows_lo(seek, arm)
                                           : krows_hi(seek, arm);
            const int order = kv_key_compare(&entry, &end);
            if (desc ? order >= 0 : order < 0) return true;
        }
        seek->walking = seek->arm < seek->count;
        if (!seek->walking) return false;
        arm = desc ? seek->count - ++seek->arm : seek->arm++;
        const struct kv_key from = desc ? krows_hi(seek, arm)
                                        : krows_lo(seek, arm);
        found = desc ? kv_elems_seek_key_back(walk, &from, true)
                     : kv_elems_seek_key(walk, &from, false);
    }
}

/* ---- collecting ------------------------------------------------------------ */

static bool krows_wanted(const struct vt_seek *seek, const struct kv_key *entry)
{
    for (unsigned i = 0; i < seek->count; i++) {
        const struct kv_key lo = krows_lo(seek, i), hi = krows_hi(seek, i);
        if (kv_key_compare(entry, &lo) >= 0 && kv_key_compare(entry, &hi) < 0)
            return true;
    }
    return false;
}

static int krows_add(struct vt_seek *seek, const struct kv_key *entry)
{
    if (seek->row_count == seek->row_cap) {
        const size_t cap = seek->row_cap > 0 ? seek->row_cap * 2 : 64;
        void *grown = sqlite3_realloc64(seek->rows, cap * sizeof(*seek->rows));
        if (grown == NULL) return SQLITE_NOMEM;
        seek->rows = grown;
        seek->row_cap = cap;
    }
    seek->rows[seek->row_count++] = (struct vt_seek_row){
        .place = seek->pile.size, .size = entry->size};
    kv_buf_add(&seek->pile, entry->p, entry->size);
    return seek->pile.failed ? SQLITE_NOMEM : SQLITE_OK;
}

/* The entries of the index in the intervals. */
static int krows_collect_entries(struct vt_cursor *cursor)
{
    bool found = false;
    int rc = SQLITE_OK;

    while (rc == SQLITE_OK && krows_step(cursor)) {
        const struct kv_key entry = krows_entry(cursor);
        if (vt_cursor_stop(cursor)) return vt_cursor_interrupted(cursor);
        rc = krows_open(cursor, &entry, &found);
        if (rc == SQLITE_OK && found) rc = krows_add(cursor->seek, &entry);
    }
    return rc;
}

/* The entry that a hash would have now, in scratch, if it is wanted. */
static int krows_collect_hash(struct vt_cursor *cursor,
                             const struct kv_keys *keys)
{
    struct vt_seek *seek = cursor->seek;
    const uint32_t prefix = seek->khash->prefix.size;
    struct kv_key entry;
    int rc = krows_encode(seek, &cursor->at, &keys->item);

    if (rc != SQLITE_OK) return rc;
    kv_buf_byte(&seek->scratch, (uint8_t)(KV_DATUM_KEY + keys->key.cls));
    kv_buf_add(&seek->scratch, keys->key.p + prefix, keys->key.size - prefix);
    if (seek->scratch.failed) return SQLITE_NOMEM;
    entry = (struct kv_key){seek->scratch.p, (uint32_t)seek->scratch.size,
                            KV_BLOB};
    return krows_wanted(seek, &entry) ? krows_add(seek, &entry) : SQLITE_OK;
}

/* All hashes behind the prefix, one class after the other. */
static int krows_collect_hashes(struct vt_cursor *cursor)
{
    struct kv_key prefix = cursor->seek->khash->prefix;
    struct kv_keys *keys = &cursor->walk;
    int rc = SQLITE_OK;

    kv_keys_init(keys, &cursor->at, 1u << KV_HASH);
    for (unsigned cls = KV_TEXT; cls <= KV_BLOB; cls++) {
        prefix.cls = (uint8_t)cls;
        for (bool ok = kv_keys_seek(keys, &prefix, false);
             ok && rc == SQLITE_OK && keys->key.cls == cls &&
             keys->key.size >= prefix.size &&
             memcmp(keys->key.p, prefix.p, prefix.size) == 0;
             ok = kv_keys_next(keys)) {
            if (vt_cursor_stop(cursor)) return vt_cursor_interrupted(cursor);
            rc = krows_collect_hash(cursor, keys);
        }
    }
    return rc;
}

static int krows_compare(const void *a_arg, const void *b_arg)
{
    const struct vt_seek_row *a = a_arg, *b = b_arg;
    const struct kv_key x = {a->sort, a->sort_size, KV_BLOB};
    const struct kv_key y = {b->sort, b->sort_size, KV_BLOB};

    return kv_key_compare(&x, &y);
}

/* In the order of the index, or of what follows the columns that are equal to
 * something. */
static void krows_sort(struct vt_seek *seek)
{
    const int equal = seek->bits & VT_SEEK_SORT
                          ? (int)((seek->bits & VT_SEEK_EQUAL) >>
                                  VT_SEEK_EQUAL_SHIFT)
                          : 0;

    for (size_t i = 0; i < seek->row_count; i++) {
        struct vt_seek_row *row = &seek->rows[i];
        row->entry = seek->pile.p + row->place;
        const struct kv_key entry = {row->entry, row->size, KV_BLOB};
        const size_t skip = krows_values(&entry, equal);
        row->sort = row->entry + skip;
        row->sort_size = row->size - (uint32_t)skip;
    }
    if (seek->row_count > 1)
        qsort(seek->rows, seek->row_count, sizeof(*seek->rows), krows_compare);
}

int vt_seek_start(struct vt_cursor *cursor)
{
    struct vt_seek *seek = cursor->seek;
    const struct kv_key id = {seek->index->id.p,
                              (uint32_t)seek->index->id.size, KV_BLOB};
    struct kv_item entries;
    const bool complete = kv_index_get(&cursor->at, &id, &entries);
    int rc = SQLITE_OK;

    if (seek->count == 0) return SQLITE_OK;
    if (complete)
        kv_elems_init(&cursor->elem_walk, &cursor->at, &entries, KV_ELEMS_KEY);
    if (complete && !(seek->loose && seek->bits & VT_SEEK_SORT)) {
        seek->covers = (seek->bits & VT_SEEK_COVER) != 0 &&
                       kv_index_single(&entries) && kv_none_due(&cursor->at);
        cursor->covering = seek->covers && !cursor->copy;
        return SQLITE_OK;
    }
    rc = complete ? krows_collect_entries(cursor) : krows_collect_hashes(cursor);
    if (rc != SQLITE_OK) return rc;
    krows_sort(seek);
    seek->piled = true;
    return SQLITE_OK;
}

/* The next entry; it lives until the next call. */
static bool krows_next_entry(struct vt_cursor *cursor, struct kv_key *entry)
{
    struct vt_seek *seek = cursor->seek;
    const bool desc = (seek->bits & VT_SEEK_DESC) != 0;

    if (!seek->piled) {
        if (!krows_step(cursor)) return false;
        *entry = krows_entry(cursor);
        return true;
    }
    if (seek->row == seek->row_count) return false;
    const struct vt_seek_row *row =
        &seek->rows[desc ? seek->row_count - ++seek->row : seek->row++];
    *entry = (struct kv_key){row->entry, row->size, KV_BLOB};
    return true;
}

int vt_seek_next(struct vt_cursor *cursor, bool *found)
{
    struct kv_key entry;
    int rc = SQLITE_OK;

    *found = false;
    if (cursor->seek->covers) {
        cursor->seek->parsed = -1;
        *found = krows_next_entry(cursor, &cursor->seek->entry);
        return SQLITE_OK;
    }
    while (rc == SQLITE_OK && !*found && krows_next_entry(cursor, &entry)) {
        rc = krows_open(cursor, &entry, found);
        if (rc == SQLITE_OK && !*found && vt_cursor_stop(cursor))
            return vt_cursor_interrupted(cursor);
    }
    cursor->key = &cursor->seek->key;
    cursor->item = &cursor->looked_up;
    return rc;
}

/* ---- columns of entries ---------------------------------------------------- */

/* A number as a column of the affinity has it; false: the entry does not
 * tell. */
static bool krows_number(enum vt_affinity affinity, double real, uint32_t rest,
                         struct vt_cell *cell)
{
    const double limit = 9223372036854775808.0;

    if (affinity != VT_AFFINITY_REAL &&
        (rest > 0 || (real >= -limit && real < limit && real == floor(real)))) {
        if (rest == 0 && real <= -limit) return false;
        vt_cell_int(cell, (int64_t)real + rest);
        return true;
    }
    cell->kind = VT_CELL_REAL;
    cell->real = real;
    return true;
}

/* The value at p of column number `column`. */
static bool krows_cell(const struct vt_khash *khash, int column,
                       const uint8_t *p, size_t size, struct vt_cell *cell)
{
    const size_t used = kv_datum_size(p, size);
    uint32_t rest;
    double real;

    if (p[0] == KV_DATUM_NONE) return true; /* NULL */
    if (kv_datum_number(p, size, &real, &rest))
        return krows_number(khash->column[column].affinity, real, rest, cell);
    if (p[0] != KV_DATUM_IS_TEXT) return false;
    cell->kind = VT_CELL_BYTES;
    cell->cls = KV_TEXT;
    cell->p = p + 1;
    cell->size = used - 2;
    cell->keep = false;
    return true;
}

/* Where value i of the entry begins, or the key behind all of them. */
static size_t krows_place(struct vt_seek *seek, int i)
{
    const struct kv_key *entry = &seek->entry;

    if (i < seek->fixed_columns) return krows_values(entry, i);
    if (seek->parsed < 0) {
        seek->parsed = seek->fixed_columns;
        seek->place[seek->parsed] = seek->fixed;
    }
    for (; seek->parsed < i; seek->parsed++) {
        const size_t place = seek->place[seek->parsed];
        seek->place[seek->parsed + 1] =
            place + kv_datum_size(entry->p + place, entry->size - place);
    }
    return seek->place[i];
}

/* Column 0: the key without the prefix, which is what an entry ends in. */
static void krows_name(struct vt_seek *seek, struct vt_cell *cell)
{
    const size_t values = krows_place(seek, seek->index->columns);

    KV_ASSERT(values < seek->entry.size);
    cell->kind = VT_CELL_BYTES;
    cell->cls = seek->entry.p[values];
    cell->p = seek->entry.p + values + 1;
    cell->size = seek->entry.size - values - 1;
    cell->keep = false;
}

bool vt_seek_result(struct vt_cursor *cursor, int column,
                    sqlite3_context *context)
{
    struct vt_seek *seek = cursor->seek;
    struct vt_cell cell = {.kind = VT_CELL_NULL};
    int i = 0;

    if (column == 0) {
        krows_name(seek, &cell);
    } else {
        while (i < seek->index->columns && seek->index->column[i] != column)
            i++;
        if (i == seek->index->columns) return false;
        const size_t place = krows_place(seek, i);
        if (!krows_cell(seek->khash, column, seek->entry.p + place,
                        seek->entry.size - place, &cell))
            return false;
    }
    if (cell.kind == VT_CELL_INT)
        sqlite3_result_int64(context, cell.integer);
    else if (cell.kind == VT_CELL_REAL)
        sqlite3_result_double(context, cell.real);
    else if (cell.kind == VT_CELL_BYTES)
        vt_result_bytes(context, cell.p, cell.size, cell.cls, false);
    else
        sqlite3_result_null(context);
    return true;
}

bool vt_seek_cell(struct vt_cursor *cursor, int column, struct vt_cell *cell)
{
    struct vt_seek *seek = cursor->seek;
    const struct kv_key *entry = &seek->entry;
    const int columns = seek->index->columns;
    bool found = false;
    int rc;

    KV_ASSERT(seek->covers);
    cursor->key = &seek->key;
    for (int i = 0; i < columns; i++) {
        if (seek->index->column[i] != column) continue;
        const size_t place = krows_place(seek, i);
        if (krows_cell(seek->khash, column, entry->p + place,
                       entry->size - place, cell))
            return true;
        break;
    }
    if (column == 0) {
        krows_name(seek, cell);
        return true;
    }
    if (column == seek->khash->columns + VT_KHASH_KEY) {
        if (krows_key(seek, entry, krows_place(seek, columns))) return false;
        vt_cell_failed(cell, SQLITE_NOMEM);
        return true;
    }
    rc = krows_open(cursor, entry, &found);
    cursor->item = &cursor->looked_up;
    if (rc == SQLITE_OK) {
        KV_ASSERT(found); /* nothing is due, IX1 */
        return false;
    }
    vt_cell_failed(cell, rc);
    return true;
}

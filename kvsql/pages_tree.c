/* pages_tree.c - rows in order as a b-tree of an SQLite file.
 *
 * Source: "Database File Format", https://sqlite.org/fileformat2.html, for
 * "index b-trees", which tables WITHOUT ROWID are, too. All numbers are big
 * endian. A varint has 7 bits a byte, the highest first.
 *
 *   page   u8 type: 2 inner, 10 leaf | u16 first free block, 0 | u16 cells |
 *          u16 top: the cell that is nearest to the header | u8 0 |
 *          inner: u32 the right child |
 *          u16 offset of each cell, in order | nothing | cells, from the end
 *   cell   inner: u32 left child |
 *          varint bytes of the row | the row, or its first bytes and
 *          u32 first overflow page
 *   row    varint bytes of this head | varint type of each value | values
 *   type   0 NULL, 1-6 integer of 1 2 3 4 6 8 bytes, 7 REAL, 8 zero, 9 one,
 *          12 + 2 n BLOB, 13 + 2 n TEXT of n bytes
 *   overflow page   u32 the next one, 0 behind the last | bytes
 *
 * A row that does not fit into its leaf stands in the parent, between that leaf
 * and the next. It waits beside the page until a row comes behind it, for a
 * page without cells would be damage: if none comes, the page gives up its last
 * cell to the parent, and what waited is alone in the page to the right. It is
 * the same on each level.
 *
 * Always true:
 *   PT1  a page that was done has a cell; so has one with a waiting cell, and
 *        more than one: local_max sees to it that four fit.
 *   PT2  nothing waits on a level with fewer cells than fit.
 *
 * Thread: the caller's. */
#include "kvsql/pages.h"

#include <string.h>

#include "kvsql/base/mem.h"

#define PAGES_LEAF 10
#define PAGES_INNER 2
#define PAGES_LEAF_HEADER 8
#define PAGES_INNER_HEADER 12
#define PAGES_CHILD 4   /* bytes of a page's number */
#define PAGES_CELL_MIN 4
/* what is not in local_max: child, size of the row, overflow page */
#define PAGES_CELL_MORE (PAGES_CHILD + 9 + PAGES_CHILD)
#define PAGES_HEAD_MAX (1 + 9 * KV_PAGE_VALUES_MAX)

_Static_assert(PAGES_HEAD_MAX < 128, "a head's size is one byte");

/* ---- rows -------------------------------------------------------------------- */

/* How a row lies in its cell. */
struct pages_row {
    const struct kv_page_value *values;
    unsigned count;
    uint32_t head;    /* bytes of the head */
    uint32_t payload; /* head and values */
    uint32_t local;   /* of them in the cell */
    uint32_t size;    /* of the cell, without a child */
    uint64_t types[KV_PAGE_VALUES_MAX];
};

static uint32_t pages_varint_size(uint64_t value)
{
    uint32_t size = 1;

    for (; value > 127; value >>= 7)
        size++;
    return size;
}

/* Of at most 56 bits. */
static uint8_t *pages_varint(uint8_t *p, uint64_t value)
{
    if (KV_LIKELY(value < 128)) {
        *p = (uint8_t)value;
        return p + 1;
    }
    const uint32_t size = pages_varint_size(value);

    for (uint32_t i = size; i-- > 0; value >>= 7)
        p[i] = (uint8_t)((value & 127) | 128);
    p[size - 1] &= 127;
    return p + size;
}

static uint64_t pages_type_int(int64_t number)
{
    const uint64_t size = (uint64_t)(number < 0 ? ~number : number);

    if (size <= 1 && number >= 0)
        return 8 + size;
    return size < 1u << 7                 ? 1
           : size < 1u << 15              ? 2
           : size < 1u << 23              ? 3
           : size < 1u << 31              ? 4
           : size < UINT64_C(1) << 47     ? 5
                                          : 6;
}

/* Is it whole, and small enough for 6 bytes? */
static bool pages_is_whole(double real)
{
    const double most = 140737488355328.0; /* 2^47 */

    return real >= -most && real < most && (double)(int64_t)real == real;
}

static uint64_t pages_type(const struct kv_page_value *value)
{
    switch (value->kind) {
    case KV_PAGE_NULL: return 0;
    case KV_PAGE_INT: return pages_type_int(value->number);
    case KV_PAGE_REAL: return 7;
    case KV_PAGE_SCORE:
        return pages_is_whole(value->real)
                   ? pages_type_int((int64_t)value->real) : 7;
    case KV_PAGE_BLOB: return 12 + 2 * (uint64_t)value->size;
    case KV_PAGE_TEXT: return 13 + 2 * (uint64_t)value->size;
    }
    return 0;
}

static uint32_t pages_type_size(uint64_t type)
{
    static const uint8_t sizes[12] = {0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0};

    return type < 12 ? sizes[type] : (uint32_t)((type - 12) / 2);
}

/* False: it is too big. */
static bool pages_measure(const struct kv_pages *pages,
                          const struct kv_page_value *values, unsigned count,
                          struct pages_row *row)
{
    uint64_t payload = 0;

    KV_ASSERT(count <= KV_PAGE_VALUES_MAX);
    row->values = values;
    row->count = count;
    row->head = 1;
    for (unsigned i = 0; i < count; i++) {
        row->types[i] = pages_type(&values[i]);
        row->head += pages_varint_size(row->types[i]);
        payload += pages_type_size(row->types[i]);
    }
    payload += row->head;
    if (payload > KV_PAGE_ROW_MAX)
        return false;
    row->payload = row->local = (uint32_t)payload;
    row->size = pages_varint_size(payload) + row->payload;
    if (KV_UNLIKELY(row->payload > pages->local_max)) {
        const uint32_t part =
            pages->local_min + (row->payload - pages->local_min) %
                                   (pages->usable - PAGES_CHILD);
        row->local = part <= pages->local_max ? part : pages->local_min;
        row->size = pages_varint_size(payload) + row->local + PAGES_CHILD;
    }
    if (row->size < PAGES_CELL_MIN)
        row->size = PAGES_CELL_MIN;
    return true;
}

static uint8_t *pages_head_put(const struct pages_row *row, uint8_t *p)
{
    *p++ = (uint8_t)row->head;
    for (unsigned i = 0; i < row->count; i++)
        p = pages_varint(p, row->types[i]);
    return p;
}

/* A number's bytes, 8 at most. */
static uint8_t *pages_number_put(const struct kv_page_value *value,
                                 uint64_t type, uint8_t *p)
{
    const uint32_t size = pages_type_size(type);
    uint64_t bits = 0;

    if (value->kind == KV_PAGE_INT)
        bits = (uint64_t)value->number;
    else if (type == 7)
        memcpy(&bits, &value->real, sizeof(bits));
    else if (value->kind == KV_PAGE_SCORE)
        bits = (uint64_t)(int64_t)value->real;
    for (uint32_t i = size; i-- > 0; bits >>= 8)
        p[i] = (uint8_t)bits;
    return p + size;
}

/* A row that lies in its cell whole. */
static void pages_local_put(const struct pages_row *row, uint8_t *p)
{
    const uint8_t *const begin = p;

    p = pages_head_put(row, pages_varint(p, row->payload));
    for (unsigned i = 0; i < row->count; i++) {
        const struct kv_page_value *const value = &row->values[i];
        if (row->types[i] >= 12) {
            memcpy(p, value->p, value->size);
            p += value->size;
        } else {
            p = pages_number_put(value, row->types[i], p);
        }
    }
    for (; p < begin + PAGES_CELL_MIN; p++)
        *p = 0;
}

/* ---- rows with overflow pages --------------------------------------------------- */

/* A row as pieces, of which the first bytes are gone. */
struct pages_pieces {
    struct pages_piece {
        const uint8_t *p;
        uint32_t size;
    } at[1 + KV_PAGE_VALUES_MAX];
    unsigned next, count;
    uint8_t head[PAGES_HEAD_MAX];
    uint8_t numbers[8 * KV_PAGE_VALUES_MAX];
};

static void pages_split(const struct pages_row *row,
                        struct pages_pieces *pieces)
{
    uint8_t *number = pieces->numbers;

    pieces->next = 0;
    pieces->count = 1 + row->count;
    (void)pages_head_put(row, pieces->head);
    pieces->at[0] = (struct pages_piece){pieces->head, row->head};
    for (unsigned i = 0; i < row->count; i++) {
        const struct kv_page_value *const value = &row->values[i];
        const uint32_t size = pages_type_size(row->types[i]);
        pieces->at[1 + i] = (struct pages_piece){
            row->types[i] >= 12 ? value->p : number, size};
        if (row->types[i] < 12)
            number = pages_number_put(value, row->types[i], number);
    }
}

/* The next `size` bytes, or all there are; returns how many. */
static uint32_t pages_copy(struct pages_pieces *pieces, uint8_t *to,
                           uint32_t size)
{
    uint32_t done = 0;

    while (done < size && pieces->next < pieces->count) {
        struct pages_piece *const piece = &pieces->at[pieces->next];
        const uint32_t part =
            piece->size < size - done ? piece->size : size - done;
        if (part > 0)
            memcpy(to + done, piece->p, part);
        done += part;
        piece->p += part;
        piece->size -= part;
        pieces->next += piece->size == 0;
    }
    return done;
}

static kvsql_rc pages_overflow_put(struct kv_pages *pages,
                                   const struct pages_row *row, uint8_t *p,
                                   struct kvsql_error *err)
{
    const uint32_t room = pages->usable - PAGES_CHILD;
    struct pages_pieces pieces;
    uint32_t left = row->payload - row->local;

    pages_split(row, &pieces);
    p = pages_varint(p, row->payload);
    p += pages_copy(&pieces, p, row->local);
    kv_page_u32(p, kv_pages_number(pages));
    while (left > 0) {
        uint32_t number;
        uint8_t *const page = kv_pages_next(pages, &number, err);
        if (page == NULL)
            return err->rc;
        const uint32_t part = pages_copy(&pieces, page + PAGES_CHILD, room);
        left -= part;
        kv_page_u32(page, left > 0 ? kv_pages_number(pages) : 0);
        memset(page + PAGES_CHILD + part, 0,
               pages->page_size - PAGES_CHILD - part);
    }
    return KVSQL_OK;
}

static kvsql_rc pages_row_put(struct kv_pages *pages,
                              const struct pages_row *row, uint8_t *p,
                              struct kvsql_error *err)
{
    if (KV_UNLIKELY(row->local != row->payload))
        return pages_overflow_put(pages, row, p, err);
    pages_local_put(row, p);
    return KVSQL_OK;
}

/* ---- levels --------------------------------------------------------------------- */

static uint32_t pages_header_of(const struct kv_page_tree *tree,
                                const struct kv_page_level *level)
{
    return level == tree->levels ? PAGES_LEAF_HEADER : PAGES_INNER_HEADER;
}

static size_t pages_level_bytes(const struct kv_pages *pages)
{
    return (size_t)pages->page_size + 2 * (pages->local_max + PAGES_CELL_MORE);
}

static void pages_level_reset(const struct kv_page_tree *tree,
                              struct kv_page_level *level)
{
    level->waiting_size = 0;
    level->count = 0;
    level->top = tree->pages->usable;
}

/* The level `index`, which is there or the next above. */
static struct kv_page_level *pages_level(struct kv_page_tree *tree,
                                         unsigned index,
                                         struct kvsql_error *err)
{
    if (index < tree->height)
        return &tree->levels[index];
    if (index == KV_PAGE_LEVELS_MAX) {
        (void)kv_fail(err, KVSQL_FULL, "snapshot: a table of %s is deeper "
                      "than SQLite reads", tree->pages->path);
        return NULL;
    }
    struct kv_page_level *const level = &tree->levels[index];
    level->page =
        kv_mem_alloc(KV_MEM_MISC, pages_level_bytes(tree->pages));
    if (level->page == NULL) {
        (void)kv_fail(err, KVSQL_NOMEM, "snapshot: no memory for pages");
        return NULL;
    }
    level->waiting = level->page + tree->pages->page_size;
    pages_level_reset(tree, level);
    tree->height = index + 1;
    return level;
}

/* Where the next cell of `size` bytes goes: into the page, or beside it. */
static uint8_t *pages_cell_place(const struct kv_page_tree *tree,
                                 struct kv_page_level *level, uint32_t size)
{
    const uint32_t offsets = pages_header_of(tree, level) + 2 * level->count;

    KV_DEBUG_ASSERT(level->waiting_size == 0);
    if (KV_UNLIKELY(offsets + 2 + size > level->top)) {
        level->waiting_size = size;
        KV_ASSERT(level->count > 1); /* PT1 */
        return level->waiting;
    }
    level->top -= size;
    level->last_size = size;
    level->count++;
    kv_page_u16(level->page + offsets, level->top);
    return level->page + level->top;
}

/* A leaf's cell has four bytes at least, also when its row needs fewer. */
static uint32_t pages_cell_exact(const uint8_t *cell, uint32_t size)
{
    return size == PAGES_CELL_MIN && cell[0] + 1u < size ? cell[0] + 1u : size;
}

static void pages_cell_copy(const struct kv_page_tree *tree,
                            struct kv_page_level *level, uint32_t child,
                            const uint8_t *cell, uint32_t size)
{
    uint8_t *const place = pages_cell_place(tree, level, PAGES_CHILD + size);

    kv_page_u32(place, child);
    memcpy(place + PAGES_CHILD, cell, size);
}

/* Header, and zeroes between offsets and cells. */
static void pages_dress(const struct kv_page_tree *tree,
                        const struct kv_page_level *level, uint32_t right)
{
    const uint32_t header = pages_header_of(tree, level);
    const uint32_t offsets = header + 2 * level->count;
    uint8_t *const p = level->page;

    KV_ASSERT(level->count > 0); /* PT1 */
    p[0] = header == PAGES_LEAF_HEADER ? PAGES_LEAF : PAGES_INNER;
    kv_page_u16(p + 1, 0);
    kv_page_u16(p + 3, level->count);
    kv_page_u16(p + 5, level->top); /* 65536 is 0 */
    p[7] = 0;
    if (header == PAGES_INNER_HEADER)
        kv_page_u32(p + 8, right);
    memset(p + offsets, 0, level->top - offsets);
    memset(p + tree->pages->usable, 0,
           tree->pages->page_size - tree->pages->usable);
}

/* The page is done. */
static kvsql_rc pages_done(struct kv_page_tree *tree,
                           struct kv_page_level *level, uint32_t right,
                           uint32_t *number, struct kvsql_error *err)
{
    uint8_t *const page = kv_pages_next(tree->pages, number, err);

    if (page == NULL)
        return err->rc;
    pages_dress(tree, level, right);
    memcpy(page, level->page, tree->pages->page_size);
    pages_level_reset(tree, level);
    return KVSQL_OK;
}

/* `cell` stands between the page `child` and the next one of the level below
 * `index`. It may lie beside that page, but not on `index` or above. */
static kvsql_rc pages_divide(struct kv_page_tree *tree, unsigned index,
                             uint32_t child, const uint8_t *cell,
                             uint32_t size, struct kvsql_error *err)
{
    for (;; index++) {
        struct kv_page_level *const level = pages_level(tree, index, err);
        if (level == NULL)
            return err->rc;
        const uint32_t waiting = level->waiting_size;
        if (waiting == 0) {
            pages_cell_copy(tree, level, child, cell, size);
            return KVSQL_OK;
        }
        uint32_t number, right;
        memcpy(&right, level->waiting, PAGES_CHILD);
        const kvsql_rc rc = pages_done(tree, level, __builtin_bswap32(right),
                                       &number, err);
        if (rc != KVSQL_OK)
            return rc;
        pages_cell_copy(tree, level, child, cell, size); /* it is empty */
        child = number;
        cell = level->waiting + PAGES_CHILD;
        size = waiting - PAGES_CHILD;
    }
}

/* ---- the tree ------------------------------------------------------------------- */

void kv_page_tree_init(struct kv_page_tree *tree, struct kv_pages *pages,
                       uint32_t root)
{
    *tree = (struct kv_page_tree){.pages = pages, .root = root};
}

void kv_page_tree_fini(struct kv_page_tree *tree)
{
    for (unsigned i = 0; i < tree->height; i++)
        kv_mem_free(KV_MEM_MISC, tree->levels[i].page,
                    pages_level_bytes(tree->pages));
    tree->height = 0;
}

/* The leaf is full, a row waits, and another one comes. */
static kvsql_rc pages_leaf_done(struct kv_page_tree *tree,
                                struct kvsql_error *err)
{
    struct kv_page_level *const leaf = &tree->levels[0];
    const uint32_t size = pages_cell_exact(leaf->waiting, leaf->waiting_size);
    uint32_t number;
    const kvsql_rc rc = pages_done(tree, leaf, 0, &number, err);

    return rc == KVSQL_OK
               ? pages_divide(tree, 1, number, leaf->waiting, size, err)
               : rc;
}

kvsql_rc kv_page_tree_row(struct kv_page_tree *tree,
                          const struct kv_page_value *values, unsigned count,
                          struct kvsql_error *err)
{
    struct kv_page_level *const leaf = pages_level(tree, 0, err);
    struct pages_row row;

    if (leaf == NULL)
        return err->rc;
    if (!pages_measure(tree->pages, values, count, &row))
        return KVSQL_TOOBIG;
    if (leaf->waiting_size > 0) {
        const kvsql_rc rc = pages_leaf_done(tree, err);
        if (rc != KVSQL_OK)
            return rc;
    }
    tree->rows++;
    return pages_row_put(tree->pages, &row,
                         pages_cell_place(tree, leaf, row.size), err);
}

/* Nothing comes behind what waits on the level: the last cell of the page goes
 * up, and what waits is alone in the next page. */
static kvsql_rc pages_end_waiting(struct kv_page_tree *tree, unsigned index,
                                  struct kvsql_error *err)
{
    struct kv_page_level *const level = &tree->levels[index];
    const uint32_t child_size = index == 0 ? 0 : PAGES_CHILD;
    const uint32_t waiting = level->waiting_size, last = level->last_size;
    uint8_t *const kept = level->waiting + tree->pages->local_max +
                          PAGES_CELL_MORE;
    uint32_t number, right = 0;

    memcpy(kept, level->page + level->top, last);
    memcpy(&right, kept, child_size);
    level->count--; /* PT1 */
    level->top += last;
    kvsql_rc rc =
        pages_done(tree, level, __builtin_bswap32(right), &number, err);
    if (rc == KVSQL_OK)
        rc = pages_divide(tree, index + 1, number, kept + child_size,
                          index == 0 ? pages_cell_exact(kept, last)
                                     : last - PAGES_CHILD, err);
    if (rc == KVSQL_OK)
        memcpy(pages_cell_place(tree, level, waiting), level->waiting,
               waiting);
    return rc;
}

kvsql_rc kv_page_tree_end(struct kv_page_tree *tree, struct kvsql_error *err)
{
    uint32_t right = 0;

    for (unsigned i = 0; i < tree->height; i++) {
        struct kv_page_level *const level = &tree->levels[i];
        if (level->waiting_size > 0) {
            const kvsql_rc rc = pages_end_waiting(tree, i, err);
            if (rc != KVSQL_OK)
                return rc;
        }
        if (level->count == 0)
            return KVSQL_OK; /* of a table without rows: its root is empty */
        if (i + 1 == tree->height) {
            pages_dress(tree, level, right);
            return kv_pages_put(tree->pages, tree->root, level->page, err);
        }
        uint32_t number;
        const kvsql_rc rc = pages_done(tree, level, right, &number, err);
        if (rc != KVSQL_OK)
            return rc;
        right = number;
    }
    return KVSQL_OK;
}

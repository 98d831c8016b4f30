/* entry.h - the bytes of a leaf entry, read and written (drawing in node.h).
 *
 * A cell is an entry without its key: form, class, type, deadline, version,
 * payload. Everything here is pure.
 * Thread: any. */
#ifndef KVSQL_ENTRY_H
#define KVSQL_ENTRY_H

#include <string.h>

#include "kvsql/node.h"

enum kv_form {
    KV_FORM_NONE = 0,        /* set members, entries of the score tree */
    KV_FORM_BYTES = 1,       /* u8 size | bytes | NUL behind TEXT */
    KV_FORM_INT = 2,         /* u8 size | 1-8 bytes little endian */
    KV_FORM_BLOB = 3,        /* pointer to kv_blob */
    KV_FORM_PACKED = 4,      /* u8 size | packed run */
    KV_FORM_PACKED_BLOB = 5, /* pointer to kv_blob that holds the run */
    KV_FORM_TREE = 6         /* pointer to kv_tree */
};

#define META_FORM 0x07
#define META_CLASS_SHIFT 3
#define META_EXP 0x20
#define META_EXP8 0x40
#define META_KEYBLOB 0x80
#define TYPE_MASK 0x07
#define TYPE_VER 0x08
#define TYPE_LRU 0x10
#define KV_LRU_SIZE 3

#define KV_CLASS_UNKNOWN 2 /* EN5: a reader that needs the class scans */

struct kv_cell {
    uint8_t form, cls, type;
    bool has_ver;
    uint32_t size; /* inline payload */
    uint64_t exp;  /* store time ms, 0 = none */
    uint64_t ver;
    const uint8_t *payload; /* inline bytes */
    const uint8_t *lru;     /* its KV_LRU_SIZE bytes (lru.c), NULL = none */
    void *ptr;              /* BLOB, PACKED_BLOB, TREE */
    uint8_t number[8];      /* bytes of an integer that is being written */
};

/* An entry taken apart. */
struct kv_entry {
    const uint8_t *start, *rest, *tail;
    uint32_t klen; /* suffix (KEYBLOB: computed from the blob and plen) */
    uint32_t rest_size, tail_size;
    const struct kv_blob *keyblob;
};

/* Are n bytes the same? Keys are short: two loads that overlap mostly do. */
static inline bool bytes_equal(const uint8_t *a, const uint8_t *b, uint32_t n)
{
    uint64_t x, y, v, w;

    if (n - 8 > 8)
        return n == 0 || memcmp(a, b, n) == 0;
    memcpy(&x, a, 8);
    memcpy(&y, b, 8);
    memcpy(&v, a + n - 8, 8);
    memcpy(&w, b + n - 8, 8);
    return ((x ^ y) | (v ^ w)) == 0;
}

static inline int words_order(uint64_t x, uint64_t y)
{
    return x == y ? 0 : __builtin_bswap64(x) < __builtin_bswap64(y) ? -1 : 1;
}

/* memcmp's order of n bytes, by words that overlap. */
static inline int bytes_order(const uint8_t *a, const uint8_t *b, uint32_t n)
{
    uint64_t x = 0, y = 0, v = 0, w = 0;

    if (n >= 8) {
        memcpy(&x, a, 8);
        memcpy(&y, b, 8);
        if (x != y)
            return words_order(x, y);
        if (n > 16)
            return memcmp(a + 8, b + 8, n - 8);
        memcpy(&v, a + n - 8, 8);
        memcpy(&w, b + n - 8, 8);
        return words_order(v, w);
    }
    if (n < 4)
        return n == 0 ? 0 : memcmp(a, b, n);
    memcpy(&x, a, 4);
    memcpy(&y, b, 4);
    if (x != y)
        return words_order(x, y);
    memcpy(&v, a + n - 4, 4);
    memcpy(&w, b + n - 4, 4);
    return words_order(v, w);
}

/* memcpy of n <= BYTES_FEW bytes by the same means, without a call. */
#define BYTES_FEW 32
static inline void bytes_copy_few(uint8_t *to, const uint8_t *from, uint32_t n)
{
    uint64_t x[2], y[2];
    uint32_t v, w;

    if (n >= 16) {
        memcpy(x, from, 16);
        memcpy(y, from + n - 16, 16);
        memcpy(to, x, 16);
        memcpy(to + n - 16, y, 16);
    } else if (n >= 8) {
        memcpy(x, from, 8);
        memcpy(y, from + n - 8, 8);
        memcpy(to, x, 8);
        memcpy(to + n - 8, y, 8);
    } else if (n >= 4) {
        memcpy(&v, from, 4);
        memcpy(&w, from + n - 4, 4);
        memcpy(to, &v, 4);
        memcpy(to + n - 4, &w, 4);
    } else {
        for (uint32_t i = 0; i < n; i++)
            to[i] = from[i];
    }
}

static inline void bytes_copy(uint8_t *to, const uint8_t *from, uint32_t n)
{
    if (n <= BYTES_FEW)
        bytes_copy_few(to, from, n);
    else
        memcpy(to, from, n);
}

static inline uint64_t entry_u48(const uint8_t *p)
{
    uint64_t v = 0;
    memcpy(&v, p, 6);
    return v;
}

static inline bool entry_has_ptr(unsigned form)
{
    return form == KV_FORM_BLOB || form == KV_FORM_PACKED_BLOB ||
           form == KV_FORM_TREE;
}

/* Bytes behind the key: from `tail` to the end of the entry. */
static inline uint32_t entry_tail_size(uint8_t meta, uint8_t type,
                                       const uint8_t *tail)
{
    uint32_t size = 0;
    const unsigned form = meta & META_FORM;

    if (meta & META_EXP)
        size += (meta & META_EXP8) ? 8 : 6;
    if (type & TYPE_VER)
        size += 6;
    if (type & TYPE_LRU)
        size += KV_LRU_SIZE;
    if (entry_has_ptr(form))
        return size + 8;
    if (form == KV_FORM_NONE)
        return size;
    const uint32_t vlen = tail[size];
    const bool nul =
        form == KV_FORM_BYTES && ((meta >> META_CLASS_SHIFT) & 3) == KV_TEXT;
    return size + 1 + vlen + (nul ? 1 : 0);
}

static inline const uint8_t *entry_at(const struct kv_node *node, uint16_t off)
{
    return (const uint8_t *)node + node->cap - off;
}

static inline struct kv_leaf_slot *leaf_slots(const struct kv_node *node)
{
    return (struct kv_leaf_slot *)((uintptr_t)node + sizeof(struct kv_node));
}

static inline struct kv_inner_slot *inner_slots(const struct kv_node *node)
{
    return (struct kv_inner_slot *)((uintptr_t)node + sizeof(struct kv_node));
}

static inline const uint8_t *node_prefix(const struct kv_node *node)
{
    return (const uint8_t *)node + node->cap - node->plen;
}

static inline bool node_typed(const struct kv_node *node)
{
    return (node->flags & KV_NODE_TYPED) != 0;
}

/* Bytes of a key blob before the key. */
static inline uint32_t leaf_blob_skip(const struct kv_node *leaf)
{
    _Static_assert(KV_NODE_MEMBER == (int)KV_SCORE_SIZE, "flag is the size");
    return leaf->flags & KV_NODE_MEMBER;
}

static inline void entry_open(const struct kv_node *leaf, uint32_t index,
                              struct kv_entry *entry)
{
    const uint8_t *const e = entry_at(leaf, leaf_slots(leaf)[index].off);
    const uint32_t typed = node_typed(leaf) ? 1 : 0;
    const uint8_t meta = e[1];

    entry->start = e;
    entry->rest = e + 2 + typed;
    if (meta & META_KEYBLOB) {
        memcpy(&entry->keyblob, entry->rest, sizeof(entry->keyblob));
        entry->klen =
            entry->keyblob->len - leaf_blob_skip(leaf) - leaf->plen;
        entry->rest_size = 8;
    } else {
        entry->keyblob = NULL;
        entry->klen = e[0];
        entry->rest_size = e[0] > 4 ? e[0] - 4u : 0;
    }
    entry->tail = entry->rest + entry->rest_size;
    entry->tail_size =
        entry_tail_size(meta, typed ? e[2] : 0, entry->tail);
}

/* The cell of an entry; returns where its tail begins, behind the key. */
static inline const uint8_t *entry_cell(const struct kv_node *leaf,
                                        uint32_t index, struct kv_cell *cell)
{
    const uint8_t *const e = entry_at(leaf, leaf_slots(leaf)[index].off);
    const uint32_t typed = node_typed(leaf) ? 1 : 0;
    const uint8_t meta = e[1];
    const uint8_t type = typed ? e[2] : 0;
    const uint8_t *p = e + 2 + typed;

    p += (meta & META_KEYBLOB) ? 8 : (e[0] > 4 ? e[0] - 4 : 0);
    const uint8_t *const tail = p;
    cell->form = meta & META_FORM;
    cell->cls = (meta >> META_CLASS_SHIFT) & 3;
    cell->type = type & TYPE_MASK;
    cell->has_ver = (type & TYPE_VER) != 0;
    cell->exp = 0;
    cell->ver = 0;
    if (meta & META_EXP) {
        if (meta & META_EXP8) {
            memcpy(&cell->exp, p, 8);
            p += 8;
        } else {
            cell->exp = entry_u48(p);
            p += 6;
        }
    }
    if (cell->has_ver) {
        cell->ver = entry_u48(p);
        p += 6;
    }
    cell->lru = NULL;
    if (type & TYPE_LRU) {
        cell->lru = p;
        p += KV_LRU_SIZE;
    }
    cell->ptr = NULL;
    cell->size = 0;
    cell->payload = p;
    if (entry_has_ptr(cell->form)) {
        memcpy(&cell->ptr, p, sizeof(cell->ptr));
    } else if (cell->form != KV_FORM_NONE) {
        cell->size = *p;
        cell->payload = p + 1;
    }
    return tail;
}

/* Bytes of an entry, its slot apart. */
static inline uint32_t entry_bytes(const uint8_t *e, bool typed)
{
    const uint8_t *const rest = e + (typed ? 3 : 2);
    const uint8_t *const tail =
        rest + ((e[1] & META_KEYBLOB) ? 8 : e[0] > 4 ? e[0] - 4 : 0);

    return (uint32_t)(tail - e) +
           entry_tail_size(e[1], typed ? e[2] : 0, tail);
}

/* The block that holds the entry's key, or NULL. */
static inline struct kv_blob *entry_keyblob(const struct kv_node *leaf,
                                            uint32_t index)
{
    const uint8_t *const e = entry_at(leaf, leaf_slots(leaf)[index].off);
    struct kv_blob *blob = NULL;

    if (e[1] & META_KEYBLOB)
        memcpy(&blob, e + (node_typed(leaf) ? 3 : 2), sizeof(blob));
    return blob;
}

/* Bytes of exp, ver, lru, payload of a cell to be written. */
static inline uint32_t cell_tail_size(const struct kv_cell *cell)
{
    uint32_t size = 0;

    if (cell->exp != 0)
        size += cell->exp >= (UINT64_C(1) << 48) - 1 ? 8 : 6;
    if (cell->has_ver)
        size += 6;
    if (cell->lru != NULL)
        size += KV_LRU_SIZE;
    if (entry_has_ptr(cell->form))
        return size + 8;
    if (cell->form == KV_FORM_NONE)
        return size;
    return size + 1 + cell->size +
           (cell->form == KV_FORM_BYTES && cell->cls == KV_TEXT ? 1 : 0);
}

static inline uint8_t cell_meta(const struct kv_cell *cell)
{
    unsigned meta = cell->form | (unsigned)cell->cls << META_CLASS_SHIFT;

    if (cell->exp != 0)
        meta |= META_EXP |
                (cell->exp >= (UINT64_C(1) << 48) - 1 ? META_EXP8 : 0);
    return (uint8_t)meta;
}

static inline uint8_t cell_type(const struct kv_cell *cell)
{
    return (uint8_t)(cell->type | (cell->has_ver ? TYPE_VER : 0) |
                     (cell->lru != NULL ? TYPE_LRU : 0));
}

static inline uint8_t *cell_write_tail(uint8_t *p, const struct kv_cell *cell)
{
    if (cell->exp != 0) {
        const uint32_t n = cell->exp >= (UINT64_C(1) << 48) - 1 ? 8 : 6;
        memcpy(p, &cell->exp, n);
        p += n;
    }
    if (cell->has_ver) {
        memcpy(p, &cell->ver, 6);
        p += 6;
    }
    if (cell->lru != NULL) {
        memcpy(p, cell->lru, KV_LRU_SIZE);
        p += KV_LRU_SIZE;
    }
    if (entry_has_ptr(cell->form)) {
        memcpy(p, &cell->ptr, 8);
        return p + 8;
    }
    if (cell->form == KV_FORM_NONE)
        return p;
    *p++ = (uint8_t)cell->size;
    memcpy(p, cell->payload, cell->size);
    p += cell->size;
    if (cell->form == KV_FORM_BYTES && cell->cls == KV_TEXT)
        *p++ = 0;
    return p;
}

/* First four bytes of a suffix as a big-endian number, zero padded. */
static inline uint32_t key_head(const uint8_t *p, uint32_t size)
{
    uint32_t v = 0;

    if (KV_LIKELY(size >= 4)) {
        memcpy(&v, p, 4);
        return __builtin_bswap32(v);
    }
    if (size > 0)
        v = (uint32_t)p[0] << 24;
    if (size > 1)
        v |= (uint32_t)p[1] << 16;
    if (size > 2)
        v |= (uint32_t)p[2] << 8;
    return v;
}

/* Deadlines in inner slots: units of 64 ms, rounded down, all ones = none. */
#define BOUND_NONE ((UINT64_C(1) << 40) - 1)
static inline uint64_t bound_of(uint64_t exp)
{
    if (exp == 0)
        return BOUND_NONE;
    const uint64_t b = exp >> 6;
    return b >= BOUND_NONE ? BOUND_NONE - 1 : b;
}
static inline uint64_t bound_get(const uint8_t *p)
{
    uint64_t v = 0;
    memcpy(&v, p, 5);
    return v;
}
static inline void bound_put(uint8_t *p, uint64_t bound)
{
    memcpy(p, &bound, 5);
}

#endif

/* node.c - building and changing one keyed node; see node_ops.h.
 *
 * A node is built by kv_node_make and kv_node_add / kv_node_insert in order;
 * it is changed in place by kv_node_insert (announced) and kv_node_cut.
 * Slots' heads and the heap are suffixes behind the node's prefix, so moving
 * an entry to a node with another prefix rewrites its key, never its tail. */
#include "kvsql/node_ops.h"

#include <string.h>

/* ---- among equal heads ------------------------------------------------------ */

static int suffix_compare(const uint8_t *a, uint32_t a_size,
                          const uint8_t *b_rest, uint32_t b_size)
{
    const uint32_t ar = a_size > 4 ? a_size - 4 : 0;
    const uint32_t br = b_size > 4 ? b_size - 4 : 0;
    const uint32_t n = ar < br ? ar : br;
    const int c = bytes_order(a + 4, b_rest, n);

    if (c != 0)
        return c;
    return a_size < b_size ? -1 : a_size > b_size;
}

/* Suffix `s` against leaf entry `index`, heads known to be equal. */
static int node_leaf_compare(const struct kv_node *leaf, uint32_t index,
                             const uint8_t *s, uint32_t size)
{
    const uint8_t *const e = entry_at(leaf, leaf_slots(leaf)[index].off);
    const uint8_t *const rest = e + 2 + (node_typed(leaf) ? 1 : 0);

    if (KV_UNLIKELY(e[1] & META_KEYBLOB)) {
        const struct kv_blob *blob;
        memcpy(&blob, rest, sizeof(blob));
        const uint32_t before = leaf_blob_skip(leaf) + leaf->plen;
        return suffix_compare(s, size, blob->d + before + 4,
                              blob->len - before);
    }
    return suffix_compare(s, size, rest, e[0]);
}

static int node_inner_compare(const struct kv_node *node, uint32_t index,
                              const uint8_t *s, uint32_t size)
{
    const uint8_t *const e = entry_at(node, inner_slots(node)[index].off);

    if (KV_UNLIKELY(e[0] == INNER_KEYBLOB)) {
        const struct kv_blob *blob;
        memcpy(&blob, e + 1, sizeof(blob));
        return suffix_compare(s, size, blob->d + node->plen + 4,
                              blob->len - node->plen);
    }
    return suffix_compare(s, size, e + 1, e[0]);
}

/* Did a run end at a slot behind `base`, where it likely goes on? Any slot is
 * good to begin the search with, so the hint may be stale. */
static bool node_try_hint(const struct kv_node *node, uint32_t base)
{
    return node->run >= NODE_RUN && node->hint > base && node->hint <= node->n;
}

uint32_t kv_leaf_among(const struct kv_node *leaf, uint32_t base, uint32_t head,
                       const uint8_t *s, uint32_t size, bool *found)
{
    const struct kv_leaf_slot *const slot = leaf_slots(leaf);
    uint32_t high = leaf->n;

    *found = false;
    if (node_try_hint(leaf, base) && slot[leaf->hint - 1].head == head &&
        node_leaf_compare(leaf, leaf->hint - 1u, s, size) > 0)
        base = leaf->hint;
    while (base < high && slot[base].head == head) {
        const uint32_t mid = base + (high - base) / 2;
        const int c = slot[mid].head > head
                          ? -1
                          : node_leaf_compare(leaf, mid, s, size);
        if (c == 0) {
            *found = true;
            return mid;
        }
        if (c < 0)
            high = mid;
        else
            base = mid + 1;
    }
    return base;
}

uint32_t kv_inner_among(const struct kv_node *node, uint32_t base,
                        uint32_t head, const uint8_t *s, uint32_t size,
                        bool run)
{
    const struct kv_inner_slot *const slot = inner_slots(node);
    uint32_t high = node->n;

    if (run && node_try_hint(node, base) && slot[node->hint - 1].head == head &&
        node_inner_compare(node, node->hint - 1u, s, size) > 0)
        base = node->hint;
    while (base < high && slot[base].head == head) {
        const uint32_t mid = base + (high - base) / 2;
        if (slot[mid].head > head ||
            node_inner_compare(node, mid, s, size) < 0)
            high = mid;
        else
            base = mid + 1;
    }
    return base;
}

uint32_t kv_node_beside(const struct kv_node *node, const uint8_t *key,
                        uint32_t size)
{
    const uint32_t n = size < node->plen ? size : node->plen;

    /* a key that the prefix begins with is less than all that have it */
    return n > 0 && memcmp(key, node_prefix(node), n) > 0 ? node->n : 0;
}

/* ---- keys and sizes ----------------------------------------------------------- */

const uint8_t *kv_node_key(const struct kv_node *node, uint32_t index,
                           uint8_t *buffer, uint32_t *size, bool *stable)
{
    const struct kv_blob *blob = NULL;
    const uint8_t *rest;
    uint32_t klen, head, skip = 0;

    if (node->level > 0) {
        KV_ASSERT(index > 0); /* T2 */
        const struct kv_inner_slot *const slot = &inner_slots(node)[index];
        const uint8_t *const e = entry_at(node, slot->off);
        head = slot->head;
        klen = e[0];
        rest = e + 1;
        if (klen == INNER_KEYBLOB)
            memcpy(&blob, rest, sizeof(blob));
    } else {
        const struct kv_leaf_slot slot = leaf_slots(node)[index];
        const uint8_t *const e = entry_at(node, slot.off);
        head = slot.head;
        klen = e[0];
        rest = e + (node_typed(node) ? 3 : 2);
        if (e[1] & META_KEYBLOB) {
            memcpy(&blob, rest, sizeof(blob));
            skip = leaf_blob_skip(node);
        }
    }
    if (blob != NULL) {
        *size = blob->len - skip;
        *stable = true;
        return blob->d + skip;
    }
    *stable = false;
    *size = node->plen + klen;
    if (node->plen > 0)
        memcpy(buffer, node_prefix(node), node->plen);
    uint8_t *const p = buffer + node->plen;
    head = __builtin_bswap32(head);
    memcpy(p, &head, 4); /* the buffer has room for all four */
    if (klen > 4)
        memcpy(p + 4, rest, klen - 4);
    return buffer;
}

static void node_leaf_summary(const struct kv_node *leaf,
                              struct kv_summary *summary)
{
    const bool typed = node_typed(leaf);

    for (uint32_t i = 0; i < leaf->n; i++) {
        const uint8_t *const e = entry_at(leaf, leaf_slots(leaf)[i].off);
        if (typed)
            summary->types |= (uint8_t)(1u << (e[2] & TYPE_MASK));
        if ((e[1] & META_EXP) || (typed && (e[2] & TYPE_MASK) == KV_HASH)) {
            const uint64_t bound = kv_entry_bound(leaf, i);
            if (bound < summary->bound)
                summary->bound = bound;
        }
    }
    summary->count = leaf->n;
}

void kv_node_summary(const struct kv_node *node, struct kv_summary *summary)
{
    *summary = (struct kv_summary){.bound = BOUND_NONE};
    if (node->level == 0) {
        node_leaf_summary(node, summary);
        return;
    }
    for (uint32_t i = 0; i < node->n; i++) {
        const struct kv_inner_slot *const slot = &inner_slots(node)[i];
        const uint64_t bound = bound_get(slot->min_exp);
        summary->count += slot->count;
        summary->types |= slot->types;
        if (bound < summary->bound)
            summary->bound = bound;
    }
}

uint32_t kv_node_item_size(const struct kv_node *node, uint32_t index,
                           uint32_t plen)
{
    if (node->level > 0) {
        if (index == 0) /* T2 */
            return INNER_FIRST_SIZE;
        const uint8_t *const e =
            entry_at(node, inner_slots(node)[index].off);
        const uint32_t klen = e[0] + node->plen - plen;
        const bool blob = e[0] == INNER_KEYBLOB || klen > KV_SUFFIX_MAX;
        return (uint32_t)sizeof(struct kv_inner_slot) + 1 +
               node_rest_size(klen, blob);
    }
    if (plen == node->plen)
        return (uint32_t)sizeof(struct kv_leaf_slot) +
               entry_bytes(entry_at(node, leaf_slots(node)[index].off),
                           node_typed(node));
    struct kv_entry entry;
    entry_open(node, index, &entry);
    const uint32_t klen = entry.klen + node->plen - plen;
    const bool blob = entry.keyblob != NULL || klen > KV_SUFFIX_MAX;
    return (uint32_t)sizeof(struct kv_leaf_slot) +
           (uint32_t)(entry.rest - entry.start) + node_rest_size(klen, blob) +
           entry.tail_size;
}

uint32_t kv_node_items_size(const struct kv_node *node, uint32_t from,
                            uint32_t to, uint32_t plen)
{
    const bool typed = node_typed(node);
    uint32_t size = 0;

    if (node->level > 0 || plen < node->plen) {
        for (uint32_t i = from; i < to; i++)
            size += kv_node_item_size(node, i, plen);
        return size;
    }
    for (uint32_t i = from; i < to; i++) { /* the suffixes become shorter */
        const uint8_t *const e = entry_at(node, leaf_slots(node)[i].off);
        size += entry_bytes(e, typed);
        if (!(e[1] & META_KEYBLOB))
            size -= node_rest_size(e[0], false) -
                    node_rest_size(e[0] + node->plen - plen, false);
    }
    return size + (to - from) * (uint32_t)sizeof(struct kv_leaf_slot);
}

uint32_t kv_node_fresh_size(const struct kv_node *like,
                            const struct kv_fresh *fresh, uint32_t plen)
{
    const uint32_t rest =
        node_rest_size(fresh->size - plen, fresh->keyblob != NULL);

    if (like->level > 0)
        return (uint32_t)sizeof(struct kv_inner_slot) + 1 + rest;
    return (uint32_t)sizeof(struct kv_leaf_slot) + 2 +
           (node_typed(like) ? 1 : 0) + rest + cell_tail_size(fresh->cell);
}

struct kv_node *kv_node_make(struct kv_store *store, const struct kv_node *like,
                             const struct kv_prefix *prefix, uint32_t size)
{
    const uint32_t plen = prefix->size;
    const uint32_t total = (uint32_t)sizeof(struct kv_node) + plen + size;
    const unsigned flags = like->flags & ~(unsigned)KV_NODE_OWN;
    KV_ASSERT(total <= KV_LEAF_MAX);
    struct kv_node *const node =
        kv_node_new(store, total, like->level,
                    (uint8_t)(flags | (prefix->own ? KV_NODE_OWN : 0u)));

    if (node == NULL)
        return NULL;
    node->plen = (uint16_t)plen;
    node->used = (uint16_t)plen;
    if (plen > 0)
        memcpy((uint8_t *)node + node->cap - plen, prefix->p, plen);
    return node;
}

/* Write the key part at p; returns the byte behind it. */
static uint8_t *node_write_rest(uint8_t *p, const uint8_t *suffix,
                                uint32_t klen, const struct kv_blob *blob)
{
    if (blob != NULL) {
        memcpy(p, &blob, sizeof(blob));
        return p + 8;
    }
    if (klen > 4) {
        memcpy(p, suffix + 4, klen - 4);
        p += klen - 4;
    }
    return p;
}

/* Reserve `size` heap bytes at the end of the heap. */
static uint8_t *node_heap(struct kv_node *node, uint32_t size)
{
    KV_ASSERT(node_free(node) >= size + node_slot_size(node));
    node->used = (uint16_t)(node->used + size);
    return (uint8_t *)node + node->cap - node->used;
}

static bool node_key_blob(struct kv_store *store, const uint8_t *key,
                          uint32_t size, struct kv_blob **blob)
{
    *blob = kv_blob_new(store, size);
    if (*blob == NULL)
        return false;
    memcpy((*blob)->d, key, size);
    return true;
}

/* Same prefix: the entries' bytes are the same. */
static void node_add_leaf(struct kv_node *out, const struct kv_node *from,
                          uint32_t begin, uint32_t end)
{
    const struct kv_leaf_slot *const slot = leaf_slots(from);
    struct kv_leaf_slot *to = leaf_slots(out) + out->n;
    const bool typed = node_typed(from);
    uint32_t used = out->used;

    for (uint32_t i = begin; i < end; i++) {
        const uint8_t *const e = entry_at(from, slot[i].off);
        const uint32_t size = entry_bytes(e, typed);
        used += size;
        bytes_copy((uint8_t *)out + out->cap - used, e, size);
        *to++ = (struct kv_leaf_slot){.head = slot[i].head,
                                      .off = (uint16_t)used};
    }
    out->used = (uint16_t)used;
    out->n = (uint16_t)(out->n + end - begin);
    KV_ASSERT((uint8_t *)to <= (uint8_t *)out + out->cap - used);
}

/* Slot 0 of an inner node, without its key (T2). */
static void node_add_first(struct kv_node *out, const struct kv_inner_slot *slot)
{
    *node_heap(out, 1) = 0;
    inner_slots(out)[0] = *slot;
    inner_slots(out)[0].head = 0;
    inner_slots(out)[0].off = out->used;
    out->n = 1;
}

static void node_add_inner(struct kv_node *out, const struct kv_node *from,
                           uint32_t begin, uint32_t end)
{
    for (uint32_t i = begin; i < end; i++) {
        KV_ASSERT(i > 0); /* T2 */
        const uint8_t *const e = entry_at(from, inner_slots(from)[i].off);
        const uint32_t size =
            1 + node_rest_size(e[0], e[0] == INNER_KEYBLOB);
        struct kv_inner_slot *const slot = &inner_slots(out)[out->n];
        memcpy(node_heap(out, size), e, size);
        *slot = inner_slots(from)[i];
        slot->off = out->used;
        out->n++;
    }
}

/* A leaf's entry into one whose prefix is `more` bytes longer: what is left of
 * the suffix moves up. False, nothing done: its key is a blob, or so short that
 * it would be padded. */
static bool node_add_shorter(struct kv_node *out, const struct kv_node *from,
                             uint32_t index, uint32_t more)
{
    const struct kv_leaf_slot slot = leaf_slots(from)[index];
    const uint8_t *const e = entry_at(from, slot.off);
    const uint32_t frame = node_typed(from) ? 3 : 2, klen = e[0];
    uint8_t head[8];

    if ((e[1] & META_KEYBLOB) || klen < more + 4 || klen < 8)
        return false;
    const uint32_t size = entry_bytes(e, node_typed(from)) - more;
    const uint32_t old = __builtin_bswap32(slot.head);
    memcpy(head, &old, 4);
    memcpy(head + 4, e + frame, 4);
    const uint8_t *const suffix = /* what is left of it */
        more < 4 ? head + more : e + frame + more - 4;
    uint8_t *const p = node_heap(out, size);
    memcpy(p, e, frame);
    p[0] = (uint8_t)(klen - more);
    bytes_copy(p + frame, e + frame + more, size - frame);
    leaf_slots(out)[out->n++] = (struct kv_leaf_slot){
        .head = key_head(suffix, 4), .off = out->used};
    return true;
}

/* Another prefix: the key is written anew. */
static bool node_add_other(struct kv_store *store, struct kv_node *out,
                           const struct kv_node *from, uint32_t index)
{
    uint8_t buffer[KV_KEY_BUFFER];
    uint32_t size;
    bool stable;
    struct kv_entry entry = {.start = NULL};
    const uint8_t *const key = kv_node_key(from, index, buffer, &size, &stable);
    const uint8_t *const suffix = key + out->plen;
    const uint32_t klen = size - out->plen;
    struct kv_blob *blob = NULL;

    if (stable) {
        const uint32_t skip = from->level > 0 ? 0 : leaf_blob_skip(from);
        const uintptr_t at =
            (uintptr_t)key - skip - offsetof(struct kv_blob, d);
        blob = (struct kv_blob *)at;
    } else if (klen > KV_SUFFIX_MAX &&
               !node_key_blob(store, key, size, &blob)) {
        return false;
    }
    const uint32_t need = kv_node_item_size(from, index, out->plen) -
                          node_slot_size(from);
    uint8_t *p = node_heap(out, need);
    const uint8_t *const start = p;
    if (out->level > 0) {
        struct kv_inner_slot *const slot = &inner_slots(out)[out->n];
        *slot = inner_slots(from)[index];
        slot->head = key_head(suffix, klen);
        slot->off = out->used;
        *p++ = blob != NULL ? INNER_KEYBLOB : (uint8_t)klen;
        p = node_write_rest(p, suffix, klen, blob);
    } else {
        entry_open(from, index, &entry);
        leaf_slots(out)[out->n] = (struct kv_leaf_slot){
            .head = key_head(suffix, klen), .off = out->used};
        *p++ = blob != NULL ? 0 : (uint8_t)klen;
        *p++ = (uint8_t)(entry.start[1] |
                         (blob != NULL ? META_KEYBLOB : 0));
        if (node_typed(out))
            *p++ = entry.start[2];
        p = node_write_rest(p, suffix, klen, blob);
        memcpy(p, entry.tail, entry.tail_size);
        p += entry.tail_size;
    }
    KV_DEBUG_ASSERT(p == start + need);
    (void)start;
    out->n++;
    return true;
}

bool kv_node_add(struct kv_store *store, struct kv_node *out,
                 const struct kv_node *from, uint32_t begin, uint32_t end)
{
    if (out->level > 0 && out->n == 0 && begin < end)
        node_add_first(out, &inner_slots(from)[begin++]);
    if (out->plen == from->plen) {
        if (out->level > 0)
            node_add_inner(out, from, begin, end);
        else
            node_add_leaf(out, from, begin, end);
        return true;
    }
    const uint32_t more = /* 0: of another kind, or shorter */
        out->level == 0 && out->plen > from->plen ? out->plen - from->plen : 0;
    for (uint32_t i = begin; i < end; i++)
        if (!(more > 0 && node_add_shorter(out, from, i, more)) &&
            !node_add_other(store, out, from, i))
            return false;
    return true;
}

void kv_node_insert(struct kv_store *store, struct kv_node *out,
                    uint32_t index, const struct kv_fresh *fresh,
                    uint32_t need, bool announce)
{
    const uint32_t slot_size = node_slot_size(out);
    const uint8_t *const suffix = fresh->key + out->plen;
    const uint32_t klen = fresh->size - out->plen;
    uint8_t *const slots = (uint8_t *)out + sizeof(*out);
    uint8_t *const place = slots + (size_t)index * slot_size;

    if (announce) { /* I5 */
        kv_edit(store, out, sizeof(*out));
        if (index < out->n)
            kv_edit(store, place, (size_t)(out->n - index) * slot_size);
    }
    uint8_t *p = node_heap(out, need - slot_size);
    memmove(place + slot_size, place, (size_t)(out->n - index) * slot_size);
    if (out->level > 0) {
        struct kv_inner_slot *const slot = &inner_slots(out)[index];
        *slot = fresh->slot;
        slot->head = key_head(suffix, klen);
        slot->off = out->used;
        *p++ = fresh->keyblob != NULL ? INNER_KEYBLOB : (uint8_t)klen;
        node_write_rest(p, suffix, klen, fresh->keyblob);
    } else {
        leaf_slots(out)[index] = (struct kv_leaf_slot){
            .head = key_head(suffix, klen), .off = out->used};
        *p++ = fresh->keyblob != NULL ? 0 : (uint8_t)klen;
        *p++ = (uint8_t)(cell_meta(fresh->cell) |
                         (fresh->keyblob != NULL ? META_KEYBLOB : 0));
        if (node_typed(out))
            *p++ = cell_type(fresh->cell);
        p = node_write_rest(p, suffix, klen, fresh->keyblob);
        cell_write_tail(p, fresh->cell);
    }
    out->run = (uint8_t)(out->hint == index && out->n > 0
                             ? (out->run < 255 ? out->run + 1 : 255)
                             : 0);
    out->n++;
    out->hint = (uint16_t)(index + 1);
}

void kv_node_cut(struct kv_store *store, struct kv_node *node, uint32_t index,
                 uint32_t dead)
{
    const uint32_t slot_size = node_slot_size(node);
    uint8_t *const place =
        (uint8_t *)node + sizeof(*node) + (size_t)index * slot_size;

    kv_edit(store, node, sizeof(*node)); /* I5 */
    kv_edit(store, place, (size_t)(node->n - index) * slot_size);
    memmove(place, place + slot_size,
            (size_t)(node->n - index - 1) * slot_size);
    node->n--;
    node->garb = (uint16_t)(node->garb + dead);
    node->run = 0;
    node->hint = 0;
}

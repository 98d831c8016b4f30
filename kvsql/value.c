/* value.c - values as cells of leaf entries, and back (store.md section 3).
 *
 * A canonical decimal int64 is kept as 1-8 bytes; up to KV_INLINE_MAX bytes lie
 * in the leaf; longer ones are blobs.
 *
 * Thread: reading any, making the holder of the store lock. */
#include <string.h>

#include "kvsql/base/num.h"
#include "kvsql/packed.h"
#include "kvsql/store_private.h"

/* Bytes that hold the number, two's complement. */
static uint32_t value_int_size(int64_t number)
{
    uint32_t size = 1;

    while (size < 8 && (number < -(INT64_C(1) << (8 * size - 1)) ||
                        number >= INT64_C(1) << (8 * size - 1)))
        size++;
    return size;
}

static int64_t value_int_read(const uint8_t *p, uint32_t size)
{
    uint64_t v = 0;

    for (uint32_t i = 0; i < size; i++)
        v |= (uint64_t)p[i] << 8 * i;
    if (size < 8 && (p[size - 1] & 0x80))
        v |= ~UINT64_C(0) << (8 * size);
    return (int64_t)v;
}

void kv_cell_int(struct kv_cell *cell, int64_t number)
{
    *cell = (struct kv_cell){.form = KV_FORM_INT, .cls = KV_TEXT};
    cell->size = value_int_size(number);
    memcpy(cell->number, &number, sizeof(number));
    cell->payload = cell->number;
}

bool kv_cell_value(struct kv_store *store, const struct kv_key *value,
                   struct kv_cell *cell)
{
    int64_t number;

    if (value->size < KV_INT_TEXT_MAX && value->cls == KV_TEXT &&
        kv_num_int(value->p, value->size, &number)) {
        kv_cell_int(cell, number);
        return true;
    }
    *cell = (struct kv_cell){.cls = value->cls};
    if (value->size <= KV_INLINE_MAX) {
        cell->form = KV_FORM_BYTES;
        cell->size = value->size;
        cell->payload = value->p;
        return true;
    }
    if (!kv_room(store, 0, 1))
        return false;
    struct kv_blob *const blob = kv_blob_new(store, value->size);
    if (blob == NULL)
        return false;
    memcpy(blob->d, value->p, value->size);
    cell->form = KV_FORM_BLOB;
    cell->ptr = blob;
    return true;
}

void kv_val_bytes(struct kv_val *out, const uint8_t *p, uint32_t size,
                  uint8_t cls, bool stable)
{
    out->p = p;
    out->size = size;
    out->cls = cls;
    out->stable = stable;
    out->is_int = false;
    out->number = 0;
}

void kv_cell_read(const struct kv_cell *cell, struct kv_val *out)
{
    const struct kv_blob *blob;

    switch ((enum kv_form)cell->form) {
    case KV_FORM_INT:
        out->number = value_int_read(cell->payload, cell->size);
        out->size =
            (uint32_t)kv_num_format_int(out->scratch, out->number);
        out->p = (const uint8_t *)out->scratch;
        out->cls = KV_TEXT;
        out->stable = false;
        out->is_int = true;
        return;
    case KV_FORM_BYTES:
        kv_val_bytes(out, cell->payload, cell->size, cell->cls, true);
        break;
    case KV_FORM_BLOB:
        blob = cell->ptr;
        kv_val_bytes(out, blob->d, blob->len, cell->cls, true);
        break;
    case KV_FORM_NONE:
    case KV_FORM_PACKED:
    case KV_FORM_PACKED_BLOB:
    case KV_FORM_TREE:
        kv_val_bytes(out, (const uint8_t *)"", 0, KV_TEXT, false);
        break;
    }
    if (out->cls == KV_CLASS_UNKNOWN) /* EN5 */
        out->cls = (uint8_t)kv_class_of(out->p, out->size);
}

bool kv_cell_number(const struct kv_cell *cell, int64_t *number)
{
    struct kv_val value;

    if (cell->form == KV_FORM_INT) {
        *number = value_int_read(cell->payload, cell->size);
        return true;
    }
    kv_cell_read(cell, &value);
    return kv_num_int(value.p, value.size, number);
}

double kv_score_read(const uint8_t *p)
{
    double score;

    memcpy(&score, p, sizeof(score));
    return score;
}

void kv_score_key(uint8_t out[8], double score)
{
    uint64_t bits;

    if (score == 0)
        score = 0; /* -0.0 sorts as 0.0 (EN3) */
    memcpy(&bits, &score, sizeof(bits));
    bits = bits >> 63 ? ~bits : bits | UINT64_C(1) << 63;
    bits = __builtin_bswap64(bits);
    memcpy(out, &bits, sizeof(bits));
}

double kv_score_of_key(const uint8_t in[8])
{
    uint64_t bits;
    double score;

    memcpy(&bits, in, sizeof(bits));
    bits = __builtin_bswap64(bits);
    bits = bits >> 63 ? bits & ~(UINT64_C(1) << 63) : ~bits;
    memcpy(&score, &bits, sizeof(score));
    return score;
}

const uint8_t *kv_cell_run(const struct kv_cell *cell, uint32_t *size)
{
    if (cell->form == KV_FORM_PACKED) {
        *size = cell->size;
        return cell->payload;
    }
    if (cell->form == KV_FORM_PACKED_BLOB) {
        const struct kv_blob *const blob = cell->ptr;
        *size = blob->len;
        return blob->d;
    }
    return NULL;
}

uint64_t kv_cell_field_bound(const struct kv_cell *cell)
{
    uint32_t size;

    if (cell->form == KV_FORM_TREE) {
        const struct kv_tree *const tree = cell->ptr;
        const uint64_t none = (UINT64_C(1) << 48) - 1;
        return tree->min_exp == none ? BOUND_NONE : bound_of(tree->min_exp);
    }
    const uint8_t *const run = kv_cell_run(cell, &size);
    return run != NULL ? bound_of(kv_packed_deadline(run, size)) : BOUND_NONE;
}

bool kv_item_bytes(const struct kv_item *item, kvsql_slice *out)
{
    KV_ASSERT(item->type == KV_STRING);
    *out = (kvsql_slice){.p = item->payload, .size = item->payload_size};
    return item->form != KV_FORM_INT;
}

bool kv_item_text(const struct kv_item *item, kvsql_slice *out, unsigned *cls)
{
    *cls = item->cls;
    return kv_item_bytes(item, out) && item->cls != KV_CLASS_UNKNOWN;
}

void kv_item_string(const struct kv_item *item, struct kv_val *out)
{
    const struct kv_cell cell = {.form = item->form == KV_FORM_BLOB
                                             ? KV_FORM_BYTES
                                             : item->form,
                                 .cls = item->cls,
                                 .payload = item->payload,
                                 .size = item->payload_size};

    KV_ASSERT(item->type == KV_STRING);
    kv_cell_read(&cell, out);
}

/* answer.c - what a command said, kept and walked (see answer.h).
 *
 * The items come in the order of the protocol: an array says how many follow,
 * nested as they come. Walking keeps one level for each array that is open.
 *
 * Thread: the session's. */
#include "vtab/answer.h"

#include "kvsql/base/num.h"

#include <math.h>
#include <string.h>

#define ANSWER_HEAD 9 /* bytes before those of an item */

void vt_answer_init(struct vt_answer *answer)
{
    kv_buf_init(&answer->items, KV_MEM_CLIENT, SIZE_MAX / 2);
}

void vt_answer_fini(struct vt_answer *answer)
{
    kv_buf_fini(&answer->items);
}

static bool answer_has_bytes(enum vt_reply_kind kind)
{
    return kind == VT_REPLY_STATUS || kind == VT_REPLY_STRING;
}

bool vt_answer_take(void *arg, const struct vt_reply *item)
{
    struct vt_answer *answer = (struct vt_answer *)arg;
    uint8_t head[ANSWER_HEAD] = {(uint8_t)item->kind};

    if (answer_has_bytes(item->kind)) {
        const uint64_t size = item->size;
        memcpy(head + 1, &size, sizeof(size));
    } else if (item->kind == VT_REPLY_REAL) {
        memcpy(head + 1, &item->real, sizeof(item->real));
    } else {
        memcpy(head + 1, &item->number, sizeof(item->number));
    }
    kv_buf_add(&answer->items, head, sizeof(head));
    if (answer_has_bytes(item->kind))
        kv_buf_add(&answer->items, item->p, item->size);
    return !answer->items.failed;
}

/* The item at *offset; false at the end. */
static bool answer_read(const struct vt_answer *answer, size_t *offset,
                        struct vt_reply *item)
{
    const uint8_t *p = answer->items.p + *offset;
    uint64_t size;

    if (*offset == answer->items.size) return false;
    *item = (struct vt_reply){.kind = (enum vt_reply_kind)p[0],
                              .p = (const uint8_t *)""};
    memcpy(&item->number, p + 1, sizeof(item->number));
    *offset += ANSWER_HEAD;
    if (item->kind == VT_REPLY_REAL) {
        memcpy(&item->real, p + 1, sizeof(item->real));
    } else if (answer_has_bytes(item->kind)) {
        memcpy(&size, p + 1, sizeof(size));
        item->p = p + ANSWER_HEAD;
        item->size = (size_t)size;
        *offset += item->size;
    }
    return true;
}

void vt_answer_start(struct vt_answer_walk *walk,
                     const struct vt_answer *answer)
{
    *walk = (struct vt_answer_walk){.answer = answer};
}

/* Count the element that begins now; false: the array is at its end. */
static bool answer_step(struct vt_answer_walk *walk)
{
    struct vt_answer_level *level;

    while (walk->depth > 0) {
        level = &walk->level[walk->depth - 1];
        if (level->left > 0) {
            level->left--;
            level->index++;
            return true;
        }
        walk->depth--;
    }
    return false;
}

bool vt_answer_next(struct vt_answer_walk *walk)
{
    while (walk->offset == 0 || answer_step(walk)) {
        bool whole = walk->offset == 0;
        if (!answer_read(walk->answer, &walk->offset, &walk->item))
            return false;
        if (walk->item.kind != VT_REPLY_ARRAY) return true;
        if (walk->item.number == 0) {
            if (whole) return false;
            return true;
        }
        KV_ASSERT(walk->depth < VT_ANSWER_DEPTH_MAX);
        walk->level[walk->depth++] = (struct vt_answer_level){
            .left = (uint64_t)walk->item.number, .index = UINT64_MAX};
    }
    return false;
}

size_t vt_answer_path(const struct vt_answer_walk *walk,
                      char out[VT_ANSWER_PATH_MAX])
{
    size_t size = 1;

    out[0] = '$';
    for (unsigned i = 0; i < walk->depth; i++) {
        out[size++] = '[';
        size += kv_num_format_int(out + size, (int64_t)walk->level[i].index);
        out[size++] = ']';
    }
    return size;
}

/* ---- JSON -------------------------------------------------------------------------- */

static void answer_json_text(struct kv_buf *out, const uint8_t *p, size_t size)
{
    size_t from = 0;

    kv_buf_byte(out, '"');
    for (size_t i = 0; i < size; i++) {
        if (p[i] >= 0x20 && p[i] != '"' && p[i] != '\\') continue;
        kv_buf_add(out, p + from, i - from);
        kv_buf_printf(out, p[i] < 0x20 ? "\\u%04x" : "\\%c", p[i]);
        from = i + 1;
    }
    kv_buf_add(out, p + from, size - from);
    kv_buf_byte(out, '"');
}

static void answer_json_bytes(struct kv_buf *out, const struct vt_reply *item)
{
    if (kv_class_of(item->p, item->size) == KV_TEXT) {
        answer_json_text(out, item->p, item->size);
        return;
    }
    kv_buf_text(out, "{\"$hex\":\"");
    for (size_t i = 0; i < item->size; i++)
        kv_buf_printf(out, "%02X", item->p[i]);
    kv_buf_text(out, "\"}");
}

/* JSON has no infinity; what looks like an integer is read as one. */
static void answer_json_real(struct kv_buf *out, double real)
{
    char number[KV_DOUBLE_TEXT_MAX];
    const size_t size = kv_num_format_double(number, real);

    if (!isfinite(real)) {
        answer_json_text(out, (const uint8_t *)number, size);
        return;
    }
    kv_buf_add(out, number, size);
    if (strpbrk(number, ".e") == NULL) kv_buf_text(out, ".0");
}

static void answer_json_leaf(struct kv_buf *out, const struct vt_reply *item)
{
    char number[KV_INT_TEXT_MAX];

    switch (item->kind) {
    case VT_REPLY_NULL: kv_buf_text(out, "null"); break;
    case VT_REPLY_BOOL:
        kv_buf_text(out, item->number != 0 ? "true" : "false");
        break;
    case VT_REPLY_INT:
        kv_buf_add(out, number, kv_num_format_int(number, item->number));
        break;
    case VT_REPLY_REAL: answer_json_real(out, item->real); break;
    case VT_REPLY_STATUS:
    case VT_REPLY_STRING: answer_json_bytes(out, item); break;
    case VT_REPLY_ARRAY: break;
    }
}

void vt_answer_json(const struct vt_answer *answer, struct kv_buf *out)
{
    uint64_t left[VT_ANSWER_DEPTH_MAX];
    struct vt_reply item;
    unsigned depth = 0;
    size_t offset = 0;

    while (answer_read(answer, &offset, &item)) {
        if (item.kind == VT_REPLY_ARRAY) {
            KV_ASSERT(depth < VT_ANSWER_DEPTH_MAX);
            kv_buf_byte(out, '[');
            left[depth++] = (uint64_t)item.number;
        } else {
            answer_json_leaf(out, &item);
        }
        bool open = item.kind == VT_REPLY_ARRAY && item.number > 0;
        while (!open && depth > 0) {
            /* What ended is an element of the array around it, or, with 0
             * left, the empty array itself. */
            if (left[depth - 1] > 0 && --left[depth - 1] > 0) {
                kv_buf_byte(out, ',');
                break;
            }
            kv_buf_byte(out, ']');
            depth--;
        }
    }
}

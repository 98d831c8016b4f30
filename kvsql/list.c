/* list.c - lists of retired blocks: chunks linked both ways.
 *
 * Entries are pushed at the tail and popped at the head, or at the tail when the
 * newest go first. Joining and emptying
 * move chunks and allocate nothing; chunks that become empty go back to the
 * store, which keeps a few for kv_room().
 *
 * Thread: the holder of the store lock. */
#include <string.h>

#include "kvsql/store_private.h"

#define LIST_SPARE_MAX 16

struct kv_list_chunk *kv_list_chunk_new(void)
{
    struct kv_list_chunk *const chunk =
        kv_mem_alloc(KV_MEM_UNDO, sizeof(*chunk));

    if (chunk != NULL) {
        chunk->next = chunk->prev = NULL;
        chunk->from = chunk->to = 0;
        chunk->unused = 0;
    }
    return chunk;
}

void kv_list_chunk_free(struct kv_list_chunk *chunk)
{
    kv_mem_free(KV_MEM_UNDO, chunk, sizeof(*chunk));
}

void kv_list_give(struct kv_store *store, struct kv_list_chunk *chunk)
{
    if (store->spare_count >= LIST_SPARE_MAX + store->spare_reserved) {
        kv_list_chunk_free(chunk);
        return;
    }
    chunk->prev = NULL;
    chunk->from = chunk->to = 0;
    chunk->next = store->spare;
    store->spare = chunk;
    store->spare_count++;
}

void kv_list_extend(struct kv_store *store, struct kv_list *list)
{
    struct kv_list_chunk *const chunk = store->spare;

    KV_ASSERT(chunk != NULL); /* kv_room() saw to it */
    store->spare = chunk->next;
    store->spare_count--;
    chunk->next = NULL;
    chunk->prev = list->tail;
    if (list->tail != NULL)
        list->tail->next = chunk;
    else
        list->head = chunk;
    list->tail = chunk;
}

void kv_list_drop_head(struct kv_store *store, struct kv_list *list)
{
    struct kv_list_chunk *const chunk = list->head;

    list->head = chunk->next;
    if (list->head != NULL)
        list->head->prev = NULL;
    else
        list->tail = NULL;
    kv_list_give(store, chunk);
}

bool kv_list_pop(struct kv_store *store, struct kv_list *list,
                 struct kv_list_entry *entry, uint64_t stamp_max)
{
    struct kv_list_chunk *chunk;

    while ((chunk = list->head) != NULL) {
        for (; chunk->from < chunk->to; chunk->from++) {
            const struct kv_list_entry *const e = &chunk->entry[chunk->from];
            if (e->block == NULL)
                continue; /* a hole, not counted */
            if (e->stamp > stamp_max)
                return false; /* I9: those behind it are no older */
            *entry = *e;
            chunk->from++;
            list->count--;
            return true;
        }
        kv_list_drop_head(store, list);
    }
    return false;
}

const struct kv_list_entry *kv_list_last(const struct kv_list *list)
{
    for (const struct kv_list_chunk *at = list->tail; at != NULL; at = at->prev)
        if (at->from < at->to)
            return &at->entry[at->to - 1];
    return NULL;
}

void kv_list_drop_last(struct kv_store *store, struct kv_list *list)
{
    struct kv_list_chunk *chunk = list->tail;

    while (chunk != NULL && chunk->from == chunk->to)
        chunk = chunk->prev;
    KV_ASSERT(chunk != NULL);
    list->count -= chunk->entry[--chunk->to].block != NULL;
    while (list->tail != NULL && list->tail->from == list->tail->to) {
        struct kv_list_chunk *const empty = list->tail;
        list->tail = empty->prev;
        if (list->tail != NULL)
            list->tail->next = NULL;
        else
            list->head = NULL;
        kv_list_give(store, empty);
    }
}

void kv_list_join(struct kv_list *to, struct kv_list *from)
{
    if (from->head != NULL) {
        from->head->prev = to->tail;
        if (to->tail != NULL)
            to->tail->next = from->head;
        else
            to->head = from->head;
        to->tail = from->tail;
        to->count += from->count;
    }
    *from = (struct kv_list){.head = NULL};
}

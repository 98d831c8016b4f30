/* algebra.c - sets made of sets: intersections, unions, differences.
 *
 * Sets and sorted sets are read in one order of members (KO1). A union is a
 * merge of cursors, the one on the least member on top of a heap; members that
 * several have meet there, in order of the sources. An intersection or
 * difference walks one source and looks its members up in the others. Neither
 * needs memory for members: each goes to the caller as it is found.
 *
 * Scores are combined in Redis's order, the smallest source first, so that
 * sums round alike. A member of a plain set has the score 1.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/context.h"

#include <math.h>
#include <stdlib.h>

/* ---- sources ------------------------------------------------------------ */

static size_t algebra_size(const struct cmd_sources *s)
{
    return s->count * sizeof(*s->at);
}

/* Enter what was found under one key. False: answered. */
static bool algebra_enter(struct cmd_context *c, struct cmd_sources *s,
                          unsigned place, const struct kv_item *item,
                          bool found)
{
    struct cmd_source *source = &s->at[place];

    *source = (struct cmd_source){.weight = 1, .place = place};
    if (!found) {
        s->missing = true;
        return true;
    }
    if (item->type != KV_SET && (item->type != KV_ZSET || !s->scored)) {
        cmd_fail_rc(c, KVSQL_WRONGTYPE);
        return false;
    }
    source->item = *item;
    source->count = kv_item_length(item);
    s->members += source->count;
    return true;
}

bool cmd_sources_find(struct cmd_context *c, unsigned first, unsigned count,
                      bool scored, struct cmd_sources *s)
{
    struct kv_item items[KV_BATCH_MAX];
    bool found[KV_BATCH_MAX];

    *s = (struct cmd_sources){.count = count, .scored = scored};
    s->at = kv_mem_alloc(KV_MEM_CLIENT, algebra_size(s));
    if (s->at == NULL) {
        cmd_fail_nomem(c);
        return false;
    }
    for (unsigned done = 0; done < count; done += KV_BATCH_MAX) {
        const unsigned n =
            count - done < KV_BATCH_MAX ? count - done : KV_BATCH_MAX;

        cmd_get_batch(c, first + done, 1, n, items, found);
        for (unsigned i = 0; i < n; i++) {
            if (!algebra_enter(c, s, done + i, &items[i], found[i])) {
                cmd_sources_fini(s);
                return false;
            }
        }
    }
    return true;
}

void cmd_sources_fini(struct cmd_sources *s)
{
    kv_mem_free(KV_MEM_CLIENT, s->at, algebra_size(s));
}

static int algebra_order(const void *a, const void *b)
{
    const struct cmd_source *x = a, *y = b;

    if (x->count != y->count) {
        return x->count < y->count ? -1 : 1;
    }
    return x->place < y->place ? -1 : x->place > y->place;
}

/* ---- scores ------------------------------------------------------------- */

static double algebra_score(const struct cmd_source *source,
                            const struct kv_elem *elem)
{
    return source->weight * (source->item.type == KV_ZSET ? elem->score : 1);
}

/* inf * 0 and inf - inf count as 0. */
static double algebra_number(double score)
{
    return isnan(score) ? 0 : score;
}

static double algebra_combine(enum cmd_aggregate how, double a, double b)
{
    switch (how) {
    case CMD_SUM:
        return algebra_number(a + b);
    case CMD_MIN:
        return b < a ? b : a;
    case CMD_MAX:
        break;
    }
    return b > a ? b : a;
}

static struct kv_key algebra_key(const struct kv_elems *elems)
{
    const struct kv_val *member = &elems->elem.key;

    return (struct kv_key){.p = member->p, .size = member->size,
                           .cls = member->cls};
}

/* ---- intersection, difference ------------------------------------------- */

/* Do all others have the member? Their scores go into *score. */
static bool algebra_all_have(struct cmd_context *c,
                             const struct cmd_sources *s,
                             const struct kv_key *member, double *score)
{
    struct kv_elem elem;

    for (unsigned i = 1; i < s->count; i++) {
        if (!kv_elem_find(&c->at, &s->at[i].item, member, &elem)) {
            return false;
        }
        if (s->scored) {
            *score = algebra_combine(s->aggregate, *score,
                                     algebra_score(&s->at[i], &elem));
        }
    }
    return true;
}

static bool algebra_none_has(struct cmd_context *c,
                             const struct cmd_sources *s,
                             const struct kv_key *member)
{
    for (unsigned i = 1; i < s->count; i++) {
        if (s->at[i].count > 0 &&
            kv_elem_find(&c->at, &s->at[i].item, member, NULL)) {
            return false;
        }
    }
    return true;
}

/* Members of the first source that all others have, or that none has. */
static void algebra_filter(struct cmd_context *c, const struct cmd_sources *s,
                           bool all, cmd_member_fn take, void *arg)
{
    struct kv_elems elems;
    bool valid;

    if (s->at[0].count == 0) {
        return;
    }
    kv_elems_init(&elems, &c->at, &s->at[0].item, KV_ELEMS_KEY);
    for (valid = kv_elems_first(&elems); valid && cmd_goes_on(c);
         valid = kv_elems_next(&elems)) {
        const struct kv_key member = algebra_key(&elems);
        double score =
            algebra_number(algebra_score(&s->at[0], &elems.elem));

        if ((all ? algebra_all_have(c, s, &member, &score)
                 : algebra_none_has(c, s, &member)) &&
            !take(arg, &elems.elem.key, score)) {
            return;
        }
    }
}

/* ---- union -------------------------------------------------------------- */

struct algebra_cursor {
    struct kv_elems elems;
    const struct cmd_source *source;
};

/* Cursors that stand on a member, the least on top. */
struct algebra_heap {
    struct algebra_cursor **at;
    unsigned count;
};

static bool algebra_before(const struct algebra_cursor *a,
                           const struct algebra_cursor *b)
{
    const struct kv_key x = algebra_key(&a->elems), y = algebra_key(&b->elems);
    const int order = kv_key_compare(&x, &y);

    return order != 0 ? order < 0 : a->source < b->source;
}

static void algebra_push(struct algebra_heap *heap,
                         struct algebra_cursor *cursor)
{
    unsigned i = heap->count++;

    for (; i > 0; i = (i - 1) / 2) {
        struct algebra_cursor *above = heap->at[(i - 1) / 2];

        if (!algebra_before(cursor, above)) {
            break;
        }
        heap->at[i] = above;
    }
    heap->at[i] = cursor;
}

static struct algebra_cursor *algebra_pop(struct algebra_heap *heap)
{
    struct algebra_cursor *least = heap->at[0];
    struct algebra_cursor *last = heap->at[--heap->count];
    unsigned i = 0;

    for (;;) {
        unsigned below = 2 * i + 1;

        if (below + 1 < heap->count &&
            algebra_before(heap->at[below + 1], heap->at[below])) {
            below++;
        }
        if (below >= heap->count || !algebra_before(heap->at[below], last)) {
            break;
        }
        heap->at[i] = heap->at[below];
        i = below;
    }
    heap->at[i] = last;
    return least;
}

/* Put a cursor back on its next member, if there is one. */
static void algebra_step(struct algebra_heap *heap,
                         struct algebra_cursor *cursor)
{
    if (kv_elems_next(&cursor->elems)) {
        algebra_push(heap, cursor);
    }
}

static void algebra_merge(const struct cmd_sources *s,
                          struct algebra_heap *heap, cmd_member_fn take,
                          void *arg)
{
    bool more = true;

    while (more && heap->count > 0) {
        struct algebra_cursor *least = algebra_pop(heap);
        const struct kv_key member = algebra_key(&least->elems);
        double score = algebra_number(
            algebra_score(least->source, &least->elems.elem));

        while (heap->count > 0) {
            struct algebra_cursor *same = heap->at[0];
            const struct kv_key key = algebra_key(&same->elems);

            if (kv_key_compare(&key, &member) != 0) {
                break;
            }
            score = algebra_combine(
                s->aggregate, score,
                algebra_number(
                    algebra_score(same->source, &same->elems.elem)));
            algebra_step(heap, algebra_pop(heap));
        }
        more = take(arg, &least->elems.elem.key, score);
        algebra_step(heap, least);
    }
}

static bool algebra_union(struct cmd_context *c, const struct cmd_sources *s,
                          cmd_member_fn take, void *arg)
{
    struct algebra_cursor *cursors =
        kv_mem_alloc(KV_MEM_CLIENT, s->count * sizeof(*cursors));
    struct algebra_heap heap = {
        .at = kv_mem_alloc(KV_MEM_CLIENT, s->count * sizeof(*heap.at))};
    const bool ok = cursors != NULL && heap.at != NULL;

    for (unsigned i = 0; ok && i < s->count; i++) {
        cursors[i].source = &s->at[i];
        if (s->at[i].count > 0) {
            kv_elems_init(&cursors[i].elems, &c->at, &s->at[i].item,
                          KV_ELEMS_KEY);
            if (kv_elems_first(&cursors[i].elems)) {
                algebra_push(&heap, &cursors[i]);
            }
        }
    }
    if (ok) {
        algebra_merge(s, &heap, take, arg);
    } else {
        cmd_fail_nomem(c);
    }
    kv_mem_free(KV_MEM_CLIENT, heap.at, s->count * sizeof(*heap.at));
    kv_mem_free(KV_MEM_CLIENT, cursors, s->count * sizeof(*cursors));
    return ok;
}

/* ---- walks -------------------------------------------------------------- */

bool cmd_sources_walk(struct cmd_context *c, struct cmd_sources *s,
                      enum cmd_algebra algebra, cmd_member_fn take, void *arg)
{
    if (algebra != CMD_DIFF) {
        qsort(s->at, s->count, sizeof(*s->at), algebra_order);
    }
    switch (algebra) {
    case CMD_INTER:
        if (!s->missing) {
            algebra_filter(c, s, true, take, arg);
        }
        break;
    case CMD_UNION:
        return algebra_union(c, s, take, arg);
    case CMD_DIFF:
        algebra_filter(c, s, false, take, arg);
        break;
    }
    return true;
}

bool cmd_member_list(void *arg, const struct kv_val *member, double score)
{
    struct cmd_list *list = arg;

    cmd_list_add(list, member->p, member->size, score, 0);
    return !list->bytes.failed;
}

struct algebra_count {
    uint64_t count, max;
};

static bool algebra_count_one(void *arg, const struct kv_val *member,
                              double score)
{
    struct algebra_count *n = arg;

    (void)member;
    (void)score;
    return ++n->count < n->max;
}

void cmd_answer_inter_count(struct cmd_context *c, struct cmd_sources *s,
                            int64_t limit)
{
    struct algebra_count n = {
        .max = limit == 0 ? UINT64_MAX : (uint64_t)limit};

    if (cmd_sources_walk(c, s, CMD_INTER, algebra_count_one, &n)) {
        cmd_reply_int(c->reply, (int64_t)n.count);
    }
}

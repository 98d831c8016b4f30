/* algebra.c - sets made of sets: intersections, unions, differences.
 *
 * Sets and sorted sets are read in one order of members (KO1). A union is a
 * merge of cursors, the one on the least member on top of a heap; members that
 * several have meet there, in order of the sources. An intersection or
 * difference walks one source and looks its members up in the others. Neither
 * needs memory for members: who walks has one at a time, and may walk again.
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

/* A cursor over one source, by its index: sources may be moved. */
struct algebra_cursor {
    struct kv_elems elems;
    unsigned source;
};

static struct kv_key algebra_key(const struct kv_elems *elems)
{
    const struct kv_val *member = &elems->elem.key;

    return (struct kv_key){.p = member->p, .size = member->size,
                           .cls = member->cls};
}

/* ---- intersection, difference ------------------------------------------- */

/* Do all others have the member? Their scores go into *score. */
static bool algebra_all_have(const struct kv_elems *elems,
                             const struct cmd_sources *s,
                             const struct kv_key *member, double *score)
{
    struct kv_elem elem;

    for (unsigned i = 1; i < s->count; i++) {
        if (!kv_elem_find(&elems->at, &s->at[i].item, member, &elem)) {
            return false;
        }
        if (s->scored) {
            *score = algebra_combine(s->aggregate, *score,
                                     algebra_score(&s->at[i], &elem));
        }
    }
    return true;
}

static bool algebra_none_has(const struct kv_elems *elems,
                             const struct cmd_sources *s,
                             const struct kv_key *member)
{
    for (unsigned i = 1; i < s->count; i++) {
        if (s->at[i].count > 0 &&
            kv_elem_find(&elems->at, &s->at[i].item, member, NULL)) {
            return false;
        }
    }
    return true;
}

/* The first source's cursor stands on a member, or is at its end: go on to one
 * that all others have, or that none has. */
static bool algebra_filter(struct cmd_context *c, struct cmd_members *m,
                           bool valid)
{
    struct kv_elems *elems = &m->cursors[0].elems;
    const bool all = m->algebra == CMD_INTER;

    for (; valid && cmd_goes_on(c); valid = kv_elems_next(elems)) {
        const struct kv_key member = algebra_key(elems);
        double score = algebra_number(
            algebra_score(&m->sources.at[0], &elems->elem));

        if (all ? algebra_all_have(elems, &m->sources, &member, &score)
                : algebra_none_has(elems, &m->sources, &member)) {
            m->member = &elems->elem.key;
            m->score = score;
            return true;
        }
    }
    return false;
}

/* ---- union -------------------------------------------------------------- */

static bool algebra_before(const struct algebra_cursor *a,
                           const struct algebra_cursor *b)
{
    const struct kv_key x = algebra_key(&a->elems), y = algebra_key(&b->elems);
    const int order = kv_key_compare(&x, &y);

    return order != 0 ? order < 0 : a->source < b->source;
}

/* Cursors that stand on a member are in m->heap, the least on top. */
static void algebra_push(struct cmd_members *m, struct algebra_cursor *cursor)
{
    unsigned i = m->heap_count++;

    for (; i > 0; i = (i - 1) / 2) {
        struct algebra_cursor *above = m->heap[(i - 1) / 2];

        if (!algebra_before(cursor, above)) {
            break;
        }
        m->heap[i] = above;
    }
    m->heap[i] = cursor;
}

static struct algebra_cursor *algebra_pop(struct cmd_members *m)
{
    struct algebra_cursor *least = m->heap[0];
    struct algebra_cursor *last = m->heap[--m->heap_count];
    unsigned i = 0;

    for (;;) {
        unsigned below = 2 * i + 1;

        if (below + 1 < m->heap_count &&
            algebra_before(m->heap[below + 1], m->heap[below])) {
            below++;
        }
        if (below >= m->heap_count || !algebra_before(m->heap[below], last)) {
            break;
        }
        m->heap[i] = m->heap[below];
        i = below;
    }
    m->heap[i] = last;
    return least;
}

/* Put a cursor back on its next member, if there is one. */
static void algebra_step(struct cmd_members *m, struct algebra_cursor *cursor)
{
    if (kv_elems_next(&cursor->elems)) {
        algebra_push(m, cursor);
    }
}

/* The least member of all cursors; the one that has it stays beside the heap. */
static bool algebra_merge(struct cmd_context *c, struct cmd_members *m)
{
    struct algebra_cursor *least;
    struct kv_key member;

    if (m->heap_count == 0 || !cmd_goes_on(c)) {
        return false;
    }
    least = algebra_pop(m);
    member = algebra_key(&least->elems);
    m->score = algebra_number(
        algebra_score(&m->sources.at[least->source], &least->elems.elem));
    while (m->heap_count > 0) {
        const struct algebra_cursor *same = m->heap[0];
        const struct kv_key key = algebra_key(&same->elems);

        if (kv_key_compare(&key, &member) != 0) {
            break;
        }
        m->score = algebra_combine(
            m->sources.aggregate, m->score,
            algebra_number(algebra_score(&m->sources.at[same->source],
                                         &same->elems.elem)));
        algebra_step(m, algebra_pop(m));
    }
    m->least = least;
    m->member = &least->elems.elem.key;
    return true;
}

/* ---- walks -------------------------------------------------------------- */

bool cmd_members_init(struct cmd_context *c, struct cmd_members *m,
                      enum cmd_algebra algebra,
                      const struct cmd_sources *sources)
{
    *m = (struct cmd_members){.sources = *sources, .algebra = algebra};
    if (algebra != CMD_DIFF) {
        qsort(m->sources.at, sources->count, sizeof(*sources->at),
              algebra_order);
    }
    m->cursor_count = algebra == CMD_UNION ? sources->count : 1;
    m->cursors = kv_mem_alloc(KV_MEM_CLIENT,
                              m->cursor_count * sizeof(*m->cursors));
    m->heap = kv_mem_alloc(KV_MEM_CLIENT, m->cursor_count * sizeof(*m->heap));
    if (m->cursors == NULL || m->heap == NULL) {
        cmd_members_fini(m);
        cmd_fail_nomem(c);
        return false;
    }
    for (unsigned i = 0; i < m->cursor_count; i++) {
        m->cursors[i].source = i;
        if (m->sources.at[i].count > 0) {
            kv_elems_init(&m->cursors[i].elems, &c->at, &m->sources.at[i].item,
                          KV_ELEMS_KEY);
        }
    }
    return true;
}

void cmd_members_fini(struct cmd_members *m)
{
    kv_mem_free(KV_MEM_CLIENT, m->cursors,
                m->cursor_count * sizeof(*m->cursors));
    kv_mem_free(KV_MEM_CLIENT, m->heap, m->cursor_count * sizeof(*m->heap));
    cmd_sources_fini(&m->sources);
}

/* Put a cursor on its first member. */
static bool algebra_rewind(struct cmd_members *m, unsigned i)
{
    return m->sources.at[i].count > 0 && kv_elems_first(&m->cursors[i].elems);
}

bool cmd_members_first(struct cmd_context *c, struct cmd_members *m)
{
    if (m->algebra != CMD_UNION) {
        const bool none = m->algebra == CMD_INTER && m->sources.missing;

        return !none && algebra_filter(c, m, algebra_rewind(m, 0));
    }
    m->heap_count = 0;
    for (unsigned i = 0; i < m->cursor_count; i++) {
        if (algebra_rewind(m, i)) {
            algebra_push(m, &m->cursors[i]);
        }
    }
    return algebra_merge(c, m);
}

bool cmd_members_next(struct cmd_context *c, struct cmd_members *m)
{
    if (m->algebra != CMD_UNION) {
        return algebra_filter(c, m, kv_elems_next(&m->cursors[0].elems));
    }
    algebra_step(m, m->least);
    return algebra_merge(c, m);
}

bool cmd_sources_list(struct cmd_context *c, const struct cmd_sources *sources,
                      enum cmd_algebra algebra, struct cmd_list *list)
{
    struct cmd_members m;
    bool valid;

    if (!cmd_members_init(c, &m, algebra, sources)) {
        return false;
    }
    for (valid = cmd_members_first(c, &m); valid && !list->bytes.failed;
         valid = cmd_members_next(c, &m)) {
        cmd_list_add(list, m.member->p, m.member->size, m.score, 0);
    }
    cmd_members_fini(&m);
    return cmd_list_ok(c, list);
}

void cmd_answer_inter_count(struct cmd_context *c,
                            const struct cmd_sources *sources, int64_t limit)
{
    const uint64_t max = limit == 0 ? UINT64_MAX : (uint64_t)limit;
    struct cmd_members m;
    uint64_t count = 0;

    if (!cmd_members_init(c, &m, CMD_INTER, sources)) {
        return;
    }
    for (bool valid = cmd_members_first(c, &m); valid;
         valid = count < max && cmd_members_next(c, &m)) {
        count++;
    }
    cmd_reply_int(c->reply, (int64_t)count);
    cmd_members_fini(&m);
}

/* elements.c - elements of collections copied out, chosen by chance, put back.
 *
 * What a command takes out of the store and then changes is copied first: a
 * change may move what was read.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/context.h"

#include <stdlib.h>
#include <string.h>

#include "kvsql/base/num.h"
#include "kvsql/base/os.h"

/* ---- elements copied out ------------------------------------------------ */

#define ELEMENTS_HEAD 20 /* u32 size | score | number */

void cmd_list_init(struct cmd_list *list)
{
    kv_buf_init(&list->bytes, KV_MEM_CLIENT, CMD_LIST_MAX);
    kv_buf_init(&list->at, KV_MEM_CLIENT, CMD_LIST_MAX);
    list->count = 0;
}

void cmd_list_fini(struct cmd_list *list)
{
    kv_buf_fini(&list->bytes);
    kv_buf_fini(&list->at);
}

void cmd_list_add(struct cmd_list *list, const void *p, size_t size,
                  double score, int64_t number)
{
    uint64_t bits;

    memcpy(&bits, &score, sizeof(bits));
    kv_buf_u64(&list->at, list->bytes.size);
    kv_buf_u32(&list->bytes, (uint32_t)size);
    kv_buf_u64(&list->bytes, bits);
    kv_buf_u64(&list->bytes, (uint64_t)number);
    kv_buf_add(&list->bytes, p, size);
    list->count++;
}

/* The element that starts at p. */
static struct cmd_list_item elements_item(const uint8_t *p)
{
    const uint64_t bits = kv_u64_get(p + 4);
    struct cmd_list_item item = {.p = p + ELEMENTS_HEAD,
                                 .size = kv_u32_get(p),
                                 .number = (int64_t)kv_u64_get(p + 12)};

    memcpy(&item.score, &bits, sizeof(bits));
    return item;
}

struct cmd_list_item cmd_list_at(const struct cmd_list *list, uint64_t index)
{
    KV_ASSERT(index < list->count && !list->bytes.failed && !list->at.failed);
    return elements_item(list->bytes.p + kv_u64_get(list->at.p + 8 * index));
}

bool cmd_list_ok(struct cmd_context *c, const struct cmd_list *list)
{
    if (!list->bytes.failed && !list->at.failed) {
        return true;
    }
    if (list->bytes.too_big || list->at.too_big) {
        cmd_fail(c, KVSQL_TOOBIG,
                 "ERR command: more than %zu bytes at a time; do it in parts",
                 CMD_LIST_MAX);
    } else {
        cmd_fail_nomem(c);
    }
    return false;
}

/* Score, then bytes: the order of a sorted set. */
static int elements_order(const void *a, const void *b, void *bytes)
{
    const struct cmd_list_item x =
        elements_item((const uint8_t *)bytes + kv_u64_get(a));
    const struct cmd_list_item y =
        elements_item((const uint8_t *)bytes + kv_u64_get(b));
    const size_t size = x.size < y.size ? x.size : y.size;
    int order;

    if (x.score != y.score) {
        return x.score < y.score ? -1 : 1;
    }
    order = size > 0 ? memcmp(x.p, y.p, size) : 0;
    return order != 0 ? order : (x.size > y.size) - (x.size < y.size);
}

bool cmd_list_sort(struct cmd_context *c, struct cmd_list *list)
{
    return cmd_sort(c, list->at.p, list->count, 8, elements_order,
                    list->bytes.p);
}

/* ---- sorting ------------------------------------------------------------ */

#define ELEMENTS_RUN 32 /* sorted at once, then merged */

struct elements_sort {
    size_t size;
    int (*compare)(const void *, const void *, void *);
    void *arg;
};

/* Two sorted runs become one: [p, middle) and [middle, end). False: nobody
 * wants it. */
static bool elements_merge(struct cmd_context *c,
                           const struct elements_sort *s, const uint8_t *p,
                           const uint8_t *middle, const uint8_t *end,
                           uint8_t *to)
{
    const uint8_t *a = p, *b = middle;

    while (a < middle && b < end) {
        const bool first = s->compare(a, b, s->arg) <= 0;

        if (!cmd_goes_on(c)) {
            return false;
        }
        memcpy(to, first ? a : b, s->size);
        to += s->size;
        a += first ? s->size : 0;
        b += first ? 0 : s->size;
    }
    memcpy(to, a, (size_t)(middle - a));
    memcpy(to + (middle - a), b, (size_t)(end - b));
    return true;
}

/* All runs of `run` bytes in `from`, two by two, into `to`. */
static bool elements_merge_all(struct cmd_context *c,
                               const struct elements_sort *s,
                               const uint8_t *from, uint8_t *to, size_t total,
                               size_t run)
{
    for (size_t at = 0; at < total; at += 2 * run) {
        const size_t left = total - at;
        const size_t middle = left < run ? left : run;
        const size_t end = left < 2 * run ? left : 2 * run;

        if (!elements_merge(c, s, from + at, from + at + middle,
                            from + at + end, to + at)) {
            return false;
        }
    }
    return true;
}

bool cmd_sort(struct cmd_context *c, void *base, uint64_t count, size_t size,
              int (*compare)(const void *, const void *, void *), void *arg)
{
    const struct elements_sort s = {size, compare, arg};
    const size_t total = (size_t)count * size;
    uint8_t *from = base, *other, *to;
    bool ok = true;

    for (size_t at = 0; at < total; at += ELEMENTS_RUN * size) {
        const size_t left = (total - at) / size;

        qsort_r(from + at, left < ELEMENTS_RUN ? left : ELEMENTS_RUN, size,
                compare, arg);
    }
    if (count <= ELEMENTS_RUN) {
        return true;
    }
    to = other = kv_mem_alloc(KV_MEM_CLIENT, total);
    if (other == NULL) {
        cmd_fail_nomem(c);
        return false;
    }
    for (size_t run = ELEMENTS_RUN * size; ok && run < total; run *= 2) {
        uint8_t *swap = from;

        ok = elements_merge_all(c, &s, from, to, total, run);
        from = to;
        to = swap;
    }
    if (ok && from == other) {
        memcpy(base, other, total);
    }
    kv_mem_free(KV_MEM_CLIENT, other, total);
    return ok;
}

/* ---- put back, taken away ----------------------------------------------- */

void cmd_list_store(struct cmd_context *c, unsigned index, enum kv_type type,
                    const struct cmd_list *list)
{
    const struct kv_key to = cmd_key(c, index);
    bool ok = cmd_ok(c, kv_del(c->txn, &to, NULL, &c->err));

    for (uint64_t i = 0; ok && i < list->count && cmd_goes_on(c); i++) {
        const struct cmd_list_item one = cmd_list_at(list, i);
        const struct kv_key member = kv_key_of(one.p, one.size);

        ok = cmd_ok(c, type == KV_SET
                           ? kv_sadd(c->txn, &to, &member, NULL, &c->err)
                           : kv_zadd(c->txn, &to, &member, one.score, NULL,
                                     &c->err));
    }
    if (ok) {
        cmd_reply_int(c->reply, (int64_t)list->count);
    }
}

bool cmd_list_zrem(struct cmd_context *c, const struct kv_key *key,
                   const struct cmd_list *list)
{
    for (uint64_t i = 0; i < list->count && cmd_goes_on(c); i++) {
        const struct cmd_list_item one = cmd_list_at(list, i);
        const struct kv_key member = kv_key_of(one.p, one.size);

        if (!cmd_ok(c, kv_zrem(c->txn, key, &member, NULL, &c->err))) {
            return false;
        }
    }
    return true;
}

/* ---- by chance ---------------------------------------------------------- */

/* xorshift64*, seeded once per thread: good enough to choose members by. */
static uint64_t elements_random_next(void)
{
    static _Thread_local uint64_t state;

    while (state == 0) {
        const struct kv_os *os = kv_os_real();

        os->random(os->arg, &state, sizeof(state));
    }
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * UINT64_C(0x2545F4914F6CDD1D);
}

uint64_t cmd_random(uint64_t below)
{
    uint64_t limit, x;

    KV_ASSERT(below > 0);
    limit = UINT64_MAX - UINT64_MAX % below; /* above, small ones win */
    do {
        x = elements_random_next();
    } while (x >= limit);
    return x % below;
}

/* Put the cursor on an element by chance. False: all have expired. */
bool cmd_seek_random(struct kv_elems *elems)
{
    /* Expired fields are passed over, to the end and then from the start. */
    return kv_elems_seek_rank(elems,
                              cmd_random(kv_item_length(&elems->item))) ||
           kv_elems_first(elems);
}

/* Ranks that are chosen already: a table of rank + 1, 0 is free. */
struct elements_ranks {
    uint64_t *slots;
    uint64_t mask;
};

/* False when it is there already. */
static bool elements_ranks_add(struct elements_ranks *ranks, uint64_t rank)
{
    uint64_t i = rank * UINT64_C(0x9E3779B97F4A7C15) >> 20 & ranks->mask;

    for (; ranks->slots[i] != 0; i = (i + 1) & ranks->mask) {
        if (ranks->slots[i] == rank + 1) {
            return false;
        }
    }
    ranks->slots[i] = rank + 1;
    return true;
}

/* How an element goes into the reply. */
struct elements_answer {
    struct cmd_context *c;
    enum kv_type type;
    bool pairs;     /* with its value or score */
    uint64_t count; /* so far */
};

static void elements_put(struct cmd_context *c, enum kv_type type, bool pairs,
                         const struct kv_elem *elem)
{
    cmd_answer_val(c, &elem->key);
    if (pairs && type == KV_HASH) {
        cmd_answer_val(c, &elem->value);
    } else if (pairs) {
        cmd_reply_double(c->reply, elem->score);
    }
}

static void elements_answer_one(struct elements_answer *a,
                                const struct kv_elem *elem)
{
    elements_put(a->c, a->type, a->pairs, elem);
    a->count++;
}

/* Draws, among which elements may come again: as many as are asked for, in
 * slices. */
struct elements_draws {
    struct cmd_each each;
    struct kv_item item;
    enum kv_type type;
    bool pairs;
};

static void elements_draw(struct cmd_context *c, void *state, uint64_t index)
{
    const struct elements_draws *d = state;
    struct kv_elems elems;

    (void)index;
    kv_elems_init(&elems, &c->at, &d->item, KV_ELEMS_KEY);
    if (cmd_seek_random(&elems)) { /* the first one was there */
        elements_put(c, d->type, d->pairs, &elems.elem);
    }
}

static void elements_answer_draws(const struct elements_answer *a,
                                  const struct kv_item *item, uint64_t count)
{
    struct elements_draws d = {{0, count, elements_draw}, *item, a->type,
                               a->pairs};
    struct kv_elems elems;

    kv_elems_init(&elems, &a->c->at, item, KV_ELEMS_KEY);
    if (!cmd_seek_random(&elems)) {
        d.each.end = 0; /* all fields have expired */
    }
    if (a->pairs) {
        cmd_reply_pairs(a->c->reply, d.each.end);
    } else {
        cmd_reply_array(a->c->reply, d.each.end);
    }
    cmd_answer_each(a->c, &d.each, sizeof(d), NULL);
}

/* Many different ones: a walk over all, on which each is taken with the
 * chance (wanted left) / (elements left). */
static void elements_walk(struct elements_answer *a, struct kv_elems *elems,
                          uint64_t count)
{
    uint64_t left = kv_item_length(&elems->item);
    bool valid;

    for (valid = kv_elems_first(elems);
         valid && a->count < count && left > 0 && cmd_goes_on(a->c);
         valid = kv_elems_next(elems), left--) {
        if (cmd_random(left) < count - a->count) {
            elements_answer_one(a, &elems->elem);
        }
    }
}

/* Few different ones, by rank (Floyd): the j-th is drawn from the ranks up to
 * `length - count + j`, and is that last one when the drawn one was had. */
static void elements_pick(struct elements_answer *a, struct kv_elems *elems,
                          uint64_t count)
{
    const uint64_t length = kv_item_length(&elems->item);
    struct elements_ranks ranks = {.mask = 4};
    size_t size;

    while (ranks.mask < 2 * count) {
        ranks.mask *= 2;
    }
    size = ranks.mask * sizeof(*ranks.slots);
    ranks.mask--;
    ranks.slots = kv_mem_zalloc(KV_MEM_CLIENT, size);
    if (ranks.slots == NULL) {
        cmd_fail_nomem(a->c);
        return;
    }
    for (uint64_t last = length - count;
         last < length && cmd_goes_on(a->c); last++) {
        uint64_t rank = cmd_random(last + 1);

        if (!elements_ranks_add(&ranks, rank)) {
            rank = last;
            (void)elements_ranks_add(&ranks, rank);
        }
        if (kv_elems_seek_rank(elems, rank)) {
            elements_answer_one(a, &elems->elem);
        }
    }
    kv_mem_free(KV_MEM_CLIENT, ranks.slots, size);
}

/* From one in so many on, a walk over all costs less than a seek for each. */
#define ELEMENTS_WALK_PART 8

static void elements_answer_many(struct elements_answer *a,
                                 const struct kv_item *item, int64_t count)
{
    const uint64_t length = kv_item_length(item);
    const uint64_t wanted = count < 0 ? -(uint64_t)count : (uint64_t)count;
    const uint64_t most = count > 0 && wanted > length ? length : wanted;
    struct kv_elems elems;
    size_t place;

    if (cmd_defer(a->c, most)) {
        return;
    }
    if (count < 0) {
        elements_answer_draws(a, item, most);
        return;
    }
    place = cmd_reply_begin(a->c->reply,
                            a->pairs ? CMD_REPLY_PAIRS : CMD_REPLY_ARRAY);
    kv_elems_init(&elems, &a->c->at, item, KV_ELEMS_KEY);
    if (a->type == KV_HASH || most >= length / ELEMENTS_WALK_PART) {
        elements_walk(a, &elems, most);
    } else {
        elements_pick(a, &elems, most);
    }
    if (a->c->reply->rc == KVSQL_OK) {
        cmd_reply_end(a->c->reply, place, a->count);
    }
}

/* Arguments of the three: key [count [with]]. False: answered. */
static bool elements_random_options(struct cmd_context *c, const char *with,
                                    int64_t *count)
{
    const bool pairs = c->argc == 4;

    if (c->argc > 3 && with == NULL) {
        cmd_fail_syntax(c);
        return false;
    }
    if (c->argc > 2 &&
        !cmd_int_within(c, 2, -INT64_MAX, INT64_MAX, count, NULL)) {
        return false;
    }
    if (c->argc > 4 || (pairs && !cmd_is(c, 3, with))) {
        cmd_fail_syntax(c);
        return false;
    }
    if (pairs && (*count < -INT64_MAX / 2 || *count > INT64_MAX / 2)) {
        cmd_fail(c, KVSQL_RANGE, "ERR value is out of range");
        return false;
    }
    return true;
}

void cmd_answer_random(struct cmd_context *c, enum kv_type type,
                       const char *with)
{
    const struct kv_key key = cmd_key(c, 1);
    struct elements_answer a = {.c = c, .type = type, .pairs = c->argc == 4};
    struct kv_item item;
    struct kv_elems elems;
    int64_t count = 1;
    kvsql_rc rc;

    if (!elements_random_options(c, with, &count)) {
        return;
    }
    rc = cmd_get_type(c, &key, type, &item);
    if (rc == KVSQL_WRONGTYPE) {
        return;
    }
    if (c->argc > 2) {
        if (rc == KVSQL_NOTFOUND || count == 0) {
            cmd_reply_array(c->reply, 0);
        } else {
            elements_answer_many(&a, &item, count);
        }
        return;
    }
    if (rc == KVSQL_OK) {
        kv_elems_init(&elems, &c->at, &item, KV_ELEMS_KEY);
        if (cmd_seek_random(&elems)) {
            cmd_answer_val(c, &elems.elem.key);
            return;
        }
    }
    cmd_reply_null(c->reply);
}

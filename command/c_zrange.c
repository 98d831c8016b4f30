/* c_zrange.c - ranges of sorted sets, by rank, score or bytes.
 *
 * A range of any kind becomes a run of ranks first: scores by counting what
 * lies below (O(log n)), bytes by bisection over ranks. What is done with the
 * run (answered, stored, counted, removed) no longer knows the kind. A range
 * of bytes means something only when all scores are equal; else it is the run
 * that the bisection finds.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/context.h"

#include <string.h>

#include "kvsql/base/num.h"

enum zrange_kind { ZRANGE_RANK, ZRANGE_SCORE, ZRANGE_LEX };

/* One end of a range of scores or bytes. */
struct zrange_end {
    double score;
    kvsql_slice bytes;
    int infinite;   /* bytes: -1 before all, 1 behind all */
    bool exclusive;
};

struct zrange {
    enum zrange_kind kind;
    bool reverse, with_scores;
    int64_t start, stop;        /* RANK */
    struct zrange_end min, max; /* SCORE, LEX */
    int64_t offset, limit;      /* limit < 0 = all */
};

/* Elements first .. first + count - 1 in order of score. */
struct zrange_run {
    uint64_t first, count;
};

/* ---- ends --------------------------------------------------------------- */

static bool zrange_end_score(kvsql_slice text, struct zrange_end *end)
{
    const char *p = text.p;

    *end = (struct zrange_end){0};
    if (text.size > 0 && p[0] == '(') {
        end->exclusive = true;
        text.p = p + 1;
        text.size--;
    }
    return kv_num_double(text.p, text.size, &end->score);
}

static bool zrange_end_lex(kvsql_slice text, struct zrange_end *end)
{
    const char *p = text.p;

    *end = (struct zrange_end){0};
    if (text.size == 1 && (p[0] == '-' || p[0] == '+')) {
        end->infinite = p[0] == '-' ? -1 : 1;
        return true;
    }
    if (text.size == 0 || (p[0] != '(' && p[0] != '[')) {
        return false;
    }
    end->exclusive = p[0] == '(';
    end->bytes = (kvsql_slice){p + 1, text.size - 1};
    return true;
}

/* Both ends of a range of scores or bytes, from arguments `min`, `max`.
 * False: answered. */
static bool zrange_ends(struct cmd_context *c, struct zrange *r, unsigned min,
                        unsigned max)
{
    if (r->kind == ZRANGE_SCORE) {
        if (zrange_end_score(c->argv[min], &r->min) &&
            zrange_end_score(c->argv[max], &r->max)) {
            return true;
        }
        cmd_fail(c, KVSQL_NOTFLOAT, "ERR min or max is not a float");
        return false;
    }
    if (zrange_end_lex(c->argv[min], &r->min) &&
        zrange_end_lex(c->argv[max], &r->max)) {
        return true;
    }
    cmd_fail(c, KVSQL_INVALID, "ERR min or max not valid string range item");
    return false;
}

/* ---- runs --------------------------------------------------------------- */

static int zrange_compare(const struct kv_val *member, kvsql_slice bytes)
{
    const size_t size =
        member->size < bytes.size ? member->size : bytes.size;
    const int order = size > 0 ? memcmp(member->p, bytes.p, size) : 0;

    if (order != 0) {
        return order;
    }
    return member->size < bytes.size ? -1 : member->size > bytes.size;
}

/* Of ranks low .. high - 1, whose scores are equal, the first whose member lies
 * not before `bytes`, or not at it when `count_equal`; or high. */
static uint64_t zrange_bisect(const struct kv_at *at,
                              const struct kv_item *item, uint64_t low,
                              uint64_t high, kvsql_slice bytes,
                              bool count_equal)
{
    struct kv_elems elems;

    kv_elems_init(&elems, at, item, KV_ELEMS_SCORE);
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        int order;

        if (!kv_elems_seek_rank(&elems, middle)) {
            break;
        }
        order = zrange_compare(&elems.elem.key, bytes);
        if (order < 0 || (order == 0 && count_equal)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* How many members lie before `end`; one that equals it counts when
 * `count_equal`. */
static uint64_t zrange_lex_rank(struct cmd_context *c,
                                const struct kv_item *item,
                                const struct zrange_end *end,
                                bool count_equal)
{
    const uint64_t length = kv_item_length(item);

    if (end->infinite != 0) {
        return end->infinite < 0 ? 0 : length;
    }
    return zrange_bisect(&c->at, item, 0, length, end->bytes, count_equal);
}

bool cmd_zset_place(const struct kv_at *at, kvsql_slice key, double score,
                    kvsql_slice member, struct cmd_zset_place *place)
{
    const struct kv_key name = kv_key_of(key.p, key.size);
    struct kv_item item;

    if (!kv_get(at, &name, &item) || item.type != KV_ZSET) {
        return false;
    }
    place->length = kv_item_length(&item);
    place->below = kv_elem_score_rank(at, &item, score, false);
    place->within = kv_elem_score_rank(at, &item, score, true);
    place->before = zrange_bisect(at, &item, place->below, place->within,
                                  member, false);
    place->upto = zrange_bisect(at, &item, place->before, place->within,
                                member, true);
    return true;
}

/* Ranks between start and stop, counted from the end when reverse. */
static struct zrange_run zrange_run_rank(const struct zrange *r, int64_t n)
{
    int64_t start = r->start, stop = r->stop;

    start = start < 0 ? start + n : start;
    stop = stop < 0 ? stop + n : stop;
    start = start < 0 ? 0 : start;
    stop = stop >= n ? n - 1 : stop;
    if (start > stop || start >= n) {
        return (struct zrange_run){0, 0};
    }
    return (struct zrange_run){
        .first = (uint64_t)(r->reverse ? n - 1 - stop : start),
        .count = (uint64_t)(stop - start) + 1};
}

/* LIMIT, counted from the side at which the range begins. */
static struct zrange_run zrange_run_limit(const struct zrange *r,
                                          struct zrange_run run)
{
    uint64_t skip;

    if (r->offset < 0 || (uint64_t)r->offset >= run.count) {
        return (struct zrange_run){0, 0};
    }
    skip = (uint64_t)r->offset;
    run.count -= skip;
    if (!r->reverse) {
        run.first += skip;
    }
    if (r->limit >= 0 && (uint64_t)r->limit < run.count) {
        if (r->reverse) {
            run.first += run.count - (uint64_t)r->limit;
        }
        run.count = (uint64_t)r->limit;
    }
    return run;
}

static struct zrange_run zrange_run_of(struct cmd_context *c,
                                       const struct zrange *r,
                                       const struct kv_item *item)
{
    uint64_t low, high;

    if (r->kind == ZRANGE_RANK) {
        return zrange_run_rank(r, (int64_t)kv_item_length(item));
    }
    if (r->kind == ZRANGE_SCORE) {
        low = kv_elem_score_rank(&c->at, item, r->min.score,
                                 r->min.exclusive);
        high = kv_elem_score_rank(&c->at, item, r->max.score,
                                  !r->max.exclusive);
    } else {
        low = zrange_lex_rank(c, item, &r->min, r->min.exclusive);
        high = zrange_lex_rank(c, item, &r->max, !r->max.exclusive);
    }
    return zrange_run_limit(
        r, (struct zrange_run){low, high > low ? high - low : 0});
}

/* A cursor on the first element of a run that is not empty, in the direction
 * of reading. */
static void zrange_seek(struct cmd_context *c, const struct kv_item *item,
                        struct zrange_run run, bool reverse,
                        struct kv_elems *elems)
{
    bool valid;

    kv_elems_init(elems, &c->at, item, KV_ELEMS_SCORE);
    valid = kv_elems_seek_rank(elems,
                               reverse ? run.first + run.count - 1 : run.first);
    KV_ASSERT(valid); /* members do not expire */
}

static void zrange_step(struct kv_elems *elems, bool reverse)
{
    (void)(reverse ? kv_elems_prev(elems) : kv_elems_next(elems));
}

/* Members and scores of a run, copied out. */
static void zrange_copy(struct cmd_context *c, const struct kv_item *item,
                        struct zrange_run run, bool reverse,
                        struct cmd_list *out)
{
    struct kv_elems elems;

    if (run.count == 0) {
        return;
    }
    zrange_seek(c, item, run, reverse, &elems);
    for (uint64_t i = 0;
         i < run.count && !out->bytes.failed && cmd_goes_on(c); i++) {
        cmd_list_add(out, elems.elem.key.p, elems.elem.key.size,
                     elems.elem.score, 0);
        zrange_step(&elems, reverse);
    }
}

/* ---- ZRANGE and its kin ------------------------------------------------- */

/* What a name fixes; ZRANGE and ZRANGESTORE leave it to their arguments. */
struct zrange_fixed {
    bool any; /* BYSCORE, BYLEX, REV are arguments */
    enum zrange_kind kind;
    bool reverse;
};

/* LIMIT offset count at argument `i`. False: answered. */
static bool zrange_option_limit(struct cmd_context *c, unsigned i,
                                struct zrange *r)
{
    return cmd_int(c, i + 1, &r->offset, NULL) &&
           cmd_int(c, i + 2, &r->limit, NULL);
}

/* Arguments from `i` on. False: answered. */
static bool zrange_options(struct cmd_context *c, unsigned i, bool store,
                           const struct zrange_fixed *fixed, struct zrange *r)
{
    bool has_kind = !fixed->any, has_reverse = !fixed->any;

    *r = (struct zrange){.kind = fixed->kind, .reverse = fixed->reverse,
                         .limit = -1};
    for (; i < c->argc; i++) {
        if (!store && cmd_is(c, i, "WITHSCORES")) {
            r->with_scores = true;
        } else if (cmd_is(c, i, "LIMIT") && i + 2 < c->argc) {
            if (!zrange_option_limit(c, i, r)) {
                return false;
            }
            i += 2;
        } else if (!has_reverse && cmd_is(c, i, "REV")) {
            r->reverse = has_reverse = true;
        } else if (!has_kind && cmd_is(c, i, "BYLEX")) {
            r->kind = ZRANGE_LEX;
            has_kind = true;
        } else if (!has_kind && cmd_is(c, i, "BYSCORE")) {
            r->kind = ZRANGE_SCORE;
            has_kind = true;
        } else {
            cmd_fail_syntax(c);
            return false;
        }
    }
    if (r->limit != -1 && r->kind == ZRANGE_RANK) {
        cmd_fail(c, KVSQL_SYNTAX,
                 "ERR syntax error, LIMIT is only supported in combination "
                 "with either BYSCORE or BYLEX");
        return false;
    }
    if (r->with_scores && r->kind == ZRANGE_LEX) {
        cmd_fail(c, KVSQL_SYNTAX,
                 "ERR syntax error, WITHSCORES not supported in combination "
                 "with BYLEX");
        return false;
    }
    return true;
}

/* Key at `key_index`, its range behind it. False: answered. */
static bool zrange_parse(struct cmd_context *c, unsigned key_index, bool store,
                         const struct zrange_fixed *fixed, struct zrange *r)
{
    const unsigned low = key_index + 1, high = key_index + 2;

    if (!zrange_options(c, key_index + 3, store, fixed, r)) {
        return false;
    }
    if (r->kind == ZRANGE_RANK) {
        return cmd_int(c, low, &r->start, NULL) &&
               cmd_int(c, high, &r->stop, NULL);
    }
    return r->reverse ? zrange_ends(c, r, high, low)
                      : zrange_ends(c, r, low, high);
}

static void zrange_put(struct cmd_context *c, const struct kv_elem *elem)
{
    cmd_answer_val(c, &elem->key);
}

static void zrange_put_scored(struct cmd_context *c,
                              const struct kv_elem *elem)
{
    cmd_answer_val(c, &elem->key);
    cmd_reply_double(c->reply, elem->score);
}

static void zrange_answer(struct cmd_context *c,
                          const struct zrange_fixed *fixed)
{
    cmd_put_fn put = zrange_put;
    const struct kv_key key = cmd_key(c, 1);
    struct zrange r;
    struct kv_item item;
    struct kv_elems elems;
    struct zrange_run run = {0, 0};
    kvsql_rc rc;

    if (!zrange_parse(c, 1, false, fixed, &r)) {
        return;
    }
    rc = cmd_get_type(c, &key, KV_ZSET, &item);
    if (rc == KVSQL_WRONGTYPE) {
        return;
    }
    if (rc == KVSQL_OK) {
        run = zrange_run_of(c, &r, &item);
        if (cmd_defer(c, run.count)) {
            return;
        }
    }
    if (r.with_scores) {
        cmd_reply_pairs(c->reply, run.count);
        put = zrange_put_scored;
    } else {
        cmd_reply_array(c->reply, run.count);
    }
    if (run.count == 0) {
        return;
    }
    if (c->slice != NULL) {
        cmd_slice_elems(c, &item, KV_ELEMS_SCORE,
                        r.reverse ? run.first + run.count - 1 : run.first,
                        r.reverse, run.count, put);
        return;
    }
    zrange_seek(c, &item, run, r.reverse, &elems);
    for (uint64_t i = 0; i < run.count && cmd_goes_on(c); i++) {
        put(c, &elems.elem);
        zrange_step(&elems, r.reverse);
    }
}

void cmd_do_zrange(struct cmd_context *c)
{
    zrange_answer(c, &(struct zrange_fixed){.any = true});
}

void cmd_do_zrevrange(struct cmd_context *c)
{
    zrange_answer(c, &(struct zrange_fixed){.kind = ZRANGE_RANK,
                                            .reverse = true});
}

void cmd_do_zrangebyscore(struct cmd_context *c)
{
    zrange_answer(c, &(struct zrange_fixed){.kind = ZRANGE_SCORE});
}

void cmd_do_zrevrangebyscore(struct cmd_context *c)
{
    zrange_answer(c, &(struct zrange_fixed){.kind = ZRANGE_SCORE,
                                            .reverse = true});
}

void cmd_do_zrangebylex(struct cmd_context *c)
{
    zrange_answer(c, &(struct zrange_fixed){.kind = ZRANGE_LEX});
}

void cmd_do_zrevrangebylex(struct cmd_context *c)
{
    zrange_answer(c, &(struct zrange_fixed){.kind = ZRANGE_LEX,
                                            .reverse = true});
}

void cmd_do_zrangestore(struct cmd_context *c)
{
    const struct kv_key from = cmd_key(c, 2);
    struct zrange r;
    struct kv_item item;
    struct cmd_list list;
    kvsql_rc rc;

    if (!zrange_parse(c, 2, true, &(struct zrange_fixed){.any = true}, &r)) {
        return;
    }
    rc = cmd_get_type(c, &from, KV_ZSET, &item);
    if (rc == KVSQL_WRONGTYPE) {
        return;
    }
    cmd_list_init(&list);
    if (rc == KVSQL_OK) {
        zrange_copy(c, &item, zrange_run_of(c, &r, &item), r.reverse, &list);
    }
    if (cmd_list_ok(c, &list)) {
        cmd_list_store(c, 1, KV_ZSET, &list);
    }
    cmd_list_fini(&list);
}

/* ---- counting ----------------------------------------------------------- */

static void zrange_count(struct cmd_context *c, enum zrange_kind kind)
{
    const struct kv_key key = cmd_key(c, 1);
    struct zrange r = {.kind = kind, .limit = -1};
    struct kv_item item;
    kvsql_rc rc;

    if (!zrange_ends(c, &r, 2, 3)) {
        return;
    }
    rc = cmd_get_type(c, &key, KV_ZSET, &item);
    if (rc != KVSQL_WRONGTYPE) {
        cmd_reply_int(c->reply,
                      rc == KVSQL_OK
                          ? (int64_t)zrange_run_of(c, &r, &item).count
                          : 0);
    }
}

void cmd_do_zcount(struct cmd_context *c)
{
    zrange_count(c, ZRANGE_SCORE);
}

void cmd_do_zlexcount(struct cmd_context *c)
{
    zrange_count(c, ZRANGE_LEX);
}

/* ---- removing ----------------------------------------------------------- */

static void zrange_remove(struct cmd_context *c, enum zrange_kind kind)
{
    const struct kv_key key = cmd_key(c, 1);
    struct zrange r = {.kind = kind, .limit = -1};
    struct kv_item item;
    struct cmd_list list;
    kvsql_rc rc;

    if (kind == ZRANGE_RANK ? !cmd_int(c, 2, &r.start, NULL) ||
                                  !cmd_int(c, 3, &r.stop, NULL)
                            : !zrange_ends(c, &r, 2, 3)) {
        return;
    }
    rc = cmd_get_type(c, &key, KV_ZSET, &item);
    if (rc == KVSQL_WRONGTYPE) {
        return;
    }
    cmd_list_init(&list);
    if (rc == KVSQL_OK) {
        zrange_copy(c, &item, zrange_run_of(c, &r, &item), false, &list);
    }
    if (cmd_list_ok(c, &list) && cmd_list_zrem(c, &key, &list)) {
        cmd_reply_int(c->reply, (int64_t)list.count);
    }
    cmd_list_fini(&list);
}

void cmd_do_zremrangebyscore(struct cmd_context *c)
{
    zrange_remove(c, ZRANGE_SCORE);
}

void cmd_do_zremrangebyrank(struct cmd_context *c)
{
    zrange_remove(c, ZRANGE_RANK);
}

void cmd_do_zremrangebylex(struct cmd_context *c)
{
    zrange_remove(c, ZRANGE_LEX);
}

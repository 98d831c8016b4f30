/* c_zset.c - sorted sets: members and scores.
 *
 * Ranges are in c_zrange.c, pops in c_zpop.c, unions and their kin in
 * c_zalgebra.c, ZSCAN in c_scan.c.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/context.h"

#include <math.h>

/* ---- ZADD, ZINCRBY ------------------------------------------------------ */

struct zset_add {
    bool nx, xx, gt, lt, ch, incr;
    bool applied; /* with incr: the condition held */
    int64_t added, updated;
    double score; /* with incr: the new one */
};

/* Options from argument 2 on; returns the index behind them. */
static unsigned zset_add_options(struct cmd_context *c, struct zset_add *z)
{
    const struct cmd_switch words[] = {{"NX", &z->nx}, {"XX", &z->xx},
                                       {"CH", &z->ch}, {"INCR", &z->incr},
                                       {"GT", &z->gt}, {"LT", &z->lt}};

    return cmd_switches(c, 2, words, sizeof(words) / sizeof(words[0]));
}

/* False: answered. `first` is the first score. */
static bool zset_add_check(struct cmd_context *c, const struct zset_add *z,
                           unsigned first)
{
    const unsigned rest = c->argc - first;

    if (rest == 0 || rest % 2 != 0) {
        cmd_fail_syntax(c);
        return false;
    }
    if (z->nx && z->xx) {
        cmd_fail(c, KVSQL_SYNTAX,
                 "ERR XX and NX options at the same time are not compatible");
        return false;
    }
    if ((z->gt && z->nx) || (z->lt && z->nx) || (z->gt && z->lt)) {
        cmd_fail(c, KVSQL_SYNTAX,
                 "ERR GT, LT, and/or NX options at the same time are not "
                 "compatible");
        return false;
    }
    if (z->incr && rest > 2) {
        cmd_fail(c, KVSQL_SYNTAX,
                 "ERR INCR option supports a single increment-element pair");
        return false;
    }
    for (unsigned i = first; i < c->argc; i += 2) {
        double score;

        if (!cmd_double(c, i, &score, NULL)) {
            return false;
        }
    }
    return true;
}

/* All members, on no condition. False: answered. */
static bool zset_add_plain(struct cmd_context *c, struct zset_add *z,
                           unsigned first)
{
    const struct kv_key key = cmd_key(c, 1);

    for (unsigned i = first; i < c->argc; i += 2) {
        const struct kv_key member = cmd_key(c, i + 1);
        double score;
        bool created = false;

        if (!cmd_double(c, i, &score, NULL) ||
            !cmd_ok(c, kv_zadd(c->txn, &key, &member, score, &created,
                               &c->err))) {
            return false;
        }
        z->added += created;
    }
    return true;
}

/* One member, as the options say. False: answered. */
static bool zset_add_one(struct cmd_context *c, struct zset_add *z,
                         const struct kv_key *key, const struct kv_key *member,
                         double score)
{
    struct kv_item item;
    struct kv_elem elem;
    const bool there = cmd_get(c, key, &item) &&
                       kv_elem_find(&c->at, &item, member, &elem);

    if (there ? z->nx : z->xx) {
        return true;
    }
    if (there && z->incr) {
        score += elem.score;
        if (isnan(score)) {
            cmd_fail(c, KVSQL_NOTFLOAT,
                     "ERR resulting score is not a number (NaN)");
            return false;
        }
    }
    if (there && ((z->gt && score <= elem.score) ||
                  (z->lt && score >= elem.score))) {
        return true;
    }
    z->applied = true;
    z->score = score;
    if (there && score == elem.score) {
        z->score = elem.score; /* the sign of a zero stays */
        return true;
    }
    z->added += !there;
    z->updated += there;
    return cmd_ok(c, kv_zadd(c->txn, key, member, score, NULL, &c->err));
}

/* All members, as the options say. False: answered. */
static bool zset_add_all(struct cmd_context *c, struct zset_add *z,
                         unsigned first)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;

    if (cmd_get_type(c, &key, KV_ZSET, &item) == KVSQL_WRONGTYPE) {
        return false;
    }
    for (unsigned i = first; i < c->argc; i += 2) {
        const struct kv_key member = cmd_key(c, i + 1);
        double score;

        if (!cmd_double(c, i, &score, NULL) ||
            !zset_add_one(c, z, &key, &member, score)) {
            return false;
        }
    }
    return true;
}

static void zset_add(struct cmd_context *c, bool incr)
{
    struct zset_add z = {.incr = incr};
    const unsigned first = zset_add_options(c, &z);
    const bool plain = !incr && first == 2; /* no options */

    if (!zset_add_check(c, &z, first) ||
        !(plain ? zset_add_plain(c, &z, first)
                : zset_add_all(c, &z, first))) {
        return;
    }
    if (!z.incr) {
        cmd_reply_int(c->reply, z.ch ? z.added + z.updated : z.added);
    } else if (z.applied) {
        cmd_reply_double(c->reply, z.score);
    } else {
        cmd_reply_null(c->reply);
    }
}

void cmd_do_zadd(struct cmd_context *c)
{
    zset_add(c, false);
}

void cmd_do_zincrby(struct cmd_context *c)
{
    zset_add(c, true);
}

void cmd_do_zrem(struct cmd_context *c)
{
    cmd_answer_elements(c, kv_zrem);
}

/* ---- reading ------------------------------------------------------------ */

void cmd_do_zcard(struct cmd_context *c)
{
    cmd_answer_length(c, KV_ZSET);
}

void cmd_do_zrandmember(struct cmd_context *c)
{
    cmd_answer_random(c, KV_ZSET, "WITHSCORES");
}

/* The score of argument `index`, or null. */
static void zset_answer_score(struct cmd_context *c, const struct kv_item *item,
                              unsigned index)
{
    const struct kv_key member = cmd_key(c, index);
    struct kv_elem elem;

    if (item != NULL && kv_elem_find(&c->at, item, &member, &elem)) {
        cmd_reply_double(c->reply, elem.score);
    } else {
        cmd_reply_null(c->reply);
    }
}

void cmd_do_zscore(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    const kvsql_rc rc = cmd_get_type(c, &key, KV_ZSET, &item);

    if (rc != KVSQL_WRONGTYPE) {
        zset_answer_score(c, rc == KVSQL_OK ? &item : NULL, 2);
    }
}

void cmd_do_zmscore(struct cmd_context *c)
{
    cmd_answer_args(c, KV_ZSET, zset_answer_score);
}

static void zset_rank(struct cmd_context *c, bool reverse)
{
    const struct kv_key key = cmd_key(c, 1), member = cmd_key(c, 2);
    const bool with_score = c->argc == 4;
    struct kv_item item;
    uint64_t rank;
    kvsql_rc rc;

    if (c->argc > 4) {
        cmd_fail_arity(c);
        return;
    }
    if (with_score && !cmd_is(c, 3, "WITHSCORE")) {
        cmd_fail_syntax(c);
        return;
    }
    rc = cmd_get_type(c, &key, KV_ZSET, &item);
    if (rc == KVSQL_WRONGTYPE) {
        return;
    }
    if (rc == KVSQL_NOTFOUND ||
        !kv_elem_rank(&c->at, &item, &member, &rank)) {
        if (with_score) {
            cmd_reply_null_array(c->reply);
        } else {
            cmd_reply_null(c->reply);
        }
        return;
    }
    if (with_score) {
        cmd_reply_array(c->reply, 2);
    }
    cmd_reply_int(c->reply,
                  (int64_t)(reverse ? kv_item_length(&item) - 1 - rank
                                    : rank));
    if (with_score) {
        zset_answer_score(c, &item, 2);
    }
}

void cmd_do_zrank(struct cmd_context *c)
{
    zset_rank(c, false);
}

void cmd_do_zrevrank(struct cmd_context *c)
{
    zset_rank(c, true);
}

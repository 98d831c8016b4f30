/* c_zalgebra.c - sorted sets made of sets and sorted sets.
 *
 * How members are found and scores combined is in algebra.c. A result has the
 * order of bytes there; what is answered is copied out and brought into the
 * order of scores.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/context.h"

/* numkeys key [key ...] options */
struct zalgebra {
    enum cmd_algebra algebra;
    bool store, count; /* the result is stored; only counted */
    bool with_scores;
    int64_t limit;
    struct cmd_sources sources;
};

/* WEIGHTS weight ... at argument `i`. False: answered. */
static bool zalgebra_weights(struct cmd_context *c, unsigned i,
                             struct cmd_sources *s)
{
    for (unsigned k = 0; k < s->count; k++) {
        if (!cmd_double(c, i + 1 + k, &s->at[k].weight,
                        "ERR weight value is not a float")) {
            return false;
        }
    }
    return true;
}

/* AGGREGATE how at argument `i`. False: answered. */
static bool zalgebra_aggregate(struct cmd_context *c, unsigned i,
                               struct cmd_sources *s)
{
    if (cmd_is(c, i + 1, "SUM")) {
        s->aggregate = CMD_SUM;
    } else if (cmd_is(c, i + 1, "MIN")) {
        s->aggregate = CMD_MIN;
    } else if (cmd_is(c, i + 1, "MAX")) {
        s->aggregate = CMD_MAX;
    } else {
        cmd_fail_syntax(c);
        return false;
    }
    return true;
}

/* The option at argument *i, which moves to its last word. False: answered. */
static bool zalgebra_option(struct cmd_context *c, unsigned *i,
                            struct zalgebra *z)
{
    const bool scores = z->algebra != CMD_DIFF && !z->count;
    const unsigned rest = c->argc - *i - 1;
    const unsigned at = *i;

    if (scores && rest >= z->sources.count && cmd_is(c, at, "WEIGHTS")) {
        *i += z->sources.count;
        return zalgebra_weights(c, at, &z->sources);
    }
    if (scores && rest >= 1 && cmd_is(c, at, "AGGREGATE")) {
        *i += 1;
        return zalgebra_aggregate(c, at, &z->sources);
    }
    if (!z->store && !z->count && cmd_is(c, at, "WITHSCORES")) {
        z->with_scores = true;
        return true;
    }
    if (z->count && rest >= 1 && cmd_is(c, at, "LIMIT")) {
        *i += 1;
        return cmd_int_within(c, at + 1, 0, INT64_MAX, &z->limit,
                              "ERR LIMIT can't be negative");
    }
    cmd_fail_syntax(c);
    return false;
}

/* From numkeys at argument `index` on. False: answered, nothing to free. */
static bool zalgebra_parse(struct cmd_context *c, unsigned index,
                           struct zalgebra *z)
{
    char name[CMD_NAME_MAX];
    int64_t keys;

    if (!cmd_int(c, index, &keys, NULL)) {
        return false;
    }
    if (keys < 1) {
        cmd_fail(c, KVSQL_INVALID,
                 "ERR at least 1 input key is needed for '%s' command",
                 cmd_name(c, name));
        return false;
    }
    if (keys > (int64_t)(c->argc - index - 1)) {
        cmd_fail_syntax(c);
        return false;
    }
    if (!cmd_sources_find(c, index + 1, (unsigned)keys, true, &z->sources)) {
        return false;
    }
    for (unsigned i = index + 1 + (unsigned)keys; i < c->argc; i++) {
        if (!zalgebra_option(c, &i, z)) {
            cmd_sources_fini(&z->sources);
            return false;
        }
    }
    return true;
}

/* A result in its order, on its way into the reply. */
struct zalgebra_answer {
    struct cmd_each each;
    struct cmd_list list;
    bool with_scores;
};

static void zalgebra_answer_fini(void *state)
{
    cmd_list_fini(&((struct zalgebra_answer *)state)->list);
}

static void zalgebra_put(struct cmd_context *c, void *state, uint64_t index)
{
    const struct zalgebra_answer *a = state;
    const struct cmd_list_item one = cmd_list_at(&a->list, index);

    cmd_reply_bulk(c->reply, one.p, one.size);
    if (a->with_scores) {
        cmd_reply_double(c->reply, one.score);
    }
}

static void zalgebra_answer(struct cmd_context *c, enum cmd_algebra algebra)
{
    struct zalgebra z = {.algebra = algebra};
    struct zalgebra_answer a = {.each.put = zalgebra_put};

    if (!zalgebra_parse(c, 1, &z)) {
        return;
    }
    if (cmd_defer(c, z.sources.members)) {
        cmd_sources_fini(&z.sources);
        return;
    }
    cmd_list_init(&a.list);
    if (cmd_sources_list(c, &z.sources, algebra, &a.list) &&
        cmd_list_sort(c, &a.list)) {
        a.with_scores = z.with_scores;
        a.each.end = a.list.count;
        if (z.with_scores) {
            cmd_reply_pairs(c->reply, a.list.count);
        } else {
            cmd_reply_array(c->reply, a.list.count);
        }
        cmd_answer_each(c, &a.each, sizeof(a), zalgebra_answer_fini);
    }
    zalgebra_answer_fini(&a);
}

void cmd_do_zunion(struct cmd_context *c)
{
    zalgebra_answer(c, CMD_UNION);
}

void cmd_do_zinter(struct cmd_context *c)
{
    zalgebra_answer(c, CMD_INTER);
}

void cmd_do_zdiff(struct cmd_context *c)
{
    zalgebra_answer(c, CMD_DIFF);
}

static void zalgebra_store(struct cmd_context *c, enum cmd_algebra algebra)
{
    struct zalgebra z = {.algebra = algebra, .store = true};
    struct cmd_list list;

    if (!zalgebra_parse(c, 2, &z)) {
        return;
    }
    cmd_list_init(&list);
    if (cmd_sources_list(c, &z.sources, algebra, &list)) {
        cmd_list_store(c, 1, KV_ZSET, &list);
    }
    cmd_list_fini(&list);
}

void cmd_do_zunionstore(struct cmd_context *c)
{
    zalgebra_store(c, CMD_UNION);
}

void cmd_do_zinterstore(struct cmd_context *c)
{
    zalgebra_store(c, CMD_INTER);
}

void cmd_do_zdiffstore(struct cmd_context *c)
{
    zalgebra_store(c, CMD_DIFF);
}

void cmd_do_zintercard(struct cmd_context *c)
{
    struct zalgebra z = {.algebra = CMD_INTER, .count = true};

    if (!zalgebra_parse(c, 1, &z)) {
        return;
    }
    if (cmd_defer(c, z.sources.members)) {
        cmd_sources_fini(&z.sources);
    } else {
        cmd_answer_inter_count(c, &z.sources, z.limit);
    }
}

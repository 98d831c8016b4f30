/* c_zpop.c - members taken from an end of a sorted set.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/context.h"

/* Take at most `count` members from the low or high end into the list.
 * False: answered. */
static bool zpop_take(struct cmd_context *c, const struct kv_key *key,
                      const struct kv_item *item, uint64_t count, bool high,
                      struct cmd_list *list)
{
    struct kv_elems elems;
    bool valid;

    kv_elems_init(&elems, &c->at, item, KV_ELEMS_SCORE);
    valid = high ? kv_elems_last(&elems) : kv_elems_first(&elems);
    while (valid && list->count < count && !list->bytes.failed &&
           cmd_goes_on(c)) {
        cmd_list_add(list, elems.elem.key.p, elems.elem.key.size,
                     elems.elem.score, 0);
        valid = high ? kv_elems_prev(&elems) : kv_elems_next(&elems);
    }
    return cmd_list_ok(c, list) && cmd_list_zrem(c, key, list);
}

static void zpop_answer(struct cmd_context *c, const struct cmd_list *list,
                        bool nested)
{
    for (uint64_t i = 0; i < list->count; i++) {
        const struct cmd_list_item one = cmd_list_at(list, i);

        if (nested) {
            cmd_reply_array(c->reply, 2);
        }
        cmd_reply_bulk(c->reply, one.p, one.size);
        cmd_reply_double(c->reply, one.score);
    }
}

static void zpop_one_key(struct cmd_context *c, bool high)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    struct cmd_list list;
    int64_t count = 1;
    kvsql_rc rc;

    if (c->argc > 3) {
        cmd_fail_syntax(c);
        return;
    }
    if (!cmd_pop_parse(c, KV_ZSET, &count, &item, &rc)) {
        return;
    }
    cmd_list_init(&list);
    if (rc == KVSQL_NOTFOUND ||
        zpop_take(c, &key, &item, (uint64_t)count, high, &list)) {
        if (c->argc == 3 && list.count > 0) {
            cmd_reply_pairs(c->reply, list.count);
        } else {
            cmd_reply_array(c->reply, 2 * list.count);
        }
        zpop_answer(c, &list, false);
    }
    cmd_list_fini(&list);
}

void cmd_do_zpopmin(struct cmd_context *c)
{
    zpop_one_key(c, false);
}

void cmd_do_zpopmax(struct cmd_context *c)
{
    zpop_one_key(c, true);
}

/* Take from the set, and answer with its key in front; `one`: flat. */
static void zpop_answer_key(struct cmd_context *c, const struct kv_key *key,
                            const struct kv_item *item,
                            const struct cmd_mpop *m, bool one)
{
    struct cmd_list list;

    cmd_list_init(&list);
    if (zpop_take(c, key, item, m->count, m->high, &list)) {
        cmd_reply_array(c->reply, one ? 3 : 2);
        cmd_reply_bulk(c->reply, key->p, key->size);
        if (!one) {
            cmd_reply_array(c->reply, list.count);
        }
        zpop_answer(c, &list, !one);
    }
    cmd_list_fini(&list);
}

/* Take from the first of the keys that is there. False: none is, and nothing
 * is answered. */
static bool zpop_first(struct cmd_context *c, const struct cmd_mpop *m)
{
    for (unsigned i = m->first; i < m->first + m->keys; i++) {
        const struct kv_key key = cmd_key(c, i);
        struct kv_item item;
        const kvsql_rc rc = cmd_get_type(c, &key, KV_ZSET, &item);

        if (rc == KVSQL_NOTFOUND) {
            continue;
        }
        if (rc == KVSQL_WRONGTYPE) {
            return true;
        }
        zpop_answer_key(c, &key, &item, m, false);
        return true;
    }
    return false;
}

void cmd_do_zmpop(struct cmd_context *c)
{
    struct cmd_mpop m;

    if (cmd_mpop_parse(c, 1, "MIN", "MAX", &m) && !zpop_first(c, &m)) {
        cmd_reply_null_array(c->reply);
    }
}

/* ---- pops that wait ------------------------------------------------------ */

/* What `m` asks for of the first set that is there; with `one` a single member
 * beside its key. */
static void zpop_wait(struct cmd_context *c, struct cmd_wait *w,
                      const struct cmd_mpop *m, bool one)
{
    struct kv_item item;

    for (unsigned n = 0, i; (i = cmd_wait_key(c, w, n)) != 0; n++) {
        const struct kv_key key = cmd_key(c, i);
        const kvsql_rc rc = cmd_wait_get(c, w, &key, &item);

        if (rc == KVSQL_OK) {
            zpop_answer_key(c, &key, &item, m, one);
        }
        if (rc != KVSQL_NOTFOUND) {
            return;
        }
    }
    cmd_wait(c, w);
}

static void zpop_wait_one(struct cmd_context *c, bool high)
{
    struct cmd_wait w = {.first = 1, .keys = c->argc - 2, .type = KV_ZSET};
    const struct cmd_mpop m = {.high = high, .count = 1};

    if (cmd_wait_timeout(c, c->argc - 1, &w)) {
        zpop_wait(c, &w, &m, true);
    }
}

void cmd_do_bzpopmin(struct cmd_context *c)
{
    zpop_wait_one(c, false);
}

void cmd_do_bzpopmax(struct cmd_context *c)
{
    zpop_wait_one(c, true);
}

void cmd_do_bzmpop(struct cmd_context *c)
{
    struct cmd_wait w = {.type = KV_ZSET};
    struct cmd_mpop m;

    if (cmd_wait_timeout(c, 1, &w) &&
        cmd_mpop_parse(c, 2, "MIN", "MAX", &m)) {
        w.first = m.first;
        w.keys = m.keys;
        zpop_wait(c, &w, &m, false);
    }
}

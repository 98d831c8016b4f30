/* c_set.c - sets: members, members by chance, and sets made of sets.
 *
 * How sets are combined is in algebra.c, how members are drawn in elements.c.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/context.h"

/* ---- members ------------------------------------------------------------ */

void cmd_do_sadd(struct cmd_context *c)
{
    if (c->argc == 3 && cmd_near_there(c)) {
        cmd_reply_int(c->reply, 0);
        return;
    }
    cmd_answer_elements(c, kv_sadd);
}

void cmd_do_srem(struct cmd_context *c)
{
    cmd_answer_elements(c, kv_srem);
}

void cmd_do_scard(struct cmd_context *c)
{
    cmd_answer_length(c, KV_SET);
}

static void set_answer_has(struct cmd_context *c, const struct kv_item *item,
                           unsigned index)
{
    const struct kv_key member = cmd_key(c, index);

    cmd_reply_int(c->reply, item != NULL &&
                                kv_elem_find(&c->at, item, &member, NULL));
}

void cmd_do_sismember(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    const kvsql_rc rc = cmd_get_type(c, &key, KV_SET, &item);

    if (rc != KVSQL_WRONGTYPE) {
        set_answer_has(c, rc == KVSQL_OK ? &item : NULL, 2);
    }
}

void cmd_do_smismember(struct cmd_context *c)
{
    cmd_answer_args(c, KV_SET, set_answer_has);
}

static void set_put(struct cmd_context *c, const struct kv_elem *elem)
{
    cmd_answer_val(c, &elem->key);
}

static void set_answer_all(struct cmd_context *c, const struct kv_item *item)
{
    const uint64_t count = kv_item_length(item);
    struct kv_elems elems;
    bool valid;

    cmd_reply_set(c->reply, count);
    if (c->slice != NULL) {
        cmd_slice_elems(c, item, KV_ELEMS_KEY, 0, false, count, set_put);
        return;
    }
    kv_elems_init(&elems, &c->at, item, KV_ELEMS_KEY);
    for (valid = kv_elems_first(&elems); valid && cmd_goes_on(c);
         valid = kv_elems_next(&elems)) {
        set_put(c, &elems.elem);
    }
}

void cmd_do_smembers(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    const kvsql_rc rc = cmd_get_type(c, &key, KV_SET, &item);

    if (rc == KVSQL_WRONGTYPE ||
        (rc == KVSQL_OK && cmd_defer(c, kv_item_length(&item)))) {
        return;
    }
    if (rc == KVSQL_OK) {
        set_answer_all(c, &item);
    } else {
        cmd_reply_set(c->reply, 0);
    }
}

void cmd_do_smove(struct cmd_context *c)
{
    const struct kv_key from = cmd_key(c, 1), to = cmd_key(c, 2);
    const struct kv_key member = cmd_key(c, 3);
    struct kv_item item, there;
    bool existed = false;
    const kvsql_rc rc = cmd_get_type(c, &from, KV_SET, &item);

    if (rc == KVSQL_NOTFOUND) {
        cmd_reply_int(c->reply, 0);
    }
    if (rc != KVSQL_OK ||
        cmd_get_type(c, &to, KV_SET, &there) == KVSQL_WRONGTYPE) {
        return;
    }
    if (kv_key_compare(&from, &to) == 0) {
        cmd_reply_int(c->reply, kv_elem_find(&c->at, &item, &member, NULL));
        return;
    }
    if (!cmd_ok(c, kv_srem(c->txn, &from, &member, &existed, &c->err)) ||
        (existed &&
         !cmd_ok(c, kv_sadd(c->txn, &to, &member, NULL, &c->err)))) {
        return;
    }
    cmd_reply_int(c->reply, existed);
}

/* ---- by chance ---------------------------------------------------------- */

/* Answer with one member and remove it. False: answered, or no room to. */
static bool set_pop_one(struct cmd_context *c, const struct kv_key *key,
                        const struct kv_item *item)
{
    struct kv_elems elems;
    struct kv_key member;
    bool valid;

    kv_elems_init(&elems, &c->at, item, KV_ELEMS_KEY);
    valid = cmd_seek_random(&elems);
    KV_ASSERT(valid); /* members do not expire */
    cmd_answer_val(c, &elems.elem.key);
    if (cmd_reply_failed(c->reply)) {
        return false;
    }
    /* What was read may move in the change: the reply's copy does not. */
    member = (struct kv_key){.p = cmd_reply_last(c->reply,
                                              elems.elem.key.size),
                             .size = elems.elem.key.size,
                             .cls = elems.elem.key.cls};
    return cmd_ok(c, kv_srem(c->txn, key, &member, NULL, &c->err));
}

/* Take all: the key goes at once. */
static void set_pop_all(struct cmd_context *c, const struct kv_key *key,
                        const struct kv_item *item)
{
    set_answer_all(c, item);
    (void)cmd_ok(c, kv_del(c->txn, key, NULL, &c->err));
}

static void set_pop_many(struct cmd_context *c, const struct kv_key *key,
                         struct kv_item *item, uint64_t count)
{
    if (count >= kv_item_length(item)) {
        set_pop_all(c, key, item);
        return;
    }
    cmd_reply_set(c->reply, count);
    for (uint64_t i = 0; i < count && cmd_goes_on(c); i++) {
        if (!set_pop_one(c, key, item) || !cmd_get(c, key, item)) {
            break;
        }
    }
}

void cmd_do_spop(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    int64_t count = 0;
    kvsql_rc rc;

    if (c->argc > 3) {
        cmd_fail_syntax(c);
        return;
    }
    if (!cmd_pop_parse(c, KV_SET, &count, &item, &rc)) {
        return;
    }
    if (c->argc == 3) {
        if (rc == KVSQL_NOTFOUND || count == 0) {
            cmd_reply_set(c->reply, 0);
        } else {
            set_pop_many(c, &key, &item, (uint64_t)count);
        }
    } else if (rc == KVSQL_NOTFOUND) {
        cmd_reply_null(c->reply);
    } else {
        (void)set_pop_one(c, &key, &item);
    }
}

void cmd_do_srandmember(struct cmd_context *c)
{
    cmd_answer_random(c, KV_SET, NULL);
}

/* ---- sets made of sets -------------------------------------------------- */

static void set_members_fini(void *state)
{
    cmd_members_fini(state);
}

/* The walk stands on the next member; behind the last its member is NULL. */
static bool set_members_more(struct cmd_context *c, void *state)
{
    struct cmd_members *m = state;

    while (m->member != NULL && cmd_slice_room(c)) {
        cmd_answer_val(c, m->member);
        if (!cmd_members_next(c, m)) {
            m->member = NULL;
        }
    }
    return m->member == NULL;
}

/* One walk makes what the first slice has room for and counts the others; these
 * come from a second walk, whose start is passed over. */
static void set_answer_members(struct cmd_context *c, struct cmd_members *m)
{
    const size_t place = cmd_reply_begin(c->reply, CMD_REPLY_SET);
    uint64_t count = 0, put = 0;

    for (bool valid = cmd_members_first(c, m); valid;
         valid = cmd_members_next(c, m)) {
        if (put == count && !cmd_slice_is_full(c)) {
            cmd_answer_val(c, m->member);
            put++;
        }
        count++;
    }
    cmd_reply_end(c->reply, place, count);
    if (put == count || cmd_reply_failed(c->reply)) {
        return;
    }
    for (bool valid = cmd_members_first(c, m); valid && put > 0;
         valid = cmd_members_next(c, m)) {
        put--;
    }
    if (!cmd_reply_failed(c->reply) &&
        cmd_slice_take(c, m, sizeof(*m), set_members_fini) != NULL) {
        cmd_slice_run(c, set_members_more);
    }
}

static void set_answer_algebra(struct cmd_context *c, enum cmd_algebra algebra)
{
    struct cmd_sources sources;
    struct cmd_members members;

    if (!cmd_sources_find(c, 1, c->argc - 1, false, &sources)) {
        return;
    }
    if (cmd_defer(c, sources.members)) {
        cmd_sources_fini(&sources);
    } else if (cmd_members_init(c, &members, algebra, &sources)) {
        set_answer_members(c, &members);
        cmd_members_fini(&members);
    }
}

void cmd_do_sinter(struct cmd_context *c)
{
    set_answer_algebra(c, CMD_INTER);
}

void cmd_do_sunion(struct cmd_context *c)
{
    set_answer_algebra(c, CMD_UNION);
}

void cmd_do_sdiff(struct cmd_context *c)
{
    set_answer_algebra(c, CMD_DIFF);
}

static void set_store_algebra(struct cmd_context *c, enum cmd_algebra algebra)
{
    struct cmd_sources sources;
    struct cmd_list list;

    if (!cmd_sources_find(c, 2, c->argc - 2, false, &sources)) {
        return;
    }
    cmd_list_init(&list);
    if (cmd_sources_list(c, &sources, algebra, &list)) {
        cmd_list_store(c, 1, KV_SET, &list);
    }
    cmd_list_fini(&list);
}

void cmd_do_sinterstore(struct cmd_context *c)
{
    set_store_algebra(c, CMD_INTER);
}

void cmd_do_sunionstore(struct cmd_context *c)
{
    set_store_algebra(c, CMD_UNION);
}

void cmd_do_sdiffstore(struct cmd_context *c)
{
    set_store_algebra(c, CMD_DIFF);
}

void cmd_do_sintercard(struct cmd_context *c)
{
    struct cmd_sources sources;
    int64_t keys, limit = 0;

    if (!cmd_int_within(c, 1, 1, INT64_MAX, &keys,
                        "ERR numkeys should be greater than 0")) {
        return;
    }
    if (keys > (int64_t)c->argc - 2) {
        cmd_fail(c, KVSQL_SYNTAX,
                 "ERR Number of keys can't be greater than number of args");
        return;
    }
    for (unsigned i = 2 + (unsigned)keys; i < c->argc; i++) {
        if (!cmd_is(c, i, "LIMIT") || i + 1 >= c->argc) {
            cmd_fail_syntax(c);
            return;
        }
        if (!cmd_int_within(c, ++i, 0, INT64_MAX, &limit,
                            "ERR LIMIT can't be negative")) {
            return;
        }
    }
    if (!cmd_sources_find(c, 2, (unsigned)keys, false, &sources)) {
        return;
    }
    if (cmd_defer(c, sources.members)) {
        cmd_sources_fini(&sources);
    } else {
        cmd_answer_inter_count(c, &sources, limit);
    }
}

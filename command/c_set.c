/* c_set.c - sets: members, members by chance, and sets made of sets.
 *
 * All sets are read in one order (KO1), so a union is a merge of cursors and
 * needs no memory; an intersection or difference walks one set and looks its
 * members up in the others. What is to be stored is copied out first.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/context.h"

#include <string.h>

/* ---- members ------------------------------------------------------------ */

void cmd_do_sadd(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    int64_t count = 0;

    for (unsigned i = 2; i < c->argc; i++) {
        const struct kv_key member = cmd_key(c, i);
        bool created = false;

        if (!cmd_ok(c, kv_sadd(c->txn, &key, &member, &created, &c->err))) {
            return;
        }
        count += created;
    }
    cmd_reply_int(c->reply, count);
}

void cmd_do_srem(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    int64_t count = 0;

    if (cmd_get_type(c, &key, KV_SET, &item) == KVSQL_WRONGTYPE) {
        return;
    }
    for (unsigned i = 2; i < c->argc; i++) {
        const struct kv_key member = cmd_key(c, i);
        bool existed = false;

        if (!cmd_ok(c, kv_srem(c->txn, &key, &member, &existed, &c->err))) {
            return;
        }
        count += existed;
    }
    cmd_reply_int(c->reply, count);
}

void cmd_do_scard(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    const kvsql_rc rc = cmd_get_type(c, &key, KV_SET, &item);

    if (rc != KVSQL_WRONGTYPE) {
        cmd_reply_int(c->reply,
                      rc == KVSQL_OK ? (int64_t)kv_item_length(&item) : 0);
    }
}

void cmd_do_sismember(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1), member = cmd_key(c, 2);
    struct kv_item item;
    const kvsql_rc rc = cmd_get_type(c, &key, KV_SET, &item);

    if (rc != KVSQL_WRONGTYPE) {
        cmd_reply_int(c->reply, rc == KVSQL_OK &&
                                    kv_elem_find(&c->at, &item, &member, NULL));
    }
}

void cmd_do_smismember(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    const kvsql_rc rc = cmd_get_type(c, &key, KV_SET, &item);

    if (rc == KVSQL_WRONGTYPE) {
        return;
    }
    cmd_reply_array(c->reply, c->argc - 2);
    for (unsigned i = 2; i < c->argc; i++) {
        const struct kv_key member = cmd_key(c, i);

        cmd_reply_int(c->reply, rc == KVSQL_OK &&
                                    kv_elem_find(&c->at, &item, &member, NULL));
    }
}

void cmd_do_smembers(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    struct kv_elems elems;
    uint64_t count = 0;
    size_t place;
    const kvsql_rc rc = cmd_get_type(c, &key, KV_SET, &item);

    if (rc == KVSQL_WRONGTYPE ||
        (rc == KVSQL_OK && cmd_defer(c, kv_item_length(&item)))) {
        return;
    }
    place = cmd_reply_begin(c->reply, CMD_REPLY_SET);
    if (rc == KVSQL_OK) {
        bool valid;

        kv_elems_init(&elems, &c->at, &item, KV_ELEMS_KEY);
        for (valid = kv_elems_first(&elems);
             valid && !c->reply->buf.failed; valid = kv_elems_next(&elems)) {
            cmd_answer_val(c, &elems.elem.key);
            count++;
        }
    }
    cmd_reply_end(c->reply, place, count);
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

/* The cursor on a member by chance. */
static void set_seek_random(struct cmd_context *c, struct kv_elems *elems,
                            const struct kv_item *item)
{
    const uint64_t rank = cmd_random(kv_item_length(item));
    bool valid;

    kv_elems_init(elems, &c->at, item, KV_ELEMS_KEY);
    valid = kv_elems_seek_rank(elems, rank);
    KV_ASSERT(valid); /* members do not expire */
}

/* At most `count` different members, each set of them equally likely: every
 * member is taken with the chance (wanted left) / (members left). */
static void set_sample(struct cmd_context *c, const struct kv_item *item,
                       uint64_t count, struct cmd_list *out)
{
    uint64_t left = kv_item_length(item);
    struct kv_elems elems;
    bool valid;

    count = count < left ? count : left;
    kv_elems_init(&elems, &c->at, item, KV_ELEMS_KEY);
    for (valid = kv_elems_first(&elems); valid && out->count < count;
         valid = kv_elems_next(&elems), left--) {
        if (cmd_random(left) < count - out->count) {
            cmd_list_add(out, elems.elem.key.p, elems.elem.key.size, 0, 0);
        }
    }
}

static void set_answer_list(struct cmd_context *c, const struct cmd_list *list)
{
    for (uint64_t i = 0; i < list->count; i++) {
        const struct cmd_list_item item = cmd_list_at(list, i);

        cmd_reply_bulk(c->reply, item.p, item.size);
    }
}

static void set_pop_one(struct cmd_context *c, const struct kv_key *key,
                        const struct kv_item *item)
{
    struct kv_elems elems;
    struct kv_buf copy; /* what is read may move when the store changes */
    struct kv_key member;

    set_seek_random(c, &elems, item);
    kv_buf_init(&copy, KV_MEM_CLIENT, KVSQL_VALUE_MAX);
    kv_buf_add(&copy, elems.elem.key.p, elems.elem.key.size);
    member = kv_key_of(copy.p, copy.size);
    cmd_reply_bulk(c->reply, member.p, member.size);
    if (copy.failed) {
        cmd_fail_nomem(c);
    } else {
        (void)cmd_ok(c, kv_srem(c->txn, key, &member, NULL, &c->err));
    }
    kv_buf_fini(&copy);
}

static void set_pop_many(struct cmd_context *c, const struct kv_key *key,
                         const struct kv_item *item, uint64_t count)
{
    struct cmd_list taken;
    bool ok;

    cmd_list_init(&taken);
    set_sample(c, item, count, &taken);
    ok = cmd_list_ok(c, &taken);
    if (ok) {
        cmd_reply_set(c->reply, taken.count);
        set_answer_list(c, &taken);
    }
    for (uint64_t i = 0; ok && i < taken.count; i++) {
        const struct cmd_list_item one = cmd_list_at(&taken, i);
        const struct kv_key member = kv_key_of(one.p, one.size);

        ok = cmd_ok(c, kv_srem(c->txn, key, &member, NULL, &c->err));
    }
    cmd_list_fini(&taken);
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
    if (c->argc == 3 &&
        !cmd_int_within(c, 2, 0, INT64_MAX, &count,
                        "ERR value is out of range, must be positive")) {
        return;
    }
    rc = cmd_get_type(c, &key, KV_SET, &item);
    if (rc == KVSQL_WRONGTYPE) {
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
        set_pop_one(c, &key, &item);
    }
}

/* `count` draws, members may repeat. */
static void set_draw(struct cmd_context *c, const struct kv_item *item,
                     uint64_t count)
{
    struct kv_elems elems;

    cmd_reply_array(c->reply, count);
    for (uint64_t i = 0; i < count && !c->reply->buf.failed; i++) {
        set_seek_random(c, &elems, item);
        cmd_answer_val(c, &elems.elem.key);
    }
}

void cmd_do_srandmember(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    struct kv_elems elems;
    struct cmd_list chosen;
    int64_t count = 0;
    kvsql_rc rc;

    if (c->argc > 3) {
        cmd_fail_syntax(c);
        return;
    }
    if (c->argc == 3 &&
        !cmd_int_within(c, 2, -INT64_MAX, INT64_MAX, &count, NULL)) {
        return;
    }
    rc = cmd_get_type(c, &key, KV_SET, &item);
    if (rc == KVSQL_WRONGTYPE) {
        return;
    }
    if (c->argc == 2) {
        if (rc == KVSQL_NOTFOUND) {
            cmd_reply_null(c->reply);
            return;
        }
        set_seek_random(c, &elems, &item);
        cmd_answer_val(c, &elems.elem.key);
    } else if (rc == KVSQL_NOTFOUND || count == 0) {
        cmd_reply_array(c->reply, 0);
    } else if (count < 0) {
        set_draw(c, &item, (uint64_t)-count);
    } else {
        cmd_list_init(&chosen);
        set_sample(c, &item, (uint64_t)count, &chosen);
        if (cmd_list_ok(c, &chosen)) {
            cmd_reply_array(c->reply, chosen.count);
            set_answer_list(c, &chosen);
        }
        cmd_list_fini(&chosen);
    }
}

/* ---- sets made of sets -------------------------------------------------- */

enum set_algebra { SET_INTER, SET_UNION, SET_DIFF };

/* The sets that a command names. Owner: the handler. */
struct set_sources {
    struct kv_item *items; /* found ones have type KV_SET, others KV_NONE */
    unsigned count;
    uint64_t members;      /* of all */
    bool missing;          /* one is absent */
};

/* Find `count` keys from argument `first` on. False: answered, and nothing to
 * free. */
static bool set_sources_find(struct cmd_context *c, unsigned first,
                             unsigned count, struct set_sources *s)
{
    *s = (struct set_sources){.count = count};
    s->items = kv_mem_zalloc(KV_MEM_CLIENT, count * sizeof(*s->items));
    if (s->items == NULL) {
        cmd_fail_nomem(c);
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        const struct kv_key key = cmd_key(c, first + i);

        switch (cmd_get_type(c, &key, KV_SET, &s->items[i])) {
        case KVSQL_OK:
            s->members += kv_item_length(&s->items[i]);
            break;
        case KVSQL_NOTFOUND:
            s->items[i] = (struct kv_item){.type = KV_NONE};
            s->missing = true;
            break;
        default:
            kv_mem_free(KV_MEM_CLIENT, s->items, count * sizeof(*s->items));
            return false;
        }
    }
    return true;
}

static void set_sources_fini(struct set_sources *s)
{
    kv_mem_free(KV_MEM_CLIENT, s->items, s->count * sizeof(*s->items));
}

/* Where members of the result go: to the reply, to a list, or nowhere, when
 * only their count is asked for. */
struct set_sink {
    struct cmd_context *c;
    struct cmd_list *list; /* or NULL */
    bool answer;
    uint64_t count, max;
};

/* False when the sink wants no more. */
static bool set_sink_take(struct set_sink *sink, const struct kv_val *member)
{
    sink->count++;
    if (sink->list != NULL) {
        cmd_list_add(sink->list, member->p, member->size, 0, 0);
        return !sink->list->bytes.failed && sink->count < sink->max;
    }
    if (sink->answer) {
        cmd_answer_val(sink->c, member);
    }
    return !sink->c->reply->buf.failed && sink->count < sink->max;
}

static struct kv_key set_key_of(const struct kv_val *value)
{
    return (struct kv_key){.p = value->p, .size = value->size,
                           .cls = value->cls};
}

/* Members of set `base` that all others have (`all`), or that none has. */
static void set_filter(struct cmd_context *c, const struct set_sources *s,
                       unsigned base, bool all, struct set_sink *sink)
{
    struct kv_elems elems;
    bool valid;

    kv_elems_init(&elems, &c->at, &s->items[base], KV_ELEMS_KEY);
    for (valid = kv_elems_first(&elems); valid;
         valid = kv_elems_next(&elems)) {
        const struct kv_key member = set_key_of(&elems.elem.key);
        bool take = true;

        for (unsigned i = 0; i < s->count && take; i++) {
            if (i != base && s->items[i].type != KV_NONE) {
                take = kv_elem_find(&c->at, &s->items[i], &member, NULL) ==
                       all;
            }
        }
        if (take && !set_sink_take(sink, &elems.elem.key)) {
            return;
        }
    }
}

static void set_inter(struct cmd_context *c, const struct set_sources *s,
                      struct set_sink *sink)
{
    unsigned smallest = 0;

    if (s->missing) {
        return;
    }
    for (unsigned i = 1; i < s->count; i++) {
        if (kv_item_length(&s->items[i]) <
            kv_item_length(&s->items[smallest])) {
            smallest = i;
        }
    }
    set_filter(c, s, smallest, true, sink);
}

/* A merge: the least of all cursors goes out, and every cursor that stands on
 * it moves on. */
static void set_union(struct cmd_context *c, const struct set_sources *s,
                      struct set_sink *sink)
{
    struct kv_elems *cursors =
        kv_mem_alloc(KV_MEM_CLIENT, s->count * sizeof(*cursors));

    if (cursors == NULL) {
        cmd_fail_nomem(c);
        return;
    }
    for (unsigned i = 0; i < s->count; i++) {
        cursors[i].valid = false;
        if (s->items[i].type != KV_NONE) {
            kv_elems_init(&cursors[i], &c->at, &s->items[i], KV_ELEMS_KEY);
            (void)kv_elems_first(&cursors[i]);
        }
    }
    for (;;) {
        struct kv_elems *least = NULL;

        for (unsigned i = 0; i < s->count; i++) {
            if (cursors[i].valid) {
                const struct kv_key a = set_key_of(&cursors[i].elem.key);

                if (least != NULL) {
                    const struct kv_key b = set_key_of(&least->elem.key);
                    const int order = kv_key_compare(&a, &b);

                    if (order == 0) {
                        (void)kv_elems_next(&cursors[i]);
                    }
                    if (order >= 0) {
                        continue;
                    }
                }
                least = &cursors[i];
            }
        }
        if (least == NULL || !set_sink_take(sink, &least->elem.key)) {
            break;
        }
        (void)kv_elems_next(least);
    }
    kv_mem_free(KV_MEM_CLIENT, cursors, s->count * sizeof(*cursors));
}

static void set_compute(struct cmd_context *c, enum set_algebra algebra,
                        const struct set_sources *s, struct set_sink *sink)
{
    switch (algebra) {
    case SET_INTER:
        set_inter(c, s, sink);
        break;
    case SET_UNION:
        set_union(c, s, sink);
        break;
    case SET_DIFF:
        if (s->items[0].type != KV_NONE) {
            set_filter(c, s, 0, false, sink);
        }
        break;
    }
}

static void set_answer_algebra(struct cmd_context *c, enum set_algebra algebra)
{
    struct set_sink sink = {.c = c, .answer = true, .max = UINT64_MAX};
    struct set_sources sources;
    size_t place;

    if (!set_sources_find(c, 1, c->argc - 1, &sources)) {
        return;
    }
    if (!cmd_defer(c, sources.members)) {
        place = cmd_reply_begin(c->reply, CMD_REPLY_SET);
        set_compute(c, algebra, &sources, &sink);
        if (c->reply->rc == KVSQL_OK) {
            cmd_reply_end(c->reply, place, sink.count);
        }
    }
    set_sources_fini(&sources);
}

void cmd_do_sinter(struct cmd_context *c)
{
    set_answer_algebra(c, SET_INTER);
}

void cmd_do_sunion(struct cmd_context *c)
{
    set_answer_algebra(c, SET_UNION);
}

void cmd_do_sdiff(struct cmd_context *c)
{
    set_answer_algebra(c, SET_DIFF);
}

/* Replace argument 1 by the members of the list. */
static void set_store_list(struct cmd_context *c, const struct cmd_list *list)
{
    const struct kv_key to = cmd_key(c, 1);
    bool ok = cmd_ok(c, kv_del(c->txn, &to, NULL, &c->err));

    for (uint64_t i = 0; ok && i < list->count; i++) {
        const struct cmd_list_item one = cmd_list_at(list, i);
        const struct kv_key member = kv_key_of(one.p, one.size);

        ok = cmd_ok(c, kv_sadd(c->txn, &to, &member, NULL, &c->err));
    }
    if (ok) {
        cmd_reply_int(c->reply, (int64_t)list->count);
    }
}

static void set_store_algebra(struct cmd_context *c, enum set_algebra algebra)
{
    struct cmd_list list;
    struct set_sink sink = {.c = c, .list = &list, .max = UINT64_MAX};
    struct set_sources sources;

    if (!set_sources_find(c, 2, c->argc - 2, &sources)) {
        return;
    }
    cmd_list_init(&list);
    set_compute(c, algebra, &sources, &sink);
    if (c->reply->rc == KVSQL_OK && cmd_list_ok(c, &list)) {
        set_store_list(c, &list);
    }
    cmd_list_fini(&list);
    set_sources_fini(&sources);
}

void cmd_do_sinterstore(struct cmd_context *c)
{
    set_store_algebra(c, SET_INTER);
}

void cmd_do_sunionstore(struct cmd_context *c)
{
    set_store_algebra(c, SET_UNION);
}

void cmd_do_sdiffstore(struct cmd_context *c)
{
    set_store_algebra(c, SET_DIFF);
}

void cmd_do_sintercard(struct cmd_context *c)
{
    struct set_sink sink = {.c = c};
    struct set_sources sources;
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
    if (!set_sources_find(c, 2, (unsigned)keys, &sources)) {
        return;
    }
    if (!cmd_defer(c, sources.members)) {
        sink.max = limit == 0 ? UINT64_MAX : (uint64_t)limit;
        set_compute(c, SET_INTER, &sources, &sink);
        cmd_reply_int(c->reply, (int64_t)sink.count);
    }
    set_sources_fini(&sources);
}

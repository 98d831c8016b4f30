/* c_hash_ex.c - fields with their time in one step: HGETEX, HSETEX, HGETDEL.
 *
 * A time that has passed deletes the field, and the last field takes the hash
 * with it, so each field is looked up anew.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/context.h"

/* Options from argument 2 up to FIELDS; false: answered. `conditions` may be
 * NULL, else FNX and FXX are known: 1 and 2. */
static bool hash_ex_options(struct cmd_context *c, unsigned known,
                            unsigned *conditions, struct cmd_ttl *ttl,
                            unsigned *behind)
{
    unsigned i = 2;

    *ttl = (struct cmd_ttl){0};
    for (; i < c->argc && !cmd_is(c, i, "FIELDS"); i++) {
        if (conditions != NULL && *conditions == 0 && cmd_is(c, i, "FNX")) {
            *conditions = 1;
        } else if (conditions != NULL && *conditions == 0 &&
                   cmd_is(c, i, "FXX")) {
            *conditions = 2;
        } else if (!cmd_ttl_option(c, &i, known, ttl)) {
            cmd_fail_syntax(c);
            return false;
        }
    }
    *behind = i;
    return true;
}

/* The deadline of the option, 0 without one; false: answered. */
static bool hash_ex_deadline(struct cmd_context *c, const struct cmd_ttl *ttl,
                             int64_t *at)
{
    *at = 0;
    return !ttl->has_time || cmd_field_deadline(c, ttl->index, ttl->unit, at);
}

/* Answer with the value of a field, or null: *found. */
static bool hash_ex_answer(struct cmd_context *c, const struct kv_key *key,
                           const struct kv_key *field, struct kv_elem *elem)
{
    struct kv_item item;

    if (!cmd_get(c, key, &item) ||
        !kv_elem_find(&c->at, &item, field, elem)) {
        cmd_reply_null(c->reply);
        return false;
    }
    cmd_answer_val(c, &elem->value);
    return true;
}

void cmd_do_hgetdel(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    unsigned first;

    if (!cmd_fields_begin(c, &first)) {
        return;
    }
    for (unsigned i = first; i < c->argc; i++) {
        const struct kv_key field = cmd_key(c, i);
        struct kv_elem elem;

        if (hash_ex_answer(c, &key, &field, &elem) &&
            !cmd_ok(c, kv_hdel(c->txn, &key, &field, NULL, &c->err))) {
            return;
        }
    }
}

void cmd_do_hgetex(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct cmd_ttl ttl;
    struct kv_item item;
    unsigned first, behind;
    int64_t at;

    if (!hash_ex_options(c, CMD_TTL_PERSIST, NULL, &ttl, &behind) ||
        !cmd_fields(c, behind, 1, &first) || !hash_ex_deadline(c, &ttl, &at) ||
        cmd_get_type(c, &key, KV_HASH, &item) == KVSQL_WRONGTYPE) {
        return;
    }
    cmd_reply_array(c->reply, c->argc - first);
    for (unsigned i = first; i < c->argc; i++) {
        const struct kv_key field = cmd_key(c, i);
        struct kv_elem elem;

        if (!hash_ex_answer(c, &key, &field, &elem) ||
            !(ttl.has_time || (ttl.persist && elem.expires_at != 0))) {
            continue;
        }
        /* A time that has passed has to delete, and 0 means never there. */
        if (!cmd_ok(c, ttl.has_time && at <= cmd_wall(c)
                           ? kv_hdel(c->txn, &key, &field, NULL, &c->err)
                           : kv_hexpire(c->txn, &key, &field, at, &c->err))) {
            return;
        }
    }
}

/* True when each field is there (2), or none is (1). */
static bool hash_ex_holds(struct cmd_context *c, const struct kv_key *key,
                          unsigned conditions, unsigned first)
{
    struct kv_item item;
    const bool found = cmd_get(c, key, &item);

    for (unsigned i = first; conditions != 0 && i < c->argc; i += 2) {
        const struct kv_key field = cmd_key(c, i);

        if ((found && kv_elem_find(&c->at, &item, &field, NULL)) !=
            (conditions == 2)) {
            return false;
        }
    }
    return true;
}

void cmd_do_hsetex(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct cmd_ttl ttl;
    struct kv_item item;
    unsigned first, behind, conditions = 0;
    int64_t at;

    if (!hash_ex_options(c, CMD_TTL_KEEP, &conditions, &ttl, &behind) ||
        !cmd_fields(c, behind, 2, &first) || !hash_ex_deadline(c, &ttl, &at) ||
        cmd_get_type(c, &key, KV_HASH, &item) == KVSQL_WRONGTYPE) {
        return;
    }
    if (!hash_ex_holds(c, &key, conditions, first)) {
        cmd_reply_int(c->reply, 0);
        return;
    }
    for (unsigned i = first; i < c->argc; i += 2) {
        const struct kv_key field = cmd_key(c, i);
        const bool gone = ttl.has_time && at <= cmd_wall(c);

        if (!cmd_ok(c, gone ? kv_hdel(c->txn, &key, &field, NULL, &c->err)
                            : kv_hset(c->txn, &key, &field, c->argv[i + 1],
                                      ttl.keep ? KV_KEEP_EXPIRY : at, NULL,
                                      &c->err))) {
            return;
        }
    }
    cmd_reply_int(c->reply, 1);
}

/* c_key.c - keys of any type: DEL, EXISTS, TYPE, RENAME, COPY, OBJECT.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/context.h"

#include <limits.h>

void cmd_do_del(struct cmd_context *c)
{
    int64_t count = 0;

    for (unsigned i = 1; i < c->argc; i++) {
        const struct kv_key key = cmd_key(c, i);
        bool existed = false;

        if (!cmd_ok(c, kv_del(c->txn, &key, &existed, &c->err))) {
            return;
        }
        count += existed;
    }
    cmd_reply_int(c->reply, count);
}

/* EXISTS and TOUCH. */
void cmd_do_exists(struct cmd_context *c)
{
    struct kv_key keys[KV_BATCH_MAX];
    struct kv_item items[KV_BATCH_MAX];
    bool found[KV_BATCH_MAX];
    int64_t count = 0;

    (void)cmd_wall(c); /* c->at is where to read */
    for (unsigned start = 1; start < c->argc; start += KV_BATCH_MAX) {
        unsigned n = c->argc - start;

        n = n < KV_BATCH_MAX ? n : KV_BATCH_MAX;
        for (unsigned i = 0; i < n; i++) {
            keys[i] = cmd_key(c, start + i);
        }
        kv_get_batch(&c->at, keys, items, found, n);
        for (unsigned i = 0; i < n; i++) {
            cmd_stats_lookup(found[i]);
            count += found[i];
        }
    }
    cmd_reply_int(c->reply, count);
}

void cmd_do_type(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;

    cmd_reply_status(c->reply, kv_type_name(cmd_get(c, &key, &item)
                                                ? item.type
                                                : KV_NONE));
}

void cmd_do_dbsize(struct cmd_context *c)
{
    (void)cmd_wall(c); /* c->at is where to read */
    cmd_reply_int(c->reply, (int64_t)kv_count_all(&c->at));
}

void cmd_do_randomkey(struct cmd_context *c)
{
    struct kv_keys keys;
    uint64_t count;

    (void)cmd_wall(c); /* c->at is where to read */
    count = kv_count_all(&c->at);
    kv_keys_init(&keys, &c->at, 0);
    /* Expired keys are passed over, to the end and then from the start. */
    if (count > 0 && (kv_keys_seek_rank(&keys, cmd_random(count)) ||
                      kv_keys_first(&keys))) {
        cmd_reply_bulk(c->reply, keys.key.p, keys.key.size);
    } else {
        cmd_reply_null(c->reply);
    }
}

/* ---- names -------------------------------------------------------------- */

static void key_rename(struct cmd_context *c, bool only_new)
{
    const struct kv_key from = cmd_key(c, 1), to = cmd_key(c, 2);
    struct kv_item item;
    bool changes;

    if (!cmd_get(c, &from, &item)) {
        cmd_fail_rc(c, KVSQL_NOTFOUND);
        return;
    }
    changes = kv_key_compare(&from, &to) != 0 &&
              !(only_new && cmd_get(c, &to, &item));
    if (changes && !cmd_ok(c, kv_rename(c->txn, &from, &to, &c->err))) {
        return;
    }
    if (only_new) {
        cmd_reply_int(c->reply, changes);
    } else {
        cmd_answer_ok(c);
    }
}

void cmd_do_rename(struct cmd_context *c)
{
    key_rename(c, false);
}

void cmd_do_renamenx(struct cmd_context *c)
{
    key_rename(c, true);
}

/* ---- copies ------------------------------------------------------------- */

/* Options of COPY. False: answered. */
static bool key_copy_options(struct cmd_context *c, bool *replace)
{
    *replace = false;
    for (unsigned i = 3; i < c->argc; i++) {
        int64_t number;

        if (cmd_is(c, i, "REPLACE")) {
            *replace = true;
        } else if (cmd_is(c, i, "DB") && i + 1 < c->argc) {
            if (!cmd_int_within(c, ++i, INT_MIN, INT_MAX, &number, NULL)) {
                return false;
            }
            if (number != 0) {
                cmd_fail(c, KVSQL_RANGE, "ERR DB index is out of range");
                return false;
            }
        } else {
            cmd_fail_syntax(c);
            return false;
        }
    }
    return true;
}

/* The elements of `item`, in the order in which they are put in again; of a
 * hash each field is followed by its value. */
static void key_copy_out(const struct kv_at *at, const struct kv_item *item,
                         struct cmd_list *list)
{
    struct kv_elems elems;
    bool valid;

    kv_elems_init(&elems, at, item,
                  item->type == KV_LIST ? KV_ELEMS_INDEX : KV_ELEMS_KEY);
    for (valid = kv_elems_first(&elems); valid;
         valid = kv_elems_next(&elems)) {
        const struct kv_elem *e = &elems.elem;

        if (item->type != KV_LIST) {
            cmd_list_add(list, e->key.p, e->key.size, e->score,
                         e->expires_at);
        }
        if (item->type == KV_LIST || item->type == KV_HASH) {
            cmd_list_add(list, e->value.p, e->value.size, 0, 0);
        }
    }
}

/* Put element `*i` of the list in and step over it. */
static kvsql_rc key_copy_in(struct cmd_context *c, const struct kv_key *to,
                            enum kv_type type, const struct cmd_list *list,
                            uint64_t *i)
{
    const struct cmd_list_item one = cmd_list_at(list, (*i)++);
    const struct kv_key name = kv_key_of(one.p, one.size);
    struct cmd_list_item value;

    switch (type) {
    case KV_HASH:
        value = cmd_list_at(list, (*i)++);
        return kv_hset(c->txn, to, &name, (kvsql_slice){value.p, value.size},
                       one.number, NULL, &c->err);
    case KV_SET:
        return kv_sadd(c->txn, to, &name, NULL, &c->err);
    case KV_ZSET:
        return kv_zadd(c->txn, to, &name, one.score, NULL, &c->err);
    default:
        KV_ASSERT(type == KV_LIST);
        return kv_push(c->txn, to, KV_RIGHT, (kvsql_slice){one.p, one.size},
                       &c->err);
    }
}

static bool key_copy_collection(struct cmd_context *c, const struct kv_key *to,
                                const struct kv_item *item)
{
    const enum kv_type type = item->type;
    const int64_t expires_at = item->expires_at;
    struct cmd_list list;
    bool ok;

    cmd_list_init(&list);
    key_copy_out(&c->at, item, &list);
    ok = cmd_list_ok(c, &list) &&
         cmd_ok(c, kv_del(c->txn, to, NULL, &c->err));
    for (uint64_t i = 0; ok && i < list.count;) {
        ok = cmd_ok(c, key_copy_in(c, to, type, &list, &i));
    }
    cmd_list_fini(&list);
    return ok && (expires_at == 0 ||
                  cmd_ok(c, kv_expire(c->txn, to, expires_at, &c->err)));
}

static bool key_copy_string(struct cmd_context *c, const struct kv_key *to,
                            const struct kv_item *item)
{
    const int64_t expires_at = item->expires_at;
    struct kv_val value;
    struct kv_buf copy; /* what is read may move when the store changes */
    bool ok;

    kv_item_string(item, &value);
    kv_buf_init(&copy, KV_MEM_CLIENT, KVSQL_VALUE_MAX);
    kv_buf_add(&copy, value.p, value.size);
    if (copy.failed) {
        cmd_fail_nomem(c);
    }
    ok = !copy.failed &&
         cmd_ok(c, kv_set(c->txn, to, (kvsql_slice){copy.p, copy.size},
                          expires_at, &c->err));
    kv_buf_fini(&copy);
    return ok;
}

void cmd_do_copy(struct cmd_context *c)
{
    const struct kv_key from = cmd_key(c, 1), to = cmd_key(c, 2);
    struct kv_item item, there;
    bool replace;

    if (!key_copy_options(c, &replace)) {
        return;
    }
    if (kv_key_compare(&from, &to) == 0) {
        cmd_fail(c, KVSQL_INVALID,
                 "ERR source and destination objects are the same");
        return;
    }
    if ((!replace && cmd_get(c, &to, &there)) || !cmd_get(c, &from, &item)) {
        cmd_reply_int(c->reply, 0);
        return;
    }
    if (item.type == KV_STRING ? key_copy_string(c, &to, &item)
                               : key_copy_collection(c, &to, &item)) {
        cmd_reply_int(c->reply, 1);
    }
}

/* There is one keyspace: what is no error elsewhere is none here, too. */
void cmd_do_move(struct cmd_context *c)
{
    int64_t number;

    if (!cmd_int_within(c, 2, INT_MIN, INT_MAX, &number, NULL)) {
        return;
    }
    if (number != 0) {
        cmd_fail(c, KVSQL_RANGE, "ERR DB index is out of range");
    } else {
        cmd_fail(c, KVSQL_INVALID,
                 "ERR source and destination objects are the same");
    }
}

/* ---- OBJECT ------------------------------------------------------------- */

/* A container without a subcommand; arity keeps it from being called. */
void cmd_do_box(struct cmd_context *c)
{
    cmd_fail_arity(c);
}

void cmd_do_object_encoding(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 2);
    struct kv_item item;

    if (cmd_get(c, &key, &item)) {
        cmd_reply_text(c->reply, kv_item_encoding(&item));
    } else {
        cmd_reply_null(c->reply);
    }
}

void cmd_do_object_refcount(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 2);
    struct kv_item item;

    if (cmd_get(c, &key, &item)) {
        cmd_reply_int(c->reply, 1);
    } else {
        cmd_reply_null(c->reply);
    }
}

void cmd_do_object_help(struct cmd_context *c)
{
    static const char *const lines[] = {
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    Return the name of the form in which the value is kept.",
        "REFCOUNT <key>",
        "    Return 1: values are not shared between keys.",
        "HELP",
        "    Print this help.",
    };
    const unsigned count = sizeof(lines) / sizeof(lines[0]);

    cmd_reply_array(c->reply, count);
    for (unsigned i = 0; i < count; i++) {
        cmd_reply_status(c->reply, lines[i]);
    }
}

/* c_key.c - keys of any type: DEL, EXISTS, TYPE, RENAME, COPY, DUMP, OBJECT.
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

/* EXISTS and TOUCH; only the latter is a use of the keys. */
void cmd_do_exists(struct cmd_context *c)
{
    struct kv_item items[KV_BATCH_MAX];
    bool found[KV_BATCH_MAX];
    int64_t count = 0;

    for (unsigned start = 1; start < c->argc; start += KV_BATCH_MAX) {
        unsigned n = c->argc - start;

        n = n < KV_BATCH_MAX ? n : KV_BATCH_MAX;
        cmd_get_batch(c, start, 1, n, items, found);
        for (unsigned i = 0; i < n; i++) {
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
    if (cmd_ok(c, kv_copy(c->txn, &from, &to, &c->err))) {
        cmd_reply_int(c->reply, 1);
    }
}

/* ---- values as bytes ---------------------------------------------------- */

void cmd_do_dump(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    struct kv_buf buf;

    if (!cmd_get(c, &key, &item)) {
        cmd_reply_null(c->reply);
        return;
    }
    if (cmd_defer(c, item.type == KV_STRING ? 1 : kv_item_length(&item))) {
        return;
    }
    kv_buf_init(&buf, KV_MEM_CLIENT, CMD_LIST_MAX);
    if (!kv_item_dump(&c->at, &item, &buf)) {
        cmd_reply_null(c->reply);
    } else if (cmd_ok(c, kv_buf_result(&buf, "the value as bytes", &c->err))) {
        cmd_reply_bulk(c->reply, buf.p, buf.size);
    }
    kv_buf_fini(&buf);
}

struct key_restore {
    bool replace, absolute;
    int64_t idle, freq; /* -1: not given */
};

/* IDLETIME or FREQ at `*i`. False: answered. */
static bool key_restore_hint(struct cmd_context *c, struct key_restore *r,
                             unsigned *i)
{
    const bool idle = cmd_is(c, *i, "IDLETIME");
    int64_t number;

    if (*i + 1 >= c->argc || !(idle || cmd_is(c, *i, "FREQ")) ||
        (idle ? r->freq : r->idle) >= 0) {
        cmd_fail_syntax(c);
        return false;
    }
    if (!cmd_int(c, ++*i, &number, NULL)) {
        return false;
    }
    if (number < 0 || (!idle && number > 255)) {
        cmd_fail(c, KVSQL_RANGE, "%s",
                 idle ? "ERR Invalid IDLETIME value, must be >= 0"
                      : "ERR Invalid FREQ value, must be >= 0 and <= 255");
        return false;
    }
    *(idle ? &r->idle : &r->freq) = number;
    return true;
}

/* False: answered. */
static bool key_restore_options(struct cmd_context *c, struct key_restore *r)
{
    *r = (struct key_restore){.idle = -1, .freq = -1};
    for (unsigned i = 4; i < c->argc; i++) {
        if (cmd_is(c, i, "REPLACE")) {
            r->replace = true;
        } else if (cmd_is(c, i, "ABSTTL")) {
            r->absolute = true;
        } else if (!key_restore_hint(c, r, &i)) {
            return false;
        }
    }
    return true;
}

/* Argument 2 as a deadline, 0 for none. False: answered. */
static bool key_restore_deadline(struct cmd_context *c, bool absolute,
                                 int64_t *at)
{
    if (!cmd_int(c, 2, at, NULL)) {
        return false;
    }
    if (*at < 0) {
        cmd_fail(c, KVSQL_INVALID, "ERR Invalid TTL value, must be >= 0");
        return false;
    }
    /* So far ahead that it does not fit: never. */
    if (*at > 0 && !absolute &&
        __builtin_add_overflow(*at, cmd_wall(c), at)) {
        *at = 0;
    }
    return true;
}

void cmd_do_restore(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct key_restore r;
    struct kv_item item;
    int64_t at;
    kvsql_rc rc;

    if (!key_restore_options(c, &r)) {
        return;
    }
    if (!r.replace && cmd_get(c, &key, &item)) {
        cmd_fail(c, KVSQL_EXISTS, "BUSYKEY Target key name already exists.");
        return;
    }
    if (!key_restore_deadline(c, r.absolute, &at)) {
        return;
    }
    rc = kv_restore(c->txn, &key, c->argv[3], at, &c->err);
    if (rc == KVSQL_CORRUPT) {
        cmd_fail(c, KVSQL_INVALID, "ERR %s", c->err.text);
    } else if (cmd_ok(c, rc)) {
        kv_item_used(c->txn, &key, r.idle, r.freq);
        cmd_answer_ok(c);
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

/* The refusals of both are Redis's sentences; an absent key goes before. */
static void key_answer_use(struct cmd_context *c, kvsql_rc rc, uint64_t number)
{
    if (rc == KVSQL_NOTFOUND) {
        cmd_reply_null(c->reply);
    } else if (rc == KVSQL_INVALID) {
        cmd_fail(c, rc, "ERR %s", c->err.text);
    } else if (cmd_ok(c, rc)) {
        cmd_reply_int(c->reply, (int64_t)number);
    }
}

void cmd_do_object_freq(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 2);
    struct kv_item item;
    uint64_t freq = 0;
    kvsql_rc rc = KVSQL_NOTFOUND;

    if (c->txn != NULL) {
        rc = kv_item_freq(c->txn, &key, &freq, &c->err);
    } else if (cmd_get(c, &key, &item)) {
        rc = kv_item_freq_seen(c->view, &item, &freq, &c->err);
    }
    key_answer_use(c, rc, freq);
}

void cmd_do_object_idletime(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 2);
    struct kv_item item;
    uint64_t idle = 0;
    kvsql_rc rc = KVSQL_NOTFOUND;

    if (c->txn != NULL) {
        rc = kv_item_idle(c->txn, &key, &idle, &c->err);
    } else if (cmd_get(c, &key, &item)) {
        rc = kv_item_idle_seen(c->view, &item, &idle, &c->err);
    }
    key_answer_use(c, rc, idle);
}

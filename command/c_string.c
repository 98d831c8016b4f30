/* c_string.c - strings: GET, SET and their kin, numbers, parts.
 *
 * A string is set whole (kv_set) or patched (kv_patch); numbers are strings in
 * canonical decimal, which the store keeps as integers by itself.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/context.h"

#include <math.h>
#include <string.h>

#include "kvsql/base/num.h"

/* ---- reading ------------------------------------------------------------ */

/* Answer with the string of key; null when absent. False: wrong type,
 * answered. */
static bool string_answer(struct cmd_context *c, const struct kv_key *key,
                          struct kv_item *item, bool *found)
{
    struct kv_val value;
    const kvsql_rc rc = cmd_get_type(c, key, KV_STRING, item);

    if (rc == KVSQL_WRONGTYPE) {
        return false;
    }
    *found = rc == KVSQL_OK;
    if (!*found) {
        cmd_reply_null(c->reply);
        return true;
    }
    kv_item_string(item, &value);
    cmd_answer_val(c, &value);
    return true;
}

/* In a pipeline what GET asks for was found already. False: see for yourself. */
static bool string_near(struct cmd_context *c)
{
    const struct kv_item *near;
    kvsql_slice bytes;

    if (c->near == NULL || !cmd_near_item(c, &near)) {
        return false;
    }
    if (near == NULL) {
        cmd_reply_null(c->reply);
    } else if (near->type == KV_STRING && kv_item_bytes(near, &bytes)) {
        cmd_reply_bulk(c->reply, bytes.p, bytes.size);
    } else {
        return false;
    }
    cmd_stats_lookup(c, near != NULL);
    return true;
}

void cmd_do_get(struct cmd_context *c)
{
    struct kv_item item;
    struct kv_key key;
    bool found;

    if (string_near(c)) {
        return;
    }
    key = cmd_key(c, 1);
    (void)string_answer(c, &key, &item, &found);
}

/* The keys of one batch. */
static void string_put_batch(struct cmd_context *c, void *state,
                             uint64_t index)
{
    const unsigned start = 1 + (unsigned)index * KV_BATCH_MAX;
    const unsigned left = c->argc - start;
    const unsigned n = left < KV_BATCH_MAX ? left : KV_BATCH_MAX;
    struct kv_item items[KV_BATCH_MAX];
    bool found[KV_BATCH_MAX];

    (void)state;
    cmd_get_batch(c, start, 1, n, items, found);
    for (unsigned i = 0; i < n; i++) {
        struct kv_val value;

        if (!found[i] || items[i].type != KV_STRING) {
            cmd_reply_null(c->reply);
            continue;
        }
        kv_item_string(&items[i], &value);
        cmd_answer_val(c, &value);
    }
}

void cmd_do_mget(struct cmd_context *c)
{
    const unsigned keys = c->argc - 1;
    struct cmd_each batches = {
        0, (keys + KV_BATCH_MAX - 1) / KV_BATCH_MAX, string_put_batch};

    if (cmd_defer(c, keys)) {
        return;
    }
    cmd_reply_array(c->reply, keys);
    cmd_answer_each(c, &batches, sizeof(batches), NULL);
}

void cmd_do_strlen(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;

    switch (cmd_get_type(c, &key, KV_STRING, &item)) {
    case KVSQL_OK:
        cmd_reply_int(c->reply, (int64_t)kv_item_length(&item));
        break;
    case KVSQL_NOTFOUND:
        cmd_reply_int(c->reply, 0);
        break;
    default:
        break;
    }
}

void cmd_do_getrange(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    struct kv_val value;
    int64_t start, end, size;
    kvsql_rc rc;

    if (!cmd_int(c, 2, &start, NULL) || !cmd_int(c, 3, &end, NULL)) {
        return;
    }
    rc = cmd_get_type(c, &key, KV_STRING, &item);
    if (rc == KVSQL_WRONGTYPE) {
        return;
    }
    if (rc == KVSQL_NOTFOUND || (start < 0 && end < 0 && start > end)) {
        cmd_reply_bulk(c->reply, "", 0);
        return;
    }
    kv_item_string(&item, &value);
    size = value.size;
    start = start < 0 ? start + size : start;
    end = end < 0 ? end + size : end;
    start = start < 0 ? 0 : start;
    end = end < 0 ? 0 : end;
    end = end >= size ? size - 1 : end;
    if (start > end || size == 0) {
        cmd_reply_bulk(c->reply, "", 0);
        return;
    }
    cmd_reply_bulk(c->reply, value.p + start, (size_t)(end - start + 1));
}

/* ---- setting ------------------------------------------------------------ */

bool cmd_string_set(struct cmd_context *c, const struct kv_key *key,
                    kvsql_slice value, int64_t expires_at)
{
    if (expires_at != 0 && expires_at <= cmd_wall(c)) {
        struct kv_item item;

        return (kv_get(&c->at, key, &item) ||
                cmd_ok(c, kv_set(c->txn, key, (kvsql_slice){"", 0}, 0,
                                 &c->err))) &&
               cmd_ok(c, kv_del(c->txn, key, NULL, &c->err));
    }
    return cmd_ok(c, kv_set(c->txn, key, value, expires_at, &c->err));
}

bool cmd_string_equals(const struct kv_item *item, kvsql_slice bytes)
{
    struct kv_val value;

    kv_item_string(item, &value);
    return value.size == bytes.size &&
           (value.size == 0 || memcmp(value.p, bytes.p, value.size) == 0);
}

/* When SET writes: always, or as what is there says. */
enum string_if { STRING_ALWAYS, STRING_NX, STRING_XX, STRING_IFEQ, STRING_IFNE };

struct string_options {
    enum string_if when;
    unsigned compare; /* the argument that IFEQ and IFNE compare with */
    bool get;
    struct cmd_ttl ttl;
};

/* NX XX IFEQ IFNE at `*i`, each at most once and alone (NX NX is NX). */
static bool string_option_if(struct cmd_context *c, struct string_options *o,
                             unsigned *i)
{
    static const char *const words[] = {"", "NX", "XX", "IFEQ", "IFNE"};

    for (unsigned when = STRING_NX; when <= STRING_IFNE; when++) {
        if (!cmd_is(c, *i, words[when])) {
            continue;
        }
        if (when >= STRING_IFEQ) {
            if (o->when != STRING_ALWAYS || *i + 1 >= c->argc) {
                return false;
            }
            o->compare = ++*i;
        } else if (o->when != STRING_ALWAYS && o->when != when) {
            return false;
        }
        o->when = (enum string_if)when;
        return true;
    }
    return false;
}

/* Options of SET. False: answered. */
static bool string_options_parse(struct cmd_context *c,
                                 struct string_options *o)
{
    *o = (struct string_options){0};
    for (unsigned i = 3; i < c->argc; i++) {
        if (cmd_is(c, i, "GET")) {
            o->get = true;
        } else if (!string_option_if(c, o, &i) &&
                   !cmd_ttl_option(c, &i, CMD_TTL_KEEP, &o->ttl)) {
            cmd_fail_syntax(c);
            return false;
        }
    }
    return true;
}

static bool string_if_holds(struct cmd_context *c,
                            const struct string_options *o,
                            const struct kv_item *item, bool found)
{
    switch (o->when) {
    case STRING_NX:
        return !found;
    case STRING_XX:
        return found;
    case STRING_IFEQ:
        return found && cmd_string_equals(item, c->argv[o->compare]);
    case STRING_IFNE:
        return !found || !cmd_string_equals(item, c->argv[o->compare]);
    default:
        return true;
    }
}

/* What stands under the key of SET, as far as the options ask for it; with GET
 * it is answered. False: wrong type, answered. */
static bool string_before(struct cmd_context *c, const struct kv_key *key,
                          const struct string_options *o,
                          struct kv_item *item, bool *found)
{
    if (o->get) {
        return string_answer(c, key, item, found);
    }
    if (o->when >= STRING_IFEQ) {
        const kvsql_rc rc = cmd_get_type(c, key, KV_STRING, item);

        *found = rc == KVSQL_OK;
        return rc != KVSQL_WRONGTYPE;
    }
    *found = (o->when != STRING_ALWAYS || o->ttl.keep) &&
             cmd_get(c, key, item);
    return true;
}

void cmd_do_set(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct string_options o;
    struct kv_item item;
    int64_t expires_at;
    bool found;

    if (!string_options_parse(c, &o) ||
        !cmd_ttl_deadline(c, &o.ttl, &expires_at) ||
        !string_before(c, &key, &o, &item, &found)) {
        return;
    }
    if (!string_if_holds(c, &o, &item, found)) {
        if (!o.get) {
            cmd_reply_null(c->reply);
        }
        return;
    }
    if (o.ttl.keep && found) {
        expires_at = item.expires_at;
    }
    if (cmd_string_set(c, &key, c->argv[2], expires_at) && !o.get) {
        cmd_answer_ok(c);
    }
}

static void string_setex(struct cmd_context *c, enum cmd_time unit)
{
    const struct kv_key key = cmd_key(c, 1);
    int64_t expires_at;

    if (cmd_deadline(c, 2, unit, &expires_at) &&
        cmd_string_set(c, &key, c->argv[3], expires_at)) {
        cmd_answer_ok(c);
    }
}

void cmd_do_setex(struct cmd_context *c)
{
    string_setex(c, CMD_TIME_EX);
}

void cmd_do_psetex(struct cmd_context *c)
{
    string_setex(c, CMD_TIME_PX);
}

void cmd_do_setnx(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;

    if (cmd_get(c, &key, &item)) {
        cmd_reply_int(c->reply, 0);
    } else if (cmd_string_set(c, &key, c->argv[2], 0)) {
        cmd_reply_int(c->reply, 1);
    }
}

void cmd_do_getset(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    bool found;

    if (string_answer(c, &key, &item, &found)) {
        (void)cmd_string_set(c, &key, c->argv[2], 0);
    }
}

void cmd_do_getdel(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    bool found;

    if (string_answer(c, &key, &item, &found) && found) {
        (void)cmd_ok(c, kv_del(c->txn, &key, NULL, &c->err));
    }
}

void cmd_do_getex(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct cmd_ttl ttl = {0};
    struct kv_item item;
    int64_t expires_at = 0;
    bool found;

    for (unsigned i = 2; i < c->argc; i++) {
        if (!cmd_ttl_option(c, &i, CMD_TTL_PERSIST, &ttl)) {
            cmd_fail_syntax(c);
            return;
        }
    }
    if (!string_answer(c, &key, &item, &found) || !found ||
        !cmd_ttl_deadline(c, &ttl, &expires_at)) {
        return;
    }
    if (ttl.has_time && expires_at <= cmd_wall(c)) {
        (void)cmd_ok(c, kv_del(c->txn, &key, NULL, &c->err));
    } else if (ttl.has_time || (ttl.persist && item.expires_at != 0)) {
        (void)cmd_ok(c, kv_expire(c->txn, &key, expires_at, &c->err));
    }
}

/* MSET and MSETNX once nothing stands in the way. */
static bool string_set_all(struct cmd_context *c)
{
    for (unsigned i = 1; i + 1 < c->argc; i += 2) {
        const struct kv_key key = cmd_key(c, i);

        if (!cmd_string_set(c, &key, c->argv[i + 1], 0)) {
            return false;
        }
    }
    return true;
}

void cmd_do_mset(struct cmd_context *c)
{
    if (c->argc % 2 == 0) {
        cmd_fail_arity(c);
    } else if (string_set_all(c)) {
        cmd_answer_ok(c);
    }
}

void cmd_do_msetnx(struct cmd_context *c)
{
    if (c->argc % 2 == 0) {
        cmd_fail_arity(c);
        return;
    }
    for (unsigned i = 1; i < c->argc; i += 2) {
        const struct kv_key key = cmd_key(c, i);
        struct kv_item item;

        if (cmd_get(c, &key, &item)) {
            cmd_reply_int(c->reply, 0);
            return;
        }
    }
    if (string_set_all(c)) {
        cmd_reply_int(c->reply, 1);
    }
}

/* ---- parts -------------------------------------------------------------- */

/* Bytes of the string now; 0 when absent. False: wrong type, answered. */
static bool string_size(struct cmd_context *c, const struct kv_key *key,
                        uint64_t *size, bool *found)
{
    struct kv_item item;
    const kvsql_rc rc = cmd_get_type(c, key, KV_STRING, &item);

    *found = rc == KVSQL_OK;
    *size = rc == KVSQL_OK ? kv_item_length(&item) : 0;
    return rc != KVSQL_WRONGTYPE;
}

void cmd_do_append(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    const kvsql_slice bytes = c->argv[2];
    struct kv_item item;
    const kvsql_rc rc = cmd_get_type(c, &key, KV_STRING, &item);
    const uint64_t size = rc == KVSQL_OK ? kv_item_length(&item) : 0;
    bool ok;

    if (rc == KVSQL_WRONGTYPE) {
        return;
    }
    if (size + bytes.size > KVSQL_VALUE_MAX) {
        cmd_fail(c, KVSQL_TOOBIG, CMD_TEXT_STRING_TOOBIG);
        return;
    }
    if (rc == KVSQL_NOTFOUND) { /* an empty string, not no string */
        ok = cmd_ok(c, kv_set(c->txn, &key, bytes, 0, &c->err));
    } else if (bytes.size == 0) {
        ok = cmd_touch(c, &key, &item);
    } else {
        ok = cmd_ok(c, kv_patch(c->txn, &key, size, bytes, &c->err));
    }
    if (ok) {
        cmd_reply_int(c->reply, (int64_t)(size + bytes.size));
    }
}

void cmd_do_setrange(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    const kvsql_slice bytes = c->argv[3];
    uint64_t size, end;
    int64_t offset;
    bool found;

    if (!cmd_int(c, 2, &offset, NULL)) {
        return;
    }
    if (offset < 0) {
        cmd_fail(c, KVSQL_RANGE, "ERR offset is out of range");
        return;
    }
    if (!string_size(c, &key, &size, &found)) {
        return;
    }
    if (bytes.size == 0) {
        cmd_reply_int(c->reply, (int64_t)size);
        return;
    }
    end = (uint64_t)offset + bytes.size;
    if (end > KVSQL_VALUE_MAX) {
        cmd_fail(c, KVSQL_TOOBIG, CMD_TEXT_STRING_TOOBIG);
        return;
    }
    if (cmd_ok(c, kv_patch(c->txn, &key, (uint64_t)offset, bytes, &c->err))) {
        cmd_reply_int(c->reply, (int64_t)(end > size ? end : size));
    }
}

/* ---- numbers ------------------------------------------------------------ */

static void string_add(struct cmd_context *c, int64_t step)
{
    const struct kv_key key = cmd_key(c, 1);
    int64_t sum = 0;
    const kvsql_rc rc = kv_add(c->txn, &key, step, &sum, &c->err);

    if (rc == KVSQL_NOTINT) {
        cmd_fail(c, rc, CMD_TEXT_NOTINT);
    } else if (rc == KVSQL_OVERFLOW) {
        cmd_fail(c, rc, CMD_TEXT_OVERFLOW);
    } else if (cmd_ok(c, rc)) {
        cmd_reply_int(c->reply, sum);
    }
}

void cmd_do_incr(struct cmd_context *c)
{
    string_add(c, 1);
}

void cmd_do_decr(struct cmd_context *c)
{
    string_add(c, -1);
}

void cmd_do_incrby(struct cmd_context *c)
{
    int64_t step;

    if (cmd_int(c, 2, &step, NULL)) {
        string_add(c, step);
    }
}

void cmd_do_decrby(struct cmd_context *c)
{
    int64_t step;

    if (!cmd_int(c, 2, &step, NULL)) {
        return;
    }
    if (step == INT64_MIN) {
        cmd_fail(c, KVSQL_OVERFLOW, "ERR decrement would overflow");
        return;
    }
    string_add(c, -step);
}

void cmd_do_incrbyfloat(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    char text[CMD_REAL_TEXT_MAX];
    long double number = 0, step;
    struct kv_item item;
    int64_t expires_at = 0;
    kvsql_slice sum = {text, 0};
    const kvsql_rc rc = cmd_get_type(c, &key, KV_STRING, &item);

    if (rc == KVSQL_WRONGTYPE) {
        return;
    }
    if (rc == KVSQL_OK) {
        struct kv_val value;

        kv_item_string(&item, &value);
        expires_at = item.expires_at;
        if (!cmd_real_parse(value.p, value.size, &number)) {
            cmd_fail(c, KVSQL_NOTFLOAT, CMD_TEXT_NOTFLOAT);
            return;
        }
    }
    if (!cmd_real_parse(c->argv[2].p, c->argv[2].size, &step)) {
        cmd_fail(c, KVSQL_NOTFLOAT, CMD_TEXT_NOTFLOAT);
        return;
    }
    number += step;
    if (!isfinite(number)) {
        cmd_fail(c, KVSQL_OVERFLOW, CMD_TEXT_NAN);
        return;
    }
    sum.size = cmd_real_format(text, number);
    if (cmd_ok(c, kv_set(c->txn, &key, sum, expires_at, &c->err))) {
        cmd_reply_bulk(c->reply, sum.p, sum.size);
    }
}

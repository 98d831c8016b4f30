/* c_hash.c - hashes: fields, values, numbers in them, fields by chance.
 *
 * Expiry of fields is in c_expire.c, HSCAN in c_scan.c.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/context.h"

#include <math.h>

#include "kvsql/base/num.h"

/* ---- setting ------------------------------------------------------------ */

#define HASH_PAIRS 32 /* fields that are set in one go */

/* Pairs from argument `first` on, at most HASH_PAIRS; *made counts new fields. */
static kvsql_rc hash_set_some(struct cmd_context *c, const struct kv_key *key,
                              unsigned first, unsigned *made)
{
    struct kv_field field[HASH_PAIRS];
    unsigned n = 0;

    for (unsigned i = first; i < c->argc && n < HASH_PAIRS; i += 2, n++) {
        field[n] = (struct kv_field){cmd_key(c, i), c->argv[i + 1]};
    }
    return kv_hset_many(c->txn, key, field, n, 0, made, &c->err);
}

/* The pair that most calls have, without the array. */
static kvsql_rc hash_set_one(struct cmd_context *c, const struct kv_key *key,
                             int64_t *created)
{
    const struct kv_key field = cmd_key(c, 2);
    bool made = false;
    const kvsql_rc rc = kv_hset(c->txn, key, &field, c->argv[3], 0, &made,
                                &c->err);

    *created = made;
    return rc;
}

/* Set all pairs; *created counts new fields. False: answered. */
static bool hash_set_pairs(struct cmd_context *c, int64_t *created)
{
    const struct kv_key key = cmd_key(c, 1);
    kvsql_rc rc = KVSQL_OK;
    unsigned made = 0;

    *created = 0;
    if (c->argc % 2 != 0) {
        cmd_fail_arity(c);
        return false;
    }
    if (c->argc == 4)
        return cmd_ok(c, hash_set_one(c, &key, created));
    for (unsigned i = 2; i < c->argc && rc == KVSQL_OK; i += 2 * HASH_PAIRS) {
        rc = hash_set_some(c, &key, i, &made);
        *created += made;
    }
    return cmd_ok(c, rc);
}

void cmd_do_hset(struct cmd_context *c)
{
    int64_t created;

    if (hash_set_pairs(c, &created)) {
        cmd_reply_int(c->reply, created);
    }
}

void cmd_do_hmset(struct cmd_context *c)
{
    int64_t created;

    if (hash_set_pairs(c, &created)) {
        cmd_answer_ok(c);
    }
}

/* Find a field: KVSQL_OK, NOTFOUND, or WRONGTYPE (answered). */
static kvsql_rc hash_find(struct cmd_context *c, const struct kv_key *key,
                          const struct kv_key *field, struct kv_elem *elem)
{
    struct kv_item item;
    const kvsql_rc rc = cmd_get_type(c, key, KV_HASH, &item);

    if (rc != KVSQL_OK) {
        return rc;
    }
    return kv_elem_find(&c->at, &item, field, elem) ? KVSQL_OK
                                                    : KVSQL_NOTFOUND;
}

void cmd_do_hsetnx(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1), field = cmd_key(c, 2);
    struct kv_elem elem;

    switch (hash_find(c, &key, &field, &elem)) {
    case KVSQL_OK:
        cmd_reply_int(c->reply, 0);
        break;
    case KVSQL_NOTFOUND:
        if (cmd_ok(c, kv_hset(c->txn, &key, &field, c->argv[3], 0, NULL,
                              &c->err))) {
            cmd_reply_int(c->reply, 1);
        }
        break;
    default:
        break;
    }
}

void cmd_do_hdel(struct cmd_context *c)
{
    cmd_answer_elements(c, kv_hdel);
}

/* ---- reading ------------------------------------------------------------ */

void cmd_do_hget(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1), field = cmd_key(c, 2);
    struct kv_elem elem;

    switch (hash_find(c, &key, &field, &elem)) {
    case KVSQL_OK:
        cmd_answer_val(c, &elem.value);
        break;
    case KVSQL_NOTFOUND:
        cmd_reply_null(c->reply);
        break;
    default:
        break;
    }
}

void cmd_do_hexists(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1), field = cmd_key(c, 2);
    struct kv_elem elem;
    const kvsql_rc rc = hash_find(c, &key, &field, &elem);

    if (rc != KVSQL_WRONGTYPE) {
        cmd_reply_int(c->reply, rc == KVSQL_OK);
    }
}

void cmd_do_hstrlen(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1), field = cmd_key(c, 2);
    struct kv_elem elem;
    const kvsql_rc rc = hash_find(c, &key, &field, &elem);

    if (rc != KVSQL_WRONGTYPE) {
        cmd_reply_int(c->reply, rc == KVSQL_OK ? elem.value.size : 0);
    }
}

static void hash_answer_field(struct cmd_context *c,
                              const struct kv_item *item, unsigned index)
{
    const struct kv_key field = cmd_key(c, index);
    struct kv_elem elem;

    if (item != NULL && kv_elem_find(&c->at, item, &field, &elem)) {
        cmd_answer_val(c, &elem.value);
    } else {
        cmd_reply_null(c->reply);
    }
}

void cmd_do_hmget(struct cmd_context *c)
{
    cmd_answer_args(c, KV_HASH, hash_answer_field);
}

void cmd_do_hlen(struct cmd_context *c)
{
    cmd_answer_length(c, KV_HASH);
}

static void hash_put_field(struct cmd_context *c, const struct kv_elem *elem)
{
    cmd_answer_val(c, &elem->key);
}

static void hash_put_value(struct cmd_context *c, const struct kv_elem *elem)
{
    cmd_answer_val(c, &elem->value);
}

static void hash_put_both(struct cmd_context *c, const struct kv_elem *elem)
{
    cmd_answer_val(c, &elem->key);
    cmd_answer_val(c, &elem->value);
}

/* In slices: the fields that have not expired are counted first. */
static void hash_slices(struct cmd_context *c, const struct kv_item *item,
                        bool fields, bool values)
{
    struct kv_elems elems;
    uint64_t count = 0;

    kv_elems_init(&elems, &c->at, item, KV_ELEMS_KEY);
    for (bool valid = kv_elems_first(&elems); valid && cmd_goes_on(c);
         valid = kv_elems_next(&elems)) {
        count++;
    }
    if (fields && values) {
        cmd_reply_map(c->reply, count);
    } else {
        cmd_reply_array(c->reply, count);
    }
    cmd_slice_elems(c, item, KV_ELEMS_KEY, 0, false, count,
                    !values  ? hash_put_field
                    : fields ? hash_put_both
                             : hash_put_value);
}

/* All fields, values, or both. */
static void hash_all(struct cmd_context *c, bool fields, bool values)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    struct kv_elems elems;
    uint64_t count = 0;
    size_t place;
    const kvsql_rc rc = cmd_get_type(c, &key, KV_HASH, &item);

    if (rc == KVSQL_WRONGTYPE ||
        (rc == KVSQL_OK && cmd_defer(c, kv_item_length(&item)))) {
        return;
    }
    if (rc == KVSQL_OK && c->slice != NULL) {
        hash_slices(c, &item, fields, values);
        return;
    }
    place = cmd_reply_begin(c->reply, fields && values ? CMD_REPLY_MAP
                                                       : CMD_REPLY_ARRAY);
    if (rc == KVSQL_OK) {
        bool valid;

        kv_elems_init(&elems, &c->at, &item, KV_ELEMS_KEY);
        for (valid = kv_elems_first(&elems);
             valid && cmd_goes_on(c); valid = kv_elems_next(&elems)) {
            if (fields) {
                cmd_answer_val(c, &elems.elem.key);
            }
            if (values) {
                cmd_answer_val(c, &elems.elem.value);
            }
            count++;
        }
    }
    cmd_reply_end(c->reply, place, count);
}

void cmd_do_hgetall(struct cmd_context *c)
{
    hash_all(c, true, true);
}

void cmd_do_hkeys(struct cmd_context *c)
{
    hash_all(c, true, false);
}

void cmd_do_hvals(struct cmd_context *c)
{
    hash_all(c, false, true);
}

/* ---- numbers ------------------------------------------------------------ */

void cmd_do_hincrby(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1), field = cmd_key(c, 2);
    char text[KV_INT_TEXT_MAX];
    struct kv_elem elem;
    int64_t number = 0, step;
    kvsql_rc rc;

    if (!cmd_int(c, 3, &step, NULL)) {
        return;
    }
    rc = hash_find(c, &key, &field, &elem);
    if (rc == KVSQL_WRONGTYPE) {
        return;
    }
    if (rc == KVSQL_OK &&
        !kv_num_int(elem.value.p, elem.value.size, &number)) {
        cmd_fail(c, KVSQL_NOTINT, "ERR hash value is not an integer");
        return;
    }
    if (__builtin_add_overflow(number, step, &number)) {
        cmd_fail(c, KVSQL_OVERFLOW, CMD_TEXT_OVERFLOW);
        return;
    }
    if (cmd_ok(c, kv_hset(c->txn, &key, &field,
                          (kvsql_slice){text, kv_num_format_int(text, number)},
                          KV_KEEP_EXPIRY, NULL, &c->err))) {
        cmd_reply_int(c->reply, number);
    }
}

void cmd_do_hincrbyfloat(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1), field = cmd_key(c, 2);
    char text[CMD_REAL_TEXT_MAX];
    struct kv_elem elem;
    long double number = 0, step;
    kvsql_slice sum = {text, 0};
    kvsql_rc rc;

    if (!cmd_real_parse(c->argv[3].p, c->argv[3].size, &step)) {
        cmd_fail(c, KVSQL_NOTFLOAT, CMD_TEXT_NOTFLOAT);
        return;
    }
    if (!isfinite(step)) {
        cmd_fail(c, KVSQL_NOTFLOAT, "ERR value is NaN or Infinity");
        return;
    }
    rc = hash_find(c, &key, &field, &elem);
    if (rc == KVSQL_WRONGTYPE) {
        return;
    }
    if (rc == KVSQL_OK &&
        !cmd_real_parse(elem.value.p, elem.value.size, &number)) {
        cmd_fail(c, KVSQL_NOTFLOAT, "ERR hash value is not a float");
        return;
    }
    number += step;
    if (!isfinite(number)) {
        cmd_fail(c, KVSQL_OVERFLOW, CMD_TEXT_NAN);
        return;
    }
    sum.size = cmd_real_format(text, number);
    if (cmd_ok(c, kv_hset(c->txn, &key, &field, sum, KV_KEEP_EXPIRY, NULL,
                          &c->err))) {
        cmd_reply_bulk(c->reply, sum.p, sum.size);
    }
}

/* ---- by chance ---------------------------------------------------------- */

void cmd_do_hrandfield(struct cmd_context *c)
{
    cmd_answer_random(c, KV_HASH, "WITHVALUES");
}

/* c_list.c - lists: ends, indexes, moves. Searches are in c_lsearch.c.
 *
 * Indexes of clients may be negative (from the end); below this file they are
 * 0-based. What is taken out is answered first, then removed.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/context.h"

#define LIST_VALUES 32 /* values that are read at a time */

/* An index of a client as one from 0 on; false when it is outside. */
static bool list_index(int64_t index, uint64_t length, uint64_t *out)
{
    if (index < 0) {
        index += (int64_t)length;
    }
    *out = (uint64_t)index;
    return index >= 0 && (uint64_t)index < length;
}

/* [start, stop] of a client as first and count; false when it is empty. */
static bool list_range(int64_t start, int64_t stop, uint64_t length,
                       uint64_t *first, uint64_t *count)
{
    const int64_t n = (int64_t)length;

    start = start < 0 ? start + n : start;
    stop = stop < 0 ? stop + n : stop;
    start = start < 0 ? 0 : start;
    stop = stop >= n ? n - 1 : stop;
    if (start > stop || start >= n) {
        return false;
    }
    *first = (uint64_t)start;
    *count = (uint64_t)(stop - start) + 1;
    return true;
}

/* The next `count` values of the cursor, which are there. */
static void list_answer(struct cmd_context *c, struct kv_elems *elems,
                        uint64_t count)
{
    struct kv_val value[LIST_VALUES];

    while (count > 0 && cmd_goes_on(c)) {
        const uint32_t n = kv_elems_values(
            elems, value, count < LIST_VALUES ? (uint32_t)count : LIST_VALUES);

        KV_ASSERT(n > 0);
        for (uint32_t i = 0; i < n; i++) {
            cmd_answer_val(c, &value[i]);
        }
        count -= n;
    }
}

/* ---- pushes ------------------------------------------------------------- */

static void list_push(struct cmd_context *c, enum kv_side side)
{
    const struct kv_key key = cmd_key(c, 1);
    uint64_t length = 0;

    for (unsigned i = 2; i < c->argc; i++) {
        if (!cmd_ok(c, kv_push_length(c->txn, &key, side, c->argv[i], &length,
                                      &c->err))) {
            return;
        }
    }
    cmd_reply_int(c->reply, (int64_t)length);
}

/* The same on a list that exists. */
static void list_push_more(struct cmd_context *c, enum kv_side side)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;

    switch (cmd_get_type(c, &key, KV_LIST, &item)) {
    case KVSQL_OK:
        list_push(c, side);
        break;
    case KVSQL_NOTFOUND:
        cmd_reply_int(c->reply, 0);
        break;
    default:
        break;
    }
}

void cmd_do_lpush(struct cmd_context *c)
{
    list_push(c, KV_LEFT);
}

void cmd_do_rpush(struct cmd_context *c)
{
    list_push(c, KV_RIGHT);
}

void cmd_do_lpushx(struct cmd_context *c)
{
    list_push_more(c, KV_LEFT);
}

void cmd_do_rpushx(struct cmd_context *c)
{
    list_push_more(c, KV_RIGHT);
}

/* ---- pops --------------------------------------------------------------- */

/* Answer with `count` elements from one end, then remove them. */
static void list_pop_many(struct cmd_context *c, const struct kv_key *key,
                          const struct kv_item *item, enum kv_side side,
                          uint64_t count)
{
    const uint64_t length = kv_item_length(item);
    struct kv_elems elems;

    count = count < length ? count : length;
    cmd_reply_array(c->reply, count);
    kv_elems_init(&elems, &c->at, item, KV_ELEMS_INDEX);
    if (side == KV_LEFT) {
        (void)kv_elems_first(&elems);
        list_answer(c, &elems, count);
    } else {
        bool valid = kv_elems_last(&elems);

        for (uint64_t i = 0; i < count && cmd_goes_on(c); i++) {
            KV_ASSERT(valid);
            cmd_answer_val(c, &elems.elem.value);
            valid = kv_elems_prev(&elems);
        }
    }
    if (count > 0) {
        (void)cmd_ok(c, kv_lremove(c->txn, key,
                                   side == KV_LEFT ? 0 : length - count,
                                   count, &c->err));
    }
}

static void list_pop(struct cmd_context *c, enum kv_side side)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    struct kv_elem elem;
    int64_t count = 1;
    uint64_t index;
    kvsql_rc rc;

    if (c->argc > 3) {
        cmd_fail_arity(c);
        return;
    }
    if (!cmd_pop_parse(c, KV_LIST, &count, &item, &rc)) {
        return;
    }
    if (c->argc == 3) {
        if (rc == KVSQL_NOTFOUND) {
            cmd_reply_null_array(c->reply);
        } else {
            list_pop_many(c, &key, &item, side, (uint64_t)count);
        }
        return;
    }
    index = rc == KVSQL_OK && side == KV_RIGHT ? kv_item_length(&item) - 1 : 0;
    if (rc != KVSQL_OK || !kv_elem_at(&c->at, &item, index, &elem)) {
        cmd_reply_null(c->reply);
        return;
    }
    cmd_answer_val(c, &elem.value);
    (void)cmd_ok(c, kv_lremove(c->txn, &key, index, 1, &c->err));
}

void cmd_do_lpop(struct cmd_context *c)
{
    list_pop(c, KV_LEFT);
}

void cmd_do_rpop(struct cmd_context *c)
{
    list_pop(c, KV_RIGHT);
}

/* Take from the first of the keys that is there. False: none is, and nothing
 * is answered. */
static bool list_pop_first(struct cmd_context *c, const struct cmd_mpop *m)
{
    for (unsigned i = m->first; i < m->first + m->keys; i++) {
        const struct kv_key key = cmd_key(c, i);
        struct kv_item item;
        const kvsql_rc rc = cmd_get_type(c, &key, KV_LIST, &item);

        if (rc == KVSQL_OK) {
            cmd_reply_array(c->reply, 2);
            cmd_reply_bulk(c->reply, key.p, key.size);
            list_pop_many(c, &key, &item, m->high ? KV_RIGHT : KV_LEFT,
                          m->count);
        }
        if (rc != KVSQL_NOTFOUND) {
            return true;
        }
    }
    return false;
}

void cmd_do_lmpop(struct cmd_context *c)
{
    struct cmd_mpop m;

    if (cmd_mpop_parse(c, 1, "LEFT", "RIGHT", &m) && !list_pop_first(c, &m)) {
        cmd_reply_null_array(c->reply);
    }
}

/* ---- pops that wait ------------------------------------------------------ */

/* key [key ...] timeout */
static void list_wait_pop(struct cmd_context *c, enum kv_side side)
{
    struct cmd_wait w = {.first = 1, .keys = c->argc - 2, .type = KV_LIST};
    struct kv_item item;
    struct kv_elem elem;

    if (!cmd_wait_timeout(c, c->argc - 1, &w)) {
        return;
    }
    for (unsigned n = 0, i; (i = cmd_wait_key(c, &w, n)) != 0; n++) {
        const struct kv_key key = cmd_key(c, i);
        const kvsql_rc rc = cmd_wait_get(c, &w, &key, &item);
        const uint64_t index =
            rc == KVSQL_OK && side == KV_RIGHT ? kv_item_length(&item) - 1 : 0;

        if (rc == KVSQL_WRONGTYPE) {
            return;
        }
        if (rc == KVSQL_OK && kv_elem_at(&c->at, &item, index, &elem)) {
            cmd_reply_array(c->reply, 2);
            cmd_reply_bulk(c->reply, key.p, key.size);
            cmd_answer_val(c, &elem.value);
            (void)cmd_ok(c, kv_lremove(c->txn, &key, index, 1, &c->err));
            return;
        }
    }
    cmd_wait(c, &w);
}

void cmd_do_blpop(struct cmd_context *c)
{
    list_wait_pop(c, KV_LEFT);
}

void cmd_do_brpop(struct cmd_context *c)
{
    list_wait_pop(c, KV_RIGHT);
}

void cmd_do_blmpop(struct cmd_context *c)
{
    struct cmd_wait w = {.type = KV_LIST};
    struct cmd_mpop m;
    struct kv_item item;

    if (!cmd_wait_timeout(c, 1, &w) ||
        !cmd_mpop_parse(c, 2, "LEFT", "RIGHT", &m)) {
        return;
    }
    w.first = m.first;
    w.keys = m.keys;
    for (unsigned n = 0, i; (i = cmd_wait_key(c, &w, n)) != 0; n++) {
        const struct kv_key key = cmd_key(c, i);
        const kvsql_rc rc = cmd_wait_get(c, &w, &key, &item);

        if (rc == KVSQL_OK) {
            cmd_reply_array(c->reply, 2);
            cmd_reply_bulk(c->reply, key.p, key.size);
            list_pop_many(c, &key, &item, m.high ? KV_RIGHT : KV_LEFT,
                          m.count);
        }
        if (rc != KVSQL_NOTFOUND) {
            return;
        }
    }
    cmd_wait(c, &w);
}

/* ---- moves -------------------------------------------------------------- */

/* Take from one end of `from`, put at one end of `to`; the element is answered
 * first. */
static void list_move(struct cmd_context *c, enum kv_side out,
                      enum kv_side in)
{
    const struct kv_key from = cmd_key(c, 1), to = cmd_key(c, 2);
    struct kv_item item, there;
    struct kv_elem elem;
    struct kv_buf copy; /* the store changes between taking and putting */
    uint64_t index;
    kvsql_rc rc = cmd_get_type(c, &from, KV_LIST, &item);

    if (rc == KVSQL_NOTFOUND) {
        cmd_reply_null(c->reply);
    }
    if (rc != KVSQL_OK ||
        cmd_get_type(c, &to, KV_LIST, &there) == KVSQL_WRONGTYPE) {
        return;
    }
    index = out == KV_RIGHT ? kv_item_length(&item) - 1 : 0;
    if (!kv_elem_at(&c->at, &item, index, &elem)) {
        cmd_reply_null(c->reply);
        return;
    }
    cmd_answer_val(c, &elem.value);
    if (kv_key_compare(&from, &to) == 0 && kv_item_length(&item) == 1) {
        return; /* stays as it is, with its expiry */
    }
    kv_buf_init(&copy, KV_MEM_CLIENT, KVSQL_VALUE_MAX);
    kv_buf_add(&copy, elem.value.p, elem.value.size);
    if (copy.failed) {
        cmd_fail_nomem(c);
    } else if (cmd_ok(c, kv_lremove(c->txn, &from, index, 1, &c->err))) {
        (void)cmd_ok(c, kv_push(c->txn, &to, in,
                                (kvsql_slice){copy.p, copy.size}, &c->err));
    }
    kv_buf_fini(&copy);
}

/* LEFT or RIGHT; false: answered. */
static bool list_side(struct cmd_context *c, unsigned index,
                      enum kv_side *side)
{
    if (cmd_is(c, index, "LEFT")) {
        *side = KV_LEFT;
    } else if (cmd_is(c, index, "RIGHT")) {
        *side = KV_RIGHT;
    } else {
        cmd_fail_syntax(c);
        return false;
    }
    return true;
}

void cmd_do_lmove(struct cmd_context *c)
{
    enum kv_side out, in;

    if (list_side(c, 3, &out) && list_side(c, 4, &in)) {
        list_move(c, out, in);
    }
}

void cmd_do_rpoplpush(struct cmd_context *c)
{
    list_move(c, KV_RIGHT, KV_LEFT);
}

/* source destination ... timeout */
static void list_wait_move(struct cmd_context *c, enum kv_side out,
                           enum kv_side in)
{
    struct cmd_wait w = {
        .first = 1, .keys = 1, .type = KV_LIST, .single = true};
    struct kv_item item;
    const struct kv_key from = cmd_key(c, 1);

    if (!cmd_wait_timeout(c, c->argc - 1, &w)) {
        return;
    }
    const kvsql_rc rc = cmd_wait_get(c, &w, &from, &item);
    if (rc == KVSQL_OK) {
        list_move(c, out, in);
    } else if (rc == KVSQL_NOTFOUND) {
        cmd_wait(c, &w);
    }
}

void cmd_do_blmove(struct cmd_context *c)
{
    enum kv_side out, in;

    if (list_side(c, 3, &out) && list_side(c, 4, &in)) {
        list_wait_move(c, out, in);
    }
}

void cmd_do_brpoplpush(struct cmd_context *c)
{
    list_wait_move(c, KV_RIGHT, KV_LEFT);
}

/* ---- reading ------------------------------------------------------------ */

void cmd_do_llen(struct cmd_context *c)
{
    cmd_answer_length(c, KV_LIST);
}

void cmd_do_lindex(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    struct kv_elem elem;
    int64_t number;
    uint64_t index;
    const kvsql_rc rc = cmd_get_type(c, &key, KV_LIST, &item);

    if (rc == KVSQL_WRONGTYPE) {
        return;
    }
    if (rc == KVSQL_NOTFOUND) {
        cmd_reply_null(c->reply);
        return;
    }
    if (!cmd_int(c, 2, &number, NULL)) {
        return;
    }
    if (list_index(number, kv_item_length(&item), &index) &&
        kv_elem_at(&c->at, &item, index, &elem)) {
        cmd_answer_val(c, &elem.value);
    } else {
        cmd_reply_null(c->reply);
    }
}

static void list_put(struct cmd_context *c, const struct kv_elem *elem)
{
    cmd_answer_val(c, &elem->value);
}

void cmd_do_lrange(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    struct kv_elems elems;
    int64_t start, stop;
    uint64_t first, count;
    kvsql_rc rc;

    if (!cmd_int(c, 2, &start, NULL) || !cmd_int(c, 3, &stop, NULL)) {
        return;
    }
    rc = cmd_get_type(c, &key, KV_LIST, &item);
    if (rc == KVSQL_WRONGTYPE) {
        return;
    }
    if (rc == KVSQL_NOTFOUND ||
        !list_range(start, stop, kv_item_length(&item), &first, &count)) {
        cmd_reply_array(c->reply, 0);
        return;
    }
    if (cmd_defer(c, count)) {
        return;
    }
    cmd_reply_array(c->reply, count);
    if (c->slice != NULL) {
        cmd_slice_elems(c, &item, KV_ELEMS_INDEX, first, false, count,
                        list_put);
        return;
    }
    kv_elems_init(&elems, &c->at, &item, KV_ELEMS_INDEX);
    (void)kv_elems_seek_rank(&elems, first);
    list_answer(c, &elems, count);
}

/* ---- changes by index --------------------------------------------------- */

void cmd_do_lset(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    int64_t number;
    uint64_t index;
    const kvsql_rc rc = cmd_get_type(c, &key, KV_LIST, &item);

    if (rc == KVSQL_NOTFOUND) {
        cmd_fail_rc(c, rc);
    }
    if (rc != KVSQL_OK || !cmd_int(c, 2, &number, NULL)) {
        return;
    }
    if (!list_index(number, kv_item_length(&item), &index)) {
        cmd_fail(c, KVSQL_RANGE, "ERR index out of range");
        return;
    }
    if (cmd_ok(c, kv_lset(c->txn, &key, index, c->argv[3], &c->err))) {
        cmd_answer_ok(c);
    }
}

void cmd_do_ltrim(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    int64_t start, stop;
    uint64_t first = 0, count = 0, length, behind;
    kvsql_rc rc;

    if (!cmd_int(c, 2, &start, NULL) || !cmd_int(c, 3, &stop, NULL)) {
        return;
    }
    rc = cmd_get_type(c, &key, KV_LIST, &item);
    if (rc == KVSQL_WRONGTYPE) {
        return;
    }
    if (rc == KVSQL_NOTFOUND) {
        cmd_answer_ok(c);
        return;
    }
    length = kv_item_length(&item);
    if (!list_range(start, stop, length, &first, &count)) {
        if (cmd_ok(c, kv_del(c->txn, &key, NULL, &c->err))) {
            cmd_answer_ok(c);
        }
        return;
    }
    if (count == length) {
        if (cmd_touch(c, &key, &item)) {
            cmd_answer_ok(c);
        }
        return;
    }
    behind = first + count;
    if (behind < length && !cmd_ok(c, kv_lremove(c->txn, &key, behind,
                                                 length - behind, &c->err))) {
        return;
    }
    if (first == 0 ||
        cmd_ok(c, kv_lremove(c->txn, &key, 0, first, &c->err))) {
        cmd_answer_ok(c);
    }
}

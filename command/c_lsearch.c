/* c_lsearch.c - lists: elements that equal a value.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/context.h"

#include <string.h>

static bool list_equal(const struct kv_val *value, kvsql_slice bytes)
{
    return value->size == bytes.size &&
           memcmp(value->p, bytes.p != NULL ? bytes.p : "", bytes.size) == 0;
}

/* ---- searches ----------------------------------------------------------- */

/* Index of the first element that equals `pivot`. */
static bool list_search(struct cmd_context *c, const struct kv_item *item,
                        kvsql_slice pivot, uint64_t *index)
{
    struct kv_elems elems;
    bool valid;

    kv_elems_init(&elems, &c->at, item, KV_ELEMS_INDEX);
    for (valid = kv_elems_first(&elems); valid && cmd_goes_on(c);
         valid = kv_elems_next(&elems)) {
        if (list_equal(&elems.elem.value, pivot)) {
            *index = elems.elem.index;
            return true;
        }
    }
    return false;
}

void cmd_do_linsert(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    const bool after = cmd_is(c, 2, "AFTER");
    struct kv_item item;
    uint64_t index;
    int64_t length;
    kvsql_rc rc;

    if (!after && !cmd_is(c, 2, "BEFORE")) {
        cmd_fail_syntax(c);
        return;
    }
    rc = cmd_get_type(c, &key, KV_LIST, &item);
    if (rc == KVSQL_WRONGTYPE) {
        return;
    }
    if (rc == KVSQL_NOTFOUND) {
        cmd_reply_int(c->reply, 0);
        return;
    }
    if (!list_search(c, &item, c->argv[3], &index)) {
        cmd_reply_int(c->reply, -1);
        return;
    }
    length = (int64_t)kv_item_length(&item);
    if (cmd_ok(c, kv_linsert(c->txn, &key, index + after, c->argv[4],
                             &c->err))) {
        cmd_reply_int(c->reply, length + 1);
    }
}

/* Indexes of the elements that equal `value`, in the order of the search, at
 * most `max` of them, among the first `looked_max`; the first `skip` are left
 * out. */
static void list_find(struct cmd_context *c, const struct kv_item *item,
                      kvsql_slice value, bool backwards, uint64_t skip,
                      uint64_t max, uint64_t looked_max,
                      struct cmd_list *found)
{
    struct kv_elems elems;
    uint64_t looked = 0;
    bool valid;

    kv_elems_init(&elems, &c->at, item, KV_ELEMS_INDEX);
    valid = backwards ? kv_elems_last(&elems) : kv_elems_first(&elems);
    while (valid && looked < looked_max && found->count < max &&
           cmd_goes_on(c)) {
        if (list_equal(&elems.elem.value, value)) {
            if (skip > 0) {
                skip--;
            } else {
                cmd_list_add(found, NULL, 0, 0, (int64_t)elems.elem.index);
            }
        }
        looked++;
        valid = backwards ? kv_elems_prev(&elems) : kv_elems_next(&elems);
    }
}

/* Remove the elements whose indexes were found; runs of neighbours go at
 * once, from the end on, so that the indexes of the others stay true. */
static bool list_remove_found(struct cmd_context *c, const struct kv_key *key,
                              const struct cmd_list *found, bool backwards)
{
    uint64_t i = 0;

    while (i < found->count && cmd_goes_on(c)) {
        uint64_t high, low;

        high = (uint64_t)cmd_list_at(found, backwards ? i
                                                      : found->count - 1 - i)
                   .number;
        low = high;
        for (i++; i < found->count; i++) {
            const uint64_t next =
                (uint64_t)cmd_list_at(found, backwards ? i
                                                       : found->count - 1 - i)
                    .number;

            if (next + 1 != low) {
                break;
            }
            low = next;
        }
        if (!cmd_ok(c, kv_lremove(c->txn, key, low, high - low + 1,
                                  &c->err))) {
            return false;
        }
    }
    return true;
}

void cmd_do_lrem(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    struct cmd_list found;
    int64_t count;
    uint64_t max;
    kvsql_rc rc;

    if (!cmd_int(c, 2, &count, NULL)) {
        return;
    }
    rc = cmd_get_type(c, &key, KV_LIST, &item);
    if (rc == KVSQL_WRONGTYPE) {
        return;
    }
    if (rc == KVSQL_NOTFOUND) {
        cmd_reply_int(c->reply, 0);
        return;
    }
    max = count == 0 ? UINT64_MAX
                     : count < 0 ? -(uint64_t)count : (uint64_t)count;
    cmd_list_init(&found);
    list_find(c, &item, c->argv[3], count < 0, 0, max, UINT64_MAX, &found);
    if (cmd_list_ok(c, &found) &&
        list_remove_found(c, &key, &found, count < 0)) {
        cmd_reply_int(c->reply, (int64_t)found.count);
    }
    cmd_list_fini(&found);
}

struct list_pos {
    int64_t rank, count, maxlen;
    bool has_count;
};

/* Options of LPOS. False: answered. */
static bool list_pos_options(struct cmd_context *c, struct list_pos *o)
{
    *o = (struct list_pos){.rank = 1};
    for (unsigned i = 3; i < c->argc; i++) {
        const bool more = i + 1 < c->argc;

        if (more && cmd_is(c, i, "RANK")) {
            if (!cmd_int_within(c, ++i, -INT64_MAX, INT64_MAX, &o->rank,
                                NULL)) {
                return false;
            }
            if (o->rank == 0) {
                cmd_fail(c, KVSQL_INVALID,
                         "ERR RANK can't be zero: use 1 to start from the "
                         "first match, 2 from the second ... or use negative "
                         "to start from the end of the list");
                return false;
            }
        } else if (more && cmd_is(c, i, "COUNT")) {
            if (!cmd_int_within(c, ++i, 0, INT64_MAX, &o->count,
                                "ERR COUNT can't be negative")) {
                return false;
            }
            o->has_count = true;
        } else if (more && cmd_is(c, i, "MAXLEN")) {
            if (!cmd_int_within(c, ++i, 0, INT64_MAX, &o->maxlen,
                                "ERR MAXLEN can't be negative")) {
                return false;
            }
        } else {
            cmd_fail_syntax(c);
            return false;
        }
    }
    return true;
}

/* Indexes on their way into the reply. */
struct list_pos_answer {
    struct cmd_each each;
    struct cmd_list found;
};

static void list_pos_fini(void *state)
{
    cmd_list_fini(&((struct list_pos_answer *)state)->found);
}

static void list_pos_put(struct cmd_context *c, void *state, uint64_t index)
{
    const struct list_pos_answer *a = state;

    cmd_reply_int(c->reply, cmd_list_at(&a->found, index).number);
}

static void list_pos_answer(struct cmd_context *c, struct list_pos_answer *a,
                            bool has_count)
{
    a->each.end = a->found.count;
    if (has_count) {
        cmd_reply_array(c->reply, a->found.count);
    } else if (a->found.count == 0) {
        cmd_reply_null(c->reply);
    }
    cmd_answer_each(c, &a->each, sizeof(*a), list_pos_fini);
}

void cmd_do_lpos(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct list_pos_answer a = {.each.put = list_pos_put};
    struct list_pos o;
    struct kv_item item;
    uint64_t looked_max = 0;
    kvsql_rc rc;

    if (!list_pos_options(c, &o)) {
        return;
    }
    rc = cmd_get_type(c, &key, KV_LIST, &item);
    if (rc == KVSQL_WRONGTYPE) {
        return;
    }
    if (rc == KVSQL_OK) {
        looked_max = kv_item_length(&item);
        if (o.maxlen != 0 && (uint64_t)o.maxlen < looked_max) {
            looked_max = (uint64_t)o.maxlen;
        }
        if (cmd_defer(c, looked_max)) {
            return;
        }
    }
    cmd_list_init(&a.found);
    if (rc == KVSQL_OK) {
        const uint64_t rank =
            o.rank < 0 ? (uint64_t)-o.rank : (uint64_t)o.rank;
        const uint64_t max =
            !o.has_count ? 1 : o.count == 0 ? UINT64_MAX : (uint64_t)o.count;

        list_find(c, &item, c->argv[2], o.rank < 0, rank - 1, max,
                  looked_max, &a.found);
    }
    if (cmd_list_ok(c, &a.found)) {
        list_pos_answer(c, &a, o.has_count);
    }
    list_pos_fini(&a);
}

/* c_sort.c - SORT and SORT_RO.
 *
 *   elements -> weights -> sorted -> the range of LIMIT -> GET -> reply or list
 *
 * A weight is the element itself, or with BY what the pattern names: its first
 * `*` becomes the element, and `key->field` is a field of a hash. A number,
 * with ALPHA bytes. Elements that weigh the same come in the order of their
 * bytes; with BY and ALPHA in that of the collection. BY without a `*` means
 * not to sort: lists keep their order, sorted sets that of scores, and only
 * the range that is asked for is read.
 *
 * Everything is copied out of the store first: with STORE it changes.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/context.h"

#include <stdlib.h>
#include <string.h>

#include "kvsql/base/num.h"

/* The whole command; where the answer comes in slices it moves. */
struct sort {
    struct cmd_each each; /* of the places */
    bool desc, alpha, read_only;
    bool has_by, keep_order; /* BY with a `*`, without one */
    bool has_store;
    bool bad_number; /* a weight that is none */
    bool no_memory;  /* for the name of a key */
    unsigned gets;   /* GET patterns */
    int64_t offset, count;
    kvsql_slice by;
    unsigned store; /* argument of STORE */
    struct cmd_list elements;
    struct cmd_list weights; /* BY with ALPHA: number is 0 when absent */
    struct sort_place *places; /* of all elements, in order */
    size_t places_size;
    uint64_t start, end;     /* of the answer; end is behind it */
    struct kv_buf name;      /* of a key that a pattern names */
};

/* What is moved while sorting. */
struct sort_place {
    double score;
    const uint8_t *p;
    uint32_t size;
    uint32_t index;
    bool absent;
};

/* ---- options ------------------------------------------------------------ */

/* Arguments of the option at `i`, its word included; 0: it is none. */
static unsigned sort_option_size(const struct cmd_context *c, unsigned i)
{
    const unsigned left = c->argc - i;

    if (cmd_is(c, i, "ASC") || cmd_is(c, i, "DESC") || cmd_is(c, i, "ALPHA")) {
        return 1;
    }
    if (cmd_is(c, i, "LIMIT")) {
        return left >= 3 ? 3 : 0;
    }
    if (cmd_is(c, i, "BY") || cmd_is(c, i, "GET") || cmd_is(c, i, "STORE")) {
        return left >= 2 ? 2 : 0;
    }
    return 0;
}

/* The option at `i`. False: answered. */
static bool sort_option(struct cmd_context *c, struct sort *s, unsigned i)
{
    if (cmd_is(c, i, "LIMIT")) {
        return cmd_int(c, i + 1, &s->offset, NULL) &&
               cmd_int(c, i + 2, &s->count, NULL);
    }
    if (cmd_is(c, i, "BY")) {
        s->by = c->argv[i + 1];
        s->has_by = s->by.size > 0 && memchr(s->by.p, '*', s->by.size) != NULL;
        s->keep_order = s->keep_order || !s->has_by;
    } else if (cmd_is(c, i, "GET")) {
        s->gets++;
    } else if (cmd_is(c, i, "STORE")) {
        s->has_store = true;
        s->store = i + 1;
    } else if (cmd_is(c, i, "ALPHA")) {
        s->alpha = true;
    } else {
        s->desc = cmd_is(c, i, "DESC");
    }
    return true;
}

/* False: answered. */
static bool sort_options(struct cmd_context *c, struct sort *s)
{
    for (unsigned i = 2; i < c->argc;) {
        const unsigned size = sort_option_size(c, i);

        if (size == 0 || (s->read_only && cmd_is(c, i, "STORE"))) {
            cmd_fail_syntax(c);
            return false;
        }
        if (!sort_option(c, s, i)) {
            return false;
        }
        i += size;
    }
    return true;
}

/* The range of LIMIT in `length` elements. */
static void sort_range(struct sort *s, uint64_t length)
{
    const uint64_t offset = s->offset > 0 ? (uint64_t)s->offset : 0;
    const uint64_t start = offset < length ? offset : length;
    const uint64_t left = length - start;

    s->start = start;
    s->end = s->count >= 0 && (uint64_t)s->count < left
                 ? start + (uint64_t)s->count
                 : length;
}

/* ---- patterns ----------------------------------------------------------- */

/* The place of `->` behind the first `*`, with a field behind it; else the
 * size of the pattern. */
static size_t sort_arrow(const uint8_t *p, size_t size, size_t star)
{
    for (size_t i = star + 1; i + 2 < size; i++) {
        if (p[i] == '-' && p[i + 1] == '>') {
            return i;
        }
    }
    return size;
}

/* What a pattern with a `*` names for an element. */
static bool sort_lookup(struct cmd_context *c, struct sort *s,
                        kvsql_slice pattern,
                        const struct cmd_list_item *element,
                        struct kv_elem *out)
{
    const uint8_t *p = pattern.p;
    const uint8_t *star =
        pattern.size > 0 ? memchr(p, '*', pattern.size) : NULL;
    struct kv_item item;
    struct kv_key key;
    size_t arrow;

    if (star == NULL) {
        return false;
    }
    arrow = sort_arrow(p, pattern.size, (size_t)(star - p));
    kv_buf_reset(&s->name, s->name.cap);
    kv_buf_add(&s->name, p, (size_t)(star - p));
    kv_buf_add(&s->name, element->p, element->size);
    kv_buf_add(&s->name, star + 1, arrow - (size_t)(star + 1 - p));
    if (s->name.failed) {
        s->no_memory |= !s->name.too_big; /* too long for a key: none */
        return false;
    }
    key = kv_key_of(s->name.p, s->name.size);
    if (!cmd_get(c, &key, &item)) {
        return false;
    }
    if (arrow < pattern.size) {
        const struct kv_key field =
            kv_key_of(p + arrow + 2, pattern.size - arrow - 2);

        return item.type == KV_HASH &&
               kv_elem_find(&c->at, &item, &field, out);
    }
    if (item.type != KV_STRING) {
        return false;
    }
    kv_item_string(&item, &out->value);
    return true;
}

/* ---- elements and their weights ----------------------------------------- */

static void sort_add(struct sort *s, const struct kv_elem *e, enum kv_type type)
{
    const struct kv_val *value = type == KV_LIST ? &e->value : &e->key;

    cmd_list_add(&s->elements, value->p, value->size, 0, 0);
}

/* Copy the elements out; when their order is kept, those of the range. */
static void sort_read(struct cmd_context *c, struct sort *s,
                      const struct kv_item *item)
{
    const uint64_t length = kv_item_length(item);
    const bool part = s->keep_order && item->type != KV_SET;
    const bool back = part && s->desc;
    uint64_t left = part ? s->end - s->start : length;
    struct kv_elems elems;
    bool valid;

    kv_elems_init(&elems, &c->at, item,
                  item->type == KV_LIST   ? KV_ELEMS_INDEX
                  : item->type == KV_ZSET ? KV_ELEMS_SCORE
                                          : KV_ELEMS_KEY);
    if (left == 0) {
        return;
    }
    valid = kv_elems_seek_rank(&elems, back   ? length - 1 - s->start
                                       : part ? s->start
                                              : 0);
    while (valid && left > 0 && !s->elements.bytes.failed && cmd_goes_on(c)) {
        sort_add(s, &elems.elem, item->type);
        valid = back ? kv_elems_prev(&elems) : kv_elems_next(&elems);
        left--;
    }
    if (part) {
        s->start = 0;
        s->end = s->elements.count;
    }
}

/* A number as strtod reads it: up to a NUL, blanks before it, nothing is 0. */
static bool sort_number(const uint8_t *p, size_t size, double *out)
{
    size = strnlen((const char *)p, size);
    while (size > 0 && (*p == ' ' || (*p >= '\t' && *p <= '\r'))) {
        p++;
        size--;
    }
    *out = 0;
    return size == 0 || kv_num_double(p, size, out);
}

/* The weights of BY with ALPHA, in the order of the elements. */
static void sort_read_weights(struct cmd_context *c, struct sort *s)
{
    for (uint64_t i = 0; i < s->elements.count && cmd_goes_on(c); i++) {
        const struct cmd_list_item element = cmd_list_at(&s->elements, i);
        struct kv_elem elem;

        if (sort_lookup(c, s, s->by, &element, &elem)) {
            cmd_list_add(&s->weights, elem.value.p, elem.value.size, 0, 1);
        } else {
            cmd_list_add(&s->weights, "", 0, 0, 0);
        }
    }
}

/* Fill one place; the lists do not move any more. */
static void sort_weigh(struct cmd_context *c, struct sort *s,
                       struct sort_place *place)
{
    const struct cmd_list_item element =
        cmd_list_at(&s->elements, place->index);
    struct kv_elem elem;

    place->p = element.p;
    place->size = (uint32_t)element.size;
    if (s->alpha && s->has_by) {
        const struct cmd_list_item weight =
            cmd_list_at(&s->weights, place->index);

        place->p = weight.p;
        place->size = (uint32_t)weight.size;
        place->absent = weight.number == 0;
    } else if (s->alpha) {
        return;
    } else if (!s->has_by) {
        s->bad_number |=
            !sort_number(element.p, element.size, &place->score);
    } else if (sort_lookup(c, s, s->by, &element, &elem)) {
        s->bad_number |=
            !sort_number(elem.value.p, elem.value.size, &place->score);
    }
}

/* ---- sorting ------------------------------------------------------------ */

static int sort_compare_bytes(const struct sort_place *a,
                              const struct sort_place *b)
{
    const uint32_t size = a->size < b->size ? a->size : b->size;
    const int order = size > 0 ? memcmp(a->p, b->p, size) : 0;

    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

static int sort_compare(const void *left, const void *right, void *arg)
{
    const struct sort_place *a = left, *b = right;
    const struct sort *s = arg;
    int order = (a->score > b->score) - (a->score < b->score);

    if (order == 0) {
        order = (int)b->absent - (int)a->absent;
    }
    if (order == 0) {
        order = sort_compare_bytes(a, b);
    }
    if (order != 0) {
        return s->desc ? -order : order;
    }
    return (a->index > b->index) - (a->index < b->index);
}

/* The places of all elements, sorted. False: answered. */
static bool sort_places(struct cmd_context *c, struct sort *s)
{
    const uint64_t count = s->elements.count;

    s->places_size = (size_t)(count + 1) * sizeof(*s->places);
    s->places = kv_mem_zalloc(KV_MEM_CLIENT, s->places_size);
    if (s->places == NULL) {
        cmd_fail_nomem(c);
        return false;
    }
    for (uint64_t i = 0; i < count && cmd_goes_on(c); i++) {
        s->places[i].index = (uint32_t)i;
        if (!s->keep_order) {
            sort_weigh(c, s, &s->places[i]);
        }
    }
    if (cmd_reply_failed(c->reply)) {
        return false;
    }
    if (s->bad_number && !s->keep_order) {
        cmd_fail(c, KVSQL_NOTFLOAT,
                 "ERR One or more scores can't be converted into double");
        return false;
    }
    return s->keep_order || cmd_sort(c, s->places, count, sizeof(*s->places),
                                     sort_compare, s);
}

/* ---- answers ------------------------------------------------------------ */

/* One value of the answer, or NULL for one that is absent: to the list of
 * STORE, else to the reply. */
static void sort_put(struct cmd_context *c, struct cmd_list *stored,
                     const uint8_t *p, size_t size)
{
    if (stored != NULL) {
        cmd_list_add(stored, p != NULL ? p : (const uint8_t *)"",
                     p != NULL ? size : 0, 0, 0);
    } else if (p != NULL) {
        cmd_reply_bulk(c->reply, p, size);
    } else {
        cmd_reply_null(c->reply);
    }
}

/* An element, or what its GET patterns name. */
static void sort_put_element(struct cmd_context *c, struct sort *s,
                             uint64_t index, struct cmd_list *stored)
{
    const struct cmd_list_item element = cmd_list_at(&s->elements, index);

    if (s->gets == 0) {
        sort_put(c, stored, element.p, element.size);
        return;
    }
    for (unsigned i = 2; i < c->argc; i += sort_option_size(c, i)) {
        struct kv_elem elem;

        if (!cmd_is(c, i, "GET")) {
            continue;
        }
        if (cmd_is(c, i + 1, "#")) {
            sort_put(c, stored, element.p, element.size);
        } else if (sort_lookup(c, s, c->argv[i + 1], &element, &elem)) {
            sort_put(c, stored, elem.value.p, elem.value.size);
        } else {
            sort_put(c, stored, NULL, 0);
        }
    }
}

/* The list replaces the key of STORE; an empty one deletes it. */
static void sort_store(struct cmd_context *c, const struct sort *s,
                       const struct cmd_list *stored)
{
    const struct kv_key key = cmd_key(c, s->store);

    if (!cmd_list_ok(c, stored) ||
        !cmd_ok(c, kv_del(c->txn, &key, NULL, &c->err))) {
        return;
    }
    for (uint64_t i = 0; i < stored->count && cmd_goes_on(c); i++) {
        const struct cmd_list_item item = cmd_list_at(stored, i);

        if (!cmd_ok(c, kv_push(c->txn, &key, KV_RIGHT,
                               (kvsql_slice){item.p, item.size}, &c->err))) {
            return;
        }
    }
    cmd_reply_int(c->reply, (int64_t)stored->count);
}

static void sort_fini(void *state)
{
    struct sort *s = state;

    cmd_list_fini(&s->elements);
    cmd_list_fini(&s->weights);
    kv_buf_fini(&s->name);
    kv_mem_free(KV_MEM_CLIENT, s->places, s->places_size);
}

static void sort_put_place(struct cmd_context *c, void *state, uint64_t index)
{
    struct sort *s = state;

    sort_put_element(c, s, s->places[index].index, NULL);
    c->reply->buf->failed |= s->no_memory;
}

static void sort_answer(struct cmd_context *c, struct sort *s)
{
    struct cmd_list stored;

    if (!s->has_store) {
        s->each = (struct cmd_each){s->start, s->end, sort_put_place};
        cmd_reply_array(c->reply, (s->end - s->start) *
                                      (s->gets > 0 ? s->gets : 1));
        cmd_answer_each(c, &s->each, sizeof(*s), sort_fini);
        return;
    }
    cmd_list_init(&stored);
    for (uint64_t i = s->start;
         i < s->end && !stored.bytes.failed && cmd_goes_on(c); i++) {
        sort_put_element(c, s, s->places[i].index, &stored);
    }
    if (s->no_memory) {
        cmd_fail_nomem(c);
    } else {
        sort_store(c, s, &stored);
    }
    cmd_list_fini(&stored);
}

/* ---- the commands ------------------------------------------------------- */

/* From the elements to the answer. */
static void sort_run(struct cmd_context *c, struct sort *s)
{
    if (!cmd_list_ok(c, &s->elements)) {
        return;
    }
    if (!s->keep_order && s->has_by && s->alpha) {
        sort_read_weights(c, s);
        if (!cmd_list_ok(c, &s->weights)) {
            return;
        }
    }
    if (cmd_reply_failed(c->reply) || !sort_places(c, s)) {
        return;
    }
    if (s->no_memory) {
        cmd_fail_nomem(c);
    } else {
        sort_answer(c, s);
    }
}

static void sort_begin(struct cmd_context *c, struct sort *s)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    uint64_t length = 0;
    bool found;

    if (!sort_options(c, s)) {
        return;
    }
    found = cmd_get(c, &key, &item);
    if (found && (item.type == KV_STRING || item.type == KV_HASH ||
                  item.type == KV_STREAM)) {
        cmd_fail_rc(c, KVSQL_WRONGTYPE);
        return;
    }
    if (found) {
        length = kv_item_length(&item);
        if (!s->has_store && cmd_defer(c, length)) {
            return;
        }
    }
    /* What is stored must not hang on the order inside a set. */
    if (s->keep_order && s->has_store && found && item.type == KV_SET) {
        s->keep_order = false;
        s->has_by = false;
        s->alpha = true;
    }
    sort_range(s, length);
    if (found) {
        sort_read(c, s, &item);
    }
    sort_run(c, s);
}

static void sort_command(struct cmd_context *c, bool read_only)
{
    struct sort s = {.read_only = read_only, .count = -1};

    cmd_list_init(&s.elements);
    cmd_list_init(&s.weights);
    kv_buf_init(&s.name, KV_MEM_CLIENT, KVSQL_KEY_MAX);
    sort_begin(c, &s);
    sort_fini(&s);
}

void cmd_do_sort(struct cmd_context *c)
{
    sort_command(c, false);
}

void cmd_do_sort_ro(struct cmd_context *c)
{
    sort_command(c, true);
}

/* c_scan.c - walking: KEYS, SCAN, HSCAN, SSCAN, ZSCAN.
 *
 * The keyspace is ordered, so a pattern with a literal beginning is a range:
 * KEYS and SCAN MATCH seek there and stop behind it. Keys of class TEXT come
 * before those of class BLOB, and both may begin with the same bytes, so a
 * range is two: the walk jumps from the end of one to the other.
 *
 * A cursor stands between the last name of a slice and the one behind it
 * (cursor.c).
 *
 * Thread: the caller's of cmd_run(). */
#include "command/cursor.h"

#include <string.h>

#include "kvsql/base/num.h"

#define SCAN_PREFIX_MAX 256 /* bytes of a literal beginning that are used */
#define SCAN_COUNT_DEFAULT 10
/* Collections up to this come whole, as in Redis the packed ones do. */
#define SCAN_WHOLE_MAX 128
/* Names that a slice may go on for to come out of a group (scan_stays). */
#define SCAN_GROUP_MAX 16384

/* ---- a range of keys ---------------------------------------------------- */

struct scan_walk {
    struct kv_keys keys;
    uint8_t prefix[SCAN_PREFIX_MAX];
    size_t prefix_size;
    bool in_blob; /* the BLOB half of the range has been entered */
    bool valid;
};

static bool scan_seek_prefix(struct scan_walk *w, enum kv_class cls)
{
    const struct kv_key key = {.p = w->prefix,
                               .size = (uint32_t)w->prefix_size,
                               .cls = (uint8_t)cls};

    return kv_keys_seek(&w->keys, &key, false);
}

/* Leave what does not begin with the prefix; sets valid. */
static void scan_settle(struct scan_walk *w)
{
    while (w->valid) {
        const struct kv_key *key = &w->keys.key;

        if (key->size >= w->prefix_size &&
            memcmp(key->p, w->prefix, w->prefix_size) == 0) {
            w->in_blob = key->cls == KV_BLOB;
            return;
        }
        if (w->in_blob) {
            w->valid = false;
            return;
        }
        w->in_blob = true;
        w->valid = scan_seek_prefix(w, KV_BLOB);
    }
}

/* Ready to walk; `match` may be NULL. */
static void scan_init(struct scan_walk *w, const struct kv_at *at,
                      const kvsql_slice *match)
{
    bool exact;

    kv_keys_init(&w->keys, at, 0);
    w->prefix_size = 0;
    w->in_blob = false;
    if (match != NULL) {
        w->prefix_size = kv_glob_prefix(match->p, match->size, w->prefix,
                                        sizeof(w->prefix), &exact);
    }
}

/* Begin at the start of the range. */
static void scan_first(struct scan_walk *w)
{
    w->valid = w->prefix_size > 0 ? scan_seek_prefix(w, KV_TEXT)
                                  : kv_keys_first(&w->keys);
    scan_settle(w);
}

/* Begin where a cursor stands, but not before the range. */
static void scan_resume(struct scan_walk *w, const struct kv_buf *name,
                        const struct cmd_place *place)
{
    const struct kv_key from = {.p = name->size > 0 ? name->p
                                                    : (const uint8_t *)"",
                                .size = (uint32_t)name->size,
                                .cls = place->cls};
    const struct kv_key start = {.p = w->prefix,
                                 .size = (uint32_t)w->prefix_size,
                                 .cls = place->cls};

    w->in_blob = place->cls == KV_BLOB;
    w->valid = kv_key_compare(&from, &start) < 0
                   ? kv_keys_seek(&w->keys, &start, false)
                   : kv_keys_seek(&w->keys, &from, place->behind);
    scan_settle(w);
}

static void scan_next(struct scan_walk *w)
{
    w->valid = kv_keys_next(&w->keys);
    scan_settle(w);
}

void cmd_do_keys(struct cmd_context *c)
{
    const kvsql_slice match = c->argv[1];
    struct scan_walk walk;
    uint64_t count = 0;
    size_t place;

    (void)cmd_wall(c); /* c->at is where to read */
    if (cmd_defer(c, kv_count_all(&c->at))) {
        return;
    }
    place = cmd_reply_begin(c->reply, CMD_REPLY_ARRAY);
    scan_init(&walk, &c->at, &match);
    for (scan_first(&walk); walk.valid && !c->reply->buf.failed;
         scan_next(&walk)) {
        const struct kv_key *key = &walk.keys.key;

        if (kv_glob_match(match.p, match.size, key->p, key->size, false)) {
            cmd_reply_bulk(c->reply, key->p, key->size);
            count++;
        }
    }
    cmd_reply_end(c->reply, place, count);
}

/* ---- options ------------------------------------------------------------ */

bool cmd_scan_cursor(struct cmd_context *c, unsigned index, uint64_t *cursor)
{
    if (kv_num_uint(c->argv[index].p, c->argv[index].size, cursor)) {
        return true;
    }
    cmd_fail(c, KVSQL_INVALID, "ERR invalid cursor");
    return false;
}

/* The mask of a type's name; a name that is none matches nothing. */
static unsigned scan_types(kvsql_slice name)
{
    for (enum kv_type type = KV_STRING; type <= KV_STREAM; type++) {
        const char *text = kv_type_name(type);
        char upper[16];
        size_t i = 0;

        for (; text[i] != '\0' && i + 1 < sizeof(upper); i++) {
            upper[i] = (char)(text[i] - 32);
        }
        upper[i] = '\0';
        if (cmd_word_is(name, upper)) {
            return 1u << type;
        }
    }
    return CMD_SCAN_NO_TYPE;
}

/* Options from argument `i` on. `type`: KV_NONE for SCAN. False: answered. */
static bool scan_options(struct cmd_context *c, unsigned i, enum kv_type type,
                         struct cmd_scan *scan)
{
    scan->count = SCAN_COUNT_DEFAULT;
    for (; i < c->argc; i++) {
        const bool more = i + 1 < c->argc;

        if (more && cmd_is(c, i, "COUNT")) {
            if (!cmd_int(c, ++i, &scan->count, NULL)) {
                return false;
            }
            if (scan->count < 1) {
                cmd_fail_syntax(c);
                return false;
            }
        } else if (more && cmd_is(c, i, "MATCH")) {
            scan->match = c->argv[++i];
            scan->has_match = true;
        } else if (more && type == KV_NONE && cmd_is(c, i, "TYPE")) {
            scan->types = scan_types(c->argv[++i]);
        } else if (type == KV_HASH && cmd_is(c, i, "NOVALUES")) {
            scan->no_values = true;
        } else {
            cmd_fail_syntax(c);
            return false;
        }
    }
    return true;
}

static bool scan_matches(const struct cmd_scan *scan, const uint8_t *p,
                         size_t size)
{
    return !scan->has_match ||
           kv_glob_match(scan->match.p, scan->match.size, p, size, false);
}

/* ---- answers ------------------------------------------------------------ */

/* Where a slice began and between which names it ended; `next` is NULL at the
 * end of all. */
struct scan_end {
    struct cmd_names names;
    struct kv_buf from; /* bytes of the place */
    struct cmd_place place;
    struct kv_buf last;
    const struct kv_key *next;
    int64_t extra; /* names more than COUNT */
};

static void scan_end_init(struct scan_end *end)
{
    kv_buf_init(&end->from, KV_MEM_CLIENT, CMD_CURSOR_NAME_MAX);
    kv_buf_init(&end->last, KV_MEM_CLIENT, CMD_CURSOR_NAME_MAX);
}

static void scan_end_fini(struct scan_end *end)
{
    kv_buf_fini(&end->from);
    kv_buf_fini(&end->last);
}

/* A slice whose cursor had lost its name began at the start of a group. Would
 * it end inside of the same, and again lose its name, the scan would stand
 * still; so it goes on, up to a limit. */
static bool scan_stays(struct scan_end *end, const struct kv_key *next,
                       int64_t count)
{
    const struct kv_key last = kv_key_of(end->last.p, end->last.size);

    if (!end->place.lost || end->last.failed ||
        end->extra >= SCAN_GROUP_MAX ||
        cmd_cursor_advances(&end->names, &last, next, &end->from,
                            &end->place)) {
        return false;
    }
    end->extra += count;
    kv_buf_reset(&end->last, end->last.cap);
    return true;
}

/* [cursor, [names ...]]. */
static void scan_answer(struct cmd_context *c, const struct cmd_list *names,
                        const struct scan_end *end)
{
    char text[KV_INT_TEXT_MAX];
    uint64_t cursor = 0;

    if (!cmd_list_ok(c, names)) {
        return;
    }
    if (end->next != NULL && !end->last.failed) {
        const struct kv_key last = kv_key_of(end->last.p, end->last.size);

        if (cmd_cursor_make(&end->names, &last, end->next, &cursor) !=
            KVSQL_OK) {
            cmd_fail_nomem(c);
            return;
        }
    }
    if (end->last.failed) {
        cmd_fail_nomem(c);
        return;
    }
    cmd_reply_array(c->reply, 2);
    cmd_reply_bulk(c->reply, text,
                   kv_num_format_int(text, (int64_t)cursor)); /* < 2^53 */
    cmd_reply_array(c->reply, names->count);
    for (uint64_t i = 0; i < names->count; i++) {
        const struct cmd_list_item item = cmd_list_at(names, i);

        cmd_reply_bulk(c->reply, item.p, item.size);
    }
}

static bool scan_seek_key(void *arg, const struct kv_key *key,
                          struct kv_key *found)
{
    struct kv_keys *keys = arg;

    if (!kv_keys_seek(keys, key, false)) {
        return false;
    }
    *found = keys->key;
    return true;
}

static bool scan_seek_key_back(void *arg, const struct kv_key *key,
                               struct kv_key *found)
{
    struct kv_keys *keys = arg;

    if (!(key != NULL ? kv_keys_seek_back(keys, key, true)
                      : kv_keys_last(keys))) {
        return false;
    }
    *found = keys->key;
    return true;
}

/* Place the walk where the cursor stands. False: answered. */
static bool scan_place(struct cmd_context *c, struct scan_walk *walk,
                       struct scan_end *end, uint64_t cursor)
{
    if (cursor == 0) {
        scan_first(walk);
        return true;
    }
    cmd_cursor_find(&end->names, cursor, &end->from, &end->place);
    if (end->from.failed) {
        cmd_fail_nomem(c);
        return false;
    }
    scan_resume(walk, &end->from, &end->place);
    return true;
}

/* Walk on and list what is asked for, until `count` keys were looked at. */
static void scan_slice(const struct cmd_scan *scan, struct scan_walk *walk,
                       struct cmd_list *names, struct scan_end *end)
{
    for (int64_t seen = 0; walk->valid; scan_next(walk)) {
        const struct kv_key *key = &walk->keys.key;

        if (seen == scan->count) {
            if (!scan_stays(end, key, scan->count)) {
                end->next = key;
                return;
            }
            seen = 0;
        }
        seen++;
        if (seen == scan->count) {
            kv_buf_add(&end->last, key->p, key->size);
        }
        if ((scan->types == 0 ||
             (scan->types & (1u << walk->keys.item.type)) != 0) &&
            scan_matches(scan, key->p, key->size)) {
            cmd_list_add(names, key->p, key->size, 0, 0);
        }
    }
}

void cmd_do_scan(struct cmd_context *c)
{
    struct cmd_scan scan = {0};
    struct scan_walk walk;
    struct kv_keys keys;
    struct cmd_list names;
    struct scan_end end = {.names = {.arg = &keys,
                                     .seek = scan_seek_key,
                                     .seek_back = scan_seek_key_back}};

    if (!cmd_scan_cursor(c, 1, &scan.cursor) ||
        !scan_options(c, 2, KV_NONE, &scan) ||
        cmd_defer(c, (uint64_t)scan.count)) {
        return;
    }
    (void)cmd_wall(c); /* c->at is where to read */
    kv_keys_init(&keys, &c->at, 0);
    scan_init(&walk, &c->at, scan.has_match ? &scan.match : NULL);
    end.names.prefix = walk.prefix;
    end.names.prefix_size = walk.prefix_size;
    cmd_list_init(&names);
    scan_end_init(&end);
    if (scan_place(c, &walk, &end, scan.cursor)) {
        scan_slice(&scan, &walk, &names, &end);
        scan_answer(c, &names, &end);
    }
    scan_end_fini(&end);
    cmd_list_fini(&names);
}

/* ---- elements ----------------------------------------------------------- */

static void scan_add_elem(struct cmd_list *names, const struct cmd_scan *scan,
                          const struct kv_elem *elem, enum kv_type type)
{
    char text[KV_DOUBLE_TEXT_MAX];

    cmd_list_add(names, elem->key.p, elem->key.size, 0, 0);
    if (type == KV_HASH && !scan->no_values) {
        cmd_list_add(names, elem->value.p, elem->value.size, 0, 0);
    } else if (type == KV_ZSET) {
        cmd_list_add(names, text, kv_num_format_double(text, elem->score), 0,
                     0);
    }
}

static struct kv_key scan_elem_key(const struct kv_elems *elems)
{
    const struct kv_val *key = &elems->elem.key;

    return (struct kv_key){.p = key->p, .size = key->size, .cls = key->cls};
}

static bool scan_seek_elem(void *arg, const struct kv_key *key,
                           struct kv_key *found)
{
    struct kv_elems *elems = arg;

    if (!kv_elems_seek_key(elems, key, false)) {
        return false;
    }
    *found = scan_elem_key(elems);
    return true;
}

static bool scan_seek_elem_back(void *arg, const struct kv_key *key,
                                struct kv_key *found)
{
    struct kv_elems *elems = arg;

    if (!(key != NULL ? kv_elems_seek_key_back(elems, key, true)
                      : kv_elems_last(elems))) {
        return false;
    }
    *found = scan_elem_key(elems);
    return true;
}

/* Place the walk where the cursor stands; *valid: something is there. False:
 * answered. */
static bool scan_place_elems(struct cmd_context *c, struct kv_elems *elems,
                             struct scan_end *end, uint64_t cursor,
                             bool *valid)
{
    struct kv_key key = {.p = (const uint8_t *)""};

    if (cursor == 0) {
        *valid = kv_elems_first(elems);
        return true;
    }
    cmd_cursor_find(&end->names, cursor, &end->from, &end->place);
    if (end->from.failed) {
        cmd_fail_nomem(c);
        return false;
    }
    key.cls = end->place.cls;
    if (end->from.size > 0) {
        key.p = end->from.p;
        key.size = (uint32_t)end->from.size;
    }
    *valid = kv_elems_seek_key(elems, &key, end->place.behind);
    return true;
}

/* Walk on from an element, until `count` were looked at. A slice does not
 * end behind a name that is too long for a cursor. */
static void scan_slice_elems(const struct cmd_scan *scan,
                             struct kv_elems *elems, bool valid,
                             struct cmd_list *names, struct scan_end *end,
                             struct kv_key *next)
{
    const bool whole = kv_item_length(&elems->item) <= SCAN_WHOLE_MAX;
    const struct kv_val *key = &elems->elem.key;
    bool full = false;

    for (int64_t seen = 1; valid; valid = kv_elems_next(elems), seen++) {
        if (full) {
            *next = scan_elem_key(elems);
            if (!scan_stays(end, next, scan->count)) {
                end->next = next;
                return;
            }
            seen = 1;
        }
        if (scan_matches(scan, key->p, key->size)) {
            scan_add_elem(names, scan, &elems->elem, elems->item.type);
        }
        full = !whole && seen >= scan->count &&
               key->size <= CMD_CURSOR_NAME_MAX;
        if (full) {
            kv_buf_add(&end->last, key->p, key->size);
        }
    }
}

/* One slice of a collection. */
static void scan_elems(struct cmd_context *c, const struct cmd_scan *scan,
                       const struct kv_item *item)
{
    struct kv_elems elems, groups;
    struct cmd_list names;
    struct kv_key next;
    struct scan_end end = {.names = {.arg = &groups,
                                     .seek = scan_seek_elem,
                                     .seek_back = scan_seek_elem_back}};
    bool valid;

    kv_elems_init(&groups, &c->at, item, KV_ELEMS_KEY);
    kv_elems_init(&elems, &c->at, item, KV_ELEMS_KEY);
    cmd_list_init(&names);
    scan_end_init(&end);
    if (scan_place_elems(c, &elems, &end, scan->cursor, &valid)) {
        scan_slice_elems(scan, &elems, valid, &names, &end, &next);
        scan_answer(c, &names, &end);
    }
    scan_end_fini(&end);
    cmd_list_fini(&names);
}

static void scan_collection(struct cmd_context *c, enum kv_type type)
{
    const struct kv_key key = cmd_key(c, 1);
    struct cmd_scan scan = {0};
    struct kv_item item;
    kvsql_rc rc;

    if (!cmd_scan_cursor(c, 2, &scan.cursor)) {
        return;
    }
    rc = cmd_get_type(c, &key, type, &item);
    if (rc == KVSQL_WRONGTYPE) {
        return;
    }
    if (rc == KVSQL_NOTFOUND) {
        cmd_reply_array(c->reply, 2);
        cmd_reply_text(c->reply, "0");
        cmd_reply_array(c->reply, 0);
        return;
    }
    if (!scan_options(c, 3, type, &scan)) {
        return;
    }
    scan_elems(c, &scan, &item);
}

void cmd_do_hscan(struct cmd_context *c)
{
    scan_collection(c, KV_HASH);
}

void cmd_do_sscan(struct cmd_context *c)
{
    scan_collection(c, KV_SET);
}

void cmd_do_zscan(struct cmd_context *c)
{
    scan_collection(c, KV_ZSET);
}

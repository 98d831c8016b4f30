/* c_scan.c - walking: KEYS, SCAN, HSCAN, SSCAN, ZSCAN.
 *
 * The keyspace is ordered, so a pattern with a literal beginning is a range:
 * KEYS and SCAN MATCH seek there and stop behind it. Keys of class TEXT come
 * before those of class BLOB, and both may begin with the same bytes, so a
 * range is two: the walk jumps from the end of one to the other.
 *
 * A cursor stands behind the last name of the slice before (cursor.c).
 *
 * Thread: the caller's of cmd_run(). */
#include "command/context.h"

#include <string.h>

#include "kvsql/base/num.h"

#define SCAN_PREFIX_MAX 256 /* bytes of a literal beginning that are used */
#define SCAN_COUNT_DEFAULT 10
/* Collections up to this come whole, as in Redis the packed ones do. */
#define SCAN_WHOLE_MAX 128

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

/* Begin behind `name`, or at the start of the range when it is NULL. `match`
 * may be NULL. */
static void scan_begin(struct scan_walk *w, const struct kv_at *at,
                       unsigned types, const kvsql_slice *match,
                       const struct kv_buf *name)
{
    bool exact;

    kv_keys_init(&w->keys, at, types);
    w->prefix_size = 0;
    w->in_blob = false;
    if (match != NULL) {
        w->prefix_size = kv_glob_prefix(match->p, match->size, w->prefix,
                                        sizeof(w->prefix), &exact);
    }
    if (name != NULL) {
        const struct kv_key key = kv_key_of(name->p, name->size);

        w->in_blob = key.cls == KV_BLOB;
        w->valid = kv_keys_seek(&w->keys, &key, true);
    } else if (w->prefix_size > 0) {
        w->valid = scan_seek_prefix(w, KV_TEXT);
    } else {
        w->valid = kv_keys_first(&w->keys);
    }
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
    scan_begin(&walk, &c->at, 0, &match, NULL);
    for (; walk.valid && !c->reply->buf.failed; scan_next(&walk)) {
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

/* [cursor, [names ...]]; `last` is NULL at the end of the scan. */
static void scan_answer(struct cmd_context *c, const struct cmd_list *names,
                        const struct kv_buf *last)
{
    char text[KV_INT_TEXT_MAX];
    uint64_t cursor = 0;

    if (!cmd_list_ok(c, names)) {
        return;
    }
    if (last != NULL &&
        (last->failed ||
         cmd_cursor_make(last->p, last->size, &cursor) != KVSQL_OK)) {
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

/* One slice of the keyspace: at most `count` keys are looked at. */
static void scan_keys(struct cmd_context *c, const struct cmd_scan *scan,
                      const struct kv_buf *from)
{
    struct scan_walk walk;
    struct cmd_list names;
    struct kv_buf last;
    bool more = false;

    cmd_list_init(&names);
    kv_buf_init(&last, KV_MEM_CLIENT, CMD_CURSOR_NAME_MAX);
    scan_begin(&walk, &c->at, 0, scan->has_match ? &scan->match : NULL, from);
    for (int64_t seen = 0; walk.valid; scan_next(&walk)) {
        const struct kv_key *key = &walk.keys.key;

        if (seen == scan->count) {
            more = true;
            break;
        }
        seen++;
        if (seen == scan->count) {
            kv_buf_add(&last, key->p, key->size);
        }
        if ((scan->types == 0 ||
             (scan->types & (1u << walk.keys.item.type)) != 0) &&
            scan_matches(scan, key->p, key->size)) {
            cmd_list_add(&names, key->p, key->size, 0, 0);
        }
    }
    scan_answer(c, &names, more ? &last : NULL);
    kv_buf_fini(&last);
    cmd_list_fini(&names);
}

void cmd_do_scan(struct cmd_context *c)
{
    struct cmd_scan scan = {0};
    struct kv_buf from;

    if (!cmd_scan_cursor(c, 1, &scan.cursor) ||
        !scan_options(c, 2, KV_NONE, &scan) ||
        cmd_defer(c, (uint64_t)scan.count)) {
        return;
    }
    (void)cmd_wall(c);
    kv_buf_init(&from, KV_MEM_CLIENT, CMD_CURSOR_NAME_MAX);
    if (scan.cursor == 0 || !cmd_cursor_find(scan.cursor, &from)) {
        scan_keys(c, &scan, NULL);
    } else if (from.failed) {
        cmd_fail_nomem(c);
    } else {
        scan_keys(c, &scan, &from);
    }
    kv_buf_fini(&from);
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

/* One slice of a collection. It does not end behind a name that is too long
 * for a cursor. */
static void scan_elems(struct cmd_context *c, const struct cmd_scan *scan,
                       const struct kv_item *item, const struct kv_buf *from)
{
    struct kv_elems elems;
    struct cmd_list names;
    struct kv_buf last;
    const bool whole = kv_item_length(item) <= SCAN_WHOLE_MAX;
    bool more = false, valid;

    cmd_list_init(&names);
    kv_buf_init(&last, KV_MEM_CLIENT, CMD_CURSOR_NAME_MAX);
    kv_elems_init(&elems, &c->at, item, KV_ELEMS_KEY);
    if (from != NULL) {
        const struct kv_key key = kv_key_of(from->p, from->size);

        valid = kv_elems_seek_key(&elems, &key, true);
    } else {
        valid = kv_elems_first(&elems);
    }
    for (int64_t seen = 0; valid; valid = kv_elems_next(&elems)) {
        const struct kv_val *key = &elems.elem.key;

        if (last.size > 0) {
            more = true;
            break;
        }
        seen++;
        if (scan_matches(scan, key->p, key->size)) {
            scan_add_elem(&names, scan, &elems.elem, item->type);
        }
        if (!whole && seen >= scan->count && key->size > 0 &&
            key->size <= CMD_CURSOR_NAME_MAX) {
            kv_buf_add(&last, key->p, key->size);
            more = last.failed;
            if (more) {
                break;
            }
        }
    }
    scan_answer(c, &names, more ? &last : NULL);
    kv_buf_fini(&last);
    cmd_list_fini(&names);
}

static void scan_collection(struct cmd_context *c, enum kv_type type)
{
    const struct kv_key key = cmd_key(c, 1);
    struct cmd_scan scan = {0};
    struct kv_item item;
    struct kv_buf from;
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
    kv_buf_init(&from, KV_MEM_CLIENT, CMD_CURSOR_NAME_MAX);
    if (scan.cursor == 0 || !cmd_cursor_find(scan.cursor, &from)) {
        scan_elems(c, &scan, &item, NULL);
    } else if (from.failed) {
        cmd_fail_nomem(c);
    } else {
        scan_elems(c, &scan, &item, &from);
    }
    kv_buf_fini(&from);
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

/* c_scan.c - walking: KEYS, SCAN, HSCAN, SSCAN, ZSCAN.
 *
 * Keys, fields and members are in order, so a pattern with a literal beginning
 * is a range: KEYS and SCAN MATCH seek there and stop behind it. Names of class
 * TEXT come before those of class BLOB, and both may begin with the same bytes,
 * so a range is two: the walk jumps from the end of one to the other.
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

/* ---- a range of names --------------------------------------------------- */

struct scan_walk {
    struct kv_keys *keys; /* one of the two, the other is NULL */
    struct kv_elems *elems;
    struct kv_key name; /* the current one, until the walk moves */
    uint8_t prefix[SCAN_PREFIX_MAX];
    size_t prefix_size;
    bool in_blob; /* the BLOB half of the range has been entered */
    bool valid;
};

/* The walk stands on a name, or with `valid` false on none. */
static void scan_stand(struct scan_walk *w, bool valid)
{
    w->valid = valid;
    if (valid && w->keys != NULL) {
        w->name = w->keys->key;
    } else if (valid) {
        const struct kv_val *key = &w->elems->elem.key;

        w->name = (struct kv_key){.p = key->p, .size = key->size,
                                  .cls = key->cls};
    }
}

static void scan_seek(struct scan_walk *w, const struct kv_key *key,
                      bool behind)
{
    scan_stand(w, w->keys != NULL ? kv_keys_seek(w->keys, key, behind)
                                  : kv_elems_seek_key(w->elems, key, behind));
}

static struct kv_key scan_start(const struct scan_walk *w, enum kv_class cls)
{
    return (struct kv_key){.p = w->prefix,
                           .size = (uint32_t)w->prefix_size,
                           .cls = (uint8_t)cls};
}

/* Leave what does not begin with the prefix. */
static void scan_settle(struct scan_walk *w)
{
    while (w->valid) {
        const struct kv_key blob = scan_start(w, KV_BLOB);

        if (w->name.size >= w->prefix_size &&
            memcmp(w->name.p, w->prefix, w->prefix_size) == 0) {
            w->in_blob = w->name.cls == KV_BLOB;
            return;
        }
        if (w->in_blob) {
            w->valid = false;
            return;
        }
        w->in_blob = true;
        scan_seek(w, &blob, false);
    }
}

/* Ready to walk; the one of keys and elems that is not NULL is ready, too.
 * `match` may be NULL. */
static void scan_init(struct scan_walk *w, struct kv_keys *keys,
                      struct kv_elems *elems, const kvsql_slice *match)
{
    bool exact;

    w->keys = keys;
    w->elems = elems;
    w->prefix_size = 0;
    w->in_blob = false;
    w->valid = false;
    if (match != NULL) {
        w->prefix_size = kv_glob_prefix(match->p, match->size, w->prefix,
                                        sizeof(w->prefix), &exact);
    }
}

/* Begin at the start of the range. */
static void scan_first(struct scan_walk *w)
{
    const struct kv_key start = scan_start(w, KV_TEXT);

    scan_seek(w, &start, false);
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
    const struct kv_key start = scan_start(w, (enum kv_class)place->cls);

    w->in_blob = place->cls == KV_BLOB;
    if (kv_key_compare(&from, &start) < 0) {
        scan_seek(w, &start, false);
    } else {
        scan_seek(w, &from, place->behind);
    }
    scan_settle(w);
}

static void scan_next(struct scan_walk *w)
{
    scan_stand(w, w->keys != NULL ? kv_keys_next(w->keys)
                                  : kv_elems_next(w->elems));
    scan_settle(w);
}

/* A walk as names to look up (cursor.h); it is not the one that goes on. */
static bool scan_find(void *arg, const struct kv_key *key,
                      struct kv_key *found)
{
    struct scan_walk *w = arg;

    scan_seek(w, key, false);
    *found = w->name;
    return w->valid;
}

static bool scan_find_back(void *arg, const struct kv_key *key,
                           struct kv_key *found)
{
    struct scan_walk *w = arg;

    if (w->keys != NULL) {
        scan_stand(w, key != NULL ? kv_keys_seek_back(w->keys, key, true)
                                  : kv_keys_last(w->keys));
    } else {
        scan_stand(w, key != NULL
                          ? kv_elems_seek_key_back(w->elems, key, true)
                          : kv_elems_last(w->elems));
    }
    *found = w->name;
    return w->valid;
}

/* KEYS, and where it stands. */
struct scan_keys {
    struct kv_keys keys;
    struct scan_walk walk;
    kvsql_slice match;
    size_t place;   /* of the header, until */
    bool counted;   /* ... it says how many there are */
    uint64_t count; /* so far */
};

static void scan_keys_first(struct cmd_context *c, struct scan_keys *s)
{
    s->match = c->argv[1];
    kv_keys_init(&s->keys, &c->at, 0);
    scan_init(&s->walk, &s->keys, NULL, &s->match);
    scan_first(&s->walk);
}

static bool scan_keys_match(const struct scan_keys *s)
{
    const struct kv_key *key = &s->walk.name;

    return kv_glob_match(s->match.p, s->match.size, key->p, key->size, false);
}

/* A walk of its own over all of it. */
static uint64_t scan_keys_count(struct cmd_context *c)
{
    struct scan_keys s = {.count = 0};

    for (scan_keys_first(c, &s); s.walk.valid && cmd_goes_on(c);
         scan_next(&s.walk)) {
        s.count += scan_keys_match(&s);
    }
    return s.count;
}

/* How many there are is known when the walk is over; when a slice is full
 * before, the rest is counted first. */
static bool scan_keys_more(struct cmd_context *c, void *state)
{
    struct scan_keys *s = state;

    while (s->walk.valid && cmd_slice_room(c)) {
        if (scan_keys_match(s)) {
            cmd_reply_bulk(c->reply, s->walk.name.p, s->walk.name.size);
            s->count++;
        }
        scan_next(&s->walk);
    }
    if (!s->counted) {
        cmd_reply_end(c->reply, s->place,
                      s->walk.valid ? scan_keys_count(c) : s->count);
        s->counted = true;
    }
    return !s->walk.valid;
}

void cmd_do_keys(struct cmd_context *c)
{
    struct scan_keys whole, *s = &whole;

    (void)cmd_wall(c); /* c->at is where to read */
    if (cmd_defer(c, kv_count_all(&c->at))) {
        return;
    }
    if (c->slice != NULL) {
        s = cmd_slice_new(c, sizeof(*s));
        if (s == NULL) {
            return;
        }
    }
    s->count = 0;
    s->counted = false;
    s->place = cmd_reply_begin(c->reply, CMD_REPLY_ARRAY);
    scan_keys_first(c, s);
    if (c->slice != NULL) {
        cmd_slice_run(c, scan_keys_more);
    } else {
        (void)scan_keys_more(c, s);
    }
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
        } else if (type == KV_NONE && cmd_is(c, i, "WITHTYPE")) {
            scan->with_type = true;
        } else if (type == KV_HASH && cmd_is(c, i, "NOVALUES")) {
            scan->no_values = true;
        } else {
            cmd_fail_syntax(c);
            return false;
        }
    }
    return true;
}

/* ---- a slice ------------------------------------------------------------ */

/* One slice of a scan: where it begins, what it lists, between which names it
 * ends. */
struct scan_slice {
    struct scan_walk walk, finder;
    struct cmd_names order; /* through the finder */
    struct kv_buf from;     /* bytes of the place of the cursor */
    struct cmd_place place;
    struct cmd_list listed;
    struct kv_buf last; /* name that was looked at last; then comes the walk's */
    bool whole;         /* no end before that of the names */
    bool more;
    int64_t extra; /* names more than COUNT */
};

/* `walk` and `finder` are ready but for the pattern. */
static void scan_slice_init(struct scan_slice *s, const struct cmd_scan *scan)
{
    const kvsql_slice *match = scan->has_match ? &scan->match : NULL;

    scan_init(&s->walk, s->walk.keys, s->walk.elems, match);
    s->order = (struct cmd_names){.arg = &s->finder,
                                  .seek = scan_find,
                                  .seek_back = scan_find_back,
                                  .prefix = s->walk.prefix,
                                  .prefix_size = s->walk.prefix_size};
    kv_buf_init(&s->from, KV_MEM_CLIENT, CMD_CURSOR_NAME_MAX);
    kv_buf_init(&s->last, KV_MEM_CLIENT, CMD_CURSOR_NAME_MAX);
    cmd_list_init(&s->listed);
}

static void scan_slice_fini(struct scan_slice *s)
{
    kv_buf_fini(&s->from);
    kv_buf_fini(&s->last);
    cmd_list_fini(&s->listed);
}

/* Place the walk where the cursor stands. False: no memory. */
static bool scan_place(struct scan_slice *s, uint64_t cursor)
{
    if (cursor == 0) {
        scan_first(&s->walk);
        return true;
    }
    cmd_cursor_find(&s->order, cursor, &s->from, &s->place);
    if (s->from.failed) {
        return false;
    }
    scan_resume(&s->walk, &s->from, &s->place);
    return true;
}

/* A slice whose cursor had lost its name may begin at the start of a group. Would
 * it end inside, a later cursor that loses its name could lead back there, and
 * the scan turn in a circle; so it goes on to the end of the group, up to a
 * limit. */
static bool scan_stays(struct scan_slice *s, int64_t count)
{
    const struct kv_key *name = &s->walk.name;

    if (!s->place.group || s->last.failed || s->extra >= SCAN_GROUP_MAX ||
        name->cls != s->place.cls || name->size < s->from.size ||
        (s->from.size > 0 &&
         memcmp(name->p, s->from.p, s->from.size) != 0)) {
        return false;
    }
    s->extra += count;
    kv_buf_reset(&s->last, s->last.cap);
    return true;
}

/* List the name that the walk stands on, if it is asked for, with what belongs
 * to it. */
static void scan_list(struct scan_slice *s, const struct cmd_scan *scan)
{
    const struct scan_walk *w = &s->walk;
    char text[KV_DOUBLE_TEXT_MAX];

    if (w->keys != NULL && scan->types != 0 &&
        (scan->types & (1u << w->keys->item.type)) == 0) {
        return;
    }
    if (scan->has_match && !kv_glob_match(scan->match.p, scan->match.size,
                                          w->name.p, w->name.size, false)) {
        return;
    }
    cmd_list_add(&s->listed, w->name.p, w->name.size, 0, 0);
    if (w->elems == NULL) {
        if (scan->with_type) {
            const char *type = kv_type_name(w->keys->item.type);

            cmd_list_add(&s->listed, type, strlen(type), 0, 0);
        }
        return;
    }
    if (w->elems->item.type == KV_HASH && !scan->no_values) {
        const struct kv_val *value = &w->elems->elem.value;

        cmd_list_add(&s->listed, value->p, value->size, 0, 0);
    } else if (w->elems->item.type == KV_ZSET) {
        cmd_list_add(&s->listed, text,
                     kv_num_format_double(text, w->elems->elem.score), 0, 0);
    }
}

/* Walk on until COUNT names were looked at. A slice does not end behind a name
 * that is too long for a cursor. */
static void scan_run(struct scan_slice *s, const struct cmd_scan *scan)
{
    bool full = false;

    for (int64_t seen = 1; s->walk.valid; scan_next(&s->walk), seen++) {
        if (full) {
            s->more = !scan_stays(s, scan->count);
            if (s->more) {
                return;
            }
            seen = 1;
        }
        scan_list(s, scan);
        full = !s->whole && seen >= scan->count &&
               s->walk.name.size <= CMD_CURSOR_NAME_MAX;
        if (full) {
            kv_buf_add(&s->last, s->walk.name.p, s->walk.name.size);
        }
    }
}

/* [cursor, [names ...]]. */
static void scan_answer(struct cmd_context *c, const struct scan_slice *s)
{
    char text[KV_INT_TEXT_MAX];
    uint64_t cursor = 0;
    kvsql_rc rc = s->last.failed ? KVSQL_NOMEM : KVSQL_OK;

    if (!cmd_list_ok(c, &s->listed)) {
        return;
    }
    if (rc == KVSQL_OK && s->more) {
        const struct kv_key last = kv_key_of(s->last.p, s->last.size);

        rc = cmd_cursor_make(&s->order, &last, &s->walk.name, &cursor);
    }
    if (rc != KVSQL_OK) {
        cmd_fail_nomem(c);
        return;
    }
    cmd_reply_array(c->reply, 2);
    cmd_reply_bulk(c->reply, text,
                   kv_num_format_int(text, (int64_t)cursor)); /* < 2^53 */
    cmd_reply_array(c->reply, s->listed.count);
    for (uint64_t i = 0; i < s->listed.count; i++) {
        const struct cmd_list_item item = cmd_list_at(&s->listed, i);

        cmd_reply_bulk(c->reply, item.p, item.size);
    }
}

/* The slice from the cursor on, and the answer. */
static void scan_slice(struct cmd_context *c, const struct cmd_scan *scan,
                       struct scan_slice *s)
{
    scan_slice_init(s, scan);
    if (scan_place(s, scan->cursor)) {
        scan_run(s, scan);
        scan_answer(c, s);
    } else {
        cmd_fail_nomem(c);
    }
    scan_slice_fini(s);
}

/* ---- the commands ------------------------------------------------------- */

void cmd_do_scan(struct cmd_context *c)
{
    struct cmd_scan scan = {0};
    struct kv_keys keys, found;
    struct scan_slice s = {.walk = {.keys = &keys},
                           .finder = {.keys = &found}};

    if (!cmd_scan_cursor(c, 1, &scan.cursor) ||
        !scan_options(c, 2, KV_NONE, &scan) ||
        cmd_defer(c, (uint64_t)scan.count)) {
        return;
    }
    (void)cmd_wall(c); /* c->at is where to read */
    kv_keys_init(&keys, &c->at, 0);
    kv_keys_init(&found, &c->at, 0);
    scan_slice(c, &scan, &s);
}

static void scan_collection(struct cmd_context *c, enum kv_type type)
{
    const struct kv_key key = cmd_key(c, 1);
    struct cmd_scan scan = {0};
    struct kv_elems elems, found;
    struct scan_slice s = {.walk = {.elems = &elems},
                           .finder = {.elems = &found}};
    struct kv_item item;
    uint64_t length;
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
    length = kv_item_length(&item);
    s.whole = length <= SCAN_WHOLE_MAX;
    if (cmd_defer(c, (uint64_t)scan.count < length ? (uint64_t)scan.count
                                                   : length)) {
        return;
    }
    kv_elems_init(&elems, &c->at, &item, KV_ELEMS_KEY);
    kv_elems_init(&found, &c->at, &item, KV_ELEMS_KEY);
    scan_slice(c, &scan, &s);
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

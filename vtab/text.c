/* text.c - SQLite's text functions without their traps (reliability section
 * 11): LIKE and GLOB that do not recurse, instr, replace and trim that are
 * linear. The results are SQLite's own.
 *
 * Bytes are read as SQLite reads them: up to a NUL, characters by the rule that
 * a byte 10xxxxxx belongs to the one before it.
 *
 * Thread: the session's. */
#include "vtab/state.h"

#include <stdlib.h>
#include <string.h>

#define VTEXT_CHECK_EVERY 65536 /* steps between looks at the clock */
#define VTEXT_TRIM_MAX 4096     /* characters in the set of a trim */

/* ---- patterns ------------------------------------------------------------------- */

struct vtext_match {
    struct vt_session *session;
    const uint8_t *p, *p_end;  /* pattern, at the next item */
    const uint8_t *t, *t_end;  /* text */
    uint32_t any, one, escape; /* wildcards; 0 = none */
    bool fold, sets;           /* LIKE folds ASCII case; GLOB has [...] */
    bool bad;                  /* the pattern can match nothing */
    unsigned steps;
    bool *stop;
};

/* Length up to a NUL. */
static size_t vtext_size(const uint8_t *p, size_t size)
{
    const uint8_t *nul = size > 0 ? memchr(p, 0, size) : NULL;

    return nul != NULL ? (size_t)(nul - p) : size;
}

/* The character at *p, SQLite's way; steps over it. */
static uint32_t vtext_char(const uint8_t **p, const uint8_t *end)
{
    uint32_t c = *(*p)++;

    if (c < 0xc0) return c;
    c = c < 0xe0 ? c & 0x1f : c < 0xf0 ? c & 0x0f : c & 0x07;
    while (*p < end && (**p & 0xc0) == 0x80) c = c << 6 | (*(*p)++ & 0x3f);
    if (c < 0x80 || (c & 0xFFFFF800) == 0xD800 || (c & 0xFFFFFFFE) == 0xFFFE)
        c = 0xFFFD;
    return c;
}

static uint32_t vtext_fold(const struct vtext_match *m, uint32_t c)
{
    return m->fold && c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

/* The set behind '[': steps m->p over it; whether c is in it. */
static bool vtext_set(struct vtext_match *m, uint32_t c)
{
    bool seen = false, invert = false;
    uint32_t prior = 0, d;

    if (m->p < m->p_end && *m->p == '^') {
        invert = true;
        m->p++;
    }
    if (m->p < m->p_end && *m->p == ']') {
        seen = c == ']';
        m->p++;
    }
    while (m->p < m->p_end) {
        d = vtext_char(&m->p, m->p_end);
        if (d == ']') return seen != invert;
        if (d == '-' && m->p < m->p_end && *m->p != ']' && prior > 0) {
            d = vtext_char(&m->p, m->p_end);
            if (c >= prior && c <= d) seen = true;
            prior = 0;
        } else {
            if (c == d) seen = true;
            prior = d;
        }
    }
    m->bad = true; /* no ']' */
    return false;
}

/* Match one item that is no '*' against one character; steps over both. */
static bool vtext_item(struct vtext_match *m)
{
    uint32_t c, t;

    c = vtext_char(&m->p, m->p_end);
    if (c == m->one && m->one != 0 && m->one != m->escape) {
        (void)vtext_char(&m->t, m->t_end);
        return true;
    }
    t = vtext_char(&m->t, m->t_end);
    if (m->sets && c == '[') return vtext_set(m, t);
    if (m->escape != 0 && c == m->escape) {
        if (m->p == m->p_end) {
            m->bad = true; /* nothing to escape */
            return false;
        }
        c = vtext_char(&m->p, m->p_end);
    }
    return vtext_fold(m, c) == vtext_fold(m, t);
}

static bool vtext_stopped(struct vtext_match *m)
{
    if (++m->steps % VTEXT_CHECK_EVERY != 0 || !vt_cancelled(m->session))
        return false;
    *m->stop = true;
    return true;
}

/* What is left of the pattern matches the empty text? */
static bool vtext_rest(const struct vtext_match *m)
{
    const uint8_t *p = m->p;

    while (p < m->p_end)
        if (vtext_char(&p, m->p_end) != m->any || m->any == 0) return false;
    return true;
}

/* One '*' is remembered: what was matched behind an earlier one stays, because
 * items have a fixed length of one character. */
static bool vtext_run(struct vtext_match *m)
{
    const uint8_t *star = NULL, *from = NULL;

    while (m->t < m->t_end) {
        const uint8_t *p = m->p;
        if (vtext_stopped(m)) return false;
        if (p < m->p_end && m->any != 0 && vtext_char(&p, m->p_end) == m->any) {
            star = m->p = p;
            from = m->t;
            continue;
        }
        if (m->p < m->p_end && vtext_item(m)) continue;
        if (m->bad || star == NULL) return false;
        m->p = star;
        (void)vtext_char(&from, m->t_end);
        m->t = from;
    }
    return vtext_rest(m);
}

bool vt_glob(struct vt_session *session, const uint8_t *pattern,
             size_t pattern_size, const uint8_t *text, size_t size, bool *stop)
{
    struct vtext_match m = {.session = session, .p = pattern, .t = text,
                           .any = '*', .one = '?', .sets = true,
                           .stop = stop};

    m.p_end = pattern + vtext_size(pattern, pattern_size);
    m.t_end = text + vtext_size(text, size);
    return vtext_run(&m);
}

bool vt_like(struct vt_session *session, const uint8_t *pattern,
             size_t pattern_size, const uint8_t *text, size_t size,
             uint32_t escape, bool *stop)
{
    struct vtext_match m = {.session = session, .p = pattern, .t = text,
                           .any = escape == '%' ? 0 : '%',
                           .one = escape == '_' ? 0 : '_', .escape = escape,
                           .fold = true, .stop = stop};

    m.p_end = pattern + vtext_size(pattern, pattern_size);
    m.t_end = text + vtext_size(text, size);
    return vtext_run(&m);
}

/* The bytes of an argument as text. */
static const uint8_t *vtext_value(sqlite3_value *value, size_t *size)
{
    const uint8_t *p;

    if (sqlite3_value_type(value) != SQLITE_TEXT &&
        sqlite3_value_type(value) != SQLITE_BLOB) {
        p = sqlite3_value_text(value);
        *size = (size_t)sqlite3_value_bytes(value);
        return p != NULL ? p : (const uint8_t *)"";
    }
    *size = (size_t)sqlite3_value_bytes(value);
    p = sqlite3_value_blob(value);
    if (p != NULL) return p;
    *size = 0; /* a zeroblob without memory: the statement will say so */
    return (const uint8_t *)"";
}

static struct vt_session *vtext_session(sqlite3_context *context)
{
    return (struct vt_session *)sqlite3_user_data(context);
}

/* glob(pattern, text), like(pattern, text [, escape]): X LIKE Y is like(Y,X).
 * BLOBs match nothing, as in Debian's build. */
static void vtext_match_call(sqlite3_context *context, int argc,
                            sqlite3_value **argv, bool glob)
{
    struct vt_session *session = vtext_session(context);
    int limit = sqlite3_limit(session->sql, SQLITE_LIMIT_LIKE_PATTERN_LENGTH,
                              -1);
    size_t p_size, t_size, e_size = 0;
    const uint8_t *p, *t, *e;
    uint32_t escape = 0;
    bool stop = false, match;

    if (sqlite3_value_type(argv[0]) == SQLITE_BLOB ||
        sqlite3_value_type(argv[1]) == SQLITE_BLOB) {
        sqlite3_result_int(context, 0);
        return;
    }
    if (sqlite3_value_bytes(argv[0]) > limit) {
        sqlite3_result_error(context, "LIKE or GLOB pattern too complex", -1);
        return;
    }
    if (argc == 3) {
        if (sqlite3_value_type(argv[2]) == SQLITE_NULL) return;
        e = vtext_value(argv[2], &e_size);
        e_size = vtext_size(e, e_size);
        t = e;
        if (e_size > 0) escape = vtext_char(&t, e + e_size);
        if (e_size == 0 || t != e + e_size) {
            sqlite3_result_error(
                context, "ESCAPE expression must be a single character", -1);
            return;
        }
    }
    if (sqlite3_value_type(argv[0]) == SQLITE_NULL ||
        sqlite3_value_type(argv[1]) == SQLITE_NULL)
        return;
    p = vtext_value(argv[0], &p_size);
    t = vtext_value(argv[1], &t_size);
    match = glob ? vt_glob(session, p, p_size, t, t_size, &stop)
                 : vt_like(session, p, p_size, t, t_size, escape, &stop);
    if (stop)
        sqlite3_result_error_code(context, SQLITE_INTERRUPT);
    else
        sqlite3_result_int(context, match);
}

static void vtext_glob(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    vtext_match_call(context, argc, argv, true);
}

static void vtext_like(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    vtext_match_call(context, argc, argv, false);
}

/* ---- instr and replace ------------------------------------------------------------ */

/* 1 + characters (bytes of a BLOB) before the needle, 0 when it is not there.
 * In TEXT a needle that begins inside a character is found at the start only. */
static void vtext_instr(sqlite3_context *context, int argc,
                       sqlite3_value **argv)
{
    size_t size, needle_size, n = 1;
    const uint8_t *hay, *needle, *found;
    bool blob;

    (void)argc;
    if (sqlite3_value_type(argv[0]) == SQLITE_NULL ||
        sqlite3_value_type(argv[1]) == SQLITE_NULL)
        return;
    blob = sqlite3_value_type(argv[0]) == SQLITE_BLOB &&
           sqlite3_value_type(argv[1]) == SQLITE_BLOB;
    hay = vtext_value(argv[0], &size);
    needle = vtext_value(argv[1], &needle_size);
    if (needle_size == 0) {
        sqlite3_result_int(context, 1);
        return;
    }
    if (!blob && (needle[0] & 0xc0) == 0x80)
        found = size >= needle_size && memcmp(hay, needle, needle_size) == 0
                    ? hay
                    : NULL;
    else
        found = memmem(hay, size, needle, needle_size);
    if (found == NULL) {
        sqlite3_result_int(context, 0);
        return;
    }
    if (blob)
        n += (size_t)(found - hay);
    else
        for (const uint8_t *p = hay + 1; p <= found; p++)
            n += (*p & 0xc0) != 0x80;
    sqlite3_result_int64(context, (sqlite3_int64)n);
}

/* Copy `text` with each `what` as `with`; *size is the length of the result.
 * NULL with *too_big, or no memory. */
static char *vtext_replaced(const uint8_t *text, size_t vtext_bytes,
                           const uint8_t *what, size_t what_size,
                           const uint8_t *with, size_t with_size,
                           size_t size_max, size_t *size, bool *too_big)
{
    const uint8_t *end = text + vtext_bytes, *p = text, *found;
    size_t count = 0;
    char *out, *place;

    for (; (found = memmem(p, (size_t)(end - p), what, what_size)) != NULL;
         p = found + what_size)
        count++;
    *size = vtext_bytes - count * what_size + count * with_size;
    *too_big = *size > size_max;
    out = *too_big ? NULL : sqlite3_malloc64(*size + 1);
    if (out == NULL) return NULL;
    place = out;
    for (p = text;
         (found = memmem(p, (size_t)(end - p), what, what_size)) != NULL;
         p = found + what_size) {
        memcpy(place, p, (size_t)(found - p));
        place += found - p;
        memcpy(place, with, with_size);
        place += with_size;
    }
    memcpy(place, p, (size_t)(end - p));
    out[*size] = 0;
    return out;
}

static void vtext_replace(sqlite3_context *context, int argc,
                         sqlite3_value **argv)
{
    struct vt_session *session = vtext_session(context);
    size_t max = (size_t)sqlite3_limit(session->sql, SQLITE_LIMIT_LENGTH, -1);
    size_t size, what_size, with_size, n;
    const uint8_t *text, *what, *with;
    bool too_big;
    char *out;

    (void)argc;
    if (sqlite3_value_type(argv[0]) == SQLITE_NULL ||
        sqlite3_value_type(argv[1]) == SQLITE_NULL)
        return;
    text = vtext_value(argv[0], &size);
    what = vtext_value(argv[1], &what_size);
    if (vtext_size(what, what_size) == 0) {
        sqlite3_result_value(context, argv[0]);
        return;
    }
    if (sqlite3_value_type(argv[2]) == SQLITE_NULL) return;
    with = vtext_value(argv[2], &with_size);
    out = vtext_replaced(text, size, what, what_size, with, with_size, max, &n,
                        &too_big);
    if (out != NULL)
        sqlite3_result_text64(context, out, n, sqlite3_free, SQLITE_UTF8);
    else if (too_big)
        sqlite3_result_error_toobig(context);
    else
        sqlite3_result_error_nomem(context);
}

/* ---- trim ----------------------------------------------------------------------------- */

/* Characters to trim: single bytes in a map, longer ones sorted. */
struct vtext_trim {
    bool byte[256];
    struct kv_key *chars;
    unsigned count;
};

static int vtext_trim_compare(const void *a, const void *b)
{
    return kv_key_compare((const struct kv_key *)a, (const struct kv_key *)b);
}

/* SQLite's character of a trim set: one byte and its followers. */
static size_t vtext_trim_char(const uint8_t *p, const uint8_t *end)
{
    size_t n = 1;

    if (p[0] >= 0xc0)
        while (p + n < end && (p[n] & 0xc0) == 0x80) n++;
    return n;
}

/* False: no memory; *many: too many characters. */
static bool vtext_trim_set(struct vtext_trim *set, const uint8_t *p, size_t size,
                          bool *many)
{
    const uint8_t *end = p + size;
    unsigned count = 0;

    memset(set, 0, sizeof(*set));
    set->chars = sqlite3_malloc64((VTEXT_TRIM_MAX + 1) * sizeof(*set->chars));
    if (set->chars == NULL) return false;
    while (p < end && count++ < VTEXT_TRIM_MAX) {
        size_t n = vtext_trim_char(p, end);
        if (n == 1)
            set->byte[*p] = true;
        else
            set->chars[set->count++] =
                (struct kv_key){p, (uint32_t)n, KV_TEXT};
        p += n;
    }
    *many = p < end;
    qsort(set->chars, set->count, sizeof(*set->chars), vtext_trim_compare);
    return true;
}

static bool vtext_trim_has(const struct vtext_trim *set, const uint8_t *p,
                          size_t n)
{
    struct kv_key key = {p, (uint32_t)n, KV_TEXT};

    return bsearch(&key, set->chars, set->count, sizeof(key),
                   vtext_trim_compare) != NULL;
}

/* Bytes of the set's character that the text begins with, or 0. */
static size_t vtext_trim_left(const struct vtext_trim *set, const uint8_t *p,
                             const uint8_t *end)
{
    size_t n;

    if (set->byte[*p]) return 1;
    n = vtext_trim_char(p, end);
    for (; n > 1; n--)
        if (vtext_trim_has(set, p, n)) return n;
    return 0;
}

static size_t vtext_trim_right(const struct vtext_trim *set, const uint8_t *p,
                              const uint8_t *end)
{
    size_t n;

    if (set->byte[end[-1]]) return 1;
    for (n = 2; n <= 4 && (size_t)(end - p) >= n; n++)
        if (vtext_trim_has(set, end - n, n)) return n;
    return 0;
}

/* flags: 1 left, 2 right. */
static void vtext_trim_call(sqlite3_context *context, int argc,
                           sqlite3_value **argv, int flags)
{
    struct vtext_trim set;
    const uint8_t *p, *end, *chars = (const uint8_t *)" ";
    size_t size, chars_size = 1, n;
    bool many = false;

    if (sqlite3_value_type(argv[0]) == SQLITE_NULL) return;
    if (argc == 2 && sqlite3_value_type(argv[1]) == SQLITE_NULL) return;
    p = vtext_value(argv[0], &size);
    if (argc == 2) chars = vtext_value(argv[1], &chars_size);
    chars_size = vtext_size(chars, chars_size);
    if (!vtext_trim_set(&set, chars, chars_size, &many)) {
        sqlite3_result_error_nomem(context);
        return;
    }
    if (many) {
        sqlite3_free(set.chars);
        sqlite3_result_error(context, "trim: more than 4096 characters to "
                                      "remove", -1);
        return;
    }
    end = p + size;
    if (flags & 1)
        while (p < end && (n = vtext_trim_left(&set, p, end)) > 0) p += n;
    if (flags & 2)
        while (p < end && (n = vtext_trim_right(&set, p, end)) > 0) end -= n;
    sqlite3_free(set.chars);
    sqlite3_result_text64(context, (const char *)p, (size_t)(end - p),
                          SQLITE_TRANSIENT, SQLITE_UTF8);
}

static void vtext_trim(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    vtext_trim_call(context, argc, argv, 3);
}

static void vtext_ltrim(sqlite3_context *context, int argc,
                       sqlite3_value **argv)
{
    vtext_trim_call(context, argc, argv, 1);
}

static void vtext_rtrim(sqlite3_context *context, int argc,
                       sqlite3_value **argv)
{
    vtext_trim_call(context, argc, argv, 2);
}

int vt_text_register(struct vt_session *session)
{
    static const struct {
        const char *name;
        int args;
        void (*call)(sqlite3_context *, int, sqlite3_value **);
    } functions[] = {
        {"glob", 2, vtext_glob},   {"like", 2, vtext_like},
        {"like", 3, vtext_like},   {"instr", 2, vtext_instr},
        {"replace", 3, vtext_replace},
        {"trim", 1, vtext_trim},   {"trim", 2, vtext_trim},
        {"ltrim", 1, vtext_ltrim}, {"ltrim", 2, vtext_ltrim},
        {"rtrim", 1, vtext_rtrim}, {"rtrim", 2, vtext_rtrim}};
    int rc = SQLITE_OK;

    for (size_t i = 0;
         rc == SQLITE_OK && i < sizeof(functions) / sizeof(functions[0]); i++)
        rc = sqlite3_create_function_v2(
            session->sql, functions[i].name, functions[i].args,
            SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, session,
            functions[i].call, NULL, NULL, NULL);
    return rc;
}

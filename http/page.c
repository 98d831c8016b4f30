/* page.c - pages of a statement's result, by keyset (page.h).
 *
 * A SELECT has pages when its outer ORDER BY is by `key`, or by `key` and one of
 * field, member, idx, all rising, and these are columns of the result. The next
 * page is the statement itself with a condition around it, which SQLite hands
 * down to the table, so a page costs what it returns:
 *
 *   SELECT * FROM (the statement) WHERE "key" >= 'k' AND
 *       ("key" > 'k' OR "field" >= 'f') ORDER BY "key", "field"
 *
 * Rows that share the last values, as those of one key under ORDER BY key, are
 * counted, and passed over when the next page begins. A cursor:
 *
 *   'q' | u64 digest of the text | u8 terms | varint ties
 *   | { u8 kind | varint size | bytes }...     an integer has its 8 bytes
 *
 * Thread: the worker that has the request. */
#include "http/page.h"

#include <string.h>
#include <strings.h>

#include "http/cursor.h"
#include "kvsql/base/num.h"

#define PAGE_CURSOR_MAX 4096
#define PAGE_TEXT_MAX ((size_t)4 << 20)
#define PAGE_HEAD 10

/* ---- the text ---------------------------------------------------------------------- */

struct page_word {
    size_t at, size;
};

static bool page_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '_' || c == '$' || (c & 0x80) != 0;
}

/* Behind the comment or the blank at `i`, or `i`: it is neither. */
static size_t page_blank(const char *p, size_t size, size_t i)
{
    const char *end;

    if (p[i] != 0 && strchr(" \t\r\n\f", p[i]) != NULL)
        return i + 1;
    if (size - i >= 2 && memcmp(p + i, "--", 2) == 0) {
        end = memchr(p + i, '\n', size - i);
        return end != NULL ? (size_t)(end - p) : size;
    }
    if (size - i < 2 || memcmp(p + i, "/*", 2) != 0)
        return i;
    end = memmem(p + i + 2, size - i - 2, "*/", 2);
    return end != NULL ? (size_t)(end - p) + 2 : size;
}

/* The next word, sign or thing in quotes; false: the text is over. */
static bool page_next(kvsql_slice text, size_t *i, struct page_word *word)
{
    const char *const p = text.size > 0 ? text.p : "";
    size_t at = *i, end;

    while (at < text.size && (end = page_blank(p, text.size, at)) > at)
        at = end;
    if (at >= text.size)
        return false;
    end = at + 1;
    if (p[at] != 0 && strchr("'\"`[", p[at]) != NULL) {
        const char last = p[at] == '[' ? ']' : p[at];
        while (end < text.size && p[end] != last)
            end++;
        end += end < text.size;
    } else {
        while (page_letter(p[at]) && end < text.size && page_letter(p[end]))
            end++;
    }
    *word = (struct page_word){at, end - at};
    *i = end;
    return true;
}

static bool page_is(kvsql_slice text, const struct page_word *word,
                    const char *name)
{
    return word->size == strlen(name) &&
           strncasecmp((const char *)text.p + word->at, name, word->size) == 0;
}

/* One term of the order, from *i on: a name, ASC perhaps, and a comma or the end.
 * *more: another follows. False: it is no such term. */
static bool page_term(struct http_page *page, size_t *i, bool *more)
{
    const kvsql_slice text = page->text;
    struct page_word word;

    if (page->terms == HTTP_PAGE_TERMS || !page_next(text, i, &word))
        return false;
    static const char *const second[] = {"field", "member", "idx"};
    bool good = page->terms == 0 && page_is(text, &word, "key");
    for (size_t k = 0; page->terms == 1 && k < 3; k++)
        good = good || page_is(text, &word, second[k]);
    if (!good)
        return false;
    page->names[page->terms++] =
        (kvsql_slice){(const char *)text.p + word.at, word.size};
    *more = false;
    if (!page_next(text, i, &word))
        return true;
    if (page_is(text, &word, "asc") && !page_next(text, i, &word))
        return true;
    *more = page_is(text, &word, ",");
    return *more || page_is(text, &word, "limit");
}

/* Is there a "by" at all? Most statements are told apart by that. */
static bool page_may_order(kvsql_slice text)
{
    const char *const p = text.p;

    for (size_t i = 1; i < text.size; i++)
        if ((p[i] | 0x20) == 'y' && (p[i - 1] | 0x20) == 'b')
            return true;
    return false;
}

void http_page_init(struct http_page *page, kvsql_slice text)
{
    struct page_word word, before = {0, 0};
    size_t i = 0, order = 0, end = 0;
    int depth = 0;
    bool select = false, more = true;

    *page = (struct http_page){.text = text};
    for (unsigned k = 0; k < 2; k++)
        kv_buf_init(&page->last[k], KV_MEM_CLIENT, PAGE_CURSOR_MAX);
    kv_buf_init(&page->wrapped, KV_MEM_CLIENT, PAGE_TEXT_MAX);
    if (!page_may_order(text))
        return;
    for (bool first = true; page_next(text, &i, &word); first = false) {
        if (first)
            select = page_is(text, &word, "select") ||
                     page_is(text, &word, "with");
        depth += page_is(text, &word, "(") - page_is(text, &word, ")");
        if (depth == 0 && page_is(text, &before, "order") &&
            page_is(text, &word, "by"))
            order = i;
        if (!page_is(text, &word, ";"))
            end = i;
        before = word;
    }
    page->text.size = end;
    if (!select || order == 0)
        return;
    while (more)
        if (!page_term(page, &order, &more)) {
            page->terms = 0;
            break;
        }
}

void http_page_fini(struct http_page *page)
{
    kv_buf_fini(&page->last[0]);
    kv_buf_fini(&page->last[1]);
    kv_buf_fini(&page->wrapped);
}

/* FNV-1a. */
static uint64_t page_digest(kvsql_slice text)
{
    const uint8_t *const p = text.p;
    uint64_t digest = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < text.size; i++)
        digest = (digest ^ p[i]) * UINT64_C(0x100000001b3);
    return digest;
}

/* ---- values ------------------------------------------------------------------------ */

/* The values of a row's order; false: one has no place in a cursor. */
static bool page_values(const struct http_page *page,
                        const struct vt_statement *statement,
                        struct kv_buf *out)
{
    struct vt_value value;
    uint8_t bytes[8];

    kv_buf_reset(out, PAGE_CURSOR_MAX);
    for (unsigned i = 0; i < page->terms; i++) {
        vt_column(statement, page->columns[i], &value);
        if (value.kind == VT_INTEGER) {
            kv_u64_put(bytes, (uint64_t)value.integer);
            value.p = bytes;
            value.size = sizeof bytes;
        } else if (value.kind != VT_TEXT && value.kind != VT_BLOB) {
            return false;
        }
        kv_buf_byte(out, (uint8_t)value.kind);
        kv_buf_varint(out, value.size);
        kv_buf_add(out, value.p, value.size);
    }
    return !out->failed;
}

/* A value of a cursor as a literal; false: it is none. Moves *p behind it. */
static bool page_literal(const uint8_t **p, const uint8_t *end,
                         struct kv_buf *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned kind = *p < end ? *(*p)++ : 0;
    uint64_t size;
    const size_t used = kv_varint_get(*p, end, &size);

    if (used == 0 || size > (uint64_t)(end - (*p + used)))
        return false;
    const uint8_t *const bytes = *p + used;
    *p = bytes + size;
    if (kind == VT_INTEGER && size == 8) {
        kv_buf_printf(out, "(%lld)", (long long)kv_u64_get(bytes));
        return (int64_t)kv_u64_get(bytes) != INT64_MIN;
    }
    if (kind != VT_TEXT && kind != VT_BLOB)
        return false;
    kv_buf_text(out, kind == VT_TEXT ? "'" : "x'");
    for (size_t i = 0; i < size; i++) {
        if (kind == VT_TEXT && bytes[i] == 0)
            return false;
        if (kind == VT_TEXT && bytes[i] == '\'')
            kv_buf_byte(out, '\'');
        if (kind == VT_TEXT) {
            kv_buf_byte(out, bytes[i]);
        } else {
            kv_buf_byte(out, (uint8_t)digits[bytes[i] >> 4]);
            kv_buf_byte(out, (uint8_t)digits[bytes[i] & 15]);
        }
    }
    kv_buf_byte(out, '\'');
    return true;
}

/* ---- going on ---------------------------------------------------------------------- */

static void page_name(struct kv_buf *out, const struct http_page *page,
                      unsigned term)
{
    kv_buf_byte(out, '"');
    kv_buf_add(out, page->names[term].p, page->names[term].size);
    kv_buf_byte(out, '"');
}

/* The statement behind the values at p. */
static bool page_wrap(struct http_page *page, const uint8_t *p,
                      const uint8_t *end)
{
    struct kv_buf *const out = &page->wrapped;
    const uint8_t *const first = p;

    kv_buf_text(out, "SELECT * FROM (");
    kv_buf_add(out, page->text.p, page->text.size);
    kv_buf_text(out, "\n) WHERE ");
    page_name(out, page, 0);
    kv_buf_text(out, " >= ");
    bool good = page_literal(&p, end, out);
    if (good && page->terms == 2) {
        const uint8_t *again = first;
        kv_buf_text(out, " AND (");
        page_name(out, page, 0);
        kv_buf_text(out, " > ");
        good = page_literal(&again, end, out);
        kv_buf_text(out, " OR ");
        page_name(out, page, 1);
        kv_buf_text(out, " >= ");
        good = good && page_literal(&p, end, out);
        kv_buf_byte(out, ')');
    }
    kv_buf_text(out, " ORDER BY ");
    for (unsigned i = 0; i < page->terms; i++) {
        if (i > 0)
            kv_buf_text(out, ", ");
        page_name(out, page, i);
    }
    return good && p == end && !out->failed;
}

bool http_page_resume(struct http_page *page, kvsql_slice cursor)
{
    struct kv_buf bytes;
    uint64_t ties = 0;
    size_t used = 0;

    kv_buf_init(&bytes, KV_MEM_CLIENT, 2 * PAGE_CURSOR_MAX);
    bool good = page->terms > 0 && http_cursor_read(&bytes, cursor) &&
                bytes.size > PAGE_HEAD && bytes.p[0] == 'q' &&
                kv_u64_get(bytes.p + 1) == page_digest(page->text) &&
                bytes.p[PAGE_HEAD - 1] == page->terms;
    if (good)
        used = kv_varint_get(bytes.p + PAGE_HEAD, bytes.p + bytes.size, &ties);
    const uint8_t *const values = good ? bytes.p + PAGE_HEAD + used : NULL;
    good = used > 0 && ties <= UINT32_MAX &&
           page_wrap(page, values, bytes.p + bytes.size);
    if (good) {
        page->skip = page->ties = ties;
        kv_buf_add(&page->last[0], values,
                   (size_t)(bytes.p + bytes.size - values));
    }
    kv_buf_fini(&bytes);
    return good;
}

/* Each column has a name of its own, or a `*` around them would give it
 * another. */
static bool page_unique(const struct vt_statement *statement)
{
    const int count = vt_column_count(statement);

    for (int i = 0; i < count; i++)
        for (int k = 0; k < i; k++)
            if (strcasecmp(vt_column_name(statement, i),
                           vt_column_name(statement, k)) == 0)
                return false;
    return true;
}

void http_page_bind(struct http_page *page,
                    const struct vt_statement *statement)
{
    const int count = vt_column_count(statement);

    if (page->terms > 0 && !page_unique(statement))
        page->terms = 0;
    for (unsigned i = 0; i < page->terms; i++) {
        const kvsql_slice name = page->names[i];
        int column = 0;
        while (column < count &&
               !(strlen(vt_column_name(statement, column)) == name.size &&
                 strncasecmp(vt_column_name(statement, column), name.p,
                             name.size) == 0))
            column++;
        page->columns[i] = column;
        if (column == count)
            page->terms = 0;
    }
}

bool http_page_skip(struct http_page *page,
                    const struct vt_statement *statement)
{
    struct kv_buf *const last = &page->last[0], *const now = &page->last[1];

    if (page->skip == 0)
        return false;
    page->skip--;
    if (page_values(page, statement, now) && now->size == last->size &&
        memcmp(now->p, last->p, now->size) == 0)
        return true;
    page->skip = page->ties = 0; /* those that were shown are gone */
    return false;
}

void http_page_note(struct http_page *page,
                    const struct vt_statement *statement)
{
    struct kv_buf *const last = &page->last[0], *const now = &page->last[1];

    if (page->terms == 0)
        return;
    if (!page_values(page, statement, now)) {
        page->terms = 0;
        return;
    }
    const bool same = now->size == last->size && last->size > 0 &&
                      memcmp(now->p, last->p, now->size) == 0;
    page->ties = same ? page->ties + 1 : 1;
    if (!same) {
        const struct kv_buf kept = *last;
        *last = *now;
        *now = kept;
    }
}

bool http_page_cursor(const struct http_page *page, struct kv_buf *out)
{
    struct kv_buf bytes;
    uint8_t digest[8];

    if (page->terms == 0 || page->last[0].size == 0)
        return false;
    kv_buf_init(&bytes, KV_MEM_CLIENT, 2 * PAGE_CURSOR_MAX);
    kv_u64_put(digest, page_digest(page->text));
    kv_buf_byte(&bytes, 'q');
    kv_buf_add(&bytes, digest, sizeof digest);
    kv_buf_byte(&bytes, (uint8_t)page->terms);
    kv_buf_varint(&bytes, page->ties);
    kv_buf_add(&bytes, page->last[0].p, page->last[0].size);
    const bool good = !bytes.failed;
    if (good)
        http_cursor_write(out, bytes.p, bytes.size);
    kv_buf_fini(&bytes);
    return good && !out->failed;
}

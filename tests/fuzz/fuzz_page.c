/* fuzz_page.c - pages of a statement's result: any text and any cursor are taken
 * or refused, no cursor makes a statement another, and the pages of a result are
 * together what it is whole.
 *
 *   u8 kind | text of a statement LF | bytes behind a cursor's digest or, with
 *   bit 0, the cursor itself
 *   u8 kind, bit 7 | fields of a hash, each ended by LF; bits 0-2 say how many
 *   rows a page has, 3-4 the statement */
#include "cli/cli.h"
#include "command/command.h"
#include "http/cursor.h"
#include "http/page.h"
#include "kvsql/admin.h"
#include "kvsql/base/num.h"
#include "kvsql/base/os.h"
#include "tests/lib/fuzz.h"
#include "vtab/session.h"

#define ROOM (1u << 20)
#define FIELDS_MAX 64

static kvsql *db;
static struct vt_session *session;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct kvsql_error err;

    (void)argc;
    (void)argv;
    fuzz_quiet();
    FUZZ_CHECK(vt_start(&err) == KVSQL_OK);
    cli_join_sql();
    vt_limit_set(VT_LIMIT_VALUE, 1 << 20);
    return 0;
}

/* The one statement of the text, or NULL. */
static struct vt_statement *prepare(kvsql_slice text)
{
    struct vt_statement *statement = NULL;
    struct kvsql_error err;
    size_t tail;

    if (vt_prepare(session, text.p, text.size, &tail, &statement, &err) !=
        KVSQL_OK)
        return NULL;
    if (statement != NULL && tail < text.size) {
        vt_finish(statement);
        return NULL;
    }
    return statement;
}

static kvsql_slice text_of(const struct http_page *page)
{
    return (kvsql_slice){page->wrapped.p, page->wrapped.size};
}

/* ---- a cursor that nobody gave --------------------------------------------- */

/* With what the page looks at first as it must be. */
static void forge(const struct http_page *page, const uint8_t *p, size_t size,
                  struct kv_buf *out)
{
    const uint8_t *const text = page->text.p;
    uint64_t digest = UINT64_C(0xcbf29ce484222325);
    struct kv_buf bytes;
    uint8_t plain[8];

    for (size_t i = 0; i < page->text.size; i++)
        digest = (digest ^ text[i]) * UINT64_C(0x100000001b3);
    kv_u64_put(plain, digest);
    kv_buf_init(&bytes, KV_MEM_MISC, ROOM);
    kv_buf_byte(&bytes, 'q');
    kv_buf_add(&bytes, plain, sizeof plain);
    kv_buf_byte(&bytes, (uint8_t)page->terms);
    kv_buf_add(&bytes, p, size);
    http_cursor_write(out, bytes.p, bytes.size);
    kv_buf_fini(&bytes);
}

/* It reads what the page's own text reads, or nothing. */
static void check_wrapped(const struct http_page *page)
{
    struct vt_statement *const plain = prepare(page->text);
    const bool reads = plain != NULL && vt_is_readonly(plain);

    FUZZ_CHECK(page->wrapped.size > page->text.size);
    if (plain != NULL)
        vt_finish(plain);
    struct vt_statement *const wrapped = prepare(text_of(page));
    if (wrapped != NULL) {
        FUZZ_CHECK(!reads || vt_is_readonly(wrapped));
        vt_finish(wrapped);
    }
}

static void strange(uint8_t kind, const uint8_t *p, size_t size)
{
    const uint8_t *const end = size > 0 ? memchr(p, '\n', size) : NULL;
    const size_t part = end != NULL ? (size_t)(end - p) : size;
    uint8_t *const text = fuzz_copy(p, part);
    const uint8_t *const rest = p + part + (end != NULL);
    const size_t left = size - part - (end != NULL);
    struct http_page page;
    struct kv_buf cursor;

    kv_buf_init(&cursor, KV_MEM_MISC, ROOM);
    http_page_init(&page, (kvsql_slice){text, part});
    FUZZ_CHECK(page.terms <= HTTP_PAGE_TERMS && page.text.size <= part);
    if (kind & 1)
        kv_buf_add(&cursor, rest, left);
    else
        forge(&page, rest, left, &cursor);
    if (cursor.size > 0 &&
        http_page_resume(&page, (kvsql_slice){cursor.p, cursor.size}))
        check_wrapped(&page);
    http_page_fini(&page);
    kv_buf_fini(&cursor);
    free(text);
}

/* ---- all pages of a result --------------------------------------------------- */

static void set_fields(const uint8_t *p, size_t size)
{
    struct cmd_reply reply;
    struct kv_ticket ticket;

    cmd_reply_init(&reply, ROOM);
    for (unsigned i = 0; i < FIELDS_MAX && size > 0; i++) {
        const uint8_t *const end = memchr(p, '\n', size);
        const size_t part = end != NULL ? (size_t)(end - p) : size;
        const char *const key = part % 2 ? "h" : "i'\"\xff";
        const kvsql_slice argv[] = {
            {"HSET", 4}, {key, strlen(key)}, {p, part}, {"", 0}};
        cmd_reply_reset(&reply);
        cmd_run(db, 4, argv, true, &reply, &ticket);
        FUZZ_CHECK(reply.rc == KVSQL_OK);
        p += part + (end != NULL);
        size -= part + (end != NULL);
    }
    cmd_reply_fini(&reply);
}

static void note(const struct vt_statement *statement, struct kv_buf *out)
{
    struct vt_value value;

    for (int i = 0; i < vt_column_count(statement); i++) {
        vt_column(statement, i, &value);
        kv_buf_varint(out, value.size);
        kv_buf_add(out, value.p, value.size);
    }
}

/* A page of at most `most` rows; its end, or nothing, into `cursor`. */
static void read_page(kvsql_slice text, unsigned most, struct kv_buf *cursor,
                      struct kv_buf *out)
{
    struct http_page page;
    struct kvsql_error err;
    unsigned count = 0;
    bool row;

    http_page_init(&page, text);
    FUZZ_CHECK(page.terms > 0);
    if (cursor->size > 0) {
        FUZZ_CHECK(http_page_resume(
            &page, (kvsql_slice){cursor->p, cursor->size}));
        text = text_of(&page);
    }
    struct vt_statement *const statement = prepare(text);
    FUZZ_CHECK(statement != NULL);
    http_page_bind(&page, statement);
    kv_buf_reset(cursor, ROOM);
    while (vt_step(statement, &row, &err) == KVSQL_OK && row) {
        if (http_page_skip(&page, statement))
            continue;
        if (count++ == most)
            break;
        http_page_note(&page, statement);
        note(statement, out);
    }
    if (count > most)
        FUZZ_CHECK(http_page_cursor(&page, cursor));
    vt_finish(statement);
    http_page_fini(&page);
}

static void walk(uint8_t kind, const uint8_t *p, size_t size)
{
    static const char *const texts[] = {
        "SELECT key, field FROM hashes ORDER BY key, field",
        "SELECT field, key FROM hashes ORDER BY key;",
        "WITH a AS (SELECT * FROM hashes) SELECT * FROM a ORDER BY key --",
        "SELECT key, field FROM hashes ORDER BY key ASC LIMIT 1000"};
    const kvsql_slice text = kvsql_text(texts[kind >> 3 & 3]);
    struct kv_buf whole, pages, cursor;
    unsigned steps = 0;

    kv_buf_init(&whole, KV_MEM_MISC, ROOM);
    kv_buf_init(&pages, KV_MEM_MISC, ROOM);
    kv_buf_init(&cursor, KV_MEM_MISC, ROOM);
    set_fields(p, size);
    read_page(text, UINT32_MAX, &cursor, &whole);
    FUZZ_CHECK(cursor.size == 0);
    do {
        FUZZ_CHECK(++steps <= FIELDS_MAX + 1);
        read_page(text, 1 + (kind & 7), &cursor, &pages);
    } while (cursor.size > 0);
    FUZZ_CHECK(pages.size == whole.size);
    FUZZ_CHECK(whole.size == 0 || memcmp(pages.p, whole.p, whole.size) == 0);
    kv_buf_fini(&whole);
    kv_buf_fini(&pages);
    kv_buf_fini(&cursor);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct kvsql_options options = {.no_keeper = true};
    const struct vt_limits limits = {.row_max = 1000};
    struct kvsql_error err;

    if (size < 1 || size > 2000)
        return 0;
    FUZZ_CHECK(kv_open_os("", &options, kv_os_real(), NULL, NULL, &db, &err) ==
               KVSQL_OK);
    FUZZ_CHECK(vt_session_open(db, &limits, &session, &err) == KVSQL_OK);
    if (data[0] & 128)
        walk(data[0], data + 1, size - 1);
    else
        strange(data[0], data + 1, size - 1);
    vt_session_close(session);
    FUZZ_CHECK(kv_close(db, &err) == KVSQL_OK);
    return 0;
}

/* fuzz_zrange.c - ranges of a sorted set and their cursors: any words are refused
 * or answered, and the pages of a range are together what it is whole.
 *
 *   u8 kind | min LF max LF cursor LF | members, each a byte of its score and its
 *   name, ended by LF
 *
 * Bits of kind: 0-1 by, 2 rev, 3-5 limit, 6 the cursor is bytes that are yet to be
 * written as one. */
#include "command/command.h"
#include "http/cursor.h"
#include "http/request.h"
#include "kvsql/admin.h"
#include "kvsql/base/num.h"
#include "kvsql/base/os.h"
#include "tests/lib/fuzz.h"

#define ROOM 65536
#define MEMBERS_MAX 64
#define MEMBER_MAX 400
#define WORD_MAX 60

static struct http_server server;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    fuzz_quiet();
    server.body_max = ROOM;
    return 0;
}

static kvsql_slice line(struct fuzz_input *input, size_t most)
{
    const uint8_t *const end =
        input->size > 0 ? memchr(input->p, '\n', input->size) : NULL;
    size_t size = end != NULL ? (size_t)(end - input->p) : input->size;
    const kvsql_slice text = {input->p, size < most ? size : most};

    size += end != NULL;
    input->p += size;
    input->size -= size;
    return text;
}

static void add(kvsql *db, kvsql_slice text, bool same)
{
    char score[KV_INT_TEXT_MAX];
    const char *const p = text.p;
    const kvsql_slice argv[] = {
        {"ZADD", 4},
        {"k", 1},
        {score, (size_t)snprintf(score, sizeof score, "%d",
                                 same ? 0 : (int)(p[0] & 7) - 4)},
        {p + 1, text.size - 1}};
    struct cmd_reply reply;
    struct kv_ticket ticket;

    cmd_reply_init(&reply, ROOM);
    cmd_run(db, 4, argv, true, &reply, &ticket);
    FUZZ_CHECK(reply.rc == KVSQL_OK);
    cmd_reply_fini(&reply);
}

static void say(struct kv_buf *target, const char *name, kvsql_slice value)
{
    if (value.size == 0)
        return;
    kv_buf_text(target, name);
    http_escape(target, value);
}

/* The body of the answer into `out`, without its brackets; the address of the next
 * page into `target`, or nothing. The status. */
static unsigned ask(struct kv_buf *target, struct kv_buf *out)
{
    static const char end[] = ">; rel=\"next\"";
    kv_buf_byte(target, 0);
    struct http_request *request =
        http_request_new(&server, (const char *)target->p);

    FUZZ_CHECK(!target->failed && request != NULL);
    request->method = HTTP_GET;
    FUZZ_CHECK(http_target(request));
    FUZZ_CHECK(http_do_zsets_get(request) == HTTP_NEXT_ANSWER);
    const struct http_answer *const answer = &request->answer;
    const unsigned status = answer->status;
    kv_buf_reset(target, ROOM);
    if (status == 200) {
        const size_t size = answer->body.size;
        FUZZ_CHECK(size >= 2 && answer->body.p[0] == '[' &&
                   answer->body.p[size - 1] == ']');
        if (size > 2 && out->size > 0)
            kv_buf_byte(out, ',');
        kv_buf_add(out, answer->body.p + 1, size - 2);
    }
    if (status == 200 && answer->link != NULL) {
        const size_t size = strlen(answer->link);
        FUZZ_CHECK(answer->link[0] == '<' && size > sizeof end &&
                   strcmp(answer->link + size - (sizeof end - 1), end) == 0);
        kv_buf_add(target, answer->link + 1, size - sizeof end);
    }
    http_request_unref(request);
    return status;
}

struct question {
    uint8_t kind;
    kvsql_slice min, max;
};

static void address(struct kv_buf *target, const struct question *question,
                    unsigned limit, kvsql_slice cursor)
{
    static const char *const by[] = {"rank", "score", "lex", "rank"};
    char text[KV_INT_TEXT_MAX];

    kv_buf_reset(target, ROOM);
    kv_buf_text(target, "/v1/zsets/k?by=");
    kv_buf_text(target, by[question->kind & 3]);
    kv_buf_text(target, question->kind & 4 ? "&rev=1" : "");
    say(target, "&min=", question->min);
    say(target, "&max=", question->max);
    say(target, "&cursor=", cursor);
    if (limit > 0)
        say(target, "&limit=",
            (kvsql_slice){text, kv_num_format_int(text, limit)});
}

/* Pages of a range, against all of it. */
static void walk(const struct question *question, unsigned limit,
                 struct kv_buf *target)
{
    struct kv_buf whole, pages;
    unsigned steps = 0;

    kv_buf_init(&whole, KV_MEM_MISC, ROOM * 8);
    kv_buf_init(&pages, KV_MEM_MISC, ROOM * 8);
    address(target, question, 0, (kvsql_slice){"", 0});
    const unsigned status = ask(target, &whole);
    FUZZ_CHECK(status == 200 || status == 400);
    FUZZ_CHECK(target->size == 0); /* no limit, no page */
    if (status == 200) {
        address(target, question, limit, (kvsql_slice){"", 0});
        do {
            FUZZ_CHECK(++steps <= MEMBERS_MAX + 1);
            FUZZ_CHECK(ask(target, &pages) == 200);
        } while (target->size > 0);
        FUZZ_CHECK(pages.size == whole.size);
        FUZZ_CHECK(whole.size == 0 ||
                   memcmp(pages.p, whole.p, whole.size) == 0);
    }
    kv_buf_fini(&whole);
    kv_buf_fini(&pages);
}

/* A cursor that nobody gave. */
static void strange(const struct question *question, unsigned limit,
                    kvsql_slice cursor, struct kv_buf *target)
{
    struct kv_buf out, text;

    kv_buf_init(&out, KV_MEM_MISC, ROOM * 8);
    kv_buf_init(&text, KV_MEM_MISC, ROOM);
    if (question->kind & 64)
        http_cursor_write(&text, cursor.p, cursor.size);
    else
        kv_buf_add(&text, cursor.p, cursor.size);
    address(target, question, limit, (kvsql_slice){text.p, text.size});
    const unsigned status = ask(target, &out);
    FUZZ_CHECK(status == 200 || status == 400);
    kv_buf_fini(&out);
    kv_buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct kvsql_options options = {.no_keeper = true};
    uint8_t *const copy = fuzz_copy(data, size);
    struct fuzz_input input = {copy, size};
    struct question question = {.kind = fuzz_byte(&input)};
    const unsigned limit = 1 + (question.kind >> 3 & 7);
    struct kvsql_error err;
    struct kv_buf target;
    kvsql *db;

    question.min = line(&input, WORD_MAX);
    question.max = line(&input, WORD_MAX);
    const kvsql_slice cursor = line(&input, MEMBER_MAX);
    FUZZ_CHECK(kv_open_os("", &options, kv_os_real(), NULL, NULL, &db, &err) ==
               KVSQL_OK);
    atomic_store(&server.db, db);
    add(db, (kvsql_slice){"4", 1}, false); /* the key is there */
    for (unsigned i = 1; i < MEMBERS_MAX && input.size > 0; i++) {
        const kvsql_slice member = line(&input, MEMBER_MAX);
        if (member.size > 0)
            add(db, member, (question.kind & 3) == 2);
    }
    kv_buf_init(&target, KV_MEM_MISC, ROOM);
    walk(&question, limit, &target);
    strange(&question, limit, cursor, &target);
    kv_buf_fini(&target);
    FUZZ_CHECK(kv_close(db, &err) == KVSQL_OK);
    free(copy);
    return 0;
}

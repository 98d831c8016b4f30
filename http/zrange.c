/* zrange.c - GET /v1/zsets/{key}: ranges by rank, score or name, in pages.
 *
 *   by=rank, score, lex   what min and max are
 *   rev=1                 the greatest first; ranks are those of that order
 *   limit, cursor         a page, and where it goes on
 *
 * A page is asked for with one member more than it shows, which tells whether
 * another follows. Its cursor is the last member that is shown, with its score:
 *
 *   u8 what the range is by: 'r', 's' or 'l' | u8 '+' or '-': rev
 *   | u64 the score's bits | the member
 *
 * The next page begins behind the place where that member stands, or stood: it is
 * looked up when the page is read (cmd_zset_place), so members that come and go
 * meanwhile shift nothing.
 *
 * Thread: the one that has the request. */
#include <string.h>

#include "http/cursor.h"
#include "http/value.h"
#include "kvsql/base/num.h"

#define ZRANGE_CURSOR_HEAD 10
#define ZRANGE_CURSOR_MAX (2 * HTTP_URI_MAX)

struct zrange_query {
    char by; /* as in a cursor */
    bool rev;
    kvsql_slice min, max;
    uint64_t limit;    /* 0: none */
    bool resumed;      /* behind this one: */
    double score;
    kvsql_slice member;
};

/* ---- asking ------------------------------------------------------------------------ */

static bool zrange_by(struct http_call *call, struct zrange_query *query)
{
    kvsql_slice by = http_param(call->request, "by");

    query->by = http_is(by, "score") ? 's' : http_is(by, "lex") ? 'l' : 'r';
    return by.p == NULL || query->by != 'r' || http_is(by, "rank")
               ? true
               : http_call_refuse(call, HTTP_P_PARAMETER,
                                  "by is rank, score or lex");
}

static bool zrange_limit(struct http_call *call, struct zrange_query *query)
{
    kvsql_slice limit = http_param(call->request, "limit");

    return limit.p == NULL ||
                   (kv_num_uint(limit.p, limit.size, &query->limit) &&
                    query->limit >= 1 && query->limit < INT64_MAX)
               ? true
               : http_call_refuse(call, HTTP_P_PARAMETER,
                                  "limit is a whole number from 1 on");
}

/* A cursor of such a range, into the arena. */
static bool zrange_cursor(struct http_call *call, struct zrange_query *query)
{
    kvsql_slice text = http_param(call->request, "cursor");
    struct kv_buf bytes;
    uint64_t bits;

    if (text.size == 0)
        return true;
    kv_buf_init(&bytes, KV_MEM_CLIENT, ZRANGE_CURSOR_MAX);
    bool good = http_cursor_read(&bytes, text) &&
                bytes.size >= ZRANGE_CURSOR_HEAD && bytes.p[0] == query->by &&
                bytes.p[1] == (query->rev ? '-' : '+');
    uint8_t *const kept =
        good ? http_alloc(call->request, bytes.size) : NULL;
    if (kept != NULL) {
        memcpy(kept, bytes.p, bytes.size);
        bits = kv_u64_get(kept + 2);
        memcpy(&query->score, &bits, sizeof bits);
        query->member = (kvsql_slice){kept + ZRANGE_CURSOR_HEAD,
                                      bytes.size - ZRANGE_CURSOR_HEAD};
        query->resumed = good = query->score == query->score;
    }
    kv_buf_fini(&bytes);
    if (good && kept == NULL)
        return http_call_fail(call, KVSQL_NOMEM, "no memory for a cursor",
                              NULL);
    return good || http_call_refuse(call, HTTP_P_CURSOR,
                                    "this cursor is none of this range");
}

static bool zrange_query(struct http_call *call, struct zrange_query *query)
{
    struct http_request *request = call->request;
    kvsql_slice min = http_param(request, "min");
    kvsql_slice max = http_param(request, "max");

    *query = (struct zrange_query){
        .rev = http_is(http_param(request, "rev"), "1")};
    if (!zrange_by(call, query) || !zrange_limit(call, query) ||
        !zrange_cursor(call, query))
        return false;
    query->min = min.p != NULL      ? min
                 : query->by == 's' ? HTTP_WORD("-inf")
                 : query->by == 'l' ? HTTP_WORD("-")
                                    : HTTP_WORD("0");
    query->max = max.p != NULL      ? max
                 : query->by == 's' ? HTTP_WORD("+inf")
                 : query->by == 'l' ? HTTP_WORD("+")
                                    : HTTP_WORD("-1");
    return true;
}

/* A number as a word in the arena; p NULL: no memory. */
static kvsql_slice zrange_word(struct http_call *call, int64_t number)
{
    char *const text = http_alloc(call->request, KV_INT_TEXT_MAX);

    return text != NULL
               ? (kvsql_slice){text, kv_num_format_int(text, number)}
               : (kvsql_slice){NULL, 0};
}

/* "(member", or the score, as the end where a page goes on; p NULL: no memory. */
static kvsql_slice zrange_from(struct http_call *call,
                               const struct zrange_query *query)
{
    char *const text =
        http_alloc(call->request, query->by == 'l' ? query->member.size + 1
                                                   : KV_DOUBLE_TEXT_MAX);

    if (text == NULL)
        return (kvsql_slice){NULL, 0};
    if (query->by == 's')
        return (kvsql_slice){text, kv_num_format_double(text, query->score)};
    text[0] = '(';
    if (query->member.size > 0)
        memcpy(text + 1, query->member.p, query->member.size);
    return (kvsql_slice){text, query->member.size + 1};
}

/* Words of the command: the ends in the order of reading, and the first number of
 * LIMIT, which stands before other options so that its place is known. */
enum { ZRANGE_FIRST = 2, ZRANGE_LAST = 3, ZRANGE_SKIP = 5 };

/* By score and by name the greater end comes first in reverse order; by rank
 * the ranks are those of that order. */
static bool zrange_say(struct http_call *call)
{
    struct zrange_query *query = http_alloc(call->request, sizeof *query);

    if (query == NULL)
        return http_call_fail(call, KVSQL_NOMEM, "no memory for a range", NULL);
    if (!zrange_query(call, query))
        return false;
    call->own = query;
    const bool turn = query->rev && query->by != 'r';
    kvsql_slice first = turn ? query->max : query->min;
    const kvsql_slice count = zrange_word(call, (int64_t)query->limit + 1);
    if (query->resumed && query->by != 'r')
        first = zrange_from(call, query);
    if (first.p == NULL || count.p == NULL)
        return http_call_fail(call, KVSQL_NOMEM, "no memory for a range", NULL);
    if (!HTTP_SAY_MORE(call, 6, HTTP_WORD("ZRANGE"), call->key, first,
                       turn ? query->min : query->max))
        return false;
    if (query->by != 'r' && (query->limit > 0 || query->resumed)) {
        http_call_word(call, HTTP_WORD("LIMIT"));
        http_call_word(call, HTTP_WORD("0"));
        http_call_word(call, query->limit > 0 ? count : HTTP_WORD("-1"));
    }
    if (query->by != 'r')
        http_call_word(call, query->by == 's' ? HTTP_WORD("BYSCORE")
                                              : HTTP_WORD("BYLEX"));
    if (query->rev)
        http_call_word(call, HTTP_WORD("REV"));
    if (query->by != 'l')
        http_call_word(call, HTTP_WORD("WITHSCORES"));
    return true;
}

/* ---- aiming ------------------------------------------------------------------------ */

/* An end of a range of ranks among `length`; what is no number is left to the
 * command, which says so. */
static bool zrange_rank(kvsql_slice text, uint64_t length, int64_t *rank)
{
    if (!kv_num_int(text.p, text.size, rank))
        return false;
    if (*rank < 0)
        *rank = *rank < -(int64_t)length ? 0 : *rank + (int64_t)length;
    return true;
}

/* A page of ranks: from here, one more than it shows, no further than max. */
static bool zrange_aim_ranks(struct http_call *call,
                             const struct zrange_query *query,
                             const struct cmd_zset_place *place)
{
    kvsql_slice *const argv = call->commands[0].argv;
    int64_t first, last;

    if (!zrange_rank(query->min, place->length, &first) ||
        !kv_num_int(query->max.p, query->max.size, &last))
        return true;
    if (query->resumed)
        first = (int64_t)(query->rev ? place->length - place->before
                                     : place->upto);
    if (last < 0)
        last += (int64_t)place->length;
    if (last < 0) /* nothing is left */
        last = -1;
    if (query->limit > 0 && last - first > (int64_t)query->limit)
        last = first + (int64_t)query->limit;
    if (last < first) { /* none */
        first = 1;
        last = 0;
    }
    argv[ZRANGE_FIRST] = zrange_word(call, first);
    argv[ZRANGE_LAST] = zrange_word(call, last);
    return argv[ZRANGE_FIRST].p != NULL && argv[ZRANGE_LAST].p != NULL
               ? true
               : http_call_fail(call, KVSQL_NOMEM, "no memory for a range",
                                NULL);
}

static bool zrange_aim(struct http_call *call, const struct kv_at *at)
{
    const struct zrange_query *query = call->own;
    struct cmd_zset_place place;

    if ((query->limit == 0 && !query->resumed) || query->by == 'l' ||
        !cmd_zset_place(at, call->key, query->score, query->member, &place))
        return true;
    if (query->by == 'r')
        return zrange_aim_ranks(call, query, &place);
    if (!query->resumed)
        return true;
    /* Over those of the same score that were shown. */
    kvsql_slice *const skip = &call->commands[0].argv[ZRANGE_SKIP];
    *skip = zrange_word(call, (int64_t)(query->rev
                                            ? place.within - place.before
                                            : place.upto - place.below));
    return skip->p != NULL ? true
                           : http_call_fail(call, KVSQL_NOMEM,
                                            "no memory for a range", NULL);
}

/* ---- showing ----------------------------------------------------------------------- */

/* Behind a page that another follows: where that begins. */
static void zrange_next(struct http_call *call, const struct cmd_item *member,
                        double score)
{
    const struct zrange_query *query = call->own;
    uint8_t head[ZRANGE_CURSOR_HEAD] = {(uint8_t)query->by,
                                        query->rev ? '-' : '+'};
    struct kv_buf plain, text;
    uint64_t bits;

    memcpy(&bits, &score, sizeof bits);
    kv_u64_put(head + 2, bits);
    kv_buf_init(&plain, KV_MEM_CLIENT, HTTP_LINK_MAX);
    kv_buf_init(&text, KV_MEM_CLIENT, 2 * HTTP_LINK_MAX);
    kv_buf_add(&plain, head, sizeof head);
    kv_buf_add(&plain, member->p, member->size);
    http_cursor_write(&text, plain.p, plain.size);
    if (!plain.failed && !text.failed)
        http_answer_next(call->request, (kvsql_slice){text.p, text.size});
    kv_buf_fini(&plain);
    kv_buf_fini(&text);
    if (call->request->answer.link == NULL)
        (void)http_call_fail(call, KVSQL_TOOBIG,
                             "the page ends with a member that is too long for "
                             "a cursor; ask for one more, or fewer",
                             NULL);
}

static void zrange_show(struct http_call *call)
{
    const struct zrange_query *query = call->own;
    const struct cmd_reply *reply = &call->commands[0].reply;
    struct kv_buf *out = http_call_answer(call);
    struct cmd_item item, last = {0};
    double score = 0;
    size_t offset = 0;
    uint64_t count = 0;
    bool more = false;

    (void)cmd_reply_next(reply, &offset, &item);
    kv_buf_byte(out, '[');
    while (!more && cmd_reply_next(reply, &offset, &item)) {
        more = query->limit > 0 && count == query->limit;
        if (more)
            break;
        kv_buf_text(out, count++ ? ",{\"member\":" : "{\"member\":");
        http_value_item(out, &item);
        last = item;
        if (query->by != 'l' && cmd_reply_next(reply, &offset, &item)) {
            score = item.real;
            kv_buf_text(out, ",\"score\":");
            http_json_double(out, score, false);
        }
        kv_buf_byte(out, '}');
    }
    kv_buf_byte(out, ']');
    if (more)
        zrange_next(call, &last, score);
}

HTTP_DEED(zsets_get, .type = KV_ZSET, .flags = HTTP_CALL_WIDE,
          .say = zrange_say, .aim = zrange_aim, .show = zrange_show)

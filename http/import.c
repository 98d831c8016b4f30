/* import.c - /v1/import: records of NDJSON or CSV (records.h) become keys.
 *
 * The body is not held (intake.h): what has come is read as far as its records
 * are whole, and applied, IMPORT_BATCH_SIZE bytes or IMPORT_BATCH_RECORDS
 * records in a batch. The first record that is wrong ends it: keys before it
 * are there, those of its batch too, and the problem names its line and how
 * many keys that is, at once (intake.h). Only elements that a key got in an
 * earlier batch are left of a key that is cut so.
 *
 * With Accept: application/x-ndjson the answer is how it went, a line each:
 *   {"line":n,"imported":keys,"position":p}      IMPORT_MARKS of them at most
 *   {"done":true,"imported":keys}
 *
 * With an Idempotency-Key the answer is a part of the last batch. One of the
 * same key that comes while the first still runs is a 409; one that comes later
 * is read, compared by its digest, and gets the answer of the first. An import
 * that was cut has none: sent again it begins anew, and replaces what it had
 * made.
 *
 * Thread: workers, one at a time; what is said of a function. */
#include <stdio.h>
#include <string.h>

#include "command/jobs.h"
#include "command/stats.h"
#include "http/again.h"
#include "http/call.h"
#include "http/intake.h"
#include "http/records.h"
#include "kvsql/base/num.h"

#define IMPORT_WAIT_MS 10000 /* for the store */
#define IMPORT_BATCH_SIZE (256u << 10)
#define IMPORT_BATCH_RECORDS 1000
#define IMPORT_MARKS 64

/* Where a record ends among the words. */
struct import_unit {
    uint64_t line;
    unsigned commands; /* up to its end */
    bool key;          /* a key is complete with it */
};

struct import_mark {
    uint64_t line, keys, position;
};

struct http_import {
    struct http_request *request; /* whose state it is */
    struct http_server *server;
    struct http_records records;
    struct cmd_words words;
    struct kv_buf argv; /* of the command that runs */
    struct import_unit units[IMPORT_BATCH_RECORDS];
    unsigned count;
    uint64_t keys;      /* that are there */
    uint64_t line;      /* of the record that is wrong */
    bool begun;         /* a batch was */
    bool replay;        /* the answer of another is given */
    struct import_mark marks[IMPORT_MARKS];
    unsigned mark_count;
    uint64_t batches, stride; /* a mark after so many */
    struct cmd_job job;       /* bytes of the body */

    struct http_again_run run;
};

/* ---- the answer -------------------------------------------------------------------- */

/* Which record it was, and how many keys are there. */
static void import_failed(const struct http_import *import)
{
    struct kv_buf *out = &import->request->answer.body;

    if (out->failed || out->size == 0)
        return;
    out->size--; /* the closing brace */
    kv_buf_printf(out, ",\"line\":%llu,\"imported\":%llu}",
                  (unsigned long long)import->line,
                  (unsigned long long)import->keys);
}

/* How far it is: when there is no room, every second is forgotten. */
static void import_mark(struct http_import *import, uint64_t line)
{
    if (import->batches++ % import->stride != 0)
        return;
    if (import->mark_count == IMPORT_MARKS) {
        for (unsigned i = 0; i < IMPORT_MARKS / 2; i++)
            import->marks[i] = import->marks[2 * i];
        import->mark_count = IMPORT_MARKS / 2;
        import->stride *= 2;
    }
    import->marks[import->mark_count++] =
        (struct import_mark){line, import->keys,
                             import->request->ticket.position};
}

/* Is "application/x-ndjson" among what is accepted? */
static bool import_wants_lines(const struct http_request *request)
{
    static const char type[] = "application/x-ndjson";
    const kvsql_slice accept = request->headers[HTTP_H_ACCEPT];

    return accept.p != NULL &&
           memmem(accept.p, accept.size, type, sizeof type - 1) != NULL;
}

static void import_answer(struct http_import *import, uint64_t position)
{
    struct http_request *request = import->request;
    struct kv_buf *out = &request->answer.body;
    const bool lines = import_wants_lines(request);

    http_answer(request, 200, lines ? "application/x-ndjson" : HTTP_TYPE_JSON);
    for (unsigned i = 0; lines && i < import->mark_count; i++)
        kv_buf_printf(out,
                      "{\"line\":%llu,\"imported\":%llu,"
                      "\"position\":%llu}\n",
                      (unsigned long long)import->marks[i].line,
                      (unsigned long long)import->marks[i].keys,
                      (unsigned long long)import->marks[i].position);
    kv_buf_printf(out, "{%s\"imported\":%llu}%s",
                  lines ? "\"done\":true," : "",
                  (unsigned long long)import->keys, lines ? "\n" : "");
    if (position > 0)
        http_answer_header(request, "X-KVSQL-Position", "%llu",
                           (unsigned long long)position);
}

/* ---- a batch ------------------------------------------------------------------------ */

/* Command `index`; false: refused. */
static bool import_command(struct http_import *import, struct kv_txn *txn,
                           unsigned index)
{
    const unsigned count = cmd_words_argv(&import->words, index, NULL, 0);
    const size_t size = count * sizeof(kvsql_slice);
    struct cmd_reply reply;

    kv_buf_reset(&import->argv, HTTP_BLOCK);
    if (!kv_buf_reserve(&import->argv, size)) {
        http_fail(import->request, KVSQL_NOMEM, "no memory for the words of a "
                                                "command", NULL);
        return false;
    }
    kvsql_slice *const argv = (void *)import->argv.p;
    (void)cmd_words_argv(&import->words, index, argv, count);
    cmd_reply_init(&reply, HTTP_BLOCK);
    cmd_slowlog_origin("http", NULL);
    const bool good = cmd_run_in(txn, count, argv, &reply) == KVSQL_OK;
    if (!good)
        http_fail_reply(import->request, &reply);
    cmd_reply_fini(&reply);
    return good;
}

/* The first `count` units. Gives how many were good: all, or the next one was
 * refused. */
static unsigned import_run(struct http_import *import, struct kv_txn *txn,
                           unsigned count)
{
    unsigned command = 0;

    for (unsigned i = 0; i < count; i++)
        for (; command < import->units[i].commands; command++)
            if (!import_command(import, txn, command))
                return i;
    return count;
}

/* Whole keys among the first `count` units; *keys: how many. */
static unsigned import_whole(const struct http_import *import, unsigned count,
                             uint64_t *keys)
{
    unsigned whole = 0;

    *keys = 0;
    for (unsigned i = 0; i < count; i++)
        if (import->units[i].key) {
            whole = i + 1;
            ++*keys;
        }
    return whole;
}

/* The answer becomes a part of the last batch. False: refused. */
static bool import_keep(struct http_import *import, struct kv_txn *txn,
                        uint64_t keys)
{
    const uint64_t position = http_again_position(txn);

    import->keys += keys;
    import_answer(import, position);
    import->keys -= keys;
    return http_again_keep(import->request, txn);
}

/* In the batch: is there another's answer already? It ends this import then. */
static bool import_again(struct http_import *import, struct kv_txn *txn,
                         bool last)
{
    struct http_request *request = import->request;

    if (!http_again_asked(request))
        return false;
    if (last)
        return !http_again_fresh(request, txn);
    import->replay = !import->begun && http_again_is_kept(request, txn);
    return import->replay;
}

enum import_end { IMPORT_OVER, IMPORT_BAD, IMPORT_GOOD };

/* The first `count` units in one batch. OVER: it has ended, answered or not.
 * BAD: unit *good was refused, nothing has changed. */
static enum import_end import_batch(struct http_import *import, unsigned count,
                                    bool last, unsigned *good)
{
    struct http_request *request = import->request;
    struct kvsql_error err;
    struct kv_txn *txn;
    uint64_t keys;
    kvsql_rc rc = kv_txn_begin(atomic_load(&import->server->db), true,
                               IMPORT_WAIT_MS, &txn, &err);

    *good = 0;
    if (rc != KVSQL_OK) {
        http_fail(request, rc, err.text, NULL);
        return IMPORT_BAD;
    }
    (void)import_whole(import, count, &keys);
    if (import_again(import, txn, last)) {
        kv_txn_rollback(txn);
        return IMPORT_OVER;
    }
    *good = import_run(import, txn, count);
    if (*good < count ||
        (last && http_again_asked(request) && !import_keep(import, txn, keys))) {
        kv_txn_rollback(txn);
        return *good < count ? IMPORT_BAD : IMPORT_OVER;
    }
    rc = kv_txn_commit(txn, &request->ticket, &err);
    if (rc != KVSQL_OK) {
        *good = 0;
        http_fail(request, rc, err.text, NULL);
        return IMPORT_BAD;
    }
    request->has_ticket = true;
    import->begun = true;
    import->keys += keys;
    return IMPORT_GOOD;
}

/* Something is wrong behind the first `count` units: what stands before it
 * stays. */
static void import_rest(struct http_import *import, unsigned count)
{
    struct kv_buf refusal = import->request->answer.body;
    const struct http_answer answer = import->request->answer;
    uint64_t keys;
    unsigned good = 0;

    count = import_whole(import, count, &keys);
    if (count == 0) {
        import_failed(import);
        return;
    }
    kv_buf_init(&import->request->answer.body, refusal.kind, refusal.size_max);
    if (import_batch(import, count, false, &good) == IMPORT_BAD) {
        kv_buf_fini(&refusal); /* an earlier one is wrong now */
        import->line = import->units[good].line;
        import_failed(import);
        return;
    }
    kv_buf_fini(&import->request->answer.body);
    import->request->answer = answer;
    import_failed(import);
}

/* What is read is applied; with `last`, answered. False: it has ended. */
static bool import_apply(struct http_import *import, bool last)
{
    const unsigned count = import->count;
    unsigned good = 0;

    if (count == 0 && !(last && http_again_asked(import->request)))
        return true;
    const enum import_end end = import_batch(import, count, last, &good);
    if (end == IMPORT_BAD) {
        import->line = count > 0 ? import->units[good].line : 0;
        import_rest(import, good);
    } else if (end == IMPORT_GOOD) {
        import_mark(import, count > 0 ? import->units[count - 1].line : 0);
    }
    import->count = 0;
    cmd_words_reset(&import->words);
    http_records_cut(&import->records);
    return end == IMPORT_GOOD;
}

/* ---- records ------------------------------------------------------------------------ */

/* The record at hand is wrong. */
static void import_wrong(struct http_import *import, kvsql_rc rc,
                         const struct kvsql_error *err)
{
    struct http_request *request = import->request;

    import->line = import->records.line;
    if (rc == KVSQL_TOOBIG)
        http_refuse(request, HTTP_P_RECORD, "%s", err->text);
    else if (rc == KVSQL_NOMEM)
        http_fail(request, rc, err->text, NULL);
    else
        http_refuse(request, HTTP_P_JSON, "%s", err->text);
    import_rest(import, import->count);
}

static void import_add(struct http_import *import, enum http_record what)
{
    const struct http_records *records = &import->records;
    const bool key = what == HTTP_RECORD_KEY;

    import->units[import->count++] = (struct import_unit){
        .line = key && records->csv ? records->begun : records->line,
        .commands = cmd_words_count(&import->words),
        .key = key};
}

/* All records that are whole. False: it has ended. */
static bool import_read(struct http_import *import, bool end)
{
    enum http_record what = HTTP_RECORD_PART;
    struct kvsql_error err;

    while (what != HTTP_RECORD_NONE) {
        const kvsql_rc rc =
            http_records_next(&import->records, end, &what, &err);
        if (rc != KVSQL_OK) {
            import_wrong(import, rc, &err);
            return false;
        }
        if (what != HTTP_RECORD_NONE)
            import_add(import, what);
        if ((import->count == IMPORT_BATCH_RECORDS ||
             cmd_words_size(&import->words) >= IMPORT_BATCH_SIZE) &&
            !import_apply(import, false))
            return false;
    }
    return true;
}

/* ---- an Idempotency-Key --------------------------------------------------------------- */

/* Any thread. It is answered, or was cut; twice is fine. */
static void import_leave(struct http_import *import)
{
    cmd_job_end(&import->job);
    http_again_end(import->server, &import->run);
}

/* The answer of the first of its key. */
static void import_replay(struct http_import *import)
{
    struct http_request *request = import->request;
    struct kvsql_error err;
    struct kv_txn *txn;
    const kvsql_rc rc = kv_txn_begin(atomic_load(&import->server->db), false,
                                     IMPORT_WAIT_MS, &txn, &err);

    if (rc != KVSQL_OK) {
        http_fail(request, rc, err.text, NULL);
        return;
    }
    if (http_again_fresh(request, txn))
        http_refuse(request, HTTP_P_BUSY,
                    "the answer of this Idempotency-Key was just forgotten; "
                    "nothing was done");
    kv_txn_rollback(txn);
}

/* ---- the request ---------------------------------------------------------------------- */

static void import_use(struct http_request *request, struct kv_buf *piece,
                       bool end)
{
    struct http_import *import = request->intake->state;
    const size_t size = piece->size;

    http_again_more(request, piece->p, size);
    if (!import->replay) {
        http_records_take(&import->records, piece);
        if (import_read(import, end) && import_apply(import, end) && end &&
            request->answer.status == 0)
            import_answer(import, request->ticket.position);
    }
    if (end && import->replay && request->answer.status == 0)
        import_replay(import);
    cmd_job_add(&import->job, size);
    if (request->answer.status != 0)
        import_leave(import);
}

static void import_free(void *state)
{
    struct http_import *import = state;

    import_leave(import);
    http_records_fini(&import->records);
    cmd_words_fini(&import->words);
    kv_buf_fini(&import->argv);
    kv_mem_free(KV_MEM_CLIENT, import, sizeof *import);
}

static bool import_is_csv(const struct http_request *request)
{
    const kvsql_slice type = request->headers[HTTP_H_CONTENT_TYPE];
    const char *semicolon =
        type.size > 0 ? memchr(type.p, ';', type.size) : NULL;
    size_t size =
        semicolon != NULL ? (size_t)(semicolon - (const char *)type.p)
                          : type.size;

    while (size > 0 && ((const char *)type.p)[size - 1] == ' ')
        size--;
    return http_is_fold((kvsql_slice){type.p, size}, "text/csv");
}

/* Bytes of the body; 0 when it comes in chunks. */
static uint64_t import_size(const struct http_request *request)
{
    const kvsql_slice length = request->headers[HTTP_H_CONTENT_LENGTH];
    uint64_t size = 0;

    return kv_num_uint(length.p, length.size, &size) ? size : 0;
}

/* The first call: the event loop's. */
enum http_next http_do_import(struct http_request *request)
{
    struct http_server *server = request->server;
    struct http_import *import = kv_mem_zalloc(KV_MEM_CLIENT, sizeof *import);

    if (import == NULL) {
        http_fail(request, KVSQL_NOMEM, "no memory for an import", NULL);
        return HTTP_NEXT_ANSWER;
    }
    import->request = request;
    import->server = server;
    import->stride = 1;
    cmd_words_init(&import->words, SIZE_MAX / 2);
    kv_buf_init(&import->argv, KV_MEM_CLIENT, SIZE_MAX / 2);
    http_records_init(&import->records, &import->words,
                      import_is_csv(request), server->record_max,
                      "http-max-record");
    if (!http_again_begin(request, &import->run)) {
        import_free(import);
        return HTTP_NEXT_ANSWER;
    }
    cmd_job_begin(&import->job, CMD_JOB_IMPORT, import_size(request));
    if (!http_intake_open(request, import_use, import_free, import))
        import_free(import);
    return HTTP_NEXT_ANSWER;
}

/* fuzz_batch.c - the body of a batch: refused with an answer, or commands,
 * statements and conditions that lie inside it and are as many as it says. */
#include "http/batch.h"
#include "tests/lib/fuzz.h"

#define OPS_MAX 10000

static struct http_server server;
static volatile uint8_t sum;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    fuzz_quiet();
    server.body_max = 1 << 20;
    return 0;
}

/* Every byte can be read. */
static void touch(kvsql_slice slice)
{
    const uint8_t *const p = slice.p;

    for (size_t i = 0; i < slice.size; i++)
        sum = (uint8_t)(sum + p[i]);
}

static void check_op(const struct http_batch *batch,
                     const struct http_batch_op *op)
{
    if (op->argv == NULL) {
        FUZZ_CHECK(batch->has_sql && op->argc == 0);
        FUZZ_CHECK(op->params < batch->json.count);
        touch(op->sql);
        return;
    }
    FUZZ_CHECK(op->argc > 0 && op->argv[0].size > 0);
    for (unsigned i = 0; i < op->argc; i++)
        touch(op->argv[i]);
}

static void check_read(const struct http_batch *batch)
{
    FUZZ_CHECK(batch->count >= 1 && batch->count <= OPS_MAX);
    for (unsigned i = 0; i < batch->count; i++)
        check_op(batch, &batch->ops[i]);
    FUZZ_CHECK(batch->condition_count == 0 || batch->atomic);
    for (unsigned i = 0; i < batch->condition_count; i++)
        touch(batch->conditions[i].key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_request *request = http_request_new(&server, "/v1/batch");
    struct http_batch batch = {.request = request};

    FUZZ_CHECK(request != NULL);
    request->method = HTTP_POST;
    kv_buf_add(&request->body, data, size);
    if (http_batch_read(&batch))
        check_read(&batch);
    else
        FUZZ_CHECK(request->answer.status >= 400 &&
                   request->answer.status < 500);
    http_json_fini(&batch.json);
    http_request_unref(request);
    return 0;
}

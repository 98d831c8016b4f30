/* fuzz_target.c - the target of a request: refused with an answer, or cut into
 * segments and parameters that lie inside it. */
#include "http/request.h"
#include "tests/lib/fuzz.h"

static struct http_server server;

static void check_inside(const struct http_request *request, kvsql_slice slice)
{
    const char *p = slice.p;

    FUZZ_CHECK(p >= request->target &&
               p + slice.size <= request->target + request->target_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size); /* ends at a NUL as the library's */
    struct http_request *request = http_request_new(&server, text);

    FUZZ_CHECK(request != NULL);
    request->method = size % 2 ? HTTP_GET : HTTP_OPTIONS;
    request->tier = size % 3 ? HTTP_TIER_COMMAND : HTTP_TIER_RESOURCE;
    if (!http_target(request)) {
        FUZZ_CHECK(request->answer.status == 400);
    } else {
        for (unsigned i = 0; i < request->segment_count; i++)
            check_inside(request, request->segments[i]);
        for (unsigned i = 0; i < request->param_count; i++) {
            check_inside(request, request->params[i].name);
            if (request->params[i].value.p != NULL)
                check_inside(request, request->params[i].value);
        }
        if (request->colon != SIZE_MAX) { /* a raw ':' of the last segment */
            const kvsql_slice *last =
                &request->segments[request->segment_count - 1];
            FUZZ_CHECK(request->colon < last->size);
            FUZZ_CHECK(((const char *)last->p)[request->colon] == ':');
        }
    }
    http_request_unref(request);
    free(text);
    return 0;
}

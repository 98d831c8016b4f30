/* fuzz_prefer.c - headers of a request on a key: ranges, tags, Prefer, times.
 * The first byte says which. */
#include "http/prefer.h"
#include "tests/lib/fuzz.h"

static struct http_server server;

static void check_range(struct http_request *request, uint64_t length)
{
    const struct http_range range = http_range_of(request);
    uint64_t first, size;

    if (!range.asked)
        return;
    http_range_fit(&range, length, &first, &size);
    FUZZ_CHECK(first <= length && size <= length - first);
    FUZZ_CHECK(size > 0 || first == length || length == 0);
}

static void check_prefer(struct http_request *request)
{
    struct http_prefer prefer;

    if (!http_prefer_read(request, &prefer))
        FUZZ_CHECK(request->answer.status == 400);
}

static void check_duration(kvsql_slice text)
{
    int64_t ms = 0;

    if (http_duration(text, &ms))
        FUZZ_CHECK(ms > 0 && ms <= INT64_C(3153600000000));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char tag[] = "\"v7-ab\"";

    if (size == 0)
        return 0;
    char *text = malloc(size); /* its very size: reading over it is found */
    FUZZ_CHECK(text != NULL);
    memcpy(text, data + 1, size - 1);
    const kvsql_slice value = {text, size - 1};
    struct http_request *request = http_request_new(&server, "/");

    FUZZ_CHECK(request != NULL);
    request->headers[HTTP_H_PREFER] = value;
    request->headers[HTTP_H_RANGE] = value;
    switch (data[0] % 4) {
    case 0:
        check_range(request, size % 3 == 0 ? 0 : data[size - 1]);
        break;
    case 1:
        if (http_etag_in(value, tag, true))
            FUZZ_CHECK(http_etag_in(value, tag, false));
        break;
    case 2:
        check_prefer(request);
        break;
    default:
        check_duration(value);
        break;
    }
    http_request_unref(request);
    free(text);
    return 0;
}

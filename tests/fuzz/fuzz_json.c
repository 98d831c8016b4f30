/* fuzz_json.c - the lexer of JSON: what it accepts is whole, and is read again
 * as the same when it is written. */
#include "http/json.h"
#include "tests/lib/fuzz.h"

/* Write the values at `at` as the lexer understood them. */
static void write_value(struct kv_buf *out, const struct http_json *json,
                        uint32_t at)
{
    const struct http_json_token *token = &json->tokens[at];
    uint32_t child = at + 1;

    if (token->kind == HTTP_JSON_STRING) {
        http_json_string(out, token->p, token->size);
        return;
    }
    if (token->kind < HTTP_JSON_ARRAY) {
        kv_buf_add(out, token->p, token->size);
        return;
    }
    kv_buf_byte(out, token->kind == HTTP_JSON_ARRAY ? '[' : '{');
    for (uint32_t i = 0; i < token->count; i++) {
        if (i > 0)
            kv_buf_byte(out, ',');
        if (token->kind == HTTP_JSON_OBJECT) {
            write_value(out, json, child++);
            kv_buf_byte(out, ':');
        }
        write_value(out, json, child);
        child = json->tokens[child].next;
    }
    FUZZ_CHECK(child == token->next); /* J1 */
    kv_buf_byte(out, token->kind == HTTP_JSON_ARRAY ? ']' : '}');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kvsql_error err;
    struct http_json json, again;
    struct kv_buf once, read, twice;
    uint8_t *text = fuzz_copy(data, size);
    const kvsql_rc rc = http_json_parse(&json, text, size, &err);

    FUZZ_CHECK(rc == KVSQL_OK || rc == KVSQL_SYNTAX || rc == KVSQL_TOOBIG);
    kv_buf_init(&once, KV_MEM_CLIENT, 64 << 20);
    kv_buf_init(&read, KV_MEM_CLIENT, 64 << 20);
    kv_buf_init(&twice, KV_MEM_CLIENT, 64 << 20);
    if (rc == KVSQL_OK) {
        FUZZ_CHECK(json.count >= 1 && json.tokens[0].next == json.count);
        write_value(&once, &json, 0);
        kv_buf_add(&read, once.p, once.size); /* is read in place */
        FUZZ_CHECK(http_json_parse(&again, read.p, read.size, &err) ==
                   KVSQL_OK);
        FUZZ_CHECK(again.count == json.count);
        write_value(&twice, &again, 0);
        FUZZ_CHECK(once.size == twice.size &&
                   memcmp(once.p, twice.p, once.size) == 0);
        http_json_fini(&again);
    }
    kv_buf_fini(&once);
    kv_buf_fini(&read);
    kv_buf_fini(&twice);
    http_json_fini(&json);
    free(text);
    return 0;
}

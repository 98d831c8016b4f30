/* value.c - values in JSON: from tokens to words, from replies to text.
 *
 * A hash is an object unless a name in it could not be one (bytes that are no
 * text) or could be taken for a form of ours (it begins with '$').
 *
 * Thread: the one that has the request. */
#include "http/value.h"

#include <string.h>

#include "kvsql/base/text.h"

/* ---- in -------------------------------------------------------------------------- */

bool http_value_base64(struct http_request *request,
                       const struct http_json *json, uint32_t at,
                       kvsql_slice *out)
{
    const struct http_json_token *tokens = json->tokens;
    uint32_t text = http_json_find(json, at, "$base64");
    struct kv_buf bytes;
    bool good = false;

    if (tokens[at].count != 1 || text == 0 ||
        tokens[text].kind != HTTP_JSON_STRING)
        return false;
    kv_buf_init(&bytes, KV_MEM_CLIENT, request->server->body_max);
    if (kv_base64_decode(&bytes, (const char *)tokens[text].p,
                         tokens[text].size) &&
        !bytes.failed) {
        void *copy = http_alloc(request, bytes.size + 1);
        good = copy != NULL;
        if (good && bytes.size > 0)
            memcpy(copy, bytes.p, bytes.size);
        *out = (kvsql_slice){copy, bytes.size};
    }
    kv_buf_fini(&bytes);
    return good;
}

bool http_value_bytes(struct http_call *call, uint32_t at, const char *what,
                      kvsql_slice *out)
{
    const struct http_json_token *token = &call->json.tokens[at];

    if (token->kind == HTTP_JSON_STRING || token->kind == HTTP_JSON_NUMBER) {
        *out = http_json_slice(token);
        return true;
    }
    if (token->kind == HTTP_JSON_OBJECT &&
        http_value_base64(call->request, &call->json, at, out))
        return true;
    return http_call_refuse(call, HTTP_P_JSON,
                            "%s is a string, a number or "
                            "{\"$base64\":\"..\"}",
                            what);
}

bool http_value_option(struct http_call *call, const char *name,
                       kvsql_slice *out)
{
    uint32_t at = http_json_find(&call->json, 0, name);

    return at == 0 || http_value_bytes(call, at, name, out);
}

uint32_t http_value_place(const struct http_call *call, const char *name)
{
    uint32_t at = http_json_find(&call->json, 0, name);

    return at != 0 ? at : UINT32_MAX;
}

bool http_value_member(struct http_call *call, const char *name,
                       kvsql_slice *out)
{
    if (http_json_find(&call->json, 0, name) != 0)
        return http_value_option(call, name, out);
    return http_call_refuse(call, HTTP_P_JSON, "\"%s\" must be there", name);
}

enum kv_type http_value_type(kvsql_slice name)
{
    for (enum kv_type type = KV_STRING; type <= KV_ZSET; type++)
        if (http_is(name, kv_type_name(type)))
            return type;
    return KV_NONE;
}

/* An array at `at`, or refused with `shape`. */
static bool value_is_array(struct http_call *call, uint32_t at,
                           const char *shape)
{
    if (at != UINT32_MAX && call->json.tokens[at].kind == HTTP_JSON_ARRAY)
        return true;
    return http_call_refuse(call, HTTP_P_JSON, "the value is %s", shape);
}

bool http_value_each(struct http_call *call, uint32_t at,
                     const kvsql_slice *words, unsigned count)
{
    const struct http_json_token *tokens = call->json.tokens;
    kvsql_slice value;

    if (!value_is_array(call, at, "an array of values") ||
        !http_call_say(call, words, count, tokens[at].count))
        return false;
    for (uint32_t i = at + 1; i < tokens[at].next; i = tokens[i].next) {
        if (!http_value_bytes(call, i, "a value", &value))
            return false;
        http_call_word(call, value);
    }
    return true;
}

/* {"member":m,"score":s} or [m,s]: the indexes of both; 0: neither. */
static uint32_t value_score_of(const struct http_json *json, uint32_t at,
                               uint32_t *member)
{
    const struct http_json_token *token = &json->tokens[at];

    if (token->count != 2)
        return 0;
    if (token->kind == HTTP_JSON_ARRAY) {
        *member = at + 1;
        return json->tokens[at + 1].next;
    }
    *member = token->kind == HTTP_JSON_OBJECT
                  ? http_json_find(json, at, "member") : 0;
    return *member != 0 ? http_json_find(json, at, "score") : 0;
}

bool http_value_scores(struct http_call *call, uint32_t at,
                       const kvsql_slice *words, unsigned count)
{
    static const char shape[] = "an array of {\"member\":..,\"score\":..} or "
                                "[member,score]";
    const struct http_json_token *tokens = call->json.tokens;

    if (!value_is_array(call, at, shape) ||
        !http_call_say(call, words, count, 2 * (uint64_t)tokens[at].count))
        return false;
    for (uint32_t i = at + 1; i < tokens[at].next; i = tokens[i].next) {
        kvsql_slice name, score;
        uint32_t member, number = value_score_of(&call->json, i, &member);
        if (number == 0)
            return http_call_refuse(call, HTTP_P_JSON, "the value is %s",
                                    shape);
        if (!http_value_bytes(call, member, "a member", &name) ||
            !http_value_bytes(call, number, "a score", &score))
            return false;
        http_call_word(call, score);
        http_call_word(call, name);
    }
    return true;
}

/* Walks the fields of an object or of {"$pairs":[[f,v],..]}. */
struct value_fields {
    uint32_t at, end;
    bool pairs;
    uint32_t name, value; /* of the current one */
};

static bool value_fields_open(struct http_call *call, uint32_t at,
                              struct value_fields *fields, uint32_t *count)
{
    const struct http_json_token *tokens = call->json.tokens;
    struct kvsql_error err;
    uint32_t pairs = 0;

    if (tokens[at].kind != HTTP_JSON_OBJECT)
        return http_call_refuse(call, HTTP_P_JSON,
                                "the value is an object, or "
                                "{\"$pairs\":[[field,value],..]}");
    if (tokens[at].count == 1)
        pairs = http_json_find(&call->json, at, "$pairs");
    const kvsql_rc rc = http_json_once(&call->json, at, &err);
    if (rc == KVSQL_NOMEM)
        return http_call_fail(call, rc, err.text, NULL);
    if (rc != KVSQL_OK)
        return http_call_refuse(call, HTTP_P_JSON, "%s", err.text);
    if (pairs != 0 && tokens[pairs].kind != HTTP_JSON_ARRAY)
        return http_call_refuse(call, HTTP_P_JSON, "\"$pairs\" is an array");
    at = pairs != 0 ? pairs : at;
    *fields = (struct value_fields){
        .at = at + 1, .end = tokens[at].next, .pairs = pairs != 0};
    *count = tokens[at].count;
    return true;
}

/* False: no more, or refused. */
static bool value_fields_next(struct http_call *call,
                              struct value_fields *fields)
{
    const struct http_json_token *tokens = call->json.tokens;
    uint32_t at = fields->at;

    if (at >= fields->end)
        return false;
    if (!fields->pairs) {
        fields->name = at;
        fields->value = at + 1;
        fields->at = tokens[at + 1].next;
        return true;
    }
    if (tokens[at].kind != HTTP_JSON_ARRAY || tokens[at].count != 2)
        return http_call_refuse(call, HTTP_P_JSON,
                                "an element of \"$pairs\" is "
                                "[field,value]");
    fields->name = at + 1;
    fields->value = tokens[at + 1].next;
    fields->at = tokens[at].next;
    return true;
}

enum value_which { VALUE_ALL, VALUE_SET, VALUE_NULL };

/* A command of the fields: all, those that are not null, those that are. */
static bool value_fields_say(struct http_call *call, uint32_t at,
                             const char *word, enum value_which which)
{
    const kvsql_slice words[] = {{word, strlen(word)}, call->key};
    const struct http_json_token *tokens = call->json.tokens;
    struct value_fields fields = {0};
    uint32_t count = 0;

    if (!value_fields_open(call, at, &fields, &count) ||
        !http_call_say(call, words, 2, 2 * (uint64_t)count))
        return false;
    while (value_fields_next(call, &fields)) {
        kvsql_slice name, value;
        bool null = tokens[fields.value].kind == HTTP_JSON_NULL;
        if (which != VALUE_ALL && null != (which == VALUE_NULL))
            continue;
        if (!http_value_bytes(call, fields.name, "a field", &name))
            return false;
        http_call_word(call, name);
        if (which == VALUE_NULL)
            continue;
        if (!http_value_bytes(call, fields.value, "the value of a field",
                              &value))
            return false;
        http_call_word(call, value);
    }
    if (!call->refused && call->commands[call->count - 1].argc == 2)
        http_call_unsay(call); /* there are none */
    return !call->refused;
}

bool http_value_merge(struct http_call *call, uint32_t at)
{
    return value_fields_say(call, at, "HSET", VALUE_SET) &&
           value_fields_say(call, at, "HDEL", VALUE_NULL);
}

bool http_value_replace(struct http_call *call, enum kv_type type, uint32_t at)
{
    kvsql_slice value;

    if (type == KV_STRING)
        return http_value_bytes(call, at, "the value", &value) &&
               HTTP_SAY(call, HTTP_WORD("SET"), call->key, value);
    if (!HTTP_SAY(call, HTTP_WORD("DEL"), call->key))
        return false;
    if (type == KV_HASH)
        return value_fields_say(call, at, "HSET", VALUE_ALL);
    kvsql_slice words[2] = {HTTP_WORD("RPUSH"), call->key};
    if (type == KV_SET)
        words[0] = HTTP_WORD("SADD");
    if (type == KV_ZSET)
        words[0] = HTTP_WORD("ZADD");
    bool good = type == KV_ZSET ? http_value_scores(call, at, words, 2)
                                : http_value_each(call, at, words, 2);
    if (good && call->json.tokens[at].count == 0)
        http_call_unsay(call);
    return good;
}

/* ---- out -------------------------------------------------------------------------- */

unsigned http_value_command(enum kv_type type, kvsql_slice key,
                            kvsql_slice argv[HTTP_VALUE_WORDS])
{
    static const struct {
        kvsql_slice name;
        unsigned count;
    } rows[] = {
        [KV_STRING] = {{"GET", 3}, 2},  [KV_HASH] = {{"HGETALL", 7}, 2},
        [KV_LIST] = {{"LRANGE", 6}, 4}, [KV_SET] = {{"SMEMBERS", 8}, 2},
        [KV_ZSET] = {{"ZRANGE", 6}, 5},
    };

    KV_ASSERT(type >= KV_STRING && type <= KV_ZSET);
    argv[0] = rows[type].name;
    argv[1] = key;
    argv[2] = HTTP_WORD("0");
    argv[3] = HTTP_WORD("-1");
    argv[4] = HTTP_WORD("WITHSCORES");
    return rows[type].count;
}

void http_value_path(struct kv_buf *out, enum kv_type type, kvsql_slice key)
{
    static const char *const rooms[] = {
        [KV_NONE] = "keys",  [KV_STRING] = "strings", [KV_HASH] = "hashes",
        [KV_LIST] = "lists", [KV_SET] = "sets",       [KV_ZSET] = "zsets",
        [KV_STREAM] = "keys"};

    kv_buf_printf(out, key.size > 0 ? "/v1/%s/" : "/v1/%s//", rooms[type]);
    http_escape(out, key);
}

void http_value_pattern(struct kv_buf *out, kvsql_slice prefix)
{
    const uint8_t *p = prefix.p;

    for (size_t i = 0; i < prefix.size; i++) {
        if (p[i] != 0 && strchr("*?[\\", p[i]) != NULL)
            kv_buf_byte(out, '\\');
        kv_buf_byte(out, p[i]);
    }
    kv_buf_byte(out, '*');
}

void http_value_item(struct kv_buf *out, const struct cmd_item *item)
{
    if (item->kind == CMD_REPLY_NULL || item->kind == CMD_REPLY_NULL_ARRAY)
        kv_buf_text(out, "null");
    else
        http_json_bytes(out, item->p, item->size,
                        kv_class_of(item->p, item->size) == KV_BLOB);
}

void http_value_array(struct kv_buf *out, const struct cmd_reply *reply)
{
    struct cmd_item item;
    size_t offset = 0;
    bool first = true;

    (void)cmd_reply_next(reply, &offset, &item); /* how many */
    kv_buf_byte(out, '[');
    while (cmd_reply_next(reply, &offset, &item)) {
        if (!first)
            kv_buf_byte(out, ',');
        first = false;
        http_value_item(out, &item);
    }
    kv_buf_byte(out, ']');
}

void http_value_scored(struct kv_buf *out, const struct cmd_reply *reply)
{
    struct cmd_item item;
    size_t offset = 0;
    bool pairs, first = true;

    (void)cmd_reply_next(reply, &offset, &item);
    pairs = item.kind == CMD_REPLY_PAIRS;
    kv_buf_byte(out, '[');
    while (cmd_reply_next(reply, &offset, &item)) {
        kv_buf_text(out, first ? "{\"member\":" : ",{\"member\":");
        first = false;
        http_value_item(out, &item);
        if (pairs && cmd_reply_next(reply, &offset, &item)) {
            kv_buf_text(out, ",\"score\":");
            http_json_double(out, item.real, false);
        }
        kv_buf_byte(out, '}');
    }
    kv_buf_byte(out, ']');
}

/* Must the names stand in pairs? */
static bool value_needs_pairs(const struct cmd_reply *reply)
{
    struct cmd_item item;
    size_t offset = 0;

    (void)cmd_reply_next(reply, &offset, &item);
    while (cmd_reply_next(reply, &offset, &item)) {
        if (kv_class_of(item.p, item.size) == KV_BLOB ||
            (item.size > 0 && item.p[0] == '$'))
            return true;
        (void)cmd_reply_next(reply, &offset, &item); /* its value */
    }
    return false;
}

void http_value_object(struct kv_buf *out, const struct cmd_reply *reply,
                       bool pairs)
{
    struct cmd_item item;
    size_t offset = 0;
    bool first = true;

    pairs = pairs || value_needs_pairs(reply);
    (void)cmd_reply_next(reply, &offset, &item);
    kv_buf_text(out, pairs ? "{\"$pairs\":[" : "{");
    while (cmd_reply_next(reply, &offset, &item)) {
        if (!first)
            kv_buf_byte(out, ',');
        first = false;
        if (pairs)
            kv_buf_byte(out, '[');
        http_value_item(out, &item);
        kv_buf_byte(out, pairs ? ',' : ':');
        (void)cmd_reply_next(reply, &offset, &item);
        http_value_item(out, &item);
        if (pairs)
            kv_buf_byte(out, ']');
    }
    kv_buf_text(out, pairs ? "]}" : "}");
}

void http_value_answer(struct http_call *call, enum kv_type type,
                       const struct cmd_reply *reply)
{
    kvsql_slice shape = http_param(call->request, "shape");
    struct cmd_item item = {0};
    size_t offset = 0;
    struct kv_buf *out;

    if (type == KV_STRING) {
        (void)cmd_reply_next(reply, &offset, &item);
        http_call_raw(call, &item);
        return;
    }
    out = http_call_answer(call);
    if (type == KV_HASH)
        http_value_object(out, reply, http_is(shape, "pairs"));
    else if (type == KV_ZSET)
        http_value_scored(out, reply);
    else
        http_value_array(out, reply);
}

void http_value_counted(struct http_call *call)
{
    struct kv_buf *out = http_call_answer(call);
    struct cmd_item item = http_call_item(call, 0);

    kv_buf_text(out, "{\"value\":");
    if (item.kind == CMD_REPLY_INT)
        http_json_int(out, item.number);
    else /* the text of a finite number, as it is stored */
        kv_buf_add(out, item.p, item.size);
    kv_buf_byte(out, '}');
}

void http_value_list(struct http_call *call, const char *name)
{
    struct kv_buf *out = http_call_answer(call);

    kv_buf_printf(out, "{\"%s\":", name);
    http_value_array(out, &call->commands[0].reply);
    kv_buf_byte(out, '}');
}

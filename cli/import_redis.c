/* import_redis.c - the keys of a running server of the Redis protocol, by SCAN
 * and the type's read commands, with the times to live.
 *
 * A page of keys is asked for its types and times in one go, then for its
 * strings; each collection comes in slices, so none has to fit into memory. What
 * is written there meanwhile may be seen or not; a key that is gone when its
 * turn comes is left out.
 *
 * Thread: the main thread. */
#include "cli/import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/redis.h"
#include "kvsql/base/num.h"
#include "kvsql/base/os.h"

#define REDIS_PAGE "512"   /* keys that one SCAN is asked for */
#define REDIS_SLICE 1000   /* elements of a collection at a time */
#define REDIS_KEYS_MAX ((size_t)256 << 20)
#define REDIS_PASSWORD_MAX 1024

struct redis_key {
    size_t at, size;    /* in keys */
    int64_t expires_at; /* 0 never, -1: the key is gone */
    char type[8];       /* "" = one that we do not have */
};

struct redis_import {
    struct cli_import *import;
    struct cli_redis *redis;
    char cursor[32];
    struct kv_buf keys;  /* their bytes, behind each other */
    struct kv_buf rows;  /* a struct redis_key each */
    struct kv_buf kept;  /* a member, or fields */
    bool times;          /* it knows PEXPIRETIME */
    bool field_times;    /* ... and HPEXPIRETIME */
    uint64_t left_out;
    char left_type[32];  /* of the first that was left out */
};

static struct redis_key *redis_row(const struct redis_import *r, size_t i)
{
    return (struct redis_key *)(void *)r->rows.p + i;
}

static size_t redis_count(const struct redis_import *r)
{
    return r->rows.size / sizeof(struct redis_key);
}

static kvsql_slice redis_key(const struct redis_import *r, size_t i)
{
    const struct redis_key *row = redis_row(r, i);

    return (kvsql_slice){r->keys.p + row->at, row->size};
}

/* A command about a key, with `more` words behind. */
static void redis_ask(struct redis_import *r, const char *name, size_t key,
                      unsigned more)
{
    cli_redis_command(r->redis, 2 + more, name);
    cli_redis_word(r->redis, redis_key(r, key));
}

/* ---- a page of keys ------------------------------------------------------------------ */

static kvsql_rc redis_scan(struct redis_import *r, struct kvsql_error *err)
{
    struct cli_redis_item item;

    kv_buf_reset(&r->keys, 1u << 20);
    kv_buf_reset(&r->rows, 1u << 20);
    cli_redis_command(r->redis, 4, "SCAN");
    cli_redis_text(r->redis, r->cursor);
    cli_redis_text(r->redis, "COUNT");
    cli_redis_text(r->redis, REDIS_PAGE);
    kvsql_rc rc = cli_redis_send(r->redis, err);
    if (rc == KVSQL_OK)
        rc = cli_redis_want(r->redis, CLI_REDIS_ARRAY, &item, err);
    if (rc == KVSQL_OK)
        rc = cli_redis_want(r->redis, CLI_REDIS_BULK, &item, err);
    if (rc == KVSQL_OK)
        (void)snprintf(r->cursor, sizeof(r->cursor), "%.*s",
                       (int)item.bytes.size, (const char *)item.bytes.p);
    if (rc == KVSQL_OK)
        rc = cli_redis_want(r->redis, CLI_REDIS_ARRAY, &item, err);
    for (int64_t left = rc == KVSQL_OK ? item.number : 0;
         rc == KVSQL_OK && left > 0; left--) {
        rc = cli_redis_want(r->redis, CLI_REDIS_BULK, &item, err);
        if (rc != KVSQL_OK)
            break;
        const struct redis_key row = {.at = r->keys.size,
                                      .size = item.bytes.size};
        kv_buf_add(&r->keys, item.bytes.p, item.bytes.size);
        kv_buf_add(&r->rows, &row, sizeof(row));
    }
    if (rc == KVSQL_OK)
        rc = kv_buf_result(&r->keys, "names of keys", err);
    return rc == KVSQL_OK ? kv_buf_result(&r->rows, "names of keys", err) : rc;
}

static void redis_type(struct redis_import *r, struct redis_key *row,
                       kvsql_slice type)
{
    static const char *const known[] = {"string", "hash", "list", "set",
                                        "zset", "none"};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strlen(known[i]) == type.size &&
            memcmp(known[i], type.p, type.size) == 0)
            memcpy(row->type, known[i], type.size + 1);
    if (row->type[0] != '\0')
        return;
    if (r->left_out++ == 0)
        (void)snprintf(r->left_type, sizeof(r->left_type), "%.*s",
                       (int)type.size, (const char *)type.p);
}

/* -2 is a key that is not there, -1 one without a time. */
static int64_t redis_expiry(const struct redis_import *r, int64_t answer)
{
    if (answer == -2)
        return -1;
    if (answer < 0)
        return 0;
    if (r->times)
        return answer;
    return kv_os_real()->wall_ms(kv_os_real()->arg) + answer;
}

static kvsql_rc redis_facts(struct redis_import *r, struct kvsql_error *err)
{
    struct cli_redis_item item;

    for (size_t i = 0; i < redis_count(r); i++) {
        redis_ask(r, "TYPE", i, 0);
        redis_ask(r, r->times ? "PEXPIRETIME" : "PTTL", i, 0);
    }
    kvsql_rc rc = cli_redis_send(r->redis, err);
    for (size_t i = 0; rc == KVSQL_OK && i < redis_count(r); i++) {
        rc = cli_redis_want(r->redis, CLI_REDIS_STATUS, &item, err);
        if (rc != KVSQL_OK)
            break;
        redis_type(r, redis_row(r, i), item.bytes);
        rc = cli_redis_want(r->redis, CLI_REDIS_INT, &item, err);
        if (rc == KVSQL_OK)
            redis_row(r, i)->expires_at = redis_expiry(r, item.number);
    }
    return rc;
}

static bool redis_is(const struct redis_import *r, size_t i, const char *type)
{
    return redis_row(r, i)->expires_at >= 0 &&
           strcmp(redis_row(r, i)->type, type) == 0;
}

/* ---- what goes to the other side ------------------------------------------------------ */

static void redis_put(struct redis_import *r, const char *command, size_t key)
{
    cmd_words_command(&r->import->batch, command);
    cli_import_key(r->import, "", redis_key(r, key));
}

/* The key is complete: its time, and count it. */
static kvsql_rc redis_done(struct redis_import *r, size_t i,
                           struct kvsql_error *err)
{
    const struct redis_key *row = redis_row(r, i);
    char text[KV_INT_TEXT_MAX];

    if (row->expires_at > 0) {
        redis_put(r, "PEXPIREAT", i);
        cmd_words_word(&r->import->batch, text,
                       kv_num_format_int(text, row->expires_at));
    }
    return cli_import_record(r->import, redis_key(r, i), err);
}

static kvsql_rc redis_strings(struct redis_import *r, struct kvsql_error *err)
{
    struct cli_redis_item item;

    for (size_t i = 0; i < redis_count(r); i++)
        if (redis_is(r, i, "string"))
            redis_ask(r, "GET", i, 0);
    kvsql_rc rc = cli_redis_send(r->redis, err);
    for (size_t i = 0; rc == KVSQL_OK && i < redis_count(r); i++) {
        if (!redis_is(r, i, "string"))
            continue;
        rc = cli_redis_next(r->redis, &item, err);
        if (rc != KVSQL_OK || item.kind != CLI_REDIS_BULK)
            continue; /* it is gone, or another type by now */
        redis_put(r, "SET", i);
        cmd_words_word(&r->import->batch, item.bytes.p, item.bytes.size);
        rc = redis_done(r, i, err);
    }
    return rc;
}

/* ---- collections ------------------------------------------------------------------------ */

/* How a type is read, and made. */
struct redis_shape {
    const char *type, *read, *write;
    unsigned words; /* of an element */
    bool swap;      /* the second word comes first */
};

static const struct redis_shape redis_shapes[] = {
    {"list", "LRANGE", "RPUSH", 1, false},
    {"set", "SSCAN", "SADD", 1, false},
    {"hash", "HSCAN", "HSET", 2, false},
    {"zset", "ZSCAN", "ZADD", 2, true}};
#define REDIS_SHAPES (sizeof(redis_shapes) / sizeof(redis_shapes[0]))

/* One word of an element into the batch; the first of a pair may wait. */
static void redis_element(struct redis_import *r,
                          const struct redis_shape *shape, bool first,
                          kvsql_slice word)
{
    struct cmd_words *batch = &r->import->batch;

    if (shape->swap && first) {
        kv_buf_reset(&r->kept, 1u << 20);
        kv_buf_add(&r->kept, word.p, word.size);
        return;
    }
    cmd_words_word(batch, word.p, word.size);
    if (shape->swap)
        cmd_words_word(batch, r->kept.p, r->kept.size);
}

/* `count` words that the server sends now; a large batch goes in between. */
static kvsql_rc redis_elements(struct redis_import *r,
                               const struct redis_shape *shape, size_t key,
                               int64_t count, struct kvsql_error *err)
{
    struct cli_redis_item item;
    bool begun = false;
    kvsql_rc rc = KVSQL_OK;

    for (int64_t i = 0; rc == KVSQL_OK && i < count; i++) {
        const bool first = i % shape->words == 0;

        if (first && begun && cli_import_full(r->import)) {
            rc = cli_import_flush(r->import, err);
            begun = false;
        }
        if (rc == KVSQL_OK && !begun)
            redis_put(r, shape->write, key);
        begun = true;
        if (rc == KVSQL_OK)
            rc = cli_redis_want(r->redis, CLI_REDIS_BULK, &item, err);
        if (rc == KVSQL_OK)
            redis_element(r, shape, first, item.bytes);
    }
    return rc == KVSQL_OK ? kv_buf_result(&r->kept, "a member", err) : rc;
}

/* One slice of LRANGE from *from on; *more when it was full. */
static kvsql_rc redis_range(struct redis_import *r,
                            const struct redis_shape *shape, size_t key,
                            int64_t *from, bool *more, struct kvsql_error *err)
{
    struct cli_redis_item item;
    char text[KV_INT_TEXT_MAX];

    redis_ask(r, shape->read, key, 2);
    (void)kv_num_format_int(text, *from);
    cli_redis_text(r->redis, text);
    (void)kv_num_format_int(text, *from + REDIS_SLICE - 1);
    cli_redis_text(r->redis, text);
    kvsql_rc rc = cli_redis_send(r->redis, err);
    if (rc == KVSQL_OK)
        rc = cli_redis_want(r->redis, CLI_REDIS_ARRAY, &item, err);
    if (rc != KVSQL_OK)
        return rc;
    *more = item.number == REDIS_SLICE;
    *from += item.number;
    return redis_elements(r, shape, key, item.number, err);
}

/* One slice of a SCAN over elements; *more when the cursor goes on. */
static kvsql_rc redis_slice(struct redis_import *r,
                            const struct redis_shape *shape, size_t key,
                            char cursor[32], bool *more,
                            struct kvsql_error *err)
{
    struct cli_redis_item item;
    char count[16];

    (void)snprintf(count, sizeof(count), "%d", REDIS_SLICE);
    redis_ask(r, shape->read, key, 3);
    cli_redis_text(r->redis, cursor);
    cli_redis_text(r->redis, "COUNT");
    cli_redis_text(r->redis, count);
    kvsql_rc rc = cli_redis_send(r->redis, err);
    if (rc == KVSQL_OK)
        rc = cli_redis_want(r->redis, CLI_REDIS_ARRAY, &item, err);
    if (rc == KVSQL_OK)
        rc = cli_redis_want(r->redis, CLI_REDIS_BULK, &item, err);
    if (rc != KVSQL_OK)
        return rc;
    (void)snprintf(cursor, 32, "%.*s", (int)item.bytes.size,
                   (const char *)item.bytes.p);
    *more = strcmp(cursor, "0") != 0;
    rc = cli_redis_want(r->redis, CLI_REDIS_ARRAY, &item, err);
    return rc == KVSQL_OK ? redis_elements(r, shape, key, item.number, err)
                          : rc;
}

static kvsql_rc redis_collection(struct redis_import *r,
                                 const struct redis_shape *shape, size_t key,
                                 struct kvsql_error *err)
{
    char cursor[32] = "0";
    int64_t from = 0;
    bool more = true;
    kvsql_rc rc = KVSQL_OK;

    redis_put(r, "DEL", key);
    while (rc == KVSQL_OK && more)
        rc = strcmp(shape->read, "LRANGE") == 0
                 ? redis_range(r, shape, key, &from, &more, err)
                 : redis_slice(r, shape, key, cursor, &more, err);
    return rc;
}

/* ---- times of fields ----------------------------------------------------------------------- */

/* The names of all fields into `kept`: u32 size, bytes. */
static kvsql_rc redis_fields(struct redis_import *r, size_t key,
                             int64_t *count, struct kvsql_error *err)
{
    struct cli_redis_item item;

    kv_buf_reset(&r->kept, 1u << 20);
    redis_ask(r, "HKEYS", key, 0);
    kvsql_rc rc = cli_redis_send(r->redis, err);
    if (rc == KVSQL_OK)
        rc = cli_redis_want(r->redis, CLI_REDIS_ARRAY, &item, err);
    *count = rc == KVSQL_OK ? item.number : 0;
    for (int64_t i = 0; rc == KVSQL_OK && i < *count; i++) {
        rc = cli_redis_want(r->redis, CLI_REDIS_BULK, &item, err);
        if (rc != KVSQL_OK)
            break;
        kv_buf_u32(&r->kept, (uint32_t)item.bytes.size);
        kv_buf_add(&r->kept, item.bytes.p, item.bytes.size);
    }
    return rc == KVSQL_OK ? kv_buf_result(&r->kept, "fields", err) : rc;
}

static kvsql_slice redis_field(const struct redis_import *r, size_t *at)
{
    const kvsql_slice field = {r->kept.p + *at + 4,
                               kv_u32_get(r->kept.p + *at)};

    *at += 4 + field.size;
    return field;
}

static void redis_field_time(struct redis_import *r, size_t key,
                             kvsql_slice field, int64_t time)
{
    struct cmd_words *batch = &r->import->batch;
    char text[KV_INT_TEXT_MAX];

    redis_put(r, "HPEXPIREAT", key);
    cmd_words_word(batch, text, kv_num_format_int(text, time));
    cmd_words_word(batch, "FIELDS", 6);
    cmd_words_word(batch, "1", 1);
    cmd_words_word(batch, field.p, field.size);
}

static kvsql_rc redis_field_times(struct redis_import *r, size_t key,
                                  struct kvsql_error *err)
{
    struct cli_redis_item item;
    char text[KV_INT_TEXT_MAX];
    int64_t count;
    size_t at = 0;
    kvsql_rc rc = redis_fields(r, key, &count, err);

    if (rc != KVSQL_OK || count == 0)
        return rc;
    redis_ask(r, "HPEXPIRETIME", key, (unsigned)count + 2);
    cli_redis_text(r->redis, "FIELDS");
    (void)kv_num_format_int(text, count);
    cli_redis_text(r->redis, text);
    while (at < r->kept.size)
        cli_redis_word(r->redis, redis_field(r, &at));
    rc = cli_redis_send(r->redis, err);
    if (rc == KVSQL_OK)
        rc = cli_redis_want(r->redis, CLI_REDIS_ARRAY, &item, err);
    at = 0;
    for (int64_t i = rc == KVSQL_OK ? item.number : 0;
         rc == KVSQL_OK && i > 0 && at < r->kept.size; i--) {
        rc = cli_redis_want(r->redis, CLI_REDIS_INT, &item, err);
        const kvsql_slice field = redis_field(r, &at);
        if (rc == KVSQL_OK && item.number > 0)
            redis_field_time(r, key, field, item.number);
        if (rc == KVSQL_OK && cli_import_full(r->import))
            rc = cli_import_flush(r->import, err);
    }
    return rc;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static kvsql_rc redis_collections(struct redis_import *r,
                                  struct kvsql_error *err)
{
    kvsql_rc rc = KVSQL_OK;

    for (size_t i = 0; rc == KVSQL_OK && i < redis_count(r); i++)
        for (size_t k = 0; rc == KVSQL_OK && k < REDIS_SHAPES; k++) {
            if (!redis_is(r, i, redis_shapes[k].type))
                continue;
            rc = redis_collection(r, &redis_shapes[k], i, err);
            if (rc == KVSQL_OK && r->field_times &&
                redis_is(r, i, "hash"))
                rc = redis_field_times(r, i, err);
            if (rc == KVSQL_OK)
                rc = redis_done(r, i, err);
        }
    return rc;
}

/* Does the server know this command of `count` words? */
static kvsql_rc redis_knows(struct redis_import *r, const char *const *words,
                            unsigned count, bool *knows,
                            struct kvsql_error *err)
{
    struct cli_redis_item item;

    cli_redis_command(r->redis, count, words[0]);
    for (unsigned i = 1; i < count; i++)
        cli_redis_text(r->redis, words[i]);
    kvsql_rc rc = cli_redis_send(r->redis, err);
    if (rc == KVSQL_OK)
        rc = cli_redis_next(r->redis, &item, err);
    *knows = rc == KVSQL_OK && item.kind != CLI_REDIS_ERROR;
    for (int64_t i = *knows && item.kind == CLI_REDIS_ARRAY ? item.number : 0;
         rc == KVSQL_OK && i > 0; i--)
        rc = cli_redis_next(r->redis, &item, err);
    return rc;
}

static kvsql_rc redis_begin(struct redis_import *r, struct kvsql_error *err)
{
    static const char *const expire[] = {"PEXPIRETIME", "kvsql:import"};
    static const char *const field[] = {"HPEXPIRETIME", "kvsql:import",
                                        "FIELDS", "1", "f"};
    struct cli_redis_item item;

    cli_redis_command(r->redis, 1, "DBSIZE");
    kvsql_rc rc = cli_redis_send(r->redis, err);
    if (rc == KVSQL_OK)
        rc = cli_redis_want(r->redis, CLI_REDIS_INT, &item, err);
    if (rc == KVSQL_OK) {
        r->import->file_size = (uint64_t)item.number;
        rc = redis_knows(r, expire, 2, &r->times, err);
    }
    return rc == KVSQL_OK ? redis_knows(r, field, 5, &r->field_times, err) : rc;
}

static kvsql_rc redis_pages(struct redis_import *r, struct kvsql_error *err)
{
    kvsql_rc rc = redis_begin(r, err);

    (void)snprintf(r->cursor, sizeof(r->cursor), "0");
    do {
        if (rc == KVSQL_OK)
            rc = redis_scan(r, err);
        if (rc == KVSQL_OK)
            rc = redis_facts(r, err);
        if (rc == KVSQL_OK)
            rc = redis_strings(r, err);
        if (rc == KVSQL_OK)
            rc = redis_collections(r, err);
        r->import->file_read += redis_count(r);
    } while (rc == KVSQL_OK && strcmp(r->cursor, "0") != 0);
    if (rc == KVSQL_OK && r->import->waiting > 0)
        rc = cli_import_flush(r->import, err);
    if (rc == KVSQL_OK && r->left_out > 0)
        rc = kv_fail(err, KVSQL_INVALID,
                     "%llu keys were left out: kvsql has no type '%s'",
                     (unsigned long long)r->left_out, r->left_type);
    return rc;
}

/* The first line of the file, else the variable KVSQL_FROM_PASSWORD. */
static kvsql_rc redis_password(const char *path,
                               char password[REDIS_PASSWORD_MAX],
                               struct kvsql_error *err)
{
    const char *variable = getenv("KVSQL_FROM_PASSWORD");

    password[0] = '\0';
    if (path[0] == '\0') {
        if (variable != NULL)
            (void)snprintf(password, REDIS_PASSWORD_MAX, "%s", variable);
        return KVSQL_OK;
    }
    FILE *file = fopen(path, "re");
    const bool good =
        file != NULL && fgets(password, REDIS_PASSWORD_MAX, file) != NULL;
    if (file != NULL)
        (void)fclose(file);
    password[strcspn(password, "\r\n")] = '\0';
    return good ? KVSQL_OK
                : kv_fail(err, KVSQL_IO, "cannot read a password from %s",
                          path);
}

kvsql_rc cli_import_redis(struct cli_import *import, struct kvsql_error *err)
{
    struct redis_import r = {.import = import};
    char password[REDIS_PASSWORD_MAX];
    kvsql_rc rc = redis_password(
        cli_text(import->settings, CLI_OPT_FROM_PASSWORD), password, err);

    if (rc == KVSQL_OK)
        rc = cli_redis_open(cli_text(import->settings, CLI_OPT_IMPORT_FROM),
                            password, &r.redis, err);
    if (rc != KVSQL_OK)
        return rc;
    kv_buf_init(&r.keys, KV_MEM_CLIENT, REDIS_KEYS_MAX);
    kv_buf_init(&r.rows, KV_MEM_CLIENT, REDIS_KEYS_MAX);
    kv_buf_init(&r.kept, KV_MEM_CLIENT, REDIS_KEYS_MAX);
    rc = redis_pages(&r, err);
    kv_buf_fini(&r.keys);
    kv_buf_fini(&r.rows);
    kv_buf_fini(&r.kept);
    cli_redis_close(r.redis);
    return rc;
}

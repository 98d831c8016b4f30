/* evict_fx.h - the fixture of a test program that is about maxmemory and how keys
 * are used: `db` in memory, with the test's own clock and the same randomness each
 * time; commands are typed as lines.
 *
 * Thread: the test's. */
#ifndef KVSQL_TESTS_LIB_EVICT_FX_H
#define KVSQL_TESTS_LIB_EVICT_FX_H

#include <stdio.h>
#include <string.h>

#include "command/command.h"
#include "kvsql/admin.h"
#include "kvsql/store_private.h"
#include "tests/lib/clock_fx.h"
#include "tests/lib/unit.h"

#define KEYS 4000
#define VALUE_SIZE 100
#define VALUE_BIG 5000

static kvsql *db;
static struct kvsql_error err;
static struct cmd_reply reply;
static struct kv_buf line_buf, out;

static inline void fake_random(void *arg, void *p, size_t size)
{
    (void)arg;
    memset(p, 0x5a, size); /* the same run each time */
}

static inline void open_store(const char *dir)
{
    const struct kvsql_options options = {.no_keeper = true};

    ck_assert_int_eq(
        kv_open_os(dir, &options, &clock_os, NULL, NULL, &db, &err), KVSQL_OK);
}

static inline void setup(void)
{
    clock_start(1000000000);
    clock_os.random = fake_random;
    open_store("");
    cmd_reply_init(&reply, 64 << 20);
    kv_buf_init(&line_buf, KV_MEM_MISC, 1 << 20);
    kv_buf_init(&out, KV_MEM_MISC, 64 << 20);
}

static inline void teardown(void)
{
    cmd_reply_fini(&reply);
    kv_buf_fini(&line_buf);
    kv_buf_fini(&out);
    ck_assert_int_eq(kv_close(db, &err), KVSQL_OK);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_NODE), 0);
}

/* The RESP2 answer to a line, with `|` for CR LF. */
static inline const char *ask(const char *line)
{
    static kvsql_slice args[CMD_LINE_ARGS_MAX];
    struct kv_ticket ticket;
    unsigned count;
    size_t size = 0;

    ck_assert_int_eq(cmd_split(line, strlen(line), &line_buf, args, &count,
                               &err),
                     KVSQL_OK);
    cmd_run(db, count, args, true, &reply, &ticket);
    kv_buf_reset(&out, out.cap);
    cmd_reply_resp2(&reply, &out);
    kv_buf_byte(&out, 0);
    for (size_t i = 0; i < out.size; i++) {
        if (out.p[i] == '\r')
            out.p[size++] = '|';
        else if (out.p[i] != '\n')
            out.p[size++] = out.p[i];
    }
    return (const char *)out.p;
}

#define ASK(line, answer) ck_assert_str_eq(ask(line), answer)

static inline const char *ask_key(const char *format, unsigned i)
{
    char line[256];

    (void)snprintf(line, sizeof(line), format, i);
    return ask(line);
}

static inline struct kv_info info_now(void)
{
    struct kv_info info;

    kv_info_get(db, &info);
    return info;
}

static inline bool is_there(const char *format, unsigned i)
{
    return strcmp(ask_key(format, i), ":1|") == 0;
}

static inline void put_size(unsigned i, size_t size, int64_t expires_at)
{
    static const char value[VALUE_BIG] = "v";
    char name[32];
    const struct kv_key key = kv_key_of(
        name, (size_t)snprintf(name, sizeof(name), "key:%u", i));
    struct kv_txn *txn;

    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    ck_assert_int_eq(kv_set(txn, &key, (kvsql_slice){value, size}, expires_at,
                            &err),
                     KVSQL_OK);
    ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
}

static inline void put(unsigned i, int64_t expires_at)
{
    put_size(i, VALUE_SIZE, expires_at);
}

/* One whose memory is free at once when it goes. */
static inline void put_big(unsigned i, int64_t expires_at)
{
    put_size(i, VALUE_BIG, expires_at);
}

/* Data and all that counts beside it. */
static inline uint64_t used_now(void)
{
    return info_now().memory_data + kv_mem_bytes(KV_MEM_CLIENT);
}

/* Lower the limit by `bytes` below what is used, and do the keeper's work. The
 * store has one of its own: a tick that meets it does nothing, so it is over when
 * nobody had evicted anything. */
static inline void squeeze(uint64_t bytes)
{
    uint64_t before;
    struct kv_txn *txn;

    kv_set_maxmemory(db, used_now() - bytes);
    do {
        before = info_now().evicted_keys;
        while (kv_store_tick(kv_db_store(db)))
            continue;
        ck_assert_int_eq(kv_txn_begin(db, true, 120000, &txn, &err), KVSQL_OK);
        kv_txn_rollback(txn);
    } while (info_now().evicted_keys != before);
}

#endif

/* test_evict.c - maxmemory and its policies: who goes, who stays, when a write
 * is refused (EV1-EV3, TS11); how long and how often keys were used. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

static void fake_random(void *arg, void *p, size_t size)
{
    (void)arg;
    memset(p, 0x5a, size); /* the same run each time */
}

static void open_store(const char *dir)
{
    const struct kvsql_options options = {.no_keeper = true};

    ck_assert_int_eq(
        kv_open_os(dir, &options, &clock_os, NULL, NULL, &db, &err), KVSQL_OK);
}

static void setup(void)
{
    clock_start(1000000000);
    clock_os.random = fake_random;
    open_store("");
    cmd_reply_init(&reply, 64 << 20);
    kv_buf_init(&line_buf, KV_MEM_MISC, 1 << 20);
    kv_buf_init(&out, KV_MEM_MISC, 64 << 20);
}

static void teardown(void)
{
    cmd_reply_fini(&reply);
    kv_buf_fini(&line_buf);
    kv_buf_fini(&out);
    ck_assert_int_eq(kv_close(db, &err), KVSQL_OK);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_NODE), 0);
}

/* The RESP2 answer to a line, with `|` for CR LF. */
static const char *ask(const char *line)
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

static const char *ask_key(const char *format, unsigned i)
{
    char line[256];

    (void)snprintf(line, sizeof(line), format, i);
    return ask(line);
}

static struct kv_info info_now(void)
{
    struct kv_info info;

    kv_info_get(db, &info);
    return info;
}

static bool is_there(const char *format, unsigned i)
{
    return strcmp(ask_key(format, i), ":1|") == 0;
}

static void put_size(unsigned i, size_t size, int64_t expires_at)
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

static void put(unsigned i, int64_t expires_at)
{
    put_size(i, VALUE_SIZE, expires_at);
}

/* One whose memory is free at once when it goes. */
static void put_big(unsigned i, int64_t expires_at)
{
    put_size(i, VALUE_BIG, expires_at);
}

/* Data and all that counts beside it. */
static uint64_t used_now(void)
{
    return info_now().memory_data + kv_mem_bytes(KV_MEM_CLIENT);
}

/* Lower the limit by `bytes` below what is used, and do the keeper's work. The
 * store has one of its own: a tick that meets it does nothing, so it is over when
 * nobody had evicted anything. */
static void squeeze(uint64_t bytes)
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

/* ---- refusing ----------------------------------------------------------------- */

START_TEST(without_eviction_growing_is_refused_and_the_rest_works)
{
    for (unsigned i = 0; i < 100; i++)
        put(i, 0);
    ASK("RPUSH list a b c", ":3|");
    kv_set_maxmemory(db, 1000);
    ASK("SET new 1",
        "-OOM command not allowed when used memory > 'maxmemory'.|");
    ASK("RPUSH list d",
        "-OOM command not allowed when used memory > 'maxmemory'.|");
    ASK("LPOP list", "$1|a|");
    ASK("GET key:5000", "$-1|");
    ASK("EXPIRE key:3 100", ":1|");
    ASK("RENAME key:3 key:other", "+OK|");
    ASK("DEL key:4", ":1|");
    ck_assert_uint_eq(info_now().evicted_keys, 0);
    ck_assert_uint_eq(info_now().keys, 100);
    kv_set_maxmemory(db, 0);
    ASK("SET new 1", "+OK|");
}
END_TEST

/* Redis's own assignment of the flag, of all its commands (7.0.15, and later
 * ones that came since): whether we have them yet or not. */
START_TEST(the_commands_that_may_grow_the_store_are_those_of_redis)
{
    static const char all[] =
        " "
        "APPEND BITFIELD BITOP BLMOVE BRPOPLPUSH COPY DECR DECRBY "
        "FUNCTION FUNCTION|LOAD FUNCTION|RESTORE GEOADD GEORADIUS "
        "GEORADIUSBYMEMBER GEOSEARCHSTORE GETSET HINCRBY HINCRBYFLOAT "
        "HMSET HSET HSETEX HSETNX INCR INCRBY INCRBYFLOAT INCREX "
        "LINSERT LMOVE LPUSH LPUSHX LSET MSET MSETEX MSETNX PFADD "
        "PFDEBUG PFMERGE PSETEX RESTORE RESTORE-ASKING RPOPLPUSH RPUSH "
        "RPUSHX SADD SDIFFSTORE SET SETBIT SETEX SETNX SETRANGE "
        "SINTERSTORE SORT SUNIONSTORE XADD XGROUP XGROUP|CREATE "
        "XGROUP|CREATECONSUMER XSETID ZADD ZDIFFSTORE ZINCRBY "
        "ZINTERSTORE ZRANGESTORE ZUNIONSTORE ";
    char name[64];

    for (unsigned i = 0; cmd_at(i) != NULL; i++) {
        (void)snprintf(name, sizeof(name), " %s ", cmd_at(i)->name);
        ck_assert_msg((strstr(all, name) != NULL) ==
                          ((cmd_at(i)->flags & CMD_DENYOOM) != 0),
                      "%s: add or drop the flag D in commands.def", name);
    }
}
END_TEST

START_TEST(effects_outside_of_commands_meet_the_same_limit)
{
    const struct kv_key key = kv_key_of("new", 3);
    struct kv_txn *txn;

    put_big(0, 0);
    kv_set_maxmemory(db, 100);
    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    ck_assert_int_eq(kv_set(txn, &key, (kvsql_slice){"v", 1}, 0, &err),
                     KVSQL_OOM);
    ck_assert_int_eq(kv_del(txn, &key, NULL, &err), KVSQL_OK);
    kv_txn_rollback(txn);
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    kv_set_maxmemory(db, used_now() - 50);
    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    ck_assert_int_eq(kv_set(txn, &key, (kvsql_slice){"v", 1}, 0, &err),
                     KVSQL_OK);
    ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
    ASK("EXISTS key:0", ":0|");
    ck_assert_uint_eq(info_now().evicted_keys, 1);
}
END_TEST

START_TEST(a_command_that_had_its_room_is_not_stopped_half_way)
{
    char line[8192] = "HSET wide";

    for (unsigned i = 0; i < 300; i++) {
        const size_t size = strlen(line);
        (void)snprintf(line + size, sizeof(line) - size, " field:%u v%u", i,
                       i);
    }
    put(0, 0);
    kv_set_maxmemory(db, used_now() + 200);
    ASK(line, ":300|");
    ASK("SET a 1",
        "-OOM command not allowed when used memory > 'maxmemory'.|");
}
END_TEST

START_TEST(a_batch_evicts_before_it_and_never_what_it_wrote)
{
    const kvsql_slice set[] = {{"SET", 3}, {"mine", 4}, {"1", 1}};
    const kvsql_slice get[] = {{"GET", 3}, {"mine", 4}};
    const kvsql_slice *const argv[] = {set, set, get};
    const unsigned argc[] = {3, 3, 2};
    struct cmd_reply replies[3];
    struct kv_ticket ticket;
    unsigned failed;

    for (unsigned i = 0; i < 3; i++)
        cmd_reply_init(&replies[i], 1 << 20);
    for (unsigned i = 0; i < 20; i++)
        put_big(i, 0);
    kv_set_maxmemory(db, 1000);
    ck_assert_int_eq(cmd_run_batch(db, 3, argc, argv, false, replies, &failed,
                                   &ticket, &err),
                     KVSQL_OOM);
    ck_assert_str_eq(err.text,
                     "EXECABORT Transaction discarded because of: OOM command "
                     "not allowed when used memory > 'maxmemory'.");
    ck_assert_uint_eq(info_now().keys, 20);
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_RANDOM, 0);
    kv_set_maxmemory(db, used_now() - 5 * VALUE_BIG + 1);
    ck_assert_int_eq(cmd_run_batch(db, 3, argc, argv, false, replies, &failed,
                                   &ticket, &err),
                     KVSQL_OK);
    ck_assert_int_eq(replies[2].rc, KVSQL_OK);
    ASK("GET mine", "$1|1|");
    ck_assert_uint_eq(info_now().evicted_keys, 5);
    for (unsigned i = 0; i < 3; i++)
        cmd_reply_fini(&replies[i]);
}
END_TEST

/* ---- who goes ------------------------------------------------------------------ */

/* Keys 0, 1, ... one a second, then every key of the lower half with an odd
 * number is read. So the least recently used are the even ones of the lower
 * half, in order; then the upper half; then the odd ones. */
static void fill_lru(bool shuffled)
{
    for (unsigned i = 0; i < KEYS; i++) {
        put(shuffled ? i * 7919 % KEYS : i, 0);
        pass_ms(1000);
    }
    for (unsigned i = 1; i < KEYS / 2; i += 2) {
        const unsigned k = shuffled ? i * 7919 % KEYS : i;
        ck_assert_str_ne(ask_key("GET key:%u", k), "$-1|");
        pass_ms(1000);
    }
}

/* Of `gone` evicted keys, those that a perfect policy would have kept. */
static unsigned lru_mistakes(bool shuffled, unsigned *gone)
{
    unsigned mistakes = 0;

    *gone = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        if (is_there("EXISTS key:%u", shuffled ? i * 7919 % KEYS : i))
            continue;
        ++*gone;
        mistakes += i >= KEYS / 2 || i % 2 == 1;
    }
    return mistakes;
}

static void check_lru(bool shuffled)
{
    unsigned gone;

    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    fill_lru(shuffled);
    squeeze(info_now().memory_data / 8);
    const unsigned mistakes = lru_mistakes(shuffled, &gone);
    ck_assert_uint_eq(gone, info_now().evicted_keys);
    ck_assert_uint_gt(gone, KEYS / 10);
    ck_assert_uint_lt(gone, KEYS / 5); /* no more than was asked for */
    ck_assert_msg(mistakes <= gone / 20, "%u of %u", mistakes, gone);
}

START_TEST(allkeys_lru_evicts_what_was_not_used_for_long)
{
    check_lru(true);
}
END_TEST

START_TEST(allkeys_lru_is_good_when_neighbours_are_of_one_age_too)
{
    check_lru(false);
}
END_TEST

START_TEST(volatile_lru_evicts_only_keys_with_a_time_to_live)
{
    kv_set_maxmemory_policy(db, KVSQL_VOLATILE_LRU, 0);
    for (unsigned i = 0; i < KEYS; i++) {
        put(i, i % 8 == 0 ? clock_wall + 100000000 : 0);
        pass_ms(1000);
    }
    squeeze(info_now().memory_data / 16);
    const uint64_t evicted = info_now().evicted_keys;
    ck_assert_uint_gt(evicted, KEYS / 20);
    ck_assert_uint_eq(info_now().keys, KEYS - evicted);
    unsigned old = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        const bool there = is_there("EXISTS key:%u", i);
        ck_assert(there || i % 8 == 0);
        old += !there && i < KEYS * 5 / 8;
    }
    ck_assert_uint_ge(old, evicted * 9 / 10);
    squeeze(info_now().memory_data / 2); /* more than they can give */
    ck_assert_uint_eq(info_now().keys, KEYS - KEYS / 8);
    ck_assert_uint_eq(info_now().keys_with_expiry, 0);
    ASK("SET new 1",
        "-OOM command not allowed when used memory > 'maxmemory'.|");
}
END_TEST

START_TEST(few_volatile_keys_are_found_among_many)
{
    kv_set_maxmemory_policy(db, KVSQL_VOLATILE_RANDOM, 1);
    for (unsigned i = 0; i < KEYS; i++)
        put_size(i, i == 1234 ? VALUE_BIG : 1, clock_wall + 100000000);
    for (unsigned i = 0; i < KEYS; i++) /* their bounds stay behind */
        if (i != 1234)
            ck_assert_str_eq(ask_key("PERSIST key:%u", i), ":1|");
    kv_set_maxmemory(db, used_now() - 50);
    ASK("SET new 1", "+OK|");
    ASK("EXISTS key:1234", ":0|");
    ck_assert_uint_eq(info_now().keys, KEYS);
}
END_TEST

START_TEST(volatile_ttl_evicts_in_order_of_deadline)
{
    unsigned first = KEYS;

    kv_set_maxmemory_policy(db, KVSQL_VOLATILE_TTL, 0);
    for (unsigned i = 0; i < KEYS; i++)
        put(i * 7919 % KEYS,
            i % 2 == 0 ? clock_wall + 1000000 + i * INT64_C(1000) : 0);
    squeeze(info_now().memory_data / 8);
    for (unsigned i = 0; i < KEYS && first == KEYS; i += 2)
        if (is_there("EXISTS key:%u", i * 7919 % KEYS))
            first = i;
    ck_assert_uint_eq(info_now().evicted_keys, first / 2);
    ck_assert_uint_eq(info_now().keys, KEYS - first / 2);
    ck_assert_uint_gt(first, KEYS / 8);
}
END_TEST

START_TEST(what_has_expired_goes_first_and_is_not_called_evicted)
{
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    for (unsigned i = 0; i < 40; i++)
        put_big(i, i == 39 ? clock_wall + 1 : 0);
    pass_ms(10);
    kv_set_maxmemory(db, used_now() - 50);
    ASK("SET new 1", "+OK|");
    ck_assert_uint_eq(info_now().evicted_keys, 0);
    ck_assert_uint_eq(info_now().expired_keys, 1);
    ck_assert_uint_eq(info_now().keys, 40);
}
END_TEST

START_TEST(allkeys_lfu_keeps_what_is_used_often)
{
    unsigned lost = 0;

    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LFU, 0);
    for (unsigned i = 0; i < KEYS; i++)
        put(i, 0);
    for (unsigned n = 0; n < 40; n++)
        for (unsigned i = 0; i < KEYS; i += 10)
            (void)ask_key("GET key:%u", i);
    squeeze(info_now().memory_data / 4);
    ck_assert_uint_gt(info_now().evicted_keys, KEYS / 5);
    for (unsigned i = 0; i < KEYS; i += 10)
        lost += !is_there("EXISTS key:%u", i);
    ck_assert_uint_eq(lost, 0);
}
END_TEST

START_TEST(volatile_lfu_keeps_what_is_used_often_and_what_lasts)
{
    kv_set_maxmemory_policy(db, KVSQL_VOLATILE_LFU, 0);
    for (unsigned i = 0; i < KEYS; i++)
        put(i, i % 2 == 0 ? clock_wall + 100000000 : 0);
    for (unsigned n = 0; n < 40; n++)
        for (unsigned i = 0; i < KEYS; i += 10)
            (void)ask_key("GET key:%u", i);
    squeeze(info_now().memory_data / 4);
    ck_assert_uint_gt(info_now().evicted_keys, KEYS / 5);
    for (unsigned i = 0; i < KEYS; i++)
        if (i % 10 == 0 || i % 2 == 1)
            ck_assert(is_there("EXISTS key:%u", i));
}
END_TEST

/* Each tenth of the keys loses about a tenth of what is lost. */
static void check_random(enum kvsql_maxmemory_policy policy, unsigned step)
{
    unsigned gone[10] = {0}, all = 0;

    kv_set_maxmemory_policy(db, policy, 0);
    for (unsigned i = 0; i < KEYS; i++)
        put(i, i % step == 0 ? clock_wall + 100000000 : 0);
    squeeze(info_now().memory_data / 4);
    for (unsigned i = 0; i < KEYS; i++) {
        const bool there = is_there("EXISTS key:%u", i);
        ck_assert(there || step == 1 || i % step == 0);
        gone[i / (KEYS / 10)] += !there;
        all += !there;
    }
    ck_assert_uint_gt(all, KEYS / 5);
    for (unsigned i = 0; i < 10; i++) {
        ck_assert_uint_gt(gone[i], all / 10 * 7 / 10);
        ck_assert_uint_lt(gone[i], all / 10 * 13 / 10);
    }
}

START_TEST(allkeys_random_takes_from_everywhere)
{
    check_random(KVSQL_ALLKEYS_RANDOM, 1);
}
END_TEST

START_TEST(volatile_random_takes_from_all_that_expires)
{
    check_random(KVSQL_VOLATILE_RANDOM, 2);
}
END_TEST

START_TEST(huge_values_leave_room_at_once_and_one_is_enough)
{
    char line[128];

    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_RANDOM, 0);
    for (unsigned k = 0; k < 10; k++)
        for (unsigned i = 0; i < 2000; i++) {
            (void)snprintf(line, sizeof(line), "SADD set:%u member:%u", k, i);
            ASK(line, ":1|");
        }
    kv_set_maxmemory(db, used_now() - 100);
    ASK("SET new 1", "+OK|");
    ck_assert_uint_eq(info_now().evicted_keys, 1);
    ck_assert_uint_eq(info_now().keys, 10);
}
END_TEST

START_TEST(long_keys_are_evicted_too)
{
    static char name[3000];
    struct kv_txn *txn;

    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    memset(name, 'k', sizeof(name));
    for (unsigned i = 0; i < 200; i++) {
        (void)snprintf(name + 1000, 8, "%06u", i);
        name[1006] = 'x';
        const struct kv_key key = kv_key_of(name, 1000 + i * 10);
        ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
        ck_assert_int_eq(kv_set(txn, &key, (kvsql_slice){"v", 1}, 0, &err),
                         KVSQL_OK);
        ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
    }
    squeeze(info_now().memory_data / 2);
    ck_assert_uint_lt(info_now().keys, 150);
    ck_assert_uint_gt(info_now().keys, 50);
    kv_store_check(kv_db_store(db));
}
END_TEST

/* ---- views ---------------------------------------------------------------------- */

/* A view is pinned and everything overwritten: the view holds as much again. */
static struct kv_view *pin_and_overwrite(void)
{
    struct kv_view *view;

    for (unsigned i = 0; i < KEYS; i++)
        put(i, 0);
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    for (unsigned i = 0; i < KEYS; i++)
        put(i, 0);
    ck_assert_uint_gt(info_now().memory_retired, info_now().memory_data / 2);
    return view;
}

START_TEST(memory_that_a_view_holds_evicts_no_live_key)
{
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    struct kv_view *const view = pin_and_overwrite();
    kv_set_maxmemory(db, used_now() + info_now().memory_retired / 2);
    while (kv_store_tick(kv_db_store(db)))
        continue;
    ASK("SET new 1", "+OK|");
    ck_assert_uint_eq(info_now().evicted_keys, 0);
    ck_assert_uint_eq(info_now().keys, KEYS + 1);
    /* below what is live keys go, and no more than that asks for */
    squeeze(info_now().memory_data / 8);
    ck_assert_uint_gt(info_now().evicted_keys, KEYS / 10);
    ck_assert_uint_lt(info_now().evicted_keys, KEYS / 5);
    kv_unpin(view);
}
END_TEST

START_TEST(without_eviction_a_view_over_the_limit_refuses_until_it_goes)
{
    struct kv_view *const view = pin_and_overwrite();

    kv_set_maxmemory(db, used_now() + info_now().memory_retired / 2);
    ASK("SET new 1",
        "-OOM command not allowed when used memory > 'maxmemory'.|");
    ck_assert_uint_eq(info_now().keys, KEYS);
    kv_unpin(view);
    ASK("SET new 1", "+OK|"); /* the first write gives the view's memory up */
}
END_TEST

/* ---- batches --------------------------------------------------------------------- */

START_TEST(an_eviction_is_taken_back_with_its_batch)
{
    const struct kv_key key = kv_key_of("new", 3);
    struct kv_txn *txn;

    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    for (unsigned i = 0; i < 200; i++)
        put(i, 0);
    kv_set_maxmemory(db, used_now() - 1000);
    const uint64_t hash = kv_store_hash(kv_db_store(db));
    const uint64_t data = info_now().memory_data;
    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    ck_assert_int_eq(kv_set(txn, &key, (kvsql_slice){"v", 1}, 0, &err),
                     KVSQL_OK);
    ck_assert_uint_gt(kv_txn_count(txn), 5);
    kv_txn_rollback(txn);
    ck_assert_uint_eq(info_now().evicted_keys, 0);
    ck_assert_uint_eq(info_now().memory_data, data);
    ck_assert_uint_eq(info_now().keys, 200);
    ck_assert(kv_store_hash(kv_db_store(db)) == hash);
}
END_TEST

START_TEST(a_burst_that_fills_the_wal_evicts_nothing)
{
    put(0, 0);
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    kv_set_maxmemory(db, used_now() + 10000);
    void *const buffer = kv_mem_alloc(KV_MEM_WAL, 1 << 20);
    ck_assert_ptr_nonnull(buffer);
    while (kv_store_tick(kv_db_store(db)))
        continue;
    for (unsigned i = 0; i < 100; i++)
        ASK("SET a 1", "+OK|");
    kv_mem_free(KV_MEM_WAL, buffer, 1 << 20);
    ck_assert_uint_eq(info_now().evicted_keys, 0);
}
END_TEST

START_TEST(what_was_evicted_stays_away_after_a_restart)
{
    char dir[] = "/tmp/test_evict.XXXXXX";
    char command[64];

    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(kv_close(db, &err), KVSQL_OK);
    open_store(dir);
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    for (unsigned i = 0; i < KEYS; i++)
        put(i, 0);
    squeeze(info_now().memory_data / 4);
    ck_assert_int_eq(kv_sync(db, info_now().position, &err), KVSQL_OK);
    const uint64_t keys = info_now().keys;
    ck_assert_uint_lt(keys, KEYS * 4 / 5);
    ck_assert_int_eq(kv_close(db, &err), KVSQL_OK);
    open_store(dir);
    ck_assert_uint_eq(info_now().keys, keys);
    ck_assert_int_eq(kv_close(db, &err), KVSQL_OK);
    open_store("");
    (void)snprintf(command, sizeof(command), "rm -r %s", dir);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(when_the_nth_allocation_fails_the_store_is_whole)
{
    const struct kv_key key = kv_key_of("new", 3);
    struct kv_txn *txn;
    bool failed = true;

    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    for (unsigned i = 0; i < 300; i++)
        put(i, 0);
    kv_set_maxmemory(db, used_now() - 2000);
    const uint64_t hash = kv_store_hash(kv_db_store(db));
    for (unsigned n = 1; failed; n++) {
        ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
        kv_mem_fail_at(n, 0);
        const kvsql_rc rc =
            kv_set(txn, &key, (kvsql_slice){"v", 1}, 0, &err);
        failed = kv_mem_failed() != 0;
        kv_mem_fail_at(0, 0);
        ck_assert(rc == KVSQL_OK || rc == KVSQL_NOMEM || rc == KVSQL_OOM);
        kv_txn_rollback(txn);
        ck_assert(kv_store_hash(kv_db_store(db)) == hash);
        ck_assert_uint_lt(n, 1000);
    }
}
END_TEST

/* ---- the bytes --------------------------------------------------------------------- */

static uint64_t bytes_of_keys(enum kvsql_maxmemory_policy policy)
{
    kv_set_maxmemory_policy(db, policy, 0);
    ASK("FLUSHALL", "+OK|");
    while (kv_store_tick(kv_db_store(db)))
        continue;
    for (unsigned i = 0; i < 20000; i++)
        ck_assert_str_eq(ask_key("SET %08x:random abcdefgh", i * 2654435761u),
                         "+OK|");
    return info_now().memory_data;
}

START_TEST(a_policy_costs_4_bytes_a_key_and_only_while_it_lasts)
{
    const uint64_t none = bytes_of_keys(KVSQL_NOEVICTION);

    ck_assert_uint_eq(bytes_of_keys(KVSQL_ALLKEYS_RANDOM), none);
    ck_assert_uint_eq(bytes_of_keys(KVSQL_VOLATILE_TTL), none);
    const uint64_t lru = bytes_of_keys(KVSQL_ALLKEYS_LRU);
    ck_assert_uint_gt(lru, none + 20000);
    ck_assert_uint_le(lru, none + 20000 * 4);
    ck_assert_uint_eq(bytes_of_keys(KVSQL_VOLATILE_LFU), lru);
    kv_set_maxmemory_policy(db, KVSQL_NOEVICTION, 0);
    while (kv_store_tick(kv_db_store(db)))
        continue;
    kv_store_check(kv_db_store(db));
    for (unsigned i = 0; i < 20000; i += 100)
        ck_assert_str_eq(ask_key("GET %08x:random", i * 2654435761u),
                         "$8|abcdefgh|");
    ASK("OBJECT FREQ 00000000:random",
        "-ERR An LFU maxmemory policy is not selected, access frequency not "
        "tracked. Please note that when switching between policies at runtime "
        "LRU and LFU data will take some time to adjust.|");
}
END_TEST

/* Does the key's entry hold the bytes? */
static bool has_bytes(const char *name)
{
    struct kv_store *const store = kv_db_store(db);
    const struct kv_key key = kv_key_of(name, strlen(name));
    struct kv_cell cell;

    kv_lock_take(&store->lock);
    const bool found = kv_key_find(store, &key, &cell);
    kv_lock_drop(&store->lock);
    return found && cell.lru != NULL;
}

START_TEST(the_keeper_adds_resets_and_removes_them_with_the_policy)
{
    struct kv_view *view;

    for (unsigned i = 0; i < 2000; i++)
        put(i, i % 3 == 0 ? clock_wall + 1000000 : 0);
    for (unsigned i = 0; i < 300; i++)
        ck_assert_str_eq(ask_key("SADD set member:%u", i), ":1|");
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    ck_assert(!has_bytes("key:0"));
    const uint64_t position = info_now().position;
    static const enum kvsql_maxmemory_policy steps[] = {
        KVSQL_ALLKEYS_LRU, KVSQL_ALLKEYS_LFU, KVSQL_VOLATILE_LFU,
        KVSQL_NOEVICTION};
    for (unsigned s = 0; s < 4; s++) {
        kv_set_maxmemory_policy(db, steps[s], 0);
        while (kv_store_tick(kv_db_store(db)))
            continue;
        kv_store_check(kv_db_store(db));
        ck_assert(has_bytes("key:0") == (steps[s] != KVSQL_NOEVICTION));
        ck_assert(has_bytes("key:1999") == (steps[s] != KVSQL_NOEVICTION));
        ck_assert(has_bytes("set") == (steps[s] != KVSQL_NOEVICTION));
        if (steps[s] == KVSQL_ALLKEYS_LFU)
            ASK("OBJECT FREQ key:77", ":5|");
    }
    ck_assert_uint_eq(info_now().position, position); /* no ops */
    ck_assert_uint_eq(info_now().keys, 2001);
    kv_unpin(view);
}
END_TEST

START_TEST(idle_times_are_true_and_looking_is_no_use)
{
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    ASK("SET a 1", "+OK|");
    ASK("HSET h f v", ":1|");
    pass_ms(5000);
    ASK("OBJECT IDLETIME a", ":5|");
    ASK("EXISTS a", ":1|");
    ASK("TYPE a", "+string|");
    ASK("TTL a", ":-1|");
    ASK("OBJECT ENCODING a", "$3|int|");
    (void)ask("MEMORY USAGE a");
    ASK("OBJECT IDLETIME a", ":5|");
    ASK("OBJECT IDLETIME nokey", "$-1|");
    ASK("GET a", "$1|1|");
    ASK("OBJECT IDLETIME a", ":0|");
    pass_ms(7000);
    ASK("MGET a", "*1|$1|1|");
    ASK("TOUCH h", ":1|");
    ASK("OBJECT IDLETIME a", ":0|");
    ASK("OBJECT IDLETIME h", ":0|");
    pass_ms(90000);
    ASK("OBJECT IDLETIME h", ":90|");
    ASK("HSET h f w", ":0|");
    ASK("OBJECT IDLETIME h", ":0|");
    pass_ms(1000);
    ASK("RENAME a b", "+OK|");
    ASK("OBJECT IDLETIME b", ":0|");
}
END_TEST

START_TEST(large_collections_are_used_by_their_writes)
{
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    for (unsigned i = 0; i < 500; i++) {
        (void)ask_key("SADD set member:%u", i);
        (void)ask_key("RPUSH list item:%u", i);
    }
    pass_ms(3000);
    ASK("SADD set x", ":1|");
    ASK("OBJECT IDLETIME set", ":0|");
    ASK("OBJECT IDLETIME list", ":3|");
    ASK("RPUSH list x", ":501|");
    ASK("OBJECT IDLETIME list", ":0|");
}
END_TEST

START_TEST(reading_a_view_is_no_use)
{
    const struct kv_key key = kv_key_of("a", 1);
    struct kv_view *view;
    struct kv_item item;
    struct kv_at at;

    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    ASK("SET a 1", "+OK|");
    pass_ms(4000);
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    kv_at_view(view, &at);
    ck_assert(kv_get(&at, &key, &item));
    kv_item_use(&at, &key, &item);
    kv_unpin(view);
    ASK("OBJECT IDLETIME a", ":4|");
}
END_TEST

START_TEST(without_a_policy_idle_times_are_kept_from_the_first_question_on)
{
    ASK("SET a 1", "+OK|");
    ASK("SET b 1", "+OK|");
    pass_ms(5000);
    ck_assert(!has_bytes("a"));
    ASK("OBJECT IDLETIME a", ":0|");
    pass_ms(5000);
    ASK("OBJECT IDLETIME a", ":5|");
    ASK("GET a", "$1|1|");
    ASK("OBJECT IDLETIME a", ":0|");
    ck_assert(!has_bytes("b")); /* nobody asked */
    ASK("SET b 2", "+OK|");
    pass_ms(2000);
    ASK("OBJECT IDLETIME b", ":2|");
    kv_store_check(kv_db_store(db));
}
END_TEST

START_TEST(the_counter_grows_with_use_decays_and_outlives_the_value)
{
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LFU, 0);
    ASK("OBJECT FREQ nokey", "$-1|");
    ASK("SET a 1", "+OK|");
    ASK("OBJECT FREQ a", ":5|");
    ASK("OBJECT IDLETIME a",
        "-ERR An LFU maxmemory policy is selected, idle time not tracked. "
        "Please note that when switching between policies at runtime LRU and "
        "LFU data will take some time to adjust.|");
    for (unsigned i = 0; i < 1000; i++)
        (void)ask("GET a");
    const long used = strtol(ask("OBJECT FREQ a") + 1, NULL, 10);
    ck_assert_int_gt(used, 12); /* 5 + sqrt(2 x 1000 / 10) = 19 */
    ck_assert_int_lt(used, 28);
    pass_ms(3 * 60000);
    ck_assert_int_eq(strtol(ask("OBJECT FREQ a") + 1, NULL, 10), used - 3);
    ASK("SET a 2", "+OK|");
    const long written = strtol(ask("OBJECT FREQ a") + 1, NULL, 10);
    ck_assert(written == used - 3 || written == used - 2);
    ASK("RENAME a b", "+OK|");
    ck_assert_int_ge(strtol(ask("OBJECT FREQ b") + 1, NULL, 10), written);
    pass_ms(INT64_C(300) * 60000);
    ASK("OBJECT FREQ b", ":0|");
}
END_TEST

static void set_lfu(uint32_t factor, uint32_t minutes)
{
    struct kv_txn *txn;

    ck_assert_int_eq(kv_txn_begin(db, false, 0, &txn, &err), KVSQL_OK);
    kv_txn_set_lfu(txn, factor, minutes);
    ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
}

START_TEST(the_counter_follows_lfu_log_factor_and_lfu_decay_time)
{
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LFU, 0);
    ASK("SET a 1", "+OK|");
    set_lfu(0, 1); /* each use counts */
    for (unsigned i = 0; i < 50; i++)
        ASK("GET a", "$1|1|");
    ASK("OBJECT FREQ a", ":55|");
    set_lfu(2147483647, 7); /* hardly any does */
    for (unsigned i = 0; i < 50; i++)
        ASK("GET a", "$1|1|");
    ASK("OBJECT FREQ a", ":55|");
    pass_ms(INT64_C(20) * 60000);
    ASK("OBJECT FREQ a", ":53|");
    set_lfu(10, 0); /* no decay */
    pass_ms(INT64_C(200) * 60000);
    ASK("OBJECT FREQ a", ":55|");
}
END_TEST

START_TEST(candidates_are_kept_while_the_policy_stays)
{
    struct kv_store *const store = kv_db_store(db);

    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    for (unsigned i = 0; i < KEYS; i++)
        put(i, 0);
    squeeze(info_now().memory_data / 4);
    const unsigned count = store->victim_count;
    ck_assert_uint_gt(count, 0);
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 7);
    ck_assert_uint_eq(store->victim_count, count);
    ck_assert_uint_eq(store->evict_samples, 7);
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_RANDOM, 7);
    ck_assert_uint_eq(store->victim_count, 0);
}
END_TEST

/* "hello", as DUMP gives it. */
#define RESTORE_HELLO                                                          \
    "RESTORE r 0 \"KVD\\x01\\x01\\x02\\x00\\x05hello\\x00\\x00\\x00\\x00"           \
    "\\x00\\x00\\x00\\x00\\xc3\\x63\\x0b\\x5d\" REPLACE "

START_TEST(a_restored_key_has_the_use_that_is_said_of_it)
{
    ASK(RESTORE_HELLO "IDLETIME 1000", "+OK|"); /* nothing is noted yet */
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LFU, 0);
    ASK(RESTORE_HELLO "FREQ 100", "+OK|");
    ASK("OBJECT FREQ r", ":100|");
    ASK(RESTORE_HELLO "FREQ 255", "+OK|");
    ASK("OBJECT FREQ r", ":255|");
    ASK("DEL r", ":1|");
    ASK(RESTORE_HELLO "IDLETIME 1000", "+OK|");
    ASK("OBJECT FREQ r", ":5|");
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LRU, 0);
    ASK(RESTORE_HELLO "IDLETIME 1000", "+OK|");
    ASK("OBJECT IDLETIME r", ":1000|");
    pass_ms(5000);
    ASK("OBJECT IDLETIME r", ":1005|");
    ASK(RESTORE_HELLO "IDLETIME 9223372036854775807", "+OK|");
    ASK("OBJECT IDLETIME r", ":8388607|"); /* the most that is told */
    ASK(RESTORE_HELLO "FREQ 100", "+OK|");
    ASK("OBJECT IDLETIME r", ":0|");
    ASK("GET r", "$5|hello|");
}
END_TEST

START_TEST(one_command_uses_a_key_once)
{
    struct kv_store *const store = kv_db_store(db);

    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_LFU, 0);
    ASK("HSET h f 1", ":1|");
    ASK("OBJECT FREQ h", ":5|");
    /* the first use counts always, later ones by chance: 11 rolls at least */
    ASK("HINCRBY h f 1", ":2|");
    ASK("OBJECT FREQ h", ":6|");
    store->random = 1;
    const uint64_t before = store->random;
    ASK("HSET h f 1 g 2 i 3 j 4", ":3|");
    uint64_t x = before; /* one step of the generator, no more */
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    ck_assert_uint_eq(store->random, x);
}
END_TEST

static void add_who_goes(TCase *tests)
{
    tcase_add_test(tests, allkeys_lru_evicts_what_was_not_used_for_long);
    tcase_add_test(tests, candidates_are_kept_while_the_policy_stays);
    tcase_add_test(tests,
                   the_counter_follows_lfu_log_factor_and_lfu_decay_time);
    tcase_add_test(tests,
                   allkeys_lru_is_good_when_neighbours_are_of_one_age_too);
    tcase_add_test(tests, volatile_lru_evicts_only_keys_with_a_time_to_live);
    tcase_add_test(tests, few_volatile_keys_are_found_among_many);
    tcase_add_test(tests, volatile_ttl_evicts_in_order_of_deadline);
    tcase_add_test(tests,
                   what_has_expired_goes_first_and_is_not_called_evicted);
    tcase_add_test(tests, allkeys_lfu_keeps_what_is_used_often);
    tcase_add_test(tests, volatile_lfu_keeps_what_is_used_often_and_what_lasts);
    tcase_add_test(tests, allkeys_random_takes_from_everywhere);
    tcase_add_test(tests, volatile_random_takes_from_all_that_expires);
    tcase_add_test(tests, huge_values_leave_room_at_once_and_one_is_enough);
    tcase_add_test(tests, long_keys_are_evicted_too);
}

static void add(TCase *tests)
{
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests,
                   without_eviction_growing_is_refused_and_the_rest_works);
    tcase_add_test(tests,
                   the_commands_that_may_grow_the_store_are_those_of_redis);
    tcase_add_test(tests, effects_outside_of_commands_meet_the_same_limit);
    tcase_add_test(tests, a_command_that_had_its_room_is_not_stopped_half_way);
    tcase_add_test(tests, a_batch_evicts_before_it_and_never_what_it_wrote);
    add_who_goes(tests);
    tcase_add_test(tests, memory_that_a_view_holds_evicts_no_live_key);
    tcase_add_test(tests,
                   without_eviction_a_view_over_the_limit_refuses_until_it_goes);
    tcase_add_test(tests, an_eviction_is_taken_back_with_its_batch);
    tcase_add_test(tests, a_burst_that_fills_the_wal_evicts_nothing);
    tcase_add_test(tests, what_was_evicted_stays_away_after_a_restart);
    tcase_add_test(tests, when_the_nth_allocation_fails_the_store_is_whole);
    tcase_add_test(tests, a_policy_costs_4_bytes_a_key_and_only_while_it_lasts);
    tcase_add_test(tests,
                   the_keeper_adds_resets_and_removes_them_with_the_policy);
    tcase_add_test(tests, idle_times_are_true_and_looking_is_no_use);
    tcase_add_test(tests, large_collections_are_used_by_their_writes);
    tcase_add_test(tests, reading_a_view_is_no_use);
    tcase_add_test(
        tests, without_a_policy_idle_times_are_kept_from_the_first_question_on);
    tcase_add_test(tests,
                   the_counter_grows_with_use_decays_and_outlives_the_value);
    tcase_add_test(tests, a_restored_key_has_the_use_that_is_said_of_it);
    tcase_add_test(tests, one_command_uses_a_key_once);
}

int main(void)
{
    return unit_run("evict", add);
}

/* test_pipe.c - commands that come in one go: what they answer and leave is
 * what they would one by one, and they are one batch. */
#include "command/client.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "command/context.h"
#include "kvsql/admin.h"
#include "tests/lib/fakeos.h"
#include "tests/lib/rand.h"
#include "tests/lib/unit.h"

#define RUN_MAX 32
#define LINE_MAX_SIZE 160

/* A server of one client. */
struct side {
    struct fakeos *fake;
    kvsql *db;
    struct cmd_client client;
    struct kv_buf out;
};

static struct side piped, alone;
static struct kvsql_error err;
static uint64_t most_ns = UINT64_MAX;
static unsigned gets; /* that were answered together */

static struct kv_buf pushed;

static void door_push(struct cmd_client *client, const struct cmd_push *push)
{
    (void)client;
    kv_buf_add(&pushed, push->p, push->size);
}

static const struct cmd_door door = {.push = door_push};

static void side_open(struct side *side)
{
    const struct kvsql_options options = {.no_keeper = true};

    memset(side, 0, sizeof(*side));
    side->fake = fakeos_new(1);
    ck_assert_int_eq(kv_open_os("", &options, fakeos_os(side->fake), NULL, NULL,
                                &side->db, &err),
                     KVSQL_OK);
    cmd_client_open(&side->client, &door);
    kv_buf_init(&side->out, KV_MEM_MISC, 64 << 20);
}

static void side_close(struct side *side)
{
    cmd_client_close(&side->client);
    kv_buf_fini(&side->out);
    ck_assert_int_eq(kv_close(side->db, &err), KVSQL_OK);
    fakeos_free(side->fake);
}

static void setup(void)
{
    side_open(&piped);
    side_open(&alone);
}

static void teardown(void)
{
    side_close(&piped);
    side_close(&alone);
}

/* Requests as they come: words of lines. */
struct requests {
    unsigned count;
    char line[RUN_MAX][LINE_MAX_SIZE];
    kvsql_slice argv[RUN_MAX][24];
    struct cmd_request at[RUN_MAX];
    struct kv_ticket ticket[RUN_MAX];
};
static struct requests requests;

static void requests_add(const char *line)
{
    const unsigned n = requests.count++;
    char *word, *rest = requests.line[n];
    unsigned argc = 0;

    ck_assert_uint_lt(n, RUN_MAX);
    (void)snprintf(requests.line[n], LINE_MAX_SIZE, "%s", line);
    while ((word = strtok_r(rest, " ", &rest)) != NULL) {
        requests.argv[n][argc++] =
            (kvsql_slice){.p = word, .size = strlen(word)};
    }
    requests.at[n] =
        (struct cmd_request){.argc = argc, .argv = requests.argv[n]};
}

static void requests_set(const char *const *lines, unsigned count)
{
    requests.count = 0;
    for (unsigned i = 0; i < count; i++) {
        requests_add(lines[i]);
    }
}

static uint64_t side_position(const struct side *side)
{
    struct kv_info info;

    kv_info_get(side->db, &info);
    return info.position;
}

/* Run them all; the replies are in side->out. As the door does, GETs behind one
 * that waits for nothing are asked for together. */
static void side_run(struct side *side, bool in_pipe)
{
    struct cmd_pipe pipe = {.most_ns = most_ns};
    const uint64_t open = side_position(side);
    struct cmd_reply reply;

    kv_buf_reset(&side->out, side->out.cap);
    for (unsigned i = 0, n; i < requests.count; i = n) {
        pipe.next = &requests.at[i + 1];
        pipe.left = requests.count - i - 1;
        cmd_reply_init_resp(&reply, &side->out, 2);
        ck_assert_int_eq(cmd_client_run(&side->client, side->db,
                                        in_pipe ? &pipe : NULL,
                                        requests.at[i].argc,
                                        requests.at[i].argv, &reply,
                                        &requests.ticket[i]),
                         CMD_DONE);
        ck_assert(cmd_reply_finish(&reply));
        n = i + 1;
        if (in_pipe && requests.ticket[i].position <= open) {
            cmd_reply_init_resp(&reply, &side->out, 2);
            n += cmd_client_gets(&side->client, &pipe, &reply);
            ck_assert_uint_eq(n, requests.count - pipe.left);
            gets += n - i - 1;
        }
        for (unsigned k = i + 1; k < n; k++) {
            requests.ticket[k] = requests.ticket[i];
        }
    }
    cmd_pipe_end(&pipe);
    kv_buf_byte(&side->out, '\0');
}

#define RUN(side, in_pipe, ...)                                               \
    do {                                                                      \
        static const char *const lines_[] = {__VA_ARGS__};                    \
        requests_set(lines_, sizeof(lines_) / sizeof(lines_[0]));             \
        side_run((side), (in_pipe));                                          \
    } while (0)

START_TEST(writes_and_reads_of_a_pipeline_are_one_batch)
{
    const uint64_t before = side_position(&piped);

    RUN(&piped, true, "SET a 1", "GET a", "INCR a", "GET a", "LPUSH l x y",
        "LRANGE l 0 -1", "HSET h f v", "HGET h f");
    ck_assert_str_eq((char *)piped.out.p,
                     "+OK\r\n$1\r\n1\r\n:2\r\n$1\r\n2\r\n:2\r\n"
                     "*2\r\n$1\r\ny\r\n$1\r\nx\r\n:1\r\n$1\r\nv\r\n");
    ck_assert_uint_eq(side_position(&piped), before + 1);
    for (unsigned i = 0; i < requests.count; i++) { /* D3: of what they saw */
        ck_assert_uint_eq(requests.ticket[i].position, before + 1);
    }
}
END_TEST

START_TEST(reads_in_front_of_the_writes_wait_for_nothing_of_them)
{
    RUN(&piped, true, "SET a 1");
    const uint64_t before = side_position(&piped);

    RUN(&piped, true, "GET a", "GET b", "SET a 2", "GET a");
    ck_assert_str_eq((char *)piped.out.p,
                     "$1\r\n1\r\n$-1\r\n+OK\r\n$1\r\n2\r\n");
    ck_assert_uint_eq(requests.ticket[0].position, before);
    ck_assert_uint_eq(requests.ticket[1].position, before);
    ck_assert_uint_eq(requests.ticket[2].position, before + 1);
    ck_assert_uint_eq(requests.ticket[3].position, before + 1);
}
END_TEST

START_TEST(a_command_that_fails_is_taken_back_alone)
{
    RUN(&piped, true, "SET a x", "INCR a", "LPUSH a 1", "SET b 1", "INCRBY b z",
        "MSET c 1 d", "GET a", "EXISTS a b c d");
    ck_assert_str_eq((char *)piped.out.p,
                     "+OK\r\n"
                     "-ERR value is not an integer or out of range\r\n"
                     "-WRONGTYPE Operation against a key holding the wrong "
                     "kind of value\r\n"
                     "+OK\r\n"
                     "-ERR value is not an integer or out of range\r\n"
                     "-ERR wrong number of arguments for 'mset' command\r\n"
                     "$1\r\nx\r\n:2\r\n");
}
END_TEST

START_TEST(what_needs_to_be_alone_ends_the_batch)
{
    const uint64_t before = side_position(&piped);

    RUN(&piped, true, "SET a 1", "PING", "SET a 2", "SET b 2", "MULTI",
        "SET a 3", "SET b 3", "EXEC", "SET a 4", "GET b");
    ck_assert_str_eq((char *)piped.out.p,
                     "+OK\r\n+PONG\r\n+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n"
                     "+QUEUED\r\n*2\r\n+OK\r\n+OK\r\n+OK\r\n$1\r\n3\r\n");
    ck_assert_uint_eq(side_position(&piped), before + 4);
}
END_TEST

START_TEST(who_waits_for_the_store_gets_it_between_two_commands)
{
    const uint64_t before = side_position(&piped);

    most_ns = 0;
    RUN(&piped, true, "SET a 1", "SET b 2", "SET c 3", "MGET a b c");
    most_ns = UINT64_MAX;
    ck_assert_str_eq((char *)piped.out.p,
                     "+OK\r\n+OK\r\n+OK\r\n*3\r\n$1\r\n1\r\n$1\r\n2\r\n"
                     "$1\r\n3\r\n");
    ck_assert_uint_eq(side_position(&piped), before + 3);
}
END_TEST

START_TEST(gets_in_a_row_are_counted_like_others)
{
    RUN(&piped, true, "SET a 1", "SET b x", "LPUSH l v", "CONFIG RESETSTAT");
    gets = 0;
    RUN(&piped, true, "GET b", "GET c", "get b", "GET b", "GET b", "GET d",
        "GET a", "GET b", "GET l", "GET b");
    ck_assert_str_eq((char *)piped.out.p,
                     "$1\r\nx\r\n$-1\r\n$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n$-1\r\n"
                     "$1\r\n1\r\n$1\r\nx\r\n"
                     "-WRONGTYPE Operation against a key holding the wrong "
                     "kind of value\r\n$1\r\nx\r\n");
    ck_assert_uint_gt(gets, 0);
    RUN(&piped, true, "INFO stats commandstats latencystats",
        "LATENCY HISTOGRAM get");
    ck_assert_ptr_nonnull(strstr((char *)piped.out.p, "keyspace_hits:8\r\n"));
    ck_assert_ptr_nonnull(strstr((char *)piped.out.p, "keyspace_misses:2\r\n"));
    ck_assert_ptr_nonnull(strstr((char *)piped.out.p, "cmdstat_get:calls=10,"));
    ck_assert_ptr_nonnull(
        strstr((char *)piped.out.p, "$5\r\ncalls\r\n:10\r\n"));
}
END_TEST

START_TEST(who_wants_to_see_each_get_does)
{
    RUN(&piped, true, "SET b x");
    cmd_slowlog_limits(0, 128);
    gets = 0;
    RUN(&piped, true, "GET b", "GET c", "GET d", "GET b", "GET a");
    cmd_slowlog_limits(10000, 128);
    ck_assert_uint_eq(gets, 0);
    RUN(&piped, true, "GET b", "GET c", "GET d", "GET b", "GET a");
    ck_assert_uint_gt(gets, 0);
}
END_TEST

START_TEST(who_tracks_is_told_of_others_writes_and_not_of_its_own)
{
    struct side other = {.db = piped.db};

    kv_buf_init(&pushed, KV_MEM_MISC, 1 << 20);
    kv_buf_init(&other.out, KV_MEM_MISC, 1 << 20);
    cmd_client_open(&other.client, &door);
    RUN(&piped, true, "HELLO 3", "CLIENT TRACKING on BCAST NOLOOP");
    RUN(&piped, true, "SET a 1", "SET b 2", "GET a", "SET a 3", "GET b");
    ck_assert_uint_eq(pushed.size, 0);
    RUN(&other, true, "SET a 4", "SET b 5");
    kv_buf_byte(&pushed, '\0');
    ck_assert_ptr_nonnull(strstr((char *)pushed.p, "$1\r\na\r\n"));
    ck_assert_ptr_nonnull(strstr((char *)pushed.p, "$1\r\nb\r\n"));
    cmd_client_close(&other.client);
    kv_buf_fini(&other.out);
    kv_buf_fini(&pushed);
}
END_TEST

START_TEST(a_watch_sees_the_writes_in_front_of_it)
{
    RUN(&piped, true, "SET a 1", "WATCH a", "GET a", "MULTI", "INCR a", "EXEC",
        "WATCH a", "SET a 7", "MULTI", "INCR a", "EXEC", "GET a");
    ck_assert_str_eq((char *)piped.out.p,
                     "+OK\r\n+OK\r\n$1\r\n1\r\n+OK\r\n+QUEUED\r\n*1\r\n:2\r\n"
                     "+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n$1\r\n7\r\n");
}
END_TEST

/* The n-th block of memory is refused, for every n: each reply that says OK is
 * of a key that is there, and no other. */
START_TEST(without_memory_each_reply_is_true)
{
    static char big[] = "0123456789012345678901234567890123456789"
                        "0123456789012345678901234567890123456789";
    unsigned n = 0, refused = 0;
    bool failed = true;

    while (failed) {
        const char *p;

        RUN(&piped, true, "FLUSHALL", "CONFIG RESETSTAT");
        requests.count = 0;
        for (unsigned i = 0; i < 6; i++) {
            char line[LINE_MAX_SIZE];

            (void)snprintf(line, sizeof(line), "SET key:%u %s", i, big);
            requests_add(line);
        }
        kv_mem_fail_at(++n, 0);
        side_run(&piped, true);
        failed = kv_mem_failed() != 0;
        kv_mem_fail_at(0, 0);
        p = (char *)piped.out.p;
        for (unsigned i = 0; i < 6; i++) {
            const struct kv_key key =
                kv_key_of(requests.argv[i][1].p, requests.argv[i][1].size);
            const bool ok = strncmp(p, "+OK\r\n", 5) == 0;
            struct kv_item item;
            struct kv_txn *txn;
            struct kv_at at;

            refused += !ok;
            ck_assert(ok || strncmp(p, "-OOM ", 5) == 0);
            p = strstr(p, "\r\n") + 2;
            ck_assert_int_eq(kv_txn_begin(piped.db, false, 0, &txn, &err),
                             KVSQL_OK);
            kv_at_txn(txn, &at);
            ck_assert_int_eq(kv_get(&at, &key, &item), ok);
            ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
        }
    }
    ck_assert_uint_gt(n, 1);
    ck_assert_uint_gt(refused, 0);
}
END_TEST

/* ---- random pipelines ---------------------------------------------------- */

/* One of the commands, with numbers in the place of each `#`. */
static void random_line(struct rand_state *rand, char line[LINE_MAX_SIZE])
{
    static const char *const forms[] = {
        "GET s:#",          "SET s:# v#",       "SET s:# #",
        "INCR s:#",         "APPEND s:# x#",    "DEL s:#",
        "SET s:# v# PX 3", "EXISTS s:# s:#",   "MGET s:# s:# s:1",
        "STRLEN s:#",       "EXPIRE s:# #",     "TTL s:#",
        "HSET h f:# v#",   "HGET h f:#",        "HDEL h f:#",
        "SADD m e:#",       "SISMEMBER m e:#",   "SREM m e:#",
        "ZADD z # e:#",    "ZSCORE z e:#",      "ZREM z e:#",
        "ZINCRBY z # e:#", "LPUSH l v#",        "RPOP l",
        "HLEN h",            "SCARD m",            "ZCARD z",
        "LLEN l",            "PING",               "RENAME s:# s:#",
        "LPUSH s:# v#",    "HSET s:# f v",      "GET",
        "DBSIZE",          "OBJECT ENCODING s:#"};
    const char *form =
        forms[rand_below(rand, sizeof(forms) / sizeof(forms[0]))];
    size_t size = 0;

    for (; *form != '\0'; form++) {
        if (*form == '#') {
            size += (size_t)snprintf(line + size, LINE_MAX_SIZE - size, "%u",
                                     (unsigned)rand_below(rand, 300));
        } else {
            line[size++] = *form;
        }
    }
    line[size] = '\0';
}

/* Views that are pinned and let go make the tree copy its nodes. */
static void random_views(struct rand_state *rand, struct kv_view **views,
                         unsigned count)
{
    struct kv_view **view = &views[rand_below(rand, count)];

    if (*view != NULL) {
        kv_unpin(*view);
        *view = NULL;
    } else {
        ck_assert_int_eq(kv_pin(piped.db, view, &err), KVSQL_OK);
    }
}

START_TEST(random_pipelines_are_as_their_commands)
{
    struct rand_state rand = rand_of(rand_seed("pipe", 11));
    struct kv_view *views[3] = {NULL};
    char line[LINE_MAX_SIZE];

    for (int turn = 0; turn < 6000; turn++) {
        const unsigned count = 1 + (unsigned)rand_below(&rand, RUN_MAX - 1);
        const uint64_t kind = rand_below(&rand, 3); /* 0: one again and again,
                                                       1: GETs, 2: all */

        requests.count = 0;
        random_line(&rand, line);
        for (unsigned i = 0; i < count; i++) {
            requests_add(line);
            if (kind == 2 || rand_below(&rand, 8) == 0) {
                random_line(&rand, line);
            } else if (kind == 1) {
                (void)snprintf(line, sizeof(line), "GET s:%u",
                               (unsigned)rand_below(&rand, 300));
            }
        }
        side_run(&alone, false);
        side_run(&piped, true);
        ck_assert_str_eq((char *)piped.out.p, (char *)alone.out.p);
        if (rand_below(&rand, 20) == 0) {
            random_views(&rand, views, 3);
        }
        if (rand_below(&rand, 10) == 0) {
            fakeos_advance(piped.fake, 1);
            fakeos_advance(alone.fake, 1);
        }
    }
    for (unsigned i = 0; i < 3; i++) {
        kv_unpin(views[i]);
    }
    ck_assert_uint_lt(side_position(&piped), side_position(&alone) / 2);
    ck_assert_uint_gt(gets, 1000);
}
END_TEST

static void add(TCase *tests)
{
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, writes_and_reads_of_a_pipeline_are_one_batch);
    tcase_add_test(tests, reads_in_front_of_the_writes_wait_for_nothing_of_them);
    tcase_add_test(tests, a_command_that_fails_is_taken_back_alone);
    tcase_add_test(tests, what_needs_to_be_alone_ends_the_batch);
    tcase_add_test(tests, who_waits_for_the_store_gets_it_between_two_commands);
    tcase_add_test(tests, gets_in_a_row_are_counted_like_others);
    tcase_add_test(tests, who_wants_to_see_each_get_does);
    tcase_add_test(tests, who_tracks_is_told_of_others_writes_and_not_of_its_own);
    tcase_add_test(tests, a_watch_sees_the_writes_in_front_of_it);
    tcase_add_test(tests, without_memory_each_reply_is_true);
    tcase_add_test(tests, random_pipelines_are_as_their_commands);
}

int main(void)
{
    return unit_run("pipe", add);
}

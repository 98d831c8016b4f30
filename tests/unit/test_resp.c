/* test_resp.c - the door of the Redis protocol in this process: memory that is
 * short at every place, starting and stopping.
 *
 * The door's threads get their memory through this file (--wrap, see the
 * Makefile): the n-th block that any thread but this one asks for is refused.
 * A client then gets the right reply, an error, or an end; never another
 * reply, and the next client is served. */
#include "resp/resp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "kvsql/base/diag.h"
#include "kvsql/base/mem.h"
#include "tests/lib/unit.h"
#include "vtab/session.h"

#define REPLY_MAX ((size_t)1 << 20)
#define LARGE_SIZE 200000
#define SET_SIZE 3000

/* ---- memory --------------------------------------------------------------- */

void *__real_kv_mem_alloc(enum kv_mem_kind kind, size_t size);
void *__wrap_kv_mem_alloc(enum kv_mem_kind kind, size_t size);
void *__real_kv_mem_zalloc(enum kv_mem_kind kind, size_t size);
void *__wrap_kv_mem_zalloc(enum kv_mem_kind kind, size_t size);
void *__real_kv_mem_realloc(enum kv_mem_kind kind, void *p, size_t size_old,
                            size_t size);
void *__wrap_kv_mem_realloc(enum kv_mem_kind kind, void *p, size_t size_old,
                            size_t size);

static _Thread_local bool is_tester;
static atomic_int fail_in; /* 0: none fails any more */

static bool must_fail(void)
{
    return !is_tester && atomic_load(&fail_in) > 0 &&
           atomic_fetch_sub(&fail_in, 1) == 1;
}

void *__wrap_kv_mem_alloc(enum kv_mem_kind kind, size_t size)
{
    return must_fail() ? NULL : __real_kv_mem_alloc(kind, size);
}

void *__wrap_kv_mem_zalloc(enum kv_mem_kind kind, size_t size)
{
    return must_fail() ? NULL : __real_kv_mem_zalloc(kind, size);
}

void *__wrap_kv_mem_realloc(enum kv_mem_kind kind, void *p, size_t size_old,
                            size_t size)
{
    return must_fail() ? NULL : __real_kv_mem_realloc(kind, p, size_old, size);
}

/* ---- the door, and a client ----------------------------------------------- */

static char dir[64];
static kvsql *db;
static struct resp_server *server;
static struct kvsql_error err;

static void quiet(void *arg, const char *line)
{
    (void)arg;
    (void)line;
}

static void setup(void)
{
    const struct kvsql_options options = {.fsync = KVSQL_FSYNC_NO};
    const struct resp_config config = {.threads = 4, .workers = 2};

    is_tester = true;
    kv_diag_sink(quiet, NULL);
    (void)snprintf(dir, sizeof(dir), "/tmp/kvsql-resp-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(vt_start(&err), KVSQL_OK);
    ck_assert_int_eq(kvsql_open(dir, &options, &db, &err), KVSQL_OK);
    ck_assert_int_eq(resp_start(&config, &server, &err), KVSQL_OK);
    resp_ready(server, db);
}

static void teardown(void)
{
    char command[128];

    resp_stop(server);
    ck_assert_int_eq(kvsql_close(db, &err), KVSQL_OK);
    (void)snprintf(command, sizeof(command), "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
    ck_assert_uint_eq(kv_mem_bytes(KV_MEM_CLIENT), 0);
}

struct client {
    int fd;
    size_t at, size;
    uint8_t in[1 << 16];
};

static void dial(struct client *client)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(resp_port(server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval patience = {.tv_sec = 120};
    const int on = 1;

    client->at = client->size = 0;
    client->fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_ge(client->fd, 0);
    ck_assert_int_eq(setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
                                sizeof(patience)),
                     0);
    ck_assert_int_eq(setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on,
                                sizeof(on)),
                     0);
    ck_assert_int_eq(connect(client->fd, (struct sockaddr *)&to, sizeof(to)),
                     0);
}

/* False: the other side has closed. It never just says nothing. */
static bool hear_byte(struct client *client, uint8_t *byte)
{
    if (client->at == client->size) {
        const ssize_t n =
            recv(client->fd, client->in, sizeof(client->in), 0);

        if (n <= 0) {
            ck_assert_msg(n == 0 || errno == ECONNRESET, "nothing for 120 s");
            return false;
        }
        client->at = 0;
        client->size = (size_t)n;
    }
    *byte = client->in[client->at++];
    return true;
}

static bool hear(struct client *client, char *reply)
{
    size_t size = 0, line = 0;
    long long left = 1, bytes = 0;

    while (left > 0 || bytes > 0) {
        uint8_t byte;

        if (!hear_byte(client, &byte)) {
            return false;
        }
        if (size + 1 >= REPLY_MAX) { /* an assertion for each byte is slow */
            ck_abort_msg("a reply is too long");
        }
        reply[size++] = (char)byte;
        reply[size] = '\0';
        if (bytes > 0) {
            line = --bytes == 0 ? size : line;
        } else if (byte == '\n') {
            const long long n = strtoll(reply + line + 1, NULL, 10);

            if (strchr("+-:$*", reply[line]) == NULL) {
                ck_abort_msg("this is no reply: %.100s", reply + line);
            }
            left += (reply[line] == '*' && n > 0 ? n : 0) - 1;
            bytes = reply[line] == '$' && n >= 0 ? n + 2 : 0;
            line = size;
        }
    }
    return true;
}

static bool say(struct client *client, const char *p, size_t size)
{
    while (size > 0) {
        const ssize_t n = send(client->fd, p, size, MSG_NOSIGNAL);

        if (n <= 0) {
            return false;
        }
        p += n;
        size -= (size_t)n;
    }
    return true;
}

/* ---- a session ------------------------------------------------------------- */

struct step {
    const char *line;  /* inline */
    const char *reply; /* how it begins */
};

static const struct step steps[] = {
    {"PING", "+PONG\r\n"},
    {"HELLO 2 SETNAME me", "*14\r\n"},
    {"SET a 1", "+OK\r\n"},
    {"GET a", "$1\r\n1\r\n"},
    {"SETRANGE large 200000 x", ":200001\r\n"},
    {"GETRANGE large 0 150000", "$150001\r\n"},
    {"GETRANGE large 0 150000", "$150001\r\n"},
    {"MULTI", "+OK\r\n"},
    {"SET b 2", "+QUEUED\r\n"},
    {"LPUSH l 1 2 3 4 5 6 7 8 9 10", "+QUEUED\r\n"},
    {"GET b", "+QUEUED\r\n"},
    {"EXEC", "*3\r\n+OK\r\n:10\r\n$1\r\n2\r\n"},
    {"WATCH a b c", "+OK\r\n"},
    {"UNWATCH", "+OK\r\n"},
    {"SMEMBERS big", "*3000\r\n"},
    {"SQL 'SELECT value FROM strings WHERE key=?' a", "*1\r\n*1\r\n$1\r\n1\r\n"},
    {"SQL 'UPDATE strings SET value=7 WHERE key=?' a", ":1\r\n"},
    {"MULTI", "+OK\r\n"},
    {"SQL 'SELECT value FROM strings WHERE key=?' a", "+QUEUED\r\n"},
    {"EXEC", "*1\r\n*1\r\n*1\r\n$1\r\n7\r\n"},
    {"CLIENT LIST", "$"},
    {"INFO", "$"},
    {"DEL a b l large", ":4\r\n"},
};
#define STEPS (sizeof(steps) / sizeof(steps[0]))

/* What missing memory may look like. (SQLite does not tell whether a program
 * had no room or no memory.) */
static bool says_memory(const char *reply)
{
    return strstr(reply, "-OOM") != NULL || strstr(reply, "memory") != NULL ||
           strstr(reply, "sql-max-ops") != NULL;
}

/* All steps; true when each reply was the right one. After an error, which is
 * what missing memory makes, later ones may differ. */
static bool session(bool pipeline)
{
    static char reply[REPLY_MAX], large[LARGE_SIZE + 64];
    struct client client;
    bool on = true, right = true;
    int n;

    dial(&client);
    for (size_t i = 0; i < STEPS && on; i++) {
        for (size_t k = i; k < (pipeline ? STEPS : i + 1) && on &&
                           (!pipeline || i == 0);
             k++) {
            n = snprintf(large, sizeof(large), "%s\r\n", steps[k].line);
            on = say(&client, large, (size_t)n);
        }
        on = hear(&client, reply);
        if (on && strncmp(reply, steps[i].reply, strlen(steps[i].reply)) !=
                      0) {
            ck_assert_msg(!right || says_memory(reply), "%s: %.200s",
                          steps[i].line, reply);
            right = false;
        }
    }
    /* A large argument, in the end. */
    n = snprintf(large, sizeof(large), "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$%d\r\n",
                 LARGE_SIZE);
    memset(large + n, 'x', LARGE_SIZE);
    on = on && say(&client, large, (size_t)n + LARGE_SIZE) &&
         say(&client, "\r\n", 2) && hear(&client, reply);
    right = on && right && strcmp(reply, "+OK\r\n") == 0;
    (void)close(client.fd);
    return right;
}

static void fill(void)
{
    static char reply[REPLY_MAX];
    struct client client;
    char line[64];

    dial(&client);
    for (int i = 0; i < SET_SIZE; i++) {
        const int n = snprintf(line, sizeof(line), "SADD big member:%d\r\n", i);

        ck_assert(say(&client, line, (size_t)n) && hear(&client, reply));
    }
    (void)close(client.fd);
}

static void clean(void)
{
    static char reply[REPLY_MAX];
    struct client client;

    dial(&client);
    ck_assert(say(&client, "DEL a b l large\r\nPING\r\n", 24));
    ck_assert(hear(&client, reply) && hear(&client, reply));
    ck_assert_str_eq(reply, "+PONG\r\n");
    (void)close(client.fd);
}

static void refuse_each_block(bool pipeline)
{
    bool through = false;
    int n;

    fill();
    ck_assert(session(pipeline));
    clean();
    for (n = 1; !through; n++) {
        bool right;

        ck_assert_int_lt(n, 5000);
        atomic_store(&fail_in, n);
        right = session(pipeline);
        through = atomic_exchange(&fail_in, 0) > 0;
        ck_assert(right || !through);
        clean();
    }
    ck_assert_int_gt(n, 50);
}

START_TEST(a_block_that_is_refused_ends_no_more_than_a_client)
{
    refuse_each_block(_i == 1);
}
END_TEST

START_TEST(a_door_can_be_stopped_with_clients_in_it)
{
    static struct client clients[50];

    fill();
    for (int i = 0; i < 50; i++) {
        static const char *const lines[] = {
            "PING\r\n", "MULTI\r\nSET a 1\r\n", "SMEMBERS big\r\n",
            "SQL 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM "
            "n) SELECT count(*) FROM n'\r\n",
            "SET a 1\r\n", "MONITOR\r\n", "*2\r\n$3\r\nGET\r\n$100000\r\nab"};
        const char *line = lines[i % 7];

        dial(&clients[i]);
        ck_assert(say(&clients[i], line, strlen(line)));
    }
    resp_stop(server);
    for (int i = 0; i < 50; i++) {
        uint8_t byte;

        while (hear_byte(&clients[i], &byte)) {
        }
        (void)close(clients[i].fd);
    }
    ck_assert_int_eq(resp_start(&(struct resp_config){0}, &server, &err),
                     KVSQL_OK);
    resp_ready(server, db);
    clean();
}
END_TEST

/* Each place where starting can fail leaves nothing behind (teardown). */
START_TEST(a_door_that_cannot_start_leaves_nothing)
{
    const struct resp_config config = {.threads = 2, .workers = 2};
    const uint64_t before = kv_mem_bytes(KV_MEM_CLIENT);
    kvsql_rc rc = KVSQL_NOMEM;
    struct resp_server *other;
    unsigned n;

    for (n = 1; rc != KVSQL_OK; n++) {
        ck_assert_uint_lt(n, 100);
        is_tester = false;
        atomic_store(&fail_in, (int)n);
        rc = resp_start(&config, &other, &err);
        atomic_store(&fail_in, 0);
        is_tester = true;
        if (rc != KVSQL_OK) {
            ck_assert_int_eq(rc, KVSQL_NOMEM);
            ck_assert_ptr_null(other);
            ck_assert_uint_eq(kv_mem_bytes(KV_MEM_CLIENT), before);
        }
    }
    ck_assert_uint_gt(n, 2);
    resp_stop(other);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests,
                        a_block_that_is_refused_ends_no_more_than_a_client, 0,
                        2);
    tcase_add_test(tests, a_door_can_be_stopped_with_clients_in_it);
    tcase_add_test(tests, a_door_that_cannot_start_leaves_nothing);
}

int main(void)
{
    return unit_run("resp", add);
}

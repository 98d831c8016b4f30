/* test_http_wait.c - requests with ?wait= whose time is over while their answers
 * cannot leave yet.
 *
 * The gate is shut by a disk that does not come back from a sync. Every step is
 * waited for by what the requests themselves say, so none depends on how long
 * something takes.
 *
 * Thread: the test's. */
#include "tests/lib/http_fx.h"

#include "tests/lib/tempdir.h"

#define POP "POST /v1/lists/none:pop?wait=20ms HTTP/1.1\r\n" HOST JSON         \
            "Content-Length: 2\r\n\r\n{}"
#define WAITS_MAX 200

static char dir[TEMPDIR_MAX];
static struct kv_os os;

/* The gate is shut until open_gate(); the write that shuts it. */
static int shut_gate(void)
{
    tempdir_make(dir, "test_http_wait");
    os = *kv_os_real();
    os.data_sync = slow_sync;
    start_os(dir, KVSQL_FSYNC_ALWAYS, &os);
    atomic_store(&disk_asked, false);
    atomic_store(&disk_waits, true);
    const int fd = dial();
    say_text(fd, POST "Content-Length: 15\r\n\r\n[\"SET\",\"k\",\"v\"]");
    while (!atomic_load(&disk_asked))
        kv_os_sleep_ms(1);
    return fd;
}

static void open_gate(int fd)
{
    atomic_store(&disk_waits, false);
    ck_assert_int_eq(status_of(hear_one(fd)), 200);
    close(fd);
}

/* Is the time of this one over, and does its answer wait at the gate? */
static bool is_behind_gate(struct http_request *request)
{
    kv_lock_take(&request->lock);
    const bool behind =
        request->wait.late && request->suspended && !request->wait.stands;
    kv_lock_drop(&request->lock);
    http_request_unref(request);
    return behind;
}

/* How many are. */
static unsigned behind_gate(void)
{
    unsigned count = 0, cap = 1;

    for (unsigned i = 0; i < cap; i++) {
        struct http_request *request = NULL;
        kv_lock_take(&server->watch_lock);
        cap = server->conn_cap;
        if (server->conns[i] != NULL)
            request = server->conns[i]->request;
        if (request != NULL)
            http_request_ref(request);
        kv_lock_drop(&server->watch_lock);
        if (request != NULL)
            count += is_behind_gate(request);
    }
    return count;
}

/* A stream that begins now is carried by the watcher. */
static void a_stream_goes_on(void)
{
    const int fd = dial();

    say_text(fd, "GET /subscribe/c HTTP/1.1\r\n" HOST "\r\n");
    reply_size = 0;
    reply[0] = 0;
    while (strstr(reply, "data: subscribe,c,1\n") == NULL) {
        const ssize_t n =
            recv(fd, reply + reply_size, REPLY_MAX - 1 - reply_size, 0);
        ck_assert_msg(n > 0, "the stream is silent: %s", reply);
        reply_size += (size_t)n;
        reply[reply_size] = 0;
    }
    close(fd);
}

START_TEST(late_ones_behind_a_shut_gate_hold_up_nobody)
{
    static const unsigned counts[] = {1, 63, 64, 65, WAITS_MAX};
    const unsigned count = counts[_i];
    const int writer = shut_gate();
    int fd[WAITS_MAX];

    for (unsigned i = 0; i < count; i++) {
        fd[i] = dial();
        say_text(fd[i], POP);
    }
    while (behind_gate() < count)
        kv_os_sleep_ms(1);
    for (int i = 0; i < 3; i++)
        a_stream_goes_on();
    const int leaves = dial(); /* the watcher sees this, too */
    const uint64_t lost = metric("kvsql_http_lost_total");
    say_text(leaves, "GET /subscribe/c HTTP/1.1\r\n" HOST "\r\n");
    ck_assert_int_eq(status_of(hear_all(leaves)), 200); /* and closes */
    until("kvsql_http_lost_total", lost + 1);
    open_gate(writer);
    for (unsigned i = 0; i < count; i++) {
        say_text(fd[i], "GET /livez HTTP/1.1\r\n" HOST
                        "Connection: close\r\n\r\n");
        (void)hear_all(fd[i]); /* closes */
        ck_assert_int_eq(status_of(reply), 204);
        ck_assert_uint_eq(count_of(reply, "HTTP/1.1 "), 2);
        ck_assert_uint_eq(count_of(reply, "HTTP/1.1 200"), 1);
    }
    stop();
    tempdir_remove(dir);
}
END_TEST

START_TEST(a_door_stops_with_late_ones_behind_a_shut_gate)
{
    int fd[WAITS_MAX];
    const int writer = shut_gate();

    for (unsigned i = 0; i < WAITS_MAX; i++) {
        fd[i] = dial();
        say_text(fd[i], POP);
    }
    while (behind_gate() < WAITS_MAX)
        kv_os_sleep_ms(1);
    http_stop(server); /* they are cut: nothing is told that is not released */
    for (unsigned i = 0; i < WAITS_MAX; i++) {
        (void)hear_all(fd[i]); /* closes */
        ck_assert_uint_eq(reply_size, 0);
    }
    atomic_store(&disk_waits, false);
    close(writer);
    ck_assert_int_eq(kvsql_close(db, &err), KVSQL_OK);
    free(reply);
    tempdir_remove(dir);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_loop_test(tests, late_ones_behind_a_shut_gate_hold_up_nobody, 0,
                        5);
    tcase_add_test(tests, a_door_stops_with_late_ones_behind_a_shut_gate);
}

int main(void)
{
    return unit_run("http_wait", add);
}

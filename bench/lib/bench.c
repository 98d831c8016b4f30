/* bench.c - what the measuring programs of the store share; see bench.h.
 *
 * Thread: one. */
#include "bench/lib/bench.h"
#include "kvsql/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

kvsql *bench_db;
struct kv_txn *bench_txn;
struct kvsql_error bench_err;
unsigned bench_count = 1000000;
volatile uint64_t bench_sink;

uint64_t bench_random(void)
{
    static uint64_t state = UINT64_C(88172645463325252);

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static double clock_ns(clockid_t clock)
{
    struct timespec t;

    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

double bench_now(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

double bench_wall(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

void bench_must(kvsql_rc rc)
{
    if (rc != KVSQL_OK) {
        fprintf(stderr, "bench: %s\n", bench_err.text);
        exit(1);
    }
}

void *bench_alloc(size_t size)
{
    void *const p = calloc(1, size);

    if (p == NULL)
        exit(1);
    return p;
}

void bench_begin(void)
{
    bench_must(kv_txn_begin(bench_db, true, 0, &bench_txn, &bench_err));
}

void bench_commit(void)
{
    bench_must(kv_txn_commit(bench_txn, NULL, &bench_err));
}

double bench_fill(void (*add)(unsigned arg, unsigned i), unsigned arg)
{
    const double from = bench_now();

    for (unsigned i = 0; i < bench_count; i++) {
        if (i % BENCH_BATCH == 0)
            bench_begin();
        add(arg, i);
        if (i % BENCH_BATCH == BENCH_BATCH - 1 || i + 1 == bench_count)
            bench_commit();
    }
    return (bench_now() - from) / bench_count;
}

double bench_tick_all(void)
{
    double longest = 0;

    for (bool more = true; more;) {
        const double from = bench_now();
        more = kv_store_tick(kv_db_store(bench_db));
        const double took = bench_now() - from;
        if (took > longest)
            longest = took;
    }
    return longest;
}

void bench_head(void)
{
    printf("%-38s %9s %9s %6s %8s\n", "what", "ours", "peer", "ratio", "goal");
}

void bench_row(const char *what, double ours, double peer, double goal)
{
    const double judged = peer > 0 ? ours / peer : ours;

    printf("%-38s %9.1f", what, ours);
    if (peer > 0)
        printf(" %9.1f %6.2f", peer, judged);
    else
        printf(" %9s %6s", "-", "-");
    if (goal > 0)
        printf(" %8.2f  %s\n", goal, judged <= goal ? "met" : "missed");
    else
        printf(" %8s\n", "-");
}

int bench_forked(void (*measure)(unsigned), unsigned arg)
{
    const struct kvsql_options options = {.no_keeper = true};
    int status;

    (void)fflush(stdout);
    const pid_t child = fork();
    if (child < 0)
        return 1;
    if (child == 0) {
        bench_must(kv_open_os("", &options, kv_os_real(), NULL, NULL,
                              &bench_db, &bench_err));
        measure(arg);
        (void)fflush(stdout);
        _exit(0);
    }
    return waitpid(child, &status, 0) != child || status != 0;
}

struct kv_key bench_member(char text[24], unsigned i)
{
    const unsigned n = (unsigned)((uint64_t)i * 7654321u % 10000000u);

    return kv_key_of(text, (size_t)snprintf(text, 24, "member:%07u", n));
}

/* replay.c - what a restart takes: a wal of one kind of write, no snapshot, is
 * read back by opening its directory as a program does.
 *
 *   replay [--mb N] [--times N] [MIX]    each mix, or those whose name has MIX
 *   replay --write DIR MIX [N [BATCH]]   its wal only, of N MB, BATCH ops a frame
 *   replay --open DIR [TIMES]            one directory; the least of TIMES counts
 *
 * A mix is written twice: every op a batch of its own, as by clients that wait
 * for each answer, and 20 ops a batch, as by those that do not; a frame's header
 * is 36 bytes, so the second has more ops to the MB. MB are 10^6 bytes of segments.
 * Seconds are scaled to 100 MB: of the clock, and of the processor by all threads
 * of the process. The goal of 1 s is for the clock.
 *
 * Thread: one, but for those of the store. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kvsql/inside.h"

#define WAL_UNIT 100e6
#define SPREAD UINT64_C(2654435761) /* names in no order */
#define MANY 20                     /* ops of a batch */

static struct kvsql_error err;

static void must(kvsql_rc rc)
{
    if (rc != KVSQL_OK) {
        fprintf(stderr, "replay: %s\n", err.text);
        exit(1);
    }
}

static double now(clockid_t clock)
{
    struct timespec t;

    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- the mixes ---------------------------------------------------------------- */

static struct kv_key name(char text[32], const char *form, uint64_t i)
{
    return kv_key_of(text,
                     (size_t)snprintf(text, 32, form, (unsigned long long)i));
}

static void set(struct kv_txn *txn, const char *form, uint64_t i, size_t size,
                int64_t expires_at)
{
    static char value[65536];
    char text[32];
    const struct kv_key key = name(text, form, i);

    if (value[0] == '\0')
        memset(value, 'v', sizeof(value));
    must(kv_set(txn, &key, (kvsql_slice){value, size}, expires_at, &err));
}

static void set_32(struct kv_txn *txn, uint64_t i)
{
    set(txn, "key:%010llu", i * SPREAD % UINT64_C(10000000000), 32, 0);
}

static void set_again(struct kv_txn *txn, uint64_t i)
{
    set(txn, "key:%06llu", i * SPREAD % 100000, 32, 0);
}

static void set_ttl(struct kv_txn *txn, uint64_t i)
{
    set(txn, "t:%07llu", i * SPREAD % 1000000, 32,
        INT64_C(4102444800000) + (int64_t)i);
}

static void set_1k(struct kv_txn *txn, uint64_t i)
{
    set(txn, "key:%010llu", i * SPREAD % UINT64_C(10000000000), 1024, 0);
}

static void set_64k(struct kv_txn *txn, uint64_t i)
{
    set(txn, "key:%04llu", i % 3000, 65536, 0);
}

static void hset(struct kv_txn *txn, const struct kv_key *key,
                 const struct kv_key *field)
{
    must(kv_hset(txn, key, field, (kvsql_slice){"vvvvvvvvvvvvvvvv", 16}, 0,
                 NULL, &err));
}

static void hset_small(struct kv_txn *txn, uint64_t i)
{
    char text[32], name_of[32];
    const struct kv_key key = name(text, "user:%07llu", i * SPREAD % 1000000);
    const struct kv_key field = name(name_of, "f%llu", i % 7);

    hset(txn, &key, &field);
}

static void hset_one(struct kv_txn *txn, uint64_t i)
{
    char name_of[32];
    const struct kv_key key = kv_key_of("h", 1);
    const struct kv_key field =
        name(name_of, "f%010llu", i * SPREAD % UINT64_C(10000000000));

    hset(txn, &key, &field);
}

static void zadd_one(struct kv_txn *txn, uint64_t i)
{
    char name_of[32];
    const struct kv_key key = kv_key_of("z", 1);
    const struct kv_key member =
        name(name_of, "m%07llu", i * SPREAD % 1000000);

    must(kv_zadd(txn, &key, &member, (double)(i * SPREAD % 1000000000) / 7,
                 NULL, &err));
}

static void push(struct kv_txn *txn, const struct kv_key *key, uint64_t i)
{
    char value[32];
    const struct kv_key bytes = name(value, "v%015llu", i);

    must(kv_push(txn, key, KV_LEFT, (kvsql_slice){bytes.p, bytes.size}, &err));
}

static void push_one(struct kv_txn *txn, uint64_t i)
{
    const struct kv_key key = kv_key_of("l", 1);

    push(txn, &key, i);
}

static void push_many(struct kv_txn *txn, uint64_t i)
{
    char text[32];
    const struct kv_key key = name(text, "l%llu", i % 1000);

    push(txn, &key, i);
}

static void sadd_small(struct kv_txn *txn, uint64_t i)
{
    char text[32], name_of[32];
    const struct kv_key key = name(text, "s%06llu", i * SPREAD % 200000);
    const struct kv_key member = name(name_of, "m%llu", i);

    must(kv_sadd(txn, &key, &member, NULL, &err));
}

static void incr(struct kv_txn *txn, uint64_t i)
{
    char text[32];
    const struct kv_key key = name(text, "n%05llu", i * SPREAD % 50000);
    int64_t sum;

    must(kv_add(txn, &key, 1, &sum, &err));
}

static void set_del(struct kv_txn *txn, uint64_t i)
{
    char text[32];
    const struct kv_key key = name(text, "d%05llu", i / 2 * SPREAD % 50000);

    if (i % 2 == 0)
        set(txn, "d%05llu", i / 2 * SPREAD % 50000, 64, 0);
    else
        must(kv_del(txn, &key, NULL, &err));
}

static const struct mix {
    const char *name;
    void (*write)(struct kv_txn *txn, uint64_t i);
} mixes[] = {
    {"SET of 32 bytes", set_32},   {"SET again", set_again},
    {"SET with a TTL", set_ttl},   {"SET of 1 KB", set_1k},
    {"SET of 64 KB", set_64k},     {"INCR", incr},
    {"SET and DEL", set_del},      {"HSET, small hashes", hset_small},
    {"HSET, one hash", hset_one},  {"SADD, small sets", sadd_small},
    {"ZADD, one set", zadd_one},   {"LPUSH, one list", push_one},
    {"LPUSH, 1000 lists", push_many},
};
#define MIXES (sizeof(mixes) / sizeof(*mixes))

/* ---- writing and opening ---------------------------------------------------------- */

/* Bytes of the segments there. */
static double wal_size(const char *dir)
{
    DIR *const open = opendir(dir);
    double size = 0;

    for (struct dirent *e; open != NULL && (e = readdir(open)) != NULL;) {
        char path[4096];
        struct stat st;
        (void)snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        if (strncmp(e->d_name, "wal-", 4) == 0 && stat(path, &st) == 0)
            size += (double)st.st_size;
    }
    if (open != NULL)
        (void)closedir(open);
    return size;
}

static const struct kvsql_options options = {
    .fsync = KVSQL_FSYNC_NO, .snapshot_wal_size = UINT64_C(1) << 50};

/* In a child, so that the opening starts with memory of its own. */
static void write_wal(const char *dir, const struct mix *mix, double size,
                      unsigned batch)
{
    const pid_t child = fork();
    int status = 1;

    if (child > 0) {
        (void)waitpid(child, &status, 0);
        if (status != 0)
            exit(1);
        return;
    }
    kvsql *db;
    struct kv_txn *txn;
    must(kvsql_open(dir, &options, &db, &err));
    for (uint64_t i = 0, turn = 0; turn % 128 != 0 || wal_size(dir) < size;
         turn++) {
        must(kv_txn_begin(db, true, 0, &txn, &err));
        for (unsigned k = 0; k < batch; k++)
            mix->write(txn, i++);
        must(kv_txn_commit(txn, NULL, &err));
    }
    must(kvsql_close(db, &err));
    exit(0);
}

struct took {
    double mb, clock, processor; /* seconds for 100 MB */
};

static struct took open_dir(const char *dir, int times)
{
    struct took took = {.mb = wal_size(dir) / 1e6, .clock = 1e9,
                        .processor = 1e9};

    for (; times > 0; times--) {
        kvsql *db;
        const double begun = now(CLOCK_MONOTONIC);
        const double before = now(CLOCK_PROCESS_CPUTIME_ID);
        must(kvsql_open(dir, &options, &db, &err));
        const double processor =
            (now(CLOCK_PROCESS_CPUTIME_ID) - before) * WAL_UNIT / 1e6 / took.mb;
        const double clock =
            (now(CLOCK_MONOTONIC) - begun) * WAL_UNIT / 1e6 / took.mb;
        took.clock = clock < took.clock ? clock : took.clock;
        took.processor =
            processor < took.processor ? processor : took.processor;
        must(kvsql_close(db, &err));
    }
    return took;
}

static void measure(const struct mix *mix, double size, unsigned batch,
                    int times)
{
    char dir[] = "/tmp/kvsql-replay.XXXXXX", command[64];

    if (mkdtemp(dir) == NULL)
        exit(1);
    write_wal(dir, mix, size, batch);
    const struct took took = open_dir(dir, times);
    printf("%-20s %5u %8.1f %10.2f %10.2f\n", mix->name, batch, took.mb,
           took.clock, took.processor);
    (void)fflush(stdout);
    (void)snprintf(command, sizeof(command), "rm -r %s", dir);
    if (system(command) != 0)
        exit(1);
}

static const struct mix *find(const char *part)
{
    for (unsigned i = 0; i < MIXES; i++)
        if (strstr(mixes[i].name, part) != NULL)
            return &mixes[i];
    fprintf(stderr, "replay: there is no mix '%s'\n", part);
    exit(2);
}

static double number(int argc, char **argv, int at, double otherwise)
{
    return at < argc ? atof(argv[at]) : otherwise;
}

int main(int argc, char **argv)
{
    double mb = WAL_UNIT / 1e6;
    int at = 1, times = 1;

    if (argc > 3 && strcmp(argv[1], "--write") == 0) {
        write_wal(argv[2], find(argv[3]), number(argc, argv, 4, mb) * 1e6,
                  (unsigned)number(argc, argv, 5, 1));
        return 0;
    }
    if (argc > 2 && strcmp(argv[1], "--open") == 0) {
        const struct took took =
            open_dir(argv[2], (int)number(argc, argv, 3, 1));
        printf("%8.1f %10.3f %10.3f\n", took.mb, took.clock, took.processor);
        return 0;
    }
    for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2) {
        if (strcmp(argv[at], "--mb") == 0)
            mb = atof(argv[at + 1]);
        else
            times = atoi(argv[at + 1]);
    }
    printf("%-20s %5s %8s %10s %10s\n", "seconds for 100 MB", "batch", "MB",
           "clock", "processor");
    (void)fflush(stdout); /* before there are children */
    for (unsigned i = 0; i < MIXES; i++)
        for (unsigned batch = 1; batch <= MANY; batch += MANY - 1)
            if (at >= argc || strstr(mixes[i].name, argv[at]) != NULL)
                measure(&mixes[i], mb * 1e6, batch, times);
    return 0;
}

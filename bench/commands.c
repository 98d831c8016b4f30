/* commands.c - one command many times through the dispatcher, for callgrind to
 * count.
 *
 *   commands COMMAND COUNT
 *
 * The commands are those of redis-benchmark with 100,000 keys or elements,
 * drawn at random, on a store without files. The script bench/commands lets
 * callgrind count inside measured() alone: cmd_run(), arguments and reply
 * included, without any protocol. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command/command.h"
#include "kvsql/admin.h"
#include "kvsql/base/os.h"

#define RANGE 100000 /* keys, elements */
#define ARGS_MAX 24
#define ARG_SIZE 32

static uint64_t random_state = UINT64_C(88172645463325252);
static struct kvsql_error err;
static kvsql *db;
static struct cmd_reply reply;
static char texts[ARGS_MAX][ARG_SIZE];
static kvsql_slice args[ARGS_MAX];
static unsigned args_count;

static unsigned random_below(unsigned n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state % n);
}

/* One more argument: the text, with a number of 12 digits behind it when
 * `number` >= 0. */
static void add(const char *text, int number)
{
    char *to = texts[args_count];
    size_t size = strlen(text);

    memcpy(to, text, size);
    if (number >= 0) {
        for (unsigned i = 12; i > 0; i--, number /= 10) {
            to[size + i - 1] = (char)('0' + number % 10);
        }
        size += 12;
    }
    args[args_count++] = (kvsql_slice){to, size};
}

static void add_random(const char *text)
{
    add(text, (int)random_below(RANGE));
}

static void run(void)
{
    struct kv_ticket ticket;

    cmd_run(db, args_count, args, true, &reply, &ticket);
    if (reply.rc != KVSQL_OK) {
        fprintf(stderr, "commands: a command failed\n");
        exit(1);
    }
}

/* Callgrind counts in here. */
static __attribute__((noinline)) void measured(void)
{
    run();
}

enum bench_command {
    GET, SET, INCR, HSET, ZADD, LPUSH, SADD, SPOP, LRANGE_100, MSET
};
/* The name, and the kind of what it needs before. */
static const struct {
    const char *name;
    char kind;
} commands[] = {
    {"GET", 's'}, {"SET", 's'}, {"INCR", 'i'}, {"HSET", 'h'},
    {"ZADD", 'z'}, {"LPUSH", 'l'}, {"SADD", 't'}, {"SPOP", 't'},
    {"LRANGE_100", 'l'}, {"MSET", 's'}};

static void make(enum bench_command what)
{
    args_count = 0;
    switch (what) {
    case GET:
        add("GET", -1);
        add_random("key:");
        return;
    case SET:
        add("SET", -1);
        add_random("key:");
        add("xxx", -1);
        return;
    case INCR:
        add("INCR", -1);
        add_random("counter:");
        return;
    case HSET:
        add("HSET", -1);
        add("myhash", -1);
        add_random("element:");
        add("xxx", -1);
        return;
    case ZADD:
        add("ZADD", -1);
        add("myzset", -1);
        add("0", -1);
        add_random("element:");
        return;
    case LPUSH:
        add("LPUSH", -1);
        add("mylist", -1);
        add("xxx", -1);
        return;
    case SADD:
        add("SADD", -1);
        add("myset", -1);
        add_random("element:");
        return;
    case SPOP:
        add("SPOP", -1);
        add("myset", -1);
        return;
    case LRANGE_100:
        add("LRANGE", -1);
        add("mylist", -1);
        add("0", -1);
        add("99", -1);
        return;
    case MSET:
        add("MSET", -1);
        for (unsigned i = 0; i < 10; i++) {
            add_random("key:");
            add("xxx", -1);
        }
        return;
    }
}

static void load_one(char kind, int number)
{
    static const char *const names[] = {"SET", "SET", "HSET", "ZADD", "SADD",
                                        "LPUSH"};
    static const char kinds[] = "sihztl";
    static const char *const keys[] = {"key:", "counter:", "myhash", "myzset",
                                       "myset", "mylist"};
    const size_t i = (size_t)(strchr(kinds, kind) - kinds);

    args_count = 0;
    add(names[i], -1);
    add(keys[i], i < 2 ? number : -1);
    if (kind == 'z') {
        add("0", -1);
    }
    if (kind == 'h' || kind == 'z' || kind == 't') {
        add("element:", number);
    }
    if (kind != 'z' && kind != 't') {
        add(kind == 'i' ? "1" : "xxx", -1);
    }
    run();
}

int main(int argc, char **argv)
{
    const struct kvsql_options options = {.no_keeper = true};
    unsigned what = 0;

    if (argc != 3) {
        fprintf(stderr, "usage: commands COMMAND COUNT\n");
        return 2;
    }
    while (what <= MSET && strcmp(commands[what].name, argv[1]) != 0) {
        what++;
    }
    if (what > MSET) {
        fprintf(stderr, "commands: no command '%s'\n", argv[1]);
        return 2;
    }
    if (kv_open_os("", &options, kv_os_real(), NULL, NULL, &db, &err) !=
        KVSQL_OK) {
        fprintf(stderr, "commands: %s\n", err.text);
        return 1;
    }
    cmd_reply_init(&reply, (size_t)64 << 20);
    for (int i = 0; i < RANGE; i++) {
        load_one(commands[what].kind, i);
    }
    for (unsigned long i = strtoul(argv[2], NULL, 10); i > 0; i--) {
        make((enum bench_command)what);
        measured();
    }
    cmd_reply_fini(&reply);
    return kv_close(db, &err) == KVSQL_OK ? 0 : 1;
}

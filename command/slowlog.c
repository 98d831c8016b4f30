/* slowlog.c - SLOWLOG: the commands that took longest, with their arguments.
 *
 * A command that runs as long as the threshold says leaves an entry: a block
 * of its own with copies of the arguments, shortened as Redis does (32 of
 * them, 128 bytes each), and of the client's address and name. What a command
 * was told in secret (AUTH, HELLO, a password in CONFIG SET) is never kept.
 * The others pay one relaxed load and a compare: cmd_slow_ns is the smaller of
 * this threshold and LATENCY's.
 *
 * Always true:
 *   SL1  slowlog_count <= SLOWLOG_MAX; entries are slowlog_ring[] from
 *        slowlog_first on, oldest first.
 *
 * Thread: any; the ring is under slowlog_lock. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "command/client.h"
#include "command/context.h"
#include "command/inspect.h"
#include "kvsql/base/lock.h"
#include "kvsql/base/mem.h"

#define SLOWLOG_MAX 10000      /* entries, whatever slowlog-max-len says */
#define SLOWLOG_ARGS_MAX 32    /* arguments of an entry */
#define SLOWLOG_ARG_MAX 128    /* bytes of one */
#define SLOWLOG_NOTE_MAX 64    /* bytes of "... (N more bytes)" */

struct slowlog_entry {
    size_t size; /* of the block */
    uint64_t id, us;
    int64_t time; /* s */
    char addr[CMD_CLIENT_ADDR_MAX], name[CMD_CLIENT_NAME_MAX + 1];
    unsigned argc;
    struct {
        uint32_t at, size; /* in bytes[] */
    } args[SLOWLOG_ARGS_MAX];
    char bytes[];
};

static struct slowlog_entry *slowlog_ring[SLOWLOG_MAX];
static unsigned slowlog_first, slowlog_count;
static uint64_t slowlog_next_id, slowlog_length_max = 128;
static struct kv_lock slowlog_lock = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                                      .rank = KV_RANK_COMMAND};
static _Atomic uint64_t slowlog_ns = UINT64_C(10000) * 1000; /* threshold */
_Atomic uint64_t cmd_slow_ns = UINT64_C(10000) * 1000;

static _Thread_local struct {
    const char *addr, *name;
} slowlog_origin;

void cmd_slowlog_origin(const char *addr, const char *name)
{
    slowlog_origin.addr = addr;
    slowlog_origin.name = name;
}

const char *cmd_slowlog_addr(const struct cmd_context *c)
{
    return c->client != NULL ? c->client->addr : slowlog_origin.addr;
}

/* ---- keeping ------------------------------------------------------------- */

/* Under the lock. */
static void slowlog_trim(uint64_t length_max)
{
    while (slowlog_count > length_max) {
        struct slowlog_entry *entry = slowlog_ring[slowlog_first];

        kv_mem_free(KV_MEM_MISC, entry, entry->size);
        slowlog_first = (slowlog_first + 1) % SLOWLOG_MAX;
        slowlog_count--;
    }
}

void cmd_slowlog_limits(int64_t slower_us, uint64_t length_max)
{
    const uint64_t latency = cmd_latency_threshold_ns();
    const uint64_t ns = slower_us < 0 ? UINT64_MAX
                        : (uint64_t)slower_us > UINT64_MAX / 1000
                            ? UINT64_MAX
                            : (uint64_t)slower_us * 1000;

    kv_lock_take(&slowlog_lock);
    atomic_store(&slowlog_ns, ns);
    atomic_store(&cmd_slow_ns, ns < latency ? ns : latency);
    slowlog_length_max = length_max < SLOWLOG_MAX ? length_max : SLOWLOG_MAX;
    slowlog_trim(slowlog_length_max);
    kv_lock_drop(&slowlog_lock);
}

void cmd_slowlog_clear(void)
{
    kv_lock_take(&slowlog_lock);
    slowlog_trim(0);
    kv_lock_drop(&slowlog_lock);
}

/* A statement that names the options, which may give one that is a secret. */
static bool slowlog_is_sql(const struct cmd_context *c)
{
    static const char config[] = "config";
    const size_t size = sizeof(config) - 1;

    if (c->argc < 2 || strcmp(c->row->name, "SQL") != 0) {
        return false;
    }
    for (size_t i = 0; i + size <= c->argv[1].size; i++) {
        if (strncasecmp((const char *)c->argv[1].p + i, config, size) == 0) {
            return true;
        }
    }
    return false;
}

/* HELLO version [AUTH user password] [SETNAME name]: who, and the password. */
static bool slowlog_is_login(const struct cmd_context *c, unsigned index)
{
    for (unsigned i = 2; i < index;) {
        const bool auth = cmd_is(c, i, "AUTH");

        if (auth && index <= i + 2) {
            return true;
        }
        i += auth ? 3 : cmd_is(c, i, "SETNAME") ? 2 : 1;
    }
    return false;
}

bool cmd_is_secret(const struct cmd_context *c, unsigned index)
{
    const char *name = c->row->name;

    if (index == 0) {
        return false;
    }
    return slowlog_is_sql(c) || strcmp(name, "AUTH") == 0 ||
           (strcmp(name, "HELLO") == 0 && slowlog_is_login(c, index)) ||
           (strcmp(name, "CONFIG|SET") == 0 && index > 2 &&
            (cmd_is(c, index - 1, "REQUIREPASS") ||
             cmd_is(c, index - 1, "MASTERAUTH")));
}

static const char slowlog_redacted[] = "(redacted)";

/* Add one argument to an entry that has room for it. */
static void slowlog_arg(struct slowlog_entry *entry, uint32_t *used,
                        kvsql_slice arg, const char *note)
{
    char *out = entry->bytes + *used;
    const size_t size = arg.size;
    const size_t note_size = strlen(note);

    memcpy(out, size > 0 ? arg.p : "", size);
    memcpy(out + size, note, note_size);
    entry->args[entry->argc].at = *used;
    entry->args[entry->argc++].size = (uint32_t)(size + note_size);
    *used += (uint32_t)(size + note_size);
}

static void slowlog_args(struct slowlog_entry *entry,
                         const struct cmd_context *c)
{
    const unsigned kept =
        c->argc <= SLOWLOG_ARGS_MAX ? c->argc : SLOWLOG_ARGS_MAX - 1;
    char note[SLOWLOG_NOTE_MAX];
    uint32_t used = 0;

    for (unsigned i = 0; i < kept; i++) {
        kvsql_slice arg = c->argv[i];

        note[0] = '\0';
        if (cmd_is_secret(c, i)) {
            arg = (kvsql_slice){slowlog_redacted,
                                sizeof(slowlog_redacted) - 1};
        } else if (arg.size > SLOWLOG_ARG_MAX) {
            (void)snprintf(note, sizeof(note), "... (%zu more bytes)",
                           arg.size - SLOWLOG_ARG_MAX);
            arg.size = SLOWLOG_ARG_MAX;
        }
        slowlog_arg(entry, &used, arg, note);
    }
    if (kept < c->argc) {
        (void)snprintf(note, sizeof(note), "... (%u more arguments)",
                       c->argc - kept);
        slowlog_arg(entry, &used, (kvsql_slice){"", 0}, note);
    }
}

/* Bytes that the arguments may need. */
static size_t slowlog_room(const struct cmd_context *c)
{
    size_t room = SLOWLOG_NOTE_MAX;

    for (unsigned i = 0; i < c->argc && i < SLOWLOG_ARGS_MAX; i++) {
        const size_t size = c->argv[i].size;

        room += SLOWLOG_NOTE_MAX +
                (size < SLOWLOG_ARG_MAX ? size : SLOWLOG_ARG_MAX);
    }
    return room;
}

static void slowlog_add(const struct cmd_context *c, uint64_t ns)
{
    const size_t size = sizeof(struct slowlog_entry) + slowlog_room(c);
    const struct cmd_client *client = c->client;
    const char *addr = cmd_slowlog_addr(c);
    const char *name = client != NULL ? client->name : slowlog_origin.name;
    struct slowlog_entry *entry = kv_mem_alloc(KV_MEM_MISC, size);

    if (entry == NULL) {
        return; /* statistics are no reason to fail */
    }
    *entry = (struct slowlog_entry){.size = size,
                                    .us = ns / 1000,
                                    .time = c->db != NULL
                                                ? kv_now(c->db) / 1000
                                                : 0};
    (void)snprintf(entry->addr, sizeof(entry->addr), "%s",
                   addr != NULL ? addr : "");
    (void)snprintf(entry->name, sizeof(entry->name), "%s",
                   name != NULL ? name : "");
    slowlog_args(entry, c);
    kv_lock_take(&slowlog_lock);
    if (slowlog_length_max == 0) {
        kv_mem_free(KV_MEM_MISC, entry, size);
    } else {
        slowlog_trim(slowlog_length_max - 1);
        entry->id = slowlog_next_id++;
        slowlog_ring[(slowlog_first + slowlog_count) % SLOWLOG_MAX] = entry;
        slowlog_count++; /* SL1 */
    }
    kv_lock_drop(&slowlog_lock);
}

void cmd_slow(const struct cmd_context *c, uint64_t ns)
{
    if (strcmp(c->row->name, "EXEC") == 0) {
        return; /* its commands were counted one by one */
    }
    if (ns >= atomic_load(&slowlog_ns)) {
        slowlog_add(c, ns);
    }
    if (ns >= cmd_latency_threshold_ns()) {
        cmd_latency_event(c->row->flags & CMD_FAST ? "fast-command"
                                                   : "command",
                          ns / 1000000);
    }
}

static kvsql_slice slowlog_arg_at(const struct cmd_slow_row *row,
                                  unsigned index)
{
    const struct slowlog_entry *entry = row->entry;

    return (kvsql_slice){entry->bytes + entry->args[index].at,
                         entry->args[index].size};
}

void cmd_slowlog_each(void (*take)(void *arg, const struct cmd_slow_row *row),
                      void *arg)
{
    kv_lock_take(&slowlog_lock);
    for (unsigned i = slowlog_count; i-- > 0;) {
        const struct slowlog_entry *entry =
            slowlog_ring[(slowlog_first + i) % SLOWLOG_MAX];
        const struct cmd_slow_row row = {.id = entry->id,
                                         .us = entry->us,
                                         .time_s = entry->time,
                                         .addr = entry->addr,
                                         .argc = entry->argc,
                                         .arg = slowlog_arg_at,
                                         .entry = entry};

        take(arg, &row);
    }
    kv_lock_drop(&slowlog_lock);
}

/* ---- the commands -------------------------------------------------------- */

static void slowlog_answer(struct cmd_context *c,
                           const struct slowlog_entry *entry)
{
    cmd_reply_array(c->reply, 6);
    cmd_reply_int(c->reply, (int64_t)entry->id);
    cmd_reply_int(c->reply, entry->time);
    cmd_reply_int(c->reply, (int64_t)entry->us);
    cmd_reply_array(c->reply, entry->argc);
    for (unsigned i = 0; i < entry->argc; i++) {
        cmd_reply_bulk(c->reply, entry->bytes + entry->args[i].at,
                       entry->args[i].size);
    }
    cmd_reply_text(c->reply, entry->addr);
    cmd_reply_text(c->reply, entry->name);
}

void cmd_do_slowlog_get(struct cmd_context *c)
{
    int64_t count = 10;
    unsigned shown;

    if (c->argc > 3) {
        cmd_fail(c, KVSQL_ARITY,
                 "ERR unknown subcommand or wrong number of arguments for "
                 "'%.*s'. Try SLOWLOG HELP.",
                 (int)c->argv[1].size, (const char *)c->argv[1].p);
        return;
    }
    if (c->argc == 3 &&
        !cmd_int_within(c, 2, -1, INT64_MAX, &count,
                        "ERR count should be greater than or equal to -1")) {
        return;
    }
    kv_lock_take(&slowlog_lock);
    shown = count < 0 || count > slowlog_count ? slowlog_count
                                               : (unsigned)count;
    cmd_reply_array(c->reply, shown);
    for (unsigned i = 0; i < shown; i++) {
        slowlog_answer(c, slowlog_ring[(slowlog_first + slowlog_count - 1 - i) %
                                       SLOWLOG_MAX]);
    }
    kv_lock_drop(&slowlog_lock);
}

void cmd_do_slowlog_len(struct cmd_context *c)
{
    kv_lock_take(&slowlog_lock);
    cmd_reply_int(c->reply, slowlog_count);
    kv_lock_drop(&slowlog_lock);
}

void cmd_do_slowlog_reset(struct cmd_context *c)
{
    cmd_slowlog_clear();
    cmd_answer_ok(c);
}

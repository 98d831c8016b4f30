/* inspect.h - clients, slow commands, latencies and options, one by one, for
 * those who show them in their own way (inspect.c, slowlog.c, latency.c).
 *
 * The functions that take are called under a lock: they must not call back.
 *
 * Thread: any. */
#ifndef KVSQL_COMMAND_INSPECT_H
#define KVSQL_COMMAND_INSPECT_H

#include <stdbool.h>
#include <stdint.h>

#include "kvsql/inside.h"

struct cmd_client_row {
    uint64_t id;
    const char *addr, *name;
    const char *user; /* NULL: no password was given yet */
    const char *command; /* the last one, NULL: none yet */
    unsigned resp;    /* 2 or 3 */
    int64_t age_s, idle_s;
    uint64_t in_size, out_size; /* bytes that wait */
};
KV_INTERNAL void cmd_client_each(void (*take)(void *arg,
                                              const struct cmd_client_row *row),
                                 void *arg);
/* CLIENT KILL ID; false: there is none. */
KV_INTERNAL bool cmd_client_kill(uint64_t id);

struct cmd_slow_row {
    uint64_t id, us;
    int64_t time_s;
    const char *addr;
    unsigned argc;
    kvsql_slice (*arg)(const struct cmd_slow_row *row, unsigned index);
    const void *entry; /* private */
};
/* The newest first. */
KV_INTERNAL void cmd_slowlog_each(void (*take)(void *arg,
                                               const struct cmd_slow_row *row),
                                  void *arg);

struct cmd_latency_row {
    const char *name;
    uint64_t calls;
    double p50_us, p99_us, max_us;
};
/* Commands that were called. */
KV_INTERNAL void
cmd_latency_each(void (*take)(void *arg, const struct cmd_latency_row *row),
                 void *arg);

struct cmd_config_row {
    const char *name;
    kvsql_slice value, initial;
    bool changes; /* CONFIG SET takes it */
};
/* Parameters of CONFIG GET; none in a program that has no options to change.
 * False: no memory. */
KV_INTERNAL bool cmd_config_each(void (*take)(void *arg,
                                              const struct cmd_config_row *row),
                                 void *arg);
/* CONFIG SET of one. `txn`: the one that the caller is in, or NULL. */
KV_INTERNAL kvsql_rc cmd_config_set(struct kv_txn *txn, kvsql_slice name,
                                    kvsql_slice value,
                                    struct kvsql_error *err);

#endif

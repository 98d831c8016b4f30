/* jobs.h - exports and imports that a server does for its clients, and how far
 * they are, for INFO, /readyz and /metrics.
 *
 * An export counts keys, an import the bytes of its body. Many may run at once:
 * they are told together. Whoever does the work owns its struct cmd_job, says
 * what is done, and ends it before the memory goes.
 *
 * Thread: any; a job is added to by one at a time. */
#ifndef KVSQL_COMMAND_JOBS_H
#define KVSQL_COMMAND_JOBS_H

#include <stdatomic.h>
#include <stdint.h>

#include "kvsql/inside.h"

enum cmd_job_kind { CMD_JOB_EXPORT, CMD_JOB_IMPORT, CMD_JOB_KINDS };

/* All zero: not running. */
struct cmd_job {
    _Atomic uint64_t done;
    uint64_t total;    /* 0: not known; it may turn out to be more or less */
    uint64_t begun_ns; /* monotonic; 0: it does not run */
    enum cmd_job_kind kind;
    struct cmd_job *next; /* guarded by the lock of jobs.c */
};

KV_INTERNAL void cmd_job_begin(struct cmd_job *job, enum cmd_job_kind kind,
                               uint64_t total);
/* So much more is done. A relaxed atomic. */
KV_INTERNAL void cmd_job_add(struct cmd_job *job, uint64_t n);
/* Of one that does not run: nothing. */
KV_INTERNAL void cmd_job_end(struct cmd_job *job);

/* All of a kind that run. `total` is 0 when one of them does not know its own;
 * `left_s` is that of the one that lasts longest, 0 when nobody knows. */
struct cmd_jobs {
    uint64_t running, done, total, left_s, per_s;
};
KV_INTERNAL void cmd_jobs_get(enum cmd_job_kind kind, struct cmd_jobs *out);

#endif

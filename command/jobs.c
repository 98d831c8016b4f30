/* jobs.c - see jobs.h.
 *
 * Those that run are a list; they are few (exports are bounded by workers,
 * imports by connections), and are walked when somebody asks.
 *
 * Thread: any. */
#include "command/jobs.h"

#include <stdatomic.h>

#include "command/stats.h"
#include "kvsql/base/lock.h"
#include "kvsql/base/os.h"

static struct kv_lock jobs_lock = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                                  .rank = KV_RANK_COMMAND};
static struct cmd_job *jobs_first;

void cmd_job_begin(struct cmd_job *job, enum cmd_job_kind kind, uint64_t total)
{
    KV_ASSERT(job->begun_ns == 0);
    *job = (struct cmd_job){
        .total = total, .begun_ns = kv_os_mono_ns(), .kind = kind};
    kv_lock_take(&jobs_lock);
    job->next = jobs_first;
    jobs_first = job;
    kv_lock_drop(&jobs_lock);
}

void cmd_job_add(struct cmd_job *job, uint64_t n)
{
    atomic_fetch_add_explicit(&job->done, n, memory_order_relaxed);
}

void cmd_job_end(struct cmd_job *job)
{
    struct cmd_job **at = &jobs_first;

    if (job->begun_ns == 0)
        return;
    kv_lock_take(&jobs_lock);
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    job->begun_ns = 0;
    kv_lock_drop(&jobs_lock);
}

void cmd_jobs_get(enum cmd_job_kind kind, struct cmd_jobs *out)
{
    const uint64_t now = kv_os_mono_ns();
    bool known = true;

    *out = (struct cmd_jobs){.running = 0};
    kv_lock_take(&jobs_lock);
    for (const struct cmd_job *job = jobs_first; job != NULL; job = job->next) {
        if (job->kind != kind)
            continue;
        const uint64_t done =
            atomic_load_explicit(&job->done, memory_order_relaxed);
        const uint64_t ns = now > job->begun_ns ? now - job->begun_ns : 1;
        const uint64_t left = cmd_stats_left(done, job->total, ns);
        out->running++;
        out->done += done;
        out->total += job->total > done ? job->total : done;
        out->per_s += (uint64_t)((double)done * 1e9 / (double)ns);
        out->left_s = left > out->left_s ? left : out->left_s;
        known = known && job->total != 0;
    }
    kv_lock_drop(&jobs_lock);
    if (!known)
        out->total = 0;
}

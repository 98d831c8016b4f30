/* progress.h - how far a long thing is: a bar on a terminal, else a line of
 * diag every five seconds, with the rate and the time that is left. Both on
 * stderr.
 *
 * Thread: the owner's. */
#ifndef KVSQL_CLI_PROGRESS_H
#define KVSQL_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "kvsql/admin.h"
#include "kvsql/base/attr.h"
#include "kvsql/inside.h"

struct cli_progress {
    const char *event; /* for diag: "load.progress" */
    const char *verb;  /* for people: "loading" */
    const char *unit;  /* what is counted: "packages" */
    uint64_t began_ns, next_ns;
    const char *stage; /* of kv_progress, NULL none */
    bool terminal, drawn;
};

KV_INTERNAL void cli_progress_init(struct cli_progress *progress,
                                   const char *event, const char *verb,
                                   const char *unit);
/* `count` of the unit are done; part/total tell the share, total 0 is unknown.
 * Cheap: draws at most ten times a second. */
KV_INTERNAL void cli_progress_show(struct cli_progress *progress,
                                   uint64_t count, uint64_t part,
                                   uint64_t total);
/* The same of what the library tells; a new `what` is another stage, with a
 * rate of its own. */
KV_INTERNAL void cli_progress_tell(struct cli_progress *progress,
                                   const struct kv_progress *told);
/* Take the bar away. */
KV_INTERNAL void cli_progress_end(struct cli_progress *progress);
KV_INTERNAL double cli_progress_seconds(const struct cli_progress *progress);

/* 1234567 as "1,234,567". */
#define CLI_COUNT_TEXT_MAX 32
KV_INTERNAL const char *cli_count_text(char out[CLI_COUNT_TEXT_MAX],
                                       uint64_t count);

#endif

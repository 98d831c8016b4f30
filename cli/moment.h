/* moment.h - moments as people write them.
 *
 * Thread: any. */
#ifndef KVSQL_CLI_MOMENT_H
#define KVSQL_CLI_MOMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "kvsql/base/attr.h"

#define CLI_MOMENT_MAX 40

/* "2026-01-31T18:30:00.500Z" as wall milliseconds: a blank may stand for the T,
 * seconds and their fraction may be left out, the zone may not: Z, or +hh:mm.
 * False when it is no moment, or one before 1970. */
KV_INTERNAL bool cli_moment(const char *text, int64_t *wall_ms);
/* The same back, in UTC. */
KV_INTERNAL void cli_moment_text(char out[CLI_MOMENT_MAX], int64_t wall_ms);

#endif

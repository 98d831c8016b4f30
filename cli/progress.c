/* progress.c - how far a long thing is.
 *
 * Thread: the owner's. */
#include "cli/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvsql/admin.h"
#include "kvsql/base/diag.h"
#include "kvsql/base/num.h"
#include "kvsql/base/os.h"

#define PROGRESS_DRAW_NS 100000000ull
#define PROGRESS_LINE_NS 5000000000ull
#define PROGRESS_WIDTH 30 /* characters of the bar */

void cli_progress_init(struct cli_progress *progress, const char *event,
                       const char *verb, const char *unit)
{
    const char *term = getenv("TERM");

    *progress = (struct cli_progress){.event = event,
                                      .verb = verb,
                                      .unit = unit,
                                      .began_ns = kv_os_mono_ns()};
    progress->terminal = isatty(STDERR_FILENO) == 1 &&
                         (term == NULL || strcmp(term, "dumb") != 0);
    progress->next_ns =
        progress->began_ns +
        (progress->terminal ? PROGRESS_DRAW_NS : PROGRESS_LINE_NS);
}

double cli_progress_seconds(const struct cli_progress *progress)
{
    return (double)(kv_os_mono_ns() - progress->began_ns) / 1e9;
}

const char *cli_count_text(char out[CLI_COUNT_TEXT_MAX], uint64_t count)
{
    char digits[KV_INT_TEXT_MAX];
    const int n = snprintf(digits, sizeof digits, "%llu",
                           (unsigned long long)count);
    size_t to = 0;

    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            out[to++] = ',';
        out[to++] = digits[i];
    }
    out[to] = '\0';
    return out;
}

/* What is known of the rest. */
struct progress_rest {
    uint64_t rate; /* of the unit, a second */
    uint64_t left; /* seconds; 0 not known, or nothing left */
};

static struct progress_rest progress_rest(const struct cli_progress *progress,
                                          uint64_t count, uint64_t part,
                                          uint64_t total)
{
    const double seconds = cli_progress_seconds(progress);
    struct progress_rest rest = {.rate = 0};

    if (seconds > 0)
        rest.rate = (uint64_t)((double)count / seconds);
    if (part > 0 && part < total)
        rest.left = 1 + (uint64_t)(seconds * (double)(total - part) /
                                   (double)part);
    return rest;
}

static void progress_draw(struct cli_progress *progress, const char *count,
                          uint64_t part, uint64_t total,
                          struct progress_rest rest)
{
    char rate[CLI_COUNT_TEXT_MAX], bar[PROGRESS_WIDTH + 1];
    const double share =
        total == 0 ? 0 : part >= total ? 1 : (double)part / (double)total;
    const size_t full = (size_t)(share * PROGRESS_WIDTH);

    cli_count_text(rate, rest.rate);
    if (total == 0) {
        fprintf(stderr, "\r%s  %s %s  %s/s\033[K", progress->verb, count,
                progress->unit, rate);
    } else {
        memset(bar, '.', PROGRESS_WIDTH);
        memset(bar, '#', full);
        bar[PROGRESS_WIDTH] = '\0';
        fprintf(stderr, "\r%s [%s] %3d%%  %s %s  %s/s", progress->verb, bar,
                (int)(share * 100), count, progress->unit, rate);
        if (rest.left > 0)
            fprintf(stderr, "  %llu s left", (unsigned long long)rest.left);
        fputs("\033[K", stderr);
    }
    progress->drawn = true;
}

void cli_progress_show(struct cli_progress *progress, uint64_t count,
                       uint64_t part, uint64_t total)
{
    const uint64_t now = kv_os_mono_ns();
    char text[CLI_COUNT_TEXT_MAX];

    if (now < progress->next_ns)
        return;
    cli_count_text(text, count);
    const struct progress_rest rest =
        progress_rest(progress, count, part, total);
    if (progress->terminal) {
        progress_draw(progress, text, part, total, rest);
        progress->next_ns = now + PROGRESS_DRAW_NS;
    } else {
        kv_diag(KV_INFO, progress->event,
                "%s=%llu percent=%d per_s=%llu left_s=%lld", progress->unit,
                (unsigned long long)count,
                total == 0 ? -1 : (int)((double)part * 100 / (double)total),
                (unsigned long long)rest.rate,
                total == 0 || part == 0 ? -1 : (long long)rest.left);
        progress->next_ns = now + PROGRESS_LINE_NS;
    }
}

void cli_progress_tell(struct cli_progress *progress,
                       const struct kv_progress *told)
{
    if (progress->stage == NULL || strcmp(progress->stage, told->what) != 0) {
        progress->stage = told->what;
        progress->began_ns = kv_os_mono_ns();
        progress->unit = strcmp(told->what, "load") == 0 ||
                                 strcmp(told->what, "snapshot") == 0
                             ? "keys"
                             : "bytes";
    }
    cli_progress_show(progress, told->done, told->done, told->total);
}

void cli_progress_end(struct cli_progress *progress)
{
    if (progress->drawn)
        fputs("\r\033[K", stderr);
    progress->drawn = false;
}

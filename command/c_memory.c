/* c_memory.c - MEMORY: what keys take, and what all takes.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/context.h"
#include "kvsql/admin.h"

#include <malloc.h>
#include <stdio.h>

/* [SAMPLES count] is Redis's; here nothing is sampled. False: answered. */
static bool memory_options(struct cmd_context *c)
{
    int64_t count;

    for (unsigned i = 3; i < c->argc; i += 2) {
        if (!cmd_is(c, i, "SAMPLES") || i + 1 == c->argc) {
            cmd_fail_syntax(c);
            return false;
        }
        if (!cmd_int(c, i + 1, &count, NULL)) {
            return false;
        }
        if (count < 0) {
            cmd_fail_syntax(c);
            return false;
        }
    }
    return true;
}

void cmd_do_memory_usage(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 2);
    uint64_t bytes;

    if (!memory_options(c)) {
        return;
    }
    (void)cmd_wall(c); /* c->at is where to read */
    if (kv_key_memory(&c->at, &key, &bytes)) {
        cmd_reply_int(c->reply, (int64_t)bytes);
    } else {
        cmd_reply_null(c->reply);
    }
}

/* ---- the whole ----------------------------------------------------------- */

static double memory_percent(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : 100 * (double)part / (double)whole;
}

static void memory_pair(struct cmd_context *c, uint64_t *pairs,
                        const char *name, uint64_t number)
{
    cmd_reply_text(c->reply, name);
    cmd_reply_int(c->reply, (int64_t)number);
    (*pairs)++;
}

static void memory_real(struct cmd_context *c, uint64_t *pairs,
                        const char *name, double real)
{
    cmd_reply_text(c->reply, name);
    cmd_reply_double(c->reply, real);
    (*pairs)++;
}

void cmd_do_memory_stats(struct cmd_context *c)
{
    struct kv_info info;
    uint64_t used, peak, pairs = 0;
    size_t place;

    cmd_info_get(c, &info);
    used = cmd_stats_memory(&info);
    peak = cmd_stats_peak(used);
    place = cmd_reply_begin(c->reply, CMD_REPLY_MAP);
    memory_pair(c, &pairs, "peak.allocated", peak);
    memory_pair(c, &pairs, "total.allocated", used);
    memory_pair(c, &pairs, "startup.allocated", 0);
    memory_pair(c, &pairs, "replication.backlog", 0);
    memory_pair(c, &pairs, "clients.slaves", 0);
    memory_pair(c, &pairs, "clients.normal", info.memory_clients);
    memory_pair(c, &pairs, "cluster.links", 0);
    memory_pair(c, &pairs, "aof.buffer", info.memory_wal);
    memory_pair(c, &pairs, "lua.caches", 0);
    memory_pair(c, &pairs, "functions.caches", 0);
    memory_pair(c, &pairs, "overhead.total", used - info.memory_data);
    memory_pair(c, &pairs, "keys.count", info.keys);
    memory_pair(c, &pairs, "keys.bytes-per-key",
                info.keys == 0 ? 0 : info.memory_data / info.keys);
    memory_pair(c, &pairs, "dataset.bytes", info.memory_data);
    memory_real(c, &pairs, "dataset.percentage",
                memory_percent(info.memory_data, used));
    memory_real(c, &pairs, "peak.percentage", memory_percent(used, peak));
    memory_pair(c, &pairs, "views.count", info.views);
    memory_pair(c, &pairs, "views.bytes", info.views_retained);
    memory_pair(c, &pairs, "undo.bytes", info.memory_undo);
    memory_pair(c, &pairs, "retired.bytes", info.memory_retired);
    cmd_reply_end(c->reply, place, pairs);
}

#define MEMORY_DOCTOR_MIN ((uint64_t)5 << 20)  /* less is not worth a word */
#define MEMORY_VIEW_OLD_MS 60000

void cmd_do_memory_doctor(struct cmd_context *c)
{
    struct kv_info info;
    struct kv_buf out;
    uint64_t used;

    cmd_info_get(c, &info);
    used = cmd_stats_memory(&info);
    kv_buf_init(&out, KV_MEM_CLIENT, 4096);
    if (info.memory_max != 0 && used > info.memory_max / 10 * 9) {
        kv_buf_text(&out, "Memory is within 10 % of maxmemory: writes will "
                          "be refused, or keys evicted.\n");
    }
    if (info.views_retained > used / 4 && used > MEMORY_DOCTOR_MIN) {
        kv_buf_text(&out, "More than a quarter is held by views of readers "
                          "that are slow to end.\n");
    }
    if (info.views > 0 && info.views_oldest_ms > MEMORY_VIEW_OLD_MS) {
        kv_buf_printf(&out, "The oldest view is %llu s old; what it holds "
                            "cannot be freed.\n",
                      (unsigned long long)info.views_oldest_ms / 1000);
    }
    if (info.memory_retired > used / 4 && used > MEMORY_DOCTOR_MIN) {
        kv_buf_text(&out, "More than a quarter waits to be freed, in steps."
                          "\n");
    }
    if (out.size == 0) {
        kv_buf_text(&out, used < MEMORY_DOCTOR_MIN
                              ? "There is next to nothing in memory: nothing "
                                "to say.\n"
                              : "Nothing stands out.\n");
    }
    if (out.failed) {
        cmd_fail_nomem(c);
    } else {
        cmd_reply_verbatim(c->reply, out.p, out.size);
    }
    kv_buf_fini(&out);
}

void cmd_do_memory_purge(struct cmd_context *c)
{
    (void)malloc_trim(0);
    cmd_answer_ok(c);
}

void cmd_do_memory_malloc_stats(struct cmd_context *c)
{
    const struct mallinfo2 info = mallinfo2();
    char text[512];
    const int size = snprintf(
        text, sizeof(text),
        "allocator: glibc\narenas: %zu bytes\nmapped blocks: %zu, %zu bytes\n"
        "in use: %zu bytes\nfree in arenas: %zu bytes\n"
        "free at the top: %zu bytes\n",
        info.arena, info.hblks, info.hblkhd, info.uordblks, info.fordblks,
        info.keepcost);

    cmd_reply_verbatim(c->reply, text, size > 0 ? (size_t)size : 0);
}

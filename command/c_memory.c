/* c_memory.c - MEMORY: what keys take.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/context.h"


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

void cmd_do_memory_help(struct cmd_context *c)
{
    static const char *const lines[] = {
        "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "USAGE <key> [SAMPLES <count>]",
        "    Return the bytes of memory that the key and its value take.",
        "HELP",
        "    Print this help.",
    };
    const unsigned count = sizeof(lines) / sizeof(lines[0]);

    cmd_reply_array(c->reply, count);
    for (unsigned i = 0; i < count; i++) {
        cmd_reply_status(c->reply, lines[i]);
    }
}

/* c_config.c - CONFIG: the options of the running program, through the table
 * of functions in struct cmd_host.
 *
 * Thread: the caller's of cmd_run(). */
#include <string.h>

#include "command/context.h"

#define CONFIG_VALUE_MAX (64u << 10) /* bytes of a value */

/* Does an argument ask for `name`? *shown is how to give it: as it was written,
 * when it was written out. */
static bool config_wanted(const struct cmd_context *c, const char *name,
                          kvsql_slice *shown)
{
    *shown = (kvsql_slice){name, strlen(name)};
    for (unsigned i = 2; i < c->argc; i++) {
        if (kv_glob_match(c->argv[i].p, c->argv[i].size,
                          (const uint8_t *)name, strlen(name), true)) {
            if (memchr(c->argv[i].p, '*', c->argv[i].size) == NULL &&
                c->argv[i].size == shown->size) {
                *shown = c->argv[i];
            }
            return true;
        }
    }
    return false;
}

void cmd_do_config_get(struct cmd_context *c)
{
    const struct cmd_config *config = &cmd_host_get()->config;
    const size_t place = cmd_reply_begin(c->reply, CMD_REPLY_MAP);
    const char *name;
    kvsql_slice shown;
    struct kv_buf value;
    uint64_t count = 0;

    kv_buf_init(&value, KV_MEM_CLIENT, CONFIG_VALUE_MAX);
    for (unsigned i = 0; config->name != NULL &&
                         (name = config->name(config->arg, i)) != NULL;
         i++) {
        if (name[0] == '\0' || !config_wanted(c, name, &shown)) {
            continue;
        }
        kv_buf_reset(&value, CONFIG_VALUE_MAX);
        config->get(config->arg, i, &value);
        if (value.failed) {
            break;
        }
        cmd_reply_bulk(c->reply, shown.p, shown.size);
        cmd_reply_bulk(c->reply, value.p, value.size);
        count++;
    }
    cmd_reply_end(c->reply, place, count);
    if (value.failed) {
        cmd_fail_nomem(c);
    }
    kv_buf_fini(&value);
}

/* Answer with a line that the host made. */
static void config_answer(struct cmd_context *c, kvsql_rc rc)
{
    if (rc == KVSQL_OK) {
        cmd_answer_ok(c);
    } else {
        cmd_fail(c, rc, "%s%s", rc == KVSQL_NOMEM ? "OOM " : "", c->err.text);
    }
}

void cmd_do_config_set(struct cmd_context *c)
{
    const struct cmd_config *config = &cmd_host_get()->config;

    if (c->argc % 2 != 0) {
        cmd_fail_syntax(c);
    } else if (config->set == NULL) {
        cmd_fail(c, KVSQL_INVALID,
                 "ERR there is no configuration to change in this program");
    } else {
        config_answer(c, config->set(config->arg, (c->argc - 2) / 2,
                                     c->argv + 2, &c->err));
    }
}

void cmd_do_config_rewrite(struct cmd_context *c)
{
    const struct cmd_config *config = &cmd_host_get()->config;

    if (config->rewrite == NULL) {
        cmd_fail(c, KVSQL_INVALID,
                 "ERR The server is running without a config file");
    } else {
        config_answer(c, config->rewrite(config->arg, &c->err));
    }
}

void cmd_do_config_resetstat(struct cmd_context *c)
{
    struct kv_info info;

    cmd_info_get(c, &info);
    cmd_info_reset(&info);
    cmd_stats_reset();
    cmd_answer_ok(c);
}

/* c_config.c - CONFIG: the options of the running program, through the table
 * of functions in struct cmd_host.
 *
 * Thread: the caller's of cmd_run(). */
#include <string.h>

#include "command/context.h"
#include "kvsql/admin.h"

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
        config_answer(c, config->set(config->arg, c->txn, (c->argc - 2) / 2,
                                     c->argv + 2, &c->err));
    }
}

static kvsql_rc config_rewrite(struct kvsql_error *err)
{
    const struct cmd_config *config = &cmd_host_get()->config;

    return config->rewrite != NULL
               ? config->rewrite(config->arg, err)
               : kv_fail(err, KVSQL_INVALID,
                         "ERR The server is running without a config file");
}

/* Answer now, write at the end. */
static void config_rewrite_later(struct cmd_context *c)
{
    struct cmd_later *later = c->later;

    if (later == NULL) {
        cmd_fail(c, KVSQL_AUTH, "ERR Command not allowed inside a transaction");
        return;
    }
    if (later->count == later->cap) {
        const unsigned cap = later->cap > 0 ? later->cap * 2 : 4;
        size_t *grown = kv_mem_realloc(KV_MEM_CLIENT, later->places,
                                       later->cap * sizeof(*grown),
                                       cap * sizeof(*grown));

        if (grown == NULL) {
            cmd_fail_nomem(c);
            return;
        }
        later->places = grown;
        later->cap = cap;
    }
    later->places[later->count++] = c->reply->start;
    cmd_answer_ok(c);
}

void cmd_do_config_rewrite(struct cmd_context *c)
{
    if (c->txn != NULL) {
        config_rewrite_later(c);
    } else {
        config_answer(c, config_rewrite(&c->err));
    }
}

/* Put an error where the OK at `place` is. */
static void config_take_back(struct cmd_reply *reply, size_t place,
                             const struct kvsql_error *why)
{
    struct kv_buf *buf = reply->buf;
    struct cmd_reply part;
    struct kv_buf rest;
    size_t end;

    cmd_reply_part(&part, reply); /* how long an OK is in this form */
    cmd_reply_status(&part, "OK");
    end = place + buf->size - part.start;
    buf->size = part.start;
    kv_buf_init(&rest, KV_MEM_CLIENT, buf->size_max);
    kv_buf_add(&rest, buf->p + end, buf->size - end);
    buf->size = place;
    cmd_reply_part(&part, reply);
    cmd_reply_error(&part, why->rc, "%s", why->text);
    kv_buf_add(buf, rest.p, rest.size);
    buf->failed |= rest.failed;
    kv_buf_fini(&rest);
}

void cmd_later_run(struct cmd_later *later, struct cmd_reply *reply)
{
    struct kvsql_error why;

    if (later->count == 0 || cmd_reply_failed(reply) ||
        config_rewrite(&why) == KVSQL_OK) {
        return;
    }
    cmd_stats_error(why.text, strlen(why.text));
    for (unsigned i = later->count; i > 0 && !cmd_reply_failed(reply); i--) {
        config_take_back(reply, later->places[i - 1], &why);
    }
}

void cmd_later_fini(struct cmd_later *later)
{
    kv_mem_free(KV_MEM_CLIENT, later->places,
                later->cap * sizeof(*later->places));
}

void cmd_do_config_resetstat(struct cmd_context *c)
{
    struct kv_info info;

    cmd_info_get(c, &info);
    cmd_info_reset(&info);
    cmd_stats_reset();
    cmd_answer_ok(c);
}

/* c_server.c - the server itself: PING, TIME, FLUSHALL, SAVE, COMMAND.
 *
 * Thread: the caller's of cmd_run(). */
#include "command/context.h"

#include <string.h>
#include <strings.h>

#include "kvsql/base/num.h"

void cmd_do_ping(struct cmd_context *c)
{
    if (c->argc > 2) {
        cmd_fail_arity(c);
    } else if (c->argc == 2) {
        cmd_reply_bulk(c->reply, c->argv[1].p, c->argv[1].size);
    } else {
        cmd_reply_status(c->reply, "PONG");
    }
}

void cmd_do_echo(struct cmd_context *c)
{
    cmd_reply_bulk(c->reply, c->argv[1].p, c->argv[1].size);
}

void cmd_do_time(struct cmd_context *c)
{
    const int64_t now = kv_now(c->db);
    char text[KV_INT_TEXT_MAX];

    cmd_reply_array(c->reply, 2);
    cmd_reply_bulk(c->reply, text, kv_num_format_int(text, now / 1000));
    cmd_reply_bulk(c->reply, text,
                   kv_num_format_int(text, now % 1000 * 1000));
}

void cmd_do_flushall(struct cmd_context *c)
{
    if (c->argc > 2 ||
        (c->argc == 2 && !cmd_is(c, 1, "ASYNC") && !cmd_is(c, 1, "SYNC"))) {
        cmd_fail_syntax(c);
    } else if (cmd_ok(c, kv_flush(c->txn, &c->err))) {
        cmd_answer_ok(c);
    }
}

/* ---- snapshots ---------------------------------------------------------- */

static void server_save_failed(struct cmd_context *c, kvsql_rc rc)
{
    if (rc == KVSQL_BUSY) {
        cmd_fail(c, rc, "ERR Background save already in progress");
    } else {
        cmd_fail_rc(c, rc);
    }
}

void cmd_do_save(struct cmd_context *c)
{
    struct kv_snapshot_info info;
    const kvsql_rc rc = kv_snapshot_run(c->db, NULL, NULL, &info, &c->err);

    if (rc != KVSQL_OK) {
        server_save_failed(c, rc);
    } else {
        cmd_answer_ok(c);
    }
}

void cmd_do_bgsave(struct cmd_context *c)
{
    kvsql_rc rc;

    if (c->argc > 2 || (c->argc == 2 && !cmd_is(c, 1, "SCHEDULE"))) {
        cmd_fail_syntax(c);
        return;
    }
    rc = kv_snapshot_start(c->db, &c->err);
    if (rc != KVSQL_OK) {
        server_save_failed(c, rc);
    } else {
        cmd_reply_status(c->reply, "Background saving started");
    }
}

void cmd_do_lastsave(struct cmd_context *c)
{
    struct kv_info info;

    kv_info_get(c->db, &info);
    cmd_reply_int(c->reply, (info.snapshot_at != 0
                                 ? info.snapshot_at
                                 : cmd_host_get()->started_at) /
                                1000);
}

/* ---- COMMAND ------------------------------------------------------------ */

static void server_answer_name(struct cmd_context *c,
                               const struct cmd_row *row)
{
    char name[64];
    size_t size = 0;

    for (; row->name[size] != '\0' && size < sizeof(name); size++) {
        const char ch = row->name[size];

        name[size] = ch >= 'A' && ch <= 'Z' ? (char)(ch + 32) : ch;
    }
    cmd_reply_bulk(c->reply, name, size);
}

/* Subcommands stand behind their container. */
static bool server_is_sub(const struct cmd_row *row)
{
    return strchr(row->name, '|') != NULL;
}

static bool server_is_sub_of(const struct cmd_row *row,
                             const struct cmd_row *box)
{
    const size_t size = strlen(box->name);

    return row != NULL && strncmp(row->name, box->name, size) == 0 &&
           row->name[size] == '|';
}

static uint64_t server_count(void)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < cmd_count(); i++) {
        count += !server_is_sub(cmd_at(i));
    }
    return count;
}

void cmd_do_command_count(struct cmd_context *c)
{
    cmd_reply_int(c->reply, (int64_t)server_count());
}

/* Flags of a row by Redis's names. */
static const struct {
    unsigned flag;
    const char *name;
} server_flags[] = {
    {CMD_WRITE, "write"},  {CMD_READONLY, "readonly"},
    {CMD_FAST, "fast"},    {CMD_ADMIN, "admin"},
    {CMD_NO_MULTI, "no_multi"},
};
#define SERVER_FLAGS (sizeof(server_flags) / sizeof(server_flags[0]))

/* Category `n` of a row, or NULL behind the last. */
static const char *server_category(const struct cmd_row *row, unsigned n)
{
    const struct {
        bool is;
        const char *name;
    } all[] = {
        {(row->flags & CMD_WRITE) != 0, "@write"},
        {(row->flags & CMD_READONLY) != 0, "@read"},
        {(row->flags & CMD_ADMIN) != 0, "@admin"},
        {strcmp(row->group, "string") == 0, "@string"},
        {strcmp(row->group, "hash") == 0, "@hash"},
        {strcmp(row->group, "list") == 0, "@list"},
        {strcmp(row->group, "set") == 0, "@set"},
        {strcmp(row->group, "sorted-set") == 0, "@sortedset"},
        {strcmp(row->group, "generic") == 0, "@keyspace"},
        {strcmp(row->group, "connection") == 0, "@connection"},
        {(row->flags & CMD_FAST) != 0, "@fast"},
        {(row->flags & CMD_FAST) == 0, "@slow"},
    };

    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i].is && n-- == 0) {
            return all[i].name;
        }
    }
    return NULL;
}

static bool server_has_category(const struct cmd_row *row, kvsql_slice name)
{
    const char *category;

    for (unsigned n = 0; (category = server_category(row, n)) != NULL; n++) {
        if (strlen(category + 1) == name.size &&
            strncasecmp(category + 1, name.p, name.size) == 0) {
            return true;
        }
    }
    return false;
}

/* The 10 elements of COMMAND INFO; subcommands have none of their own. */
static void server_answer_info(struct cmd_context *c, unsigned index)
{
    const struct cmd_row *row = cmd_at(index);
    uint64_t count = 0;
    const char *category;
    size_t place;

    cmd_reply_array(c->reply, 10);
    server_answer_name(c, row);
    cmd_reply_int(c->reply, row->arity);
    place = cmd_reply_begin(c->reply, CMD_REPLY_SET);
    for (unsigned i = 0; i < SERVER_FLAGS; i++) {
        if (row->flags & server_flags[i].flag) {
            cmd_reply_status(c->reply, server_flags[i].name);
            count++;
        }
    }
    cmd_reply_end(c->reply, place, count);
    cmd_reply_int(c->reply, row->first_key);
    cmd_reply_int(c->reply, row->last_key);
    cmd_reply_int(c->reply, row->step);
    place = cmd_reply_begin(c->reply, CMD_REPLY_SET);
    for (count = 0; (category = server_category(row, (unsigned)count)) != NULL;
         count++) {
        cmd_reply_status(c->reply, category);
    }
    cmd_reply_end(c->reply, place, count);
    cmd_reply_set(c->reply, 0); /* tips */
    cmd_reply_set(c->reply, 0); /* key specs */
    count = 0;
    while (server_is_sub_of(cmd_at(index + 1 + (unsigned)count), row)) {
        count++;
    }
    cmd_reply_array(c->reply, count);
}

/* A container's info is followed by that of its subcommands, which are its
 * tenth element. */
static void server_answer_info_all(struct cmd_context *c, unsigned index)
{
    const struct cmd_row *row = cmd_at(index);

    server_answer_info(c, index);
    for (unsigned i = index + 1; server_is_sub_of(cmd_at(i), row); i++) {
        server_answer_info(c, i);
    }
}

static bool server_index_of(kvsql_slice name, unsigned *index)
{
    const struct cmd_row *row = cmd_find_full(name.p, name.size);

    if (row != NULL) {
        *index = (unsigned)(row - cmd_at(0));
    }
    return row != NULL;
}

void cmd_do_command_info(struct cmd_context *c)
{
    unsigned index;

    if (c->argc > 2) {
        cmd_reply_array(c->reply, c->argc - 2);
        for (unsigned i = 2; i < c->argc; i++) {
            if (server_index_of(c->argv[i], &index)) {
                server_answer_info_all(c, index);
            } else {
                cmd_reply_null_array(c->reply);
            }
        }
        return;
    }
    cmd_reply_array(c->reply, server_count());
    for (unsigned i = 0; i < cmd_count(); i++) {
        if (!server_is_sub(cmd_at(i))) {
            server_answer_info_all(c, i);
        }
    }
}

static void server_answer_docs(struct cmd_context *c, unsigned index)
{
    const struct cmd_row *row = cmd_at(index);
    uint64_t subs = 0;

    while (server_is_sub_of(cmd_at(index + 1 + (unsigned)subs), row)) {
        subs++;
    }
    server_answer_name(c, row);
    cmd_reply_map(c->reply, subs > 0 ? 5 : 4);
    cmd_reply_text(c->reply, "summary");
    cmd_reply_text(c->reply, row->summary);
    cmd_reply_text(c->reply, "since");
    cmd_reply_text(c->reply, row->since);
    cmd_reply_text(c->reply, "group");
    cmd_reply_text(c->reply, row->group);
    cmd_reply_text(c->reply, "complexity");
    cmd_reply_text(c->reply, row->complexity);
    if (subs > 0) {
        cmd_reply_text(c->reply, "subcommands");
        cmd_reply_map(c->reply, subs);
    }
}

/* A container's docs end with those of its subcommands. */
static void server_answer_docs_all(struct cmd_context *c, unsigned index)
{
    const struct cmd_row *row = cmd_at(index);

    server_answer_docs(c, index);
    for (unsigned i = index + 1; server_is_sub_of(cmd_at(i), row); i++) {
        server_answer_docs(c, i);
    }
}

void cmd_do_command_docs(struct cmd_context *c)
{
    const size_t place = cmd_reply_begin(c->reply, CMD_REPLY_MAP);
    uint64_t count = 0;
    unsigned index;

    for (unsigned i = 2; i < c->argc; i++) {
        if (server_index_of(c->argv[i], &index)) {
            server_answer_docs_all(c, index);
            count++;
        }
    }
    for (unsigned i = 0; c->argc == 2 && i < cmd_count(); i++) {
        if (!server_is_sub(cmd_at(i))) {
            server_answer_docs_all(c, i);
            count++;
        }
    }
    cmd_reply_end(c->reply, place, count);
}

enum server_filter {
    SERVER_FILTER_NONE,
    SERVER_FILTER_MODULE,
    SERVER_FILTER_ACLCAT,
    SERVER_FILTER_GLOB
};

static bool server_filter_takes(enum server_filter filter, kvsql_slice value,
                                const struct cmd_row *row)
{
    switch (filter) {
    case SERVER_FILTER_MODULE:
        return false; /* there are none */
    case SERVER_FILTER_ACLCAT:
        return server_has_category(row, value);
    case SERVER_FILTER_GLOB:
        return kv_glob_match(value.p, value.size, (const uint8_t *)row->name,
                             strlen(row->name), true);
    default:
        return true;
    }
}

void cmd_do_command_list(struct cmd_context *c)
{
    enum server_filter filter = SERVER_FILTER_NONE;
    kvsql_slice value = {"", 0};
    uint64_t count = 0;
    size_t place;

    if (c->argc == 5 && cmd_is(c, 2, "FILTERBY")) {
        filter = cmd_is(c, 3, "MODULE")    ? SERVER_FILTER_MODULE
                 : cmd_is(c, 3, "ACLCAT")  ? SERVER_FILTER_ACLCAT
                 : cmd_is(c, 3, "PATTERN") ? SERVER_FILTER_GLOB
                                           : SERVER_FILTER_NONE;
        value = c->argv[4];
    }
    if (c->argc != 2 && filter == SERVER_FILTER_NONE) {
        cmd_fail_syntax(c);
        return;
    }
    place = cmd_reply_begin(c->reply, CMD_REPLY_ARRAY);
    for (unsigned i = 0; i < cmd_count(); i++) {
        if (server_filter_takes(filter, value, cmd_at(i))) {
            server_answer_name(c, cmd_at(i));
            count++;
        }
    }
    cmd_reply_end(c->reply, place, count);
}

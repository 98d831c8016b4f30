/* command_diff_local.c - the same random commands to kvsql and to a Redis,
 * compared byte for byte in RESP2.
 *
 *   command_diff PORT [COMMANDS [SEED]]
 *
 * kvsql runs in this process on a store without files; the other server is
 * asked on 127.0.0.1:PORT. Commands are made from a seed that is printed.
 * Replies must be equal but for what the table of intended differences allows
 * (command_diff.allow explains each).
 *
 * Output: PASS or FAIL lines. Exit 0 when nothing differs, 1 else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command/command.h"
#include "kvsql/admin.h"
#include "kvsql/base/os.h"
#include "tests/api/command_diff.h"

static kvsql *db;
static struct diff_peer peer;
static struct cmd_reply reply;
static struct kv_buf ours, theirs, request;

static void local_run(const struct diff_command *c)
{
    kvsql_slice argv[DIFF_ARGS_MAX];
    struct kv_ticket ticket;

    for (unsigned i = 0; i < c->argc; i++) {
        argv[i] = (kvsql_slice){c->text[i], c->size[i]};
    }
    cmd_run(db, c->argc, argv, true, &reply, &ticket);
}

/* What TYPE says of the key of a SORT. */
static void local_type(const struct diff_command *c, char *type, size_t size)
{
    struct diff_command ask = {.argc = 2};
    struct cmd_item item = {0};
    size_t offset = 0;

    type[0] = '\0';
    if (strncmp(c->text[0], "SORT", 4) == 0 && c->argc > 1) {
        memcpy(ask.text[0], "TYPE", 4);
        ask.size[0] = 4;
        memcpy(ask.text[1], c->text[1], c->size[1]);
        ask.size[1] = c->size[1];
        local_run(&ask);
        (void)cmd_reply_next(&reply, &offset, &item);
        (void)snprintf(type, size, "%.*s", (int)item.size,
                       (const char *)item.p);
    }
}

static bool local_ask_both(const struct diff_command *c)
{
    kv_buf_reset(&ours, DIFF_REPLY_MAX);
    kv_buf_reset(&theirs, DIFF_REPLY_MAX);
    kv_buf_reset(&request, DIFF_REPLY_MAX);
    local_run(c);
    cmd_reply_resp2(&reply, &ours);
    diff_pack(c, &request);
    return diff_write(&peer, request.p, request.size) &&
           diff_receive(&peer, &theirs);
}

static bool local_open(const char *port)
{
    const struct kvsql_options options = {0};
    struct kvsql_error err;

    if (!diff_connect(&peer, (uint16_t)strtoul(port, NULL, 10))) {
        printf("FAIL command_diff: cannot reach the other server\n");
        return false;
    }
    if (kv_open_os("", &options, kv_os_real(), NULL, NULL, &db, &err) !=
        KVSQL_OK) {
        printf("FAIL command_diff: cannot open: %s\n", err.text);
        return false;
    }
    cmd_reply_init(&reply, DIFF_REPLY_MAX);
    kv_buf_init(&ours, KV_MEM_MISC, DIFF_REPLY_MAX);
    kv_buf_init(&theirs, KV_MEM_MISC, DIFF_REPLY_MAX);
    kv_buf_init(&request, KV_MEM_MISC, DIFF_REPLY_MAX);
    return true;
}

static bool local_close(void)
{
    struct kvsql_error err;

    kv_buf_fini(&ours);
    kv_buf_fini(&theirs);
    kv_buf_fini(&request);
    cmd_reply_fini(&reply);
    if (kv_close(db, &err) != KVSQL_OK) {
        printf("FAIL command_diff: close: %s\n", err.text);
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    const unsigned count =
        argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 20000;
    struct diff_command c;
    unsigned differ = 0, intended = 0;

    diff_state = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    if (argc < 2 || !local_open(argv[1])) {
        return 1;
    }
    printf("seed %llu, %u commands\n", (unsigned long long)diff_state, count);
    for (unsigned i = 0; i < count && differ < DIFF_SHOWN_MAX; i++) {
        char type[16];
        bool allowed;

        diff_make(&c);
        local_type(&c, type, sizeof(type));
        if (!local_ask_both(&c)) {
            printf("FAIL command_diff: the other server hung up\n");
            return 1;
        }
        if (!diff_accept(&c, type, (kvsql_slice){ours.p, ours.size},
                         (kvsql_slice){theirs.p, theirs.size}, &allowed)) {
            differ++;
            printf("  command %u differs:\n", i);
            diff_show_command(&c);
            diff_show("kvsql", (kvsql_slice){ours.p, ours.size});
            diff_show("redis", (kvsql_slice){theirs.p, theirs.size});
        }
        intended += allowed;
    }
    if (!local_close()) {
        return 1;
    }
    printf("%s command_diff%s (%u differences, %u intended)\n",
           differ == 0 ? "PASS" : "FAIL", differ == 0 ? "" : ": see above",
           differ, intended);
    return differ == 0 ? 0 : 1;
}

/* fuzz_command.c - lines as a person types them: split into words, and run one
 * after the other on a store in memory. Each gives exactly one value. */
#include "command/command.h"
#include "command/reply.h"
#include "kvsql/admin.h"
#include "kvsql/base/os.h"
#include "tests/lib/fuzz.h"

#define LINES_MAX 64

static kvsql_slice words[CMD_LINE_ARGS_MAX];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    fuzz_quiet();
    return 0;
}

/* Exactly one value at the top level (CM). */
static void check_reply(const struct cmd_reply *reply)
{
    struct cmd_item item;
    size_t offset = 0;
    uint64_t left = 1;

    while (left > 0) {
        FUZZ_CHECK(cmd_reply_next(reply, &offset, &item));
        left--;
        if (item.kind == CMD_REPLY_ARRAY || item.kind == CMD_REPLY_SET)
            left += (uint64_t)item.number;
        if (item.kind == CMD_REPLY_MAP || item.kind == CMD_REPLY_PAIRS)
            left += 2 * (uint64_t)item.number;
    }
    FUZZ_CHECK(!cmd_reply_next(reply, &offset, &item));
}

static void run_line(kvsql *db, const uint8_t *line, size_t size,
                     struct cmd_reply *reply)
{
    struct kvsql_error err;
    struct kv_ticket ticket;
    struct kv_buf buf;
    unsigned argc = 0;
    char *text = (char *)fuzz_copy(line, size);

    kv_buf_init(&buf, KV_MEM_CLIENT, 1 << 20);
    const kvsql_rc rc = cmd_split(text, size, &buf, words, &argc, &err);
    FUZZ_CHECK(rc == KVSQL_OK || rc == KVSQL_SYNTAX || rc == KVSQL_TOOBIG);
    const struct cmd_row *row =
        rc == KVSQL_OK && argc > 0 ? cmd_find(words[0].p, words[0].size) : NULL;
    /* What acts on the process is not for here. */
    if (row != NULL && !(row->flags & (CMD_ADMIN | CMD_CLIENT))) {
        cmd_reply_reset(reply);
        cmd_run(db, argc, words, true, reply, &ticket);
        check_reply(reply);
    }
    kv_buf_fini(&buf);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct kvsql_options options = {.no_keeper = true,
                                          .maxmemory = 32 << 20};
    struct cmd_reply reply;
    struct kvsql_error err;
    kvsql *db;

    FUZZ_CHECK(kv_open_os("", &options, kv_os_real(), NULL, NULL, &db, &err) ==
               KVSQL_OK);
    cmd_reply_init(&reply, 16 << 20);
    for (int i = 0; i < LINES_MAX && size > 0; i++) {
        const uint8_t *end = memchr(data, '\n', size);
        const size_t part = end != NULL ? (size_t)(end - data) : size;
        run_line(db, data, part, &reply);
        data += part + (end != NULL);
        size -= part + (end != NULL);
    }
    cmd_reply_fini(&reply);
    FUZZ_CHECK(kv_close(db, &err) == KVSQL_OK);
    return 0;
}

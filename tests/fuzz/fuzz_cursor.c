/* fuzz_cursor.c - cursors of SCAN: any number may be asked with; and a scan of
 * any keys that loses each name it kept ends and misses none.
 *
 *   u64 cursor | keys, each ended by LF */
#include "command/cursor.h"
#include "kvsql/admin.h"
#include "kvsql/base/num.h"
#include "kvsql/base/os.h"
#include "tests/lib/fuzz.h"

#define KEYS_MAX 64

static kvsql *db;
static struct cmd_reply reply;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    fuzz_quiet();
    return 0;
}

static void run(unsigned argc, const kvsql_slice *argv)
{
    struct kv_ticket ticket;

    cmd_reply_reset(&reply);
    cmd_run(db, argc, argv, true, &reply, &ticket);
    FUZZ_CHECK(reply.rc == KVSQL_OK);
}

/* One slice of one key or, behind a lost name, a few: the cursor it gives. The
 * keys become fields of the hash of those that were seen, "". */
static uint64_t scan(uint64_t cursor)
{
    char text[KV_INT_TEXT_MAX + 1];
    const kvsql_slice argv[] = {
        {"SCAN", 4},
        {text, (size_t)snprintf(text, sizeof(text), "%llu",
                                (unsigned long long)cursor)},
        {"COUNT", 5},
        {"1", 1}};
    struct cmd_item item;
    struct kv_buf seen;
    size_t offset = 0;
    uint64_t next, count;

    run(4, argv);
    FUZZ_CHECK(cmd_reply_next(&reply, &offset, &item));
    FUZZ_CHECK(cmd_reply_next(&reply, &offset, &item));
    FUZZ_CHECK(kv_num_uint(item.p, item.size, &next));
    FUZZ_CHECK(next < UINT64_C(1) << 53);
    FUZZ_CHECK(cmd_reply_next(&reply, &offset, &item));
    count = (uint64_t)item.number;
    kv_buf_init(&seen, KV_MEM_MISC, 16 << 20);
    kv_buf_add(&seen, reply.buf->p, reply.buf->size);
    for (; count > 0; count--) {
        struct cmd_item key;
        struct cmd_reply copy = {.buf = &seen};

        FUZZ_CHECK(cmd_reply_next(&copy, &offset, &key));
        const kvsql_slice hset[] = {
            {"HSET", 4}, {"", 0}, {key.p, key.size}, {"", 0}};
        run(4, hset);
    }
    kv_buf_fini(&seen);
    return next;
}

/* How many keys there are, or fields in the hash of those that were seen. */
static int64_t number_of(const char *command, unsigned argc)
{
    const kvsql_slice argv[] = {{command, strlen(command)}, {"", 0}};
    struct cmd_item item;
    size_t offset = 0;

    run(argc, argv);
    FUZZ_CHECK(cmd_reply_next(&reply, &offset, &item));
    return item.number;
}

static void set_keys(const uint8_t *data, size_t size)
{
    for (unsigned i = 0; i < KEYS_MAX && size > 0; i++) {
        const uint8_t *end = memchr(data, '\n', size);
        const size_t part = end != NULL ? (size_t)(end - data) : size;
        const kvsql_slice argv[] = {{"SET", 3}, {data, part}, {"", 0}};

        if (part > 0) {
            run(3, argv);
        }
        data += part + (end != NULL);
        size -= part + (end != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct kvsql_options options = {.no_keeper = true};
    const kvsql_slice seen[] = {{"HSET", 4}, {"", 0}, {"", 0}, {"", 0}};
    const kvsql_slice forget[] = {{"DEL", 3}, {"", 0}};
    struct kvsql_error err;
    uint64_t cursor = 0;
    unsigned steps = 0;

    if (size < 8 || size > 30000) {
        return 0;
    }
    FUZZ_CHECK(kv_open_os("", &options, kv_os_real(), NULL, NULL, &db, &err) ==
               KVSQL_OK);
    cmd_reply_init(&reply, 16 << 20);
    set_keys(data + 8, size - 8);
    run(4, seen); /* the hash itself is a key, too */
    (void)scan(kv_u64_get(data));
    run(2, forget);
    run(4, seen);
    do {
        cursor = scan(cursor);
        cmd_cursor_clear();
        FUZZ_CHECK(++steps <= KEYS_MAX + 2);
    } while (cursor != 0);
    FUZZ_CHECK(number_of("HLEN", 2) == number_of("DBSIZE", 1));
    cmd_reply_fini(&reply);
    FUZZ_CHECK(kv_close(db, &err) == KVSQL_OK);
    return 0;
}

/* fuzz_snapshot.c - a snapshot file that somebody has worked on (P7, P8): it is
 * refused in words, or gives a store that can be read from end to end.
 *
 * A good file is made once. The input is SQL that stock SQLite runs on it; or,
 * behind a first '!', places and bytes to put there: u24 place, u8 byte. The
 * schema may be written by hand, as a hostile file's is. */
#include <sqlite3.h>

#include "kvsql/admin.h"
#include "kvsql/snapshot.h"
#include "tests/lib/fakeos.h"
#include "tests/lib/fakevfs.h"
#include "tests/lib/fuzz.h"

#define STORE_ID "00112233445566778899aabbccddeeff"
#define SIZE_MAX_FILE (4 << 20)
#define STEPS_MAX 200 /* times 1000 steps of SQLite's machine */

static struct fakeos *fake;
static uint8_t *good;
static size_t good_size;

static struct kv_key key_of(const char *text)
{
    return kv_key_of(text, strlen(text));
}

static void fill(kvsql *db)
{
    struct kvsql_error err;
    struct kv_txn *txn;
    struct kv_key key, elem = key_of("member"), value = key_of("17");

    FUZZ_CHECK(kv_txn_begin(db, true, 0, &txn, &err) == KVSQL_OK);
    key = key_of("string");
    FUZZ_CHECK(kv_set(txn, &key, (kvsql_slice){"v\0", 2}, 1900000000000,
                      &err) == KVSQL_OK);
    key = key_of("hash");
    FUZZ_CHECK(kv_hset(txn, &key, &elem, (kvsql_slice){value.p, value.size},
                       1900000000000, NULL, &err) == KVSQL_OK);
    key = key_of("list");
    FUZZ_CHECK(kv_push(txn, &key, KV_LEFT, (kvsql_slice){"a", 1}, &err) ==
               KVSQL_OK);
    key = key_of("set");
    FUZZ_CHECK(kv_sadd(txn, &key, &elem, NULL, &err) == KVSQL_OK);
    key = key_of("zset");
    FUZZ_CHECK(kv_zadd(txn, &key, &elem, -1.5, NULL, &err) == KVSQL_OK);
    FUZZ_CHECK(kv_txn_commit(txn, NULL, &err) == KVSQL_OK);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const struct kvsql_options options = {.no_keeper = true};
    struct kv_snapshot_info info;
    struct kvsql_error err;
    struct kv_view *view;
    kvsql *db;
    int dir;

    (void)argc;
    (void)argv;
    fuzz_quiet();
    fake = fakeos_new(1);
    const struct kv_os *os = fakeos_os(fake);
    FUZZ_CHECK(os->dir_open(os->arg, "data", true, &dir) == 0);
    os->dir_close(os->arg, dir);
    fakevfs_in(os);
    FUZZ_CHECK(kv_open_os("", &options, os, NULL, NULL, &db, &err) ==
               KVSQL_OK);
    fill(db);
    FUZZ_CHECK(kv_pin(db, &view, &err) == KVSQL_OK);
    FUZZ_CHECK(kv_snapshot_write(view, "data/good.db", STORE_ID, NULL, NULL,
                                 &info, &err) == KVSQL_OK);
    kv_unpin(view);
    FUZZ_CHECK(kv_close(db, &err) == KVSQL_OK);
    good_size = (size_t)fakeos_file_size(fake, "data/good.db");
    good = malloc(good_size);
    FUZZ_CHECK(good != NULL &&
               fakeos_peek(fake, "data/good.db", good, good_size, 0) ==
                   (int64_t)good_size);
    return 0;
}

static int step_on(void *arg)
{
    return ++*(int *)arg > STEPS_MAX;
}

/* The good file after the SQL; sqlite3_free() it. */
static uint8_t *worked_on(const uint8_t *data, size_t size, size_t *out)
{
    uint8_t *copy = sqlite3_malloc64(good_size), *made;
    sqlite3_int64 made_size = 0;
    char *sql = fuzz_text(data, size);
    sqlite3 *db;
    int steps = 0;

    FUZZ_CHECK(copy != NULL);
    memcpy(copy, good, good_size);
    FUZZ_CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK);
    FUZZ_CHECK(sqlite3_deserialize(db, "main", copy, (sqlite3_int64)good_size,
                                   (sqlite3_int64)good_size,
                                   SQLITE_DESERIALIZE_FREEONCLOSE |
                                       SQLITE_DESERIALIZE_RESIZEABLE) ==
               SQLITE_OK);
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, SIZE_MAX_FILE / 4);
    sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_progress_handler(db, 1000, step_on, &steps);
    (void)sqlite3_exec(db, "PRAGMA writable_schema=1", NULL, NULL, NULL);
    (void)sqlite3_exec(db, sql, NULL, NULL, NULL); /* as far as it goes */
    sqlite3_progress_handler(db, 0, NULL, NULL);
    (void)sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    made = sqlite3_serialize(db, "main", &made_size, 0);
    (void)sqlite3_close_v2(db);
    free(sql);
    *out = (size_t)made_size;
    return made;
}

static uint8_t *damaged(struct fuzz_input input, size_t *out)
{
    uint8_t *copy = sqlite3_malloc64(good_size);

    FUZZ_CHECK(copy != NULL);
    memcpy(copy, good, good_size);
    while (input.size >= 4) {
        size_t place = fuzz_byte(&input);
        place = place << 8 | fuzz_byte(&input);
        place = place << 8 | fuzz_byte(&input);
        copy[place % good_size] = fuzz_byte(&input);
    }
    *out = good_size;
    return copy;
}

/* An input that is refused has said why; what is read can be given on. */
static void load(void)
{
    struct kv_snapshot_info info;
    struct kvsql_error err = {.text = ""};
    struct kv_store *store;

    FUZZ_CHECK(kv_store_open(NULL, fakeos_os(fake), &store, &err) == KVSQL_OK);
    const kvsql_rc rc = kv_snapshot_load(store, "data/snap.db", STORE_ID, NULL,
                                         NULL, &info, &err);
    FUZZ_CHECK(rc == KVSQL_OK || (rc != KVSQL_INTERNAL &&
                                  strstr(err.text, "snap.db") != NULL));
    kv_store_close(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t made_size = 0;
    uint8_t *made =
        size > 0 && data[0] == '!'
            ? damaged((struct fuzz_input){data + 1, size - 1}, &made_size)
            : worked_on(data, size, &made_size);

    if (made != NULL && made_size > 0 && made_size <= SIZE_MAX_FILE) {
        FUZZ_CHECK(fakeos_poke(fake, "data/snap.db", made, made_size, 0));
        FUZZ_CHECK(fakeos_resize(fake, "data/snap.db", made_size));
        load();
        FUZZ_CHECK(fakeos_open_handles(fake) == 0);
    }
    sqlite3_free(made);
    return 0;
}

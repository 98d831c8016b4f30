/* test_snapshot.c - does a view come back whole from its SQLite file? */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "kvsql/admin.h"
#include "kvsql/base/crc32c.h"
#include "tests/lib/rand.h"
#include "tests/lib/snapshot_fx.h"

#define RANDOM_OPS 20000

START_TEST(every_type_comes_back_as_it_was)
{
    kvsql *db = store_new(), *copy = store_new();
    struct kv_snapshot_info info, loaded;

    fill(db);
    ck_assert_int_eq(write_file(db, "snap.db", &info), KVSQL_OK);
    ck_assert_int_eq(load_file(copy, "snap.db", STORE_ID, &loaded), KVSQL_OK);
    check_same(db, copy);
    kv_store_check(kv_db_store(copy));
    ck_assert_uint_eq(info.keys, 14);
    ck_assert_uint_eq(info.position, 1);
    ck_assert_int_eq(info.created_at, NOW);
    ck_assert_uint_eq(loaded.keys, info.keys);
    ck_assert_uint_eq(loaded.size, info.size);
    ck_assert_int_eq(loaded.created_at, NOW);
    ck_assert_uint_eq(kv_store_position(kv_db_store(copy)), 1);
    ck_assert_uint_eq(kv_store_released(kv_db_store(copy)), 1);
    store_end(db);
    store_end(copy);
}
END_TEST

/* Once it has a wal, SQLite reads the rows (snapshot_source.c); after VACUUM the
 * pages are SQLite's. */
START_TEST(a_file_that_was_gone_over_is_the_same_store)
{
    static const char *const sql[] = {
        "PRAGMA journal_mode = WAL", "VACUUM",
        "PRAGMA page_size = 512; VACUUM", "PRAGMA page_size = 65536; VACUUM",
        "CREATE TABLE other AS SELECT key FROM keys ORDER BY random();"
        "CREATE TEMP TABLE s AS SELECT * FROM strings ORDER BY random();"
        "DELETE FROM strings; INSERT INTO strings SELECT * FROM s"};
    kvsql *db = store_new(), *copy = store_new();
    struct kv_snapshot_info info;

    fill(db);
    write_ok(db, "snap.db");
    edit("snap.db", sql[_i]);
    ck_assert_msg(load_file(copy, "snap.db", STORE_ID, &info) == KVSQL_OK,
                  "%s", err.text);
    check_same(db, copy);
    kv_store_check(kv_db_store(copy));
    store_end(db);
    store_end(copy);
}
END_TEST

START_TEST(an_empty_store_is_a_whole_file_too)
{
    kvsql *db = store_new(), *copy = store_new();
    struct kv_snapshot_info info;

    write_ok(db, "snap.db");
    ck_assert_str_eq(ask("snap.db", "PRAGMA integrity_check"), "ok");
    ck_assert_int_eq(load_file(copy, "snap.db", STORE_ID, &info), KVSQL_OK);
    ck_assert_uint_eq(info.keys, 0);
    check_same(db, copy);
    store_end(db);
    store_end(copy);
}
END_TEST

START_TEST(stock_sqlite_finds_the_file_sound_and_named)
{
    kvsql *db = store_new();
    uint8_t head[100];
    struct stat status;

    fill(db);
    write_ok(db, "snap.db");
    ck_assert_str_eq(ask("snap.db", "PRAGMA integrity_check"), "ok");
    ck_assert_str_eq(ask("snap.db", "PRAGMA application_id"), "1802924913");
    ck_assert_str_eq(ask("snap.db", "PRAGMA user_version"), "1000");
    ck_assert_str_eq(ask("snap.db", "PRAGMA page_size"), "4096");
    ck_assert_str_eq(ask("snap.db", "PRAGMA journal_mode"), "delete");
    ck_assert_str_eq(
        ask("snap.db", "SELECT group_concat(name||'='||value, ' ') FROM "
                       "(SELECT * FROM kv_meta WHERE name NOT LIKE 'rows.%' "
                       "AND name <> 'written_by' ORDER BY name)"),
        "created_at=1800000000000 format=1.0 position=1 store_id=" STORE_ID);
    ck_assert_str_eq(ask("snap.db", "SELECT value FROM kv_meta "
                                    "WHERE name = 'written_by'"),
                     "kvsql " KVSQL_VERSION);
    FILE *file = fopen("snap.db", "rb"); /* P2: not in WAL mode */
    ck_assert_uint_eq(fread(head, 1, sizeof head, file), sizeof head);
    ck_assert_int_eq(head[18], 1);
    ck_assert_int_eq(head[19], 1);
    ck_assert_mem_eq(head + 68, "kvsq", 4);
    (void)fclose(file);
    ck_assert_int_eq(stat("snap.db", &status), 0);
    ck_assert_uint_eq(status.st_mode & 0777, 0600);
    store_end(db);
}
END_TEST

START_TEST(the_tables_have_the_names_columns_and_counts_of_the_model)
{
    kvsql *db = store_new();

    fill(db);
    write_ok(db, "snap.db");
    ck_assert_str_eq(
        ask("snap.db", "SELECT group_concat(name, ' ') FROM (SELECT name FROM "
                       "sqlite_master ORDER BY name)"),
        "hashes keys kv_meta kv_schema lists sets stream_consumers "
        "stream_entries stream_groups stream_pending stream_state streams "
        "strings zsets zsets_score");
    ck_assert_str_eq(
        ask("snap.db",
            "SELECT group_concat(m.name||'.'||c.name||':'||c.type||':'||"
            "c.\"notnull\"||':'||c.pk, ' ') FROM (SELECT * FROM sqlite_master "
            "WHERE name IN ('hashes','keys','lists','sets','strings','zsets') "
            "ORDER BY name) m, pragma_table_info(m.name) c"),
        "hashes.key:TEXT:1:1 hashes.field:TEXT:1:2 hashes.value:TEXT:1:0 "
        "hashes.expires_at:INTEGER:0:0 keys.key:TEXT:1:1 keys.type:TEXT:1:0 "
        "keys.length:INTEGER:1:0 keys.expires_at:INTEGER:0:0 "
        "lists.key:TEXT:1:1 lists.idx:INTEGER:1:2 lists.value:TEXT:1:0 "
        "sets.key:TEXT:1:1 sets.member:TEXT:1:2 strings.key:TEXT:1:1 "
        "strings.value:TEXT:1:0 strings.expires_at:INTEGER:0:0 "
        "zsets.key:TEXT:1:1 zsets.member:TEXT:1:2 zsets.score:REAL:1:0");
    ck_assert_str_eq(
        ask("snap.db",
            "SELECT group_concat(name||'='||value, ' ') FROM (SELECT * FROM "
            "kv_meta WHERE name LIKE 'rows.%' AND value > 0 ORDER BY name)"),
        "rows.hashes=503 rows.keys=14 rows.lists=501 rows.sets=501 "
        "rows.strings=6 rows.zsets=501");
    ck_assert_str_eq(ask("snap.db",
                         "SELECT (SELECT count(*) FROM keys)||' '||"
                         "(SELECT count(*) FROM strings)||' '||"
                         "(SELECT count(*) FROM hashes)||' '||"
                         "(SELECT count(*) FROM lists)||' '||"
                         "(SELECT count(*) FROM sets)||' '||"
                         "(SELECT count(*) FROM zsets)"),
                     "14 6 503 501 501 501");
    ck_assert_str_eq(ask("snap.db", "SELECT count(*) FROM stream_entries"),
                     "0");
    store_end(db);
}
END_TEST

START_TEST(bytes_keep_their_class_and_numbers_stay_text)
{
    kvsql *db = store_new();

    fill(db);
    write_ok(db, "snap.db");
    ck_assert_str_eq(ask("snap.db", "SELECT typeof(key)||' '||typeof(value)||"
                                    "' '||hex(value) FROM strings WHERE "
                                    "key = x'ff006b'"),
                     "blob blob 780079");
    ck_assert_str_eq(ask("snap.db", "SELECT typeof(value)||value FROM strings "
                                    "WHERE key = '007'"),
                     "text007");
    ck_assert_str_eq(ask("snap.db", "SELECT typeof(value)||length FROM strings "
                                    "JOIN keys USING(key) WHERE key = 'int'"),
                     "text20");
    ck_assert_str_eq(ask("snap.db", "SELECT typeof(value)||length(value) FROM "
                                    "strings WHERE key = 'a'"),
                     "text0");
    ck_assert_str_eq(ask("snap.db",
                         "SELECT typeof(score)||score FROM zsets WHERE "
                         "key = 'small zset' AND member = x'00ff'"),
                     "real0.0");
    ck_assert_str_eq(ask("snap.db", "SELECT count(*) FROM zsets WHERE "
                                    "score = 9e999 OR score = -9e999"),
                     "142");
    ck_assert_str_eq(ask("snap.db", "SELECT expires_at FROM keys "
                                    "WHERE key = '007'"),
                     "1800000000001");
    ck_assert_str_eq(ask("snap.db", "SELECT typeof(expires_at) FROM keys "
                                    "WHERE key = 'a'"),
                     "null");
    store_end(db);
}
END_TEST

START_TEST(what_has_expired_is_left_out_and_lengths_agree)
{
    kvsql *db = store_new(), *copy = store_new();
    struct kv_snapshot_info info;
    struct kv_txn *txn = txn_new(db);
    struct kv_key key = key_of("gone list");
    char text[32];

    set_string(txn, "gone", "v", NOW + 10);
    set_string(txn, "stays", "v", NOW + 11);
    set_field(txn, "all gone", "a", "v", NOW + 10);
    set_field(txn, "all gone", "b", "v", NOW + 9);
    set_field(txn, "some gone", "a", "v", NOW + 10);
    set_field(txn, "some gone", "b", "v", NOW + 11);
    set_field(txn, "some gone", "c", "v", 0);
    for (int i = 0; i < 300; i++) { /* the same as a tree */
        (void)snprintf(text, sizeof text, "field %d", i);
        set_field(txn, "tree", text, "v", i % 3 ? NOW + 10 : 0);
        set_field(txn, "zz tree", text, "v", NOW + 10);
    }
    ck_assert_int_eq(kv_push(txn, &key, KV_LEFT, slice_of("v"), &err), 0);
    ck_assert_int_eq(kv_expire(txn, &key, NOW + 5, &err), 0);
    txn_end(txn);
    pass_ms(10);

    ck_assert_int_eq(write_file(db, "snap.db", &info), KVSQL_OK);
    ck_assert_uint_eq(info.keys, 3);
    ck_assert_str_eq(ask("snap.db", "SELECT group_concat(key||'='||length, "
                                    "', ') FROM keys"),
                     "some gone=2, stays=1, tree=100");
    ck_assert_str_eq(ask("snap.db", "SELECT count(*) FROM hashes"), "102");
    ck_assert_str_eq(ask("snap.db", "SELECT count(*) FROM lists"), "0");
    ck_assert_str_eq(ask("snap.db", "PRAGMA integrity_check"), "ok");
    ck_assert_int_eq(load_file(copy, "snap.db", STORE_ID, &info), KVSQL_OK);
    check_same(db, copy);
    store_end(db);
    store_end(copy);
}
END_TEST

/* ---- a view while others write ------------------------------------------ */

static void random_change(struct kv_txn *txn, struct rand_state *rand)
{
    char name[48], part[48];
    const uint64_t what = rand_below(rand, 12);
    int n = snprintf(name, sizeof name, "%c:%u", "shlzt"[what % 5],
                     (unsigned)rand_below(rand, 60));
    if (rand_below(rand, 5) == 0)
        name[n++] = (char)0xff; /* a key of the other class */
    struct kv_key key = kv_key_of(name, (size_t)n);
    n = snprintf(part, sizeof part, "%u", (unsigned)rand_below(rand, 400));
    if (rand_below(rand, 7) == 0)
        part[n++] = (char)0x80;
    struct kv_key elem = kv_key_of(part, (size_t)n);
    const kvsql_slice value = {part, (size_t)n};
    kvsql_rc rc = KVSQL_OK;

    if (what == 10)
        rc = kv_del(txn, &key, NULL, &err);
    else if (what == 11)
        rc = kv_expire(txn, &key, NOW + 1000000, &err);
    else if (what % 5 == 0)
        rc = kv_set(txn, &key, value, what == 5 ? NOW + 500000 : 0, &err);
    else if (what % 5 == 1)
        rc = kv_hset(txn, &key, &elem, value, what == 6 ? NOW + 400000 : 0,
                     NULL, &err);
    else if (what % 5 == 2)
        rc = kv_push(txn, &key, KV_RIGHT, value, &err);
    else if (what % 5 == 3)
        rc = kv_zadd(txn, &key, &elem, (double)rand_below(rand, 50) / 4, NULL,
                     &err);
    else
        rc = kv_sadd(txn, &key, &elem, NULL, &err);
    ck_assert_msg(rc == KVSQL_OK || rc == KVSQL_NOTFOUND, "%s", err.text);
}

static void random_changes(kvsql *db, struct rand_state *rand, unsigned count)
{
    for (unsigned i = 0; i < count; i += 100) {
        struct kv_txn *txn = txn_new(db);
        for (unsigned j = 0; j < 100; j++)
            random_change(txn, rand);
        txn_end(txn);
    }
}

START_TEST(a_pinned_view_is_written_as_it_was_while_the_store_moves_on)
{
    struct rand_state rand = rand_of(rand_seed("view", 7));
    kvsql *db = store_new(), *copy = store_new();
    struct kv_view *view;
    struct kv_at at;
    struct kv_buf before, after;
    struct kv_snapshot_info info;

    random_changes(db, &rand, RANDOM_OPS);
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    kv_at_view(view, &at);
    dump(&at, &before);
    random_changes(db, &rand, RANDOM_OPS);

    ck_assert_int_eq(kv_snapshot_write(view, "snap.db", STORE_ID, NULL, NULL,
                                       &info, &err),
                     KVSQL_OK);
    ck_assert_uint_eq(info.position, RANDOM_OPS / 100);
    kv_unpin(view);
    ck_assert_str_eq(ask("snap.db", "PRAGMA integrity_check"), "ok");
    ck_assert_int_eq(load_file(copy, "snap.db", STORE_ID, &info), KVSQL_OK);
    dump_db(copy, &after);
    check_same_text(&before, &after);
    kv_buf_fini(&before);
    kv_buf_fini(&after);
    kv_store_check(kv_db_store(copy));
    store_end(db);
    store_end(copy);
}
END_TEST

struct writer {
    kvsql *db;
    atomic_bool stop, failed;
};

/* Moves two counters and a hash in step, one txn after the other. */
static void *write_in_step(void *arg)
{
    struct writer *writer = arg;
    const struct kv_key one = key_of("one"), two = key_of("two"),
                        hash = key_of("hash");
    struct kvsql_error mine;
    char text[24], name[24];

    for (unsigned n = 1; !writer->stop; n++) {
        struct kv_txn *txn;
        const int size = snprintf(text, sizeof text, "%u", n);
        const kvsql_slice value = {text, (size_t)size};
        (void)snprintf(name, sizeof name, "%u", n % 1000);
        const struct kv_key field = key_of(name);
        if (kv_txn_begin(writer->db, true, 0, &txn, &mine) != KVSQL_OK ||
            kv_set(txn, &one, value, 0, &mine) != KVSQL_OK ||
            kv_hset(txn, &hash, &field, value, 0, NULL, &mine) != KVSQL_OK ||
            kv_set(txn, &two, value, 0, &mine) != KVSQL_OK ||
            kv_txn_commit(txn, NULL, &mine) != KVSQL_OK) {
            writer->failed = true;
            return NULL;
        }
        (void)kv_store_tick(kv_db_store(writer->db));
    }
    return NULL;
}

START_TEST(a_file_written_beside_a_writer_holds_whole_transactions)
{
    struct writer writer = {.db = store_new()};
    pthread_t thread;
    struct kv_snapshot_info info;
    char path[32];

    ck_assert_int_eq(pthread_create(&thread, NULL, write_in_step, &writer), 0);
    for (int i = 0; i < 20; i++) {
        kvsql *copy = store_new();
        (void)snprintf(path, sizeof path, "snap-%d.db", i);
        ck_assert_int_eq(write_file(writer.db, path, &info), KVSQL_OK);
        ck_assert_int_eq(load_file(copy, path, STORE_ID, &info), KVSQL_OK);
        ck_assert_str_eq(
            ask(path, "SELECT count(DISTINCT n) FROM (SELECT value+0 AS n FROM "
                      "strings UNION SELECT max(value+0) FROM hashes UNION "
                      "SELECT nullif(value, 0) FROM kv_meta "
                      "WHERE name = 'position')"),
            info.position == 0 ? "0" : "1");
        store_end(copy);
    }
    writer.stop = true;
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert(!writer.failed);
    ck_assert_uint_gt(info.position, 1);
    store_end(writer.db);
}
END_TEST

static void count_progress(void *arg, const struct kv_progress *progress)
{
    uint64_t *calls = arg;

    ck_assert_uint_le(progress->done, progress->total);
    ck_assert(strcmp(progress->what, "snapshot") == 0 ||
              strcmp(progress->what, "load") == 0);
    calls[0]++;
    calls[1] = progress->done;
    calls[2] = progress->total;
}

START_TEST(progress_is_told_and_ends_at_the_total)
{
    kvsql *db = store_new(), *copy = store_new();
    struct kv_view *view;
    struct kv_snapshot_info info;
    uint64_t calls[3] = {0};
    char text[32];

    for (int i = 0; i < 25000; i += 1000) {
        struct kv_txn *txn = txn_new(db);
        for (int j = 0; j < 1000; j++) {
            (void)snprintf(text, sizeof text, "key %06d", i + j);
            set_string(txn, text, "v", 0);
        }
        txn_end(txn);
    }
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    ck_assert_int_eq(kv_snapshot_write(view, "snap.db", STORE_ID,
                                       count_progress, calls, &info, &err),
                     KVSQL_OK);
    kv_unpin(view);
    ck_assert_uint_eq(calls[0], 3); /* each 10,000 keys, then the end */
    ck_assert_uint_eq(calls[1], 25000);
    ck_assert_uint_eq(calls[2], 25000);
    memset(calls, 0, sizeof calls);
    ck_assert_int_eq(kv_snapshot_load(kv_db_store(copy), "snap.db", "",
                                      count_progress, calls, &info, &err),
                     KVSQL_OK);
    ck_assert_uint_eq(calls[0], 3);
    ck_assert_uint_eq(calls[1], 25000);
    store_end(db);
    store_end(copy);
}
END_TEST

/* ---- names, checksum ---------------------------------------------------------- */

START_TEST(a_name_means_a_file_whatever_is_in_it)
{
    static const char *const names[] = {"a b?mode=memory#x%41.db", ":memory:",
                                        "file:x.db", "100%.db"};
    kvsql *db = store_new();
    struct kv_snapshot_info info;
    char path[128];

    fill(db);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        kvsql *copy = store_new();
        write_ok(db, names[i]);
        ck_assert_int_eq(access(names[i], F_OK), 0);
        (void)snprintf(path, sizeof path, "/%s/%s", dir, names[i]);
        ck_assert_int_eq(load_file(copy, path, STORE_ID, &info), KVSQL_OK);
        check_same(db, copy);
        store_end(copy);
    }
    store_end(db);
}
END_TEST

START_TEST(a_file_that_is_there_is_never_written_over)
{
    kvsql *db = store_new();
    struct kv_snapshot_info info;
    struct stat status;
    FILE *file = fopen("snap.db", "wb");

    (void)fputs("mine", file);
    (void)fclose(file);
    ck_assert_int_eq(write_file(db, "snap.db", &info), KVSQL_IO);
    ck_assert_ptr_nonnull(strstr(err.text, "snap.db"));
    ck_assert_int_eq(stat("snap.db", &status), 0);
    ck_assert_int_eq(status.st_size, 4);
    ck_assert_int_eq(symlink("elsewhere", "link.db"), 0); /* P9 */
    ck_assert_int_eq(write_file(db, "link.db", &info), KVSQL_IO);
    ck_assert_int_eq(access("elsewhere", F_OK), -1);
    ck_assert_int_eq(write_file(db, "no/such/snap.db", &info), KVSQL_IO);
    store_end(db);
}
END_TEST

START_TEST(the_checksum_is_that_of_all_bytes)
{
    static uint8_t bytes[700000];
    const struct kv_os *real = kv_os_real();
    uint64_t size = 0;
    uint32_t crc = 0;
    int handle;

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    FILE *file = fopen("bytes", "wb");
    ck_assert_uint_eq(fwrite(bytes, 1, sizeof bytes, file), sizeof bytes);
    (void)fclose(file);
    ck_assert_int_eq(real->dir_open(real->arg, ".", false, &handle), 0);
    ck_assert_int_eq(
        kv_snapshot_checksum(real, handle, "bytes", &size, &crc, &err),
        KVSQL_OK);
    ck_assert_uint_eq(size, sizeof bytes);
    ck_assert_uint_eq(crc, kv_crc32c(0, bytes, sizeof bytes));
    ck_assert_int_eq(
        kv_snapshot_checksum(real, handle, "none", &size, &crc, &err),
        KVSQL_NOTFOUND);
    kv_mem_fail_at(1, 0);
    ck_assert_int_eq(
        kv_snapshot_checksum(real, handle, "bytes", &size, &crc, &err),
        KVSQL_NOMEM);
    kv_mem_fail_at(0, 0);
    real->dir_close(real->arg, handle);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, every_type_comes_back_as_it_was);
    tcase_add_loop_test(tests, a_file_that_was_gone_over_is_the_same_store, 0,
                        5);
    tcase_add_test(tests, an_empty_store_is_a_whole_file_too);
    tcase_add_test(tests, stock_sqlite_finds_the_file_sound_and_named);
    tcase_add_test(tests,
                   the_tables_have_the_names_columns_and_counts_of_the_model);
    tcase_add_test(tests, bytes_keep_their_class_and_numbers_stay_text);
    tcase_add_test(tests, what_has_expired_is_left_out_and_lengths_agree);
    tcase_add_test(tests,
                   a_pinned_view_is_written_as_it_was_while_the_store_moves_on);
    tcase_add_test(tests,
                   a_file_written_beside_a_writer_holds_whole_transactions);
    tcase_add_test(tests, progress_is_told_and_ends_at_the_total);
    tcase_add_test(tests, a_name_means_a_file_whatever_is_in_it);
    tcase_add_test(tests, a_file_that_is_there_is_never_written_over);
    tcase_add_test(tests, the_checksum_is_that_of_all_bytes);
}

int main(void)
{
    return unit_run("snapshot", add);
}

/* test_snapshot_refused.c - is every snapshot file that is not whole refused by
 * table and key? */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "kvsql/admin.h"
#include "tests/lib/rand.h"
#include "tests/lib/snapshot_fx.h"

#define FLIPS 400

static const struct damage {
    const char *sql;
    kvsql_rc rc;
    const char *says;
} damages[] = {
    {"DELETE FROM strings WHERE key = 'a'", KVSQL_CORRUPT,
     "table strings, key 'a': it is not there"},
    {"INSERT INTO strings VALUES(x'ffff', 'v', NULL)", KVSQL_CORRUPT,
     "table strings, key '\\xff\\xff': it has more rows"},
    {"INSERT INTO strings VALUES('0', 'v', NULL)", KVSQL_CORRUPT,
     "table strings, key '007': it is not there"},
    {"UPDATE strings SET value = 'xx' WHERE key = 'a'", KVSQL_CORRUPT,
     "table strings, key 'a': length or expiry"},
    {"UPDATE strings SET expires_at = 5 WHERE key = 'a'", KVSQL_CORRUPT,
     "table strings, key 'a': length or expiry"},
    {"UPDATE strings SET value = x'41' WHERE key = '007'", KVSQL_CORRUPT,
     "table strings, key '007': the value is not in the form"},
    {"UPDATE strings SET value = CAST(x'ff' AS TEXT) WHERE key = '007'",
     KVSQL_CORRUPT, "table strings, key '007': the value is not in the form"},
    {"UPDATE keys SET key = CAST(x'74ff' AS TEXT) WHERE "
     "typeof(key) = 'text' AND key BETWEEN 't' AND 'u'",
     KVSQL_CORRUPT, "table keys, key 't\\xff': the key is not in the form"},
    {"UPDATE keys SET type = 'tree' WHERE key = 'list'", KVSQL_CORRUPT,
     "table keys, key 'list': its type is unknown"},
    {"UPDATE keys SET type = 'set' WHERE key = 'list'", KVSQL_CORRUPT,
     "table sets, key 'list': it has fewer rows"},
    {"UPDATE keys SET type = 'stream' WHERE key = 'list'", KVSQL_NEWER,
     "holds streams"},
    {"UPDATE keys SET length = 'many' WHERE key = 'list'", KVSQL_CORRUPT,
     "table keys, key 'list': its length"},
    {"UPDATE keys SET length = 0 WHERE key = 'list'", KVSQL_CORRUPT,
     "table keys, key 'list': its length"},
    {"UPDATE keys SET length = length + 1 WHERE key = 'list'", KVSQL_CORRUPT,
     "table lists, key 'list': it has fewer rows"},
    {"UPDATE keys SET length = length - 1 WHERE key = 'list'", KVSQL_CORRUPT,
     "table lists, key 'small list': it has fewer rows"},
    {"UPDATE keys SET expires_at = -4 WHERE key = 'list'", KVSQL_CORRUPT,
     "table keys, key 'list': its expiry"},
    {"UPDATE keys SET expires_at = 'soon' WHERE key = 'list'", KVSQL_CORRUPT,
     "table keys, key 'list': its expiry"},
    {"DELETE FROM keys WHERE key = 'zset'", KVSQL_CORRUPT,
     "table zsets, key 'zset': it has more rows"},
    {"UPDATE lists SET idx = 900 WHERE key = 'list' AND idx = 499",
     KVSQL_CORRUPT, "table lists, key 'list': idx does not count"},
    {"UPDATE lists SET value = x'41' WHERE key = 'list' AND idx = 3",
     KVSQL_CORRUPT, "table lists, key 'list': a value is not in the form"},
    {"UPDATE hashes SET value = x'41' WHERE key = 'hash' AND field = 'f'",
     KVSQL_CORRUPT, "table hashes, key 'hash': a value is not in the form"},
    {"UPDATE hashes SET expires_at = 0 WHERE key = 'hash' AND field = 'f'",
     KVSQL_CORRUPT, "table hashes, key 'hash': the expiry of a field"},
    {"UPDATE sets SET member = x'41' WHERE key = 'small set'", KVSQL_CORRUPT,
     "table sets, key 'small set': a field or member is not in the form"},
    {"UPDATE zsets SET score = 'high' WHERE key = 'small zset'",
     KVSQL_CORRUPT, "table zsets, key 'small zset': a score"},
    {"UPDATE kv_meta SET value = 13 WHERE name = 'rows.keys'", KVSQL_CORRUPT,
     "table keys has 14 rows, kv_meta says 13"},
    {"DELETE FROM kv_meta WHERE name = 'rows.sets'", KVSQL_CORRUPT,
     "kv_meta has no valid rows.sets"},
    {"UPDATE kv_meta SET value = 'x' WHERE name = 'position'", KVSQL_CORRUPT,
     "kv_meta has no valid position"},
    {"UPDATE kv_meta SET value = -1 WHERE name = 'created_at'", KVSQL_CORRUPT,
     "kv_meta has no valid created_at"},
    {"DELETE FROM kv_meta WHERE name = 'store_id'", KVSQL_CORRUPT,
     "kv_meta has no store_id"},
    {"UPDATE kv_meta SET value = 'ffeeddccbbaa99887766554433221100' "
     "WHERE name = 'store_id'",
     KVSQL_CORRUPT, "belongs to store ffeeddccbbaa99887766554433221100"},
    {"DROP TABLE kv_meta", KVSQL_CORRUPT, "table kv_meta is missing"},
    {"DROP TABLE strings; CREATE VIEW strings AS SELECT key, key AS value, "
     "expires_at FROM keys",
     KVSQL_CORRUPT, "table strings is missing or has other columns"},
    {"ALTER TABLE lists ADD COLUMN more", KVSQL_CORRUPT,
     "table lists is missing or has other columns"},
    {"INSERT INTO streams VALUES('s', 1, 1, 0, 'f', 'v')", KVSQL_NEWER,
     "has rows in streams"},
    {"INSERT INTO kv_schema VALUES('t', 'CREATE TABLE t(a)')", KVSQL_NEWER,
     "has rows in kv_schema"},
    {"PRAGMA application_id = 7", KVSQL_CORRUPT, "is no snapshot of kvsql"},
    {"PRAGMA user_version = 2003", KVSQL_NEWER, "has format 2.3"},
    {"PRAGMA user_version = 999", KVSQL_CORRUPT, "user_version is 999"},
};

static void check_refused(const struct damage *damage)
{
    kvsql *copy = store_new();
    struct kv_snapshot_info info;
    kvsql_rc rc = load_file(copy, "snap.db", STORE_ID, &info);

    ck_assert_msg(rc == damage->rc, "%s: %d %s", damage->sql, rc, err.text);
    ck_assert_int_eq(err.rc, damage->rc);
    ck_assert_msg(strstr(err.text, damage->says) != NULL, "%s", err.text);
    ck_assert_msg(strstr(err.text, "snap.db") != NULL, "%s", err.text);
    ck_assert_uint_eq(kv_store_position(kv_db_store(copy)), 0);
    store_end(copy);
}

/* The rows are read as pages; and by SQLite, once the file has a wal. */
START_TEST(a_file_that_was_changed_is_refused_by_table_and_key)
{
    const struct damage *damage = &damages[_i];
    kvsql *db = store_new();

    fill(db);
    write_ok(db, "snap.db");
    edit("snap.db", damage->sql);
    check_refused(damage);
    edit("snap.db", "PRAGMA journal_mode = WAL");
    check_refused(damage);
    store_end(db);
}
END_TEST

/* The first places of cells in page `number`, a leaf: none is in the page. */
static void spoil_page(const char *path, uint32_t number)
{
    FILE *file = fopen(path, "r+b");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, (long)(number - 1) * 4096 + 8, SEEK_SET), 0);
    for (int i = 0; i < 16; i++)
        ck_assert_int_eq(fputc(0xff, file), 0xff);
    ck_assert_int_eq(fclose(file), 0);
}

START_TEST(a_page_that_is_none_is_told_with_table_and_key)
{
    static const char *const tables[] = {"keys", "strings", "sets"};
    kvsql *db = store_new(), *copy = store_new();
    struct kv_txn *txn = txn_new(db);
    struct kv_snapshot_info info;
    char text[200];

    for (int i = 0; i < 2000; i++) {
        const struct kv_key set = key_of("set");
        (void)snprintf(text, sizeof text, "key:%06d", i);
        set_string(txn, text, text, 0);
        const struct kv_key member = key_of(text);
        ck_assert_int_eq(kv_sadd(txn, &set, &member, NULL, &err), KVSQL_OK);
    }
    txn_end(txn);
    write_ok(db, "snap.db");
    (void)snprintf(text, sizeof text, /* a leaf amid the table */
                   "SELECT pageno FROM dbstat WHERE name = '%s' AND "
                   "pagetype = 'leaf' LIMIT 1 OFFSET 7", tables[_i]);
    const unsigned long page = strtoul(ask("snap.db", text), NULL, 10);
    ck_assert_uint_gt(page, 2);
    spoil_page("snap.db", (uint32_t)page);
    ck_assert_int_eq(load_file(copy, "snap.db", STORE_ID, &info),
                     KVSQL_CORRUPT);
    (void)snprintf(text, sizeof text, "table %s, key '%s", tables[_i],
                   _i == 2 ? "set" : "key:00");
    ck_assert_msg(strstr(err.text, text) != NULL &&
                      strstr(err.text, "is not whole") != NULL,
                  "%s", err.text);
    store_end(copy);
    store_end(db);
}
END_TEST

START_TEST(a_harmless_stranger_in_the_file_is_not_read)
{
    kvsql *db = store_new(), *copy = store_new();
    struct kv_snapshot_info info;

    fill(db);
    write_ok(db, "snap.db");
    edit("snap.db", "CREATE TABLE other(a); INSERT INTO other VALUES(1);"
                    "CREATE TRIGGER t AFTER INSERT ON keys BEGIN "
                    "DELETE FROM keys; END; PRAGMA user_version = 1007");
    ck_assert_int_eq(load_file(copy, "snap.db", "", &info), KVSQL_OK);
    check_same(db, copy);
    store_end(db);
    store_end(copy);
}
END_TEST

START_TEST(a_journal_beside_the_file_is_not_rolled_in)
{
    kvsql *db = store_new(), *copy = store_new();
    struct kv_snapshot_info info;

    fill(db);
    write_ok(db, "snap.db");
    FILE *file = fopen("snap.db-journal", "wb"); /* P6 */
    ck_assert_uint_eq(fwrite("\xd9\xd5\x05\xf9\x20\xa1\x63\xd7 and more", 1,
                             17, file),
                      17);
    (void)fclose(file);
    ck_assert_int_eq(load_file(copy, "snap.db", STORE_ID, &info), KVSQL_OK);
    check_same(db, copy);
    ck_assert_int_eq(access("snap.db-journal", F_OK), 0);
    store_end(db);
    store_end(copy);
}
END_TEST

START_TEST(a_file_cut_short_is_damaged_at_every_length)
{
    kvsql *db = store_new();
    struct kv_snapshot_info info;

    fill(db);
    ck_assert_int_eq(write_file(db, "snap.db", &info), KVSQL_OK);
    for (uint64_t size = info.size - 1; size > 0;
         size -= size > 4000 ? 4000 : size) {
        kvsql *copy = store_new();
        ck_assert_int_eq(truncate("snap.db", (off_t)size), 0);
        kvsql_rc rc = load_file(copy, "snap.db", STORE_ID, &info);
        ck_assert_msg(rc == KVSQL_CORRUPT, "%llu: %d %s",
                      (unsigned long long)size, rc, err.text);
        store_end(copy);
    }
    store_end(db);
}
END_TEST

/* The CRC in MANIFEST finds these; but the loader must not fall over them, and
 * what it accepts must be a store (P8). */
START_TEST(a_flipped_byte_is_refused_or_gives_a_sound_store)
{
    struct rand_state rand = rand_of(rand_seed("flip", 11));
    kvsql *db = store_new();
    struct kv_snapshot_info info;
    unsigned refused = 0;

    fill(db);
    ck_assert_int_eq(write_file(db, "snap.db", &info), KVSQL_OK);
    const uint64_t size = info.size;
    for (int i = 0; i < FLIPS; i++) {
        kvsql *copy = store_new();
        /* half of them where the structure is: heads of pages */
        const uint64_t at = rand_one_in(&rand, 2)
                                ? rand_below(&rand, size)
                                : rand_below(&rand, size / 4096) * 4096 +
                                      rand_below(&rand, 100);
        uint8_t old, new;
        FILE *file = fopen("snap.db", "r+b");
        ck_assert_int_eq(fseek(file, (long)at, SEEK_SET), 0);
        ck_assert_uint_eq(fread(&old, 1, 1, file), 1);
        new = old ^ (uint8_t)(1u << rand_below(&rand, 8));
        ck_assert_int_eq(fseek(file, (long)at, SEEK_SET), 0);
        ck_assert_uint_eq(fwrite(&new, 1, 1, file), 1);
        (void)fclose(file);
        kvsql_rc rc = load_file(copy, "snap.db", STORE_ID, &info);
        ck_assert_msg(rc == KVSQL_OK || rc == KVSQL_CORRUPT ||
                          rc == KVSQL_NEWER,
                      "byte %llu: %d %s", (unsigned long long)at, rc,
                      err.text);
        refused += rc != KVSQL_OK;
        kv_store_check(kv_db_store(copy));
        store_end(copy);
        file = fopen("snap.db", "r+b");
        ck_assert_int_eq(fseek(file, (long)at, SEEK_SET), 0);
        ck_assert_uint_eq(fwrite(&old, 1, 1, file), 1);
        (void)fclose(file);
    }
    ck_assert_uint_gt(refused, FLIPS / 4);
    store_end(db);
}
END_TEST

START_TEST(what_is_no_database_or_no_file_is_said)
{
    kvsql *copy = store_new();
    struct kv_snapshot_info info;
    FILE *file = fopen("text.db", "wb");

    for (int i = 0; i < 2000; i++)
        (void)fputs("this is no database\n", file);
    (void)fclose(file);
    ck_assert_int_eq(load_file(copy, "text.db", STORE_ID, &info),
                     KVSQL_CORRUPT);
    ck_assert_int_eq(load_file(copy, "none.db", STORE_ID, &info), KVSQL_IO);
    ck_assert_ptr_nonnull(strstr(err.text, "none.db"));
    ck_assert_int_eq(access("none.db", F_OK), -1);
    store_end(copy);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 300);
    tcase_add_loop_test(tests, a_file_that_was_changed_is_refused_by_table_and_key,
                        0, (int)(sizeof damages / sizeof *damages));
    tcase_add_loop_test(tests, a_page_that_is_none_is_told_with_table_and_key,
                        0, 3);
    tcase_add_test(tests, a_harmless_stranger_in_the_file_is_not_read);
    tcase_add_test(tests, a_journal_beside_the_file_is_not_rolled_in);
    tcase_add_test(tests, a_file_cut_short_is_damaged_at_every_length);
    tcase_add_test(tests, a_flipped_byte_is_refused_or_gives_a_sound_store);
    tcase_add_test(tests, what_is_no_database_or_no_file_is_said);
}

int main(void)
{
    return unit_run("snapshots that are refused", add);
}

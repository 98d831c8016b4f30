/* test_snapshot.c - does a view come back whole from its SQLite file, and is
 * every file that is not whole refused by table and key? */
#include "kvsql/snapshot.h"

#include <check.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvsql/base/crc32c.h"
#include "tests/lib/rand.h"

#define STORE_ID "00112233445566778899aabbccddeeff"
#define NOW 1800000000000 /* wall ms of the test's clock at its start */
#define RANDOM_OPS 20000
#define FLIPS 400

/* ---- fixture: a directory, a clock, stores without files ---------------- */

static char dir[64];
static int64_t clock_ms;
static struct kv_os os;
static struct kvsql_error err;

static int64_t wall_of_test(void *arg)
{
    (void)arg;
    return clock_ms;
}

static uint64_t boot_of_test(void *arg)
{
    (void)arg;
    return (uint64_t)(clock_ms - NOW + 1000000) * 1000000;
}

static void set_up(void)
{
    (void)snprintf(dir, sizeof dir, "/tmp/test_snapshot.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(chdir(dir), 0);
    clock_ms = NOW;
    os = *kv_os_real();
    os.wall_ms = wall_of_test;
    os.boot_ns = boot_of_test;
}

static void tear_down(void)
{
    char command[128];

    ck_assert_int_eq(chdir("/"), 0);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

static kvsql *store_new(void)
{
    const struct kvsql_options options = {.no_keeper = true};
    kvsql *db = NULL;

    ck_assert_int_eq(kv_open_os("", &options, &os, NULL, NULL, &db, &err),
                     KVSQL_OK);
    return db;
}

static void store_end(kvsql *db)
{
    ck_assert_int_eq(kv_close(db, &err), KVSQL_OK);
}

static struct kv_txn *txn_new(kvsql *db)
{
    struct kv_txn *txn;

    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    return txn;
}

static void txn_end(struct kv_txn *txn)
{
    ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
}

static struct kv_key key_of(const char *text)
{
    return kv_key_of(text, strlen(text));
}

static kvsql_slice slice_of(const char *text)
{
    return (kvsql_slice){text, strlen(text)};
}

static void set_string(struct kv_txn *txn, const char *key, const char *value,
                       int64_t expires_at)
{
    struct kv_key name = key_of(key);

    ck_assert_int_eq(kv_set(txn, &name, slice_of(value), expires_at, &err),
                     KVSQL_OK);
}

static void set_field(struct kv_txn *txn, const char *key, const char *field,
                      const char *value, int64_t expires_at)
{
    struct kv_key name = key_of(key), elem = key_of(field);

    ck_assert_int_eq(kv_hset(txn, &name, &elem, slice_of(value), expires_at,
                             NULL, &err),
                     KVSQL_OK);
}

/* ---- a store as text, to compare ---------------------------------------- */

static void dump_elem(struct kv_buf *buf, enum kv_type type,
                      const struct kv_elem *elem)
{
    if (type != KV_LIST) {
        kv_buf_printf(buf, "  %c", elem->key.cls == KV_TEXT ? 't' : 'b');
        kv_text_escape(buf, elem->key.p, elem->key.size, SIZE_MAX);
    }
    if (type == KV_LIST || type == KV_HASH) {
        kv_buf_printf(buf, "  %c", elem->value.cls == KV_TEXT ? 't' : 'b');
        kv_text_escape(buf, elem->value.p, elem->value.size, SIZE_MAX);
    }
    if (type == KV_ZSET)
        kv_buf_printf(buf, " %.17g", elem->score + 0.0);
    if (type == KV_HASH)
        kv_buf_printf(buf, " @%lld", (long long)elem->expires_at);
    kv_buf_text(buf, "\n");
}

/* Everything in sight, in order, by key and for sorted sets by score too. */
static void dump(const struct kv_at *at, struct kv_buf *buf)
{
    struct kv_keys keys;
    struct kv_elems elems;
    struct kv_val val;

    kv_buf_init(buf, KV_MEM_MISC, 1u << 30);
    kv_keys_init(&keys, at, 0);
    for (bool ok = kv_keys_first(&keys); ok; ok = kv_keys_next(&keys)) {
        enum kv_type type = keys.item.type;
        if (type == KV_HASH) { /* one whose fields all expired is nothing */
            kv_elems_init(&elems, at, &keys.item, KV_ELEMS_KEY);
            if (!kv_elems_first(&elems))
                continue;
        }
        kv_buf_printf(buf, "%s @%lld %c", kv_type_name(type),
                      (long long)keys.item.expires_at,
                      keys.key.cls == KV_TEXT ? 't' : 'b');
        kv_text_escape(buf, keys.key.p, keys.key.size, SIZE_MAX);
        kv_buf_text(buf, "\n");
        if (type == KV_STRING) {
            kv_item_string(&keys.item, &val);
            kv_buf_printf(buf, "  %c", val.cls == KV_TEXT ? 't' : 'b');
            kv_text_escape(buf, val.p, val.size, SIZE_MAX);
            kv_buf_text(buf, "\n");
            continue;
        }
        for (int pass = 0; pass < (type == KV_ZSET ? 2 : 1); pass++) {
            kv_elems_init(&elems, at, &keys.item,
                          type == KV_LIST ? KV_ELEMS_INDEX
                          : pass == 1     ? KV_ELEMS_SCORE
                                          : KV_ELEMS_KEY);
            for (ok = kv_elems_first(&elems); ok; ok = kv_elems_next(&elems))
                dump_elem(buf, type, &elems.elem);
        }
    }
    ck_assert(!buf->failed);
    kv_buf_byte(buf, 0);
}

static void dump_db(kvsql *db, struct kv_buf *buf)
{
    struct kv_view *view;
    struct kv_at at;

    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    kv_at_view(view, &at);
    dump(&at, buf);
    kv_unpin(view);
}

/* Shows the line where two dumps part; check cannot show the whole. */
static void check_same_text(const struct kv_buf *left,
                            const struct kv_buf *right)
{
    size_t at = 0, line = 0;

    while (at < left->size && at < right->size && left->p[at] == right->p[at])
        if (left->p[at++] == '\n')
            line = at;
    ck_assert_msg(at == left->size && at == right->size, "%.200s / %.200s",
                  (const char *)left->p + line, (const char *)right->p + line);
}

static void check_same(kvsql *a, kvsql *b)
{
    struct kv_buf left, right;

    dump_db(a, &left);
    dump_db(b, &right);
    check_same_text(&left, &right);
    kv_buf_fini(&left);
    kv_buf_fini(&right);
}

/* ---- writing and loading ------------------------------------------------ */

static kvsql_rc write_file(kvsql *db, const char *path,
                           struct kv_snapshot_info *info)
{
    struct kv_view *view;

    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    kvsql_rc rc =
        kv_snapshot_write(view, path, STORE_ID, NULL, NULL, info, &err);
    kv_unpin(view);
    return rc;
}

static void write_ok(kvsql *db, const char *path)
{
    struct kv_snapshot_info info;
    kvsql_rc rc = write_file(db, path, &info);

    ck_assert_msg(rc == KVSQL_OK, "%s", err.text);
}

static kvsql_rc load_file(kvsql *db, const char *path, const char *store_id,
                          struct kv_snapshot_info *info)
{
    return kv_snapshot_load(kv_db_store(db), path, store_id, NULL, NULL, info,
                            &err);
}

/* The first column of the first row, for stock SQLite's eyes. */
static const char *ask(const char *path, const char *sql)
{
    static char answer[4096];
    sqlite3 *db;
    sqlite3_stmt *stmt;

    answer[0] = '\0';
    ck_assert_int_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL),
                     SQLITE_OK);
    ck_assert_msg(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK,
                  "%s: %s", sql, sqlite3_errmsg(db));
    if (sqlite3_step(stmt) == SQLITE_ROW)
        (void)snprintf(answer, sizeof answer, "%s",
                       (const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return answer;
}

static void edit(const char *path, const char *sql)
{
    sqlite3 *db;

    ck_assert_int_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL),
                     SQLITE_OK);
    (void)sqlite3_exec(db, "PRAGMA writable_schema = 1", NULL, NULL, NULL);
    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK,
                  "%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

/* A few keys of each type, with everything that is special about bytes. */
static void fill(kvsql *db)
{
    struct kv_txn *txn = txn_new(db);
    struct kv_key key = kv_key_of("\xff\x00k", 3), elem;
    static const double scores[] = {0.0, -0.0, 1.5, -3, 1e300, INFINITY,
                                    -INFINITY};
    char text[32];

    set_string(txn, "", "the empty key", 0);
    set_string(txn, "a", "", 0);
    set_string(txn, "int", "-9223372036854775808", 0);
    set_string(txn, "007", "007", NOW + 1);
    set_string(txn, "t\xc3\xa4xt", "\xe2\x82\xac", NOW + 5000);
    ck_assert_int_eq(kv_set(txn, &key, (kvsql_slice){"x\0y", 3}, 0, &err), 0);
    set_field(txn, "hash", "f", "v", 0);
    set_field(txn, "hash", "", "", 0);
    set_field(txn, "hash", "ttl", "\xfe", NOW + 7000);
    key = key_of("hash");
    ck_assert_int_eq(kv_expire(txn, &key, NOW + 9000, &err), 0);
    for (int i = 0; i < 500; i++) {
        (void)snprintf(text, sizeof text, "field %d", i * 7919 % 500);
        set_field(txn, "large", text, i % 3 ? "value" : "12345", 0);
        key = key_of("list");
        elem = kv_key_of(text, strlen(text));
        ck_assert_int_eq(kv_push(txn, &key, i % 2 ? KV_LEFT : KV_RIGHT,
                                 slice_of(text), &err),
                         0);
        key = key_of("set");
        ck_assert_int_eq(kv_sadd(txn, &key, &elem, NULL, &err), 0);
        key = key_of("zset");
        ck_assert_int_eq(kv_zadd(txn, &key, &elem, scores[i % 7], NULL, &err),
                         0);
    }
    elem = kv_key_of("\0\xff", 2);
    key = key_of("small set");
    ck_assert_int_eq(kv_sadd(txn, &key, &elem, NULL, &err), 0);
    key = key_of("small zset");
    ck_assert_int_eq(kv_zadd(txn, &key, &elem, -0.0, NULL, &err), 0);
    key = key_of("small list");
    ck_assert_int_eq(kv_push(txn, &key, KV_LEFT, slice_of(""), &err), 0);
    txn_end(txn);
}

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
    clock_ms = NOW + 10;

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

/* ---- files that are refused --------------------------------------------- */

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

START_TEST(a_file_that_was_changed_is_refused_by_table_and_key)
{
    const struct damage *damage = &damages[_i];
    kvsql *db = store_new(), *copy = store_new();
    struct kv_snapshot_info info;

    fill(db);
    write_ok(db, "snap.db");
    edit("snap.db", damage->sql);
    kvsql_rc rc = load_file(copy, "snap.db", STORE_ID, &info);
    ck_assert_msg(rc == damage->rc, "%s: %d %s", damage->sql, rc, err.text);
    ck_assert_int_eq(err.rc, damage->rc);
    ck_assert_msg(strstr(err.text, damage->says) != NULL, "%s", err.text);
    ck_assert_msg(strstr(err.text, "snap.db") != NULL, "%s", err.text);
    ck_assert_uint_eq(kv_store_position(kv_db_store(copy)), 0);
    store_end(db);
    store_end(copy);
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

/* ---- names, faults, checksum -------------------------------------------- */

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

/* A file system under SQLite whose n-th write or read fails. */
struct faulty_file {
    sqlite3_file base;
    sqlite3_file *real;
};
static sqlite3_vfs *real_vfs;
static sqlite3_vfs faulty_vfs;
static uint64_t faulty_in; /* 0 = never */
static int faulty_code;
static bool faulty_fired;

static bool faulty_now(void)
{
    if (faulty_in == 0 || --faulty_in > 0)
        return false;
    faulty_fired = true;
    return true;
}

static sqlite3_file *faulty_real(sqlite3_file *file)
{
    return ((struct faulty_file *)file)->real;
}

static int faulty_close(sqlite3_file *file)
{
    return faulty_real(file)->pMethods->xClose(faulty_real(file));
}

static int faulty_read(sqlite3_file *file, void *p, int n, sqlite3_int64 at)
{
    return faulty_now() ? faulty_code
                        : faulty_real(file)->pMethods->xRead(
                              faulty_real(file), p, n, at);
}

static int faulty_write(sqlite3_file *file, const void *p, int n,
                        sqlite3_int64 at)
{
    return faulty_now() ? faulty_code
                        : faulty_real(file)->pMethods->xWrite(
                              faulty_real(file), p, n, at);
}

static int faulty_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return faulty_real(file)->pMethods->xTruncate(faulty_real(file), size);
}

static int faulty_sync(sqlite3_file *file, int flags)
{
    return faulty_real(file)->pMethods->xSync(faulty_real(file), flags);
}

static int faulty_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return faulty_real(file)->pMethods->xFileSize(faulty_real(file), size);
}

static int faulty_lock(sqlite3_file *file, int level)
{
    return faulty_real(file)->pMethods->xLock(faulty_real(file), level);
}

static int faulty_unlock(sqlite3_file *file, int level)
{
    return faulty_real(file)->pMethods->xUnlock(faulty_real(file), level);
}

static int faulty_reserved(sqlite3_file *file, int *out)
{
    return faulty_real(file)->pMethods->xCheckReservedLock(faulty_real(file),
                                                           out);
}

static int faulty_control(sqlite3_file *file, int op, void *arg)
{
    return faulty_real(file)->pMethods->xFileControl(faulty_real(file), op,
                                                     arg);
}

static int faulty_sector(sqlite3_file *file)
{
    return faulty_real(file)->pMethods->xSectorSize(faulty_real(file));
}

static int faulty_device(sqlite3_file *file)
{
    return faulty_real(file)->pMethods->xDeviceCharacteristics(
        faulty_real(file));
}

static const sqlite3_io_methods faulty_methods = {
    .iVersion = 1,
    .xClose = faulty_close,
    .xRead = faulty_read,
    .xWrite = faulty_write,
    .xTruncate = faulty_truncate,
    .xSync = faulty_sync,
    .xFileSize = faulty_size,
    .xLock = faulty_lock,
    .xUnlock = faulty_unlock,
    .xCheckReservedLock = faulty_reserved,
    .xFileControl = faulty_control,
    .xSectorSize = faulty_sector,
    .xDeviceCharacteristics = faulty_device};

static int faulty_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file,
                       int flags, int *flags_out)
{
    struct faulty_file *faulty = (struct faulty_file *)file;

    (void)vfs;
    faulty->real = (sqlite3_file *)(faulty + 1);
    const int code =
        real_vfs->xOpen(real_vfs, name, faulty->real, flags, flags_out);
    faulty->base.pMethods =
        faulty->real->pMethods == NULL ? NULL : &faulty_methods;
    return code;
}

static void faulty_install(void)
{
    real_vfs = sqlite3_vfs_find(NULL);
    faulty_vfs = *real_vfs;
    faulty_vfs.pNext = NULL;
    faulty_vfs.zName = "faulty";
    faulty_vfs.szOsFile = (int)sizeof(struct faulty_file) + real_vfs->szOsFile;
    faulty_vfs.xOpen = faulty_open;
    ck_assert_int_eq(sqlite3_vfs_register(&faulty_vfs, 1), SQLITE_OK);
}

static const struct {
    int code;
    kvsql_rc rc;
} faults[] = {{SQLITE_FULL, KVSQL_FULL},
              {SQLITE_IOERR_WRITE, KVSQL_IO},
              {SQLITE_IOERR_NOMEM, KVSQL_NOMEM}};

START_TEST(a_disk_that_fails_anywhere_is_said_and_later_it_works)
{
    kvsql *db = store_new(), *copy = store_new();
    struct kv_snapshot_info info;
    kvsql_rc rc = KVSQL_IO;
    uint64_t n;

    fill(db);
    faulty_install();
    faulty_code = faults[_i].code;
    for (n = 1; rc != KVSQL_OK; n++) {
        (void)unlink("snap.db");
        faulty_fired = false;
        faulty_in = n;
        rc = write_file(db, "snap.db", &info);
        faulty_in = 0;
        ck_assert_msg(rc == (faulty_fired ? faults[_i].rc : KVSQL_OK),
                      "%llu: %d %s", (unsigned long long)n, rc, err.text);
    }
    ck_assert_uint_gt(n, 20);
    ck_assert_int_eq(load_file(copy, "snap.db", STORE_ID, &info), KVSQL_OK);
    check_same(db, copy);
    store_end(copy);
    store_end(db);
}
END_TEST

/* The same below the pages, which do not go through SQLite. */
static uint64_t failing_in; /* 0 = never */
static int failing_with;
static bool failing_fired;

static bool failing_now(void)
{
    if (failing_in == 0 || --failing_in > 0)
        return false;
    failing_fired = true;
    return true;
}

static int64_t failing_write(void *arg, int file, const void *p, size_t size,
                             uint64_t at)
{
    return failing_now() ? -failing_with
                         : kv_os_real()->write_at(arg, file, p, size, at);
}

static int failing_open(void *arg, int at, const char *name, int flags,
                        int *out)
{
    return failing_now() ? -failing_with
                         : kv_os_real()->open(arg, at, name, flags, out);
}

static int failing_sync(void *arg, int file)
{
    return failing_now() ? -failing_with : kv_os_real()->sync(arg, file);
}

static const struct {
    int number;
    kvsql_rc rc;
} failures[] = {{ENOSPC, KVSQL_FULL}, {EIO, KVSQL_IO}, {EDQUOT, KVSQL_FULL}};

START_TEST(a_page_that_cannot_be_written_is_said_and_later_it_works)
{
    kvsql *db = store_new(), *copy = store_new();
    struct kv_snapshot_info info;
    kvsql_rc rc = KVSQL_IO;
    uint64_t n;

    fill(db);
    os.write_at = failing_write;
    os.open = failing_open;
    os.sync = failing_sync;
    failing_with = failures[_i].number;
    for (n = 1; rc != KVSQL_OK; n++) {
        (void)unlink("snap.db");
        failing_fired = false;
        failing_in = n;
        rc = write_file(db, "snap.db", &info);
        failing_in = 0;
        ck_assert_msg(rc == (failing_fired ? failures[_i].rc : KVSQL_OK),
                      "%llu: %d %s", (unsigned long long)n, rc, err.text);
        if (failing_fired)
            ck_assert_ptr_nonnull(strstr(err.text, "snap.db"));
    }
    ck_assert_uint_gt(n, 10); /* two opened, roots, pages, header, synced */
    ck_assert_int_eq(load_file(copy, "snap.db", STORE_ID, &info), KVSQL_OK);
    check_same(db, copy);
    store_end(copy);
    store_end(db);
}
END_TEST

START_TEST(a_disk_that_cannot_be_read_is_no_damage)
{
    kvsql *db = store_new();
    struct kv_snapshot_info info;
    kvsql_rc rc = KVSQL_IO;
    uint64_t n;

    fill(db);
    write_ok(db, "snap.db");
    faulty_install();
    faulty_code = SQLITE_IOERR_READ;
    for (n = 1; rc != KVSQL_OK; n++) {
        kvsql *copy = store_new();
        faulty_fired = false;
        faulty_in = n;
        rc = load_file(copy, "snap.db", STORE_ID, &info);
        faulty_in = 0;
        ck_assert_msg(rc == (faulty_fired ? KVSQL_IO : KVSQL_OK),
                      "%llu: %d %s", (unsigned long long)n, rc, err.text);
        store_end(copy);
    }
    ck_assert_uint_gt(n, 20);
    store_end(db);
}
END_TEST

/* No undo log is kept while a store is loaded, so one that runs out of memory
 * in the middle of a split loses a few nodes; the start ends then anyway. */
#if defined(__SANITIZE_ADDRESS__)
void __lsan_disable(void);
void __lsan_enable(void);
#define LEAKS_EXPECTED(call) (__lsan_disable(), (call), __lsan_enable())
#else
#define LEAKS_EXPECTED(call) (call)
#endif

START_TEST(no_allocation_of_ours_is_needed_silently)
{
    kvsql *db = store_new();
    struct kv_snapshot_info info;
    struct kv_view *view;
    uint64_t n = 0;
    kvsql_rc rc = KVSQL_NOMEM;

    fill(db);
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    while (rc != KVSQL_OK) {
        const uint64_t bytes = kv_mem_bytes(KV_MEM_MISC);
        (void)unlink("snap.db");
        kv_mem_fail_at(++n, 0);
        rc = kv_snapshot_write(view, "snap.db", STORE_ID, NULL, NULL, &info,
                               &err);
        ck_assert_int_eq(rc, kv_mem_failed() ? KVSQL_NOMEM : KVSQL_OK);
        kv_mem_fail_at(0, 0);
        ck_assert_uint_eq(kv_mem_bytes(KV_MEM_MISC), bytes);
        ck_assert_uint_lt(n, 1000);
    }
    kv_unpin(view);
    ck_assert_uint_gt(n, 10);
    for (n = 1, rc = KVSQL_NOMEM; rc != KVSQL_OK; n += 1 + n / 50) {
        kvsql *copy = store_new();
        kv_mem_fail_at(n, 0);
        LEAKS_EXPECTED(rc = load_file(copy, "snap.db", STORE_ID, &info));
        ck_assert_int_eq(rc, kv_mem_failed() ? KVSQL_NOMEM : KVSQL_OK);
        kv_mem_fail_at(0, 0);
        store_end(copy);
    }
    ck_assert_uint_gt(n, 10);
    store_end(db);
}
END_TEST

/* SQLite's own allocations fail: the n-th from arming on. */
static sqlite3_mem_methods sqlite_memory;
static uint64_t sqlite_fail_in;
static bool sqlite_failed;

static bool sqlite_fails(void)
{
    if (sqlite_fail_in == 0 || --sqlite_fail_in > 0)
        return false;
    sqlite_failed = true;
    return true;
}

static void *failing_malloc(int size)
{
    return sqlite_fails() ? NULL : sqlite_memory.xMalloc(size);
}

static void *failing_realloc(void *p, int size)
{
    return sqlite_fails() ? NULL : sqlite_memory.xRealloc(p, size);
}

static void failing_memory_install(void)
{
    sqlite3_mem_methods methods;

    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory) != SQLITE_OK)
        abort();
    methods = sqlite_memory;
    methods.xMalloc = failing_malloc;
    methods.xRealloc = failing_realloc;
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK)
        abort();
}

START_TEST(no_allocation_of_sqlite_is_needed_silently)
{
    kvsql *db = store_new();
    struct kv_snapshot_info info;
    kvsql_rc rc = KVSQL_NOMEM;
    uint64_t n;

    fill(db);
    write_ok(db, "first.db"); /* what SQLite allocates once is there now */
    for (n = 1; rc != KVSQL_OK; n += 1 + n / 40) {
        (void)unlink("snap.db");
        sqlite_failed = false;
        sqlite_fail_in = n;
        rc = write_file(db, "snap.db", &info);
        sqlite_fail_in = 0;
        ck_assert_msg(rc == KVSQL_OK || (rc == KVSQL_NOMEM && sqlite_failed),
                      "%llu: %d %s", (unsigned long long)n, rc, err.text);
    }
    ck_assert_uint_gt(n, 40);
    ck_assert_str_eq(ask("snap.db", "PRAGMA integrity_check"), "ok");
    for (n = 1, rc = KVSQL_NOMEM; rc != KVSQL_OK; n += 1 + n / 40) {
        kvsql *copy = store_new();
        sqlite_failed = false;
        sqlite_fail_in = n;
        rc = load_file(copy, "snap.db", STORE_ID, &info);
        sqlite_fail_in = 0;
        ck_assert_msg(rc == KVSQL_OK || (rc == KVSQL_NOMEM && sqlite_failed),
                      "%llu: %d %s", (unsigned long long)n, rc, err.text);
        store_end(copy);
    }
    ck_assert_uint_gt(n, 100);
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

static Suite *suite_of_snapshot(void)
{
    Suite *const suite = suite_create("snapshot");
    TCase *const tc = tcase_create("snapshot");

    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, every_type_comes_back_as_it_was);
    tcase_add_test(tc, an_empty_store_is_a_whole_file_too);
    tcase_add_test(tc, stock_sqlite_finds_the_file_sound_and_named);
    tcase_add_test(tc,
                   the_tables_have_the_names_columns_and_counts_of_the_model);
    tcase_add_test(tc, bytes_keep_their_class_and_numbers_stay_text);
    tcase_add_test(tc, what_has_expired_is_left_out_and_lengths_agree);
    tcase_add_test(tc,
                   a_pinned_view_is_written_as_it_was_while_the_store_moves_on);
    tcase_add_test(tc,
                   a_file_written_beside_a_writer_holds_whole_transactions);
    tcase_add_test(tc, progress_is_told_and_ends_at_the_total);
    tcase_add_loop_test(tc, a_file_that_was_changed_is_refused_by_table_and_key,
                        0, (int)(sizeof damages / sizeof *damages));
    tcase_add_test(tc, a_harmless_stranger_in_the_file_is_not_read);
    tcase_add_test(tc, a_journal_beside_the_file_is_not_rolled_in);
    tcase_add_test(tc, a_file_cut_short_is_damaged_at_every_length);
    tcase_add_test(tc, a_flipped_byte_is_refused_or_gives_a_sound_store);
    tcase_add_test(tc, what_is_no_database_or_no_file_is_said);
    tcase_add_test(tc, a_name_means_a_file_whatever_is_in_it);
    tcase_add_test(tc, a_file_that_is_there_is_never_written_over);
    tcase_add_loop_test(tc,
                        a_disk_that_fails_anywhere_is_said_and_later_it_works,
                        0, (int)(sizeof faults / sizeof *faults));
    tcase_add_loop_test(
        tc, a_page_that_cannot_be_written_is_said_and_later_it_works, 0,
        (int)(sizeof failures / sizeof *failures));
    tcase_add_test(tc, a_disk_that_cannot_be_read_is_no_damage);
    tcase_add_test(tc, no_allocation_of_ours_is_needed_silently);
    tcase_add_test(tc, no_allocation_of_sqlite_is_needed_silently);
    tcase_add_test(tc, the_checksum_is_that_of_all_bytes);
    suite_add_tcase(suite, tc);
    return suite;
}

int main(void)
{
    failing_memory_install();
    SRunner *const runner = srunner_create(suite_of_snapshot());
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

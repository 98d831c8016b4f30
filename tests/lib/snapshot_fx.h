/* snapshot_fx.h - the fixture of a test program that is about snapshot files: a
 * directory that is the current one, a clock that stands, stores without files,
 * and what is done with them.
 *
 * Thread: the test's. */
#ifndef TESTS_LIB_SNAPSHOT_FX_H
#define TESTS_LIB_SNAPSHOT_FX_H

#include "kvsql/admin.h"
#include "kvsql/snapshot.h"

#include <math.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/clock_fx.h"
#include "tests/lib/tempdir.h"
#include "tests/lib/unit.h"

#define STORE_ID "00112233445566778899aabbccddeeff"
#define NOW 1800000000000 /* wall ms of the test's clock at its start */

static char dir[TEMPDIR_MAX];
static struct kvsql_error err;

static inline void set_up(void)
{
    tempdir_make(dir, "test_snapshot");
    ck_assert_int_eq(chdir(dir), 0);
    clock_start(NOW);
}

static inline void tear_down(void)
{
    ck_assert_int_eq(chdir("/"), 0);
    tempdir_remove(dir);
}

static inline kvsql *store_new(void)
{
    const struct kvsql_options options = {.no_keeper = true};
    kvsql *db = NULL;

    ck_assert_int_eq(kv_open_os("", &options, &clock_os, NULL, NULL, &db, &err),
                     KVSQL_OK);
    return db;
}

static inline void store_end(kvsql *db)
{
    ck_assert_int_eq(kv_close(db, &err), KVSQL_OK);
}

static inline struct kv_txn *txn_new(kvsql *db)
{
    struct kv_txn *txn;

    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    return txn;
}

static inline void txn_end(struct kv_txn *txn)
{
    ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
}

static inline struct kv_key key_of(const char *text)
{
    return kv_key_of(text, strlen(text));
}

static inline kvsql_slice slice_of(const char *text)
{
    return (kvsql_slice){text, strlen(text)};
}

static inline void set_string(struct kv_txn *txn, const char *key, const char *value,
                       int64_t expires_at)
{
    struct kv_key name = key_of(key);

    ck_assert_int_eq(kv_set(txn, &name, slice_of(value), expires_at, &err),
                     KVSQL_OK);
}

static inline void set_field(struct kv_txn *txn, const char *key, const char *field,
                      const char *value, int64_t expires_at)
{
    struct kv_key name = key_of(key), elem = key_of(field);

    ck_assert_int_eq(kv_hset(txn, &name, &elem, slice_of(value), expires_at,
                             NULL, &err),
                     KVSQL_OK);
}

/* ---- a store as text, to compare ---------------------------------------- */

static inline void dump_elem(struct kv_buf *buf, enum kv_type type,
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
static inline void dump(const struct kv_at *at, struct kv_buf *buf)
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

static inline void dump_db(kvsql *db, struct kv_buf *buf)
{
    struct kv_view *view;
    struct kv_at at;

    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    kv_at_view(view, &at);
    dump(&at, buf);
    kv_unpin(view);
}

/* Shows the line where two dumps part; check cannot show the whole. */
static inline void check_same_text(const struct kv_buf *left,
                            const struct kv_buf *right)
{
    size_t at = 0, line = 0;

    while (at < left->size && at < right->size && left->p[at] == right->p[at])
        if (left->p[at++] == '\n')
            line = at;
    ck_assert_msg(at == left->size && at == right->size, "%.200s / %.200s",
                  (const char *)left->p + line, (const char *)right->p + line);
}

static inline void check_same(kvsql *a, kvsql *b)
{
    struct kv_buf left, right;

    dump_db(a, &left);
    dump_db(b, &right);
    check_same_text(&left, &right);
    kv_buf_fini(&left);
    kv_buf_fini(&right);
}

/* ---- writing and loading ------------------------------------------------ */

static inline kvsql_rc write_file(kvsql *db, const char *path,
                           struct kv_snapshot_info *info)
{
    struct kv_view *view;

    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    kvsql_rc rc =
        kv_snapshot_write(view, path, STORE_ID, NULL, NULL, info, &err);
    kv_unpin(view);
    return rc;
}

static inline void write_ok(kvsql *db, const char *path)
{
    struct kv_snapshot_info info;
    kvsql_rc rc = write_file(db, path, &info);

    ck_assert_msg(rc == KVSQL_OK, "%s", err.text);
}

static inline kvsql_rc load_file(kvsql *db, const char *path, const char *store_id,
                          struct kv_snapshot_info *info)
{
    return kv_snapshot_load(kv_db_store(db), path, store_id, NULL, NULL, info,
                            &err);
}

/* The first column of the first row, for stock SQLite's eyes. */
static inline const char *ask(const char *path, const char *sql)
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

static inline void edit(const char *path, const char *sql)
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
static inline void fill(kvsql *db)
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

#endif

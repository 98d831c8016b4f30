/* test_changes.c - the wal as rows: the table `changes` (sql.md 2.7). */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "kvsql/admin.h"
#include "tests/lib/fakeos.h"
#include "tests/lib/fakevfs.h"
#include "tests/lib/rows.h"

static struct rows fx;
static struct fakeos *fake;

static void fixture_setup(void)
{
    const struct kvsql_options options = {.no_keeper = true,
                                          .wal_segment_size = 1024,
                                          .snapshot_keep = 1};

    cli_join_sql();
    fake = fakeos_new(1);
    ck_assert_int_eq(vt_start(&fx.err), KVSQL_OK);
    fakevfs_in(fakeos_os(fake)); /* for snapshots */
    rows_init_os(&fx, "data", fakeos_os(fake), &options);
}

static void fixture_teardown(void)
{
    rows_fini(&fx);
    fakevfs_out();
    fakeos_free(fake);
}

#define ok(sql) rows_ok(&fx, sql)
#define GIVES(sql, rows) ROWS_GIVES(&fx, sql, rows)
#define FAILS(sql, code, sentence) ROWS_FAILS(&fx, sql, code, sentence)

START_TEST(each_op_is_a_row_that_people_can_read)
{
    ok("BEGIN");
    ok("INSERT INTO kv_exec(cmd) VALUES"
       "('SET s v PXAT 1800000000000'), ('SETRANGE s 1 x'), ('PERSIST s'),"
       "('PEXPIREAT s 1800000000001'), ('RENAME s t'), ('DEL t'),"
       "('HSET h f v'), ('HPEXPIREAT h 1800000000002 FIELDS 1 f'),"
       "('HDEL h f'), ('ZADD z 1.5 m'), ('ZREM z m'), ('SADD u m'),"
       "('SREM u m'), ('RPUSH l a'), ('LPUSH l b'), ('LINSERT l AFTER b c'),"
       "('LSET l 2 d'), ('LTRIM l 1 1'), ('FLUSHALL')");
    ok("COMMIT");
    GIVES("SELECT n, op, key, type, field, value, expires_at FROM changes",
          "0|set|s|string|NULL|v|1800000000000\n"
          "1|patch|s|string|1|x|NULL\n"
          "2|expire|s|NULL|NULL|NULL|NULL\n"
          "3|expire|s|NULL|NULL|1800000000001|1800000000001\n"
          "4|rename|s|NULL|NULL|t|NULL\n"
          "5|del|t|NULL|NULL|NULL|NULL\n"
          "6|hset|h|hash|f|v|NULL\n"
          "7|hexpire|h|hash|f|1800000000002|1800000000002\n"
          "8|hdel|h|hash|f|NULL|NULL\n"
          "9|zadd|z|zset|m|1.5|NULL\n"
          "10|zrem|z|zset|m|NULL|NULL\n"
          "11|sadd|u|set|m|NULL|NULL\n"
          "12|srem|u|set|m|NULL|NULL\n"
          "13|push|l|list|right|a|NULL\n"
          "14|push|l|list|left|b|NULL\n"
          "15|linsert|l|list|1|c|NULL\n"
          "16|lset|l|list|2|d|NULL\n"
          "17|lremove|l|list|2|1|NULL\n"
          "18|lremove|l|list|0|1|NULL\n"
          "19|flush|NULL|NULL|NULL|NULL|NULL");
    GIVES("SELECT DISTINCT position, at FROM changes", "1|1700000000000");
    ok("REPLACE INTO strings(key, value) VALUES(x'ff', x'00')");
    GIVES("SELECT key, value, typeof(field) FROM changes WHERE position > 1",
          "x'ff'|x'00'|null");
}
END_TEST

/* `count` batches of one op each. */
static void write_batches(unsigned count)
{
    char sql[128];

    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(sql, sizeof(sql),
                       "REPLACE INTO strings(key, value) VALUES('k%u', %u)",
                       i % 7, i);
        ok(sql);
    }
}

START_TEST(a_bound_on_position_seeks_over_segments)
{
    struct kv_info info;
    char sql[128], want[32];

    write_batches(200);
    kv_info_get(fx.db, &info);
    ck_assert_uint_gt(info.wal_segments, 5);
    for (unsigned i = 1; i <= 200; i += 13) {
        (void)snprintf(sql, sizeof(sql),
                       "SELECT value FROM changes WHERE position = %u", i);
        (void)snprintf(want, sizeof(want), "%u", i - 1);
        GIVES(sql, want);
        (void)snprintf(sql, sizeof(sql),
                       "SELECT count(*), min(position) FROM changes"
                       " WHERE position > %u",
                       i - 1);
        (void)snprintf(want, sizeof(want), "%u|%u", 201 - i, i);
        GIVES(sql, want);
    }
    GIVES("SELECT position FROM changes WHERE position BETWEEN 60 AND 62",
          "60\n61\n62");
    GIVES("SELECT position FROM changes WHERE position >= 199.5"
          " ORDER BY position, n",
          "200");
    GIVES("SELECT count(*) FROM changes WHERE position < '11'", "10");
    GIVES("SELECT position FROM changes WHERE position IN (3, 150, 900, NULL)"
          " ORDER BY position DESC",
          "150\n3");
    GIVES("SELECT count(*) FROM changes WHERE position > 200", "0");
    GIVES("SELECT count(*) FROM changes WHERE position > NULL", "0");
    GIVES("SELECT count(*) FROM changes WHERE position > 'x'", "0");
    GIVES("SELECT count(*) FROM changes WHERE position = 0", "0");
    GIVES("SELECT count(*), max(position) FROM changes", "200|200");
    GIVES("SELECT a.value FROM changes a JOIN changes b"
          " ON a.position = b.position - 1 WHERE b.value = '50'",
          "49");
    ok("EXPLAIN QUERY PLAN SELECT * FROM changes WHERE position > ?");
    ck_assert_ptr_nonnull(strstr(fx.text, "position>?"));
}
END_TEST

START_TEST(asking_for_what_is_not_kept_names_what_is)
{
    struct kv_snapshot_info snapshot;
    unsigned long long oldest;
    char sql[128], sentence[160];

    write_batches(100);
    ck_assert_int_eq(kv_snapshot_run(fx.db, NULL, NULL, &snapshot, &fx.err),
                     KVSQL_OK);
    write_batches(20);
    ok("SELECT min(position) FROM changes"); /* begins with what is kept */
    oldest = strtoull(fx.text, NULL, 10);
    ck_assert_uint_gt(oldest, 1);
    for (unsigned long long from = 1; from < oldest; from += 10) {
        (void)snprintf(sql, sizeof(sql),
                       "SELECT * FROM changes WHERE position >= %llu", from);
        (void)snprintf(sentence, sizeof(sentence),
                       "the wal is kept from position %llu on; position %llu "
                       "is not there any more",
                       oldest, from);
        FAILS(sql, KVSQL_RANGE, sentence);
    }
    (void)snprintf(sql, sizeof(sql),
                   "SELECT count(*) FROM changes WHERE position >= %llu",
                   oldest);
    (void)snprintf(sentence, sizeof(sentence), "%llu", 121 - oldest);
    GIVES(sql, sentence);
    GIVES("SELECT count(*) FROM changes WHERE position < 1", "0");
}
END_TEST

START_TEST(a_segment_that_goes_while_it_is_read_is_read_to_its_end)
{
    static const char sql[] = "SELECT position FROM changes";
    struct kv_snapshot_info snapshot;
    struct vt_statement *statement;
    struct vt_value value;
    int64_t rows = 0;
    bool row;
    kvsql_rc rc;

    write_batches(30);
    ck_assert_int_eq(vt_prepare(fx.other, sql, sizeof(sql) - 1, NULL,
                                &statement, &fx.err),
                     KVSQL_OK);
    ck_assert_int_eq(vt_step(statement, &row, &fx.err), KVSQL_OK);
    write_batches(30);
    ck_assert_int_eq(kv_snapshot_run(fx.db, NULL, NULL, &snapshot, &fx.err),
                     KVSQL_OK);
    do {
        rows++;
        vt_column(statement, 0, &value);
        ck_assert_int_eq(value.integer, rows);
        rc = vt_step(statement, &row, &fx.err);
    } while (rc == KVSQL_OK && row);
    /* the next segment is gone: that is said */
    ck_assert_int_eq(rc, KVSQL_RANGE);
    ck_assert_int_gt(rows, 1);
    ck_assert_int_lt(rows, 30);
    vt_finish(statement);
}
END_TEST

START_TEST(damage_in_a_segment_is_told_and_not_skipped)
{
    const struct kv_os *os = fakeos_os(fake);
    int dir, file;

    write_batches(60);
    ck_assert_int_eq(os->dir_open(os->arg, "data", false, &dir), 0);
    ck_assert_int_eq(os->open(os->arg, dir, "wal-0000000000000001",
                              KV_OS_WRITE, &file),
                     0);
    ck_assert_int_eq(os->write_at(os->arg, file, "?", 1, 200), 1);
    os->close(os->arg, file);
    os->dir_close(os->arg, dir);
    FAILS("SELECT * FROM changes WHERE position > 0", KVSQL_CORRUPT,
          "wal: segment 1 ends before position 3");
    GIVES("SELECT count(*) FROM changes WHERE position > 40", "20");
}
END_TEST

START_TEST(a_statement_sees_changes_up_to_its_view)
{
    write_batches(3);
    ok("BEGIN");
    GIVES("SELECT max(position) FROM changes", "3");
    ck_assert_int_eq(rows_run(&fx, fx.other, "DELETE FROM strings"), KVSQL_OK);
    GIVES("SELECT max(position) FROM changes", "3");
    ok("COMMIT");
    GIVES("SELECT max(position), max(n) FROM changes", "4|2");
    ok("BEGIN");
    ok("REPLACE INTO strings(key, value) VALUES('k', 1)");
    FAILS("SELECT * FROM changes", KVSQL_INVALID,
          "changes cannot be read by a transaction that has begun to write");
    ok("ROLLBACK");
    GIVES("SELECT max(position) FROM changes", "4");
}
END_TEST

START_TEST(a_store_without_files_has_no_wal)
{
    rows_fini(&fx);
    rows_init(&fx);
    FAILS("SELECT * FROM changes", KVSQL_INVALID,
          "this store has no directory, and so no wal");
}
END_TEST

/* ---- beside writers --------------------------------------------------------------------- */

#define STRESS_BATCHES 400

static void *stress_write(void *arg)
{
    struct kvsql_error err;
    atomic_bool *done = arg;

    for (unsigned i = 0; i < STRESS_BATCHES; i++) {
        char text[16];
        const int size = snprintf(text, sizeof(text), "%u", i);
        const struct kv_key key = kv_key_of(text, (size_t)size);
        struct kv_ticket ticket;
        struct kv_txn *txn;
        bool fine = kv_txn_begin(fx.db, true, 60000, &txn, &err) == KVSQL_OK;

        for (unsigned op = 0; fine && op < 3; op++)
            fine = kv_push(txn, &key, KV_RIGHT, kvsql_text("x"), &err) ==
                   KVSQL_OK;
        fine = fine && kv_txn_commit(txn, &ticket, &err) == KVSQL_OK;
        if (fine && i + 1 == STRESS_BATCHES) /* all are released then */
            fine = kv_gate_wait(fx.db, ticket, &err) == KVSQL_OK;
        if (!fine) abort();
    }
    atomic_store(done, true);
    return NULL;
}

/* A reader sees whole batches, in order, without a gap, all of them released
 * by then. */
START_TEST(a_reader_beside_a_writer_sees_whole_batches_that_were_released)
{
    atomic_bool done = false;
    long long rows, last, seen = 0;
    struct kv_info info;
    pthread_t writer;
    bool ended;

    ck_assert_int_eq(pthread_create(&writer, NULL, stress_write, &done), 0);
    do {
        ended = atomic_load(&done);
        ok("SELECT count(*) || ' ' || coalesce(max(position), 0) FROM changes");
        ck_assert_int_eq(sscanf(fx.text, "%lld %lld", &rows, &last), 2);
        ck_assert_int_eq(rows, 3 * last);
        ck_assert_int_ge(last, seen);
        seen = last;
        kv_info_get(fx.db, &info);
        ck_assert_uint_ge(info.released, (uint64_t)last);
    } while (!ended);
    ck_assert_int_eq(pthread_join(writer, NULL), 0);
    ck_assert_int_eq(seen, STRESS_BATCHES);
}
END_TEST

/* Wherever a reading stands when more is released: it goes on. */
START_TEST(a_reading_goes_on_from_within_a_batch)
{
    for (unsigned stop = 0; stop <= 3; stop++) {
        struct kv_changes *changes;
        struct kv_change change;
        struct kv_info info;
        unsigned ops = 0;
        bool found = true;

        ok("INSERT INTO sets(key, member) VALUES('s', 1), ('s', 2), ('s', 3)");
        kv_info_get(fx.db, &info);
        const uint64_t from = info.released;
        ck_assert_int_eq(
            kv_changes_open(fx.db, from, from, &changes, &fx.err), KVSQL_OK);
        while (ops < stop) {
            ck_assert_int_eq(
                kv_changes_next(changes, &change, &found, &fx.err), KVSQL_OK);
            ck_assert(found && change.n == ops++);
        }
        write_batches(3);
        ok("DELETE FROM sets");
        kv_info_get(fx.db, &info);
        ck_assert_uint_eq(info.released, from + 4);
        kv_changes_more(changes, info.released);
        for (;; ops++) {
            ck_assert_msg(kv_changes_next(changes, &change, &found, &fx.err) ==
                              KVSQL_OK, "%s", fx.err.text);
            if (!found)
                break;
            ck_assert_uint_eq(change.position, from + (ops < 3 ? 0
                                                       : ops < 6 ? ops - 2
                                                                 : 4));
        }
        ck_assert_uint_ge(ops, 7);
        kv_changes_close(changes);
    }
}
END_TEST

START_TEST(no_reading_of_changes_leaves_memory_behind_when_something_fails)
{
    static const char sql[] = "SELECT * FROM changes WHERE position > 3";
    int failed = 1;

    write_batches(60);
    for (uint64_t n = 1; failed; n++) {
        kv_mem_fail_at(n, 0);
        kvsql_rc rc = rows_run(&fx, fx.session, sql);
        failed = kv_mem_failed();
        kv_mem_fail_at(0, 0);
        ck_assert_msg(failed || rc == KVSQL_OK, "%s", fx.err.text);
    }
    for (uint64_t n = 1; n < 4; n++) {
        fakeos_fail(fake, FAKEOS_READ, n, EIO, false);
        ck_assert_int_eq(rows_run(&fx, fx.session, sql), KVSQL_IO);
        fakeos_fail(fake, FAKEOS_OPEN, n, EIO, false);
        ck_assert_int_eq(rows_run(&fx, fx.session, sql), KVSQL_IO);
    }
    fakeos_fail(fake, FAKEOS_READ, 0, 0, false);
    fakeos_fail(fake, FAKEOS_OPEN, 0, 0, false);
    GIVES("SELECT count(*) FROM changes", "60");
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, fixture_setup, fixture_teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, each_op_is_a_row_that_people_can_read);
    tcase_add_test(tests, a_bound_on_position_seeks_over_segments);
    tcase_add_test(tests, asking_for_what_is_not_kept_names_what_is);
    tcase_add_test(tests,
                   a_segment_that_goes_while_it_is_read_is_read_to_its_end);
    tcase_add_test(tests, damage_in_a_segment_is_told_and_not_skipped);
    tcase_add_test(tests, a_statement_sees_changes_up_to_its_view);
    tcase_add_test(tests, a_store_without_files_has_no_wal);
    tcase_add_test(tests, a_reading_goes_on_from_within_a_batch);
    tcase_add_test(
        tests, a_reader_beside_a_writer_sees_whole_batches_that_were_released);
    tcase_add_test(
        tests, no_reading_of_changes_leaves_memory_behind_when_something_fails);
}

int main(void)
{
    return unit_run("changes", add);
}

/* test_building.c - indexes of a typed table that are built, read and dropped
 * while hashes change (sql.md KH3, KH6); for ThreadSanitizer.
 *
 * The keeper is a thread, as in a server. Writers by commands and by SQL change
 * the hashes, one statement or several fields at a time, with expiry, renames
 * and rollbacks; a definer drops the table and makes it again, at times before
 * its indexes are complete. Readers ask in a transaction, and ask the same
 * without plans: what an index gives is what a scan of the same view gives. In
 * the end the store is checked.
 *
 * KVSQL_SQL_SECONDS lets it run for so long; KVSQL_SEED gives another run. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "command/command.h"
#include "kvsql/admin.h"
#include "kvsql/base/os.h"
#include "kvsql/store.h"
#include "tests/lib/rand.h"
#include "tests/lib/rows.h"

#define HASHES 3000 /* several slices of the keeper */
#define ROUNDS 8    /* definitions, when no time is given */
#define WRITERS 3
#define READERS 2
#define PATIENCE_MS 120000

static struct rows fx; /* the definer's */
static uint64_t seed;
static atomic_bool done;
static atomic_uint writes, looks, by_index, wrong;
static unsigned built, dropped;

static struct vt_session *session_open(void)
{
    const struct vt_limits limits = {.trusted = true};
    struct vt_session *session;
    struct kvsql_error err;

    ck_assert_int_eq(vt_session_open(fx.db, &limits, &session, &err), KVSQL_OK);
    return session;
}

/* ---- writers --------------------------------------------------------------- */

/* One command, in a transaction of its own that is taken back now and then. */
static void command(const char *line, bool back)
{
    static _Thread_local kvsql_slice argv[CMD_LINE_ARGS_MAX];
    struct kvsql_error err;
    struct kv_ticket ticket;
    struct cmd_reply reply;
    struct kv_txn *txn;
    struct kv_buf words;
    unsigned argc;

    kv_buf_init(&words, KV_MEM_MISC, 1 << 20);
    cmd_reply_init(&reply, 1 << 20);
    ck_assert_int_eq(cmd_split(line, strlen(line), &words, argv, &argc, &err),
                     KVSQL_OK);
    ck_assert_int_eq(kv_txn_begin(fx.db, true, PATIENCE_MS, &txn, &err),
                     KVSQL_OK);
    (void)cmd_run_in(txn, argc, argv, &reply); /* a rename may find nothing */
    if (back)
        kv_txn_rollback(txn);
    else
        ck_assert_int_eq(kv_txn_commit(txn, &ticket, &err), KVSQL_OK);
    cmd_reply_fini(&reply);
    kv_buf_fini(&words);
}

static void write_by_commands(struct rand_state *r)
{
    const unsigned id = (unsigned)rand_below(r, HASHES);
    const unsigned n = (unsigned)rand_below(r, 50);
    char line[160];

    switch (rand_below(r, 8)) {
    case 0:
        (void)snprintf(line, sizeof(line), "DEL u:%u", id);
        break;
    case 1:
        (void)snprintf(line, sizeof(line), "RENAME u:%u u:%u", id, n);
        break;
    case 2:
        (void)snprintf(line, sizeof(line), "PEXPIRE u:%u %u", id, n);
        break;
    case 3:
        (void)snprintf(line, sizeof(line), "HPEXPIRE u:%u %u FIELDS 1 age", id,
                       n + 1);
        break;
    case 4:
        (void)snprintf(line, sizeof(line), "HINCRBY u:%u age 1", id);
        break;
    case 5:
        (void)snprintf(line, sizeof(line), "HDEL u:%u city age other", id);
        break;
    default:
        (void)snprintf(line, sizeof(line), "HSET u:%u age %u city c%u other %u",
                       id, n, n % 7, n);
        break;
    }
    command(line, rand_one_in(r, 9));
}

static void write_by_sql(struct vt_session *session, struct rand_state *r,
                         struct rows *rows)
{
    const unsigned id = (unsigned)rand_below(r, HASHES);
    const unsigned n = (unsigned)rand_below(r, 50);
    char sql[160];

    switch (rand_below(r, 4)) {
    case 0:
        (void)snprintf(sql, sizeof(sql),
                       "UPDATE users SET age = age + 1 WHERE age = %u", n);
        break;
    case 1:
        (void)snprintf(sql, sizeof(sql),
                       "DELETE FROM users WHERE city = 'c%u' AND age = %u",
                       n % 7, n);
        break;
    default:
        (void)snprintf(sql, sizeof(sql),
                       "INSERT OR REPLACE INTO users(id, age, city)"
                       " VALUES('%u', %u, 'c%u')",
                       id, n, n % 7);
        break;
    }
    const kvsql_rc rc = rows_run(rows, session, sql);
    /* the table may be gone, or the store busy */
    ck_assert_msg(rc == KVSQL_OK || rc == KVSQL_SYNTAX || rc == KVSQL_BUSY,
                  "%s: %s", sql, rows->err.text);
}

static void *writer(void *arg)
{
    const uintptr_t self = (uintptr_t)arg;
    struct rand_state r = rand_of(seed + self);
    struct vt_session *session = session_open();
    struct rows *rows = calloc(1, sizeof(*rows));

    while (!atomic_load(&done)) {
        if (self == 0)
            write_by_sql(session, &r, rows);
        else
            write_by_commands(&r);
        atomic_fetch_add(&writes, 1);
    }
    vt_session_close(session);
    free(rows);
    return NULL;
}

/* ---- readers --------------------------------------------------------------- */

static const char *const queries[] = {
    "SELECT id, age FROM users WHERE age = 7 ORDER BY id",
    "SELECT id, age FROM users WHERE age > 40 AND age < 44 ORDER BY age, id",
    "SELECT id FROM users WHERE city = 'c3' AND age >= 20 ORDER BY age DESC,"
    " id DESC",
    "SELECT count(*) FROM users WHERE age IS NULL",
    "SELECT city, count(*), max(age) FROM users WHERE city IN ('c1', 'c5')"
    " GROUP BY city ORDER BY city"};

/* The same view by the plan and by a scan. False: the table is not there. */
static bool look(struct vt_session *session, const char *sql, struct rows *one,
                 struct rows *two)
{
    char text[256];
    kvsql_rc rc;

    (void)snprintf(text, sizeof(text), "EXPLAIN QUERY PLAN %s", sql);
    rc = rows_run(one, session, text);
    if (rc == KVSQL_SYNTAX)
        return false;
    ck_assert_msg(rc == KVSQL_OK, "%s: %s", text, one->err.text);
    const bool index = strstr(one->text, "index ") != NULL;
    rc = rows_run(one, session, sql);
    ck_assert_msg(rc == KVSQL_OK, "%s: %s", sql, one->err.text);
    vt_session_plan_off(session, true);
    (void)snprintf(text, sizeof(text), "%s -- scan", sql);
    rc = rows_run(two, session, text);
    vt_session_plan_off(session, false);
    ck_assert_msg(rc == KVSQL_OK, "%s: %s", text, two->err.text);
    if (strcmp(one->text, two->text) != 0) {
        (void)fprintf(stderr, "%s\nby plan (%d):\n%s\nby scan:\n%s\n", sql,
                      (int)index, one->text, two->text);
        atomic_fetch_add(&wrong, 1);
    }
    atomic_fetch_add(&by_index, index);
    return true;
}

static void *reader(void *arg)
{
    struct rand_state r = rand_of(seed + 100 + (uintptr_t)arg);
    struct vt_session *session = session_open();
    struct rows *rows = calloc(2, sizeof(*rows));

    while (!atomic_load(&done)) {
        unsigned n = 1 + (unsigned)rand_below(&r, 4);
        ck_assert_int_eq(rows_run(rows, session, "BEGIN"), KVSQL_OK);
        while (n > 0 &&
               look(session, queries[rand_below(&r, 5)], rows, rows + 1))
            n--;
        ck_assert_int_eq(rows_run(rows, session, "COMMIT"), KVSQL_OK);
        atomic_fetch_add(&looks, 1);
    }
    vt_session_close(session);
    free(rows);
    return NULL;
}

/* ---- the definer ---------------------------------------------------------------- */

#define READY                                                                  \
    "SELECT count(*) FROM stats WHERE name LIKE 'index users(%' AND"           \
    " value = 'ready'"

static void define(const char *sql)
{
    kvsql_rc rc;

    do /* others hold the store */
        rc = rows_run(&fx, fx.session, sql);
    while (rc == KVSQL_BUSY);
    ck_assert_msg(rc == KVSQL_OK, "%s: %s", sql, fx.err.text);
}

static void make_table(void)
{
    define("CREATE VIRTUAL TABLE users USING kv_hash('u:{id}', id,"
           " age INTEGER, city TEXT, INDEX(age), INDEX(city, age))");
}

/* Until both indexes are complete, and some reader has used one. */
static void wait_until_read(void)
{
    const uint64_t end = kv_os_mono_ns() + PATIENCE_MS * UINT64_C(1000000);
    const unsigned before = atomic_load(&by_index);

    for (;;) {
        define(READY);
        if (strcmp(fx.text, "2") == 0 && atomic_load(&by_index) > before)
            break;
        ck_assert_msg(kv_os_mono_ns() < end, "%s indexes are ready", fx.text);
        kv_os_sleep_ms(1);
    }
    built++;
}

static void define_for_a_while(void)
{
    const char *seconds = getenv("KVSQL_SQL_SECONDS");
    const uint64_t until = seconds != NULL
                               ? kv_os_mono_ns() + strtoull(seconds, NULL, 0) *
                                                       UINT64_C(1000000000)
                               : 0;
    struct rand_state r = rand_of(seed + 1000);

    for (unsigned i = 0; until != 0 ? kv_os_mono_ns() < until : i < ROUNDS;
         i++) {
        make_table();
        if (i % 2 == 0)
            wait_until_read();
        else /* dropped while it is built */
            kv_os_sleep_ms((unsigned)rand_below(&r, 20));
        define("DROP TABLE users");
        dropped++;
    }
}

START_TEST(what_an_index_gives_is_what_a_scan_of_the_view_gives)
{
    pthread_t thread[WRITERS + READERS];

    for (uintptr_t i = 0; i < WRITERS + READERS; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL,
                                        i < WRITERS ? writer : reader,
                                        (void *)i),
                         0);
    define_for_a_while();
    make_table();
    wait_until_read();
    atomic_store(&done, true);
    for (unsigned i = 0; i < WRITERS + READERS; i++)
        ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
    printf("building: %u writes, %u transactions of readers, %u queries by "
           "index, %u times built, %u dropped, %u wrong\n",
           atomic_load(&writes), atomic_load(&looks), atomic_load(&by_index),
           built, dropped, atomic_load(&wrong));
    ck_assert_uint_eq(atomic_load(&wrong), 0);
    ck_assert_uint_gt(atomic_load(&writes), 0);
    kv_store_check(kv_db_store(fx.db));
}
END_TEST

/* ---- running ------------------------------------------------------------------- */

static void setup(void)
{
    const struct kvsql_options options = {.fsync = KVSQL_FSYNC_NO};

    cli_join_sql();
    seed = rand_seed("building", 11);
    atomic_store(&done, false);
    memset(&fx, 0, sizeof(fx));
    ck_assert_int_eq(vt_start(&fx.err), KVSQL_OK);
    ck_assert_int_eq(
        kv_open_os("", &options, kv_os_real(), NULL, NULL, &fx.db, &fx.err),
        KVSQL_OK);
    fx.session = session_open();
    for (unsigned i = 0; i < HASHES; i++) {
        char line[96];
        (void)snprintf(line, sizeof(line), "HSET u:%u age %u city c%u", i,
                       i % 50, i % 7);
        command(line, false);
    }
}

static void teardown(void)
{
    vt_session_close(fx.session);
    ck_assert_int_eq(kv_close(fx.db, &fx.err), KVSQL_OK);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_NODE), 0);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_VIEW), 0);
}

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 0);
    tcase_add_test(tests, what_an_index_gives_is_what_a_scan_of_the_view_gives);
}

int main(void)
{
    return unit_run("building", add);
}

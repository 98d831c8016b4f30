/* test_option.c - values of options, lines of a redis.conf, and CONFIG on the
 * options of a running server. */
#include "cli/option.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "cli/live.h"
#include "kvsql/admin.h"
#include "kvsql/base/os.h"
#include "kvsql/inside.h"
#include "tests/lib/unit.h"

static struct cli_settings settings;
static struct kvsql_error err;

static void setup(void)
{
    cli_settings_init(&settings, CLI_IN_SERVE);
}

static void teardown(void)
{
    cli_settings_fini(&settings);
}

static kvsql_rc parse(const char *text)
{
    return cli_settings_parse(&settings, text, "f", &err);
}

START_TEST(every_default_is_a_value_and_every_sentence_can_be_said)
{
    char why[512];

    for (unsigned i = 0; cli_option_row(i) != NULL; i++) {
        const struct cli_option *row = cli_option_row(i);

        if ((row->scope & CLI_IN_SERVE) == 0)
            continue;
        ck_assert_msg(cli_value_check(row, row->initial, &err) == KVSQL_OK,
                      "%s: %s", row->name, err.text);
        cli_value_complain(row, "no-value!", why, sizeof why);
        ck_assert_uint_gt(strlen(why), 0);
    }
}
END_TEST

START_TEST(lines_of_a_redis_conf_are_read)
{
    ck_assert_int_eq(
        parse("# a comment\n"
              "  bind 127.0.0.1 -::1\r\n"
              "PORT 7000\n"
              "maxmemory 1gb\n"
              "save 900 1\nsave 60 10000\n"
              "appendfilename \"a \\\"b\\\".aof\"\n"
              "client-output-buffer-limit normal 0 0 0\n"
              "client-output-buffer-limit replica 256mb 64mb 60\n"
              "notify-keyspace-events \"\"\n"
              "loglevel notice\n"
              "hash-max-ziplist-value 65\n"),
        KVSQL_OK);
    ck_assert_uint_eq(cli_number(&settings, CLI_OPT_PORT), 7000);
    ck_assert_uint_eq(cli_number(&settings, CLI_OPT_MAXMEMORY), 1 << 30);
    ck_assert_str_eq(cli_text(&settings, CLI_OPT_SAVE), "900 1 60 10000");
    ck_assert_str_eq(cli_text(&settings, CLI_OPT_APPENDFILENAME),
                     "a \"b\".aof");
    ck_assert_str_eq(cli_text(&settings, CLI_OPT_CLIENT_OUTPUT_BUFFER_LIMIT),
                     "normal 0 0 0 replica 256mb 64mb 60");
    ck_assert_str_eq(cli_text(&settings, CLI_OPT_HASH_MAX_LISTPACK_VALUE),
                     "65");
    ck_assert_str_eq(cli_text(&settings, CLI_OPT_BIND), "127.0.0.1 -::1");
}
END_TEST

/* The sentence holds `part`. */
static void refused(const char *text, const char *part)
{
    ck_assert_int_eq(parse(text), KVSQL_SYNTAX);
    ck_assert_msg(strstr(err.text, part) != NULL, "%s", err.text);
}

START_TEST(wrong_lines_name_file_line_and_what_is_near)
{
    refused("hz 10\nrequirpass x\n",
            "f:2: unknown option 'requirpass': did you mean requirepass?");
    refused("hz ten\n", "f:1: hz: 'ten' is not a number in 0..2147483647");
    refused("activedefrag maybe\n", "'maybe' is not yes or no");
    refused("client-output-buffer-limit normal 1\n", "CLASS HARD SOFT");
    refused("replicaof a 1\n", "does not replicate");
    refused("rename-command CONFIG x\n", "cannot be renamed");
    refused("appendfilename \"a\n", "unbalanced quotes");
    refused("cluster-enabled yes\n", "'yes' is none of no");
}
END_TEST

/* ---- a running server -------------------------------------------------------------- */

static kvsql *db;
static struct cli_live live;
static struct cmd_host host;

static void start_live(void)
{
    ck_assert_int_eq(kv_open_os("", NULL, kv_os_real(), NULL, NULL, &db, &err),
                     KVSQL_OK);
    cli_live_start(&live, &settings, db, NULL, &host);
}

static void stop_live(void)
{
    cli_live_stop(&live);
    ck_assert_int_eq(kv_close(db, &err), KVSQL_OK);
}

/* "name value name value" by CONFIG SET. */
static kvsql_rc set(const char *a, const char *b, const char *c, const char *d)
{
    const kvsql_slice pairs[4] = {{a, strlen(a)},
                                  {b, strlen(b)},
                                  {c != NULL ? c : "", c != NULL ? strlen(c) : 0},
                                  {d != NULL ? d : "", d != NULL ? strlen(d) : 0}};

    return host.config.set(host.config.arg, NULL, c != NULL ? 2 : 1, pairs,
                           &err);
}

static const char *get(const char *name)
{
    static char out[256];
    const char *at;
    struct kv_buf buf;

    kv_buf_init(&buf, KV_MEM_MISC, 4096);
    for (unsigned i = 0; (at = host.config.name(host.config.arg, i)) != NULL;
         i++)
        if (strcmp(at, name) == 0)
            host.config.get(host.config.arg, i, &buf);
    ck_assert_uint_lt(buf.size, sizeof out);
    snprintf(out, sizeof out, "%.*s", (int)buf.size, (const char *)buf.p);
    kv_buf_fini(&buf);
    return out;
}

START_TEST(config_set_is_all_or_nothing)
{
    start_live();
    ck_assert_int_eq(set("MaxMemory", "2mb", "hz", "20"), KVSQL_OK);
    ck_assert_str_eq(get("maxmemory"), "2097152");
    ck_assert_str_eq(get("hz"), "20");
    ck_assert_int_ne(set("maxmemory", "3mb", "hz", "x"), KVSQL_OK);
    ck_assert_int_ne(set("maxmemory", "3mb", "maxmemory", "4mb"), KVSQL_OK);
    ck_assert_int_ne(set("maxmemory", "3mb", "dir", "/"), KVSQL_OK);
    ck_assert_str_eq(get("maxmemory"), "2097152");
    ck_assert_int_eq(set("save", "", NULL, NULL), KVSQL_OK);
    ck_assert_str_eq(get("save"), "");
    stop_live();
}
END_TEST

START_TEST(secrets_are_not_given_and_one_database_is_told)
{
    ck_assert_int_eq(parse("requirepass hidden\ndatabases 16\n"), KVSQL_OK);
    start_live();
    ck_assert_str_eq(get("requirepass"), "");
    ck_assert_str_eq(get("databases"), "1");
    stop_live();
}
END_TEST

START_TEST(what_config_set_set_outlives_a_reload)
{
    struct cli_settings fresh;

    ck_assert_int_eq(parse("hz 10\nmaxmemory 1mb\n"), KVSQL_OK);
    start_live();
    ck_assert_int_eq(set("hz", "20", NULL, NULL), KVSQL_OK);
    ck_assert_int_eq(set("hz", "30", NULL, NULL), KVSQL_OK);
    cli_settings_init(&fresh, CLI_IN_SERVE);
    ck_assert_int_eq(
        cli_settings_parse(&fresh, "hz 40\nmaxmemory 5mb\n", "f", &err),
        KVSQL_OK);
    cli_live_reload(&live, &fresh);
    ck_assert_str_eq(get("hz"), "30");
    ck_assert_str_eq(get("maxmemory"), "5242880");
    stop_live();
}
END_TEST

/* One of several threads that change and read all the time; the values of one
 * CONFIG SET stay together. */
static void *change(void *arg)
{
    const char *number = arg;

    for (int i = 0; i < 200; i++) {
        struct kvsql_error why;
        const kvsql_slice pairs[4] = {{"hz", 2},
                                      {number, strlen(number)},
                                      {"slowlog-max-len", 15},
                                      {number, strlen(number)}};

        if (host.config.set(host.config.arg, NULL, 2, pairs, &why) != KVSQL_OK)
            return arg;
    }
    return NULL;
}

START_TEST(threads_may_change_and_read_at_once)
{
    static char numbers[2][4] = {"10", "20"};
    struct cli_settings fresh;
    pthread_t threads[2];
    void *result;

    start_live();
    ck_assert_int_eq(set("loglevel", "warn", NULL, NULL), KVSQL_OK);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(
            pthread_create(&threads[i], NULL, change, numbers[i]), 0);
    for (int i = 0; i < 50; i++) {
        (void)get("hz");
        cli_settings_init(&fresh, CLI_IN_SERVE);
        cli_live_reload(&live, &fresh);
    }
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_join(threads[i], &result), 0);
        ck_assert_ptr_null(result);
    }
    char both[256];
    snprintf(both, sizeof both, "%s", get("hz"));
    ck_assert_str_eq(get("slowlog-max-len"), both);
    stop_live();
}
END_TEST

START_TEST(a_rewrite_needs_a_file)
{
    start_live();
    ck_assert_int_ne(host.config.rewrite(host.config.arg, &err), KVSQL_OK);
    ck_assert_str_eq(err.text,
                     "ERR The server is running without a config file");
    stop_live();
}
END_TEST

START_TEST(a_nul_byte_is_told_with_file_and_line)
{
    ck_assert_int_eq(cli_settings_no_nul("hz 1\nhz 2\n", 10, "f", &err),
                     KVSQL_OK);
    ck_assert_int_eq(cli_settings_no_nul("hz 1\nh\0z\n", 9, "f", &err),
                     KVSQL_SYNTAX);
    ck_assert_str_eq(err.text, "f:2: a NUL byte: this is not a text file");
    ck_assert_int_eq(parse("hz 10\npidfile \"a\\x00b\"\n"), KVSQL_SYNTAX);
    ck_assert_str_eq(err.text,
                     "f:2: pidfile: a value cannot hold a NUL byte");
}
END_TEST

/* One CONFIG SET inside a txn; its lock is held by this thread. */
START_TEST(a_transaction_may_change_and_read_options)
{
    const kvsql_slice pairs[4] = {{"maxmemory-policy", 16},
                                  {"allkeys-lfu", 11},
                                  {"lfu-decay-time", 14},
                                  {"7", 1}};
    struct kv_txn *txn;

    start_live();
    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    ck_assert_int_eq(host.config.set(host.config.arg, txn, 2, pairs, &err),
                     KVSQL_OK);
    ck_assert_str_eq(get("lfu-decay-time"), "7");
    kv_txn_rollback(txn);
    ck_assert_str_eq(get("maxmemory-policy"), "allkeys-lfu"); /* stays */
    stop_live();
}
END_TEST

/* ---- what the doors say -------------------------------------------------------- */

static unsigned applied;

static void door_apply(void *arg, const struct cli_settings *now)
{
    ck_assert_ptr_eq(arg, &applied);
    ck_assert_ptr_eq(now, &settings);
    applied++;
}

static const char *door_refuse(void *arg, enum cli_option_id id,
                               const char *text, char *out, size_t size)
{
    ck_assert_ptr_eq(arg, &applied);
    if (id != CLI_OPT_MAXCLIENTS || strcmp(text, "77") != 0)
        return NULL;
    snprintf(out, size, "not so many");
    return out;
}

START_TEST(doors_take_over_options_and_may_refuse_them)
{
    const struct cli_live_doors doors = {.arg = &applied,
                                         .apply = door_apply,
                                         .refuse = door_refuse};

    applied = 0;
    ck_assert_int_eq(kv_open_os("", NULL, kv_os_real(), NULL, NULL, &db, &err),
                     KVSQL_OK);
    cli_live_start(&live, &settings, db, &doors, &host);
    ck_assert_uint_eq(applied, 1);
    ck_assert_int_eq(set("timeout", "5", "maxclients", "76"), KVSQL_OK);
    ck_assert_uint_eq(applied, 2);
    ck_assert_int_ne(set("timeout", "6", "maxclients", "77"), KVSQL_OK);
    ck_assert_str_eq(err.text,
                     "ERR CONFIG SET failed (possibly related to argument "
                     "'maxclients') - not so many");
    ck_assert_str_eq(get("timeout"), "5");
    ck_assert_uint_eq(applied, 2);
    stop_live();
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests,
                   every_default_is_a_value_and_every_sentence_can_be_said);
    tcase_add_test(tests, lines_of_a_redis_conf_are_read);
    tcase_add_test(tests, wrong_lines_name_file_line_and_what_is_near);
    tcase_add_test(tests, config_set_is_all_or_nothing);
    tcase_add_test(tests, secrets_are_not_given_and_one_database_is_told);
    tcase_add_test(tests, what_config_set_set_outlives_a_reload);
    tcase_add_test(tests, threads_may_change_and_read_at_once);
    tcase_add_test(tests, a_rewrite_needs_a_file);
    tcase_add_test(tests, a_nul_byte_is_told_with_file_and_line);
    tcase_add_test(tests, a_transaction_may_change_and_read_options);
    tcase_add_test(tests, doors_take_over_options_and_may_refuse_them);
}

int main(void)
{
    return unit_run("option", add_tests);
}

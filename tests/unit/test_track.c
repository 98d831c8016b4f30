/* test_track.c - what a client is told of keys that it has read. */
#include "tests/lib/client_fx.h"

#include "command/track_private.h"
#include "kvsql/store.h"

static const char *told(struct kv_buf *buf)
{
    static char text[2048];

    ck_assert_uint_lt(buf->size, sizeof(text));
    if (buf->size > 0) {
        memcpy(text, buf->p, buf->size);
    }
    text[buf->size] = '\0';
    kv_buf_reset(buf, 0);
    return text;
}

#define TOLD(keys) ">2|$10|invalidate|" keys
#define TOLD_A TOLD("*1|$1|a|")
#define hears(buf, what) ck_assert_str_eq(told(&(buf)), what)

static void tracking(struct cmd_client *client, const char *line)
{
    (void)ask(client, "HELLO 3");
    says(client, line, "+OK|");
}

START_TEST(a_client_is_told_once_of_a_key_that_it_read)
{
    tracking(&one, "CLIENT TRACKING ON");
    says(&two, "SET a 1", "+OK|");
    hears(told_one, "");
    says(&one, "GET a", "$1|1|");
    says(&one, "GET a", "$1|1|");
    says(&two, "SET b 2", "+OK|");
    hears(told_one, "");
    says(&two, "SET a 2", "+OK|");
    hears(told_one, TOLD_A);
    says(&two, "SET a 3", "+OK|");
    hears(told_one, "");
    says(&one, "MGET a none", "*2|$1|3|_|");
    says(&one, "SET none 1", "+OK|");
    hears(told_one, TOLD("*1|$4|none|"));
    says(&two, "FLUSHALL", "+OK|");
    hears(told_one, TOLD("_|"));
    hears(told_two, "");
    says(&one, "GET a", "_|");
    says(&one, "CLIENT TRACKING OFF", "+OK|");
    says(&two, "SET a 1", "+OK|");
    hears(told_one, "");
}
END_TEST

/* Each line changes `a` once more; the first reads are of different types. */
START_TEST(a_client_is_told_whatever_way_a_change_came)
{
    static const char *const lines[][2] = {
        {"GET a", "SET a 1"},
        {"STRLEN a", "APPEND a x"},
        {"TTL a", "PEXPIRE a 100000"},
        {"TTL a", "PERSIST a"},
        {"EXISTS a", "RENAME a b"},
        {"TYPE a", "COPY b a"},
        {"GET a", "GETDEL a"},
        {"HGET a f", "HSET a f v"},
        {"HGETALL a", "HDEL a f"},
        {"SINTERCARD 2 a b", "SADD a m"},
        {"ZUNION 2 c a", "SPOP a"},
        {"SORT_RO a", "RPUSH a 1 2 3"},
        {"LRANGE a 0 -1", "LREM a 0 2"},
        {"LLEN a", "DEL a"},
        {"ZRANGE a 0 -1", "ZADD a 1 m"},
        {"ZCARD a", "ZREMRANGEBYRANK a 0 0"},
        {"GET a", "SQL \"INSERT INTO strings(key, value) VALUES('a', 1)\""},
        {"GET a", "SQL \"UPDATE strings SET value = 2 WHERE key = 'a'\""},
        {"GET a", "SQL \"DELETE FROM keys WHERE key = 'a'\""}};

    tracking(&one, "CLIENT TRACKING ON");
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        (void)ask(&one, lines[i][0]);
        hears(told_one, "");
        (void)ask(&two, lines[i][1]);
        ck_assert_msg(strcmp(told(&told_one), TOLD_A) == 0, "%s", lines[i][1]);
    }
}
END_TEST

START_TEST(a_batch_is_told_of_when_it_is_done)
{
    tracking(&one, "CLIENT TRACKING ON");
    (void)ask(&one, "MGET a b c");
    says(&two, "MULTI", "+OK|");
    says(&two, "RPUSH a 1 2 3", "+QUEUED|");
    says(&two, "SET b 1", "+QUEUED|");
    says(&two, "DEL a", "+QUEUED|");
    hears(told_one, "");
    says(&two, "EXEC", "*3|:3|+OK|:1|");
    hears(told_one, TOLD_A TOLD("*1|$1|b|"));
    says(&two, "MULTI ROLLBACK", "+OK|");
    says(&two, "SET c 1", "+QUEUED|");
    says(&two, "LPUSH c 1", "+QUEUED|");
    ck_assert(strncmp(ask(&two, "EXEC"), "-EXECABORT", 10) == 0);
    hears(told_one, "");
    says(&one, "MULTI", "+OK|");
    says(&one, "GET a", "+QUEUED|");
    says(&one, "SET a 1", "+QUEUED|");
    says(&one, "EXEC", "*2|_|+OK|");
    hears(told_one, TOLD_A);
}
END_TEST

START_TEST(a_client_is_told_of_keys_that_expire_or_are_evicted)
{
    struct kv_info info;

    tracking(&one, "CLIENT TRACKING ON NOLOOP");
    says(&one, "SET a 1 PX 50", "+OK|");
    says(&one, "GET a", "$1|1|");
    fakeos_advance(fake, 100);
    (void)kv_store_tick(kv_db_store(db));
    hears(told_one, TOLD_A);
    says(&one, "SET a 1", "+OK|");
    says(&one, "GET a", "$1|1|");
    kv_set_maxmemory_policy(db, KVSQL_ALLKEYS_RANDOM, 0);
    kv_info_get(db, &info);
    kv_set_maxmemory(db, info.memory_data / 2);
    (void)ask(&one, "SET b 1"); /* its own command, but not its own doing */
    hears(told_one, TOLD_A);
    kv_set_maxmemory(db, 0);
}
END_TEST

START_TEST(noloop_is_about_what_a_client_does_itself)
{
    tracking(&one, "CLIENT TRACKING ON NOLOOP");
    tracking(&two, "CLIENT TRACKING ON");
    (void)ask(&one, "GET a");
    (void)ask(&two, "GET a");
    says(&one, "SET a 1", "+OK|");
    hears(told_one, "");
    hears(told_two, TOLD_A);
    says(&two, "SET a 1", "+OK|"); /* the first change took it out */
    hears(told_one, "");
    (void)ask(&one, "GET a");
    says(&two, "SET a 1", "+OK|");
    hears(told_one, TOLD_A);
    hears(told_two, "");
}
END_TEST

START_TEST(what_a_transaction_reads_behind_its_change_is_tracked)
{
    tracking(&one, "CLIENT TRACKING ON NOLOOP");
    tracking(&two, "CLIENT TRACKING ON");
    says(&one, "MULTI", "+OK|");
    says(&one, "SET a 1", "+QUEUED|");
    says(&one, "GET a", "+QUEUED|");
    says(&one, "EXEC", "*2|+OK|$1|1|");
    says(&two, "MULTI", "+OK|");
    says(&two, "SET a 2", "+QUEUED|");
    says(&two, "GET a", "+QUEUED|");
    says(&two, "EXEC", "*2|+OK|$1|2|");
    hears(told_one, TOLD_A);
    hears(told_two, "");
    says(&one, "SET a 3", "+OK|");
    hears(told_one, "");
    hears(told_two, TOLD_A);
}
END_TEST

START_TEST(optin_and_optout_choose_the_commands_that_are_tracked)
{
    tracking(&one, "CLIENT TRACKING ON OPTIN");
    says(&one, "GET a", "_|");
    says(&two, "SET a 1", "+OK|");
    hears(told_one, "");
    says(&one, "CLIENT CACHING YES", "+OK|");
    says(&one, "CLIENT TRACKINGINFO",
         "%3|$5|flags|~3|$2|on|$5|optin|$11|caching-yes|$8|redirect|:0|"
         "$8|prefixes|*0|");
    says(&one, "MULTI", "+OK|");
    says(&one, "GET a", "+QUEUED|");
    says(&one, "GET b", "+QUEUED|");
    says(&one, "EXEC", "*2|$1|1|_|");
    says(&one, "GET c", "_|");
    says(&two, "MSET a 1 b 1 c 1", "+OK|");
    hears(told_one, TOLD_A TOLD("*1|$1|b|"));
    says(&one, "CLIENT CACHING NO",
         "-ERR CLIENT CACHING NO is only valid when tracking is enabled in "
         "OPTOUT mode.|");
    says(&one, "CLIENT TRACKING OFF", "+OK|");
    says(&one, "CLIENT TRACKING ON OPTOUT", "+OK|");
    says(&one, "CLIENT CACHING NO", "+OK|");
    says(&one, "GET a", "$1|1|");
    says(&one, "GET b", "$1|1|");
    says(&two, "MSET a 1 b 1", "+OK|");
    hears(told_one, TOLD("*1|$1|b|"));
}
END_TEST

START_TEST(bcast_tells_of_every_key_with_a_prefix)
{
    tracking(&one, "CLIENT TRACKING ON BCAST PREFIX u: PREFIX b NOLOOP");
    says(&two, "MSET u:2 1 x 1 u:1 1 b 1 u:2 2", "+OK|");
    hears(told_one, TOLD("*1|$1|b|") TOLD("*2|$3|u:1|$3|u:2|"));
    says(&two, "MULTI", "+OK|");
    says(&two, "SADD u:3 1 2 3", "+QUEUED|");
    says(&two, "RENAME u:3 u:4", "+QUEUED|");
    says(&two, "EXEC", "*2|:3|+OK|");
    hears(told_one, TOLD("*2|$3|u:3|$3|u:4|"));
    says(&one, "SET u:1 1", "+OK|");
    hears(told_one, "");
    says(&one, "CLIENT TRACKINGINFO",
         "%3|$5|flags|~3|$2|on|$5|bcast|$6|noloop|$8|redirect|:0|"
         "$8|prefixes|*2|$1|b|$2|u:|");
    says(&one, "CLIENT TRACKING ON BCAST PREFIX u",
         "-ERR Prefix 'u' overlaps with an existing prefix 'u:'. Prefixes for "
         "a single client must not overlap.|");
    says(&one, "CLIENT TRACKING ON BCAST PREFIX v PREFIX vv",
         "-ERR Prefix 'v' overlaps with another provided prefix 'vv'. "
         "Prefixes for a single client must not overlap.|");
    ck_assert_uint_eq(cmd_track_totals_get().prefixes, 2);
    tracking(&two, "CLIENT TRACKING ON BCAST");
    says(&one, "SET u:1 1", "+OK|");
    hears(told_one, "");
    hears(told_two, TOLD("*1|$3|u:1|"));
    says(&one, "CLIENT TRACKING OFF", "+OK|");
    ck_assert_uint_eq(cmd_track_totals_get().prefixes, 1);
}
END_TEST

START_TEST(a_batch_that_is_too_long_to_list_is_all_keys)
{
    tracking(&one, "CLIENT TRACKING ON BCAST PREFIX u");
    says(&two,
         "SQL \"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n "
         "WHERE i < 16384) INSERT INTO strings(key, value) "
         "SELECT 'u' || i, i FROM n\"",
         ":16385|");
    hears(told_one, TOLD("_|"));
    says(&two, "SET u1 1", "+OK|");
    hears(told_one, TOLD("*1|$2|u1|"));
}
END_TEST

START_TEST(another_client_can_be_told_instead)
{
    char line[80], broken[80];

    (void)ask(&two, "HELLO 3");
    (void)snprintf(line, sizeof(line), "CLIENT TRACKING ON REDIRECT %llu",
                   (unsigned long long)two.id);
    says(&one, line, "+OK|");
    (void)snprintf(broken, sizeof(broken), ":%llu|",
                   (unsigned long long)two.id);
    says(&one, "CLIENT GETREDIR", broken);
    says(&one, "GET a", "$-1|");
    says(&one, "SET a 1", "+OK|");
    hears(told_one, "");
    hears(told_two, TOLD_A);
    /* RESP2: only who has subscribed */
    (void)ask(&two, "HELLO 2");
    says(&one, "GET a", "$1|1|");
    says(&one, "SET a 1", "+OK|");
    hears(told_two, "");
    says(&two, "SUBSCRIBE __redis__:invalidate",
         "*3|$9|subscribe|$20|__redis__:invalidate|:1|");
    says(&one, "GET a", "$1|1|");
    says(&one, "SET a 1", "+OK|");
    hears(told_two, "*3|$7|message|$20|__redis__:invalidate|*1|$1|a|");
    says(&two, "GET a", "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / "
                        "(P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in "
                        "this context|");
    says(&two, "PING", "*2|$4|pong|$0||");
    says(&one, "FLUSHALL", "+OK|");
    hears(told_two, "*3|$7|message|$20|__redis__:invalidate|$-1|");
    says(&two, "UNSUBSCRIBE",
         "*3|$11|unsubscribe|$20|__redis__:invalidate|:0|");
    says(&two, "GET a", "$-1|");
}
END_TEST

START_TEST(a_client_hears_that_the_other_one_is_gone)
{
    char line[80], broken[80];
    const unsigned long long id = two.id;

    (void)ask(&one, "HELLO 3");
    (void)snprintf(line, sizeof(line), "CLIENT TRACKING ON REDIRECT %llu", id);
    says(&one, line, "+OK|");
    (void)snprintf(broken, sizeof(broken), ">2|$21|tracking-redir-broken|:%llu|",
                   id);
    cmd_client_close(&two);
    client_new(&two, "127.0.0.1:3");
    says(&one, "GET a", "_|");
    says(&two, "SET a 1", "+OK|");
    hears(told_one, broken);
    ck_assert(strstr(ask(&one, "CLIENT TRACKINGINFO"), "broken_redirect") !=
              NULL);
    ck_assert(strstr(ask(&one, "CLIENT INFO"), "flags=tR ") != NULL);
    says(&one, line, "-ERR The client ID you want redirect to does not exist|");
    says(&one, "RESET", "+RESET|");
    says(&one, "CLIENT GETREDIR", ":-1|");
    ck_assert(strstr(ask(&one, "CLIENT INFO"), "flags=N ") != NULL);
}
END_TEST

START_TEST(options_that_do_not_go_together_are_refused)
{
    says(&one, "CLIENT TRACKING MAYBE", "-ERR syntax error|");
    says(&one, "CLIENT TRACKING ON FOO", "-ERR syntax error|");
    says(&one, "CLIENT TRACKING ON PREFIX a",
         "-ERR PREFIX option requires BCAST mode to be enabled|");
    says(&one, "CLIENT TRACKING ON BCAST OPTIN",
         "-ERR OPTIN and OPTOUT are not compatible with BCAST|");
    says(&one, "CLIENT TRACKING ON OPTIN OPTOUT",
         "-ERR You can't specify both OPTIN mode and OPTOUT mode|");
    says(&one, "CLIENT TRACKING ON REDIRECT 0",
         "-ERR The client ID you want redirect to does not exist|");
    says(&one, "CLIENT TRACKING ON REDIRECT x",
         "-ERR value is not an integer or out of range|");
    says(&one, "CLIENT TRACKING ON OPTIN", "+OK|");
    says(&one, "CLIENT TRACKING ON BCAST",
         "-ERR You can't switch BCAST mode on/off before disabling tracking "
         "for this client, and then re-enabling it with a different mode.|");
    says(&one, "CLIENT TRACKING ON OPTOUT",
         "-ERR You can't switch OPTIN/OPTOUT mode before disabling tracking "
         "for this client, and then re-enabling it with a different mode.|");
    says(&one, "CLIENT CACHING MAYBE", "-ERR syntax error|");
    says(&one, "CLIENT TRACKING OFF", "+OK|");
}
END_TEST

START_TEST(more_keys_than_the_limit_are_told_of_as_changed)
{
    cmd_track_limit(2);
    tracking(&one, "CLIENT TRACKING ON NOLOOP");
    (void)ask(&one, "MGET a b");
    hears(told_one, "");
    ck_assert_uint_eq(cmd_track_totals_get().keys, 2);
    (void)ask(&one, "GET c");
    hears(told_one, TOLD_A);
    ck_assert_uint_eq(cmd_track_totals_get().keys, 2);
    ck_assert_uint_eq(cmd_track_totals_get().items, 2);
    ck_assert(strstr(ask(&two, "INFO stats"),
                     "tracking_total_keys:2|tracking_total_items:2|"
                     "tracking_total_prefixes:0|") != NULL);
    ck_assert(strstr(ask(&two, "INFO clients"), "tracking_clients:1|") !=
              NULL);
    says(&two, "FLUSHALL", "+OK|");
    ck_assert_uint_eq(cmd_track_totals_get().keys, 0);
}
END_TEST

/* All memory goes with the last who tracks, and when it is tidied. */
START_TEST(nothing_is_left_of_tracking)
{
    const uint64_t before = kv_mem_bytes(KV_MEM_CLIENT);
    char line[64];

    for (unsigned round = 0; round < 3; round++) {
        tracking(&one, "CLIENT TRACKING ON");
        tracking(&two, "CLIENT TRACKING ON");
        for (unsigned i = 0; i < 1000; i++) {
            (void)snprintf(line, sizeof(line), "GET key:%u", i);
            (void)ask(&one, line);
            (void)ask(&two, line);
        }
        ck_assert_uint_eq(cmd_track_totals_get().items, 2000);
        if (round == 1) {
            says(&one, "FLUSHALL", "+OK|");
        }
        says(&one, "CLIENT TRACKING OFF", "+OK|");
        says(&two, "RESET", "+RESET|");
    }
    cmd_track_tidy();
    ck_assert_uint_eq(kv_mem_bytes(KV_MEM_CLIENT), before);
}
END_TEST

START_TEST(without_memory_a_client_does_not_keep_what_it_read)
{
    for (unsigned n = 1;; n++) {
        bool failed, kept;

        tracking(&one, "CLIENT TRACKING ON");
        ck_assert(kv_buf_reserve(&told_one, 1024)); /* not what fails here */
        kv_buf_reset(&told_one, told_one.cap);
        killed = NULL;
        fail_at = n;
        (void)run(&one, "GET a");
        failed = kv_mem_failed() != 0;
        kv_mem_fail_at(0, 0);
        kept = strcmp(answered(), "_|") == 0 && told_one.size == 0 &&
               killed == NULL;
        kv_buf_reset(&told_one, told_one.cap);
        kv_mem_fail_at(n, 0);
        cmd_track_begin(1);
        cmd_track_told(KV_OBSERVED_PUT, (kvsql_slice){.p = "a", .size = 1});
        cmd_track_end();
        failed |= kv_mem_failed() != 0;
        kv_mem_fail_at(0, 0);
        ck_assert(!kept || told_one.size > 0 || killed == &one);
        says(&one, "CLIENT TRACKING OFF", "+OK|");
        if (!failed) {
            return;
        }
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_client_is_told_once_of_a_key_that_it_read);
    tcase_add_test(tests, a_client_is_told_whatever_way_a_change_came);
    tcase_add_test(tests, a_batch_is_told_of_when_it_is_done);
    tcase_add_test(tests, a_client_is_told_of_keys_that_expire_or_are_evicted);
    tcase_add_test(tests, noloop_is_about_what_a_client_does_itself);
    tcase_add_test(tests,
                   what_a_transaction_reads_behind_its_change_is_tracked);
    tcase_add_test(tests,
                   optin_and_optout_choose_the_commands_that_are_tracked);
    tcase_add_test(tests, bcast_tells_of_every_key_with_a_prefix);
    tcase_add_test(tests, a_batch_that_is_too_long_to_list_is_all_keys);
    tcase_add_test(tests, another_client_can_be_told_instead);
    tcase_add_test(tests, a_client_hears_that_the_other_one_is_gone);
    tcase_add_test(tests, options_that_do_not_go_together_are_refused);
    tcase_add_test(tests, more_keys_than_the_limit_are_told_of_as_changed);
    tcase_add_test(tests, nothing_is_left_of_tracking);
    tcase_add_test(tests, without_memory_a_client_does_not_keep_what_it_read);
}

int main(void)
{
    return unit_run("track", add);
}

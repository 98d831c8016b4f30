/* test_admin.c - ACL, DEBUG, SHUTDOWN, WAITAOF, MEMORY, and what is refused
 * where Redis has replicas, modules, a cluster or scripts. */
#include "command/client.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/ask.h"
#include "tests/lib/unit.h"

static void setup_admin(void)
{
    const struct cmd_host none = {.port = 0};

    setup();
    cmd_host_set(&none);
    cmd_password_set(NULL);
}

static bool has(const char *line, const char *part)
{
    return strstr(ask(line), part) != NULL;
}

START_TEST(one_user_may_do_everything)
{
    ASK("ACL WHOAMI", "$7|default|");
    ASK("ACL LIST", "*1|$34|user default on nopass ~* &* +@all|");
    ck_assert(has("ACL GETUSER default", "*2|$2|on|$6|nopass|"));
    ASK("ACL GETUSER other", "$-1|");
    ck_assert(has("ACL SETUSER other on", "there is one user"));
    ASK("ACL DELUSER other", ":0|");
    ASK("ACL DELUSER default", "-ERR The 'default' user cannot be removed|");
}
END_TEST

START_TEST(a_password_is_told_by_no_command)
{
    cmd_password_set("hidden");
    ASK("ACL LIST", "*1|$27|user default on ~* &* +@all|");
    ck_assert(has("ACL GETUSER default", "*1|$2|on|$9|passwords|*0|"));
    cmd_password_set(NULL);
}
END_TEST

START_TEST(categories_list_commands)
{
    ck_assert_mem_eq(ask("ACL CAT"), "*21|$8|keyspace|", 16);
    ck_assert(has("ACL CAT hash", "$4|hget|"));
    ck_assert(!has("ACL CAT hash", "$3|get|"));
    ck_assert(has("ACL CAT slow", "$13|command|count|"));
    ASK("ACL CAT nosuch", "-ERR Unknown category 'nosuch'|");
}
END_TEST

START_TEST(passwords_are_made_by_chance)
{
    char first[128];

    ck_assert_uint_eq(strlen(ask("ACL GENPASS")), strlen("$64|") + 64 + 1);
    snprintf(first, sizeof first, "%s", ask("ACL GENPASS"));
    ck_assert_str_ne(first, ask("ACL GENPASS"));
    ck_assert_mem_eq(ask("ACL GENPASS 5"), "$2|", 3);
    ck_assert(has("ACL GENPASS 0", "a positive number up to 4096"));
}
END_TEST

/* ---- DEBUG, SHUTDOWN -------------------------------------------------------------- */

static unsigned stops, saves;

static kvsql_rc stop(void *arg, bool save, struct kvsql_error *why)
{
    stops++;
    saves += save;
    return arg != NULL ? KVSQL_OK : kv_fail(why, KVSQL_FULL, "no room");
}

START_TEST(debug_runs_when_the_file_allows_it)
{
    struct cmd_host host = {.debug = CMD_DEBUG_NO};

    ck_assert(has("DEBUG SLEEP 0", "-ERR DEBUG command not allowed."));
    host.debug = CMD_DEBUG_LOCAL;
    cmd_host_set(&host);
    ck_assert(has("DEBUG SLEEP 0", "-ERR DEBUG command not allowed."));
    host.debug = CMD_DEBUG_YES;
    cmd_host_set(&host);
    ASK("DEBUG SLEEP 0", "+OK|");
    ASK("DEBUG SLEEP x", "-ERR value is not a valid float|");
    ck_assert(has("DEBUG SLEEP -1", "-ERR a sleep is"));
    ck_assert(has("DEBUG SLEEP inf", "-ERR a sleep is"));
    ASK("DEBUG OBJECT a", "-ERR no such key|");
    ASK("SET a 1", "+OK|");
    ck_assert(has("DEBUG OBJECT a", "encoding:int"));
    ASK("DEBUG SET-ACTIVE-EXPIRE 1", "+OK|");
    ASK("DEBUG SEGFAULT",
        "-ERR unknown subcommand or wrong number of arguments for "
        "'SEGFAULT'. Try DEBUG HELP.|");
}
END_TEST

START_TEST(shutdown_asks_the_program_to_stop)
{
    struct cmd_host host = {.shutdown = stop, .shutdown_arg = &stops};

    ck_assert(has("SHUTDOWN", "-ERR this program does not stop"));
    cmd_host_set(&host);
    stops = saves = 0;
    ASK("SHUTDOWN SAVE NOSAVE", "-ERR syntax error|");
    ASK("SHUTDOWN ABORT NOW", "-ERR syntax error|");
    ASK("SHUTDOWN foo", "-ERR syntax error|");
    ASK("SHUTDOWN ABORT", "-ERR No shutdown in progress.|");
    ck_assert_uint_eq(stops, 0);
    ASK("SHUTDOWN NOSAVE NOW FORCE", "+OK|");
    ASK("SHUTDOWN SAVE", "+OK|");
    ck_assert_uint_eq(stops, 2);
    ck_assert_uint_eq(saves, 1);
    host.shutdown_arg = NULL;
    cmd_host_set(&host);
    ck_assert(has("SHUTDOWN SAVE", "no room"));
}
END_TEST

START_TEST(who_may_only_read_may_not_administer)
{
    struct kv_ticket ticket;

    split("CONFIG RESETSTAT");
    cmd_run(db, args_count, args, false, &reply, &ticket);
    ck_assert_str_eq(reply_text(),
                     "-NOPERM this user has no permissions to run the "
                     "'config|resetstat' command\r\n");
}
END_TEST

/* ---- replicas and the rest ---------------------------------------------------------- */

START_TEST(there_are_no_replicas)
{
    ASK("SET a 1", "+OK|");
    ASK("ROLE", "*3|$6|master|:1|*0|");
    ASK("REPLICAOF no one", "+OK|");
    ASK("SLAVEOF NO ONE", "+OK|");
    ASK("REPLICAOF a b", "-ERR Invalid master port|");
    ck_assert(has("REPLICAOF a 6379", "-ERR kvsql does not replicate"));
    ASK("FAILOVER", "-ERR FAILOVER requires connected replicas.|");
    ASK("FAILOVER TO a 1 FORCE TIMEOUT 5",
        "-ERR FAILOVER requires connected replicas.|");
    ASK("FAILOVER TIMEOUT 0", "-ERR FAILOVER timeout must be greater than 0|");
    ASK("FAILOVER ABORT", "-ERR No failover in progress.|");
    ck_assert(has("SYNC", "-ERR SYNC is not supported;"));
    ck_assert(has("PSYNC ? -1", "-ERR SYNC is not supported;"));
    ck_assert(has("REPLCONF rdb-only 1", "-ERR SYNC is not supported;"));
    ASK("WAIT 0 0", ":0|");
    ASK("WAIT 1 1", ":0|");
}
END_TEST

START_TEST(waitaof_needs_files)
{
    ck_assert(has("WAITAOF 1 0 0", "appendonly is disabled"));
    ASK("WAITAOF 0 0 0", "*2|:0|:0|");
    ck_assert(has("WAITAOF 2 0 0", "value must between 0 and 1"));
    ASK("WAITAOF 0 0 -1", "-ERR timeout is negative|");
    ASK("WAITAOF 0 0 x", "-ERR timeout is not an integer or out of range|");
}
END_TEST

START_TEST(what_is_not_there_says_so)
{
    ASK("SWAPDB 0 0", "+OK|");
    ASK("SWAPDB 0 1", "-ERR DB index is out of range|");
    ASK("MODULE LIST", "*0|");
    ASK("SCRIPT EXISTS a b", "*2|:0|:0|");
    ASK("SCRIPT FLUSH SYNC", "+OK|");
    ASK("FUNCTION FLUSH", "+OK|");
    ASK("CLUSTER INFO", "-ERR This instance has cluster support disabled|");
    ASK("READONLY", "-ERR This instance has cluster support disabled|");
    ck_assert(has("LOLWUT", "kvsql ver. "));
}
END_TEST

START_TEST(memory_tells_of_the_whole)
{
    ASK("SET a 1", "+OK|");
    ck_assert(has("MEMORY STATS", "$10|keys.count|:1|"));
    ck_assert(has("MEMORY DOCTOR", "next to nothing"));
    ck_assert(has("MEMORY MALLOC-STATS", "in use: "));
    ASK("MEMORY PURGE", "+OK|");
    ck_assert(has("MEMORY HELP", "+USAGE key [SAMPLES count]|"));
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup_admin, teardown);
    tcase_add_test(tests, one_user_may_do_everything);
    tcase_add_test(tests, a_password_is_told_by_no_command);
    tcase_add_test(tests, categories_list_commands);
    tcase_add_test(tests, passwords_are_made_by_chance);
    tcase_add_test(tests, debug_runs_when_the_file_allows_it);
    tcase_add_test(tests, shutdown_asks_the_program_to_stop);
    tcase_add_test(tests, who_may_only_read_may_not_administer);
    tcase_add_test(tests, there_are_no_replicas);
    tcase_add_test(tests, waitaof_needs_files);
    tcase_add_test(tests, what_is_not_there_says_so);
    tcase_add_test(tests, memory_tells_of_the_whole);
}

int main(void)
{
    return unit_run("admin", add_tests);
}

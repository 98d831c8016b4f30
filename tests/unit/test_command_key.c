/* test_command_key.c - keys of any type: DUMP, RESTORE, COPY, SORT. */
#include "tests/lib/ask.h"
#include "tests/lib/unit.h"

/* ---- values as bytes ---------------------------------------------------- */

static uint8_t dumped[4096];
static size_t dumped_size;

static void dump(const char *key)
{
    struct cmd_item item;
    size_t offset = 0;
    char line[64];

    snprintf(line, sizeof(line), "DUMP %s", key);
    (void)ask(line);
    ck_assert(cmd_reply_next(&reply, &offset, &item));
    ck_assert_int_eq(item.kind, CMD_REPLY_BULK);
    ck_assert_uint_le(item.size, sizeof(dumped));
    memcpy(dumped, item.p, item.size);
    dumped_size = item.size;
}

/* RESTORE key ttl <what was dumped> and up to two options. */
static const char *restore(const char *key, const char *ttl,
                           const char *option, const char *value)
{
    const char *const words[] = {"RESTORE", key, ttl, NULL, option, value};
    kvsql_slice argv[6];
    struct kv_ticket ticket;
    unsigned argc = 4;

    for (unsigned i = 0; i < 6; i++) {
        if (words[i] != NULL) {
            argv[i] = (kvsql_slice){words[i], strlen(words[i])};
            argc = i >= argc ? i + 1 : argc;
        }
    }
    argv[3] = (kvsql_slice){dumped, dumped_size};
    cmd_run(db, argc, argv, true, &reply, &ticket);
    return reply_text();
}

#define RESTORE(key, ttl, option, value, answer)                              \
    ck_assert_str_eq(restore(key, ttl, option, value), answer "\r\n")

/* Every type comes back under another key, with the same answer to `line`. */
static void dump_and_restore(const char *from, const char *format)
{
    static char before[4096];
    char line[64];

    snprintf(line, sizeof(line), format, from);
    snprintf(before, sizeof(before), "%s", ask(line));
    dump(from);
    RESTORE("there", "0", "REPLACE", NULL, "+OK");
    snprintf(line, sizeof(line), format, "there");
    ck_assert_str_eq(ask(line), before);
}

START_TEST(a_value_of_any_type_is_dumped_and_restored)
{
    ASK("MSET s \"a\\xff\\r\" n 123 e ''", "+OK|");
    ASK("HSET h a 1 \"\\xfe\" \"\\xff\" c ''", ":3|");
    ASK("HPEXPIRE h 5000 FIELDS 1 a", "*1|:1|");
    ASK("RPUSH l x '' x 5", ":4|");
    ASK("SADD t a 5 \"\\xff\" ''", ":4|");
    ASK("ZADD z 1.5 a -inf b -0.0 c inf d", ":4|");
    dump_and_restore("s", "GET %s");
    dump_and_restore("n", "GET %s");
    dump_and_restore("e", "GET %s");
    dump_and_restore("h", "HGETALL %s");
    ASK("HPTTL there FIELDS 2 a c", "*2|:5000|:-1|");
    dump_and_restore("l", "LRANGE %s 0 -1");
    dump_and_restore("t", "SMEMBERS %s");
    dump_and_restore("z", "ZRANGE %s 0 -1 WITHSCORES");
    ASK("DUMP nosuch", "$-1|");
}
END_TEST

START_TEST(the_bytes_of_a_dump_do_not_change)
{
    /* "KVD" 1, type, op SET: empty key, "hello", no time; CRC32C. */
    static const uint8_t bytes[] = {
        'K', 'V', 'D', 1, 1, 2, 0, 5, 'h',  'e',  'l',  'l', 'o',
        0,   0,   0,   0, 0, 0, 0, 0, 0xc3, 0x63, 0x0b, 0x5d};

    ASK("SET s hello", "+OK|");
    dump("s");
    ck_assert_uint_eq(dumped_size, sizeof(bytes));
    ck_assert_mem_eq(dumped, bytes, sizeof(bytes));
}
END_TEST

START_TEST(a_restored_key_gets_its_time)
{
    ASK("SET s x EX 100", "+OK|");
    dump("s");
    RESTORE("s", "0", NULL, NULL, "-BUSYKEY Target key name already exists.");
    RESTORE("s", "0", "REPLACE", NULL, "+OK");
    ASK("TTL s", ":-1|");
    RESTORE("a", "5000", NULL, NULL, "+OK");
    ASK("PTTL a", ":5000|");
    RESTORE("a", "1", "REPLACE", "ABSTTL", "+OK");
    ASK("EXISTS a", ":0|");
    RESTORE("a", "-1", NULL, NULL, "-ERR Invalid TTL value, must be >= 0");
    RESTORE("a", "x", NULL, NULL,
            "-ERR value is not an integer or out of range");
    RESTORE("a", "0", "FOO", NULL, "-ERR syntax error");
    RESTORE("a", "0", "IDLETIME", "-1",
            "-ERR Invalid IDLETIME value, must be >= 0");
    RESTORE("a", "0", "FREQ", "256",
            "-ERR Invalid FREQ value, must be >= 0 and <= 255");
    RESTORE("a", "0", "FREQ", "5", "+OK");
}
END_TEST

START_TEST(bytes_that_are_no_dump_are_refused)
{
    static const char answer[] =
        "-ERR DUMP payload version or checksum are wrong\r\n";

    ASK("RESTORE a 0 \"\\x00\\x03foo\\x0a\\x00\\x12\\x34\\x56\\x78\\x12\\x34"
        "\\x56\\x78\"",
        "-ERR DUMP payload version or checksum are wrong|");
    ASK("RESTORE a 0 ''", "-ERR DUMP payload version or checksum are wrong|");
    ASK("HSET h a 1 b 2", ":2|");
    dump("h");
    for (size_t i = 0; i < dumped_size; i++) {
        dumped[i] ^= 0x10;
        ck_assert_str_eq(restore("a", "0", NULL, NULL), answer);
        dumped[i] ^= 0x10;
    }
    for (; dumped_size > 0; dumped_size--) {
        dumped[dumped_size - 1] ^= 1;
        ck_assert_str_eq(restore("a", "0", NULL, NULL), answer);
        dumped[dumped_size - 1] ^= 1;
    }
    ASK("EXISTS a", ":0|");
}
END_TEST

/* A payload of our own making: head, bytes, the right checksum. */
static void forge(enum kv_type type, const void *ops, size_t size)
{
    static const uint8_t head[] = {'K', 'V', 'D', 1};
    uint32_t crc = UINT32_MAX;

    memcpy(dumped, head, 4);
    dumped[4] = (uint8_t)type;
    memcpy(dumped + 5, ops, size);
    dumped_size = size + 9;
    for (size_t i = 0; i < size + 5; i++) { /* RFC 3720, bit by bit */
        crc ^= dumped[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
        }
    }
    crc = ~crc;
    memcpy(dumped + size + 5, &crc, 4);
}

START_TEST(a_forged_dump_with_a_good_checksum_is_checked_too)
{
    static const char sadd[] = "\x11\0\1a";
    static const char del[] = "\1\0";
    static const char named[] = "\x11\1k\1a";
    static const char nan[] = "\x0a\0\1a\0\0\0\0\0\0\xf8\x7f";
    static const char left[] = "\x0c\0\0\1a";

    forge(KV_SET, sadd, sizeof(sadd) - 1);
    RESTORE("t", "0", NULL, NULL, "+OK");
    ASK("SMEMBERS t", "*1|$1|a|");
#define REFUSED(type, ops)                                                    \
    forge(type, ops, sizeof(ops) - 1);                                        \
    RESTORE("a", "0", NULL, NULL,                                             \
            "-ERR DUMP payload version or checksum are wrong")
    REFUSED(KV_ZSET, sadd);
    REFUSED(KV_STREAM, sadd);
    REFUSED(KV_NONE, del);
    REFUSED(KV_SET, del);
    REFUSED(KV_SET, named);
    REFUSED(KV_ZSET, nan);
    REFUSED(KV_LIST, left);
    REFUSED(KV_SET, "");
    ASK("EXISTS a", ":0|");
}
END_TEST

START_TEST(a_restore_without_memory_changes_nothing)
{
    ASK("RPUSH l a b c", ":3|");
    ASK("SET a old", "+OK|");
    dump("l");
    for (unsigned n = 1;; n++) {
        bool failed;

        ck_assert_uint_lt(n, 1000);
        kv_mem_fail_at(n, 0);
        (void)restore("a", "0", "REPLACE", NULL);
        failed = kv_mem_failed() != 0;
        kv_mem_fail_at(0, 0);
        if (reply.rc == KVSQL_OK) {
            break;
        }
        ck_assert(failed && reply.rc == KVSQL_NOMEM);
        ASK("GET a", "$3|old|");
    }
    ASK("LRANGE a 0 -1", "*3|$1|a|$1|b|$1|c|");
}
END_TEST

/* ---- copies ------------------------------------------------------------- */

START_TEST(a_copy_has_the_times_of_key_and_fields)
{
    ASK("HSET h a 1 b 2", ":2|");
    ASK("HEXPIRE h 50 FIELDS 1 a", "*1|:1|");
    ASK("EXPIRE h 100", ":1|");
    ASK("COPY h g", ":1|");
    ASK("TTL g", ":100|");
    ASK("HTTL g FIELDS 2 a b", "*2|:50|:-1|");
    ASK("SET s 1 EX 7", "+OK|");
    ASK("COPY s g", ":0|");
    ASK("COPY s g REPLACE", ":1|");
    ASK("GET g", "$1|1|");
    ASK("TTL g", ":7|");
    ASK("COPY nosuch g REPLACE", ":0|");
    ASK("COPY s g DB 1", "-ERR DB index is out of range|");
    ASK("COPY s g DB 0 REPLACE", ":1|");
    fail_each_allocation("COPY h x", "EXISTS x", ":0|");
}
END_TEST

START_TEST(a_member_longer_than_a_key_is_copied)
{
    static char line[80000];
    const int size = snprintf(line, sizeof(line), "SADD t ");

    memset(line + size, 'm', 70000);
    line[size + 70000] = '\0';
    ASK(line, ":1|");
    ASK("COPY t u", ":1|");
    ck_assert_mem_eq(ask("SMEMBERS u"), "*1|$70000|mmm", 13);
}
END_TEST

/* ---- SORT --------------------------------------------------------------- */

START_TEST(elements_are_sorted_as_numbers_or_bytes)
{
    ASK("RPUSH l 10 9 -1 2.5 9", ":5|");
    ASK("SORT l", "*5|$2|-1|$3|2.5|$1|9|$1|9|$2|10|");
    ASK("SORT l DESC LIMIT 1 2", "*2|$1|9|$1|9|");
    ASK("SORT l ALPHA", "*5|$2|-1|$2|10|$3|2.5|$1|9|$1|9|");
    ASK("SORT_RO l LIMIT -5 1", "*1|$2|-1|");
    ASK("SORT l LIMIT 9 9", "*0|");
    ASK("RPUSH l x", ":6|");
    ASK("SORT l", "-ERR One or more scores can't be converted into double|");
    ASK("SORT nosuch", "*0|");
    ASK("SET s 1", "+OK|");
    ASK("SORT s",
        "-WRONGTYPE Operation against a key holding the wrong kind of value|");
    ASK("SORT l LIMIT 1", "-ERR syntax error|");
    ASK("SORT_RO l STORE d", "-ERR syntax error|");
    ASK("SORT l BY", "-ERR syntax error|");
}
END_TEST

START_TEST(other_keys_give_weights_and_answers)
{
    ASK("SADD t 1 2 3", ":3|");
    ASK("MSET w:1 30 w:2 20 w:3 10 n:1 one n:3 three", "+OK|");
    ASK("HSET o:1 w 5 n x", ":2|");
    ASK("HSET o:2 w 1", ":1|");
    ASK("SORT t BY w:*", "*3|$1|3|$1|2|$1|1|");
    ASK("SORT t BY o:*->w GET # GET n:* GET o:*->n",
        "*9|$1|3|$5|three|$-1|$1|2|$-1|$-1|$1|1|$3|one|$1|x|");
    ASK("SORT t BY n:* ALPHA DESC", "*3|$1|3|$1|1|$1|2|");
    ASK("SORT t BY n:*", "-ERR One or more scores can't be converted into "
        "double|");
    ASK("SORT t GET w:*-> GET plain", "*6|$-1|$-1|$-1|$-1|$-1|$-1|");
    ASK("SORT t BY w:* LIMIT 0 1 GET n:*", "*1|$5|three|");
}
END_TEST

START_TEST(an_order_is_kept_or_stored)
{
    ASK("RPUSH l 3 1 2", ":3|");
    ASK("ZADD z 3 a 1 b 2 c", ":3|");
    ASK("SORT l BY nosort DESC", "*3|$1|2|$1|1|$1|3|");
    ASK("SORT z BY nosort LIMIT 1 5", "*2|$1|c|$1|a|");
    ASK("SORT z BY nosort DESC LIMIT 0 2", "*2|$1|a|$1|c|");
    ASK("SORT l STORE l", ":3|");
    ASK("LRANGE l 0 -1", "*3|$1|1|$1|2|$1|3|");
    ASK("SORT l GET w:* STORE d", ":3|");
    ASK("LRANGE d 0 -1", "*3|$0||$0||$0||");
    ASK("SORT nosuch STORE d", ":0|");
    ASK("EXISTS d", ":0|");
    ASK("SADD t b a \"\\xff\"", ":3|");
    ASK("SORT t BY nosort STORE d", ":3|");
    ck_assert_mem_eq(ask("LRANGE d 0 -1"), "*3|$1|a|$1|b|$1|", 16);
    fail_each_allocation("SORT l BY w:* ALPHA GET w:* STORE e", "EXISTS e",
                         ":0|");
}
END_TEST

START_TEST(many_elements_are_sorted_on_a_view)
{
    char line[64];

    for (unsigned i = 0; i < 3 * CMD_LIVE_MAX; i++) {
        snprintf(line, sizeof(line), "RPUSH l %u", (i * 7919) % 100000);
        (void)ask(line);
    }
    ASK("SORT l LIMIT 0 2", "*2|$1|0|$2|17|");
    ASK("SORT l DESC LIMIT 0 1 STORE d", ":1|");
    ck_assert_mem_eq(ask("SORT_RO l BY *"), "*3072|", 6);
    ck_assert_mem_eq(ask("DUMP l"), "$", 1);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_value_of_any_type_is_dumped_and_restored);
    tcase_add_test(tests, the_bytes_of_a_dump_do_not_change);
    tcase_add_test(tests, a_restored_key_gets_its_time);
    tcase_add_test(tests, bytes_that_are_no_dump_are_refused);
    tcase_add_test(tests, a_forged_dump_with_a_good_checksum_is_checked_too);
    tcase_add_test(tests, a_restore_without_memory_changes_nothing);
    tcase_add_test(tests, a_copy_has_the_times_of_key_and_fields);
    tcase_add_test(tests, a_member_longer_than_a_key_is_copied);
    tcase_add_test(tests, elements_are_sorted_as_numbers_or_bytes);
    tcase_add_test(tests, other_keys_give_weights_and_answers);
    tcase_add_test(tests, an_order_is_kept_or_stored);
    tcase_add_test(tests, many_elements_are_sorted_on_a_view);
}

int main(void)
{
    return unit_run("command_key", add_tests);
}

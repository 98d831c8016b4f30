/* test_command_scan.c - cursors: what is there during a whole scan is returned,
 * over changes, lost names and restarts.
 *
 * The first half holds paths against a plain array of names, at random; the
 * second half scans a store. */
#include "tests/lib/ask.h"
#include "tests/lib/rand.h"
#include "tests/lib/unit.h"

/* ---- paths against an array --------------------------------------------- */

#define NAMES_MAX 64
#define NAME_BYTES 160

struct name {
    uint8_t p[NAME_BYTES];
    size_t size;
};
struct names {
    struct name name[NAMES_MAX];
    unsigned count;
};

static struct kv_key name_key(const struct name *name)
{
    return kv_key_of(name->p, name->size);
}

static int name_order(const void *a, const void *b)
{
    const struct kv_key x = name_key(a), y = name_key(b);

    return kv_key_compare(&x, &y);
}

static bool name_begins(const struct name *name, const struct name *prefix)
{
    return name->size >= prefix->size &&
           memcmp(name->p, prefix->p, prefix->size) == 0;
}

static bool array_seek(void *arg, const struct kv_key *key,
                       struct kv_key *found)
{
    const struct names *all = arg;

    for (unsigned i = 0; i < all->count; i++) {
        *found = name_key(&all->name[i]);
        if (kv_key_compare(found, key) >= 0) {
            return true;
        }
    }
    return false;
}

static bool array_seek_back(void *arg, const struct kv_key *key,
                            struct kv_key *found)
{
    const struct names *all = arg;

    for (unsigned i = all->count; i > 0; i--) {
        *found = name_key(&all->name[i - 1]);
        if (key == NULL || kv_key_compare(found, key) < 0) {
            return true;
        }
    }
    return false;
}

static struct cmd_names array_names(struct names *all,
                                    const struct name *prefix)
{
    return (struct cmd_names){.arg = all,
                              .seek = array_seek,
                              .seek_back = array_seek_back,
                              .prefix = prefix->p,
                              .prefix_size = prefix->size};
}

static void name_add(struct name *name, const char *p, size_t size)
{
    memcpy(name->p + name->size, p, size);
    name->size += size;
}

/* A few words, then a few letters: much in common, and all kinds of bytes. */
static void name_make(struct rand_state *rng, struct name *name)
{
    static const char *const words[] = {"user:", "app:prod:", "a", "\xff",
                                        "Key "};
    static const char *const letters[] = {"0123456789", "abz", "\x01\xff\x80",
                                          "0f:Z"};
    const char *set = letters[rand_below(rng, 4)];

    name->size = 0;
    if (rand_below(rng, 3) == 0) {
        for (unsigned i = 0; i < 100; i++) {
            name_add(name, "p", 1);
        }
    }
    for (uint64_t i = rand_below(rng, 3); i > 0; i--) {
        const char *word = words[rand_below(rng, 5)];

        name_add(name, word, strlen(word));
    }
    for (uint64_t i = rand_below(rng, 7); i > 0; i--) {
        name_add(name, &set[rand_below(rng, strlen(set))], 1);
    }
}

static void names_sort(struct names *all)
{
    unsigned count = 0;

    qsort(all->name, all->count, sizeof(all->name[0]), name_order);
    for (unsigned i = 0; i < all->count; i++) {
        if (count == 0 ||
            name_order(&all->name[count - 1], &all->name[i]) != 0) {
            all->name[count++] = all->name[i];
        }
    }
    all->count = count;
}

static void names_add_some(struct rand_state *rng, struct names *all, unsigned max)
{
    for (uint64_t i = rand_below(rng, max); i > 0 && all->count < NAMES_MAX;
         i--) {
        name_make(rng, &all->name[all->count++]);
    }
    names_sort(all);
}

/* A place in the names of the range: its two neighbours. */
static bool names_pick(struct rand_state *rng, const struct names *all,
                       const struct name *prefix, struct kv_key *last,
                       struct kv_key *next)
{
    unsigned in[NAMES_MAX], count = 0, i;

    for (i = 0; i < all->count; i++) {
        if (name_begins(&all->name[i], prefix)) {
            in[count++] = i;
        }
    }
    if (count < 2) {
        return false;
    }
    i = (unsigned)rand_below(rng, count - 1);
    *last = name_key(&all->name[in[i]]);
    *next = name_key(&all->name[in[i + 1]]);
    return true;
}

/* True when a scan that goes on at the place comes to `key`. */
static bool place_reaches(const struct cmd_place *place,
                          const struct kv_key *key)
{
    const struct kv_key from = {
        .p = out.size > 0 ? out.p : (const uint8_t *)"",
        .size = (uint32_t)out.size,
        .cls = place->cls};
    const int order = kv_key_compare(key, &from);

    return place->behind ? order > 0 : order >= 0;
}

static void find(struct names *all, const struct name *prefix, uint64_t cursor,
                 struct cmd_place *place)
{
    const struct cmd_names names = array_names(all, prefix);

    kv_buf_reset(&out, out.cap);
    cmd_cursor_find(&names, cursor, &out, place);
    ck_assert(!out.failed);
}

/* Names go and come, and the pattern may become longer or shorter. */
static void change(struct rand_state *rng, const struct names *all,
                   struct names *later, struct name *prefix)
{
    later->count = 0;
    for (unsigned i = 0; i < all->count; i++) {
        if (rand_below(rng, 10) < 6) {
            later->name[later->count++] = all->name[i];
        }
    }
    names_add_some(rng, later, 12);
    if (prefix->size > 0 && rand_below(rng, 4) == 0) {
        prefix->size = rand_below(rng, prefix->size);
    } else if (rand_below(rng, 4) == 0 && all->count > 0) {
        const struct name *one = &all->name[rand_below(rng, all->count)];

        if (name_begins(one, prefix) && one->size > prefix->size) {
            *prefix = *one;
            prefix->size--;
        }
    }
}

static void prefix_make(struct rand_state *rng, const struct names *all,
                        struct name *prefix)
{
    prefix->size = 0;
    if (all->count > 0 && rand_below(rng, 2) == 0) {
        *prefix = all->name[rand_below(rng, all->count)];
        prefix->size = rand_below(rng, prefix->size + 1);
    }
}

START_TEST(a_cursor_never_skips_what_stays)
{
    static struct names all, later;
    struct rand_state rng;
    unsigned exact = 0, tried = 0;

    rng = rand_of(rand_seed("cursor_skips", 20261126));
    for (unsigned round = 0; round < 30000; round++) {
        struct name prefix, prefix_later;
        struct kv_key last, next;
        struct cmd_place place;
        uint64_t cursor;

        all.count = 0;
        names_add_some(&rng, &all, 40);
        prefix_make(&rng, &all, &prefix);
        if (!names_pick(&rng, &all, &prefix, &last, &next)) {
            continue;
        }
        const struct cmd_names names = array_names(&all, &prefix);

        ck_assert_int_eq(cmd_cursor_make(&names, &last, &next, &cursor),
                         KVSQL_OK);
        ck_assert(cursor != 0 && cursor < UINT64_C(1) << 53);
        find(&all, &prefix, cursor, &place);
        ck_assert(place_reaches(&place, &next));
        ck_assert(!place_reaches(&place, &last));
        cmd_cursor_clear();
        find(&all, &prefix, cursor, &place);
        ck_assert(place_reaches(&place, &next));
        exact += !place_reaches(&place, &last);
        tried++;
        prefix_later = prefix;
        change(&rng, &all, &later, &prefix_later);
        find(&later, &prefix_later, cursor, &place);
        for (unsigned i = 0; i < later.count; i++) {
            const struct name *one = &later.name[i];
            const struct kv_key key = name_key(one);

            if (name_begins(one, &prefix) && name_begins(one, &prefix_later) &&
                kv_key_compare(&key, &next) >= 0 &&
                bsearch(one, all.name, all.count, sizeof(*one), name_order)) {
                ck_assert_msg(place_reaches(&place, &key), "round %u", round);
            }
        }
    }
    /* And mostly, when nothing has changed, it is exact without the name, for
     * names as odd as these. */
    ck_assert_uint_gt(tried, 5000);
    ck_assert_uint_gt(exact, tried / 4 * 3);
}
END_TEST

START_TEST(a_number_that_we_never_gave_leads_somewhere)
{
    static struct names all;
    struct rand_state rng;

    rng = rand_of(7);
    names_add_some(&rng, &all, 40);
    for (unsigned i = 0; i < 20000; i++) {
        const struct name prefix = {.size = 0};
        struct cmd_place place;

        find(&all, &prefix, rand_next(&rng) >> rand_below(&rng, 64), &place);
        ck_assert(place.cls == KV_TEXT || place.cls == KV_BLOB);
    }
    ASK("SCAN 5", "*2|$1|0|*0|");
    ASK("SCAN 18446744073709551615", "*2|$1|0|*0|");
    ASK("SCAN 18446744073709551616", "-ERR invalid cursor|");
    ASK("SCAN x", "-ERR invalid cursor|");
}
END_TEST

/* ---- scans of a store --------------------------------------------------- */

#define A101                                                                  \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"                      \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define P100                                                                  \
    "pppppppppppppppppppppppppppppppppppppppppppppppppp"                      \
    "pppppppppppppppppppppppppppppppppppppppppppppppppp"

static void fill_keys(const char *format, unsigned count)
{
    char line[400];

    for (unsigned i = 0; i < count; i++) {
        snprintf(line, sizeof(line), format, i);
        ASK(line, "+OK|");
    }
}

/* One slice. The cursor it gives; each name that `format` reads a number out
 * of counts in `seen`. */
static unsigned long long scan_step(const char *line, const char *format,
                                    unsigned *seen)
{
    struct cmd_item item;
    unsigned long long cursor = 0;
    size_t offset = 0;
    char text[256];

    (void)ask(line);
    ck_assert(cmd_reply_next(&reply, &offset, &item));
    ck_assert(cmd_reply_next(&reply, &offset, &item));
    snprintf(text, sizeof(text), "%.*s", (int)item.size, (const char *)item.p);
    ck_assert_int_eq(sscanf(text, "%llu", &cursor), 1);
    ck_assert(cmd_reply_next(&reply, &offset, &item));
    while (cmd_reply_next(&reply, &offset, &item)) {
        unsigned number;

        snprintf(text, sizeof(text), "%.*s", (int)item.size,
                 (const char *)item.p);
        if (sscanf(text, format, &number) == 1) {
            seen[number]++;
        }
    }
    return cursor;
}

START_TEST(a_scan_misses_nothing_when_keys_come_and_go)
{
    static unsigned seen[1000];
    unsigned long long cursor = 0;
    unsigned steps = 0;
    char line[100];

    memset(seen, 0, sizeof(seen));
    fill_keys("SET key:with:a:long:name:%03u x", 1000);
    do {
        snprintf(line, sizeof(line), "SCAN %llu COUNT 50", cursor);
        cursor = scan_step(line, "key:with:a:long:name:%u", seen);
        /* What lies before the cursor goes; a rank would skip now. */
        snprintf(line, sizeof(line), "DEL key:with:a:long:name:%03u",
                 steps * 50);
        (void)ask(line);
        steps++;
    } while (cursor != 0);
    for (unsigned i = 0; i < 1000; i++) {
        ck_assert_uint_eq(seen[i], 1);
    }
    ck_assert_uint_eq(steps, 20);
}
END_TEST

/* Scan 2,000 names with the command `scan` (all but the cursor); names are lost
 * after every `lose` slices. The count of slices. */
static unsigned scan_all(const char *scan, const char *format, unsigned lose,
                         unsigned *seen)
{
    unsigned long long cursor = 0;
    unsigned steps = 0;
    char line[400];

    memset(seen, 0, 2000 * sizeof(*seen));
    do {
        snprintf(line, sizeof(line), scan, cursor);
        cursor = scan_step(line, format, seen);
        if (++steps % lose == 0) {
            cmd_cursor_clear();
        }
        ck_assert_uint_lt(steps, 2000);
    } while (cursor != 0);
    for (unsigned i = 0; i < 2000; i++) {
        ck_assert_uint_ge(seen[i], 1);
    }
    return steps;
}

START_TEST(a_scan_goes_on_when_names_are_lost)
{
    static unsigned seen[2000];

    fill_keys("SET " P100 ":%06u x", 2000);
    ck_assert_uint_eq(
        scan_all("SCAN %llu COUNT 20", P100 ":%u", 1, seen), 100);
    for (unsigned i = 0; i < 2000; i++) {
        ck_assert_uint_eq(seen[i], 1);
    }
    ck_assert_uint_eq(scan_all("SCAN %llu COUNT 20 MATCH ppp*", P100 ":%u", 1,
                               seen),
                      100);
}
END_TEST

START_TEST(a_scan_ends_even_when_each_name_is_lost)
{
    static unsigned seen[2000];
    char line[400];

    /* Too much to say in a few bits: branches on the way, then odd bytes. */
    ASK("MSET p x " P100 "A:1 x " P100 "B:1 x", "+OK|");
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(line, sizeof(line), "SET " P100 "AAA~~~%04u x", i);
        ASK(line, "+OK|");
    }
    (void)scan_all("SCAN %llu COUNT 7", P100 "AAA~~~%u", 1, seen);
    ck_assert_uint_gt(
        scan_all("SCAN %llu COUNT 7", P100 "AAA~~~%u", 1000, seen), 280);
}
END_TEST

START_TEST(keys_come_and_go_and_the_server_restarts)
{
    static unsigned seen[2000];
    unsigned long long cursor = 0;
    unsigned steps = 0, total = 0;
    char line[400];

    memset(seen, 0, sizeof(seen));
    fill_keys("SET " P100 ":%06u x", 2000);
    do {
        snprintf(line, sizeof(line), "SCAN %llu COUNT 10", cursor);
        cursor = scan_step(line, P100 ":%u", seen);
        for (unsigned i = 0; i < 10; i++) { /* odd ones go, others come */
            const unsigned n = (steps * 10 + i) % 2000;

            snprintf(line, sizeof(line), "DEL " P100 ":%06u", n | 1);
            (void)ask(line);
            snprintf(line, sizeof(line), "SET " P100 ":%06u:new x", n);
            (void)ask(line);
        }
        /* What comes before all of them must not mislead a jump: neither
         * short, nor, but for one in 16, long. */
        (void)ask(steps % 2 ? "DEL a " A101 "b" : "MSET a x " A101 "b x");
        if (steps % 7 == 0) {
            cmd_cursor_clear();
        }
        ck_assert_uint_lt(++steps, 2000);
    } while (cursor != 0);
    for (unsigned i = 0; i < 2000; i += 2) {
        ck_assert_uint_ge(seen[i], 1);
    }
    for (unsigned i = 0; i < 2000; i++) {
        total += seen[i];
    }
    ck_assert_uint_lt(total, 6000);
}
END_TEST

START_TEST(fields_and_members_are_scanned_over_a_restart_too)
{
    static unsigned seen[2000];
    char line[400];

    for (unsigned i = 0; i < 2000; i++) {
        snprintf(line, sizeof(line), "HSET h " P100 "/%04u v", i);
        ASK(line, ":1|");
        snprintf(line, sizeof(line), "SADD t " P100 "/%04u", i);
        ASK(line, ":1|");
        snprintf(line, sizeof(line), "ZADD z 1 " P100 "/%04u", i);
        ASK(line, ":1|");
    }
    ck_assert_uint_eq(
        scan_all("HSCAN h %llu COUNT 50", P100 "/%u", 1, seen), 40);
    ck_assert_uint_eq(
        scan_all("SSCAN t %llu COUNT 50", P100 "/%u", 1, seen), 40);
    ck_assert_uint_eq(
        scan_all("ZSCAN z %llu COUNT 50", P100 "/%u", 3, seen), 40);
}
END_TEST

START_TEST(a_pattern_may_come_in_the_middle_of_a_scan)
{
    static unsigned seen[50];
    unsigned long long cursor;
    char line[100];

    memset(seen, 0, sizeof(seen));
    fill_keys("SET a%u x", 50);
    fill_keys("SET zzz%u x", 50);
    cursor = scan_step("SCAN 0 COUNT 10", "zzz%u", seen);
    snprintf(line, sizeof(line), "SCAN %llu MATCH zzz* COUNT 100", cursor);
    ck_assert_uint_eq(scan_step(line, "zzz%u", seen), 0);
    for (unsigned i = 0; i < 50; i++) {
        ck_assert_uint_eq(seen[i], 1);
    }
}
END_TEST

START_TEST(a_pattern_in_a_collection_costs_what_it_returns)
{
    char line[100];

    for (unsigned i = 0; i < 500; i++) {
        snprintf(line, sizeof(line), "SADD t a%u c%u", i, i);
        ASK(line, ":2|");
    }
    ASK("SADD t b:1 b:2 \"b:\\xff\" \"\\xff\"", ":4|");
    /* One slice of four names, of both classes, from the first of a thousand
     * on. */
    ck_assert_mem_eq(ask("SSCAN t 0 MATCH b:* COUNT 4"),
                     "*2|$1|0|*3|$3|b:1|$3|b:2|$3|b:", 30);
    ck_assert_mem_ne(ask("SSCAN t 0 MATCH *:1 COUNT 4"), "*2|$1|0|", 8);
    ASK("SSCAN t 0 MATCH bb* COUNT 1", "*2|$1|0|*0|");
}
END_TEST

START_TEST(a_scan_lists_the_type_behind_each_key_when_asked)
{
    ASK("SET a 1", "+OK|");
    ASK("HSET b f v", ":1|");
    ASK("ZADD c 1 m", ":1|");
    ASK("SCAN 0 WITHTYPE",
        "*2|$1|0|*6|$1|a|$6|string|$1|b|$4|hash|$1|c|$4|zset|");
    ASK("SCAN 0 TYPE hash withtype MATCH *", "*2|$1|0|*2|$1|b|$4|hash|");
    ASK("HSCAN b 0 WITHTYPE", "-ERR syntax error|");
}
END_TEST

START_TEST(the_oldest_names_make_room_and_nothing_is_missed)
{
    static unsigned seen[50];
    unsigned long long cursor, other;
    char line[300];

    memset(seen, 0, sizeof(seen));
    fill_keys("SET " P100 "%02u x", 50);
    cursor = scan_step("SCAN 0 COUNT 10", P100 "%u", seen);
    ck_assert_uint_ge(cursor, 1ull << 52); /* of the kind that is kept */
    for (unsigned i = 0; i < 5000; i++) {
        other = scan_step("SCAN 0 COUNT 20", "nothing%u", seen);
        ck_assert_uint_ne(other, cursor);
    }
    snprintf(line, sizeof(line), "SCAN %llu COUNT 100", cursor);
    ck_assert_uint_eq(scan_step(line, P100 "%u", seen), 0);
    for (unsigned i = 0; i < 50; i++) {
        ck_assert_uint_eq(seen[i], 1);
    }
}
END_TEST

START_TEST(a_scan_without_memory_says_so)
{
    fill_keys("SET " P100 "%02u x", 50);
    fail_each_allocation("SCAN 0 COUNT 10", "DBSIZE", ":50|");
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_cursor_never_skips_what_stays);
    tcase_add_test(tests, a_number_that_we_never_gave_leads_somewhere);
    tcase_add_test(tests, a_scan_misses_nothing_when_keys_come_and_go);
    tcase_add_test(tests, a_scan_goes_on_when_names_are_lost);
    tcase_add_test(tests, a_scan_ends_even_when_each_name_is_lost);
    tcase_add_test(tests, keys_come_and_go_and_the_server_restarts);
    tcase_add_test(tests, fields_and_members_are_scanned_over_a_restart_too);
    tcase_add_test(tests, a_pattern_may_come_in_the_middle_of_a_scan);
    tcase_add_test(tests, a_pattern_in_a_collection_costs_what_it_returns);
    tcase_add_test(tests, a_scan_lists_the_type_behind_each_key_when_asked);
    tcase_add_test(tests, the_oldest_names_make_room_and_nothing_is_missed);
    tcase_add_test(tests, a_scan_without_memory_says_so);
}

int main(void)
{
    return unit_run("command_scan", add_tests);
}

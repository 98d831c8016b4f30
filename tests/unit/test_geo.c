/* test_geo.c - places: their scores, distances, and searches. */
#include <check.h>
#include <math.h>

#include "command/geo.h"
#include "tests/lib/ask.h"
#include "tests/lib/rand.h"
#include "tests/lib/unit.h"

#define SICILY                                                                \
    "GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania"

/* ---- commands ----------------------------------------------------------- */

START_TEST(places_have_the_scores_and_letters_of_redis)
{
    ASK(SICILY, ":2|");
    ASK("ZRANGE s 0 -1 WITHSCORES",
        "*4|$7|Palermo|$16|3479099956230698|$7|Catania|"
        "$16|3479447370796909|");
    ASK("GEOPOS s Palermo nosuch",
        "*2|*2|$20|13.36138933897018433|$20|38.11555639549629859|*-1|");
    ASK("GEOHASH s Palermo Catania nosuch",
        "*3|$11|sqc8b49rny0|$11|sqdtr74hyu0|$-1|");
    ASK("GEOPOS nosuch a", "*1|*-1|");
    ASK("GEOPOS s", "*0|");
}
END_TEST

START_TEST(distances_have_four_decimals_and_units)
{
    ASK(SICILY, ":2|");
    ASK("GEODIST s Palermo Catania", "$11|166274.1516|");
    ASK("GEODIST s Palermo Catania km", "$8|166.2742|");
    ASK("GEODIST s Palermo Catania mi", "$8|103.3182|");
    ASK("GEODIST s Palermo Palermo FT", "$6|0.0000|");
    ASK("GEODIST s Palermo nosuch", "$-1|");
    ASK("GEODIST nosuch a b", "$-1|");
    ASK("GEODIST s a b yard",
        "-ERR unsupported unit provided. please use M, KM, FT, MI|");
    ASK("GEODIST s a b m x", "-ERR syntax error|");
}
END_TEST

START_TEST(adding_minds_its_options)
{
    ASK("GEOADD s XX 1 1 a", ":0|");
    ASK("EXISTS s", ":0|");
    ASK("GEOADD s 1 1 a 2 2 b", ":2|");
    ASK("GEOADD s NX CH 3 3 a 3 3 c", ":1|");
    ASK("GEOADD s CH 3 3 a 3 3 c 4 4 d", ":2|");
    ASK("GEOADD s XX CH 5 5 a 5 5 e", ":1|");
    ASK("ZCARD s", ":4|");
    ASK("GEOADD s NX XX 1 1 a", "-ERR syntax error|");
    ASK("GEOADD s NX 1 1", "-ERR syntax error|");
    ASK("GEOADD s 1 x a", "-ERR value is not a valid float|");
    ASK("GEOADD s 181 0 a",
        "-ERR invalid longitude,latitude pair 181.000000,0.000000|");
    ASK("GEOADD s 1 1 a 0 85.1 b",
        "-ERR invalid longitude,latitude pair 0.000000,85.100000|");
    ASK("SET t x", "+OK|");
    ASK("GEOADD t 1 1 a",
        "-WRONGTYPE Operation against a key holding the wrong kind of value|");
}
END_TEST

START_TEST(searches_answer_what_is_asked_for)
{
    ASK(SICILY, ":2|");
    ASK("GEOSEARCH s FROMLONLAT 15 37 BYRADIUS 200 km ASC",
        "*2|$7|Catania|$7|Palermo|");
    ASK("GEOSEARCH s FROMLONLAT 15 37 BYRADIUS 200 km DESC COUNT 1",
        "*1|$7|Palermo|");
    ASK("GEOSEARCH s FROMMEMBER Palermo BYBOX 1 1 km WITHDIST WITHHASH "
        "WITHCOORD",
        "*1|*4|$7|Palermo|$6|0.0000|:3479099956230698|"
        "*2|$20|13.36138933897018433|$20|38.11555639549629859|");
    ASK("GEOSEARCH s FROMLONLAT 15 37 BYBOX 400 400 km WITHDIST DESC",
        "*2|*2|$7|Palermo|$8|190.4424|*2|$7|Catania|$7|56.4413|");
    ASK("GEORADIUS s 15 37 100 km", "*1|$7|Catania|");
    ASK("GEORADIUS_RO s 15 37 100 km STORE x", "-ERR syntax error|");
    ASK("GEORADIUSBYMEMBER s Catania 10 mi WITHCOORD",
        "*1|*2|$7|Catania|*2|$20|15.08726745843887329|"
        "$20|37.50266842333162032|");
    ASK("GEORADIUSBYMEMBER_RO s Catania 200 km COUNT 1 ANY", "*1|$7|Palermo|");
    ASK("GEOSEARCH nosuch FROMMEMBER a BYRADIUS 1 m", "*0|");
    ASK("GEORADIUSBYMEMBER nosuch a x y", "*0|");
}
END_TEST

START_TEST(searches_are_stored_as_scores_or_distances)
{
    ASK(SICILY, ":2|");
    ASK("SET d x EX 100", "+OK|");
    ASK("GEOSEARCHSTORE d s FROMLONLAT 15 37 BYRADIUS 200 km ASC COUNT 1",
        ":1|");
    ASK("ZRANGE d 0 -1 WITHSCORES", "*2|$7|Catania|$16|3479447370796909|");
    ASK("TTL d", ":-1|");
    ASK("GEOSEARCHSTORE d s FROMLONLAT 15 37 BYRADIUS 200 km STOREDIST", ":2|");
    ASK("ZRANGE d 0 -1", "*2|$7|Catania|$7|Palermo|");
    ASK("ZCOUNT d 56.44 56.45", ":1|");
    ASK("GEORADIUS s 15 37 200 km STOREDIST e", ":2|");
    ASK("ZCOUNT e 190.44 190.45", ":1|");
    ASK("GEORADIUS s 15 37 1 km STORE e", ":0|");
    ASK("EXISTS e", ":0|");
    ASK("GEOSEARCHSTORE d nosuch FROMLONLAT 1 1 BYRADIUS 1 m", ":0|");
    ASK("EXISTS d", ":0|");
    ASK("GEOSEARCHSTORE s s FROMMEMBER Catania BYRADIUS 1 m", ":1|");
    ASK("ZCARD s", ":1|");
}
END_TEST

START_TEST(searches_say_what_is_wrong)
{
    ASK(SICILY, ":2|");
    ASK("GEOSEARCH s FROMMEMBER nosuch BYRADIUS 1 m",
        "-ERR could not decode requested zset member|");
    ASK("GEOSEARCH s BYRADIUS 1 m ASC ASC",
        "-ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for "
        "GEOSEARCH|");
    ASK("geosearch s FROMLONLAT 1 1 ASC ASC",
        "-ERR exactly one of BYRADIUS and BYBOX can be specified for "
        "geosearch|");
    ASK("GEOSEARCH s FROMLONLAT 1 1 BYRADIUS x m",
        "-ERR need numeric radius|");
    ASK("GEOSEARCH s FROMLONLAT 1 1 BYRADIUS -1 m",
        "-ERR radius cannot be negative|");
    ASK("GEOSEARCH s FROMLONLAT 1 1 BYBOX 1 x m", "-ERR need numeric height|");
    ASK("GEOSEARCH s FROMLONLAT 1 1 BYBOX -1 1 m",
        "-ERR height or width cannot be negative|");
    ASK("GEOSEARCH s FROMLONLAT 1 1 BYRADIUS 1 m COUNT 0",
        "-ERR COUNT must be > 0|");
    ASK("GEOSEARCH s FROMLONLAT 1 1 BYRADIUS 1 m ANY",
        "-ERR the ANY argument requires COUNT argument|");
    ASK("GEOSEARCH s FROMLONLAT 1 1 BYRADIUS 1 m BYBOX 1 1 m",
        "-ERR syntax error|");
    ASK("GEORADIUS s 1 1 1 m STORE d WITHDIST",
        "-ERR STORE option in GEORADIUS is not compatible with WITHDIST, "
        "WITHHASH and WITHCOORD options|");
    ASK("GEOSEARCHSTORE d s FROMLONLAT 1 1 BYRADIUS 1 m WITHDIST",
        "-ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and "
        "WITHCOORD options|");
}
END_TEST

START_TEST(coordinates_are_doubles_in_resp3_and_distances_are_text)
{
    ASK(SICILY, ":2|");
    (void)ask("GEOSEARCH s FROMMEMBER Palermo BYRADIUS 1 m WITHDIST WITHCOORD");
    kv_buf_reset(&out, out.cap);
    cmd_reply_resp(&reply, 3, &out);
    kv_buf_byte(&out, 0);
    ck_assert_str_eq((const char *)out.p,
                     "*1\r\n*3\r\n$7\r\nPalermo\r\n$6\r\n0.0000\r\n*2\r\n"
                     ",13.36138933897018433\r\n,38.11555639549629859\r\n");
}
END_TEST

static void add_grid(unsigned side)
{
    char line[128];

    for (unsigned i = 0; i < side * side; i++) {
        snprintf(line, sizeof(line), "GEOADD g %.4f %.4f p%u",
                 10 + 0.01 * (i % side), 50 + 0.01 * (i / side), i);
        (void)ask(line);
    }
}

START_TEST(a_large_search_is_answered_from_a_view)
{
    add_grid(50);
    ck_assert_mem_eq(ask("GEOSEARCH g FROMLONLAT 10 50 BYRADIUS 1000 km"),
                     "*2500|", 6);
    ck_assert_mem_eq(ask("GEORADIUS g 10 50 1000 km"), "*2500|", 6);
    ASK("GEORADIUS g 10 50 1000 km STORE d", ":2500|");
    ck_assert_mem_eq(
        ask("GEOSEARCH g FROMLONLAT 10 50 BYRADIUS 1000 km COUNT 7 ANY"),
        "*7|", 3);
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    add_grid(12);
    fail_each_allocation("GEOADD n 1 1 a 2 2 b", "EXISTS n", ":0|");
    fail_each_allocation("GEOSEARCHSTORE d g FROMLONLAT 10 50 BYRADIUS 5 km",
                         "EXISTS d", ":0|");
    fail_each_allocation("GEOSEARCH g FROMLONLAT 10 50 BYRADIUS 5 km WITHCOORD",
                         "ZCARD g", ":144|");
}
END_TEST

/* ---- geometry ----------------------------------------------------------- */

static double rand_real(struct rand_state *r, double low, double high)
{
    return low + (high - low) * (double)rand_below(r, UINT32_MAX) / UINT32_MAX;
}

START_TEST(a_place_is_found_again_within_half_a_cell)
{
    struct rand_state r = rand_of(rand_seed("test_geo", 5));

    for (unsigned i = 0; i < 100000; i++) {
        const struct cmd_geo_point at = {rand_real(&r, -180, 180),
                                         rand_real(&r, -85, 85)};
        const double score = cmd_geo_score(at);
        const struct cmd_geo_point back = cmd_geo_place(score);

        ck_assert(score >= 0 && score < 0x1p52 && score == floor(score));
        ck_assert(fabs(back.lon - at.lon) <= 180 * 0x1p-26);
        ck_assert(fabs(back.lat - at.lat) <= 85.05112878 * 0x1p-26);
        ck_assert(cmd_geo_score(back) == score);
    }
}
END_TEST

/* Scores that GEOADD never makes. */
START_TEST(any_score_is_some_place_on_earth)
{
    static const double scores[] = {-1, -0.0, 0.5, -1e300, 1e300, INFINITY,
                                    -INFINITY, 0x1p52, 0x1p63, 0x1p64, -0x1p63,
                                    1e18, -3.7};

    for (size_t i = 0; i < sizeof(scores) / sizeof(scores[0]); i++) {
        ck_assert(cmd_geo_valid(cmd_geo_place(scores[i])));
    }
}
END_TEST

static struct cmd_geo_shape rand_shape(struct rand_state *r)
{
    const double size = pow(10, rand_real(r, -1, 6.3));

    return (struct cmd_geo_shape){
        .center = {rand_real(r, -180, 180), rand_real(r, -60, 60)},
        .box = rand_one_in(r, 2),
        .radius = size,
        .width = size * rand_real(r, 0.1, 2),
        .height = size * rand_real(r, 0.1, 2)};
}

/* A place near a shape: in it, or not. */
static struct cmd_geo_point rand_near(struct rand_state *r,
                                      const struct cmd_geo_shape *s)
{
    const double degrees = s->radius / 111000;
    struct cmd_geo_point at = {
        s->center.lon + rand_real(r, -2, 2) * degrees,
        s->center.lat + rand_real(r, -1, 1) * degrees};

    at.lon += at.lon > 180 ? -360 : at.lon < -180 ? 360 : 0;
    at.lat = at.lat > 85 ? 85 : at.lat < -85 ? -85 : at.lat;
    return at;
}

START_TEST(the_cells_of_a_shape_hold_every_place_in_it)
{
    struct rand_state r = rand_of(rand_seed("test_geo", 6));
    unsigned inside = 0, missed = 0;

    for (unsigned i = 0; i < 20000; i++) {
        const struct cmd_geo_shape shape = rand_shape(&r);
        struct cmd_geo_cell cells[CMD_GEO_CELLS];
        const unsigned count = cmd_geo_cells(&shape, cells);

        ck_assert(count >= 1 && count <= CMD_GEO_CELLS);
        for (unsigned k = 0; k < 10; k++) {
            const struct cmd_geo_point near = rand_near(&r, &shape);
            const double score = cmd_geo_score(near);
            double distance, low, high;
            bool held = false;

            if (!cmd_geo_within(&shape, cmd_geo_place(score), &distance)) {
                continue;
            }
            for (unsigned n = 0; n < count && !held; n++) {
                cmd_geo_range(cells[n], &low, &high);
                held = score >= low && score < high;
            }
            inside++;
            missed += !held;
        }
    }
    ck_assert_uint_gt(inside, 50000);
    ck_assert_uint_eq(missed, 0);
}
END_TEST

START_TEST(a_small_shape_looks_at_few_scores)
{
    const struct cmd_geo_shape shape = {.center = {13.4, 52.5}, .radius = 100};
    struct cmd_geo_cell cells[CMD_GEO_CELLS];
    const unsigned count = cmd_geo_cells(&shape, cells);
    double low, high, sum = 0;

    for (unsigned i = 0; i < count; i++) {
        cmd_geo_range(cells[i], &low, &high);
        sum += high - low;
    }
    ck_assert(sum < 0x1p52 * 1e-8); /* of all there are */
}
END_TEST

START_TEST(distances_are_those_of_the_sphere)
{
    const struct cmd_geo_point a = {0, 0}, b = {90, 0}, c = {0, 45};
    const double quarter = M_PI / 2 * 6372797.560856;

    ck_assert(fabs(cmd_geo_distance(a, b) - quarter) < 1e-6);
    ck_assert(fabs(cmd_geo_distance(a, c) - quarter / 2) < 1e-6);
    ck_assert(cmd_geo_distance(a, a) == 0);
    ck_assert(cmd_geo_distance(b, c) == cmd_geo_distance(c, b));
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, places_have_the_scores_and_letters_of_redis);
    tcase_add_test(tests, distances_have_four_decimals_and_units);
    tcase_add_test(tests, adding_minds_its_options);
    tcase_add_test(tests, searches_answer_what_is_asked_for);
    tcase_add_test(tests, searches_are_stored_as_scores_or_distances);
    tcase_add_test(tests, searches_say_what_is_wrong);
    tcase_add_test(tests,
                   coordinates_are_doubles_in_resp3_and_distances_are_text);
    tcase_add_test(tests, a_large_search_is_answered_from_a_view);
    tcase_add_test(tests, every_allocation_may_fail);
    tcase_add_test(tests, a_place_is_found_again_within_half_a_cell);
    tcase_add_test(tests, any_score_is_some_place_on_earth);
    tcase_add_test(tests, the_cells_of_a_shape_hold_every_place_in_it);
    tcase_add_test(tests, a_small_shape_looks_at_few_scores);
    tcase_add_test(tests, distances_are_those_of_the_sphere);
}

int main(void)
{
    return unit_run("geo", add_tests);
}

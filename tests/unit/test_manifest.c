/* test_manifest.c - MANIFEST: what is written is read, and nothing else is. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kvsql/base/crc32c.h"
#include "kvsql/manifest.h"
#include "tests/lib/fakeos.h"
#include "tests/lib/unit.h"

static struct fakeos *fake;
static struct kv_manifest manifest;
static int dir;

static void setup(void)
{
    const struct kv_os *os;

    fake = fakeos_new(1);
    os = fakeos_os(fake);
    ck_assert_int_eq(os->dir_open(os->arg, "data", true, &dir), 0);
    kv_manifest_init(&manifest, os, dir);
}

static void teardown(void)
{
    kv_manifest_fini(&manifest);
    fakeos_free(fake);
}

static void fill(void)
{
    struct kvsql_error err;

    memset(manifest.store_id, 0xa5, sizeof(manifest.store_id));
    manifest.snapshots[0] = (struct kv_manifest_snapshot){
        .name = "snap-0000000000088000.db", .size = 1482752,
        .position = 88000, .crc = 0x9a31c0de};
    manifest.snapshot_count = 1;
    ck_assert_int_eq(kv_manifest_add_segment(&manifest, 7, 60950, &err), 0);
    manifest.segments[0].last = 88002;
    manifest.segments[0].end = 67108711;
    manifest.segments[0].sealed = true;
    ck_assert_int_eq(kv_manifest_add_segment(&manifest, 8, 88003, &err), 0);
    manifest.durable = 88002;
    manifest.clean = 88120;
    manifest.has_clean = true;
}

static kvsql_rc parse(const char *text, struct kvsql_error *err)
{
    return kv_manifest_parse(&manifest, text, strlen(text), err);
}

/* `body` with a true last line. */
static kvsql_rc parse_body(const char *body, struct kvsql_error *err)
{
    struct kv_buf buf;

    kv_buf_init(&buf, KV_MEM_MISC, 65536);
    kv_buf_text(&buf, body);
    kv_buf_printf(&buf, "crc32c %08x\n", kv_crc32c(0, body, strlen(body)));
    const kvsql_rc rc =
        kv_manifest_parse(&manifest, (const char *)buf.p, buf.size, err);
    kv_buf_fini(&buf);
    return rc;
}

START_TEST(the_text_is_that_of_the_drawing_and_reads_back)
{
    static const char drawn[] =
        "kvsql-manifest 1\n"
        "store a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5\n"
        "written-by kvsql " KVSQL_VERSION "\n"
        "snapshot snap-0000000000088000.db size=1482752 crc32c=9a31c0de "
        "position=88000\n"
        "segment wal-0000000000000007 first=60950 last=88002 end=67108711\n"
        "segment wal-0000000000000008 first=88003\n"
        "durable 88002\n"
        "clean 88120\n";
    struct kvsql_error err;
    struct kv_buf buf;

    fill();
    kv_buf_init(&buf, KV_MEM_MISC, 65536);
    kv_manifest_format(&manifest, &buf);
    ck_assert_uint_eq(buf.size, strlen(drawn) + 16);
    ck_assert_mem_eq(buf.p, drawn, strlen(drawn));
    manifest.segment_count = manifest.snapshot_count = 0;
    ck_assert_int_eq(
        kv_manifest_parse(&manifest, (const char *)buf.p, buf.size, &err), 0);
    ck_assert_uint_eq(manifest.segment_count, 2);
    ck_assert(manifest.segments[0].sealed && !manifest.segments[1].sealed);
    ck_assert_uint_eq(manifest.segments[0].end, 67108711);
    ck_assert_uint_eq(manifest.snapshots[0].crc, 0x9a31c0de);
    ck_assert(manifest.has_clean && manifest.clean == 88120);
    kv_buf_fini(&buf);
}
END_TEST

START_TEST(every_flipped_bit_and_every_cut_is_refused_with_its_file)
{
    struct kvsql_error err;
    struct kv_buf buf;

    fill();
    kv_buf_init(&buf, KV_MEM_MISC, 65536);
    kv_manifest_format(&manifest, &buf);
    for (size_t i = 0; i < buf.size; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            buf.p[i] ^= (uint8_t)(1u << bit);
            ck_assert_int_eq(kv_manifest_parse(&manifest, (const char *)buf.p,
                                               buf.size, &err),
                             KVSQL_CORRUPT);
            ck_assert_ptr_nonnull(strstr(err.text, "file=MANIFEST offset="));
            buf.p[i] ^= (uint8_t)(1u << bit);
        }
        ck_assert_int_eq(
            kv_manifest_parse(&manifest, (const char *)buf.p, i, &err),
            KVSQL_CORRUPT);
    }
    ck_assert_uint_eq(manifest.segment_count, 2); /* as it was */
    kv_buf_fini(&buf);
}
END_TEST

#define HEAD                                                                  \
    "kvsql-manifest 1\nstore a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5\n"              \
    "written-by kvsql 0\n"

START_TEST(lines_that_make_no_sense_are_refused_by_number)
{
    static const struct {
        const char *body, *line;
    } bad[] = {
        {HEAD "segment wal-0000000000000001 first=0\ndurable 0\n", "line=4"},
        {HEAD "segment wal-0000000000000001 first=1\n"
              "segment wal-0000000000000002 first=2\ndurable 0\n", "line=5"},
        {HEAD "segment wal-0000000000000001 first=1 last=5 end=99\n"
              "segment wal-0000000000000002 first=7\ndurable 0\n", "line=5"},
        {HEAD "segment wal-1 first=1\ndurable 0\n", "line=4"},
        {HEAD "snapshot ../../etc/passwd size=1 crc32c=00000000 position=1\n"
              "durable 0\n", "line=4"},
        {HEAD "durable 01\n", "line=4"},
        {HEAD "durable 1\nclean 2\nclean 2\n", "line=5"},
        {HEAD "durable 1 \n", "line=4"},
        {HEAD, "line=3"},
        {"kvsql-manifest x\n", "line=1"},
    };
    struct kvsql_error err;

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(parse_body(bad[i].body, &err), KVSQL_CORRUPT);
        ck_assert_msg(strstr(err.text, bad[i].line) != NULL, "%u: %s", i,
                      err.text);
    }
    ck_assert_int_eq(parse("", &err), KVSQL_CORRUPT);
    ck_assert_int_eq(parse_body(HEAD "durable 1\n", &err), KVSQL_OK);
}
END_TEST

static const char whole[] =
    "kvsql-manifest 1.4\n"
    "store a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5\n"
    "written-by kvsql 0.3.0\n"
    "snapshot snap-0000000000088000.db size=1482752 crc32c=9a31c0de "
    "position=88000\n"
    "snapshot snap-0000000000061000.db size=1210368 crc32c=11c07b42 "
    "position=61000\n"
    "segment wal-0000000000000007 first=60950 last=88002 end=67108711\n"
    "segment wal-0000000000000008 first=88003\n"
    "durable 88002\n"
    "clean 88120\n";

/* Put `with` in the place of the bytes from..to of the whole text. */
static kvsql_rc parse_with(const char *from, const char *to, const char *with,
                           struct kvsql_error *err)
{
    struct kv_buf text;

    kv_buf_init(&text, KV_MEM_MISC, 65536);
    kv_buf_add(&text, whole, (size_t)(from - whole));
    kv_buf_text(&text, with);
    kv_buf_add(&text, to, strlen(to) + 1);
    const kvsql_rc rc = parse_body((const char *)text.p, err);
    kv_buf_fini(&text);
    return rc;
}

/* Where the word that begins here ends: at a space, or at the end of a line. */
static const char *word_end(const char *p)
{
    return p + strcspn(p, " \n=");
}

START_TEST(no_word_can_be_missing_or_another)
{
    static const char *const other[] = {
        "", "x", "-1", "00", "18446744073709551616", "9a31c0dG", " ",
        "snap-x.db", "snap-999.db", "wal-", "wal-9x"};
    struct kvsql_error err;
    unsigned words = 0;

    ck_assert_int_eq(parse_body(whole, &err), KVSQL_OK);
    ck_assert_uint_eq(manifest.segment_count, 2);
    for (const char *p = whole; *p != 0; p = word_end(p) + 1, words++) {
        if (p > strstr(whole, "written-by kvsql") &&
            p < strstr(whole, "snapshot"))
            continue; /* a version is any text */
        for (unsigned i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
            const kvsql_rc rc = parse_with(p, word_end(p), other[i], &err);

            ck_assert_msg(rc == KVSQL_CORRUPT, "\"%s\" for \"%.12s\": %d",
                          other[i], p, rc);
            ck_assert_ptr_nonnull(strstr(err.text, "MANIFEST"));
        }
    }
    ck_assert_uint_gt(words, 30);
}
END_TEST

START_TEST(no_line_can_stand_twice_or_elsewhere)
{
    struct kvsql_error err;
    char line[128];
    unsigned refused = 0;

    for (const char *p = whole; *p != 0; p = strchr(p, '\n') + 1) {
        const size_t size = (size_t)(strchr(p, '\n') + 1 - p);

        (void)snprintf(line, sizeof(line), "%.*s", (int)size, p);
        for (const char *at = whole;; at = strchr(at, '\n') + 1) {
            const kvsql_rc rc = parse_with(at, at, line, &err);

            ck_assert_msg(rc == KVSQL_CORRUPT, "a second %s", line);
            refused++;
            if (*at == 0)
                break;
        }
    }
    ck_assert_uint_eq(refused, 9 * 10);
}
END_TEST

START_TEST(more_than_there_can_be_is_refused)
{
    struct kvsql_error err;
    struct kv_buf body;

    kv_buf_init(&body, KV_MEM_MISC, 1u << 20);
    kv_buf_text(&body, HEAD);
    for (unsigned i = 0; i <= KV_MANIFEST_SNAPSHOTS_MAX; i++)
        kv_buf_printf(&body, "snapshot snap-%016u.db size=1 crc32c=00000000 "
                      "position=%u\n", 9000 - i, 9000 - i);
    kv_buf_text(&body, "durable 1\n");
    kv_buf_add(&body, "", 1);
    ck_assert_int_eq(parse_body((const char *)body.p, &err), KVSQL_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.text, "too many"));
    kv_buf_fini(&body);
}
END_TEST

START_TEST(a_newer_format_is_named)
{
    struct kvsql_error err;

    ck_assert_int_eq(parse_body("kvsql-manifest 2\nanything\n", &err),
                     KVSQL_NEWER);
    ck_assert_ptr_nonnull(strstr(err.text, "newer"));
}
END_TEST

START_TEST(a_write_that_fails_leaves_the_old_text_whole)
{
    static const struct {
        enum fakeos_call call;
        int error;
        kvsql_rc rc;
        bool unsure; /* which text is the one on disk */
        uint64_t durable;
    } rows[] = {{FAKEOS_OPEN, EIO, KVSQL_IO, false, 88002},
                {FAKEOS_WRITE, EIO, KVSQL_IO, false, 88002},
                {FAKEOS_SYNC, EIO, KVSQL_IO, false, 88002},
                {FAKEOS_RENAME, ENOSPC, KVSQL_FULL, false, 88002},
                {FAKEOS_RENAME, EIO, KVSQL_IO, true, 88002},
                {FAKEOS_DIR_SYNC, EIO, KVSQL_IO, true, 88003}};
    struct kvsql_error err;

    fill();
    ck_assert_int_eq(kv_manifest_write(&manifest, &err), KVSQL_OK);
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        manifest.durable++;
        fakeos_fail(fake, rows[i].call, 1, rows[i].error, false);
        ck_assert_int_eq(kv_manifest_write(&manifest, &err), rows[i].rc);
        ck_assert(manifest.unsure == rows[i].unsure);
        ck_assert(manifest.unsure_last == rows[i].unsure);
        ck_assert_int_eq(kv_manifest_read(&manifest, &err), KVSQL_OK);
        ck_assert_uint_eq(manifest.durable, rows[i].durable);
    }
    fakeos_fail(fake, FAKEOS_DIR_SYNC, 1, EIO, false);
    ck_assert_int_eq(kv_manifest_write(&manifest, &err), KVSQL_IO);
    fakeos_fail(fake, FAKEOS_RENAME, 1, ENOSPC, false);
    ck_assert_int_eq(kv_manifest_write(&manifest, &err), KVSQL_FULL);
    ck_assert(manifest.unsure && !manifest.unsure_last); /* still, of the first */
    ck_assert_int_eq(kv_manifest_write(&manifest, &err), KVSQL_OK);
    ck_assert(!manifest.unsure);
}
END_TEST

START_TEST(the_oldest_snapshot_falls_out_when_a_newer_one_is_in)
{
    struct kv_manifest_snapshot newer = {.name = "snap-0000000000088100.db",
                                         .size = 1, .position = 88100};
    char dropped[KV_MANIFEST_SNAPSHOTS_MAX][40];
    const bool one[] = {true, false}, two[] = {true, true, false},
               ends[] = {true, false, true};
    struct kvsql_error err;
    unsigned count;
    uint64_t oldest = 0;

    fill();
    fakeos_fail(fake, FAKEOS_SYNC, 1, ENOSPC, false);
    ck_assert_int_eq(kv_manifest_add_snapshot(&manifest, &newer, one, dropped,
                                              &count, &oldest, &err),
                     KVSQL_FULL);
    ck_assert_uint_eq(manifest.snapshot_count, 1);
    ck_assert_uint_eq(manifest.snapshots[0].position, 88000);
    ck_assert_int_eq(kv_manifest_add_snapshot(&manifest, &newer, two, dropped,
                                              &count, &oldest, &err),
                     KVSQL_OK);
    ck_assert_uint_eq(count, 0);
    ck_assert_uint_eq(oldest, 88000);
    newer.position = 88200;
    ck_assert_int_eq(kv_manifest_add_snapshot(&manifest, &newer, two, dropped,
                                              &count, &oldest, &err),
                     KVSQL_OK);
    ck_assert_uint_eq(count, 1);
    ck_assert_str_eq(dropped[0], "snap-0000000000088000.db");
    ck_assert_uint_eq(oldest, 88100);
    memcpy(newer.name, "snap-0000000000088300.db", 25);
    newer.position = 88300;
    ck_assert_int_eq(kv_manifest_add_snapshot(&manifest, &newer, ends, dropped,
                                              &count, &oldest, &err),
                     KVSQL_OK);
    ck_assert_uint_eq(manifest.snapshot_count, 2);
    ck_assert_uint_eq(manifest.snapshots[1].position, 88100);
    ck_assert_uint_eq(oldest, 88100);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, the_text_is_that_of_the_drawing_and_reads_back);
    tcase_add_test(tests,
                   every_flipped_bit_and_every_cut_is_refused_with_its_file);
    tcase_add_test(tests, lines_that_make_no_sense_are_refused_by_number);
    tcase_add_test(tests, no_word_can_be_missing_or_another);
    tcase_add_test(tests, no_line_can_stand_twice_or_elsewhere);
    tcase_add_test(tests, more_than_there_can_be_is_refused);
    tcase_add_test(tests, a_newer_format_is_named);
    tcase_add_test(tests, a_write_that_fails_leaves_the_old_text_whole);
    tcase_add_test(tests,
                   the_oldest_snapshot_falls_out_when_a_newer_one_is_in);
}

int main(void)
{
    return unit_run("manifest", add);
}

/* test_recover.c - opening a directory while the disk, the memory or the power
 * fails: R1, R3, P5, M1. A scene is a directory as some accident has left it. It
 * is opened, or repaired, with every n-th call failing, with every n-th
 * allocation failing, with the power going after every change; the next opening
 * ends where the one ends that nothing has disturbed. So no fault is taken for
 * damage, and no repair that was disturbed gives away more than was damaged. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kvsql/base/crc32c.h"
#include "kvsql/base/diag.h"
#include "kvsql/base/mem.h"
#include "kvsql/base/num.h"
#include "kvsql/seg.h"
#include "tests/lib/fakevfs.h"
#include "tests/lib/run.h"
#include "tests/lib/unit.h"

#define PUTS 30
#define SEG(n) "data/wal-000000000000000" #n

static void diag_drop(void *arg, const char *line)
{
    (void)arg;
    (void)line;
}

/* ---- scenes --------------------------------------------------------------------- */

static void snapshot(struct run *run)
{
    ck_assert_msg(kv_snapshot_run(run->db, NULL, NULL, NULL, &run->err) ==
                      KVSQL_OK, "%s", run->err.text);
}

/* PUTS numbers; a snapshot after each whose bit is set. */
static void written(struct run *run, uint64_t snapshots)
{
    ck_assert_msg(run_open(run) == KVSQL_OK, "%s", run->err.text);
    for (int i = 0; i < PUTS; i++) {
        ck_assert_int_eq(run_put(run, i), KVSQL_OK);
        if (snapshots >> i & 1)
            snapshot(run);
    }
    ck_assert_int_eq(run_close(run), KVSQL_OK);
}

static void flip(struct run *run, const char *path, uint64_t at)
{
    uint8_t byte;

    ck_assert_int_eq(fakeos_peek(run->fake, path, &byte, 1, at), 1);
    byte ^= 0x20;
    ck_assert(fakeos_poke(run->fake, path, &byte, 1, at));
}

static void clean(struct run *run)
{
    written(run, 0);
}

static void two_snapshots(struct run *run)
{
    written(run, 1u << 9 | 1u << 19);
}

/* Killed, with half a frame and what else a step leaves behind. */
static void torn(struct run *run)
{
    static const uint8_t half[40] = {1, 2, 3};
    static const char header[64] = "KVSQLWAL";

    run->options.wal_segment_size = 1 << 20;
    ck_assert_int_eq(run_open(run), KVSQL_OK);
    for (int i = 0; i < PUTS; i++)
        ck_assert_int_eq(run_put(run, i), KVSQL_OK);
    const int64_t end = fakeos_file_size(run->fake, SEG(1));
    (void)run_close(run);
    fakeos_kill(run->fake);
    ck_assert(fakeos_poke(run->fake, SEG(1), half, sizeof(half),
                          (uint64_t)fakeos_file_size(run->fake, SEG(1))));
    ck_assert_int_gt(end, 0);
    ck_assert(fakeos_poke(run->fake, SEG(9), header, sizeof(header), 0));
    ck_assert(fakeos_poke(run->fake, "data/MANIFEST.tmp", half, 5, 0));
    ck_assert(fakeos_poke(run->fake, SEG(8), half, sizeof(half), 100));
}

static void sealed_flipped(struct run *run)
{
    written(run, 0);
    flip(run, SEG(2), 400);
}

static void first_flipped(struct run *run)
{
    written(run, 0);
    flip(run, SEG(1), 900);
}

static void header_flipped(struct run *run)
{
    written(run, 0);
    flip(run, SEG(2), 20);
}

static void first_header_flipped(struct run *run)
{
    written(run, 0);
    flip(run, SEG(1), 20);
}

static void segment_gone(struct run *run)
{
    written(run, 0);
    ck_assert(fakeos_erase(run->fake, SEG(2)));
}

static void segment_short(struct run *run)
{
    written(run, 0);
    ck_assert(fakeos_resize(run->fake, SEG(2), 300));
}

/* The one behind the last frame that is known to be durable. */
static void end_gone(struct run *run)
{
    run->options.wal_segment_size = 1 << 20;
    written(run, 0);
    ck_assert(fakeos_resize(run->fake, SEG(1), 700));
}

static void manifest_gone(struct run *run)
{
    written(run, 0);
    ck_assert(fakeos_erase(run->fake, "data/MANIFEST"));
}

static void manifest_flipped(struct run *run)
{
    written(run, 1u << 9 | 1u << 19);
    flip(run, "data/MANIFEST", 120);
    ck_assert(fakeos_poke(run->fake, "data/snap-strange.db", "x", 1, 0));
}

/* What a snapshot has made superfluous. */
static void old_flipped(struct run *run)
{
    char text[4096], path[64];

    written(run, 1u << 9 | 1u << 19);
    const int64_t size = fakeos_peek(run->fake, "data/MANIFEST", text,
                                     sizeof(text) - 1, 0);
    text[size > 0 ? size : 0] = 0;
    const char *name = strstr(text, "\nsegment ");
    ck_assert_ptr_nonnull(name);
    snprintf(path, sizeof(path), "data/%.20s", name + strlen("\nsegment "));
    flip(run, path, 20);
}

/* ---- scenes whose checksums are right -------------------------------------------- */

/* The header of a segment with other bytes at `at`, and its CRC. */
static void rehead(struct run *run, const char *path, size_t at,
                   const void *bytes, size_t size)
{
    uint8_t head[KV_SEG_HEADER_SIZE];

    ck_assert_int_eq(fakeos_peek(run->fake, path, head, sizeof(head), 0),
                     sizeof(head));
    memcpy(head + at, bytes, size);
    kv_u32_put(head + 60, kv_crc32c(0, head, 60));
    ck_assert(fakeos_poke(run->fake, path, head, sizeof(head), 0));
}

static void of_another_store(struct run *run)
{
    written(run, 0);
    rehead(run, SEG(2), 16, "sixteen bytes...", 16);
}

static void another_first(struct run *run)
{
    written(run, 0);
    rehead(run, SEG(2), 40, "\5\0\0\0\0\0\0", 8);
}

static void no_first(struct run *run)
{
    written(run, 0);
    rehead(run, SEG(2), 40, "\0\0\0\0\0\0\0", 8);
}

static void another_number(struct run *run)
{
    written(run, 0);
    rehead(run, SEG(2), 32, "\7\0\0\0\0\0\0", 8);
}

static void flags_that_nobody_knows(struct run *run)
{
    written(run, 0);
    rehead(run, SEG(2), 56, "\1", 1);
}

static void newer(struct run *run)
{
    written(run, 0);
    rehead(run, SEG(2), 8, "\2", 1);
}

/* Two stores in one directory, and no MANIFEST. */
static void two_stores(struct run *run)
{
    of_another_store(run);
    ck_assert(fakeos_erase(run->fake, "data/MANIFEST"));
}

/* Change the fields of the n-th frame of the first segment. */
static void reframe(struct run *run, unsigned n, size_t at, uint8_t byte)
{
    static uint8_t bytes[1 << 16];
    struct kv_seg_header header;
    struct kv_frame frame;
    size_t offset = KV_SEG_HEADER_SIZE;
    bool is_newer;

    const int64_t size = fakeos_peek(run->fake, SEG(1), bytes, sizeof(bytes), 0);
    ck_assert_ptr_null(kv_seg_header_get(bytes, &header, &is_newer));
    for (; n > 0; n--) {
        kv_frame_get(bytes + offset, &frame);
        offset += KV_FRAME_HEADER_SIZE + frame.size;
        ck_assert_uint_lt(offset, (size_t)size);
    }
    kv_frame_get(bytes + offset, &frame);
    const uint64_t synced = frame.synced;
    bytes[offset + at] = byte;
    kv_frame_seal(bytes + offset, header.crc, synced);
    ck_assert(fakeos_poke(run->fake, SEG(1), bytes + offset,
                          KV_FRAME_HEADER_SIZE + frame.size, offset));
}

static void a_type_that_nobody_knows(struct run *run)
{
    written(run, 0);
    reframe(run, 4, 32, 9);
}

static void a_position_again(struct run *run)
{
    written(run, 0);
    reframe(run, 4, 8, 4);
}

static void a_mark_with_ops(struct run *run)
{
    written(run, 0);
    reframe(run, 4, 32, KV_FRAME_MARK);
}

/* MANIFEST as `change` makes it, with a true last line. */
static void remanifest(struct run *run,
                       void (*change)(const char *line, struct kv_buf *out))
{
    char text[8192];
    struct kv_buf out;
    char *line = text, *end;

    kv_buf_init(&out, KV_MEM_MISC, sizeof(text));
    const int64_t size = fakeos_peek(run->fake, "data/MANIFEST", text,
                                     sizeof(text) - 1, 0);
    text[size > 0 ? size : 0] = 0;
    for (; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = 0;
        if (strncmp(line, "crc32c ", 7) != 0)
            change(line, &out);
    }
    kv_buf_printf(&out, "crc32c %08x\n", kv_crc32c(0, out.p, out.size));
    ck_assert(fakeos_resize(run->fake, "data/MANIFEST", 0));
    ck_assert(fakeos_poke(run->fake, "data/MANIFEST", out.p, out.size, 0));
    kv_buf_fini(&out);
}

static void knows_more(const char *line, struct kv_buf *out)
{
    kv_buf_printf(out, "%s\n", strncmp(line, "clean ", 6) == 0 ? "clean 35"
                              : line);
}

static void ends_before_clean(struct run *run)
{
    written(run, 0);
    remanifest(run, knows_more);
}

static void no_segments(const char *line, struct kv_buf *out)
{
    if (strncmp(line, "segment ", 8) != 0)
        kv_buf_printf(out, "%s\n", line);
}

static void names_no_segment(struct run *run)
{
    written(run, 1u << 9 | 1u << 19);
    remanifest(run, no_segments);
}

/* A hole: of the segments only the last is named. */
static void last_segment(const char *line, struct kv_buf *out)
{
    if (strncmp(line, "segment ", 8) != 0 || strstr(line, " last=") == NULL)
        kv_buf_printf(out, "%s\n", line);
}

static void a_hole(struct run *run)
{
    written(run, 1u << 9);
    remanifest(run, last_segment);
}

static void snapshot_elsewhere(const char *line, struct kv_buf *out)
{
    const char *at = strstr(line, "position=20");

    if (at != NULL)
        kv_buf_printf(out, "%.*sposition=19\n", (int)(at - line), line);
    else
        kv_buf_printf(out, "%s\n", line);
}

static void another_position(struct run *run)
{
    written(run, 1u << 9 | 1u << 19);
    remanifest(run, snapshot_elsewhere);
}

static void snapshot_flipped(struct run *run)
{
    written(run, 1u << 9 | 1u << 19);
    flip(run, "data/snap-0000000000000020.db", 5000);
}

static void snapshots_flipped(struct run *run)
{
    snapshot_flipped(run);
    flip(run, "data/snap-0000000000000010.db", 5000);
}

static const struct scene {
    const char *name;
    void (*make)(struct run *run);
    bool repair;       /* it is opened so */
    kvsql_rc plain;    /* without it */
    uint64_t position; /* at which it comes up; UINT64_MAX: it does not */
} scenes[] = {
    {"clean", clean, false, KVSQL_OK, PUTS},
    {"clean, repaired", clean, true, KVSQL_OK, PUTS},
    {"two snapshots", two_snapshots, false, KVSQL_OK, PUTS},
    {"torn", torn, false, KVSQL_OK, PUTS},
    {"sealed flipped", sealed_flipped, true, KVSQL_CORRUPT, 0},
    {"first flipped", first_flipped, true, KVSQL_CORRUPT, 0},
    {"header flipped", header_flipped, true, KVSQL_CORRUPT, 0},
    {"first header flipped", first_header_flipped, true, KVSQL_CORRUPT, 0},
    {"segment gone", segment_gone, true, KVSQL_CORRUPT, 0},
    {"segment short", segment_short, true, KVSQL_CORRUPT, 0},
    {"end gone", end_gone, true, KVSQL_CORRUPT, 0},
    {"manifest gone", manifest_gone, true, KVSQL_CORRUPT, PUTS},
    {"manifest flipped", manifest_flipped, true, KVSQL_CORRUPT, PUTS},
    {"old flipped", old_flipped, true, KVSQL_CORRUPT, PUTS},
    {"of another store", of_another_store, true, KVSQL_CORRUPT, 0},
    {"another first", another_first, true, KVSQL_CORRUPT, 0},
    {"no first", no_first, true, KVSQL_CORRUPT, 0},
    {"another number", another_number, true, KVSQL_CORRUPT, 0},
    {"unknown flags", flags_that_nobody_knows, true, KVSQL_CORRUPT, 0},
    {"newer", newer, false, KVSQL_NEWER, UINT64_MAX},
    {"newer, repaired", newer, true, KVSQL_NEWER, UINT64_MAX},
    {"two stores", two_stores, true, KVSQL_CORRUPT, UINT64_MAX},
    {"unknown type", a_type_that_nobody_knows, true, KVSQL_CORRUPT, 4},
    {"a position again", a_position_again, true, KVSQL_CORRUPT, 4},
    {"a mark with ops", a_mark_with_ops, true, KVSQL_CORRUPT, 4},
    {"ends before clean", ends_before_clean, true, KVSQL_CORRUPT, PUTS},
    {"names no segment", names_no_segment, false, KVSQL_CORRUPT, UINT64_MAX},
    {"a hole", a_hole, true, KVSQL_CORRUPT, 10},
    {"another position", another_position, false, KVSQL_OK, PUTS},
    {"snapshot flipped", snapshot_flipped, false, KVSQL_OK, PUTS},
    {"snapshots flipped", snapshots_flipped, true, KVSQL_CORRUPT, UINT64_MAX}};

#define SCENES (int)(sizeof(scenes) / sizeof(scenes[0]))
#define SCENES_WHOLE 13 /* the first ones at every n, the others at every third */

static struct run run;
static kvsql_rc calm_rc;       /* what an opening gives that nothing disturbs */
static uint64_t calm_position; /* and where it ends */

static void scene_begin(const struct scene *scene)
{
    run_init(&run, 5, KVSQL_FSYNC_NO);
    fakevfs_in(fakeos_os(run.fake));
    scene->make(&run);
    run.options.repair = scene->repair;
}

static void scene_end(void)
{
    run_fini(&run);
    fakevfs_out();
}

/* Open it and leave it. */
static kvsql_rc look(uint64_t *position)
{
    const kvsql_rc rc = run_open(&run);

    *position = 0;
    if (rc == KVSQL_OK) {
        *position = run_position(&run);
        run_check(&run, "scene", *position);
        (void)run_close(&run);
    }
    return rc;
}

static void setup(int i)
{
    const struct scene *scene = &scenes[i];
    uint64_t position;

    kv_diag_sink(diag_drop, NULL);
    scene_begin(scene);
    run.options.repair = false;
    ck_assert_msg(look(&position) == scene->plain, "%s: %s", scene->name,
                  run.err.text);
    scene_end();
    scene_begin(scene);
    calm_rc = look(&calm_position);
    ck_assert_msg((calm_rc == KVSQL_OK) == (scene->position != UINT64_MAX),
                  "%s: %s", scene->name, run.err.text);
    if (scene->position != 0 && calm_rc == KVSQL_OK)
        ck_assert_uint_eq(calm_position, scene->position);
    ck_assert_uint_eq(fakeos_open_handles(run.fake), 0);
    scene_end();
}

/* After a disturbed opening: `rc` and `position` are what it gave. */
static void judge(const struct scene *scene, const char *what, uint64_t n,
                  kvsql_rc rc, uint64_t position)
{
    uint64_t after;

    ck_assert_msg(rc != KVSQL_OK || position == calm_position,
                  "%s, %s %llu: position %llu", scene->name, what,
                  (unsigned long long)n, (unsigned long long)position);
    ck_assert_msg(rc != KVSQL_CORRUPT || calm_rc == KVSQL_CORRUPT ||
                      scene->plain == KVSQL_CORRUPT,
                  "%s, %s %llu is taken for damage: %s", scene->name, what,
                  (unsigned long long)n, run.err.text);
    rc = look(&after);
    ck_assert_msg(rc == calm_rc && after == calm_position,
                  "%s, after %s %llu: %d, position %llu and not %llu: %s",
                  scene->name, what, (unsigned long long)n, rc,
                  (unsigned long long)after,
                  (unsigned long long)calm_position,
                  rc == KVSQL_OK ? "" : run.err.text);
    ck_assert_uint_eq(fakeos_open_handles(run.fake), 0);
}

START_TEST(a_call_that_fails_is_no_damage)
{
    const struct scene *scene = &scenes[_i];

    setup(_i);
    for (unsigned turn = 0; turn < (_i < SCENES_WHOLE ? 3 : 1); turn++) {
        const int error = turn == 2 ? ENOSPC : EIO;
        bool fired = true;

        for (uint64_t n = 1; fired; n += _i < SCENES_WHOLE ? 1 : 3) {
            uint64_t position;

            scene_begin(scene);
            const uint64_t before = fakeos_calls(run.fake, FAKEOS_ANY);
            fakeos_fail(run.fake, FAKEOS_ANY, n, error, turn != 0);
            const kvsql_rc rc = look(&position);
            fired = fakeos_calls(run.fake, FAKEOS_ANY) - before >= n;
            fakeos_fail(run.fake, FAKEOS_ANY, 0, 0, false);
            judge(scene, turn ? "calls from" : "call", n, rc, position);
            scene_end();
            ck_assert_uint_lt(n, 5000);
        }
    }
}
END_TEST

/* A store that has no memory to be closed leaves its nodes to the end of the
 * process; that is not asked here. */
__attribute__((weak)) void __lsan_disable(void);

START_TEST(no_memory_is_no_damage)
{
    const struct scene *scene = &scenes[_i];
    int failed = 1;

    if (__lsan_disable != NULL) __lsan_disable();
    setup(_i);
    for (uint64_t n = 1; failed; n += _i < SCENES_WHOLE ? 1 : 3) {
        uint64_t position = 0;

        scene_begin(scene);
        kv_mem_fail_at(n, 0);
        const kvsql_rc rc = run_open(&run);
        failed = kv_mem_failed();
        kv_mem_fail_at(0, 0);
        if (rc == KVSQL_OK) {
            position = run_position(&run);
            (void)run_close(&run);
        }
        judge(scene, "allocation", n, rc, position);
        scene_end();
        ck_assert_uint_lt(n, 50000);
    }
}
END_TEST

START_TEST(the_power_may_go_at_any_step)
{
    const struct scene *scene = &scenes[_i];
    bool cut = true;

    setup(_i);
    for (uint64_t n = 0; cut; n += _i < SCENES_WHOLE ? 1 : 3) {
        uint64_t position;

        scene_begin(scene);
        fakeos_cut_after(run.fake, n);
        const kvsql_rc rc = look(&position);
        cut = fakeos_is_cut(run.fake);
        fakeos_restart(run.fake);
        judge(scene, "cut", n, rc, position);
        scene_end();
        ck_assert_uint_lt(n, 5000);
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, a_call_that_fails_is_no_damage, 0, SCENES);
    tcase_add_loop_test(tests, no_memory_is_no_damage, 0, SCENES);
    tcase_add_loop_test(tests, the_power_may_go_at_any_step, 0, SCENES);
}

int main(void)
{
    return unit_run("recover", add);
}

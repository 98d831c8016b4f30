/* test_recover.c - opening a directory while the disk, the memory or the power
 * fails: R1, R3, P5, M1. A scene is a directory as some accident has left it. It
 * is opened, or repaired, with every n-th call failing, with every n-th
 * allocation failing, with the power going after every change; the next opening
 * ends where the one ends that nothing has disturbed. So no fault is taken for
 * damage, and no repair that was disturbed gives away more than was damaged. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kvsql/admin.h"
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
#define SNAP(n) "data/snap-00000000000000" #n ".db"
#define MANIFEST "data/MANIFEST"
#define HARMS_MAX 4

/* ---- scenes --------------------------------------------------------------------- */

/* What an accident has done to a file. Those below the line leave its checksums
 * right. */
struct harm {
    enum {
        NONE, FLIP, ERASE, SHORTEN, PUT, APPEND,
        /* ---- */
        HEAD, FRAME, LINES
    } kind;
    const char *path;
    uint64_t at;       /* offset in the file, its header, the frame; new size */
    const char *bytes; /* what is there then; of lines with `text` the rest,
                          NULL: they are gone */
    size_t size;
    unsigned frame;    /* the n-th */
    const char *text;
};

#define FLIPPED(path, at) {FLIP, path, at, NULL, 0, 0, NULL}
#define GONE(path) {ERASE, path, 0, NULL, 0, 0, NULL}
#define SHORT(path, size) {SHORTEN, path, size, NULL, 0, 0, NULL}
#define PUT_AT(path, at, bytes) {PUT, path, at, bytes, sizeof(bytes) - 1, 0, NULL}
#define BEHIND(path, bytes) {APPEND, path, 0, bytes, sizeof(bytes) - 1, 0, NULL}
#define HEAD_AT(at, bytes) {HEAD, SEG(2), at, bytes, sizeof(bytes) - 1, 0, NULL}
#define FRAME_AT(n, at, byte) {FRAME, SEG(1), at, byte, 1, n, NULL}
#define LINES_OF(text, rest) {LINES, MANIFEST, 0, rest, 0, 0, text}

#define AT_9_AND_19 (1u << 9 | 1u << 19)

static const struct scene {
    const char *name;
    uint64_t snapshots; /* one after each put whose bit is set */
    struct harm harms[HARMS_MAX];
    bool one_segment;
    bool repair;       /* it is opened so */
    kvsql_rc plain;    /* without it */
    uint64_t position; /* at which it comes up; 0: any, UINT64_MAX: it does not */
} scenes[] = {
    {"clean", 0, {{0}}, false, false, KVSQL_OK, PUTS},
    {"clean, repaired", 0, {{0}}, false, true, KVSQL_OK, PUTS},
    {"two snapshots", AT_9_AND_19, {{0}}, false, false, KVSQL_OK, PUTS},
    {"half a frame, and what else a step leaves", 0,
     {BEHIND(SEG(1), "\1\2\3                                     "),
      PUT_AT(SEG(9), 0, "KVSQLWAL                                    "
                        "                    "),
      PUT_AT(MANIFEST ".tmp", 0, "kvsql"),
      PUT_AT(SEG(8), 100, "                                        ")},
     true, false, KVSQL_OK, PUTS},
    {"sealed flipped", 0, {FLIPPED(SEG(2), 400)}, false, true, KVSQL_CORRUPT, 0},
    {"first flipped", 0, {FLIPPED(SEG(1), 900)}, false, true, KVSQL_CORRUPT, 0},
    {"header flipped", 0, {FLIPPED(SEG(2), 20)}, false, true, KVSQL_CORRUPT, 0},
    {"first header flipped", 0, {FLIPPED(SEG(1), 20)}, false, true,
     KVSQL_CORRUPT, 0},
    {"segment gone", 0, {GONE(SEG(2))}, false, true, KVSQL_CORRUPT, 0},
    {"segment short", 0, {SHORT(SEG(2), 300)}, false, true, KVSQL_CORRUPT, 0},
    {"what was durable is gone", 0, {SHORT(SEG(1), 700)}, true, true,
     KVSQL_CORRUPT, 0},
    {"manifest gone", 0, {GONE(MANIFEST)}, false, true, KVSQL_CORRUPT, PUTS},
    {"manifest flipped", AT_9_AND_19,
     {FLIPPED(MANIFEST, 120), PUT_AT("data/snap-strange.db", 0, "x")}, false, true,
     KVSQL_CORRUPT, PUTS},
    {"of no use since a snapshot, flipped", AT_9_AND_19, {FLIPPED(SEG(2), 20)},
     false, true, KVSQL_CORRUPT, PUTS},
    {"of another store", 0, {HEAD_AT(16, "sixteen bytes...")}, false, true,
     KVSQL_CORRUPT, 0},
    {"another first", 0, {HEAD_AT(40, "\5\0\0\0\0\0\0\0")}, false, true,
     KVSQL_CORRUPT, 0},
    {"no first", 0, {HEAD_AT(40, "\0\0\0\0\0\0\0\0")}, false, true,
     KVSQL_CORRUPT, 0},
    {"another number", 0, {HEAD_AT(32, "\7\0\0\0\0\0\0\0")}, false, true,
     KVSQL_CORRUPT, 0},
    {"unknown flags", 0, {HEAD_AT(56, "\1")}, false, true, KVSQL_CORRUPT, 0},
    {"newer", 0, {HEAD_AT(8, "\2")}, false, false, KVSQL_NEWER, UINT64_MAX},
    {"newer, repaired", 0, {HEAD_AT(8, "\2")}, false, true, KVSQL_NEWER,
     UINT64_MAX},
    {"two stores and no manifest", 0,
     {HEAD_AT(16, "sixteen bytes..."), GONE(MANIFEST)}, false, true, KVSQL_CORRUPT,
     UINT64_MAX},
    {"unknown type", 0, {FRAME_AT(4, 32, "\11")}, false, true, KVSQL_CORRUPT, 4},
    {"a position again", 0, {FRAME_AT(4, 8, "\4")}, false, true, KVSQL_CORRUPT, 4},
    {"a mark with ops", 0, {FRAME_AT(4, 32, "\2")}, false, true, KVSQL_CORRUPT, 4},
    {"ends before clean", 0, {LINES_OF("clean 30", "clean 35")}, false, true,
     KVSQL_CORRUPT, PUTS},
    {"ends on a border before its end", 0,
     {LINES_OF("last=19 end=1026", "last=19 end=514")}, false, true,
     KVSQL_CORRUPT, 9},
    {"names no segment", AT_9_AND_19, {LINES_OF("segment ", NULL)}, false, false,
     KVSQL_CORRUPT, UINT64_MAX},
    {"a hole", 1u << 9, {LINES_OF(" last=", NULL)}, false, true, KVSQL_CORRUPT, 10},
    {"a snapshot's other position", AT_9_AND_19,
     {LINES_OF("position=20", "position=19")}, false, false, KVSQL_OK, PUTS},
    {"snapshot flipped", AT_9_AND_19, {FLIPPED(SNAP(20), 5000)}, false, false,
     KVSQL_OK, PUTS},
    {"snapshots flipped", AT_9_AND_19,
     {FLIPPED(SNAP(20), 5000), FLIPPED(SNAP(10), 5000)}, false, true, KVSQL_CORRUPT,
     UINT64_MAX}};

static void flip(struct run *run, const char *path, uint64_t at)
{
    uint8_t byte;

    ck_assert_int_eq(fakeos_peek(run->fake, path, &byte, 1, at), 1);
    byte ^= 0x20;
    ck_assert(fakeos_poke(run->fake, path, &byte, 1, at));
}

/* The header of a segment with other bytes, and its CRC. */
static void head_change(struct run *run, const struct harm *harm)
{
    uint8_t head[KV_SEG_HEADER_SIZE];

    ck_assert_int_eq(fakeos_peek(run->fake, harm->path, head, sizeof(head), 0),
                     sizeof(head));
    memcpy(head + harm->at, harm->bytes, harm->size);
    kv_u32_put(head + 60, kv_crc32c(0, head, 60));
    ck_assert(fakeos_poke(run->fake, harm->path, head, sizeof(head), 0));
}

/* The fields of a frame with other bytes, and its CRC. */
static void frame_change(struct run *run, const struct harm *harm)
{
    static uint8_t bytes[1 << 16];
    struct kv_seg_header header;
    struct kv_frame frame;
    size_t offset = KV_SEG_HEADER_SIZE;
    bool is_newer;

    const int64_t size = fakeos_peek(run->fake, harm->path, bytes, sizeof(bytes),
                                     0);
    ck_assert_ptr_null(kv_seg_header_get(bytes, &header, &is_newer));
    for (unsigned n = harm->frame; n > 0; n--) {
        kv_frame_get(bytes + offset, &frame);
        offset += KV_FRAME_HEADER_SIZE + frame.size;
        ck_assert_uint_lt(offset, (size_t)size);
    }
    kv_frame_get(bytes + offset, &frame);
    const uint64_t synced = frame.synced;
    memcpy(bytes + offset + harm->at, harm->bytes, harm->size);
    kv_frame_seal(bytes + offset, header.crc, synced);
    ck_assert(fakeos_poke(run->fake, harm->path, bytes + offset,
                          KV_FRAME_HEADER_SIZE + frame.size, offset));
}

/* A MANIFEST whose lines with the text are others, with a true last line. */
static void lines_change(struct run *run, const struct harm *harm)
{
    char text[8192];
    struct kv_buf out;
    char *line = text, *end;
    int changed = 0;

    kv_buf_init(&out, KV_MEM_MISC, sizeof(text));
    const int64_t size = fakeos_peek(run->fake, harm->path, text,
                                     sizeof(text) - 1, 0);
    text[size > 0 ? size : 0] = 0;
    for (; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = 0;
        const char *at = strstr(line, harm->text);
        changed += at != NULL;
        if (at != NULL && harm->bytes != NULL)
            kv_buf_printf(&out, "%.*s%s\n", (int)(at - line), line, harm->bytes);
        else if (at == NULL && strncmp(line, "crc32c ", 7) != 0)
            kv_buf_printf(&out, "%s\n", line);
    }
    ck_assert_int_gt(changed, 0);
    kv_buf_printf(&out, "crc32c %08x\n", kv_crc32c(0, out.p, out.size));
    ck_assert(fakeos_resize(run->fake, harm->path, 0));
    ck_assert(fakeos_poke(run->fake, harm->path, out.p, out.size, 0));
    kv_buf_fini(&out);
}

static void hurt(struct run *run, const struct harm *harm)
{
    struct fakeos *fake = run->fake;
    uint64_t at = harm->at;

    switch (harm->kind) {
    case NONE: break;
    case FLIP: flip(run, harm->path, at); break;
    case ERASE: ck_assert(fakeos_erase(fake, harm->path)); break;
    case SHORTEN:
        ck_assert_int_gt(fakeos_file_size(fake, harm->path), (int64_t)at);
        ck_assert(fakeos_resize(fake, harm->path, at));
        break;
    case APPEND:
        at = (uint64_t)fakeos_file_size(fake, harm->path); /* fallthrough */
    case PUT:
        ck_assert(fakeos_poke(fake, harm->path, harm->bytes, harm->size, at));
        break;
    case HEAD: head_change(run, harm); break;
    case FRAME: frame_change(run, harm); break;
    case LINES: lines_change(run, harm); break;
    }
}

/* PUTS numbers, an orderly end, and the accident. */
static void scene_make(struct run *run, const struct scene *scene)
{
    if (scene->one_segment)
        run->options.wal_segment_size = 1 << 20;
    ck_assert_msg(run_open(run) == KVSQL_OK, "%s", run->err.text);
    for (int i = 0; i < PUTS; i++) {
        ck_assert_int_eq(run_put(run, i), KVSQL_OK);
        if (scene->snapshots >> i & 1)
            ck_assert_msg(kv_snapshot_run(run->db, NULL, NULL, NULL, &run->err) ==
                              KVSQL_OK, "%s", run->err.text);
    }
    ck_assert_int_eq(run_close(run), KVSQL_OK);
    for (int i = 0; i < HARMS_MAX; i++)
        hurt(run, &scene->harms[i]);
}

static void diag_drop(void *arg, const char *line)
{
    (void)arg;
    (void)line;
}

#define SCENES (int)(sizeof(scenes) / sizeof(scenes[0]))
#define SCENES_WHOLE 13 /* the first ones at every n, the others at every third */

static struct run run;
static kvsql_rc calm_rc;       /* what an opening gives that nothing disturbs */
static uint64_t calm_position; /* and where it ends */

static void scene_begin(const struct scene *scene)
{
    run_init(&run, 5, KVSQL_FSYNC_NO);
    fakevfs_in(fakeos_os(run.fake));
    scene_make(&run, scene);
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

START_TEST(no_memory_is_no_damage)
{
    const struct scene *scene = &scenes[_i];
    int failed = 1;

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

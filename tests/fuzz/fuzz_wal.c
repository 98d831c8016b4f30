/* fuzz_wal.c - a segment as it lies on the disk: a start reads it and opens, or
 * refuses in words; it never changes a byte before it has judged all (R1).
 *
 * The MANIFEST names one segment. The input are its frames. Its first byte
 * says whether their checksums are put right, so that what stands behind them
 * is reached too, and whether the directory is opened for reading or repaired. */
#include "kvsql/admin.h"
#include "kvsql/manifest.h"
#include "kvsql/seg.h"
#include "tests/lib/fakeos.h"
#include "tests/lib/fuzz.h"

#define FRAMES_MAX (1u << 16)

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    fuzz_quiet();
    return 0;
}

static void put_manifest(struct fakeos *fake, const uint8_t store_id[16])
{
    struct kv_manifest manifest;
    struct kvsql_error err;
    struct kv_buf text;

    kv_buf_init(&text, KV_MEM_MISC, 4096);
    kv_manifest_init(&manifest, fakeos_os(fake), -1);
    memcpy(manifest.store_id, store_id, 16);
    FUZZ_CHECK(kv_manifest_add_segment(&manifest, 1, 1, &err) == KVSQL_OK);
    kv_manifest_format(&manifest, &text);
    FUZZ_CHECK(!text.failed);
    FUZZ_CHECK(fakeos_poke(fake, "data/MANIFEST", text.p, text.size, 0));
    kv_manifest_fini(&manifest);
    kv_buf_fini(&text);
}

/* Walk the frames by their sizes and seal each. */
static void seal_frames(uint8_t *frames, size_t size, uint32_t seed)
{
    struct kv_frame frame;

    for (size_t at = 0; size - at >= KV_FRAME_HEADER_SIZE;) {
        kv_frame_get(frames + at, &frame);
        if (frame.size > size - at - KV_FRAME_HEADER_SIZE)
            return;
        kv_frame_seal(frames + at, seed, frame.synced);
        at += KV_FRAME_HEADER_SIZE + frame.size;
    }
}

static void put_segment(struct fakeos *fake, const uint8_t store_id[16],
                        struct fuzz_input *input, bool seal)
{
    struct kv_seg_header header = {.number = 1, .first = 1, .created = 1};
    uint8_t head[KV_SEG_HEADER_SIZE];
    size_t size;
    const uint8_t *p = fuzz_bytes(input, FRAMES_MAX, &size);
    uint8_t *frames = fuzz_copy(p, size);

    memcpy(header.store_id, store_id, 16);
    kv_seg_header_put(head, &header);
    if (seal)
        seal_frames(frames, size, header.crc);
    FUZZ_CHECK(fakeos_poke(fake, "data/wal-0000000000000001", head,
                           sizeof head, 0));
    FUZZ_CHECK(fakeos_poke(fake, "data/wal-0000000000000001", frames, size,
                           sizeof head));
    free(frames);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t store_id[16] = "fuzz_wal.c store";
    struct fuzz_input input = {data, size};
    const uint8_t how = fuzz_byte(&input);
    struct kvsql_options options = {.read_only = (how & 2) == 0,
                                    .repair = (how & 2) != 0,
                                    .no_keeper = true};
    struct fakeos *fake = fakeos_new(1);
    const struct kv_os *os = fakeos_os(fake);
    struct kvsql_error err;
    kvsql *db = NULL;
    int dir;

    FUZZ_CHECK(os->dir_open(os->arg, "data", true, &dir) == 0);
    os->dir_close(os->arg, dir);
    put_segment(fake, store_id, &input, how & 1);
    put_manifest(fake, store_id);
    const uint64_t changes = fakeos_changes(fake);
    const kvsql_rc rc =
        kv_open_os("data", &options, os, NULL, NULL, &db, &err);
    FUZZ_CHECK(rc == KVSQL_OK || rc == KVSQL_CORRUPT || rc == KVSQL_NEWER);
    FUZZ_CHECK(!options.read_only || fakeos_changes(fake) == changes);
    FUZZ_CHECK(rc == KVSQL_OK || strstr(err.text, "wal") != NULL);
    if (rc == KVSQL_OK) {
        struct kv_info info, again;
        kv_info_get(db, &info);
        FUZZ_CHECK(kv_close(db, &err) == KVSQL_OK);
        /* What was opened, or repaired, opens again and is the same. */
        options.repair = false;
        FUZZ_CHECK(kv_open_os("data", &options, os, NULL, NULL, &db, &err) ==
                   KVSQL_OK);
        kv_info_get(db, &again);
        FUZZ_CHECK(info.position == again.position && info.keys == again.keys);
        FUZZ_CHECK(kv_close(db, &err) == KVSQL_OK);
    }
    FUZZ_CHECK(fakeos_open_handles(fake) == 0);
    fakeos_free(fake);
    return 0;
}

/* seg.h - segments and frames of the wal as bytes, and a reader of them.
 *
 *   segment header, 64 bytes                  frame
 *    0  8 magic "KVSQLWAL"                     0  4 crc     of all after it,
 *    8  2 major  10 2 minor                           seeded with the header's
 *   12  4 header size, 64                      4  4 size    of the payload
 *   16 16 store id                             8  8 position
 *   32  8 segment number (= file name)        16  8 synced  known durable then
 *   40  8 first position                      24  8 term    1
 *   48  8 created, wall ms                           (mark: time, wall ms)
 *                                             32  4 type    1 batch, 2 mark
 *   56  4 flags, 0                            36  . payload
 *   60  4 CRC32C of bytes 0..59
 *
 * A batch has the position of the batch before it plus one (W3). A mark has no
 * payload and repeats the position of the batch before it; all batches up to it
 * had been committed at its time. Minor 0 wrote marks of term 1, whose time is
 * not known. Little endian.
 *
 * Thread: any; a reader belongs to one. */
#ifndef KVSQL_SEG_H
#define KVSQL_SEG_H

#include "kvsql/base/os.h"
#include "kvsql/inside.h"
#include "kvsql/wal.h"

#define KV_SEG_HEADER_SIZE 64
#define KV_SEG_MAJOR 1
#define KV_SEG_MINOR 1
#define KV_SEG_NAME_SIZE 32 /* "wal-", 16 to 20 digits, NUL */
#define KV_FRAME_HEADER_SIZE 36
#define KV_FRAME_TERM 1

enum kv_frame_type { KV_FRAME_BATCH = 1, KV_FRAME_MARK = 2 };

/* ---- names and headers ------------------------------------------------------ */

struct kv_seg_header {
    uint8_t store_id[16];
    uint64_t number, first;
    int64_t created;
    uint32_t crc; /* seed of the frames */
};

KV_INTERNAL void kv_seg_name(char out[KV_SEG_NAME_SIZE], uint64_t number);
/* False when `name` is not the name of a segment. */
KV_INTERNAL bool kv_seg_number(const char *name, uint64_t *number);
/* Draw the header; fills header->crc. */
KV_INTERNAL void kv_seg_header_put(uint8_t out[KV_SEG_HEADER_SIZE],
                                   struct kv_seg_header *header);
/* NULL, or what is wrong with the bytes; *newer when the major is. */
KV_INTERNAL const char *kv_seg_header_get(const uint8_t *in,
                                          struct kv_seg_header *header,
                                          bool *newer);

/* Make a segment whose header is durable (W7 up to the MANIFEST): create with
 * O_EXCL, write, fdatasync, fsync the directory. On failure the file is gone
 * again, or holds no frame and is removed at the next start. Fills header->crc.
 * KVSQL_EXISTS: there is such a file already; KVSQL_FULL, KVSQL_IO. */
KV_INTERNAL kvsql_rc kv_seg_create(const struct kv_os *os, int dir,
                                   struct kv_seg_header *header, int *file,
                                   struct kvsql_error *err) KV_MUST_USE;

/* FULL or IO for an errno of the os. */
KV_INTERNAL kvsql_rc kv_seg_rc(int number);

/* ---- frames ----------------------------------------------------------------- */

struct kv_frame {
    uint64_t position, synced;
    const uint8_t *payload; /* lives until the next call on the reader that is
                               not kv_seg_more */
    uint32_t size;          /* of the payload */
    uint32_t type;
    uint32_t crc;
    int64_t time; /* of a mark: wall ms, at most 1 when it is not known */
};

/* What is known when a batch arrives; `time` is a mark's ... */
KV_INTERNAL void kv_frame_put(uint8_t *frame, enum kv_frame_type type,
                              uint64_t position, int64_t time, uint32_t size);
/* ... and what is added when it is written: synced, crc. The payload stands
 * behind the header. */
KV_INTERNAL void kv_frame_seal(uint8_t *frame, uint32_t seed, uint64_t synced);
/* Fields of a frame as it stands in memory. */
KV_INTERNAL void kv_frame_get(const uint8_t *frame, struct kv_frame *out);

/* ---- reading ---------------------------------------------------------------- */

enum kv_scan {
    KV_SCAN_FRAME, /* *frame is filled, the reader stands behind it */
    KV_SCAN_END,   /* no bytes left, or only zeroes */
    KV_SCAN_BAD,   /* why, expected, found are filled; the reader has not moved */
    KV_SCAN_ERROR  /* err is filled: IO, NOMEM */
};

struct kv_seg_reader {
    const struct kv_os *os;
    int file;
    struct kv_seg_header header;
    uint64_t limit;    /* bytes of the file that count */
    uint64_t offset;   /* of the next frame */
    uint64_t position; /* of the last batch; first - 1 before any */
    const char *why;   /* SCAN_BAD: "crc", "size", "position", "type", "short" */
    uint64_t expected, found;
    kvsql_rc rc; /* SCAN_ERROR */
    uint8_t *block; /* [block_at, block_at + block_size) of the file */
    size_t block_cap, block_size;
    uint64_t block_at;
    size_t block_want; /* bytes read at once */
};

/* Open the file and check its header against its name (W1 but for the
 * MANIFEST). KVSQL_CORRUPT, NEWER, IO, NOMEM; KVSQL_NOTFOUND: no such file. */
KV_INTERNAL kvsql_rc kv_seg_open(struct kv_seg_reader *reader,
                                 const struct kv_os *os, int dir,
                                 uint64_t number, struct kvsql_error *err)
    KV_MUST_USE;
KV_INTERNAL void kv_seg_close(struct kv_seg_reader *reader);
KV_INTERNAL enum kv_scan kv_seg_next(struct kv_seg_reader *reader,
                                     struct kv_frame *frame,
                                     struct kvsql_error *err);
/* The next frame, like kv_seg_next, when it is good and whole in what has been
 * read: then payloads that were handed out before it live on. False: nothing is
 * said of it and the reader has not moved; kv_seg_next tells. O(its bytes). */
KV_INTERNAL bool kv_seg_more(struct kv_seg_reader *reader,
                             struct kv_frame *frame);
/* Behind a bad frame: look at every byte for frames that are whole and belong
 * here; tell the highest `synced` among them, how many they are and the last
 * position (W4). UINT64_MAX when that cannot be told. */
KV_INTERNAL kvsql_rc kv_seg_search(struct kv_seg_reader *reader,
                                   uint64_t *synced, uint64_t *frames,
                                   uint64_t *last, struct kvsql_error *err)
    KV_MUST_USE;

#endif

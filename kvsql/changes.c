/* changes.c - reading the wal beside the log thread: batches as ops.
 *
 * A reader looks at one segment at a time, named by the manifest, and never
 * beyond the position that it was given at the start. That one was released, so
 * its frame and all before it stand whole in the files; what the log thread
 * writes behind it is not looked at. A segment that is trimmed while it is read
 * stays readable; one that is gone before it is opened is an error that names
 * what is left.
 *
 * When segments change, frames may stand in both (W8): those that were read
 * are skipped.
 *
 * Thread: one at a time; not inside a txn, for it waits for files. */
#include <inttypes.h>
#include <string.h>

#include "kvsql/db_private.h"
#include "kvsql/op.h"
#include "kvsql/seg.h"

struct kv_changes {
    kvsql *db;
    uint64_t position; /* of the batch that is being read, or of the last */
    uint64_t to;       /* last position that may be read */
    bool open;
    bool grown; /* since it was opened: to be shut behind the batch in hand */
    struct kv_seg_reader reader;
    const uint8_t *p, *end; /* ops of the batch that are left */
    uint64_t n;             /* of the next one */
    /* Where it was shut to be read on from; number 0: nowhere. */
    uint64_t rest_number, rest_offset, rest_position;
};

static kvsql_rc changes_gone(uint64_t wanted, uint64_t oldest,
                             struct kvsql_error *err)
{
    return kv_fail(err, KVSQL_RANGE,
                   "the wal is kept from position %" PRIu64 " on; position "
                   "%" PRIu64 " is not there any more",
                   oldest, wanted);
}

/* The segment that has `position`, or is to get it, and the first position that
 * is kept. */
static bool changes_find(kvsql *db, uint64_t position,
                         struct kv_manifest_segment *found, uint64_t *oldest)
{
    struct kv_manifest *const manifest = &db->manifest;
    bool is = false;

    kv_lock_take(&manifest->lock);
    *oldest = manifest->segment_count > 0 ? manifest->segments[0].first
                                          : UINT64_MAX;
    for (unsigned i = manifest->segment_count; i-- > 0 && !is;) {
        is = manifest->segments[i].first <= position;
        if (is)
            *found = manifest->segments[i];
    }
    kv_lock_drop(&manifest->lock);
    return is;
}

kvsql_rc kv_changes_open(kvsql *db, uint64_t from, uint64_t to,
                         struct kv_changes **out, struct kvsql_error *err)
{
    struct kv_manifest_segment segment;
    uint64_t oldest;

    *out = NULL;
    if (db->path[0] == '\0')
        return kv_fail(err, KVSQL_INVALID,
                       "this store has no directory, and so no wal");
    const bool found = changes_find(db, from, &segment, &oldest);
    if (from == 0)
        from = oldest;
    else if (!found && from <= to)
        return changes_gone(from, oldest, err);
    struct kv_changes *made = kv_mem_zalloc(KV_MEM_WAL, sizeof(*made));
    if (made == NULL)
        return kv_fail(err, KVSQL_NOMEM, "no memory to read the wal");
    made->db = db;
    made->position = from - 1;
    made->to = to;
    *out = made;
    return KVSQL_OK;
}

static void changes_shut(struct kv_changes *changes)
{
    if (changes->open)
        kv_seg_close(&changes->reader);
    changes->open = changes->grown = false;
}

/* Behind a batch: shut, to be read on from here. */
static void changes_rest(struct kv_changes *changes)
{
    changes->rest_number = changes->reader.header.number;
    changes->rest_offset = changes->reader.offset;
    changes->rest_position = changes->reader.position;
    changes->p = changes->end = NULL; /* they lie in the reader */
    changes_shut(changes);
}

/* The file has grown meanwhile, and what was read of it ahead may be stale: it is
 * opened anew when it is needed. */
void kv_changes_more(struct kv_changes *changes, uint64_t to)
{
    KV_ASSERT(to >= changes->to);
    changes->to = to;
    changes->grown = changes->open;
    if (changes->open && changes->p == changes->end)
        changes_rest(changes);
}

uint64_t kv_changes_oldest(kvsql *db)
{
    struct kv_manifest_segment segment;
    uint64_t oldest;

    if (db->path[0] == '\0')
        return UINT64_MAX;
    (void)changes_find(db, UINT64_MAX, &segment, &oldest);
    return oldest;
}

void kv_changes_close(struct kv_changes *changes)
{
    if (changes == NULL)
        return;
    changes_shut(changes);
    kv_mem_free(KV_MEM_WAL, changes, sizeof(*changes));
}

/* Open the segment with the next position. `before` is the one that ended
 * without it, or 0. */
static kvsql_rc changes_next_segment(struct kv_changes *changes,
                                     uint64_t before, struct kvsql_error *err)
{
    const uint64_t wanted = changes->position + 1;
    struct kv_manifest_segment segment = {.number = 0};
    uint64_t oldest;

    if (!changes_find(changes->db, wanted, &segment, &oldest))
        return changes_gone(wanted, oldest, err);
    if (segment.number == before)
        return kv_fail(err, KVSQL_CORRUPT,
                       "wal: segment %" PRIu64 " ends before position %" PRIu64,
                       segment.number, wanted);
    kvsql_rc rc = kv_seg_open(&changes->reader, changes->db->os,
                              changes->db->dir, segment.number, err);
    if (rc == KVSQL_NOTFOUND) { /* trimmed meanwhile */
        (void)changes_find(changes->db, wanted, &segment, &oldest);
        return changes_gone(wanted, oldest, err);
    }
    if (rc != KVSQL_OK)
        return rc;
    changes->open = true;
    if (segment.sealed)
        changes->reader.limit = segment.end;
    if (segment.number == changes->rest_number) {
        changes->reader.offset = changes->rest_offset;
        changes->reader.position = changes->rest_position;
    }
    changes->rest_number = 0;
    return KVSQL_OK;
}

/* The next batch; false at `to`. */
static kvsql_rc changes_batch(struct kv_changes *changes, bool *found,
                              struct kvsql_error *err)
{
    struct kv_frame frame;
    uint64_t before = 0;
    kvsql_rc rc;

    *found = false;
    if (changes->grown)
        changes_rest(changes);
    while (changes->position < changes->to) {
        if (!changes->open) {
            rc = changes_next_segment(changes, before, err);
            if (rc != KVSQL_OK)
                return rc;
        }
        switch (kv_seg_next(&changes->reader, &frame, err)) {
        case KV_SCAN_ERROR: return changes->reader.rc;
        case KV_SCAN_BAD:
        case KV_SCAN_END:
            before = changes->reader.header.number;
            changes_shut(changes);
            continue;
        case KV_SCAN_FRAME: break;
        }
        if (frame.type != KV_FRAME_BATCH ||
            frame.position <= changes->position)
            continue;
        changes->position = frame.position;
        changes->p = frame.payload;
        changes->end = frame.payload + frame.size;
        changes->n = 0;
        *found = true;
        return KVSQL_OK;
    }
    return KVSQL_OK;
}

/* ---- ops as people read them --------------------------------------------------------- */

/* What each kind is called, what it is about, and which of its fields tell the
 * element and the value: 'k' nothing, 'a' and 'b' bytes, 'i' index, 'n' count,
 * 's' score, 't' time, 'd' side, 'm' the name that stands in the key's place. */
static const struct {
    const char *name;
    enum kv_type type;
    char field, value;
} changes_ops[] = {
    [KV_OP_DEL] = {"del", KV_NONE, 'k', 'k'},
    [KV_OP_SET] = {"set", KV_STRING, 'k', 'a'},
    [KV_OP_PATCH] = {"patch", KV_STRING, 'i', 'a'},
    [KV_OP_EXPIRE] = {"expire", KV_NONE, 'k', 't'},
    [KV_OP_RENAME] = {"rename", KV_NONE, 'k', 'a'},
    [KV_OP_HSET] = {"hset", KV_HASH, 'a', 'b'},
    [KV_OP_HDEL] = {"hdel", KV_HASH, 'a', 'k'},
    [KV_OP_HEXPIRE] = {"hexpire", KV_HASH, 'a', 't'},
    [KV_OP_ZADD] = {"zadd", KV_ZSET, 'a', 's'},
    [KV_OP_ZREM] = {"zrem", KV_ZSET, 'a', 'k'},
    [KV_OP_PUSH] = {"push", KV_LIST, 'd', 'a'},
    [KV_OP_LINSERT] = {"linsert", KV_LIST, 'i', 'a'},
    [KV_OP_LSET] = {"lset", KV_LIST, 'i', 'a'},
    [KV_OP_LREMOVE] = {"lremove", KV_LIST, 'i', 'n'},
    [KV_OP_FLUSH] = {"flush", KV_NONE, 'k', 'k'},
    [KV_OP_SADD] = {"sadd", KV_SET, 'a', 'k'},
    [KV_OP_SREM] = {"srem", KV_SET, 'a', 'k'},
    [KV_OP_DEFINE] = {"define", KV_NONE, 'm', 'a'},
    [KV_OP_ANSWER] = {"answer", KV_NONE, 'k', 'k'}}; /* never shown */

static struct kv_change_value changes_bytes(kvsql_slice bytes)
{
    return (struct kv_change_value){.kind = KV_CHANGE_BYTES, .bytes = bytes};
}

static struct kv_change_value changes_int(int64_t integer)
{
    return (struct kv_change_value){.kind = KV_CHANGE_INT,
                                    .integer = integer};
}

static struct kv_change_value changes_value(const struct kv_op *op, char from)
{
    static const kvsql_slice sides[] = {{"left", 4}, {"right", 5}};

    switch (from) {
    case 'a': return changes_bytes(op->a);
    case 'b': return changes_bytes(op->b);
    case 'm': return changes_bytes(op->key);
    case 'd': return changes_bytes(sides[op->index == KV_RIGHT]);
    case 'i': return changes_int((int64_t)op->index);
    case 'n': return changes_int((int64_t)op->count);
    case 's':
        return (struct kv_change_value){.kind = KV_CHANGE_REAL,
                                        .real = op->score};
    case 't':
        return op->time != 0 ? changes_int(op->time)
                             : (struct kv_change_value){.kind = KV_CHANGE_NULL};
    default: return (struct kv_change_value){.kind = KV_CHANGE_NULL};
    }
}

kvsql_rc kv_changes_next(struct kv_changes *changes, struct kv_change *out,
                         bool *found, struct kvsql_error *err)
{
    struct kv_op op;
    kvsql_rc rc = KVSQL_OK;

    do {
        *found = true;
        while (rc == KVSQL_OK && *found && changes->p == changes->end)
            rc = changes_batch(changes, found, err);
        if (rc != KVSQL_OK || !*found)
            return rc;
        rc = kv_op_decode(&changes->p, changes->end, &op, err);
        if (rc != KVSQL_OK)
            return rc;
    } while (op.kind == KV_OP_ANSWER); /* nobody's business */
    *out = (struct kv_change){
        .position = changes->position,
        .n = changes->n++,
        .since = changes->reader.header.created,
        .op = changes_ops[op.kind].name,
        .type = changes_ops[op.kind].type,
        .has_key = op.kind != KV_OP_FLUSH && op.kind != KV_OP_DEFINE,
        .key = op.key,
        .expires_at = op.time,
        .field = changes_value(&op, changes_ops[op.kind].field),
        .value = changes_value(&op, changes_ops[op.kind].value)};
    return KVSQL_OK;
}

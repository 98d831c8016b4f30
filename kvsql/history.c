/* history.c - which snapshots a directory keeps: how far back it goes.
 *
 * The newest `snapshot_keep` stay. With `wal_keep_ms` the directory shall also
 * go back so far in time: the newest snapshot that is that old stays as the
 * beginning of the history, or while there is none the oldest one, or the
 * beginning of the wal itself. Of those between, one stays for each quarter of
 * the time, for one of them is the next beginning; so there are at most five
 * more, and the history is at most a quarter longer than asked for.
 *
 * Thread: the one that takes the snapshot. */
#include "kvsql/db_private.h"
#include "kvsql/seg.h"

#define HISTORY_PARTS 4

void kv_history_keep(const int64_t *at, unsigned count, unsigned keep,
                     int64_t since, uint64_t span_ms, bool *kept)
{
    unsigned base = keep - 1, total = 0;

    KV_ASSERT(keep > 0);
    for (unsigned i = 0; i < count; i++)
        kept[i] = i < keep;
    if (span_ms == 0 || count <= keep)
        return;
    while (base + 1 < count && at[base] > since)
        base++;
    kept[base] = true;
    int64_t last = at[base];
    for (unsigned i = base; i-- > keep;)
        if (at[i] >= last + (int64_t)(span_ms / HISTORY_PARTS)) {
            kept[i] = true;
            last = at[i];
        }
    for (unsigned i = 0; i < count; i++) { /* what MANIFEST has room for */
        total += kept[i];
        kept[i] = kept[i] && total <= KV_MANIFEST_SNAPSHOTS_MAX;
    }
}

/* When the state at a position was the newest one, about: the wal goes on in a
 * new segment then. INT64_MIN: nothing tells, so long ago. */
static int64_t history_time(kvsql *db, uint64_t position)
{
    struct kv_manifest *manifest = &db->manifest;
    struct kv_seg_reader reader;
    struct kvsql_error ignored;
    uint64_t number = 0;

    kv_lock_take(&manifest->lock);
    for (unsigned i = 0; i < manifest->segment_count && number == 0; i++)
        if (manifest->segments[i].first > position)
            number = manifest->segments[i].number;
    kv_lock_drop(&manifest->lock);
    if (number == 0 || kv_seg_open(&reader, db->os, db->dir, number,
                                   &ignored) != KVSQL_OK)
        return INT64_MIN;
    const int64_t created = reader.header.created;
    kv_seg_close(&reader);
    return created;
}

void kv_history_choose(kvsql *db, int64_t now,
                       bool kept[KV_MANIFEST_SNAPSHOTS_MAX + 1],
                       bool *from_begin)
{
    const uint64_t span = db->options.wal_keep_ms;
    const int64_t since = now - (int64_t)span;
    struct kv_manifest *manifest = &db->manifest;
    uint64_t position[KV_MANIFEST_SNAPSHOTS_MAX];
    int64_t at[KV_MANIFEST_SNAPSHOTS_MAX + 1] = {now};

    kv_lock_take(&manifest->lock);
    const unsigned count = manifest->snapshot_count;
    const bool whole = manifest->segment_count > 0 &&
                       manifest->segments[0].first == 1;
    for (unsigned i = 0; i < count; i++)
        position[i] = manifest->snapshots[i].position;
    kv_lock_drop(&manifest->lock);
    for (unsigned i = 0; i < count; i++)
        at[i + 1] = span != 0 ? history_time(db, position[i]) : INT64_MIN;
    kv_history_keep(at, count + 1, db->options.snapshot_keep, since, span,
                    kept);
    *from_begin = span != 0 && whole;
    for (unsigned i = 0; i <= count; i++)
        if (kept[i] && at[i] <= since)
            *from_begin = false;
}

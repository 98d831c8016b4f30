/* facts.c - what the library knows about itself, as rows: kv_columns, kv_meta,
 * kv_schema, stats, snapshots, views (sql.md 2.7).
 *
 * Thread: the session's. */
#include "kvsql/admin.h"
#include "vtab/info.h"
#include "vtab/khash.h"

#include <string.h>

#define FACTS_SNAPSHOTS_MAX 64
#define FACTS_VIEWS_MAX 256
#define FACTS_HOLDER_MAX 256
#define FACTS_ROWS_OF "rows."
#define FACTS_NAME_MAX 40

kvsql_rc vt_fill_columns(struct vt_rows *rows, struct vt_session *session,
                         struct kvsql_error *err)
{
    const char *table, *column, *type, *doc, *last = "";
    bool hidden;
    int cid = 0;

    (void)err;
    (void)session;
    for (unsigned i = 0; vt_column_row(i, &table, &column, &type, &hidden,
                                       &doc);
         i++) {
        cid = strcmp(table, last) == 0 ? cid + 1 : 0;
        last = table;
        if (!vt_table_there(table)) continue;
        vt_row(rows);
        vt_row_text(rows, table);
        vt_row_int(rows, cid);
        vt_row_text(rows, column);
        vt_row_text(rows, type);
        vt_row_int(rows, vt_column_pk(i));
        vt_row_int(rows, hidden);
        vt_row_text(rows, doc);
    }
    return KVSQL_OK;
}

static void facts_pair_text(struct vt_rows *rows, const char *name,
                           const char *value)
{
    vt_row(rows);
    vt_row_text(rows, name);
    vt_row_text(rows, value);
}

static void facts_pair_int(struct vt_rows *rows, const char *name,
                          int64_t value)
{
    vt_row(rows);
    vt_row_text(rows, name);
    vt_row_int(rows, value);
}

/* A session that writes holds the store's lock. */
static void facts_info(const struct vt_session *session, struct kv_info *info)
{
    if (session->txn != NULL) {
        kv_info_get_in(session->txn, info);
    } else {
        kv_info_get(session->db, info);
    }
}

/* What a file written from the statement's view would say of itself. */
kvsql_rc vt_fill_meta(struct vt_rows *rows, struct vt_session *session,
                      struct kvsql_error *err)
{
    char name[FACTS_NAME_MAX];
    struct kv_info info;
    struct kv_at at;
    struct vt_snap *snap;
    const kvsql_rc rc = vt_read_at(session, true, &at, &snap, err);

    if (rc != KVSQL_OK) return rc;
    facts_info(session, &info);
    facts_pair_int(rows, "created_at", kv_at_wall(&at));
    facts_pair_text(rows, "format", kv_snapshot_format(&at));
    facts_pair_int(rows, "position", (int64_t)at.position);
    facts_pair_text(rows, "store_id", info.store_id);
    facts_pair_text(rows, "written_by", "kvsql " KVSQL_VERSION);
    for (unsigned i = 0; i < KV_SNAPSHOT_TABLES; i++) {
        (void)sqlite3_snprintf(sizeof(name), name, FACTS_ROWS_OF "%s",
                               kv_snapshot_table(i));
        vt_row(rows);
        vt_row_text(rows, name);
        vt_row_null(rows); /* vt_walk_meta() */
    }
    return KVSQL_OK;
}

static bool facts_stop(void *session)
{
    return vt_cancelled((struct vt_session *)session);
}

kvsql_rc vt_walk_meta(struct vt_rows *rows, struct vt_session *session,
                      struct kvsql_error *err)
{
    uint64_t count[KV_SNAPSHOT_TABLES];
    struct kv_at at;
    struct vt_snap *snap;
    const kvsql_rc rc = vt_read_at(session, true, &at, &snap, err);

    if (rc != KVSQL_OK) return rc;
    if (!kv_snapshot_count(&at, facts_stop, session, count))
        return vt_stopped(session, err);
    KV_ASSERT(rows->count > KV_SNAPSHOT_TABLES);
    for (unsigned i = 0; i < KV_SNAPSHOT_TABLES; i++)
        vt_rows_set_int(rows, rows->count - KV_SNAPSHOT_TABLES + i, 1,
                        (int64_t)count[i]);
    return KVSQL_OK;
}

/* The definitions that a snapshot of the statement's view would have. */
kvsql_rc vt_fill_schema(struct vt_rows *rows, struct vt_session *session,
                        struct kvsql_error *err)
{
    struct kv_at at;
    struct vt_snap *snap;
    struct kv_def def;
    const kvsql_rc rc = vt_read_at(session, true, &at, &snap, err);

    if (rc != KVSQL_OK) return rc;
    for (size_t place = 0; kv_def_next(&at, &place, &def);) {
        vt_row(rows);
        vt_row_bytes(rows, def.name.p, def.name.size);
        vt_row_bytes(rows, def.text.p, def.text.size);
    }
    return KVSQL_OK;
}

static void facts_stat(struct vt_rows *rows, const char *name,
                      uint64_t value, const char *unit)
{
    facts_pair_int(rows, name, (int64_t)value);
    vt_row_text(rows, unit);
}

static void facts_stat_text(struct vt_rows *rows, const char *name,
                           const char *value)
{
    facts_pair_text(rows, name, value);
    vt_row_text(rows, "text");
}

/* Keys that begin with the prefix, whatever they hold. */
static uint64_t facts_behind(const struct kv_at *at, const struct kv_key *prefix)
{
    uint8_t last[KVSQL_KEY_MAX];
    uint64_t count = 0;

    if (prefix->size == 0) return kv_count_all(at);
    memcpy(last, prefix->p, prefix->size);
    last[prefix->size - 1]++; /* of UTF-8: it is no FF */
    for (unsigned cls = KV_TEXT; cls <= KV_BLOB; cls++) {
        const struct kv_key from = {prefix->p, prefix->size, (uint8_t)cls};
        const struct kv_key to = {last, prefix->size, (uint8_t)cls};
        count += kv_rank(at, &to) - kv_rank(at, &from);
    }
    return count;
}

/* Two rows: how far an index is, and its bytes. */
static bool facts_index(struct vt_rows *rows, const struct vt_khash *khash,
                        const struct vt_khash_index *index,
                        const struct kv_at *at)
{
    const struct kv_key id = {index->id.p, (uint32_t)index->id.size, KV_BLOB};
    struct kv_index_state state = {.entries = 0};
    sqlite3_str *out = sqlite3_str_new(NULL);
    char *name, *value;

    (void)kv_index_state(at, &id, &state);
    sqlite3_str_appendf(out, "index %s(", khash->name);
    for (int i = 0; i < index->columns; i++)
        sqlite3_str_appendf(out, "%s%s", i > 0 ? ", " : "",
                            khash->label[index->column[i]]);
    sqlite3_str_appendall(out, ")");
    name = sqlite3_str_finish(out);
    value = state.complete
                ? sqlite3_mprintf("ready")
                : sqlite3_mprintf("building %llu of %llu",
                                  (unsigned long long)state.entries,
                                  (unsigned long long)facts_behind(
                                      at, &khash->prefix));
    if (name != NULL && value != NULL) {
        facts_stat_text(rows, name, value);
        facts_stat(rows, name, state.bytes, "bytes");
    }
    sqlite3_free(name);
    sqlite3_free(value);
    return name != NULL && value != NULL;
}

/* The indexes of the tables that the store declares. */
static kvsql_rc facts_indexes(struct vt_rows *rows, struct vt_session *session,
                              struct kvsql_error *err)
{
    const struct vt_khash *khash = session->khashes;
    struct kv_at at;
    struct vt_snap *snap;
    const kvsql_rc rc = vt_read_at(session, true, &at, &snap, err);

    for (; rc == KVSQL_OK && khash != NULL; khash = khash->next)
        for (int i = 0; i < khash->indexes; i++)
            if (!facts_index(rows, khash, &khash->index[i], &at))
                return kv_fail(err, KVSQL_NOMEM, "sql: no memory for stats");
    return rc;
}

kvsql_rc vt_fill_stats(struct vt_rows *rows, struct vt_session *session,
                       struct kvsql_error *err)
{
    struct kv_info info;

    facts_info(session, &info);
    facts_stat(rows, "keys", info.keys, "count");
    facts_stat(rows, "keys_with_expiry", info.keys_with_expiry, "count");
    facts_stat(rows, "position", info.position, "count");
    facts_stat(rows, "released", info.released, "count");
    facts_stat(rows, "durable", info.durable, "count");
    facts_stat(rows, "commits", info.commits, "count");
    facts_stat(rows, "ops", info.ops, "count");
    facts_stat(rows, "expired_keys", info.expired_keys, "count");
    facts_stat(rows, "evicted_keys", info.evicted_keys, "count");
    facts_stat(rows, "expired_fields", info.expired_fields, "count");
    facts_stat(rows, "memory_data", info.memory_data, "bytes");
    facts_stat(rows, "memory_retired", info.memory_retired, "bytes");
    facts_stat(rows, "memory_undo", info.memory_undo, "bytes");
    facts_stat(rows, "memory_views", info.memory_views, "bytes");
    facts_stat(rows, "memory_wal", info.memory_wal, "bytes");
    facts_stat(rows, "memory_clients", info.memory_clients, "bytes");
    facts_stat(rows, "memory_misc", info.memory_misc, "bytes");
    facts_stat(rows, "memory_max", info.memory_max, "bytes");
    facts_stat(rows, "views", info.views, "count");
    facts_stat(rows, "views_oldest", info.views_oldest_ms, "ms");
    facts_stat(rows, "views_retained", info.views_retained, "bytes");
    facts_stat(rows, "views_ended", info.views_ended, "count");
    facts_stat(rows, "wal_bytes", info.wal_bytes, "bytes");
    facts_stat(rows, "wal_size", info.wal_size, "bytes");
    facts_stat(rows, "wal_segments", info.wal_segments, "count");
    facts_stat(rows, "wal_writes", info.wal_writes, "count");
    facts_stat(rows, "wal_syncs", info.wal_syncs, "count");
    facts_stat(rows, "snapshots", info.snapshot_count, "count");
    facts_stat(rows, "snapshot_position", info.snapshot_position, "count");
    facts_stat(rows, "snapshot_time", info.snapshot_ms, "ms");
    facts_stat_text(rows, "wal_state", info.wal_state);
    facts_stat_text(rows, "wal_policy", info.wal_policy);
    facts_stat_text(rows, "dir", info.dir);
    facts_stat_text(rows, "store_id", info.store_id);
    facts_stat_text(rows, "start_id", info.start_id);
    facts_stat_text(rows, "version", KVSQL_VERSION);
    return session->khashes != NULL ? facts_indexes(rows, session, err)
                                    : KVSQL_OK;
}

kvsql_rc vt_fill_snapshots(struct vt_rows *rows, struct vt_session *session,
                           struct kvsql_error *err)
{
    struct kv_snapshot_info kept[FACTS_SNAPSHOTS_MAX];
    unsigned count = kv_snapshot_list(session->db, kept, FACTS_SNAPSHOTS_MAX);

    (void)err;
    for (unsigned i = 0; i < count; i++) {
        vt_row(rows);
        vt_row_text(rows, kept[i].file);
        vt_row_int(rows, (int64_t)kept[i].position);
        vt_row_int(rows, kept[i].created_at);
        vt_row_int(rows, (int64_t)kept[i].size);
        vt_row_text(rows, "kept");
    }
    return KVSQL_OK;
}

/* Who has a view: the sessions of ours, or what the pin said of itself. */
kvsql_rc vt_fill_views(struct vt_rows *rows, struct vt_session *session,
                       struct kvsql_error *err)
{
    struct kv_view_info views[FACTS_VIEWS_MAX];
    char holder[FACTS_HOLDER_MAX];
    unsigned count = kv_view_list(session->db, session->txn, views,
                                  FACTS_VIEWS_MAX);

    (void)err;
    for (unsigned i = 0; i < count; i++) {
        vt_row(rows);
        vt_row_int(rows, (int64_t)views[i].id);
        vt_row_int(rows, (int64_t)views[i].position);
        vt_row_int(rows, (int64_t)views[i].age_ms);
        vt_row_int(rows, views[i].pins);
        vt_row_int(rows, (int64_t)views[i].bytes);
        vt_row_text(rows, vt_query_holder(session, &views[i], holder,
                                          sizeof(holder)));
    }
    return KVSQL_OK;
}

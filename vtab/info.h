/* info.h - the small tables about kvsql itself (sql.md 2.7): their rows are
 * made when they are asked for. info.c is the module, facts.c tells of the
 * store, queries.c of sessions, upper.c of what the rooms above know. */
#ifndef KVSQL_VTAB_INFO_H
#define KVSQL_VTAB_INFO_H

#include "vtab/rows.h"
#include "vtab/state.h"

struct vt_info {
    const char *name;
    kvsql_rc (*fill)(struct vt_rows *rows, struct vt_session *session,
                     struct kvsql_error *err);
    /* NULL, or what puts in values that need a walk over the store: those of
     * the second column that are still NULL. Called when one is asked for. */
    kvsql_rc (*walk)(struct vt_rows *rows, struct vt_session *session,
                     struct kvsql_error *err);
    bool (*there)(const struct vt_host *host); /* NULL: always */
    bool direct;   /* not in views and triggers (WR8) */
    bool numbered; /* the first column is the row's number */
    /* DELETE and UPDATE of the row with this number; NULL: not allowed. */
    kvsql_rc (*remove)(struct vt_session *session, int64_t number,
                       struct kvsql_error *err);
    kvsql_rc (*update)(struct vt_session *session, int64_t number,
                       sqlite3_value **column, struct kvsql_error *err);
};

/* Whether a table of columns.def is in this program: some need the rooms
 * above. */
KV_INTERNAL bool vt_table_there(const char *name);

/* facts.c */
KV_INTERNAL kvsql_rc vt_fill_columns(struct vt_rows *, struct vt_session *,
                                     struct kvsql_error *);
KV_INTERNAL kvsql_rc vt_fill_meta(struct vt_rows *, struct vt_session *,
                                  struct kvsql_error *);
KV_INTERNAL kvsql_rc vt_walk_meta(struct vt_rows *, struct vt_session *,
                                  struct kvsql_error *);
KV_INTERNAL kvsql_rc vt_fill_schema(struct vt_rows *, struct vt_session *,
                                    struct kvsql_error *);
KV_INTERNAL kvsql_rc vt_fill_stats(struct vt_rows *, struct vt_session *,
                                   struct kvsql_error *);
KV_INTERNAL kvsql_rc vt_fill_snapshots(struct vt_rows *, struct vt_session *,
                                       struct kvsql_error *);
KV_INTERNAL kvsql_rc vt_fill_views(struct vt_rows *, struct vt_session *,
                                   struct kvsql_error *);
/* queries.c */
KV_INTERNAL kvsql_rc vt_fill_queries(struct vt_rows *, struct vt_session *,
                                     struct kvsql_error *);
KV_INTERNAL kvsql_rc vt_query_remove(struct vt_session *, int64_t number,
                                     struct kvsql_error *);
/* upper.c */
KV_INTERNAL bool vt_has_commands(const struct vt_host *host);
KV_INTERNAL kvsql_rc vt_fill_commands(struct vt_rows *, struct vt_session *,
                                      struct kvsql_error *);
KV_INTERNAL bool vt_has_clients(const struct vt_host *host);
KV_INTERNAL kvsql_rc vt_fill_clients(struct vt_rows *, struct vt_session *,
                                     struct kvsql_error *);
KV_INTERNAL kvsql_rc vt_client_remove(struct vt_session *, int64_t number,
                                      struct kvsql_error *);
KV_INTERNAL bool vt_has_slowlog(const struct vt_host *host);
KV_INTERNAL kvsql_rc vt_fill_slowlog(struct vt_rows *, struct vt_session *,
                                     struct kvsql_error *);
KV_INTERNAL bool vt_has_latency(const struct vt_host *host);
KV_INTERNAL kvsql_rc vt_fill_latency(struct vt_rows *, struct vt_session *,
                                     struct kvsql_error *);

KV_INTERNAL bool vt_has_config(const struct vt_host *host);
KV_INTERNAL kvsql_rc vt_fill_config(struct vt_rows *, struct vt_session *,
                                    struct kvsql_error *);
KV_INTERNAL kvsql_rc vt_config_update(struct vt_session *, int64_t number,
                                      sqlite3_value **column,
                                      struct kvsql_error *);

#endif

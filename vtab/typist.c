/* typist.c - what the store needs to know of SQL to keep indexes (index.c):
 * which indexes a definition declares, and what a text is as a value.
 *
 * Both are SQLite's business: it cuts the arguments of CREATE VIRTUAL TABLE
 * apart, and it reads the numbers that are not whole. So a typist has a
 * connection of its own, in which the module kv_hash reads a declaration and
 * makes no table. It is used under the store lock, in whatever thread changes
 * the store; its memory counts for no session.
 *
 * Thread: the holder of the store lock. */
#include "vtab/khash.h"

#include <string.h>

struct typist {
    struct vt_reals reals;
    struct vt_budget budget;
    sqlite3_module module;
    struct kv_buf *specs; /* of the definition that is being read */
    bool nomem;
};

/* The arguments are all that is wanted. */
static int typist_create(sqlite3 *sql, void *aux, int argc,
                         const char *const *argv, sqlite3_vtab **out,
                         char **error)
{
    struct typist *typist = (struct typist *)aux;
    struct vt_khash *khash = sqlite3_malloc64(sizeof(*khash));
    struct kv_buf spec;
    int rc;

    (void)sql;
    (void)out;
    if (khash == NULL) return SQLITE_NOMEM;
    memset(khash, 0, sizeof(*khash));
    rc = vt_khash_define(khash, argc, argv, error);
    kv_buf_init(&spec, KV_MEM_MISC, KV_DEFS_SIZE_MAX);
    for (int i = 0; rc == SQLITE_OK && i < khash->indexes; i++) {
        kv_buf_cut(&spec, 0);
        vt_khash_spec(khash, i, &spec);
        kv_buf_varint(typist->specs, spec.size);
        kv_buf_add(typist->specs, spec.p, spec.size);
        if (spec.failed || typist->specs->failed) rc = SQLITE_NOMEM;
    }
    kv_buf_fini(&spec);
    vt_khash_undefine(khash);
    sqlite3_free(khash);
    return rc == SQLITE_OK ? SQLITE_ERROR : rc; /* no table is made */
}

/* Asked for by SQLite, and not called: no table is made. */
static int typist_destroy(sqlite3_vtab *vtab)
{
    (void)vtab;
    return SQLITE_OK;
}

static bool typist_indexes(void *arg, const struct kv_def *def,
                           struct kv_buf *specs)
{
    struct typist *typist = (struct typist *)arg;
    struct vt_budget *before = vt_budget_enter(&typist->budget);
    char *sql = sqlite3_mprintf("%.*s", (int)def->text.size,
                                (const char *)def->text.p);
    int rc = SQLITE_NOMEM;

    typist->specs = specs;
    if (sql != NULL)
        rc = sqlite3_exec(typist->reals.sql, sql, NULL, NULL, NULL);
    sqlite3_free(sql);
    typist->specs = NULL;
    vt_budget_leave(before);
    return (rc & 0xff) != SQLITE_NOMEM;
}

static bool typist_type(void *arg, unsigned affinity, const struct kv_val *val,
                        struct kv_datum *datum)
{
    struct typist *typist = (struct typist *)arg;
    struct vt_budget *before = vt_budget_enter(&typist->budget);
    struct vt_cell cell = {.kind = VT_CELL_NULL};
    const int rc = vt_typed_cell(&typist->reals, (enum vt_affinity)affinity,
                                 val, &cell);

    vt_budget_leave(before);
    vt_typed_datum(&cell, datum);
    return rc == SQLITE_OK;
}

static void typist_free(void *arg)
{
    struct typist *typist = (struct typist *)arg;
    struct vt_budget *before = vt_budget_enter(&typist->budget);

    (void)sqlite3_finalize(typist->reals.stmt);
    (void)sqlite3_close_v2(typist->reals.sql);
    vt_budget_leave(before);
    kv_mem_free(KV_MEM_MISC, typist, sizeof(*typist));
}

static struct typist *typist_new(void)
{
    struct typist *typist = kv_mem_zalloc(KV_MEM_MISC, sizeof(*typist));
    struct vt_budget *before;
    int rc;

    if (typist == NULL) return NULL;
    typist->module.xCreate = typist_create;
    typist->module.xDestroy = typist_destroy;
    before = vt_budget_enter(&typist->budget);
    rc = sqlite3_open_v2(":memory:", &typist->reals.sql,
                         SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                             SQLITE_OPEN_NOMUTEX,
                         NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_create_module_v2(typist->reals.sql, "kv_hash",
                                      &typist->module, typist, NULL);
    vt_budget_leave(before);
    if (rc == SQLITE_OK) return typist;
    typist_free(typist);
    return NULL;
}

kvsql_rc vt_indexes_keep(kvsql *db, struct kvsql_error *err)
{
    struct kv_typist hands = {.indexes = typist_indexes,
                              .type = typist_type,
                              .free = typist_free};

    const kvsql_rc rc = vt_start(err);
    if (rc != KVSQL_OK || kv_has_typist(db)) return rc;
    hands.arg = typist_new();
    if (hands.arg == NULL)
        return kv_fail(err, KVSQL_NOMEM, "sql: no memory for indexes");
    if (!kv_set_typist(db, &hands)) typist_free(hands.arg);
    return KVSQL_OK;
}

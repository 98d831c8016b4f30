/* khash.c - the module kv_hash: hashes under a pattern as rows (sql.md KH1,
 * KH2).
 *
 *   user:7 {name: Ann, age: 41}     id   name  age   key     _extra
 *   user:8 {name: Bob, tel: 5}      '7'  'Ann' 41    user:7  NULL
 *                                   '8'  'Bob' NULL  user:8  {"tel":"5"}
 *
 * Nothing is copied: a row is read from the hash when it is asked for. The
 * common plans and cursors find the keys; a table says with its vt_def what
 * stands in front of them. The tables of a session are in a list, by which the
 * authorizer knows them.
 *
 * Thread: the session's. */
#include "vtab/khash.h"

#include "vtab/guest.h"
#include "vtab/module.h"

#include <string.h>

/* What the module is registered with. */
struct khash_aux {
    struct vt_session *session;
    sqlite3_module module;
};

/* ---- rows ------------------------------------------------------------------ */

/* As SQLite's JSON functions write a text. */
static void khash_json_text(sqlite3_str *out, const struct kv_val *val)
{
    static const char hex[] = "0123456789abcdef";

    for (uint32_t i = 0; i < val->size; i++) {
        const char c = (char)val->p[i];
        const char *named = strchr("\bb\ff\nn\rr\tt", c);
        if (c == '"' || c == '\\') {
            sqlite3_str_appendchar(out, 1, '\\');
            sqlite3_str_appendchar(out, 1, c);
        } else if ((uint8_t)c >= 0x20) {
            sqlite3_str_appendchar(out, 1, c);
        } else if (named != NULL) {
            sqlite3_str_appendchar(out, 1, '\\');
            sqlite3_str_appendchar(out, 1, named[1]);
        } else {
            sqlite3_str_appendall(out, "\\u00");
            sqlite3_str_appendchar(out, 1, hex[(uint8_t)c >> 4]);
            sqlite3_str_appendchar(out, 1, hex[c & 15]);
        }
    }
}

static void khash_json_hex(sqlite3_str *out, const struct kv_val *val)
{
    for (uint32_t i = 0; i < val->size; i++)
        sqlite3_str_appendf(out, "%02X", val->p[i]);
}

/* "field":"value", in which bytes that are no text are in hex: "$hex:FF" as a
 * field, {"$hex":"FF"} as a value. */
static void khash_json(sqlite3_str *out, const struct kv_elem *elem)
{
    sqlite3_str_appendchar(out, 1, sqlite3_str_length(out) > 0 ? ',' : '{');
    sqlite3_str_appendchar(out, 1, '"');
    if (elem->key.cls == KV_TEXT) {
        khash_json_text(out, &elem->key);
    } else {
        sqlite3_str_appendall(out, "$hex:");
        khash_json_hex(out, &elem->key);
    }
    sqlite3_str_appendall(out, "\":");
    if (elem->value.cls == KV_TEXT) {
        sqlite3_str_appendchar(out, 1, '"');
        khash_json_text(out, &elem->value);
        sqlite3_str_appendchar(out, 1, '"');
    } else {
        sqlite3_str_appendall(out, "{\"$hex\":\"");
        khash_json_hex(out, &elem->value);
        sqlite3_str_appendall(out, "\"}");
    }
}

static bool khash_declared(const struct vt_khash *khash,
                           const struct kv_val *field)
{
    for (int i = 1; i < khash->columns; i++)
        if (khash->column[i].field.size == field->size &&
            memcmp(khash->column[i].field.p, field->p, field->size) == 0)
            return true;
    return false;
}

/* _extra: the fields that are no columns; NULL when there are none. */
static int khash_extra(const struct vt_khash *khash, const struct kv_at *at,
                       const struct kv_item *item, struct vt_cell *cell)
{
    sqlite3_str *out = sqlite3_str_new(khash->table.session->sql);
    struct kv_elems elems;
    bool found;
    int rc, size;

    kv_elems_init(&elems, at, item, KV_ELEMS_KEY);
    for (found = kv_elems_first(&elems); found; found = kv_elems_next(&elems))
        if (!khash_declared(khash, &elems.elem.key))
            khash_json(out, &elems.elem);
    if (sqlite3_str_length(out) > 0) sqlite3_str_appendchar(out, 1, '}');
    rc = sqlite3_str_errcode(out);
    size = sqlite3_str_length(out);
    cell->p = (const uint8_t *)sqlite3_str_finish(out);
    if (rc != SQLITE_OK) {
        sqlite3_free((void *)(uintptr_t)cell->p);
        return rc;
    }
    if (cell->p == NULL) return SQLITE_OK;
    cell->kind = VT_CELL_BYTES;
    cell->cls = KV_TEXT;
    cell->size = (size_t)size;
    cell->keep = false;
    cell->owned = true;
    return SQLITE_OK;
}

int vt_khash_cell(struct vt_khash *khash, const struct kv_at *at,
                  const struct kv_item *item, int column, struct kv_elem *elem,
                  struct vt_cell *cell)
{
    const int hidden = column - khash->columns;

    KV_ASSERT(column > 0 && hidden != VT_KHASH_KEY);
    if (hidden == VT_KHASH_EXTRA) return khash_extra(khash, at, item, cell);
    if (hidden == VT_KHASH_EXPIRES) {
        vt_cell_time(cell, item->expires_at);
        return SQLITE_OK;
    }
    if (!kv_elem_find(at, item, &khash->column[column].field, elem))
        return SQLITE_OK;
    return vt_typed_cell(&khash->table.session->reals,
                         khash->column[column].affinity, &elem->value, cell);
}

static void khash_column(struct vt_cursor *cursor, int column,
                         struct vt_cell *cell)
{
    struct vt_khash *khash = (struct vt_khash *)cursor->table;
    int rc;

    if (cursor->seeking && cursor->seek->covers &&
        vt_seek_cell(cursor, column, cell))
        return;
    if (column == 0 || column == khash->columns + VT_KHASH_KEY) {
        vt_cell_key(cursor, cell);
        if (column != 0) return;
        cell->p += khash->prefix.size;
        cell->size -= khash->prefix.size;
        return;
    }
    rc = vt_khash_cell(khash, &cursor->at, cursor->item, column, &cursor->found,
                       cell);
    if (rc != SQLITE_OK) vt_cell_failed(cell, rc);
}

bool vt_khash_is_text(const struct vt_khash *khash, int column)
{
    return column < khash->columns
               ? khash->column[column].affinity == VT_AFFINITY_TEXT
               : column != khash->columns + VT_KHASH_EXPIRES;
}

/* ---- life ------------------------------------------------------------------ */

bool vt_khash_known(const struct vt_session *session, const char *name)
{
    const struct vt_khash *khash = session->khashes;

    for (; khash != NULL; khash = khash->next)
        if (sqlite3_stricmp(khash->name, name) == 0) return true;
    return false;
}

static char *khash_declare(const struct vt_khash *khash)
{
    sqlite3_str *text = sqlite3_str_new(NULL);

    sqlite3_str_appendf(text, "CREATE TABLE x(\"%w\" TEXT NOT NULL PRIMARY KEY",
                        khash->label[0]);
    for (int i = 1; i < khash->columns; i++) {
        const char *type = khash->column[i].type;
        sqlite3_str_appendf(text, ", \"%w\" %s", khash->label[i],
                            type[0] != 0 ? type : "TEXT");
    }
    sqlite3_str_appendall(text, ", key TEXT HIDDEN, expires_at INTEGER HIDDEN, "
                                "_extra TEXT HIDDEN) WITHOUT ROWID");
    return sqlite3_str_finish(text);
}

static int khash_configure(struct vt_khash *khash, sqlite3 *sql, char **error)
{
    char *text = khash_declare(khash);
    int rc = vt_declare_as(khash->table.session, text);

    sqlite3_free(text);
    if (rc == SQLITE_ERROR)
        *error = sqlite3_mprintf("kv_hash: %s", sqlite3_errmsg(sql));
    if (rc == SQLITE_OK)
        rc = sqlite3_vtab_config(sql, SQLITE_VTAB_CONSTRAINT_SUPPORT, 1);
    if (rc == SQLITE_OK) rc = sqlite3_vtab_config(sql, SQLITE_VTAB_INNOCUOUS);
    return rc;
}

/* What the common plans and cursors need to know. */
static void khash_describe(struct vt_khash *khash)
{
    const int key = khash->columns + VT_KHASH_KEY;
    const int bit = key < 63 ? key : 63; /* of colUsed: 63 is all from there */

    khash->def = (struct vt_def){
        .name = khash->name, .type = KV_HASH, .elem = VT_ELEM_NONE,
        .col_elem = -1, .col_score = -1, .col_rank = -1, .col_expires = -1,
        .col_id = -1, .columns = khash->columns + VT_KHASH_HIDDEN,
        .keyless = ~((uint64_t)1 | (uint64_t)1 << bit),
        .elem_name = "", .unique = khash->unique, .prefix = &khash->prefix,
        .labels = khash->label, .column = khash_column,
        .insert = vt_khash_insert, .update = vt_khash_update,
        .remove = vt_khash_remove};
    khash->table.def = &khash->def;
}

static void khash_free(struct vt_khash *khash)
{
    vt_khash_undefine(khash);
    sqlite3_free(khash);
}

static int khash_connect(sqlite3 *sql, void *aux_arg, int argc,
                         const char *const *argv, sqlite3_vtab **out,
                         char **error)
{
    struct khash_aux *aux = (struct khash_aux *)aux_arg;
    struct vt_session *session = aux->session;
    struct vt_khash *khash = sqlite3_malloc64(sizeof(*khash));
    int rc;

    if (khash == NULL) return SQLITE_NOMEM;
    memset(khash, 0, sizeof(*khash));
    khash->table.session = session;
    rc = vt_khash_define(khash, argc, argv, error);
    if (rc == SQLITE_OK && khash->indexes > 0 &&
        (khash->temp || session->guest != NULL)) {
        *error = sqlite3_mprintf("kv_hash: an index is kept by the store: %s "
                                 "has none", khash->temp
                                     ? "a TEMP table"
                                     : "a table of another connection");
        rc = SQLITE_ERROR;
    }
    if (rc == SQLITE_OK) rc = khash_configure(khash, sql, error);
    if (rc != SQLITE_OK) {
        khash_free(khash);
        return rc;
    }
    khash_describe(khash);
    khash->next = session->khashes;
    khash->link = &session->khashes;
    if (khash->next != NULL) khash->next->link = &khash->next;
    session->khashes = khash;
    vt_table_enter(&khash->table);
    *out = &khash->table.base;
    return SQLITE_OK;
}

static int khash_disconnect(sqlite3_vtab *vtab)
{
    struct vt_khash *khash = (struct vt_khash *)vtab;

    *khash->link = khash->next;
    if (khash->next != NULL) khash->next->link = khash->link;
    vt_table_leave(&khash->table);
    khash_free(khash);
    return SQLITE_OK;
}

/* Whether a statement changes what the store says. A connection that is not our
 * own keeps its tables in its own database. */
static bool khash_defines(const struct vt_khash *khash)
{
    const struct vt_session *session = khash->table.session;

    return !khash->temp && !session->learning && session->guest == NULL;
}

/* A module whose xCreate is its xConnect would be a table without being
 * created. */
static int khash_create(sqlite3 *sql, void *aux, int argc,
                        const char *const *argv, sqlite3_vtab **out,
                        char **error)
{
    int rc = khash_connect(sql, aux, argc, argv, out, error);
    struct vt_khash *khash;

    if (rc != SQLITE_OK) return rc;
    khash = (struct vt_khash *)*out;
    if (!khash_defines(khash)) return SQLITE_OK;
    if (sqlite3_get_autocommit(sql)) {
        rc = vt_defs_note(khash->table.session, khash, false);
    } else {
        rc = SQLITE_ERROR;
        *error = sqlite3_mprintf("kv_hash: tables are made outside of "
                                 "transactions");
    }
    if (rc != SQLITE_OK) {
        (void)khash_disconnect(*out);
        *out = NULL;
    }
    return rc;
}

/* DROP: the definition goes, never the hashes (WR9). */
static int khash_destroy(sqlite3_vtab *vtab)
{
    struct vt_khash *khash = (struct vt_khash *)vtab;
    struct vt_session *session = khash->table.session;
    int rc = SQLITE_OK;

    if (khash_defines(khash))
        rc = sqlite3_get_autocommit(session->sql)
                 ? vt_defs_note(session, khash, true)
                 : SQLITE_ERROR;
    return rc == SQLITE_OK ? khash_disconnect(vtab) : rc;
}

/* Errors and cursors have the name. */
static int khash_rename(sqlite3_vtab *vtab, const char *name)
{
    struct vt_khash *khash = (struct vt_khash *)vtab;
    char *copy, *unique;

    if (khash_defines(khash)) {
        sqlite3_free(vtab->zErrMsg);
        vtab->zErrMsg = sqlite3_mprintf(
            "kv_hash: drop %s and create it with the other name; the hashes "
            "stay", khash->name);
        return SQLITE_ERROR;
    }
    copy = sqlite3_mprintf("%s", name);
    unique = sqlite3_mprintf("%s.%s", name, khash->label[0]);
    if (copy == NULL || unique == NULL) {
        sqlite3_free(copy);
        sqlite3_free(unique);
        return SQLITE_NOMEM;
    }
    sqlite3_free(khash->name);
    sqlite3_free(khash->unique);
    khash->name = copy;
    khash->unique = unique;
    khash_describe(khash);
    return SQLITE_OK;
}

static int khash_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    struct vt_khash *khash = (struct vt_khash *)vtab;
    int rc = vt_plan(&khash->table, info);

    if (rc == SQLITE_OK && khash->indexes > 0) rc = vt_khash_plan(khash, info);
    return rc == SQLITE_OK ? vt_plan_tell(khash->table.session, info) : rc;
}

static void khash_aux_free(void *aux_arg)
{
    vt_unshare(((struct khash_aux *)aux_arg)->session);
    sqlite3_free(aux_arg);
}

int vt_khash_register(struct vt_session *session)
{
    struct khash_aux *aux = sqlite3_malloc64(sizeof(*aux));

    if (aux == NULL) return SQLITE_NOMEM;
    aux->session = vt_share(session);
    vt_table_methods(&aux->module);
    aux->module.xCreate = khash_create;
    aux->module.xConnect = khash_connect;
    aux->module.xDisconnect = khash_disconnect;
    aux->module.xDestroy = khash_destroy;
    aux->module.xRename = khash_rename;
    aux->module.xBestIndex = khash_best_index;
    return sqlite3_create_module_v2(session->sql, "kv_hash", &aux->module, aux,
                                    khash_aux_free);
}

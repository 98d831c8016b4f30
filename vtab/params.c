/* params.c - the values that a statement's program would hand to a table.
 *
 * Methods of a table take SQLite's values, which none but SQLite makes. So
 * parameters of a statement that is run without SQLite's program are bound to a
 * statement of our own, SELECT ?1, 'a', ?2: its columns are what the program's
 * registers would be, whether a number was bound or written included.
 *
 * Thread: the session's. */
#include "vtab/params.h"

#include "kvsql/base/diag.h"

#include <string.h>

bool vt_params_init(struct vt_params *params, sqlite3 *sql,
                    const struct vt_param *param, unsigned count,
                    const char *literals)
{
    sqlite3_str *text;
    char *select;
    int rc = SQLITE_NOMEM;

    KV_ASSERT(count <= VT_PARAMS_MAX);
    memset(params, 0, sizeof(*params));
    params->count = count;
    if (count == 0) return true;
    text = sqlite3_str_new(NULL);
    for (unsigned i = 0; i < count; i++) {
        params->number[i] = param[i].number;
        sqlite3_str_appendall(text, i == 0 ? "SELECT " : ", ");
        if (param[i].number > 0)
            sqlite3_str_appendf(text, "?%d", param[i].number);
        else if (param[i].text)
            sqlite3_str_appendf(text, "%Q", literals + param[i].place);
        else
            sqlite3_str_appendf(text, "%lld", (long long)param[i].integer);
    }
    select = sqlite3_str_finish(text);
    if (select != NULL)
        rc = sqlite3_prepare_v3(sql, select, -1, SQLITE_PREPARE_PERSISTENT,
                                &params->stmt, NULL);
    sqlite3_free(select);
    return rc == SQLITE_OK;
}

void vt_params_fini(struct vt_params *params)
{
    (void)sqlite3_finalize(params->stmt);
    params->stmt = NULL;
}

void vt_params_drop(struct vt_params *params)
{
    (void)sqlite3_reset(params->stmt); /* it has no errors to tell */
}

void vt_params_unbind(struct vt_params *params)
{
    vt_params_drop(params);
    (void)sqlite3_clear_bindings(params->stmt);
}

int vt_params_take(struct vt_params *params, sqlite3_value **argv)
{
    int rc;

    if (params->stmt == NULL) return SQLITE_OK;
    rc = sqlite3_step(params->stmt);
    if (rc != SQLITE_ROW) return rc;
    for (unsigned i = 0; i < params->count; i++)
        argv[i] = sqlite3_column_value(params->stmt, (int)i);
    return SQLITE_OK;
}

int vt_params_hand_over(struct vt_params *params, sqlite3_stmt *stmt)
{
    sqlite3_value *argv[VT_PARAMS_MAX];
    int rc = vt_params_take(params, argv);

    for (unsigned i = 0; rc == SQLITE_OK && i < params->count; i++)
        if (params->number[i] > 0)
            rc = sqlite3_bind_value(stmt, params->number[i], argv[i]);
    vt_params_drop(params);
    return rc;
}

/* modules.c - see modules.h. */
#include "tests/lib/modules.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kvsql/base/mem.h"

/* What SQLite is given: the module with counters, and a copy of the one behind
 * it. All sessions register the same ones under the same names. */
struct counted {
    sqlite3_module module, real;
};
static struct {
    unsigned count;
    struct modules_module module[MODULES_MAX];
} * modules;
static struct counted counted[MODULES_MAX]; /* of this process, as modules */
static bool armed;

static const char *const method_names[MODULES_METHODS] = {
    "xCreate",    "xConnect",  "xBestIndex", "xDisconnect", "xDestroy",
    "xOpen",      "xClose",    "xFilter",    "xNext",       "xEof",
    "xColumn",    "xRowid",    "xUpdate",    "xBegin",      "xSync",
    "xCommit",    "xRollback", "xRename",    "xSavepoint",  "xRelease",
    "xRollbackTo"};

const char *modules_method_name(enum modules_method method)
{
    return method_names[method];
}

void modules_share(void)
{
    if (modules != NULL)
        return;
    modules = mmap(NULL, sizeof(*modules), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (modules == MAP_FAILED)
        abort(); /* outside of a test, perhaps */
}

const struct modules_module *modules_at(unsigned i)
{
    return modules != NULL && i < modules->count ? &modules->module[i] : NULL;
}

uint64_t modules_calls(enum modules_method method)
{
    uint64_t calls = 0;

    for (unsigned i = 0; modules_at(i) != NULL; i++)
        calls += modules->module[i].method[method].calls;
    return calls;
}

bool modules_fail_at(uint64_t n)
{
    const bool failed = kv_mem_failed() != 0;

    kv_mem_fail_at(n, 0);
    armed = n != 0;
    return failed;
}

/* ---- the methods ------------------------------------------------------------- */

/* One call of one method. */
struct call {
    struct modules_count *count;
    bool waits; /* an allocation is to fail, and has not */
};

static struct call call_begin(unsigned at, enum modules_method method)
{
    struct modules_count *count = &modules->module[at].method[method];
    const bool waits = armed && kv_mem_failed() == 0;

    count->calls++;
    count->armed += waits;
    return (struct call){count, waits};
}

static void call_end(struct call call)
{
    call.count->failed += call.waits && kv_mem_failed() != 0;
}

static const struct counted *of(const sqlite3_vtab *vtab)
{
    return (const struct counted *)(const void *)vtab->pModule;
}

static unsigned module_of(const char *name)
{
    unsigned at = 0;

    while (at < modules->count && strcmp(modules->module[at].name, name) != 0)
        at++;
    return at;
}

static const struct counted *of_name(const char *name)
{
    return &counted[module_of(name)];
}

#define METHOD(name, method, behind, counted_of, params, args)                 \
    static int name params                                                     \
    {                                                                          \
        const struct counted *c = counted_of;                                  \
        const struct call call = call_begin((unsigned)(c - counted), method);  \
        const int rc = c->real.behind args;                                    \
        call_end(call);                                                        \
        return rc;                                                             \
    }
#define CONNECT_PARAMS                                                         \
    (sqlite3 * sql, void *aux, int argc, const char *const *argv,              \
     sqlite3_vtab **out, char **error)
#define CONNECT_ARGS (sql, aux, argc, argv, out, error)

METHOD(count_create, MODULES_CREATE, xCreate, of_name(argv[0]), CONNECT_PARAMS,
       CONNECT_ARGS)
METHOD(count_connect, MODULES_CONNECT, xConnect, of_name(argv[0]),
       CONNECT_PARAMS, CONNECT_ARGS)
METHOD(count_best_index, MODULES_BEST_INDEX, xBestIndex, of(vtab),
       (sqlite3_vtab * vtab, sqlite3_index_info *info), (vtab, info))
METHOD(count_disconnect, MODULES_DISCONNECT, xDisconnect, of(vtab),
       (sqlite3_vtab * vtab), (vtab))
METHOD(count_destroy, MODULES_DESTROY, xDestroy, of(vtab),
       (sqlite3_vtab * vtab), (vtab))
METHOD(count_open, MODULES_OPEN, xOpen, of(vtab),
       (sqlite3_vtab * vtab, sqlite3_vtab_cursor **out), (vtab, out))
METHOD(count_close, MODULES_CLOSE, xClose, of(cursor->pVtab),
       (sqlite3_vtab_cursor * cursor), (cursor))
METHOD(count_filter, MODULES_FILTER, xFilter, of(cursor->pVtab),
       (sqlite3_vtab_cursor * cursor, int plan, const char *text, int argc,
        sqlite3_value **argv),
       (cursor, plan, text, argc, argv))
METHOD(count_next, MODULES_NEXT, xNext, of(cursor->pVtab),
       (sqlite3_vtab_cursor * cursor), (cursor))
METHOD(count_eof, MODULES_EOF, xEof, of(cursor->pVtab),
       (sqlite3_vtab_cursor * cursor), (cursor))
METHOD(count_column, MODULES_COLUMN, xColumn, of(cursor->pVtab),
       (sqlite3_vtab_cursor * cursor, sqlite3_context *context, int column),
       (cursor, context, column))
METHOD(count_rowid, MODULES_ROWID, xRowid, of(cursor->pVtab),
       (sqlite3_vtab_cursor * cursor, sqlite3_int64 *rowid), (cursor, rowid))
METHOD(count_update, MODULES_UPDATE, xUpdate, of(vtab),
       (sqlite3_vtab * vtab, int argc, sqlite3_value **argv,
        sqlite3_int64 *rowid),
       (vtab, argc, argv, rowid))
METHOD(count_begin, MODULES_BEGIN, xBegin, of(vtab), (sqlite3_vtab * vtab),
       (vtab))
METHOD(count_sync, MODULES_SYNC, xSync, of(vtab), (sqlite3_vtab * vtab), (vtab))
METHOD(count_commit, MODULES_COMMIT, xCommit, of(vtab), (sqlite3_vtab * vtab),
       (vtab))
METHOD(count_rollback, MODULES_ROLLBACK, xRollback, of(vtab),
       (sqlite3_vtab * vtab), (vtab))
METHOD(count_rename, MODULES_RENAME, xRename, of(vtab),
       (sqlite3_vtab * vtab, const char *name), (vtab, name))
METHOD(count_savepoint, MODULES_SAVEPOINT, xSavepoint, of(vtab),
       (sqlite3_vtab * vtab, int n), (vtab, n))
METHOD(count_release, MODULES_RELEASE, xRelease, of(vtab),
       (sqlite3_vtab * vtab, int n), (vtab, n))
METHOD(count_rollback_to, MODULES_ROLLBACK_TO, xRollbackTo, of(vtab),
       (sqlite3_vtab * vtab, int n), (vtab, n))

/* ---- registering ---------------------------------------------------------------- */

static void count_methods(unsigned at, const sqlite3_module *real)
{
    struct modules_count *method = modules->module[at].method;
    sqlite3_module *to = &counted[at].module;

    *to = counted[at].real = *real;
#define COUNT(id, x, with)                                                     \
    do {                                                                       \
        method[id].there = to->x != NULL;                                      \
        if (to->x != NULL)                                                     \
            to->x = with;                                                      \
    } while (0)
    COUNT(MODULES_CREATE, xCreate, count_create);
    COUNT(MODULES_CONNECT, xConnect, count_connect);
    COUNT(MODULES_BEST_INDEX, xBestIndex, count_best_index);
    COUNT(MODULES_DISCONNECT, xDisconnect, count_disconnect);
    COUNT(MODULES_DESTROY, xDestroy, count_destroy);
    COUNT(MODULES_OPEN, xOpen, count_open);
    COUNT(MODULES_CLOSE, xClose, count_close);
    COUNT(MODULES_FILTER, xFilter, count_filter);
    COUNT(MODULES_NEXT, xNext, count_next);
    COUNT(MODULES_EOF, xEof, count_eof);
    COUNT(MODULES_COLUMN, xColumn, count_column);
    COUNT(MODULES_ROWID, xRowid, count_rowid);
    COUNT(MODULES_UPDATE, xUpdate, count_update);
    COUNT(MODULES_BEGIN, xBegin, count_begin);
    COUNT(MODULES_SYNC, xSync, count_sync);
    COUNT(MODULES_COMMIT, xCommit, count_commit);
    COUNT(MODULES_ROLLBACK, xRollback, count_rollback);
    COUNT(MODULES_RENAME, xRename, count_rename);
    COUNT(MODULES_SAVEPOINT, xSavepoint, count_savepoint);
    COUNT(MODULES_RELEASE, xRelease, count_release);
    COUNT(MODULES_ROLLBACK_TO, xRollbackTo, count_rollback_to);
#undef COUNT
    if (real->xCreate == real->xConnect) { /* it has no CREATE TABLE */
        to->xCreate = count_connect;
        method[MODULES_CREATE].there = false;
    }
}

int __real_sqlite3_create_module_v2(sqlite3 *sql, const char *name,
                                    const sqlite3_module *module, void *aux,
                                    void (*done)(void *));
int __wrap_sqlite3_create_module_v2(sqlite3 *sql, const char *name,
                                    const sqlite3_module *module, void *aux,
                                    void (*done)(void *));

/* The typist's module makes no table: it is let alone. */
int __wrap_sqlite3_create_module_v2(sqlite3 *sql, const char *name,
                                    const sqlite3_module *module, void *aux,
                                    void (*done)(void *))
{
    if (module->xOpen == NULL)
        return __real_sqlite3_create_module_v2(sql, name, module, aux, done);
    modules_share();
    const unsigned at = module_of(name);
    ck_assert_uint_lt(at, MODULES_MAX);
    if (at == modules->count) {
        (void)snprintf(modules->module[at].name,
                       sizeof(modules->module[at].name), "%s", name);
        modules->count++;
    }
    if (counted[at].real.xOpen == NULL)
        count_methods(at, module);
    return __real_sqlite3_create_module_v2(sql, name, &counted[at].module, aux,
                                           done);
}

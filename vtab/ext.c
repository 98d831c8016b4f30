/* ext.c - the loadable extension: SQLite in any process, with our tables
 * (sql.md 10).
 *
 *   .load ./kvsql
 *   SELECT kv_open('data');
 *
 * Loading gives a connection the function kv_open(); that opens a data
 * directory, and from then on the connection has our tables. A directory is
 * opened once in a process, its connections are counted, the last that is
 * closed closes it. Threads of the store outlive connections, so the library
 * stays where it is once it was loaded.
 *
 *   connection --> store --> kvsql
 *     one of a process, found by its sqlite3*; two may share a store
 *
 * Linked into a program, the same entry serves sqlite3_auto_extension().
 *
 * Thread: any; a connection one at a time. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvsql/base/diag.h"
#include "vtab/guest.h"

#ifdef KVSQL_EXTENSION
SQLITE_EXTENSION_INIT1
#define EXT_INIT(api) SQLITE_EXTENSION_INIT2(api)
#define EXT_OTHER(api, text) (api)->mprintf(text)
#else
#define EXT_INIT(api) (void)(api)
#define EXT_OTHER(api, text) NULL
#endif

struct ext_store {
    struct ext_store *next;
    struct vt_store shared;
    kvsql *db;
    unsigned refs; /* 0: it is being closed */
    bool ready, read_only;
    char path[PATH_MAX]; /* without links, once it is ready */
};

struct ext_connection {
    struct ext_connection *next;
    sqlite3 *sql;
    struct ext_store *store; /* NULL: kv_open() was not called */
    unsigned refs;           /* kv_open() in both forms, the session */
};

/* Never held while a store is opened or closed: who has a connection may wait
 * for it, and who has a store's lock may wait for a connection. */
static struct kv_lock ext_lock = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                                  .rank = KV_RANK_COMMAND};
static struct kv_cond ext_moved; /* a store was opened, or closed */
static struct ext_store *ext_stores;           /* under the lock */
static struct ext_connection *ext_connections; /* under the lock */

/* ---- stores ---------------------------------------------------------------------- */

/* With the lock held. What is open to write is open to read, too. */
static struct ext_store *ext_store_find(const char *path, bool read_only)
{
    struct ext_store *store = ext_stores;

    while (store != NULL && (strcmp(store->path, path) != 0 ||
                             (store->read_only && !read_only)))
        store = store->next;
    return store;
}

/* Out of the list. */
static void ext_store_free(struct ext_store *store)
{
    struct ext_store **link = &ext_stores;

    kv_lock_take(&ext_lock);
    while (*link != store) link = &(*link)->next;
    *link = store->next;
    kv_cond_wake_all(&ext_moved);
    kv_lock_drop(&ext_lock);
    kv_mem_free(KV_MEM_MISC, store, sizeof(*store));
}

static void ext_store_unref(struct ext_store *store)
{
    struct kvsql_error err;
    bool last;

    kv_lock_take(&ext_lock);
    KV_ASSERT(store->refs > 0);
    last = --store->refs == 0;
    kv_lock_drop(&ext_lock);
    if (!last) return;
    vt_store_fini(&store->shared);
    if (kvsql_close(store->db, &err) != KVSQL_OK)
        kv_diag(KV_ERROR_LEVEL, "sql.close", "dir=%s why=\"%s\"", store->path,
                err.text);
    ext_store_free(store);
}

/* Open what is in the list and not ready. */
static kvsql_rc ext_store_open(struct ext_store *store, const char *dir,
                               struct kvsql_error *err)
{
    const struct kvsql_options options = {.read_only = store->read_only};
    char path[PATH_MAX];
    kvsql_rc rc = kvsql_open(dir, &options, &store->db, err);

    if (rc == KVSQL_OK && realpath(dir, path) == NULL) {
        rc = kv_fail(err, KVSQL_IO, "kv_open: %s went away while it was opened",
                     dir);
        if (kvsql_close(store->db, NULL) != KVSQL_OK) rc = KVSQL_IO;
    }
    if (rc != KVSQL_OK) {
        ext_store_free(store);
        return rc;
    }
    vt_store_init(&store->shared);
    kv_lock_take(&ext_lock);
    memcpy(store->path, path, sizeof(path));
    store->ready = true;
    kv_cond_wake_all(&ext_moved);
    kv_lock_drop(&ext_lock);
    return KVSQL_OK;
}

/* The store of a path that is open, or a new one that is to be opened; waits
 * while another thread opens or closes it. */
static struct ext_store *ext_store_claim(const char *path, bool read_only,
                                         struct ext_store *fresh)
{
    struct ext_store *store;

    kv_lock_take(&ext_lock);
    while ((store = ext_store_find(path, read_only)) != NULL &&
           (!store->ready || store->refs == 0))
        kv_cond_wait(&ext_moved, &ext_lock);
    if (store == NULL) {
        (void)snprintf(fresh->path, sizeof(fresh->path), "%s", path);
        fresh->read_only = read_only;
        fresh->next = ext_stores;
        ext_stores = store = fresh;
    }
    store->refs++;
    kv_lock_drop(&ext_lock);
    return store;
}

static kvsql_rc ext_store_ref(const char *dir, bool read_only,
                              struct ext_store **out, struct kvsql_error *err)
{
    const size_t size = strlen(dir);
    struct ext_store *fresh;
    char path[PATH_MAX];

    *out = NULL;
    if (size > 3 && strcmp(dir + size - 3, ".db") == 0)
        return kv_fail(err, KVSQL_INVALID,
                       "kv_open: %s is no data directory; a snapshot needs no "
                       "kv_open(), but ATTACH",
                       dir);
    fresh = kv_mem_zalloc(KV_MEM_MISC, sizeof(*fresh));
    if (fresh == NULL)
        return kv_fail(err, KVSQL_NOMEM, "kv_open: no memory for a store");
    *out = ext_store_claim(realpath(dir, path) != NULL ? path : dir, read_only,
                           fresh);
    if (*out == fresh) return ext_store_open(fresh, dir, err);
    kv_mem_free(KV_MEM_MISC, fresh, sizeof(*fresh));
    return KVSQL_OK;
}

/* ---- connections ------------------------------------------------------------------ */

static struct ext_connection *ext_find(const sqlite3 *sql)
{
    struct ext_connection *connection = ext_connections;

    while (connection != NULL && connection->sql != sql)
        connection = connection->next;
    return connection;
}

static void ext_ref(struct ext_connection *connection)
{
    kv_lock_take(&ext_lock);
    connection->refs++;
    kv_lock_drop(&ext_lock);
}

/* A form of kv_open() is gone with its connection, or was replaced. */
static void ext_unref(void *arg)
{
    struct ext_connection *connection = (struct ext_connection *)arg;
    struct ext_connection **link = &ext_connections;
    bool last;

    kv_lock_take(&ext_lock);
    KV_ASSERT(connection->refs > 0);
    last = --connection->refs == 0;
    while (last && *link != connection) link = &(*link)->next;
    if (last) *link = connection->next;
    kv_lock_drop(&ext_lock);
    if (last) kv_mem_free(KV_MEM_MISC, connection, sizeof(*connection));
}

/* The session is gone with its connection. */
static void ext_left(void *arg)
{
    struct ext_connection *connection = (struct ext_connection *)arg;
    struct ext_store *store = connection->store;

    connection->store = NULL;
    ext_store_unref(store);
    ext_unref(connection);
}

/* ---- kv_open(dir [, 'readonly']) ----------------------------------------------------- */

/* The connection has a store: is it this one? */
static kvsql_rc ext_same(const struct ext_connection *connection,
                         const char *dir, struct kvsql_error *err)
{
    char path[PATH_MAX];

    if (realpath(dir, path) != NULL &&
        strcmp(path, connection->store->path) == 0)
        return KVSQL_OK;
    return kv_fail(err, KVSQL_INVALID,
                   "kv_open: this connection has %s open: open another "
                   "connection for %s",
                   connection->store->path, dir);
}

static kvsql_rc ext_open(struct ext_connection *connection, const char *dir,
                         bool read_only, struct kvsql_error *err)
{
    struct ext_store *store = NULL;
    kvsql_rc rc;

    if (connection->store != NULL) return ext_same(connection, dir, err);
    rc = ext_store_ref(dir, read_only, &store, err);
    if (rc != KVSQL_OK) return rc;
    connection->store = store;
    ext_ref(connection);
    return vt_guest_open(connection->sql, store->db, &store->shared,
                         read_only || store->read_only, ext_left, connection,
                         err);
}

static void ext_fail(sqlite3_context *context, const struct kvsql_error *err)
{
    sqlite3_result_error(context, err->text, -1);
    switch (err->rc) {
    case KVSQL_NOMEM: sqlite3_result_error_nomem(context); break;
    case KVSQL_INVALID: break;
    case KVSQL_NOTFOUND:
        sqlite3_result_error_code(context, SQLITE_CANTOPEN);
        break;
    default: sqlite3_result_error_code(context, vt_code(err->rc)); break;
    }
}

/* "readonly" or nothing. */
static bool ext_mode(sqlite3_value *value, bool *read_only)
{
    const char *text;

    *read_only = false;
    if (sqlite3_value_type(value) == SQLITE_NULL) return true;
    text = (const char *)sqlite3_value_text(value);
    *read_only = text != NULL && sqlite3_stricmp(text, "readonly") == 0;
    return *read_only;
}

static void ext_call(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    struct ext_connection *connection =
        (struct ext_connection *)sqlite3_user_data(context);
    const char *dir = (const char *)sqlite3_value_text(argv[0]);
    struct kvsql_error err;
    bool read_only = false;
    kvsql_rc rc = KVSQL_OK;

    if (dir == NULL || dir[0] == 0 ||
        strlen(dir) != (size_t)sqlite3_value_bytes(argv[0]))
        rc = kv_fail(&err, KVSQL_INVALID,
                     "kv_open: name a data directory: kv_open('data')");
    if (rc == KVSQL_OK && argc == 2 && !ext_mode(argv[1], &read_only))
        rc = kv_fail(&err, KVSQL_INVALID,
                     "kv_open: the second argument is 'readonly' or left out");
    if (rc == KVSQL_OK) rc = ext_open(connection, dir, read_only, &err);
    if (rc != KVSQL_OK) {
        ext_fail(context, &err);
        return;
    }
    sqlite3_result_text(context, connection->store->path, -1,
                        SQLITE_TRANSIENT);
}

/* ---- loading --------------------------------------------------------------------------- */

/* Before anything of SQLite is used: we have one table of its functions. False:
 * the process has two SQLites, and the other one came first. */
static bool ext_start(const sqlite3_api_routines *api)
{
    static const sqlite3_api_routines *first;
    static bool started;
    bool same;

    kv_lock_take(&ext_lock);
    if (!started) {
        EXT_INIT(api);
        first = api;
        started = true;
        kv_cond_init(&ext_moved);
        if (getenv("KVSQL_LOGLEVEL") == NULL) kv_diag_level_set(KV_WARN);
    }
    same = first == api;
    kv_lock_drop(&ext_lock);
    return same;
}

static int ext_register(sqlite3 *sql, struct ext_connection *connection)
{
    int rc = SQLITE_OK;

    for (int args = 1; rc == SQLITE_OK && args <= 2; args++) {
        ext_ref(connection);
        rc = sqlite3_create_function_v2(sql, "kv_open", args,
                                        SQLITE_UTF8 | SQLITE_DIRECTONLY,
                                        connection, ext_call, NULL, NULL,
                                        ext_unref);
    }
    return rc;
}

__attribute__((visibility("default"))) int
sqlite3_kvsql_init(sqlite3 *sql, char **error, const sqlite3_api_routines *api);

int sqlite3_kvsql_init(sqlite3 *sql, char **error,
                       const sqlite3_api_routines *api)
{
    struct ext_connection *connection;
    struct kvsql_error err;
    bool known;
    int rc;

    if (!ext_start(api)) {
        *error = EXT_OTHER(api, "kvsql: another SQLite of this process has "
                                "loaded it already");
        return SQLITE_ERROR;
    }
    if (vt_guest_fit(&err) != KVSQL_OK) {
        *error = sqlite3_mprintf("%s", err.text);
        return SQLITE_ERROR;
    }
    connection = kv_mem_zalloc(KV_MEM_MISC, sizeof(*connection));
    if (connection == NULL) return SQLITE_NOMEM;
    kv_lock_take(&ext_lock);
    known = ext_find(sql) != NULL; /* loaded once more */
    if (!known) {
        connection->sql = sql;
        connection->refs = 1;
        connection->next = ext_connections;
        ext_connections = connection;
    }
    kv_lock_drop(&ext_lock);
    if (known) {
        kv_mem_free(KV_MEM_MISC, connection, sizeof(*connection));
        return SQLITE_OK_LOAD_PERMANENTLY;
    }
    rc = ext_register(sql, connection);
    ext_unref(connection);
    return rc == SQLITE_OK ? SQLITE_OK_LOAD_PERMANENTLY : rc;
}

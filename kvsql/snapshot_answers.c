/* snapshot_answers.c - the answers that are kept (answers.c) in a snapshot.
 *
 * They are no keys and few have them, so their table is there only when there
 * are some: a file without it is of format 1.0, one with it of 1.1, which a
 * reader of 1.0 reads as well, without them. What had expired when the state
 * was taken is not in the file.
 *
 * Thread: the caller's. */
#include "kvsql/admin.h"
#include "kvsql/snapshot_private.h"

#include <string.h>

#include "kvsql/store_private.h"

static const char answers_create[] =
    "CREATE TABLE kv_answers(name TEXT NOT NULL PRIMARY KEY, "
    "answer BLOB NOT NULL,\n"
    "  expires_at INTEGER NOT NULL) WITHOUT ROWID";

bool kv_snapshot_has_answers(const struct kv_at *at)
{
    const struct kv_tree *const tree = at->root->answers;

    return tree != NULL && tree->count[0] + tree->count[1] > 0;
}

const char *kv_snapshot_format(const struct kv_at *at)
{
    return kv_snapshot_has_answers(at) ? "1.1" : "1.0";
}

static int answers_bind(sqlite3_stmt *stmt, const struct kv_answer *answer)
{
    const struct kv_key *const key = &answer->key;
    int code =
        key->cls == KV_TEXT
            ? sqlite3_bind_text(stmt, 1, (const char *)key->p, (int)key->size,
                                SQLITE_STATIC)
            : sqlite3_bind_blob(stmt, 1, key->p, (int)key->size, SQLITE_STATIC);

    if (code == SQLITE_OK)
        code = sqlite3_bind_blob(stmt, 2, answer->value.p,
                                 (int)answer->value.size, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(stmt, 3, answer->expires_at);
    return code;
}

kvsql_rc kv_snapshot_put_answers(sqlite3 *db, const char *path,
                                 const struct kv_at *at,
                                 struct kvsql_error *err)
{
    struct kv_walk walk = {.depth = 0};
    struct kv_answer answer;
    sqlite3_stmt *stmt = NULL;
    kvsql_rc rc =
        kv_snapshot_exec(db, answers_create, "make the tables of", path, err);

    if (rc == KVSQL_OK)
        rc = kv_snapshot_prepare(
            db, "INSERT INTO kv_answers VALUES(?1, ?2, ?3)", path, &stmt, err);
    while (rc == KVSQL_OK && kv_answers_next(at, &walk, &answer)) {
        int code = answers_bind(stmt, &answer);
        if (code == SQLITE_OK) {
            (void)sqlite3_step(stmt); /* reset reports what it said */
            code = sqlite3_reset(stmt);
        }
        if (code != SQLITE_OK)
            rc = kv_snapshot_fail(err, db, code, "write kv_answers of", path);
    }
    (void)sqlite3_finalize(stmt);
    return rc;
}

static kvsql_slice answers_cell(sqlite3_stmt *stmt, int column)
{
    const void *const p = sqlite3_column_blob(stmt, column);

    return (kvsql_slice){
        .p = p != NULL ? p : "",
        .size = p != NULL ? (size_t)sqlite3_column_bytes(stmt, column) : 0};
}

/* Is it there, and ours? */
static kvsql_rc answers_there(sqlite3 *db, const char *path, bool *there,
                              struct kvsql_error *err)
{
    sqlite3_stmt *stmt = NULL;
    kvsql_rc rc = kv_snapshot_prepare(
        db, "SELECT sql FROM sqlite_master WHERE name = 'kv_answers'", path,
        &stmt, err);
    const int code = rc == KVSQL_OK ? sqlite3_step(stmt) : SQLITE_DONE;
    const char *const text =
        code == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : NULL;

    *there = code == SQLITE_ROW;
    if (*there && (text == NULL || strcmp(text, answers_create) != 0))
        rc = kv_fail(err, KVSQL_CORRUPT,
                     "snapshot: %s is damaged: table kv_answers has other "
                     "columns; restore a copy",
                     path);
    else if (rc == KVSQL_OK && code != SQLITE_ROW && code != SQLITE_DONE)
        rc = kv_snapshot_fail(err, db, code, "read", path);
    (void)sqlite3_finalize(stmt);
    return rc;
}

kvsql_rc kv_snapshot_get_answers(sqlite3 *db, const char *path,
                                 struct kv_store *store,
                                 struct kvsql_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int code = SQLITE_DONE;
    bool there;
    kvsql_rc rc = answers_there(db, path, &there, err);

    if (rc != KVSQL_OK || !there)
        return rc;
    rc = kv_snapshot_prepare(db,
                             "SELECT name, answer, expires_at FROM kv_answers",
                             path, &stmt, err);
    while (rc == KVSQL_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        const struct kv_op op = {.kind = KV_OP_ANSWER,
                                 .key = answers_cell(stmt, 0),
                                 .a = answers_cell(stmt, 1),
                                 .time = sqlite3_column_int64(stmt, 2)};
        if (op.key.size > KV_ANSWER_NAME_MAX || op.a.size == 0 || op.time <= 0)
            rc = kv_fail(err, KVSQL_CORRUPT,
                         "snapshot: %s is damaged: a row of kv_answers is "
                         "none; restore a copy",
                         path);
        else
            rc = kv_store_load(store, &op, err);
    }
    if (rc == KVSQL_OK && code != SQLITE_DONE)
        rc = kv_snapshot_fail(err, db, code, "read", path);
    (void)sqlite3_finalize(stmt);
    return rc;
}

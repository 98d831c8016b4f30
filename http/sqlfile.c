/* sqlfile.c - the result of a statement as an SQLite file.
 *
 * It is whole or not at all: a file has no place to say that rows are missing,
 * so a result over the limits is refused.
 *
 * Thread: workers. */
#include "http/sql.h"
#include "vtab/dbfile.h"

static kvsql_rc sqlfile_rows(struct http_request *request,
                             struct vt_statement *statement,
                             struct vt_dbfile *file, uint64_t *count,
                             struct kvsql_error *err)
{
    kvsql_rc rc;
    bool row;

    while ((rc = vt_step(statement, &row, err)) == KVSQL_OK && row) {
        rc = vt_dbfile_row(file, err);
        if (rc != KVSQL_OK)
            return rc;
        ++*count;
    }
    if (rc == KVSQL_OK && vt_truncated(statement))
        return kv_fail(err, KVSQL_TOOBIG,
                       "the result is over the limit of %llu rows or %llu "
                       "bytes; ask for ndjson, or for less",
                       (unsigned long long)request->server->sql_row_max,
                       (unsigned long long)request->server->sql_byte_max);
    return rc;
}

kvsql_rc http_sql_file(struct http_request *request,
                       struct vt_statement *statement, uint64_t *count,
                       struct kvsql_error *err)
{
    struct vt_dbfile *file;
    kvsql_rc rc = vt_dbfile_open(statement, &file, err);

    *count = 0;
    if (rc == KVSQL_OK)
        rc = sqlfile_rows(request, statement, file, count, err);
    if (rc == KVSQL_OK) {
        http_answer(request, 200, "application/vnd.sqlite3");
        http_answer_header(request, "Content-Disposition",
                           "attachment; filename=\"result.db\"");
        rc = vt_dbfile_bytes(file, &request->answer.body, err);
    }
    vt_dbfile_close(file);
    return rc;
}

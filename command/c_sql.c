/* c_sql.c - SQL from a client of the Redis protocol.
 *
 *   SQL statement [param ...]
 *
 * Parameters are bound in order, as TEXT or BLOB by their bytes; affinity of
 * the columns does the rest. A statement with columns answers an array of
 * rows: in RESP2 each row an array of its values, in RESP3 a map from column
 * to value. One without columns answers the number of rows it changed. The
 * limits are those of SQL over HTTP; a result that is longer is an error that
 * names the limit, and never a part of it.
 *
 * An array begins with the number of its rows, which a statement does not know
 * before its last one, and clients do not know the streamed arrays of RESP3. So
 * the rows are held until then, as the bytes that go out: sql-max-bytes bounds
 * these, too, and they are not copied on their way to the socket.
 *
 * Thread: one that may take its time; the session is the caller's. */
#include <limits.h>
#include <string.h>

#include "command/client.h"
#include "command/context.h"
#include "vtab/session.h"

static void sql_fail(struct cmd_context *c, kvsql_rc rc,
                     const struct kvsql_error *err)
{
    const char *prefix = kv_error_row(rc)->resp;
    const size_t size = strlen(prefix);

    if (strncmp(err->text, prefix, size) == 0 && err->text[size] == ' ') {
        cmd_fail(c, rc, "%s", err->text); /* a command's, or WRONGTYPE */
    } else {
        cmd_fail(c, rc, "%s %s", prefix, err->text);
    }
}

static kvsql_rc sql_bind(struct cmd_context *c,
                         struct vt_statement *statement,
                         struct kvsql_error *err)
{
    const unsigned given = c->argc - 2;
    const int wanted = vt_param_count(statement);

    if (wanted < 0 || (unsigned)wanted != given) {
        return kv_fail(err, KVSQL_INVALID,
                       "the statement has %d parameters, %u were given",
                       wanted, given);
    }
    for (unsigned i = 0; i < given; i++) {
        const kvsql_slice arg = c->argv[2 + i];
        const struct vt_value value = {
            .kind = kv_class_of(arg.p, arg.size) == KV_TEXT ? VT_TEXT
                                                            : VT_BLOB,
            .p = arg.p,
            .size = arg.size};
        const kvsql_rc rc = vt_bind(statement, (int)i + 1, &value, err);

        if (rc != KVSQL_OK) {
            return rc;
        }
    }
    return KVSQL_OK;
}

static void sql_answer_value(struct cmd_reply *reply,
                             const struct vt_value *value)
{
    switch (value->kind) {
    case VT_NULL:
        cmd_reply_null(reply);
        break;
    case VT_INTEGER:
        cmd_reply_int(reply, value->integer);
        break;
    case VT_REAL:
        cmd_reply_double(reply, value->real);
        break;
    case VT_TEXT:
    case VT_BLOB:
        cmd_reply_bulk(reply, value->p, value->size);
        break;
    }
}

static void sql_answer_row(struct cmd_context *c,
                           const struct vt_statement *statement)
{
    const int columns = vt_column_count(statement);
    const bool named = c->client != NULL && c->client->resp == 3;
    struct vt_value value;

    if (named) {
        cmd_reply_map(c->reply, (uint64_t)columns);
    } else {
        cmd_reply_array(c->reply, (uint64_t)columns);
    }
    for (int i = 0; i < columns; i++) {
        if (named) {
            cmd_reply_text(c->reply, vt_column_name(statement, i));
        }
        vt_column(statement, i, &value);
        sql_answer_value(c->reply, &value);
    }
}

/* The bytes behind `place` are rows. With names of columns and what the protocol
 * adds they may be more than the values that the session counts. */
static bool sql_fits(const struct cmd_context *c, size_t place)
{
    const uint64_t max = vt_byte_max(c->session);

    return max == 0 || c->reply->buf->size - place <= max;
}

static kvsql_rc sql_rows(struct cmd_context *c, struct vt_statement *statement,
                         struct kvsql_error *err)
{
    const size_t place = cmd_reply_begin(c->reply, CMD_REPLY_ARRAY);
    bool row, fits = true;
    uint64_t count = 0;
    kvsql_rc rc;

    while ((rc = vt_step(statement, &row, err)) == KVSQL_OK && row) {
        sql_answer_row(c, statement);
        if (cmd_reply_failed(c->reply)) {
            return KVSQL_OK; /* RP1: the reply says so */
        }
        fits = sql_fits(c, place);
        if (!fits) {
            break;
        }
        count++;
    }
    if (rc == KVSQL_OK && (!fits || vt_truncated(statement))) {
        return kv_fail(err, KVSQL_TOOBIG,
                       "the result is longer than sql-max-rows or "
                       "sql-max-bytes allow; %llu rows fit: add LIMIT and go "
                       "on behind the last row's key, or ask POST /v1/sql, "
                       "which gives what fits",
                       (unsigned long long)count);
    }
    cmd_reply_end(c->reply, place, count);
    return rc;
}

static kvsql_rc sql_changes(struct cmd_context *c,
                            struct vt_statement *statement,
                            struct kvsql_error *err)
{
    kvsql_rc rc;
    bool row;

    do {
        rc = vt_step(statement, &row, err);
    } while (rc == KVSQL_OK && row);
    if (rc == KVSQL_OK) {
        cmd_reply_int(c->reply, vt_changes(c->session));
    }
    return rc;
}

void cmd_do_sql(struct cmd_context *c)
{
    const kvsql_slice text = c->argv[1];
    struct vt_statement *statement = NULL;
    struct kvsql_error err;
    kvsql_rc rc;

    if (c->session == NULL) {
        cmd_fail(c, KVSQL_AUTH,
                 "ERR SQL is not available here; over HTTP use /v1/sql");
        return;
    }
    cmd_gauge_add(CMD_GAUGE_SQL_RUNNING, 1);
    rc = vt_prepare(c->session, text.p, text.size, NULL, &statement, &err);
    if (rc == KVSQL_OK && statement == NULL) {
        rc = kv_fail(&err, KVSQL_SYNTAX, "there is no statement in the text");
    }
    if (rc == KVSQL_OK) {
        rc = sql_bind(c, statement, &err);
    }
    if (rc == KVSQL_OK) {
        rc = vt_column_count(statement) > 0 ? sql_rows(c, statement, &err)
                                            : sql_changes(c, statement, &err);
    }
    if (statement != NULL) {
        vt_finish(statement);
    }
    cmd_gauge_add(CMD_GAUGE_SQL_RUNNING, -1);
    if (rc != KVSQL_OK) {
        sql_fail(c, rc, &err);
    }
}

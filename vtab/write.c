/* write.c - what the tables share when a row is inserted, changed, removed:
 * taking columns apart, refusing, looking keys up (sql.md 2.5, 2.6).
 *
 * SQLite checks nothing for a virtual table, so NOT NULL, types and uniqueness
 * are checked here, before anything changes (WR2).
 *
 * Thread: the session's, inside xUpdate; it holds the store lock. */
#include "vtab/table.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *vt_column_label(const struct vt_def *def, int column)
{
    const char *table, *name, *type, *doc;
    bool hidden;
    int cid = 0;

    if (def->labels != NULL) return def->labels[column];
    for (unsigned i = 0; vt_column_row(i, &table, &name, &type, &hidden, &doc);
         i++)
        if (strcmp(table, def->name) == 0 && cid++ == column) return name;
    return "";
}

/* ---- refusing --------------------------------------------------------------------- */

int vt_done(struct vt_write *write, kvsql_rc rc)
{
    if (rc == KVSQL_OK) return SQLITE_OK;
    return vt_fail(write->session, &write->table->base, &write->err);
}

int vt_refuse(struct vt_write *write, const char *format, ...)
{
    char text[KVSQL_ERROR_SIZE];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return vt_constraint(write->session, &write->table->base,
                         SQLITE_CONSTRAINT_VTAB, "%s", text);
}

int vt_duplicate(struct vt_write *write)
{
    return vt_constraint(write->session, &write->table->base,
                         SQLITE_CONSTRAINT_PRIMARYKEY,
                         "UNIQUE constraint failed: %s",
                         write->table->def->unique);
}

int vt_missing(struct vt_write *write, int column)
{
    return vt_constraint(write->session, &write->table->base,
                         SQLITE_CONSTRAINT_NOTNULL,
                         "NOT NULL constraint failed: %s.%s",
                         write->table->def->name,
                         vt_column_label(write->table->def, column));
}

/* ---- taking columns apart ---------------------------------------------------------- */

bool vt_given(struct vt_write *write, int column)
{
    sqlite3_value *value = write->column[column];

    return !sqlite3_value_nochange(value) &&
           sqlite3_value_type(value) != SQLITE_NULL;
}

bool vt_untouched(struct vt_write *write, int column)
{
    return sqlite3_value_nochange(write->column[column]) != 0;
}

int vt_take_bytes(struct vt_write *write, int column, struct vt_input *input)
{
    if (sqlite3_value_type(write->column[column]) == SQLITE_NULL)
        return vt_missing(write, column);
    return vt_input_init(input, write->column[column]) ? SQLITE_OK
                                                       : SQLITE_NOMEM;
}

int vt_take_time(struct vt_write *write, int column, int64_t *out)
{
    struct vt_number number;
    struct vt_span span;

    if (!vt_number_get(write->column[column], &number)) return SQLITE_NOMEM;
    *out = 0;
    if (number.kind == VT_NUM_NULL) return SQLITE_OK;
    vt_span_all(&span);
    vt_span_narrow(&span, SQLITE_INDEX_CONSTRAINT_EQ, &number);
    if (span.lo != span.hi)
        return vt_refuse(write, "%s.%s is not a time in ms since the epoch",
                         write->table->def->name,
                         vt_column_label(write->table->def, column));
    *out = span.lo > 0 ? span.lo : 1; /* 0 would mean "never" below */
    return SQLITE_OK;
}

bool vt_time_past(struct vt_write *write, int64_t wall_ms)
{
    return wall_ms != 0 && wall_ms <= kv_at_wall(&write->at);
}

int vt_take_id(struct vt_write *write, struct kv_key *key, struct kv_key *elem)
{
    const uint8_t *p, *end;
    uint64_t size = 0;
    size_t n;
    int bytes = sqlite3_value_bytes(write->old_key);

    p = (const uint8_t *)sqlite3_value_blob(write->old_key);
    end = p + bytes;
    n = p != NULL ? kv_varint_get(p, end, &size) : 0;
    if (n == 0 || size > (uint64_t)(end - p) - n)
        return vt_refuse(write, "%s._id names no row",
                         write->table->def->name);
    p += n;
    *key = kv_key_of(p, (size_t)size);
    p += size;
    *elem = kv_key_of(p, (size_t)(end - p));
    return SQLITE_OK;
}

int vt_refuse_id(struct vt_write *write)
{
    sqlite3_value *value = write->column[write->table->def->col_id];
    sqlite3_value *old = write->old_key;
    int size;

    if (sqlite3_value_nochange(value) ||
        sqlite3_value_type(value) == SQLITE_NULL)
        return SQLITE_OK;
    if (sqlite3_value_type(old) == SQLITE_BLOB &&
        sqlite3_value_type(value) == SQLITE_BLOB) {
        size = sqlite3_value_bytes(value);
        if (size == sqlite3_value_bytes(old) &&
            memcmp(sqlite3_value_blob(value), sqlite3_value_blob(old),
                   (size_t)size) == 0)
            return SQLITE_OK; /* UPDATE FROM hands it back */
    }
    return vt_refuse(write, "%s._id cannot be set", write->table->def->name);
}

int vt_take_item(struct vt_write *write, const struct kv_key *key,
                 struct kv_item *item, bool *found)
{
    enum kv_type type = write->table->def->type;
    char shown[80];

    /* the row that SQLite stands on, or the next one of many */
    *found = kv_txn_get(write->txn, key, true, item);
    if (!*found || type == KV_NONE || item->type == type) return SQLITE_OK;
    (void)kv_fail(&write->err, KVSQL_WRONGTYPE, "WRONGTYPE key '%s' holds a %s",
                  kv_text_show(shown, sizeof(shown), key->p, key->size),
                  kv_type_name(item->type));
    return vt_done(write, KVSQL_WRONGTYPE);
}

/* ---- command columns (SB2) ----------------------------------------------------------- */

int vt_take_number(struct vt_write *write, int column, bool *real,
                   int64_t *integer, double *number)
{
    struct vt_number value;

    if (!vt_number_get(write->column[column], &value)) return SQLITE_NOMEM;
    if (value.kind != VT_NUM_INT && value.kind != VT_NUM_REAL)
        return vt_refuse(write, "%s.%s is not a number",
                         write->table->def->name,
                         vt_column_label(write->table->def, column));
    *real = value.kind == VT_NUM_REAL;
    *integer = value.integer;
    *number = value.real;
    return SQLITE_OK;
}

/* The old value is not the number it should be. */
static int write_not_number(struct vt_write *write, kvsql_rc rc,
                            const char *what)
{
    (void)kv_fail(&write->err, rc, "%s.value: %s", write->table->def->name,
                  what);
    return vt_done(write, rc);
}

int vt_take_sum(struct vt_write *write, int incr, const struct kv_val *value,
                char out[VT_SUM_MAX], size_t *size)
{
    int64_t old = 0, by = 0, sum;
    double old_real = 0, by_real = 0;
    bool real = false;
    int rc = vt_take_number(write, incr, &real, &by, &by_real);

    if (rc != SQLITE_OK) return rc;
    if (!real) {
        if (value != NULL && !kv_num_int(value->p, value->size, &old))
            return write_not_number(write, KVSQL_NOTINT, "not an integer");
        if (__builtin_add_overflow(old, by, &sum))
            return write_not_number(write, KVSQL_OVERFLOW,
                                    "increment would overflow");
        *size = kv_num_format_int(out, sum);
        return SQLITE_OK;
    }
    if (value != NULL && !kv_num_double(value->p, value->size, &old_real))
        return write_not_number(write, KVSQL_NOTFLOAT, "not a number");
    if (!isfinite(old_real + by_real))
        return write_not_number(write, KVSQL_OVERFLOW,
                                "increment would give NaN or infinity");
    *size = kv_num_format_double(out, old_real + by_real);
    return SQLITE_OK;
}

void vt_say(struct vt_write *write, const struct vt_reply *reply)
{
    struct vt_session *session = write->session;

    vt_answer_fini(&session->last);
    vt_answer_init(&session->last);
    session->last_set = vt_answer_take(&session->last, reply);
}

void vt_say_sum(struct vt_write *write, int incr, const char *sum, size_t size)
{
    struct vt_reply reply = {.kind = VT_REPLY_STRING,
                             .p = (const uint8_t *)sum,
                             .size = size};
    int64_t integer, number;
    double ignored;
    bool real = true;

    if (vt_take_number(write, incr, &real, &integer, &ignored) == SQLITE_OK &&
        !real && kv_num_int(sum, size, &number)) {
        reply.kind = VT_REPLY_INT;
        reply.number = number;
    }
    vt_say(write, &reply);
}

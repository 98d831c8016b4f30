/* khash_view.c - the text of a kv_hash table, and of the SQL view that stands
 * for it in a snapshot file (sql.md KH7).
 *
 * The view gives the values that the table gives: one row for each hash under
 * the prefix, a column looked up by its field.
 *
 * Its columns compare as the table's do: `age = '41'` finds the number 41. A
 * CASE has no affinity, and a CAST would make 0 of 'abc'; but a subquery has that
 * of its last SELECT, so behind the one that gives the value stands another, of
 * no rows, whose result is a CAST. Columns of h and CAST AS BLOB have the right
 * one by themselves.
 *
 * A number that is written as text is one when it is equal to itself as a
 * number, for SQLite then reads both sides as numbers.
 *
 * Thread: the session's. */
#include "vtab/khash.h"

#include <string.h>

#define KHV_LIMIT "9223372036854775808.0"

/* Value of `h` in a column. */
static void khv_value(sqlite3_str *out, enum vt_affinity affinity)
{
    static const char number[] = "CASE WHEN h.value = CAST(h.value AS NUMERIC)"
                                 " THEN ";
    static const char whole[] =
        "CASE WHEN typeof(CAST(h.value AS NUMERIC)) = 'real'"
        " AND CAST(h.value AS REAL) > -" KHV_LIMIT
        " AND CAST(h.value AS REAL) < " KHV_LIMIT
        " AND CAST(CAST(h.value AS REAL) AS INTEGER) = CAST(h.value AS REAL)"
        " THEN CAST(CAST(h.value AS REAL) AS INTEGER)"
        " ELSE CAST(h.value AS NUMERIC) END";

    switch (affinity) {
    case VT_AFFINITY_TEXT: sqlite3_str_appendall(out, "h.value"); return;
    case VT_AFFINITY_NONE:
        sqlite3_str_appendall(out, "CAST(h.value AS BLOB)");
        return;
    case VT_AFFINITY_REAL:
        sqlite3_str_appendf(out, "%s(CAST(h.value AS REAL) + 0.0)", number);
        break;
    case VT_AFFINITY_INTEGER:
    case VT_AFFINITY_NUMERIC:
        sqlite3_str_appendf(out, "%s%s", number, whole);
        break;
    }
    sqlite3_str_appendall(out, " ELSE h.value END");
}

/* Behind a SELECT in parentheses: let what it gives compare as the type does. */
static void khv_as(sqlite3_str *out, const char *type)
{
    sqlite3_str_appendf(out, " UNION ALL SELECT CAST(NULL AS %s) WHERE 0", type);
}

static const char *khv_type(enum vt_affinity affinity)
{
    switch (affinity) {
    case VT_AFFINITY_REAL: return "REAL";
    case VT_AFFINITY_INTEGER: return "INTEGER";
    case VT_AFFINITY_NUMERIC: return "NUMERIC";
    case VT_AFFINITY_TEXT:
    case VT_AFFINITY_NONE: break;
    }
    return NULL; /* it is that already */
}

static void khv_hex(sqlite3_str *out, const uint8_t *p, size_t size, int more)
{
    sqlite3_str_appendall(out, "x'");
    for (size_t i = 0; i < size; i++)
        sqlite3_str_appendf(out, "%02X", i + 1 == size ? p[i] + more : p[i]);
    sqlite3_str_appendall(out, "'");
}

/* Keys of one class that begin with the prefix. Its end is given as bytes, for
 * it may be no UTF-8; a cast leaves them as they are. */
static void khv_range(sqlite3_str *out, const struct kv_key *prefix,
                      const char *as)
{
    sqlite3_str_appendf(out, "(k.key >= CAST(");
    khv_hex(out, prefix->p, prefix->size, 0);
    sqlite3_str_appendf(out, " AS %s) AND k.key < CAST(", as);
    khv_hex(out, prefix->p, prefix->size, 1);
    sqlite3_str_appendf(out, " AS %s))", as);
}

static int khv_characters(const struct kv_key *key)
{
    int count = 0;

    for (uint32_t i = 0; i < key->size; i++)
        if ((key->p[i] & 0xc0) != 0x80) count++;
    return count;
}

char *vt_khash_view(const struct vt_khash *khash)
{
    const struct kv_key *prefix = &khash->prefix;
    sqlite3_str *out = sqlite3_str_new(NULL);

    sqlite3_str_appendf(out,
                        "CREATE VIEW \"%w\" AS SELECT (SELECT CASE"
                        " typeof(k.key) WHEN 'text' THEN substr(k.key, %d)"
                        " ELSE substr(k.key, %d) END",
                        khash->name, khv_characters(prefix) + 1,
                        (int)prefix->size + 1);
    khv_as(out, "TEXT");
    sqlite3_str_appendf(out, ") AS \"%w\"", khash->label[0]);
    for (int i = 1; i < khash->columns; i++) {
        const char *type = khv_type(khash->column[i].affinity);
        sqlite3_str_appendall(out, ", (SELECT ");
        khv_value(out, khash->column[i].affinity);
        sqlite3_str_appendf(out, " FROM hashes h WHERE h.key = k.key AND"
                                 " h.field = %Q",
                            khash->label[i]);
        if (type != NULL) khv_as(out, type);
        sqlite3_str_appendf(out, ") AS \"%w\"", khash->label[i]);
    }
    sqlite3_str_appendall(out, " FROM keys k WHERE k.type = 'hash'");
    if (prefix->size > 0) {
        sqlite3_str_appendall(out, " AND (");
        khv_range(out, prefix, "TEXT");
        sqlite3_str_appendall(out, " OR ");
        khv_range(out, prefix, "BLOB");
        sqlite3_str_appendall(out, ")");
    }
    return sqlite3_str_finish(out);
}

/* As it is kept, and as it comes out when it is run again. */
char *vt_khash_text(int argc, const char *const *argv)
{
    sqlite3_str *out = sqlite3_str_new(NULL);

    sqlite3_str_appendf(out, "CREATE VIRTUAL TABLE \"%w\" USING kv_hash(",
                        argv[2]);
    for (int i = 3; i < argc; i++)
        sqlite3_str_appendf(out, "%s%s", i > 3 ? ", " : "", argv[i]);
    sqlite3_str_appendall(out, ")");
    return sqlite3_str_finish(out);
}

/* texts.c - statements that compare nothing but text (sql.md PL6).
 *
 * SQLite does not tell a module with which affinity it will compare: `key = 7`
 * is a comparison of text, `key = t.n` with an INTEGER column is one of
 * numbers. A superset of rows that SQLite looks at again is right in any case
 * and costs up to half of a lookup.
 *
 * The authorizer sees each column that a statement reads before xBestIndex
 * runs. When all of them are declared TEXT, each is of a table in the schema
 * main (another may have a table of the same name) and none comes through a
 * view, and the statement has no CAST, no WITH, no VALUES and at most one
 * SELECT (so no column of a subquery), every number is compared as its text.
 * The search for these words is crude on purpose: inside of a name or a literal
 * they cost speed, nothing else.
 *
 * Thread: the session's, inside prepare. */
#include "vtab/state.h"

#include <string.h>

void vt_reads_start(struct vt_session *session, const char *sql, size_t size)
{
    struct vt_reads *reads = &session->reads;

    reads->sql = sql;
    reads->size = size;
    reads->other = false;
    reads->count = 0;
    reads->verdict = VT_READS_UNKNOWN;
}

static bool texts_keep(char out[VT_READS_NAME_MAX], const char *name)
{
    const size_t size = strlen(name);

    if (size >= VT_READS_NAME_MAX) return false;
    memcpy(out, name, size + 1);
    return true;
}

void vt_reads_note(struct vt_session *session, const char *table,
                   const char *column, bool plain)
{
    struct vt_reads *reads = &session->reads;

    reads->verdict = VT_READS_UNKNOWN;
    if (column == NULL || !plain) {
        reads->other = true;
    } else if (column[0] == 0) { /* a table of which no column is read */
        return;
    } else if (!session->shadowed && vt_table_known(table)) {
        if (!vt_column_text(table, column)) reads->other = true;
    } else if (reads->count == VT_READS_MAX ||
               !texts_keep(reads->table[reads->count], table) ||
               !texts_keep(reads->column[reads->count], column)) {
        reads->other = true;
    } else {
        reads->count++;
    }
}

/* How often `word` is in the text, in any case; it is lower case itself. */
static unsigned texts_count(const struct vt_reads *reads, const char *word)
{
    const int size = (int)strlen(word);
    unsigned count = 0;

    for (size_t i = 0; i + (size_t)size <= reads->size; i++)
        if ((reads->sql[i] | 0x20) == word[0] &&
            sqlite3_strnicmp(reads->sql + i, word, size) == 0)
            count++;
    return count;
}

static bool texts_native(struct vt_session *session, unsigned i)
{
    const struct vt_reads *reads = &session->reads;
    const char *type = NULL;

    return sqlite3_table_column_metadata(session->sql, "main",
                                         reads->table[i], reads->column[i],
                                         &type, NULL, NULL, NULL,
                                         NULL) == SQLITE_OK &&
           type != NULL && sqlite3_stricmp(type, "TEXT") == 0;
}

static bool texts_all(struct vt_session *session)
{
    struct vt_reads *reads = &session->reads;

    if (reads->other || reads->sql == NULL) return false;
    if (reads->size == SIZE_MAX) reads->size = strlen(reads->sql);
    if (texts_count(reads, "cast") > 0 || texts_count(reads, "with") > 0 ||
        texts_count(reads, "values") > 0 || texts_count(reads, "select") > 1)
        return false;
    for (unsigned i = 0; i < reads->count; i++)
        if (!texts_native(session, i)) return false;
    return true;
}

bool vt_reads_text(struct vt_session *session)
{
    struct vt_reads *reads = &session->reads;

    if (reads->verdict == VT_READS_UNKNOWN)
        reads->verdict = texts_all(session) ? VT_READS_TEXT : VT_READS_MIXED;
    return reads->verdict == VT_READS_TEXT;
}

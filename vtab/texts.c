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
 *
 * The same is so, whatever the columns, when all of them are of one table that
 * the statement names once: then the other side of a comparison has no column
 * but one of the same row, which is no constraint. Unless that column is equal
 * to a constant, which SQLite puts in its place: such plans are not text's.
 *
 * The search for words is crude on purpose: inside of a name or a literal they
 * cost speed, nothing else.
 *
 * Lists of row values, `(key, field) IN (SELECT ..)`, are another trap: SQLite
 * hands them to a module as an EQ of each column, once for each row of the list,
 * and looks at what comes back as if the list had no affinity. So `'007'` is lost
 * where the list has the number 7, and no superset helps. Such an EQ looks like
 * that of a join, but the statement's text tells: a parenthesis is closed before
 * IN. There an EQ is taken only of what is known to compare as text.
 *
 * Thread: the session's, inside prepare. */
#include "vtab/state.h"

#include <string.h>

void vt_reads_start(struct vt_session *session, const char *sql, size_t size)
{
    struct vt_reads *reads = &session->reads;

    reads->sql = sql;
    reads->size = size;
    reads->opaque = reads->mixed = reads->several = false;
    reads->name[0] = 0;
    reads->count = 0;
    reads->verdict = VT_READS_UNKNOWN;
    reads->rows_in = VT_ROWS_UNKNOWN;
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
        reads->opaque = true;
        return;
    }
    if (column[0] == 0) return; /* a table of which no column is read */
    if (reads->name[0] == 0)
        reads->several = reads->several || !texts_keep(reads->name, table);
    else if (sqlite3_stricmp(reads->name, table) != 0)
        reads->several = true;
    if (!session->shadowed && vt_table_known(table)) {
        if (!vt_column_text(table, column)) reads->mixed = true;
    } else if (reads->count == VT_READS_MAX ||
               !texts_keep(reads->table[reads->count], table) ||
               !texts_keep(reads->column[reads->count], column)) {
        reads->mixed = true;
    } else {
        reads->count++;
    }
}

/* False: nobody told us the text. */
static bool texts_there(struct vt_reads *reads)
{
    if (reads->sql == NULL) return false;
    if (reads->size == SIZE_MAX) reads->size = strlen(reads->sql);
    return true;
}

/* How often `word` is in the text, in any case. */
static unsigned texts_count(const struct vt_reads *reads, const char *word)
{
    const int size = (int)strlen(word);
    unsigned count = 0;

    for (size_t i = 0; i + (size_t)size <= reads->size; i++)
        if ((reads->sql[i] | 0x20) == (word[0] | 0x20) &&
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

static enum vt_reads_verdict texts_judge(struct vt_session *session)
{
    struct vt_reads *reads = &session->reads;
    bool text = !reads->mixed;

    if (reads->opaque || !texts_there(reads)) return VT_READS_MIXED;
    if (texts_count(reads, "cast") > 0 || texts_count(reads, "with") > 0 ||
        texts_count(reads, "values") > 0 || texts_count(reads, "select") > 1)
        return VT_READS_MIXED;
    for (unsigned i = 0; text && i < reads->count; i++)
        text = texts_native(session, i);
    if (text) return VT_READS_TEXT;
    return reads->name[0] != 0 && !reads->several &&
                   texts_count(reads, reads->name) == 1
               ? VT_READS_SINGLE
               : VT_READS_MIXED;
}

enum vt_reads_verdict vt_reads_verdict(struct vt_session *session)
{
    struct vt_reads *reads = &session->reads;

    if (reads->verdict == VT_READS_UNKNOWN)
        reads->verdict = texts_judge(session);
    return reads->verdict;
}

static bool texts_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '_' || (c & 0x80) != 0;
}

/* Behind the blanks at `i`. */
static size_t texts_blanks(const struct vt_reads *reads, size_t i)
{
    while (i < reads->size && strchr(" \t\r\n\f", reads->sql[i]) != NULL &&
           reads->sql[i] != 0)
        i++;
    return i;
}

/* Behind the word at `i`, or `i`: it is another. */
static size_t texts_word(const struct vt_reads *reads, size_t i,
                         const char *word)
{
    const size_t size = strlen(word), end = i + size;

    if (end > reads->size ||
        sqlite3_strnicmp(reads->sql + i, word, (int)size) != 0 ||
        (end < reads->size && texts_letter(reads->sql[end])))
        return i;
    return end;
}

/* Whether IN stands behind the parenthesis at `i`, or a comment, which may hide
 * it. */
static bool texts_in_behind(const struct vt_reads *reads, size_t i)
{
    size_t not_end;

    i = texts_blanks(reads, i + 1);
    not_end = texts_word(reads, i, "not");
    if (not_end > i) i = texts_blanks(reads, not_end);
    if (i + 1 < reads->size && (memcmp(reads->sql + i, "--", 2) == 0 ||
                                memcmp(reads->sql + i, "/*", 2) == 0))
        return true;
    return texts_word(reads, i, "in") > i;
}

bool vt_reads_rows_in(struct vt_session *session)
{
    struct vt_reads *reads = &session->reads;

    if (session->rows_in) return true;
    if (reads->rows_in == VT_ROWS_UNKNOWN) {
        reads->rows_in = VT_ROWS_NONE;
        for (size_t i = 0; texts_there(reads) && i < reads->size; i++)
            if (reads->sql[i] == ')' && texts_in_behind(reads, i)) {
                reads->rows_in = VT_ROWS_PERHAPS;
                break;
            }
    }
    return reads->rows_in == VT_ROWS_PERHAPS;
}

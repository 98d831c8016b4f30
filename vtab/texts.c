/* texts.c - statements that compare nothing but text (sql.md PL5, PL6).
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
 * A parameter says by itself that it is one, and it is compared as its text,
 * however many tables there are, but for three ways to be compared as a number:
 *
 *   - SQLite puts it in the place of a column that it is equal to: `s.key = z.score
 *     AND z.score = ?`. Not in an UPDATE or a DELETE itself, only in a query, a
 *     subquery, UPDATE .. FROM. The column is one of a table, or of a subquery with
 *     a CAST or a column of numbers; columns of text alone, or one table that is
 *     named once, are as above, and a CAST may stand beside them when there is no
 *     subquery.
 *   - it is in a row of a compound, (SELECT ? UNION ALL SELECT n FROM t), which
 *     has the affinity of its last SELECT: a word for that inside of parentheses.
 *   - it is in a CAST, but AS TEXT or AS BLOB.
 *
 * A program of a trigger has parameters in new.x, which is a column.
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

#define TEXTS_CASTS_MAX 32 /* one in another */

void vt_reads_start(struct vt_session *session, const char *sql, size_t size)
{
    struct vt_reads *reads = &session->reads;

    reads->sql = sql;
    reads->size = size;
    reads->opaque = reads->inner = reads->mixed = reads->several = false;
    reads->name[0] = 0;
    reads->count = 0;
    reads->numbers = reads->bound = VT_READS_UNKNOWN;
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
                   const char *column, const char *schema, const char *inner)
{
    struct vt_reads *reads = &session->reads;

    reads->numbers = reads->bound = VT_READS_UNKNOWN;
    if (inner != NULL) reads->inner = true;
    if (column == NULL || inner != NULL || schema == NULL ||
        strcmp(schema, "main") != 0) {
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

/* Whether `word` stands at i, in any case. */
static bool texts_at(const struct vt_reads *reads, size_t i, const char *word)
{
    return (reads->sql[i] | 0x20) == (word[0] | 0x20) &&
           i + strlen(word) <= reads->size &&
           sqlite3_strnicmp(reads->sql + i, word, (int)strlen(word)) == 0;
}

/* How often `word` is in the text. */
static unsigned texts_count(const struct vt_reads *reads, const char *word)
{
    unsigned count = 0;

    for (size_t i = 0; i < reads->size; i++)
        if (texts_at(reads, i, word)) count++;
    return count;
}

/* ... a table's name, but where it says whose a column is. */
static unsigned texts_named(const struct vt_reads *reads, const char *name)
{
    unsigned count = 0;

    for (size_t i = 0; i < reads->size; i++)
        if (texts_at(reads, i, name) &&
            (i + strlen(name) == reads->size ||
             reads->sql[i + strlen(name)] != '.'))
            count++;
    return count;
}

/* Whether a subquery may be of several SELECTs, or of VALUES: a word for that
 * stands behind the first parenthesis. */
static bool texts_compound(const struct vt_reads *reads)
{
    static const char *const words[] = {"union", "intersect", "except",
                                        "values"};
    size_t i = 0;

    while (i < reads->size && reads->sql[i] != '(') i++;
    for (; i < reads->size; i++)
        for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++)
            if (texts_at(reads, i, words[w])) return true;
    return false;
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

/* Behind the quoted text or the comment at `i`, or `i`: there is none. */
static size_t texts_skip(const struct vt_reads *reads, size_t i)
{
    const bool comment = i + 1 < reads->size &&
                         memcmp(reads->sql + i, "/*", 2) == 0;
    const bool line = i + 1 < reads->size &&
                      memcmp(reads->sql + i, "--", 2) == 0;
    const char c = reads->sql[i];
    char end = c == '[' ? ']' : c;

    if (line) end = '\n';
    if (!line && !comment && c != '\'' && c != '"' && c != '`' && c != '[')
        return i;
    i += line || comment ? 2 : 1;
    for (; i < reads->size; i++)
        if (comment ? reads->sql[i] == '*' && i + 1 < reads->size &&
                          reads->sql[i + 1] == '/'
                    : reads->sql[i] == end)
            return i + (comment ? 2 : 1);
    return reads->size;
}

/* Whether AS TEXT or AS BLOB ends at `i`. */
static bool texts_ends_as_text(const struct vt_reads *reads, size_t i)
{
    while (i > 0 && texts_blanks(reads, i - 1) > i - 1) i--;
    if (i < 8 || (!texts_at(reads, i - 4, "text") &&
                  !texts_at(reads, i - 4, "blob")))
        return false;
    i -= 4;
    if (texts_blanks(reads, i - 1) == i - 1) return false;
    while (i > 3 && texts_blanks(reads, i - 1) > i - 1) i--;
    return texts_at(reads, i - 2, "as") && !texts_letter(reads->sql[i - 3]);
}

/* Whether a parameter may be in a CAST that makes a number of it. */
static bool texts_cast_bound(const struct vt_reads *reads)
{
    struct {
        unsigned depth;
        bool bound;
    } cast[TEXTS_CASTS_MAX];
    unsigned casts = 0, depth = 0;

    for (size_t i = 0, next; i < reads->size; i = next) {
        const char c = reads->sql[i];
        next = texts_skip(reads, i);
        if (next > i) continue;
        next = i + 1;
        if (c == '(') depth++;
        if (casts > 0 && c != 0 && strchr("?:@$", c) != NULL)
            cast[casts - 1].bound = true;
        if (texts_at(reads, i, "cast") &&
            (i == 0 || !texts_letter(reads->sql[i - 1]))) {
            next = texts_blanks(reads, i + 4);
            if (casts == TEXTS_CASTS_MAX ||
                (next < reads->size && texts_skip(reads, next) > next))
                return true;
            if (next < reads->size && reads->sql[next] == '(') {
                cast[casts].depth = depth + 1;
                cast[casts++].bound = false;
            }
        }
        if (c == ')' && casts > 0 && cast[casts - 1].depth == depth) {
            const bool bound = cast[--casts].bound;
            if (bound && !texts_ends_as_text(reads, i)) return true;
            if (bound && casts > 0) cast[casts - 1].bound = true;
        }
        if (c == ')') depth--;
    }
    return false;
}

/* Whether no parameter is a number by itself. */
static bool texts_plain_bound(struct vt_reads *reads)
{
    return texts_there(reads) && !texts_compound(reads) &&
           !texts_cast_bound(reads);
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

/* By the columns. */
static enum vt_reads_verdict texts_columns(struct vt_session *session)
{
    const struct vt_reads *reads = &session->reads;
    bool text = !reads->mixed;

    for (unsigned i = 0; text && i < reads->count; i++)
        text = texts_native(session, i);
    if (text) return VT_READS_TEXT;
    return reads->name[0] != 0 && !reads->several &&
                   texts_named(reads, reads->name) == 1
               ? VT_READS_SINGLE
               : VT_READS_MIXED;
}

static void texts_judge(struct vt_session *session)
{
    struct vt_reads *reads = &session->reads;
    enum vt_reads_verdict columns;
    bool cast, queries;

    reads->numbers = reads->bound = VT_READS_MIXED;
    if (reads->opaque || !texts_there(reads)) return;
    columns = texts_columns(session);
    cast = texts_count(reads, "cast") > 0;
    queries = texts_count(reads, "select") > 1;
    if (!cast && !queries && texts_count(reads, "with") == 0 &&
        texts_count(reads, "values") == 0)
        reads->numbers = columns;
    if (texts_plain_bound(reads) &&
        (!queries || (columns == VT_READS_TEXT && !cast)))
        reads->bound = columns;
}

enum vt_reads_verdict vt_reads_numbers(struct vt_session *session)
{
    if (session->reads.numbers == VT_READS_UNKNOWN) texts_judge(session);
    return session->reads.numbers;
}

enum vt_reads_verdict vt_reads_bound(struct vt_session *session)
{
    struct vt_reads *reads = &session->reads;

    if (session->target && !reads->inner)
        return texts_plain_bound(reads) ? VT_READS_TEXT : VT_READS_MIXED;
    if (reads->bound == VT_READS_UNKNOWN) texts_judge(session);
    return reads->bound;
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

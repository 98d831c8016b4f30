/* place.c - where a statement names what is not there.
 *
 * SQLite tells the offset of most errors, but not that of a table that does not
 * exist or of a column that an INSERT names in vain: it sees those when the
 * statement's text is read already. Their names are in its sentence, so the text
 * is searched for the name, over literals and comments:
 *
 *   no such table: NAME                   best behind FROM, JOIN, INTO ...
 *   table T has no column named NAME      best behind '(' or ','
 *
 * A name that stands elsewhere first, as an alias, is taken only when there is
 * no better one.
 *
 * Thread: the session's, inside prepare. */
#include "vtab/state.h"

#include <string.h>

struct place_word {
    size_t at, size; /* in the text, quotes included */
    bool quoted;
};

static bool place_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '_' || c == '$' || (c & 0x80) != 0;
}

/* Behind what begins at `i` and ends with `last`; twice that byte is a part. */
static size_t place_quoted(const char *sql, size_t size, size_t i, char last)
{
    for (i++; i < size; i++) {
        if (sql[i] != last) continue;
        if (i + 1 >= size || sql[i + 1] != last || last == ']') return i + 1;
        i++;
    }
    return size;
}

/* Behind the comment at `i`, or `i`: there is none. */
static size_t place_comment(const char *sql, size_t size, size_t i)
{
    const char *end;

    if (size - i < 2) return i;
    if (memcmp(sql + i, "--", 2) == 0) {
        end = memchr(sql + i, '\n', size - i);
        return end != NULL ? (size_t)(end - sql) + 1 : size;
    }
    if (memcmp(sql + i, "/*", 2) != 0) return i;
    for (i += 2; i + 1 < size; i++)
        if (sql[i] == '*' && sql[i + 1] == '/') return i + 2;
    return size;
}

/* The next word from *i on, which moves behind it; false: the text is over. */
static bool place_next(const char *sql, size_t size, size_t *i,
                       struct place_word *word)
{
    size_t at = *i, behind;

    while (at < size && ((behind = place_comment(sql, size, at)) > at ||
                         (sql[at] != 0 && strchr(" \t\r\n\f", sql[at]) != NULL)))
        at = behind > at ? behind : at + 1;
    if (at >= size) return false;
    behind = at + 1;
    word->quoted = strchr("'\"`[", sql[at]) != NULL && sql[at] != 0;
    if (word->quoted)
        behind = place_quoted(sql, size, at, sql[at] == '[' ? ']' : sql[at]);
    else
        while (place_letter(sql[at]) && behind < size &&
               place_letter(sql[behind]))
            behind++;
    word->at = at;
    word->size = behind - at;
    *i = behind;
    return true;
}

/* Is it the name, as it is written or in quotes? A literal is none. */
static bool place_is(const char *sql, const struct place_word *word,
                     const char *name)
{
    const size_t size = strlen(name), quotes = word->quoted ? 1 : 0;

    return sql[word->at] != '\'' && word->size == size + 2 * quotes &&
           memcmp(sql + word->at + quotes, name, size) == 0;
}

/* Does a name that follows the word stand where tables do, or else columns? */
static bool place_leads(const char *sql, const struct place_word *word,
                        bool table)
{
    static const char *const leads[] = {"from", "join",   "into",
                                        ".",    "update", "table"};

    if (word->size == 0) return false;
    if (!table) return sql[word->at] == '(' || sql[word->at] == ',';
    for (size_t i = 0; i < sizeof(leads) / sizeof(*leads); i++)
        if (strlen(leads[i]) == word->size &&
            sqlite3_strnicmp(sql + word->at, leads[i], (int)word->size) == 0)
            return true;
    return false;
}

static int place_find(const char *sql, size_t size, const char *name,
                      bool table)
{
    struct place_word word, before = {0};
    size_t i = 0;
    int found = -1;

    while (place_next(sql, size, &i, &word)) {
        if (place_is(sql, &word, name)) {
            if (place_leads(sql, &before, table)) return (int)word.at;
            if (found < 0) found = (int)word.at;
        }
        before = word;
    }
    return found;
}

int vt_place(const char *sentence, const char *sql, size_t size)
{
    static const char column[] = " has no column named ";
    static const char table[] = "no such table: ";
    const char *name = strstr(sentence, column), *dot;
    int found;

    if (name != NULL)
        return place_find(sql, size, name + sizeof(column) - 1, false);
    if (strncmp(sentence, table, sizeof(table) - 1) != 0) return -1;
    name = sentence + sizeof(table) - 1;
    found = place_find(sql, size, name, true);
    dot = strrchr(name, '.'); /* schema.table */
    return found < 0 && dot != NULL ? place_find(sql, size, dot + 1, true)
                                    : found;
}

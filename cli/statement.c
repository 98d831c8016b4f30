/* statement.c - where an SQL statement begins and ends in a text.
 *
 * Pure. Thread: any. */
#include <string.h>
#include <strings.h>

#include "cli/shell.h"

static bool statement_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* Bytes of blanks and comments at `at`. */
static size_t statement_blank(const char *text, size_t size, size_t at)
{
    const size_t from = at;

    while (at < size) {
        if (text[at] == ' ' || text[at] == '\t' || text[at] == '\n' ||
            text[at] == '\r') {
            at++;
        } else if (at + 1 < size && text[at] == '-' && text[at + 1] == '-') {
            while (at < size && text[at] != '\n')
                at++;
        } else if (at + 1 < size && text[at] == '/' && text[at + 1] == '*') {
            at += 2;
            while (at + 1 < size && (text[at] != '*' || text[at + 1] != '/'))
                at++;
            at = at + 2 < size ? at + 2 : size;
        } else {
            break;
        }
    }
    return at - from;
}

bool cli_statement_begins(const char *text, size_t size, const char *word)
{
    const size_t at = statement_blank(text, size, 0), n = strlen(word);

    return size - at >= n && strncasecmp(text + at, word, n) == 0 &&
           (size - at == n || !statement_letter(text[at + n]));
}

bool cli_statement_is_empty(const char *text, size_t size)
{
    size_t at = statement_blank(text, size, 0);

    while (at < size && text[at] == ';') {
        at++;
        at += statement_blank(text, size, at);
    }
    return at == size;
}

bool cli_statement_is_sql(const char *text, size_t size)
{
    static const char *const words[] = {
        "select", "with",     "values", "insert",    "replace", "update",
        "delete", "explain",  "begin",  "commit",    "end",     "rollback",
        "pragma", "savepoint", "release", "create",  "drop",    "alter",
        "attach", "detach",   "analyze", "reindex",  "vacuum"};
    const size_t at = statement_blank(text, size, 0);

    if (at == size)
        return strspn(text, " \t\r\n") < size; /* a comment */
    if (text[at] == '(' || text[at] == ';')
        return true;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (cli_statement_begins(text, size, words[i]))
            return true;
    return false;
}

/* CREATE [TEMP|TEMPORARY] TRIGGER: its body holds semicolons. */
static bool statement_is_trigger(const char *text, size_t size)
{
    size_t at = statement_blank(text, size, 0);

    if (!cli_statement_begins(text, size, "create"))
        return false;
    at += strlen("create");
    if (cli_statement_begins(text + at, size - at, "temporary"))
        at += statement_blank(text, size, at) + strlen("temporary");
    else if (cli_statement_begins(text + at, size - at, "temp"))
        at += statement_blank(text, size, at) + strlen("temp");
    return cli_statement_begins(text + at, size - at, "trigger");
}

/* Behind the quoted text that begins at `at`; size when it has not ended. */
static size_t statement_quoted(const char *text, size_t size, size_t at)
{
    const char close = text[at] == '[' ? ']' : text[at];

    for (at++; at < size && text[at] != close; at++)
        continue;
    return at < size ? at + 1 : size + 1;
}

size_t cli_statement_end(const char *text, size_t size)
{
    const bool trigger = statement_is_trigger(text, size);
    bool end_word = false; /* the last word was END */
    size_t at = 0;

    for (;;) {
        at += statement_blank(text, size, at);
        if (at >= size)
            return 0;
        if (text[at] == ';' && (!trigger || end_word))
            return at + 1;
        if (strchr("'\"`[", text[at]) != NULL) {
            at = statement_quoted(text, size, at);
            if (at > size)
                return 0;
            end_word = false;
        } else if (statement_letter(text[at])) {
            const size_t from = at;

            while (at < size && (statement_letter(text[at]) ||
                                 (text[at] >= '0' && text[at] <= '9')))
                at++;
            end_word = at - from == 3 && strncasecmp(text + from, "end", 3) == 0;
        } else {
            end_word = false;
            at++;
        }
    }
}

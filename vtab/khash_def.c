/* khash_def.c - what CREATE VIRTUAL TABLE ... USING kv_hash(...) says.
 *
 *   kv_hash('user:{id}', id, name TEXT, age INTEGER, INDEX(age, name))
 *
 * The pattern is a prefix and one {column} behind it; that column comes first
 * in the list. A column is a name and perhaps a type. INDEX(column, ...) and
 * UNIQUE(column, ...) stand behind the columns that they name. All other constraints are refused by name:
 * nothing that was written is passed over.
 *
 * SQLite hands over the arguments as they were written, cut at commas outside
 * of parentheses and quotes.
 *
 * Thread: the session's. */
#include "vtab/khash.h"

#include <stdarg.h>
#include <string.h>

/* Words that SQLite would take as something else than a type. */
static const char *const khdef_words[] = {
    "CHECK",   "COLLATE", "CONSTRAINT", "DEFAULT",    "FOREIGN",
    "GENERATED", "HIDDEN", "NOT",       "NULL",       "PRIMARY",
    "REFERENCES", "UNIQUE", "AS",       "AUTOINCREMENT"};
#define KHDEF_WORDS (sizeof(khdef_words) / sizeof(khdef_words[0]))

static const char *const khdef_hidden[VT_KHASH_HIDDEN] = {
    "key", "expires_at", "_extra"};

static bool khdef_space(char c)
{
    return c == ' ' || (c >= 9 && c <= 13);
}

static bool khdef_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (c & 0x80) != 0;
}

static bool khdef_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int khdef_error(char **error, const char *format, ...) KV_PRINTF(2, 3);

static int khdef_error(char **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    *error = sqlite3_vmprintf(format, args);
    va_end(args);
    return *error != NULL ? SQLITE_ERROR : SQLITE_NOMEM;
}

/* A quoted text from *p on, without its quotes; SQLITE_ERROR: it does not end.
 */
static int khdef_unquote(const char **p, char **out)
{
    const char close = **p == '[' ? ']' : **p, *from = *p + 1;
    char *to = sqlite3_malloc64(strlen(from) + 1);

    *out = to;
    if (to == NULL) return SQLITE_NOMEM;
    for (; *from != 0; from++) {
        if (*from == close) {
            if (from[1] != close || close == ']') break;
            from++;
        }
        *to++ = *from;
    }
    *to = 0;
    if (*from == 0) {
        sqlite3_free(*out);
        *out = NULL;
        return SQLITE_ERROR;
    }
    *p = from + 1;
    return SQLITE_OK;
}

static bool khdef_quote(char c)
{
    return c == '"' || c == '`' || c == '[';
}

/* A name from *p on; SQLITE_ERROR: there is none. */
static int khdef_name(const char **p, char **out)
{
    const char *from = *p;

    *out = NULL;
    if (khdef_quote(*from)) return khdef_unquote(p, out);
    while (khdef_letter(**p) || (*p > from && (khdef_digit(**p) || **p == '$')))
        (*p)++;
    if (*p == from) return SQLITE_ERROR;
    *out = sqlite3_mprintf("%.*s", (int)(*p - from), from);
    return *out != NULL ? SQLITE_OK : SQLITE_NOMEM;
}

/* ---- columns --------------------------------------------------------------- */

/* The word of `type` that is no part of one; NULL: none is. */
static const char *khdef_word(const char *type)
{
    while (*type != 0) {
        size_t n = 0;
        while (khdef_letter(type[n])) n++;
        for (size_t i = 0; n > 0 && i < KHDEF_WORDS; i++)
            if (strlen(khdef_words[i]) == n &&
                sqlite3_strnicmp(type, khdef_words[i], (int)n) == 0)
                return khdef_words[i];
        type += n > 0 ? n : 1;
    }
    return NULL;
}

/* Letters, digits, blanks, and numbers in parentheses. */
static bool khdef_is_type(const char *type)
{
    bool inside = false;

    for (; *type != 0; type++) {
        const char c = *type;
        if (c == '(' && !inside)
            inside = true;
        else if (c == ')' && inside)
            inside = false;
        else if (inside ? !khdef_digit(c) && c != ',' && !khdef_space(c)
                        : !khdef_letter(c) && !khdef_digit(c) &&
                              !khdef_space(c))
            return false;
    }
    return !inside;
}

static int khdef_check(const struct vt_khash *khash, const char *name,
                       const char *type, char **error)
{
    const char *word = khdef_word(type);

    if (kv_key_of(name, strlen(name)).cls != KV_TEXT)
        return khdef_error(error, "kv_hash: a column has a name that is no "
                                  "UTF-8");
    if (word != NULL)
        return khdef_error(error,
                           "kv_hash: column %s: %s is not possible, a column "
                           "has a name and a type",
                           name, word);
    if (!khdef_is_type(type))
        return khdef_error(error, "kv_hash: column %s: '%s' is no type", name,
                           type);
    if (strlen(name) > VT_KHASH_NAME_MAX || strlen(type) > VT_KHASH_NAME_MAX)
        return khdef_error(error, "kv_hash: a name or type has more than %d "
                                  "bytes", VT_KHASH_NAME_MAX);
    for (int i = 0; i < VT_KHASH_HIDDEN; i++)
        if (sqlite3_stricmp(name, khdef_hidden[i]) == 0)
            return khdef_error(error, "kv_hash: every table has a hidden "
                                      "column %s of its own", name);
    for (int i = 0; i < khash->columns; i++)
        if (sqlite3_stricmp(name, khash->label[i]) == 0)
            return khdef_error(error, "kv_hash: duplicate column %s", name);
    if (khash->columns == VT_KHASH_COLUMNS_MAX)
        return khdef_error(error, "kv_hash: more than %d columns",
                           VT_KHASH_COLUMNS_MAX);
    return SQLITE_OK;
}

/* Takes `name` and `type`. */
static int khdef_add(struct vt_khash *khash, char *name, char *type,
                     char **error)
{
    struct vt_khash_column *column = &khash->column[khash->columns];
    const int rc = khdef_check(khash, name, type, error);

    if (rc != SQLITE_OK) {
        sqlite3_free(name);
        sqlite3_free(type);
        return rc;
    }
    column->field = kv_key_of(name, strlen(name));
    column->type = type;
    column->affinity = vt_affinity_of(type);
    khash->label[khash->columns++] = name;
    return SQLITE_OK;
}

/* Whether the text begins with this word. */
static bool khdef_begins(const char *text, const char *word)
{
    size_t n = 0;

    while (khdef_letter(text[n])) n++;
    return strlen(word) == n && sqlite3_strnicmp(text, word, (int)n) == 0;
}

/* PRIMARY KEY(...) and other constraints of a table: words that a column could have
 * for a name in quotes only. */
static bool khdef_constraint(const char *text)
{
    static const char *const words[] = {"PRIMARY", "CHECK", "FOREIGN",
                                        "CONSTRAINT"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (khdef_begins(text, words[i])) return true;
    return false;
}

/* ---- indexes --------------------------------------------------------------- */

/* The column of that name joins the index. */
static int khdef_index_column(struct vt_khash *khash,
                              struct vt_khash_index *index, const char *name,
                              const char *text, char **error)
{
    int column = 0;

    while (column < khash->columns &&
           sqlite3_stricmp(name, khash->label[column]) != 0)
        column++;
    if (column == khash->columns)
        return khdef_error(error, "kv_hash: %s: there is no column %s before "
                                  "it", text, name);
    if (column == 0)
        return khdef_error(error, "kv_hash: %s: rows are found by %s without "
                                  "an index, and every index ends in it",
                           text, name);
    for (int i = 0; i < index->columns; i++)
        if (index->column[i] == column)
            return khdef_error(error, "kv_hash: %s: column %s comes twice",
                               text, name);
    if (index->columns == KV_INDEX_COLUMNS_MAX)
        return khdef_error(error, "kv_hash: %s: an index has at most %d "
                                  "columns", text, KV_INDEX_COLUMNS_MAX);
    index->column[index->columns++] = column;
    return SQLITE_OK;
}

static const char *khdef_skip(const char *p)
{
    while (khdef_space(*p)) p++;
    return p;
}

static int khdef_index_columns(struct vt_khash *khash,
                               struct vt_khash_index *index, const char *text,
                               char **error)
{
    const bool unique = khdef_begins(text, "UNIQUE");
    const char *p = khdef_skip(text + strlen(unique ? "UNIQUE" : "INDEX"));
    int rc = *p == '(' ? SQLITE_OK : SQLITE_ERROR;

    for (bool more = rc == SQLITE_OK; more;) {
        char *name = NULL;
        p = khdef_skip(p + 1);
        rc = khdef_name(&p, &name);
        if (rc == SQLITE_OK)
            rc = khdef_index_column(khash, index, name, text, error);
        sqlite3_free(name);
        p = khdef_skip(p);
        more = rc == SQLITE_OK && *p == ',';
    }
    if (rc == SQLITE_NOMEM || *error != NULL) return rc;
    if (rc == SQLITE_OK && *p == ')') {
        p = khdef_skip(p + 1);
        index->flags = unique ? KV_INDEX_UNIQUE : 0;
        if (unique && khdef_begins(p, "STRICT")) {
            index->flags |= KV_INDEX_STRICT;
            p = khdef_skip(p + strlen("STRICT"));
        }
        if (*p == 0) return SQLITE_OK;
    }
    return khdef_error(error, "kv_hash: '%s' is no index: INDEX(column, ...), "
                              "UNIQUE(column, ...), or that and STRICT", text);
}

static int khdef_index(struct vt_khash *khash, const char *text, char **error)
{
    struct vt_khash_index *index = &khash->index[khash->indexes];
    int rc;

    if (khash->indexes == VT_KHASH_INDEXES_MAX)
        return khdef_error(error, "kv_hash: more than %d indexes",
                           VT_KHASH_INDEXES_MAX);
    rc = khdef_index_columns(khash, index, text, error);
    if (rc != SQLITE_OK) return rc;
    for (int i = 0; i < khash->indexes; i++)
        if (khash->index[i].columns == index->columns &&
            memcmp(khash->index[i].column, index->column,
                   (size_t)index->columns * sizeof(index->column[0])) == 0)
            return khdef_error(error, "kv_hash: %s comes twice", text);
    kv_buf_init(&index->id, KV_MEM_MISC, KV_DEFS_SIZE_MAX);
    khash->indexes++;
    return SQLITE_OK;
}

void vt_khash_spec(const struct vt_khash *khash, int i, struct kv_buf *out)
{
    const struct vt_khash_index *index = &khash->index[i];

    kv_buf_varint(out, khash->prefix.size);
    kv_buf_add(out, khash->prefix.p, khash->prefix.size);
    kv_buf_byte(out, (uint8_t)index->flags);
    kv_buf_byte(out, (uint8_t)index->columns);
    for (int k = 0; k < index->columns; k++) {
        const struct vt_khash_column *column = &khash->column[index->column[k]];
        kv_buf_byte(out, (uint8_t)column->affinity);
        kv_buf_varint(out, column->field.size);
        kv_buf_add(out, column->field.p, column->field.size);
    }
}

/* Under what name the store keeps each. */
static int khdef_index_ids(struct vt_khash *khash)
{
    const kvsql_slice name = {khash->name, strlen(khash->name)};
    struct kv_buf spec;
    bool ok = true;

    kv_buf_init(&spec, KV_MEM_MISC, KV_DEFS_SIZE_MAX);
    for (int i = 0; ok && i < khash->indexes; i++) {
        kv_buf_cut(&spec, 0);
        vt_khash_spec(khash, i, &spec);
        if (!spec.failed)
            kv_index_id(&khash->index[i].id, name, (unsigned)i,
                        (kvsql_slice){spec.p, spec.size});
        ok = !spec.failed && !khash->index[i].id.failed;
    }
    kv_buf_fini(&spec);
    return ok ? SQLITE_OK : SQLITE_NOMEM;
}

/* ---- columns, in the list -------------------------------------------------- */

static int khdef_column(struct vt_khash *khash, const char *text, char **error)
{
    const char *p = text;
    char *name, *type;
    size_t size;
    int rc;

    while (khdef_space(*p)) p++;
    if (khdef_begins(p, "INDEX") || khdef_begins(p, "UNIQUE"))
        return khdef_index(khash, p, error);
    if (khdef_constraint(p))
        return khdef_error(error, "kv_hash: %s cannot be kept: a table has "
                                  "columns and indexes", p);
    rc = khdef_name(&p, &name);
    if (rc == SQLITE_NOMEM) return rc;
    if (rc != SQLITE_OK || name[0] == 0) {
        sqlite3_free(name);
        return khdef_error(error, "kv_hash: '%s' is no column: a name and "
                                  "perhaps a type", text);
    }
    while (khdef_space(*p)) p++;
    size = strlen(p);
    while (size > 0 && khdef_space(p[size - 1])) size--;
    type = sqlite3_mprintf("%.*s", (int)size, p);
    if (type == NULL) {
        sqlite3_free(name);
        return SQLITE_NOMEM;
    }
    return khdef_add(khash, name, type, error);
}

/* ---- the pattern ----------------------------------------------------------- */

/* *name: the column; both belong to the caller. */
static int khdef_pattern(struct vt_khash *khash, const char *text, char **name,
                         char **error)
{
    const char *p = text;
    char *pattern = NULL, *open;
    size_t size;
    int rc = *text == '\'' ? khdef_unquote(&p, &pattern) : SQLITE_ERROR;

    if (rc == SQLITE_NOMEM) return rc;
    if (rc != SQLITE_OK || *p != 0) {
        sqlite3_free(pattern);
        return khdef_error(error, "kv_hash: the first argument is a pattern "
                                  "like 'user:{id}'");
    }
    open = strchr(pattern, '{');
    size = strlen(pattern);
    if (open == NULL || open[1] == '}' || strchr(open + 1, '{') != NULL ||
        strchr(pattern, '}') != pattern + size - 1) {
        rc = khdef_error(error,
                         "kv_hash: pattern '%s': a prefix with one {column} "
                         "at its end",
                         pattern);
        sqlite3_free(pattern);
        return rc;
    }
    pattern[size - 1] = 0;
    *open = 0;
    khash->prefix = kv_key_of(pattern, (size_t)(open - pattern));
    *name = open + 1;
    if (khash->prefix.cls != KV_TEXT || khash->prefix.size > KVSQL_KEY_MAX)
        return khdef_error(error, "kv_hash: the pattern is no UTF-8, or too "
                                  "long for a key");
    return SQLITE_OK;
}

int vt_khash_define(struct vt_khash *khash, int argc, const char *const *argv,
                    char **error)
{
    char *name = NULL;
    int rc = SQLITE_OK;

    khash->temp = sqlite3_stricmp(argv[1], "main") != 0;
    khash->name = sqlite3_mprintf("%s", argv[2]);
    khash->text = vt_khash_text(argc, argv);
    if (khash->name == NULL || khash->text == NULL) return SQLITE_NOMEM;
    if (vt_table_known(khash->name))
        return khdef_error(error, "kv_hash: %s is a table that is always there",
                           khash->name);
    if (argc < 5)
        return khdef_error(error, "kv_hash: a pattern like 'user:{id}', the "
                                  "column id, and the others");
    rc = khdef_pattern(khash, argv[3], &name, error);
    for (int i = 4; rc == SQLITE_OK && i < argc; i++)
        rc = khdef_column(khash, argv[i], error);
    if (rc != SQLITE_OK) return rc;
    if (sqlite3_stricmp(khash->label[0], name) != 0)
        return khdef_error(error, "kv_hash: column %s of the pattern comes "
                                  "first", name);
    if (khash->column[0].type[0] != 0 &&
        sqlite3_stricmp(khash->column[0].type, "TEXT") != 0)
        return khdef_error(error, "kv_hash: column %s is a part of the key, "
                                  "and that is TEXT", name);
    if (khash->columns < 2)
        return khdef_error(error, "kv_hash: a column beside %s is needed",
                           name);
    for (int i = 0; i < VT_KHASH_HIDDEN; i++)
        khash->label[khash->columns + i] = khdef_hidden[i];
    khash->unique = sqlite3_mprintf("%s.%s", khash->name, khash->label[0]);
    return khash->unique != NULL ? khdef_index_ids(khash) : SQLITE_NOMEM;
}

void vt_khash_undefine(struct vt_khash *khash)
{
    for (int i = 0; i < khash->columns; i++) {
        sqlite3_free((void *)(uintptr_t)khash->column[i].field.p);
        sqlite3_free(khash->column[i].type);
    }
    for (int i = 0; i < khash->indexes; i++)
        kv_buf_fini(&khash->index[i].id);
    sqlite3_free((void *)(uintptr_t)khash->prefix.p);
    sqlite3_free(khash->unique);
    sqlite3_free(khash->text);
    sqlite3_free(khash->name);
}

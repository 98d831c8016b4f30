/* test_sqldiff.c - our tables against native twins (sql.md TE1, TE2, TE4).
 *
 * One statement at a time is made at random and run on a session over a store
 * and on a plain SQLite database with the portable tables. Result codes, rows
 * and contents must be equal. Rows come in a fixed order only where ORDER BY
 * is total; else they are sorted first.
 *
 * KVSQL_SEED gives another run; KVSQL_SQL_STEPS sets how many statements each
 * test tries. */
#include <string.h>

#include "kvsql/base/os.h"
#include "tests/lib/rand.h"
#include "tests/lib/unit.h"
#include "vtab/state.h"

#define DIFF_TEXT_MAX 8192
#define DIFF_ROWS_MAX 20000
#define DIFF_PARAMS_MAX 24
#define DIFF_STEPS 30000

struct diff_text {
    char p[DIFF_TEXT_MAX];
    size_t size;
};

/* One parameter, bound on both sides. */
struct diff_param {
    enum vt_value_kind kind;
    int64_t integer;
    double real;
    const char *p;
    size_t size;
};

struct diff_rows {
    char *row[DIFF_ROWS_MAX];
    unsigned count;
    bool error, duplicate, null;
    char message[KVSQL_ERROR_SIZE];
};

struct diff {
    struct rand_state rand;
    kvsql *db;
    struct vt_session *ours;
    sqlite3 *native;
    struct diff_text sql;
    struct diff_param params[DIFF_PARAMS_MAX];
    unsigned param_count;
    struct diff_rows a, b;
    uint64_t step;
    bool writing; /* no computed numbers: DELETE and UPDATE may refuse them */
};

static struct diff fx;

/* ---- text ---------------------------------------------------------------------- */

static void put(const char *text)
{
    size_t n = strlen(text);

    ck_assert_uint_lt(fx.sql.size + n, DIFF_TEXT_MAX);
    memcpy(fx.sql.p + fx.sql.size, text, n + 1);
    fx.sql.size += n;
}

static unsigned below(unsigned n)
{
    return (unsigned)rand_below(&fx.rand, n);
}

static bool one_in(unsigned n)
{
    return below(n) == 0;
}

#define PICK(list) ((list)[below((unsigned)(sizeof(list) / sizeof((list)[0])))])

/* ---- right-hand sides ------------------------------------------------------------ */

static const char *const texts[] = {
    "''", "'7'", "'007'", "'7.0'", "' 7'", "'+7'", "'1e1'", "'10'", "'9'",
    "'-'", "'-5'", "'.5'", "':'", "'Inf'", "'a'", "'A'", "'ab'", "'aB'",
    "'abc'", "'b'", "'user:1'", "'user:2'", "'User:3'", "'\xc3\xa9'", "'z'",
    "'12'", "'1'", "'2'", "'7 '", "'0x7'", "'1e400'", "'a*'", "'[a'"};
static const char *const blobs[] = {"x'ff'", "x'3700'", "x'ff00'", "x'c3'",
                                    "x'80'", "x'00'"};
/* As right-hand sides only: BLOBs that would be TEXT in the store (VA4). */
static const char *const text_blobs[] = {"x'37'", "x''", "x'61'"};
static const char *const integers[] = {"7",  "10", "-5", "0",
                                       "1",  "2",  "9007199254740993",
                                       "9223372036854775807"};
static const char *const reals[] = {"7.0", "1e1", "0.5", "-5.5",
                                    "9e999", "1.5", "9007199254740992.0"};
static const char *const types[] = {"TEXT", "INTEGER", "REAL", "NUMERIC",
                                    "BLOB"};
static const char *const columns_of_t[] = {"i", "r", "x", "n", "b", "u"};

static void literal(void)
{
    switch (below(8)) {
    case 0: put(PICK(integers)); break;
    case 1: put(PICK(reals)); break;
    case 2: put(PICK(blobs)); break;
    case 3: put(one_in(4) ? "NULL" : PICK(text_blobs)); break;
    default: put(PICK(texts)); break;
    }
}

static const struct diff_param bindings[] = {
    {.kind = VT_INTEGER, .integer = 7},   {.kind = VT_INTEGER, .integer = 10},
    {.kind = VT_REAL, .real = 7.0},       {.kind = VT_REAL, .real = 0.5},
    {.kind = VT_TEXT, .p = "7", .size = 1}, {.kind = VT_TEXT, .p = "007", .size = 3},
    {.kind = VT_TEXT, .p = "a", .size = 1}, {.kind = VT_TEXT, .p = "user:1", .size = 6},
    {.kind = VT_TEXT, .p = "", .size = 0},  {.kind = VT_TEXT, .p = "\xff", .size = 1},
    {.kind = VT_BLOB, .p = "\xff", .size = 1}, {.kind = VT_BLOB, .p = "7", .size = 1},
    {.kind = VT_BLOB, .p = "", .size = 0},  {.kind = VT_BLOB, .p = "7\0", .size = 2},
    {.kind = VT_NULL},                     {.kind = VT_TEXT, .p = "Inf", .size = 3}};

static void param(void)
{
    if (fx.param_count == DIFF_PARAMS_MAX) {
        literal();
        return;
    }
    fx.params[fx.param_count++] = PICK(bindings);
    put("?");
}

/* A value; `t`: columns of t may be named. */
static void value(bool t)
{
    switch (below(t ? 14 : fx.writing ? 9 : 11)) {
    case 0:
    case 1:
    case 2:
    case 3: literal(); break;
    case 4:
    case 5:
    case 6: param(); break;
    case 7:
        put("CAST(");
        literal();
        put(" AS ");
        put(PICK(types));
        put(")");
        break;
    case 8:
        put("CAST(");
        param();
        put(one_in(2) ? " AS TEXT)" : " AS BLOB)");
        break;
    case 9:
        put("(SELECT ");
        put(PICK(columns_of_t));
        put(" FROM t ORDER BY id LIMIT 1 OFFSET ");
        put(one_in(2) ? "1" : "4");
        put(")");
        break;
    case 10: put(one_in(2) ? "(3+4)" : "('7'||'')"); break;
    default:
        put("t.");
        put(PICK(columns_of_t));
        break;
    }
}

/* ---- tables ------------------------------------------------------------------------ */

struct diff_table {
    const char *name;
    const char *columns[4];
    unsigned count;
    const char *order; /* total */
    unsigned key_parts;
};
static const struct diff_table tables[] = {
    {"keys", {"key", "type", "length", "expires_at"}, 4, "key", 1},
    {"strings", {"key", "value", "expires_at"}, 3, "key", 1},
    {"hashes", {"key", "field", "value", "expires_at"}, 4, "key, field", 2},
    {"lists", {"key", "idx", "value"}, 3, "key, idx", 2},
    {"sets", {"key", "member"}, 2, "key, member", 2},
    {"zsets", {"key", "member", "score"}, 3, "key, member", 2}};
#define TABLES (sizeof(tables) / sizeof(tables[0]))

static const char *const operators[] = {"=", "=", "=", "<", "<=", ">", ">=",
                                        "IS", "<>", "IS NOT"};
static const char *const patterns[] = {
    "'user:*'", "'a*'", "'*'", "'[a-b]*'", "'7'", "'?'", "'*b'", "''", "'a?c'",
    "'user:%'", "'A%'", "'%'", "'_'", "'%b'", "'a_'", "'[^a]*'", "'USER:%'",
    "'\xc3\xa9*'", "'[*]'", "x'61'", "7", "'[a'", "'*[a'", "'a[]-a]*'"};

static void column(const struct diff_table *table, const char *as)
{
    put(as);
    put(".");
    put(one_in(2) ? "key" : table->columns[below(table->count)]);
}

static void list(bool t)
{
    unsigned n = 1 + below(5);

    put(" IN (");
    for (unsigned i = 0; i < n; i++) {
        if (i > 0) put(", ");
        value(t);
    }
    put(")");
}

static void predicate(const struct diff_table *table, const char *as, bool t,
                      int depth)
{
    unsigned kind = below(depth > 0 ? 16 : 14);

    /* SQLite forgets COLLATE when it turns OR into IN. */
    if (kind == 10 && depth < 2) kind = 13;

    if (one_in(12)) put("+"); /* TE2: unusable */
    switch (kind) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        column(table, as);
        put(" ");
        put(PICK(operators));
        put(" ");
        value(t);
        break;
    case 5: column(table, as); list(t); break;
    case 6:
        column(table, as);
        put(" IN (SELECT ");
        put(PICK(columns_of_t));
        put(" FROM t)");
        break;
    case 7:
        column(table, as);
        put(one_in(4) ? " NOT BETWEEN " : " BETWEEN ");
        value(t);
        put(" AND ");
        value(t);
        break;
    case 8:
    case 9:
        column(table, as);
        put(one_in(2) ? " GLOB " : one_in(4) ? " NOT LIKE " : " LIKE ");
        put(PICK(patterns));
        break;
    case 10:
        column(table, as);
        put(" = ");
        value(t);
        put(" COLLATE NOCASE");
        break;
    case 11:
        put("(");
        put(as);
        put(".key, ");
        put(as);
        put(".");
        put(table->columns[1]);
        put(one_in(2) ? ") > (" : ") <= (");
        value(t);
        put(", ");
        value(t);
        put(")");
        break;
    case 12:
        column(table, as);
        put(one_in(2) ? " IS NULL" : " IS NOT NULL");
        break;
    case 13:
        put(as);
        put(".key = ");
        value(t);
        break;
    default:
        put("(");
        predicate(table, as, t, depth - 1);
        put(one_in(3) ? " AND " : " OR ");
        predicate(table, as, t, depth - 1);
        put(")");
        break;
    }
}

static void where(const struct diff_table *table, const char *as, bool t)
{
    unsigned n = 1 + below(3);

    put(" WHERE ");
    for (unsigned i = 0; i < n; i++) {
        if (i > 0) put(" AND ");
        predicate(table, as, t, 2);
    }
}

/* ---- queries ------------------------------------------------------------------------ */

/* A total order; some of the ways to say one. */
static void order(const struct diff_table *table)
{
    const char *way = one_in(2) ? " DESC" : "";

    put(" ORDER BY ");
    if (one_in(3)) {
        put("a.");
        put(table->columns[below(table->count)]);
        put(one_in(2) ? " DESC, " : ", ");
    }
    put("a.key");
    put(way);
    if (table->key_parts == 2) {
        put(", a.");
        put(table->columns[1]);
        put(one_in(5) ? " DESC" : way);
    }
}

static void all_columns(const struct diff_table *table)
{
    for (unsigned i = 0; i < table->count; i++) {
        put(i > 0 ? ", a." : "a.");
        put(table->columns[i]);
    }
}

static void limit(void)
{
    static const char *const limits[] = {" LIMIT 3", " LIMIT 1",
                                         " LIMIT 2 OFFSET 1",
                                         " LIMIT -1 OFFSET 2"};

    if (one_in(3)) put(PICK(limits));
}

static void from(const struct diff_table *table)
{
    put(" FROM ");
    put(table->name);
    put(" a");
}

/* SELECT over one table, ordered. */
static void query_plain(const struct diff_table *table)
{
    put("SELECT ");
    all_columns(table);
    from(table);
    if (!one_in(6)) where(table, "a", false);
    order(table);
    limit();
}

static void query_group(const struct diff_table *table)
{
    static const char *const aggregates[] = {
        "count(*)", "min(a.key)", "max(a.key)", "count(DISTINCT a.key)",
        "max(a.key), min(a.key)"};

    put("SELECT ");
    if (one_in(3)) {
        put(PICK(aggregates));
        from(table);
        where(table, "a", false);
        return;
    }
    if (one_in(2)) {
        put("DISTINCT ");
        put(one_in(2) ? "a.key" : "a.");
        if (fx.sql.p[fx.sql.size - 1] == '.')
            put(table->columns[below(table->count)]);
        from(table);
        if (one_in(2)) where(table, "a", false);
        return;
    }
    put("a.key, count(*)");
    from(table);
    if (one_in(2)) where(table, "a", false);
    put(" GROUP BY a.key");
    if (one_in(3)) put(" HAVING count(*) > 1");
    if (one_in(2)) put(" ORDER BY a.key DESC");
}

/* t JOIN table, LEFT JOIN, and two of ours. */
static void query_join(const struct diff_table *table)
{
    const struct diff_table *other = &tables[below(TABLES)];

    put("SELECT ");
    all_columns(table);
    if (one_in(3)) {
        from(table);
        put(", ");
        put(other->name);
        put(" c WHERE c.key = a.");
        put(table->columns[below(table->count)]);
        put(" AND ");
        predicate(table, "a", false, 1);
        return;
    }
    put(", t.id FROM t ");
    put(one_in(2) ? "LEFT JOIN " : "JOIN ");
    put(table->name);
    put(" a ON a.");
    put(one_in(2) ? "key" : table->columns[below(table->count)]);
    put(" = t.");
    put(PICK(columns_of_t));
    if (one_in(2)) {
        put(" AND ");
        predicate(table, "a", true, 1);
    }
    if (one_in(2)) where(table, "a", true);
}

static void query_compound(const struct diff_table *table)
{
    put("SELECT a.key, a.");
    put(table->columns[1]);
    from(table);
    where(table, "a", false);
    put(one_in(2) ? " UNION ALL" : " EXCEPT");
    put(" SELECT a.key, a.");
    put(table->columns[1]);
    from(table);
    where(table, "a", false);
    put(" ORDER BY 1, 2");
    limit();
}

static void query_window(const struct diff_table *table)
{
    put("SELECT a.key, row_number() OVER (ORDER BY ");
    put("a.key");
    if (table->key_parts == 2) {
        put(", a.");
        put(table->columns[1]);
    }
    put(") FROM ");
    put(table->name);
    put(" a");
    where(table, "a", false);
}

static void query_exists(const struct diff_table *table)
{
    put("SELECT t.id FROM t WHERE ");
    put(one_in(3) ? "NOT EXISTS" : "EXISTS");
    put(" (SELECT 1");
    from(table);
    where(table, "a", true);
    put(")");
}

/* An order that may be had from one key alone. */
static void query_one_key(const struct diff_table *table)
{
    put("SELECT ");
    all_columns(table);
    from(table);
    put(" WHERE a.key = ");
    value(false);
    put(" ORDER BY a.");
    put(table->columns[1]);
    if (one_in(2)) put(" DESC");
    if (table->key_parts == 2) put(", a.key");
    limit();
}

static void query(void)
{
    const struct diff_table *table = &tables[below(TABLES)];

    switch (below(10)) {
    case 0:
    case 1:
    case 2: query_plain(table); break;
    case 3: query_group(table); break;
    case 4:
    case 5: query_join(table); break;
    case 6: query_compound(table); break;
    case 7: query_window(table); break;
    case 8: query_exists(table); break;
    default: query_one_key(table); break;
    }
}

/* ---- running ---------------------------------------------------------------------------- */

static void rows_free(struct diff_rows *rows)
{
    for (unsigned i = 0; i < rows->count; i++) free(rows->row[i]);
    memset(rows, 0, offsetof(struct diff_rows, message));
    rows->count = 0;
    rows->message[0] = 0;
}

/* One value as text that tells its type. */
static void cell(char *out, size_t *size, enum vt_value_kind kind,
                 int64_t integer, double real, const uint8_t *p, size_t n)
{
    size_t left = DIFF_TEXT_MAX - *size;
    int wrote = 0;

    switch (kind) {
    case VT_NULL: wrote = snprintf(out + *size, left, "NULL|"); break;
    case VT_INTEGER:
        wrote = snprintf(out + *size, left, "i%lld|", (long long)integer);
        break;
    case VT_REAL: wrote = snprintf(out + *size, left, "r%.17g|", real); break;
    default:
        wrote = snprintf(out + *size, left, kind == VT_TEXT ? "'" : "x");
        *size += (size_t)wrote;
        for (size_t i = 0; i < n && *size + 4 < DIFF_TEXT_MAX; i++)
            *size += (size_t)snprintf(out + *size, 4,
                                      p[i] >= 32 && p[i] < 127 ? "%c" : "%02x",
                                      p[i]);
        wrote = snprintf(out + *size, DIFF_TEXT_MAX - *size, "|");
        break;
    }
    *size += (size_t)wrote;
}

static void rows_add(struct diff_rows *rows, const char *text)
{
    ck_assert_uint_lt(rows->count, DIFF_ROWS_MAX);
    rows->row[rows->count] = strdup(text);
    ck_assert_ptr_nonnull(rows->row[rows->count]);
    rows->count++;
}

static void run_ours(const char *sql, struct diff_rows *rows)
{
    struct vt_statement *statement;
    struct kvsql_error err = {.rc = KVSQL_OK};
    char text[DIFF_TEXT_MAX];
    bool row = false;
    kvsql_rc rc = vt_prepare(fx.ours, sql, strlen(sql), NULL, &statement, &err);

    rows_free(rows);
    for (unsigned i = 0; rc == KVSQL_OK && i < fx.param_count; i++) {
        const struct diff_param *p = &fx.params[i];
        struct vt_value v = {.kind = p->kind, .integer = p->integer,
                             .real = p->real, .p = (const uint8_t *)p->p,
                             .size = p->size};
        rc = vt_bind(statement, (int)i + 1, &v, &err);
    }
    while (rc == KVSQL_OK) {
        size_t size = 0;
        rc = vt_step(statement, &row, &err);
        if (rc != KVSQL_OK || !row) break;
        text[0] = 0;
        for (int i = 0; i < vt_column_count(statement); i++) {
            struct vt_value v;
            vt_column(statement, i, &v);
            cell(text, &size, v.kind, v.integer, v.real, v.p, v.size);
        }
        rows_add(rows, text);
    }
    vt_finish(statement);
    rows->error = rc != KVSQL_OK;
    rows->duplicate = rc == KVSQL_EXISTS;
    rows->null = rc == KVSQL_CONSTRAINT &&
                 strncmp(err.text, "NOT NULL", 8) == 0;
    if (rows->error)
        (void)snprintf(rows->message, sizeof(rows->message), "%s", err.text);
}

static void native_bind(sqlite3_stmt *stmt)
{
    for (unsigned i = 0; i < fx.param_count; i++) {
        const struct diff_param *p = &fx.params[i];
        int at = (int)i + 1;
        switch (p->kind) {
        case VT_NULL: sqlite3_bind_null(stmt, at); break;
        case VT_INTEGER: sqlite3_bind_int64(stmt, at, p->integer); break;
        case VT_REAL: sqlite3_bind_double(stmt, at, p->real); break;
        case VT_TEXT:
            sqlite3_bind_text(stmt, at, p->p, (int)p->size, SQLITE_STATIC);
            break;
        case VT_BLOB:
            sqlite3_bind_blob(stmt, at, p->p, (int)p->size, SQLITE_STATIC);
            break;
        }
    }
}

static void native_row(sqlite3_stmt *stmt, char *text)
{
    size_t size = 0;

    text[0] = 0;
    for (int i = 0; i < sqlite3_column_count(stmt); i++) {
        static const enum vt_value_kind kinds[] = {
            VT_NULL, VT_INTEGER, VT_REAL, VT_TEXT, VT_BLOB, VT_NULL};
        int type = sqlite3_column_type(stmt, i);
        enum vt_value_kind kind = kinds[type == SQLITE_NULL ? 0 : type];
        int64_t integer = kind == VT_INTEGER ? sqlite3_column_int64(stmt, i) : 0;
        double real = kind == VT_REAL ? sqlite3_column_double(stmt, i) : 0;
        bool bytes = kind == VT_TEXT || kind == VT_BLOB;
        size_t n = bytes ? (size_t)sqlite3_column_bytes(stmt, i) : 0;
        cell(text, &size, kind, integer, real,
             bytes ? sqlite3_column_blob(stmt, i) : NULL, n);
    }
}

static void run_native(const char *sql, struct diff_rows *rows)
{
    sqlite3_stmt *stmt = NULL;
    char text[DIFF_TEXT_MAX];
    int rc = sqlite3_prepare_v2(fx.native, sql, -1, &stmt, NULL);

    rows_free(rows);
    if (rc == SQLITE_OK) {
        native_bind(stmt);
        while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
            native_row(stmt, text);
            rows_add(rows, text);
        }
    }
    rows->error = rc != SQLITE_DONE;
    rows->duplicate = rc == SQLITE_CONSTRAINT_PRIMARYKEY;
    rows->null = rc == SQLITE_CONSTRAINT_NOTNULL;
    if (rows->error)
        (void)snprintf(rows->message, sizeof(rows->message), "%s",
                       sqlite3_errmsg(fx.native));
    (void)sqlite3_finalize(stmt);
}

static int row_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void show(const char *name, const struct diff_rows *rows)
{
    printf("%s: %u rows%s%s\n", name, rows->count, rows->error ? ", " : "",
           rows->message);
    for (unsigned i = 0; i < rows->count && i < 12; i++)
        printf("    %s\n", rows->row[i]);
}

static void fail_with(const char *sql)
{
    printf("step %llu: %s\n", (unsigned long long)fx.step, sql);
    for (unsigned i = 0; i < fx.param_count; i++)
        printf("  ?%u kind %d int %lld real %g text '%.*s'\n", i + 1,
               (int)fx.params[i].kind, (long long)fx.params[i].integer,
               fx.params[i].real, (int)fx.params[i].size,
               fx.params[i].p ? fx.params[i].p : "");
    show("ours", &fx.a);
    show("native", &fx.b);
    fflush(stdout);
    ck_abort_msg("ours and native differ");
}

/* SQLite takes `key = 7` for a constant and drops ORDER BY key, though '7' and
 * '7 ' are both equal to it; so does max(key). Where native rows differ, a
 * native query whose order cannot be dropped decides. */
static bool same_with_order_kept(const char *sql)
{
    char kept[DIFF_TEXT_MAX];
    bool order = false;
    size_t n = 0;

    for (const char *p = sql; *p != 0 && n + 2 < sizeof(kept); p++) {
        order = order || strncmp(p, "ORDER BY a.", 11) == 0;
        kept[n++] = *p;
        if ((order && strncmp(p, " a.", 3) == 0) ||
            strncmp(p, "(a.key)", 7) == 0)
            kept[n++] = '+';
    }
    kept[n] = 0;
    run_native(kept, &fx.b);
    if (strstr(sql, " LIMIT ") != NULL && strstr(sql, "a.key ") != NULL)
        run_ours(kept, &fx.a); /* which of equal rows: SQLite dropped it too */
    if (fx.a.error != fx.b.error || fx.a.count != fx.b.count) return false;
    for (unsigned i = 0; i < fx.a.count; i++)
        if (strcmp(fx.a.row[i], fx.b.row[i]) != 0) return false;
    return true;
}

/* Both must say the same; without a total order the rows are sorted first. */
static void compare(const char *sql)
{
    bool ordered = strstr(sql, "ORDER BY a.key") != NULL ||
                   strstr(sql, "ORDER BY 1, 2") != NULL;
    bool same = fx.a.error == fx.b.error &&
                fx.a.duplicate == fx.b.duplicate && fx.a.null == fx.b.null &&
                fx.a.count == fx.b.count;

    if (!ordered && same) {
        qsort(fx.a.row, fx.a.count, sizeof(char *), row_compare);
        qsort(fx.b.row, fx.b.count, sizeof(char *), row_compare);
    }
    for (unsigned i = 0; same && i < fx.a.count; i++)
        same = strcmp(fx.a.row[i], fx.b.row[i]) == 0;
    if (!same && !same_with_order_kept(sql)) fail_with(sql);
}

static void both(const char *sql)
{
    run_ours(sql, &fx.a);
    run_native(sql, &fx.b);
    compare(sql);
}

static void begin_statement(void)
{
    fx.sql.size = 0;
    fx.sql.p[0] = 0;
    fx.param_count = 0;
}

/* ---- contents ------------------------------------------------------------------------------ */

static const char *const schema =
    "CREATE TABLE keys(key TEXT NOT NULL PRIMARY KEY, type TEXT NOT NULL,"
    " length INTEGER NOT NULL, expires_at INTEGER) WITHOUT ROWID;"
    "CREATE TABLE strings(key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL,"
    " expires_at INTEGER) WITHOUT ROWID;"
    "CREATE TABLE hashes(key TEXT NOT NULL, field TEXT NOT NULL,"
    " value TEXT NOT NULL, expires_at INTEGER, PRIMARY KEY(key, field))"
    " WITHOUT ROWID;"
    "CREATE TABLE lists(key TEXT NOT NULL, idx INTEGER NOT NULL,"
    " value TEXT NOT NULL, PRIMARY KEY(key, idx)) WITHOUT ROWID;"
    "CREATE TABLE sets(key TEXT NOT NULL, member TEXT NOT NULL,"
    " PRIMARY KEY(key, member)) WITHOUT ROWID;"
    "CREATE TABLE zsets(key TEXT NOT NULL, member TEXT NOT NULL,"
    " score REAL NOT NULL, PRIMARY KEY(key, member)) WITHOUT ROWID;";

static void native_exec(const char *sql)
{
    char *error = NULL;
    int rc = sqlite3_exec(fx.native, sql, NULL, NULL, &error);

    ck_assert_msg(rc == SQLITE_OK, "%s: %s", sql, error ? error : "");
}

static void statement(const char *sql)
{
    begin_statement();
    both(sql);
    ck_assert_msg(!fx.a.error, "%s: %s", sql, fx.a.message);
}

/* A clock that stands still: expires_at is shown as it was given. */
static int64_t diff_wall(void *arg)
{
    (void)arg;
    return 1700000000000;
}

static uint64_t diff_boot(void *arg)
{
    (void)arg;
    return 1000000000000u;
}

static void open_both(const char *test, uint64_t seed)
{
    static struct kv_os os;
    const struct vt_limits limits = {.trusted = true};
    const struct kvsql_options options = {.fsync = KVSQL_FSYNC_NO};
    struct kvsql_error err;

    os = *kv_os_real();
    os.wall_ms = diff_wall;
    os.boot_ns = diff_boot;
    memset(&fx, 0, sizeof(fx));
    fx.rand = rand_of(rand_seed(test, seed));
    ck_assert_int_eq(vt_start(&err), KVSQL_OK);
    ck_assert_int_eq(kv_open_os("", &options, &os, NULL, NULL, &fx.db,
                                &err),
                     KVSQL_OK);
    ck_assert_int_eq(vt_session_open(fx.db, &limits, &fx.ours, &err), KVSQL_OK);
    ck_assert_int_eq(sqlite3_open(":memory:", &fx.native), SQLITE_OK);
    sqlite3_extended_result_codes(fx.native, 1);
    native_exec(schema);
    statement("CREATE TEMP TABLE t(id INTEGER PRIMARY KEY, i INTEGER, r REAL,"
              " x TEXT, n NUMERIC, b BLOB, u)");
    statement("INSERT INTO t(i, r, x, n, b, u) VALUES"
              " (7, 7.0, '7', '007', x'37', 7), (10, 1e1, '10', '1e1', x'ff',"
              " '10'), (-5, 0.5, 'a', 'a', x'3700', 7.0),"
              " (NULL, NULL, NULL, NULL, NULL, NULL),"
              " (0, 9e999, '007', 0.5, 'user:1', 'user:1'),"
              " (1, 1.5, 'Inf', 1, 7, '+7')");
}

static void close_both(void)
{
    struct kvsql_error err;

    rows_free(&fx.a);
    rows_free(&fx.b);
    vt_session_close(fx.ours);
    ck_assert_int_eq(sqlite3_close(fx.native), SQLITE_OK);
    ck_assert_int_eq(kv_close(fx.db, &err), KVSQL_OK);
}

static void empty(void)
{
    statement("DELETE FROM t WHERE id > 6");
    run_ours("DELETE FROM keys", &fx.a);
    ck_assert_msg(!fx.a.error, "%s", fx.a.message);
    native_exec("DELETE FROM strings; DELETE FROM hashes; DELETE FROM lists;"
                "DELETE FROM sets; DELETE FROM zsets; DELETE FROM keys");
}

static void text_or_blob(void)
{
    put(one_in(5) ? PICK(blobs) : PICK(texts));
}

/* One row for one of the tables; `key` NULL: any. */
static void fill_row(unsigned table, const char *key, unsigned n)
{
    char number[32];

    begin_statement();
    put("INSERT OR REPLACE INTO ");
    put(tables[table].name);
    put(" VALUES(");
    put(key);
    put(", ");
    (void)snprintf(number, sizeof(number), "%u", n);
    if (table == 3)
        put(number);
    else
        text_or_blob();
    if (table == 2 || table == 3) {
        put(", ");
        text_or_blob();
    }
    if (table == 5) {
        put(", ");
        put(one_in(4) ? "1" : one_in(3) ? PICK(reals) : PICK(integers));
    }
    if (table == 1 || table == 2)
        put(one_in(3) ? ", 99999999999999" : ", NULL");
    put(")");
    both(fx.sql.p);
    ck_assert_msg(!fx.a.error, "%s: %s", fx.sql.p, fx.a.message);
}

/* Give each key of the pool to one table, with a few rows, a few at times with
 * many so that large forms are seen too. */
static void fill(void)
{
    unsigned keys = sizeof(texts) / sizeof(texts[0]);
    unsigned all = keys + sizeof(blobs) / sizeof(blobs[0]);

    empty();
    for (unsigned i = 0; i < all; i++) {
        unsigned table = 1 + below(TABLES - 1);
        unsigned rows = 1 + below(one_in(10) ? 30 : 4);
        const char *key = i < keys ? texts[i] : blobs[i - keys];
        for (unsigned n = 0; n < (table == 1 ? 1 : rows); n++)
            fill_row(table, key, n);
    }
    native_exec(
        "INSERT INTO keys SELECT key, 'string', length(CAST(value AS BLOB)),"
        " expires_at FROM strings;"
        "INSERT INTO keys SELECT key, 'hash', count(*), NULL FROM hashes"
        " GROUP BY key;"
        "INSERT INTO keys SELECT key, 'list', count(*), NULL FROM lists"
        " GROUP BY key;"
        "INSERT INTO keys SELECT key, 'set', count(*), NULL FROM sets"
        " GROUP BY key;"
        "INSERT INTO keys SELECT key, 'zset', count(*), NULL FROM zsets"
        " GROUP BY key;");
}

/* ---- writes ----------------------------------------------------------------------------------- */

static const char *const conflicts[] = {"", "", " OR REPLACE", " OR IGNORE",
                                        " OR FAIL", " OR ABORT",
                                        " OR ROLLBACK"};
/* Keys of one table never are those of another: a key has one type. */
static const char *const write_keys[5][4] = {
    {"'s:1'", "'s:2'", "'s:3'", "x'73ff'"}, {"'h:1'", "'h:2'", "'7'", "'007'"},
    {NULL}, {"'m:1'", "'m:2'", "''", "x'ff'"}, {"'z:1'", "'z:2'", "'10'", "'9'"}};
static const unsigned write_tables[] = {1, 2, 4, 5};

static void write_key(unsigned table)
{
    put(PICK(write_keys[table - 1]));
}

static void write_value(const struct diff_table *table, unsigned c)
{
    if (strcmp(table->columns[c], "expires_at") == 0) {
        put(one_in(2) ? "NULL" : "99999999999999");
    } else if (strcmp(table->columns[c], "score") == 0) {
        put(one_in(20) ? "NULL" : one_in(2) ? PICK(integers) : PICK(reals));
    } else if (one_in(30)) {
        put("NULL");
    } else if (one_in(4)) {
        put(one_in(2) ? PICK(integers) : "1.5");
    } else {
        text_or_blob();
    }
}

static void write_insert(unsigned n)
{
    const struct diff_table *table = &tables[n];
    unsigned rows = 1 + below(3);

    put("INSERT");
    put(PICK(conflicts));
    put(" INTO ");
    put(table->name);
    put(" VALUES ");
    for (unsigned i = 0; i < rows; i++) {
        put(i > 0 ? ", (" : "(");
        write_key(n);
        for (unsigned c = 1; c < table->count; c++) {
            put(", ");
            write_value(table, c);
        }
        put(")");
    }
}

static void write_where(unsigned n)
{
    const struct diff_table *table = &tables[n];

    if (one_in(8)) return;
    put(" WHERE ");
    if (one_in(2)) {
        put("key = ");
        write_key(n);
        if (one_in(2)) {
            put(" AND ");
            predicate(table, table->name, false, 0);
        }
        return;
    }
    predicate(table, table->name, false, 1);
}

/* UPDATE: of the key columns only to values that keep rows apart. */
static void write_update(unsigned n)
{
    const struct diff_table *table = &tables[n];
    unsigned c = below(table->count);
    char suffix[32];

    put("UPDATE");
    put(PICK(conflicts));
    put(" ");
    put(table->name);
    put(" SET ");
    put(table->columns[c]);
    put(" = ");
    if (c < table->key_parts) {
        if (c == 0) {
            write_key(n);
            put(" WHERE key = ");
            write_key(n);
            if (table->key_parts == 2) {
                put(" AND ");
                put(table->columns[1]);
                put(" = ");
                literal();
            }
            return;
        }
        put("iif(typeof(");
        put(table->columns[c]);
        put(") = 'text', ");
        put(table->columns[c]);
        (void)snprintf(suffix, sizeof(suffix), " || '~%llu', ",
                       (unsigned long long)fx.step); /* meets no other row */
        put(suffix);
        put(table->columns[c]);
        put(")");
    } else if (one_in(3) && strcmp(table->columns[c], "value") == 0) {
        put("iif(typeof(value) = 'text', value || 'y', value)");
    } else {
        write_value(table, c);
    }
    write_where(n);
}

static void write_delete(unsigned n)
{
    put("DELETE FROM ");
    put(tables[n].name);
    write_where(n);
}

static void write_any(void)
{
    unsigned n = PICK(write_tables);

    switch (below(6)) {
    case 0:
    case 1:
    case 2: write_insert(n); break;
    case 3:
    case 4: write_update(n); break;
    default: write_delete(n); break;
    }
}

static const char *const controls[] = {
    "BEGIN", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a", "SAVEPOINT a",
    "SAVEPOINT b", "SAVEPOINT c", "RELEASE a", "RELEASE b", "RELEASE c",
    "ROLLBACK TO a", "ROLLBACK TO a", "ROLLBACK TO b", "ROLLBACK TO c"};

static void check_contents(void)
{
    static const char *const contents[] = {
        "SELECT a.key, a.value, a.expires_at FROM strings a ORDER BY a.key",
        "SELECT a.* FROM hashes a ORDER BY a.key, field",
        "SELECT a.* FROM sets a ORDER BY a.key, member",
        "SELECT a.* FROM zsets a ORDER BY a.key, member"};

    begin_statement();
    for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++)
        both(contents[i]);
}

/* ---- tests --------------------------------------------------------------------------------------- */

/* Whether another statement should be tried. */
static bool more(void)
{
    const char *steps = getenv("KVSQL_SQL_STEPS");

    fx.step++;
    return fx.step <= (steps != NULL ? strtoull(steps, NULL, 0) : DIFF_STEPS);
}

START_TEST(queries_give_the_rows_of_native_tables)
{
    open_both("TE1", 1);
    while (more()) {
        if (fx.step % 400 == 1) fill();
        begin_statement();
        query();
        both(fx.sql.p);
        if (!one_in(4)) continue;
        vt_session_plan_off(fx.ours, true); /* TE2 */
        run_ours(fx.sql.p, &fx.a);
        vt_session_plan_off(fx.ours, false);
        compare(fx.sql.p);
    }
    printf("TE1: %llu queries\n", (unsigned long long)fx.step - 1);
    close_both();
}
END_TEST

START_TEST(histories_of_writes_and_savepoints_end_as_native_tables)
{
    open_both("TE4", 2);
    fx.writing = true;
    while (more()) {
        begin_statement();
        if (one_in(4))
            put(PICK(controls));
        else
            write_any();
        both(fx.sql.p);
        ck_assert_int_eq(vt_in_transaction(fx.ours),
                         !sqlite3_get_autocommit(fx.native));
        check_contents();
        if (fx.step % 2000 == 0) {
            run_ours("ROLLBACK", &fx.a);
            run_native("ROLLBACK", &fx.b);
            empty();
        }
    }
    printf("TE4: %llu statements\n", (unsigned long long)fx.step - 1);
    close_both();
}
END_TEST

static void add(TCase *tests)
{
    tcase_set_timeout(tests, 0);
    tcase_add_test(tests, queries_give_the_rows_of_native_tables);
    tcase_add_test(tests,
                   histories_of_writes_and_savepoints_end_as_native_tables);
}

int main(void)
{
    return unit_run("sqldiff", add);
}

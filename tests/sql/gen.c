/* gen.c - values and predicates; see gen.h.
 *
 * Thread: see the header. */
#include "tests/sql/gen.h"

#include <check.h>
#include <stdarg.h>
#include <string.h>

const struct gen_table gen_tables[GEN_TABLES] = {
    {"keys", {"key", "type", "length", "expires_at"}, 4, 1},
    {"strings", {"key", "value", "expires_at"}, 3, 1},
    {"hashes", {"key", "field", "value", "expires_at"}, 4, 2},
    {"lists", {"key", "idx", "value"}, 3, 2},
    {"sets", {"key", "member"}, 2, 2},
    {"zsets", {"key", "member", "score"}, 3, 2}};

/* ---- text --------------------------------------------------------------- */

void gen_begin(struct gen *g)
{
    g->size = 0;
    g->sql[0] = 0;
    g->param_count = 0;
    g->loose = false;
}

void gen_put(struct gen *g, const char *text)
{
    const size_t n = strlen(text);

    ck_assert_uint_lt(g->size + n, GEN_TEXT_MAX);
    memcpy(g->sql + g->size, text, n + 1);
    g->size += n;
}

void gen_say(struct gen *g, const char *format, ...)
{
    const size_t left = GEN_TEXT_MAX - g->size;
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(g->sql + g->size, left, format, args);
    va_end(args);
    ck_assert(n >= 0 && (size_t)n < left);
    g->size += (size_t)n;
}

unsigned gen_below(struct gen *g, unsigned n)
{
    return (unsigned)rand_below(&g->rand, n);
}

bool gen_one_in(struct gen *g, unsigned n)
{
    return gen_below(g, n) == 0;
}

/* ---- right-hand sides ------------------------------------------------------ */

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
static const char *const words_of_type[] = {"'string'", "'hash'", "'zset'"};

#define TEXT_KEYS ((unsigned)(sizeof(texts) / sizeof(texts[0])))
#define BLOB_KEYS ((unsigned)(sizeof(blobs) / sizeof(blobs[0])))

const char *gen_integer(struct gen *g)
{
    return GEN_PICK(g, integers);
}

const char *gen_real(struct gen *g)
{
    return GEN_PICK(g, reals);
}

const char *gen_stored(struct gen *g)
{
    return gen_one_in(g, 5) ? GEN_PICK(g, blobs) : GEN_PICK(g, texts);
}

const char *gen_column_of_t(struct gen *g)
{
    return GEN_PICK(g, columns_of_t);
}

void gen_literal(struct gen *g)
{
    switch (gen_below(g, 8)) {
    case 0: gen_put(g, GEN_PICK(g, integers)); break;
    case 1: gen_put(g, GEN_PICK(g, reals)); break;
    case 2: gen_put(g, GEN_PICK(g, blobs)); break;
    case 3:
        gen_put(g, gen_one_in(g, 4) ? "NULL" : GEN_PICK(g, text_blobs));
        break;
    default: gen_put(g, GEN_PICK(g, texts)); break;
    }
}

#define BYTES(k, text)                                                        \
    {                                                                         \
        .kind = (k), .p = (const uint8_t *)(text), .size = sizeof(text) - 1   \
    }
static const struct vt_value bindings[] = {
    {.kind = VT_INTEGER, .integer = 7}, {.kind = VT_INTEGER, .integer = 10},
    {.kind = VT_REAL, .real = 7.0},     {.kind = VT_REAL, .real = 0.5},
    BYTES(VT_TEXT, "7"),    BYTES(VT_TEXT, "007"), BYTES(VT_TEXT, "a"),
    BYTES(VT_TEXT, "user:1"), BYTES(VT_TEXT, ""),  BYTES(VT_TEXT, "\xff"),
    BYTES(VT_BLOB, "\xff"), BYTES(VT_BLOB, "7"),   BYTES(VT_BLOB, ""),
    BYTES(VT_BLOB, "7\0"),  {.kind = VT_NULL},     BYTES(VT_TEXT, "Inf")};
static const struct vt_value bound_patterns[] = {
    BYTES(VT_TEXT, "user:*"), BYTES(VT_TEXT, "a%"), BYTES(VT_TEXT, "[a-b]*"),
    BYTES(VT_TEXT, ""),       {.kind = VT_NULL},    {.kind = VT_INTEGER,
                                                     .integer = 7}};

static void bind(struct gen *g, const struct vt_value *value)
{
    if (g->plain || g->param_count == GEN_PARAMS_MAX) {
        gen_literal(g);
        return;
    }
    g->params[g->param_count++] = *value;
    gen_put(g, "?");
}

void gen_lookup(struct gen *g)
{
    static const char *const lookups[] = {
        "SELECT value FROM strings WHERE key = ?1",
        "SELECT key, value, expires_at FROM strings WHERE key = ?1",
        "SELECT expires_at, value FROM strings WHERE key = ?1"};

    gen_begin(g);
    gen_put(g, GEN_PICK(g, lookups));
    bind(g, &GEN_PICK(g, bindings));
}

static void param(struct gen *g)
{
    bind(g, &GEN_PICK(g, bindings));
}

/* A subquery that gives one value, from t or from a table of ours. */
static void subquery(struct gen *g)
{
    static const char *const ours[] = {
        "(SELECT max(key) FROM strings)", "(SELECT min(member) FROM sets)",
        "(SELECT value FROM hashes ORDER BY key, field LIMIT 1 OFFSET 1)",
        "(SELECT max(score) FROM zsets)", "(SELECT min(idx) FROM lists)"};

    if (g->plain || gen_one_in(g, 4))
        gen_put(g, GEN_PICK(g, ours));
    else
        gen_say(g, "(SELECT %s FROM t ORDER BY id LIMIT 1 OFFSET %s)",
                GEN_PICK(g, columns_of_t), gen_one_in(g, 2) ? "1" : "4");
}

void gen_value(struct gen *g, bool t)
{
    static const char *const sums[] = {"(3+4)", "('7'||'')", "(7*1.0)",
                                       "abs(-7)", "(10/2-5)", "lower('A')"};

    switch (gen_below(g, t ? 15 : g->writing ? 9 : 11)) {
    case 0:
    case 1:
    case 2:
    case 3: gen_literal(g); break;
    case 4:
    case 5:
    case 6: param(g); break;
    case 7:
        gen_put(g, "CAST(");
        gen_literal(g);
        gen_say(g, " AS %s)", GEN_PICK(g, types));
        break;
    case 8:
        gen_put(g, "CAST(");
        param(g);
        if (g->writing)
            gen_put(g, gen_one_in(g, 2) ? " AS TEXT)" : " AS BLOB)");
        else
            gen_say(g, " AS %s)", GEN_PICK(g, types));
        break;
    case 9: subquery(g); break;
    case 10: gen_put(g, GEN_PICK(g, sums)); break;
    case 11:
        gen_say(g, "CAST(t.%s AS %s)", GEN_PICK(g, columns_of_t),
                GEN_PICK(g, types));
        break;
    default: gen_say(g, "t.%s", GEN_PICK(g, columns_of_t)); break;
    }
}

/* ---- predicates ------------------------------------------------------------- */

static const char *const operators[] = {"=", "=", "=", "<", "<=", ">", ">=",
                                        "IS", "<>", "IS NOT"};
static const char *const patterns[] = {
    "'user:*'", "'a*'", "'*'", "'[a-b]*'", "'7'", "'?'", "'*b'", "''", "'a?c'",
    "'user:%'", "'A%'", "'%'", "'_'", "'%b'", "'a_'", "'[^a]*'", "'USER:%'",
    "'\xc3\xa9*'", "'[*]'", "x'61'", "7", "'[a'", "'*[a'", "'a[]-a]*'"};
static const char *const escaped[] = {
    "'a\\%%' ESCAPE '\\'", "'user:%' ESCAPE ':'", "'a*%' ESCAPE '*'",
    "'%a' ESCAPE 'a'", "'7_' ESCAPE '_'", "'A%' ESCAPE 'x'"};
static const char *const collations[] = {"NOCASE", "RTRIM", "BINARY"};

static const char *column_of(struct gen *g, const struct gen_table *table)
{
    return gen_one_in(g, 2) ? "key"
                            : table->columns[gen_below(g, table->count)];
}

static void column(struct gen *g, const struct gen_table *table,
                   const char *as)
{
    gen_say(g, "%s.%s", as, column_of(g, table));
}

static void list(struct gen *g, bool t)
{
    const unsigned n = 1 + gen_below(g, 5);

    gen_put(g, gen_one_in(g, 8) ? " NOT IN (" : " IN (");
    for (unsigned i = 0; i < n; i++) {
        if (i > 0) gen_put(g, ", ");
        gen_value(g, t);
    }
    gen_put(g, ")");
}

static void in_query(struct gen *g)
{
    static const char *const ours[] = {
        "SELECT key FROM strings", "SELECT member FROM sets",
        "SELECT value FROM lists", "SELECT score FROM zsets",
        "SELECT field FROM hashes WHERE key > 'a'",
        "SELECT key FROM keys WHERE type = 'list'",
        "SELECT value FROM strings UNION SELECT x'ff' UNION SELECT NULL"};

    if (g->plain || gen_one_in(g, 3)) {
        const char *list = GEN_PICK(g, ours);
        /* SQLite would look into the very index that it changes: an UPDATE that
         * makes rows longer meets them again and again, and does not end */
        if (g->writing && list == ours[0]) list = "SELECT +key FROM strings";
        gen_say(g, " IN (%s)", list);
    } else
        gen_say(g, " IN (SELECT %s FROM t)", GEN_PICK(g, columns_of_t));
}

static void pattern(struct gen *g)
{
    switch (gen_below(g, 6)) {
    case 0:
        gen_put(g, gen_one_in(g, 4) ? " NOT LIKE " : " LIKE ");
        gen_put(g, GEN_PICK(g, escaped));
        break;
    case 1:
        gen_put(g, gen_one_in(g, 2) ? " GLOB " : " LIKE ");
        if (g->plain)
            gen_put(g, GEN_PICK(g, patterns));
        else
            bind(g, &GEN_PICK(g, bound_patterns));
        break;
    default:
        gen_put(g, gen_one_in(g, 2) ? " GLOB "
                   : gen_one_in(g, 4) ? " NOT LIKE "
                                   : " LIKE ");
        gen_put(g, GEN_PICK(g, patterns));
        break;
    }
}

static void row_value(struct gen *g, const struct gen_table *table,
                      const char *as, bool t)
{
    static const char *const compares[] = {">", "<=", ">=", "<", "=", "IS"};

    static const char *const ours[] = {
        "SELECT key, value FROM strings", "SELECT key, member FROM sets",
        "SELECT member, score FROM zsets", "SELECT key, idx FROM lists",
        "SELECT CAST(field AS INTEGER), value FROM hashes"};

    gen_say(g, "(%s.key, %s.%s) ", as, as, table->columns[1]);
    if (gen_one_in(g, 4)) {
        gen_put(g, gen_one_in(g, 6) ? "NOT IN (" : "IN (");
        if (g->writing) /* with numbers SQLite's own index loses rows */
            gen_put(g, gen_one_in(g, 3) ? "SELECT x, x FROM t"
                                        : "SELECT +key, +value FROM strings");
        else if (g->plain || gen_one_in(g, 3))
            gen_put(g, GEN_PICK(g, ours));
        else
            gen_say(g, "SELECT %s, %s FROM t", GEN_PICK(g, columns_of_t),
                    GEN_PICK(g, columns_of_t));
        gen_put(g, ")");
        return;
    }
    if (gen_one_in(g, 4)) {
        gen_put(g, "IN (VALUES (");
        gen_value(g, false);
        gen_put(g, ", ");
        gen_value(g, false);
        gen_put(g, "), (");
        gen_value(g, false);
        gen_put(g, ", ");
        gen_value(g, false);
        gen_put(g, "))");
        return;
    }
    gen_say(g, "%s (", GEN_PICK(g, compares));
    gen_value(g, t);
    gen_put(g, ", ");
    gen_value(g, t);
    gen_put(g, ")");
}

/* The column inside of something: nothing of it can be looked up. */
static void computed(struct gen *g, const struct gen_table *table,
                     const char *as, bool t)
{
    const char *name = column_of(g, table);

    switch (gen_below(g, 5)) {
    case 0:
        gen_say(g, "CAST(%s.%s AS %s)", as, name, GEN_PICK(g, types));
        break;
    case 1: gen_say(g, "%s.%s + 1", as, name); break;
    case 2: gen_say(g, "%s.%s || ''", as, name); break;
    case 3: gen_say(g, "length(%s.%s)", as, name); break;
    default: gen_say(g, "-%s.%s * 2", as, name); break;
    }
    gen_say(g, " %s ", GEN_PICK(g, operators));
    gen_value(g, t);
}

static void collated(struct gen *g, const struct gen_table *table,
                     const char *as, bool t)
{
    const char *collation = GEN_PICK(g, collations);
    const bool left = gen_one_in(g, 2);

    column(g, table, as);
    if (left) gen_say(g, " COLLATE %s", collation);
    gen_say(g, " %s ", GEN_PICK(g, operators));
    gen_value(g, t);
    if (!left) gen_say(g, " COLLATE %s", collation);
}

/* A column of text is equal to one of numbers, which is equal to a value: SQLite
 * may put the value where that column stands. */
static void stands_in(struct gen *g, const struct gen_table *table,
                      const char *as, bool t)
{
    static const char *const numbers[GEN_TABLES] = {
        "length", "expires_at", "expires_at", "idx", "key", "score"};
    const bool other = t && gen_one_in(g, 2);
    const char *of = other ? "t" : as;
    const char *name = other ? GEN_PICK(g, columns_of_t)
                             : numbers[table - gen_tables];

    gen_say(g, "(%s.%s %s %s.%s AND %s.%s = ", as, column_of(g, table),
            gen_one_in(g, 3) ? GEN_PICK(g, operators) : "=", of, name, of, name);
    gen_value(g, false);
    gen_put(g, ")");
}

static void compared(struct gen *g, const struct gen_table *table,
                     const char *as, bool t)
{
    if (gen_one_in(g, 8)) {
        stands_in(g, table, as, t);
        return;
    }
    column(g, table, as);
    gen_say(g, " %s ", GEN_PICK(g, operators));
    gen_value(g, t);
}

static void key_is(struct gen *g, const char *as, bool t)
{
    gen_say(g, "%s.key = ", as);
    gen_value(g, t);
}

static void between(struct gen *g, const struct gen_table *table,
                    const char *as, bool t)
{
    column(g, table, as);
    gen_put(g, gen_one_in(g, 4) ? " NOT BETWEEN " : " BETWEEN ");
    gen_value(g, t);
    gen_put(g, " AND ");
    gen_value(g, t);
}

static void both_of(struct gen *g, const struct gen_table *table,
                    const char *as, bool t, int depth)
{
    gen_put(g, gen_one_in(g, 12) ? "NOT (" : "(");
    gen_predicate(g, table, as, t, depth - 1);
    gen_put(g, gen_one_in(g, 3) ? " AND " : " OR ");
    gen_predicate(g, table, as, t, depth - 1);
    gen_put(g, ")");
}

void gen_predicate(struct gen *g, const struct gen_table *table,
                   const char *as, bool t, int depth)
{
    unsigned kind = gen_below(g, depth > 0 ? 18 : 16);

    if (kind == 10 && depth < 2) kind = 13; /* below an OR */
    if (kind == 15 && g->writing) kind = 13;
    if (gen_one_in(g, 12) && kind != 11) gen_put(g, "+"); /* TE2: unusable */
    switch (kind) {
    case 5:
        column(g, table, as);
        list(g, t);
        break;
    case 6:
        column(g, table, as);
        in_query(g);
        break;
    case 7: between(g, table, as, t); break;
    case 8:
    case 9:
        column(g, table, as);
        pattern(g);
        break;
    case 10: collated(g, table, as, t); break;
    case 11: row_value(g, table, as, t); break;
    case 12:
        column(g, table, as);
        gen_put(g, gen_one_in(g, 2) ? " IS NULL" : " IS NOT NULL");
        break;
    case 13: key_is(g, as, t); break;
    case 14:
        gen_say(g, "%s.%s = %s", as, table->columns[1],
                table->columns[1][0] == 't' ? GEN_PICK(g, words_of_type)
                                            : GEN_PICK(g, texts));
        break;
    case 15: computed(g, table, as, t); break;
    case 16:
    case 17: both_of(g, table, as, t, depth); break;
    default: compared(g, table, as, t); break;
    }
}

void gen_where(struct gen *g, const struct gen_table *table, const char *as,
               bool t)
{
    const unsigned n = 1 + gen_below(g, 3);

    gen_put(g, " WHERE ");
    for (unsigned i = 0; i < n; i++) {
        if (i > 0) gen_put(g, " AND ");
        gen_predicate(g, table, as, t, 2);
    }
}

/* ---- rows that both sides begin with ------------------------------------------ */

unsigned gen_keys(void)
{
    return TEXT_KEYS + BLOB_KEYS;
}

void gen_fill(struct gen *g, enum gen_table_id table, unsigned key,
              unsigned row)
{
    gen_begin(g);
    gen_say(g, "INSERT OR REPLACE INTO %s VALUES(%s, ", gen_tables[table].name,
            key < TEXT_KEYS ? texts[key] : blobs[key - TEXT_KEYS]);
    if (table == GEN_LISTS)
        gen_say(g, "%u", row);
    else
        gen_put(g, gen_stored(g));
    if (table == GEN_HASHES || table == GEN_LISTS)
        gen_say(g, ", %s", gen_stored(g));
    if (table == GEN_ZSETS)
        gen_say(g, ", %s", gen_one_in(g, 4)   ? "1"
                           : gen_one_in(g, 3) ? gen_real(g)
                                              : gen_integer(g));
    if (table == GEN_STRINGS || table == GEN_HASHES)
        gen_put(g, gen_one_in(g, 3) ? ", 99999999999999" : ", NULL");
    gen_put(g, ")");
}

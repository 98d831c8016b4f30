/* gen_write.c - INSERT, UPDATE, DELETE, savepoints; see gen.h.
 *
 * Keys of one table never are those of another: a key has one type. A key
 * column is changed only to what keeps rows apart, where the order of rows
 * would decide which of them fails.
 *
 * Thread: see the header. */
#include "tests/sql/gen.h"

#include <sqlite3.h>
#include <string.h>

static const char *const conflicts[] = {"", "", " OR REPLACE", " OR IGNORE",
                                        " OR FAIL", " OR ABORT",
                                        " OR ROLLBACK"};
static const char *const keys[GEN_TABLES][4] = {
    [GEN_STRINGS] = {"'s:1'", "'s:2'", "'s:3'", "x'73ff'"},
    [GEN_HASHES] = {"'h:1'", "'h:2'", "'7'", "'007'"},
    [GEN_SETS] = {"'m:1'", "'m:2'", "''", "x'ff'"},
    [GEN_ZSETS] = {"'z:1'", "'z:2'", "'10'", "'9'"}};
static const enum gen_table_id written[] = {GEN_STRINGS, GEN_HASHES, GEN_SETS,
                                            GEN_ZSETS};

static void put_key(struct gen *g, enum gen_table_id id)
{
    gen_put(g, GEN_PICK(g, keys[id]));
}

static void put_value(struct gen *g, const char *column)
{
    if (strcmp(column, "expires_at") == 0)
        gen_put(g, gen_one_in(g, 2) ? "NULL" : "99999999999999");
    else if (strcmp(column, "score") == 0)
        gen_put(g, gen_one_in(g, 20)  ? "NULL"
                   : gen_one_in(g, 2) ? gen_integer(g)
                                      : gen_real(g));
    else if (gen_one_in(g, 30))
        gen_put(g, "NULL");
    else if (gen_one_in(g, 4))
        gen_put(g, gen_one_in(g, 2) ? gen_integer(g) : "1.5");
    else
        gen_put(g, gen_stored(g));
}

static void insert(struct gen *g, enum gen_table_id id)
{
    const struct gen_table *table = &gen_tables[id];
    const unsigned rows = 1 + gen_below(g, 3);

    gen_say(g, "INSERT%s INTO %s VALUES ", GEN_PICK(g, conflicts),
            table->name);
    for (unsigned i = 0; i < rows; i++) {
        gen_put(g, i > 0 ? ", (" : "(");
        put_key(g, id);
        for (unsigned c = 1; c < table->count; c++) {
            gen_put(g, ", ");
            put_value(g, table->columns[c]);
        }
        gen_put(g, ")");
    }
}

/* Rows of another table, or of the same one, in an order of their own. */
static void insert_select(struct gen *g, enum gen_table_id id)
{
    static const char *const columns[GEN_TABLES] = {
        [GEN_STRINGS] = "c1, c3, c4",
        [GEN_HASHES] = "c1, c2, c3, c4",
        [GEN_SETS] = "c1, c2",
        [GEN_ZSETS] = "c1, c2, length(c3)"};
    static const char *const sources[] = {
        "x AS c2, x AS c3, NULL AS c4 FROM t WHERE x IS NOT NULL",
        "field AS c2, value AS c3, NULL AS c4 FROM hashes",
        "member AS c2, key AS c3, 99999999999999 AS c4 FROM zsets",
        "member AS c2, member AS c3, NULL AS c4 FROM sets"};

    gen_say(g, "INSERT%s INTO %s SELECT %s FROM (SELECT ",
            GEN_PICK(g, conflicts), gen_tables[id].name, columns[id]);
    put_key(g, id);
    gen_say(g, " AS c1, %s) ORDER BY c2, c3", GEN_PICK(g, sources));
}

static void where(struct gen *g, enum gen_table_id id)
{
    const struct gen_table *table = &gen_tables[id];

    if (gen_one_in(g, 8)) return;
    gen_put(g, " WHERE ");
    if (gen_one_in(g, 2)) {
        gen_put(g, "key = ");
        put_key(g, id);
        if (gen_one_in(g, 2)) {
            gen_put(g, " AND ");
            gen_predicate(g, table, table->name, false, 0);
        }
        return;
    }
    gen_predicate(g, table, table->name, false, 1);
}

static void move_key(struct gen *g, enum gen_table_id id)
{
    put_key(g, id);
    gen_put(g, " WHERE key = ");
    put_key(g, id);
    if (gen_tables[id].key_parts == 2) {
        gen_say(g, " AND %s = ", gen_tables[id].columns[1]);
        gen_literal(g);
    }
}

static void update(struct gen *g, enum gen_table_id id)
{
    const struct gen_table *table = &gen_tables[id];
    const unsigned c = gen_below(g, table->count);
    const char *name = table->columns[c];

    gen_say(g, "UPDATE%s %s SET %s = ", GEN_PICK(g, conflicts), table->name,
            name);
    if (c == 0) {
        move_key(g, id);
        return;
    }
    if (c < table->key_parts) /* meets no other row */
        gen_say(g, "iif(typeof(%s) = 'text', %s || '~%llu', %s)", name, name,
                (unsigned long long)g->step, name);
    else if (gen_one_in(g, 3) && strcmp(name, "value") == 0)
        gen_put(g, "iif(typeof(value) = 'text', value || 'y', value)");
    else if (gen_one_in(g, 3) && strcmp(name, "score") == 0)
        gen_put(g, "score + length(member)");
    else
        put_value(g, name);
    where(g, id);
}

/* The new value is a row's of t; one row of t for each of ours. */
static void update_from(struct gen *g, enum gen_table_id id)
{
    const struct gen_table *table = &gen_tables[id];
    const char *name = table->columns[id == GEN_STRINGS ? 1 : 2];

    if (id == GEN_SETS) {
        update(g, id);
        return;
    }
    gen_say(g, "UPDATE %s SET %s = t.id + 1 FROM t WHERE t.id = %u AND %s.key"
               " = ", table->name, name, 1 + gen_below(g, 6), table->name);
    put_key(g, id);
}

/* Whether a column may be equal to a number: SQLite takes it for a constant then
 * and drops it from an order, though '7' and '007' are equal to 7. */
static bool equals_number(const struct gen *g)
{
    static const char *const equal[] = {"= ", "IS "};

    for (const char *p = g->sql; *p != 0; p++)
        for (size_t i = 0; i < sizeof(equal) / sizeof(equal[0]); i++) {
            const size_t size = strlen(equal[i]);
            if (strncmp(p, equal[i], size) == 0 &&
                strchr("'xN", p[size]) == NULL)
                return true;
        }
    return false;
}

static void remove_rows(struct gen *g, enum gen_table_id id)
{
    const struct gen_table *table = &gen_tables[id];
    const char *kept;

    gen_say(g, "DELETE FROM %s", table->name);
    where(g, id);
    kept = equals_number(g) ? "+" : "";
    if (gen_one_in(g, 4) &&
        sqlite3_compileoption_used("ENABLE_UPDATE_DELETE_LIMIT"))
        gen_say(g, " ORDER BY %skey%s, %s%s LIMIT %u", kept,
                gen_one_in(g, 2) ? " DESC" : "", kept, table->columns[1],
                1 + gen_below(g, 3));
}

/* A table that is not ours, in the same transaction (TX12). */
static void write_t(struct gen *g)
{
    switch (gen_below(g, 3)) {
    case 0:
        gen_say(g, "INSERT%s INTO t(id, i, x) VALUES (%u, 5, 'q'), (%u, 6, 'r')",
                GEN_PICK(g, conflicts), 5 + gen_below(g, 6),
                5 + gen_below(g, 6));
        break;
    case 1:
        gen_say(g, "UPDATE t SET u = %llu WHERE id > %u",
                (unsigned long long)g->step, gen_below(g, 9));
        break;
    default:
        gen_say(g, "DELETE FROM t WHERE id > %u", 6 + gen_below(g, 4));
        break;
    }
}

void gen_write(struct gen *g)
{
    const enum gen_table_id id = GEN_PICK(g, written);

    gen_begin(g);
    switch (gen_below(g, 10)) {
    case 0:
    case 1:
    case 2:
    case 3: insert(g, id); break;
    case 4: insert_select(g, id); break;
    case 5:
    case 6: update(g, id); break;
    case 7: update_from(g, id); break;
    case 8: write_t(g); break;
    default: remove_rows(g, id); break;
    }
}

void gen_control(struct gen *g)
{
    static const char *const controls[] = {
        "BEGIN", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a", "SAVEPOINT a",
        "SAVEPOINT b", "SAVEPOINT c", "RELEASE a", "RELEASE b", "RELEASE c",
        "ROLLBACK TO a", "ROLLBACK TO a", "ROLLBACK TO b", "ROLLBACK TO c"};

    gen_begin(g);
    gen_put(g, GEN_PICK(g, controls));
}

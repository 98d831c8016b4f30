/* gen_query.c - SELECTs of every shape; see gen.h.
 *
 * `loose` is set wherever no ORDER BY makes one order of the rows; a LIMIT is
 * put behind a total order only.
 *
 * Thread: see the header. */
#include "tests/sql/gen.h"

#include <string.h>

static void where(struct gen *g, const struct gen_table *table)
{
    gen_where(g, table, "a", false);
}

static const char *any_column(struct gen *g, const struct gen_table *table)
{
    return table->columns[gen_below(g, table->count)];
}

/* A total order; some of the ways to say one. */
static void order(struct gen *g, const struct gen_table *table)
{
    const char *way = gen_one_in(g, 2) ? " DESC" : "";

    gen_put(g, " ORDER BY ");
    if (gen_one_in(g, 3))
        gen_say(g, "a.%s%s%s, ", any_column(g, table),
                gen_one_in(g, 8) ? " COLLATE NOCASE" : "",
                gen_one_in(g, 2) ? " DESC" : "");
    gen_say(g, "a.key%s", way);
    if (table->key_parts == 2)
        gen_say(g, ", a.%s%s", table->columns[1],
                gen_one_in(g, 5) ? " DESC" : way);
}

static void all_columns(struct gen *g, const struct gen_table *table)
{
    for (unsigned i = 0; i < table->count; i++)
        gen_say(g, "%sa.%s", i > 0 ? ", " : "", table->columns[i]);
}

static void limit(struct gen *g)
{
    static const char *const limits[] = {" LIMIT 3", " LIMIT 1",
                                         " LIMIT 2 OFFSET 1",
                                         " LIMIT -1 OFFSET 2"};

    if (gen_one_in(g, 3)) gen_put(g, GEN_PICK(g, limits));
}

static void from(struct gen *g, const struct gen_table *table)
{
    gen_say(g, " FROM %s a", table->name);
}

/* SELECT over one table, ordered. */
static void plain(struct gen *g, const struct gen_table *table)
{
    gen_put(g, "SELECT ");
    all_columns(g, table);
    from(g, table);
    if (!gen_one_in(g, 6)) where(g, table);
    order(g, table);
    limit(g);
}

/* An aggregate over all rows. */
static void total(struct gen *g, const struct gen_table *table)
{
    static const char *const aggregates[] = {
        "count(*)", "min(a.key)", "max(a.key)", "count(DISTINCT a.key)",
        "max(a.key), min(a.key)", "count(DISTINCT a.key), count(*)",
        "sum(length(a.key)), max(a.key)", "total(a.key)"};

    if (gen_one_in(g, 4)) {
        const char *name = any_column(g, table);
        gen_say(g, gen_one_in(g, 2) ? "SELECT min(a.%s)" : "SELECT max(a.%s)",
                name);
    } else {
        gen_say(g, "SELECT %s", GEN_PICK(g, aggregates));
    }
    from(g, table);
    if (!gen_one_in(g, 4)) where(g, table);
}

static void distinct(struct gen *g, const struct gen_table *table)
{
    gen_say(g, "SELECT DISTINCT a.%s",
            gen_one_in(g, 2) ? "key" : any_column(g, table));
    if (gen_one_in(g, 3)) gen_say(g, ", a.%s", any_column(g, table));
    from(g, table);
    if (gen_one_in(g, 2)) where(g, table);
    if (gen_one_in(g, 3))
        gen_say(g, " ORDER BY 1%s", gen_one_in(g, 2) ? " DESC" : "");
    g->loose = true;
}

static void group(struct gen *g, const struct gen_table *table)
{
    const char *by = gen_one_in(g, 3) ? any_column(g, table) : "key";

    gen_say(g, "SELECT a.%s, count(*), max(a.%s)", by, table->columns[1]);
    from(g, table);
    if (gen_one_in(g, 2)) where(g, table);
    gen_say(g, " GROUP BY a.%s", by);
    if (gen_one_in(g, 4)) gen_say(g, ", a.%s", table->columns[1]);
    if (gen_one_in(g, 3)) gen_put(g, " HAVING count(*) > 1");
    if (gen_one_in(g, 2)) gen_say(g, " ORDER BY a.%s DESC", by);
    g->loose = true;
}

static void grouped(struct gen *g, const struct gen_table *table)
{
    switch (gen_below(g, 6)) {
    case 0:
    case 1: total(g, table); break;
    case 2:
    case 3: distinct(g, table); break;
    default: group(g, table); break;
    }
}

/* Two of ours, or three. */
static void join_ours(struct gen *g, const struct gen_table *table)
{
    const struct gen_table *other = &gen_tables[gen_below(g, GEN_TABLES)];

    g->loose = true;
    switch (gen_below(g, 4)) {
    case 0:
        all_columns(g, table);
        from(g, table);
        gen_say(g, " LEFT JOIN %s c ON c.key = a.%s", other->name,
                any_column(g, table));
        if (gen_one_in(g, 2)) {
            gen_put(g, " AND ");
            gen_predicate(g, other, "c", false, 1);
        }
        if (gen_one_in(g, 2)) where(g, table);
        return;
    case 1:
        gen_say(g, "a.key, k.type, c.%s FROM %s a JOIN keys k USING(key)"
                   " LEFT JOIN %s c ON c.%s = a.%s WHERE ",
                other->columns[1], table->name, other->name,
                other->columns[1], table->columns[1]);
        gen_predicate(g, table, "a", false, 1);
        return;
    default:
        all_columns(g, table);
        from(g, table);
        gen_say(g, ", %s c WHERE c.key = a.%s AND ", other->name,
                any_column(g, table));
        gen_predicate(g, table, "a", false, 1);
        return;
    }
}

static void join(struct gen *g, const struct gen_table *table)
{
    gen_put(g, "SELECT ");
    if (g->plain || gen_one_in(g, 3)) {
        join_ours(g, table);
        return;
    }
    all_columns(g, table);
    gen_say(g, ", t.id FROM t %s %s a ON a.%s = t.%s",
            gen_one_in(g, 2) ? "LEFT JOIN" : "JOIN", table->name,
            gen_one_in(g, 2) ? "key" : any_column(g, table),
            gen_column_of_t(g));
    if (gen_one_in(g, 2)) {
        gen_put(g, " AND ");
        gen_predicate(g, table, "a", true, 1);
    }
    if (gen_one_in(g, 2)) gen_where(g, table, "a", true);
    g->loose = true;
}

static void arm(struct gen *g, const struct gen_table *table)
{
    gen_say(g, "SELECT a.key, a.%s", table->columns[1]);
    from(g, table);
    where(g, table);
}

static void compound(struct gen *g, const struct gen_table *table)
{
    static const char *const ways[] = {" UNION ALL ", " UNION ALL ",
                                       " EXCEPT ", " UNION ", " INTERSECT "};
    const struct gen_table *other =
        gen_one_in(g, 2) ? table : &gen_tables[gen_below(g, GEN_TABLES)];

    arm(g, table);
    gen_put(g, GEN_PICK(g, ways));
    arm(g, other);
    gen_put(g, " ORDER BY 1, 2");
    limit(g);
}

static void window(struct gen *g, const struct gen_table *table)
{
    static const char *const functions[] = {
        "row_number()", "lag(a.key)", "count(*)", "max(a.key)",
        "first_value(a.key)", "ntile(3)"};
    const char *second = table->key_parts == 2 ? table->columns[1] : "key";

    gen_say(g, "SELECT a.key, a.%s, %s OVER (", second,
            GEN_PICK(g, functions));
    if (gen_one_in(g, 3)) gen_say(g, "PARTITION BY a.%s ", any_column(g, table));
    gen_say(g, "ORDER BY a.key%s, a.%s) FROM %s a",
            gen_one_in(g, 4) ? " DESC" : "", second, table->name);
    where(g, table);
    g->loose = true;
}

static void exists(struct gen *g, const struct gen_table *table)
{
    if (g->plain) {
        plain(g, table);
        return;
    }
    gen_say(g, "SELECT t.id FROM t WHERE %s (SELECT 1",
            gen_one_in(g, 3) ? "NOT EXISTS" : "EXISTS");
    from(g, table);
    gen_where(g, table, "a", true);
    gen_put(g, ")");
    g->loose = true;
}

/* A subquery that stands for a table, and a common table expression. */
static void derived(struct gen *g, const struct gen_table *table)
{
    const bool with = gen_one_in(g, 2);

    gen_put(g, with ? "WITH d AS " : "SELECT d.k, d.e FROM ");
    gen_put(g, "(");
    gen_say(g, "SELECT a.key AS k, a.%s AS e", table->columns[1]);
    from(g, table);
    where(g, table);
    order(g, table);
    limit(g);
    gen_put(g, ")");
    gen_put(g, with ? " SELECT d.k, d.e, x.key FROM d LEFT JOIN strings x"
                      " ON x.key = d.k"
                    : " d WHERE d.k ");
    if (!with) {
        gen_put(g, ">= ");
        gen_value(g, false);
    }
    g->loose = true;
}

/* A subquery that asks for each row. */
static void correlated(struct gen *g, const struct gen_table *table)
{
    gen_say(g, "SELECT a.key, (SELECT count(*) FROM keys k WHERE k.key = a.%s),"
               " (SELECT max(s.member) FROM sets s WHERE s.key %s a.key)",
            any_column(g, table), gen_one_in(g, 2) ? "<" : "=");
    from(g, table);
    if (gen_one_in(g, 2)) where(g, table);
    g->loose = true;
}

/* An order that may be had from one key alone. */
static void one_key(struct gen *g, const struct gen_table *table)
{
    gen_put(g, "SELECT ");
    all_columns(g, table);
    from(g, table);
    gen_put(g, " WHERE a.key = ");
    gen_value(g, false);
    gen_say(g, " ORDER BY a.%s", table->columns[1]);
    if (gen_one_in(g, 2)) gen_put(g, " DESC");
    gen_put(g, ", a.key");
    limit(g);
}

void gen_query(struct gen *g)
{
    const struct gen_table *table = &gen_tables[gen_below(g, GEN_TABLES)];

    gen_begin(g);
    switch (gen_below(g, 13)) {
    case 0:
    case 1:
    case 2: plain(g, table); break;
    case 3:
    case 4: grouped(g, table); break;
    case 5:
    case 6: join(g, table); break;
    case 7: compound(g, table); break;
    case 8: window(g, table); break;
    case 9: exists(g, table); break;
    case 10: derived(g, table); break;
    case 11: correlated(g, table); break;
    default: one_key(g, table); break;
    }
}

/* gen.h - SQL statements made at random: what TE1 of the SQL reference lists.
 *
 * A statement is a text and its parameters. It names the portable tables and a
 * table t(id INTEGER PRIMARY KEY, i INTEGER, r REAL, x TEXT, n NUMERIC, b BLOB,
 * u), which both sides of a comparison have. The same seed makes the same
 * statements.
 *
 * Not made: BLOBs that are valid UTF-8 as values that are written (VA4), hidden
 * columns, UPSERT, RETURNING; COLLATE below an OR, which SQLite forgets when it
 * turns OR into IN.
 *
 * Thread: the owner of the struct. */
#ifndef TESTS_SQL_GEN_H
#define TESTS_SQL_GEN_H

#include "tests/lib/rand.h"
#include "vtab/session.h"

#define GEN_TEXT_MAX 8192
#define GEN_PARAMS_MAX 24

struct gen {
    struct rand_state rand;
    uint64_t step; /* of the caller, for values that are to meet no other */
    bool writing;  /* no computed numbers: DELETE and UPDATE may refuse them */
    bool loose;    /* rows that no ORDER BY puts in one order */
    bool plain;    /* no parameters, and nothing of t (a text for any shell) */
    char sql[GEN_TEXT_MAX];
    size_t size;
    struct vt_value params[GEN_PARAMS_MAX];
    unsigned param_count;
};

struct gen_table {
    const char *name;
    const char *columns[4];
    unsigned count;
    unsigned key_parts;
};
enum gen_table_id {
    GEN_KEYS,
    GEN_STRINGS,
    GEN_HASHES,
    GEN_LISTS,
    GEN_SETS,
    GEN_ZSETS,
    GEN_TABLES
};
extern const struct gen_table gen_tables[GEN_TABLES];

/* An empty statement. */
void gen_begin(struct gen *g);
/* A SELECT over the tables. */
void gen_query(struct gen *g);
/* One key of strings by a parameter: few texts, so that a session keeps them. */
void gen_lookup(struct gen *g);
/* INSERT, UPDATE, DELETE on strings, hashes, sets, zsets, or t. */
void gen_write(struct gen *g);
/* BEGIN, COMMIT, ROLLBACK, SAVEPOINT, RELEASE, ROLLBACK TO. */
void gen_control(struct gen *g);
/* INSERT OR REPLACE of one row with the n-th key of the pool, which has
 * gen_keys() of them; `row`: idx of a list. */
void gen_fill(struct gen *g, enum gen_table_id table, unsigned key,
              unsigned row);
unsigned gen_keys(void);

/* ---- parts ---------------------------------------------------------------- */

unsigned gen_below(struct gen *g, unsigned n);
/* True once in n. */
bool gen_one_in(struct gen *g, unsigned n);
#define GEN_PICK(g, list)                                                     \
    ((list)[gen_below((g), (unsigned)(sizeof(list) / sizeof((list)[0])))])
/* Texts one behind the other. */
void gen_put(struct gen *g, const char *text);
void gen_say(struct gen *g, const char *format, ...) KV_PRINTF(2, 3);
void gen_literal(struct gen *g);
const char *gen_integer(struct gen *g);
const char *gen_real(struct gen *g);
/* As it may be stored. */
const char *gen_stored(struct gen *g);
/* A right-hand side; `t`: columns of t may be named. */
void gen_value(struct gen *g, bool t);
/* A column of t. */
const char *gen_column_of_t(struct gen *g);
/* `as`: what the table is called in the statement. */
void gen_predicate(struct gen *g, const struct gen_table *table,
                   const char *as, bool t, int depth);
/* " WHERE " and up to three of them. */
void gen_where(struct gen *g, const struct gen_table *table, const char *as,
               bool t);

#endif

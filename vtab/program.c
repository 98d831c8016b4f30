/* program.c - statements that SQLite's program shows to be plain.
 *
 *   SELECT key, value FROM strings WHERE key >= ? AND key < ? LIMIT 10
 *
 * SQLite has decided what names, types, affinities and orders of a statement
 * mean when it has compiled it. EXPLAIN lists the program; when it is this one,
 * op by op, everything that is asked is asked of one table by one plan, no other
 * column is compared, nothing is computed and nothing is left to be checked:
 *
 *   Init              to the setup
 *   Noop              of a sorter that was not needed
 *   Integer           LIMIT; or Variable, MustBeInt, IfNot
 *   VOpen             the table
 *   Variable, String8, Integer   arguments
 *   Integer, Integer  the plan, and how many arguments it has
 *   VFilter
 *   VColumn ...  ResultRow  [DecrJumpZero]  VNext         a row
 *   or AggStep count(*)  VNext  AggFinal  Copy  ResultRow   their number
 *   Halt
 *   Transaction  Goto        the setup
 *
 * A change of one row, and of rows that are collected before they are changed,
 * behind VFilter:
 *
 *   VColumn of the key       DELETE; or all columns, as they are but for one that
 *                            is a Variable or String8, then the key: UPDATE
 *   Close                              one row
 *   or MakeRecord ... VNext  Rewind  Column ...
 *   VUpdate                            that takes its registers, or their record
 *   [Next]  Halt  Transaction  VBegin  Goto
 *
 * Whoever runs such a statement without SQLite (point.c, scan.c, edit.c) leaves
 * nothing out. A program of another kind, of another SQLite as well, is SQLite's.
 *
 * Thread: the session's. */
#include "vtab/program.h"

#include <string.h>

#define PROGRAM_OPS_MAX 64
/* SQLite's own, in P5. */
#define PROGRAM_NOCHANGE 1 /* VColumn: as it is (sqlite3_vtab_nochange) */
#define PROGRAM_ABORT 2        /* VUpdate: a statement without OR */

/* The ops that are known, by their names in EXPLAIN. */
enum program_code {
    PROGRAM_OTHER, PROGRAM_INIT, PROGRAM_NOOP, PROGRAM_INTEGER,
    PROGRAM_VARIABLE, PROGRAM_MUST_BE_INT, PROGRAM_IF_NOT, PROGRAM_STRING,
    PROGRAM_NULL, PROGRAM_OPEN, PROGRAM_FILTER, PROGRAM_COLUMN, PROGRAM_ROW,
    PROGRAM_LIMIT, PROGRAM_NEXT, PROGRAM_STEP, PROGRAM_FINAL, PROGRAM_COPY,
    PROGRAM_HALT, PROGRAM_TRANSACTION, PROGRAM_GOTO, PROGRAM_EPHEMERAL,
    PROGRAM_CLOSE, PROGRAM_S_COPY, PROGRAM_RECORD, PROGRAM_ROWID,
    PROGRAM_INSERT, PROGRAM_IDX_INSERT, PROGRAM_REWIND, PROGRAM_FIELD,
    PROGRAM_UPDATE, PROGRAM_AGAIN, PROGRAM_BEGIN, PROGRAM_CODES
};
static const char *const program_names[PROGRAM_CODES] = {
    "",          "Init",         "Noop",     "Integer",   "Variable",
    "MustBeInt", "IfNot",        "String8",  "Null",      "VOpen",
    "VFilter",   "VColumn",      "ResultRow", "DecrJumpZero", "VNext",
    "AggStep",   "AggFinal",     "Copy",     "Halt",      "Transaction",
    "Goto",      "OpenEphemeral", "Close",   "SCopy",     "MakeRecord",
    "NewRowid",  "Insert",       "IdxInsert", "Rewind",   "Column",
    "VUpdate",   "Next",         "VBegin"};

/* Columns of EXPLAIN's rows. */
enum program_field { PROGRAM_ADDR, PROGRAM_OP, PROGRAM_P1, PROGRAM_P2,
                     PROGRAM_P3, PROGRAM_P4, PROGRAM_P5 };

struct program_op {
    enum program_code code;
    int p1, p2, p3, p5;
    struct vt_table *table;       /* of VOpen, VUpdate, VBegin */
    bool counts;                  /* count(*), of AggStep and AggFinal */
    uint32_t place;               /* of String8: its text in the literals */
};

/* A program, and how far it was read. */
struct program {
    struct vt_session *session;
    struct vt_shape *shape;
    struct program_op op[PROGRAM_OPS_MAX];
    int count, at;
    /* Registers and places that belong together. */
    int setup, cursor, end, limit_register, limit_end;
    int rows; /* where rows are collected; -1: there is one */
    struct vt_param value; /* the new one of UPDATE */
};

/* ---- reading ------------------------------------------------------------------ */

static bool program_is(sqlite3_stmt *explain, int field, const char *text)
{
    const void *p = sqlite3_column_blob(explain, field);
    const size_t size = (size_t)sqlite3_column_bytes(explain, field);

    return p != NULL && size == strlen(text) && memcmp(p, text, size) == 0;
}

static enum program_code program_code_of(sqlite3_stmt *explain)
{
    const char *p = sqlite3_column_blob(explain, PROGRAM_OP);
    const size_t size = (size_t)sqlite3_column_bytes(explain, PROGRAM_OP);

    for (unsigned i = PROGRAM_OTHER + 1; p != NULL && i < PROGRAM_CODES; i++)
        if (program_names[i][0] == p[0] && strlen(program_names[i]) == size &&
            memcmp(program_names[i], p, size) == 0)
            return (enum program_code)i;
    return PROGRAM_OTHER;
}

/* The table of ours that VOpen names. */
static struct vt_table *program_table(const struct vt_session *session,
                                      sqlite3_stmt *explain)
{
    struct vt_table *table = session->tables;
    char name[64];

    for (; table != NULL; table = table->next) {
        (void)sqlite3_snprintf(sizeof(name), name, "vtab:%p", (void *)table);
        if (program_is(explain, PROGRAM_P4, name)) break;
    }
    return table;
}

/* The text of String8 goes to the literals. False: it is too long. */
static bool program_literal(struct vt_shape *shape, sqlite3_stmt *explain,
                            uint32_t *place)
{
    const void *p = sqlite3_column_blob(explain, PROGRAM_P4);
    const size_t size = (size_t)sqlite3_column_bytes(explain, PROGRAM_P4);

    if (size >= sizeof(shape->literals) - shape->literals_size ||
        (size > 0 && p == NULL))
        return false;
    *place = shape->literals_size;
    if (size > 0) memcpy(shape->literals + *place, p, size);
    shape->literals[*place + size] = 0;
    shape->literals_size += (uint32_t)size + 1;
    return true;
}

/* One op; false: it is none of those above. */
static bool program_read_op(struct program *program, sqlite3_stmt *explain)
{
    struct program_op *op = &program->op[program->count];

    *op = (struct program_op){
        .code = program_code_of(explain),
        .p1 = sqlite3_column_int(explain, PROGRAM_P1),
        .p2 = sqlite3_column_int(explain, PROGRAM_P2),
        .p3 = sqlite3_column_int(explain, PROGRAM_P3),
        .p5 = sqlite3_column_int(explain, PROGRAM_P5)};
    if (op->code == PROGRAM_OTHER ||
        sqlite3_column_int(explain, PROGRAM_ADDR) != program->count)
        return false;
    if (op->code == PROGRAM_OPEN || op->code == PROGRAM_UPDATE ||
        op->code == PROGRAM_BEGIN) {
        op->table = program_table(program->session, explain);
        if (op->table == NULL) return false;
    }
    if (op->code == PROGRAM_STEP || op->code == PROGRAM_FINAL)
        op->counts = program_is(explain, PROGRAM_P4, "count(0)");
    program->count++;
    return op->code != PROGRAM_STRING ||
           program_literal(program->shape, explain, &op->place);
}

static bool program_read(struct program *program, sqlite3_stmt *stmt)
{
    struct vt_session *session = program->session;
    char *text = sqlite3_mprintf("EXPLAIN %s", sqlite3_sql(stmt));
    sqlite3_stmt *explain = NULL;
    bool known = true;
    int rc;

    if (text == NULL) return false;
    vt_session_unsee(session, text, SIZE_MAX);
    rc = sqlite3_prepare_v2(session->sql, text, -1, &explain, NULL);
    if (rc == SQLITE_OK) {
        while (known && (rc = sqlite3_step(explain)) == SQLITE_ROW)
            known = program->count < PROGRAM_OPS_MAX &&
                    program_read_op(program, explain);
        known = known && rc == SQLITE_DONE;
    } else {
        known = false;
    }
    (void)sqlite3_finalize(explain);
    vt_session_unsee(session, NULL, 0);
    sqlite3_free(text);
    return known;
}

/* ---- taking apart ------------------------------------------------------------- */

/* The next op, if it is this one; else NULL, and it stays the next. */
static const struct program_op *program_any(struct program *program,
                                            enum program_code code)
{
    if (program->at >= program->count ||
        program->op[program->at].code != code)
        return NULL;
    return &program->op[program->at++];
}

/* ... without flags. */
static const struct program_op *program_take(struct program *program,
                                             enum program_code code)
{
    if (program->at < program->count && program->op[program->at].p5 != 0)
        return NULL;
    return program_any(program, code);
}

/* ... with these places; -1 is any. */
static bool program_is_next(struct program *program, enum program_code code,
                            int p1, int p2, int p3)
{
    const struct program_op *op = program_take(program, code);

    return op != NULL && (p1 < 0 || op->p1 == p1) &&
           (p2 < 0 || op->p2 == p2) && (p3 < 0 || op->p3 == p3);
}

static void program_param(struct program *program, int number)
{
    if (number > program->shape->params) program->shape->params = number;
}

/* LIMIT, before the table is opened. */
static bool program_limit(struct program *program)
{
    struct vt_shape *shape = program->shape;
    const struct program_op *op = program_take(program, PROGRAM_INTEGER);
    const struct program_op *number = NULL, *none = NULL;

    program->limit_end = -1;
    if (op != NULL) {
        shape->limit = op->p1;
        shape->limited = shape->limit > 0;
        program->limit_register = op->p2;
        return shape->limited;
    }
    op = program_take(program, PROGRAM_VARIABLE);
    if (op == NULL) return true;
    number = program_take(program, PROGRAM_MUST_BE_INT);
    none = program_take(program, PROGRAM_IF_NOT);
    if (number == NULL || number->p1 != op->p2 || number->p2 != 0 ||
        none == NULL || none->p1 != op->p2)
        return false;
    shape->limited = shape->limit_bound = true;
    program->value.number = op->p1;
    program_param(program, op->p1);
    program->limit_register = op->p2;
    program->limit_end = none->p2;
    return true;
}

/* One argument, and the register that has it; false: there is none. */
static bool program_arg(struct program *program, struct vt_param *arg,
                        int *place)
{
    const struct program_op *op = program_take(program, PROGRAM_VARIABLE);

    *arg = (struct vt_param){.number = 0};
    if (op != NULL) {
        arg->number = op->p1;
        program_param(program, op->p1);
    } else if ((op = program_take(program, PROGRAM_STRING)) != NULL) {
        arg->text = true;
        arg->place = op->place;
    } else if ((op = program_take(program, PROGRAM_INTEGER)) != NULL) {
        arg->integer = op->p1;
    } else {
        return false;
    }
    *place = op->p2;
    return true;
}

/* Arguments, plan, and their number: in registers that follow each other, the
 * arguments behind. The last two are written last. */
static bool program_filter(struct program *program)
{
    struct vt_shape *shape = program->shape;
    struct vt_param arg[VT_SHAPE_ARGS_MAX + 2];
    int place[VT_SHAPE_ARGS_MAX + 2];
    unsigned count = 0;
    const struct program_op *filter;

    while (count < VT_SHAPE_ARGS_MAX + 2 &&
           program_arg(program, &arg[count], &place[count]))
        count++;
    filter = program_take(program, PROGRAM_FILTER);
    if (filter == NULL || count < 2 || filter->p1 != program->cursor)
        return false;
    count -= 2;
    for (unsigned i = 0; i < 2; i++)
        if (arg[count + i].number != 0 || arg[count + i].text ||
            place[count + i] != filter->p3 + (int)i)
            return false;
    if (arg[count + 1].integer != (int64_t)count) return false;
    for (unsigned i = 0; i < count; i++) {
        if (place[i] != filter->p3 + 2 + (int)i) return false;
        shape->param[i] = arg[i];
    }
    shape->argc = count;
    shape->plan = (unsigned)(int)arg[count].integer;
    program->end = filter->p2;
    return true;
}

/* A row for each of the cursor's. */
static bool program_rows(struct program *program)
{
    struct vt_shape *shape = program->shape;
    const int first = program->at;
    const struct program_op *op;
    int from = 0;

    while ((op = program_take(program, PROGRAM_COLUMN)) != NULL) {
        if (shape->columns == 0) from = op->p3;
        if (shape->columns == VT_SHAPE_COLUMNS_MAX || op->p2 < 0 ||
            op->p2 > UINT8_MAX || op->p1 != program->cursor ||
            op->p3 != from + (int)shape->columns)
            return false;
        shape->column[shape->columns++] = (uint8_t)op->p2;
    }
    op = program_take(program, PROGRAM_ROW);
    if (op == NULL || shape->columns == 0 || op->p1 != from ||
        op->p2 != (int)shape->columns)
        return false;
    if (shape->limited) {
        op = program_take(program, PROGRAM_LIMIT);
        if (op == NULL || op->p1 != program->limit_register ||
            op->p2 != program->end)
            return false;
    }
    op = program_take(program, PROGRAM_NEXT);
    return op != NULL && op->p1 == program->cursor && op->p2 == first &&
           program->at == program->end;
}

/* Their number. */
static bool program_counts(struct program *program, const struct program_op *null)
{
    const int first = program->at;
    const struct program_op *op = program_take(program, PROGRAM_STEP);
    int sum, shown;

    if (op == NULL || !op->counts || program->shape->limited) return false;
    sum = op->p3;
    if (null->p1 != 0 || null->p2 != sum || null->p3 != sum) return false;
    op = program_take(program, PROGRAM_NEXT);
    if (op == NULL || op->p1 != program->cursor || op->p2 != first ||
        program->at != program->end)
        return false;
    op = program_take(program, PROGRAM_FINAL);
    if (op == NULL || !op->counts || op->p1 != sum || op->p2 != 0) return false;
    op = program_take(program, PROGRAM_COPY);
    if (op == NULL || op->p1 != sum || op->p3 != 0) return false;
    shown = op->p2;
    op = program_take(program, PROGRAM_ROW);
    program->shape->kind = VT_SHAPE_COUNT;
    return op != NULL && op->p1 == shown && op->p2 == 1;
}

/* ---- changes ------------------------------------------------------------------ */

/* The columns of an UPDATE from register `base` on: old key, new key, columns. */
static bool program_columns(struct program *program, int base)
{
    struct vt_shape *shape = program->shape;
    const struct program_op *op;
    int place;

    for (int i = 0; i < shape->table->def->columns; i++) {
        op = program_any(program, PROGRAM_COLUMN);
        if (op != NULL) {
            if (op->p5 != PROGRAM_NOCHANGE || op->p1 != program->cursor ||
                op->p2 != i || op->p3 != base + 2 + i)
                return false;
            continue;
        }
        if (shape->columns > 0 ||
            !program_arg(program, &program->value, &place) ||
            place != base + 2 + i)
            return false;
        shape->column[shape->columns++] = (uint8_t)i;
    }
    return shape->columns == 1 &&
           program_is_next(program, PROGRAM_COLUMN, program->cursor, 0, base) &&
           program_is_next(program, PROGRAM_S_COPY, base + 2, base + 1, -1);
}

/* Rows are put aside, `count` registers from `base` on, and come back one by one:
 * DELETE as the keys of an index, UPDATE as rows. */
static bool program_aside(struct program *program, int first, int base,
                          int count, int *again)
{
    const struct program_op *record = program_take(program, PROGRAM_RECORD);
    const struct program_op *op;
    int row;

    if (record == NULL || record->p1 != base || record->p2 != count)
        return false;
    op = program_take(program, PROGRAM_ROWID);
    if (op != NULL) {
        row = op->p2;
        if (op->p1 != program->rows ||
            !program_is_next(program, PROGRAM_INSERT, program->rows, record->p3,
                             row))
            return false;
    } else if (!program_is_next(program, PROGRAM_IDX_INSERT, program->rows,
                                record->p3, base)) {
        return false;
    }
    if (!program_is_next(program, PROGRAM_NEXT, program->cursor, first, -1) ||
        program->at != program->end)
        return false;
    op = program_take(program, PROGRAM_REWIND);
    *again = program->at;
    if (op == NULL || op->p1 != program->rows) return false;
    program->end = op->p2;
    return true;
}

/* From the row that the cursor stands on to the last change. */
static bool program_change(struct program *program)
{
    struct vt_shape *shape = program->shape;
    const int first = program->at;
    const bool update = first < program->count &&
                        program->op[first].p5 == PROGRAM_NOCHANGE;
    const struct program_op *op;
    int base, count = 1, again = -1;

    shape->kind = update ? VT_SHAPE_UPDATE : VT_SHAPE_DELETE;
    base = program->op[first].p3 - (update ? 2 : 0);
    if (update) count = shape->table->def->columns + 2;
    if (shape->limited || program->op[first].code != PROGRAM_COLUMN ||
        !(update ? program_columns(program, base)
                 : program_is_next(program, PROGRAM_COLUMN, program->cursor, 0,
                                   base)))
        return false;
    if (program->rows < 0) {
        if (!program_is_next(program, PROGRAM_CLOSE, program->cursor, -1, -1))
            return false;
    } else {
        if (!program_aside(program, first, base, count, &again)) return false;
        for (int i = 0; i < count; i++) {
            op = program_take(program, PROGRAM_FIELD);
            if (op == NULL || op->p1 != program->rows || op->p2 != i) return false;
            if (i == 0) base = op->p3;
            if (op->p3 != base + i) return false;
        }
    }
    op = program_any(program, PROGRAM_UPDATE);
    if (op == NULL || op->table != shape->table || op->p1 != 0 ||
        op->p2 != count || op->p3 != base || op->p5 != PROGRAM_ABORT)
        return false;
    if (program->rows < 0) return true;
    return program_is_next(program, PROGRAM_AGAIN, program->rows, again, -1) &&
           program->at == program->end &&
           (!update || program_is_next(program, PROGRAM_CLOSE, program->rows, -1,
                                       -1));
}

/* ---- all of it ---------------------------------------------------------------- */

/* The end, and the setup behind it. */
static bool program_ends(struct program *program)
{
    const bool reads = program->shape->kind <= VT_SHAPE_COUNT;
    const struct program_op *op = program_take(program, PROGRAM_HALT);

    if (op == NULL || op->p1 != 0 || program->at != program->setup)
        return false;
    while ((op = program_any(program, PROGRAM_TRANSACTION)) != NULL)
        if (op->p2 != 0 && reads) return false;
    op = program_take(program, PROGRAM_BEGIN);
    if (reads ? op != NULL
              : op == NULL || op->table != program->shape->table)
        return false;
    op = program_take(program, PROGRAM_GOTO);
    return op != NULL && op->p2 == 1 && program->at == program->count;
}

/* What is done with the rows. */
static bool program_body(struct program *program, const struct program_op *null)
{
    const int at = program->at;

    if (null != NULL) return program_counts(program, null);
    if (program->rows < 0 && program_rows(program)) return true;
    program->at = at;
    program->shape->columns = 0;
    return program_change(program);
}

static bool program_judge(struct program *program)
{
    struct vt_shape *shape = program->shape;
    const struct program_op *op = program_take(program, PROGRAM_INIT), *null;

    if (op == NULL) return false;
    program->setup = op->p2;
    null = program_take(program, PROGRAM_NULL);
    while (program_take(program, PROGRAM_NOOP) != NULL) continue;
    op = program_take(program, PROGRAM_EPHEMERAL);
    program->rows = op != NULL ? op->p1 : -1;
    if (!program_limit(program)) return false;
    op = program_take(program, PROGRAM_OPEN);
    if (op == NULL) return false;
    program->cursor = op->p1;
    shape->table = op->table;
    if (!program_filter(program) || !program_body(program, null)) return false;
    if (shape->limit_bound || shape->kind == VT_SHAPE_UPDATE)
        shape->param[shape->argc] = program->value;
    if (program->limit_end >= 0 && program->limit_end != program->end)
        return false;
    if (shape->kind > VT_SHAPE_COUNT && program->rows < 0 &&
        program->at != program->end)
        return false;
    return program_ends(program);
}

bool vt_shape_of(struct vt_session *session, sqlite3_stmt *stmt,
                 struct vt_shape *shape)
{
    struct program program = {.session = session, .shape = shape};
    const int columns = sqlite3_column_count(stmt);

    KV_ASSERT(session->active == NULL);
    memset(shape, 0, sizeof(*shape));
    if (!program_read(&program, stmt) || !program_judge(&program) ||
        shape->params != sqlite3_bind_parameter_count(stmt))
        return false;
    switch (shape->kind) {
    case VT_SHAPE_ROWS: return columns == (int)shape->columns;
    case VT_SHAPE_COUNT: return columns == 1;
    case VT_SHAPE_DELETE:
    case VT_SHAPE_UPDATE: return columns == 0;
    }
    return false;
}

/* state.h - what the files of vtab/ share about one session: its connection,
 * pin, transaction, cursors, limits (sql.md 1, 4, 6).
 *
 * Always true:
 *   VS1  txn != NULL from the first xBegin to the end of the SQL transaction;
 *        while it stands this thread holds the store lock, so nothing here may
 *        pin or unpin a released view then (that would wait for itself).
 *   VS2  pin != NULL only after something was read outside a write; it goes
 *        when the statement, or the explicit transaction, is over (RD1, RD5).
 *   VS3  a value read while txn != NULL is handed to SQLite as a copy (UN4).
 *
 * Thread: one at a time; `cancel` from any. */
#ifndef KVSQL_VTAB_STATE_H
#define KVSQL_VTAB_STATE_H

#include <stdatomic.h>

#include "vtab/answer.h"
#include "vtab/sqlite.h"

struct vt_cursor;
struct vt_khash;

/* Text to a number, by SQLite itself (typed.c). */
struct vt_reals {
    sqlite3 *sql;
    sqlite3_stmt *stmt; /* NULL until it is needed */
};

/* Bytes that SQLite holds for a session, and until when it may ask (Q3). */
struct vt_budget {
    int64_t size, size_max;  /* bytes; 0 = no maximum */
    uint64_t deadline_ns;    /* monotonic; 0 = none */
    unsigned calls;
    bool over;               /* an allocation was refused for size */
    bool late;               /* ... because the deadline had passed */
    bool refused;            /* ... because there was no memory at all */
};

/* A view of the state inside a write transaction, shared by the cursors of a
 * statement while nothing changes in between; of a guest (guest.h) also the
 * one that it has pinned. */
struct vt_snap {
    struct kv_view *view;
    unsigned refs;
    uint64_t count; /* ops when it was taken */
    struct vt_store *store; /* pinned by a guest of it; else NULL */
    struct vt_snap *next;   /* in store->late */
};

/* Positions of one list that DELETE has removed in this statement: runs of
 * indexes of the statement's view, ascending, never touching (2.5). */
struct vt_gap {
    uint64_t first, count;
};
struct vt_gaps {
    uint64_t statement;
    struct kv_buf key;
    struct vt_gap *runs;
    unsigned count, cap;
};

/* What other sessions may see of this one (queries.c). */
struct vt_seen {
    struct vt_session *next, **link; /* of the registry */
    _Atomic(struct vt_statement *) statement; /* running, or NULL */
    _Atomic uint64_t query;      /* its number */
    _Atomic uint64_t cancelled;  /* the number of a query that is to end */
    _Atomic uint64_t started_ns; /* kv_os_quick_ns() */
    _Atomic uint64_t rows, steps;
    _Atomic uint64_t view, view_ns; /* number of the pinned view, or 0; when
                                     it was pinned, kv_os_quick_ns() */
    _Atomic uint64_t client;
    _Atomic(const char *) user;
};

#define VT_CACHE_MAX 256       /* statements kept */
#define VT_CACHE_BUCKETS 256
#define VT_CACHE_SQL_MAX 16384 /* bytes of a text that is kept */
#define VT_SAVE_MAX 10000      /* savepoints open at once */
#define VT_BUSY_MS 5000        /* waiting for the store lock */
#define VT_SPARES_MAX 8        /* closed cursors that are kept */
#define VT_ROW_MAX 512         /* bytes of cells that are copied without malloc */
#define VT_CHECK_EVERY 1024    /* steps of a loop between looks at `cancel` */

/* What the running prepare reads, as far as PL5 and PL6 ask (texts.c). */
#define VT_READS_MAX 16
#define VT_READS_NAME_MAX 48
enum vt_reads_verdict {
    VT_READS_UNKNOWN, VT_READS_TEXT, VT_READS_SINGLE, VT_READS_MIXED
};
struct vt_reads {
    const char *sql; /* its text */
    size_t size;
    bool opaque;     /* a column that is not plain */
    bool inner;      /* ... that a view or a trigger reads */
    bool mixed;      /* ... that is not TEXT, or may be none */
    bool several;    /* ... of another table than `name` */
    char name[VT_READS_NAME_MAX];
    unsigned count;  /* columns of tables that are not ours */
    char table[VT_READS_MAX][VT_READS_NAME_MAX];
    char column[VT_READS_MAX][VT_READS_NAME_MAX];
    enum vt_reads_verdict numbers, bound; /* all of them; parameters */
    enum { VT_ROWS_UNKNOWN, VT_ROWS_NONE, VT_ROWS_PERHAPS } rows_in;
};

struct vt_session {
    sqlite3 *sql;
    kvsql *db; /* NULL: a session over a file */
    struct vt_limits limits;
    struct vt_budget budget;
    atomic_bool cancel;
    struct vt_seen seen;
    uint64_t write_until_ns; /* monotonic: TX10; 0 = does not write, or none */
    bool write_late; /* the deadline in force is that one */
    bool timed_out, internal, saw_delete;
    bool saw_plan;  /* this prepare reads a table of data */
    bool shapes;    /* ... may change what a name means when it runs */
    bool saw_rows;  /* ... names a table whose rows it changes */
    bool drops;     /* ... drops it */
    uint64_t schema; /* grows when that may have happened (point.c) */
    uint64_t settled; /* what it was when no transaction was open, last */
    bool inside;      /* one has been since */
    struct vt_table *tables; /* of data, that are connected */
    bool denied; /* this prepare named what it may not */
    bool target; /* ... and plans the table of an UPDATE or a DELETE next */
    bool declaring; /* a table is: what is read is not read by the statement */
    struct vt_reads reads;
    bool rows_in;  /* a view or trigger of its own may have (a, b) IN (..) */
    bool shadowed; /* a table of its own may have the name of one of ours */
    bool query_only; /* a PRAGMA may have made it so */
    bool plan_off; /* tests: xBestIndex takes nothing (TE2) */

    /* Reading. */
    struct kv_view *pin;
    struct kv_at pin_at;
    struct kv_view *stale; /* was the pin before the write began */
    struct vt_cursor *cursors;
    struct vt_cursor *spare; /* closed ones, to be opened again */
    unsigned spares;
    struct vt_khash *khashes; /* declared tables that are connected */
    /* Definitions (defs.c): the version that the schema is of; what the running
     * statement says, in sqlite3_malloc'ed texts. */
    uint64_t defs_seen;
    bool learning; /* the schema follows the store */
    char *define_name, *define_text, *define_view;
    uint64_t keys_hint; /* size of the keyspace when last seen, for costs */
    uint64_t position;
    uint8_t row[VT_ROW_MAX]; /* copies of cells of the running statement */
    unsigned row_used;

    /* Writing: the one transaction object (section 6). */
    struct kv_txn *txn;
    unsigned joined;
    bool prepared;
    struct kv_mark base, *save;
    int depth, save_cap;
    struct vt_snap *snap;
    struct kv_ticket ticket;
    bool ticket_set;
    struct vt_gaps gaps;

    /* In a connection that is not our own (guest.h). */
    struct vt_store *guest; /* NULL: it is our own */
    struct vt_snap *pinned; /* its view is `pin` */
    struct vt_snap *aside;  /* was pinned before; rows may point into it */
    bool held;              /* pinned for the explicit transaction */
    unsigned shares;        /* modules and functions that know the session */
    void (*left)(void *arg);
    void *left_arg;

    /* Statements. */
    struct vt_statement *active;
    uint64_t statement; /* number of the running one */
    struct vt_statement *bucket[VT_CACHE_BUCKETS];
    struct vt_statement *newest, *oldest;
    unsigned cached;
    sqlite3_stmt *begin, *commit, *rollback;
    sqlite3_stmt *join; /* lets strings take part (edit.c) */
    struct vt_reals reals;
    struct kvsql_error failure; /* of the last module call that failed */
    struct vt_answer last; /* of the last command (kv_last) */
    bool last_set;
    int64_t changes;
    /* Changes that SQLite does not know of (counts.c). */
    bool changes_own;  /* `changes` is not what SQLite counted */
    bool counts_asked; /* it counts all from now on */
    int64_t total_own; /* rows */
    int error_offset;
};

/* An empty one, and its end (session.c). NULL: no memory. */
KV_INTERNAL struct vt_session *vt_session_new(kvsql *db);
KV_INTERNAL void vt_session_free(struct vt_session *session);
/* One statement runs at a time: KVSQL_INVALID while there is one. */
KV_INTERNAL kvsql_rc vt_session_idle(const struct vt_session *session,
                                     struct kvsql_error *err) KV_MUST_USE;
/* Whether the transaction that was open before a statement of our own still is:
 * without memory SQLite takes back all of it. Then KVSQL_NOMEM. */
KV_INTERNAL kvsql_rc vt_session_stands(struct vt_session *session,
                                       struct kvsql_error *err) KV_MUST_USE;
/* End the statement that runs, if one does; its owner still finishes it. */
KV_INTERNAL void vt_statement_stop(struct vt_session *session);
/* A prepare begins, of `sql` (see vt_reads_start): forget what the authorizer
 * saw of the one before. */
KV_INTERNAL void vt_session_unsee(struct vt_session *session, const char *sql,
                                  size_t size);
/* Compile ROLLBACK, so that it needs no memory when it is run: before there is
 * anything to take back, and where SQLite would have to compile it anew. False: no
 * memory, and the last one stays. */
KV_INTERNAL bool vt_session_keep_rollback(struct vt_session *session);
/* Before a statement is prepared or run: whether a transaction is open. Behind one
 * that may have changed the schema it may be what it was before: that is a change. */
KV_INTERNAL void vt_session_settle(struct vt_session *session);
/* Close the statements that are kept for the next who prepares their text. */
KV_INTERNAL void vt_statements_forget(struct vt_session *session);
/* A turn begins, of a statement that is `fresh` or goes on: clock, flags,
 * budget. What it returns goes to vt_budget_leave(). */
KV_INTERNAL struct vt_budget *vt_session_enter(struct vt_session *session,
                                               bool fresh);
/* Tables that other sessions declared or dropped; nothing while a statement
 * runs. */
KV_INTERNAL kvsql_rc vt_session_learn(struct vt_session *session,
                                      struct kvsql_error *err) KV_MUST_USE;

/* ---- errors (error.c) ----------------------------------------------------- */

/* SQLite's code for a result of ours. */
KV_INTERNAL int vt_code(kvsql_rc rc);
/* Remember the failure and hand it to SQLite: sets zErrMsg of `vtab` (may be
 * NULL) and returns `code`. */
KV_INTERNAL int vt_failed(struct vt_session *session, sqlite3_vtab *vtab,
                          int code, const struct kvsql_error *err);
/* The same with the code that belongs to err->rc. */
KV_INTERNAL int vt_fail(struct vt_session *session, sqlite3_vtab *vtab,
                        const struct kvsql_error *err);
KV_INTERNAL int vt_constraint(struct vt_session *session, sqlite3_vtab *vtab,
                              int code, const char *format, ...)
    KV_PRINTF(4, 5);
/* Why a statement that is to end was stopped: KVSQL_INTERRUPT. */
KV_INTERNAL kvsql_rc vt_stopped(const struct vt_session *session,
                                struct kvsql_error *err);
/* What SQLite reports now, as a result of ours with its sentence. */
KV_INTERNAL kvsql_rc vt_sqlite_error(struct vt_session *session, int code,
                                     bool preparing, struct kvsql_error *err);
/* The same of what a method of the table returned to us instead of SQLite. */
KV_INTERNAL kvsql_rc vt_module_error(struct vt_session *session,
                                     sqlite3_vtab *vtab, int code,
                                     struct kvsql_error *err);
/* Where in the text the name stands of which the sentence of SQLite says that
 * there is no such table or column; -1: it says another thing (place.c). */
KV_INTERNAL int vt_place(const char *sentence, const char *sql, size_t size);

/* ---- limits (limit.c) ------------------------------------------------------ */

KV_INTERNAL void vt_limit_apply(sqlite3 *sql);
/* Was it a limit? Then err names it, and its result is returned: rc, or a
 * better one. KVSQL_OK when it was none. */
KV_INTERNAL kvsql_rc vt_limit_met(const struct vt_session *session, int code,
                                  kvsql_rc rc, const char *text,
                                  struct kvsql_error *err);

/* ---- budget and deadline (budget.c) ---------------------------------------- */

/* Count the allocations of this thread for `session` until the leave. */
KV_INTERNAL struct vt_budget *vt_budget_enter(struct vt_budget *budget);
KV_INTERNAL void vt_budget_leave(struct vt_budget *before);
/* A transaction that writes has its own deadline: let it be the statement's, if
 * it comes first. */
KV_INTERNAL void vt_write_deadline(struct vt_session *session);
/* True when the running statement must end: cancelled or past its deadline. */
KV_INTERNAL bool vt_cancelled(struct vt_session *session);

/* ---- reading and writing (txn.c) ------------------------------------------- */

/* Where the running statement reads. `single`: one entry, looked up now;
 * *snap (may be NULL) is what the caller must drop. */
KV_INTERNAL kvsql_rc vt_read_at(struct vt_session *session, bool single,
                                struct kv_at *at, struct vt_snap **snap,
                                struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL void vt_snap_drop(struct vt_snap *snap);
/* Where a statement would read now, for estimates: *view (may be NULL) is the
 * caller's to unpin. False: it cannot be had. */
KV_INTERNAL bool vt_peek_at(struct vt_session *session, struct kv_at *at,
                            struct kv_view **view);
KV_INTERNAL int vt_txn_begin(struct vt_session *session, sqlite3_vtab *vtab);
KV_INTERNAL int vt_txn_prepare(struct vt_session *session, sqlite3_vtab *vtab);
KV_INTERNAL void vt_txn_commit(struct vt_session *session);
KV_INTERNAL void vt_txn_rollback(struct vt_session *session);
KV_INTERNAL int vt_txn_savepoint(struct vt_session *session, int n);
KV_INTERNAL void vt_txn_release(struct vt_session *session, int n);
KV_INTERNAL void vt_txn_rollback_to(struct vt_session *session, int n);
/* The statement is over: drop pins it no longer needs. */
KV_INTERNAL void vt_read_end(struct vt_session *session);
/* Wait at the gate for what was committed or seen (TX4, RD6). */
KV_INTERNAL kvsql_rc vt_txn_gate(struct vt_session *session,
                                 struct kvsql_error *err) KV_MUST_USE;

/* ---- running statements (queries.c) ------------------------------------------ */

KV_INTERNAL void vt_query_enter(struct vt_session *session);
KV_INTERNAL void vt_query_leave(struct vt_session *session);
/* Whether a session of ours is in this connection. */
KV_INTERNAL bool vt_query_knows(const sqlite3 *sql);
/* The statement runs, and runs no more. */
KV_INTERNAL void vt_query_begin(struct vt_session *session,
                                struct vt_statement *statement);
KV_INTERNAL void vt_query_end(struct vt_session *session);
/* Nobody looks at a statement that has ended: it may be freed. */
KV_INTERNAL void vt_query_settle(void);
/* The text of a statement, perhaps cut. */
KV_INTERNAL const char *vt_statement_text(const struct vt_statement *statement,
                                          size_t *size);
/* Who holds a view, in words. */
KV_INTERNAL const char *vt_query_holder(const struct vt_session *session,
                                        const struct kv_view_info *view,
                                        char *out, size_t size);
/* Fill column `to` of rows of clients: ms since the client in column `from`
 * pinned a view. */
KV_INTERNAL void vt_query_view_ages(const struct vt_session *session,
                                    struct vt_rows *rows, unsigned from,
                                    unsigned to);

/* ---- what a statement compares as text (texts.c, PL5, PL6) ------------------- */

/* A prepare begins; `size` SIZE_MAX: `sql` ends with a NUL. Both live on. */
KV_INTERNAL void vt_reads_start(struct vt_session *session, const char *sql,
                                size_t size);
/* A column is read, by a view or a trigger of the name `inner` unless NULL. */
KV_INTERNAL void vt_reads_note(struct vt_session *session, const char *table,
                               const char *column, const char *schema,
                               const char *inner);
/* How the statement compares numbers, inside of xBestIndex. TEXT: all of them as
 * text. SINGLE: so with what is no column of the one table that it reads. */
KV_INTERNAL enum vt_reads_verdict vt_reads_numbers(struct vt_session *session);
/* The same for parameters alone. */
KV_INTERNAL enum vt_reads_verdict vt_reads_bound(struct vt_session *session);
/* Whether the statement may have a list of row values, `(a, b) IN (..)`. */
KV_INTERNAL bool vt_reads_rows_in(struct vt_session *session);

/* ---- the rest --------------------------------------------------------------- */

/* Rights (auth.c), functions (func.c, text.c), tables (table.c, info.c). */
KV_INTERNAL int vt_authorize(void *session, int action, const char *one,
                             const char *two, const char *three,
                             const char *four);
KV_INTERNAL kvsql_rc vt_functions_register(struct vt_session *session,
                                           struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL int vt_text_register(struct vt_session *session);
KV_INTERNAL kvsql_rc vt_tables_register(struct vt_session *session,
                                        struct kvsql_error *err) KV_MUST_USE;
/* Free the closed cursors that were kept. */
KV_INTERNAL void vt_cursors_free(struct vt_session *session);
KV_INTERNAL int vt_info_register(struct vt_session *session);
/* Commands (exec.c, tvf.c). */
KV_INTERNAL int vt_exec_register(struct vt_session *session);
KV_INTERNAL int vt_tvf_register(struct vt_session *session);
KV_INTERNAL int vt_changes_register(struct vt_session *session);
KV_INTERNAL int vt_khash_register(struct vt_session *session);
/* Definitions (defs.c): make the schema what the store says; put into the store
 * what a statement said that ended with `rc`; forget it. */
KV_INTERNAL kvsql_rc vt_defs_learn(struct vt_session *session,
                                   struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL kvsql_rc vt_defs_store(struct vt_session *session, kvsql_rc rc,
                                   struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL void vt_defs_forget(struct vt_session *session);
/* Whether `name` is a declared table of the session (khash.c). */
KV_INTERNAL bool vt_khash_known(const struct vt_session *session,
                                const char *name);
/* Bytes that a command may say to this session. */
KV_INTERNAL size_t vt_answer_room(const struct vt_session *session);
KV_INTERNAL const struct vt_host *vt_host_get(void);
/* Whether `name` is one of our tables. */
KV_INTERNAL bool vt_table_known(const char *name);

/* "CREATE TABLE x(...)" of a table with rowids; sqlite3_free(). NULL: no
 * memory. */
KV_INTERNAL char *vt_declare(const char *name);
/* Row `index` of columns.def: NOT NULL; place in the primary key. */
KV_INTERNAL bool vt_column_notnull(unsigned index);
KV_INTERNAL int vt_column_pk(unsigned index);
/* Whether a column of ours is declared TEXT. */
KV_INTERNAL bool vt_column_text(const char *table, const char *column);

/* SQLite's GLOB and LIKE on bytes, without recursion (text.c). *stop is set
 * when the statement was cancelled meanwhile. */
KV_INTERNAL bool vt_glob(struct vt_session *session, const uint8_t *pattern,
                         size_t pattern_size, const uint8_t *text,
                         size_t text_size, bool *stop);
KV_INTERNAL bool vt_like(struct vt_session *session, const uint8_t *pattern,
                         size_t pattern_size, const uint8_t *text,
                         size_t text_size, uint32_t escape, bool *stop);

/* Tests only: let xBestIndex take nothing from now on (TE2). */
KV_INTERNAL void vt_session_plan_off(struct vt_session *session, bool off);
KV_INTERNAL sqlite3 *vt_session_sqlite(struct vt_session *session);

#endif

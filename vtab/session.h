/* session.h - one SQL connection over a store: the face of vtab/.
 *
 * A session has one in-memory SQLite connection with our modules registered, a
 * cache of prepared statements, and at most one running statement. Reads pin
 * a released view; the first write of a transaction takes the store lock.
 *
 * SQLite's types stay inside vtab/: callers see values through sql_value.
 *
 * Thread: one at a time. sql_interrupt from any. */
#ifndef KVSQL_VTAB_SESSION_H
#define KVSQL_VTAB_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvsql/inside.h"

struct vt_session;
struct vt_statement;

/* Zeroes are the defaults of reliability section 11 for remote users. */
struct vt_limits {
    bool trusted;          /* local shell: no authorizer, no row or byte cap */
    bool read_only;        /* query_only; writes give KVSQL_READONLY */
    bool admin;            /* may see clients, config, slowlog, queries */
    struct kv_view *view;  /* read this one, pinned by the caller, instead of */
    const struct kv_at *at; /* the newest, and here; with read_only. Or NULL */
    bool exact;            /* a score of -0.0 is told, for exports (VA6) */
    bool estimates;        /* plans end in " ~N", the rows they may give, and
                              are made anew each time */
    const char *user;      /* static; NULL = "default" */
    uint64_t client;       /* of the registry of clients, or 0 */
    uint64_t deadline_ms;  /* 0 = none when trusted, else 10,000 */
    uint64_t row_max;      /* 0 = 10,000 */
    uint64_t byte_max;     /* 0 = 16 MiB */
};

enum vt_value_kind { VT_NULL, VT_INTEGER, VT_REAL, VT_TEXT, VT_BLOB };
struct vt_value {
    enum vt_value_kind kind;
    int64_t integer;
    double real;
    const uint8_t *p; /* TEXT, BLOB; lives until the next step */
    size_t size;
};

/* The limits of vtab/limits.def, for sessions that are not trusted. */
enum vt_limit_id {
#define VT_LIMIT(id, key, sqlite, value, least, sentence) VT_LIMIT_##id,
#include "vtab/limits.def"
#undef VT_LIMIT
    VT_LIMIT_COUNT
};
/* Set one for the process, before the first session; 0 is the value of the
 * table. What is less than the table's least becomes that. */
KV_INTERNAL void vt_limit_set(enum vt_limit_id id, uint64_t value);
KV_INTERNAL int vt_limit_get(enum vt_limit_id id);

/* Once per process before the first session: allocator budget (Q3) and
 * SQLite's own log to diag. */
KV_INTERNAL kvsql_rc vt_start(struct kvsql_error *err) KV_MUST_USE;

/* Version of the SQLite that runs, "3.40.1"; static. */
KV_INTERNAL const char *vt_sqlite_version(void);

/* Statements that were prepared so far, in all sessions. */
KV_INTERNAL uint64_t vt_statement_count(void);

/* Let the store keep the indexes of its tables from now on; a session does the
 * same. What is there already is built by the keeper. KVSQL_NOMEM. */
KV_INTERNAL kvsql_rc vt_indexes_keep(kvsql *db,
                                     struct kvsql_error *err) KV_MUST_USE;

/* KVSQL_NOMEM. */
KV_INTERNAL kvsql_rc vt_session_open(kvsql *db, const struct vt_limits *limits,
                                     struct vt_session **session,
                                     struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL void vt_session_close(struct vt_session *session);
/* Change the limits between statements. */
KV_INTERNAL void vt_session_limits(struct vt_session *session,
                                   const struct vt_limits *limits);
/* Bytes of one result, 0 = no limit. */
KV_INTERNAL uint64_t vt_byte_max(const struct vt_session *session);

/* Prepare the statement at the start of `sql` (cached). *tail (may be NULL)
 * is the byte behind it; with NULL anything but blanks and comments behind it
 * is an error (Q7). Empty text gives *statement = NULL. KVSQL_SYNTAX with
 * err->text; vt_error_offset tells where. */
KV_INTERNAL kvsql_rc vt_prepare(struct vt_session *session, const char *sql,
                                size_t size, size_t *tail,
                                struct vt_statement **statement,
                                struct kvsql_error *err) KV_MUST_USE;
/* Byte in the text where the last error was, or -1. */
KV_INTERNAL int vt_error_offset(const struct vt_session *session);
KV_INTERNAL int vt_param_count(const struct vt_statement *statement);
/* Index (from 1) of ":name", "@name", "$name" given without the sign; 0: none. */
KV_INTERNAL int vt_param_index(const struct vt_statement *statement,
                               const char *name);
/* Before the first step, or behind the last row. KVSQL_INVALID while rows are to
 * come, KVSQL_RANGE: there is no such parameter. */
KV_INTERNAL kvsql_rc vt_bind(struct vt_statement *statement, int index,
                             const struct vt_value *value,
                             struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL bool vt_is_readonly(const struct vt_statement *statement);
KV_INTERNAL int vt_column_count(const struct vt_statement *statement);
KV_INTERNAL const char *vt_column_name(const struct vt_statement *statement,
                                       int column);
/* Declared type ("TEXT", "INTEGER", "REAL", "BLOB") or "". */
KV_INTERNAL const char *vt_column_type(const struct vt_statement *statement,
                                       int column);

/* One row: KVSQL_OK with *row true, or at the end false. At the end of a
 * statement outside a transaction the session has waited at the gate for what
 * the statement changed. Errors by section 2.6 of the SQL reference;
 * KVSQL_INVALID, and nothing happens, while another statement of the session
 * runs. Rows and bytes beyond the limits end the statement with *truncated. */
KV_INTERNAL kvsql_rc vt_step(struct vt_statement *statement, bool *row,
                             struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL bool vt_truncated(const struct vt_statement *statement);
KV_INTERNAL void vt_column(const struct vt_statement *statement, int column,
                           struct vt_value *out);
/* Done with the statement (back to the cache); ends its pin. */
KV_INTERNAL void vt_finish(struct vt_statement *statement);
/* Rows changed by the last statement; position the answer depends on. */
KV_INTERNAL int64_t vt_changes(const struct vt_session *session);
KV_INTERNAL uint64_t vt_position(const struct vt_session *session);

/* Several statements in one SQL transaction: the session issues BEGIN and
 * COMMIT itself; the local shell may also send them as text. KVSQL_INVALID, and
 * the transaction stays what it is, while a statement runs; a rollback ends that
 * statement, which is still to be finished. */
KV_INTERNAL kvsql_rc vt_begin(struct vt_session *session,
                              struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL kvsql_rc vt_commit(struct vt_session *session,
                               struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL void vt_rollback(struct vt_session *session);
KV_INTERNAL bool vt_in_transaction(const struct vt_session *session);
/* The write transaction of what vt_begin began, begun now if nothing was
 * written yet: for commands between two statements, with no statement running.
 * Never finish it; not valid behind the next statement. */
KV_INTERNAL kvsql_rc vt_write(struct vt_session *session, struct kv_txn **txn,
                              struct kvsql_error *err) KV_MUST_USE;

/* Ask the running statement to end with KVSQL_INTERRUPT, and those that follow:
 * whoever asks may come just before a statement begins. Any thread, and handlers
 * of signals. It holds until vt_resume() or vt_session_limits(), with which the
 * owner begins what nobody has asked to end yet. vt_begin(), vt_commit() and
 * vt_rollback() are done all the same. */
KV_INTERNAL void vt_interrupt(struct vt_session *session);
KV_INTERNAL void vt_resume(struct vt_session *session);

/* One item of what a command said, in order; an array says how many items
 * follow, maps and sets are arrays (pairs flat). */
enum vt_reply_kind {
    VT_REPLY_NULL,
    VT_REPLY_STATUS, /* "OK" */
    VT_REPLY_STRING,
    VT_REPLY_INT,
    VT_REPLY_REAL,
    VT_REPLY_BOOL,
    VT_REPLY_ARRAY
};
struct vt_reply {
    enum vt_reply_kind kind;
    int64_t number; /* INT, BOOL; ARRAY: how many follow */
    double real;
    const uint8_t *p; /* STATUS, STRING; for the call */
    size_t size;
};
/* False: no memory. */
typedef bool (*vt_reply_fn)(void *arg, const struct vt_reply *item);

/* A command on keys that SQL wants to run. */
struct vt_command {
    kvsql *db;
    struct kv_txn *txn;     /* a part of it; or NULL, and then one that only */
    const struct kv_at *at; /* reads, here */
    unsigned argc;
    const kvsql_slice *argv;
    size_t size_max;        /* bytes of what it says */
    vt_reply_fn take;
    void *arg;
    struct vt_session *session; /* whose statement it is a part of */
};
/* KVSQL_OK, or why the command is to end (INTERRUPT): its statement was
 * cancelled, or has run out of time, or its view was ended. For commands that
 * take long, about every thousand steps. */
KV_INTERNAL kvsql_rc vt_command_stopped(const struct vt_command *command,
                                        struct kvsql_error *err) KV_MUST_USE;
#define VT_COMMAND_ARGS_MAX 1024 /* words of a line */

/* Rows of a table that upper rooms fill: begin one, then its values in the
 * order of columns.def; what is left out is NULL. */
struct vt_rows;
KV_INTERNAL void vt_row(struct vt_rows *rows);
KV_INTERNAL void vt_row_null(struct vt_rows *rows);
KV_INTERNAL void vt_row_int(struct vt_rows *rows, int64_t integer);
KV_INTERNAL void vt_row_real(struct vt_rows *rows, double real);
KV_INTERNAL void vt_row_bytes(struct vt_rows *rows, const void *p,
                              size_t size);
KV_INTERNAL void vt_row_text(struct vt_rows *rows, const char *text);

/* What upper rooms fill in cli/host.c; NULL entries leave tables out. */
struct vt_host {
    /* Row `index` of the command table; false behind the last. */
    bool (*command_row)(unsigned index, const char **name, int *arity,
                        unsigned *flags, int *first_key, int *last_key,
                        int *step, const char **group, const char **summary);
    /* Run one. Not KVSQL_OK: nothing has changed, and err has the line that a
     * client of the Redis protocol would see. */
    kvsql_rc (*command_run)(const struct vt_command *command,
                            struct kvsql_error *err);
    /* Words of a line with redis-cli's quoting; they point into `buf`. */
    kvsql_rc (*command_split)(const char *line, size_t size,
                              struct kv_buf *buf, kvsql_slice *argv,
                              unsigned *argc, struct kvsql_error *err);
    /* All rows of these tables; any thread, inside a txn, too. view_age of
     * clients is left out. */
    void (*clients)(struct vt_rows *rows);
    void (*client_kill)(uint64_t id);
    void (*slowlog)(struct vt_rows *rows);
    void (*latency)(struct vt_rows *rows);
    /* False: no memory. */
    bool (*config)(struct vt_rows *rows);
    /* Set one; at once, whatever becomes of `txn`, in which the caller is, or
     * NULL. err has CONFIG SET's line. */
    kvsql_rc (*config_set)(struct kv_txn *txn, kvsql_slice name,
                           kvsql_slice value, struct kvsql_error *err);
};
KV_INTERNAL void vt_host_set(const struct vt_host *host);

/* Tables and columns (columns.def), for shells and docs; false behind the
 * last. */
KV_INTERNAL bool vt_column_row(unsigned index, const char **table,
                               const char **column, const char **type,
                               bool *hidden, const char **doc);

/* Open a snapshot file (or any SQLite file) read-only in a session without a
 * store, for `kvsql sql FILE.db`. */
KV_INTERNAL kvsql_rc vt_session_open_file(const char *path,
                                          struct vt_session **session,
                                          struct kvsql_error *err) KV_MUST_USE;

#endif

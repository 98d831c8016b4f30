/* test_store_index.c - indexes of typed tables against a plain model, in any
 * order of events (sql.md KH3-KH6).
 *
 * The model is an array of keys: fields with values from a pool, and times. A
 * random walk changes store and model alike, by effects of the store, by
 * commands and by SQL: in batches with marks, LONG views and allocations that
 * fail, that are committed, rolled back, refused, released late, or taken back
 * by a failure of the wal; definitions come and go, the keeper builds in slices.
 * A view that is taken gets a copy of the model, and so does a session that
 * stays in its transaction.
 *
 *   On each view, at its begin and at its end, the hashes are those of the model,
 *   and a complete index leads to its rows in the order that SQLite gives their
 *   values: nothing is missing, nothing is there that no row explains. What a
 *   session finds by an index it finds by a scan, and the model says the same.
 *   No two hashes share a value that is UNIQUE ... STRICT.
 *
 * Entries are known as bytes: SQLite reads each value of the pool in a column of
 * each type, and sorts them; that the bytes sort alike is checked first. The
 * control: a model with one field changed is not what the indexes say.
 *
 * KVSQL_MODEL_STEPS makes the walk longer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command/command.h"
#include "tests/lib/imodel.h"
#include "tests/lib/rand.h"
#include "tests/lib/store_fx.h"
#include "vtab/session.h"

#define STEPS 10000
#define VIEWS 8
#define SESSIONS 3
#define BATCHES 48 /* unreleased ones, at most */
#define SQL_MAX 2048
#define SHORT (1u << 20) /* bytes of log of a batch that is never long */

static struct kv_os clock_os;
static struct rand_state r;
static bool refuse, park; /* the sink: no room; released later */

static unsigned below(unsigned n)
{
    return (unsigned)rand_below(&r, n);
}

/* ---- views ------------------------------------------------------------------------- */

/* The model at positions that are not released, oldest first; [0] is the one of
 * what is. */
static struct {
    uint64_t position;
    struct imodel model;
} history[BATCHES + 1];
static unsigned history_count;

struct reader {
    struct kv_view *view;
    struct imodel model;
};
static struct reader readers[VIEWS];
static uint64_t views_dropped, failures, refusals, restores, nomems;

static void released(void)
{
    unsigned from = 0;

    while (from + 1 < history_count &&
           history[from + 1].position <= kv_store_released(store))
        from++;
    memmove(history, history + from, (history_count - from) * sizeof(*history));
    history_count -= from;
}

/* A batch, or the keeper's, has a position now. */
static void note_position(void)
{
    released();
    if (history[history_count - 1].position != store->pos)
        history_count++;
    history[history_count - 1].position = store->pos;
    history[history_count - 1].model = imodel_live;
}

static void release_all(void)
{
    kv_store_release_to(store, store->pos);
    note_position();
}

static void reader_end(struct reader *reader)
{
    struct kv_view *view = reader->view;
    struct kv_at at;

    if (view == NULL)
        return;
    if (view->dropped) {
        views_dropped++;
    } else {
        kv_at_view(view, &at);
        ck_assert_msg(imodel_says(&at, &reader->model), "%s", imodel_why);
    }
    kv_unpin(view);
    reader->view = NULL;
}

/* Like kv_pin, but comes back although the position is not released. */
static void reader_begin(struct reader *reader)
{
    struct kv_view *view;
    struct kv_at at;

    kv_lock_take(&store->lock);
    view = kv_view_take(store, false);
    ck_assert_ptr_nonnull(view);
    atomic_fetch_add(&view->refs, 1);
    kv_lock_drop(&store->lock);
    reader->view = view;
    reader->model = imodel_live;
    kv_at_view(view, &at);
    ck_assert_msg(imodel_says(&at, &reader->model), "%s", imodel_why);
}

/* The wal fails: what is not released never was. */
static void wal_fails(void)
{
    released();
    kv_store_fail(store);
    failures += history_count > 1;
    history_count = 1;
    imodel_live = history[0].model;
}

/* ---- doors -------------------------------------------------------------------------- */

static kvsql_rc define(struct kv_txn *txn, const char *name, const char *sql)
{
    const struct kv_def def = {
        .name = {name, strlen(name)},
        .text = {sql, strlen(sql)},
        .view = {"CREATE VIEW x AS SELECT 1", sql[0] ? 25 : 0}};

    return kv_define(txn, &def, &err);
}

static int some_value(void)
{
    return (int)below(IMODEL_VALUES);
}

static int64_t some_time(void)
{
    return imodel_wall + 1 + below(200);
}

static void same_rc(kvsql_rc rc, kvsql_rc wanted, const char *what)
{
    if (rc == wanted || (rc == KVSQL_NOTFOUND && wanted == KVSQL_OK))
        return;
    ck_abort_msg("%s: %d and not %d: %s", what, (int)rc, (int)wanted, err.text);
}

static kvsql_rc effect(struct kv_txn *txn, kvsql_rc *wanted)
{
    const unsigned k = below(IMODEL_KEYS), to = below(IMODEL_KEYS);
    const int f =
        imodel_is_account(k) && below(2) ? 0 : (int)below(IMODEL_FIELDS);
    const int value = some_value();
    const int64_t at = some_time();
    struct imodel_name name, other;
    const struct kv_key key = imodel_key(k, &name),
                        target = imodel_key(to, &other);
    const struct kv_key field = imodel_field_key(f);

    switch (below(14)) {
    case 0:
        *wanted = imodel_hdel(k, f);
        return kv_hdel(txn, &key, &field, NULL, &err);
    case 1:
        imodel_delete(k);
        return kv_del(txn, &key, NULL, &err);
    case 2:
        *wanted = imodel_move(k, to, false);
        return kv_rename(txn, &key, &target, &err);
    case 3:
        if (k == to)
            return KVSQL_OK;
        *wanted = imodel_move(k, to, true);
        return kv_copy(txn, &key, &target, &err);
    case 4:
        imodel_clear(&imodel_live.row[k]);
        imodel_live.row[k].kind = IMODEL_OTHER;
        return kv_set(txn, &key, imodel_value(value), 0, &err);
    case 5: {
        struct imodel_row *row = imodel_now(k);
        if (row->kind != IMODEL_NOTHING)
            row->at = at;
        row->timed = row->timed || row->kind != IMODEL_NOTHING;
        return kv_expire(txn, &key, at, &err);
    }
    case 6: {
        struct imodel_row *row = imodel_now(k);
        if (row->kind == IMODEL_OTHER)
            *wanted = KVSQL_WRONGTYPE;
        if (row->kind == IMODEL_HASH && row->field[f].value >= 0) {
            row->field[f].at = at;
            row->timed = true;
        }
        return kv_hexpire(txn, &key, &field, at, &err);
    }
    case 7:
        *wanted = imodel_hset(k, f, value, at);
        return kv_hset(txn, &key, &field, imodel_value(value), at, NULL, &err);
    case 8:
        if (below(20) > 0)
            return KVSQL_OK;
        for (unsigned i = 0; i < IMODEL_KEYS; i++)
            imodel_clear(&imodel_live.row[i]);
        return kv_flush(txn, &err);
    case 9:
        *wanted = imodel_hset(k, f, value, KV_KEEP_EXPIRY);
        return kv_hset(txn, &key, &field, imodel_value(value), KV_KEEP_EXPIRY,
                       NULL, &err);
    default:
        *wanted = imodel_hset(k, f, value, 0);
        return kv_hset(txn, &key, &field, imodel_value(value), 0, NULL, &err);
    }
}

static kvsql_slice word(const char *text)
{
    return (kvsql_slice){.p = text, .size = strlen(text)};
}

/* A command that changes several fields or keys at once. */
static kvsql_rc command(struct kv_txn *txn, kvsql_rc *wanted)
{
    const unsigned k = below(IMODEL_USERS + IMODEL_PETS),
                   other = below(IMODEL_KEYS);
    const int f = (int)below(IMODEL_COLUMNS - 1), a = some_value(),
              b = some_value();
    struct imodel_name name, second;
    kvsql_slice argv[8];
    struct cmd_reply reply;
    unsigned argc = 0;
    kvsql_rc rc;

    (void)imodel_key(k, &name);
    (void)imodel_key(other, &second);
    switch (below(4)) {
    case 0:
        argv[argc++] = word("DEL");
        argv[argc++] = word(name.text);
        argv[argc++] = word(second.text);
        imodel_delete(k);
        imodel_delete(other);
        break;
    case 1:
        argv[argc++] = word("HDEL");
        argv[argc++] = word(name.text);
        argv[argc++] = word(imodel_column[f]);
        argv[argc++] = word(imodel_column[f + 1]);
        *wanted = imodel_hdel(k, f);
        (void)imodel_hdel(k, f + 1);
        break;
    default:
        argv[argc++] = word("HSET");
        argv[argc++] = word(name.text);
        argv[argc++] = word(imodel_column[f]);
        argv[argc++] = imodel_value(a);
        argv[argc++] = word(imodel_column[f + 1]);
        argv[argc++] = imodel_value(b);
        *wanted = imodel_hset(k, f, a, 0);
        (void)imodel_hset(k, f + 1, b, 0);
        break;
    }
    cmd_reply_init(&reply, 1 << 20);
    rc = cmd_run_in(txn, argc, argv, &reply);
    cmd_reply_fini(&reply);
    return rc;
}

/* Another definition, or none. */
static kvsql_rc definition(struct kv_txn *txn)
{
    const int next =
        imodel_live.table >= 0 ? -1 : (int)below((unsigned)IMODEL_TABLES);

    imodel_live.table = next;
    return define(txn, "users", next < 0 ? "" : imodel_table[next].sql);
}

static void door(struct kv_txn *txn)
{
    const struct imodel before = imodel_live;
    const struct kv_mark mark = kv_txn_mark(txn);
    const bool failing = below(40) == 0;
    const unsigned which = below(60);
    kvsql_rc wanted = KVSQL_OK, rc;

    if (failing)
        kv_mem_fail_at(1 + below(30), (int)below(2));
    rc = which == 0   ? definition(txn)
         : which < 20 ? command(txn, &wanted)
                      : effect(txn, &wanted);
    kv_mem_fail_at(0, 0);
    if (failing && rc == KVSQL_NOMEM) {
        kv_txn_restore(txn, mark);
        imodel_live = before;
        nomems++;
        return;
    }
    same_rc(rc, wanted,
            which == 0   ? "define"
            : which < 20 ? "command"
                         : "effect");
    refusals += wanted == KVSQL_CONSTRAINT;
    if (wanted != KVSQL_OK && wanted != KVSQL_NOTFOUND) {
        struct imodel now = before;
        now.table = imodel_live.table;
        imodel_live = now;
    }
}

/* The next batch is released later, or never. */
static bool park_one(void)
{
    return below(2) == 0 && history_count < BATCHES - 8;
}

static void batch(void)
{
    struct kv_txn *txn = begin();
    const struct imodel first = imodel_live;
    struct imodel saved = imodel_live;
    struct kv_mark mark = {.undo = 0};
    bool marked = false;
    kvsql_rc rc;

    store->undo_txn_max = below(3) == 0 ? below(3000) : SHORT;
    for (unsigned i = 0, n = 1 + below(8); i < n; i++) {
        kv_txn_keep(txn, marked ? &mark : NULL);
        kv_txn_step(txn);
        if (!marked && below(4) == 0) {
            mark = kv_txn_mark(txn);
            kv_txn_keep(txn, &mark);
            saved = imodel_live;
            marked = true;
        }
        door(txn);
    }
    if (marked && below(2) == 0) {
        kv_txn_restore(txn, mark);
        imodel_live = saved;
        restores++;
    }
    if (below(8) == 0) {
        kv_txn_rollback(txn);
        imodel_live = first;
        return;
    }
    refuse = below(15) == 0 && kv_txn_count(txn) > 0;
    park = park_one();
    rc = kv_txn_commit(txn, NULL, &err);
    ck_assert_int_eq(rc, refuse ? KVSQL_NOMEM : KVSQL_OK);
    if (refuse)
        imodel_live = first;
    refuse = false;
    note_position();
}

static void keeper(void)
{
    for (unsigned i = 0, n = 1 + below(4); i < n; i++) {
        park = park_one();
        (void)kv_store_tick(store);
        note_position();
    }
}

/* ---- SQL ----------------------------------------------------------------------------- */

struct speaker {
    struct vt_session *session;
    bool pinned;
    struct imodel model;
    int64_t now;
};
static struct speaker speakers[SESSIONS]; /* the last one writes */
static uint64_t by_index, looks;
static char ours[65536], theirs[65536];

static kvsql_rc run(struct vt_session *session, const char *sql, char *out)
{
    struct vt_statement *statement;
    size_t size = 0;
    bool row = false;
    kvsql_rc rc = vt_prepare(session, sql, strlen(sql), NULL, &statement, &err);

    out[0] = 0;
    if (rc != KVSQL_OK)
        return rc;
    while ((rc = vt_step(statement, &row, &err)) == KVSQL_OK && row) {
        struct vt_value v;
        vt_column(statement, vt_column_count(statement) - 1, &v);
        size += (size_t)snprintf(out + size, sizeof(ours) - size, "%.*s\n",
                                 (int)v.size, v.p ? (const char *)v.p : "");
    }
    vt_finish(statement);
    return rc;
}

static void must(struct vt_session *session, const char *sql, char *out)
{
    const kvsql_rc rc = run(session, sql, out);

    ck_assert_msg(rc == KVSQL_OK, "%s: %s", sql, err.text);
}

/* column op value */
struct imodel_term {
    int column, value;
    enum { EQ, LT, GE, NONE } op;
};
#define TERMS 2

static void say(char *sql, const char *text)
{
    const size_t size = strlen(sql);

    (void)snprintf(sql + size, SQL_MAX - size, "%s", text);
}

static void say_value(char *sql, int value, bool blob)
{
    char text[900];
    size_t size = 0;

    blob = blob || (uint8_t)imodel_pool[value].text[0] == 0xff;
    size += (size_t)snprintf(text, sizeof(text), blob ? "x'" : "'");
    for (uint32_t i = 0; i < imodel_pool[value].size; i++)
        size += (size_t)snprintf(text + size, sizeof(text) - size,
                                 blob ? "%02x" : "%c",
                                 (uint8_t)imodel_pool[value].text[i]);
    (void)snprintf(text + size, sizeof(text) - size, "'");
    say(sql, text);
}

static void say_term(char *sql, const struct imodel_term *term)
{
    static const char *const signs[] = {" = ", " < ", " >= ", " IS NULL"};

    say(sql, imodel_column[term->column]);
    say(sql, signs[term->op]);
    if (term->op != NONE)
        say_value(sql, term->value,
                  imodel_affinity[term->column] == VT_AFFINITY_NONE);
}

static bool term_holds(const struct imodel_term *term,
                       const struct imodel_row *row, int64_t now)
{
    const struct imodel_field *field = &row->field[term->column];

    if (!imodel_field_shows(field, now))
        return term->op == NONE;
    if (term->op == NONE)
        return false;
    const int order =
        imodel_compare(imodel_pool[field->value].entry[term->column],
                       imodel_pool[field->value].entry_size[term->column],
                       imodel_pool[term->value].entry[term->column],
                       imodel_pool[term->value].entry_size[term->column]);
    return term->op == EQ   ? order == 0
           : term->op == LT ? order < 0
                            : order >= 0;
}

static void some_terms(struct imodel_term *terms)
{
    for (int i = 0; i < TERMS; i++)
        terms[i] = (struct imodel_term){.column = (int)below(IMODEL_COLUMNS),
                                        .value = some_value(),
                                        .op = below(4)};
    if (below(2) == 0)
        terms[1].column = terms[0].column;
    for (int i = 0; i < TERMS;
         i++) /* as a number it is none of a REAL column */
        if (terms[i].column == 3 && terms[i].value == IMODEL_WHOLE_ONLY)
            terms[i].value = 0;
}

/* Rows of the model that hold, by a column and then by id. */
static const struct imodel *sort_model;
static int sort_column;
static int64_t sort_now;

static int row_compare(const void *a_arg, const void *b_arg)
{
    const unsigned a = *(const unsigned *)a_arg, b = *(const unsigned *)b_arg;
    const struct imodel_field *x = &sort_model->row[a].field[sort_column];
    const struct imodel_field *y = &sort_model->row[b].field[sort_column];
    const bool sx = imodel_field_shows(x, sort_now),
               sy = imodel_field_shows(y, sort_now);
    struct imodel_name one, two;
    int order = sx - sy;

    if (sx && sy)
        order = imodel_compare(imodel_pool[x->value].entry[sort_column],
                               imodel_pool[x->value].entry_size[sort_column],
                               imodel_pool[y->value].entry[sort_column],
                               imodel_pool[y->value].entry_size[sort_column]);
    if (order != 0)
        return order;
    (void)imodel_key(a, &one);
    (void)imodel_key(b, &two);
    return strcmp(one.text, two.text);
}

static unsigned rows_of(const struct imodel *m, int64_t now,
                        const struct imodel_term *terms, unsigned *out)
{
    unsigned count = 0;

    for (unsigned k = 0; k < IMODEL_USERS; k++) {
        const struct imodel_row *row = &m->row[k];
        if (row->kind == IMODEL_HASH && imodel_shows(row, now) &&
            term_holds(&terms[0], row, now) && term_holds(&terms[1], row, now))
            out[count++] = k;
    }
    return count;
}

static void model_answers(const struct imodel *m, int64_t now,
                          const struct imodel_term *terms, int column,
                          bool desc)
{
    unsigned rows[IMODEL_USERS];
    const unsigned count = rows_of(m, now, terms, rows);
    size_t size = 0;

    sort_model = m;
    sort_column = column;
    sort_now = now;
    qsort(rows, count, sizeof(*rows), row_compare);
    theirs[0] = 0;
    for (unsigned i = 0; i < count; i++) {
        struct imodel_name name;
        (void)imodel_key(rows[desc ? count - 1 - i : i], &name);
        size += (size_t)snprintf(theirs + size, sizeof(theirs) - size, "%s\n",
                                 name.text + 2);
    }
}

/* One query by its plan, without one, and of the model. */
static void look(struct vt_session *session, const struct imodel *m,
                 int64_t now)
{
    const int column = (int)below(IMODEL_COLUMNS);
    const bool desc = below(2) == 0;
    struct imodel_term terms[TERMS];
    char sql[SQL_MAX] = "EXPLAIN QUERY PLAN SELECT id FROM users WHERE ";
    char *query = sql + strlen("EXPLAIN QUERY PLAN ");

    if (m->table < 0)
        return;
    some_terms(terms);
    say_term(sql, &terms[0]);
    say(sql, " AND ");
    say_term(sql, &terms[1]);
    say(sql, " ORDER BY ");
    say(sql, imodel_column[column]);
    say(sql, desc ? " DESC, id DESC" : ", id");
    must(session, sql, ours);
    by_index += strstr(ours, "index ") != NULL;
    looks++;
    must(session, query, ours);
    model_answers(m, now, terms, column, desc);
    ck_assert_msg(strcmp(ours, theirs) == 0, "%s\nby plan:\n%smodel:\n%s",
                  query, ours, theirs);
    say(sql, " -- scan");
    vt_session_plan_off(session, true);
    must(session, query, ours);
    vt_session_plan_off(session, false);
    ck_assert_msg(strcmp(ours, theirs) == 0, "%s\nby scan:\n%smodel:\n%s",
                  query, ours, theirs);
}

/* A session that stays in its transaction reads what it has read. */
static void speak(struct speaker *speaker)
{
    release_all();
    if (!speaker->pinned) {
        must(speaker->session, "BEGIN", ours);
        must(speaker->session, "SELECT count(*) FROM keys", ours);
        speaker->pinned = true;
        speaker->model = imodel_live;
        speaker->now = imodel_wall;
    }
    look(speaker->session, &speaker->model, speaker->now);
    if (below(4) > 0)
        return;
    must(speaker->session, below(2) ? "COMMIT" : "ROLLBACK", ours);
    speaker->pinned = false;
}

static void write_row(struct vt_session *session)
{
    const unsigned k = below(IMODEL_USERS);
    static const int whole[] = {0, 3, 4, 5}; /* as they are written */
    const int name = some_value(), age = whole[below(4)], city = some_value();
    struct imodel_name key;
    char sql[SQL_MAX] = "INSERT OR REPLACE INTO users(id, name, age, city)"
                        " VALUES('";

    (void)imodel_key(k, &key);
    say(sql, key.text + 2);
    say(sql, "', ");
    say_value(sql, name, false);
    say(sql, ", ");
    say_value(sql, age, false);
    say(sql, ", ");
    say_value(sql, city, false);
    say(sql, ")");
    const kvsql_rc rc = run(session, sql, ours);
    if (imodel_now(k)->kind == IMODEL_OTHER) {
        same_rc(rc, KVSQL_WRONGTYPE, sql);
        return;
    }
    same_rc(rc, KVSQL_OK, sql);
    imodel_clear(&imodel_live.row[k]);
    (void)imodel_hset(k, 0, name, 0);
    (void)imodel_hset(k, 1, age, 0);
    (void)imodel_hset(k, 2, city, 0);
}

static void change_rows(struct vt_session *session)
{
    const bool away = below(3) == 0;
    const int city = some_value();
    unsigned rows[IMODEL_USERS];
    struct imodel_term terms[TERMS];
    char sql[SQL_MAX] = "";

    some_terms(terms);
    if (away) {
        say(sql, "DELETE FROM users WHERE ");
    } else {
        say(sql, "UPDATE users SET name = NULL, city = ");
        say_value(sql, city, false);
        say(sql, " WHERE ");
    }
    say_term(sql, &terms[0]);
    say(sql, " AND ");
    say_term(sql, &terms[1]);
    must(session, sql, ours);
    const unsigned count = rows_of(&imodel_live, imodel_wall, terms, rows);
    for (unsigned i = 0; i < count; i++) {
        if (away) {
            imodel_clear(&imodel_live.row[rows[i]]);
            continue;
        }
        (void)imodel_hset(rows[i], 2, city, KV_KEEP_EXPIRY);
        (void)imodel_hdel(rows[i], 0);
    }
}

/* A transaction with a savepoint, perhaps taken back. */
static void write_sql(void)
{
    struct vt_session *session = speakers[SESSIONS - 1].session;
    const bool save = below(3) == 0, give_up = below(4) == 0;
    struct imodel first, saved;

    release_all();
    if (imodel_live.table < 0)
        return;
    park = false;
    first = imodel_live;
    must(session, "BEGIN", ours);
    for (unsigned i = 0, n = 1 + below(4); i < n; i++) {
        saved = imodel_live;
        if (save && i + 1 == n)
            must(session, "SAVEPOINT s", ours);
        if (below(2) == 0)
            write_row(session);
        else
            change_rows(session);
        look(session, &imodel_live, imodel_wall);
    }
    if (save) {
        must(session, "ROLLBACK TO s", ours);
        imodel_live = saved;
        look(session, &imodel_live, imodel_wall);
    }
    must(session, give_up ? "ROLLBACK" : "COMMIT", ours);
    if (give_up)
        imodel_live = first;
    note_position();
}

/* ---- the walk -------------------------------------------------------------------------- */

static void step(void)
{
    struct reader *reader = &readers[below(VIEWS)];

    switch (below(20)) {
    case 0:
    case 1:
    case 2:
        if (reader->view == NULL)
            reader_begin(reader);
        else
            reader_end(reader);
        break;
    case 3:
        if (below(3) == 0)
            release_all();
        break;
    case 4:
        if (below(3) == 0)
            wal_fails();
        break;
    case 5:
    case 6:
        keeper();
        break;
    case 7:
        imodel_wall += below(60);
        break;
    case 8:
        speak(&speakers[below(SESSIONS - 1)]);
        break;
    case 9:
        write_sql();
        break;
    default:
        batch();
        break;
    }
}

static void check_all(void)
{
    struct kv_txn *txn = begin();
    struct kv_at at;

    kv_at_txn(txn, &at);
    ck_assert_msg(imodel_says(&at, &imodel_live), "%s", imodel_why);
    kv_txn_rollback(txn);
    kv_store_check(store);
}

static void settle(void)
{
    for (unsigned i = 0; i < VIEWS; i++)
        reader_end(&readers[i]);
    release_all();
    park = false;
    while (kv_store_tick(store))
        continue;
    note_position();
    check_all();
}

START_TEST(an_index_says_what_the_model_says_on_every_view)
{
    const char *text = getenv("KVSQL_MODEL_STEPS");
    const uint64_t steps = text != NULL ? strtoull(text, NULL, 10) : STEPS;

    r = rand_of(rand_seed("index", 21));
    for (uint64_t i = 0; i < steps; i++) {
        step();
        if (i % 64 == 0)
            check_all();
        if (i % 1000 == 999)
            settle();
    }
    settle();
    printf(
        "index: %llu looks at an index, %llu at a row; %llu queries, %llu by "
        "index; %llu restores, %llu failures of the wal, %llu views dropped, "
        "%llu refused by STRICT, %llu allocations failed\n",
        (unsigned long long)imodel_indexes, (unsigned long long)imodel_rows,
        (unsigned long long)looks, (unsigned long long)by_index,
        (unsigned long long)restores, (unsigned long long)failures,
        (unsigned long long)views_dropped, (unsigned long long)refusals,
        (unsigned long long)nomems);
    ck_assert_uint_gt(imodel_indexes, steps / 10);
    ck_assert_uint_gt(by_index, steps / 40);
    ck_assert_uint_gt(restores, steps / 100);
    ck_assert_uint_gt(failures, steps / 1000);
    ck_assert_uint_gt(views_dropped, 0);
    ck_assert_uint_gt(refusals, 0);
    ck_assert_uint_gt(nomems, 0);
}
END_TEST

/* Of the table, now. */
static unsigned hashes(void)
{
    unsigned count = 0;

    for (unsigned k = 0; k < IMODEL_USERS; k++)
        count += imodel_live.row[k].kind == IMODEL_HASH &&
                 imodel_shows(&imodel_live.row[k], imodel_wall);
    return count;
}

START_TEST(a_model_with_one_field_changed_is_another)
{
    unsigned seen = 0;
    struct kv_txn *txn;
    struct kv_at at;

    r = rand_of(rand_seed("index control", 22));
    do
        batch();
    while (hashes() < 8);
    txn = begin();
    ck_assert_int_eq(define(txn, "users", ""), KVSQL_OK);
    ck_assert_int_eq(define(txn, "users", imodel_table[0].sql), KVSQL_OK);
    imodel_live.table = 0;
    commit(txn);
    settle();
    txn = begin();
    kv_at_txn(txn, &at);
    for (unsigned k = 0; k < IMODEL_USERS; k++)
        for (int c = 1; c < IMODEL_COLUMNS; c++) {
            struct imodel other = imodel_live;
            struct imodel_field *field = &other.row[k].field[c];
            bool same = true;
            if (other.row[k].kind != IMODEL_HASH ||
                !imodel_shows(&other.row[k], imodel_wall))
                continue;
            field->value = field->value == 3 ? 4 : 3;
            field->at = 0;
            for (int i = 0; i < imodel_table[imodel_live.table].count; i++)
                same = same && imodel_index_says(
                                   &at, &other,
                                   &imodel_table[imodel_live.table].index[i],
                                   (unsigned)i, imodel_wall);
            ck_assert(!same);
            seen++;
        }
    kv_txn_rollback(txn);
    ck_assert_uint_ge(seen, 8 * (IMODEL_COLUMNS - 1));
}
END_TEST

/* ---- running ---------------------------------------------------------------------------- */

static int64_t fake_wall(void *arg)
{
    (void)arg;
    return imodel_wall;
}

static uint64_t fake_boot(void *arg)
{
    (void)arg;
    return (uint64_t)imodel_wall * 1000000u;
}

static kvsql_rc sink_reserve(void *arg, size_t size, struct kvsql_error *e)
{
    (void)arg, (void)size;
    return refuse ? kv_fail(e, KVSQL_NOMEM, "no room") : KVSQL_OK;
}

static void sink_append(void *arg, uint64_t position, const uint8_t *ops,
                        size_t size, uint64_t count)
{
    (void)arg, (void)ops, (void)size, (void)count;
    if (!park)
        kv_store_release_to(store, position);
}

static void setup(void)
{
    const struct kv_sink sink = {.reserve = sink_reserve,
                                 .append = sink_append};
    const struct vt_limits limits = {.trusted = true};
    struct kv_txn *txn;

    clock_os = *kv_os_real();
    clock_os.wall_ms = fake_wall;
    clock_os.boot_ns = fake_boot;
    imodel_wall = 1000000;
    refuse = park = false;
    ck_assert_int_eq(vt_start(&err), KVSQL_OK);
    imodel_init();
    store_fx_open(&clock_os);
    kv_store_sink(store, &sink);
    for (unsigned i = 0; i < SESSIONS; i++)
        ck_assert_int_eq(
            vt_session_open(db, &limits, &speakers[i].session, &err), KVSQL_OK);
    for (unsigned k = 0; k < IMODEL_KEYS; k++)
        imodel_clear(&imodel_live.row[k]);
    imodel_live.table = -1;
    txn = begin();
    ck_assert_int_eq(define(txn, "accounts", imodel_accounts), KVSQL_OK);
    commit(txn);
    history_count = 1;
    release_all();
}

static void teardown(void)
{
    for (unsigned i = 0; i < SESSIONS; i++)
        vt_session_close(speakers[i].session);
    store_fx_close();
}

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 0);
    tcase_add_test(tests, an_index_says_what_the_model_says_on_every_view);
    tcase_add_test(tests, a_model_with_one_field_changed_is_another);
}

int main(void)
{
    return unit_run("indexes of the store", add);
}

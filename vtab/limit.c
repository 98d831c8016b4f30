/* limit.c - the limits of a client's statement: set, apply, name.
 *
 * SQLite says that something is too large and not what to do about it. So the
 * sentence of each limit is known here, and the answer names its key in the
 * configuration and its value. A program of too many steps SQLite reports as
 * no memory; it is told apart because neither the budget nor the allocator
 * (vt_budget) refused anything.
 *
 * Thread: vt_limit_set before the first session; the others the session's. */
#include "vtab/state.h"

#include <string.h>

static const struct limit_row {
    const char *key;
    int sqlite; /* SQLITE_LIMIT_..., -1 for one of our own */
    int value, least;
    const char *sentence;
} limit_rows[VT_LIMIT_COUNT] = {
#define VT_LIMIT(id, key, sqlite, value, least, sentence)                     \
    [VT_LIMIT_##id] = {key, sqlite, value, least, sentence},
#include "vtab/limits.def"
#undef VT_LIMIT
};

static int limit_set[VT_LIMIT_COUNT]; /* 0: as in the table */

void vt_limit_set(enum vt_limit_id id, uint64_t value)
{
    const struct limit_row *row = &limit_rows[id];

    if (value > INT32_MAX) value = INT32_MAX;
    if (value > 0 && value < (uint64_t)row->least) value = (uint64_t)row->least;
    limit_set[id] = (int)value;
}

int vt_limit_get(enum vt_limit_id id)
{
    return limit_set[id] > 0 ? limit_set[id] : limit_rows[id].value;
}

void vt_limit_apply(sqlite3 *sql)
{
    for (unsigned i = 0; i < VT_LIMIT_COUNT; i++)
        if (limit_rows[i].sqlite >= 0)
            (void)sqlite3_limit(sql, limit_rows[i].sqlite,
                                vt_limit_get((enum vt_limit_id)i));
    (void)sqlite3_limit(sql, SQLITE_LIMIT_ATTACHED, 0);
    (void)sqlite3_limit(sql, SQLITE_LIMIT_TRIGGER_DEPTH, 10);
    (void)sqlite3_limit(sql, SQLITE_LIMIT_WORKER_THREADS, 0);
}

/* Whether `text` begins one of the sentences. */
static bool limit_said(const char *sentence, const char *text)
{
    while (*sentence != 0) {
        size_t size = strcspn(sentence, "|");
        if (strncmp(text, sentence, size) == 0) return true;
        sentence += size + (sentence[size] == '|');
    }
    return false;
}

static kvsql_rc limit_fail(enum vt_limit_id id, kvsql_rc rc, const char *text,
                           struct kvsql_error *err)
{
    return kv_fail(err, rc, "%s: the limit %s is %d", text, limit_rows[id].key,
                   vt_limit_get(id));
}

kvsql_rc vt_limit_met(const struct vt_session *session, int code, kvsql_rc rc,
                      const char *text, struct kvsql_error *err)
{
    const struct vt_budget *budget = &session->budget;

    if (session->limits.trusted) return KVSQL_OK;
    if (budget->over)
        return limit_fail(VT_LIMIT_MEMORY, KVSQL_NOMEM,
                          "the statement needs more bytes of memory than it "
                          "may have",
                          err);
    if ((code & 0xff) == SQLITE_NOMEM && !budget->late && !budget->refused)
        return limit_fail(VT_LIMIT_OPS, KVSQL_TOOBIG,
                          "the statement makes a program of too many steps",
                          err);
    for (unsigned i = 0; i < VT_LIMIT_COUNT; i++)
        if (limit_said(limit_rows[i].sentence, text))
            return limit_fail((enum vt_limit_id)i, rc, text, err);
    return KVSQL_OK;
}

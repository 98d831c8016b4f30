/* budget.c - the memory SQLite may use for one session, and the clock that
 * stops it (reliability Q2, Q3).
 *
 * SQLite gets its memory from here. Each block begins with its size. While a
 * thread works for a session, what SQLite takes and gives back counts for that
 * session; over its maximum, or past its deadline (looked at every
 * VBUDGET_CLOCK_EVERY calls), the answer is NULL, the only thing that stops
 * SQLite inside prepare. A session is used by one thread at a time, so its
 * counter needs no lock; the few blocks that SQLite keeps for the process make
 * it inexact by their size.
 *
 * Thread: any; the current budget is the thread's own. */
#include <pthread.h>

#include "kvsql/base/diag.h"
#include "kvsql/base/mem.h"
#include "kvsql/base/os.h"
#include "vtab/state.h"

#include <string.h>

#define VBUDGET_HEADER 16 /* keeps blocks 16-aligned */
#define VBUDGET_CLOCK_EVERY 64

static _Thread_local struct vt_budget *vbudget_current;

struct vt_budget *vt_budget_enter(struct vt_budget *budget)
{
    struct vt_budget *before = vbudget_current;

    vbudget_current = budget;
    return before;
}

void vt_budget_leave(struct vt_budget *before)
{
    vbudget_current = before;
}

/* Whether the current session may have `size` more bytes. */
static bool vbudget_allows(size_t size)
{
    struct vt_budget *budget = vbudget_current;

    if (budget == NULL) return true;
    if (budget->size_max > 0 &&
        (size > (size_t)budget->size_max ||
         budget->size > budget->size_max - (int64_t)size)) {
        budget->over = true;
        return false;
    }
    if (budget->deadline_ns > 0 &&
        ++budget->calls % VBUDGET_CLOCK_EVERY == 0 &&
        kv_os_mono_ns() > budget->deadline_ns) {
        budget->late = true;
        return false;
    }
    return true;
}

static void *vbudget_refused(void)
{
    if (vbudget_current != NULL) vbudget_current->refused = true;
    return NULL;
}

static size_t vbudget_block_size(const void *p)
{
    uint64_t size;

    memcpy(&size, (const uint8_t *)p - VBUDGET_HEADER, sizeof(size));
    return (size_t)size;
}

static void vbudget_count(int64_t size)
{
    if (vbudget_current != NULL) vbudget_current->size += size;
}

static void *vbudget_malloc(int n)
{
    size_t size = (size_t)n;
    uint64_t stored = size;
    uint8_t *block;

    if (n <= 0 || !vbudget_allows(size)) return NULL;
    block = kv_mem_alloc(KV_MEM_MISC, size + VBUDGET_HEADER);
    if (block == NULL) return vbudget_refused();
    memcpy(block, &stored, sizeof(stored));
    vbudget_count((int64_t)size);
    return block + VBUDGET_HEADER;
}

static void vbudget_free(void *p)
{
    size_t size;

    if (p == NULL) return;
    size = vbudget_block_size(p);
    vbudget_count(-(int64_t)size);
    kv_mem_free(KV_MEM_MISC, (uint8_t *)p - VBUDGET_HEADER,
                size + VBUDGET_HEADER);
}

static void *vbudget_realloc(void *p, int n)
{
    size_t size = (size_t)n, before;
    uint64_t stored = size;
    uint8_t *block;

    if (p == NULL) return vbudget_malloc(n);
    before = vbudget_block_size(p);
    if (size > before && !vbudget_allows(size - before)) return NULL;
    block = kv_mem_realloc(KV_MEM_MISC, (uint8_t *)p - VBUDGET_HEADER,
                           before + VBUDGET_HEADER, size + VBUDGET_HEADER);
    if (block == NULL) return vbudget_refused();
    memcpy(block, &stored, sizeof(stored));
    vbudget_count((int64_t)size - (int64_t)before);
    return block + VBUDGET_HEADER;
}

static int vbudget_size(void *p)
{
    return (int)vbudget_block_size(p);
}

static int vbudget_roundup(int n)
{
    return (n + 15) & ~15;
}

static int vbudget_init(void *arg)
{
    (void)arg;
    return SQLITE_OK;
}

static void vbudget_shutdown(void *arg)
{
    (void)arg;
}

static void vbudget_log(void *arg, int code, const char *text)
{
    (void)arg;
    kv_diag(KV_DEBUG, "sql.message", "code=%d text=%s", code, text);
}

static pthread_once_t vbudget_once = PTHREAD_ONCE_INIT;
static int vbudget_started = SQLITE_OK;

static void vbudget_start(void)
{
    static const sqlite3_mem_methods methods = {
        vbudget_malloc,  vbudget_free,     vbudget_realloc, vbudget_size,
        vbudget_roundup, vbudget_init,     vbudget_shutdown, NULL};

    /* sessions count for themselves; SQLite's own count of all would take a
     * lock at each call */
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK)
        kv_diag(KV_WARN, "sql.no_budget",
                "reason=\"SQLite was in use before; statements have no "
                "memory limit of their own\"");
    else
        (void)sqlite3_config(SQLITE_CONFIG_LOG, vbudget_log, NULL);
    vbudget_started = sqlite3_initialize();
}

kvsql_rc vt_start(struct kvsql_error *err)
{
    if (sqlite3_libversion_number() < 3038000)
        return kv_fail(err, KVSQL_INVALID,
                       "sql: SQLite %s is too old, 3.38.0 or later is needed",
                       sqlite3_libversion());
    if (pthread_once(&vbudget_once, vbudget_start) != 0 ||
        vbudget_started != SQLITE_OK)
        return kv_fail(err, KVSQL_NOMEM, "sql: cannot start SQLite: %s",
                       sqlite3_errstr(vbudget_started));
    return KVSQL_OK;
}

void vt_write_deadline(struct vt_session *session)
{
    struct vt_budget *budget = &session->budget;

    if (session->write_until_ns == 0 || session->internal ||
        (budget->deadline_ns > 0 &&
         budget->deadline_ns <= session->write_until_ns))
        return;
    budget->deadline_ns = session->write_until_ns;
    session->write_late = true;
}

bool vt_cancelled(struct vt_session *session)
{
    const struct vt_seen *seen = &session->seen;
    struct kvsql_error ignored;

    if (atomic_load_explicit(&session->cancel, memory_order_relaxed))
        return true;
    if (session->active != NULL && /* the next one has no number yet */
        atomic_load_explicit(&seen->cancelled, memory_order_relaxed) ==
            atomic_load_explicit(&seen->query, memory_order_relaxed))
        return true;
    if (session->budget.deadline_ns > 0 &&
        kv_os_mono_ns() > session->budget.deadline_ns) {
        session->timed_out = true;
        return true;
    }
    return session->pin != NULL && session->txn == NULL &&
           kv_view_ended(session->pin, &ignored) != KVSQL_OK; /* RD7 */
}

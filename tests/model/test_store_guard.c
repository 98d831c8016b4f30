/* test_store_guard.c - two proofs about the store that need the linker's help.
 *
 *   TS6  every block lies alone on a page; what a view can see is made read
 *        only while it is pinned, so a write to it faults.
 *   TS2  negative control: with one announcement of a change left out
 *        (kv_edit), the byte-for-byte comparison after an undo must fail; in
 *        a long txn too, where it must also fail when a block is written that
 *        the LONG view sees. A comparison that still holds would prove
 *        nothing.
 *
 * Linked with --wrap of kv_mem_alloc, kv_mem_free and kv_edit; see Makefile. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kvsql/admin.h"
#include "kvsql/store_private.h"
#include "tests/lib/rand.h"
#include "tests/lib/unit.h"

#define PAGE 4096
#define PAGES_MAX (1u << 18)
#define KEYS 4000

void *__wrap_kv_mem_alloc(enum kv_mem_kind kind, size_t size);
void *__real_kv_mem_alloc(enum kv_mem_kind kind, size_t size);
void __wrap_kv_mem_free(enum kv_mem_kind kind, void *p, size_t size);
void __real_kv_mem_free(enum kv_mem_kind kind, void *p, size_t size);
void __wrap_kv_edit(struct kv_store *store, void *p, size_t n);
void __real_kv_edit(struct kv_store *store, void *p, size_t n);

static bool guard_on;
static uint8_t *guard_base;
static bool guard_used[PAGES_MAX];
static unsigned guard_next;
static uint64_t edit_count, edit_skip; /* UINT64_MAX: none, but counted */
static struct {
    const uint8_t *p;
    size_t n;
    bool again; /* its bytes were announced before */
} edit_seen[64];
static struct kv_key zset_key;

void *__wrap_kv_mem_alloc(enum kv_mem_kind kind, size_t size)
{
    if (!guard_on || kind != KV_MEM_NODE || size > PAGE)
        return __real_kv_mem_alloc(kind, size);
    for (unsigned i = 0; i < PAGES_MAX; i++) {
        const unsigned at = (guard_next + i) % PAGES_MAX;
        if (!guard_used[at]) {
            guard_used[at] = true;
            guard_next = at + 1;
            return guard_base + (size_t)at * PAGE;
        }
    }
    return NULL;
}

static bool guard_is_page(const void *p)
{
    return guard_base != NULL && (const uint8_t *)p >= guard_base &&
           (const uint8_t *)p < guard_base + (size_t)PAGES_MAX * PAGE;
}

void __wrap_kv_mem_free(enum kv_mem_kind kind, void *p, size_t size)
{
    if (!guard_is_page(p)) {
        __real_kv_mem_free(kind, p, size);
        return;
    }
    const size_t at = (size_t)((uint8_t *)p - guard_base) / PAGE;
    ck_assert(guard_used[at]);
    guard_used[at] = false;
    ck_assert_int_eq(mprotect(p, PAGE, PROT_READ | PROT_WRITE), 0);
}

static void edit_note(const uint8_t *p, size_t n)
{
    const uint64_t at = edit_count - 1;

    if (at >= sizeof(edit_seen) / sizeof(edit_seen[0]))
        return;
    edit_seen[at].p = p;
    edit_seen[at].n = n;
    edit_seen[at].again = false;
    for (uint64_t i = 0; i < at; i++)
        if (edit_seen[i].p <= p && p + n <= edit_seen[i].p + edit_seen[i].n)
            edit_seen[at].again = true;
}

void __wrap_kv_edit(struct kv_store *store, void *p, size_t n)
{
    if (edit_skip != 0 && ++edit_count == edit_skip)
        return;
    if (edit_skip == UINT64_MAX)
        edit_note(p, n);
    __real_kv_edit(store, p, n);
}

/* ---- a workload ------------------------------------------------------------ */

static kvsql *db;
static struct rand_state random_state;
static struct kvsql_error err;

static void setup(void)
{
    const struct kvsql_options options = {.no_keeper = true};

    edit_skip = 0;
    zset_key = kv_key_of("z", 1);
    ck_assert_int_eq(
        kv_open_os("", &options, kv_os_real(), NULL, NULL, &db, &err),
        KVSQL_OK);
}

static void teardown(void)
{
    ck_assert_int_eq(kv_close(db, &err), KVSQL_OK);
    guard_on = false;
}

static kvsql_rc one_effect(struct kv_txn *txn, uint64_t n)
{
    char name[64], element[64], bytes[200];
    const int i = (int)(n % KEYS);

    snprintf(name, sizeof(name), i % 2 ? "user:%d:field" : "%x", i * 7919);
    snprintf(element, sizeof(element), "element:%d", (int)(n / 7 % 500));
    memset(bytes, 'b', sizeof(bytes));
    const struct kv_key key = kv_key_of(name, strlen(name));
    const struct kv_key hash = kv_key_of("hash", 4), zset = kv_key_of("z", 1),
                        list = kv_key_of("list", 4),
                        e = kv_key_of(element, strlen(element));
    const kvsql_slice value = {.p = bytes, .size = n % 190};

    switch (n % 7) {
    case 0:
        return kv_del(txn, &key, NULL, &err);
    case 1:
        return kv_hset(txn, &hash, &e, value, 0, NULL, &err);
    case 2:
        return kv_zadd(txn, &zset, &e, (double)(n % 50), NULL, &err);
    case 3:
        return kv_push(txn, &list, n % 2 ? KV_LEFT : KV_RIGHT, value, &err);
    case 4:
        return kv_hdel(txn, &hash, &e, NULL, &err);
    default:
        return kv_set(txn, &key, value, 0, &err);
    }
}

static void run(unsigned effects)
{
    struct kv_txn *txn;

    for (unsigned i = 0; i < effects; i += 4) {
        ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
        for (unsigned k = 0; k < 4; k++)
            ck_assert_int_eq(one_effect(txn, rand_next(&random_state)), KVSQL_OK);
        ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
    }
}

/* ---- TS6 ---------------------------------------------------------------------- */

static void protect_visible(const struct kv_view *view)
{
    for (unsigned i = 0; i < PAGES_MAX; i++) {
        uint8_t *const page = guard_base + (size_t)i * PAGE;
        if (guard_used[i] && *(const uint64_t *)page <= view->gen)
            ck_assert_int_eq(mprotect(page, PAGE, PROT_READ), 0);
    }
}

START_TEST(nothing_that_a_view_sees_is_written)
{
    struct kv_view *view;

    guard_base = mmap(NULL, (size_t)PAGES_MAX * PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(guard_base, MAP_FAILED);
    guard_on = true;
    run(8000);
    for (int round = 0; round < 12; round++) {
        ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
        protect_visible(view);
        run(1500);
        kv_store_tick(kv_db_store(db));
        ck_assert_int_eq(mprotect(guard_base, (size_t)PAGES_MAX * PAGE,
                                  PROT_READ | PROT_WRITE),
                         0);
        kv_unpin(view);
        while (kv_store_tick(kv_db_store(db)))
            continue;
    }
    kv_store_check(kv_db_store(db));
}
END_TEST

/* Effects in one long txn; `before_long` of them are in its log. */
static void run_long(struct kv_txn *txn, unsigned before_long, unsigned effects)
{
    struct kv_store *const store = kv_db_store(db);

    for (unsigned i = 0; i < before_long + effects; i++) {
        ck_assert_int_eq(one_effect(txn, rand_next(&random_state)), KVSQL_OK);
        if (i + 1 == before_long)
            store->undo_txn_max = 0;
        if (i + 1 >= before_long)
            kv_txn_step(txn);
    }
}

START_TEST(nothing_that_a_long_view_sees_is_written)
{
    struct kv_txn *txn;
    struct kv_store *const store = kv_db_store(db);

    guard_base = mmap(NULL, (size_t)PAGES_MAX * PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(guard_base, MAP_FAILED);
    guard_on = true;
    run(8000);
    for (int round = 0; round < 6; round++) {
        ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
        const uint64_t before = kv_store_hash(store);
        run_long(txn, 5, 1);
        ck_assert_uint_ge(txn->longs, 1);
        protect_visible(store->newest);
        store->undo_txn_max = SIZE_MAX; /* no other view */
        for (unsigned i = 0; i < 1500; i++) {
            ck_assert_int_eq(one_effect(txn, rand_next(&random_state)),
                             KVSQL_OK);
            kv_txn_step(txn);
        }
        ck_assert_int_eq(mprotect(guard_base, (size_t)PAGES_MAX * PAGE,
                                  PROT_READ | PROT_WRITE),
                         0);
        if (round % 2) {
            kv_txn_rollback(txn);
            ck_assert_uint_eq(kv_store_hash(store), before);
        } else {
            ck_assert_int_eq(kv_txn_commit(txn, NULL, &err), KVSQL_OK);
        }
        while (kv_store_tick(store))
            continue;
    }
    kv_store_check(store);
}
END_TEST

START_TEST(a_write_to_what_a_view_sees_would_fault)
{
    struct kv_view *view;

    guard_base = mmap(NULL, (size_t)PAGES_MAX * PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    guard_on = true;
    run(100);
    ck_assert_int_eq(kv_pin(db, &view, &err), KVSQL_OK);
    protect_visible(view);
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        struct kv_node *const node = view->root.keys[0];
        signal(SIGSEGV, SIG_DFL);
        node->hint = 0; /* the planted fault */
        _exit(0);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    ck_assert_int_eq(mprotect(guard_base, (size_t)PAGES_MAX * PAGE,
                              PROT_READ | PROT_WRITE),
                     0);
    kv_unpin(view);
}
END_TEST

/* ---- TS2: negative control -------------------------------------------------------- */

/* Does the undo of one insert restore every byte when announcement number
 * `skip` of it is left out? */
static bool undo_is_exact(uint64_t skip)
{
    const struct kv_key key = kv_key_of("user:77777:new", 14);
    struct kv_store *const store = kv_db_store(db);
    struct kv_txn *txn;

    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    const uint64_t before = kv_store_hash(store);
    edit_count = 0;
    edit_skip = skip;
    ck_assert_int_eq(
        kv_set(txn, &key, (kvsql_slice){.p = "v", .size = 1}, 0, &err),
        KVSQL_OK);
    edit_skip = 0;
    ck_assert_uint_ne(kv_store_hash(store), before);
    kv_txn_rollback(txn);
    return kv_store_hash(store) == before;
}

START_TEST(an_undo_is_exact_and_with_any_edit_left_out_it_is_not)
{
    run(4000);
    ck_assert(undo_is_exact(UINT64_MAX)); /* counts the edits */
    const uint64_t edits = edit_count;
    ck_assert_uint_ge(edits, 3);
    for (uint64_t skip = 1; skip <= edits; skip++) {
        int status = 0;
        fflush(NULL); /* the child damages its copy of the store */
        const pid_t pid = fork();
        if (pid == 0)
            _exit(undo_is_exact(skip) ? 0 : 1);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_ne(status, 0);
    }
}
END_TEST

/* A rollback that meets a LONG record. Announcement `skip` of the logged part
 * is left out; or, with `blind`, the writer takes a block that the LONG view
 * sees for its own. */
static bool long_undo_is_exact(uint64_t skip, bool blind)
{
    static const char *const name[] = {"user:1:new", "user:2:new", "3"};
    struct kv_store *const store = kv_db_store(db);
    struct kv_txn *txn;

    ck_assert_int_eq(kv_txn_begin(db, true, 0, &txn, &err), KVSQL_OK);
    const uint64_t before = kv_store_hash(store);
    edit_count = 0;
    edit_skip = skip;
    store->undo_txn_max = 0;
    for (unsigned i = 0; i < 3; i++) {
        const struct kv_key key = kv_key_of(name[i], strlen(name[i]));
        const char *const other = name[2 - i];
        const struct kv_key member = kv_key_of(other, strlen(other));
        if (i == 1) { /* takes the view: all before is in the log */
            kv_txn_step(txn);
            ck_assert_uint_eq(txn->longs, 1);
            edit_skip = 0;
        }
        if (i == 1 && blind)
            store->viewgen = 0;
        ck_assert_int_eq(kv_set(txn, &key,
                                (kvsql_slice){.p = "v", .size = 1},
                                i > 0 ? INT64_MAX : 0, &err),
                         KVSQL_OK); /* the tally changes behind LONG alone */
        ck_assert_int_eq(kv_zadd(txn, &zset_key, &member, 77 + i, NULL, &err),
                         KVSQL_OK);
        if (i == 1 && blind)
            store->viewgen = store->newest->gen;
    }
    ck_assert_uint_ne(kv_store_hash(store), before);
    kv_txn_step(txn);
    kv_txn_rollback(txn);
    ck_assert_uint_eq(txn->longs, 0);
    return kv_store_hash(store) == before;
}

static bool long_undo_fails(uint64_t skip, bool blind)
{
    int status = 0;

    fflush(NULL); /* the child damages its copy of the store */
    const pid_t pid = fork();
    if (pid == 0)
        _exit(long_undo_is_exact(skip, blind) ? 0 : 1);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status != 0;
}

START_TEST(a_long_undo_is_exact_and_with_a_slip_it_is_not)
{
    run(4000);
    ck_assert(long_undo_is_exact(UINT64_MAX, false)); /* counts the edits */
    const uint64_t edits = edit_count;
    ck_assert_uint_ge(edits, 8);
    ck_assert_uint_lt(edits, sizeof(edit_seen) / sizeof(edit_seen[0]));
    for (uint64_t skip = 1; skip <= edits; skip++)
        ck_assert_msg(edit_seen[skip - 1].again || long_undo_fails(skip, false),
                      "edit %llu of %llu", (unsigned long long)skip,
                      (unsigned long long)edits);
    ck_assert(!long_undo_fails(0, false));
    ck_assert(long_undo_fails(0, true));
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, nothing_that_a_view_sees_is_written);
    tcase_add_test(tests, nothing_that_a_long_view_sees_is_written);
    tcase_add_test(tests, a_write_to_what_a_view_sees_would_fault);
    tcase_add_test(tests,
                   an_undo_is_exact_and_with_any_edit_left_out_it_is_not);
    tcase_add_test(tests, a_long_undo_is_exact_and_with_a_slip_it_is_not);
}

int main(void)
{
    random_state = rand_of(rand_seed("store_guard", 42));
    return unit_run("store under guard", add);
}

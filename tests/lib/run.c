/* run.c - numbered writes and the state that they must leave.
 *
 * Thread: see the header. */
#include "kvsql/admin.h"
#include "tests/lib/run.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#define RUN_PATIENCE_MS 120000

void run_init(struct run *run, uint64_t seed, enum kvsql_fsync fsync)
{
    memset(run, 0, sizeof(*run));
    run->fake = fakeos_new(seed);
    run->options.fsync = fsync;
    run->options.wal_segment_size = 1024;
    run->options.no_keeper = true;
}

kvsql_rc run_open(struct run *run)
{
    return kv_open_os("data", &run->options, fakeos_os(run->fake), NULL, NULL,
                      &run->db, &run->err);
}

kvsql_rc run_close(struct run *run)
{
    kvsql_rc rc = KVSQL_OK;

    if (run->db != NULL) {
        rc = kv_close(run->db, &run->err);
    }
    run->db = NULL;
    return rc;
}

void run_fini(struct run *run)
{
    (void)run_close(run);
    fakeos_free(run->fake);
}

/* Commit one number; *ticket is what it waits for. */
static kvsql_rc run_commit(struct run *run, int number,
                           struct kv_ticket *ticket)
{
    char key[16], value[16];
    struct kv_txn *txn;

    const int key_size = snprintf(key, sizeof(key), "k%d", number % RUN_KEYS);
    const int size = snprintf(value, sizeof(value), "%d", number);
    const struct kv_key k = kv_key_of(key, (size_t)key_size);
    kvsql_rc rc = kv_txn_begin(run->db, true, 0, &txn, &run->err);
    if (rc != KVSQL_OK) {
        return rc;
    }
    rc = kv_set(txn, &k, (kvsql_slice){value, (size_t)size}, 0, &run->err);
    if (rc != KVSQL_OK) {
        kv_txn_rollback(txn);
        return rc;
    }
    return kv_txn_commit(txn, ticket, &run->err);
}

kvsql_rc run_put(struct run *run, int number)
{
    const bool turn = number % 2 != 0;
    struct kv_ticket ticket;
    kvsql_rc rc;

    if (turn) {
        kv_turn_begin(run->db);
    }
    rc = run_commit(run, number, &ticket);
    if (turn) {
        kv_turn_end(run->db);
    }
    if (rc != KVSQL_OK) {
        return rc;
    }
    ck_assert_uint_lt(ticket.position, RUN_PUTS_MAX);
    run->before[ticket.position] = run->at[ticket.position];
    run->at[ticket.position] = number + 1;
    run->last = ticket.position;
    rc = kv_gate_wait(run->db, ticket, &run->err);
    if (rc == KVSQL_OK) {
        run->acked = ticket.position;
    }
    return rc;
}

bool run_is_prefix(struct run *run, bool old)
{
    int want[RUN_KEYS] = {0};
    struct kv_view *view;
    struct kv_info info;
    struct kv_at at;
    bool good = true;

    kv_info_get(run->db, &info);
    for (uint64_t p = 1; p <= info.position; p++) {
        const int put = old && p > run->acked && run->before[p]
                            ? run->before[p]
                            : run->at[p];
        if (put == 0) {
            return false;
        }
        want[(put - 1) % RUN_KEYS] = put;
    }
    ck_assert_int_eq(kv_pin(run->db, &view, &run->err), KVSQL_OK);
    kv_at_view(view, &at);
    for (int k = 0; k < RUN_KEYS; k++) {
        char key[16];
        const int size = snprintf(key, sizeof(key), "k%d", k);
        const struct kv_key name = kv_key_of(key, (size_t)size);
        struct kv_item item;
        struct kv_val value;

        if (!kv_get(&at, &name, &item)) {
            good = good && want[k] == 0;
            continue;
        }
        kv_item_string(&item, &value);
        good = good && value.is_int && value.number == want[k] - 1;
    }
    kv_unpin(view);
    return good;
}

void run_check(struct run *run, const char *what, uint64_t n)
{
    ck_assert_msg(run_is_prefix(run, false) || run_is_prefix(run, true),
                  "%s %llu: not the state at one position", what,
                  (unsigned long long)n);
}

uint64_t run_position(struct run *run)
{
    struct kv_info info;

    kv_info_get(run->db, &info);
    return info.position;
}

void run_wait_state(struct run *run, const char *state)
{
    struct kv_info info;

    for (int i = 0; i < RUN_PATIENCE_MS; i++) {
        kv_info_get(run->db, &info);
        if (strcmp(info.wal_state, state) == 0) {
            return;
        }
        kv_os_sleep_ms(1);
    }
    ck_abort_msg("the wal is %s and not %s", info.wal_state, state);
}

/* test_path.c - the way to a key that a txn keeps from a lookup to the change:
 * whatever is changed, taken back, pinned or let go in between, lookups and
 * changes agree with a plain table of what should be there. */
#include <stdio.h>
#include <string.h>

#include "tests/lib/rand.h"
#include "tests/lib/store_fx.h"

#define PATH_KEYS 1500
#define PATH_STEPS 40000
#define PATH_VALUE_MAX 240
#define PATH_VIEWS 3

/* Number of the value of each key; 0: it is not there. */
struct path_model {
    unsigned value[PATH_KEYS];
};
static struct path_model now, begun, marked;
static struct kv_view *views[PATH_VIEWS];
static struct kv_mark mark;
static bool has_mark;
static unsigned last_value;
static struct rand_state state;

static unsigned path_random(unsigned below)
{
    return (unsigned)rand_below(&state, below);
}

/* Every third is a BLOB; all of a class share a beginning. */
static struct kv_key path_key(unsigned i, char buffer[16])
{
    const int size = snprintf(buffer, 16, "%ckey:%05u", i % 3 == 0 ? 0xff : 'a',
                              i * 7919u % 99991u);

    return kv_key_of(buffer, (size_t)size);
}

static size_t path_value(unsigned number, char out[PATH_VALUE_MAX])
{
    const size_t size = number * 31 % PATH_VALUE_MAX;

    for (size_t i = 0; i < size; i++)
        out[i] = (char)('a' + (number + i) % 26);
    return size;
}

static void path_expect(bool found, const struct kv_item *item, unsigned i)
{
    char wanted[PATH_VALUE_MAX];
    struct kv_val value;

    ck_assert_int_eq(found, now.value[i] != 0);
    if (!found)
        return;
    const size_t size = path_value(now.value[i], wanted);
    kv_item_string(item, &value);
    ck_assert_uint_eq(value.size, size);
    ck_assert(memcmp(value.p, wanted, size) == 0);
}

/* Beside the one before, or anywhere. */
static unsigned path_pick(unsigned i)
{
    return path_random(4) > 0 ? (i + path_random(3)) % PATH_KEYS
                                 : path_random(PATH_KEYS);
}

static void path_set(struct kv_txn *txn, unsigned i, bool fresh)
{
    char buffer[16], bytes[PATH_VALUE_MAX];
    const struct kv_key key = path_key(i, buffer);
    const size_t size = path_value(last_value + 1, bytes);
    const kvsql_slice value = {bytes, size};
    bool existed = false;

    ck_assert_int_eq(fresh ? kv_set_new(txn, &key, value, 0, &existed, &err)
                           : kv_set(txn, &key, value, 0, &err),
                     KVSQL_OK);
    if (fresh)
        ck_assert_int_eq(existed, now.value[i] != 0);
    if (!existed)
        now.value[i] = ++last_value;
}

static void path_change(struct kv_txn *txn, unsigned i)
{
    char buffer[16], other[16];
    const struct kv_key key = path_key(i, buffer);
    const unsigned j = path_random(PATH_KEYS);
    const struct kv_key to = path_key(j, other);
    bool existed;

    switch (path_random(8)) {
    case 0:
    case 1: path_set(txn, i, false); break;
    case 2:
    case 3: path_set(txn, i, true); break;
    case 4:
    case 5:
        ck_assert_int_eq(kv_del_as(txn, &key, KV_STRING, &existed, &err),
                         KVSQL_OK);
        ck_assert_int_eq(existed, now.value[i] != 0);
        now.value[i] = 0;
        break;
    case 6: /* in the past: gone */
        ck_assert_int_eq(kv_expire(txn, &key, 1, &err),
                         now.value[i] != 0 ? KVSQL_OK : KVSQL_NOTFOUND);
        now.value[i] = 0;
        break;
    default:
        ck_assert_int_eq(kv_rename(txn, &key, &to, &err),
                         now.value[i] != 0 ? KVSQL_OK : KVSQL_NOTFOUND);
        if (now.value[i] == 0 || i == j)
            break;
        now.value[j] = now.value[i];
        now.value[i] = 0;
    }
}

/* Go back to a mark or make one. */
static void path_mark(struct kv_txn *txn)
{
    if (has_mark) {
        kv_txn_restore(txn, mark);
        now = marked;
    } else {
        mark = kv_txn_mark(txn);
        marked = now;
    }
    has_mark = !has_mark;
}

static void path_end(struct kv_txn **txn)
{
    if (path_random(3) > 0) {
        commit(*txn);
        begun = now;
    } else {
        kv_txn_rollback(*txn);
        now = begun;
    }
    const unsigned v = path_random(PATH_VIEWS);
    kv_unpin(views[v]);
    views[v] = NULL;
    if (path_random(2) > 0)
        ck_assert_int_eq(kv_pin(db, &views[v], &err), KVSQL_OK);
    if (path_random(4) == 0)
        (void)kv_store_tick(store);
    if (path_random(16) == 0)
        kv_store_check(store);
    has_mark = false;
    *txn = begin();
}

START_TEST(what_is_looked_for_and_changed_is_what_is_there)
{
    struct kv_txn *txn;
    unsigned i = 0;

    state = rand_of(rand_seed("path", 5));
    store_fx_open(kv_os_real());
    txn = begin();
    for (unsigned step = 0; step < PATH_STEPS; step++) {
        char buffer[16];
        struct kv_item item;
        i = path_pick(i);
        const struct kv_key key = path_key(i, buffer);
        if (path_random(4) > 0)
            path_expect(kv_txn_get(txn, &key, path_random(4) > 0, &item),
                        &item, i);
        if (path_random(8) == 0)
            i = path_random(PATH_KEYS); /* another than was looked for */
        if (path_random(3) > 0)
            path_change(txn, i);
        if (path_random(40) == 0)
            path_mark(txn);
        if (path_random(60) == 0)
            path_end(&txn);
    }
    commit(txn);
    for (unsigned v = 0; v < PATH_VIEWS; v++)
        kv_unpin(views[v]);
    store_fx_close();
}
END_TEST

START_TEST(a_new_string_takes_the_place_of_one_whose_time_has_come)
{
    const struct kv_key key = kv_key_of("k", 1);
    const kvsql_slice a = {"a", 1};
    struct kv_item item;
    struct kv_txn *txn;
    bool existed;

    store_fx_open(kv_os_real());
    txn = begin();
    ck_assert_int_eq(kv_set_new(txn, &key, a, 0, &existed, &err), KVSQL_OK);
    ck_assert(!existed);
    ck_assert_int_eq(kv_set_new(txn, &key, a, 0, &existed, &err), KVSQL_OK);
    ck_assert(existed);
    ck_assert_uint_eq(kv_txn_count(txn), 1);
    txn->now = 1000;
    ck_assert_int_eq(kv_expire(txn, &key, 2000, &err), KVSQL_OK);
    txn->now = 3000;
    ck_assert_int_eq(kv_set_new(txn, &key, a, 0, &existed, &err), KVSQL_OK);
    ck_assert(!existed);
    ck_assert_uint_eq(kv_txn_count(txn), 3); /* the op of SETNX: no DEL before */
    ck_assert(kv_txn_get(txn, &key, true, &item));
    ck_assert_int_eq(item.expires_at, 0);
    ck_assert_int_eq(kv_set_new(txn, &key, a, 2000, &existed, &err), KVSQL_OK);
    ck_assert(existed);
    ck_assert_int_eq(kv_del_as(txn, &key, KV_HASH, &existed, &err),
                     KVSQL_WRONGTYPE);
    commit(txn);
    store_fx_close();
}
END_TEST

static void add(TCase *tests)
{
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, what_is_looked_for_and_changed_is_what_is_there);
    tcase_add_test(tests,
                   a_new_string_takes_the_place_of_one_whose_time_has_come);
}

int main(void)
{
    return unit_run("path", add);
}

/* test_plist.c - large lists against an array of numbers.
 *
 * Each element is a number whose bytes value_of() makes, so the model is a
 * plain array that is copied for marks and views. The store is one made by
 * hand around the real undo log; a view is taken by raising viewgen, so that
 * nothing that exists is owned any more, and is never released. */
#include "kvsql/plist.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "kvsql/base/mem.h"
#include "kvsql/store_private.h"
#include "tests/lib/rand.h"

#define MODEL_MAX 6000
#define VIEWS_MAX 4
#define VALUE_MAX 700

struct model {
    uint32_t id[MODEL_MAX];
    uint64_t count;
};

struct old_view {
    struct kv_tree *tree;
    struct model model;
    uint64_t hash;
};

static struct fixture {
    struct kv_store store;
    struct kv_tree *tree;
    struct model model, saved;
    struct old_view view[VIEWS_MAX];
    unsigned views;
    struct rand_state rand;
} fx;

/* ---- values --------------------------------------------------------------- */

static struct kv_key value_of(uint32_t id, uint8_t *buffer)
{
    struct rand_state r = rand_of(id);
    uint32_t size = 0;

    switch (id % 8) {
    case 0:
        return (struct kv_key){buffer, 0, KV_TEXT};
    case 1:
    case 2: /* an integer */
        size = (uint32_t)snprintf((char *)buffer, VALUE_MAX, "%lld",
                                  (long long)((int64_t)rand_next(&r) >>
                                              rand_below(&r, 64)));
        return (struct kv_key){buffer, size, KV_TEXT};
    case 3:
        size = (uint32_t)rand_between(&r, 100, 140);
        break;
    case 4:
        size = (uint32_t)rand_between(&r, 1, VALUE_MAX);
        break;
    default:
        size = (uint32_t)rand_between(&r, 1, 20);
        break;
    }
    for (uint32_t i = 0; i < size; i++) {
        buffer[i] = (uint8_t)('a' + rand_below(&r, 26));
    }
    if (id % 16 > 12) { /* a BLOB */
        buffer[size - 1] = 0xff;
        return (struct kv_key){buffer, size, KV_BLOB};
    }
    return (struct kv_key){buffer, size, KV_TEXT};
}

static void check_value(const struct kv_val *val, uint32_t id)
{
    uint8_t buffer[VALUE_MAX];
    const struct kv_key want = value_of(id, buffer);

    if (val->size != want.size || val->cls != want.cls ||
        memcmp(val->p, want.p, want.size) != 0 || val->p[val->size] != 0) {
        ck_abort_msg("value %u differs", id);
    }
}

/* ---- fixture -------------------------------------------------------------- */

static void fixture_open(uint64_t seed)
{
    memset(&fx, 0, sizeof(fx));
    fx.rand = rand_of(seed);
    fx.store.gen = UINT64_C(1) << KV_GEN_SHIFT;
    ck_assert(kv_room(&fx.store, KV_ROOM_STEP, KV_ROOM_BLOCKS));
    fx.tree = kv_tree_block_new(&fx.store);
    ck_assert_ptr_nonnull(fx.tree);
}

static void free_list(struct kv_list *list)
{
    struct kv_list_entry entry;

    while (kv_list_pop(&fx.store, list, &entry, UINT64_MAX)) {
        kv_block_free(entry.block);
    }
}

/* Remove the rest, free everything that was ever retired: nothing remains. */
static void fixture_close(void)
{
    ck_assert(kv_room(&fx.store, KV_ROOM_STEP, KV_ROOM_BLOCKS));
    if (!kv_owned(&fx.store, fx.tree)) {
        struct kv_tree *const copy = kv_block_copy(&fx.store, fx.tree);
        kv_retire(&fx.store, fx.tree);
        fx.tree = copy;
    }
    ck_assert_int_eq(
        kv_plist_remove(&fx.store, fx.tree, 0, fx.tree->count[0]), KVSQL_OK);
    ck_assert_ptr_null(fx.tree->root[2]);
    ck_assert_uint_eq(kv_plist_check(fx.tree), 0);
    kv_block_free(fx.tree);
    free_list(&fx.store.pend);
    free_list(&fx.store.dead);
    ck_assert_uint_eq(kv_mem_bytes(KV_MEM_NODE), 0);
    while (fx.store.spare != NULL) {
        struct kv_list_chunk *const chunk = fx.store.spare;

        fx.store.spare = chunk->next;
        kv_list_chunk_free(chunk);
    }
    kv_undo_fini(&fx.store);
    ck_assert_uint_eq(kv_mem_bytes(KV_MEM_UNDO), 0);
}

/* ---- hash of all bytes that count ------------------------------------------- */

static uint64_t hash_bytes(uint64_t hash, const void *p, size_t size)
{
    const uint8_t *at = p;

    for (; size >= 8; size -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }
    for (; size > 0; size--, at++) {
        hash = (hash ^ *at) * UINT64_C(0x100000001b3);
    }
    return hash;
}

static void hash_blob(void *arg, struct kv_blob *blob)
{
    uint64_t *const hash = arg;

    *hash = hash_bytes(*hash, blob, sizeof(*blob) + blob->len + 1);
}

static uint64_t hash_node(uint64_t hash, const struct kv_node *node)
{
    uint32_t size;

    hash = hash_bytes(hash, node, sizeof(*node));
    if (node->level == 0) {
        const uint8_t *const items = kv_plist_leaf_items(node, &size);

        hash = hash_bytes(hash, items, size);
        kv_plist_leaf_blobs(node, hash_blob, &hash);
        return hash;
    }
    return hash_bytes(hash, node + 1, node->n * sizeof(struct kv_pos_slot));
}

/* Of a tree and all below, in any order that is the same each time. */
static uint64_t hash_tree(const struct kv_tree *tree)
{
    struct kv_cursor_step path[KV_HEIGHT_MAX];
    unsigned depth = 0;
    uint64_t hash = hash_bytes(1, tree, sizeof(*tree));

    if (tree->root[2] == NULL) {
        return hash;
    }
    path[0] = (struct kv_cursor_step){tree->root[2], 0};
    for (;;) {
        struct kv_cursor_step *const step = &path[depth];

        if (step->node->level > 0 && step->index < step->node->n) {
            const struct kv_pos_slot *const slots =
                (const struct kv_pos_slot *)(const void *)(step->node + 1);

            path[depth + 1] =
                (struct kv_cursor_step){slots[step->index++].child, 0};
            depth++;
            continue;
        }
        hash = hash_node(hash, step->node);
        if (depth == 0) {
            return hash;
        }
        depth--;
    }
}

/* ---- comparing -------------------------------------------------------------- */

static void check_list(const struct kv_tree *tree, const struct model *m)
{
    struct kv_walk walk;
    struct kv_val val;
    uint32_t offset = 0;
    uint64_t i = 0;

    ck_assert_uint_eq(tree->count[0], m->count);
    kv_plist_check(tree);
    ck_assert(!kv_plist_get(tree, m->count, &val));
    ck_assert(!kv_plist_seek(tree, m->count, &walk, &offset));
    if (m->count == 0) {
        return;
    }
    ck_assert(kv_plist_seek(tree, 0, &walk, &offset));
    do {
        kv_plist_item(&walk, offset, &val);
        check_value(&val, m->id[i++]);
    } while (kv_plist_next(&walk, &offset));
    ck_assert_uint_eq(i, m->count);
}

/* The same read some at a time, from anywhere. */
static void check_parts(const struct kv_tree *tree, const struct model *m,
                        uint64_t from, uint32_t max)
{
    struct kv_val part[70];
    struct kv_walk walk;
    uint32_t offset, n;
    uint64_t i = from;

    ck_assert(max > 0 && max <= sizeof(part) / sizeof(part[0]));
    ck_assert(kv_plist_seek(tree, from, &walk, &offset));
    do {
        n = kv_plist_read(&walk, &offset, part, max);
        ck_assert_uint_eq(n, m->count - i < max ? m->count - i : max);
        for (uint32_t j = 0; j < n; j++)
            check_value(&part[j], m->id[i++]);
    } while (n == max);
    ck_assert_uint_eq(i, m->count);
    ck_assert(!walk.valid);
}

static void check_back_from(const struct kv_tree *tree, const struct model *m,
                            uint64_t from, unsigned steps)
{
    struct kv_walk walk;
    struct kv_val val;
    uint32_t offset;
    uint64_t i = from;
    bool more;

    ck_assert(kv_plist_seek(tree, from, &walk, &offset));
    do {
        kv_plist_item(&walk, offset, &val);
        check_value(&val, m->id[i]);
        more = kv_plist_prev(&walk, &offset);
        ck_assert_int_eq(more, i > 0);
        i--;
    } while (more && steps-- > 0);
}

/* ---- changing both ------------------------------------------------------------ */

static void both_own(void)
{
    if (!kv_owned(&fx.store, fx.tree)) {
        ck_assert(kv_room(&fx.store, KV_ROOM_STEP, KV_ROOM_BLOCKS));
        struct kv_tree *const copy = kv_block_copy(&fx.store, fx.tree);
        ck_assert_ptr_nonnull(copy);
        kv_retire(&fx.store, fx.tree);
        fx.tree = copy;
    }
}

static void both_insert(uint64_t index, uint32_t id)
{
    uint8_t buffer[VALUE_MAX];
    const struct kv_key value = value_of(id, buffer);
    struct model *const m = &fx.model;

    ck_assert_int_eq(kv_plist_insert(&fx.store, fx.tree, index, &value),
                     KVSQL_OK);
    memmove(&m->id[index + 1], &m->id[index],
            (m->count - index) * sizeof(m->id[0]));
    m->id[index] = id;
    m->count++;
}

static void both_set(uint64_t index, uint32_t id)
{
    uint8_t buffer[VALUE_MAX];
    const struct kv_key value = value_of(id, buffer);

    ck_assert_int_eq(kv_plist_set(&fx.store, fx.tree, index, &value), KVSQL_OK);
    fx.model.id[index] = id;
}

static void both_remove(uint64_t index, uint64_t count)
{
    struct model *const m = &fx.model;

    ck_assert_int_eq(kv_plist_remove(&fx.store, fx.tree, index, count),
                     KVSQL_OK);
    memmove(&m->id[index], &m->id[index + count],
            (m->count - index - count) * sizeof(m->id[0]));
    m->count -= count;
}

/* Left end, right end, or anywhere in 0..n. */
static uint64_t some_place(uint64_t n)
{
    switch (rand_below(&fx.rand, 3)) {
    case 0:
        return 0;
    case 1:
        return n;
    default:
        return rand_below(&fx.rand, n + 1);
    }
}

/* `grow`: inserts in ten. */
static void both_step(uint64_t grow)
{
    const uint64_t n = fx.model.count;
    const uint64_t choice = rand_below(&fx.rand, 10);
    const uint32_t id = (uint32_t)rand_next(&fx.rand);

    both_own();
    if ((choice < grow && n < MODEL_MAX) || n == 0) {
        both_insert(some_place(n), id);
    } else if (choice == 9) {
        both_set(some_place(n - 1), id);
    } else {
        const uint64_t at = some_place(n - 1);
        uint64_t most = n - at;

        if (most > 3 && !rand_one_in(&fx.rand, 60)) {
            most = 3;
        }
        both_remove(at, rand_between(&fx.rand, 1, most));
    }
}

static void take_view(void)
{
    struct old_view *const view = &fx.view[fx.views++];

    view->tree = fx.tree;
    view->model = fx.model;
    view->hash = hash_tree(fx.tree);
    fx.store.viewgen =
        fx.store.gen | ((UINT64_C(1) << KV_GEN_SHIFT) - 1);
    fx.store.gen += UINT64_C(1) << KV_GEN_SHIFT;
}

/* A mark, some changes, and back: every byte is as it was. */
static void step_and_undo(uint64_t grow)
{
    struct kv_tree *const tree = fx.tree;
    const uint64_t mark = kv_undo_mark(&fx.store);
    const uint64_t hash = hash_tree(tree);
    const uint64_t blocks = kv_mem_blocks(KV_MEM_NODE);
    const uint64_t steps = rand_between(&fx.rand, 1, 60);

    fx.saved = fx.model;
    for (uint64_t i = 0; i < steps; i++) {
        both_step(grow);
    }
    kv_undo_to(&fx.store, mark, UINT64_MAX);
    fx.tree = tree;
    fx.model = fx.saved;
    ck_assert_uint_eq(hash_tree(tree), hash);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_NODE), blocks);
    check_list(tree, &fx.model);
}

enum { WITH_VIEWS = 1, WITH_UNDO = 2 };

static void run_random(uint64_t seed, unsigned with, unsigned steps)
{
    struct kv_val val;

    fixture_open(seed);
    for (unsigned i = 0; i < steps; i++) {
        const uint64_t grow = i / (steps / 6) % 2 == 0 ? 7 : 3;

        both_step(grow);
        if (fx.model.count > 0) {
            const uint64_t at = rand_below(&fx.rand, fx.model.count);

            ck_assert(kv_plist_get(fx.tree, at, &val));
            check_value(&val, fx.model.id[at]);
        }
        if (i % 64 == 0 && fx.model.count > 0) {
            check_list(fx.tree, &fx.model);
            check_back_from(fx.tree, &fx.model, fx.model.count - 1, 40);
            check_parts(fx.tree, &fx.model, fx.model.count / 3, 7);
        }
        if ((with & WITH_UNDO) && rand_one_in(&fx.rand, 40)) {
            step_and_undo(grow);
        }
        if ((with & WITH_VIEWS) && fx.views < VIEWS_MAX &&
            rand_one_in(&fx.rand, steps / 8)) {
            take_view();
        }
    }
    check_list(fx.tree, &fx.model);
    if (fx.model.count > 0) {
        check_back_from(fx.tree, &fx.model, fx.model.count - 1, UINT32_MAX);
        check_parts(fx.tree, &fx.model, 0, 70);
    }
    for (unsigned i = 0; i < fx.views; i++) {
        ck_assert_uint_eq(hash_tree(fx.view[i].tree), fx.view[i].hash);
        check_list(fx.view[i].tree, &fx.view[i].model);
    }
    fixture_close();
}

/* ---- tests ---------------------------------------------------------------- */

START_TEST(random_changes_agree_with_an_array)
{
    const uint64_t seed = rand_seed("plist", 11);

    for (uint64_t i = 0; i < 4; i++) {
        run_random(seed + i, 0, 6000);
    }
}
END_TEST

START_TEST(what_a_view_sees_never_changes)
{
    const uint64_t seed = rand_seed("plist", 22);

    for (uint64_t i = 0; i < 4; i++) {
        run_random(seed + i, WITH_VIEWS, 4000);
    }
}
END_TEST

START_TEST(an_undo_brings_every_byte_back)
{
    const uint64_t seed = rand_seed("plist", 33);

    for (uint64_t i = 0; i < 4; i++) {
        run_random(seed + i, WITH_VIEWS | WITH_UNDO, 2500);
    }
}
END_TEST

static const struct kv_key EIGHT = {(const uint8_t *)"abcdefgh", 8, KV_TEXT};

/* Pushes at either end, both, or as a queue, of 8-byte items. */
static void push_many(unsigned how, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t n = fx.tree->count[0];
        const bool left = how == 1 || (how == 2 && i % 2 == 0);

        ck_assert_int_eq(
            kv_plist_insert(&fx.store, fx.tree, left ? 0 : n, &EIGHT),
            KVSQL_OK);
        if (how == 3 && n > count / 3) {
            ck_assert_int_eq(kv_plist_remove(&fx.store, fx.tree, 0, 1),
                             KVSQL_OK);
        }
        kv_undo_trim(&fx.store);
        free_list(&fx.store.pend);
    }
}

START_TEST(pushes_at_an_edge_fill_the_leaves)
{
    fixture_open(1);
    push_many((unsigned)_i, 60000);
    kv_plist_check(fx.tree);
    const double per_item =
        (double)fx.tree->bytes / (double)fx.tree->count[0];
    /* 10 bytes an item; the rest is headers, which small nodes have more of */
    ck_assert_double_le(per_item, KV_LEAF_MAX >= 2048 ? 10.4 : 12.5);
    fixture_close();
}
END_TEST

START_TEST(a_range_goes_leaf_by_leaf_and_the_tree_shrinks)
{
    fixture_open(1);
    push_many(0, 50000);
    ck_assert_uint_gt(((struct kv_node *)fx.tree->root[2])->level, 0);
    ck_assert_int_eq(kv_plist_remove(&fx.store, fx.tree, 17, 49900), KVSQL_OK);
    ck_assert_uint_eq(fx.tree->count[0], 100);
    kv_plist_check(fx.tree);
    ck_assert_uint_le(fx.tree->bytes, 2 * KV_LEAF_MAX + 1536);
    fixture_close();
}
END_TEST

/* One change while the n-th allocation fails: NOMEM and everything back, or
 * done. Returns false when it was done. */
static bool change_with_failure(unsigned what, uint64_t n)
{
    uint8_t buffer[VALUE_MAX];
    const struct kv_key value =
        what % 2 ? value_of(4, buffer) : value_of(11, buffer);
    const uint64_t count = fx.tree->count[0], hash = hash_tree(fx.tree);
    const uint64_t mark = kv_undo_mark(&fx.store);
    const uint64_t blocks = kv_mem_blocks(KV_MEM_NODE);
    kvsql_rc rc;

    kv_mem_fail_at(n, 0);
    switch (what / 2) {
    case 0:
        rc = kv_plist_insert(&fx.store, fx.tree, 0, &value);
        break;
    case 1:
        rc = kv_plist_insert(&fx.store, fx.tree, count, &value);
        break;
    case 2:
        rc = kv_plist_insert(&fx.store, fx.tree, count / 2, &value);
        break;
    case 3:
        rc = kv_plist_set(&fx.store, fx.tree, count / 3, &value);
        break;
    default:
        rc = kv_plist_remove(&fx.store, fx.tree, count / 4, count / 2);
        break;
    }
    const bool failed = kv_mem_failed();
    kv_mem_fail_at(0, 0);
    ck_assert_int_eq(rc, failed ? KVSQL_NOMEM : KVSQL_OK);
    kv_plist_check(failed ? fx.view[0].tree : fx.tree);
    kv_undo_to(&fx.store, mark, UINT64_MAX);
    ck_assert_uint_eq(hash_tree(fx.tree), hash);
    ck_assert_uint_eq(kv_mem_blocks(KV_MEM_NODE), blocks);
    kv_plist_check(fx.tree);
    return failed;
}

START_TEST(a_failed_allocation_at_any_place_can_be_taken_back)
{
    unsigned failures = 0;

    fixture_open(rand_seed("plist", 44));
    for (unsigned i = 0; i < 5000; i++) {
        both_insert(rand_below(&fx.rand, fx.model.count + 1),
                    (uint32_t)rand_next(&fx.rand));
    }
    take_view();
    for (unsigned round = 0; round < 40; round++) {
        both_own();
        for (unsigned what = 0; what < 10; what++) {
            for (uint64_t n = 1; change_with_failure(what, n); n++) {
                failures++;
            }
        }
        for (unsigned i = 0; i < 20; i++) {
            both_step(8);
        }
    }
    ck_assert_uint_gt(failures, 400);
    check_list(fx.tree, &fx.model);
    fixture_close();
}
END_TEST

START_TEST(a_full_list_refuses_one_more)
{
    const struct kv_key value = EIGHT;

    fixture_open(1);
    fx.tree->count[0] = UINT32_MAX;
    ck_assert_int_eq(kv_plist_insert(&fx.store, fx.tree, 0, &value),
                     KVSQL_TOOBIG);
    fx.tree->count[0] = 0;
    fixture_close();
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("plist");
    TCase *const tc = tcase_create("plist");

    tcase_add_test(tc, random_changes_agree_with_an_array);
    tcase_add_test(tc, what_a_view_sees_never_changes);
    tcase_add_test(tc, an_undo_brings_every_byte_back);
    tcase_add_loop_test(tc, pushes_at_an_edge_fill_the_leaves, 0, 4);
    tcase_add_test(tc, a_range_goes_leaf_by_leaf_and_the_tree_shrinks);
    tcase_add_test(tc, a_failed_allocation_at_any_place_can_be_taken_back);
    tcase_add_test(tc, a_full_list_refuses_one_more);
    tcase_set_timeout(tc, 120);
    suite_add_tcase(suite, tc);

    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

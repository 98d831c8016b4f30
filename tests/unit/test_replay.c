/* test_replay.c - frames that go into the store many at once are the ops that
 * they hold, one after the other: beside a twin that takes each op by itself,
 * with batches of any size in groups of any size; a batch that is refused, or has
 * no memory, is not there at all, and those before it are. Sorted sets that had
 * no order meanwhile have the one of the twin's at the end. */
#include <stdio.h>
#include <string.h>

#include "kvsql/admin.h"
#include "kvsql/replay.h"
#include "tests/lib/rand.h"
#include "tests/lib/store_fx.h"

#define FRAMES 300
#define PENDING 40 /* frames that are made at a time */

static kvsql *twin_db;
static struct kv_store *twin;
static struct rand_state rnd;
static struct kv_buf ops;              /* of the frames ... */
static size_t begins[PENDING + 1];     /* ... each from here */
static struct kv_frame frames[PENDING];
static unsigned made;
static unsigned collections; /* keys of each type but strings */

static void setup(void)
{
    const struct kvsql_options options = {.no_keeper = true};

    store_fx_open(kv_os_real());
    ck_assert_int_eq(kv_open_os("", &options, kv_os_real(), NULL, NULL,
                                &twin_db, &err),
                     KVSQL_OK);
    twin = kv_db_store(twin_db);
    kv_buf_init(&ops, KV_MEM_MISC, 256 << 20);
    made = 0;
}

static void teardown(void)
{
    kv_buf_fini(&ops);
    ck_assert_int_eq(kv_close(twin_db, &err), KVSQL_OK);
    store_fx_close();
}

/* ---- ops ------------------------------------------------------------------------ */

static kvsql_slice name(char out[400], const char *what, uint64_t number)
{
    size_t size = (size_t)snprintf(out, 400, "%s:%llu", what,
                                   (unsigned long long)number);

    if (number % 41 == 0) { /* a blob, in whatever it is a name of */
        memset(out + size, 'x', 300);
        size += 300;
    } else if (number % 13 == 0) {
        out[size++] = (char)0xff; /* no text */
    }
    return (kvsql_slice){out, size};
}

/* Keys of a type that is told by the name, few or many, so that each grows to a
 * tree or does not; now and then one that is none for the op. */
static struct kv_op make_op(char key[400], char a[400], char b[400])
{
    static const struct {
        enum kv_op_kind kind;
        const char *on;
    } kinds[] = {
        {KV_OP_SET, "s"},     {KV_OP_SET, "s"},    {KV_OP_SET, "s"},
        {KV_OP_HSET, "h"},    {KV_OP_HSET, "h"},   {KV_OP_HDEL, "h"},
        {KV_OP_HEXPIRE, "h"}, {KV_OP_SADD, "m"},   {KV_OP_SADD, "m"},
        {KV_OP_SREM, "m"},    {KV_OP_ZADD, "z"},   {KV_OP_ZADD, "z"},
        {KV_OP_ZADD, "z"},    {KV_OP_ZADD, "z"},   {KV_OP_ZREM, "z"},
        {KV_OP_PUSH, "l"},    {KV_OP_PUSH, "l"},   {KV_OP_DEL, "s"},
        {KV_OP_EXPIRE, "s"},  {KV_OP_PATCH, "s"},  {KV_OP_DEL, "any"},
        {KV_OP_RENAME, "s"},
    };
    const unsigned at =
        (unsigned)rand_below(&rnd, sizeof kinds / sizeof *kinds);
    const bool string = kinds[at].on[0] == 's';
    struct kv_op op = {.kind = kinds[at].kind, .b = {"", 0}};

    op.key = name(key, kinds[at].on, rand_below(&rnd, string ? 600 : collections));
    op.a = name(a, "element", rand_below(&rnd, 900));
    op.b = name(b, "value", rand_below(&rnd, 50));
    if (op.kind == KV_OP_SET)
        op.a = op.b;
    if (op.kind == KV_OP_RENAME)
        op.a = name(a, "s", rand_below(&rnd, 600));
    op.score = (double)rand_below(&rnd, 200) / 8;
    op.index = op.kind == KV_OP_PUSH ? rand_below(&rnd, 2)
                                     : rand_below(&rnd, 20);
    if (op.kind == KV_OP_EXPIRE || op.kind == KV_OP_HEXPIRE ||
        (op.kind == KV_OP_HSET && rand_one_in(&rnd, 20)))
        op.time = INT64_C(4102444800000) + (int64_t)rand_below(&rnd, 1000);
    if (op.kind == KV_OP_HSET && rand_one_in(&rnd, 20))
        op.time = 1; /* long past, and nobody decides about that */
    return op;
}

/* One more frame of some ops; one of them may be for a key of another type. */
static void make_frame(unsigned count, bool wrong)
{
    char key[400], a[400], b[400];
    const unsigned bad = (unsigned)rand_below(&rnd, count);

    begins[made] = ops.size;
    for (unsigned i = 0; i < count; i++) {
        struct kv_op op = make_op(key, a, b);
        if (wrong && i == bad)
            op = (struct kv_op){.kind = KV_OP_SADD,
                                .key = {"a string", 8},
                                .a = {"m", 1}};
        kv_op_encode(&ops, &op);
    }
    ck_assert(!ops.failed);
    begins[++made] = ops.size;
}

static void place_frames(void)
{
    for (unsigned i = 0; i < made; i++)
        frames[i] = (struct kv_frame){
            .payload = ops.p + begins[i],
            .size = (uint32_t)(begins[i + 1] - begins[i]),
            .position = kv_store_position(store) + 1 + i,
            .type = KV_FRAME_BATCH};
}

/* The twin takes the ops of a frame, which are good. */
static void twin_takes(const struct kv_frame *frame)
{
    const uint8_t *p = frame->payload, *const end = p + frame->size;

    while (p < end) {
        struct kv_op op;
        ck_assert_int_eq(kv_op_decode(&p, end, &op, &err), KVSQL_OK);
        ck_assert_int_eq(kv_store_load(twin, &op, &err), KVSQL_OK);
    }
}

static void forget_frames(void)
{
    ops.size = 0;
    made = 0;
}

/* ---- both stores hold the same ------------------------------------------------------ */

static void dump(kvsql *of, struct kv_buf *out)
{
    struct kv_keys keys;
    struct kv_txn *txn;
    struct kv_at at;

    kv_buf_init(out, KV_MEM_MISC, 256 << 20);
    ck_assert_int_eq(kv_txn_begin(of, false, 0, &txn, &err), KVSQL_OK);
    kv_at_txn(txn, &at);
    kv_keys_init(&keys, &at, 0);
    for (bool ok = kv_keys_first(&keys); ok; ok = kv_keys_next(&keys)) {
        kv_buf_add(out, keys.key.p, keys.key.size);
        kv_buf_add(out, &keys.item.expires_at, sizeof keys.item.expires_at);
        ck_assert(kv_item_dump(&at, &keys.item, out));
    }
    ck_assert(!out->failed);
    kv_txn_rollback(txn);
}

static void both_are_alike(void)
{
    struct kv_buf mine, other;

    ck_assert_int_eq(kv_store_replay_end(store, &err), KVSQL_OK);
    dump(db, &mine);
    dump(twin_db, &other);
    ck_assert_uint_gt(mine.size, 0);
    ck_assert_uint_eq(mine.size, other.size);
    ck_assert(memcmp(mine.p, other.p, mine.size) == 0);
    kv_buf_fini(&mine);
    kv_buf_fini(&other);
    ck_assert_uint_eq(store->tally.with_expiry, twin->tally.with_expiry);
    kv_store_check(store);
}

/* ---- tests ------------------------------------------------------------------------- */

static void add_a_string(void)
{
    const struct kv_op op = {
        .kind = KV_OP_SET, .key = {"a string", 8}, .a = {"v", 1}};

    kv_op_encode(&ops, &op);
}

static void start(uint64_t seed)
{
    collections = seed & 16 ? 250 : 3; /* small ones, or trees */
    rnd = rand_of(rand_seed("test_replay", seed));
    begins[0] = 0;
    add_a_string();
    begins[made = 1] = ops.size;
    place_frames();
    unsigned done;
    ck_assert_int_eq(kv_store_replay(store, frames, 1, &done, &err), KVSQL_OK);
    twin_takes(&frames[0]);
    forget_frames();
}

static unsigned some_ops(void)
{
    return (unsigned)(rand_one_in(&rnd, 6) ? rand_between(&rnd, 1, 150)
                                           : rand_between(&rnd, 1, 6));
}

START_TEST(groups_of_frames_are_their_ops_in_turn)
{
    uint64_t position = 1;
    unsigned done;

    start(1u + 16u * (unsigned)_i);
    for (unsigned i = 0; i < FRAMES;) {
        const unsigned n = (unsigned)rand_between(&rnd, 1, PENDING);
        for (unsigned k = 0; k < n; k++, i++)
            make_frame(some_ops(), false);
        place_frames();
        ck_assert_int_eq(kv_store_replay(store, frames, n, &done, &err),
                         KVSQL_OK);
        ck_assert_uint_eq(done, n);
        ck_assert_uint_eq(kv_store_position(store), position += n);
        ck_assert_uint_eq(kv_store_released(store), position);
        for (unsigned k = 0; k < n; k++)
            twin_takes(&frames[k]);
        forget_frames();
        if (i % 8 == 0)
            both_are_alike();
    }
    both_are_alike();
}
END_TEST

/* Bytes that are no op, or an op that the state before it does not take: the
 * frames before are there, that one is not. */
START_TEST(a_frame_that_is_refused_is_not_there_at_all)
{
    unsigned done;

    start(2u + 16u * (unsigned)_i);
    for (unsigned round = 0; round < 150; round++) {
        const uint64_t position = kv_store_position(store);
        const unsigned n = (unsigned)rand_between(&rnd, 1, PENDING - 1);
        const unsigned bad = (unsigned)rand_below(&rnd, n);
        const bool bytes = rand_one_in(&rnd, 2);
        const uint64_t hash = kv_store_hash(store);

        for (unsigned k = 0; k < n; k++)
            make_frame(some_ops(), k == bad && !bytes);
        place_frames();
        if (bytes)
            frames[bad].size--; /* its last op is cut */
        const kvsql_rc rc = kv_store_replay(store, frames, n, &done, &err);
        ck_assert_int_eq(rc, bytes ? KVSQL_CORRUPT : KVSQL_WRONGTYPE);
        ck_assert_ptr_nonnull(
            strstr(err.text, bytes ? "has a bad field" : "holds a"));
        ck_assert_uint_eq(done, bad);
        ck_assert(bad > 0 || kv_store_hash(store) == hash); /* I5 */
        ck_assert_uint_eq(kv_store_position(store), position + bad);
        for (unsigned k = 0; k < bad; k++)
            twin_takes(&frames[k]);
        forget_frames();
        both_are_alike();
    }
}
END_TEST

/* M1: each allocation fails in turn; what is not there is replayed again. */
START_TEST(a_frame_without_memory_is_not_there_at_all)
{
    unsigned failed = 0;

    start(3u + 16u * (unsigned)_i);
    for (unsigned round = 0; round < 40; round++) {
        const unsigned n = (unsigned)rand_between(&rnd, 1, 12);
        unsigned from = 0;

        for (unsigned k = 0; k < n; k++)
            make_frame(some_ops(), false);
        place_frames();
        for (uint64_t nth = 1; from < n; nth += 1 + nth / 4) {
            unsigned done;
            kv_mem_fail_at(nth, 0);
            const kvsql_rc rc =
                kv_store_replay(store, frames + from, n - from, &done, &err);
            kv_mem_fail_at(0, 0);
            ck_assert(rc == KVSQL_OK || rc == KVSQL_NOMEM);
            ck_assert(rc == KVSQL_NOMEM || done == n - from);
            failed += rc == KVSQL_NOMEM;
            for (unsigned k = from; k < from + done; k++)
                twin_takes(&frames[k]);
            from += done;
            both_are_alike();
        }
        forget_frames();
    }
    ck_assert_uint_gt(failed, 20);
}
END_TEST

static void set_frame(const char *key)
{
    const struct kv_op op = {.kind = KV_OP_SET,
                             .key = {key, strlen(key)},
                             .a = {"v", 1}};

    begins[made] = ops.size;
    kv_op_encode(&ops, &op);
    begins[++made] = ops.size;
}

static void both_take_frames(void)
{
    unsigned done;

    place_frames();
    ck_assert_int_eq(kv_store_replay(store, frames, made, &done, &err),
                     KVSQL_OK);
    for (unsigned k = 0; k < made; k++)
        twin_takes(&frames[k]);
    forget_frames();
}

/* Keys that come to a leaf without sharing its prefix belong behind all that it
 * has by then, also behind what came since they were looked up. */
START_TEST(keys_beside_a_leaf_stay_behind_it)
{
    const struct kv_op flush = {.kind = KV_OP_FLUSH};
    char key[64];

    start(4);
    for (unsigned n = 4; n < PENDING; n++) {
        kv_op_encode(&ops, &flush);
        begins[made = 1] = ops.size;
        for (unsigned i = n - 1; i > 0; i--) { /* no run */
            snprintf(key, sizeof key, "abcdefghijkl%03u", 20 * i);
            set_frame(key);
        }
        both_take_frames();
        set_frame("abcdefghijkl900");
        set_frame("abcdefghijkm850");
        set_frame("abcdefghijkm860");
        set_frame("abcdefghijkm870");
        both_take_frames();
        both_are_alike();
    }
}
END_TEST

/* ---- sorted sets without order ------------------------------------------------------- */

/* Two sets of some thousand members, which come and go, are renamed and made
 * again; long members, members that are no text, scores that many have. */
static struct kv_op make_score(char key[400], char a[400])
{
    const unsigned dice = (unsigned)rand_below(&rnd, 4000);
    struct kv_op op = {.kind = dice < 3 ? KV_OP_DEL
                               : dice < 8 ? KV_OP_RENAME
                               : dice < 10 ? KV_OP_FLUSH
                               : dice < 600 ? KV_OP_ZREM
                                            : KV_OP_ZADD,
                       .b = {"", 0}};

    op.key = name(key, "z", rand_below(&rnd, 2));
    op.a = op.kind == KV_OP_RENAME ? name(a, "z", rand_below(&rnd, 2))
                                   : name(a, "member", rand_below(&rnd, 3000));
    op.score = rand_one_in(&rnd, 3) ? -(double)rand_below(&rnd, 3)
                                    : (double)rand_below(&rnd, 1u << 20) / 7;
    return op;
}

static void make_scores(unsigned count, bool zadd)
{
    char key[400], a[400];

    begins[made] = ops.size;
    while (count-- > 0) {
        struct kv_op op = make_score(key, a);
        while (zadd && op.kind != KV_OP_ZADD)
            op = make_score(key, a);
        kv_op_encode(&ops, &op);
        if (op.kind == KV_OP_FLUSH)
            add_a_string();
    }
    ck_assert(!ops.failed);
    begins[++made] = ops.size;
}

/* The orders of both stores: ranges by score, of which a dump knows nothing. */
static void dump_orders(kvsql *of, struct kv_buf *out)
{
    struct kv_keys keys;
    struct kv_txn *txn;
    struct kv_at at;

    kv_buf_init(out, KV_MEM_MISC, 256 << 20);
    ck_assert_int_eq(kv_txn_begin(of, false, 0, &txn, &err), KVSQL_OK);
    kv_at_txn(txn, &at);
    kv_keys_init(&keys, &at, 0);
    for (bool ok = kv_keys_first(&keys); ok; ok = kv_keys_next(&keys)) {
        struct kv_elems elems;
        if (keys.item.type != KV_ZSET)
            continue;
        kv_elems_init(&elems, &at, &keys.item, KV_ELEMS_SCORE);
        for (bool more = kv_elems_first(&elems); more;
             more = kv_elems_next(&elems)) {
            kv_buf_add(out, &elems.elem.score, sizeof elems.elem.score);
            kv_buf_add(out, elems.elem.key.p, elems.elem.key.size);
        }
    }
    ck_assert(!out->failed);
    kv_txn_rollback(txn);
}

static void both_have_one_order(void)
{
    struct kv_buf mine, other;

    both_are_alike();
    dump_orders(db, &mine);
    dump_orders(twin_db, &other);
    ck_assert_uint_eq(mine.size, other.size);
    ck_assert(mine.size == 0 || memcmp(mine.p, other.p, mine.size) == 0);
    kv_buf_fini(&mine);
    kv_buf_fini(&other);
}

START_TEST(sorted_sets_get_their_order_at_the_end)
{
    unsigned waited = 0;

    start(5);
    for (unsigned round = 0; round < 60; round++) {
        const unsigned n = (unsigned)rand_between(&rnd, 1, PENDING);
        for (unsigned k = 0; k < n; k++)
            make_scores(some_ops(), false);
        both_take_frames();
        if (!rand_one_in(&rnd, 4))
            continue;
        waited += store->unordered;
        both_have_one_order();
        ck_assert(!store->unordered);
    }
    both_have_one_order();
    ck_assert_uint_gt(waited, 3);
}
END_TEST

/* M1: of a frame that lets an order go nothing is there. */
START_TEST(an_order_comes_back_with_the_frame_that_let_it_go)
{
    unsigned went = 0;

    start(6);
    for (unsigned i = 0; i < 12; i++)
        make_scores(150, true);
    both_take_frames();
    both_have_one_order();
    for (unsigned round = 0; round < 40; round++) {
        struct kv_tree *tree;
        struct kv_cell cell;
        const struct kv_key z = kv_key_of("z:1", 3);
        unsigned done;
        make_scores(300, false);
        place_frames();
        for (uint64_t nth = 1;; nth++) {
            kv_mem_fail_at(nth, 0);
            const kvsql_rc rc = kv_store_replay(store, frames, 1, &done, &err);
            kv_mem_fail_at(0, 0);
            if (rc == KVSQL_OK)
                break;
            ck_assert_int_eq(rc, KVSQL_NOMEM);
            ck_assert(!kv_key_find(store, &z, &cell) ||
                      cell.form != KV_FORM_TREE ||
                      (tree = cell.ptr, !kv_order_waits(tree)));
            went += store->unordered;
            both_have_one_order();
            nth += nth / 8;
        }
        twin_takes(&frames[0]);
        forget_frames();
        both_have_one_order();
    }
    ck_assert_uint_gt(went, 0);
}
END_TEST

/* M1: each allocation of the end fails in turn, it alone or with all behind it;
 * the store can be closed. */
START_TEST(an_order_without_memory_ends_the_start)
{
    unsigned failed = 0, sorted = 0;
    bool fired = true;

    start(7);
    for (unsigned i = 0; i < 20; i++)
        make_scores(150, true);
    for (uint64_t nth = 2; fired; nth++) { /* half of it: from then on */
        struct kv_store *other;
        unsigned done;
        ck_assert_int_eq(kv_store_open(NULL, kv_os_real(), &other, &err),
                         KVSQL_OK);
        place_frames();
        for (unsigned i = 0; i < made; i++)
            frames[i].position--; /* there is no string before */
        ck_assert_int_eq(kv_store_replay(other, frames, made, &done, &err),
                         KVSQL_OK);
        ck_assert(other->unordered);
        kv_mem_fail_at(nth / 2, nth % 2);
        const kvsql_rc rc = kv_store_replay_end(other, &err);
        fired = kv_mem_failed();
        kv_mem_fail_at(0, 0);
        ck_assert(rc == KVSQL_OK || (fired && rc == KVSQL_NOMEM));
        failed += rc == KVSQL_NOMEM;
        sorted += fired && rc == KVSQL_OK; /* fewer at a time */
        if (rc == KVSQL_OK)
            kv_store_check(other);
        kv_store_close(other);
    }
    ck_assert_uint_gt(failed, 3);
    ck_assert_uint_gt(sorted, 0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 600);
    tcase_add_loop_test(tests, groups_of_frames_are_their_ops_in_turn, 0, 2);
    tcase_add_loop_test(tests, a_frame_that_is_refused_is_not_there_at_all, 0, 2);
    tcase_add_loop_test(tests, a_frame_without_memory_is_not_there_at_all, 0, 2);
    tcase_add_test(tests, keys_beside_a_leaf_stay_behind_it);
    tcase_add_test(tests, sorted_sets_get_their_order_at_the_end);
    tcase_add_test(tests, an_order_comes_back_with_the_frame_that_let_it_go);
    tcase_add_test(tests, an_order_without_memory_ends_the_start);
}

int main(void)
{
    return unit_run("replay", add);
}

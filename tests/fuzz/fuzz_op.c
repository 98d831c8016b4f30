/* fuzz_op.c - ops: each decoded one is the same when it is encoded and decoded
 * again, and a store takes or refuses the whole run. */
#include "kvsql/replay.h"
#include "tests/lib/fuzz.h"

static bool same_slice(kvsql_slice a, kvsql_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.p, b.p, a.size) == 0);
}

static void check_again(const struct kv_op *op)
{
    struct kvsql_error err;
    struct kv_op again;
    struct kv_buf buf;

    kv_buf_init(&buf, KV_MEM_MISC, 64 << 20);
    kv_op_encode(&buf, op);
    const uint8_t *p = buf.p;
    FUZZ_CHECK(kv_op_decode(&p, buf.p + buf.size, &again, &err) == KVSQL_OK);
    FUZZ_CHECK(p == buf.p + buf.size);
    FUZZ_CHECK(again.kind == op->kind && same_slice(again.key, op->key) &&
               same_slice(again.a, op->a) && same_slice(again.b, op->b) &&
               again.time == op->time && again.index == op->index &&
               again.count == op->count &&
               memcmp(&again.score, &op->score, sizeof op->score) == 0);
    kv_buf_fini(&buf);
}

#define FRAMES_MAX 64

/* Some batches' ends are marked in the input by a byte that is no kind; as many
 * batches at once as its last byte says. */
static void replay(const uint8_t *data, size_t size)
{
    const unsigned most = size > 0 ? 1 + data[size - 1] % FRAMES_MAX : 1;
    struct kv_frame frames[FRAMES_MAX];
    uint8_t *copies[FRAMES_MAX];
    struct kvsql_error err;
    struct kv_store *store;
    uint64_t position = 0;
    kvsql_rc rc = KVSQL_OK;

    FUZZ_CHECK(kv_store_open(NULL, kv_os_real(), &store, &err) == KVSQL_OK);
    while (size > 0 && rc == KVSQL_OK) { /* a start ends with an error */
        unsigned n = 0, done;
        for (; n < most && size > 0; n++) {
            const uint8_t *end = memchr(data, 0xff, size);
            const size_t part = end != NULL ? (size_t)(end - data) : size;
            copies[n] = fuzz_copy(data, part);
            frames[n] = (struct kv_frame){.payload = copies[n],
                                          .size = (uint32_t)part,
                                          .position = ++position};
            data += part + (end != NULL);
            size -= part + (end != NULL);
        }
        rc = kv_store_replay(store, frames, n, &done, &err);
        while (n > 0)
            free(copies[--n]);
        FUZZ_CHECK(rc == KVSQL_OK || (rc != KVSQL_INTERNAL && err.text[0]));
        FUZZ_CHECK(rc != KVSQL_OK || kv_store_position(store) == position);
    }
    if (rc == KVSQL_OK)
        FUZZ_CHECK(kv_store_replay_end(store, &err) == KVSQL_OK);
    kv_store_close(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kvsql_error err;
    struct kv_op op;
    uint8_t *copy = fuzz_copy(data, size);
    const uint8_t *p = copy, *before = copy;

    while (p < copy + size &&
           kv_op_decode(&p, copy + size, &op, &err) == KVSQL_OK) {
        FUZZ_CHECK(p > before && p <= copy + size);
        before = p;
        check_again(&op);
    }
    free(copy);
    replay(data, size);
    return 0;
}

/* c_hll.c - counting different elements: PFADD PFCOUNT PFMERGE, PFDEBUG.
 *
 * The value is a string in the format of hll.h, so GET, SET, expiry and the
 * wal know nothing of it. What changes is written as a patch: of a register
 * and a byte of the header when dense, from the first byte that differs when
 * sparse.
 *
 * Thread: the caller's of cmd_run(); the maximum is set before the first. */
#include "command/context.h"

#include <stdatomic.h>
#include <string.h>

#include "command/hll.h"

#define HLL_TEXT_WRONGTYPE                                                    \
    "WRONGTYPE Key is not a valid HyperLogLog string value."
#define HLL_TEXT_CORRUPT "INVALIDOBJ Corrupted HLL object detected"

static atomic_uint_fast64_t hll_sparse_max = CMD_HLL_SPARSE_MAX;

void cmd_hll_sparse_max_set(uint64_t bytes)
{
    atomic_store_explicit(&hll_sparse_max, bytes, memory_order_relaxed);
}

uint64_t cmd_hll_sparse_max(void)
{
    return atomic_load_explicit(&hll_sparse_max, memory_order_relaxed);
}

/* ---- reading and writing ------------------------------------------------ */

static void hll_fail_corrupt(struct cmd_context *c)
{
    cmd_fail(c, KVSQL_WRONGTYPE, HLL_TEXT_CORRUPT);
}

/* KVSQL_OK, KVSQL_NOTFOUND (nothing answered), KVSQL_WRONGTYPE (answered). The
 * value is not copied: valid until the next change. */
static kvsql_rc hll_get(struct cmd_context *c, const struct kv_key *key,
                        struct kv_item *item, struct kv_val *value)
{
    const kvsql_rc rc = cmd_get_type(c, key, KV_STRING, item);

    if (rc != KVSQL_OK) {
        return rc;
    }
    kv_item_string(item, value);
    if (!cmd_hll_valid(value->p, value->size)) {
        cmd_fail(c, KVSQL_WRONGTYPE, HLL_TEXT_WRONGTYPE);
        return KVSQL_WRONGTYPE;
    }
    return KVSQL_OK;
}

/* The value of key in a buffer of its own, a new one when there is none.
 * False: answered. */
static bool hll_load(struct cmd_context *c, const struct kv_key *key,
                     struct kv_buf *buf, bool *found)
{
    struct kv_item item;
    struct kv_val value;
    const kvsql_rc rc = hll_get(c, key, &item, &value);

    *found = rc == KVSQL_OK;
    if (rc == KVSQL_NOTFOUND) {
        cmd_hll_new(buf);
    } else if (rc == KVSQL_OK && value.size > CMD_HLL_SIZE_MAX) {
        hll_fail_corrupt(c);
        return false;
    } else if (rc == KVSQL_OK) {
        kv_buf_add(buf, value.p, value.size);
    }
    if (buf->failed) {
        cmd_fail_nomem(c);
    }
    return (rc == KVSQL_OK || rc == KVSQL_NOTFOUND) && !buf->failed;
}

static bool hll_patch(struct cmd_context *c, const struct kv_key *key,
                      size_t offset, const uint8_t *p, size_t size)
{
    return cmd_ok(c, kv_patch(c->txn, key, offset, (kvsql_slice){p, size},
                              &c->err));
}

/* Store what hll_load() gave, changed. False: answered. */
static bool hll_store(struct cmd_context *c, const struct kv_key *key,
                      const struct kv_buf *buf)
{
    struct kv_item item;
    struct kv_val old;
    int64_t expires_at = 0;
    size_t same = 0, end = buf->size;

    if (buf->failed) {
        cmd_fail_nomem(c);
        return false;
    }
    if (cmd_get(c, key, &item)) {
        expires_at = item.expires_at;
        kv_item_string(&item, &old);
        while (same < old.size && same < end && old.p[same] == buf->p[same]) {
            same++;
        }
        while (old.size == buf->size && end > same &&
               old.p[end - 1] == buf->p[end - 1]) {
            end--;
        }
        if (old.size <= buf->size) {
            return hll_patch(c, key, same, buf->p + same, end - same);
        }
    }
    return cmd_ok(c, kv_set(c->txn, key, (kvsql_slice){buf->p, buf->size},
                            expires_at, &c->err));
}

/* ---- PFADD -------------------------------------------------------------- */

/* One element into a dense value, in place. False: answered. */
static bool hll_add_dense(struct cmd_context *c, const struct kv_key *key,
                          unsigned element, bool *raised)
{
    const kvsql_slice bytes = c->argv[element];
    uint8_t part[2], stale[CMD_HLL_HEADER];
    struct kv_item item;
    struct kv_val value;
    unsigned least;
    const unsigned index = cmd_hll_place(bytes.p, bytes.size, &least);
    uint64_t count;
    size_t at, size;
    bool fresh;

    if (hll_get(c, key, &item, &value) != KVSQL_OK) {
        return false;
    }
    if (cmd_hll_dense_get(value.p, index) >= least) {
        return true;
    }
    *raised = true;
    at = cmd_hll_dense_part(value.p, index, least, part, &size);
    memcpy(stale, value.p, sizeof(stale));
    fresh = cmd_hll_cached(stale, &count);
    cmd_hll_forget(stale);
    return hll_patch(c, key, at, part, size) &&
           (!fresh || hll_patch(c, key, CMD_HLL_HEADER - 1,
                                stale + CMD_HLL_HEADER - 1, 1));
}

/* All elements into a copy, which is sparse at first. False: answered. */
static bool hll_add_copy(struct cmd_context *c, const struct kv_key *key,
                         struct kv_buf *buf, bool *raised)
{
    bool found;

    if (!hll_load(c, key, buf, &found)) {
        return false;
    }
    *raised = !found;
    for (unsigned i = 2; i < c->argc && !buf->failed; i++) {
        unsigned least;
        const unsigned index =
            cmd_hll_place(c->argv[i].p, c->argv[i].size, &least);
        bool more;

        if (!cmd_hll_raise(buf, index, least, cmd_hll_sparse_max(), &more)) {
            hll_fail_corrupt(c);
            return false;
        }
        *raised = *raised || more;
    }
    if (*raised && !buf->failed) {
        cmd_hll_forget(buf->p);
    }
    return (!*raised && !buf->failed) || hll_store(c, key, buf);
}

void cmd_do_pfadd(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    struct kv_item item;
    struct kv_val value;
    struct kv_buf buf;
    bool raised = false, ok = true;
    const kvsql_rc rc = hll_get(c, &key, &item, &value);

    if (rc != KVSQL_OK && rc != KVSQL_NOTFOUND) {
        return;
    }
    if (rc == KVSQL_OK && cmd_hll_is_dense(value.p)) {
        for (unsigned i = 2; i < c->argc && ok; i++) {
            ok = hll_add_dense(c, &key, i, &raised);
        }
    } else {
        kv_buf_init(&buf, KV_MEM_CLIENT, CMD_HLL_SIZE_MAX);
        ok = hll_add_copy(c, &key, &buf, &raised);
        kv_buf_fini(&buf);
    }
    if (ok) {
        cmd_reply_int(c->reply, raised);
    }
}

/* ---- PFCOUNT ------------------------------------------------------------ */

/* Raise registers to those of a key; an absent one changes nothing. False:
 * answered. */
static bool hll_merge_key(struct cmd_context *c, unsigned index,
                          uint8_t registers[CMD_HLL_REGISTERS], bool *dense)
{
    const struct kv_key key = cmd_key(c, index);
    struct kv_item item;
    struct kv_val value;
    const kvsql_rc rc = hll_get(c, &key, &item, &value);

    if (rc != KVSQL_OK) {
        return rc == KVSQL_NOTFOUND;
    }
    if (!cmd_hll_merge(value.p, value.size, registers)) {
        hll_fail_corrupt(c);
        return false;
    }
    *dense = *dense || cmd_hll_is_dense(value.p);
    return true;
}

/* Keep the count in the value for the next question. A store that takes no
 * writes now is no reason to refuse the answer. */
static void hll_keep_count(struct cmd_context *c, const struct kv_key *key,
                           const struct kv_val *value, uint64_t count)
{
    uint8_t header[CMD_HLL_HEADER];
    struct kvsql_error err;

    if (c->read_only) {
        return;
    }
    memcpy(header, value->p, sizeof(header));
    cmd_hll_cache(header, count);
    (void)kv_patch(c->txn, key, CMD_HLL_COUNT_AT,
                   (kvsql_slice){header + CMD_HLL_COUNT_AT,
                                 CMD_HLL_HEADER - CMD_HLL_COUNT_AT},
                   &err);
}

void cmd_do_pfcount(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    uint8_t registers[CMD_HLL_REGISTERS] = {0};
    struct kv_item item;
    struct kv_val value;
    uint64_t count = 0;
    bool dense = false;
    kvsql_rc rc;

    if (c->argc > 2) {
        for (unsigned i = 1; i < c->argc; i++) {
            if (!hll_merge_key(c, i, registers, &dense)) {
                return;
            }
        }
        cmd_reply_int(c->reply, (int64_t)cmd_hll_estimate(registers));
        return;
    }
    rc = hll_get(c, &key, &item, &value);
    if (rc == KVSQL_OK && !cmd_hll_cached(value.p, &count)) {
        if (!cmd_hll_merge(value.p, value.size, registers)) {
            hll_fail_corrupt(c);
            return;
        }
        count = cmd_hll_estimate(registers);
        hll_keep_count(c, &key, &value, count);
    }
    if (rc == KVSQL_OK || rc == KVSQL_NOTFOUND) {
        cmd_reply_int(c->reply, (int64_t)count);
    }
}

/* ---- PFMERGE ------------------------------------------------------------ */

/* Raise the registers of buf to the given ones. False: answered. */
static bool hll_raise_all(struct cmd_context *c, struct kv_buf *buf,
                          const uint8_t registers[CMD_HLL_REGISTERS])
{
    for (unsigned i = 0; i < CMD_HLL_REGISTERS && !buf->failed; i++) {
        bool raised;

        if (registers[i] > 0 &&
            !cmd_hll_raise(buf, i, registers[i], cmd_hll_sparse_max(),
                           &raised)) {
            hll_fail_corrupt(c);
            return false;
        }
    }
    if (!buf->failed) {
        cmd_hll_forget(buf->p);
    }
    return true;
}

void cmd_do_pfmerge(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 1);
    uint8_t registers[CMD_HLL_REGISTERS] = {0};
    struct kv_buf buf;
    bool dense = false, found;

    for (unsigned i = 1; i < c->argc; i++) {
        if (!hll_merge_key(c, i, registers, &dense)) {
            return;
        }
    }
    kv_buf_init(&buf, KV_MEM_CLIENT, CMD_HLL_SIZE_MAX);
    if (hll_load(c, &key, &buf, &found)) {
        if (dense && !cmd_hll_densify(&buf) && !buf.failed) {
            hll_fail_corrupt(c);
        } else if ((buf.failed || hll_raise_all(c, &buf, registers)) &&
                   hll_store(c, &key, &buf)) {
            cmd_answer_ok(c);
        }
    }
    kv_buf_fini(&buf);
}

/* ---- PFDEBUG, PFSELFTEST ------------------------------------------------ */

/* Make the value of key dense; *changed tells whether it was sparse. False:
 * answered. */
static bool hll_make_dense(struct cmd_context *c, const struct kv_key *key,
                           struct kv_buf *buf, bool *changed)
{
    bool found;

    if (!hll_load(c, key, buf, &found)) {
        return false;
    }
    *changed = !cmd_hll_is_dense(buf->p);
    if (*changed && !cmd_hll_densify(buf) && !buf->failed) {
        hll_fail_corrupt(c);
        return false;
    }
    return !*changed || hll_store(c, key, buf);
}

static void hll_debug_dense(struct cmd_context *c, const struct kv_key *key,
                            bool registers)
{
    struct kv_buf buf;
    bool changed;

    kv_buf_init(&buf, KV_MEM_CLIENT, CMD_HLL_SIZE_MAX);
    if (hll_make_dense(c, key, &buf, &changed) && !registers) {
        cmd_reply_int(c->reply, changed);
    } else if (c->reply->rc == KVSQL_OK) {
        cmd_reply_array(c->reply, CMD_HLL_REGISTERS);
        for (unsigned i = 0; i < CMD_HLL_REGISTERS; i++) {
            cmd_reply_int(c->reply, cmd_hll_dense_get(buf.p, i));
        }
    }
    kv_buf_fini(&buf);
}

#define HLL_TEXT_MAX ((size_t)1 << 20) /* bytes of the runs as text */

static void hll_debug_decode(struct cmd_context *c, const struct kv_val *value)
{
    struct kv_buf text;

    if (cmd_hll_is_dense(value->p)) {
        cmd_fail(c, KVSQL_INVALID, "ERR HLL encoding is not sparse");
        return;
    }
    kv_buf_init(&text, KV_MEM_CLIENT, HLL_TEXT_MAX);
    cmd_hll_describe(value->p, value->size, &text);
    if (text.failed) {
        cmd_fail_nomem(c);
    } else {
        cmd_reply_bulk(c->reply, text.p, text.size);
    }
    kv_buf_fini(&text);
}

void cmd_do_pfdebug(struct cmd_context *c)
{
    const struct kv_key key = cmd_key(c, 2);
    struct kv_item item;
    struct kv_val value;
    const kvsql_rc rc = hll_get(c, &key, &item, &value);

    if (rc == KVSQL_NOTFOUND) {
        cmd_fail(c, rc, "ERR The specified key does not exist");
    } else if (rc != KVSQL_OK) {
        return;
    } else if (cmd_is(c, 1, "GETREG")) {
        hll_debug_dense(c, &key, true);
    } else if (cmd_is(c, 1, "TODENSE")) {
        hll_debug_dense(c, &key, false);
    } else if (cmd_is(c, 1, "DECODE")) {
        hll_debug_decode(c, &value);
    } else if (cmd_is(c, 1, "ENCODING")) {
        cmd_reply_status(c->reply,
                         cmd_hll_is_dense(value.p) ? "dense" : "sparse");
    } else {
        cmd_fail(c, KVSQL_UNKNOWN, "ERR Unknown PFDEBUG subcommand '%.*s'",
                 (int)(c->argv[1].size < 64 ? c->argv[1].size : 64),
                 (const char *)c->argv[1].p);
    }
}

void cmd_do_pfselftest(struct cmd_context *c)
{
    const char *wrong = cmd_hll_self_test();

    if (wrong == NULL) {
        cmd_answer_ok(c);
    } else {
        cmd_fail(c, KVSQL_INTERNAL, "ERR TESTFAILED %s", wrong);
    }
}

/* hll.c - the registers of a HyperLogLog, sparse and dense, and the estimate.
 *
 * The hash of an element (64 bits) is split: the low 14 bits choose a
 * register, which keeps the longest run of zeros, plus one, that was seen at
 * the low end of the other 50 (Flajolet, Fusy, Gandouet, Meunier 2007; Heule,
 * Nunkesser, Hall 2013). The estimate from the histogram of the registers is
 * Algorithm 6 of O. Ertl, "New cardinality estimation algorithms for
 * HyperLogLog sketches" (arXiv 1702.01284), which needs no table of
 * corrections. The hash is A. Appleby's MurmurHash64A (public domain), read
 * as little endian on every host. The format is drawn in hll.h.
 *
 * Two programs that write the same elements must get the same bytes, so the
 * way in which runs are split and joined is part of the format:
 *
 *   HL1  A run that is split leaves what lies left and right of the register
 *        as runs of the old value; zeros take the long form above 64 only.
 *   HL2  After a change, five runs from the one before on are looked at;
 *        neighbours of one value are joined while they fit in one run of 4.
 *   HL3  A sparse value becomes dense when a split would make it longer than
 *        the maximum, or when a register passes 32.
 *
 * Thread: any. */
#include "command/hll.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "kvsql/base/num.h"

#define HLL_INDEX_BITS 14
#define HLL_VALUE_BITS (64 - HLL_INDEX_BITS) /* q of the paper */
#define HLL_VALUE_MAX 63                     /* of 6 bits */
#define HLL_SEED UINT64_C(0xadc83b19)
#define HLL_FORM_AT 4
#define HLL_STALE 0x80 /* in the last byte of the cached count */

#define HLL_ZEROS_MAX 64       /* of the short form */
#define HLL_SPARSE_VALUE_MAX 32
#define HLL_SPARSE_RUN_MAX 4   /* registers in a run of a value */
#define HLL_SPLIT_MAX 5        /* bytes: long zeros, value, long zeros */
#define HLL_JOIN_LOOKS 5       /* HL2 */

enum hll_form { HLL_DENSE, HLL_SPARSE };
static const uint8_t hll_magic[HLL_FORM_AT] = {'H', 'Y', 'L', 'L'};

static_assert((1 << HLL_INDEX_BITS) == CMD_HLL_REGISTERS,
              "an index is a register");

/* ---- header ------------------------------------------------------------- */

bool cmd_hll_valid(const uint8_t *p, size_t size)
{
    return size >= CMD_HLL_HEADER &&
           memcmp(p, hll_magic, sizeof(hll_magic)) == 0 &&
           (p[HLL_FORM_AT] == HLL_SPARSE ||
            (p[HLL_FORM_AT] == HLL_DENSE && size == CMD_HLL_DENSE_SIZE));
}

bool cmd_hll_is_dense(const uint8_t *p)
{
    return p[HLL_FORM_AT] == HLL_DENSE;
}

bool cmd_hll_cached(const uint8_t *p, uint64_t *count)
{
    *count = kv_u64_get(p + CMD_HLL_COUNT_AT);
    return (p[CMD_HLL_HEADER - 1] & HLL_STALE) == 0;
}

void cmd_hll_cache(uint8_t *p, uint64_t count)
{
    kv_u64_put(p + CMD_HLL_COUNT_AT, count);
}

void cmd_hll_forget(uint8_t *p)
{
    p[CMD_HLL_HEADER - 1] |= HLL_STALE;
}

/* ---- elements ----------------------------------------------------------- */

#define HLL_MULTIPLY UINT64_C(0xc6a4a7935bd1e995)
#define HLL_SHIFT 47

static uint64_t hll_hash(const uint8_t *p, size_t size)
{
    uint64_t h = HLL_SEED ^ (size * HLL_MULTIPLY);
    uint8_t tail[8] = {0};

    for (; size >= 8; p += 8, size -= 8) {
        uint64_t k = kv_u64_get(p) * HLL_MULTIPLY;

        k ^= k >> HLL_SHIFT;
        h = (h ^ (k * HLL_MULTIPLY)) * HLL_MULTIPLY;
    }
    if (size > 0) {
        memcpy(tail, p, size);
        h = (h ^ kv_u64_get(tail)) * HLL_MULTIPLY;
    }
    h = (h ^ (h >> HLL_SHIFT)) * HLL_MULTIPLY;
    return h ^ (h >> HLL_SHIFT);
}

unsigned cmd_hll_place(const void *element, size_t size, unsigned *value)
{
    const uint64_t hash = hll_hash(element, size);
    /* A one above the bits that count ends the run of zeros. */
    const uint64_t rest =
        (hash >> HLL_INDEX_BITS) | (UINT64_C(1) << HLL_VALUE_BITS);

    *value = (unsigned)__builtin_ctzll(rest) + 1;
    return (unsigned)(hash & (CMD_HLL_REGISTERS - 1));
}

/* ---- dense -------------------------------------------------------------- */

unsigned cmd_hll_dense_get(const uint8_t *p, unsigned index)
{
    const uint8_t *at = p + CMD_HLL_HEADER + index * 6 / 8;
    const unsigned shift = index * 6 % 8;
    unsigned bits = at[0];

    if (shift > 2) {
        bits |= (unsigned)at[1] << 8;
    }
    return bits >> shift & HLL_VALUE_MAX;
}

/* Bytes that a register touches. */
static size_t hll_dense_size(unsigned index)
{
    return index * 6 % 8 > 2 ? 2 : 1;
}

/* `at` is the first byte of the register. */
static void hll_dense_put(uint8_t *at, unsigned index, unsigned value)
{
    const unsigned shift = index * 6 % 8;

    at[0] = (uint8_t)((at[0] & ~(HLL_VALUE_MAX << shift)) | value << shift);
    if (hll_dense_size(index) > 1) {
        at[1] = (uint8_t)((at[1] & ~(HLL_VALUE_MAX >> (8 - shift))) |
                          value >> (8 - shift));
    }
}

void cmd_hll_dense_set(uint8_t *p, unsigned index, unsigned value)
{
    hll_dense_put(p + CMD_HLL_HEADER + index * 6 / 8, index, value);
}

size_t cmd_hll_dense_part(const uint8_t *p, unsigned index, unsigned value,
                          uint8_t part[2], size_t *size)
{
    const size_t at = CMD_HLL_HEADER + index * 6 / 8;

    *size = hll_dense_size(index);
    memcpy(part, p + at, *size);
    hll_dense_put(part, index, value);
    return at;
}

/* ---- sparse: runs ------------------------------------------------------- */

struct hll_run {
    unsigned count, value; /* registers, and what each holds */
    unsigned size;         /* bytes */
};

/* The run at p < end. A long one that is cut off reads as if a zero byte
 * followed. */
static inline struct hll_run hll_run_read(const uint8_t *p, const uint8_t *end)
{
    if (p[0] & 0x80) {
        return (struct hll_run){.count = (p[0] & 3u) + 1,
                                .value = (p[0] >> 2 & 31u) + 1,
                                .size = 1};
    }
    if (p[0] & 0x40) {
        const unsigned low = p + 1 < end ? p[1] : 0;

        return (struct hll_run){.count = ((p[0] & 63u) << 8 | low) + 1,
                                .size = 2};
    }
    return (struct hll_run){.count = (p[0] & 63u) + 1, .size = 1};
}

/* Bytes written; `count` 0 writes none. */
static unsigned hll_run_write(uint8_t *p, unsigned value, unsigned count)
{
    if (count == 0) {
        return 0;
    }
    if (value > 0) {
        p[0] = (uint8_t)(0x80 | (value - 1) << 2 | (count - 1));
        return 1;
    }
    if (count > HLL_ZEROS_MAX) { /* HL1 */
        p[0] = (uint8_t)(0x40 | (count - 1) >> 8);
        p[1] = (uint8_t)(count - 1);
        return 2;
    }
    p[0] = (uint8_t)(count - 1);
    return 1;
}

void cmd_hll_new(struct kv_buf *buf)
{
    uint8_t bytes[CMD_HLL_HEADER + 2] = {0};

    memcpy(bytes, hll_magic, sizeof(hll_magic));
    bytes[HLL_FORM_AT] = HLL_SPARSE;
    hll_run_write(bytes + CMD_HLL_HEADER, 0, CMD_HLL_REGISTERS);
    kv_buf_reset(buf, buf->cap);
    kv_buf_add(buf, bytes, sizeof(bytes));
}

/* ---- sparse: raising a register ----------------------------------------- */

/* Put `size` bytes in place of the `old` bytes at `at`. */
static bool hll_splice(struct kv_buf *buf, size_t at, size_t old,
                       const uint8_t *p, size_t size)
{
    const size_t behind = buf->size > at + old ? buf->size - (at + old) : 0;

    if (!kv_buf_reserve(buf, size)) {
        return false;
    }
    memmove(buf->p + at + size, buf->p + at + old, behind);
    memcpy(buf->p + at, p, size);
    buf->size = at + size + behind;
    return true;
}

/* HL2, from the run at `at` on. */
static void hll_join(struct kv_buf *buf, size_t at)
{
    for (unsigned looks = 0; looks < HLL_JOIN_LOOKS && at < buf->size;
         looks++) {
        const uint8_t *end = buf->p + buf->size;
        const struct hll_run run = hll_run_read(buf->p + at, end);
        uint8_t joined;

        if (run.value > 0 && at + 1 < buf->size) {
            const struct hll_run next = hll_run_read(buf->p + at + 1, end);

            if (next.value == run.value &&
                run.count + next.count <= HLL_SPARSE_RUN_MAX) {
                hll_run_write(&joined, run.value, run.count + next.count);
                (void)hll_splice(buf, at, 2, &joined, 1);
                continue; /* with the joined run */
            }
        }
        at += run.size;
    }
}

/* Where the run that holds `index` begins, its first register, and where the
 * run before begins. False: there is none. */
static bool hll_find(const struct kv_buf *buf, unsigned index, size_t *at,
                     unsigned *first, size_t *before)
{
    const uint8_t *end = buf->p + buf->size;

    *at = *before = CMD_HLL_HEADER;
    *first = 0;
    while (*at < buf->size) {
        const struct hll_run run = hll_run_read(buf->p + *at, end);

        if (index < *first + run.count) {
            return true;
        }
        *before = *at;
        *at += run.size;
        *first += run.count;
    }
    return false;
}

static bool hll_raise_dense(struct kv_buf *buf, unsigned index, unsigned value,
                            bool *raised)
{
    *raised = cmd_hll_dense_get(buf->p, index) < value;
    if (*raised) {
        cmd_hll_dense_set(buf->p, index, value);
        cmd_hll_forget(buf->p);
    }
    return true;
}

bool cmd_hll_raise(struct kv_buf *buf, unsigned index, unsigned value,
                   size_t sparse_max, bool *raised)
{
    uint8_t split[HLL_SPLIT_MAX];
    struct hll_run run;
    size_t at, before;
    unsigned first, size = 0;

    *raised = false;
    if (!cmd_hll_is_dense(buf->p) && value <= HLL_SPARSE_VALUE_MAX) {
        if (!hll_find(buf, index, &at, &first, &before)) {
            return false;
        }
        run = hll_run_read(buf->p + at, buf->p + buf->size);
        if (run.value >= value) {
            return true;
        }
        size += hll_run_write(split, run.value, index - first);
        size += hll_run_write(split + size, value, 1);
        size += hll_run_write(split + size, run.value,
                              first + run.count - 1 - index);
        if (size <= run.size || buf->size + size - run.size <= sparse_max) {
            if (hll_splice(buf, at, run.size, split, size)) {
                hll_join(buf, before);
                cmd_hll_forget(buf->p);
                *raised = true;
            }
            return true;
        }
    }
    if (!cmd_hll_is_dense(buf->p) && !cmd_hll_densify(buf)) { /* HL3 */
        return buf->failed;
    }
    return hll_raise_dense(buf, index, value, raised);
}

bool cmd_hll_densify(struct kv_buf *buf)
{
    const uint8_t *p, *end;
    struct kv_buf dense;
    unsigned index = 0;

    if (cmd_hll_is_dense(buf->p)) {
        return true;
    }
    kv_buf_init(&dense, buf->kind, CMD_HLL_DENSE_SIZE);
    if (!kv_buf_reserve(&dense, CMD_HLL_DENSE_SIZE)) {
        buf->failed = true;
        return false;
    }
    dense.size = CMD_HLL_DENSE_SIZE;
    memset(dense.p, 0, CMD_HLL_DENSE_SIZE);
    memcpy(dense.p, buf->p, CMD_HLL_HEADER);
    dense.p[HLL_FORM_AT] = HLL_DENSE;
    end = buf->p + buf->size;
    for (p = buf->p + CMD_HLL_HEADER; p < end;) {
        const struct hll_run run = hll_run_read(p, end);

        if (run.count > CMD_HLL_REGISTERS - index) {
            index = 0;
            break;
        }
        for (unsigned i = 0; i < run.count && run.value > 0; i++) {
            cmd_hll_dense_set(dense.p, index + i, run.value);
        }
        index += run.count;
        p += run.size;
    }
    if (index != CMD_HLL_REGISTERS) {
        kv_buf_fini(&dense);
        return false;
    }
    dense.size_max = buf->size_max;
    kv_buf_fini(buf);
    *buf = dense;
    return true;
}

/* ---- reading all registers ---------------------------------------------- */

static void hll_merge_dense(const uint8_t *p, uint8_t *registers)
{
    for (unsigned i = 0; i < CMD_HLL_REGISTERS; i += 4, p += 3) {
        const unsigned bits =
            p[0] | (unsigned)p[1] << 8 | (unsigned)p[2] << 16;

        for (unsigned k = 0; k < 4; k++) {
            const uint8_t value = (uint8_t)(bits >> 6 * k & HLL_VALUE_MAX);

            if (value > registers[i + k]) {
                registers[i + k] = value;
            }
        }
    }
}

bool cmd_hll_merge(const uint8_t *p, size_t size,
                   uint8_t registers[CMD_HLL_REGISTERS])
{
    const uint8_t *end = p + size;
    unsigned index = 0;

    if (cmd_hll_is_dense(p)) {
        hll_merge_dense(p + CMD_HLL_HEADER, registers);
        return true;
    }
    for (p += CMD_HLL_HEADER; p < end;) {
        const struct hll_run run = hll_run_read(p, end);

        if (run.count > CMD_HLL_REGISTERS - index) {
            return false;
        }
        for (unsigned i = 0; i < run.count && run.value > 0; i++) {
            if (run.value > registers[index + i]) {
                registers[index + i] = (uint8_t)run.value;
            }
        }
        index += run.count;
        p += run.size;
    }
    return index == CMD_HLL_REGISTERS;
}

void cmd_hll_describe(const uint8_t *p, size_t size, struct kv_buf *out)
{
    const uint8_t *end = p + size;

    for (p += CMD_HLL_HEADER; p < end && !out->failed;) {
        const struct hll_run run = hll_run_read(p, end);

        if (out->size > 0) {
            kv_buf_byte(out, ' ');
        }
        if (run.value > 0) {
            kv_buf_printf(out, "v:%u,%u", run.value, run.count);
        } else {
            kv_buf_printf(out, "%c:%u", run.size == 2 ? 'Z' : 'z', run.count);
        }
        p += run.size;
    }
}

/* ---- the estimate ------------------------------------------------------- */

/* Sum of x^(2^k) * 2^(k-1) over k, and x: corrects for registers that are 0. */
static double hll_sigma(double x)
{
    double sum = x, weight = 1, before;

    if (x == 1) {
        return INFINITY;
    }
    do {
        x *= x;
        before = sum;
        sum += x * weight;
        weight += weight;
    } while (sum != before);
    return sum;
}

/* The same for registers that are full. */
static double hll_tau(double x)
{
    double sum = 1 - x, weight = 1, before;

    if (x == 0 || x == 1) {
        return 0;
    }
    do {
        x = sqrt(x);
        before = sum;
        weight *= 0.5;
        sum -= (1 - x) * (1 - x) * weight;
    } while (sum != before);
    return sum / 3;
}

uint64_t cmd_hll_estimate(const uint8_t registers[CMD_HLL_REGISTERS])
{
    const double m = CMD_HLL_REGISTERS;
    const double alpha = 0.721347520444481703680; /* 1 / (2 ln 2) */
    unsigned histogram[HLL_VALUE_MAX + 1] = {0};
    double z;

    for (unsigned i = 0; i < CMD_HLL_REGISTERS; i++) {
        histogram[registers[i]]++;
    }
    z = m * hll_tau((m - histogram[HLL_VALUE_BITS + 1]) / m);
    for (unsigned k = HLL_VALUE_BITS; k >= 1; k--) {
        z = 0.5 * (z + histogram[k]);
    }
    z += m * hll_sigma(histogram[0] / m);
    return (uint64_t)llround(alpha * m * m / z);
}

/* ---- self test ---------------------------------------------------------- */

#define HLL_TEST_ELEMENTS 200000
#define HLL_TEST_ERROR 0.04 /* five times the standard error */

/* Both forms hold the same registers, and their estimate is near `count`. */
static const char *hll_test_compare(const struct kv_buf *sparse,
                                    const uint8_t *plain, uint64_t count)
{
    uint8_t registers[CMD_HLL_REGISTERS] = {0};
    double error;

    if (sparse->failed) {
        return "no memory";
    }
    if (!cmd_hll_merge(sparse->p, sparse->size, registers)) {
        return "a value is damaged";
    }
    if (memcmp(registers, plain, sizeof(registers)) != 0) {
        return "registers differ";
    }
    error = (double)cmd_hll_estimate(registers) - (double)count;
    return fabs(error) > 1 + (double)count * HLL_TEST_ERROR
               ? "the estimate is too far off"
               : NULL;
}

const char *cmd_hll_self_test(void)
{
    uint8_t plain[CMD_HLL_REGISTERS] = {0};
    struct kv_buf buf;
    const char *wrong = NULL;
    uint64_t compare_at = 1;

    kv_buf_init(&buf, KV_MEM_CLIENT, CMD_HLL_SIZE_MAX);
    cmd_hll_new(&buf);
    for (uint64_t i = 1; i <= HLL_TEST_ELEMENTS && wrong == NULL; i++) {
        uint8_t element[8];
        unsigned index, value;
        bool raised;

        kv_u64_put(element, i);
        index = cmd_hll_place(element, sizeof(element), &value);
        plain[index] = value > plain[index] ? (uint8_t)value : plain[index];
        if (buf.failed || !cmd_hll_raise(&buf, index, value,
                                         CMD_HLL_SPARSE_MAX, &raised)) {
            wrong = "an element could not be added";
        } else if (i == compare_at) {
            wrong = hll_test_compare(&buf, plain, i);
            compare_at *= 2;
        }
    }
    kv_buf_fini(&buf);
    return wrong;
}

/* value.h - bytes and SQLite values, and the sets of keys that right-hand
 * sides stand for (sql.md 2.1, 3.1). */
#ifndef KVSQL_VTAB_VALUE_H
#define KVSQL_VTAB_VALUE_H

#include "kvsql/base/num.h"
#include "vtab/state.h"

/* Bytes of an inserted value (VA4), or of a number as text. */
struct vt_input {
    struct kv_key key;
    char scratch[KV_DOUBLE_TEXT_MAX];
    sqlite3_value *dup; /* holds the text of a REAL */
};
/* NULL must have been refused. False: no memory. */
KV_INTERNAL bool vt_input_init(struct vt_input *input, sqlite3_value *value);
KV_INTERNAL void vt_input_fini(struct vt_input *input);

/* A number as the comparison with an INTEGER or REAL column sees it (PL4). */
enum vt_number_kind { VT_NUM_NULL, VT_NUM_INT, VT_NUM_REAL, VT_NUM_ABOVE };
struct vt_number {
    enum vt_number_kind kind; /* ABOVE: TEXT or BLOB that is no number */
    int64_t integer;
    double real;
};
KV_INTERNAL bool vt_number_get(sqlite3_value *value, struct vt_number *out);
/* Whether TEXT bytes are a number to SQLite's numeric affinity. */
KV_INTERNAL bool vt_number_of_text(const uint8_t *p, size_t size,
                                   struct vt_number *out);
KV_INTERNAL bool vt_number_equal(const struct vt_number *a,
                                 const struct vt_number *b);

/* Integers lo..hi; empty when lo > hi. */
struct vt_span {
    int64_t lo, hi;
};
KV_INTERNAL void vt_span_all(struct vt_span *span);
/* Narrow by `column op number`; op is SQLITE_INDEX_CONSTRAINT_EQ, GT ... */
KV_INTERNAL void vt_span_narrow(struct vt_span *span, int op,
                                const struct vt_number *number);

/* Scores between two bounds. */
struct vt_scores {
    double lo, hi;
    bool lo_open, hi_open, empty;
};
KV_INTERNAL void vt_scores_all(struct vt_scores *scores);
KV_INTERNAL void vt_scores_narrow(struct vt_scores *scores, int op,
                                  const struct vt_number *number);

/* One interval of keys. */
struct vt_range {
    struct kv_key lo, hi;
    bool has_lo, has_hi, lo_open, hi_open;
    bool point; /* lo == hi, both closed */
};

/* Keys as ascending, disjoint intervals; bytes are in the set's own memory. */
struct vt_chunk;
struct vt_set {
    struct vt_range *ranges;
    unsigned count, cap;
    struct vt_range first[2];
    struct vt_chunk *chunks;
    uint32_t used; /* of first_bytes */
    uint8_t first_bytes[128];
    bool bound;   /* parameters may be computed numbers too */
    bool text;    /* no number is compared as one (PL6) */
    bool numeric; /* an EQ with a computed number (PL2): a superset */
    struct vt_number number;
};
KV_INTERNAL void vt_set_init(struct vt_set *set);
KV_INTERNAL void vt_set_free(struct vt_set *set);
static inline void vt_set_fini(struct vt_set *set)
{
    if (set->chunks != NULL || set->ranges != set->first) vt_set_free(set);
}
/* Empty it; vt_set_all: everything. All below: false is "no memory". */
KV_INTERNAL void vt_set_reset(struct vt_set *set);
KV_INTERNAL void vt_set_all(struct vt_set *set);
/* The key that TEXT or a BLOB stands for, where it lies: its class is its SQL
 * type, whatever its bytes (VA5). False: no memory. */
KV_INTERNAL bool vt_key_of_value(sqlite3_value *value, struct kv_key *out);
/* Add what may be equal to `value`; vt_set_sort() after the last one. */
KV_INTERNAL bool vt_set_equal(struct vt_set *set, sqlite3_value *value);
KV_INTERNAL bool vt_set_point(struct vt_set *set, const struct kv_key *key);
KV_INTERNAL void vt_set_sort(struct vt_set *set);
/* Narrow to what may be above or below `value`. */
KV_INTERNAL bool vt_set_above(struct vt_set *set, sqlite3_value *value,
                              bool open);
KV_INTERNAL bool vt_set_below(struct vt_set *set, sqlite3_value *value,
                              bool open, bool known);
/* Narrow to lo <= key < hi; either may be NULL. */
KV_INTERNAL bool vt_set_between(struct vt_set *set, const struct kv_key *lo,
                                const struct kv_key *hi);
/* From what follows `prefix` to whole keys. */
KV_INTERNAL bool vt_set_prefix(struct vt_set *set, const struct kv_key *prefix);
/* Narrow to what a pattern can match; *exact: and to nothing else. */
KV_INTERNAL bool vt_set_glob(struct vt_set *set, const struct kv_key *pattern,
                             bool *exact);
KV_INTERNAL bool vt_set_like(struct vt_set *set, const struct kv_key *pattern);
/* The bytes, kept as long as the set. */
KV_INTERNAL bool vt_set_keep(struct vt_set *set, const struct kv_key *key,
                             struct kv_key *out);

/* Hand bytes to SQLite; `keep`: they live until the statement is over. */
KV_INTERNAL void vt_result_bytes(sqlite3_context *context, const uint8_t *p,
                                 size_t size, unsigned cls, bool keep);

#endif

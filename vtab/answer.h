/* answer.h - what a command said, as SQL keeps it: a run of items, walked leaf
 * by leaf with its path, or made into JSON (answer.c). */
#ifndef KVSQL_VTAB_ANSWER_H
#define KVSQL_VTAB_ANSWER_H

#include "kvsql/base/buf.h"
#include "vtab/session.h"

struct vt_answer {
    struct kv_buf items; /* u8 kind | u64 number, real or size | bytes */
};
KV_INTERNAL void vt_answer_init(struct vt_answer *answer);
KV_INTERNAL void vt_answer_fini(struct vt_answer *answer);
/* A vt_reply_fn whose arg is the answer. */
KV_INTERNAL bool vt_answer_take(void *arg, const struct vt_reply *item);

#define VT_ANSWER_DEPTH_MAX 32

/* The leaves of an answer in order. An array without elements is one, unless
 * it is the whole answer. */
struct vt_answer_walk {
    const struct vt_answer *answer;
    size_t offset;
    unsigned depth;
    struct vt_answer_level {
        uint64_t left, index; /* elements to come; number of the current one */
    } level[VT_ANSWER_DEPTH_MAX];
    struct vt_reply item; /* the current leaf; p lives as long as the answer */
};
KV_INTERNAL void vt_answer_start(struct vt_answer_walk *walk,
                                 const struct vt_answer *answer);
/* False: there is none left. */
KV_INTERNAL bool vt_answer_next(struct vt_answer_walk *walk);
/* Where the leaf stands, as SQLite's JSON functions write it: "$[0][1]". */
#define VT_ANSWER_PATH_MAX (2 + 22 * VT_ANSWER_DEPTH_MAX)
KV_INTERNAL size_t vt_answer_path(const struct vt_answer_walk *walk,
                                  char out[VT_ANSWER_PATH_MAX]);
/* The whole of it; bytes that are no TEXT are {"$hex":"..."} (TB2). */
KV_INTERNAL void vt_answer_json(const struct vt_answer *answer,
                                struct kv_buf *out);

#endif

/* params.h - values that a program gives, without it (params.c).
 *
 * Thread: the session's. */
#ifndef KVSQL_VTAB_PARAMS_H
#define KVSQL_VTAB_PARAMS_H

#include "kvsql/base/attr.h"
#include "vtab/sqlite.h"

#include <stdbool.h>
#include <stdint.h>

#define VT_PARAMS_MAX 10

/* Where a value comes from. */
struct vt_param {
    int number;    /* of a parameter, from 1; or 0, and then: */
    bool text;     /* a text at `place` of the literals, with a NUL */
    uint32_t place;
    int64_t integer; /* else this */
};

struct vt_params {
    sqlite3_stmt *stmt; /* NULL: there are none */
    unsigned count;
    int number[VT_PARAMS_MAX];
};

/* False: no memory. vt_params_fini() in any case. */
KV_INTERNAL bool vt_params_init(struct vt_params *params, sqlite3 *sql,
                                const struct vt_param *param, unsigned count,
                                const char *literals);
KV_INTERNAL void vt_params_fini(struct vt_params *params);
/* Forget what was bound to params->stmt. */
KV_INTERNAL void vt_params_unbind(struct vt_params *params);
/* The values, argv[count]; they live until vt_params_drop(). SQLite's code. */
KV_INTERNAL int vt_params_take(struct vt_params *params, sqlite3_value **argv);
KV_INTERNAL void vt_params_drop(struct vt_params *params);
/* Bind what was bound here to `stmt`. SQLite's code. */
KV_INTERNAL int vt_params_hand_over(struct vt_params *params,
                                    sqlite3_stmt *stmt);

#endif

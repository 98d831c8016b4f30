/* modules.h - between SQLite and the modules of vtab/: how often each method is
 * called, and in which an allocation failed.
 *
 * A program that wants it is linked with --wrap=sqlite3_create_module_v2. The
 * counters are shared with the processes that check makes, so that the parent
 * can ask for all of them in the end.
 *
 * Thread: sessions of one thread. */
#ifndef TESTS_LIB_MODULES_H
#define TESTS_LIB_MODULES_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#define MODULES_MAX 64

enum modules_method {
    MODULES_CREATE, /* counted as CONNECT where they are one function */
    MODULES_CONNECT,
    MODULES_BEST_INDEX,
    MODULES_DISCONNECT,
    MODULES_DESTROY,
    MODULES_OPEN,
    MODULES_CLOSE,
    MODULES_FILTER,
    MODULES_NEXT,
    MODULES_EOF,
    MODULES_COLUMN,
    MODULES_ROWID,
    MODULES_UPDATE,
    MODULES_BEGIN,
    MODULES_SYNC,
    MODULES_COMMIT,
    MODULES_ROLLBACK,
    MODULES_RENAME,
    MODULES_SAVEPOINT,
    MODULES_RELEASE,
    MODULES_ROLLBACK_TO,
    MODULES_METHODS
};

struct modules_count {
    bool there;      /* the module has the method */
    uint64_t calls;  /* all */
    uint64_t armed;  /* while some allocation was to fail, and had not yet */
    uint64_t failed; /* it failed in here */
};
struct modules_module {
    char name[32];
    struct modules_count method[MODULES_METHODS];
};

/* Before the first session; in main() when all processes are to count. */
void modules_share(void);
/* The i-th that was registered, or NULL. */
const struct modules_module *modules_at(unsigned i);
/* "xFilter" */
const char *modules_method_name(enum modules_method method);
/* Calls of the method, of all modules. */
uint64_t modules_calls(enum modules_method method);
/* kv_mem_fail_at(n, 0); 0 ends it and says whether an allocation failed. */
bool modules_fail_at(uint64_t n);

#endif

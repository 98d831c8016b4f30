/* sqlite.h - the one place where vtab/ takes SQLite's header from: the
 * library's own in the program, the loading process's table of functions in
 * the loadable extension (EX1). */
#ifndef KVSQL_VTAB_SQLITE_H
#define KVSQL_VTAB_SQLITE_H

#ifdef KVSQL_EXTENSION
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT3

/* Not in that table: the process has long begun to use its SQLite. */
static inline int vt_no_config(int what, ...)
{
    (void)what;
    return SQLITE_MISUSE;
}
#define sqlite3_config vt_no_config
#define sqlite3_initialize() SQLITE_OK
#else
#include <sqlite3.h>
#endif

#endif

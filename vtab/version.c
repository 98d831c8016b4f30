/* version.c - which SQLite answers at run time. Thread: any. */
#include "vtab/session.h"
#include "vtab/sqlite.h"

const char *vt_sqlite_version(void)
{
    return sqlite3_libversion();
}

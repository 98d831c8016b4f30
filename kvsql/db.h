/* db.h - the handle that joins the parts of the library.
 *
 *   kv_open_os   LOCK -> MANIFEST -> headers -> snapshot -> wal -> threads
 *   kv_close     threads -> wal (clean) -> store -> LOCK
 *
 * Everything else about a handle is declared in inside.h. */
#ifndef KVSQL_DB_H
#define KVSQL_DB_H

#include "kvsql/inside.h"
#include "kvsql/store.h"

#endif

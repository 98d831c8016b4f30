/* fakevfs.h - SQLite on the disk of fakeos.
 *
 * While it is in, SQLite opens every file through the given table: writes are
 * counted, cut, failed and forgotten there like anybody's. Files are named
 * "dir/name" as fakeos names them. One process at a time is assumed: locks are
 * not asked for, and side files do not exist.
 *
 * Thread: in and out from one; SQLite from any. */
#ifndef TESTS_LIB_FAKEVFS_H
#define TESTS_LIB_FAKEVFS_H

#include "kvsql/base/os.h"

/* Make it SQLite's default; `os` lives until fakevfs_out. */
void fakevfs_in(const struct kv_os *os);
void fakevfs_out(void);

#endif

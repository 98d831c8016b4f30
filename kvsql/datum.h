/* datum.h - SQL values as bytes whose memcmp order is SQLite's (KH3, KH4).
 *
 *   NULL   05
 *   number 10 | 8 bytes of a double (EN3) | [F8 + n / 256, n % 256]
 *   TEXT   20 | bytes | 00                         it has no NUL inside (VA1)
 *   BLOB   30 | bytes, 00 as 00 01 | 00 00
 *
 * An integer is the largest double that is no larger, and n = what is left of
 * it, 0 to 1023; so integers and reals are in one order, exactly, and 41 and
 * 41.0 are the same bytes. No value is the beginning of another one: values
 * one behind the other are in the order of rows. Behind a value comes the first
 * byte of the next, or KV_DATUM_KEY + a class, never KV_DATUM_END or more, save
 * the F8 of a larger number.
 *
 * Pure. Thread: any. */
#ifndef KVSQL_DATUM_H
#define KVSQL_DATUM_H

#include "kvsql/base/buf.h"
#include "kvsql/inside.h"

#endif

/* console.h - the console's files, as the build has put them into the program:
 * made from http/console and from Debian's editor by http/console/embed.
 *
 * All immutable; any thread. */
#ifndef KVSQL_HTTP_CONSOLE_H
#define KVSQL_HTTP_CONSOLE_H

#include <stddef.h>
#include <stdint.h>

#include "kvsql/base/attr.h"

struct http_console_file {
    const char *name; /* "app.js"; NULL behind the last */
    const char *type; /* its Content-Type */
    const char *hash; /* of the bytes: 16 hexadecimal digits */
    const uint8_t *plain, *gzip;
    size_t plain_size, gzip_size;
};

/* The first is index.html. */
KV_INTERNAL_DATA const struct http_console_file http_console_files[];
/* Of all files: their addresses are /_/VERSION/NAME, so each may be kept for
 * good. 16 hexadecimal digits. */
KV_INTERNAL_DATA const char http_console_version[];

#endif

/* deb822.h - reader of deb822 streams: the form of Debian's package indices,
 * dpkg's status file, source control files, and of many other lists.
 *
 *   stream   stanzas with blank lines between (also of blanks and tabs only)
 *   stanza   fields; each name at most once, case does not matter
 *   field    Name: value, and continuation lines that begin with a blank or tab
 *   comment  a line that begins with '#', anywhere, is left out
 *
 * Lines end with LF or CR LF; the last may end with the stream; a byte order
 * mark at the start is left out. The value is the text behind the colon
 * without blanks around it, then for each continuation line LF and the line as
 * it stands (its first blank included), without blanks at its end. Bytes are
 * taken as they are; only NUL is refused.
 *
 * Memory: one stanza. Thread: the caller's. */
#ifndef KVSQL_CLI_DEB822_H
#define KVSQL_CLI_DEB822_H

#include <stdio.h>

#include "kvsql/base/buf.h"
#include "kvsql/kvsql.h"

#define DEB822_STANZA_MAX (64u << 20) /* bytes of one stanza */
#define DEB822_FIELDS_MAX 1024

struct cli_deb822_field {
    kvsql_slice name, value;
    uint64_t line; /* where it begins, from 1 */
};

struct cli_deb822 {
    FILE *file;
    const char *source; /* its name, for messages */
    uint64_t line;      /* lines read */
    uint64_t bytes;     /* bytes read */
    char *input;        /* getline's */
    size_t input_size;
    struct kv_buf text; /* names and values of the stanza */
    struct {
        size_t name, name_size, value, value_size;
        uint64_t line;
    } spans[DEB822_FIELDS_MAX];
    struct cli_deb822_field fields[DEB822_FIELDS_MAX];
    unsigned field_count;
    uint64_t stanza_line; /* where the stanza begins */
};

/* `file` stays the caller's; `source` must live as long. */
KV_INTERNAL void cli_deb822_init(struct cli_deb822 *reader, FILE *file,
                                 const char *source);
KV_INTERNAL void cli_deb822_fini(struct cli_deb822 *reader);

/* The next stanza, in fields[0 .. field_count) until the next call; *more is
 * false at the end of the stream. KVSQL_SYNTAX names source, line and what is
 * wrong; KVSQL_IO; KVSQL_TOOBIG; KVSQL_NOMEM. */
KV_INTERNAL kvsql_rc cli_deb822_next(struct cli_deb822 *reader, bool *more,
                                     struct kvsql_error *err) KV_MUST_USE;

/* Field by name, any case; NULL when there is none. */
KV_INTERNAL const struct cli_deb822_field *cli_deb822_find(
    const struct cli_deb822 *reader, const char *name);

/* Walk a relation field ("a (>= 1) | b, c:any [amd64] <!nocheck>"): the names
 * of the first alternative of each group, bare. *offset starts at 0; false at
 * the end. What is no package name is passed over. */
KV_INTERNAL bool cli_deb822_relation(kvsql_slice value, size_t *offset,
                                     kvsql_slice *name);

#endif

/* import.h - what the importers share: records become commands, records go in
 * batches, a batch that is acknowledged is counted.
 *
 * Thread: the main thread. */
#ifndef KVSQL_CLI_IMPORT_H
#define KVSQL_CLI_IMPORT_H

#include <stdio.h>

#include "cli/progress.h"
#include "cli/target.h"

#define IMPORT_BATCH_BYTES (384u << 10) /* below http-max-body's default */
#define IMPORT_BATCH_COMMANDS 4000       /* a server takes 10000 */
#define IMPORT_NAME_MAX ((size_t)64 << 20)

struct cli_import {
    const struct cli_settings *settings;
    struct cli_target *target;
    FILE *file;
    const char *source;    /* its name */
    uint64_t file_size;    /* 0 = unknown */
    uint64_t file_read;    /* bytes read so far, kept by the format's reader */
    struct cmd_words batch;
    struct kv_buf names;   /* of the records in the batch, a line each */
    unsigned waiting;      /* records in the batch */
    unsigned batch_max;
    bool print_acked;
    bool db;               /* the file is one of SQLite */
    unsigned page_size;    /* of that */
    uint64_t acked;        /* records acknowledged */
    struct cli_progress progress;
};

/* A word made of the key prefix, `a` and `b`. */
KV_INTERNAL void cli_import_key(struct cli_import *import, const char *a,
                                kvsql_slice b);
/* The commands of a record called `name` are in the batch: send it when it is
 * full. */
KV_INTERNAL kvsql_rc cli_import_record(struct cli_import *import,
                                       kvsql_slice name,
                                       struct kvsql_error *err) KV_MUST_USE;

/* The batch is as large as one should be. */
KV_INTERNAL bool cli_import_full(const struct cli_import *import);
/* Send what is in the batch, though its last record goes on. */
KV_INTERNAL kvsql_rc cli_import_flush(struct cli_import *import,
                                      struct kvsql_error *err) KV_MUST_USE;

/* The formats: each reads import->file to its end. */
KV_INTERNAL kvsql_rc cli_import_deb822(struct cli_import *import,
                                       struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL kvsql_rc cli_import_ndjson(struct cli_import *import,
                                       struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL kvsql_rc cli_import_csv(struct cli_import *import,
                                    struct kvsql_error *err) KV_MUST_USE;

/* Is the file, at its start, one of SQLite? Then sets page_size. */
KV_INTERNAL bool cli_import_is_db(struct cli_import *import);
/* The portable tables of the file import->source. */
KV_INTERNAL kvsql_rc cli_import_db(struct cli_import *import,
                                   struct kvsql_error *err) KV_MUST_USE;

/* The keys of the server that --from names. */
KV_INTERNAL kvsql_rc cli_import_redis(struct cli_import *import,
                                      struct kvsql_error *err) KV_MUST_USE;

#endif

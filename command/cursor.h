/* cursor.h - where a scan goes on, as a number: cursor.c keeps names,
 * cursor_path.c finds its way by bytes.
 *
 * Thread: any; a struct cmd_names is its owner's. */
#ifndef KVSQL_COMMAND_CURSOR_H
#define KVSQL_COMMAND_CURSOR_H

#include "command/context.h"

/* Names in their order: keys, or the elements of one collection. What is
 * found lives until the next call. */
struct cmd_names {
    void *arg;
    /* The first name that is not below `key`. */
    bool (*seek)(void *arg, const struct kv_key *key, struct kv_key *found);
    /* The last name below `key`; NULL: the last of all. */
    bool (*seek_back)(void *arg, const struct kv_key *key,
                      struct kv_key *found);
    /* Only names that begin so are looked for (MATCH). */
    const uint8_t *prefix;
    size_t prefix_size;
};

/* Where to go on: at the first name that is not below the bytes of class
 * `cls`, or with `behind` above them. */
struct cmd_place {
    uint8_t cls;
    bool behind;
    bool group; /* this is but the start of its group: the name was lost */
};

/* Longest name that a cursor can stand behind: a slice goes on past longer
 * ones. */
#define CMD_CURSOR_NAME_MAX KVSQL_KEY_MAX
/* The cursor between two names that follow each other; never 0. NOMEM. */
KV_INTERNAL kvsql_rc cmd_cursor_make(const struct cmd_names *names,
                                     const struct kv_key *last,
                                     const struct kv_key *next,
                                     uint64_t *cursor);
/* Where a cursor goes on; the bytes are appended to out. A number that we
 * never gave leads anywhere. NOMEM sets out->failed. */
KV_INTERNAL void cmd_cursor_find(const struct cmd_names *names,
                                 uint64_t cursor, struct kv_buf *out,
                                 struct cmd_place *place);
/* Forget all names that are kept and free them, as a restart would. */
KV_INTERNAL void cmd_cursor_clear(void);

/* ---- paths (cursor_path.c) ---------------------------------------------- */

/* A path below 2^52 that is the place of `next` behind `last`; 0: they have
 * too much in common. */
KV_INTERNAL uint64_t cmd_path_exact(const struct kv_key *last,
                                    const struct kv_key *next);
/* A path below 2^31 to `next`, or to a place before it that is near. */
KV_INTERNAL uint64_t cmd_path_rough(const struct cmd_names *names,
                                    const struct kv_key *last,
                                    const struct kv_key *next);
/* Where a path leads to now; the bytes are appended to out. */
KV_INTERNAL void cmd_path_follow(const struct cmd_names *names, uint64_t path,
                                 bool rough, struct kv_buf *out,
                                 struct cmd_place *place);

#endif

/* wire.h - the REST of kvsql as a client speaks it: SQL and commands into JSON
 * bodies, answers back into rows and replies.
 *
 * Thread: the owner's. */
#ifndef KVSQL_CLI_WIRE_H
#define KVSQL_CLI_WIRE_H

#include "cli/remote.h"
#include "cli/target.h"

KV_INTERNAL kvsql_rc cli_wire_sql(struct cli_remote *remote, const char *sql,
                                  size_t size, unsigned param_count,
                                  const struct vt_value *params,
                                  uint64_t row_max,
                                  const struct cli_rows *rows,
                                  struct cli_answer *answer,
                                  struct cli_trouble *trouble) KV_MUST_USE;
KV_INTERNAL kvsql_rc cli_wire_transaction(struct cli_remote *remote,
                                          unsigned count,
                                          const kvsql_slice *statements,
                                          bool rollback,
                                          const struct cli_rows *rows,
                                          int64_t *changes,
                                          struct cli_trouble *trouble)
    KV_MUST_USE;
KV_INTERNAL kvsql_rc cli_wire_pipeline(struct cli_remote *remote,
                                       const struct cmd_words *batch,
                                       struct cmd_reply *replies,
                                       struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL kvsql_rc cli_wire_batch(struct cli_remote *remote,
                                    const struct cmd_words *batch,
                                    struct kvsql_error *err) KV_MUST_USE;

/* Text of many control characters, or no text: JSON has it as base64. */
KV_INTERNAL bool cli_wire_is_bytes(const uint8_t *p, size_t size);
/* The batch as lines for /v1/import. False: a command of it is none that makes
 * a key, or has options. */
KV_INTERNAL bool cli_wire_records(const struct cmd_words *batch,
                                  struct kv_buf *out);

/* What /v1/snapshots says, appended to `answer`. */
KV_INTERNAL kvsql_rc cli_wire_snapshots(struct cli_remote *remote,
                                        struct kv_buf *answer,
                                        struct kvsql_error *err) KV_MUST_USE;
KV_INTERNAL kvsql_rc cli_wire_snapshot(struct cli_remote *remote,
                                       struct kv_buf *answer,
                                       struct kvsql_error *err) KV_MUST_USE;

/* RESP2 bytes into a reply, values behind each other. KVSQL_CORRUPT: it is
 * not RESP2. For tests too. */
KV_INTERNAL kvsql_rc cli_wire_resp2(const uint8_t *p, size_t size,
                                    struct cmd_reply *replies,
                                    struct kvsql_error *err) KV_MUST_USE;

#endif

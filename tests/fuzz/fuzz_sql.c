/* fuzz_sql.c - SQL text of a client: statement after statement under a client's
 * limits, each ends in time with rows or a sentence. Commands run inside it, too:
 * kv_exec and kv() have the rooms above. */
#include "cli/cli.h"
#include "kvsql/admin.h"
#include "kvsql/base/os.h"
#include "kvsql/inside.h"
#include "tests/lib/fuzz.h"
#include "vtab/session.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct kvsql_error err;

    (void)argc;
    (void)argv;
    fuzz_quiet();
    FUZZ_CHECK(vt_start(&err) == KVSQL_OK);
    cli_join_sql();
    vt_limit_set(VT_LIMIT_VALUE, 1 << 20);
    return 0;
}

static kvsql_rc run_statement(struct vt_statement *statement,
                              struct kvsql_error *err)
{
    struct vt_value value;
    bool row = true;
    kvsql_rc rc;

    while ((rc = vt_step(statement, &row, err)) == KVSQL_OK && row)
        for (int i = 0; i < vt_column_count(statement); i++)
            vt_column(statement, i, &value);
    return rc;
}

static void run_all(struct vt_session *session, const char *text, size_t size)
{
    struct kvsql_error err = {.text = ""};
    struct vt_statement *statement;
    kvsql_rc rc = KVSQL_OK;
    size_t tail;

    for (size_t at = 0; rc == KVSQL_OK && at < size; at += tail) {
        rc = vt_prepare(session, text + at, size - at, &tail, &statement,
                        &err);
        if (rc == KVSQL_OK && statement != NULL) {
            rc = run_statement(statement, &err);
            vt_finish(statement);
        }
        FUZZ_CHECK(rc == KVSQL_OK || (rc != KVSQL_INTERNAL && err.text[0]));
        FUZZ_CHECK(rc != KVSQL_OK || tail > 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct kvsql_options options = {.no_keeper = true,
                                          .maxmemory = 64 << 20};
    const struct vt_limits limits = {.admin = true, .deadline_ms = 200,
                                     .row_max = 1000};
    struct vt_session *session;
    struct kvsql_error err;
    char *text = (char *)fuzz_copy(data, size);
    kvsql *db;

    FUZZ_CHECK(kv_open_os("", &options, kv_os_real(), NULL, NULL, &db, &err) ==
               KVSQL_OK);
    FUZZ_CHECK(vt_session_open(db, &limits, &session, &err) == KVSQL_OK);
    run_all(session, text, size);
    vt_session_close(session);
    FUZZ_CHECK(kv_close(db, &err) == KVSQL_OK);
    free(text);
    return 0;
}

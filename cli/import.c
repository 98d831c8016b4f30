/* import.c - `kvsql import`: records from a file, or the keys of another server,
 * into a server or a directory.
 *
 * Records are collected into batches; a batch is one atomic wal record, sent
 * and acknowledged before the next one is begun. A failure stops the import;
 * the records counted until then are in the store, and the same import can be
 * run again from its beginning: a record replaces what it made before.
 *
 * Thread: the main thread. */
#include "cli/import.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define IMPORT_BATCH_MAX 1000

void cli_import_key(struct cli_import *import, const char *a, kvsql_slice b)
{
    const char *prefix = cli_text(import->settings, CLI_OPT_IMPORT_PREFIX);
    struct cmd_words *batch = &import->batch;
    const size_t size = strlen(prefix) + strlen(a) + b.size;

    cmd_words_word(batch, NULL, 0);
    kv_buf_add(&batch->bytes, prefix, strlen(prefix));
    kv_buf_add(&batch->bytes, a, strlen(a));
    kv_buf_add(&batch->bytes, b.p, b.size);
    cmd_words_grow(batch, size);
}

bool cli_import_full(const struct cli_import *import)
{
    return cmd_words_size(&import->batch) >= IMPORT_BATCH_BYTES ||
           cmd_words_count(&import->batch) >= IMPORT_BATCH_COMMANDS;
}

kvsql_rc cli_import_flush(struct cli_import *import, struct kvsql_error *err)
{
    kvsql_rc rc = kv_buf_result(&import->names, "names of records", err);

    if (rc == KVSQL_OK)
        rc = cli_target_batch(import->target, &import->batch, err);
    if (rc != KVSQL_OK)
        return rc;
    import->acked += import->waiting;
    import->waiting = 0;
    if (import->print_acked && import->names.size > 0 &&
        (fwrite(import->names.p, 1, import->names.size, stdout) !=
             import->names.size ||
         fflush(stdout) != 0))
        return kv_fail(err, KVSQL_IO, "cannot write to standard output: %s",
                       strerror(errno));
    cmd_words_reset(&import->batch);
    kv_buf_reset(&import->names, IMPORT_BATCH_BYTES);
    cli_progress_show(&import->progress, import->acked, import->file_read,
                      import->file_size);
    return KVSQL_OK;
}

kvsql_rc cli_import_record(struct cli_import *import, kvsql_slice name,
                           struct kvsql_error *err)
{
    if (import->print_acked) {
        kv_buf_add(&import->names, name.p, name.size);
        kv_buf_byte(&import->names, '\n');
    }
    import->waiting++;
    if (import->waiting < import->batch_max && !cli_import_full(import))
        return KVSQL_OK;
    return cli_import_flush(import, err);
}

static kvsql_rc import_read(struct cli_import *import, struct kvsql_error *err)
{
    const char *format = cli_text(import->settings, CLI_OPT_IMPORT_FORMAT);
    kvsql_rc rc;

    if (import->file == NULL)
        return cli_import_redis(import, err);
    if (strcmp(format, "deb822") == 0)
        rc = cli_import_deb822(import, err);
    else if (import->db)
        rc = cli_import_db(import, err);
    else if (strcmp(format, "csv") == 0)
        rc = cli_import_csv(import, err);
    else
        rc = cli_import_ndjson(import, err);
    if (rc == KVSQL_OK && import->waiting > 0)
        rc = cli_import_flush(import, err);
    return rc;
}

/* Open what is to be read; NULL is --from. False: it was said why not. */
static bool import_open(struct cli_import *import, const char *path)
{
    struct stat info;

    import->source = path == NULL              ? "--from"
                     : strcmp(path, "-") == 0 ? "standard input"
                                              : path;
    if (path == NULL)
        return true;
    import->file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (import->file == NULL) {
        (void)cli_refuse(CLI_FAILED, "cannot read %s: %s", path,
                         strerror(errno));
        return false;
    }
    if (fstat(fileno(import->file), &info) == 0 && S_ISREG(info.st_mode))
        import->file_size = (uint64_t)info.st_size;
    import->db = import->file_size > 0 && cli_import_is_db(import);
    if (import->db && strcmp(path, "-") == 0) {
        (void)cli_refuse(CLI_USAGE, "an SQLite file is read by its name, not "
                                    "from standard input");
        return false;
    }
    if (!import->db &&
        strcmp(cli_text(import->settings, CLI_OPT_IMPORT_FORMAT), "db") == 0) {
        (void)cli_refuse(CLI_FAILED, "%s is no SQLite file", import->source);
        return false;
    }
    return true;
}

/* Say how it ended; the exit code. */
static int import_end(struct cli_import *import, kvsql_rc rc,
                      struct kvsql_error *err)
{
    char count[CLI_COUNT_TEXT_MAX];

    cli_progress_end(&import->progress);
    cli_count_text(count, import->acked);
    if (rc == KVSQL_OK) {
        fprintf(stderr, "imported %s %s in %.1f s\n", count,
                import->progress.unit,
                cli_progress_seconds(&import->progress));
        return CLI_DONE;
    }
    const int code = cli_target_refuse(err);
    fprintf(stderr, "kvsql: %s %s were acknowledged before that\n", count,
            import->progress.unit);
    return code;
}

static int import_run(const struct cli_settings *settings, const char *place,
                      const char *path)
{
    struct cli_import import = {
        .settings = settings,
        .batch_max = (unsigned)cli_number(settings, CLI_OPT_BATCH),
        .print_acked = cli_flag(settings, CLI_OPT_PRINT_ACKED)};
    const bool packages =
        strcmp(cli_text(settings, CLI_OPT_IMPORT_FORMAT), "deb822") == 0;
    struct kvsql_error err, close_err;

    if (import.batch_max == 0 || import.batch_max > IMPORT_BATCH_MAX)
        return cli_refuse(CLI_USAGE, "--batch is from 1 to %d",
                          IMPORT_BATCH_MAX);
    if (!import_open(&import, path))
        return CLI_FAILED;
    cmd_words_init(&import.batch, TARGET_BATCH_MAX);
    kv_buf_init(&import.names, KV_MEM_CLIENT, IMPORT_NAME_MAX);
    kvsql_rc rc = cli_target_open(settings, place, true, &import.target, &err);
    cli_progress_init(&import.progress, "import.progress", "importing",
                      path == NULL ? "keys"
                      : packages   ? "packages"
                                   : "records");
    if (rc == KVSQL_OK)
        rc = import_read(&import, &err);
    const kvsql_rc closed = cli_target_close(import.target, &close_err);
    if (rc == KVSQL_OK && closed != KVSQL_OK) {
        rc = closed;
        err = close_err;
    }
    if (import.file != NULL && import.file != stdin)
        (void)fclose(import.file);
    cmd_words_fini(&import.batch);
    kv_buf_fini(&import.names);
    return import_end(&import, rc, &err);
}

int cli_import(int argc, char **argv)
{
    struct cli_settings settings;
    struct kvsql_error err;
    int code;

    if (cli_settings_load(&settings, CLI_IN_IMPORT, argc, argv, &err) !=
        KVSQL_OK) {
        code = cli_settings_refuse(&err);
    } else if (settings.help) {
        cli_help(CLI_IN_IMPORT);
        code = CLI_DONE;
    } else {
        const unsigned n = settings.operand_count;
        const bool dir = cli_text(&settings, CLI_OPT_PLACE_DIR)[0] != '\0';
        const bool url = n > 0 && (strncmp(settings.operand[0], "http://", 7) ==
                                       0 ||
                                   strncmp(settings.operand[0], "https://",
                                           8) == 0);

        const bool from = cli_text(&settings, CLI_OPT_IMPORT_FROM)[0] != '\0';

        if (n != (unsigned)url + (from ? 0 : 1))
            code = cli_refuse(CLI_USAGE,
                              "import takes one FILE, `-` is standard input, or "
                              "--from: see kvsql import --help");
        else if (url && dir)
            code = cli_refuse(CLI_USAGE, "a URL or --dir, not both");
        else
            code = import_run(&settings, url ? settings.operand[0] : NULL,
                              from ? NULL : settings.operand[n - 1]);
    }
    cli_settings_fini(&settings);
    return code;
}

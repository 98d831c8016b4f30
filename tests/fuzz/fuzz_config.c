/* fuzz_config.c - a configuration file: refused with its name and line, or all
 * getters have a value that is one. `include` is out, it would read files. */
#include "cli/option.h"
#include "tests/lib/fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    fuzz_quiet();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cli_settings settings;
    struct kvsql_error err;
    char *text = fuzz_text(data, size);

    if (strcasestr(text, "include") != NULL) {
        free(text);
        return 0;
    }
    cli_settings_init(&settings, CLI_IN_SERVE);
    const kvsql_rc rc = cli_settings_parse(&settings, text, "f.conf", &err);
    FUZZ_CHECK(rc == KVSQL_OK || rc == KVSQL_SYNTAX);
    if (rc == KVSQL_OK) {
        for (unsigned id = 0; id < CLI_OPT_COUNT; id++)
            FUZZ_CHECK(cli_text(&settings, (enum cli_option_id)id) != NULL);
        (void)cli_number(&settings, CLI_OPT_MAXMEMORY);
        (void)cli_duration_ms(&settings, CLI_OPT_SQL_TIMEOUT);
        (void)cli_fsync(&settings, CLI_OPT_APPENDFSYNC);
        (void)cli_save_seconds(&settings);
    } else {
        FUZZ_CHECK(strstr(err.text, "f.conf") != NULL);
    }
    cli_settings_fini(&settings);
    free(text);
    return 0;
}

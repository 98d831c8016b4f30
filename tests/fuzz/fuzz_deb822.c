/* fuzz_deb822.c - the reader of package indexes: every stanza's fields have
 * names, and relation fields are walked to their end. */
#include "cli/deb822.h"
#include "tests/lib/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cli_deb822 reader; /* large */
    struct kvsql_error err;
    uint8_t *copy = fuzz_copy(data, size);
    FILE *file = size > 0 ? fmemopen(copy, size, "r") : NULL;
    kvsql_rc rc = KVSQL_OK;
    bool more = file != NULL;

    if (file == NULL) {
        free(copy);
        return 0;
    }
    cli_deb822_init(&reader, file, "input");
    while (more && (rc = cli_deb822_next(&reader, &more, &err)) == KVSQL_OK &&
           more) {
        FUZZ_CHECK(reader.field_count > 0);
        for (unsigned i = 0; i < reader.field_count; i++) {
            size_t offset = 0;
            kvsql_slice name;
            FUZZ_CHECK(reader.fields[i].name.size > 0);
            while (cli_deb822_relation(reader.fields[i].value, &offset, &name))
                FUZZ_CHECK(name.size > 0 &&
                           offset <= reader.fields[i].value.size);
        }
    }
    FUZZ_CHECK(rc == KVSQL_OK || rc == KVSQL_SYNTAX || rc == KVSQL_TOOBIG);
    cli_deb822_fini(&reader);
    (void)fclose(file);
    free(copy);
    return 0;
}

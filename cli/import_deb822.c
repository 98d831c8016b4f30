/* import_deb822.c - a stanza becomes a hash and what is asked about it.
 *
 *   pkg:NAME            hash: the fields as they stand
 *   section:SECTION     set: NAME
 *   by:installed-size   sorted set: NAME by Installed-Size (KiB)
 *   by:size             sorted set: NAME by Size (bytes)
 *   deps:NAME           list: what it needs, from Pre-Depends and Depends
 *
 * Of a group of alternatives ("a | b") the first counts, which is what Debian's
 * tools install; versions, architectures and build profiles are left out; a
 * name that comes twice is kept once. Stanzas are one batch of commands each
 * or several; a stanza is never split over two.
 *
 * Thread: the main thread. */
#include "cli/import.h"

#include <string.h>

#include "cli/deb822.h"
#include "kvsql/base/num.h"
#include "kvsql/base/text.h"

#define IMPORT_DEPS_MAX 4096 /* names in one list */

/* Names of one stanza, borrowed from the reader. */
struct import_deps {
    kvsql_slice name[IMPORT_DEPS_MAX];
    unsigned count;
};

static bool import_deps_has(const struct import_deps *deps, kvsql_slice name)
{
    for (unsigned i = 0; i < deps->count; i++)
        if (deps->name[i].size == name.size &&
            memcmp(deps->name[i].p, name.p, name.size) == 0)
            return true;
    return false;
}

static void import_deps_add(struct import_deps *deps,
                            const struct cli_deb822_field *field)
{
    kvsql_slice name;

    if (field == NULL)
        return;
    for (size_t at = 0; deps->count < IMPORT_DEPS_MAX &&
                        cli_deb822_relation(field->value, &at, &name);)
        if (!import_deps_has(deps, name))
            deps->name[deps->count++] = name;
}

/* ZADD KEY number NAME, when the field holds a number. */
static void import_score(struct cli_import *import,
                         const struct cli_deb822_field *field, const char *key,
                         kvsql_slice name)
{
    double number;

    if (field == NULL ||
        !kv_num_double(field->value.p, field->value.size, &number))
        return;
    cmd_words_command(&import->batch, "ZADD");
    cli_import_key(import, key, (kvsql_slice){"", 0});
    cmd_words_word(&import->batch, field->value.p, field->value.size);
    cmd_words_word(&import->batch, name.p, name.size);
}

static void import_stanza(struct cli_import *import,
                          const struct cli_deb822 *reader, kvsql_slice name,
                          struct import_deps *deps)
{
    struct cmd_words *batch = &import->batch;
    const struct cli_deb822_field *section =
        cli_deb822_find(reader, "Section");

    cmd_words_command(batch, "DEL");
    cli_import_key(import, "pkg:", name);
    cli_import_key(import, "deps:", name);
    cmd_words_command(batch, "HSET");
    cli_import_key(import, "pkg:", name);
    for (unsigned i = 0; i < reader->field_count; i++) {
        const struct cli_deb822_field *field = &reader->fields[i];

        cmd_words_word(batch, field->name.p, field->name.size);
        cmd_words_word(batch, field->value.p, field->value.size);
    }
    if (section != NULL && section->value.size > 0) {
        cmd_words_command(batch, "SADD");
        cli_import_key(import, "section:", section->value);
        cmd_words_word(batch, name.p, name.size);
    }
    import_score(import, cli_deb822_find(reader, "Installed-Size"),
                 "by:installed-size", name);
    import_score(import, cli_deb822_find(reader, "Size"), "by:size", name);
    deps->count = 0;
    import_deps_add(deps, cli_deb822_find(reader, "Pre-Depends"));
    import_deps_add(deps, cli_deb822_find(reader, "Depends"));
    if (deps->count == 0)
        return;
    cmd_words_command(batch, "RPUSH");
    cli_import_key(import, "deps:", name);
    for (unsigned i = 0; i < deps->count; i++)
        cmd_words_word(batch, deps->name[i].p, deps->name[i].size);
}

static kvsql_rc import_stanzas(struct cli_import *import,
                               struct cli_deb822 *reader,
                               struct import_deps *deps,
                               struct kvsql_error *err)
{
    const char *id = cli_text(import->settings, CLI_OPT_ID_FIELD);
    bool more = true;
    kvsql_rc rc;

    while ((rc = cli_deb822_next(reader, &more, err)) == KVSQL_OK && more) {
        const struct cli_deb822_field *name = cli_deb822_find(reader, id);

        if (name == NULL || name->value.size == 0)
            return kv_fail(err, KVSQL_SYNTAX,
                           "%s:%llu: this stanza has no field '%s'; --id-field "
                           "names another",
                           import->source,
                           (unsigned long long)reader->stanza_line, id);
        import->file_read = reader->bytes;
        import_stanza(import, reader, name->value, deps);
        rc = cli_import_record(import, name->value, err);
        if (rc != KVSQL_OK)
            return rc;
    }
    return rc;
}

kvsql_rc cli_import_deb822(struct cli_import *import, struct kvsql_error *err)
{
    struct cli_deb822 *reader = kv_mem_alloc(KV_MEM_CLIENT, sizeof *reader);
    struct import_deps *deps = kv_mem_alloc(KV_MEM_CLIENT, sizeof *deps);
    kvsql_rc rc;

    if (reader == NULL || deps == NULL) {
        rc = kv_fail(err, KVSQL_NOMEM, "no memory for a stanza");
    } else {
        cli_deb822_init(reader, import->file, import->source);
        rc = import_stanzas(import, reader, deps, err);
        cli_deb822_fini(reader);
    }
    kv_mem_free(KV_MEM_CLIENT, deps, sizeof *deps);
    kv_mem_free(KV_MEM_CLIENT, reader, sizeof *reader);
    return rc;
}

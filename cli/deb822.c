/* deb822.c - reader of deb822 streams; the grammar stands in deb822.h.
 *
 * Always true between calls of deb822_line:
 *   D1  spans[0 .. field_count) point into text, in the order of the stream;
 *       they become slices when the stanza is whole, because text may move.
 *   D2  the value of the last field ends where text ends, so a continuation
 *       line is an append.
 *
 * Thread: the caller's. */
#include "cli/deb822.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "kvsql/base/text.h"

void cli_deb822_init(struct cli_deb822 *reader, FILE *file,
                     const char *source)
{
    reader->file = file;
    reader->source = source;
    reader->line = 0;
    reader->bytes = 0;
    reader->input = NULL;
    reader->input_size = 0;
    reader->field_count = 0;
    reader->stanza_line = 0;
    kv_buf_init(&reader->text, KV_MEM_MISC, DEB822_STANZA_MAX);
}

void cli_deb822_fini(struct cli_deb822 *reader)
{
    kv_buf_fini(&reader->text);
    free(reader->input); /* getline's block */
}

static bool deb822_blank(char c)
{
    return c == ' ' || c == '\t';
}

static kvsql_rc deb822_wrong(const struct cli_deb822 *reader,
                             struct kvsql_error *err, const char *what,
                             const char *text, size_t size)
{
    char shown[60];

    return kv_fail(err, KVSQL_SYNTAX, "%s:%llu: %s: '%s'", reader->source,
                   (unsigned long long)reader->line, what,
                   kv_text_show(shown, sizeof shown, text, size));
}

/* Bytes of the field name at the start of a line, 0 when there is none. */
static size_t deb822_name_size(const char *line, size_t size)
{
    size_t n = 0;

    if (size == 0 || line[0] == '-')
        return 0;
    while (n < size && line[n] > ' ' && line[n] < 0x7f && line[n] != ':')
        n++;
    return n < size && line[n] == ':' ? n : 0;
}

static bool deb822_known(const struct cli_deb822 *reader, const char *name,
                         size_t size)
{
    for (unsigned i = 0; i < reader->field_count; i++)
        if (reader->spans[i].name_size == size &&
            strncasecmp((const char *)reader->text.p + reader->spans[i].name,
                        name, size) == 0)
            return true;
    return false;
}

/* A line that begins a field. */
static kvsql_rc deb822_field(struct cli_deb822 *reader, const char *line,
                             size_t size, struct kvsql_error *err)
{
    const size_t name_size = deb822_name_size(line, size);

    if (name_size == 0 && size >= 5 && memcmp(line, "-----", 5) == 0)
        return deb822_wrong(reader, err,
                            "a signed stream; take the signature off first, "
                            "with gpg --decrypt or gpgv --output",
                            line, size);
    if (name_size == 0)
        return deb822_wrong(reader, err,
                            "not a field: a field is 'Name: value', a "
                            "continuation line begins with a blank",
                            line, size);
    if (deb822_known(reader, line, name_size))
        return deb822_wrong(reader, err,
                            "this field stands in the stanza already", line,
                            name_size);
    if (reader->field_count == DEB822_FIELDS_MAX)
        return kv_fail(err, KVSQL_TOOBIG,
                       "%s:%llu: more than %d fields in one stanza",
                       reader->source, (unsigned long long)reader->line,
                       DEB822_FIELDS_MAX);
    size_t from = name_size + 1;
    while (from < size && deb822_blank(line[from]))
        from++;
    const unsigned i = reader->field_count++;
    reader->spans[i].line = reader->line;
    reader->spans[i].name = reader->text.size;
    reader->spans[i].name_size = name_size;
    kv_buf_add(&reader->text, line, name_size);
    reader->spans[i].value = reader->text.size;
    reader->spans[i].value_size = size - from;
    kv_buf_add(&reader->text, line + from, size - from);
    if (i == 0)
        reader->stanza_line = reader->line;
    return KVSQL_OK;
}

/* A line that continues the last field (D2). */
static kvsql_rc deb822_continue(struct cli_deb822 *reader, const char *line,
                                size_t size, struct kvsql_error *err)
{
    if (reader->field_count == 0)
        return deb822_wrong(reader, err,
                            "a continuation line with no field before it",
                            line, size);
    reader->spans[reader->field_count - 1].value_size += size + 1;
    kv_buf_byte(&reader->text, '\n');
    kv_buf_add(&reader->text, line, size);
    return KVSQL_OK;
}

/* Read one line without its end; *size -1 at the end of the stream. */
static kvsql_rc deb822_read(struct cli_deb822 *reader, ssize_t *size,
                            struct kvsql_error *err)
{
    errno = 0;
    *size = getline(&reader->input, &reader->input_size, reader->file);
    if (*size < 0) {
        if (ferror(reader->file))
            return kv_fail(err, KVSQL_IO, "cannot read %s: %s",
                           reader->source, strerror(errno));
        if (errno == ENOMEM)
            return kv_fail(err, KVSQL_NOMEM, "%s:%llu: no memory for a line",
                           reader->source,
                           (unsigned long long)reader->line + 1);
        return KVSQL_OK;
    }
    reader->line++;
    reader->bytes += (uint64_t)*size;
    if (memchr(reader->input, '\0', (size_t)*size) != NULL)
        return deb822_wrong(reader, err, "a NUL byte; this is not text",
                            reader->input, (size_t)*size);
    if (*size > 0 && reader->input[*size - 1] == '\n')
        --*size;
    while (*size > 0 && (deb822_blank(reader->input[*size - 1]) ||
                         reader->input[*size - 1] == '\r'))
        --*size;
    return KVSQL_OK;
}

/* Take in one line; *whole says that a stanza has ended before it. */
static kvsql_rc deb822_line(struct cli_deb822 *reader, const char *line,
                            size_t size, bool *whole, struct kvsql_error *err)
{
    static const char mark[] = "\xef\xbb\xbf";

    if (reader->line == 1 && size >= 3 && memcmp(line, mark, 3) == 0) {
        line += 3;
        size -= 3;
    }
    *whole = size == 0 && reader->field_count > 0;
    if (size == 0 || line[0] == '#')
        return KVSQL_OK;
    return deb822_blank(line[0]) ? deb822_continue(reader, line, size, err)
                                 : deb822_field(reader, line, size, err);
}

/* D1: spans become slices. */
static void deb822_finish(struct cli_deb822 *reader)
{
    for (unsigned i = 0; i < reader->field_count; i++)
        reader->fields[i] = (struct cli_deb822_field){
            .name = {reader->text.p + reader->spans[i].name,
                     reader->spans[i].name_size},
            .value = {reader->text.p + reader->spans[i].value,
                      reader->spans[i].value_size},
            .line = reader->spans[i].line};
}

kvsql_rc cli_deb822_next(struct cli_deb822 *reader, bool *more,
                         struct kvsql_error *err)
{
    bool whole = false;

    *more = false;
    reader->field_count = 0;
    kv_buf_reset(&reader->text, 1u << 20);
    while (!whole) {
        ssize_t size;
        kvsql_rc rc = deb822_read(reader, &size, err);

        if (rc == KVSQL_OK && size < 0)
            break;
        if (rc == KVSQL_OK)
            rc = deb822_line(reader, reader->input, (size_t)size, &whole,
                             err);
        if (rc != KVSQL_OK)
            return rc;
        if (reader->text.failed)
            return kv_buf_result(&reader->text, "a deb822 stanza", err);
    }
    deb822_finish(reader);
    *more = reader->field_count > 0;
    return KVSQL_OK;
}

const struct cli_deb822_field *cli_deb822_find(const struct cli_deb822 *reader,
                                               const char *name)
{
    const size_t size = strlen(name);

    for (unsigned i = 0; i < reader->field_count; i++)
        if (reader->fields[i].name.size == size &&
            strncasecmp(reader->fields[i].name.p, name, size) == 0)
            return &reader->fields[i];
    return NULL;
}

/* ---- relations ---------------------------------------------------------------- */

static bool deb822_package_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
}

bool cli_deb822_relation(kvsql_slice value, size_t *offset, kvsql_slice *name)
{
    const char *text = value.p;

    while (*offset < value.size) {
        size_t i = *offset;

        while (i < value.size && (deb822_blank(text[i]) || text[i] == '\n'))
            i++;
        const size_t from = i;
        while (i < value.size && deb822_package_byte(text[i]))
            i++;
        const size_t to = i;
        /* versions, architectures, profiles, other alternatives */
        while (i < value.size && text[i] != ',')
            i++;
        *offset = i < value.size ? i + 1 : i;
        if (to > from) {
            *name = (kvsql_slice){text + from, to - from};
            return true;
        }
    }
    return false;
}

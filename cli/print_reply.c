/* print_reply.c - the reply of a command, in redis-cli's two forms.
 *
 *   typed   1) "name"            bare   name
 *           2) (integer) 7              7
 *
 * An explicit stack of a fixed depth walks nested aggregates.
 *
 * Thread: the owner's. */
#include "cli/print.h"

#include <string.h>

#include "kvsql/base/num.h"
#include "kvsql/base/text.h"

#define REPLY_DEPTH_MAX 32

struct reply_level {
    uint64_t left, count; /* items to come, in all */
    int width;            /* of the number before each */
};

static void reply_quoted(FILE *out, const uint8_t *p, size_t size)
{
    fputc('"', out);
    for (size_t i = 0; i < size; i++) {
        if (p[i] == '"' || p[i] == '\\')
            fprintf(out, "\\%c", p[i]);
        else if (p[i] == '\n')
            fputs("\\n", out);
        else if (p[i] == '\r')
            fputs("\\r", out);
        else if (p[i] == '\t')
            fputs("\\t", out);
        else if (p[i] < ' ' || p[i] == 0x7f)
            fprintf(out, "\\x%02x", p[i]);
        else
            fputc(p[i], out);
    }
    fputc('"', out);
}

static void reply_leaf(FILE *out, const struct cmd_item *item, bool typed)
{
    char real[KV_DOUBLE_TEXT_MAX];

    switch (item->kind) {
    case CMD_REPLY_NULL:
    case CMD_REPLY_NULL_ARRAY:
        fputs(typed ? "(nil)" : "", out);
        break;
    case CMD_REPLY_INT:
        fprintf(out, typed ? "(integer) %lld" : "%lld",
                (long long)item->number);
        break;
    case CMD_REPLY_BOOL:
        fprintf(out, typed ? "(integer) %lld" : "%lld",
                (long long)item->number);
        break;
    case CMD_REPLY_DOUBLE:
        if (item->size > 0)
            snprintf(real, sizeof real, "%.*s", (int)item->size,
                     (const char *)item->p);
        else
            kv_num_format_double(real, item->real);
        fprintf(out, typed ? "\"%s\"" : "%s", real);
        break;
    case CMD_REPLY_ERROR:
        fputs(typed ? "(error) " : "", out);
        fwrite(item->p, 1, item->size, out);
        break;
    case CMD_REPLY_BULK:
        if (typed)
            reply_quoted(out, item->p, item->size);
        else
            fwrite(item->p, 1, item->size, out);
        break;
    default: /* STATUS, VERBATIM */
        fwrite(item->p, 1, item->size, out);
        break;
    }
    fputc('\n', out);
}

static int reply_digits(uint64_t count)
{
    int digits = 1;

    for (; count >= 10; count /= 10)
        digits++;
    return digits;
}

/* The numbers before an item that begins a line: those of the levels whose
 * first item it is, and blanks for the others. */
static void reply_numbers(FILE *out, const struct reply_level *levels,
                          unsigned depth, unsigned fresh)
{
    for (unsigned i = 0; i < depth; i++) {
        const uint64_t number = levels[i].count - levels[i].left;

        if (i + fresh >= depth)
            fprintf(out, "%*llu) ", levels[i].width,
                    (unsigned long long)number);
        else
            fprintf(out, "%*s", levels[i].width + 2, "");
    }
}

static bool reply_aggregate(const struct cmd_item *item)
{
    return item->kind == CMD_REPLY_ARRAY || item->kind == CMD_REPLY_MAP ||
           item->kind == CMD_REPLY_SET || item->kind == CMD_REPLY_PAIRS;
}

void cli_print_reply(FILE *out, const struct cmd_reply *reply, size_t *offset,
                     bool typed, bool *failed)
{
    struct reply_level levels[REPLY_DEPTH_MAX];
    struct cmd_item item;
    unsigned depth = 0, fresh = 0;
    bool first = true;

    do {
        if (!cmd_reply_next(reply, offset, &item))
            return;
        if (first && item.kind == CMD_REPLY_ERROR)
            *failed = true;
        first = false;
        if (depth > 0) {
            levels[depth - 1].left--;
            fresh++;
        }
        const bool pairs =
            item.kind == CMD_REPLY_MAP || item.kind == CMD_REPLY_PAIRS;
        const uint64_t count = (uint64_t)item.number << pairs;
        if (reply_aggregate(&item) && count > 0 && depth < REPLY_DEPTH_MAX) {
            levels[depth++] = (struct reply_level){
                .left = count, .count = count, .width = reply_digits(count)};
            continue;
        }
        if (typed)
            reply_numbers(out, levels, depth, fresh);
        fresh = 0;
        if (reply_aggregate(&item))
            fputs(typed ? "(empty array)\n" : "\n", out);
        else
            reply_leaf(out, &item, typed);
        while (depth > 0 && levels[depth - 1].left == 0)
            depth--;
    } while (depth > 0);
}

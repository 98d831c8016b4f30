/* c_command.c - COMMAND: the table of commands, as clients ask for it; and
 * HELP of every container.
 *
 * All of it is made at each question from commands.def and traits.def: the
 * syntax column is read anew (a few microseconds a row), so there is nothing
 * to keep up to date. The shapes are those of Redis 7; one reply serves both
 * protocols.
 *
 * Thread: the caller's of cmd_run(). */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "command/context.h"
#include "command/traits.h"

#define COMMAND_LOWER_MAX 128

/* `size` bytes as a bulk text in small letters. */
static void command_answer_lower(struct cmd_context *c, const char *p,
                                 size_t size)
{
    char lower[COMMAND_LOWER_MAX];

    size = size < sizeof(lower) ? size : sizeof(lower);
    for (size_t i = 0; i < size; i++) {
        lower[i] = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] + 32) : p[i];
    }
    cmd_reply_bulk(c->reply, lower, size);
}

static void command_answer_name(struct cmd_context *c,
                                const struct cmd_row *row)
{
    command_answer_lower(c, row->name, strlen(row->name));
}

static void command_answer_status(struct cmd_context *c, const char *p,
                                  size_t size)
{
    char text[COMMAND_LOWER_MAX];

    (void)snprintf(text, sizeof(text), "%.*s", (int)size, p);
    cmd_reply_status(c->reply, text);
}

static unsigned command_index(const struct cmd_row *row)
{
    return (unsigned)(row - cmd_at(0));
}

static uint64_t command_subs(const struct cmd_row *row)
{
    uint64_t count = 0;

    while (cmd_traits_is_sub_of(
        cmd_at(command_index(row) + 1 + (unsigned)count), row)) {
        count++;
    }
    return count;
}

/* Call each(c, row) for the commands that are no subcommands. */
static uint64_t command_each(struct cmd_context *c,
                             void (*each)(struct cmd_context *c,
                                          const struct cmd_row *row))
{
    uint64_t count = 0;

    for (unsigned i = 0; i < cmd_count(); i++) {
        if (!cmd_traits_is_sub(cmd_at(i))) {
            each(c, cmd_at(i));
            count++;
        }
    }
    return count;
}

static void command_nothing(struct cmd_context *c, const struct cmd_row *row)
{
    (void)c;
    (void)row;
}

void cmd_do_command_count(struct cmd_context *c)
{
    cmd_reply_int(c->reply, (int64_t)command_each(c, command_nothing));
}

/* ---- INFO ---------------------------------------------------------------- */

/* A map of one pair: two, when there is a `notes` to come. */
static void command_answer_begin(struct cmd_context *c,
                                 const struct cmd_key_spec *spec)
{
    cmd_reply_text(c->reply, "begin_search");
    cmd_reply_map(c->reply, 2);
    cmd_reply_text(c->reply, "type");
    if (spec->begin == CMD_KEYS_AT_INDEX) {
        cmd_reply_text(c->reply, "index");
        cmd_reply_text(c->reply, "spec");
        cmd_reply_map(c->reply, 1);
        cmd_reply_text(c->reply, "index");
        cmd_reply_int(c->reply, spec->index);
    } else {
        cmd_reply_text(c->reply, "keyword");
        cmd_reply_text(c->reply, "spec");
        cmd_reply_map(c->reply, 2);
        cmd_reply_text(c->reply, "keyword");
        cmd_reply_bulk(c->reply, spec->token.p, spec->token.size);
        cmd_reply_text(c->reply, "startfrom");
        cmd_reply_int(c->reply, spec->index);
    }
}

static void command_answer_find(struct cmd_context *c,
                                const struct cmd_key_spec *spec)
{
    const struct {
        const char *name;
        int number;
    } numbers[3] = {
        {spec->counted ? "keynumidx" : "lastkey",
         spec->counted ? 0 : spec->last},
        {spec->counted ? "firstkey" : "keystep",
         spec->counted ? 1 : spec->step},
        {spec->counted ? "keystep" : "limit",
         spec->counted ? spec->step : spec->limit},
    };

    cmd_reply_text(c->reply, "find_keys");
    cmd_reply_map(c->reply, 2);
    cmd_reply_text(c->reply, "type");
    cmd_reply_text(c->reply, spec->counted ? "keynum" : "range");
    cmd_reply_text(c->reply, "spec");
    cmd_reply_map(c->reply, 3);
    for (int i = 0; i < 3; i++) {
        cmd_reply_text(c->reply, numbers[i].name);
        cmd_reply_int(c->reply, numbers[i].number);
    }
}

/* The words of a text as a set of status lines. */
static void command_answer_words(struct cmd_context *c, const char *text,
                                 const char *end)
{
    const size_t place = cmd_reply_begin(c->reply, CMD_REPLY_SET);
    const char *word;
    uint64_t count = 0;
    size_t size;

    while ((word = cmd_traits_word(&text, &size)) != NULL && word < end) {
        command_answer_status(c, word, size);
        count++;
    }
    cmd_reply_end(c->reply, place, count);
}

/* Tips are bulk strings, unlike flags and categories. */
static void command_answer_tips(struct cmd_context *c,
                                const struct cmd_row *row)
{
    const size_t place = cmd_reply_begin(c->reply, CMD_REPLY_SET);
    const char *text = cmd_traits_of(row)->tips, *word;
    uint64_t count = 0;
    size_t size;

    while ((word = cmd_traits_word(&text, &size)) != NULL) {
        cmd_reply_bulk(c->reply, word, size);
        count++;
    }
    cmd_reply_end(c->reply, place, count);
}

static void command_answer_specs(struct cmd_context *c,
                                 const struct cmd_row *row,
                                 const struct cmd_syntax *syntax)
{
    cmd_reply_set(c->reply, syntax->spec_count);
    for (unsigned i = 0; i < syntax->spec_count; i++) {
        const kvsql_slice flags = cmd_traits_keys(row, i);

        cmd_reply_map(c->reply, 3);
        cmd_reply_text(c->reply, "flags");
        command_answer_words(c, flags.p, (const char *)flags.p + flags.size);
        command_answer_begin(c, &syntax->specs[i]);
        command_answer_find(c, &syntax->specs[i]);
    }
}

/* What stands where keys do is none: SPUBLISH. */
static bool command_has_no_key(const struct cmd_row *row)
{
    const kvsql_slice flags = cmd_traits_keys(row, 0);

    return flags.size == strlen("not_key") &&
           memcmp(flags.p, "not_key", flags.size) == 0;
}

/* The ten elements but the last, which is the subcommands. */
static void command_answer_row(struct cmd_context *c,
                               const struct cmd_row *row)
{
    const char *text;
    struct cmd_syntax syntax;
    uint64_t count = 0;
    char name[64];
    size_t place;

    cmd_syntax_read(row, &syntax);
    cmd_reply_array(c->reply, 10);
    command_answer_name(c, row);
    cmd_reply_int(c->reply, row->arity);
    place = cmd_reply_begin(c->reply, CMD_REPLY_SET);
    while ((text = cmd_traits_flag(row, cmd_syntax_movable(&syntax),
                                   (unsigned)count)) != NULL) {
        cmd_reply_status(c->reply, text);
        count++;
    }
    cmd_reply_end(c->reply, place, count);
    cmd_reply_int(c->reply, row->first_key);
    cmd_reply_int(c->reply, row->last_key);
    cmd_reply_int(c->reply, row->step);
    place = cmd_reply_begin(c->reply, CMD_REPLY_SET);
    for (count = 0;
         (text = cmd_traits_category(row, (unsigned)count)) != NULL;
         count++) {
        (void)snprintf(name, sizeof(name), "@%s", text);
        cmd_reply_status(c->reply, name);
    }
    cmd_reply_end(c->reply, place, count);
    command_answer_tips(c, row);
    command_answer_specs(c, row, &syntax);
}

static void command_answer_info(struct cmd_context *c,
                                const struct cmd_row *row)
{
    const uint64_t subs = command_subs(row);

    command_answer_row(c, row);
    if (subs == 0) {
        cmd_reply_set(c->reply, 0); /* as Redis has it */
        return;
    }
    cmd_reply_array(c->reply, subs);
    for (unsigned i = 1; i <= subs; i++) {
        command_answer_row(c, row + i);
        cmd_reply_set(c->reply, 0);
    }
}

void cmd_do_command_info(struct cmd_context *c)
{
    if (c->argc > 2) {
        cmd_reply_array(c->reply, c->argc - 2);
        for (unsigned i = 2; i < c->argc; i++) {
            const struct cmd_row *row =
                cmd_find_full(c->argv[i].p, c->argv[i].size);

            if (row != NULL) {
                command_answer_info(c, row);
            } else {
                cmd_reply_null(c->reply);
            }
        }
        return;
    }
    cmd_reply_array(c->reply, command_each(c, command_nothing));
    (void)command_each(c, command_answer_info);
}

/* ---- DOCS ---------------------------------------------------------------- */

static void command_answer_arg(struct cmd_context *c,
                               const struct cmd_syntax *syntax,
                               const struct cmd_arg *arg);

/* A list of arguments, of which `first` is the first. */
static void command_answer_args(struct cmd_context *c,
                                const struct cmd_syntax *syntax,
                                uint8_t first)
{
    const size_t place = cmd_reply_begin(c->reply, CMD_REPLY_ARRAY);
    uint64_t count = 0;

    for (uint8_t i = first; i != CMD_ARG_NONE; i = syntax->args[i].next) {
        command_answer_arg(c, syntax, &syntax->args[i]);
        count++;
    }
    cmd_reply_end(c->reply, place, count);
}

/* The name of a choice or a block is made of those of its parts. */
static size_t command_arg_name(const struct cmd_syntax *syntax,
                               const struct cmd_arg *arg, char *out,
                               size_t room)
{
    size_t size = 0;

    if (arg->child == CMD_ARG_NONE) {
        size = arg->name.size < room ? arg->name.size : room;
        memcpy(out, arg->name.p, size);
        return size;
    }
    for (uint8_t i = arg->child; i != CMD_ARG_NONE && size + 1 < room;
         i = syntax->args[i].next) {
        if (size > 0) {
            out[size++] = '-';
        }
        size += command_arg_name(syntax, &syntax->args[i], out + size,
                                 room - size);
    }
    return size;
}

static void command_answer_arg_flags(struct cmd_context *c, unsigned flags)
{
    static const char *const names[] = {"optional", "multiple",
                                        "multiple_token"};
    const size_t place = cmd_reply_begin(c->reply, CMD_REPLY_SET);
    uint64_t count = 0;

    for (unsigned i = 0; i < 3; i++) {
        if (flags & (1u << i)) {
            cmd_reply_status(c->reply, names[i]);
            count++;
        }
    }
    cmd_reply_end(c->reply, place, count);
}

/* Recursion is as deep as brackets in our own table. */
static void command_answer_arg(struct cmd_context *c,
                               const struct cmd_syntax *syntax,
                               const struct cmd_arg *arg)
{
    const size_t place = cmd_reply_begin(c->reply, CMD_REPLY_MAP);
    const kvsql_slice token =
        arg->kind == CMD_ARG_TOKEN ? arg->name : arg->token;
    uint64_t pairs = 2;
    char name[COMMAND_LOWER_MAX];
    const size_t size = command_arg_name(syntax, arg, name, 64);

    cmd_reply_text(c->reply, "name");
    command_answer_lower(c, name, size);
    cmd_reply_text(c->reply, "type");
    cmd_reply_text(c->reply, cmd_arg_type_in(syntax->row, arg));
    if (arg->kind == CMD_ARG_VALUE) {
        cmd_reply_text(c->reply, "display_text");
        command_answer_lower(c, name, size);
        pairs++;
    }
    if (arg->spec != CMD_ARG_NONE && strcmp(cmd_arg_type(arg), "key") == 0) {
        cmd_reply_text(c->reply, "key_spec_index");
        cmd_reply_int(c->reply, arg->spec);
        pairs++;
    }
    if (token.size > 0) {
        cmd_reply_text(c->reply, "token");
        cmd_reply_bulk(c->reply, token.p, token.size);
        pairs++;
    }
    if (arg->flags != 0) {
        cmd_reply_text(c->reply, "flags");
        command_answer_arg_flags(c, arg->flags);
        pairs++;
    }
    if (arg->child != CMD_ARG_NONE) {
        cmd_reply_text(c->reply, "arguments");
        command_answer_args(c, syntax, arg->child);
        pairs++;
    }
    cmd_reply_end(c->reply, place, pairs);
}

static void command_answer_pair(struct cmd_context *c, const char *name,
                                const char *text)
{
    cmd_reply_text(c->reply, name);
    cmd_reply_text(c->reply, text);
}

/* What is said of few; how many pairs. */
static uint64_t command_answer_doc_flags(struct cmd_context *c,
                                         const struct cmd_row *row)
{
    const struct cmd_deprecated *old = cmd_traits_deprecated(row);
    const bool system = cmd_traits_is_system(row);

    if (old == NULL && !system) {
        return 0;
    }
    cmd_reply_text(c->reply, "doc_flags");
    cmd_reply_set(c->reply, (old != NULL) + system);
    if (old != NULL) {
        cmd_reply_status(c->reply, "deprecated");
    }
    if (system) {
        cmd_reply_status(c->reply, "syscmd");
    }
    if (old == NULL) {
        return 1;
    }
    command_answer_pair(c, "deprecated_since", old->since);
    command_answer_pair(c, "replaced_by", old->replaced_by);
    return 3;
}

/* Name and documentation of a row; with those of its subcommands. */
static void command_answer_docs(struct cmd_context *c,
                                const struct cmd_row *row)
{
    const uint64_t subs = command_subs(row);
    struct cmd_syntax syntax;
    uint64_t pairs = 3;
    size_t place;

    command_answer_name(c, row);
    place = cmd_reply_begin(c->reply, CMD_REPLY_MAP);
    command_answer_pair(c, "summary", row->summary);
    command_answer_pair(c, "since", row->since);
    command_answer_pair(c, "group", row->group);
    if (subs == 0) {
        command_answer_pair(c, "complexity", row->complexity);
        pairs++;
    }
    pairs += command_answer_doc_flags(c, row);
    cmd_syntax_read(row, &syntax);
    if (syntax.first != CMD_ARG_NONE) {
        cmd_reply_text(c->reply, "arguments");
        command_answer_args(c, &syntax, syntax.first);
        pairs++;
    }
    if (subs > 0) {
        cmd_reply_text(c->reply, "subcommands");
        cmd_reply_map(c->reply, subs);
        for (unsigned i = 1; i <= subs; i++) {
            command_answer_docs(c, row + i); /* these have none */
        }
        pairs++;
    }
    cmd_reply_end(c->reply, place, pairs);
}

void cmd_do_command_docs(struct cmd_context *c)
{
    const size_t place = cmd_reply_begin(c->reply, CMD_REPLY_MAP);
    uint64_t count = 0;

    for (unsigned i = 2; i < c->argc; i++) {
        const struct cmd_row *row =
            cmd_find_full(c->argv[i].p, c->argv[i].size);

        if (row != NULL) {
            command_answer_docs(c, row);
            count++;
        }
    }
    if (c->argc == 2) {
        count = command_each(c, command_answer_docs);
    }
    cmd_reply_end(c->reply, place, count);
}

/* ---- LIST ---------------------------------------------------------------- */

enum command_filter {
    COMMAND_FILTER_NONE,
    COMMAND_FILTER_MODULE,
    COMMAND_FILTER_ACLCAT,
    COMMAND_FILTER_GLOB
};

static bool command_has_category(const struct cmd_row *row, kvsql_slice name)
{
    const char *category;

    for (unsigned n = 0; (category = cmd_traits_category(row, n)) != NULL;
         n++) {
        if (strlen(category) == name.size &&
            strncasecmp(category, name.p, name.size) == 0) {
            return true;
        }
    }
    return false;
}

static bool command_filter_takes(enum command_filter filter, kvsql_slice value,
                                 const struct cmd_row *row)
{
    switch (filter) {
    case COMMAND_FILTER_MODULE:
        return false; /* there are none */
    case COMMAND_FILTER_ACLCAT:
        return command_has_category(row, value);
    case COMMAND_FILTER_GLOB:
        return kv_glob_match(value.p, value.size, (const uint8_t *)row->name,
                             strlen(row->name), true);
    default:
        return true;
    }
}

void cmd_do_command_list(struct cmd_context *c)
{
    enum command_filter filter = COMMAND_FILTER_NONE;
    kvsql_slice value = {"", 0};
    uint64_t count = 0;
    size_t place;

    if (c->argc == 5 && cmd_is(c, 2, "FILTERBY")) {
        filter = cmd_is(c, 3, "MODULE")    ? COMMAND_FILTER_MODULE
                 : cmd_is(c, 3, "ACLCAT")  ? COMMAND_FILTER_ACLCAT
                 : cmd_is(c, 3, "PATTERN") ? COMMAND_FILTER_GLOB
                                           : COMMAND_FILTER_NONE;
        value = c->argv[4];
    }
    if (c->argc != 2 && filter == COMMAND_FILTER_NONE) {
        cmd_fail_syntax(c);
        return;
    }
    place = cmd_reply_begin(c->reply, CMD_REPLY_ARRAY);
    for (unsigned i = 0; i < cmd_count(); i++) {
        const struct cmd_row *row = cmd_at(i);

        if (command_filter_takes(filter, value, row)) {
            command_answer_name(c, row);
            count++;
        }
    }
    cmd_reply_end(c->reply, place, count);
}

/* ---- GETKEYS, GETKEYSANDFLAGS --------------------------------------------- */

struct command_keys {
    struct cmd_context *c;
    const struct cmd_row *row;
    const kvsql_slice *argv;
    bool with_flags;
    uint64_t count;
};

static void command_answer_key(void *arg, unsigned spec, unsigned index)
{
    struct command_keys *keys = arg;
    const kvsql_slice flags = cmd_traits_keys(keys->row, spec);

    keys->count++;
    if (keys->with_flags) {
        cmd_reply_array(keys->c->reply, 2);
    }
    cmd_reply_bulk(keys->c->reply, keys->argv[index].p,
                   keys->argv[index].size);
    if (keys->with_flags) {
        command_answer_words(keys->c, flags.p,
                             (const char *)flags.p + flags.size);
    }
}

static void command_keys(struct cmd_context *c, bool with_flags)
{
    struct command_keys keys = {.c = c,
                                .argv = c->argv + 2,
                                .with_flags = with_flags};
    const unsigned argc = c->argc - 2;
    struct cmd_syntax syntax;
    struct kvsql_error err;
    const kvsql_rc rc = cmd_resolve(argc, keys.argv, &keys.row, &err);
    size_t place;

    if (keys.row == NULL) {
        cmd_fail(c, KVSQL_UNKNOWN, "ERR Invalid command specified");
        return;
    }
    cmd_syntax_read(keys.row, &syntax);
    if (syntax.spec_count == 0 || command_has_no_key(keys.row)) {
        cmd_fail(c, KVSQL_INVALID, "ERR The command has no key arguments");
        return;
    }
    if (rc != KVSQL_OK) {
        cmd_fail(c, KVSQL_ARITY,
                 "ERR Invalid number of arguments specified for command");
        return;
    }
    place = cmd_reply_begin(c->reply, CMD_REPLY_ARRAY);
    if (!cmd_syntax_keys(&syntax, argc, keys.argv, command_answer_key, &keys) ||
        keys.count == 0) {
        cmd_fail(c, KVSQL_INVALID,
                 "ERR Invalid arguments specified for command");
        return;
    }
    cmd_reply_end(c->reply, place, keys.count);
}

void cmd_do_command_getkeys(struct cmd_context *c)
{
    command_keys(c, false);
}

void cmd_do_command_getkeysandflags(struct cmd_context *c)
{
    command_keys(c, true);
}

/* ---- HELP ---------------------------------------------------------------- */

/* What a container's subcommands do, from the table. */
void cmd_do_help(struct cmd_context *c)
{
    const size_t size = strcspn(c->row->name, "|");
    const struct cmd_row *box = cmd_find(c->row->name, size);
    const size_t place = cmd_reply_begin(c->reply, CMD_REPLY_ARRAY);
    const uint64_t subs = command_subs(box);
    char line[512];

    (void)snprintf(line, sizeof(line),
                   "%s <subcommand> [<arg> [value] [opt] ...]. "
                   "Subcommands are:",
                   box->name);
    cmd_reply_status(c->reply, line);
    for (unsigned i = 1; i <= subs; i++) {
        const struct cmd_row *row = box + i;

        (void)snprintf(line, sizeof(line), "%s%s%s", row->name + size + 1,
                       row->syntax[0] != '\0' ? " " : "", row->syntax);
        cmd_reply_status(c->reply, line);
        (void)snprintf(line, sizeof(line), "    %s.", row->summary);
        cmd_reply_status(c->reply, line);
    }
    cmd_reply_end(c->reply, place, 1 + 2 * subs);
}

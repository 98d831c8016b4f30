/* syntax.c - reading the syntax column of commands.def.
 *
 *   sequence:  item ...
 *   item:      TOKEN | value | [ choice ] | < choice > | [ sequence ... ]
 *   choice:    sequence | sequence | ...
 *
 * A bracket that ends with "..." and says again what stands before it makes
 * that repeat; else its content may be given any number of times. Positions
 * of keys follow from the tree: a value called `key` (or one of the other
 * names below) at a fixed place, behind a token, or counted by `numkeys`.
 *
 * Always true:
 *   SY1  args[] is filled from the front; an index in child or next is below
 *        count or CMD_ARG_NONE.
 *
 * Thread: any; nothing is shared. Depth is that of our own table. */
#include "command/syntax.h"

#include <string.h>
#include <strings.h>

#include "kvsql/base/num.h"

struct syntax_state {
    const char *p;
    struct cmd_syntax *out;
};

/* A run of items that are linked by `next`. */
struct syntax_list {
    uint8_t first, last;
    unsigned count;
    bool repeats; /* "..." stood at its end */
};

static bool syntax_is(kvsql_slice text, const char *word)
{
    return text.size == strlen(word) && memcmp(text.p, word, text.size) == 0;
}

static bool syntax_same(kvsql_slice a, kvsql_slice b)
{
    return a.size == b.size && memcmp(a.p, b.p, a.size) == 0;
}

static struct cmd_arg *syntax_at(struct syntax_state *s, uint8_t index)
{
    KV_ASSERT(index < s->out->count); /* SY1 */
    return &s->out->args[index];
}

/* A new argument; CMD_ARG_NONE when there is no room. */
static uint8_t syntax_new(struct syntax_state *s, enum cmd_arg_kind kind,
                          kvsql_slice name)
{
    const uint8_t index = (uint8_t)s->out->count;

    if (s->out->count == CMD_SYNTAX_ARGS_MAX) {
        s->out->failed = true;
        return CMD_ARG_NONE;
    }
    s->out->count++;
    s->out->args[index] = (struct cmd_arg){.kind = kind,
                                           .name = name,
                                           .token = {"", 0},
                                           .child = CMD_ARG_NONE,
                                           .next = CMD_ARG_NONE,
                                           .spec = CMD_ARG_NONE};
    return index;
}

static void syntax_append(struct syntax_state *s, struct syntax_list *list,
                          uint8_t index)
{
    if (index == CMD_ARG_NONE) {
        return;
    }
    if (list->count == 0) {
        list->first = index;
    } else {
        syntax_at(s, list->last)->next = index;
    }
    list->last = index;
    list->count++;
}

static void syntax_blanks(struct syntax_state *s)
{
    while (*s->p == ' ') {
        s->p++;
    }
}

static kvsql_slice syntax_word(struct syntax_state *s)
{
    const size_t size = strcspn(s->p, " []<>|");
    const kvsql_slice word = {s->p, size};

    s->p += size;
    return word;
}

static bool syntax_is_token(kvsql_slice word)
{
    const char *p = word.p;

    for (size_t i = 0; i < word.size; i++) {
        if (p[i] >= 'a' && p[i] <= 'z') {
            return false;
        }
    }
    return true;
}

static struct syntax_list syntax_sequence(struct syntax_state *s);

/* Several items become one block, one stays as it is. */
static uint8_t syntax_fold(struct syntax_state *s, struct syntax_list list)
{
    uint8_t block;

    if (list.count <= 1) {
        return list.count == 0 ? CMD_ARG_NONE : list.first;
    }
    block = syntax_new(s, CMD_ARG_BLOCK, (kvsql_slice){"", 0});
    if (block != CMD_ARG_NONE) {
        syntax_at(s, block)->child = list.first;
    }
    return block;
}

/* Behind '[' or '<', up to and with `end`. */
static uint8_t syntax_choice(struct syntax_state *s, char end, bool *repeats,
                             struct syntax_list *only)
{
    struct syntax_list all = {CMD_ARG_NONE, CMD_ARG_NONE, 0, false};
    uint8_t choice;

    for (;;) {
        *only = syntax_sequence(s);
        *repeats = only->repeats;
        if (all.count == 0 && *s->p == end) {
            s->p++;
            return CMD_ARG_NONE; /* no choice: `only` has it */
        }
        syntax_append(s, &all, syntax_fold(s, *only));
        if (*s->p != '|') {
            break;
        }
        s->p++;
    }
    if (*s->p != end) {
        s->out->failed = true;
        return CMD_ARG_NONE;
    }
    s->p++;
    choice = syntax_new(s, CMD_ARG_ONEOF, (kvsql_slice){"", 0});
    if (choice != CMD_ARG_NONE) {
        syntax_at(s, choice)->child = all.first;
    }
    return choice;
}

/* The values behind a token become its own. */
static void syntax_own(struct syntax_state *s, uint8_t token,
                       const struct syntax_list *values)
{
    struct cmd_arg *arg = syntax_at(s, token);
    const uint8_t next = arg->next;

    if (values->count == 0) {
        return;
    }
    if (values->count == 1) {
        const struct cmd_arg *value = syntax_at(s, values->first);
        const kvsql_slice text = arg->name;
        const unsigned flags = arg->flags;

        *arg = *value;
        arg->token = text;
        arg->flags |= flags;
        arg->next = next;
    } else {
        arg->kind = CMD_ARG_BLOCK;
        arg->token = arg->name;
        arg->child = values->first;
    }
}

/* Does the bracket `said` say again the last items of `list`? Then they
 * repeat. */
static bool syntax_repeat(struct syntax_state *s, struct syntax_list *list,
                          const struct syntax_list *said)
{
    uint8_t index = list->first, before = CMD_ARG_NONE, again = said->first;

    if (said->count == 0 || said->count > list->count) {
        return false;
    }
    for (unsigned i = 0; i < list->count - said->count; i++) {
        before = index;
        index = syntax_at(s, index)->next;
    }
    for (uint8_t i = index; again != CMD_ARG_NONE; i = syntax_at(s, i)->next) {
        if (!syntax_same(syntax_at(s, i)->name, syntax_at(s, again)->name)) {
            return false;
        }
        again = syntax_at(s, again)->next;
    }
    if (said->count > 1) {
        const uint8_t block =
            syntax_new(s, CMD_ARG_BLOCK, (kvsql_slice){"", 0});

        if (block == CMD_ARG_NONE) {
            return false;
        }
        syntax_at(s, block)->child = index;
        if (before == CMD_ARG_NONE) {
            list->first = block;
        } else {
            syntax_at(s, before)->next = block;
        }
        list->last = block;
        list->count -= said->count - 1;
        index = block;
    }
    syntax_at(s, index)->flags |= CMD_ARG_MULTIPLE;
    return true;
}

/* One run of items while it is read: a token is open while it takes values. */
struct syntax_run {
    struct syntax_list items, values;
    uint8_t token;
};

static void syntax_close(struct syntax_state *s, struct syntax_run *run)
{
    if (run->token != CMD_ARG_NONE) {
        syntax_own(s, run->token, &run->values);
    }
    run->token = CMD_ARG_NONE;
    run->values = (struct syntax_list){CMD_ARG_NONE, CMD_ARG_NONE, 0, false};
}

static struct syntax_list *syntax_open_list(struct syntax_run *run)
{
    return run->token != CMD_ARG_NONE ? &run->values : &run->items;
}

/* Behind '['. */
static void syntax_bracket(struct syntax_state *s, struct syntax_run *run)
{
    struct syntax_list only;
    bool repeats;
    uint8_t index = syntax_choice(s, ']', &repeats, &only);

    if (index == CMD_ARG_NONE && repeats && only.count > 0) {
        const struct cmd_arg *said = syntax_at(s, only.first);

        if (run->token != CMD_ARG_NONE && said->token.size > 0 &&
            syntax_same(said->token, syntax_at(s, run->token)->name)) {
            syntax_at(s, run->token)->flags |=
                CMD_ARG_MULTIPLE | CMD_ARG_MULTIPLE_TOKEN;
            syntax_close(s, run);
            return;
        }
        if (syntax_repeat(s, syntax_open_list(run), &only)) {
            return;
        }
    }
    if (index == CMD_ARG_NONE) {
        index = syntax_fold(s, only);
    }
    syntax_close(s, run);
    if (index != CMD_ARG_NONE) {
        syntax_at(s, index)->flags |=
            CMD_ARG_OPTIONAL | (repeats ? CMD_ARG_MULTIPLE : 0);
        syntax_append(s, &run->items, index);
    }
}

/* Behind '<'. */
static void syntax_angle(struct syntax_state *s, struct syntax_run *run)
{
    struct syntax_list only;
    bool repeats;
    uint8_t index = syntax_choice(s, '>', &repeats, &only);

    if (index == CMD_ARG_NONE) {
        index = syntax_fold(s, only);
    } else if (repeats) {
        syntax_at(s, index)->flags |= CMD_ARG_MULTIPLE;
    }
    syntax_append(s, syntax_open_list(run), index);
}

static void syntax_item(struct syntax_state *s, struct syntax_run *run)
{
    const kvsql_slice word = syntax_word(s);

    if (syntax_is(word, "...")) {
        run->items.repeats = true;
    } else if (syntax_is_token(word)) {
        syntax_close(s, run);
        run->token = syntax_new(s, CMD_ARG_TOKEN, word);
        syntax_append(s, &run->items, run->token);
    } else {
        syntax_append(s, syntax_open_list(run),
                      syntax_new(s, CMD_ARG_VALUE, word));
    }
}

/* Up to a closing bracket, a bar or the end, which is left. */
static struct syntax_list syntax_sequence(struct syntax_state *s)
{
    struct syntax_run run = {
        .items = {CMD_ARG_NONE, CMD_ARG_NONE, 0, false},
        .values = {CMD_ARG_NONE, CMD_ARG_NONE, 0, false},
        .token = CMD_ARG_NONE};

    for (;;) {
        syntax_blanks(s);
        if (s->out->failed || *s->p == '\0' || strchr("]>|", *s->p) != NULL) {
            break;
        }
        if (*s->p == '[') {
            s->p++;
            syntax_bracket(s, &run);
        } else if (*s->p == '<') {
            s->p++;
            syntax_angle(s, &run);
        } else {
            syntax_item(s, &run);
        }
    }
    syntax_close(s, &run);
    return run.items;
}

/* ---- types --------------------------------------------------------------- */

static const struct {
    const char *type, *names; /* names with a blank on either side */
} syntax_types[] = {
    {"key", " key key1 key2 source destination newkey dst src destkey "
            "sourcekey "},
    {"double", " score timeout weight longitude latitude radius width height "},
    {"unix-time", " unix-time-seconds unix-time-milliseconds "},
    {"pattern", " pattern "},
    {"integer", " seconds milliseconds count cursor start stop end offset "
                "numkeys numfields limit index increment decrement rank "
                "num-matches len bit numreplicas numlocal iterations "
                "client-id length index1 index2 db numids bits protover port "
                "ttl frequency version maxage min-match-len destination-db "},
};

/* Commands in which a name means another thing than it does elsewhere. */
static const struct {
    const char *command, *name, *type;
} syntax_types_of[] = {
    {"BITFIELD", "value", "integer"},
    {"CLIENT|PAUSE", "timeout", "integer"},
    {"HINCRBYFLOAT", "increment", "double"},
    {"INCRBYFLOAT", "increment", "double"},
    {"SETBIT", "value", "integer"},
    {"WAIT", "timeout", "integer"},
    {"ZCOUNT", "max", "double"},
    {"ZCOUNT", "min", "double"},
    {"ZRANGE", "start", "string"},
    {"ZRANGE", "stop", "string"},
    {"ZRANGEBYSCORE", "max", "double"},
    {"ZRANGEBYSCORE", "min", "double"},
    {"ZREMRANGEBYSCORE", "max", "double"},
    {"ZREMRANGEBYSCORE", "min", "double"},
    {"ZREVRANGEBYSCORE", "max", "double"},
    {"ZREVRANGEBYSCORE", "min", "double"},
};

const char *cmd_arg_type_in(const struct cmd_row *row,
                            const struct cmd_arg *arg)
{
    const size_t count = sizeof(syntax_types_of) / sizeof(*syntax_types_of);

    for (size_t i = 0; i < count && arg->kind == CMD_ARG_VALUE; i++) {
        if (syntax_is(arg->name, syntax_types_of[i].name) &&
            strcmp(row->name, syntax_types_of[i].command) == 0) {
            return syntax_types_of[i].type;
        }
    }
    return cmd_arg_type(arg);
}

const char *cmd_arg_type(const struct cmd_arg *arg)
{
    static const char *const kinds[] = {"string", "pure-token", "oneof",
                                        "block"};
    char name[64];

    if (arg->kind != CMD_ARG_VALUE || arg->name.size + 3 > sizeof(name)) {
        return kinds[arg->kind];
    }
    name[0] = ' ';
    memcpy(name + 1, arg->name.p, arg->name.size);
    memcpy(name + 1 + arg->name.size, " ", 2);
    for (size_t i = 0; i < sizeof(syntax_types) / sizeof(*syntax_types); i++) {
        if (strstr(syntax_types[i].names, name) != NULL) {
            return syntax_types[i].type;
        }
    }
    return kinds[CMD_ARG_VALUE];
}

/* ---- where keys are ------------------------------------------------------ */

struct syntax_places {
    struct cmd_syntax *syntax;
    int position; /* of the next word, all that may be left out left out */
    bool fixed;   /* nothing before may be left out or repeated */
    bool counted; /* the word before is numkeys */
};

/* Or what clients of a cluster find its server by, as they do for a key. */
static bool syntax_is_key(const struct syntax_places *at,
                          const struct cmd_arg *arg)
{
    return arg->kind == CMD_ARG_VALUE &&
           (strcmp(cmd_arg_type(arg), "key") == 0 ||
            (at->syntax->row->first_key > 0 &&
             syntax_is(arg->name, "shardchannel")));
}

/* Words that an argument needs at least. */
static int syntax_words(const struct cmd_syntax *syntax, uint8_t index)
{
    const struct cmd_arg *arg = &syntax->args[index];
    int words = (arg->token.size > 0) +
                (arg->kind == CMD_ARG_VALUE || arg->kind == CMD_ARG_TOKEN);
    int least = 0;

    if (arg->flags & CMD_ARG_OPTIONAL) {
        return 0;
    }
    for (uint8_t i = arg->child; i != CMD_ARG_NONE;
         i = syntax->args[i].next) {
        const int child = syntax_words(syntax, i);

        if (arg->kind == CMD_ARG_BLOCK) {
            words += child;
        } else if (least == 0 || child < least) {
            least = child;
        }
    }
    return words + least;
}

/* The place of the last of many keys: what must stand behind them counts. */
static int syntax_last(const struct cmd_syntax *syntax, uint8_t index)
{
    int behind = 0;

    for (uint8_t i = syntax->args[index].next; i != CMD_ARG_NONE;
         i = syntax->args[i].next) {
        behind += syntax_words(syntax, i);
    }
    return -1 - behind;
}

static struct cmd_key_spec *syntax_spec(struct syntax_places *at,
                                        struct cmd_arg *key)
{
    struct cmd_syntax *syntax = at->syntax;
    struct cmd_key_spec *spec = &syntax->specs[syntax->spec_count];

    if (syntax->spec_count == CMD_KEY_SPECS_MAX) {
        syntax->failed = true;
        return NULL;
    }
    key->spec = (uint8_t)syntax->spec_count++;
    *spec = (struct cmd_key_spec){.index = at->position, .step = 1,
                                  .token = {"", 0}};
    return spec;
}

/* A key, or a repeated block that begins with one, at a fixed place or
 * counted. */
static void syntax_plain(struct syntax_places *at, uint8_t index,
                         struct cmd_arg *key, int step)
{
    const struct cmd_arg *arg = &at->syntax->args[index];
    struct cmd_key_spec *spec;

    if (syntax_is(key->name, "key2") && at->syntax->spec_count > 0) {
        /* key1 key2: one range */
        key->spec = (uint8_t)(at->syntax->spec_count - 1);
        at->syntax->specs[key->spec].last = 1;
        return;
    }
    if (!at->fixed) {
        return; /* nobody can tell where */
    }
    spec = syntax_spec(at, key);
    if (spec == NULL) {
        return;
    }
    spec->step = step;
    if (at->counted) {
        spec->counted = true;
        spec->index = at->position - 1;
    } else if (arg->flags & CMD_ARG_MULTIPLE) {
        spec->last = syntax_last(at->syntax, index);
    }
}

/* Keys behind a token: STREAMS key [key ...] id [id ...], STORE key. */
static void syntax_behind_token(struct syntax_places *at, struct cmd_arg *arg)
{
    struct cmd_arg *key =
        arg->kind == CMD_ARG_BLOCK ? &at->syntax->args[arg->child] : arg;
    struct cmd_key_spec *spec;

    if (!syntax_is_key(at, key)) {
        return;
    }
    spec = syntax_spec(at, key);
    if (spec == NULL) {
        return;
    }
    spec->begin = CMD_KEYS_AT_TOKEN;
    spec->token = arg->token;
    if (key->flags & CMD_ARG_MULTIPLE) {
        spec->last = -1;
        spec->limit = key != arg && key->next != CMD_ARG_NONE ? 2 : 0;
    }
}

static void syntax_place(struct syntax_places *at, uint8_t index)
{
    struct cmd_arg *arg = &at->syntax->args[index];
    struct cmd_arg *child =
        arg->child != CMD_ARG_NONE ? &at->syntax->args[arg->child] : NULL;

    if (arg->token.size > 0) {
        syntax_behind_token(at, arg);
    } else if (syntax_is_key(at, arg)) {
        syntax_plain(at, index, arg, 1);
    } else if (arg->kind == CMD_ARG_ONEOF) {
        for (uint8_t i = arg->child; i != CMD_ARG_NONE;
             i = at->syntax->args[i].next) {
            if (at->syntax->args[i].token.size > 0) {
                syntax_behind_token(at, &at->syntax->args[i]);
            }
        }
    } else if (arg->kind == CMD_ARG_BLOCK && child != NULL &&
               syntax_is_key(at, child)) {
        int step = 0;

        for (uint8_t i = arg->child; i != CMD_ARG_NONE;
             i = at->syntax->args[i].next) {
            step++;
        }
        syntax_plain(at, index, child, step);
    }
    at->position += syntax_words(at->syntax, index);
    at->counted = arg->kind == CMD_ARG_VALUE && syntax_is(arg->name, "numkeys");
    if (arg->flags & (CMD_ARG_OPTIONAL | CMD_ARG_MULTIPLE)) {
        at->fixed = false;
    }
}

void cmd_syntax_read(const struct cmd_row *row, struct cmd_syntax *syntax)
{
    struct syntax_state s = {.p = row->syntax, .out = syntax};
    struct syntax_places at = {.syntax = syntax, .fixed = true};

    syntax->row = row;
    syntax->count = 0;
    syntax->spec_count = 0;
    syntax->failed = false;
    syntax->first = syntax_sequence(&s).first;
    if (*s.p != '\0') {
        syntax->failed = true;
    }
    at.position = strchr(row->name, '|') != NULL ? 2 : 1;
    for (uint8_t i = syntax->first; i != CMD_ARG_NONE && !syntax->failed;
         i = syntax->args[i].next) {
        syntax_place(&at, i);
    }
}

bool cmd_syntax_movable(const struct cmd_syntax *syntax)
{
    for (unsigned i = 0; i < syntax->spec_count; i++) {
        if (syntax->specs[i].counted ||
            syntax->specs[i].begin == CMD_KEYS_AT_TOKEN) {
            return true;
        }
    }
    return false;
}

/* ---- the keys of one call ------------------------------------------------- */

/* Where the keys of a spec are in argv: first, last (below first: none). */
static bool syntax_range(const struct cmd_key_spec *spec, unsigned argc,
                         const kvsql_slice *argv, int *first, int *last)
{
    const int end = (int)argc;
    int64_t count;

    *first = spec->index;
    if (spec->begin == CMD_KEYS_AT_TOKEN) {
        while (*first < end &&
               (argv[*first].size != spec->token.size ||
                strncasecmp(argv[*first].p, spec->token.p,
                            spec->token.size) != 0)) {
            (*first)++;
        }
        if (*first >= end) {
            *last = *first - 1; /* not given */
            return true;
        }
        (*first)++;
    }
    if (*first >= end) {
        *last = *first - 1;
        return spec->last < 0 && !spec->counted;
    }
    if (spec->counted) {
        if (!kv_num_int(argv[*first].p, argv[*first].size, &count) ||
            count < 1 || count > (end - *first - 1) / spec->step) {
            return false;
        }
        (*first)++;
        *last = *first + (int)count * spec->step - spec->step;
        return true;
    }
    *last = spec->last >= 0 ? *first + spec->last : end + spec->last;
    if (spec->limit == 2) {
        *last = *first + (end - *first) / 2 - 1;
    }
    return *last < end;
}

bool cmd_syntax_keys(const struct cmd_syntax *syntax, unsigned argc,
                     const kvsql_slice *argv,
                     void (*each)(void *arg, unsigned spec, unsigned index),
                     void *arg)
{
    for (unsigned i = 0; i < syntax->spec_count; i++) {
        const struct cmd_key_spec *spec = &syntax->specs[i];
        int first, last;

        if (!syntax_range(spec, argc, argv, &first, &last)) {
            return false;
        }
        for (int at = first; at <= last; at += spec->step) {
            each(arg, i, (unsigned)at);
        }
    }
    return true;
}

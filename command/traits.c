/* traits.c - what COMMAND and ACL say of a row besides its own columns.
 *
 * Thread: any; constant. */
#include "command/traits.h"

#include <string.h>

#include "command/context.h"

static const struct cmd_traits traits_rows[] = {
#define CMD_TRAITS(name, flags, categories, tips, keys)                       \
    {(name), (flags), (categories), (tips), (keys)},
#include "command/traits.def"
#undef CMD_TRAITS
};
#define TRAITS_ROWS (sizeof(traits_rows) / sizeof(traits_rows[0]))

const struct cmd_traits *cmd_traits_of(const struct cmd_row *row)
{
    static const struct cmd_traits none = {"", "", "", "", ""};
    size_t low = 0, high = TRAITS_ROWS;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(traits_rows[middle].name, row->name);

        if (order == 0) {
            return &traits_rows[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return &none;
}

const struct cmd_deprecated *cmd_traits_deprecated(const struct cmd_row *row)
{
    static const struct cmd_deprecated rows[] = {
#define CMD_TRAITS(name, flags, categories, tips, keys)
#define CMD_DEPRECATED(name, since, replaced_by)                              \
    {(name), (since), (replaced_by)},
#include "command/traits.def"
#undef CMD_TRAITS
#undef CMD_DEPRECATED
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        if (strcmp(rows[i].name, row->name) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

bool cmd_traits_is_system(const struct cmd_row *row)
{
    static const char *const rows[] = {
#define CMD_TRAITS(name, flags, categories, tips, keys)
#define CMD_SYSTEM(name) (name),
#include "command/traits.def"
#undef CMD_TRAITS
#undef CMD_SYSTEM
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        if (strcmp(rows[i], row->name) == 0) {
            return true;
        }
    }
    return false;
}

const char *cmd_traits_word(const char **text, size_t *size)
{
    const char *word = *text + strspn(*text, " ");

    *size = strcspn(word, " ");
    *text = word + *size;
    return *size > 0 ? word : NULL;
}

/* Is `word` one of the words of `text`? */
static bool traits_has(const char *text, const char *word)
{
    const size_t length = strlen(word);
    const char *p;
    size_t size;

    while ((p = cmd_traits_word(&text, &size)) != NULL) {
        if (size == length && memcmp(p, word, size) == 0) {
            return true;
        }
    }
    return false;
}

bool cmd_traits_is_sub(const struct cmd_row *row)
{
    return strchr(row->name, '|') != NULL;
}

bool cmd_traits_is_sub_of(const struct cmd_row *row, const struct cmd_row *box)
{
    const size_t size = strlen(box->name);

    return row != NULL && strncmp(row->name, box->name, size) == 0 &&
           row->name[size] == '|';
}

bool cmd_traits_is_box(const struct cmd_row *row)
{
    return cmd_traits_is_sub_of(cmd_at((unsigned)(row - cmd_at(0)) + 1), row);
}

/* ---- flags --------------------------------------------------------------- */

#define TRAITS_MOVABLE (1u << 30)

/* In the order in which Redis gives them; with a bit, it follows from the
 * row. */
static const struct {
    const char *name;
    unsigned bit;
} traits_flags[] = {
    {"write", CMD_WRITE},       {"readonly", CMD_READONLY},
    {"denyoom", CMD_DENYOOM},   {"admin", CMD_ADMIN},
    {"pubsub", 0},              {"noscript", 0},
    {"blocking", 0},            {"loading", 0},
    {"stale", 0},               {"skip_monitor", 0},
    {"skip_slowlog", 0},        {"fast", CMD_FAST},
    {"no_auth", 0},             {"may_replicate", 0},
    {"no_mandatory_keys", 0},   {"no_async_loading", 0},
    {"no_multi", CMD_NO_MULTI}, {"movablekeys", TRAITS_MOVABLE},
    {"allow_busy", 0},
};
#define TRAITS_FLAGS (sizeof(traits_flags) / sizeof(traits_flags[0]))

const char *cmd_traits_flag(const struct cmd_row *row, bool movable,
                            unsigned n)
{
    const char *own = cmd_traits_of(row)->flags;
    /* A container itself does nothing. */
    const unsigned bits = cmd_traits_is_box(row)
                              ? 0
                              : row->flags | (movable ? TRAITS_MOVABLE : 0);

    for (size_t i = 0; i < TRAITS_FLAGS; i++) {
        if (((traits_flags[i].bit & bits) != 0 ||
             traits_has(own, traits_flags[i].name)) &&
            n-- == 0) {
            return traits_flags[i].name;
        }
    }
    return NULL;
}

/* ---- categories ---------------------------------------------------------- */

/* In Redis's order; `group` names the rows that belong to it by their group. */
static const struct {
    const char *name, *group;
    unsigned bit;
} traits_categories[] = {
    {"keyspace", "generic", 0},
    {"read", NULL, CMD_READONLY},
    {"write", NULL, CMD_WRITE},
    {"set", "set", 0},
    {"sortedset", "sorted-set", 0},
    {"list", "list", 0},
    {"hash", "hash", 0},
    {"string", "string", 0},
    {"bitmap", "bitmap", 0},
    {"hyperloglog", "hyperloglog", 0},
    {"geo", "geo", 0},
    {"stream", "stream", 0},
    {"pubsub", "pubsub", 0},
    {"admin", NULL, CMD_ADMIN},
    {"fast", NULL, CMD_FAST},
    {"slow", NULL, 0},
    {"blocking", NULL, 0},
    {"dangerous", NULL, CMD_ADMIN},
    {"connection", "connection", 0},
    {"transaction", "transactions", 0},
    {"scripting", "scripting", 0},
};
#define TRAITS_CATEGORIES                                                     \
    (sizeof(traits_categories) / sizeof(traits_categories[0]))

const char *cmd_traits_categories(unsigned n)
{
    return n < TRAITS_CATEGORIES ? traits_categories[n].name : NULL;
}

static bool traits_in_category(const struct cmd_row *row, size_t category)
{
    const char *name = traits_categories[category].name;
    const char *group = traits_categories[category].group;
    const struct cmd_traits *traits = cmd_traits_of(row);
    const bool box = cmd_traits_is_box(row);
    char minus[32] = "-";

    memcpy(minus + 1, name, strlen(name) + 1);
    if (traits_has(traits->categories, minus)) {
        return false;
    }
    if (traits_has(traits->categories, name)) {
        return true;
    }
    if (strcmp(name, "slow") == 0) {
        return box || (row->flags & CMD_FAST) == 0;
    }
    if (strcmp(name, "blocking") == 0) {
        return traits_has(traits->flags, name);
    }
    return !box && ((traits_categories[category].bit & row->flags) != 0 ||
                    (group != NULL && strcmp(group, row->group) == 0));
}

const char *cmd_traits_category(const struct cmd_row *row, unsigned n)
{
    for (size_t i = 0; i < TRAITS_CATEGORIES; i++) {
        if (traits_in_category(row, i) && n-- == 0) {
            return traits_categories[i].name;
        }
    }
    return NULL;
}

/* ---- keys ---------------------------------------------------------------- */

kvsql_slice cmd_traits_keys(const struct cmd_row *row, unsigned spec)
{
    const char *p = cmd_traits_of(row)->keys;
    size_t size;

    if (*p == '\0') {
        p = row->flags & CMD_WRITE ? "RW update" : "RO access";
    }
    for (; spec > 0 && strchr(p, '|') != NULL; spec--) {
        p = strchr(p, '|') + 1;
    }
    p += strspn(p, " ");
    size = strcspn(p, "|");
    while (size > 0 && p[size - 1] == ' ') {
        size--;
    }
    return (kvsql_slice){p, size};
}

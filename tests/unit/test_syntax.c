/* test_syntax.c - the syntax column as a tree, where keys are, and what
 * COMMAND makes of both. */
#include "command/syntax.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "command/traits.h"
#include "tests/lib/ask.h"
#include "tests/lib/unit.h"

static struct cmd_syntax syntax;

static void read_syntax(const char *name, const char *text)
{
    const struct cmd_row row = {.name = name, .syntax = text};

    cmd_syntax_read(&row, &syntax);
}

/* The tree as text: value, TOKEN:value, (a b) block, {a b} choice, then ? for
 * optional, + for multiple, ! for a repeated token. */
static void show(uint8_t index, char *text_out)
{
    for (; index != CMD_ARG_NONE; index = syntax.args[index].next) {
        const struct cmd_arg *arg = &syntax.args[index];

        if (*text_out != '\0' && !strchr("({", text_out[strlen(text_out) - 1]))
            strcat(text_out, " ");
        if (arg->token.size > 0)
            sprintf(text_out + strlen(text_out), "%.*s:", (int)arg->token.size,
                    (const char *)arg->token.p);
        if (arg->child == CMD_ARG_NONE) {
            sprintf(text_out + strlen(text_out), "%.*s", (int)arg->name.size,
                    (const char *)arg->name.p);
        } else {
            strcat(text_out, arg->kind == CMD_ARG_ONEOF ? "{" : "(");
            show(arg->child, text_out);
            strcat(text_out, arg->kind == CMD_ARG_ONEOF ? "}" : ")");
        }
        strcat(text_out, arg->flags & CMD_ARG_OPTIONAL ? "?" : "");
        strcat(text_out, arg->flags & CMD_ARG_MULTIPLE ? "+" : "");
        strcat(text_out, arg->flags & CMD_ARG_MULTIPLE_TOKEN ? "!" : "");
    }
}

static const char *tree(const char *text)
{
    static char text_out[2048];

    text_out[0] = '\0';
    read_syntax("X", text);
    ck_assert(!syntax.failed);
    show(syntax.first, text_out);
    return text_out;
}

START_TEST(brackets_choices_and_tokens_become_a_tree)
{
    ck_assert_str_eq(tree(""), "");
    ck_assert_str_eq(tree("key value"), "key value");
    ck_assert_str_eq(tree("key [NX | XX] [GET] [EX seconds | KEEPTTL]"),
                     "key {NX XX}? GET? {EX:seconds KEEPTTL}?");
    ck_assert_str_eq(tree("[LIMIT offset count]"), "LIMIT:(offset count)?");
    ck_assert_str_eq(tree("key <LEFT | RIGHT> pivot"),
                     "key {LEFT RIGHT} pivot");
    ck_assert_str_eq(tree("[FILTERBY <MODULE name | PATTERN pattern>]"),
                     "FILTERBY:{MODULE:name PATTERN:pattern}?");
    ck_assert_str_eq(tree("key [count [WITHVALUES]]"),
                     "key (count WITHVALUES?)?");
}
END_TEST

START_TEST(what_is_said_again_repeats)
{
    ck_assert_str_eq(tree("key [key ...]"), "key+");
    ck_assert_str_eq(tree("key value [key value ...]"), "(key value)+");
    ck_assert_str_eq(tree("a key value [key value ...] z"),
                     "a (key value)+ z");
    ck_assert_str_eq(tree("[section [section ...]]"), "section?+");
    ck_assert_str_eq(tree("[command-name ...]"), "command-name?+");
    ck_assert_str_eq(tree("FIELDS numfields field [field ...]"),
                     "FIELDS:(numfields field+)");
    ck_assert_str_eq(tree("key [GET pattern [GET pattern ...]]"),
                     "key GET:pattern?+!");
    ck_assert_str_eq(tree("STREAMS key [key ...] id [id ...]"),
                     "STREAMS:(key+ id+)");
}
END_TEST

START_TEST(what_is_no_syntax_is_said)
{
    static const char *const wrong[] = {"[a", "a]", "<a | b", "a >", "a | b"};
    char text[2 * CMD_SYNTAX_ARGS_MAX + 64] = "";

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        read_syntax("X", wrong[i]);
        ck_assert_msg(syntax.failed, "%s", wrong[i]);
    }
    for (int i = 0; i <= CMD_SYNTAX_ARGS_MAX; i++)
        strcat(text, "a ");
    read_syntax("X", text);
    ck_assert(syntax.failed);
}
END_TEST

/* "index/last/step", "TOKEN@index/...", "#index" for numkeys; blanks between */
static const char *places(const char *name, const char *text)
{
    static char text_out[256];

    read_syntax(name, text);
    text_out[0] = '\0';
    for (unsigned i = 0; i < syntax.spec_count; i++) {
        const struct cmd_key_spec *spec = &syntax.specs[i];

        sprintf(text_out + strlen(text_out), "%s%.*s%s%s%d/%d/%d%s", i > 0 ? " " : "",
                (int)spec->token.size, (const char *)spec->token.p,
                spec->begin == CMD_KEYS_AT_TOKEN ? "@" : "",
                spec->counted ? "#" : "", spec->index, spec->last, spec->step,
                spec->limit == 2 ? "/half" : "");
    }
    return text_out;
}

START_TEST(places_of_keys_follow_from_the_syntax)
{
    ck_assert_str_eq(places("X", "message"), "");
    ck_assert_str_eq(places("X", "key value"), "1/0/1");
    ck_assert_str_eq(places("X|Y", "key"), "2/0/1");
    ck_assert_str_eq(places("X", "key [key ...]"), "1/-1/1");
    ck_assert_str_eq(places("X", "key value [key value ...]"), "1/-1/2");
    ck_assert_str_eq(places("X", "key [key ...] timeout"), "1/-2/1");
    ck_assert_str_eq(places("X", "source destination"), "1/0/1 2/0/1");
    ck_assert_str_eq(places("X", "key1 key2 [LEN]"), "1/1/1");
    ck_assert_str_eq(places("X", "destination key [key ...]"), "1/0/1 2/-1/1");
    ck_assert_str_eq(places("X", "destkey [sourcekey [sourcekey ...]]"),
                     "1/0/1 2/-1/1");
    ck_assert_str_eq(places("X", "numkeys key [key ...] [LIMIT limit]"),
                     "#1/0/1");
    ck_assert_str_eq(places("X", "numkeys key value [key value ...] [NX]"),
                     "#1/0/2");
    ck_assert_str_eq(places("X", "destination numkeys key [key ...] [W weight]"),
                     "1/0/1 #2/0/1");
    ck_assert_str_eq(places("X", "<AND | OR> destkey key [key ...]"),
                     "2/0/1 3/-1/1");
    ck_assert_str_eq(
        places("X", "GROUP group consumer [COUNT count] STREAMS key [key ...] "
                    "id [id ...]"),
        "STREAMS@4/-1/1/half");
    ck_assert_str_eq(places("X", "key [ASC] [STORE destination]"),
                     "1/0/1 STORE@2/0/1");
    ck_assert_str_eq(
        places("X", "key [STORE destination | STOREDIST destination]"),
        "1/0/1 STORE@2/0/1 STOREDIST@2/0/1");
}
END_TEST

/* Each row reads, and its key columns say what its syntax says. */
START_TEST(every_row_has_a_syntax_that_agrees_with_its_keys)
{
    for (unsigned i = 0; i < cmd_count(); i++) {
        const struct cmd_row *row = cmd_at(i);

        cmd_syntax_read(row, &syntax);
        ck_assert_msg(!syntax.failed, "%s", row->name);
        if (row->first_key == 0) {
            ck_assert_msg(syntax.spec_count == 0 ||
                              cmd_syntax_movable(&syntax),
                          "%s has keys at fixed places", row->name);
            continue;
        }
        ck_assert_msg(syntax.spec_count > 0, "%s has no keys", row->name);
        ck_assert_msg(syntax.specs[0].index == row->first_key, "%s",
                      row->name);
    }
}
END_TEST

START_TEST(rows_of_traits_are_in_order)
{
    static const char *const names[] = {
#define CMD_TRAITS(name, flags, categories, tips, keys) name,
#include "command/traits.def"
#undef CMD_TRAITS
    };

    for (size_t i = 1; i < sizeof names / sizeof *names; i++)
        ck_assert_msg(strcmp(names[i - 1], names[i]) < 0, "%s", names[i]);
}
END_TEST

START_TEST(info_has_ten_elements_and_subcommands_inside)
{
    ASK("COMMAND INFO get nosuch",
        "*2|*10|$3|get|:2|*2|+readonly|+fast|:1|:1|:1|*3|+@read|+@string|"
        "+@fast|*0|*1|*6|$5|flags|*2|+RO|+access|$12|begin_search|*4|$4|type|"
        "$5|index|$4|spec|*2|$5|index|:1|$9|find_keys|*4|$4|type|$5|range|"
        "$4|spec|*6|$7|lastkey|:0|$7|keystep|:1|$5|limit|:0|*0|$-1|");
    ck_assert_ptr_nonnull(
        strstr(ask("COMMAND INFO sintercard"),
               "$6|keynum|$4|spec|*6|$9|keynumidx|:0|$8|firstkey|:1|"));
    ck_assert_ptr_nonnull(
        strstr(ask("COMMAND INFO object"), "*10|$15|object|encoding|:3|"));
    ASK("COMMAND INFO nosuch", "*1|$-1|");
}
END_TEST

START_TEST(docs_nest_arguments)
{
    const char *docs = ask("COMMAND DOCS setex nosuch");

    ck_assert_mem_eq(docs, "*2|$5|setex|*10|$7|summary|", 27);
    ck_assert_ptr_nonnull(
        strstr(docs, "$9|arguments|*3|*8|$4|name|$3|key|$4|type|$3|key|"
                     "$12|display_text|$3|key|$14|key_spec_index|:0|"));
    ck_assert_ptr_nonnull(
        strstr(ask("COMMAND DOCS zadd"),
               "$4|type|$5|oneof|$5|flags|*1|+optional|$9|arguments|*2|*6|"
               "$4|name|$2|nx|$4|type|$10|pure-token|$5|token|$2|NX|"));
    ck_assert_ptr_nonnull(strstr(ask("COMMAND DOCS object"),
                                 "$11|subcommands|"));
    ASK("COMMAND DOCS nosuch", "*0|");
}
END_TEST

START_TEST(keys_of_a_call_are_found)
{
    ASK("COMMAND GETKEYS mset a 1 b 2", "*2|$1|a|$1|b|");
    ASK("COMMAND GETKEYS sintercard 2 a b LIMIT 3", "*2|$1|a|$1|b|");
    ASK("COMMAND GETKEYS sdiffstore d a b", "*3|$1|d|$1|a|$1|b|");
    ASK("COMMAND GETKEYS object encoding k", "*1|$1|k|");
    ASK("COMMAND GETKEYSANDFLAGS copy a b",
        "*2|*2|$1|a|*2|+RO|+access|*2|$1|b|*2|+OW|+update|");
    ASK("COMMAND GETKEYS nosuch a", "-ERR Invalid command specified|");
    ASK("COMMAND GETKEYS echo a", "-ERR The command has no key arguments|");
    ASK("COMMAND GETKEYS get a b",
        "-ERR Invalid number of arguments specified for command|");
    ASK("COMMAND GETKEYS sintercard x a b",
        "-ERR Invalid arguments specified for command|");
    ASK("COMMAND GETKEYS sintercard 3 a b",
        "-ERR Invalid arguments specified for command|");
    ASK("COMMAND GETKEYS sintercard 9223372036854775807 a b",
        "-ERR Invalid arguments specified for command|");
}
END_TEST

START_TEST(lists_are_filtered)
{
    ASK("COMMAND LIST FILTERBY PATTERN getra*", "*1|$8|getrange|");
    ASK("COMMAND LIST FILTERBY MODULE x", "*0|");
    ASK("COMMAND LIST FILTERBY ACLCAT nosuch", "*0|");
    ck_assert_ptr_nonnull(
        strstr(ask("COMMAND LIST FILTERBY ACLCAT hash"), "$4|hget|"));
    ck_assert_ptr_null(
        strstr(ask("COMMAND LIST FILTERBY ACLCAT hash"), "$3|get|"));
    ASK("COMMAND LIST FOO", "-ERR syntax error|");
}
END_TEST

START_TEST(help_lists_the_subcommands_of_its_container)
{
    const char *help = ask("COMMAND HELP");

    ck_assert_ptr_nonnull(strstr(help, "+COMMAND <subcommand> "));
    ck_assert_ptr_nonnull(strstr(help, "|+GETKEYS command [arg ...]|+    "));
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, brackets_choices_and_tokens_become_a_tree);
    tcase_add_test(tests, what_is_said_again_repeats);
    tcase_add_test(tests, what_is_no_syntax_is_said);
    tcase_add_test(tests, places_of_keys_follow_from_the_syntax);
    tcase_add_test(tests, every_row_has_a_syntax_that_agrees_with_its_keys);
    tcase_add_test(tests, rows_of_traits_are_in_order);
    tcase_add_test(tests, info_has_ten_elements_and_subcommands_inside);
    tcase_add_test(tests, docs_nest_arguments);
    tcase_add_test(tests, keys_of_a_call_are_found);
    tcase_add_test(tests, lists_are_filtered);
    tcase_add_test(tests, help_lists_the_subcommands_of_its_container);
}

int main(void)
{
    return unit_run("syntax", add_tests);
}

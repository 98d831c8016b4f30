/* test_deb822.c - streams of stanzas: what is read, and what is refused where.
 */
#include "cli/deb822.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct cli_deb822 reader;
static struct kvsql_error err;
static FILE *file;

static void begin(const char *text)
{
    file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    ck_assert_ptr_nonnull(file);
    cli_deb822_init(&reader, file, "in");
}

static void end(void)
{
    cli_deb822_fini(&reader);
    fclose(file);
}

static bool next(void)
{
    bool more;

    ck_assert_msg(cli_deb822_next(&reader, &more, &err) == KVSQL_OK, "%s",
                  err.text);
    return more;
}

static void field_is(const char *name, const char *value)
{
    const struct cli_deb822_field *field = cli_deb822_find(&reader, name);

    ck_assert_ptr_nonnull(field);
    ck_assert_uint_eq(field->value.size, strlen(value));
    ck_assert_mem_eq(field->value.p, value, field->value.size);
}

static void refused(const char *text, const char *sentence)
{
    bool more = true;
    kvsql_rc rc = KVSQL_OK;

    begin(text);
    while (rc == KVSQL_OK && more)
        rc = cli_deb822_next(&reader, &more, &err);
    ck_assert_int_eq(rc, KVSQL_SYNTAX);
    ck_assert_msg(strstr(err.text, sentence) != NULL, "%s", err.text);
    end();
}

START_TEST(stanzas_are_parted_by_blank_lines_of_any_kind)
{
    begin("\n\nA: 1\nB: 2\n \t\n\n# comment\nA: 3");
    ck_assert(next());
    ck_assert_uint_eq(reader.field_count, 2);
    ck_assert_uint_eq(reader.stanza_line, 3);
    field_is("b", "2");
    ck_assert(next());
    field_is("A", "3");
    ck_assert(!next());
    ck_assert(!next());
    end();
}
END_TEST

START_TEST(continuation_lines_are_kept_as_they_stand)
{
    begin("D: short  \n long\n .\n# left out\n\tmore \nE:\n x\n");
    ck_assert(next());
    field_is("D", "short\n long\n .\n\tmore");
    field_is("E", "\n x");
    end();
}
END_TEST

START_TEST(lines_end_with_crlf_too_and_a_mark_is_skipped)
{
    begin("\xef\xbb\xbf"
          "A: 1\r\nB: x:y\r\n\r\nA: 2\r\n");
    ck_assert(next());
    field_is("A", "1");
    field_is("B", "x:y");
    ck_assert(next());
    field_is("A", "2");
    end();
}
END_TEST

START_TEST(what_is_no_stanza_is_refused_with_its_line)
{
    refused("A: 1\nnonsense\n", "in:2: not a field");
    refused(" x\n", "in:1: a continuation line");
    refused("A: 1\na: 2\n", "in:2: this field stands");
    refused("A: 1\n\n: 2\n", "in:3: not a field");
    refused("-----BEGIN PGP SIGNED MESSAGE-----\n", "signature");
}
END_TEST

START_TEST(a_nul_byte_is_refused)
{
    static const char text[] = "A: 1\0002\n";
    bool more;

    file = fmemopen((void *)(uintptr_t)text, sizeof text - 1, "r");
    ck_assert_ptr_nonnull(file);
    cli_deb822_init(&reader, file, "in");
    ck_assert_int_eq(cli_deb822_next(&reader, &more, &err), KVSQL_SYNTAX);
    ck_assert_ptr_nonnull(strstr(err.text, "in:1: a NUL byte"));
    end();
}
END_TEST

START_TEST(a_relation_gives_the_first_name_of_each_group)
{
    static const char text[] =
        "a (>= 1.0), b | c, d:any [amd64] <!nocheck>,, e+,\n f2.0-x";
    static const char *const names[] = {"a", "b", "d", "e+", "f2.0-x"};
    const kvsql_slice value = {text, sizeof text - 1};
    kvsql_slice name;
    size_t offset = 0;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ck_assert(cli_deb822_relation(value, &offset, &name));
        ck_assert_uint_eq(name.size, strlen(names[i]));
        ck_assert_mem_eq(name.p, names[i], name.size);
    }
    ck_assert(!cli_deb822_relation(value, &offset, &name));
}
END_TEST

START_TEST(no_allocation_that_fails_is_taken_for_the_end)
{
    for (uint64_t n = 1;; n++) {
        bool more = false;

        begin("A: 1\nB: 2\n");
        kv_mem_fail_at(n, 1);
        const kvsql_rc rc = cli_deb822_next(&reader, &more, &err);
        const bool failed = kv_mem_failed() != 0;
        kv_mem_fail_at(0, 0);
        end();
        if (!failed) {
            ck_assert_int_eq(rc, KVSQL_OK);
            ck_assert(more);
            break;
        }
        ck_assert_int_eq(rc, KVSQL_NOMEM);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("deb822");
    TCase *tests = tcase_create("all");

    tcase_add_test(tests, stanzas_are_parted_by_blank_lines_of_any_kind);
    tcase_add_test(tests, continuation_lines_are_kept_as_they_stand);
    tcase_add_test(tests, lines_end_with_crlf_too_and_a_mark_is_skipped);
    tcase_add_test(tests, what_is_no_stanza_is_refused_with_its_line);
    tcase_add_test(tests, a_nul_byte_is_refused);
    tcase_add_test(tests, a_relation_gives_the_first_name_of_each_group);
    tcase_add_test(tests, no_allocation_that_fails_is_taken_for_the_end);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

/* test_progress.c - what is said of a long thing: a bar with rate and rest on a
 * terminal, else a line. */
#include "cli/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvsql/admin.h"
#include "kvsql/base/diag.h"
#include "tests/lib/unit.h"

static char said[4096];
static FILE *file;
static int before;

static void keep(void *arg, const char *line)
{
    (void)arg;
    snprintf(said, sizeof said, "%s", line);
}

static void setup(void)
{
    said[0] = '\0';
    file = tmpfile();
    ck_assert_ptr_nonnull(file);
    before = dup(STDERR_FILENO);
    ck_assert_int_ge(dup2(fileno(file), STDERR_FILENO), 0);
    kv_diag_sink(keep, NULL);
}

static void back(void)
{
    ck_assert_int_ge(dup2(before, STDERR_FILENO), 0);
    close(before);
    before = -1;
}

static void teardown(void)
{
    if (before >= 0)
        back();
    fclose(file);
    kv_diag_sink(NULL, NULL);
}

/* What was drawn. */
static const char *drawn(void)
{
    back();
    rewind(file);
    said[fread(said, 1, sizeof said - 1, file)] = '\0';
    return said;
}

/* One that has run for `seconds`; the rates below are right for some minutes
 * more. */
static struct cli_progress begun(bool terminal, uint64_t seconds)
{
    struct cli_progress progress;

    cli_progress_init(&progress, "test.progress", "testing", "things");
    progress.terminal = terminal;
    progress.next_ns = 0;
    progress.began_ns -= seconds * 1000000000u;
    return progress;
}

START_TEST(a_bar_has_its_rate_and_what_is_left)
{
    struct cli_progress progress = begun(true, 10000);

    cli_progress_show(&progress, 12345000, 25, 100);
    ck_assert(progress.drawn);
    ck_assert_ptr_nonnull(
        strstr(drawn(), "\rtesting [#######.......................]  25%  "
                        "12,345,000 things  1,"));
    ck_assert_ptr_nonnull(strstr(said, "/s  30"));
    ck_assert_ptr_nonnull(strstr(said, " s left\033[K"));
}
END_TEST

START_TEST(of_an_unknown_whole_there_is_a_rate)
{
    struct cli_progress progress = begun(true, 10000);

    cli_progress_show(&progress, 50000, 0, 0);
    ck_assert_str_eq(drawn(), "\rtesting  50,000 things  4/s\033[K");
}
END_TEST

START_TEST(without_a_terminal_it_is_a_line)
{
    struct cli_progress progress = begun(false, 10000);

    cli_progress_show(&progress, 400, 100, 400);
    ck_assert_ptr_nonnull(
        strstr(said, "test.progress things=400 percent=25 per_s="));
    ck_assert_ptr_nonnull(strstr(said, " left_s=30"));
    said[0] = '\0';
    cli_progress_show(&progress, 500, 125, 400);
    ck_assert_str_eq(said, ""); /* it is not time */
}
END_TEST

START_TEST(each_stage_counts_by_itself)
{
    struct cli_progress progress = begun(false, 1000);

    cli_progress_tell(&progress, &(struct kv_progress){
                                     .what = "load", .done = 1, .total = 2});
    ck_assert_ptr_nonnull(strstr(said, " keys=1 percent=50"));
    ck_assert_ptr_null(strstr(said, "left_s=1000"));
    progress.next_ns = 0;
    cli_progress_tell(&progress, &(struct kv_progress){
                                     .what = "replay", .done = 9, .total = 10});
    ck_assert_ptr_nonnull(strstr(said, " bytes=9 percent=90"));
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_bar_has_its_rate_and_what_is_left);
    tcase_add_test(tests, of_an_unknown_whole_there_is_a_rate);
    tcase_add_test(tests, without_a_terminal_it_is_a_line);
    tcase_add_test(tests, each_stage_counts_by_itself);
}

int main(void)
{
    return unit_run("progress", add);
}

/* unit.h - the end of every test program: run one suite, say the result.
 *
 * Thread: main. */
#ifndef TESTS_LIB_UNIT_H
#define TESTS_LIB_UNIT_H

#include <check.h>
#include <stdlib.h>

/* Seconds that one test may take, unless `add` says otherwise. */
#define UNIT_TIMEOUT 60

/* Run the tests that `add` puts into one case; the exit status of main. */
static inline int unit_run(const char *name, void (*add)(TCase *tests))
{
    Suite *suite = suite_create(name);
    TCase *tests = tcase_create(name);

    tcase_set_timeout(tests, UNIT_TIMEOUT);
    add(tests);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif

/* tempdir.h - a directory of a test's own, and its end.
 *
 * Thread: the test's. */
#ifndef TESTS_LIB_TEMPDIR_H
#define TESTS_LIB_TEMPDIR_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define TEMPDIR_MAX 64

/* An empty one; its path names the test. */
static inline void tempdir_make(char dir[TEMPDIR_MAX], const char *test)
{
    (void)snprintf(dir, TEMPDIR_MAX, "/tmp/%s.XXXXXX", test);
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

/* With all that is in it. */
static inline void tempdir_remove(const char *dir)
{
    char command[TEMPDIR_MAX + 16];

    (void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

#endif

/* clock_fx.h - the fixture of a test program whose clock stands until the test
 * moves it: `clock_os` is the real operating system with that clock.
 *
 * Thread: the test's. */
#ifndef TESTS_LIB_CLOCK_FX_H
#define TESTS_LIB_CLOCK_FX_H

#include "kvsql/base/os.h"

static struct kv_os clock_os;
static int64_t clock_wall;  /* ms since the epoch */
static uint64_t clock_boot; /* ns since the machine began */

static int64_t clock_wall_ms(void *arg)
{
    (void)arg;
    return clock_wall;
}

static uint64_t clock_boot_ns(void *arg)
{
    (void)arg;
    return clock_boot;
}

static inline void clock_start(int64_t wall)
{
    clock_os = *kv_os_real();
    clock_os.wall_ms = clock_wall_ms;
    clock_os.boot_ns = clock_boot_ns;
    clock_wall = wall;
    clock_boot = 5000000000;
}

static inline void pass_ms(int64_t ms)
{
    clock_wall += ms;
    clock_boot += (uint64_t)ms * 1000000;
}

#endif

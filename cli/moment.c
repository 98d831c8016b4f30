/* moment.c - moments as people write them.
 *
 * Thread: any. */
#include "cli/moment.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* `count` digits at *p; false when there are fewer. */
static bool moment_digits(const char **p, unsigned count, int *value)
{
    *value = 0;
    for (unsigned i = 0; i < count; i++, ++*p) {
        if (!isdigit((unsigned char)**p))
            return false;
        *value = *value * 10 + (**p - '0');
    }
    return true;
}

static bool moment_char(const char **p, const char *any)
{
    const bool is = **p != '\0' && strchr(any, **p) != NULL;

    *p += is;
    return is;
}

/* .123 */
static bool moment_fraction(const char **p, int *ms)
{
    int weight = 100;

    *ms = 0;
    if (!moment_char(p, "."))
        return true;
    if (!isdigit((unsigned char)**p))
        return false;
    for (; isdigit((unsigned char)**p); ++*p, weight /= 10)
        *ms += (**p - '0') * weight;
    return true;
}

/* Z, or +01:00. */
static bool moment_zone(const char **p, int *minutes)
{
    const bool minus = **p == '-';
    int hour, minute;

    *minutes = 0;
    if (moment_char(p, "Zz"))
        return true;
    if (!moment_char(p, "+-") || !moment_digits(p, 2, &hour) ||
        !moment_char(p, ":") || !moment_digits(p, 2, &minute) ||
        hour > 23 || minute > 59)
        return false;
    *minutes = (hour * 60 + minute) * (minus ? -1 : 1);
    return true;
}

static bool moment_day_is(const struct tm *tm)
{
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const int year = tm->tm_year + 1900;
    const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return tm->tm_mon >= 0 && tm->tm_mon < 12 && tm->tm_mday >= 1 &&
           tm->tm_mday <= days[tm->tm_mon] &&
           (leap || tm->tm_mon != 1 || tm->tm_mday < 29) && year >= 1970;
}

bool cli_moment(const char *text, int64_t *wall_ms)
{
    const char *p = text;
    struct tm tm = {.tm_sec = 0};
    int ms = 0, zone;

    if (!moment_digits(&p, 4, &tm.tm_year) || !moment_char(&p, "-") ||
        !moment_digits(&p, 2, &tm.tm_mon) || !moment_char(&p, "-") ||
        !moment_digits(&p, 2, &tm.tm_mday) || !moment_char(&p, "Tt ") ||
        !moment_digits(&p, 2, &tm.tm_hour) || !moment_char(&p, ":") ||
        !moment_digits(&p, 2, &tm.tm_min))
        return false;
    if (moment_char(&p, ":") && (!moment_digits(&p, 2, &tm.tm_sec) ||
                                  !moment_fraction(&p, &ms)))
        return false;
    if (!moment_zone(&p, &zone) || *p != '\0')
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon--;
    if (!moment_day_is(&tm) || tm.tm_hour > 23 || tm.tm_min > 59 ||
        tm.tm_sec > 60)
        return false;
    *wall_ms = ((int64_t)timegm(&tm) - (int64_t)zone * 60) * 1000 + ms;
    return true;
}

void cli_moment_text(char out[CLI_MOMENT_MAX], int64_t wall_ms)
{
    const time_t seconds = (time_t)(wall_ms / 1000);
    char text[24];
    struct tm tm;

    out[0] = '\0';
    if (gmtime_r(&seconds, &tm) != NULL &&
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm) > 0)
        (void)snprintf(out, CLI_MOMENT_MAX, "%s.%03uZ", text,
                       (unsigned)(wall_ms % 1000));
}

#include "base/cleanup.h"
#include "model/sbatch.h"
#include "model/units.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <time.h>

int sbatch_parse_limit(const char *text, int64_t *ms_out, struct err *err)
{
    int64_t minutes;

    if (strcasecmp(text, "unlimited") == 0 || strcasecmp(text, "infinite") == 0) {
        *ms_out = 0;
        return 0;
    }
    if (text[strspn(text, "0123456789")] == '\0' && text[0]) {
        int rc = units_parse_int(text, 0, 5000000, &minutes, err);

        if (rc == 0)
            *ms_out = minutes * 60000;
        return rc;
    }
    if (!strpbrk(text, ":-"))
        return err_set(err, -EINVAL,
                       "expected minutes, MM:SS, HH:MM:SS or D-HH:MM:SS, not \"%.40s\"", text);
    return units_parse_duration(text, ms_out, err);
}

/* "+1hour", "+30" after "now". */
static int parse_offset(const char *text, int64_t *after_ms_out, struct err *err)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = { { "", 1000 },         { "second", 1000 },    { "minute", 60000 },
                  { "hour", 3600000 },  { "day", 86400000 },   { "week", 604800000 },
                  { "seconds", 1000 },  { "minutes", 60000 },  { "hours", 3600000 },
                  { "days", 86400000 }, { "weeks", 604800000 } };
    char digits[16];
    size_t len = strspn(text, "0123456789");
    int64_t count = 0;

    if (len > 0 && len < sizeof(digits)) {
        memcpy(digits, text, len);
        digits[len] = '\0';
        if (units_parse_int(digits, 0, 100000000, &count, NULL) == 0)
            for (size_t i = 0; i < ARRAY_COUNT(units); i++)
                if (strcasecmp(text + len, units[i].name) == 0) {
                    *after_ms_out = count * units[i].ms;
                    return 0;
                }
    }
    return err_set(err, -EINVAL, "expected a time such as now+1hour, not \"now+%.40s\"", text);
}

/* Today's (or, when that is over, tomorrow's) HH:MM[:SS], in local time. */
static int64_t next_clock(int64_t now_ms, int hour, int minute, int second)
{
    time_t now = (time_t)(now_ms / 1000);
    struct tm local;
    time_t at;

    localtime_r(&now, &local);
    local.tm_hour = hour;
    local.tm_min = minute;
    local.tm_sec = second;
    local.tm_isdst = -1;
    at = mktime(&local);
    if (at <= now) {
        localtime_r(&now, &local);
        local.tm_mday++;
        local.tm_hour = hour;
        local.tm_min = minute;
        local.tm_sec = second;
        local.tm_isdst = -1;
        at = mktime(&local);
    }
    return (int64_t)at * 1000;
}

/* The local offset of a wall-clock time that was read as if it were UTC. */
static int64_t local_from_utc(int64_t as_utc_ms)
{
    time_t as_utc = (time_t)(as_utc_ms / 1000);
    struct tm parts;

    gmtime_r(&as_utc, &parts);
    parts.tm_isdst = -1;
    return (int64_t)mktime(&parts) * 1000;
}

static bool parse_clock(const char *text, int *hour, int *minute, int *second)
{
    int64_t field[3] = { 0, 0, 0 };
    int count = 0;

    while (count < 3) {
        char digits[3] = { 0 };
        size_t len = strspn(text, "0123456789");

        if (len < 1 || len > 2)
            return false;
        memcpy(digits, text, len);
        units_parse_int(digits, 0, 99, &field[count++], NULL);
        text += len;
        if (*text != ':')
            break;
        text++;
    }
    *hour = (int)field[0];
    *minute = (int)field[1];
    *second = (int)field[2];
    return *text == '\0' && count > 1 && field[0] < 24 && field[1] < 60 && field[2] < 60;
}

int sbatch_parse_moment(const char *text, int64_t now_ms, int64_t *at_ms_out, int64_t *after_ms_out,
                        struct err *err)
{
    static const struct {
        const char *name;
        int hour;
    } words[] = { { "midnight", 0 }, { "noon", 12 }, { "fika", 15 }, { "teatime", 16 } };
    int hour, minute, second;
    int rc;

    if (strcasecmp(text, "now") == 0)
        return 0;
    if (strncasecmp(text, "now+", 4) == 0)
        return parse_offset(text + 4, after_ms_out, err);
    if (strcasecmp(text, "today") == 0)
        return 0;
    if (strcasecmp(text, "tomorrow") == 0) {
        *at_ms_out = next_clock(now_ms, 0, 0, 0);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_COUNT(words); i++)
        if (strcasecmp(text, words[i].name) == 0) {
            *at_ms_out = next_clock(now_ms, words[i].hour, 0, 0);
            return 0;
        }
    if (parse_clock(text, &hour, &minute, &second)) {
        *at_ms_out = next_clock(now_ms, hour, minute, second);
        return 0;
    }
    rc = units_parse_time(text, at_ms_out, err);
    if (rc < 0)
        return err_set(err, rc,
                       "expected a time such as 2026-11-22T10:00, 16:00 or now+1hour, not "
                       "\"%.40s\"",
                       text);
    if (strlen(text) <= 10 || !strpbrk(text + 10, "Z+-"))
        *at_ms_out = local_from_utc(*at_ms_out);
    return 0;
}

#include "model/units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define DAY_MS INT64_C(86400000)

static const int64_t scale_of[] = { 1, 10, 100, 1000 };

static int refuse(struct err *err, int code, const char *expected, const char *text)
{
    return err_set(err, code, "expected %s, not \"%.60s\"", expected, text);
}

/* The digits at *at as a number; -EINVAL when there is none, -ERANGE past int64. */
static int take_digits(const char **at, int64_t *out)
{
    const char *p = *at;
    int64_t value = 0;

    if (!isdigit((unsigned char)*p))
        return -EINVAL;
    for (; isdigit((unsigned char)*p); p++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *p - '0', &value))
            return -ERANGE;
    *at = p;
    *out = value;
    return 0;
}

/* "12" or "12.345" -> 12345 thousandths; more than 3 decimals do not fit (-EINVAL). */
static int take_thousandths(const char **at, int64_t *out)
{
    const char *p = *at;
    int64_t whole, part = 0;
    int rc = take_digits(&p, &whole);

    if (rc < 0)
        return rc;
    if (*p == '.') {
        const char *from = ++p;

        rc = take_digits(&p, &part);
        if (rc < 0 || p - from > 3)
            return -EINVAL;
        part *= scale_of[3 - (p - from)];
    }
    if (__builtin_mul_overflow(whole, 1000, &whole) || __builtin_add_overflow(whole, part, out))
        return -ERANGE;
    *at = p;
    return 0;
}

/* "1h30m": numbers with units that only get smaller; a bare number counts seconds. */
static int parse_unit_duration(const char *p, int64_t *ms_out)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = { { "d", DAY_MS }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 } };
    int64_t sum = 0;
    size_t least = 0;

    do {
        int64_t milli, ms;
        size_t len = 0;
        size_t unit;
        int rc = take_thousandths(&p, &milli);

        if (rc < 0)
            return rc;
        while (isalpha((unsigned char)p[len]))
            len++;
        if (len == 0) {
            if (least || *p)
                return -EINVAL;
            *ms_out = milli;
            return 0;
        }
        for (unit = least; unit < ARRAY_COUNT(units); unit++)
            if (strlen(units[unit].name) == len && strncmp(p, units[unit].name, len) == 0)
                break;
        if (unit == ARRAY_COUNT(units))
            return -EINVAL;
        if (__builtin_mul_overflow(milli, units[unit].ms, &ms) ||
            __builtin_add_overflow(sum, ms / 1000, &sum))
            return -ERANGE;
        least = unit + 1;
        p += len;
    } while (*p);
    *ms_out = sum;
    return 0;
}

/* "MM:SS", "HH:MM:SS", "D-HH", "D-HH:MM", "D-HH:MM:SS", as Slurm writes them. */
static int parse_clock_duration(const char *p, int64_t *ms_out)
{
    int64_t field[3] = { 0, 0, 0 };
    int64_t days = 0, sum = 0;
    bool has_days = strchr(p, '-') != NULL;
    size_t count = 0;
    int rc;

    if (has_days) {
        rc = take_digits(&p, &days);
        if (rc < 0)
            return rc;
        if (*p++ != '-')
            return -EINVAL;
    }
    for (;;) {
        if (count == 3)
            return -EINVAL;
        rc = take_digits(&p, &field[count++]);
        if (rc < 0)
            return rc;
        if (*p != ':')
            break;
        p++;
    }
    if (*p || (!has_days && count < 2))
        return -EINVAL;
    if (!has_days && count == 2) { /* MM:SS */
        field[2] = field[1];
        field[1] = field[0];
        field[0] = 0;
    }
    if (count > 1 && field[2] > 59)
        return -EINVAL;
    if ((has_days || count == 3) && field[1] > 59)
        return -EINVAL;
    if (__builtin_mul_overflow(days, DAY_MS, &days) ||
        __builtin_mul_overflow(field[0], 3600000, &field[0]) ||
        __builtin_mul_overflow(field[1], 60000, &field[1]) ||
        __builtin_add_overflow(days, field[0], &sum) ||
        __builtin_add_overflow(sum, field[1], &sum) ||
        __builtin_add_overflow(sum, field[2] * 1000, &sum))
        return -ERANGE;
    *ms_out = sum;
    return 0;
}

int units_parse_duration(const char *text, int64_t *ms_out, struct err *err)
{
    int rc = strpbrk(text, ":-") ? parse_clock_duration(text, ms_out)
                                 : parse_unit_duration(text, ms_out);

    if (rc == -ERANGE)
        return refuse(err, rc, "a duration that fits", text);
    return rc < 0 ? refuse(err, rc, "a duration such as 90s, 1h30m or 02:30:00", text) : 0;
}

int units_parse_bytes_in(const char *text, int64_t unit_bytes, int64_t *bytes_out, struct err *err)
{
    static const char letters[] = "KMGTPE";
    const char *expected = "a size such as 512M, 4GiB or 1.5T";
    const char *p = text;
    int64_t milli, bytes;
    int64_t unit = unit_bytes;
    int rc = take_thousandths(&p, &milli);

    if (rc < 0)
        return refuse(err, rc, rc == -ERANGE ? "a size that fits" : expected, text);
    if (*p) {
        const char *letter = strchr(letters, toupper((unsigned char)*p));

        unit = 1;
        if (letter) {
            unit = INT64_C(1) << (10 * (letter - letters + 1));
            p++;
            if (*p == 'i')
                p++;
        }
        if (*p == 'B' || *p == 'b')
            p++;
    }
    if (*p)
        return refuse(err, -EINVAL, expected, text);
    /* Whole units first: 7E would not survive being multiplied by 1000 before. */
    if (__builtin_mul_overflow(milli / 1000, unit, &bytes) ||
        __builtin_add_overflow(bytes, (int64_t)((__int128)(milli % 1000) * unit / 1000), &bytes))
        return refuse(err, -ERANGE, "a size that fits", text);
    *bytes_out = bytes;
    return 0;
}

int units_parse_bytes(const char *text, int64_t *bytes_out, struct err *err)
{
    return units_parse_bytes_in(text, 1, bytes_out, err);
}

int units_parse_milli(const char *text, int64_t *milli_out, struct err *err)
{
    const char *p = text;
    int64_t milli;
    int rc = take_thousandths(&p, &milli);

    if (rc == 0 && *p == 'm' && !strchr(text, '.')) {
        milli /= 1000;
        p++;
    }
    if (rc == 0 && *p)
        rc = -EINVAL;
    if (rc < 0)
        return refuse(err, rc, rc == -ERANGE ? "a number that fits" : "a number such as 1 or 0.25",
                      text);
    *milli_out = milli;
    return 0;
}

int units_parse_int(const char *text, int64_t min, int64_t max, int64_t *out, struct err *err)
{
    const char *p = text;
    bool negative = *p == '-' && min < 0;
    int64_t value;
    int rc;

    if (negative)
        p++;
    rc = take_digits(&p, &value);
    if (rc == 0 && *p)
        rc = -EINVAL;
    if (rc == 0 && negative)
        value = -value;
    if (rc == 0 && (value < min || value > max))
        rc = -ERANGE;
    if (rc < 0)
        return err_set(err, rc,
                       "expected a whole number from %" PRId64 " to %" PRId64 ", not \"%.60s\"",
                       min, max, text);
    *out = value;
    return 0;
}

/* Days since 1970-01-01 of a proleptic Gregorian date (Howard Hinnant, "chrono-Compatible
 * Low-Level Date Algorithms"). */
static int64_t days_of_date(int64_t year, int64_t month, int64_t day)
{
    int64_t era, year_of_era, day_of_year;

    year -= month <= 2;
    era = (year >= 0 ? year : year - 399) / 400;
    year_of_era = year - era * 400;
    day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

static void date_of_days(int64_t days, int64_t *year, int64_t *month, int64_t *day)
{
    int64_t era, day_of_era, year_of_era, day_of_year, shifted;

    days += 719468;
    era = (days >= 0 ? days : days - 146096) / 146097;
    day_of_era = days - era * 146097;
    year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    shifted = (5 * day_of_year + 2) / 153;
    *day = day_of_year - (153 * shifted + 2) / 5 + 1;
    *month = shifted + (shifted < 10 ? 3 : -9);
    *year = year_of_era + era * 400 + (*month <= 2);
}

static bool take_fixed(const char **at, int digits, int64_t *out)
{
    *out = 0;
    for (int i = 0; i < digits; i++) {
        if (!isdigit((unsigned char)**at))
            return false;
        *out = *out * 10 + (*(*at)++ - '0');
    }
    return true;
}

static bool take_char(const char **at, char c)
{
    if (**at != c)
        return false;
    (*at)++;
    return true;
}

static bool date_is_valid(int64_t year, int64_t month, int64_t day)
{
    static const int days_in[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return year >= 1970 && month >= 1 && month <= 12 && day >= 1 &&
           day <= days_in[month - 1] + (month == 2 && leap);
}

/* "T10:00[:00[.123]](Z|+01:00)?" -> ms of the day, less the offset. */
static bool take_clock(const char **at, int64_t *ms_out)
{
    int64_t hour, minute, second = 0, milli = 0;

    if (!take_fixed(at, 2, &hour) || !take_char(at, ':') || !take_fixed(at, 2, &minute))
        return false;
    if (take_char(at, ':')) {
        if (!take_fixed(at, 2, &second))
            return false;
        if (take_char(at, '.')) {
            const char *from = *at;

            if (take_digits(at, &milli) < 0 || *at - from > 3)
                return false;
            milli *= scale_of[3 - (*at - from)];
        }
    }
    if (hour > 23 || minute > 59 || second > 59)
        return false;
    *ms_out = ((hour * 60 + minute) * 60 + second) * 1000 + milli;
    if (**at == '+' || **at == '-') {
        int64_t sign = **at == '+' ? 1 : -1;

        (*at)++;
        if (!take_fixed(at, 2, &hour) || hour > 14)
            return false;
        take_char(at, ':');
        if (!take_fixed(at, 2, &minute) || minute > 59)
            return false;
        *ms_out -= sign * (hour * 60 + minute) * 60000;
        return true;
    }
    take_char(at, 'Z');
    return true;
}

int units_parse_time(const char *text, int64_t *unix_ms_out, struct err *err)
{
    const char *p = text;
    int64_t year, month, day, clock = 0;
    bool ok = take_fixed(&p, 4, &year) && take_char(&p, '-') && take_fixed(&p, 2, &month) &&
              take_char(&p, '-') && take_fixed(&p, 2, &day) && date_is_valid(year, month, day);

    if (ok && (take_char(&p, 'T') || take_char(&p, ' ')))
        ok = take_clock(&p, &clock);
    if (!ok || *p)
        return refuse(err, -EINVAL, "a time such as 2026-11-22T10:00:00Z", text);
    clock += days_of_date(year, month, day) * DAY_MS;
    if (clock < 0)
        return refuse(err, -ERANGE, "a time after 1970", text);
    *unix_ms_out = clock;
    return 0;
}

/* Unsigned decimal digits of `value`; how many. Faster than snprintf, which submits pay for. */
static size_t put_digits(char *out, uint64_t value)
{
    char digits[20];
    size_t count = 0;

    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    for (size_t i = 0; i < count; i++)
        out[i] = digits[count - 1 - i];
    return count;
}

static void put_text(char *out, size_t out_bytes, const char *text, size_t len)
{
    if (!out_bytes)
        return;
    len = MIN(len, out_bytes - 1);
    memcpy(out, text, len);
    out[len] = '\0';
}

void units_print_duration(int64_t ms, char *out, size_t out_bytes)
{
    static const struct {
        int64_t ms;
        char name[3];
    } units[] = { { DAY_MS, "d" }, { 3600000, "h" }, { 60000, "m" }, { 1000, "s" }, { 1, "ms" } };
    char text[80];
    uint64_t left = ms < 0 ? -(uint64_t)ms : (uint64_t)ms;
    size_t len = 0;

    if (ms < 0)
        text[len++] = '-';
    if (ms == 0) {
        put_text(out, out_bytes, "0s", 2);
        return;
    }
    for (size_t i = 0; i < ARRAY_COUNT(units) && left; i++) {
        uint64_t count = left / (uint64_t)units[i].ms;

        if (!count)
            continue;
        len += put_digits(text + len, count);
        for (const char *c = units[i].name; *c; c++)
            text[len++] = *c;
        left %= (uint64_t)units[i].ms;
    }
    put_text(out, out_bytes, text, len);
}

void units_print_bytes(int64_t bytes, char *out, size_t out_bytes)
{
    static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    uint64_t size = bytes < 0 ? -(uint64_t)bytes : (uint64_t)bytes;
    uint64_t unit = 1;
    size_t step = 0;

    while (step + 1 < ARRAY_COUNT(names) && size / unit >= 1024) {
        unit *= 1024;
        step++;
    }
    if (size % unit == 0)
        snprintf(out, out_bytes, "%s%" PRIu64 " %s", bytes < 0 ? "-" : "", size / unit,
                 names[step]);
    else
        snprintf(out, out_bytes, "%s%.1f %s", bytes < 0 ? "-" : "", (double)size / (double)unit,
                 names[step]);
}

void units_print_time(int64_t unix_ms, char *out, size_t out_bytes)
{
    int64_t days = unix_ms / DAY_MS - (unix_ms % DAY_MS < 0);
    int64_t clock = unix_ms - days * DAY_MS;
    int64_t year, month, day;
    int len;

    date_of_days(days, &year, &month, &day);
    len =
        snprintf(out, out_bytes,
                 "%04" PRId64 "-%02" PRId64 "-%02" PRId64 "T%02" PRId64 ":%02" PRId64 ":%02" PRId64,
                 year, month, day, clock / 3600000, clock / 60000 % 60, clock / 1000 % 60);
    if (len < 0 || (size_t)len >= out_bytes)
        return;
    if (clock % 1000)
        snprintf(out + len, out_bytes - (size_t)len, ".%03" PRId64 "Z", clock % 1000);
    else
        snprintf(out + len, out_bytes - (size_t)len, "Z");
}

/* `value` / 10^decimals, without trailing zeros after the point. */
static void print_decimal(int64_t value, int decimals, char *out, size_t out_bytes)
{
    uint64_t size = value < 0 ? -(uint64_t)value : (uint64_t)value;
    uint64_t unit = 1;
    uint64_t part;
    char text[48];
    size_t len = 0;

    for (int i = 0; i < decimals; i++)
        unit *= 10;
    if (value < 0)
        text[len++] = '-';
    len += put_digits(text + len, size / unit);
    part = size % unit;
    if (part)
        text[len++] = '.';
    while (part) {
        unit /= 10;
        text[len++] = (char)('0' + part / unit);
        part %= unit;
    }
    put_text(out, out_bytes, text, len);
}

void units_print_milli(int64_t milli, char *out, size_t out_bytes)
{
    print_decimal(milli, 3, out, out_bytes);
}

void units_print_micro(int64_t micro, char *out, size_t out_bytes)
{
    print_decimal(micro, 6, out, out_bytes);
}

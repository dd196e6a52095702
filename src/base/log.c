#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const char *log_who = "mains";
static enum log_level log_least = LOG_INFO;

void log_setup(const char *who, enum log_level least)
{
    log_who = who;
    log_least = least;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    static const char *const names[] = { "debug", "info ", "warn ", "error" };
    char line[1024];
    struct timespec now;
    struct tm tm;
    va_list args;
    int len;
    int more;

    if (level < log_least)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    len = (int)strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
    len += snprintf(line + len, sizeof(line) - (size_t)len,
                    ".%03ldZ %s %s: ", now.tv_nsec / 1000000, names[level], log_who);
    va_start(args, fmt);
    more = vsnprintf(line + len, sizeof(line) - (size_t)len - 1, fmt, args);
    va_end(args);
    if (more < 0)
        return;
    for (int i = len; line[i]; i++)
        if ((unsigned char)line[i] < 0x20)
            line[i] = '?';
    len = MIN(len + more, (int)sizeof(line) - 2);
    line[len++] = '\n';
    /* One write: lines of several processes on one stderr do not mix. */
    if (write(STDERR_FILENO, line, (size_t)len) < 0)
        return;
}

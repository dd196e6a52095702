#include "cli/term.h"

#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool term_has_color(FILE *file)
{
    const char *no = getenv("NO_COLOR");
    const char *kind = getenv("TERM");

    if ((no && *no) || !kind || strcmp(kind, "dumb") == 0)
        return false;
    return isatty(fileno(file)) == 1;
}

uint32_t term_width(FILE *file)
{
    const char *columns = getenv("COLUMNS");
    struct winsize size;

    if (isatty(fileno(file)) != 1)
        return 0;
    if (columns && *columns) {
        char *end;
        unsigned long value = strtoul(columns, &end, 10);

        if (*end == '\0' && value >= 20 && value <= 1000)
            return (uint32_t)value;
    }
    if (ioctl(fileno(file), TIOCGWINSZ, &size) == 0 && size.ws_col >= 20)
        return size.ws_col;
    return 80;
}

bool term_has_utf8(void)
{
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

const char *term_color_on(enum term_color color)
{
    switch (color) {
    case TERM_PLAIN:
        return "";
    case TERM_BOLD:
        return "\033[1m";
    case TERM_DIM:
        return "\033[2m";
    case TERM_RED:
        return "\033[31m";
    case TERM_GREEN:
        return "\033[32m";
    case TERM_YELLOW:
        return "\033[33m";
    case TERM_CYAN:
        return "\033[36m";
    }
    return "";
}

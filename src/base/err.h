/* err.h - one line for a person, beside the -errno for the program.
 *
 * Functions that can fail return 0 or -errno and fill `err` when it is not NULL. */
#pragma once

#include "base/cleanup.h"

struct err {
    char text[256];  /* one line, no newline; names the thing and the value */
    char field[128]; /* the field at fault, as "resources.cpus"; "" when none is */
};

/* Fill `err` (may be NULL) and return `code`. Control characters in what is printed become '?',
 * so that a hostile name can never forge a second line or a terminal escape. */
int err_set(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same, and names the field at fault. */
int err_field(struct err *err, int code, const char *field, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* Put "where: " before what is there. */
int err_prefix(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

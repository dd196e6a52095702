/* cleanup.h - scope-bound cleanup, and the macros every file uses.
 *
 * CLEANUP(fn) runs `fn(&variable)` when the variable's scope ends, on every path.
 * TAKE(p) hands `p` to the caller and leaves NULL behind. */
#pragma once

#include <stddef.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define TAKE(p)                                                                                    \
    (__extension__({                                                                               \
        __typeof__(p) take_value_ = (p);                                                           \
        (p) = NULL;                                                                                \
        take_value_;                                                                               \
    }))
#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define UNUSED __attribute__((unused))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* CLEANUP(freep) char *text = ...; frees what the pointer holds at scope end. */
void freep(void *pointer_to_pointer);
/* CLEANUP(closep) int fd = -1; closes fd when it is >= 0. */
void closep(int *fd);

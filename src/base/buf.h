/* buf.h - bytes that grow, up to a ceiling.
 *
 * A buffer owns its bytes. `data` always has a NUL after `len` bytes (when not NULL), so text can
 * be read as a C string. Failing calls (-ENOSPC past the ceiling, -ENOMEM) leave it unchanged and
 * set `failed`, so that a run of appends can be checked once at its end. */
#pragma once

#include "base/cleanup.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data; /* NULL until the first byte */
    size_t len;
    size_t cap;
    size_t max;
    bool failed;
};

struct buf buf_init(size_t bytes_max);
void buf_fini(struct buf *buf);  /* back to empty, reusable with the same ceiling */
void buf_clear(struct buf *buf); /* len 0, failed false, memory kept */
int buf_reserve(struct buf *buf, size_t more);
int buf_add(struct buf *buf, const void *data, size_t len);
int buf_add_text(struct buf *buf, const char *text);
int buf_add_char(struct buf *buf, char c);
int buf_printf(struct buf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3);
int buf_vprintf(struct buf *buf, const char *fmt, va_list args);
/* Drop the first `len` bytes (clamped). */
void buf_consume(struct buf *buf, size_t len);
/* Hand over the text (malloc'd, NUL-terminated; "" when empty; NULL when memory is short). */
char *buf_take(struct buf *buf);

/* units.h - numbers with units, as people write them, into integers in small units.
 *
 * 0 or -EINVAL (not of the form) / -ERANGE (does not fit, or negative); `err` says what was
 * expected. Whole text must match; NaN, infinities, signs and blanks are refused. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <stdint.h>

/* "90" (seconds), "90s", "15m", "2h", "3d", "1h30m", "1-02:03:04", "02:03:04", "MM:SS" -> ms. */
int units_parse_duration(const char *text, int64_t *ms_out, struct err *err);
/* "512", "64K", "64KB", "64KiB", "1.5G", "2Ti": all binary (1024), as Slurm and Kubernetes' Ki. */
int units_parse_bytes(const char *text, int64_t *bytes_out, struct err *err);
/* A bare number counts `unit_bytes` (Slurm's --mem counts MiB). */
int units_parse_bytes_in(const char *text, int64_t unit_bytes, int64_t *bytes_out, struct err *err);
/* "1", "0.25", "250m", up to 3 decimals -> 1/1000. */
int units_parse_milli(const char *text, int64_t *milli_out, struct err *err);
/* "2026-11-22T10:00:00Z", "+01:00" offsets, without seconds, "2026-11-22" (UTC) -> Unix ms. */
int units_parse_time(const char *text, int64_t *unix_ms_out, struct err *err);
int units_parse_int(const char *text, int64_t min, int64_t max, int64_t *out, struct err *err);

/* "1h30m", "250ms", "3d"; "1.5 GiB"; "2026-11-22T10:00:00Z"; "0.25"; "1.234567" (micro-units). */
void units_print_duration(int64_t ms, char *out, size_t out_bytes);
void units_print_bytes(int64_t bytes, char *out, size_t out_bytes);
void units_print_time(int64_t unix_ms, char *out, size_t out_bytes);
void units_print_milli(int64_t milli, char *out, size_t out_bytes);
void units_print_micro(int64_t micro, char *out, size_t out_bytes);

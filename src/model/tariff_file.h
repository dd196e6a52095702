/* tariff_file.h - a tariff as a table in a CSV file: what a kWh costs and emits, slot by slot.
 *
 *     time,price,carbon,green,cap
 *     2026-11-22T00:00:00Z,0.21,380,0.15,
 *     2026-11-22T01:00:00Z,0.18,350,0.22,
 *
 * `time` is when the slot begins (a time, or Unix seconds), in even steps; of the others at least
 * one is there, in any order: price of a kWh in the currency, g of CO2 equivalent a kWh, the green
 * share from 0 to 1, W that jobs may draw. An empty field is not known. */
#pragma once

#include "base/err.h"

#include <stdint.h>

#define TARIFF_FILE_UNKNOWN INT64_MIN
#define TARIFF_FILE_BYTES_MAX (8u << 20)

struct tariff_file_row {
    int64_t price_micro, carbon_mg, green_ppm, cap_w; /* TARIFF_FILE_UNKNOWN */
};
struct tariff_file {
    int64_t from_ms, slot_ms;
    uint32_t count;
    struct tariff_file_row *rows; /* malloc'd */
};

/* -EINVAL with "FILE:LINE: "; -E2BIG past `rows_max`; what file_read gives. Fini what comes out. */
int tariff_file_read(const char *path, uint32_t rows_max, struct tariff_file *file_out,
                     struct err *err);
/* The same of text in memory; `name` names it. It is changed. */
int tariff_file_parse(const char *name, char *text, uint32_t rows_max, struct tariff_file *file_out,
                      struct err *err);
void tariff_file_fini(struct tariff_file *file);
/* "0.215" in 10^-digits; a sign where `least` is below zero. -EINVAL. */
int tariff_parse_decimal(const char *text, uint32_t digits, int64_t least, int64_t most,
                         int64_t *value_out);

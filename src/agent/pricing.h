/* pricing.h - what the site's power costs over time, as its owner's file or URL says, told to the
 * network: all of it once, then what has changed.
 *
 *     tariff:
 *       series: /srv/prices.csv         # or
 *       url: https://prices.example/tomorrow.csv
 *       every: 15m                      # how often the URL is asked
 *
 * The form is model/tariff_file.h's, at most TARIFF_FILE_BYTES_MAX. What cannot be read or fetched
 * changes nothing and is logged once. One thread. */
#pragma once

#include "agent/session.h"
#include "model/tariff_file.h"

#include <jansson.h>

#define PRICING_EVERY_MS 900000
#define PRICING_EVERY_MS_MIN 10000

struct pricing_config {
    char file[4096], url[1024]; /* one of them, or neither */
    int64_t every_ms;
};
/* Of the tariff of site.yaml; keys of the constants are not looked at. -EINVAL and which. */
int pricing_config_parse(const json_t *tariff, struct pricing_config *out, struct err *err);

struct pricing;
/* NULL in `pricing_out` when there is nothing to tell. */
int pricing_create(uv_loop_t *loop, const struct pricing_config *config, struct session *session,
                   struct pricing **pricing_out, struct err *err);
void pricing_destroy(struct pricing *pricing);
/* Look whether the file is another, or the URL is due, and tell. Now and then. */
void pricing_look(struct pricing *pricing);
void pricing_lost(struct pricing *pricing); /* the session broke */

/* The slots of `next` that `told` does not have, from the first to the last of them, as borrowed
 * rows; count 0 = none. */
struct tariff_file pricing_changes(const struct tariff_file *told, const struct tariff_file *next);

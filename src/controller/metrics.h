/* metrics.h - counters of the controller, as Prometheus text. Names carry units; labels are
 * bounded: states, roles, routes of the table, a fixed list of status codes. */
#pragma once

#include "base/buf.h"

#include <stdint.h>

struct controller;
struct metrics;
struct metrics *metrics_create(uint32_t routes_count);
void metrics_destroy(struct metrics *metrics);
/* `route` = index in api_routes, or the count for "none of them". */
void metrics_count_request(struct metrics *metrics, uint32_t route, int status, int64_t us);
struct usage;
void metrics_count_usage(struct metrics *metrics, const struct usage *usage);
void metrics_print(struct controller *controller, struct buf *out);

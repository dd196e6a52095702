/* resize.h - elastic jobs: who gets idle devices, and who gives some back when they are needed.
 *
 * A job's rate at k devices is known at a few sizes (declared or measured) and linear between
 * them; beyond the largest known one, each further device is taken to bring `beyond_milli` of the
 * mean one so far, so that sizes never tried are tried with care. Below the smallest it falls in
 * proportion.
 *
 * Growing: the next devices go where class weight x rate won per device is greatest (in rates of
 * one of the job's devices alone, so that jobs compare), looking up
 * to 8 steps ahead so that a flat piece before a steep one is got over; for concave curves this
 * is the best share of the devices there is (Fox 1966). Resizing stops a job for resize_ms, so a
 * job is resized only when what it wins until its end, or until the devices will be wanted again,
 * is `payback_milli` times what it loses, and not again within hold_ms. What a job then does not
 * take is offered to the rest.
 *
 * Shrinking: asked for a number of devices, whoever gives the most for the least (rate lost over
 * the same time, and the stop) gives, never below devices_min; hold_ms does not bind, since
 * somebody waits. At most one step more than needed is freed.
 *
 * Pure; `struct resize` is scratch. Growing costs O((n + steps) log n) a round, at most 4 rounds;
 * shrinking O(n) a job that gives. */
#pragma once

#include "model/request.h"

#include <stdbool.h>
#include <stdint.h>

struct resize_point {
    uint32_t devices; /* >= 1 */
    double rate;      /* work per time, any unit of this job's own; > 0 */
};

struct resize_job {
    uint64_t id;
    enum job_class job_class;
    uint32_t devices, devices_min, devices_max; /* min <= now <= max, or it is left alone */
    uint32_t step;                              /* grows and shrinks by so many; >= 1 */
    const struct resize_point *points;          /* by devices, rising; borrowed */
    uint32_t points_count;                      /* 0: proportional */
    int64_t resize_ms;                          /* of standing still when resized */
    int64_t left_ms;    /* of work at its size now, as predicted; INT64_MAX = not known */
    int64_t changed_ms; /* when it started or was resized last */
};

struct resize_params {
    uint32_t class_weight[CLASS_COUNT];
    uint32_t beyond_milli;
    uint32_t payback_milli;
    int64_t hold_ms;
    int64_t unknown_ms; /* left_ms and free_ms that nobody knows */
};
/* Classes 1, 2, 4, 8; beyond 0.5; payback 2; hold 10 min; 1 h. */
struct resize_params resize_params_default(void);

/* The rate at `devices`, 1 at what it has now. */
double resize_rate(const struct resize_params *params, const struct resize_job *job,
                   uint32_t devices);

struct resize; /* scratch */
struct resize *resize_create(void);
void resize_destroy(struct resize *resize);
/* Share out `idle` devices that are free for free_ms (INT64_MAX = not known). devices_out[i]:
 * what jobs[i] should have. Returns how many devices are given. */
uint32_t resize_grow(struct resize *resize, const struct resize_params *params,
                     const struct resize_job *jobs, uint32_t count, uint32_t idle, int64_t free_ms,
                     int64_t now_ms, uint32_t *devices_out);
/* Free `needed` devices for needed_ms (INT64_MAX = not known) from jobs of class_max and below.
 * Returns how many are freed: less than needed when that is all there is. */
uint32_t resize_shrink(const struct resize_params *params, const struct resize_job *jobs,
                       uint32_t count, enum job_class class_max, uint32_t needed, int64_t needed_ms,
                       uint32_t *devices_out);

#include "agent/meter.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct beginning {
    struct attempt_key key; /* padding zeroed */
    struct energy_counters counters;
    UT_hash_handle hh;
};
struct meter {
    struct energy_model model;
    struct energy_sampler *sampler; /* NULL: nothing can be measured here */
    struct beginning *beginnings;
};

int meter_create(const struct node_info *node, const struct catalogue *catalogue, bool is_here,
                 struct meter **meter_out, struct err *err)
{
    struct meter *meter = calloc(1, sizeof(*meter));

    if (!meter)
        return err_set(err, -ENOMEM, "meter: out of memory");
    if (is_here && (node->energy_measured || node->devices_count))
        meter->sampler = energy_sampler_create(NULL);
    meter_set_node(meter, node, catalogue);
    meter_tick(meter, NULL, 0);
    *meter_out = meter;
    return 0;
}

void meter_destroy(struct meter *meter)
{
    struct beginning *beginning, *next;

    if (!meter)
        return;
    HASH_ITER (hh, meter->beginnings, beginning, next) {
        HASH_DEL(meter->beginnings, beginning);
        free(beginning);
    }
    energy_sampler_destroy(meter->sampler);
    free(meter);
}

void meter_set_node(struct meter *meter, const struct node_info *node,
                    const struct catalogue *catalogue)
{
    energy_model_init(&meter->model, node, catalogue);
}

void meter_tick(struct meter *meter, const int64_t *power_mw, uint32_t devices_count)
{
    if (meter->sampler)
        energy_sampler_tick(meter->sampler, clock_mono_ms(), power_mw, devices_count);
}

static struct beginning *find_beginning(struct meter *meter, struct attempt_key key)
{
    struct attempt_key clean;
    struct beginning *found;

    /* In place: a struct that is returned need not keep its padding. */
    memset(&clean, 0, sizeof(clean));
    clean.job_id = key.job_id;
    clean.epoch = key.epoch;
    HASH_FIND(hh, meter->beginnings, &clean, sizeof(clean), found);
    return found;
}

void meter_begin(struct meter *meter, struct attempt_key key)
{
    struct beginning *beginning;

    if (!meter->sampler || find_beginning(meter, key))
        return;
    beginning = calloc(1, sizeof(*beginning));
    if (!beginning)
        return; /* it will be modelled */
    meter_tick(meter, NULL, 0);
    energy_sampler_read(meter->sampler, &beginning->counters);
    beginning->key.job_id = key.job_id;
    beginning->key.epoch = key.epoch;
    HASH_ADD(hh, meter->beginnings, key, sizeof(beginning->key), beginning);
}

/* What was measured between the attempt's beginning and now. */
static void read_measured(const struct energy_counters *then, const struct energy_counters *now,
                          const struct attempt_record *record, struct energy_use *use)
{
    if (now->cpu_mj >= 0 && then->cpu_mj >= 0)
        use->cpu_measured_mj = energy_share_mj(now->cpu_mj - then->cpu_mj, use->cpu_ms,
                                               now->cpu_busy_ms - then->cpu_busy_ms);
    for (uint32_t i = 0; i < record->devices_count; i++) {
        uint32_t place = record->devices[i].index;

        if (place < NODE_DEVICES_MAX && then->device_mj[place] >= 0 &&
            now->device_readings[place] > then->device_readings[place])
            use->devices[i].energy_measured_mj = now->device_mj[place] - then->device_mj[place];
    }
}

void meter_read(struct meter *meter, struct attempt_record *record, bool ended)
{
    struct beginning *beginning = find_beginning(meter, record->key);
    struct usage *usage = &record->usage;
    struct energy_use use = { .cpu_ms = usage->cpu_ms,
                              .cpu_held_ms = usage->cpu_held_ms,
                              .wall_ms = usage->wall_ms,
                              .cpu_measured_mj = -1,
                              .devices_count = record->devices_count };
    struct energy_counters counters;

    for (uint32_t i = 0; i < record->devices_count; i++) {
        use.devices[i].device = record->devices[i].index;
        use.devices[i].milli = record->devices[i].milli;
        use.devices[i].busy_milli =
            record->suspended_ms && usage->wall_ms > 0
                ? (int32_t)(1000 * MAX(usage->wall_ms - record->suspended_ms, (int64_t)0) /
                            usage->wall_ms)
                : -1;
        use.devices[i].energy_measured_mj = -1;
    }
    if (beginning) {
        meter_tick(meter, NULL, 0);
        energy_sampler_read(meter->sampler, &counters);
        read_measured(&beginning->counters, &counters, record, &use);
        if (ended) {
            HASH_DEL(meter->beginnings, beginning);
            free(beginning);
        }
    }
    usage->energy_mj = energy_attempt_mj(&meter->model, &use, &usage->energy_measured);
}

#include "agent/meter.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct beginning {
    struct attempt_key key; /* padding zeroed */
    int64_t cpu_mj, cpu_busy_ms;
    UT_hash_handle hh;
};
struct meter {
    struct energy_model model;
    struct energy_sampler *sampler; /* NULL: nothing can be measured here */
    struct beginning *beginnings;
};

int meter_create(const struct node_info *node, const struct catalogue *catalogue,
                 struct meter **meter_out, struct err *err)
{
    struct meter *meter = calloc(1, sizeof(*meter));

    if (!meter)
        return err_set(err, -ENOMEM, "meter: out of memory");
    if (node->energy_measured)
        meter->sampler = energy_sampler_create(NULL);
    meter_set_node(meter, node, catalogue);
    meter_tick(meter);
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

void meter_tick(struct meter *meter)
{
    if (meter->sampler)
        energy_sampler_tick(meter->sampler, clock_mono_ms(), NULL, 0);
}

static struct attempt_key clean_key(struct attempt_key key)
{
    struct attempt_key clean;

    memset(&clean, 0, sizeof(clean));
    clean.job_id = key.job_id;
    clean.epoch = key.epoch;
    return clean;
}

static struct beginning *find_beginning(struct meter *meter, struct attempt_key key)
{
    struct attempt_key clean = clean_key(key);
    struct beginning *found;

    HASH_FIND(hh, meter->beginnings, &clean, sizeof(clean), found);
    return found;
}

void meter_begin(struct meter *meter, struct attempt_key key)
{
    struct energy_counters counters;
    struct beginning *beginning;

    if (!meter->sampler || find_beginning(meter, key))
        return;
    beginning = calloc(1, sizeof(*beginning));
    if (!beginning)
        return; /* it will be modelled */
    meter_tick(meter);
    energy_sampler_read(meter->sampler, &counters);
    beginning->key = clean_key(key);
    beginning->cpu_mj = counters.cpu_mj;
    beginning->cpu_busy_ms = counters.cpu_busy_ms;
    HASH_ADD(hh, meter->beginnings, key, sizeof(beginning->key), beginning);
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

    if (beginning) {
        meter_tick(meter);
        energy_sampler_read(meter->sampler, &counters);
        if (counters.cpu_mj >= 0 && beginning->cpu_mj >= 0)
            use.cpu_measured_mj =
                energy_share_mj(counters.cpu_mj - beginning->cpu_mj, usage->cpu_ms,
                                counters.cpu_busy_ms - beginning->cpu_busy_ms);
        if (ended) {
            HASH_DEL(meter->beginnings, beginning);
            free(beginning);
        }
    }
    for (uint32_t i = 0; i < record->devices_count; i++) {
        use.devices[i].device = record->devices[i].index;
        use.devices[i].milli = record->devices[i].milli;
        use.devices[i].busy_milli = -1;
        use.devices[i].energy_measured_mj = -1;
    }
    usage->energy_mj = energy_attempt_mj(&meter->model, &use, &usage->energy_measured);
}

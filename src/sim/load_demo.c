#include "sim/load_demo.h"

#include "base/rng.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define SIZES_MAX 12u
#define QUANTILES 18u
#define BANDS 4u
#define DAY_MS 86400000LL
#define DEMO_RUN_MS_MAX (2 * DAY_MS) /* "demo": what comes is also done soon */
#define USERS 200u
#define TENANTS 12u

/* Where the quantiles below stand. */
static const double quantile_at[QUANTILES] = { 0,  .01, .05, .1,  .2,  .3,  .4,   .5,   .6,
                                               .7, .8,  .9,  .95, .98, .99, .995, .999, 1 };

struct mix {
    const char *name, *reference;
    struct { /* devices of a job, and the share of jobs with at most that many, in 1/100,000 */
        uint32_t devices, up_to;
    } sizes[SIZES_MAX];
    /* Seconds at each quantile, of jobs with 1, 2-4, 5-8 and more devices. */
    int32_t run_s[BANDS][QUANTILES];
};

/* philly: Jeon et al., ATC'19, msr-fiddle/philly-traces (CC BY 4.0), 111,549 jobs.
 * venus: Hu et al., SC'21, HeliosData (CC BY 4.0), 125,303 jobs; run times cut at two days.
 * seren: Hu et al., NSDI'24, AcmeTrace (CC BY 4.0): sizes by figure 6, run times by workload type
 * (evaluation for one device, SFT for 2-4, MLLM for 5-8, pretraining above), at powers of two. */
static const struct mix mixes[] = {
    { "philly",
      "v100-sxm2-32g",
      { { 1, 86654 },
        { 2, 88915 },
        { 4, 93834 },
        { 8, 98961 },
        { 16, 99736 },
        { 24, 99772 },
        { 32, 99963 },
        { 64, 99990 },
        { 128, 100000 } },
      { { 1, 15, 42, 58, 75, 235, 639, 1198, 1948, 2733, 5671, 15584, 48051, 209024, 533709,
          1089243, 2850847, 5196151 },
        { 1, 8, 14, 19, 37, 185, 786, 1948, 13082, 39160, 92018, 217981, 429529, 905328, 1451550,
          1975446, 4012949, 5186933 },
        { 1, 13, 40, 85, 493, 1276, 4032, 12567, 27420, 76643, 173410, 365261, 655272, 1228648,
          1889981, 2568010, 4451310, 5187472 },
        { 1, 14, 36, 51, 265, 968, 2466, 8440, 17249, 42864, 75444, 184015, 370075, 721020, 1240992,
          1535035, 3178696, 3412913 } } },
    { "venus",
      "v100-sxm2-32g",
      { { 1, 51838 },
        { 2, 57383 },
        { 4, 64802 },
        { 8, 89976 },
        { 16, 94143 },
        { 24, 95042 },
        { 32, 97760 },
        { 64, 98709 },
        { 128, 99645 },
        { 256, 100000 } },
      { { 1, 1, 6, 17, 45, 89, 129, 190, 312, 682, 2039, 8444, 33430, 95082, 172800, 172800, 172800,
          172800 },
        { 1, 1, 6, 15, 43, 85, 125, 193, 337, 953, 5087, 44605, 123653, 172800, 172800, 172800,
          172800, 172800 },
        { 1, 1, 8, 26, 71, 123, 166, 216, 383, 748, 2494, 26143, 66319, 168736, 172800, 172800,
          172800, 172800 },
        { 1, 1, 5, 10, 40, 74, 154, 249, 452, 1116, 7473, 49679, 108797, 172800, 172800, 172800,
          172800, 172800 } } },
    { "seren",
      "a100-sxm-80g",
      { { 1, 54038 },
        { 2, 65426 },
        { 4, 67945 },
        { 8, 96748 },
        { 16, 97861 },
        { 32, 98818 },
        { 64, 99316 },
        { 128, 99551 },
        { 256, 99733 },
        { 512, 99821 },
        { 1024, 100000 } },
      { { 1, 1, 4, 8, 13, 25, 78, 130, 200, 285, 512, 1150, 2700, 7800, 15800, 28000, 131072,
          1048576 },
        { 1, 1, 6, 12, 29, 75, 138, 200, 268, 385, 540, 1110, 2400, 5600, 13000, 29000, 131072,
          524288 },
        { 1, 1, 4, 8, 23, 48, 120, 254, 390, 600, 1080, 5700, 24000, 48000, 80000, 150000, 420000,
          1048576 },
        { 1, 1, 2, 4, 31, 88, 182, 290, 480, 850, 1990, 25000, 78000, 180000, 290000, 460000,
          870000, 1048576 } } },
};

static bool is_cut(const char *name)
{
    return strcmp(name, "demo") == 0;
}

static const struct mix *find_mix(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(mixes); i++)
        if (is_cut(name) || strcmp(mixes[i].name, name) == 0)
            return &mixes[i];
    return NULL;
}

bool sim_load_is_demo(const char *name)
{
    return find_mix(name) != NULL;
}

/* --- draws ------------------------------------------------------------------------------------ */

static uint32_t draw_devices(const struct mix *mix, uint32_t most, struct rng *rng)
{
    uint32_t at = (uint32_t)rng_below(rng, 100000), i = 0;

    while (mix->sizes[i].up_to <= at)
        i++;
    return MIN(mix->sizes[i].devices, most);
}

/* Between two quantiles run times are spread evenly in their logarithm; those above `cut_ms` (0:
 * none) end there. */
static int64_t draw_run_ms(const struct mix *mix, uint32_t devices, int64_t cut_ms, struct rng *rng)
{
    const int32_t *run = mix->run_s[devices == 1 ? 0 : devices <= 4 ? 1 : devices <= 8 ? 2 : 3];
    double at = rng_unit(rng), part;
    int64_t run_ms;
    uint32_t i = 1;

    while (i + 1 < QUANTILES && quantile_at[i] < at)
        i++;
    part = (at - quantile_at[i - 1]) / (quantile_at[i] - quantile_at[i - 1]);
    run_ms =
        (int64_t)(1000.0 * exp(log((double)run[i - 1]) * (1 - part) + log((double)run[i]) * part));
    return cut_ms ? MIN(run_ms, cut_ms) : run_ms;
}

/* Venus' submits by the hour of the day, in 1/100 of the mean; weekends are at two thirds. */
static int64_t rate_at(int64_t time_ms)
{
    static const uint8_t hours[24] = { 27,  20,  19,  22,  38,  81,  131, 146, 117, 131, 156, 166,
                                       173, 173, 128, 131, 134, 136, 115, 104, 89,  65,  59,  38 };
    int64_t day = time_ms / DAY_MS;

    return hours[time_ms / 3600000 % 24] * (day % 7 >= 5 ? 2 : 3);
}

/* `count` moments within `span_ms`, growing: as many draws as jobs, thinned by the rate. */
static int64_t draw_time(struct rng *rng, int64_t span_ms)
{
    for (;;) {
        int64_t time_ms = (int64_t)rng_below(rng, (uint64_t)span_ms);

        if ((int64_t)rng_below(rng, 173 * 3) < rate_at(time_ms))
            return time_ms;
    }
}

/* Mean work of a job, ms on one device, by a fixed draw of its own. */
static double mean_work(const struct mix *mix, uint32_t devices_max, int64_t cut_ms)
{
    struct rng rng = { .state = 1 };
    double sum = 0;

    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t devices = draw_devices(mix, devices_max, &rng);

        sum += (double)devices * (double)draw_run_ms(mix, devices, cut_ms, &rng);
    }
    return sum / 20000;
}

/* No job is larger than the largest pool: it could never start. */
static uint32_t devices_most(const struct sim_fleet *fleet)
{
    uint32_t most = 1;

    for (uint32_t s = 0; s < fleet->sites_count; s++)
        for (uint32_t p = 0; p < fleet->sites[s].pools_count; p++)
            most = MAX(most, fleet->sites[s].pools[p].nodes * fleet->sites[s].pools[p].devices);
    return MIN(most / 8 * 8 > 0 ? most / 8 * 8 : most, 1024);
}

/* What the fleet does in a day, in ms of one reference device: faster chips count for more. */
static double fleet_work(const struct sim_fleet *fleet, const struct catalogue *catalogue,
                         const char *reference)
{
    const struct chip *chip = catalogue_find(catalogue, reference);
    struct chip_figures figures = { 0 };
    double sum = 0, base;

    if (chip)
        memcpy(figures.metric_milli, chip->metric_milli, sizeof(figures.metric_milli));
    base = (double)sim_chip_speed(&figures);
    for (uint32_t s = 0; s < fleet->sites_count; s++)
        for (uint32_t p = 0; p < fleet->sites[s].pools_count; p++) {
            const struct sim_pool *pool = &fleet->sites[s].pools[p];
            double speed = (double)sim_chip_speed(&pool->figures);

            sum += (double)pool->nodes * pool->devices * (speed > 0 && base > 0 ? speed / base : 1);
        }
    return sum * (double)DAY_MS;
}

static int add_job(struct sim_load *load, const struct mix *mix, struct rng *rng, int64_t span_ms,
                   uint32_t devices_max, int64_t cut_ms, uint32_t reference, struct err *err)
{
    struct sim_job job = sim_job_init();
    uint32_t user = (uint32_t)(rng_unit(rng) * rng_unit(rng) * USERS); /* few do most */
    uint64_t class_draw;
    char name[32];

    job.submit_ms = draw_time(rng, span_ms);
    job.tasks = 0;
    job.gpus = draw_devices(mix, devices_max, rng);
    job.run_ms = draw_run_ms(mix, job.gpus, cut_ms, rng);
    /* People ask for more than they need: two to ten times, in whole hours. */
    job.limit_ms = (job.run_ms * (int64_t)(2 + rng_below(rng, 9)) / 3600000 + 1) * 3600000;
    job.limit_ms = MIN(job.limit_ms, 3650 * DAY_MS);
    class_draw = rng_below(rng, 100);
    job.job_class = class_draw < 20 ? CLASS_LOW : class_draw < 95 ? CLASS_NORMAL : CLASS_HIGH;
    snprintf(name, sizeof(name), "user-%03u", user);
    job.user = sim_load_name(load, name);
    snprintf(name, sizeof(name), "team-%02u", user % TENANTS);
    job.tenant = sim_load_name(load, name);
    job.reference = reference;
    return sim_load_add(load, &job, err);
}

int sim_load_demo(const char *name, const struct sim_demo *demo, const struct sim_fleet *fleet,
                  const struct catalogue *catalogue, struct sim_load **load_out, struct err *err)
{
    CLEANUP(sim_load_destroyp) struct sim_load *load = sim_load_create();
    const struct mix *mix = find_mix(name);
    struct rng rng = { .state = demo->seed };
    uint32_t devices_max = devices_most(fleet);
    int64_t cut_ms = is_cut(name) ? DEMO_RUN_MS_MAX : 0;
    double work, days = (double)demo->days_milli / 1000.0, jobs = demo->jobs, could;
    uint32_t reference;
    int rc = 0;

    if (!mix)
        return err_set(err, -EINVAL, "no load \"%.40s\": there are demo, philly, venus and seren",
                       name);
    if (!load)
        return err_set(err, -ENOMEM, "out of memory");
    if (demo->load_milli <= 0)
        return err_set(err, -EINVAL, "load %s: offered work must be above 0", name);
    if (!fleet->devices_count)
        return err_set(err, -EINVAL, "fleet %s has no devices for load %s", fleet->name, name);
    work = mean_work(mix, devices_max, cut_ms);
    could = fleet_work(fleet, catalogue, mix->reference) * (double)demo->load_milli / 1000.0;
    if (jobs <= 0)
        jobs = could * (days > 0 ? days : 14) / work;
    if (days <= 0)
        days = demo->jobs ? jobs * work / could : 14;
    if (jobs > SIM_JOBS_MAX || days * (double)DAY_MS > (double)SIM_SPAN_MS_MAX)
        return err_set(err, -E2BIG, "load %s would be %.0f jobs over %.0f days", name, jobs, days);
    snprintf(load->source, sizeof(load->source), "like %s%s, seed %llu", mix->name,
             cut_ms ? " with runs of at most two days" : "", (unsigned long long)demo->seed);
    reference = sim_load_name(load, mix->reference);
    for (uint32_t i = 0; rc == 0 && i < (uint32_t)MAX(jobs, 1); i++)
        rc = add_job(load, mix, &rng, MAX((int64_t)(days * (double)DAY_MS), 1000), devices_max,
                     cut_ms, reference, err);
    if (rc == 0)
        rc = sim_load_finish(load, false, err);
    if (rc < 0)
        return rc;
    *load_out = TAKE(load);
    return 0;
}

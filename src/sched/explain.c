#include "sched/explain.h"

#include "sched/owner.h"

const char *verdict_name(enum verdict_code code)
{
    static const char *const names[] = {
        [VERDICT_BUSY] = "busy",
        [VERDICT_NO_SITE] = "no_site",
        [VERDICT_PLACE] = "where",
        [VERDICT_POLICY] = "policy",
        [VERDICT_CHIP] = "chip",
        [VERDICT_NEED] = "need",
        [VERDICT_DEVICE_MEMORY] = "device_memory",
        [VERDICT_DEVICES] = "devices",
        [VERDICT_CPUS] = "cpus",
        [VERDICT_MEMORY] = "memory",
        [VERDICT_DISK] = "disk",
        [VERDICT_TOGETHER] = "together",
        [VERDICT_GANG] = "tasks",
        [VERDICT_TOPOLOGY] = "topology",
        [VERDICT_CLOSED] = "cordoned",
        [VERDICT_UNREACHABLE] = "unreachable",
    };

    return names[code];
}

struct most { /* the best there is of one thing, and where */
    int64_t value;
    uint32_t site, node;
    bool any;
};

struct survey {
    struct most cpus, memory, disk, devices, device_memory, tasks, domain;
    struct most needs[REQUEST_NEEDS_MAX];
    uint32_t sites_allowed, chips_fit, needs_fit, memory_fit, nodes_fit;
    bool any_reachable;
};

static void keep_most(struct most *most, int64_t value, uint32_t site, uint32_t node)
{
    if (most->any && value <= most->value)
        return;
    *most = (struct most){ .value = value, .site = site, .node = node, .any = true };
}

static void survey_devices(struct survey *survey, const struct shape *shape,
                           const struct fleet_site *site, uint32_t s, uint32_t n)
{
    const struct fleet_node *node = &site->nodes[n];
    uint32_t fit = 0;

    for (uint32_t d = 0; d < node->devices_count; d++) {
        const struct chip_figures *chip = &site->chips[node->devices[d].chip];
        int64_t memory = node->devices[d].memory_bytes;
        enum shape_bar bar = shape_bar_of_chip(shape, chip, memory);

        if (bar == BAR_CHIP)
            continue;
        survey->chips_fit++;
        for (uint32_t i = 0; i < shape->needs_count; i++)
            keep_most(&survey->needs[i], chip->metric_milli[shape->needs[i].metric], s, n);
        if (bar == BAR_NEED)
            continue;
        survey->needs_fit++;
        keep_most(&survey->device_memory, memory, s, n);
        if (bar == BAR_DEVICE_MEMORY)
            continue;
        survey->memory_fit++;
        fit++;
    }
    keep_most(&survey->devices, fit, s, n);
}

static void survey_chip(struct survey *survey, const struct shape *shape,
                        const struct fleet_site *site, uint32_t s, uint16_t chip)
{
    int64_t tasks = 0;

    for (uint32_t n = 0; n < site->info.nodes_count; n++) {
        uint32_t fit = fit_tasks(shape, site, &site->nodes[n], chip, FIT_EVER);

        survey->nodes_fit += fit > 0;
        tasks += fit;
    }
    keep_most(&survey->tasks, tasks, s, 0);
    if (shape->within_hard)
        keep_most(&survey->domain, (int64_t)topology_most(shape, site, chip, FIT_EVER), s, 0);
    if (tasks >= shape->tasks && owner_is_expected(site))
        survey->any_reachable = true;
}

static void survey_site(struct survey *survey, const struct shape *shape, const struct fleet *fleet,
                        uint32_t s)
{
    const struct fleet_site *site = &fleet->sites[s];

    survey->sites_allowed++;
    for (uint32_t n = 0; n < site->info.nodes_count; n++) {
        const struct fleet_node *node = &site->nodes[n];

        keep_most(&survey->cpus, node->cpus, s, n);
        keep_most(&survey->memory, node->memory_bytes, s, n);
        keep_most(&survey->disk, node->disk_bytes, s, n);
        if (shape->devices_milli)
            survey_devices(survey, shape, site, s, n);
    }
    if (!shape->devices_milli)
        survey_chip(survey, shape, site, s, FLEET_NO_CHIP);
    for (uint32_t c = 0; shape->devices_milli && c < site->chips_count; c++)
        if (shape_bar_of_chip(shape, &site->chips[c], INT64_MAX) == BAR_NONE)
            survey_chip(survey, shape, site, s, (uint16_t)c);
    if (shape->mixed && !site->info.one_kind)
        survey_chip(survey, shape, site, s, FLEET_MIXED);
}

static struct verdict verdict(enum verdict_code code, int64_t needed, const struct most *most)
{
    return (struct verdict){
        .code = code, .needed = needed, .most = most->value, .site = most->site, .node = most->node
    };
}

static struct verdict of_devices(const struct survey *survey, const struct shape *shape)
{
    uint32_t whole = (shape->devices_milli + 999) / 1000;

    if (!survey->chips_fit)
        return (struct verdict){ .code = VERDICT_CHIP };
    for (uint32_t i = 0; !survey->needs_fit && i < shape->needs_count; i++)
        if (survey->needs[i].value < shape->needs[i].least_milli) {
            struct verdict is =
                verdict(VERDICT_NEED, shape->needs[i].least_milli, &survey->needs[i]);

            is.metric = shape->needs[i].metric;
            return is;
        }
    if (!survey->needs_fit)
        return (struct verdict){ .code = VERDICT_CHIP };
    if (!survey->memory_fit)
        return verdict(VERDICT_DEVICE_MEMORY, shape->device_memory_bytes, &survey->device_memory);
    if (survey->devices.value < whole)
        return verdict(VERDICT_DEVICES, whole, &survey->devices);
    return (struct verdict){ .code = VERDICT_BUSY };
}

/* Of what would do when empty; a place that owners bar counts when `bars_count_not`. */
static struct verdict explain_empty(const struct shape *shape, const struct fleet *fleet,
                                    uint32_t only_site, bool bars_count_not, struct survey *out)
{
    struct verdict is = { .code = VERDICT_BUSY };
    struct survey survey = { 0 };

    for (uint32_t i = 0; i < fleet->sites_count; i++)
        if ((only_site == EXPLAIN_ALL_SITES || only_site == i) &&
            shape_allows_site(shape, &fleet->sites[i].info) &&
            (bars_count_not || owner_lets(fleet, shape, i)))
            survey_site(&survey, shape, fleet, i);
    *out = survey;
    if (!survey.sites_allowed)
        return (struct verdict){ .code = VERDICT_PLACE };
    if (shape->devices_milli)
        is = of_devices(&survey, shape);
    if (is.code != VERDICT_BUSY)
        return is;
    if (survey.cpus.value < shape->cpus)
        return verdict(VERDICT_CPUS, shape->cpus, &survey.cpus);
    if (survey.memory.value < shape->memory_bytes)
        return verdict(VERDICT_MEMORY, shape->memory_bytes, &survey.memory);
    if (survey.disk.value < shape->disk_bytes)
        return verdict(VERDICT_DISK, shape->disk_bytes, &survey.disk);
    if (!survey.nodes_fit)
        return (struct verdict){ .code = VERDICT_TOGETHER };
    if (survey.tasks.value < shape->tasks)
        return verdict(VERDICT_GANG, shape->tasks, &survey.tasks);
    if (shape->within_hard && survey.domain.value < shape->tasks)
        return verdict(VERDICT_TOPOLOGY, shape->tasks, &survey.domain);
    return is;
}

/* A site that would do, were its owner to let it in; -1 = none. */
static int find_barred(const struct shape *shape, const struct fleet *fleet, uint32_t only_site)
{
    struct survey survey;

    for (uint32_t i = 0; i < fleet->sites_count; i++)
        if ((only_site == EXPLAIN_ALL_SITES || only_site == i) && !owner_lets(fleet, shape, i) &&
            explain_empty(shape, fleet, i, true, &survey).code == VERDICT_BUSY)
            return (int)i;
    return -1;
}

struct verdict explain_shape(struct shape *shape, const struct fleet *fleet, uint32_t only_site)
{
    const struct objective any = { .kind = OBJECTIVE_FASTEST };
    const struct candidate *list;
    struct survey survey;
    struct verdict is;
    uint32_t count;
    int barred;

    if (!fleet->sites_count)
        return (struct verdict){ .code = VERDICT_NO_SITE };
    list = shape_candidates(shape, fleet, &any, &count); /* each would do, were it empty */
    for (uint32_t k = 0; k < count; k++)
        if (only_site == EXPLAIN_ALL_SITES || list[k].site == only_site)
            return (struct verdict){ .code = VERDICT_BUSY };
    is = explain_empty(shape, fleet, only_site, false, &survey);
    if (is.code != VERDICT_BUSY) {
        barred = find_barred(shape, fleet, only_site);
        return barred < 0 ? is
                          : (struct verdict){ .code = VERDICT_POLICY, .site = (uint32_t)barred };
    }
    is.code = survey.any_reachable ? VERDICT_CLOSED : VERDICT_UNREACHABLE;
    is.site = survey.tasks.site;
    return is;
}

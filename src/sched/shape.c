#include "sched/shape.h"

#include "sched/fit.h"
#include "sched/mem.h"
#include "sched/owner.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const struct request_access no_access;
static const struct request_freight no_freight;
static const struct request_apart no_apart;

#define HAS_ACCESS 1u /* what follows in a shape's bytes */
#define HAS_FREIGHT 2u
#define HAS_APART 4u
#define SPAN_S 3600.0 /* of work, where nobody knows how much there is */

#define HEAD_BYTES offsetof(struct request_shape, chips)

static void free_found(struct shape *shape)
{
    if (shape->one) {
        shape->one->bars = NULL; /* the same */
        free_found(shape->one);
    }
    free(shape->one);
    apart_bars_destroy(shape->bars);
    free(shape->candidates);
    free(shape->fits);
    free(shape->picks);
}

void shapes_fini(struct shapes *shapes)
{
    for (uint32_t i = 1; i < shapes->bytes.entries_count; i++)
        if (shapes->bytes.entries[i].data)
            free_found(&shapes->list[i]);
    free(shapes->list);
    intern_fini(&shapes->bytes);
    *shapes = (struct shapes){ 0 };
}

static char *append(char *at, const void *data, size_t len)
{
    memcpy(at, data, len);
    return at + len;
}

/* Only what is used, and no byte behind a name's end: equal askings have equal bytes. */
static uint32_t pack(const struct request_shape *request, char *out)
{
    uint32_t has = 0;
    char *at = out;

    memcpy(at, request, HEAD_BYTES);
    /* Whether what owners ask, and what is moved, follows: most have nothing of it. */
    has |= memcmp(&request->access, &no_access, sizeof(no_access)) != 0 ? HAS_ACCESS : 0;
    has |= memcmp(&request->freight, &no_freight, sizeof(no_freight)) != 0 ? HAS_FREIGHT : 0;
    has |= apart_is_told(&request->apart) ? HAS_APART : 0;
    memcpy(at + offsetof(struct request_shape, reserved), &has, sizeof(has));
    at += HEAD_BYTES;
    memset(at, 0, (size_t)request->chips_count * MODEL_NAME_BYTES);
    for (uint32_t i = 0; i < request->chips_count; i++, at += MODEL_NAME_BYTES)
        memcpy(at, request->chips[i], strnlen(request->chips[i], MODEL_NAME_BYTES - 1));
    for (uint32_t i = 0; i < request->needs_count; i++, at += sizeof(struct request_need)) {
        struct request_need need = request->needs[i];

        need.reserved = 0;
        memcpy(at, &need, sizeof(need));
    }
    memset(at, 0, request->places_count * sizeof(struct request_place));
    for (uint32_t i = 0; i < request->places_count; i++, at += sizeof(struct request_place)) {
        struct request_place *place = (struct request_place *)at;

        place->kind = request->places[i].kind;
        place->deny = request->places[i].deny;
        memcpy(place->name, request->places[i].name,
               strnlen(request->places[i].name, MODEL_NAME_BYTES - 1));
    }
    if (has & HAS_ACCESS)
        at = append(at, &request->access, sizeof(request->access));
    if (has & HAS_FREIGHT)
        at = append(at, &request->freight, sizeof(request->freight));
    if (has & HAS_APART)
        at = append(at, &request->apart, sizeof(request->apart));
    return (uint32_t)(at - out);
}

uint32_t shapes_get(struct shapes *shapes, const struct request_shape *request)
{
    _Alignas(8) char bytes[sizeof(struct request_shape)];
    uint32_t len = pack(request, bytes), number;
    const struct request_shape *kept;
    struct shape *shape;
    bool is_new;

    number = intern_get(&shapes->bytes, bytes, len, &is_new);
    if (!is_new)
        return number;
    MEM_GROW(shapes->list, shapes->list_cap, number + 1);
    shape = &shapes->list[number];
    kept = (const struct request_shape *)intern_data(&shapes->bytes, number);
    *shape = (struct shape){
        .tasks = request->tasks,
        .tasks_per_node = request->tasks_per_node,
        .cpus = request->cpus,
        .devices_milli = request->devices_milli,
        .memory_bytes = request->memory_bytes,
        .disk_bytes = request->disk_bytes,
        .device_memory_bytes = request->device_memory_bytes,
        .within = request->within,
        .within_hard = request->within_hard,
        .spread = request->spread,
        .mixed = request->mixed,
        .work = request->work,
        .sites_max = request->sites_max,
        .guard = request->access.guard >> 1,
        .lends = request->access.guard & 1,
        .chips_count = request->chips_count,
        .needs_count = request->needs_count,
        .places_count = request->places_count,
        .chips = (const void *)((const char *)kept + HEAD_BYTES),
    };
    shape->needs = (const void *)(shape->chips + shape->chips_count);
    shape->places = (const void *)(shape->needs + shape->needs_count);
    if (kept->reserved & HAS_ACCESS)
        shape->access = (const void *)(shape->places + shape->places_count);
    if (kept->reserved & HAS_FREIGHT)
        shape->freight = (const void *)((const char *)(shape->places + shape->places_count) +
                                        (shape->access ? sizeof(*shape->access) : 0));
    if (kept->reserved & HAS_APART) {
        shape->apart =
            (const void *)(intern_data(&shapes->bytes, number) + len - sizeof(*shape->apart));
        shape->bars = apart_bars_create();
    }
    shape->ask_version = shape->fits_version = shape->candidates_version = shape->no_fit_version =
        shape->no_own_shape = shape->no_fit_limited = shape->no_across_room =
            shape->no_across_limited = UINT64_MAX;
    if (shape->sites_max > 1) {
        shape->one = mem_alloc(1, sizeof(*shape->one));
        *shape->one = *shape;
        shape->one->tasks = 1;
        shape->one->sites_max = 0;
        shape->one->one = NULL;
    }
    return number;
}

void shapes_ref(struct shapes *shapes, uint32_t number)
{
    intern_ref(&shapes->bytes, number);
}

void shapes_unref(struct shapes *shapes, uint32_t number)
{
    if (intern_unref(&shapes->bytes, number)) {
        free_found(&shapes->list[number]);
        shapes->list[number] = (struct shape){ 0 };
    }
}

struct shape *shapes_at(struct shapes *shapes, uint32_t number)
{
    return &shapes->list[number];
}

void shape_to_request(const struct shape *shape, struct request_shape *out)
{
    out->tasks = shape->tasks;
    out->tasks_per_node = shape->tasks_per_node;
    out->cpus = shape->cpus;
    out->devices_milli = shape->devices_milli;
    out->memory_bytes = shape->memory_bytes;
    out->disk_bytes = shape->disk_bytes;
    out->device_memory_bytes = shape->device_memory_bytes;
    out->within = shape->within;
    out->within_hard = shape->within_hard;
    out->spread = shape->spread;
    out->mixed = shape->mixed;
    out->work = shape->work;
    out->sites_max = shape->sites_max;
    out->chips_count = shape->chips_count;
    out->needs_count = shape->needs_count;
    out->places_count = shape->places_count;
    memcpy(out->chips, shape->chips, shape->chips_count * sizeof(out->chips[0]));
    memcpy(out->needs, shape->needs, shape->needs_count * sizeof(out->needs[0]));
    memcpy(out->places, shape->places, shape->places_count * sizeof(out->places[0]));
    out->access = shape->access ? *shape->access : no_access;
    out->freight = shape->freight ? *shape->freight : no_freight;
    out->apart = shape->apart ? *shape->apart : no_apart;
}

/* --- what a place must meet ----------------------------------------------------------------- */

bool shape_allows_site(const struct shape *shape, const struct site_info *site)
{
    const char *names[] = {
        [PLACE_OWNER] = site->owner, [PLACE_SITE] = site->name, [PLACE_REGION] = site->region
    };
    bool wanted[3] = { false }, found[3] = { false };

    for (uint32_t i = 0; i < shape->places_count; i++) {
        const struct request_place *place = &shape->places[i];
        bool same = strcmp(place->name, names[place->kind]) == 0;

        if (place->deny && same)
            return false;
        if (!place->deny) {
            wanted[place->kind] = true;
            found[place->kind] |= same;
        }
    }
    for (int i = 0; i < 3; i++)
        if (wanted[i] && !found[i])
            return false;
    return true;
}

uint32_t shape_preference(const struct shape *shape, const char *kind)
{
    for (uint32_t i = 0; i < shape->chips_count; i++)
        if (request_chip_is_match(shape->chips[i], kind))
            return i;
    return shape->chips_count;
}

enum shape_bar shape_bar_of_chip(const struct shape *shape, const struct chip_figures *chip,
                                 int64_t memory_bytes)
{
    if (shape->chips_count && shape_preference(shape, chip->kind) == shape->chips_count)
        return BAR_CHIP;
    for (uint32_t i = 0; i < shape->needs_count; i++) {
        int64_t has = chip->metric_milli[shape->needs[i].metric];

        /* The device itself told how much memory it has; the catalogue may not know. */
        if (shape->needs[i].metric == METRIC_MEMORY_GB && has < 0)
            has = memory_bytes / (1000 * 1000);
        if (has < shape->needs[i].least_milli)
            return BAR_NEED;
    }
    if (memory_bytes < shape->device_memory_bytes)
        return BAR_DEVICE_MEMORY;
    return BAR_NONE;
}

/* --- candidates ----------------------------------------------------------------------------- */

int64_t shape_chip_speed(const struct chip_figures *chip)
{
    static const enum chip_metric order[] = { METRIC_BF16_TFLOPS, METRIC_FP16_TFLOPS,
                                              METRIC_TF32_TFLOPS, METRIC_FP32_TFLOPS };

    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
        if (chip->metric_milli[order[i]] > 0)
            return chip->metric_milli[order[i]];
    return 0;
}

/* What a task costs for an hour, by the site's tariff and the catalogue's power. */
static void set_costs(struct candidate *candidate, const struct shape *shape,
                      const struct fleet_site *site, const struct node_info *node)
{
    const struct site_tariff *tariff = &site->info.tariff;
    const struct fleet_power *power = &site->power;
    int64_t price =
        power->has_rates ? power->price_micro_per_kwh : tariff->power_price_micro_per_kwh;
    int64_t carbon = power->has_rates ? power->carbon_mg_per_kwh : tariff->carbon_g_per_kwh_milli;
    __int128 watts_milli = 0, money;

    if (candidate->chip != FLEET_NO_CHIP) {
        if (candidate->chip != FLEET_MIXED)
            candidate->speed_milli = shape_chip_speed(&site->chips[candidate->chip]);
        watts_milli +=
            (__int128)fit_chip_watts(shape, site, candidate->chip) * shape->devices_milli;
    }
    if (node && node->cpus && node->cpu_load_watts > 0)
        watts_milli += (__int128)node->cpu_load_watts * 1000 * shape->cpus / node->cpus;
    candidate->watts_milli = (int64_t)watts_milli;
    money = (__int128)fleet_cpu_price(site) * shape->cpus +
            (__int128)fleet_device_price(site) * shape->devices_milli / 1000 +
            watts_milli * price / 1000000;
    candidate->price_micro = money > INT64_MAX ? INT64_MAX : (int64_t)money;
    /* mW for an hour = 1e-6 kWh; g/1000 per kWh = 1000 ug: ug = mW * milligrams per kWh / 1000 */
    money = watts_milli * carbon / 1000;
    candidate->carbon_ug = money > INT64_MAX ? INT64_MAX : (int64_t)money;
}

/* By its time limit it might cost more than its user lets it. */
static bool is_too_dear(struct shape *shape, const struct fleet_site *site,
                        const struct candidate *candidate)
{
    struct freight_cost cost;
    int64_t most;

    if (!shape->freight || !shape->freight->price_micro_max)
        return false;
    cost = freight_cost(shape->freight, site->policy, &site->freight);
    most = freight_price_most(shape->freight, candidate->price_micro, shape->tasks, &cost);
    if (most <= shape->freight->price_micro_max)
        return false;
    if (!shape->dear_count++ || most < shape->dear_micro) {
        shape->dear_micro = most;
        shape->dear_site = candidate->site;
    }
    return true;
}

static bool add_candidate(struct shape *shape, const struct fleet *fleet, uint32_t site_index,
                          uint16_t chip, uint32_t *cap)
{
    const struct fleet_site *site = &fleet->sites[site_index];
    struct candidate candidate = { .site = site_index,
                                   .chip = chip,
                                   .kind = kinds_at(site, chip),
                                   .ahead = { .changes_count = UINT64_MAX } };
    const struct node_info *first = NULL;

    for (uint32_t p = 0; p < site->room.pools_count; p++) {
        const struct room_pool *pool = &site->room.pools[p];
        uint32_t tasks;

        if (fit_never_in_pool(shape, pool, chip))
            continue;
        tasks = fit_tasks(shape, site, &site->nodes[pool->nodes[0]], chip, FIT_EMPTY);
        if (!tasks)
            continue;
        if (!first)
            first = &site->info.nodes[pool->nodes[0]];
        candidate.tasks_empty += (uint64_t)tasks * pool->nodes_count;
        candidate.nodes_empty += pool->nodes_count;
    }
    if (candidate.tasks_empty < shape->tasks)
        return false;
    if (shape->within_hard) {
        struct fit fit = { 0 };
        bool fits = topology_fit(shape, fleet, site_index, chip, FIT_EMPTY, &fit);

        fit_fini(&fit);
        if (!fits)
            return false;
    }
    candidate.preference = UINT16_MAX; /* mixed: behind all that are of one kind */
    if (chip == FLEET_NO_CHIP)
        candidate.preference = 0;
    else if (chip != FLEET_MIXED)
        candidate.preference = (uint16_t)shape_preference(shape, site->chips[chip].kind);
    set_costs(&candidate, shape, site, first);
    if (is_too_dear(shape, site, &candidate))
        return false;
    if (shape->candidates_count == *cap) {
        MEM_GROW(shape->candidates, *cap, shape->candidates_count + 1);
        shape->fits = mem_resize(shape->fits, *cap, sizeof(*shape->fits));
    }
    shape->fits[shape->candidates_count] = (struct candidate_fit){ .no_fit_version = UINT64_MAX,
                                                                   .no_fit_limited = UINT64_MAX,
                                                                   .kind = candidate.kind };
    shape->candidates[shape->candidates_count++] = candidate;
    return true;
}

/* How many kinds of the site's chips will do. */
static uint32_t kinds_that_do(const struct shape *shape, const struct fleet_site *site)
{
    uint32_t count = 0;

    for (uint32_t c = 0; c < site->chips_count; c++)
        count += shape_bar_of_chip(shape, &site->chips[c], INT64_MAX) == BAR_NONE;
    return count;
}

static void find_candidates(struct shape *shape, const struct fleet *fleet)
{
    uint32_t cap = 0;

    free(shape->candidates);
    free(shape->fits);
    free(shape->picks);
    shape->picks = NULL;
    shape->candidates = NULL;
    shape->fits = NULL;
    shape->candidates_count = 0;
    shape->dear_count = 0;
    for (uint32_t i = 0; i < fleet->sites_count; i++) {
        const struct fleet_site *site = &fleet->sites[i];

        if (!owner_is_expected(site) || !shape_allows_site(shape, &site->info) ||
            !owner_lets(fleet, shape, i))
            continue;
        if (!shape->devices_milli)
            add_candidate(shape, fleet, i, FLEET_NO_CHIP, &cap);
        for (uint32_t c = 0; shape->devices_milli && c < site->chips_count; c++)
            if (shape_bar_of_chip(shape, &site->chips[c], INT64_MAX) == BAR_NONE)
                add_candidate(shape, fleet, i, (uint16_t)c, &cap);
        if (shape->mixed && !site->info.one_kind && kinds_that_do(shape, site) > 1)
            add_candidate(shape, fleet, i, FLEET_MIXED, &cap);
    }
    shape->candidates_version = fleet->shape_version;
    shape->sorted_by.kind = UINT32_MAX;
}

/* Each cost relative to the least there is, so that weights mean the same everywhere. */
struct scale {
    double speed, price, carbon; /* best of all candidates; 0 = not known of any */
    bool delays, moves;          /* somewhere it waits; something is paid for what is moved */
    double span_s;               /* how long its work takes at the best place */
    double finish_s;             /* with what it waits, where that is least */
};

static double relative(double value, double best)
{
    return best > 0 ? value / best : 1.0;
}

/* How much longer its work takes there than where it is fastest. */
static double time_factor(const struct candidate *candidate, const struct scale *scale)
{
    if (candidate->rate.seconds > 0)
        return relative(candidate->bill.finish_s, scale->speed);
    if (scale->speed > 0) /* unknown speed: behind all that are known */
        return candidate->speed_milli ? scale->speed / (double)candidate->speed_milli : 1e9;
    return 1.0;
}

static double delay_s(const struct candidate *candidate)
{
    const struct freight_cost *cost = &candidate->freight;

    return (double)(cost->wait_ms + cost->in_ms + cost->out_ms) / 1000;
}

/* Of a unit, or of a task for an hour; of all of the work where something is paid beside it. */
static double price_of(const struct candidate *candidate, const struct shape *shape,
                       const struct scale *scale)
{
    bool is_rated = candidate->rate.seconds > 0;
    double price = is_rated ? candidate->bill.money : (double)candidate->price_micro;

    if (!scale->moves)
        return price;
    if (is_rated)
        price *= 1e6 * scale->span_s / (scale->speed > 0 ? scale->speed : 1);
    else
        price *= shape->tasks * scale->span_s / 3600;
    return price + (double)candidate->freight.money_micro;
}

static double candidate_score(const struct candidate *candidate, const struct shape *shape,
                              const struct objective *objective, const struct scale *scale)
{
    bool is_rated = candidate->rate.seconds > 0;
    double price = price_of(candidate, shape, scale);
    double carbon = is_rated ? candidate->bill.carbon_g : (double)candidate->carbon_ug;
    double time = time_factor(candidate, scale), weights[3] = { 0 };

    if (scale->delays)
        time = relative(candidate->finish_s, scale->finish_s);
    switch ((enum objective_kind)objective->kind) {
    case OBJECTIVE_FASTEST:
        weights[0] = 1;
        break;
    case OBJECTIVE_CHEAPEST:
        weights[1] = 1;
        break;
    case OBJECTIVE_GREENEST:
        weights[2] = 1;
        break;
    case OBJECTIVE_WEIGHTS:
        weights[0] = objective->weight_time_milli;
        weights[1] = objective->weight_money_milli;
        weights[2] = objective->weight_carbon_milli;
        break;
    }
    return weights[0] * time + weights[1] * relative(price, scale->price) +
           weights[2] * relative(carbon, scale->carbon);
}

static bool is_before(const struct candidate *a, const struct candidate *b,
                      const struct objective *objective)
{
    bool is_rated = a->rate.seconds > 0;

    if ((a->chip == FLEET_MIXED) != (b->chip == FLEET_MIXED)) /* of one kind, if there is room */
        return b->chip == FLEET_MIXED;
    if (is_rated != (b->rate.seconds > 0)) /* a known pace is before one that nobody knows */
        return is_rated;
    /* The job's own order of chips says what it takes to be fast, where nothing better does. */
    if (!is_rated && objective->kind == OBJECTIVE_FASTEST && a->place != b->place)
        return a->place < b->place;
    if (a->score != b->score)
        return a->score < b->score;
    if (a->preference != b->preference)
        return a->preference < b->preference;
    return a->site != b->site ? a->site < b->site : a->chip < b->chip;
}

/* What a unit of the work comes to there: at once, by the candidate's figures of one task. */
static void set_rate(struct candidate *candidate, const struct shape *shape,
                     const struct fleet *fleet)
{
    const struct fleet_site *site = &fleet->sites[candidate->site];
    double watts = (double)candidate->watts_milli / 1000;
    struct rates_place place = {
        .watts = watts,
        .device_hour_price = (double)candidate->price_micro / 1e6, /* power included */
        .kwh_carbon_g = watts > 0 ? (double)candidate->carbon_ug / 1e3 / watts : 0,
    };

    if (candidate->chip == FLEET_MIXED)
        return; /* learned of gangs of one kind */
    candidate->rate =
        work_rate(fleet->work, shape->work,
                  candidate->chip == FLEET_NO_CHIP ? NULL : site->chips[candidate->chip].kind,
                  shape->devices_milli, work_gang(shape->tasks, shape->devices_milli, shape->cpus));
    if (!rates_bill(&candidate->rate, shape->tasks, 1, 1, &place, &candidate->bill))
        candidate->rate = (struct rate){ 0 };
}

static void keep_least(double *least, double value)
{
    if (value > 0 && (*least <= 0 || value < *least))
        *least = value;
}

/* The best of those whose rate is known, or of the others: the two are never weighed together. */
static struct scale scale_of(const struct shape *shape, bool is_rated)
{
    struct scale scale = { 0 };

    for (uint32_t i = 0; i < shape->candidates_count; i++) {
        const struct candidate *c = &shape->candidates[i];

        if ((c->rate.seconds > 0) != is_rated)
            continue;
        if (is_rated)
            keep_least(&scale.speed, c->bill.finish_s);
        else if ((double)c->speed_milli > scale.speed)
            scale.speed = (double)c->speed_milli;
        keep_least(&scale.price, is_rated ? c->bill.money : (double)c->price_micro);
        keep_least(&scale.carbon, is_rated ? c->bill.carbon_g : (double)c->carbon_ug);
    }
    return scale;
}

/* What is moved and what it waits there, before its work can begin and after it has ended. */
static void set_freight(struct candidate *candidate, const struct shape *shape,
                        const struct fleet *fleet)
{
    const struct fleet_site *site = &fleet->sites[candidate->site];
    uint64_t a_node = MAX(candidate->tasks_empty / MAX(candidate->nodes_empty, 1u), 1u);

    candidate->freight = freight_cost(shape->freight, site->policy, &site->freight);
    candidate->freight.wait_ms = freight_wait_ms(&site->freight, shape->devices_milli > 0,
                                                 (shape->tasks + a_node - 1) / a_node);
}

static double span_of(const struct shape *shape, const struct scale *scale, bool is_rated)
{
    const struct request_freight *freight = shape->freight;

    if (is_rated && freight && freight->units_milli)
        return (double)freight->units_milli / 1000 * scale->speed;
    return freight && freight->span_ms ? (double)freight->span_ms / 1000 : SPAN_S;
}

/* What it waits, beside how long it takes. Where it would not end first of all, each time over that
 * it takes counts as a place in its own list of chips. */
static void add_delays(struct shape *shape, struct scale *scale, bool is_rated)
{
    for (uint32_t i = 0; i < shape->candidates_count; i++) {
        struct candidate *c = &shape->candidates[i];

        if ((c->rate.seconds > 0) != is_rated)
            continue;
        scale->delays |= delay_s(c) > 0;
        scale->moves |= c->freight.money_micro > 0;
    }
    if (!scale->delays && !scale->moves)
        return;
    scale->span_s = span_of(shape, scale, is_rated);
    scale->price = 0;
    for (uint32_t i = 0; i < shape->candidates_count; i++) {
        struct candidate *c = &shape->candidates[i];

        if ((c->rate.seconds > 0) != is_rated)
            continue;
        keep_least(&scale->price, price_of(c, shape, scale));
        if (!scale->delays)
            continue;
        c->finish_s = scale->span_s * time_factor(c, scale) + delay_s(c);
        keep_least(&scale->finish_s, c->finish_s);
    }
    for (uint32_t i = 0; i < shape->candidates_count && scale->delays; i++) {
        struct candidate *c = &shape->candidates[i];
        double spans = scale->span_s > 0 ? delay_s(c) / scale->span_s : 0;

        if ((c->rate.seconds > 0) == is_rated && c->finish_s > scale->finish_s)
            c->place += spans < UINT16_MAX ? (uint32_t)spans : UINT16_MAX;
    }
}

static bool has_freight(const struct shape *shape, const struct fleet *fleet)
{
    return shape->freight || fleet->waits_count;
}

static uint64_t delays_version(const struct shape *shape, const struct fleet *fleet)
{
    return fleet->waits_version + (shape->freight ? fleet->freight_version : 0);
}

/* Neither pace, nor wait, nor money for what is moved: nothing told of this work in this place. */
static bool has_no_terms(const struct candidate *candidate)
{
    return candidate->rate.seconds <= 0 && candidate->freight.wait_ms == 0 &&
           candidate->freight.in_ms == 0 && candidate->freight.out_ms == 0 &&
           candidate->freight.money_micro == 0;
}

static void sort_candidates(struct shape *shape, const struct fleet *fleet,
                            const struct objective *objective)
{
    struct scale scales[2];

    free(shape->picks);
    shape->picks = NULL;
    for (uint32_t i = 0; i < shape->candidates_count && shape->work && fleet->work; i++)
        set_rate(&shape->candidates[i], shape, fleet);
    for (uint32_t i = 0; i < shape->candidates_count; i++) {
        struct candidate *c = &shape->candidates[i];

        c->place = c->preference;
        c->finish_s = 0;
        c->freight = (struct freight_cost){ 0 };
        if (has_freight(shape, fleet))
            set_freight(c, shape, fleet);
    }
    for (uint32_t rated = 0; rated < 2; rated++) {
        scales[rated] = scale_of(shape, rated);
        if (has_freight(shape, fleet))
            add_delays(shape, &scales[rated], rated);
    }
    for (uint32_t i = 0; i < shape->candidates_count; i++) {
        struct candidate *c = &shape->candidates[i];

        c->score = candidate_score(c, shape, objective, &scales[c->rate.seconds > 0]);
    }
    for (uint32_t i = 1; i < shape->candidates_count; i++) { /* few, and mostly in order */
        struct candidate moved = shape->candidates[i];
        struct candidate_fit moved_fit = shape->fits[i];
        uint32_t at = i;

        for (; at && is_before(&moved, &shape->candidates[at - 1], objective); at--) {
            shape->candidates[at] = shape->candidates[at - 1];
            shape->fits[at] = shape->fits[at - 1];
        }
        shape->candidates[at] = moved;
        shape->fits[at] = moved_fit;
    }
    shape->is_indifferent = objective->kind == OBJECTIVE_FASTEST && !shape->chips_count;
    for (uint32_t i = 0; i < shape->candidates_count; i++)
        shape->is_indifferent &= has_no_terms(&shape->candidates[i]);
    shape->sorted_by = *objective;
    shape->delays_version = delays_version(shape, fleet);
    if (shape->work && fleet->work)
        shape->rates_version = fleet->work->classes[shape->work].version;
}

/* With a bound on its price, other places may be within it than before. */
static void look_again(struct shape *shape, const struct fleet *fleet)
{
    if (shape->delays_version == delays_version(shape, fleet) || !shape->freight ||
        !shape->freight->price_micro_max)
        return;
    shape->candidates_version = UINT64_MAX;
    shape->no_fit_version = shape->no_fit_limited = shape->fits_version = UINT64_MAX;
}

/* Was more learned of its work since they were sorted? */
static bool has_other_rates(const struct shape *shape, const struct fleet *fleet)
{
    return shape->work && fleet->work &&
           shape->rates_version != fleet->work->classes[shape->work].version;
}

const struct candidate *shape_candidates(struct shape *shape, const struct fleet *fleet,
                                         const struct objective *objective, uint32_t *count_out)
{
    const struct objective *by = &shape->sorted_by;

    look_again(shape, fleet);
    if (shape->candidates_version != fleet->shape_version)
        find_candidates(shape, fleet);
    if (by->kind != objective->kind || by->weight_time_milli != objective->weight_time_milli ||
        by->weight_money_milli != objective->weight_money_milli ||
        by->weight_carbon_milli != objective->weight_carbon_milli ||
        has_other_rates(shape, fleet) || shape->delays_version != delays_version(shape, fleet))
        sort_candidates(shape, fleet, objective);
    *count_out = shape->candidates_count;
    return shape->candidates;
}

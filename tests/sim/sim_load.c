#include "sim_load.h"

#include "grid/grid.h"

#include <stdio.h>
#include <string.h>

static const char *const tenants[] = { "alice", "bob", "carol" };

static void choose_place(struct request_shape *shape, struct rng *rng)
{
    struct request_place *place = &shape->places[shape->places_count++];

    place->kind = (uint32_t)rng_below(rng, 3);
    place->deny = (uint32_t)rng_below(rng, 2);
    snprintf(place->name, sizeof(place->name), "%s",
             place->kind == PLACE_OWNER  ? "owner0"
             : place->kind == PLACE_SITE ? "site0"
                                         : "south");
}

static const char *const labels[] = { "public", "secret" };

static void choose_data(struct request_access *access, struct rng *rng)
{
    if (rng_below(rng, 2))
        snprintf(access->image, sizeof(access->image), "image-%u", (unsigned)rng_below(rng, 2));
    else
        strcpy(access->labels[access->labels_count++], labels[rng_below(rng, 2)]);
}

/* Copies that keep away from each other, and work that keeps away from them. */
static void choose_apart(struct request_apart *apart, struct rng *rng)
{
    static const char *const names[] = { "web", "db" };

    if (rng_below(rng, 3))
        strcpy(apart->labels[apart->labels_count++], names[rng_below(rng, 2)]);
    if (rng_below(rng, 3)) {
        strcpy(apart->avoids[apart->avoids_count++], names[rng_below(rng, 2)]);
        apart->level = (uint32_t)rng_below(rng, APART_COUNT);
    }
}

static void choose_shape(struct request_shape *shape, struct rng *rng)
{
    uint64_t kind = rng_below(rng, 10);

    shape->tasks = 1;
    shape->cpus = 1 + (uint32_t)rng_below(rng, 3);
    shape->memory_bytes = rng_below(rng, 2) ? (int64_t)rng_below(rng, 3) << 29 : 0;
    shape->disk_bytes = rng_below(rng, 4) ? 0 : 1LL << 30;
    if (kind < 3) { /* a gang */
        shape->tasks = 2 + (uint32_t)rng_below(rng, 6);
        shape->tasks_per_node = (uint32_t)rng_below(rng, 3);
        shape->cpus = 1;
    }
    shape->mixed = kind == 2 && rng_below(rng, 2);
    if (kind >= 2 && kind < 7) {
        shape->devices_milli = rng_below(rng, 2) ? 100 * (1 + (uint32_t)rng_below(rng, 9))
                                                 : 1000 * (1 + (uint32_t)rng_below(rng, 2));
        if (shape->mixed)
            shape->devices_milli = 1000 * (1 + (uint32_t)(rng_below(rng, 3) == 0));
        if (!shape->mixed && rng_below(rng, 3) == 0) {
            strcpy(shape->chips[0], rng_below(rng, 2) ? "chip-b" : "chip-a");
            shape->chips_count = 1;
        }
        if (rng_below(rng, 8) == 0) {
            shape->needs[0].metric = METRIC_BF16_TFLOPS;
            shape->needs[0].least_milli = rng_below(rng, 2) ? 100000 : 900000;
            shape->needs_count = 1;
        }
    }
    if (rng_below(rng, 8) == 0)
        choose_place(shape, rng);
    if (rng_below(rng, 6) == 0) {
        shape->within = (uint32_t)rng_below(rng, TOPOLOGY_COUNT);
        shape->within_hard = shape->within && rng_below(rng, 2);
        shape->spread = rng_below(rng, 3) == 0;
    }
    if (shape->tasks > 1 && !shape->mixed && !shape->within && !shape->spread && rng_below(rng, 2))
        shape->sites_max = 2 + (uint32_t)rng_below(rng, 3);
    if (rng_below(rng, 8) == 0)
        choose_data(&shape->access, rng);
    if (rng_below(rng, 8) == 0)
        choose_apart(&shape->apart, rng);
    if (rng_below(rng, 40) == 0)
        shape->cpus = 64; /* fits nowhere */
}

static void choose_work(struct request_work *work, struct rng *rng)
{
    static const char *const chips[] = { "chip-a", "chip-b", "cpu" };

    snprintf(work->class, sizeof(work->class), "work%u", (unsigned)rng_below(rng, 4));
    work->units_milli = (int64_t)rng_below(rng, 3) * 1000;
    if (rng_below(rng, 3) == 0)
        work->paces_count = 1 + (uint32_t)rng_below(rng, 2);
    for (uint32_t i = 0; i < work->paces_count; i++) {
        snprintf(work->paces[i].chip, MODEL_NAME_BYTES, "%s", chips[rng_below(rng, 3)]);
        work->paces[i].seconds_milli = 1 + (int64_t)rng_below(rng, 10000);
    }
    if (rng_below(rng, 4) == 0) {
        work->operations = 1000000000000LL * (1 + (int64_t)rng_below(rng, 100));
        work->metric = METRIC_BF16_TFLOPS;
    }
}

/* It matters which kind of chip it is on, and it may be moved to another. */
static void be_choosy(struct job_request *request, struct rng *rng)
{
    struct request_work *work = &request->work;

    request->shape = (struct request_shape){ .tasks = 1, .cpus = 1, .devices_milli = 1000 };
    *work = (struct request_work){ .units_milli = 1000, .paces_count = 2 };
    snprintf(work->class, sizeof(work->class), "choosy%u", (unsigned)rng_below(rng, 3));
    snprintf(work->paces[0].chip, MODEL_NAME_BYTES, "chip-a");
    snprintf(work->paces[1].chip, MODEL_NAME_BYTES, "chip-b");
    for (uint32_t i = 0; i < 2; i++)
        work->paces[i].seconds_milli = 1000 << rng_below(rng, 5);
    request->duration_ms_max = rng_below(rng, 4) ? 0 : 3600000;
    request->begin_ms = request->deadline_ms = 0;
    request->checkpoint = CHECKPOINT_ASKED;
    request->requeue_on_loss = 1;
    request->tasks_max = request->tasks_step = request->spares = 0;
    request->resize_hold_ms = 0;
    request->price_micro_max = 0;
}

static void choose_deps(struct job_request *request, struct rng *rng, uint64_t next_id)
{
    if (next_id < 3 || rng_below(rng, 4))
        return;
    request->deps_count = 1 + (uint32_t)rng_below(rng, 3);
    for (uint32_t i = 0; i < request->deps_count; i++) {
        uint64_t span = next_id - 1 < 12 ? next_id - 1 : 12;

        request->deps[i].job_id = next_id - 1 - rng_below(rng, span);
        request->deps[i].kind = (uint32_t)rng_below(rng, 3);
    }
}

/* Elastic, or with spare nodes, or both. */
static void choose_width(struct job_request *request, struct rng *rng)
{
    uint32_t tasks = request->shape.tasks;

    if (request->shape.sites_max > 1)
        return;
    if (rng_below(rng, 2) && !request->shape.mixed) {
        request->tasks_max = tasks + 1 + (uint32_t)rng_below(rng, 8);
        request->tasks_step =
            rng_below(rng, 3) ? 1 + (uint32_t)rng_below(rng, 2) : REQUEST_STEP_DOUBLE;
        request->resize_hold_ms = rng_below(rng, 2) ? 1 + (int64_t)rng_below(rng, 20000) : 0;
    }
    if (rng_below(rng, 3) == 0)
        request->spares = rng_below(rng, 4) ? 1 + (uint32_t)rng_below(rng, 2) : REQUEST_SPARES_AUTO;
}

/* Small and with time to spare: it can wait for a better hour. */
static void be_patient(struct job_request *request, struct rng *rng, int64_t now_ms)
{
    request->objective = 1 + (uint32_t)rng_below(rng, 2);
    request->duration_ms_max = 1000 + (int64_t)rng_below(rng, 600000);
    request->deadline_ms = now_ms + 3600000 + (int64_t)rng_below(rng, 4 * 3600000);
    request->waits_never = 0;
    request->deps_count = 0;
    memset(request->deps, 0, sizeof(request->deps));
    memset(&request->shape, 0, sizeof(request->shape));
    request->shape.tasks = request->shape.cpus = 1;
    request->shape.devices_milli = rng_below(rng, 3) ? 0 : 250;
}

/* A few large trees that many jobs need. */
static void choose_goods(struct job_request *request, struct rng *rng)
{
    request->goods.count = (uint32_t)rng_below(rng, REQUEST_GOODS_MAX + 1);
    for (uint32_t i = 0; i < request->goods.count; i++)
        request->goods.list[i] =
            (struct request_good){ .name = 1 + rng_below(rng, 5),
                                   .bytes = (int64_t)rng_below(rng, 1ull << 37) };
    request->goods.more_bytes = (int64_t)rng_below(rng, 1ull << 32);
}

void sim_load_freight(struct event *event, struct rng *rng, const char *site,
                      struct freight_wait waits[2])
{
    memset(waits, 0, 2 * sizeof(waits[0]));
    if (rng_below(rng, 4) == 0) {
        event->type = EVENT_SITE_LINK;
        event->site_link =
            (struct event_site_link){ .site = site,
                                      .down_bytes_s = (int64_t)rng_below(rng, 1ull << 30),
                                      .up_bytes_s = (int64_t)rng_below(rng, 1ull << 30) };
        return;
    }
    for (uint32_t i = 0; i < 2; i++)
        waits[i] = (struct freight_wait){ .has_devices = i,
                                          .nodes_max = 1 + (uint32_t)rng_below(rng, 8),
                                          .pending = (uint32_t)rng_below(rng, 9),
                                          .wait_ms = (int64_t)rng_below(rng, 600000) };
    event->type = EVENT_SITE_QUEUE;
    event->site_queue = (struct event_site_queue){ .site = site,
                                                   .waits_count = (uint32_t)rng_below(rng, 3),
                                                   .waits = waits };
}

void sim_load_submit(struct event *event, struct rng *rng, uint64_t next_id, int64_t now_ms,
                     uint32_t serial)
{
    static const char *const keys[] = { "key-0", "key-1", "key-2", "key-3" };
    static const char *const specs[] = { "{\"run\":\"a\"}", "{\"run\":\"b\"}", "{}" };
    struct event_job_submitted *submit = &event->job_submitted;
    struct job_request *request = &submit->request;

    event->type = EVENT_JOB_SUBMITTED;
    submit->tenant = tenants[rng_below(rng, 3)];
    submit->user = submit->tenant;
    submit->name = serial % 2 ? "odd" : "even";
    submit->idempotency_key = rng_below(rng, 8) ? "" : keys[rng_below(rng, 4)];
    submit->spec_json = specs[rng_below(rng, 3)];
    submit->spec_len = (uint32_t)strlen(submit->spec_json);
    request->job_class = rng_below(rng, 2) ? CLASS_NORMAL : (uint32_t)rng_below(rng, CLASS_COUNT);
    request->objective = (uint32_t)rng_below(rng, 4);
    request->weight_time_milli = (uint32_t)rng_below(rng, 1000);
    request->weight_money_milli = (uint32_t)rng_below(rng, 1000);
    request->duration_ms_max = rng_below(rng, 2) ? 1000 + (int64_t)rng_below(rng, 30000) : 0;
    request->begin_ms = rng_below(rng, 10) ? 0 : now_ms + (int64_t)rng_below(rng, 60000);
    request->deadline_ms = rng_below(rng, 2) ? 0 : now_ms + (int64_t)rng_below(rng, 14400000);
    request->checkpoint = (uint32_t)rng_below(rng, 3);
    request->waits_never = rng_below(rng, 8) == 0;
    if (request->checkpoint && rng_below(rng, 2))
        request->rpo_ms = 1 + (int64_t)rng_below(rng, 3600000);
    request->retries_max = (uint32_t)rng_below(rng, 3);
    if (rng_below(rng, 4) == 0) {
        request->retry_codes_count = 1;
        request->retry_codes[0] = 2;
    }
    request->requeue_on_loss = rng_below(rng, 5) != 0;
    request->on_unreachable = (uint32_t)rng_below(rng, 2);
    choose_shape(&request->shape, rng);
    if (rng_below(rng, 3) == 0)
        choose_work(&request->work, rng);
    choose_deps(request, rng, next_id);
    if (rng_below(rng, 4) == 0)
        be_patient(request, rng, now_ms);
    else if (request->checkpoint && request->requeue_on_loss)
        choose_width(request, rng);
    if (rng_below(rng, 3) == 0)
        choose_goods(request, rng);
    if (request->duration_ms_max && request->shape.sites_max < 2 && !request->tasks_max &&
        !request->spares && rng_below(rng, 6) == 0)
        request->price_micro_max = 1 + (int64_t)rng_below(rng, 1 << rng_below(rng, 24));
    if (rng_below(rng, 4) == 0)
        be_choosy(request, rng);
    if (rng_below(rng, 6) == 0) {
        submit->elements_count = 1 + (uint32_t)rng_below(rng, 8);
        submit->parallel_max = (uint32_t)rng_below(rng, 3);
    }
}

void sim_load_tenant(struct event *event, struct rng *rng)
{
    event->type = EVENT_TENANT_SET;
    event->tenant_set.tenant = tenants[rng_below(rng, 3)];
    event->tenant_set.cpus_max = rng_below(rng, 2) ? -1 : (int64_t)rng_below(rng, 8);
    event->tenant_set.devices_milli_max =
        rng_below(rng, 2) ? -1 : 1000 * (int64_t)rng_below(rng, 4);
    event->tenant_set.jobs_max = rng_below(rng, 3) ? -1 : (int64_t)rng_below(rng, 30);
    event->tenant_set.parent = rng_below(rng, 3) ? "" : tenants[rng_below(rng, 3)];
    event->tenant_set.weight_milli = 500 + (uint32_t)rng_below(rng, 4) * 500;
    event->tenant_set.guarantee_cpus = rng_below(rng, 2) ? 0 : (int64_t)rng_below(rng, 6);
    event->tenant_set.guarantee_devices_milli =
        rng_below(rng, 2) ? 0 : 1000 * (int64_t)rng_below(rng, 3);
    event->tenant_set.budget_micro = rng_below(rng, 3) ? -1 : (int64_t)rng_below(rng, 2000000);
}

/* What is a tenant's own, and nothing that holds it back. */
void sim_load_owner(struct event *event, struct rng *rng, uint32_t index)
{
    event->type = EVENT_TENANT_SET;
    event->tenant_set = (struct event_tenant_set){
        .tenant = tenants[index],
        .cpus_max = -1,
        .devices_milli_max = -1,
        .jobs_max = -1,
        .parent = index == 2 && rng_below(rng, 2) ? tenants[0] : "",
        .weight_milli = 500 + (uint32_t)rng_below(rng, 4) * 500,
        .guarantee_cpus = (int64_t)rng_below(rng, 8),
        .guarantee_devices_milli = 1000 * (int64_t)rng_below(rng, 4),
        .budget_micro = -1,
    };
}

void sim_load_cells(struct event *event, struct rng *rng, const char *site)
{
    static const char *const kinds[] = { "chip-a", "chip-b", "cpu" };
    struct event_tenant_cells *cells = &event->tenant_cells;

    event->type = EVENT_TENANT_CELLS;
    cells->tenant = tenants[rng_below(rng, 3)];
    cells->site = site;
    cells->chip = kinds[rng_below(rng, 3)];
    cells->nodes = (uint32_t)rng_below(rng, 3);
    cells->racks = rng_below(rng, 3) == 0;
    cells->pools = rng_below(rng, 8) == 0;
    cells->by = "op";
}

void sim_load_policy(struct event *event, struct rng *rng)
{
    event->type = EVENT_POLICY_SET;
    event->policy_set.order = (uint32_t)rng_below(rng, 8);
    if (event->policy_set.order > ORDER_LAST)
        event->policy_set.order = rng_below(rng, 2) ? ORDER_PREDICTED : ORDER_FAIR;
    event->policy_set.preempts = rng_below(rng, 8) != 0;
    event->policy_set.fills = (uint32_t)rng_below(rng, 3);
    event->policy_set.reservations = (uint32_t)rng_below(rng, 8);
    event->policy_set.defrags = rng_below(rng, 4) != 0;
    event->policy_set.by_value = rng_below(rng, 2) != 0;
    event->policy_set.assigns = rng_below(rng, 4) != 0;
    event->policy_set.by = "op";
}

/* Minutes of prices and carbon that go up and down, known ahead for some; caps now and then. */
void sim_load_tariff(struct event *event, struct rng *rng, const char *site, int64_t now_ms,
                     struct tariff_row rows[SIM_TARIFF_ROWS])
{
    struct event_site_tariff *tariff = &event->site_tariff;
    bool is_capped = rng_below(rng, 4) == 0, has_price = rng_below(rng, 4) != 0;
    bool has_carbon = rng_below(rng, 2), has_holes = rng_below(rng, 3) == 0;

    event->type = EVENT_SITE_TARIFF;
    tariff->site = site;
    tariff->by = "op";
    tariff->kind = (uint32_t)rng_below(rng, 4);
    if (rng_below(rng, 3))
        tariff->kind = TARIFF_FACTS;
    tariff->slot_ms = 60000;
    tariff->from_ms = (now_ms / 60000 - (int64_t)rng_below(rng, 3)) * 60000;
    if (tariff->from_ms < 0)
        tariff->from_ms = 0;
    tariff->rows = rows;
    tariff->rows_count = tariff->kind == TARIFF_CLEAR ? 0
                         : tariff->kind == TARIFF_CONSTANT
                             ? 1
                             : 10 + (uint32_t)rng_below(rng, SIM_TARIFF_ROWS - 10);
    for (uint32_t i = 0; i < tariff->rows_count; i++) {
        bool is_hole = has_holes && rng_below(rng, 4) == 0;

        rows[i].price =
            has_price && !is_hole ? (int64_t)rng_below(rng, 500000) - 20000 : TARIFF_UNKNOWN;
        rows[i].carbon = has_carbon ? (int64_t)rng_below(rng, 800000) : TARIFF_UNKNOWN;
        rows[i].green = rng_below(rng, 3) ? TARIFF_UNKNOWN : (int64_t)rng_below(rng, 1000001);
        rows[i].cap = is_capped ? (int64_t)rng_below(rng, 3000) : TARIFF_UNKNOWN;
    }
}

void sim_load_shed(struct event *event, struct rng *rng, const char *site)
{
    event->type = EVENT_SITE_SHED;
    event->site_shed = (struct event_site_shed){
        .site = site,
        .share_ppm = (uint32_t)rng_below(rng, 1000001),
        .within_ms = (int64_t)rng_below(rng, 60000),
        .lasts_ms = rng_below(rng, 4) ? (int64_t)rng_below(rng, 120000) : 0,
        .by = "grid",
        .reason = "",
    };
}

/* Two of three tenants, some classes, hours of minutes from about now on. */
static void choose_policy(struct site_policy *policy, struct rng *rng, int64_t now_ms)
{
    uint32_t minute = (uint32_t)(now_ms / 60000 + 4320) % POLICY_WEEK_MIN;

    policy->tenants_told = rng_below(rng, 2);
    for (uint32_t i = 0, out = (uint32_t)rng_below(rng, 4); policy->tenants_told && i < 3; i++)
        if (i != out)
            strcpy(policy->tenants[policy->tenants_count++], tenants[i]);
    policy->classes_told = rng_below(rng, 3) == 0;
    policy->classes = policy->classes_told ? (uint32_t)rng_below(rng, 1u << CLASS_COUNT) : 0;
    policy->images_told = rng_below(rng, 3) == 0;
    if (policy->images_told && rng_below(rng, 2))
        strcpy(policy->images[policy->images_count++], rng_below(rng, 2) ? "*-1" : "image-0");
    policy->come_told = rng_below(rng, 3) == 0;
    if (policy->come_told && rng_below(rng, 2))
        strcpy(policy->come[policy->come_count++], labels[0]);
    policy->leave_told = rng_below(rng, 3) == 0;
    if (policy->leave_told)
        strcpy(policy->here[policy->here_count++], labels[rng_below(rng, 2)]);
    policy->windows_count = rng_below(rng, 2) ? 0 : 1 + (uint32_t)rng_below(rng, 3);
    for (uint32_t i = 0; i < policy->windows_count; i++) {
        struct site_window *window = &policy->windows[i];

        window->from_min =
            (minute + POLICY_WEEK_MIN - 20 + (uint32_t)rng_below(rng, 40)) % POLICY_WEEK_MIN;
        window->until_min = window->from_min + 1 + (uint32_t)rng_below(rng, 30);
    }
    policy->contacts_count = rng_below(rng, 4) == 0;
    for (uint32_t i = 0; i < policy->contacts_count; i++) {
        struct site_contact *contact = &policy->contacts[i];

        contact->from_ms = now_ms + (int64_t)rng_below(rng, 60000);
        contact->until_ms = contact->from_ms + 1 + (int64_t)rng_below(rng, 60000);
        contact->period_ms = rng_below(rng, 4) ? contact->until_ms - contact->from_ms +
                                                     (int64_t)rng_below(rng, 60000)
                                               : 0;
    }
    policy->cpu_hour_micro = rng_below(rng, 3) ? 0 : (int64_t)rng_below(rng, 100000);
    policy->egress_gb_micro = rng_below(rng, 2) ? 0 : (int64_t)rng_below(rng, 100000);
    policy->ingress_gb_micro = rng_below(rng, 2) ? 0 : (int64_t)rng_below(rng, 100000);
    policy->link_bytes_s = rng_below(rng, 2) ? 0 : (int64_t)rng_below(rng, 1ull << 30);
    policy->cap_watts = rng_below(rng, 4) ? -1 : (int64_t)rng_below(rng, 1000);
    if (rng_below(rng, 3) == 0) {
        strcpy(policy->own_tenant, tenants[rng_below(rng, 3)]);
        policy->own_ppm = 1 + (uint32_t)rng_below(rng, 1000000);
    }
}

void sim_load_site_policy(struct event *event, struct rng *rng, const char *site, int64_t now_ms,
                          struct site_policy *policy)
{
    event->type = EVENT_SITE_POLICY;
    event->site_policy =
        (struct event_site_policy){ .site = site, .limits = { -1, -1, -1, -1 }, .by = "op" };
    site_policy_init(policy);
    if (rng_below(rng, 3) == 0) {
        event->site_policy.kind = POLICY_LIMITS;
        if (rng_below(rng, 3))
            event->site_policy.limits =
                (struct site_limits){ rng_below(rng, 2) ? -1 : (int64_t)rng_below(rng, 10),
                                      rng_below(rng, 2) ? -1 : (int64_t)rng_below(rng, 6),
                                      rng_below(rng, 2) ? -1 : (int64_t)rng_below(rng, 10) << 29,
                                      rng_below(rng, 3) ? -1 : (int64_t)rng_below(rng, 1000) };
        return;
    }
    event->site_policy.policies_count = rng_below(rng, 4) != 0;
    event->site_policy.policy = policy;
    if (event->site_policy.policies_count)
        choose_policy(policy, rng, now_ms);
}

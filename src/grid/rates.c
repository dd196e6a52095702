/* What the network knows of jobs' work: told by submits, learned from ends, read by place and plan.
 * See sched/work.h. */
#include "grid/fields.h"
#include "grid/power.h"
#include "grid/rates.h"
#include "grid/state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define UNITS_MILLI_MAX (1LL << 50)
#define SECONDS_MILLI_MAX (1LL << 50)

static int check_paces(const struct request_work *work, struct err *err)
{
    if (work->paces_count > REQUEST_CHIPS_MAX)
        return err_field(err, -EINVAL, "work.seconds_per_unit", "work: more than %u kinds of chip",
                         REQUEST_CHIPS_MAX);
    for (uint32_t i = 0; i < work->paces_count; i++) {
        const struct request_pace *pace = &work->paces[i];

        if (!memchr(pace->chip, '\0', MODEL_NAME_BYTES) || !pace->chip[0] ||
            pace->seconds_milli < 1 || pace->seconds_milli > SECONDS_MILLI_MAX)
            return err_field(err, -EINVAL, "work.seconds_per_unit",
                             "work: pace %u has no good name or no good number", i);
    }
    return 0;
}

int rates_check(const struct request_work *work, struct err *err)
{
    if (!memchr(work->class, '\0', MODEL_NAME_BYTES))
        return err_field(err, -EINVAL, "work.class", "work: its class has no good name");
    if (work->units_milli < 0 || work->units_milli > UNITS_MILLI_MAX || work->operations < 0 ||
        work->bytes < 0 || work->metric >= METRIC_COUNT)
        return err_field(err, -EINVAL, "work",
                         "work: units, operations, bytes or metric is out of "
                         "range");
    if (!work->class[0] &&
        (work->units_milli || work->operations || work->bytes || work->paces_count))
        return err_field(err, -EINVAL, "work.class", "work: expected class: the work's name");
    return check_paces(work, err);
}

/* Kinds of chip matter from the first work on; before it there is nothing to keep. */
static void begin_chips(const struct fleet *fleet, struct work_book *book)
{
    for (uint32_t s = 0; s < fleet->sites_count; s++)
        for (uint32_t c = 0; c < fleet->sites[s].chips_count; c++)
            work_set_chip(book, &fleet->sites[s].chips[c]);
}

static uint32_t tell(const struct fleet *fleet, struct work_book *book, const char *tenant,
                     const struct job_request *request)
{
    const struct request_shape *shape = &request->shape;

    if (!book->names.live_count)
        begin_chips(fleet, book);
    return work_tell(book, tenant, &request->work,
                     work_gang(shape->tasks, shape->devices_milli, shape->cpus),
                     shape->devices_milli);
}

const struct request_shape *rates_told(struct grid *grid, const char *tenant,
                                       const struct job_request *request,
                                       struct request_shape *shape_out)
{
    if (!request->work.class[0])
        return &request->shape;
    *shape_out = request->shape;
    shape_out->work = tell(&grid->fleet, &grid->work, tenant, request);
    return shape_out;
}

void rates_site_joined(struct grid *grid, const char *name)
{
    int index = fleet_find_site(&grid->fleet, name);

    if (!grid->work.names.live_count || index < 0)
        return;
    for (uint32_t c = 0; c < grid->fleet.sites[index].chips_count; c++)
        work_set_chip(&grid->work, &grid->fleet.sites[index].chips[c]);
}

/* That of all its devices; NULL = it has none, or they are of several kinds. */
static const char *chip_of(const struct grid *grid, const struct grant *grant)
{
    uint16_t chip = fleet_grant_chip(&grid->fleet, grant);

    return chip != FLEET_NO_CHIP && mixed_is_one_kind(grid, grant)
               ? grid->fleet.sites[grant->site].chips[chip].kind
               : NULL;
}

void rates_attempt_ended(struct grid *grid, const struct job *job,
                         const struct event_attempt_ended *ended)
{
    const struct shape *shape = job_shape(grid, job);
    int64_t units = job_terms(grid, job)->work_units_milli;
    int64_t ms = grid->now_ms - job->started_ms;
    const char *chip;

    /* A later attempt may have gone on from a checkpoint, and then did not do all of it. */
    if (!shape->work || !units || job->epoch != 1 || !job->started_ms || job->cancel_requested ||
        ended->outcome != OUTCOME_EXITED || ended->exit_code != 0)
        return;
    if (ended->started_ms > 0 && ended->ended_ms > ended->started_ms &&
        ended->ended_ms - ended->started_ms < ms)
        ms = ended->ended_ms - ended->started_ms; /* the site's own clock, if it is not amiss */
    ms -= suspend_stood_ms(grid, job);            /* it is the first attempt */
    chip = chip_of(grid, job->grant);
    if (ms < 1 || (shape->devices_milli && !chip))
        return;
    work_learn(&grid->work, shape->work, chip, shape->devices_milli,
               work_gang(shape->tasks, shape->devices_milli, shape->cpus), (double)units / 1000,
               (double)ms / 1000);
}

double rates_at_width(const struct grid *grid, const struct job *job, uint32_t tasks)
{
    const struct shape *shape = job_shape(grid, job);
    const char *chip = chip_of(grid, job->grant);

    if (!shape->work || (shape->devices_milli && !chip))
        return 0;
    return work_rate(&grid->work, shape->work, chip, shape->devices_milli,
                     work_gang(tasks, shape->devices_milli, shape->cpus))
        .seconds;
}

/* --- what others read ----------------------------------------------------------------------- */

static void set_view(const struct grid *grid, uint32_t work, const char *chip, uint32_t gang,
                     const struct rate *rate, struct rate_view *out)
{
    memset(out, 0, sizeof(*out));
    work_names(&grid->work, work, &out->tenant, &out->class);
    snprintf(out->chip, sizeof(out->chip), "%s", chip);
    out->gang = gang;
    out->seconds = rate->seconds;
    out->spread = rate->spread;
    out->source = rate_source_name(rate->source);
    out->runs = rate->runs;
}

bool grid_rate_entry(const struct grid *grid, uint32_t index, struct rate_view *view_out)
{
    struct rates_entry entry;
    struct rate rate;
    const char *chip;

    if (!work_entry(&grid->work, index, &entry, &chip))
        return false;
    rate = rates_get(grid->work.rates, &entry.key);
    set_view(grid, (uint32_t)entry.key.work, chip, entry.key.gang, &rate, view_out);
    view_out->declared_seconds = entry.declared_seconds;
    return true;
}

bool grid_rate_guess(const struct grid *grid, const char *tenant, const char *class,
                     uint32_t chip_index, uint32_t gang, struct rate_view *view_out)
{
    uint32_t work = work_find(&grid->work, tenant, class);
    struct rates_key key = { .work = work, .chip = chip_index + 1, .gang = gang };
    struct rate rate;

    if (!work || key.chip >= grid->work.chips.entries_count)
        return false;
    rate = rates_get(grid->work.rates, &key);
    set_view(grid, work, intern_data(&grid->work.chips, key.chip), gang, &rate, view_out);
    return true;
}

void rates_print(const struct rate *rate, char *out, size_t bytes)
{
    char runs[32] = "";

    if (rate->source == RATE_LEARNED)
        snprintf(runs, sizeof(runs), " of %u run%s", rate->runs, rate->runs == 1 ? "" : "s");
    snprintf(out, bytes, "%.4g s a unit (%s%s, spread %.0f %%)", rate->seconds,
             rate_source_name(rate->source), runs, rate->spread * 100);
}

void rates_why(struct grid *grid, const struct job *job, char *out, size_t bytes)
{
    struct shape *shape = job_shape(grid, job);
    const char *chip = job->grant ? chip_of(grid, job->grant) : NULL;
    char pace[112];
    struct rate rate;
    uint32_t count;

    out[0] = '\0';
    if (!shape->work || job_state_is_final((enum job_state)job->state))
        return;
    if (!job->grant) {
        const struct candidate *best =
            shape_candidates(shape, &grid->fleet, &job_terms(grid, job)->objective, &count);

        if (!count)
            return;
        if (best->chip != FLEET_NO_CHIP && best->chip != FLEET_MIXED)
            chip = grid->fleet.sites[best->site].chips[best->chip].kind;
    }
    if (shape->devices_milli && !chip)
        return; /* it is mixed */
    rate = work_rate(&grid->work, shape->work, chip, shape->devices_milli,
                     work_gang(shape->tasks, shape->devices_milli, shape->cpus));
    if (!(rate.seconds > 0))
        return;
    rates_print(&rate, pace, sizeof(pace));
    snprintf(out, bytes, "%s on %s", pace, chip ? chip : "CPUs");
}

/* A class that is not known yet: the plan goes by what the request itself says. */
void rates_plan_begin(struct grid *grid, const char *tenant, const struct job_request *request,
                      struct work_book *own, struct request_shape *shape)
{
    if (!request->work.class[0])
        return;
    shape->work = work_find(&grid->work, tenant, request->work.class);
    if (shape->work)
        return;
    shape->work = tell(&grid->fleet, own, tenant, request);
    grid->fleet.work = own;
}

void rates_plan_end(struct grid *grid, struct work_book *own, struct shape *shape)
{
    if (grid->fleet.work == own) /* nobody may find what was worked out by it */
        shape->candidates_version = UINT64_MAX;
    grid->fleet.work = &grid->work;
    work_fini(own);
}

/* --- snapshots ------------------------------------------------------------------------------ */

static uint64_t bits_of(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static void put_chips(const struct work_book *book, struct buf *out)
{
    put_u64(out, book->chips.live_count);
    for (uint32_t i = 1; i <= book->chips.live_count; i++) {
        put_text(out, intern_data(&book->chips, i));
        for (uint32_t m = 0; m < METRIC_COUNT; m++)
            put_i64(out, book->figures[i].metric_milli[m]);
        put_i64(out, book->figures[i].power_watts);
        put_i64(out, book->figures[i].power_idle_watts);
    }
}

static void put_class(const struct work_book *book, uint32_t work, struct buf *out)
{
    const struct work_class *class = &book->classes[work];
    const char *tenant, *name;

    work_names(book, work, &tenant, &name);
    put_text(out, tenant);
    put_text(out, name);
    put_u64(out, class->gang);
    put_u64(out, class->milli);
    put_i64(out, class->told.operations);
    put_i64(out, class->told.bytes);
    put_u64(out, class->told.metric);
    put_u64(out, class->told.paces_count);
    for (uint32_t i = 0; i < class->told.paces_count; i++) {
        put_text(out, class->told.paces[i].chip);
        put_i64(out, class->told.paces[i].seconds_milli);
    }
}

void rates_put(const struct grid *grid, struct buf *out)
{
    const struct work_book *book = &grid->work;
    uint32_t count = book->rates ? rates_count(book->rates) : 0;

    put_u64(out, book->names.live_count);
    if (!book->names.live_count)
        return;
    put_chips(book, out);
    for (uint32_t i = 1; i <= book->names.live_count; i++)
        put_class(book, i, out);
    put_u64(out, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct rates_entry *entry = rates_at(book->rates, i);

        put_u64(out, entry->key.work);
        put_u64(out, entry->key.chip);
        put_u64(out, entry->key.gang);
        put_u64(out, bits_of(entry->declared_seconds));
        put_u64(out, bits_of(entry->ln_mean));
        put_u64(out, bits_of(entry->weight));
        put_u64(out, entry->runs);
    }
}

struct taker { /* of numbers, with what went wrong */
    struct cursor *in;
    bool failed;
};

static uint64_t take(struct taker *taker, uint64_t max)
{
    uint64_t value = 0;

    if (taker->failed || get_u64(taker->in, &value) < 0 || value > max) {
        taker->failed = true;
        return 0;
    }
    return value;
}

static int64_t take_signed(struct taker *taker, int64_t min, int64_t max)
{
    int64_t value = 0;

    if (taker->failed || get_i64(taker->in, &value) < 0 || value < min || value > max) {
        taker->failed = true;
        return 0;
    }
    return value;
}

static double take_double(struct taker *taker)
{
    uint64_t bits = take(taker, UINT64_MAX);
    double value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void take_text(struct taker *taker, char *out, size_t bytes)
{
    const char *text = "";
    size_t len = 0;

    if (taker->failed || get_text(taker->in, &text, &len) < 0 || !len || len >= bytes)
        taker->failed = true;
    memset(out, 0, bytes);
    if (!taker->failed)
        memcpy(out, text, len);
}

static void take_chips(struct taker *taker, struct work_book *book)
{
    uint64_t count = take(taker, WORK_CHIPS_MAX);

    for (uint64_t i = 0; i < count && !taker->failed; i++) {
        char name[WORK_CHIP_BYTES];
        struct chip_figures figures = { 0 };

        take_text(taker, name, sizeof(name));
        for (uint32_t m = 0; m < METRIC_COUNT; m++)
            figures.metric_milli[m] = take_signed(taker, INT64_MIN, INT64_MAX);
        figures.power_watts = (int32_t)take_signed(taker, INT32_MIN, INT32_MAX);
        figures.power_idle_watts = (int32_t)take_signed(taker, INT32_MIN, INT32_MAX);
        if (!taker->failed && work_restore_chip(book, name, &figures) < 0)
            taker->failed = true;
    }
}

static void take_class(struct taker *taker, struct work_book *book)
{
    char tenant[MODEL_NAME_BYTES];
    struct request_work told = { 0 };
    uint32_t gang, milli;

    take_text(taker, tenant, sizeof(tenant));
    take_text(taker, told.class, sizeof(told.class));
    gang = (uint32_t)take(taker, RATES_GANG_MAX);
    milli = (uint32_t)take(taker, NODE_DEVICES_MAX * 1000);
    told.operations = take_signed(taker, 0, INT64_MAX);
    told.bytes = take_signed(taker, 0, INT64_MAX);
    told.metric = (uint32_t)take(taker, METRIC_COUNT - 1);
    told.paces_count = (uint32_t)take(taker, REQUEST_CHIPS_MAX);
    for (uint32_t i = 0; i < told.paces_count && !taker->failed; i++) {
        take_text(taker, told.paces[i].chip, sizeof(told.paces[i].chip));
        told.paces[i].seconds_milli = take_signed(taker, 1, SECONDS_MILLI_MAX);
    }
    if (!taker->failed && work_restore_class(book, tenant, &told, gang, milli) < 0)
        taker->failed = true;
}

int rates_take(struct grid *grid, struct cursor *in)
{
    struct taker taker = { .in = in };
    uint64_t count = take(&taker, WORK_CLASSES_MAX), entries;

    if (!count)
        return taker.failed ? -EBADMSG : 0;
    take_chips(&taker, &grid->work);
    for (uint64_t i = 0; i < count && !taker.failed; i++)
        take_class(&taker, &grid->work);
    entries = take(&taker, WORK_CLASSES_MAX * WORK_GANGS_MAX);
    for (uint64_t i = 0; i < entries && !taker.failed; i++) {
        struct rates_entry entry = { .key.work = take(&taker, WORK_CLASSES_MAX) };

        entry.key.chip = (uint32_t)take(&taker, WORK_CHIPS_MAX);
        entry.key.gang = (uint32_t)take(&taker, RATES_GANG_MAX);
        entry.declared_seconds = take_double(&taker);
        entry.ln_mean = take_double(&taker);
        entry.weight = take_double(&taker);
        entry.runs = (uint32_t)take(&taker, UINT32_MAX);
        if (!taker.failed && work_restore(&grid->work, &entry, NULL) < 0)
            taker.failed = true;
    }
    return taker.failed ? -EBADMSG : 0;
}

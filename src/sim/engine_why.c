/* Why jobs wait, by the network's own record (grid_why): what `mains why` would have said.
 *
 * Asking everybody all the time would cost more than the run. So samples are taken, every second at
 * first and half as often each time that so many have been taken; of those that wait then, a few
 * are asked, evenly over their list, and stand for all of them until the next sample. */
#include "sim/engine_internal.h"

#include "base/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVERY_MS_FIRST 1000
#define SAMPLES_EACH 32u /* at one interval, before it is doubled */
#define STORY_MS_LEAST 1000
#define STORY_PART 20 /* asked again after a twentieth of what it has waited */

/* --- the stories ------------------------------------------------------------------------------ */

static struct sim_story *story_of(struct sim_engine *engine, uint32_t job)
{
    for (uint32_t i = 0; i < engine->result->stories_count; i++)
        if (engine->result->stories[i].index == job)
            return &engine->result->stories[i];
    return NULL;
}

static struct sim_moment *add_moment(struct sim_story *story, int64_t at_ms, const char *code)
{
    struct sim_moment *moment;

    if (story->moments_count < SIM_MOMENTS_MAX)
        story->moments_count++;
    moment = &story->moments[story->moments_count - 1];
    *moment = (struct sim_moment){ .at_ms = at_ms };
    snprintf(moment->code, sizeof(moment->code), "%s", code);
    return moment;
}

void sim_why_tell(struct sim_engine *engine, uint32_t job, const char *code, const char *fmt, ...)
{
    struct sim_story *story = story_of(engine, job);
    struct sim_moment *moment;
    va_list args;

    if (!story)
        return;
    moment = add_moment(story, engine->now_ms, code);
    va_start(args, fmt);
    vsnprintf(moment->text, sizeof(moment->text), fmt, args);
    va_end(args);
}

static void tell_sooner(struct sim_engine *engine, uint64_t id, struct sim_moment *moment)
{
    struct why_more *more = calloc(1, sizeof(*more));

    if (more && grid_why_more(engine->grid, id, more) == 0 && more->changes_count)
        snprintf(moment->sooner, sizeof(moment->sooner), "%s: %s", more->changes[0].code,
                 more->changes[0].text);
    free(more);
}

static bool is_waiting(const struct sim_run_job *run)
{
    return run->state == SIM_JOB_LIVE && !run->attempt;
}

static void ask_story(struct sim_engine *engine, uint32_t number)
{
    struct sim_story *story = &engine->result->stories[number];
    const struct sim_run_job *run = &engine->jobs[story->index];
    int64_t waited_ms = engine->now_ms - engine->setup->load->jobs[story->index].submit_ms;
    const struct sim_moment *last =
        story->moments_count ? &story->moments[story->moments_count - 1] : NULL;
    struct why why;

    if (!is_waiting(run) || engine->now_ms < engine->asking.story_ms[number] ||
        grid_why(engine->grid, run->id, &why) < 0)
        return;
    engine->asking.story_ms[number] = engine->now_ms + MAX(waited_ms / STORY_PART, STORY_MS_LEAST);
    if (last && strcmp(last->code, why.code) == 0)
        return;
    sim_why_tell(engine, story->index, why.code, "%s", why.text);
    tell_sooner(engine, run->id, &story->moments[story->moments_count - 1]);
}

static int begin_story(struct sim_engine *engine, uint64_t id)
{
    const struct sim_load *load = engine->setup->load;
    struct sim_story *story = &engine->result->stories[engine->result->stories_count];

    for (uint32_t i = 0; i < load->jobs_count; i++) {
        if (load->jobs[i].id != id)
            continue;
        *story = (struct sim_story){ .job = id, .index = i };
        story->moments = calloc(SIM_MOMENTS_MAX, sizeof(*story->moments));
        if (!story->moments)
            return err_set(engine->err, -ENOMEM, "out of memory");
        engine->result->stories_count++;
        return 0;
    }
    return err_set(engine->err, -ENOENT, "no job %" PRIu64 " in the load", id);
}

/* --- the samples ------------------------------------------------------------------------------ */

void sim_why_waits(struct sim_engine *engine, uint32_t job)
{
    struct sim_asking *asking = &engine->asking;

    if (engine->jobs[job].is_listed)
        return;
    if (asking->count == asking->cap) {
        uint32_t cap = asking->cap ? asking->cap * 2 : 1024;
        uint32_t *more = realloc(asking->list, cap * sizeof(*more));

        if (!more) {
            sim_engine_fail(engine, -ENOMEM, "out of memory");
            return;
        }
        asking->list = more;
        asking->cap = cap;
    }
    asking->list[asking->count++] = job;
    engine->jobs[job].is_listed = true;
}

static void drop_those_that_run(struct sim_engine *engine)
{
    struct sim_asking *asking = &engine->asking;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < asking->count; i++) {
        struct sim_run_job *run = &engine->jobs[asking->list[i]];

        if (is_waiting(run))
            asking->list[kept++] = asking->list[i];
        else
            run->is_listed = false;
    }
    asking->count = kept;
}

static struct sim_reason *reason_of(struct sim_result *result, const char *code)
{
    struct sim_reason *reason;

    for (uint32_t i = 0; i < result->reasons_count; i++)
        if (strcmp(result->reasons[i].code, code) == 0)
            return &result->reasons[i];
    if (result->reasons_count == SIM_REASONS_MAX)
        return NULL;
    reason = &result->reasons[result->reasons_count++];
    snprintf(reason->code, sizeof(reason->code), "%s", code);
    return reason;
}

static bool add_ask(struct sim_asking *asking, uint32_t job, uint32_t reason)
{
    if (asking->asks_count == asking->asks_cap) {
        uint32_t cap = asking->asks_cap ? asking->asks_cap * 2 : 1024;
        struct sim_ask *more = realloc(asking->asks, cap * sizeof(*more));

        if (!more)
            return false;
        asking->asks = more;
        asking->asks_cap = cap;
    }
    asking->asks[asking->asks_count++] = (struct sim_ask){ .job = job, .reason = reason };
    asking->asked_count++;
    return true;
}

static void ask(struct sim_engine *engine, uint32_t job)
{
    struct sim_asking *asking = &engine->asking;
    const struct sim_job *known = &engine->setup->load->jobs[job];
    int64_t waited_ms = engine->now_ms - known->submit_ms;
    struct sim_reason *reason;
    struct why why;

    if (grid_why(engine->grid, engine->jobs[job].id, &why) < 0)
        return;
    reason = reason_of(engine->result, why.code);
    if (!reason)
        return;
    if (!add_ask(asking, job, (uint32_t)(reason - engine->result->reasons))) {
        sim_engine_fail(engine, -ENOMEM, "out of memory");
        return;
    }
    if (!reason->asked++ || waited_ms > reason->waited_ms) {
        reason->job = known->id;
        reason->waited_ms = waited_ms;
        memcpy(reason->text, why.text, sizeof(reason->text));
    }
}

/* Those asked last stood for all that waited since. */
static void settle(struct sim_engine *engine)
{
    struct sim_asking *asking = &engine->asking;
    int64_t past_ms = engine->now_ms - asking->last_ms;

    for (uint32_t i = asking->asks_count - asking->asked_count; i < asking->asks_count; i++)
        asking->asks[i].wait_ms = (__int128)asking->waiting * past_ms / asking->asked_count;
    asking->last_ms = engine->now_ms;
    asking->asked_count = 0;
}

void sim_why_moment(struct sim_engine *engine)
{
    struct sim_asking *asking = &engine->asking;

    for (uint32_t i = 0; i < engine->result->stories_count; i++)
        ask_story(engine, i);
    if (engine->now_ms < asking->next_ms)
        return;
    settle(engine);
    drop_those_that_run(engine);
    asking->waiting = asking->count;
    for (uint32_t i = 0; i < MIN(asking->count, SIM_ASKED_MAX); i++)
        ask(engine, asking->list[(uint64_t)i * asking->count / MIN(asking->count, SIM_ASKED_MAX)]);
    if (++asking->samples == SAMPLES_EACH) {
        asking->samples = 0;
        asking->every_ms *= 2;
    }
    asking->next_ms = engine->now_ms + asking->every_ms;
}

static int compare_reasons(const void *a, const void *b)
{
    const struct sim_reason *x = a, *y = b;

    if (x->wait_ms != y->wait_ms)
        return x->wait_ms < y->wait_ms ? 1 : -1;
    return strcmp(x->code, y->code);
}

void sim_why_end(struct sim_engine *engine)
{
    struct sim_result *result = engine->result;

    settle(engine);
    for (uint32_t i = 0; i < engine->asking.asks_count; i++) {
        const struct sim_ask *ask = &engine->asking.asks[i];

        if (engine->jobs[ask->job].first_ms >= 0) /* of the others result->whys tells */
            result->reasons[ask->reason].wait_ms += ask->wait_ms;
    }
    qsort(result->reasons, result->reasons_count, sizeof(struct sim_reason), compare_reasons);
    while (result->reasons_count && !result->reasons[result->reasons_count - 1].wait_ms)
        result->reasons_count--;
}

int sim_why_begin(struct sim_engine *engine)
{
    int rc = 0;

    engine->asking.every_ms = EVERY_MS_FIRST;
    for (uint32_t i = 0; rc == 0 && i < MIN(engine->setup->stories_count, SIM_STORIES_MAX); i++)
        rc = begin_story(engine, engine->setup->stories[i]);
    return rc;
}

void sim_why_fini(struct sim_engine *engine)
{
    free(engine->asking.list);
    free(engine->asking.asks);
}

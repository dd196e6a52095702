#include "power_site.h"

#include "base/rng.h"
#include "sched/mem.h"
#include "sim/lines.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_LOOKED_AT 1000u
#define NODE_GPUS 8u
#define DAY_MS ((int64_t)24 * 3600 * 1000)

/* --- the list ---------------------------------------------------------------------------------
 */

static int compare_submits(const void *a, const void *b)
{
    const struct site_job *x = a, *y = b;

    return (x->submit_ms > y->submit_ms) - (x->submit_ms < y->submit_ms);
}

static int read_jobs(struct site *site, struct sim_lines *lines, struct err *err)
{
    uint32_t cap = 0, count = 0;
    char *line, *fields[SIM_FIELDS_MAX];

    for (bool is_header = true;; is_header = false) {
        int rc = sim_lines_next(lines, &line, err);

        if (rc < 0)
            return rc;
        if (!line)
            break;
        if (is_header)
            continue;
        if (sim_csv_split(line, fields, &count) < 0 || count < 4)
            return err_set(err, -EINVAL, "a line that is no job");
        MEM_GROW(site->jobs, cap, site->jobs_count + 1);
        site->jobs[site->jobs_count] = (struct site_job){
            .submit_ms = strtoll(fields[1], NULL, 10) * 1000,
            .length_ms = strtoll(fields[2], NULL, 10) * 1000,
            .gpus = (uint32_t)strtoul(fields[3], NULL, 10),
        };
        if (site->jobs[site->jobs_count].gpus > 0 && site->jobs[site->jobs_count].length_ms > 0 &&
            site->jobs[site->jobs_count].gpus <= site->gpus)
            site->jobs_count++;
    }
    qsort(site->jobs, site->jobs_count, sizeof(*site->jobs), compare_submits);
    return 0;
}

static void alloc_lists(struct site *site)
{
    site->running = mem_alloc(site->jobs_count, sizeof(*site->running));
    site->queue = mem_alloc(site->jobs_count, sizeof(*site->queue));
    site->held = mem_alloc(site->jobs_count, sizeof(*site->held));
    site->orders = mem_alloc(site->jobs_count, sizeof(*site->orders));
    site->held_list = mem_alloc(site->jobs_count, sizeof(*site->held_list));
    site->chosen = mem_alloc(site->jobs_count, sizeof(*site->chosen));
    site->shed = shed_create();
}

int site_load(struct site *site, const char *path, uint32_t nodes, struct err *err)
{
    struct sim_lines *lines;
    int rc = sim_lines_open(path, &lines, err);

    if (rc < 0)
        return rc;
    *site = (struct site){ .gpus = nodes * NODE_GPUS, .free = nodes * NODE_GPUS };
    rc = read_jobs(site, lines, err);
    sim_lines_close(lines);
    if (rc == 0 && site->jobs_count == 0)
        rc = err_set(err, -EINVAL, "%s: no jobs", path);
    if (rc < 0) {
        free(site->jobs);
        return rc;
    }
    site->may_start = true;
    alloc_lists(site);
    return 0;
}

void site_fini(struct site *site)
{
    free(site->jobs);
    free(site->running);
    free(site->queue);
    free(site->held);
    free(site->orders);
    free(site->held_list);
    free(site->chosen);
    shed_destroy(site->shed);
    *site = (struct site){ 0 };
}

static void draw_job(struct site_job *job, const struct site_means *means, uint64_t seed)
{
    struct rng rng = { seed };
    static const int64_t rhythms_ms[] = { 600000, 1800000, 3600000 };
    uint64_t kind = rng_below(&rng, 100), grade = rng_below(&rng, 100);
    int64_t rhythm_ms = rhythms_ms[rng_below(&rng, 3)];

    job->job_class = grade < 20   ? CLASS_LOW
                     : grade < 80 ? CLASS_NORMAL
                     : grade < 95 ? CLASS_HIGH
                                  : CLASS_URGENT;
    job->rhythm_ms = kind < means->unsaved ? 0 : rhythm_ms;
    job->can_save = kind >= means->unsaved && kind < means->unsaved + means->asked;
    job->write_ms = 5000 + (int64_t)rng_below(&rng, 55001);
    job->restart_ms = job->gpus > NODE_GPUS ? 150000 : 60000;
    job->can_pause = rng_below(&rng, 100) < means->paused && job->gpus <= NODE_GPUS;
    job->can_shrink = rng_below(&rng, 100) < means->shrunk && job->gpus > 1;
    job->draw = 0.6 + 0.4 * rng_unit(&rng);
}

void site_copy(struct site *to, const struct site *from, const struct site_means *means,
               uint64_t seed)
{
    struct rng rng = { seed };
    uint64_t salt = rng_next(&rng);

    *to = *from;
    to->jobs = mem_copy(from->jobs, from->jobs_count * sizeof(*from->jobs));
    alloc_lists(to);
    memcpy(to->running, from->running, from->running_count * sizeof(*from->running));
    memcpy(to->queue, from->queue, from->queue_count * sizeof(*from->queue));
    assert(from->held_count == 0 && from->orders_count == 0);
    to->is_capped = means->is_capped;
    to->busy = 0;
    for (uint32_t i = 0; i < to->jobs_count; i++)
        draw_job(&to->jobs[i], means, salt + i);
}

/* --- one job -----------------------------------------------------------------------------------
 */

double site_idle_watts(const struct site *site, const struct site_job *job)
{
    return site->watts_idle * job->gpus;
}

double site_job_watts(const struct site *site, const struct site_job *job)
{
    double watts =
        (site->watts_idle + (site->watts_busy - site->watts_idle) * job->draw) * job->gpus;

    return job->watts_limit > 0 && job->watts_limit < watts ? (double)job->watts_limit : watts;
}

double site_watts(const struct site *site)
{
    double watts = site->watts_base + site->watts_idle * site->gpus;

    for (uint32_t i = 0; i < site->running_count; i++) {
        const struct site_job *job = &site->jobs[site->running[i]];

        if (job->state == SITE_RUNNING)
            watts += site_job_watts(site, job) - site_idle_watts(site, job);
    }
    return watts;
}

static void catch_up(struct site *site, struct site_job *job)
{
    int64_t passed_ms = site->now_ms - job->mark_ms;
    int64_t restart_ms = MIN(passed_ms, job->restart_left_ms);

    job->mark_ms = site->now_ms;
    if (job->state != SITE_RUNNING)
        return;
    job->restart_left_ms -= restart_ms;
    job->done_ms =
        MIN(job->done_ms + (int64_t)((double)(passed_ms - restart_ms) * job->rate), job->length_ms);
}

static void set_rate(struct site *site, struct site_job *job, double rate)
{
    catch_up(site, job);
    job->rate = rate;
    job->end_ms = rate <= 0 ? INT64_MAX
                            : job->mark_ms + job->restart_left_ms +
                                  (int64_t)ceil((double)(job->length_ms - job->done_ms) / rate);
}

/* The newest checkpoint by rhythm is of the work at a multiple of it, complete write_ms later. */
static int64_t newest_save(const struct site_job *job)
{
    int64_t by_rhythm = 0;

    if (job->rhythm_ms > 0 && job->done_ms >= job->write_ms)
        by_rhythm = (job->done_ms - job->write_ms) / job->rhythm_ms * job->rhythm_ms;
    return MAX(by_rhythm, job->saved_ms);
}

int64_t site_undone(struct site *site, struct site_job *job)
{
    catch_up(site, job);
    return job->done_ms - newest_save(job);
}

int64_t site_next_save(const struct site_job *job)
{
    int64_t next;

    if (job->rhythm_ms == 0)
        return -1;
    next = newest_save(job) / job->rhythm_ms * job->rhythm_ms + job->rhythm_ms + job->write_ms;
    return MAX(next - job->done_ms, 0) + job->restart_left_ms;
}

uint32_t site_interrupts(const struct site *site, const struct site_job *job)
{
    return site->now_ms - job->interrupted_ms <= DAY_MS ? job->interrupts : 0;
}

static void remove_from(uint32_t *list, uint32_t *count, uint32_t job)
{
    for (uint32_t i = 0; i < *count; i++) {
        if (list[i] == job) {
            list[i] = list[--*count];
            return;
        }
    }
}

static void start_job(struct site *site, uint32_t number)
{
    struct site_job *job = &site->jobs[number];

    assert(job->gpus <= site->free);
    site->free -= job->gpus;
    job->state = SITE_RUNNING;
    job->started_ms = job->mark_ms = site->now_ms;
    job->is_ordered = false;
    site->running[site->running_count++] = number;
    set_rate(site, job, 1);
}

static void book_waiting(struct site *site, struct site_job *job)
{
    double share = job->state == SITE_RUNNING ? 1 - job->rate : 1;

    site->waiting += (double)(site->now_ms - job->since_ms) * share * job->gpus;
    job->since_ms = site->now_ms;
}

static void leave_held(struct site *site, uint32_t number)
{
    struct site_job *job = &site->jobs[number];

    book_waiting(site, job);
    remove_from(site->held, &site->held_count, number);
}

static void resume_job(struct site *site, uint32_t number)
{
    struct site_job *job = &site->jobs[number];

    leave_held(site, number);
    job->watts_limit = 0;
    if (job->state == SITE_HELD) {
        site->lost_restart += (double)job->restart_ms * job->gpus;
        job->restart_left_ms = job->restart_ms;
        start_job(site, number);
        return;
    }
    catch_up(site, job);
    job->state = SITE_RUNNING;
    set_rate(site, job, 1);
}

static void end_job(struct site *site, uint32_t number)
{
    struct site_job *job = &site->jobs[number];

    if (job->watts_limit > 0)
        leave_held(site, number);
    catch_up(site, job);
    job->state = SITE_DONE;
    site->free += job->gpus;
    remove_from(site->running, &site->running_count, number);
}

/* --- orders ------------------------------------------------------------------------------------
 */

void site_order_job(struct site *site, uint32_t number, enum shed_how how, int64_t watts_limit,
                    double rate)
{
    struct site_job *job = &site->jobs[number];
    struct site_order *order = &site->orders[site->orders_count++];
    int64_t took_ms[] = { [SHED_CAP] = SITE_CAP_MS,     [SHED_SHRINK] = SITE_SHRINK_MS,
                          [SHED_PAUSE] = SITE_PAUSE_MS, [SHED_SAVE] = site_next_save(job),
                          [SHED_MOVE] = SITE_STOP_MS,   [SHED_STOP] = SITE_STOP_MS };

    *order = (struct site_order){ site->now_ms + SITE_WORD_MS, -1, number, how, watts_limit, rate };
    assert(!job->is_ordered && job->state == SITE_RUNNING);
    job->is_ordered = true;
    job->interrupts = site_interrupts(site, job) + 1;
    job->interrupted_ms = site->now_ms;
    site->interrupted++;
    if (how != SHED_SAVE || !job->can_save) {
        order->at_ms += took_ms[how];
        return;
    }
    /* Asked for: it stands still while it writes. */
    job->watts_limit =
        (int64_t)(site_idle_watts(site, job) +
                  SITE_SAVING * (site_job_watts(site, job) - site_idle_watts(site, job)));
    set_rate(site, job, 0);
    order->snapshot_ms = job->done_ms;
    order->at_ms += SITE_STEP_MS + job->write_ms;
    site->lost_save += (double)(SITE_STEP_MS + job->write_ms) * job->gpus;
}

static void obey(struct site *site, struct site_order order)
{
    struct site_job *job = &site->jobs[order.job];

    if (job->state != SITE_RUNNING)
        return; /* it had ended */
    catch_up(site, job);
    job->is_ordered = false;
    job->since_ms = site->now_ms;
    job->watts_limit = 0;
    site->held[site->held_count++] = order.job;
    switch (order.how) {
    case SHED_CAP:
    case SHED_SHRINK:
        job->watts_limit = order.watts_limit;
        set_rate(site, job, order.rate);
        if (order.how == SHED_SHRINK)
            site->lost_save += 2.0 * SITE_SHRINK_MS * job->gpus; /* and when it grows again */
        return;
    case SHED_PAUSE:
        job->state = SITE_PAUSED;
        job->end_ms = INT64_MAX;
        return;
    default:
        break;
    }
    job->saved_ms = MAX(order.snapshot_ms, newest_save(job));
    site->lost_redo += (double)(job->done_ms - job->saved_ms) * job->gpus;
    job->done_ms = job->saved_ms;
    job->restart_left_ms = 0;
    job->state = SITE_HELD;
    job->end_ms = INT64_MAX;
    site->free += job->gpus;
    remove_from(site->running, &site->running_count, order.job);
}

/* --- the schedule ------------------------------------------------------------------------------
 */

static double resume_held(struct site *site, double room)
{
    uint32_t count;

    for (uint32_t i = 0; i < site->held_count; i++) {
        const struct site_job *job = &site->jobs[site->held[i]];
        double now =
            job->state == SITE_RUNNING ? (double)job->watts_limit : site_idle_watts(site, job);
        double full =
            (site->watts_idle + (site->watts_busy - site->watts_idle) * job->draw) * job->gpus;

        site->held_list[i] =
            (struct shed_held){ site->held[i], job->job_class, (int64_t)(full - now) + 1, INT64_MAX,
                                job->since_ms };
    }
    count = shed_resume(site->shed, site->held_list, site->held_count, (int64_t)MIN(room, 1e15),
                        site->chosen);
    for (uint32_t i = 0; i < count; i++) /* numbers now, since coming back moves the list */
        site->chosen[i] = (uint32_t)site->held_list[site->chosen[i]].id;
    for (uint32_t i = 0; i < count; i++) {
        struct site_job *job = &site->jobs[site->chosen[i]];

        if (job->state == SITE_HELD && job->gpus > site->free)
            continue;
        resume_job(site, site->chosen[i]);
        room -= site_job_watts(site, job) - site_idle_watts(site, job);
    }
    return room;
}

static void start_queued(struct site *site, double room)
{
    uint32_t kept = 0, looked = 0, i;

    for (i = 0; i < site->queue_count && site->free > 0 && looked < QUEUE_LOOKED_AT; i++) {
        struct site_job *job = &site->jobs[site->queue[i]];
        double watts = (site->watts_busy - site->watts_idle) * job->gpus;

        looked++;
        if (job->gpus <= site->free && watts <= room) {
            room -= watts;
            start_job(site, site->queue[i]);
        } else {
            site->queue[kept++] = site->queue[i];
        }
    }
    if (kept < i) {
        memmove(site->queue + kept, site->queue + i,
                (site->queue_count - i) * sizeof(*site->queue));
        site->queue_count -= i - kept;
    }
}

void site_schedule(struct site *site)
{
    double room = 1e15;

    if (!site->may_start)
        return;
    if (site->watts_target > 0)
        room = site->watts_target * 0.99 - site_watts(site);
    if (room <= 0)
        return;
    if (site->held_count > 0)
        room = resume_held(site, room);
    start_queued(site, room);
}

static int64_t next_time(const struct site *site, int64_t until_ms)
{
    int64_t at = until_ms;

    if (site->next < site->jobs_count)
        at = MIN(at, site->jobs[site->next].submit_ms);
    for (uint32_t i = 0; i < site->running_count; i++)
        at = MIN(at, site->jobs[site->running[i]].end_ms);
    for (uint32_t i = 0; i < site->orders_count; i++)
        at = MIN(at, site->orders[i].at_ms);
    return MAX(at, site->now_ms);
}

static void happen(struct site *site)
{
    for (uint32_t i = 0; i < site->running_count;) {
        if (site->jobs[site->running[i]].end_ms <= site->now_ms)
            end_job(site, site->running[i]); /* another stands here now */
        else
            i++;
    }
    for (uint32_t i = 0; i < site->orders_count;) {
        struct site_order order = site->orders[i];

        if (order.at_ms > site->now_ms) {
            i++;
            continue;
        }
        site->orders[i] = site->orders[--site->orders_count];
        obey(site, order);
    }
    while (site->next < site->jobs_count && site->jobs[site->next].submit_ms <= site->now_ms) {
        site->jobs[site->next].state = SITE_QUEUED;
        site->queue[site->queue_count++] = site->next++;
    }
}

void site_run(struct site *site, int64_t until_ms, void (*each)(struct site *site, void *context),
              void *context)
{
    while (site->now_ms < until_ms) {
        int64_t at = next_time(site, until_ms);

        site->busy += (double)(at - site->now_ms) * (site->gpus - site->free);
        site->now_ms = at;
        happen(site);
        site_schedule(site);
        if (each)
            each(site, context);
    }
}

void site_settle(struct site *site)
{
    for (uint32_t i = 0; i < site->held_count; i++) {
        struct site_job *job = &site->jobs[site->held[i]];

        book_waiting(site, job);
        if (job->state == SITE_HELD)
            site->lost_restart += (double)job->restart_ms * job->gpus;
    }
}

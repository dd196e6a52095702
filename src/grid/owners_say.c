/* What keeps a job from a site by its owner's word, in one line. */
#include "grid/owners.h"
#include "grid/state.h"
#include "model/units.h"
#include "sched/owner.h"

#include <stdio.h>
#include <string.h>

static const char *const class_names[] = { "low", "normal", "high", "urgent" };

void owners_say_bar(const struct grid *grid, const struct shape *shape, uint32_t site, char *out,
                    size_t bytes)
{
    const struct request_access none = { 0 };
    const struct request_access *ask = shape->access ? shape->access : &none;
    const char *name = grid->fleet.sites[site].info.name, *label = "";
    uint32_t home = site;

    switch (owner_bar(&grid->fleet, shape, site, &label, &home)) {
    case POLICY_LETS:
        snprintf(out, bytes, "the owner of %s lets it in", name);
        break;
    case POLICY_BARS_TENANT:
        snprintf(out, bytes, "the owner of %s does not let tenant %s in", name, ask->tenant);
        break;
    case POLICY_BARS_CLASS:
        snprintf(out, bytes, "the owner of %s lets in no work of class %s", name,
                 ask->job_class < CLASS_COUNT ? class_names[ask->job_class] : "unknown");
        break;
    case POLICY_BARS_IMAGE:
        snprintf(out, bytes, "the owner of %s does not let in image %.60s", name, ask->image);
        break;
    case POLICY_BARS_COME:
        snprintf(out, bytes, "data labelled %s may not come to %s", label, name);
        break;
    case POLICY_BARS_LEAVE:
        snprintf(out, bytes, "data labelled %s may not leave %s", label,
                 grid->fleet.sites[home].info.name);
        break;
    case POLICY_BARS_HOURS:
        if (ask->span_ms < 0)
            snprintf(out, bytes, "%s is open by the hour only, and it has no duration", name);
        else
            snprintf(out, bytes, "it may run for longer than %s is ever open at a stretch", name);
        break;
    case POLICY_BARS_REFUSED:
        snprintf(out, bytes, "%s has refused it by its owner's policy", name);
        break;
    }
}

static const char *advice(enum policy_bar bar)
{
    switch (bar) {
    case POLICY_BARS_HOURS:
        return "give it a shorter duration, or a checkpoint";
    case POLICY_BARS_IMAGE:
        return "use an image that is let in, or ask the owner";
    case POLICY_BARS_COME:
    case POLICY_BARS_LEAVE:
        return "run it where the data may be";
    case POLICY_BARS_CLASS:
        return "submit it in another class, or ask the owner";
    case POLICY_BARS_REFUSED:
    case POLICY_BARS_TENANT:
    case POLICY_LETS:
        break;
    }
    return "ask the owner, or wait for other sites";
}

/* The site's own words, as long as they are the job's newest reason. */
static bool say_refusal(const struct grid *grid, const struct job *job, uint32_t site, char *out,
                        size_t bytes)
{
    const char *reason = job->reason ? intern_data(&grid->strings, job->reason) : "";
    const char *name = grid->fleet.sites[site].info.name;
    size_t len = strlen(name);

    if (job->outcome != OUTCOME_REFUSED || strncmp(reason, "site ", 5) != 0 ||
        strncmp(reason + 5, name, len) != 0 || strncmp(reason + 5 + len, ": ", 2) != 0 ||
        !reason[len + 7])
        return false;
    snprintf(out, bytes, "%s has refused it (%.150s)", name, reason + len + 7);
    return true;
}

void owners_why_barred(struct grid *grid, const struct job *job, uint32_t site, struct why *why)
{
    const struct shape *shape = job_shape(grid, job);
    char text[200];

    if (!say_refusal(grid, job, site, text, sizeof(text)))
        owners_say_bar(grid, shape, site, text, sizeof(text));
    snprintf(why->code, sizeof(why->code), "policy");
    snprintf(why->text, sizeof(why->text), "%s, where it would fit: %s", text,
             advice(owner_bar(&grid->fleet, shape, site, NULL, NULL)));
}

bool owners_why_silent(const struct grid *grid, uint32_t site, struct why *why)
{
    const struct site_policy *policy = grid->fleet.sites[site].policy;
    int64_t next_ms;
    char when[64];

    if (!policy || !policy->contacts_count)
        return false;
    next_ms = site_policy_next_contact(policy, grid->now_ms);
    if (next_ms <= grid->now_ms || next_ms == INT64_MAX)
        return false; /* it should be heard now */
    units_print_time(next_ms, when, sizeof(when));
    why->start_estimate_ms = next_ms;
    snprintf(why->code, sizeof(why->code), "contact");
    snprintf(why->text, sizeof(why->text),
             "site %s, where it fits, is to be heard again at %s: it is not always to be heard",
             grid->fleet.sites[site].info.name, when);
    return true;
}

bool owners_why_hours(struct grid *grid, const struct job *job, struct why *why)
{
    struct shape *shape = job_shape(grid, job);
    const struct candidate *candidates;
    const struct fleet_site *site;
    int64_t best_ms = INT64_MAX;
    uint32_t count, best = 0;
    char when[64];

    if (!grid->owners_timed)
        return false;
    candidates = shape_candidates(shape, &grid->fleet, &job_terms(grid, job)->objective, &count);
    for (uint32_t i = 0; i < count; i++) {
        int64_t start_ms = owner_next_start(&grid->fleet, shape, candidates[i].site, grid->now_ms);

        if (start_ms > grid->now_ms && start_ms < best_ms &&
            fit_candidate_plainly(shape, &grid->fleet, candidates[i].site, candidates[i].chip,
                                  FIT_NOW, &grid->fit)) {
            best_ms = start_ms;
            best = i;
        }
    }
    if (best_ms == INT64_MAX)
        return false;
    units_print_time(best_ms, when, sizeof(when));
    why->start_estimate_ms = best_ms;
    site = &grid->fleet.sites[candidates[best].site];
    if (site_policy_next_contact(site->policy, grid->now_ms) > grid->now_ms) {
        snprintf(why->code, sizeof(why->code), "contact");
        snprintf(
            why->text, sizeof(why->text),
            "site %s has room, and can be told to start it at %s: it is not always to be heard",
            site->info.name, when);
        return true;
    }
    snprintf(why->code, sizeof(why->code), "hours");
    snprintf(why->text, sizeof(why->text),
             "site %s has room, and takes work that may run so long from %s on: its owner's hours",
             site->info.name, when);
    return true;
}

/* site_policy.h - what the owner of a site lets happen there, and what an operator limits it to.
 *
 * The same judgement at the scheduler, that places no work where it is not let in, and at the site,
 * that takes nobody's word for it: policy, and who asks, in; what bars it out. Pure.
 *
 * Hours are weekly windows in UTC, in minutes since Monday 00:00: who reads a time zone (the agent)
 * turns them. Windows may overlap; what ends where another begins goes on.
 *
 * A list that was not told lets in all; an empty one nobody. */
#pragma once

#include "base/err.h"
#include "model/request.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define POLICY_TENANTS_MAX 256u
#define POLICY_IMAGES_MAX 32u
#define POLICY_LABELS_MAX 32u
#define POLICY_WINDOWS_MAX 64u
#define POLICY_CONTACTS_MAX 32u
#define POLICY_WEEK_MIN 10080u
#define POLICY_SLACK_MS 60000 /* a start so late after a window opened still counts as on time */
#define POLICY_SPAN_LEAST_MS 600000 /* what saves checkpoints starts only with so much left */

struct site_window {
    uint32_t from_min;  /* since Monday 00:00 UTC, below POLICY_WEEK_MIN */
    uint32_t until_min; /* above it; past the week's end it goes on into the next */
};

/* When the site can be heard at all: an orbit, a ship, a line that is dialled. */
struct site_contact {
    int64_t from_ms, until_ms; /* the first time */
    int64_t period_ms;         /* and again after so long, each time; 0 = once */
};

struct site_policy {
    bool tenants_told, classes_told, images_told, come_told, leave_told;
    uint8_t reserved[3]; /* 0, as reserved_too: compared as bytes, so there is no padding */
    uint32_t classes;    /* bits of enum job_class */
    uint32_t tenants_count, images_count, come_count, leave_count, here_count, windows_count;
    uint32_t contacts_count;           /* 0: it is always to be heard */
    uint32_t own_ppm;                  /* of the site, for the owner's own work first; 0 = none */
    char own_tenant[MODEL_NAME_BYTES]; /* whose work is the owner's own */
    uint32_t reserved_too;
    int64_t cpu_hour_micro, device_hour_micro; /* not below these; 0 = none */
    int64_t cap_watts;                         /* what jobs may draw; -1 = as much as there is */
    /* A GB (1e9 bytes) that leaves for the network, or comes from it; 0 = nothing. */
    int64_t egress_gb_micro, ingress_gb_micro;
    int64_t link_bytes_s; /* what its link to the network carries a second; 0 = not told */
    struct site_window windows[POLICY_WINDOWS_MAX]; /* none: at all hours */
    struct site_contact contacts[POLICY_CONTACTS_MAX];
    char tenants[POLICY_TENANTS_MAX][MODEL_NAME_BYTES];
    char images[POLICY_IMAGES_MAX]
               [REQUEST_IMAGE_BYTES]; /* with * ? [..]; without an image: let in */
    char come[POLICY_LABELS_MAX]
             [MODEL_NAME_BYTES]; /* labels of data that may come from elsewhere */
    char leave[POLICY_LABELS_MAX][MODEL_NAME_BYTES]; /* and that may leave */
    char here[POLICY_LABELS_MAX][MODEL_NAME_BYTES];  /* data that is at home here */
};

struct site_limits { /* below what the site offers; -1 = no limit */
    int64_t cpus, devices, memory_bytes, watts;
};

enum policy_bar { /* what keeps work out */
                  POLICY_LETS,
                  POLICY_BARS_TENANT,
                  POLICY_BARS_CLASS,
                  POLICY_BARS_IMAGE,
                  POLICY_BARS_COME,   /* data of `label` may not come here */
                  POLICY_BARS_LEAVE,  /* nor leave the site where it is at home */
                  POLICY_BARS_HOURS,  /* it is longer than any window */
                  POLICY_BARS_REFUSED /* the site itself refused it */
};

/* Lets everything happen: zeroes but for the cap. */
void site_policy_init(struct site_policy *policy);
bool site_policy_is_empty(const struct site_policy *policy); /* it asks nothing */
/* Equal byte for byte: both were made by site_policy_init and what follows here. */
bool site_policy_is_equal(const struct site_policy *a, const struct site_policy *b);
/* Within the bounds of the struct, and sensible. -EINVAL. */
int site_policy_check(const struct site_policy *policy, struct err *err);

/* Keys: tenants, classes, images (lists of text), data {come, leave, here}, windows (pairs of
 * minutes), contacts ([from, until, period] in ms), floor {cpu_hour_micro, device_hour_micro},
 * cap_watts, own {tenant, ppm}, link {egress_gb_micro, ingress_gb_micro, bytes_s}. Keys that are
 * not known are ignored (a newer peer wrote them). -EINVAL and which. */
int site_policy_parse_json(const json_t *json, struct site_policy *policy_out, struct err *err);
/* What is not told is left out. A new reference; NULL: no memory. */
json_t *site_policy_to_json(const struct site_policy *policy);

/* Whatever the time. `label_out` (may be NULL): of the data that may not come. */
enum policy_bar site_policy_bar(const struct site_policy *policy, const struct request_access *ask,
                                const char **label_out);
bool site_policy_has_label(const char (*list)[MODEL_NAME_BYTES], uint32_t count, const char *label);

/* --- hours --- */

/* Until when it is open from `time_ms` on: INT64_MAX = always; -1 = it is closed then. */
int64_t site_policy_open_until(const struct site_policy *policy, int64_t time_ms);
/* The first time from `time_ms` on at which what takes `span_ms` may start; INT64_MAX = never.
 * span_ms: see request_access. */
int64_t site_policy_next_start(const struct site_policy *policy, int64_t time_ms, int64_t span_ms);
/* Until when it is to be heard from `time_ms` on: INT64_MAX = always; -1 = it is not then. */
int64_t site_policy_heard_until(const struct site_policy *policy, int64_t time_ms);
/* When it will have been heard for `need_ms` in all, from `time_ms` on; INT64_MAX = never, or not
 * in POLICY_CONTACTS_TRIED of its windows. */
#define POLICY_CONTACTS_TRIED 4096u
int64_t site_policy_heard_for(const struct site_policy *policy, int64_t time_ms, int64_t need_ms);
/* When it is to be heard from `time_ms` on; INT64_MAX = never again. */
int64_t site_policy_next_contact(const struct site_policy *policy, int64_t time_ms);
/* The next time after `time_ms` at which a window opens or closes, or a contact begins; INT64_MAX =
 * never. */
int64_t site_policy_next_change(const struct site_policy *policy, int64_t time_ms);

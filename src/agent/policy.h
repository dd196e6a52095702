/* policy.h - what the owner of a site lets happen there (model/site_policy.h), as it is written in
 * site.yaml or site.json, and held by the site itself: whatever the controller orders, an attempt
 * that the policy does not allow is refused here.
 *
 *     policy:
 *       tenants: [physics, chem]            # a list that is not there lets in all
 *       classes: [low, normal]
 *       hours: ["Mon-Fri 18:00-08:00", "Sat,Sun 00:00-24:00"]
 *       zone: Europe/Berlin                 # or +01:00; UTC when it is not told
 *       floor: {device_hour: 0.50, cpu_hour: 0.01}
 *       power_cap: 12kW
 *       images: ["lab.example/?*"]
 *       data: {come: [public], leave: [public], here: [patients]}
 *       own: {tenant: physics, share: 50}   # percent of the site; the tenant: else the owner
 *       link: {rate: 100MiB, egress: 0.09, ingress: 0}   # a second; of a GB (1e9 bytes)
 */
#pragma once

#include "base/err.h"
#include "model/site_policy.h"

#include <jansson.h>

/* `json` NULL: all is allowed. `owner` stands for own.tenant when that is not told. Hours are
 * turned into UTC by what the zone's offset is at `now_ms`. -EINVAL and which key. */
int policy_parse(const json_t *json, const char *owner, int64_t now_ms, struct site_policy *out,
                 struct err *err);
/* Its offset from UTC at `time_ms`: "UTC", "+05:30", or a zone of this machine. -EINVAL. */
int policy_zone_offset(const char *zone, int64_t time_ms, int64_t *offset_min_out, struct err *err);
/* `windows` of site.yaml, when the site can be heard at all, into policy->contacts: a list of
 * {from: TIME, until: TIME} or {period: 96m, duration: 10m, offset: 3m}, the first at `offset`
 * after 1970. NULL: always. -EINVAL and which. */
int policy_add_contacts(struct site_policy *policy, const json_t *list, struct err *err);
/* "Mon-Fri 18:00-08:00": one window for each day, local, turned by the offset. -EINVAL; -E2BIG past
 * POLICY_WINDOWS_MAX. */
int policy_add_hours(struct site_policy *policy, const char *text, int64_t offset_min,
                     struct err *err);

struct policy_ask { /* of a RUN */
    const char *tenant;
    const char *spec_json;
    int64_t duration_ms_max; /* 0 = none */
};
/* -EACCES: "refused by the owner's policy: ..." */
int policy_check(const struct site_policy *policy, const struct policy_ask *ask, int64_t now_ms,
                 struct err *err);
/* Are its hours over, and the time that a stop may take, too? */
bool policy_is_closed(const struct site_policy *policy, int64_t now_ms);

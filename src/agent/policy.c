#include "agent/policy.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "model/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DAY_MIN 1440
#define CLOSE_SLACK_MS (INT64_C(2) * POLICY_SLACK_MS) /* a grace, and a report on its way */

/* --- hours ---------------------------------------------------------------------------------- */

static bool take_number(const char **at, int64_t *out)
{
    if (**at < '0' || **at > '9')
        return false;
    for (*out = 0; **at >= '0' && **at <= '9' && *out < 100; ++*at)
        *out = *out * 10 + (**at - '0');
    return *out < 100;
}

/* "18:00", up to 24:00, in minutes. */
static bool take_clock(const char **at, int64_t *out)
{
    int64_t hours, minutes;

    if (!take_number(at, &hours) || *(*at)++ != ':' || !take_number(at, &minutes) || hours > 24 ||
        minutes > 59 || (hours == 24 && minutes))
        return false;
    *out = hours * 60 + minutes;
    return true;
}

int policy_zone_offset(const char *zone, int64_t time_ms, int64_t *offset_min_out, struct err *err)
{
    CLEANUP(freep) char *before = NULL, *path = path_format("/usr/share/zoneinfo/%s", zone);
    const char *at = zone + 1, *set = getenv("TZ");
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm local;
    int64_t minutes;

    if (strcmp(zone, "UTC") == 0) {
        *offset_min_out = 0;
        return 0;
    }
    if (*zone == '+' || *zone == '-') {
        if (!take_clock(&at, &minutes) || *at || minutes > 14 * 60)
            return err_set(err, -EINVAL, "policy.zone: %.40s: expected +HH:MM", zone);
        *offset_min_out = *zone == '-' ? -minutes : minutes;
        return 0;
    }
    /* The C library takes what it does not know for UTC. */
    if (!path || !*zone || *zone == '/' || strstr(zone, "..") || access(path, R_OK) < 0)
        return err_set(err, -EINVAL, "policy.zone: %.40s: not a time zone of this machine", zone);
    before = set ? strdup(set) : NULL;
    setenv("TZ", zone, 1);
    tzset();
    localtime_r(&seconds, &local);
    if (before)
        setenv("TZ", before, 1);
    else
        unsetenv("TZ");
    tzset();
    *offset_min_out = local.tm_gmtoff / 60;
    return 0;
}

static int find_day(const char **at)
{
    static const char *const days[] = { "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun" };

    for (int i = 0; i < 7; i++)
        if (strncmp(*at, days[i], 3) == 0) {
            *at += 3;
            return i;
        }
    return -1;
}

/* "Mon-Fri", "Sat,Sun", nothing = every day; bits from Monday on. */
static bool take_days(const char **at, unsigned *days_out)
{
    int first, last;

    *days_out = 0x7f;
    if (**at >= '0' && **at <= '9')
        return true;
    *days_out = 0;
    for (;;) {
        first = last = find_day(at);
        if (first < 0)
            return false;
        if (**at == '-') {
            ++*at;
            last = find_day(at);
            if (last < 0)
                return false;
        }
        for (int day = first;; day = (day + 1) % 7) {
            *days_out |= 1u << day;
            if (day == last)
                break;
        }
        if (**at != ',')
            break;
        ++*at;
    }
    return *(*at)++ == ' ';
}

int policy_add_hours(struct site_policy *policy, const char *text, int64_t offset_min,
                     struct err *err)
{
    const char *at = text;
    int64_t from, until;
    unsigned days;

    if (!take_days(&at, &days) || !take_clock(&at, &from) || *at++ != '-' ||
        !take_clock(&at, &until) || *at || from == DAY_MIN)
        return err_set(err, -EINVAL,
                       "policy.hours: \"%.40s\": expected like \"Mon-Fri 18:00-08:00\"", text);
    if (until <= from)
        until += DAY_MIN;
    for (int day = 0; day < 7; day++) {
        int64_t begin = (day * DAY_MIN + from - offset_min + POLICY_WEEK_MIN) % POLICY_WEEK_MIN;

        if (!(days >> day & 1))
            continue;
        if (policy->windows_count == POLICY_WINDOWS_MAX)
            return err_set(err, -E2BIG, "policy.hours: more than %u windows", POLICY_WINDOWS_MAX);
        policy->windows[policy->windows_count++] =
            (struct site_window){ .from_min = (uint32_t)begin,
                                  .until_min = (uint32_t)(begin + until - from) };
    }
    return 0;
}

static int read_hours(const json_t *json, int64_t now_ms, struct site_policy *policy,
                      struct err *err)
{
    const json_t *hours = json_object_get(json, "hours"), *zone = json_object_get(json, "zone");
    int64_t offset_min = 0;
    json_t *item;
    size_t i;
    int rc;

    if (zone && !json_is_string(zone))
        return err_set(err, -EINVAL, "policy.zone: expected +HH:MM or the name of a time zone");
    if (hours && !json_is_array(hours))
        return err_set(err, -EINVAL, "policy.hours: expected a list like \"Mon-Fri 18:00-08:00\"");
    if (zone) {
        rc = policy_zone_offset(json_string_value(zone), now_ms, &offset_min, err);
        if (rc < 0)
            return rc;
    }
    json_array_foreach (hours, i, item) {
        const char *text = json_string_value(item);

        rc = text ? policy_add_hours(policy, text, offset_min, err)
                  : err_set(err, -EINVAL, "policy.hours[%zu]: expected a text", i);
        if (rc < 0)
            return rc;
    }
    if (hours && !policy->windows_count)
        return err_set(err, -EINVAL, "policy.hours: an empty list; leave it out to be open always");
    return 0;
}

/* --- when it is to be heard ------------------------------------------------------------------- */

static int read_time(const json_t *window, size_t index, const char *key,
                     int (*parse)(const char *text, int64_t *ms_out, struct err *err), bool needed,
                     int64_t *ms_out, struct err *err)
{
    const json_t *value = json_object_get(window, key);
    const char *text = json_string_value(value);
    int rc;

    if (!value && !needed)
        return 0;
    rc = text ? parse(text, ms_out, err) : err_set(err, -EINVAL, "expected a text");
    return rc < 0 ? err_prefix(err, -EINVAL, "windows[%zu].%s", index, key) : 0;
}

int policy_add_contacts(struct site_policy *policy, const json_t *list, struct err *err)
{
    json_t *window;
    size_t i;

    if (!list)
        return 0;
    if (!json_is_array(list) || !json_array_size(list) ||
        json_array_size(list) > POLICY_CONTACTS_MAX)
        return err_set(err, -EINVAL, "windows: expected a list of 1 to %u", POLICY_CONTACTS_MAX);
    json_array_foreach (list, i, window) {
        struct site_contact *contact = &policy->contacts[i];
        bool is_periodic = json_object_get(window, "period") != NULL;
        int64_t duration_ms = 0;
        int rc;

        if (json_object_size(window) < 2 || json_object_size(window) > (is_periodic ? 3u : 2u))
            return err_set(err, -EINVAL,
                           "windows[%zu]: expected from and until, or period, duration and offset",
                           i);
        if (is_periodic) {
            rc = read_time(window, i, "period", units_parse_duration, true, &contact->period_ms,
                           err);
            if (rc == 0)
                rc =
                    read_time(window, i, "duration", units_parse_duration, true, &duration_ms, err);
            if (rc == 0)
                rc = read_time(window, i, "offset", units_parse_duration, false, &contact->from_ms,
                               err);
            contact->until_ms = contact->from_ms + duration_ms;
        } else {
            rc = read_time(window, i, "from", units_parse_time, true, &contact->from_ms, err);
            if (rc == 0)
                rc = read_time(window, i, "until", units_parse_time, true, &contact->until_ms, err);
        }
        if (rc < 0)
            return rc;
        policy->contacts_count++;
    }
    return site_policy_check(policy, err);
}

/* --- the rest ------------------------------------------------------------------------------- */

static int read_money(const json_t *from, const char *where, const char *key, int64_t *micro_out,
                      struct err *err)
{
    const json_t *value = json_object_get(from, key);
    double number = json_number_value(value);

    if (!value)
        return 0;
    if (!json_is_number(value) || !(number >= 0 && number <= 1e6))
        return err_set(err, -EINVAL, "policy.%s.%s: expected a price such as 0.50", where, key);
    *micro_out = (int64_t)(number * 1e6 + 0.5);
    return 0;
}

/* 12000, "12kW", "500W", "1.5MW". */
static int read_cap(const json_t *value, int64_t *watts_out, struct err *err)
{
    const char *text = json_string_value(value);
    char *unit = "W";
    double number = json_number_value(value);

    if (!value)
        return 0;
    if (text)
        number = strtod(text, &unit);
    if (strcmp(unit, "kW") == 0)
        number *= 1e3;
    else if (strcmp(unit, "MW") == 0)
        number *= 1e6;
    else if (strcmp(unit, "W") != 0 && *unit)
        number = -1;
    if ((!text && !json_is_number(value)) || (text && (*text < '0' || *text > '9')) ||
        !(number >= 0 && number <= 1e12))
        return err_set(err, -EINVAL, "policy.power_cap: expected like 12kW");
    *watts_out = (int64_t)(number + 0.5);
    return 0;
}

static int read_own(const json_t *own, const char *owner, struct site_policy *policy,
                    struct err *err)
{
    const json_t *tenant = json_object_get(own, "tenant"), *share = json_object_get(own, "share");
    const char *name = tenant ? json_string_value(tenant) : owner;
    double percent = json_number_value(share);

    if (!own)
        return 0;
    if (!json_is_object(own) || !name || !*name || strlen(name) >= sizeof(policy->own_tenant) ||
        !json_is_number(share) || !(percent > 0 && percent <= 100))
        return err_set(err, -EINVAL, "policy.own: expected tenant, and share in percent");
    memcpy(policy->own_tenant, name, strlen(name) + 1);
    policy->own_ppm = (uint32_t)(percent * 1e4 + 0.5);
    return 0;
}

/* What data costs on its way, and how fast it is. */
static int read_link(const json_t *link, struct site_policy *policy, struct err *err)
{
    const json_t *rate = json_object_get(link, "rate");
    const char *text = json_string_value(rate);
    int rc;

    if (!link)
        return 0;
    if (!json_is_object(link))
        return err_set(err, -EINVAL, "policy.link: expected rate, egress, ingress");
    if (rate && !text)
        return err_set(err, -EINVAL, "policy.link.rate: expected a text like 100MiB, a second");
    if (rate && units_parse_bytes(text, &policy->link_bytes_s, err) < 0)
        return err_prefix(err, -EINVAL, "policy.link.rate");
    rc = read_money(link, "link", "egress", &policy->egress_gb_micro, err);
    return rc < 0 ? rc : read_money(link, "link", "ingress", &policy->ingress_gb_micro, err);
}

int policy_parse(const json_t *json, const char *owner, int64_t now_ms, struct site_policy *out,
                 struct err *err)
{
    static const char *const common[] = { "tenants", "classes", "images", "data" };
    const json_t *floor = json_object_get(json, "floor");
    struct site_policy policy;
    json_t *plain;
    int rc;

    if (json && !json_is_object(json))
        return err_set(err, -EINVAL, "policy: expected an object");
    if (floor && !json_is_object(floor))
        return err_set(err, -EINVAL, "policy.floor: expected cpu_hour, device_hour");
    plain = json_object();
    for (size_t i = 0; i < ARRAY_COUNT(common); i++)
        if (json_object_get(json, common[i]))
            json_object_set(plain, common[i], json_object_get(json, common[i]));
    rc = site_policy_parse_json(plain, &policy, err);
    json_decref(plain);
    if (rc == 0)
        rc = read_hours(json, now_ms, &policy, err);
    if (rc == 0)
        rc = read_money(floor, "floor", "cpu_hour", &policy.cpu_hour_micro, err);
    if (rc == 0)
        rc = read_money(floor, "floor", "device_hour", &policy.device_hour_micro, err);
    if (rc == 0)
        rc = read_cap(json_object_get(json, "power_cap"), &policy.cap_watts, err);
    if (rc == 0)
        rc = read_own(json_object_get(json, "own"), owner, &policy, err);
    if (rc == 0)
        rc = read_link(json_object_get(json, "link"), &policy, err);
    if (rc == 0)
        rc = site_policy_check(&policy, err);
    if (rc == 0)
        *out = policy;
    return rc;
}

/* --- at the door ---------------------------------------------------------------------------- */

/* What the order says of itself; -1: it says too much to be believed. */
static int describe(const struct policy_ask *ask, struct request_access *access)
{
    static const char *const classes[] = { "low", "normal", "high", "urgent" };
    json_t *spec = json_loads(ask->spec_json, 0, NULL), *item;
    const json_t *labels = json_object_get(spec, "data");
    const char *class = json_string_value(json_object_get(spec, "class"));
    const char *image = json_string_value(json_object_get(spec, "image"));
    bool saves = json_object_get(spec, "checkpoint") != NULL;
    int rc = spec && json_array_size(labels) <= REQUEST_LABELS_MAX ? 0 : -1;
    size_t i;

    memset(access, 0, sizeof(*access));
    snprintf(access->tenant, sizeof(access->tenant), "%s", ask->tenant);
    snprintf(access->image, sizeof(access->image), "%s", image ? image : "");
    access->job_class = class ? CLASS_COUNT : CLASS_NORMAL; /* what a job is that does not say */
    for (uint32_t c = 0; class && c < CLASS_COUNT; c++)
        if (strcmp(classes[c], class) == 0)
            access->job_class = c;
    access->span_ms = saves ? 1 : ask->duration_ms_max ? ask->duration_ms_max : -1;
    if (rc == 0)
        json_array_foreach (labels, i, item)
            snprintf(access->labels[access->labels_count++], MODEL_NAME_BYTES, "%s",
                     json_string_value(item) ? json_string_value(item) : "");
    if (image && strlen(image) >= sizeof(access->image))
        rc = -1;
    json_decref(spec);
    return rc;
}

int policy_check(const struct site_policy *policy, const struct policy_ask *ask, int64_t now_ms,
                 struct err *err)
{
    struct request_access access;
    const char *label = "";
    enum policy_bar bar;

    if (site_policy_is_empty(policy))
        return 0;
    if (describe(ask, &access) < 0)
        return err_set(err, -EACCES, "refused by the owner's policy: the order makes no sense");
    bar = site_policy_bar(policy, &access, &label);
    switch (bar) {
    case POLICY_BARS_TENANT:
        return err_set(err, -EACCES, "refused by the owner's policy: tenant %s is not let in here",
                       ask->tenant);
    case POLICY_BARS_CLASS:
        return err_set(err, -EACCES,
                       "refused by the owner's policy: work of its class is not let in here");
    case POLICY_BARS_IMAGE:
        return err_set(err, -EACCES,
                       "refused by the owner's policy: image %.60s is not let in here",
                       access.image);
    case POLICY_BARS_COME:
    case POLICY_BARS_LEAVE:
        return err_set(err, -EACCES,
                       "refused by the owner's policy: data labelled %s may not come here", label);
    case POLICY_BARS_HOURS:
        return err_set(err, -EACCES,
                       "refused by the owner's policy: it may run for longer than is ever open");
    case POLICY_BARS_REFUSED:
    case POLICY_LETS:
        break;
    }
    /* It was sent a little before it comes. */
    if (site_policy_next_start(policy, now_ms, access.span_ms) != now_ms &&
        site_policy_next_start(policy, now_ms - POLICY_SLACK_MS, access.span_ms) !=
            now_ms - POLICY_SLACK_MS)
        return err_set(err, -EACCES,
                       "refused by the owner's policy: at this hour it is not let in here");
    return 0;
}

bool policy_is_closed(const struct site_policy *policy, int64_t now_ms)
{
    return policy->windows_count && site_policy_open_until(policy, now_ms) < 0 &&
           site_policy_open_until(policy, now_ms - CLOSE_SLACK_MS) < 0;
}

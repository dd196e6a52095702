#include "model/site_policy.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <string.h>

#define MINUTE_MS INT64_C(60000)
#define WEEK_MS (POLICY_WEEK_MIN * MINUTE_MS)
#define EPOCH_MIN 4320u /* 1970-01-01 was a Thursday */
#define MONEY_MAX INT64_C(1000000000000)
#define TIME_MS_MAX INT64_C(253402300799999) /* the year 9999 */
#define WATTS_MAX INT64_C(1000000000000)
#define LINK_BYTES_MAX INT64_C(1000000000000000)

static const char *const class_names[] = {
    [CLASS_LOW] = "low",
    [CLASS_NORMAL] = "normal",
    [CLASS_HIGH] = "high",
    [CLASS_URGENT] = "urgent",
};

void site_policy_init(struct site_policy *policy)
{
    memset(policy, 0, sizeof(*policy));
    policy->cap_watts = -1;
}

bool site_policy_is_equal(const struct site_policy *a, const struct site_policy *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

bool site_policy_is_empty(const struct site_policy *policy)
{
    struct site_policy empty;

    site_policy_init(&empty);
    return site_policy_is_equal(policy, &empty);
}

static bool names_are_sound(const char *list, uint32_t count, uint32_t most, size_t bytes)
{
    if (count > most)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!list[i * bytes] || !memchr(list + i * bytes, '\0', bytes))
            return false;
    return true;
}

int site_policy_check(const struct site_policy *policy, struct err *err)
{
    if (!names_are_sound(policy->tenants[0], policy->tenants_count, POLICY_TENANTS_MAX,
                         MODEL_NAME_BYTES) ||
        !names_are_sound(policy->images[0], policy->images_count, POLICY_IMAGES_MAX,
                         REQUEST_IMAGE_BYTES) ||
        !names_are_sound(policy->come[0], policy->come_count, POLICY_LABELS_MAX,
                         MODEL_NAME_BYTES) ||
        !names_are_sound(policy->leave[0], policy->leave_count, POLICY_LABELS_MAX,
                         MODEL_NAME_BYTES) ||
        !names_are_sound(policy->here[0], policy->here_count, POLICY_LABELS_MAX, MODEL_NAME_BYTES))
        return err_set(err, -EINVAL, "policy: a name is empty or too long, or there are too many");
    if (policy->classes >> CLASS_COUNT)
        return err_set(err, -EINVAL, "policy.classes: unknown class");
    if (policy->cpu_hour_micro < 0 || policy->cpu_hour_micro > MONEY_MAX ||
        policy->device_hour_micro < 0 || policy->device_hour_micro > MONEY_MAX)
        return err_set(err, -EINVAL, "policy.floor: a price is out of range");
    if (policy->egress_gb_micro < 0 || policy->egress_gb_micro > MONEY_MAX ||
        policy->ingress_gb_micro < 0 || policy->ingress_gb_micro > MONEY_MAX ||
        policy->link_bytes_s < 0 || policy->link_bytes_s > LINK_BYTES_MAX)
        return err_set(err, -EINVAL, "policy.link: a price or a rate is out of range");
    if (policy->cap_watts < -1 || policy->cap_watts > WATTS_MAX)
        return err_set(err, -EINVAL, "policy.cap_watts: out of range");
    if (policy->own_ppm > 1000000 ||
        !memchr(policy->own_tenant, '\0', sizeof(policy->own_tenant)) ||
        (policy->own_ppm && !policy->own_tenant[0]))
        return err_set(err, -EINVAL, "policy.own: expected a tenant and a share up to 100 percent");
    if (policy->windows_count > POLICY_WINDOWS_MAX)
        return err_set(err, -EINVAL, "policy.windows: more than %u", POLICY_WINDOWS_MAX);
    for (uint32_t i = 0; i < policy->windows_count; i++) {
        const struct site_window *window = &policy->windows[i];

        if (window->from_min >= POLICY_WEEK_MIN || window->until_min <= window->from_min ||
            window->until_min - window->from_min > POLICY_WEEK_MIN)
            return err_set(err, -EINVAL,
                           "policy.windows[%u]: expected minutes of a week, the end after the "
                           "beginning",
                           i);
    }
    if (policy->contacts_count > POLICY_CONTACTS_MAX)
        return err_set(err, -EINVAL, "windows: more than %u", POLICY_CONTACTS_MAX);
    for (uint32_t i = 0; i < policy->contacts_count; i++) {
        const struct site_contact *contact = &policy->contacts[i];

        if (contact->from_ms < 0 || contact->until_ms <= contact->from_ms ||
            contact->until_ms > TIME_MS_MAX || contact->period_ms < 0 ||
            contact->period_ms > TIME_MS_MAX ||
            (contact->period_ms && contact->until_ms - contact->from_ms > contact->period_ms))
            return err_set(err, -EINVAL,
                           "windows[%u]: expected an end after the beginning, within the period",
                           i);
    }
    return 0;
}

/* --- JSON ----------------------------------------------------------------------------------- */

/* Texts into `out`, `most` rows of `bytes`. */
static int read_names(const json_t *list, const char *key, char *out, uint32_t most, size_t bytes,
                      bool *told_out, uint32_t *count_out, struct err *err)
{
    size_t i;
    json_t *item;

    if (!list)
        return 0;
    if (!json_is_array(list) || json_array_size(list) > most)
        return err_set(err, -EINVAL, "policy.%s: expected a list of at most %u", key, most);
    if (told_out)
        *told_out = true;
    json_array_foreach (list, i, item) {
        const char *name = json_string_value(item);

        if (!name || !*name || strlen(name) >= bytes)
            return err_set(err, -EINVAL, "policy.%s[%zu]: expected a text of at most %zu bytes",
                           key, i, bytes - 1);
        memcpy(out + i * bytes, name, strlen(name) + 1);
    }
    *count_out = (uint32_t)json_array_size(list);
    return 0;
}

static int read_classes(const json_t *list, struct site_policy *policy, struct err *err)
{
    size_t i;
    json_t *item;

    if (!list)
        return 0;
    if (!json_is_array(list))
        return err_set(err, -EINVAL, "policy.classes: expected a list");
    policy->classes_told = true;
    json_array_foreach (list, i, item) {
        const char *name = json_string_value(item);
        uint32_t class = 0;

        while (class < CLASS_COUNT && !(name && strcmp(class_names[class], name) == 0))
            class ++;
        if (class == CLASS_COUNT)
            return err_set(err, -EINVAL,
                           "policy.classes[%zu]: expected low, normal, high or urgent", i);
        policy->classes |= 1u << class;
    }
    return 0;
}

static int read_windows(const json_t *list, struct site_policy *policy, struct err *err)
{
    size_t i;
    json_t *item;

    if (!list)
        return 0;
    if (!json_is_array(list) || json_array_size(list) > POLICY_WINDOWS_MAX)
        return err_set(err, -EINVAL, "policy.windows: expected a list of at most %u",
                       POLICY_WINDOWS_MAX);
    json_array_foreach (list, i, item) {
        const json_t *from = json_array_get(item, 0), *until = json_array_get(item, 1);

        if (json_array_size(item) != 2 || !json_is_integer(from) || !json_is_integer(until) ||
            json_integer_value(from) < 0 || json_integer_value(until) < 0 ||
            json_integer_value(from) > UINT32_MAX || json_integer_value(until) > UINT32_MAX)
            return err_set(err, -EINVAL, "policy.windows[%zu]: expected [from, until] in minutes",
                           i);
        policy->windows[i].from_min = (uint32_t)json_integer_value(from);
        policy->windows[i].until_min = (uint32_t)json_integer_value(until);
    }
    policy->windows_count = (uint32_t)json_array_size(list);
    return 0;
}

static int read_contacts(const json_t *list, struct site_policy *policy, struct err *err)
{
    size_t i;
    json_t *item;

    if (!list)
        return 0;
    if (!json_is_array(list) || json_array_size(list) > POLICY_CONTACTS_MAX)
        return err_set(err, -EINVAL, "windows: expected a list of at most %u", POLICY_CONTACTS_MAX);
    json_array_foreach (list, i, item) {
        struct site_contact *contact = &policy->contacts[i];
        int64_t *const values[] = { &contact->from_ms, &contact->until_ms, &contact->period_ms };

        for (size_t v = 0; v < ARRAY_COUNT(values); v++) {
            if (json_array_size(item) != ARRAY_COUNT(values) ||
                !json_is_integer(json_array_get(item, v)))
                return err_set(err, -EINVAL, "windows[%zu]: expected [from, until, period]", i);
            *values[v] = json_integer_value(json_array_get(item, v));
        }
    }
    policy->contacts_count = (uint32_t)json_array_size(list);
    return 0;
}

static int read_number(const json_t *json, const char *key, int64_t *out, struct err *err)
{
    const json_t *value = json_object_get(json, key);

    if (!value)
        return 0;
    if (!json_is_integer(value))
        return err_set(err, -EINVAL, "policy: %s: expected a whole number", key);
    *out = json_integer_value(value);
    return 0;
}

static int read_own(const json_t *own, struct site_policy *policy, struct err *err)
{
    const char *tenant = json_string_value(json_object_get(own, "tenant"));
    int64_t ppm = 0;
    int rc;

    if (!own)
        return 0;
    rc = read_number(own, "ppm", &ppm, err);
    if (rc < 0)
        return rc;
    if (!tenant || strlen(tenant) >= sizeof(policy->own_tenant) || ppm < 0 || ppm > 1000000)
        return err_set(err, -EINVAL, "policy.own: expected tenant and ppm");
    memcpy(policy->own_tenant, tenant, strlen(tenant) + 1);
    policy->own_ppm = (uint32_t)ppm;
    return 0;
}

static int read_link(const json_t *link, struct site_policy *policy, struct err *err)
{
    int rc;

    if (link && !json_is_object(link))
        return err_set(err, -EINVAL, "policy.link: expected an object");
    rc = read_number(link, "egress_gb_micro", &policy->egress_gb_micro, err);
    if (rc == 0)
        rc = read_number(link, "ingress_gb_micro", &policy->ingress_gb_micro, err);
    return rc < 0 ? rc : read_number(link, "bytes_s", &policy->link_bytes_s, err);
}

int site_policy_parse_json(const json_t *json, struct site_policy *policy, struct err *err)
{
    const json_t *data = json_object_get(json, "data"), *floor = json_object_get(json, "floor");
    int rc = 0;

    site_policy_init(policy);
    if (json && !json_is_object(json))
        return err_set(err, -EINVAL, "policy: expected an object");
    if ((data && !json_is_object(data)) || (floor && !json_is_object(floor)))
        return err_set(err, -EINVAL, "policy: data and floor: expected objects");
    rc = read_names(json_object_get(json, "tenants"), "tenants", policy->tenants[0],
                    POLICY_TENANTS_MAX, MODEL_NAME_BYTES, &policy->tenants_told,
                    &policy->tenants_count, err);
    if (rc == 0)
        rc = read_classes(json_object_get(json, "classes"), policy, err);
    if (rc == 0)
        rc = read_names(json_object_get(json, "images"), "images", policy->images[0],
                        POLICY_IMAGES_MAX, REQUEST_IMAGE_BYTES, &policy->images_told,
                        &policy->images_count, err);
    if (rc == 0)
        rc = read_names(json_object_get(data, "come"), "data.come", policy->come[0],
                        POLICY_LABELS_MAX, MODEL_NAME_BYTES, &policy->come_told,
                        &policy->come_count, err);
    if (rc == 0)
        rc = read_names(json_object_get(data, "leave"), "data.leave", policy->leave[0],
                        POLICY_LABELS_MAX, MODEL_NAME_BYTES, &policy->leave_told,
                        &policy->leave_count, err);
    if (rc == 0)
        rc = read_names(json_object_get(data, "here"), "data.here", policy->here[0],
                        POLICY_LABELS_MAX, MODEL_NAME_BYTES, NULL, &policy->here_count, err);
    if (rc == 0)
        rc = read_windows(json_object_get(json, "windows"), policy, err);
    if (rc == 0)
        rc = read_contacts(json_object_get(json, "contacts"), policy, err);
    if (rc == 0)
        rc = read_number(floor, "cpu_hour_micro", &policy->cpu_hour_micro, err);
    if (rc == 0)
        rc = read_number(floor, "device_hour_micro", &policy->device_hour_micro, err);
    if (rc == 0)
        rc = read_number(json, "cap_watts", &policy->cap_watts, err);
    if (rc == 0)
        rc = read_own(json_object_get(json, "own"), policy, err);
    if (rc == 0)
        rc = read_link(json_object_get(json, "link"), policy, err);
    return rc < 0 ? rc : site_policy_check(policy, err);
}

static void put_names(json_t *to, const char *key, bool told, const char *list, uint32_t count,
                      size_t bytes)
{
    json_t *names;

    if (!told)
        return;
    names = json_array();
    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(names, json_string(list + i * bytes));
    json_object_set_new(to, key, names);
}

static void put_link(json_t *to, const struct site_policy *policy)
{
    json_t *link = json_object();

    if (policy->egress_gb_micro)
        json_object_set_new(link, "egress_gb_micro", json_integer(policy->egress_gb_micro));
    if (policy->ingress_gb_micro)
        json_object_set_new(link, "ingress_gb_micro", json_integer(policy->ingress_gb_micro));
    if (policy->link_bytes_s)
        json_object_set_new(link, "bytes_s", json_integer(policy->link_bytes_s));
    if (json_object_size(link))
        json_object_set(to, "link", link);
    json_decref(link);
}

static void put_rest(json_t *to, const struct site_policy *policy)
{
    json_t *floor = json_object(), *windows = json_array(), *contacts = json_array();

    for (uint32_t i = 0; i < policy->windows_count; i++)
        json_array_append_new(windows, json_pack("[I, I]", (json_int_t)policy->windows[i].from_min,
                                                 (json_int_t)policy->windows[i].until_min));
    for (uint32_t i = 0; i < policy->contacts_count; i++)
        json_array_append_new(contacts,
                              json_pack("[I, I, I]", (json_int_t)policy->contacts[i].from_ms,
                                        (json_int_t)policy->contacts[i].until_ms,
                                        (json_int_t)policy->contacts[i].period_ms));
    if (policy->cpu_hour_micro)
        json_object_set_new(floor, "cpu_hour_micro", json_integer(policy->cpu_hour_micro));
    if (policy->device_hour_micro)
        json_object_set_new(floor, "device_hour_micro", json_integer(policy->device_hour_micro));
    if (json_object_size(floor))
        json_object_set(to, "floor", floor);
    if (policy->windows_count)
        json_object_set(to, "windows", windows);
    if (policy->contacts_count)
        json_object_set(to, "contacts", contacts);
    json_decref(contacts);
    if (policy->cap_watts >= 0)
        json_object_set_new(to, "cap_watts", json_integer(policy->cap_watts));
    if (policy->own_tenant[0])
        json_object_set_new(to, "own",
                            json_pack("{s:s, s:I}", "tenant", policy->own_tenant, "ppm",
                                      (json_int_t)policy->own_ppm));
    put_link(to, policy);
    json_decref(floor);
    json_decref(windows);
}

json_t *site_policy_to_json(const struct site_policy *policy)
{
    json_t *to = json_object(), *data = json_object(), *classes = json_array();

    put_names(to, "tenants", policy->tenants_told, policy->tenants[0], policy->tenants_count,
              MODEL_NAME_BYTES);
    for (uint32_t i = 0; i < CLASS_COUNT; i++)
        if (policy->classes >> i & 1)
            json_array_append_new(classes, json_string(class_names[i]));
    if (policy->classes_told)
        json_object_set(to, "classes", classes);
    put_names(to, "images", policy->images_told, policy->images[0], policy->images_count,
              REQUEST_IMAGE_BYTES);
    put_names(data, "come", policy->come_told, policy->come[0], policy->come_count,
              MODEL_NAME_BYTES);
    put_names(data, "leave", policy->leave_told, policy->leave[0], policy->leave_count,
              MODEL_NAME_BYTES);
    put_names(data, "here", policy->here_count > 0, policy->here[0], policy->here_count,
              MODEL_NAME_BYTES);
    if (json_object_size(data))
        json_object_set(to, "data", data);
    put_rest(to, policy);
    json_decref(data);
    json_decref(classes);
    return to;
}

/* --- who is let in -------------------------------------------------------------------------- */

bool site_policy_has_label(const char (*list)[MODEL_NAME_BYTES], uint32_t count, const char *label)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(list[i], label) == 0)
            return true;
    return false;
}

static bool lets_image(const struct site_policy *policy, const char *image)
{
    for (uint32_t i = 0; i < policy->images_count; i++)
        if (fnmatch(policy->images[i], image, 0) == 0)
            return true;
    return !image[0] || !policy->images_told;
}

enum policy_bar site_policy_bar(const struct site_policy *policy, const struct request_access *ask,
                                const char **label_out)
{
    if (policy->tenants_told &&
        !site_policy_has_label(policy->tenants, policy->tenants_count, ask->tenant))
        return POLICY_BARS_TENANT;
    if (policy->classes_told &&
        (ask->job_class >= CLASS_COUNT || !(policy->classes >> ask->job_class & 1)))
        return POLICY_BARS_CLASS;
    if (!lets_image(policy, ask->image))
        return POLICY_BARS_IMAGE;
    for (uint32_t i = 0; i < ask->labels_count && policy->come_told; i++)
        if (!site_policy_has_label(policy->come, policy->come_count, ask->labels[i]) &&
            !site_policy_has_label(policy->here, policy->here_count, ask->labels[i])) {
            if (label_out)
                *label_out = ask->labels[i];
            return POLICY_BARS_COME;
        }
    if (policy->windows_count && ask->span_ms &&
        site_policy_next_start(policy, 0, ask->span_ms) == INT64_MAX)
        return POLICY_BARS_HOURS;
    return POLICY_LETS;
}

/* --- hours ---------------------------------------------------------------------------------- */

static int64_t floor_div(int64_t value, int64_t by)
{
    return value / by - (value % by < 0);
}

/* Ms since the last Monday 00:00 UTC. */
static int64_t in_week(int64_t time_ms)
{
    int64_t shifted = time_ms - (POLICY_WEEK_MIN - EPOCH_MIN) * MINUTE_MS;

    return shifted - floor_div(shifted, WEEK_MS) * WEEK_MS;
}

/* Of the windows open at `at_ms` of a week, how much longer the one that closes last is; 0: none
 * is.
 */
static int64_t open_for(const struct site_policy *policy, int64_t at_ms)
{
    int64_t most = 0;

    for (uint32_t i = 0; i < policy->windows_count; i++) {
        int64_t from_ms = policy->windows[i].from_min * MINUTE_MS;
        int64_t until_ms = policy->windows[i].until_min * MINUTE_MS;

        if (at_ms < from_ms)
            at_ms += WEEK_MS;
        if (at_ms < until_ms && until_ms - at_ms > most)
            most = until_ms - at_ms;
        if (at_ms >= WEEK_MS)
            at_ms -= WEEK_MS;
    }
    return most;
}

int64_t site_policy_open_until(const struct site_policy *policy, int64_t time_ms)
{
    int64_t until_ms = time_ms, more;

    if (!policy->windows_count)
        return INT64_MAX;
    /* Each window at most once, or it is open all week. */
    for (uint32_t i = 0; i <= policy->windows_count; i++) {
        more = open_for(policy, in_week(until_ms));
        if (!more)
            return until_ms > time_ms ? until_ms : -1;
        until_ms += more;
        if (until_ms - time_ms > 2 * WEEK_MS)
            break;
    }
    return INT64_MAX;
}

static bool may_start(const struct site_policy *policy, int64_t time_ms, int64_t span_ms)
{
    int64_t until_ms = site_policy_open_until(policy, time_ms);

    if (until_ms < 0 || until_ms == INT64_MAX)
        return until_ms > 0;
    return span_ms >= 0 && span_ms <= until_ms - time_ms + POLICY_SLACK_MS;
}

int64_t site_policy_next_start(const struct site_policy *policy, int64_t time_ms, int64_t span_ms)
{
    int64_t best_ms = INT64_MAX, at_ms = in_week(time_ms);

    if (!policy->windows_count || may_start(policy, time_ms, span_ms))
        return time_ms;
    for (uint32_t i = 0; i < policy->windows_count; i++) {
        int64_t wait_ms = policy->windows[i].from_min * MINUTE_MS - at_ms;
        int64_t start_ms = time_ms + (wait_ms < 0 ? wait_ms + WEEK_MS : wait_ms);

        if (start_ms < best_ms && may_start(policy, start_ms, span_ms))
            best_ms = start_ms;
    }
    return best_ms;
}

/* --- contact -------------------------------------------------------------------------------- */

/* Its beginning at or before `time_ms`; -1 = it has not begun yet. */
static int64_t last_begin(const struct site_contact *contact, int64_t time_ms)
{
    if (time_ms < contact->from_ms)
        return -1;
    return contact->period_ms ? time_ms - (time_ms - contact->from_ms) % contact->period_ms
                              : contact->from_ms;
}

int64_t site_policy_heard_until(const struct site_policy *policy, int64_t time_ms)
{
    int64_t most_ms = -1;

    for (uint32_t i = 0; i < policy->contacts_count; i++) {
        const struct site_contact *contact = &policy->contacts[i];
        int64_t begin_ms = last_begin(contact, time_ms);
        int64_t end_ms = begin_ms + contact->until_ms - contact->from_ms;

        if (begin_ms >= 0 && end_ms > time_ms && end_ms > most_ms)
            most_ms = end_ms;
    }
    return policy->contacts_count ? most_ms : INT64_MAX;
}

static int64_t next_begin(const struct site_policy *policy, int64_t after_ms)
{
    int64_t least_ms = INT64_MAX;

    for (uint32_t i = 0; i < policy->contacts_count; i++) {
        const struct site_contact *contact = &policy->contacts[i];
        int64_t begin_ms = contact->from_ms;

        if (begin_ms <= after_ms)
            begin_ms =
                contact->period_ms ? last_begin(contact, after_ms) + contact->period_ms : INT64_MAX;
        if (begin_ms < least_ms)
            least_ms = begin_ms;
    }
    return least_ms;
}

int64_t site_policy_next_contact(const struct site_policy *policy, int64_t time_ms)
{
    return site_policy_heard_until(policy, time_ms) > 0 ? time_ms : next_begin(policy, time_ms);
}

int64_t site_policy_heard_for(const struct site_policy *policy, int64_t time_ms, int64_t need_ms)
{
    for (uint32_t i = 0; i < POLICY_CONTACTS_TRIED; i++) {
        int64_t until_ms;

        time_ms = site_policy_next_contact(policy, time_ms);
        if (time_ms == INT64_MAX)
            return INT64_MAX;
        until_ms = site_policy_heard_until(policy, time_ms);
        if (until_ms - time_ms >= need_ms)
            return time_ms > INT64_MAX - need_ms ? INT64_MAX : time_ms + need_ms;
        need_ms -= until_ms - time_ms;
        time_ms = until_ms;
    }
    return INT64_MAX;
}

static int64_t next_hours(const struct site_policy *policy, int64_t time_ms)
{
    int64_t next_ms = site_policy_open_until(policy, time_ms), at_ms = in_week(time_ms);

    if (next_ms > 0)
        return next_ms;
    next_ms = INT64_MAX;
    for (uint32_t i = 0; i < policy->windows_count; i++) {
        int64_t wait_ms = policy->windows[i].from_min * MINUTE_MS - at_ms;

        if (wait_ms <= 0)
            wait_ms += WEEK_MS;
        if (time_ms + wait_ms < next_ms)
            next_ms = time_ms + wait_ms;
    }
    return next_ms;
}

int64_t site_policy_next_change(const struct site_policy *policy, int64_t time_ms)
{
    int64_t hours_ms = next_hours(policy, time_ms), contact_ms = next_begin(policy, time_ms);

    return hours_ms < contact_ms ? hours_ms : contact_ms;
}

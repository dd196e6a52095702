#include "agent/policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const class_names[] = {
    [CLASS_LOW] = "low",
    [CLASS_NORMAL] = "normal",
    [CLASS_HIGH] = "high",
    [CLASS_URGENT] = "urgent",
};

static int find_class(const char *name)
{
    for (int i = 0; i < CLASS_COUNT; i++)
        if (name && strcmp(class_names[i], name) == 0)
            return i;
    return -1;
}

static int read_tenants(const json_t *list, struct policy *policy, struct err *err)
{
    size_t i;
    json_t *item;

    if (!json_is_array(list) || json_array_size(list) > POLICY_TENANTS_MAX)
        return err_set(err, -EINVAL, "policy.tenants: expected a list of at most %u names",
                       POLICY_TENANTS_MAX);
    policy->tenants_told = true;
    policy->tenants = calloc(json_array_size(list) + 1, sizeof(*policy->tenants));
    if (!policy->tenants)
        return err_set(err, -ENOMEM, "policy: out of memory");
    json_array_foreach (list, i, item) {
        const char *name = json_string_value(item);

        if (!name || !*name || strlen(name) >= MODEL_NAME_BYTES)
            return err_set(err, -EINVAL, "policy.tenants[%zu]: expected a tenant's name", i);
        memcpy(policy->tenants[policy->tenants_count++], name, strlen(name) + 1);
    }
    return 0;
}

static int read_classes(const json_t *list, struct policy *policy, struct err *err)
{
    size_t i;
    json_t *item;

    if (!json_is_array(list))
        return err_set(err, -EINVAL, "policy.classes: expected a list");
    policy->classes_told = true;
    json_array_foreach (list, i, item) {
        int class = find_class(json_string_value(item));

        if (class < 0)
            return err_set(err, -EINVAL,
                           "policy.classes[%zu]: expected low, normal, high or urgent", i);
        policy->classes |= 1u << class;
    }
    return 0;
}

int policy_parse(const json_t *json, struct policy *policy_out, struct err *err)
{
    struct policy policy = { 0 };
    const json_t *tenants = json_object_get(json, "tenants");
    const json_t *classes = json_object_get(json, "classes");
    int rc = 0;

    if (json && !json_is_object(json))
        return err_set(err, -EINVAL, "policy: expected an object");
    if (tenants)
        rc = read_tenants(tenants, &policy, err);
    if (rc == 0 && classes)
        rc = read_classes(classes, &policy, err);
    if (rc < 0) {
        policy_fini(&policy);
        return rc;
    }
    *policy_out = policy;
    return 0;
}

void policy_fini(struct policy *policy)
{
    free(policy->tenants);
    memset(policy, 0, sizeof(*policy));
}

static bool has_tenant(const struct policy *policy, const char *tenant)
{
    for (uint32_t i = 0; i < policy->tenants_count; i++)
        if (strcmp(policy->tenants[i], tenant) == 0)
            return true;
    return false;
}

int policy_check(const struct policy *policy, const char *tenant, const char *spec_json,
                 struct err *err)
{
    json_t *spec;
    const char *name;
    int class;

    if (policy->tenants_told && !has_tenant(policy, tenant))
        return err_set(err, -EACCES, "refused by the owner's policy: tenant %s is not let in here",
                       tenant);
    if (!policy->classes_told)
        return 0;
    spec = json_loads(spec_json, 0, NULL);
    name = json_string_value(json_object_get(spec, "class"));
    class = name ? find_class(name) : CLASS_NORMAL; /* what a job is that does not say */
    json_decref(spec);
    if (!spec || class < 0 || !(policy->classes & 1u << class))
        return err_set(err, -EACCES,
                       "refused by the owner's policy: work of class %s is not let in here",
                       class < 0 ? "unknown" : class_names[class]);
    return 0;
}

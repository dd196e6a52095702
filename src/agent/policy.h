/* policy.h - what the owner of a site lets run there, held by the site itself: whatever the
 * controller orders, an attempt that the policy does not allow is refused here.
 *
 *     "policy": {"tenants": ["physics", "local"], "classes": ["normal", "high"]}
 *
 * A list that is not there allows all; an empty one allows none. */
#pragma once

#include "base/err.h"
#include "model/request.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define POLICY_TENANTS_MAX 256u

struct policy {
    bool tenants_told, classes_told;
    uint32_t tenants_count;
    char (*tenants)[MODEL_NAME_BYTES];
    unsigned classes; /* bits of enum job_class */
};

/* `json` NULL: all is allowed. -EINVAL and which key. */
int policy_parse(const json_t *json, struct policy *policy_out, struct err *err);
void policy_fini(struct policy *policy);
/* -EACCES: "refused by the owner's policy: ..." */
int policy_check(const struct policy *policy, const char *tenant, const char *spec_json,
                 struct err *err);

/* openapi_check.h - docs/openapi.yaml as a test reads it: which operations there are, and whether
 * an answer is as the document says. Stricter than JSON Schema: a key that is not documented is an
 * error unless the schema says additionalProperties. */
#pragma once

#include "base/err.h"

#include <jansson.h>

struct yaml_doc;
struct openapi {
    struct yaml_doc *doc;
    const json_t *root;
};

int openapi_load(struct openapi *openapi, struct err *err); /* the text built into the program */
void openapi_fini(struct openapi *openapi);
/* NULL = not documented. `method` in upper case. */
const json_t *openapi_operation(const struct openapi *openapi, const char *method,
                                const char *path);
/* -EINVAL and where it differs. `json` NULL = the answer was not JSON: then only that the status is
 * documented. */
int openapi_check_answer(const struct openapi *openapi, const char *method, const char *path,
                         int status, const json_t *json, struct err *err);

/* spec_schema.h - the JSON Schema (2020-12) of a job file, made of the same table of keys that the
 * reader uses. docs/job-file.schema.json is what this prints; a test compares them. */
#pragma once

#include <jansson.h>

/* New reference; NULL when memory is short. Keys stand in the order of the table. */
json_t *spec_schema_create(void);

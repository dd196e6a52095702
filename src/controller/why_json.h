/* why_json.h - places and changes as `why` and `plan` show them, in one form. */
#pragma once

#include "grid/grid.h"

#include <jansson.h>

json_t *why_places_to_json(const struct plan_candidate *places, uint32_t count);
json_t *why_choice_to_json(const struct why_choice *choice); /* null = not told */
json_t *why_changes_to_json(const struct why_more *more);

/* why_show.h - what would start a job sooner, as `why` and `plan` print it. */
#pragma once

#include <jansson.h>

/* `changes` as the API gives them; prints nothing when there are none. -errno: the terminal. */
int why_show_changes(const json_t *changes);

/* site_join.h - the actions of `mains site` on sites from elsewhere: token, show, drain, resume,
 * remove. */
#pragma once

#include "cli/cli.h"

#include <jansson.h>

extern const struct cli_option site_join_options[];
bool site_join_has(const char *action);
int site_join_run(const struct cli_args *args);
/* How its lease stands, as "ends in 40s"; "" = it keeps none. */
void site_print_lease(const json_t *site, char *out, size_t bytes);

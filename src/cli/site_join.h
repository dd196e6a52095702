/* site_join.h - the actions of `mains site` on sites from elsewhere: token, show, drain, resume,
 * remove. */
#pragma once

#include "cli/cli.h"

extern const struct cli_option site_join_options[];
bool site_join_has(const char *action);
int site_join_run(const struct cli_args *args);

/* join.h - what `mains join` (a site of a network) and `mains node join` (a node of a site) do
 * alike. */
#pragma once

#include "cli/cli.h"

extern const struct cli_option join_options[];

/* `token` NULL: what joined before is started again. The exit status. */
int join_run(const struct cli_args *args, const char *token, bool is_node);

/* site_owner.h - what a site's owner lets in, as `mains site show` prints it; `mains site limits`,
 * `cordon-node` and `uncordon-node`. */
#pragma once

#include "cli/cli.h"

#include <jansson.h>

extern const struct cli_option site_owner_options[];
bool site_owner_has(const char *action);
int site_owner_run(const struct cli_args *args);
/* The lines of a site's policy and limits; nothing where it has none. */
void site_owner_show(const json_t *site);

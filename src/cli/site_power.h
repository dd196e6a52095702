/* site_power.h - `mains site tariff` and `mains site shed`. */
#pragma once

#include "cli/cli.h"

int site_tariff_run(const struct cli_args *args);
int site_shed_run(const struct cli_args *args);

/* sim_show.h - the tables that `mains sim` prints. */
#pragma once

#include "sim/report.h"

/* 0 or -errno. */
int sim_show(const struct sim_report *report);

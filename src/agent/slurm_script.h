/* slurm_script.h - the two shell texts that run on a cluster's nodes. */
#pragma once

#include "agent/slurm_job.h"

extern const char slurm_rank_script[];

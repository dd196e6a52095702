/* site.h - what this site tells the network of itself: names, tariff, and the node it is.
 *
 * `state`/site.yaml, or site.json, when its owner wrote one, holds any of: policy (policy.h), name,
 * owner, region, domains (rack and supernode: what this node is part of), and tariff with the keys
 * of the API; executor ("local", "slurm", "kubernetes"), slurm with partition (names, commas
 * between), account, qos, reservation, bin_dir, and kubernetes (kube_settings.h). What it leaves
 * out is assumed, and said to be (carbon_assumed, price_assumed). */
#pragma once

#include "agent/agent.h"
#include "agent/discover.h"
#include "agent/policy.h"
#include "agent/pricing.h"
#include "agent/executor.h"
#include "agent/kube_settings.h"
#include "agent/slurm_job.h"
#include "model/chip.h"

struct site {
    struct site_info info;
    struct catalogue *catalogue;
    struct discover_config discover;
    struct site_policy policy; /* the owner's, held here */
    struct pricing_config pricing;
    int64_t link_rate_bytes; /* a second, of files to and from the network; 0 = without limit */
};

#define SITE_OWNER "local" /* when nobody says whose it is */
#define SITE_FILE_BYTES_MAX (1u << 20)
#define SITE_CARBON_G_PER_KWH_MILLI 473000 /* world average of 2024 (Ember) */
#define SITE_POWER_PRICE_MICRO 150000      /* 0.15 a kWh */
#define SITE_CPU_PRICE_MICRO 10000         /* 0.01 a CPU-hour */
#define SITE_DEVICE_PRICE_MICRO 1000000    /* 1 a device-hour */

/* Which engine runs jobs here, and its settings; before any part of the agent. `kube_out` is the
 * caller's to fini. */
int site_choose_executor(const struct agent_config *config, const struct executor_ops **ops_out,
                         struct slurm_settings *slurm_out, struct kube_settings *kube_out,
                         struct err *err);
/* Looks the machine over (blocks, see discover.h), or asks the engine what it has. */
int site_open(const struct agent_config *config, struct executor *executor, struct site *site_out,
              struct err *err);
/* Ask the engine again. 1: it is not what it was. */
int site_refresh(struct site *site, struct executor *executor, struct err *err);
/* Read the policy again: it was edited, or its time zone has another offset. 1: it is another. What
 * cannot be read changes nothing. */
int site_reload_policy(const struct agent_config *config, struct site *site, struct err *err);
void site_close(struct site *site);

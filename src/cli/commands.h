/* commands.h - every command, one cmd_NAME.c each (see cli.h). */
#pragma once

#include "cli/cli.h"
#include "cli/term.h"

extern const struct cli_command cmd_agent, cmd_artifacts, cmd_cancel, cmd_completion,
    cmd_controller, cmd_devices, cmd_doctor, cmd_down, cmd_events, cmd_help, cmd_history, cmd_join,
    cmd_journal, cmd_leave, cmd_logs, cmd_node, cmd_nodes, cmd_outputs, cmd_plan, cmd_policy,
    cmd_plot, cmd_ps, cmd_rerun, cmd_run, cmd_show, cmd_sim, cmd_site, cmd_sites, cmd_submit,
    cmd_tenant, cmd_token, cmd_up, cmd_usage, cmd_ledger, cmd_rates, cmd_version, cmd_wait, cmd_why,
    cmd_move, cmd_resize;

/* The options of `run`, `submit` and `plan` that describe a job: see job_file.h. */
extern const struct cli_option job_options[];

/* The agent of a site over several machines: what its nodes say, for the network (nodes.h). */
#include "agent/agent_internal.h"
#include "agent/labels.h"
#include "agent/nodes.h"

#include <stdio.h>
#include <string.h>

bool agent_has_nodes(const struct agent *agent)
{
    return agent->executor->ops == &executor_nodes_ops;
}

static void fill(struct agent *agent)
{
    struct site_info *info = &agent->site.info;

    info->nodes_count = 1 + nodes_fill(agent->executor, &info->nodes[1], NODES_MAX);
}

static void on_changed(void *context)
{
    struct agent *agent = context;

    fill(agent);
    agent_tell_inventory(agent);
}

static void on_node_state(void *context, const char *node, bool cordoned, const char *reason)
{
    struct agent *agent = context;
    struct wire_report report = { .type = REPORT_NODE, .device = -1, .cordoned = cordoned };

    snprintf(report.node, sizeof(report.node), "%s", node);
    snprintf(report.reason, sizeof(report.reason), "%s", reason);
    session_report(agent->session, &report);
    session_flush(agent->session);
}

/* A note that cannot be read lets nothing go. */
static bool on_stays(void *context, struct attempt_key key)
{
    struct agent *agent = context;
    struct labels labels;

    return labels_recall(agent->agent_dir, key, &labels) < 0 ||
           labels_kept(&labels, &agent->site.policy) != NULL;
}

static void on_meter(void *context, struct attempt_record *record, bool ended)
{
    struct agent *agent = context;

    meter_read(agent->meter, record, ended);
}

int agent_open_nodes(struct agent *agent, struct err *err)
{
    struct nodes_config config = { .loop = &agent->loop,
                                   .address = agent->config->nodes_address,
                                   .port = agent->config->nodes_port,
                                   .site = agent->site.info.name,
                                   .node = agent->site.info.nodes[0].name,
                                   .lease = &agent->lease,
                                   .link = agent_link,
                                   .changed = on_changed,
                                   .node_state = on_node_state,
                                   .stays = on_stays,
                                   .meter = on_meter,
                                   .context = agent };
    int rc;

    if (!agent_has_nodes(agent))
        return 0;
    rc = nodes_begin(agent->executor, &config, err);
    if (rc == 0)
        fill(agent); /* those that are known, heard or not */
    return rc;
}

#include "agent/site.h"

#include "agent/nodes.h"
#include "agent/tunnel.h"
#include "base/clock.h"
#include "base/file.h"
#include "model/units.h"
#include "model/yaml.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The tariff that is assumed, key by key, under what the owner wrote. */
static int assume_tariff(json_t *root)
{
    json_t *told = json_object_get(root, "tariff");
    bool carbon_told = json_object_get(told, "carbon_g_per_kwh_milli") != NULL;
    bool price_told = json_object_get(told, "cpu_price_micro_per_hour") != NULL ||
                      json_object_get(told, "device_price_micro_per_hour") != NULL;
    json_t *tariff = json_pack(
        "{s:i,s:i,s:i,s:i,s:s,s:b,s:b}", "carbon_g_per_kwh_milli", SITE_CARBON_G_PER_KWH_MILLI,
        "power_price_micro_per_kwh", SITE_POWER_PRICE_MICRO, "cpu_price_micro_per_hour",
        SITE_CPU_PRICE_MICRO, "device_price_micro_per_hour", SITE_DEVICE_PRICE_MICRO, "currency",
        "USD", "carbon_assumed", !carbon_told, "price_assumed", !price_told);

    if (!tariff || (json_is_object(told) && json_object_update(tariff, told) < 0) ||
        (told && !json_is_object(told) ? json_object_set(root, "tariff", told)
                                       : json_object_set(root, "tariff", tariff)) < 0) {
        json_decref(tariff);
        return -ENOMEM;
    }
    json_decref(tariff);
    return 0;
}

/* A key that is misspelt would be a tariff that is not applied. */
static int check_keys(const char *path, json_t *root, struct err *err)
{
    static const char known[] =
        "|name|owner|region|address|link_rate|windows|policy|policy.tenants|policy.classes|policy."
        "images|"
        "policy."
        "data|"
        "policy.hours|policy.zone|policy.floor|policy.power_cap|policy.own|policy.link|"
        "link.rate|link.egress|link.ingress|"
        "data.come|data.leave|data.here|floor.cpu_hour|floor.device_hour|own.tenant|own.share|"
        "executor|kubernetes|slurm|slurm.partition|"
        "slurm.account|"
        "slurm.qos|slurm.reservation|slurm.bin_dir|slurm.guard|domains|domains.rack|domains."
        "supernode|"
        "tariff|tariff.carbon_g_per_kwh_milli|"
        "tariff.power_price_micro_per_kwh|tariff.cpu_price_micro_per_hour|"
        "tariff.device_price_micro_per_hour|tariff.currency|tariff.series|tariff.url|"
        "tariff.every|";
    static const char *const prefixes[] = { "",      "tariff.", "domains.", "slurm.", "policy.",
                                            "data.", "floor.",  "own.",     "link." };
    json_t *policy = json_object_get(root, "policy");
    json_t *objects[] = { root,
                          json_object_get(root, "tariff"),
                          json_object_get(root, "domains"),
                          json_object_get(root, "slurm"),
                          policy,
                          json_object_get(policy, "data"),
                          json_object_get(policy, "floor"),
                          json_object_get(policy, "own"),
                          json_object_get(policy, "link") };

    for (size_t i = 0; i < ARRAY_COUNT(objects); i++) {
        const char *key;
        json_t *value;

        json_object_foreach (objects[i], key, value) {
            char word[80];
            int len = snprintf(word, sizeof(word), "|%s%s|", prefixes[i], key);

            (void)value;
            if (len >= (int)sizeof(word) || !strstr(known, word))
                return err_set(err, -EINVAL, "%s: %s%.60s: unknown key", path, prefixes[i], key);
        }
    }
    return 0;
}

/* The rack and the supernode that this node is part of. */
static int read_domains(const json_t *root, struct node_info *node, struct err *err)
{
    const json_t *domains = json_object_get(root, "domains");
    const struct {
        const char *key;
        char *out;
    } labels[] = { { "rack", node->rack }, { "supernode", node->supernode } };

    if (domains && !json_is_object(domains))
        return err_set(err, -EINVAL, "domains: expected an object with rack, supernode");
    for (size_t i = 0; domains && i < ARRAY_COUNT(labels); i++) {
        const json_t *value = json_object_get(domains, labels[i].key);
        const char *text = json_string_value(value);

        if (value && (!text || strlen(text) >= MODEL_NAME_BYTES))
            return err_set(err, -EINVAL, "domains.%s: expected a name of at most %u bytes",
                           labels[i].key, MODEL_NAME_BYTES - 1);
        if (text)
            memcpy(labels[i].out, text, strlen(text) + 1);
    }
    return 0;
}

static int read_link_rate(const json_t *root, int64_t *out, struct err *err)
{
    const json_t *rate = json_object_get(root, "link_rate");
    const char *text = json_string_value(rate);
    int rc;

    if (!rate)
        return 0;
    if (!text)
        return err_set(err, -EINVAL, "link_rate: expected a size such as \"20MiB\", a second");
    rc = units_parse_bytes(text, out, err);
    if (rc == 0 && *out < 1)
        rc = err_set(err, -EINVAL, "expected more than nothing");
    return rc < 0 ? err_prefix(err, rc, "link_rate") : 0;
}

/* site.yaml; -ENOENT when there is none. */
static int read_site_yaml(const struct agent_config *config, json_t **root_out, struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/site.yaml", config->state_dir);
    CLEANUP(buf_fini) struct buf text = buf_init(SITE_FILE_BYTES_MAX);
    CLEANUP(yaml_doc_destroyp) struct yaml_doc *doc = NULL;
    int rc = path ? file_read(path, &text, err) : err_set(err, -ENOMEM, "site: out of memory");

    if (rc == 0)
        rc = yaml_parse(path, text.data ? text.data : "", text.len, &doc, err);
    if (rc == 0 && !json_is_object(yaml_doc_root(doc)))
        rc = err_set(err, -EINVAL, "%s: expected a mapping", path);
    if (rc < 0)
        return rc;
    *root_out = json_deep_copy(yaml_doc_root(doc));
    if (!*root_out)
        return err_set(err, -ENOMEM, "site: out of memory");
    rc = check_keys(path, *root_out, err);
    if (rc < 0)
        json_decref(TAKE(*root_out));
    return rc;
}

static int read_site_file(const struct agent_config *config, json_t **root_out, struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/site.json", config->state_dir);
    CLEANUP(buf_fini) struct buf text = buf_init(SITE_FILE_BYTES_MAX);
    json_error_t error;
    json_t *root;
    int rc;

    if (!path)
        return err_set(err, -ENOMEM, "site: out of memory");
    rc = read_site_yaml(config, root_out, err);
    if (rc != -ENOENT)
        return rc;
    rc = file_read(path, &text, err);
    if (rc == -ENOENT) {
        *root_out = json_object();
        return *root_out ? 0 : err_set(err, -ENOMEM, "site: out of memory");
    }
    if (rc < 0)
        return rc;
    root = json_loadb(text.data ? text.data : "", text.len, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(root)) {
        json_decref(root);
        return err_set(err, -EINVAL, "%s:%d:%d: %s", path, root ? 1 : error.line,
                       root ? 1 : error.column, root ? "expected an object" : error.text);
    }
    rc = check_keys(path, root, err);
    if (rc < 0) {
        json_decref(root);
        return rc;
    }
    *root_out = root;
    return 0;
}

static int set_text(json_t *root, const char *key, const char *given, const char *fallback)
{
    if (!given && json_object_get(root, key))
        return 0;
    return json_object_set_new(root, key, json_string(given ? given : fallback));
}

static int take_setting(const json_t *object, const char *key, char *out, size_t out_bytes,
                        struct err *err)
{
    const json_t *value = json_object_get(object, key);
    const char *text = json_string_value(value);

    if (!value)
        return 0;
    if (!text || strlen(text) >= out_bytes)
        return err_set(err, -EINVAL, "site.json: slurm.%s: expected a short text", key);
    snprintf(out, out_bytes, "%s", text);
    return 0;
}

static int read_slurm(const json_t *root, struct slurm_settings *out, struct err *err)
{
    const json_t *told = json_object_get(root, "slurm"), *guard = json_object_get(told, "guard");
    const struct {
        const char *key;
        char *out;
        size_t bytes;
    } keys[] = {
        { "partition", out->partition, sizeof(out->partition) },
        { "account", out->account, sizeof(out->account) },
        { "qos", out->qos, sizeof(out->qos) },
        { "reservation", out->reservation, sizeof(out->reservation) },
        { "bin_dir", out->bin_dir, sizeof(out->bin_dir) },
    };
    int rc = 0;

    if (told && !json_is_object(told))
        return err_set(err, -EINVAL, "site.json: slurm: expected an object");
    for (size_t i = 0; rc == 0 && i < ARRAY_COUNT(keys); i++)
        rc = take_setting(told, keys[i].key, keys[i].out, keys[i].bytes, err);
    if (rc == 0 && guard && !json_is_boolean(guard))
        rc = err_set(err, -EINVAL, "site.json: slurm.guard: expected true or false");
    out->unguarded = json_is_false(guard);
    return rc;
}

/* Or has: what was begun over them is to be ended in order. */
static bool takes_nodes(const struct agent_config *config)
{
    CLEANUP(freep) char *path = path_format("%s/agent/nodes/attempts", config->state_dir);

    return config->nodes_address || (path && access(path, F_OK) == 0);
}

int site_choose_executor(const struct agent_config *config, const struct executor_ops **ops_out,
                         struct slurm_settings *slurm_out, struct kube_settings *kube_out,
                         struct err *err)
{
    const char *name = config->executor;
    json_t *root = NULL;
    int rc = read_site_file(config, &root, err);

    memset(slurm_out, 0, sizeof(*slurm_out));
    memset(kube_out, 0, sizeof(*kube_out));
    if (rc < 0)
        return rc;
    if (!name)
        name = json_string_value(json_object_get(root, "executor"));
    if (!name || strcmp(name, "local") == 0)
        *ops_out = takes_nodes(config) ? &executor_nodes_ops : &executor_local_ops;
    else if (config->nodes_address)
        rc = err_set(err, -EINVAL, "--nodes-listen: executor %.40s knows its nodes itself", name);
    else if (strcmp(name, "slurm") == 0)
        *ops_out = &executor_slurm_ops;
    else if (strcmp(name, "kubernetes") == 0)
        *ops_out = &executor_kubernetes_ops;
    else if (strcmp(name, "sim") == 0)
        *ops_out = &executor_sim_ops;
    else
        rc = err_set(err, -EINVAL, "executor: %.40s: expected local, slurm, kubernetes or sim",
                     name);
    if (rc == 0)
        rc = read_slurm(root, slurm_out, err);
    if (rc == 0 && kube_settings_parse(json_object_get(root, "kubernetes"), kube_out, err) < 0)
        rc = err_prefix(err, -EINVAL, "site.json");
    json_decref(root);
    return rc;
}

int site_refresh(struct site *site, struct executor *executor, struct err *err)
{
    struct node_info *nodes = NULL;
    uint32_t count = 0;
    bool same;
    int rc = executor->ops->discover(executor, site->catalogue, &nodes, &count, err);

    if (rc < 0)
        return rc;
    same = count == site->info.nodes_count;
    for (uint32_t i = 0; same && i < count; i++)
        same = node_info_is_equal(&nodes[i], &site->info.nodes[i]);
    free(site->info.nodes);
    site->info.nodes = nodes;
    site->info.nodes_count = count;
    return same ? 0 : 1;
}

static int read_policy(const struct agent_config *config, const json_t *root,
                       struct site_policy *out, struct err *err)
{
    const char *owner = json_string_value(json_object_get(root, "owner"));
    struct site_policy policy;
    int rc;

    if (config->owner || !owner)
        owner = config->owner ? config->owner : SITE_OWNER;
    rc = policy_parse(json_object_get(root, "policy"), owner, clock_wall_ms(), &policy, err);
    if (rc == 0)
        rc = policy_add_contacts(&policy, json_object_get(root, "windows"), err);
    if (rc == 0)
        *out = policy;
    return rc;
}

int site_reload_policy(const struct agent_config *config, struct site *site, struct err *err)
{
    struct site_policy policy;
    json_t *root = NULL;
    int rc = read_site_file(config, &root, err);

    if (rc == 0)
        rc = read_policy(config, root, &policy, err);
    json_decref(root);
    if (rc < 0)
        return rc;
    if (site_policy_is_equal(&policy, &site->policy))
        return 0;
    site->policy = policy;
    return 1;
}

static void describe_engine(const struct agent_config *config, const struct executor_ops *ops,
                            struct site_info *info)
{
    /* A cluster keeps jobs apart itself, or nobody does. */
    info->sandbox_optional = config->allow_no_sandbox || config->sandbox_off || ops->discover;
    info->one_kind = ops->one_kind;
    info->tunnels = ops->tunnels;
    info->suspends = ops->suspend != NULL;
    info->images = ops->images;
}

/* For its nodes: where others come and go, this machine's stays where it is. */
static struct node_info *make_room(const struct executor *executor)
{
    return calloc(executor->ops == &executor_nodes_ops ? 1 + NODES_MAX : 1,
                  sizeof(struct node_info));
}

/* Where other sites reach this one's agent. */
static int check_address(const struct site_info *info, struct err *err)
{
    if (!info->address[0] || tunnel_address_is_valid(info->address))
        return 0;
    return err_set(err, -EINVAL, "address: expected one as 192.0.2.7:7800, not \"%s\"",
                   info->address);
}

int site_open(const struct agent_config *config, struct executor *executor, struct site *site_out,
              struct err *err)
{
    CLEANUP(freep) char *chips = path_format("%s/chips.csv", config->state_dir);
    CLEANUP(buf_fini) struct buf probe = buf_init(16u << 20);
    struct site site = { 0 };
    struct node_info *node = make_room(executor);
    json_t *root = NULL;
    int rc;

    if (!node || !chips) {
        free(node);
        return err_set(err, -ENOMEM, "site: out of memory");
    }
    rc = catalogue_load(file_read(chips, &probe, NULL) == 0 ? chips : NULL, &site.catalogue, err);
    if (rc == 0) {
        site.discover = (struct discover_config){ .name = config->node,
                                                  .disk_path = config->state_dir,
                                                  .catalogue = site.catalogue,
                                                  .opencl = !executor->ops->discover };
        if (!executor->ops->is_elsewhere)
            rc = discover_node(&site.discover, node, NULL, err);
        if (config->cpus_lent)
            node->cpus = config->cpus_lent;
        if (config->memory_lent_bytes)
            node->memory_bytes = config->memory_lent_bytes;
        site.discover.opencl = false; /* it forks: no later look, from a thread, may do it */
    }
    if (rc == 0)
        rc = read_site_file(config, &root, err);
    if (rc == 0)
        rc = read_policy(config, root, &site.policy, err);
    if (rc == 0)
        rc = pricing_config_parse(json_object_get(root, "tariff"), &site.pricing, err);
    if (rc == 0)
        rc = read_domains(root, node, err);
    if (rc == 0)
        rc = read_link_rate(root, &site.link_rate_bytes, err);
    if (rc == 0 && (set_text(root, "name", config->site, node->name) < 0 ||
                    set_text(root, "owner", config->owner, SITE_OWNER) < 0 ||
                    set_text(root, "region", config->region, "") < 0 || assume_tariff(root) < 0 ||
                    json_object_set_new(root, "nodes", json_array()) < 0))
        rc = err_set(err, -ENOMEM, "site: out of memory");
    if (rc == 0)
        rc = site_info_parse_json(root, &site.info, err);
    if (rc == 0)
        rc = check_address(&site.info, err);
    if (rc < 0 && root)
        err_prefix(err, rc, "%s/site.yaml or .json", config->state_dir);
    json_decref(root);
    if (rc < 0) {
        free(node);
        site_close(&site);
        return rc;
    }
    free(site.info.nodes);
    site.info.nodes = node;
    site.info.nodes_count = 1;
    describe_engine(config, executor->ops, &site.info);
    if (executor->ops->discover) {
        rc = site_refresh(&site, executor, err);
        if (rc < 0) {
            site_close(&site);
            return rc;
        }
    }
    *site_out = site;
    return 0;
}

void site_close(struct site *site)
{
    site_info_fini(&site->info);
    catalogue_destroy(site->catalogue);
    site->catalogue = NULL;
}

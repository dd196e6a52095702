/* GET /usage, the tokens, and what the controller says of itself. */
#include "controller/history_call.h"

#include "controller/job_json.h"
#include "controller/metrics.h"
#include "controller/openapi.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define USAGE_ROWS_MAX 10000u

/* --- usage --------------------------------------------------------------------------------------
 */

struct usage_call {
    struct history_call base;
    struct usage_filter filter;
    char tenant[MODEL_NAME_BYTES];
    const char *group_name;
    struct usage_row total;
};

static const struct {
    const char *name;
    enum usage_group group;
} groups[] = {
    { "tenant", GROUP_TENANT }, { "job", GROUP_JOB },   { "day", GROUP_DAY },
    { "chip", GROUP_CHIP },     { "user", GROUP_USER }, { "site", GROUP_SITE },
};

static json_t *usage_row_to_json(const struct usage_row *row)
{
    json_t *json = json_pack("{s:s?, s:s?, s:I, s:I, s:I}", "key", row->key, "name", row->name,
                             "jobs", (json_int_t)row->jobs, "attempts", (json_int_t)row->attempts,
                             "attempts_measured", (json_int_t)row->measured);

    json_object_set_new(json, "usage", usage_to_json(&row->usage));
    return json;
}

static int add_usage(void *context, const struct usage_row *row)
{
    struct usage_call *usage = context;
    struct usage *sum = &usage->total.usage;

    usage->total.attempts += row->attempts;
    usage->total.jobs += row->jobs;
    usage->total.measured += row->measured;
    sum->wall_ms += row->usage.wall_ms;
    sum->cpu_ms += row->usage.cpu_ms;
    sum->cpu_held_ms += row->usage.cpu_held_ms;
    sum->device_milli_ms += row->usage.device_milli_ms;
    sum->memory_peak_bytes = MAX(sum->memory_peak_bytes, row->usage.memory_peak_bytes);
    sum->energy_mj += row->usage.energy_mj;
    sum->carbon_ug += row->usage.carbon_ug;
    sum->price_micro += row->usage.price_micro;
    json_array_append_new(usage->base.rows, usage_row_to_json(row));
    return 0;
}

static const char *currency(struct controller *controller)
{
    bool reachable;
    const struct grid *grid = shell_grid(controller->shell);
    const struct site_info *site =
        grid_site_count(grid) ? grid_site_get(grid, 0, &reachable) : NULL;

    return site && site->tariff.currency[0] ? site->tariff.currency : "EUR";
}

static int ask_usage(struct history_call *self, struct history_db *db, json_t **json_out,
                     struct err *err)
{
    struct usage_call *usage = CONTAINER_OF(self, struct usage_call, base);
    int rc;

    usage->filter.tenant = usage->tenant[0] ? usage->tenant : NULL;
    rc = history_db_usage(db, &usage->filter, add_usage, usage, err);
    usage->total.usage.energy_measured =
        usage->total.attempts && usage->total.measured == usage->total.attempts;
    if (rc == 0)
        *json_out = json_pack("{s:s, s:s, s:O, s:o}", "group_by", usage->group_name, "currency",
                              currency(self->call->controller), "rows", self->rows, "total",
                              usage_row_to_json(&usage->total));
    return rc;
}

void api_usage(struct api_call *call)
{
    struct usage_call taken = { .base.ask = ask_usage,
                                .filter = { .group = GROUP_TENANT, .limit = USAGE_ROWS_MAX } };
    const char *tenant = http_request_query(call->request, "tenant");
    const char *group = http_request_query(call->request, "group_by");
    bool known = !group;

    taken.group_name = group ? group : "tenant";
    if (!api_query_time(call, "since", &taken.filter.since_ms) ||
        !api_query_time(call, "until", &taken.filter.until_ms))
        return;
    for (size_t i = 0; i < ARRAY_COUNT(groups) && !known; i++)
        if (!strcmp(groups[i].name, group)) {
            taken.filter.group = groups[i].group;
            taken.group_name = groups[i].name;
            known = true;
        }
    if (!known) {
        api_error(call, 400, "invalid", "group_by",
                  "group_by: expected tenant, user, job, day, chip or site");
        return;
    }
    if (api_tenant_only(call)) {
        if (tenant && strcmp(tenant, call->who.tenant) != 0) {
            api_error(call, 403, "forbidden", "tenant", "tenant: you may see your own usage only");
            return;
        }
        tenant = call->who.tenant;
    }
    snprintf(taken.tenant, sizeof(taken.tenant), "%s", tenant ? tenant : "");
    history_call_begin(call, &taken.base, sizeof(taken));
}

/* --- tokens -------------------------------------------------------------------------------------
 */

static json_t *token_to_json(const struct token_entry *entry)
{
    const struct principal *who = &entry->principal;

    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:s}", "id", who->id, "role",
                     role_name(who->role), "tenant", who->tenant, "user", who->user, "unix_uid",
                     who->unix_uid < 0 ? json_null() : json_integer(who->unix_uid), "unix_gid",
                     who->unix_gid < 0 ? json_null() : json_integer(who->unix_gid), "created_at",
                     time_to_json(entry->created_ms), "revoked_at", time_to_json(entry->revoked_ms),
                     "note", entry->note);
}

void api_tokens_list(struct api_call *call)
{
    const struct auth *auth = call->controller->auth;
    json_t *list = json_array();

    for (uint32_t i = 0; i < auth_count(auth); i++)
        json_array_append_new(list, token_to_json(auth_get(auth, i)));
    api_reply_json(call, 200, json_pack("{s:o}", "tokens", list));
}

/* false: answered. */
static bool read_token(struct api_call *call, json_t *body, struct principal *wanted,
                       const char **note_out)
{
    const char *role = NULL, *tenant = "", *user = "", *key;
    json_int_t uid = -1, gid = -1;
    json_error_t where;
    json_t *value;

    *note_out = "";
    json_object_foreach (body, key, value) {
        bool number = !strcmp(key, "unix_uid") || !strcmp(key, "unix_gid");

        if (!strstr("|role|tenant|user|unix_uid|unix_gid|note|", key) || strchr(key, '|')) {
            api_error(call, 400, "invalid", key,
                      "%s: unknown key; expected role, tenant, user, unix_uid, unix_gid, note",
                      key);
            return false;
        }
        /* Not the last: (uid_t)-1 means "leave it as it is" to the system. */
        if (number ? !json_is_integer(value) || json_integer_value(value) < 0 ||
                         json_integer_value(value) > INT32_MAX
                   : !json_is_string(value)) {
            api_error(call, 400, "invalid", key, "%s: expected %s", key,
                      number ? "a number from 0 to 2147483647" : "text");
            return false;
        }
    }
    if (json_unpack_ex(body, &where, 0, "{s?s, s?s, s?s, s?I, s?I, s?s}", "role", &role, "tenant",
                       &tenant, "user", &user, "unix_uid", &uid, "unix_gid", &gid, "note",
                       note_out) < 0) {
        api_error(call, 400, "invalid", NULL, "%s", where.text);
        return false;
    }
    if (!role || role_find(role, &wanted->role) < 0) {
        api_error(call, 400, "invalid", "role",
                  "role: expected admin, operator, tenant or site%s%s%s", role ? ", not \"" : "",
                  role ? role : "", role ? "\"" : "");
        return false;
    }
    if (wanted->role != ROLE_SITE && !*tenant)
        tenant = wanted->role == ROLE_TENANT ? "" : call->who.tenant;
    if (!api_is_name(tenant) && !(wanted->role == ROLE_SITE && !*tenant)) {
        api_error(call, 400, "invalid", "tenant",
                  "tenant: expected a name of letters, digits, '.', '_' and '-'");
        return false;
    }
    if (!*user)
        user = wanted->role == ROLE_SITE ? "agent" : tenant;
    if (!api_is_name(user)) {
        api_error(call, 400, "invalid", "user",
                  "user: expected a name of letters, digits, '.', '_' and '-'");
        return false;
    }
    if (strlen(*note_out) >= AUTH_NOTE_BYTES) {
        api_error(call, 400, "invalid", "note", "note: longer than %u bytes", AUTH_NOTE_BYTES - 1);
        return false;
    }
    wanted->unix_uid = uid;
    wanted->unix_gid = gid < 0 ? uid : gid;
    snprintf(wanted->tenant, sizeof(wanted->tenant), "%s", tenant);
    snprintf(wanted->user, sizeof(wanted->user), "%s", user);
    return true;
}

void api_tokens_create(struct api_call *call)
{
    CLEANUP(jsonp) json_t *body = api_body_json(call);
    struct principal wanted = { 0 };
    char text[TOKEN_TEXT_BYTES];
    struct token_entry entry;
    struct err err = { 0 };
    const char *note;
    json_t *json;
    int rc;

    if (!body || !read_token(call, body, &wanted, &note))
        return;
    rc = auth_add(call->controller->auth, &wanted, note, text, &entry, &err);
    if (rc < 0) {
        api_error(call, 503, "state_unwritable", NULL, "%s", err.text);
        return;
    }
    json = token_to_json(&entry);
    if (json)
        json_object_set_new(json, "token", json_string(text));
    explicit_bzero(text, sizeof(text));
    api_reply_json(call, 201, json);
}

void api_tokens_revoke(struct api_call *call)
{
    struct err err = { 0 };
    int rc = auth_revoke(call->controller->auth, call->params[0], &err);

    if (rc < 0 && rc != -ENOENT && rc != -EPERM)
        api_error(call, 503, "state_unwritable", NULL, "%s", err.text);
    else if (rc < 0)
        api_fail(call, rc, &err);
    else
        api_reply_json(call, 200, json_pack("{s:s, s:b}", "id", call->params[0], "revoked", 1));
}

/* --- of itself ----------------------------------------------------------------------------------
 */

void api_journal_status(struct api_call *call)
{
    const struct shell *shell = call->controller->shell;
    const char *reason;
    bool writable = shell_is_writable(shell, &reason);

    api_reply_json(call, 200,
                   json_pack("{s:I, s:I, s:b, s:s?, s:I, s:b}", "last_seq",
                             (json_int_t)shell_last_seq(shell), "durable_seq",
                             (json_int_t)shell_durable_seq(shell), "writable", writable, "reason",
                             writable ? NULL : reason, "history_seq",
                             (json_int_t)history_applied_seq(call->controller->history),
                             "history_writable", history_is_writable(call->controller->history)));
}

void api_version(struct api_call *call)
{
    api_reply_json(call, 200,
                   json_pack("{s:s, s:s, s:o}", "version", MAINS_VERSION, "api", "v1", "started_at",
                             time_to_json(call->controller->started_ms)));
}

void api_whoami(struct api_call *call)
{
    const struct principal *who = &call->who;

    api_reply_json(call, 200,
                   json_pack("{s:s, s:s, s:s, s:s, s:o}", "id", who->id, "role",
                             role_name(who->role), "tenant", who->tenant, "user", who->user,
                             "unix_uid",
                             who->unix_uid < 0 ? json_null() : json_integer(who->unix_uid)));
}

void api_openapi(struct api_call *call)
{
    api_reply_text(call, 200, "application/yaml", openapi_text, openapi_text_bytes, NULL, 0);
}

void api_metrics(struct api_call *call)
{
    const struct controller_config *config = &call->controller->config;
    struct buf text = buf_init(1u << 20);

    /* How busy a network is, is not for everybody who reaches the port from elsewhere. */
    if (!call->who.role && !config->metrics_open && config->address &&
        !http_address_is_loopback(config->address)) {
        api_error(call, 401, "unauthorized", NULL,
                  "the API listens beyond loopback: /metrics needs a token (or mains up "
                  "--metrics-open)");
        return;
    }
    metrics_print(call->controller, &text);
    api_reply_text(call, text.failed ? 500 : 200, "text/plain; version=0.0.4; charset=utf-8",
                   text.data ? text.data : "", text.len, NULL, 0);
    buf_fini(&text);
}

void api_healthz(struct api_call *call)
{
    api_reply_text(call, 200, "text/plain", "ok\n", 3, NULL, 0);
}

void api_readyz(struct api_call *call)
{
    const char *reason;

    if (!shell_is_writable(call->controller->shell, &reason))
        api_error(call, 503, "journal_unwritable", NULL, "the journal cannot be written: %s",
                  reason);
    else if (!call->controller->ready || call->controller->stopping)
        api_error(call, 503, "stopping", NULL, "the controller is starting or stopping");
    else
        api_reply_text(call, 200, "text/plain", "ready\n", 6, NULL, 0);
}

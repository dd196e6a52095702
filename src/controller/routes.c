#include "controller/api.h"
#include "controller/api_handlers.h"
#include "controller/changes.h"
#include "controller/relay.h"
#include "controller/session.h"
#include "controller/bridge.h"
#include "controller/waits.h"

#define V1 "/api/v1"
#define BODY_SPEC (1u << 20)
#define BODY_BATCH (16u << 20)
#define BODY_SMALL (16u << 10)
#define BODY_TARIFF (8u << 20) /* a year of quarter hours */
#define BODY_REPORTS (32u << 20)
#define BODY_MANIFEST (64u << 20)
#define BODY_CHUNKS (16u << 20) /* BUNDLE_BYTES_MAX */
#define BODY_NAMES (256u << 10)

const struct route api_routes[] = {
    { "POST", V1 "/jobs", ROLES_USERS, BODY_SPEC, api_jobs_submit },
    { "GET", V1 "/jobs", ROLES_USERS, 0, api_jobs_list },
    { "DELETE", V1 "/jobs", ROLES_USERS, 0, api_jobs_cancel },
    { "POST", V1 "/jobs/batch", ROLES_USERS, BODY_BATCH, api_jobs_batch },
    { "GET", V1 "/jobs/{id}", ROLES_USERS, 0, api_job_get },
    { "DELETE", V1 "/jobs/{id}", ROLES_USERS, 0, api_job_cancel },
    { "POST", V1 "/jobs/{id}/move", ROLES_USERS, BODY_SMALL, api_job_move },
    { "POST", V1 "/jobs/{id}/resize", ROLES_USERS, BODY_SMALL, api_job_resize },
    { "GET", V1 "/jobs/{id}/why", ROLES_USERS, 0, api_job_why },
    { "GET", V1 "/jobs/{id}/wait", ROLES_USERS, 0, waits_handle },
    { "GET", V1 "/jobs/{id}/logs", ROLES_USERS, 0, relays_handle },
    { "GET", V1 "/jobs/{id}/outputs", ROLES_USERS, 0, api_job_outputs },
    { "GET", V1 "/jobs/{id}/outputs/{path}", ROLES_USERS, 0, api_job_output },
    { "GET", V1 "/jobs/{id}/artifacts", ROLES_USERS, 0, api_job_artifacts },
    { "POST", V1 "/plan", ROLES_USERS, BODY_SPEC, api_plan },
    { "GET", V1 "/sites", ROLES_USERS, 0, api_sites_list },
    { "GET", V1 "/sites/{site}", ROLES_USERS, 0, api_site_get },
    { "DELETE", V1 "/sites/{site}", ROLE_ADMIN, 0, api_site_remove },
    { "POST", V1 "/sites/{site}/token", ROLE_ADMIN, BODY_SMALL, api_site_token },
    { "POST", V1 "/sites/{site}/drain", ROLES_OPERATORS, BODY_SMALL, api_site_drain },
    { "POST", V1 "/sites/{site}/resume", ROLES_OPERATORS, BODY_SMALL, api_site_resume },
    { "POST", V1 "/sites/{site}/forget", ROLES_OPERATORS, BODY_SMALL, api_site_forget },
    { "POST", V1 "/sites/{site}/readmit", ROLES_OPERATORS, BODY_SMALL, api_site_readmit },
    { "GET", V1 "/sites/{site}/tariff", ROLES_USERS, 0, api_site_tariff_get },
    { "PUT", V1 "/sites/{site}/tariff", ROLES_OPERATORS, BODY_TARIFF, api_site_tariff_set },
    { "DELETE", V1 "/sites/{site}/tariff", ROLES_OPERATORS, 0, api_site_tariff_clear },
    { "PUT", V1 "/sites/{site}/limits", ROLES_OPERATORS, BODY_SMALL, api_site_limits },
    { "POST", V1 "/sites/{site}/shed", ROLES_OPERATORS, BODY_SMALL, api_site_shed },
    { "DELETE", V1 "/sites/{site}/shed", ROLES_OPERATORS, 0, api_site_shed_end },
    { "GET", V1 "/nodes", ROLES_USERS, 0, api_nodes_list },
    { "GET", V1 "/devices", ROLES_USERS, 0, api_devices_list },
    { "POST", V1 "/nodes/{site}/{node}/cordon", ROLES_OPERATORS, BODY_SMALL, api_node_cordon },
    { "POST", V1 "/nodes/{site}/{node}/uncordon", ROLES_OPERATORS, BODY_SMALL, api_node_uncordon },
    { "GET", V1 "/tenants", ROLES_USERS, 0, api_tenants_list },
    { "GET", V1 "/tenants/{tenant}", ROLES_USERS, 0, api_tenant_get },
    { "PUT", V1 "/tenants/{tenant}", ROLES_OPERATORS, BODY_SMALL, api_tenant_set },
    { "GET", V1 "/rates", ROLES_USERS, 0, api_rates },
    { "PUT", V1 "/store/manifests", ROLES_ANY, BODY_MANIFEST, api_store_manifest_put },
    { "GET", V1 "/store/manifests/{manifest}", ROLES_ANY, 0, api_store_manifest_get },
    { "GET", V1 "/store/manifests/{manifest}/missing", ROLES_ANY, 0, api_store_manifest_missing },
    { "POST", V1 "/store/chunks", ROLES_ANY, BODY_CHUNKS, api_store_chunks_put },
    { "POST", V1 "/store/chunks/get", ROLES_ANY, BODY_NAMES, api_store_chunks_get },
    { "GET", V1 "/policy", ROLES_USERS, 0, api_policy_get },
    { "PUT", V1 "/policy", ROLES_OPERATORS, BODY_SMALL, api_policy_set },
    { "GET", V1 "/usage", ROLES_USERS, 0, api_usage },
    { "GET", V1 "/ledger/disputes", ROLES_USERS, 0, api_disputes },
    { "GET", V1 "/ledger/receipts", ROLES_USERS, 0, api_receipts },
    { "GET", V1 "/events", ROLES_USERS, 0, events_handle },
    { "GET", V1 "/journal/status", ROLES_OPERATORS, 0, api_journal_status },
    { "GET", V1 "/tokens", ROLE_ADMIN, 0, api_tokens_list },
    { "POST", V1 "/tokens", ROLE_ADMIN, BODY_SMALL, api_tokens_create },
    { "DELETE", V1 "/tokens/{id}", ROLE_ADMIN, 0, api_tokens_revoke },
    { "GET", V1 "/version", ROLES_ANY, 0, api_version },
    { "GET", V1 "/whoami", ROLES_ANY, 0, api_whoami },
    { "GET", V1 "/site-session", ROLE_SITE, 0, session_handle_stream },
    { "POST", V1 "/site-session/reports", ROLE_SITE, BODY_REPORTS, session_handle_reports },
    { "GET", V1 "/site-session/inputs", ROLE_SITE, 0, api_site_inputs },
    { "POST", V1 "/site-session/stored", ROLE_SITE, BODY_SMALL, api_site_stored },
    { "POST", V1 "/site-session/certificate", ROLE_SITE, BODY_SMALL, api_site_certificate },
    { "POST", V1 "/site-session/tunnels", ROLE_SITE, BODY_SMALL, bridges_handle_open },
    { "POST", V1 "/site-session/tunnels/{tunnel}", ROLE_SITE, BRIDGE_PIECE_BYTES_MAX,
      bridges_handle_put },
    { "GET", V1 "/site-session/tunnels/{tunnel}", ROLE_SITE, 0, bridges_handle_get },
    { "DELETE", V1 "/site-session/tunnels/{tunnel}", ROLE_SITE, 0, bridges_handle_close },
    { "POST", V1 "/join", 0, BODY_SMALL, api_join },
    { "GET", V1 "/openapi.yaml", 0, 0, api_openapi },
    { "GET", "/metrics", 0, 0, api_metrics },
    { "GET", "/healthz", 0, 0, api_healthz },
    { "GET", "/readyz", 0, 0, api_readyz },
    { 0 },
};

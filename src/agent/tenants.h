/* tenants.h - the private uid of each tenant that has none of its own.
 *
 * 61184 .. 65519, the range systemd keeps for such users. A tenant keeps its number for ever: the
 * numbers are kept in `agent`/tenants, one "number name" a line. */
#pragma once

#include "agent/identity.h"

#include <sys/types.h>

#define TENANT_UID_FIRST IDENTITY_PRIVATE_FIRST
#define TENANT_UID_LAST IDENTITY_PRIVATE_LAST

struct tenants;
int tenants_open(const char *agent_dir, struct tenants **tenants_out, struct err *err);
void tenants_close(struct tenants *tenants);
/* -ENOSPC: all numbers are taken. Durable before it is handed out. */
int tenants_find_uid(struct tenants *tenants, const char *tenant, uid_t *uid_out, struct err *err);

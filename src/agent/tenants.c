#include "agent/tenants.h"

#include "base/file.h"
#include "model/request.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uthash.h>

struct tenant {
    char name[MODEL_NAME_BYTES];
    uid_t uid;
    UT_hash_handle hh;
};
struct tenants {
    struct tenant *by_name;
    int fd;
    uid_t next;
};

static int add(struct tenants *tenants, const char *name, uid_t uid)
{
    struct tenant *tenant = calloc(1, sizeof(*tenant));

    if (!tenant)
        return -ENOMEM;
    snprintf(tenant->name, sizeof(tenant->name), "%s", name);
    tenant->uid = uid;
    HASH_ADD_STR(tenants->by_name, name, tenant);
    tenants->next = MAX(tenants->next, uid + 1);
    return 0;
}

static int load(struct tenants *tenants, const char *path, struct err *err)
{
    FILE *file = fopen(path, "re");
    char line[MODEL_NAME_BYTES + 32];
    int rc = 0;

    if (!file)
        return errno == ENOENT ? 0 : err_set(err, -errno, "%s: %s", path, strerror(errno));
    while (rc == 0 && fgets(line, sizeof(line), file)) {
        char *name;
        unsigned long uid = strtoul(line, &name, 10);

        if (*name != ' ' || !strchr(name, '\n') || uid < TENANT_UID_FIRST || uid > TENANT_UID_LAST)
            continue; /* a line that was cut short was handed to no one */
        name[strcspn(name, "\n")] = '\0';
        rc = add(tenants, name + 1, (uid_t)uid);
    }
    fclose(file);
    return rc < 0 ? err_set(err, rc, "%s: out of memory", path) : 0;
}

int tenants_open(const char *agent_dir, struct tenants **tenants_out, struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/tenants", agent_dir);
    struct tenants *tenants = calloc(1, sizeof(*tenants));
    int rc;

    if (!path || !tenants) {
        free(tenants);
        return err_set(err, -ENOMEM, "tenants: out of memory");
    }
    tenants->next = TENANT_UID_FIRST;
    tenants->fd = -1;
    rc = load(tenants, path, err);
    if (rc == 0) {
        tenants->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (tenants->fd < 0)
            rc = err_set(err, -errno, "%s: %s", path, strerror(errno));
    }
    if (rc < 0) {
        tenants_close(tenants);
        return rc;
    }
    *tenants_out = tenants;
    return 0;
}

void tenants_close(struct tenants *tenants)
{
    struct tenant *tenant, *next;

    if (!tenants)
        return;
    HASH_ITER (hh, tenants->by_name, tenant, next) {
        HASH_DEL(tenants->by_name, tenant);
        free(tenant);
    }
    if (tenants->fd >= 0)
        close(tenants->fd);
    free(tenants);
}

int tenants_find_uid(struct tenants *tenants, const char *name, uid_t *uid_out, struct err *err)
{
    struct tenant *tenant;
    char line[MODEL_NAME_BYTES + 32];
    int len, rc;

    HASH_FIND_STR(tenants->by_name, name, tenant);
    if (tenant) {
        *uid_out = tenant->uid;
        return 0;
    }
    if (tenants->next > TENANT_UID_LAST)
        return err_set(err, -ENOSPC, "tenant %s: no uid is left for it", name);
    /* The leading newline ends a line that a crash cut short. */
    len = snprintf(line, sizeof(line), "\n%u %s\n", tenants->next, name);
    if (write(tenants->fd, line, (size_t)len) != len || fsync(tenants->fd) < 0)
        return err_set(err, -EIO, "tenant %s: its uid could not be kept", name);
    *uid_out = tenants->next;
    rc = add(tenants, name, tenants->next);
    return rc < 0 ? err_set(err, rc, "tenant %s: out of memory", name) : 0;
}

#include "agent/identity.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CAPABILITIES_MAX 64

void identity_find(uid_t uid, gid_t gid, bool drop, struct identity *identity_out)
{
    struct identity identity = {
        .uid = uid, .gid = gid, .drop = drop, .strip = true, .name = "job"
    };
    struct passwd entry, *found = NULL;
    char text[4096];

    bool is_private = uid >= IDENTITY_PRIVATE_FIRST && uid <= IDENTITY_PRIVATE_LAST;

    if (!is_private && getpwuid_r(uid, &entry, text, sizeof(text), &found) == 0 && found) {
        snprintf(identity.name, sizeof(identity.name), "%s", found->pw_name);
        snprintf(identity.home, sizeof(identity.home), "%s", found->pw_dir);
        identity.groups_count = IDENTITY_GROUPS_MAX;
        if (drop && getgrouplist(found->pw_name, gid, identity.groups, &identity.groups_count) < 0)
            identity.groups_count = IDENTITY_GROUPS_MAX;
        if (!drop)
            identity.groups_count = 0;
    }
    *identity_out = identity;
}

static int drop_capabilities(void)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct none[2] = { 0 };

    if (syscall(SYS_capset, &head, none) < 0)
        return -errno;
    return 0;
}

int identity_become(const struct identity *identity)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    /* The bounding set first: that alone keeps a job of uid 0 from getting them back by exec. */
    for (int i = 0; identity->strip && i < CAPABILITIES_MAX; i++)
        if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
            break; /* the last there is, or no right to: then there is none to lose either */
    if (identity->drop && (setgroups((size_t)identity->groups_count, identity->groups) < 0 ||
                           setresgid(identity->gid, identity->gid, identity->gid) < 0 ||
                           setresuid(identity->uid, identity->uid, identity->uid) < 0))
        return -errno;
    return identity->strip ? drop_capabilities() : 0;
}

int identity_borrow(const struct identity *identity)
{
    int rc;

    if (!identity->drop)
        return 0;
    if (setgroups((size_t)identity->groups_count, identity->groups) < 0 ||
        setegid(identity->gid) < 0 || seteuid(identity->uid) < 0) {
        rc = -errno;
        identity_return(identity);
        return rc;
    }
    /* seteuid takes the effective capabilities along only when the uid is not 0. */
    return 0;
}

void identity_return(const struct identity *identity)
{
    if (!identity->drop)
        return;
    if (seteuid(0) < 0 || setegid(0) < 0 || setgroups(0, NULL) < 0)
        abort(); /* going on under a wrong identity is worse than losing the attempt */
}

/* identity.h - who a job runs as. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define IDENTITY_GROUPS_MAX 64
/* Uids that mains hands to tenants without one: systemd's dynamic range. Nobody has them in a
 * directory, so nobody is asked: that would cost more than a short job. */
#define IDENTITY_PRIVATE_FIRST 61184u
#define IDENTITY_PRIVATE_LAST 65519u

struct identity {
    uid_t uid;
    gid_t gid;
    bool drop;  /* change to them (we are root); else we are it already */
    bool strip; /* lose all capabilities too; always with `drop` */
    gid_t groups[IDENTITY_GROUPS_MAX];
    int groups_count;
    char name[64];  /* login name; "job" when the system knows none */
    char home[256]; /* of the system; "" when it knows none */
};

/* Look up name, home and groups. A uid the system does not know has no groups. */
void identity_find(uid_t uid, gid_t gid, bool drop, struct identity *identity_out);

/* Become it for good: no way back, no capability left, no_new_privs. Only system calls. -errno. */
int identity_become(const struct identity *identity);

/* Only for opening files in the job's name, and back. */
int identity_borrow(const struct identity *identity);
void identity_return(const struct identity *identity);

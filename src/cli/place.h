/* place.h - the state folder of the network on this machine, and who holds it. */
#pragma once

#include "cli/cli.h"

#include <sys/types.h>

/* malloc'd absolute path: --state, else $MAINS_STATE, else $XDG_STATE_HOME/mains, else
 * ~/.local/state/mains. -EINVAL when none of them is there. */
int place_find_state(const struct cli_args *args, char **path_out, struct err *err);

struct place_holder {
    pid_t pid; /* of `mains up` */
    int64_t since_ms;
};
/* Hold DIR/lock (made when absent) until the process ends or the descriptor is closed. It is not
 * handed to programs started by this one. -EBUSY: another holds it, `holder_out` says who. */
int place_lock(const char *state, int *fd_out, struct place_holder *holder_out, struct err *err);
/* Who holds the folder; -ENOENT when nobody does. */
int place_find_holder(const char *state, struct place_holder *holder_out);

struct place_endpoint {
    char url[256];
    char pin[64]; /* of its TLS key; "" = none: plain, or a certificate that others signed */
    pid_t pid;    /* of the controller */
};
/* DIR/endpoint.json. -ENOENT when it is not there, -EBADMSG when it is not of the form. */
int place_read_endpoint(const char *state, struct place_endpoint *endpoint_out, struct err *err);
/* A token file: one line, its blanks cut off. malloc'd. */
int place_read_token(const char *path, char **token_out, struct err *err);

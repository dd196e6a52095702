/* session_command.h - effects of the grid as commands of the wire. */
#pragma once

#include "base/buf.h"
#include "controller/auth.h"
#include "controller/seal.h"
#include "grid/grid.h"

/* Append one line for EFFECT_RUN, _STOP, _SUSPEND or _RESUME. -EBADMSG: the secrets cannot be
 * opened. */
int command_print_effect(const struct grid *grid, const struct auth *auth, const struct seal *seal,
                         const struct effect *effect, struct buf *out, struct err *err);

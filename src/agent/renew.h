/* renew.h - a joined site's certificate is renewed before it ends, for the same key. */
#pragma once

#include "base/cleanup.h"

#include <uv.h>

struct renewal;
/* NULL where this place did not join a network, or memory is short (said in the log). */
struct renewal *renewal_create(uv_loop_t *loop, const char *state_dir);
void renewal_destroy(struct renewal *renewal); /* freed once its handle is closed; NULL is fine */

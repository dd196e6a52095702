/* gang.h - the machines of an attempt that runs on several of them, as their supervisors learn of
 * them: a text behind the spec (attempt_order.gang_len).
 *
 *     [["n1","192.0.2.7",4],["n2","192.0.2.8",4]]        name, address, tasks; in rank order */
#pragma once

#include "agent/attempt.h"
#include "base/arena.h"
#include "model/rank_env.h"
#include "wire/wire.h"

#define GANG_BYTES_MAX (1u << 20)

/* Into `out`, which is empty: the spec with that text behind it; `order` says how long both are.
 * The spec may hold secrets: the caller clears it. -ENOSPC, -ENOMEM. */
int gang_print(const char *spec_json, const struct wire_part *parts, uint32_t parts_count,
               struct attempt_order *order, struct buf *out);
/* `count` nodes, in `arena`. -EBADMSG: it is not of so many, or not of this form. */
int gang_parse(const char *text, size_t len, uint32_t count, struct arena *arena,
               struct rank_node **nodes_out, struct err *err);

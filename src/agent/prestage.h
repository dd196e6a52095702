/* prestage.h - checkpoints of jobs that run elsewhere come here before they are needed: should such
 * a job be lost, it goes on here at once. Into the depot's store, held there for a day; nothing is
 * started, nothing is laid out, and what cannot be had is left. */
#pragma once

#include "agent/depot.h"
#include "wire/wire.h"

struct prestage;
struct prestage_config {
    struct depot *depot;
    const struct site_policy *policy; /* what may come */
    void (*link)(void *context, struct transfer_link *link_out);
    void *context;
};
int prestage_create(const struct prestage_config *config, struct prestage **prestage_out,
                    struct err *err);
/* What may not come here by the labels that the command names, or where its owner asks for labels
 * and it names none at all (a network of before), is refused and logged. The newest of a job
 * replaces the one before, also while that is on its way. */
void prestage_take(struct prestage *prestage, const struct wire_command *command);
/* After the depot was destroyed. */
void prestage_destroy(struct prestage *prestage);

/* waits.h - long polls: requests that are answered when a job, or all of an array, has ended. */
#pragma once

#include "controller/changes.h"

struct waits;
struct waits *waits_create(struct controller *controller);
void waits_destroy(struct waits *waits);
void waits_tell(struct waits *waits, const struct change *change);
void waits_handle(struct api_call *call); /* GET /jobs/{id}/wait */

/* event_fields.h - the table of every event's fields, told to the codecs. */
#pragma once

#include "grid/event.h"
#include "grid/fields.h"

/* The fields of `struct event` that an event of this type has (offsets from the event's start).
 * NULL: no such type. */
const struct fields *event_fields(unsigned type);

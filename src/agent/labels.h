/* labels.h - the labels of the data that an attempt works on, and what its owner's rules of export
 * mean for what it leaves (docs/owners.md).
 *
 * Data that is at home here and may not leave stays: neither checkpoints nor outputs nor logs of an
 * attempt that works on it go to the network, whoever asks. The labels of an attempt are in its
 * order, and are noted in agent_dir/labels/<job>.<epoch> before it begins, so that whoever asks for
 * a log later is held to them too. */
#pragma once

#include "agent/attempt.h"
#include "model/site_policy.h"

#include <jansson.h>

struct labels {
    uint32_t count;
    char names[REQUEST_LABELS_MAX][MODEL_NAME_BYTES];
};

/* `data` of a job's spec. -EINVAL: too many, or no names. */
int labels_of_spec(const json_t *spec, struct labels *out);
/* The first of them that is at home here and may not leave; NULL: all may. */
const char *labels_kept(const struct labels *labels, const struct site_policy *policy);
/* The first of them that may not come here; NULL: all may. */
const char *labels_barred(const struct labels *labels, const struct site_policy *policy);

/* Note those of an attempt; none are not noted. Fails rather than forget. */
int labels_note(const char *agent_dir, struct attempt_key key, const struct labels *labels,
                struct err *err);
/* Of an attempt that began here; none when nothing is noted. A note that cannot be read: -errno. */
int labels_recall(const char *agent_dir, struct attempt_key key, struct labels *out);
/* Notes of attempts whose folders are gone. Blocks. */
void labels_trim(const char *agent_dir);

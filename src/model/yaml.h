/* yaml.h - one YAML document as a JSON tree that knows where each value stands.
 *
 * YAML 1.2, core schema: true/false, whole and decimal numbers and null are typed, all else is
 * text (so `no` and 1:30 stay text). Refused, each with file:line:column: duplicate keys, keys that
 * are no plain text, several documents, tags but !!str, merge keys (<<), depth past
 * SPEC_DEPTH_MAX, more than YAML_VALUES_MAX values, bytes that are no UTF-8. An alias shares its
 * anchor's value (nothing is copied, so aliases of aliases cost nothing). */
#pragma once

#include "model/spec.h"

#define YAML_VALUES_MAX 200000u
#define YAML_ARENA_BYTES_MAX (64u << 20)

struct yaml_doc;

/* `file` names the text in messages and is borrowed, as is `text`, until yaml_doc_destroy.
 * -EINVAL, -E2BIG, -ENOMEM. */
int yaml_parse(const char *file, const char *text, size_t len, struct yaml_doc **doc_out,
               struct err *err);
void yaml_doc_destroy(struct yaml_doc *doc);
void yaml_doc_destroyp(struct yaml_doc **doc);
const json_t *yaml_doc_root(const struct yaml_doc *doc);
/* Good as long as the document. */
struct spec_locator yaml_doc_locator(const struct yaml_doc *doc);

/* receipts.h - signed receipts (model/receipt.h) as the commands read and check them, without
 * asking anybody. */
#pragma once

#include "base/err.h"
#include "net/ca.h"

#include <jansson.h>

/* Whose keys are known: pins; "" = not known. */
struct receipts_keys {
    char network[CA_PIN_BYTES], site[CA_PIN_BYTES];
    bool is_site; /* the state folder is that of a site that joined */
};
/* What the state folder knows: of a site, its own key and its network's; of a network, its own.
 * What is not there stays "". */
void receipts_find_keys(const char *state_dir, struct receipts_keys *keys);
/* What a network's state folder knows of one of its sites. "" = nothing. */
void receipts_find_site_key(const char *state_dir, const char *site, char pin_out[CA_PIN_BYTES]);

/* Those a site has kept, the newest first; `job` ("12", "12.3") and `limit` narrow it. New. */
int receipts_read_kept(const char *state_dir, const char *job, uint32_t limit, json_t **rows_out,
                       struct err *err);
/* A file of them: one, a list, or an object with a list "receipts". New reference to a list. */
int receipts_read_file(const char *path, json_t **rows_out, struct err *err);

/* Look at one, which may be of a file that anybody wrote: {"job", "epoch", "site",
 * "site_receipt": "holds", "site_key": PIN, "network_receipt": ..., "network_key": PIN,
 * "differences": [{"field", "site", "network"}], "why": [text, ...]}. `good_out`: both hold and say
 * the same. NULL: no memory. */
json_t *receipts_check(const json_t *row, const struct receipts_keys *keys, bool *good_out);

/* receipts.h - what the site signs of each attempt that ends here, and what the network signed of
 * it in return (model/receipt.h), kept for the site's owner.
 *
 * agent_dir/receipts/<job>.<epoch> holds both as JSON:
 *     {"job": "12", "epoch": 1, "site": "lab", "site_receipt": {...}, "network_receipt": {...}}
 * `mains ledger receipts` and `verify` read it without asking anybody. A place that did not join
 * (the network's own machine) has no key and signs nothing. Files are not synced: a loss of power
 * may lose the last; the network keeps both as well. One thread, but for receipts_trim. */
#pragma once

#include "wire/wire.h"

#define RECEIPTS_KEPT_MAX 50000u /* the newest */
#define RECEIPTS_AGE_MS (400 * 24 * 3600 * 1000LL)
#define RECEIPTS_TRIM_EVERY_MS (3600 * 1000LL)

struct receipts;
int receipts_create(const char *state_dir, const char *agent_dir, struct receipts **receipts_out,
                    struct err *err);
void receipts_destroy(struct receipts *receipts);
/* The membership may be another by now. */
void receipts_reload(struct receipts *receipts);
/* Of a REPORT_ENDED: signed, and kept. One that was signed before, and is told again, is told as it
 * was then: its usage becomes that of the receipt. Without a key it stays as it is. */
void receipts_sign(struct receipts *receipts, struct wire_report *report);
/* A WIRE_RECEIPT: kept when it is the network's and of an attempt here; else refused and logged. */
void receipts_take(struct receipts *receipts, const struct wire_command *command);
/* Remove what is too old or too many, the oldest first. Blocks. How many went. */
uint32_t receipts_trim(const char *agent_dir, int64_t now_ms, uint32_t kept_max);

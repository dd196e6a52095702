/* receipt.h - what one side says an ended attempt used, in bytes that can be signed.
 *
 * There are two of each attempt: the site's (what it used, as it was metered there) and the
 * network's (what was booked). Each is signed with its side's own key: the site's, made when it
 * joined; the network's, whose pin every site knows since it joined.
 *
 * What is signed, byte for byte, is one line of ASCII without a line end, as receipt_print makes
 * it: the word "mains-receipt/1", then, each after one blank, in this order and with nothing left
 * out
 *     side=site|network  network=PIN  site=NAME  job=N  epoch=N  outcome=N  exit=N
 *     began_ms=N  ended_ms=N  wall_ms=N  cpu_ms=N  cpu_held_ms=N  device_milli_ms=N
 *     memory_peak_bytes=N  energy_mj=N  energy_measured=0|1  carbon_ug=N  price_micro=N
 * with decimal numbers (a minus where below zero; no plus, no leading zero). PIN is the base64 of
 * the SHA-256 of the network's public key (net/ca.h), so that a receipt of one network says nothing
 * in another. Times are of the clock of who signs: at the site when it began and ended, in the
 * network when it was granted and released. What a side does not know (a site: carbon, price) is 0.
 * Text of another form is no receipt, so one receipt has one text. No message of TLS, which signs
 * with the same keys, begins so and goes on in printable ASCII. */
#pragma once

#include "base/err.h"
#include "model/request.h"
#include "model/usage.h"

#include <jansson.h>

#define RECEIPT_TEXT_BYTES 768u /* NUL included, as of the others */
#define RECEIPT_PIN_BYTES 45u   /* as CA_PIN_BYTES */
#define RECEIPT_SIGNATURE_BYTES                                                                    \
    704u                       /* base64; of an RSA key of 4096 bits, should an operator have one */
#define RECEIPT_KEY_BYTES 768u /* base64 of the public key's DER SubjectPublicKeyInfo */

enum receipt_side { RECEIPT_SITE, RECEIPT_NETWORK };
struct receipt {
    enum receipt_side side;
    char network[RECEIPT_PIN_BYTES], site[MODEL_NAME_BYTES];
    uint64_t job_id;
    uint32_t epoch, outcome;
    int32_t exit_code;
    int64_t began_ms, ended_ms;
    struct usage usage;
};

/* -EINVAL: a name or pin that would not be read back. */
int receipt_print(const struct receipt *receipt, char out[RECEIPT_TEXT_BYTES]);
/* -EBADMSG: not byte for byte as receipt_print would write it. */
int receipt_parse(const char *text, struct receipt *out, struct err *err);

struct receipt_signed { /* "" = there is none */
    char text[RECEIPT_TEXT_BYTES], signature[RECEIPT_SIGNATURE_BYTES], key[RECEIPT_KEY_BYTES];
};
/* {"text":..., "signature":..., "key":...}; NULL of an empty one or when memory is short. */
json_t *receipt_to_json(const struct receipt_signed *signed_);
/* -EBADMSG: a member is missing or too long. */
int receipt_from_json(const json_t *json, struct receipt_signed *out, struct err *err);

/* What was found of a site's receipt when it came. */
enum receipt_verdict { /* numbers are for ever: they are in journals */
                       RECEIPT_HOLDS = 0,
                       RECEIPT_FORGED = 1,   /* not signed by that site's key, or no receipt */
                       RECEIPT_FOREIGN = 2,  /* of another site or network */
                       RECEIPT_REPLAYED = 3, /* of another attempt */
                       RECEIPT_ALTERED = 4,  /* says other than the report that it came with */
                       RECEIPT_UNSIGNED = 5  /* none came; never in a journal */
};
#define RECEIPT_VERDICT_LAST RECEIPT_ALTERED
const char *receipt_verdict_name(uint32_t verdict); /* "holds", "forged", ... */

/* Of a receipt whose signature was looked at (`is_signed`: it holds, by the key that is known of
 * that side): is it that side's, about this attempt at this site in this network? `err` says what
 * is wrong; `out` is written only when it holds. Figures do not count. */
enum receipt_verdict receipt_about(const struct receipt_signed *signed_, bool is_signed,
                                   const struct receipt *expected, struct receipt *out,
                                   struct err *err);
/* The same, and it must say what the report says that it came with. */
enum receipt_verdict receipt_judge(const struct receipt_signed *signed_, bool is_signed,
                                   const struct receipt *expected, struct err *err);

/* Where two receipts of one attempt differ. Energy, CPU time and memory are booked as the site told
 * them, so both say the same; the network counts time from grant to release, by its own clock, so
 * there a site's figures may be anything up to what was held (and an eighth and 2 s more, for
 * clocks and messages on their way). */
#define RECEIPT_DIFFERENCES_MAX 9u
struct receipt_difference {
    const char *field;
    int64_t site, network;
};
uint32_t receipt_compare(const struct receipt *site, const struct receipt *network,
                         struct receipt_difference out[RECEIPT_DIFFERENCES_MAX]);

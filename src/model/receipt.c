#include "model/receipt.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD "mains-receipt/1"
/* As the grid bounds what a site may claim (src/grid/usage.c). */
#define SLACK_MS 2000
#define SLACK_SHARE 8

static const char *const side_names[] = { [RECEIPT_SITE] = "site", [RECEIPT_NETWORK] = "network" };

/* --- the text --------------------------------------------------------------------------------- */

static bool is_plain(const char *text)
{
    if (!*text)
        return false;
    for (; *text; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

int receipt_print(const struct receipt *receipt, char out[RECEIPT_TEXT_BYTES])
{
    const struct usage *usage = &receipt->usage;
    int len;

    if (!is_plain(receipt->network) || !is_plain(receipt->site))
        return -EINVAL;
    len = snprintf(
        out, RECEIPT_TEXT_BYTES,
        HEAD " side=%s network=%s site=%s job=%" PRIu64 " epoch=%" PRIu32 " outcome=%" PRIu32
             " exit=%" PRId32 " began_ms=%" PRId64 " ended_ms=%" PRId64 " wall_ms=%" PRId64
             " cpu_ms=%" PRId64 " cpu_held_ms=%" PRId64 " device_milli_ms=%" PRId64
             " memory_peak_bytes=%" PRId64 " energy_mj=%" PRId64
             " energy_measured=%d carbon_ug=%" PRId64 " price_micro=%" PRId64,
        side_names[receipt->side], receipt->network, receipt->site, receipt->job_id, receipt->epoch,
        receipt->outcome, receipt->exit_code, receipt->began_ms, receipt->ended_ms, usage->wall_ms,
        usage->cpu_ms, usage->cpu_held_ms, usage->device_milli_ms, usage->memory_peak_bytes,
        usage->energy_mj, (int)usage->energy_measured, usage->carbon_ug, usage->price_micro);
    return len < (int)RECEIPT_TEXT_BYTES ? 0 : -EINVAL;
}

/* " key=" and what follows it up to the next blank, which fits into `out`. */
static bool take_word(const char **at, const char *key, char *out, size_t bytes)
{
    size_t key_len = strlen(key), len;

    if (**at != ' ' || strncmp(*at + 1, key, key_len) != 0 || (*at)[1 + key_len] != '=')
        return false;
    *at += key_len + 2;
    len = strcspn(*at, " ");
    if (!len || len >= bytes)
        return false;
    memcpy(out, *at, len);
    out[len] = '\0';
    *at += len;
    return true;
}

static bool take_number(const char **at, const char *key, int64_t *out)
{
    char word[24], *end;

    if (!take_word(at, key, word, sizeof(word)))
        return false;
    errno = 0;
    *out = strtoll(word, &end, 10);
    return errno == 0 && !*end && !isspace((unsigned char)word[0]);
}

static bool take_names(const char **at, struct receipt *receipt)
{
    char side[16];

    if (!take_word(at, "side", side, sizeof(side)) ||
        !take_word(at, "network", receipt->network, sizeof(receipt->network)) ||
        !take_word(at, "site", receipt->site, sizeof(receipt->site)))
        return false;
    receipt->side = strcmp(side, side_names[RECEIPT_SITE]) == 0 ? RECEIPT_SITE : RECEIPT_NETWORK;
    return true;
}

static bool take_numbers(const char **at, struct receipt *receipt)
{
    struct usage *usage = &receipt->usage;
    int64_t job, epoch, outcome, exit_code, measured;

    if (!take_number(at, "job", &job) || !take_number(at, "epoch", &epoch) ||
        !take_number(at, "outcome", &outcome) || !take_number(at, "exit", &exit_code) ||
        !take_number(at, "began_ms", &receipt->began_ms) ||
        !take_number(at, "ended_ms", &receipt->ended_ms) ||
        !take_number(at, "wall_ms", &usage->wall_ms) ||
        !take_number(at, "cpu_ms", &usage->cpu_ms) ||
        !take_number(at, "cpu_held_ms", &usage->cpu_held_ms) ||
        !take_number(at, "device_milli_ms", &usage->device_milli_ms) ||
        !take_number(at, "memory_peak_bytes", &usage->memory_peak_bytes) ||
        !take_number(at, "energy_mj", &usage->energy_mj) ||
        !take_number(at, "energy_measured", &measured) ||
        !take_number(at, "carbon_ug", &usage->carbon_ug) ||
        !take_number(at, "price_micro", &usage->price_micro))
        return false;
    receipt->job_id = (uint64_t)job;
    receipt->epoch = (uint32_t)epoch;
    receipt->outcome = (uint32_t)outcome;
    receipt->exit_code = (int32_t)exit_code;
    usage->energy_measured = measured != 0;
    return job >= 0;
}

int receipt_parse(const char *text, struct receipt *out, struct err *err)
{
    struct receipt receipt = { 0 };
    char again[RECEIPT_TEXT_BYTES];
    bool is_headed = strncmp(text, HEAD, strlen(HEAD)) == 0;
    const char *at = is_headed ? text + strlen(HEAD) : "";

    /* Printed again and compared: whatever else was read leniently is refused here. */
    if (!take_names(&at, &receipt) || !take_numbers(&at, &receipt) ||
        receipt_print(&receipt, again) < 0 || strcmp(again, text) != 0)
        return err_set(err, -EBADMSG, "not a receipt: \"%.60s\"", text);
    *out = receipt;
    return 0;
}

/* --- JSON ------------------------------------------------------------------------------------- */

json_t *receipt_to_json(const struct receipt_signed *signed_)
{
    return signed_->text[0] ? json_pack("{s:s, s:s, s:s}", "text", signed_->text, "signature",
                                        signed_->signature, "key", signed_->key)
                            : NULL;
}

int receipt_from_json(const json_t *json, struct receipt_signed *out, struct err *err)
{
    struct receipt_signed taken = { 0 };
    const struct {
        const char *key;
        char *to;
        size_t bytes;
    } members[] = { { "text", taken.text, sizeof(taken.text) },
                    { "signature", taken.signature, sizeof(taken.signature) },
                    { "key", taken.key, sizeof(taken.key) } };

    for (size_t i = 0; i < ARRAY_COUNT(members); i++) {
        const json_t *value = json_object_get(json, members[i].key);
        const char *text = json_string_value(value);

        if (!text || json_string_length(value) >= members[i].bytes || strlen(text) == 0)
            return err_set(err, -EBADMSG, "a receipt's %s is missing or too long", members[i].key);
        memcpy(members[i].to, text, strlen(text) + 1);
    }
    *out = taken;
    return 0;
}

/* --- judging ---------------------------------------------------------------------------------- */

const char *receipt_verdict_name(uint32_t verdict)
{
    static const char *const names[] = {
        [RECEIPT_HOLDS] = "holds",     [RECEIPT_FORGED] = "forged",
        [RECEIPT_FOREIGN] = "foreign", [RECEIPT_REPLAYED] = "replayed",
        [RECEIPT_ALTERED] = "altered", [RECEIPT_UNSIGNED] = "unsigned",
    };

    return verdict < ARRAY_COUNT(names) ? names[verdict] : "unknown";
}

struct figure {
    const char *name;
    int64_t value;
};
#define FIGURES 9u
static void list_figures(const struct receipt *receipt, struct figure out[FIGURES])
{
    const struct usage *usage = &receipt->usage;
    const struct figure figures[FIGURES] = {
        { "outcome", receipt->outcome },
        { "exit", receipt->exit_code },
        { "wall_ms", usage->wall_ms },
        { "cpu_ms", usage->cpu_ms },
        { "cpu_held_ms", usage->cpu_held_ms },
        { "device_milli_ms", usage->device_milli_ms },
        { "memory_peak_bytes", usage->memory_peak_bytes },
        { "energy_mj", usage->energy_mj },
        { "energy_measured", usage->energy_measured },
    };

    memcpy(out, figures, sizeof(figures));
}

enum receipt_verdict receipt_about(const struct receipt_signed *signed_, bool is_signed,
                                   const struct receipt *expected, struct receipt *out,
                                   struct err *err)
{
    struct receipt receipt;

    if (!is_signed) {
        err_set(err, -EBADMSG, "it is not signed by the key that is known of %s %s",
                side_names[expected->side],
                expected->side == RECEIPT_SITE ? expected->site : expected->network);
        return RECEIPT_FORGED;
    }
    if (receipt_parse(signed_->text, &receipt, err) < 0)
        return RECEIPT_FORGED;
    if (receipt.side != expected->side || strcmp(receipt.site, expected->site) != 0 ||
        strcmp(receipt.network, expected->network) != 0) {
        err_set(err, -EBADMSG, "it is the %s's, of site %s in network %.12s",
                side_names[receipt.side], receipt.site, receipt.network);
        return RECEIPT_FOREIGN;
    }
    if (receipt.job_id != expected->job_id || receipt.epoch != expected->epoch) {
        err_set(err, -EBADMSG, "it is of attempt %" PRIu32 " of job %" PRIu64, receipt.epoch,
                receipt.job_id);
        return RECEIPT_REPLAYED;
    }
    *out = receipt;
    return RECEIPT_HOLDS;
}

enum receipt_verdict receipt_judge(const struct receipt_signed *signed_, bool is_signed,
                                   const struct receipt *expected, struct err *err)
{
    struct figure told[FIGURES], reported[FIGURES];
    struct receipt receipt;
    enum receipt_verdict verdict = receipt_about(signed_, is_signed, expected, &receipt, err);

    if (verdict != RECEIPT_HOLDS)
        return verdict;
    list_figures(&receipt, told);
    list_figures(expected, reported);
    for (uint32_t i = 0; i < FIGURES; i++)
        if (told[i].value != reported[i].value) {
            err_set(err, -EBADMSG, "it says %s=%" PRId64 ", the report says %" PRId64, told[i].name,
                    told[i].value, reported[i].value);
            return RECEIPT_ALTERED;
        }
    return RECEIPT_HOLDS;
}

/* --- comparing -------------------------------------------------------------------------------- */

/* Either side may be the liar: nothing overflows, whatever they say. */
static bool is_within(int64_t site, int64_t booked, __int128 slack)
{
    return site >= 0 && site <= booked + slack;
}

uint32_t receipt_compare(const struct receipt *site, const struct receipt *network,
                         struct receipt_difference out[RECEIPT_DIFFERENCES_MAX])
{
    const struct usage *told = &site->usage, *booked = &network->usage;
    __int128 slack_ms = (__int128)booked->wall_ms / SLACK_SHARE + SLACK_MS;
    __int128 held_milli = (__int128)booked->device_milli_ms / MAX(booked->wall_ms, 1) + 1;
    uint32_t count = 0;
    const struct {
        const char *field;
        int64_t site, network;
        bool same;
    } pairs[] = {
        { "wall_ms", told->wall_ms, booked->wall_ms,
          is_within(told->wall_ms, booked->wall_ms, slack_ms) },
        { "device_milli_ms", told->device_milli_ms, booked->device_milli_ms,
          is_within(told->device_milli_ms, booked->device_milli_ms, held_milli * slack_ms) },
        { "cpu_ms", told->cpu_ms, booked->cpu_ms, told->cpu_ms == booked->cpu_ms },
        { "memory_peak_bytes", told->memory_peak_bytes, booked->memory_peak_bytes,
          told->memory_peak_bytes == booked->memory_peak_bytes },
        { "energy_mj", told->energy_mj, booked->energy_mj, told->energy_mj == booked->energy_mj },
    };

    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++)
        if (!pairs[i].same)
            out[count++] =
                (struct receipt_difference){ pairs[i].field, pairs[i].site, pairs[i].network };
    return count;
}

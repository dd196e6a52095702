#include "agent/receipts.h"

#include "agent/attempt.h"
#include "agent/membership.h"
#include "agent/tree.h"
#include "base/file.h"
#include "base/log.h"
#include "net/sign.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX (16u << 10)

struct receipts {
    const char *state_dir, *agent_dir;
    struct membership *membership; /* NULL: this place has not joined */
    struct sign_key *key;
};

struct kept { /* of one attempt */
    struct receipt_signed site, network;
};

/* --- files ------------------------------------------------------------------------------------ */

static char *path_of(const struct receipts *receipts, const struct wire_attempt_id *id)
{
    const struct attempt_key key = { .job_id = id->job_id, .epoch = id->epoch };
    char name[ATTEMPT_NAME_BYTES];

    attempt_name(key, name);
    return path_format("%s/receipts/%s", receipts->agent_dir, name);
}

/* What is not there, or makes no sense, is empty. */
static void read_kept(const struct receipts *receipts, const struct wire_attempt_id *id,
                      struct kept *kept)
{
    CLEANUP(freep) char *path = path_of(receipts, id);
    CLEANUP(buf_fini) struct buf text = buf_init(FILE_BYTES_MAX);
    json_t *root;

    *kept = (struct kept){ 0 };
    if (!path || file_read(path, &text, NULL) < 0)
        return;
    root = json_loadb(text.data ? text.data : "", text.len, 0, NULL);
    receipt_from_json(json_object_get(root, "site_receipt"), &kept->site, NULL);
    receipt_from_json(json_object_get(root, "network_receipt"), &kept->network, NULL);
    json_decref(root);
}

static void write_kept(const struct receipts *receipts, const struct wire_attempt_id *id,
                       const struct kept *kept)
{
    CLEANUP(freep) char *folder = path_format("%s/receipts", receipts->agent_dir);
    CLEANUP(freep) char *path = path_of(receipts, id);
    CLEANUP(freep) char *text = NULL;
    struct err err = { .text = "out of memory" };
    char job[24];
    json_t *root;
    int rc = -ENOMEM;

    snprintf(job, sizeof(job), "%" PRIu64, id->job_id);
    root =
        json_pack("{s:s, s:I, s:s, s:o*, s:o*}", "job", job, "epoch", (json_int_t)id->epoch, "site",
                  receipts->membership->site, "site_receipt", receipt_to_json(&kept->site),
                  "network_receipt", receipt_to_json(&kept->network));
    text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    if (folder && path && text)
        rc = dir_make(folder, 0700, &err);
    if (rc == 0)
        rc = file_write(path, text, strlen(text), 0600, false, &err);
    if (rc < 0)
        log_warn("the receipt of attempt %" PRIu32 " of job %" PRIu64 " is not kept: %s", id->epoch,
                 id->job_id, err.text);
}

/* --- the site's ------------------------------------------------------------------------------- */

/* Was this very end signed before? What it was metered at then is what it says again. An attempt of
 * the same number that ended otherwise is another: a network that was set back counts anew. */
static bool is_kept(const struct kept *kept, const struct receipt *now, struct wire_report *report)
{
    struct receipt then;

    if (!kept->site.text[0] || receipt_parse(kept->site.text, &then, NULL) < 0 ||
        strcmp(then.network, now->network) != 0 || strcmp(then.site, now->site) != 0 ||
        then.job_id != now->job_id || then.epoch != now->epoch || then.outcome != now->outcome ||
        then.exit_code != now->exit_code || then.began_ms != now->began_ms ||
        then.ended_ms != now->ended_ms)
        return false;
    report->usage = then.usage;
    report->receipt = kept->site;
    return true;
}

void receipts_sign(struct receipts *receipts, struct wire_report *report)
{
    struct receipt receipt;
    struct kept kept;
    struct err err;

    if (!receipts || !receipts->key)
        return;
    wire_report_receipt(report, receipts->membership->pin, receipts->membership->site, &receipt);
    read_kept(receipts, &report->attempt, &kept);
    if (is_kept(&kept, &receipt, report))
        return;
    kept = (struct kept){ 0 };
    if (receipt_print(&receipt, kept.site.text) < 0 ||
        sign_text(receipts->key, kept.site.text, kept.site.signature, &err) < 0) {
        log_warn("attempt %" PRIu32 " of job %" PRIu64 " ends without a receipt", receipt.epoch,
                 receipt.job_id);
        return;
    }
    snprintf(kept.site.key, sizeof(kept.site.key), "%s", sign_key_public(receipts->key));
    write_kept(receipts, &report->attempt, &kept);
    report->receipt = kept.site;
}

/* --- the network's ---------------------------------------------------------------------------- */

static void compare(const struct kept *kept, const struct receipt *network)
{
    struct receipt_difference differences[RECEIPT_DIFFERENCES_MAX];
    struct receipt site;
    uint32_t count = 0;

    if (kept->site.text[0] && receipt_parse(kept->site.text, &site, NULL) == 0)
        count = receipt_compare(&site, network, differences);
    for (uint32_t i = 0; i < count; i++)
        log_warn("job %" PRIu64 ", attempt %" PRIu32 ": %s is %" PRId64
                 " here, and the network booked %" PRId64 ": see `mains ledger receipts`",
                 network->job_id, network->epoch, differences[i].field, differences[i].site,
                 differences[i].network);
}

void receipts_take(struct receipts *receipts, const struct wire_command *command)
{
    const struct wire_attempt_id *id = &command->attempt;
    struct receipt expected = { .side = RECEIPT_NETWORK, .job_id = id->job_id, .epoch = id->epoch };
    struct receipt network;
    char pin[CA_PIN_BYTES];
    struct kept kept;
    struct err err;
    bool is_signed;

    if (!receipts || !receipts->membership)
        return;
    snprintf(expected.network, sizeof(expected.network), "%s", receipts->membership->pin);
    snprintf(expected.site, sizeof(expected.site), "%s", receipts->membership->site);
    is_signed = sign_check(command->receipt.key, command->receipt.text, command->receipt.signature,
                           pin, &err) == 0 &&
                strcmp(pin, expected.network) == 0;
    read_kept(receipts, id, &kept);
    if (receipt_about(&command->receipt, is_signed, &expected, &network, &err) != RECEIPT_HOLDS) {
        log_warn("the network's receipt of attempt %" PRIu32 " of job %" PRIu64 " is refused: %s",
                 id->epoch, id->job_id, err.text);
        return;
    }
    if (!kept.site.text[0]) {
        log_warn("the network's receipt of attempt %" PRIu32 " of job %" PRIu64
                 " is refused: no such attempt ended here",
                 id->epoch, id->job_id);
        return;
    }
    if (kept.network.text[0]) {
        if (strcmp(kept.network.text, command->receipt.text) != 0)
            log_warn("the network signed another receipt of attempt %" PRIu32 " of job %" PRIu64
                     " than before: the first is kept",
                     id->epoch, id->job_id);
        return;
    }
    kept.network = command->receipt;
    write_kept(receipts, id, &kept);
    compare(&kept, &network);
}

/* --- life ------------------------------------------------------------------------------------- */

void receipts_reload(struct receipts *receipts)
{
    struct err err;
    int rc;

    if (!receipts)
        return;
    sign_key_close(TAKE(receipts->key));
    membership_free(TAKE(receipts->membership));
    rc = membership_load(receipts->state_dir, &receipts->membership, &err);
    if (rc == 0 && receipts->membership->node) { /* its site signs for all of it */
        membership_free(TAKE(receipts->membership));
        return;
    }
    if (rc == 0)
        rc = sign_key_open(receipts->membership->key_pem, &receipts->key, &err);
    if (rc < 0 && rc != -ENOENT)
        log_warn("nothing is signed of what ends here: %s", err.text);
}

int receipts_create(const char *state_dir, const char *agent_dir, struct receipts **receipts_out,
                    struct err *err)
{
    struct receipts *receipts = calloc(1, sizeof(*receipts));

    if (!receipts)
        return err_set(err, -ENOMEM, "receipts: out of memory");
    receipts->state_dir = state_dir;
    receipts->agent_dir = agent_dir;
    receipts_reload(receipts);
    *receipts_out = receipts;
    return 0;
}

void receipts_destroy(struct receipts *receipts)
{
    if (!receipts)
        return;
    sign_key_close(receipts->key);
    membership_free(receipts->membership);
    free(receipts);
}

struct aged {
    const char *name;
    int64_t ms;
};

static int compare_aged(const void *a, const void *b)
{
    const struct aged *left = a, *right = b;

    return left->ms < right->ms ? -1 : left->ms > right->ms;
}

uint32_t receipts_trim(const char *agent_dir, int64_t now_ms, uint32_t kept_max)
{
    CLEANUP(freep) char *path = path_format("%s/receipts", agent_dir);
    CLEANUP(closep) int folder = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    CLEANUP(freep) struct aged *aged = NULL;
    char **names = NULL;
    size_t count = 0;
    uint32_t gone = 0;

    if (folder < 0 || tree_names(folder, &names, &count) < 0)
        return 0;
    aged = calloc(count + 1, sizeof(*aged));
    for (size_t i = 0; aged && i < count; i++) {
        struct stat st = { 0 };

        fstatat(folder, names[i], &st, AT_SYMLINK_NOFOLLOW);
        aged[i] = (struct aged){ names[i],
                                 (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000 };
    }
    if (aged)
        qsort(aged, count, sizeof(*aged), compare_aged);
    for (size_t i = 0; aged && i < count; i++)
        if ((count - i > kept_max || now_ms - aged[i].ms > RECEIPTS_AGE_MS) &&
            unlinkat(folder, aged[i].name, 0) == 0)
            gone++;
    tree_names_free(names, count);
    return gone;
}

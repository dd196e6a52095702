#include "cli/receipts.h"

#include "agent/membership.h"
#include "agent/tree.h"
#include "base/file.h"
#include "wire/members.h"
#include "model/receipt.h"
#include "net/sign.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define KEPT_BYTES_MAX (16u << 10)
#define FILE_BYTES_MAX (64u << 20)

/* --- whose keys are known --------------------------------------------------------------------- */

static void find_server_key(const char *state_dir, char pin_out[CA_PIN_BYTES])
{
    CLEANUP(freep) char *path = path_format("%s/server.key", state_dir);
    CLEANUP(buf_fini) struct buf text = buf_init(CA_PEM_BYTES_MAX);
    struct sign_key *key = NULL;

    if (!path || file_read(path, &text, NULL) < 0)
        return;
    if (sign_key_open(text.data ? text.data : "", &key, NULL) == 0)
        snprintf(pin_out, CA_PIN_BYTES, "%s", sign_key_pin(key));
    sign_key_close(key);
    if (text.data)
        explicit_bzero(text.data, text.len);
}

void receipts_find_keys(const char *state_dir, struct receipts_keys *keys)
{
    struct membership *membership = NULL;

    *keys = (struct receipts_keys){ .is_site = false };
    if (membership_load(state_dir, &membership, NULL) == 0) {
        keys->is_site = true;
        snprintf(keys->network, sizeof(keys->network), "%s", membership->pin);
        ca_cert_read(membership->cert_pem, keys->site, NULL, NULL, NULL);
    } else {
        find_server_key(state_dir, keys->network);
    }
    membership_free(membership);
}

void receipts_find_site_key(const char *state_dir, const char *site, char pin_out[CA_PIN_BYTES])
{
    struct members *members = NULL;
    const struct member *member = NULL;

    pin_out[0] = '\0';
    if (members_open(state_dir, "mains site token", &members, NULL) == 0)
        member = members_find(members, site);
    if (member)
        snprintf(pin_out, CA_PIN_BYTES, "%s", member->pin);
    members_close(members);
}

/* --- reading ---------------------------------------------------------------------------------- */

struct kept {
    char *name;
    int64_t ms;
};

static int compare_kept(const void *a, const void *b)
{
    const struct kept *left = a, *right = b;

    return left->ms > right->ms ? -1 : left->ms < right->ms;
}

/* An element of an array goes by the array's id and its index: its own id is the next but one. */
static bool find_job_id(const char *text, uint64_t *id_out)
{
    unsigned long long id, element;
    char *end;

    errno = 0;
    id = strtoull(text, &end, 10);
    if (*end == '.' && end[1] >= '0' && end[1] <= '9') {
        element = strtoull(end + 1, &end, 10);
        if (__builtin_add_overflow(id, element + 1, &id))
            return false;
    }
    *id_out = id;
    return *text >= '0' && *text <= '9' && !*end && !errno && id <= INT64_MAX;
}

static json_t *read_one(int folder, const char *name)
{
    char path[64];
    CLEANUP(buf_fini) struct buf text = buf_init(KEPT_BYTES_MAX);

    snprintf(path, sizeof(path), "/proc/self/fd/%d/", folder);
    if (strlen(name) >= 40)
        return NULL;
    snprintf(path + strlen(path), sizeof(path) - strlen(path), "%s", name);
    return file_read(path, &text, NULL) < 0
               ? NULL
               : json_loadb(text.data ? text.data : "", text.len, 0, NULL);
}

int receipts_read_kept(const char *state_dir, const char *job, uint32_t limit, json_t **rows_out,
                       struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/agent/receipts", state_dir);
    CLEANUP(closep) int folder = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    CLEANUP(freep) struct kept *kept = NULL;
    char **names = NULL;
    uint64_t id = 0;
    size_t count = 0;

    if (job && !find_job_id(job, &id))
        return err_set(err, -EINVAL, "--job: expected an id as 12 or 12.3");
    *rows_out = json_array();
    if (folder < 0 || tree_names(folder, &names, &count) < 0)
        return 0; /* nothing has ended here since receipts are made */
    kept = calloc(count + 1, sizeof(*kept));
    for (size_t i = 0; kept && i < count; i++) {
        struct stat st = { 0 };

        fstatat(folder, names[i], &st, AT_SYMLINK_NOFOLLOW);
        kept[i] = (struct kept){ names[i],
                                 (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000 };
    }
    if (kept)
        qsort(kept, count, sizeof(*kept), compare_kept);
    for (size_t i = 0; kept && i < count && json_array_size(*rows_out) < limit; i++) {
        json_t *row = NULL;

        if (!job || strtoull(kept[i].name, NULL, 10) == id)
            row = read_one(folder, kept[i].name);
        if (json_is_object(row))
            json_array_append(*rows_out, row);
        json_decref(row);
    }
    tree_names_free(names, count);
    return kept ? 0 : err_set(err, -ENOMEM, "out of memory");
}

int receipts_read_file(const char *path, json_t **rows_out, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = buf_init(FILE_BYTES_MAX);
    json_error_t where;
    json_t *root, *list;
    int rc = file_read(path, &text, err);

    if (rc < 0)
        return rc;
    root = json_loadb(text.data ? text.data : "", text.len, JSON_REJECT_DUPLICATES, &where);
    if (!root)
        return err_set(err, -EBADMSG, "%s:%d: %s", path, where.line, where.text);
    list = json_is_array(root) ? root : json_object_get(root, "receipts");
    if (json_is_array(list)) {
        *rows_out = json_incref(list);
    } else if (json_object_get(root, "site_receipt") || json_object_get(root, "network_receipt")) {
        *rows_out = json_pack("[O]", root);
    } else {
        rc = err_set(err, -EBADMSG, "%s: holds no receipts", path);
    }
    json_decref(root);
    return rc;
}

/* --- checking --------------------------------------------------------------------------------- */

struct side {
    enum receipt_side side;
    const char *member, *whose;
    struct receipt_signed signed_;
    struct receipt receipt;
    char pin[CA_PIN_BYTES];
    enum receipt_verdict verdict;
};

static void say(json_t *why, const struct side *side, const char *text)
{
    json_array_append_new(why, json_sprintf("%s: %s", side->whose, text));
}

static void check_side(const json_t *row, struct side *side, const char *known, json_t *why)
{
    const json_t *json = json_object_get(row, side->member);
    struct err err = { 0 };

    side->verdict = RECEIPT_UNSIGNED;
    if (!json || json_is_null(json))
        return;
    side->verdict = RECEIPT_FORGED;
    if (receipt_from_json(json, &side->signed_, &err) < 0 ||
        sign_check(side->signed_.key, side->signed_.text, side->signed_.signature, side->pin,
                   &err) < 0 ||
        receipt_parse(side->signed_.text, &side->receipt, &err) < 0) {
        say(why, side, err.text);
    } else if (side->receipt.side != side->side) {
        say(why, side, "the other side signed this");
    } else if (known[0] && strcmp(known, side->pin) != 0) {
        say(why, side, "it is signed by another key than is known of it");
    } else if (side->side == RECEIPT_NETWORK && strcmp(side->receipt.network, side->pin) != 0) {
        say(why, side, "it names another network than the one whose key signed it");
    } else {
        side->verdict = RECEIPT_HOLDS;
    }
}

/* Is it of the attempt, the site and the network that it is handed out for? */
static void check_about(const json_t *row, struct side *side, const char *network, json_t *why)
{
    const char *job = json_string_value(json_object_get(row, "job"));
    const char *site = json_string_value(json_object_get(row, "site"));
    const json_t *epoch = json_object_get(row, "epoch");
    uint64_t id = 0;

    if (side->verdict != RECEIPT_HOLDS)
        return;
    if ((site && strcmp(site, side->receipt.site) != 0) ||
        (network[0] && strcmp(network, side->receipt.network) != 0)) {
        side->verdict = RECEIPT_FOREIGN;
        say(why, side, "it is of another site or network");
    } else if ((job && find_job_id(job, &id) && id != side->receipt.job_id) ||
               (epoch && json_integer_value(epoch) != (json_int_t)side->receipt.epoch)) {
        side->verdict = RECEIPT_REPLAYED;
        say(why, side, "it is of another attempt");
    }
}

static json_t *list_differences(const struct side *site, const struct side *network)
{
    struct receipt_difference list[RECEIPT_DIFFERENCES_MAX];
    json_t *rows = json_array();
    uint32_t count = 0;

    if (site->verdict == RECEIPT_HOLDS && network->verdict == RECEIPT_HOLDS)
        count = receipt_compare(&site->receipt, &network->receipt, list);
    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(rows, json_pack("{s:s, s:I, s:I}", "field", list[i].field, "site",
                                              (json_int_t)list[i].site, "network",
                                              (json_int_t)list[i].network));
    return rows;
}

static json_t *copy_member(const json_t *row, const char *key, json_t *otherwise)
{
    json_t *member = json_object_get(row, key);

    if (!member)
        return otherwise;
    json_decref(otherwise);
    return json_deep_copy(member);
}

json_t *receipts_check(const json_t *row, const struct receipts_keys *keys, bool *good_out)
{
    struct side site = { .side = RECEIPT_SITE, .member = "site_receipt", .whose = "site" };
    struct side network = { .side = RECEIPT_NETWORK,
                            .member = "network_receipt",
                            .whose = "network" };
    json_t *why = json_array(), *differences;
    const struct side *told = &site;
    const char *known;

    check_side(row, &site, keys->site, why);
    check_side(row, &network, keys->network, why);
    known = keys->network[0] ? keys->network : network.pin;
    check_about(row, &site, known, why);
    check_about(row, &network, known, why);
    /* Nothing else may say whose they are: then at least both must be of one attempt. */
    if (site.verdict == RECEIPT_HOLDS && network.verdict == RECEIPT_HOLDS &&
        (site.receipt.job_id != network.receipt.job_id ||
         site.receipt.epoch != network.receipt.epoch ||
         strcmp(site.receipt.site, network.receipt.site) != 0)) {
        site.verdict = RECEIPT_REPLAYED;
        say(why, &site, "it is of another attempt than the network's");
    }
    differences = list_differences(&site, &network);
    *good_out = site.verdict == RECEIPT_HOLDS && network.verdict == RECEIPT_HOLDS &&
                json_array_size(differences) == 0;
    if (told->verdict != RECEIPT_HOLDS)
        told = &network;
    /* What no signature vouches for is shown as the file says it. */
    return json_pack("{s:o, s:o, s:o, s:s, s:s, s:s, s:s, s:o, s:o}", "job",
                     copy_member(row, "job", json_sprintf("%" PRIu64, told->receipt.job_id)),
                     "epoch", copy_member(row, "epoch", json_integer(told->receipt.epoch)), "site",
                     copy_member(row, "site", json_string(told->receipt.site)), "site_receipt",
                     receipt_verdict_name(site.verdict), "site_key", site.pin, "network_receipt",
                     receipt_verdict_name(network.verdict), "network_key", network.pin,
                     "differences", differences, "why", why);
}

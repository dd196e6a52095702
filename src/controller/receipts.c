#include "controller/receipts.h"

#include "base/log.h"
#include "wire/door.h"
#include "controller/history.h"
#include "wire/members.h"
#include "controller/session.h"
#include "net/sign.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void receipts_note(struct controller *controller, const char *site,
                   const struct wire_report *report)
{
    const struct member *member = members_find(controller->members, site);
    const struct receipt_signed *signed_ = &report->receipt;
    struct event event = { .type = EVENT_RECEIPT };
    struct receipt expected;
    char pin[CA_PIN_BYTES];
    struct err err, why;
    bool is_signed;
    int rc;

    if (!signed_->text[0] || !member || !member->pin[0])
        return;
    wire_report_receipt(report, door_pin(controller->door), site, &expected);
    is_signed = sign_check(signed_->key, signed_->text, signed_->signature, pin, NULL) == 0 &&
                strcmp(pin, member->pin) == 0;
    event.receipt =
        (struct event_receipt){ .job_id = report->attempt.job_id,
                                .epoch = report->attempt.epoch,
                                .site = site,
                                .verdict = receipt_judge(signed_, is_signed, &expected, &err),
                                .text = signed_->text,
                                .signature = signed_->signature,
                                .key = signed_->key };
    rc = shell_apply(controller->shell, &event, NULL, NULL, &why);
    /* Unwritable: the end itself is refused for that, and comes again. */
    if (rc < 0 && rc != -ENOENT && rc != -EROFS && rc != -ENOBUFS)
        log_warn("site %s: the receipt of job %" PRIu64 " is not kept: %s", site,
                 event.receipt.job_id, why.text);
    /* Once an attempt that the grid knows to end: what else the site floods us with hides it not.
     */
    if (event.receipt.verdict != RECEIPT_HOLDS)
        log_warn("site %s: its receipt of job %" PRIu64 " (%s) is refused: %s", site,
                 event.receipt.job_id, receipt_verdict_name(event.receipt.verdict), err.text);
}

/* --- the answer ------------------------------------------------------------------------------- */

struct ended_ack {
    struct deferred deferred; /* until it is durable */
    struct history_wait wait; /* and in the history, when the site signed */
    struct controller *controller;
    char site[MODEL_NAME_BYTES];
    struct wire_attempt_id attempt;
    bool is_signed;
};

static int send_one(void *context, const struct history_receipt *row)
{
    struct ended_ack *ack = context;
    struct wire_command command = { .type = WIRE_RECEIPT,
                                    .attempt = ack->attempt,
                                    .receipt = row->by_network };

    if (row->by_network.text[0])
        sessions_send(ack->controller->sessions, ack->site, &command);
    return 1;
}

static void forget(struct ended_ack *ack)
{
    struct wire_command command = { .type = WIRE_FORGET, .attempt = ack->attempt };

    if (!ack->controller->stopping)
        sessions_send(ack->controller->sessions, ack->site, &command);
    free(ack);
}

static void on_history(struct history_wait *wait, int rc)
{
    struct ended_ack *ack = CONTAINER_OF(wait, struct ended_ack, wait);
    const struct receipt_filter filter = { .site = ack->site,
                                           .job_id = ack->attempt.job_id,
                                           .element = -1,
                                           .epoch = ack->attempt.epoch,
                                           .limit = 1 };

    if (rc == 0 && !ack->controller->stopping)
        history_db_list_receipts(history_reader(ack->controller->history), &filter, send_one, ack,
                                 NULL);
    forget(ack);
}

static void on_durable(struct deferred *deferred)
{
    struct ended_ack *ack = CONTAINER_OF(deferred, struct ended_ack, deferred);

    if (!ack->is_signed) {
        forget(ack);
        return;
    }
    ack->wait.run = on_history;
    history_wait(ack->controller->history, &ack->wait);
}

void receipts_forget(struct controller *controller, const char *site, uint64_t seq,
                     const struct wire_report *report)
{
    struct ended_ack *ack = calloc(1, sizeof(*ack));

    if (!ack)
        return; /* the next HELLO lists it again */
    ack->deferred.run = on_durable;
    ack->controller = controller;
    snprintf(ack->site, sizeof(ack->site), "%s", site);
    ack->attempt = report->attempt;
    ack->is_signed = report->receipt.text[0] != '\0';
    shell_defer(controller->shell, seq, &ack->deferred);
}

#include "controller/history_call.h"

#include <stdlib.h>
#include <string.h>

static void free_call(struct history_call *self)
{
    json_decref(self->rows);
    free(self);
}

static void on_history(struct history_wait *wait, int rc)
{
    struct history_call *self = CONTAINER_OF(wait, struct history_call, wait);
    struct api_call *call = self->call;
    struct err err = { .text = "the history cannot be written now" };
    json_t *json = NULL;

    call->gone = NULL;
    if (rc == 0)
        rc = self->ask(self, history_reader(call->controller->history), &json, &err);
    free_call(self);
    if (rc < 0)
        api_error(call, 503, "history_unavailable", NULL, "%s", err.text);
    else
        api_reply_json(call, 200, json);
}

static void on_gone(struct api_call *call)
{
    struct history_call *self = call->kept;

    history_wait_cancel(call->controller->history, &self->wait);
    free_call(self);
}

void history_call_begin(struct api_call *call, const struct history_call *taken, size_t bytes)
{
    struct history_call *self = malloc(bytes);

    if (!self) {
        api_error(call, 500, "internal", NULL, "out of memory");
        return;
    }
    memcpy(self, taken, bytes);
    self->call = call;
    self->rows = json_array();
    self->wait.run = on_history;
    call->gone = on_gone;
    call->kept = self;
    history_wait(call->controller->history, &self->wait);
}

struct again {
    struct history_wait wait;
    struct api_call *call;
    void (*handle)(struct api_call *call);
};

static void on_again(struct history_wait *wait, int rc)
{
    struct again again = *CONTAINER_OF(wait, struct again, wait);

    free(CONTAINER_OF(wait, struct again, wait));
    again.call->gone = NULL;
    if (rc < 0)
        api_error(again.call, 503, "history_unavailable", NULL,
                  "the history cannot be written now");
    else
        again.handle(again.call);
}

static void on_again_gone(struct api_call *call)
{
    struct again *again = call->kept;

    history_wait_cancel(call->controller->history, &again->wait);
    free(again);
}

bool history_call_again(struct api_call *call, void (*handle)(struct api_call *call))
{
    struct history *history = call->controller->history;
    struct again *again;

    if (call->is_repeated || history_needed_seq(history) <= history_applied_seq(history))
        return false;
    again = calloc(1, sizeof(*again));
    if (!again)
        return false;
    *again = (struct again){ .wait.run = on_again, .call = call, .handle = handle };
    call->is_repeated = true;
    call->gone = on_again_gone;
    call->kept = again;
    history_wait(history, &again->wait);
    return true;
}

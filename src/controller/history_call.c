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

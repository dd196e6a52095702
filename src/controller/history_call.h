/* history_call.h - a request that is answered from the history, once all that has happened until
 * now can be queried there. */
#pragma once

#include "controller/api_handlers.h"
#include "controller/history.h"

/* The first member of what a request keeps while it waits. */
struct history_call {
    struct history_wait wait;
    struct api_call *call;
    json_t *rows; /* empty at first; let go with the call */
    /* The answer's body, new in `json_out`. 0, or negative with one line in `err`. */
    int (*ask)(struct history_call *self, struct history_db *db, json_t **json_out,
               struct err *err);
};

/* Answers the request now or later: with 200 and what `ask` made, or 503. `bytes` at `taken`, of
 * which this is the begin, are copied: pointers into itself are set in `ask`. */
void history_call_begin(struct api_call *call, const struct history_call *taken, size_t bytes);

/* Something was not found that may have ended just now: handle the request again, once, when all
 * that has happened until now is in the history. False: it is there already, or this is the second
 * time; the call is the caller's to answer. */
bool history_call_again(struct api_call *call, void (*handle)(struct api_call *call));

#include "controller/waits.h"

#include "controller/api.h"
#include "controller/job_lookup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define WAIT_TIMEOUT_S_DEFAULT 30
#define WAIT_TIMEOUT_S_MAX 3600

struct waiter {
    struct waiter *next;
    struct waits *waits;
    struct api_call *call;
    uint64_t id;
    uv_timer_t timer;
};
struct wait_slot { /* all that wait for one id */
    uint64_t id;
    struct waiter *waiters;
    UT_hash_handle hh;
};
struct waits {
    struct controller *controller;
    struct wait_slot *slots;
};

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void waiter_remove(struct waiter *waiter)
{
    struct waits *waits = waiter->waits;
    struct wait_slot *slot = NULL;

    HASH_FIND(hh, waits->slots, &waiter->id, sizeof(waiter->id), slot);
    for (struct waiter **link = slot ? &slot->waiters : NULL; link && *link; link = &(*link)->next)
        if (*link == waiter) {
            *link = waiter->next;
            break;
        }
    if (slot && !slot->waiters) {
        HASH_DEL(waits->slots, slot);
        free(slot);
    }
    waiter->call->gone = NULL;
    waiter->call->kept = NULL;
    uv_timer_stop(&waiter->timer);
    uv_close((uv_handle_t *)&waiter->timer, on_timer_closed);
}

static void on_gone(struct api_call *call)
{
    waiter_remove(call->kept);
}

static void answer(struct api_call *call, const struct job_found *found)
{
    json_t *json = job_found_to_json(call->controller, found, true);

    if (json)
        json_object_set_new(json, "final", json_boolean(job_found_is_final(found)));
    api_reply_json(call, 200, json);
}

/* Final or not: the wait is over. */
static void finish(struct waiter *waiter)
{
    struct api_call *call = waiter->call;

    waiter_remove(waiter);
    job_lookup(call, call->params[0], answer);
}

static void on_timeout(uv_timer_t *timer)
{
    finish(timer->data);
}

static void keep_waiting(struct api_call *call, const struct job_found *found)
{
    struct waits *waits = call->controller->waits;
    struct wait_slot *slot = NULL;
    int64_t timeout_s = WAIT_TIMEOUT_S_DEFAULT;
    struct waiter *waiter;

    if (!api_query_int(call, "timeout_s", 0, WAIT_TIMEOUT_S_MAX, &timeout_s))
        return;
    if (job_found_is_final(found) || !timeout_s) {
        answer(call, found);
        return;
    }
    waiter = calloc(1, sizeof(*waiter));
    if (!waiter) {
        api_error(call, 500, "internal", NULL, "out of memory");
        return;
    }
    HASH_FIND(hh, waits->slots, &found->id, sizeof(found->id), slot);
    if (!slot) {
        slot = calloc(1, sizeof(*slot));
        if (!slot) {
            free(waiter);
            api_error(call, 500, "internal", NULL, "out of memory");
            return;
        }
        slot->id = found->id;
        HASH_ADD(hh, waits->slots, id, sizeof(slot->id), slot);
    }
    waiter->waits = waits;
    waiter->call = call;
    waiter->id = found->id;
    waiter->next = slot->waiters;
    slot->waiters = waiter;
    call->gone = on_gone;
    call->kept = waiter;
    uv_timer_init(&call->controller->loop, &waiter->timer);
    waiter->timer.data = waiter;
    uv_timer_start(&waiter->timer, on_timeout, (uint64_t)timeout_s * 1000, 0);
}

void waits_handle(struct api_call *call)
{
    job_lookup(call, call->params[0], keep_waiting);
}

static void tell_id(struct waits *waits, uint64_t id)
{
    struct wait_slot *slot = NULL;

    HASH_FIND(hh, waits->slots, &id, sizeof(id), slot);
    while (slot) {
        bool last = !slot->waiters->next;

        finish(slot->waiters);
        if (last)
            return; /* the slot went with its last waiter */
    }
}

void waits_tell(struct waits *waits, const struct change *change)
{
    if (!change->ended || !waits->slots)
        return;
    tell_id(waits, change->job_id);
    if (change->array_id &&
        !grid_array_live(shell_grid(waits->controller->shell), change->array_id, NULL, NULL))
        tell_id(waits, change->array_id);
}

struct waits *waits_create(struct controller *controller)
{
    struct waits *waits = calloc(1, sizeof(*waits));

    if (waits)
        waits->controller = controller;
    return waits;
}

void waits_destroy(struct waits *waits)
{
    struct wait_slot *slot, *next;

    if (!waits)
        return;
    HASH_ITER (hh, waits->slots, slot, next) {
        while (slot) {
            struct waiter *waiter = slot->waiters;
            struct api_call *call = waiter->call;
            bool last = !waiter->next;

            waiter_remove(waiter);
            api_error(call, 503, "stopping", NULL, "the controller is stopping: ask again");
            if (last)
                break;
        }
    }
    free(waits);
}

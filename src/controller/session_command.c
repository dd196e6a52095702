#include "controller/session_command.h"

#include "base/arena.h"
#include "wire/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COMMAND_ARENA_BYTES_MAX ((size_t)64 << 20)
#define COMMAND_SPEC_BYTES_MAX ((size_t)16 << 20)

static void copy(char *out, size_t out_bytes, const char *text)
{
    snprintf(out, out_bytes, "%s", text ? text : "");
}

static const struct wire_part *make_parts(const struct site_info *site,
                                          const struct allocation *allocation, struct arena *arena)
{
    struct wire_part *parts = arena_alloc(arena, allocation->parts_count, sizeof(*parts));

    if (!parts)
        return NULL;
    for (uint32_t i = 0; i < allocation->parts_count; i++) {
        const struct alloc_part *from = &allocation->parts[i];
        struct wire_part *to = &parts[i];

        if (from->node < site->nodes_count)
            copy(to->node, sizeof(to->node), site->nodes[from->node].name);
        to->tasks = from->tasks;
        to->cpus = from->cpus;
        to->memory_bytes = from->memory_bytes;
        to->disk_bytes = from->disk_bytes;
        to->devices_count = from->devices_count;
        for (uint32_t d = 0; d < from->devices_count; d++) {
            to->devices[d].index = from->devices[d].index;
            to->devices[d].milli = from->devices[d].milli;
        }
        to->shares_count = from->shares_count;
        memcpy(to->shares_ppm, from->shares_ppm, from->shares_count * sizeof(to->shares_ppm[0]));
    }
    return parts;
}

static int print_run(const struct grid *grid, const struct auth *auth, const struct seal *seal,
                     const struct effect *effect, struct buf *out, struct err *err)
{
    CLEANUP(buf_fini) struct buf spec = buf_init(COMMAND_SPEC_BYTES_MAX);
    CLEANUP(arena_fini) struct arena arena = arena_init(COMMAND_ARENA_BYTES_MAX);
    const struct job_view *view = &effect->view;
    struct wire_command command = { .type = WIRE_RUN, .run_as_uid = -1, .run_as_gid = -1 };
    int index = grid_site_find(grid, view->allocation.site);
    int64_t uid = -1, gid = -1;
    bool reachable;
    int rc;

    if (index < 0)
        return err_set(err, -ENOENT, "site %s is not known", view->allocation.site);
    rc = seal_open_spec(seal, view->tenant, view->spec_json, view->spec_len, &spec, err);
    if (rc < 0)
        return rc;
    command.attempt.job_id = effect->job_id;
    command.attempt.epoch = effect->epoch;
    copy(command.tenant, sizeof(command.tenant), view->tenant);
    copy(command.user, sizeof(command.user), view->user);
    copy(command.name, sizeof(command.name), view->name);
    command.array_id = view->array_id;
    command.array_index = view->array_index;
    command.array_count = view->array_count;
    command.attempt_number = view->attempts_failed + view->attempts_lost + 1;
    command.duration_ms_max = view->request ? view->request->duration_ms_max : 0;
    if (auth_find_unix(auth, view->tenant, view->user, &uid, &gid)) {
        command.run_as_uid = (int32_t)uid;
        command.run_as_gid = (int32_t)gid;
        command.host_paths = true;
    }
    command.lease = view->request && view->request->requeue_on_loss &&
                    view->request->on_unreachable == UNREACHABLE_MOVE;
    command.spec_json = spec.data;
    copy(command.checkpoint, sizeof(command.checkpoint), view->checkpoint);
    command.checkpoint_saved_ms = view->checkpoint_saved_ms;
    command.deadline_ms = view->request ? view->request->deadline_ms : 0;
    command.checkpoint_every_ms = view->checkpoint_every_ms;
    command.parts_count = view->allocation.parts_count;
    command.parts =
        make_parts(grid_site_get(grid, (uint32_t)index, &reachable), &view->allocation, &arena);
    if (!command.parts)
        return err_set(err, -ENOMEM, "out of memory");
    command.across_count = view->across.sites_count;
    command.across_self = view->across.self;
    for (uint32_t i = 0; i < command.across_count; i++) {
        copy(command.across[i].site, sizeof(command.across[i].site), view->across.sites[i].site);
        command.across[i].tasks = view->across.sites[i].tasks;
    }
    return wire_command_print(&command, out);
}

int command_print_effect(const struct grid *grid, const struct auth *auth, const struct seal *seal,
                         const struct effect *effect, struct buf *out, struct err *err)
{
    struct wire_command stop = { .type = WIRE_STOP, .grace_ms = -1 };

    if (effect->type == EFFECT_RUN)
        return print_run(grid, auth, seal, effect, out, err);
    if (effect->type == EFFECT_SUSPEND || effect->type == EFFECT_RESUME)
        stop.type = effect->type == EFFECT_SUSPEND ? WIRE_SUSPEND : WIRE_RESUME;
    stop.attempt.job_id = effect->job_id;
    stop.attempt.epoch = effect->epoch;
    if (stop.type == WIRE_STOP && !effect->view.cancel_requested &&
        effect->view.request->checkpoint == CHECKPOINT_ASKED)
        stop.grace_ms = WIRE_GRACE_SAVES; /* it goes on later from there */
    copy(stop.reason, sizeof(stop.reason), effect->view.reason);
    return wire_command_print(&stop, out);
}

#include "grid/event.h"

#include "base/arena.h"
#include "model/chip.h"

#include <errno.h>
#include <string.h>

static bool is_listed(const struct chip_figures *list, uint32_t count, const char *kind)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(list[i].kind, kind) == 0)
            return true;
    return false;
}

int event_fill_chips(struct event *event, const struct catalogue *catalogue, struct arena *arena)
{
    const struct site_info *site = &event->site_joined.site;
    struct chip_figures *list = NULL;
    uint32_t count = 0, cap = 0;

    for (uint32_t i = 0; i < site->nodes_count; i++) {
        for (uint32_t k = 0; k < site->nodes[i].devices_count; k++) {
            const char *kind = site->nodes[i].devices[k].chip;
            const struct chip *chip = catalogue_find(catalogue, kind);

            if (!chip || count == SITE_CHIPS_MAX || is_listed(list, count, kind))
                continue;
            if (count == cap) {
                struct chip_figures *more = arena_alloc(arena, cap ? cap * 2 : 8, sizeof(*more));

                if (!more)
                    return -ENOMEM;
                if (count)
                    memcpy(more, list, count * sizeof(*more));
                list = more;
                cap = cap ? cap * 2 : 8;
            }
            memcpy(list[count].kind, chip->kind, sizeof(chip->kind));
            memcpy(list[count].metric_milli, chip->metric_milli, sizeof(chip->metric_milli));
            list[count].power_watts = chip->power_watts;
            list[count].power_idle_watts = chip->power_idle_watts;
            count++;
        }
    }
    event->site_joined.chips = list;
    event->site_joined.chips_count = count;
    return 0;
}

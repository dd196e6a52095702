#include "model/request.h"

#include <string.h>

bool request_chip_is_match(const char *wanted, const char *kind)
{
    size_t len = strlen(wanted);

    if (len == 0 || len > strlen(kind) || strncasecmp(wanted, kind, len) != 0)
        return false;
    return kind[len] == '\0' || kind[len] == '-';
}

uint32_t request_width(uint32_t tasks_min, uint32_t tasks_max, uint32_t step, uint32_t tasks)
{
    uint64_t width = tasks_min, most = tasks < tasks_max ? tasks : tasks_max;

    if (most <= width || step == 0)
        return tasks_min;
    if (step != REQUEST_STEP_DOUBLE)
        return (uint32_t)(width + (most - width) / step * step);
    while (width * 2 <= most)
        width *= 2;
    return (uint32_t)width;
}

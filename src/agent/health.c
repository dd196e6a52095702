#include "agent/health.h"

#include "agent/discover_internal.h"
#include "agent/vendor_text.h"
#include "wire/wire.h"

#include <ctype.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

/* Faults of NVIDIA's driver after which a device is to be left alone; others are of the program's
 * making, or mend themselves. */
static const struct {
    uint32_t code;
    const char *text;
} xids[] = {
    { 48, "double-bit ECC error" },   { 62, "internal micro-controller halt" },
    { 64, "row remapping failed" },   { 74, "NVLink error" },
    { 79, "fallen off the bus" },     { 92, "many single-bit ECC errors" },
    { 95, "uncontained ECC error" },  { 109, "context switch time-out" },
    { 119, "GSP time-out" },          { 120, "GSP error" },
    { 140, "unrecovered ECC error" }, { 143, "GPU initialization failed" },
};

bool health_parse_fault(const char *line, size_t len, struct health_fault *fault_out)
{
    static const char mark[] = "NVRM: Xid (PCI:";
    const char *at = memmem(line, len, mark, sizeof(mark) - 1), *end = line + len;
    char address[32], number[12] = "";
    size_t used = 0;
    uint32_t code;

    if (!at)
        return false;
    for (at += sizeof(mark) - 1; at < end && *at != ')' && used + 3 < sizeof(address); at++)
        address[used++] = *at;
    if (at == end || *at != ')')
        return false;
    address[used] = '\0';
    if (strchr(address, ':') && !strchr(address, '.')) /* the driver leaves the function out */
        snprintf(address + used, sizeof(address) - used, ".0");
    if (!discover_pci_address(address, fault_out->address))
        return false;
    for (at++; at < end && (*at == ':' || *at == ' '); at++)
        ;
    for (used = 0; at < end && isdigit((unsigned char)*at) && used + 1 < sizeof(number); at++)
        number[used++] = *at;
    if (!slice_parse_u32(slice_of(number), &code))
        return false;
    for (size_t i = 0; i < ARRAY_COUNT(xids); i++)
        if (xids[i].code == code) {
            fault_out->code = code;
            snprintf(fault_out->text, sizeof(fault_out->text), "%s", xids[i].text);
            return true;
        }
    return false;
}

void health_take_fault(struct health *health, uint32_t place, const struct health_fault *fault,
                       int64_t now_ms)
{
    snprintf(health->faults[place].text, sizeof(health->faults[place].text), "XID %" PRIu32 ": %s",
             fault->code, fault->text);
    health->faults[place].until_ms = now_ms + HEALTH_FAULT_HOLD_MS;
}

/* The same reason with other numbers in it: a temperature that rises by a degree is no news. */
static bool is_same_reason(const char *a, const char *b)
{
    while (*a || *b) {
        while (isdigit((unsigned char)*a))
            a++;
        while (isdigit((unsigned char)*b))
            b++;
        if (*a != *b)
            return false;
        if (*a) {
            a++;
            b++;
        }
    }
    return true;
}

static void judge_device(struct health *health, uint32_t place, const struct device_info *told,
                         struct device_info *looked, int64_t now_ms)
{
    bool was_sick = told && told->health == DEVICE_SICK;

    if (health->faults[place].until_ms > now_ms && looked->health == DEVICE_OK) {
        looked->health = DEVICE_SICK;
        snprintf(looked->health_text, sizeof(looked->health_text), "%s",
                 health->faults[place].text);
    }
    if (looked->health == DEVICE_SICK) {
        health->looks_well[place] = 0;
        if (was_sick && is_same_reason(told->health_text, looked->health_text))
            memcpy(looked->health_text, told->health_text, sizeof(looked->health_text));
        return;
    }
    if (!was_sick || ++health->looks_well[place] >= HEALTH_LOOKS_WELL) {
        health->looks_well[place] = 0;
        return;
    }
    looked->health = DEVICE_SICK; /* it may be so for a moment only */
    memcpy(looked->health_text, told->health_text, sizeof(looked->health_text));
}

void health_judge(struct health *health, const struct node_info *told, struct node_info *looked,
                  int64_t now_ms)
{
    for (uint32_t i = 0; i < looked->devices_count; i++)
        judge_device(health, i, i < told->devices_count ? &told->devices[i] : NULL,
                     &looked->devices[i], now_ms);
}

/* --- the node ------------------------------------------------------------------------------- */

static bool count_memory_errors(const char *root, uint64_t *count_out)
{
    const struct discover_config config = { .root = root };
    char pattern[DISCOVER_PATH_BYTES];
    glob_t found;

    *count_out = 0;
    discover_path(&config, "/sys/devices/system/edac/mc/mc*/ue_count", pattern);
    if (glob(pattern, 0, NULL, &found) != 0)
        return false;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const struct discover_config plain = { 0 };
        char text[32];

        discover_read_line(&plain, found.gl_pathv[i], text, sizeof(text));
        *count_out += strtoull(text, NULL, 10);
    }
    globfree(&found);
    return true;
}

bool health_look_at_node(struct health *health, const char *root, const char *state_dir,
                         char reason_out[120])
{
    struct statvfs disk;
    uint64_t errors;

    if (statvfs(state_dir, &disk) == 0) {
        if (disk.f_flag & ST_RDONLY) {
            snprintf(reason_out, 120, WIRE_NODE_UNHEALTHY "its state folder is read-only");
            return false;
        }
        if ((uint64_t)disk.f_bavail * disk.f_frsize < HEALTH_DISK_BYTES_LEAST) {
            snprintf(reason_out, 120, WIRE_NODE_UNHEALTHY "no space is left on its disk");
            return false;
        }
    }
    if (!count_memory_errors(root, &errors))
        return true;
    if (!health->memory_is_known) {
        health->memory_is_known = true;
        health->memory_errors = errors;
    }
    if (errors <= health->memory_errors)
        return true;
    snprintf(reason_out, 120, WIRE_NODE_UNHEALTHY "%" PRIu64 " uncorrected memory errors",
             errors - health->memory_errors);
    return false;
}

bool health_judge_node(struct health *health, bool is_well, const char *reason)
{
    if (!is_well) {
        bool is_news = !health->node_is_sick;

        health->node_is_sick = true;
        health->node_looks_well = 0;
        if (is_news)
            snprintf(health->node_reason, sizeof(health->node_reason), "%s", reason);
        return is_news;
    }
    if (!health->node_is_sick || ++health->node_looks_well < HEALTH_LOOKS_WELL)
        return false;
    health->node_is_sick = false;
    health->node_looks_well = 0;
    return true;
}

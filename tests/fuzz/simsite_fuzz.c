/* simsite_fuzz.c - the file of a made-up site, and the log of what it ran. The first byte chooses.
 */
#include "agent/simsite.h"
#include "agent/simsite_log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_file(const char *text, size_t len)
{
    struct simsite site;

    if (simsite_parse("f", text, len, &site, NULL) < 0)
        return;
    assert(site.nodes >= 1 && site.nodes <= SITE_NODES_MAX && site.devices <= NODE_DEVICES_MAX);
    assert(site.cpus >= 1 && site.memory_bytes > 0 && site.disk_bytes >= 0);
    assert(site.run_ms >= 0 && site.start_ms >= 0 && site.stop_ms >= 0);
    assert(site.failures_milli >= 0 && site.failures_milli <= 1000);
    assert(!site.devices || site.chip[0]);
}

static void see_run(void *context, const struct simsite_run *run)
{
    uint64_t sum = 0;

    (void)context;
    assert(run->parts_count > 0);
    for (uint32_t i = 0; i < run->parts_count; i++)
        for (uint32_t d = 0; d < run->parts[i].devices_count; d++)
            sum += run->parts[i].devices[d].index + run->parts[i].devices[d].milli;
    assert(sum < UINT64_MAX);
    free(run->parts);
}

static void check_log(const char *text, size_t len)
{
    struct simsite_log *log = NULL;
    char path[64];
    int fd = memfd_create("simsite", MFD_CLOEXEC);

    if (fd < 0 || write(fd, text, len) != (ssize_t)len)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (simsite_log_open(path, see_run, NULL, &log, NULL) == 0)
        simsite_log_close(log);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] % 2 == 0)
        check_file((const char *)data + 1, size - 1);
    else
        check_log((const char *)data + 1, size - 1);
    return 0;
}

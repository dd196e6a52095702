/* OpenCL through its loader, opened at run time: mains neither links to it nor needs its headers.
 * The few names and numbers below are those of the OpenCL 1.2 specification (Khronos). */
#include "agent/discover_internal.h"

#include "agent/vendor_text.h"
#include "base/clock.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLATFORMS_MAX 16u
#define OUTPUT_BYTES_MAX 65536u

#define CL_DEVICE_TYPE_GPU (UINT64_C(1) << 2)
#define CL_DEVICE_TYPE_ACCELERATOR (UINT64_C(1) << 3)
#define CL_DEVICE_VENDOR_ID 0x1001u
#define CL_DEVICE_GLOBAL_MEM_SIZE 0x101fu
#define CL_DEVICE_AVAILABLE 0x1027u
#define CL_DEVICE_NAME 0x102bu
#define CL_DRIVER_VERSION 0x102du

typedef int32_t get_platforms(uint32_t max, void **platforms, uint32_t *count);
typedef int32_t get_devices(void *platform, uint64_t type, uint32_t max, void **devices,
                            uint32_t *count);
typedef int32_t get_info(void *device, uint32_t what, size_t bytes, void *value, size_t *size);

/* Without a driver's .icd file the loader has nothing to load. */
static bool has_icd(const struct discover_config *config)
{
    char pattern[DISCOVER_PATH_BYTES];
    glob_t found;
    bool has;

    if (getenv("OCL_ICD_VENDORS") || getenv("OCL_ICD_FILENAMES"))
        return true;
    discover_path(config, "/etc/OpenCL/vendors/*.icd", pattern);
    has = glob(pattern, 0, NULL, &found) == 0;
    if (has)
        globfree(&found);
    return has;
}

static void print_device(FILE *out, get_info *info, void *device)
{
    uint32_t vendor = 0, available = 0;
    uint64_t bytes = 0;
    char name[96] = "", driver[64] = "", clean[96];

    info(device, CL_DEVICE_VENDOR_ID, sizeof(vendor), &vendor, NULL);
    info(device, CL_DEVICE_AVAILABLE, sizeof(available), &available, NULL);
    info(device, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof(bytes), &bytes, NULL);
    info(device, CL_DEVICE_NAME, sizeof(name) - 1, name, NULL);
    info(device, CL_DRIVER_VERSION, sizeof(driver) - 1, driver, NULL);
    if (!available)
        return;
    slice_copy(slice_trim(slice_of(name)), clean, sizeof(clean));
    fprintf(out, "%" PRIx32 "|%" PRIu64 "|", vendor, bytes);
    for (const char *p = clean; *p; p++)
        fputc(*p == '|' ? '/' : *p, out);
    slice_copy(slice_trim(slice_of(driver)), clean, sizeof(clean));
    fprintf(out, "|%s\n", clean);
}

/* In the child: one line a device. The exit status. */
static int print_devices(const char *library, FILE *out)
{
    void *loader = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    get_platforms *platforms_of = NULL;
    get_devices *devices_of = NULL;
    get_info *info = NULL;
    void *platforms[PLATFORMS_MAX], *devices[NODE_DEVICES_MAX];
    uint32_t platforms_count = 0;

    if (!loader)
        return 3;
    *(void **)&platforms_of = dlsym(loader, "clGetPlatformIDs"); /* as POSIX has it */
    *(void **)&devices_of = dlsym(loader, "clGetDeviceIDs");
    *(void **)&info = dlsym(loader, "clGetDeviceInfo");
    if (!platforms_of || !devices_of || !info)
        return 4;
    if (platforms_of(PLATFORMS_MAX, platforms, &platforms_count) != 0)
        return 0; /* the loader found no driver: no device */
    for (uint32_t i = 0; i < platforms_count && i < PLATFORMS_MAX; i++) {
        uint32_t count = 0;

        if (devices_of(platforms[i], CL_DEVICE_TYPE_GPU | CL_DEVICE_TYPE_ACCELERATOR,
                       NODE_DEVICES_MAX, devices, &count) != 0)
            continue; /* -1: this platform has CPUs only */
        for (uint32_t k = 0; k < count && k < NODE_DEVICES_MAX; k++)
            print_device(out, info, devices[k]);
    }
    return 0;
}

static pid_t start_child(const char *library, int *out_fd)
{
    int pipes[2];
    pid_t pid;

    if (pipe2(pipes, O_CLOEXEC | O_NONBLOCK) < 0)
        return -1;
    pid = fork();
    if (pid == 0) {
        FILE *out = fdopen(pipes[1], "w");
        int status = 2;

        setpgid(0, 0);
        if (out && fcntl(pipes[1], F_SETFL, 0) == 0) {
            status = print_devices(library, out);
            fflush(out);
        }
        _exit(status);
    }
    close(pipes[1]);
    if (pid < 0)
        close(pipes[0]);
    else
        setpgid(pid, pid); /* whoever comes first: the group must exist before a kill */
    *out_fd = pipes[0];
    return pid;
}

static bool read_line(struct slice line, struct opencl_device *device)
{
    struct slice cells[SLICE_CELLS_MAX];
    char text[32];
    int64_t milli;

    if (slice_split(line, '|', cells) < 4 || !slice_parse_milli(cells[1], &milli))
        return false;
    slice_copy(cells[0], text, sizeof(text));
    device->pci_vendor = (uint32_t)strtoul(text, NULL, 16);
    device->memory_bytes = milli / 1000;
    slice_copy(cells[2], device->model, sizeof(device->model));
    slice_copy(cells[3], device->driver, sizeof(device->driver));
    return true;
}

uint32_t discover_opencl(const struct discover_config *config, struct opencl_device *devices,
                         uint32_t devices_max, struct err *err)
{
    CLEANUP(buf_fini) struct buf out = buf_init(OUTPUT_BYTES_MAX);
    const char *library = config->opencl_library ? config->opencl_library : "libOpenCL.so.1";
    struct slice rest, line;
    uint32_t count = 0;
    struct err why = { 0 };
    pid_t pid;
    int fd;

    if (!config->opencl_library && !has_icd(config))
        return 0;
    pid = start_child(library, &fd);
    if (pid < 0) {
        err_set(err, -errno, "OpenCL: no process: %s", strerror(errno));
        return 0;
    }
    if (vendor_child_collect(pid, fd, "OpenCL", clock_mono_ms() + OPENCL_MS_MAX, &out, &why) < 0) {
        if (strstr(why.text, "exit status 3"))
            err_set(err, -ENOENT, "OpenCL: drivers are installed, but %s cannot be loaded",
                    library);
        else if (err)
            *err = why;
    }
    rest = (struct slice){ out.data, out.len };
    while (count < devices_max && out.data && slice_next_line(&rest, &line))
        count += read_line(line, &devices[count]) ? 1 : 0;
    return count;
}

/* fake_opencl.c - a libOpenCL of two platforms: one with CPUs only, one with a CPU, a GPU, an
 * accelerator and a GPU that is not available. */
#include <stdint.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

static const struct {
    uint64_t type, bytes;
    uint32_t vendor, available;
    const char *name;
} devices[] = {
    { 2, 1 << 20, 0x8086, 1, "A CPU" },
    { 4, UINT64_C(17179869184), 0x8086, 1, "Intel(R) Arc(TM) | A770" },
    { 8, UINT64_C(1073741824), 0x1002, 1, "gfx1100" },
    { 4, UINT64_C(1073741824), 0x8086, 0, "asleep" },
};

EXPORT int32_t clGetPlatformIDs(uint32_t max, void **platforms, uint32_t *count);
EXPORT int32_t clGetDeviceIDs(void *platform, uint64_t type, uint32_t max, void **out,
                              uint32_t *count);
EXPORT int32_t clGetDeviceInfo(void *device, uint32_t what, size_t bytes, void *value,
                               size_t *size);

int32_t clGetPlatformIDs(uint32_t max, void **platforms, uint32_t *count)
{
    for (uintptr_t i = 0; i < 2 && i < max; i++)
        platforms[i] = (void *)(i + 1);
    *count = 2;
    return 0;
}

int32_t clGetDeviceIDs(void *platform, uint64_t type, uint32_t max, void **out, uint32_t *count)
{
    *count = 0;
    if (platform == (void *)1)
        return -1; /* CL_DEVICE_NOT_FOUND */
    for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
        if ((devices[i].type & type) && *count < max)
            out[(*count)++] = (void *)(uintptr_t)&devices[i];
    return 0;
}

int32_t clGetDeviceInfo(void *device, uint32_t what, size_t bytes, void *value, size_t *size)
{
    const __typeof__(devices[0]) *from = device;

    (void)size;
    memset(value, 0, bytes);
    switch (what) {
    case 0x1001:
        memcpy(value, &from->vendor, 4);
        return 0;
    case 0x1027:
        memcpy(value, &from->available, 4);
        return 0;
    case 0x101f:
        memcpy(value, &from->bytes, 8);
        return 0;
    case 0x102b:
        memcpy(value, from->name, strlen(from->name) + 1);
        return 0;
    case 0x102d:
        memcpy(value, "24.1", 5);
        return 0;
    default:
        return -30;
    }
}

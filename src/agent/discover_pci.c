#include "agent/discover_internal.h"

#include "agent/vendor_text.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCI_FOLDER "/sys/bus/pci/devices"

bool discover_pci_address(const char *text, char out[16])
{
    unsigned long parts[4] = { 0, 0, 0, 0 }; /* domain, bus, slot, function */
    size_t colons = 0, i;

    if (!slice_is_bus_id(slice_of(text)))
        return false;
    for (const char *p = text; *p; p++)
        colons += *p == ':' ? 1 : 0;
    for (i = 2 - colons; i < 4; i++) { /* without a domain: "18:00.0" */
        char *end;

        parts[i] = strtoul(text, &end, 16);
        if (end == text || parts[i] > (i == 0 ? 0xffffu : i == 3 ? 7u : 0xffu))
            return false;
        text = end + (*end ? 1 : 0);
    }
    snprintf(out, 16, "%04x:%02x:%02x.%x", (unsigned)parts[0] & 0xffff, (unsigned)parts[1] & 0xff,
             (unsigned)parts[2] & 0xff, (unsigned)parts[3] & 0xf);
    return *text == '\0';
}

static unsigned long read_hex(const struct discover_config *config, const char *address,
                              const char *file)
{
    char path[128], text[32];

    snprintf(path, sizeof(path), PCI_FOLDER "/%s/%s", address, file);
    discover_read_line(config, path, text, sizeof(text));
    return strtoul(text, NULL, 16);
}

static uint32_t read_numa(const struct discover_config *config, const char *address)
{
    char path[128], text[32];
    uint32_t numa;

    snprintf(path, sizeof(path), PCI_FOLDER "/%s/numa_node", address);
    discover_read_line(config, path, text, sizeof(text));
    return slice_parse_u32(slice_of(text), &numa) ? numa : UINT32_MAX; /* "-1" = not known */
}

static int compare_address(const void *a, const void *b)
{
    return strcmp(((const struct pci_device *)a)->address, ((const struct pci_device *)b)->address);
}

void discover_pci(const struct discover_config *config, struct pci_list *list)
{
    char folder[DISCOVER_PATH_BYTES];
    struct dirent *entry;
    DIR *dir;

    list->count = 0;
    discover_path(config, PCI_FOLDER, folder);
    dir = opendir(folder);
    while (dir && list->count < PCI_DEVICES_MAX && (entry = readdir(dir)) != NULL) {
        struct pci_device *device = &list->devices[list->count];
        unsigned long class;

        if (!discover_pci_address(entry->d_name, device->address))
            continue;
        class = read_hex(config, device->address, "class") >> 8;
        if ((class >> 8) != 0x03 && (class >> 8) != 0x12 && class != 0x0b40)
            continue;
        device->display = (class >> 8) == 0x03;
        device->vendor = (uint16_t)read_hex(config, device->address, "vendor");
        device->numa = read_numa(config, device->address);
        list->count++;
    }
    if (dir)
        closedir(dir);
    qsort(list->devices, list->count, sizeof(list->devices[0]), compare_address);
}

const struct pci_device *discover_pci_find(const struct pci_list *list, const char *address)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (strcmp(list->devices[i].address, address) == 0)
            return &list->devices[i];
    return NULL;
}

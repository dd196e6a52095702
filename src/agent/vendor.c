#include "agent/vendor.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NVIDIA_QUERY                                                                               \
    "--query-gpu=index,uuid,name,pci.bus_id,driver_version,memory.total,temperature.gpu,"          \
    "power.draw,ecc.errors.uncorrected.volatile.total"

#define GAUDI_QUERY                                                                                \
    "index,module_id,name,uuid,bus_id,driver_version,memory.total,temperature.aip,power.draw"

/* Order is that of discovery, and so of devices in the node. */
static const struct vendor_adapter adapters[] = {
    {
        .name = "nvidia",
        .family = "cuda",
        .runtime = "CUDA",
        .visibility_env = "CUDA_VISIBLE_DEVICES",
        .pci_vendor = 0x10de,
        .displays_count = true,
        .node_glob = "/dev/nvidia[0-9]*",
        .node_formats = "/dev/nvidia%u",
        .nodes_common = "/dev/nvidiactl;/dev/nvidia-uvm;/dev/nvidia-uvm-tools",
        .temperature_c_max = 95,
        .tools = { { { "nvidia-smi", NVIDIA_QUERY ",mig.mode.current",
                       "--format=csv,noheader,nounits" },
                     vendor_parse_nvidia },
                   /* Drivers before 450 know no MIG and refuse the whole query. */
                   { { "nvidia-smi", NVIDIA_QUERY, "--format=csv,noheader,nounits" },
                     vendor_parse_nvidia } },
        .more = { { "nvidia-smi", "-L" }, vendor_parse_nvidia_list },
    },
    {
        .name = "amd",
        .family = "rocm",
        .runtime = "ROCm",
        .visibility_env = "ROCR_VISIBLE_DEVICES",
        .pci_vendor = 0x1002,
        .displays_count = true,
        .driver_node = "/dev/kfd",
        .render_nodes = true,
        .nodes_common = "/dev/kfd",
        .temperature_c_max = 110,
        .tools = { { { "rocm-smi", "--showproductname", "--showuniqueid", "--showbus",
                       "--showdriverversion", "--showmeminfo", "vram", "--showtemp", "--showpower",
                       "--json" },
                     vendor_parse_rocm },
                   { { "amd-smi", "static", "--asic", "--bus", "--driver", "--vram", "--json" },
                     vendor_parse_amd } },
    },
    {
        .name = "intel",
        .family = "habana",
        .runtime = "Habana SynapseAI",
        .visibility_env = "HABANA_VISIBLE_MODULES",
        .pci_vendor = 0x1da3,
        .node_glob = "/dev/hl[0-9]*",
        .node_formats = "/dev/accel/accel%u;/dev/accel/accel_controlD%u;/dev/hl%u;"
                        "/dev/hl_controlD%u",
        .temperature_c_max = 100,
        .tools = { { { "hl-smi", "-Q", GAUDI_QUERY, "-f", "csv,noheader" }, vendor_parse_gaudi },
                   { { "hl-smi" }, vendor_parse_gaudi_table } },
    },
    {
        .name = "huawei",
        .family = "cann",
        .runtime = "CANN",
        .visibility_env = "ASCEND_RT_VISIBLE_DEVICES",
        .pci_vendor = 0x19e5, /* whose display chips sit on its servers' boards */
        .node_glob = "/dev/davinci[0-9]*",
        .node_formats = "/dev/davinci%u",
        .nodes_common = "/dev/davinci_manager;/dev/devmm_svm;/dev/hisi_hdc",
        .library_paths = "/usr/local/Ascend/driver/lib64:/usr/local/Ascend/driver/lib64/driver:"
                         "/usr/local/Ascend/driver/lib64/common",
        .temperature_c_max = 105,
        .tools = { { { "npu-smi", "info" }, vendor_parse_ascend } },
    },
    {
        .name = "cambricon",
        .family = "neuware",
        .runtime = "Neuware",
        .visibility_env = "MLU_VISIBLE_DEVICES",
        .pci_vendor = 0xcabc,
        .displays_count = true,
        .node_glob = "/dev/cambricon_dev[0-9]*",
        .node_formats = "/dev/cambricon_dev%u",
        .nodes_common = "/dev/cambricon_ctl",
        .temperature_c_max = 100,
        .tools = { { { "cnmon" }, vendor_parse_cambricon } },
    },
    {
        .name = "hygon",
        .family = "dtk",
        .runtime = "DTK",
        .visibility_env = "HIP_VISIBLE_DEVICES",
        .pci_vendor = 0x1d94, /* whose CPUs have it as well: the class tells */
        .displays_count = true,
        .driver_node = "/dev/kfd",
        .render_nodes = true,
        .nodes_common = "/dev/kfd;/dev/mkfd",
        .temperature_c_max = 105,
        .tools = { { { "hy-smi", "--showproductname", "--showuniqueid", "--showbus",
                       "--showdriverversion", "--showmeminfo", "vram", "--showtemp", "--showpower",
                       "--json" },
                     vendor_parse_hygon },
                   { { "hy-smi" }, vendor_parse_hygon_table } },
    },
    {
        .name = "mthreads",
        .family = "musa",
        .runtime = "MUSA",
        .visibility_env = "MUSA_VISIBLE_DEVICES",
        .pci_vendor = 0x1ed5,
        .displays_count = true,
        .node_glob = "/dev/mtgpu.[0-9]*",
        .node_formats = "/dev/mtgpu.%u",
        .render_nodes = true,
        .temperature_c_max = 105,
        .tools = { { { "mthreads-gmi" }, vendor_parse_mthreads } },
    },
    {
        .name = "metax",
        .family = "maca",
        .runtime = "MACA",
        .visibility_env = "CUDA_VISIBLE_DEVICES",
        .pci_vendor = 0x9999,
        .displays_count = true,
        .driver_node = "/dev/mxcd",
        .render_nodes = true,
        .nodes_common = "/dev/mxcd",
        .temperature_c_max = 105,
        .tools = { { { "mx-smi" }, vendor_parse_metax } },
    },
    {
        .name = "iluvatar",
        .family = "corex",
        .runtime = "CoreX",
        .visibility_env = "CUDA_VISIBLE_DEVICES",
        .pci_vendor = 0x1e3e,
        .displays_count = true,
        .node_glob = "/dev/iluvatar[0-9]*",
        .node_formats = "/dev/iluvatar%u",
        .nodes_common = "/dev/itrctl",
        .library_paths = "/usr/local/corex/lib64:/usr/local/corex/lib",
        .temperature_c_max = 100,
        .tools = { { { "ixsmi",
                       "--query-gpu=index,uuid,name,pci.bus_id,memory.total,temperature.gpu",
                       "--format=csv,noheader" },
                     vendor_parse_iluvatar },
                   { { "ixsmi" }, vendor_parse_iluvatar_table } },
    },
    {
        .name = "kunlunxin",
        .family = "xpu",
        .runtime = "XPU toolkit (XRE)",
        .visibility_env = "XPU_VISIBLE_DEVICES",
        .pci_vendor = 0x1d22,
        .displays_count = true,
        .node_glob = "/dev/xpu[0-9]*",
        .node_formats = "/dev/xpu%u",
        .nodes_common = "/dev/xpuctrl",
        .temperature_c_max = 100,
        .tools = { { { "xpu_smi", "-m" }, vendor_parse_kunlun },
                   { { "xpu-smi", "-m" }, vendor_parse_kunlun },
                   { { "xpu-smi" }, vendor_parse_kunlun_table } },
    },
    {
        .name = "enflame",
        .family = "tops",
        .runtime = "TopsRider",
        .visibility_env = "TOPS_VISIBLE_DEVICES",
        .pci_vendor = 0x1e36,
        .displays_count = true,
        .node_glob = "/dev/gcu[0-9]*",
        .node_formats = "/dev/gcu%u",
        .temperature_c_max = 100,
        .tools = { { { "efsmi", "-q" }, vendor_parse_enflame },
                   { { "efsmi" }, vendor_parse_enflame_table } },
    },
    {
        .name = "biren",
        .family = "supa",
        .runtime = "BIRENSUPA",
        .visibility_env = "SUPA_VISIBLE_DEVICES",
        .pci_vendor = 0x1ee0,
        .displays_count = true,
        .node_glob = "/dev/biren/card_[0-9]*",
        .node_formats = "/dev/biren/card_%u",
        .nodes_common = "/dev/biren-m",
        .temperature_c_max = 100,
        .tools = { { { "brsmi", "gpu", "--query-gpu=index,name,memory.used,memory.free",
                       "--format=csv,noheader,nounits" },
                     vendor_parse_biren } },
    },
    { .name = NULL },
};

const struct vendor_adapter *vendor_adapters(void)
{
    return adapters;
}

const struct vendor_adapter *vendor_find(const char *name)
{
    for (const struct vendor_adapter *adapter = adapters; adapter->name; adapter++)
        if (strcmp(adapter->name, name) == 0)
            return adapter;
    return NULL;
}

void vendor_device_init(struct vendor_device *device)
{
    *device = (struct vendor_device){
        .memory_bytes = -1, .power_mw = -1, .temperature_c = -1, .health = DEVICE_OK
    };
}

struct vendor_device *vendor_list_add(struct vendor_list *list)
{
    if (list->count == NODE_DEVICES_MAX) {
        list->dropped++;
        return NULL;
    }
    vendor_device_init(&list->devices[list->count]);
    return &list->devices[list->count++];
}

void vendor_device_mark_sick(struct vendor_device *device, const char *fmt, ...)
{
    va_list args;

    if (device->health == DEVICE_SICK)
        return; /* the first reason stays */
    device->health = DEVICE_SICK;
    va_start(args, fmt);
    vsnprintf(device->health_text, sizeof(device->health_text), fmt, args);
    va_end(args);
}

#include "agent/kube_resource.h"

#include <stdio.h>
#include <string.h>

#define MIB INT64_C(1048576)

/* Sources: the vendors' own device plugins and their documents:
 *   nvidia      NVIDIA/k8s-device-plugin, NVIDIA/gpu-feature-discovery (labels)
 *   amd         ROCm/k8s-device-plugin and its node labeller
 *   huawei      Ascend device plugin (MindCluster): one name a series, chip name as a label
 *   cambricon   Cambricon/cambricon-k8s-device-plugin
 *   intel       Intel Gaudi device plugin (habana.ai); intel-device-plugins-for-kubernetes
 *   iluvatar    Deep-Spark/ix-device-plugin
 *   metax, mthreads, hygon, kunlunxin, enflame, biren
 *               the vendors' container tool kits, as gathered by Project-HAMi for its device table
 *   aws         Neuron device plugin;  google: GKE's TPU documents
 * Where a cluster has other names, kubernetes.resource_names adds them. */
static const struct kube_resource table[] = {
    { "nvidia.com/gpu", "nvidia", "cuda", "nvidia.com/gpu.product", "nvidia.com/gpu.memory", MIB },
    { "amd.com/gpu", "amd", "rocm", "amd.com/gpu.product-name", "amd.com/gpu.vram", 1 },
    { "huawei.com/Ascend910", "huawei", "cann", "node.kubernetes.io/npu.chip.name", NULL, 1 },
    { "huawei.com/Ascend910B", "huawei", "cann", "node.kubernetes.io/npu.chip.name", NULL, 1 },
    { "huawei.com/Ascend310P", "huawei", "cann", "node.kubernetes.io/npu.chip.name", NULL, 1 },
    { "huawei.com/Ascend310", "huawei", "cann", "node.kubernetes.io/npu.chip.name", NULL, 1 },
    { "cambricon.com/mlu", "cambricon", "neuware", NULL, NULL, 1 },
    { "cambricon.com/mlu370", "cambricon", "neuware", NULL, NULL, 1 },
    { "cambricon.com/mlu590", "cambricon", "neuware", NULL, NULL, 1 },
    { "habana.ai/gaudi", "intel", "habana", NULL, NULL, 1 },
    { "gpu.intel.com/i915", "intel", "opencl", NULL, NULL, 1 },
    { "gpu.intel.com/xe", "intel", "opencl", NULL, NULL, 1 },
    { "iluvatar.ai/gpu", "iluvatar", "corex", NULL, NULL, 1 },
    { "iluvatar.com/gpu", "iluvatar", "corex", NULL, NULL, 1 },
    { "metax-tech.com/gpu", "metax", "maca", "metax-tech.com/gpu.product", NULL, 1 },
    { "mthreads.com/gpu", "mthreads", "musa", NULL, NULL, 1 },
    { "hygon.com/dcu", "hygon", "dtk", NULL, NULL, 1 },
    { "kunlunxin.com/xpu", "kunlunxin", "xpu", NULL, NULL, 1 },
    { "enflame.com/gcu", "enflame", "tops", NULL, NULL, 1 },
    { "birentech.com/gpu", "biren", "supa", NULL, NULL, 1 },
    { "aws.amazon.com/neuron", "aws", "neuron", NULL, NULL, 1 },
    { "google.com/tpu", "google", "tpu", "cloud.google.com/gke-tpu-accelerator", NULL, 1 },
};

const struct kube_resource *kube_resource_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(table); i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

bool kube_resource_is_device(const char *name, const json_t *resource_names)
{
    return kube_resource_find(name) || json_object_get(resource_names, name);
}

const struct chip *kube_resource_chip(const char *name, const json_t *resource_names,
                                      const char *product, int64_t memory_bytes,
                                      const struct catalogue *catalogue)
{
    const char *told = json_string_value(json_object_get(resource_names, name));
    const struct kube_resource *row = kube_resource_find(name);
    const struct chip *chip;
    char text[96];

    if (told)
        return catalogue_find(catalogue, told);
    if (!row || !product[0])
        return NULL;
    /* A label's value has no blanks: "NVIDIA-H100-80GB-HBM3". */
    snprintf(text, sizeof(text), "%s", product);
    for (char *p = text; *p; p++)
        if (*p == '-' || *p == '_')
            *p = ' ';
    chip = catalogue_match(catalogue, row->vendor, text, memory_bytes);
    return chip ? chip : catalogue_match(catalogue, row->vendor, product, memory_bytes);
}

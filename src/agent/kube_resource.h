/* kube_resource.h - what the vendors' device plugins call their devices in Kubernetes. */
#pragma once

#include "model/chip.h"
#include "model/inventory.h"

#include <jansson.h>

struct kube_resource {
    const char *name;   /* "nvidia.com/gpu" */
    const char *vendor; /* as in the catalogue */
    const char *family;
    const char *product_label; /* the label of a node that tells the product; NULL = none known */
    const char *memory_label;  /* and the memory of one device; NULL = none known */
    int64_t memory_unit_bytes; /* of a bare number there */
};

/* The row of a resource's name; NULL = no device that is known. A name that an owner added
 * (`resource_names`) has no row: see kube_resource_is_device. */
const struct kube_resource *kube_resource_find(const char *name);
bool kube_resource_is_device(const char *name, const json_t *resource_names);
/* The kind of a device: as the owner says, else by the product that the node's labels tell.
 * NULL: not known. `product` "" and `memory_bytes` 0: not told. */
const struct chip *kube_resource_chip(const char *name, const json_t *resource_names,
                                      const char *product, int64_t memory_bytes,
                                      const struct catalogue *catalogue);

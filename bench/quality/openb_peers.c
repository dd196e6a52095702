/* FGD (Weng et al., USENIX ATC 2023) and BestFit as their authors' simulator has them: integer
 * scores 0-100, the first node by name of equal ones. FGD is given the whole list's mix. */
#include "openb.h"

#include "base/cleanup.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TYPES_MAX 1024u
#define CACHE_BITS 19u
#define CPU_MOST 128000.0 /* of the largest node */

struct pod_type {
    struct openb_pod pod;
    uint32_t first; /* in the list: settles ties */
    double share;
};
struct known {
    uint64_t key;
    double fragment;
};
struct known_score {
    uint64_t key;
    int score;
    uint32_t device;
};
struct peer {
    enum openb_peer kind;
    struct pod_type types[TYPES_MAX];
    uint32_t types_count;
    struct known *cache;
    struct known_score *scores;
    struct openb_node nodes[OPENB_NODES_MAX];
    uint64_t keys[OPENB_NODES_MAX]; /* of the node's free room, device by device */
};

static int compare_types(const void *a, const void *b)
{
    const struct pod_type *x = a, *y = b;

    if (x->share < y->share || x->share > y->share)
        return x->share < y->share ? 1 : -1;
    return x->first < y->first ? -1 : 1;
}

/* The most frequent kinds of pod that make up 95 % of the list. */
static void find_types(struct peer *peer, const struct openb *openb)
{
    double sum = 0;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < openb->pods_count; i++) {
        const struct openb_pod *pod = &openb->pods[i];
        uint32_t j = 0;

        while (j < peer->types_count &&
               (peer->types[j].pod.cpu_milli != pod->cpu_milli ||
                peer->types[j].pod.devices != pod->devices ||
                peer->types[j].pod.milli != pod->milli || peer->types[j].pod.chips != pod->chips))
            j++;
        if (j == peer->types_count) {
            if (j == TYPES_MAX)
                continue;
            peer->types[peer->types_count++] = (struct pod_type){ .pod = *pod, .first = i };
        }
        peer->types[j].share++;
    }
    qsort(peer->types, peer->types_count, sizeof(peer->types[0]), compare_types);
    while (kept < peer->types_count && sum < 0.95 * openb->pods_count)
        sum += peer->types[kept++].share;
    peer->types_count = kept;
    for (uint32_t i = 0; i < kept; i++)
        peer->types[i].share /= sum;
}

static bool fits(const struct openb_node *node, const struct openb_pod *pod)
{
    uint32_t whole = 0, most = 0;

    if (node->cpu_milli < pod->cpu_milli)
        return false;
    if (!pod->devices)
        return true;
    if (!(pod->chips >> node->chip & 1))
        return false;
    for (uint32_t i = 0; i < node->devices; i++) {
        whole += node->free_milli[i] == 1000;
        most = MAX(most, node->free_milli[i]);
    }
    return pod->milli == 1000 ? whole >= pod->devices : most >= pod->milli;
}

static double count_fragment(const struct peer *peer, const struct openb_node *node)
{
    double fragment = 0;
    uint32_t idle = 0;

    for (uint32_t i = 0; i < node->devices; i++)
        idle += node->free_milli[i];
    for (uint32_t t = 0; t < peer->types_count; t++) {
        const struct pod_type *type = &peer->types[t];
        uint32_t lost = 0;

        if (!type->pod.devices || !fits(node, &type->pod))
            lost = idle;
        else
            for (uint32_t i = 0; i < node->devices; i++)
                if (node->free_milli[i] < type->pod.milli)
                    lost += node->free_milli[i];
        fragment += type->share * lost;
    }
    return fragment;
}

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t key_of(const struct openb_node *node)
{
    uint64_t key = mix((uint64_t)node->cpu_milli << 16 | (uint64_t)node->chip << 8 | node->devices);

    for (uint32_t i = 0; i < node->devices; i++)
        key = mix(key + node->free_milli[i] + 1);
    return key;
}

static double fragment_of(struct peer *peer, const struct openb_node *node)
{
    uint64_t key = 0;
    struct known *known;

    for (uint32_t i = 0; i < node->devices; i++)
        key += node->free_milli[i] ? mix(node->free_milli[i] * 0x9e3779b97f4a7c15u) : 0;
    if (!key)
        return 0;
    key = mix(key + (uint64_t)node->cpu_milli * 0x9e3779b97f4a7c15u + node->chip);
    known = &peer->cache[key >> (64 - CACHE_BITS)];
    if (known->key != key) {
        known->key = key;
        known->fragment = count_fragment(peer, node);
    }
    return known->fragment;
}

static void place(struct openb_node *node, const struct openb_pod *pod, uint32_t device)
{
    node->cpu_milli -= pod->cpu_milli;
    node->memory_mib -= pod->memory_mib;
    if (pod->milli < 1000) {
        if (pod->devices)
            node->free_milli[device] = (uint16_t)(node->free_milli[device] - pod->milli);
        return;
    }
    for (uint32_t i = 0, left = pod->devices; left; i++)
        if (node->free_milli[i] == 1000) {
            node->free_milli[i] = 0;
            left--;
        }
}

static int score_fgd(struct peer *peer, const struct openb_node *node, const struct openb_pod *pod,
                     uint32_t *device_out)
{
    double before = fragment_of(peer, node);
    int best = -1;

    for (uint32_t i = 0; i < node->devices || i == 0; i++) {
        struct openb_node after = *node;
        int score;

        if (pod->devices && pod->milli < 1000 && node->free_milli[i] < pod->milli)
            continue;
        place(&after, pod, i);
        score = (int)(100 / (1 + exp(-(before - fragment_of(peer, &after)) / 1000)));
        if (score > best) {
            best = score;
            *device_out = i;
        }
        if (!pod->devices || pod->milli == 1000)
            break;
    }
    return best;
}

/* score_fgd by way of what is known. */
static int known_fgd(struct peer *peer, uint32_t number, const struct openb_pod *pod,
                     uint64_t pod_key, uint32_t *device_out)
{
    uint64_t key = mix(peer->keys[number] ^ pod_key);
    struct known_score *known = &peer->scores[key >> (64 - CACHE_BITS)];

    if (known->key != key) {
        known->device = 0;
        known->score = score_fgd(peer, &peer->nodes[number], pod, &known->device);
        known->key = key;
    }
    *device_out = known->device;
    return known->score;
}

static int score_bestfit(const struct openb_node *node, const struct openb_pod *pod,
                         uint32_t *device_out)
{
    uint32_t idle = 0, least = UINT32_MAX;

    for (uint32_t i = 0; i < node->devices; i++) {
        idle += node->free_milli[i];
        if (node->free_milli[i] >= pod->milli && node->free_milli[i] < least) {
            least = node->free_milli[i];
            *device_out = i;
        }
    }
    return (int)(100 * (1 - (0.5 * (node->cpu_milli - pod->cpu_milli) / CPU_MOST +
                             0.5 * (idle - (double)pod->devices * pod->milli) / 8000)));
}

static void peer_destroy(struct peer *peer)
{
    if (!peer)
        return;
    free(peer->cache);
    free(peer->scores);
    free(peer);
}

double openb_peer_run(const struct openb *openb, enum openb_peer kind)
{
    struct peer *peer = calloc(1, sizeof(*peer));
    int64_t used = 0;

    if (peer) {
        peer->cache = calloc((size_t)1 << CACHE_BITS, sizeof(*peer->cache));
        peer->scores = calloc((size_t)1 << CACHE_BITS, sizeof(*peer->scores));
    }
    if (!peer || !peer->cache || !peer->scores) {
        peer_destroy(peer);
        return NAN;
    }
    peer->kind = kind;
    memcpy(peer->nodes, openb->nodes, sizeof(peer->nodes));
    find_types(peer, openb);
    for (uint32_t i = 0; i < openb->nodes_count; i++)
        peer->keys[i] = key_of(&peer->nodes[i]);
    for (uint32_t a = 0; a < openb->arrivals_count; a++) {
        const struct openb_pod *pod = &openb->arrivals[a];
        uint32_t best_node = UINT32_MAX, best_device = 0;
        uint64_t pod_key =
            mix((uint64_t)pod->cpu_milli << 24 | (uint64_t)pod->devices << 12 | pod->milli);
        int best = -1;

        for (uint32_t i = 0; i < openb->nodes_count; i++) {
            uint32_t device = 0;
            int score;

            if (peer->nodes[i].memory_mib < pod->memory_mib || !fits(&peer->nodes[i], pod))
                continue;
            score = kind == OPENB_FGD ? known_fgd(peer, i, pod, pod_key, &device)
                                      : score_bestfit(&peer->nodes[i], pod, &device);
            if (score > best) {
                best = score;
                best_node = i;
                best_device = device;
            }
        }
        if (best_node == UINT32_MAX)
            continue;
        place(&peer->nodes[best_node], pod, best_device);
        peer->keys[best_node] = key_of(&peer->nodes[best_node]);
        used += (int64_t)pod->devices * pod->milli;
    }
    peer_destroy(peer);
    return 100.0 * (double)used / (double)openb->total_milli;
}

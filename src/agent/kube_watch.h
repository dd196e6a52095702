/* kube_watch.h - a collection of the API server's, followed: one list, then a watch from there.
 *
 * A list comes in pages and is told as begin, item ("ADDED") for each, end; after it what changes
 * comes as item ("ADDED", "MODIFIED", "DELETED"). What the list did not name is gone: the caller
 * sweeps in `end`. A watch that ends is begun again where it stood (bookmarks keep that place
 * fresh); one whose place is too old (410) lists anew, as does everything each
 * KUBE_LIST_AGE_MS. Failures wait, longer each time; meanwhile nothing is told. */
#pragma once

#include "agent/kube_api.h"

#define KUBE_PAGE 250
#define KUBE_WATCH_S 120 /* the server ends a watch after so long */
#define KUBE_SILENCE_MS 150000
#define KUBE_LIST_AGE_MS 600000
#define KUBE_ITEMS_MAX 500000u

struct kube_watch_config {
    struct kube_api *api;
    const char *what;  /* for messages: "nodes" */
    const char *path;  /* "/api/v1/nodes"; borrowed, as is `query` */
    const char *query; /* "labelSelector=..."; "" = none */
    void (*begin)(void *context);
    void (*item)(void *context, const char *type, const json_t *object);
    void (*end)(void *context);
    /* Failed, in passing or until somebody mends it (403); may be NULL. */
    void (*failed)(void *context, const struct kube_answer *answer);
    void *context;
};
struct kube_watch; /* opaque */

/* Begins at once. NULL: out of memory. */
struct kube_watch *kube_watch_create(const struct kube_watch_config *config);
/* Before its api is destroyed. */
void kube_watch_destroy(struct kube_watch *watch);
/* When the last word came that the collection is as told, monotonic ms; 0 = never. */
bool kube_watch_is_synced(const struct kube_watch *watch);
/* When the last list that came whole was asked for (clock_mono_ms); 0 = none yet. */
int64_t kube_watch_list_ms(const struct kube_watch *watch);
/* Look at all of it again, now. */
void kube_watch_list(struct kube_watch *watch);

/* One line of a watch. `type_out` (of `root_out`, which the caller frees): "ADDED", "MODIFIED",
 * "DELETED", "BOOKMARK", "ERROR"; `version_out` its resourceVersion; `code_out` of an ERROR. */
bool kube_watch_parse(const char *line, size_t len, json_t **root_out, const char **type_out,
                      const json_t **object_out, char version_out[64], int *code_out);

#include "agent/kube_settings.h"

#include "base/buf.h"
#include "model/units.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define IMAGE_WAIT_MS 120000
#define SELECTORS_MAX 32u
#define USER_MAX 2147483647

static const char *const gang_names[] = {
    [KUBE_GANG_NONE] = "none",
    [KUBE_GANG_KUEUE] = "kueue",
    [KUBE_GANG_VOLCANO] = "volcano",
};

static bool is_name(const char *text)
{
    size_t len = strlen(text);

    return len > 0 && len < KUBE_NAME_BYTES &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-.") == len && text[0] != '-' &&
           text[0] != '.' && text[len - 1] != '-' && text[len - 1] != '.';
}

static bool is_plain(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p < 0x21 || *p == 0x7f)
            return false;
    return true;
}

enum text_kind { TEXT_NAME, TEXT_PLAIN, TEXT_PATH };

static int take_text(const json_t *json, const char *key, enum text_kind kind, char *out,
                     size_t out_bytes, struct err *err)
{
    const json_t *value = json_object_get(json, key);
    const char *text = json_string_value(value);

    if (!value)
        return 0;
    if (!text || !*text || strlen(text) >= out_bytes)
        return err_set(err, -EINVAL, "kubernetes.%s: expected a text of 1 to %zu bytes", key,
                       out_bytes - 1);
    if (kind == TEXT_NAME && !is_name(text))
        return err_set(err, -EINVAL, "kubernetes.%s: \"%.60s\" is no name of Kubernetes", key,
                       text);
    if (kind == TEXT_PLAIN && !is_plain(text))
        return err_set(err, -EINVAL, "kubernetes.%s: expected a text without blanks", key);
    if (kind == TEXT_PATH && (text[0] != '/' || strstr(text, "/..")))
        return err_set(err, -EINVAL, "kubernetes.%s: expected an absolute path", key);
    snprintf(out, out_bytes, "%s", text);
    return 0;
}

static int take_texts(const json_t *json, struct kube_settings *out, struct err *err)
{
    const struct {
        const char *key;
        enum text_kind kind;
        char *out;
        size_t bytes;
    } keys[] = {
        { "kubeconfig", TEXT_PATH, out->kubeconfig, sizeof(out->kubeconfig) },
        { "context", TEXT_PLAIN, out->context, sizeof(out->context) },
        { "namespace", TEXT_NAME, out->namespace, sizeof(out->namespace) },
        { "default_image", TEXT_PLAIN, out->default_image, sizeof(out->default_image) },
        { "queue", TEXT_NAME, out->queue, sizeof(out->queue) },
        { "service_account", TEXT_NAME, out->service_account, sizeof(out->service_account) },
        { "priority_class", TEXT_NAME, out->priority_class, sizeof(out->priority_class) },
        { "image_pull_secret", TEXT_NAME, out->image_pull_secret, sizeof(out->image_pull_secret) },
        { "rack_label", TEXT_PLAIN, out->rack_label, sizeof(out->rack_label) },
        { "supernode_label", TEXT_PLAIN, out->supernode_label, sizeof(out->supernode_label) },
    };
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < ARRAY_COUNT(keys); i++)
        rc = take_text(json, keys[i].key, keys[i].kind, keys[i].out, keys[i].bytes, err);
    return rc;
}

static int take_gang(const json_t *json, struct kube_settings *out, struct err *err)
{
    const json_t *value = json_object_get(json, "gang");
    const char *text = json_string_value(value);

    if (!value)
        return out->queue[0] ? err_set(err, -EINVAL,
                                       "kubernetes.queue: say in kubernetes.gang whose queue it "
                                       "is: kueue or volcano")
                             : 0;
    for (size_t i = 0; text && i < ARRAY_COUNT(gang_names); i++)
        if (strcmp(text, gang_names[i]) == 0) {
            out->gang = (enum kube_gang)i;
            if (out->gang == KUBE_GANG_KUEUE && !out->queue[0])
                return err_set(err, -EINVAL, "kubernetes.gang: kueue needs kubernetes.queue");
            return 0;
        }
    return err_set(err, -EINVAL, "kubernetes.gang: expected kueue, volcano or none");
}

static int take_numbers(const json_t *json, struct kube_settings *out, struct err *err)
{
    const json_t *wait = json_object_get(json, "image_wait");
    const json_t *user = json_object_get(json, "run_as_user");

    if (wait && (!json_is_string(wait) ||
                 units_parse_duration(json_string_value(wait), &out->image_wait_ms, NULL) < 0))
        return err_set(err, -EINVAL, "kubernetes.image_wait: expected a duration, as \"2m\"");
    if (user && (!json_is_integer(user) || json_integer_value(user) < 0 ||
                 json_integer_value(user) > USER_MAX))
        return err_set(err, -EINVAL, "kubernetes.run_as_user: expected a user's number");
    if (user)
        out->run_as_user = json_integer_value(user);
    return 0;
}

static int take_volume(const json_t *json, struct kube_settings *out, struct err *err)
{
    const json_t *volume = json_object_get(json, "volume");
    const char *claim = json_string_value(json_object_get(volume, "claim"));
    const char *path = json_string_value(json_object_get(volume, "path"));

    if (!volume)
        return 0;
    if (!claim || !is_name(claim) || !path || path[0] != '/' || path[1] == '\0' ||
        strlen(path) >= sizeof(out->volume_path) || strstr(path, "/..") || strchr(path, ':') ||
        path[strlen(path) - 1] == '/' || json_object_size(volume) != 2)
        return err_set(err, -EINVAL,
                       "kubernetes.volume: expected claim (the name of a PersistentVolumeClaim) "
                       "and path (absolute: where pods and this agent see it)");
    snprintf(out->volume_claim, sizeof(out->volume_claim), "%s", claim);
    snprintf(out->volume_path, sizeof(out->volume_path), "%s", path);
    return 0;
}

static int take_map(const json_t *json, const char *key, json_t **out, struct err *err)
{
    json_t *map = json_object_get(json, key);
    const char *name;
    json_t *value;

    if (!map)
        return 0;
    if (!json_is_object(map) || json_object_size(map) > SELECTORS_MAX)
        return err_set(err, -EINVAL, "kubernetes.%s: expected an object of at most %u texts", key,
                       SELECTORS_MAX);
    json_object_foreach (map, name, value)
        if (!json_is_string(value) || strlen(name) >= KUBE_LABEL_BYTES || !*name ||
            strlen(json_string_value(value)) >= KUBE_NAME_BYTES)
            return err_set(err, -EINVAL, "kubernetes.%s.%.60s: expected a short text", key, name);
    *out = json_deep_copy(map);
    return *out ? 0 : err_set(err, -ENOMEM, "kubernetes.%s: out of memory", key);
}

static int take_tolerations(const json_t *json, struct kube_settings *out, struct err *err)
{
    static const char known[] = "|key|operator|value|effect|tolerationSeconds|";
    json_t *list = json_object_get(json, "tolerations");
    json_t *item, *value;
    const char *key;
    char word[40];
    size_t i;

    if (!list)
        return 0;
    if (!json_is_array(list) || json_array_size(list) > SELECTORS_MAX)
        return err_set(err, -EINVAL, "kubernetes.tolerations: expected a list of at most %u",
                       SELECTORS_MAX);
    json_array_foreach (list, i, item) {
        if (!json_is_object(item))
            return err_set(err, -EINVAL, "kubernetes.tolerations[%zu]: expected an object", i);
        json_object_foreach (item, key, value) {
            snprintf(word, sizeof(word), "|%.30s|", key);
            if (!strstr(known, word) ||
                (strcmp(key, "tolerationSeconds") == 0 ? !json_is_integer(value)
                                                       : !json_is_string(value)))
                return err_set(err, -EINVAL,
                               "kubernetes.tolerations[%zu].%.30s: expected what a pod's "
                               "toleration may hold",
                               i, key);
        }
    }
    out->tolerations = json_deep_copy(list);
    return out->tolerations ? 0 : err_set(err, -ENOMEM, "kubernetes.tolerations: out of memory");
}

static int check_keys(const json_t *json, struct err *err)
{
    static const char known[] =
        "|kubeconfig|context|namespace|default_image|gang|queue|service_account|priority_class|"
        "image_pull_secret|image_wait|run_as_user|volume|node_selector|tolerations|"
        "resource_names|rack_label|supernode_label|";
    char word[40];
    json_t *object = json_incref((json_t *)(uintptr_t)json), *value;
    const char *key;
    int rc = 0;

    json_object_foreach (object, key, value) {
        (void)value;
        snprintf(word, sizeof(word), "|%.30s|", key);
        if (rc == 0 && !strstr(known, word))
            rc = err_set(err, -EINVAL, "kubernetes.%.60s: unknown key", key);
    }
    json_decref(object);
    return rc;
}

int kube_settings_parse(const json_t *json, struct kube_settings *settings_out, struct err *err)
{
    struct kube_settings settings = { .image_wait_ms = IMAGE_WAIT_MS, .run_as_user = -1 };
    int rc = 0;

    if (json && !json_is_object(json))
        return err_set(err, -EINVAL, "kubernetes: expected an object");
    if (json)
        rc = check_keys(json, err);
    if (rc == 0)
        rc = take_texts(json, &settings, err);
    if (rc == 0)
        rc = take_gang(json, &settings, err);
    if (rc == 0)
        rc = take_numbers(json, &settings, err);
    if (rc == 0)
        rc = take_volume(json, &settings, err);
    if (rc == 0)
        rc = take_map(json, "node_selector", &settings.node_selector, err);
    if (rc == 0)
        rc = take_map(json, "resource_names", &settings.resource_names, err);
    if (rc == 0)
        rc = take_tolerations(json, &settings, err);
    if (rc < 0) {
        kube_settings_fini(&settings);
        return rc;
    }
    *settings_out = settings;
    return 0;
}

void kube_settings_fini(struct kube_settings *settings)
{
    json_decref(settings->node_selector);
    json_decref(settings->tolerations);
    json_decref(settings->resource_names);
    memset(settings, 0, sizeof(*settings));
}

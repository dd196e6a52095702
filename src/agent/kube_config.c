#include "agent/kube_config.h"

#include "base/file.h"
#include "model/yaml.h"

#include <errno.h>
#include <nettle/base64.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEM_BYTES_MAX (256u << 10)
#define TOKEN_BYTES_MAX (64u << 10)

void kube_access_fini(struct kube_access *access)
{
    free(access->ca_pem);
    free(access->cert_pem);
    if (access->key_pem)
        explicit_bzero(access->key_pem, strlen(access->key_pem));
    free(access->key_pem);
    if (access->token)
        explicit_bzero(access->token, strlen(access->token));
    free(access->token);
    free(access->token_path);
    memset(access, 0, sizeof(*access));
}

static int read_text(const char *path, size_t bytes_max, char **out, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = buf_init(bytes_max);
    int rc = file_read(path, &text, err);

    if (rc < 0)
        return rc;
    *out = buf_take(&text);
    return *out ? 0 : err_set(err, -ENOMEM, "%s: out of memory", path);
}

/* ---- parts of a kubeconfig ---- */

struct reader {
    const char *file;
    struct err *err;
};

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text && *text ? text : NULL;
}

/* The `what` ("cluster") that goes by `name` in the list of such. */
static const json_t *find_named(const struct reader *reader, const json_t *root, const char *list,
                                const char *what, const char *name)
{
    const json_t *all = json_object_get(root, list);

    for (size_t i = 0; name && i < json_array_size(all); i++) {
        const json_t *item = json_array_get(all, i);
        const char *called = text_of(item, "name");

        if (called && strcmp(called, name) == 0 && json_is_object(json_object_get(item, what)))
            return json_object_get(item, what);
    }
    err_set(reader->err, -ENOENT, "%s: no %s \"%.60s\" in it", reader->file, what,
            name ? name : "");
    return NULL;
}

static int decode(const struct reader *reader, const char *key, const char *text, char **out)
{
    size_t len = strlen(text), bytes = BASE64_DECODE_LENGTH(len);
    uint8_t *data = malloc(bytes + 1);
    struct base64_decode_ctx context;

    base64_decode_init(&context);
    if (!data || !base64_decode_update(&context, &bytes, data, len, text) ||
        !base64_decode_final(&context) || memchr(data, '\0', bytes) || bytes == 0) {
        free(data);
        return err_set(reader->err, -EINVAL, "%s: %s: expected base64 of a PEM text", reader->file,
                       key);
    }
    data[bytes] = '\0';
    *out = (char *)data;
    return 0;
}

/* A path as the file means it: relative ones count from its own folder. */
static char *path_of(const struct reader *reader, const char *path)
{
    const char *slash = strrchr(reader->file, '/');

    if (path[0] == '/' || !slash)
        return strdup(path);
    return path_format("%.*s/%s", (int)(slash - reader->file), reader->file, path);
}

/* KEY-data (base64) or KEY (a file). */
static int take_pem(const struct reader *reader, const json_t *object, const char *key, char **out)
{
    char data_key[64];
    const char *data, *path = text_of(object, key);
    CLEANUP(freep) char *full = NULL;

    snprintf(data_key, sizeof(data_key), "%s-data", key);
    data = text_of(object, data_key);
    if (data)
        return decode(reader, data_key, data, out);
    if (!path)
        return 0;
    full = path_of(reader, path);
    if (!full)
        return err_set(reader->err, -ENOMEM, "%s: out of memory", reader->file);
    return read_text(full, PEM_BYTES_MAX, out, reader->err);
}

static int refuse(const struct reader *reader, const json_t *object, const char *const *keys,
                  const char *why)
{
    for (; *keys; keys++) {
        const json_t *value = json_object_get(object, *keys);

        if (value && !json_is_false(value) && !json_is_null(value))
            return err_set(reader->err, -ENOTSUP, "%s: %s: %s", reader->file, *keys, why);
    }
    return 0;
}

static bool is_loopback(const char *rest)
{
    size_t len = strcspn(rest, ":/");

    if (strncmp(rest, "[::1]", 5) == 0)
        return rest[5] == ':' || rest[5] == '/' || rest[5] == '\0';
    return (len == 9 && strncmp(rest, "localhost", 9) == 0) ||
           (strncmp(rest, "127.", 4) == 0 && strspn(rest, "0123456789.") == len);
}

static int take_server(const struct reader *reader, const char *server, struct kube_access *access)
{
    size_t len = server ? strlen(server) : 0;

    while (len && server[len - 1] == '/')
        len--;
    if (len == 0 || len >= sizeof(access->server))
        return err_set(reader->err, -EINVAL, "%s: server: expected https://HOST:PORT",
                       reader->file);
    if (strncmp(server, "https://", 8) != 0 &&
        !(strncmp(server, "http://", 7) == 0 && is_loopback(server + 7)))
        return err_set(reader->err, -EINVAL,
                       "%s: server %.80s: expected https (plain http on loopback only, as of "
                       "kubectl proxy)",
                       reader->file, server);
    snprintf(access->server, sizeof(access->server), "%.*s", (int)len, server);
    return 0;
}

static int take_cluster(const struct reader *reader, const json_t *cluster,
                        struct kube_access *access)
{
    static const char *const unsafe[] = { "insecure-skip-tls-verify", NULL };
    static const char *const unknown[] = { "proxy-url", "tls-server-name", NULL };
    int rc = refuse(reader, cluster, unsafe,
                    "certificates are always checked: name the authority with "
                    "certificate-authority");

    if (rc == 0)
        rc = refuse(reader, cluster, unknown, "not supported");
    if (rc == 0)
        rc = take_server(reader, text_of(cluster, "server"), access);
    if (rc == 0)
        rc = take_pem(reader, cluster, "certificate-authority", &access->ca_pem);
    return rc;
}

static int take_user(const struct reader *reader, const json_t *user, struct kube_access *access)
{
    static const char *const programs[] = { "exec", "auth-provider", NULL };
    static const char *const passwords[] = { "username", "password", NULL };
    static const char *const others[] = { "as", "as-groups", "as-uid", "as-user-extra", NULL };
    const char *token = text_of(user, "token"), *path = text_of(user, "tokenFile");
    int rc = refuse(reader, user, programs,
                    "credential plugins are programs, which the agent does not run: use a token, "
                    "a tokenFile or a client certificate");

    if (rc == 0)
        rc = refuse(reader, user, passwords, "Kubernetes takes no passwords any more");
    if (rc == 0)
        rc = refuse(reader, user, others, "acting as another user is not supported");
    if (rc == 0)
        rc = take_pem(reader, user, "client-certificate", &access->cert_pem);
    if (rc == 0)
        rc = take_pem(reader, user, "client-key", &access->key_pem);
    if (rc < 0)
        return rc;
    if (!access->cert_pem != !access->key_pem)
        return err_set(reader->err, -EINVAL, "%s: client-certificate and client-key go together",
                       reader->file);
    if (path) {
        access->token_path = path_of(reader, path);
        return access->token_path ? kube_access_renew(access, reader->err) : -ENOMEM;
    }
    if (token && !(access->token = strdup(token)))
        return err_set(reader->err, -ENOMEM, "%s: out of memory", reader->file);
    return 0;
}

static int take_root(const struct reader *reader, const json_t *root, const char *name,
                     struct kube_access *access)
{
    const json_t *context, *cluster, *user = NULL;
    const char *namespace, *user_name;
    int rc;

    if (!name || !*name)
        name = text_of(root, "current-context");
    if (!name)
        return err_set(reader->err, -EINVAL,
                       "%s: no current-context: name one in kubernetes.context", reader->file);
    context = find_named(reader, root, "contexts", "context", name);
    if (!context)
        return -ENOENT;
    cluster = find_named(reader, root, "clusters", "cluster", text_of(context, "cluster"));
    if (!cluster)
        return -ENOENT;
    user_name = text_of(context, "user");
    if (user_name && !(user = find_named(reader, root, "users", "user", user_name)))
        return -ENOENT;
    namespace = text_of(context, "namespace");
    if (namespace && strlen(namespace) >= sizeof(access->namespace))
        return err_set(reader->err, -EINVAL, "%s: namespace: too long", reader->file);
    if (namespace)
        snprintf(access->namespace, sizeof(access->namespace), "%s", namespace);
    rc = take_cluster(reader, cluster, access);
    return rc == 0 && user ? take_user(reader, user, access) : rc;
}

int kube_access_parse(const char *file, const char *text, size_t len, const char *context,
                      struct kube_access *access_out, struct err *err)
{
    CLEANUP(yaml_doc_destroyp) struct yaml_doc *doc = NULL;
    struct reader reader = { file, err };
    struct kube_access access = { 0 };
    int rc = yaml_parse(file, text, len, &doc, err);

    if (rc < 0)
        return rc;
    if (!json_is_object(yaml_doc_root(doc)))
        return err_set(err, -EINVAL, "%s: expected a kubeconfig", file);
    rc = take_root(&reader, yaml_doc_root(doc), context, &access);
    if (rc == 0 && strncmp(access.server, "http://", 7) == 0 && access.token)
        rc = err_set(err, -EINVAL, "%s: a token is not sent over plain http", file);
    if (rc < 0) {
        kube_access_fini(&access);
        return rc;
    }
    *access_out = access;
    return 0;
}

int kube_access_in_cluster(const char *folder, const char *host, const char *port,
                           struct kube_access *access_out, struct err *err)
{
    struct kube_access access = { 0 };
    CLEANUP(freep) char *ca = path_format("%s/ca.crt", folder);
    CLEANUP(freep) char *names = path_format("%s/namespace", folder);
    CLEANUP(freep) char *namespace = NULL;
    int rc;

    access.token_path = path_format("%s/token", folder);
    if (!ca || !names || !access.token_path) {
        kube_access_fini(&access);
        return err_set(err, -ENOMEM, "service account: out of memory");
    }
    snprintf(access.server, sizeof(access.server),
             strchr(host, ':') ? "https://[%s]:%s" /* IPv6 */
                               : "https://%s:%s",
             host, port);
    rc = read_text(ca, PEM_BYTES_MAX, &access.ca_pem, err);
    if (rc == 0)
        rc = read_text(names, sizeof(access.namespace), &namespace, err);
    if (rc == 0)
        rc = kube_access_renew(&access, err);
    if (rc < 0) {
        kube_access_fini(&access);
        return rc;
    }
    snprintf(access.namespace, sizeof(access.namespace), "%.*s", (int)strcspn(namespace, " \r\n"),
             namespace);
    *access_out = access;
    return 0;
}

int kube_access_find(const char *kubeconfig, const char *context, struct kube_access *access_out,
                     struct err *err)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    const char *told = getenv("KUBECONFIG"), *home = getenv("HOME");
    CLEANUP(freep) char *path = NULL;
    CLEANUP(freep) char *text = NULL;
    int rc;

    if (!kubeconfig[0] && host && *host && port && *port)
        return kube_access_in_cluster(KUBE_IN_CLUSTER_DIR, host, port, access_out, err);
    if (kubeconfig[0] || (told && *told))
        path = strdup(kubeconfig[0] ? kubeconfig : told);
    else if (home && *home)
        path = path_format("%s/.kube/config", home);
    if (!path)
        return err_set(err, -ENOENT, "kubernetes: no kubeconfig: name one in site.json");
    rc = read_text(path, KUBE_CONFIG_BYTES_MAX, &text, err);
    return rc < 0 ? rc : kube_access_parse(path, text, strlen(text), context, access_out, err);
}

int kube_access_renew(struct kube_access *access, struct err *err)
{
    char *text = NULL;
    int rc;

    if (!access->token_path)
        return 0;
    rc = read_text(access->token_path, TOKEN_BYTES_MAX, &text, err);
    if (rc < 0)
        return rc;
    text[strcspn(text, " \t\r\n")] = '\0';
    if (!*text) {
        free(text);
        return err_set(err, -EINVAL, "%s: no token in it", access->token_path);
    }
    if (access->token)
        explicit_bzero(access->token, strlen(access->token));
    free(access->token);
    access->token = text;
    return 0;
}

#include "model/spec_source.h"

#include "model/request.h"
#include "model/spec_key.h"

#include <errno.h>
#include <string.h>

#define HEX_CHARS 64u

static const struct {
    const char *prefix;
    enum spec_source source;
} prefixes[] = {
    { "store:", SOURCE_STORE }, { "artifact:", SOURCE_ARTIFACT }, { "https://", SOURCE_WEB },
    { "http://", SOURCE_WEB },  { "site:", SOURCE_SITE },         { "rclone:", SOURCE_RCLONE },
    { "s3://", SOURCE_RCLONE },
};

static bool has_scheme(const char *path)
{
    const char *mark = strstr(path, "://");

    return mark && mark != path && !memchr(path, '/', (size_t)(mark - path));
}

enum spec_source spec_source_of(const char *from)
{
    for (size_t i = 0; i < ARRAY_COUNT(prefixes); i++)
        if (strncmp(from, prefixes[i].prefix, strlen(prefixes[i].prefix)) == 0)
            return prefixes[i].source;
    return has_scheme(from) ? SOURCE_UNKNOWN : SOURCE_PATH;
}

const char *spec_source_name(const char *from, size_t *len_out)
{
    const char *name = strchr(from, ':');

    name = name ? name + 1 : from;
    *len_out = strcspn(name, spec_source_of(from) == SOURCE_SITE ? ":" : "/");
    return name;
}

const char *spec_source_path(const char *from)
{
    const char *path, *slash;
    size_t len;

    switch (spec_source_of(from)) {
    case SOURCE_STORE:
    case SOURCE_ARTIFACT:
    case SOURCE_SITE:
        path = spec_source_name(from, &len) + len;
        return path + (*path != '\0');
    case SOURCE_WEB:
        path = strstr(from, "://") + 3;
        slash = strrchr(path, '/');
        return slash && !strpbrk(slash, "?#") ? slash + 1 : "";
    case SOURCE_PATH:
    case SOURCE_RCLONE:
    case SOURCE_UNKNOWN:
        break;
    }
    return from;
}

static bool is_hex(const char *text, size_t len)
{
    return len == HEX_CHARS && strspn(text, "0123456789abcdef") >= HEX_CHARS;
}

bool spec_digest_is_valid(const char *text)
{
    const char *hex = strchr(text, ':');

    return hex && (strncmp(text, "sha256:", 7) == 0 || strncmp(text, "blake2b:", 8) == 0) &&
           is_hex(hex + 1, strlen(hex + 1));
}

static int check_site(const char *from, struct err *err)
{
    char name[MODEL_NAME_BYTES];
    size_t len;
    const char *text = spec_source_name(from, &len);

    if (len < sizeof(name) && text[len] == ':' && text[len + 1] == '/') {
        memcpy(name, text, len);
        name[len] = '\0';
        if (spec_name_is_valid(name) && !spec_path_has_dot_dot(text + len + 1))
            return 0;
    }
    return err_set(err, -EINVAL, "expected site:NAME:/an/absolute/path");
}

int spec_source_check(const char *from, struct err *err)
{
    const char *path = spec_source_path(from);
    size_t len;
    const char *name = spec_source_name(from, &len);

    switch (spec_source_of(from)) {
    case SOURCE_STORE:
        return is_hex(name, len) && (!*path || spec_work_path_is_valid(path))
                   ? 0
                   : err_set(err, -EINVAL, "expected store:ID or store:ID/PATH");
    case SOURCE_ARTIFACT:
        return len && len < MODEL_NAME_BYTES && strspn(name, "0123456789.") == len &&
                       (!*path || spec_work_path_is_valid(path))
                   ? 0
                   : err_set(err, -EINVAL, "expected artifact:JOB or artifact:JOB/PATH");
    case SOURCE_SITE:
        return check_site(from, err);
    case SOURCE_WEB:
        return strstr(from, "://")[3] && !spec_text_has_control(from)
                   ? 0
                   : err_set(err, -EINVAL, "expected an address");
    case SOURCE_UNKNOWN:
        return err_set(err, -ENOTSUP,
                       "nobody here fetches that: expected a path, store:, artifact:, http(s)://, "
                       "site:, rclone: or s3://");
    case SOURCE_PATH:
    case SOURCE_RCLONE:
        break;
    }
    return 0;
}

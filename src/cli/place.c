#include "cli/place.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int make_absolute(const char *path, char **path_out, struct err *err)
{
    CLEANUP(freep) char *here = NULL;

    if (path[0] == '/') {
        *path_out = strdup(path);
    } else {
        here = getcwd(NULL, 0);
        if (!here)
            return err_set(err, -errno, "the current folder: %s", strerror(errno));
        *path_out = path_format("%s/%s", here, path);
    }
    return *path_out ? 0 : err_set(err, -ENOMEM, "out of memory");
}

int place_find_state(const struct cli_args *args, char **path_out, struct err *err)
{
    const char *given = cli_args_get(args, "state");
    const char *home = getenv("HOME");
    const char *xdg = getenv("XDG_STATE_HOME");

    if (!given || !*given)
        given = getenv("MAINS_STATE");
    if (given && *given)
        return make_absolute(given, path_out, err);
    if (xdg && xdg[0] == '/')
        *path_out = path_format("%s/mains", xdg);
    else if (home && home[0] == '/')
        *path_out = path_format("%s/.local/state/mains", home);
    else
        return err_set(err, -EINVAL, "no state folder: $HOME is not set; give --state DIR");
    return *path_out ? 0 : err_set(err, -ENOMEM, "out of memory");
}

/* The file holds the pid; it was written when the holder started. */
static void read_holder(const char *path, struct place_holder *holder)
{
    struct buf text = buf_init(4096);
    struct stat st;

    *holder = (struct place_holder){ 0 };
    if (file_read(path, &text, NULL) == 0 && text.data)
        holder->pid = (pid_t)strtoimax(text.data, NULL, 10);
    if (stat(path, &st) == 0)
        holder->since_ms = (int64_t)st.st_mtim.tv_sec * 1000;
    buf_fini(&text);
}

int place_lock(const char *state, int *fd_out, struct place_holder *holder_out, struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/lock", state);
    CLEANUP(closep) int fd = -1;
    char line[64];
    int len;

    if (!path)
        return err_set(err, -ENOMEM, "out of memory");
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int code = errno == EWOULDBLOCK ? -EBUSY : -errno;

        read_holder(path, holder_out);
        return err_set(err, code, "%s: %s", path,
                       code == -EBUSY ? "held by another process" : strerror(-code));
    }
    len = snprintf(line, sizeof(line), "%jd\n", (intmax_t)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, line, (size_t)len, 0) != len)
        return err_set(err, -EIO, "%s: %s", path, strerror(errno));
    *fd_out = fd;
    fd = -1;
    return 0;
}

int place_find_holder(const char *state, struct place_holder *holder_out)
{
    CLEANUP(freep) char *path = path_format("%s/lock", state);
    CLEANUP(closep) int fd = -1;

    if (!path)
        return -ENOMEM;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ENOENT : -errno;
    if (flock(fd, LOCK_SH | LOCK_NB) == 0)
        return -ENOENT;
    read_holder(path, holder_out);
    return 0;
}

int place_read_endpoint(const char *state, struct place_endpoint *endpoint_out, struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/endpoint.json", state);
    CLEANUP(buf_fini) struct buf text = buf_init(65536);
    json_t *root;
    const char *url = NULL, *pin = "";
    json_int_t pid = 0;
    int rc = path ? file_read(path, &text, err) : -ENOMEM;

    if (rc < 0)
        return rc;
    root = json_loadb(text.data ? text.data : "", text.len, 0, NULL);
    if (json_unpack(root, "{s:s, s?I, s?s}", "url", &url, "pid", &pid, "pin", &pin) < 0 ||
        strlen(url) >= sizeof(endpoint_out->url) || strlen(pin) >= sizeof(endpoint_out->pin)) {
        json_decref(root);
        return err_set(err, -EBADMSG, "%s: not of the form {\"url\":...,\"pid\":...}", path);
    }
    snprintf(endpoint_out->url, sizeof(endpoint_out->url), "%s", url);
    snprintf(endpoint_out->pin, sizeof(endpoint_out->pin), "%s", pin);
    endpoint_out->pid = (pid_t)pid;
    json_decref(root);
    return 0;
}

int place_read_token(const char *path, char **token_out, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = buf_init(4096);
    int rc = file_read(path, &text, err);
    size_t start;
    size_t end;

    if (rc < 0)
        return rc;
    start = text.data ? strspn(text.data, " \t\r\n") : 0;
    end = text.data ? start + strcspn(text.data + start, " \t\r\n") : 0;
    if (end == start)
        return err_set(err, -EBADMSG, "%s: holds no token", path);
    *token_out = strndup(text.data + start, end - start);
    return *token_out ? 0 : err_set(err, -ENOMEM, "out of memory");
}

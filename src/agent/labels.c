#include "agent/labels.h"

#include "agent/tree.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NOTE_BYTES_MAX 4096u
#define YOUNG_S 3600 /* an attempt so young may not have its folder yet */

int labels_of_spec(const json_t *spec, struct labels *out)
{
    const json_t *list = json_object_get(spec, "data");
    struct labels labels = { .count = 0 };
    json_t *item;
    size_t i;

    if (list && (!json_is_array(list) || json_array_size(list) > REQUEST_LABELS_MAX))
        return -EINVAL;
    json_array_foreach (list, i, item) {
        const char *name = json_string_value(item);

        if (!name || !*name || strlen(name) >= MODEL_NAME_BYTES || strchr(name, '\n'))
            return -EINVAL;
        memcpy(labels.names[labels.count++], name, strlen(name) + 1);
    }
    *out = labels;
    return 0;
}

const char *labels_kept(const struct labels *labels, const struct site_policy *policy)
{
    for (uint32_t i = 0; policy->leave_told && i < labels->count; i++)
        if (site_policy_has_label(policy->here, policy->here_count, labels->names[i]) &&
            !site_policy_has_label(policy->leave, policy->leave_count, labels->names[i]))
            return labels->names[i];
    return NULL;
}

const char *labels_barred(const struct labels *labels, const struct site_policy *policy)
{
    for (uint32_t i = 0; policy->come_told && i < labels->count; i++)
        if (!site_policy_has_label(policy->come, policy->come_count, labels->names[i]) &&
            !site_policy_has_label(policy->here, policy->here_count, labels->names[i]))
            return labels->names[i];
    return NULL;
}

static char *path_of(const char *agent_dir, struct attempt_key key)
{
    char name[ATTEMPT_NAME_BYTES];

    attempt_name(key, name);
    return path_format("%s/labels/%s", agent_dir, name);
}

int labels_note(const char *agent_dir, struct attempt_key key, const struct labels *labels,
                struct err *err)
{
    CLEANUP(freep) char *folder = path_format("%s/labels", agent_dir);
    CLEANUP(freep) char *path = path_of(agent_dir, key);
    CLEANUP(buf_fini) struct buf text = buf_init(NOTE_BYTES_MAX);
    int rc;

    if (!labels->count)
        return 0;
    for (uint32_t i = 0; i < labels->count; i++)
        buf_printf(&text, "%s\n", labels->names[i]);
    if (!folder || !path || text.failed)
        return err_set(err, -ENOMEM, "labels: out of memory");
    rc = dir_make(folder, 0700, err);
    return rc < 0 ? rc : file_write(path, text.data, text.len, 0600, true, err);
}

int labels_recall(const char *agent_dir, struct attempt_key key, struct labels *out)
{
    CLEANUP(freep) char *path = path_of(agent_dir, key);
    CLEANUP(buf_fini) struct buf text = buf_init(NOTE_BYTES_MAX);
    int rc = path ? file_read(path, &text, NULL) : -ENOMEM;
    const char *at = text.data;

    *out = (struct labels){ .count = 0 };
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    while (at && *at && out->count < REQUEST_LABELS_MAX) {
        size_t len = strcspn(at, "\n");

        if (!len || len >= MODEL_NAME_BYTES)
            return -EBADMSG;
        memcpy(out->names[out->count], at, len);
        out->names[out->count++][len] = '\0';
        at += len + (at[len] == '\n');
    }
    return 0;
}

static bool is_gone(int folder, const char *name)
{
    return faccessat(folder, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

void labels_trim(const char *agent_dir)
{
    CLEANUP(freep) char *path = path_format("%s/labels", agent_dir);
    CLEANUP(closep) int folder = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    CLEANUP(freep) char *attempts_path = path_format("%s/attempts", agent_dir);
    CLEANUP(closep)
    int attempts = attempts_path ? open(attempts_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    CLEANUP(freep) char *gangs_path = path_format("%s/nodes/attempts", agent_dir);
    CLEANUP(closep) /* of a site over several machines: their logs are there */
    int gangs = gangs_path ? open(gangs_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    char **names = NULL;
    size_t count = 0;

    if (folder < 0 || attempts < 0 || tree_names(folder, &names, &count) < 0)
        return;
    for (size_t i = 0; i < count; i++) {
        struct stat st;

        if (fstatat(folder, names[i], &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            time(NULL) - st.st_mtim.tv_sec > YOUNG_S && is_gone(attempts, names[i]) &&
            (gangs < 0 || is_gone(gangs, names[i])))
            unlinkat(folder, names[i], 0);
    }
    tree_names_free(names, count);
}

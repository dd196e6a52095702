#include "agent/saves.h"

#include "agent/labels.h"
#include "agent/rhythm.h"
#include "agent/stage.h"
#include "agent/tree.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>

#define AGAIN_MS_MIN 1000 /* after a failure, and between two of a job that saves all the time */
#define RESTLESS_TOLD_MS 30000
#define LOOK_COST_PARTS 50 /* a look may take one part in so many of the time */
#define AGAIN_MS_MAX 30000
#define CACHE_LEASE_MS (7 * 24 * 3600 * 1000LL)

enum phase { PHASE_PUT, PHASE_CARRY, PHASE_TELL };
enum what { SAVE_CHECKPOINT, SAVE_OUTPUTS };

/* What is asked for by the loop and what the depot's thread works on are apart: `want` and `ended`
 * may change while it works. */

struct save {               /* of one attempt */
    struct depot_task task; /* first */
    struct attempt_key key; /* padding zeroed: hashed as bytes */
    UT_hash_handle hh;
    struct saves *saves;
    char *path;   /* the checkpoint, in the work folder; NULL = none */
    char *marker; /* written when it is complete; NULL = none */
    uid_t uid;
    bool outputs;
    struct labels labels; /* of the data it works on */
    bool said_kept;
    uv_timer_t timer; /* to try again */
    int64_t seen_ms, stored_ms;
    int64_t moved_at; /* since when nothing moved; clock_mono_ms */
    int64_t again_ms, ended_ms;
    int64_t tell_ms; /* waited so long for it to rest, it is told why; 0 = not yet thought of */
    enum what want;
    bool linked;   /* there was a session when it was begun */
    bool prepared; /* put while there was none: only carrying is left */
    bool busy, closing;
    bool over;   /* the network wants none of it */
    bool ended;  /* the attempt has; `ended` of the owner is still to be called, unless */
    bool silent; /* nobody waits for that */
    /* While busy, the depot's. */
    bool final; /* the attempt had ended when this was begun */
    enum what what;
    enum phase phase;
    struct transfer_link link;
    struct transfer transfer;
    struct store_id id;
    int64_t put_ms; /* the newest file of what was put; 0 = there was none */
    struct rhythm rhythm;
    ino_t seen_ino;
    int64_t look_ms; /* how long it took to look at all of it */
    bool unripe;     /* it may still be written, or was while it was read */
};

struct saves {
    struct saves_config config;
    struct save *list;
    bool closing;
};

/* --- on the depot's thread -------------------------------------------------------------------- */

/* The work folder, wherever it is; the path was real when its supervisor wrote it. */
static int open_work(const struct save *save)
{
    char name[ATTEMPT_NAME_BYTES], place[PATH_MAX];
    CLEANUP(closep) int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(freep) char *link = NULL;
    ssize_t len;

    attempt_name(save->key, name);
    link = path_format("%s/attempts/%s/place", save->saves->config.agent_dir, name);
    len = link ? readlink(link, place, sizeof(place) - 1) : -1;
    if (len <= 1 || root < 0)
        return -ENOENT;
    place[len] = '\0';
    return place[0] == '/' ? tree_open(root, place + 1, O_RDONLY | O_DIRECTORY, 0) : -ENOENT;
}

/* Where what is to be put lies: a folder, and the path in it. */
static int open_source(const struct save *save, const char **path_out)
{
    char name[ATTEMPT_NAME_BYTES];
    CLEANUP(freep) char *kept = NULL;
    const char *base = save->path ? strrchr(save->path, '/') : NULL;
    int fd;

    attempt_name(save->key, name);
    if (save->what == SAVE_OUTPUTS) {
        *path_out = "outputs";
        kept = path_format("%s/attempts/%s", save->saves->config.agent_dir, name);
        fd = kept ? open(kept, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
        return fd < 0 ? -ENOENT : fd;
    }
    kept = path_format("%s/attempts/%s/saved", save->saves->config.agent_dir, name);
    fd = kept ? open(kept, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    *path_out = fd >= 0 ? (base ? base + 1 : save->path) : save->path;
    return fd >= 0 ? fd : open_work(save);
}

static int64_t time_of(int folder, const char *path)
{
    struct stat st;

    if (fstatat(folder, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    return (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
}

/* Another file than at the last look, and since it was written something was done with its name: it
 * came by a rename, as a whole. (Where times are coarse that shows only sometimes.) */
static bool is_exchanged(struct save *save, int folder)
{
    struct stat st;
    bool is_other;

    if (fstatat(folder, save->path, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return false;
    is_other = save->seen_ino && st.st_ino != save->seen_ino;
    save->seen_ino = st.st_ino;
    return is_other &&
           (st.st_ctim.tv_sec > st.st_mtim.tv_sec ||
            (st.st_ctim.tv_sec == st.st_mtim.tv_sec && st.st_ctim.tv_nsec > st.st_mtim.tv_nsec));
}

/* Complete, as far as can be told from outside: nothing changes any more, and what the job writes
 * last, when it names that, is there and is not older. */
static int check_complete(struct save *save, int folder, int64_t newest_ms, struct err *err)
{
    int64_t now = clock_wall_ms();
    int64_t quiet_ms;

    if (save->final || save->what == SAVE_OUTPUTS)
        return 0;
    rhythm_look(&save->rhythm, newest_ms, now);
    quiet_ms = rhythm_quiet_ms(&save->rhythm, now);
    if (!save->marker && is_exchanged(save, folder) && quiet_ms < RHYTHM_QUIET_MS)
        quiet_ms = 0;
    save->unripe = true;
    if (save->marker && time_of(folder, save->marker) < newest_ms)
        return err_set(err, -EAGAIN, "checkpoint %s: %s is not written yet", save->path,
                       save->marker);
    if (!save->marker && now - newest_ms < quiet_ms && now >= newest_ms)
        return err_set(err, -EAGAIN,
                       "checkpoint %s: written all the time, with no pause to take it whole; name "
                       "a marker, or save less often",
                       save->path);
    save->unripe = false;
    return 0;
}

/* Nothing of it is newer than what was judged to be complete. Of a file that is exchanged by
 * renaming, what was read is that of then, whatever has its name by now. */
static int check_unchanged(struct save *save, int folder, const char *path, int64_t newest_ms,
                           const struct store_put_result *result, struct err *err)
{
    bool is_file = result->files_count == 1 && result->entries_count == 1;

    if (save->final || save->what == SAVE_OUTPUTS
            ? stage_newest_ms(folder, path) == newest_ms
            : result->newest_ms <= newest_ms &&
                  (is_file || stage_newest_ms(folder, path) == newest_ms))
        return 0;
    save->unripe = true;
    return err_set(err, -EAGAIN, "checkpoint %s: changed while it was read", path);
}

static int open_parent(int folder, const char *path, const char **base_out)
{
    const char *slash = strrchr(path, '/');
    char parent[PATH_MAX];

    snprintf(parent, sizeof(parent), "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    *base_out = slash ? slash + 1 : path;
    return tree_open(folder, parent, O_RDONLY | O_DIRECTORY, 0);
}

/* Held in the cache too: the next attempt may be here. */
static int hold(const struct save *save, struct store *store, struct err *err)
{
    char root[64];

    snprintf(root, sizeof(root), "%s-%" PRIu64, save->what == SAVE_OUTPUTS ? "out" : "ckpt",
             save->key.job_id);
    return store_root_set(store, root, &save->id, clock_wall_ms() + CACHE_LEASE_MS, err);
}

/* 0: there is nothing (put_ms 0), or nothing new. */
static int step_put(struct save *save, const struct depot_bench *bench, struct err *err)
{
    const struct store_put_how how = { .named = save->what == SAVE_CHECKPOINT,
                                       .guarded = geteuid() == 0 && save->uid != 0,
                                       .reader = save->uid };
    CLEANUP(closep) int folder = -1;
    CLEANUP(closep) int parent = -1;
    struct store_put_result result;
    const char *path, *base;
    int64_t newest_ms, begun;
    int rc;

    save->put_ms = 0;
    save->unripe = false;
    folder = open_source(save, &path);
    if (folder < 0)
        return 0;
    begun = clock_mono_ms();
    newest_ms = stage_newest_ms(folder, path);
    save->look_ms = clock_mono_ms() - begun;
    if (newest_ms <= save->stored_ms && save->what == SAVE_CHECKPOINT)
        return 0;
    parent = open_parent(folder, path, &base);
    if (parent < 0 || (save->what == SAVE_OUTPUTS && time_of(folder, path) == 0))
        return 0;
    rc = check_complete(save, folder, newest_ms, err);
    if (rc == 0)
        rc = store_put_as(bench->store, parent, base, &how, &save->id, &result, err);
    if (rc == -ENOENT || (rc == -EAGAIN && !save->unripe)) { /* changed under our hands */
        save->unripe = true;
        return -EAGAIN;
    }
    if (rc == 0)
        rc = check_unchanged(save, folder, path, newest_ms, &result, err);
    if (rc == 0)
        rc = hold(save, bench->store, err);
    if (rc < 0)
        return rc;
    save->put_ms = MAX(newest_ms, 1);
    save->transfer =
        transfer_init(bench->store, bench->easy, &save->link, bench->pace, true, &save->id);
    save->transfer.meter = bench->meter;
    save->phase = PHASE_CARRY;
    return 1;
}

/* What its supervisor kept for us is not needed any more. */
static void remove_kept(const struct save *save)
{
    char name[ATTEMPT_NAME_BYTES];
    CLEANUP(freep) char *kept = NULL;

    attempt_name(save->key, name);
    kept = path_format("%s/attempts/%s/saved", save->saves->config.agent_dir, name);
    if (kept)
        dir_remove(kept, NULL);
}

static int step_tell(struct save *save, const struct depot_bench *bench, struct err *err)
{
    char body[320], path[128], id[STORE_ID_TEXT_BYTES];
    int rc;

    store_id_format(&save->id, id);
    snprintf(body, sizeof(body),
             "{\"kind\":\"%s\",\"job\":%" PRIu64 ",\"epoch\":%" PRIu32
             ",\"manifest\":\"%s\",\"saved_ms\":%" PRId64 "}",
             save->what == SAVE_OUTPUTS ? "outputs" : "checkpoint", save->key.job_id,
             save->key.epoch, id, save->put_ms);
    snprintf(path, sizeof(path), "/site-session/stored?site=%s", save->saves->config.site);
    rc = transfer_call(bench->easy, &save->link, "POST", path, body, NULL, err);
    if (rc == 0 && save->final && save->what == SAVE_CHECKPOINT)
        remove_kept(save);
    return rc;
}

static int step(struct depot_task *task, const struct depot_bench *bench, struct err *err)
{
    struct save *save = (struct save *)task;
    int rc;

    switch (save->phase) {
    case PHASE_PUT:
        return step_put(save, bench, err);
    case PHASE_CARRY:
        rc = transfer_step(&save->transfer, err);
        if (rc == 0)
            save->phase = PHASE_TELL;
        return rc < 0 ? rc : 1;
    case PHASE_TELL:
        return step_tell(save, bench, err);
    }
    return 0;
}

static void drop_step(struct depot_task *task)
{
    struct save *save = (struct save *)task;

    if (save->phase != PHASE_PUT)
        transfer_fini(&save->transfer);
}

/* --- on the loop ------------------------------------------------------------------------------ */

static void done(struct depot_task *task);
static void begin(struct save *save);

static struct save *find(const struct saves *saves, struct attempt_key key)
{
    struct attempt_key clean;
    struct save *found;

    memset(&clean, 0, sizeof(clean));
    clean.job_id = key.job_id;
    clean.epoch = key.epoch;
    HASH_FIND(hh, saves->list, &clean, sizeof(clean), found);
    return found;
}

static void on_closed(uv_handle_t *handle)
{
    struct save *save = handle->data;

    transfer_link_fini(&save->link);
    free(save->path);
    free(save->marker);
    free(save);
}

static void drop(struct save *save)
{
    HASH_DEL(save->saves->list, save);
    save->closing = true;
    uv_close((uv_handle_t *)&save->timer, on_closed);
}

/* All that it has is brought, or never will be. */
static void finish(struct save *save)
{
    struct saves *saves = save->saves;
    struct attempt_key key = save->key;
    bool silent = save->silent;

    drop(save);
    if (!silent)
        saves->config.ended(saves->config.context, key);
}

static void on_timer(uv_timer_t *timer)
{
    begin(timer->data);
}

/* Its owner does not let it leave: that is no failure, and nothing is tried again. */
static bool is_kept(struct save *save)
{
    const char *label = labels_kept(&save->labels, save->saves->config.policy);
    char name[ATTEMPT_NAME_BYTES];

    if (label && !save->said_kept) {
        attempt_name(save->key, name);
        log_warn("attempt %s: its %s stay here: data labelled %s may not leave", name,
                 save->outputs ? "checkpoints and outputs" : "checkpoints", label);
        save->said_kept = true;
    }
    return label != NULL;
}

static enum turn_kind turn_kind_of(const struct save *save)
{
    if (!save->final)
        return TURN_CHECKPOINT;
    return save->what == SAVE_OUTPUTS ? TURN_OUTPUTS : TURN_LAST_CHECKPOINT;
}

static void begin(struct save *save)
{
    uv_timer_stop(&save->timer);
    if (save->busy || save->closing)
        return;
    if (is_kept(save)) {
        if (save->ended)
            finish(save);
        return;
    }
    save->saves->config.link(save->saves->config.context, &save->link);
    save->linked = save->link.url != NULL;
    if (!save->linked && save->prepared) { /* saves_resume comes before this, as a rule */
        transfer_link_fini(&save->link);
        uv_timer_start(&save->timer, on_timer, AGAIN_MS_MAX, 0);
        return;
    }
    save->busy = true;
    save->prepared = false;
    save->final = save->ended;
    save->what = save->want;
    save->phase = PHASE_PUT;
    save->task.turn =
        save->saves->config.turn(save->saves->config.context, save->key, turn_kind_of(save),
                                 save->final ? save->ended_ms : save->seen_ms);
    save->task.step = step;
    save->task.drop = drop_step;
    save->task.done = done;
    depot_submit(save->saves->config.depot, &save->task);
}

static void try_again(struct save *save)
{
    save->again_ms = MIN(MAX(save->again_ms * 2, AGAIN_MS_MIN), AGAIN_MS_MAX);
    uv_timer_start(&save->timer, on_timer, (uint64_t)save->again_ms, 0);
}

static void tell_failure(const struct save *save)
{
    char name[ATTEMPT_NAME_BYTES];

    attempt_name(save->key, name);
    log_warn("attempt %s: its %s not stored: %s", name,
             save->what == SAVE_OUTPUTS ? "outputs are" : "checkpoint is", save->task.err.text);
}

/* It is being written: to look costs little, and it may rest for moments only. */
static void look_again(struct save *save)
{
    int64_t now = clock_wall_ms();
    int64_t waited_ms = save->rhythm.waiting_ms ? now - save->rhythm.waiting_ms : 0;

    if (waited_ms >= save->tell_ms) {
        if (save->tell_ms)
            tell_failure(save);
        save->tell_ms = MAX(save->tell_ms * 4, RESTLESS_TOLD_MS);
    }
    uv_timer_start(
        &save->timer, on_timer,
        (uint64_t)MAX(rhythm_again_ms(&save->rhythm, now), save->look_ms * LOOK_COST_PARTS), 0);
}

static bool is_refused(int rc)
{
    return rc == -EPROTO || rc == -ENOENT || rc == -EACCES || rc == -EINVAL || rc == -EFBIG;
}

/* This one is brought, or given up: what comes after it. */
static void go_on(struct save *save)
{
    bool is_last = save->what == SAVE_OUTPUTS || !save->outputs;

    save->again_ms = 0;
    save->moved_at = clock_mono_ms();
    if (save->ended && save->final && is_last) {
        finish(save);
    } else if (save->ended) {
        if (save->final)
            save->want = SAVE_OUTPUTS;
        begin(save);
    } else if (save->seen_ms > save->stored_ms) {
        uv_timer_start(&save->timer, on_timer, AGAIN_MS_MIN, 0);
    }
}

static void done(struct depot_task *task)
{
    struct save *save = (struct save *)task;

    if (save->phase != PHASE_PUT) {
        if (save->transfer.bytes_carried > 0)
            save->moved_at = clock_mono_ms();
        save->prepared = !save->linked;
        transfer_fini(&save->transfer);
    }
    if (!save->linked) /* nothing can move: that is not its time */
        save->moved_at = clock_mono_ms();
    transfer_link_fini(&save->link);
    save->busy = false;
    if (save->saves->closing)
        return;
    if (save->silent) {
        finish(save);
    } else if (task->rc == 0) {
        if (save->what == SAVE_CHECKPOINT && save->put_ms)
            save->stored_ms = save->put_ms;
        rhythm_rest(&save->rhythm);
        save->tell_ms = 0;
        go_on(save);
    } else if (save->ended && !save->final) {
        begin(save); /* what it left at its end */
    } else if (save->ended &&
               (is_refused(task->rc) || clock_mono_ms() - save->moved_at > SAVES_END_MS)) {
        tell_failure(save);
        go_on(save);
    } else if (is_refused(task->rc) && task->rc != -EACCES) {
        tell_failure(save);
        save->over = true;
    } else if (task->rc == -EAGAIN && save->unripe && !save->ended) {
        look_again(save);
    } else {
        if (task->rc != -EAGAIN || save->again_ms >= AGAIN_MS_MAX)
            tell_failure(save);
        try_again(save);
    }
}

void saves_watch(struct saves *saves, struct attempt_key key, const char *spec_json, uid_t uid)
{
    json_t *spec;
    const json_t *checkpoint;
    const char *path, *marker;
    struct save *save;
    bool outputs;

    /* Most jobs save nothing: they are not worth a parse. */
    if (find(saves, key) ||
        (!strstr(spec_json, "\"checkpoint\"") && !strstr(spec_json, "\"outputs\"")))
        return;
    spec = json_loads(spec_json, 0, NULL);
    checkpoint = json_object_get(spec, "checkpoint");
    path = json_string_value(json_object_get(checkpoint, "path"));
    marker = json_string_value(json_object_get(checkpoint, "marker"));
    outputs = saves->config.keeps_outputs && json_array_size(json_object_get(spec, "outputs"));
    save = path || outputs ? calloc(1, sizeof(*save)) : NULL;
    if (save) {
        save->saves = saves;
        save->key.job_id = key.job_id;
        save->key.epoch = key.epoch;
        save->path = path ? strdup(path) : NULL;
        save->marker = marker ? strdup(marker) : NULL;
        save->outputs = outputs;
        save->uid = uid;
        if (labels_of_spec(spec, &save->labels) < 0)
            save->over = true; /* it will be refused */
        uv_timer_init(saves->config.loop, &save->timer);
        save->timer.data = save;
        HASH_ADD(hh, saves->list, key, sizeof(save->key), save);
    }
    json_decref(spec);
}

void saves_seen(struct saves *saves, struct attempt_key key, int64_t checkpoint_ms)
{
    struct save *save = find(saves, key);

    if (!save || !save->path || save->ended || save->over || checkpoint_ms <= save->seen_ms)
        return;
    save->seen_ms = checkpoint_ms;
    save->prepared = false;
    save->want = SAVE_CHECKPOINT;
    if (!uv_is_active((uv_handle_t *)&save->timer))
        begin(save);
}

void saves_look(struct saves *saves)
{
    struct save *save, *after;

    HASH_ITER (hh, saves->list, save, after) {
        if (!save->path || save->ended || save->over || save->busy ||
            uv_is_active((uv_handle_t *)&save->timer))
            continue;
        save->want = SAVE_CHECKPOINT;
        begin(save);
    }
}

void saves_resume(struct saves *saves)
{
    struct save *save, *after;

    HASH_ITER (hh, saves->list, save, after) {
        if (save->busy || !uv_is_active((uv_handle_t *)&save->timer))
            continue;
        save->again_ms = 0;
        begin(save);
    }
}

bool saves_end(struct saves *saves, struct attempt_key key, const struct attempt_record *record)
{
    struct save *save = find(saves, key);
    bool went_well = record->end == END_EXITED && record->exit_code == 0;

    if (!save)
        return false;
    if (save->ended)
        return !save->silent;
    save->ended = true;
    save->prepared = false;
    save->ended_ms = record->ended_ms;
    save->moved_at = clock_mono_ms();
    save->again_ms = 0;
    /* Who has done its work needs no checkpoint any more. */
    save->want = save->path && !went_well ? SAVE_CHECKPOINT : SAVE_OUTPUTS;
    if (record->started_ms && !save->over && !is_kept(save) &&
        (save->want == SAVE_CHECKPOINT || save->outputs)) {
        begin(save);
        return true;
    }
    save->silent = true;
    if (save->busy)
        depot_cancel(saves->config.depot, &save->task);
    else
        drop(save);
    return false;
}

int saves_create(const struct saves_config *config, struct saves **saves_out, struct err *err)
{
    struct saves *saves = calloc(1, sizeof(*saves));

    if (!saves)
        return err_set(err, -ENOMEM, "checkpoints: out of memory");
    saves->config = *config;
    *saves_out = saves;
    return 0;
}

void saves_close(struct saves *saves)
{
    if (saves)
        saves->closing = true;
}

void saves_destroy(struct saves *saves)
{
    struct save *save, *after;

    if (!saves)
        return;
    HASH_ITER (hh, saves->list, save, after)
        drop(save);
    free(saves);
}

#include "agent/slurm_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB INT64_C(1048576)
#define VALUE_BYTES 1024u

struct slice {
    const char *data;
    size_t len;
};

static bool next_line(struct slice *text, struct slice *line_out)
{
    const char *end;

    if (text->len == 0)
        return false;
    end = memchr(text->data, '\n', text->len);
    line_out->data = text->data;
    line_out->len = end ? (size_t)(end - text->data) : text->len;
    text->data += line_out->len + (end != NULL);
    text->len -= line_out->len + (end != NULL);
    return true;
}

static void copy_text(struct slice from, char *out, size_t out_bytes)
{
    size_t len = MIN(from.len, out_bytes - 1);

    for (size_t i = 0; i < len; i++)
        out[i] = from.data[i] >= 0x20 && from.data[i] < 0x7f ? from.data[i] : '?';
    out[len] = '\0';
}

static int64_t number_of(struct slice from)
{
    char text[32];
    char *end;
    long long value;

    copy_text(from, text, sizeof(text));
    errno = 0;
    value = strtoll(text, &end, 10);
    return errno || end == text || value < 0 ? 0 : value;
}

/* Names go to the controller, which takes letters, digits, '.', '_' and '-' only. */
static bool is_name(const char *text)
{
    size_t len = strlen(text);

    return len > 0 && len < MODEL_NAME_BYTES &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len;
}

/* ---- "Key=value Key=value with blanks Key=value": scontrol ---- */

/* The value of ` key=`: up to the next ` Word=`. */
static struct slice find_value(struct slice line, const char *key)
{
    size_t key_len = strlen(key), at = 0;
    struct slice none = { "", 0 };
    size_t end;

    for (;; at++) {
        if (at + key_len + 1 > line.len)
            return none;
        if ((at == 0 || line.data[at - 1] == ' ') && memcmp(line.data + at, key, key_len) == 0 &&
            line.data[at + key_len] == '=')
            break;
    }
    at += key_len + 1;
    for (end = at; end < line.len; end++) {
        size_t word = end + 1;

        if (line.data[end] != ' ')
            continue;
        while (word < line.len && line.data[word] != ' ' && line.data[word] != '=')
            word++;
        if (word < line.len && line.data[word] == '=' && word > end + 1)
            break;
    }
    while (end > at && line.data[end - 1] == ' ')
        end--;
    return (struct slice){ line.data + at, end - at };
}

static bool is_none(struct slice value)
{
    return value.len == 0 || (value.len == 6 && memcmp(value.data, "(null)", 6) == 0) ||
           (value.len == 3 && memcmp(value.data, "N/A", 3) == 0);
}

static void copy_value(struct slice line, const char *key, char *out, size_t out_bytes)
{
    struct slice value = find_value(line, key);

    out[0] = '\0';
    if (!is_none(value))
        copy_text(value, out, out_bytes);
}

static struct slurm_gres *gres_of(struct slurm_node *node, const char *name, const char *type,
                                  bool used)
{
    for (uint32_t i = 0; i < node->gres_count; i++)
        if (strcmp(node->gres[i].name, name) == 0 &&
            (strcmp(node->gres[i].type, type) == 0 || (used && !type[0])))
            return &node->gres[i];
    if (used || node->gres_count == SLURM_GRES_MAX)
        return NULL;
    memset(&node->gres[node->gres_count], 0, sizeof(node->gres[0]));
    snprintf(node->gres[node->gres_count].name, sizeof(node->gres[0].name), "%s", name);
    snprintf(node->gres[node->gres_count].type, sizeof(node->gres[0].type), "%s", type);
    return &node->gres[node->gres_count++];
}

/* One of "gpu:a100:4(S:0-1)", "gpu:4", "gpu". */
static void take_gres(struct slice item, bool used, struct slurm_node *node)
{
    char text[128], name[16] = "", type[MODEL_NAME_BYTES] = "";
    struct slurm_gres *gres;
    char *colon, *last;
    uint32_t count = 1;

    copy_text(item, text, sizeof(text));
    text[strcspn(text, "(")] = '\0';
    last = strrchr(text, ':');
    if (last && last[1] >= '0' && last[1] <= '9' &&
        strspn(last + 1, "0123456789KMG") == strlen(last + 1)) {
        count = (uint32_t)strtoul(last + 1, NULL, 10);
        *last = '\0';
    }
    colon = strchr(text, ':');
    if (colon) {
        *colon = '\0';
        if (!is_name(colon + 1))
            return;
        snprintf(type, sizeof(type), "%.62s", colon + 1);
    }
    if (!is_name(text) || strlen(text) >= sizeof(name))
        return;
    snprintf(name, sizeof(name), "%.15s", text);
    gres = gres_of(node, name, type, used);
    if (gres && used)
        gres->used = MIN(gres->used + count, gres->count);
    else if (gres)
        gres->count = MIN(gres->count + count, NODE_DEVICES_MAX);
}

void slurm_parse_gres(const char *text, size_t len, bool used, struct slurm_node *node)
{
    size_t begin = 0;
    int depth = 0;

    for (size_t i = 0; i <= len; i++) {
        if (i < len && text[i] == '(')
            depth++;
        if (i < len && text[i] == ')')
            depth--;
        if (i < len && (text[i] != ',' || depth > 0))
            continue;
        if (i > begin)
            take_gres((struct slice){ text + begin, i - begin }, used, node);
        begin = i + 1;
    }
}

static bool parse_node(struct slice line, struct slurm_node *node)
{
    struct slice gres = find_value(line, "Gres"), used = find_value(line, "GresUsed");
    int64_t cpus = number_of(find_value(line, "CPUEfctv"));

    memset(node, 0, sizeof(*node));
    copy_value(line, "NodeName", node->name, sizeof(node->name));
    if (!is_name(node->name))
        return false;
    copy_value(line, "Arch", node->arch, sizeof(node->arch));
    copy_value(line, "OS", node->os, sizeof(node->os));
    copy_value(line, "State", node->state, sizeof(node->state));
    copy_value(line, "Reason", node->reason, sizeof(node->reason));
    copy_value(line, "Partitions", node->partitions, sizeof(node->partitions));
    if (!cpus) /* before 22.05 */
        cpus = number_of(find_value(line, "CPUTot"));
    node->cpus = (uint32_t)MIN(cpus, 65536);
    node->cpus_used = (uint32_t)MIN(number_of(find_value(line, "CPUAlloc")), node->cpus);
    node->memory_bytes = MIN(number_of(find_value(line, "RealMemory")), INT64_C(1) << 32) * MIB;
    node->memory_used_bytes = MIN(
        MIN(number_of(find_value(line, "AllocMem")), INT64_C(1) << 32) * MIB, node->memory_bytes);
    node->disk_bytes = MIN(number_of(find_value(line, "TmpDisk")), INT64_C(1) << 32) * MIB;
    if (!is_none(gres))
        slurm_parse_gres(gres.data, gres.len, false, node);
    if (!is_none(used))
        slurm_parse_gres(used.data, used.len, true, node);
    return true;
}

uint32_t slurm_parse_nodes(const char *text, size_t len,
                           void (*visit)(void *, const struct slurm_node *), void *context)
{
    struct slice rest = { text, len }, line;
    struct slurm_node node;
    uint32_t count = 0;

    while (count < SLURM_NODES_MAX && next_line(&rest, &line)) {
        if (!parse_node(line, &node))
            continue;
        visit(context, &node);
        count++;
    }
    return count;
}

bool slurm_node_is_usable(const struct slurm_node *node)
{
    static const char *const bad[] = { "DOWN",     "DRAIN", "FAIL",   "UNKNOWN",  "NOT_RESPONDING",
                                       "POWER",    "MAINT", "REBOOT", "RESERVED", "FUTURE",
                                       "PLANNED_", "INVAL", "ERROR" };

    if (!node->state[0] || strchr(node->state, '*'))
        return false;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        if (strstr(node->state, bad[i]))
            return false;
    return node->cpus > 0;
}

uint32_t slurm_parse_partitions(const char *text, size_t len,
                                void (*visit)(void *, const struct slurm_partition *),
                                void *context)
{
    struct slice rest = { text, len }, line;
    uint32_t count = 0;

    while (count < SLURM_PARTITIONS_MAX && next_line(&rest, &line)) {
        struct slurm_partition partition = { 0 };
        char value[VALUE_BYTES];

        copy_value(line, "PartitionName", partition.name, sizeof(partition.name));
        if (!is_name(partition.name))
            continue;
        copy_value(line, "Default", value, sizeof(value));
        partition.is_default = strcmp(value, "YES") == 0;
        copy_value(line, "State", value, sizeof(value));
        partition.up = strcmp(value, "UP") == 0;
        copy_value(line, "RootOnly", value, sizeof(value));
        partition.root_only = strcmp(value, "YES") == 0;
        copy_value(line, "MaxTime", value, sizeof(value));
        partition.time_ms_max = MAX(slurm_parse_time_ms(value), 0);
        visit(context, &partition);
        count++;
    }
    return count;
}

/* ---- squeue, sbatch ---- */

int64_t slurm_parse_time_ms(const char *text)
{
    int64_t parts[4] = { 0 }, days = 0, ms = 0;
    const char *p = text;
    int count = 0;

    if (strcmp(text, "UNLIMITED") == 0 || strcmp(text, "INFINITE") == 0)
        return 0;
    for (;;) {
        char *end;
        long long value;

        if (*p < '0' || *p > '9' || count == 4)
            return -1;
        errno = 0;
        value = strtoll(p, &end, 10);
        if (errno || value > 100000000)
            return -1;
        p = end;
        if (*p == '-' && count == 0 && days == 0) {
            days = value;
            p++;
            continue;
        }
        parts[count++] = value;
        if (*p != ':')
            break;
        p++;
    }
    if (*p == '.') {
        ms = strtoll(p + 1, NULL, 10);
        if (ms < 0 || ms > 999)
            ms = 0;
        p += 1 + strspn(p + 1, "0123456789");
    }
    if (*p || count > 3)
        return -1;
    if (days && count < 3) /* "1-02:03" is hours and minutes */
        return (days * 86400 + parts[0] * 3600 + parts[1] * 60) * 1000 + ms;
    if (count == 3)
        return (days * 86400 + parts[0] * 3600 + parts[1] * 60 + parts[2]) * 1000 + ms;
    return (parts[0] * 60 + (count == 2 ? parts[1] : 0)) * 1000 + ms;
}

static const struct {
    const char *name;
    enum slurm_job_state state;
} states[] = {
    { "PENDING", SLURM_PENDING },      { "CONFIGURING", SLURM_PENDING },
    { "REQUEUED", SLURM_PENDING },     { "REQUEUE_HOLD", SLURM_PENDING },
    { "RUNNING", SLURM_RUNNING },      { "SUSPENDED", SLURM_RUNNING },
    { "STOPPED", SLURM_RUNNING },      { "SIGNALING", SLURM_RUNNING },
    { "STAGE_OUT", SLURM_RUNNING },    { "COMPLETING", SLURM_ENDING },
    { "COMPLETED", SLURM_COMPLETED },  { "FAILED", SLURM_FAILED },
    { "CANCELLED", SLURM_CANCELLED },  { "REVOKED", SLURM_CANCELLED },
    { "TIMEOUT", SLURM_TIMEOUT },      { "DEADLINE", SLURM_TIMEOUT },
    { "NODE_FAIL", SLURM_NODE_FAIL },  { "BOOT_FAIL", SLURM_NODE_FAIL },
    { "OUT_OF_MEMORY", SLURM_MEMORY }, { "PREEMPTED", SLURM_PREEMPTED },
};

static enum slurm_job_state state_of(struct slice text)
{
    for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
        size_t len = strlen(states[i].name);

        if (text.len >= len && memcmp(text.data, states[i].name, len) == 0 &&
            (text.len == len || text.data[len] == ' ' || text.data[len] == '+'))
            return states[i].state;
    }
    return SLURM_STATE_OTHER;
}

/* Up to `count` fields; the last one takes the rest. */
static uint32_t split(struct slice line, struct slice *fields, uint32_t count)
{
    uint32_t found = 0;

    while (found < count) {
        const char *bar = found + 1 < count ? memchr(line.data, '|', line.len) : NULL;
        size_t len = bar ? (size_t)(bar - line.data) : line.len;

        fields[found++] = (struct slice){ line.data, len };
        if (!bar)
            break;
        line.data += len + 1;
        line.len -= len + 1;
    }
    return found;
}

static uint64_t id_of(struct slice text)
{
    size_t digits = 0;

    while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9')
        digits++;
    return digits == 0 || digits > 18 ? 0
                                      : (uint64_t)number_of((struct slice){ text.data, digits });
}

uint32_t slurm_parse_jobs(const char *text, size_t len,
                          void (*visit)(void *, const struct slurm_job *), void *context)
{
    struct slice rest = { text, len }, line;
    uint32_t count = 0;

    while (count < SLURM_JOBS_MAX && next_line(&rest, &line)) {
        struct slice fields[8];
        struct slurm_job job = { 0 };

        if (split(line, fields, 8) < 8)
            continue;
        job.id = id_of(fields[0]);
        if (!job.id)
            continue;
        job.state = state_of(fields[1]);
        job.start_s = number_of(fields[2]);
        job.end_s = number_of(fields[3]);
        copy_text(fields[6], job.reason, sizeof(job.reason));
        copy_text(fields[7], job.name, sizeof(job.name));
        visit(context, &job);
        count++;
    }
    return count;
}

uint64_t slurm_parse_submitted(const char *text, size_t len)
{
    struct slice rest = { text, len }, line;

    while (next_line(&rest, &line)) {
        uint64_t id = id_of(line);

        if (id)
            return id;
    }
    return 0;
}

#include "gavel_data.h"

#include "base/rng.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define FIELDS_MAX 10
#define LINE_BYTES 512

static const uint32_t gangs[GAVEL_GANGS] = { 1, 2, 4, 8 };

static int gang_index(const char *text)
{
    unsigned long gang = strtoul(text, NULL, 10);

    for (uint32_t i = 0; i < GAVEL_GANGS; i++)
        if (gangs[i] == gang)
            return (int)i;
    return -1;
}

static int kind_of(const char *name)
{
    static const char *const kinds[GAVEL_KINDS] = { "v100", "p100", "k80" };

    for (uint32_t k = 0; k < GAVEL_KINDS; k++)
        if (strcmp(name, kinds[k]) == 0)
            return (int)k;
    return -1; /* spread over servers: this bench keeps gangs together */
}

static int find_type(const struct gavel_rates *rates, const char *name)
{
    for (uint32_t t = 0; t < rates->types_count; t++)
        if (strcmp(rates->types[t], name) == 0)
            return (int)t;
    return -1;
}

static int work_of(const struct gavel_rates *rates, const char *type, const char *gang)
{
    int t = find_type(rates, type), g = gang_index(gang);

    return t < 0 || g < 0 ? -1 : g * (int)GAVEL_TYPES_MAX + t;
}

static gzFile open_file(const char *folder, const char *name, struct err *err)
{
    char path[512];
    gzFile file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = gzopen(path, "r");
    if (!file)
        err_set(err, -ENOENT, "%s: not at hand", path);
    return file;
}

/* The next line's fields; their count, 0 at the end. */
static uint32_t read_row(gzFile file, char *line, char **fields)
{
    uint32_t count = 0;

    if (!gzgets(file, line, LINE_BYTES))
        return 0;
    line[strcspn(line, "\r\n")] = '\0';
    for (char *at = line; at && count < FIELDS_MAX; count++) {
        fields[count] = at;
        at = strchr(at, ',');
        if (at)
            *at++ = '\0';
    }
    return count;
}

static int read_alone(const char *folder, struct gavel_rates *rates, struct err *err)
{
    char line[LINE_BYTES], *fields[FIELDS_MAX];
    gzFile file = open_file(folder, "throughputs.csv", err);

    if (!file)
        return -ENOENT;
    read_row(file, line, fields);
    while (read_row(file, line, fields) == 4) {
        int kind = kind_of(fields[0]), work;

        if (find_type(rates, fields[1]) < 0 && rates->types_count < GAVEL_TYPES_MAX)
            snprintf(rates->types[rates->types_count++], sizeof(rates->types[0]), "%s", fields[1]);
        work = work_of(rates, fields[1], fields[2]);
        if (kind >= 0 && work >= 0)
            rates->steps_per_s[kind][work] = strtod(fields[3], NULL);
    }
    gzclose(file);
    return 0;
}

static int read_shared(const char *folder, struct gavel_rates *rates, struct err *err)
{
    char line[LINE_BYTES], *fields[FIELDS_MAX];
    gzFile file = open_file(folder, "packed_throughputs.csv.gz", err);

    if (!file)
        return -ENOENT;
    rates->share = calloc((size_t)GAVEL_KINDS * GAVEL_WORKS * GAVEL_WORKS, sizeof(float));
    read_row(file, line, fields);
    while (rates->share && read_row(file, line, fields) == 7) {
        int kind = kind_of(fields[0]), a = work_of(rates, fields[1], fields[2]);
        int b = work_of(rates, fields[3], fields[4]);
        double alone_a, alone_b;

        if (kind < 0 || a < 0 || b < 0)
            continue;
        alone_a = rates->steps_per_s[kind][a];
        alone_b = rates->steps_per_s[kind][b];
        if (!(alone_a > 0 && alone_b > 0))
            continue;
        rates->share[((size_t)kind * GAVEL_WORKS + (size_t)a) * GAVEL_WORKS + (size_t)b] =
            (float)(strtod(fields[5], NULL) / alone_a);
        rates->share[((size_t)kind * GAVEL_WORKS + (size_t)b) * GAVEL_WORKS + (size_t)a] =
            (float)(strtod(fields[6], NULL) / alone_b);
    }
    gzclose(file);
    return rates->share ? 0 : -ENOMEM;
}

int gavel_read_rates(const char *folder, struct gavel_rates *rates, struct err *err)
{
    int rc;

    memset(rates, 0, sizeof(*rates));
    rc = read_alone(folder, rates, err);
    return rc < 0 ? rc : read_shared(folder, rates, err);
}

void gavel_rates_fini(struct gavel_rates *rates)
{
    free(rates->share);
    rates->share = NULL;
}

int gavel_read_list(const char *folder, const struct gavel_rates *rates, bool is_multi,
                    uint32_t seed, struct gavel_list *list, struct err *err)
{
    char line[LINE_BYTES], *fields[FIELDS_MAX];
    gzFile file = open_file(folder, "workload.csv.gz", err);

    if (!file)
        return -ENOENT;
    list->count = 0;
    read_row(file, line, fields);
    while (read_row(file, line, fields) == 8) {
        int work = work_of(rates, fields[4], fields[5]);

        if (strcmp(fields[0], is_multi ? "multi" : "single") != 0 || work < 0 ||
            strtoul(fields[1], NULL, 10) != seed || list->count == GAVEL_JOBS_MAX)
            continue;
        list->jobs[list->count++] = (struct gavel_job){ .gap = strtod(fields[3], NULL),
                                                        .steps = strtod(fields[7], NULL),
                                                        .work = (uint32_t)work,
                                                        .gang = gangs[gang_index(fields[5])] };
    }
    gzclose(file);
    return list->count == GAVEL_JOBS_MAX ? 0 : err_set(err, -EINVAL, "workload: %u jobs", seed);
}

void gavel_make_list(const struct gavel_rates *rates, bool is_multi, uint64_t seed,
                     struct gavel_list *list)
{
    struct rng rng = { seed };

    list->count = GAVEL_JOBS_MAX;
    for (uint32_t i = 0; i < GAVEL_JOBS_MAX; i++) {
        struct gavel_job *job = &list->jobs[i];
        double draw = rng_unit(&rng), minutes;
        uint32_t g = !is_multi || draw < 0.7 ? 0 : draw <= 0.8 ? 1 : draw <= 0.95 ? 2 : 3;

        minutes = rng_unit(&rng) < 0.2 ? pow(10, 3 + rng_unit(&rng))
                                       : pow(10, 1.5 + 1.5 * rng_unit(&rng));
        do
            job->work = g * GAVEL_TYPES_MAX + (uint32_t)rng_below(&rng, rates->types_count);
        while (!(rates->steps_per_s[0][job->work] > 0));
        job->gang = gangs[g];
        job->steps = minutes * 60 * rates->steps_per_s[0][job->work];
        job->gap = i ? -log(1 - rng_unit(&rng)) : 0;
    }
}

#include "grid_data.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS INT64_C(86400000)
#define LINE_BYTES 4096

/* Days since 1970 of a date (Hinnant's civil calendar). */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = year - (month <= 2), era = y / 400, yoe = y - era * 400;
    int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static int read_header(struct grid_table *table, char *line, const char *suffix, int *column_of)
{
    uint32_t field = 0, kept = 0;

    for (char *name = line, *next; name; name = next, field++) {
        size_t len, tail = strlen(suffix);

        next = strchr(name, ',');
        if (next)
            *next++ = '\0';
        name[strcspn(name, "\r\n")] = '\0';
        len = strlen(name);
        if (field >= 4 * GRID_COLUMNS_MAX)
            return -E2BIG;
        column_of[field] = -1;
        if (!field || len < tail || strcmp(name + len - tail, suffix) != 0)
            continue;
        name[len - tail] = '\0';
        if (kept >= GRID_COLUMNS_MAX)
            return -E2BIG;
        if (!table->columns[kept].values) {
            snprintf(table->columns[kept].zone, sizeof(table->columns[kept].zone), "%s", name);
            table->columns[kept].values = calloc(GRID_HOURS_MAX, sizeof(double));
            if (!table->columns[kept].values)
                return -ENOMEM;
        } else if (strcmp(table->columns[kept].zone, name) != 0) {
            return -EINVAL;
        }
        column_of[field] = (int)kept++;
        table->count = kept;
    }
    return 0;
}

static void read_row(struct grid_table *table, char *line, const int *column_of)
{
    int year = 0, month = 0, day = 0, hour = 0, minute = 0;
    uint32_t field = 0;
    int64_t ms;

    if (sscanf(line, "%d-%d-%dT%d:%d", &year, &month, &day, &hour, &minute) < 4)
        return;
    ms = days_of(year, month, day) * DAY_MS + hour * GRID_HOUR_MS + minute * 60000;
    for (char *text = line, *next; text; text = next, field++) {
        struct grid_series *series;

        next = strchr(text, ',');
        if (next)
            *next++ = '\0';
        if (column_of[field] < 0)
            continue;
        series = &table->columns[column_of[field]];
        if (!series->count)
            series->first_ms = ms;
        if (series->count < GRID_HOURS_MAX)
            series->values[series->count++] =
                *text && *text != '\r' && *text != '\n' ? strtod(text, NULL) : NAN;
    }
}

static void fill_holes(struct grid_series *series)
{
    double next = NAN;

    for (uint32_t i = 0; i < series->count; i++) {
        if (!isnan(series->values[i]))
            continue;
        series->holes++;
        if (i >= 24)
            series->values[i] = series->values[i - 24];
    }
    for (uint32_t i = series->count; i-- > 0;) {
        if (isnan(series->values[i]))
            series->values[i] = next;
        next = series->values[i];
    }
}

int grid_table_read(struct grid_table *table, const char *folder, const char *stem,
                    const int *years, uint32_t years_count, const char *suffix, struct err *err)
{
    int column_of[4 * GRID_COLUMNS_MAX];

    memset(table, 0, sizeof(*table));
    for (uint32_t y = 0; y < years_count; y++) {
        char path[512], line[LINE_BYTES];
        FILE *file;
        int rc = 0;

        snprintf(path, sizeof(path), "%s/%s_%d.csv", folder, stem, years[y]);
        file = fopen(path, "re");
        if (!file)
            return err_set(err, -errno, "%s: %s", path, strerror(errno));
        if (!fgets(line, sizeof(line), file))
            rc = -EINVAL;
        else
            rc = read_header(table, line, suffix, column_of);
        while (rc == 0 && fgets(line, sizeof(line), file))
            read_row(table, line, column_of);
        fclose(file);
        if (rc < 0)
            return err_set(err, rc, "%s: header not as expected", path);
    }
    for (uint32_t i = 0; i < table->count; i++)
        fill_holes(&table->columns[i]);
    return 0;
}

void grid_table_fini(struct grid_table *table)
{
    for (uint32_t i = 0; i < table->count; i++)
        free(table->columns[i].values);
    memset(table, 0, sizeof(*table));
}

const struct grid_series *grid_table_find(const struct grid_table *table, const char *zone)
{
    for (uint32_t i = 0; i < table->count; i++)
        if (!strcmp(table->columns[i].zone, zone))
            return &table->columns[i];
    return NULL;
}

int64_t grid_zone_offset_ms(const char *zone)
{
    static const struct {
        const char *prefix;
        int half_hours;
    } offsets[] = {
        { "AU-", 20 },     { "BR-", -6 },     { "CA-ON", -10 }, { "CL-", -8 }, { "GB", 0 },
        { "PT", 0 },       { "IN", 11 },      { "JP-", 18 },    { "KR", 18 },  { "SG", 16 },
        { "US-CAL", -16 }, { "US-TEX", -12 }, { "US-", -10 },   { "ZA", 4 },   { "", 2 },
    };

    for (size_t i = 0;; i++)
        if (!strncmp(zone, offsets[i].prefix, strlen(offsets[i].prefix)))
            return offsets[i].half_hours * GRID_HALF_MS;
}

static int compare_jobs(const void *a, const void *b)
{
    const struct grid_job *x = a, *y = b;

    if (x->submit_ms != y->submit_ms)
        return x->submit_ms < y->submit_ms ? -1 : 1;
    return (x->work_ms > y->work_ms) - (x->work_ms < y->work_ms);
}

static int weekday_of(int64_t local_ms) /* 0 = Monday */
{
    return (int)((local_ms / DAY_MS + 3) % 7);
}

/* Where an end may slip to, in local time: next workday, only when nobody is there to see it. */
static int64_t slip(int64_t end_ms, enum grid_flex flex)
{
    int64_t in_day = end_ms % DAY_MS, next = end_ms - in_day + 9 * GRID_HOUR_MS;
    int weekday = weekday_of(end_ms);

    if (flex == GRID_NEXT_WORKDAY && weekday < 5 && in_day >= 9 * GRID_HOUR_MS &&
        in_day <= 17 * GRID_HOUR_MS)
        return end_ms;
    while (next < end_ms || (flex == GRID_NEXT_WORKDAY && weekday_of(next) >= 5) ||
           (flex == GRID_SEMI_WEEKLY && weekday_of(next) != 0 && weekday_of(next) != 3))
        next += DAY_MS;
    return next;
}

uint32_t grid_draw_ml(struct grid_job *jobs, uint32_t count, enum grid_flex flex, int64_t from_ms,
                      int64_t to_ms, int64_t offset_ms, uint64_t seed)
{
    struct rng rng = { seed };
    int64_t day0 = (from_ms + offset_ms + DAY_MS - 1) / DAY_MS;
    uint64_t days = (uint64_t)((to_ms + offset_ms) / DAY_MS - day0);
    uint32_t made = 0;

    while (made < count) {
        int64_t local = (day0 + (int64_t)rng_below(&rng, days)) * DAY_MS + 9 * GRID_HOUR_MS +
                        (int64_t)rng_below(&rng, 16) * GRID_HALF_MS;
        int64_t work_ms = (int64_t)(8 + rng_below(&rng, 172)) * GRID_HALF_MS;
        int64_t deadline_ms;

        if (weekday_of(local) >= 5)
            continue;
        deadline_ms = slip(local + work_ms, flex) - offset_ms;
        if (deadline_ms >= to_ms)
            continue;
        jobs[made++] =
            (struct grid_job){ local - offset_ms, local - offset_ms, work_ms, deadline_ms };
    }
    qsort(jobs, made, sizeof(*jobs), compare_jobs);
    return made;
}

uint32_t grid_draw_nightly(struct grid_job *jobs, uint32_t jobs_max, int64_t window_ms,
                           int64_t from_ms, int64_t to_ms, int64_t offset_ms)
{
    int64_t first = ((from_ms + window_ms + offset_ms) / DAY_MS + 1) * DAY_MS + GRID_HOUR_MS;
    uint32_t made = 0;

    for (int64_t local = first; made < jobs_max; local += DAY_MS) {
        int64_t at = local - offset_ms;

        if (at + window_ms + GRID_HALF_MS >= to_ms)
            break;
        jobs[made++] =
            (struct grid_job){ at - window_ms, at, GRID_HALF_MS, at + window_ms + GRID_HALF_MS };
    }
    return made;
}

int grid_error_init(struct grid_error *error, uint32_t count, double sd, uint64_t seed)
{
    struct rng rng = { seed };
    double step = sd * sqrt(1 - 0.95 * 0.95);

    error->innovations = calloc(count, sizeof(double));
    error->count = count;
    if (!error->innovations)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++) { /* Box and Muller */
        double u = 1 - rng_unit(&rng), v = rng_unit(&rng);

        error->innovations[i] = step * sqrt(-2 * log(u)) * cos(6.28318530717958648 * v);
    }
    return 0;
}

void grid_error_fini(struct grid_error *error)
{
    free(error->innovations);
    error->innovations = NULL;
}

uint32_t grid_error_forecast(const struct grid_error *error, const struct grid_series *series,
                             uint32_t at, uint32_t leads, double *values_out)
{
    double e = 0;
    uint32_t made = 0;

    for (uint32_t i = at + 1; i < series->count && made < leads; i++) {
        e = 0.95 * e + error->innovations[i];
        values_out[made++] = series->values[i] * exp(-e);
    }
    return made;
}

void grid_print_figure(const char *name, double value, const char *unit, const char *goal,
                       bool holds, const char *peer, double peer_value, const char *note)
{
    printf("{\"name\":\"%s\",\"value\":%.4g,\"unit\":\"%s\",", name, value, unit);
    if (goal)
        printf("\"goal\":\"%s\",\"holds\":%s,", goal, holds ? "true" : "false");
    else
        printf("\"goal\":null,\"holds\":null,");
    if (peer)
        printf("\"peer\":\"%s\",\"peer_value\":%.4g,\"ratio\":%s%.2f%s,", peer, peer_value,
               peer_value > 0 ? "\"" : "", peer_value > 0 ? value / peer_value : 0,
               peer_value > 0 ? "\"" : "");
    else
        printf("\"peer\":null,\"peer_value\":null,\"ratio\":null,");
    printf("\"note\":\"%s\"}\n", note);
    fflush(stdout);
}

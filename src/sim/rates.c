#include "sim/rates.h"

#include "sim/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SECONDS_MILLI_MAX (1LL << 40)

enum { WORK, CHIP, SECONDS, COLUMNS };
static const char *const names[COLUMNS] = { "work", "chip", "seconds" };

struct reader {
    struct sim_lines *lines;
    struct sim_load *load;
    struct err *err;
    char *fields[SIM_FIELDS_MAX];
    uint32_t at[COLUMNS], count, cap;
};

static int bad(struct reader *reader, const char *what)
{
    return err_set(reader->err, -EINVAL, "%s:%" PRIu64 ": %s", sim_lines_name(reader->lines),
                   sim_lines_number(reader->lines), what);
}

static int read_header(struct reader *reader, char *line)
{
    if (!line)
        return err_set(reader->err, -EINVAL, "%s: is empty", sim_lines_name(reader->lines));
    if (sim_csv_split(line, reader->fields, &reader->count) < 0)
        return bad(reader, "a quote that does not end");
    for (uint32_t c = 0; c < COLUMNS; c++) {
        for (reader->at[c] = 0; reader->at[c] < reader->count; reader->at[c]++)
            if (strcmp(reader->fields[reader->at[c]], names[c]) == 0)
                break;
        if (reader->at[c] == reader->count)
            return err_set(reader->err, -EINVAL,
                           "%s:1: no column \"%s\": expected work,chip,seconds",
                           sim_lines_name(reader->lines), names[c]);
    }
    return 0;
}

static int take(struct reader *reader, char *line)
{
    struct sim_load *load = reader->load;
    struct sim_pace rate;
    uint32_t count;

    if (sim_csv_split(line, reader->fields, &count) < 0 || count < reader->count)
        return bad(reader, "fewer fields than the first line has");
    if (!sim_parse_milli(reader->fields[reader->at[SECONDS]], &rate.seconds_milli) ||
        rate.seconds_milli < 1 || rate.seconds_milli > SECONDS_MILLI_MAX)
        return bad(reader, "seconds: expected a number of at least 0.001");
    rate.work = sim_load_name(load, reader->fields[reader->at[WORK]]);
    rate.chip = sim_load_name(load, reader->fields[reader->at[CHIP]]);
    if (!rate.work || !rate.chip)
        return bad(reader, "work and chip: expected names");
    if (rate.work == UINT32_MAX || rate.chip == UINT32_MAX || load->rates_count == SIM_RATES_MAX)
        return bad(reader, "too many names or rates");
    if (load->rates_count == reader->cap) {
        uint32_t cap = reader->cap ? reader->cap * 2 : 64;
        void *more = realloc(load->rates, cap * sizeof(*load->rates));

        if (!more)
            return err_set(reader->err, -ENOMEM, "out of memory");
        load->rates = more;
        reader->cap = cap;
    }
    load->rates[load->rates_count++] = rate;
    return 0;
}

static int compare(const void *a, const void *b)
{
    const struct sim_pace *x = a, *y = b;

    if (x->work != y->work)
        return x->work < y->work ? -1 : 1;
    return (x->chip > y->chip) - (x->chip < y->chip);
}

static int check(const struct reader *reader)
{
    const struct sim_load *load = reader->load;
    uint32_t same = 0;

    for (uint32_t i = 1; i < load->rates_count; i++) {
        const struct sim_pace *rate = &load->rates[i];

        same = rate->work == rate[-1].work ? same + 1 : 0;
        if (same && rate->chip == rate[-1].chip)
            return err_set(reader->err, -EINVAL, "%s: %s on %s is told twice",
                           sim_lines_name(reader->lines), load->names[rate->work],
                           load->names[rate->chip]);
        if (same == REQUEST_CHIPS_MAX)
            return err_set(reader->err, -EINVAL, "%s: %s has more than %u kinds of chip",
                           sim_lines_name(reader->lines), load->names[rate->work],
                           REQUEST_CHIPS_MAX);
    }
    return 0;
}

/* On their best chip; elsewhere they take longer by the ratio. */
static int set_lengths(const struct reader *reader)
{
    struct sim_load *load = reader->load;

    for (uint32_t i = 0; i < load->jobs_count; i++) {
        struct sim_job *job = &load->jobs[i];
        int64_t any, best;
        __int128 ms;

        if (job->request || !sim_rates_find(load, job->work, "", &any, &best))
            continue;
        ms = (__int128)job->units_milli * best / 1000;
        if (ms < 1 || ms > SIM_RUN_MS_MAX)
            return err_set(reader->err, -EINVAL,
                           "%s: job %" PRIu64 " does %" PRId64 ".%03d units of %s: it would run "
                           "for less than a ms or more than 366 days",
                           load->source, job->id, job->units_milli / 1000,
                           (int)(job->units_milli % 1000), load->names[job->work]);
        job->run_ms = (int64_t)ms;
    }
    return 0;
}

int sim_rates_read(struct sim_lines *lines, struct sim_load *load, struct err *err)
{
    struct reader reader = { .lines = lines, .load = load, .err = err };
    char *line;
    int rc = sim_lines_next(lines, &line, err);

    if (rc == 0)
        rc = read_header(&reader, line);
    while (rc == 0 && (rc = sim_lines_next(lines, &line, err)) == 0 && line)
        if (*line)
            rc = take(&reader, line);
    if (rc < 0)
        return rc;
    if (load->rates_count)
        qsort(load->rates, load->rates_count, sizeof(*load->rates), compare);
    rc = check(&reader);
    return rc < 0 ? rc : set_lengths(&reader);
}

int sim_rates_open(const char *path, struct sim_load *load, struct err *err)
{
    CLEANUP(sim_lines_closep) struct sim_lines *lines = NULL;
    int rc = sim_lines_open(path, &lines, err);

    return rc < 0 ? rc : sim_rates_read(lines, load, err);
}

const struct sim_pace *sim_rates_of(const struct sim_load *load, uint32_t work, uint32_t *count_out)
{
    uint32_t low = 0, high = load->rates_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (load->rates[middle].work < work)
            low = middle + 1;
        else
            high = middle;
    }
    for (high = low; high < load->rates_count && load->rates[high].work == work;)
        high++;
    *count_out = high - low;
    return work && high > low ? &load->rates[low] : NULL;
}

bool sim_rates_find(const struct sim_load *load, uint32_t work, const char *chip, int64_t *out,
                    int64_t *best_out)
{
    uint32_t count;
    const struct sim_pace *list = sim_rates_of(load, work, &count);

    *out = *best_out = 0;
    for (uint32_t i = 0; list && i < count; i++) {
        if (!*best_out || list[i].seconds_milli < *best_out)
            *best_out = list[i].seconds_milli;
        if (strcmp(load->names[list[i].chip], *chip ? chip : "cpu") == 0)
            *out = list[i].seconds_milli;
    }
    return list != NULL;
}

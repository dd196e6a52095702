#include "sched/work.h"

#include "sched/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_DEVICES "cpu"

void work_fini(struct work_book *book)
{
    rates_destroy(book->rates);
    intern_fini(&book->names);
    intern_fini(&book->chips);
    intern_fini(&book->owners);
    free(book->classes);
    free(book->figures);
    *book = (struct work_book){ 0 };
}

static struct rates *rates_of(struct work_book *book)
{
    if (!book->rates) {
        struct rates_params params = rates_params_default();

        params.entries_max = WORK_CLASSES_MAX * WORK_GANGS_MAX;
        book->rates = rates_create(&params);
    }
    return book->rates;
}

static void begin_class(struct work_book *book, uint32_t work)
{
    MEM_GROW(book->classes, book->classes_cap, work + 1);
    book->classes[work] = (struct work_class){ .version = 1 };
}

/* --- chips ---------------------------------------------------------------------------------- */

/* "h100", "h100@250" for a quarter of one, "cpu". */
static void chip_text(const char *chip, uint32_t milli, char out[WORK_CHIP_BYTES])
{
    if (!chip)
        snprintf(out, WORK_CHIP_BYTES, "%s", NO_DEVICES);
    else if (milli && milli < 1000)
        snprintf(out, WORK_CHIP_BYTES, "%s@%u", chip, milli);
    else
        snprintf(out, WORK_CHIP_BYTES, "%s", chip);
}

static void set_figures(struct work_book *book, uint32_t number, const struct chip_figures *figures)
{
    MEM_GROW(book->figures, book->figures_cap, number + 1);
    book->figures[number] = *figures;
    rates_set_chip(rates_of(book), number, figures, NULL);
}

static void set_share(struct work_book *book, uint32_t number, const struct chip_figures *of,
                      uint32_t milli)
{
    struct chip_figures share = *of;

    memset(share.kind, 0, sizeof(share.kind)); /* its name is the book's */
    for (uint32_t m = 0; m < METRIC_COUNT; m++)
        if (share.metric_milli[m] > 0)
            share.metric_milli[m] = share.metric_milli[m] * milli / 1000;
    set_figures(book, number, &share);
}

static uint32_t find_chip(const struct work_book *book, const char *chip, uint32_t milli)
{
    char text[WORK_CHIP_BYTES];

    chip_text(chip, milli, text);
    return intern_find(&book->chips, text, (uint32_t)strlen(text));
}

/* 0: no room for one more. */
static uint32_t get_chip(struct work_book *book, const char *chip, uint32_t milli)
{
    uint32_t number = find_chip(book, chip, milli), whole;
    struct chip_figures blank = { .power_watts = -1, .power_idle_watts = -1 };
    char text[WORK_CHIP_BYTES];

    if (number || book->chips.live_count >= WORK_CHIPS_MAX)
        return number;
    chip_text(chip, milli, text);
    number = intern_text(&book->chips, text);
    whole = chip ? find_chip(book, chip, 1000) : 0;
    if (whole && whole != number) {
        blank = book->figures[whole];
        set_share(book, number, &blank, milli);
        return number;
    }
    for (uint32_t m = 0; m < METRIC_COUNT; m++)
        blank.metric_milli[m] = -1;
    set_figures(book, number, &blank);
    return number;
}

/* --- what is told --------------------------------------------------------------------------- */

static void count_entries(struct work_book *book, uint32_t work, uint32_t before)
{
    book->classes[work].entries_count += rates_count(book->rates) - before;
}

/* The pace that was told, for each kind of chip that it means. */
static void declare(struct work_book *book, uint32_t work, uint32_t chip)
{
    struct work_class *class = &book->classes[work];
    const char *kind = intern_data(&book->chips, chip);
    struct rates_key key = { .work = work, .chip = chip, .gang = class->gang };
    uint32_t before = rates_count(book->rates);

    if (!class->gang || (class->milli == 0) != (strcmp(kind, NO_DEVICES) == 0) || strchr(kind, '@'))
        return;
    for (uint32_t i = 0; i < class->told.paces_count; i++) {
        const struct request_pace *pace = &class->told.paces[i];

        if (!request_chip_is_match(pace->chip, kind))
            continue;
        if (class->milli % 1000)
            key.chip = get_chip(book, kind, class->milli);
        if (key.chip && class->entries_count < WORK_GANGS_MAX)
            rates_declare(book->rates, &key, (double)pace->seconds_milli / 1000, NULL);
        count_entries(book, work, before);
        return;
    }
}

void work_set_chip(struct work_book *book, const struct chip_figures *figures)
{
    uint32_t number = intern_find(&book->chips, figures->kind, (uint32_t)strlen(figures->kind));
    bool is_new = number == 0;

    if (!is_new && memcmp(&book->figures[number], figures, sizeof(*figures)) == 0)
        return;
    if (is_new && book->chips.live_count >= WORK_CHIPS_MAX)
        return;
    if (is_new)
        number = intern_text(&book->chips, figures->kind);
    set_figures(book, number, figures);
    for (uint32_t work = 1; work < book->names.entries_count; work++) {
        if (is_new)
            declare(book, work, number);
        book->classes[work].version++;
    }
}

static uint32_t name_text(const char *tenant, const char *class, char out[2 * MODEL_NAME_BYTES])
{
    return (uint32_t)snprintf(out, 2 * MODEL_NAME_BYTES, "%s%c%s", tenant, '\0', class);
}

uint32_t work_find(const struct work_book *book, const char *tenant, const char *class)
{
    char text[2 * MODEL_NAME_BYTES];

    return intern_find(&book->names, text, name_text(tenant, class, text));
}

static uint32_t get_class(struct work_book *book, const char *tenant, const char *class)
{
    uint32_t work = work_find(book, tenant, class), owner, len;
    char text[2 * MODEL_NAME_BYTES];

    if (work || book->names.live_count >= WORK_CLASSES_MAX)
        return work;
    owner = intern_find(&book->owners, tenant, (uint32_t)strlen(tenant));
    if (owner && book->owners.entries[owner].refs >= WORK_CLASSES_TENANT_MAX)
        return 0;
    intern_text(&book->owners, tenant);
    len = name_text(tenant, class, text);
    work = intern_get(&book->names, text, len, NULL);
    begin_class(book, work);
    return work;
}

static void set_profile(struct work_book *book, uint32_t number, const struct request_work *work)
{
    struct rates_work profile = { (double)work->operations / 1e12, (double)work->bytes / 1e9,
                                  (enum chip_metric)work->metric };
    struct work_class *class = &book->classes[number];

    class->told.operations = work->operations;
    class->told.bytes = work->bytes;
    class->told.metric = work->metric;
    rates_set_work(rates_of(book), number, &profile, NULL);
}

uint32_t work_tell(struct work_book *book, const char *tenant, const struct request_work *work,
                   uint32_t gang, uint32_t milli)
{
    uint32_t number = get_class(book, tenant, work->class);
    struct work_class *class;
    bool has_figures = work->operations || work->bytes;

    get_chip(book, NULL, 0);
    if (!number || (!work->paces_count && !has_figures))
        return number;
    class = &book->classes[number];
    if (work->paces_count) {
        if (class->gang == gang && class->milli == milli &&
            class->told.paces_count == work->paces_count &&
            memcmp(class->told.paces, work->paces, sizeof(work->paces)) == 0 && !has_figures)
            return number;
        class->gang = gang;
        class->milli = milli;
        class->told.paces_count = work->paces_count;
        memcpy(class->told.paces, work->paces, sizeof(work->paces));
        for (uint32_t chip = 1; chip < book->chips.entries_count; chip++)
            declare(book, number, chip);
    }
    if (has_figures)
        set_profile(book, number, work);
    class->version++;
    return number;
}

void work_names(const struct work_book *book, uint32_t work, const char **tenant_out,
                const char **class_out)
{
    *tenant_out = intern_data(&book->names, work);
    *class_out = work ? *tenant_out + strlen(*tenant_out) + 1 : "";
}

/* --- rates ---------------------------------------------------------------------------------- */

uint32_t work_gang(uint32_t tasks, uint32_t devices_milli, uint32_t cpus)
{
    uint64_t each = devices_milli ? (devices_milli + 999) / 1000 : cpus;

    return (uint32_t)MIN(tasks * each, RATES_GANG_MAX);
}

void work_learn(struct work_book *book, uint32_t work, const char *chip, uint32_t milli,
                uint32_t gang, double units, double seconds)
{
    uint32_t number = get_chip(book, chip, milli), before = rates_count(rates_of(book));
    struct rates_key key = { .work = work, .chip = number, .gang = gang };

    if (!number || (book->classes[work].entries_count >= WORK_GANGS_MAX &&
                    rates_get(book->rates, &key).source < RATE_DECLARED))
        return;
    if (rates_learn(book->rates, &key, units, seconds, NULL) < 0)
        return;
    count_entries(book, work, before);
    book->classes[work].version++;
}

struct rate work_rate(const struct work_book *book, uint32_t work, const char *chip, uint32_t milli,
                      uint32_t gang)
{
    struct rates_key key = { .work = work, .chip = find_chip(book, chip, milli), .gang = gang };

    if (!work || !book->rates || !key.chip)
        return (struct rate){ 0 };
    return rates_get(book->rates, &key);
}

const char *rate_source_name(enum rate_source source)
{
    static const char *const names[] = { [RATE_UNKNOWN] = "unknown",
                                         [RATE_ROOFLINE] = "roofline",
                                         [RATE_CARRIED] = "carried",
                                         [RATE_DECLARED] = "declared",
                                         [RATE_LEARNED] = "learned" };

    return names[source];
}

bool work_entry(const struct work_book *book, uint32_t index, struct rates_entry *entry_out,
                const char **chip_out)
{
    const struct rates_entry *entry = book->rates ? rates_at(book->rates, index) : NULL;

    if (!entry)
        return false;
    *entry_out = *entry;
    *chip_out = intern_data(&book->chips, entry->key.chip);
    return true;
}

int work_restore_chip(struct work_book *book, const char *chip, const struct chip_figures *figures)
{
    struct chip_figures named = *figures;

    if (book->chips.live_count >= WORK_CHIPS_MAX ||
        intern_find(&book->chips, chip, (uint32_t)strlen(chip)))
        return -EINVAL;
    memset(named.kind, 0, sizeof(named.kind));
    if (!strchr(chip, '@') && strcmp(chip, NO_DEVICES) != 0)
        memcpy(named.kind, chip, strnlen(chip, MODEL_NAME_BYTES - 1));
    set_figures(book, intern_text(&book->chips, chip), &named);
    return 0;
}

int work_restore_class(struct work_book *book, const char *tenant, const struct request_work *told,
                       uint32_t gang, uint32_t milli)
{
    uint32_t before = book->names.live_count, number = get_class(book, tenant, told->class);

    if (!number || book->names.live_count == before)
        return -EINVAL;
    if (told->operations || told->bytes)
        set_profile(book, number, told);
    book->classes[number].gang = gang;
    book->classes[number].milli = milli;
    book->classes[number].told.paces_count = told->paces_count;
    memcpy(book->classes[number].told.paces, told->paces, sizeof(told->paces));
    return 0;
}

int work_restore(struct work_book *book, const struct rates_entry *entry, struct err *err)
{
    uint32_t before = rates_count(rates_of(book));
    int rc;

    if (!entry->key.work || entry->key.work >= book->names.entries_count || !entry->key.chip ||
        entry->key.chip >= book->chips.entries_count)
        return err_set(err, -EINVAL, "a rate of work or of a chip that nobody told");
    rc = rates_restore(book->rates, entry, err);
    if (rc == 0 && rates_count(book->rates) == before)
        return err_set(err, -EINVAL, "a rate that is told twice");
    book->classes[entry->key.work].entries_count += rates_count(book->rates) - before;
    return rc;
}

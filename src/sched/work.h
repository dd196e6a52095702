/* work.h - the classes of work that are known, and how fast each runs where: rates.h for a network.
 *
 * A class belongs to a tenant: what one tenant says or measures moves nobody else's jobs. Classes
 * and kinds of chip get small numbers in the order in which they came; both stay for ever, within
 * bounds: past them a class is not known (number 0), and places are compared by the catalogue.
 *
 * A share of a device is a kind of its own, with that share of the chip's figures; work without
 * devices runs on kind "cpu", whose figures are not known. A gang is counted in devices, or CPUs.
 *
 * Pure; one owner. The same calls in the same order give the same numbers and rates. */
#pragma once

#include "sched/intern.h"
#include "sched/rates.h"

#define WORK_CLASSES_MAX 4096u
#define WORK_CLASSES_TENANT_MAX 256u
#define WORK_CHIPS_MAX 4096u
#define WORK_CHIP_BYTES (MODEL_NAME_BYTES + 16) /* "h100@250": a quarter of one */
#define WORK_GANGS_MAX 64u /* entries (chip and gang) of one class; more are not learned */

struct work_class {
    uint64_t version; /* grows with all that may change a rate of it */
    uint32_t entries_count;
    uint32_t gang,
        milli; /* that the paces were told for (milli: of a device); gang 0 = none told */
    struct request_work told;
};

struct work_book {
    struct rates *rates;        /* NULL until something is told */
    struct intern names;        /* "tenant\0class" */
    struct intern chips;        /* kinds */
    struct intern owners;       /* tenants; one user for each class */
    struct work_class *classes; /* by number of the name */
    uint32_t classes_cap;
    struct chip_figures *figures; /* by number of the kind */
    uint32_t figures_cap;
};

void work_fini(struct work_book *book);
/* A kind of chip is there, or has other figures now. */
void work_set_chip(struct work_book *book, const struct chip_figures *figures);
/* What a job says of its work, which it does on `gang` devices (CPUs), or on `milli` of one: the
 * class's number, or 0.
 * Without paces and figures nothing that was told before changes. */
uint32_t work_tell(struct work_book *book, const char *tenant, const struct request_work *work,
                   uint32_t gang, uint32_t milli);
uint32_t work_find(const struct work_book *book, const char *tenant, const char *class);
/* The number's tenant and class. */
void work_names(const struct work_book *book, uint32_t work, const char **tenant_out,
                const char **class_out);

/* An attempt did `units` of it in `seconds`. `chip` NULL: without devices; `milli`: of a device. */
void work_learn(struct work_book *book, uint32_t work, const char *chip, uint32_t milli,
                uint32_t gang, double units, double seconds);
/* RATE_UNKNOWN and 0 seconds where nothing is known. */
struct rate work_rate(const struct work_book *book, uint32_t work, const char *chip, uint32_t milli,
                      uint32_t gang);
/* Devices of a gang, or its CPUs. */
uint32_t work_gang(uint32_t tasks, uint32_t devices_milli, uint32_t cpus);

const char *rate_source_name(enum rate_source source); /* "learned" */
/* For snapshots: the entry as it is kept, with the name of its chip. False past the last. */
bool work_entry(const struct work_book *book, uint32_t index, struct rates_entry *entry_out,
                const char **chip_out);
/* Into an empty book: first chips, then classes, then entries, each in the order of their numbers.
 * -EINVAL: told twice, or past a bound. */
int work_restore_chip(struct work_book *book, const char *chip, const struct chip_figures *figures);
int work_restore_class(struct work_book *book, const char *tenant, const struct request_work *told,
                       uint32_t gang, uint32_t milli);
int work_restore(struct work_book *book, const struct rates_entry *entry, struct err *err);

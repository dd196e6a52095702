/* keys.h - one table of keys describes one YAML mapping and the C struct it fills: the fleet,
 * fault and policy files are read through such tables, so that each error names file, line, column
 * and what was expected, and an unknown key is refused with the nearest known one. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "model/yaml.h"

#define SIM_FILE_BYTES_MAX (8u << 20)
#define SIM_LIST_MAX 4096u

enum sim_key_kind {
    SIM_KEY_NAME,     /* char[MODEL_NAME_BYTES]: [A-Za-z0-9][A-Za-z0-9._-]{0,62} */
    SIM_KEY_COUNT,    /* uint32_t min..max */
    SIM_KEY_DURATION, /* int64_t ms */
    SIM_KEY_BYTES,    /* int64_t */
    SIM_KEY_MILLI,    /* int64_t, up to 3 decimals, in 1/1000; min..max too */
    SIM_KEY_MICRO,    /* int64_t, up to 6 decimals, in 1/1,000,000; min..max too */
    SIM_KEY_TIME,     /* int64_t Unix ms */
    SIM_KEY_CHOICE,   /* uint32_t: index into `choices` */
    SIM_KEY_OBJECT,   /* `table` fills a struct inside */
    SIM_KEY_LIST      /* pointer to `table`'s structs (in the arena) and uint32_t count */
};

struct sim_reader {
    struct arena *arena;
    struct spec_locator locator;
    struct err *err;
};
struct sim_table;
struct sim_key {
    const char *name;
    enum sim_key_kind kind;
    bool needed;
    uint32_t offset, count_offset;
    int64_t min, max;
    const char *const *choices; /* NULL ends */
    const struct sim_table *table;
};
struct sim_table {
    const char *what; /* "a pool" */
    size_t size;
    const struct sim_key *keys;
    uint32_t keys_count;
    void (*defaults)(void *target); /* fills what absence means; NULL = zeroes */
    /* What must hold between keys; NULL = nothing. */
    int (*check)(struct sim_reader *reader, const struct spec_step *step, const void *target);
};

/* Read the file into zeroed `target` (table->size bytes); its lists come from `arena`. */
int sim_file_read(const char *path, const struct sim_table *table, struct arena *arena,
                  void *target, struct err *err);
/* The same of text in memory; `file` names it. */
int sim_text_read(const char *file, const char *text, size_t len, const struct sim_table *table,
                  struct arena *arena, void *target, struct err *err);
/* The other way: what is not as it would be by default, as YAML that reads back to the same.
 * -ENOMEM. */
int sim_text_write(const struct sim_table *table, const void *target, struct buf *out);
/* Refuse the value at `step`: place, then the message. Gives -EINVAL. */
int sim_refuse(struct sim_reader *reader, const struct spec_step *step, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

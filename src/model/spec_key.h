/* spec_key.h - inside src/model: the tables of keys that reader, printer, schema and "did you
 * mean" share, and the reader's own tools.
 *
 * A table describes one JSON object and the C struct it fills. A key whose form does not fit a
 * type is KEY_CUSTOM: it brings its reader, its printer and its piece of JSON schema. */
#pragma once

#include "model/spec.h"

enum spec_key_type {
    KEY_NAME,      /* const char *: [A-Za-z0-9][A-Za-z0-9._-]{0,62} */
    KEY_TEXT,      /* const char *: any text of min..max bytes */
    KEY_LINE,      /* const char *: the same without control characters */
    KEY_WORK_PATH, /* const char *: relative, in the work folder, no ".." */
    KEY_HOST_PATH, /* const char *: of the submitting machine or the site */
    KEY_U32,       /* uint32_t min..max */
    KEY_BOOL,      /* bool */
    KEY_FLAG,      /* uint32_t 0 or 1 */
    KEY_MILLI,     /* uint32_t, thousandths; min..max too */
    KEY_BYTES,     /* int64_t */
    KEY_DURATION,  /* int64_t ms */
    KEY_WHEN,      /* int64_t Unix ms, or at `count_offset` int64_t ms from the submit on */
    KEY_ENUM,      /* uint32_t: index into `names` */
    KEY_SIGNAL,    /* int32_t: "USR1", "SIGUSR1" or a number */
    KEY_TEXTS,     /* const char *const * and count */
    KEY_NAMES,     /* char[max][MODEL_NAME_BYTES] and count: each as KEY_NAME, at least one */
    KEY_PAIRS,     /* const struct spec_pair * and count: object of names and texts */
    KEY_OBJECT,    /* `table` fills the same struct; with `bare` a lone value is its first key */
    KEY_LIST,      /* array of `table`'s structs and count; `bare` as above */
    KEY_MAP,       /* the same as an object: the key fills the `const char *` each begins with */
    KEY_CUSTOM
};

struct spec_reader;
struct spec_table;
struct spec_key {
    const char *name;
    enum spec_key_type type;
    bool bare;
    bool secret;           /* printed only with secrets */
    uint32_t offset;       /* in the struct the table fills */
    uint32_t count_offset; /* lists: uint32_t */
    int64_t min, max;      /* numbers; of texts the bytes, of lists the members */
    int64_t fallback;      /* numbers: what absence means */
    const char *const *names;
    uint32_t names_count;
    const char *item; /* KEY_NAMES: "label", for messages */
    const struct spec_table *table;
    int (*read)(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                void *target);
    void (*print)(const void *source, struct buf *out); /* prints nothing for the default */
    const char *schema;                                 /* JSON */
    const char *help;
};
struct spec_table {
    const char *what; /* "a file", for messages */
    size_t size;      /* of the struct */
    const struct spec_key *keys;
    uint32_t keys_count;
    /* What must hold between keys; may be NULL. */
    int (*check)(struct spec_reader *reader, const struct spec_step *step, const void *target);
};

extern const struct spec_table spec_job_table;

struct spec_reader {
    struct arena *arena;
    const struct spec_locator *locator;
    struct err *err;
};

#define SPEC_ENV_BYTES_MAX (128u << 10) /* one value: what the kernel takes */
#define SPEC_RANGE_BYTES_MAX 4096u
#define SPEC_CHOICES_MAX 10000u

/* Refuse the value (or key) at `step`: place, field and then the message. */
int spec_refuse(struct spec_reader *reader, const struct spec_step *step, int code, const char *fmt,
                ...) PRINTF_LIKE(4, 5);
int spec_refuse_key(struct spec_reader *reader, const struct spec_step *step, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
int spec_no_memory(struct spec_reader *reader, const struct spec_step *step);
/* A value as a person would name it, short, cut between characters. */
void spec_describe_value(const json_t *value, char *out, size_t out_bytes);
/* "expected WHAT, not VALUE". */
int spec_expected(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                  const char *fmt, ...) PRINTF_LIKE(4, 5);

int spec_read_table(struct spec_reader *reader, const struct spec_step *step,
                    const struct spec_table *table, const json_t *value, void *target);
int spec_read_key(struct spec_reader *reader, const struct spec_step *step,
                  const struct spec_key *key, const json_t *value, void *target);
void spec_set_defaults(const struct spec_table *table, void *target);
/* A key that `table` does not know: refused with the nearest one it does. */
int spec_unknown_key(struct spec_reader *reader, const struct spec_step *step,
                     const struct spec_table *table);
/* A scalar as text into the arena (numbers and booleans as they were written). */
int spec_read_scalar_text(struct spec_reader *reader, const struct spec_step *step,
                          const json_t *value, const char **out);
int spec_read_name(struct spec_reader *reader, const struct spec_step *step, const char *text,
                   const char *what);
int spec_read_model_name(struct spec_reader *reader, const struct spec_step *step,
                         const json_t *value, const char *what, char out[MODEL_NAME_BYTES]);
int spec_read_milli(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                    int64_t min, int64_t max, int64_t *out);
bool spec_name_is_valid(const char *text);
bool spec_env_name_is_valid(const char *text);
bool spec_work_path_is_valid(const char *text);
bool spec_text_has_control(const char *text);
bool spec_path_has_dot_dot(const char *path);
bool spec_text_is_utf8(const char *text, size_t len); /* strict, and without NUL */

/* "0-9:2,20" -> growing values in the arena. */
int spec_parse_range(const char *text, struct arena *arena, const uint32_t **values_out,
                     uint32_t *count_out, struct err *err);
/* "USR1", "SIGUSR1", "10" -> number; 0 = none such. */
int spec_signal_find(const char *text);
const char *spec_signal_name(int number); /* "USR1"; NULL = no name */

void spec_warn(struct spec_warnings *warnings, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* A text with its bad characters made '_', fit to be a name; "job" when nothing is left. */
const char *spec_make_name(struct arena *arena, const char *text, size_t len);

/* Is it a SkyPilot task, by its keys? */
bool spec_is_skypilot(const json_t *root);
int spec_read_skypilot(const json_t *root, const struct spec_locator *locator,
                       struct job_spec **spec_out, struct spec_warnings *warnings, struct err *err);

/* What must hold across the whole of a spec, whichever reader built it. */
int spec_finish(struct job_spec *spec, struct spec_reader *reader);

void spec_print_table(const struct spec_table *table, const void *source, bool with_secrets,
                      struct buf *out);
void spec_print_text(const char *text, struct buf *out); /* JSON string */
void spec_print_int(int64_t value, struct buf *out);
void spec_print_decimal_milli(int64_t milli, struct buf *out);

/* The custom keys (spec_custom.c). */
int spec_read_needs(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                    void *target);
void spec_print_needs(const void *source, struct buf *out);
int spec_read_where(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                    void *target);
void spec_print_where(const void *source, struct buf *out);
int spec_read_objective(struct spec_reader *reader, const struct spec_step *step,
                        const json_t *value, void *target);
void spec_print_objective(const void *source, struct buf *out);
int spec_read_max_price(struct spec_reader *reader, const struct spec_step *step,
                        const json_t *value, void *target);
void spec_print_max_price(const void *source, struct buf *out);
int spec_read_units(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                    void *target);
void spec_print_units(const void *source, struct buf *out);
int spec_read_paces(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                    void *target);
void spec_print_paces(const void *source, struct buf *out);
int spec_read_operations(struct spec_reader *reader, const struct spec_step *step,
                         const json_t *value, void *target);
void spec_print_operations(const void *source, struct buf *out);
int spec_read_metric(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                     void *target);
void spec_print_metric(const void *source, struct buf *out);
/* What must hold between the keys of work and of topology; the class's name goes to its place. */
int spec_check_work(struct job_spec *spec, struct spec_reader *reader);
int spec_read_codes(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                    void *target);
void spec_print_codes(const void *source, struct buf *out);
int spec_read_step(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                   void *target);
void spec_print_step(const void *source, struct buf *out);
int spec_read_spares(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                     void *target);
void spec_print_spares(const void *source, struct buf *out);
/* What must hold between elastic, spares and the rest; the least width goes to its place. */
int spec_check_elastic(struct job_spec *spec, struct spec_reader *reader);
int spec_read_export(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                     void *target);
void spec_print_export(const void *source, struct buf *out);
int spec_read_array(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                    void *target);
void spec_print_array(const void *source, struct buf *out);

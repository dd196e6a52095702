/* predict.h - how long jobs will run, learned from those that ended.
 *
 * One record a key (a user and a name, a user and a size: a hash of what the caller thinks alike),
 * and one a size for all users, which answers for keys not seen yet. A record keeps a moving mean
 * of the logarithm of durations (most jobs repeat within a factor; a mean would be one outlier's)
 * and the plain mean (what work to expect in sum). Predictions order and estimate; nothing is
 * promised by them, and a job is never stopped for outliving one.
 *
 * Logarithms are in 1/65536 of a doubling, by integers: the same on every machine. O(1) a call;
 * a table of PREDICT_KEYS_MAX keys at most, in which a new key takes the place of a neighbour not
 * seen for longest. Own measurement: docs/quality/venus_2vc.md. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PREDICT_KEYS_MAX (1u << 16)

struct predict_params {
    uint32_t weight_milli; /* of the newest, 1 .. 1000 */
    uint32_t seen_min;     /* how many of a key must have ended before it answers */
};
struct predict_params predict_params_default(void);

struct predict_record {
    uint64_t key; /* 0 = free */
    uint64_t seen_at;
    int64_t log2_q16;
    int64_t mean_ms;
    uint32_t count;
};
struct predict {
    struct predict_record *records; /* keys_cap, a power of two */
    uint32_t keys_cap;
    uint64_t seen_count;             /* jobs learned from: also the table's time */
    struct predict_record sizes[33]; /* by the power of two of the size; [32] = all */
};

/* Over memory of the caller, zeroed, `keys_cap` records (a power of two, at least 8). */
void predict_init(struct predict *predict, struct predict_record *records, uint32_t keys_cap);
/* Of these two things alike; never 0. */
uint64_t predict_key(uint64_t user, uint64_t what);

/* A job ended that ran so long. `key` 0: nothing known of it but its size. */
void predict_learn(struct predict *predict, const struct predict_params *params, uint64_t key,
                   uint32_t devices, int64_t duration_ms);

enum predict_source { PREDICT_NONE, PREDICT_SIZE, PREDICT_KEY };
struct predict_answer {
    enum predict_source source;
    int64_t typical_ms; /* for ordering: the geometric mean */
    int64_t mean_ms;    /* for sums */
};
struct predict_answer predict_ask(const struct predict *predict,
                                  const struct predict_params *params, uint64_t key,
                                  uint32_t devices);

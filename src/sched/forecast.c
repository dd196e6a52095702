#include "sched/forecast.h"

#include "sched/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N FORECAST_FEATURES
#define SWING_DAYS 20.0 /* a slot of the day's swing is averaged over */
#define SWING_LEAST 0.1 /* of the mean swing: a slot that never swung is not taken for still */
#define MODELS 2u       /* with a given forecast, without */
/* Of the knots, those up to half a day ahead; what they say is doubted by the hour. */
#define TRUST_KNOTS 7u
#define TRUST_PRIOR 3.0  /* lessons that full trust is worth */
#define TRUST_SIGMAS 3.0 /* an outcome so many times what was said counts as so much */

enum feature {
    FEATURE_GIVEN,
    FEATURE_NOW,
    FEATURE_TREND,
    FEATURE_DAY,
    FEATURE_WEEK,
    FEATURE_YESTERDAY,
    FEATURE_SMOOTH
};

struct lesson { /* what was known of one knot's slot when it was ahead */
    double x[N];
    double profile;
    double said[MODELS]; /* NAN: nothing was said */
    double given;
};

struct model {
    double xx[N][N], xz[N];
    double weights[N];
    double square; /* of the error, averaged with forgetting */
    double samples;
};

/* What was said beyond the shape of the day and the deviation of its time, and what came: how much
 * of it is true at this time of the day. */
struct trust {
    double product, square, samples; /* sums of said x came, said x said; with forgetting */
};

struct knot {
    uint32_t lead;
    double variance; /* of the outcome about the profile, outliers clipped */
    double samples;
    double given_square, given_samples;
    struct model models[MODELS];
};

struct forecast {
    struct forecast_params params;
    uint32_t day_slots, ring, leads_max;
    double keep; /* what a lesson keeps each slot */
    int64_t last_slot;
    uint32_t seen;  /* slots observed or skipped since the start, up to `ring` */
    double *values; /* ring by slot; NAN unknown */
    double *given;  /* [lead - 1] of the last slot */
    bool has_given;
    /* Worked out once a slot, for all leads: */
    double trend;    /* by how much `now` grew since the last slot */
    double now, day; /* deviation from the profile; the last day's mean against the last days' */
    double profile[FORECAST_DAY_SLOTS_MAX]; /* by slot of the day; NAN unknown */
    double swing[FORECAST_DAY_SLOTS_MAX];   /* mean square deviation from it, likewise */
    double swing_mean, swing_samples;
    double *gap_sums;     /* [lead]: sum of given - profile up to it, */
    uint32_t *gap_counts; /* and of how many */
    struct knot knots[FORECAST_KNOTS];
    struct trust trust[FORECAST_DAY_SLOTS_MAX][TRUST_KNOTS]; /* by slot of the day */
    struct lesson *lessons;                                  /* [slot % ring][knot] */
};

struct forecast_params forecast_params_default(void)
{
    return (struct forecast_params){
        .history_days = 7,
        .memory_days = 60,
        .prior_samples = 100,
        .prior_given = 0.8,
        .prior_decay = 0.3,
        .outlier_sigmas = 3,
        .lessons_days_min = 3,
    };
}

int forecast_create(const struct forecast_params *params, uint32_t day_slots,
                    struct forecast **forecast_out, struct err *err)
{
    /* In days; what lies between is interpolated. */
    static const double lead_days[FORECAST_KNOTS] = {
        0, 0.0833, 0.125, 0.1875, 0.25, 0.375, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.5, 7.0
    };
    struct forecast *forecast;
    uint32_t last = 0;

    if (day_slots < 1 || day_slots > FORECAST_DAY_SLOTS_MAX)
        return err_set(err, -EINVAL, "%" PRIu32 " slots in a day (1 to %u)", day_slots,
                       FORECAST_DAY_SLOTS_MAX);
    if (params->history_days < 1 || params->history_days > FORECAST_DAYS_MAX)
        return err_set(err, -EINVAL, "history of %" PRIu32 " days (1 to %u)", params->history_days,
                       FORECAST_DAYS_MAX);
    if (!(params->memory_days > 0) || !(params->prior_samples > 0) || !(params->outlier_sigmas > 0))
        return err_set(err, -EINVAL, "forecast: a memory, prior and outlier limit above zero");
    forecast = mem_alloc(1, sizeof(*forecast));
    forecast->params = *params;
    forecast->day_slots = day_slots;
    forecast->leads_max = FORECAST_LEAD_DAYS * day_slots;
    forecast->ring = (params->history_days > 8 ? params->history_days + 1 : 9) * day_slots;
    forecast->keep = exp(-1.0 / (params->memory_days * day_slots));
    forecast->values = mem_alloc(forecast->ring, sizeof(double));
    forecast->given = mem_alloc(forecast->leads_max, sizeof(double));
    forecast->gap_sums = mem_alloc(forecast->leads_max + 1, sizeof(double));
    forecast->gap_counts = mem_alloc(forecast->leads_max + 1, sizeof(uint32_t));
    forecast->lessons = mem_alloc((size_t)forecast->ring * FORECAST_KNOTS, sizeof(struct lesson));
    for (uint32_t k = 0; k < FORECAST_KNOTS; k++) {
        uint32_t lead = (uint32_t)(lead_days[k] * day_slots + 0.5);

        last = lead > last ? lead : last + 1; /* coarse slots: the knots stay apart */
        forecast->knots[k].lead = last;
    }
    for (uint32_t i = 0; i < forecast->ring; i++)
        forecast->values[i] = NAN;
    for (size_t i = 0; i < (size_t)forecast->ring * FORECAST_KNOTS; i++)
        forecast->lessons[i].profile = NAN;
    for (uint32_t i = 0; i < forecast->leads_max; i++)
        forecast->given[i] = NAN;
    *forecast_out = forecast;
    return 0;
}

void forecast_destroy(struct forecast *forecast)
{
    if (!forecast)
        return;
    free(forecast->values);
    free(forecast->given);
    free(forecast->gap_sums);
    free(forecast->gap_counts);
    free(forecast->lessons);
    free(forecast);
}

void forecast_destroyp(struct forecast **forecast)
{
    forecast_destroy(*forecast);
}

static uint32_t place_of(const struct forecast *forecast, int64_t slot)
{
    int64_t place = slot % (int64_t)forecast->ring;

    return (uint32_t)(place < 0 ? place + (int64_t)forecast->ring : place);
}

static uint32_t place_in_day(const struct forecast *forecast, int64_t slot)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): 1 or more since forecast_create */
    int64_t place = slot % (int64_t)forecast->day_slots;

    return (uint32_t)(place < 0 ? place + (int64_t)forecast->day_slots : place);
}

static double value_of(const struct forecast *forecast, int64_t slot)
{
    if (slot > forecast->last_slot || slot <= forecast->last_slot - (int64_t)forecast->seen)
        return NAN;
    return forecast->values[place_of(forecast, slot)];
}

/* Mean of the same slot of the last days, none of them after `until`. NAN: none known. */
static double profile_of(const struct forecast *forecast, int64_t slot, int64_t until)
{
    int64_t day = (int64_t)forecast->day_slots;
    double sum = 0;
    uint32_t count = 0;

    if (slot > until)
        slot -= (slot - until + day - 1) / day * day;
    for (uint32_t i = 0; i < forecast->params.history_days; i++) {
        double value = value_of(forecast, slot - (int64_t)i * day);

        if (isnan(value))
            continue;
        sum += value;
        count++;
    }
    return count ? sum / count : NAN;
}

static void look_at_present(struct forecast *forecast)
{
    int64_t last = forecast->last_slot;
    double value = value_of(forecast, last), sums[2] = { 0, 0 };
    double profile = profile_of(forecast, last - (int64_t)forecast->day_slots, last - 1);
    uint32_t counts[2] = { 0, 0 };

    forecast->trend = -forecast->now;
    forecast->now = isnan(value) || isnan(profile) ? 0 : value - profile;
    forecast->trend += forecast->now;
    for (uint32_t i = 0; i < forecast->params.history_days * forecast->day_slots; i++) {
        double v = value_of(forecast, last - (int64_t)i);

        if (isnan(v))
            continue;
        sums[1] += v;
        counts[1]++;
        if (i < forecast->day_slots) {
            sums[0] += v;
            counts[0]++;
        }
    }
    forecast->day = counts[0] ? sums[0] / counts[0] - sums[1] / counts[1] : 0;
    for (uint32_t i = 0; i < forecast->day_slots; i++) {
        int64_t slot = last - (int64_t)i;

        forecast->profile[place_in_day(forecast, slot)] = profile_of(forecast, slot, last);
    }
}

static double given_of(const struct forecast *forecast, uint32_t lead)
{
    return forecast->has_given && lead <= forecast->leads_max ? forecast->given[lead - 1] : NAN;
}

/* Some hours swing wider than others: a deviation of one, in terms of another. */
static double carry_over(const struct forecast *forecast, int64_t from, int64_t to)
{
    double least = forecast->swing_mean * SWING_LEAST;
    double a = forecast->swing[place_in_day(forecast, from)] + least;
    double b = forecast->swing[place_in_day(forecast, to)] + least;

    return least > 0 ? sqrt(b / a) : 1;
}

/* Learn how wide the present slot of the day swings. */
static void learn_swing(struct forecast *forecast)
{
    double *swing = &forecast->swing[place_in_day(forecast, forecast->last_slot)];
    double square = forecast->now * forecast->now;
    double limit = forecast->params.outlier_sigmas * forecast->params.outlier_sigmas;
    double share = 1 / (forecast->swing_samples / forecast->day_slots + 1);

    if (forecast->swing_samples > forecast->day_slots && square > limit * forecast->swing_mean)
        square = limit * forecast->swing_mean;
    if (share < 1 / SWING_DAYS)
        share = 1 / SWING_DAYS;
    *swing += share * (square - *swing);
    forecast->swing_mean += share / forecast->day_slots * (square - forecast->swing_mean);
    forecast->swing_samples++;
}

static void sum_gaps(struct forecast *forecast)
{
    for (uint32_t lead = 1; lead <= forecast->leads_max; lead++) {
        double gap = given_of(forecast, lead) -
                     forecast->profile[place_in_day(forecast, forecast->last_slot + lead)];

        forecast->gap_sums[lead] = forecast->gap_sums[lead - 1] + (isnan(gap) ? 0 : gap);
        forecast->gap_counts[lead] = forecast->gap_counts[lead - 1] + !isnan(gap);
    }
}

/* Mean of given - profile over the half day about `lead`. */
static double mean_gap(const struct forecast *forecast, uint32_t lead)
{
    uint32_t half = forecast->day_slots / 4, from = lead > half ? lead - half - 1 : 0;
    uint32_t to = lead + half < forecast->leads_max ? lead + half : forecast->leads_max;
    uint32_t count = forecast->gap_counts[to] - forecast->gap_counts[from];

    return count ? (forecast->gap_sums[to] - forecast->gap_sums[from]) / count : 0;
}

/* Fill what is known of the slot `lead` ahead. */
static void look_ahead(const struct forecast *forecast, uint32_t lead, struct lesson *lesson)
{
    int64_t slot = forecast->last_slot + lead, day = (int64_t)forecast->day_slots;
    int64_t back = (lead + day - 1) / day * day;
    double week = value_of(forecast, slot - (back > 7 * day ? back : 7 * day));
    double yesterday = value_of(forecast, slot - back);

    memset(lesson, 0, sizeof(*lesson));
    lesson->given = given_of(forecast, lead);
    lesson->profile = forecast->profile[place_in_day(forecast, slot)];
    if (isnan(lesson->profile)) { /* no history at all: the given one stands for it */
        lesson->profile = lesson->given;
        return;
    }
    lesson->x[FEATURE_NOW] = forecast->now * carry_over(forecast, forecast->last_slot, slot);
    lesson->x[FEATURE_TREND] = forecast->trend;
    lesson->x[FEATURE_DAY] = forecast->day;
    lesson->x[FEATURE_WEEK] = isnan(week) ? 0 : week - lesson->profile;
    lesson->x[FEATURE_YESTERDAY] = isnan(yesterday) ? 0 : yesterday - lesson->profile;
    if (isnan(lesson->given))
        return;
    lesson->x[FEATURE_GIVEN] = lesson->given - lesson->profile;
    lesson->x[FEATURE_SMOOTH] = mean_gap(forecast, lead);
}

static void set_prior(const struct forecast *forecast, uint32_t model, uint32_t lead,
                      double weights[N])
{
    double decay = pow(forecast->params.prior_decay, (double)lead / forecast->day_slots);
    double given = model == 0 ? forecast->params.prior_given : 0;

    memset(weights, 0, N * sizeof(double));
    weights[FEATURE_GIVEN] = given;
    weights[FEATURE_NOW] = (1 - given) * decay;
}

/* Least squares, drawn to the prior: (xx + r I) w = xz + r w0, by Cholesky. */
static void solve(const struct forecast *forecast, struct knot *knot, uint32_t which)
{
    struct model *model = &knot->models[which];
    double l[N][N], y[N], ridge = forecast->params.prior_samples * knot->variance;

    set_prior(forecast, which, knot->lead, y);
    if (!(ridge > 0)) { /* it has not moved yet */
        memcpy(model->weights, y, sizeof(y));
        return;
    }
    for (uint32_t i = 0; i < N; i++) {
        y[i] = model->xz[i] + ridge * y[i];
        for (uint32_t j = 0; j <= i; j++) {
            double sum = model->xx[i][j] + (i == j ? ridge : 0);

            for (uint32_t k = 0; k < j; k++)
                sum -= l[i][k] * l[j][k];
            l[i][j] = i == j ? sqrt(sum > ridge * 1e-9 ? sum : ridge * 1e-9) : sum / l[j][j];
        }
    }
    for (uint32_t i = 0; i < N; i++) {
        for (uint32_t k = 0; k < i; k++)
            y[i] -= l[i][k] * y[k];
        y[i] /= l[i][i];
    }
    for (uint32_t i = N; i-- > 0;) {
        for (uint32_t k = i + 1; k < N; k++)
            y[i] -= l[k][i] * y[k];
        y[i] /= l[i][i];
    }
    memcpy(model->weights, y, sizeof(y));
}

static double say(const struct forecast *forecast, const struct knot *knot, uint32_t which,
                  const struct lesson *lesson)
{
    const struct model *model = &knot->models[which];
    double prior[N], sum = lesson->profile;
    const double *weights = model->weights;

    if (model->samples <= 0) {
        set_prior(forecast, which, knot->lead, prior);
        weights = prior;
    }
    for (uint32_t i = 0; i < N; i++)
        if (which == 0 || (i != FEATURE_GIVEN && i != FEATURE_SMOOTH))
            sum += weights[i] * lesson->x[i];
    return sum;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The square of the least by which a quarter of the last day's values are off what was their
 * profile. Some spikes do not move it; a series that has come to life, or has a new level, does. */
static double quarter_square(const struct forecast *forecast)
{
    double squares[FORECAST_DAY_SLOTS_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < forecast->day_slots; i++) {
        int64_t slot = forecast->last_slot - (int64_t)i;
        double miss = value_of(forecast, slot) -
                      profile_of(forecast, slot - (int64_t)forecast->day_slots, slot - 1);

        if (!isnan(miss))
            squares[count++] = miss * miss;
    }
    if (!count)
        return 0;
    qsort(squares, count, sizeof(*squares), compare_doubles);
    return squares[count - 1 - count / 4];
}

static void learn(const struct forecast *forecast, struct knot *knot, const struct lesson *lesson,
                  double value, double quarter)
{
    double z = value - lesson->profile, limit, weight = 1, keep = forecast->keep;

    if (isnan(lesson->profile) || isnan(value))
        return;
    limit = forecast->params.outlier_sigmas * forecast->params.outlier_sigmas *
            (knot->variance > quarter ? knot->variance : quarter);
    if (knot->samples > 20 && z * z > limit)
        weight = limit / (z * z); /* one price spike of a thousand times must not set the weights */
    knot->samples = knot->samples * keep + 1;
    knot->variance += (weight * z * z - knot->variance) / knot->samples;
    if (!isnan(lesson->given)) {
        double miss = value - lesson->given;

        knot->given_samples = knot->given_samples * keep + 1;
        knot->given_square += (weight * miss * miss - knot->given_square) / knot->given_samples;
    }
    for (uint32_t which = 0; which < MODELS; which++) {
        struct model *model = &knot->models[which];
        double miss = value - lesson->said[which];

        if (isnan(miss))
            continue;
        model->samples = model->samples * keep + 1;
        model->square += (weight * miss * miss - model->square) / model->samples;
        for (uint32_t i = 0; i < N; i++) {
            double x = which == 1 && (i == FEATURE_GIVEN || i == FEATURE_SMOOTH) ? 0 : lesson->x[i];

            for (uint32_t j = 0; j <= i; j++) {
                double xj =
                    which == 1 && (j == FEATURE_GIVEN || j == FEATURE_SMOOTH) ? 0 : lesson->x[j];
                model->xx[i][j] = model->xx[i][j] * keep + weight * x * xj;
            }
            model->xz[i] = model->xz[i] * keep + weight * x * z;
        }
        solve(forecast, knot, which);
    }
}

/* What would be said now, kept until its slots come. */
static void take_lessons(struct forecast *forecast)
{
    struct lesson *lessons =
        &forecast->lessons[(size_t)place_of(forecast, forecast->last_slot) * FORECAST_KNOTS];

    for (uint32_t k = 0; k < FORECAST_KNOTS; k++) {
        look_ahead(forecast, forecast->knots[k].lead, &lessons[k]);
        lessons[k].said[1] = say(forecast, &forecast->knots[k], 1, &lessons[k]);
        lessons[k].said[0] =
            isnan(lessons[k].given) ? NAN : say(forecast, &forecast->knots[k], 0, &lessons[k]);
    }
}

/* --- trust by the time of the day ----------------------------------------------------------------
 * The weights are of all hours together. Where a forecast is given, what is right by day, when much
 * happens, may be its noise at night. So what is said with it of the next half day is drawn, by the
 * slot of the day, towards what needs none: the day's shape, and the present deviation from it. */

static double within(double value, double least, double most)
{
    return value < least ? least : value > most ? most : value;
}

static double plain(const struct lesson *lesson)
{
    return lesson->profile + lesson->x[FEATURE_NOW];
}

/* Only knots so near. */
static bool is_doubted(const struct forecast *forecast, uint32_t k)
{
    return k < TRUST_KNOTS && 2 * forecast->knots[k].lead <= forecast->day_slots;
}

static void learn_trust(struct forecast *forecast, int64_t slot, double value)
{
    struct trust *trust = forecast->trust[place_in_day(forecast, slot)];
    double keep = 1 - 1 / (1 + forecast->params.memory_days);

    for (uint32_t k = 0; is_doubted(forecast, k) && forecast->knots[k].lead < forecast->seen; k++) {
        int64_t then = slot - (int64_t)forecast->knots[k].lead;
        const struct lesson *lesson =
            &forecast->lessons[(size_t)place_of(forecast, then) * FORECAST_KNOTS + k];
        double said = lesson->said[0] - plain(lesson), came = value - plain(lesson);

        if (isnan(lesson->profile) || isnan(said) || isnan(came))
            continue;
        came = within(came, -TRUST_SIGMAS * fabs(said), TRUST_SIGMAS * fabs(said));
        trust[k].product = trust[k].product * keep + said * came;
        trust[k].square = trust[k].square * keep + said * said;
        trust[k].samples = trust[k].samples * keep + 1;
    }
}

/* 0: as if nothing was said .. 1: as it was said. */
static double trust_of(const struct forecast *forecast, int64_t slot, uint32_t k)
{
    const struct trust *trust;
    double prior;

    if (!is_doubted(forecast, k))
        return 1;
    trust = &forecast->trust[place_in_day(forecast, slot)][k];
    if (!(trust->square > 0))
        return 1;
    prior = TRUST_PRIOR * trust->square / trust->samples;
    return within((trust->product + prior) / (trust->square + prior), 0, 1);
}

/* `value` as it is said by the knots k and k + 1, `share` of the second. */
static double temper(const struct forecast *forecast, const struct lesson *lesson, uint32_t lead,
                     uint32_t k, double share, double value)
{
    int64_t slot = forecast->last_slot + lead;
    double trust =
        (1 - share) * trust_of(forecast, slot, k) + share * trust_of(forecast, slot, k + 1);
    double far =
        4.0 * lead / forecast->day_slots - 1; /* a quarter of a day to half a day: 0 .. 1 */

    trust += (1 - trust) * within(far, 0, 1);
    return plain(lesson) + trust * (value - plain(lesson));
}

static void start_afresh(struct forecast *forecast, int64_t slot)
{
    forecast->seen = 0;
    forecast->last_slot = slot - 1;
    for (size_t i = 0; i < (size_t)forecast->ring * FORECAST_KNOTS; i++)
        forecast->lessons[i].profile = NAN;
}

static void step(struct forecast *forecast, double value)
{
    int64_t slot = forecast->last_slot + 1;
    double quarter;

    if (forecast->seen)
        take_lessons(forecast);
    forecast->last_slot = slot;
    forecast->values[place_of(forecast, slot)] = value;
    if (forecast->seen < forecast->ring)
        forecast->seen++;
    quarter = quarter_square(forecast);
    learn_trust(forecast, slot, value);
    for (uint32_t k = 0; k < FORECAST_KNOTS; k++) {
        struct knot *knot = &forecast->knots[k];

        if (knot->lead >= forecast->seen)
            break;
        learn(
            forecast, knot,
            &forecast->lessons[(size_t)place_of(forecast, slot - knot->lead) * FORECAST_KNOTS + k],
            value, quarter);
    }
    memmove(forecast->given, forecast->given + 1, (forecast->leads_max - 1) * sizeof(double));
    forecast->given[forecast->leads_max - 1] = NAN;
    look_at_present(forecast);
    learn_swing(forecast);
    sum_gaps(forecast);
}

int forecast_observe(struct forecast *forecast, int64_t slot, double value, struct err *err)
{
    if (forecast->seen && slot <= forecast->last_slot)
        return err_set(err, -ERANGE, "slot %" PRId64 " is not after %" PRId64, slot,
                       forecast->last_slot);
    if (!forecast->seen || slot - forecast->last_slot >= (int64_t)forecast->ring)
        start_afresh(forecast, slot);
    while (forecast->last_slot + 1 < slot)
        step(forecast, NAN);
    step(forecast, isfinite(value) ? value : NAN);
    return 0;
}

void forecast_give(struct forecast *forecast, int64_t slot, const double *values, uint32_t count)
{
    forecast->has_given = false;
    for (uint32_t i = 0; i < forecast->leads_max; i++)
        forecast->given[i] = NAN;
    for (uint32_t i = 0; i < count; i++) {
        int64_t lead = slot + i - forecast->last_slot;

        if (lead < 1 || lead > (int64_t)forecast->leads_max || !isfinite(values[i]))
            continue;
        forecast->given[lead - 1] = values[i];
        forecast->has_given = true;
    }
    sum_gaps(forecast);
}

static double deviation(const struct model *a, const struct model *b, double share)
{
    if (a->samples <= 0 || b->samples <= 0) /* one knot may not have come round yet */
        return a->samples > 0 && share < 0.5 ? sqrt(a->square) : INFINITY;
    return sqrt((1 - share) * a->square + share * b->square);
}

bool forecast_fill(const struct forecast *forecast, uint32_t count, double *mean_out,
                   double *sd_out)
{
    uint32_t k = 0;

    if (!forecast->seen ||
        (!forecast->has_given &&
         forecast->seen < forecast->params.lessons_days_min * forecast->day_slots))
        return false;
    for (uint32_t lead = 1; lead <= count; lead++) {
        const struct knot *a, *b;
        struct lesson lesson;
        uint32_t which;
        double share;

        while (k + 2 < FORECAST_KNOTS && forecast->knots[k + 1].lead <= lead)
            k++;
        a = &forecast->knots[k];
        b = &forecast->knots[k + 1];
        share = lead <= a->lead ? 0 : ((double)lead - a->lead) / ((double)b->lead - a->lead);
        share = share > 1 ? 1 : share;
        look_ahead(forecast, lead, &lesson);
        which = isnan(lesson.given) ? 1 : 0;
        if (isnan(lesson.profile)) /* a hole in history where none is given either */
            lesson.profile = value_of(forecast, forecast->last_slot);
        mean_out[lead - 1] = (1 - share) * say(forecast, a, which, &lesson) +
                             share * say(forecast, b, which, &lesson);
        if (which == 0)
            mean_out[lead - 1] = temper(forecast, &lesson, lead, k, share, mean_out[lead - 1]);
        sd_out[lead - 1] = deviation(&a->models[which], &b->models[which], share);
        if (isnan(mean_out[lead - 1]))
            mean_out[lead - 1] = 0;
    }
    return true;
}

struct forecast_skill forecast_get_skill(const struct forecast *forecast, uint32_t lead_slots)
{
    struct forecast_skill skill = { NAN, NAN, NAN };
    uint32_t k = 0;

    while (k + 1 < FORECAST_KNOTS && forecast->knots[k + 1].lead <= lead_slots)
        k++;
    if (forecast->knots[k].given_samples > 0)
        skill.given_rmse = sqrt(forecast->knots[k].given_square);
    if (forecast->knots[k].models[1].samples > 0)
        skill.history_rmse = sqrt(forecast->knots[k].models[1].square);
    if (forecast->knots[k].models[0].samples > 0)
        skill.blend_rmse = sqrt(forecast->knots[k].models[0].square);
    return skill;
}

/* --- as words ------------------------------------------------------------------------------- */

struct words { /* one of the two */
    void (*put)(void *context, uint64_t word);
    bool (*take)(void *context, uint64_t *word_out);
    void *context;
    bool failed;
};

static uint64_t pass_word(struct words *words, uint64_t word)
{
    if (words->put)
        words->put(words->context, word);
    else if (!words->failed && !words->take(words->context, &word))
        words->failed = true;
    return words->failed ? 0 : word;
}

/* Its bits and one, so that what is not known is the shortest: 0. */
static void pass_doubles(struct words *words, double *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t bits = 0;

        if (!isnan(list[i])) {
            memcpy(&bits, &list[i], sizeof(bits));
            bits++;
        }
        bits = pass_word(words, bits);
        list[i] = NAN;
        if (bits--)
            memcpy(&list[i], &bits, sizeof(bits));
    }
}

static void pass_trust(struct forecast *forecast, struct words *words)
{
    for (uint32_t i = 0; i < forecast->day_slots; i++)
        for (uint32_t k = 0; is_doubted(forecast, k); k++) {
            pass_doubles(words, &forecast->trust[i][k].product, 1);
            pass_doubles(words, &forecast->trust[i][k].square, 1);
            pass_doubles(words, &forecast->trust[i][k].samples, 1);
        }
}

static void pass_all(struct forecast *forecast, struct words *words, bool has_trust)
{
    size_t lessons = (size_t)forecast->ring * FORECAST_KNOTS;

    forecast->last_slot = (int64_t)pass_word(words, (uint64_t)forecast->last_slot);
    forecast->seen = (uint32_t)pass_word(words, forecast->seen);
    forecast->has_given = pass_word(words, forecast->has_given) != 0;
    pass_doubles(words, forecast->values, forecast->ring);
    pass_doubles(words, forecast->given, forecast->leads_max);
    pass_doubles(words, &forecast->trend, 1);
    pass_doubles(words, &forecast->now, 1);
    pass_doubles(words, &forecast->day, 1);
    pass_doubles(words, forecast->profile, forecast->day_slots);
    pass_doubles(words, forecast->swing, forecast->day_slots);
    pass_doubles(words, &forecast->swing_mean, 1);
    pass_doubles(words, &forecast->swing_samples, 1);
    for (uint32_t k = 0; k < FORECAST_KNOTS; k++) {
        struct knot *knot = &forecast->knots[k];

        pass_doubles(words, &knot->variance, 1);
        pass_doubles(words, &knot->samples, 1);
        pass_doubles(words, &knot->given_square, 1);
        pass_doubles(words, &knot->given_samples, 1);
        for (uint32_t m = 0; m < MODELS; m++) {
            pass_doubles(words, &knot->models[m].xx[0][0], (size_t)N * N);
            pass_doubles(words, knot->models[m].xz, N);
            pass_doubles(words, knot->models[m].weights, N);
            pass_doubles(words, &knot->models[m].square, 1);
            pass_doubles(words, &knot->models[m].samples, 1);
        }
    }
    for (size_t i = 0; i < lessons; i++) {
        struct lesson *lesson = &forecast->lessons[i];

        pass_doubles(words, &lesson->profile, 1);
        if (isnan(lesson->profile))
            continue; /* none was kept: the rest of it is never read */
        pass_doubles(words, lesson->x, N);
        pass_doubles(words, lesson->said, MODELS);
        pass_doubles(words, &lesson->given, 1);
    }
    if (has_trust)
        pass_trust(forecast, words);
    if (forecast->seen > forecast->ring)
        words->failed = true;
}

void forecast_save(const struct forecast *forecast, void (*put)(void *context, uint64_t word),
                   void *context)
{
    struct words words = { .put = put, .context = context };

    /* Each number is written back as it was. */
    pass_all((struct forecast *)forecast, &words, true);
}

bool forecast_load(struct forecast *forecast, bool has_trust,
                   bool (*take)(void *context, uint64_t *word_out), void *context)
{
    struct words words = { .take = take, .context = context };

    pass_all(forecast, &words, has_trust);
    if (!words.failed)
        sum_gaps(forecast);
    return !words.failed;
}

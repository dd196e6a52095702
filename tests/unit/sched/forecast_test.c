/* What is foreseen: nothing from nothing, the day's shape from history, a good forecast believed, a
 * bad one found out. */
#include "base/cleanup.h"
#include "base/rng.h"
#include "sched/forecast.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define DAY 24u

static struct forecast *make(void)
{
    struct forecast_params params = forecast_params_default();
    struct forecast *forecast = NULL;

    assert_int_equal(forecast_create(&params, DAY, &forecast, NULL), 0);
    return forecast;
}

static void test_refusals(void **state)
{
    struct forecast_params params = forecast_params_default();
    struct forecast *forecast = NULL;
    double mean[4], sd[4], given[2] = { 5, NAN };
    struct err err;

    (void)state;
    assert_int_equal(forecast_create(&params, 0, &forecast, &err), -EINVAL);
    assert_int_equal(forecast_create(&params, 97, &forecast, &err), -EINVAL);
    params.history_days = 0;
    assert_int_equal(forecast_create(&params, DAY, &forecast, &err), -EINVAL);
    params = forecast_params_default();
    params.memory_days = NAN;
    assert_int_equal(forecast_create(&params, DAY, &forecast, &err), -EINVAL);
    assert_null(forecast);
    forecast_destroy(NULL);

    forecast = make();
    assert_false(forecast_fill(forecast, 4, mean, sd)); /* nothing is known */
    assert_int_equal(forecast_observe(forecast, 100, 7, &err), 0);
    assert_int_equal(forecast_observe(forecast, 100, 7, &err), -ERANGE);
    assert_false(forecast_fill(forecast, 4, mean, sd));
    forecast_give(forecast, 101, given, 2);
    assert_true(forecast_fill(forecast, 4, mean, sd));
    for (int i = 0; i < 4; i++)
        assert_true(isfinite(mean[i]) && isinf(sd[i]));
    forecast_give(forecast, 101, NULL, 0);
    assert_false(forecast_fill(forecast, 4, mean, sd));
    assert_true(isnan(forecast_get_skill(forecast, 24).given_rmse));
    forecast_destroyp(&forecast);
}

static double wave(int64_t slot)
{
    return 100 + 40 * sin((double)slot * 6.28318530717958648 / DAY);
}

/* A day that repeats is foreseen; holes, jumps and infinities do not hurt. */
static void test_history(void **state)
{
    struct forecast *forecast = make();
    double mean[200], sd[200];

    (void)state;
    for (int64_t t = 0; t < 40 * DAY; t++) {
        if (t % 37 == 5)
            continue; /* a jump */
        assert_int_equal(forecast_observe(forecast, t, t % 41 == 0 ? INFINITY : wave(t), NULL), 0);
    }
    assert_true(forecast_fill(forecast, 200, mean, sd)); /* past what is learned, too */
    for (uint32_t i = 0; i < 200; i++)
        assert_true(fabs(mean[i] - wave((int64_t)(40 * DAY + i))) < 0.5 && sd[i] < 20);
    assert_int_equal(forecast_observe(forecast, 4000 * DAY, 1, NULL), 0);
    assert_false(forecast_fill(forecast, 4, mean, sd)); /* what it knew is too old */
    forecast_destroy(forecast);
}

/* A random walk about a wave, seen ahead with an error: the blend beats both of its parts. */
static void run_skill(double noise, uint64_t seed, struct forecast_skill *skill, double *said)
{
    struct forecast *forecast = make();
    struct rng rng = { seed };
    double values[200 * DAY + 168], given[168], mean[168], sd[168], level = 0;

    for (uint32_t t = 0; t < 200 * DAY + 168; t++) {
        level = 0.97 * level + 8 * (rng_unit(&rng) - 0.5);
        values[t] = wave(t) + level;
    }
    for (uint32_t t = 0; t < 200 * DAY; t++) {
        assert_int_equal(forecast_observe(forecast, t, values[t], NULL), 0);
        for (uint32_t i = 0; i < 168; i++)
            given[i] = values[t + 1 + i] + noise * (rng_unit(&rng) - 0.5);
        forecast_give(forecast, t + 1, given, 168);
    }
    assert_true(forecast_fill(forecast, 168, mean, sd));
    *said = mean[23] - given[23];
    *skill = forecast_get_skill(forecast, 24);
    forecast_destroy(forecast);
}

static void test_skill(void **state)
{
    struct forecast_skill good, fair, bad;
    double said;

    (void)state;
    run_skill(0, 1, &good, &said);
    assert_true(fabs(said) < 0.5 && good.given_rmse < 1e-9); /* a perfect one is believed */
    assert_true(good.blend_rmse < 0.2 * good.history_rmse);
    run_skill(20, 2, &fair, &said);
    assert_true(fair.blend_rmse < fair.history_rmse && fair.blend_rmse < fair.given_rmse);
    run_skill(2000, 3, &bad, &said); /* rubbish is found out: its first days are in the mean */
    if (bad.blend_rmse > 2 * bad.history_rmse || bad.given_rmse < 500)
        fail_msg("%g, history %g, given %g", bad.blend_rmse, bad.history_rmse, bad.given_rmse);
}

/* One spike of a thousand times must not spoil what comes after. */
static void test_spike(void **state)
{
    struct forecast *forecast = make();
    double mean[48], sd[48];

    (void)state;
    for (int64_t t = 0; t < 60 * DAY; t++)
        forecast_observe(forecast, t, t == 40 * DAY + 3 ? 100000 : wave(t), NULL);
    assert_true(forecast_fill(forecast, 48, mean, sd));
    for (uint32_t i = 0; i < 48; i++)
        assert_true(fabs(mean[i] - wave((int64_t)(60 * DAY + i))) < 5);
    forecast_destroy(forecast);
}

/* The same calls, the same bytes. */
static void test_same(void **state)
{
    double mean[2][168], sd[2][168];

    (void)state;
    for (int k = 0; k < 2; k++) {
        struct forecast *forecast = make();
        struct rng rng = { 9 };
        double given[100];

        for (int64_t t = 0; t < 30 * DAY; t++) {
            forecast_observe(forecast, t, rng_unit(&rng) - 0.4, NULL);
            for (int i = 0; i < 100; i++)
                given[i] = rng_unit(&rng);
            forecast_give(forecast, t - 3, given, t % 5 ? 100 : 0);
        }
        assert_true(forecast_fill(forecast, 168, mean[k], sd[k]));
        forecast_destroy(forecast);
    }
    assert_memory_equal(mean[0], mean[1], sizeof(mean[0]));
    assert_memory_equal(sd[0], sd[1], sizeof(sd[0]));
}

/* A series that stood still for months has come to life: within days that is learned, and how sure
 * it is told. */
static void test_awakes(void **state)
{
    struct forecast *forecast = make();
    double mean[24], sd[24];

    (void)state;
    for (int64_t t = 0; t < 90 * DAY; t++)
        assert_int_equal(forecast_observe(forecast, t, 250, NULL), 0);
    assert_true(forecast_fill(forecast, 24, mean, sd));
    for (int i = 0; i < 24; i++)
        assert_true(fabs(mean[i] - 250) < 1e-6 && sd[i] < 1e-6);
    for (int64_t t = 90 * DAY; t < 105 * DAY; t++)
        assert_int_equal(forecast_observe(forecast, t, wave(t) + 30 * (double)(t / DAY % 2), NULL),
                         0);
    assert_true(forecast_fill(forecast, 24, mean, sd));
    for (int i = 0; i < 24; i++)
        if (fabs(mean[i] - wave(i)) > 60 || sd[i] < 2)
            fail_msg("%d h ahead: %g, give or take %g", i + 1, mean[i], sd[i]);
    assert_true(forecast_get_skill(forecast, 1).history_rmse > 1);
    forecast_destroy(forecast);
}

/* Wild days that a forecast with a hum foresees, and nights on which only the hum moves. */
static double hum(uint32_t t, uint32_t lead)
{
    struct rng rng = { (uint64_t)t * 1000 + lead };

    rng_unit(&rng);
    return 8 * (rng_unit(&rng) - 0.5);
}

static double restless(uint32_t t, struct rng *rng)
{
    return t % DAY >= 8 && t % DAY < 20 ? 300 + 60 * (rng_unit(rng) - 0.5) : 290 + 0.02 * (t % DAY);
}

/* By day the forecast is believed, by night its hum is not taken for news. */
static void test_quiet_nights(void **state)
{
    struct forecast *forecast = make();
    struct rng rng = { 5 };
    double values[120 * DAY + 168], given[168], mean[12], sd[12];
    double night = 0, night_given = 0, day = 0, day_plain = 0;

    (void)state;
    for (uint32_t t = 0; t < 120 * DAY + 168; t++)
        values[t] = restless(t, &rng);
    for (uint32_t t = 0; t < 120 * DAY; t++) {
        assert_int_equal(forecast_observe(forecast, t, values[t], NULL), 0);
        for (uint32_t i = 0; i < 168; i++)
            given[i] = values[t + 1 + i] + hum(t, i);
        forecast_give(forecast, t + 1, given, 168);
        assert_true(forecast_fill(forecast, 12, mean, sd));
        if (t < 60 * DAY)
            continue;
        for (int i = 0; t % DAY == 23 && i < 4; i++) { /* to be at 1 or at 3 in the night? */
            night += fabs(mean[i] - values[t + 1 + i]);
            night_given += fabs(given[i] - values[t + 1 + i]);
        }
        for (int i = 0; t % DAY == 12 && i < 4; i++) {
            day += fabs(mean[i] - values[t + 1 + i]);
            day_plain += fabs(values[t + 1 + i] - 300);
        }
    }
    if (night > 0.3 * night_given || day > 0.4 * day_plain)
        fail_msg("night %g of %g, day %g of %g", night, night_given, day, day_plain);
    forecast_destroy(forecast);
}

struct tape {
    uint64_t words[200000];
    uint32_t count, at, end;
};

static void put(void *context, uint64_t word)
{
    struct tape *tape = context;

    assert_true(tape->count < ARRAY_COUNT(tape->words));
    tape->words[tape->count++] = word;
}

static bool take(void *context, uint64_t *word_out)
{
    struct tape *tape = context;

    if (tape->at == tape->end)
        return false;
    *word_out = tape->words[tape->at++];
    return true;
}

static void go_on(struct forecast *forecast, uint32_t from, double mean[24])
{
    double given[48], sd[24];
    struct rng rng = { from };

    for (uint32_t t = from; t < from + 30; t++) {
        assert_int_equal(forecast_observe(forecast, t, restless(t, &rng), NULL), 0);
        for (uint32_t i = 0; i < 48; i++)
            given[i] = restless(t + 1 + i, &rng) + hum(t, i);
        forecast_give(forecast, t + 1, given, 48);
    }
    assert_true(forecast_fill(forecast, 24, mean, sd));
}

/* From its words it goes on as it would have; without those of trust, as one that has none. */
static void test_words(void **state)
{
    static struct tape tape;
    struct forecast *forecast = make(), *again = make(), *older = make();
    double mean[3][24];

    (void)state;
    go_on(forecast, 0, mean[0]);
    for (uint32_t day = 2; day < 20; day++)
        go_on(forecast, day * 40, mean[0]);
    forecast_save(forecast, put, &tape);
    tape.end = tape.count;
    assert_true(forecast_load(again, true, take, &tape));
    assert_int_equal(tape.at, tape.end);
    tape.at = 0;
    assert_true(forecast_load(older, false, take, &tape));
    tape.end = tape.at; /* the words of trust are the last */
    assert_true(tape.end < tape.count);
    tape.at = 0;
    forecast_destroy(older);
    older = make();
    assert_false(forecast_load(older, true, take, &tape));
    forecast_destroy(older);
    older = make();
    tape.at = 0;
    assert_true(forecast_load(older, false, take, &tape));
    go_on(forecast, 800, mean[0]);
    go_on(again, 800, mean[1]);
    go_on(older, 800, mean[2]);
    assert_memory_equal(mean[0], mean[1], sizeof(mean[0]));
    assert_true(memcmp(mean[0], mean[2], sizeof(mean[0])) != 0);
    forecast_destroy(forecast);
    forecast_destroy(again);
    forecast_destroy(older);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_history),
        cmocka_unit_test(test_skill),        cmocka_unit_test(test_spike),
        cmocka_unit_test(test_same),         cmocka_unit_test(test_awakes),
        cmocka_unit_test(test_quiet_nights), cmocka_unit_test(test_words),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* when something written again and again is whole: never within a saving, and yet within seconds */
#include "agent/rhythm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define BEGIN_MS 1800000000000LL
#define NEVER (-1)

/* Saves every `period_ms`: writes for `burst_ms`, a change each `step_ms`. When it changed last. */
struct job {
    int64_t period_ms, burst_ms, step_ms;
};
static int64_t newest(const struct job *job, int64_t now_ms)
{
    int64_t into_ms = (now_ms - BEGIN_MS) % job->period_ms;
    int64_t last_ms = into_ms < job->burst_ms ? into_ms - into_ms % job->step_ms : job->burst_ms;

    return now_ms - into_ms + last_ms;
}

/* Until it is taken as whole: how long that took; NEVER within a minute. It must not be in a
 * saving, which is when `burst_ms` of the period are not over. */
static int64_t take(const struct job *job, struct rhythm *rhythm, int64_t from_ms, int *looks_out)
{
    for (int64_t now = from_ms; now < from_ms + 60000;
         now += rhythm_again_ms(rhythm, now), ++*looks_out) {
        int64_t newest_ms = newest(job, now);

        rhythm_look(rhythm, newest_ms, now);
        if (now - newest_ms < rhythm_quiet_ms(rhythm, now))
            continue;
        assert_true((now - BEGIN_MS) % job->period_ms >= job->burst_ms);
        rhythm_rest(rhythm);
        return now - from_ms;
    }
    return NEVER;
}

static void test_rhythm_of_jobs(void **state)
{
    static const struct {
        struct job job;
        int64_t within_ms; /* NEVER: it is not taken at all */
    } cases[] = {
        { { 60000, 100, 20 }, 700 },     /* as they all should */
        { { 60000, 20000, 10 }, 30000 }, /* writes for long, then rests */
        { { 700, 60, 10 }, 6000 },       /* rests for longer than the rule, rarely met */
        { { 300, 20, 10 }, 8000 },       { { 200, 5, 5 }, 8000 }, { { 100, 1, 1 }, 20000 },
        { { 10, 1, 1 }, NEVER }, /* there is no telling when it is whole */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int64_t from = 0; from < 1000; from += 41) {
            struct rhythm rhythm = { .waiting_ms = 0 };
            int looks = 0;
            int64_t took = take(&cases[i].job, &rhythm, BEGIN_MS + from, &looks);

            if (cases[i].within_ms == NEVER)
                assert_int_equal(took, NEVER);
            else
                assert_in_range(took, 0, cases[i].within_ms);
            assert_in_range(looks, 0, 300); /* in a minute */
        }
    }
}

/* A pause that is only one of the disk's, within a saving, is shorter than half of the one between:
 * it is not taken for that. */
static void test_rhythm_heeds_the_longest_rest(void **state)
{
    struct rhythm rhythm = { .waiting_ms = 0 };
    int64_t now = BEGIN_MS;

    (void)state;
    assert_int_equal(rhythm_quiet_ms(&rhythm, now), RHYTHM_QUIET_MS);
    for (int i = 0; i < 40; i++) {
        now += 150;
        rhythm_look(&rhythm, now - (i % 4 ? 30 : 390), now);
        if (now - BEGIN_MS < RHYTHM_PATIENCE_MS)
            assert_int_equal(rhythm_quiet_ms(&rhythm, now), RHYTHM_QUIET_MS);
    }
    assert_int_equal(rhythm_quiet_ms(&rhythm, now), 195);
    for (int i = 0; i < RHYTHM_LOOKS; i++) /* a clock that went back tells nothing */
        rhythm_look(&rhythm, now + 100000, now);
    assert_int_equal(rhythm_quiet_ms(&rhythm, now), RHYTHM_QUIET_MS_MIN);
    rhythm_rest(&rhythm); /* patience begins anew */
    assert_int_equal(rhythm_quiet_ms(&rhythm, now + 60000), RHYTHM_QUIET_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rhythm_of_jobs),
        cmocka_unit_test(test_rhythm_heeds_the_longest_rest),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "sched/share.h"
#include "base/rng.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define DAY_MS INT64_C(86400000)

static struct share *make(int64_t value, int64_t cpus, int64_t memory)
{
    struct share_params params = share_params_default();
    struct share_amount total = { { value, cpus, memory, 0 } };
    struct share *share = NULL;

    assert_int_equal(share_create(&params, &total, &share, NULL), 0);
    return share;
}

static uint32_t add(struct share *share, uint32_t parent, uint32_t weight)
{
    uint32_t account = SHARE_NONE;

    assert_int_equal(share_add(share, parent, weight, &account, NULL), 0);
    return account;
}

static void guarantee(struct share *share, uint32_t account, int64_t value, int rc)
{
    const struct share_amount amount = { { value, 0, 0, 0 } };

    assert_int_equal(share_set_guarantee(share, account, &amount, NULL), rc);
}

static const struct share_amount one = { { 1, 0, 0, 0 } };

static int take(struct share *share, uint32_t account, int64_t value, int64_t now_ms)
{
    const struct share_amount amount = { { value, 0, 0, 0 } };

    return share_hold(share, account, &amount, 0, now_ms, NULL);
}

static void test_refused(void **state)
{
    struct share_params params = share_params_default();
    struct share_amount total = { { -1, 0, 0, 0 } };
    struct share *share = NULL;
    uint32_t account = 7, parent = 0;

    (void)state;
    assert_int_equal(share_create(&params, &total, &share, NULL), -EINVAL);
    params.half_life_ms = 0;
    total.of[0] = 0;
    assert_int_equal(share_create(&params, &total, &share, NULL), -EINVAL);
    assert_null(share);
    share = make(10, 10, 10);
    assert_int_equal(share_add(share, 1, 1000, &account, NULL), -EINVAL);
    assert_int_equal(share_add(share, 0, 0, &account, NULL), -EINVAL);
    assert_int_equal(account, 7);
    for (uint32_t i = 0; i < SHARE_DEPTH_MAX; i++)
        parent = add(share, parent, 1000);
    assert_int_equal(share_add(share, parent, 1000, &account, NULL), -ENOSPC);
    guarantee(share, 0, 1, -EINVAL);
    guarantee(share, 1, 11, -ENOSPC);
    guarantee(share, 2, 1, -ENOSPC); /* its parent has nothing to promise */
    guarantee(share, 1, 6, 0);
    guarantee(share, 2, 4, 0);
    guarantee(share, 1, 3, -ENOSPC);
    guarantee(share, 1, 4, 0);
    share_destroy(share);
}

/* The example of the DRF paper: 9 CPUs, 18 GB; A wants (1, 4), B (3, 1). */
static void test_dominant_share(void **state)
{
    struct share *share = make(0, 9, 18);
    const uint32_t accounts[2] = { add(share, 0, 1000), add(share, 0, 1000) };
    const struct share_amount wants[2] = { { { 0, 1, 4, 0 } }, { { 0, 3, 1, 0 } } };
    const struct share_amount all = { { SHARE_UNLIMITED, 9, 18, SHARE_UNLIMITED } };
    uint32_t got[2] = { 0, 0 };

    (void)state;
    share_set_quota(share, 0, &all);
    for (;;) {
        uint32_t i = share_first(share, accounts, 2, 0);

        if (share_hold(share, accounts[i], &wants[i], 0, 0, NULL) < 0)
            break;
        got[i]++;
    }
    assert_int_equal(got[0], 3);
    assert_int_equal(got[1], 2);
    share_destroy(share);
}

static void test_own_before_borrowed(void **state)
{
    struct share *share = make(100, 0, 0);
    uint32_t a = add(share, 0, 1000), b = add(share, 0, 100000), c = add(share, 0, 1000);
    const uint32_t all[3] = { a, b, c };

    (void)state;
    guarantee(share, a, 50, 0);
    guarantee(share, c, 10, 0);
    guarantee(share, b, 41, -ENOSPC);
    assert_int_equal(take(share, a, 49, 0), 0);
    assert_true(share_is_before(share, a, b, DAY_MS)); /* within, whatever the weights */
    assert_true(share_is_before(share, c, a, DAY_MS));
    assert_int_equal(share_last(share, all, 3, 0), SHARE_NONE);
    assert_int_equal(take(share, a, 2, 0), 0);
    assert_true(share_is_before(share, b, a, 0));
    assert_int_equal(share_last(share, all, 3, 0), 0);
    assert_int_equal(take(share, b, 30, 0), 0); /* more, but per weight less */
    assert_int_equal(share_last(share, all, 3, 0), 0);
    assert_true(share_borrowed(share, b) > share_borrowed(share, a));
    share_destroy(share);
}

static void test_past_is_forgotten(void **state)
{
    struct share *share = make(100, 0, 0);
    uint32_t a = add(share, 0, 1000), b = add(share, 0, 1000);
    const struct share_amount held = { { 40, 0, 0, 0 } };

    (void)state;
    assert_int_equal(take(share, b, 40, 0), 0);
    share_release(share, b, &held, 0, 0, DAY_MS); /* its mean is 20 % now */
    assert_true(share_is_before(share, a, b, DAY_MS));
    assert_int_equal(take(share, a, 5, DAY_MS), 0);
    assert_true(share_is_before(share, a, b, DAY_MS));
    assert_true(share_is_before(share, a, b, DAY_MS + DAY_MS / 2));
    assert_true(share_is_before(share, b, a, 3 * DAY_MS)); /* 5 % beside 8.75 %: 5 + 3.75 */
    share_destroy(share);
}

static void test_limits_of_all_above(void **state)
{
    struct share *share = make(100, 0, 0);
    uint32_t owner = add(share, 0, 1000), tenant = add(share, owner, 1000);
    const struct share_amount quota = { { 5, SHARE_UNLIMITED, SHARE_UNLIMITED, SHARE_UNLIMITED } };
    struct err err = { { 0 }, { 0 } };

    (void)state;
    share_set_quota(share, owner, &quota);
    share_set_budget(share, tenant, 100);
    assert_int_equal(take(share, tenant, 6, 0), -EDQUOT);
    assert_int_equal(share_hold(share, tenant, &one, 101, 0, &err), -EDQUOT);
    assert_non_null(strstr(err.text, "100 of 100 left"));
    assert_int_equal(share_hold(share, tenant, &one, 60, 0, NULL), 0);
    assert_int_equal(share_hold(share, tenant, &one, 41, 0, NULL), -EDQUOT);
    share_release(share, tenant, &one, 60, 10, 5);
    assert_int_equal(share_money_left(share, tenant), 90);
    assert_int_equal(share_hold(share, tenant, &one, 90, 9, NULL), 0);
    assert_int_equal(share_check(share, tenant, &one, 1, NULL), -EDQUOT);
    assert_int_equal(share_check(share, tenant, &one, 0, NULL), 0);
    share_destroy(share);
}

static void test_value(void **state)
{
    const int64_t rates[2] = { 1000, 2500 };
    const uint32_t devices[2] = { 4000, 2000 };

    (void)state;
    assert_int_equal(share_value(rates, devices, 2), 4000 + 5000);
}

/* Random books: nobody passes a limit anywhere, and the order is a total order. */
static void test_random_books(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct rng rng = { seed };
        struct share *share = make(1000, 500, 0);
        uint32_t accounts[12], jobs_account[200], jobs_count = 0;
        int64_t held[13] = { 0 }, quota[13], spent[13] = { 0 }, money[200], budget[13];
        uint32_t parent[13] = { 0 };
        struct share_amount jobs[200];
        int64_t now = 0;

        quota[0] = SHARE_UNLIMITED;
        budget[0] = SHARE_UNLIMITED;
        for (uint32_t i = 0; i < 12; i++) {
            struct share_amount limit = { { (int64_t)rng_below(&rng, 400), SHARE_UNLIMITED,
                                            SHARE_UNLIMITED, SHARE_UNLIMITED } };

            parent[i + 1] = i < 4 ? 0 : 1 + (uint32_t)rng_below(&rng, 4);
            accounts[i] = add(share, parent[i + 1], 1 + (uint32_t)rng_below(&rng, 3000));
            assert_int_equal(accounts[i], i + 1);
            quota[i + 1] = limit.of[0];
            budget[i + 1] = (int64_t)rng_below(&rng, 5000);
            share_set_quota(share, i + 1, &limit);
            share_set_budget(share, i + 1, budget[i + 1]);
        }
        for (uint32_t k = 0; k < 1000; k++) {
            now += (int64_t)rng_below(&rng, 3600000);
            if (jobs_count < 200 && rng_below(&rng, 2)) {
                uint32_t account = accounts[rng_below(&rng, 12)];
                struct share_amount want = { { (int64_t)rng_below(&rng, 60),
                                               (int64_t)rng_below(&rng, 60), 0, 0 } };
                int64_t cost = (int64_t)rng_below(&rng, 100);
                bool fits = true;
                int rc = share_hold(share, account, &want, cost, now, NULL);

                for (uint32_t at = account;; at = parent[at]) {
                    fits = fits && (!want.of[0] || held[at] + want.of[0] <= quota[at]) &&
                           (!cost || spent[at] + cost <= budget[at]);
                    if (!at)
                        break;
                }
                if ((rc == 0) != fits)
                    fail_msg("seed %llu: rc %d", (unsigned long long)seed, rc);
                for (uint32_t at = account; fits; at = parent[at]) {
                    held[at] += want.of[0];
                    spent[at] += cost;
                    if (!at)
                        break;
                }
                if (fits) {
                    jobs_account[jobs_count] = account;
                    money[jobs_count] = cost;
                    jobs[jobs_count++] = want;
                }
            } else if (jobs_count) {
                uint32_t j = (uint32_t)rng_below(&rng, jobs_count);
                int64_t used = (int64_t)rng_below(&rng, (uint64_t)money[j] + 1);

                share_release(share, jobs_account[j], &jobs[j], money[j], used, now);
                for (uint32_t at = jobs_account[j];; at = parent[at]) {
                    held[at] -= jobs[j].of[0];
                    spent[at] -= money[j] - used;
                    if (!at)
                        break;
                }
                jobs_count--;
                jobs[j] = jobs[jobs_count];
                money[j] = money[jobs_count];
                jobs_account[j] = jobs_account[jobs_count];
            }
            if (k % 100 == 0)
                for (uint32_t a = 0; a < 12; a++)
                    for (uint32_t b = 0; b < 12; b++) {
                        bool ab = share_is_before(share, accounts[a], accounts[b], now);
                        bool ba = share_is_before(share, accounts[b], accounts[a], now);

                        assert_int_equal(ab + ba, a != b);
                        for (uint32_t c = 0; ab && c < 12; c++)
                            if (share_is_before(share, accounts[b], accounts[c], now))
                                assert_true(share_is_before(share, accounts[a], accounts[c], now));
                    }
        }
        share_destroy(share);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_dominant_share),
        cmocka_unit_test(test_own_before_borrowed),
        cmocka_unit_test(test_past_is_forgotten),
        cmocka_unit_test(test_limits_of_all_above),
        cmocka_unit_test(test_value),
        cmocka_unit_test(test_random_books),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

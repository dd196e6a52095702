#include "sched/share.h"
#include "sched/mem.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const dimension_names[SHARE_DIMENSIONS] = {
    [SHARE_VALUE] = "device value",
    [SHARE_CPUS] = "CPUs",
    [SHARE_MEMORY] = "bytes of memory",
    [SHARE_DEVICES] = "devices (1/1000)",
};

struct account {
    uint32_t parent, depth, weight_milli;
    struct share_amount held, quota, guarantee, promised; /* promised: to its children */
    int64_t budget_micro, reserved_micro, spent_micro;
    double borrowed_mean; /* at since_ms; its rate has been constant from then on */
    int64_t since_ms;
};
struct share {
    struct share_params params;
    struct share_amount total;
    struct account *accounts;
    uint32_t count, cap;
    uint32_t *free_list;
    uint32_t free_count, free_cap;
    bool by_value;
};

struct share_params share_params_default(void)
{
    return (struct share_params){ .half_life_ms = INT64_C(86400000), .memory_weight = 1.0 };
}

static struct account account_new(uint32_t parent, uint32_t depth, uint32_t weight_milli)
{
    struct account account = { .parent = parent,
                               .depth = depth,
                               .weight_milli = weight_milli,
                               .budget_micro = SHARE_UNLIMITED };

    for (uint32_t d = 0; d < SHARE_DIMENSIONS; d++)
        account.quota.of[d] = SHARE_UNLIMITED;
    return account;
}

int share_create(const struct share_params *params, const struct share_amount *total,
                 struct share **share_out, struct err *err)
{
    struct share *share;

    if (params->half_life_ms < 1 || !(params->memory_weight >= 0))
        return err_set(err, -EINVAL, "fair share: half-life of %" PRId64 " ms, memory weight %g",
                       params->half_life_ms, params->memory_weight);
    for (uint32_t d = 0; d < SHARE_DIMENSIONS; d++)
        if (total->of[d] < 0)
            return err_set(err, -EINVAL, "fair share: %" PRId64 " %s in all", total->of[d],
                           dimension_names[d]);
    share = mem_alloc(1, sizeof(*share));
    share->params = *params;
    share->total = *total;
    MEM_GROW(share->accounts, share->cap, 1);
    share->accounts[share->count++] = account_new(0, 0, 1000);
    *share_out = share;
    return 0;
}

void share_destroy(struct share *share)
{
    if (!share)
        return;
    free(share->accounts);
    free(share->free_list);
    free(share);
}

void share_set_by_value(struct share *share, bool by_value)
{
    share->by_value = by_value;
}

void share_set_total(struct share *share, const struct share_amount *total)
{
    share->total = *total;
}

int share_add(struct share *share, uint32_t parent, uint32_t weight_milli, uint32_t *account_out,
              struct err *err)
{
    if (parent >= share->count)
        return err_set(err, -EINVAL, "account: there is no parent %u", parent);
    if (weight_milli < 1)
        return err_set(err, -EINVAL, "account: a weight of 0");
    if (share->accounts[parent].depth >= SHARE_DEPTH_MAX)
        return err_set(err, -ENOSPC, "account: more than %u levels", SHARE_DEPTH_MAX);
    if (share->free_count) {
        *account_out = share->free_list[--share->free_count];
        share->accounts[*account_out] =
            account_new(parent, share->accounts[parent].depth + 1, weight_milli);
        return 0;
    }
    if (share->count >= SHARE_ACCOUNTS_MAX)
        return err_set(err, -ENOSPC, "account: more than %u", SHARE_ACCOUNTS_MAX);
    MEM_GROW(share->accounts, share->cap, share->count + 1);
    share->accounts[share->count] =
        account_new(parent, share->accounts[parent].depth + 1, weight_milli);
    *account_out = share->count++;
    return 0;
}

void share_remove(struct share *share, uint32_t account)
{
    struct account *own = &share->accounts[account], *parent = &share->accounts[own->parent];

    assert(account);
    for (uint32_t d = 0; d < SHARE_DIMENSIONS; d++) {
        assert(!own->held.of[d] && !own->promised.of[d]);
        parent->promised.of[d] -= own->guarantee.of[d];
    }
    MEM_GROW(share->free_list, share->free_cap, share->free_count + 1);
    share->free_list[share->free_count++] = account;
}

int share_set_guarantee(struct share *share, uint32_t account, const struct share_amount *amount,
                        struct err *err)
{
    struct account *own, *parent;
    const struct share_amount *room;

    if (account == 0 || account >= share->count)
        return err_set(err, -EINVAL, "guarantee: there is no account %u", account);
    own = &share->accounts[account];
    parent = &share->accounts[own->parent];
    room = own->parent ? &parent->guarantee : &share->total;
    for (uint32_t d = 0; d < SHARE_DIMENSIONS; d++) {
        int64_t others = parent->promised.of[d] - own->guarantee.of[d];

        if (amount->of[d] < own->promised.of[d])
            return err_set(err, -ENOSPC, "guarantee: account %u has promised %" PRId64 " %s itself",
                           account, own->promised.of[d], dimension_names[d]);
        if (amount->of[d] > room->of[d] - others)
            return err_set(err, -ENOSPC,
                           "guarantee: %" PRId64 " %s for account %u; %" PRId64 " are left",
                           amount->of[d], dimension_names[d], account, room->of[d] - others);
    }
    for (uint32_t d = 0; d < SHARE_DIMENSIONS; d++)
        parent->promised.of[d] += amount->of[d] - own->guarantee.of[d];
    own->guarantee = *amount;
    return 0;
}

void share_put_guarantee(struct share *share, uint32_t account, const struct share_amount *amount)
{
    struct account *own = &share->accounts[account];

    for (uint32_t d = 0; d < SHARE_DIMENSIONS; d++)
        share->accounts[own->parent].promised.of[d] += amount->of[d] - own->guarantee.of[d];
    own->guarantee = *amount;
}

void share_set_quota(struct share *share, uint32_t account, const struct share_amount *amount)
{
    share->accounts[account].quota = *amount;
}

void share_set_budget(struct share *share, uint32_t account, int64_t budget_micro)
{
    share->accounts[account].budget_micro = budget_micro;
}

int64_t share_value(const int64_t *rates_milli, const uint32_t *devices_milli, uint32_t kinds)
{
    int64_t value = 0;

    for (uint32_t k = 0; k < kinds; k++)
        value += rates_milli[k] * devices_milli[k] / 1000;
    return value;
}

/* --- quotas and money --- */

static int64_t money_left(const struct account *account)
{
    if (account->budget_micro == SHARE_UNLIMITED)
        return SHARE_UNLIMITED;
    return account->budget_micro - account->reserved_micro - account->spent_micro;
}

int64_t share_money_left(const struct share *share, uint32_t account)
{
    int64_t left = money_left(&share->accounts[account]);

    while (account) {
        account = share->accounts[account].parent;
        left = MIN(left, money_left(&share->accounts[account]));
    }
    return left;
}

int share_check(const struct share *share, uint32_t account, const struct share_amount *amount,
                int64_t money_micro, struct err *err)
{
    for (uint32_t at = account;; at = share->accounts[at].parent) {
        const struct account *own = &share->accounts[at];

        for (uint32_t d = 0; d < SHARE_DIMENSIONS; d++)
            if (amount->of[d] > 0 && amount->of[d] > own->quota.of[d] - own->held.of[d])
                return err_set(err, -EDQUOT,
                               "quota of account %u: %" PRId64 " %s asked, %" PRId64 " of %" PRId64
                               " left",
                               at, amount->of[d], dimension_names[d],
                               MAX(own->quota.of[d] - own->held.of[d], 0), own->quota.of[d]);
        if (money_micro > 0 && money_micro > money_left(own))
            return err_set(err, -EDQUOT,
                           "budget of account %u: %" PRId64 " asked, %" PRId64 " of %" PRId64
                           " left (1/1000000 of the unit)",
                           at, money_micro, MAX(money_left(own), 0), own->budget_micro);
        if (!at)
            return 0;
    }
}

/* --- shares --- */

static double fraction(int64_t part, int64_t total)
{
    return total > 0 ? (double)part / (double)total : 0.0;
}

/* The greatest of its shares, where devices count by `devices`. */
static double dominant_by(const struct share *share, const struct share_amount *amount,
                          enum share_dimension devices)
{
    double most = MAX(fraction(amount->of[devices], share->total.of[devices]), 0.0);

    for (uint32_t d = SHARE_CPUS; d <= SHARE_MEMORY; d++)
        most = MAX(most, fraction(amount->of[d], share->total.of[d]));
    return most;
}

static double dominant(const struct share *share, const struct share_amount *amount)
{
    return dominant_by(share, amount, SHARE_VALUE);
}

/* How devices count for what is an account's own. */
static enum share_dimension own_dimension(const struct share *share)
{
    return share->by_value ? SHARE_DEVICES : SHARE_VALUE;
}

/* The dominant share in what guarantees are told in. */
static double dominant_own(const struct share *share, const struct share_amount *amount)
{
    return dominant_by(share, amount, own_dimension(share));
}

/* It holds no more than its own, at this level. */
static bool holds_its_own(const struct share *share, uint32_t account)
{
    return dominant_own(share, &share->accounts[account].held) <=
           dominant_own(share, &share->accounts[account].guarantee);
}

static double borrowed(const struct share *share, const struct account *account)
{
    return MAX(dominant(share, &account->held) - dominant(share, &account->guarantee), 0.0);
}

struct share_amount share_held(const struct share *share, uint32_t account)
{
    return share->accounts[account].held;
}

double share_dominant(const struct share *share, const struct share_amount *amount)
{
    return dominant(share, amount);
}

double share_borrowed(const struct share *share, uint32_t account)
{
    return borrowed(share, &share->accounts[account]);
}

/* 2^-(time/half), with plain arithmetic so that all machines agree. The polynomial is the Taylor
 * series of exp on 0 .. ln 2, good to 1e-9. */
static double decay(int64_t time_ms, int64_t half_ms)
{
    int64_t halves = time_ms / half_ms;
    double x = (double)(time_ms % half_ms) / (double)half_ms * -0.69314718055994531;
    double sum = 1, term = 1;

    if (halves > 60)
        return 0;
    for (int i = 1; i <= 10; i++) {
        term = term * x / i;
        sum += term;
    }
    return sum / (double)(UINT64_C(1) << halves);
}

static double borrowed_mean(const struct share *share, const struct account *account,
                            int64_t now_ms)
{
    double rate = borrowed(share, account);

    if (now_ms <= account->since_ms)
        return account->borrowed_mean;
    return rate + (account->borrowed_mean - rate) *
                      decay(now_ms - account->since_ms, share->params.half_life_ms);
}

/* Change what is held, at the account and all above. */
static void book(struct share *share, uint32_t account, const struct share_amount *amount, int sign,
                 int64_t now_ms)
{
    for (uint32_t at = account;; at = share->accounts[at].parent) {
        struct account *own = &share->accounts[at];

        own->borrowed_mean = borrowed_mean(share, own, now_ms);
        own->since_ms = MAX(own->since_ms, now_ms);
        for (uint32_t d = 0; d < SHARE_DIMENSIONS; d++) {
            own->held.of[d] += sign * amount->of[d];
            assert(own->held.of[d] >= 0);
        }
        if (!at)
            return;
    }
}

int share_hold(struct share *share, uint32_t account, const struct share_amount *amount,
               int64_t money_micro, int64_t now_ms, struct err *err)
{
    int rc = share_check(share, account, amount, money_micro, err);

    if (rc < 0)
        return rc;
    for (uint32_t at = account;; at = share->accounts[at].parent) {
        share->accounts[at].reserved_micro += money_micro;
        if (!at)
            break;
    }
    book(share, account, amount, 1, now_ms);
    return 0;
}

void share_release(struct share *share, uint32_t account, const struct share_amount *amount,
                   int64_t reserved_micro, int64_t spent_micro, int64_t now_ms)
{
    assert(spent_micro >= 0 && spent_micro <= reserved_micro);
    for (uint32_t at = account;; at = share->accounts[at].parent) {
        share->accounts[at].reserved_micro -= reserved_micro;
        share->accounts[at].spent_micro += spent_micro;
        assert(share->accounts[at].reserved_micro >= 0);
        if (!at)
            break;
    }
    book(share, account, amount, -1, now_ms);
}

/* --- order --- */

struct standing {
    bool is_over;
    double key;
};

static struct standing standing_of(const struct share *share, uint32_t account, int64_t now_ms)
{
    const struct account *own = &share->accounts[account];
    double held = dominant_own(share, &own->held);
    double own_share = dominant_own(share, &own->guarantee);

    if (held < own_share)
        return (struct standing){ false, held / own_share };
    return (struct standing){ true, (borrowed(share, own) + share->params.memory_weight *
                                                                borrowed_mean(share, own, now_ms)) *
                                        1000.0 / own->weight_milli };
}

struct share_memory share_memory(const struct share *share, uint32_t account)
{
    const struct account *own = &share->accounts[account];

    return (struct share_memory){ own->borrowed_mean, own->since_ms };
}

struct share_memory share_memory_at(const struct share *share, uint32_t account, int64_t now_ms)
{
    const struct account *own = &share->accounts[account];

    return (struct share_memory){ borrowed_mean(share, own, now_ms), MAX(own->since_ms, now_ms) };
}

void share_set_memory(struct share *share, uint32_t account, struct share_memory memory)
{
    share->accounts[account].borrowed_mean = memory.borrowed_mean;
    share->accounts[account].since_ms = memory.since_ms;
}

void share_fill_key(const struct share *share, uint32_t account, int64_t now_ms,
                    struct share_key *out)
{
    out->count = share->accounts[account].depth;
    for (uint32_t at = account; at; at = share->accounts[at].parent) {
        struct standing standing = standing_of(share, at, now_ms);
        uint64_t bits;

        /* Not below zero, so that the order of the bits is that of the numbers. */
        memcpy(&bits, &standing.key, sizeof(bits));
        out->levels[share->accounts[at].depth - 1] = (uint64_t)standing.is_over << 63 | bits;
    }
}

int share_compare_keys(const struct share_key *a, const struct share_key *b)
{
    for (uint32_t i = 0; i < a->count && i < b->count; i++)
        if (a->levels[i] != b->levels[i])
            return a->levels[i] < b->levels[i] ? -1 : 1;
    return (a->count > b->count) - (a->count < b->count);
}

bool share_is_within(const struct share *share, uint32_t account, const struct share_amount *more)
{
    const enum share_dimension devices = own_dimension(share);
    const enum share_dimension counted[] = { devices, SHARE_CPUS, SHARE_MEMORY };
    bool is_promised = false;

    for (uint32_t at = account; at; at = share->accounts[at].parent) {
        const struct account *own = &share->accounts[at];

        if (dominant_own(share, &own->guarantee) <= 0)
            continue; /* nothing is promised at this level: the others decide */
        is_promised = true;
        for (uint32_t i = 0; i < ARRAY_COUNT(counted); i++) {
            enum share_dimension d = counted[i];

            if (more->of[d] > 0 && own->guarantee.of[d] > 0 &&
                more->of[d] > own->guarantee.of[d] - own->held.of[d])
                return false;
        }
        if (more->of[devices] > 0 && !own->guarantee.of[devices])
            return false; /* a promise of CPUs is none of devices */
        if (!more->of[devices] && !own->guarantee.of[SHARE_CPUS])
            return false;
    }
    return is_promised;
}

bool share_is_before(const struct share *share, uint32_t a, uint32_t b, int64_t now_ms)
{
    const struct account *accounts = share->accounts;
    struct standing first, second;
    uint32_t x = a, y = b;

    if (a == b)
        return false;
    while (accounts[x].depth > accounts[y].depth)
        x = accounts[x].parent;
    while (accounts[y].depth > accounts[x].depth)
        y = accounts[y].parent;
    if (x == y) /* one is above the other: its own work goes first */
        return x == a;
    while (accounts[x].parent != accounts[y].parent) {
        x = accounts[x].parent;
        y = accounts[y].parent;
    }
    first = standing_of(share, x, now_ms);
    second = standing_of(share, y, now_ms);
    if (first.is_over != second.is_over)
        return !first.is_over;
    if (first.key < second.key || first.key > second.key)
        return first.key < second.key;
    return x < y;
}

uint32_t share_first(const struct share *share, const uint32_t *accounts, uint32_t count,
                     int64_t now_ms)
{
    uint32_t best = SHARE_NONE;

    for (uint32_t i = 0; i < count; i++)
        if (best == SHARE_NONE || share_is_before(share, accounts[i], accounts[best], now_ms))
            best = i;
    return best;
}

/* Over its guarantee at every level: what an account may take from a parent that is within its own
 * is the parent's to settle. */
static bool is_over(const struct share *share, uint32_t account)
{
    for (uint32_t at = account; at; at = share->accounts[at].parent)
        if (holds_its_own(share, at))
            return false;
    return true;
}

static bool is_above(const struct share *share, uint32_t upper, uint32_t account)
{
    while (share->accounts[account].depth > share->accounts[upper].depth)
        account = share->accounts[account].parent;
    return account == upper;
}

bool share_owes(const struct share *share, uint32_t account, uint32_t to)
{
    for (uint32_t at = account; !is_above(share, at, to); at = share->accounts[at].parent)
        if (holds_its_own(share, at))
            return false;
    return true;
}

uint32_t share_last(const struct share *share, const uint32_t *accounts, uint32_t count,
                    int64_t now_ms)
{
    uint32_t worst = SHARE_NONE;

    for (uint32_t i = 0; i < count; i++)
        if (is_over(share, accounts[i]) &&
            (worst == SHARE_NONE || share_is_before(share, accounts[worst], accounts[i], now_ms)))
            worst = i;
    return worst;
}

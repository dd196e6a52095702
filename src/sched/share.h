/* share.h - who is next: hierarchical fair share over the tree of owners, tenants and users.
 *
 * Accounts form a tree under account 0, the network. Each has a weight among its siblings, and may
 * have a guarantee, hard quotas and a budget of money. What it holds counts at it and at all above.
 *   - An account that holds less than its guarantee goes before all that do not (least of its
 *     guarantee first): that is its own, and is never held against it.
 *   - Beyond, siblings are ordered by what they borrow per weight: the dominant share held now
 *     (DRF, NSDI'11: the largest of its shares of devices, CPUs and memory) over the guarantee,
 *     and its mean over time with a half-life. Devices are counted by value: number times rate,
 *     so that ten slow cards are not ten fast ones.
 *   - Who goes last in that order, and is over its guarantee, gives first when something has to be
 *     taken back.
 *   - Quotas and budgets are hard, at every level: checked and booked before work, settled after.
 * Two accounts are compared where their branches part, so the order is total. Amounts are integers
 * that the caller keeps in one unit each; money is in micro-units, time in ms. Deterministic.
 * Cost: O(depth) everywhere, O(accounts * depth) in share_first and share_last. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define SHARE_ACCOUNTS_MAX 1000000u
#define SHARE_DEPTH_MAX 16u
#define SHARE_NONE UINT32_MAX
#define SHARE_UNLIMITED INT64_MAX

enum share_dimension {
    SHARE_VALUE, /* devices by rate: share_value */
    SHARE_CPUS,
    SHARE_MEMORY,
    SHARE_DEVICES, /* by number, 1/1000: for quotas, and for what is an account's own */
    SHARE_DIMENSIONS
};
struct share_amount {
    int64_t of[SHARE_DIMENSIONS];
};

struct share_params {
    int64_t half_life_ms; /* of borrowing that is remembered */
    double memory_weight; /* what is remembered beside what is held now */
};
struct share_params share_params_default(void); /* 1 day, 1.0 */

struct share; /* opaque */

/* `total` is what there is; a dimension of 0 counts for nothing. -EINVAL: negative. */
int share_create(const struct share_params *params, const struct share_amount *total,
                 struct share **share_out, struct err *err);
void share_destroy(struct share *share);
/* Of an account without children that holds nothing: its number is used again. */
void share_remove(struct share *share, uint32_t account);
/* Off (as it begins): what is an account's own, and what it borrows, both go by SHARE_VALUE. On:
 * what is its own goes by the number of devices (SHARE_DEVICES, which all amounts then have), what
 * it borrows by their value. */
void share_set_by_value(struct share *share, bool by_value);
/* When devices come or go. Guarantees may then be more than there is: they still order. */
void share_set_total(struct share *share, const struct share_amount *total);

/* A new account under another. -EINVAL: no such parent, weight < 1; -ENOSPC: too many, too deep. */
int share_add(struct share *share, uint32_t parent, uint32_t weight_milli, uint32_t *account_out,
              struct err *err);
/* -ENOSPC: siblings together are promised more than their parent (the network: than there is). */
int share_set_guarantee(struct share *share, uint32_t account, const struct share_amount *amount,
                        struct err *err);
/* The same as it is told, even when it is more than there is: it still orders. */
void share_put_guarantee(struct share *share, uint32_t account, const struct share_amount *amount);
void share_set_quota(struct share *share, uint32_t account, const struct share_amount *amount);
void share_set_budget(struct share *share, uint32_t account, int64_t budget_micro);

/* Devices by value, 1/1000 of a device of rate 1: the sum of devices times rate over kinds. */
int64_t share_value(const int64_t *rates_milli, const uint32_t *devices_milli, uint32_t kinds);

/* May the account hold this much more, and spend `money_micro` more? -EDQUOT and one line that
 * names the account, the limit and what is left. Books nothing. */
int share_check(const struct share *share, uint32_t account, const struct share_amount *amount,
                int64_t money_micro, struct err *err);
/* The same, and books it: the amount as held, the money as reserved. */
int share_hold(struct share *share, uint32_t account, const struct share_amount *amount,
               int64_t money_micro, int64_t now_ms, struct err *err);
/* Give the amount back; of `reserved_micro`, `spent_micro` (0 .. reserved) is spent for good. Work
 * that would cost more must reserve more first: share_hold with a zero amount. */
void share_release(struct share *share, uint32_t account, const struct share_amount *amount,
                   int64_t reserved_micro, int64_t spent_micro, int64_t now_ms);

struct share_amount share_held(const struct share *share, uint32_t account);
/* The largest of its shares of what there is. */
double share_dominant(const struct share *share, const struct share_amount *amount);
int64_t share_money_left(const struct share *share, uint32_t account); /* least on the way up */
/* Its dominant share over its guarantee now, 0 when within. */
double share_borrowed(const struct share *share, uint32_t account);

/* What its past counts for: for a caller that keeps it, and puts it back once all is held again. */
struct share_memory {
    double borrowed_mean; /* as of since_ms */
    int64_t since_ms;
};
struct share_memory share_memory(const struct share *share, uint32_t account);
struct share_memory share_memory_at(const struct share *share, uint32_t account, int64_t now_ms);
void share_set_memory(struct share *share, uint32_t account, struct share_memory memory);

/* The place of an account in the order as numbers, one a level from the top: who differs first by
 * less goes first, who has fewer goes first. As share_is_before, but that accounts which stand
 * alike have equal numbers, whatever their own: so the age of their work may decide. */
struct share_key {
    uint32_t count;
    uint64_t levels[SHARE_DEPTH_MAX];
};
void share_fill_key(const struct share *share, uint32_t account, int64_t now_ms,
                    struct share_key *out);
int share_compare_keys(const struct share_key *a, const struct share_key *b);
/* The account, and all above it but the network, hold no more than their guarantees with `more`. */
bool share_is_within(const struct share *share, uint32_t account, const struct share_amount *more);
/* It holds more than its guarantee at every level up to where its branch meets that of `to`: some
 * of it may be taken back for `to`. */
bool share_owes(const struct share *share, uint32_t account, uint32_t to);

bool share_is_before(const struct share *share, uint32_t a, uint32_t b, int64_t now_ms);
/* Index in `accounts` of the one to serve first; SHARE_NONE when there are none. */
uint32_t share_first(const struct share *share, const uint32_t *accounts, uint32_t count,
                     int64_t now_ms);
/* Index of the one to take back from first; SHARE_NONE when all are within their guarantees. */
uint32_t share_last(const struct share *share, const uint32_t *accounts, uint32_t count,
                    int64_t now_ms);

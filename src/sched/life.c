#include "sched/life.h"

#include <stddef.h>

#define SPANS_EACH 4u   /* to a doubling */
#define FIRST_MS 4000   /* the spans of the first doubling are of a quarter of this */
#define ASSUMED 60.0    /* lives */
#define ASSUMED_END 0.8 /* of them, those that end while the time they ran grows by itself */
#define NEED_MS_MAX (INT64_C(1) << 44)

static uint32_t width_of(uint32_t devices)
{
    uint32_t width = devices > 1 ? 31u - (uint32_t)__builtin_clz(devices) : 0;

    return width < LIFE_WIDTHS ? width : LIFE_WIDTHS - 1u;
}

/* Where a span begins: 0, then 4, 5, 6, 7 s, 8, 10, 12, 14 s, ... */
static int64_t begin_ms(uint32_t span)
{
    if (span == 0)
        return 0;
    span--;
    return (int64_t)(SPANS_EACH + span % SPANS_EACH) * (FIRST_MS / SPANS_EACH) << span / SPANS_EACH;
}

static uint32_t span_of(int64_t ms)
{
    uint64_t quarters = ms > 0 ? (uint64_t)ms / (FIRST_MS / SPANS_EACH) : 0;
    uint32_t doublings, span;

    if (quarters < SPANS_EACH)
        return 0;
    doublings = 61u - (uint32_t)__builtin_clzll(quarters);
    span = 1u + doublings * SPANS_EACH + (uint32_t)(quarters >> doublings) - SPANS_EACH;
    return span < LIFE_SPANS ? span : LIFE_SPANS - 1u;
}

static void add_ms(struct life_span *span, int64_t ms)
{
    if (__builtin_add_overflow(span->ms, ms, &span->ms))
        span->ms = INT64_MAX;
}

static void count_up(uint32_t *count)
{
    *count += *count < UINT32_MAX;
}

void life_learn(struct life *life, uint32_t devices, int64_t from_ms, int64_t to_ms, bool is_ended)
{
    struct life_width *width = &life->widths[width_of(devices)];
    uint32_t at = span_of(from_ms), last = span_of(to_ms);

    if (to_ms < from_ms || from_ms < 0)
        return;
    if (from_ms == 0)
        count_up(&width->spans[0].reached);
    for (; at < last; at++) {
        add_ms(&width->spans[at], begin_ms(at + 1u) - from_ms);
        from_ms = begin_ms(at + 1u);
        count_up(&width->spans[at + 1u].reached);
    }
    add_ms(&width->spans[last], to_ms - from_ms);
    if (is_ended)
        count_up(&width->spans[last].ended);
    width->is_derived = false;
}

struct point {
    double ended, ms; /* of a job that begins: the chance to have ended, the time spent, by then */
};

/* Of the points from `at` on (the last is `count`), the steepest line from `at`: the hull of those
 * behind it is kept in `hull`, nearest on top. */
static double steepest(const struct point *points, uint32_t at, uint32_t *hull, uint32_t *height)
{
    const struct point *here = &points[at];

    while (*height >= 2) {
        const struct point *a = &points[hull[*height - 1u]], *b = &points[hull[*height - 2u]];

        if ((b->ended - here->ended) * (a->ms - here->ms) <
            (a->ended - here->ended) * (b->ms - here->ms))
            break;
        --*height;
    }
    return (points[hull[*height - 1u]].ms - here->ms) /
           (points[hull[*height - 1u]].ended - here->ended);
}

static void derive(struct life_width *width)
{
    struct point points[LIFE_SPANS + 1u];
    uint32_t hull[LIFE_SPANS + 1u], height = 0;
    double alive = 1;

    points[0] = (struct point){ 0, 0 };
    for (uint32_t i = 0; i < LIFE_SPANS; i++) {
        const struct life_span *span = &width->spans[i];
        double length = (double)(begin_ms(i + 1u) - begin_ms(i));
        double share = i > 0 ? length / (double)begin_ms(i) : 0.25; /* of the assumed, that end */
        double reached = (double)span->reached + ASSUMED;
        double ends = ((double)span->ended + ASSUMED * share * ASSUMED_END) / reached;
        double ms = ((double)span->ms + ASSUMED * length) / reached;

        if (ends > 1)
            ends = 1;
        points[i + 1u] =
            (struct point){ points[i].ended + alive * ends, points[i].ms + alive * ms };
        alive *= 1 - ends;
        if (alive < 1e-9)
            alive = 1e-9;
    }
    hull[height++] = LIFE_SPANS;
    for (uint32_t i = LIFE_SPANS; i-- > 0;) {
        width->need_ms[i] = steepest(points, i, hull, &height);
        hull[height++] = i;
    }
    width->is_derived = true;
}

static int64_t whole_ms(double ms)
{
    return ms >= (double)NEED_MS_MAX ? NEED_MS_MAX : ms < 1 ? 1 : (int64_t)ms;
}

int64_t life_need_ms(struct life *life, uint32_t devices, int64_t ran_ms)
{
    struct life_width *width = &life->widths[width_of(devices)];

    if (!width->is_derived)
        derive(width);
    return whole_ms(width->need_ms[span_of(ran_ms)]);
}

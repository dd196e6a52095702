#include "agent/telling.h"

#include "agent/queuing.h"
#include "base/clock.h"

#include <string.h>

void telling_begin(struct telling *telling)
{
    *telling = (struct telling){ 0 };
}

static void tell_queue(struct telling *telling, struct executor *executor, struct session *session)
{
    struct wire_report report = { .type = REPORT_QUEUE };
    int64_t now_ms = clock_mono_ms();

    if (!executor->ops->queue ||
        (telling->waits_told && now_ms - telling->waits_at_ms < QUEUING_EVERY_MS))
        return;
    report.waits_count = executor->ops->queue(executor, report.waits);
    if (telling->waits_told &&
        !queuing_is_news(telling->waits, telling->waits_count, report.waits, report.waits_count))
        return;
    session_report(session, &report);
    memcpy(telling->waits, report.waits, sizeof(telling->waits));
    telling->waits_count = report.waits_count;
    telling->waits_told = true;
    telling->waits_at_ms = now_ms;
}

static bool is_another(int64_t told, int64_t now)
{
    return now > 0 && (now > told + told / 4 || now < told - told / 4);
}

static void tell_link(struct telling *telling, struct depot *depot, struct session *session)
{
    struct wire_report report = { .type = REPORT_LINK };

    depot_rates(depot, &report.down_bytes_s, &report.up_bytes_s);
    if (!is_another(telling->down_bytes_s, report.down_bytes_s) &&
        !is_another(telling->up_bytes_s, report.up_bytes_s))
        return;
    session_report(session, &report);
    telling->down_bytes_s = report.down_bytes_s;
    telling->up_bytes_s = report.up_bytes_s;
}

void telling_look(struct telling *telling, struct executor *executor, struct depot *depot,
                  struct session *session)
{
    if (!session || !session_is_open(session))
        return;
    tell_queue(telling, executor, session);
    if (depot)
        tell_link(telling, depot, session);
}

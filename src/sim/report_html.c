#include "sim/report.h"

#include <errno.h>

int sim_report_html(const struct sim_report *report, struct buf *out)
{
    (void)report;
    buf_add_text(out, "<!DOCTYPE html>");
    return out->failed ? -ENOMEM : 0;
}

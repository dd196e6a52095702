/* job_check.h - what must hold of every job that a reader accepts: it prints, and what is printed
 * is read back as the same job. For the fuzz targets of the readers. */
#pragma once

#include "model/rank_env.h"

#include <stdlib.h>
#include <string.h>

static inline void check_job(struct job_spec *spec)
{
    struct buf first = buf_init(64u << 20), second = buf_init(64u << 20);
    struct job_spec *again = NULL;
    struct err err = { 0 };

    if (spec_print_json(spec, true, &first) < 0)
        abort();
    /* Control characters grow when they are escaped: past the limit it may be refused. */
    if (first.len <= SPEC_TEXT_BYTES_MAX) {
        if (spec_parse_json_text(first.data, first.len, &again, &err) < 0)
            abort();
        if (spec_print_json(again, true, &second) < 0 || strcmp(first.data, second.data) != 0)
            abort();
        if (memcmp(&spec->request, &again->request, sizeof(spec->request)) != 0)
            abort();
    }
    for (uint32_t i = 0; i < spec->params_count; i++)
        if (!spec_param_value(spec, i, spec->elements_count - 1))
            abort();
    spec_resolve_times(spec, 1, &err);
    spec_check_supported(spec, &err);
    spec_destroy(again);
    buf_fini(&first);
    buf_fini(&second);
}

/* A refusal is one line. */
static inline void check_err(const struct err *err)
{
    if (!err->text[0])
        abort();
    for (const char *p = err->text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            abort();
}

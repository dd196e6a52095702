#include "job_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct job_spec *spec = NULL;
    struct err err = { 0 };

    if (spec_parse_json_text((const char *)data, size, &spec, &err) == 0)
        check_job(spec);
    else
        check_err(&err);
    spec_destroy(spec);
    return 0;
}

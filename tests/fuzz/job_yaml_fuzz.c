#include "job_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7.12 loses a buffer when it refuses some long quoted keys. */
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct spec_warnings warnings = { 0 };
    struct job_spec *spec = NULL;
    struct err err = { 0 };

    if (spec_parse_yaml("f", (const char *)data, size, &spec, &warnings, &err) == 0)
        check_job(spec);
    else
        check_err(&err);
    spec_destroy(spec);
    spec_warnings_fini(&warnings);
    return 0;
}

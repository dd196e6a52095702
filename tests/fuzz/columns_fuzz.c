#include "cli/columns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct columns columns;

    if (columns_parse((const char *)data, size, &columns, NULL) == 0) {
        columns_find(&columns, "1");
        columns_fini(&columns);
    }
    return 0;
}

/* wire_fuzz.c - a line from a hostile peer: what is understood must print and be understood alike.
 */
#include "wire/wire.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void command(const char *line, size_t len)
{
    struct arena arena = arena_init(WIRE_ARENA_BYTES_MAX);
    CLEANUP(buf_fini) struct buf first = buf_init(WIRE_LINE_BYTES_MAX + 1);
    CLEANUP(buf_fini) struct buf second = buf_init(WIRE_LINE_BYTES_MAX + 1);
    struct wire_command parsed, again;

    if (wire_command_parse(line, len, &arena, &parsed, NULL) == 0) {
        if (wire_command_print(&parsed, &first) < 0 ||
            wire_command_parse(first.data, first.len - 1, &arena, &again, NULL) < 0 ||
            wire_command_print(&again, &second) < 0 || strcmp(first.data, second.data) != 0)
            abort();
    }
    arena_fini(&arena);
}

static void report(const char *line, size_t len)
{
    struct arena arena = arena_init(WIRE_ARENA_BYTES_MAX);
    CLEANUP(buf_fini) struct buf first = buf_init(WIRE_LINE_BYTES_MAX + 1);
    CLEANUP(buf_fini) struct buf second = buf_init(WIRE_LINE_BYTES_MAX + 1);
    struct wire_report parsed, again;

    if (wire_report_parse(line, len, &arena, &parsed, NULL) == 0) {
        if (wire_report_print(&parsed, &first) < 0 ||
            wire_report_parse(first.data, first.len - 1, &arena, &again, NULL) < 0 ||
            wire_report_print(&again, &second) < 0 || strcmp(first.data, second.data) != 0)
            abort();
        site_info_fini(&parsed.site);
        site_info_fini(&again.site);
    }
    arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > (64u << 10))
        return 0;
    command((const char *)data, size);
    report((const char *)data, size);
    return 0;
}

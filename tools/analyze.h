/* analyze.h - what the analyzers of tools/analyze.sh cannot see, as each looks at one file alone:
 * err_set and its like return the code they are given, and that code is no success. */
#pragma once

#include "base/err.h"

static inline int analyze_code(int code)
{
    if (code == 0)
        __builtin_unreachable();
    return code;
}

/* A constant says itself what it is: 0 stands where nobody looks at what comes back. */
#define ANALYZE_CODE(code) (__builtin_constant_p(code) ? (code) : analyze_code(code))
#define err_set(err, code, ...) ((void)err_set(err, code, __VA_ARGS__), ANALYZE_CODE(code))
#define err_field(err, code, ...) ((void)err_field(err, code, __VA_ARGS__), ANALYZE_CODE(code))
#define err_prefix(err, code, ...) ((void)err_prefix(err, code, __VA_ARGS__), ANALYZE_CODE(code))

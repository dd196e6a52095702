/* analyze.h - what the analyzers of tools/analyze.sh cannot see, as each looks at one file alone
 * and follows no list: err_set and its like return the code they are given, and that code is no
 * success; what is taken out of a list or a table is not in it any more. */
#pragma once

#include "base/err.h"

#include <sys/queue.h>
#include <uthash.h>

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

/* Something, or NULL: nobody knows. */
void *analyze_any(const void *list, const void *item);

#undef HASH_DELETE
#define HASH_DELETE(hh, head, item) ((head) = analyze_any(head, item))
#undef HASH_FIND
#define HASH_FIND(hh, head, key, len, out) ((void)(len), (out) = analyze_any(head, key))
#undef TAILQ_REMOVE
#define TAILQ_REMOVE(head, item, field) ((head)->tqh_first = analyze_any((head)->tqh_first, item))

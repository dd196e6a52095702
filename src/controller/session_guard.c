#include "controller/session_guard.h"

#include "base/cleanup.h"

bool session_guard_says(struct session_guard *guard, int64_t mono_ms, uint32_t *unsaid_out)
{
    if (!guard->lines || mono_ms - guard->lines_since_ms >= GUARD_LINES_MS) {
        guard->lines_since_ms = mono_ms;
        guard->lines = 0;
    }
    if (guard->lines == GUARD_LINES) {
        if (guard->unsaid < UINT32_MAX)
            guard->unsaid++;
        return false;
    }
    guard->lines++;
    *unsaid_out = guard->unsaid;
    guard->unsaid = 0;
    return true;
}

bool session_guard_takes(struct session_guard *guard, int64_t mono_ms, size_t bytes)
{
    int64_t passed = mono_ms - guard->bytes_at_ms;

    guard->bytes_at_ms = mono_ms;
    /* Long ago, or never: all of it is there again. */
    if (passed < 0 || passed > GUARD_BYTES / GUARD_BYTES_PER_MS)
        guard->bytes_spent = 0;
    else
        guard->bytes_spent = MAX(guard->bytes_spent - passed * GUARD_BYTES_PER_MS, 0);
    if (guard->bytes_spent + (int64_t)bytes > GUARD_BYTES)
        return false;
    guard->bytes_spent += (int64_t)bytes;
    return true;
}

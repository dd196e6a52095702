/* log.h - one line a fact, to stderr: "2026-11-22T02:31:00.123Z info  agent: text".
 *
 * Only the edges log (controller, agent, cli); inner code returns errors. The level and the name
 * are process-wide and set once in main, before threads start. */
#pragma once

#include "base/cleanup.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* `who` is borrowed for the life of the process. */
void log_setup(const char *who, enum log_level least);
void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

/* term.h - what the terminal can do. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum term_color { TERM_PLAIN, TERM_BOLD, TERM_DIM, TERM_RED, TERM_GREEN, TERM_YELLOW, TERM_CYAN };

/* Colours only on a terminal, and neither with NO_COLOR set (no-color.org) nor with TERM=dumb. */
bool term_has_color(FILE *file);
/* Columns of a terminal ($COLUMNS first); 0 when `file` is none: nothing is cut then. */
uint32_t term_width(FILE *file);
/* May characters past ASCII be shown (the locale is UTF-8)? */
bool term_has_utf8(void);
/* The escape sequence, or "" for TERM_PLAIN. */
const char *term_color_on(enum term_color color);
#define TERM_COLOR_OFF "\033[0m"

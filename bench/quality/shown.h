/* shown.h - one figure of a bench as one JSON line, as bench/lib.sh prints them. */
#pragma once

#include <math.h>
#include <stdio.h>
#include <string.h>

struct shown {
    const char *name;
    double value;
    const char *unit;
    const char *goal; /* ">=15", "<=0.3", "<=0.33x" (times the peer); NULL = none */
    const char *peer; /* NULL = none */
    double peer_value;
    const char *note; /* NULL = none */
};

static inline void shown_text(const char *text)
{
    if (!text) {
        fputs("null", stdout);
        return;
    }
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        putchar(*text);
    }
    putchar('"');
}

static inline const char *shown_holds(const struct shown *figure)
{
    double limit, value = figure->value;
    int at = 2;

    if (!figure->goal || isnan(value) || sscanf(figure->goal + at, "%lf", &limit) != 1)
        return "null";
    if (strchr(figure->goal, 'x')) {
        if (!figure->peer)
            return "null";
        limit *= figure->peer_value;
    }
    return (figure->goal[0] == '>' ? value >= limit : value <= limit) ? "true" : "false";
}

static inline void shown_number(double value, int is_known)
{
    if (is_known && !isnan(value))
        printf("%.6g", value);
    else
        fputs("null", stdout);
}

static inline void shown_print(const struct shown *figure)
{
    int has_ratio = figure->peer && figure->peer_value != 0;

    fputs("{\"name\":", stdout);
    shown_text(figure->name);
    fputs(",\"value\":", stdout);
    shown_number(figure->value, 1);
    fputs(",\"unit\":", stdout);
    shown_text(figure->unit);
    fputs(",\"goal\":", stdout);
    shown_text(figure->goal);
    printf(",\"holds\":%s,\"peer\":", shown_holds(figure));
    shown_text(figure->peer);
    fputs(",\"peer_value\":", stdout);
    shown_number(figure->peer_value, figure->peer != NULL);
    fputs(",\"ratio\":", stdout);
    shown_number(has_ratio ? figure->value / figure->peer_value : NAN, has_ratio);
    fputs(",\"note\":", stdout);
    shown_text(figure->note);
    puts("}");
    fflush(stdout);
}

#include "cli/why_show.h"

#include "base/clock.h"
#include "cli/remote.h"
#include "cli/table.h"
#include "cli/text.h"
#include "model/units.h"

#include <stdio.h>
#include <string.h>

/* "33.7 (+2.1)": what it would cost, and how much more that is. */
static void print_price(const json_t *change, char *out, size_t bytes)
{
    int64_t more = reply_number(change, "price_more_micro");
    char price[24], by[24];

    if (!json_is_integer(json_object_get(change, "price_micro"))) {
        snprintf(out, bytes, "-");
        return;
    }
    units_print_micro(reply_number(change, "price_micro"), price, sizeof(price));
    units_print_micro(more < 0 ? -more : more, by, sizeof(by));
    if (more)
        snprintf(out, bytes, "%s (%c%s)", price, more < 0 ? '-' : '+', by);
    else
        snprintf(out, bytes, "%s", price);
}

static void add_change(struct table *table, const json_t *change)
{
    int64_t start_ms = reply_time_ms(change, "start_estimate_at"), now_ms = clock_wall_ms();
    const char *chip = reply_text(change, "chip"), *site = reply_text(change, "site");
    char text[300];

    if (!start_ms)
        snprintf(text, sizeof(text), "-");
    else if (start_ms <= now_ms + 1000)
        snprintf(text, sizeof(text), "now");
    else
        text_print_relative(start_ms, now_ms, text, sizeof(text));
    table_add(table, text);
    snprintf(text, sizeof(text), "%s%s%s", *site ? site : "-", *chip ? " " : "", chip);
    table_add(table, text);
    print_price(change, text, sizeof(text));
    table_add(table, text);
    snprintf(text, sizeof(text), "%s: %s", reply_text(change, "change"),
             reply_text(change, "text"));
    table_add(table, text);
}

int why_show_changes(const json_t *changes)
{
    static const struct table_column columns[] = { { "START", false, 0 },
                                                   { "AT", false, 0 },
                                                   { "PRICE", true, 0 },
                                                   { "CHANGE", false, 16 },
                                                   { 0 } };
    struct table table;
    json_t *change;
    size_t index;
    int rc;

    if (!json_array_size(changes))
        return 0;
    printf("\nWhat would start it sooner, each by itself:\n");
    table = table_init(columns);
    json_array_foreach (changes, index, change)
        add_change(&table, change);
    rc = table_show(&table);
    table_fini(&table);
    return rc;
}

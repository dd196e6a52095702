#include "cli/site_power.h"

#include "cli/remote.h"
#include "grid/event.h"
#include "model/tariff_file.h"
#include "model/units.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const struct {
    const char *option, *key;
    uint32_t digits;
    int64_t least, most;
} figures[] = {
    { "price", "price_micro", 6, -INT64_C(1000000000000), INT64_C(1000000000000) },
    { "carbon", "carbon_mg", 3, 0, INT64_C(1000000000000) },
    { "green", "green_ppm", 6, 0, 1000000 },
    { "cap", "cap_w", 0, 0, INT64_C(1000000000000) },
};

static void add_number(json_t *row, const char *key, int64_t value)
{
    if (value != TARIFF_FILE_UNKNOWN)
        json_object_set_new(row, key, json_integer(value));
}

/* A new reference; NULL and `err`. */
static json_t *body_of_file(const char *path, bool is_forecast, struct err *err)
{
    struct tariff_file file;
    json_t *rows = json_array(), *body;

    if (tariff_file_read(path, TARIFF_ROWS_MAX, &file, err) < 0) {
        json_decref(rows);
        return NULL;
    }
    for (uint32_t i = 0; i < file.count; i++) {
        json_t *row = json_object();

        add_number(row, "price_micro", file.rows[i].price_micro);
        add_number(row, "carbon_mg", file.rows[i].carbon_mg);
        add_number(row, "green_ppm", file.rows[i].green_ppm);
        add_number(row, "cap_w", file.rows[i].cap_w);
        json_array_append_new(rows, row);
    }
    body = json_pack("{s:s, s:I, s:I, s:o}", "kind", is_forecast ? "forecast" : "facts", "from_ms",
                     (json_int_t)file.from_ms, "slot_ms", (json_int_t)file.slot_ms, "rows", rows);
    tariff_file_fini(&file);
    return body;
}

/* NULL with an empty `err`: no constant is given. */
static json_t *body_of_options(const struct cli_args *args, struct err *err)
{
    json_t *row = json_object();

    for (size_t i = 0; i < ARRAY_COUNT(figures); i++) {
        const char *text = cli_args_get(args, figures[i].option);
        int64_t value;

        if (!text)
            continue;
        if (tariff_parse_decimal(text, figures[i].digits, figures[i].least, figures[i].most,
                                 &value) < 0) {
            json_decref(row);
            err_set(err, -EINVAL, "--%s: expected a number%s, not \"%s\"", figures[i].option,
                    i == 2   ? " from 0 to 1"
                    : i == 0 ? ""
                             : " of 0 or more",
                    text);
            return NULL;
        }
        json_object_set_new(row, figures[i].key, json_integer(value));
    }
    if (json_object_size(row) == 0) {
        json_decref(row);
        return NULL;
    }
    return json_pack("{s:s, s:[o]}", "kind", "constant", "rows", row);
}

static void show_tariff(const json_t *answer)
{
    char price[32], until[40];
    int64_t rows = (int64_t)json_array_size(json_object_get(answer, "rows"));
    int64_t limit = reply_number(answer, "limit_mw"), cut = reply_number(answer, "cut_until_ms");

    units_print_micro(reply_number(answer, "price_micro"), price, sizeof(price));
    printf("%s: a kWh costs %s and emits %" PRId64 " g of CO2 now; jobs draw %" PRId64 " W",
           reply_text(answer, "site"), price, reply_number(answer, "carbon_mg") / 1000,
           reply_number(answer, "draw_mw") / 1000);
    if (!json_is_null(json_object_get(answer, "limit_mw")))
        printf(" of at most %" PRId64, limit / 1000);
    printf("\n");
    if (cut) {
        units_print_time(cut, until, sizeof(until));
        printf("a cut lasts until %s\n", until);
    }
    if (rows) {
        units_print_time(reply_number(answer, "from_ms") + rows * reply_number(answer, "slot_ms"),
                         until, sizeof(until));
        printf("known until %s\n", until);
    }
}

static int ask(const struct cli_args *args, const char *what, const char *method,
               const json_t *body)
{
    CLEANUP(buf_fini) struct buf path = buf_init(4096);
    struct remote remote;
    json_t *answer = NULL;
    struct err err = { 0 };
    int code = CLI_OK;

    buf_add_text(&path, "/sites/");
    remote_add_encoded(&path, args->rest[1]);
    buf_printf(&path, "/%s", what);
    if (remote_open(args, &remote, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    if (remote_call(&remote, method, path.data, body, &answer, &err) < 0)
        code = cli_fail(CLI_FAILED, &err);
    else if (cli_args_has(args, "json"))
        code = reply_show(answer);
    else
        show_tariff(answer);
    json_decref(answer);
    remote_fini(&remote);
    return code;
}

int site_tariff_run(const struct cli_args *args)
{
    json_t *body = NULL;
    struct err err = { 0 };
    int code;

    if (args->rest_count > 2)
        body = body_of_file(args->rest[2], cli_args_has(args, "forecast"), &err);
    else
        body = body_of_options(args, &err);
    if (!body && err.text[0])
        return cli_fail(CLI_FAILED, &err);
    code = ask(args, "tariff", body ? "PUT" : cli_args_has(args, "clear") ? "DELETE" : "GET", body);
    json_decref(body);
    return code;
}

static int read_span(const struct cli_args *args, const char *option, json_t *body, const char *key,
                     struct err *err)
{
    const char *text = cli_args_get(args, option);
    int64_t ms;
    int rc;

    if (!text)
        return 0;
    rc = units_parse_duration(text, &ms, err);
    if (rc < 0)
        return err_prefix(err, rc, "--%s", option);
    if (ms < 1 || ms > SHED_MS_MAX)
        return err_set(err, -EINVAL, "--%s: expected more than 0 and at most 31 days, not \"%s\"",
                       option, text);
    json_object_set_new(body, key, json_integer(ms));
    return 0;
}

int site_shed_run(const struct cli_args *args)
{
    const char *percent = cli_args_get(args, "percent"), *reason = cli_args_get(args, "reason");
    json_t *body;
    int64_t ppm;
    struct err err = { 0 };
    int code;

    if (cli_args_has(args, "end"))
        return ask(args, "shed", "DELETE", NULL);
    if (!percent || !cli_args_get(args, "for"))
        return cli_fail_text(CLI_USAGE, "a cut needs --percent and --for; --end ends one");
    if (tariff_parse_decimal(percent, 4, 1, 1000000, &ppm) < 0)
        return cli_fail_text(CLI_USAGE, "--percent: expected more than 0 and up to 100, not \"%s\"",
                             percent);
    body = json_pack("{s:I}", "share_ppm", (json_int_t)ppm);
    if (reason)
        json_object_set_new(body, "reason", json_string(reason));
    if (read_span(args, "for", body, "lasts_ms", &err) < 0 ||
        read_span(args, "within", body, "within_ms", &err) < 0)
        code = cli_fail(CLI_USAGE, &err);
    else
        code = ask(args, "shed", "POST", body);
    json_decref(body);
    return code;
}

/* wire_field.h - members of a struct as members of a JSON object, by table: printing and parsing
 * walk the same rows and so cannot disagree. Shared by wire_command.c and wire_report.c. */
#pragma once

#include "wire/wire.h"

#include <jansson.h>

enum wire_kind {
    WIRE_U64, /* at most 2^63-1: what every JSON reader holds */
    WIRE_U32,
    WIRE_I64,
    WIRE_I32,
    WIRE_BOOL,
    WIRE_NAME, /* [A-Za-z0-9][A-Za-z0-9._-]* or "" */
    WIRE_TEXT, /* one line, refused when it is not */
    WIRE_LINE  /* one line, cut and cleaned when it is not */
};

struct wire_field {
    const char *key;
    enum wire_kind kind;
    size_t offset, bytes;
    int64_t min, max;  /* of numbers */
    int64_t otherwise; /* when the key is missing; numbers with this value are not printed */
    uint32_t types;    /* bits 1 << type: where the member belongs */
    uint32_t needed;   /* bits of types that cannot do without */
};

bool wire_is_name(const char *text); /* see WIRE_NAME; "" is none */
/* '"text"', escaped; what is not UTF-8 or a control character becomes '?'. */
int wire_print_text(struct buf *out, const char *text);
/* ',"key":value' for each row of `type`. -EINVAL: a number out of its range. */
int wire_print_fields(struct buf *out, const struct wire_field *fields, size_t count, uint32_t type,
                      const void *object);
int wire_parse_fields(const json_t *root, const struct wire_field *fields, size_t count,
                      uint32_t type, void *object, struct err *err);

/* ',"key":[[job,epoch],...]' */
int wire_print_attempts(struct buf *out, const char *key, const struct wire_attempt_id *attempts,
                        uint32_t count);
int wire_parse_attempts(const json_t *list, struct arena *arena,
                        const struct wire_attempt_id **attempts_out, uint32_t *count_out,
                        struct err *err);

/* The line as an object, and which of `names` its "type" is. -EBADMSG, -ENOTSUP, -ENOMEM. */
int wire_parse_line(const char *line, size_t len, const char *const *names, uint32_t names_count,
                    json_t **root_out, uint32_t *type_out, struct err *err);
/* '{"type":"name"' and what ends a line. `start` is out->len before; a failure cuts back to it. */
int wire_begin_line(struct buf *out, const char *name);
int wire_end_line(struct buf *out, size_t start, int rc);
void wire_json_freep(json_t **json);

/* fields.h - a table of fields describes a struct once; its binary and its JSON form follow.
 *
 * Binary: fields in order; unsigned numbers as LEB128, signed ones zigzag first; text as length,
 * bytes and a NUL; a struct as its length in bytes, then its fields; lists as count, then elements
 * (a list of plain values has no lengths). A table only ever grows at its end: a reader gives the
 * fields that an older record does not have their `missing` value. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>

enum field_kind {
    FIELD_U8,
    FIELD_U16,
    FIELD_U32,
    FIELD_U64,
    FIELD_I32,
    FIELD_I64,
    FIELD_BOOL,
    FIELD_STRING, /* const char *; NULL counts as "" */
    FIELD_TEXT,   /* char[bytes] */
    FIELD_BLOB,   /* const char * and a uint32_t length; no NUL inside */
    FIELD_STRUCT, /* inside */
    FIELD_ARRAY,  /* elements inside, with a uint32_t count */
    FIELD_FIXED,  /* elements inside, always `max` of them; a shorter record leaves `missing` */
    FIELD_LIST    /* a pointer to elements, with a uint32_t count */
};

struct fields;
struct field {
    const char *name;
    enum field_kind kind;
    uint32_t offset;
    uint32_t bytes;          /* TEXT: room, NUL included; ARRAY, FIXED, LIST: of one element */
    uint32_t count_offset;   /* BLOB, ARRAY, LIST */
    uint32_t max;            /* STRING, BLOB: bytes; ARRAY, FIXED, LIST: elements */
    int64_t missing;         /* numbers only */
    const struct fields *of; /* STRUCT, ARRAY, FIXED, LIST */
};
struct fields {
    const struct field *list;
    uint32_t count;
    bool plain; /* one field without a name: elements are bare values */
};

/* Append the fields of the struct at `base`. -EINVAL and the field's name past a bound. */
int fields_encode(const struct fields *fields, const void *base, struct buf *out, struct err *err);
/* Read exactly `len` bytes into the zeroed struct at `base`. */
int fields_decode(const struct fields *fields, const void *data, size_t len, struct arena *arena,
                  void *base, struct err *err);
/* Put the fields into / take them out of a JSON object. -EINVAL names the key. Text that is not
 * UTF-8 becomes {"hex":"..."}. Keys that are not in the table are refused, but for `skip` names. */
int fields_to_json(const struct fields *fields, const void *base, json_t *object);
int fields_from_json(const struct fields *fields, const json_t *object, const char *const *skip,
                     struct arena *arena, void *base, struct err *err);

/* The primitives, for records without a table (snapshots). */
void put_u64(struct buf *out, uint64_t value);
void put_i64(struct buf *out, int64_t value);
void put_bytes(struct buf *out, const void *data, size_t len); /* length, bytes, NUL */
void put_text(struct buf *out, const char *text);

struct cursor {
    const uint8_t *at, *end;
};
/* 0 or -EBADMSG. */
int get_u64(struct cursor *in, uint64_t *out);
int get_i64(struct cursor *in, int64_t *out);
/* Points into the record; NUL-terminated; no NUL inside. */
int get_text(struct cursor *in, const char **out, size_t *len_out);

/* Tables of the model's structs (event_fields.c). */
extern const struct fields fields_of_request; /* struct job_request */
extern const struct fields fields_of_shape;   /* struct request_shape */
extern const struct fields fields_of_usage;
extern const struct fields fields_of_site;  /* struct site_info */
extern const struct fields fields_of_chips; /* struct chip_figures */
extern const struct fields fields_of_site_policy;

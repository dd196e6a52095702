#include "model/spec_schema.h"
#include "model/spec_key.h"

#include <string.h>

#define DURATION_PATTERN                                                                           \
    "^([0-9]+(\\\\.[0-9]{1,3})?(d|h|m|s|ms)?)+$|^([0-9]+-)?[0-9]+(:[0-9]+){0,2}$"
#define SIZE_PATTERN "^[0-9]+(\\\\.[0-9]{1,3})?([KkMmGgTtPpEe]i?)?[Bb]?$"
#define MILLI_PATTERN "^[0-9]+(\\\\.[0-9]{1,3})?$|^[0-9]+m$"

static const char definitions[] =
    "{\"name\":{\"type\":\"string\",\"pattern\":\"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$\"},"
    "\"figure\":{\"anyOf\":[{\"type\":\"number\",\"minimum\":0},{\"type\":\"string\",\"pattern\":"
    "\"" MILLI_PATTERN "\"}]},"
    "\"scalar\":{\"type\":[\"string\",\"number\",\"boolean\"]},"
    "\"duration\":{\"anyOf\":[{\"type\":\"number\",\"minimum\":0},{\"type\":\"string\",\"pattern\":"
    "\"" DURATION_PATTERN "\"}]},"
    "\"size\":{\"anyOf\":[{\"type\":\"integer\",\"minimum\":0},{\"type\":\"string\",\"pattern\":"
    "\"" SIZE_PATTERN "\"}]},"
    "\"when\":{\"anyOf\":[{\"$ref\":\"#/$defs/duration\"},{\"type\":\"string\",\"pattern\":"
    "\"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\\\\.[0-9]{1,3})?)?"
    "(Z|[+-][0-9]{2}:?[0-9]{2})?)?$\"}]},"
    "\"signal\":{\"anyOf\":[{\"type\":\"integer\",\"minimum\":1,\"maximum\":64},{\"type\":"
    "\"string\",\"pattern\":\"^([A-Za-z]+[12]?|[0-9]+)$\"}]},"
    "\"work_path\":{\"type\":\"string\",\"minLength\":1,\"pattern\":\"^[^/~]\",\"not\":{"
    "\"pattern\":\"(^|/)\\\\.\\\\.(/|$)\"}},"
    "\"places\":{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"allow\":{"
    "\"type\":\"array\",\"maxItems\":16,\"items\":{\"$ref\":\"#/$defs/name\"}},\"deny\":{\"type\":"
    "\"array\",\"maxItems\":16,\"items\":{\"$ref\":\"#/$defs/name\"}}}},"
    "\"range\":{\"anyOf\":[{\"type\":\"integer\",\"minimum\":1,\"maximum\":100000},{\"type\":"
    "\"string\",\"pattern\":\"^[0-9]+(-[0-9]+(:[0-9]+)?)?(,[0-9]+(-[0-9]+(:[0-9]+)?)?)*$\"}]},"
    "\"column\":{\"type\":\"array\",\"minItems\":1,\"maxItems\":100000,\"items\":{\"$ref\":"
    "\"#/$defs/scalar\"}},"
    "\"array\":{\"anyOf\":[{\"$ref\":\"#/$defs/range\"},{\"type\":\"object\",\"properties\":{"
    "\"range\":{\"$ref\":\"#/$defs/range\"},\"parallel\":{\"type\":\"integer\",\"minimum\":1,"
    "\"maximum\":100000},\"zip\":{\"type\":\"boolean\",\"default\":false},\"params\":{\"type\":"
    "\"object\",\"additionalProperties\":{\"$ref\":\"#/$defs/column\"}}},"
    "\"additionalProperties\":{\"$ref\":\"#/$defs/column\"}}]}}";

static json_t *reference(const char *name)
{
    return json_pack("{s:s+}", "$ref", "#/$defs/", name);
}

static json_t *table_schema(const struct spec_table *table);
static json_t *key_schema(const struct spec_key *key);

static json_t *list_schema(const struct spec_key *key)
{
    json_t *item = table_schema(key->table);
    json_t *schema;

    if (key->bare) /* a lone value stands for the first key */
        item = json_pack("{s:[o,o]}", "anyOf", key_schema(&key->table->keys[0]), item);
    if (key->type == KEY_LIST)
        schema = json_pack("{s:s,s:I,s:o}", "type", "array", "maxItems", (json_int_t)key->max,
                           "items", item);
    else
        schema = json_pack("{s:s,s:I,s:o}", "type", "object", "maxProperties", (json_int_t)key->max,
                           "additionalProperties", item);
    return schema;
}

static json_t *integer_schema(const struct spec_key *key)
{
    return json_pack("{s:s,s:I,s:I}", "type", "integer", "minimum", (json_int_t)key->min, "maximum",
                     (json_int_t)key->max);
}

/* Bounds beside a reference hold for numbers; what is written as text the reader checks. */
static json_t *bounded(json_t *schema, const struct spec_key *key, int64_t unit)
{
    if (key->min % unit == 0)
        json_object_set_new(schema, "minimum", json_integer(key->min / unit));
    else
        json_object_set_new(schema, "minimum", json_real((double)key->min / (double)unit));
    json_object_set_new(schema, "maximum", json_integer(key->max / unit));
    return schema;
}

static json_t *enum_schema(const struct spec_key *key)
{
    json_t *names = json_array();

    for (uint32_t i = 0; i < key->names_count; i++)
        json_array_append_new(names, json_string(key->names[i]));
    return json_pack("{s:o}", "enum", names);
}

static json_t *object_schema(const struct spec_key *key)
{
    json_t *schema = table_schema(key->table);

    if (!key->bare)
        return schema;
    return json_pack("{s:[o,o]}", "anyOf", key_schema(&key->table->keys[0]), schema);
}

static json_t *key_schema(const struct spec_key *key)
{
    switch (key->type) {
    case KEY_NAME:
        if (key->bare)
            return json_pack("{s:[o,{s:s,s:i}]}", "anyOf", reference("name"), "type", "number",
                             "minimum", 0);
        return reference("name");
    case KEY_TEXT:
    case KEY_LINE:
    case KEY_HOST_PATH:
        return json_pack("{s:s,s:I,s:I}", "type", "string", "minLength", (json_int_t)key->min,
                         "maxLength", (json_int_t)key->max);
    case KEY_WORK_PATH:
        return reference("work_path");
    case KEY_U32:
        return integer_schema(key);
    case KEY_BOOL:
    case KEY_FLAG:
        return json_pack("{s:s}", "type", "boolean");
    case KEY_MILLI:
        return json_pack("{s:[{s:s,s:f,s:f},{s:s,s:s}]}", "anyOf", "type", "number", "minimum",
                         (double)key->min / 1000, "maximum", (double)key->max / 1000, "type",
                         "string", "pattern", "^[0-9]+(\\.[0-9]{1,3})?$|^[0-9]+m$");
    case KEY_BYTES:
        return bounded(reference("size"), key, 1);
    case KEY_DURATION:
        return bounded(reference("duration"), key, 1000);
    case KEY_WHEN:
        return reference("when");
    case KEY_ENUM:
        return enum_schema(key);
    case KEY_SIGNAL:
        return reference("signal");
    case KEY_TEXTS:
        return json_pack("{s:s,s:I,s:I,s:o}", "type", "array", "minItems", (json_int_t)key->min,
                         "maxItems", (json_int_t)key->max, "items", reference("scalar"));
    case KEY_NAMES:
        return json_pack("{s:s,s:i,s:I,s:o}", "type", "array", "minItems", 1, "maxItems",
                         (json_int_t)key->max, "items", reference("name"));
    case KEY_PAIRS:
        return json_pack("{s:s,s:I,s:{s:s,s:{s:s}},s:o}", "type", "object", "maxProperties",
                         (json_int_t)key->max, "propertyNames", "pattern",
                         "^[A-Za-z_][A-Za-z0-9_]{0,254}$", "not", "pattern", "^MAINS_",
                         "additionalProperties", reference("scalar"));
    case KEY_OBJECT:
        return object_schema(key);
    case KEY_LIST:
    case KEY_MAP:
        return list_schema(key);
    case KEY_CUSTOM:
        return json_loads(key->schema, 0, NULL);
    }
    return NULL;
}

/* What absence means, where that is a value. */
static json_t *key_default(const struct spec_key *key)
{
    if (key->type == KEY_ENUM)
        return json_string(key->names[key->fallback]);
    if (key->type == KEY_BOOL || key->type == KEY_FLAG)
        return json_boolean(key->fallback != 0);
    if (key->type == KEY_DURATION && key->fallback)
        return json_integer(key->fallback / 1000);
    return key->fallback ? json_integer(key->fallback) : NULL;
}

static json_t *table_schema(const struct spec_table *table)
{
    json_t *properties = json_object();

    for (uint32_t i = 0; i < table->keys_count; i++) {
        const struct spec_key *key = &table->keys[i];
        json_t *schema = key_schema(key);
        json_t *fallback = key_default(key);

        json_object_set_new(schema, "description", json_string(key->help));
        if (fallback)
            json_object_set_new(schema, "default", fallback);
        json_object_set_new(properties, key->name, schema);
    }
    return json_pack("{s:s,s:b,s:o}", "type", "object", "additionalProperties", false, "properties",
                     properties);
}

json_t *spec_schema_create(void)
{
    json_t *job = table_schema(&spec_job_table);
    json_t *schema = json_pack(
        "{s:s,s:s,s:s}", "$schema", "https://json-schema.org/draft/2020-12/schema", "title",
        "A mains job", "description", "A job file in YAML or JSON; see docs/job-file.md.");

    if (!job || !schema || json_object_update_new(schema, job) < 0) {
        json_decref(job);
        json_decref(schema);
        return NULL;
    }
    json_object_set_new(schema, "$defs", json_loads(definitions, 0, NULL));
    return schema;
}

#include "openapi_check.h"

#include "base/buf.h"
#include "controller/openapi.h"
#include "model/yaml.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SCHEMA_DEPTH_MAX 32u

int openapi_load(struct openapi *openapi, struct err *err)
{
    int rc = yaml_parse("openapi.yaml", openapi_text, openapi_text_bytes, &openapi->doc, err);

    if (rc == 0)
        openapi->root = yaml_doc_root(openapi->doc);
    return rc;
}

void openapi_fini(struct openapi *openapi)
{
    yaml_doc_destroy(openapi->doc);
    *openapi = (struct openapi){ 0 };
}

/* "#/components/schemas/Job" */
static const json_t *follow(const struct openapi *openapi, const json_t *node)
{
    const char *ref;

    while (node && (ref = json_string_value(json_object_get(node, "$ref")))) {
        const json_t *at = openapi->root;

        if (strncmp(ref, "#/", 2))
            return NULL;
        ref += 2;
        while (at && *ref) {
            char name[128];
            size_t len = strcspn(ref, "/");

            snprintf(name, sizeof(name), "%.*s", (int)len, ref);
            at = json_object_get(at, name);
            ref += len + (ref[len] == '/');
        }
        node = at;
    }
    return node;
}

const json_t *openapi_operation(const struct openapi *openapi, const char *method, const char *path)
{
    char name[16] = { 0 };

    for (size_t i = 0; method[i] && i < sizeof(name) - 1; i++)
        name[i] = (char)tolower((unsigned char)method[i]);
    return json_object_get(json_object_get(json_object_get(openapi->root, "paths"), path), name);
}

static bool is_type(const json_t *json, const char *type)
{
    if (!strcmp(type, "object"))
        return json_is_object(json);
    if (!strcmp(type, "array"))
        return json_is_array(json);
    if (!strcmp(type, "string"))
        return json_is_string(json);
    if (!strcmp(type, "integer"))
        return json_is_integer(json);
    if (!strcmp(type, "number"))
        return json_is_number(json);
    if (!strcmp(type, "boolean"))
        return json_is_boolean(json);
    return !strcmp(type, "null") && json_is_null(json);
}

static bool has_type(const json_t *json, const json_t *types)
{
    size_t i;
    json_t *type;

    if (!types)
        return true;
    if (json_is_string(types))
        return is_type(json, json_string_value(types));
    json_array_foreach (types, i, type) {
        if (is_type(json, json_string_value(type)))
            return true;
    }
    return false;
}

static int check(const struct openapi *openapi, const json_t *schema, const json_t *json,
                 const char *where, uint32_t depth, struct err *err);

static int check_object(const struct openapi *openapi, const json_t *schema, const json_t *json,
                        const char *where, uint32_t depth, struct err *err)
{
    const json_t *properties = json_object_get(schema, "properties");
    const json_t *required = json_object_get(schema, "required");
    const char *key;
    json_t *value;
    size_t i;

    json_array_foreach (required, i, value) {
        if (!json_object_get(json, json_string_value(value)))
            return err_set(err, -EINVAL, "%s: no %s", where, json_string_value(value));
    }
    if (!properties)
        return 0;
    json_object_foreach ((json_t *)(uintptr_t)json, key, value) {
        const json_t *property = json_object_get(properties, key);
        char below[256];
        int rc;

        snprintf(below, sizeof(below), "%.190s.%.60s", where, key);
        if (!property)
            return err_set(err, -EINVAL, "%s is not documented", below);
        rc = check(openapi, property, value, below, depth + 1, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int check_any(const struct openapi *openapi, const json_t *list, const json_t *json,
                     const char *where, uint32_t depth, struct err *err)
{
    struct err first = { 0 };
    json_t *schema;
    size_t i;

    json_array_foreach (list, i, schema) {
        struct err why = { 0 };

        if (check(openapi, schema, json, where, depth + 1, &why) == 0)
            return 0;
        if (!first.text[0])
            first = why;
    }
    return err_set(err, -EINVAL, "%s", first.text);
}

static int check(const struct openapi *openapi, const json_t *schema, const json_t *json,
                 const char *where, uint32_t depth, struct err *err)
{
    const json_t *list;
    json_t *value;
    size_t i;
    int rc = 0;

    schema = follow(openapi, schema);
    if (!schema || depth > SCHEMA_DEPTH_MAX)
        return err_set(err, -EINVAL, "%s: the schema has a reference to nothing", where);
    list = json_object_get(schema, "anyOf");
    if (list)
        return check_any(openapi, list, json, where, depth, err);
    json_array_foreach (json_object_get(schema, "allOf"), i, value) {
        rc = check(openapi, value, json, where, depth + 1, err);
        if (rc < 0)
            return rc;
    }
    if (!has_type(json, json_object_get(schema, "type")))
        return err_set(err, -EINVAL, "%s is of another type than documented", where);
    list = json_object_get(schema, "enum");
    if (list && !json_is_null(json)) {
        bool found = false;

        json_array_foreach (list, i, value) {
            found = found || json_equal(value, json);
        }
        if (!found)
            return err_set(err, -EINVAL, "%s: \"%s\" is not documented", where,
                           json_is_string(json) ? json_string_value(json) : "?");
    }
    if (json_is_object(json))
        return check_object(openapi, schema, json, where, depth, err);
    list = json_object_get(schema, "items");
    if (!list)
        return 0;
    json_array_foreach (json, i, value) {
        char below[256];

        snprintf(below, sizeof(below), "%.240s[%zu]", where, i);
        rc = check(openapi, list, value, below, depth + 1, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int openapi_check_answer(const struct openapi *openapi, const char *method, const char *path,
                         int status, const json_t *json, struct err *err)
{
    const json_t *operation = openapi_operation(openapi, method, path);
    const json_t *response, *content;
    char code[16], where[256];

    snprintf(where, sizeof(where), "%s %.200s %d", method, path, status);
    snprintf(code, sizeof(code), "%d", status);
    if (!operation)
        return err_set(err, -EINVAL, "%s: the operation is not documented", where);
    response = json_object_get(json_object_get(operation, "responses"), code);
    /* Any request may get these. */
    if (!response && (status == 401 || status == 403 || status == 405 || status == 500))
        response = json_object_get(
            json_object_get(json_object_get(openapi->root, "components"), "responses"), "Error");
    response = follow(openapi, response);
    if (!response)
        return err_set(err, -EINVAL, "%s: the status is not documented", where);
    content = json_object_get(json_object_get(response, "content"), "application/json");
    if (!json)
        return content ? err_set(err, -EINVAL, "%s: JSON is documented, something else came", where)
                       : 0;
    if (!content)
        return err_set(err, -EINVAL, "%s: JSON came and is not documented", where);
    return check(openapi, json_object_get(content, "schema"), json, where, 0, err);
}

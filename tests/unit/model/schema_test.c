/* docs/job-file.schema.json against the reader: it is what the reader's table prints, it takes
 * what the reader takes, and it refuses what is wrong in form. `--print` prints the schema. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/file.h"
#include "job_cases.h"
#include "model/spec_key.h"
#include "model/spec_schema.h"
#include "model/yaml.h"

#include <regex.h>
#include <stdio.h>

#define PRINT_FLAGS (JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12))

static json_t *read_schema(void)
{
    json_error_t fault;
    json_t *schema = json_load_file(DOCS_DIR "/job-file.schema.json", 0, &fault);

    if (!schema)
        fail_msg("docs/job-file.schema.json: line %d: %s", fault.line, fault.text);
    return schema;
}

static void test_document_is_the_table(void **state)
{
    json_t *document = read_schema(), *made = spec_schema_create();

    (void)state;
    assert_non_null(made);
    /* Mend with: build/tests/unit/model/test_model_schema --print > docs/job-file.schema.json */
    assert_true(json_equal(document, made));
    json_decref(document);
    json_decref(made);
}

/* The part of JSON Schema that the document uses; a keyword it does not know fails the test. */
static bool is_valid(const json_t *root, const json_t *schema, const json_t *value);

static bool matches(const char *pattern, const char *text)
{
    regex_t regex;
    bool found;

    if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) != 0)
        fail_msg("pattern: %s", pattern);
    found = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return found;
}

static bool has_type(const char *type, const json_t *value)
{
    if (strcmp(type, "number") == 0)
        return json_is_number(value);
    if (strcmp(type, "integer") == 0)
        return json_is_integer(value);
    if (strcmp(type, "string") == 0)
        return json_is_string(value);
    if (strcmp(type, "boolean") == 0)
        return json_is_boolean(value);
    if (strcmp(type, "array") == 0)
        return json_is_array(value);
    if (strcmp(type, "object") == 0)
        return json_is_object(value);
    fail_msg("type: %s", type);
    return false;
}

static size_t count_valid(const json_t *root, const json_t *choices, const json_t *value)
{
    size_t count = 0;

    for (size_t i = 0; i < json_array_size(choices); i++)
        count += is_valid(root, json_array_get(choices, i), value);
    return count;
}

static bool members_are_valid(const json_t *root, const json_t *schema, const json_t *value)
{
    const json_t *names = json_object_get(schema, "propertyNames");
    const json_t *patterns = json_object_get(schema, "patternProperties");
    const json_t *others = json_object_get(schema, "additionalProperties");
    const char *name, *pattern;
    json_t *member, *of_pattern;

    json_object_foreach ((json_t *)value, name, member) {
        const json_t *known = json_object_get(json_object_get(schema, "properties"), name);
        json_t *text = json_string(name);
        bool ok = !names || is_valid(root, names, text);

        json_decref(text);
        json_object_foreach ((json_t *)patterns, pattern, of_pattern) {
            if (matches(pattern, name))
                known = of_pattern;
        }
        if (!known && json_is_false(others))
            return false;
        if (!known && json_is_object(others))
            known = others;
        if (!ok || (known && !is_valid(root, known, member)))
            return false;
    }
    return true;
}

static bool items_are_valid(const json_t *root, const json_t *items, const json_t *value)
{
    for (size_t i = 0; items && i < json_array_size(value); i++)
        if (!is_valid(root, items, json_array_get(value, i)))
            return false;
    return true;
}

/* Whole numbers exactly: a double does not tell 2^60 from 2^60 + 1. */
static int compare_numbers(const json_t *a, const json_t *b)
{
    if (json_is_integer(a) && json_is_integer(b))
        return (json_integer_value(a) > json_integer_value(b)) -
               (json_integer_value(a) < json_integer_value(b));
    return (json_number_value(a) > json_number_value(b)) -
           (json_number_value(a) < json_number_value(b));
}

static bool keyword_holds(const json_t *root, const json_t *schema, const char *keyword,
                          const json_t *rule, const json_t *value)
{
    static const char *const notes[] = {
        "$schema",     "$defs", "title",         "default",           "properties",
        "description", "items", "propertyNames", "patternProperties", "additionalProperties"
    };
    const char *text = json_string_value(value);
    double limit = json_number_value(rule);
    size_t members = json_is_object(value) ? json_object_size(value) : json_array_size(value);

    for (size_t i = 0; i < ARRAY_COUNT(notes); i++)
        if (strcmp(keyword, notes[i]) == 0)
            return true;
    if (strcmp(keyword, "$ref") == 0)
        return is_valid(root,
                        json_object_get(json_object_get(root, "$defs"),
                                        strrchr(json_string_value(rule), '/') + 1),
                        value);
    if (strcmp(keyword, "type") == 0 && json_is_string(rule))
        return has_type(json_string_value(rule), value);
    if (strcmp(keyword, "type") == 0) {
        for (size_t i = 0; i < json_array_size(rule); i++)
            if (has_type(json_string_value(json_array_get(rule, i)), value))
                return true;
        return false;
    }
    if (strcmp(keyword, "enum") == 0) {
        for (size_t i = 0; i < json_array_size(rule); i++)
            if (json_equal(json_array_get(rule, i), (json_t *)value))
                return true;
        return false;
    }
    if (strcmp(keyword, "anyOf") == 0)
        return count_valid(root, rule, value) > 0;
    if (strcmp(keyword, "oneOf") == 0)
        return count_valid(root, rule, value) == 1;
    if (strcmp(keyword, "not") == 0)
        return !is_valid(root, rule, value);
    if (strcmp(keyword, "pattern") == 0)
        return !text || matches(json_string_value(rule), text);
    if (strcmp(keyword, "minimum") == 0)
        return !json_is_number(value) || compare_numbers(value, rule) >= 0;
    if (strcmp(keyword, "maximum") == 0)
        return !json_is_number(value) || compare_numbers(value, rule) <= 0;
    if (strcmp(keyword, "minLength") == 0)
        return !text || (double)strlen(text) >= limit;
    if (strcmp(keyword, "maxLength") == 0)
        return !text || (double)strlen(text) <= limit;
    if (strcmp(keyword, "minItems") == 0)
        return !json_is_array(value) || (double)members >= limit;
    if (strcmp(keyword, "maxItems") == 0)
        return !json_is_array(value) || (double)members <= limit;
    if (strcmp(keyword, "minProperties") == 0)
        return !json_is_object(value) || (double)members >= limit;
    if (strcmp(keyword, "maxProperties") == 0)
        return !json_is_object(value) || (double)members <= limit;
    (void)schema;
    fail_msg("keyword: %s", keyword);
    return false;
}

static bool is_valid(const json_t *root, const json_t *schema, const json_t *value)
{
    const char *keyword;
    json_t *rule;

    assert_non_null(schema);
    json_object_foreach ((json_t *)schema, keyword, rule) {
        if (!keyword_holds(root, schema, keyword, rule, value))
            return false;
    }
    return members_are_valid(root, schema, value) &&
           items_are_valid(root, json_object_get(schema, "items"), value);
}

static bool text_is_valid(const json_t *schema, const char *text)
{
    struct yaml_doc *doc = NULL;
    struct err err = { 0 };
    bool valid;

    if (yaml_parse("t", text, strlen(text), &doc, &err) < 0)
        return false;
    valid = is_valid(schema, schema, yaml_doc_root(doc));
    yaml_doc_destroy(doc);
    return valid;
}

static void test_refuses_what_the_reader_refuses(void **state)
{
    json_t *schema = read_schema();
    size_t faults = 0, compared = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(bad_jobs); i++) {
        if (!bad_jobs[i].in_schema)
            continue;
        compared++;
        if (text_is_valid(schema, bad_jobs[i].text)) {
            print_error("the schema takes:\n%s\n", bad_jobs[i].text);
            faults++;
        }
    }
    assert_int_equal(faults, 0);
    assert_true(compared > 80);
    json_decref(schema);
}

static void test_takes_what_the_reader_takes(void **state)
{
    json_t *schema = read_schema();
    size_t faults = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(good_jobs); i++) {
        struct buf printed = buf_init(1 << 20);
        struct job_spec *spec = NULL;

        if (!text_is_valid(schema, good_jobs[i])) {
            print_error("the schema refuses:\n%s\n", good_jobs[i]);
            faults++;
        }
        assert_int_equal(
            spec_parse_yaml("t", good_jobs[i], strlen(good_jobs[i]), &spec, NULL, NULL), 0);
        spec_print_json(spec, true, &printed);
        if (!text_is_valid(schema, printed.data)) {
            print_error("the schema refuses what was printed:\n%s\n", printed.data);
            faults++;
        }
        spec_destroy(spec);
        buf_fini(&printed);
    }
    assert_int_equal(faults, 0);
    json_decref(schema);
}

/* At the bounds of every number: the least and the most are taken by both, one more by neither. */
static size_t check_bounds(const json_t *schema, const struct spec_table *table, const char *format)
{
    size_t faults = 0;

    for (uint32_t i = 0; i < table->keys_count; i++) {
        const struct spec_key *key = &table->keys[i];
        const int64_t values[] = { key->min, key->max, key->min - 1, key->max + 1 };

        if (key->type != KEY_U32 && key->type != KEY_BYTES)
            continue;
        for (size_t j = 0; j < ARRAY_COUNT(values); j++) {
            char member[128], text[512];
            struct job_spec *spec = NULL;
            bool wanted = j < 2, taken;

            snprintf(member, sizeof(member), "%s: %lld", key->name, (long long)values[j]);
            snprintf(text, sizeof(text), format, member);
            taken = spec_parse_yaml("t", text, strlen(text), &spec, NULL, NULL) == 0;
            if (taken != wanted || text_is_valid(schema, text) != wanted) {
                print_error("%s: the reader %s it, the schema %s it\n", text,
                            taken ? "takes" : "refuses",
                            text_is_valid(schema, text) ? "takes" : "refuses");
                faults++;
            }
            spec_destroy(spec);
        }
    }
    return faults;
}

static void test_bounds(void **state)
{
    json_t *schema = read_schema();
    size_t faults = check_bounds(schema, &spec_job_table, "{run: x, %s}");

    (void)state;
    for (uint32_t i = 0; i < spec_job_table.keys_count; i++) {
        const struct spec_key *key = &spec_job_table.keys[i];
        char format[128];

        if (key->type != KEY_OBJECT || strcmp(key->name, "elastic") == 0)
            continue; /* the keys of elastic stand together only: job_cases.h has their bounds */
        snprintf(format, sizeof(format), "{run: x, %s: {%s%%s}}", key->name,
                 strcmp(key->name, "resources") == 0 ? "devices: 1, "
                 : strcmp(key->name, "work") == 0    ? "class: w, "
                                                     : "");
        faults += check_bounds(schema, key->table, format);
    }
    assert_int_equal(faults, 0);
    json_decref(schema);
}

/* Every key is in the manual, as `key`. */
static size_t check_manual(const struct spec_table *table, const char *manual)
{
    size_t missing = 0;

    for (uint32_t i = 0; i < table->keys_count; i++) {
        char quoted[80];

        snprintf(quoted, sizeof(quoted), "`%s`", table->keys[i].name);
        if (!strstr(manual, quoted)) {
            print_error("docs/job-file.md lacks %s\n", quoted);
            missing++;
        }
        if (table->keys[i].table)
            missing += check_manual(table->keys[i].table, manual);
    }
    return missing;
}

static void test_manual_has_every_key(void **state)
{
    struct buf manual = buf_init(1 << 20);

    (void)state;
    assert_int_equal(file_read(DOCS_DIR "/job-file.md", &manual, NULL), 0);
    assert_int_equal(check_manual(&spec_job_table, manual.data), 0);
    buf_fini(&manual);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refuses_what_the_reader_refuses),
        cmocka_unit_test(test_takes_what_the_reader_takes),
        cmocka_unit_test(test_document_is_the_table),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_manual_has_every_key),
    };

    if (argc == 2 && strcmp(argv[1], "--print") == 0) {
        json_t *schema = spec_schema_create();

        json_dumpf(schema, stdout, PRINT_FLAGS);
        printf("\n");
        json_decref(schema);
        return 0;
    }
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

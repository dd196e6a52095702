#include "model/yaml.h"
#include "model/spec_key.h"

#include <errno.h>
#include <inttypes.h>
#include <libfyaml.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANCHORS_MAX 100u /* also bounds how deep aliases of aliases go */

struct yaml_node {
    json_t *value;    /* a reference of its own */
    const char *text; /* of a scalar, as written */
    size_t text_len;
    uint32_t line, column;
    struct yaml_member *members;
    uint32_t members_count, members_room;
};
struct yaml_member {
    const char *key; /* NULL in a list */
    uint32_t line, column;
    struct yaml_node *node;
};
struct yaml_anchor {
    const char *name;
    size_t len;
    struct yaml_node *node;
};

struct yaml_doc {
    struct arena arena;
    const char *file;
    struct yaml_node *root;
    struct yaml_node **nodes; /* all of them: who holds references */
    uint32_t nodes_count, nodes_room;
    struct yaml_anchor *anchors;
    uint32_t anchors_count;
    struct fy_parser *parser;
    struct fy_diag *diag;
};

/* A container being filled. */
struct yaml_frame {
    struct yaml_node *node;
    const char *key; /* read, its value comes next */
    uint32_t key_line, key_column;
    const char *anchor;
    size_t anchor_len;
};
struct yaml_builder {
    struct yaml_doc *doc;
    struct yaml_frame frames[SPEC_DEPTH_MAX];
    uint32_t depth;
    bool has_document;
    struct err *err;
};

static int refuse_at(struct yaml_builder *builder, int code, uint32_t line, uint32_t column,
                     const char *fmt, ...) PRINTF_LIKE(5, 6);
static int refuse_at(struct yaml_builder *builder, int code, uint32_t line, uint32_t column,
                     const char *fmt, ...)
{
    char message[200];
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    return err_set(builder->err, code, "%s:%" PRIu32 ":%" PRIu32 ": %s", builder->doc->file, line,
                   column, message);
}

static int no_memory(struct yaml_builder *builder)
{
    return err_set(builder->err, -ENOMEM, "%s: out of memory", builder->doc->file);
}

static void token_place(struct fy_token *token, uint32_t *line, uint32_t *column)
{
    const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;

    if (mark && mark->line >= 0 && mark->column >= 0) {
        *line = (uint32_t)mark->line + 1;
        *column = (uint32_t)mark->column + 1;
    }
}

/* A node that holds `value` (the reference is taken, also on failure). */
static struct yaml_node *add_node(struct yaml_doc *doc, json_t *value)
{
    struct yaml_node *node = value ? arena_alloc(&doc->arena, 1, sizeof(*node)) : NULL;

    if (node && doc->nodes_count == doc->nodes_room) {
        uint32_t room = doc->nodes_room ? doc->nodes_room * 2 : 64;
        struct yaml_node **nodes = realloc(doc->nodes, room * sizeof(*nodes));

        if (nodes) {
            doc->nodes = nodes;
            doc->nodes_room = room;
        } else {
            node = NULL;
        }
    }
    if (!node) {
        json_decref(value);
        return NULL;
    }
    node->value = value;
    doc->nodes[doc->nodes_count++] = node;
    return node;
}

static bool is_one_of(const char *text, size_t len, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(words[i]) == len && memcmp(words[i], text, len) == 0)
            return true;
    return false;
}

static size_t count_digits(const char *text, size_t len)
{
    size_t count = 0;

    while (count < len && text[count] >= '0' && text[count] <= '9')
        count++;
    return count;
}

/* A plain scalar by the core schema; what is no number, boolean or null is text. */
static json_t *read_plain(const char *text, size_t len)
{
    static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };
    static const char *const trues[] = { "true", "True", "TRUE" };
    static const char *const falses[] = { "false", "False", "FALSE" };
    size_t at = len && (text[0] == '-' || text[0] == '+');
    size_t whole, part = 0;
    char number[64];

    if (is_one_of(text, len, nulls, ARRAY_COUNT(nulls)))
        return json_null();
    if (is_one_of(text, len, trues, ARRAY_COUNT(trues)))
        return json_true();
    if (is_one_of(text, len, falses, ARRAY_COUNT(falses)))
        return json_false();
    if (len >= sizeof(number))
        return json_stringn(text, len);
    memcpy(number, text, len);
    number[len] = '\0';
    whole = count_digits(text + at, len - at);
    if (whole && at + whole == len) {
        errno = 0;
        long long value = strtoll(number, NULL, 10);

        return errno ? json_stringn(text, len) : json_integer(value);
    }
    at += whole;
    if (at < len && text[at] == '.') {
        at++;
        part = count_digits(text + at, len - at);
        at += part;
    }
    if (whole + part && at < len && (text[at] == 'e' || text[at] == 'E')) {
        size_t sign = at + 1 < len && (text[at + 1] == '-' || text[at + 1] == '+');
        size_t digits = count_digits(text + at + 1 + sign, len - at - 1 - sign);

        at = digits ? at + 1 + sign + digits : 0;
    }
    if (whole + part && at == len) {
        double value = strtod(number, NULL);

        if (value <= 1e300 && value >= -1e300) /* JSON has no infinity */
            return json_real(value);
    }
    return json_stringn(text, len);
}

static struct yaml_node *find_anchor(const struct yaml_doc *doc, const char *name, size_t len)
{
    for (uint32_t i = doc->anchors_count; i-- > 0;) /* the latest of a name counts */
        if (doc->anchors[i].len == len && memcmp(doc->anchors[i].name, name, len) == 0)
            return doc->anchors[i].node;
    return NULL;
}

static int add_anchor(struct yaml_builder *builder, const char *name, size_t len,
                      struct yaml_node *node)
{
    struct yaml_doc *doc = builder->doc;

    if (!name)
        return 0;
    if (!doc->anchors)
        doc->anchors = arena_alloc(&doc->arena, ANCHORS_MAX, sizeof(*doc->anchors));
    name = arena_strndup(&doc->arena, name, len);
    if (!doc->anchors || !name)
        return no_memory(builder);
    if (doc->anchors_count == ANCHORS_MAX)
        return refuse_at(builder, -E2BIG, node->line, node->column, "more than %u anchors",
                         ANCHORS_MAX);
    doc->anchors[doc->anchors_count++] =
        (struct yaml_anchor){ .name = name, .len = len, .node = node };
    return 0;
}

static int add_member(struct yaml_builder *builder, struct yaml_frame *frame,
                      struct yaml_node *node)
{
    struct yaml_node *parent = frame->node;
    int rc;

    if (parent->members_count == parent->members_room) {
        uint32_t room = parent->members_room ? parent->members_room * 2 : 8;
        struct yaml_member *members = arena_alloc(&builder->doc->arena, room, sizeof(*members));

        if (!members)
            return no_memory(builder);
        if (parent->members_count)
            memcpy(members, parent->members, parent->members_count * sizeof(*members));
        parent->members = members;
        parent->members_room = room;
    }
    if (frame->key)
        rc = json_object_set(parent->value, frame->key, node->value);
    else
        rc = json_array_append(parent->value, node->value);
    if (rc < 0)
        return no_memory(builder);
    parent->members[parent->members_count++] = (struct yaml_member){
        .key = frame->key, .line = frame->key_line, .column = frame->key_column, .node = node
    };
    frame->key = NULL;
    return 0;
}

/* Put a complete value where it belongs. */
static int place_node(struct yaml_builder *builder, struct yaml_node *node)
{
    if (builder->depth == 0) {
        builder->doc->root = node;
        return 0;
    }
    return add_member(builder, &builder->frames[builder->depth - 1], node);
}

static int take_key(struct yaml_builder *builder, struct yaml_frame *frame, const char *text,
                    size_t len, uint32_t line, uint32_t column)
{
    if (len == 2 && memcmp(text, "<<", 2) == 0)
        return refuse_at(builder, -EINVAL, line, column,
                         "merge keys (<<) are no part of YAML 1.2: write the keys out");
    frame->key = arena_strndup(&builder->doc->arena, text, len);
    if (!frame->key)
        return no_memory(builder);
    if (json_object_get(frame->node->value, frame->key))
        return refuse_at(builder, -EINVAL, line, column, "the key \"%.60s\" is there twice",
                         frame->key);
    frame->key_line = line;
    frame->key_column = column;
    return 0;
}

static int check_tag(struct yaml_builder *builder, struct fy_token *tag, bool *is_text)
{
    const char *suffix = tag ? fy_tag_token_suffix0(tag) : NULL;
    uint32_t line = 1, column = 1;

    *is_text = suffix && strcmp(suffix, "str") == 0;
    token_place(tag, &line, &column);
    if (tag && !*is_text)
        return refuse_at(builder, -EINVAL, line, column, "tags are not understood here");
    return 0;
}

static const char *token_text(struct fy_token *token, size_t *len)
{
    const char *text = token ? fy_token_get_text(token, len) : NULL;

    if (!text)
        *len = 0;
    return text ? text : "";
}

static struct yaml_frame *wants_key(struct yaml_builder *builder)
{
    struct yaml_frame *frame = builder->depth ? &builder->frames[builder->depth - 1] : NULL;

    return frame && json_is_object(frame->node->value) && !frame->key ? frame : NULL;
}

static int on_scalar(struct yaml_builder *builder, struct fy_event *event)
{
    struct fy_token *token = event->scalar.value;
    struct yaml_frame *frame = wants_key(builder);
    size_t len = 0, name_len = 0;
    const char *text = token_text(token, &len);
    const char *name = event->scalar.anchor ? token_text(event->scalar.anchor, &name_len) : NULL;
    uint32_t line = 1, column = 1;
    struct yaml_node *node;
    bool is_text;
    int rc = check_tag(builder, event->scalar.tag, &is_text);

    if (rc < 0)
        return rc;
    if (!frame && builder->depth) { /* what is not written stands where its key or list does */
        const struct yaml_frame *up = &builder->frames[builder->depth - 1];

        line = up->key ? up->key_line : up->node->line;
        column = up->key ? up->key_column : up->node->column;
    }
    token_place(token, &line, &column);
    if (token && column > 1 &&
        (fy_scalar_token_get_style(token) == FYSS_SINGLE_QUOTED ||
         fy_scalar_token_get_style(token) == FYSS_DOUBLE_QUOTED))
        column--; /* the quote, not what follows it */
    if (memchr(text, '\0', len))
        return refuse_at(builder, -EINVAL, line, column, "text with a NUL (\\0) in it");
    if (!spec_text_is_utf8(text, len))
        return refuse_at(builder, -EINVAL, line, column, "text that is no UTF-8");
    if (frame)
        return take_key(builder, frame, text, len, line, column);
    if (!is_text && token && fy_scalar_token_get_style(token) == FYSS_PLAIN)
        node = add_node(builder->doc, read_plain(text, len));
    else if (!token)
        node = add_node(builder->doc, is_text ? json_string("") : json_null());
    else
        node = add_node(builder->doc, json_stringn(text, len));
    if (!node)
        return no_memory(builder);
    if (builder->doc->nodes_count > YAML_VALUES_MAX)
        return refuse_at(builder, -E2BIG, line, column, "more than %u values", YAML_VALUES_MAX);
    node->line = line;
    node->column = column;
    node->text = arena_strndup(&builder->doc->arena, text, len);
    node->text_len = len;
    if (!node->text)
        return no_memory(builder);
    rc = add_anchor(builder, name, name_len, node);
    return rc < 0 ? rc : place_node(builder, node);
}

static int on_start(struct yaml_builder *builder, struct fy_token *start, struct fy_token *anchor,
                    struct fy_token *tag, bool is_map)
{
    struct yaml_frame *frame;
    uint32_t line = 1, column = 1;
    bool is_text;
    int rc = check_tag(builder, tag, &is_text);

    if (rc < 0)
        return rc;
    token_place(start, &line, &column);
    if (wants_key(builder))
        return refuse_at(builder, -EINVAL, line, column,
                         "expected a plain key, not a list or a mapping");
    if (builder->depth == SPEC_DEPTH_MAX)
        return refuse_at(builder, -E2BIG, line, column, "nested deeper than %u levels",
                         SPEC_DEPTH_MAX);
    if (builder->doc->nodes_count >= YAML_VALUES_MAX)
        return refuse_at(builder, -E2BIG, line, column, "more than %u values", YAML_VALUES_MAX);
    frame = &builder->frames[builder->depth];
    *frame = (struct yaml_frame){ .node = add_node(builder->doc,
                                                   is_map ? json_object() : json_array()) };
    if (!frame->node)
        return no_memory(builder);
    frame->node->line = line;
    frame->node->column = column;
    if (anchor) {
        const char *name = token_text(anchor, &frame->anchor_len);

        frame->anchor = arena_strndup(&builder->doc->arena, name, frame->anchor_len);
        if (!frame->anchor)
            return no_memory(builder);
    }
    builder->depth++;
    return 0;
}

static int on_end(struct yaml_builder *builder)
{
    struct yaml_frame *frame = &builder->frames[--builder->depth];
    /* Known only now, so no value can hold itself. */
    int rc = add_anchor(builder, frame->anchor, frame->anchor_len, frame->node);

    return rc < 0 ? rc : place_node(builder, frame->node);
}

static int on_alias(struct yaml_builder *builder, struct fy_event *event)
{
    size_t len = 0;
    const char *name = token_text(event->alias.anchor, &len);
    struct yaml_node *node = find_anchor(builder->doc, name, len);
    uint32_t line = 1, column = 1;

    token_place(event->alias.anchor, &line, &column);
    column -= column > 1; /* the star */
    if (!node)
        return refuse_at(builder, -EINVAL, line, column, "no anchor \"%.*s\" before this",
                         (int)MIN(len, 60), name);
    if (wants_key(builder))
        return refuse_at(builder, -EINVAL, line, column, "expected a plain key, not an alias");
    return place_node(builder, node);
}

static int on_event(struct yaml_builder *builder, struct fy_event *event)
{
    uint32_t line = 1, column = 1;

    switch (event->type) {
    case FYET_DOCUMENT_START:
        token_place(event->document_start.document_start, &line, &column);
        if (builder->has_document)
            return refuse_at(builder, -EINVAL, line, column,
                             "a second document: one file holds one job");
        builder->has_document = true;
        return 0;
    case FYET_SCALAR:
        return on_scalar(builder, event);
    case FYET_ALIAS:
        return on_alias(builder, event);
    case FYET_MAPPING_START:
        return on_start(builder, event->mapping_start.mapping_start, event->mapping_start.anchor,
                        event->mapping_start.tag, true);
    case FYET_SEQUENCE_START:
        return on_start(builder, event->sequence_start.sequence_start, event->sequence_start.anchor,
                        event->sequence_start.tag, false);
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END:
        return on_end(builder);
    default:
        return 0;
    }
}

static void swallow(struct fy_diag *diag, void *user, const char *text, size_t len)
{
    (void)diag;
    (void)user;
    (void)text;
    (void)len;
}

/* The parser's own complaint, if it has one. */
static int tell_fault(struct yaml_builder *builder)
{
    void *iter = NULL;
    struct fy_diag_error *fault = fy_diag_errors_iterate(builder->doc->diag, &iter);

    if (!fault || !fault->msg)
        return err_set(builder->err, -EINVAL, "%s: not YAML", builder->doc->file);
    return refuse_at(builder, -EINVAL, (uint32_t)MAX(fault->line, 1),
                     (uint32_t)MAX(fault->column, 1), "not YAML: %.140s", fault->msg);
}

static int run_parser(struct yaml_builder *builder)
{
    struct fy_parser *parser = builder->doc->parser;
    struct fy_event *event;
    bool ended = false;
    int rc = 0;

    while (rc == 0 && !ended && (event = fy_parser_parse(parser)) != NULL) {
        rc = on_event(builder, event);
        ended = event->type == FYET_STREAM_END;
        fy_parser_event_free(parser, event);
    }
    if (rc == 0 && (!ended || fy_parser_get_stream_error(parser)))
        return tell_fault(builder);
    return rc;
}

static int check_bytes(struct yaml_builder *builder, const char *text, size_t len)
{
    uint32_t line = 1;
    size_t from = 0;

    if (spec_text_is_utf8(text, len))
        return 0;
    for (size_t at = 0; at <= len; at++) {
        if (at < len && text[at] != '\n')
            continue;
        if (!spec_text_is_utf8(text + from, at - from))
            return refuse_at(builder, -EINVAL, line, 1,
                             memchr(text + from, '\0', at - from) ? "a NUL byte: this is no text"
                                                                  : "bytes that are no UTF-8");
        from = at + 1;
        line++;
    }
    return refuse_at(builder, -EINVAL, line, 1, "bytes that are no UTF-8");
}

int yaml_parse(const char *file, const char *text, size_t len, struct yaml_doc **doc_out,
               struct err *err)
{
    CLEANUP(yaml_doc_destroyp) struct yaml_doc *doc = calloc(1, sizeof(*doc));
    struct yaml_builder builder = { .doc = doc, .err = err };
    struct fy_diag_cfg diag_cfg;
    struct fy_parse_cfg cfg = { .flags = FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE };
    int rc;

    if (!doc)
        return err_set(err, -ENOMEM, "%s: out of memory", file);
    doc->arena = arena_init(YAML_ARENA_BYTES_MAX);
    doc->file = file;
    if (len > SPEC_TEXT_BYTES_MAX)
        return err_set(err, -E2BIG, "%s: a job is at most %u KiB of text", file,
                       SPEC_TEXT_BYTES_MAX >> 10);
    rc = check_bytes(&builder, text, len);
    if (rc < 0)
        return rc;
    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    diag_cfg.output_fn = swallow;
    diag_cfg.colorize = false;
    doc->diag = fy_diag_create(&diag_cfg);
    if (!doc->diag)
        return no_memory(&builder);
    fy_diag_set_collect_errors(doc->diag, true);
    cfg.diag = doc->diag;
    doc->parser = fy_parser_create(&cfg);
    if (!doc->parser || fy_parser_set_string(doc->parser, text, len) < 0)
        return no_memory(&builder);
    rc = run_parser(&builder);
    if (rc == 0 && !doc->root)
        rc = err_set(err, -EINVAL, "%s: empty: expected a mapping of keys", file);
    if (rc < 0)
        return rc;
    *doc_out = TAKE(doc);
    return 0;
}

void yaml_doc_destroy(struct yaml_doc *doc)
{
    if (!doc)
        return;
    for (uint32_t i = doc->nodes_count; i-- > 0;)
        json_decref(doc->nodes[i]->value);
    free(doc->nodes);
    fy_parser_destroy(doc->parser);
    fy_diag_destroy(doc->diag);
    arena_fini(&doc->arena);
    free(doc);
}

void yaml_doc_destroyp(struct yaml_doc **doc)
{
    yaml_doc_destroy(*doc);
    *doc = NULL;
}

const json_t *yaml_doc_root(const struct yaml_doc *doc)
{
    return doc->root->value;
}

/* The member that `step` names; NULL for the root or what the document does not have. */
static const struct yaml_member *
find_member(const struct yaml_doc *doc, const struct spec_step *step, const struct yaml_node **node)
{
    const struct spec_step *way[SPEC_DEPTH_MAX + 2];
    const struct yaml_member *member = NULL;
    size_t depth = 0;

    *node = doc->root;
    for (; step && step->up && depth < ARRAY_COUNT(way); step = step->up)
        way[depth++] = step;
    while (depth-- > 0) {
        const struct spec_step *next = way[depth];
        const struct yaml_member *found = NULL;

        if (!next->key && next->index < (*node)->members_count)
            found = &(*node)->members[next->index];
        for (uint32_t i = 0; next->key && i < (*node)->members_count; i++)
            if ((*node)->members[i].key && strcmp((*node)->members[i].key, next->key) == 0)
                found = &(*node)->members[i];
        if (!found)
            break; /* what is missing stands where its parent is */
        member = found;
        *node = found->node;
    }
    return member;
}

static struct spec_place find_place(const void *context, const struct spec_step *step, bool at_key)
{
    const struct yaml_doc *doc = context;
    const struct yaml_node *node;
    const struct yaml_member *member = find_member(doc, step, &node);
    struct spec_place place = { .file = doc->file, .line = node->line, .column = node->column };

    if (at_key && member && member->key) {
        place.line = member->line;
        place.column = member->column;
    }
    return place;
}

static const char *find_text(const void *context, const struct spec_step *step, size_t *len_out)
{
    const struct yaml_node *node;

    find_member(context, step, &node);
    *len_out = node->text_len;
    return node->text;
}

struct spec_locator yaml_doc_locator(const struct yaml_doc *doc)
{
    return (struct spec_locator){ .find = find_place, .text = find_text, .context = doc };
}

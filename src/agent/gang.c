#include "agent/gang.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

int gang_print(const char *spec_json, const struct wire_part *parts, uint32_t parts_count,
               struct attempt_order *order, struct buf *out)
{
    CLEANUP(freep) char *text = NULL;
    json_t *list = json_array();
    size_t spec_len;
    int rc = buf_add_text(out, spec_json);

    spec_len = out->len;
    for (uint32_t i = 0; i < parts_count; i++)
        json_array_append_new(list, json_pack("[s,s,I]", parts[i].node, parts[i].address,
                                              (json_int_t)parts[i].tasks));
    if (json_array_size(list) == parts_count)
        text = json_dumps(list, JSON_COMPACT);
    json_decref(list);
    if (rc == 0)
        rc = text ? buf_add_text(out, text) : -ENOMEM;
    if (rc < 0)
        return rc;
    order->spec_len = (uint32_t)spec_len;
    order->gang_len = (uint32_t)(out->len - spec_len);
    return 0;
}

static int take_node(const json_t *row, struct arena *arena, struct rank_node *node)
{
    const json_t *tasks = json_array_get(row, 2);
    const char *name = json_string_value(json_array_get(row, 0));
    const char *address = json_string_value(json_array_get(row, 1));

    if (!name || !address || !json_is_integer(tasks) || json_integer_value(tasks) < 0 ||
        json_integer_value(tasks) > UINT32_MAX)
        return -EBADMSG;
    node->name = arena_strdup(arena, name);
    node->address = *address ? arena_strdup(arena, address) : node->name;
    node->tasks = (uint32_t)json_integer_value(tasks);
    return node->name && node->address ? 0 : -ENOMEM;
}

int gang_parse(const char *text, size_t len, uint32_t count, struct arena *arena,
               struct rank_node **nodes_out, struct err *err)
{
    json_t *list = json_loadb(text, len, 0, NULL);
    struct rank_node *nodes = arena_alloc(arena, MAX(count, 1u), sizeof(*nodes));
    int rc = nodes ? 0 : -ENOMEM;

    if (rc == 0 && (!json_is_array(list) || json_array_size(list) != count))
        rc = -EBADMSG;
    for (uint32_t i = 0; rc == 0 && i < count; i++)
        rc = take_node(json_array_get(list, i), arena, &nodes[i]);
    json_decref(list);
    if (rc < 0)
        return err_set(err, rc, "the nodes of the attempt cannot be read");
    *nodes_out = nodes;
    return 0;
}

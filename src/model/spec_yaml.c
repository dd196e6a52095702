#include "base/file.h"
#include "model/spec.h"
#include "model/spec_key.h"
#include "model/yaml.h"

#include <errno.h>
#include <string.h>

int spec_parse_yaml(const char *file, const char *text, size_t len, struct job_spec **spec_out,
                    struct spec_warnings *warnings, struct err *err)
{
    CLEANUP(yaml_doc_destroyp) struct yaml_doc *doc = NULL;
    struct spec_locator locator;
    int rc = yaml_parse(file, text, len, &doc, err);

    if (rc < 0)
        return rc;
    locator = yaml_doc_locator(doc);
    if (spec_is_skypilot(yaml_doc_root(doc)))
        return spec_read_skypilot(yaml_doc_root(doc), &locator, spec_out, warnings, err);
    return spec_parse_json(yaml_doc_root(doc), &locator, spec_out, err);
}

static bool is_script(const char *text, size_t len)
{
    static const char mark[] = "#SBATCH";

    if (len >= 2 && text[0] == '#' && text[1] == '!')
        return true;
    for (size_t at = 0; at + sizeof(mark) <= len; at++) {
        const char *end = memchr(text + at, '\n', len - at);

        if (memcmp(text + at, mark, sizeof(mark) - 1) == 0 &&
            (text[at + sizeof(mark) - 1] == ' ' || text[at + sizeof(mark) - 1] == '\t'))
            return true;
        if (!end)
            break;
        at = (size_t)(end - text);
    }
    return false;
}

int spec_parse_file(const char *path, struct job_spec **spec_out, struct spec_warnings *warnings,
                    struct err *err)
{
    CLEANUP(buf_fini) struct buf text = buf_init(SPEC_TEXT_BYTES_MAX);
    int rc = file_read(path, &text, err);
    const char *data = text.data ? text.data : "";

    if (rc == -EFBIG)
        return err_set(err, -E2BIG, "%s: a job is at most %u KiB of text", path,
                       SPEC_TEXT_BYTES_MAX >> 10);
    if (rc < 0)
        return rc;
    if (is_script(data, text.len))
        return spec_parse_sbatch(path, data, text.len, spec_out, warnings, err);
    return spec_parse_yaml(path, data, text.len, spec_out, warnings, err);
}

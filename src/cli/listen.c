#include "cli/listen.h"

#include "model/units.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int listen_parse(const char *text, uint16_t port_default, struct listen_place *place_out,
                 struct err *err)
{
    struct listen_place place = { "127.0.0.1", port_default };
    const char *close = text[0] == '[' ? strchr(text, ']') : NULL;
    const char *start = close ? text + 1 : text;
    const char *end = close ? close : strchr(text, ':');
    const char *port = NULL;
    int64_t number;

    if (close && close[1] == ':')
        port = close + 2;
    else if (close && close[1])
        return err_set(err, -EINVAL, "\"%s\": expected [ADDRESS]:PORT", text);
    else if (!close && end && strchr(end + 1, ':'))
        return err_set(err, -EINVAL, "\"%s\": write an IPv6 address as [ADDRESS]:PORT", text);
    else if (!close && end)
        port = end + 1;
    else if (!close && text[strspn(text, "0123456789")] == '\0')
        port = text;
    if (port != text) {
        size_t len = end ? (size_t)(end - start) : strlen(start);

        if (len == 0 || len >= sizeof(place.address))
            return err_set(err, -EINVAL, "\"%s\": expected ADDRESS:PORT", text);
        snprintf(place.address, sizeof(place.address), "%.*s", (int)len, start);
    }
    if (port) {
        int rc = units_parse_int(port, 0, 65535, &number, err);

        if (rc < 0)
            return err_set(err, -EINVAL, "\"%s\": the port is a number from 0 to 65535", text);
        place.port = (uint16_t)number;
    }
    *place_out = place;
    return 0;
}

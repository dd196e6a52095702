#include "agent/libexec.h"

#include "base/cleanup.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool libexec_find(const char *name, char path_out[PATH_MAX])
{
    static const char *const places[] = { "../libexec/mains", ".", "../agent",
                                          "../../../src/agent" };
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;

    if (len <= 0)
        return false;
    self[len] = '\0';
    slash = strrchr(self, '/');
    if (!slash)
        return false;
    *slash = '\0';
    for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
        int put = snprintf(path_out, PATH_MAX, "%s/%s/%s", self, places[i], name);

        if (put > 0 && put < PATH_MAX && access(path_out, X_OK) == 0)
            return true;
    }
    return false;
}

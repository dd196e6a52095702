#include "agent/criu.h"

#include "agent/libexec.h"
#include "agent/vendor.h"

#include <errno.h>
#include <unistd.h>

#define CHECK_MS 10000
#define CHECK_BYTES_MAX 65536u

int criu_find(char criu_out[PATH_MAX], char keeper_out[PATH_MAX], struct err *err)
{
    if (!vendor_tool_find("criu", NULL, criu_out, PATH_MAX))
        return err_set(err, -ENOENT, "there is no program criu on this machine");
    if (!libexec_find(CRIU_KEEPER, keeper_out))
        return err_set(err, -ENOENT, "libexec/mains/" CRIU_KEEPER " is not installed");
    return 0;
}

int criu_check(struct err *err)
{
    static const char *const argv[] = { "criu", "check", NULL };
    CLEANUP(buf_fini) struct buf out = buf_init(CHECK_BYTES_MAX);
    char criu[PATH_MAX], keeper[PATH_MAX];
    struct err said;

    if (geteuid() != 0)
        return err_set(err, -ENOTSUP, "CRIU needs an agent that is root");
    if (criu_find(criu, keeper, err) < 0)
        return -ENOTSUP;
    if (vendor_tool_run(criu, argv, NULL, CHECK_MS, &out, &said) < 0)
        return err_set(err, -ENOTSUP, "this machine's kernel cannot do it, says `criu check` (%s)",
                       said.text);
    return 0;
}

/* web.h - an input from a web address, into a store: fetched, bounded, checked against its digest.
 * One whose digest is told is fetched once as long as the store keeps it. */
#pragma once

#include "base/err.h"
#include "store/store.h"

/* `digest`: "sha256:HEX" or "blake2b:HEX", or NULL. `folder`: where it may lie on its way. The tree
 * has one entry, `file`. -EINVAL, -ENOENT, -EACCES, -EFBIG: it will not come; -EAGAIN: not now;
 * -EPROTO: something else came than the digest says. */
int web_fetch(struct store *store, const char *url, const char *digest, const char *folder,
              int64_t bytes_max, struct store_id *id_out, struct err *err);

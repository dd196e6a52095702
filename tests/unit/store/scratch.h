/* scratch.h - a folder for a test of the store, and files with seeds in it. */
#pragma once

#include "base/file.h"
#include "base/rng.h"
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static inline int scratch_make(void **state)
{
    char *folder = strdup("/tmp/mains-store-test.XXXXXX");

    *state = folder;
    return folder && mkdtemp(folder) ? 0 : -1;
}

static inline int scratch_remove(void **state)
{
    int rc = dir_remove(*state, NULL);

    free(*state);
    return rc;
}

/* "FOLDER/NAME", good until the next but seven call. */
static inline const char *scratch_path(const char *folder, const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static inline void scratch_fill(uint8_t *data, size_t len, uint64_t seed)
{
    struct rng rng = { .state = seed };

    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(rng_next(&rng) >> 40);
}

static inline void scratch_write(const char *path, const void *data, size_t len)
{
    assert_int_equal(file_write(path, data, len, 0644, false, NULL), 0);
}

static inline void scratch_random(const char *path, size_t len, uint64_t seed)
{
    CLEANUP(freep) uint8_t *data = malloc(len + 1);

    scratch_fill(data, len, seed);
    scratch_write(path, data, len);
}

static inline void scratch_same(const char *a, const char *b)
{
    CLEANUP(buf_fini) struct buf x = buf_init((size_t)64 << 20);
    CLEANUP(buf_fini) struct buf y = buf_init((size_t)64 << 20);

    assert_int_equal(file_read(a, &x, NULL), 0);
    assert_int_equal(file_read(b, &y, NULL), 0);
    assert_int_equal(x.len, y.len);
    if (x.len)
        assert_memory_equal(x.data, y.data, x.len);
}

static inline struct store *scratch_open(const char *path, const struct store_params *params)
{
    struct store *store = NULL;
    struct err err = { .text = "" };

    if (store_open(path, params, &store, &err) < 0)
        fail_msg("%s", err.text);
    return store;
}

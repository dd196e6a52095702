/* store_bench.c - the store's put and get of one file, timed; and the files to do it with.
 *   store_bench make FILE MIB SEED      float32 weights, as a checkpoint has them
 *   store_bench edit FILE SEED          change 5 % of it, in eight places
 *   store_bench hash                    MB/s of what could name chunks, one thread: BLAKE2b of one,
 *                                       SHA-256 of one, BLAKE2b of thirty-two side by side
 *   store_bench put STORE FILE          a line: ms id content_bytes new_bytes moved_bytes
 *   store_bench get STORE ID FOLDER     a line: ms */
#include "base/clock.h"
#include "base/file.h"
#include "base/rng.h"
#include "store/blake2b_many.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BLOCK_FLOATS 262144u
#define PLACES 8

/* Roughly normal weights: what makes real checkpoints shrink by a tenth is their exponents. */
static void fill_floats(float *block, size_t count, struct rng *rng)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t word = rng_next(rng);
        int64_t sum = 0;

        for (int part = 0; part < 4; part++)
            sum += (int64_t)(word >> (16 * part) & 0xffff) - 32768;
        block[i] = (float)sum * 3e-7f;
    }
}

static int write_floats(int fd, int64_t at, int64_t bytes, uint64_t seed)
{
    CLEANUP(freep) float *block = malloc(BLOCK_FLOATS * sizeof(*block));
    struct rng rng = { .state = seed };

    if (!block || lseek(fd, at, SEEK_SET) < 0)
        return -1;
    while (bytes > 0) {
        size_t part = (size_t)MIN(bytes, (int64_t)(BLOCK_FLOATS * sizeof(*block)));

        fill_floats(block, (part + 3) / 4, &rng);
        if (file_write_all(fd, (const char *)block, part) < 0)
            return -1;
        bytes -= (int64_t)part;
    }
    return 0;
}

static int make(const char *path, const char *mib, const char *seed)
{
    CLEANUP(closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    return fd < 0 ? -1
                  : write_floats(fd, 0, strtoll(mib, NULL, 10) << 20, strtoull(seed, NULL, 10));
}

static int edit(const char *path, const char *seed)
{
    CLEANUP(closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    for (int place = 0; place < PLACES; place++)
        if (write_floats(fd, st.st_size / PLACES * place + 12345, st.st_size / 20 / PLACES,
                         strtoull(seed, NULL, 10) + (uint64_t)place) < 0)
            return -1;
    return 0;
}

static double cpu_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int hash(void)
{
    static uint8_t data[131072];
    uint8_t digest[SHA256_DIGEST_SIZE];
    struct blake2b_piece pieces[32];
    double start = cpu_seconds(), sha, blake, many;

    for (int i = 0; i < 1000; i++) {
        struct sha256_ctx context;

        sha256_init(&context);
        sha256_update(&context, sizeof(data), data);
        sha256_digest(&context, sizeof(digest), digest);
        data[0] = digest[0];
    }
    sha = cpu_seconds() - start;
    start = cpu_seconds();
    for (int i = 0; i < 1000; i++) {
        blake2b_of(data, sizeof(data), digest);
        data[0] = digest[0];
    }
    blake = cpu_seconds() - start;
    start = cpu_seconds();
    for (size_t i = 0; i < ARRAY_COUNT(pieces); i++)
        pieces[i] = (struct blake2b_piece){ .data = data, .len = sizeof(data) - i * 1000 };
    for (int i = 0; i < 32; i++) {
        blake2b_many(pieces, ARRAY_COUNT(pieces));
        data[0] = pieces[i].digest[0];
    }
    many = cpu_seconds() - start;
    printf("%.0f %.0f %.0f\n", 1000 * sizeof(data) / blake / 1e6, 1000 * sizeof(data) / sha / 1e6,
           32.0 * ARRAY_COUNT(pieces) * (sizeof(data) - 15500) / many / 1e6);
    return 0;
}

static int put(const char *folder, const char *path)
{
    CLEANUP(store_closep) struct store *store = NULL;
    char name[STORE_ID_TEXT_BYTES];
    struct store_put_result result;
    struct store_id id;
    struct err err;
    int64_t start = clock_mono_us();

    if (store_open(folder, NULL, &store, &err) < 0 ||
        store_put(store, AT_FDCWD, path, &id, &result, &err) < 0) {
        fprintf(stderr, "store_bench: %s\n", err.text);
        return -1;
    }
    store_id_format(&id, name);
    printf("%.1f %s %" PRId64 " %" PRId64 " %" PRId64 "\n", (double)(clock_mono_us() - start) / 1e3,
           name, result.content_bytes, result.new_bytes,
           result.stored_bytes + result.manifest_bytes);
    return 0;
}

static int get(const char *folder, const char *name, const char *path)
{
    CLEANUP(store_closep) struct store *store = NULL;
    struct store_id id;
    struct err err = { .text = "not an id" };
    int64_t start = clock_mono_us();

    if (!store_id_parse(name, strlen(name), &id) || store_open(folder, NULL, &store, &err) < 0 ||
        store_get(store, &id, AT_FDCWD, path, &err) < 0) {
        fprintf(stderr, "store_bench: %s\n", err.text);
        return -1;
    }
    printf("%.1f\n", (double)(clock_mono_us() - start) / 1e3);
    return 0;
}

int main(int argc, char **argv)
{
    int rc = -1;

    if (argc == 5 && strcmp(argv[1], "make") == 0)
        rc = make(argv[2], argv[3], argv[4]);
    else if (argc == 4 && strcmp(argv[1], "edit") == 0)
        rc = edit(argv[2], argv[3]);
    else if (argc == 2 && strcmp(argv[1], "hash") == 0)
        rc = hash();
    else if (argc == 4 && strcmp(argv[1], "put") == 0)
        rc = put(argv[2], argv[3]);
    else if (argc == 5 && strcmp(argv[1], "get") == 0)
        rc = get(argv[2], argv[3], argv[4]);
    else
        fprintf(stderr, "usage: store_bench make|edit|hash|put|get ...\n");
    return rc < 0 ? 1 : 0;
}

/* replay.c - run a fuzz target over the files of a folder, as a TAP test. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    long size;

    if (!file)
        return -1;
    if (fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 0 &&
        fseek(file, 0, SEEK_SET) == 0) {
        /* Exactly as long as the input, so that a sanitizer sees a read past its end. */
        data = malloc(size ? (size_t)size : 1);
        if (data && fread(data, 1, (size_t)size, file) == (size_t)size)
            LLVMFuzzerTestOneInput(data, (size_t)size);
    }
    fclose(file);
    free(data);
    return 0;
}

int main(int argc, char **argv)
{
    struct dirent *entry;
    int count = 0;
    DIR *dir;

    if (argc != 2 || !(dir = opendir(argv[1]))) {
        printf("1..1\nnot ok 1 - no corpus folder\n");
        return 1;
    }
    while ((entry = readdir(dir)) != NULL) {
        char path[4096];

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name);
        if (run_file(path) == 0)
            count++;
    }
    closedir(dir);
    printf("1..1\n%sok 1 - %d inputs of %s\n", count ? "" : "not ", count, argv[1]);
    return count ? 0 : 1;
}

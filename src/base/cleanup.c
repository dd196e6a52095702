#include "base/cleanup.h"

#include <stdlib.h>
#include <unistd.h>

void freep(void *pointer_to_pointer)
{
    free(*(void **)pointer_to_pointer);
}

void closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

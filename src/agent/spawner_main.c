/* mains-spawner: the spawner as a program of its own.
 *
 * It needs few of the libraries that the agent is linked with, and every fork below it (a
 * supervisor, process 1 of a sandbox) copies, and every exit takes down, what is mapped: 50
 * mappings here, 230 there. Started by spawner_start only. */
#include "agent/spawner.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    struct supervisor_place place;
    struct err err = { 0 };
    int fd;

    if (spawner_read_args(argc, argv, &fd, &place, &err) < 0) {
        fprintf(stderr, "mains-spawner: %s\n", err.text);
        return 1;
    }
    spawner_serve(fd, &place);
}

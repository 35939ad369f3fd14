/*
 * How a child is started: shared by process.c and run.c alone.
 */
#ifndef SYS_PROCESS_PARTS_H
#define SYS_PROCESS_PARTS_H

#include <stdbool.h>
#include <sys/types.h>

struct child {
    const char *path;
    char *const *argv;
    char *const *envp;
    int input_fd;  /* its descriptor 0; -1: /dev/null */
    int socket_fd; /* its descriptor 3; -1: none */
    bool foreign;  /* no program of ours: its descriptor 2 is /dev/null, too, its folder / */
};

/* As process_spawn(), which is built on it. */
int child_spawn(const struct child *c, pid_t *ret_pid, int *ret_pid_fd);

#endif

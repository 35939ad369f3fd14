/*
 * Processes: hardening of our own, peers, and children.
 */
#ifndef SYS_PROCESS_H
#define SYS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Not dumpable, not traceable by others of the same uid, no core files, umask 077, SIGPIPE ignored,
 * descriptors 0–2 open. First thing in every program that sees a secret. */
int process_harden(void);

/* uid and pid of the process at the other end of a unix socket. */
int peer_of(int fd, uid_t *ret_uid, pid_t *ret_pid);

/* Start `path` with `argv`, exactly `envp`, its own session, `socket_fd` as descriptor 3, nothing
 * else inherited but 0–2 (0 and 1 from /dev/null). `*ret_pid_fd` (pidfd) polls readable on exit.
 * ERR_NOT_FOUND, ERR_DENIED, ERR_NOMEM. */
int process_spawn(const char *path, char *const argv[], char *const envp[], int socket_fd,
                  pid_t *ret_pid, int *ret_pid_fd);

/* Message-keeping local sockets with descriptors (SOCK_SEQPACKET, close-on-exec, non-blocking). */
#define PACKET_MAX (160 * 1024)
int packet_pair(int ret_fds[2]);
/* `pass_fd` -1: none. ERR_AGAIN, ERR_CLOSED, ERR_TOO_LARGE. */
int packet_send(int fd, const void *bytes, size_t len, int pass_fd);
/* Bytes received (0: closed), or negative. `*ret_fd` -1 when none came; more than one are closed. */
int packet_recv(int fd, void *bytes, size_t size, int *ret_fd);

/* Path of a program of ours that stands beside the running one (libexec lookup):
 * $CREDWARDEN_LIBEXEC, then the folder of /proc/self/exe, then the installed one. */
int program_path(const char *name, char *ret, size_t size);
/* The running program's file was replaced since it started (an upgrade). */
bool program_is_replaced(void);

#endif

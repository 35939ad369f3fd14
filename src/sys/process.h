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

/* Not dumpable, not traceable by others of the same uid, no core files, umask 077, SIGPIPE and
 * SIGXFSZ ignored, descriptors 0–2 open. First thing in every program that sees a secret. */
int process_harden(void);

/* As many descriptors at once as we are allowed, at most `max`; fewer are never asked for.
 * Inherited by children. Returns how many there are now. */
uint64_t process_raise_descriptors(uint64_t max);

/* Whether so many more (at most 64) can be open now. */
bool process_has_descriptors(int n);

uid_t process_uid(void); /* whose we are: the effective one */

/* What is taken away from the mode of every file made from now on, by all threads. Returns what it
 * was. For what another library makes by path; our own files say their mode themselves. */
mode_t process_umask(mode_t mask);

/* uid and pid of the process at the other end of a unix socket. */
int peer_of(int fd, uid_t *ret_uid, pid_t *ret_pid);

/* "NAME=value" each, and a NULL at the end: as it is now, not a copy. */
char *const *process_environment(void);

/* Start `path` with `argv`, exactly `envp`, its own session, signals as at login, `socket_fd` as
 * descriptor 3 (-1: none), nothing else inherited but 0–2 (0 and 1 from /dev/null). On return the
 * program runs. `*ret_pid_fd` (pidfd, the caller's to close) polls readable on exit; then
 * process_reap(). ERR_NOT_FOUND, ERR_DENIED, ERR_NOMEM, ERR_BUSY (a limit on processes). */
int process_spawn(const char *path, char *const argv[], char *const envp[], int socket_fd,
                  pid_t *ret_pid, int *ret_pid_fd);
/* Let go of a child that has exited. One that has not is waited for, or left alone. */
void process_reap(pid_t pid, bool may_wait);
/* SIGKILL, also to one that is stopped. Its end shows at the pidfd, as ever. */
void process_end(int pid_fd);

struct process_ending {
    int exit_code; /* 0 to 255; not when a signal ended it */
    int signal;    /* 0: none did */
};
/* Run `path` to its end, waiting for it; on any thread, while SIGPIPE is ignored. It gets `len`
 * bytes and their end on descriptor 0 (and may leave them unread), /dev/null as 1 and 2, nothing
 * else; exactly `envp`, its own session, signals as at login, the folder /. What it has started and
 * left running goes on. ERR_TIMEOUT after `limit_ms`, not counting suspend: it was killed, with all
 * of its process group. Else as process_spawn(). */
int process_run(const char *path, char *const argv[], char *const envp[], const void *input,
                size_t len, int64_t limit_ms, struct process_ending *ret);

/* Message-keeping local sockets with descriptors (SOCK_SEQPACKET, close-on-exec, non-blocking). */
#define PACKET_MAX (160 * 1024)
int packet_pair(int ret_fds[2]);
/* `pass_fd` -1: none. ERR_AGAIN, ERR_CLOSED, ERR_TOO_LARGE, ERR_INVALID (an empty packet). */
int packet_send(int fd, const void *bytes, size_t len, int pass_fd);
/* Bytes received (0: closed), or negative; a packet larger than `size` is dropped (ERR_TOO_LARGE).
 * `*ret_fd` -1 when none came; descriptors beyond the first are closed, all of them when `ret_fd`
 * is NULL. */
int packet_recv(int fd, void *bytes, size_t size, int *ret_fd);

/* Path of a program of ours that stands beside the running one (libexec lookup):
 * $CREDWARDEN_LIBEXEC, then the folder of /proc/self/exe, then the installed one. ERR_NOT_FOUND: it
 * is in none of them; else why one of them could not be looked at, or what is there not be run. */
int program_path(const char *name, char *ret, size_t size);
/* The running program's file was replaced since it started (an upgrade). A file that is gone with
 * nothing in its place is not replaced. */
bool program_is_replaced(void);

#endif

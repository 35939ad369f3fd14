/*
 * credwarden-spender: asks providers on behalf of the daemon, and makes the answer of each spend
 * durable before anybody hears of it. Started by the daemon, which talks on descriptor 3; of no use
 * to people.
 */
#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/exits.h"
#include "issuer/spender/desk.h"
#include "issuer/spender/exchange.h"
#include "issuer/spender/sandbox.h"
#include "json/json.h"
#include "sys/file.h"
#include "sys/process.h"

#define SOCKET_FD 3

static int complain(const char *what)
{
    fprintf(stderr, "credwarden-spender: %s\n", what);
    return EXIT_FAILED;
}

static bool is_packet_socket(int fd)
{
    int type = 0;
    socklen_t size = sizeof(type);
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

/* Requests to stop arrive as something to poll; a terminal that goes away is not one. */
static int open_stop_fd(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 || signal(SIGHUP, SIG_IGN) == SIG_ERR)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Each exchange takes a few descriptors, and a spend one more: the usual 1024 is short. */
static void allow_many_fds(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int serve(const struct desk_options *o)
{
    struct sandbox_facts sandbox;
    int err = sandbox_enter(&sandbox);
    if (err < 0) {
        (void)complain("there is no memory for the sandbox");
        _exit(EXIT_FAILED); /* and no library cleans up behind it */
    }
    err = desk_run(o, &sandbox);
    if (err < 0)
        return complain(err_reason(err));
    return EXIT_OK;
}

int main(int argc, char **argv)
{
    struct desk_options o = {.socket_fd = SOCKET_FD, .stop_fd = -1};
    if (process_harden() < 0)
        return complain("cannot harden itself");
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("credwarden-spender " CREDWARDEN_VERSION);
        return EXIT_OK;
    }
    if (argc == 2 && strcmp(argv[1], "--verbose") == 0)
        o.verbose = true;
    else if (argc > 1)
        return complain("unknown option; it takes --verbose and --version"), EXIT_USAGE;
    if (!is_packet_socket(SOCKET_FD))
        return complain("this is a part of credwardend, which starts it by itself"), EXIT_USAGE;

    json_use_secret_memory();
    allow_many_fds();
    o.stop_fd = open_stop_fd();
    if (sodium_init() < 0 || o.stop_fd < 0 || exchange_library_init() < 0)
        return complain("cannot prepare its libraries");
    int status = serve(&o);
    exchange_library_cleanup();
    fd_close(&o.stop_fd);
    return status;
}

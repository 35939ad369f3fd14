/*
 * credwarden-lab-client: works with the lab's tokens, as today's tools do or through a command, and
 * says on standard output how each request went.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/exits.h"
#include "base/str.h"
#include "lab/client.h"
#include "sys/clock.h"

#define EXIT_DIED 3

struct line { /* what is told of one request */
    struct now start;
    int status; /* of the last answer; 0 none */
    bool ok, retried, died;
    char error[CLIENT_ERROR_SIZE];
};

/* In one write, so that the lines of several processes never mix. */
static void print_line(const struct client *c, const struct line *l)
{
    int64_t took_ms = clock_now().boot_ms - l->start.boot_ms;
    const char *quote = l->error[0] == '\0' ? "" : "\"";
    char text[512];
    int n;

    if (l->died)
        n = snprintf(text, sizeof(text), "{\"t\":%" PRId64 ",\"name\":\"%s\",\"died\":\"%s\"}\n",
                     l->start.wall_ms, c->name, l->error);
    else
        n = snprintf(
            text, sizeof(text),
            "{\"t\":%" PRId64 ",\"ms\":%" PRId64 ",\"name\":\"%s\",\"ok\":%s,\"status\":%d,"
            "\"retried\":%s,\"error\":%s%s%s}\n",
            l->start.wall_ms, took_ms, c->name, l->ok ? "true" : "false", l->status,
            l->retried ? "true" : "false", quote, l->error[0] == '\0' ? "null" : l->error, quote);
    if (write(STDOUT_FILENO, text, (size_t)n) != n)
        exit(EXIT_FAILED);
}

/* The work itself. */
static void work(const struct client *c, const char *token, struct line *l)
{
    struct buf body;
    int err;

    buf_init(&body, CLIENT_ANSWER_MAX);
    l->status = 0;
    l->error[0] = '\0';
    err = client_post(c, "/v1/messages", token, "application/json", "{\"max_tokens\":1}",
                      &l->status, &body);
    l->ok = err == 0 && l->status == 200 && strstr(buf_text(&body), "message_stop") != NULL;
    if (err != 0)
        snprintf(l->error, sizeof(l->error), "messages: %s", err_name(err));
    else if (!l->ok)
        snprintf(l->error, sizeof(l->error), "messages: status %d", l->status);
    buf_release(&body);
}

static enum fetch fetch(const struct client *c, const char *bad, char *token, char *error)
{
    return c->command != NULL ? command_fetch(c, token, error) : store_fetch(c, bad, token, error);
}

/* One request with at most one retry. */
static void request(const struct client *c, struct line *l)
{
    static char token[CLIENT_TOKEN_SIZE], again[CLIENT_TOKEN_SIZE];
    enum fetch got;

    *l = (struct line){.start = clock_now()};
    got = fetch(c, NULL, token, l->error);
    if (got == FETCH_TOKEN)
        work(c, token, l);
    if (got == FETCH_TOKEN && (l->status == 401 || l->status == 403)) {
        l->retried = true;
        got = fetch(c, token, again, l->error);
        if (got == FETCH_TOKEN)
            work(c, again, l);
    }
    l->died = got == FETCH_DIED;
}

static int run(const struct client *c)
{
    int64_t start_ms = clock_now().boot_ms;
    struct line l;

    for (int64_t due_ms = start_ms; due_ms - start_ms < c->until_ms; due_ms += c->period_ms) {
        int64_t wait_ms = due_ms - clock_now().boot_ms;

        if (wait_ms > 0)
            (void)usleep((useconds_t)(wait_ms * 1000));
        else
            due_ms -= wait_ms; /* late: no catching up in a burst */
        request(c, &l);
        print_line(c, &l);
        if (l.died)
            return EXIT_DIED;
    }
    return EXIT_OK;
}

/* One of several: its own process and name, gone when its parent is. */
static _Noreturn void run_one_of(const struct client *c, int64_t number)
{
    struct client mine = *c;
    char name[NAME_MAX_LEN + 24];

    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    snprintf(name, sizeof(name), "%s-%" PRId64, c->name, number);
    mine.name = name;
    _exit(run(&mine));
}

static int run_several(const struct client *c)
{
    int result = EXIT_OK;
    int status;

    for (int64_t i = 1; i <= c->processes; i++) {
        pid_t pid = fork();

        if (pid == 0)
            run_one_of(c, i);
        if (pid < 0)
            result = EXIT_FAILED;
    }
    while (waitpid(-1, &status, 0) > 0 || errno == EINTR) {
        int code = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;

        if (code != EXIT_OK && result != EXIT_DIED)
            result = code;
    }
    return result;
}

static const char usage[] =
    "usage: credwarden-lab-client --lab URL --name NAME --store FILE [option…]\n"
    "       credwarden-lab-client --lab URL --name NAME [option…] --token-command -- COMMAND…\n"
    "  --clients N          so many processes, NAME-1 … NAME-N (1)\n"
    "  --period-ms N        between requests (200)\n"
    "  --ahead-ms N         refresh when less life is left (300000)\n"
    "  --until-seconds N    ends after that (10)\n";

static int take(struct client *c, const char *option, const char *value)
{
    int64_t seconds;

    if (strcmp(option, "--lab") == 0)
        c->lab = value;
    else if (strcmp(option, "--store") == 0)
        c->store = value;
    else if (strcmp(option, "--name") == 0 && name_is_valid(value))
        c->name = value;
    else if (strcmp(option, "--clients") == 0)
        return str_to_i64(value, 1, CLIENT_PROCESSES_MAX, &c->processes);
    else if (strcmp(option, "--period-ms") == 0)
        return str_to_i64(value, 1, 60000, &c->period_ms);
    else if (strcmp(option, "--ahead-ms") == 0)
        return str_to_i64(value, 0, INT32_MAX, &c->ahead_ms);
    else if (strcmp(option, "--until-seconds") == 0 && str_to_i64(value, 1, 86400, &seconds) == 0)
        c->until_ms = seconds * SECOND_MS;
    else
        return ERR_INVALID;
    return 0;
}

static int options_parse(int argc, char *argv[], struct client *c)
{
    bool by_command = false;
    int i = 1;

    *c = (struct client){
        .processes = 1, .period_ms = 200, .ahead_ms = 300000, .until_ms = 10 * SECOND_MS};
    for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--token-command") == 0)
            by_command = true;
        else if (i + 1 == argc || take(c, argv[i], argv[i + 1]) != 0)
            return ERR_INVALID;
        else
            i++;
    }
    if (i + 1 < argc)
        c->command = argv + i + 1;
    if (c->lab == NULL || c->name == NULL || by_command != (c->command != NULL) ||
        by_command == (c->store != NULL))
        return ERR_INVALID;
    return 0;
}

int main(int argc, char *argv[])
{
    struct client c;

    if (options_parse(argc, argv, &c) != 0) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    return c.processes == 1 ? run(&c) : run_several(&c);
}

/*
 * credwarden-lab: an authorization server with every known quirk, in memory, on loopback, for tests
 * and the demo. README.md says how to use it.
 */
#include <errno.h>
#include <signal.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/exits.h"
#include "base/str.h"
#include "lab/server.h"
#include "sys/clock.h"

struct options {
    struct settings settings;
    const char *address;
    const char *log_path;
    int port;
    int64_t max_ms;
    bool quiet;
};

static const char usage[] =
    "usage: credwarden-lab [option…]\n"
    "  --bind ADDRESS           loopback only (127.0.0.1)\n"
    "  --port N                 0 takes a free one (0)\n"
    "  --log FILE               append every event as a JSON line\n"
    "  --max-seconds N          ends by itself after that (600)\n"
    "  --quiet                  no summary at the end\n"
    "  --access-life TIME       of access tokens (5s)\n"
    "  --refresh-life TIME      of a login (30d)\n"
    "  --rotate [on|off], --no-rotate   refresh tokens are single use (on)\n"
    "  --family-revocation on|off   reuse ends the family (on)\n"
    "  --grace TIME             a spent token may be presented again this long (0s)\n"
    "  --kills-access on|off    a rotation ends the old access token (off)\n"
    "  --delay-before TIME, --delay-after TIME   of token requests, around the commit (0s)\n"
    "  --stream-pause TIME      between the events of /v1/messages (20ms)\n"
    "  --usage-gap TIME         one usage answer a family in this time (0s: no limit)\n"
    "  --token-limit N, --token-window TIME   token requests let through in each window (all)\n"
    "  --token-retry-after on|off   the others are told when it ends (off)\n"
    "  --date-offset TIME       the Date header is ahead by this much (0s)\n"
    "  --dialect older|newer|oidc   how access tokens are refused (newer)\n";

static int take_own(struct options *o, const char *option, const char *value, struct err_text *text)
{
    int64_t n;

    if (strcmp(option, "bind") == 0) {
        o->address = value;
    } else if (strcmp(option, "log") == 0) {
        o->log_path = value;
    } else if (strcmp(option, "port") == 0) {
        if (str_to_i64(value, 0, 65535, &n) != 0)
            return err_say(text, ERR_INVALID, "--port wants 0 to 65535, not \"%s\"", value);
        o->port = (int)n;
    } else if (strcmp(option, "max-seconds") == 0) {
        if (str_to_i64(value, 1, 86400, &n) != 0)
            return err_say(text, ERR_INVALID, "--max-seconds wants 1 to 86400, not \"%s\"", value);
        o->max_ms = n * 1000;
    } else {
        return ERR_NOT_FOUND;
    }
    return 0;
}

/* Options without a value. `next` is the word behind it, NULL at the end. */
static bool take_switch(struct options *o, const char *option, const char *next)
{
    bool stands_alone = next == NULL || strncmp(next, "--", 2) == 0;

    if (strcmp(option, "quiet") == 0)
        o->quiet = true;
    else if (strcmp(option, "rotate") == 0 && stands_alone)
        o->settings.rules.rotate = true;
    else if (strcmp(option, "no-rotate") == 0)
        o->settings.rules.rotate = false;
    else
        return false;
    return true;
}

static int options_parse(int argc, char *argv[], struct options *o, struct err_text *text)
{
    int err = 0;

    *o = (struct options){.address = "127.0.0.1", .max_ms = 600 * SECOND_MS};
    settings_init(&o->settings);
    for (int i = 1; err == 0 && i < argc; i++) {
        const char *option = argv[i] + 2;

        if (strncmp(argv[i], "--", 2) != 0)
            return err_say(text, ERR_INVALID, "unexpected word \"%s\"", argv[i]);
        if (take_switch(o, option, argv[i + 1]))
            continue;
        if (i + 1 == argc)
            return err_say(text, ERR_INVALID, "%s: no such option, or it wants a value", argv[i]);
        err = take_own(o, option, argv[++i], text);
        if (err == ERR_NOT_FOUND)
            err = settings_set_option(&o->settings, option, argv[i], text);
    }
    return err;
}

struct program {
    uv_loop_t loop;
    struct server server;
    struct lab lab;
    uv_signal_t term, interrupt;
    uv_timer_t limit;
};

static void stop(struct program *p)
{
    if (uv_is_closing((uv_handle_t *)&p->limit))
        return;
    server_close(&p->server);
    uv_close((uv_handle_t *)&p->term, NULL);
    uv_close((uv_handle_t *)&p->interrupt, NULL);
    uv_close((uv_handle_t *)&p->limit, NULL);
}

static void on_signal(uv_signal_t *signal, int number)
{
    (void)number;
    stop(signal->data);
}

static void on_limit(uv_timer_t *timer)
{
    stop(timer->data);
}

static void watch_for_the_end(struct program *p, int64_t max_ms)
{
    CHECK(uv_signal_init(&p->loop, &p->term) == 0);
    CHECK(uv_signal_init(&p->loop, &p->interrupt) == 0);
    CHECK(uv_timer_init(&p->loop, &p->limit) == 0);
    p->term.data = p->interrupt.data = p->limit.data = p;
    CHECK(uv_signal_start(&p->term, on_signal, SIGTERM) == 0);
    CHECK(uv_signal_start(&p->interrupt, on_signal, SIGINT) == 0);
    CHECK(uv_timer_start(&p->limit, on_limit, (uint64_t)max_ms, 0) == 0);
}

static void summary(const struct lab *lab)
{
    fprintf(stderr, "credwarden-lab: %u logins, %llu commits, %llu reuses, %llu families revoked\n",
            grants_families(lab->grants), (unsigned long long)lab->commits,
            (unsigned long long)lab->reuses, (unsigned long long)lab->families_revoked);
}

static int run(const struct options *o, FILE *log, struct err_text *text)
{
    static struct program p;
    uint64_t seed;
    char url[64];
    int err;

    CHECK(getrandom(&seed, sizeof(seed), 0) == sizeof(seed));
    CHECK(uv_loop_init(&p.loop) == 0);
    err = server_bind(&p.server, &p.loop, o->address, o->port, url, sizeof(url), text);
    if (err == 0) {
        err = lab_init(&p.lab, &o->settings, seed, url, clock_now(), log);
        CHECK(err == 0);
        p.server.lab = &p.lab;
        watch_for_the_end(&p, o->max_ms);
        printf("%s\n", url);
        (void)fflush(stdout);
        (void)uv_run(&p.loop, UV_RUN_DEFAULT);
        if (!o->quiet)
            summary(&p.lab);
        lab_release(&p.lab);
    }
    (void)uv_run(&p.loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&p.loop) == 0);
    return err;
}

int main(int argc, char *argv[])
{
    struct err_text text = {""};
    struct options o;
    FILE *log = NULL;
    int err;

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return EXIT_OK;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    err = options_parse(argc, argv, &o, &text);
    if (err != 0) {
        fprintf(stderr, "credwarden-lab: %s\n%s", text.text, usage);
        return EXIT_USAGE;
    }
    if (o.log_path != NULL && (log = fopen(o.log_path, "ae")) == NULL) {
        fprintf(stderr, "credwarden-lab: %s: %s\n", o.log_path, strerror(errno));
        return EXIT_INPUT;
    }
    err = run(&o, log, &text);
    if (err != 0)
        fprintf(stderr, "credwarden-lab: %s\n", text.text);
    if (log != NULL)
        (void)fclose(log);
    return err == 0 ? EXIT_OK : EXIT_FAILED;
}

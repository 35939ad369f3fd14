/*
 * credwardend: start-up in the order of what must be true before the next thing, and the way down.
 *
 *   hardened → folders ours → their locks ours (one daemon each) → store sound → vault open →
 *   core loaded → socket listening → "ready" → loop
 */
#include "daemon/places.h"

#include <errno.h>
#include <getopt.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/exits.h"
#include "json/json.h"
#include "sys/file.h"
#include "sys/process.h"

#define STOP_MARGIN_MS (10 * SECOND_MS)
#define WAY_OUT        "; run `credwarden repair`, or put a backup in its place"
/* Every connection the API takes, the streams, the store, the spender and the spool, with room. */
#define DESCRIPTORS_MAX 65536
/* With fewer nothing comes of a start, and libuv ends the process where it finds none. */
#define DESCRIPTORS_MIN 16

struct options {
    bool foreground;
    bool repair, json;
    int ready_fd;
};

static const char usage[] =
    "usage: credwardend [--foreground] [--ready-fd N] [--repair [--json]]\n"
    "\n"
    "The daemon of credwarden. `credwarden` starts it by itself on first need.\n"
    "  --foreground   log to standard error instead of the log file\n"
    "  --ready-fd N   write one line to descriptor N: \"ready\", \"already\" (another daemon\n"
    "                 runs), or what went wrong\n"
    "  --repair       make a new store of what is sound of a damaged one, and end; with --json the\n"
    "                 report is for programs\n";

static int read_options(int argc, char **argv, struct options *ret)
{
    static const struct option longs[] = {{"foreground", no_argument, NULL, 'f'},
                                          {"ready-fd", required_argument, NULL, 'r'},
                                          {"repair", no_argument, NULL, 'm'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"version", no_argument, NULL, 'v'},
                                          {NULL, 0, NULL, 0}};
    int option;
    *ret = (struct options){.ready_fd = -1};
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        int64_t fd;
        switch (option) {
        case 'f':
            ret->foreground = true;
            break;
        case 'r':
            if (str_to_i64(optarg, 3, 1023, &fd) < 0) {
                (void)fputs("credwardend: --ready-fd expects a descriptor from 3 to 1023\n",
                            stderr);
                return EXIT_USAGE;
            }
            ret->ready_fd = (int)fd;
            break;
        case 'm':
            ret->repair = true;
            break;
        case 'j':
            ret->json = true;
            break;
        case 'h':
            (void)fputs(usage, stdout);
            exit(EXIT_OK);
        case 'v':
            (void)puts("credwardend " CREDWARDEN_VERSION);
            exit(EXIT_OK);
        default:
            (void)fputs(usage, stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "credwardend: unexpected argument\n%s", usage);
        return EXIT_USAGE;
    }
    return 0;
}

static bool dir_is_ours(const char *dir, uint32_t uid)
{
    int fd = -1;
    (void)uid;
    bool ours = dir_open_private(dir, &fd, NULL) == 0;
    fd_close(&fd);
    return ours;
}

/* The second lock of a daemon: who has it beside ours on the data has other data. Unless it is just
 * ending: it lets go of this one first, but the kernel of both when it dies, in its own order. */
static int lock_state(struct daemon *d, struct err_text *text)
{
    char path[PATHS_SIZE + 32];
    (void)snprintf(path, sizeof(path), "%s/state-lock", d->paths.state_dir);
    int err = lock_take(path, &d->state_lock_fd, text);
    for (int i = 0; err == ERR_LOCKED && i < 20; i++) {
        uv_sleep(50);
        err = lock_take(path, &d->state_lock_fd, text);
    }
    return err == ERR_LOCKED
               ? err_say(
                     text, ERR_CONFLICT,
                     "%s is in use by a daemon whose data are not in %s: give each data folder a "
                     "state folder of its own (XDG_STATE_HOME)",
                     d->paths.state_dir, d->paths.data_dir)
               : err;
}

/* Folders and locks: from here on data and state are ours alone. */
static int open_folders(struct daemon *d, struct err_text *text)
{
    struct paths_world world = {
        .lookup = getenv, .uid = (uint32_t)process_uid(), .is_ours = dir_is_ours};
    char path[PATHS_SIZE + 32];
    int err = paths_find(&world, &d->paths, text);
    if (err < 0)
        return err;
    (void)snprintf(d->config_path, sizeof(d->config_path), "%s/credwarden.ini",
                   d->paths.config_dir);
    (void)snprintf(d->provider_dir, sizeof(d->provider_dir), "%s/providers", d->paths.config_dir);
    (void)snprintf(d->log_path, sizeof(d->log_path), "%s/credwardend.log", d->paths.state_dir);
    const char *const dirs[] = {d->paths.data_dir, d->paths.state_dir, d->paths.runtime_dir};
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        err = dir_ensure_private(dirs[i], text);
        if (err < 0)
            return err;
    }
    (void)snprintf(path, sizeof(path), "%s/lock", d->paths.data_dir);
    err = lock_take(path, &d->lock_fd, text);
    if (err == 0)
        err = lock_state(d, text);
    if (err < 0)
        return err;
    dir_sweep_temps(d->paths.data_dir); /* one of them may be a copy of the vault key */
    dir_sweep_temps(d->paths.state_dir);
    (void)snprintf(path, sizeof(path), "%s/spool", d->paths.state_dir);
    err = dir_ensure_private(path, text);
    if (err == 0)
        err = dir_open_private(path, &d->spool_dir_fd, text);
    return err;
}

static int open_vault(struct daemon *d, struct store *s, struct err_text *text)
{
    char path[PATHS_SIZE + 32];
    uint8_t made[VAULT_FP_KEY_SEALED_LEN];
    struct buf sealed;
    (void)snprintf(path, sizeof(path), "%s/vault.key", d->paths.data_dir);
    buf_init(&sealed, VAULT_FP_KEY_SEALED_LEN);

    int have = store_meta_get(s, FP_KEY_META, &sealed);
    int err = have == 0 || have == ERR_NOT_FOUND ? 0 : have;
    if (have == ERR_NOT_FOUND) { /* a new store: a key that is there already is used */
        err = vault_create_key(path, text);
        if (err == ERR_EXISTS)
            err = 0;
    }
    if (err == 0)
        err = vault_open(path, &d->vault, text);
    if (err == 0 && have == 0) {
        struct err_text why = {""};
        err = vault_fp_key_open(d->vault, sealed.bytes, sealed.len, &why);
        if (err < 0)
            (void)err_say(text, err, "%s: %s", path, why.text);
    }
    if (err == 0 && have == ERR_NOT_FOUND) {
        err = vault_fp_key_make(d->vault, made);
        if (err == 0)
            err = store_meta_set(s, FP_KEY_META, made, sizeof(made));
        if (err < 0)
            (void)err_say(text, err, "the fingerprint key cannot be stored: %s", err_reason(err));
    }
    buf_release(&sealed);
    return err;
}

/* Whose refresh tokens another run may have spent since this copy was made. */
static int accept_restored(const struct daemon *d, struct store *s)
{
    size_t n = 0;
    uint64_t *outdated = calloc(d->n_loaded + 1, sizeof(*outdated));
    if (!outdated)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < d->n_loaded; i++) {
        if (loaded_may_be_outdated(&d->loaded[i].loaded))
            outdated[n++] = d->loaded[i].lineage;
    }
    struct now now = clock_now();
    struct restoration at = {.wall_ms = now.wall_ms, .boot_ms = now.boot_ms};
    (void)str_copy(at.boot_id, sizeof(at.boot_id), d->boot_id);
    int err = store_accept_restored(s, outdated, n, &at);
    free(outdated);
    return err;
}

static int open_state(struct daemon *d, struct store **ret, struct err_text *text)
{
    char path[PATHS_SIZE + 32], mark[PATHS_SIZE + 32];
    struct store *s = NULL;
    (void)snprintf(path, sizeof(path), "%s/store.db", d->paths.data_dir);
    (void)snprintf(mark, sizeof(mark), "%s/high-water", d->paths.state_dir);
    int err = store_open(path, mark, STORE_CREATE, &s, text);
    if (err < 0)
        return err;
    err = open_vault(d, s, text);
    d->restored = store_is_restored(s);
    if (err == 0)
        err = recover_load(d, s, text);
    if (err == 0 && d->restored)
        err = accept_restored(d, s);
    if (err < 0) {
        store_close(s);
        return text->text[0] != '\0' ? err
                                     : err_say(text, err, "%s cannot be read: %s%s", path,
                                               err_reason(err), err == ERR_CORRUPT ? WAY_OUT : "");
    }
    *ret = s;
    return 0;
}

static struct spender_options spender_times(const struct config *c)
{
    return (struct spender_options){
        .idle_ms = c->spender_idle_ms,
        .margin_ms = SPENDER_MARGIN_MS,
        .deadline_ms = c->spend_deadline_ms,
        .ask_deadline_ms = c->ask_deadline_ms,
    };
}

static int start_parts(struct daemon *d, struct store *s, struct err_text *text)
{
    char program[1024];
    struct api_handlers handlers;
    int err = store_queue_start(&d->loop, s, &d->store);
    if (err < 0) {
        store_close(s);
        /* EAGAIN stands for both (pthread_create(3)). */
        return err_say(text, err, "the store's thread could not be started: %s",
                       err == ERR_BUSY ? "processes or memory are at their limit"
                                       : err_reason(err));
    }
    err = drive_init(d);
    if (err < 0)
        return err_say(text, err, "the core cannot be made ready: %s", err_reason(err));
    err = program_path("credwarden-spender", program, sizeof(program));
    if (err == ERR_NOT_FOUND)
        return err_say(text, err, "credwarden-spender was not found beside credwardend");
    if (err < 0)
        return err_say(text, err, "credwarden-spender cannot be looked for: %s", err_reason(err));
    struct spender_options spender = spender_times(&d->config);
    spender.program = program;
    spender.box_public = vault_box_public(d->vault);
    spender.take_back = intake_take_back;
    spender.ctx = d;
    err = spender_init(&d->loop, &spender, &d->spender);
    if (err < 0)
        return err_say(text, err, "the spender could not be prepared: %s", err_reason(err));
    serve_table(d, &handlers);
    return api_listen(&d->loop, d->paths.socket, CREDWARDEN_VERSION, &handlers, &d->api, text);
}

/* On the way down: spends in flight are finished, for at most their deadline. What takes longer is
 * the spender's: it goes on without us, and the next start finds its answer in the spool. */
static void look_if_done(uv_timer_t *timer)
{
    struct daemon *d = timer->data;
    bool late = clock_now().boot_ms > d->stop_until_boot_ms;
    if (warden_is_busy(d->warden) && !late)
        return;
    if (store_queue_len(d->store) > 0 && !late)
        return;
    waiting_stop(d);
    uv_stop(&d->loop);
}

void daemon_stop(struct daemon *d)
{
    if (d->stopping)
        return;
    d->stopping = true;
    d->stop_until_boot_ms = clock_now().boot_ms + d->config.spend_deadline_ms + STOP_MARGIN_MS;
    journal(d, NULL, "stopping", "spends in flight are finished first");
    api_stop_accepting(d->api);
    struct event ev = event_of(EV_STOP, 0);
    drive(d, &ev);
    uv_timer_start(&d->stop_timer, look_if_done, 0, 20);
}

/* All of it, or nothing of it. */
int daemon_reload(struct daemon *d, struct err_text *text)
{
    struct config read;
    int err = config_read(d->config_path, &read, text);
    if (err == 0 && log_open(d, text) < 0) /* one that was moved away begins anew */
        err = ERR_IO;
    if (err < 0) {
        journal(d, NULL, "reload-refused", "%s", text->text);
        return err;
    }
    int64_t profiles_max = d->config.profiles_max; /* the core's room is of that size */
    err_fill(text, "configuration read");
    if (read.profiles_max != profiles_max)
        err_fill(text, "configuration read; profiles_max stays %lld until the next start",
                 (long long)profiles_max);
    d->config = read;
    d->config.profiles_max = profiles_max;
    struct spender_options times = spender_times(&read);
    (void)spender_set_times(d->spender, &times); /* their bounds are the configuration's */
    journal(d, NULL, "reloaded", "%s", text->text);
    return 0;
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct daemon *d = handle->data;
    struct err_text text = {""};
    if (signum == SIGHUP)
        (void)daemon_reload(d, &text);
    else
        daemon_stop(d);
}

/* False: short of memory or of descriptors, and nothing is left open. */
static bool start_loop_handles(struct daemon *d)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    if (uv_loop_init(&d->loop) != 0)
        return false;
    /* The first one makes what all share; the others take no more than their place. */
    if (uv_signal_init(&d->loop, &d->signals[0]) != 0) {
        (void)uv_loop_close(&d->loop);
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        if (i > 0)
            CHECK(uv_signal_init(&d->loop, &d->signals[i]) == 0);
        d->signals[i].data = d;
        CHECK(uv_signal_start(&d->signals[i], on_signal, signals[i]) == 0);
    }
    CHECK(uv_timer_init(&d->loop, &d->recover_timer) == 0);
    CHECK(uv_timer_init(&d->loop, &d->stop_timer) == 0);
    CHECK(uv_timer_init(&d->loop, &d->look_timer) == 0);
    CHECK(uv_timer_init(&d->loop, &d->settle_timer) == 0);
    d->settle_timer.data = d;
    d->recover_timer.data = d->stop_timer.data = d->look_timer.data = d;
    return true;
}

static void close_all(struct daemon *d)
{
    uv_close((uv_handle_t *)&d->recover_timer, NULL);
    uv_close((uv_handle_t *)&d->stop_timer, NULL);
    uv_close((uv_handle_t *)&d->look_timer, NULL);
    uv_close((uv_handle_t *)&d->settle_timer, NULL);
    for (size_t i = 0; i < ARRAY_LEN(d->signals); i++)
        uv_close((uv_handle_t *)&d->signals[i], NULL);
    /* First the store: what its last jobs report may still be answered, and may still spend. */
    if (d->store)
        store_queue_stop(d->store);
    d->store = NULL;
    journal_streams_end(d);
    api_free(d->api);
    spender_free(d->spender);
    places_end(d);
    drive_free(d);
    (void)uv_run(&d->loop, UV_RUN_DEFAULT); /* also looks that are under way, to their end */
    (void)uv_loop_close(&d->loop);
    captures_free(d);
    settling_free(d);
    for (struct holding *h = d->holdings, *next; h; h = next) {
        next = h->next;
        h->jobs = 0;
        holding_drop(d, h);
    }
    vault_free(d->vault);
    fd_close(&d->spool_dir_fd);
    fd_close(&d->state_lock_fd);
    fd_close(&d->lock_fd);
    log_close(d);
}

/* One line to whoever started us, and to the log. */
static void report(struct daemon *d, const char *line)
{
    if (d->ready_fd < 0)
        return;
    if (fd_write(d->ready_fd, line, strlen(line)) == 0)
        (void)fd_write(d->ready_fd, "\n", 1);
    fd_close(&d->ready_fd);
}

/* The end of a start that came to nothing before there was a daemon to speak of. */
static int refuse(int ready_fd, const char *why)
{
    struct daemon none = {.ready_fd = ready_fd};
    report(&none, why);
    (void)fprintf(stderr, "credwardend: %s\n", why);
    return EXIT_FAILED;
}

static int start(struct daemon *d, struct err_text *text)
{
    struct store *s = NULL;
    int err = clock_boot_id(d->boot_id);
    if (err == 0)
        err = open_folders(d, text);
    if (err == 0)
        err = log_open(d, text);
    if (err == 0)
        err = config_read(d->config_path, &d->config, text);
    if (err == 0)
        err = open_state(d, &s, text);
    if (err == 0)
        err = start_parts(d, s, text);
    return err;
}

/* The lock keeps a daemon from starting meanwhile, and a running one from being repaired. */
static int start_repair(struct daemon *d, bool json)
{
    struct err_text text = {""};
    enum exit_code code = EXIT_FAILED;
    int err = open_folders(d, &text);
    for (int i = 0; err == ERR_LOCKED && i < 20;
         i++) { /* one that just refused to start is ending */
        uv_sleep(50);
        err = open_folders(d, &text);
    }
    if (err == ERR_LOCKED) {
        (void)fputs("credwardend: the daemon runs: `credwarden daemon stop` first\n", stderr);
        return EXIT_LATER;
    }
    if (err == 0)
        err = repair(d, json, &code, &text);
    if (err < 0)
        (void)fprintf(stderr, "credwardend: %s\n", text.text[0] ? text.text : err_reason(err));
    return (int)code;
}

int main(int argc, char **argv)
{
    struct options options;
    struct err_text text = {""};
    int code = read_options(argc, argv, &options);
    if (code != 0)
        return code;
    int hardened = process_harden();
    if (hardened < 0 || sodium_init() < 0) {
        err_fill(&text, "this process cannot be made safe for secrets%s%s",
                 hardened < 0 ? ": " : "", hardened < 0 ? err_reason(hardened) : "");
        return refuse(options.ready_fd, text.text);
    }
    json_use_secret_memory();
    (void)process_raise_descriptors(DESCRIPTORS_MAX);
    if (!process_has_descriptors(DESCRIPTORS_MIN))
        return refuse(options.ready_fd,
                      "too few files may be open at once to start with, or memory is short");

    struct daemon *d = calloc(1, sizeof(*d));
    if (d == NULL)
        return refuse(options.ready_fd, "there is no memory to start with");
    d->lock_fd = d->state_lock_fd = d->spool_dir_fd = -1;
    d->ready_fd = options.ready_fd;
    d->foreground = options.foreground;
    d->started_wall_ms = clock_now().wall_ms;
    d->started_boot_ms = clock_now().boot_ms;
    config_defaults(&d->config);
    if (!start_loop_handles(d)) {
        free(d);
        return refuse(options.ready_fd, "no event loop: memory or open files are at their limit");
    }

    if (options.repair) {
        code = start_repair(d, options.json);
        close_all(d);
        free(d);
        return code;
    }
    int err = start(d, &text);
    if (err == 0) {
        journal(d, NULL, "started", "version " CREDWARDEN_VERSION "%s",
                d->restored ? "; the store is an older copy: every lineage is in doubt" : "");
        recover_start(d);
        report(d, "ready");
        (void)uv_run(&d->loop, UV_RUN_DEFAULT);
    } else {
        log_line(d, LOG_ERROR, "%s", text.text[0] ? text.text : err_reason(err));
        report(d, err == ERR_LOCKED && d->lock_fd < 0 ? "already"
                  : text.text[0]                      ? text.text
                                                      : err_reason(err));
        if (d->log != stderr) /* also where it did not come to a log */
            (void)fprintf(stderr, "credwardend: %s\n", text.text[0] ? text.text : err_reason(err));
        code = err == ERR_LOCKED ? EXIT_LATER : EXIT_FAILED;
    }
    close_all(d);
    free(d);
    return code;
}

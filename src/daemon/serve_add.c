/*
 * `add`: a pair from a file becomes a captured lineage; the core takes it from there.
 *
 *   provider known (built in, the user's, or asked from the issuer) → bytes parsed → not held
 *   already, sealed and stored (one job) → EV_ADDED → … → FX_ANSWER
 */
#include "daemon/places.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "issuer/import.h"
#include "sys/file.h"

#define PROVIDERS_LOOKED_AT 64 /* for "did you mean" */

struct add {
    struct store_job job;
    struct daemon *d;
    struct holding *h; /* from the start: it claims the name. This is one of its jobs */
    uint64_t waiter;
    struct provider provider;
    struct import import;
    char name[NAME_MAX_LEN + 1];
    char issuer[URL_MAX], client_id[256];
    const struct format
        *format; /* the file is a client's store; NULL: the provider says how to read it */
    char source[STORE_DETAIL_MAX];
    uint64_t continues;
    struct pair pair;
    struct buf sealed, definition;
    struct capture capture;
    struct sighting sighting;
    bool sighted, claimed;
};

static void add_free(struct add *a)
{
    holding_job_done(a->d, a->h);
    import_clear(&a->import);
    buf_release(&a->sealed);
    buf_release(&a->definition);
    free(a);
}

/* The waiting call, or NULL when its peer left. The slot is freed: it is about to be answered. */
static struct api_call *call_of(struct add *a)
{
    struct waiting *wt = waiting_find(a->d, a->waiter);
    struct api_call *call = wt ? wt->call : NULL;
    if (wt)
        *wt = (struct waiting){0};
    return call;
}

/* It comes to nothing: the name is free again. */
static void add_drop(struct add *a)
{
    (void)call_of(a);
    holding_drop(a->d, a->h);
    add_free(a);
}

static void add_problem(struct add *a, const char *code, int64_t retry_after_ms, const char *detail)
{
    struct api_call *call = call_of(a);
    if (call)
        api_problem(call, code, retry_after_ms, "%s", detail);
    add_drop(a);
}

/* Held already? Then a second profile would spend behind the first one's back. Known as spent? Then
 * presenting it would cost the whole family. */
static int capture_run(struct store *s, struct store_job *job)
{
    struct add *a = (struct add *)job;
    struct fp fp = fp_is_none(a->pair.refresh) ? a->pair.access : a->pair.refresh;
    int err = store_find_fp(s, fp, &a->sighting);
    if (err == 0 && (a->sighting.is_current || a->sighting.spent)) {
        a->sighted = true;
        /* Unless it is set aside and nobody's: then it is what this name shall have. */
        err = store_claim(s, a->sighting.lineage, a->name, a->h->wanted_policy);
        a->claimed = err == 0;
        return err == ERR_CONFLICT ? ERR_EXISTS : err;
    }
    if (err < 0 && err != ERR_NOT_FOUND)
        return err;
    return store_capture(s, &a->capture);
}

static void say_known(struct add *a)
{
    char detail[256];
    struct holding *held = holding_find(a->d, a->sighting.lineage);
    if (a->sighting.spent)
        (void)snprintf(
            detail, sizeof(detail),
            "this refresh token has been spent already (%s, generation %llu): presenting "
            "it again would end the login; sign in again and add what that gives",
            held && held->profile[0] ? held->profile : "a former profile",
            (unsigned long long)a->sighting.generation);
    else
        (void)snprintf(detail, sizeof(detail), "this login is held already, as %s",
                       held && held->profile[0]          ? held->profile
                       : held && held->wanted_profile[0] ? held->wanted_profile
                                                         : "another profile");
    add_problem(a, answer_name(ANSWER_DUPLICATE), 0, detail);
}

/* A file is a program's own copy; what was piped in is taken to be ours alone. */
static bool is_held_elsewhere(const struct add *a)
{
    return strcmp(a->source, "stdin") != 0;
}

static int64_t held_until(const struct add *a)
{
    if (!is_held_elsewhere(a))
        return 0;
    return a->pair.expires_wall_ms == 0 ? TIME_NEVER
                                        : a->pair.expires_wall_ms + a->provider.skew_ms;
}

/* Fifteen seconds are what a person waits for; more only where the configuration gives one question
 * more. */
static int64_t add_deadline(const struct daemon *d)
{
    int64_t one_ms = d->config.ask_deadline_ms;
    return clock_now().boot_ms +
           (one_ms > ADD_TIMEOUT_MS ? one_ms + SPENDER_MARGIN_MS : ADD_TIMEOUT_MS);
}

static void captured(struct add *a)
{
    struct daemon *d = a->d;
    struct event ev = event_of(EV_ADDED, a->h->lineage);
    ev.waiter = waiting_find(d, a->waiter) ? a->waiter : 0;
    ev.added.rules = rules_of(d, &a->provider);
    ev.added.policy = a->h->wanted_policy; /* it may have been changed meanwhile */
    ev.added.pair = a->pair;
    ev.added.continues = a->continues;
    ev.added.held_elsewhere = is_held_elsewhere(a);
    ev.added.deadline_boot_ms = add_deadline(d);
    drive(d, &ev);
    add_free(a);
}

/* The lineage that was set aside takes the place of the one that was about to be. */
static void claimed(struct add *a)
{
    struct daemon *d = a->d;
    struct holding *h = holding_find(d, a->sighting.lineage);
    struct waiting *wt = waiting_find(d, a->waiter);
    CHECK(h); /* the store's quarantined lineages are all held */
    (void)str_copy(h->wanted_profile, sizeof(h->wanted_profile), a->name);
    h->wanted_policy = a->h->wanted_policy;
    if (wt)
        wt->lineage = h->lineage;
    struct event ev = event_of(EV_CLAIMED, h->lineage);
    ev.waiter = wt ? wt->id : 0;
    ev.added.policy = h->wanted_policy;
    ev.added.continues = a->continues;
    ev.added.deadline_boot_ms = add_deadline(d);
    holding_drop(d, a->h);
    add_free(a);
    drive(d, &ev);
}

static void capture_done(struct store_job *job, int err)
{
    struct add *a = (struct add *)job;
    struct err_text text;
    err_fill(&text, "the store cannot be written: %s; nothing was added, the file is untouched",
             err_reason(err));
    if (err == 0 && a->claimed)
        claimed(a);
    else if (err == 0)
        captured(a);
    else if (err == ERR_EXISTS && a->sighted)
        say_known(a);
    else
        add_problem(a, answer_name(ANSWER_STORE), 0, text.text);
}

static int fill_capture(struct add *a)
{
    struct daemon *d = a->d;
    struct holding *h = a->h;
    a->pair = (struct pair){
        .access = vault_fingerprint(d->vault, &a->import.tokens.access),
        .refresh = vault_fingerprint(d->vault, &a->import.tokens.refresh),
        .expires_wall_ms = a->import.expires_wall_ms,
        .life_ms = a->import.life_ms,
        .login_deadline_wall_ms = a->import.login_deadline_wall_ms,
    };
    int err = provider_encode(&a->provider, &a->definition);
    if (err == 0)
        err = vault_seal(d->vault, h->lineage, 1, &a->import.tokens, &a->sealed);
    if (err == 0)
        err = holding_take(h, 1, &a->import.tokens, &a->sealed);
    if (err < 0)
        return err;
    h->provider = a->provider;
    (void)str_copy(h->source, sizeof(h->source), a->source);
    a->capture = (struct capture){
        .lineage = h->lineage,
        .provider = a->provider.name,
        .definition = a->definition.bytes,
        .definition_len = a->definition.len,
        .pair = a->pair,
        .boot_id = d->boot_id,
        .origin = ORIGIN_ADDED,
        .source = a->source,
        .profile = a->name,
        .policy = h->wanted_policy,
        .sealed = a->sealed.bytes,
        .sealed_len = a->sealed.len,
        .held_until_wall_ms = held_until(a),
        .now_wall_ms = clock_now().wall_ms,
    };
    return 0;
}

static uint64_t new_lineage_id(void)
{
    uint64_t id;
    do
        randombytes_buf(&id, sizeof(id));
    while ((id >>= 1) == 0);
    return id;
}

/* The provider is known and the pair parsed: store it. */
static void begin_capture(struct add *a)
{
    int err = fill_capture(a);
    if (err == 0) {
        a->job.run = capture_run;
        a->job.done = capture_done;
        err = store_queue_submit(a->d->store, &a->job);
    }
    if (err < 0)
        add_problem(a, answer_name(ANSWER_BUSY), SECOND_MS, busy_reason(err));
}

/* What a client's store has besides tokens comes along: for the day it goes back there. */
static int parse_store(struct add *a, const void *bytes, size_t len, struct err_text *text)
{
    struct copy copy;
    struct err_text why = {""};
    copy_init(&copy);
    int err = format_read(a->format, bytes, len, &copy, &why);
    if (err == 0 && copy.what == SEEN_TORN)
        err = err_say(text, ERR_INVALID, "%s: %s", a->source, why.text);
    else if (err == 0 && copy.what != SEEN_PAIR)
        err = err_say(text, ERR_INVALID,
                      "%s: nobody is signed in there; sign in with the client, then try again",
                      a->source);
    if (err == 0)
        err = tokens_copy(&copy.tokens, &a->import.tokens);
    if (err == 0)
        err = secret_set(&a->import.tokens.account, copy.account.bytes, copy.account.len);
    if (err == 0) {
        (void)str_copy(a->import.tokens.account_format, sizeof(a->import.tokens.account_format),
                       format_name(a->format));
        a->import.expires_wall_ms = copy.expires_wall_ms;
        a->import.login_deadline_wall_ms = copy.login_deadline_wall_ms;
    }
    copy_clear(&copy);
    return err;
}

static bool parse_pair(struct add *a, const void *bytes, size_t len, int64_t as_of_wall_ms,
                       const char **ret_code, struct err_text *text)
{
    int err = a->format ? parse_store(a, bytes, len, text)
                        : import_parse(&a->provider, a->source, bytes, len, as_of_wall_ms,
                                       &a->import, text);
    *ret_code = err == ERR_TOO_LARGE ? "input-too-large" : "input-invalid";
    return err == 0;
}

/* What waits for the issuer's metadata: the body is kept, in secret memory. */
struct discovery {
    struct add *a;
    struct buf body;
    int64_t as_of_wall_ms;
};

static void discovered(void *ctx, uint64_t id, const struct reply *reply)
{
    struct discovery *y = ctx;
    struct add *a = y->a;
    struct err_text text = {""};
    const char *code = "provider-invalid";
    (void)id;
    if (reply->identity != IDENTITY_NAMED) {
        (void)err_say(&text, ERR_INVALID, "%s gave no usable metadata (%s)", a->issuer,
                      reply->detail);
        add_problem(a, answer_name(ANSWER_UNREACHABLE), reply->retry_after_ms, text.text);
    } else if (provider_from_metadata(a->issuer, a->client_id, (const char *)reply->body.bytes,
                                      reply->body.len, &a->provider, &text) < 0) {
        add_problem(a, code, 0, text.text);
    } else if (!parse_pair(a, y->body.bytes, y->body.len, y->as_of_wall_ms, &code, &text)) {
        add_problem(a, code, 0, text.text);
    } else {
        if (a->h->wanted_policy == POLICY_COUNT)
            a->h->wanted_policy = a->provider.default_policy;
        begin_capture(a);
    }
    buf_release(&y->body);
    free(y);
}

static void begin_discovery(struct add *a, const void *bytes, size_t len, int64_t as_of_wall_ms)
{
    struct daemon *d = a->d;
    struct discovery *y = calloc(1, sizeof(*y));
    struct provider asked = {0};
    struct err_text text;
    if (!y) {
        add_problem(a, answer_name(ANSWER_BUSY), SECOND_MS, "out of memory");
        return;
    }
    y->a = a;
    y->as_of_wall_ms = as_of_wall_ms;
    buf_init_secret(&y->body, API_BODY_MAX);
    (void)str_copy(asked.name, sizeof(asked.name), "discovery");
    (void)str_copy(asked.issuer, sizeof(asked.issuer), a->issuer);
    int err = buf_add(&y->body, bytes, len);
    if (err == 0)
        err =
            spender_ask(d->spender, ASK_METADATA, ++d->next_question, &asked, NULL, discovered, y);
    if (err < 0) {
        buf_release(&y->body);
        free(y);
        err_fill(&text, "the issuer cannot be asked: %s; try again", err_reason(err));
        add_problem(a, answer_name(ANSWER_BUSY), SECOND_MS, text.text);
    }
}

/* A name that is one slip away from `name`, among the user's definitions and the built-in ones. */
static void say_unknown_provider(struct daemon *d, const char *name, const char *path,
                                 struct err_text *text)
{
    char own[PROVIDERS_LOOKED_AT][NAME_MAX_LEN + 1];
    const char *names[2 * PROVIDERS_LOOKED_AT];
    const struct provider *builtin;
    size_t n = 0;
    uv_fs_t dir;
    uv_dirent_t entry;
    int found = uv_fs_scandir(&d->loop, &dir, d->provider_dir, 0, NULL);
    while (found >= 0 && n < PROVIDERS_LOOKED_AT && uv_fs_scandir_next(&dir, &entry) == 0) {
        size_t len = strlen(entry.name), end = strlen(".ini");
        if (len <= end || len - end > NAME_MAX_LEN || strcmp(entry.name + len - end, ".ini") != 0)
            continue;
        memcpy(own[n], entry.name, len - end);
        own[n][len - end] = '\0';
        names[n] = own[n];
        n++;
    }
    uv_fs_req_cleanup(&dir);
    for (unsigned i = 0; i < PROVIDERS_LOOKED_AT && (builtin = provider_builtin_at(i)); i++)
        names[n++] = builtin->name;
    const char *near = str_nearest(name, names, n);
    if (near)
        err_fill(text, "there is no provider %s; did you mean %s?", name, near);
    else
        err_fill(
            text,
            "there is no provider %s; put its definition into %s, or give the issuer's URL and "
            "--client-id",
            name, path);
}

/* The user's own definition, PROVIDERS/NAME.ini, then the built-in one. */
static int find_provider(struct daemon *d, const char *name, struct provider *ret,
                         struct err_text *text)
{
    char path[sizeof(d->provider_dir) + NAME_MAX_LEN + 8];
    struct buf bytes;
    if (!name_is_valid(name))
        return err_say(text, ERR_NOT_FOUND,
                       "provider: expected a name or an issuer's https URL, found \"%.64s\"", name);
    (void)snprintf(path, sizeof(path), "%s/%s.ini", d->provider_dir, name);
    buf_init(&bytes, PROVIDER_FILE_MAX);
    int err = file_read(path, true, PROVIDER_FILE_MAX, &bytes, text);
    if (err == 0)
        err = provider_parse(path, buf_text(&bytes), bytes.len, ret, text);
    buf_release(&bytes);
    if (err == 0 && strcmp(ret->name, name) != 0)
        return err_say(text, ERR_INVALID, "%s: defines provider %s; rename the file or the section",
                       path, ret->name);
    if (err != ERR_NOT_FOUND)
        return err;
    const struct provider *builtin = provider_builtin(name);
    if (!builtin) {
        say_unknown_provider(d, name, path, text);
        return ERR_NOT_FOUND;
    }
    *ret = *builtin;
    return 0;
}

static bool is_url(const char *text)
{
    return strstr(text, "://") != NULL;
}

/* What the call says, checked. false: it has been answered. */
static bool read_query(struct add *a, struct api_call *call)
{
    struct daemon *d = a->d;
    const char *provider = api_query(call, "provider"), *policy = api_query(call, "policy");
    const char *client = api_query(call, "client_id"), *source = api_query(call, "source");
    struct err_text text = {""};
    struct view v;

    (void)str_copy(a->name, sizeof(a->name), api_name(call));
    str_cut(a->source, sizeof(a->source), source ? source : "stdin");
    a->h->wanted_policy = POLICY_COUNT; /* not said yet */
    if (!provider) {
        api_problem(call, "usage", 0, "provider: which provider is this login from?");
        return false;
    }
    const char *format = api_query(call, "format");
    a->format = format ? format_find(format) : NULL;
    if (format && !a->format) {
        api_problem(call, "usage", 0,
                    "format: there is none such; there are: claude, codex, "
                    "gemini, opencode");
        return false;
    }
    if (policy && policy_parse(policy, &a->h->wanted_policy) < 0) {
        api_problem(call, "usage", 0, "policy: expected never, standby or always");
        return false;
    }
    if (client && str_copy(a->client_id, sizeof(a->client_id), client) < 0) {
        api_problem(call, "usage", 0, "client_id: at most %zu bytes", sizeof(a->client_id) - 1);
        return false;
    }
    if (is_url(provider)) {
        if (str_copy(a->issuer, sizeof(a->issuer), provider) < 0 || !url_is_allowed(provider)) {
            api_problem(call, "provider-invalid", 0,
                        "%.200s: an issuer must be https; plain http is for loopback only",
                        provider);
            return false;
        }
        if (!client) {
            api_problem(call, "usage", 0, "client_id: needed with an issuer's URL");
            return false;
        }
    } else {
        int err = find_provider(d, provider, &a->provider, &text);
        if (err < 0) {
            api_problem(call, err == ERR_NOT_FOUND ? "provider-unknown" : "provider-invalid", 0,
                        "%s", text.text);
            return false;
        }
        if (client)
            (void)str_copy(a->provider.client_id, sizeof(a->provider.client_id), client);
        if (a->h->wanted_policy == POLICY_COUNT)
            a->h->wanted_policy = a->provider.default_policy;
    }
    struct holding *before = holding_by_profile(d, a->name);
    if (before && warden_view(d->warden, before->lineage, clock_now(), &v)) {
        a->continues = before->lineage;
        if (!policy)
            a->h->wanted_policy = v.policy;
    }
    return true;
}

/* Profiles there are, and those that are about to be. */
static int64_t profiles_count(const struct daemon *d)
{
    int64_t n = 0;
    for (const struct holding *h = d->holdings; h; h = h->next)
        n += !h->gone && (h->profile[0] || h->wanted_profile[0]);
    return n;
}

/* NULL: it has been answered. */
static struct add *add_new(struct daemon *d, struct api_call *call)
{
    struct add *a = calloc(1, sizeof(*a));
    struct waiting *wt = a ? waiting_new(d, call, OP_ADD, api_name(call), 0) : NULL;
    struct holding *h = wt ? holding_new(d, new_lineage_id()) : NULL;
    if (!h) {
        int err = a && !wt ? ERR_BUSY : ERR_NOMEM;
        if (wt)
            *wt = (struct waiting){0};
        free(a);
        api_problem(call, answer_name(ANSWER_BUSY), SECOND_MS, "%s", busy_reason(err));
        return NULL;
    }
    a->d = d;
    a->h = h;
    a->waiter = wt->id;
    wt->lineage = h->lineage;
    h->jobs++;
    (void)str_copy(h->wanted_profile, sizeof(h->wanted_profile), api_name(call));
    buf_init(&a->sealed, STORE_SEALED_MAX);
    buf_init(&a->definition, STORE_SEALED_MAX);
    return a;
}

void serve_add(void *ctx, struct api_call *call)
{
    struct daemon *d = ctx;
    size_t len;
    const void *body = api_body(call, &len);
    const char *as_of = api_query(call, "as_of"), *code;
    int64_t as_of_wall_ms = clock_now().wall_ms;
    struct err_text text = {""};

    if (as_of && wall_parse(as_of, &as_of_wall_ms) < 0) {
        api_problem(call, "usage", 0, "as_of: expected a time like 2026-11-20T08:00:00Z");
        return;
    }
    if (holding_claims(d, api_name(call))) {
        api_problem(call, answer_name(ANSWER_BUSY), SECOND_MS,
                    "%s is just being added or renamed; try again", api_name(call));
        return;
    }
    if (!holding_by_profile(d, api_name(call)) && profiles_count(d) >= d->config.profiles_max) {
        api_problem(call, "profiles-full", 0,
                    "there are %lld profiles, as many as profiles_max in %s allows: `credwarden "
                    "remove` one, or raise it, then `credwarden daemon restart`",
                    (long long)profiles_count(d), d->config_path);
        return;
    }
    struct add *a = add_new(d, call);
    if (!a)
        return;
    if (!read_query(a, call))
        add_drop(a);
    else if (a->issuer[0])
        begin_discovery(a, body, len, as_of_wall_ms);
    else if (!parse_pair(a, body, len, as_of_wall_ms, &code, &text))
        add_problem(a, code, 0, text.text);
    else
        begin_capture(a);
}

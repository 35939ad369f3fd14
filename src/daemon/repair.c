/*
 * `credwardend --repair`: the store is damaged and the daemon does not start. What the store finds
 * sound is held against the vault here: only a login whose sealed pair opens, and whose tokens are
 * those that the store names, is saved. All of it happens before anything of the old is touched.
 *
 * What is saved is in doubt at the next start, like a restored backup: among what was lost there
 * may have been a spend.
 */
#include "daemon/daemon.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "sys/io.h"

/* What the vault says of one lineage. */
struct finding {
    uint64_t lineage;
    bool is_sound;
    struct fp access, refresh, subject;
    int64_t expires_wall_ms;
    struct finding *next;
};

struct repair {
    struct daemon *d;
    struct store *s;
    int64_t now_wall_ms;
    bool is_refused; /* by whoever opens it, though no page or row of it is lost */
    bool has_fp_key; /* the store's own; else its fingerprints are of a key that is lost */
    struct salvage_facts facts;
    struct finding *findings;
    uint32_t n, n_sound;
    json_t *profiles;
    uint32_t n_lost;
};

/* The fingerprint key that the store was made with; without it a new one is needed. */
static int open_fp_key(struct repair *r, const char *key_path, struct err_text *text)
{
    struct buf sealed;
    buf_init(&sealed, VAULT_FP_KEY_SEALED_LEN);
    int err = store_meta_get(r->s, FP_KEY_META, &sealed);
    if (err == 0) {
        r->has_fp_key = true;
        struct err_text why = {""};
        err = vault_fp_key_open(r->d->vault, sealed.bytes, sealed.len, &why);
        if (err < 0)
            (void)err_say(text, err, "%s: %s", key_path, why.text);
    } else if (err == ERR_NOT_FOUND) {
        uint8_t made[VAULT_FP_KEY_SEALED_LEN];
        err = vault_fp_key_make(r->d->vault, made);
        if (err == 0)
            err = store_meta_set(r->s, FP_KEY_META, made, sizeof(made));
    }
    buf_release(&sealed);
    return err;
}

/* The tokens must be those that the row names, or one of the two is not what was stored. */
static bool agrees(const struct repair *r, const struct lineage_row *row, const struct finding *f)
{
    bool is_lost = fp_is_none(row->pair.access) && fp_is_none(row->pair.refresh);
    return !r->has_fp_key || is_lost ||
           (fp_equal(row->pair.access, f->access) && fp_equal(row->pair.refresh, f->refresh));
}

static int look_at(struct repair *r, const struct lineage_row *row, struct finding *f)
{
    struct tokens tokens = {0};
    struct provider provider;
    int err = vault_unseal(r->d->vault, row->id, row->generation, row->sealed.bytes,
                           row->sealed.len, &tokens);
    if (err == 0)
        err = provider_decode(row->definition.bytes, row->definition.len, &provider);
    if (err == 0) {
        f->access = vault_fingerprint(r->d->vault, &tokens.access);
        f->refresh = vault_fingerprint(r->d->vault, &tokens.refresh);
        f->subject =
            r->has_fp_key ? row->subject : intake_subject_fp(r->d, &provider, row->subject_text);
        /* When it ends is not known, so nothing is waited for. */
        f->expires_wall_ms = tokens.refresh.len > 0 ? r->now_wall_ms : 0;
        f->is_sound = agrees(r, row, f);
    }
    tokens_clear(&tokens);
    return err == ERR_NOMEM ? err : 0; /* anything else is what is looked for */
}

static int on_lineage(void *ctx, const struct lineage_row *row)
{
    struct repair *r = ctx;
    struct finding *f = calloc(1, sizeof(*f));
    if (!f)
        return ERR_NOMEM;
    f->lineage = row->id;
    f->next = r->findings;
    r->findings = f;
    r->n++;
    int err = look_at(r, row, f);
    r->n_sound += f->is_sound;
    return err;
}

static bool nothing_is_lost(const struct repair *r)
{
    return !r->is_refused && r->facts.lost_pages == 0 && r->facts.lost_rows == 0 &&
           !r->facts.log_is_damaged && r->n_sound == r->n && r->has_fp_key;
}

static int apply(struct repair *r)
{
    int err = 0;
    for (const struct finding *f = r->findings; f && err == 0; f = f->next) {
        err = f->is_sound ? store_salvage_pair(r->s, f->lineage, f->access, f->refresh, f->subject,
                                               f->expires_wall_ms)
                          : store_salvage_forget(r->s, f->lineage);
    }
    return err == 0 ? store_salvage_fit(r->s, nothing_is_lost(r), r->now_wall_ms) : err;
}

static int on_name(void *ctx, const char *name, const char *how)
{
    struct repair *r = ctx;
    json_t *entry = json_pack("{ss ss}", "name", name, "outcome", how);
    r->n_lost += strcmp(how, "lost") == 0;
    return entry && json_array_append_new(r->profiles, entry) == 0 ? 0 : ERR_NOMEM;
}

/* Reports */

/* Taken over; NULL for want of memory: what was done is done. */
static void put_json(json_t *all)
{
    if (all)
        (void)json_dumpf(all, stdout, JSON_COMPACT);
    (void)fputs("\n", stdout);
    json_decref(all);
}

/* One line of text, or the same as a fact. */
static void print_fact(bool json, const char *store, const char *fact, const char *line)
{
    if (json)
        put_json(json_pack("{ss sb}", "store", store, fact, 1));
    else
        (void)printf("%s%s\n", store, line);
}

static void print_json(const struct repair *r, const char *store, const char *aside)
{
    const struct salvage_facts *f = &r->facts;
    put_json(json_pack("{ss sO si si si ss}", "store", store, "profiles", r->profiles, "pages",
                       (int)f->pages, "pages_mended", (int)f->mended_pages, "pages_lost",
                       (int)f->lost_pages, "kept_as", aside));
}

static void print_text(const struct repair *r, const char *store, const char *aside)
{
    size_t i;
    json_t *entry;
    (void)printf(
        "%s is repaired: of its %u pages %u were mended and %u lost. What it was is kept as "
        "%s.\n",
        store, r->facts.pages, r->facts.mended_pages, r->facts.lost_pages, aside);
    json_array_foreach(r->profiles, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        const char *how = json_string_value(json_object_get(entry, "outcome"));
        if (strcmp(how, "saved") == 0)
            (void)printf("  %s: saved\n", name);
        else if (strcmp(how, "renamed") == 0)
            (void)printf("  %s: saved; its name and policy were damaged: look at `credwarden show "
                         "%s`, then `credwarden policy %s always`\n",
                         name, name, name);
        else
            (void)printf("  %s: %s: sign in again, then `credwarden add %s`\n", name,
                         strcmp(how, "lost") == 0 ? "not saved" : "not saved, or removed before",
                         name);
    }
    (void)printf("%s\n", nothing_is_lost(r)
                             ? "Nothing was lost."
                             : "What was saved is in doubt until its provider has confirmed it.");
}

/* The work */

static int take_stock(struct repair *r, const char *store, const char *key_path,
                      struct err_text *text)
{
    int err = store_salvage(store, r->now_wall_ms, &r->s, &r->facts, text);
    if (err == 0)
        err = open_fp_key(r, key_path, text);
    if (err == 0)
        err = store_each_lineage(r->s, false, on_lineage, r);
    if (err == 0 && !r->has_fp_key && r->n_sound == 0)
        err = err_say(text, ERR_CORRUPT,
                      "nothing of %s opens with this vault.key: put the key it was made with back, "
                      "or a backup in its place",
                      store);
    return err;
}

static int finish(struct repair *r, const char *store, bool json, enum exit_code *ret,
                  struct err_text *text)
{
    char aside[STORE_PATH_SIZE] = "";
    int err = apply(r);
    if (err == 0)
        err = store_salvage_each(r->s, on_name, r);
    if (err < 0)
        return err;
    struct store *s = r->s;
    r->s = NULL; /* the end frees it, also when it fails */
    err = store_salvage_end(s, store, aside, text);
    if (err < 0)
        return err;
    json ? print_json(r, store, aside) : print_text(r, store, aside);
    *ret = r->n_lost > 0 ? EXIT_SIGN_IN : EXIT_OK;
    return 0;
}

/* Sound is what the daemon opens. A store whose rows are all there may yet be refused: they, or
 * what SQLite knows of them, contradict each other. What another version or program wrote is not
 * mended, nor what cannot be opened for another reason than what is in it. */
static int judge_as_a_start(struct repair *r, const char *store, struct err_text *text)
{
    char mark[PATHS_SIZE + 32];
    (void)snprintf(mark, sizeof(mark), "%s/high-water", r->d->paths.state_dir);
    int err = store_judge(store, mark, text);
    r->is_refused = err == ERR_CORRUPT && r->n_sound > 0;
    return r->is_refused ? 0 : err;
}

static int repair_store(struct repair *r, const char *store, bool json, enum exit_code *ret,
                        struct err_text *text)
{
    char key[PATHS_SIZE + 32];
    (void)snprintf(key, sizeof(key), "%s/vault.key", r->d->paths.data_dir);
    int err = vault_open(key, &r->d->vault, text);
    if (err == 0)
        err = take_stock(r, store, key, text);
    if (err == 0 && nothing_is_lost(r) && r->facts.mended_pages == 0) {
        err = judge_as_a_start(r, store, text);
        if (err == 0 && !r->is_refused) {
            store_salvage_drop(r->s);
            r->s = NULL;
            store_salvage_sweep(store);
            print_fact(json, store, "sound", " is sound: nothing was changed.");
            *ret = EXIT_OK;
            return 0;
        }
    }
    if (err == 0)
        err = (r->profiles = json_array()) ? 0 : ERR_NOMEM;
    return err == 0 ? finish(r, store, json, ret, text) : err;
}

int repair(struct daemon *d, bool json, enum exit_code *ret, struct err_text *text)
{
    struct repair r = {.d = d, .now_wall_ms = clock_now().wall_ms};
    char store[PATHS_SIZE + 32], aside[STORE_PATH_SIZE] = "";
    struct file_facts facts;
    (void)snprintf(store, sizeof(store), "%s/store.db", d->paths.data_dir);

    int err = 0;
    if (path_look(PATH_CWD, store, false, &facts) == ERR_NOT_FOUND &&
        (err = store_salvage_go_on(store, aside, text)) == 0) {
        print_fact(json, store, "continued",
                   ": the repair that was interrupted is finished; `credwarden status` shows what "
                   "was saved.");
        *ret = EXIT_OK;
        return 0;
    }
    if (err == ERR_NOT_FOUND)
        err = err_say(text, err,
                      "%s is gone, and nothing of it is left to repair: put a backup in "
                      "its place",
                      store);
    if (err == 0)
        err = repair_store(&r, store, json, ret, text);
    store_salvage_drop(r.s);
    for (struct finding *f = r.findings, *next; f; f = next) {
        next = f->next;
        free(f);
    }
    json_decref(r.profiles);
    return err;
}

/*
 * What the real store says of damaged files, many times a second: for corrupt.py.
 *
 *     store_look FOLDER              everything that the store in it answers, as text
 *     store_look IMAGE SCRATCH       one case a line on standard input; "FILE OFFSET MASK" flips
 *                                    these bits, "FILE cut LENGTH" cuts it there, "FILE zero PAGE"
 *                                    empties a page of it, "FILE gone 0" takes it away
 *
 * A folder holds store.db, perhaps store.db-wal, and high-water. Each case is judged: "refused" (in
 * a sentence that names the file and a way out, every file left as it was), "same" (it opens, and
 * every answer is what it was), "told" (it opens as a restored copy), or "SILENT" and "CHANGED":
 * what must not be. One line a kind at the end, and one for each case that must not be.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "store/store.h"
#include "sys/file.h"

#define DUMP_MAX (64 * 1024 * 1024)
#define FILES    3

static const char *const names[FILES] = {"store.db", "store.db-wal", "high-water"};

_Noreturn static void give_up(const char *what)
{
    (void)fprintf(stderr, "store_look: %s\n", what);
    exit(2);
}

/* Everything the store answers */

static void add_bytes(struct buf *out, const char *name, const void *bytes, size_t len)
{
    CHECK(buf_addf(out, " %s=", name) == 0);
    for (size_t i = 0; i < len; i++) {
        CHECK(buf_addf(out, "%02x", ((const uint8_t *)bytes)[i]) == 0);
    }
}

static void add_fp(struct buf *out, const char *name, struct fp fp)
{
    add_bytes(out, name, fp.bytes, FP_LEN);
}

#define ADD(out, ...) CHECK(buf_addf(out, __VA_ARGS__) == 0)

static int on_profile(void *ctx, const struct profile_row *p)
{
    ADD(ctx, "profile %s -> %llx %s %lld\n", p->name, (unsigned long long)p->lineage,
        policy_name(p->policy), (long long)p->created_wall_ms);
    return 0;
}

struct looking {
    struct buf *out;
    uint64_t ids[256];
    size_t n;
};

static int on_lineage(void *ctx, const struct lineage_row *l)
{
    struct looking *k = ctx;
    CHECK(k->n < ARRAY_LEN(k->ids));
    k->ids[k->n++] = l->id;
    ADD(k->out, "lineage %llx %s %s subject_text=%s label=%s generation=%llu fence=%llu",
        (unsigned long long)l->id, l->provider, standing_name(l->standing), l->subject_text,
        l->label, (unsigned long long)l->generation, (unsigned long long)l->fence);
    ADD(k->out, " held=%lld doubt=%lld replayed=%d alarms=%x wanted=%s/%s retired=%lld/%s",
        (long long)l->held_until_wall_ms, (long long)l->doubt_since_wall_ms, l->replayed, l->alarms,
        l->wanted_profile, policy_name(l->wanted_policy), (long long)l->retired_wall_ms,
        l->retired_why);
    ADD(k->out, " expires=%lld life=%lld deadline=%lld boot=%lld/%s obtained=%lld",
        (long long)l->pair.expires_wall_ms, (long long)l->pair.life_ms,
        (long long)l->pair.login_deadline_wall_ms, (long long)l->expires_boot_ms, l->boot_id,
        (long long)l->obtained_wall_ms);
    ADD(k->out, " intent=%llx/%d/%lld/%s", (unsigned long long)l->intent, l->intent_is_replay,
        (long long)l->intent_begun_wall_ms, l->intent_boot_id);
    add_fp(k->out, "subject", l->subject);
    add_fp(k->out, "access", l->pair.access);
    add_fp(k->out, "refresh", l->pair.refresh);
    add_bytes(k->out, "definition", l->definition.bytes, l->definition.len);
    add_bytes(k->out, "sealed", l->sealed.bytes, l->sealed.len);
    ADD(k->out, "\n");
    return 0;
}

static int on_ledger(void *ctx, const struct ledger_row *r)
{
    ADD(ctx, "ledger %llx %s generation=%llu at=%lld origin=%s source=%s expires=%lld",
        (unsigned long long)r->lineage, r->is_spend ? "spend" : "pair",
        (unsigned long long)r->generation, (long long)r->wall_ms, origin_name(r->origin), r->source,
        (long long)r->expires_wall_ms);
    ADD(ctx, " intent=%llx open=%d replay=%d verdict=%s closed=%lld detail=%s",
        (unsigned long long)r->intent, r->is_open, r->replay, verdict_name(r->verdict),
        (long long)r->closed_wall_ms, r->detail);
    add_fp(ctx, "access", r->access);
    add_fp(ctx, "refresh", r->refresh);
    add_fp(ctx, "parent", r->parent);
    ADD(ctx, "\n");
    return 0;
}

static int on_alarm(void *ctx, const struct alarm_row *a)
{
    ADD(ctx, "alarm %llx %s %lld %lld %s\n", (unsigned long long)a->lineage, alarm_name(a->alarm),
        (long long)a->raised_wall_ms, (long long)a->cleared_wall_ms, a->detail);
    return 0;
}

/* What opening itself tells is no answer of before. */
static int on_event(void *ctx, const struct event_row *e)
{
    if (strcmp(e->kind, "restored") != 0 && strcmp(e->kind, "mark-missing") != 0) {
        ADD(ctx, "event %llu %lld %llx %s %s %s\n", (unsigned long long)e->id,
            (long long)e->wall_ms, (unsigned long long)e->lineage, e->profile, e->kind, e->detail);
    }
    return 0;
}

static int dump(struct store *s, struct buf *out)
{
    struct looking k = {.out = out};
    struct buf meta;
    buf_init(&meta, STORE_META_MAX);
    int err = store_each_profile(s, on_profile, out);
    if (err == 0) {
        err = store_each_lineage(s, true, on_lineage, &k);
    }
    for (size_t i = 0; i < k.n && err == 0; i++) {
        err = store_each_ledger(s, k.ids[i], 0, on_ledger, out);
    }
    if (err == 0) {
        err = store_each_alarm(s, true, on_alarm, out);
    }
    if (err == 0) {
        err = store_each_event(s, 0, 0, on_event, out);
    }
    if (err == 0) {
        err = store_meta_get(s, "fingerprint_key", &meta);
    }
    if (err == 0) {
        add_bytes(out, "fingerprint_key", meta.bytes, meta.len);
    }
    buf_release(&meta);
    return err;
}

/* Files */

struct file {
    struct buf bytes;
    bool is_there;
};

static void path_of(const char *folder, int i, char ret[512])
{
    (void)snprintf(ret, 512, "%s/%s", folder, names[i]);
}

static void load(const char *folder, int i, struct file *ret)
{
    char path[512];
    path_of(folder, i, path);
    buf_init(&ret->bytes, DUMP_MAX);
    int err = file_read(path, false, DUMP_MAX, &ret->bytes, NULL);
    ret->is_there = err == 0;
    if (err < 0 && err != ERR_NOT_FOUND) {
        give_up(path);
    }
}

static void put(const char *folder, int i, const struct file *f)
{
    char path[512];
    int fd = -1;
    path_of(folder, i, path);
    (void)path_remove(PATH_CWD, path);
    if (!f->is_there) {
        return;
    }
    if (path_open(PATH_CWD, path, OPEN_NEW, &fd) < 0 ||
        fd_write(fd, f->bytes.bytes, f->bytes.len) < 0) {
        give_up(path);
    }
    fd_close(&fd);
}

static bool is_as(const char *folder, int i, const struct file *f)
{
    struct file now;
    load(folder, i, &now);
    bool same = now.is_there == f->is_there && now.bytes.len == f->bytes.len &&
                (f->bytes.len == 0 || memcmp(now.bytes.bytes, f->bytes.bytes, f->bytes.len) == 0);
    buf_release(&now.bytes);
    return same;
}

static int open_in(const char *folder, struct store **ret, struct err_text *text)
{
    char path[512], mark[512];
    path_of(folder, 0, path);
    path_of(folder, 2, mark);
    return store_open(path, mark, 0, ret, text);
}

/* Judging */

enum outcome { REFUSED, SAME, TOLD, SILENT, CHANGED, WORDLESS, OUTCOMES };
static const char *const outcome_names[OUTCOMES] = {"refused", "same",    "told",
                                                    "SILENT",  "CHANGED", "WORDLESS"};

static enum outcome judge_refusal(const char *scratch, const struct file *files,
                                  const struct err_text *text)
{
    for (int i = 0; i < FILES; i++) {
        if (!is_as(scratch, i, &files[i])) {
            return CHANGED;
        }
    }
    bool names_file = strstr(text->text, scratch) != NULL;
    bool names_way = strstr(text->text, "credwarden repair") != NULL ||
                     strstr(text->text, "put a backup in its place") != NULL;
    return names_file && names_way ? REFUSED : WORDLESS;
}

static enum outcome judge(const char *scratch, const struct file *files, const struct buf *wanted)
{
    struct store *s = NULL;
    struct err_text text = {""};
    struct buf found;
    for (int i = 0; i < FILES; i++) {
        put(scratch, i, &files[i]);
    }
    if (open_in(scratch, &s, &text) < 0) {
        return judge_refusal(scratch, files, &text);
    }
    buf_init(&found, DUMP_MAX);
    bool is_same = dump(s, &found) == 0 && found.len == wanted->len &&
                   memcmp(found.bytes, wanted->bytes, found.len) == 0;
    enum outcome outcome = store_is_restored(s) ? TOLD : is_same ? SAME : SILENT;
    buf_release(&found);
    store_close(s);
    return outcome;
}

static void damage(struct file *f, const char *how, unsigned long at, unsigned long mask)
{
    if (strcmp(how, "gone") == 0) {
        f->is_there = false;
    } else if (strcmp(how, "cut") == 0) {
        f->bytes.len = at < f->bytes.len ? at : f->bytes.len;
    } else if (strcmp(how, "zero") == 0) {
        size_t from = at * 4096 < f->bytes.len ? at * 4096 : f->bytes.len;
        size_t len = f->bytes.len - from < 4096 ? f->bytes.len - from : 4096;
        memset(f->bytes.bytes + from, 0, len);
    } else if (at < f->bytes.len) {
        f->bytes.bytes[at] ^= (uint8_t)mask;
    }
}

static int run_cases(const char *image, const char *scratch)
{
    struct file whole[FILES];
    struct buf wanted;
    char line[256];
    unsigned long counts[OUTCOMES] = {0};
    struct store *s = NULL;
    struct err_text text = {""};
    buf_init(&wanted, DUMP_MAX);
    for (int i = 0; i < FILES; i++) {
        load(image, i, &whole[i]);
        put(scratch, i, &whole[i]);
    }
    if (open_in(scratch, &s, &text) < 0 || dump(s, &wanted) < 0) {
        give_up(text.text);
    }
    store_close(s);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        char name[32], how[32];
        unsigned long mask = 0;
        if (sscanf(line, "%31s %31s %lu", name, how, &mask) != 3) {
            give_up(line);
        }
        int which = 0;
        while (which < FILES && strcmp(names[which], name) != 0) {
            which++;
        }
        CHECK(which < FILES);
        struct file files[FILES];
        memcpy(files, whole, sizeof(files));
        buf_init(&files[which].bytes, DUMP_MAX);
        CHECK(buf_add(&files[which].bytes, whole[which].bytes.bytes, whole[which].bytes.len) == 0);
        bool is_flip = how[0] >= '0' && how[0] <= '9';
        damage(&files[which], how, is_flip ? strtoul(how, NULL, 10) : mask, mask);
        enum outcome outcome = judge(scratch, files, &wanted);
        buf_release(&files[which].bytes);
        counts[outcome]++;
        if (outcome >= SILENT) {
            (void)printf("%s: %s", outcome_names[outcome], line);
        }
    }
    for (int i = 0; i < OUTCOMES; i++) {
        (void)printf("%s %lu\n", outcome_names[i], counts[i]);
    }
    for (int i = 0; i < FILES; i++) {
        buf_release(&whole[i].bytes);
    }
    buf_release(&wanted);
    return counts[SILENT] + counts[CHANGED] + counts[WORDLESS] > 0;
}

static int print_all(const char *folder)
{
    struct store *s = NULL;
    struct err_text text = {""};
    struct buf all;
    buf_init(&all, DUMP_MAX);
    if (open_in(folder, &s, &text) < 0 || dump(s, &all) < 0) {
        give_up(text.text);
    }
    (void)fwrite(all.bytes, 1, all.len, stdout);
    (void)printf("\nrestored %d\n", store_is_restored(s));
    buf_release(&all);
    store_close(s);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2) {
        return print_all(argv[1]);
    }
    if (argc == 3) {
        return run_cases(argv[1], argv[2]);
    }
    give_up("usage: store_look FOLDER, or store_look IMAGE SCRATCH");
}

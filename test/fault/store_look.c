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
 * every answer is what it was), "told" (it opens as a restored copy), or what must not be:
 * "SILENT", "CHANGED", "WORDLESS", and "DISPUTED", where store_judge() has another answer than
 * store_open(). One line a kind at the end, and one for each case that must not be.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "store/store.h"
#include "sys/file.h"

#define DUMP_MAX   (64 * 1024 * 1024)
#define PAGE       ((size_t)4096)
#define FILES      3
#define ASKED_EACH 8 /* so many-th case, what a repair would say */

static const char *const names[FILES] = {"store.db", "store.db-wal", "high-water"};

_Noreturn static void give_up(const char *what)
{
    (void)fprintf(stderr, "store_look: %s\n", what);
    exit(2);
}

/* Everything the store answers */

static void add_bytes(struct buf *out, const char *name, const void *bytes, size_t len)
{
    const uint8_t *from = bytes;
    CHECK(buf_addf(out, " %s=", name) == 0);
    while (len > 0) {
        char text[2 * 512 + 1];
        size_t n = len < 512 ? len : 512;
        hex_encode(from, n, text);
        CHECK(buf_add(out, text, 2 * n) == 0);
        from += n;
        len -= n;
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
    ADD(k->out, " doubt=%llx claimed=%d kept=%d given_away=%d", (unsigned long long)l->doubt,
        l->claimed, l->kept, l->given_away);
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

static int on_consumer(void *ctx, const struct consumer_row *c)
{
    ADD(ctx, "consumer %llx %s %s %s with_pair=%d wish=%s before=%s bound=%lld\n",
        (unsigned long long)c->id, c->profile, c->kind, c->place, c->with_pair, wish_name(c->wish),
        c->before, (long long)c->bound_wall_ms);
    return 0;
}

static int on_capture(void *ctx, const struct captured_row *c)
{
    ADD(ctx, "capture %llx consumer=%llx lineage=%llx source=%s seen=%lld expires=%lld",
        (unsigned long long)c->id, (unsigned long long)c->consumer, (unsigned long long)c->lineage,
        c->source, (long long)c->seen_wall_ms, (long long)c->pair.expires_wall_ms);
    ADD(ctx, " life=%lld deadline=%lld ours=%d former=%d", (long long)c->pair.life_ms,
        (long long)c->pair.login_deadline_wall_ms, c->met.is_ours, c->met.is_former);
    add_fp(ctx, "access", c->pair.access);
    add_fp(ctx, "refresh", c->pair.refresh);
    add_bytes(ctx, "sealed", c->sealed.bytes, c->sealed.len);
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
        err = store_each_consumer(s, on_consumer, out);
    }
    if (err == 0) {
        err = store_each_capture(s, on_capture, out);
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

/* Files: as the image has them, and in the scratch folder, where they are written anew only when a
 * case has changed them */

struct file {
    struct buf bytes;
    bool is_there;
    int fd; /* in the scratch folder, or -1 */
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
    ret->fd = -1;
    if (err < 0 && err != ERR_NOT_FOUND) {
        give_up(path);
    }
}

static void put(const char *folder, int i, struct file *f)
{
    char path[512];
    path_of(folder, i, path);
    fd_close(&f->fd);
    (void)path_remove(PATH_CWD, path);
    if (!f->is_there) {
        return;
    }
    if (path_open(PATH_CWD, path, OPEN_NEW, &f->fd) < 0 ||
        fd_write(f->fd, f->bytes.bytes, f->bytes.len) < 0) {
        give_up(path);
    }
}

/* It is still that file which has the name, and what was put is what is in it. */
static bool is_as(const char *folder, int i, const struct file *f)
{
    static uint8_t found[DUMP_MAX];
    char path[512];
    struct file_facts named, ours;
    path_of(folder, i, path);
    int err = path_look(PATH_CWD, path, false, &named);
    if (!f->is_there) {
        return err == ERR_NOT_FOUND;
    }
    return err == 0 && fd_look(f->fd, &ours) == 0 && named.ino == ours.ino &&
           ours.size == (int64_t)f->bytes.len &&
           fd_read_at(f->fd, found, f->bytes.len, 0) == (ssize_t)f->bytes.len &&
           (f->bytes.len == 0 || memcmp(found, f->bytes.bytes, f->bytes.len) == 0);
}

static int open_in(const char *folder, struct store **ret, struct err_text *text)
{
    char path[512], mark[512];
    path_of(folder, 0, path);
    path_of(folder, 2, mark);
    return store_open(path, mark, 0, ret, text);
}

static int judge_in(const char *folder)
{
    char path[512], mark[512];
    path_of(folder, 0, path);
    path_of(folder, 2, mark);
    return store_judge(path, mark, NULL);
}

/* Judging */

enum outcome { REFUSED, SAME, TOLD, SILENT, CHANGED, WORDLESS, DISPUTED, OUTCOMES };
static const char *const outcome_names[OUTCOMES] = {"refused", "same",     "told",    "SILENT",
                                                    "CHANGED", "WORDLESS", "DISPUTED"};

struct judging {
    const char *scratch;
    struct file files[FILES]; /* as they are there, the damage of the case at hand included */
    struct buf wanted;        /* all answers */
    unsigned long counts[OUTCOMES], n;
};

static void put_all(struct judging *j)
{
    for (int i = 0; i < FILES; i++) {
        put(j->scratch, i, &j->files[i]);
    }
}

static enum outcome judge_refusal(const struct judging *j, const struct err_text *text)
{
    for (int i = 0; i < FILES; i++) {
        if (!is_as(j->scratch, i, &j->files[i])) {
            return CHANGED;
        }
    }
    bool names_file = strstr(text->text, j->scratch) != NULL;
    bool names_way = strstr(text->text, "credwarden repair") != NULL ||
                     strstr(text->text, "put a backup in its place") != NULL;
    return names_file && names_way ? REFUSED : WORDLESS;
}

static enum outcome judge_opened(const struct judging *j, struct store *s)
{
    struct buf found;
    buf_init(&found, DUMP_MAX);
    bool is_same = dump(s, &found) == 0 && found.len == j->wanted.len &&
                   memcmp(found.bytes, j->wanted.bytes, found.len) == 0;
    buf_release(&found);
    return store_is_restored(s) ? TOLD : is_same ? SAME : SILENT;
}

static enum outcome judge(struct judging *j)
{
    struct store *s = NULL;
    struct err_text text = {""};
    bool is_asked = j->n++ % ASKED_EACH == 0;
    int foretold = is_asked ? judge_in(j->scratch) : 0;
    int err = open_in(j->scratch, &s, &text);
    enum outcome outcome = err < 0 ? judge_refusal(j, &text) : judge_opened(j, s);
    store_close(s);
    return is_asked && foretold != err ? DISPUTED : outcome;
}

/* Back to the image's. A refusal has left the others as they were. */
static void mend(struct judging *j, int which, enum outcome outcome)
{
    if (outcome == REFUSED) {
        put(j->scratch, which, &j->files[which]);
    } else {
        put_all(j);
    }
}

static enum outcome try_flip(struct judging *j, int which, size_t at, uint8_t mask)
{
    struct file *f = &j->files[which];
    CHECK(at < f->bytes.len);
    uint8_t *byte = f->bytes.bytes + at;
    *byte ^= mask;
    CHECK(fd_write_at(f->fd, byte, 1, (off_t)at) == 0);
    enum outcome outcome = judge(j);
    *byte ^= mask;
    if (outcome == REFUSED) {
        CHECK(fd_write_at(f->fd, byte, 1, (off_t)at) == 0);
    } else {
        put_all(j);
    }
    return outcome;
}

static void damage(struct file *f, const char *how, size_t value)
{
    if (strcmp(how, "gone") == 0) {
        f->is_there = false;
    } else if (strcmp(how, "cut") == 0) {
        f->bytes.len = value < f->bytes.len ? value : f->bytes.len;
    } else if (strcmp(how, "zero") == 0) {
        size_t from = value * PAGE < f->bytes.len ? value * PAGE : f->bytes.len;
        size_t len = f->bytes.len - from < PAGE ? f->bytes.len - from : PAGE;
        memset(f->bytes.bytes + from, 0, len);
    } else {
        give_up(how);
    }
}

static enum outcome try_more(struct judging *j, int which, const char *how, size_t value)
{
    struct file *f = &j->files[which];
    struct buf kept = f->bytes;
    buf_init(&f->bytes, DUMP_MAX);
    CHECK(buf_add(&f->bytes, kept.bytes, kept.len) == 0);
    damage(f, how, value);
    put(j->scratch, which, f);
    enum outcome outcome = judge(j);
    buf_release(&f->bytes);
    f->bytes = kept;
    f->is_there = true;
    mend(j, which, outcome);
    return outcome;
}

static void begin(struct judging *j, const char *image)
{
    struct store *s = NULL;
    struct err_text text = {""};
    buf_init(&j->wanted, DUMP_MAX);
    for (int i = 0; i < FILES; i++) {
        load(image, i, &j->files[i]);
    }
    put_all(j);
    if (open_in(j->scratch, &s, &text) < 0 || dump(s, &j->wanted) < 0) {
        give_up(text.text);
    }
    store_close(s);
    put_all(j);
}

static enum outcome try_line(struct judging *j, const char *line)
{
    char name[32], how[32];
    unsigned long value = 0;
    if (sscanf(line, "%31s %31s %lu", name, how, &value) != 3) {
        give_up(line);
    }
    int which = 0;
    while (which < FILES && strcmp(names[which], name) != 0) {
        which++;
    }
    CHECK(which < FILES && j->files[which].is_there);
    bool is_flip = how[0] >= '0' && how[0] <= '9';
    return is_flip ? try_flip(j, which, strtoul(how, NULL, 10), (uint8_t)value)
                   : try_more(j, which, how, value);
}

static int run_cases(const char *image, const char *scratch)
{
    struct judging j = {.scratch = scratch};
    char line[256];
    begin(&j, image);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        enum outcome outcome = try_line(&j, line);
        j.counts[outcome]++;
        if (outcome >= SILENT) {
            (void)printf("%s: %s", outcome_names[outcome], line);
        }
    }
    for (int i = 0; i < OUTCOMES; i++) {
        (void)printf("%s %lu\n", outcome_names[i], j.counts[i]);
    }
    for (int i = 0; i < FILES; i++) {
        fd_close(&j.files[i].fd);
        buf_release(&j.files[i].bytes);
    }
    buf_release(&j.wanted);
    return j.counts[SILENT] + j.counts[CHANGED] + j.counts[WORDLESS] + j.counts[DISPUTED] > 0;
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

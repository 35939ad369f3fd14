/*
 * What the tests of the store share: a store in a folder of its own, and short ways to put made-up
 * lineages, intents and settlements into it.
 */
#ifndef STORE_BENCH_H
#define STORE_BENCH_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/time.h"
#include "store/internal.h"

#define NOW_MS INT64_C(1790000000000)

struct bench {
    char dir[64];
    char path[96];
    char mark_path[96];
    struct store *s;
    struct err_text text;
};

static inline int bench_open(struct bench *b, int flags)
{
    b->text.text[0] = '\0';
    return store_open(b->path, b->mark_path, flags, &b->s, &b->text);
}

static inline void bench_close(struct bench *b)
{
    store_close(b->s);
    b->s = NULL;
}

static inline void bench_reopen(struct bench *b)
{
    bench_close(b);
    int err = bench_open(b, 0);
    if (err != 0) {
        print_message("%s\n", b->text.text);
    }
    assert_int_equal(err, 0);
}

static inline int bench_setup(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    assert_non_null(b);
    (void)snprintf(b->dir, sizeof(b->dir), "/tmp/credwarden-store-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    (void)snprintf(b->path, sizeof(b->path), "%s/store", b->dir);
    (void)snprintf(b->mark_path, sizeof(b->mark_path), "%s/mark", b->dir);
    assert_int_equal(bench_open(b, STORE_CREATE), 0);
    *state = b;
    return 0;
}

static inline void bench_rm(const char *dir)
{
    int status = 0;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)execlp("rm", "rm", "-rf", "--", dir, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static inline int bench_teardown(void **state)
{
    struct bench *b = *state;
    bench_close(b);
    bench_rm(b->dir);
    free(b);
    return 0;
}

static inline struct fp fp_of(uint64_t n, uint8_t kind)
{
    struct fp fp = {.bytes = {kind}};
    memcpy(fp.bytes + 8, &n, sizeof(n));
    return fp;
}

static inline struct fp refresh_of(uint64_t lineage, uint64_t generation)
{
    return fp_of(lineage * 1000 + generation, 'r');
}

static inline struct fp access_of(uint64_t lineage, uint64_t generation)
{
    return fp_of(lineage * 1000 + generation, 'a');
}

static inline struct pair pair_of(uint64_t lineage, uint64_t generation)
{
    return (struct pair){
        .access = access_of(lineage, generation),
        .refresh = refresh_of(lineage, generation),
        .expires_wall_ms = NOW_MS + (int64_t)generation * HOUR_MS,
        .life_ms = HOUR_MS,
        .login_deadline_wall_ms = NOW_MS + 7,
    };
}

/* Recognizable in a file: "<SEALED 5.2>" over and over. */
#define SEALED_LEN 600
static inline void sealed_of(uint64_t lineage, uint64_t generation, char ret[SEALED_LEN])
{
    char word[32];
    int n = snprintf(word, sizeof(word), "<SEALED %llu.%llu>", (unsigned long long)lineage,
                     (unsigned long long)generation);
    for (size_t i = 0; i < SEALED_LEN; i++) {
        ret[i] = word[i % (size_t)n];
    }
}

static inline struct capture capture_of(uint64_t lineage, const char *sealed)
{
    return (struct capture){
        .lineage = lineage,
        .profile = "work",
        .policy = POLICY_ALWAYS,
        .provider = "lab",
        .definition = "definition",
        .definition_len = 10,
        .pair = pair_of(lineage, 1),
        .expires_boot_ms = 4711,
        .boot_id = "boot-1",
        .origin = ORIGIN_ADDED,
        .source = "stdin",
        .sealed = sealed,
        .sealed_len = SEALED_LEN,
        .held_until_wall_ms = NOW_MS + 1,
        .now_wall_ms = NOW_MS,
    };
}

static inline int put_lineage(struct store *s, uint64_t lineage)
{
    char sealed[SEALED_LEN];
    sealed_of(lineage, 1, sealed);
    struct capture c = capture_of(lineage, sealed);
    return store_capture(s, &c);
}

static inline int put_live(struct store *s, uint64_t lineage, const char *profile)
{
    int err = put_lineage(s, lineage);
    return err < 0 ? err
                   : store_adopt(s, lineage, STANDING_LIVE, fp_of(lineage, 's'), "ada", "ada@lab",
                                 profile, POLICY_ALWAYS, NOW_MS);
}

/* Intents are numbered lineage * 1000 + the generation they spend; fences are generations. */
static inline struct intent intent_of(uint64_t lineage, uint64_t generation)
{
    return (struct intent){
        .id = lineage * 1000 + generation,
        .lineage = lineage,
        .fence = generation,
        .generation = generation,
        .presented = refresh_of(lineage, generation),
        .boot_id = "boot-1",
        .now_wall_ms = NOW_MS + 10,
        .cause = "due",
    };
}

static inline int put_intent(struct store *s, uint64_t lineage, uint64_t generation)
{
    struct intent i = intent_of(lineage, generation);
    return store_intent(s, &i);
}

/* Settles the intent that spent `generation`. */
static inline struct settlement settlement_of(uint64_t lineage, uint64_t generation,
                                              const char *sealed)
{
    return (struct settlement){
        .intent = lineage * 1000 + generation,
        .lineage = lineage,
        .fence = generation,
        .generation = generation + 1,
        .pair = pair_of(lineage, generation + 1),
        .expires_boot_ms = 4712,
        .boot_id = "boot-1",
        .origin = ORIGIN_SPENT,
        .standing = STANDING_LIVE,
        .sealed = sealed,
        .sealed_len = SEALED_LEN,
        .detail = "HTTP 200",
        .now_wall_ms = NOW_MS + 20,
    };
}

static inline int put_settlement(struct store *s, uint64_t lineage, uint64_t generation)
{
    char sealed[SEALED_LEN];
    sealed_of(lineage, generation + 1, sealed);
    struct settlement m = settlement_of(lineage, generation, sealed);
    return store_settle(s, &m);
}

static inline struct closing closing_of(uint64_t lineage, uint64_t generation, enum verdict verdict,
                                        enum standing standing)
{
    return (struct closing){
        .intent = lineage * 1000 + generation,
        .lineage = lineage,
        .verdict = verdict,
        .standing = standing,
        .detail = "HTTP 503",
        .now_wall_ms = NOW_MS + 30,
    };
}

/* The row must be there. Release it. */
static inline struct lineage_row row_of(struct store *s, uint64_t lineage)
{
    struct lineage_row row;
    lineage_row_init(&row);
    assert_int_equal(store_get_lineage(s, lineage, &row), 0);
    return row;
}

static inline void assert_sealed(const struct lineage_row *row, uint64_t generation)
{
    char sealed[SEALED_LEN];
    sealed_of(row->id, generation, sealed);
    assert_int_equal(row->sealed.len, SEALED_LEN);
    assert_memory_equal(row->sealed.bytes, sealed, SEALED_LEN);
}

/* Whole files, as they are on the disk */

struct image {
    char *bytes;
    size_t len;
};

static inline bool image_read(const char *path, struct image *ret)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        return false;
    }
    assert_int_equal(fstat(fd, &st), 0);
    ret->len = (size_t)st.st_size;
    ret->bytes = malloc(ret->len + 1);
    assert_non_null(ret->bytes);
    assert_int_equal(read(fd, ret->bytes, ret->len), ret->len);
    close(fd);
    return true;
}

static inline void image_write(const char *path, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    close(fd);
}

static inline void image_release(struct image *i)
{
    free(i->bytes);
    *i = (struct image){0};
}

static inline void copy_file(const char *from, const char *to)
{
    struct image i = {0};
    assert_true(image_read(from, &i));
    image_write(to, i.bytes, i.len);
    image_release(&i);
}

/* Where backups may go. */
static inline void path_elsewhere(const struct bench *b, const char *name, char ret[128])
{
    (void)snprintf(ret, 128, "%s/elsewhere", b->dir);
    assert_true(mkdir(ret, 0700) == 0 || errno == EEXIST);
    (void)snprintf(ret, 128, "%s/elsewhere/%s", b->dir, name);
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)

#endif

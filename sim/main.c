/*
 * The simulator's command line. Exit status: 0 all held, 1 an oracle was broken, 2 misuse.
 */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"
#include "sim/coverage.h"
#include "sim/shrink.h"
#include "sim/story.h"

enum { JOBS_MAX = 64, LAST_LINES = 14, STORY_NAME_MAX = 512 };

struct options {
    uint64_t from, runs;
    int64_t seconds; /* 0: until the runs are done */
    int64_t jobs;
    bool trace, shrinks, quiet, coverage, survey;
    const char *save, *stories;
};

struct tally {                  /* of one job; goes through a pipe */
    uint64_t runs, steps, seed; /* seed: of the first that failed */
    uint64_t cut_short;
    struct outcome failure;
};

static struct world world;
static struct tape tape;
static struct story story;

static double seconds_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Of one core, used up by this process and by the jobs that have ended. */
static double seconds_used(void)
{
    double sum = 0;
    for (int i = 0; i < 2; i++) {
        struct rusage u;
        (void)getrusage(i == 0 ? RUSAGE_SELF : RUSAGE_CHILDREN, &u);
        sum += (double)u.ru_utime.tv_sec + (double)u.ru_utime.tv_usec / 1e6;
        sum += (double)u.ru_stime.tv_sec + (double)u.ru_stime.tv_usec / 1e6;
    }
    return sum;
}

/* ---- many runs ---- */

static void run_many(const struct options *o, uint64_t first, uint64_t stride, struct tally *ret)
{
    double until = seconds_now() + (double)o->seconds;
    memset(ret, 0, sizeof(*ret));
    for (uint64_t i = first; o->runs == 0 || i < o->runs; i += stride) {
        struct outcome out;
        run(&world, o->from + i, NULL, NULL, &out);
        ret->runs++;
        ret->steps += out.steps;
        ret->cut_short += out.cut_short;
        if (out.failed && o->survey) {
            printf("ORACLE %s: %s, seed %" PRIu64 ", step %" PRIu64 "\n", out.oracle, out.why,
                   o->from + i, out.steps);
        } else if (out.failed) {
            ret->seed = o->from + i;
            ret->failure = out;
            return;
        }
        if (o->seconds != 0 && (ret->runs & 15) == 0 && seconds_now() >= until)
            return;
    }
}

static bool read_all(int fd, void *into, size_t size)
{
    uint8_t *at = into;
    while (size > 0) {
        ssize_t n = read(fd, at, size);
        if (n <= 0)
            return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

static void job(const struct options *o, uint64_t index, int out)
{
    struct tally tally;
    const uint64_t *cells;
    size_t n;
    run_many(o, index, (uint64_t)o->jobs, &tally);
    coverage_get(&cells, &n);
    (void)fflush(stdout);
    bool told = write(out, &tally, sizeof(tally)) == (ssize_t)sizeof(tally) &&
                write(out, cells, n * sizeof(*cells)) == (ssize_t)(n * sizeof(*cells));
    _exit(told ? 0 : 2);
}

static void add_tally(struct tally *sum, const struct tally *t)
{
    sum->runs += t->runs;
    sum->steps += t->steps;
    sum->cut_short += t->cut_short;
    if (t->failure.failed && (!sum->failure.failed || t->seed < sum->seed)) {
        sum->seed = t->seed;
        sum->failure = t->failure;
    }
}

/* false: a job died. */
static bool run_jobs(const struct options *o, struct tally *ret)
{
    int pipes[JOBS_MAX][2];
    bool well = true;
    memset(ret, 0, sizeof(*ret));
    for (int64_t i = 0; i < o->jobs; i++) {
        if (pipe(pipes[i]) < 0)
            return false;
        pid_t pid = fork();
        if (pid < 0)
            return false;
        if (pid == 0)
            job(o, (uint64_t)i, pipes[i][1]);
        (void)close(pipes[i][1]);
    }
    for (int64_t i = 0; i < o->jobs; i++) {
        static uint64_t cells[8192];
        const uint64_t *mine;
        struct tally t;
        size_t n;
        coverage_get(&mine, &n);
        CHECK(n <= ARRAY_LEN(cells));
        if (read_all(pipes[i][0], &t, sizeof(t)) &&
            read_all(pipes[i][0], cells, n * sizeof(cells[0]))) {
            add_tally(ret, &t);
            coverage_add(cells, n);
        } else {
            well = false;
        }
        (void)close(pipes[i][0]);
    }
    while (wait(NULL) > 0)
        ;
    return well;
}

/* ---- one failure ---- */

static void tell_last(uint64_t seed, struct tape *t, const char *title)
{
    struct outcome out;
    story.n = 0;
    story.out = NULL;
    if (t)
        tape_rewind(t, true);
    run(&world, seed, t, &story, &out);
    printf("%s\n", title);
    story_last(&story, stdout, t ? STORY_LINES : LAST_LINES);
}

static void keep(const struct options *o, uint64_t seed, const struct outcome *failure)
{
    struct outcome again;
    story.n = 0;
    story.out = NULL;
    tape_rewind(&tape, true);
    run(&world, seed, &tape, &story, &again);
    if (!again.failed || strcmp(again.oracle, failure->oracle) != 0) {
        (void)fprintf(stderr, "sim: what was made short does not fail like that: not kept\n");
        return;
    }
    FILE *out = fopen(o->save, "we");
    if (!out) {
        (void)fprintf(stderr, "sim: %s cannot be written\n", o->save);
        return;
    }
    (void)fprintf(out, "# %s: %s\n#\n", failure->oracle, failure->why);
    uint64_t from = story.n > STORY_LINES ? story.n - STORY_LINES : 0;
    for (uint64_t i = from; i < story.n; i++)
        (void)fprintf(out, "# %s\n", story.last[i % STORY_LINES]);
    tape_save(&tape, seed, out);
    (void)fclose(out);
    printf("kept as %s\n", o->save);
}

static void tell_failure(const struct options *o, uint64_t seed, const struct outcome *failure)
{
    struct outcome out;
    printf("ORACLE %s: %s, seed %" PRIu64 ", step %" PRIu64 "\n", failure->oracle, failure->why,
           seed, failure->steps);
    if (o->quiet)
        return;
    tell_last(seed, NULL, "How it ended:");
    if (o->shrinks) {
        tape_rewind(&tape, false);
        run(&world, seed, &tape, NULL, &out);
        shrink(&world, seed, failure->oracle, &tape);
        tell_last(seed, &tape, "The same, as short as it gets:");
        if (o->save)
            keep(o, seed, failure);
    }
    printf("Again: sim --seed %" PRIu64 " --trace\n", seed);
}

static int trace(const struct options *o)
{
    struct outcome out;
    story.out = stdout;
    run(&world, o->from, NULL, &story, &out);
    return out.failed;
}

/* ---- kept stories ---- */

static int tell_again(const struct options *o, const char *path)
{
    struct outcome out;
    uint64_t seed;
    FILE *in = fopen(path, "re");
    if (!in || tape_load(in, &tape, &seed) < 0) {
        (void)fprintf(stderr, "sim: %s: not a story\n", path);
        if (in)
            (void)fclose(in);
        return 2;
    }
    (void)fclose(in);
    story.out = stdout;
    run(&world, seed, &tape, o->trace ? &story : NULL, &out);
    if (out.failed)
        printf("ORACLE %s: %s, story %s\n", out.oracle, out.why, path);
    return out.failed;
}

static int tell_stories(const struct options *o)
{
    int worst = 0, n = 0;
    DIR *dir = opendir(o->stories);
    if (!dir && errno == ENOTDIR)
        return tell_again(o, o->stories);
    if (!dir) {
        (void)fprintf(stderr, "sim: no such folder: %s\n", o->stories);
        return 2;
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[STORY_NAME_MAX];
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof(path), "%s/%s", o->stories, entry->d_name);
        int result = tell_again(o, path);
        worst = result > worst ? result : worst;
        n++;
    }
    (void)closedir(dir);
    if (o->coverage)
        coverage_print();
    printf("stories: {\"told\": %d, \"broken\": %s}\n", n, worst ? "true" : "false");
    return worst;
}

/* ---- options ---- */

static int usage(void)
{
    (void)fprintf(
        stderr,
        "usage: sim [--seed N [--trace]] [--from N] [--runs R] [--seconds S] [--jobs J]\n"
        "           [--shrink [--save FILE] | --no-shrink] [--stories DIR|FILE [--trace]] [--coverage]\n"
        "           [--reach EVENT/STATE] [--survey] [--quiet]\n"
        "  --seed N      this run alone (or, with --runs, from it on)\n"
        "  --shrink      make the first failure short (as long as it is not said not to)\n"
        "  --survey      name every failure, and go on\n"
        "  --stories D   tell every kept story again, or one\n"
        "  --coverage    which events met which states\n"
        "  --reach C     stop at that cell of it, or at scene/NAME, as if it were a failure: with\n"
        "                --save, a story\n");
    return 2;
}

static bool read_number(const char *text, int64_t *ret)
{
    return str_to_i64(text, 0, INT64_MAX, ret) == 0;
}

static bool read_options(int argc, char **argv, struct options *o)
{
    static const struct option long_options[] = {
        {"seed", required_argument, NULL, 's'},
        {"from", required_argument, NULL, 'f'},
        {"runs", required_argument, NULL, 'r'},
        {"seconds", required_argument, NULL, 't'},
        {"jobs", required_argument, NULL, 'j'},
        {"save", required_argument, NULL, 'o'},
        {"stories", required_argument, NULL, 'd'},
        {"trace", no_argument, NULL, 'T'},
        {"shrink", no_argument, NULL, 'S'},
        {"no-shrink", no_argument, NULL, 'N'},
        {"coverage", no_argument, NULL, 'C'},
        {"quiet", no_argument, NULL, 'q'},
        {"survey", no_argument, NULL, 'v'},
        {"reach", required_argument, NULL, 'R'},
        {NULL, 0, NULL, 0},
    };
    int64_t from = 1, runs = 0;
    bool single = false;
    *o = (struct options){.jobs = 1, .shrinks = true};
    for (int c; (c = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        bool well = true;
        switch (c) {
        case 's':
            single = true;
            well = read_number(optarg, &from);
            break;
        case 'f':
            well = read_number(optarg, &from);
            break;
        case 'r':
            well = read_number(optarg, &runs);
            break;
        case 't':
            well = read_number(optarg, &o->seconds);
            break;
        case 'j':
            well = read_number(optarg, &o->jobs) && o->jobs > 0 && o->jobs <= JOBS_MAX;
            break;
        case 'o':
            o->save = optarg;
            break;
        case 'd':
            o->stories = optarg;
            break;
        case 'T':
            o->trace = true;
            break;
        case 'S':
            o->shrinks = true;
            break;
        case 'N':
            o->shrinks = false;
            break;
        case 'C':
            o->coverage = true;
            break;
        case 'v':
            o->survey = true;
            break;
        case 'R':
            well = coverage_stop_at(optarg);
            break;
        case 'q':
            o->quiet = true;
            break;
        default:
            well = false;
        }
        if (!well)
            return false;
    }
    o->from = (uint64_t)from;
    o->runs = runs != 0 ? (uint64_t)runs : single ? 1 : o->seconds != 0 ? 0 : 10000;
    return optind == argc && (!o->trace || single || o->stories);
}

int main(int argc, char **argv)
{
    struct options o;
    struct tally sum;
    if (!read_options(argc, argv, &o))
        return usage();
    (void)setvbuf(stdout, NULL, _IOLBF, 0); /* several jobs write there, a line at a time */
    if (o.coverage)
        coverage_begin();
    if (o.stories)
        return tell_stories(&o);
    if (o.trace)
        return trace(&o);
    bool well = true;
    if (o.jobs == 1)
        run_many(&o, 0, 1, &sum);
    else
        well = run_jobs(&o, &sum);
    double took = seconds_used();
    if (!well) {
        (void)fprintf(stderr, "sim: a job died\n");
        return 2;
    }
    if (!o.quiet)
        printf("%" PRIu64 " schedules, %" PRIu64 " checked steps, %.0f a second of one core\n",
               sum.runs, sum.steps, (double)sum.steps / took);
    if (sum.failure.failed)
        tell_failure(&o, sum.seed, &sum.failure);
    if (o.coverage)
        coverage_print();
    if (o.coverage || o.survey)
        coverage_scenes_print();
    if (sum.failure.failed)
        printf("violation: {\"seed\": %" PRIu64 ", \"schedules\": %" PRIu64
               ", \"oracle\": \"%s\"}\n",
               sum.seed, sum.runs, sum.failure.oracle);
    else
        printf("runs: {\"schedules\": %" PRIu64 ", \"cut_short\": %" PRIu64 ", \"steps\": %" PRIu64
               ", \"steps_per_second\": %.0f}\n",
               sum.runs, sum.cut_short, sum.steps, (double)sum.steps / took);
    return sum.failure.failed;
}

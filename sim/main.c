#include <stdio.h>
#include <time.h>
#include "sim/story.h"
#include "sim/told.h"
static struct world world; static struct tape tape; static struct story story;
int main(int argc, char **argv)
{
    uint64_t from = argc > 1 ? strtoull(argv[1],0,10) : 1, n = argc > 2 ? strtoull(argv[2],0,10) : 1000;
    bool trace = argc > 3;
    struct timespec a, b; clock_gettime(CLOCK_MONOTONIC, &a);
    uint64_t steps = 0, fails = 0, full = 0;
    struct outcome o;
    for (uint64_t s = from; s < from + n; s++) {
        story.out = trace ? stdout : NULL;
        story.n = 0;
        run(&world, s, NULL, trace ? &story : NULL, &o);
        steps += o.steps; full += world.is_full;
        if (o.failed) { fails++; if (fails <= 40) printf("ORACLE %s: %s, seed %lu, step %lu\n", o.oracle, o.why, s, o.steps); }
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    double t = (double)(b.tv_sec-a.tv_sec) + (double)(b.tv_nsec-a.tv_nsec)/1e9;
    printf("%lu runs %lu fails %lu full, %lu steps %.0f/s\n", n, fails, full, steps, (double)steps/t);
    (void)tape; return fails > 0;
}

/* Calls on the threads of an OpenMP runtime.  The runtime of this file starts its
 * threads for each region, and may start fewer than requested. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/pool.h"
#include "tests/problem.h"

enum { MOST = 8 };

static int given = 4; /* threads of a region */
static atomic_int regions;
static _Thread_local int number, count = 1;

typedef struct member {
    void (*fn)(void *);
    void *data;
    int number, count;
} member;

static void *run_member(void *argument) {
    const member *m = argument;
    number = m->number;
    count = m->count;
    m->fn(m->data);
    return NULL;
}

static void parallel(void (*fn)(void *), void *data, unsigned threads, unsigned flags) {
    pthread_t thread[MOST];
    member members[MOST];
    CHECK(threads >= 2 && flags == 0);
    atomic_fetch_add(&regions, 1);
    for (int i = 0; i < given; i++)
        members[i] = (member){fn, data, i, given};
    for (int i = 1; i < given; i++)
        CHECK(!pthread_create(&thread[i], NULL, run_member, &members[i]));
    run_member(&members[0]);
    number = 0;
    count = 1;
    for (int i = 1; i < given; i++)
        pthread_join(thread[i], NULL);
}

static int thread_num(void) { return number; }
static int num_threads(void) { return count; }
static int max_threads(void) { return 2; }

static const fc_openmp runtime = {parallel, max_threads, num_threads, thread_num};

/* A shared batch of rows, and one row, whose units a team shares with barriers. */
static const spec specs[] = {
    {.cell = "lstm", .in = 29, .hidden = 33, .layers = 2, .directions = 2, .steps = 40,
     .rows = 8},
    {.cell = "gru", .in = 64, .hidden = 128, .layers = 1, .directions = 1, .steps = 80,
     .rows = 1},
};

static void compare(const problem *p, const outcome *wanted, int threads) {
    outcome got = outcome_new(p);
    run_core(p, FC_F32, threads, GRADIENTS, &got);
    CHECK_SAME_BITS(got.y, wanted->y, p->y_count);
    CHECK_SAME_BITS(got.g, wanted->g, p->count);
    outcome_free(&got);
}

static void test_the_bits_are_the_same(void) {
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        problem p;
        problem_make(&p, &specs[i]);
        outcome wanted = outcome_new(&p);
        run_core(&p, FC_F32, 1, GRADIENTS, &wanted);
        fc_use_openmp(&runtime);
        for (given = 1; given <= 5; given += 2)
            for (int threads = 2; threads <= 4; threads++) {
                describe("OpenMP: case %d, %d threads of %d", (int)i, threads, given);
                compare(&p, &wanted, threads);
            }
        given = 4;
        fc_use_openmp(NULL);
        outcome_free(&wanted);
        problem_free(&p);
    }
}

/* Each part runs once; a team runs with all its members or with one. */
typedef struct record {
    atomic_int times[MOST], parts;
} record;

static void note(void *context, int part, int parts) {
    record *r = context;
    atomic_fetch_add(&r->times[part], 1);
    atomic_store(&r->parts, parts);
}

static void test_each_part_is_run_once(void) {
    fc_use_openmp(&runtime);
    for (given = 1; given <= 6; given++) {
        record parts = {0}, team = {0};
        int before = regions;
        describe("OpenMP: %d threads", given);
        usleep(25 * 1000); /* earlier lost time may have banned sharing */
        fc_run_parts(note, &parts, 5);
        CHECK(regions == before + 1);
        for (int part = 0; part < MOST; part++)
            CHECK(parts.times[part] == (part < 5));
        fc_run_team(note, &team, 3);
        int members = team.parts;
        CHECK(members == 1 || (members == 3 && given >= 3));
        for (int part = 0; part < MOST; part++)
            CHECK(team.times[part] == (part < members));
    }
    given = 4;
    fc_use_openmp(NULL);
    int before = regions;
    record parts = {0};
    fc_run_parts(note, &parts, 5);
    CHECK(regions == before);
}

#if THREADS_IN_CHILDREN
static void fork_here(void *context, int part, int parts) {
    (void)parts;
    if (part == 0)
        *(pid_t *)context = fork();
}

/* A child process uses the library's threads, also one forked within a region. */
static void test_fork(void) {
    fc_use_openmp(&runtime);
    usleep(25 * 1000);
    int before = regions;
    pid_t child = fork(), inner = -1;
    if (child == 0) {
        record parts = {0};
        alarm(60); /* ends a hang */
        fc_run_parts(note, &parts, 3);
        _exit(regions != before || parts.times[2] != 1);
    }
    int code = -1;
    describe("OpenMP: fork");
    CHECK(child > 0 && waitpid(child, &code, 0) == child);
    CHECK(WIFEXITED(code) && WEXITSTATUS(code) == 0);
    describe("OpenMP: fork within a region");
    fc_run_parts(fork_here, &inner, 3);
    if (inner == 0) {
        record parts = {0};
        alarm(60);
        fc_run_parts(note, &parts, 3);
        _exit(regions != before + 1 || parts.times[2] != 1);
    }
    CHECK(inner > 0 && waitpid(inner, &code, 0) == inner);
    CHECK(WIFEXITED(code) && WEXITSTATUS(code) == 0);
    fc_use_openmp(NULL);
}
#endif

int main(void) {
    seed(801);
    test_the_bits_are_the_same();
    test_each_part_is_run_once();
#if THREADS_IN_CHILDREN
    test_fork();
#else
    printf("OpenMP: no fork, a child has no threads here\n");
#endif
    return finish("openmp");
}

/* Calls from several threads at once, each with several threads, and fork. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runtime/pool.h"
#include "tests/problem.h"

enum { CALLERS = 4, CALLS = 25, FORKS = 10 };
/* `test_pool 5`: a fifth of the repeated calls, for emulators. */
static int divisor = 1;

/* Enough work that four threads are used. */
static const spec of_lstm = {.cell = "lstm",
                             .in = 29,
                             .hidden = 33,
                             .layers = 1,
                             .directions = 1,
                             .steps = 40,
                             .rows = 8};

static problem shared;
static outcome wanted;

static void compute_and_compare(int threads) {
    outcome got = outcome_new(&shared);
    run_core(&shared, FC_F32, threads, GRADIENTS, &got);
    describe("pool, %d threads", threads);
    CHECK_SAME_BITS(got.y, wanted.y, shared.y_count);
    CHECK_SAME_BITS(got.g, wanted.g, shared.count);
    outcome_free(&got);
}

static void *call_often(void *argument) {
    int threads = *(const int *)argument;
    for (int i = 0; i < CALLS / divisor; i++)
        compute_and_compare(threads);
    return NULL;
}

static void test_many_callers(void) {
    pthread_t callers[CALLERS];
    int threads[CALLERS] = {2, 3, 4, 2};
    for (int i = 0; i < CALLERS; i++)
        CHECK(!pthread_create(&callers[i], NULL, call_often, &threads[i]));
    for (int i = 0; i < CALLERS; i++)
        pthread_join(callers[i], NULL);
}

/* More threads than cores, and more than the pool has. */
static void test_many_threads(void) {
    for (int threads = 1; threads <= 300; threads += 50)
        compute_and_compare(threads);
}

/* One row, whose units a team shares with a barrier for each step. */
static const spec of_one_row = {.cell = "lstm",
                                .in = 29,
                                .hidden = 128,
                                .layers = 1,
                                .directions = 1,
                                .steps = 40,
                                .rows = 1};

static atomic_bool stop;

static void *spin_until_stopped(void *argument) {
    while (!atomic_load(&stop)) {
    }
    return argument;
}

/* On busy cores, teams disband in the middle of a sequence. */
static void test_teams_on_busy_cores(void) {
    enum { SPINNERS = 4, TEAM_CALLS = 100 };
    pthread_t spinners[SPINNERS];
    problem one_row;
    problem_make(&one_row, &of_one_row);
    outcome alone = outcome_new(&one_row), team = outcome_new(&one_row);
    run_core(&one_row, FC_F32, 1, GRADIENTS, &alone);
    for (int i = 0; i < SPINNERS; i++)
        CHECK(!pthread_create(&spinners[i], NULL, spin_until_stopped, NULL));
    for (int i = 0; i < TEAM_CALLS / divisor; i++) {
        describe("team on busy cores");
        run_core(&one_row, FC_F32, 2 + i % 3, GRADIENTS, &team);
        CHECK_SAME_BITS(team.y, alone.y, one_row.y_count);
        CHECK_SAME_BITS(team.g, alone.g, one_row.count);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < SPINNERS; i++)
        pthread_join(spinners[i], NULL);
    atomic_store(&stop, false);
    outcome_free(&alone);
    outcome_free(&team);
    problem_free(&one_row);
}

/* A thread that the system reports as preempted does not share brief work. */
static void test_brief_work_on_crowded_cores(void) {
#ifdef __linux__
    enum { MOST_SPINNERS = 64 };
    pthread_t spinners[MOST_SPINNERS];
    long wanted_spinners = 2 * sysconf(_SC_NPROCESSORS_ONLN);
    int started = 0, parts = 2;
    describe("brief work on crowded cores");
    if (wanted_spinners > MOST_SPINNERS)
        return; /* too few spinners for the cores */
    while (started < wanted_spinners)
        CHECK(!pthread_create(&spinners[started++], NULL, spin_until_stopped, NULL));
    time_t end = time(NULL) + 10;
    while (parts == 2 && time(NULL) < end) /* without rest, to be preempted */
        parts = fc_parts_of_brief_work(2);
    CHECK(parts == 1);
    CHECK(fc_parts_of_brief_work(1) == 1);
    atomic_store(&stop, true);
    while (started)
        pthread_join(spinners[--started], NULL);
    atomic_store(&stop, false);
#endif
}

typedef struct slow_team {
    fc_barrier barrier;
    int goes_on[2]; /* the last result of fc_barrier_last, for each member */
} slow_team;

/* Part 1 comes late to every barrier. */
static void wait_for_late_member(void *context, int part, int parts) {
    slow_team *team = context;
    CHECK(parts == 2);
    for (int i = 0; i < 20 && parts == 2; i++) {
        if (part == 1)
            usleep(20 * 1000);
        parts = fc_barrier_last(&team->barrier, part, parts, false);
    }
    team->goes_on[part] = parts;
}

static void count_if_alone(void *context, int part, int parts) {
    if (part == 0 && parts == 1)
        atomic_fetch_add((atomic_int *)context, 1);
}

/* Part 0 continues alone; the next call makes no team, and later calls do again. */
static void test_a_late_member_disbands_the_team(void) {
    slow_team team = {.goes_on = {-1, -1}};
    atomic_int alone = 0;
    describe("late member");
    usleep(2000 * 1000); /* earlier tests may have left a ban on teams */
    fc_run_team(wait_for_late_member, &team, 2);
    CHECK(team.goes_on[0] == 1 && team.goes_on[1] == 0);
    fc_run_team(count_if_alone, &alone, 2);
    CHECK(atomic_load(&alone) == 1);
    usleep(2000 * 1000); /* more than ten times the waiting time */
    fc_run_team(count_if_alone, &alone, 2);
    CHECK(atomic_load(&alone) == 1);
}

#if !UNDER_THREAD_SANITIZER

static void *call_until_stopped(void *argument) {
    while (!atomic_load(&stop))
        compute_and_compare(*(const int *)argument);
    return NULL;
}

static bool child_computes(void) {
    outcome got = outcome_new(&shared);
    run_core(&shared, FC_F32, 2, GRADIENTS, &got);
    bool same = !memcmp(got.g, wanted.g, (size_t)shared.count * sizeof *got.g);
    outcome_free(&got);
    return same;
}

/* The child of a fork starts its own pool.  The alarm ends a hang. */
static void check_fork(void) {
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        _exit(child_computes() ? 0 : 1);
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_fork(void) {
    pthread_t callers[2];
    int threads = 3;
    describe("fork");
    for (int i = 0; i < 2; i++)
        CHECK(!pthread_create(&callers[i], NULL, call_until_stopped, &threads));
    for (int i = 0; i < FORKS; i++)
        check_fork();
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(callers[i], NULL);
    check_fork(); /* with an idle pool */
    compute_and_compare(2);
}
#endif

int main(int count, char **arguments) {
    if (count > 1)
        divisor = (int)fmax(strtod(arguments[1], NULL), 1);
    seed(800);
    problem_make(&shared, &of_lstm);
    wanted = outcome_new(&shared);
    run_core(&shared, FC_F32, 1, GRADIENTS, &wanted);
    test_many_callers();
    test_many_threads();
    test_a_late_member_disbands_the_team();
    test_teams_on_busy_cores();
    test_brief_work_on_crowded_cores();
#if UNDER_THREAD_SANITIZER
    printf("pool: no fork, ThreadSanitizer has no threads in a child\n");
#else
    test_fork();
#endif
    outcome_free(&wanted);
    problem_free(&shared);
    return finish("pool");
}

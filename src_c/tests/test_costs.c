/* What threads cost here: measured once, within bounds; and what is decided by it,
 * which changes who computes and no value, nor any size. */
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "runtime/costs.h"
#include "runtime/pool.h"
#include "tests/problem.h"

/* A step of 2 * 4 * 64 * 64 FLOP, a call of 3.3 million. */
enum { HIDDEN = 64, STEPS = 50 };
static const spec of_one_row = {.cell = "lstm",
                                .in = HIDDEN,
                                .hidden = HIDDEN,
                                .layers = 1,
                                .directions = 1,
                                .steps = STEPS,
                                .rows = 1};
#define STEP_FLOP (8.0 * HIDDEN * HIDDEN)
#define CALL_FLOP (2 * STEP_FLOP * STEPS)

static fc_description described(int threads, ptrdiff_t rows) {
    fc_stack stack = {.cell = fc_cell_index("lstm"),
                      .dtype = FC_F32,
                      .input_size = HIDDEN,
                      .hidden_size = HIDDEN,
                      .layers = 1,
                      .directions = 1};
    fc_batch batch = {.steps = STEPS, .rows = rows, .threads = threads};
    fc_description d = {0};
    CHECK_OK(fc_describe(&stack, &batch, 0, &d));
    return d;
}

static void set_costs(double turn, double hand_over, double wake) {
    fc_thread_costs costs = {turn, hand_over, wake, 1}; /* so that ns are FLOP */
    CHECK_OK(fc_set_thread_costs(&costs));
}

/* A little more or less than what handing a share over may cost, and a barrier. */
static double below(double flop) { return flop / 1.2 * 0.999; }
static double above(double flop) { return flop / 1.2 * 1.001; }
static double turn_below(double flop) { return flop / 0.9 * 0.999; }
static double turn_above(double flop) { return flop / 0.9 * 1.001; }

static void test_a_team_is_made_where_its_barriers_pay(void) {
    describe("costs: a team");
    set_costs(turn_below(STEP_FLOP / 2), 0, 0);
    fc_description d = described(2, 1);
    CHECK(d.members == 2 && d.loop_threads == 2 && d.sharing == FC_SHARED_UNITS);
    CHECK(d.step_ns == STEP_FLOP);
    set_costs(turn_above(STEP_FLOP / 2), 0, 0);
    d = described(2, 1);
    CHECK(d.members == 1 && d.loop_threads == 1 && d.sharing == FC_SHARED_SHORT);
    /* A thread twice as fast has half as long for a barrier. */
    fc_thread_costs fast = {turn_above(STEP_FLOP / 2) / 2, 0, 0, 2};
    CHECK_OK(fc_set_thread_costs(&fast));
    CHECK(described(2, 1).members == 1);
    fast.turn_ns = turn_below(STEP_FLOP / 2) / 2;
    CHECK_OK(fc_set_thread_costs(&fast));
    CHECK(described(2, 1).members == 2);
}

static void test_rows_are_shared_whatever_a_barrier_costs(void) {
    describe("costs: rows");
    set_costs(above(1e9), 0, 0);
    fc_description d = described(2, 8);
    CHECK(d.row_parts == 2 && d.members == 1 && d.sharing == FC_SHARED_ROWS);
    d = described(2, 4); /* which would have been a team's */
    CHECK(d.row_parts == 2 && d.members == 1 && d.sharing == FC_SHARED_ROWS);
    set_costs(0, 0, 0);
    d = described(2, 4);
    CHECK(d.row_parts == 1 && d.members == 2 && d.sharing == FC_SHARED_UNITS);
}

static void test_threads_that_cost_too_much_are_left_out(void) {
    describe("costs: threads");
    set_costs(0, below(CALL_FLOP / 2), 0);
    CHECK(described(2, 1).threads == 2);
    set_costs(0, above(CALL_FLOP / 2), 0);
    fc_description d = described(2, 1);
    CHECK(d.threads == 1 && d.sharing == FC_SHARED_LITTLE);
    set_costs(0, 0, below(CALL_FLOP / 2));
    CHECK(!described(2, 1).small);
    set_costs(0, 0, above(CALL_FLOP / 2));
    d = described(2, 1);
    CHECK(d.threads == 2 && d.small);
    CHECK(described(1, 1).sharing == FC_SHARED_ONE_THREAD);
}

/* Sizes are asked for at one time and used at another. */
static void test_sizes_do_not_depend_on_costs(void) {
    describe("costs: sizes");
    for (int rows = 1; rows < 10; rows++) {
        set_costs(0, 0, 0);
        fc_description cheap = described(3, rows);
        set_costs(1e9, 1e9, 1e9);
        fc_description dear = described(3, rows);
        CHECK(cheap.scratch_bytes == dear.scratch_bytes);
        CHECK(rows > 5 || cheap.members > dear.members);
    }
}

static void test_no_value_depends_on_costs(void) {
    problem p;
    spec from = of_one_row;
    for (from.rows = 1; from.rows < 6; from.rows += 2) {
        problem_make(&p, &from);
        outcome alone = outcome_new(&p), got = outcome_new(&p);
        run_core(&p, FC_F32, 1, GRADIENTS, &alone);
        const double turns[] = {0, turn_above(STEP_FLOP / 2), 1e9};
        for (int i = 0; i < 3; i++) {
            describe("costs: values, %d rows, %g", (int)from.rows, turns[i]);
            set_costs(turns[i], 0, 0);
            run_core(&p, FC_F32, 3, GRADIENTS, &got);
            CHECK_SAME_BITS(got.y, alone.y, p.y_count);
            CHECK_SAME_BITS(got.g, alone.g, p.count);
        }
        outcome_free(&alone);
        outcome_free(&got);
        problem_free(&p);
    }
}

static void test_costs_are_checked(void) {
    const double bad[] = {-1, NAN, INFINITY, 1e13};
    describe("costs: refused");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (int which = 0; which < 4; which++) {
            double of[4] = {0};
            of[which] = bad[i];
            fc_thread_costs costs = {of[0], of[1], of[2], of[3]};
            CHECK_STATUS(fc_set_thread_costs(&costs), FC_BAD_ARGUMENT);
        }
}

/* On cores that have other work the usual costs come, within the same bounds. */
static void test_costs_are_measured(void) {
    fc_thread_costs first, second;
    describe("costs: measured");
    CHECK_OK(fc_set_thread_costs(NULL));
    fc_get_thread_costs(&first);
    fc_get_thread_costs(&second);
    CHECK(first.turn_ns > 0 && first.turn_ns <= 4000);
    CHECK(first.hand_over_ns > 0 && first.hand_over_ns <= 200 * 1000);
    CHECK(first.wake_ns > 0 && first.wake_ns <= 200 * 1000);
    CHECK(first.flop_per_ns > 0 && first.flop_per_ns <= 256);
    CHECK(first.flop_per_ns == second.flop_per_ns); /* needs no other thread */
}

/* An OpenMP runtime that has no second thread. */
static void alone(void (*fn)(void *), void *data, unsigned threads, unsigned flags) {
    (void)threads;
    (void)flags;
    fn(data);
}
static int one(void) { return 1; }
static int zero(void) { return 0; }

static void test_costs_of_other_threads_are_forgotten(void) {
    fc_thread_costs costs;
    describe("costs: of other threads");
    int known = 0;
    for (int trial = 0; trial < 10 && !known; trial++) {
        nanosleep(&(struct timespec){.tv_nsec = 50 * 1000 * 1000}, NULL);
        CHECK_OK(fc_set_thread_costs(NULL));
        known = fc_get_thread_costs(&costs);
    }
    if (!known) /* then there is nothing to forget */
        printf("costs of threads could not be measured: the cores are busy\n");
    fc_use_openmp(&(fc_openmp){alone, one, one, zero});
    CHECK(fc_get_thread_costs(&costs) == 0); /* a barrier takes two threads */
    CHECK(costs.turn_ns == 300);
    fc_use_openmp(NULL);
    set_costs(1, 2, 3); /* what is given stays */
    fc_use_openmp(&(fc_openmp){alone, one, one, zero});
    CHECK(fc_get_thread_costs(&costs) == 1 && costs.turn_ns == 1);
    fc_use_openmp(NULL);
}

/* So much work is worth a thread anywhere: nobody waits for a measurement. */
static void test_plenty_of_work_asks_for_no_measurement(void) {
    describe("costs: plenty");
    CHECK_OK(fc_set_thread_costs(NULL));
    CHECK(fc_least_of_a_member(1e8, 2) == 0);
    CHECK(fc_least_of_a_part(1e9, false) == 0);
    CHECK(fc_least_of_a_member(1e4, 1) > 0);
    CHECK(fc_least_of_a_part(1e5, true) > 0);
    set_costs(1e9, 1e9, 1e9); /* what is given counts for all work */
    CHECK(fc_least_of_a_member(1e8, 2) > 1e8);
    CHECK(fc_least_of_a_part(1e9, false) >= 1e9);
}

/* ---- barriers: nobody reads what another has not written yet --------------------- */

enum { MOST_MEMBERS = 3, TURNS = 2000 };
typedef struct member {
    fc_barrier *barrier;
    int *made; /* [2][MOST_MEMBERS], by turns */
    int part, members, wrong;
} member;

static void *exchange(void *argument) {
    member *m = argument;
    for (int turn = 0; turn < TURNS; turn++) {
        int *now = m->made + turn % 2 * MOST_MEMBERS;
        now[m->part] = turn;
        fc_barrier_wait(m->barrier, m->part, m->members);
        for (int i = 0; i < m->members; i++)
            m->wrong += now[i] != turn;
    }
    return NULL;
}

static void test_members_see_what_the_others_made(void) {
    for (int members = 2; members <= MOST_MEMBERS; members++) {
        fc_barrier barrier = {0};
        int made[2 * MOST_MEMBERS] = {0};
        member all[MOST_MEMBERS];
        pthread_t thread[MOST_MEMBERS];
        describe("a barrier of %d", members);
        for (int i = 0; i < members; i++)
            all[i] = (member){&barrier, made, i, members, 0};
        for (int i = 1; i < members; i++)
            CHECK(!pthread_create(&thread[i], NULL, exchange, &all[i]));
        exchange(&all[0]);
        for (int i = 1; i < members; i++)
            pthread_join(thread[i], NULL);
        for (int i = 0; i < members; i++)
            CHECK(all[i].wrong == 0);
    }
}

int main(void) {
    seed(1200);
    test_a_team_is_made_where_its_barriers_pay();
    test_rows_are_shared_whatever_a_barrier_costs();
    test_threads_that_cost_too_much_are_left_out();
    test_sizes_do_not_depend_on_costs();
    test_no_value_depends_on_costs();
    test_costs_are_checked();
    test_costs_are_measured();
    test_costs_of_other_threads_are_forgotten();
    test_plenty_of_work_asks_for_no_measurement();
    test_members_see_what_the_others_made();
    return finish("costs");
}

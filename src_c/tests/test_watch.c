/* fc_set_stop: long calls end on request, in all their threads, without effects on the
 * next call. */
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runtime/pool.h"
#include "runtime/watch.h"
#include "tests/problem.h"

/* After the answer; generous, for busy machines. */
#define MOST_SECONDS 0.5

/* `test_watch 20`: a twentieth of the steps, for emulators. */
static int divisor = 1;

static double seconds(void) { return (double)fc_now_ns() * 1e-9; }

/* ---- the function of fc_set_stop ------------------------------------------------- */

typedef struct question {
    double yes_from; /* from this time on the answer is yes */
    double said_yes; /* the time of that answer; 0: none */
    int asked;
} question;

static int answer(void *context) {
    question *q = context;
    q->asked++;
    if (seconds() < q->yes_from)
        return 0;
    q->said_yes = seconds();
    return 1;
}

static question ask_from_now(double delay) {
    return (question){.yes_from = seconds() + delay};
}

static void check_answered(const question *q, fc_status status) {
    double ended = seconds();
    CHECK_STATUS(status, q->said_yes > 0 ? FC_INTERRUPTED : FC_OK);
    CHECK(q->said_yes == 0 || ended - q->said_yes < MOST_SECONDS);
}

/* Stopped at the first question, the call skips most of its work of `full` seconds, in
 * one of several trials, since the machine may be busy.  A call that ends before the
 * first question (20 ms) is exempt. */
#define LATE 0.3
#define ASKED_SECONDS 0.04
static int stopped_calls;
static fc_status last_status;
#define CHECK_STOPS_SOON(before, call, full)                                           \
    do {                                                                               \
        double best = INFINITY, whole = (full);                                        \
        for (int try = 0; try < 10 && best > LATE * whole; try++) {                    \
            before;                                                                    \
            double begin = seconds();                                                  \
            question q_ = ask_from_now(0);                                             \
            fc_set_stop(answer, &q_);                                                  \
            last_status = (call);                                                      \
            fc_set_stop(NULL, NULL);                                                   \
            if (q_.said_yes > 0)                                                       \
                best = fmin(best, seconds() - q_.said_yes);                            \
            else /* `full` was too long, on a busy machine */                          \
                whole = fmin(whole, seconds() - begin);                                \
            check_answered(&q_, last_status);                                          \
            stopped_calls += q_.said_yes > 0;                                          \
        }                                                                              \
        CHECK(best <= LATE * whole || whole <= ASKED_SECONDS);                         \
    } while (0)

/* The seconds of a call. */
#define SECONDS_OF(call) (begin_ = seconds(), CHECK_OK(call), seconds() - begin_)
static double begin_;

/* ---- stacks ---------------------------------------------------------------------- */

/* One problem in float32, with all arguments of its calls. */
typedef struct network {
    problem p;
    fc_stack stack;
    fc_batch batch;
    void *packed, *packed_backward, *saved, *scratch, *x, *y, *dy, *dx, *h;
    fc_gradients gradients[MOST_PASSES];
    size_t saved_bytes, y_bytes, dx_bytes, w_bytes;
} network;

static void network_make(network *n, const spec *s, int threads, bool recompute) {
    size_t training, inference, backward;
    *n = (network){0};
    problem_make(&n->p, s);
    n->packed = pack_weights(&n->p, FC_F32, FC_PACK_FORWARD, &n->stack, 1);
    n->packed_backward = pack_weights(&n->p, FC_F32, FC_PACK_BACKWARD, &n->stack, 1);
    n->x = reals_of(FC_F32, n->p.v + n->p.x.at, n->p.x.count);
    n->dy = reals_of(FC_F32, n->p.dy, n->p.y_count);
    n->batch = (fc_batch){.steps = s->steps,
                          .rows = s->rows,
                          .x = n->x,
                          .x_step = s->rows * s->in,
                          .x_row = s->in,
                          .index = n->p.index,
                          .x_rows = n->p.x_rows,
                          .threads = threads,
                          .recompute = recompute};
    CHECK_OK(fc_saved_size(&n->stack, &n->batch, &n->saved_bytes));
    CHECK_OK(fc_scratch_size(&n->stack, &n->batch, 0, &inference));
    CHECK_OK(fc_scratch_size(&n->stack, &n->batch, 1, &training));
    CHECK_OK(fc_scratch_size(&n->stack, &n->batch, 2, &backward));
    n->saved = take(n->saved_bytes, 0);
    n->scratch = take((size_t)fmax(fmax((double)inference, (double)training),
                                   (double)backward),
                      0);
    n->y_bytes = (size_t)n->p.y_count * sizeof(float);
    n->dx_bytes = (size_t)n->p.x.count * sizeof(float);
    n->y = take(n->y_bytes, 0);
    n->dx = take(n->dx_bytes, 0);
    n->h = take((size_t)n->p.h_count * sizeof(float), 0);
    for (int i = 0; i < n->p.passes; i++) {
        section of[] = {n->p.w_ih[i], n->p.w_hh[i], n->p.b_ih[i], n->p.b_hh[i]};
        void **g[] = {&n->gradients[i].w_ih, &n->gradients[i].w_hh,
                      &n->gradients[i].b_ih, &n->gradients[i].b_hh};
        for (int j = 0; j < 4; j++)
            *g[j] = zeros(of[j].count, sizeof(float));
    }
    n->w_bytes = (size_t)n->p.w_hh[0].count * sizeof(float);
}

static void network_free(network *n) {
    for (int i = 0; i < n->p.passes; i++) {
        free(n->gradients[i].w_ih);
        free(n->gradients[i].w_hh);
        free(n->gradients[i].b_ih);
        free(n->gradients[i].b_hh);
    }
    void *all[] = {n->packed, n->packed_backward, n->saved, n->scratch, n->x,
                   n->y,      n->dy,              n->dx,    n->h};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        release(all[i]);
    problem_free(&n->p);
}

static ptrdiff_t y_row(const network *n) { return n->p.spec.directions * n->p.out; }

static fc_status forward(network *n, bool training) {
    fc_output output = {
        .y = n->y, .y_step = n->p.spec.rows * y_row(n), .y_row = y_row(n), .h = n->h};
    return fc_forward(&n->stack, n->packed, &n->batch, &output,
                      training ? n->saved : NULL, n->scratch);
}

static fc_status backward(network *n) {
    fc_backward_io io = {.dy = n->dy,
                         .dy_step = n->p.spec.rows * y_row(n),
                         .dy_row = y_row(n),
                         .dx = n->dx,
                         .dx_step = n->batch.x_step,
                         .dx_row = n->batch.x_row,
                         .weights = n->gradients,
                         .packed_forward = n->packed};
    for (int i = 0; i < n->p.passes; i++)
        memset(n->gradients[i].w_hh, 0, n->w_bytes);
    return fc_backward(&n->stack, n->packed_backward, &n->batch, &io, n->saved,
                       n->scratch);
}

/* y, dx and a weight gradient, concatenated. */
static char *results(network *n) {
    CHECK_OK(forward(n, true));
    CHECK_OK(backward(n));
    char *all = zeros((ptrdiff_t)(n->y_bytes + n->dx_bytes + n->w_bytes), 1);
    memcpy(all, n->y, n->y_bytes);
    memcpy(all + n->y_bytes, n->dx, n->dx_bytes);
    memcpy(all + n->y_bytes + n->dx_bytes, n->gradients[0].w_hh, n->w_bytes);
    return all;
}

static void stop_each_kind_of_call(network *n) {
    double inference_seconds = SECONDS_OF(forward(n, false));
    double forward_seconds = SECONDS_OF(forward(n, true));
    double backward_seconds = SECONDS_OF(backward(n));
    CHECK_STOPS_SOON(, forward(n, false), inference_seconds);
    CHECK_STOPS_SOON(, forward(n, true), forward_seconds);
    if (last_status == FC_INTERRUPTED)
        CHECK_STATUS(backward(n), FC_BAD_MEMORY);
    CHECK_STOPS_SOON(CHECK_OK(forward(n, true)), backward(n), backward_seconds);
    CHECK_STATUS(backward(n), FC_USED_UP);
    /* After the time loop, or in a later layer, if it has not ended before. */
    CHECK_OK(forward(n, true));
    question q = ask_from_now(0.6 * backward_seconds);
    fc_set_stop(answer, &q);
    check_answered(&q, backward(n));
    fc_set_stop(NULL, NULL);
}

static const struct {
    const char *name;
    spec spec;
    bool recompute;
} cases[] = {
    {"few rows, in teams",
     {.cell = "lstm", .in = 29, .hidden = 250, .layers = 1, .directions = 1,
      .steps = 4000, .rows = 1},
     false},
    {"two phases, in teams",
     {.cell = "gru_reset_before", .in = 29, .hidden = 250, .layers = 1, .directions = 1,
      .steps = 5000, .rows = 1},
     false},
    {"both directions, two layers",
     {.cell = "gru", .in = 29, .hidden = 125, .layers = 2, .directions = 2,
      .steps = 600, .rows = 9},
     false},
    {"indexed, recomputed",
     {.cell = "lstm", .in = 29, .hidden = 125, .layers = 1, .directions = 1,
      .steps = 5000, .rows = 5, .index = true},
     true},
};

static void test_stacks(void) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int threads = 1; threads <= 2; threads++) {
            network n;
            spec s = cases[i].spec;
            s.steps /= divisor;
            s.no_states = true;
            network_make(&n, &s, threads, cases[i].recompute);
            describe("stop: %s, %d threads", cases[i].name, threads);
            char *before = results(&n);
            stop_each_kind_of_call(&n);
            char *after = results(&n);
            CHECK(!memcmp(before, after, n.y_bytes + n.dx_bytes + n.w_bytes));
            free(before);
            free(after);
            network_free(&n);
        }
}

/* ---- a function that calls the library, and forks -------------------------------- */

static network inner;

static int call_again(void *context) {
    ++*(int *)context;
    fc_set_stop(NULL, NULL); /* for this thread's next calls, not for the present one */
    CHECK_OK(forward(&inner, false));
    fc_shutdown(); /* no effect: this thread's call uses the workers */
    return 0;
}

#if THREADS_IN_CHILDREN
static int fork_once(void *context) {
    pid_t *child = context;
    if (*child < 0)
        *child = fork();
    if (*child == 0)
        alarm(60); /* a hang */
    return 0;
}
#endif

static void test_functions_that_do_more(void) {
    network n;
    spec s = cases[0].spec;
    s.steps = 4 * s.steps / divisor; /* long enough for a question on a fast machine */
    s.no_states = true;
    network_make(&n, &s, 2, false);
    network_make(&inner, &s, 2, false);
    describe("stop: calls and forks");
    CHECK_OK(forward(&n, true));
    char *wanted = zeros((ptrdiff_t)n.y_bytes, 1);
    memcpy(wanted, n.y, n.y_bytes);
    int asked = 0;
    fc_set_stop(call_again, &asked);
    CHECK_OK(forward(&n, true));
    CHECK(asked > 0);
    CHECK(!memcmp(wanted, n.y, n.y_bytes));
    fc_set_stop(NULL, NULL);
#if THREADS_IN_CHILDREN
    pid_t child = -1;
    fc_set_stop(fork_once, &child);
    fc_status status = forward(&n, true);
    fc_set_stop(NULL, NULL);
    if (child == 0) {
        /* On busy cores the call had no other threads, and has finished. */
        bool right = status == FC_INTERRUPTED
                         ? forward(&n, true) == FC_OK
                         : status == FC_OK;
        _exit(right && !memcmp(wanted, n.y, n.y_bytes) ? 0 : 1);
    }
    int code = -1;
    CHECK_OK(status);
    CHECK(!memcmp(wanted, n.y, n.y_bytes));
    CHECK(child > 0 && waitpid(child, &code, 0) == child);
    CHECK(WIFEXITED(code) && WEXITSTATUS(code) == 0);
#else
    printf("stop: no fork, a child has no threads here\n");
#endif
    free(wanted);
    network_free(&n);
    network_free(&inner);
}

/* ---- the thread that asks -------------------------------------------------------- */

typedef struct late_part {
    fc_watch watch;
    double until;
} late_part;

static void come_late(void *context, int part, int parts) {
    late_part *late = context;
    while (part > 0 && parts > 1 && !fc_stops(&late->watch, 0) &&
           seconds() < late->until)
        usleep(1000);
}

/* The caller has finished its part, and sleeps until the others have finished. */
static void test_a_waiting_caller_asks(void) {
    question q = ask_from_now(0);
    late_part late = {.until = seconds() + 5};
    describe("stop: a waiting caller");
    fc_shutdown();
    usleep(100 * 1000); /* earlier tests may have banned sharing */
    fc_set_stop(answer, &q);
    fc_watch_begin(&late.watch);
    fc_run_parts(come_late, &late, 2);
    CHECK(fc_watch_end(&late.watch));
    CHECK(seconds() < late.until);
    CHECK(q.asked == 1);
    fc_set_stop(NULL, NULL);
}

/* Two members of a team without the pool, which would have one on busy cores.  At one
 * of each three barriers part 0 can continue alone. */
typedef struct member {
    fc_barrier *barrier;
    int part, goes_on, turns;
} member;

enum { TURNS = 1000, STOPS_AT = 10 };

static void *run_member(void *argument) {
    member *m = argument;
    for (m->goes_on = 2; m->turns < TURNS && m->goes_on == 2; m->turns++) {
        fc_barrier_wait(m->barrier, m->part, 2);
        m->goes_on = fc_barrier_last(m->barrier, m->part, 2,
                                     m->part == 0 && m->turns == STOPS_AT);
        if (m->goes_on == 2)
            fc_barrier_wait(m->barrier, m->part, 2);
    }
    return NULL;
}

/* Part 0 gets the request at one such barrier; the team parts by the next one. */
static void test_a_team_parts_at_one_barrier(void) {
    fc_barrier barrier = {0};
    member members[2] = {{.barrier = &barrier, .part = 0},
                         {.barrier = &barrier, .part = 1}};
    pthread_t thread;
    describe("stop: a team");
    CHECK(!pthread_create(&thread, NULL, run_member, &members[1]));
    run_member(&members[0]);
    pthread_join(thread, NULL);
    CHECK(members[0].goes_on == 1 && members[1].goes_on == 0);
    CHECK(members[0].turns == members[1].turns && members[0].turns <= STOPS_AT + 2);
}

/* ---- layers and losses ----------------------------------------------------------- */

#define CHECK_STOPS(call)                                                              \
    do {                                                                               \
        double full_ = SECONDS_OF(call);                                               \
        CHECK_STOPS_SOON(, call, full_);                                               \
    } while (0)

static void test_other_calls(void) {
    enum { IN = 500, OUT = 700, ROWS = 40000, LABELS = 400, CLASSES = 9, STEPS = 9000 };
    const fc_linear layer = {FC_F32, IN, OUT};
    ptrdiff_t rows = ROWS / divisor;
    size_t bytes;
    float *w = zeros(IN * OUT, sizeof *w), *x = zeros(rows * OUT, sizeof *x),
          *y = zeros(rows * OUT, sizeof *y);
    int64_t *targets = zeros(rows, sizeof *targets);
    double *loss = zeros(rows, sizeof *loss);
    describe("stop: linear");
    CHECK_OK(fc_linear_pack_size(&layer, FC_PACK_FORWARD, &bytes));
    void *packed = take(bytes, 0);
    CHECK_OK(fc_linear_pack(&layer, FC_PACK_FORWARD, w, NULL, packed));
    CHECK_OK(fc_linear_scratch_size(&layer, rows, 2, &bytes));
    void *scratch = take(bytes, 0);
    CHECK_OK(fc_linear_pack_size(&layer, FC_PACK_BACKWARD, &bytes));
    void *packed_backward = take(bytes, 0);
    CHECK_OK(fc_linear_pack(&layer, FC_PACK_BACKWARD, w, NULL, packed_backward));
    CHECK_STOPS(fc_linear_forward(&layer, packed, rows, x, y, 2));
    CHECK_STOPS(fc_linear_backward(&layer, packed_backward, rows,
                                   &(fc_linear_backward_io){x, y, NULL, w, NULL, NULL},
                                   scratch, 2)); /* the weight gradient */
    release(scratch);
    release(packed_backward);
    describe("stop: cross-entropy");
    CHECK_STOPS(fc_cross_entropy(
        &(fc_softmax_loss){FC_F32, rows, OUT, x, targets, -1, 0, 1}, loss, y, 1));
    describe("stop: CTC");
    int64_t labels[LABELS], count = LABELS;
    double one = 1;
    for (int i = 0; i < LABELS; i++)
        labels[i] = 1 + i % (CLASSES - 1);
    fc_ctc c = {.dtype = FC_F32, .steps = STEPS, .rows = 1, .n = CLASSES,
                .most_labels = LABELS, .logits = x, .labels = labels,
                .label_lengths = &count, .scale = &one};
    CHECK_OK(fc_ctc_scratch_size(&c, 1, &bytes));
    scratch = take(bytes, 0);
    CHECK_STOPS(fc_ctc_loss(&c, loss, y, scratch, 1));
    release(scratch);
    describe("stop: attention");
    enum { BATCH = 4, FEATURES = 300 };
    ptrdiff_t queries = 200, steps = 1000 / divisor;
    fc_attention a = {.dtype = FC_F32, .batch = BATCH, .queries = queries,
                      .steps = steps};
    fc_additive score = {.n = FEATURES, .query = x, .memory = x, .v = w};
    float *scores = zeros(BATCH * queries * steps, sizeof *scores);
    CHECK_STOPS(fc_additive_scores(&a, &score, scores, 1));
    void *all[] = {w, x, y, targets, loss, scores};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    release(packed);
}

int main(int count, char **arguments) {
    if (count > 1)
        divisor = (int)fmax(strtod(arguments[1], NULL), 1);
    seed(1100);
    test_stacks();
    test_functions_that_do_more();
    test_a_waiting_caller_asks();
    test_a_team_parts_at_one_barrier();
    test_other_calls();
    describe("stop: calls that were");
    CHECK(stopped_calls > 0);
    return finish("watch");
}

/* Recurrent stacks against plain loops in double: values, gradients by central
 * differences, and what must not change a bit. */
#include "tests/problem.h"

/* Tolerances, of |error| <= t (1 + |value|).  float32: a hundred roundings of 6e-8.
 * Gradients: the central difference itself errs by 1e-9 at this step. */
static const double value_tolerance[] = {[FC_F32] = 1e-5, [FC_F64] = 1e-13};
static const double gradient_tolerance[] = {[FC_F32] = 5e-5, [FC_F64] = 1e-7};
static const double difference_step = 1e-5;

/* Variables differentiated per problem, sampled evenly: as many as its size allows. */
enum { FEWEST_DIFFERENCES = 20, MOST_DIFFERENCES = 400 };
static const double difference_products = 1e7;
/* `test_stack 10`: a tenth of them, for emulators.  They are most of the time, and all
 * of it the reference's. */
static double difference_divisor = 1;

static const spec shapes[] = {
    {.in = 1,
     .hidden = 1,
     .proj = 1,
     .layers = 1,
     .directions = 1,
     .steps = 1,
     .rows = 1},
    {.in = 3,
     .hidden = 7,
     .proj = 4,
     .layers = 1,
     .directions = 1,
     .steps = 5,
     .rows = 2},
    {.in = 5,
     .hidden = 9,
     .proj = 5,
     .layers = 2,
     .directions = 2,
     .steps = 4,
     .rows = 3},
    {.in = 17,
     .hidden = 33,
     .proj = 17,
     .layers = 1,
     .directions = 1,
     .steps = 2,
     .rows = 7},
    {.in = 2,
     .hidden = 17,
     .proj = 7,
     .layers = 3,
     .directions = 2,
     .steps = 5,
     .rows = 1},
};

static const struct {
    const char *name;
    spec set;
} variants[] = {
    {"plain", {0}},
    {"no bias", {.no_bias = true}},
    {"zero states", {.no_states = true}},
    {"lengths", {.lengths = true}},
    {"mask", {.mask = true}},
    {"reset", {.reset = true}},
    {"lengths, mask, reset", {.lengths = true, .mask = true, .reset = true}},
    {"index", {.index = true}},
    {"index, lengths, mask, reset",
     {.index = true, .lengths = true, .mask = true, .reset = true}},
    {"dropout", {.dropout = true}},
    {"dropout, lengths, mask", {.dropout = true, .lengths = true, .mask = true}},
    {"batch first", {.batch_first = true}},
    {"batch first, lengths, reset",
     {.batch_first = true, .lengths = true, .reset = true, .no_bias = true}},
};

static spec with_variant(spec s, const spec *set) {
    s.no_bias = set->no_bias;
    s.no_states = set->no_states;
    s.lengths = set->lengths;
    s.mask = set->mask;
    s.reset = set->reset;
    s.index = set->index;
    s.dropout = set->dropout && s.layers > 1;
    s.batch_first = set->batch_first;
    return s;
}

static void describe_case(const problem *p, const char *name, const char *isa,
                          fc_dtype dtype) {
    const spec *s = &p->spec;
    describe("%s, %s, I%td H%td P%td L%d D%d T%td B%td, %s f%d", s->cell, name, s->in,
             s->hidden, p->out, s->layers, s->directions, s->steps, s->rows, isa,
             dtype == FC_F64 ? 64 : 32);
}

static void check_same_outcome(const problem *p, const outcome *a, const outcome *b,
                               bool gradients) {
    CHECK_SAME_BITS(a->y, b->y, p->y_count);
    CHECK_SAME_BITS(a->h, b->h, p->h_count);
    CHECK_SAME_BITS(a->c, b->c, p->c_count);
    if (gradients)
        CHECK_SAME_BITS(a->g, b->g, p->count);
}

static double difference(problem *p, double *v, ptrdiff_t i, double step,
                         outcome *work) {
    v[i] = p->v[i] + step;
    double above = reference_loss(p, v, work);
    v[i] = p->v[i] - step;
    double below = reference_loss(p, v, work);
    v[i] = p->v[i];
    return (above - below) / (2 * step);
}

/* Central differences of some variables, ascending; returns how many. */
static ptrdiff_t differences(problem *p, ptrdiff_t *which, double *wanted) {
    double products = (double)(p->spec.steps * p->spec.rows) * (double)p->x.at;
    double most = fmin(fmax(difference_products / products, FEWEST_DIFFERENCES),
                       MOST_DIFFERENCES) /
                  difference_divisor;
    ptrdiff_t stride = p->count / (ptrdiff_t)most + 1, n = 0;
    double *v = zeros(p->count, sizeof *v);
    outcome work = outcome_new(p);
    memcpy(v, p->v, (size_t)p->count * sizeof *v);
    for (ptrdiff_t i = p->count % stride; i < p->count; i += stride) {
        which[n] = i;
        wanted[n] = difference(p, v, i, difference_step, &work);
        /* Normalized, few small values curve within a step: its square is taken off. */
        if (p->normalizes)
            wanted[n] =
                (4 * wanted[n] - difference(p, v, i, 2 * difference_step, &work)) / 3;
        n++;
    }
    outcome_free(&work);
    free(v);
    return n;
}

static bool any_active(const problem *p) {
    for (ptrdiff_t t = 0; t < p->spec.steps; t++)
        for (ptrdiff_t row = 0; row < p->spec.rows; row++)
            if (step_is_active(p, t, row))
                return true;
    return false;
}

static void test_problem(const spec *s, const char *name, int threads) {
    problem p;
    problem_make(&p, s);
    ptrdiff_t which[MOST_DIFFERENCES + 1];
    double wanted[MOST_DIFFERENCES + 1], sampled[MOST_DIFFERENCES + 1];
    outcome reference = outcome_new(&p), got = outcome_new(&p), other = outcome_new(&p);
    run_reference(&p, &reference);
    ptrdiff_t n = differences(&p, which, wanted);
    FOR_EACH_ISA(isa) {
        for (int d = 0; d < 2; d++) {
            fc_dtype dtype = (fc_dtype)d;
            describe_case(&p, name, isa, dtype);
            run_core(&p, dtype, 1, GRADIENTS, &got);
            CHECK_CLOSE(got.y, reference.y, p.y_count, value_tolerance[d]);
            CHECK_CLOSE(got.h, reference.h, p.h_count, value_tolerance[d]);
            CHECK_CLOSE(got.c, reference.c, p.c_count, value_tolerance[d]);
            for (ptrdiff_t i = 0; i < n; i++)
                sampled[i] = got.g[which[i]];
            CHECK_CLOSE(sampled, wanted, n, gradient_tolerance[d]);
            int calls = slow_blas_calls();
            run_core(&p, dtype, threads, GRADIENTS_BY_BLAS, &other);
            CHECK((slow_blas_calls() > calls) ==
                  (fc_wants_blas() && (any_active(&p) || p.index)));
            for (ptrdiff_t i = 0; i < n; i++)
                sampled[i] = other.g[which[i]];
            CHECK_CLOSE(sampled, wanted, n, gradient_tolerance[d]);
            run_core(&p, dtype, threads, INFERENCE, &other);
            check_same_outcome(&p, &got, &other, false);
            run_core(&p, dtype, threads, INFERENCE_WITHOUT_Y, &other);
            check_same_outcome(&p, &got, &other, false);
            run_core(&p, dtype, threads, GRADIENTS_WITHOUT_Y, &other);
            check_same_outcome(&p, &got, &other, true);
            run_core(&p, dtype, threads, GRADIENTS_RECOMPUTED, &other);
            check_same_outcome(&p, &got, &other, true);
            if (threads > 1) {
                run_core(&p, dtype, threads, GRADIENTS, &other);
                check_same_outcome(&p, &got, &other, true);
            }
        }
    }
    outcome_free(&reference);
    outcome_free(&got);
    outcome_free(&other);
    problem_free(&p);
}

/* Every shape with every variant, or a third of them. */
static void test_small_problems(const char *cell) {
    size_t every = has_all_problems(cell) ? 1 : 3, number = 0;
    size_t turn = (size_t)fc_cell_index(cell) % 3;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (size_t j = 0; j < sizeof variants / sizeof *variants; j++) {
            if (number++ % every != turn % every)
                continue;
            spec s = with_variant(shapes[i], &variants[j].set);
            s.cell = cell;
            seed(100 * i + j);
            test_problem(&s, variants[j].name, 1);
        }
}

/* Large enough that several threads are really used (a thread wants a million FLOP):
 * the same bits as one, in both directions and in the gradients. */
static void test_threads(const char *cell) {
    static const spec sets[] = {
        {.layers = 2}, {.lengths = true}, {.index = true, .mask = true, .reset = true}};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        spec s = sets[i];
        s.cell = cell;
        s.in = 29;
        s.hidden = 33;
        s.proj = 17;
        s.layers = s.layers ? s.layers : 1;
        s.directions = i == 2 ? 1 : 2;
        s.rows = 7;
        s.steps = fc_cell_gates(fc_cell_index(cell)) > 1 ? 40 : 120;
        seed(200 + i);
        test_problem(&s, "four threads", 4);
    }
}

/* No step, no row, no length: the final states are the initial ones. */
/* Too few rows to share: the threads share the units of every step. */
static void test_teams(const char *cell) {
    static const spec sets[] = {{.rows = 1},
                                {.rows = 3, .lengths = true, .reset = true},
                                {.rows = 2, .index = true, .mask = true}};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        spec s = sets[i];
        s.cell = cell;
        s.in = 5;
        s.hidden = fc_cell_gates(fc_cell_index(cell)) > 1 ? 100 : 200;
        s.proj = 70;
        s.layers = 1;
        s.directions = 1;
        s.steps = 60;
        seed(700 + i);
        test_problem(&s, "a team", 4);
    }
}

/* So many pairs that the gates are made again in several chunks, whose ends are no
 * multiples of the blocks of weight gradients. */
static void test_recompute(const char *cell) {
    static const spec sets[] = {
        {.layers = 2, .directions = 2, .rows = 7, .lengths = true, .dropout = true},
        {.layers = 1, .directions = 1, .rows = 9, .index = true, .mask = true},
        {.layers = 2, .directions = 1, .rows = 13, .reset = true},
    };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        spec s = sets[i];
        s.cell = cell;
        s.in = 3;
        s.hidden = 9;
        s.proj = 4;
        s.steps = 400;
        seed(500 + i);
        problem p;
        problem_make(&p, &s);
        outcome kept = outcome_new(&p), made = outcome_new(&p);
        FOR_EACH_ISA(isa) {
            for (int d = 0; d < 2; d++) {
                describe_case(&p, "recompute", isa, (fc_dtype)d);
                run_core(&p, (fc_dtype)d, 1, GRADIENTS, &kept);
                for (int threads = 1; threads <= 3; threads += 2) {
                    run_core(&p, (fc_dtype)d, threads, GRADIENTS_RECOMPUTED, &made);
                    check_same_outcome(&p, &kept, &made, true);
                }
                run_core(&p, (fc_dtype)d, 1, GRADIENTS_BY_BLAS, &kept);
                run_core(&p, (fc_dtype)d, 1, GRADIENTS_RECOMPUTED_BY_BLAS, &made);
                check_same_outcome(&p, &kept, &made, true);
            }
        }
        outcome_free(&kept);
        outcome_free(&made);
        problem_free(&p);
    }
}

static void test_empty(const char *cell) {
    for (int which = 0; which < 3; which++) {
        for (int directions = 1; directions <= 2; directions++) {
            spec s = {.cell = cell,
                      .in = 3,
                      .hidden = 7,
                      .proj = 4,
                      .layers = 2,
                      .directions = directions,
                      .steps = which == 0 ? 0 : 3,
                      .rows = which == 1 ? 0 : 2,
                      .index = which == 0 && directions == 2};
            problem p;
            seed(300);
            problem_make(&p, &s);
            int64_t none[2] = {0, 0};
            if (which == 2)
                p.lengths = memcpy(zeros(2, sizeof *none), none, sizeof none);
            outcome got = outcome_new(&p);
            FOR_EACH_ISA(isa) {
                for (int d = 0; d < 2; d++) {
                    describe_case(&p, "empty", isa, (fc_dtype)d);
                    run_core(&p, (fc_dtype)d, 2, INFERENCE, &got);
                    CHECK_SAME_BITS(got.h, p.v + p.h0.at, p.h_count);
                    CHECK_SAME_BITS(got.c, p.v + p.c0.at, p.c_count);
                    run_core(&p, (fc_dtype)d, 2, GRADIENTS, &got);
                    CHECK_SAME_BITS(got.h, p.v + p.h0.at, p.h_count);
                    CHECK_CLOSE(got.g + p.h0.at, p.dh, p.h_count, 0);
                    CHECK_CLOSE(got.g + p.c0.at, p.dc, p.c_count, 0);
                    for (ptrdiff_t i = 0; i < p.h0.at; i++)
                        CHECK(got.g[i] == 0);
                }
            }
            outcome_free(&got);
            problem_free(&p);
        }
    }
}

/* Copies row `row` of a (outer, rows, n) array. */
static void take_row(const double *from, ptrdiff_t outer, ptrdiff_t rows, ptrdiff_t row,
                     ptrdiff_t n, double *to) {
    for (ptrdiff_t i = 0; i < outer; i++)
        memcpy(to + i * n, from + (i * rows + row) * n, (size_t)n * sizeof *to);
}

/* A sequence alone gives the same bits as among others. */
static void test_row_alone(const char *cell) {
    spec s = {.cell = cell,
              .in = 5,
              .hidden = 19,
              .proj = 9,
              .layers = 2,
              .directions = 2,
              .steps = 6,
              .rows = 5,
              .lengths = true};
    problem all, one;
    seed(400);
    problem_make(&all, &s);
    outcome of_all = outcome_new(&all);
    s.rows = 1;
    problem_make(&one, &s);
    outcome of_one = outcome_new(&one), wanted = outcome_new(&one);
    memcpy(one.v, all.v, (size_t)all.x.at * sizeof *all.v); /* the weights */
    FOR_EACH_ISA(isa) {
        for (int d = 0; d < 2; d++) {
            run_core(&all, (fc_dtype)d, 1, INFERENCE, &of_all);
            for (ptrdiff_t row = 0; row < all.spec.rows; row++) {
                ptrdiff_t passes = all.passes, rows = all.spec.rows;
                take_row(all.v + all.x.at, s.steps, rows, row, s.in, one.v + one.x.at);
                take_row(all.v + all.h0.at, passes, rows, row, all.out,
                         one.v + one.h0.at);
                if (all.has_c)
                    take_row(all.v + all.c0.at, passes, rows, row,
                             (all.states - 1) * s.hidden, one.v + one.c0.at);
                one.lengths[0] = all.lengths[row];
                describe_case(&one, "row alone", isa, (fc_dtype)d);
                run_core(&one, (fc_dtype)d, 1, INFERENCE, &of_one);
                take_row(of_all.y, s.steps, rows, row, 2 * all.out, wanted.y);
                take_row(of_all.h, passes, rows, row, all.out, wanted.h);
                if (all.has_c)
                    take_row(of_all.c, passes, rows, row, (all.states - 1) * s.hidden,
                             wanted.c);
                check_same_outcome(&one, &of_one, &wanted, false);
            }
        }
    }
    outcome_free(&of_all);
    outcome_free(&of_one);
    outcome_free(&wanted);
    problem_free(&all);
    problem_free(&one);
}

/* NaN and infinity in one row's step change that row, from that step on, and nothing
 * else: not its earlier steps, not the other rows' values and input gradients. */
static void test_not_finite(const char *cell, double value) {
    enum { STEPS = 5, ROWS = 4, ROW = 2, STEP = 2 };
    spec s = {.cell = cell,
              .in = 3,
              .hidden = 9,
              .proj = 5,
              .layers = 2,
              .directions = 1,
              .steps = STEPS,
              .rows = ROWS};
    problem p;
    seed(500);
    problem_make(&p, &s);
    outcome clean = outcome_new(&p), got = outcome_new(&p);
    double *x = p.v + p.x.at + (STEP * ROWS + ROW) * s.in + 1, before = *x;
    FOR_EACH_ISA(isa) {
        for (int d = 0; d < 2; d++) {
            describe_case(&p, "not finite", isa, (fc_dtype)d);
            run_core(&p, (fc_dtype)d, 1, GRADIENTS, &clean);
            *x = value;
            run_core(&p, (fc_dtype)d, 1, GRADIENTS, &got);
            *x = before;
            for (ptrdiff_t t = 0; t < STEPS; t++)
                for (ptrdiff_t row = 0; row < ROWS; row++) {
                    ptrdiff_t pair = t * ROWS + row;
                    if (row != ROW || t < STEP)
                        CHECK_SAME_BITS(got.y + pair * p.out, clean.y + pair * p.out,
                                        p.out);
                    if (row != ROW)
                        CHECK_SAME_BITS(got.g + p.x.at + pair * s.in,
                                        clean.g + p.x.at + pair * s.in, s.in);
                    if (row == ROW && t >= STEP && isnan(value))
                        for (ptrdiff_t j = 0; j < p.out; j++)
                            CHECK(isnan(got.y[pair * p.out + j]));
                }
        }
    }
    outcome_free(&clean);
    outcome_free(&got);
    problem_free(&p);
}

/* The gather path gives the bits of the same rows given as x. */
static void test_index_is_a_gather(const char *cell) {
    spec s = {.cell = cell,
              .in = 5,
              .hidden = 11,
              .proj = 6,
              .layers = 1,
              .directions = 2,
              .steps = 6,
              .rows = 3,
              .index = true};
    problem indexed, plain;
    seed(600);
    problem_make(&indexed, &s);
    s.index = false;
    problem_make(&plain, &s);
    memcpy(plain.v, indexed.v, (size_t)indexed.x.at * sizeof *plain.v);
    memcpy(plain.v + plain.h0.at, indexed.v + indexed.h0.at,
           (size_t)(indexed.count - indexed.h0.at) * sizeof *plain.v);
    for (ptrdiff_t pair = 0; pair < s.steps * s.rows; pair++)
        memcpy(plain.v + plain.x.at + pair * s.in,
               indexed.v + indexed.x.at + indexed.index[pair] * s.in,
               (size_t)s.in * sizeof *plain.v);
    outcome a = outcome_new(&indexed), b = outcome_new(&plain);
    FOR_EACH_ISA(isa) {
        for (int d = 0; d < 2; d++) {
            describe_case(&indexed, "gather", isa, (fc_dtype)d);
            run_core(&indexed, (fc_dtype)d, 1, INFERENCE, &a);
            run_core(&plain, (fc_dtype)d, 1, INFERENCE, &b);
            check_same_outcome(&indexed, &a, &b, false);
        }
    }
    outcome_free(&a);
    outcome_free(&b);
    problem_free(&indexed);
    problem_free(&plain);
}

/* An R with blocks along its diagonal: heads of whole vectors, whatever the set's
 * lanes, and heads that no set's vectors fit. */
static void test_heads(const char *cell) {
    static const spec sets[] = {{.hidden = 32, .heads = 2, .rows = 3, .directions = 2},
                                {.hidden = 96, .heads = 3, .rows = 9, .mask = true},
                                {.hidden = 12, .heads = 3, .rows = 4, .lengths = true},
                                {.hidden = 45, .heads = 5, .rows = 2, .reset = true},
                                {.hidden = 192, .heads = 6, .rows = 1}};
    fc_cell_description d;
    CHECK_OK(fc_describe_cell(fc_cell_index(cell), &d));
    for (size_t i = 0; d.takes_heads && i < sizeof sets / sizeof *sets; i++) {
        spec s = sets[i];
        s.cell = cell;
        s.in = 5;
        s.layers = s.rows > 1 ? 2 : 1;
        s.directions = s.directions ? s.directions : 1;
        s.steps = s.rows > 1 ? 5 : 60;
        seed(800 + i);
        test_problem(&s, "heads", s.rows > 1 ? 1 : 4);
    }
}

int main(int count, char **arguments) {
    if (count > 1)
        difference_divisor =
            fmin(fmax(strtod(arguments[1], NULL), 1), FEWEST_DIFFERENCES);
    for (int cell = 0; fc_cell_name(cell); cell++) {
        const char *name = fc_cell_name(cell);
        CHECK(fc_cell_index(name) == cell);
        test_small_problems(name);
        if (has_long_problems(name)) {
            test_threads(name);
            test_teams(name);
            test_heads(name);
            test_recompute(name);
        }
        test_empty(name);
        test_row_alone(name);
        test_not_finite(name, NAN);
        test_not_finite(name, INFINITY);
        test_index_is_a_gather(name);
    }
    return finish("stack");
}

/* Streaming, one step at a time, against whole sequences. */
#include "tests/problem.h"

typedef struct streaming {
    fc_stack stack;
    void *packed, *memory;
    size_t bytes, packed_bytes;
    ptrdiff_t rows, in, out;
} streaming;

static streaming streaming_new(const problem *p, fc_dtype dtype) {
    streaming s = {.rows = p->spec.rows, .in = p->spec.in, .out = p->out};
    s.packed = pack_weights(p, dtype, FC_PACK_FORWARD, &s.stack, 1);
    CHECK_OK(fc_pack_size(&s.stack, FC_PACK_FORWARD, &s.packed_bytes));
    CHECK_OK(fc_stream_size(&s.stack, s.rows, &s.bytes));
    s.memory = take(s.bytes, 0);
    memset(s.memory, 0, s.bytes); /* zero states */
    return s;
}

static void streaming_free(streaming *s) {
    release(s->packed);
    release(s->memory);
}

static void move_packed(streaming *s) {
    void *to = take(s->packed_bytes, 0);
    memcpy(to, s->packed, s->packed_bytes);
    memset(s->packed, 0xff, s->packed_bytes);
    release(s->packed);
    s->packed = to;
}

/* Steps first .. last-1 of the problem's x, into y (T, B, P).  Each step has another
 * stack of the same values; the weights move every third step. */
static void run_steps(streaming *s, const problem *p, void *memory, ptrdiff_t first,
                      ptrdiff_t last, double *y) {
    fc_dtype dtype = s->stack.dtype;
    fc_stack stacks[2];
    for (ptrdiff_t t = first; t < last; t++) {
        void *x =
            reals_of(dtype, p->v + p->x.at + t * s->rows * s->in, s->rows * s->in);
        void *to =
            take((size_t)(s->rows * s->out) * real_size(dtype), real_size(dtype));
        fc_stack *stack = &stacks[t % 2];
        *stack = s->stack;
        memset(&stacks[1 - t % 2], 0xff, sizeof *stack);
        CHECK_OK(fc_stream_step(stack, s->packed, s->rows, x, to, memory));
        doubles_of(dtype, to, s->rows * s->out, y + t * s->rows * s->out);
        release(x);
        release(to);
        if (t % 3 == 0)
            move_packed(s);
    }
}

static void set_states(streaming *s, const problem *p) {
    fc_dtype dtype = s->stack.dtype;
    void *h = reals_of(dtype, p->v + p->h0.at, p->h_count);
    void *c = reals_of(dtype, p->v + p->c0.at, p->c_count);
    CHECK_OK(fc_stream_set(&s->stack, s->rows, s->memory, h, p->has_c ? c : NULL));
    release(h);
    release(c);
}

static void check_states(const streaming *s, const problem *p, const void *memory,
                         const double *h_wanted, const double *c_wanted) {
    fc_dtype dtype = s->stack.dtype;
    size_t real = real_size(dtype);
    void *h = take((size_t)p->h_count * real, real),
         *c = take((size_t)p->c_count * real, real);
    outcome got = outcome_new(p);
    CHECK_OK(fc_stream_get(&s->stack, s->rows, memory, h, p->has_c ? c : NULL));
    doubles_of(dtype, h, p->h_count, got.h);
    doubles_of(dtype, c, p->c_count, got.c);
    CHECK_SAME_BITS(got.h, h_wanted, p->h_count);
    CHECK_SAME_BITS(got.c, c_wanted, p->c_count);
    outcome_free(&got);
    release(h);
    release(c);
}

static void test_against_forward(const problem *p, fc_dtype dtype, const outcome *whole,
                                 outcome *got) {
    streaming s = streaming_new(p, dtype);
    if (!p->spec.no_states) {
        set_states(&s, p);
        check_states(&s, p, s.memory, p->v + p->h0.at,
                     p->v + p->c0.at); /* round trip */
    }
    run_steps(&s, p, s.memory, 0, p->spec.steps, got->y);
    CHECK_SAME_BITS(got->y, whole->y, p->y_count);
    check_states(&s, p, s.memory, whole->h, whole->c);

    /* Setting no state is zero states, also of a used stream. */
    double *nothing = zeros(p->h_count + p->c_count, sizeof *nothing);
    CHECK_OK(fc_stream_set(&s.stack, s.rows, s.memory, NULL, NULL));
    check_states(&s, p, s.memory, nothing, nothing);
    free(nothing);
    streaming_free(&s);
}

/* A copy of a stream's bytes gives the same results at any address, with and without
 * the original; the two are independent. */
static void test_copies(const problem *p, fc_dtype dtype, outcome *got) {
    enum { COPIES = 4 };
    static const size_t places[COPIES] = {0, 64, 448, 4032}; /* in a page */
    ptrdiff_t half = p->spec.steps / 2, half_count = half * p->spec.rows * p->out;
    streaming s = streaming_new(p, dtype);
    outcome other = outcome_new(p);
    void *block[COPIES], *copy[COPIES];
    run_steps(&s, p, s.memory, 0, half, got->y);
    for (int i = 0; i < COPIES; i++) {
        block[i] = take(s.bytes + 2 * 4096, 0);
        size_t to_page = (4096 - (uintptr_t)block[i] % 4096) % 4096;
        copy[i] = (char *)block[i] + to_page + places[i];
        if (i % 2)
            CHECK_OK(fc_stream_copy(&s.stack, s.rows, s.memory, copy[i]));
        else
            memcpy(copy[i], s.memory, s.bytes);
    }
    run_steps(&s, p, s.memory, half, p->spec.steps, got->y);
    memset(s.memory, 0xff, s.bytes);
    for (int i = 0; i < COPIES; i++) {
        run_steps(&s, p, copy[i], half, p->spec.steps, other.y);
        CHECK_SAME_BITS(got->y + half_count, other.y + half_count,
                        p->y_count - half_count);
        release(block[i]);
    }
    outcome_free(&other);
    streaming_free(&s);
}

/* Streams that step independently, in any order, have the bits of whole sequences. */
static void test_arrivals(const problem *p, fc_dtype dtype, const outcome *whole,
                          outcome *got) {
    ptrdiff_t rows = p->spec.rows, steps = p->spec.steps;
    streaming s = streaming_new(p, dtype);
    size_t real = real_size(dtype);
    int64_t which[16];
    ptrdiff_t at[16] = {0}, left = rows * steps;
    if (!p->spec.no_states)
        set_states(&s, p);
    while (left) {
        ptrdiff_t count = 0;
        for (ptrdiff_t row = rows - 1; row >= 0; row--)
            if (at[row] < steps && chance(0.6))
                which[count++] = row;
        void *x = take((size_t)(count * s.in) * real, real);
        void *y = take((size_t)(count * s.out) * real, real);
        for (ptrdiff_t i = 0; i < count; i++)
            for (ptrdiff_t j = 0; j < s.in; j++)
                set_real(dtype, x, i * s.in + j,
                         p->v[p->x.at + (at[which[i]] * rows + which[i]) * s.in + j]);
        CHECK_OK(fc_stream_step_some(&s.stack, s.packed, rows,
                                     &(fc_selection){which, count}, x, y, s.memory, 2));
        for (ptrdiff_t i = 0; i < count; i++, left--)
            for (ptrdiff_t j = 0, t = at[which[i]]++; j < s.out; j++)
                got->y[(t * rows + which[i]) * s.out + j] =
                    real_at(dtype, y, i * s.out + j);
        release(x);
        release(y);
    }
    CHECK_SAME_BITS(got->y, whole->y, p->y_count);
    check_states(&s, p, s.memory, whole->h, whole->c);
    streaming_free(&s);
}

/* Gets and sets the states of some streams; the others do not change. */
static void test_some_states(const problem *p, fc_dtype dtype) {
    enum { SOME = 2 };
    const int64_t which[SOME] = {5, 1}, twice[SOME] = {1, 1}, out[SOME] = {0, 7};
    streaming s = streaming_new(p, dtype), before = streaming_new(p, dtype);
    ptrdiff_t layers = p->spec.layers, n = layers * SOME * p->out;
    ptrdiff_t cells = layers * SOME * (p->states - 1) * p->spec.hidden;
    void *h = take((size_t)n * 8, 8), *c = take((size_t)cells * 8, 8);
    double *got = zeros(n, sizeof *got);
    set_states(&s, p);
    memcpy(before.memory, s.memory, s.bytes);
    CHECK_OK(fc_stream_get_some(&s.stack, s.rows, s.memory,
                                &(fc_selection){which, SOME}, h, c));
    doubles_of(dtype, h, n, got);
    for (ptrdiff_t l = 0; l < layers; l++)
        for (ptrdiff_t i = 0; i < SOME; i++)
            CHECK_SAME_BITS(got + (l * SOME + i) * p->out,
                            p->v + p->h0.at + (l * s.rows + which[i]) * p->out, p->out);
    CHECK_OK(fc_stream_set_some(&s.stack, s.rows, s.memory,
                                &(fc_selection){which, SOME}, NULL, NULL));
    CHECK(memcmp(s.memory, before.memory, s.bytes));
    CHECK_OK(fc_stream_set_some(&s.stack, s.rows, s.memory,
                                &(fc_selection){which, SOME}, h, c));
    check_states(&s, p, s.memory, p->v + p->h0.at, p->v + p->c0.at);
    CHECK_STATUS(fc_stream_set_some(&s.stack, s.rows, s.memory, NULL, h, c),
                 FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_stream_get_some(&s.stack, s.rows, s.memory, NULL, h, c),
                 FC_BAD_ARGUMENT);
    CHECK_STATUS(
        fc_stream_step_some(&s.stack, s.packed, s.rows, NULL, h, c, s.memory, 1),
        FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_stream_set_some(&s.stack, s.rows, s.memory,
                                    &(fc_selection){twice, SOME}, h, c),
                 FC_BAD_INDEX);
    CHECK_STATUS(fc_stream_get_some(&s.stack, s.rows, s.memory,
                                    &(fc_selection){out, SOME}, h, c),
                 FC_BAD_INDEX);
    CHECK_STATUS(fc_stream_step_some(&s.stack, s.packed, s.rows,
                                     &(fc_selection){twice, SOME}, h, c, s.memory, 1),
                 FC_BAD_INDEX);
    CHECK_STATUS(fc_stream_step_some(&s.stack, s.packed, s.rows,
                                     &(fc_selection){NULL, SOME}, h, c, s.memory, 1),
                 FC_BAD_ARGUMENT);
    check_states(&s, p, s.memory, p->v + p->h0.at, p->v + p->c0.at);
    release(h);
    release(c);
    free(got);
    streaming_free(&s);
    streaming_free(&before);
}

/* With few rows, threads share the units of each step if there are enough units and
 * calls follow closely. */
static void test_teams(const char *cell) {
    enum { STEPS = 40 };
    spec from = {.cell = cell,
                 .in = 70,
                 .hidden = 200,
                 .proj = 90,
                 .layers = 2,
                 .directions = 1,
                 .steps = STEPS,
                 .rows = 2};
    problem p;
    seed(750);
    problem_make(&p, &from);
    outcome whole = outcome_new(&p);
    FOR_EACH_ISA(isa) {
        for (int d = 0; d < 2; d++) {
            fc_dtype dtype = (fc_dtype)d;
            size_t row = (size_t)(p.spec.rows * p.out) * real_size(dtype);
            streaming s = streaming_new(&p, dtype);
            void *x = reals_of(dtype, p.v + p.x.at, STEPS * s.rows * s.in);
            char *y = take(STEPS * row, real_size(dtype));
            run_core(&p, dtype, 1, INFERENCE, &whole);
            for (int threads = 1; threads <= 4; threads++) {
                describe("stream, team of %d, %s, %s f%d", threads, cell, isa,
                         d ? 64 : 32);
                set_states(&s, &p);
                for (int t = 0; t < STEPS; t++)
                    CHECK_OK(fc_stream_step_some(
                        &s.stack, s.packed, s.rows, &(fc_selection){NULL, s.rows},
                        (char *)x + (size_t)(t * s.rows * s.in) * real_size(dtype),
                        y + (size_t)t * row, s.memory, threads));
                double *got = zeros(p.y_count, sizeof *got);
                doubles_of(dtype, y, p.y_count, got);
                CHECK_SAME_BITS(got, whole.y, p.y_count);
                free(got);
                check_states(&s, &p, s.memory, whole.h, whole.c);
            }
            release(x);
            release(y);
            streaming_free(&s);
        }
    }
    outcome_free(&whole);
    problem_free(&p);
}

static void test_cell(const char *cell) {
    static const ptrdiff_t rows_[] = {0, 1, 2, 3, 7, 9};
    for (size_t i = 0; i < sizeof rows_ / sizeof *rows_; i++) {
        for (int layers = 1; layers <= 3; layers++) {
            spec from = {.cell = cell,
                         .in = 5,
                         .hidden = layers == 2 ? 33 : 9,
                         .proj = layers == 2 ? 17 : 4,
                         .layers = layers,
                         .directions = 1,
                         .steps = 6,
                         .rows = rows_[i],
                         .no_states = layers == 3};
            problem p;
            seed(700 + i);
            problem_make(&p, &from);
            outcome whole = outcome_new(&p), got = outcome_new(&p);
            FOR_EACH_ISA(isa) {
                for (int d = 0; d < 2; d++) {
                    describe("stream, %s, L%d B%td, %s f%d", cell, layers, rows_[i],
                             isa, d ? 64 : 32);
                    run_core(&p, (fc_dtype)d, 1, INFERENCE, &whole);
                    test_against_forward(&p, (fc_dtype)d, &whole, &got);
                    test_copies(&p, (fc_dtype)d, &got);
                    test_arrivals(&p, (fc_dtype)d, &whole, &got);
                    if (p.spec.rows == 7 && !p.spec.no_states)
                        test_some_states(&p, (fc_dtype)d);
                }
            }
            outcome_free(&whole);
            outcome_free(&got);
            problem_free(&p);
        }
    }
}

int main(void) {
    for (int cell = 0; fc_cell_name(cell); cell++) {
        test_cell(fc_cell_name(cell));
        test_teams(fc_cell_name(cell));
    }
    return finish("stream");
}

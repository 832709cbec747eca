/* The clip of gradients in the recurrence: the gradients are those of calls for single
 * steps without a clip, where the gradient of h is clipped by hand between the calls.
 */
#include "tests/problem.h"

/* The array of the section, if the problem has it. */
static double *part(double *all, section s) { return s.count ? all + s.at : NULL; }

/* What h_{t-1} of the rows got from their steps at time t, of all layers: not of a
 * masked step, and not what an initial state got. */
static void clip_rows(const problem *p, ptrdiff_t t, double clip, double *dh) {
    const spec *s = &p->spec;
    for (ptrdiff_t row = 0; row < s->rows; row++) {
        bool before = false;
        for (ptrdiff_t earlier = 0; earlier < t; earlier++)
            before |= step_is_active(p, earlier, row);
        if (!before || !step_is_active(p, t, row))
            continue;
        for (ptrdiff_t l = 0; l < s->layers; l++)
            for (ptrdiff_t u = 0; u < p->out; u++) {
                double *d = dh + (l * s->rows + row) * p->out + u;
                *d = fmin(fmax(*d, -clip), clip);
            }
    }
}

static void run_steps(const problem *p, double clip, double *g) {
    enum { MOST_STEPS = 8 };
    const spec *s = &p->spec;
    problem plain = *p;
    plain.stack.options.recurrent_grad_clip = 0;
    fc_stack stack;
    void *packed = pack_weights(&plain, FC_F64, FC_PACK_FORWARD, &stack, 1);
    void *packed_backward = pack_weights(&plain, FC_F64, FC_PACK_BACKWARD, &stack, 1);
    double *h = zeros((s->steps + 1) * p->h_count, sizeof *h),
           *c = zeros((s->steps + 1) * p->c_count, sizeof *c),
           *y = zeros(s->rows * p->out, sizeof *y);
    memcpy(h, p->v + p->h0.at, (size_t)p->h_count * sizeof *h);
    memcpy(c, p->v + p->c0.at, (size_t)p->c_count * sizeof *c);
    int64_t *lengths = zeros(s->steps * s->rows, sizeof *lengths);
    fc_batch batch[MOST_STEPS];
    void *saved[MOST_STEPS], *scratch;
    size_t bytes;
    for (ptrdiff_t t = 0; t < s->steps; t++) {
        for (ptrdiff_t row = 0; row < s->rows; row++)
            lengths[t * s->rows + row] = step_exists(p, t, row);
        batch[t] = (fc_batch){.steps = 1,
                              .rows = s->rows,
                              .x = p->v + p->x.at + t * s->rows * s->in,
                              .x_step = s->rows * s->in,
                              .x_row = s->in,
                              .lengths = lengths + t * s->rows,
                              .mask = p->mask ? p->mask + t * s->rows : NULL,
                              .reset = p->reset ? p->reset + t * s->rows : NULL,
                              .h0 = h + t * p->h_count,
                              .c0 = p->has_c ? c + t * p->c_count : NULL,
                              .threads = 1};
        fc_output output = {.y = y,
                            .y_step = s->rows * p->out,
                            .y_row = p->out,
                            .h = h + (t + 1) * p->h_count,
                            .c = p->has_c ? c + (t + 1) * p->c_count : NULL};
        CHECK_OK(fc_saved_size(&stack, &batch[t], &bytes));
        saved[t] = take(bytes, 0);
        CHECK_OK(fc_scratch_size(&stack, &batch[t], 1, &bytes));
        scratch = take(bytes, 0);
        CHECK_OK(fc_forward(&stack, packed, &batch[t], &output, saved[t], scratch));
        release(scratch);
    }
    memset(g, 0, (size_t)p->count * sizeof *g);
    fc_gradients gradients[MOST_PASSES];
    for (int i = 0; i < p->passes; i++) {
        gradients[i] = (fc_gradients){.w_ih = part(g, p->w_ih[i]),
                                      .w_hh = part(g, p->w_hh[i]),
                                      .b_ih = part(g, p->b_ih[i]),
                                      .b_hh = part(g, p->b_hh[i]),
                                      .w_hr = part(g, p->w_hr[i])};
        for (int j = 0; j < p->owned; j++)
            gradients[i].own[j] = part(g, p->own[i][j]);
    }
    double *dh = g + p->h0.at, *dc = g + p->c0.at; /* in, and out of each step */
    memcpy(dh, p->dh, (size_t)p->h_count * sizeof *dh);
    memcpy(dc, p->dc, (size_t)p->c_count * sizeof *dc);
    double *dh0 = zeros(p->h_count, sizeof *dh0), *dc0 = zeros(p->c_count, sizeof *dc0);
    for (ptrdiff_t t = s->steps - 1; t >= 0; t--) {
        fc_backward_io io = {.dy = p->dy + t * s->rows * p->out,
                             .dy_step = s->rows * p->out,
                             .dy_row = p->out,
                             .dh = dh,
                             .dc = p->has_c ? dc : NULL,
                             .dx = g + p->x.at + t * s->rows * s->in,
                             .dx_step = s->rows * s->in,
                             .dx_row = s->in,
                             .dh0 = dh0,
                             .dc0 = p->has_c ? dc0 : NULL,
                             .weights = gradients};
        CHECK_OK(fc_scratch_size(&stack, &batch[t], 2, &bytes));
        scratch = take(bytes, 0);
        CHECK_OK(
            fc_backward(&stack, packed_backward, &batch[t], &io, saved[t], scratch));
        clip_rows(p, t, clip, dh0);
        memcpy(dh, dh0, (size_t)p->h_count * sizeof *dh);
        memcpy(dc, dc0, (size_t)p->c_count * sizeof *dc);
        release(scratch);
        release(saved[t]);
    }
    release(packed);
    release(packed_backward);
    double *all[] = {h, c, y, dh0, dc0};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    free(lengths);
}

static void test_clip(const char *cell, bool uneven, const char *isa) {
    static const double clip = 0.05, tolerance = 1e-12;
    spec s = {.cell = cell,
              .in = 3,
              .hidden = 9,
              .proj = 4,
              .layers = 2,
              .directions = 1,
              .steps = 6,
              .rows = 5,
              .lengths = uneven,
              .mask = uneven,
              .reset = uneven};
    seed(950 + uneven);
    problem p;
    problem_make(&p, &s);
    outcome plain = outcome_new(&p), got = outcome_new(&p);
    describe("%s, clipped gradients%s, %s", cell, uneven ? ", uneven" : "", isa);
    run_core(&p, FC_F64, 1, GRADIENTS, &plain);
    p.stack.options.given = 1;
    p.stack.options.recurrent_grad_clip = clip;
    run_core(&p, FC_F64, 1, GRADIENTS, &got);
    CHECK_SAME_BITS(got.y, plain.y, p.y_count);
    CHECK(memcmp(got.g, plain.g, (size_t)p.count * sizeof *got.g) != 0);
    run_steps(&p, clip, plain.g);
    CHECK_CLOSE(got.g, plain.g, p.count, tolerance);
    outcome_free(&plain);
    outcome_free(&got);
    problem_free(&p);
}

static void test_refusals(void) {
    static const double wrong[] = {-1, 1e-40, INFINITY, NAN};
    size_t bytes;
    fc_stack stack = {.cell = fc_cell_index("rnn_tanh"),
                      .input_size = 3,
                      .hidden_size = 4,
                      .layers = 1,
                      .directions = 1,
                      .options = {.given = 1}};
    describe("clips of gradients");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        stack.options.recurrent_grad_clip = wrong[i];
        CHECK_STATUS(fc_pack_size(&stack, FC_PACK_FORWARD, &bytes), FC_BAD_ARGUMENT);
    }
    stack.options.recurrent_grad_clip = 0.5;
    CHECK_OK(fc_pack_size(&stack, FC_PACK_FORWARD, &bytes));
}

int main(void) {
    FOR_EACH_ISA(isa)
    for (int cell = 0; fc_cell_name(cell); cell++) {
        test_clip(fc_cell_name(cell), false, isa);
        test_clip(fc_cell_name(cell), true, isa);
    }
    test_refusals();
    return finish("recurrent clip");
}

/* A batch cut in time: forward segment by segment from the states at the borders,
 * backward from the last segment to the first.  All bits are those of the whole. */
#include "tests/problem.h"

/* A problem's arrays in one type, time first.  With one segment, of all steps, the
 * ordinary calls are made. */
typedef struct cut {
    const problem *p;
    fc_dtype dtype;
    fc_stack stack;
    fc_batch whole;
    ptrdiff_t length; /* of a segment */
    const fc_blas *blas;
    void *packed, *packed_backward;
    char *x, *dy, *dx, *y, *dropout, *carry;
    size_t carry_bytes;
    char *h, *c, *dh, *dc; /* states at all borders; gradients of one */
    fc_gradients gradients[MOST_PASSES];
} cut;

static void *clear_reals(fc_dtype dtype, section s) {
    double *zero = zeros(s.count, sizeof *zero);
    void *reals = s.count ? reals_of(dtype, zero, s.count) : NULL;
    free(zero);
    return reals;
}

static size_t reals(const cut *c, ptrdiff_t count) {
    return (size_t)count * real_size(c->dtype);
}

static ptrdiff_t pairs_of_steps(const problem *p, ptrdiff_t begin, ptrdiff_t end) {
    ptrdiff_t pairs = 0;
    for (ptrdiff_t t = begin; t < end; t++)
        for (ptrdiff_t row = 0; row < p->spec.rows; row++)
            pairs += step_is_active(p, t, row);
    return pairs;
}

/* Segment i; its lengths and factors of dropout go to the caller's memory. */
static fc_batch segment_batch(const cut *c, ptrdiff_t i, int64_t *lengths,
                              char *dropout) {
    const problem *p = c->p;
    const spec *s = &p->spec;
    ptrdiff_t begin = i * c->length, pairs = begin * s->rows;
    fc_batch part = c->whole;
    part.steps = s->steps - begin < c->length ? s->steps - begin : c->length;
    if (p->index)
        part.index = p->index + pairs;
    else
        part.x = c->x + reals(c, pairs * s->in);
    for (ptrdiff_t row = 0; p->lengths && row < s->rows; row++) {
        int64_t left = p->lengths[row] - begin;
        lengths[row] = left < 0 ? 0 : left < part.steps ? left : part.steps;
    }
    part.lengths = p->lengths ? lengths : NULL;
    part.mask = p->mask ? p->mask + pairs : NULL;
    part.reset = p->reset ? p->reset + pairs : NULL;
    size_t step = reals(c, s->rows * p->out);
    for (ptrdiff_t l = 0; p->dropout && l < s->layers - 1; l++)
        memcpy(dropout + (size_t)(l * part.steps) * step,
               c->dropout + (size_t)(l * s->steps + begin) * step,
               (size_t)part.steps * step);
    part.dropout = p->dropout ? dropout : NULL;
    part.h0 = c->h + reals(c, i * p->h_count);
    part.c0 = p->has_c ? c->c + reals(c, i * p->c_count) : NULL;
    return part;
}

/* One segment: inference, whose states are the next one's; or both ways. */
static void run_segment(cut *c, ptrdiff_t i, bool backward) {
    const problem *p = c->p;
    const spec *s = &p->spec;
    size_t bytes, more;
    int64_t *lengths = zeros(s->rows, sizeof *lengths);
    char *dropout = take(reals(c, (s->layers - 1) * p->y_count), 0);
    fc_batch part = segment_batch(c, i, lengths, dropout);
    ptrdiff_t begin = i * c->length, width = s->rows * p->out;
    fc_output output = {.y = c->y + reals(c, begin * width),
                        .y_step = width,
                        .y_row = p->out,
                        .h = c->h + reals(c, (i + 1) * p->h_count),
                        .c = p->has_c ? c->c + reals(c, (i + 1) * p->c_count) : NULL};
    CHECK_OK(fc_saved_size(&c->stack, &part, &bytes));
    void *saved = take(bytes, 0);
    CHECK_OK(fc_scratch_size(&c->stack, &part, backward, &bytes));
    CHECK_OK(fc_scratch_size(&c->stack, &part, 2, &more));
    void *scratch = take(bytes > more ? bytes : more, 0);
    CHECK_OK(fc_forward(&c->stack, c->packed, &part, &output, backward ? saved : NULL,
                        scratch));
    if (backward) {
        char *elsewhere = take(c->carry_bytes, 0);
        memcpy(elsewhere, c->carry, c->carry_bytes);
        release(c->carry);
        c->carry = elsewhere;
        fc_segment segment = {begin, s->steps - begin - part.steps,
                              pairs_of_steps(p, 0, begin), c->carry};
        fc_backward_io io = {.dy = c->dy + reals(c, begin * width),
                             .dy_step = width,
                             .dy_row = p->out,
                             .dh = c->dh,
                             .dc = p->has_c ? c->dc : NULL,
                             .dx = c->dx +
                                   (p->index ? 0 : reals(c, begin * s->rows * s->in)),
                             .dx_step = s->rows * s->in,
                             .dx_row = s->in,
                             .dh0 = c->dh + reals(c, p->h_count),
                             .dc0 = p->has_c ? c->dc + reals(c, p->c_count) : NULL,
                             .weights = c->gradients,
                             .blas = c->blas,
                             .packed_forward = c->packed,
                             .segment = part.steps < s->steps ? &segment : NULL};
        CHECK_OK(
            fc_backward(&c->stack, c->packed_backward, &part, &io, saved, scratch));
        memcpy(c->dh, c->dh + reals(c, p->h_count), reals(c, p->h_count));
        memcpy(c->dc, c->dc + reals(c, p->c_count), reals(c, p->c_count));
    }
    release(saved);
    release(scratch);
    release(dropout);
    free(lengths);
}

static void get(const cut *c, section s, const void *from, double *g) {
    if (s.count)
        doubles_of(c->dtype, from, s.count, g + s.at);
}

static void run_cut(const problem *p, fc_dtype dtype, ptrdiff_t length, int threads,
                    bool recompute, const fc_blas *blas, outcome *o) {
    const spec *s = &p->spec;
    ptrdiff_t segments = (s->steps + length - 1) / length;
    cut c = {.p = p, .dtype = dtype, .length = length, .blas = blas};
    c.packed = pack_weights(p, dtype, FC_PACK_FORWARD, &c.stack, threads);
    c.packed_backward = pack_weights(p, dtype, FC_PACK_BACKWARD, &c.stack, threads);
    c.x = reals_of(dtype, p->v + p->x.at, p->x.count);
    c.dy = reals_of(dtype, p->dy, p->y_count);
    c.dx = take(reals(&c, p->x.count), 0);
    c.y = take(reals(&c, p->y_count), 0);
    c.dropout = reals_of(dtype, p->dropout, (s->layers - 1) * p->y_count);
    c.h = take(reals(&c, (segments + 1) * p->h_count), 0);
    c.c = take(reals(&c, (segments + 1) * p->c_count), 0);
    c.dh = take(reals(&c, 2 * p->h_count), 0);
    c.dc = take(reals(&c, 2 * p->c_count), 0);
    for (ptrdiff_t i = 0; i < p->h_count; i++) {
        set_real(dtype, c.h, i, p->v[p->h0.at + i]);
        set_real(dtype, c.dh, i, p->dh[i]);
    }
    for (ptrdiff_t i = 0; i < p->c_count; i++) {
        set_real(dtype, c.c, i, p->v[p->c0.at + i]);
        set_real(dtype, c.dc, i, p->dc[i]);
    }
    c.whole = (fc_batch){.rows = s->rows,
                         .x = c.x,
                         .x_step = s->rows * s->in,
                         .x_row = s->in,
                         .index = p->index,
                         .x_rows = p->x_rows,
                         .threads = threads,
                         .recompute = recompute};
    CHECK_OK(fc_carry_size(&c.stack, &c.whole, &c.carry_bytes));
    c.carry = take(c.carry_bytes, 0);
    for (int i = 0; i < p->passes; i++) {
        c.gradients[i] = (fc_gradients){.w_ih = clear_reals(dtype, p->w_ih[i]),
                                        .w_hh = clear_reals(dtype, p->w_hh[i]),
                                        .b_ih = clear_reals(dtype, p->b_ih[i]),
                                        .b_hh = clear_reals(dtype, p->b_hh[i]),
                                        .w_hr = clear_reals(dtype, p->w_hr[i])};
        for (int j = 0; j < p->owned; j++)
            c.gradients[i].own[j] = clear_reals(dtype, p->own[i][j]);
    }
    for (ptrdiff_t i = 0; i < segments; i++)
        run_segment(&c, i, false);
    doubles_of(dtype, c.y, p->y_count, o->y);
    doubles_of(dtype, c.h + reals(&c, segments * p->h_count), p->h_count, o->h);
    doubles_of(dtype, c.c + reals(&c, segments * p->c_count), p->c_count, o->c);
    for (ptrdiff_t i = segments - 1; i >= 0; i--)
        run_segment(&c, i, true);
    for (int i = 0; i < p->passes; i++) {
        const fc_gradients *g = &c.gradients[i];
        section at[] = {p->w_ih[i], p->w_hh[i], p->b_ih[i], p->b_hh[i], p->w_hr[i]};
        void *from[] = {g->w_ih, g->w_hh, g->b_ih, g->b_hh, g->w_hr};
        for (int j = 0; j < 5; j++) {
            get(&c, at[j], from[j], o->g);
            release(from[j]);
        }
        for (int j = 0; j < p->owned; j++) {
            get(&c, p->own[i][j], g->own[j], o->g);
            release(g->own[j]);
        }
    }
    get(&c, p->x, c.dx, o->g);
    get(&c, p->h0, c.dh, o->g);
    get(&c, p->c0, c.dc, o->g);
    void *all[] = {c.packed,  c.packed_backward,
                   c.x,       c.dy,
                   c.dx,      c.y,
                   c.dropout, c.h,
                   c.c,       c.dh,
                   c.dc,      c.carry};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        release(all[i]);
}

/* Borders fall anywhere in the blocks of 256 pairs: more of them than blocks, and
 * fewer; chunks of gates made again end within segments too. */
static void test_segments(const char *cell) {
    static const struct {
        spec set;
        ptrdiff_t length;
    } cases[] = {
        {{.layers = 2, .rows = 7, .lengths = true, .dropout = true}, 11},
        {{.layers = 1, .rows = 9, .index = true, .mask = true}, 50},
        {{.layers = 3, .rows = 13, .reset = true, .mask = true, .dropout = true}, 199},
        {{.layers = 1, .rows = 1, .no_bias = true}, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        spec s = cases[i].set;
        ptrdiff_t length = cases[i].length;
        s.cell = cell;
        s.directions = 1;
        s.in = 3;
        s.hidden = 9;
        s.proj = 4;
        s.steps = 300;
        seed(800 + i);
        problem p;
        problem_make(&p, &s);
        if (i < 2) {
            p.stack.options.given = 1;
            p.stack.options.recurrent_grad_clip = 0.01;
        }
        outcome whole = outcome_new(&p), got = outcome_new(&p);
        FOR_EACH_ISA(isa) {
            for (int d = 0; d < 2; d++) {
                fc_dtype dtype = (fc_dtype)d;
                for (int way = 0; way < 4; way++) {
                    bool recompute = way & 1, by_blas = way & 2;
                    describe("%s, segments of %td, %s f%d%s%s", cell, length, isa,
                             dtype == FC_F64 ? 64 : 32, recompute ? ", recompute" : "",
                             by_blas ? ", BLAS" : "");
                    run_cut(&p, dtype, s.steps, 1, false, by_blas ? &slow_blas : NULL,
                            &whole);
                    run_cut(&p, dtype, length, way == 1 ? 3 : 1, recompute,
                            by_blas ? &slow_blas : NULL, &got);
                    CHECK_SAME_BITS(got.y, whole.y, p.y_count);
                    CHECK_SAME_BITS(got.h, whole.h, p.h_count);
                    CHECK_SAME_BITS(got.c, whole.c, p.c_count);
                    CHECK_SAME_BITS(got.g, whole.g, p.count);
                }
            }
        }
        outcome_free(&whole);
        outcome_free(&got);
        problem_free(&p);
    }
}

int main(void) {
    for (int cell = 0; fc_cell_name(cell); cell++)
        if (has_long_problems(fc_cell_name(cell)))
            test_segments(fc_cell_name(cell));
    return finish("segments");
}

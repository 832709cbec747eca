#include "tests/problem.h"

/* ---- making one --------------------------------------------------------------------
 */

static section next_section(problem *p, ptrdiff_t count) {
    section s = {p->count, count};
    p->count += count;
    return s;
}

bool has_all_problems(const char *cell) {
    static const char *const all[] = {
        "lstm_projected", "gru_reset_before", "min_gru", "slstm", "lstm_layer_norm",
        /* not of few problems */
        "rnn_tanh", "lstm", "gru", "indrnn_tanh", "lstm_peephole_coupled_projected"};
    size_t count = FEW_PROBLEMS ? 5 : sizeof all / sizeof *all;
    for (size_t i = 0; i < count; i++)
        if (!strcmp(cell, all[i]))
            return true;
    return false;
}

bool has_long_problems(const char *cell) {
    return has_all_problems(cell) || (!FEW_PROBLEMS && fc_cell_index(cell) % 3 == 0);
}

bool own_parameter(int cell, int which, fc_cell_parameter *own) {
    fc_cell_description d;
    if (fc_describe_cell(cell, &d))
        return false;
    for (int i = 0; which >= 0 && i < d.parameters; i++)
        if (d.parameter[i].rows == FC_AXIS_VECTORS && which-- == 0) {
            *own = d.parameter[i];
            return true;
        }
    return false;
}

ptrdiff_t pass_inputs(const problem *p, int pass) {
    return pass < p->spec.directions ? p->spec.in : p->spec.directions * p->out;
}

bool step_exists(const problem *p, ptrdiff_t t, ptrdiff_t row) {
    return !p->lengths || t < p->lengths[row];
}

bool step_is_active(const problem *p, ptrdiff_t t, ptrdiff_t row) {
    return step_exists(p, t, row) && (!p->mask || p->mask[t * p->spec.rows + row]);
}

static double *random_values(ptrdiff_t count, double size) {
    double *values = zeros(count, sizeof *values);
    for (ptrdiff_t i = 0; i < count; i++)
        values[i] = uniform(-size, size);
    return values;
}

static uint8_t *random_bytes(ptrdiff_t count, double probability) {
    uint8_t *bytes = zeros(count, 1);
    for (ptrdiff_t i = 0; i < count; i++)
        bytes[i] = chance(probability) ? (uint8_t)uniform(1, 255) : 0;
    return bytes;
}

/* What a cell normalizes is of the size of its gains, whatever R is.  With gains of one
 * a step makes differences larger, and many steps make more of a rounding error than a
 * tolerance can allow. */
static void set_gains(problem *p, section gains) {
    p->normalizes = true;
    for (ptrdiff_t i = 0; i < gains.count; i++)
        p->v[gains.at + i] += 0.3;
}

static bool begins_with_ones(int cell, int which) {
    fc_cell_parameter own;
    return own_parameter(cell, which, &own) && own.initial == FC_ONES;
}

/* An sLSTM divides by its state n, which is positive. */
static void set_normalizers(problem *p) {
    enum { N = 1 }; /* of c n m */
    ptrdiff_t units = p->spec.hidden, others = p->states - 1;
    for (ptrdiff_t i = 0; others > N && i < p->c_count; i++)
        if (i / units % others == N)
            p->v[p->c0.at + i] = (float)(1 + p->v[p->c0.at + i] / 2);
}

/* Of a cell that has some: smooth kinds, since differences check them to 1e-7 (the
 * slope of a softsign has a kink), and clips, whose kinks `positive` keeps. */
static fc_options options_of(int cell) {
    fc_cell_description d;
    fc_options options = {0};
    if (fc_describe_cell(cell, &d) || !d.roles)
        return options;
    options = (fc_options){.given = 1, .gate_clip = 1.4};
    options.cell_clip = d.clips_cell ? 0.6 : 0;
    static const fc_activation kinds[] = {{FC_ACT_SIGMOID, 0, 0},
                                          {FC_ACT_SCALED_TANH, 1.2, 0.7},
                                          {FC_ACT_SOFTPLUS, 0, 0}};
    for (int i = 0; i < d.roles; i++)
        options.activation[i] = d.roles == 1 ? kinds[2] : kinds[i];
    return options;
}

void problem_make(problem *p, const spec *from) {
    *p = (problem){.spec = *from};
    const spec *s = &p->spec;
    ptrdiff_t pairs = s->steps * s->rows;
    int cell = fc_cell_index(s->cell);
    bool projects = strstr(s->cell, "projected") != NULL;
    p->gates = fc_cell_gates(cell);
    p->states = fc_cell_states(cell);
    p->has_c = p->states > 1;
    p->has_r = has_r(s->cell);
    p->passes = s->layers * s->directions;
    p->stack = (fc_stack){.cell = cell,
                          .dtype = FC_F64,
                          .input_size = s->in,
                          .hidden_size = s->hidden,
                          .proj_size = projects ? s->proj : 0,
                          .layers = s->layers,
                          .directions = s->directions,
                          .heads = s->heads,
                          .options = options_of(cell)};
    p->out = projects ? s->proj : s->hidden;
    p->x_rows = s->index ? 11 : 0;
    for (int i = 0; i < p->passes; i++) {
        ptrdiff_t rows = p->gates * s->hidden;
        p->w_ih[i] = next_section(p, rows * pass_inputs(p, i));
        p->w_hh[i] =
            next_section(p, p->has_r ? rows * p->out / (s->heads ? s->heads : 1) : 0);
        p->b_ih[i] = next_section(p, s->no_bias ? 0 : rows);
        p->b_hh[i] = next_section(p, s->no_bias || !p->has_r ? 0 : rows);
        p->w_hr[i] = next_section(p, projects ? p->out * s->hidden : 0);
        fc_cell_parameter own;
        for (p->owned = 0; own_parameter(cell, p->owned, &own); p->owned++)
            p->own[i][p->owned] = next_section(p, own.vectors * s->hidden);
    }
    p->y_count = pairs * s->directions * p->out;
    p->h_count = p->passes * s->rows * p->out;
    p->c_count = p->passes * s->rows * (p->states - 1) * s->hidden;
    p->x = next_section(p, (s->index ? p->x_rows : pairs) * s->in);
    p->h0 = next_section(p, s->no_states ? 0 : p->h_count);
    p->c0 = next_section(p, s->no_states ? 0 : p->c_count);

    /* As torch.nn draws weights; x and states are of order one. */
    double size = 1 / sqrt((double)s->hidden);
    p->v = random_values(p->count, size);
    for (ptrdiff_t i = p->x.at; i < p->count; i++)
        p->v[i] = uniform(-1, 1);
    if (!s->no_states)
        set_normalizers(p);
    for (int i = 0; i < p->passes; i++)
        for (int j = 0; j < p->owned; j++)
            if (begins_with_ones(cell, j))
                set_gains(p, p->own[i][j]);
    p->dy = random_values(p->y_count, 1);
    p->dh = random_values(p->h_count, 1);
    p->dc = random_values(p->c_count, 1);
    p->positive = zeros(p->passes * pairs * s->hidden, 1);

    if (s->lengths) { /* every length once: 0, full, and between, in no order */
        p->lengths = zeros(s->rows, sizeof *p->lengths);
        for (ptrdiff_t row = 0; row < s->rows; row++)
            p->lengths[row] = (row * 3 + s->steps) % (s->steps + 1);
    }
    if (s->mask)
        p->mask = random_bytes(pairs, 0.6);
    if (s->reset)
        p->reset = random_bytes(pairs, 0.3);
    if (s->index) {
        p->index = zeros(pairs, sizeof *p->index);
        for (ptrdiff_t t = 0; t < s->steps; t++)
            for (ptrdiff_t row = 0; row < s->rows; row++)
                p->index[t * s->rows + row] =
                    step_is_active(p, t, row)
                        ? (int32_t)uniform(0, (double)p->x_rows - 0.01)
                        : -7;
    }
    if (s->dropout) {
        p->dropout = zeros((s->layers - 1) * p->y_count, sizeof *p->dropout);
        for (ptrdiff_t i = 0; i < (s->layers - 1) * p->y_count; i++)
            p->dropout[i] = chance(0.25) ? 0 : 1.25;
    }
}

void problem_free(problem *p) {
    void *all[] = {p->v,       p->dy,   p->dh,    p->dc,    p->dropout,
                   p->lengths, p->mask, p->reset, p->index, p->positive};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

outcome outcome_new(const problem *p) {
    return (outcome){zeros(p->y_count, 8), zeros(p->h_count, 8), zeros(p->c_count, 8),
                     zeros(p->count, 8)};
}

void outcome_free(outcome *o) {
    free(o->y);
    free(o->h);
    free(o->c);
    free(o->g);
}

/* ---- the core ----------------------------------------------------------------------
 */

static void *section_reals(const problem *p, fc_dtype dtype, section s) {
    return s.count ? reals_of(dtype, p->v + s.at, s.count) : NULL;
}

void *pack_weights(const problem *p, fc_dtype dtype, fc_pack_kind kind, fc_stack *stack,
                   int threads) {
    fc_weights weights[MOST_PASSES];
    size_t bytes;
    *stack = p->stack;
    stack->dtype = dtype;
    for (int i = 0; i < p->passes; i++) {
        weights[i] = (fc_weights){.w_ih = section_reals(p, dtype, p->w_ih[i]),
                                  .w_hh = section_reals(p, dtype, p->w_hh[i]),
                                  .b_ih = section_reals(p, dtype, p->b_ih[i]),
                                  .b_hh = section_reals(p, dtype, p->b_hh[i]),
                                  .w_hr = section_reals(p, dtype, p->w_hr[i])};
        for (int j = 0; j < p->owned; j++)
            weights[i].own[j] = section_reals(p, dtype, p->own[i][j]);
    }
    CHECK_OK(fc_pack_size(stack, kind, &bytes));
    void *packed = take(bytes, 0);
    CHECK_OK(fc_pack(stack, kind, weights, packed, threads));
    for (int i = 0; i < p->passes; i++) {
        release((void *)weights[i].w_ih);
        release((void *)weights[i].w_hh);
        release((void *)weights[i].b_ih);
        release((void *)weights[i].b_hh);
        release((void *)weights[i].w_hr);
        for (int j = 0; j < p->owned; j++)
            release((void *)weights[i].own[j]);
    }
    return packed;
}

/* A (T, B, n) array in the problem's order of axes. */
typedef struct grid {
    void *data;
    ptrdiff_t step, row, n;
} grid;

static grid grid_new(const problem *p, fc_dtype dtype, ptrdiff_t n) {
    ptrdiff_t steps = p->spec.steps, rows = p->spec.rows;
    grid g = {.n = n, .row = n, .step = rows * n};
    if (p->spec.batch_first) {
        g.step = n + 3;
        g.row = steps * g.step;
    }
    size_t reals =
        steps && rows ? (size_t)((steps - 1) * g.step + (rows - 1) * g.row + n) : 0;
    g.data = take(reals * real_size(dtype), real_size(dtype));
    return g;
}

/* What does not exist stays NaN. */
static void grid_set(const problem *p, fc_dtype dtype, const grid *g,
                     const double *from,
                     bool (*exists)(const problem *, ptrdiff_t, ptrdiff_t)) {
    for (ptrdiff_t t = 0; t < p->spec.steps; t++)
        for (ptrdiff_t row = 0; row < p->spec.rows; row++, from += g->n)
            for (ptrdiff_t i = 0; i < g->n && exists(p, t, row); i++)
                set_real(dtype, g->data, t * g->step + row * g->row + i, from[i]);
}

/* Also checks that the gaps between rows are as they were. */
static void grid_get(const problem *p, fc_dtype dtype, const grid *g, double *to) {
    int touched = 0;
    ptrdiff_t steps = p->spec.steps, rows = p->spec.rows;
    for (ptrdiff_t t = 0; t < steps; t++)
        for (ptrdiff_t row = 0; row < rows; row++, to += g->n) {
            ptrdiff_t at = t * g->step + row * g->row;
            for (ptrdiff_t i = 0; i < g->n; i++)
                to[i] = real_at(dtype, g->data, at + i);
            bool last = t == steps - 1 && row == rows - 1;
            for (ptrdiff_t i = 0; p->spec.batch_first && !last && i < 3; i++)
                touched += !isnan(real_at(dtype, g->data, at + g->n + i));
        }
    CHECK(touched == 0);
}

/* Gradients of weights are added to what is there. */
static const double already_there = 0.5;

static void *gradient_memory(fc_dtype dtype, section s) {
    if (!s.count)
        return NULL;
    void *memory = take((size_t)s.count * real_size(dtype), real_size(dtype));
    for (ptrdiff_t i = 0; i < s.count; i++)
        set_real(dtype, memory, i, already_there);
    return memory;
}

static void get_gradient(fc_dtype dtype, section s, void *memory, double *g) {
    for (ptrdiff_t i = 0; i < s.count; i++)
        g[s.at + i] = real_at(dtype, memory, i) - already_there;
    release(memory);
}

static void get_section(fc_dtype dtype, section s, void *memory, double *g) {
    if (s.count)
        doubles_of(dtype, memory, s.count, g + s.at);
}

static void run_backward(const problem *p, const fc_batch *batch, fc_dtype dtype,
                         const fc_blas *blas, const void *packed_forward, void *saved,
                         outcome *o) {
    fc_stack stack;
    fc_gradients gradients[MOST_PASSES];
    size_t bytes, real = real_size(dtype);
    void *packed = pack_weights(p, dtype, FC_PACK_BACKWARD, &stack, batch->threads);
    grid dy = grid_new(p, dtype, p->spec.directions * p->out);
    grid_set(p, dtype, &dy, p->dy, step_exists);
    grid dx = {.n = p->spec.in};
    if (p->index)
        dx.data = take((size_t)p->x.count * real, real);
    else
        dx = grid_new(p, dtype, p->spec.in);
    void *dh = reals_of(dtype, p->dh, p->h_count),
         *dc = reals_of(dtype, p->dc, p->c_count);
    void *dh0 = take((size_t)p->h_count * real, real);
    void *dc0 = take((size_t)p->c_count * real, real);
    for (int i = 0; i < p->passes; i++) {
        gradients[i] = (fc_gradients){.w_ih = gradient_memory(dtype, p->w_ih[i]),
                                      .w_hh = gradient_memory(dtype, p->w_hh[i]),
                                      .b_ih = gradient_memory(dtype, p->b_ih[i]),
                                      .b_hh = gradient_memory(dtype, p->b_hh[i]),
                                      .w_hr = gradient_memory(dtype, p->w_hr[i])};
        for (int j = 0; j < p->owned; j++)
            if (!(p->frozen & 1u << j))
                gradients[i].own[j] = gradient_memory(dtype, p->own[i][j]);
    }
    fc_backward_io io = {.dy = dy.data,
                         .dy_step = dy.step,
                         .dy_row = dy.row,
                         .dh = dh,
                         .dc = p->has_c ? dc : NULL,
                         .dx = dx.data,
                         .dx_step = dx.step,
                         .dx_row = dx.row,
                         .dh0 = dh0,
                         .dc0 = p->has_c ? dc0 : NULL,
                         .weights = gradients,
                         .blas = blas,
                         .packed_forward = packed_forward};
    CHECK_OK(fc_scratch_size(&stack, batch, 2, &bytes));
    void *scratch = take(bytes, 0);
    CHECK_OK(fc_backward(&stack, packed, batch, &io, saved, scratch));
    for (int i = 0; i < p->passes; i++) {
        get_gradient(dtype, p->w_ih[i], gradients[i].w_ih, o->g);
        get_gradient(dtype, p->w_hh[i], gradients[i].w_hh, o->g);
        get_gradient(dtype, p->b_ih[i], gradients[i].b_ih, o->g);
        get_gradient(dtype, p->b_hh[i], gradients[i].b_hh, o->g);
        get_gradient(dtype, p->w_hr[i], gradients[i].w_hr, o->g);
        for (int j = 0; j < p->owned; j++)
            if (gradients[i].own[j])
                get_gradient(dtype, p->own[i][j], gradients[i].own[j], o->g);
    }
    if (p->index)
        get_section(dtype, p->x, dx.data, o->g);
    else
        grid_get(p, dtype, &dx, o->g + p->x.at);
    get_section(dtype, p->h0, dh0, o->g);
    get_section(dtype, p->c0, dc0, o->g);
    void *all[] = {packed, dy.data, dx.data, dh, dc, dh0, dc0, scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        release(all[i]);
}

static void *copy_of(const void *from, size_t bytes) {
    return from ? memcpy(take(bytes, 8), from, bytes) : NULL;
}

void run_core(const problem *p, fc_dtype dtype, int threads, run_kind kind,
              outcome *o) {
    bool recompute =
        kind == GRADIENTS_RECOMPUTED || kind == GRADIENTS_RECOMPUTED_BY_BLAS;
    fc_stack stack;
    size_t bytes, real = real_size(dtype);
    void *packed = pack_weights(p, dtype, FC_PACK_FORWARD, &stack, threads);
    grid x = {.n = p->spec.in, .row = p->spec.in};
    if (p->index) {
        x.data = reals_of(dtype, p->v + p->x.at, p->x.count);
    } else {
        x = grid_new(p, dtype, p->spec.in);
        grid_set(p, dtype, &x, p->v + p->x.at, step_is_active);
    }
    grid y = grid_new(p, dtype, p->spec.directions * p->out);
    void *h0 = section_reals(p, dtype, p->h0), *c0 = section_reals(p, dtype, p->c0);
    void *h = take((size_t)p->h_count * real, real),
         *c = take((size_t)p->c_count * real, real);
    void *dropout = reals_of(dtype, p->dropout, (p->spec.layers - 1) * p->y_count);
    size_t rows = (size_t)p->spec.rows, pairs = (size_t)p->spec.steps * rows;
    void *lengths = copy_of(p->lengths, rows * sizeof *p->lengths),
         *mask = copy_of(p->mask, pairs), *reset = copy_of(p->reset, pairs),
         *index = copy_of(p->index, pairs * sizeof *p->index);
    fc_batch batch = {.steps = p->spec.steps,
                      .rows = p->spec.rows,
                      .x = x.data,
                      .x_step = x.step,
                      .x_row = x.row,
                      .index = index,
                      .x_rows = p->x_rows,
                      .lengths = lengths,
                      .mask = mask,
                      .reset = reset,
                      .h0 = h0,
                      .c0 = c0,
                      .dropout = dropout,
                      .threads = threads,
                      .recompute = recompute,
                      .random = p->random,
                      .key = p->key};
    fc_output output = {.y = y.data,
                        .y_step = y.step,
                        .y_row = y.row,
                        .h = h,
                        .c = p->has_c ? c : NULL};
    bool without_y = kind == INFERENCE_WITHOUT_Y || kind == GRADIENTS_WITHOUT_Y;
    if (without_y) {
        output.y = NULL;
        output.y_step = output.y_row = 0;
    }
    void *saved = NULL;
    if (kind >= TRAINING) {
        CHECK_OK(fc_saved_size(&stack, &batch, &bytes));
        saved = take(bytes, 0);
    }
    CHECK_OK(fc_scratch_size(&stack, &batch, kind >= TRAINING, &bytes));
    void *scratch = take(bytes, 0);
    CHECK_OK(fc_forward(&stack, packed, &batch, &output, saved, scratch));
    if (!without_y)
        grid_get(p, dtype, &y, o->y);
    doubles_of(dtype, h, p->h_count, o->h);
    doubles_of(dtype, c, p->c_count, o->c);
    release(scratch);
    /* Gone before backward, which has what it needs in `saved`. */
    void *of_the_call[] = {lengths, mask, reset, index, h0, c0};
    for (size_t i = 0; i < sizeof of_the_call / sizeof *of_the_call; i++)
        release(of_the_call[i]);
    batch.key = ~batch.key;
    if (kind >= GRADIENTS)
        run_backward(p, &batch, dtype, kind < GRADIENTS_BY_BLAS ? NULL : &slow_blas,
                     recompute ? packed : NULL, saved, o);
    void *all[] = {packed, x.data, y.data, h, c, dropout, saved};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        release(all[i]);
}

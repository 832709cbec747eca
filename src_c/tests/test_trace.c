/* fc_trace: what it refuses, and what it writes.  The Python tests compare all cells
 * with their formulas. */
#include "tests/fixture.h"

/* Two layers in both directions, whose lengths and mask leave steps out. */
enum { L = 2, D = 2, PAIRS = T * B, STATES = L * D * PAIRS * H };

typedef struct traced {
    fixture f;
    int64_t lengths[B];
    uint8_t mask[PAIRS];
    float y[PAIRS * D * H];
} traced;

static void make(traced *t, const char *cell, ptrdiff_t proj_size) {
    fixture_make(&t->f);
    fixture *f = &t->f;
    size_t bytes;
    release(f->packed);
    release(f->saved);
    release(f->scratch);
    f->stack.cell = fc_cell_index(cell);
    f->stack.layers = L;
    f->stack.directions = D;
    f->stack.proj_size = proj_size;
    ptrdiff_t out = proj_size ? proj_size : H;
    f->batch.recompute = 0;
    f->batch.lengths = t->lengths;
    f->batch.mask = t->mask;
    for (int row = 0; row < B; row++)
        t->lengths[row] = T - row;
    memset(t->mask, 1, PAIRS);
    t->mask[1 * B + 1] = 0;
    f->output = (fc_output){.y = t->y, .y_step = B * D * out, .y_row = D * out};
    fc_weights weights[L * D];
    for (int i = 0; i < L * D; i++)
        weights[i] =
            (fc_weights){f->w, f->w, f->w, f->w, f->w, {f->w, f->w, f->w, f->w}};
    CHECK_OK(fc_pack_size(&f->stack, FC_PACK_FORWARD, &bytes));
    f->packed = take(bytes, 0);
    CHECK_OK(fc_pack(&f->stack, FC_PACK_FORWARD, weights, f->packed, 1));
    CHECK_OK(fc_saved_size(&f->stack, &f->batch, &bytes));
    f->saved = take(bytes, 0);
    CHECK_OK(fc_scratch_size(&f->stack, &f->batch, 1, &bytes));
    f->scratch = take(bytes, 0);
}

static bool exists(int t, int row) { return t < T - row; }
static bool is_masked(int t, int row) { return t == 1 && row == 1; }

/* All names of a cell. */
static int count_values(const char *cell) {
    int n = 0;
    while (fc_trace_name(fc_cell_index(cell), n))
        n++;
    return n;
}

static void test_names(void) {
    int gru = fc_cell_index("gru");
    static const char *const names[] = {"n", "r", "z", "h_n"};
    for (int i = 0; i < 4; i++)
        CHECK(!strcmp(fc_trace_name(gru, i), names[i]));
    CHECK(!fc_trace_name(gru, 4));
    CHECK(!fc_trace_name(gru, -1));
    CHECK(!fc_trace_name(-1, 0));
    CHECK(!fc_trace_name(1000, 0));
    CHECK(!fc_trace_name(fc_cell_index("rnn_tanh"), 0));
    CHECK(count_values("lstm_layer_norm") == 4);
}

/* The values of the cell lie where the header says, and all of the arrays is written:
 * they are NaN before, of exactly the size, and guarded. */
static void test_arrays(const char *cell, ptrdiff_t proj_size) {
    traced t;
    make(&t, cell, proj_size);
    describe("a trace of %s", cell);
    ptrdiff_t out = proj_size ? proj_size : H;
    int states = fc_cell_states(t.f.stack.cell), n = count_values(cell);
    size_t each = STATES * sizeof(float);
    fc_trace_output trace = {
        .h = take((size_t)(L * D * PAIRS * out) * sizeof(float), 4),
        .c = states > 1 ? take((size_t)(states - 1) * each, 4) : NULL,
        .values = take((size_t)n * each, 4),
    };
    CHECK_OK(forward_of(&t.f));
    CHECK_OK(fc_trace(&t.f.stack, &t.f.batch, t.f.saved, &trace));
    const float *h = trace.h, *c = trace.c, *values = trace.values;
    bool all_finite = true, as_y = true, zero_where_none = true, there = true;
    for (ptrdiff_t i = 0; i < L * D * PAIRS * out; i++)
        all_finite &= isfinite(h[i]);
    for (ptrdiff_t i = 0; c && i < (states - 1) * STATES; i++)
        all_finite &= isfinite(c[i]);
    for (int d = 0; d < D; d++)
        for (int s = 0; s < T; s++)
            for (int row = 0; row < B; row++) {
                ptrdiff_t pair = s * B + row, at = (D + d) * PAIRS + pair;
                as_y &= !memcmp(h + at * out, t.y + (pair * D + d) * out,
                                (size_t)out * sizeof(float));
                for (int k = 0; k < n; k++)
                    for (int u = 0; u < H; u++) {
                        float value = values[k * STATES + at * H + u];
                        bool computed = exists(s, row) && !is_masked(s, row);
                        zero_where_none &= computed || value == 0;
                        there &= !computed || (isfinite(value));
                    }
            }
    CHECK(all_finite && as_y && zero_where_none && there);
    release(trace.h);
    if (trace.c)
        release(trace.c);
    release(trace.values);
    fixture_free(&t.f);
}

static void test_refusals(void) {
    traced t;
    make(&t, "gru", 0);
    describe("refusals of a trace");
    fixture *f = &t.f;
    float *h = take(STATES * sizeof(float), 0);
    const fc_trace_output wanted = {.h = h}, nothing = {0};
    CHECK_OK(forward_of(f));
    CHECK_STATUS(fc_trace(&f->stack, &f->batch, f->saved, NULL), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_trace(&f->stack, NULL, f->saved, &wanted), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_trace(NULL, &f->batch, f->saved, &wanted), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_trace(&f->stack, &f->batch, NULL, &wanted), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_trace(&f->stack, &f->batch, (char *)f->saved + 8, &wanted),
                 FC_BAD_ALIGNMENT);
    fc_batch other = f->batch;
    other.steps--;
    CHECK_STATUS(fc_trace(&f->stack, &other, f->saved, &wanted), FC_BAD_MEMORY);
    fc_stack narrow = f->stack;
    narrow.hidden_size--;
    CHECK_STATUS(fc_trace(&narrow, &f->batch, f->saved, &wanted), FC_BAD_MEMORY);
    other = f->batch;
    other.recompute = 1;
    CHECK_STATUS(fc_trace(&f->stack, &other, f->saved, &wanted), FC_BAD_ARGUMENT);
    /* None of these has used it up; this one does, and writes nothing else. */
    CHECK_OK(fc_trace(&f->stack, &f->batch, f->saved, &nothing));
    CHECK_STATUS(fc_trace(&f->stack, &f->batch, f->saved, &wanted), FC_USED_UP);
    for (ptrdiff_t i = 0; i < STATES; i++)
        CHECK(isnan(h[i]));
    release(h);
    fixture_free(f);
}

int main(void) {
    test_names();
    FOR_EACH_ISA(isa) {
        for (int cell = 0; fc_cell_name(cell); cell++) {
            fc_cell_description d;
            CHECK_OK(fc_describe_cell(cell, &d));
            test_arrays(fc_cell_name(cell), d.projects ? 3 : 0);
        }
    }
    test_refusals();
    return finish("trace");
}

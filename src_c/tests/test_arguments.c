/* Every status: what is not an argument is refused, before anything is touched. */
#include <limits.h>
#include <math.h>

#include "tests/harness.h"

static const fc_stack good_stack = {
    .dtype = FC_F32, .input_size = 3, .hidden_size = 4, .layers = 2, .directions = 1};
enum { T = 3, B = 2, I = 3, H = 4, GATES = 4, MANY = 1024 };

static fc_stack lstm_stack(void) {
    fc_stack s = good_stack;
    s.cell = fc_cell_index("lstm");
    return s;
}

/* ---- instruction sets and cells
 * ------------------------------------------------------ */

static void test_names(void) {
    CHECK_STATUS(fc_isa_select(NULL), FC_NO_ISA);
    CHECK_STATUS(fc_isa_select(""), FC_NO_ISA);
    CHECK_STATUS(fc_isa_select("AVX2"), FC_NO_ISA);
    CHECK_STATUS(fc_isa_select("avx1024"), FC_NO_ISA);
    CHECK(fc_isa_name(-1) == NULL && fc_isa_name(1000) == NULL);
    CHECK(fc_isa_name(0) && !strcmp(fc_isa_name(0), "portable"));
    CHECK(fc_cell_index(NULL) == -1 && fc_cell_index("") == -1);
    CHECK(fc_cell_index("LSTM") == -1);
    CHECK(fc_cell_name(-1) == NULL && fc_cell_name(INT_MAX) == NULL);
    CHECK(fc_cell_gates(-1) == 0 && fc_cell_states(INT_MIN) == 0);
    CHECK(fc_lanes((fc_dtype)7) == 0);
}

/* ---- stacks
 * -------------------------------------------------------------------------- */

/* Every function that takes a stack gives this status for it. */
static void expect_of_stack(const fc_stack *s, fc_status status) {
    size_t bytes;
    char memory[256];
    fc_weights weights[2] = {{0}};
    fc_batch batch = {.steps = 1, .rows = 1, .threads = 1};
    fc_output output = {.y = memory};
    fc_backward_io io = {.dy = memory};
    CHECK_STATUS(fc_pack_size(s, FC_PACK_FORWARD, &bytes), status);
    CHECK_STATUS(fc_pack_size(s, FC_PACK_BACKWARD, &bytes), status);
    CHECK_STATUS(fc_saved_size(s, &batch, &bytes), status);
    for (int training = 0; training < 3; training++)
        CHECK_STATUS(fc_scratch_size(s, &batch, training, &bytes), status);
    CHECK_STATUS(fc_stream_size(s, 1, &bytes), status);
    if (status == FC_OK)
        return;
    CHECK(fc_pack(s, FC_PACK_FORWARD, weights, memory, 1) != FC_OK);
    CHECK(fc_forward(s, memory, &batch, &output, memory, memory) != FC_OK);
    CHECK(fc_backward(s, memory, &batch, &io, memory, memory) != FC_OK);
    CHECK(fc_stream_set(s, 1, memory, NULL, NULL) != FC_OK);
    CHECK(fc_stream_get(s, 1, memory, NULL, NULL) != FC_OK);
    CHECK(fc_stream_step(s, memory, 1, memory, memory, memory) != FC_OK);
}

#define EXPECT_STACK(change, status)                                                   \
    do {                                                                               \
        fc_stack s = lstm_stack();                                                     \
        s.change;                                                                      \
        describe("stack with %s", #change);                                            \
        expect_of_stack(&s, status);                                                   \
    } while (0)

static void test_stacks(void) {
    EXPECT_STACK(layers = 1, FC_OK);
    EXPECT_STACK(input_size = 0, FC_OK);
    EXPECT_STACK(cell = -1, FC_BAD_ARGUMENT);
    EXPECT_STACK(cell = INT_MAX, FC_BAD_ARGUMENT);
    EXPECT_STACK(dtype = (fc_dtype)9, FC_BAD_ARGUMENT);
    EXPECT_STACK(dtype = (fc_dtype)-1, FC_BAD_ARGUMENT);
    EXPECT_STACK(input_size = -1, FC_BAD_ARGUMENT);
    EXPECT_STACK(input_size = PTRDIFF_MIN, FC_BAD_ARGUMENT);
    EXPECT_STACK(hidden_size = 0, FC_BAD_ARGUMENT);
    EXPECT_STACK(hidden_size = -4, FC_BAD_ARGUMENT);
    EXPECT_STACK(layers = 0, FC_BAD_ARGUMENT);
    EXPECT_STACK(layers = INT_MIN, FC_BAD_ARGUMENT);
    EXPECT_STACK(directions = 0, FC_BAD_ARGUMENT);
    EXPECT_STACK(directions = 3, FC_BAD_ARGUMENT);
    EXPECT_STACK(proj_size = 2, FC_BAD_ARGUMENT); /* the LSTM does not project */
    EXPECT_STACK(proj_size = -1, FC_BAD_ARGUMENT);
    fc_stack s = lstm_stack();
    s.cell = fc_cell_index("lstm_projected");
    describe("projected");
    expect_of_stack(&s, FC_BAD_ARGUMENT); /* proj_size 0 */
    s.proj_size = H + 1;
    expect_of_stack(&s, FC_BAD_ARGUMENT);
    s.proj_size = H;
    expect_of_stack(&s, FC_OK);
    describe("no stack");
    expect_of_stack(NULL, FC_BAD_ARGUMENT);
    s = lstm_stack();
    s.directions = 2; /* a stream has one direction */
    size_t bytes;
    CHECK_STATUS(fc_stream_size(&s, 1, &bytes), FC_BAD_ARGUMENT);
}

/* Options: what they may be, and of which cells. */
static void test_options(void) {
#define EXPECT_OPTIONS(change, status)                                                 \
    do {                                                                               \
        fc_stack s = good_stack;                                                       \
        s.cell = fc_cell_index("gru_with_options");                                    \
        s.options.given = 1;                                                           \
        s.options.change;                                                              \
        describe("options with %s", #change);                                          \
        expect_of_stack(&s, status);                                                   \
    } while (0)
    EXPECT_OPTIONS(gate_clip = 3, FC_OK);
    EXPECT_OPTIONS(gate_clip = -3, FC_BAD_ARGUMENT);
    EXPECT_OPTIONS(gate_clip = NAN, FC_BAD_ARGUMENT);
    EXPECT_OPTIONS(gate_clip = INFINITY, FC_BAD_ARGUMENT);
    EXPECT_OPTIONS(gate_clip = 1e-40, FC_BAD_ARGUMENT);
    EXPECT_OPTIONS(cell_clip = 3, FC_BAD_ARGUMENT); /* a GRU has no c */
    EXPECT_OPTIONS(update_dropout = 0.5, FC_OK);
    EXPECT_OPTIONS(update_dropout = -0.5, FC_BAD_ARGUMENT);
    EXPECT_OPTIONS(update_dropout = 1, FC_BAD_ARGUMENT);
    EXPECT_OPTIONS(update_dropout = NAN, FC_BAD_ARGUMENT);
    EXPECT_OPTIONS(recurrent_grad_clip = 0.5, FC_OK);
    EXPECT_OPTIONS(activation[0].kind = -1, FC_BAD_ARGUMENT);
    EXPECT_OPTIONS(activation[1].kind = FC_ACT_SOFTPLUS, FC_OK);
    EXPECT_OPTIONS(activation[1].kind = FC_ACT_SOFTPLUS + 1, FC_BAD_ARGUMENT);
    EXPECT_OPTIONS(activation[2].kind = FC_ACT_TANH, FC_BAD_ARGUMENT);
    EXPECT_OPTIONS(activation[0].alpha = 1, FC_BAD_ARGUMENT);
    EXPECT_OPTIONS(activation[0] = ((fc_activation){FC_ACT_ELU, 1, 0}), FC_OK);
    EXPECT_OPTIONS(activation[0] = ((fc_activation){FC_ACT_ELU, 1, 1}),
                   FC_BAD_ARGUMENT);
    EXPECT_OPTIONS(activation[0] = ((fc_activation){FC_ACT_AFFINE, 1, NAN}),
                   FC_BAD_ARGUMENT);
#undef EXPECT_OPTIONS
    /* Of cells without roles, or without a candidate. */
    fc_stack s = good_stack;
    s.options.given = 1;
    s.options.gate_clip = 3;
    describe("gate_clip of a cell without roles");
    expect_of_stack(&s, FC_BAD_ARGUMENT);
    s.options.gate_clip = 0;
    s.options.update_dropout = 0.5;
    s.cell = fc_cell_index("rnn_tanh");
    describe("update_dropout of an RNN");
    expect_of_stack(&s, FC_BAD_ARGUMENT);
}

/* Sizes that do not fit: refused by the size queries, for every cell and both types. */
static void test_large_stacks(void) {
    static const ptrdiff_t large[] = {
        PTRDIFF_MAX,        PTRDIFF_MAX - 1,    PTRDIFF_MAX / 2,   PTRDIFF_MAX / 4,
        (ptrdiff_t)1 << 50, (ptrdiff_t)1 << 40, (ptrdiff_t)1 << 32};
    size_t bytes;
    for (int cell = 0; fc_cell_name(cell); cell++) {
        bool projects = strstr(fc_cell_name(cell), "projected") != NULL;
        for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
            /* Without an R nothing is quadratic in the units. */
            bool fits = !has_r(fc_cell_name(cell)) && large[i] <= (ptrdiff_t)1 << 40;
            fc_status status = fits ? FC_OK : FC_TOO_LARGE;
            for (int d = 0; d < 2; d++) {
                describe("%s of %td units, f%d", fc_cell_name(cell), large[i],
                         d ? 64 : 32);
                fc_stack s = {.cell = cell,
                              .dtype = (fc_dtype)d,
                              .input_size = 3,
                              .hidden_size = large[i],
                              .proj_size = projects ? large[i] : 0,
                              .layers = 1,
                              .directions = 1};
                CHECK_STATUS(fc_pack_size(&s, FC_PACK_FORWARD, &bytes), status);
                CHECK_STATUS(fc_pack_size(&s, FC_PACK_BACKWARD, &bytes), status);
                s.input_size = large[i];
                s.proj_size = projects;
                CHECK_STATUS(fc_pack_size(&s, FC_PACK_FORWARD, &bytes), FC_TOO_LARGE);
            }
        }
    }
    fc_stack s = lstm_stack();
    s.layers = INT_MAX; /* not a loop of minutes */
    s.hidden_size = 1 << 20;
    describe("two billion layers");
    CHECK_STATUS(fc_pack_size(&s, FC_PACK_FORWARD, &bytes), FC_TOO_LARGE);
    CHECK_STATUS(fc_stream_size(&s, PTRDIFF_MAX / 2, &bytes), FC_TOO_LARGE);
    s = lstm_stack();
    CHECK_STATUS(fc_stream_size(&s, PTRDIFF_MAX, &bytes), FC_TOO_LARGE);
    CHECK_STATUS(fc_stream_size(&s, -1, &bytes), FC_BAD_ARGUMENT);
}

/* ---- batches
 * ------------------------------------------------------------------------- */

typedef struct buffers {
    fc_stack stack;
    void *packed, *packed_backward, *saved, *scratch;
    float x[T * B * I], y[T * B * H], dy[T * B * H], dx[T * B * I];
    float w_ih[GATES * H * H], w_hh[GATES * H * H], g_ih[GATES * H * H],
        g_hh[GATES * H * H];
    fc_batch batch;
    fc_output output;
    fc_backward_io io;
    fc_weights weights[2];
    fc_gradients gradients[2];
} buffers;

/* A call that works; the tests break one thing at a time. */
static void buffers_make(buffers *b) {
    size_t bytes;
    memset(b, 0, sizeof *b);
    b->stack = lstm_stack();
    b->batch = (fc_batch){
        .steps = T, .rows = B, .x = b->x, .x_step = B * I, .x_row = I, .threads = 1};
    b->output = (fc_output){.y = b->y, .y_step = B * H, .y_row = H};
    for (int i = 0; i < 2; i++) {
        b->weights[i] = (fc_weights){.w_ih = b->w_ih, .w_hh = b->w_hh};
        b->gradients[i] = (fc_gradients){.w_ih = b->g_ih, .w_hh = b->g_hh};
    }
    b->io = (fc_backward_io){.dy = b->dy,
                             .dy_step = B * H,
                             .dy_row = H,
                             .dx = b->dx,
                             .dx_step = B * I,
                             .dx_row = I,
                             .weights = b->gradients};
    CHECK_OK(fc_pack_size(&b->stack, FC_PACK_FORWARD, &bytes));
    b->packed = take(bytes, 0);
    CHECK_OK(fc_pack(&b->stack, FC_PACK_FORWARD, b->weights, b->packed, 1));
    CHECK_OK(fc_pack_size(&b->stack, FC_PACK_BACKWARD, &bytes));
    b->packed_backward = take(bytes, 0);
    CHECK_OK(fc_pack(&b->stack, FC_PACK_BACKWARD, b->weights, b->packed_backward, 1));
    CHECK_OK(fc_saved_size(&b->stack, &b->batch, &bytes));
    b->saved = take(bytes + MANY, 0);
    CHECK_OK(fc_scratch_size(&b->stack, &b->batch, 2, &bytes));
    size_t forward;
    CHECK_OK(fc_scratch_size(&b->stack, &b->batch, 1, &forward));
    b->scratch = take((bytes > forward ? bytes : forward) + MANY * MANY, 0);
}

static void buffers_free(buffers *b) {
    release(b->packed);
    release(b->packed_backward);
    release(b->saved);
    release(b->scratch);
}

static fc_status forward(buffers *b) {
    return fc_forward(&b->stack, b->packed, &b->batch, &b->output, b->saved,
                      b->scratch);
}
static fc_status backward(buffers *b) {
    return fc_backward(&b->stack, b->packed_backward, &b->batch, &b->io, b->saved,
                       b->scratch);
}

/* Lengths that are refused by what reads them: fc_saved_size, fc_describe, forward. */
static void expect_bad_lengths(const int64_t *lengths) {
    buffers b;
    size_t bytes;
    fc_description d;
    buffers_make(&b);
    describe("lengths %td and %td", (ptrdiff_t)lengths[0], (ptrdiff_t)lengths[1]);
    CHECK_OK(forward(&b));
    b.batch.lengths = lengths;
    CHECK_STATUS(fc_saved_size(&b.stack, &b.batch, &bytes), FC_BAD_LENGTH);
    CHECK_STATUS(fc_describe(&b.stack, &b.batch, 1, &d), FC_BAD_LENGTH);
    for (int training = 0; training < 3; training++)
        CHECK_OK(fc_scratch_size(&b.stack, &b.batch, training, &bytes));
    CHECK_STATUS(forward(&b), FC_BAD_LENGTH);
    CHECK_OK(backward(&b)); /* of the forward that was not refused */
    buffers_free(&b);
}

/* A batch that forward, backward and the size queries refuse alike. */
#define EXPECT_BATCH(change, status)                                                   \
    do {                                                                               \
        buffers b;                                                                     \
        size_t bytes;                                                                  \
        buffers_make(&b);                                                              \
        b.batch.change;                                                                \
        describe("batch with %s", #change);                                            \
        CHECK_STATUS(fc_saved_size(&b.stack, &b.batch, &bytes), status);               \
        CHECK_STATUS(fc_scratch_size(&b.stack, &b.batch, 0, &bytes), status);          \
        CHECK_STATUS(fc_scratch_size(&b.stack, &b.batch, 1, &bytes), status);          \
        CHECK_STATUS(fc_scratch_size(&b.stack, &b.batch, 2, &bytes), status);          \
        CHECK_STATUS(forward(&b), status);                                             \
        CHECK_STATUS(backward(&b), status);                                            \
        buffers_free(&b);                                                              \
    } while (0)

static void test_batches(void) {
    static const int64_t negative[] = {1, -1}, long_[] = {T + 1, 0},
                         huge_[] = {0, INT64_MAX}, lowest[] = {INT64_MIN, 0};
    EXPECT_BATCH(steps = -1, FC_BAD_ARGUMENT);
    EXPECT_BATCH(rows = -1, FC_BAD_ARGUMENT);
    EXPECT_BATCH(threads = 0, FC_BAD_ARGUMENT);
    EXPECT_BATCH(threads = INT_MIN, FC_BAD_ARGUMENT);
    expect_bad_lengths(negative);
    expect_bad_lengths(long_);
    expect_bad_lengths(huge_);
    expect_bad_lengths(lowest);
    EXPECT_BATCH(steps = PTRDIFF_MAX, FC_TOO_LARGE);
    EXPECT_BATCH(rows = PTRDIFF_MAX, FC_TOO_LARGE);
    EXPECT_BATCH(rows = (ptrdiff_t)INT32_MAX + 1, FC_TOO_LARGE);
    EXPECT_BATCH(steps = PTRDIFF_MAX / 2 + 1, FC_TOO_LARGE);
    size_t bytes;
    fc_stack s = lstm_stack();
    CHECK_STATUS(fc_saved_size(&s, NULL, &bytes), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_scratch_size(&s, NULL, 0, &bytes), FC_BAD_ARGUMENT);
    /* steps * rows overflows, or only times the hidden size; nothing is computed. */
    fc_batch batch = {.steps = PTRDIFF_MAX / 1024, .rows = 1 << 20, .threads = 1};
    CHECK_STATUS(fc_saved_size(&s, &batch, &bytes), FC_TOO_LARGE);
    batch.steps = (ptrdiff_t)1 << 40;
    s.hidden_size = 1 << 20;
    CHECK_STATUS(fc_saved_size(&s, &batch, &bytes), FC_TOO_LARGE);
    for (int training = 0; training < 3; training++)
        CHECK_STATUS(fc_scratch_size(&s, &batch, training, &bytes), FC_TOO_LARGE);
    /* No rows: the scratch of a weight gradient alone is too large. */
    s.hidden_size = (ptrdiff_t)1 << 52;
    batch = (fc_batch){.steps = 1, .rows = 0, .threads = 1};
    CHECK_STATUS(fc_scratch_size(&s, &batch, 2, &bytes), FC_TOO_LARGE);
    batch = (fc_batch){.steps = 1, .rows = 1, .threads = INT_MAX};
    s = lstm_stack();
    CHECK_OK(fc_scratch_size(&s, &batch, 2, &bytes)); /* as many as are of use */
    CHECK(bytes < 1 << 24);
}

/* An index is looked at where its step is active, and there only. */
static void test_indices(void) {
    static const int32_t bad[] = {-1, 2, INT32_MAX, INT32_MIN};
    static const int64_t lengths[] = {T, T - 1};
    for (int i = 0; i < 4; i++) {
        buffers b;
        buffers_make(&b);
        int32_t index[T * B] = {0, 1, 1, 0, 1, bad[i]}; /* of the last step of row 1 */
        b.batch.index = index;
        b.batch.x_rows = 2;
        b.batch.x_step = 0;
        describe("index %d", bad[i]);
        CHECK_STATUS(forward(&b), FC_BAD_INDEX);
        CHECK_STATUS(backward(&b), FC_BAD_MEMORY); /* nothing was saved */
        b.batch.lengths = lengths;                 /* now that step does not exist */
        CHECK_OK(forward(&b));
        CHECK_OK(backward(&b));
        b.batch.lengths = NULL;
        index[T * B - 1] = 0;
        b.batch.x_rows = 0;
        CHECK_STATUS(forward(&b), FC_BAD_INDEX);
        b.batch.x_rows = -1;
        CHECK_STATUS(forward(&b), FC_BAD_ARGUMENT);
        buffers_free(&b);
    }
}

static void test_missing_pointers(void) {
    buffers b;
    buffers_make(&b);
    CHECK_OK(forward(&b));
    CHECK_OK(backward(&b));
    CHECK_OK(forward(&b)); /* calls that are refused do not use it up */
    const void *missing = NULL;
    const buffers good = b;
#define WITHOUT(call, member)                                                          \
    do {                                                                               \
        b.member = (void *)missing;                                                    \
        describe("%s without %s", #call, #member);                                     \
        CHECK_STATUS(call(&b), FC_BAD_ARGUMENT);                                       \
        b = good;                                                                      \
    } while (0)
    WITHOUT(forward, packed);
    WITHOUT(forward, scratch);
    WITHOUT(forward, batch.x);
    WITHOUT(backward, packed_backward);
    WITHOUT(backward, scratch);
    WITHOUT(backward, saved);
    WITHOUT(backward, batch.x);
#undef WITHOUT
    fc_segment segment = {.carry = b.scratch}; /* refused before it is written to */
    b.io.segment = &segment;
    describe("bad segments");
#define REFUSED(member, value)                                                         \
    do {                                                                               \
        const fc_segment before = segment;                                             \
        segment.member = value;                                                        \
        CHECK_STATUS(backward(&b), FC_BAD_ARGUMENT);                                   \
        segment = before;                                                              \
    } while (0)
    REFUSED(carry, NULL);
    REFUSED(steps_before, -1);
    REFUSED(steps_after, -1);
    REFUSED(pairs_before, -1);
#undef REFUSED
    b.stack.directions = 2;
    CHECK_STATUS(backward(&b), FC_BAD_ARGUMENT);
    b = good;
    describe("what may be missing");
    b.output = (fc_output){0};
    CHECK_OK(forward(&b));
    b.io.dy = b.io.dx = NULL;
    CHECK_OK(backward(&b));
    b.io.weights = NULL;
    CHECK_OK(forward(&b));
    CHECK_OK(backward(&b));
    b = good;
    describe("gradients that nobody wants, and a bias without its matrix");
    CHECK_OK(forward(&b));
    b.gradients[0] = (fc_gradients){.b_hh = b.g_hh};
    CHECK_STATUS(backward(&b), FC_BAD_ARGUMENT);
    b.gradients[0] = (fc_gradients){.b_ih = b.g_hh};
    CHECK_STATUS(backward(&b), FC_BAD_ARGUMENT);
    b.gradients[0] = (fc_gradients){0};
    b.gradients[1].w_ih = NULL;
    CHECK_OK(backward(&b));
    b = good;
    b.batch.steps = 0; /* nothing to read, nothing to write */
    b.batch.x = b.output.y = NULL;
    b.io.dy = NULL;
    b.io.dx = NULL;
    CHECK_OK(forward(&b));
    CHECK_OK(backward(&b));
    b = good;

    describe("other functions without");
    fc_stack s = b.stack;
    size_t bytes;
    CHECK_STATUS(fc_forward(&s, b.packed, NULL, &b.output, NULL, b.scratch),
                 FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_forward(&s, b.packed, &b.batch, NULL, NULL, b.scratch),
                 FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_backward(&s, b.packed_backward, &b.batch, NULL, b.saved, b.scratch),
                 FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_pack_size(&s, FC_PACK_FORWARD, NULL), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_saved_size(&s, &b.batch, NULL), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_carry_size(&s, &b.batch, NULL), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_carry_size(&s, NULL, &bytes), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_scratch_size(&s, &b.batch, 0, NULL), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_stream_size(&s, 1, NULL), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_pack(&s, FC_PACK_FORWARD, NULL, b.packed, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_pack(&s, FC_PACK_FORWARD, b.weights, NULL, 1), FC_BAD_ARGUMENT);
    b.weights[1].w_hh = NULL;
    CHECK_STATUS(fc_pack(&s, FC_PACK_FORWARD, b.weights, b.packed, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_stream_set(&s, 1, NULL, NULL, NULL), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_stream_get(&s, 1, NULL, NULL, NULL), FC_BAD_ARGUMENT);
    CHECK_OK(fc_stream_size(&s, 1, &bytes));
    void *stream = take(bytes, 0);
    memset(stream, 0, bytes);
    CHECK_STATUS(fc_stream_step(&s, NULL, 1, b.x, b.y, stream), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_stream_step(&s, b.packed, 1, NULL, b.y, stream), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_stream_step(&s, b.packed, 1, b.x, NULL, stream), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_stream_step(&s, b.packed, -1, b.x, b.y, stream), FC_BAD_ARGUMENT);
    release(stream);
    buffers_free(&b);
}

/* A table behind the index without memory, where no step reads it. */
static void test_no_table(void) {
    buffers b;
    buffers_make(&b);
    int32_t index[1] = {0};
    b.batch.index = index;
    b.batch.steps = 0;
    b.batch.x = NULL;
    b.batch.x_rows = 5;
    describe("a table of 5 rows that is NULL");
    CHECK_STATUS(forward(&b), FC_BAD_ARGUMENT);
    b.batch.x = b.x;
    b.batch.x_rows = T * B;
    CHECK_OK(forward(&b));
    b.batch.x = NULL;
    CHECK_STATUS(backward(&b), FC_BAD_ARGUMENT);
    b.batch.x = b.x;
    CHECK_OK(backward(&b));
    buffers_free(&b);
}

/* ---- optimizers, elementary functions ------------------------------------------- */

static void test_optimizer(void) {
    float p[2] = {1, 2}, g[2] = {0}, m[2] = {0}, v[2] = {0};
    double sum;
    const fc_sgd_rule sgd = {.rate = 1};
    const fc_rmsprop_rule rmsprop = {.eps = 1};
    const fc_adagrad_rule adagrad = {.eps = 1};
    const fc_adam_rule adam = {.eps = 1, .shrink = 1};
    fc_parameter all[2] = {{2, p, g, {m, v, NULL}}, {.n = 0}};
    describe("optimizer");
    CHECK_OK(fc_adam(FC_F32, &adam, 2, all, 1));
    CHECK_OK(fc_adam(FC_F32, &adam, 0, NULL, 1));
    CHECK_STATUS(fc_adam(FC_F32, NULL, 2, all, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_adam(FC_F32, &adam, -1, all, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_adam(FC_F32, &adam, 2, NULL, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_adam(FC_F32, &adam, 2, all, 0), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_adam((fc_dtype)9, &adam, 2, all, 1), FC_BAD_ARGUMENT);
    all[1].n = -1;
    CHECK_STATUS(fc_adam(FC_F32, &adam, 2, all, 1), FC_BAD_ARGUMENT);
    all[1].n = 1;
    CHECK_STATUS(fc_adam(FC_F32, &adam, 2, all, 1), FC_BAD_ARGUMENT);
    all[1].n = 0;
    /* What a rule keeps has to be there. */
    all[0].kept[1] = NULL;
    CHECK_OK(fc_sgd(FC_F32, &sgd, 2, all, 1));
    CHECK_OK(fc_rmsprop(FC_F32, &rmsprop, 2, all, 1));
    CHECK_OK(fc_adagrad(FC_F32, &adagrad, 2, all, 1));
    CHECK_STATUS(fc_adam(FC_F32, &adam, 2, all, 1), FC_BAD_ARGUMENT);
    all[0].kept[0] = NULL;
    CHECK_OK(fc_sgd(FC_F32, &sgd, 2, all, 1));
    CHECK_STATUS(fc_rmsprop(FC_F32, &rmsprop, 2, all, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_adagrad(FC_F32, &adagrad, 2, all, 1), FC_BAD_ARGUMENT);
    all[0].kept[1] = v;
    CHECK_STATUS(fc_adam(FC_F32, &adam, 2, all, 1), FC_BAD_ARGUMENT);
    all[0].kept[0] = m;
    all[0].g = NULL;
    CHECK_STATUS(fc_sgd(FC_F32, &sgd, 2, all, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_rmsprop(FC_F32, &rmsprop, 2, all, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_adagrad(FC_F32, &adagrad, 2, all, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_adam(FC_F32, &adam, 2, all, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_sgd(FC_F32, NULL, 0, NULL, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_rmsprop(FC_F32, NULL, 0, NULL, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_adagrad(FC_F32, NULL, 0, NULL, 1), FC_BAD_ARGUMENT);
    CHECK(p[0] == 1 && p[1] == 2);
    /* Clipping has no use for a gradient. */
    CHECK_OK(fc_sum_of_squares(FC_F32, 2, all, &sum, 1));
    CHECK(sum == 5);
    CHECK_OK(fc_sum_of_squares(FC_F32, 0, NULL, &sum, 1));
    CHECK(sum == 0);
    CHECK_STATUS(fc_sum_of_squares(FC_F32, 2, all, NULL, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_sum_of_squares(FC_F32, 2, NULL, &sum, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_sum_of_squares(FC_F32, -1, all, &sum, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_sum_of_squares(FC_F32, 2, all, &sum, 0), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_sum_of_squares((fc_dtype)-1, 2, all, &sum, 1), FC_BAD_ARGUMENT);
    CHECK_OK(fc_scale(FC_F32, 0.5, 2, all, 1));
    CHECK_OK(fc_scale(FC_F32, 0.5, 0, NULL, 1));
    CHECK_STATUS(fc_scale(FC_F32, 0.5, 2, NULL, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_scale(FC_F32, 0.5, -1, all, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_scale((fc_dtype)9, 0.5, 2, all, 1), FC_BAD_ARGUMENT);
    CHECK_OK(fc_clip(FC_F32, 0.75, 2, all, 1));
    CHECK(p[0] == 0.5f && p[1] == 0.75f);
    CHECK_STATUS(fc_clip(FC_F32, 0.5, 2, NULL, 1), FC_BAD_ARGUMENT);
    all[0].p = NULL;
    CHECK_STATUS(fc_clip(FC_F32, 0.5, 2, all, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_scale(FC_F32, 0.5, 2, all, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_sum_of_squares(FC_F32, 2, all, &sum, 1), FC_BAD_ARGUMENT);
}

static void test_elementary(void) {
    float x[2] = {0}, y[2];
    describe("elementary");
    CHECK_STATUS(fc_exp(FC_F32, -1, x, y), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_sigmoid(FC_F32, 2, NULL, y), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_tanh(FC_F32, 2, x, NULL), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_tanh((fc_dtype)9, 2, x, y), FC_BAD_ARGUMENT);
    CHECK_OK(fc_tanh(FC_F32, 0, NULL, NULL));
}

int main(void) {
    test_names();
    FOR_EACH_ISA(isa) {
        CHECK(fc_lanes(FC_F32) == 2 * fc_lanes(FC_F64));
        test_stacks();
        test_options();
        test_large_stacks();
        test_batches();
        test_indices();
        test_missing_pointers();
        test_no_table();
        test_optimizer();
        test_elementary();
    }
    return finish("arguments");
}

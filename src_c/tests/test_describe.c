/* fc_describe: its numbers are those of the actual calls; the parts of
 * a cell are those of the registry. */
#include "recurrent/sequence.h"
#include "recurrent/sharing.h"
#include "recurrent/stack.h"
#include "tests/problem.h"

enum { MOST_ACCUMULATORS = 32 };

static const struct {
    ptrdiff_t steps, rows, in, units;
    int layers, directions, threads;
} cases[] = {
    {1, 1, 3, 1, 1, 1, 1},      {5, 0, 3, 4, 1, 1, 2},    {0, 3, 3, 4, 1, 2, 2},
    {2, 3, 0, 17, 2, 1, 4},     {40, 1, 9, 256, 1, 1, 2}, {40, 1, 33, 128, 2, 2, 8},
    {20, 64, 128, 96, 1, 1, 3}, {9, 7, 65, 160, 3, 2, 5}, {30, 200, 7, 64, 1, 1, 256},
};
enum { CASES = sizeof cases / sizeof *cases };

static fc_stack stack_of(int i, int cell, fc_dtype dtype) {
    bool projects = strstr(fc_cell_name(cell), "projected") != NULL;
    return (fc_stack){.cell = cell,
                      .dtype = dtype,
                      .input_size = cases[i].in,
                      .hidden_size = cases[i].units,
                      .proj_size = projects ? (cases[i].units + 1) / 2 : 0,
                      .layers = cases[i].layers,
                      .directions = cases[i].directions};
}

static fc_batch batch_of(int i) {
    return (fc_batch){
        .steps = cases[i].steps, .rows = cases[i].rows, .threads = cases[i].threads};
}

static void check_threads(const fc_stack *stack, const fc_batch *batch,
                          fc_pack_kind kind, const fc_description *d) {
    fc_shape shape;
    CHECK_OK(fc_shape_of(stack, 0, &shape));
    fc_sharing sharing =
        fc_share_work(stack, batch, &shape, kind, batch->steps * batch->rows);
    int tasks = stack->directions * sharing.row_parts * sharing.members;
    CHECK(d->threads == sharing.threads && d->row_parts == sharing.row_parts &&
          d->members == sharing.members &&
          d->small == (sharing.small && sharing.threads > 1));
    CHECK(d->loop_threads == (tasks < sharing.threads ? tasks : sharing.threads));
    CHECK(d->threads <= batch->threads && d->loop_threads <= batch->threads);
}

static void check_tile(bool recurs, const fc_batch *batch, const fc_description *d) {
    CHECK((d->rows > 0) == (batch->rows > 0));
    CHECK(d->rows * d->row_parts >= batch->rows && d->rows <= batch->rows);
    CHECK((d->vectors > 0) == recurs);
    if (!batch->rows || !recurs) {
        CHECK(!d->tile_rows && !d->tile_vectors && !d->tile_panels);
        return;
    }
    CHECK(d->tile_rows >= 1 && d->tile_rows <= d->rows);
    CHECK(d->tile_vectors >= 1 && d->tile_panels >= 1);
    CHECK(d->tile_vectors * d->tile_panels <= d->vectors);
    CHECK(d->tile_rows * d->tile_vectors * d->tile_panels <= MOST_ACCUMULATORS);
}

static void check_sizes(const fc_stack *stack, const fc_batch *batch, int training,
                        const fc_description *d) {
    size_t bytes;
    CHECK_OK(fc_pack_size(stack, training == 2 ? FC_PACK_BACKWARD : FC_PACK_FORWARD,
                          &bytes));
    CHECK(d->packed_bytes == bytes);
    CHECK((d->recurrent_bytes > 0) == has_r(fc_cell_name(stack->cell)));
    CHECK(d->recurrent_bytes < d->packed_bytes);
    CHECK_OK(fc_scratch_size(stack, batch, training, &bytes));
    CHECK(d->scratch_bytes == bytes);
    CHECK_OK(fc_saved_size(stack, batch, &bytes));
    CHECK(d->saved_bytes == (training ? bytes : 0));
}

/* 2 G H (I + P) for each row and step, without R 2 G H I, and 2 P H with a projection.
 * Parameters of a cell's own are in no product. */
static void check_work(const fc_stack *stack, const fc_batch *batch, int training,
                       const fc_description *d) {
    double H = (double)stack->hidden_size, G = fc_cell_gates(stack->cell);
    double P = stack->proj_size ? (double)stack->proj_size : H;
    double R = has_r(fc_cell_name(stack->cell)) ? G * H * P : 0;
    double projection = stack->proj_size ? P * H : 0, input = 0, reals = 0, own = 0;
    fc_cell_parameter one;
    for (int i = 0; own_parameter(stack->cell, i, &one); i++)
        own += H * one.vectors;
    for (int layer = 0; layer < stack->layers; layer++) {
        double I = layer ? stack->directions * P : (double)stack->input_size;
        input += stack->directions * G * H * I;
        reals += stack->directions * (G * H * (I + (R > 0 ? 2 : 1)) + R + projection + own);
    }
    double recurrent = stack->layers * stack->directions * (R + projection);
    double pairs = 2.0 * (double)(batch->steps * batch->rows) * (training == 2 ? 2 : 1);
    CHECK(d->flop == pairs * (input + recurrent));
    CHECK(d->recurrent_flop == pairs * recurrent);
    CHECK((double)d->weight_bytes == reals * (double)real_size(stack->dtype));
}

static void test_cases(const char *isa) {
    for (int cell = 0; fc_cell_name(cell); cell++)
        for (int dtype = FC_F32; dtype <= FC_INT8; dtype++)
            for (int i = 0; i < CASES; i++)
                for (int training = 0; training < 3; training++) {
                    fc_stack stack = stack_of(i, cell, (fc_dtype)dtype);
                    fc_batch batch = batch_of(i);
                    fc_description d;
                    describe("%s %s dtype %d case %d training %d", isa,
                             fc_cell_name(cell), dtype, i, training);
                    if (dtype == FC_INT8 && training) {
                        CHECK_STATUS(fc_describe(&stack, &batch, training, &d),
                                     FC_BAD_ARGUMENT);
                        continue;
                    }
                    if (!CHECK_OK(fc_describe(&stack, &batch, training, &d)))
                        continue;
                    CHECK(!strcmp(d.isa, isa));
                    CHECK(d.lanes == fc_lanes(stack.dtype));
                    CHECK(d.group == (dtype == FC_INT8 ? 4 : dtype == FC_BF16 ? 2 : 1));
                    check_threads(&stack, &batch,
                                  training == 2 ? FC_PACK_BACKWARD : FC_PACK_FORWARD,
                                  &d);
                    check_tile(has_r(fc_cell_name(stack.cell)), &batch, &d);
                    check_sizes(&stack, &batch, training, &d);
                    check_work(&stack, &batch, training, &d);
                }
}

/* The size of scratch does not depend on lengths and mask; it suffices for the threads
 * and parts of any number of active pairs. */
static void test_room(void) {
    for (int cell = 0; fc_cell_name(cell); cell++)
        for (int i = 0; i < CASES; i++)
            for (int kind = 0; kind < 2; kind++)
                for (int threads = 1; threads <= 4096; threads = threads * 3 / 2 + 1) {
                    fc_stack stack = stack_of(i, cell, FC_F32);
                    fc_batch batch = batch_of(i);
                    fc_shape shape;
                    batch.threads = threads;
                    ptrdiff_t all = batch.steps * batch.rows;
                    CHECK_OK(fc_shape_of(&stack, 0, &shape));
                    fc_sharing most =
                        fc_share_most(&stack, &batch, &shape, (fc_pack_kind)kind);
                    for (int part = 0; part <= 32; part++) {
                        fc_sharing s =
                            fc_share_work(&stack, &batch, &shape, (fc_pack_kind)kind,
                                          all * part / 32);
                        describe("room, %s, case %d, %d threads, %d of 32 pairs",
                                 fc_cell_name(cell), i, threads, part);
                        CHECK(s.threads <= most.threads);
                        CHECK(s.row_parts <= most.row_parts);
                        CHECK(s.row_parts * s.members <= most.row_parts);
                    }
                }
}

/* Recomputing gates costs a forward pass and saves memory. */
static void test_recompute(void) {
    fc_stack stack = stack_of(6, fc_cell_index("lstm"), FC_F32);
    fc_batch batch = batch_of(6), again = batch;
    fc_description d, recomputed;
    again.recompute = 1;
    describe("recompute");
    CHECK_OK(fc_describe(&stack, &batch, 2, &d));
    CHECK_OK(fc_describe(&stack, &again, 2, &recomputed));
    CHECK(2 * recomputed.flop == 3 * d.flop);
    CHECK(recomputed.saved_bytes < d.saved_bytes);
}

/* Only existing steps count. */
static void test_lengths(void) {
    static const int64_t lengths[] = {3, 0};
    fc_stack stack = stack_of(3, fc_cell_index("gru"), FC_F32);
    fc_batch batch = {.steps = 4, .rows = 2, .lengths = lengths, .threads = 1};
    fc_batch whole = {.steps = 3, .rows = 1, .threads = 1};
    fc_description ragged, d;
    describe("lengths");
    CHECK_OK(fc_describe(&stack, &batch, 0, &ragged));
    CHECK_OK(fc_describe(&stack, &whole, 0, &d));
    CHECK(ragged.flop == d.flop && ragged.recurrent_flop == d.recurrent_flop);
}

static void test_refusals(void) {
    fc_stack stack = stack_of(3, fc_cell_index("lstm"), FC_F32), bad = stack;
    fc_batch batch = batch_of(3), none = batch;
    fc_description d;
    bad.layers = 0;
    none.threads = 0;
    describe("refusals");
    CHECK_STATUS(fc_describe(NULL, &batch, 0, &d), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_describe(&bad, &batch, 0, &d), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_describe(&stack, NULL, 0, &d), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_describe(&stack, &none, 0, &d), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_describe(&stack, &batch, 0, NULL), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_describe(&stack, &batch, -1, &d), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_describe(&stack, &batch, 3, &d), FC_BAD_ARGUMENT);
    for (int dtype = FC_F32; dtype <= FC_INT8; dtype++) {
        bad = stack;
        bad.dtype = (fc_dtype)dtype;
        bad.hidden_size = (ptrdiff_t)1 << 40;
        CHECK_STATUS(fc_describe(&bad, &batch, 0, &d), FC_TOO_LARGE);
    }
    batch.steps = (ptrdiff_t)1 << 52;
    CHECK_STATUS(fc_describe(&stack, &batch, 1, &d), FC_TOO_LARGE);
}

static bool has_parameter(const fc_cell_description *d, const char *name, fc_axis rows,
                          fc_axis columns, const char *bias_of) {
    for (int i = 0; i < d->parameters; i++) {
        const fc_cell_parameter *p = &d->parameter[i];
        if (!strcmp(p->name, name))
            return p->rows == rows && p->columns == columns &&
                   (p->bias_of < 0
                        ? !bias_of
                        : bias_of && !strcmp(d->parameter[p->bias_of].name, bias_of));
    }
    return false;
}

/* `member` is the offset of the parameter with this name. */
static bool leads_to(const fc_cell_description *d, const char *name,
                     const fc_weights *w, const void *expected) {
    for (int i = 0; i < d->parameters; i++) {
        const fc_cell_parameter *p = &d->parameter[i];
        const void *found;
        memcpy(&found, (const char *)w + p->member, sizeof found);
        if (!strcmp(p->name, name))
            return found == expected;
    }
    return false;
}

static void test_cells(void) {
    static const char *const state_names[] = {"h", "c", "n", "m"};
    char at[5];
    fc_weights w = {&at[0], &at[1], &at[2], &at[3], &at[4], {NULL}};
    fc_cell_description d;
    for (int cell = 0; fc_cell_name(cell); cell++) {
        describe("description of %s", fc_cell_name(cell));
        bool projects = strstr(fc_cell_name(cell), "projected") != NULL;
        bool recurs = has_r(fc_cell_name(cell));
        CHECK_OK(fc_describe_cell(cell, &d));
        CHECK(!strcmp(d.name, fc_cell_name(cell)));
        CHECK(d.gates == fc_cell_gates(cell) && d.states == fc_cell_states(cell));
        for (int i = 0; i < d.gates; i++)
            CHECK(d.gate_names[i] && *d.gate_names[i]);
        for (int i = 0; i < d.states; i++)
            CHECK(!strcmp(d.state_names[i], state_names[i]));
        CHECK(d.slots >= d.gates);
        CHECK(d.projects == projects);
        CHECK(d.parameters >= (recurs ? 4 : 2) + projects &&
              d.parameters <= FC_MOST_PARAMETERS);
        CHECK(has_parameter(&d, "weight_ih", FC_AXIS_GATES, FC_AXIS_INPUT, NULL));
        CHECK(has_parameter(&d, "weight_hh", FC_AXIS_GATES, FC_AXIS_HEAD, NULL) ==
              recurs);
        CHECK(has_parameter(&d, "bias_ih", FC_AXIS_GATES, FC_AXIS_NONE, "weight_ih"));
        CHECK(has_parameter(&d, "bias_hh", FC_AXIS_GATES, FC_AXIS_NONE, "weight_hh") ==
              recurs);
        CHECK(has_parameter(&d, "weight_hr", FC_AXIS_OUTPUT, FC_AXIS_HIDDEN, NULL) ==
              projects);
        CHECK(leads_to(&d, "weight_ih", &w, w.w_ih));
        CHECK(leads_to(&d, "weight_hh", &w, w.w_hh) == recurs);
        CHECK(leads_to(&d, "bias_ih", &w, w.b_ih));
        CHECK(leads_to(&d, "bias_hh", &w, w.b_hh) == recurs);
        CHECK(leads_to(&d, "weight_hr", &w, w.w_hr) == projects);
    }
    describe("descriptions of no cell");
    CHECK_STATUS(fc_describe_cell(-1, &d), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_describe_cell(1000, &d), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_describe_cell(0, NULL), FC_BAD_ARGUMENT);
}

int main(void) {
    FOR_EACH_ISA(isa) {
        test_cells();
        test_cases(isa);
        test_room();
        test_recompute();
        test_lengths();
        test_refusals();
    }
    return finish("describe");
}

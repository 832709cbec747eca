#include "tests/fixture.h"

fc_status backward_of(fixture *f, const fc_segment *segment) {
    fc_backward_io io = f->io;
    io.segment = segment;
    return fc_backward(&f->stack, f->backward, &f->batch, &io, f->saved, f->scratch);
}

fc_status forward_of(fixture *f) {
    return fc_forward(&f->stack, f->packed, &f->batch, &f->output, f->saved,
                      f->scratch);
}

void *fill(size_t bytes, int byte) { return memset(take(bytes, 0), byte, bytes); }

void fixture_make(fixture *f) {
    size_t bytes, most = 0;
    memset(f, 0, sizeof *f);
    seed(900);
    float *all[] = {f->w, f->x, f->dy};
    size_t counts[] = {sizeof f->w, sizeof f->x, sizeof f->dy};
    for (int i = 0; i < 3; i++)
        for (size_t j = 0; j < counts[i] / sizeof(float); j++)
            all[i][j] = (float)uniform(-0.5, 0.5);
    f->stack = (fc_stack){.cell = fc_cell_index("gru"),
                          .dtype = FC_F32,
                          .input_size = I,
                          .hidden_size = H,
                          .layers = 1,
                          .directions = 1};
    f->batch = (fc_batch){.steps = T,
                          .rows = B,
                          .x = f->x,
                          .x_step = B * I,
                          .x_row = I,
                          .threads = 1,
                          .recompute = 1};
    f->output = (fc_output){.y = f->y, .y_step = B * H, .y_row = H};
    f->gradients = (fc_gradients){
        f->g,  f->g + G * H * H, f->g + 2 * G * H * H, f->g + 3 * G * H * H, NULL,
        {NULL}};
    fc_weights weights = {
        f->w,  f->w + G * H * H, f->w + 2 * G * H * H, f->w + 3 * G * H * H, NULL,
        {NULL}};
    CHECK_OK(fc_pack_size(&f->stack, FC_PACK_FORWARD, &f->packed_bytes));
    CHECK_OK(fc_pack_size(&f->stack, FC_PACK_BACKWARD, &f->backward_bytes));
    CHECK_OK(fc_saved_size(&f->stack, &f->batch, &f->saved_bytes));
    CHECK_OK(fc_carry_size(&f->stack, &f->batch, &f->carry_bytes));
    CHECK_OK(fc_stream_size(&f->stack, B, &f->stream_bytes));
    for (int training = 0; training < 3; training++) {
        CHECK_OK(fc_scratch_size(&f->stack, &f->batch, training, &bytes));
        most = bytes > most ? bytes : most;
    }
    CHECK_OK(fc_linear_scratch_size(&(fc_linear){FC_F32, I, O}, B, 1, &bytes));
    f->scratch = take(bytes > most ? bytes : most, 0);
    f->packed = take(f->packed_bytes, 0);
    f->backward = take(f->backward_bytes, 0);
    f->saved = take(f->saved_bytes, 0);
    f->carry = take(f->carry_bytes, 0);
    f->stream = fill(f->stream_bytes, 0);
    CHECK_OK(fc_pack(&f->stack, FC_PACK_FORWARD, &weights, f->packed, 1));
    CHECK_OK(fc_pack(&f->stack, FC_PACK_BACKWARD, &weights, f->backward, 1));
    for (int i = 0; i < 2; i++) {
        fc_pack_kind kind = i ? FC_PACK_BACKWARD : FC_PACK_FORWARD;
        CHECK_OK(
            fc_linear_pack_size(&(fc_linear){FC_F32, I, O}, kind, &f->linear_bytes[i]));
        f->linear[i] = take(f->linear_bytes[i], 0);
        CHECK_OK(
            fc_linear_pack(&(fc_linear){FC_F32, I, O}, kind, f->w, NULL, f->linear[i]));
    }
    f->io = (fc_backward_io){.dy = f->dy,
                             .dy_step = B * H,
                             .dy_row = H,
                             .dx = f->dx,
                             .dx_step = B * I,
                             .dx_row = I,
                             .weights = &f->gradients,
                             .packed_forward = f->packed};
    CHECK_OK(fc_stream_set(&f->stack, B, f->stream, f->u, NULL));
    CHECK_OK(fc_stream_step(&f->stack, f->packed, B, f->x, f->u, f->stream));
    fc_segment last = {T, 0, T * B, f->carry};
    CHECK_OK(forward_of(f));
    CHECK_OK(backward_of(f, &last));
    CHECK_OK(forward_of(f));
    f->segment = (fc_segment){0, T, 0, f->carry};
}

void fixture_free(fixture *f) {
    void *all[] = {f->packed, f->backward, f->saved,     f->scratch,
                   f->carry,  f->stream,   f->linear[0], f->linear[1]};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        release(all[i]);
}

/* Checks of a call's arguments, and packing of all layers and directions of a stack.
 * The calls themselves are in stack_forward.c and stack_backward.c. */
#include "recurrent/stack.h"

#include <string.h>

#include "recurrent/sequence.h"
#include "runtime/pool.h"
#include "runtime/seal.h"

enum { PACKED_BYTES_OF_A_THREAD = 64 * 1024 };

fc_status fc_check_sizes(const fc_stack *stack, const fc_batch *batch,
                         fc_shape *shape) {
    const ptrdiff_t most = PTRDIFF_MAX / 1024;
    ptrdiff_t pairs;
    fc_status status = fc_shape_of(stack, 0, shape);
    if (status)
        return status;
    if (!batch || batch->steps < 0 || batch->rows < 0 || batch->threads < 1 ||
        (batch->index && (batch->x_rows < 0 || batch->added)))
        return FC_BAD_ARGUMENT;
    if (batch->steps > most || batch->rows > INT32_MAX ||
        __builtin_mul_overflow(batch->steps, batch->rows, &pairs))
        return FC_TOO_LARGE;
    return FC_OK;
}

fc_status fc_check_batch(const fc_stack *stack, const fc_batch *batch, fc_shape *shape,
                         ptrdiff_t *total) {
    fc_status status = fc_check_sizes(stack, batch, shape);
    return status ? status : fc_plan_count(batch, total);
}

/* Rows are apart if the rows of a step fit between two steps, or the other way round.
 */
bool fc_rows_are_apart(const fc_batch *batch, ptrdiff_t step, ptrdiff_t row,
                       ptrdiff_t n) {
    const ptrdiff_t most = PTRDIFF_MAX / 16; /* in bytes, too */
    ptrdiff_t steps = batch->steps, rows = batch->rows, extent;
    if (step < -most || step > most || row < -most || row > most)
        return false;
    if (steps < 1 || rows < 1 || n < 1)
        return true;
    step = step < 0 ? -step : step;
    row = row < 0 ? -row : row;
    if (steps == 1 || rows == 1)
        return (steps == 1 || step >= n) && (rows == 1 || row >= n);
    bool rows_within = row < step;
    ptrdiff_t inner = rows_within ? row : step, outer = rows_within ? step : row;
    return inner >= n &&
           !__builtin_mul_overflow(inner, (rows_within ? rows : steps) - 1, &extent) &&
           outer - n >= extent;
}

bool fc_reads_x(const fc_batch *batch, ptrdiff_t total) {
    return total || (batch->index && batch->x_rows);
}

fc_status fc_check_index(const fc_batch *batch) {
    for (ptrdiff_t t = 0; batch->index && t < batch->steps; t++)
        for (ptrdiff_t row = 0; row < batch->rows; row++) {
            int32_t index = batch->index[t * batch->rows + row];
            if ((index < 0 || index >= batch->x_rows) && fc_active(batch, t, row))
                return FC_BAD_INDEX;
        }
    return FC_OK;
}

fc_status fc_pack_size(const fc_stack *stack, fc_pack_kind kind, size_t *bytes) {
    fc_arena arena = fc_arena_behind_seal(NULL);
    fc_shape shape;
    fc_status status = fc_shape_of(stack, 0, &shape);
    if (!status && !bytes)
        status = FC_BAD_ARGUMENT;
    if (status)
        return status;
    for (int layer = 0; layer < stack->layers && !arena.failed; layer++) {
        fc_packed packed;
        fc_shape_of(stack, layer, &shape);
        for (int d = 0; d < stack->directions; d++)
            fc_packed_layout(&shape, kind, &packed, &arena);
    }
    *bytes = fc_arena_bytes(&arena);
    return arena.failed ? FC_TOO_LARGE : FC_OK;
}

fc_status fc_packed_of(const fc_stack *stack, fc_pack_kind kind, const void *memory,
                       int layer, int which, fc_packed *packed) {
    fc_arena arena = fc_arena_behind_seal((void *)memory);
    for (int l = 0; l <= layer; l++) {
        fc_shape shape;
        fc_status status = fc_shape_of(stack, l, &shape);
        if (status)
            return status;
        for (int d = 0; d < (l < layer ? stack->directions : which + 1); d++)
            fc_packed_layout(&shape, kind, packed, &arena);
    }
    return FC_OK;
}

typedef struct pack_context {
    const fc_stack *stack;
    fc_pack_kind kind;
    const fc_weights *weights;
    void *packed;
} pack_context;

static void run_pack(void *context, int part, int parts) {
    const pack_context *job = context;
    const fc_weights *weights = job->weights;
    fc_arena arena = fc_arena_behind_seal(job->packed);
    for (int layer = 0; layer < job->stack->layers; layer++) {
        fc_shape shape;
        fc_packed layout;
        fc_shape_of(job->stack, layer, &shape);
        for (int d = 0; d < job->stack->directions; d++, weights++) {
            fc_packed_layout(&shape, job->kind, &layout, &arena);
            fc_pack_weights(&shape, job->kind, &layout, weights, part, parts);
        }
    }
}

/* True if the caller gave all parameters of the cell's own. */
static bool has_own(const fc_cell *cell, const fc_weights *weights) {
    for (int i = 0; i < cell->owns; i++)
        if (!weights->own[i])
            return false;
    return true;
}

fc_status fc_pack(const fc_stack *stack, fc_pack_kind kind, const fc_weights *weights,
                  void *packed, int threads) {
    size_t bytes;
    fc_status status = fc_pack_size(stack, kind, &bytes);
    if (!status && (!weights || threads < 1))
        status = FC_BAD_ARGUMENT;
    if (!status)
        status = fc_check_alignment(packed);
    if (status)
        return status;
    const fc_cell *cell = fc_kernels_of(stack->dtype)->cells[stack->cell];
    for (int i = 0; i < stack->layers * stack->directions; i++)
        if (!weights[i].w_ih || (fc_has_recurrent(cell) && !weights[i].w_hh) ||
            (stack->proj_size && !weights[i].w_hr) || !has_own(cell, &weights[i]))
            return FC_BAD_ARGUMENT;
    pack_context job = {stack, kind, weights, packed};
    size_t most = bytes / PACKED_BYTES_OF_A_THREAD;
    int parts = most < 2 ? 1 : most < (size_t)threads ? (int)most : threads;
    memset(packed, 0, sizeof(fc_seal)); /* invalid until all is packed */
    fc_run_brief_parts(run_pack, &job, parts);
    fc_seal seal = fc_pack_seal(kind, stack, fc_kernels_of(stack->dtype));
    memcpy(packed, &seal, sizeof seal);
    return FC_OK;
}

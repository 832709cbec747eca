/* The size of the scratch memory of a call. */
#include "recurrent/stack.h"
#include "recurrent/stack_backward.h"
#include "recurrent/stack_forward.h"

fc_status fc_scratch_size(const fc_stack *stack, const fc_batch *batch, int training,
                          size_t *bytes) {
    fc_shape shape;
    fc_status status = fc_check_sizes(stack, batch, &shape);
    if (!status && !bytes)
        status = FC_BAD_ARGUMENT;
    if (status)
        return status;
    fc_arena arena = {0};
    if (training == 2)
        fc_backward_scratch_layout(NULL, &arena, stack, &shape, batch);
    else
        fc_forward_scratch_layout(NULL, &arena, stack, &shape, batch, training);
    *bytes = fc_arena_bytes(&arena);
    return arena.failed ? FC_TOO_LARGE : FC_OK;
}

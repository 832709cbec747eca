/* The walk backward through a stack. */
#ifndef FC_STACK_BACKWARD_H
#define FC_STACK_BACKWARD_H

#include "recurrent/layer_job.h"

/* As fc_forward_scratch_layout. */
void fc_backward_scratch_layout(fc_backward_scratch *scratch, fc_arena *arena,
                                const fc_stack *stack, const fc_shape *first,
                                const fc_batch *batch);

#endif

/* Backward through a stack of layers: the layout of its scratch. */
#ifndef FC_STACK_BACKWARD_H
#define FC_STACK_BACKWARD_H

#include "recurrent/layer_job.h"

/* Room for every step of every row, whatever lengths and mask say.  With `scratch`
 * NULL, it only adds up sizes. */
void fc_backward_scratch_layout(fc_backward_scratch *scratch, fc_arena *arena,
                                const fc_stack *stack, const fc_shape *first,
                                const fc_batch *batch);

#endif

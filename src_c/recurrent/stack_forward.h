/* Forward through a stack of layers: the layout of its scratch. */
#ifndef FC_STACK_FORWARD_H
#define FC_STACK_FORWARD_H

#include "recurrent/direction.h"

typedef struct fc_forward_scratch fc_forward_scratch;
/* Room for every step of every row, and for the shares of fc_share_most, whatever
 * lengths and mask say.  With `scratch` NULL, it only adds up sizes. */
void fc_forward_scratch_layout(fc_forward_scratch *scratch, fc_arena *arena,
                               const fc_stack *stack, const fc_shape *first,
                               const fc_batch *batch, bool training);

#endif

/* The walk forward through a stack. */
#ifndef FC_STACK_FORWARD_H
#define FC_STACK_FORWARD_H

#include "recurrent/direction.h"

typedef struct fc_forward_scratch fc_forward_scratch;
/* Room for every step of every row, whatever lengths and mask say; so is its sharing
 * (fc_share_most), until the call sets its own.  With NULL: measure only. */
void fc_forward_scratch_layout(fc_forward_scratch *scratch, fc_arena *arena,
                               const fc_stack *stack, const fc_shape *first,
                               const fc_batch *batch, bool training);

#endif

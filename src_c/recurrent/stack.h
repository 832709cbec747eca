/* A stack of layers: checks of what a call is given, and its packed weights. */
#ifndef FC_STACK_H
#define FC_STACK_H

#include "recurrent/packing.h"

/* Sizes only; and the lengths too, with the number of active pairs.  The shape is that
 * of the first layer. */
fc_status fc_check_sizes(const fc_stack *stack, const fc_batch *batch, fc_shape *shape);
fc_status fc_check_batch(const fc_stack *stack, const fc_batch *batch, fc_shape *shape,
                         ptrdiff_t *total);
/* Do no two rows of a (T, B, n) array overlap?  Strides in reals. */
bool fc_rows_are_apart(const fc_batch *batch, ptrdiff_t step, ptrdiff_t row,
                       ptrdiff_t n);
/* Also where no step is active: the table of all indexed rows is made. */
bool fc_reads_x(const fc_batch *batch, ptrdiff_t total);
fc_status fc_check_index(const fc_batch *batch);
fc_status fc_packed_of(const fc_stack *stack, fc_pack_kind kind, const void *memory,
                       int layer, int which, fc_packed *packed);

#endif

/* Checks of a call's arguments, and the packed weights of a stack of layers. */
#ifndef FC_STACK_H
#define FC_STACK_H

#include "recurrent/packing.h"

/* fc_check_sizes checks stack and sizes; fc_check_batch also checks the lengths and
 * counts the pairs.  With FC_OK, *shape is that of the first layer. */
fc_status fc_check_sizes(const fc_stack *stack, const fc_batch *batch, fc_shape *shape);
fc_status fc_check_batch(const fc_stack *stack, const fc_batch *batch, fc_shape *shape,
                         ptrdiff_t *total);
/* True if no two rows of a (T, B, n) array overlap.  Strides are in reals. */
bool fc_rows_are_apart(const fc_batch *batch, ptrdiff_t step, ptrdiff_t row,
                       ptrdiff_t n);
/* True if the call reads x.  With an index it does even if no step is active, because
 * the table has all rows of x. */
bool fc_reads_x(const fc_batch *batch, ptrdiff_t total);
/* Checks the index of each active pair. */
fc_status fc_check_index(const fc_batch *batch);
/* Finds the packed weights of one direction (`which`) of a layer. */
fc_status fc_packed_of(const fc_stack *stack, fc_pack_kind kind, const void *memory,
                       int layer, int which, fc_packed *packed);

#endif

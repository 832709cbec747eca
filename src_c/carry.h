/* Weight gradients of a sequence that comes in segments, from the last to the first.
 *
 * They are summed in blocks of pairs that begin at multiples of the kernel's block,
 * counted over the whole sequence (gradient.h), and a segment may begin within one.
 * The rows of such a block's pairs wait here, each at its place in the block, for the
 * segment that holds the block's first pair. */
#ifndef FC_CARRY_H
#define FC_CARRY_H

#include "stack_gradients.h"

/* Of one layer. */
struct fc_carry {
    ptrdiff_t *end;  /* the pair after the last one that waits; 0: none does */
    char *slots;     /* [block][slots of a pair] */
    fc_pair_rows at; /* [block] pointers at the copies of rows */
    char *x, *h_prev, *middle;
    char *dtable; /* of the first layer, with an index: the sums over all segments */
};

/* Lays out the layers up to this one; with an arena without a base: measures. */
void fc_carry_layout(fc_carry *carry, fc_arena *arena, const fc_stack *stack,
                     const fc_batch *batch, int layer);
/* Finds which pairs of the job's steps are due: in place (low, high), or waiting. */
void fc_carry_begin(fc_layer_job *job);
/* Lets those wait that are not. */
void fc_carry_end(fc_layer_job *job);

#endif

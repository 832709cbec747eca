/* The carry: memory that passes pairs from one segment of a sequence to the segment
 * before it, in backward.
 *
 * Weight gradients are summed in blocks of pairs.  A block begins at a multiple of the
 * kernel's block, counted over the whole sequence (gradient.h), and a segment may begin
 * within a block.  The carry then stores the rows of the block's pairs, each at its
 * place in the block, until the segment with the block's first pair.  The caller
 * allocates it (fc_carry_size) and passes it from call to call. */
#ifndef FC_CARRY_H
#define FC_CARRY_H

#include "recurrent/layer_job.h"
#include "runtime/seal.h"

/* After the seal: the first step and the first pair of the last call's segment, and the
 * number of steps of the whole sequence.  Written by fc_carry_seal. */
typedef struct fc_carry_place {
    int64_t steps, pairs, whole;
} fc_carry_place;

/* The carry of one layer: pointers into the caller's memory, set by fc_carry_open.
 * `block` is the kernel's block. */
struct fc_carry {
    fc_seal *seal; /* one for all layers, and so are the next two */
    fc_carry_place *place;
    char *dtable;    /* [x_rows][gates][padded]: sums over all segments, for layer 0;
                      * NULL without an index */
    ptrdiff_t *end;  /* 1 + the number of the last stored pair; 0: none is stored */
    char *slots;     /* [block] rows of fc_slots_row reals: gate gradients */
    fc_pair_rows at; /* [block] pointers at the rows below, written in each call */
    /* Copies of rows: [block][in], [block][out_padded], [block][units], and twice
     * [block][c_row], NULL where no sum of the cell reads them. */
    char *x, *h_prev, *middle, *c_prev, *c;
};

/* FC_OK if the segment ends where that of the last call began.  The last segment of the
 * sequence comes first: it needs no content in the carry. */
fc_status fc_carry_check(const fc_stack *stack, const fc_batch *batch,
                         const fc_segment *segment, ptrdiff_t total);
/* Sets the pointers for this layer.  In the last segment it also empties the carry. */
void fc_carry_open(fc_carry *carry, const fc_stack *stack, const fc_batch *batch,
                   const fc_segment *segment, int layer);
/* The seal is invalid while a call runs: unseal at its beginning, seal at its end,
 * which also writes the place. */
void fc_carry_unseal(const fc_segment *segment);
void fc_carry_seal(const fc_stack *stack, const fc_batch *batch,
                   const fc_segment *segment);
/* Sets the pairs of the job's steps whose gradients are due: low, high and waiting. */
void fc_carry_begin(fc_layer_job *job);
/* Stores the others. */
void fc_carry_end(fc_layer_job *job);

#endif

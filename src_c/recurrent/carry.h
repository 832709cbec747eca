/* Weight gradients of a sequence that comes in segments, from the last to the first.
 *
 * They are summed in blocks of pairs that begin at multiples of the kernel's block,
 * counted over the whole sequence (gradient.h), and a segment may begin within one.
 * The rows of such a block's pairs wait here, each at its place in the block, for the
 * segment that holds the block's first pair. */
#ifndef FC_CARRY_H
#define FC_CARRY_H

#include "recurrent/layer_job.h"
#include "runtime/seal.h"

/* Behind the seal: where the segment of the last call began, in steps and in pairs, and
 * the steps of the whole sequence. */
typedef struct fc_carry_place {
    int64_t steps, pairs, whole;
} fc_carry_place;

/* Of one layer. */
struct fc_carry {
    fc_seal *seal; /* of all layers, like the two below */
    fc_carry_place *place;
    char *dtable;    /* of the first layer, with an index: the sums over all segments */
    ptrdiff_t *end;  /* the pair after the last one that waits; 0: none does */
    char *slots;     /* [block][slots of a pair] */
    fc_pair_rows at; /* [block] pointers at the copies of rows, made in every call */
    char *x, *h_prev, *middle, *c_prev, *c;
};

/* Is the segment the one before that of the last call, or the last of all, which may
 * find anything in the carry? */
fc_status fc_carry_check(const fc_stack *stack, const fc_batch *batch,
                         const fc_segment *segment, ptrdiff_t total);
/* The carry of this layer; empty in the last segment. */
void fc_carry_open(fc_carry *carry, const fc_stack *stack, const fc_batch *batch,
                   const fc_segment *segment, int layer);
/* The call has ended: the place and the seal, which is broken while it runs. */
void fc_carry_unseal(const fc_segment *segment);
void fc_carry_seal(const fc_stack *stack, const fc_batch *batch,
                   const fc_segment *segment);
/* Finds which pairs of the job's steps are due: in place (low, high), or waiting. */
void fc_carry_begin(fc_layer_job *job);
/* Lets those wait that are not. */
void fc_carry_end(fc_layer_job *job);

#endif

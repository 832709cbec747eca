/* What the forward and the backward walk through a stack share. */
#ifndef FC_STACK_H
#define FC_STACK_H

#include "pool.h"
#include "seal.h"
#include "sequence.h"

/* What is kept of a call; 0: nothing, for inference. */
enum {
    FC_KEEP = 1,
    FC_KEEP_RECOMPUTE = 2, /* no gates */
    FC_KEEP_LENGTHS = 4,   /* those arrays of the batch that are there */
    FC_KEEP_MASK = 8,
    FC_KEEP_RESET = 16,
    FC_KEEP_INDEX = 32,
};
unsigned fc_what_to_keep(const fc_batch *batch);

/* Behind the seal of `saved`: what its layout follows from, and `bytes` of it. */
typedef struct fc_saved_sizes {
    int64_t steps, total, x_rows;
    uint64_t keep, bytes, unused[3];
} fc_saved_sizes;
_Static_assert(sizeof(fc_seal) + sizeof(fc_saved_sizes) == FC_SAVED_HEAD, "as told");

typedef struct fc_saved {
    fc_seal *seal; /* or NULL, in inference */
    fc_saved_sizes *sizes;
    int64_t *lengths; /* copies of the caller's, or NULL */
    uint8_t *mask, *reset;
    int32_t *index;
    fc_plan plan[FC_MAX_DIRECTIONS];
    char *between; /* outputs of all layers but the last, dropout applied */
    size_t between_row, between_layer;
    char *passes;
    size_t layer_bytes;
} fc_saved;

/* first: the shape of the first layer.  `keep`: as FC_KEEP says, for backward.  With 0
 * the same layout serves inference, from scratch: two outputs between layers, the
 * memory of one layer. */
void fc_saved_layout(fc_saved *saved, fc_arena *arena, const fc_stack *stack,
                     const fc_shape *first, const fc_batch *batch, ptrdiff_t total,
                     unsigned keep);
/* Forward: lays out for the batch and copies its small arrays; sealed when all of it is
 * there. */
void fc_saved_begin(fc_saved *saved, void *memory, const fc_stack *stack,
                    const fc_shape *first, const fc_batch *batch, ptrdiff_t total);
void fc_saved_seal(const fc_saved *saved, const fc_stack *stack, const fc_batch *batch);
/* Backward: lays out what is there, if it is of this stack and batch. */
fc_status fc_saved_open(fc_saved *saved, void *memory, const fc_stack *stack,
                        const fc_batch *batch);
/* Of all callers one gets FC_OK, the others FC_USED_UP. */
fc_status fc_saved_take(const fc_saved *saved);
/* The batch with the copies in place of the caller's arrays. */
fc_batch fc_saved_batch(const fc_saved *saved, const fc_batch *batch);
void fc_saved_memory(const fc_saved *saved, const fc_shape *shape, int layer,
                     int direction, fc_memory *memory);
fc_array fc_saved_between(const fc_saved *saved, const fc_batch *batch, int layer);

typedef struct fc_forward_scratch fc_forward_scratch;
typedef struct fc_backward_scratch fc_backward_scratch;
/* Room for every step of every row, whatever lengths and mask say; so is its sharing
 * (fc_share_most), until the call sets its own.  With NULL: measure only. */
void fc_forward_scratch_layout(fc_forward_scratch *scratch, fc_arena *arena,
                               const fc_stack *stack, const fc_shape *first,
                               const fc_batch *batch, bool training);
void fc_backward_scratch_layout(fc_backward_scratch *scratch, fc_arena *arena,
                                const fc_stack *stack, const fc_shape *first,
                                const fc_batch *batch);

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
/* How the threads share one layer: both directions, each in ranges of rows, each of
 * those in teams that share the units of every step. */
typedef struct fc_sharing {
    int threads, row_parts, members;
    int why;         /* FC_SHARED_... */
    double step_flop; /* of the recurrent product */
    bool small; /* worth sharing only if the workers are awake */
    bool brief; /* and only if other processes leave the cores to it */
    int now;    /* threads to use in this call: all, or one (fc_sharing_begin) */
} fc_sharing;

fc_sharing fc_share_work(const fc_stack *stack, const fc_batch *batch,
                         const fc_shape *shape, fc_pack_kind kind, ptrdiff_t total);
/* As many threads and parts as any lengths and mask could give; members 1, since those
 * of teams count as parts. */
fc_sharing fc_share_most(const fc_stack *stack, const fc_batch *batch,
                         const fc_shape *shape, fc_pack_kind kind);
void fc_sharing_begin(fc_sharing *sharing);
/* The parts of fc_share_work: fn gets `parts` of them, or fewer, and then no team. */
void fc_run_shared(fc_part_fn *fn, void *context, const fc_sharing *sharing,
                   int directions);
fc_status fc_packed_of(const fc_stack *stack, fc_pack_kind kind, const void *memory,
                       int layer, int direction, fc_packed *packed);

#endif

/* What the forward and the backward walk through a stack share. */
#ifndef FC_STACK_H
#define FC_STACK_H

#include "pool.h"
#include "sequence.h"

typedef struct fc_saved {
    fc_plan plan[FC_MAX_DIRECTIONS];
    char *between; /* outputs of all layers but the last, dropout applied */
    size_t between_row, between_layer;
    char *passes;
    size_t layer_bytes;
} fc_saved;

/* `kept`: for backward.  Otherwise the same layout serves inference, from scratch: two
 * outputs between layers, the memory of one layer. */
void fc_saved_layout(fc_saved *saved, fc_arena *arena, const fc_stack *stack,
                     const fc_batch *batch, ptrdiff_t total, bool kept);
void fc_saved_memory(const fc_saved *saved, const fc_shape *shape, int layer,
                     int direction, fc_memory *memory);
fc_array fc_saved_between(const fc_saved *saved, const fc_batch *batch, int layer);

typedef struct fc_forward_scratch fc_forward_scratch;
typedef struct fc_backward_scratch fc_backward_scratch;
/* With NULL: measure only. */
void fc_forward_scratch_layout(fc_forward_scratch *scratch, fc_arena *arena,
                               const fc_stack *stack, const fc_batch *batch,
                               ptrdiff_t total, bool training);
void fc_backward_scratch_layout(fc_backward_scratch *scratch, fc_arena *arena,
                                const fc_stack *stack, const fc_batch *batch,
                                ptrdiff_t total);

fc_status fc_check_batch(const fc_stack *stack, const fc_batch *batch,
                         ptrdiff_t *total);
/* Also where no step is active: the table of all indexed rows is made. */
bool fc_reads_x(const fc_batch *batch, ptrdiff_t total);
fc_status fc_check_index(const fc_batch *batch);
/* How the threads share one layer: both directions, each in ranges of rows, each of
 * those in teams that share the units of every step. */
typedef struct fc_sharing {
    int threads, row_parts, members;
    bool small; /* worth sharing only if the workers are awake */
    bool brief; /* and only if other processes leave the cores to it */
    int now;    /* threads to use in this call: all, or one (fc_sharing_begin) */
} fc_sharing;

fc_sharing fc_share_work(const fc_stack *stack, const fc_batch *batch,
                         const fc_shape *shape, fc_pack_kind kind, ptrdiff_t total);
void fc_sharing_begin(fc_sharing *sharing);
/* The parts of fc_share_work: fn gets `parts` of them, or fewer, and then no team. */
void fc_run_shared(fc_part_fn *fn, void *context, const fc_sharing *sharing,
                   int directions);
fc_status fc_packed_of(const fc_stack *stack, fc_pack_kind kind, const void *memory,
                       int layer, int direction, fc_packed *packed);

#endif

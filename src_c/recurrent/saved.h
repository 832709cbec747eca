/* What forward keeps for backward: its map in memory, and whose it is. */
#ifndef FC_SAVED_H
#define FC_SAVED_H

#include "recurrent/sequence.h"
#include "runtime/seal.h"

/* What is kept of a call; 0: nothing, for inference. */
enum {
    FC_KEEP = 1,
    FC_KEEP_RECOMPUTE = 2, /* no gates */
    FC_KEEP_LENGTHS = 4,   /* those arrays of the batch that are there */
    FC_KEEP_MASK = 8,
    FC_KEEP_RESET = 16,
    FC_KEEP_INDEX = 32,
    FC_KEEP_RANDOM = 64, /* masks.h */
};
unsigned fc_what_to_keep(const fc_batch *batch);

/* Behind the seal of `saved`: what its layout follows from, and `bytes` of it. */
typedef struct fc_saved_sizes {
    int64_t steps, total, x_rows;
    uint64_t keep, bytes, key;
    int64_t first_step;
    uint64_t unused;
} fc_saved_sizes;
_Static_assert(sizeof(fc_seal) + sizeof(fc_saved_sizes) == FC_SAVED_HEAD,
               "the head has the size in fastcell.h");

typedef struct fc_saved {
    fc_seal *seal; /* or NULL, in inference */
    fc_saved_sizes *sizes;
    int64_t *lengths; /* copies of the caller's, or NULL */
    uint8_t *mask, *reset;
    int32_t *index;
    fc_plan plan[FC_MAX_DIRECTIONS];
    char *between; /* outputs of all layers but the last, dropout applied */
    size_t between_row, between_layer;
    char *memories;
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
void fc_saved_memory(const fc_saved *saved, const fc_shape *shape, int layer, int which,
                     fc_memory *memory);
fc_array fc_saved_between(const fc_saved *saved, const fc_batch *batch, int layer);

#endif

/* `saved`, the memory that forward fills for backward: its layout and its seal. */
#ifndef FC_SAVED_H
#define FC_SAVED_H

#include "recurrent/sequence.h"
#include "runtime/seal.h"

/* What `saved` holds, as bits.  0: nothing is kept, for inference. */
enum {
    FC_KEEP = 1,
    FC_KEEP_RECOMPUTE = 2, /* states and middle rows, no slots */
    FC_KEEP_LENGTHS = 4,   /* this and the next three: a copy of the batch's array */
    FC_KEEP_MASK = 8,
    FC_KEEP_RESET = 16,
    FC_KEEP_INDEX = 32,
    FC_KEEP_RANDOM = 64, /* the key of random masks */
};
unsigned fc_what_to_keep(const fc_batch *batch);

/* After the seal: what determines the layout, its size in bytes, and the key of random
 * masks.  Written by fc_saved_begin. */
typedef struct fc_saved_sizes {
    int64_t steps, total, x_rows;
    uint64_t keep, bytes, key;
    int64_t first_step;
    uint64_t unused;
} fc_saved_sizes;
_Static_assert(sizeof(fc_seal) + sizeof(fc_saved_sizes) == FC_SAVED_HEAD,
               "the head has the size in fastcell.h");

/* Pointers into `saved` or, in inference, into scratch. */
typedef struct fc_saved {
    fc_seal *seal; /* this and the next five: NULL in inference */
    fc_saved_sizes *sizes;
    int64_t *lengths; /* copies of the caller's arrays, in their shapes; NULL: none */
    uint8_t *mask, *reset;
    int32_t *index;
    fc_plan plan[FC_MAX_DIRECTIONS];
    char *between; /* (layers - 1, T, B, directions * out): outputs of all layers but
                    * the last, times the dropout factors; in inference of two layers */
    size_t between_row, between_layer; /* bytes */
    char *memories;                    /* an fc_memory for each layer and direction */
    size_t layer_bytes;                /* from one layer's memories to the next */
} fc_saved;

/* Places *saved in the arena.  `first`: the shape of the first layer.  `keep`: bits as
 * above.  With 0 it is the scratch of inference: two outputs between layers, and the
 * memories of one layer. */
void fc_saved_layout(fc_saved *saved, fc_arena *arena, const fc_stack *stack,
                     const fc_shape *first, const fc_batch *batch, ptrdiff_t total,
                     unsigned keep);
/* Forward: places *saved in the caller's memory, invalidates the seal, and copies the
 * batch's small arrays.  fc_saved_seal sets the seal, when all else is written. */
void fc_saved_begin(fc_saved *saved, void *memory, const fc_stack *stack,
                    const fc_shape *first, const fc_batch *batch, ptrdiff_t total);
void fc_saved_seal(const fc_saved *saved, const fc_stack *stack, const fc_batch *batch);
/* Backward: places *saved in memory that forward filled for this stack and batch; else
 * FC_BAD_MEMORY, or FC_USED_UP. */
fc_status fc_saved_open(fc_saved *saved, void *memory, const fc_stack *stack,
                        const fc_batch *batch);
/* Marks the memory as used up, atomically: one caller gets FC_OK, others FC_USED_UP. */
fc_status fc_saved_take(const fc_saved *saved);
/* The batch, with the copies in place of the caller's arrays, and the saved key. */
fc_batch fc_saved_batch(const fc_saved *saved, const fc_batch *batch);
/* The memory of one direction (`which`) of a layer. */
void fc_saved_memory(const fc_saved *saved, const fc_shape *shape, int layer, int which,
                     fc_memory *memory);
/* The output of a layer but the last. */
fc_array fc_saved_between(const fc_saved *saved, const fc_batch *batch, int layer);

#endif

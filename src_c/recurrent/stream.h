/* The memory of `rows` streams through a stack: their states, and scratch of one step.
 *
 * The caller allocates it (fc_stream_size) and may move its bytes between calls: all
 * pointers below are computed again in each call, but those of the plan, which holds
 * for one address. */
#ifndef FC_STREAM_H
#define FC_STREAM_H

#include "recurrent/packing.h"
#include "recurrent/sequence.h"
#include "runtime/seal.h"

/* The number of the i-th stream of a selection. */
static inline ptrdiff_t fc_selected(const fc_selection *some, ptrdiff_t i) {
    return some->which ? (ptrdiff_t)some->which[i] : i;
}

/* One layer of `rows` streams.  h and c outlive a call: fc_stream_set and steps write
 * them.  The rest is scratch of a step. */
typedef struct fc_stream_layer {
    /* [rows][out_padded] each.  A step reads one side and writes the other, because the
     * product reads all units of h_{t-1} until the last tile. */
    char *h[2];
    char *c;       /* [rows][c_row], updated in place; NULL if h is the only state */
    char *fresh_c; /* [rows][c_row]: with zoneout of c, what the cell writes; the
                    * driver then updates c.  NULL without */
    /* [rows][padded], written by the cell; [rows][slots][padded], likewise;
     * [rows][input columns], written by the product with W.  NULL: middle without a
     * middle row, slots if the cell has one phase, in which nothing is saved. */
    char *middle, *slots, *input_parts;
    fc_step_scratch step;
} fc_stream_layer;

/* A layer as a step uses it. */
typedef struct fc_planned_layer {
    fc_shape shape;
    fc_packed packed;
    fc_stream_layer memory;
} fc_planned_layer;

/* What is the same in every step: to lay it out takes a fifth of a step of 16 units. It
 * holds while memory, weights and kernels are at these addresses; zeros: never. */
typedef struct fc_stream_plan {
    const void *memory, *packed;
    const fc_kernels *k;
} fc_stream_plan;

enum { FC_STREAM_POINTERS = 8 };

/* The parts of the memory that all layers share. */
typedef struct fc_stream_memory {
    uint8_t *side;   /* [rows] 0 or 1: which of h[2] holds the state; a step flips it */
    uint8_t *seen;   /* [rows] marks of a check for duplicates; zeros between calls */
    void **pointers; /* [FC_STREAM_POINTERS][rows], written in every step */
    fc_stream_plan *plan;
    fc_planned_layer *layers; /* [layers], of the plan */
    fc_arena arena;           /* where the next layer begins */
} fc_stream_memory;

/* Places all but the memory of the layers.  With `memory` NULL, it only adds up sizes.
 */
static inline void fc_stream_carve(fc_stream_memory *s, void *memory, int layers,
                                   ptrdiff_t rows) {
    s->arena = fc_arena_behind_seal(memory);
    s->side = fc_take(&s->arena, (size_t)rows, 1);
    s->seen = fc_take(&s->arena, (size_t)rows, 1);
    s->pointers = fc_take2(&s->arena, FC_STREAM_POINTERS, (size_t)rows, sizeof(void *));
    s->plan = fc_take(&s->arena, 1, sizeof *s->plan);
    s->layers = fc_take(&s->arena, (size_t)layers, sizeof *s->layers);
}

/* Places the next layer: to be called for all layers in their order. */
static inline fc_stream_layer
fc_next_stream_layer(fc_stream_memory *s, const fc_shape *shape, ptrdiff_t rows) {
    const fc_cell *cell = shape->cell;
    size_t real = shape->k->real_size, n = (size_t)rows;
    fc_stream_layer layer = {0};
    for (int side = 0; side < 2; side++)
        layer.h[side] = fc_take2(&s->arena, n, (size_t)shape->out_padded, real);
    if (cell->states > 1)
        layer.c = fc_take2(&s->arena, n, (size_t)shape->c_row, real);
    if (shape->zone_c > 0)
        layer.fresh_c = fc_take2(&s->arena, n, (size_t)shape->c_row, real);
    if (cell->has_middle)
        layer.middle = fc_take2(&s->arena, n, (size_t)shape->padded, real);
    if (cell->phases > 1)
        layer.slots =
            fc_take2(&s->arena, n, (size_t)(cell->slots * shape->padded), real);
    layer.input_parts =
        fc_take2(&s->arena, n, (size_t)(cell->gates * shape->padded), real);
    if (cell->whole_row)
        layer.step.row_buffer = fc_take2(&s->arena, FC_MAX_ROWS,
                                         (size_t)(cell->gates * shape->padded), real);
    layer.step.operands = fc_take(&s->arena, 1, fc_operand_bytes(shape, 1));
    return layer;
}

/* Checks the arguments of a call for some streams and places *s in their memory.  With
 * FC_OK, *seal is the memory's; memory of zeros gets it here. */
fc_status fc_stream_open(const fc_stack *stack, ptrdiff_t rows, void *memory,
                         const fc_selection *some, fc_stream_memory *s, fc_seal *seal);

#endif

/* The memory of some streams through a stack, which is the caller's: states, and what a
 * step needs. */
#ifndef FC_STREAM_H
#define FC_STREAM_H

#include "recurrent/sequence.h"
#include "runtime/seal.h"

static inline ptrdiff_t fc_selected(const fc_selection *some, ptrdiff_t i) {
    return some->which ? (ptrdiff_t)some->which[i] : i;
}

/* One layer of `rows` streams.  h has two sides: a step reads one and writes the other
 * (all units of h_{t-1} are needed until the last tile); c is updated in place. */
typedef struct fc_stream_layer {
    char *h[2];
    char *c;
    char *fresh_c; /* what the cell makes, with zoneout of c; else NULL */
    char *middle, *slots, *input_parts;
    fc_step_scratch step;
} fc_stream_layer;

enum { FC_STREAM_POINTERS = 8 };

typedef struct fc_stream_memory {
    uint8_t *side;   /* [rows] of h that holds the state */
    uint8_t *seen;   /* [rows] zeros between calls */
    void **pointers; /* [FC_STREAM_POINTERS][rows], made in every step */
    fc_arena arena;
} fc_stream_memory;

/* All but the layers; of NULL: measures. */
static inline void fc_stream_carve(fc_stream_memory *s, void *memory, ptrdiff_t rows) {
    s->arena = fc_arena_behind_seal(memory);
    s->side = fc_take(&s->arena, (size_t)rows, 1);
    s->seen = fc_take(&s->arena, (size_t)rows, 1);
    s->pointers = fc_take2(&s->arena, FC_STREAM_POINTERS, (size_t)rows, sizeof(void *));
}

/* The next layer's memory. */
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

/* Checks the arguments of a call for some streams, and finds their memory, to which it
 * gives its seal where all bytes are 0. */
fc_status fc_stream_open(const fc_stack *stack, ptrdiff_t rows, void *memory,
                         const fc_selection *some, fc_stream_memory *s, fc_seal *seal);

#endif

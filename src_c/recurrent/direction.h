/* One layer of a stack in one direction: its sizes, its states, its memory. */
#ifndef FC_DIRECTION_H
#define FC_DIRECTION_H

#include "cells/cell.h"
#include "recurrent/plan.h"
#include "runtime/arena.h"
#include "runtime/dispatch.h"

enum { FC_MAX_DIRECTIONS = 2 };

/* The sizes of a layer, in reals.  fc_shape_of writes all of it, and nothing changes it
 * later.  `padded` sizes are rounded up to whole vectors, so kernels have no tails. */
typedef struct fc_shape {
    const fc_kernels *k; /* of the stack's dtype and the CPU's instruction set */
    const fc_cell *cell;
    ptrdiff_t in; /* I: an input row; in a layer above, all directions' out */
    ptrdiff_t units, padded;   /* H: a row of any state but h */
    ptrdiff_t out, out_padded; /* P, or H without a projection: a row of h */
    ptrdiff_t c_row;           /* (states - 1) * padded: a row of c, all states but h */
    ptrdiff_t heads, head;     /* number of heads and units of one; 1 and H without */
    /* Number of matrices that R is packed and multiplied as: `heads` where a head is
     * whole vectors; else 1, a matrix with zeros outside the diagonal blocks. */
    ptrdiff_t blocks;
    double zone_h, zone_c, drop; /* rates of zoneout and recurrent dropout: masks.h */
    const fc_options *options;   /* the stack's, or zeros */
} fc_shape;

/* Checks the stack; with status FC_OK, *shape is that of `layer`. */
fc_status fc_shape_of(const fc_stack *stack, int layer, fc_shape *shape);
/* The rows of a phase's weights: H, or P where it projects; and of its operand.  A
 * phase of 0 gates has no product. */
ptrdiff_t fc_phase_units(const fc_shape *shape, const fc_phase *phase);
ptrdiff_t fc_operand_units(const fc_shape *shape, const fc_phase *phase);

/* The layout of a row of states: `vectors` vectors, of `units` reals in the caller's
 * arrays and of `padded` in memory, where zeros follow the units. */
typedef struct fc_states {
    const fc_shape *shape;
    ptrdiff_t vectors, units, padded;
} fc_states;

static inline fc_states fc_states_h(const fc_shape *shape) {
    return (fc_states){shape, 1, shape->out, shape->out_padded};
}
static inline fc_states fc_states_c(const fc_shape *shape) {
    return (fc_states){shape, shape->cell->states - 1, shape->units, shape->padded};
}
/* Copy rows first .. last-1: set from the caller's array to memory, get the other way.
 * `from` NULL: zeros are set.  `to` NULL: nothing is copied. */
void fc_set_states(const fc_states *states, char *memory, const char *from,
                   ptrdiff_t first, ptrdiff_t last);
void fc_get_states(const fc_states *states, const char *memory, char *to,
                   ptrdiff_t first, ptrdiff_t last);
/* Copy one row; `from` may be NULL, `to` may not. */
void fc_set_state(const fc_states *states, char *row, const char *from);
void fc_get_state(const fc_states *states, const char *row, char *to);
/* Bytes of a row in the caller's arrays; bytes of a row in memory. */
size_t fc_state_bytes(const fc_states *states);
size_t fc_padded_state_bytes(const fc_states *states);

/* Where one direction of a layer keeps its states and slots: in `saved` in training, in
 * scratch in inference.  `states` is plan->states, and the last row, one more, holds
 * zeros. [pairs] below means one row for each pair of the plan in training, and one for
 * each row of the batch in inference.  Forward writes all of it; backward reads it, and
 * writes `slots` alone. */
typedef struct fc_memory {
    char *h;      /* [states + 1][out_padded] */
    char *c;      /* [states + 1][c_row]; NULL if h is the only state */
    char *middle; /* [pairs][padded], written by the cell; NULL without a middle row */
    /* With zoneout, the states that the cell wrote; the driver then writes h and c, in
     * which some units keep their old state.  [pairs][out_padded] and [pairs][c_row];
     * NULL without zoneout of h, or of c. */
    char *fresh_h, *fresh_c;
    /* h times the factors of recurrent dropout, the operand of products with R:
     * [states + 1][out_padded], written by the driver; NULL without random masks. */
    char *dropped;
    /* Rows of fc_slots_row reals, a row for each pair from first_pair on, or for each
     * row of the batch: see fc_slots.  Forward's cell writes saved values, backward's
     * gate gradients.  NULL in inference of a cell with one phase. */
    char *slots;
    bool slots_by_pair;   /* not so in inference, and in forward with recompute */
    ptrdiff_t first_pair; /* above 0 only in backward with recompute */
} fc_memory;

/* Takes the memory from the arena: see arena.h.  Sizes do not depend on the layer. */
void fc_memory_layout(const fc_shape *shape, const fc_plan *plan, fc_memory *memory,
                      fc_arena *arena);

/* True if a phase multiplies by R. */
bool fc_has_recurrent(const fc_cell *cell);
/* True if the stack's `heads` may be above 1: one phase, with a product, and units that
 * do not depend on each other. */
bool fc_takes_heads(const fc_cell *cell);
/* Columns of R: P, or the units of a head. */
static inline ptrdiff_t fc_recurrent_columns(const fc_shape *shape) {
    return shape->heads > 1 ? shape->head : shape->out;
}
/* Multiply-adds of one gate of one unit in a step, to estimate work: those with R or,
 * if the cell has none, with W. */
ptrdiff_t fc_step_depth(const fc_shape *shape);

/* Bytes of scratch in which a product narrows its operand: enough for any product,
 * forward or backward, of a stack whose first layer has this shape. */
size_t fc_operand_bytes(const fc_shape *shape, int directions);

static inline size_t fc_bytes(const fc_shape *shape, ptrdiff_t reals) {
    return (size_t)reals * shape->k->real_size;
}

/* Reals from one row of slots to the next: the slots, and one unused vector.  A weight
 * gradient reads many consecutive rows, and rows a power of two apart would share a few
 * sets of the cache. */
static inline ptrdiff_t fc_slots_row(const fc_shape *shape) {
    return shape->cell->slots * shape->padded + shape->k->lanes;
}
static inline size_t fc_slots_bytes(const fc_shape *shape) {
    return fc_bytes(shape, fc_slots_row(shape));
}

/* The slots of pair p, which is a step of row `row`: [slots][padded]. */
static inline char *fc_slots(const fc_shape *shape, const fc_memory *memory,
                             ptrdiff_t p, ptrdiff_t row) {
    ptrdiff_t at = memory->slots_by_pair ? p - memory->first_pair : row;
    return memory->slots + (size_t)at * fc_slots_bytes(shape);
}

#endif

/* One layer of a stack in one direction: its sizes, its states, its memory. */
#ifndef FC_DIRECTION_H
#define FC_DIRECTION_H

#include "cells/cell.h"
#include "recurrent/plan.h"
#include "runtime/arena.h"
#include "runtime/dispatch.h"

enum { FC_MAX_DIRECTIONS = 2 };

/* Sizes.  `padded` ones are rounded up to whole vectors, so kernels have no tails. */
typedef struct fc_shape {
    const fc_kernels *k;
    const fc_cell *cell;
    ptrdiff_t in;              /* reals of an input row */
    ptrdiff_t units, padded;   /* H */
    ptrdiff_t out, out_padded; /* P, or H */
    ptrdiff_t c_row;           /* reals of a row of c: all states but h, padded */
    ptrdiff_t heads, head;     /* of R, and the units of one; without heads 1 and H */
    /* Diagonal blocks of R that are packed and multiplied apart: all heads, where a
     * head is whole vectors; else 1, with zeros beside the heads. */
    ptrdiff_t blocks;
    double zone_h, zone_c, drop; /* rates of masks.h */
    const fc_options *options;   /* the stack's, or zeros */
} fc_shape;

/* Checks the stack; with status FC_OK, *shape is that of `layer`. */
fc_status fc_shape_of(const fc_stack *stack, int layer, fc_shape *shape);
/* The rows of a phase's weights: H, or P where it projects; and of its operand.  A
 * phase of 0 gates has no product. */
ptrdiff_t fc_phase_units(const fc_shape *shape, const fc_phase *phase);
ptrdiff_t fc_operand_units(const fc_shape *shape, const fc_phase *phase);

/* States of one row: in the caller's arrays `vectors` of `units` reals, in memory of
 * `padded`, zeros behind the units. */
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
/* Rows first .. last-1 of memory, from the caller's arrays (NULL: zeros) or to them
 * (NULL: not). */
void fc_set_states(const fc_states *states, char *memory, const char *from,
                   ptrdiff_t first, ptrdiff_t last);
void fc_get_states(const fc_states *states, const char *memory, char *to,
                   ptrdiff_t first, ptrdiff_t last);
/* One row. */
void fc_set_state(const fc_states *states, char *row, const char *from);
void fc_get_state(const fc_states *states, const char *row, char *to);
/* Bytes of a row in the caller's arrays, and in memory. */
size_t fc_state_bytes(const fc_states *states);
size_t fc_padded_state_bytes(const fc_states *states);

/* Where one direction keeps its states and, for backward, its slots. */
typedef struct fc_memory {
    char *h;      /* [states + 1][out_padded] */
    char *c;      /* [states + 1][c_row], or NULL */
    char *middle; /* [total or rows][padded], or NULL */
    /* With zoneout what the cell made, before units keep their old state: [total or
     * rows] of rows of h, and of c; or NULL. */
    char *fresh_h, *fresh_c;
    char *dropped; /* h with recurrent dropout, which products read, as h; or NULL */
    char *slots;   /* [pairs from first_pair on, or rows][slots][padded], or NULL */
    bool slots_by_pair;
    ptrdiff_t first_pair;
} fc_memory;

void fc_memory_layout(const fc_shape *shape, const fc_plan *plan, fc_memory *memory,
                      fc_arena *arena);

/* Whether the cell has an R at all, and what one of its rows multiplies: P, or the
 * units of a head. */
bool fc_has_recurrent(const fc_cell *cell);
bool fc_takes_heads(const fc_cell *cell);
static inline ptrdiff_t fc_recurrent_columns(const fc_shape *shape) {
    return shape->heads > 1 ? shape->head : shape->out;
}
/* The multiplications of a gate's unit in one step, for those who weigh a step's work:
 * with R or, where there is none, with W. */
ptrdiff_t fc_step_depth(const fc_shape *shape);

/* Scratch for the operands of any product of a stack with layers of this shape, forward
 * or backward. */
size_t fc_operand_bytes(const fc_shape *shape, int directions);

static inline size_t fc_bytes(const fc_shape *shape, ptrdiff_t reals) {
    return (size_t)reals * shape->k->real_size;
}

/* Reals from one row of slots to the next.  One vector more than it holds: rows a power
 * of two apart would share a few sets of the cache, and a weight gradient reads them
 * one below the other. */
static inline ptrdiff_t fc_slots_row(const fc_shape *shape) {
    return shape->cell->slots * shape->padded + shape->k->lanes;
}
static inline size_t fc_slots_bytes(const fc_shape *shape) {
    return fc_bytes(shape, fc_slots_row(shape));
}

/* The slots of pair p, of row `row`. */
static inline char *fc_slots(const fc_shape *shape, const fc_memory *memory,
                             ptrdiff_t p, ptrdiff_t row) {
    ptrdiff_t at = memory->slots_by_pair ? p - memory->first_pair : row;
    return memory->slots + (size_t)at * fc_slots_bytes(shape);
}

#endif

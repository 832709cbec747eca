/* One layer of a stack in one direction: its sizes, its packed weights, its memory. */
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
} fc_shape;

/* Checks the stack; with status FC_OK, *shape is that of `layer`. */
fc_status fc_shape_of(const fc_stack *stack, int layer, fc_shape *shape);
/* The rows of a phase's weights: H, or P where it projects; and of its operand. */
ptrdiff_t fc_phase_units(const fc_shape *shape, const fc_phase *phase);
ptrdiff_t fc_operand_units(const fc_shape *shape, const fc_phase *phase);

/* Products of a direction: x for the input part, one per phase; and the parameters that
 * the cell has of its own. */
typedef struct fc_packed {
    fc_panels x;
    fc_panels phase[FC_MAX_PHASES];
    void *params; /* [vectors][padded], zeros behind the units; or NULL */
} fc_packed;

enum { FC_MOST_OWN_ARRAYS = 2 + FC_MAX_OWN };

/* Arrays that `params` is made of, in their order; or that get its gradients. */
typedef struct fc_own_arrays {
    int count;
    int vectors[FC_MOST_OWN_ARRAYS];
    const void *array[FC_MOST_OWN_ARRAYS]; /* [vectors][units], or NULL */
} fc_own_arrays;

fc_own_arrays fc_own_arrays_of(const fc_cell *cell, const void *b_ih, const void *b_hh,
                               const void *const *own);
/* Vectors of `params`; 0 for most cells. */
int fc_own_vectors(const fc_cell *cell);

/* Panels of all directions stand one after another in direction order. */
void fc_packed_layout(const fc_shape *shape, fc_pack_kind kind, fc_packed *packed,
                      fc_arena *arena);
/* Part `part` of `parts` of the panels. */
void fc_pack_weights(const fc_shape *shape, fc_pack_kind kind, const fc_packed *packed,
                     const fc_weights *weights, int part, int parts);

/* Where one direction keeps its states and, for backward, its slots. */
typedef struct fc_memory {
    char *h;      /* [states + 1][out_padded] */
    char *c;      /* [states + 1][padded], or NULL */
    char *middle; /* [total or rows][padded], or NULL */
    char *slots;  /* [pairs from first_pair on, or rows][slots][padded], or NULL */
    bool slots_by_pair;
    ptrdiff_t first_pair;
} fc_memory;

void fc_memory_layout(const fc_shape *shape, const fc_plan *plan, fc_memory *memory,
                      fc_arena *arena);

/* Scratch for the operands of any product of a stack with layers of this shape, forward
 * or backward. */
size_t fc_operand_bytes(const fc_shape *shape, int directions);

static inline size_t fc_bytes(const fc_shape *shape, ptrdiff_t reals) {
    return (size_t)reals * shape->k->real_size;
}

/* Units that one member of a team takes: whole panels of every product. */
typedef struct fc_units {
    ptrdiff_t first, count;
} fc_units;

/* How many members can have units of their own, in forward or backward. */
ptrdiff_t fc_most_members(const fc_shape *shape, fc_pack_kind kind);
/* The share of part `part` of `parts` in `padded` units. */
fc_units fc_share_units(const fc_shape *shape, fc_pack_kind kind, ptrdiff_t padded,
                        int part, int parts);
/* The panels of those units, `gates` vectors for each V of them. */
fc_panels fc_panels_of(const fc_shape *shape, const fc_panels *panels, int gates,
                       fc_units units);
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

/* The packed weights of one direction of a layer: their layout, and packing. */
#ifndef FC_PACKING_H
#define FC_PACKING_H

#include "recurrent/direction.h"

/* Panels of each product of a direction, and the cell's own parameters.  All of it is
 * in the caller's memory; fc_pack_weights writes it, and calls read it. */
typedef struct fc_packed {
    fc_panels x;                    /* W, of the input part */
    fc_panels phase[FC_MAX_PHASES]; /* R or W_hr; empty for a phase without a product.
                                     * Of an R in diagonal blocks: the first block */
    size_t block_bytes;             /* from one diagonal block to the next */
    void *params; /* [vectors][padded], zeros behind the units; NULL if it has none */
} fc_packed;

enum { FC_MOST_OWN_ARRAYS = 2 + FC_MAX_OWN };

/* The caller's arrays that `params` is a copy of, in their order, or the arrays for
 * their gradients. */
typedef struct fc_own_arrays {
    int count;
    int vectors[FC_MOST_OWN_ARRAYS];
    /* [vectors][units] each; NULL: zeros, or a gradient that is not wanted. */
    const void *array[FC_MOST_OWN_ARRAYS];
} fc_own_arrays;

fc_own_arrays fc_own_arrays_of(const fc_cell *cell, const void *b_ih, const void *b_hh,
                               const void *const *own);
/* Vectors of `params`; 0 without parameters of the cell's own. */
int fc_own_vectors(const fc_cell *cell);

/* Takes the memory of one direction from the arena.  Directions follow one another. */
void fc_packed_layout(const fc_shape *shape, fc_pack_kind kind, fc_packed *packed,
                      fc_arena *arena);
/* Packs the share of part `part` of `parts`: whole panels. */
void fc_pack_weights(const fc_shape *shape, fc_pack_kind kind, const fc_packed *packed,
                     const fc_weights *weights, int part, int parts);

/* Vectors of a panel: as many whole blocks of `gates` vectors as fit; if none fits, as
 * many vectors as the kernel takes. */
static inline int fc_panel_width(const fc_shape *shape, int gates) {
    int most = shape->k->panel;
    return most < gates ? most : gates * (most / gates);
}
/* A range of units.  The share of a member of a team is whole panels of every product,
 * and whole diagonal blocks of R. */
typedef struct fc_units {
    ptrdiff_t first, count;
} fc_units;

/* The most members of a team that all have units, in forward or backward. */
ptrdiff_t fc_most_members(const fc_shape *shape, fc_pack_kind kind);
/* The share of part `part` of `parts` in `padded` units. */
fc_units fc_share_units(const fc_shape *shape, fc_pack_kind kind, ptrdiff_t padded,
                        int part, int parts);
/* The panels of some units, with `gates` vectors for each V units. */
fc_panels fc_panels_of(const fc_shape *shape, const fc_panels *panels, int gates,
                       fc_units units);
/* The panels of a diagonal block of R.  `which`: in forward the number of the block, in
 * backward block * gates + gate. */
fc_panels fc_panels_of_block(const fc_packed *packed, ptrdiff_t which);

/* The operand of a diagonal block: pointers at real `first` of each row, written to
 * `to` [count], which is returned. */
static inline const void *const *fc_rows_from(const fc_shape *shape, const void **to,
                                              const void *const *rows, ptrdiff_t count,
                                              ptrdiff_t first) {
    for (ptrdiff_t r = 0; r < count; r++)
        to[r] = (const char *)rows[r] + fc_bytes(shape, first);
    return to;
}

#endif

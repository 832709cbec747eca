/* The packed weights of one direction of a layer. */
#ifndef FC_PACKING_H
#define FC_PACKING_H

#include "recurrent/direction.h"

/* Products of a direction: x for the input part, one per phase; and the parameters that
 * the cell has of its own.  Of an R with diagonal blocks `phase` has the panels of the
 * first, and the others follow, `block_bytes` apart. */
typedef struct fc_packed {
    fc_panels x;
    fc_panels phase[FC_MAX_PHASES];
    size_t block_bytes;
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

/* A panel holds as many vectors as it may, but where all gates of a block of units fit,
 * whole blocks. */
static inline int fc_panel_width(const fc_shape *shape, int gates) {
    int most = shape->k->panel;
    return most < gates ? most : gates * (most / gates);
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
/* The panels of some units, `gates` vectors for each V of them. */
fc_panels fc_panels_of(const fc_shape *shape, const fc_panels *panels, int gates,
                       fc_units units);
/* The panels of a diagonal block of R; for backward, of one of its gates: block * gates
 * + gate. */
fc_panels fc_panels_of_block(const fc_packed *packed, ptrdiff_t which);

/* The operand of a diagonal block: the reals from `first` on of each row. */
static inline const void *const *fc_rows_from(const fc_shape *shape, const void **to,
                                              const void *const *rows, ptrdiff_t count,
                                              ptrdiff_t first) {
    for (ptrdiff_t r = 0; r < count; r++)
        to[r] = (const char *)rows[r] + fc_bytes(shape, first);
    return to;
}

#endif

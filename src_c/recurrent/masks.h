/* Random masks of training: zoneout, recurrent dropout and update dropout.
 *
 *     zoneout              a unit keeps the state of the step before: Krueger et al.,
 *                          ICLR 2017 (arXiv:1606.01305)
 *     recurrent dropout    products with R read h_{t-1} with some units zero, the same
 *                          in all steps: Gal & Ghahramani, NIPS 2016 (arXiv:1512.05287)
 *     update dropout       some units of a step's candidate are zero, so that their
 * state only decays: Semeniuta, Severyn & Barth, COLING 2016 (arXiv:1603.05118)
 *
 * Without random masks (inference) zoneout gives each unit the mean: a share of its old
 * state, as large as the rate.  The others then do nothing.
 *
 * A mask is a function of the call's key, the pass (layer and direction), the row, the
 * step and the unit.  It does not depend on threads, chunks, segments or other rows, so
 * backward makes it again and nothing is kept.  All states but h share one mask. */
#ifndef FC_MASKS_H
#define FC_MASKS_H

#include "recurrent/packing.h"

/* Zoneout of h, zoneout of the other states, recurrent dropout, update dropout. */
typedef enum fc_mask_kind { FC_MASK_H, FC_MASK_C, FC_MASK_R, FC_MASK_U } fc_mask_kind;

/* The masks of one pass, written by fc_masks_of. */
typedef struct fc_masks {
    bool random;          /* false: zoneout by shares, no recurrent dropout */
    uint64_t key;         /* of the call and the pass */
    ptrdiff_t first_step; /* the number of step 0 in the whole sequence */
} fc_masks;

/* pass: layer * directions + direction. */
fc_masks fc_masks_of(const fc_batch *batch, int pass);
/* Reals of a buffer for the factors of one row. */
ptrdiff_t fc_mask_reals(const fc_shape *shape);

/* Some rows of one step.  The time loop sets it; the functions below write the buffer.
 */
typedef struct fc_mask_rows {
    const fc_masks *masks; /* NULL: none; row, t and buffer are then not read */
    const int32_t *row;    /* [count] their numbers in the batch */
    ptrdiff_t t, count;
    char *buffer; /* [fc_mask_reals] the factors of one row, for one call */
} fc_mask_rows;

/* The functions below take some units of row i: pointers at a row of h, or of c with
 * FC_MASK_C, and the units in it.
 *
 * Zoneout: to = old where the mask is 0, else fresh; without random masks, fresh +
 * rate * (old - fresh).  `to` may be `fresh` or `old`. */
void fc_zone(const fc_shape *shape, const fc_mask_rows *rows, fc_mask_kind kind,
             ptrdiff_t i, void *to, const void *fresh, const void *old, fc_units units);
/* Its gradient: d, in that of `to`, out that of `fresh`; pass, out that of `old`. */
void fc_zone_backward(const fc_shape *shape, const fc_mask_rows *rows,
                      fc_mask_kind kind, ptrdiff_t i, void *d, void *pass,
                      fc_units units);
/* Recurrent dropout: to = from * factor, 0 or 1 / (1 - rate).  `to` may be `from`. */
void fc_drop(const fc_shape *shape, const fc_mask_rows *rows, ptrdiff_t i, void *to,
             const void *from, fc_units units);
/* Update dropout, of all rows: writes the units' factors to `factors`, a row of
 * fc_mask_reals for each, and update[i] = the row of row i. */
void fc_make_updates(const fc_shape *shape, const fc_mask_rows *rows, char *factors,
                     void **update, fc_units units);

#endif

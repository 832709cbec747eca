/* Random masks of training, by units, rows and steps.
 *
 *     zoneout              a unit keeps the state of the step before: Krueger et al.,
 *                          ICLR 2017 (arXiv:1606.01305); without masks every unit keeps
 *                          its expected share
 *     recurrent dropout    products read h_{t-1} with some units zero, the same in all
 *                          steps: Gal & Ghahramani, NIPS 2016 (arXiv:1512.05287)
 *
 * A mask follows from the key of the call, the pass (layer and direction), the row, the
 * step and the unit: neither threads nor chunks, segments or other rows change it.  All
 * states beside h have one mask. */
#ifndef FC_MASKS_H
#define FC_MASKS_H

#include "recurrent/packing.h"

typedef enum fc_mask_kind { FC_MASK_H, FC_MASK_C, FC_MASK_R } fc_mask_kind;

/* Of one pass. */
typedef struct fc_masks {
    bool random;
    uint64_t key;
    ptrdiff_t first_step; /* of the batch, in the whole sequence */
} fc_masks;

fc_masks fc_masks_of(const fc_batch *batch, int pass);
/* Reals of the buffer where the factors of a row are made. */
ptrdiff_t fc_mask_reals(const fc_shape *shape);

/* Rows of one step: which rows they are, and the buffer. */
typedef struct fc_mask_rows {
    const fc_masks *masks; /* NULL: none */
    const int32_t *row;
    ptrdiff_t t, count;
    char *buffer;
} fc_mask_rows;

/* Zoneout: `to` = `fresh`, or `old` where the mask says so, of some units of row i. */
void fc_zone(const fc_shape *shape, const fc_mask_rows *rows, fc_mask_kind kind,
             ptrdiff_t i, void *to, const void *fresh, const void *old, fc_units units);
/* d, the gradient of `to`, becomes that of `fresh`, and *pass that of `old`. */
void fc_zone_backward(const fc_shape *shape, const fc_mask_rows *rows,
                      fc_mask_kind kind, ptrdiff_t i, void *d, void *pass,
                      fc_units units);
/* Recurrent dropout: to = from times the factors, of some units of row i. */
void fc_drop(const fc_shape *shape, const fc_mask_rows *rows, ptrdiff_t i, void *to,
             const void *from, fc_units units);

#endif

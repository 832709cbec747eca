/* The job of backward for one layer, and its scratch: what the functions that run on
 * all threads get. */
#ifndef FC_LAYER_JOB_H
#define FC_LAYER_JOB_H

#include "recurrent/sequence.h"
#include "recurrent/sharing.h"
#include "runtime/blas.h"

/* Pointers at the rows of pairs of one direction, [total] each: rows of x, of the
 * operand h_{t-1} (with recurrent dropout the dropped one), of the middle row, and of
 * c_{t-1} and c_t as the cell reads and writes them.  c_prev and c are NULL where no
 * sum of the cell reads them.  Written by point_at_pairs (stack_backward.c) or by
 * fc_carry_open. */
typedef struct fc_pair_rows {
    const void **x, **h_prev, **middle, **c_prev, **c;
} fc_pair_rows;

/* True if a sum of the cell's own parameters has this factor. */
static inline bool fc_sums_read(const fc_cell *cell, fc_factor factor) {
    for (int i = 0; i < cell->sums; i++)
        if (cell->sum[i].factor == factor)
            return true;
    return false;
}

typedef struct fc_carry fc_carry;

/* Scratch of backward, laid out by fc_backward_scratch_layout for the first layer and
 * used by all layers in turn.  An array with an index by direction has one for each.
 * Unless said otherwise the time loop writes it. */
typedef struct fc_backward_scratch {
    fc_sharing sharing;
    ptrdiff_t *bound[FC_MAX_DIRECTIONS]; /* [row_parts + 1] ranges of rows, constant */
    fc_loop_scratch *loop;               /* [directions * row_parts * members] */
    fc_barrier *barrier;                 /* [directions * row_parts] */
    /* See fc_direction, which points at them. */
    char *state_dh[FC_MAX_DIRECTIONS], *state_dc[FC_MAX_DIRECTIONS],
        *state_dmiddle[FC_MAX_DIRECTIONS];
    char *passed_h[FC_MAX_DIRECTIONS], *passed_c[FC_MAX_DIRECTIONS],
        *state_dropped[FC_MAX_DIRECTIONS];
    fc_pair_rows pairs[FC_MAX_DIRECTIONS];
    /* (T, B, directions * out): dx of a layer, which is dy of the layer below.  Layers
     * use them in turn; with one direction, or without recompute, both are the same. */
    char *between[2];
    char *dtable[FC_MAX_DIRECTIONS];
    const void **table_x; /* [x_rows] pointers at rows of x; NULL without an index */
    char *gradient;       /* [threads][gradient_bytes], of products after the loop */
    size_t gradient_bytes;
    /* With recompute, else 0 and NULL: */
    ptrdiff_t gate_pairs; /* most pairs of a chunk of steps */
    char *gates; /* slots of a chunk's pairs, and of an incomplete block after them */
    char *table; /* [x_rows][input columns], as fc_direction.table */
} fc_backward_scratch;

/* The job: one layer or, with recompute, a chunk of steps of one of its directions. */
typedef struct fc_layer_job {
    const fc_backward_scratch *scratch;
    int first, directions; /* first .. first+directions-1 */
    fc_direction direction[FC_MAX_DIRECTIONS];
    const fc_direction *forward; /* with recompute, the direction for forward's steps;
                                  * else NULL */
    ptrdiff_t begin, end;        /* steps */
    ptrdiff_t low, high;    /* pairs low .. high-1 are due: their weight gradients are
                             * summed after the loop */
    fc_carry *carry;        /* in a segment; else NULL */
    ptrdiff_t pairs_before; /* number of pairs in earlier segments */
    ptrdiff_t waiting;      /* pairs in the carry that are due, summed first */
    const fc_gradients *gradients; /* [directions]; NULL: none is wanted */
    const fc_blas *blas;
    fc_watch *watch;
} fc_layer_job;

#endif

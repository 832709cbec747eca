/* What the parts of backward need to know of a layer: its scratch, and the job. */
#ifndef FC_LAYER_JOB_H
#define FC_LAYER_JOB_H

#include "recurrent/sequence.h"
#include "recurrent/sharing.h"
#include "runtime/blas.h"

/* Rows of all pairs of one direction, as pointers.  c_prev and c: NULL where no sum of
 * the cell's reads them. */
typedef struct fc_pair_rows {
    const void **x, **h_prev, **middle, **c_prev, **c;
} fc_pair_rows;

static inline bool fc_sums_read(const fc_cell *cell, fc_factor factor) {
    for (int i = 0; i < cell->sums; i++)
        if (cell->sum[i].factor == factor)
            return true;
    return false;
}

typedef struct fc_carry fc_carry;

typedef struct fc_backward_scratch {
    fc_sharing sharing;
    ptrdiff_t *bound[FC_MAX_DIRECTIONS];
    fc_loop_scratch *loop; /* [directions * row_parts * members] */
    fc_barrier *barrier;   /* [directions * row_parts] */
    char *state_dh[FC_MAX_DIRECTIONS], *state_dc[FC_MAX_DIRECTIONS],
        *state_dmiddle[FC_MAX_DIRECTIONS];
    char *passed_h[FC_MAX_DIRECTIONS], *passed_c[FC_MAX_DIRECTIONS],
        *state_dropped[FC_MAX_DIRECTIONS];
    fc_pair_rows pairs[FC_MAX_DIRECTIONS];
    char
        *between[2]; /* gradient of a layer's input, then of the layer below's output */
    char *dtable[FC_MAX_DIRECTIONS];
    const void **table_x; /* rows of x behind the index */
    char *gradient;       /* [threads][gradient_bytes] */
    size_t gradient_bytes;
    /* to recompute */
    ptrdiff_t gate_pairs; /* pairs of one chunk of steps */
    char *gates; /* the slots of a chunk's pairs, and of those of a begun block */
    char *table; /* input parts of the rows behind the index */
} fc_backward_scratch;

/* One layer, or one chunk of steps of one of its directions. */
typedef struct fc_layer_job {
    const fc_backward_scratch *scratch;
    int first, directions; /* first .. first+directions-1 */
    fc_direction direction[FC_MAX_DIRECTIONS];
    const fc_direction
        *forward;         /* to recompute: the direction as forward sees it; or NULL */
    ptrdiff_t begin, end; /* steps */
    ptrdiff_t low, high;  /* pairs whose weight gradients are due */
    fc_carry *carry;      /* of a segment, else NULL; see carry.h */
    ptrdiff_t pairs_before; /* in earlier segments */
    ptrdiff_t waiting;      /* pairs of the carry that are due, before the others */
    const fc_gradients *gradients; /* [directions], or NULL */
    const fc_blas *blas;
    fc_watch *watch;
} fc_layer_job;

#endif

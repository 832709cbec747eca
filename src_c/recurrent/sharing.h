/* How the threads of a call share its work. */
#ifndef FC_SHARING_H
#define FC_SHARING_H

#include "recurrent/direction.h"
#include "runtime/pool.h"

/* The shares of one layer: its directions, each in `row_parts` ranges of rows, each of
 * those with a team of `members` that share the units of every step.  fc_share_work
 * sets all of it but `now`. */
typedef struct fc_sharing {
    int threads, row_parts, members;
    int why;          /* FC_SHARED_...: the reason, for fc_describe */
    double step_flop; /* FLOP of the recurrent product of one step */
    bool small;       /* shared only if the workers are awake */
    bool brief;       /* shared only if other processes leave the cores free */
    int now;          /* threads of this call: all, or one; set by fc_sharing_begin */
} fc_sharing;

/* The shares of a call with `total` pairs. */
fc_sharing fc_share_work(const fc_stack *stack, const fc_batch *batch,
                         const fc_shape *shape, fc_pack_kind kind, ptrdiff_t total);
/* The most threads and parts that any lengths and mask could give, for sizes of
 * scratch. `members` is 1: members of teams are counted as parts. */
fc_sharing fc_share_most(const fc_stack *stack, const fc_batch *batch,
                         const fc_shape *shape, fc_pack_kind kind);
/* Sets `now`, at the beginning of a call. */
void fc_sharing_begin(fc_sharing *sharing);
/* Calls fn for all parts.  Its `parts` may be fewer than planned; then each part is
 * alone in its team. */
void fc_run_shared(fc_part_fn *fn, void *context, const fc_sharing *sharing,
                   int directions);

#endif

/* How the work of a call is shared among threads. */
#ifndef FC_SHARING_H
#define FC_SHARING_H

#include "recurrent/direction.h"
#include "runtime/pool.h"

/* How the threads share one layer: both directions, each in ranges of rows, each of
 * those in teams that share the units of every step. */
typedef struct fc_sharing {
    int threads, row_parts, members;
    int why;          /* FC_SHARED_... */
    double step_flop; /* of the recurrent product */
    bool small;       /* worth sharing only if the workers are awake */
    bool brief;       /* and only if other processes leave the cores to it */
    int now;          /* threads to use in this call: all, or one (fc_sharing_begin) */
} fc_sharing;

fc_sharing fc_share_work(const fc_stack *stack, const fc_batch *batch,
                         const fc_shape *shape, fc_pack_kind kind, ptrdiff_t total);
/* As many threads and parts as any lengths and mask could give; members 1, since those
 * of teams count as parts. */
fc_sharing fc_share_most(const fc_stack *stack, const fc_batch *batch,
                         const fc_shape *shape, fc_pack_kind kind);
void fc_sharing_begin(fc_sharing *sharing);
/* The parts of fc_share_work: fn gets `parts` of them, or fewer, and then no team. */
void fc_run_shared(fc_part_fn *fn, void *context, const fc_sharing *sharing,
                   int directions);

#endif

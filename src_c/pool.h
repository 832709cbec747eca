/* The thread pool: run a function on `parts` parts at once, wait for all of them. */
#ifndef FC_POOL_H
#define FC_POOL_H

#include <stdatomic.h>
#include <stdint.h>

typedef void fc_part_fn(void *context, int part, int parts);

/* Calls fn(context, part, parts) for part 0 .. parts-1; part 0 on this thread.  When
 * the pool is busy with another caller's work, or inside a part, all parts run here. */
void fc_run_parts(fc_part_fn *fn, void *context, int parts);

/* The same for parts that wait for one another at barriers, and so need a thread each.
 * Where there is none for all of them, or where waiting has not paid lately (the
 * machine's cores are busy), fn(context, 0, 1) runs here alone. */
void fc_run_team(fc_part_fn *fn, void *context, int parts);

/* Members of a team wait until all have come.  Starts as {0}. */
typedef struct fc_barrier {
    _Alignas(64) atomic_int waiting; /* a cache line for each */
    atomic_uint turn;
    atomic_uint last; /* the turn after which part 0 goes on alone; 0: none */
    int yields;       /* of part 0 */
    int64_t lost;     /* nanoseconds that part 0 yielded */
} fc_barrier;

void fc_barrier_wait(fc_barrier *barrier, int part, int members);

/* As fc_barrier_wait, at a point where one member could go on alone.  Returns how many
 * members go on: all, or, for part 0, 1, and for the others 0.  A member whose core is
 * taken by other work holds all others up for a time slice, ten to a hundred times a
 * step; after a few such waits part 0 disbands the team and is as fast as one thread.
 * No other team is made for ten times as long as it waited.
 */
int fc_barrier_last(fc_barrier *barrier, int part, int members);

#endif

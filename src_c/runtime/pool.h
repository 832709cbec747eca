/* The thread pool: run a function on `parts` parts at once, wait for all of them.
 *
 * Sharing work on a machine whose cores have other work costs a time slice whenever one
 * thread waits for another that is not running.  The pool keeps account: what a caller
 * waited for others beyond the time of its own part is *lost*.  When more than a little
 * is lost, no work is shared for some time, so that several threads are never much
 * slower than one.  Nor is brief work shared by a thread that is often preempted. */
#ifndef FC_POOL_H
#define FC_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef void fc_part_fn(void *context, int part, int parts);

/* Parts of work that is worth `worth` threads: at least 1, at most `most`. */
static inline int fc_useful_parts(double worth, int most) {
    return worth < 1 ? 1 : worth < most ? (int)worth : most;
}

/* Calls fn(context, part, parts) for part 0 .. parts-1; part 0 on this thread.  When
 * the pool is busy with another caller's work, or inside a part, or sharing does not
 * pay, all parts run here. */
void fc_run_parts(fc_part_fn *fn, void *context, int parts);

/* The same for parts that wait for one another at barriers, and so need a thread each.
 * Where there is none for all of them, or sharing does not pay, fn(context, 0, 1) runs
 * here alone. */
void fc_run_team(fc_part_fn *fn, void *context, int parts);

/* Work shorter than a time slice, and work with barriers, which is a row of such, does
 * not pay to share while other processes have the cores: as many parts as given, or 1.
 * The answer changes from call to call: it is for running, never for sizes. */
int fc_parts_of_brief_work(int parts);

/* fc_run_parts, for such work.  fc_run_team asks by itself. */
void fc_run_brief_parts(fc_part_fn *fn, void *context, int parts);

/* Does this call follow the last one so closely that the workers are still awake, and
 * does sharing pay?  Then even small work is worth it; to wake them for it is not. */
bool fc_calls_are_frequent(void);
void fc_call_ended(void);

/* Where a member of a team of two tells that it has come: a cache line of its own, so
 * that a turn moves one line each way, and one more, as CPUs fetch lines in pairs. */
typedef struct fc_arrival {
    _Alignas(64) atomic_uint turn;
    _Alignas(64) char apart[64];
} fc_arrival;

/* Members of a team wait until all have come.  Starts as {0}. */
typedef struct fc_barrier {
    _Alignas(64) atomic_int waiting; /* of more than two members */
    atomic_uint turn;
    fc_arrival arrival[2]; /* of two */
    /* The turn from which part 0 goes on alone; 0: none. */
    _Alignas(64) atomic_uint last;
    int64_t lost; /* nanoseconds that part 0 waited last, beyond a short spin */
} fc_barrier;

void fc_barrier_wait(fc_barrier *barrier, int part, int members);

/* As fc_barrier_wait, at a point where one member could go on alone.  Returns how many
 * members go on: all, or, when sharing does not pay, for part 0, 1, and for the others
 * 0.  `stops`, of part 0: let it be so at the next such point. */
int fc_barrier_last(fc_barrier *barrier, int part, int members, bool stops);

/* Changes when others do the work than before: another runtime's threads, or the pool's
 * own in a child of a fork in place of such. */
unsigned fc_pool_generation(void);

#endif

/* The thread pool: runs a function on `parts` parts in parallel, and waits for all.
 *
 * If other programs use the cores, sharing work costs a time slice whenever a thread
 * waits for another that is not running.  The pool counts as *lost* the time that a
 * caller waits for others beyond the time of its own part.  After more than a little is
 * lost, no work is shared for some time, so that several threads are never much slower
 * than one.  A thread that is often preempted does not share brief work either. */
#ifndef FC_POOL_H
#define FC_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef void fc_part_fn(void *context, int part, int parts);

/* The number of parts of work that pays for `worth` threads: from 1 to `most`. */
static inline int fc_useful_parts(double worth, int most) {
    return worth < 1 ? 1 : worth < most ? (int)worth : most;
}

/* Calls fn(context, part, parts) for part 0 .. parts-1; part 0 runs on this thread. All
 * parts run on this thread if the pool is busy with another caller's work, if this is
 * called inside a part, or if sharing does not pay. */
void fc_run_parts(fc_part_fn *fn, void *context, int parts);

/* The same for parts that wait for one another at barriers, so that each needs a
 * thread. If there are too few threads, or sharing does not pay, fn(context, 0, 1) runs
 * alone on this thread. */
void fc_run_team(fc_part_fn *fn, void *context, int parts);

/* Returns `parts`, or 1 while other processes use the cores: then sharing does not pay
 * for work shorter than a time slice, nor for work with barriers, which is a sequence
 * of such.  The result changes from call to call: no size may depend on it. */
int fc_parts_of_brief_work(int parts);

/* fc_run_parts for brief work, with fc_parts_of_brief_work.  fc_run_team includes it.
 */
void fc_run_brief_parts(fc_part_fn *fn, void *context, int parts);

/* Whether sharing pays and this call follows the last one so closely that the workers
 * are still awake.  Then even small work is shared; waking workers for it does not pay.
 */
bool fc_calls_are_frequent(void);
void fc_call_ended(void);

/* The arrival counter of a member of a team of two.  It has its own cache line, so that
 * a turn moves one line each way, and a second line, because CPUs fetch lines in pairs.
 */
typedef struct fc_arrival {
    _Alignas(64) atomic_uint turn;
    _Alignas(64) char apart[64];
} fc_arrival;

/* A barrier of a team: members wait until all have arrived.  Initialised with {0}. */
typedef struct fc_barrier {
    _Alignas(64) atomic_int waiting; /* of more than two members */
    atomic_uint turn;
    fc_arrival arrival[2]; /* of two */
    /* The turn from which part 0 continues alone; 0: none. */
    _Alignas(64) atomic_uint last;
    int64_t lost; /* nanoseconds of part 0's last wait, beyond a short spin */
} fc_barrier;

void fc_barrier_wait(fc_barrier *barrier, int part, int members);

/* As fc_barrier_wait, at a point where one member can continue alone.  Returns the
 * number of members that continue: all of them; or, if sharing does not pay, 1 for part
 * 0 and 0 for the others.  `stops`, of part 0: continue alone from the next such point.
 */
int fc_barrier_last(fc_barrier *barrier, int part, int members, bool stops);

/* Changes when others do the work than before: another runtime's threads, or the pool's
 * own in a child of a fork in place of such. */
unsigned fc_pool_generation(void);

#endif

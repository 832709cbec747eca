/* What it costs on this machine to share work among threads.
 *
 * A barrier costs 0.1 us on one machine and 0.5 on another, to wake a thread 5 us or
 * 50.  So it is measured, once, when a decision first depends on it, in 2 ms at most;
 * never for calls that have one thread.  Who computes follows from it, and nothing
 * else: no size of memory, and no value. */
#ifndef FC_COSTS_H
#define FC_COSTS_H

#include <stdbool.h>

/* FLOP of one step for each member of a team, with `turns` barriers in the step, below
 * which the barriers cost more than a member spares.  `flop`: what each would have.
 * Where that is far more than any machine's barrier costs, nothing is measured. */
double fc_least_of_a_member(double flop, int turns);

/* FLOP of a part below which a job costs more than the part spares, handed to threads
 * that are awake, or sleep.  `flop`, as above. */
double fc_least_of_a_part(double flop, bool awake);

#endif

/* The costs of sharing work among threads on this machine, and thresholds from them.
 *
 * A barrier costs 0.1 us on one machine and 0.5 us on another, waking a thread 5 us or
 * 50.  So each cost is measured, once, when a decision first depends on it, in 2 ms at
 * most; never for calls with one thread.  The costs only determine which thread
 * computes what: no size of memory and no value depends on them. */
#ifndef FC_COSTS_H
#define FC_COSTS_H

#include <stdbool.h>

/* The least FLOP per member and step for which a team pays, with `turns` barriers in
 * the step.  `flop`: what each member would have; if it is far more than any machine's
 * barrier costs, nothing is measured. */
double fc_least_of_a_member(double flop, int turns);

/* The least FLOP of a part for which a job pays, with threads that are awake or asleep.
 * `flop`: as above. */
double fc_least_of_a_part(double flop, bool awake);

#endif

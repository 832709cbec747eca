/* Ending a call before it is done.
 *
 * The caller's thread asks a function of the caller's (fc_set_stop) now and then; where
 * the answer is yes, `stopped` is set, and all threads of the call leave out what work
 * is left.  Results are garbage then, so that nobody needs to agree with anybody on
 * where to end; but who waits at barriers ends at the same one (fc_barrier_last). */
#ifndef FC_WATCH_H
#define FC_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fc_watch {
    _Alignas(64) int (*stop)(void *); /* or NULL: never */
    void *context;
    struct fc_watch *outer; /* of the call whose `stop` made this one */
    atomic_bool stopped;
    /* The caller's alone, in a cache line that no other thread reads. */
    _Alignas(64) int64_t work; /* that may be done before the next look at the clock */
    int64_t next;              /* when to ask again, by fc_now_ns; 0: not known yet */
} fc_watch;

/* Around one call, on the caller's thread. */
void fc_watch_begin(fc_watch *watch);
/* Was it stopped? */
bool fc_watch_end(fc_watch *watch);

/* A look at the clock costs 25 ns; so much work takes 10 us, and a few milliseconds
 * where the machine is slow. */
enum { FC_WORK_BETWEEN_LOOKS = 1000 * 1000 };

bool fc_watch_asks(fc_watch *watch, int64_t work);

/* Is the call to end?  Asks, if it is time, and if this is the caller's thread. `work`,
 * about the FLOP or bytes done since the last question, tells when to look at the clock
 * at all. */
static inline bool fc_stops(fc_watch *watch, int64_t work) {
    return watch->stop && fc_watch_asks(watch, work);
}

/* The same at a step of a loop that takes a tenth of a microsecond.  *left, at first
 * FC_WORK_BETWEEN_LOOKS, is the loop's own. */
static inline bool fc_stops_step(fc_watch *watch, int64_t work, int64_t *left) {
    *left -= work;
    if (*left > 0)
        return false;
    *left = FC_WORK_BETWEEN_LOOKS;
    return fc_stops(watch, FC_WORK_BETWEEN_LOOKS);
}

static inline bool fc_stopped(const fc_watch *watch) {
    return atomic_load_explicit(&watch->stopped, memory_order_relaxed);
}

/* For a caller that waits for other threads: ask, if it is time.  False where there is
 * nobody to ask, so that it may sleep as long as it likes. */
bool fc_watch_while_waiting(void);

int64_t fc_now_ns(void);

/* Is this a child whose parent forked in the middle of its own call?  It has the call,
 * but not the other threads: the call ends (the pool sets this). */
extern _Thread_local bool fc_orphaned;

#endif

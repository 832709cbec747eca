/* Interruption of a call by the function of fc_set_stop.
 *
 * The calling thread calls that function now and then.  If it returns not 0, `stopped`
 * is set, and all threads of the call skip the rest of their work.  The results are
 * garbage then, so threads may end at different points; only threads with barriers end
 * at the same one (fc_barrier_last). */
#ifndef FC_WATCH_H
#define FC_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fc_watch {
    _Alignas(64) int (*stop)(void *); /* or NULL: never */
    void *context;
    struct fc_watch *outer; /* of the call whose `stop` made this call, or NULL */
    atomic_bool stopped;
    /* Only for the caller's thread, in a cache line that no other thread reads. */
    _Alignas(64) int64_t work; /* left until the clock is read next */
    int64_t next;              /* time of the next call of stop; 0: not set yet */
} fc_watch;

/* Begin and end one call, on its thread. */
void fc_watch_begin(fc_watch *watch);
/* Returns whether it was stopped. */
bool fc_watch_end(fc_watch *watch);

/* Reading the clock costs 25 ns; so much work takes 10 us, on slow machines a few
 * milliseconds. */
enum { FC_WORK_BETWEEN_LOOKS = 1000 * 1000 };

bool fc_watch_asks(fc_watch *watch, int64_t work);

/* Returns whether the call is to end.  On the caller's thread it calls `stop` if it is
 * time.  `work`: about the FLOP or bytes since the last call of this; the clock is only
 * read after enough work. */
static inline bool fc_stops(fc_watch *watch, int64_t work) {
    return watch->stop && fc_watch_asks(watch, work);
}

/* The same for a loop whose steps take a tenth of a microsecond.  *left, initially
 * FC_WORK_BETWEEN_LOOKS, belongs to the loop. */
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

/* For a caller that waits for other threads: calls `stop` if it is time.  Returns false
 * if there is none, so that the caller may sleep without a limit. */
bool fc_watch_while_waiting(void);

int64_t fc_now_ns(void);

/* Whether this is a child of a fork inside a call.  It has the call, but not the other
 * threads, so the call ends.  Set by the pool. */
extern _Thread_local bool fc_orphaned;

#endif

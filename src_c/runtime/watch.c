#include "runtime/watch.h"

#include <time.h>

#include "fastcell.h"

/* `stop` may wait some milliseconds for a lock (Python's): at most a twentieth of the
 * time is spent in it. */
enum { LEAST_PAUSE_NS = 20 * 1000 * 1000, MOST_PAUSE_NS = 100 * 1000 * 1000 };
enum { PAUSE_OF_AN_ANSWER = 20 };

static _Thread_local int (*stop_of_thread)(void *);
static _Thread_local void *context_of_thread;
static _Thread_local fc_watch *innermost; /* of the nested calls of this thread */
_Thread_local bool fc_orphaned;

void fc_set_stop(int (*stop)(void *), void *context) {
    stop_of_thread = stop;
    context_of_thread = context;
}

int64_t fc_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void fc_watch_begin(fc_watch *watch) {
    watch->stop = stop_of_thread;
    watch->context = context_of_thread;
    watch->outer = innermost;
    watch->work = FC_WORK_BETWEEN_LOOKS;
    watch->next = 0;
    atomic_init(&watch->stopped, false);
    innermost = watch;
}

bool fc_watch_end(fc_watch *watch) {
    innermost = watch->outer;
    return fc_stopped(watch);
}

static void ask(fc_watch *watch, int64_t now) {
    bool stops = watch->stop(watch->context);
    if (stops || fc_orphaned)
        atomic_store(&watch->stopped, true);
    int64_t after = fc_now_ns(), pause = PAUSE_OF_AN_ANSWER * (after - now);
    pause = pause > LEAST_PAUSE_NS ? pause : LEAST_PAUSE_NS;
    watch->next = after + (pause < MOST_PAUSE_NS ? pause : MOST_PAUSE_NS);
}

static void look_at_clock(fc_watch *watch) {
    int64_t now = fc_now_ns();
    watch->work = FC_WORK_BETWEEN_LOOKS;
    if (!watch->next)
        watch->next = now + LEAST_PAUSE_NS;
    else if (now >= watch->next && !fc_stopped(watch))
        ask(watch, now);
}

bool fc_watch_asks(fc_watch *watch, int64_t work) {
    if (watch == innermost) {
        watch->work -= work;
        if (watch->work <= 0)
            look_at_clock(watch);
    }
    return fc_stopped(watch);
}

bool fc_watch_while_waiting(void) {
    if (!innermost || !innermost->stop)
        return false;
    look_at_clock(innermost);
    return true;
}

/* The thread pool: workers, jobs, teams with barriers, and OpenMP in their place.
 *
 * One job runs at a time.  A caller that finds the pool busy runs its parts itself,
 * which is as fast on busy cores and cannot deadlock.  Workers spin briefly for the
 * next job, then sleep: spinning longer would take a core from other threads, sleeping
 * at once would cost a wake-up between the calls of one training step.
 *
 * After fc_use_openmp the threads of an OpenMP runtime replace the pool's: two sets of
 * threads would take the cores from each other.
 *
 * After fork the child has no workers: a handler resets the pool, and the child starts
 * its own at the first need.  Workers end with fc_shutdown, and when the library, whose
 * code they run, is unloaded or the process exits. */
#define _GNU_SOURCE /* RUSAGE_THREAD */
#include "runtime/pool.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "fastcell.h"
#include "runtime/watch.h"

enum { MOST_WORKERS = 255 };
/* A pause takes 3 to 45 ns, depending on the CPU, so spinning is timed by the clock. */
enum { SPIN_NS = 50 * 1000, PAUSES_BETWEEN_LOOKS = 64 };
/* If more than MOST_LOST_NS is lost, no work is shared for ten times the lost time, but
 * MOST_ALONE_NS at most: the others' work may end at any time, as when another
 * library's workers spin after their call. */
enum { MOST_LOST_NS = 1000 * 1000, MOST_ALONE_NS = 20 * 1000 * 1000, ALONE_TIMES = 10 };
enum { FREQUENT_NS = 40 * 1000 };    /* the workers still spin */
enum { WAIT_NS = 10 * 1000 * 1000 }; /* of a caller with an fc_set_stop function */
/* A thread that shares its core with one other thread is preempted 108 times a second
 * (Linux 6.18: time slices of some milliseconds); on a quiet machine, 4 times, by the
 * system's own work. */
enum { CROWD_SAMPLE_NS = 100 * 1000 * 1000, CROWDED_EACH_NS = 33 * 1000 * 1000 };

static struct {
    pthread_mutex_t job; /* held by the caller whose job runs */
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    int workers;
    pthread_t thread[MOST_WORKERS];
    pid_t process; /* that started the workers */
    bool ends;     /* the workers are to return */
    /* The job; a new one has a new `number`. */
    atomic_uint number;
    fc_part_fn *fn;
    void *context;
    int parts;
    atomic_int left; /* workers that have not finished with this job */
    _Atomic int64_t lost, alone_until; /* nanoseconds; the second by fc_now_ns */
} pool = {
    .job = PTHREAD_MUTEX_INITIALIZER,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .wake = PTHREAD_COND_INITIALIZER,
    .done = PTHREAD_COND_INITIALIZER,
};

static fc_openmp openmp; /* or NULLs; guarded by pool.job */
static atomic_uint generation;

static _Thread_local bool inside;
/* Whether this thread holds pool.job: then calls of its fc_set_stop function may not
 * wait for it. */
static _Thread_local bool holds_job;

static void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* One turn of a spinning loop; false if it is time to sleep or yield.  *spins,
 * initially 0, belongs to the loop. */
static bool spins_on(int64_t *until, int *spins) {
    pause_briefly();
    if (++*spins % PAUSES_BETWEEN_LOOKS)
        return true;
    int64_t now = fc_now_ns();
    if (!*until)
        *until = now + SPIN_NS;
    return now < *until;
}

/* Arguments of a worker: it runs part `part` of each job after job number `seen`. */
typedef struct start {
    int part;
    unsigned seen;
} start;

static start starts[MOST_WORKERS];

static void *worker(void *argument) {
    int mine = ((start *)argument)->part;
    unsigned seen = ((start *)argument)->seen;
    inside = true;
    for (;;) {
        int64_t until = 0;
        int spins = 0;
        while (atomic_load(&pool.number) == seen && spins_on(&until, &spins)) {
        }
        if (atomic_load(&pool.number) == seen) {
            pthread_mutex_lock(&pool.lock);
            while (atomic_load(&pool.number) == seen)
                pthread_cond_wait(&pool.wake, &pool.lock);
            pthread_mutex_unlock(&pool.lock);
        }
        seen = atomic_load(&pool.number);
        if (pool.ends)
            return NULL;
        if (mine < pool.parts)
            pool.fn(pool.context, mine, pool.parts);
        if (atomic_fetch_sub(&pool.left, 1) == 1) {
            pthread_mutex_lock(&pool.lock);
            pthread_cond_signal(&pool.done);
            pthread_mutex_unlock(&pool.lock);
        }
    }
}

static void before_fork(void) {
    if (!holds_job)
        pthread_mutex_lock(&pool.job);
    pthread_mutex_lock(&pool.lock);
}

static void after_fork_in_parent(void) {
    pthread_mutex_unlock(&pool.lock);
    if (!holds_job)
        pthread_mutex_unlock(&pool.job);
}

static void after_fork_in_child(void) {
    if (openmp.parallel)
        atomic_fetch_add(&generation, 1);
    openmp.parallel = NULL;
    pool.workers = 0;
    pool.ends = false;
    atomic_store(&pool.number, 0);
    atomic_store(&pool.left, 0);
    pthread_cond_init(&pool.wake, NULL);
    pthread_cond_init(&pool.done, NULL);
    pthread_mutex_init(&pool.lock, NULL);
    pthread_mutex_init(&pool.job, NULL);
    if (holds_job) {
        pthread_mutex_lock(&pool.job);
        fc_orphaned = true;
    }
}

static void register_fork_handlers(void) {
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

static void watch_forks(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_fork_handlers);
}

/* Starts workers until there are `wanted`; fewer if the system refuses.  Returns
 * whether any was started. */
static bool start_workers(int wanted) {
    watch_forks();
    int before = pool.workers;
    pool.process = getpid();
    while (pool.workers < wanted && pool.workers < MOST_WORKERS) {
        start *from = &starts[pool.workers];
        *from = (start){pool.workers + 1, atomic_load(&pool.number)};
        if (pthread_create(&pool.thread[pool.workers], NULL, worker, from))
            break;
        pool.workers++;
    }
    return pool.workers > before;
}

/* The caller holds pool.job.  A process forked without the handlers has no workers to
 * wait for, whatever its copied count says. */
static void end_workers(void) {
    if (pool.workers == 0 || pool.process != getpid())
        return;
    pthread_mutex_lock(&pool.lock);
    pool.ends = true;
    atomic_fetch_add(&pool.number, 1);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
    for (int i = 0; i < pool.workers; i++)
        pthread_join(pool.thread[i], NULL);
    pool.workers = 0;
    pool.ends = false;
}

void fc_shutdown(void) {
    if (inside || holds_job)
        return;
    pthread_mutex_lock(&pool.job);
    end_workers();
    pthread_mutex_unlock(&pool.job);
}

/* A call that still runs in another thread keeps its workers: the exit of a process
 * does not wait for it. */
__attribute__((destructor)) static void at_unload(void) {
    if (inside || holds_job || pthread_mutex_trylock(&pool.job))
        return;
    end_workers();
    pthread_mutex_unlock(&pool.job);
}

void fc_use_openmp(const fc_openmp *runtime) {
    if (inside || holds_job)
        return;
    watch_forks();
    pthread_mutex_lock(&pool.job);
    end_workers();
    openmp = runtime ? *runtime : (fc_openmp){NULL, NULL, NULL, NULL};
    atomic_fetch_add(&generation, 1);
    pthread_mutex_unlock(&pool.job);
}

unsigned fc_pool_generation(void) { return atomic_load(&generation); }

static void run_here(fc_part_fn *fn, void *context, int first, int parts) {
    for (int part = first; part < parts; part++)
        fn(context, part, parts);
}

/* Adds `waited` nanoseconds to the lost time. */
static void account(int64_t waited) {
    int64_t lost = atomic_load(&pool.lost) + waited;
    if (lost > MOST_LOST_NS) {
        int64_t alone = ALONE_TIMES * lost;
        alone = alone < MOST_ALONE_NS ? alone : MOST_ALONE_NS;
        atomic_store(&pool.alone_until, fc_now_ns() + alone);
        lost = 0;
    }
    atomic_store(&pool.lost, lost);
}

/* The system's count of preemptions of this thread; 0 if it has none. */
static int64_t preemptions(void) {
#ifdef RUSAGE_THREAD
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) ? 0 : usage.ru_nivcsw;
#else
    return 0;
#endif
}

static bool cores_are_crowded(void) {
    static _Thread_local int64_t sampled, count;
    static _Thread_local bool crowded;
    int64_t now = fc_now_ns();
    if (now - sampled >= CROWD_SAMPLE_NS) {
        int64_t before = count;
        count = preemptions();
        crowded = sampled && (count - before) * CROWDED_EACH_NS >= now - sampled;
        sampled = now;
    }
    return crowded;
}

int fc_parts_of_brief_work(int parts) {
    return parts > 1 && cores_are_crowded() ? 1 : parts;
}

static bool sharing_pays(void) { return fc_now_ns() >= atomic_load(&pool.alone_until); }

/* A caller with an fc_set_stop function wakes every WAIT_NS to call it. */
static void wait_for_workers(void) {
    int64_t spin_until = 0;
    int spins = 0;
    while (atomic_load(&pool.left) && spins_on(&spin_until, &spins)) {
    }
    while (atomic_load(&pool.left)) {
        bool watches = fc_watch_while_waiting();
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += WAIT_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_mutex_lock(&pool.lock);
        if (watches && atomic_load(&pool.left))
            pthread_cond_timedwait(&pool.done, &pool.lock, &until);
        while (!watches && atomic_load(&pool.left))
            pthread_cond_wait(&pool.done, &pool.lock);
        pthread_mutex_unlock(&pool.lock);
    }
}

/* Accounts for a caller that worked `work` nanoseconds on its part and then waited. */
static void account_job(int64_t work, int64_t waited, int64_t lost_before) {
    /* Alone it would have taken at least the time of its own part once more. */
    if (waited > work)
        account(waited - work);
    else if (atomic_load(&pool.lost) == lost_before)
        atomic_store(&pool.lost, lost_before / 2);
}

/* A job for the threads of OpenMP. */
typedef struct shared_job {
    fc_part_fn *fn;
    void *context;
    int parts;
    bool team;
    int64_t end; /* of part 0 */
    sigjmp_buf out;
} shared_job;

static void take_parts(void *data) {
    shared_job *job = data;
    int mine = openmp.thread_num(), threads = openmp.num_threads();
    bool caller = holds_job;
    inside = true;
    if (threads >= job->parts || !job->team)
        for (int part = mine; part < job->parts; part += threads)
            job->fn(job->context, part, job->parts);
    else if (caller)
        job->fn(job->context, 0, 1);
    inside = false;
    if (!caller)
        return;
    job->end = fc_now_ns();
    if (fc_orphaned) /* the region's other threads do not exist here */
        siglongjmp(job->out, 1);
}

/* The caller holds pool.job. */
static void run_by_openmp(fc_part_fn *fn, void *context, int parts, bool team) {
    shared_job job = {.fn = fn, .context = context, .parts = parts, .team = team};
    int64_t lost = atomic_load(&pool.lost), begin = fc_now_ns();
    if (sigsetjmp(job.out, 0) == 0) {
        /* As many threads as other regions of the process have: for fewer, the runtime
         * would end some. */
        int most = openmp.max_threads();
        openmp.parallel(take_parts, &job, (unsigned)(most > parts ? most : parts), 0);
        account_job(job.end - begin, fc_now_ns() - job.end, lost);
    }
    fc_orphaned = false;
}

/* The caller holds pool.job.  Parts without a worker run here. */
static void run_by_workers(fc_part_fn *fn, void *context, int parts, bool started) {
    pthread_mutex_lock(&pool.lock);
    pool.fn = fn;
    pool.context = context;
    pool.parts = parts;
    atomic_store(&pool.left, pool.workers);
    atomic_fetch_add(&pool.number, 1);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
    inside = true;
    int64_t lost = atomic_load(&pool.lost), begin = fc_now_ns();
    fn(context, 0, parts);
    run_here(fn, context, pool.workers + 1, parts);
    int64_t end = fc_now_ns();
    inside = false;
    wait_for_workers();
    fc_orphaned = false;
    if (!started) /* starting threads takes time, which is not lost */
        account_job(end - begin, fc_now_ns() - end, lost);
}

/* The caller holds pool.job.  Returns false, and runs nothing, for a team with too few
 * workers. */
static bool run_job(fc_part_fn *fn, void *context, int parts, bool team) {
    if (openmp.parallel) {
        run_by_openmp(fn, context, parts, team);
        return true;
    }
    bool started = start_workers(parts - 1);
    if (team && pool.workers < parts - 1)
        return false;
    run_by_workers(fn, context, parts, started);
    return true;
}

static bool take_job(void) {
    if (inside || holds_job || pthread_mutex_trylock(&pool.job))
        return false;
    return holds_job = true;
}

static void give_job(void) {
    holds_job = false;
    pthread_mutex_unlock(&pool.job);
}

void fc_run_parts(fc_part_fn *fn, void *context, int parts) {
    if (parts <= 1 || !sharing_pays() || !take_job()) {
        run_here(fn, context, 0, parts);
        return;
    }
    run_job(fn, context, parts, false);
    give_job();
}

void fc_run_brief_parts(fc_part_fn *fn, void *context, int parts) {
    fc_run_parts(fn, context, fc_parts_of_brief_work(parts));
}

void fc_run_team(fc_part_fn *fn, void *context, int parts) {
    if (fc_parts_of_brief_work(parts) > 1 && sharing_pays() && take_job()) {
        bool done = run_job(fn, context, parts, true);
        give_job();
        if (done)
            return;
    }
    fn(context, 0, 1);
}

static _Atomic int64_t last_end;

bool fc_calls_are_frequent(void) {
    return fc_now_ns() - atomic_load(&last_end) < FREQUENT_NS && sharing_pays();
}

void fc_call_ended(void) { atomic_store(&last_end, fc_now_ns()); }

/* Spins, then yields, until *turn is `wanted` or later. */
static void wait_for_turn(fc_barrier *barrier, int part, atomic_uint *turn,
                          unsigned wanted) {
    int64_t until = 0;
    int spins = 0;
    do {
        if ((int)(atomic_load_explicit(turn, memory_order_acquire) - wanted) >= 0)
            return;
    } while (spins_on(&until, &spins));
    int64_t before = fc_now_ns();
    while ((int)(atomic_load(turn) - wanted) < 0 && !fc_orphaned)
        sched_yield();
    if (part == 0)
        barrier->lost = fc_now_ns() - before;
}

/* Returns the number of the turn, 1 for the first. */
static unsigned wait_turn(fc_barrier *barrier, int part, int members) {
    if (members == 2) {
        /* The other member may reach the next turn before this one sees it here. */
        atomic_uint *own = &barrier->arrival[part].turn;
        unsigned turn = atomic_load_explicit(own, memory_order_relaxed) + 1;
        atomic_store_explicit(own, turn, memory_order_release);
        wait_for_turn(barrier, part, &barrier->arrival[!part].turn, turn);
        return turn;
    }
    unsigned turn = atomic_load(&barrier->turn) + 1;
    if (atomic_fetch_add(&barrier->waiting, 1) == members - 1) {
        atomic_store(&barrier->waiting, 0);
        atomic_store(&barrier->turn, turn);
    } else {
        wait_for_turn(barrier, part, &barrier->turn, turn);
    }
    return turn;
}

/* Part 0 after a turn: lost time, or a stop, makes the next turn the last one.  In the
 * last turn its number is not changed: the others may not have read it yet. */
static void account_turn(fc_barrier *barrier, unsigned turn, bool ends, bool stops) {
    if (barrier->lost) {
        account(barrier->lost);
        barrier->lost = 0;
        stops = stops || !sharing_pays();
    }
    if (!ends && stops)
        atomic_store(&barrier->last, turn + 1);
}

void fc_barrier_wait(fc_barrier *barrier, int part, int members) {
    if (members == 1)
        return;
    unsigned turn = wait_turn(barrier, part, members);
    if (part == 0)
        account_turn(barrier, turn, false, false);
}

int fc_barrier_last(fc_barrier *barrier, int part, int members, bool stops) {
    if (members == 1)
        return 1;
    /* Compared by number, because part 0 may have reached the next turn when another
     * reads it.  Turns of fc_barrier_wait lie between: the last turn is the first of
     * these points at or after it. */
    unsigned turn = wait_turn(barrier, part, members);
    unsigned last = atomic_load(&barrier->last);
    bool ends = (last && (int)(turn - last) >= 0) || fc_orphaned;
    if (part == 0)
        account_turn(barrier, turn, ends, stops);
    return ends ? part == 0 : members;
}

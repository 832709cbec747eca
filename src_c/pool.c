/* A pool of parked threads.
 *
 * One job at a time: a caller that finds the pool busy runs its parts itself, which is
 * as fast when the cores are busy anyway, and cannot deadlock.  Workers spin briefly
 * for the next job, then sleep: spinning longer would steal the core of whoever has
 * work, sleeping at once would cost a wake-up between the calls of one training step.
 *
 * After fork the child has no workers; the handler resets the pool, and the child
 * starts its own when first needed. */
#define _GNU_SOURCE /* RUSAGE_THREAD */
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <time.h>

enum { MOST_WORKERS = 255, SPINS = 2000 };
/* When more than the first is lost, no work is shared for ten times as long, the second
 * at most: other threads' work may end at any time, as where another library's workers
 * spin after their call. */
enum { MOST_LOST_NS = 1000 * 1000, MOST_ALONE_NS = 20 * 1000 * 1000, ALONE_TIMES = 10 };
enum { FREQUENT_NS = 50 * 1000 };
/* A thread that shares its core is preempted once in as many time slices, of some
 * milliseconds, as there are threads on it: with one other 108 times a second (Linux
 * 6.18); on a quiet machine, by the system's own work, 4 times. */
enum { CROWD_SAMPLE_NS = 100 * 1000 * 1000, CROWDED_EACH_NS = 33 * 1000 * 1000 };

static struct {
    pthread_mutex_t job; /* held by the caller whose job runs */
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    int workers;
    /* The job.  `number` tells a new one from the last. */
    atomic_uint number;
    fc_part_fn *fn;
    void *context;
    int parts;
    atomic_int left; /* workers that have not finished with this job */
    _Atomic int64_t lost, alone_until; /* nanoseconds; the second by now_ns */
} pool = {
    .job = PTHREAD_MUTEX_INITIALIZER,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .wake = PTHREAD_COND_INITIALIZER,
    .done = PTHREAD_COND_INITIALIZER,
};

static _Thread_local bool inside;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* A worker takes part `part` of every job that has it, after job number `seen`. */
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
        for (int spin = 0; spin < SPINS && atomic_load(&pool.number) == seen; spin++)
            pause_briefly();
        if (atomic_load(&pool.number) == seen) {
            pthread_mutex_lock(&pool.lock);
            while (atomic_load(&pool.number) == seen)
                pthread_cond_wait(&pool.wake, &pool.lock);
            pthread_mutex_unlock(&pool.lock);
        }
        seen = atomic_load(&pool.number);
        if (mine < pool.parts)
            pool.fn(pool.context, mine, pool.parts);
        if (atomic_fetch_sub(&pool.left, 1) == 1) {
            pthread_mutex_lock(&pool.lock);
            pthread_cond_signal(&pool.done);
            pthread_mutex_unlock(&pool.lock);
        }
    }
    return NULL;
}

static void before_fork(void) {
    pthread_mutex_lock(&pool.job);
    pthread_mutex_lock(&pool.lock);
}

static void after_fork_in_parent(void) {
    pthread_mutex_unlock(&pool.lock);
    pthread_mutex_unlock(&pool.job);
}

static void after_fork_in_child(void) {
    pool.workers = 0;
    atomic_store(&pool.number, 0);
    pthread_cond_init(&pool.wake, NULL);
    pthread_cond_init(&pool.done, NULL);
    pthread_mutex_init(&pool.lock, NULL);
    pthread_mutex_init(&pool.job, NULL);
}

static void register_fork_handlers(void) {
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* Start workers until there are `wanted`; fewer if the system refuses.  Were any? */
static bool start_workers(int wanted) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_fork_handlers);
    int before = pool.workers;
    while (pool.workers < wanted && pool.workers < MOST_WORKERS) {
        pthread_t thread;
        start *from = &starts[pool.workers];
        *from = (start){pool.workers + 1, atomic_load(&pool.number)};
        if (pthread_create(&thread, NULL, worker, from))
            break;
        pthread_detach(thread);
        pool.workers++;
    }
    return pool.workers > before;
}

static void run_here(fc_part_fn *fn, void *context, int first, int parts) {
    for (int part = first; part < parts; part++)
        fn(context, part, parts);
}

/* A caller has waited so many nanoseconds in vain. */
static void account(int64_t waited) {
    int64_t lost = atomic_load(&pool.lost) + waited;
    if (lost > MOST_LOST_NS) {
        int64_t alone = ALONE_TIMES * lost;
        alone = alone < MOST_ALONE_NS ? alone : MOST_ALONE_NS;
        atomic_store(&pool.alone_until, now_ns() + alone);
        lost = 0;
    }
    atomic_store(&pool.lost, lost);
}

/* Of this thread, by the system's count; 0 where it keeps none. */
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
    int64_t now = now_ns();
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

static bool sharing_pays(void) { return now_ns() >= atomic_load(&pool.alone_until); }

/* The caller holds pool.job.  Parts without a worker run here. */
static void run_job(fc_part_fn *fn, void *context, int parts, bool started) {
    pthread_mutex_lock(&pool.lock);
    pool.fn = fn;
    pool.context = context;
    pool.parts = parts;
    atomic_store(&pool.left, pool.workers);
    atomic_fetch_add(&pool.number, 1);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
    inside = true;
    int64_t lost = atomic_load(&pool.lost), begin = now_ns();
    fn(context, 0, parts);
    run_here(fn, context, pool.workers + 1, parts);
    int64_t end = now_ns();
    inside = false;
    for (int spin = 0; spin < SPINS && atomic_load(&pool.left); spin++)
        pause_briefly();
    if (atomic_load(&pool.left)) {
        pthread_mutex_lock(&pool.lock);
        while (atomic_load(&pool.left))
            pthread_cond_wait(&pool.done, &pool.lock);
        pthread_mutex_unlock(&pool.lock);
    }
    /* Alone it would have taken the time of its own part once more, at least. */
    int64_t work = end - begin, waited = now_ns() - end;
    if (waited <= work && atomic_load(&pool.lost) == lost)
        atomic_store(&pool.lost, lost / 2);
    else if (waited > work && !started) /* threads that come into being take time */
        account(waited - work);
}

void fc_run_parts(fc_part_fn *fn, void *context, int parts) {
    if (parts <= 1 || inside || !sharing_pays() || pthread_mutex_trylock(&pool.job)) {
        run_here(fn, context, 0, parts);
        return;
    }
    run_job(fn, context, parts, start_workers(parts - 1));
    pthread_mutex_unlock(&pool.job);
}

void fc_run_brief_parts(fc_part_fn *fn, void *context, int parts) {
    fc_run_parts(fn, context, fc_parts_of_brief_work(parts));
}

void fc_run_team(fc_part_fn *fn, void *context, int parts) {
    if (fc_parts_of_brief_work(parts) > 1 && !inside && sharing_pays() &&
        !pthread_mutex_trylock(&pool.job)) {
        bool started = start_workers(parts - 1);
        bool enough = pool.workers >= parts - 1;
        if (enough)
            run_job(fn, context, parts, started);
        pthread_mutex_unlock(&pool.job);
        if (enough)
            return;
    }
    fn(context, 0, 1);
}

static _Atomic int64_t last_end;

bool fc_calls_are_frequent(void) {
    return now_ns() - atomic_load(&last_end) < FREQUENT_NS && sharing_pays();
}

void fc_call_ended(void) { atomic_store(&last_end, now_ns()); }

/* Returns the number of the turn, 1 for the first. */
static unsigned wait_turn(fc_barrier *barrier, int part, int members) {
    unsigned turn = atomic_load(&barrier->turn);
    if (atomic_fetch_add(&barrier->waiting, 1) == members - 1) {
        atomic_store(&barrier->waiting, 0);
        atomic_store(&barrier->turn, turn + 1);
        return turn + 1;
    }
    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load(&barrier->turn) != turn)
            return turn + 1;
        pause_briefly();
    }
    int64_t before = now_ns();
    while (atomic_load(&barrier->turn) == turn)
        sched_yield();
    if (part == 0)
        barrier->lost = now_ns() - before;
    return turn + 1;
}

/* Part 0 after a turn: what it has lost may make the next turn the last.  In the last
 * one it leaves its number alone: the others may not have read it yet. */
static void account_turn(fc_barrier *barrier, unsigned turn, bool ends) {
    if (!barrier->lost)
        return;
    account(barrier->lost);
    barrier->lost = 0;
    if (!ends && !sharing_pays())
        atomic_store(&barrier->last, turn + 1);
}

void fc_barrier_wait(fc_barrier *barrier, int part, int members) {
    if (members == 1)
        return;
    unsigned turn = wait_turn(barrier, part, members);
    if (part == 0)
        account_turn(barrier, turn, false);
}

int fc_barrier_last(fc_barrier *barrier, int part, int members) {
    if (members == 1)
        return 1;
    /* By number: part 0 may have come to the next turn when another reads this. */
    unsigned turn = wait_turn(barrier, part, members);
    bool ends = turn == atomic_load(&barrier->last);
    if (part == 0)
        account_turn(barrier, turn, ends);
    return ends ? part == 0 : members;
}

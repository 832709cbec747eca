#include "runtime/costs.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#include "fastcell.h"
#include "runtime/cache.h"
#include "runtime/dispatch.h"
#include "runtime/pool.h"

/* Sharing must save more than it costs by this factor: measurements are the best of
 * some trials, and threads may arrive late. */
#define MARGIN 1.2
/* The factor is smaller for a barrier: members also share input parts and gates, and
 * the weights of R come from a farther cache than those measured here. */
#define MARGIN_OF_A_TURN 0.9
/* Upper bounds of a barrier and of waking a thread on any machine: larger work needs no
 * measurement, and a longer measurement was disturbed by other work of the cores. */
enum { MOST_TURN_NS = 4 * 1000, MOST_WAKE_NS = 200 * 1000 };
/* The pause after a failed measurement; it doubles after each further one. */
enum { REST_NS = 100 * 1000 * 1000, MOST_DOUBLINGS = 7 };
/* Upper bound of a thread's rate for one row. */
enum { MOST_FLOP_PER_NS = 256 };

/* Typical costs, used while none could be measured because the cores were busy. */
static const fc_thread_costs usual = {
    .turn_ns = 300, .hand_over_ns = 1000, .wake_ns = 30 * 1000, .flop_per_ns = 40};

enum { TURN, HAND_OVER, WAKE, FLOP, COSTS };
static struct {
    _Atomic int64_t known; /* ps, or FLOP in a microsecond; -1: not known */
    _Atomic int64_t again; /* when to measure, by fc_now_ns */
    atomic_int failures;
} of[COSTS] = {{.known = -1}, {.known = -1}, {.known = -1}, {.known = -1}};
static atomic_bool given;       /* by fc_set_thread_costs */
static atomic_uint measured_of; /* the pool's generation */
static atomic_flag measuring = ATOMIC_FLAG_INIT;

fc_status fc_set_thread_costs(const fc_thread_costs *costs) {
    const double most = 1e12;
    double wanted[COSTS] = {0};
    if (costs) {
        wanted[TURN] = costs->turn_ns;
        wanted[HAND_OVER] = costs->hand_over_ns;
        wanted[WAKE] = costs->wake_ns;
        wanted[FLOP] = costs->flop_per_ns;
        for (int i = 0; i < COSTS; i++)
            if (!(wanted[i] >= 0 && wanted[i] <= most))
                return FC_BAD_ARGUMENT;
    }
    for (int i = 0; i < COSTS; i++) {
        atomic_store(&of[i].known, costs ? (int64_t)(1000 * wanted[i]) : -1);
        atomic_store(&of[i].again, 0);
        atomic_store(&of[i].failures, 0);
    }
    atomic_store(&given, costs != NULL);
    return FC_OK;
}

/* Forgets costs measured with other threads than the pool's present ones. */
static void forget_others(void) {
    unsigned now = fc_pool_generation();
    if (atomic_load(&measured_of) == now) /* nearly always: no write, as it is shared */
        return;
    atomic_store(&measured_of, now);
    if (atomic_load(&given))
        return;
    for (int i = 0; i < FLOP; i++)
        atomic_store(&of[i].known, -1);
}

/* The child of a fork lacks the thread that was measuring. */
static void after_fork_in_child(void) { atomic_flag_clear(&measuring); }

static void register_fork_handler(void) {
    pthread_atfork(NULL, NULL, after_fork_in_child);
}

/* Turns of a team of two, in each of which a member reads what the other has written,
 * half a row of 256 float32. */
enum { LINE = 64, LINES = 8, TRIALS = 12, TURNS = 32 };
typedef struct turns {
    fc_barrier barrier;
    struct {
        _Alignas(LINE) atomic_uint first;
    } line[2][2][LINES]; /* of each member, in turn */
    int64_t best;        /* ns of the best trial; 0: there was no team */
    atomic_bool ends;    /* the cores have other work: stop */
} turns;

static void take_turns(void *context, int part, int parts) {
    turns *all = context;
    if (parts < 2)
        return;
    fc_barrier_wait(&all->barrier, part, parts);
    for (int trial = 0; trial < TRIALS && !atomic_load(&all->ends); trial++) {
        int64_t begin = fc_now_ns();
        for (int turn = 0; turn < TURNS; turn++) {
            unsigned sum = 0;
            for (int i = 0; i < LINES; i++)
                sum += atomic_load_explicit(&all->line[!part][turn & 1][i].first,
                                            memory_order_relaxed);
            for (int i = 0; i < LINES; i++)
                atomic_store_explicit(&all->line[part][!(turn & 1)][i].first,
                                      sum + (unsigned)i, memory_order_relaxed);
            fc_barrier_wait(&all->barrier, part, parts);
        }
        int64_t took = fc_now_ns() - begin;
        if (part == 0 && (trial == 0 || took < all->best))
            all->best = took;
        if (part == 0 && took > TURNS * MOST_TURN_NS)
            atomic_store(&all->ends, true);
        fc_barrier_wait(&all->barrier, part, parts);
    }
}

static double measure_turn(void) {
    turns all = {.best = 0};
    fc_run_team(take_turns, &all, 2);
    return (double)all.best / TURNS;
}

static void note_part(void *context, int part, int parts) {
    if (part == 1 && parts == 2)
        atomic_store((atomic_bool *)context, true);
}

/* ns of a job without work, the least of some trials; 0 if it was not shared. */
static double measure_job(bool awake) {
    enum { AWAKE_TRIALS = 16, SLEEP_TRIALS = 3, SLEEP_NS = 700 * 1000 };
    double best = 0;
    for (int trial = 0; trial <= (awake ? AWAKE_TRIALS : SLEEP_TRIALS); trial++) {
        atomic_bool shared = false;
        if (!awake && trial > 0)
            nanosleep(&(struct timespec){.tv_nsec = SLEEP_NS}, NULL);
        int64_t begin = fc_now_ns();
        fc_run_team(note_part, &shared, 2);
        double took = (double)(fc_now_ns() - begin);
        if (!atomic_load(&shared))
            return 0;
        if (trial == 1 || (trial > 1 && took < best)) /* the first may start a thread */
            best = took;
    }
    return best;
}

/* FLOP per ns of one row times weights in a near cache, as in short steps. */
static double measure_flop(void) {
    enum { K = 32, VECTORS = 16, VECTOR = 64, CALLS = 8, REALS = VECTORS * VECTOR / 4 };
    _Alignas(VECTOR) char weights[K * VECTORS * VECTOR] = {0};
    _Alignas(VECTOR) float row[K] = {0}, out[REALS];
    const fc_kernels *k = fc_kernels_of(FC_F32);
    const void *a[] = {row};
    void *to[] = {out};
    fc_panels panels = {.data = weights,
                        .k = K,
                        .depth = K,
                        .vectors = VECTORS,
                        .width = k->panel,
                        .near_bytes = fc_near_bytes()};
    fc_product product = {.a = a, .out = to, .rows = 1, .columns = VECTORS * k->lanes};
    int64_t best = 0;
    for (int trial = 0; trial < TRIALS; trial++) {
        int64_t begin = fc_now_ns();
        for (int call = 0; call < CALLS; call++)
            k->product(&panels, &product);
        int64_t took = fc_now_ns() - begin;
        if (trial == 0 || took < best)
            best = took;
    }
    double flop = 2.0 * K * (double)product.columns * CALLS;
    return flop / (double)(best > 1 ? best : 1);
}

static void measure(int which) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_fork_handler);
    if (fc_now_ns() < atomic_load(&of[which].again) ||
        atomic_flag_test_and_set(&measuring))
        return;
    const double most[COSTS] = {MOST_TURN_NS, MOST_WAKE_NS, MOST_WAKE_NS,
                                MOST_FLOP_PER_NS};
    double value = which == TURN   ? measure_turn()
                   : which == FLOP ? measure_flop()
                                   : measure_job(which == HAND_OVER);
    int64_t unknown = -1; /* a value set meanwhile stays */
    if (value > 0 && value <= most[which]) {
        atomic_compare_exchange_strong(&of[which].known, &unknown,
                                       (int64_t)(1000 * value));
    } else {
        int failed = atomic_fetch_add(&of[which].failures, 1);
        failed = failed < MOST_DOUBLINGS ? failed : MOST_DOUBLINGS;
        atomic_store(&of[which].again, fc_now_ns() + ((int64_t)REST_NS << failed));
    }
    atomic_flag_clear(&measuring);
}

static double cost(int which) {
    forget_others();
    if (atomic_load(&of[which].known) < 0)
        measure(which);
    int64_t value = atomic_load(&of[which].known);
    const double otherwise[COSTS] = {usual.turn_ns, usual.hand_over_ns, usual.wake_ns,
                                     usual.flop_per_ns};
    return value < 0 ? otherwise[which] : (double)value / 1000;
}

int fc_get_thread_costs(fc_thread_costs *costs) {
    *costs = (fc_thread_costs){cost(TURN), cost(HAND_OVER), cost(WAKE), cost(FLOP)};
    for (int i = 0; i < COSTS; i++)
        if (atomic_load(&of[i].known) < 0)
            return 0;
    return 1;
}

static double flop_of(double ns) { return ns * cost(FLOP); }

/* Whether so much work pays on any machine. */
static bool is_plenty(double flop, double most_ns) {
    return !atomic_load(&given) && flop >= MARGIN * most_ns * MOST_FLOP_PER_NS;
}

double fc_least_of_a_member(double flop, int count) {
    return is_plenty(flop, (double)count * MOST_TURN_NS)
               ? 0
               : flop_of(MARGIN_OF_A_TURN * count * cost(TURN));
}

double fc_least_of_a_part(double flop, bool awake) {
    return is_plenty(flop, MOST_WAKE_NS)
               ? 0
               : flop_of(MARGIN * cost(awake ? HAND_OVER : WAKE));
}

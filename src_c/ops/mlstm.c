/* The mLSTM: sizes, states and strides of its heads, which threads share.  The
 * arithmetic is in kernels/mlstm.h. */
#include <math.h>
#include <string.h>

#include "runtime/arena.h"
#include "runtime/dispatch.h"
#include "runtime/pool.h"
#include "runtime/watch.h"

typedef struct job {
    const fc_mlstm *of;
    const fc_mlstm_io *io;
    const fc_kernels *k;
    char *scratch; /* of each part, or NULL: one step */
    size_t scratch_bytes;
    fc_watch *watch;
} job;

static const void *rows_of(const job *j, const fc_mlstm_rows *rows, ptrdiff_t head) {
    ptrdiff_t reals =
        head / j->of->heads * rows->batch + head % j->of->heads * rows->head;
    return (const char *)rows->data + reals * (ptrdiff_t)j->k->real_size;
}

/* Row `head` of a contiguous array with rows of n reals, or NULL. */
static const void *before(const job *j, const void *array, ptrdiff_t head,
                          ptrdiff_t n) {
    return array ? (const char *)array + (size_t)(head * n) * j->k->real_size : NULL;
}

static void *after(const job *j, void *array, ptrdiff_t head, ptrdiff_t n) {
    return array ? (char *)array + (size_t)(head * n) * j->k->real_size : NULL;
}

static void run_head(const job *j, ptrdiff_t head, void *scratch) {
    const fc_mlstm *of = j->of;
    const fc_mlstm_io *io = j->io;
    const ptrdiff_t memory = of->keys * of->values;
    fc_mlstm_head one = {
        .q = rows_of(j, &io->q, head),
        .k = rows_of(j, &io->k, head),
        .v = rows_of(j, &io->v, head),
        .i = rows_of(j, &io->i, head),
        .f = rows_of(j, &io->f, head),
        .q_step = io->q.step,
        .k_step = io->k.step,
        .v_step = io->v.step,
        .i_step = io->i.step,
        .f_step = io->f.step,
        .y = after(j, io->y, head, of->steps * of->values),
        .first_c = before(j, io->first_c, head, memory),
        .first_n = before(j, io->first_n, head, of->keys),
        .first_m = before(j, io->first_m, head, 1),
        .c = after(j, io->c, head, memory),
        .n = after(j, io->n, head, of->keys),
        .m = after(j, io->m, head, 1),
        .steps = of->steps,
        .keys = of->keys,
        .values = of->values,
        .scale = of->scale,
        .eps = of->eps,
        .watch = j->watch,
    };
    const struct {
        const void **before;
        void *after;
        ptrdiff_t n;
    } states[] = {{&one.first_c, one.c, memory},
                  {&one.first_n, one.n, of->keys},
                  {&one.first_m, one.m, 1}};
    for (int i = 0; i < 3 && one.c; i++) {
        size_t bytes = (size_t)states[i].n * j->k->real_size;
        if (!*states[i].before && (!scratch || !of->steps)) {
            memset(states[i].after, 0, bytes);
            *states[i].before = states[i].after;
        } else if (!of->steps && *states[i].before != states[i].after) {
            memcpy(states[i].after, *states[i].before, bytes);
        }
    }
    if (!scratch)
        j->k->mlstm_step(&one);
    else if (of->steps)
        j->k->mlstm_sequence(&one, scratch);
}

static void run_part(void *context, int part, int parts) {
    const job *j = context;
    const ptrdiff_t heads = j->of->batch * j->of->heads;
    void *scratch = j->scratch ? j->scratch + (size_t)part * j->scratch_bytes : NULL;
    ptrdiff_t last = heads * (part + 1) / parts;
    for (ptrdiff_t head = heads * part / parts; head < last; head++)
        if (!fc_stops(j->watch, j->of->keys * j->of->values))
            run_head(j, head, scratch);
}

static int most_parts(const fc_mlstm *of, int threads) {
    ptrdiff_t heads = of->batch * of->heads;
    return heads < threads ? (int)heads : threads;
}

/* Multiply-adds of the memory, of which a core does some ten to fifty in a nanosecond,
 * for which a thread pays; and so many such parts that the work is longer than a time
 * slice, so that it is shared though other processes use the cores. */
enum { WORK_OF_A_PART = 300000, LONG_WORK = 300 };

static fc_status run(job *j, int threads) {
    const fc_mlstm *of = j->of;
    double work = (double)of->batch * (double)of->heads * (double)(of->steps + 1) *
                  (double)of->keys * (double)of->values * 2 / WORK_OF_A_PART;
    int parts = fc_useful_parts(work, most_parts(of, threads));
    fc_watch watch;
    fc_watch_begin(&watch);
    j->watch = &watch;
    if (work > LONG_WORK)
        fc_run_parts(run_part, j, parts);
    else
        fc_run_brief_parts(run_part, j, parts);
    return fc_watch_end(&watch) ? FC_INTERRUPTED : FC_OK;
}

/* Reals that an array (a, b, c) may have: also after rounding the axes of a scratch. */
static bool fits(ptrdiff_t a, ptrdiff_t b, ptrdiff_t c) {
    ptrdiff_t reals;
    return !__builtin_mul_overflow(a, b, &reals) &&
           !__builtin_mul_overflow(reals, c, &reals) && reals <= PTRDIFF_MAX / 16;
}

static fc_status check_sizes(const fc_mlstm *of, int threads) {
    if (!of || (of->dtype != FC_F32 && of->dtype != FC_F64) || of->batch < 0 ||
        of->heads < 0 || of->steps < 0 || of->keys < 1 || of->values < 1 ||
        !isfinite(of->scale) || !(of->eps >= 0) || !isfinite(of->eps) || threads < 1)
        return FC_BAD_ARGUMENT;
    ptrdiff_t heads;
    if (of->keys > FC_MOST_ON_AXIS || of->values > FC_MOST_ON_AXIS ||
        __builtin_mul_overflow(of->batch, of->heads, &heads) ||
        !fits(1, of->keys, of->values) || !fits(heads, of->keys, of->values) ||
        !fits(heads, of->steps, of->keys) || !fits(heads, of->steps, of->values))
        return FC_TOO_LARGE;
    return FC_OK;
}

static fc_status check(const fc_mlstm *of, const fc_mlstm_io *io, int threads) {
    fc_status status = check_sizes(of, threads);
    if (status)
        return status;
    if (!io || !of->batch || !of->heads)
        return io ? FC_OK : FC_BAD_ARGUMENT;
    bool steps = of->steps > 0;
    if (!io->c != !io->n || !io->c != !io->m || !io->first_c != !io->first_n ||
        !io->first_c != !io->first_m ||
        (steps && (!io->q.data || !io->k.data || !io->v.data || !io->i.data ||
                   !io->f.data || !io->y)))
        return FC_BAD_ARGUMENT;
    return FC_OK;
}

static fc_arena scratch_of_parts(const fc_mlstm *of, int threads, char *memory,
                                 char **scratch) {
    fc_arena arena = fc_arena_at(memory);
    *scratch = fc_take(&arena, (size_t)most_parts(of, threads),
                       fc_kernels_of(of->dtype)->mlstm_scratch(of->keys, of->values));
    return arena;
}

fc_status fc_mlstm_scratch_size(const fc_mlstm *problem, int threads, size_t *bytes) {
    fc_status status = bytes ? check_sizes(problem, threads) : FC_BAD_ARGUMENT;
    if (status)
        return status;
    char *scratch;
    fc_arena arena = scratch_of_parts(problem, threads, NULL, &scratch);
    *bytes = fc_arena_bytes(&arena);
    return arena.failed ? FC_TOO_LARGE : FC_OK;
}

fc_status fc_mlstm_forward(const fc_mlstm *problem, const fc_mlstm_io *io,
                           void *scratch, int threads) {
    fc_status status = check(problem, io, threads);
    if (!status)
        status = fc_check_alignment(scratch);
    if (status || !problem->batch || !problem->heads)
        return status;
    const fc_kernels *k = fc_kernels_of(problem->dtype);
    job j = {.of = problem,
             .io = io,
             .k = k,
             .scratch_bytes = k->mlstm_scratch(problem->keys, problem->values)};
    if (scratch_of_parts(problem, threads, scratch, &j.scratch).failed)
        return FC_TOO_LARGE;
    return run(&j, threads);
}

fc_status fc_mlstm_step(const fc_mlstm *problem, const fc_mlstm_io *io, int threads) {
    fc_status status = check(problem, io, threads);
    if (!status && problem->steps != 1)
        status = FC_BAD_ARGUMENT;
    if (status || !problem->batch || !problem->heads)
        return status;
    if (!io->c)
        return FC_BAD_ARGUMENT;
    return run(&(job){.of = problem, .io = io, .k = fc_kernels_of(problem->dtype)},
               threads);
}

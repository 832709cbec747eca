/* Attention: scores and weights of a batch, and their gradients.  Threads have
 * different sequences; each query uses the kernels of attention.h.  The products of
 * attention are not here: they are batches of small ones, for a BLAS. */
#include <string.h>

#include "runtime/arena.h"
#include "runtime/dispatch.h"
#include "runtime/pool.h"
#include "runtime/watch.h"

typedef struct job {
    const fc_attention *a;
    const fc_additive *score;
    const fc_kernels *k;
    void (*of_query)(const struct job *, ptrdiff_t sequence, ptrdiff_t query);
    char *values;     /* scores or weights, or the gradient of the weights */
    const char *read; /* weights, or the gradient of the scores */
    char *dquery, *dmemory;
    char *dv; /* (batch, n): a sum for each sequence */
    fc_watch *watch;
} job;

static ptrdiff_t rows_of(const job *j, ptrdiff_t sequence) {
    return j->a->lengths ? (ptrdiff_t)j->a->lengths[sequence] : j->a->steps;
}

/* Offset in bytes of a query's scores or weights. */
static size_t scores_before(const job *j, ptrdiff_t sequence, ptrdiff_t query) {
    return (size_t)((sequence * j->a->queries + query) * j->a->steps) * j->k->real_size;
}

/* Offset in bytes of a query's features; likewise of a memory's. */
static size_t query_before(const job *j, ptrdiff_t sequence, ptrdiff_t query) {
    return (size_t)((sequence * j->a->queries + query) * j->score->n) * j->k->real_size;
}

static size_t memory_before(const job *j, ptrdiff_t sequence) {
    return (size_t)(sequence * j->a->steps * j->score->n) * j->k->real_size;
}

static void clear_past(const job *j, char *values, ptrdiff_t rows) {
    size_t there = (size_t)rows * j->k->real_size;
    memset(values + there, 0, (size_t)j->a->steps * j->k->real_size - there);
}

static void scores_of(const job *j, ptrdiff_t sequence, ptrdiff_t query) {
    ptrdiff_t rows = rows_of(j, sequence);
    char *scores = j->values + scores_before(j, sequence, query);
    j->k->additive_scores((const char *)j->score->query +
                              query_before(j, sequence, query),
                          (const char *)j->score->memory + memory_before(j, sequence),
                          j->score->v, rows, j->score->n, scores);
    clear_past(j, scores, rows);
}

static void scores_backward(const job *j, ptrdiff_t sequence, ptrdiff_t query) {
    size_t q = query_before(j, sequence, query), m = memory_before(j, sequence);
    const fc_additive *score = j->score;
    const fc_additive_gradient gradient = {
        .dscores = j->read + scores_before(j, sequence, query),
        .query = (const char *)score->query + q,
        .memory = (const char *)score->memory + m,
        .v = score->v,
        .dquery = j->dquery + q,
        .dmemory = j->dmemory + m,
        .dv = j->dv + (size_t)(sequence * score->n) * j->k->real_size,
        .rows = rows_of(j, sequence),
        .n = score->n,
    };
    j->k->additive_backward(&gradient);
}

static void weights_of(const job *j, ptrdiff_t sequence, ptrdiff_t query) {
    ptrdiff_t rows = rows_of(j, sequence);
    char *values = j->values + scores_before(j, sequence, query);
    if (rows)
        j->k->softmax(values, rows);
    clear_past(j, values, rows);
}

static void weights_backward(const job *j, ptrdiff_t sequence, ptrdiff_t query) {
    ptrdiff_t rows = rows_of(j, sequence);
    size_t before = scores_before(j, sequence, query);
    j->k->softmax_backward(j->values + before, j->read + before, rows);
    clear_past(j, j->values + before, rows);
}

enum { WORK_OF_A_VALUE = 32 }; /* for fc_stops */

static void run_part(void *context, int part, int parts) {
    const job *j = context;
    const fc_attention *a = j->a;
    int64_t work = (int64_t)a->steps * (j->score ? j->score->n : 1) * WORK_OF_A_VALUE;
    ptrdiff_t last = a->batch * (part + 1) / parts;
    for (ptrdiff_t b = a->batch * part / parts; b < last; b++)
        for (ptrdiff_t t = 0; t < a->queries; t++)
            if (!fc_stops(j->watch, work))
                j->of_query(j, b, t);
}

/* Values, about a nanosecond each, for which a thread pays. */
enum { WORK_OF_A_PART = 50000 };

static fc_status run(job *j, int threads) {
    const fc_attention *a = j->a;
    double work = (double)a->batch * (double)a->queries * (double)a->steps *
                  (j->score ? (double)j->score->n : 1) / WORK_OF_A_PART;
    int most = threads < a->batch ? threads : (int)a->batch;
    fc_watch watch;
    fc_watch_begin(&watch);
    j->watch = &watch;
    fc_run_brief_parts(run_part, j, fc_useful_parts(work, most));
    return fc_watch_end(&watch) ? FC_INTERRUPTED : FC_OK;
}

/* Checks the sizes; n: 1 for functions without features. */
static fc_status check_sizes(const fc_attention *a, ptrdiff_t n) {
    if (!a || (a->dtype != FC_F32 && a->dtype != FC_F64) || a->batch < 0 ||
        a->queries < 0 || a->steps < 0 || n < 1)
        return FC_BAD_ARGUMENT;
    const ptrdiff_t products[][3] = {{a->batch, a->queries, a->steps},
                                     {a->batch, a->queries, n},
                                     {a->batch, a->steps, n}};
    for (int i = 0; i < 3; i++) {
        ptrdiff_t reals;
        if (products[i][2] > FC_MOST_ON_AXIS ||
            __builtin_mul_overflow(products[i][0], products[i][1], &reals) ||
            __builtin_mul_overflow(reals, products[i][2], &reals) ||
            reals > PTRDIFF_MAX / 16 ||
            __builtin_mul_overflow(products[i][0], products[i][2], &reals) ||
            reals > PTRDIFF_MAX / 16)
            return FC_TOO_LARGE;
    }
    return FC_OK;
}

static fc_status check(const fc_attention *a, const fc_additive *score, int threads) {
    fc_status status = check_sizes(a, score ? score->n : 1);
    if (status)
        return status;
    bool queries = a->batch && a->queries, memory = a->batch && a->steps;
    if (threads < 1 || (score && (!score->v || (queries && !score->query) ||
                                  (memory && !score->memory))))
        return FC_BAD_ARGUMENT;
    for (ptrdiff_t b = 0; a->lengths && b < a->batch; b++)
        if (a->lengths[b] < 0 || a->lengths[b] > a->steps)
            return FC_BAD_LENGTH;
    return FC_OK;
}

static bool has_values(const fc_attention *a) {
    return a->batch && a->queries && a->steps;
}

fc_status fc_additive_scores(const fc_attention *a, const fc_additive *score,
                             void *scores, int threads) {
    fc_status status = score ? check(a, score, threads) : FC_BAD_ARGUMENT;
    if (!status && has_values(a) && !scores)
        status = FC_BAD_ARGUMENT;
    if (status || !has_values(a))
        return status;
    return run(&(job){.a = a,
                      .score = score,
                      .k = fc_kernels_of(a->dtype),
                      .of_query = scores_of,
                      .values = scores},
               threads);
}

static fc_arena sums_of_sequences(const fc_attention *a, ptrdiff_t n, void *scratch,
                                  void **sums) {
    fc_arena arena = fc_arena_at(scratch);
    *sums = fc_take2(&arena, (size_t)a->batch, (size_t)n,
                     fc_kernels_of(a->dtype)->real_size);
    return arena;
}

fc_status fc_additive_scratch_size(const fc_attention *a, ptrdiff_t n, size_t *bytes) {
    fc_status status = bytes ? check_sizes(a, n) : FC_BAD_ARGUMENT;
    if (status)
        return status;
    void *sums;
    fc_arena arena = sums_of_sequences(a, n, NULL, &sums);
    *bytes = fc_arena_bytes(&arena);
    return arena.failed ? FC_TOO_LARGE : FC_OK;
}

fc_status fc_additive_backward(const fc_attention *a, const fc_additive *score,
                               const void *dscores, void *dquery, void *dmemory,
                               void *dv, void *scratch, int threads) {
    fc_status status = score ? check(a, score, threads) : FC_BAD_ARGUMENT;
    if (!status && (!dv || (has_values(a) && !dscores) ||
                    (a->batch && ((a->queries && !dquery) || (a->steps && !dmemory)))))
        status = FC_BAD_ARGUMENT;
    if (!status)
        status = fc_check_alignment(scratch);
    if (status)
        return status;
    void *sums;
    if (sums_of_sequences(a, score->n, scratch, &sums).failed)
        return FC_TOO_LARGE;
    size_t row = (size_t)score->n * fc_kernels_of(a->dtype)->real_size;
    if (!has_values(a)) {
        if (a->batch && a->queries)
            memset(dquery, 0, (size_t)(a->batch * a->queries) * row);
        return FC_OK;
    }
    memset(sums, 0, (size_t)a->batch * row);
    job j = {.a = a,
             .score = score,
             .k = fc_kernels_of(a->dtype),
             .of_query = scores_backward,
             .read = dscores,
             .dquery = dquery,
             .dmemory = dmemory,
             .dv = sums};
    status = run(&j, threads);
    for (ptrdiff_t b = 0; b < a->batch; b++)
        j.k->add(dv, j.dv + (size_t)b * row, score->n);
    return status;
}

fc_status fc_attention_weights(const fc_attention *a, void *scores, int threads) {
    fc_status status = check(a, NULL, threads);
    if (!status && has_values(a) && !scores)
        status = FC_BAD_ARGUMENT;
    if (status || !has_values(a))
        return status;
    return run(&(job){.a = a,
                      .k = fc_kernels_of(a->dtype),
                      .of_query = weights_of,
                      .values = scores},
               threads);
}

fc_status fc_attention_weights_backward(const fc_attention *a, const void *weights,
                                        void *dweights, int threads) {
    fc_status status = check(a, NULL, threads);
    if (!status && has_values(a) && (!weights || !dweights))
        status = FC_BAD_ARGUMENT;
    if (status || !has_values(a))
        return status;
    return run(&(job){.a = a,
                      .k = fc_kernels_of(a->dtype),
                      .of_query = weights_backward,
                      .values = dweights,
                      .read = weights},
               threads);
}

/* Attention against plain loops in double: scores, weights, and the gradients of both;
 * the same bits with any number of threads. */
#include "tests/harness.h"

/* Of |error| / (1 + |value|), for sums of up to 70 products of numbers about 1. */
static const double tolerance[] = {[FC_F32] = 2e-5, [FC_F64] = 1e-13};

typedef struct problem {
    fc_attention a;
    ptrdiff_t n;
    double *query, *memory, *v, *dscores;
    int64_t *lengths; /* or NULL */
} problem;

/* Rounded to the dtype. */
static double *randoms(fc_dtype dtype, ptrdiff_t count) {
    double *x = zeros(count, 8);
    for (ptrdiff_t i = 0; i < count; i++) {
        x[i] = uniform(-1.5, 1.5);
        if (dtype == FC_F32)
            x[i] = (float)x[i];
    }
    return x;
}

static problem make(fc_dtype dtype, ptrdiff_t batch, ptrdiff_t queries, ptrdiff_t steps,
                    ptrdiff_t n, bool ragged) {
    problem p = {{dtype, batch, queries, steps, NULL}, .n = n};
    p.query = randoms(dtype, batch * queries * n);
    p.memory = randoms(dtype, batch * steps * n);
    p.v = randoms(dtype, n);
    p.dscores = randoms(dtype, batch * queries * steps);
    if (ragged) {
        p.lengths = zeros(batch, sizeof *p.lengths);
        for (ptrdiff_t b = 0; b < batch; b++)
            p.lengths[b] = (int64_t)uniform(0, (double)steps + 0.999);
        for (ptrdiff_t b = 0; b < batch; b++) /* must not be read */
            for (ptrdiff_t i = p.lengths[b] * n; i < steps * n; i++)
                p.memory[b * steps * n + i] = NAN;
        p.a.lengths = p.lengths;
    }
    return p;
}

static void drop(problem *p) {
    free(p->query);
    free(p->memory);
    free(p->v);
    free(p->dscores);
    free(p->lengths);
}

static ptrdiff_t rows_of(const problem *p, ptrdiff_t b) {
    return p->lengths ? (ptrdiff_t)p->lengths[b] : p->a.steps;
}

/* Forward and backward of the score, by its formula. */
static void by_formula(const problem *p, double *scores, double *dquery,
                       double *dmemory, double *dv) {
    const fc_attention *a = &p->a;
    for (ptrdiff_t b = 0; b < a->batch; b++)
        for (ptrdiff_t t = 0; t < a->queries; t++)
            for (ptrdiff_t s = 0; s < rows_of(p, b); s++) {
                ptrdiff_t at = (b * a->queries + t) * a->steps + s;
                ptrdiff_t q = (b * a->queries + t) * p->n,
                          m = (b * a->steps + s) * p->n;
                for (ptrdiff_t i = 0; i < p->n; i++) {
                    double h = tanh(p->query[q + i] + p->memory[m + i]);
                    double g = p->dscores[at] * p->v[i] * (1 - h * h);
                    scores[at] += p->v[i] * h;
                    dquery[q + i] += g;
                    dmemory[m + i] += g;
                    dv[i] += p->dscores[at] * h;
                }
            }
}

/* The core's results with this many threads, as doubles. */
static void by_core(const problem *p, int threads, double *scores, double *dquery,
                    double *dmemory, double *dv) {
    const fc_attention *a = &p->a;
    ptrdiff_t pairs = a->batch * a->queries * a->steps, size;
    void *q = reals_of(a->dtype, p->query, a->batch * a->queries * p->n);
    void *m = reals_of(a->dtype, p->memory, a->batch * a->steps * p->n);
    void *v = reals_of(a->dtype, p->v, p->n);
    void *ds = reals_of(a->dtype, p->dscores, pairs);
    fc_additive score = {p->n, q, m, v};
    void *x = take((size_t)pairs * real_size(a->dtype), 8);
    CHECK_OK(fc_additive_scores(a, &score, x, threads));
    doubles_of(a->dtype, x, pairs, scores);
    size_t bytes = 0;
    CHECK_OK(fc_additive_scratch_size(a, p->n, &bytes));
    void *scratch = take(bytes, 0);
    size = a->batch * a->queries * p->n;
    void *dq = take((size_t)size * real_size(a->dtype), 8);
    void *dm = reals_of(a->dtype, dmemory, a->batch * a->steps * p->n);
    void *dvs = reals_of(a->dtype, dv, p->n);
    CHECK_OK(fc_additive_backward(a, &score, ds, dq, dm, dvs, scratch, threads));
    doubles_of(a->dtype, dq, size, dquery);
    doubles_of(a->dtype, dm, a->batch * a->steps * p->n, dmemory);
    doubles_of(a->dtype, dvs, p->n, dv);
    void *all[] = {q, m, v, ds, x, scratch, dq, dm, dvs};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        release(all[i]);
}

static void test_score(const problem *p) {
    const fc_attention *a = &p->a;
    const ptrdiff_t sizes[] = {a->batch * a->queries * a->steps,
                               a->batch * a->queries * p->n, a->batch * a->steps * p->n,
                               p->n};
    double *wanted[4], *got[4], *more[4];
    for (int i = 0; i < 4; i++) {
        wanted[i] = zeros(sizes[i], 8);
        got[i] = zeros(sizes[i], 8);
        more[i] = zeros(sizes[i], 8);
        for (ptrdiff_t k = 0; i > 1 && k < sizes[i]; k++) /* the core adds to these */
            wanted[i][k] = got[i][k] = more[i][k] = (double)(k % 3);
    }
    by_formula(p, wanted[0], wanted[1], wanted[2], wanted[3]);
    by_core(p, 1, got[0], got[1], got[2], got[3]);
    by_core(p, 3, more[0], more[1], more[2], more[3]);
    for (int i = 0; i < 4; i++) {
        CHECK_CLOSE(got[i], wanted[i], sizes[i], tolerance[a->dtype]);
        CHECK_SAME_BITS(got[i], more[i], sizes[i]);
        free(wanted[i]);
        free(got[i]);
        free(more[i]);
    }
}

static void test_weights(const problem *p) {
    const fc_attention *a = &p->a;
    ptrdiff_t size = a->batch * a->queries * a->steps;
    double *wanted = zeros(size, 8), *dwanted = zeros(size, 8), *got = zeros(size, 8),
           *more = zeros(size, 8);
    for (ptrdiff_t b = 0; b < a->batch; b++)
        for (ptrdiff_t t = 0; t < a->queries; t++) {
            ptrdiff_t at = (b * a->queries + t) * a->steps, rows = rows_of(p, b);
            double sum = 0, mean = 0;
            for (ptrdiff_t s = 0; s < rows; s++)
                sum += exp(3 * p->dscores[at + s]);
            for (ptrdiff_t s = 0; s < rows; s++)
                wanted[at + s] = exp(3 * p->dscores[at + s]) / sum;
            for (ptrdiff_t s = 0; s < rows; s++)
                mean += wanted[at + s] * (double)(s % 5);
            for (ptrdiff_t s = 0; s < rows; s++)
                dwanted[at + s] = wanted[at + s] * ((double)(s % 5) - mean);
        }
    double *results[2] = {got, more};
    for (int i = 0; i < 2; i++) {
        int threads = i ? 3 : 1;
        double *start = zeros(size, 8), *dstart = zeros(size, 8);
        for (ptrdiff_t k = 0; k < size; k++) {
            start[k] = 3 * p->dscores[k];
            dstart[k] = a->steps ? (double)(k % a->steps % 5) : 0;
        }
        void *x = reals_of(a->dtype, start, size);
        void *dx = reals_of(a->dtype, dstart, size);
        CHECK_OK(fc_attention_weights(a, x, threads));
        doubles_of(a->dtype, x, size, results[i]);
        CHECK_CLOSE(results[i], wanted, size, tolerance[a->dtype]);
        CHECK_OK(fc_attention_weights_backward(a, x, dx, threads));
        doubles_of(a->dtype, dx, size, dstart);
        CHECK_CLOSE(dstart, dwanted, size, tolerance[a->dtype]);
        release(x);
        release(dx);
        free(start);
        free(dstart);
    }
    CHECK_SAME_BITS(got, more, size);
    free(wanted);
    free(dwanted);
    free(got);
    free(more);
}

/* Large scores do not overflow, one row may have all the weight, and NaN propagates. */
static void test_special_values(void) {
    float x[3] = {3e38f, -3e38f, 3e38f}, one = -7, lost[2] = {0, NAN};
    describe("%s special values", fc_isa());
    CHECK_OK(fc_attention_weights(&(fc_attention){FC_F32, 1, 1, 3, NULL}, x, 1));
    CHECK(x[0] == 0.5f && x[1] == 0 && x[2] == 0.5f);
    CHECK_OK(fc_attention_weights(&(fc_attention){FC_F32, 1, 1, 1, NULL}, &one, 1));
    CHECK(one == 1);
    CHECK_OK(fc_attention_weights(&(fc_attention){FC_F32, 1, 1, 2, NULL}, lost, 1));
    CHECK(isnan(lost[0]) && isnan(lost[1]));
}

static void test_arguments(void) {
    float x[64] = {0}, y[64] = {0};
    int64_t lengths[2] = {1, 2};
    const fc_attention good = {FC_F32, 2, 2, 2, lengths};
    const fc_additive score = {3, x, x, x};
    size_t bytes;
    describe("attention, arguments");
    CHECK_OK(fc_additive_scores(&good, &score, y, 1));
    CHECK_OK(fc_attention_weights(&good, y, 1));
    CHECK_OK(fc_additive_scratch_size(&good, 3, &bytes));
    CHECK_STATUS(fc_additive_scratch_size(&good, 0, &bytes), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_additive_scratch_size(&good, 3, NULL), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_additive_scratch_size(NULL, 3, &bytes), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_additive_scores(NULL, &score, y, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_additive_scores(&good, NULL, y, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_additive_scores(&good, &score, NULL, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_additive_scores(&good, &score, y, 0), FC_BAD_ARGUMENT);
    for (int i = 0; i < 4; i++) {
        fc_additive bad = score;
        bad.n = i == 0 ? 0 : 3;
        bad.query = i == 1 ? NULL : x;
        bad.memory = i == 2 ? NULL : x;
        bad.v = i == 3 ? NULL : x;
        CHECK_STATUS(fc_additive_scores(&good, &bad, y, 1), FC_BAD_ARGUMENT);
        CHECK_STATUS(fc_additive_backward(&good, &bad, x, y, y, y, y, 1),
                     FC_BAD_ARGUMENT);
    }
    for (int i = 0; i < 5; i++) { /* each is required */
        void *p[5] = {x, y, y, y, y};
        p[i] = NULL;
        CHECK_STATUS(
            fc_additive_backward(&good, &score, p[0], p[1], p[2], p[3], p[4], 1),
            FC_BAD_ARGUMENT);
    }
    CHECK_STATUS(fc_additive_backward(&good, NULL, x, y, y, y, y, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_additive_backward(&good, &score, x, y, y, y, y, 0),
                 FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_attention_weights(NULL, y, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_attention_weights(&good, NULL, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_attention_weights(&good, y, 0), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_attention_weights_backward(&good, NULL, y, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_attention_weights_backward(&good, x, NULL, 1), FC_BAD_ARGUMENT);
    for (int i = 0; i < 4; i++) {
        fc_attention bad = good;
        bad.dtype = i == 0 ? (fc_dtype)9 : FC_F32;
        bad.batch = i == 1 ? -1 : 2;
        bad.queries = i == 2 ? -1 : 2;
        bad.steps = i == 3 ? -1 : 2;
        CHECK_STATUS(fc_attention_weights(&bad, y, 1), FC_BAD_ARGUMENT);
        CHECK_STATUS(fc_additive_scores(&bad, &score, y, 1), FC_BAD_ARGUMENT);
    }
    for (int64_t length = -1; length < 4; length += 4) {
        lengths[1] = length;
        CHECK_STATUS(fc_attention_weights(&good, y, 1), FC_BAD_LENGTH);
        CHECK_STATUS(fc_additive_scores(&good, &score, y, 1), FC_BAD_LENGTH);
    }
    const ptrdiff_t most = PTRDIFF_MAX / 2;
    const fc_attention large[] = {{FC_F32, most, 4, 1, NULL},
                                  {FC_F32, 1, 1, most, NULL},
                                  {FC_F32, 1, most, 4, NULL}};
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(fc_attention_weights(&large[i], y, 1), FC_TOO_LARGE);
        CHECK_STATUS(fc_additive_scratch_size(&large[i], 3, &bytes), FC_TOO_LARGE);
    }
    CHECK_STATUS(fc_additive_scratch_size(&good, most, &bytes), FC_TOO_LARGE);
}

int main(void) {
    static const ptrdiff_t batches[] = {0, 1, 3, 40}, queries[] = {0, 1, 4},
                           steps[] = {0, 1, 2, 19}, n[] = {1, 8, 16, 67};
    FOR_EACH_ISA(isa) {
        for (int d = 0; d < 2; d++)
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 3; j++)
                    for (int k = 0; k < 4; k++)
                        for (int l = 0; l < 4; l++) {
                            seed((uint64_t)(1000 * i + 100 * j + 10 * k + l));
                            bool ragged = (i + j + k + l) % 2;
                            describe("%s f%d %tdx%tdx%tdx%td%s", isa, d ? 64 : 32,
                                     batches[i], queries[j], steps[k], n[l],
                                     ragged ? " ragged" : "");
                            problem p = make((fc_dtype)d, batches[i], queries[j],
                                             steps[k], n[l], ragged);
                            test_score(&p);
                            test_weights(&p);
                            drop(&p);
                        }
        test_special_values();
    }
    test_arguments();
    return finish("attention");
}

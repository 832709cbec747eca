/* Connectionist temporal classification against the sum over all paths, if they are
 * few, or against the recursion on logarithms. */
#include "tests/harness.h"

/* |error| <= t (1 + |value|).  float32: exact logits, gradients with one rounding of
 * 6e-8; double: a few hundred roundings of 1.1e-16. */
static const double tolerance[] = {[FC_F32] = 1e-7, [FC_F64] = 1e-12};

enum { MOST_STEPS = 400, MOST_LABELS = 60 };

typedef struct problem {
    fc_ctc c; /* of double; its arrays are those below */
    double *logits, *scale;
    int64_t *lengths, *labels, *label_lengths;
} problem;

static problem problem_new(ptrdiff_t steps, ptrdiff_t rows, ptrdiff_t n,
                           ptrdiff_t labels, double spread) {
    problem p = {.logits = zeros(steps * rows * n, 8),
                 .scale = zeros(rows, 8),
                 .lengths = zeros(rows, 8),
                 .labels = zeros(rows * labels, 8),
                 .label_lengths = zeros(rows, 8)};
    p.c = (fc_ctc){.dtype = FC_F64,
                   .steps = steps,
                   .rows = rows,
                   .n = n,
                   .most_labels = labels,
                   .logits = p.logits,
                   .lengths = p.lengths,
                   .labels = p.labels,
                   .label_lengths = p.label_lengths,
                   .blank = (int64_t)uniform(0, (double)n - 0.01),
                   .scale = p.scale};
    for (ptrdiff_t i = 0; i < steps * rows * n; i++)
        p.logits[i] = uniform(-spread, spread);
    for (ptrdiff_t b = 0; b < rows; b++) {
        p.scale[b] = uniform(0.1, 2);
        p.lengths[b] = b ? (int64_t)uniform(0, (double)steps + 0.99) : steps;
        p.label_lengths[b] = b ? (int64_t)uniform(0, (double)labels + 0.99) : labels;
        for (ptrdiff_t i = 0; i < labels; i++) {
            int64_t k = (int64_t)uniform(0, (double)n - 1.01);
            p.labels[b * labels + i] = k < p.c.blank ? k : k + 1;
        }
    }
    return p;
}

static void problem_free(problem *p) {
    free(p->logits);
    free(p->scale);
    free(p->lengths);
    free(p->labels);
    free(p->label_lengths);
}

/* Logarithms are long double: large ones in double would lose the digits of their
 * addends. */
static long double *log_softmax(const problem *p, ptrdiff_t row) {
    const fc_ctc *c = &p->c;
    long double *y = zeros(c->steps * c->n, sizeof *y);
    for (ptrdiff_t t = 0; t < c->steps; t++) {
        const double *z = p->logits + (t * c->rows + row) * c->n;
        long double max = -INFINITY, sum = 0;
        for (ptrdiff_t k = 0; k < c->n; k++)
            max = fmaxl(max, z[k]);
        for (ptrdiff_t k = 0; k < c->n; k++)
            sum += expl(z[k] - max);
        for (ptrdiff_t k = 0; k < c->n; k++)
            y[t * c->n + k] = z[k] - max - logl(sum);
    }
    return y;
}

static void finish_row(const problem *p, ptrdiff_t row, long double total,
                       const long double *y, const long double *share, double *loss,
                       double *dlogits) {
    const fc_ctc *c = &p->c;
    loss[row] = (double)-total;
    for (ptrdiff_t t = 0; t < c->steps; t++)
        for (ptrdiff_t k = 0; k < c->n; k++) {
            ptrdiff_t at = (t * c->rows + row) * c->n + k;
            long double d = expl(y[t * c->n + k]) - share[t * c->n + k];
            dlogits[at] = t >= p->lengths[row] ? 0
                          : total > -INFINITY  ? p->scale[row] * (double)d
                                               : NAN;
        }
}

/* The label of a path: repeats merged, then blanks removed. */
static bool path_gives(const problem *p, const int64_t *path, ptrdiff_t row) {
    const int64_t *label = p->labels + row * p->c.most_labels;
    ptrdiff_t found = 0;
    for (ptrdiff_t t = 0; t < p->lengths[row]; t++) {
        if (path[t] == p->c.blank || (t && path[t] == path[t - 1]))
            continue;
        if (found == p->label_lengths[row] || label[found++] != path[t])
            return false;
    }
    return found == p->label_lengths[row];
}

static void by_paths(const problem *p, double *loss, double *dlogits) {
    const fc_ctc *c = &p->c;
    for (ptrdiff_t row = 0; row < c->rows; row++) {
        ptrdiff_t steps = (ptrdiff_t)p->lengths[row];
        long double *y = log_softmax(p, row), total = 0,
                    *share = zeros(c->steps * c->n, sizeof *share);
        int64_t path[MOST_STEPS] = {0};
        for (bool more = true; more;) {
            if (path_gives(p, path, row)) {
                long double log_of_path = 0;
                for (ptrdiff_t t = 0; t < steps; t++)
                    log_of_path += y[t * c->n + path[t]];
                total += expl(log_of_path);
                for (ptrdiff_t t = 0; t < steps; t++)
                    share[t * c->n + path[t]] += expl(log_of_path);
            }
            more = false;
            for (ptrdiff_t t = 0; t < steps && !more; t++) {
                more = ++path[t] < c->n;
                path[t] = more ? path[t] : 0;
            }
        }
        for (ptrdiff_t i = 0; i < c->steps * c->n; i++)
            share[i] /= total;
        finish_row(p, row, logl(total), y, share, loss, dlogits);
        free(y);
        free(share);
    }
}

static long double log_add(long double a, long double b) {
    long double max = fmaxl(a, b), min = fminl(a, b);
    return max == -INFINITY ? max : max + log1pl(expl(min - max));
}

/* Equations 6 to 16 of the paper, on logarithms, with alpha and beta both holding y_t.
 */
static void by_logarithms(const problem *p, double *loss, double *dlogits) {
    const fc_ctc *c = &p->c;
    static long double alpha[MOST_STEPS + 1][2 * MOST_LABELS + 4],
        beta[MOST_STEPS + 1][2 * MOST_LABELS + 4];
    for (ptrdiff_t row = 0; row < c->rows; row++) {
        ptrdiff_t steps = (ptrdiff_t)p->lengths[row],
                  states = 2 * (ptrdiff_t)p->label_lengths[row] + 1;
        long double *y = log_softmax(p, row),
                    *share = zeros(c->steps * c->n, sizeof *y);
        int64_t of[2 * MOST_LABELS + 4];
        for (ptrdiff_t s = 0; s < states; s++)
            of[s] = s % 2 ? p->labels[row * c->most_labels + s / 2] : c->blank;
        long double total = steps || states > 1 ? -INFINITY : 0;
        for (ptrdiff_t t = 0; t < steps; t++)
            for (ptrdiff_t s = 0; s < states; s++) {
                long double sum = t ? alpha[t - 1][s] : s < 2 ? 0 : -INFINITY;
                if (t && s > 0)
                    sum = log_add(sum, alpha[t - 1][s - 1]);
                if (t && s > 1 && of[s] != c->blank && of[s] != of[s - 2])
                    sum = log_add(sum, alpha[t - 1][s - 2]);
                alpha[t][s] = sum + y[t * c->n + of[s]];
            }
        for (ptrdiff_t t = steps - 1; t >= 0; t--)
            for (ptrdiff_t s = states - 1; s >= 0; s--) {
                bool last = t == steps - 1;
                long double sum = !last            ? beta[t + 1][s]
                                  : s + 2 < states ? -INFINITY
                                                   : 0;
                if (!last && s + 1 < states)
                    sum = log_add(sum, beta[t + 1][s + 1]);
                if (!last && s + 2 < states && of[s] != c->blank && of[s] != of[s + 2])
                    sum = log_add(sum, beta[t + 1][s + 2]);
                beta[t][s] = sum + y[t * c->n + of[s]];
            }
        if (steps)
            total = log_add(alpha[steps - 1][states - 1],
                            states > 1 ? alpha[steps - 1][states - 2] : -INFINITY);
        for (ptrdiff_t t = 0; t < steps; t++)
            for (ptrdiff_t s = 0; s < states; s++)
                share[t * c->n + of[s]] +=
                    expl(alpha[t][s] + beta[t][s] - y[t * c->n + of[s]] - total);
        finish_row(p, row, total, y, share, loss, dlogits);
        free(y);
        free(share);
    }
}

/* The core's results, as doubles. */
static void by_core(const problem *p, fc_dtype dtype, int threads, double *loss,
                    double *dlogits) {
    fc_ctc c = p->c;
    ptrdiff_t count = c.steps * c.rows * c.n;
    void *x = reals_of(dtype, p->logits, count);
    void *dx = take((size_t)count * real_size(dtype), real_size(dtype));
    double *losses = take((size_t)c.rows * 8, 8);
    size_t bytes;
    c.dtype = dtype;
    c.logits = x;
    CHECK_OK(fc_ctc_scratch_size(&c, threads, &bytes));
    void *scratch = take(bytes, 0);
    CHECK_OK(fc_ctc_loss(&c, losses, dx, scratch, threads));
    doubles_of(FC_F64, losses, c.rows, loss);
    doubles_of(dtype, dx, count, dlogits);
    CHECK_OK(fc_ctc_loss(&c, losses, NULL, scratch, threads)); /* without gradients */
    CHECK_SAME_BITS(losses, loss, c.rows);
    release(x);
    release(dx);
    release(losses);
    release(scratch);
}

/* Close; infinite or NaN exactly if the reference is. */
static void check_values(const double *got, const double *wanted, ptrdiff_t n,
                         double t) {
    for (ptrdiff_t i = 0; i < n; i++)
        if (isfinite(wanted[i]))
            CHECK_CLOSE(got + i, wanted + i, 1, t);
        else
            CHECK(isnan(wanted[i]) ? isnan(got[i]) : got[i] == wanted[i]);
}

typedef void oracle(const problem *, double *, double *);

static void test_values(const char *name, oracle *wanted_of, problem *p) {
    ptrdiff_t rows = p->c.rows, count = p->c.steps * rows * p->c.n;
    double *wanted = zeros(rows, 8), *dwanted = zeros(count, 8);
    double *got = zeros(rows, 8), *dgot = zeros(count, 8);
    double *threaded = zeros(rows, 8), *dthreaded = zeros(count, 8);
    wanted_of(p, wanted, dwanted);
    FOR_EACH_ISA(isa) {
        for (int d = 0; d < 2; d++) {
            describe("by %s, T%td B%td V%td L%td, %s f%d", name, p->c.steps, rows,
                     p->c.n, p->c.most_labels, isa, d ? 64 : 32);
            by_core(p, (fc_dtype)d, 1, got, dgot);
            check_values(got, wanted, rows, tolerance[d]);
            check_values(dgot, dwanted, count, tolerance[d]);
            by_core(p, (fc_dtype)d, 3, threaded, dthreaded);
            CHECK_SAME_BITS(got, threaded, rows);
            CHECK_SAME_BITS(dgot, dthreaded, count);
        }
    }
    void *all[] = {wanted, dwanted, got, dgot, threaded, dthreaded};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* The longest label for the steps, and one longer. */
static void test_longest(void) {
    problem p = problem_new(5, 3, 3, 5, 1);
    const int64_t labels[3][5] = {{1, 2, 1, 2, 1}, {2, 2, 2, 0, 0}, {2, 2, 1, 1, 0}};
    const int64_t lengths[3] = {5, 3, 4};
    p.c.blank = 0;
    for (int b = 0; b < 3; b++) {
        p.lengths[b] = 5;
        p.label_lengths[b] = lengths[b];
        memcpy(p.labels + 5 * b, labels[b], sizeof labels[b]);
    }
    double loss[3], dlogits[5 * 3 * 3];
    describe("labels as long as can be");
    by_core(&p, FC_F64, 1, loss, dlogits);
    CHECK(isfinite(loss[0]) && isfinite(loss[1]) && loss[2] == INFINITY);
    for (int i = 0; i < 5 * 3 * 3; i++)
        CHECK(i % 9 < 6 ? isfinite(dlogits[i]) : isnan(dlogits[i]));
    test_values("paths", by_paths, &p);
    p.c.zero_infinity = 1;
    by_core(&p, FC_F64, 1, loss, dlogits);
    CHECK(isfinite(loss[0]) && isfinite(loss[1]) && loss[2] == 0);
    for (int i = 0; i < 5 * 3 * 3; i++)
        CHECK(i % 9 < 6 ? isfinite(dlogits[i]) : dlogits[i] == 0);
    problem_free(&p);
}

/* One path, whose probability is far below the least double: e^-(40 * 50000). */
static void test_tiny_probabilities(void) {
    problem p = problem_new(50, 1, 3, 50, 0);
    p.c.blank = 0;
    for (ptrdiff_t t = 0; t < 50; t++) {
        p.labels[t] = 1 + t % 2;
        p.logits[3 * t] = 40000;
    }
    double loss, dlogits[150];
    for (int d = 0; d < 2; d++) {
        describe("tiny probabilities, f%d", d ? 64 : 32);
        by_core(&p, (fc_dtype)d, 1, &loss, dlogits);
        CHECK_CLOSE(&loss, &(double){50 * 40000.0}, 1, 1e-12);
        for (ptrdiff_t t = 0; t < 50; t++) {
            CHECK(dlogits[3 * t] == p.scale[0] * 1 ||
                  fabs(dlogits[3 * t] - p.scale[0]) < 1e-6);
            CHECK(fabs(dlogits[3 * t + p.labels[t]] + p.scale[0]) < 1e-6);
        }
    }
    problem_free(&p);
}

/* NaN and infinity stay in their own row; minus infinity excludes a class. */
static void test_not_finite(void) {
    const double bad[] = {NAN, INFINITY};
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 4; k++) {
            problem p = problem_new(6, 3, 4, 2, 1);
            for (int b = 0; b < 3; b++)
                p.lengths[b] = 6;
            p.logits[(2 * 3 + 1) * 4 + k] = bad[i];
            double loss[3], dlogits[6 * 3 * 4];
            for (int d = 0; d < 2; d++) {
                describe("%g at %d, f%d", bad[i], k, d ? 64 : 32);
                by_core(&p, (fc_dtype)d, 1, loss, dlogits);
                CHECK(isfinite(loss[0]) && isnan(loss[1]) && isfinite(loss[2]));
                for (int j = 0; j < 6 * 3 * 4; j++)
                    CHECK(j / 4 % 3 == 1 ? isnan(dlogits[j]) : isfinite(dlogits[j]));
            }
            problem_free(&p);
        }
    }
    problem p = problem_new(6, 1, 4, 2, 1);
    ptrdiff_t other = 0; /* neither the blank nor a label of the row */
    while (other == p.c.blank || other == p.labels[0] || other == p.labels[1])
        other++;
    for (int t = 0; t < 6; t++)
        p.logits[4 * t + other] = -INFINITY;
    test_values("logarithms", by_logarithms, &p);
    p.logits[4 * 3 + p.c.blank] = p.logits[4 * 3 + p.labels[0]] = -INFINITY;
    p.logits[4 * 3 + p.labels[1]] = -INFINITY; /* no class remains */
    double loss, dlogits[24];
    describe("all excluded");
    by_core(&p, FC_F64, 1, &loss, dlogits);
    CHECK(isnan(loss));
    problem_free(&p);
}

static void test_bad_arguments(void) {
    problem p = problem_new(4, 2, 3, 2, 1);
    double loss[2] = {7, 7}, dlogits[24] = {7};
    size_t bytes;
    describe("bad arguments");
    for (int b = 0; b < 2; b++)
        p.lengths[b] = 4, p.label_lengths[b] = 2;
    CHECK_OK(fc_ctc_scratch_size(&p.c, 1, &bytes));
    void *scratch = take(bytes, 0);
#define REFUSED(member, value, status)                                                 \
    do {                                                                               \
        fc_ctc bad = p.c;                                                              \
        bad.member = (value);                                                          \
        CHECK_STATUS(fc_ctc_loss(&bad, loss, dlogits, scratch, 1), status);            \
    } while (0)
    int64_t wrong[4];
    REFUSED(dtype, FC_BF16, FC_BAD_ARGUMENT);
    REFUSED(steps, -1, FC_BAD_ARGUMENT);
    REFUSED(rows, -1, FC_BAD_ARGUMENT);
    REFUSED(n, 0, FC_BAD_ARGUMENT);
    REFUSED(most_labels, -1, FC_BAD_ARGUMENT);
    REFUSED(logits, NULL, FC_BAD_ARGUMENT);
    REFUSED(labels, NULL, FC_BAD_ARGUMENT);
    REFUSED(label_lengths, NULL, FC_BAD_ARGUMENT);
    REFUSED(scale, NULL, FC_BAD_ARGUMENT);
    REFUSED(steps, PTRDIFF_MAX, FC_TOO_LARGE);
    REFUSED(n, PTRDIFF_MAX / 1000, FC_TOO_LARGE);
    REFUSED(blank, -1, FC_BAD_INDEX);
    REFUSED(blank, 3, FC_BAD_INDEX);
    const int64_t lengths[] = {-1, 5, INT64_MAX, INT64_MIN};
    for (int i = 0; i < 4; i++) {
        wrong[0] = 1, wrong[1] = lengths[i];
        REFUSED(lengths, wrong, FC_BAD_LENGTH);
        REFUSED(label_lengths, wrong, FC_BAD_LENGTH);
    }
    const int64_t labels[] = {-1, 3, INT64_MAX, p.c.blank};
    for (int i = 0; i < 4; i++) {
        memcpy(wrong, p.labels, sizeof wrong);
        wrong[3] = labels[i];
        REFUSED(labels, wrong, FC_BAD_INDEX);
    }
    CHECK_STATUS(fc_ctc_loss(&p.c, NULL, dlogits, scratch, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_ctc_loss(&p.c, loss, dlogits, NULL, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_ctc_loss(&p.c, loss, dlogits, scratch, 0), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_ctc_loss(NULL, loss, dlogits, scratch, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_ctc_scratch_size(&p.c, 1, NULL), FC_BAD_ARGUMENT);
    fc_ctc large = p.c;
    large.most_labels = PTRDIFF_MAX / 65536;
    large.steps = 1 << 20;
    CHECK_STATUS(fc_ctc_scratch_size(&large, 1, &bytes), FC_TOO_LARGE);
    CHECK(loss[0] == 7 && dlogits[0] == 7); /* unchanged */
    fc_ctc all = p.c;
    all.lengths = NULL;
    double same[2], dsame[24];
    CHECK_OK(fc_ctc_loss(&all, same, dsame, scratch, 1));
    CHECK_OK(fc_ctc_loss(&p.c, loss, dlogits, scratch, 1));
    CHECK_SAME_BITS(loss, same, 2);
    release(scratch);
    problem_free(&p);
}

int main(void) {
    seed(2006);
    static const ptrdiff_t sizes[][4] = {/* T, B, V, L */
                                         {1, 3, 2, 1}, {1, 2, 3, 0}, {2, 4, 2, 2},
                                         {4, 5, 4, 2}, {6, 7, 3, 3}, {7, 6, 3, 4},
                                         {8, 3, 2, 4}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int spread = 1; spread <= 16; spread *= 4) {
            problem p =
                problem_new(sizes[i][0], sizes[i][1], sizes[i][2], sizes[i][3], spread);
            test_values("paths", by_paths, &p);
            test_values("logarithms", by_logarithms, &p);
            problem_free(&p);
        }
    static const ptrdiff_t larger[][4] = {
        {0, 3, 4, 0}, {0, 3, 4, 2}, {150, 9, 33, 40}, {400, 5, 7, 60}, {70, 0, 7, 60}};
    for (size_t i = 0; i < sizeof larger / sizeof *larger; i++)
        for (int spread = 1; spread <= 1000; spread *= 10) {
            problem p = problem_new(larger[i][0], larger[i][1], larger[i][2],
                                    larger[i][3], spread);
            test_values("logarithms", by_logarithms, &p);
            problem_free(&p);
        }
    test_longest();
    test_tiny_probabilities();
    test_not_finite();
    test_bad_arguments();
    return finish("ctc");
}

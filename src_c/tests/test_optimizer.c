/* Adam and the sum of squares against plain loops in double. */
#include "harness.h"

static const double tolerance[] = {[FC_F32] = 1e-6, [FC_F64] = 1e-14};
enum { LONGEST = 67, STEPS = 5 };

static double *random_values(ptrdiff_t n) {
    double *values = zeros(n, sizeof *values);
    for (ptrdiff_t i = 0; i < n; i++)
        values[i] = uniform(-1, 1);
    return values;
}

typedef struct setting {
    double beta2, decay;
    bool decoupled, amsgrad;
} setting;

static const double lr = 0.01, beta1 = 0.9, eps = 1e-8;

/* Kingma & Ba, ICLR 2015, algorithm 1; decoupled decay as Loshchilov & Hutter, 2019;
 * AMSGrad as Reddi et al., 2018, with the correction of bias that torch has. */
static void adam_reference(setting s, int step, ptrdiff_t n, double *p, const double *g,
                           double *m, double *v, double *v_max) {
    for (ptrdiff_t i = 0; i < n; i++) {
        double gi = s.decoupled ? g[i] : g[i] + s.decay * p[i];
        m[i] = beta1 * m[i] + (1 - beta1) * gi;
        v[i] = s.beta2 * v[i] + (1 - s.beta2) * gi * gi;
        v_max[i] = s.amsgrad ? fmax(v_max[i], v[i]) : v_max[i];
        double mean = m[i] / (1 - pow(beta1, step)),
               square = (s.amsgrad ? v_max[i] : v[i]) / (1 - pow(s.beta2, step));
        p[i] -=
            lr * mean / (sqrt(square) + eps) + (s.decoupled ? lr * s.decay * p[i] : 0);
    }
}

static fc_adam_rule rule_of(setting s, int step, void *v_max) {
    return (fc_adam_rule){.beta1 = beta1,
                          .beta2 = s.beta2,
                          .eps = eps,
                          .rate = lr / (1 - pow(beta1, step)),
                          .root_correction = 1 / sqrt(1 - pow(s.beta2, step)),
                          .decay = s.decoupled ? 0 : s.decay,
                          .shrink = s.decoupled ? 1 - lr * s.decay : 1,
                          .v_max = s.amsgrad ? v_max : NULL};
}

enum { P, M, V, V_MAX, ARRAYS };

static void test_adam(fc_dtype dtype, ptrdiff_t n, setting s) {
    double *wanted[ARRAYS] = {random_values(n), zeros(n, 8), zeros(n, 8), zeros(n, 8)};
    double *got = zeros(n, 8);
    void *mine[ARRAYS];
    for (int i = 0; i < ARRAYS; i++)
        mine[i] = reals_of(dtype, wanted[i], n);
    for (int step = 1; step <= STEPS; step++) {
        double *g = random_values(n);
        void *cg = reals_of(dtype, g, n);
        fc_adam_rule rule = rule_of(s, step, mine[V_MAX]);
        adam_reference(s, step, n, wanted[P], g, wanted[M], wanted[V], wanted[V_MAX]);
        CHECK_OK(fc_adam(dtype, &rule, n, mine[P], cg, mine[M], mine[V], 3));
        release(cg);
        free(g);
    }
    for (int i = 0; i < ARRAYS; i++) {
        doubles_of(dtype, mine[i], n, got);
        CHECK_CLOSE(got, wanted[i], n, tolerance[dtype]);
        release(mine[i]);
        free(wanted[i]);
    }
    free(got);
}

/* All at once, by parts that begin and end anywhere, is what each alone is. */
static void test_adam_all(fc_dtype dtype, setting s, int threads) {
    static const ptrdiff_t sizes[] = {0, 1, 70001, 16, 17, 0, 65536, 5, 40003, 0};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    fc_adam_parameter all[COUNT];
    void *alone[COUNT][ARRAYS], *together[COUNT][ARRAYS], *grads[COUNT];
    describe("%s f%d all, %d threads", fc_isa(), dtype ? 64 : 32, threads);
    for (int k = 0; k < COUNT; k++) {
        for (int i = 0; i < ARRAYS; i++) {
            double *values = random_values(sizes[k]);
            for (ptrdiff_t j = 0; i >= V && j < sizes[k]; j++)
                values[j] = fabs(values[j]);
            alone[k][i] = reals_of(dtype, values, sizes[k]);
            together[k][i] = reals_of(dtype, values, sizes[k]);
            free(values);
        }
        double *g = random_values(sizes[k]);
        grads[k] = reals_of(dtype, g, sizes[k]);
        free(g);
        all[k] = (fc_adam_parameter){.n = sizes[k],
                                     .p = together[k][P],
                                     .g = grads[k],
                                     .m = together[k][M],
                                     .v = together[k][V],
                                     .v_max = s.amsgrad ? together[k][V_MAX] : NULL};
        fc_adam_rule rule = rule_of(s, 3, alone[k][V_MAX]);
        CHECK_OK(fc_adam(dtype, &rule, sizes[k], alone[k][P], grads[k], alone[k][M],
                         alone[k][V], 1));
    }
    fc_adam_rule rule = rule_of(s, 3, NULL);
    CHECK_OK(fc_adam_all(dtype, &rule, COUNT, all, threads));
    for (int k = 0; k < COUNT; k++) {
        for (int i = 0; i < ARRAYS; i++) {
            double *wanted = zeros(sizes[k], 8), *got = zeros(sizes[k], 8);
            doubles_of(dtype, alone[k][i], sizes[k], wanted);
            doubles_of(dtype, together[k][i], sizes[k], got);
            CHECK_SAME_BITS(got, wanted, sizes[k]);
            free(wanted);
            free(got);
            release(alone[k][i]);
            release(together[k][i]);
        }
        release(grads[k]);
    }
}

static void test_scale(fc_dtype dtype, ptrdiff_t n) {
    double *x = random_values(n), *got = zeros(n, 8);
    void *cx = reals_of(dtype, x, n);
    doubles_of(dtype, cx, n, x);
    for (ptrdiff_t i = 0; i < n; i++)
        x[i] = dtype == FC_F64 ? x[i] * 0.3 : (double)((float)x[i] * 0.3f);
    CHECK_OK(fc_scale(dtype, n, 0.3, cx));
    doubles_of(dtype, cx, n, got);
    CHECK_SAME_BITS(got, x, n);
    release(cx);
    free(x);
    free(got);
}

/* A NaN stays in v_max, and in its own element. */
static void test_largest_of_nan(void) {
    float p[3] = {1, 1, 1}, m[3] = {0}, v[3] = {0}, v_max[3] = {0, 0, 9};
    const float bad[3] = {1, NAN, 1}, good[3] = {1, 1, 1};
    fc_adam_rule rule = rule_of((setting){.beta2 = 0.5, .amsgrad = true}, 1, v_max);
    describe("%s largest of NaN", fc_isa());
    CHECK_OK(fc_adam(FC_F32, &rule, 3, p, bad, m, v, 1));
    CHECK_OK(fc_adam(FC_F32, &rule, 3, p, good, m, v, 1));
    CHECK(v_max[0] == 0.75f && isnan(v_max[1]) && v_max[2] == 9);
    CHECK(isfinite(p[0]) && isnan(p[1]) && isfinite(p[2]));
}

/* In double for both types: exact up to its own rounding. */
static void test_sum_of_squares(fc_dtype dtype, ptrdiff_t n) {
    double *x = random_values(n), wanted = 0, sum = -1;
    void *cx = reals_of(dtype, x, n);
    for (ptrdiff_t i = 0; i < n; i++)
        wanted += x[i] * x[i];
    CHECK_OK(fc_sum_of_squares(dtype, n, cx, &sum));
    CHECK_CLOSE(&sum, &wanted, 1, 1e-13);
    release(cx);
    free(x);
}

/* float32 values whose squares overflow or vanish in float32. */
static void test_extreme_squares(void) {
    float large[3] = {1e30f, 1e30f, 1e30f}, small[3] = {1e-30f, 1e-30f, 1e-30f},
          bad[3] = {1, NAN, 1};
    double sum;
    describe("%s extreme squares", fc_isa());
    CHECK_OK(fc_sum_of_squares(FC_F32, 3, large, &sum));
    CHECK(fabs(sum / 3e60 - 1) < 1e-6);
    CHECK_OK(fc_sum_of_squares(FC_F32, 3, small, &sum));
    CHECK(fabs(sum / 3e-60 - 1) < 1e-6);
    CHECK_OK(fc_sum_of_squares(FC_F32, 3, bad, &sum));
    CHECK(isnan(sum));
}

static const setting settings[] = {
    {.beta2 = 0.999},
    {.beta2 = 0.999, .decay = 0.1},
    {.beta2 = 0.999, .decay = 0.1, .decoupled = true},
    {.beta2 = 0.5, .amsgrad = true}, /* so low that v falls below its largest */
    {.beta2 = 0.5, .decay = 0.1, .amsgrad = true},
    {.beta2 = 0.5, .decay = 0.1, .decoupled = true, .amsgrad = true},
};

int main(void) {
    FOR_EACH_ISA(isa) {
        for (int d = 0; d < 2; d++) {
            for (ptrdiff_t n = 0; n <= LONGEST; n++) {
                describe("%s f%d n=%td", isa, d ? 64 : 32, n);
                seed((uint64_t)n);
                for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
                    test_adam((fc_dtype)d, n, settings[i]);
                test_sum_of_squares((fc_dtype)d, n);
                test_scale((fc_dtype)d, n);
            }
            for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
                for (int threads = 1; threads <= 3; threads++)
                    test_adam_all((fc_dtype)d, settings[i], threads);
            test_sum_of_squares((fc_dtype)d, 10007);
            for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
                test_adam((fc_dtype)d, 100003, settings[i]); /* by three threads */
        }
        test_largest_of_nan();
        test_extreme_squares();
    }
    return finish("optimizer");
}

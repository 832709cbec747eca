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

/* Kingma & Ba, ICLR 2015, algorithm 1; decoupled decay as Loshchilov & Hutter, 2019. */
static void adam_reference(double lr, double decay, bool decoupled, int step,
                           ptrdiff_t n, double *p, const double *g, double *m,
                           double *v) {
    const double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
    for (ptrdiff_t i = 0; i < n; i++) {
        double gi = decoupled ? g[i] : g[i] + decay * p[i];
        m[i] = beta1 * m[i] + (1 - beta1) * gi;
        v[i] = beta2 * v[i] + (1 - beta2) * gi * gi;
        double mean = m[i] / (1 - pow(beta1, step)),
               square = v[i] / (1 - pow(beta2, step));
        p[i] -= lr * mean / (sqrt(square) + eps) + (decoupled ? lr * decay * p[i] : 0);
    }
}

static fc_adam_rule rule_of(double lr, double decay, bool decoupled, int step) {
    return (fc_adam_rule){.beta1 = 0.9,
                          .beta2 = 0.999,
                          .eps = 1e-8,
                          .rate = lr / (1 - pow(0.9, step)),
                          .root_correction = 1 / sqrt(1 - pow(0.999, step)),
                          .decay = decoupled ? 0 : decay,
                          .shrink = decoupled ? 1 - lr * decay : 1};
}

static void test_adam(fc_dtype dtype, ptrdiff_t n, double decay, bool decoupled) {
    double *p = random_values(n), *m = zeros(n, 8), *v = zeros(n, 8),
           *got = zeros(n, 8);
    void *cp = reals_of(dtype, p, n), *cm = reals_of(dtype, m, n),
         *cv = reals_of(dtype, v, n);
    for (int step = 1; step <= STEPS; step++) {
        double *g = random_values(n);
        void *cg = reals_of(dtype, g, n);
        fc_adam_rule rule = rule_of(0.01, decay, decoupled, step);
        adam_reference(0.01, decay, decoupled, step, n, p, g, m, v);
        CHECK_OK(fc_adam(dtype, &rule, n, cp, cg, cm, cv));
        release(cg);
        free(g);
    }
    doubles_of(dtype, cp, n, got);
    CHECK_CLOSE(got, p, n, tolerance[dtype]);
    doubles_of(dtype, cm, n, got);
    CHECK_CLOSE(got, m, n, tolerance[dtype]);
    doubles_of(dtype, cv, n, got);
    CHECK_CLOSE(got, v, n, tolerance[dtype]);
    void *watched[] = {cp, cm, cv}, *plain[] = {p, m, v, got};
    for (int i = 0; i < 3; i++)
        release(watched[i]);
    for (int i = 0; i < 4; i++)
        free(plain[i]);
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

int main(void) {
    FOR_EACH_ISA(isa) {
        for (int d = 0; d < 2; d++) {
            for (ptrdiff_t n = 0; n <= LONGEST; n++) {
                describe("%s f%d n=%td", isa, d ? 64 : 32, n);
                seed((uint64_t)n);
                test_adam((fc_dtype)d, n, 0, false);
                test_adam((fc_dtype)d, n, 0.1, false);
                test_adam((fc_dtype)d, n, 0.1, true);
                test_sum_of_squares((fc_dtype)d, n);
            }
            test_sum_of_squares((fc_dtype)d, 10007);
        }
        test_extreme_squares();
    }
    return finish("optimizer");
}

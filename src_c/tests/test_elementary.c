/* exp, sigmoid and tanh: accuracy, special values, tails, and bounds of writes. */
#include <float.h>

#include "tests/harness.h"

typedef fc_status elementary(fc_dtype, ptrdiff_t, const void *, void *);

static const struct {
    const char *name;
    elementary *run;
} functions[] = {{"exp", fc_exp}, {"sigmoid", fc_sigmoid}, {"tanh", fc_tanh}};
enum { EXP, SIGMOID, TANH, FUNCTIONS };

static double value_at(int function, fc_dtype dtype, double x) {
    double y;
    void *from = reals_of(dtype, &x, 1), *to = reals_of(dtype, &x, 1);
    CHECK_OK(functions[function].run(dtype, 1, from, to));
    y = real_at(dtype, to, 0);
    release(from);
    release(to);
    return y;
}

/* The same value and the same sign of zero. */
static void expect(int function, fc_dtype dtype, double x, double wanted) {
    describe("%s f%d %s(%g)", fc_isa(), dtype == FC_F64 ? 64 : 32,
             functions[function].name, x);
    double y = value_at(function, dtype, x);
    CHECK(isnan(wanted) ? isnan(y) : y == wanted && signbit(y) == signbit(wanted));
}

static void test_specials(fc_dtype dtype) {
    double smallest = dtype == FC_F64 ? 0x1p-1074 : 0x1p-149;
    double largest = dtype == FC_F64 ? DBL_MAX : (double)FLT_MAX;
    double zeros_[] = {0.0, -0.0, smallest, -smallest, 100 * smallest, -100 * smallest};
    double huge_[] = {INFINITY, largest, 1e30, 1000};
    for (int i = 0; i < 6; i++) {
        expect(EXP, dtype, zeros_[i], 1);
        expect(SIGMOID, dtype, zeros_[i], 0.5);
        expect(TANH, dtype, zeros_[i], zeros_[i]);
    }
    for (int i = 0; i < 4; i++) {
        expect(EXP, dtype, huge_[i], INFINITY);
        expect(EXP, dtype, -huge_[i], 0);
        expect(SIGMOID, dtype, huge_[i], 1);
        expect(SIGMOID, dtype, -huge_[i], 0);
        expect(TANH, dtype, huge_[i], 1);
        expect(TANH, dtype, -huge_[i], -1);
    }
    for (int f = 0; f < FUNCTIONS; f++) {
        expect(f, dtype, NAN, NAN);
        expect(f, dtype, -NAN, NAN);
    }
    /* Subnormal results are not flushed to zero. */
    double low = dtype == FC_F64 ? -740 : -100;
    describe("%s subnormal results", fc_isa());
    CHECK(value_at(EXP, dtype, low) > 0);
    CHECK(value_at(SIGMOID, dtype, low) > 0);
}

/* Against libm's long double, at random values; ulp.c tests all float32 values. */
static void test_accuracy(fc_dtype dtype) {
    enum { N = 20000 };
    int digits = dtype == FC_F64 ? 53 : 24, lowest = dtype == FC_F64 ? -1074 : -149;
    double *x = zeros(N, 8), *y = zeros(N, 8);
    for (int f = 0; f < FUNCTIONS; f++) {
        seed(1);
        for (int i = 0; i < N; i++) {
            double magnitude = exp(uniform(-40, dtype == FC_F64 ? 6.5 : 4.4));
            x[i] = (double)(float)(chance(0.5) ? magnitude : -magnitude);
        }
        void *from = reals_of(dtype, x, N), *to = reals_of(dtype, x, N);
        CHECK_OK(functions[f].run(dtype, N, from, to));
        doubles_of(dtype, to, N, y);
        double worst = 0;
        for (int i = 0; i < N; i++) {
            long double t = x[i];
            long double exact = f == EXP    ? expl(t)
                                : f == TANH ? tanhl(t)
                                            : 1 / (1 + expl(-t));
            int exponent;
            frexpl(exact, &exponent);
            int ulp = exponent - digits > lowest ? exponent - digits : lowest;
            worst = fmax(worst, (double)ldexpl(fabsl((long double)y[i] - exact), -ulp));
        }
        describe("%s f%d %s: %.2f ulp", fc_isa(), digits == 53 ? 64 : 32,
                 functions[f].name, worst);
        CHECK(worst <= 3);
        release(from);
        release(to);
    }
    free(x);
    free(y);
}

/* A result does not depend on the length of the array or its position in it. */
static void test_tails(fc_dtype dtype) {
    enum { LONGEST = 40, WHOLE = 64 };
    double x[WHOLE], wanted[WHOLE], got[WHOLE];
    seed(2);
    for (int i = 0; i < WHOLE; i++)
        x[i] = uniform(-20, 20);
    for (int f = 0; f < FUNCTIONS; f++) {
        void *from = reals_of(dtype, x, WHOLE), *to = reals_of(dtype, x, WHOLE);
        CHECK_OK(functions[f].run(dtype, WHOLE, from, to));
        doubles_of(dtype, to, WHOLE, wanted);
        release(to);
        for (ptrdiff_t n = 0; n <= LONGEST; n++) {
            for (ptrdiff_t skip = 0; skip < 3; skip++) {
                describe("%s f%d %s n=%td from %td", fc_isa(),
                         dtype == FC_F64 ? 64 : 32, functions[f].name, n, skip);
                void *part = reals_of(dtype, x + skip, n), *y = reals_of(dtype, x, n);
                CHECK_OK(functions[f].run(dtype, n, part, y));
                doubles_of(dtype, y, n, got);
                CHECK_SAME_BITS(got, wanted + skip, n);
                release(part);
                release(y); /* no write past n */
            }
        }
        release(from);
    }
}

/* In place is allowed: y may be x. */
static void test_in_place(fc_dtype dtype) {
    double x[21], got[21], wanted[21];
    seed(3);
    for (int i = 0; i < 21; i++)
        x[i] = uniform(-5, 5);
    void *from = reals_of(dtype, x, 21), *to = reals_of(dtype, x, 21);
    CHECK_OK(fc_tanh(dtype, 21, from, to));
    CHECK_OK(fc_tanh(dtype, 21, from, from));
    doubles_of(dtype, to, 21, wanted);
    doubles_of(dtype, from, 21, got);
    describe("%s in place", fc_isa());
    CHECK_SAME_BITS(got, wanted, 21);
    release(from);
    release(to);
}

int main(void) {
    FOR_EACH_ISA(isa) {
        CHECK(!strcmp(fc_isa(), isa));
        for (int d = 0; d < 2; d++) {
            test_specials((fc_dtype)d);
            test_tails((fc_dtype)d);
            test_in_place((fc_dtype)d);
            test_accuracy((fc_dtype)d);
        }
    }
    return finish("elementary");
}

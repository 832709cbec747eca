/* exp, sigmoid and tanh over all 2^32 float32 values, for every instruction set of this
 * CPU: the largest error in ulp, and where.  Fails above 3 ulp.
 *
 *     ulp [threads [stride]]     by default all cores and all values
 *
 * With a stride, a power of two up to 2048, only one value of every `stride`
 * consecutive bit patterns is tested, at a varying position.
 *
 * The reference is libm's double, whose error below 1 ulp of a double is 2^-29 ulp of a
 * float: negligible.  An error is counted in units of the last place of the exact
 * result's binade, 2^-149 where that is subnormal.  Infinity counts as 2^128, where
 * the next float would be.
 *
 * Values are taken in blocks of consecutive bit patterns, so that a block has one sign
 * and one exponent.  Most exponents need no libm: the results of tiny arguments follow
 * from the series, those of large ones are 0, 1 or infinity to far below a float's
 * precision. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fastcell.h"

enum { BLOCK = 4096, BLOCKS = 1 << 20, MOST_THREADS = 64, NAN_BLOCK = 128 };
enum { MOST_STRIDE = 2048 }; /* a block has one exponent */
static const double most_ulp = 3;

enum { EXP, SIGMOID, TANH, FUNCTIONS };
static const char *const names[] = {"exp", "sigmoid", "tanh"};

typedef struct worst {
    double ulp;
    float x;
    long wrong; /* NaN instead of a number, or a number instead of NaN */
} worst;

/* The exact result to more than twice a float's precision.  `exponent`: 2^exponent <=
 * |x| < 2^(exponent + 1). */
static double exact(int function, int exponent, double x) {
    if (exponent < -12) { /* the next terms are below 2^-37, relatively */
        if (function == EXP)
            return 1 + x + x * x / 2;
        return function == SIGMOID ? 0.5 + x / 4 : x - x * x * x / 3;
    }
    if (function == EXP)
        return exponent >= 10 ? (x > 0 ? INFINITY : 0) : exp(x);
    if (function == SIGMOID)
        return exponent >= 10 ? (x > 0) : 1 / (1 + exp(-x));
    return exponent >= 5 ? copysign(1, x) : tanh(x);
}

/* Computed from the bits: frexp and ldexp would take most of the time. */
static double ulp_error(float y, double wanted) {
    static const double infinity = 0x1p128;
    uint64_t bits, inverse_bits;
    double got = (double)y, inverse;
    got = got > infinity ? infinity : got;
    wanted = wanted > infinity ? infinity : wanted;
    memcpy(&bits, &wanted, sizeof bits);
    int exponent = (int)(bits >> 52 & 2047) - 1023;
    /* A result that rounds to 1 in double lies below it; 2^128 likewise. */
    exponent -= wanted == 1 || wanted == -1 || wanted == infinity;
    exponent = exponent < -126 ? -126 : exponent;
    inverse_bits = (uint64_t)(1023 + 23 - exponent) << 52;
    memcpy(&inverse, &inverse_bits, sizeof inverse);
    return fabs(got - wanted) * inverse;
}

static void note(worst *w, float x, float y, double wanted) {
    double error = ulp_error(y, wanted);
    if (error > w->ulp) {
        w->ulp = error;
        w->x = x;
    }
    w->wrong += !(error >= 0);
}

/* All blocks of a tiny or large exponent have results that are correctly rounded by
 * one rule, or are compared one by one. */
static bool expected_bits(int function, int exponent, bool negative, uint32_t *bits) {
    static const uint32_t one = 0x3f800000, half = 0x3f000000, infinity = 0x7f800000;
    if (exponent < -25) {
        *bits = function == EXP ? one : half;
        return function != TANH; /* tanh x = x: below */
    }
    if (function == TANH && exponent >= 4) {
        *bits = one | (uint32_t)negative << 31;
        return true;
    }
    if (exponent >= 7) {
        *bits = negative ? 0 : function == EXP ? infinity : one;
        return true;
    }
    return false;
}

static uint32_t stride = 1;

/* `index` is that of the tested value. */
static uint32_t value_bits(uint32_t index) {
    return index * stride + (index * 2654435761u >> 16 & (stride - 1));
}

static void check_block(int function, uint32_t first, worst *w) {
    static fc_status (*const run[])(fc_dtype, ptrdiff_t, const void *,
                                    void *) = {fc_exp, fc_sigmoid, fc_tanh};
    float x[BLOCK], y[BLOCK];
    uint32_t x_bits[BLOCK], y_bits[BLOCK], bits, different = 0;
    int exponent = (int)(value_bits(first) >> 23 & 255) - 127;
    for (uint32_t i = 0; i < BLOCK; i++)
        x_bits[i] = value_bits(first + i);
    memcpy(x, x_bits, sizeof x);
    run[function](FC_F32, BLOCK, x, y);
    memcpy(y_bits, y, sizeof y);

    if (exponent == NAN_BLOCK) { /* the first value of two blocks is infinity */
        for (int i = 0; i < BLOCK; i++)
            if (isnan(x[i]))
                w->wrong += !isnan(y[i]);
            else
                note(w, x[i], y[i], exact(function, exponent, (double)x[i]));
        return;
    }
    if (expected_bits(function, exponent, value_bits(first) >> 31, &bits)) {
        for (int i = 0; i < BLOCK; i++)
            different |= y_bits[i] ^ bits;
    } else if (exponent < -25) {
        for (int i = 0; i < BLOCK; i++)
            different |= y_bits[i] ^ x_bits[i];
    } else {
        different = 1;
    }
    for (int i = 0; different && i < BLOCK; i++)
        note(w, x[i], y[i], exact(function, exponent, (double)x[i]));
}

static atomic_uint next_block;
static int function_now;

static void *worker(void *result) {
    enum { RUN = 256 };
    worst *w = result;
    unsigned block;
    while ((block = atomic_fetch_add(&next_block, RUN)) < BLOCKS / stride)
        for (unsigned i = block; i < block + RUN; i++)
            check_block(function_now, i * BLOCK, w);
    return NULL;
}

static worst check_function(int function, int threads) {
    pthread_t thread[MOST_THREADS];
    worst found[MOST_THREADS] = {{0}}, all = {0};
    function_now = function;
    atomic_store(&next_block, 0);
    for (int i = 0; i < threads; i++)
        if (pthread_create(&thread[i], NULL, worker, &found[i])) {
            fprintf(stderr, "cannot start a thread\n");
            exit(2);
        }
    for (int i = 0; i < threads; i++) {
        pthread_join(thread[i], NULL);
        all.wrong += found[i].wrong;
        if (found[i].ulp > all.ulp) {
            all.ulp = found[i].ulp;
            all.x = found[i].x;
        }
    }
    return all;
}

int main(int count, char **arguments) {
    long threads =
        count > 1 ? strtol(arguments[1], NULL, 10) : sysconf(_SC_NPROCESSORS_ONLN);
    long every = count > 2 ? strtol(arguments[2], NULL, 10) : 1;
    int failed = 0;
    threads = threads < 1 ? 1 : threads > MOST_THREADS ? MOST_THREADS : threads;
    if (every < 1 || every > MOST_STRIDE || (every & (every - 1))) {
        fprintf(stderr, "stride: a power of two up to %d\n", MOST_STRIDE);
        return 2;
    }
    stride = (uint32_t)every;
    printf("one value of %ld\n", every);
    printf("%-10s %-8s %8s  %-15s %s\n", "set", "function", "ulp", "at x", "wrong NaN");
    for (int which = 0; fc_isa_name(which); which++) {
        if (fc_isa_select(fc_isa_name(which)))
            return 2;
        for (int f = 0; f < FUNCTIONS; f++) {
            worst w = check_function(f, (int)threads);
            bool bad = !(w.ulp <= most_ulp) || w.wrong;
            failed += bad;
            printf("%-10s %-8s %8.3f  %-15.8g %ld%s\n", fc_isa(), names[f], w.ulp,
                   (double)w.x, w.wrong, bad ? "  FAILED" : "");
            fflush(stdout);
        }
    }
    return failed != 0;
}

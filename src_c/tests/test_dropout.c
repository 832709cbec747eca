/* Dropout: the generator against its published values; the same mask on every machine,
 * with any number of threads, for any part of an array. */
#include "tests/harness.h"

/* Threefry2x32-20 as in the paper, for one counter. */
static void threefry(const uint32_t counter[2], const uint32_t key[2], uint32_t x[2]) {
    static const int rotation[8] = {13, 15, 26, 6, 17, 29, 16, 24};
    const uint32_t k[3] = {key[0], key[1], 0x1BD11BDA ^ key[0] ^ key[1]};
    x[0] = counter[0] + k[0];
    x[1] = counter[1] + k[1];
    for (unsigned round = 0; round < 20; round++) {
        x[0] += x[1];
        int bits = rotation[round % 8];
        x[1] = (x[1] << bits | x[1] >> (32 - bits)) ^ x[0];
        if (round % 4 == 3) {
            unsigned s = round / 4 + 1;
            x[0] += k[s % 3];
            x[1] += k[(s + 1) % 3] + s;
        }
    }
}

/* The known answers of the paper's code. */
static void test_reference(void) {
    static const uint32_t answers[][6] = {
        {0, 0, 0, 0, 0x6b200159, 0x99ba4efe},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x1cb996fc, 0xbb002be7},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xc4923a9c, 0x483df7a0}};
    describe("dropout, published answers");
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        uint32_t x[2];
        threefry(answers[i], answers[i] + 2, x);
        CHECK(x[0] == answers[i][4] && x[1] == answers[i][5]);
    }
}

/* The random word of element i of an array. */
static uint32_t word_of(uint64_t key, ptrdiff_t i) {
    uint32_t counter[2] = {(uint32_t)(i / 128 * 64 + i % 64)}, x[2];
    uint32_t keys[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
    threefry(counter, keys, x);
    return x[i % 128 / 64];
}

static void test_numbers(fc_dtype dtype, ptrdiff_t n, double p, uint64_t key) {
    double *x = zeros(n, 8), *wanted = zeros(n, 8), *got = zeros(n, 8);
    for (ptrdiff_t i = 0; i < n; i++) {
        x[i] = (double)(i % 9 - 4);
        double factor = p < 1 ? 1 / (1 - p) : 0;
        factor = dtype == FC_F32 ? (float)factor : factor;
        wanted[i] = p < 1 && word_of(key, i) >= p * 0x1p32 ? x[i] * factor : 0;
        if (dtype == FC_F32)
            wanted[i] = (float)wanted[i];
    }
    void *cx = reals_of(dtype, x, n), *y = take((size_t)n * real_size(dtype), 8);
    for (int threads = 1; threads < 4; threads++) {
        CHECK_OK(fc_dropout(dtype, n, p, key, cx, y, threads));
        doubles_of(dtype, y, n, got);
        CHECK_CLOSE(got, wanted, n, 0);
    }
    CHECK_OK(fc_dropout(dtype, n, p, key, NULL, y, 2)); /* only the factors */
    doubles_of(dtype, y, n, got);
    for (ptrdiff_t i = 0; i < n; i++)
        got[i] = dtype == FC_F32 ? (float)(got[i] * x[i]) : got[i] * x[i];
    CHECK_CLOSE(got, wanted, n, 0);
    CHECK_OK(fc_dropout(dtype, n, p, key, cx, cx, 1)); /* in place */
    doubles_of(dtype, cx, n, got);
    CHECK_CLOSE(got, wanted, n, 0);
    release(cx);
    release(y);
    free(x);
    free(wanted);
    free(got);
}

/* Neighbours, lags and keys are independent within four standard errors. */
static void test_independence(void) {
    enum { N = 1 << 16 };
    float *y = zeros(N, 4), *other = zeros(N, 4);
    describe("%s independence", fc_isa());
    CHECK_OK(fc_dropout(FC_F32, N, 0.5, 1, NULL, y, 1));
    CHECK_OK(fc_dropout(FC_F32, N, 0.5, 2, NULL, other, 1));
    static const int lags[] = {1, 2, 4, 63, 64, 128, 1024};
    for (size_t k = 0; k < sizeof lags / sizeof *lags; k++) {
        double both = 0, apart = 0;
        for (ptrdiff_t i = 0; i < N; i++) {
            both += (double)(y[i] - 1) * (double)(y[(i + lags[k]) % N] - 1);
            apart += (double)(y[i] - 1) * (double)(other[(i + lags[k]) % N] - 1);
        }
        CHECK(fabs(both) < 4 * sqrt(N));
        CHECK(fabs(apart) < 4 * sqrt(N));
    }
    free(y);
    free(other);
}

static void test_arguments(void) {
    float x[4] = {0};
    describe("dropout, arguments");
    CHECK_OK(fc_dropout(FC_F32, 0, 0.5, 1, NULL, NULL, 1));
    CHECK_STATUS(fc_dropout((fc_dtype)9, 4, 0.5, 1, x, x, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_dropout(FC_F32, -1, 0.5, 1, x, x, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_dropout(FC_F32, 4, -0.1, 1, x, x, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_dropout(FC_F32, 4, 1.1, 1, x, x, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_dropout(FC_F32, 4, NAN, 1, x, x, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_dropout(FC_F32, 4, 0.5, 1, x, NULL, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_dropout(FC_F32, 4, 0.5, 1, x, x, 0), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_dropout(FC_F64, PTRDIFF_MAX / 8, 0.5, 1, x, x, 1), FC_TOO_LARGE);
}

int main(void) {
    static const ptrdiff_t sizes[] = {1, 15, 128, 129, 400, 400000};
    static const double shares[] = {0, 0.1, 0.5, 0.9, 1 - 1e-15, 1};
    test_reference();
    FOR_EACH_ISA(isa) {
        for (int d = 0; d < 2; d++)
            for (int i = 0; i < 6; i++)
                for (int k = 0; k < 6; k++) {
                    describe("%s f%d %td, %g", isa, d ? 64 : 32, sizes[i], shares[k]);
                    test_numbers((fc_dtype)d, sizes[i], shares[k],
                                 0x9e3779b97f4a7c15u * (uint64_t)(k + 1));
                }
        test_independence();
    }
    test_arguments();
    return finish("dropout");
}

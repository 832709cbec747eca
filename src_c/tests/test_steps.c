/* Reductions over steps and rows of tables, against plain loops. */
#include "tests/harness.h"

typedef struct problem {
    fc_dtype dtype;
    ptrdiff_t steps, rows, n;
    int64_t *lengths; /* or NULL */
    double *h;        /* rounded to the dtype */
    void *ch;
} problem;

static problem make(fc_dtype dtype, ptrdiff_t steps, ptrdiff_t rows, ptrdiff_t n,
                    bool ragged) {
    problem p = {.dtype = dtype, .steps = steps, .rows = rows, .n = n};
    ptrdiff_t total = steps * rows * n;
    p.h = zeros(total, 8);
    for (ptrdiff_t i = 0; i < total; i++) /* few values, so that some are equal */
        p.h[i] = floor(uniform(-4, 4)) / 4;
    if (ragged) {
        p.lengths = zeros(rows, sizeof *p.lengths);
        for (ptrdiff_t row = 0; row < rows; row++)
            p.lengths[row] = (int64_t)uniform(0, (double)steps + 0.999);
        for (ptrdiff_t t = 0; t < steps; t++) /* past lengths: must not be read */
            for (ptrdiff_t row = 0; row < rows; row++)
                for (ptrdiff_t i = 0; t >= p.lengths[row] && i < n; i++)
                    p.h[(t * rows + row) * n + i] = NAN;
    }
    p.ch = reals_of(dtype, p.h, total);
    return p;
}

static void drop(problem *p) {
    release(p->ch);
    free(p->h);
    free(p->lengths);
}

static double at(const problem *p, ptrdiff_t t, ptrdiff_t row, ptrdiff_t i) {
    return p->h[(t * p->rows + row) * p->n + i];
}

static ptrdiff_t steps_of(const problem *p, ptrdiff_t row) {
    return p->lengths ? (ptrdiff_t)p->lengths[row] : p->steps;
}

/* The values are quarters, so that sums are exact. */
static void test_forward(problem *p) {
    ptrdiff_t size = p->rows * p->n;
    double *sum = zeros(size, 8), *most = zeros(size, 8), *got = zeros(size, 8);
    int32_t *step = zeros(size, sizeof *step);
    for (ptrdiff_t row = 0; row < p->rows; row++)
        for (ptrdiff_t i = 0; i < p->n; i++)
            for (ptrdiff_t t = 0; t < steps_of(p, row); t++) {
                ptrdiff_t k = row * p->n + i;
                sum[k] += at(p, t, row, i);
                if (t == 0 || at(p, t, row, i) > most[k]) {
                    most[k] = at(p, t, row, i);
                    step[k] = (int32_t)t;
                }
            }
    void *y = take((size_t)size * real_size(p->dtype), 0);
    int32_t *where = take((size_t)size * sizeof *where, 4);
    CHECK_OK(fc_sum_steps(p->dtype, p->steps, p->rows, p->n, p->lengths, p->ch, y));
    doubles_of(p->dtype, y, size, got);
    CHECK_CLOSE(got, sum, size, 0);
    CHECK_OK(
        fc_max_steps(p->dtype, p->steps, p->rows, p->n, p->lengths, p->ch, y, where));
    doubles_of(p->dtype, y, size, got);
    CHECK_CLOSE(got, most, size, 0);
    CHECK(size == 0 || memcmp(where, step, (size_t)size * sizeof *where) == 0);
    release(y);
    release(where);
    free(sum);
    free(most);
    free(got);
    free(step);
}

static void test_backward(problem *p) {
    ptrdiff_t size = p->rows * p->n, total = p->steps * size;
    double *dy = zeros(size, 8), *wanted = zeros(total, 8), *got = zeros(total, 8);
    int32_t *where = zeros(size, sizeof *where);
    for (ptrdiff_t k = 0; k < size; k++) {
        dy[k] = floor(uniform(-9, 9));
        where[k] = (int32_t)uniform(0, (double)p->steps - 1e-3);
    }
    void *cdy = reals_of(p->dtype, dy, size);
    void *dh = take((size_t)total * real_size(p->dtype), 0);
    for (int one = 0; one < 2; one++) { /* in one step or in all */
        for (ptrdiff_t t = 0; t < p->steps; t++)
            for (ptrdiff_t k = 0; k < size; k++) {
                bool there = one ? where[k] == t && steps_of(p, k / p->n) > 0
                                 : t < steps_of(p, k / p->n);
                wanted[t * size + k] = there ? dy[k] : 0;
            }
        CHECK_OK(fc_spread_steps(p->dtype, p->steps, p->rows, p->n, p->lengths,
                                 one ? where : NULL, cdy, dh));
        doubles_of(p->dtype, dh, total, got);
        CHECK_CLOSE(got, wanted, total, 0);
    }
    release(cdy);
    release(dh);
    free(dy);
    free(wanted);
    free(got);
    free(where);
}

/* A NaN stays in its own feature; the first of equal values wins; -inf is a value. */
static void test_special_values(void) {
    const float h[3][4] = {
        {1, NAN, -INFINITY, 0}, {NAN, 2, -INFINITY, 5}, {7, 3, -INFINITY, 5}};
    float y[4];
    int32_t where[4];
    describe("%s special values", fc_isa());
    CHECK_OK(fc_max_steps(FC_F32, 3, 1, 4, NULL, h, y, where));
    CHECK(isnan(y[0]) && isnan(y[1]) && y[2] == -INFINITY && y[3] == 5);
    CHECK(where[2] == 0 && where[3] == 1);
}

static void test_rows(fc_dtype dtype, ptrdiff_t rows, ptrdiff_t n) {
    enum { COUNT = 5 };
    double *x = zeros(rows * n, 8), *wanted = zeros(COUNT * n, 8),
           *got = zeros(COUNT * n, 8);
    int64_t *ids = zeros(rows, sizeof *ids);
    for (ptrdiff_t i = 0; i < COUNT * n; i++)
        wanted[i] = floor(uniform(-9, 9));
    void *table = reals_of(dtype, wanted, COUNT * n);
    for (ptrdiff_t row = 0; row < rows; row++) {
        ids[row] = (int64_t)uniform(0, COUNT - 1e-9);
        for (ptrdiff_t i = 0; i < n; i++) {
            x[row * n + i] = floor(uniform(-9, 9));
            wanted[ids[row] * n + i] += x[row * n + i];
        }
    }
    void *cx = reals_of(dtype, x, rows * n);
    CHECK_OK(fc_add_rows(dtype, rows, n, ids, cx, COUNT, table));
    doubles_of(dtype, table, COUNT * n, got);
    CHECK_CLOSE(got, wanted, COUNT * n, 0);
    release(cx);
    release(table);
    free(x);
    free(wanted);
    free(got);
    free(ids);
}

static void test_arguments(void) {
    float h[4] = {1, 2, 3, 4}, y[2];
    int32_t where[2];
    int64_t lengths[1] = {2}, ids[2] = {0, 1};
    describe("steps, arguments");
    CHECK_OK(fc_sum_steps(FC_F32, 2, 1, 2, lengths, h, y));
    CHECK_OK(fc_sum_steps(FC_F32, 0, 1, 2, NULL, NULL, y));
    CHECK(y[0] == 0 && y[1] == 0);
    CHECK_OK(fc_sum_steps(FC_F32, 2, 0, 2, NULL, NULL, NULL));
    CHECK_STATUS(fc_sum_steps(FC_F32, -1, 1, 2, NULL, h, y), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_sum_steps(FC_F32, 2, -1, 2, NULL, h, y), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_sum_steps(FC_F32, 2, 1, -2, NULL, h, y), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_sum_steps((fc_dtype)9, 2, 1, 2, NULL, h, y), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_sum_steps(FC_F32, 2, 1, 2, NULL, NULL, y), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_sum_steps(FC_F32, 2, 1, 2, NULL, h, NULL), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_sum_steps(FC_F32, 2, PTRDIFF_MAX / 2, 4, NULL, h, y), FC_TOO_LARGE);
    CHECK_STATUS(fc_sum_steps(FC_F32, 0, PTRDIFF_MAX / 2, 4, NULL, h, y), FC_TOO_LARGE);
    CHECK_STATUS(fc_max_steps(FC_F32, 2, 1, 2, NULL, h, y, NULL), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_max_steps(FC_F32, 2, 1, 2, NULL, h, NULL, where), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_max_steps(FC_F32, 1L << 32, 1, 0, NULL, h, y, where), FC_TOO_LARGE);
    for (int64_t length = -1; length < 4; length += 4) {
        lengths[0] = length;
        CHECK_STATUS(fc_sum_steps(FC_F32, 2, 1, 2, lengths, h, y), FC_BAD_LENGTH);
        CHECK_STATUS(fc_max_steps(FC_F32, 2, 1, 2, lengths, h, y, where),
                     FC_BAD_LENGTH);
        CHECK_STATUS(fc_spread_steps(FC_F32, 2, 1, 2, lengths, NULL, y, h),
                     FC_BAD_LENGTH);
        where[0] = 0;
        where[1] = length == -1 ? -1 : 2;
        CHECK_STATUS(fc_spread_steps(FC_F32, 2, 1, 2, NULL, where, y, h), FC_BAD_INDEX);
        ids[1] = length == -1 ? -1 : 2;
        CHECK_STATUS(fc_add_rows(FC_F32, 2, 2, ids, h, 2, h), FC_BAD_INDEX);
    }
    CHECK_STATUS(fc_spread_steps(FC_F32, 2, 1, 2, NULL, NULL, NULL, h),
                 FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_spread_steps(FC_F32, 2, 1, 2, NULL, NULL, y, NULL),
                 FC_BAD_ARGUMENT);
    CHECK_OK(fc_spread_steps(FC_F32, 0, 1, 2, NULL, NULL, NULL, NULL));
    CHECK_OK(fc_add_rows(FC_F32, 0, 2, NULL, NULL, 0, NULL));
    CHECK_STATUS(fc_add_rows(FC_F32, 2, 2, NULL, h, 2, h), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_add_rows(FC_F32, 2, 2, ids, NULL, 2, h), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_add_rows(FC_F32, 2, 2, ids, h, 2, NULL), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_add_rows(FC_F32, 2, 2, ids, h, -1, h), FC_BAD_ARGUMENT);
}

int main(void) {
    static const ptrdiff_t steps[] = {0, 1, 2, 7}, rows[] = {0, 1, 3, 7},
                           n[] = {0, 1, 9, 33, 67};
    FOR_EACH_ISA(isa) {
        for (int d = 0; d < 2; d++)
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++)
                    for (int k = 0; k < 5; k++) {
                        seed((uint64_t)(100 * i + 10 * j + k));
                        for (int ragged = 0; ragged < 2; ragged++) {
                            problem p =
                                make((fc_dtype)d, steps[i], rows[j], n[k], ragged);
                            describe("%s f%d %tdx%tdx%td%s", isa, d ? 64 : 32, steps[i],
                                     rows[j], n[k], ragged ? " ragged" : "");
                            test_forward(&p);
                            test_backward(&p);
                            drop(&p);
                        }
                        test_rows((fc_dtype)d, rows[j], n[k]);
                    }
        test_special_values();
    }
    test_arguments();
    return finish("steps");
}

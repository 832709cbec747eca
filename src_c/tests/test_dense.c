/* The dense layer and the loss against plain loops in double. */
#include "tests/harness.h"

/* |error| <= t (1 + |value|): a few dozen roundings of 6e-8 and of 1.1e-16. */
static const double tolerance[] = {[FC_F32] = 1e-5, [FC_F64] = 1e-13};

static double *random_values(ptrdiff_t n) {
    double *values = zeros(n, sizeof *values);
    for (ptrdiff_t i = 0; i < n; i++)
        values[i] = uniform(-1, 1);
    return values;
}

/* ---- dense layer
 * --------------------------------------------------------------------- */

typedef struct dense {
    ptrdiff_t in, out, rows;
    double *w, *b, *x, *dy; /* b NULL: no bias */
} dense;

typedef struct dense_result {
    double *y, *dx, *dw, *db;
} dense_result;

static dense_result dense_result_new(const dense *l) {
    return (dense_result){zeros(l->rows * l->out, 8), zeros(l->rows * l->in, 8),
                          zeros(l->out * l->in, 8), zeros(l->out, 8)};
}

static void dense_result_free(dense_result *r) {
    free(r->y);
    free(r->dx);
    free(r->dw);
    free(r->db);
}

static void dense_reference(const dense *l, dense_result *r) {
    for (ptrdiff_t row = 0; row < l->rows; row++)
        for (ptrdiff_t o = 0; o < l->out; o++) {
            double sum = l->b ? l->b[o] : 0, dy = l->dy[row * l->out + o];
            for (ptrdiff_t i = 0; i < l->in; i++) {
                sum += l->x[row * l->in + i] * l->w[o * l->in + i];
                r->dx[row * l->in + i] += dy * l->w[o * l->in + i];
                r->dw[o * l->in + i] += dy * l->x[row * l->in + i];
            }
            r->y[row * l->out + o] = sum;
            r->db[o] += dy;
        }
}

static void *dense_pack(const dense *l, fc_dtype dtype, fc_pack_kind kind) {
    const fc_linear layer = {dtype, l->in, l->out};
    size_t bytes;
    void *w = reals_of(dtype, l->w, l->in * l->out), *b = reals_of(dtype, l->b, l->out);
    CHECK_OK(fc_linear_pack_size(&layer, kind, &bytes));
    void *packed = take(bytes, 0);
    CHECK_OK(fc_linear_pack(&layer, kind, w, b, packed));
    release(w);
    release(b);
    return packed;
}

static void *full_of(fc_dtype dtype, ptrdiff_t n, double value) {
    void *memory = take((size_t)n * real_size(dtype), real_size(dtype));
    for (ptrdiff_t i = 0; i < n; i++)
        set_real(dtype, memory, i, value);
    return memory;
}

/* Gradients of weights are added to 0.25. */
static void dense_core(const dense *l, fc_dtype dtype, int threads, const fc_blas *blas,
                       dense_result *r) {
    const fc_linear layer = {dtype, l->in, l->out};
    size_t bytes, real = real_size(dtype);
    void *packed = dense_pack(l, dtype, FC_PACK_FORWARD);
    void *x = reals_of(dtype, l->x, l->rows * l->in);
    void *dy = reals_of(dtype, l->dy, l->rows * l->out);
    void *y = take((size_t)(l->rows * l->out) * real, real);
    CHECK_OK(fc_linear_forward(&layer, packed, l->rows, x, y, threads));
    doubles_of(dtype, y, l->rows * l->out, r->y);
    release(packed);

    packed = dense_pack(l, dtype, FC_PACK_BACKWARD);
    CHECK_OK(fc_linear_scratch_size(&layer, l->rows, threads, &bytes));
    void *scratch = take(bytes, 0), *dx = take((size_t)(l->rows * l->in) * real, real);
    void *dw = full_of(dtype, l->out * l->in, 0.25), *db = full_of(dtype, l->out, 0.25);
    CHECK_OK(fc_linear_backward(&layer, packed, l->rows,
                                &(fc_linear_backward_io){x, dy, dx, dw, db, blas},
                                scratch, threads));
    doubles_of(dtype, dx, l->rows * l->in, r->dx);
    doubles_of(dtype, dw, l->out * l->in, r->dw);
    doubles_of(dtype, db, l->out, r->db);
    for (ptrdiff_t i = 0; i < l->out * l->in; i++)
        r->dw[i] -= 0.25;
    for (ptrdiff_t i = 0; i < l->out; i++)
        r->db[i] -= 0.25;
    /* Any of the three may be left out. */
    CHECK_OK(fc_linear_backward(&layer, packed, l->rows,
                                &(fc_linear_backward_io){x, dy, NULL, NULL, NULL, NULL},
                                scratch, threads));
    CHECK_OK(fc_linear_backward(&layer, packed, l->rows,
                                &(fc_linear_backward_io){x, dy, NULL, dw, NULL, NULL},
                                scratch, threads));
    void *all[] = {packed, x, dy, y, scratch, dx, dw, db};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        release(all[i]);
}

static void test_dense(ptrdiff_t in, ptrdiff_t out, ptrdiff_t rows, bool bias) {
    seed((uint64_t)(in * 1000 + out * 10 + rows));
    dense l = {in,
               out,
               rows,
               random_values(in * out),
               bias ? random_values(out) : NULL,
               random_values(rows * in),
               random_values(rows * out)};
    dense_result wanted = dense_result_new(&l), got = dense_result_new(&l),
                 threaded = dense_result_new(&l);
    dense_reference(&l, &wanted);
    FOR_EACH_ISA(isa) {
        for (int d = 0; d < 2; d++) {
            describe("dense I%td O%td N%td, %s f%d", in, out, rows, isa, d ? 64 : 32);
            dense_core(&l, (fc_dtype)d, 2, &slow_blas, &got);
            CHECK_CLOSE(got.dw, wanted.dw, out * in, 10 * tolerance[d]);
            CHECK_CLOSE(got.db, wanted.db, out, 10 * tolerance[d]);
            dense_core(&l, (fc_dtype)d, 1, NULL, &got);
            CHECK_CLOSE(got.y, wanted.y, rows * out, tolerance[d]);
            CHECK_CLOSE(got.dx, wanted.dx, rows * in, tolerance[d]);
            CHECK_CLOSE(got.dw, wanted.dw, out * in, 10 * tolerance[d]);
            CHECK_CLOSE(got.db, wanted.db, out, 10 * tolerance[d]);
            dense_core(&l, (fc_dtype)d, 3, NULL, &threaded);
            CHECK_SAME_BITS(got.y, threaded.y, rows * out);
            CHECK_SAME_BITS(got.dx, threaded.dx, rows * in);
            CHECK_SAME_BITS(got.dw, threaded.dw, out * in);
            CHECK_SAME_BITS(got.db, threaded.db, out);
        }
    }
    dense_result_free(&wanted);
    dense_result_free(&got);
    dense_result_free(&threaded);
    free(l.w);
    free(l.b);
    free(l.x);
    free(l.dy);
}

/* ---- cross-entropy
 * ------------------------------------------------------------------- */

typedef struct loss_case {
    ptrdiff_t rows, n;
    const double *logits;
    const int64_t *targets;
    double smoothing, scale;
} loss_case;

static const int64_t ignored = -100;

static void loss_reference(const loss_case *c, double *loss, double *dlogits) {
    for (ptrdiff_t row = 0; row < c->rows; row++, dlogits += c->n) {
        const double *x = c->logits + row * c->n;
        double largest = x[0], sum = 0, mean = 0;
        loss[row] = 0;
        memset(dlogits, 0, (size_t)c->n * sizeof *dlogits);
        if (c->targets[row] == ignored)
            continue;
        for (ptrdiff_t i = 0; i < c->n; i++)
            largest = fmax(largest, x[i]);
        for (ptrdiff_t i = 0; i < c->n; i++) {
            sum += exp(x[i] - largest);
            mean += x[i] / (double)c->n;
        }
        double of_target =
            (1 - c->smoothing) * x[c->targets[row]] + c->smoothing * mean;
        loss[row] = largest + log(sum) - of_target;
        for (ptrdiff_t i = 0; i < c->n; i++) {
            double wanted = c->smoothing / (double)c->n +
                            (i == c->targets[row] ? 1 - c->smoothing : 0);
            dlogits[i] = c->scale * (exp(x[i] - largest) / sum - wanted);
        }
    }
}

static void loss_core(const loss_case *c, fc_dtype dtype, int threads, double *loss,
                      double *dlogits) {
    ptrdiff_t count = c->rows * c->n;
    size_t real = real_size(dtype);
    void *x = reals_of(dtype, c->logits, count), *dx = take((size_t)count * real, real);
    double *losses = take((size_t)c->rows * sizeof *losses, 8);
    CHECK_OK(fc_cross_entropy(&(fc_softmax_loss){dtype, c->rows, c->n, x, c->targets,
                                                 ignored, c->smoothing, c->scale},
                              losses, dx, threads));
    doubles_of(FC_F64, losses, c->rows, loss);
    doubles_of(dtype, dx, count, dlogits);
    release(x);
    release(dx);
    release(losses);
}

static void test_loss(ptrdiff_t rows, ptrdiff_t n, double smoothing, double spread) {
    seed((uint64_t)(rows * 100 + n));
    ptrdiff_t count = rows * n;
    double *logits = zeros(count, 8), *loss = zeros(rows, 8),
           *dlogits = zeros(count, 8);
    double *got_loss = zeros(rows, 8), *got = zeros(count, 8);
    double *threaded_loss = zeros(rows, 8), *threaded = zeros(count, 8);
    int64_t *targets = zeros(rows, 8);
    for (ptrdiff_t i = 0; i < count; i++)
        logits[i] = uniform(-spread, spread);
    for (ptrdiff_t row = 0; row < rows; row++)
        targets[row] = row % 4 == 3 ? ignored : (int64_t)uniform(0, (double)n - 0.01);
    loss_case c = {rows, n, logits, targets, smoothing, 1.0 / 7};
    loss_reference(&c, loss, dlogits);
    FOR_EACH_ISA(isa) {
        for (int d = 0; d < 2; d++) {
            describe("loss N%td V%td smoothing %g, %s f%d", rows, n, smoothing, isa,
                     d ? 64 : 32);
            loss_core(&c, (fc_dtype)d, 1, got_loss, got);
            CHECK_CLOSE(got_loss, loss, rows, tolerance[d]);
            CHECK_CLOSE(got, dlogits, count, tolerance[d]);
            loss_core(&c, (fc_dtype)d, 3, threaded_loss, threaded);
            CHECK_SAME_BITS(got_loss, threaded_loss, rows);
            CHECK_SAME_BITS(got, threaded, count);
        }
    }
    void *all[] = {logits, loss,          dlogits,  got_loss,
                   got,    threaded_loss, threaded, targets};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* NaN and infinity among the logits show in their own row only. */
static void test_loss_not_finite(void) {
    const double bad[] = {NAN, INFINITY};
    for (int i = 0; i < 2; i++) {
        for (ptrdiff_t at = 0; at < 20; at++) {
            double logits[3 * 20], loss[3], dlogits[3 * 20];
            int64_t targets[3] = {1, 2, 3};
            for (int j = 0; j < 60; j++)
                logits[j] = uniform(-1, 1);
            logits[20 + at] = bad[i];
            loss_case c = {3, 20, logits, targets, 0, 1};
            FOR_EACH_ISA(isa) {
                for (int d = 0; d < 2; d++) {
                    describe("loss of %g at %td, %s f%d", bad[i], at, isa, d ? 64 : 32);
                    loss_core(&c, (fc_dtype)d, 1, loss, dlogits);
                    CHECK(isfinite(loss[0]) && isfinite(loss[2]) && !isfinite(loss[1]));
                    CHECK(isnan(dlogits[20 + at]));
                    for (int j = 0; j < 20; j++)
                        CHECK(isfinite(dlogits[j]) && isfinite(dlogits[40 + j]));
                }
            }
        }
    }
}

static void test_bad_index(void) {
    double logits[2 * 3] = {0}, loss[2] = {7, 7}, dlogits[2 * 3] = {7};
    const int64_t bad[] = {-1, 3, INT64_MAX, INT64_MIN};
    for (int i = 0; i < 4; i++) {
        int64_t targets[2] = {0, bad[i]};
        describe("target %lld", (long long)bad[i]);
        CHECK_STATUS(fc_cross_entropy(&(fc_softmax_loss){FC_F64, 2, 3, logits, targets,
                                                         ignored, 0, 1},
                                      loss, dlogits, 1),
                     FC_BAD_INDEX);
        CHECK(loss[0] == 7 && dlogits[0] == 7); /* nothing was done */
        /* An ignore_index may be any value. */
        CHECK_OK(fc_cross_entropy(
            &(fc_softmax_loss){FC_F64, 2, 3, logits, targets, bad[i], 0, 1}, loss,
            dlogits, 1));
        CHECK(loss[1] == 0);
        loss[0] = dlogits[0] = 7;
    }
}

static void test_dense_arguments(void) {
    size_t bytes;
    float x[16] = {0}, y[16];
    _Alignas(64) char memory[4096];
    const ptrdiff_t too_large = PTRDIFF_MAX / 2;
    const fc_linear layer = {FC_F32, 2, 2}, wide = {FC_F64, 2, 2};
    const fc_linear_backward_io io = {x, x, y, y, y, NULL};
    describe("arguments of dense");
    CHECK_STATUS(fc_linear_pack_size(NULL, FC_PACK_FORWARD, &bytes), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_linear_pack(NULL, FC_PACK_FORWARD, x, NULL, memory),
                 FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_linear_forward(NULL, memory, 1, x, y, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_linear_scratch_size(NULL, 1, 1, &bytes), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_linear_backward(NULL, memory, 1, &io, memory, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(
        fc_linear_pack_size(&(fc_linear){FC_F32, -1, 2}, FC_PACK_FORWARD, &bytes),
        FC_BAD_ARGUMENT);
    CHECK_STATUS(
        fc_linear_pack_size(&(fc_linear){FC_F32, 2, 0}, FC_PACK_FORWARD, &bytes),
        FC_BAD_ARGUMENT);
    CHECK_STATUS(
        fc_linear_pack_size(&(fc_linear){(fc_dtype)9, 2, 2}, FC_PACK_FORWARD, &bytes),
        FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_linear_pack_size(&layer, FC_PACK_FORWARD, NULL), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_linear_pack_size(&(fc_linear){FC_F64, too_large, 2},
                                     FC_PACK_FORWARD, &bytes),
                 FC_TOO_LARGE);
    CHECK_STATUS(fc_linear_pack_size(
                     &(fc_linear){FC_F64, (ptrdiff_t)1 << 32, (ptrdiff_t)1 << 32},
                     FC_PACK_BACKWARD, &bytes),
                 FC_TOO_LARGE);
    CHECK_STATUS(fc_linear_scratch_size(&wide, too_large, 1, &bytes), FC_TOO_LARGE);
    CHECK_STATUS(fc_linear_scratch_size(&(fc_linear){FC_F64, (ptrdiff_t)1 << 52, 2}, 0,
                                        1, &bytes),
                 FC_TOO_LARGE);
    CHECK_STATUS(fc_linear_scratch_size(&wide, 3, 0, &bytes), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_linear_scratch_size(&wide, 3, 1, NULL), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_linear_pack(&layer, FC_PACK_FORWARD, NULL, NULL, memory),
                 FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_linear_pack(&layer, FC_PACK_FORWARD, x, NULL, NULL),
                 FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_linear_forward(&layer, NULL, 1, x, y, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_linear_forward(&layer, memory, 1, NULL, y, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_linear_forward(&layer, memory, 1, x, NULL, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_linear_forward(&layer, memory, -1, x, y, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_linear_forward(&layer, memory, 1, x, y, 0), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_linear_forward(&layer, memory, too_large, x, y, 1), FC_TOO_LARGE);
    CHECK_STATUS(fc_linear_backward(&layer, NULL, 1, &io, memory, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_linear_backward(&layer, memory, 1,
                                    &(fc_linear_backward_io){x, NULL, y, y, y, NULL},
                                    memory, 1),
                 FC_BAD_ARGUMENT);
    CHECK_OK(fc_linear_pack(&layer, FC_PACK_BACKWARD, x, NULL, memory));
    CHECK_STATUS(fc_linear_backward(&layer, memory, 1, NULL, memory, 1),
                 FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_linear_backward(&layer, memory, 1, &io, NULL, 1), FC_BAD_ARGUMENT);
}

static void test_loss_arguments(void) {
    float x[4] = {0}, dx[4];
    double loss[2];
    int64_t targets[2] = {0, 1};
    const fc_softmax_loss good = {FC_F32, 2, 2, x, targets, -100, 0, 1};
    describe("arguments of the loss");
    CHECK_STATUS(fc_cross_entropy(NULL, loss, dx, 1), FC_BAD_ARGUMENT);
    CHECK_OK(fc_cross_entropy(&good, loss, dx, 1));
    CHECK_STATUS(
        fc_cross_entropy(&(fc_softmax_loss){FC_F32, 2, 2, NULL, targets, -100, 0, 1},
                         loss, dx, 1),
        FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_cross_entropy(&(fc_softmax_loss){FC_F32, 2, 2, x, NULL, -100, 0, 1},
                                  loss, dx, 1),
                 FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_cross_entropy(&good, NULL, dx, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_cross_entropy(&good, loss, NULL, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(
        fc_cross_entropy(&(fc_softmax_loss){FC_F32, 2, 0, x, targets, -100, 0, 1}, loss,
                         dx, 1),
        FC_BAD_ARGUMENT);
    CHECK_STATUS(
        fc_cross_entropy(&(fc_softmax_loss){FC_F32, -1, 2, x, targets, -100, 0, 1},
                         loss, dx, 1),
        FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_cross_entropy(&(fc_softmax_loss){FC_F32, PTRDIFF_MAX / 2, 4, x,
                                                     targets, -100, 0, 1},
                                  loss, dx, 1),
                 FC_TOO_LARGE);
    CHECK_STATUS(fc_cross_entropy(&good, loss, dx, 0), FC_BAD_ARGUMENT);
    targets[1] = 2;
    CHECK_STATUS(fc_cross_entropy(&good, loss, dx, 1), FC_BAD_INDEX);
}

int main(void) {
    static const ptrdiff_t sizes[] = {1, 5, 16, 33, 67};
    for (int i = 0; i < 5; i++)
        for (int o = 0; o < 5; o++) {
            test_dense(sizes[i], sizes[o], 0, true);
            test_dense(sizes[i], sizes[o], 3, false);
            test_dense(sizes[i], sizes[o], 70, true);
        }
    test_dense(0, 5, 3, true);
    test_dense(9, 250, 530, true); /* several blocks of rows and of units */
    for (int i = 0; i < 5; i++) {
        test_loss(9, sizes[i], 0, 5);
        test_loss(50, sizes[i], 0.1, 30);
        test_loss(50, sizes[i], 1, 300);
    }
    test_loss(0, 5, 0, 1);
    test_loss_not_finite();
    test_bad_index();
    test_dense_arguments();
    test_loss_arguments();
    return finish("dense");
}

/* The mLSTM against plain loops in double: the chunks and the single step; strides,
 * states in place and in parts, the same bits with any number of threads, extreme
 * gates, and what is not finite. */
#include "tests/harness.h"

/* Of |error| / (1 + |value|): sums of products of up to 67 numbers about 1, over a
 * divisor, such a sum too, that may be as small as exp(-4). */
static const double tolerance[] = {[FC_F32] = 2e-5, [FC_F64] = 1e-13};
/* Exponents are differences of sums of up to 1e4, of which double rounds 1e-12. */
static const double tolerance_of_gates[] = {[FC_F32] = 1e-5, [FC_F64] = 2e-12};

typedef struct problem {
    fc_mlstm of;
    double *q, *k, *v, *i, *f;
    double *c, *n, *m; /* the states before, or NULL */
} problem;

static ptrdiff_t heads_of(const problem *p) { return p->of.batch * p->of.heads; }

static double *randoms(fc_dtype dtype, ptrdiff_t count, double low, double high) {
    double *x = zeros(count, 8);
    for (ptrdiff_t i = 0; i < count; i++) {
        x[i] = uniform(low, high);
        if (dtype == FC_F32)
            x[i] = (float)x[i];
    }
    return x;
}

static problem make(fc_mlstm of, bool states) {
    problem p = {.of = of};
    ptrdiff_t heads = heads_of(&p), rows = heads * of.steps;
    p.q = randoms(of.dtype, rows * of.keys, -1, 1);
    p.k = randoms(of.dtype, rows * of.keys, -1, 1);
    p.v = randoms(of.dtype, rows * of.values, -1, 1);
    p.i = randoms(of.dtype, rows, -4, 4);
    p.f = randoms(of.dtype, rows, -1, 5);
    if (states) {
        p.c = randoms(of.dtype, heads * of.keys * of.values, -1, 1);
        p.n = randoms(of.dtype, heads * of.keys, -1, 1);
        p.m = randoms(of.dtype, heads, -2, 2);
    }
    return p;
}

static void drop(problem *p) {
    double *all[] = {p->q, p->k, p->v, p->i, p->f, p->c, p->n, p->m};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

typedef struct results {
    double *y, *c, *n, *m;
} results;

static results nothing(const problem *p) {
    const fc_mlstm *of = &p->of;
    ptrdiff_t heads = heads_of(p);
    return (results){zeros(heads * of->steps * of->values, 8),
                     zeros(heads * of->keys * of->values, 8),
                     zeros(heads * of->keys, 8), zeros(heads, 8)};
}

static void drop_results(results *r) {
    free(r->y);
    free(r->c);
    free(r->n);
    free(r->m);
}

/* The formula, step by step; no stabiliser is rounded, so m is not compared for it. */
static void by_formula(const problem *p, results *r) {
    const fc_mlstm *of = &p->of;
    const ptrdiff_t T = of->steps, K = of->keys, N = of->values;
    for (ptrdiff_t head = 0; head < heads_of(p); head++) {
        double *c = r->c + head * K * N, *n = r->n + head * K, *m = r->m + head;
        for (ptrdiff_t j = 0; p->c && j < K * N; j++)
            c[j] = p->c[head * K * N + j];
        for (ptrdiff_t j = 0; p->c && j < K; j++)
            n[j] = p->n[head * K + j];
        *m = p->c ? p->m[head] : 0;
        for (ptrdiff_t t = 0; t < T; t++) {
            ptrdiff_t at = head * T + t;
            const double *q = p->q + at * K, *k = p->k + at * K, *v = p->v + at * N;
            double f = p->f[at], i = p->i[at], d = 0;
            double log_f = f < 0 ? f - log1p(exp(f)) : -log1p(exp(-f));
            double new_m = log_f + *m > i ? log_f + *m : i;
            double keep = exp(log_f + *m - new_m), add = exp(i - new_m);
            *m = new_m;
            for (ptrdiff_t a = 0; a < K; a++) {
                n[a] = keep * n[a] + add * k[a];
                d += of->scale * n[a] * q[a];
                for (ptrdiff_t b = 0; b < N; b++) {
                    c[a * N + b] = keep * c[a * N + b] + add * k[a] * v[b];
                    r->y[at * N + b] += of->scale * q[a] * c[a * N + b];
                }
            }
            for (ptrdiff_t b = 0; b < N; b++)
                r->y[at * N + b] /= fmax(fabs(d), exp(-new_m)) + of->eps;
        }
    }
}

/* (B, H, T, n) as (T, B, H, n + 1): rows apart, heads and steps in another order. */
static void *spread(const problem *p, const double *from, ptrdiff_t n,
                    fc_mlstm_rows *rows) {
    const fc_mlstm *of = &p->of;
    ptrdiff_t heads = heads_of(p), width = n + 1;
    void *to = take((size_t)(heads * of->steps * width) * real_size(of->dtype), 8);
    for (ptrdiff_t head = 0; head < heads; head++)
        for (ptrdiff_t t = 0; t < of->steps; t++)
            for (ptrdiff_t j = 0; j < n; j++)
                set_real(of->dtype, to, (t * heads + head) * width + j,
                         from[(head * of->steps + t) * n + j]);
    *rows = (fc_mlstm_rows){to, of->heads * width, width, heads * width};
    return to;
}

static void *whole(const problem *p, const double *from, ptrdiff_t n,
                   fc_mlstm_rows *rows) {
    const ptrdiff_t T = p->of.steps;
    void *to = reals_of(p->of.dtype, from, heads_of(p) * T * n);
    *rows = (fc_mlstm_rows){to, p->of.heads * T * n, T * n, n};
    return to;
}

/* The core's results; by single steps, or with the states in place, if asked. */
static void by_core(const problem *p, int threads, bool steps, bool in_place,
                    results *r) {
    const fc_mlstm *of = &p->of;
    const ptrdiff_t heads = heads_of(p), K = of->keys, N = of->values;
    const size_t size = real_size(of->dtype);
    fc_mlstm_io io;
    memset(&io, 0, sizeof io);
    void *(*rows)(const problem *, const double *, ptrdiff_t, fc_mlstm_rows *) =
        in_place ? spread : whole;
    void *arrays[] = {rows(p, p->q, K, &io.q),
                      rows(p, p->k, K, &io.k),
                      rows(p, p->v, N, &io.v),
                      rows(p, p->i, 1, &io.i),
                      rows(p, p->f, 1, &io.f),
                      reals_of(of->dtype, p->c, heads * K * N),
                      reals_of(of->dtype, p->n, heads * K),
                      reals_of(of->dtype, p->m, heads)};
    void *c = take((size_t)(heads * K * N) * size, 8);
    void *n = take((size_t)(heads * K) * size, 8), *m = take((size_t)heads * size, 8);
    void *y = take((size_t)(heads * of->steps * N) * size, 8);
    io.y = y;
    io.first_c = arrays[5];
    io.first_n = arrays[6];
    io.first_m = arrays[7];
    io.c = in_place && p->c ? arrays[5] : c;
    io.n = in_place && p->c ? arrays[6] : n;
    io.m = in_place && p->c ? arrays[7] : m;
    if (steps) {
        fc_mlstm one = *of;
        one.steps = 1;
        void *y_t = take((size_t)(heads * N) * size, 8);
        io.y = y_t;
        for (ptrdiff_t t = 0; t < of->steps; t++) {
            CHECK_OK(fc_mlstm_step(&one, &io, threads));
            for (ptrdiff_t head = 0; head < heads; head++)
                memcpy((char *)y + (size_t)((head * of->steps + t) * N) * size,
                       (char *)y_t + (size_t)(head * N) * size, (size_t)N * size);
            fc_mlstm_rows *all[] = {&io.q, &io.k, &io.v, &io.i, &io.f};
            for (int a = 0; a < 5; a++)
                all[a]->data =
                    (const char *)all[a]->data + all[a]->step * (ptrdiff_t)size;
            io.first_c = io.c;
            io.first_n = io.n;
            io.first_m = io.m;
        }
        release(y_t);
    } else {
        size_t bytes = 0;
        CHECK_OK(fc_mlstm_scratch_size(of, threads, &bytes));
        void *scratch = take(bytes, 0);
        CHECK_OK(fc_mlstm_forward(of, &io, scratch, threads));
        if (!in_place) { /* the same outputs without the states after */
            size_t y_bytes = (size_t)(heads * of->steps * N) * size;
            void *only = take(y_bytes, 8);
            fc_mlstm_io without = io;
            without.y = only;
            without.c = without.n = without.m = NULL;
            CHECK_OK(fc_mlstm_forward(of, &without, scratch, threads));
            CHECK(!memcmp(only, y, y_bytes));
            release(only);
        }
        release(scratch);
    }
    doubles_of(of->dtype, y, heads * of->steps * N, r->y);
    if (of->steps || !steps) { /* no step writes no state */
        doubles_of(of->dtype, io.c, heads * K * N, r->c);
        doubles_of(of->dtype, io.n, heads * K, r->n);
        doubles_of(of->dtype, io.m, heads, r->m);
    }
    for (size_t a = 0; a < sizeof arrays / sizeof *arrays; a++)
        if (arrays[a])
            release(arrays[a]);
    release(c);
    release(n);
    release(m);
    release(y);
}

static void check_close_results(const problem *p, const results *got,
                                const results *wanted, double most) {
    const fc_mlstm *of = &p->of;
    ptrdiff_t heads = heads_of(p);
    CHECK_CLOSE(got->y, wanted->y, heads * of->steps * of->values, most);
    CHECK_CLOSE(got->c, wanted->c, heads * of->keys * of->values, most);
    CHECK_CLOSE(got->n, wanted->n, heads * of->keys, most);
    CHECK_CLOSE(got->m, wanted->m, heads, most);
}

static void check_same_results(const problem *p, const results *a, const results *b) {
    const fc_mlstm *of = &p->of;
    ptrdiff_t heads = heads_of(p);
    CHECK_SAME_BITS(a->y, b->y, heads * of->steps * of->values);
    CHECK_SAME_BITS(a->c, b->c, heads * of->keys * of->values);
    CHECK_SAME_BITS(a->n, b->n, heads * of->keys);
    CHECK_SAME_BITS(a->m, b->m, heads);
}

static void test_values(const problem *p) {
    results wanted = nothing(p), got = nothing(p), more = nothing(p);
    by_formula(p, &wanted);
    by_core(p, 1, false, false, &got);
    check_close_results(p, &got, &wanted, tolerance[p->of.dtype]);
    by_core(p, 3, false, true, &more);
    check_same_results(p, &got, &more);
    if (p->of.steps) {
        by_core(p, 1, true, false, &got);
        check_close_results(p, &got, &wanted, tolerance[p->of.dtype]);
        by_core(p, 3, true, true, &more);
        check_same_results(p, &got, &more);
    }
    drop_results(&wanted);
    drop_results(&got);
    drop_results(&more);
}

/* Gates of +-1e4 and infinite forget gates, in the middle of a sequence: the values are
 * those of the formula, and finite. */
static void test_extreme_gates(fc_dtype dtype, double gate) {
    problem p = make((fc_mlstm){dtype, 2, 2, 75, 9, 11, 1.0 / 3, 1e-6}, true);
    for (ptrdiff_t j = 0; j < heads_of(&p) * p.of.steps * p.of.keys; j++) {
        p.q[j] = fabs(p.q[j]); /* or the divisor, without a least, might cancel */
        p.k[j] = fabs(p.k[j]);
    }
    for (ptrdiff_t j = 0; j < heads_of(&p) * p.of.keys; j++)
        p.n[j] = fabs(p.n[j]);
    for (ptrdiff_t t = 0; t < heads_of(&p) * p.of.steps; t++) {
        if (chance(0.2))
            p.f[t] = chance(0.5) ? gate : -gate;
        if (chance(0.2) && isfinite(gate))
            p.i[t] = chance(0.5) ? gate : -gate;
    }
    results wanted = nothing(&p), got = nothing(&p);
    by_formula(&p, &wanted);
    for (int steps = 0; steps < 2; steps++) {
        by_core(&p, 1, steps, false, &got);
        check_close_results(&p, &got, &wanted, tolerance_of_gates[dtype]);
    }
    drop_results(&wanted);
    drop_results(&got);
    drop(&p);
}

/* A NaN or an infinity in one step of one head changes no bit before or beside it. */
static void test_not_finite(fc_dtype dtype, int which, double value) {
    problem p = make((fc_mlstm){dtype, 2, 2, 75, 9, 11, 1.0 / 3, 1e-6}, true);
    const ptrdiff_t T = p.of.steps, N = p.of.values, head = 1, t = 29;
    results clean = nothing(&p), got = nothing(&p);
    double *arrays[] = {p.q, p.k, p.v, p.i, p.f};
    const ptrdiff_t widths[] = {9, 9, 11, 1, 1};
    for (int steps = 0; steps < 2; steps++) {
        double *at = arrays[which] + (head * T + t) * widths[which], before = *at;
        by_core(&p, 1, steps, false, &clean);
        *at = value;
        by_core(&p, 1, steps, false, &got);
        *at = before;
        for (ptrdiff_t other = 0; other < 4; other++) {
            ptrdiff_t same = (other == head ? t : T) * N;
            CHECK_SAME_BITS(got.y + other * T * N, clean.y + other * T * N, same);
        }
        bool here = true, later = true; /* all NaN */
        for (ptrdiff_t j = 0; j < N; j++) {
            here = here && isnan(got.y[(head * T + t) * N + j]);
            later = later && isnan(got.y[(head * T + t + 1) * N + j]);
        }
        if (isnan(value)) {
            CHECK(which == 2 ? isnan(got.y[(head * T + t) * N]) : here);
            CHECK(which == 2   ? isnan(got.y[(head * T + T - 1) * N])
                  : which == 0 ? !later
                               : later);
        }
    }
    drop_results(&clean);
    drop_results(&got);
    drop(&p);
}

static void test_arguments(void) {
    _Alignas(64) static char scratch[1 << 19];
    float x[64] = {0}, y[64];
    const fc_mlstm_rows rows = {x, 4, 4, 2};
    const fc_mlstm good = {FC_F32, 2, 2, 1, 2, 2, 1, 0};
    const fc_mlstm_io io = {.q = rows,
                            .k = rows,
                            .v = rows,
                            .i = rows,
                            .f = rows,
                            .y = y,
                            .c = y + 16,
                            .n = y + 40,
                            .m = y + 56};
    size_t bytes = 0;
    describe("mlstm, arguments");
    CHECK_OK(fc_mlstm_scratch_size(&good, 2, &bytes));
    CHECK(bytes <= sizeof scratch);
    CHECK_OK(fc_mlstm_forward(&good, &io, scratch, 2));
    CHECK_OK(fc_mlstm_step(&good, &io, 2));
    CHECK_STATUS(fc_mlstm_scratch_size(NULL, 1, &bytes), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_mlstm_scratch_size(&good, 0, &bytes), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_mlstm_scratch_size(&good, 1, NULL), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_mlstm_forward(NULL, &io, scratch, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_mlstm_forward(&good, NULL, scratch, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_mlstm_forward(&good, &io, NULL, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_mlstm_forward(&good, &io, scratch + 4, 1), FC_BAD_ALIGNMENT);
    CHECK_STATUS(fc_mlstm_forward(&good, &io, scratch, 0), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_mlstm_step(NULL, &io, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_mlstm_step(&good, NULL, 1), FC_BAD_ARGUMENT);
    CHECK_STATUS(fc_mlstm_step(&good, &io, 0), FC_BAD_ARGUMENT);
    for (int which = 0; which < 11; which++) { /* each is required, or all three */
        fc_mlstm_io bad = io;
        const void **inputs[] = {&bad.q.data, &bad.k.data, &bad.v.data, &bad.i.data,
                                 &bad.f.data};
        void **outputs[] = {&bad.y, &bad.c, &bad.n, &bad.m};
        if (which < 5)
            *inputs[which] = NULL;
        else if (which < 9)
            *outputs[which - 5] = NULL;
        else
            *(which == 9 ? &bad.first_c : &bad.first_n) = x;
        CHECK_STATUS(fc_mlstm_forward(&good, &bad, scratch, 1), FC_BAD_ARGUMENT);
        CHECK_STATUS(fc_mlstm_step(&good, &bad, 1), FC_BAD_ARGUMENT);
    }
    for (int which = 0; which < 10; which++) {
        fc_mlstm bad = good;
        bad.dtype = which == 0 ? (fc_dtype)2 : FC_F32;
        bad.batch = which == 1 ? -1 : 2;
        bad.heads = which == 2 ? -1 : 2;
        bad.steps = which == 3 ? -1 : 1;
        bad.keys = which == 4 ? 0 : 2;
        bad.values = which == 5 ? 0 : 2;
        bad.scale = which == 6 ? (double)INFINITY : 1;
        bad.eps = which == 7   ? -1e-6
                  : which == 8 ? (double)NAN
                  : which == 9 ? (double)INFINITY
                               : 0;
        CHECK_STATUS(fc_mlstm_forward(&bad, &io, scratch, 1), FC_BAD_ARGUMENT);
        CHECK_STATUS(fc_mlstm_step(&bad, &io, 1), FC_BAD_ARGUMENT);
        CHECK_STATUS(fc_mlstm_scratch_size(&bad, 1, &bytes), FC_BAD_ARGUMENT);
    }
    const ptrdiff_t most = PTRDIFF_MAX / 2;
    for (int which = 0; which < 5; which++) {
        fc_mlstm large = good;
        *(ptrdiff_t *[]){&large.batch, &large.heads, &large.steps, &large.keys,
                         &large.values}[which] = most;
        CHECK_STATUS(fc_mlstm_forward(&large, &io, scratch, 1), FC_TOO_LARGE);
        CHECK_STATUS(fc_mlstm_scratch_size(&large, 1, &bytes), FC_TOO_LARGE);
    }
    fc_mlstm_io no_states = io;
    no_states.c = no_states.n = no_states.m = NULL;
    CHECK_OK(fc_mlstm_forward(&good, &no_states, scratch, 1));
    CHECK_STATUS(fc_mlstm_step(&good, &no_states, 1), FC_BAD_ARGUMENT);
    fc_mlstm two = good;
    for (two.steps = 0; two.steps < 4; two.steps += 2)
        CHECK_STATUS(fc_mlstm_step(&two, &io, 1), FC_BAD_ARGUMENT);
    fc_mlstm none = good;
    none.batch = 0;
    CHECK_OK(fc_mlstm_forward(&none, &(fc_mlstm_io){.y = NULL}, scratch, 1));
    none.steps = 1;
    CHECK_OK(fc_mlstm_step(&none, &(fc_mlstm_io){.y = NULL}, 1));
}

int main(void) {
    static const ptrdiff_t batches[] = {0, 1, 3}, heads[] = {1, 3},
                           steps[] = {0, 1, 2, 17, 49, 96, 131}, keys[] = {1, 8, 67},
                           values[] = {1, 16, 50, 130};
    FOR_EACH_ISA(isa) {
        for (int d = 0; d < 2; d++) {
            for (int c = 0; c < 3 * 2 * 7 * 3 * 4; c++) {
                ptrdiff_t b = batches[c % 3], h = heads[c / 3 % 2],
                          t = steps[c / 6 % 7], k = keys[c / 42 % 3],
                          n = values[c / 126];
                bool states = c % 5 < 3;
                seed((uint64_t)c);
                describe("%s f%d %tdx%tdx%tdx%tdx%td%s", isa, d ? 64 : 32, b, h, t, k,
                         n, states ? " states" : "");
                problem p = make(
                    (fc_mlstm){(fc_dtype)d, b, h, t, k, n, 1 / sqrt((double)k), 1e-6},
                    states);
                test_values(&p);
                drop(&p);
            }
            static const double gates[] = {30, 1e4, (double)INFINITY};
            for (int g = 0; g < 3; g++) {
                seed(77);
                describe("%s f%d gates of %g", isa, d ? 64 : 32, gates[g]);
                test_extreme_gates((fc_dtype)d, gates[g]);
            }
            for (int which = 0; which < 5; which++)
                for (int v = 0; v < 2; v++) {
                    seed(78);
                    describe("%s f%d %s in %c", isa, d ? 64 : 32, v ? "inf" : "NaN",
                             "qkvif"[which]);
                    test_not_finite((fc_dtype)d, which,
                                    v ? (double)INFINITY : (double)NAN);
                }
        }
    }
    test_arguments();
    return finish("mlstm");
}

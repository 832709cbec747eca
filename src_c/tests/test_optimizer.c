/* Optimizers and clipping against plain loops in double. */
#include "tests/harness.h"

static const double tolerance[] = {[FC_F32] = 2e-6, [FC_F64] = 1e-14};
enum { LONGEST = 67, STEPS = 5, KEPT = 3 };

static double *random_values(ptrdiff_t n) {
    double *values = zeros(n, sizeof *values);
    for (ptrdiff_t i = 0; i < n; i++)
        values[i] = uniform(-1, 1);
    return values;
}

typedef enum method { SGD, RMSPROP, ADAGRAD, ADAM } method;

/* Other settings are 0. */
typedef struct setting {
    const char *name;
    method method;
    double decay, momentum, dampening, beta2;
    bool nesterov, centered, decoupled, amsgrad;
} setting;

/* eps is large: near zero, g / |g| would only measure its rounding. */
static const double lr = 0.01, alpha = 0.9, beta1 = 0.9, eps = 0.1;

static bool keeps(const setting *s, int slot) {
    switch (s->method) {
    case SGD:
        return slot == 0 && s->momentum > 0;
    case RMSPROP:
        return slot == 0 || (slot == 1 ? s->centered : s->momentum > 0);
    case ADAGRAD:
        return slot == 0;
    case ADAM:
        return slot < 2 || s->amsgrad;
    }
    return false;
}

/* One element, by the papers named in src_c/kernels/optimizer.h, as in torch.optim. */
static void reference(const setting *s, int step, double *p, double g, double *kept) {
    if (!s->decoupled)
        g += s->decay * *p;
    if (s->method == SGD) {
        double b = step == 1 ? g : s->momentum * kept[0] + (1 - s->dampening) * g;
        kept[0] = s->momentum > 0 ? b : 0;
        *p -= lr * (s->momentum == 0 ? g : s->nesterov ? g + s->momentum * b : b);
    } else if (s->method == RMSPROP) {
        kept[0] = alpha * kept[0] + (1 - alpha) * g * g;
        kept[1] = s->centered ? alpha * kept[1] + (1 - alpha) * g : 0;
        double d = g / (sqrt(kept[0] - kept[1] * kept[1]) + eps);
        double b = s->momentum * kept[2] + d;
        kept[2] = s->momentum > 0 ? b : 0;
        *p -= lr * b;
    } else if (s->method == ADAGRAD) {
        kept[0] += g * g;
        *p -= lr * g / (sqrt(kept[0]) + eps);
    } else {
        kept[0] = beta1 * kept[0] + (1 - beta1) * g;
        kept[1] = s->beta2 * kept[1] + (1 - s->beta2) * g * g;
        kept[2] = s->amsgrad ? fmax(kept[2], kept[1]) : 0;
        double mean = kept[0] / (1 - pow(beta1, step)),
               square = kept[s->amsgrad ? 2 : 1] / (1 - pow(s->beta2, step));
        *p -=
            lr * mean / (sqrt(square) + eps) + (s->decoupled ? lr * s->decay * *p : 0);
    }
}

static fc_status run(const setting *s, int step, fc_dtype dtype, ptrdiff_t count,
                     const fc_parameter *parameters, int threads) {
    fc_sgd_rule sgd = {lr, s->decay, s->momentum, step == 1 ? 1 : 1 - s->dampening,
                       s->nesterov};
    fc_rmsprop_rule rmsprop = {lr, s->decay, alpha, eps, s->momentum};
    fc_adagrad_rule adagrad = {lr, s->decay, eps};
    fc_adam_rule adam = {.beta1 = beta1,
                         .beta2 = s->beta2,
                         .eps = eps,
                         .rate = lr / (1 - pow(beta1, step)),
                         .root_correction = 1 / sqrt(1 - pow(s->beta2, step)),
                         .decay = s->decoupled ? 0 : s->decay,
                         .shrink = s->decoupled ? 1 - lr * s->decay : 1};
    switch (s->method) {
    case SGD:
        return fc_sgd(dtype, &sgd, count, parameters, threads);
    case RMSPROP:
        return fc_rmsprop(dtype, &rmsprop, count, parameters, threads);
    case ADAGRAD:
        return fc_adagrad(dtype, &adagrad, count, parameters, threads);
    case ADAM:
        return fc_adam(dtype, &adam, count, parameters, threads);
    }
    return FC_BAD_ARGUMENT;
}

/* Several steps of one array; p is kept[KEPT]. */
static void test_rule(fc_dtype dtype, ptrdiff_t n, const setting *s) {
    double *wanted[KEPT + 1], *got = zeros(n, 8);
    void *mine[KEPT + 1];
    for (int i = 0; i <= KEPT; i++) {
        wanted[i] = i == KEPT ? random_values(n) : zeros(n, 8);
        mine[i] = reals_of(dtype, wanted[i], n);
    }
    for (int step = 1; step <= STEPS; step++) {
        double *g = random_values(n);
        void *cg = reals_of(dtype, g, n);
        fc_parameter parameter = {.n = n, .p = mine[KEPT], .g = cg};
        for (int i = 0; i < KEPT; i++)
            parameter.kept[i] = keeps(s, i) ? mine[i] : NULL;
        for (ptrdiff_t j = 0; j < n; j++) {
            double kept[KEPT] = {wanted[0][j], wanted[1][j], wanted[2][j]};
            reference(s, step, &wanted[KEPT][j], g[j], kept);
            for (int i = 0; i < KEPT; i++)
                wanted[i][j] = kept[i];
        }
        CHECK_OK(run(s, step, dtype, 1, &parameter, 3));
        release(cg);
        free(g);
    }
    for (int i = 0; i <= KEPT; i++) {
        doubles_of(dtype, mine[i], n, got);
        CHECK_CLOSE(got, wanted[i], n, tolerance[dtype]);
        release(mine[i]);
        free(wanted[i]);
    }
    free(got);
}

/* Several arrays at once, in parts with any bounds, equal each array alone. */
static void test_together(fc_dtype dtype, const setting *s, int threads) {
    static const ptrdiff_t sizes[] = {0, 1, 70001, 16, 17, 0, 65536, 5, 40003, 0};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    fc_parameter all[COUNT], one[COUNT];
    describe("%s f%d %s together, %d threads", fc_isa(), dtype ? 64 : 32, s->name,
             threads);
    for (int k = 0; k < COUNT; k++) {
        double *g = random_values(sizes[k]), *p = random_values(sizes[k]);
        one[k] = all[k] =
            (fc_parameter){.n = sizes[k], .g = reals_of(dtype, g, sizes[k])};
        one[k].p = reals_of(dtype, p, sizes[k]);
        all[k].p = reals_of(dtype, p, sizes[k]);
        for (int i = 0; i < KEPT; i++) {
            for (ptrdiff_t j = 0; j < sizes[k]; j++)
                p[j] = fabs(p[j]) / (i + 1); /* v above m^2 */
            one[k].kept[i] = keeps(s, i) ? reals_of(dtype, p, sizes[k]) : NULL;
            all[k].kept[i] = keeps(s, i) ? reals_of(dtype, p, sizes[k]) : NULL;
        }
        free(g);
        free(p);
        CHECK_OK(run(s, 3, dtype, 1, &one[k], 1));
    }
    CHECK_OK(run(s, 3, dtype, COUNT, all, threads));
    for (int k = 0; k < COUNT; k++) {
        double *wanted = zeros(sizes[k], 8), *got = zeros(sizes[k], 8);
        for (int i = 0; i <= KEPT; i++) {
            void *a = i == KEPT ? one[k].p : one[k].kept[i];
            void *b = i == KEPT ? all[k].p : all[k].kept[i];
            if (!a)
                continue;
            doubles_of(dtype, a, sizes[k], wanted);
            doubles_of(dtype, b, sizes[k], got);
            CHECK_SAME_BITS(got, wanted, sizes[k]);
            release(a);
            release(b);
        }
        release((void *)one[k].g);
        free(wanted);
        free(got);
    }
}

/* ---- not a number --------------------------------------------------------------- */

/* NaN stays in its own element. */
static void test_nan(const setting *s) {
    float p[3] = {1, 1, 1}, kept[KEPT][3] = {{0}};
    const float bad[3] = {1, NAN, 1}, good[3] = {1, 1, 1};
    fc_parameter a = {.n = 3, .p = p, .g = bad};
    describe("%s NaN, %s", fc_isa(), s->name);
    for (int i = 0; i < KEPT; i++)
        a.kept[i] = keeps(s, i) ? kept[i] : NULL;
    CHECK_OK(run(s, 1, FC_F32, 1, &a, 1));
    CHECK(isfinite(p[0]) && isnan(p[1]) && isfinite(p[2]));
    a.g = good;
    CHECK_OK(run(s, 2, FC_F32, 1, &a, 1));
    CHECK(isfinite(p[0]) && isnan(p[1]) && isfinite(p[2]));
    for (int i = 0; i < KEPT; i++)
        CHECK(!keeps(s, i) || (isfinite(kept[i][0]) && isnan(kept[i][1])));
}

/* Without decay, an infinite parameter does not affect its gradient. */
static void test_infinite_parameter(const setting *s) {
    float p[2] = {INFINITY, 1}, kept[KEPT][2] = {{0}};
    const float g[2] = {1, 1};
    fc_parameter a = {.n = 2, .p = p, .g = g};
    describe("%s infinite parameter, %s", fc_isa(), s->name);
    for (int i = 0; i < KEPT; i++)
        a.kept[i] = keeps(s, i) ? kept[i] : NULL;
    CHECK_OK(run(s, 1, FC_F32, 1, &a, 1));
    CHECK(isinf(p[0]) && isfinite(p[1]));
}

/* The largest v never decreases. */
static void test_largest(const setting *s) {
    float p[2] = {1, 1}, m[2] = {0}, v[2] = {0}, v_max[2] = {0, 9};
    const float g[2] = {1, 1};
    fc_parameter a = {2, p, g, {m, v, v_max}};
    describe("%s largest", fc_isa());
    CHECK_OK(run(s, 1, FC_F32, 1, &a, 1));
    CHECK(v_max[0] == 0.5f && v_max[1] == 9);
}

/* A constant gradient has no variance, apart from rounding. */
static void test_variance_below_zero(const setting *s) {
    float p[LONGEST] = {0}, g[LONGEST], v[LONGEST] = {0}, m[LONGEST] = {0};
    fc_parameter a = {LONGEST, p, g, {v, m, NULL}};
    bool below = false, finite = true;
    describe("%s variance", fc_isa());
    for (int i = 0; i < LONGEST; i++)
        g[i] = (float)uniform(-1, 1);
    for (int step = 1; step <= 400; step++) {
        CHECK_OK(run(s, step, FC_F32, 1, &a, 1));
        for (int i = 0; i < LONGEST; i++)
            below = below || v[i] - m[i] * m[i] < 0;
    }
    for (int i = 0; i < LONGEST; i++)
        finite = finite && isfinite(p[i]);
    CHECK(below && finite);
}

/* ---- clipping ------------------------------------------------------------------- */

enum { SCALE, CLIP };

static void test_clipping(fc_dtype dtype, ptrdiff_t n, int which, int threads) {
    double *x = random_values(n), *got = zeros(n, 8);
    if (n > 5)
        x[5] = NAN;
    void *cx = reals_of(dtype, x, n);
    const fc_parameter a = {.n = n, .p = cx};
    doubles_of(dtype, cx, n, x);
    double limit = dtype == FC_F64 ? 0.3 : (double)0.3f;
    for (ptrdiff_t i = 0; i < n; i++)
        if (which == CLIP)
            x[i] = isnan(x[i]) ? x[i] : fmax(-limit, fmin(limit, x[i]));
        else
            x[i] = dtype == FC_F64 ? x[i] * 0.3 : (double)((float)x[i] * 0.3f);
    CHECK_OK((which == CLIP ? fc_clip : fc_scale)(dtype, 0.3, 1, &a, threads));
    doubles_of(dtype, cx, n, got);
    for (ptrdiff_t i = 0; i < n; i++) /* the payload of a NaN is unspecified */
        if (isnan(x[i]) && isnan(got[i]))
            x[i] = got[i] = 0;
    CHECK_SAME_BITS(got, x, n);
    release(cx);
    free(x);
    free(got);
}

/* Computed in double for both types: exact up to its rounding; the same bits with any
 * number of threads. */
static void test_sum_of_squares(fc_dtype dtype, ptrdiff_t n) {
    double *x = random_values(n), sum = -1;
    long double exact = 0;
    void *cx = reals_of(dtype, x, n);
    const fc_parameter arrays[] = {
        {.n = n / 3, .p = cx},
        {.n = 0},
        {.n = n - n / 3, .p = (char *)cx + real_size(dtype) * (size_t)(n / 3)}};
    for (ptrdiff_t i = 0; i < n; i++)
        exact += (long double)x[i] * x[i];
    double wanted = (double)exact;
    CHECK_OK(fc_sum_of_squares(dtype, 3, arrays, &sum, 1));
    CHECK_CLOSE(&sum, &wanted, 1, 1e-13);
    for (int threads = 2; threads <= 3; threads++) {
        double other = -1;
        CHECK_OK(fc_sum_of_squares(dtype, 3, arrays, &other, threads));
        CHECK_SAME_BITS(&other, &sum, 1);
    }
    release(cx);
    free(x);
}

/* float32 values whose squares overflow or vanish in float32. */
static void test_extreme_squares(void) {
    float large[3] = {1e30f, 1e30f, 1e30f}, small[3] = {1e-30f, 1e-30f, 1e-30f},
          bad[3] = {1, NAN, 1};
    fc_parameter a = {.n = 3, .p = large};
    double sum;
    describe("%s extreme squares", fc_isa());
    CHECK_OK(fc_sum_of_squares(FC_F32, 1, &a, &sum, 1));
    CHECK(fabs(sum / 3e60 - 1) < 1e-6);
    a.p = small;
    CHECK_OK(fc_sum_of_squares(FC_F32, 1, &a, &sum, 1));
    CHECK(fabs(sum / 3e-60 - 1) < 1e-6);
    a.p = bad;
    CHECK_OK(fc_sum_of_squares(FC_F32, 1, &a, &sum, 1));
    CHECK(isnan(sum));
}

static const setting settings[] = {
    {.name = "sgd"},
    {"sgd, decay", .decay = 0.1},
    {"sgd, momentum", .momentum = 0.9},
    {"sgd, momentum, decay", .momentum = 0.9, .dampening = 0.3, .decay = 0.1},
    {"sgd, nesterov", .momentum = 0.9, .nesterov = true},
    {"sgd, nesterov, decay", .momentum = 0.9, .nesterov = true, .decay = 0.1},
    {"rmsprop", .method = RMSPROP},
    {"rmsprop, decay", .method = RMSPROP, .decay = 0.1},
    {"rmsprop, momentum", .method = RMSPROP, .momentum = 0.9, .decay = 0.1},
    {"rmsprop, centered", .method = RMSPROP, .centered = true},
    {"rmsprop, all", .method = RMSPROP, .centered = true, .momentum = 0.9,
     .decay = 0.1},
    {"adagrad", .method = ADAGRAD},
    {"adagrad, decay", .method = ADAGRAD, .decay = 0.1},
    {"adam", .method = ADAM, .beta2 = 0.999},
    {"adam, decay", .method = ADAM, .beta2 = 0.999, .decay = 0.1},
    {"adamw", .method = ADAM, .beta2 = 0.999, .decay = 0.1, .decoupled = true},
    /* low enough for v to fall below its maximum */
    {"amsgrad", .method = ADAM, .beta2 = 0.5, .amsgrad = true},
    {"amsgrad, decay", .method = ADAM, .beta2 = 0.5, .decay = 0.1, .amsgrad = true},
    {"amsgradw", .method = ADAM, .beta2 = 0.5, .decay = 0.1, .decoupled = true,
     .amsgrad = true},
};
enum { SETTINGS = sizeof settings / sizeof *settings };

int main(void) {
    FOR_EACH_ISA(isa) {
        for (int d = 0; d < 2; d++) {
            fc_dtype dtype = (fc_dtype)d;
            for (ptrdiff_t n = 0; n <= LONGEST; n++) {
                seed((uint64_t)n);
                for (int i = 0; i < SETTINGS; i++) {
                    describe("%s f%d n=%td %s", isa, d ? 64 : 32, n, settings[i].name);
                    test_rule(dtype, n, &settings[i]);
                }
                describe("%s f%d n=%td clipping", isa, d ? 64 : 32, n);
                test_sum_of_squares(dtype, n);
                test_clipping(dtype, n, SCALE, 1);
                test_clipping(dtype, n, CLIP, 1);
            }
            describe("%s f%d large", isa, d ? 64 : 32);
            for (int i = 0; i < SETTINGS; i++)
                test_rule(dtype, 100003, &settings[i]); /* with three threads */
            test_sum_of_squares(dtype, 10007);
            test_sum_of_squares(dtype, 300007);
            test_clipping(dtype, 100003, SCALE, 3);
            test_clipping(dtype, 100003, CLIP, 3);
            for (int i = 0; i < SETTINGS; i++)
                for (int threads = 1; threads <= 3; threads++)
                    test_together(dtype, &settings[i], threads);
        }
        for (int i = 0; i < SETTINGS; i++) {
            test_nan(&settings[i]);
            if (settings[i].decay == 0)
                test_infinite_parameter(&settings[i]);
            if (settings[i].amsgrad && settings[i].decay == 0)
                test_largest(&settings[i]);
            if (settings[i].centered && settings[i].decay == 0)
                test_variance_below_zero(&settings[i]);
        }
        test_extreme_squares();
    }
    return finish("optimizer");
}

/* The cells by their formulas, in double, one unit at a time.  Nothing here is shared
 * with the core but the order of the gates. */
#include "tests/problem.h"

typedef struct weights {
    const double *w_ih, *w_hh, *b_ih, *b_hh, *w_hr;
    const double *own[FC_MOST_OWN]; /* parameters of the cell's own, in their order */
    ptrdiff_t in, hidden, out;
    ptrdiff_t head,
        units_of_head; /* columns of R, and rows of a gate that share them */
    uint8_t *positive; /* [H] of this step */
    bool replay;       /* read it, instead of writing it */
    const fc_options *options;
} weights;

enum { MOST_UNITS = 200, MOST_STATES = 3 }; /* states beside h */

static double sigmoid(double a) { return 1 / (1 + exp(-a)); }

static double dot(const double *a, const double *b, ptrdiff_t n) {
    double sum = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Row gate*H + u of W x + b_ih, and of R h + b_hh. */
static double of_x(const weights *w, int gate, ptrdiff_t u, const double *x) {
    ptrdiff_t row = gate * w->hidden + u;
    return dot(w->w_ih + row * w->in, x, w->in) + (w->b_ih ? w->b_ih[row] : 0);
}
static double of_h(const weights *w, int gate, ptrdiff_t u, const double *h) {
    ptrdiff_t row = gate * w->hidden + u;
    h += u / w->units_of_head * w->head;
    return dot(w->w_hh + row * w->head, h, w->head) + (w->b_hh ? w->b_hh[row] : 0);
}
static double of_both(const weights *w, int gate, ptrdiff_t u, const double *x,
                      const double *h) {
    return of_x(w, gate, u, x) + of_h(w, gate, u, h);
}

static void rnn_tanh(const weights *w, const double *x, const double *h, double *new_h,
                     double *c) {
    (void)c;
    for (ptrdiff_t u = 0; u < w->hidden; u++)
        new_h[u] = tanh(of_both(w, 0, u, x, h));
}

static void rnn_relu(const weights *w, const double *x, const double *h, double *new_h,
                     double *c) {
    (void)c;
    for (ptrdiff_t u = 0; u < w->hidden; u++) {
        double a = of_both(w, 0, u, x, h);
        if (!w->replay)
            w->positive[u] = a > 0;
        new_h[u] = w->positive[u] ? a : 0;
    }
}

static void lstm(const weights *w, const double *x, const double *h, double *new_h,
                 double *c) {
    for (ptrdiff_t u = 0; u < w->hidden; u++) {
        double i = sigmoid(of_both(w, 0, u, x, h)), f = sigmoid(of_both(w, 1, u, x, h));
        double g = tanh(of_both(w, 2, u, x, h)), o = sigmoid(of_both(w, 3, u, x, h));
        c[u] = f * c[u] + i * g;
        new_h[u] = o * tanh(c[u]);
    }
}

/* W_hr m: the output of an LSTM with a projection. */
static void project(const weights *w, const double *m, double *new_h) {
    for (ptrdiff_t j = 0; j < w->out; j++)
        new_h[j] = dot(w->w_hr + j * w->hidden, m, w->hidden);
}

static void lstm_projected(const weights *w, const double *x, const double *h,
                           double *new_h, double *c) {
    double m[MOST_UNITS];
    lstm(w, x, h, m, c);
    project(w, m, new_h);
}

static void gru(const weights *w, const double *x, const double *h, double *new_h,
                double *c) {
    (void)c;
    for (ptrdiff_t u = 0; u < w->hidden; u++) {
        double r = sigmoid(of_both(w, 0, u, x, h)), z = sigmoid(of_both(w, 1, u, x, h));
        double n = tanh(of_x(w, 2, u, x) + r * of_h(w, 2, u, h));
        new_h[u] = (1 - z) * n + z * h[u];
    }
}

static void gru_reset_before(const weights *w, const double *x, const double *h,
                             double *new_h, double *c) {
    double reset_h[MOST_UNITS];
    (void)c;
    for (ptrdiff_t u = 0; u < w->hidden; u++)
        reset_h[u] = sigmoid(of_both(w, 0, u, x, h)) * h[u];
    for (ptrdiff_t u = 0; u < w->hidden; u++) {
        double z = sigmoid(of_both(w, 1, u, x, h));
        double n = tanh(of_both(w, 2, u, x, reset_h));
        new_h[u] = (1 - z) * n + z * h[u];
    }
}

static void lstm_peephole(const weights *w, const double *x, const double *h,
                          double *new_h, double *c) {
    const double *p_i = w->own[0], *p_f = p_i + w->hidden, *p_o = p_f + w->hidden;
    for (ptrdiff_t u = 0; u < w->hidden; u++) {
        double i = sigmoid(of_both(w, 0, u, x, h) + p_i[u] * c[u]);
        double f = sigmoid(of_both(w, 1, u, x, h) + p_f[u] * c[u]);
        c[u] = f * c[u] + i * tanh(of_both(w, 2, u, x, h));
        new_h[u] = sigmoid(of_both(w, 3, u, x, h) + p_o[u] * c[u]) * tanh(c[u]);
    }
}

static void lstm_peephole_projected(const weights *w, const double *x, const double *h,
                                    double *new_h, double *c) {
    double m[MOST_UNITS];
    lstm_peephole(w, x, h, m, c);
    project(w, m, new_h);
}

static void lstm_coupled(const weights *w, const double *x, const double *h,
                         double *new_h, double *c) {
    for (ptrdiff_t u = 0; u < w->hidden; u++) {
        double f = sigmoid(of_both(w, 0, u, x, h)), g = tanh(of_both(w, 1, u, x, h));
        c[u] = f * c[u] + (1 - f) * g;
        new_h[u] = sigmoid(of_both(w, 2, u, x, h)) * tanh(c[u]);
    }
}

static void lstm_coupled_projected(const weights *w, const double *x, const double *h,
                                   double *new_h, double *c) {
    double m[MOST_UNITS];
    lstm_coupled(w, x, h, m, c);
    project(w, m, new_h);
}

static void lstm_peephole_coupled(const weights *w, const double *x, const double *h,
                                  double *new_h, double *c) {
    const double *p_f = w->own[0], *p_o = p_f + w->hidden;
    for (ptrdiff_t u = 0; u < w->hidden; u++) {
        double f = sigmoid(of_both(w, 0, u, x, h) + p_f[u] * c[u]);
        c[u] = f * c[u] + (1 - f) * tanh(of_both(w, 1, u, x, h));
        new_h[u] = sigmoid(of_both(w, 2, u, x, h) + p_o[u] * c[u]) * tanh(c[u]);
    }
}

static void lstm_peephole_coupled_projected(const weights *w, const double *x,
                                            const double *h, double *new_h, double *c) {
    double m[MOST_UNITS];
    lstm_peephole_coupled(w, x, h, m, c);
    project(w, m, new_h);
}

static void mgu(const weights *w, const double *x, const double *h, double *new_h,
                double *c) {
    double f[MOST_UNITS], forgotten[MOST_UNITS];
    (void)c;
    for (ptrdiff_t u = 0; u < w->hidden; u++) {
        f[u] = sigmoid(of_both(w, 0, u, x, h));
        forgotten[u] = f[u] * h[u];
    }
    for (ptrdiff_t u = 0; u < w->hidden; u++)
        new_h[u] = (1 - f[u]) * h[u] + f[u] * tanh(of_both(w, 1, u, x, forgotten));
}

static void ligru(const weights *w, const double *x, const double *h, double *new_h,
                  double *c) {
    (void)c;
    for (ptrdiff_t u = 0; u < w->hidden; u++) {
        double z = sigmoid(of_both(w, 0, u, x, h)), a = of_both(w, 1, u, x, h);
        if (!w->replay)
            w->positive[u] = a > 0;
        new_h[u] = z * h[u] + (1 - z) * (w->positive[u] ? a : 0);
    }
}

/* a = gain * (a - mean) / sqrt(variance + 1e-5) + bias; no bias: NULL. */
static void normalize(double *a, ptrdiff_t n, const double *gain, const double *bias) {
    double mean = 0, variance = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        mean += a[i] / (double)n;
    for (ptrdiff_t i = 0; i < n; i++)
        variance += (a[i] - mean) * (a[i] - mean) / (double)n;
    for (ptrdiff_t i = 0; i < n; i++)
        a[i] = gain[i] * (a[i] - mean) / sqrt(variance + 1e-5) + (bias ? bias[i] : 0);
}

static void lstm_layer_norm(const weights *w, const double *x, const double *h,
                            double *new_h, double *c) {
    double a[4 * MOST_UNITS], b[4 * MOST_UNITS], n[MOST_UNITS];
    ptrdiff_t H = w->hidden;
    for (ptrdiff_t row = 0; row < 4 * H; row++) {
        a[row] = dot(w->w_ih + row * w->in, x, w->in);
        b[row] = dot(w->w_hh + row * w->out, h, w->out);
    }
    normalize(a, 4 * H, w->own[0], w->b_ih);
    normalize(b, 4 * H, w->own[1], w->b_hh);
    for (ptrdiff_t row = 0; row < 4 * H; row++)
        a[row] += b[row];
    for (ptrdiff_t u = 0; u < H; u++)
        n[u] = c[u] = sigmoid(a[H + u]) * c[u] + sigmoid(a[u]) * tanh(a[2 * H + u]);
    normalize(n, H, w->own[2], w->own[3]);
    for (ptrdiff_t u = 0; u < H; u++)
        new_h[u] = sigmoid(a[3 * H + u]) * tanh(n[u]);
}

static void gru_layer_norm(const weights *w, const double *x, const double *h,
                           double *new_h, double *c) {
    double a[3 * MOST_UNITS], b[3 * MOST_UNITS];
    ptrdiff_t H = w->hidden;
    (void)c;
    for (ptrdiff_t row = 0; row < 3 * H; row++) {
        a[row] = dot(w->w_ih + row * w->in, x, w->in);
        b[row] = dot(w->w_hh + row * w->out, h, w->out);
    }
    normalize(a, 2 * H, w->own[0], w->b_ih);
    normalize(b, 2 * H, w->own[1], w->b_hh);
    normalize(a + 2 * H, H, w->own[0] + 2 * H, w->b_ih ? w->b_ih + 2 * H : NULL);
    normalize(b + 2 * H, H, w->own[1] + 2 * H, w->b_hh ? w->b_hh + 2 * H : NULL);
    for (ptrdiff_t u = 0; u < H; u++) {
        double r = sigmoid(a[u] + b[u]), z = sigmoid(a[H + u] + b[H + u]);
        double n = tanh(a[2 * H + u] + r * b[2 * H + u]);
        new_h[u] = (1 - z) * n + z * h[u];
    }
}

static void indrnn_tanh(const weights *w, const double *x, const double *h,
                        double *new_h, double *c) {
    (void)c;
    for (ptrdiff_t u = 0; u < w->hidden; u++)
        new_h[u] = tanh(of_x(w, 0, u, x) + w->own[0][u] * h[u]);
}

static void indrnn_relu(const weights *w, const double *x, const double *h,
                        double *new_h, double *c) {
    (void)c;
    for (ptrdiff_t u = 0; u < w->hidden; u++) {
        double a = of_x(w, 0, u, x) + w->own[0][u] * h[u];
        if (!w->replay)
            w->positive[u] = a > 0;
        new_h[u] = w->positive[u] ? a : 0;
    }
}

static void lru(const weights *w, const double *x, const double *h, double *new_h,
                double *c) {
    const double *lambda = w->own[0], *gamma = w->own[1];
    (void)c;
    for (ptrdiff_t u = 0; u < w->hidden; u += 2) {
        double size = exp(-exp(lambda[u])), gain = exp(gamma[u]);
        if (u + 1 == w->hidden) {
            new_h[u] = size * h[u] + gain * of_x(w, 0, u, x);
            return;
        }
        double re = size * cos(exp(lambda[u + 1])), im = size * sin(exp(lambda[u + 1]));
        new_h[u] = re * h[u] - im * h[u + 1] + gain * of_x(w, 0, u, x);
        new_h[u + 1] = re * h[u + 1] + im * h[u] + gain * of_x(w, 0, u + 1, x);
    }
}

/* a, or in the positive form a + 1/2 and sigmoid(a) below 0. */
static double candidate(const weights *w, ptrdiff_t u, double a, bool positive) {
    if (positive && !w->replay)
        w->positive[u] = a >= 0;
    return !positive ? a : w->positive[u] ? a + 0.5 : sigmoid(a);
}

static void min_gru_of(const weights *w, const double *x, const double *h,
                       double *new_h, bool positive) {
    for (ptrdiff_t u = 0; u < w->hidden; u++) {
        double z = sigmoid(of_x(w, 0, u, x));
        new_h[u] = (1 - z) * h[u] + z * candidate(w, u, of_x(w, 1, u, x), positive);
    }
}

static void min_gru(const weights *w, const double *x, const double *h, double *new_h,
                    double *c) {
    (void)c;
    min_gru_of(w, x, h, new_h, false);
}

static void min_gru_positive(const weights *w, const double *x, const double *h,
                             double *new_h, double *c) {
    (void)c;
    min_gru_of(w, x, h, new_h, true);
}

static void min_lstm_of(const weights *w, const double *x, const double *h,
                        double *new_h, bool positive) {
    for (ptrdiff_t u = 0; u < w->hidden; u++) {
        double f = sigmoid(of_x(w, 0, u, x)), i = sigmoid(of_x(w, 1, u, x));
        new_h[u] =
            (f * h[u] + i * candidate(w, u, of_x(w, 2, u, x), positive)) / (f + i);
    }
}

static void min_lstm(const weights *w, const double *x, const double *h, double *new_h,
                     double *c) {
    (void)c;
    min_lstm_of(w, x, h, new_h, false);
}

static void min_lstm_positive(const weights *w, const double *x, const double *h,
                              double *new_h, double *c) {
    (void)c;
    min_lstm_of(w, x, h, new_h, true);
}

static double log_sigmoid(double a) {
    return a < 0 ? a - log1p(exp(a)) : -log1p(exp(-a));
}

static double log_identity(double a) { return a; }

static double log_clamped(double a) { return log_sigmoid(fmin(a, 15)); }

/* log_forget: of a_f; n is at least least_n. */
static void slstm_of(const weights *w, const double *x, const double *h, double *new_h,
                     double *c, double (*log_forget)(double), double least_n) {
    ptrdiff_t H = w->hidden;
    double *n = c + H, *m = n + H;
    for (ptrdiff_t u = 0; u < H; u++) {
        double i = of_both(w, 0, u, x, h), z = tanh(of_both(w, 2, u, x, h));
        double l = log_forget(of_both(w, 1, u, x, h)) + m[u];
        m[u] = n[u] == 0 ? i : fmax(i, l);
        double in = exp(i - m[u]), forget = exp(fmin(l - m[u], 0));
        c[u] = forget * c[u] + in * z;
        n[u] = fmax(forget * n[u] + in, least_n);
        new_h[u] = sigmoid(of_both(w, 3, u, x, h)) * c[u] / n[u];
    }
}

static void slstm(const weights *w, const double *x, const double *h, double *new_h,
                  double *c) {
    slstm_of(w, x, h, new_h, c, log_sigmoid, 1);
}

static void slstm_plain(const weights *w, const double *x, const double *h,
                        double *new_h, double *c) {
    slstm_of(w, x, h, new_h, c, log_sigmoid, -INFINITY);
}

static void slstm_clamped(const weights *w, const double *x, const double *h,
                          double *new_h, double *c) {
    slstm_of(w, x, h, new_h, c, log_clamped, -INFINITY);
}

static void slstm_exponential(const weights *w, const double *x, const double *h,
                              double *new_h, double *c) {
    slstm_of(w, x, h, new_h, c, log_identity, -INFINITY);
}

/* x within [-limit, limit]; `bit` of the unit keeps whether it is. */
static double clip(const weights *w, ptrdiff_t u, int bit, double limit, double x) {
    uint8_t mask = (uint8_t)(1 << bit);
    if (!w->replay)
        w->positive[u] = (uint8_t)((w->positive[u] & ~mask) | (fabs(x) < limit) << bit);
    if (limit == 0 || w->positive[u] & mask)
        return x;
    return x > 0 ? limit : -limit;
}

/* The kinds of problem.c. */
static double chosen(const weights *w, int role, ptrdiff_t u, int bit, double a) {
    const fc_activation *f = &w->options->activation[role];
    a = clip(w, u, bit, w->options->gate_clip, a);
    if (f->kind == FC_ACT_SCALED_TANH)
        return f->alpha * tanh(f->beta * a);
    if (f->kind == FC_ACT_SOFTPLUS)
        return log1p(exp(a));
    return f->kind == FC_ACT_SIGMOID ? sigmoid(a) : NAN;
}

static void rnn_with_options(const weights *w, const double *x, const double *h,
                             double *new_h, double *c) {
    (void)c;
    for (ptrdiff_t u = 0; u < w->hidden; u++)
        new_h[u] = chosen(w, 0, u, 0, of_both(w, 0, u, x, h));
}

static void gru_with_options(const weights *w, const double *x, const double *h,
                             double *new_h, double *c) {
    (void)c;
    for (ptrdiff_t u = 0; u < w->hidden; u++) {
        double r = chosen(w, 0, u, 0, of_both(w, 0, u, x, h));
        double z = chosen(w, 0, u, 1, of_both(w, 1, u, x, h));
        double n = chosen(w, 1, u, 2, of_x(w, 2, u, x) + r * of_h(w, 2, u, h));
        new_h[u] = (1 - z) * n + z * h[u];
    }
}

static void gru_reset_before_with_options(const weights *w, const double *x,
                                          const double *h, double *new_h, double *c) {
    double reset_h[MOST_UNITS];
    (void)c;
    for (ptrdiff_t u = 0; u < w->hidden; u++)
        reset_h[u] = chosen(w, 0, u, 0, of_both(w, 0, u, x, h)) * h[u];
    for (ptrdiff_t u = 0; u < w->hidden; u++) {
        double z = chosen(w, 0, u, 1, of_both(w, 1, u, x, h));
        double n = chosen(w, 1, u, 2, of_both(w, 2, u, x, reset_h));
        new_h[u] = (1 - z) * n + z * h[u];
    }
}

/* p: peepholes p_i p_f p_o, or NULL; with coupled gates p_f p_o, and i is 1 - f. */
static void lstm_of_options(const weights *w, const double *x, const double *h,
                            double *new_h, double *c, bool peephole, bool coupled) {
    const double *p = w->own[0];
    int gate = coupled ? 0 : 1;
    for (ptrdiff_t u = 0; u < w->hidden; u++) {
        double p_f = peephole ? p[gate * w->hidden + u] : 0;
        double p_o = peephole ? p[(gate + 1) * w->hidden + u] : 0;
        double f = chosen(w, 0, u, 0, of_both(w, gate, u, x, h) + p_f * c[u]);
        double i = 1 - f;
        if (!coupled)
            i = chosen(w, 0, u, 1,
                       of_both(w, 0, u, x, h) + (peephole ? p[u] * c[u] : 0));
        double g = chosen(w, 1, u, 2, of_both(w, gate + 1, u, x, h));
        c[u] = clip(w, u, 3, w->options->cell_clip, f * c[u] + i * g);
        double o = chosen(w, 0, u, 4, of_both(w, gate + 2, u, x, h) + p_o * c[u]);
        new_h[u] = o * chosen(w, 2, u, 5, c[u]);
    }
}

static void lstm_with_options(const weights *w, const double *x, const double *h,
                              double *new_h, double *c) {
    lstm_of_options(w, x, h, new_h, c, false, false);
}

static void lstm_projected_with_options(const weights *w, const double *x,
                                        const double *h, double *new_h, double *c) {
    double m[MOST_UNITS];
    lstm_with_options(w, x, h, m, c);
    project(w, m, new_h);
}

static void lstm_peephole_with_options(const weights *w, const double *x,
                                       const double *h, double *new_h, double *c) {
    lstm_of_options(w, x, h, new_h, c, true, false);
}

static void lstm_coupled_with_options(const weights *w, const double *x,
                                      const double *h, double *new_h, double *c) {
    lstm_of_options(w, x, h, new_h, c, false, true);
}

static void lstm_peephole_coupled_with_options(const weights *w, const double *x,
                                               const double *h, double *new_h,
                                               double *c) {
    lstm_of_options(w, x, h, new_h, c, true, true);
}

typedef void step_fn(const weights *, const double *x, const double *h, double *new_h,
                     double *c);

static step_fn *step_of(const char *cell) {
    static const struct {
        const char *cell;
        step_fn *step;
    } steps[] = {
        {"rnn_tanh", rnn_tanh},
        {"rnn_relu", rnn_relu},
        {"lstm", lstm},
        {"lstm_projected", lstm_projected},
        {"gru", gru},
        {"gru_reset_before", gru_reset_before},
        {"lstm_peephole", lstm_peephole},
        {"lstm_layer_norm", lstm_layer_norm},
        {"lstm_coupled", lstm_coupled},
        {"lstm_peephole_coupled", lstm_peephole_coupled},
        {"lstm_peephole_projected", lstm_peephole_projected},
        {"lstm_coupled_projected", lstm_coupled_projected},
        {"lstm_peephole_coupled_projected", lstm_peephole_coupled_projected},
        {"mgu", mgu},
        {"ligru", ligru},
        {"gru_layer_norm", gru_layer_norm},
        {"indrnn_tanh", indrnn_tanh},
        {"indrnn_relu", indrnn_relu},
        {"lru", lru},
        {"min_gru", min_gru},
        {"min_gru_positive", min_gru_positive},
        {"min_lstm", min_lstm},
        {"min_lstm_positive", min_lstm_positive},
        {"slstm", slstm},
        {"slstm_plain", slstm_plain},
        {"slstm_clamped", slstm_clamped},
        {"slstm_exponential", slstm_exponential},
        {"rnn_with_options", rnn_with_options},
        {"gru_with_options", gru_with_options},
        {"gru_reset_before_with_options", gru_reset_before_with_options},
        {"lstm_with_options", lstm_with_options},
        {"lstm_projected_with_options", lstm_projected_with_options},
        {"lstm_peephole_with_options", lstm_peephole_with_options},
        {"lstm_coupled_with_options", lstm_coupled_with_options},
        {"lstm_peephole_coupled_with_options", lstm_peephole_coupled_with_options},
    };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (!strcmp(steps[i].cell, cell))
            return steps[i].step;
    return NULL;
}

/* One row through one pass.  y: its first value of this direction. */
static void run_row(problem *p, const double *v, bool replay, int pass, ptrdiff_t row,
                    const double *x, double *y, outcome *o) {
    const spec *s = &p->spec;
    weights w = {.w_ih = v + p->w_ih[pass].at,
                 .w_hh = v + p->w_hh[pass].at,
                 .b_ih = s->no_bias ? NULL : v + p->b_ih[pass].at,
                 .b_hh = s->no_bias ? NULL : v + p->b_hh[pass].at,
                 .w_hr = v + p->w_hr[pass].at,
                 .in = pass_inputs(p, pass),
                 .hidden = s->hidden,
                 .out = p->out,
                 .head = p->out / (s->heads ? s->heads : 1),
                 .units_of_head = s->hidden / (s->heads ? s->heads : 1),
                 .replay = replay,
                 .options = &p->stack.options};
    for (int j = 0; j < p->owned; j++)
        w.own[j] = v + p->own[pass][j].at;
    step_fn *step = step_of(s->cell);
    ptrdiff_t h_at = (pass * s->rows + row) * p->out;
    ptrdiff_t c_units = (p->states - 1) * s->hidden;
    ptrdiff_t c_at = (pass * s->rows + row) * c_units;
    ptrdiff_t width = s->directions * p->out;
    bool reverse = pass % s->directions == 1;
    double h[MOST_UNITS] = {0}, c[MOST_STATES * MOST_UNITS] = {0}, next[MOST_UNITS];
    size_t h_bytes = (size_t)p->out * sizeof *h, c_bytes = (size_t)c_units * sizeof *c;
    if (!s->no_states)
        memcpy(h, v + p->h0.at + h_at, h_bytes);
    if (!s->no_states && p->has_c)
        memcpy(c, v + p->c0.at + c_at, c_bytes);
    for (ptrdiff_t i = 0; i < s->steps; i++) {
        ptrdiff_t t = reverse ? s->steps - 1 - i : i, pair = t * s->rows + row;
        double *y_t = y + pair * width;
        memset(y_t, 0, h_bytes);
        if (!step_exists(p, t, row))
            continue;
        ptrdiff_t border = reverse ? t + 1 : t; /* the one just crossed */
        if (p->reset && border < s->steps && step_exists(p, border, row) &&
            p->reset[border * s->rows + row]) {
            memset(h, 0, sizeof h);
            memset(c, 0, sizeof c);
        }
        if (step_is_active(p, t, row)) {
            ptrdiff_t at = pass < s->directions && p->index ? p->index[pair] : pair;
            w.positive =
                p->positive + ((pass * s->steps + t) * s->rows + row) * s->hidden;
            step(&w, x + at * w.in, h, next, c);
            memcpy(h, next, h_bytes);
        }
        memcpy(y_t, h, h_bytes);
    }
    memcpy(o->h + h_at, h, h_bytes);
    if (p->has_c)
        memcpy(o->c + c_at, c, c_bytes);
}

static void run(problem *p, const double *v, bool replay, outcome *o) {
    const spec *s = &p->spec;
    double *between[2] = {zeros(p->y_count, sizeof(double)),
                          zeros(p->y_count, sizeof(double))};
    const double *x = v + p->x.at;
    if (!CHECK(step_of(s->cell) != NULL && "reference.c knows this cell"))
        exit(1);
    for (int layer = 0; layer < s->layers; layer++) {
        double *y = layer == s->layers - 1 ? o->y : between[layer % 2];
        for (int d = 0; d < s->directions; d++)
            for (ptrdiff_t row = 0; row < s->rows; row++)
                run_row(p, v, replay, layer * s->directions + d, row, x, y + d * p->out,
                        o);
        if (p->dropout && layer < s->layers - 1)
            for (ptrdiff_t i = 0; i < p->y_count; i++)
                y[i] *= p->dropout[layer * p->y_count + i];
        x = y;
    }
    free(between[0]);
    free(between[1]);
}

void run_reference(problem *p, outcome *o) { run(p, p->v, false, o); }

double reference_loss(problem *p, const double *v, outcome *work) {
    run(p, v, true, work);
    return dot(work->y, p->dy, p->y_count) + dot(work->h, p->dh, p->h_count) +
           dot(work->c, p->dc, p->c_count);
}

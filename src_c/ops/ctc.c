/* The loss of connectionist temporal classification: Graves, Fernandez, Gomez &
 * Schmidhuber, "Labelling unsegmented sequence data with recurrent neural networks",
 * ICML 2006.
 *
 * The label l of a row, with a blank before, between and after its symbols, is the
 * chain of states l' with S = 2 L + 1.  From one step to the next a path stays, goes on
 * by one state, or skips a blank between two different symbols.  With y_t(k) the
 * softmax of the row's logits at step t:
 *
 *     alpha_t(s) = y_t(l'_s) (alpha_{t-1}(s) + alpha_{t-1}(s-1)
 *                             [+ alpha_{t-1}(s-2)])                               (1)
 *     beta_t(s)  = w_{t+1}(s) + w_{t+1}(s+1) [+ w_{t+1}(s+2)],                    (2)
 *                  w_t(s) = y_t(l'_s) beta_t(s)
 *     P = alpha_T(S-1) + alpha_T(S-2),   loss = -log P                            (3)
 *     dlogits_t(k) = y_t(k) - sum over l'_s = k of alpha_t(s) beta_t(s) / P       (4)
 *
 * beta does not contain y_t, which alpha contains: the product in (4) has it once.
 *
 * The terms are as small as e^-100000.  The usual solution are logarithms, with two
 * exponentials and a logarithm per state.  Here a number is m 2^e with a separate
 * exponent (`wide`): it needs no function, and no digit is lost to the size of a
 * logarithm.  y is used as e^(z - max z), without its divisor, which is added to the
 * loss and cancels in (4).  All arithmetic is in double, for all types of the logits.
 */
#include <math.h>
#include <string.h>

#include "runtime/arena.h"
#include "runtime/dispatch.h"
#include "runtime/pool.h"
#include "runtime/watch.h"

/* m * 2^e, with m in [1, 2) or 0; e is an integer.  Sums are not normalised (m < 6),
 * products with y are. */
typedef struct wide {
    double m, e;
} wide;

/* The exponent of 0, below all others. */
#define LOWEST (-1e300)
static const wide wide_zero = {0, LOWEST};

/* e^x below this has a separate exponent, so that products stay normal. */
#define LEAST_EXPONENTIAL 1e-300

/* 2^d for an integer d < 1024; 0 if it is not normal. */
static inline double power_of_2(double d) {
    if (!(d >= -1022))
        return 0;
    int64_t bits = ((int64_t)d + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

static inline double larger(double a, double b) { return a > b ? a : b; }

static inline wide wide_sum(wide a, wide b, wide c) {
    double e = larger(larger(a.e, b.e), c.e);
    double m = a.m * power_of_2(a.e - e) + b.m * power_of_2(b.e - e) +
               c.m * power_of_2(c.e - e);
    return (wide){m, e};
}

/* a y, normalised; the product of the mantissas must be normal or 0. */
static inline wide wide_product(wide a, wide y) {
    double m = a.m * y.m;
    if (!(m > 0))
        return wide_zero;
    int64_t bits;
    memcpy(&bits, &m, sizeof bits);
    double exponent = (double)((bits >> 52) - 1023);
    bits = (bits & 0xfffffffffffff) | ((int64_t)1023 << 52);
    memcpy(&m, &bits, sizeof m);
    return (wide){m, a.e + y.e + exponent};
}

#define LN2 0x1.62e42fefa39efp-1

/* e^x for x far below 0; 0 if a product of many would come near LOWEST. */
static wide wide_exp(double x) {
    if (!(x > -1e280))
        return wide_zero;
    double e = floor(x / LN2), rest = x - e * LN2;
    /* For |x| so large that its digits do not reach 1, the rest is noise. */
    rest = rest < 0 ? 0 : rest > 1 ? 1 : rest;
    return (wide){exp(rest), e};
}

typedef struct job {
    const fc_ctc *c;
    const fc_kernels *wide_kernels; /* those of double */
    ptrdiff_t states;
    double *loss;
    char *dlogits, *scratch;
    size_t part_bytes;
    fc_watch *watch;
} job;

/* One row's work, laid out in its part's scratch. */
typedef struct row {
    const job *job;
    ptrdiff_t at, steps, labels, states;
    const int64_t *label;
    double *y;         /* (T, V): e^(z - max z) */
    double *sum, *max; /* (T): of y over the classes, of z */
    double *counts;    /* (V): the sum in (4) */
    wide *alpha;       /* (T, S) */
    wide *beta, *w;    /* (S + 2) */
} row;

static void lay_out(const fc_ctc *c, ptrdiff_t states, fc_arena *arena, row *r) {
    size_t steps = (size_t)c->steps, n = (size_t)c->n, s = (size_t)states;
    r->y = fc_take2(arena, steps, n, sizeof(double));
    r->sum = fc_take(arena, steps, sizeof(double));
    r->max = fc_take(arena, steps, sizeof(double));
    r->counts = fc_take(arena, n, sizeof(double));
    r->alpha = fc_take2(arena, steps, s, sizeof(wide));
    r->beta = fc_take(arena, s + 2, sizeof(wide));
    r->w = fc_take(arena, s + 2, sizeof(wide));
}

static inline ptrdiff_t logit_at(const row *r, ptrdiff_t t) {
    return (t * r->job->c->rows + r->at) * r->job->c->n;
}

static inline double logit(const fc_ctc *c, ptrdiff_t i) {
    return c->dtype == FC_F64 ? ((const double *)c->logits)[i]
                              : (double)((const float *)c->logits)[i];
}

/* Whether the call is to end; called in each step of the loops over a row. */
static bool stops(const row *r) {
    enum { WORK_OF_A_STATE = 64 };
    return fc_stops(r->job->watch, WORK_OF_A_STATE * (r->states + r->job->c->n));
}

/* Fills y, its sums and the largest logits; false if a step has no softmax. */
static bool exponentials(row *r) {
    const fc_ctc *c = r->job->c;
    bool finite = true;
    for (ptrdiff_t t = 0; t < r->steps; t++) {
        ptrdiff_t from = logit_at(r, t);
        double *y = r->y + t * c->n, max = logit(c, from);
        for (ptrdiff_t k = 1; k < c->n; k++)
            max = larger(max, logit(c, from + k));
        r->max[t] = max;
        for (ptrdiff_t k = 0; k < c->n; k++)
            y[k] = logit(c, from + k) - max;
    }
    r->job->wide_kernels->elementary(FC_EXP, r->y, r->y, r->steps * c->n);
    for (ptrdiff_t t = 0; t < r->steps; t++) {
        double sum = 0;
        for (ptrdiff_t k = 0; k < c->n; k++)
            sum += r->y[t * c->n + k];
        r->sum[t] = sum;
        finite = finite && isfinite(sum) && isfinite(r->max[t]);
    }
    return finite;
}

static inline int64_t symbol(const row *r, ptrdiff_t s) {
    return s % 2 ? r->label[s / 2] : r->job->c->blank;
}

/* Whether paths go from state s - 2 to s. */
static inline bool skips(const row *r, ptrdiff_t s) {
    return s % 2 && s >= 3 && r->label[s / 2] != r->label[s / 2 - 1];
}

/* y_t(l'_s), not yet divided by the sum. */
static inline wide emission(const row *r, ptrdiff_t t, ptrdiff_t s) {
    int64_t k = symbol(r, s);
    double y = r->y[t * r->job->c->n + k];
    if (y >= LEAST_EXPONENTIAL)
        return (wide){y, 0};
    return wide_exp(logit(r->job->c, logit_at(r, t) + k) - r->max[t]);
}

/* The range of states that are reachable from the start, and from which the end is
 * reachable in the steps left; the others have no paths. */
static inline ptrdiff_t first_state(const row *r, ptrdiff_t t) {
    ptrdiff_t first = r->states - 2 * (r->steps - t);
    return first > 0 ? first : 0;
}

static inline ptrdiff_t end_of_states(const row *r, ptrdiff_t t) {
    return 2 * (t + 1) < r->states ? 2 * (t + 1) : r->states;
}

/* (1), and P of (3) without the division by the sums of y. */
static wide forward(const row *r) {
    ptrdiff_t states = r->states;
    if (r->labels > r->steps)
        return wide_zero;
    if (r->steps == 0)
        return (wide){1, 0};
    for (ptrdiff_t t = 0; t < r->steps && !stops(r); t++) {
        wide *now = r->alpha + t * states;
        const wide *before = t > 0 ? now - states : now;
        ptrdiff_t s = first_state(r, t), end = end_of_states(r, t);
        for (; s < end; s++) {
            wide sum = {1, 0};
            if (t > 0)
                sum = wide_sum(before[s], s >= 1 ? before[s - 1] : wide_zero,
                               skips(r, s) ? before[s - 2] : wide_zero);
            now[s] = wide_product(sum, emission(r, t, s));
        }
        for (; s < states && s < end + 2; s++) /* the next step reads them */
            now[s] = wide_zero;
    }
    const wide *last = r->alpha + r->steps * states;
    return wide_sum(last[-1], states > 1 ? last[-2] : wide_zero, wide_zero);
}

static inline void set_gradient(const row *r, ptrdiff_t i, double value) {
    if (r->job->c->dtype == FC_F64)
        ((double *)r->job->dlogits)[i] = value;
    else
        ((float *)r->job->dlogits)[i] = (float)value;
}

/* Sets the gradient of steps first .. last-1 to one value. */
static void fill_gradient(const row *r, ptrdiff_t first, ptrdiff_t last, double value) {
    for (ptrdiff_t t = first; t < last; t++)
        for (ptrdiff_t k = 0; k < r->job->c->n; k++)
            set_gradient(r, logit_at(r, t) + k, value);
}

/* (2) and (4), from the last step to the first. */
static void backward(const row *r, wide total) {
    ptrdiff_t states = r->states, n = r->job->c->n;
    double scale = r->job->c->scale[r->at];
    for (ptrdiff_t s = 0; s < states + 2; s++)
        r->w[s] = wide_zero;
    for (ptrdiff_t t = r->steps - 1; t >= 0 && !stops(r); t--) {
        const wide *alpha = r->alpha + t * states;
        memset(r->counts, 0, (size_t)n * sizeof *r->counts);
        ptrdiff_t first = first_state(r, t), end = end_of_states(r, t);
        for (ptrdiff_t s = first; s < end; s++) {
            if (t == r->steps - 1)
                r->beta[s] = s >= states - 2 ? (wide){1, 0} : wide_zero;
            else
                r->beta[s] = wide_sum(r->w[s], r->w[s + 1],
                                      s + 2 < states && skips(r, s + 2) ? r->w[s + 2]
                                                                        : wide_zero);
            r->counts[symbol(r, s)] += alpha[s].m * r->beta[s].m / total.m *
                                       power_of_2(alpha[s].e + r->beta[s].e - total.e);
        }
        for (ptrdiff_t s = first; s < end; s++)
            r->w[s] = wide_product(r->beta[s], emission(r, t, s));
        const double *y = r->y + t * n;
        for (ptrdiff_t k = 0; k < n; k++)
            set_gradient(r, logit_at(r, t) + k,
                         scale * (y[k] / r->sum[t] - r->counts[k]));
    }
}

static void run_row(row *r) {
    const fc_ctc *c = r->job->c;
    bool finite = exponentials(r);
    wide total = finite ? forward(r) : wide_zero;
    double loss = NAN, gradient = NAN;
    if (finite) {
        bool possible = total.m > 0;
        loss = possible           ? -(log(total.m) + total.e * LN2)
               : c->zero_infinity ? 0
                                  : INFINITY;
        for (ptrdiff_t t = 0; possible && t < r->steps; t++)
            loss += log(r->sum[t]);
        gradient = c->zero_infinity ? 0 : NAN;
    }
    r->job->loss[r->at] = loss;
    if (!r->job->dlogits)
        return;
    if (total.m > 0)
        backward(r, total);
    else
        fill_gradient(r, 0, r->steps, gradient);
    fill_gradient(r, r->steps, c->steps, 0);
}

static void run_part(void *context, int part, int parts) {
    const job *j = context;
    const fc_ctc *c = j->c;
    row r = {.job = j};
    fc_arena arena = fc_arena_at(j->scratch + (size_t)part * j->part_bytes);
    lay_out(c, j->states, &arena, &r);
    for (r.at = c->rows * part / parts; r.at < c->rows * (part + 1) / parts; r.at++) {
        r.steps = c->lengths ? (ptrdiff_t)c->lengths[r.at] : c->steps;
        r.labels = (ptrdiff_t)c->label_lengths[r.at];
        r.states = 2 * r.labels + 1;
        r.label = c->labels + r.at * c->most_labels;
        if (stops(&r))
            return;
        run_row(&r);
    }
}

/* Values, some nanoseconds each, for which a thread pays. */
enum { WORK_OF_A_PART = 20000 };

static int parts_of(const fc_ctc *c, int threads) {
    double work = (double)c->rows * (double)c->steps *
                  (double)(4 * c->most_labels + 2 + c->n) / WORK_OF_A_PART;
    if (threads > c->rows)
        threads = c->rows < 1 ? 1 : (int)c->rows;
    return fc_useful_parts(work, threads);
}

static fc_status check(const fc_ctc *c, int threads) {
    if (!c || (c->dtype != FC_F32 && c->dtype != FC_F64) || c->steps < 0 ||
        c->rows < 0 || c->n < 1 || c->most_labels < 0 || threads < 1)
        return FC_BAD_ARGUMENT;
    ptrdiff_t reals;
    if (c->steps > FC_MOST_ON_AXIS || c->n > FC_MOST_ON_AXIS ||
        c->most_labels > FC_MOST_ON_AXIS || c->rows > FC_MOST_ON_AXIS ||
        __builtin_mul_overflow(c->steps, c->rows, &reals) ||
        __builtin_mul_overflow(reals, c->n, &reals) || reals > PTRDIFF_MAX / 1024)
        return FC_TOO_LARGE;
    return FC_OK;
}

static size_t part_size(const fc_ctc *c, bool *failed) {
    fc_arena arena = {0};
    row r;
    lay_out(c, 2 * c->most_labels + 1, &arena, &r);
    *failed = arena.failed;
    return fc_arena_bytes(&arena);
}

fc_status fc_ctc_scratch_size(const fc_ctc *c, int threads, size_t *bytes) {
    fc_status status = check(c, threads);
    if (!status && !bytes)
        status = FC_BAD_ARGUMENT;
    if (status)
        return status;
    bool failed;
    size_t part = part_size(c, &failed);
    if (failed || __builtin_mul_overflow(part, (size_t)parts_of(c, threads), bytes) ||
        *bytes > PTRDIFF_MAX)
        return FC_TOO_LARGE;
    return FC_OK;
}

static fc_status check_labels(const fc_ctc *c) {
    if (c->blank < 0 || c->blank >= c->n)
        return FC_BAD_INDEX;
    for (ptrdiff_t b = 0; b < c->rows; b++) {
        if (c->lengths && (c->lengths[b] < 0 || c->lengths[b] > c->steps))
            return FC_BAD_LENGTH;
        if (c->label_lengths[b] < 0 || c->label_lengths[b] > c->most_labels)
            return FC_BAD_LENGTH;
        for (ptrdiff_t i = 0; i < c->label_lengths[b]; i++) {
            int64_t label = c->labels[b * c->most_labels + i];
            if (label < 0 || label >= c->n || label == c->blank)
                return FC_BAD_INDEX;
        }
    }
    return FC_OK;
}

fc_status fc_ctc_loss(const fc_ctc *c, double *loss, void *dlogits, void *scratch,
                      int threads) {
    fc_status status = check(c, threads);
    if (!status && ((c->rows && (!loss || !c->label_lengths || !c->scale)) ||
                    (c->rows && c->most_labels && !c->labels) ||
                    (c->rows && c->steps && !c->logits)))
        status = FC_BAD_ARGUMENT;
    if (!status)
        status = fc_check_alignment(scratch);
    if (!status)
        status = check_labels(c);
    if (status)
        return status;
    bool failed;
    size_t part_bytes = part_size(c, &failed);
    if (failed)
        return FC_TOO_LARGE;
    job j = {.c = c,
             .wide_kernels = fc_kernels_of(FC_F64),
             .states = 2 * c->most_labels + 1,
             .loss = loss,
             .dlogits = dlogits,
             .scratch = scratch,
             .part_bytes = part_bytes};
    fc_watch watch;
    fc_watch_begin(&watch);
    j.watch = &watch;
    fc_run_parts(run_part, &j, parts_of(c, threads));
    return fc_watch_end(&watch) ? FC_INTERRUPTED : FC_OK;
}

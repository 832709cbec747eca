/* Softmax cross-entropy of one row, its loss and its gradient in one pass.
 *
 *     p_i = exp(x_i - m) / s,  m = max x,  s = sum_i exp(x_i - m)
 *     loss = log s - (1 - e) (x_t - m) - e mean(x - m),   e the label smoothing
 *     dx_i = scale * (p_i - (1 - e) [i = t] - e / n) */
#ifndef FC_LOSS_H
#define FC_LOSS_H

#include <math.h>

#include "math/elementary.h"

/* The largest of n > 0 numbers; NaN if one is. */
static real largest_of(const real *x, ptrdiff_t n) {
    real largest = x[0];
    for (ptrdiff_t i = 1; i < n; i++)
        largest = x[i] < largest ? largest : x[i];
    return largest;
}

/* e_i = exp(x_i - largest), and their sum; e may be x. */
static double exponentials(const real *x, ptrdiff_t n, real largest, real *e) {
    double sum = 0;
    ptrdiff_t i = 0;
    vreal sums = vzero();
    for (; i + V <= n; i += V) {
        vreal ei = vexp(vload(x + i) - vset1(largest));
        sums = sums + ei;
        vstore(e + i, ei);
    }
    if (i < n) {
        real lane[V];
        for (ptrdiff_t j = 0; j < V; j++)
            lane[j] = i + j < n ? x[i + j] - largest : (real)FC_EXP_MIN;
        vstore(lane, vexp(vload(lane)));
        for (ptrdiff_t j = 0; i + j < n; j++) {
            e[i + j] = lane[j];
            sum += lane[j];
        }
    }
    return sum + vsum(sums);
}

static double cross_entropy(const void *logits, ptrdiff_t n, ptrdiff_t target,
                            double smoothing, double scale, void *dlogits) {
    const real *x = logits;
    real *dx = dlogits;
    real largest = largest_of(x, n);
    double mean = 0;
    if (smoothing > 0) {
        for (ptrdiff_t i = 0; i < n; i++)
            mean += (double)x[i] - largest;
        mean /= (double)n;
    }
    double loss = -(1 - smoothing) * ((double)x[target] - largest) - smoothing * mean;
    double sum = exponentials(x, n, largest, dx);
    real factor = (real)(scale / sum), shift = (real)(scale * smoothing / (double)n);
    for (ptrdiff_t j = 0; j < n; j++)
        dx[j] = dx[j] * factor - shift;
    dx[target] -= (real)(scale * (1 - smoothing));
    return loss + log(sum);
}

#endif

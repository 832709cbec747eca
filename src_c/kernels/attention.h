/* Attention over the rows of a memory: softmax, and the additive score
 *
 *     score_s = sum over i of v_i tanh(q_i + m_si)                            (1)
 *
 * of Bahdanau et al. 2015 (arXiv:1409.0473), for one query q.  With h = tanh(q + m):
 *
 *     dv_i += sum over s of dscore_s h_si                                     (2)
 *     dm_si += g_si,  dq_i = sum over s of g_si,  g_si = dscore_s v_i (1 - h_si^2)
 *
 * Backward computes h again: keeping it would need a number for each query, row and
 * feature. */
#ifndef FC_ATTENTION_KERNELS_H
#define FC_ATTENTION_KERNELS_H

#include "kernels/loss.h"

static void additive_scores(const void *q_, const void *m_, const void *v_,
                            ptrdiff_t rows, ptrdiff_t n, void *scores) {
    const real *q = q_, *m = m_, *v = v_;
    for (ptrdiff_t s = 0; s < rows; s++, m += n) {
        vreal sum = vzero();
        for (ptrdiff_t i = 0; i < n; i += V) { /* past the end: 0 tanh(0) */
            vreal h = vtanh(vload_part(q + i, n - i) + vload_part(m + i, n - i));
            sum = vfma(vload_part(v + i, n - i), h, sum);
        }
        ((real *)scores)[s] = vsum(sum);
    }
}

static void additive_backward(const fc_additive_gradient *of) {
    const real *ds = of->dscores, *q = of->query, *m = of->memory, *v = of->v;
    real *dq = of->dquery, *dm = of->dmemory, *dv = of->dv;
    const ptrdiff_t rows = of->rows, n = of->n;
    for (ptrdiff_t i = 0; i < n; i += V) {
        ptrdiff_t there = n - i;
        vreal qi = vload_part(q + i, there), vi = vload_part(v + i, there);
        vreal sum = vzero(), sum_h = vload_part(dv + i, there);
        for (ptrdiff_t s = 0; s < rows; s++) {
            vreal h = vtanh(qi + vload_part(m + s * n + i, there));
            vreal dscore = vset1(ds[s]);
            sum_h = vfma(dscore, h, sum_h);
            vreal g = dscore * vi * (vset1(1) - h * h);
            sum = sum + g;
            real *to = dm + s * n + i;
            vstore_part(to, vload_part(to, there) + g, there);
        }
        vstore_part(dq + i, sum, there);
        vstore_part(dv + i, sum_h, there);
    }
}

static void softmax(void *x_, ptrdiff_t n) {
    real *x = x_;
    real factor = (real)(1 / exponentials(x, n, largest_of(x, n), x));
    for (ptrdiff_t i = 0; i < n; i++)
        x[i] *= factor;
}

/* dx = y (dy - sum y dy) */
static void softmax_backward(void *dy_, const void *y_, ptrdiff_t n) {
    real *dy = dy_;
    const real *y = y_;
    vreal sums = vzero();
    for (ptrdiff_t i = 0; i < n; i += V)
        sums = vfma(vload_part(y + i, n - i), vload_part(dy + i, n - i), sums);
    real sum = vsum(sums);
    for (ptrdiff_t i = 0; i < n; i++)
        dy[i] = y[i] * (dy[i] - sum);
}

#endif

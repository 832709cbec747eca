/* What an optimizer does to every parameter: one pass over memory. */
#ifndef FC_OPTIMIZER_H
#define FC_OPTIMIZER_H

#include <math.h>

#include "fastcell.h"
#include "simd/simd.h"

#if FC_REAL_BITS == 32
#define FC_SQRT sqrtf
#else
#define FC_SQRT sqrt
#endif

/* Adam: Kingma & Ba, ICLR 2015 (arXiv:1412.6980); decoupled decay: Loshchilov & Hutter,
 * ICLR 2019 (arXiv:1711.05101); AMSGrad, if there is a v_max: Reddi, Kale & Kumar,
 * ICLR 2018 (arXiv:1904.09237).
 *
 *     p *= shrink,  g += decay * p,  m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2
 *     v_max = max(v_max, v), and v_max for v below
 *     p -= rate * m / (sqrt(v) * root_correction + eps) */
FC_INLINE void adam_step(const fc_adam_rule *rule, real *restrict p,
                         const real *restrict g, real *restrict m, real *restrict v,
                         real *restrict v_max, ptrdiff_t n) {
    const real shrink = (real)rule->shrink, decay = (real)rule->decay;
    const real b1 = (real)rule->beta1, b2 = (real)rule->beta2;
    const real new1 = (real)(1 - rule->beta1), new2 = (real)(1 - rule->beta2);
    const real rate = (real)rule->rate, eps = (real)rule->eps;
    const real correction = (real)rule->root_correction;
    for (ptrdiff_t i = 0; i < n; i++) {
        real gi = decay != 0 ? g[i] + decay * p[i] : g[i];
        real mi = b1 * m[i] + new1 * gi;
        real vi = b2 * v[i] + new2 * (gi * gi);
        m[i] = mi;
        v[i] = vi;
        if (v_max) /* in this order a NaN stays: that of v, and so that of v_max */
            v_max[i] = vi = v_max[i] >= vi ? v_max[i] : vi;
        p[i] = p[i] * shrink - rate * (mi / (FC_SQRT(vi) * correction + eps));
    }
}

static void adam(const fc_adam_rule *rule, void *p, const void *g, void *m, void *v,
                 ptrdiff_t n) {
    if (rule->v_max)
        adam_step(rule, p, g, m, v, rule->v_max, n);
    else
        adam_step(rule, p, g, m, v, NULL, n);
}

/* In double, by eight sums in a fixed order: large float32 values do not overflow. */
static double sum_of_squares(const void *x_, ptrdiff_t n) {
    const real *x = x_;
    double sum[8] = {0}, total = 0;
    ptrdiff_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++)
            sum[j] += (double)x[i + j] * (double)x[i + j];
    for (; i < n; i++)
        total += (double)x[i] * (double)x[i];
    for (int j = 0; j < 8; j++)
        total += sum[j];
    return total;
}

static void scale_reals(void *x_, double factor_, ptrdiff_t n) {
    real *x = x_;
    const real factor = (real)factor_;
    for (ptrdiff_t i = 0; i < n; i++)
        x[i] *= factor;
}

#endif

/* Optimizer steps, clipping and sums of squares of one array: one pass over memory, in
 * plain loops, which the compiler vectorises for each instruction set.  fastcell.h has
 * the rules with their structs; `rule` is one of these, or one double. */
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

/* Without decay, a p that is not finite does not enter the gradient. */
FC_INLINE real decayed(real g, real p, real decay) {
    return decay != 0 ? g + decay * p : g;
}

/* Momentum: Polyak, USSR Comput. Math. Math. Phys. 4(5), 1964; Nesterov's: Sutskever,
 * Martens, Dahl & Hinton, ICML 2013.  Each form is a loop of its own. */
FC_INLINE void sgd_step(const fc_sgd_rule *rule, bool nesterov, real *restrict p,
                        const real *restrict g, real *restrict b, ptrdiff_t n) {
    const real rate = (real)rule->rate, decay = (real)rule->decay;
    const real momentum = (real)rule->momentum, share = (real)rule->share;
    for (ptrdiff_t i = 0; i < n; i++) {
        real step = decayed(g[i], p[i], decay);
        if (b) {
            real bi = momentum * b[i] + share * step;
            b[i] = bi;
            step = nesterov ? step + momentum * bi : bi;
        }
        p[i] -= rate * step;
    }
}

static void sgd(const void *rule_, const fc_parameter *a) {
    const fc_sgd_rule *rule = rule_;
    if (!a->kept[0])
        sgd_step(rule, false, a->p, a->g, NULL, a->n);
    else if (rule->nesterov)
        sgd_step(rule, true, a->p, a->g, a->kept[0], a->n);
    else
        sgd_step(rule, false, a->p, a->g, a->kept[0], a->n);
}

/* Hinton, "Neural networks for machine learning", lecture 6, 2012; centered: Graves,
 * arXiv:1308.0850.  Rounding may make the variance negative: it counts as 0 then, but a
 * NaN stays. */
FC_INLINE void rmsprop_step(const fc_rmsprop_rule *rule, real *restrict p,
                            const real *restrict g, real *restrict v, real *restrict m,
                            real *restrict b, ptrdiff_t n) {
    const real rate = (real)rule->rate, decay = (real)rule->decay;
    const real alpha = (real)rule->alpha, fresh = (real)(1 - rule->alpha);
    const real eps = (real)rule->eps, momentum = (real)rule->momentum;
    for (ptrdiff_t i = 0; i < n; i++) {
        real gi = decayed(g[i], p[i], decay);
        real variance = alpha * v[i] + fresh * (gi * gi);
        v[i] = variance;
        if (m) {
            real mi = m[i] + fresh * (gi - m[i]);
            m[i] = mi;
            variance = variance - mi * mi;
            variance = variance < 0 ? 0 : variance;
        }
        real step = gi / (FC_SQRT(variance) + eps);
        if (b)
            b[i] = step = momentum * b[i] + step;
        p[i] -= rate * step;
    }
}

static void rmsprop(const void *rule, const fc_parameter *a) {
    real *v = a->kept[0], *m = a->kept[1], *b = a->kept[2];
    if (m && b)
        rmsprop_step(rule, a->p, a->g, v, m, b, a->n);
    else if (m)
        rmsprop_step(rule, a->p, a->g, v, m, NULL, a->n);
    else if (b)
        rmsprop_step(rule, a->p, a->g, v, NULL, b, a->n);
    else
        rmsprop_step(rule, a->p, a->g, v, NULL, NULL, a->n);
}

/* Duchi, Hazan & Singer, JMLR 12, 2011. */
FC_INLINE void adagrad_step(const fc_adagrad_rule *rule, real *restrict p,
                            const real *restrict g, real *restrict s, ptrdiff_t n) {
    const real rate = (real)rule->rate, decay = (real)rule->decay;
    const real eps = (real)rule->eps;
    for (ptrdiff_t i = 0; i < n; i++) {
        real gi = decayed(g[i], p[i], decay);
        real si = s[i] + gi * gi;
        s[i] = si;
        p[i] -= rate * (gi / (FC_SQRT(si) + eps));
    }
}

static void adagrad(const void *rule, const fc_parameter *a) {
    adagrad_step(rule, a->p, a->g, a->kept[0], a->n);
}

/* Adam: Kingma & Ba, ICLR 2015 (arXiv:1412.6980); decoupled decay: Loshchilov & Hutter,
 * ICLR 2019 (arXiv:1711.05101); AMSGrad: Reddi, Kale & Kumar, ICLR 2018
 * (arXiv:1904.09237). */
FC_INLINE void adam_step(const fc_adam_rule *rule, real *restrict p,
                         const real *restrict g, real *restrict m, real *restrict v,
                         real *restrict v_max, ptrdiff_t n) {
    const real shrink = (real)rule->shrink, decay = (real)rule->decay;
    const real b1 = (real)rule->beta1, b2 = (real)rule->beta2;
    const real new1 = (real)(1 - rule->beta1), new2 = (real)(1 - rule->beta2);
    const real rate = (real)rule->rate, eps = (real)rule->eps;
    const real correction = (real)rule->root_correction;
    for (ptrdiff_t i = 0; i < n; i++) {
        real gi = decayed(g[i], p[i], decay);
        real mi = b1 * m[i] + new1 * gi;
        real vi = b2 * v[i] + new2 * (gi * gi);
        m[i] = mi;
        v[i] = vi;
        if (v_max) /* in this order a NaN of v stays, and so one of v_max */
            v_max[i] = vi = v_max[i] >= vi ? v_max[i] : vi;
        p[i] = p[i] * shrink - rate * (mi / (FC_SQRT(vi) * correction + eps));
    }
}

static void adam(const void *rule, const fc_parameter *a) {
    if (a->kept[2])
        adam_step(rule, a->p, a->g, a->kept[0], a->kept[1], a->kept[2], a->n);
    else
        adam_step(rule, a->p, a->g, a->kept[0], a->kept[1], NULL, a->n);
}

static void scale(const void *factor_, const fc_parameter *a) {
    real *restrict x = a->p;
    const real factor = (real) * (const double *)factor_;
    for (ptrdiff_t i = 0; i < a->n; i++)
        x[i] *= factor;
}

static void clip(const void *limit_, const fc_parameter *a) {
    real *restrict x = a->p;
    const real limit = (real) * (const double *)limit_;
    for (ptrdiff_t i = 0; i < a->n; i++) {
        real xi = x[i] > limit ? limit : x[i];
        x[i] = xi < -limit ? -limit : xi;
    }
}

/* By eight sums in double, in a fixed order: large float32 values do not overflow. */
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

#endif

/* The activations that the options of a stack choose, and their slopes.
 *
 * Their definitions are those of ONNX, whose RNN, GRU and LSTM have eleven; identity is
 * an affine one.  A gate clip bounds what an activation is applied to.
 *
 * Cells save what an activation is applied to, before the clip, and not its value:
 * a slope does not follow from the value of every kind (that of a leaky relu with a
 * negative alpha, of anything clipped), and value and slope together would need twice
 * the memory.  Backward computes the value again, with the same bits.
 *
 * The kind is looked up for every vector.  It is the same for all of a tile, so that
 * the processor foresees the jump; a loop for each combination of kinds would be 1331
 * of them for an LSTM. */
#ifndef FC_CELLS_ACTIVATION_H
#define FC_CELLS_ACTIVATION_H

#include "cells/tile.h"

typedef struct activation {
    int kind;
    real alpha, beta, clip; /* clip: 0 for none */
} activation;

FC_INLINE activation chosen_activation(const fc_options *options, int role,
                                       fc_activation_kind usual) {
    const fc_activation *f = &options->activation[role];
    return (activation){f->kind == FC_ACT_USUAL ? (int)usual : f->kind, (real)f->alpha,
                        (real)f->beta, (real)options->gate_clip};
}

FC_INLINE vreal bounded(vreal x, real limit) {
    if (limit == 0)
        return x;
    return vmax_keep_nan(vmin_keep_nan(x, vset1(limit)), vset1(-limit));
}
/* The gradient of bounded(x), where it is d of the bounded value. */
FC_INLINE vreal bounded_gradient(vreal x, real limit, vreal d) {
    if (limit == 0)
        return d;
    return vif_positive(vset1(limit) - vabs(x), d, vzero());
}

/* e^x - 1 of -|x|, by (1) of math/elementary.h.  Below -40 it rounds to -1. */
FC_INLINE vreal expm1_below(vreal x) {
    vreal power, one = vset1(1);
    vreal p = vexp_reduce(vmax_keep_nan(vnegative_abs(x), vset1(-40)), &power);
    vreal s = vpower_of_two(power);
    return vfma(s, p, s - one);
}

/* log(1 + e) for e in [0, 1], as 2 artanh(s) with s = e / (2 + e): the series in s^2,
 * which is at most 1/9, to terms below half an ulp. */
FC_INLINE vreal log1p_of(vreal e) {
    enum { TERMS = sizeof(real) == 4 ? 8 : 17 };
    vreal s = vquotient(e, e + vset1(2)), square = s * s;
    vreal sum = vset1((real)1 / (2 * TERMS - 1));
    for (int i = TERMS - 2; i >= 0; i--)
        sum = vfma(sum, square, vset1((real)1 / (real)(2 * i + 1)));
    return (s + s) * sum;
}

/* |x| as far as vquotient takes it: beyond, x / (1 + |x|) is 1. */
FC_INLINE vreal softsign_size(vreal x) {
    return vmin_keep_nan(vabs(x), vset1((real)(UINT64_C(1) << 58)));
}

FC_INLINE vreal activation_value(const activation *f, vreal x) {
    vreal alpha = vset1(f->alpha), beta = vset1(f->beta), zero = vzero(),
          one = vset1(1);
    switch (f->kind) {
    case FC_ACT_TANH:
        return vtanh(x);
    case FC_ACT_SIGMOID:
        return vsigmoid(x);
    case FC_ACT_RELU:
        return vmax_keep_nan(x, zero);
    case FC_ACT_AFFINE:
        return vfma(alpha, x, beta);
    case FC_ACT_LEAKY_RELU:
        return vif_positive(x, x, alpha * x);
    case FC_ACT_THRESHOLDED_RELU:
        return vif_positive(alpha - x, zero, x);
    case FC_ACT_SCALED_TANH:
        return alpha * vtanh(beta * x);
    case FC_ACT_HARD_SIGMOID:
        return vmin_keep_nan(vmax_keep_nan(vfma(alpha, x, beta), zero), one);
    case FC_ACT_ELU:
        return vif_positive(x, x, alpha * expm1_below(x));
    case FC_ACT_SOFTSIGN: {
        vreal size = softsign_size(x);
        return vcopysign(vquotient(size, one + size), x);
    }
    default: /* FC_ACT_SOFTPLUS */
        return vmax_keep_nan(x, zero) + log1p_of(vexp(vnegative_abs(x)));
    }
}

/* f'(x), where y = f(x).  At a kink, and for NaN, the slope of PyTorch. */
FC_INLINE vreal activation_slope(const activation *f, vreal x, vreal y) {
    vreal alpha = vset1(f->alpha), zero = vzero(), one = vset1(1);
    switch (f->kind) {
    case FC_ACT_TANH:
        return one - y * y;
    case FC_ACT_SIGMOID:
        return y * (one - y);
    case FC_ACT_RELU:
        return vif_positive(x, one, zero);
    case FC_ACT_AFFINE:
        return alpha;
    case FC_ACT_LEAKY_RELU:
        return vif_positive(x, one, alpha);
    case FC_ACT_THRESHOLDED_RELU:
        return vif_positive(alpha - x, zero, one);
    case FC_ACT_SCALED_TANH: {
        vreal t = vtanh(vset1(f->beta) * x); /* alpha may be 0: not from y */
        return alpha * vset1(f->beta) * (one - t * t);
    }
    case FC_ACT_HARD_SIGMOID:
        return vif_positive(y, vif_positive(one - y, alpha, zero), zero);
    case FC_ACT_ELU:
        return vif_positive(x, one, alpha * vexp(vnegative_abs(x)));
    case FC_ACT_SOFTSIGN: {
        vreal inverse = vquotient(one, one + softsign_size(x));
        return inverse * inverse;
    }
    default: /* FC_ACT_SOFTPLUS */
        return vsigmoid(x);
    }
}

/* Functions of their own: a copy of all kinds at each use would not fit the cache of
 * instructions. */
static __attribute__((noinline)) vreal activate(const activation *f, vreal x) {
    return activation_value(f, bounded(x, f->clip));
}
static __attribute__((noinline)) vreal activate_again(const activation *f, vreal a,
                                                      vreal *slope) {
    vreal x = bounded(a, f->clip), y = activation_value(f, x);
    *slope = bounded_gradient(a, f->clip, activation_slope(f, x, y));
    return y;
}

/* For a trace: the value of f in place of what it is applied to. */
FC_INLINE void reveal_slot(const fc_back_tile *t, int slot, const activation *f) {
    FOR_EACH_BACK_BLOCK(t, r, u)
    store_slot(t, r, u, slot, activate(f, load_slot(t, r, u, slot)));
}

#endif

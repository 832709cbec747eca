/* log sigmoid(x) on vectors, with its slope.
 *
 *     log sigmoid(x) = min(x, 0) - log1p(e),   e = exp(-|x|)               (1)
 *     log1p(e) = 2 artanh(s) = 2 s + 2 s^3 l(s^2),   s = e / (2 + e)       (2)
 *
 * e is in [0, 1], so s^2 is in [0, 1/9]: one polynomial does without a reduction, and
 * keeps relative accuracy where x is large and log sigmoid(x) nearly 0.
 *
 * Coefficients: math/coefficients.py (Chebyshev fits on s^2; largest relative error of
 * artanh 4.1e-10 for float32, 5.1e-18 for float64).  The largest errors of the whole,
 * measured through the sLSTM's state m: tests/layers/test_slstm.py. */
#ifndef FC_LOG_SIGMOID_H
#define FC_LOG_SIGMOID_H

#include "math/elementary.h"

#if FC_REAL_BITS == 32
static const real fc_artanh_l[] = {1.161216461e-1f, 1.08532879e-1f, 1.4296179e-1f,
                                   1.999985317e-1f, 3.333333366e-1f};
#else
static const real fc_artanh_l[] = {8.08202280597176611e-2,  4.400369243072336941e-2,
                                   6.000536404795356268e-2, 6.657072104827468075e-2,
                                   7.692785032479311552e-2, 9.090894718066429085e-2,
                                   1.111111135871393149e-1, 1.428571428355437858e-1,
                                   2.000000000000729134e-1, 3.333333333333332928e-1};
#endif

/* exp(-|x|): no overflow. */
FC_INLINE vreal vexp_below_one(vreal x) {
    vreal power;
    vreal p = vexp_reduce(vmax_keep_nan(vnegative_abs(x), vset1(FC_EXP_MIN)), &power);
    return vscale_down(vset1(1) + p, power);
}

/* (1), and e for vlog_sigmoid_slope. */
FC_INLINE vreal vlog_sigmoid(vreal x, vreal *e) {
    *e = vexp_below_one(x);
    vreal s = vquotient(*e, *e + vset1(2)), w = s * s;
    vreal l = vset1(fc_artanh_l[0]);
    for (size_t k = 1; k < sizeof fc_artanh_l / sizeof *fc_artanh_l; k++)
        l = vfma(l, w, vset1(fc_artanh_l[k]));
    vreal half = vfma(s * w, l, s);
    return vmin_keep_nan(x, vzero()) - (half + half);
}

/* The derivative, sigmoid(-x). */
FC_INLINE vreal vlog_sigmoid_slope(vreal x, vreal e) {
    vreal one = vset1(1);
    return vquotient(vif_negative(x, one, e), one + e);
}

#endif

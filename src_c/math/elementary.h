/* exp, sigmoid and tanh on vectors.
 *
 * All three reduce to one exponential:  t = n ln2 + r  with n integral, |r| <= ln2/2,
 *
 *     e^t - 1 = 2^n p + (2^n - 1),   p = e^r - 1 = r + r^2 q(r)            (1)
 *     sigmoid(x) = e / (1 + e) or 1 / (1 + e),   e = exp(-|x|)             (2)
 *     tanh(x) = m / (m + 2),   m = e^{2|x|} - 1, sign of x restored        (3)
 *
 * (1) keeps full relative accuracy near 0, so tanh needs no second branch.  In (2)
 * e never overflows, and for x < 0 the numerator keeps the subnormal results.
 *
 * Coefficients: math/coefficients.py (Chebyshev fits on |r| <= ln2/2; largest error
 * of e^r 7.8e-9 for float32, 1.3e-17 for float64).  tests/ulp.c measures the largest
 * errors over all float32 values and asserts <= 3 ulp; docs/architecture.md has the
 * table.
 *
 * Every function returns NaN for NaN. */
#ifndef FC_ELEMENTARY_H
#define FC_ELEMENTARY_H

#include "simd/simd.h"

#define FC_LOG2_E 1.44269504088896340736
#if FC_REAL_BITS == 32
/* ln2 in two parts (Cody and Waite): n * FC_LN2_HI is exact for |n| < 2^14. */
#define FC_LN2_HI 0.693359375f
#define FC_LN2_LO -2.12194440e-4f
#define FC_EXP_MIN -105.0f /* below: rounds to 0 */
#define FC_EXP_MAX 89.0f   /* above: infinity */
#define FC_TANH_MAX 10.0f  /* above: rounds to 1 */
static const real fc_exp_q[] = {1.392618359e-3f, 8.363179053e-3f, 4.166655462e-2f,
                                1.666657699e-1f, 5.0e-1f};
#else
#define FC_LN2_HI 6.93145751953125e-1
#define FC_LN2_LO 1.42860682030941723212e-6
#define FC_EXP_MIN -747.0
#define FC_EXP_MAX 710.0
#define FC_TANH_MAX 20.0
static const real fc_exp_q[] = {2.510038549551031908e-8, 2.762008844540974816e-7,
                                2.755726845999706477e-6, 2.480152129595437513e-5,
                                1.984126986305361688e-4, 1.38888889172137169e-3,
                                8.333333333330061833e-3, 4.166666666662412787e-2,
                                1.666666666666666745e-1, 5.000000000000001022e-1};
#endif

/* t -> 2^n, as an exponent, and p of (1). */
FC_INLINE vreal vexp_reduce(vreal t, vreal *power) {
    vreal n;
    *power = vexponent(t * vset1((real)FC_LOG2_E), &n);
    vreal r = vfma(n, vset1(-FC_LN2_HI), t);
    r = vfma(n, vset1(-FC_LN2_LO), r);
    vreal q = vset1(fc_exp_q[0]);
    for (size_t i = 1; i < sizeof fc_exp_q / sizeof *fc_exp_q; i++)
        q = vfma(q, r, vset1(fc_exp_q[i]));
    return vfma(r * r, q, r);
}

FC_INLINE vreal vexp(vreal x) {
    vreal power, t = vmin_keep_nan(x, vset1(FC_EXP_MAX));
    vreal p = vexp_reduce(vmax_keep_nan(t, vset1(FC_EXP_MIN)), &power);
    return vscale(vset1(1) + p, power);
}

FC_INLINE vreal vsigmoid(vreal x) {
    vreal one = vset1(1), power;
    vreal p = vexp_reduce(vmax_keep_nan(vnegative_abs(x), vset1(FC_EXP_MIN)), &power);
    vreal e = vscale_down(one + p, power);
    return vquotient(vif_negative(x, e, one), one + e);
}

FC_INLINE vreal vtanh(vreal x) {
    vreal one = vset1(1), power;
    vreal a = vmin_keep_nan(vabs(x), vset1(FC_TANH_MAX));
    vreal p = vexp_reduce(a + a, &power);
    vreal s = vpower_of_two(power);
    vreal m = vfma(s, p, s - one);
    return vcopysign(vquotient(m, m + vset1(2)), x);
}

#endif

/* sin and cos of an angle that is an exponential, for e^{i x} with x = e^theta.
 *
 *     x = n pi + r  with n integral, |r| <= pi/2                            (1)
 *     sin x = s sin r,  cos x = s cos r,  s = 1 for even n, -1 for odd n    (2)
 *     sin r = r (1 - r^2/(2*3) (1 - r^2/(4*5) (..)))                        (3)
 *     cos r = 1 - r^2/(1*2) (1 - r^2/(3*4) (..))                            (4)
 *
 * (3) and (4) are the series, to terms below half an ulp of 1 at pi/2.  pi is in three
 * parts (Cody and Waite), of which n times the first two is exact for n < 2^12
 * (float32) and 2^20 (float64).  The largest errors are 1.8 times 2^-23 and
 * 2^-52 up to 2 pi (tests/layers/test_lru.py); above they grow with the angle, since e^x
 * has that relative error, but |sin| and |cos| are never above 1 by more than that. */
#ifndef FC_ROTATION_H
#define FC_ROTATION_H

#include "math/elementary.h"

#define FC_ONE_BY_PI 0.31830988618379067154
#if FC_REAL_BITS == 32
#define FC_PI_1 0x1.922p+1f
#define FC_PI_2 -0x1.2aep-17f
#define FC_PI_3 -0x1.de973ep-30f
enum { FC_TURN_TERMS = 7, FC_TURN_MAX = 80 };
#else
#define FC_PI_1 0x1.921fb544p+1
#define FC_PI_2 0x1.0b4611a6p-33
#define FC_PI_3 0x1.3198a2e037073p-68
enum { FC_TURN_TERMS = 11, FC_TURN_MAX = 700 };
#endif

/* sin and cos of x + rest, where the rest is what x rounds away. */
FC_INLINE void vsin_cos(vreal x, vreal rest, vreal *sin, vreal *cos) {
    vreal one = vset1(1), quarter = vset1((real)(1.5707963267948966)), n, half;
    vexponent(x * vset1((real)FC_ONE_BY_PI), &n); /* (1) */
    vreal r = vfma(n, vset1(-FC_PI_1), x);
    r = vfma(n, vset1(-FC_PI_2), r);
    r = vfma(n, vset1(-FC_PI_3), r) + rest;
    r = vmax_keep_nan(vmin_keep_nan(r, quarter), vzero() - quarter);
    vexponent(n * vset1((real)0.5), &half);
    vreal odd = n - (half + half); /* -1, 0 or 1 */
    vreal sign = vfma(odd + odd, vzero() - odd, one);
    vreal square = r * r, p = one, q = one;
    for (int k = FC_TURN_TERMS - 1; k > 0; k--) {
        p = vfma(square * vset1((real)(-1.0 / (2 * k * (2 * k + 1)))), p, one);
        q = vfma(square * vset1((real)(-1.0 / (2 * k * (2 * k - 1)))), q, one);
    }
    *sin = sign * r * p;
    *cos = sign * q;
}

/* e^x = s + s p by (1) of elementary.h, in two parts: the sum, and what it rounds away.
 * A rotation by 6 that is off by half an ulp of float32 is off by 2.4e-7, and by as
 * many times that as it is repeated.  x is at least -FC_TURN_MAX here, and at most
 * that. */
FC_INLINE vreal vexp_in_two(vreal x, vreal *rest) {
    vreal power, limit = vset1((real)FC_TURN_MAX);
    vreal t = vmax_keep_nan(vmin_keep_nan(x, limit), vzero() - limit);
    vreal p = vexp_reduce(t, &power), s = vpower_of_two(power);
    vreal low = s * p, sum = s + low; /* |low| < s */
    *rest = low - (sum - s);
    return sum;
}

#endif

/* The vector type of one instruction set and one real type.
 *
 * A file in isa/ defines FC_REAL_BITS (32 or 64) and one of FC_AVX512, FC_AVX2,
 * FC_NEON, FC_PORTABLE, and gets
 *
 *     real, vreal, V          the scalar, the vector, its lanes
 *     FC_REGISTERS            vector registers a tile may use
 *     + - * /                 on vreal, by the compiler's vector extension
 *     vload vstore vset1      unaligned
 *     vload_part vstore_part  of V numbers or fewer
 *     vfma(a, b, c)           a * b + c; fused wherever the set has it
 *     vfma_lane(a, i, b, c)   the same with lane i of a; with FC_HAS_LANES only
 *     vmin_keep_nan(x, hi)    x where x <= hi or x is NaN, else hi
 *     vmax_keep_nan(x, lo)    x where x >= lo or x is NaN, else lo
 *     vexponent(x, &n)        sets n to the integer nearest to x, |x| < 2^22; returns
 *                             e, an encoding of n that the next three take
 *     vpower_of_two(e)        2^n, n in [-126, 127] (float32) or [-1022, 1023]
 *     vscale(x, e)            x * 2^n, one rounding, x in [0.5, 2), n in [-160, 160]
 *                             (float32) or [-1100, 1100] (float64)
 *     vscale_down(x, e)       the same, n <= 0
 *     vquotient(x, y)         x / y for |x| and y in [0, 2^60] and [1, 2^60]
 *     vabs(x), vnegative_abs(x), vcopysign(x, s)
 *     vif_negative(x, a, b)   a where the sign bit of x is set, else b
 *     vif_positive(x, a, b)   a where x > 0, else b (so b for NaN)
 *     vswap_pairs(x)          lanes 1 0 3 2 ..; V is even
 *     vsum(x)                 sum of the lanes, in one fixed order
 *
 * vfma is explicit and contraction is off (-ffp-contract=off), so that the rounding of
 * a result does not depend on the tile that computes it. */
#ifndef FC_SIMD_H
#define FC_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if FC_REAL_BITS == 32
typedef float real;
#elif FC_REAL_BITS == 64
typedef double real;
#else
#error "FC_REAL_BITS must be 32 or 64"
#endif

#define FC_INLINE static inline __attribute__((always_inline, unused))

#if defined(FC_AVX512)
#include "simd/avx512.h"
#elif defined(FC_AVX2)
#include "simd/avx2.h"
#elif defined(FC_NEON)
#include "simd/neon.h"
#elif defined(FC_PORTABLE)
#include "simd/portable.h"
#else
#error "no instruction set chosen"
#endif
#if !defined(FC_AVX512)
#include "simd/exponent.h"
#endif

FC_INLINE vreal vzero(void) { return vset1(0); }

/* The first `there` numbers, at most V, and zeros. */
FC_INLINE vreal vload_part(const real *from, ptrdiff_t there) {
    if (there >= V)
        return vload(from);
    real lane[V] = {0};
    memcpy(lane, from, (size_t)there * sizeof(real));
    return vload(lane);
}

FC_INLINE void vstore_part(real *to, vreal x, ptrdiff_t there) {
    if (there >= V) {
        vstore(to, x);
        return;
    }
    real lane[V];
    vstore(lane, x);
    memcpy(to, lane, (size_t)there * sizeof(real));
}

FC_INLINE real vsum(vreal x) {
    real lane[V], sum = 0;
    vstore(lane, x);
    for (int i = 0; i < V; i++)
        sum += lane[i];
    return sum;
}

#endif

/* AVX-512 (F, DQ, VL, BW): 16 lanes of float32, 8 of float64, 32 registers. */
#include <immintrin.h>

#define FC_REGISTERS 32

#if FC_REAL_BITS == 32
enum { V = 16 };
typedef __m512 vreal;
#define MM(op) _mm512_##op##_ps
#define FC_SWAP 0xB1
#define FC_SIGN_MASK(x) _mm512_movepi32_mask(_mm512_castps_si512(x))
#define FC_GREATER(x, y) _mm512_cmp_ps_mask(x, y, _CMP_GT_OQ)
#else
enum { V = 8 };
typedef __m512d vreal;
#define MM(op) _mm512_##op##_pd
#define FC_SWAP 0x55
#define FC_SIGN_MASK(x) _mm512_movepi64_mask(_mm512_castpd_si512(x))
#define FC_GREATER(x, y) _mm512_cmp_pd_mask(x, y, _CMP_GT_OQ)
#endif

FC_INLINE vreal vload(const real *p) { return MM(loadu)(p); }
FC_INLINE void vstore(real *p, vreal x) { MM(storeu)(p, x); }
FC_INLINE vreal vset1(real x) { return MM(set1)(x); }
FC_INLINE vreal vfma(vreal a, vreal b, vreal c) { return MM(fmadd)(a, b, c); }
/* min and max return their second operand when either is NaN. */
FC_INLINE vreal vmin_keep_nan(vreal x, vreal hi) { return MM(min)(hi, x); }
FC_INLINE vreal vmax_keep_nan(vreal x, vreal lo) { return MM(max)(lo, x); }
/* e is n itself: one instruction multiplies by 2^n. */
FC_INLINE vreal vexponent(vreal x, vreal *n) {
    return *n = MM(roundscale)(x, _MM_FROUND_TO_NEAREST_INT);
}
FC_INLINE vreal vpower_of_two(vreal e) { return MM(scalef)(vset1(1), e); }
FC_INLINE vreal vscale_down(vreal x, vreal e) { return MM(scalef)(x, e); }
FC_INLINE vreal vscale(vreal x, vreal e) { return MM(scalef)(x, e); }
/* The divider takes 16 cycles for 16 floats.  The quotient by an estimate of 14 bits,
 * corrected once by its own remainder, takes 3, with an error of 2^-28 before the last
 * rounding (tests/ulp.c). */
FC_INLINE vreal vquotient(vreal x, vreal y) {
#if FC_REAL_BITS == 32
    vreal r = _mm512_rcp14_ps(y);
    vreal q = x * r;
    return MM(fmadd)(MM(fnmadd)(q, y, x), r, q);
#else
    return x / y;
#endif
}
FC_INLINE vreal vabs(vreal x) { return MM(abs)(x); }
FC_INLINE vreal vnegative_abs(vreal x) { return MM(or)(vset1((real)-0.0), x); }
FC_INLINE vreal vcopysign(vreal x, vreal s) {
    return MM(or)(MM(andnot)(vset1((real)-0.0), x), MM (and)(vset1((real)-0.0), s));
}
FC_INLINE vreal vif_negative(vreal x, vreal a, vreal b) {
    return MM(mask_blend)(FC_SIGN_MASK(x), b, a);
}
FC_INLINE vreal vif_positive(vreal x, vreal a, vreal b) {
    return MM(mask_blend)(FC_GREATER(x, vset1(0)), b, a);
}
FC_INLINE vreal vswap_pairs(vreal x) { return MM(permute)(x, FC_SWAP); }

#undef FC_SWAP
#undef FC_SIGN_MASK
#undef FC_GREATER
#undef MM

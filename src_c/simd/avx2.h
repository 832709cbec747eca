/* AVX2 with FMA: 8 lanes of float32, 4 of float64, 16 registers. */
#include <immintrin.h>

#define FC_REGISTERS 16

#if FC_REAL_BITS == 32
enum { V = 8 };
typedef __m256 vreal;
#define MM(op) _mm256_##op##_ps
/* 2^n by building the exponent; n in [-126, 127]. */
FC_INLINE vreal vpower_of_two(vreal n) {
    __m256i e = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(e, 23));
}
#else
enum { V = 4 };
typedef __m256d vreal;
#define MM(op) _mm256_##op##_pd
/* 2^n by building the exponent; n in [-1022, 1023]. */
FC_INLINE vreal vpower_of_two(vreal n) {
    __m256i e = _mm256_cvtepi32_epi64(_mm256_cvtpd_epi32(n));
    e = _mm256_add_epi64(e, _mm256_set1_epi64x(1023));
    return _mm256_castsi256_pd(_mm256_slli_epi64(e, 52));
}
#endif

FC_INLINE vreal vload(const real *p) { return MM(loadu)(p); }
FC_INLINE void vstore(real *p, vreal x) { MM(storeu)(p, x); }
FC_INLINE vreal vset1(real x) { return MM(set1)(x); }
FC_INLINE vreal vfma(vreal a, vreal b, vreal c) { return MM(fmadd)(a, b, c); }
/* min and max return their second operand when either is NaN. */
FC_INLINE vreal vmin_keep_nan(vreal x, vreal hi) { return MM(min)(hi, x); }
FC_INLINE vreal vmax_keep_nan(vreal x, vreal lo) { return MM(max)(lo, x); }
FC_INLINE vreal vround(vreal x) {
    return MM(round)(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* In two halves, so that a subnormal result is rounded once and 2^128 not built. */
FC_INLINE vreal vscale(vreal x, vreal n) {
    vreal half = vround(n * vset1((real)0.5));
    return x * vpower_of_two(half) * vpower_of_two(n - half);
}
FC_INLINE vreal vquotient(vreal x, vreal y) { return x / y; }
FC_INLINE vreal vabs(vreal x) { return MM(andnot)(vset1((real)-0.0), x); }
FC_INLINE vreal vnegative_abs(vreal x) { return MM(or)(vset1((real)-0.0), x); }
FC_INLINE vreal vcopysign(vreal x, vreal s) {
    return MM(or)(vabs(x), MM (and)(vset1((real)-0.0), s));
}
FC_INLINE vreal vif_negative(vreal x, vreal a, vreal b) { return MM(blendv)(b, a, x); }
FC_INLINE vreal vif_positive(vreal x, vreal a, vreal b) {
    return MM(blendv)(b, a, MM(cmp)(x, vset1(0), _CMP_GT_OQ));
}

#undef MM

/* AVX2 with FMA: 8 lanes of float32, 4 of float64, 16 registers. */
#include <immintrin.h>

#define FC_REGISTERS 16

#if FC_REAL_BITS == 32
enum { V = 8 };
typedef __m256 vreal;
#define MM(op) _mm256_##op##_ps
#define FC_SWAP 0xB1
#else
enum { V = 4 };
typedef __m256d vreal;
#define MM(op) _mm256_##op##_pd
#define FC_SWAP 0x5
#endif

FC_INLINE vreal vload(const real *p) { return MM(loadu)(p); }
FC_INLINE void vstore(real *p, vreal x) { MM(storeu)(p, x); }
FC_INLINE vreal vset1(real x) { return MM(set1)(x); }
FC_INLINE vreal vfma(vreal a, vreal b, vreal c) { return MM(fmadd)(a, b, c); }
/* min and max return their second operand when either is NaN. */
FC_INLINE vreal vmin_keep_nan(vreal x, vreal hi) { return MM(min)(hi, x); }
FC_INLINE vreal vmax_keep_nan(vreal x, vreal lo) { return MM(max)(lo, x); }
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
FC_INLINE vreal vswap_pairs(vreal x) { return MM(permute)(x, FC_SWAP); }

#undef FC_SWAP
#undef MM

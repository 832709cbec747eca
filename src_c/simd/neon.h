/* NEON of aarch64: 4 lanes of float32, 2 of float64, 32 registers. */
#include <arm_neon.h>

#define FC_REGISTERS 32
#define FC_HAS_LANES /* vfma_lane */

#if FC_REAL_BITS == 32
enum { V = 4 };
typedef float32x4_t vreal;
#define FC_NEON_REAL(op) op##_f32
#define FC_SIGN_BIT vdupq_n_u32(UINT32_C(1) << 31)
#define FC_SIGN_MASK(x) vcltzq_s32(vreinterpretq_s32_f32(x))
#else
enum { V = 2 };
typedef float64x2_t vreal;
#define FC_NEON_REAL(op) op##_f64
#define FC_SIGN_BIT vdupq_n_u64(UINT64_C(1) << 63)
#define FC_SIGN_MASK(x) vcltzq_s64(vreinterpretq_s64_f64(x))
#endif

FC_INLINE vreal vload(const real *p) { return FC_NEON_REAL(vld1q)(p); }
FC_INLINE void vstore(real *p, vreal x) { FC_NEON_REAL(vst1q)(p, x); }
FC_INLINE vreal vset1(real x) { return FC_NEON_REAL(vdupq_n)(x); }
FC_INLINE vreal vfma(vreal a, vreal b, vreal c) { return FC_NEON_REAL(vfmaq)(c, a, b); }
/* a[lane] * b + c: one load of `a` gives the operands of as many products as it has
 * lanes. */
FC_INLINE vreal vfma_lane(vreal a, const int lane, vreal b, vreal c) {
#if FC_REAL_BITS == 32
    switch (lane) { /* the instruction needs a constant */
    case 0: return vfmaq_laneq_f32(c, b, a, 0);
    case 1: return vfmaq_laneq_f32(c, b, a, 1);
    case 2: return vfmaq_laneq_f32(c, b, a, 2);
    default: return vfmaq_laneq_f32(c, b, a, 3);
    }
#else
    return lane ? vfmaq_laneq_f64(c, b, a, 1) : vfmaq_laneq_f64(c, b, a, 0);
#endif
}
/* FMIN and FMAX return NaN if either operand is NaN (FMINNM and FMAXNM return the
 * other); the bounds are neither NaN nor zero. */
FC_INLINE vreal vmin_keep_nan(vreal x, vreal hi) { return FC_NEON_REAL(vminq)(x, hi); }
FC_INLINE vreal vmax_keep_nan(vreal x, vreal lo) { return FC_NEON_REAL(vmaxq)(x, lo); }
FC_INLINE vreal vquotient(vreal x, vreal y) { return x / y; }
FC_INLINE vreal vabs(vreal x) { return FC_NEON_REAL(vabsq)(x); }
FC_INLINE vreal vnegative_abs(vreal x) { return FC_NEON_REAL(vnegq)(vabs(x)); }
FC_INLINE vreal vcopysign(vreal x, vreal s) {
    return FC_NEON_REAL(vbslq)(FC_SIGN_BIT, s, x);
}
FC_INLINE vreal vif_negative(vreal x, vreal a, vreal b) {
    return FC_NEON_REAL(vbslq)(FC_SIGN_MASK(x), a, b);
}
FC_INLINE vreal vif_positive(vreal x, vreal a, vreal b) {
    return FC_NEON_REAL(vbslq)(FC_NEON_REAL(vcgtzq)(x), a, b);
}
FC_INLINE vreal vswap_pairs(vreal x) {
#if FC_REAL_BITS == 32
    return vrev64q_f32(x);
#else
    return vextq_f64(x, x, 1);
#endif
}

#undef FC_SIGN_BIT
#undef FC_SIGN_MASK
#undef FC_NEON_REAL

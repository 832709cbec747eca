/* ---- Vectors of V numbers: one number in C99, several with FASTCELL_NET_SIMD. ----
 *
 * A multiply-add is fused where the processor has the instruction, as in the library.
 * Other contractions would change bits: -std=c99, or -ffp-contract=off, prevents them.
 */
#if defined(__FAST_MATH__)
#error "compile without -ffast-math: infinities and rounding matter here"
#endif
#if FLT_EVAL_METHOD > 0 && FLT_EVAL_METHOD != 16
#error "floats have to be computed as floats: on 32-bit x86, -msse2 -mfpmath=sse"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif
#if defined(__GNUC__)
#define FC_INLINE static inline __attribute__((always_inline, unused))
#else
#define FC_INLINE static inline
#define __attribute__(x)
#endif
#if defined(__clang__)
#define NET_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__) && __GNUC__ >= 8
#define NET_UNROLL _Pragma("GCC unroll 16")
#else
#define NET_UNROLL
#endif

#define NET_PLAIN 0
#if !defined(FASTCELL_NET_SIMD) && defined(NET_PAIRS)
#define NET_V 2 /* pairs of units are in one vector */
#undef NET_PLAIN
#define NET_PLAIN 1
#elif !defined(FASTCELL_NET_SIMD)
#define NET_V 1
#undef NET_PLAIN
#define NET_PLAIN 1
#elif defined(__AVX512F__) && NET_LANES % 16 == 0
#define NET_V 16
#elif defined(__AVX__) && NET_LANES % 8 == 0
#define NET_V 8
#elif NET_LANES % 4 == 0
#define NET_V 4
#else
#error "FASTCELL_NET_SIMD needs an export with lanes=4, 8 or 16"
#endif
#if NET_V > 1 && !defined(__GNUC__)
#error "vectors, and cells with pairs of units, need GCC or clang"
#endif
#if defined(__GNUC__)
#define NET_PREFETCH(p) __builtin_prefetch(p)
#else
#define NET_PREFETCH(p) ((void)(p))
#endif
#if NET_PLAIN
#define NET_ALIGNED
#else
#define NET_ALIGNED __attribute__((aligned(64))) /* no load from two lines of a cache  \
                                                  */
#endif
enum { V = NET_V };
#if NET_V == 16 /* 32 registers */
#define NET_BLOCK 16
#else
#define NET_BLOCK 12
#endif
typedef float real;

#if NET_V == 1
typedef float vreal;
typedef uint32_t vbits;
typedef int32_t vint;
typedef signed char vbytes;
#define NET_CONVERTED(x, type) ((type)(x))
#else
typedef float vreal __attribute__((vector_size(4 * NET_V)));
typedef uint32_t vbits __attribute__((vector_size(4 * NET_V)));
typedef int32_t vint __attribute__((vector_size(4 * NET_V)));
typedef signed char vbytes __attribute__((vector_size(NET_V)));
#define NET_CONVERTED(x, type) __builtin_convertvector(x, type)
#endif

FC_INLINE vbits vbits_of(vreal x) {
    vbits b;
    memcpy(&b, &x, sizeof b);
    return b;
}
FC_INLINE vreal vreal_of(vbits b) {
    vreal x;
    memcpy(&x, &b, sizeof x);
    return x;
}
FC_INLINE vreal vload(const real *p) {
    vreal x;
    memcpy(&x, p, sizeof x);
    return x;
}
FC_INLINE void vstore(real *p, vreal x) { memcpy(p, &x, sizeof x); }

#if NET_V == 1
FC_INLINE vreal vset1(real x) { return x; }
FC_INLINE vreal vmin_keep_nan(vreal x, vreal hi) { return x > hi ? hi : x; }
FC_INLINE vreal vmax_keep_nan(vreal x, vreal lo) { return x < lo ? lo : x; }
FC_INLINE vreal vif_negative(vreal x, vreal a, vreal b) {
    return vbits_of(x) >> 31 ? a : b;
}
FC_INLINE vreal vif_positive(vreal x, vreal a, vreal b) { return x > 0 ? a : b; }
#else
FC_INLINE vreal vset1(real x) { return x - (vreal){0}; }
#endif

/* min and max of Intel return their second operand when either is NaN. */
#if NET_V == 8
FC_INLINE vreal vmin_keep_nan(vreal x, vreal hi) {
    return (vreal)_mm256_min_ps((__m256)hi, (__m256)x);
}
FC_INLINE vreal vmax_keep_nan(vreal x, vreal lo) {
    return (vreal)_mm256_max_ps((__m256)lo, (__m256)x);
}
FC_INLINE vreal vif_negative(vreal x, vreal a, vreal b) {
    return (vreal)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)x);
}
FC_INLINE vreal vif_positive(vreal x, vreal a, vreal b) {
    return (vreal)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)(x > (vreal){0}));
}
#elif NET_V == 16
FC_INLINE vreal vmin_keep_nan(vreal x, vreal hi) {
    return (vreal)_mm512_min_ps((__m512)hi, (__m512)x);
}
FC_INLINE vreal vmax_keep_nan(vreal x, vreal lo) {
    return (vreal)_mm512_max_ps((__m512)lo, (__m512)x);
}
FC_INLINE vreal vif_negative(vreal x, vreal a, vreal b) {
    const __mmask16 negative = _mm512_cmplt_epi32_mask((__m512i)x, (__m512i)(vbits){0});
    return (vreal)_mm512_mask_blend_ps(negative, (__m512)b, (__m512)a);
}
FC_INLINE vreal vif_positive(vreal x, vreal a, vreal b) {
    const __mmask16 more =
        _mm512_cmp_ps_mask((__m512)x, (__m512)(vreal){0}, _CMP_GT_OQ);
    return (vreal)_mm512_mask_blend_ps(more, (__m512)b, (__m512)a);
}
#elif NET_V > 1
FC_INLINE vreal vpick(vbits mask, vreal a, vreal b) {
    return vreal_of((mask & vbits_of(a)) | (~mask & vbits_of(b)));
}
FC_INLINE vreal vmin_keep_nan(vreal x, vreal hi) {
    return vpick((vbits)(x > hi), hi, x);
}
FC_INLINE vreal vmax_keep_nan(vreal x, vreal lo) {
    return vpick((vbits)(x < lo), lo, x);
}
FC_INLINE vreal vif_negative(vreal x, vreal a, vreal b) {
    return vpick(0 - (vbits_of(x) >> 31), a, b);
}
FC_INLINE vreal vif_positive(vreal x, vreal a, vreal b) {
    return vpick((vbits)(x > (vreal){0}), a, b);
}
#endif

#if defined(__FP_FAST_FMAF)
#define NET_MULTIPLY_ADD(a, b, c) __builtin_fmaf(a, b, c)
#else
#define NET_MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#endif
#if NET_V == 1
FC_INLINE vreal vfma(vreal a, vreal b, vreal c) { return NET_MULTIPLY_ADD(a, b, c); }
#elif NET_V == 2
FC_INLINE vreal vfma(vreal a, vreal b, vreal c) {
    return (vreal){NET_MULTIPLY_ADD(a[0], b[0], c[0]),
                   NET_MULTIPLY_ADD(a[1], b[1], c[1])};
}
#elif NET_V == 4 && defined(__FMA__)
FC_INLINE vreal vfma(vreal a, vreal b, vreal c) {
    return (vreal)_mm_fmadd_ps((__m128)a, (__m128)b, (__m128)c);
}
#elif NET_V == 8 && defined(__FMA__)
FC_INLINE vreal vfma(vreal a, vreal b, vreal c) {
    return (vreal)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
#elif NET_V == 16
FC_INLINE vreal vfma(vreal a, vreal b, vreal c) {
    return (vreal)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
#elif NET_V == 4 && defined(__ARM_NEON) && defined(__ARM_FEATURE_FMA)
FC_INLINE vreal vfma(vreal a, vreal b, vreal c) {
    return (vreal)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
#else
FC_INLINE vreal vfma(vreal a, vreal b, vreal c) { return a * b + c; }
#endif

/* V integers of 8 bits as numbers; GCC needs help. */
#if NET_V == 8 && defined(__AVX2__) && defined(__FMA__)
FC_INLINE vreal vload_bytes(const signed char *p) {
    __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)p);
    return (vreal)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}
#elif NET_V == 16
FC_INLINE vreal vload_bytes(const signed char *p) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    return (vreal)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}
#else
FC_INLINE vreal vload_bytes(const signed char *p) {
    vbytes bytes;
    memcpy(&bytes, p, sizeof bytes);
    vint integers = NET_CONVERTED(bytes, vint);
    return NET_CONVERTED(integers, vreal);
}
#endif

/* Each two neighbours exchanged. */
FC_INLINE vreal vswap_pairs(vreal x) {
    real lane[V];
    vstore(lane, x);
    NET_UNROLL
    for (int i = 0; i + 1 < V; i += 2) {
        real first = lane[i];
        lane[i] = lane[i + 1];
        lane[i + 1] = first;
    }
    return vload(lane);
}

#if NET_V == 16 /* as the library's AVX-512: an estimate, corrected once */
FC_INLINE vreal vquotient(vreal x, vreal y) {
    const __m512 r = _mm512_rcp14_ps((__m512)y), q = _mm512_mul_ps((__m512)x, r);
    return (vreal)_mm512_fmadd_ps(_mm512_fnmadd_ps(q, (__m512)y, (__m512)x), r, q);
}
#else
FC_INLINE vreal vquotient(vreal x, vreal y) { return x / y; }
#endif
FC_INLINE vreal vabs(vreal x) { return vreal_of(vbits_of(x) & 0x7fffffffu); }
FC_INLINE vreal vnegative_abs(vreal x) { return vreal_of(vbits_of(x) | 0x80000000u); }
FC_INLINE vreal vcopysign(vreal x, vreal s) {
    return vreal_of((vbits_of(x) & 0x7fffffffu) | (vbits_of(s) & 0x80000000u));
}

/* x = n + a fraction; the encoding of n is n itself with AVX-512, which multiplies by
 * 2^n.  Else it is the sum x + 1.5 * 2^23, whose low bits are n. */
#if NET_V == 16
FC_INLINE vreal vexponent(vreal x, vreal *n) {
    return *n = (vreal)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT);
}
FC_INLINE vreal vscale(vreal x, vreal e) {
    return (vreal)_mm512_scalef_ps((__m512)x, (__m512)e);
}
FC_INLINE vreal vscale_down(vreal x, vreal e) { return vscale(x, e); }
FC_INLINE vreal vpower_of_two(vreal e) { return vscale(vset1(1), e); }
#else
FC_INLINE vreal vexponent(vreal x, vreal *n) {
    vreal e = x + vset1(12582912.0f);
    *n = e - vset1(12582912.0f);
    return e;
}
FC_INLINE vreal vpower_up(vreal e, unsigned up) { /* 2^(n + up) */
    return vreal_of((vbits_of(e) << 23) + ((127u + up) << 23));
}
FC_INLINE vreal vpower_of_two(vreal e) { return vpower_up(e, 0); }
/* n + 64 is in range where n is not: a subnormal result is rounded once. */
FC_INLINE vreal vscale_down(vreal x, vreal e) {
    return x * vpower_up(e, 64) * vset1(0x1p-64f);
}
/* In two halves, because 2^128 does not exist. */
FC_INLINE vreal vscale(vreal x, vreal e) {
    vreal half, n = e - vset1(12582912.0f);
    vreal first = vexponent(n * vset1(0.5f), &half);
    vreal second = n - half + vset1(12582912.0f);
    return x * vpower_of_two(first) * vpower_of_two(second);
}
#endif

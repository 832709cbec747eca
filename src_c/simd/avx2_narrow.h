/* Narrow operands (bf16, int8) for AVX2, which has no instruction for their products.
 * Rows of `a` are stored in the form that AVX2's instructions read, so that a tile only
 * broadcasts them.  Included by operand.h, which defines the results; float32 only. */
#ifndef FC_AVX2_NARROW_H
#define FC_AVX2_NARROW_H

#if defined(FC_OPERANDS_BF16)
/* A pair is two multiply-adds, that of the second number first.  Rows hold float32
 * rounded to bf16 in that order, ready for use.  Weights stay pairs; each part of a
 * tile's vectors is widened for all its rows, among the multiply-adds: by one `and` and
 * one shuffle, because a shift would need a port of the multiply-adds. */
enum { FC_PARTS = 2, FC_WORDS = 2 };

static const uint32_t fc_second[V] __attribute__((aligned(32))) = {
    0xffff0000, 0xffff0000, 0xffff0000, 0xffff0000,
    0xffff0000, 0xffff0000, 0xffff0000, 0xffff0000};
static const uint32_t fc_first[V] __attribute__((aligned(32))) = {
    0x0100ffff, 0x0504ffff, 0x0908ffff, 0x0d0cffff,
    0x0100ffff, 0x0504ffff, 0x0908ffff, 0x0d0cffff};

/* The masks are read from memory: no register is free. */
FC_INLINE vreal vweights(const uint32_t *p, int part) {
    vreal pairs = _mm256_loadu_ps((const float *)p);
    if (part == 0)
        __asm__("vpand %1, %0, %0" : "+x"(pairs) : "m"(fc_second));
    else
        __asm__("vpshufb %1, %0, %0" : "+x"(pairs) : "m"(fc_first));
    return pairs;
}

/* Both parts of a vector, which is loaded once, by masks in registers. */
FC_INLINE void vwiden(const uint32_t *p, vreal *second, vreal *first) {
    vreal pairs = _mm256_loadu_ps((const float *)p);
    __asm__("vpand %2, %1, %0"
            : "=x"(*second)
            : "x"(pairs), "x"(vload((const real *)fc_second)));
    __asm__("vpshufb %2, %1, %0"
            : "=x"(*first)
            : "x"(pairs), "x"(vload((const real *)fc_first)));
}

/* Not by the intrinsic, for which GCC needs more registers than there are. */
FC_INLINE vreal vdot(vreal a, vreal w, vreal acc) {
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(acc) : "x"(a), "x"(w));
    return acc;
}

#else /* int8 */

FC_INLINE vint vlarger(vint a, vint b) {
    return (vint)_mm256_max_epi32((__m256i)a, (__m256i)b);
}

FC_INLINE __m256i vint8_of(const real *x, vreal inverse) {
    return _mm256_cvtps_epi32(vload(x) * inverse);
}

/* 4 * V numbers as V groups of four bytes; `order` is the place of each of the groups
 * 0 2 4 6 1 3 5 7. */
FC_INLINE __m256i vbytes_of(const real *x, vreal inverse, __m256i order) {
    __m256i bytes = _mm256_packs_epi16(
        _mm256_packs_epi32(vint8_of(x, inverse), vint8_of(x + V, inverse)),
        _mm256_packs_epi32(vint8_of(x + 2 * V, inverse), vint8_of(x + 3 * V, inverse)));
    return _mm256_permutevar8x32_epi32(bytes, order);
}

#if defined(FC_NATIVE)
/* AVX-VNNI: one word a group, numbers plus 128. */
FC_INLINE void vstore_groups(uint32_t *to, const real *x, vreal inverse) {
    __m256i bytes =
        vbytes_of(x, inverse, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i *)to, _mm256_xor_si256(bytes, _mm256_set1_epi8(-128)));
}

FC_INLINE vreal vdot(vreal a, vreal w, vreal acc) {
    /* The VEX form: the other one is AVX-512's. */
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(a), "xm"(w));
    return acc;
}
#else
/* vpmaddubsw adds two products of an unsigned and a signed number, exactly in 16 bits
 * if both are at most 127 in magnitude.  So rows hold, for each group, the numbers,
 * whose signs are applied to the weights, and their magnitudes. */
enum { FC_WORDS = 2 };
typedef struct vrow {
    vreal numbers, sizes;
} vrow;

FC_INLINE void vstore_groups(uint32_t *to, const real *x, vreal inverse) {
    __m256i bytes =
        vbytes_of(x, inverse, _mm256_setr_epi32(0, 4, 2, 6, 1, 5, 3, 7));
    __m256i sizes = _mm256_abs_epi8(bytes);
    _mm256_storeu_si256((__m256i *)to, _mm256_unpacklo_epi32(bytes, sizes));
    _mm256_storeu_si256((__m256i *)to + 1, _mm256_unpackhi_epi32(bytes, sizes));
}

FC_INLINE vreal vdot(vrow a, vreal w, vreal acc) {
    static const int16_t ones[2 * V] __attribute__((aligned(32))) = {
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    __m256i signed_w = _mm256_sign_epi8((__m256i)w, (__m256i)a.numbers);
    __m256i twos = _mm256_maddubs_epi16((__m256i)a.sizes, signed_w);
    /* The ones are read from memory: no register is free. */
    __asm__("vpmaddwd %1, %0, %0" : "+x"(twos) : "m"(ones));
    return (vreal)_mm256_add_epi32((__m256i)acc, twos);
}
#endif
#endif

#endif

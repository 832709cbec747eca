/* The operands of products: reals, or groups of narrower numbers in the size of a real.
 *
 * A file in isa/ defines FC_OPERANDS_BF16, FC_OPERANDS_INT8, or neither, and gets
 *
 *     FC_GROUP              number of k in one operand: 1, 2, 4
 *     operand               these k of one row of `a` or of one column of the weights;
 *                           as large as a real, so all panels have the same layout
 *     vbroadcast(p)         one operand in all lanes
 *     vdot(a, w, acc)       acc + the products of the group, in one fixed order
 *     operands_of(...)      the operands of a row of reals
 *     FC_WORDS              words of an operand in a row of `a`, usually one
 *     FC_PARTS, vweights    multiply-adds of a group, usually one vdot, and the operand
 *                           of each from a vector of weights
 *     vrow, vrow_of(p)      the operand of vdot from a row, usually one broadcast
 *     set_operand(...)      one number of an operand
 *
 * Vectors of operands and of sums have the type vreal, whatever their bits mean.
 *
 * bf16: the upper half of a float32, rounded to nearest even; subnormal numbers count
 * as zero, as in AVX512_BF16.  A product of two is exact in float32, so the sum of a
 * group, second number first, has the same rounding with the instruction and without.
 *
 * int8: -127 .. 127 times a scale, one scale for each row of `a` (1/127 for an operand
 * in [-1, 1]) and one for each column of the weights.  Numbers of `a` are stored plus
 * 128, because the instruction has one unsigned operand; 128 times the sum of the
 * column is subtracted afterwards.  The sums are exact integers.  A row with NaN or
 * infinity has the scale NaN, and so have its results.
 *
 * AVX2 without such an instruction has another form of rows: simd/avx2_narrow.h. */
#ifndef FC_OPERAND_H
#define FC_OPERAND_H

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "simd/simd.h"

#if defined(FC_OPERANDS_BF16) || defined(FC_OPERANDS_INT8)
#define FC_NARROW
typedef int32_t vint __attribute__((vector_size(V * 4)));
typedef uint32_t operand;
#else
typedef real operand;
#endif
#if defined(FC_NARROW) && defined(FC_AVX2)
#include "simd/avx2_narrow.h"
#endif
#if defined(FC_AVX2) && defined(FC_OPERANDS_BF16)
#define FC_SPREAD /* a group is FC_PARTS multiply-adds of reals */
#elif defined(FC_AVX2) && defined(FC_OPERANDS_INT8) && !defined(FC_NATIVE)
#define FC_SIZES /* rows have the numbers and their magnitudes */
#endif
#if !defined(FC_SPREAD)
enum { FC_PARTS = 1 };
#endif
#if !defined(FC_SPREAD) && !defined(FC_SIZES)
enum { FC_WORDS = 1 };
#endif

#if defined(FC_OPERANDS_BF16)
enum { FC_GROUP = 2 };

FC_INLINE uint32_t bf16_of(real x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000) /* a NaN stays a NaN */
        return bits >> 16 | 0x40;
    if ((bits & 0x7f800000) == 0)
        return bits >> 16 & 0x8000;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

FC_INLINE void set_operand(operand *to, ptrdiff_t j, real x) {
    *to = (*to & ~(0xffffu << 16 * j)) | bf16_of(x) << 16 * j;
}

#if !defined(FC_SPREAD)
FC_INLINE void operands_of(operand *to, const real *x, ptrdiff_t n) {
    ptrdiff_t i = 0;
#if defined(FC_NATIVE)
    for (; i + 2 * V <= n; i += 2 * V)
        _mm512_storeu_si512(
            to + i / 2, (__m512i)_mm512_cvtne2ps_pbh(vload(x + i + V), vload(x + i)));
#endif
    for (; i < n; i += 2)
        to[i / 2] = bf16_of(x[i]) | (i + 1 < n ? bf16_of(x[i + 1]) << 16 : 0);
}
#endif

/* Rounded to the upper half, zeros below. */
FC_INLINE vint vround_bf16(vreal x) {
    vint b = (vint)x, magnitude = b & 0x7fffffff;
    vint nan = magnitude > 0x7f800000, normal = magnitude > 0x007fffff;
    b &= normal | ~0x7fffffff;
    b += (0x7fff + (b >> 16 & 1)) & ~nan;
    return (b | (nan & 0x400000)) & ~0xffff;
}

#if defined(FC_SPREAD)
FC_INLINE void operands_of(operand *to, const real *x, ptrdiff_t n) {
    ptrdiff_t i = 0;
    for (; i + V <= n; i += V)
        vstore((real *)to + i, vswap_pairs((vreal)vround_bf16(vload(x + i))));
    if (i < n) {
        vreal rounded = (vreal)vround_bf16(vload_part(x + i, n - i));
        vstore_part((real *)to + i, vswap_pairs(rounded), n + n % 2 - i);
    }
}

#else
/* The operands of two consecutive rows. */
FC_INLINE vreal vpair(vreal first, vreal second) {
    vint low = vround_bf16(first) >> 16 & 0xffff;
    return (vreal)(low | vround_bf16(second));
}

FC_INLINE vreal vdot(vreal a, vreal w, vreal acc) {
#if defined(FC_NATIVE)
    /* Not by the intrinsic: GCC keeps a copy of cast operands, and runs out of
     * registers. */
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(a), "v"(w));
    return acc;
#else
    acc = vfma((vreal)((vint)a & ~0xffff), (vreal)((vint)w & ~0xffff), acc);
    return vfma((vreal)((vint)a << 16), (vreal)((vint)w << 16), acc);
#endif
}
#endif

#elif defined(FC_OPERANDS_INT8)
enum { FC_GROUP = 4 };
#if defined(FC_SIZES)
enum { FC_INT8_ZERO = 0 }; /* no offset */
#else
enum { FC_INT8_ZERO = 128 };
#endif

FC_INLINE int32_t int8_of(real x, real inverse) {
    real q = rintf(x * inverse);
    return q >= -127 && q <= 127 ? (int32_t)q : 0;
}

/* The largest |x|; NaN if one is not finite. */
FC_INLINE real largest(const real *x, ptrdiff_t n, ptrdiff_t stride) {
    real most = 0, bad = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        real a = fabsf(x[i * stride]);
        most = a > most ? a : most;
        bad += a * 0;
    }
    return most + bad;
}

#if !defined(FC_AVX2)
FC_INLINE vint vlarger(vint a, vint b) { return (a & (a > b)) | (b & ~(a > b)); }
#endif

/* The same of a row.  Magnitudes compare as their bits. */
FC_INLINE real largest_of_row(const real *x, ptrdiff_t n) {
    vint most = {0};
    int32_t lane[V], all = 0;
    for (ptrdiff_t i = 0; i < n; i += V)
        most = vlarger((vint)vabs(vload_part(x + i, n - i)), most);
    memcpy(lane, &most, sizeof lane);
    for (int i = 0; i < V; i++)
        all = lane[i] > all ? lane[i] : all;
    real number;
    memcpy(&number, &all, sizeof number);
    return all < 0x7f800000 ? number : NAN;
}

/* The factor of numbers before rounding; 0 for a subnormal scale, since 1 / scale may
 * not exist. */
FC_INLINE real inverse_of(real scale) { return scale >= FLT_MIN ? 1 / scale : 0; }

/* Writes the operands of a row, and returns its scale.  bounded: x is in [-1, 1]. */
FC_INLINE real operands_of(operand *to, const real *x, ptrdiff_t n, bool bounded) {
    real most = largest_of_row(x, n);
    real scale = (bounded && most <= 1 ? 1 : most) / 127;
    real inverse = inverse_of(scale);
    ptrdiff_t i = 0;
#if defined(FC_AVX512)
    for (; i + V <= n; i += V) {
        __m512i q = _mm512_cvtps_epi32(vload(x + i) * vset1(inverse));
        __m128i z = _mm_xor_si128(_mm512_cvtsepi32_epi8(q), _mm_set1_epi8(-128));
        _mm_storeu_si128((__m128i *)(to + i / 4), z);
    }
#endif
#if defined(FC_AVX2)
    for (; i + 4 * V <= n; i += 4 * V)
        vstore_groups(to + i / 4 * FC_WORDS, x + i, vset1(inverse));
    if (i < n) {
        real rest[4 * V] = {0};
        operand groups[V * FC_WORDS];
        memcpy(rest, x + i, (size_t)(n - i) * sizeof(real));
        vstore_groups(groups, rest, vset1(inverse));
        memcpy(to + i / 4 * FC_WORDS, groups,
               (size_t)((n - i + 3) / 4 * FC_WORDS) * sizeof(operand));
    }
    return scale;
#endif
    for (; i < n; i += 4) {
        operand z = 0;
        for (ptrdiff_t j = 0; j < 4; j++) {
            int32_t q = i + j < n ? int8_of(x[i + j], inverse) : 0;
            z |= (operand)(q + FC_INT8_ZERO) << 8 * j;
        }
        to[i / 4] = z;
    }
    return scale;
}

#if !defined(FC_AVX2)
FC_INLINE vreal vdot(vreal a, vreal w, vreal acc) {
#if defined(FC_NATIVE)
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(w)); /* as in bf16 */
    return acc;
#else
    vint x = (vint)a, y = (vint)w, sum = (vint)acc;
    sum += (x & 0xff) * (y << 24 >> 24);
    sum += (x >> 8 & 0xff) * (y << 16 >> 24);
    sum += (x >> 16 & 0xff) * (y << 8 >> 24);
    sum += (x >> 24 & 0xff) * (y >> 24);
    return (vreal)sum;
#endif
}
#endif

/* The sums less V of `zero`, as reals. */
FC_INLINE vreal vsums(vreal acc, const int32_t *zero) {
#if defined(FC_NATIVE) && defined(FC_AVX512)
    __asm__("vpsubd %1, %0, %0" : "+v"(acc) : "v"(vload((const real *)zero)));
    __asm__("vcvtdq2ps %0, %0" : "+v"(acc));
    return acc;
#else
    vint less;
    memcpy(&less, zero, sizeof less);
    return __builtin_convertvector((vint)acc - less, vreal);
#endif
}

#else
enum { FC_GROUP = 1 };

FC_INLINE vreal vdot(vreal a, vreal w, vreal acc) { return vfma(a, w, acc); }
#endif

FC_INLINE vreal vbroadcast(const operand *p) {
    real x;
    memcpy(&x, p, sizeof x);
    return vset1(x);
}
FC_INLINE vreal vload_operands(const operand *p) { return vload((const real *)p); }

#if defined(FC_SIZES)
FC_INLINE vrow vrow_of(const operand *p) {
    return (vrow){vbroadcast(p), vbroadcast(p + 1)};
}
#else
typedef vreal vrow;
FC_INLINE vrow vrow_of(const operand *p) { return vbroadcast(p); }
#endif
#if !defined(FC_SPREAD)
FC_INLINE vreal vweights(const operand *p, int part) {
    (void)part;
    return vload_operands(p);
}
#endif

#endif

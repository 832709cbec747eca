/* 2^n and x * 2^n for sets without an instruction that multiplies by a power of two.
 *
 * Adding 1.5 * 2^m to a number, with m the bits of a mantissa, rounds it to an integer
 * in the low bits of the sum.  Shifted by m they are an exponent, to which another can
 * be added. */
#ifndef FC_EXPONENT_H
#define FC_EXPONENT_H

#if FC_REAL_BITS == 32
typedef uint32_t vunsigned __attribute__((vector_size(sizeof(vreal))));
enum { FC_MANTISSA_BITS = 23, FC_EXPONENT_BIAS = 127, FC_UP = 64 };
#define FC_ROUNDS 0x1.8p23f
#define FC_DOWN 0x1p-64f
#else
typedef uint64_t vunsigned __attribute__((vector_size(sizeof(vreal))));
enum { FC_MANTISSA_BITS = 52, FC_EXPONENT_BIAS = 1023, FC_UP = 512 };
#define FC_ROUNDS 0x1.8p52
#define FC_DOWN 0x1p-512
#endif

FC_INLINE vreal vexponent(vreal x, vreal *n) {
    vreal e = x + vset1(FC_ROUNDS);
    *n = e - vset1(FC_ROUNDS);
    return e;
}

/* 2^(n + up) */
FC_INLINE vreal vpower_up(vreal e, unsigned up) {
    vunsigned bias = (vunsigned){0} + (FC_EXPONENT_BIAS + up);
    return (vreal)(((vunsigned)e << FC_MANTISSA_BITS) + (bias << FC_MANTISSA_BITS));
}
FC_INLINE vreal vpower_of_two(vreal e) { return vpower_up(e, 0); }

/* n + FC_UP is in range where n is not: the first product is exact, and a subnormal
 * result is rounded once. */
FC_INLINE vreal vscale_down(vreal x, vreal e) {
    return x * vpower_up(e, FC_UP) * vset1(FC_DOWN);
}

/* In two halves, because 2^128 does not exist. */
FC_INLINE vreal vscale(vreal x, vreal e) {
    vreal half, n = e - vset1(FC_ROUNDS);
    vreal first = vexponent(n * vset1((real)0.5), &half);
    vreal second = n - half + vset1(FC_ROUNDS);
    return x * vpower_of_two(first) * vpower_of_two(second);
}

#undef FC_ROUNDS
#undef FC_DOWN

#endif

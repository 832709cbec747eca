/* Any CPU, by the vector extension of GCC and clang: 16-byte vectors, no fused
 * multiply-add.  This set is the reference for the others and runs everywhere. */
#include <string.h>

#define FC_REGISTERS 16

#if FC_REAL_BITS == 32
enum { V = 4 };
typedef int32_t vbits __attribute__((vector_size(16)));
#else
enum { V = 2 };
typedef int64_t vbits __attribute__((vector_size(16)));
#endif
typedef real vreal __attribute__((vector_size(16)));

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
FC_INLINE vreal vpick(vbits mask, vreal a, vreal b) {
    return vreal_of((mask & vbits_of(a)) | (~mask & vbits_of(b)));
}

FC_INLINE vreal vload(const real *p) {
    vreal x;
    memcpy(&x, p, sizeof x);
    return x;
}
FC_INLINE void vstore(real *p, vreal x) { memcpy(p, &x, sizeof x); }
FC_INLINE vreal vset1(real x) {
#if FC_REAL_BITS == 32
    return (vreal){x, x, x, x};
#else
    return (vreal){x, x};
#endif
}
FC_INLINE vreal vfma(vreal a, vreal b, vreal c) { return a * b + c; }
FC_INLINE vreal vmin_keep_nan(vreal x, vreal hi) { return vpick(x > hi, hi, x); }
FC_INLINE vreal vmax_keep_nan(vreal x, vreal lo) { return vpick(x < lo, lo, x); }
FC_INLINE vreal vquotient(vreal x, vreal y) { return x / y; }
FC_INLINE vreal vabs(vreal x) {
    return vreal_of(vbits_of(x) & ~vbits_of(vset1((real)-0.0)));
}
FC_INLINE vreal vnegative_abs(vreal x) {
    return vreal_of(vbits_of(x) | vbits_of(vset1((real)-0.0)));
}
FC_INLINE vreal vcopysign(vreal x, vreal s) {
    vbits sign = vbits_of(vset1((real)-0.0));
    return vreal_of((vbits_of(x) & ~sign) | (vbits_of(s) & sign));
}
FC_INLINE vreal vif_negative(vreal x, vreal a, vreal b) {
    return vpick(vbits_of(x) < 0, a, b);
}
FC_INLINE vreal vif_positive(vreal x, vreal a, vreal b) {
    return vpick(x > vset1(0), a, b);
}
FC_INLINE vreal vswap_pairs(vreal x) {
#if FC_REAL_BITS == 32
    return (vreal){x[1], x[0], x[3], x[2]};
#else
    return (vreal){x[1], x[0]};
#endif
}

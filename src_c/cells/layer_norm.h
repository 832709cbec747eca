/* Layer normalization of a row of units: Ba, Kiros & Hinton, arXiv:1607.06450.
 *
 *     n = (a - mean(a)) * scale,  scale = 1 / sqrt(var(a) + eps)             (1)
 *     da = scale * (dn - mean(dn) - n * mean(dn * n))                        (1')
 *
 * A row is [units / V][gates][V], the result of a product.  The means are over all
 * gates, or some, of the units that exist.  Each gate's vectors are added in the order
 * of the units, then the gates, then the lanes: sums depend on the instruction set's
 * lanes, and not on tiles. */
#ifndef FC_CELLS_LAYER_NORM_H
#define FC_CELLS_LAYER_NORM_H

#include <math.h>

#include "cells/tile.h"

static const double layer_norm_eps = 1e-5;

/* What (1) needs of a row, in all lanes. */
typedef struct layer_norm {
    vreal mean, scale;
} layer_norm;

/* The mean of `count` numbers, from the sum of each gate. */
FC_INLINE double layer_norm_mean(const vreal *sum, int gates, ptrdiff_t count) {
    vreal all = sum[0];
#pragma GCC unroll 4
    for (int g = 1; g < gates; g++)
        all = all + sum[g];
    return (double)vsum(all) / (double)count;
}

/* The mean and the scale of gates first .. first+count-1 of a row of `units` units. */
FC_INLINE layer_norm layer_norm_of_some(const real *a, ptrdiff_t units, const int gates,
                                        const int first, const int count) {
    vreal sum[FC_MAX_GATES], squares[FC_MAX_GATES], live = vset1(1);
    ptrdiff_t whole = units / V * V, values = units * count;
    a += first * V;
#pragma GCC unroll 4
    for (int g = 0; g < count; g++)
        sum[g] = squares[g] = vzero();
    for (ptrdiff_t u = 0; u < whole; u += V)
#pragma GCC unroll 4
        for (int g = 0; g < count; g++)
            sum[g] = sum[g] + vload(a + u * gates + g * V);
    if (whole < units) {
        real one[V];
        vstore(one, live);
        live = vload_part(one, units - whole);
#pragma GCC unroll 4
        for (int g = 0; g < count; g++)
            sum[g] = sum[g] + vload_part(a + whole * gates + g * V, units - whole);
    }
    layer_norm norm = {.mean = vset1((real)layer_norm_mean(sum, count, values))};
    for (ptrdiff_t u = 0; u < whole; u += V)
#pragma GCC unroll 4
        for (int g = 0; g < count; g++) {
            vreal d = vload(a + u * gates + g * V) - norm.mean;
            squares[g] = vfma(d, d, squares[g]);
        }
    if (whole < units)
#pragma GCC unroll 4
        for (int g = 0; g < count; g++) {
            vreal d = vload(a + whole * gates + g * V) - norm.mean;
            d = vif_positive(live, d, vzero());
            squares[g] = vfma(d, d, squares[g]);
        }
    double variance = layer_norm_mean(squares, count, values);
    norm.scale = vset1((real)(1 / sqrt(variance + layer_norm_eps)));
    return norm;
}
/* The same of all gates. */
FC_INLINE layer_norm layer_norm_of(const real *a, ptrdiff_t units, const int gates) {
    return layer_norm_of_some(a, units, gates, 0, gates);
}

/* The means of dn and dn * n; until layer_norm_divide, their sums. */
typedef struct layer_norm_means {
    vreal dn, dn_n;
} layer_norm_means;

FC_INLINE void layer_norm_add(layer_norm_means *sums, vreal dn, vreal n) {
    sums->dn = sums->dn + dn;
    sums->dn_n = vfma(dn, n, sums->dn_n);
}

FC_INLINE layer_norm_means layer_norm_divide(layer_norm_means sums, ptrdiff_t count) {
    return (layer_norm_means){
        vset1((real)layer_norm_mean(&sums.dn, 1, count)),
        vset1((real)layer_norm_mean(&sums.dn_n, 1, count)),
    };
}

/* (1') */
FC_INLINE vreal layer_norm_gradient(vreal dn, vreal n, layer_norm_means means,
                                    vreal scale) {
    return scale * (dn - means.dn - n * means.dn_n);
}

#endif

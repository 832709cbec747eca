/* Packing of columns of a weight matrix, V at a time, into the layout of panels. */
#ifndef FC_PACK_H
#define FC_PACK_H

#include "kernels/operand.h"
#include "runtime/kernels.h"

/* Elements without a source are not written: the caller zeroes them before. */
static void pack(const fc_panels *panels, ptrdiff_t vector, const fc_columns *from) {
    enum { BLOCK = 64 }; /* steps of k read from one column before the next */
    const ptrdiff_t width = panels->width, first = vector / width * width;
    const ptrdiff_t left = panels->vectors - first;
    const ptrdiff_t here = (left < width ? left : width) * V;
    const real *source = from->data;
    operand *to =
        (operand *)panels->data + (first * panels->depth + vector - first) * V;
#if defined(FC_NARROW)
    (void)BLOCK;
    to += from->first_lane;
    for (ptrdiff_t lane = 0; lane < from->lanes; lane++) {
        const real *column = source + lane * from->lane_stride;
#if defined(FC_OPERANDS_INT8)
        real scale = largest(column, from->count_k, from->k_stride) / 127;
        real inverse = inverse_of(scale);
        int32_t sum = 0;
#endif
        for (ptrdiff_t k = 0; k < from->count_k; k++) {
            ptrdiff_t at = from->first_k + k, j = at % FC_GROUP;
            operand *group = to + at / FC_GROUP * here + lane;
            real x = column[k * from->k_stride];
#if defined(FC_OPERANDS_INT8)
            int32_t q = int8_of(x, inverse);
            sum += q;
            *group |= ((operand)q & 0xff) << 8 * j;
#else
            set_operand(group, j, x);
#endif
        }
#if defined(FC_OPERANDS_INT8)
        ptrdiff_t at_column = vector * V + from->first_lane + lane;
        ((real *)panels->scale)[at_column] = scale;
        ((int32_t *)panels->zero)[at_column] = FC_INT8_ZERO * sum;
#endif
    }
#else
    to += from->first_k * here + from->first_lane;
    if (from->lanes == V && from->lane_stride == 1) {
        for (ptrdiff_t k = 0; k < from->count_k; k++)
            vstore(to + k * here, vload(source + k * from->k_stride));
        return;
    }
    for (ptrdiff_t block = 0; block < from->count_k; block += BLOCK) {
        ptrdiff_t end = from->count_k - block < BLOCK ? from->count_k : block + BLOCK;
        for (ptrdiff_t lane = 0; lane < from->lanes; lane++) {
            const real *column = source + lane * from->lane_stride;
            for (ptrdiff_t k = block; k < end; k++)
                to[k * here + lane] = column[k * from->k_stride];
        }
    }
#endif
}

#endif

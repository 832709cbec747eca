/* The body compiled once per instruction set and real type: fills one kernel table. */
#include "runtime/kernels.h"

#include "cells/registry.h"
#include "kernels/attention.h"
#if !defined(FC_OPERANDS_INT8)
#include "kernels/gradient.h"
#endif
#include "kernels/dropout.h"
#include "kernels/loss.h"
#if !defined(FC_OPERANDS_BF16) && !defined(FC_OPERANDS_INT8)
#include "kernels/mlstm.h"
#endif
#include "kernels/optimizer.h"
#include "kernels/pack.h"
#include "kernels/step.h"
#include "math/elementary.h"

static void add(void *to, const void *a, ptrdiff_t n) {
    real *restrict t = to;
    const real *restrict x = a;
    for (ptrdiff_t i = 0; i < n; i++)
        t[i] += x[i];
}

static void add_gates(void *row, const void *a, int gates, ptrdiff_t units,
                      ptrdiff_t first, ptrdiff_t last) {
    const real *from = a;
    for (ptrdiff_t u = first; u < last; u += V)
        for (int g = 0; g < gates; g++) {
            real *to = (real *)row + u * gates + g * V;
            vstore(to, vload(to) + vload_part(from + g * units + u, units - u));
        }
}

static void maximum(void *y_, int32_t *restrict where, const void *a, int32_t step,
                    ptrdiff_t n) {
    real *restrict y = y_;
    const real *restrict x = a;
    for (ptrdiff_t i = 0; i < n; i++) {
        bool larger = x[i] > y[i];
        where[i] = larger ? step : where[i];
        y[i] = larger || x[i] != x[i] ? x[i] : y[i];
    }
}

static void multiply(void *to, const void *a, const void *b, ptrdiff_t n) {
    real *restrict t = to;
    const real *x = a, *y = b;
    for (ptrdiff_t i = 0; i < n; i++)
        t[i] = x[i] * y[i];
}

static void zone(void *to_, const void *fresh, const void *old, const void *factors,
                 double share, ptrdiff_t n) {
    real *to = to_;
    const real *x = fresh, *y = old, *f = factors, s = (real)share;
    if (f)
        for (ptrdiff_t i = 0; i < n; i++)
            to[i] = f[i] != 0 ? x[i] : y[i];
    else
        for (ptrdiff_t i = 0; i < n; i++)
            to[i] = x[i] + s * (y[i] - x[i]);
}

static void zone_backward(void *d_, void *pass_, const void *factors, double share,
                          ptrdiff_t n) {
    real *restrict d = d_, *restrict pass = pass_;
    const real *f = factors, s = (real)share;
    for (ptrdiff_t i = 0; i < n; i++) {
        real kept = f ? (f[i] != 0 ? 0 : d[i]) : s * d[i];
        pass[i] = kept;
        d[i] = f ? (f[i] != 0 ? d[i] : 0) : d[i] - kept;
    }
}

static vreal apply(int function, vreal x) {
    switch (function) {
    case FC_EXP:
        return vexp(x);
    case FC_SIGMOID:
        return vsigmoid(x);
    default:
        return vtanh(x);
    }
}

static void elementary(int function, const void *x, void *y, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i += V) /* the tail takes the same arithmetic */
        vstore_part((real *)y + i,
                    apply(function, vload_part((const real *)x + i, n - i)), n - i);
}

/* The table's name, by the operands of the products and their instructions. */
#if defined(FC_OPERANDS_BF16) && defined(FC_NATIVE)
#define FC_KIND bf16_native
#elif defined(FC_OPERANDS_BF16)
#define FC_KIND bf16
#elif defined(FC_OPERANDS_INT8) && defined(FC_NATIVE)
#define FC_KIND int8_native
#elif defined(FC_OPERANDS_INT8)
#define FC_KIND int8
#elif FC_REAL_BITS == 32
#define FC_KIND f32
#else
#define FC_KIND f64
#endif
#define FC_PASTE_(isa, kind) fc_kernels_##isa##_##kind
#define FC_PASTE(isa, kind) FC_PASTE_(isa, kind)
#define FC_STRING_(isa) #isa
#define FC_STRING(isa) FC_STRING_(isa)

const fc_kernels FC_PASTE(FC_ISA, FC_KIND) = {
    .isa = FC_STRING(FC_ISA),
#if defined(FC_PORTABLE) && !defined(FC_NARROW)
    .wants_blas = true,
#endif
#if defined(FC_NATIVE)
    .native = true,
#endif
    .lanes = V,
    .panel = FC_MAX_WIDTH,
    .real_size = sizeof(real),
    .cells = fc_registry,
    .cell_count = sizeof fc_registry / sizeof *fc_registry,
    .product = product,
    .step = step,
    .tile_shape = tile_shape,
#if defined(FC_OPERANDS_INT8)
    .scales = true,
#else
    .trains = true,
    .weight_gradient = weight_gradient,
    .weight_gradient_scratch = weight_gradient_scratch,
    .unit_sum = unit_sum,
    .gradient_block = FC_GRADIENT_DEPTH,
#endif
    .group = FC_GROUP,
    .operand_scratch = operand_scratch,
    .pack = pack,
    .add = add,
    .add_gates = add_gates,
    .maximum = maximum,
    .multiply = multiply,
    .zone = zone,
    .zone_backward = zone_backward,
    .cross_entropy = cross_entropy,
    .additive_scores = additive_scores,
    .additive_backward = additive_backward,
    .softmax = softmax,
    .softmax_backward = softmax_backward,
#if !defined(FC_OPERANDS_BF16) && !defined(FC_OPERANDS_INT8)
    .mlstm_scratch = mlstm_scratch,
    .mlstm_sequence = mlstm_sequence,
    .mlstm_step = mlstm_step,
#endif
    .dropout = dropout,
    .update = {[FC_SGD] = sgd,
               [FC_RMSPROP] = rmsprop,
               [FC_ADAGRAD] = adagrad,
               [FC_ADAM] = adam,
               [FC_SCALE] = scale,
               [FC_CLIP] = clip},
    .sum_of_squares = sum_of_squares,
    .elementary = elementary,
};

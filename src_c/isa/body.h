/* The body compiled once per instruction set and real type: fills one kernel table. */
#include "../kernels.h"

#include "../cells/registry.h"
#include "../gradient.h"
#include "../loss.h"
#include "../math/elementary.h"
#include "../optimizer.h"
#include "../product.h"
#include "../step.h"

static void add(void *to, const void *a, ptrdiff_t n) {
    real *restrict t = to;
    const real *restrict x = a;
    for (ptrdiff_t i = 0; i < n; i++)
        t[i] += x[i];
}

static void multiply(void *to, const void *a, const void *b, ptrdiff_t n) {
    real *restrict t = to;
    const real *x = a, *y = b;
    for (ptrdiff_t i = 0; i < n; i++)
        t[i] = x[i] * y[i];
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
    ptrdiff_t i = 0;
    for (; i + V <= n; i += V)
        vstore((real *)y + i, apply(function, vload((const real *)x + i)));
    if (i < n) { /* the tail takes the same arithmetic */
        real lane[V] = {0};
        memcpy(lane, (const real *)x + i, (size_t)(n - i) * sizeof(real));
        vstore(lane, apply(function, vload(lane)));
        memcpy((real *)y + i, lane, (size_t)(n - i) * sizeof(real));
    }
}

#define FC_PASTE_(isa, bits) fc_kernels_##isa##_f##bits
#define FC_PASTE(isa, bits) FC_PASTE_(isa, bits)
#define FC_STRING_(isa) #isa
#define FC_STRING(isa) FC_STRING_(isa)

const fc_kernels FC_PASTE(FC_ISA, FC_REAL_BITS) = {
    .isa = FC_STRING(FC_ISA),
#if defined(FC_PORTABLE)
    .wants_blas = true,
#endif
    .lanes = V,
    .real_size = sizeof(real),
    .cells = fc_registry,
    .cell_count = sizeof fc_registry / sizeof *fc_registry,
    .product = product,
    .step = step,
    .weight_gradient = weight_gradient,
    .weight_gradient_scratch = weight_gradient_scratch,
    .gradient_block = FC_GRADIENT_DEPTH,
    .pack = pack,
    .add = add,
    .multiply = multiply,
    .cross_entropy = cross_entropy,
    .adam = adam,
    .sum_of_squares = sum_of_squares,
    .elementary = elementary,
};

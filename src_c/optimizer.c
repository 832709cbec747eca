/* Optimizer steps, on the kernels of the set in use. */
#include "dispatch.h"

static int is_bad(fc_dtype dtype, ptrdiff_t n) {
    return (dtype != FC_F32 && dtype != FC_F64) || n < 0;
}

fc_status fc_adam(fc_dtype dtype, const fc_adam_rule *rule, ptrdiff_t n, void *p,
                  const void *g, void *m, void *v) {
    if (is_bad(dtype, n) || !rule || (n && (!p || !g || !m || !v)))
        return FC_BAD_ARGUMENT;
    fc_kernels_of(dtype)->adam(rule, p, g, m, v, n);
    return FC_OK;
}

fc_status fc_sum_of_squares(fc_dtype dtype, ptrdiff_t n, const void *x, double *sum) {
    if (is_bad(dtype, n) || !sum || (n && !x))
        return FC_BAD_ARGUMENT;
    *sum = fc_kernels_of(dtype)->sum_of_squares(x, n);
    return FC_OK;
}

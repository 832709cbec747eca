/* Weight gradients by the caller's BLAS or by the library's own kernel. */
#ifndef FC_BLAS_H
#define FC_BLAS_H

#include "fastcell.h"
#include "runtime/kernels.h"

/* Whether weight gradients use the BLAS.  If so, the caller runs one part: the BLAS has
 * its own threads, which must not compete with the pool's. */
bool fc_uses_blas(const fc_kernels *k, const fc_blas *blas);

void fc_weight_gradient_of(const fc_kernels *k, const fc_blas *blas,
                           const fc_weight_gradient *g);

#endif

/* Weight gradients by the caller's BLAS, or by our own kernel. */
#ifndef FC_BLAS_H
#define FC_BLAS_H

#include "fastcell.h"
#include "runtime/kernels.h"

/* Is it the BLAS that will be used?  Then the caller runs one part: the BLAS has
 * threads of its own, and two pools must not fight. */
bool fc_uses_blas(const fc_kernels *k, const fc_blas *blas);

void fc_weight_gradient_of(const fc_kernels *k, const fc_blas *blas,
                           const fc_weight_gradient *g);

#endif

/* The kernel table in use for a dtype. */
#ifndef FC_DISPATCH_H
#define FC_DISPATCH_H

#include "fastcell.h"
#include "runtime/kernels.h"

const fc_kernels *fc_kernels_of(fc_dtype dtype);

#endif

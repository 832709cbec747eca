#define FC_ISA avx2
#define FC_AVX2
#define FC_REAL_BITS 32
#define FC_OPERANDS_INT8
#include "isa/body.h"

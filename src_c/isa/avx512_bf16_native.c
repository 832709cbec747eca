#define FC_ISA avx512
#define FC_AVX512
#define FC_REAL_BITS 32
#define FC_OPERANDS_BF16
#define FC_NATIVE
#include "isa/body.h"

#define FC_ISA avx512
#define FC_AVX512
#define FC_REAL_BITS 64
#include "isa/body.h"

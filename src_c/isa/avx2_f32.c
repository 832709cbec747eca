#define FC_ISA avx2
#define FC_AVX2
#define FC_REAL_BITS 32
#include "isa/body.h"

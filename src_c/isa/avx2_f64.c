#define FC_ISA avx2
#define FC_AVX2
#define FC_REAL_BITS 64
#include "isa/body.h"

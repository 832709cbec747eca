#define FC_ISA portable
#define FC_PORTABLE
#define FC_REAL_BITS 32
#define FC_OPERANDS_BF16
#include "isa/body.h"

#define FC_ISA portable
#define FC_PORTABLE
#define FC_REAL_BITS 32
#include "isa/body.h"

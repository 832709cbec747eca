#define FC_ISA portable
#define FC_PORTABLE
#define FC_REAL_BITS 64
#include "isa/body.h"

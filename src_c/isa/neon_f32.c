#define FC_ISA neon
#define FC_NEON
#define FC_REAL_BITS 32
#include "isa/body.h"

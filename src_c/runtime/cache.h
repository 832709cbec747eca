/* The size of the second-level cache, as the CPU reports it. */
#ifndef FC_CACHE_H
#define FC_CACHE_H

#include <stddef.h>

/* Bytes of weights that stay in a core's second-level cache together with the other
 * data of a step: half of its size. */
size_t fc_near_bytes(void);

#endif

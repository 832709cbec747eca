/* What the CPU tells of its caches. */
#ifndef FC_CACHE_H
#define FC_CACHE_H

#include <stddef.h>

/* Bytes of weights that stay in the second-level cache of a core beside all else that
 * a step goes through: half of it. */
size_t fc_near_bytes(void);

#endif

/* Written by fastcell export-c; $header has the interface.
 *
 * C99 that needs no library, allocates nothing and has constant data only.  Defined at
 * compile time, FASTCELL_NET_SIMD chooses the vectors of GCC and clang.
 *
 * All functions but those of the layers are fastcell's: Copyright (c) 2026, the fastcell
 * authors, BSD 3-Clause License. */
#include "$header"

#include <float.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(FASTCELL_NET_SIMD) && (defined(__AVX__) || defined(__FMA__))
#include <immintrin.h>
#elif defined(FASTCELL_NET_SIMD) && defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#define NET_LANES $lanes
$pairs
$vectors
/* ---- The library's functions. ---- */

$items
/* ---- The weights. ---- */

$arrays
/* ---- The layers. ---- */

$functions
void ${name}_reset(${name}_state *s) { memset(s, 0, sizeof *s); }

void ${name}_step(${name}_state *s, const $kind *x, float *y) {
$statements}

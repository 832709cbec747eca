/* Dropout masks from a counter-based generator: Threefry2x32-20 of Salmon et al.,
 * "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 *
 * Index and key alone decide whether an element is dropped, so that threads may process
 * any part of an array, and backward generates the same mask again.  Threefry consists
 * of sums and rotations, which every instruction set has for whole vectors; Philox
 * needs the upper halves of products.
 *
 * A block has 64 counters of two words; word w of counter i is number 64 w + i of it.
 */
#ifndef FC_DROPOUT_H
#define FC_DROPOUT_H

#include "simd/simd.h"

enum { FC_COUNTERS = FC_DROPOUT_BLOCK / 2 };

static inline void threefry_round(uint32_t x[2][FC_COUNTERS], int bits) {
    for (int i = 0; i < FC_COUNTERS; i++) {
        x[0][i] += x[1][i];
        x[1][i] = (x[1][i] << bits | x[1][i] >> (32 - bits)) ^ x[0][i];
    }
}

static void threefry(uint64_t key, uint64_t block, uint32_t x[2][FC_COUNTERS]) {
    static const int bits[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
    uint32_t k[3] = {(uint32_t)key, (uint32_t)(key >> 32)};
    k[2] = 0x1BD11BDA ^ k[0] ^ k[1];
    uint64_t first = block * FC_COUNTERS;
    for (uint32_t i = 0; i < FC_COUNTERS; i++) {
        x[0][i] = (uint32_t)first + i + k[0];
        x[1][i] = (uint32_t)(first >> 32) + k[1];
    }
    for (uint32_t group = 0; group < 5; group++) { /* four rounds, then the key */
        for (int round = 0; round < 4; round++)
            threefry_round(x, bits[group % 2][round]);
        for (int i = 0; i < FC_COUNTERS; i++) {
            x[0][i] += k[(group + 1) % 3];
            x[1][i] += k[(group + 2) % 3] + group + 1;
        }
    }
}

/* y = x factor if the element's word is at least `least`, else 0; x NULL: ones.  The
 * first element is the first of a block.  There is no branch: it would be
 * unpredictable.
 */
static void dropout(uint64_t key, uint64_t block, uint32_t least, double factor,
                    const void *x_, void *y_, ptrdiff_t n) {
    const real *x = x_;
    real *y = y_, f = (real)factor;
    uint32_t words[2][FC_COUNTERS];
    for (ptrdiff_t at = 0; at < n; at += FC_DROPOUT_BLOCK, block++) {
        threefry(key, block, words);
        const uint32_t *word = words[0];
        ptrdiff_t count = n - at < FC_DROPOUT_BLOCK ? n - at : FC_DROPOUT_BLOCK;
        for (ptrdiff_t i = 0; i < count; i++) {
            real kept = x ? x[at + i] * f : f;
            y[at + i] = word[i] < least ? 0 : kept;
        }
    }
}

#endif

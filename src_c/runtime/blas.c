#include "runtime/blas.h"

#include <limits.h>
#include <string.h>

bool fc_uses_blas(const fc_kernels *k, const fc_blas *blas) {
    return blas && k->wants_blas &&
           (k->real_size == sizeof(float) ? blas->sgemm != NULL : blas->dgemm != NULL);
}

/* The only conversion of a size to a BLAS integer; false if it does not fit. */
static bool to_int(ptrdiff_t size, int *n) {
    *n = (int)size;
    return size <= INT_MAX;
}

/* out (units, depth) += d^T x, row-major, with x in the scratch; seen by the BLAS,
 * column-major, out^T = x^T d.  False if a size does not fit. */
static bool gemm(const fc_kernels *k, const fc_blas *blas, const fc_weight_gradient *g,
                 ptrdiff_t rows, const void *d, void *out) {
    int m, n, kk, ldd;
    char plain = 'N', transposed = 'T';
    void *x = g->scratch;
    if (!to_int(g->depth, &m) || !to_int(g->units, &n) || !to_int(rows, &kk) ||
        !to_int(g->d_row, &ldd))
        return false;
    if (k->real_size == sizeof(float)) {
        float one = 1;
        blas->sgemm(&plain, &transposed, &m, &n, &kk, &one, x, &m, (float *)d, &ldd,
                    &one, out, &m);
    } else {
        double one = 1;
        blas->dgemm(&plain, &transposed, &m, &n, &kk, &one, x, &m, (double *)d, &ldd,
                    &one, out, &m);
    }
    return true;
}

/* bias += the sums of d's columns, over the rows of a block. */
static void add_bias(const fc_kernels *k, const fc_weight_gradient *g, ptrdiff_t first,
                     ptrdiff_t rows) {
    for (int j = 0; j < g->gates; j++) {
        char *bias =
            (char *)g->bias + (size_t)(g->gate_order[j] * g->units) * k->real_size;
        for (ptrdiff_t row = first; row < first + rows; row++)
            k->add(bias,
                   (const char *)g->d +
                       (size_t)(row * g->d_row + j * g->d_gate) * k->real_size,
                   g->units);
    }
}

void fc_weight_gradient_of(const fc_kernels *k, const fc_blas *blas,
                           const fc_weight_gradient *g) {
    if (!fc_uses_blas(k, blas) || g->depth == 0) {
        k->weight_gradient(g);
        return;
    }
    /* A contiguous copy of a block of rows of x, in the kernel's scratch. */
    size_t row_bytes = (size_t)g->depth * k->real_size;
    ptrdiff_t block = k->gradient_block;
    bool fits = true;
    for (ptrdiff_t row = fc_last_block(g->rows, block); row >= 0 && fits;
         row -= block) {
        ptrdiff_t rows = g->rows - row < block ? g->rows - row : block;
        for (ptrdiff_t i = 0; i < rows; i++)
            memcpy((char *)g->scratch + (size_t)i * row_bytes, g->x[row + i],
                   row_bytes);
        for (int j = 0; j < g->gates && fits && !fc_gradient_stops(g, rows); j++)
            fits = gemm(k, blas, g, rows,
                        (const char *)g->d +
                            (size_t)(row * g->d_row + j * g->d_gate) * k->real_size,
                        (char *)g->out +
                            (size_t)(g->gate_order[j] * g->units) * row_bytes);
        if (g->bias && fits)
            add_bias(k, g, row, rows);
    }
    if (!fits) /* seen at the first block, before any sum */
        k->weight_gradient(g);
}

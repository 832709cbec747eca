/* The packed product: rows times panels, in register tiles.
 *
 * A tile is `m` rows by `n` vectors by `p` panels of accumulators, all in registers.
 * Each output accumulates over k in ascending order by one multiply-add per k, in every
 * tile shape, so its bits do not depend on the shape, the batch or the threads.
 *
 * Few rows use several panels at once: one row by one panel would wait for the latency
 * of its few accumulators. */
#ifndef FC_PRODUCT_H
#define FC_PRODUCT_H

#include <string.h>

#include "kernels.h"
#include "simd/simd.h"

enum { FC_MAX_WIDTH = 4, FC_MAX_PANELS = 4 };
enum { FC_TILE_REALS = 32 * V }; /* m * n * p never exceeds 32 accumulators */

typedef void fc_tile_fn(ptrdiff_t depth, const void *const *a, const real *w,
                        ptrdiff_t panel, const real *bias, bool accumulate,
                        void *const *out, ptrdiff_t column);
/* The same with a transposed: a[k * a_step + r] is element k of row r. */
typedef void fc_tile_transposed_fn(ptrdiff_t depth, const real *a, ptrdiff_t a_step,
                                   const real *w, void *const *out, ptrdiff_t column);

/* Both: from the rows of `a`, or, if `transposed`, from `at`. */
FC_INLINE void tile_body(const int m, const int n, const int p, const bool transposed,
                         ptrdiff_t depth, const void *const *a, const real *at,
                         ptrdiff_t a_step, const real *w, ptrdiff_t panel,
                         const real *bias, bool accumulate, void *const *out,
                         ptrdiff_t column) {
    vreal acc[FC_MAX_ROWS][FC_MAX_WIDTH * FC_MAX_PANELS];
    const real *row[FC_MAX_ROWS];
#pragma GCC unroll 8
    for (int r = 0; r < m; r++) {
        row[r] = transposed ? at + r : a[r];
#pragma GCC unroll 16
        for (int v = 0; v < n * p; v++)
            acc[r][v] = bias ? vload(bias + v * V) : vzero();
    }
#pragma GCC unroll 2
    for (ptrdiff_t k = 0; k < depth; k++) {
        /* One row element in a register each, and one weight vector at a time: with
         * m * n accumulators this fits both 16 and 32 registers. */
        vreal a_k[FC_MAX_ROWS];
#pragma GCC unroll 8
        for (int r = 0; r < m; r++)
            a_k[r] = vset1(row[r][transposed ? k * a_step : k]);
#pragma GCC unroll 4
        for (int q = 0; q < p; q++)
#pragma GCC unroll 4
            for (int v = 0; v < n; v++) {
                vreal column_k = vload(w + q * panel + v * V);
#pragma GCC unroll 8
                for (int r = 0; r < m; r++)
                    acc[r][q * n + v] = vfma(a_k[r], column_k, acc[r][q * n + v]);
            }
        w += n * V;
    }
#pragma GCC unroll 8
    for (int r = 0; r < m; r++)
#pragma GCC unroll 16
        for (int v = 0; v < n * p; v++) {
            real *to = (real *)out[r] + column + v * V;
            /* Added once, at the end: a large sum that the products started from
             * would round every one of them. */
            if (accumulate)
                acc[r][v] = vload(to) + acc[r][v];
            vstore(to, acc[r][v]);
        }
}

#define FC_DEFINE_TILE(m, n, p)                                                        \
    static void tile_##m##x##n##x##p(                                                  \
        ptrdiff_t depth, const void *const *a, const real *w, ptrdiff_t panel,         \
        const real *bias, bool accumulate, void *const *out, ptrdiff_t column) {       \
        tile_body(m, n, p, false, depth, a, NULL, 0, w, panel, bias, accumulate, out,  \
                  column);                                                             \
    }
#define FC_DEFINE_TRANSPOSED(m, n)                                                     \
    static void transposed_##m##x##n(ptrdiff_t depth, const real *a, ptrdiff_t a_step, \
                                     const real *w, void *const *out,                  \
                                     ptrdiff_t column) {                               \
        tile_body(m, n, 1, true, depth, NULL, a, a_step, w, 0, NULL, true, out,        \
                  column);                                                             \
    }
/* clang-format off */
#if FC_REGISTERS == 32
#define FC_FOR_SHAPES(X)                                                               \
    X(1,1) X(2,1) X(3,1) X(4,1) X(5,1) X(6,1) X(7,1) X(8,1)                            \
    X(1,2) X(2,2) X(3,2) X(4,2) X(5,2) X(6,2) X(7,2) X(8,2)                            \
    X(1,3) X(2,3) X(3,3) X(4,3) X(5,3) X(6,3) X(7,3) X(8,3)                            \
    X(1,4) X(2,4) X(3,4) X(4,4) X(5,4) X(6,4)
#define FC_FOR_SEVERAL_PANELS(X)                                                       \
    X(1,3,2) X(2,3,2) X(3,3,2) X(1,4,2) X(2,4,2) X(3,4,2) X(1,3,4) X(1,4,4)
/* Rows of a tile, by panel width; panels at once, by rows. */
static const int fc_tile_rows[FC_MAX_WIDTH + 1] = {0, 8, 8, 8, 6};
static const int fc_tile_panels[FC_MAX_ROWS + 1] = {0, 4, 2, 2, 1, 1, 1, 1, 1};
#else
#define FC_FOR_SHAPES(X)                                                               \
    X(1,1) X(2,1) X(3,1) X(4,1) X(5,1) X(6,1)                                          \
    X(1,2) X(2,2) X(3,2) X(4,2) X(5,2) X(6,2)                                          \
    X(1,3) X(2,3) X(3,3) X(4,3)                                                        \
    X(1,4) X(2,4) X(3,4)
#define FC_FOR_SEVERAL_PANELS(X)                                                       \
    X(1,3,2) X(1,4,2)
static const int fc_tile_rows[FC_MAX_WIDTH + 1] = {0, 6, 6, 4, 3};
static const int fc_tile_panels[FC_MAX_ROWS + 1] = {0, 2, 1, 1, 1, 1, 1, 1, 1};
#endif
/* clang-format on */

#define FC_DEFINE_SHAPE(m, n) FC_DEFINE_TILE(m, n, 1) FC_DEFINE_TRANSPOSED(m, n)
FC_FOR_SHAPES(FC_DEFINE_SHAPE)
FC_FOR_SEVERAL_PANELS(FC_DEFINE_TILE)

#define FC_TILE_ENTRY(m, n, p) [m][n][p] = tile_##m##x##n##x##p,
#define FC_SHAPE_ENTRY(m, n) FC_TILE_ENTRY(m, n, 1)
static fc_tile_fn *const
    fc_tiles[FC_MAX_ROWS + 1][FC_MAX_WIDTH + 1][FC_MAX_PANELS + 1] = {
        FC_FOR_SHAPES(FC_SHAPE_ENTRY) FC_FOR_SEVERAL_PANELS(FC_TILE_ENTRY)};

#define FC_TRANSPOSED_ENTRY(m, n) [m][n] = transposed_##m##x##n,
static fc_tile_transposed_fn *const
    fc_transposed_tiles[FC_MAX_ROWS + 1][FC_MAX_WIDTH + 1] = {
        FC_FOR_SHAPES(FC_TRANSPOSED_ENTRY)};

/* Rows of the next tile: all tiles of a product nearly alike, none with a lonely row.
 */
FC_INLINE int next_rows(ptrdiff_t left, int width) {
    ptrdiff_t most = fc_tile_rows[width], tiles = (left + most - 1) / most;
    return (int)((left + tiles - 1) / tiles);
}

/* A run of panels that one tile covers. */
typedef struct fc_run {
    ptrdiff_t vector; /* first vector */
    int width, panels;
} fc_run;

FC_INLINE fc_run next_run(const fc_panels *w, ptrdiff_t vector, ptrdiff_t rows) {
    fc_run run = {vector, w->width, 1};
    if (w->vectors - vector < w->width) {
        run.width = (int)(w->vectors - vector);
        return run;
    }
    ptrdiff_t most = rows <= FC_MAX_ROWS ? fc_tile_panels[rows] : 1;
    ptrdiff_t left = (w->vectors - vector) / w->width;
    while (most > 1 && (left < most || !fc_tiles[rows][run.width][most]))
        most /= 2;
    run.panels = (int)most;
    return run;
}

FC_INLINE void run_tile(const fc_panels *w, const fc_run *run, int rows,
                        const void *const *a, bool accumulate, void *const *out,
                        ptrdiff_t column) {
    const real *bias = w->bias;
    fc_tiles[rows][run->width][run->panels](
        w->depth, a, (const real *)w->data + run->vector * V * w->depth,
        w->width * V * w->depth, bias ? bias + run->vector * V : NULL, accumulate, out,
        column);
}

/* A tile whose last columns do not exist in `out`, by way of a whole one in L1. */
static void run_edge_tile(const fc_panels *w, const fc_run *run, int rows,
                          const fc_product *p, ptrdiff_t row) {
    real tile[FC_TILE_REALS];
    void *tile_rows[FC_MAX_ROWS];
    ptrdiff_t reals = run->width * run->panels * V;
    size_t bytes = (size_t)(p->columns - run->vector * V) * sizeof(real);
    ptrdiff_t column = p->first + run->vector * V;
    for (int r = 0; r < rows; r++) {
        tile_rows[r] = tile + r * reals;
        if (p->accumulate) {
            memset(tile_rows[r], 0, (size_t)reals * sizeof(real));
            memcpy(tile_rows[r], (const real *)p->out[row + r] + column, bytes);
        }
    }
    run_tile(w, run, rows, p->a + row, p->accumulate, tile_rows, 0);
    for (int r = 0; r < rows; r++)
        memcpy((real *)p->out[row + r] + column, tile_rows[r], bytes);
}

static void product(const fc_panels *w, const fc_product *p) {
    if (p->rows == 0)
        return;
    fc_run run;
    for (ptrdiff_t vector = 0; vector < w->vectors; vector += run.width * run.panels) {
        run = next_run(w, vector, p->rows);
        bool edge = (vector + run.width * run.panels) * V > p->columns;
        int rows;
        for (ptrdiff_t row = 0; row < p->rows; row += rows) {
            rows = next_rows(p->rows - row, w->width);
            if (edge)
                run_edge_tile(w, &run, rows, p, row);
            else
                run_tile(w, &run, rows, p->a + row, p->accumulate, p->out + row,
                         p->first + vector * V);
        }
    }
}

/* Put `count_k` times `lanes` elements of a strided matrix into lanes of one packed
 * vector, first_k on.  The caller has zeroed what it does not fill. */
static void pack(void *data, ptrdiff_t depth, ptrdiff_t vectors, int width,
                 ptrdiff_t vector, ptrdiff_t lanes, const void *from,
                 ptrdiff_t k_stride, ptrdiff_t lane_stride, ptrdiff_t first_k,
                 ptrdiff_t count_k) {
    enum { BLOCK = 64 }; /* steps of k read from one row before the next */
    ptrdiff_t panel = vector / width, first = panel * width;
    ptrdiff_t here = (vectors - first < width ? vectors - first : width) * V;
    real *to = (real *)data + (first * depth + vector - first) * V + first_k * here;
    const real *source = from;
    if (lanes == V && lane_stride == 1) {
        for (ptrdiff_t k = 0; k < count_k; k++)
            vstore(to + k * here, vload(source + k * k_stride));
        return;
    }
    for (ptrdiff_t block = 0; block < count_k; block += BLOCK) {
        ptrdiff_t end = count_k - block < BLOCK ? count_k : block + BLOCK;
        for (ptrdiff_t lane = 0; lane < lanes; lane++) {
            const real *row = source + lane * lane_stride;
            for (ptrdiff_t k = block; k < end; k++)
                to[k * here + lane] = row[k * k_stride];
        }
    }
}

#endif

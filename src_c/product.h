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
#include "operand.h"

enum { FC_MAX_WIDTH = 4, FC_MAX_PANELS = 4 };
enum { FC_TILE_REALS = 32 * V }; /* m * n * p never exceeds 32 accumulators */

/* One tile: m rows by n * p vectors.  Of `a` either the rows, or it transposed: operand
 * k of row r at at[k * at_step + r]. */
typedef struct fc_tile_job {
    ptrdiff_t depth; /* operands */
    const void *const *a;
    const operand *at;
    ptrdiff_t at_step;
    const operand *w;
    ptrdiff_t panel; /* operands from one panel to the next */
    const real *bias;
    bool accumulate;
    void *const *out;
    ptrdiff_t column;
#if defined(FC_OPERANDS_INT8)
    const real *row_scale, *column_scale;
    const int32_t *column_zero;
#endif
} fc_tile_job;

typedef void fc_tile_fn(const fc_tile_job *job);

/* From the sum of row r and vector v to the result. */
FC_INLINE vreal tile_result(const fc_tile_job *job, int r, int v, vreal acc) {
#if defined(FC_OPERANDS_INT8)
    vreal scale = vset1(job->row_scale[r]) * vload(job->column_scale + v * V);
    acc = vsums(acc, job->column_zero + v * V) * scale;
    if (job->bias)
        acc = acc + vload(job->bias + v * V);
    return acc;
#else
    (void)job, (void)r, (void)v;
    return acc;
#endif
}

FC_INLINE void tile_body(const int m, const int n, const int p, const bool transposed,
                         const fc_tile_job *job) {
    vreal acc[FC_MAX_ROWS][FC_MAX_WIDTH * FC_MAX_PANELS];
    const operand *row[FC_MAX_ROWS], *w = job->w;
    const ptrdiff_t depth = job->depth, panel = job->panel, at_step = job->at_step;
#pragma GCC unroll 8
    for (int r = 0; r < m; r++) {
        row[r] = transposed ? job->at + r : job->a[r];
#pragma GCC unroll 16
        for (int v = 0; v < n * p; v++)
#if defined(FC_OPERANDS_INT8)
            acc[r][v] = vzero();
#else
            acc[r][v] = job->bias ? vload(job->bias + v * V) : vzero();
#endif
    }
#pragma GCC unroll 2
    for (ptrdiff_t k = 0; k < depth; k++) {
        /* The shorter side of the tile stands in registers, the longer comes one vector
         * at a time: with m * n accumulators this fits both 16 and 32 registers. */
        vreal a_k[FC_MAX_ROWS], w_k[FC_MAX_WIDTH];
        if (m <= n) {
#pragma GCC unroll 8
            for (int r = 0; r < m; r++)
                a_k[r] = vbroadcast(row[r] + (transposed ? k * at_step : k));
#pragma GCC unroll 16
            for (int v = 0; v < n * p; v++) {
                w_k[0] = vload_operands(w + v / n * panel + v % n * V);
#pragma GCC unroll 8
                for (int r = 0; r < m; r++)
                    acc[r][v] = vdot(a_k[r], w_k[0], acc[r][v]);
            }
        } else { /* one panel */
#pragma GCC unroll 4
            for (int v = 0; v < n; v++)
                w_k[v] = vload_operands(w + v * V);
#pragma GCC unroll 8
            for (int r = 0; r < m; r++) {
                a_k[0] = vbroadcast(row[r] + (transposed ? k * at_step : k));
#pragma GCC unroll 4
                for (int v = 0; v < n; v++)
                    acc[r][v] = vdot(a_k[0], w_k[v], acc[r][v]);
            }
        }
        w += n * V;
    }
#pragma GCC unroll 8
    for (int r = 0; r < m; r++)
#pragma GCC unroll 16
        for (int v = 0; v < n * p; v++) {
            real *to = (real *)job->out[r] + job->column + v * V;
            vreal result = tile_result(job, r, v, acc[r][v]);
            /* Added once, at the end: a large sum that the products started from
             * would round every one of them. */
            if (job->accumulate)
                result = vload(to) + result;
            vstore(to, result);
        }
}

#define FC_DEFINE_TILE(m, n, p)                                                        \
    static void tile_##m##x##n##x##p(const fc_tile_job *job) {                         \
        tile_body(m, n, p, false, job);                                                \
    }
#define FC_DEFINE_TRANSPOSED(m, n)                                                     \
    static void transposed_##m##x##n(const fc_tile_job *job) {                         \
        tile_body(m, n, 1, true, job);                                                 \
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

#if defined(FC_OPERANDS_INT8) /* no gradients */
#define FC_DEFINE_SHAPE(m, n) FC_DEFINE_TILE(m, n, 1)
#else
#define FC_DEFINE_SHAPE(m, n) FC_DEFINE_TILE(m, n, 1) FC_DEFINE_TRANSPOSED(m, n)
#endif
FC_FOR_SHAPES(FC_DEFINE_SHAPE)
FC_FOR_SEVERAL_PANELS(FC_DEFINE_TILE)

#define FC_TILE_ENTRY(m, n, p) [m][n][p] = tile_##m##x##n##x##p,
#define FC_SHAPE_ENTRY(m, n) FC_TILE_ENTRY(m, n, 1)
static fc_tile_fn *const
    fc_tiles[FC_MAX_ROWS + 1][FC_MAX_WIDTH + 1][FC_MAX_PANELS + 1] = {
        FC_FOR_SHAPES(FC_SHAPE_ENTRY) FC_FOR_SEVERAL_PANELS(FC_TILE_ENTRY)};

#if !defined(FC_OPERANDS_INT8)
#define FC_TRANSPOSED_ENTRY(m, n) [m][n] = transposed_##m##x##n,
static fc_tile_fn *const fc_transposed_tiles[FC_MAX_ROWS + 1][FC_MAX_WIDTH + 1] = {
    FC_FOR_SHAPES(FC_TRANSPOSED_ENTRY)};
#endif

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

/* Rows of `a` as operands: the reals themselves, or narrowed copies of a block of rows
 * in the caller's scratch. */
enum { FC_OPERAND_ROWS = 48 };

typedef struct fc_operands {
    ptrdiff_t rows;
    const void *const *a;
#if defined(FC_NARROW)
    const void *narrowed[FC_OPERAND_ROWS];
#endif
#if defined(FC_OPERANDS_INT8)
    real scale[FC_OPERAND_ROWS];
#endif
} fc_operands;

static size_t operand_scratch(ptrdiff_t k) {
#if defined(FC_NARROW)
    return FC_OPERAND_ROWS * (size_t)((k + FC_GROUP - 1) / FC_GROUP + V) *
           sizeof(operand);
#else
    (void)k;
    return 0;
#endif
}

/* The first of `rows` rows, as many as fit. */
static void next_operands(fc_operands *operands, const fc_panels *w,
                          const void *const *a, ptrdiff_t rows, void *scratch,
                          bool bounded) {
#if defined(FC_NARROW)
    operands->rows = rows < FC_OPERAND_ROWS ? rows : FC_OPERAND_ROWS;
    operands->a = operands->narrowed;
    operand *to = scratch;
    for (ptrdiff_t r = 0; r < operands->rows; r++, to += w->depth) {
        operands->narrowed[r] = to;
#if defined(FC_OPERANDS_INT8)
        operands->scale[r] = operands_of(to, a[r], w->k, bounded);
#else
        operands_of(to, a[r], w->k);
#endif
    }
    (void)bounded;
#else
    (void)w, (void)scratch, (void)bounded;
    operands->rows = rows;
    operands->a = a;
#endif
}

static fc_tile_shape tile_shape(const fc_panels *w, ptrdiff_t rows) {
#if defined(FC_NARROW)
    rows = rows < FC_OPERAND_ROWS ? rows : FC_OPERAND_ROWS;
#endif
    fc_run run = next_run(w, 0, rows);
    return (fc_tile_shape){next_rows(rows, w->width), run.width, run.panels};
}

FC_INLINE void run_tile(const fc_panels *w, const fc_run *run, int rows,
                        const fc_operands *operands, ptrdiff_t row, bool accumulate,
                        void *const *out, ptrdiff_t column) {
    ptrdiff_t first = run->vector * V;
    fc_tile_job job = {
        .depth = w->depth,
        .a = operands->a + row,
        .w = (const operand *)w->data + first * w->depth,
        .panel = w->width * V * w->depth,
        .bias = w->bias ? (const real *)w->bias + first : NULL,
        .accumulate = accumulate,
        .out = out,
        .column = column,
#if defined(FC_OPERANDS_INT8)
        .row_scale = operands->scale + row,
        .column_scale = (const real *)w->scale + first,
        .column_zero = (const int32_t *)w->zero + first,
#endif
    };
    fc_tiles[rows][run->width][run->panels](&job);
}

/* A tile whose last columns do not exist in `out`, by way of a whole one in L1. */
static void run_edge_tile(const fc_panels *w, const fc_run *run, int rows,
                          const fc_operands *operands, ptrdiff_t row,
                          const fc_product *p, void *const *out) {
    real tile[FC_TILE_REALS];
    void *tile_rows[FC_MAX_ROWS];
    ptrdiff_t reals = run->width * run->panels * V;
    size_t bytes = (size_t)(p->columns - run->vector * V) * sizeof(real);
    ptrdiff_t column = p->first + run->vector * V;
    for (int r = 0; r < rows; r++) {
        tile_rows[r] = tile + r * reals;
        if (p->accumulate) {
            memset(tile_rows[r], 0, (size_t)reals * sizeof(real));
            memcpy(tile_rows[r], (const real *)out[r] + column, bytes);
        }
    }
    run_tile(w, run, rows, operands, row, p->accumulate, tile_rows, 0);
    for (int r = 0; r < rows; r++)
        memcpy((real *)out[r] + column, tile_rows[r], bytes);
}

static void product(const fc_panels *w, const fc_product *p) {
    fc_operands operands;
    fc_run run;
    for (ptrdiff_t done = 0; done < p->rows; done += operands.rows) {
        next_operands(&operands, w, p->a + done, p->rows - done, p->scratch, false);
        for (ptrdiff_t vector = 0; vector < w->vectors;
             vector += run.width * run.panels) {
            run = next_run(w, vector, operands.rows);
            bool edge = (vector + run.width * run.panels) * V > p->columns;
            int rows;
            for (ptrdiff_t row = 0; row < operands.rows; row += rows) {
                void *const *out = p->out + done + row;
                rows = next_rows(operands.rows - row, w->width);
                if (edge)
                    run_edge_tile(w, &run, rows, &operands, row, p, out);
                else
                    run_tile(w, &run, rows, &operands, row, p->accumulate, out,
                             p->first + vector * V);
            }
        }
    }
}

#endif

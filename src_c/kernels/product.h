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

#include "kernels/operand.h"
#include "runtime/kernels.h"

#if FC_REGISTERS == 32
enum { FC_MAX_WIDTH = 4, FC_MAX_PANELS = 4 };
#else
enum { FC_MAX_WIDTH = 2, FC_MAX_PANELS = 6 };
/* Rows of a block: enough to pay for weights from a far cache, few enough that their
 * operands stay in a near one. */
enum { FC_WALK_ROWS = 64 };
#endif
enum { FC_TILE_REALS = 32 * V }; /* m * n * p never exceeds 32 accumulators */

/* One tile: m rows by n * p vectors.  `a` is given by its rows, or transposed: operand
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
    const char *ahead;    /* prefetched into the second-level cache, */
    ptrdiff_t ahead_step; /* this many bytes for each k */
#if defined(FC_OPERANDS_INT8)
    const real *row_scale, *column_scale;
    const int32_t *column_zero;
#endif
} fc_tile_job;

typedef void fc_tile_fn(const fc_tile_job *job);

/* The result of row r and vector v from their sum. */
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

/* The operand of part j of a group from a vector of weights; operands of a gradient are
 * already widened (gradient.h). */
FC_INLINE vreal tile_weights(const operand *p, const int j, const bool transposed) {
    return transposed ? vload_operands(p) : vweights(p, j);
}

/* The vectors of a tile to compute: all, or one half after the other. */
enum { FC_WHOLE, FC_FIRST_HALF, FC_SECOND_HALF };

/* What a tile's rows are multiplied with: the vectors first .. of panels of n. */
typedef struct tile_cut {
    int n, vectors, first;
    ptrdiff_t panel; /* operands from one to the next */
} tile_cut;

/* acc += part j of a group, at row[r] + at_k and at w.  The shorter side of the tile
 * is kept in registers, the longer is read one vector at a time: with m * n
 * accumulators this fits both 16 and 32 registers. */
FC_INLINE void tile_multiply(const int m, const tile_cut cut, const bool transposed,
                             const int j, const operand *const *row, ptrdiff_t at_k,
                             const operand *w,
                             vreal (*acc)[FC_MAX_WIDTH * FC_MAX_PANELS]) {
    const int n = cut.n, vectors = cut.vectors, first = cut.first;
    const ptrdiff_t panel = cut.panel;
    vrow a_k[FC_MAX_ROWS];
    vreal w_k[4];
    if (m <= vectors) {
#pragma GCC unroll 8
        for (int r = 0; r < m; r++)
            a_k[r] = vrow_of(row[r] + at_k);
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) {
            w_k[0] = tile_weights(w + (first + v) / n * panel + (first + v) % n * V, j,
                                  transposed);
#pragma GCC unroll 8
            for (int r = 0; r < m; r++)
                acc[r][v] = vdot(a_k[r], w_k[0], acc[r][v]);
        }
    } else {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            w_k[v] = tile_weights(w + (first + v) / n * panel + (first + v) % n * V, j,
                                  transposed);
#pragma GCC unroll 8
        for (int r = 0; r < m; r++) {
            a_k[0] = vrow_of(row[r] + at_k);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                acc[r][v] = vdot(a_k[0], w_k[v], acc[r][v]);
        }
    }
}

#if defined(FC_HAS_LANES) && !defined(FC_NARROW)
#define FC_BY_LANES
/* acc += the next V operands of each row, loaded as one vector.  The weights are read
 * one vector at a time. */
FC_INLINE void tile_multiply_lanes(const int m, const int n, const int vectors,
                                   const operand *const *row, ptrdiff_t k,
                                   const operand *w, ptrdiff_t panel,
                                   vreal (*acc)[FC_MAX_WIDTH * FC_MAX_PANELS]) {
    vreal a[FC_MAX_ROWS];
#pragma GCC unroll 8
    for (int r = 0; r < m; r++)
        a[r] = vload(row[r] + k);
#pragma GCC unroll 4
    for (int lane = 0; lane < V; lane++)
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) {
            vreal w_v = vload(w + (lane * n + v % n) * V + v / n * panel);
#pragma GCC unroll 8
            for (int r = 0; r < m; r++)
                acc[r][v] = vfma_lane(a[r], lane, w_v, acc[r][v]);
        }
}
#endif

#if defined(FC_SPREAD)
/* Both parts of a group for one row, which is bound by loads. */
FC_INLINE void tile_multiply_row(const int n, const int vectors, const operand *a,
                                 const operand *w, ptrdiff_t panel, vreal *acc) {
    vrow second = vrow_of(a), first = vrow_of(a + 1);
#pragma GCC unroll 16
    for (int v = 0; v < vectors; v++) {
        vreal w_second, w_first;
        vwiden(w + v / n * panel + v % n * V, &w_second, &w_first);
        acc[v] = vdot(first, w_first, vdot(second, w_second, acc[v]));
    }
}
#endif

FC_INLINE void tile_body(const int m, const int n, const int p, const int part,
                         const bool transposed, const bool fetches,
                         const fc_tile_job *job) {
    const int first = part == FC_SECOND_HALF ? n * p / 2 : 0;
    const int vectors = part == FC_WHOLE ? n * p : n * p / 2;
    vreal acc[FC_MAX_ROWS][FC_MAX_WIDTH * FC_MAX_PANELS];
    const operand *row[FC_MAX_ROWS], *w = job->w;
    const ptrdiff_t depth = job->depth, panel = job->panel, at_step = job->at_step;
    const int parts = transposed ? 1 : FC_PARTS;
    const tile_cut cut = {n, vectors, first, panel};
    (void)fetches;
#pragma GCC unroll 8
    for (int r = 0; r < m; r++) {
        row[r] = transposed ? job->at + r : job->a[r];
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++)
#if defined(FC_OPERANDS_INT8)
            acc[r][v] = vzero();
#else
            acc[r][v] = job->bias ? vload(job->bias + (first + v) * V) : vzero();
#endif
    }
    ptrdiff_t k = 0;
#if defined(FC_BY_LANES)
    /* A vector of weights has to fit too; and one row is bound by loads anyway. */
    const bool by_lanes = !transposed && m > 1 && m * vectors + m < FC_REGISTERS;
    for (; by_lanes && k + V <= depth; k += V, w += V * n * V) {
#pragma GCC unroll 4
        for (int i = 0; fetches && i < V; i++)
            __builtin_prefetch(job->ahead + (k + i) * job->ahead_step, 0, 2);
        tile_multiply_lanes(m, n, vectors, row, k, w, panel, acc);
    }
#endif
#pragma GCC unroll 2
    for (; k < depth; k++) {
        if (fetches) {
            __builtin_prefetch(job->ahead + k * job->ahead_step, 0, 2);
            if (part != FC_WHOLE) /* few rows: over a line per k */
                __builtin_prefetch(job->ahead + k * job->ahead_step + 64, 0, 2);
        }
#if defined(FC_SPREAD)
        if (m == 1 && !transposed) {
            tile_multiply_row(n, vectors, row[0] + k * FC_WORDS, w, panel, acc[0]);
            w += n * V;
            continue;
        }
#endif
#pragma GCC unroll 2
        for (int j = 0; j < parts; j++) {
            const operand *w_j = w;
            if (parts > 1) /* else GCC keeps all vectors of a part for the next */
                __asm__ volatile("" : "+r"(w_j));
            tile_multiply(m, cut, transposed, j, row,
                          transposed ? k * at_step : k * FC_WORDS + j, w_j, acc);
        }
        w += n * V;
    }
    void *const *out = job->out; /* read once: a store might alias the job */
    const ptrdiff_t column = job->column + first * V;
    const bool accumulate = job->accumulate;
#pragma GCC unroll 8
    for (int r = 0; r < m; r++) {
        real *to = (real *)out[r] + column;
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) {
            vreal result = tile_result(job, r, first + v, acc[r][v]);
            /* Added once, at the end: starting from a large sum would round every
             * product to its precision. */
            if (accumulate)
                result = vload(to + v * V) + result;
            vstore(to + v * V, result);
        }
    }
}

#define FC_DEFINE_TILE(m, n, p)                                                        \
    static void tile_##m##x##n##x##p(const fc_tile_job *job) {                         \
        tile_body(m, n, p, FC_WHOLE, false, false, job);                               \
    }
#define FC_DEFINE_TRANSPOSED(m, n)                                                     \
    static void transposed_##m##x##n(const fc_tile_job *job) {                         \
        tile_body(m, n, 1, FC_WHOLE, true, false, job);                                \
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
/* Tiles that may prefetch: not those of few rows, which are bound by memory anyway. */
#define FC_FOR_FETCHING(X)                                                             \
    X(4,3) X(5,3) X(6,3) X(7,3) X(8,3) X(3,4) X(4,4) X(5,4) X(6,4)
/* Rows of a tile, by panel width; panels at once, by rows. */
static const int fc_tile_rows[FC_MAX_WIDTH + 1] = {0, 8, 8, 8, 6};
static const int fc_tile_panels[FC_MAX_ROWS + 1] = {1, 4, 2, 2, 1, 1, 1, 1, 1};
#else
#define FC_FOR_SHAPES(X)                                                               \
    X(1,1) X(2,1) X(3,1) X(4,1) X(5,1) X(6,1)                                          \
    X(1,2) X(2,2) X(3,2) X(4,2) X(5,2) X(6,2)
#define FC_FOR_SEVERAL_PANELS(X)                                                       \
    X(1,2,2) X(1,2,3) X(1,2,4) X(1,2,5) X(1,2,6) X(2,2,2) X(2,2,3) X(3,2,2)
#define FC_FOR_FETCHING(X) X(4,2) X(5,2) X(6,2)
#if defined(FC_SIZES) /* integer sums have little latency: fewer panels suffice */
static const int fc_tile_panels[FC_MAX_ROWS + 1] = {1, 6, 2, 1, 1, 1, 1, 1, 1};
#elif defined(FC_SPREAD) /* a group has two sums in turn: for one row eight suffice */
static const int fc_tile_panels[FC_MAX_ROWS + 1] = {1, 4, 3, 2, 3, 1, 1, 1, 1};
#else
static const int fc_tile_panels[FC_MAX_ROWS + 1] = {1, 6, 3, 2, 3, 1, 1, 1, 1};
#endif
#endif
/* clang-format on */

#if defined(FC_OPERANDS_INT8) /* no gradients */
#define FC_DEFINE_SHAPE(m, n) FC_DEFINE_TILE(m, n, 1)
#else
#define FC_DEFINE_SHAPE(m, n) FC_DEFINE_TILE(m, n, 1) FC_DEFINE_TRANSPOSED(m, n)
#endif
FC_FOR_SHAPES(FC_DEFINE_SHAPE)
FC_FOR_SEVERAL_PANELS(FC_DEFINE_TILE)
#if FC_REGISTERS == 16
/* Four rows by three panels, three vectors at a time. */
static void tile_4x2x3(const fc_tile_job *job) {
    tile_body(4, 2, 3, FC_FIRST_HALF, false, false, job);
    tile_body(4, 2, 3, FC_SECOND_HALF, false, false, job);
}

static void fetching_4x2x3(const fc_tile_job *job) {
    fc_tile_job second = *job;
    second.ahead += job->depth * job->ahead_step;
    tile_body(4, 2, 3, FC_FIRST_HALF, false, true, job);
    tile_body(4, 2, 3, FC_SECOND_HALF, false, true, &second);
}
#endif

/* Tiles that prefetch. */
#define FC_DEFINE_FETCHING(m, n)                                                       \
    static void fetching_##m##x##n##x1(const fc_tile_job *job) {                       \
        tile_body(m, n, 1, FC_WHOLE, false, true, job);                                \
    }
#define FC_FETCHING_ENTRY(m, n) [m][n][1] = fetching_##m##x##n##x1,
FC_FOR_FETCHING(FC_DEFINE_FETCHING)
static fc_tile_fn
    *const fc_fetching_tiles[FC_MAX_ROWS + 1][FC_MAX_WIDTH + 1][FC_MAX_PANELS + 1] = {
#if FC_REGISTERS == 16
        [4][2][3] = fetching_4x2x3,
#endif
        FC_FOR_FETCHING(FC_FETCHING_ENTRY)};

#define FC_TILE_ENTRY(m, n, p) [m][n][p] = tile_##m##x##n##x##p,
#define FC_SHAPE_ENTRY(m, n) FC_TILE_ENTRY(m, n, 1)
static fc_tile_fn
    *const fc_tiles[FC_MAX_ROWS + 1][FC_MAX_WIDTH + 1][FC_MAX_PANELS + 1] = {
        FC_FOR_SHAPES(FC_SHAPE_ENTRY) FC_FOR_SEVERAL_PANELS(FC_TILE_ENTRY)
#if FC_REGISTERS == 16
            FC_TILE_ENTRY(4, 2, 3)
#endif
};

#if !defined(FC_OPERANDS_INT8)
#define FC_TRANSPOSED_ENTRY(m, n) [m][n] = transposed_##m##x##n,
static fc_tile_fn *const fc_transposed_tiles[FC_MAX_ROWS + 1][FC_MAX_WIDTH + 1] = {
    FC_FOR_SHAPES(FC_TRANSPOSED_ENTRY)};
#endif

#if FC_REGISTERS == 32
/* Rows of the next tile: tiles have nearly equal sizes, and no single row is left over.
 */
FC_INLINE int next_rows(ptrdiff_t left, int width) {
    ptrdiff_t most = fc_tile_rows[width], tiles = (left + most - 1) / most;
    return (int)((left + tiles - 1) / tiles);
}
#else
/* Rows of the next tile: six or five, whose 12 and 10 accumulators do not wait for each
 * other, and three at the end, which take two panels at once. */
FC_INLINE int next_rows(ptrdiff_t left, int width) {
    (void)width;
    if (left == 7 || left == 8 || left == 10 || left == 13)
        return 5;
    return (int)(left < 6 ? left : 6);
}
#endif

/* A run of panels that one tile covers. */
typedef struct fc_run {
    ptrdiff_t vector; /* first vector */
    int width, panels;
    const char *ahead; /* prefetched by the tile, or NULL */
    ptrdiff_t ahead_step;
} fc_run;

FC_INLINE fc_run next_run(const fc_panels *w, ptrdiff_t vector, ptrdiff_t rows) {
    fc_run run = {.vector = vector, .width = w->width, .panels = 1};
    if (w->vectors - vector < w->width) {
        run.width = (int)(w->vectors - vector);
        return run;
    }
    ptrdiff_t most = rows <= FC_MAX_ROWS ? fc_tile_panels[rows] : 1;
    ptrdiff_t left = (w->vectors - vector) / w->width;
    while (most > 1 && (left < most || !fc_tiles[rows][run.width][most]))
        most = FC_REGISTERS == 32 ? most / 2 : most - 1;
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
    return FC_OPERAND_ROWS * (size_t)((k + FC_GROUP - 1) / FC_GROUP + V) * FC_WORDS *
           sizeof(operand);
#else
    (void)k;
    return 0;
#endif
}

/* Rows of the first block of `rows`. */
FC_INLINE ptrdiff_t rows_of_block(ptrdiff_t rows) {
#if FC_REGISTERS == 16 /* blocks of nearly the same size */
#if defined(FC_NARROW)
    enum { MOST = FC_OPERAND_ROWS };
#else
    enum { MOST = FC_WALK_ROWS };
#endif
    ptrdiff_t blocks = (rows + MOST - 1) / MOST;
    return (rows + blocks - 1) / blocks;
#elif defined(FC_NARROW)
    return rows < FC_OPERAND_ROWS ? rows : FC_OPERAND_ROWS;
#else
    return rows;
#endif
}

/* The operands of the first block of `rows` rows. */
static void next_operands(fc_operands *operands, const fc_panels *w,
                          const void *const *a, ptrdiff_t rows, void *scratch,
                          bool bounded) {
#if defined(FC_NARROW)
    operands->rows = rows_of_block(rows);
    operands->a = operands->narrowed;
    operand *to = scratch;
    for (ptrdiff_t r = 0; r < operands->rows; r++, to += w->depth * FC_WORDS) {
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
    operands->rows = rows_of_block(rows);
    operands->a = a;
#endif
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
    fc_tile_fn *tile = NULL;
    if (run->ahead) {
        job.ahead = run->ahead;
        job.ahead_step = run->ahead_step;
        tile = fc_fetching_tiles[rows][run->width][run->panels];
    }
    if (!tile)
        tile = fc_tiles[rows][run->width][run->panels];
    tile(&job);
}

/* A tile whose last columns do not exist in `out`: computed whole in L1, then copied.
 */
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

#endif

/* Weight gradients: out += d^T x, summed over all rows of all steps.
 *
 * The packed product once more, with the rows of the batch as its depth: a block of
 * rows of x becomes panels, the same block of d is read transposed, in place (or copied
 * side by side first, where its rows would share a few sets of the cache), and the
 * tiles accumulate into the caller's gradient, block after block in the order of the
 * rows.  Splitting the units among threads changes no sum. */
#ifndef FC_GRADIENT_H
#define FC_GRADIENT_H

#include "product.h"

enum { FC_GRADIENT_DEPTH = 256, FC_GRADIENT_UNITS = 240, BIAS_VECTORS = 8 };

typedef struct fc_gradient_scratch {
    real *panels; /* [vectors][FC_GRADIENT_DEPTH][V], in panels */
    real *d;      /* [FC_GRADIENT_DEPTH][FC_GRADIENT_UNITS] */
    void *out[FC_GRADIENT_UNITS];
} fc_gradient_scratch;

static size_t weight_gradient_scratch(ptrdiff_t depth) {
    size_t vectors = ((size_t)depth + V - 1) / V;
    return sizeof(fc_gradient_scratch) + 2 * sizeof(vreal) +
           (vectors * V + FC_GRADIENT_UNITS) * FC_GRADIENT_DEPTH * sizeof(real);
}

/* Rows of x, side by side in panels. */
static void panels_of_rows(const void *const *x, ptrdiff_t rows, ptrdiff_t depth,
                           real *panels, ptrdiff_t vectors) {
    for (ptrdiff_t first = 0; first < vectors; first += FC_MAX_WIDTH) {
        ptrdiff_t here =
            vectors - first < FC_MAX_WIDTH ? vectors - first : FC_MAX_WIDTH;
        ptrdiff_t reals = here * V, exist = depth - first * V;
        real *to = panels + first * V * rows;
        for (ptrdiff_t row = 0; row < rows; row++, to += reals) {
            const real *from = (const real *)x[row] + first * V;
            if (exist >= FC_MAX_WIDTH * V) {
                for (ptrdiff_t v = 0; v < FC_MAX_WIDTH * V; v += V)
                    vstore(to + v, vload(from + v));
            } else {
                for (ptrdiff_t i = 0; i < reals; i++)
                    to[i] = i < exist ? from[i] : 0;
            }
        }
    }
}

/* sums += the first `vectors` vectors of each row of d. */
FC_INLINE void sum_rows(const real *d, ptrdiff_t d_row, ptrdiff_t rows,
                        const int vectors, real *sums) {
    vreal sum[BIAS_VECTORS];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++)
        sum[v] = vzero();
    for (ptrdiff_t row = 0; row < rows; row++, d += d_row)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            sum[v] = sum[v] + vload(d + v * V);
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++)
        vstore(sums + v * V, vload(sums + v * V) + sum[v]);
}

/* bias += the sums over the rows of a block of d. */
static void add_bias(const real *d, ptrdiff_t d_row, ptrdiff_t rows, ptrdiff_t units,
                     real *bias) {
    ptrdiff_t first = 0;
    for (; first + BIAS_VECTORS * V <= units; first += BIAS_VECTORS * V)
        sum_rows(d + first, d_row, rows, BIAS_VECTORS, bias + first);
    for (; first + V <= units; first += V)
        sum_rows(d + first, d_row, rows, 1, bias + first);
    for (; first < units; first++) { /* a row may end here */
        real sum = 0;
        for (ptrdiff_t row = 0; row < rows; row++)
            sum += d[row * d_row + first];
        bias[first] += sum;
    }
}

/* Do rows of d, one below the other, share a few sets of the first-level cache? */
FC_INLINE bool share_sets(ptrdiff_t d_row) {
    return d_row * (ptrdiff_t)sizeof(real) % 256 == 0;
}

/* A block of d side by side. */
static void copy_units(const real *d, ptrdiff_t d_row, ptrdiff_t rows, ptrdiff_t units,
                       real *to) {
    for (ptrdiff_t row = 0; row < rows; row++)
        memcpy(to + row * FC_GRADIENT_UNITS, d + row * d_row,
               (size_t)units * sizeof(real));
}

/* out[unit][columns of a panel] += the block of d, transposed, times the panel. */
static void accumulate_tiles(const fc_panels *x, const real *d, ptrdiff_t d_row,
                             void *const *out, ptrdiff_t units, ptrdiff_t columns) {
    for (ptrdiff_t vector = 0; vector < x->vectors; vector += FC_MAX_WIDTH) {
        ptrdiff_t left = x->vectors - vector, column = vector * V;
        int width = (int)(left < FC_MAX_WIDTH ? left : FC_MAX_WIDTH), m;
        const real *panel = (const real *)x->data + column * x->depth;
        bool edge = column + width * V > columns;
        size_t bytes = (size_t)(columns - column) * sizeof(real);
        for (ptrdiff_t u = 0; u < units; u += m) {
            m = next_rows(units - u, width);
            real tile[FC_TILE_REALS] = {0};
            void *rows[FC_MAX_ROWS];
            for (int r = 0; edge && r < m; r++) {
                rows[r] = tile + r * width * V;
                memcpy(rows[r], (real *)out[u + r] + column, bytes);
            }
            fc_transposed_tiles[m][width](x->depth, d + u, d_row, panel,
                                          edge ? rows : out + u, edge ? 0 : column);
            for (int r = 0; edge && r < m; r++)
                memcpy((real *)out[u + r] + column, rows[r], bytes);
        }
    }
}

static void weight_gradient(const fc_weight_gradient *g) {
    fc_gradient_scratch *s = g->scratch;
    fc_panels x = {.vectors = (g->depth + V - 1) / V, .width = FC_MAX_WIDTH};
    uintptr_t free_bytes = (uintptr_t)(s + 1);
    s->panels = (real *)((free_bytes + sizeof(vreal) - 1) & ~(sizeof(vreal) - 1));
    s->d = s->panels + x.vectors * V * FC_GRADIENT_DEPTH;
    x.data = s->panels;

    for (ptrdiff_t row = 0; row < g->rows; row += FC_GRADIENT_DEPTH) {
        ptrdiff_t rows = g->rows - row;
        if (rows > FC_GRADIENT_DEPTH)
            rows = FC_GRADIENT_DEPTH;
        panels_of_rows(g->x + row, rows, g->depth, s->panels, x.vectors);
        x.depth = rows;
        for (int j = 0; j < g->gates; j++) {
            ptrdiff_t gate = g->gate_order[j] * g->units;
            ptrdiff_t units;
            for (ptrdiff_t u = g->first_unit; u < g->last_unit; u += units) {
                units = g->last_unit - u;
                if (units > FC_GRADIENT_UNITS)
                    units = FC_GRADIENT_UNITS;
                const real *d = (const real *)g->d + row * g->d_row + j * g->d_gate + u;
                ptrdiff_t d_row = g->d_row;
                if (g->bias)
                    add_bias(d, d_row, rows, units, (real *)g->bias + gate + u);
                if (share_sets(d_row)) {
                    copy_units(d, d_row, rows, units, s->d);
                    d = s->d;
                    d_row = FC_GRADIENT_UNITS;
                }
                for (ptrdiff_t i = 0; i < units; i++)
                    s->out[i] = (real *)g->out + (gate + u + i) * g->depth;
                accumulate_tiles(&x, d, d_row, s->out, units, g->depth);
            }
        }
    }
}

#endif

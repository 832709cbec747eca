/* Weight gradients: out += d^T x, summed over all rows of all steps.
 *
 * The packed product once more, with the rows of the batch as its depth: a block of
 * rows of x becomes panels, the same block of d is copied side by side (read in place,
 * its rows, often a power of two apart, would share the same cache sets) and read
 * transposed, and the tiles accumulate into the caller's gradient, block after block in
 * the order of the rows.  Splitting the units among threads changes no sum. */
#ifndef FC_GRADIENT_H
#define FC_GRADIENT_H

#include "product.h"

enum { FC_GRADIENT_DEPTH = 256, FC_GRADIENT_UNITS = 240 };

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

/* Copy a block of d side by side, and add the sums over its rows to bias. */
static void copy_units(const real *d, ptrdiff_t d_row, ptrdiff_t rows, ptrdiff_t units,
                       real *to, real *bias) {
    for (ptrdiff_t first = 0; first < units; first += V) {
        ptrdiff_t here = units - first < V ? units - first : V;
        const real *from = d + first;
        real lane[V] = {0};
        vreal sum = vzero();
        for (ptrdiff_t row = 0; row < rows; row++, from += d_row) {
            vreal x;
            if (here == V) {
                x = vload(from);
            } else { /* the row may end here */
                memcpy(lane, from, (size_t)here * sizeof(real));
                x = vload(lane);
            }
            sum = sum + x;
            vstore(to + row * FC_GRADIENT_UNITS + first, x);
        }
        vstore(lane, sum);
        for (ptrdiff_t u = 0; bias && u < here; u++)
            bias[first + u] += lane[u];
    }
}

/* out[unit][columns of a panel] += the block of d, transposed, times the panel. */
static void accumulate_tiles(const fc_panels *x, const fc_gradient_scratch *s,
                             ptrdiff_t units, ptrdiff_t columns) {
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
                memcpy(rows[r], (real *)s->out[u + r] + column, bytes);
            }
            fc_transposed_tiles[m][width](x->depth, s->d + u, FC_GRADIENT_UNITS, panel,
                                          edge ? rows : s->out + u, edge ? 0 : column);
            for (int r = 0; edge && r < m; r++)
                memcpy((real *)s->out[u + r] + column, rows[r], bytes);
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
                copy_units((const real *)g->d + row * g->d_row + j * g->d_gate + u,
                           g->d_row, rows, units, s->d,
                           g->bias ? (real *)g->bias + gate + u : NULL);
                for (ptrdiff_t i = 0; i < units; i++)
                    s->out[i] = (real *)g->out + (gate + u + i) * g->depth;
                accumulate_tiles(&x, s, units, g->depth);
            }
        }
    }
}

#endif

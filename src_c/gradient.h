/* Weight gradients: out += d^T x, summed over all rows of all steps.
 *
 * The same packed product again, with the rows of the batch as its depth: a block of
 * rows of x becomes panels, the same block of d is transposed, and the tiles accumulate
 * into the caller's gradient, block after block in the order of the rows.  Splitting
 * the units among threads changes no sum. */
#ifndef FC_GRADIENT_H
#define FC_GRADIENT_H

#include "product.h"

enum { FC_GRADIENT_DEPTH = 256, FC_GRADIENT_UNITS = 240 };
/* A transposed row is this long, not a power of two: its lines spread over the sets. */
enum { FC_GRADIENT_STRIDE = FC_GRADIENT_DEPTH + 16 };

typedef struct fc_gradient_scratch {
    real *panels;
    real *transposed; /* [FC_GRADIENT_UNITS][FC_GRADIENT_STRIDE] */
    const void *a[FC_GRADIENT_UNITS];
    void *out[FC_GRADIENT_UNITS];
} fc_gradient_scratch;

static size_t weight_gradient_scratch(ptrdiff_t depth) {
    size_t vectors = ((size_t)depth + V - 1) / V;
    return sizeof(fc_gradient_scratch) + 2 * sizeof(vreal) +
           (vectors * V * FC_GRADIENT_DEPTH + FC_GRADIENT_UNITS * FC_GRADIENT_STRIDE) *
               sizeof(real);
}

/* Rows of x, side by side in panels. */
static void panels_of_rows(const void *const *x, ptrdiff_t rows, ptrdiff_t depth,
                           real *panels, ptrdiff_t vectors) {
    for (ptrdiff_t first = 0; first < vectors; first += FC_MAX_WIDTH) {
        ptrdiff_t here = vectors - first < FC_MAX_WIDTH ? vectors - first : FC_MAX_WIDTH;
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

/* d[row][unit] -> transposed[unit][row], and the sums over the rows into bias. */
static void transpose_units(const real *d, ptrdiff_t d_row, ptrdiff_t rows,
                            ptrdiff_t units, real *transposed, real *bias) {
    for (ptrdiff_t first = 0; first < units; first += V) {
        ptrdiff_t here = units - first < V ? units - first : V;
        real *to = transposed + first * FC_GRADIENT_STRIDE;
        const real *from = d + first;
        real lane[V] = {0};
        vreal sum = vzero();
        for (ptrdiff_t row = 0; row < rows; row++, from += d_row) {
            if (here == V) {
                sum = sum + vload(from);
#pragma GCC unroll 16
                for (ptrdiff_t u = 0; u < V; u++)
                    to[u * FC_GRADIENT_STRIDE + row] = from[u];
            } else { /* the row may end here */
                memcpy(lane, from, (size_t)here * sizeof(real));
                sum = sum + vload(lane);
                for (ptrdiff_t u = 0; u < here; u++)
                    to[u * FC_GRADIENT_STRIDE + row] = lane[u];
            }
        }
        vstore(lane, sum);
        for (ptrdiff_t u = 0; bias && u < here; u++)
            bias[first + u] += lane[u];
    }
}

static void weight_gradient(const fc_weight_gradient *g) {
    fc_gradient_scratch *s = g->scratch;
    fc_panels panels = {.depth = 0, .vectors = (g->depth + V - 1) / V,
                        .width = FC_MAX_WIDTH};
    uintptr_t free_bytes = (uintptr_t)(s + 1);
    s->panels = (real *)((free_bytes + sizeof(vreal) - 1) & ~(sizeof(vreal) - 1));
    s->transposed = s->panels + panels.vectors * V * FC_GRADIENT_DEPTH;
    for (ptrdiff_t u = 0; u < FC_GRADIENT_UNITS; u++)
        s->a[u] = s->transposed + u * FC_GRADIENT_STRIDE;

    for (ptrdiff_t row = 0; row < g->rows; row += FC_GRADIENT_DEPTH) {
        ptrdiff_t rows = g->rows - row;
        if (rows > FC_GRADIENT_DEPTH)
            rows = FC_GRADIENT_DEPTH;
        panels_of_rows(g->x + row, rows, g->depth, s->panels, panels.vectors);
        panels.data = s->panels;
        panels.depth = rows;
        for (int j = 0; j < g->gates; j++) {
            ptrdiff_t gate = g->gate_order[j] * g->units;
            ptrdiff_t units;
            for (ptrdiff_t u = g->first_unit; u < g->last_unit; u += units) {
                units = g->last_unit - u;
                if (units > FC_GRADIENT_UNITS)
                    units = FC_GRADIENT_UNITS;
                transpose_units((const real *)g->d + row * g->d_row + j * g->d_gate + u,
                                g->d_row, rows, units, s->transposed,
                                g->bias ? (real *)g->bias + gate + u : NULL);
                for (ptrdiff_t i = 0; i < units; i++)
                    s->out[i] = (real *)g->out + (gate + u + i) * g->depth;
                fc_product p = {s->a, s->out, units, g->depth, true};
                product(&panels, &p);
            }
        }
    }
}

#endif

/* Weight gradients: out += d^T x, summed over all rows of all steps.
 *
 * It is a packed product whose depth is the rows of the batch.  A block of rows of x is
 * packed into panels; the same block of d is read transposed, in place, or copied first
 * if its rows share a few sets of the cache; the tiles accumulate into the caller's
 * gradient.  Blocks are processed from the last to the first, the order in which
 * backward computes d when it only holds a part of it.  Splitting the units among
 * threads changes no sum. */
#ifndef FC_GRADIENT_H
#define FC_GRADIENT_H

#include "kernels/product.h"

enum { FC_GRADIENT_DEPTH = 256, FC_GRADIENT_UNITS = 240, BIAS_VECTORS = 8 };
/* Rows of x and d that are copied at a time, which limits the number of pages in use.
 */
enum { FC_COPIED_ROWS = 16 };

typedef struct fc_gradient_scratch {
    operand *panels; /* [vectors][of FC_GRADIENT_DEPTH rows][V], in panels */
    operand *d;      /* [of FC_GRADIENT_DEPTH rows][FC_GRADIENT_UNITS], or tiles */
    void *out[FC_GRADIENT_UNITS];
} fc_gradient_scratch;

static size_t weight_gradient_scratch(ptrdiff_t depth) {
    size_t vectors = ((size_t)depth + V - 1) / V;
    return sizeof(fc_gradient_scratch) + 2 * sizeof(vreal) +
           (vectors * V + FC_GRADIENT_UNITS) * FC_GRADIENT_DEPTH * sizeof(real) +
           (FC_REGISTERS == 16 ? FC_GRADIENT_UNITS * sizeof(vreal) : 0);
}

/* Operand j of V columns of a row and, if a group is two, of the next row.  A group of
 * FC_PARTS multiply-adds has as many operands here, already widened: all tiles of a
 * block read them. */
FC_INLINE vreal load_group(const real *first, const real *second, int j,
                           ptrdiff_t exist) {
    (void)j;
#if defined(FC_SPREAD)
    const real *from = j == 0 ? second : first;
    return from ? (vreal)vround_bf16(vload_part(from, exist)) : vzero();
#elif defined(FC_OPERANDS_BF16)
    return vpair(vload_part(first, exist),
                 second ? vload_part(second, exist) : vzero());
#else
    (void)second;
    return vload_part(first, exist);
#endif
}

FC_INLINE ptrdiff_t operands_of_rows(ptrdiff_t rows) {
    return (rows + FC_GROUP - 1) / FC_GROUP * FC_PARTS;
}

/* Packs rows of x, from a column on, into panels, group by group. */
static void panels_of_rows(const void *const *x, ptrdiff_t first_column, ptrdiff_t rows,
                           const fc_panels *to) {
    const ptrdiff_t most = FC_REGISTERS == 32 ? FC_GRADIENT_DEPTH : FC_COPIED_ROWS;
    for (ptrdiff_t begin = 0; begin < rows; begin += most) {
        ptrdiff_t last = begin + most < rows ? begin + most : rows;
        for (ptrdiff_t first = 0; first < to->vectors; first += FC_MAX_WIDTH) {
            ptrdiff_t end = first + FC_MAX_WIDTH;
            end = end < to->vectors ? end : to->vectors;
            ptrdiff_t at = operands_of_rows(begin);
            operand *panel =
                (operand *)to->data + (first * to->depth + at * (end - first)) * V;
            for (ptrdiff_t row = begin; row < last; row += FC_GROUP)
                for (int j = 0; j < FC_PARTS; j++)
                    for (ptrdiff_t v = first; v < end; v++, panel += V) {
                        ptrdiff_t column = first_column + v * V;
                        const real *one = (const real *)x[row] + column;
                        const real *two =
                            row + 1 < rows ? (const real *)x[row + 1] + column : NULL;
                        vstore((real *)panel, load_group(one, two, j, to->k - v * V));
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

/* Whether a block of d is copied first: if its rows share a few sets of the first-level
 * cache; and with few registers, and so small tiles, if each is on another page. */
FC_INLINE bool copies_units(ptrdiff_t d_row) {
    ptrdiff_t bytes = d_row * (ptrdiff_t)sizeof(real);
    return FC_GROUP > 1 || bytes % 256 == 0 || (FC_REGISTERS == 16 && bytes >= 4096);
}

#if FC_REGISTERS == 32
/* Copies a block of d to contiguous memory, group by group. */
static void copy_units(const real *d, ptrdiff_t d_row, ptrdiff_t rows, ptrdiff_t units,
                       operand *to) {
    for (ptrdiff_t row = 0; row < rows; row += FC_GROUP, to += FC_GRADIENT_UNITS)
        for (ptrdiff_t u = 0; u < units; u += V) {
            const real *one = d + row * d_row + u;
            vstore((real *)(to + u),
                   load_group(one, row + 1 < rows ? one + d_row : NULL, 0, units - u));
        }
}
#else
/* Copies a block of d, tile by tile; within a tile group by group, its `m` units.
 * Elements of a vector beyond them are overwritten by the next, or lie between two
 * tiles.
 */
static void copy_units(const real *d, ptrdiff_t d_row, ptrdiff_t rows, ptrdiff_t units,
                       operand *to) {
    ptrdiff_t depth = operands_of_rows(rows);
    for (ptrdiff_t first = 0; first < rows; first += FC_COPIED_ROWS) {
        ptrdiff_t end = first + FC_COPIED_ROWS < rows ? first + FC_COPIED_ROWS : rows;
        operand *tile = to;
        int m;
        for (ptrdiff_t u = 0; u < units; u += m, tile += m * depth + V) {
            m = next_rows(units - u, FC_MAX_WIDTH);
            operand *group = tile + operands_of_rows(first) * m;
            for (ptrdiff_t row = first; row < end; row += FC_GROUP)
                for (int j = 0; j < FC_PARTS; j++, group += m)
                    for (ptrdiff_t v = 0; v < m; v += V) {
                        const real *one = d + row * d_row + u + v;
                        const real *two = row + 1 < rows ? one + d_row : NULL;
                        vstore((real *)(group + v),
                               load_group(one, two, j, units - u - v));
                    }
        }
    }
}
#endif

/* out[unit][columns of a panel] += the block of d, transposed, times the panel. */
static void accumulate_tiles(const fc_panels *x, const operand *d, ptrdiff_t d_row,
                             void *const *out, ptrdiff_t units) {
    fc_tile_job job = {.depth = x->depth, .at_step = d_row, .accumulate = true};
    for (ptrdiff_t vector = 0; vector < x->vectors; vector += FC_MAX_WIDTH) {
        ptrdiff_t left = x->vectors - vector, column = vector * V;
        int width = (int)(left < FC_MAX_WIDTH ? left : FC_MAX_WIDTH), m;
        bool edge = column + width * V > x->k;
        size_t bytes = (size_t)(x->k - column) * sizeof(real);
        job.w = (const operand *)x->data + column * x->depth;
#if FC_REGISTERS == 16
        const operand *copied = d;
#endif
        for (ptrdiff_t u = 0; u < units; u += m) {
            m = next_rows(units - u, width);
            real tile[FC_TILE_REALS];
            void *rows[FC_MAX_ROWS];
            if (edge) /* its last columns do not exist in `out` */
                memset(tile, 0, sizeof tile);
            for (int r = 0; edge && r < m; r++) {
                rows[r] = tile + r * width * V;
                memcpy(rows[r], (real *)out[u + r] + column, bytes);
            }
            job.at = d + u;
#if FC_REGISTERS == 16
            if (!d_row) { /* copied by copy_units */
                job.at = copied;
                job.at_step = m;
                copied += m * x->depth + V;
            }
            /* Rows of a large gradient are in a far cache or memory, on different
             * pages. */
            for (int r = 0; !edge && r < m; r++)
                __builtin_prefetch((real *)out[u + r] + column, 1);
#endif
            job.out = edge ? rows : out + u;
            job.column = edge ? 0 : column;
            fc_transposed_tiles[m][width](&job);
            for (int r = 0; edge && r < m; r++)
                memcpy((real *)out[u + r] + column, rows[r], bytes);
        }
    }
}

static void weight_gradient(const fc_weight_gradient *g) {
    fc_gradient_scratch *s = g->scratch;
    fc_panels x = {
        .vectors = (g->depth + V - 1) / V, .k = g->depth, .width = FC_MAX_WIDTH};
    uintptr_t free_bytes = (uintptr_t)(s + 1);
    s->panels = (operand *)((free_bytes + sizeof(vreal) - 1) & ~(sizeof(vreal) - 1));
    s->d = s->panels + x.vectors * V * FC_GRADIENT_DEPTH;
    x.data = s->panels;

    for (ptrdiff_t row = fc_last_block(g->rows, FC_GRADIENT_DEPTH); row >= 0;
         row -= FC_GRADIENT_DEPTH) {
        ptrdiff_t rows = g->rows - row;
        if (rows > FC_GRADIENT_DEPTH)
            rows = FC_GRADIENT_DEPTH;
        x.depth = operands_of_rows(rows);
        panels_of_rows(g->x + row, g->first_column, rows, &x);
        for (int j = 0; j < g->gates; j++) {
            ptrdiff_t gate = g->gate_order[j] * g->units;
            ptrdiff_t units;
            if (fc_gradient_stops(g, rows))
                return;
            for (ptrdiff_t u = g->first_unit; u < g->last_unit; u += units) {
                units = g->last_unit - u;
                if (units > FC_GRADIENT_UNITS)
                    units = FC_GRADIENT_UNITS;
                const real *d = (const real *)g->d + row * g->d_row + j * g->d_gate + u;
                const operand *operands = (const operand *)d;
                ptrdiff_t operand_row = g->d_row;
                if (g->bias)
                    add_bias(d, g->d_row, rows, units, (real *)g->bias + gate + u);
                if (copies_units(g->d_row)) {
                    copy_units(d, g->d_row, rows, units, s->d);
                    operands = s->d;
                    operand_row = FC_REGISTERS == 32 ? FC_GRADIENT_UNITS : 0;
                }
                for (ptrdiff_t i = 0; i < units; i++)
                    s->out[i] = (real *)g->out + (gate + u + i) * g->depth;
                accumulate_tiles(&x, operands, operand_row, s->out, units);
            }
        }
    }
}

/* A block of rows, V units; `there` of them exist.  Rows of slots and of by_row are
 * padded to whole vectors. */
FC_INLINE void unit_sum_of_rows(const fc_unit_sum *s, int vector, ptrdiff_t first,
                                ptrdiff_t rows, ptrdiff_t u, ptrdiff_t there) {
    ptrdiff_t at = first * s->d_row + vector * s->d_vector + u;
    const real *d = (const real *)s->d + at, *by = (const real *)s->by_slot;
    vreal sum = vzero();
    if (by) {
        by += at;
        for (ptrdiff_t row = 0; row < rows; row++)
            sum = vfma(vload(d + row * s->d_row), vload(by + row * s->d_row), sum);
    } else if (s->by_row) {
        for (ptrdiff_t row = 0; row < rows; row++)
            sum = vfma(vload(d + row * s->d_row),
                       vload((const real *)s->by_row[first + row] + u), sum);
    } else {
        for (ptrdiff_t row = 0; row < rows; row++)
            sum = sum + vload(d + row * s->d_row);
    }
    real *out = (real *)s->out + vector * s->units + u;
    vstore_part(out, vload_part(out, there) + sum, there);
}

/* In the blocks of weight_gradient, from the last to the first. */
static void unit_sum(const fc_unit_sum *s) {
    for (ptrdiff_t row = fc_last_block(s->rows, FC_GRADIENT_DEPTH); row >= 0;
         row -= FC_GRADIENT_DEPTH) {
        ptrdiff_t rows = s->rows - row;
        if (rows > FC_GRADIENT_DEPTH)
            rows = FC_GRADIENT_DEPTH;
        for (int vector = 0; vector < s->vectors; vector++)
            for (ptrdiff_t u = s->first_unit; u < s->last_unit; u += V)
                unit_sum_of_rows(s, vector, row, rows, u, s->last_unit - u);
    }
}

#endif

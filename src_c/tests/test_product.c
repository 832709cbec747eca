/* Products and weight gradients of reals, by every table of kernels: equal bits to
 * plain loops for all tiles, with and without prefetched weights. */
#include <math.h>

#include "runtime/dispatch.h"
#include "tests/harness.h"

enum { MOST_ROWS = 131, MOST_K = 67, MOST_COLUMNS = 450, INTO = 3, GAP = 5 };

static double a[MOST_ROWS][MOST_K], w[MOST_K][MOST_COLUMNS], start[MOST_COLUMNS];
static double wanted[MOST_ROWS][MOST_COLUMNS];

/* One multiply-add, as the instruction set rounds it. */
static double multiply_add(fc_dtype dtype, bool fused, double x, double y, double sum) {
    if (dtype == FC_F64) {
        volatile double product = x * y;
        return fused ? fma(x, y, sum) : product + sum;
    }
    volatile float product = (float)x * (float)y;
    return fused ? fmaf((float)x, (float)y, (float)sum) : product + (float)sum;
}

static bool fuses(const fc_kernels *k) { return strcmp(k->isa, "portable") != 0; }

static void fill(fc_dtype dtype, double *to, size_t n) {
    for (size_t i = 0; i < n; i++)
        to[i] = dtype == FC_F64 ? uniform(-1, 1) : (double)(float)uniform(-1, 1);
}

/* ---- products ------------------------------------------------------------------- */

typedef struct product_case {
    ptrdiff_t rows, k, columns;
    int width;
    size_t near_bytes;
    bool bias, accumulate;
} product_case;

static void *packed(const fc_kernels *k, fc_dtype dtype, fc_panels *panels,
                    ptrdiff_t columns) {
    ptrdiff_t V = k->lanes;
    void *data = zeros(panels->vectors * V * panels->depth, k->real_size);
    void *all = reals_of(dtype, &w[0][0], MOST_K * MOST_COLUMNS);
    panels->data = data;
    for (ptrdiff_t v = 0; v < panels->vectors; v++) {
        ptrdiff_t left = columns - v * V;
        fc_columns from = {.data = (char *)all + (size_t)(v * V) * k->real_size,
                           .k_stride = MOST_COLUMNS,
                           .lane_stride = 1,
                           .lanes = left < V ? left : V,
                           .count_k = panels->k};
        k->pack(panels, v, &from);
    }
    release(all);
    return data;
}

static void check_product(const fc_kernels *k, fc_dtype dtype, const product_case *c) {
    ptrdiff_t V = k->lanes, row_of_out = INTO + c->columns + GAP;
    fc_panels panels = {.k = c->k,
                        .depth = c->k,
                        .vectors = (c->columns + V - 1) / V,
                        .width = c->width,
                        .near_bytes = c->near_bytes};
    void *data = packed(k, dtype, &panels, c->columns);
    void *bias = reals_of(dtype, start, MOST_COLUMNS);
    void *rows = reals_of(dtype, &a[0][0], MOST_ROWS * MOST_K);
    size_t out_bytes = (size_t)(c->rows * row_of_out) * k->real_size;
    void *out = take(out_bytes, 0);
    const void *a_rows[MOST_ROWS];
    void *out_rows[MOST_ROWS];
    panels.bias = c->bias ? bias : NULL;
    for (ptrdiff_t i = 0; i < c->rows * row_of_out; i++)
        set_real(dtype, out, i, 7);
    for (ptrdiff_t row = 0; row < c->rows; row++) {
        a_rows[row] = (char *)rows + (size_t)(row * MOST_K) * k->real_size;
        out_rows[row] = (char *)out + (size_t)(row * row_of_out) * k->real_size;
    }
    fc_product product = {.a = a_rows,
                          .out = out_rows,
                          .rows = c->rows,
                          .columns = c->columns,
                          .accumulate = c->accumulate,
                          .first = INTO};
    k->product(&panels, &product);
    ptrdiff_t wrong = 0, touched = 0;
    for (ptrdiff_t row = 0; row < c->rows; row++)
        for (ptrdiff_t i = 0; i < row_of_out; i++) {
            double got = real_at(dtype, out, row * row_of_out + i);
            ptrdiff_t column = i - INTO;
            if (column < 0 || column >= c->columns) {
                touched += got != 7;
                continue;
            }
            double sum = wanted[row][column];
            if (c->accumulate)
                sum = dtype == FC_F64 ? 7 + sum : (double)(7 + (float)sum);
            wrong += got != sum;
        }
    CHECK(!wrong);
    CHECK(!touched);
    free(data);
    release(bias);
    release(rows);
    release(out);
}

static void test_products(fc_dtype dtype) {
    static const ptrdiff_t ks[] = {1, 2, 7, 66, 67};
    static const ptrdiff_t some[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 13,
                                     14, 31, 33, 63, 64, 65, 66, 70, 130};
    /* Whole vectors, and a last one with missing columns. */
    static const ptrdiff_t widths[][2] = {{1, 1}, {2, 0}, {3, 2}, {5, 0},
                                          {7, 1}, {12, 0}, {13, 1}, {28, 0}};
    const fc_kernels *k = fc_kernels_of(dtype);
    int which = 0;
    for (size_t i = 0; i < sizeof ks / sizeof *ks; i++)
        for (int bias = 0; bias < 2; bias++) {
            for (ptrdiff_t row = 0; row < MOST_ROWS; row++)
                for (ptrdiff_t column = 0; column < 28 * k->lanes; column++) {
                    double sum = bias ? start[column] : 0;
                    for (ptrdiff_t j = 0; j < ks[i]; j++)
                        sum = multiply_add(dtype, fuses(k), a[row][j], w[j][column],
                                           sum);
                    wanted[row][column] = sum;
                }
            for (size_t j = 0; j < sizeof some / sizeof *some; j++)
                for (size_t n = 0; n < sizeof widths / sizeof *widths; n++, which++) {
                    product_case c = {.rows = some[j],
                                      .k = ks[i],
                                      .columns = widths[n][0] * k->lanes - widths[n][1],
                                      .width = k->panel - (k->panel > 3 && which % 2),
                                      .near_bytes = which % 3 ? 0 : SIZE_MAX,
                                      .bias = bias,
                                      .accumulate = which % 5 == 0};
                    describe("%s %s, %td rows, k %td, %td columns", k->isa,
                             dtype == FC_F64 ? "f64" : "f32", c.rows, c.k, c.columns);
                    check_product(k, dtype, &c);
                }
        }
}

/* ---- weight gradients -------------------------------------------------------------
 */

enum { PAIRS = 261, UNITS = 23, DEPTH = 45 };

static double d[PAIRS][UNITS], x[PAIRS][DEPTH], gradient[UNITS][DEPTH];

/* Blocks of pairs from the last to the first, each summed from zero and then added. */
static void sum_gradient(fc_dtype dtype, const fc_kernels *k) {
    for (ptrdiff_t u = 0; u < UNITS; u++)
        for (ptrdiff_t i = 0; i < DEPTH; i++) {
            double all = 3;
            ptrdiff_t block = k->gradient_block;
            for (ptrdiff_t at = fc_last_block(PAIRS, block); at >= 0; at -= block) {
                double sum = 0;
                for (ptrdiff_t p = at; p < PAIRS && p < at + block; p++)
                    sum = multiply_add(dtype, fuses(k), d[p][u], x[p][i], sum);
                all = dtype == FC_F64 ? all + sum : (double)((float)all + (float)sum);
            }
            gradient[u][i] = all;
        }
}

/* Rows of d at a distance of `d_row`; the last ends with its units. */
static void check_gradient(const fc_kernels *k, fc_dtype dtype, ptrdiff_t d_row) {
    const unsigned char order[1] = {0};
    size_t real = k->real_size;
    ptrdiff_t reals_of_d = (PAIRS - 1) * d_row + UNITS;
    void *d_rows = take((size_t)reals_of_d * real, 0);
    void *x_rows = reals_of(dtype, &x[0][0], PAIRS * DEPTH);
    void *out = take(UNITS * DEPTH * real, 0);
    void *scratch = take(k->weight_gradient_scratch(DEPTH), 0);
    const void *x_at[PAIRS];
    fc_watch watch = {0};
    describe("%s %s, rows of d %td apart", k->isa, dtype == FC_F64 ? "f64" : "f32",
             d_row);
    for (ptrdiff_t p = 0; p < PAIRS; p++) {
        x_at[p] = (char *)x_rows + (size_t)(p * DEPTH) * real;
        for (ptrdiff_t u = 0; u < UNITS; u++)
            set_real(dtype, d_rows, p * d_row + u, d[p][u]);
    }
    for (ptrdiff_t i = 0; i < UNITS * DEPTH; i++)
        set_real(dtype, out, i, 3);
    fc_weight_gradient g = {.d = d_rows,
                            .d_row = d_row,
                            .x = x_at,
                            .rows = PAIRS,
                            .depth = DEPTH,
                            .gates = 1,
                            .gate_order = order,
                            .units = UNITS,
                            .last_unit = UNITS,
                            .out = out,
                            .scratch = scratch,
                            .watch = &watch};
    k->weight_gradient(&g);
    ptrdiff_t wrong = 0;
    for (ptrdiff_t i = 0; i < UNITS * DEPTH; i++)
        wrong += real_at(dtype, out, i) != (&gradient[0][0])[i];
    CHECK(!wrong);
    release(d_rows);
    release(x_rows);
    release(out);
    release(scratch);
}

static void test_gradients(fc_dtype dtype) {
    const fc_kernels *k = fc_kernels_of(dtype);
    ptrdiff_t page = 4096 / (ptrdiff_t)k->real_size;
    /* Read in place or copied: rows in the same sets of the cache, rows pages apart. */
    const ptrdiff_t apart[] = {UNITS + k->lanes, page / 4, page, page + k->lanes};
    sum_gradient(dtype, k);
    for (size_t i = 0; i < sizeof apart / sizeof *apart; i++)
        check_gradient(k, dtype, apart[i]);
}

int main(void) {
    for (fc_dtype dtype = FC_F32; dtype <= FC_F64; dtype++) {
        seed(1300);
        fill(dtype, &a[0][0], MOST_ROWS * MOST_K);
        fill(dtype, &w[0][0], MOST_K * MOST_COLUMNS);
        fill(dtype, start, MOST_COLUMNS);
        fill(dtype, &d[0][0], PAIRS * UNITS);
        fill(dtype, &x[0][0], PAIRS * DEPTH);
        FOR_EACH_ISA(isa) {
            test_products(dtype);
            test_gradients(dtype);
        }
    }
    return finish("product");
}

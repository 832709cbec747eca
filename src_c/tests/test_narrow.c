/* Products of narrow operands, by every table of kernels: equal bits to plain loops. */
#include <math.h>

#include "runtime/dispatch.h"
#include "tests/problem.h"

enum { MOST_ROWS = 60, MOST_K = 70, MOST_COLUMNS = 200, INTO = 3 };

typedef struct product_case {
    ptrdiff_t rows, k, columns;
    int width;
    bool bias, accumulate;
} product_case;

static float a[MOST_ROWS][MOST_K], w[MOST_K][MOST_COLUMNS], start[MOST_COLUMNS];
static float got[MOST_ROWS][MOST_COLUMNS + INTO], wanted[MOST_ROWS][MOST_COLUMNS];

static float bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Sums over pairs of k, the second of each pair first; every product is exact. */
static float sum_bf16(const product_case *c, ptrdiff_t row, ptrdiff_t column) {
    float sum = c->bias ? start[column] : 0;
    for (ptrdiff_t k = 0; k < c->k; k += 2)
        for (ptrdiff_t j = k + 1 < c->k ? k + 1 : k; j >= k; j--) {
            volatile float product = bf16(a[row][j]) * bf16(w[j][column]);
            sum += product;
        }
    return sum;
}

static float largest_of(const float *x, ptrdiff_t n, ptrdiff_t stride) {
    float most = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(x[i * stride]));
    return most;
}

static float sum_int8(const product_case *c, ptrdiff_t row, ptrdiff_t column) {
    float a_scale = largest_of(a[row], c->k, 1) / 127;
    float w_scale = largest_of(&w[0][column], c->k, MOST_COLUMNS) / 127;
    float a_inverse = a_scale > 0 ? 1 / a_scale : 0;
    float w_inverse = w_scale > 0 ? 1 / w_scale : 0;
    int32_t sum = 0;
    for (ptrdiff_t k = 0; k < c->k; k++)
        sum += (int32_t)rintf(a[row][k] * a_inverse) *
               (int32_t)rintf(w[k][column] * w_inverse);
    volatile float scale = a_scale * w_scale;
    volatile float result = (float)sum * scale;
    return c->bias ? result + start[column] : result;
}

static void run_product(const fc_kernels *k, const product_case *c) {
    ptrdiff_t V = k->lanes;
    fc_panels panels = {.k = c->k,
                        .depth = (c->k + k->group - 1) / k->group,
                        .vectors = (c->columns + V - 1) / V,
                        .width = c->width};
    size_t columns = (size_t)(panels.vectors * V);
    void *data = zeros((ptrdiff_t)columns * panels.depth, 4);
    float *bias = zeros((ptrdiff_t)columns, 4), *scale = zeros((ptrdiff_t)columns, 4);
    int32_t *zero = zeros((ptrdiff_t)columns, 4);
    void *scratch = take(k->operand_scratch(c->k), 0);
    memcpy(bias, start, (size_t)c->columns * 4);
    panels.data = data;
    panels.bias = c->bias ? bias : NULL;
    panels.scale = k->scales ? scale : NULL;
    panels.zero = k->scales ? zero : NULL;
    for (ptrdiff_t v = 0; v < panels.vectors; v++) {
        ptrdiff_t left = c->columns - v * V;
        fc_columns from = {.data = &w[0][v * V],
                           .k_stride = MOST_COLUMNS,
                           .lane_stride = 1,
                           .lanes = left < V ? left : V,
                           .count_k = c->k};
        k->pack(&panels, v, &from);
    }
    const void *a_rows[MOST_ROWS];
    void *out_rows[MOST_ROWS];
    for (ptrdiff_t row = 0; row < c->rows; row++) {
        a_rows[row] = a[row];
        out_rows[row] = got[row];
    }
    fc_product product = {.a = a_rows,
                          .out = out_rows,
                          .rows = c->rows,
                          .columns = c->columns,
                          .accumulate = c->accumulate,
                          .first = INTO,
                          .scratch = scratch};
    k->product(&panels, &product);
    void *all[] = {data, bias, scale, zero};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    release(scratch);
}

static void test_product(const fc_kernels *k, const product_case *c) {
    for (ptrdiff_t row = 0; row < c->rows; row++)
        for (ptrdiff_t column = 0; column < c->columns + INTO; column++)
            got[row][column] = 7;
    for (ptrdiff_t row = 0; row < c->rows; row++)
        for (ptrdiff_t column = 0; column < c->columns; column++) {
            float sum = k->scales ? sum_int8(c, row, column) : sum_bf16(c, row, column);
            wanted[row][column] = c->accumulate ? 7 + sum : sum;
        }
    run_product(k, c);
    for (ptrdiff_t row = 0; row < c->rows; row++) {
        CHECK(!memcmp(got[row] + INTO, wanted[row], (size_t)c->columns * 4));
        for (int column = 0; column < INTO; column++)
            CHECK(got[row][column] == 7);
    }
}

/* A number, and its value rounded to bf16. */
static const struct {
    uint32_t number, rounded;
} rounding[] = {
    {0x3f800001, 0x3f800000}, {0x3f808000, 0x3f800000}, /* ties go to even */
    {0x3f808001, 0x3f810000}, {0x3f818000, 0x3f820000},
    {0xbf817fff, 0xbf810000}, {0x7f7f7fff, 0x7f7f0000},
    {0x7f7fffff, 0x7f800000}, {0xff7f8000, 0xff800000}, /* to infinity */
    {0x7f800000, 0x7f800000}, {0xff800000, 0xff800000},
    {0x7f800001, 0x7fc00000}, {0x7fffffff, 0x7fff0000}, /* NaN: same bits on all sets */
    {0xffffffff, 0xffff0000}, {0x00000001, 0x00000000}, /* subnormal */
    {0x807fffff, 0x00000000}, {0x00800000, 0x00800000},
    {0x80ffffff, 0x81000000}, {0x80000000, 0x00000000},
};
enum { NUMBERS = sizeof rounding / sizeof *rounding };

static float of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Each number at each position of a row of zeros, times one. */
static void test_rounding(const fc_kernels *k) {
    product_case c = {.rows = NUMBERS, .k = 19, .columns = 9, .width = k->panel};
    for (ptrdiff_t at = 0; at < c.k; at++) {
        memset(a, 0, sizeof a);
        memset(w, 0, sizeof w);
        for (ptrdiff_t row = 0; row < NUMBERS; row++)
            a[row][at] = of_bits(rounding[row].number);
        for (ptrdiff_t column = 0; column < c.columns; column++)
            w[at][column] = 1;
        run_product(k, &c);
        for (ptrdiff_t row = 0; row < NUMBERS; row++) {
            float rounded = of_bits(rounding[row].rounded);
            for (ptrdiff_t column = 0; column < c.columns; column++) {
                float y = got[row][INTO + column];
                CHECK(isnan(rounded) ? isnan(y) : y == rounded);
            }
        }
    }
}

/* The largest sums, and rows that are not finite or small enough to count as zero. */
static void test_integers(const fc_kernels *k) {
    enum { BAD = 3, TINY = 5 };
    product_case c = {.rows = 8, .k = 67, .columns = 40, .width = k->panel};
    for (ptrdiff_t i = 0; i < c.k; i++) {
        for (ptrdiff_t row = 0; row < c.rows; row++)
            a[row][i] = row % 2 ? -1 : 1;
        for (ptrdiff_t column = 0; column < c.columns; column++)
            w[i][column] = column % 2 ? -1 : 1;
    }
    test_product(k, &c);
    for (ptrdiff_t i = 0; i < c.k; i++)
        a[TINY][i] = 1e-38F;
    for (ptrdiff_t at = 0; at < c.k; at += 33) {
        a[BAD][at] = at ? -INFINITY : NAN;
        run_product(k, &c);
        for (ptrdiff_t row = 0; row < c.rows; row++)
            for (ptrdiff_t column = INTO; column < INTO + c.columns; column++) {
                float y = got[row][column];
                if (row == BAD)
                    CHECK(isnan(y));
                else
                    CHECK(row == TINY ? y == 0 : fabsf(y) > 66);
            }
        a[BAD][at] = -1;
    }
}

static void test_edges(const fc_kernels *k) {
    static float ordinary_a[MOST_ROWS][MOST_K], ordinary_w[MOST_K][MOST_COLUMNS];
    memcpy(ordinary_a, a, sizeof a);
    memcpy(ordinary_w, w, sizeof w);
    if (k->scales)
        test_integers(k);
    else
        test_rounding(k);
    memcpy(a, ordinary_a, sizeof a);
    memcpy(w, ordinary_w, sizeof w);
}

enum { PAIRS = 261, UNITS = 23, DEPTH = 45 };

static float d[PAIRS][UNITS], x[PAIRS][DEPTH], gradient[UNITS][DEPTH];

/* Blocks of pairs, the last first, each summed from zero, the second of two first. */
static float sum_gradient(ptrdiff_t block, ptrdiff_t unit, ptrdiff_t column) {
    float all = 3;
    for (ptrdiff_t at = fc_last_block(PAIRS, block); at >= 0; at -= block) {
        ptrdiff_t end = at + block < PAIRS ? at + block : PAIRS;
        float sum = 0;
        for (ptrdiff_t p = at; p < end; p += 2)
            for (ptrdiff_t q = p + 1 < end ? p + 1 : p; q >= p; q--) {
                volatile float product = bf16(d[q][unit]) * bf16(x[q][column]);
                sum += product;
            }
        all += sum;
    }
    return all;
}

static void test_gradient(const fc_kernels *k) {
    const unsigned char order[1] = {0};
    const void *x_at[PAIRS];
    fc_watch watch = {0};
    void *scratch = take(k->weight_gradient_scratch(DEPTH), 0);
    for (ptrdiff_t p = 0; p < PAIRS; p++)
        x_at[p] = x[p];
    for (ptrdiff_t i = 0; i < UNITS * DEPTH; i++)
        (&gradient[0][0])[i] = 3;
    fc_weight_gradient g = {.d = d,
                            .d_row = UNITS,
                            .x = x_at,
                            .rows = PAIRS,
                            .depth = DEPTH,
                            .gates = 1,
                            .gate_order = order,
                            .units = UNITS,
                            .last_unit = UNITS,
                            .out = gradient,
                            .scratch = scratch,
                            .watch = &watch};
    k->weight_gradient(&g);
    ptrdiff_t wrong = 0;
    for (ptrdiff_t u = 0; u < UNITS; u++)
        for (ptrdiff_t i = 0; i < DEPTH; i++)
            wrong += gradient[u][i] != sum_gradient(k->gradient_block, u, i);
    CHECK(!wrong);
    release(scratch);
}

static void test_table(const fc_kernels *k, const char *name) {
    static const ptrdiff_t ks[] = {1, 2, 3, 4, 5, 31, 64, 67};
    static const ptrdiff_t rows[] = {1, 2, 3, 7, 8, 47, 49, 60};
    static const ptrdiff_t columns[] = {1, 15, 16, 64, 130, 192};
    int which = 0;
    describe("%s %s", k->isa, name);
    test_edges(k);
    if (k->trains)
        test_gradient(k);
    for (size_t i = 0; i < 8; i++)
        for (size_t j = 0; j < 8; j++)
            for (size_t n = 0; n < 6; n++, which++) {
                product_case c = {.rows = rows[j],
                                  .k = ks[i],
                                  .columns = columns[n],
                                  .width = k->panel == 4 ? 3 + which % 2 : 2,
                                  .bias = which % 3 > 0,
                                  .accumulate = which % 5 == 0};
                test_product(k, &c);
            }
}

static void fill(float *to, size_t n, double scale) {
    for (size_t i = 0; i < n; i++)
        to[i] = (float)uniform(-scale, scale);
}

/* Whole stacks: near float32, and the same bits with several threads. */
static void test_stack(const char *cell, const spec *from) {
    spec s = *from;
    s.cell = cell;
    problem p;
    problem_make(&p, &s);
    outcome exact = outcome_new(&p), near = outcome_new(&p), other = outcome_new(&p);
    for (fc_dtype dtype = FC_BF16; dtype <= FC_INT8; dtype++) {
        describe("%s %s %s", fc_isa(), cell, dtype == FC_BF16 ? "bf16" : "int8");
        run_core(&p, FC_F32, 1, INFERENCE, &exact);
        run_core(&p, dtype, 1, INFERENCE, &near);
        CHECK_CLOSE(near.y, exact.y, p.y_count, dtype == FC_BF16 ? 0.05 : 0.2);
        run_core(&p, dtype, 3, INFERENCE, &other);
        CHECK_SAME_BITS(other.y, near.y, p.y_count);
    }
    describe("%s %s bf16 gradients", fc_isa(), cell);
    run_core(&p, FC_BF16, 1, GRADIENTS, &near);
    run_core(&p, FC_BF16, 3, GRADIENTS, &other);
    CHECK_SAME_BITS(other.y, near.y, p.y_count);
    CHECK_SAME_BITS(other.g, near.g, p.count);
    outcome_free(&exact);
    outcome_free(&near);
    outcome_free(&other);
    problem_free(&p);
}

static void test_stacks(const char *cell) {
    static const spec sets[] = {
        {.in = 7,
         .hidden = 33,
         .proj = 17,
         .layers = 2,
         .directions = 2,
         .steps = 9,
         .rows = 5,
         .lengths = true,
         .mask = true,
         .reset = true},
        {.in = 5,
         .hidden = 100,
         .proj = 70,
         .layers = 1,
         .directions = 1,
         .steps = 50,
         .rows = 1,
         .index = true},
        {.in = 3,
         .hidden = 9,
         .proj = 5,
         .layers = 1,
         .directions = 1,
         .steps = 3,
         .rows = 55},
    };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        test_stack(cell, &sets[i]);
}

int main(void) {
    seed(900);
    fill(&a[0][0], MOST_ROWS * MOST_K, 1);
    fill(&w[0][0], MOST_K * MOST_COLUMNS, 0.3);
    fill(start, MOST_COLUMNS, 1);
    fill(&d[0][0], PAIRS * UNITS, 1);
    fill(&x[0][0], PAIRS * DEPTH, 1);
    FOR_EACH_ISA(isa) {
        test_table(fc_kernels_of(FC_BF16), "bf16");
        test_table(fc_kernels_of(FC_INT8), "int8");
        for (int cell = 0; fc_cell_name(cell); cell++)
            test_stacks(fc_cell_name(cell));
#if defined(__x86_64__)
        if (!strcmp(isa, "avx2")) /* without AVX-VNNI, if the CPU has it */
            test_table(&fc_kernels_avx2_int8, "int8 without its instruction");
        if (!strcmp(isa, "avx512")) { /* without its instructions, if it has them */
            test_table(&fc_kernels_avx512_bf16, "bf16 without its instruction");
            test_table(&fc_kernels_avx512_int8, "int8 without its instruction");
        }
#endif
    }
    return finish("narrow");
}

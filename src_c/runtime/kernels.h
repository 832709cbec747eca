/* The table of kernels: one per instruction set and real type.
 *
 * Each is filled by one file in isa/, chosen once by dispatch.c, and called by the
 * drivers, which are compiled once and handle sizes and strides but no arithmetic.
 * Reals are therefore passed as void pointers; each function reads them as its type.
 *
 * A *row* is a pointer to consecutive reals.  Rows are passed as arrays of pointers, so
 * that any layout in memory, batch-first, reversed, ragged, masked or gathered by
 * token, costs one pointer per row and no copy. */
#ifndef FC_KERNELS_H
#define FC_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/watch.h"

enum { FC_EXP, FC_SIGMOID, FC_TANH };
/* Operations on each element of a parameter. */
enum { FC_SGD, FC_RMSPROP, FC_ADAGRAD, FC_ADAM, FC_SCALE, FC_CLIP, FC_UPDATES };
enum { FC_MAX_ROWS = 8 };        /* of a tile, in every instruction set */
enum { FC_ISA_BYTES = 16 };      /* of a set's name, padded with zeros */
enum { FC_DROPOUT_BLOCK = 128 }; /* random numbers of a block */

struct fc_cell;
struct fc_parameter;
struct fc_tile;

/* A weight matrix packed for products: `vectors` vectors of V columns, cut into
 * panels of `width` vectors (the last may be narrower); a panel holds, for each operand
 * (operand.h) of `depth`, its vectors side by side. */
typedef struct fc_panels {
    const void *data;
    const void *bias;         /* (vectors * V) start values, or NULL for zero */
    const void *scale, *zero; /* int8: (vectors * V) of each column, else NULL */
    ptrdiff_t k, depth;       /* reals and operands of a row of `a` */
    ptrdiff_t vectors;
    int width;
    size_t near_bytes; /* larger weights are prefetched into a nearer cache */
} fc_panels;

/* The source of a vector's columns, or of some: element (k, lane) of a strided matrix
 * of reals is packed at first_k + k and first_lane + lane. */
typedef struct fc_columns {
    const void *data;
    ptrdiff_t k_stride, lane_stride;
    ptrdiff_t first_lane, lanes, first_k, count_k;
} fc_columns;

/* out[r][first : first+columns] = bias + a[r] . panels, or += with `accumulate` */
typedef struct fc_product {
    const void *const *a; /* `rows` rows of panels->k reals */
    void *const *out;
    ptrdiff_t rows;
    ptrdiff_t columns; /* reals to write to each row, <= vectors * V */
    bool accumulate;
    ptrdiff_t first;
    void *scratch; /* operand_scratch(panels->k) bytes */
} fc_product;

/* One phase of one step of a cell, for the units of the panels and some rows: the
 * recurrent product tile by tile, followed by the cell while a tile is in L1. */
typedef struct fc_step_job {
    const struct fc_cell *cell;
    int phase;
    void (*forward)(const struct fc_tile *); /* the cell's, of the phase */
    void *row_buffer;        /* whole_row cells: FC_MAX_ROWS x all columns */
    void *scratch;           /* operand_scratch(panels->k) bytes */
    const void *const *a;    /* operand rows: h_{t-1}, or the middle rows */
    const struct fc_tile *t; /* row pointers, and the panels' first unit; the kernel
                              * sets unit, units and recurrent of each tile in a copy */
} fc_step_job;

/* Weight gradients of some units: for every gate g and unit u of the range,
 *     out[g*units + u][:] += sum over rows p of d[p][g*stride + u] * x[p][:]
 *     bias[g*units + u]   += sum over rows p of d[p][g*stride + u]          */
typedef struct fc_weight_gradient {
    const void *d; /* first gate's column of the first row */
    ptrdiff_t d_row, d_gate;
    const void *const *x;
    ptrdiff_t first_column, rows, depth; /* x[p][first_column ..], `depth` reals: the
                                          * columns of out */
    int gates;
    const unsigned char *gate_order; /* gate of each window position */
    ptrdiff_t units, first_unit, last_unit;
    void *out;
    void *bias; /* or NULL */
    void *scratch;
    fc_watch *watch;
} fc_weight_gradient;

/* Gradients of parameters of which each unit has one value, of some units:
 *     out[v*units + u] += sum over rows p of d[p][v*stride + u] * factor
 * The factor is by_slot[p][v*stride + u], or by_row[p][u], or 1 where both are NULL. */
typedef struct fc_unit_sum {
    const void *d; /* first vector's column of the first row */
    ptrdiff_t d_row, d_vector;
    const void *by_slot; /* as d */
    const void *const *by_row;
    ptrdiff_t rows;
    int vectors;
    ptrdiff_t units, first_unit, last_unit; /* multiples of V but the last of all */
    void *out;
} fc_unit_sum;

/* Whether the call is to end; called between blocks of rows and gates. */
static inline bool fc_gradient_stops(const fc_weight_gradient *g, ptrdiff_t rows) {
    return fc_stops(g->watch,
                    (int64_t)(2 * rows) * (g->last_unit - g->first_unit) * g->depth);
}

/* The first row of the last block of `rows`; blocks begin at multiples of `block`. */
static inline ptrdiff_t fc_last_block(ptrdiff_t rows, ptrdiff_t block) {
    return rows > 0 ? (rows - 1) / block * block : -1;
}

/* A tile: rows by vectors by panels of accumulators. */
typedef struct fc_tile_shape {
    int rows, vectors, panels;
} fc_tile_shape;

/* The gradient of one query's additive scores, of `rows` rows of n features; dmemory
 * and dv are added to. */
typedef struct fc_additive_gradient {
    const void *dscores, *query, *memory, *v;
    void *dquery, *dmemory, *dv;
    ptrdiff_t rows, n;
} fc_additive_gradient;

/* One head of one sequence of an mLSTM.  Rows of q and k have `keys` reals, those of v
 * and y `values`; strides from step to step are in reals, those of y are `values`. */
typedef struct fc_mlstm_head {
    const void *q, *k, *v, *i, *f;
    ptrdiff_t q_step, k_step, v_step, i_step, f_step;
    void *y;
    /* c (keys, values), n (keys), m (1): the states before, which may be NULL for zeros
     * but not before a single step, and those after, which may be the same, or NULL. */
    const void *first_c, *first_n, *first_m;
    void *c, *n, *m;
    ptrdiff_t steps, keys, values;
    double scale, eps;
    fc_watch *watch;
} fc_mlstm_head;

typedef struct fc_kernels {
    char isa[FC_ISA_BYTES];
    bool native;     /* narrow operands are multiplied by one instruction */
    bool wants_blas; /* a good BLAS is faster (docs/architecture.md) */
    int lanes;
    int panel; /* vectors of a panel, at most */
    size_t real_size;
    const struct fc_cell *const *cells; /* in the order of cells/registry.h */
    int cell_count;
    void (*product)(const fc_panels *, const fc_product *);
    void (*step)(const fc_panels *, const fc_step_job *);
    /* The first tile of `product` and `step`, for at least one row. */
    fc_tile_shape (*tile_shape)(const fc_panels *, ptrdiff_t rows);
    void (*weight_gradient)(const fc_weight_gradient *);
    size_t (*weight_gradient_scratch)(ptrdiff_t depth); /* bytes */
    void (*unit_sum)(const fc_unit_sum *);
    ptrdiff_t gradient_block;               /* rows of x in its scratch */
    int group;                              /* k in one operand */
    bool trains;                            /* has weight gradients */
    bool scales;                            /* its panels have `scale` and `zero` */
    size_t (*operand_scratch)(ptrdiff_t k); /* bytes */
    void (*pack)(const fc_panels *, ptrdiff_t vector, const fc_columns *);
    void (*add)(void *to, const void *a, ptrdiff_t n); /* to += a */
    /* Units first .. last-1, of whole vectors, of a row of input parts: each gate's +=
     * a[gate * units + unit], of the units that there are. */
    void (*add_gates)(void *row, const void *a, int gates, ptrdiff_t units,
                      ptrdiff_t first, ptrdiff_t last);
    /* y = max(y, a); where = step if it is a's; a NaN stays. */
    void (*maximum)(void *y, int32_t *where, const void *a, int32_t step, ptrdiff_t n);
    void (*multiply)(void *to, const void *a, const void *b, ptrdiff_t n);
    /* to = fresh where the factor is not 0, else old; factors NULL: fresh and `share`
     * of old - fresh.  Backward: d, the gradient of `to`,
     * becomes the gradient of fresh, and pass the gradient of old. */
    void (*zone)(void *to, const void *fresh, const void *old, const void *factors,
                 double share, ptrdiff_t n);
    void (*zone_backward)(void *d, void *pass, const void *factors, double share,
                          ptrdiff_t n);
    double (*cross_entropy)(const void *logits, ptrdiff_t n, ptrdiff_t target,
                            double smoothing, double scale, void *dlogits);
    /* See attention.h; each call is for one query. */
    void (*additive_scores)(const void *q, const void *memory, const void *v,
                            ptrdiff_t rows, ptrdiff_t n, void *scores);
    void (*additive_backward)(const fc_additive_gradient *);
    void (*softmax)(void *x, ptrdiff_t n);
    void (*softmax_backward)(void *dy, const void *y, ptrdiff_t n);
    /* See mlstm.h; only of the tables of f32 and f64. */
    size_t (*mlstm_scratch)(ptrdiff_t keys, ptrdiff_t values); /* bytes */
    void (*mlstm_sequence)(const fc_mlstm_head *, void *scratch);
    void (*mlstm_step)(const fc_mlstm_head *); /* of a sequence of one step */
    /* See dropout.h. */
    void (*dropout)(uint64_t key, uint64_t block, uint32_t least, double factor,
                    const void *x, void *y, ptrdiff_t n);
    void (*update[FC_UPDATES])(const void *rule, const struct fc_parameter *);
    double (*sum_of_squares)(const void *x, ptrdiff_t n);
    void (*elementary)(int function, const void *x, void *y, ptrdiff_t n);
} fc_kernels;

#define FC_DECLARE_KERNELS(isa)                                                        \
    extern const fc_kernels fc_kernels_##isa##_f32, fc_kernels_##isa##_f64,            \
        fc_kernels_##isa##_bf16, fc_kernels_##isa##_int8;
FC_DECLARE_KERNELS(portable)
#if defined(__x86_64__)
FC_DECLARE_KERNELS(avx2)
FC_DECLARE_KERNELS(avx512)
/* Tables with an instruction for the narrow products; the results are the same. */
extern const fc_kernels fc_kernels_avx2_int8_native, fc_kernels_avx512_bf16_native,
    fc_kernels_avx512_int8_native;
#elif defined(__aarch64__)
FC_DECLARE_KERNELS(neon)
#endif

#endif

/* Dense layers, losses over their outputs, and functions of elements: a part of
 * fastcell.h, which includes it. Its rules for memory and threads hold here too. */
#ifndef FASTCELL_DENSE_H
#define FASTCELL_DENSE_H

#ifndef FASTCELL_H
#error "include fastcell.h"
#endif

/* A dense layer, y = x W^T + b, with W (O, I). */
typedef struct fc_linear {
    fc_dtype dtype; /* FC_F32 or FC_F64 */
    ptrdiff_t in, out;
} fc_linear;

/* b (O) or NULL for zero. */
FC_API fc_status fc_linear_pack_size(const fc_linear *layer, fc_pack_kind kind,
                                     size_t *bytes);
FC_API fc_status fc_linear_pack(const fc_linear *layer, fc_pack_kind kind,
                                const void *w, const void *b, void *packed);
/* x (rows, I) -> y (rows, O), both contiguous. */
FC_API fc_status fc_linear_forward(const fc_linear *layer, const void *packed,
                                   ptrdiff_t rows, const void *x, void *y, int threads);

/* dx = dy W;  dw += dy^T x;  db += column sums of dy.  Each of the three may be NULL,
 * and db is added to only with dw. */
typedef struct fc_linear_backward_io {
    const void *x, *dy; /* (rows, I), (rows, O) */
    void *dx, *dw, *db; /* (rows, I), (O, I), (O) */
    const fc_blas *blas;
} fc_linear_backward_io;

FC_API fc_status fc_linear_scratch_size(const fc_linear *layer, ptrdiff_t rows,
                                        int threads, size_t *bytes);
FC_API fc_status fc_linear_backward(const fc_linear *layer, const void *packed_backward,
                                    ptrdiff_t rows, const fc_linear_backward_io *io,
                                    void *scratch, int threads);

/* Rows of logits and the class that each of them is meant to be. */
typedef struct fc_softmax_loss {
    fc_dtype dtype; /* FC_F32 or FC_F64, of the logits */
    ptrdiff_t rows, n;
    const void *logits;     /* (rows, n), before the softmax */
    const int64_t *targets; /* (rows) */
    int64_t ignore_index;   /* rows with this target: loss and gradient 0 */
    double smoothing;       /* the part of the target spread evenly over all classes */
    double scale;           /* a factor of the gradient */
} fc_softmax_loss;

/* Softmax cross-entropy of each row, loss (rows), and its gradient dlogits (rows, n).
 */
FC_API fc_status fc_cross_entropy(const fc_softmax_loss *problem, double *loss,
                                  void *dlogits, int threads);

/* Connectionist temporal classification (Graves et al., ICML 2006): labels without
 * their alignment to the steps.  Labels are classes other than the blank. */
typedef struct fc_ctc {
    fc_dtype dtype; /* FC_F32 or FC_F64, of the logits */
    ptrdiff_t steps, rows, n, most_labels;
    const void *logits;           /* (T, B, n), before the softmax */
    const int64_t *lengths;       /* (B): steps of each row; NULL: all of T */
    const int64_t *labels;        /* (B, most_labels) */
    const int64_t *label_lengths; /* (B): number of labels of each row */
    int64_t blank;
    int zero_infinity;   /* not 0: loss and gradient are 0 if no path gives the labels;
                          * 0: the loss is infinite then, the gradient NaN */
    const double *scale; /* (B): factor of the gradient of each row */
} fc_ctc;

FC_API fc_status fc_ctc_scratch_size(const fc_ctc *problem, int threads, size_t *bytes);
/* loss (B) = -log P(labels | logits), and its gradient dlogits (T, B, n), 0 past the
 * lengths, or NULL.  Sums are computed in double.  Minus infinity excludes a class; a
 * row with a NaN or with plus infinity has the loss and the gradient NaN. */
FC_API fc_status fc_ctc_loss(const fc_ctc *problem, double *loss, void *dlogits,
                             void *scratch, int threads);

/* y[i] = exp, sigmoid or tanh of x[i]. */
FC_API fc_status fc_exp(fc_dtype dtype, ptrdiff_t n, const void *x, void *y);
FC_API fc_status fc_sigmoid(fc_dtype dtype, ptrdiff_t n, const void *x, void *y);
FC_API fc_status fc_tanh(fc_dtype dtype, ptrdiff_t n, const void *x, void *y);

#endif

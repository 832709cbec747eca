/* The mLSTM, forward: a part of fastcell.h, which includes it.  Its rules for memory
 * and threads hold here too.
 *
 * An mLSTM (Beck et al. 2024, arXiv:2405.04517) has a matrix C as memory, a normaliser
 * n and a stabiliser m, and no recurrent weights: the caller computes q, k, v and the
 * pre-activations of the two gates from the input alone.  For each head
 *
 *     m_t = max(log sigmoid(f_t) + m_{t-1}, i_t)
 *     C_t = f' C_{t-1} + i' k_t v_t^T,   n_t = f' n_{t-1} + i' k_t
 *           with f' = exp(log sigmoid(f_t) + m_{t-1} - m_t),  i' = exp(i_t - m_t)
 *     y_t = s C_t^T q_t / (max(|s n_t . q_t|, exp(-m_t)) + eps) */
#ifndef FASTCELL_MLSTM_H
#define FASTCELL_MLSTM_H

#ifndef FASTCELL_H
#error "include fastcell.h"
#endif

typedef struct fc_mlstm {
    fc_dtype dtype;                /* FC_F32 or FC_F64 */
    ptrdiff_t batch, heads, steps; /* B, H, T */
    ptrdiff_t keys, values;        /* K, N: reals of a row of q and k, of v and y */
    double scale;                  /* s, usually K^-0.5 */
    double eps;                    /* >= 0 */
} fc_mlstm;

/* An array (B, H, T, n) of contiguous rows, with the strides of its other axes, in
 * reals.  NULL if it has no elements. */
typedef struct fc_mlstm_rows {
    const void *data;
    ptrdiff_t batch, head, step;
} fc_mlstm_rows;

/* The states before may be all NULL for zeros, or be those after.  Those after may be
 * all NULL if they are not wanted, except after a single step.  y overlaps no other
 * array. */
typedef struct fc_mlstm_io {
    fc_mlstm_rows q, k, v; /* n: K, K, N */
    fc_mlstm_rows i, f;    /* n: 1; the gates' pre-activations */
    void *y;               /* (B, H, T, N) */
    const void *first_c, *first_n, *first_m;
    void *c, *n, *m; /* (B, H, K, N), (B, H, K), (B, H): the states after */
} fc_mlstm_io;

FC_API fc_status fc_mlstm_scratch_size(const fc_mlstm *problem, int threads,
                                       size_t *bytes);
/* Computes chunks of steps at a time, by products of matrices.  The threads have
 * different heads and change no bit; results of a sequence in parts differ by rounding.
 * What is not finite stays in its head and does not reach earlier steps. */
FC_API fc_status fc_mlstm_forward(const fc_mlstm *problem, const fc_mlstm_io *io,
                                  void *scratch, int threads);
/* The same for T = 1, in one pass over C. */
FC_API fc_status fc_mlstm_step(const fc_mlstm *problem, const fc_mlstm_io *io,
                               int threads);

#endif

/* fastcell: recurrent networks on the CPU.  The only public header.
 *
 * Letters: T steps, B rows (batch), I input features, H hidden units, P projected units
 * (H where nothing is projected), G gates, L layers, D directions.
 *
 * A *stack* is L layers of one cell in D directions.  Using it takes four steps, and
 * the caller owns all memory:
 *
 *     fc_pack_size, fc_pack          weights -> packed weights, once per weight version
 *     fc_saved_size, fc_scratch_size
 *     fc_forward                     with `saved`: training; without: inference
 *     fc_backward                    gradients, from `saved`, which it uses up
 *
 * *saved* is kept from forward to backward; *scratch* is garbage after every call and
 * may be shared by calls that do not overlap.  No function prints, exits or keeps a
 * pointer; nothing allocates.  Functions may be called from several threads at once,
 * and after fork.  `threads` counts the caller; results of forward do not depend on it.
 * All arrays are of the stack's dtype, row-major, and do not overlap.
 *
 * Memory whose size a query tells begins at a multiple of 64 bytes, else
 * FC_BAD_ALIGNMENT: packed weights (of stacks and of dense layers), saved, streams,
 * carries, and all scratch.  Sizes are multiples of 64, as aligned_alloc wants them.
 * The caller's own arrays need no alignment beyond that of their numbers.
 *
 * Packed weights, saved, streams and carries hold no address: their bytes may be moved,
 * or copied by memcpy, to other memory that is aligned, and serve there as before, in
 * processes with the same library and instruction set.  They begin with a seal that
 * tells what they are and what they were made for.  Each call that takes them looks at
 * it first: memory of another kind, of another stack or layer or batch, made under
 * another instruction set, or never written, is FC_BAD_MEMORY, and nothing in it is
 * followed.
 *
 * Weights are laid out as in torch.nn: w_ih (G H, I or D P), w_hh (G H, P), b_ih and
 * b_hh (G H) or NULL for zero, w_hr (P, H) for the projected LSTM; gate order i f g o
 * (LSTM), r z n (GRU).  Parameters of a cell's own have a value for each unit, and are
 * as fc_cell_own tells.  Arrays of weights hold layer 0 forward, layer 0 reverse,
 * layer 1 forward, and so on.  States h (L D, B, P) and c (L D, B, H) likewise. */
#ifndef FASTCELL_H
#define FASTCELL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define FC_API __attribute__((visibility("default")))
#else
#define FC_API
#endif

typedef enum fc_status {
    FC_OK = 0,
    FC_BAD_ARGUMENT,  /* a NULL, a negative size, or a combination that has no meaning */
    FC_BAD_LENGTH,    /* a length below 0 or above T */
    FC_BAD_INDEX,     /* an index outside 0 .. x_rows-1, or a target outside 0 .. n-1 */
    FC_TOO_LARGE,     /* a size that does not fit size_t */
    FC_NO_ISA,        /* the instruction set is unknown, or not of this CPU */
    FC_BAD_ALIGNMENT, /* memory of the core's that is not at a multiple of 64 bytes */
    FC_BAD_MEMORY,    /* packed weights, saved, a stream or a carry that is none, or was
                       * made for something else; see above */
    FC_USED_UP,       /* saved that an earlier backward has used, or begun to use */
    FC_INTERRUPTED,   /* the function of fc_set_stop wanted the call to end */
} fc_status;

/* FC_BF16 and FC_INT8, for stacks: arrays, states and gradients are float32, and so is
 * all arithmetic but the products, whose operands are rounded to bfloat16, or to 8 bits
 * with a scale for each row and each column.  FC_INT8 does not train.  The products are
 * the same on every instruction set, with instructions for them or without. */
typedef enum fc_dtype { FC_F32 = 0, FC_F64 = 1, FC_BF16 = 2, FC_INT8 = 3 } fc_dtype;

/* ---- instruction sets, threads, cells ------------------------------------------ */

/* Names of the sets this CPU and build have, best last; NULL past the end. */
FC_API const char *fc_isa_name(int which);
/* The set in use: the best, until fc_isa_select names another.  Packed weights, saved,
 * streams and carries belong to the set they were made under, and are FC_BAD_MEMORY
 * under another. */
FC_API const char *fc_isa(void);
FC_API fc_status fc_isa_select(const char *name);
/* Would weight gradients use a BLAS, if they were given one? */
FC_API int fc_wants_blas(void);
/* Vector lanes of the set in use. */
FC_API int fc_lanes(fc_dtype dtype);

/* Long calls that this thread makes from now on ask `stop`, on this thread, about every
 * 20 ms: between steps, blocks of rows and blocks of products.  Where it returns not 0
 * the call ends with FC_INTERRUPTED, in all its threads.  What it was to fill, or to add
 * to, is garbage then: outputs, gradients (of weights, too), a segment's carry; `saved`
 * is used up.  Weights and all other input are as they were.  NULL, as at first: none is
 * asked.  The asking calls are fc_forward, fc_backward, fc_linear_forward,
 * fc_linear_backward, fc_cross_entropy, fc_ctc_loss and those of attention.  All others
 * run to their end: they are short, or change what they were given in place, as the
 * optimizers and the streams do.
 *
 * `stop` may call this library, and may fork.  A child that goes on in the call, in
 * place of leaving it by exec or _exit, has lost the other threads, if the call had any:
 * there it ends with FC_INTERRUPTED. */
FC_API void fc_set_stop(int (*stop)(void *context), void *context);

/* Ends the threads that work for the calls of this process, when they have done what
 * they are at; the next call that wants threads starts them again.  This happens by
 * itself when the library is unloaded and when the process exits: no call may run then,
 * but in a process that exits, where it is left alone. */
FC_API void fc_shutdown(void);

/* Lets calls share their work among the threads of an OpenMP runtime that the process
 * uses anyway, in place of threads of their own: two sets of threads, of which one still
 * spins when the other has work, cost both of them time.
 *
 * `parallel` is GOMP_parallel, which the runtimes of GCC, LLVM and Intel have; the others
 * are omp_get_max_threads, omp_get_num_threads and omp_get_thread_num.  A call within a
 * parallel region works alone.  NULL: threads of their own again.  A child after fork goes
 * back to them by itself, as OpenMP has no threads there.  The function waits for a call
 * that runs in another thread; within a call it does nothing. */
typedef struct fc_openmp {
    void (*parallel)(void (*fn)(void *), void *data, unsigned threads, unsigned flags);
    int (*max_threads)(void), (*num_threads)(void), (*thread_num)(void);
} fc_openmp;

FC_API void fc_use_openmp(const fc_openmp *runtime);

/* What it costs on this machine to share work among threads: whether a call has several,
 * and whether they share the units of a step, follows from it, and nothing else does. */
typedef struct fc_thread_costs {
    double turn_ns;      /* a barrier of two threads in a step, the caches included */
    double hand_over_ns; /* to give a job to threads that are awake, and to end it */
    double wake_ns;      /* the same of threads that sleep */
    double flop_per_ns;  /* what a thread computes of one row, float32 */
} fc_thread_costs;

/* Measured once, each when a call with several threads first depends on it, in some
 * tenths of a millisecond (wake_ns: 1 to 2).  These take the place of what would be
 * measured, so that decisions do not depend on the machine; NULL: measure when needed
 * next.  FC_BAD_ARGUMENT for numbers below 0, infinite or NaN. */
FC_API fc_status fc_set_thread_costs(const fc_thread_costs *costs);
/* The costs in use; those not known yet are measured.  Returns 1; 0 if some could not be
 * measured, because the cores were busy: those have typical values. */
FC_API int fc_get_thread_costs(fc_thread_costs *costs);

/* Index of a cell by name ("rnn_tanh", "lstm", ...), or -1; name by index, or NULL. */
FC_API int fc_cell_index(const char *name);
FC_API const char *fc_cell_name(int cell);
FC_API int fc_cell_gates(int cell);
FC_API int fc_cell_states(int cell);

/* What a parameter begins with: drawn as the weights are, or a number. */
typedef enum fc_initial { FC_DRAWN, FC_ZEROS, FC_ONES } fc_initial;

/* A parameter that a cell has beside weights and biases: `vectors` vectors of H values,
 * one behind the other. */
typedef struct fc_unit_parameter {
    const char *name; /* as in "weight_ch", without a layer's suffix */
    int vectors;
    fc_initial initial;
} fc_unit_parameter;

/* Parameter `which` of a cell's own, of FC_MOST_OWN at most.  Returns 1; 0 past the
 * last, with *own as it was. */
enum { FC_MOST_OWN = 4 };
FC_API int fc_cell_own(int cell, int which, fc_unit_parameter *own);

/* ---- recurrent stacks ---------------------------------------------------------- */

typedef struct fc_stack {
    int cell;
    fc_dtype dtype;
    ptrdiff_t input_size, hidden_size;
    ptrdiff_t proj_size; /* 0 unless the cell projects; then 1 .. hidden_size */
    int layers, directions;
} fc_stack;

typedef struct fc_weights {
    const void *w_ih, *w_hh, *b_ih, *b_hh, *w_hr;
    const void *own[FC_MOST_OWN]; /* as fc_cell_own tells */
} fc_weights;

typedef struct fc_gradients {
    void *w_ih, *w_hh, *b_ih, *b_hh, *w_hr; /* NULL: not wanted; a bias with its w */
    void *own[FC_MOST_OWN];                 /* NULL: not wanted */
} fc_gradients;

typedef enum fc_pack_kind { FC_PACK_FORWARD, FC_PACK_BACKWARD } fc_pack_kind;

FC_API fc_status fc_pack_size(const fc_stack *stack, fc_pack_kind kind, size_t *bytes);
FC_API fc_status fc_pack(const fc_stack *stack, fc_pack_kind kind,
                         const fc_weights *weights, void *packed, int threads);

/* One batch of sequences, and what forward and backward share about it.
 *
 * x: element (t, b, i) at x[t * x_step + b * x_row + i]; or, with `index` (T, B), row
 *    index[t, b] of x, which then has x_rows rows of x_row reals: the gather path of
 *    an embedding, without any input product per step.
 * lengths: (B,) or NULL.  Steps at or past a row's length do not exist: its y is 0,
 *    its final state that of its last step, in both directions.
 * mask: (T, B) bytes or NULL.  Where 0 the step is skipped: the state stays, y is h.
 * reset: (T, B) bytes or NULL.  Where not 0 a new episode begins with the step, masked
 *    or not: steps t-1 and t know nothing of each other, in both directions.  The state
 *    is zero before step t; in the reverse direction, which comes from t, before t-1.
 *    reset[0] drops the forward direction's initial state, and is nothing to the
 *    reverse one, which ends there: its final state is that of the first episode, as
 *    its initial state is the last one's.  Past a row's length there is no episode.
 * h0, c0: initial states, NULL for zero.
 * dropout: (L-1, T, B, D P) factors for the outputs between layers, or NULL.
 *
 * fc_forward keeps lengths, mask, reset, index and the initial states in `saved`; they
 * may be written to when it has returned.  x and dropout, which are large, are read
 * once more by fc_backward, and must be then what they were. */
typedef struct fc_batch {
    ptrdiff_t steps, rows;
    const void *x;
    ptrdiff_t x_step, x_row;
    const int32_t *index;
    ptrdiff_t x_rows;
    const int64_t *lengths;
    const uint8_t *mask, *reset;
    const void *h0, *c0;
    const void *dropout;
    int threads; /* >= 1; the same for the size queries and the calls */
    /* Not 0: `saved` keeps states but no gates, which is a third of it for an LSTM;
     * fc_backward makes the gates again, some steps at a time, with the same bits. */
    int recompute;
} fc_batch;

FC_API fc_status fc_saved_size(const fc_stack *stack, const fc_batch *batch,
                               size_t *bytes);
/* For fc_forward with or without saved (training 1 or 0), and fc_backward (2).  Enough
 * for any lengths and mask, which are not read. */
FC_API fc_status fc_scratch_size(const fc_stack *stack, const fc_batch *batch,
                                 int training, size_t *bytes);
/* What fc_saved_size told for the batch that is in `saved` now, from its first
 * FC_SAVED_HEAD bytes; FC_BAD_MEMORY, or FC_USED_UP. */
enum { FC_SAVED_HEAD = 128 };
FC_API fc_status fc_saved_bytes(const void *saved, size_t *bytes);

enum {
    FC_SHARED_ONE_THREAD, /* no more were given */
    FC_SHARED_LITTLE,     /* the call is worth one thread */
    FC_SHARED_DIRECTIONS, /* each has its threads */
    FC_SHARED_ROWS,       /* there are enough of them */
    FC_SHARED_UNITS,      /* a team */
    FC_SHARED_NARROW,     /* no team: H is one panel, or the cell wants whole rows */
    FC_SHARED_SHORT,      /* no team: a barrier costs more than it spares in a step */
};

/* How the core will compute a batch: the decisions that the size queries and the calls
 * take, told beforehand. */
typedef struct fc_description {
    const char *isa;  /* of the kernels in use */
    int native;       /* 1: an instruction multiplies the narrow operands themselves */
    int lanes, group; /* reals of a vector; numbers in one operand: 2 bf16, 4 int8 */
    int threads;      /* that take part in the products over all steps */
    int small;        /* 1: shared only while the pool is awake, else by one thread */
    /* The time loop: D directions, each in ranges of rows, each range with a team whose
     * members share the units of every step.  With more ranges than threads, and then
     * without teams, a thread takes several. */
    int loop_threads, row_parts, members;
    int sharing;    /* why there is a team or none: FC_SHARED_... */
    double step_ns; /* about, of the recurrent product of a step, by one thread */
    /* The largest share of a step: rows and vectors of columns of the recurrent product
     * (of the first phase), cut into tiles of tile_rows by tile_vectors vectors by
     * tile_panels panels.  Tiles at the edges are smaller.  0 where there are no rows.
     */
    ptrdiff_t rows, vectors;
    int tile_rows, tile_vectors, tile_panels;
    size_t weight_bytes;    /* as given, all layers, with biases */
    size_t packed_bytes;    /* for this call, all layers */
    size_t recurrent_bytes; /* packed, of one layer and direction: read in every step */
    size_t saved_bytes;     /* 0 for inference */
    size_t scratch_bytes;
    /* Multiplications and additions of the products, all layers, of active steps, in
     * real units and not in padded ones: all of them, and those with R (and W_hr).
     * Gates are not counted; what backward makes again (recompute) is. */
    double flop, recurrent_flop;
} fc_description;

/* training: 0 inference, 1 forward with saved, 2 backward.  Of the batch's arrays only
 * lengths and mask are read. */
FC_API fc_status fc_describe(const fc_stack *stack, const fc_batch *batch, int training,
                             fc_description *description);

/* y: element (t, b, j) at y[t * y_step + b * y_row + j], j < D P.  Rows that overlap,
 * as with strides of 0, are FC_BAD_ARGUMENT.  h, c: final states, NULL where not
 * wanted.  saved: NULL for inference. */
typedef struct fc_output {
    void *y;
    ptrdiff_t y_step, y_row;
    void *h, *c;
} fc_output;

FC_API fc_status fc_forward(const fc_stack *stack, const void *packed,
                            const fc_batch *batch, const fc_output *output, void *saved,
                            void *scratch);

/* A BLAS of the caller's, by the Fortran interface.  Weight gradients use it where the
 * instruction set in use has no kernel as fast; NULL (or a NULL member): never. */
typedef struct fc_blas {
    void (*sgemm)(char *, char *, int *, int *, int *, float *, float *, int *, float *,
                  int *, float *, float *, int *);
    void (*dgemm)(char *, char *, int *, int *, int *, double *, double *, int *,
                  double *, int *, double *, double *, int *);
} fc_blas;

/* A batch whose steps are a part of longer sequences.  Backward goes through the parts
 * from the last to the first, dh0 and dc0 of one being dh and dc of the next, and all
 * add to the same gradients of weights: then those have the bits of the whole.  With
 * `index`, x and x_rows are the same for all parts, and dx is written, and the table's
 * gradients are added, with the first part.  D = 1.
 *
 * steps_before, steps_after: steps of the sequences that are in earlier and in later
 * parts.  pairs_before: of the former, those that exist and are not masked, of all rows
 * together.  carry: of fc_carry_size bytes (of any part), kept from call to call; the
 * last part begins it in any memory, and another part that does not end where that of
 * the call before began is FC_BAD_ARGUMENT. */
typedef struct fc_segment {
    ptrdiff_t steps_before, steps_after, pairs_before;
    void *carry;
} fc_segment;

FC_API fc_status fc_carry_size(const fc_stack *stack, const fc_batch *batch,
                               size_t *bytes);

/* dy as y, or NULL for zeros; dh, dc: gradients of the final states, or NULL.  dx as x,
 * with its own strides, or NULL; with `index`, (x_rows, I) and contiguous.  Rows of dy
 * or of dx that overlap are FC_BAD_ARGUMENT.  dh0, dc0 or NULL.  Gradients of
 * activations are overwritten; those of weights are added to. */
typedef struct fc_backward_io {
    const void *dy;
    ptrdiff_t dy_step, dy_row;
    const void *dh, *dc;
    void *dx;
    ptrdiff_t dx_step, dx_row;
    void *dh0, *dc0;
    const fc_gradients *weights; /* [L D] */
    const fc_blas *blas;
    const void *packed_forward; /* needed to recompute, else NULL */
    const fc_segment *segment;  /* NULL: the batch is all of its sequences */
} fc_backward_io;

/* Of the batch, steps, rows, x_rows and recompute are as they were in forward, else
 * FC_BAD_MEMORY, and of index only whether there is one; lengths, mask, reset, h0 and
 * c0 are not read: `saved` has them.  A call that is not refused uses `saved` up, from
 * its beginning on, by one atomic exchange: another backward gets FC_USED_UP, also
 * where both begin at once. */
FC_API fc_status fc_backward(const fc_stack *stack, const void *packed_backward,
                             const fc_batch *batch, const fc_backward_io *io,
                             void *saved, void *scratch);

/* ---- streaming: one step at a time ---------------------------------------------- */

/* The states of `rows` streams.  A state starts zeroed (all bytes 0), to which the
 * first call gives its seal, or by fc_stream_set, which makes it of any memory.  Bits
 * equal those of fc_forward over the whole sequence.  D = 1. */
FC_API fc_status fc_stream_size(const fc_stack *stack, ptrdiff_t rows, size_t *bytes);
FC_API fc_status fc_stream_set(const fc_stack *stack, ptrdiff_t rows, void *stream,
                               const void *h, const void *c);
FC_API fc_status fc_stream_get(const fc_stack *stack, ptrdiff_t rows,
                               const void *stream, void *h, void *c);
/* `to` becomes a copy of `from`, and goes on alike.  They do not overlap. */
FC_API fc_status fc_stream_copy(const fc_stack *stack, ptrdiff_t rows, const void *from,
                                void *to);
/* x (rows, I) -> y (rows, P), both contiguous. */
FC_API fc_status fc_stream_step(const fc_stack *stack, const void *packed,
                                ptrdiff_t rows, const void *x, void *y, void *stream);

/* The same for some of the streams: `which` (count,) numbers below `rows`, each at most
 * once, else FC_BAD_INDEX, or NULL for all; h, c, x and y have `count` rows.  The
 * others stay as they are.  All that arrive together share one product, and have the
 * bits of each alone. */
FC_API fc_status fc_stream_set_some(const fc_stack *stack, ptrdiff_t rows, void *stream,
                                    const int64_t *which, ptrdiff_t count,
                                    const void *h, const void *c);
FC_API fc_status fc_stream_get_some(const fc_stack *stack, ptrdiff_t rows, void *stream,
                                    const int64_t *which, ptrdiff_t count, void *h,
                                    void *c);
FC_API fc_status fc_stream_step_some(const fc_stack *stack, const void *packed,
                                     ptrdiff_t rows, const int64_t *which,
                                     ptrdiff_t count, const void *x, void *y,
                                     void *stream, int threads);

/* ---- dense layers and the loss -------------------------------------------------- */

/* y = x W^T + b, W (O, I), rows of x and y contiguous. */
FC_API fc_status fc_linear_pack_size(fc_dtype dtype, ptrdiff_t in, ptrdiff_t out,
                                     fc_pack_kind kind, size_t *bytes);
FC_API fc_status fc_linear_pack(fc_dtype dtype, ptrdiff_t in, ptrdiff_t out,
                                fc_pack_kind kind, const void *w, const void *b,
                                void *packed);
FC_API fc_status fc_linear_forward(fc_dtype dtype, ptrdiff_t in, ptrdiff_t out,
                                   const void *packed, ptrdiff_t rows, const void *x,
                                   void *y, int threads);
/* dx = dy W (dx may be NULL);  dw += dy^T x;  db += column sums of dy (or NULL). */
FC_API fc_status fc_linear_scratch_size(fc_dtype dtype, ptrdiff_t in, ptrdiff_t out,
                                        ptrdiff_t rows, int threads, size_t *bytes);
FC_API fc_status fc_linear_backward(fc_dtype dtype, ptrdiff_t in, ptrdiff_t out,
                                    const void *packed_backward, ptrdiff_t rows,
                                    const void *x, const void *dy, void *dx, void *dw,
                                    void *db, const fc_blas *blas, void *scratch,
                                    int threads);

/* Softmax cross-entropy per row of logits (rows, n): loss[row], and its gradient times
 * `scale`.  Rows whose target is ignore_index: loss and gradient 0. */
FC_API fc_status fc_cross_entropy(fc_dtype dtype, ptrdiff_t rows, ptrdiff_t n,
                                  const void *logits, const int64_t *targets,
                                  int64_t ignore_index, double smoothing, double scale,
                                  double *loss, void *dlogits, int threads);

/* Connectionist temporal classification (Graves et al., ICML 2006): rows of labels
 * without their alignment to the steps.  Labels are classes other than the blank. */
typedef struct fc_ctc {
    fc_dtype dtype; /* FC_F32 or FC_F64, of the logits */
    ptrdiff_t steps, rows, n, most_labels;
    const void *logits;           /* (T, B, n), before the softmax */
    const int64_t *lengths;       /* (B): steps of each row; NULL: all of T */
    const int64_t *labels;        /* (B, most_labels) */
    const int64_t *label_lengths; /* (B): how many of them count */
    int64_t blank;
    int zero_infinity;   /* where no path gives the labels: 0, and not loss inf and
                          * gradient NaN */
    const double *scale; /* (B): the gradient of each row is times this */
} fc_ctc;

FC_API fc_status fc_ctc_scratch_size(const fc_ctc *problem, int threads, size_t *bytes);
/* loss (B) = -log P(labels | logits), and its gradient dlogits (T, B, n), 0 past the
 * lengths, or NULL.  Sums are made in double.  A row with a NaN or an infinity (minus
 * infinity excludes a class) has the loss NaN and so has its gradient. */
FC_API fc_status fc_ctc_loss(const fc_ctc *problem, double *loss, void *dlogits,
                             void *scratch, int threads);

/* ---- attention ------------------------------------------------------------------ */

/* For each of `batch` sequences, `queries` look up a memory of `steps` rows.  Scores
 * and weights are (batch, queries, steps); those of rows past the lengths are 0. */
typedef struct fc_attention {
    fc_dtype dtype; /* FC_F32 or FC_F64 */
    ptrdiff_t batch, queries, steps;
    const int64_t *lengths; /* (batch): rows of each memory; NULL: all */
} fc_attention;

/* The additive score, sum over i of v_i tanh(query_i + memory_i): what it reads. */
typedef struct fc_additive {
    ptrdiff_t n;
    const void *query;  /* (batch, queries, n) */
    const void *memory; /* (batch, steps, n) */
    const void *v;      /* (n) */
} fc_additive;

FC_API fc_status fc_additive_scores(const fc_attention *sizes, const fc_additive *score,
                                    void *scores, int threads);
FC_API fc_status fc_additive_scratch_size(const fc_attention *sizes, ptrdiff_t n,
                                          size_t *bytes);
/* dquery, and the gradients that are added to dmemory and dv, where calls share them.
 * No bit depends on the threads. */
FC_API fc_status fc_additive_backward(const fc_attention *sizes,
                                      const fc_additive *score, const void *dscores,
                                      void *dquery, void *dmemory, void *dv,
                                      void *scratch, int threads);
/* Scores to weights, the softmax over the rows of the memory, in place. */
FC_API fc_status fc_attention_weights(const fc_attention *sizes, void *scores,
                                      int threads);
/* The gradient of the weights to that of the scores, in place. */
FC_API fc_status fc_attention_weights_backward(const fc_attention *sizes,
                                               const void *weights, void *dweights,
                                               int threads);

/* ---- steps and rows ------------------------------------------------------------- */

/* h is (steps, rows, n); lengths (rows), 0 to steps, or NULL for all steps.  A row of
 * no steps has zeros. */

/* y (rows, n) = the sum over the steps of each row, one after the other. */
FC_API fc_status fc_sum_steps(fc_dtype dtype, ptrdiff_t steps, ptrdiff_t rows,
                              ptrdiff_t n, const int64_t *lengths, const void *h,
                              void *y);
/* y = the largest over the steps, and the step it is from, the first of equal ones.  A
 * NaN stays. */
FC_API fc_status fc_max_steps(fc_dtype dtype, ptrdiff_t steps, ptrdiff_t rows,
                              ptrdiff_t n, const int64_t *lengths, const void *h,
                              void *y, int32_t *where);
/* The gradients of both: dh = dy in every step that there is, or, with `where`, in the
 * step that it tells; 0 elsewhere. */
FC_API fc_status fc_spread_steps(fc_dtype dtype, ptrdiff_t steps, ptrdiff_t rows,
                                 ptrdiff_t n, const int64_t *lengths,
                                 const int32_t *where, const void *dy, void *dh);
/* Row ids[i] of the table (count, n) += row i of x (rows, n), one after the other. */
FC_API fc_status fc_add_rows(fc_dtype dtype, ptrdiff_t rows, ptrdiff_t n,
                             const int64_t *ids, const void *x, ptrdiff_t count,
                             void *table);

/* y = x / (1 - p) for a share 1 - p of the numbers, chosen by `key` and their places,
 * and 0 for the others; the same choice under every instruction set, so that backward,
 * which is dx = dropout(dy) with the same key, needs no mask.  x may be y; NULL: ones.
 * Salmon et al. 2011: Threefry2x32-20. */
FC_API fc_status fc_dropout(fc_dtype dtype, ptrdiff_t n, double p, uint64_t key,
                            const void *x, void *y, int threads);

/* ---- optimizers ----------------------------------------------------------------- */

/* A parameter of a model: n numbers p, which a step changes, their gradient g, and what
 * the rule keeps for each of them from step to step. */
typedef struct fc_parameter {
    ptrdiff_t n;
    void *p;
    const void *g;
    void *kept[3]; /* n numbers each; NULL where the rule has no use for it */
} fc_parameter;

/* A call is one step of a rule on all parameters of a model, `count` arrays.  Threads
 * share large ones as if they were one array; no bit depends on how many there are.  In
 * each rule g += decay p, the weight decay, comes first. */

/*     b = momentum b + share g,  p -= rate b, or with nesterov  p -= rate (g + momentum
 * b) kept: b.  Without it  p -= rate g. */
typedef struct fc_sgd_rule {
    double rate, decay, momentum;
    double share; /* 1 - dampening; 1 in the first step */
    int nesterov;
} fc_sgd_rule;

/*     v = alpha v + (1 - alpha) g^2,  m += (1 - alpha) (g - m)
 *     d = g / (sqrt(max(v - m^2, 0)) + eps),  b = momentum b + d,  p -= rate b
 * kept: v, m, b.  Without m it is 0, without b  p -= rate d. */
typedef struct fc_rmsprop_rule {
    double rate, decay, alpha, eps, momentum;
} fc_rmsprop_rule;

/*     s += g^2,  p -= rate g / (sqrt(s) + eps)
 * kept: s. */
typedef struct fc_adagrad_rule {
    double rate, decay, eps;
} fc_adagrad_rule;

/* Adam and AdamW:
 *     m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2
 *     p = shrink p - rate m / (sqrt(v) root_correction + eps)
 * kept: m, v, v_max.  With the last, AMSGrad: v_max = max(v_max, v), which stands for v
 * in the last line. */
typedef struct fc_adam_rule {
    double beta1, beta2, eps;
    double rate;            /* lr / (1 - beta1^step) */
    double root_correction; /* (1 - beta2^step)^(-1/2) */
    double decay, shrink; /* weight decay in the gradient; 1 - lr decay apart from it */
} fc_adam_rule;

FC_API fc_status fc_sgd(fc_dtype dtype, const fc_sgd_rule *rule, ptrdiff_t count,
                        const fc_parameter *parameters, int threads);
FC_API fc_status fc_rmsprop(fc_dtype dtype, const fc_rmsprop_rule *rule,
                            ptrdiff_t count, const fc_parameter *parameters,
                            int threads);
FC_API fc_status fc_adagrad(fc_dtype dtype, const fc_adagrad_rule *rule,
                            ptrdiff_t count, const fc_parameter *parameters,
                            int threads);
FC_API fc_status fc_adam(fc_dtype dtype, const fc_adam_rule *rule, ptrdiff_t count,
                         const fc_parameter *parameters, int threads);

/* Clipping.  Of the arrays, gradients as a rule, only n and p are used. */

/* *sum = sum of p[i]^2 of all arrays, in double. */
FC_API fc_status fc_sum_of_squares(fc_dtype dtype, ptrdiff_t count,
                                   const fc_parameter *arrays, double *sum,
                                   int threads);
/* p[i] *= factor, which is rounded to the type first. */
FC_API fc_status fc_scale(fc_dtype dtype, double factor, ptrdiff_t count,
                          const fc_parameter *arrays, int threads);
/* p[i] = limit above it, -limit below that; a NaN stays. */
FC_API fc_status fc_clip(fc_dtype dtype, double limit, ptrdiff_t count,
                         const fc_parameter *arrays, int threads);

/* y[i] = exp, sigmoid or tanh of x[i]. */
FC_API fc_status fc_exp(fc_dtype dtype, ptrdiff_t n, const void *x, void *y);
FC_API fc_status fc_sigmoid(fc_dtype dtype, ptrdiff_t n, const void *x, void *y);
FC_API fc_status fc_tanh(fc_dtype dtype, ptrdiff_t n, const void *x, void *y);

#ifdef __cplusplus
}
#endif

#endif

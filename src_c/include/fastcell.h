/* fastcell: recurrent networks on the CPU.  The public header; it includes
 * fastcell_version.h, fastcell_options.h, fastcell_trace.h, fastcell_dense.h,
 * fastcell_mlstm.h and fastcell_optimizers.h.
 *
 * Letters: T steps, B rows (batch), I input features, H hidden units, P projected units
 * (H without a projection), G gates, L layers, D directions.
 *
 * A *stack* is L layers of one cell in D directions.  Its use takes four steps; the
 * caller allocates and owns all memory:
 *
 *     fc_pack_size, fc_pack          weights -> packed weights, once per weight version
 *     fc_saved_size, fc_scratch_size
 *     fc_forward                     with `saved`: training; without: inference
 *     fc_backward                    gradients, from `saved`, which it uses up
 *
 * *saved* is kept from forward to backward.  *scratch* needs no initialisation, has no
 * content after a call, and may be shared by calls that do not overlap in time.  No
 * function allocates, prints, exits or keeps a pointer.  Functions may be called from
 * several threads at once, and after fork.  `threads` includes the caller's; outputs of
 * forward do not depend on it.  All arrays are of the stack's dtype, row-major, and do
 * not overlap.
 *
 * Memory with a size query must begin at a multiple of 64 bytes, else the call returns
 * FC_BAD_ALIGNMENT: packed weights (of stacks and of dense layers), saved, streams,
 * carries, and all scratch.  Its sizes are multiples of 64, as aligned_alloc requires.
 * The caller's own arrays need only the alignment of their elements.
 *
 * Packed weights, saved, streams and carries do not depend on their address: their
 * bytes may be moved, or copied by memcpy, to other aligned memory, and are valid
 * there, in processes with the same library and instruction set.  They begin with a
 * seal that identifies their kind and purpose.  Each call that reads them checks it
 * first: memory of another kind, of another stack, layer or batch, made under another
 * instruction set, or never written, is FC_BAD_MEMORY, and no size in it is used.
 *
 * Weights are laid out as in torch.nn: w_ih (G H, I or D P), w_hh (G H, P), b_ih and
 * b_hh (G H) or NULL for zero, w_hr (P, H) for the projected LSTM; gate order i f g o
 * (LSTM), r z n (GRU).  A cell's own parameters are vectors with a value for each unit,
 * see fc_describe_cell.  Arrays of weights hold layer 0 forward, layer 0 reverse, layer
 * 1 forward, and so on.  States h (L D, B, P) and c (L D, B, H) likewise.  In a row of
 * c are all states beside h: of a cell with S states, c is (L D, B, S-1, H). */
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

#include "fastcell_version.h"

typedef enum fc_status {
    FC_OK = 0,
    FC_BAD_ARGUMENT,  /* a NULL, a negative size, or a meaningless combination */
    FC_BAD_LENGTH,    /* a length below 0 or above T */
    FC_BAD_INDEX,     /* an index outside 0 .. x_rows-1, or a target outside 0 .. n-1 */
    FC_TOO_LARGE,     /* a size that does not fit size_t */
    FC_NO_ISA,        /* the instruction set is unknown, or not of this CPU */
    FC_BAD_ALIGNMENT, /* memory with a size query, not at a multiple of 64 bytes */
    FC_BAD_MEMORY,    /* packed weights, saved, a stream or a carry that is not one, or
                       * was made for something else; see above */
    FC_USED_UP,       /* saved that another backward has used, or is using */
    FC_INTERRUPTED    /* the function of fc_set_stop ended the call */
} fc_status;

FC_API const char *fc_status_text(fc_status status);

/* FC_BF16 and FC_INT8 are for stacks: arrays, states, gradients and all arithmetic are
 * float32, except the products, whose operands are rounded to bfloat16, or to 8 bits
 * with a scale for each row and each column.  FC_INT8 does not train.  The products
 * have the same bits on every instruction set, with instructions for them or without.
 */
typedef enum fc_dtype { FC_F32 = 0, FC_F64 = 1, FC_BF16 = 2, FC_INT8 = 3 } fc_dtype;

/* ---- instruction sets, threads, cells ------------------------------------------ */

/* Name of a set that both CPU and build have, best last; NULL past the end. */
FC_API const char *fc_isa_name(int which);
/* The set in use: the best, until fc_isa_select names another.  Packed weights, saved,
 * streams and carries belong to the set they were made under, and are FC_BAD_MEMORY
 * under another. */
FC_API const char *fc_isa(void);
FC_API fc_status fc_isa_select(const char *name);
/* 1 if weight gradients use a BLAS when they are given one, else 0. */
FC_API int fc_wants_blas(void);
/* Vector lanes of the set in use. */
FC_API int fc_lanes(fc_dtype dtype);

/* Sets a function that later long calls of this thread call on this thread, about every
 * 20 ms: between steps, blocks of rows and blocks of products.  If it returns not 0,
 * the call ends with FC_INTERRUPTED, in all its threads.  The arrays that it fills or
 * adds to are garbage then: outputs, gradients (also of weights), a segment's carry;
 * `saved` is used up.  Weights and all other input are unchanged.  NULL, the initial
 * value: no function.  The long calls are fc_forward, fc_backward, fc_linear_forward,
 * fc_linear_backward, fc_cross_entropy, fc_ctc_loss and those of attention.  All others
 * run to their end: they are short, or update their arguments in place, as optimizers
 * and streams do.
 *
 * `stop` may call this library, and may fork.  A child that continues the call, instead
 * of leaving it by exec or _exit, lacks the call's other threads: if there were any,
 * its call ends with FC_INTERRUPTED. */
FC_API void fc_set_stop(int (*stop)(void *context), void *context);

/* Ends the library's threads in this process after their present work; the next call
 * with several threads starts new ones.  Unloading the library and exiting the process
 * do the same.  No call may run during unloading; a call that runs during exit is left
 * alone. */
FC_API void fc_shutdown(void);

/* Makes calls use the threads of an OpenMP runtime of the process instead of the
 * library's own: with two sets of threads, idle ones of one set spin on the cores that
 * the other needs.
 *
 * `parallel` is GOMP_parallel, which the runtimes of GCC, LLVM and Intel have; the
 * others are omp_get_max_threads, omp_get_num_threads and omp_get_thread_num.  A call
 * within a parallel region uses one thread.  NULL: the library's own threads again; a
 * child after fork returns to them too, as OpenMP has no threads there.  The function
 * waits for a call that runs in another thread; within a call it does nothing. */
typedef struct fc_openmp {
    void (*parallel)(void (*fn)(void *), void *data, unsigned threads, unsigned flags);
    int (*max_threads)(void), (*num_threads)(void), (*thread_num)(void);
} fc_openmp;

FC_API void fc_use_openmp(const fc_openmp *runtime);

/* The costs on this machine of sharing work among threads.  They only determine whether
 * a call has several threads, and whether these share the units of a step. */
typedef struct fc_thread_costs {
    double turn_ns;      /* a barrier of two threads in a step, the caches included */
    double hand_over_ns; /* passing a job to threads that are awake, and ending it */
    double wake_ns;      /* the same for threads that sleep */
    double flop_per_ns;  /* rate of a thread for one row, float32 */
} fc_thread_costs;

/* Sets the costs, so that decisions do not depend on the machine; NULL: measure each at
 * the next need.  A cost is measured once, when a call with several threads first
 * depends on it, in some tenths of a millisecond (wake_ns: 1 to 2).  FC_BAD_ARGUMENT
 * for numbers below 0, infinite or NaN. */
FC_API fc_status fc_set_thread_costs(const fc_thread_costs *costs);
/* Returns the costs in use, and measures unknown ones first.  The result is 1; 0 if
 * some could not be measured because the cores were busy: those have typical values. */
FC_API int fc_get_thread_costs(fc_thread_costs *costs);

/* Index of a cell by name ("rnn_tanh", "lstm", ...), or -1; name by index, or NULL. */
FC_API int fc_cell_index(const char *name);
FC_API const char *fc_cell_name(int cell);
FC_API int fc_cell_gates(int cell);
FC_API int fc_cell_states(int cell);

/* ---- recurrent stacks ---------------------------------------------------------- */

#include "fastcell_options.h"

typedef struct fc_stack {
    int cell;
    fc_dtype dtype;
    ptrdiff_t input_size, hidden_size;
    ptrdiff_t proj_size; /* 0 unless the cell projects; then 1 .. hidden_size */
    int layers, directions;
    /* K heads, which divide H: the units of a head read h of their head alone, and w_hh
     * is (G H, H / K), its blocks along the diagonal.  0 is 1. */
    int heads;
    /* Rates in [0, 1), 0 for none.  Zoneout: in a batch with `random`, a unit keeps its
     * h, or all its other states, of the step before with this probability; without,
     * each keeps this share of it.  Recurrent dropout: in a batch with `random`,
     * products with R read h_{t-1} with a share of the units zero and the others
     * divided by 1 - the rate, the same units in all steps of a sequence. */
    double zoneout_h, zoneout_c, recurrent_dropout;
    fc_options options; /* fastcell_options.h has them */
} fc_stack;

enum { FC_MOST_OWN = 4 }; /* parameters that only this cell has: see fc_describe_cell */

typedef struct fc_weights {
    const void *w_ih, *w_hh, *b_ih, *b_hh, *w_hr;
    const void *own[FC_MOST_OWN];
} fc_weights;

typedef struct fc_gradients {
    /* NULL: not computed.  A gradient of a bias needs that of its w. */
    void *w_ih, *w_hh, *b_ih, *b_hh, *w_hr;
    void *own[FC_MOST_OWN];
} fc_gradients;

/* What the core knows of a cell.  G is its number of gates. */
enum { FC_MOST_GATES = 4, FC_MOST_STATES = 4, FC_MOST_PARAMETERS = 5 + FC_MOST_OWN };

typedef enum fc_axis {
    FC_AXIS_NONE,   /* there is none */
    FC_AXIS_GATES,  /* G H */
    FC_AXIS_INPUT,  /* I in the first layer, D P in those above */
    FC_AXIS_OUTPUT, /* P */
    FC_AXIS_HEAD,   /* P / heads */
    FC_AXIS_HIDDEN, /* H */
    FC_AXIS_VECTORS /* a number of vectors of H, one after another */
} fc_axis;

/* Initial values: drawn as those of the weights, a number, or drawn from [0, 1). */
typedef enum fc_initial { FC_DRAWN, FC_ZEROS, FC_ONES, FC_FRACTIONS } fc_initial;

/* A parameter that each layer and direction of a cell has. */
typedef struct fc_cell_parameter {
    const char *name;      /* as in torch.nn without the layer's suffix: "weight_ih" */
    fc_axis rows, columns; /* of a vector: rows, and no columns */
    int bias_of;   /* the parameter whose product this bias is added to; else -1 */
    size_t member; /* bytes to its pointer in fc_weights, and in fc_gradients */
    int vectors;   /* of FC_AXIS_VECTORS; else 0 */
    fc_initial initial;
} fc_cell_parameter;

typedef struct fc_cell_description {
    const char *name;
    int gates, states;
    const char *gate_names[FC_MOST_GATES];   /* in the order of the weight rows */
    const char *state_names[FC_MOST_STATES]; /* "h" first */
    int slots;       /* numbers that training keeps for each unit of a row and step */
    int projects;    /* 1: proj_size is 1 or more; 0: it is 0 */
    int takes_heads; /* 1: heads may be above 1 */
    int roles;       /* activations to choose, and a gate_clip; 0: neither */
    int clips_cell, takes_update_dropout; /* 1: the option may be given */
    int parameters;
    fc_cell_parameter parameter[FC_MOST_PARAMETERS];
} fc_cell_description;

/* FC_BAD_ARGUMENT if there is no such cell.  The names live as long as the library. */
FC_API fc_status fc_describe_cell(int cell, fc_cell_description *description);

typedef enum fc_pack_kind { FC_PACK_FORWARD, FC_PACK_BACKWARD } fc_pack_kind;

FC_API fc_status fc_pack_size(const fc_stack *stack, fc_pack_kind kind, size_t *bytes);
FC_API fc_status fc_pack(const fc_stack *stack, fc_pack_kind kind,
                         const fc_weights *weights, void *packed, int threads);

/* One batch of sequences: the arguments common to forward and backward.
 *
 * x: element (t, b, i) at x[t * x_step + b * x_row + i]; or, with `index` (T, B), row
 *    index[t, b] of x, which then has x_rows rows of x_row reals: the gather path of
 *    an embedding, with an input product per row of x instead of per step.
 * added: (T, B, D, G H) with strides as those of x, or NULL; not with index.  It is
 *    added to W x + b_ih of the first layer, whose I may be 0.
 * lengths: (B,) or NULL for T.  Steps at or past a row's length do not exist: their y
 * is 0, and the final state is that of the row's last step, in both directions. mask:
 * (T, B) bytes or NULL.  Where 0 the step is skipped: the state stays, y is h. reset:
 * (T, B) bytes or NULL.  Where not 0 a new episode begins with the step, masked or not,
 * and no state passes between steps t-1 and t, in either direction: it is zero before
 * step t in the forward direction, before step t-1 in the reverse one. reset[0]
 * discards the initial state of the forward direction, and has no effect on the reverse
 * one, whose initial state belongs to the last episode and whose final state to the
 * first.  Past a row's length there is no episode. h0, c0: initial states, NULL for
 * zero. dropout: (L-1, T, B, D P) factors for the outputs between layers, or NULL.
 *
 * fc_forward copies lengths, mask, reset, index and the initial states to `saved`: the
 * caller may change them when it has returned.  x, added and dropout, which are large,
 * are read again by fc_backward and must be unchanged. */
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
    /* Not 0: `saved` holds states but no gates, a third of its size for an LSTM;
     * fc_backward computes the gates again, some steps at a time, with the same bits.
     */
    int recompute;
    /* Not 0: random masks, for the rates of the stack.  They follow from the key, the
     * layer and direction, the number of the row, the step (first_step is the number of
     * the first in the whole sequence) and the unit.  `saved` holds the key. */
    int random;
    uint64_t key;
    ptrdiff_t first_step;
    const void *added;
    ptrdiff_t added_step, added_row;
} fc_batch;

FC_API fc_status fc_saved_size(const fc_stack *stack, const fc_batch *batch,
                               size_t *bytes);
/* training: 0 for fc_forward without saved, 1 with it, 2 for fc_backward.  The size is
 * enough for any lengths and mask, which are not read. */
FC_API fc_status fc_scratch_size(const fc_stack *stack, const fc_batch *batch,
                                 int training, size_t *bytes);
/* The result of fc_saved_size for the batch in `saved`, read from its first
 * FC_SAVED_HEAD bytes; or FC_BAD_MEMORY or FC_USED_UP. */
enum { FC_SAVED_HEAD = 128 };
FC_API fc_status fc_saved_bytes(const void *saved, size_t *bytes);

enum {
    FC_SHARED_ONE_THREAD, /* `threads` is 1 */
    FC_SHARED_LITTLE,     /* the call has too little work for a second thread */
    FC_SHARED_DIRECTIONS, /* each direction has its threads */
    FC_SHARED_ROWS,       /* threads have different rows */
    FC_SHARED_UNITS,      /* a team shares the units of a step */
    FC_SHARED_NARROW,     /* no team: H is one panel, or the cell needs whole rows */
    FC_SHARED_SHORT /* no team: a barrier costs more than a team saves in a step */
};

/* How the core computes a batch: the decisions of the size queries and the calls. */
typedef struct fc_description {
    const char *isa;  /* of the kernels in use */
    int native;       /* 1: an instruction multiplies the narrow operands directly */
    int lanes, group; /* reals of a vector; numbers in one operand: 2 bf16, 4 int8 */
    int threads;      /* of the products over all steps */
    int small;        /* 1: several threads only while the pool is awake, else one */
    /* The time loop: D directions, each in ranges of rows, each range with a team whose
     * members share the units of every step.  If there are more ranges than threads,
     * there are no teams, and a thread has several ranges. */
    int loop_threads, row_parts, members;
    int sharing;    /* why there is a team or not: FC_SHARED_... */
    double step_ns; /* estimate for the recurrent product of a step by one thread */
    /* The largest share of a step: rows and vectors of columns of the recurrent product
     * (of the first phase), cut into tiles of tile_rows by tile_vectors vectors by
     * tile_panels panels.  Tiles at the edges are smaller.  0 without rows. */
    ptrdiff_t rows, vectors;
    int tile_rows, tile_vectors, tile_panels;
    size_t weight_bytes;    /* unpacked, all layers, with biases */
    size_t packed_bytes;    /* for this call, all layers */
    size_t recurrent_bytes; /* packed, of one layer and direction: read in every step */
    size_t saved_bytes;     /* 0 for inference */
    size_t scratch_bytes;
    /* Multiplications and additions of the products in active steps, all layers,
     * without padding: all of them, and those with R (and W_hr).  Recomputed products
     * count, gates do not. */
    double flop, recurrent_flop;
} fc_description;

/* training: 0 inference, 1 forward with saved, 2 backward.  Of the batch's arrays only
 * lengths and mask are read. */
FC_API fc_status fc_describe(const fc_stack *stack, const fc_batch *batch, int training,
                             fc_description *description);

/* y: element (t, b, j) at y[t * y_step + b * y_row + j], j < D P, written, or NULL.
 * Overlapping rows, as with strides of 0, are FC_BAD_ARGUMENT.  h, c: final states,
 * written, or NULL.  cs (S-1, T, B, D H): the states but h of the last layer after
 * every step, with strides; written, or NULL.  It needs y; states do not overlap. */
typedef struct fc_output {
    void *y;
    ptrdiff_t y_step, y_row;
    void *h, *c;
    void *cs;
    ptrdiff_t cs_state, cs_step, cs_row;
} fc_output;

/* packed: by FC_PACK_FORWARD.  saved: written for fc_backward, of any content before;
 * NULL for inference.  scratch: of fc_scratch_size bytes. */
FC_API fc_status fc_forward(const fc_stack *stack, const void *packed,
                            const fc_batch *batch, const fc_output *output, void *saved,
                            void *scratch);

/* A BLAS of the caller, with the Fortran interface.  Weight gradients use it if the
 * instruction set in use has no kernel as fast; NULL (or a NULL member): never. */
typedef struct fc_blas {
    void (*sgemm)(char *, char *, int *, int *, int *, float *, float *, int *, float *,
                  int *, float *, float *, int *);
    void (*dgemm)(char *, char *, int *, int *, int *, double *, double *, int *,
                  double *, int *, double *, double *, int *);
} fc_blas;

/* A batch that is a part of longer sequences.  The calls of backward proceed from the
 * last part to the first: dh0 and dc0 of one are dh and dc of the next, and all add to
 * the same weight gradients, which then have the bits of one call.  With `index`, x and
 * x_rows are the same for all parts, and the call of the first part writes dx and adds
 * the table's gradients.  D = 1.
 *
 * steps_before, steps_after: numbers of steps in earlier and in later parts.
 * pairs_before: number of existing, unmasked steps of all rows in earlier parts.
 * carry: of fc_carry_size bytes (of any part), kept from call to call.  The call of the
 * last part initialises it.  A later call for a part that does not end where the part
 * of the call before began is FC_BAD_ARGUMENT. */
typedef struct fc_segment {
    ptrdiff_t steps_before, steps_after, pairs_before;
    void *carry;
} fc_segment;

FC_API fc_status fc_carry_size(const fc_stack *stack, const fc_batch *batch,
                               size_t *bytes);

/* dy: as y, read, or NULL for zeros.  dh, dc: gradients of the final states, read, or
 * NULL for zeros.  dx: as x, with its own strides, or NULL; with `index`, (x_rows, I)
 * and contiguous.  dadded: as added, or NULL.  dh0, dc0: of the initial states, or
 * NULL.  dx, dadded, dh0 and dc0 are overwritten; the gradients in `weights` are added
 * to.  Overlapping rows of dy, dx or dadded are FC_BAD_ARGUMENT. */
typedef struct fc_backward_io {
    const void *dy;
    ptrdiff_t dy_step, dy_row;
    const void *dh, *dc;
    void *dx;
    ptrdiff_t dx_step, dx_row;
    void *dh0, *dc0;
    const fc_gradients *weights; /* [L D] */
    const fc_blas *blas;
    const void *packed_forward; /* needed with `recompute`, else NULL */
    const fc_segment *segment;  /* NULL: the batch has whole sequences */
    void *dadded;
    ptrdiff_t dadded_step, dadded_row;
} fc_backward_io;

/* steps, rows, x_rows and recompute of the batch, and whether index is NULL, must be
 * those of forward, else FC_BAD_MEMORY.  index, lengths, mask, reset, h0 and c0 are not
 * read: `saved` holds them.  A call that passes its checks marks `saved` as used by one
 * atomic exchange: another backward returns FC_USED_UP, also if both begin at once. */
FC_API fc_status fc_backward(const fc_stack *stack, const void *packed_backward,
                             const fc_batch *batch, const fc_backward_io *io,
                             void *saved, void *scratch);

#include "fastcell_trace.h"

/* ---- streaming: one step at a time ---------------------------------------------- */

/* A *stream* is memory with the states of `rows` streams.  The caller initialises it
 * with zero bytes, which is the zero state (the first call adds the seal), or by
 * fc_stream_set on any memory.  Outputs have the bits of fc_forward over the whole
 * sequence.  D = 1.  h, c: all states, (L, rows, P) and (L, rows, S-1, H);
 * fc_stream_set takes NULL for zeros, fc_stream_get NULL for a state not to copy. */
FC_API fc_status fc_stream_size(const fc_stack *stack, ptrdiff_t rows, size_t *bytes);
FC_API fc_status fc_stream_set(const fc_stack *stack, ptrdiff_t rows, void *stream,
                               const void *h, const void *c);
FC_API fc_status fc_stream_get(const fc_stack *stack, ptrdiff_t rows,
                               const void *stream, void *h, void *c);
/* Copies `from` to `to`, of any content before.  They do not overlap. */
FC_API fc_status fc_stream_copy(const fc_stack *stack, ptrdiff_t rows, const void *from,
                                void *to);
/* x (rows, I) -> y (rows, P), both contiguous. */
FC_API fc_status fc_stream_step(const fc_stack *stack, const void *packed,
                                ptrdiff_t rows, const void *x, void *y, void *stream);

/* Some of the streams: `which` (count) numbers below `rows`, each at most once, else
 * FC_BAD_INDEX; or NULL for all of them, and `count` is `rows`. */
typedef struct fc_selection {
    const int64_t *which;
    ptrdiff_t count;
} fc_selection;

/* The same for some of the streams; h, c, x and y have `count` rows.  The other streams
 * stay unchanged.  The streams of a call share one product; each has the same bits as
 * alone. */
FC_API fc_status fc_stream_set_some(const fc_stack *stack, ptrdiff_t rows, void *stream,
                                    const fc_selection *some, const void *h,
                                    const void *c);
FC_API fc_status fc_stream_get_some(const fc_stack *stack, ptrdiff_t rows, void *stream,
                                    const fc_selection *some, void *h, void *c);
FC_API fc_status fc_stream_step_some(const fc_stack *stack, const void *packed,
                                     ptrdiff_t rows, const fc_selection *some,
                                     const void *x, void *y, void *stream, int threads);

/* ---- dense layers and the loss; the mLSTM --------------------------------------- */

#include "fastcell_dense.h"
#include "fastcell_mlstm.h"

/* ---- attention ------------------------------------------------------------------ */

/* Sizes: each of `batch` sequences has `queries` queries of a memory of `steps` rows.
 * Scores and weights are (batch, queries, steps), 0 for rows past the lengths. */
typedef struct fc_attention {
    fc_dtype dtype; /* FC_F32 or FC_F64 */
    ptrdiff_t batch, queries, steps;
    const int64_t *lengths; /* (batch): rows of each memory; NULL: all */
} fc_attention;

/* Inputs of the additive score, sum over i of v_i tanh(query_i + memory_i). */
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
/* Overwrites dquery; adds to dmemory and dv, which calls may share.  No bit depends on
 * the threads. */
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
/* y = the maximum over the steps, where = its step, the first of equal ones.  The
 * maximum of values with a NaN is NaN. */
FC_API fc_status fc_max_steps(fc_dtype dtype, ptrdiff_t steps, ptrdiff_t rows,
                              ptrdiff_t n, const int64_t *lengths, const void *h,
                              void *y, int32_t *where);
/* The gradient of both: dh = dy in all steps of a row or, with `where`, in that step; 0
 * elsewhere. */
FC_API fc_status fc_spread_steps(fc_dtype dtype, ptrdiff_t steps, ptrdiff_t rows,
                                 ptrdiff_t n, const int64_t *lengths,
                                 const int32_t *where, const void *dy, void *dh);
/* Row ids[i] of the table (count, n) += row i of x (rows, n), one after the other. */
FC_API fc_status fc_add_rows(fc_dtype dtype, ptrdiff_t rows, ptrdiff_t n,
                             const int64_t *ids, const void *x, ptrdiff_t count,
                             void *table);

/* y = x / (1 - p) for a share 1 - p of the elements, chosen by `key` and their index,
 * and 0 for the others, under every instruction set.  Backward is dx = dropout(dy) with
 * the same key, and needs no mask.  x may be y; NULL: ones.  Salmon et al. 2011:
 * Threefry2x32-20. */
FC_API fc_status fc_dropout(fc_dtype dtype, ptrdiff_t n, double p, uint64_t key,
                            const void *x, void *y, int threads);

/* ---- optimizers ----------------------------------------------------------------- */

#include "fastcell_optimizers.h"

#ifdef __cplusplus
}
#endif

#endif

/* A random recurrent network with a random batch, to be computed by the core in either
 * type, and by reference.c in double.
 *
 * All that can be differentiated stands in one vector `v`: the weights of every pass
 * (layer and direction), x or the table behind the index, h0, c0.  The loss is the dot
 * product of y and the final states with fixed weights, which are therefore dy, dh and
 * dc; so a gradient is one vector, laid out as `v`. */
#ifndef PROBLEM_H
#define PROBLEM_H

#include "tests/harness.h"

enum { MOST_PASSES = 6 };

typedef struct section {
    ptrdiff_t at, count;
} section;

/* What a problem is made from. */
typedef struct spec {
    const char *cell;
    ptrdiff_t in, hidden, proj; /* proj: used by the cell that projects */
    int heads;                  /* 0: none */
    int layers, directions;
    ptrdiff_t steps, rows;
    bool no_bias, no_states, lengths, mask, reset, index, dropout;
    bool batch_first; /* rows, then steps, with gaps between the rows */
} spec;

typedef struct problem {
    spec spec;
    fc_stack stack;           /* of dtype FC_F64; run_core takes its own */
    int passes, gates, owned; /* owned: parameters of the cell's own */
    int states;
    bool has_c, has_r, normalizes;
    unsigned frozen; /* a bit for each parameter whose gradients nobody wants */
    ptrdiff_t out, x_rows;
    section w_ih[MOST_PASSES], w_hh[MOST_PASSES], b_ih[MOST_PASSES], b_hh[MOST_PASSES],
        w_hr[MOST_PASSES], own[MOST_PASSES][FC_MOST_OWN], x, h0, c0;
    ptrdiff_t count;
    double *v;
    ptrdiff_t y_count, h_count, c_count;
    double *dy, *dh, *dc;
    double *dropout;
    int64_t *lengths;
    uint8_t *mask, *reset;
    int32_t *index;
    uint8_t *positive; /* (L D, T, B, H): which units of a ReLU are on; a bit for each
                        * value of a unit that a clip leaves as it is */
    bool random;       /* with masks by the key, for the rates in `stack` */
    uint64_t key;
} problem;

void problem_make(problem *p, const spec *from);
void problem_free(problem *p);

/* Whether the drivers treat the cell in a way of its own: it takes every problem.  Of
 * the others each takes a third of the small problems, and every third cell the long
 * ones. */
bool has_all_problems(const char *cell);
bool has_long_problems(const char *cell);
/* Parameter `which` that only this cell has, in *own; false past the last. */
bool own_parameter(int cell, int which, fc_cell_parameter *own);
ptrdiff_t pass_inputs(const problem *p, int pass);
/* Does step t of the row exist, and is it not masked? */
bool step_exists(const problem *p, ptrdiff_t t, ptrdiff_t row);
bool step_is_active(const problem *p, ptrdiff_t t, ptrdiff_t row);

/* y (T, B, D P), h (L D, B, P), c (L D, B, S-1, H), and the gradient, laid out as v. */
typedef struct outcome {
    double *y, *h, *c, *g;
} outcome;

outcome outcome_new(const problem *p);
void outcome_free(outcome *o);

/* Only forward without saved; with saved; and backward too, without a BLAS or with.
 * WITHOUT_Y: the outputs are not stored, and those of the outcome stay. */
typedef enum run_kind {
    INFERENCE,
    INFERENCE_WITHOUT_Y,
    TRAINING,
    GRADIENTS,
    GRADIENTS_WITHOUT_Y,
    GRADIENTS_RECOMPUTED, /* the gates made again, not kept */
    GRADIENTS_BY_BLAS,
    GRADIENTS_RECOMPUTED_BY_BLAS,
} run_kind;

/* By the core.  All memory is of exactly the size asked for, arrays at addresses odd by
 * a number, full of NaN before, and watched.  What the header lets go of after forward
 * is released before backward.  Values that do not exist (past a length, x of a masked
 * step) are NaN, their index -7. */
void run_core(const problem *p, fc_dtype dtype, int threads, run_kind kind, outcome *o);

/* The core's stack and packed weights; release() them. */
void *pack_weights(const problem *p, fc_dtype dtype, fc_pack_kind kind, fc_stack *stack,
                   int threads);

/* By plain loops in double: y, h and c of the outcome. */
void run_reference(problem *p, outcome *o);
/* The loss with v for p->v.  A ReLU stays on or off as the last run_reference found it:
 * a difference across its kink would say nothing about the derivative. */
double reference_loss(problem *p, const double *v, outcome *work);

#endif

/* Options of a stack: activations by role, clips, and update dropout.  Part of
 * fastcell.h, which includes it. */
#ifndef FASTCELL_OPTIONS_H
#define FASTCELL_OPTIONS_H

/* What a cell with a choice applies, of x, alpha and beta.  FC_ACT_USUAL: what the cell
 * without a choice has in that role. */
typedef enum fc_activation_kind {
    FC_ACT_USUAL,
    FC_ACT_TANH,
    FC_ACT_SIGMOID,
    FC_ACT_RELU,             /* max(x, 0) */
    FC_ACT_AFFINE,           /* alpha x + beta */
    FC_ACT_LEAKY_RELU,       /* x, below 0: alpha x */
    FC_ACT_THRESHOLDED_RELU, /* x, below alpha: 0 */
    FC_ACT_SCALED_TANH,      /* alpha tanh(beta x) */
    FC_ACT_HARD_SIGMOID,     /* min(max(alpha x + beta, 0), 1) */
    FC_ACT_ELU,              /* x, below 0: alpha (e^x - 1) */
    FC_ACT_SOFTSIGN,         /* x / (1 + |x|) */
    FC_ACT_SOFTPLUS          /* log(1 + e^x) */
} fc_activation_kind;

typedef struct fc_activation {
    int kind;           /* an fc_activation_kind */
    double alpha, beta; /* finite; 0 where the kind has none */
} fc_activation;

/* Choices of a stack.  given: 0 for none, and then nothing else is read.
 *
 * update_dropout: in [0, 1), of a cell that `takes_update_dropout`.  In a batch with
 * `random`, the candidate of each unit, row and step is 0 with this probability, else
 * divided by 1 - it (Semeniuta et al. 2016); otherwise no effect.
 *
 * recurrent_grad_clip, of every cell: what h_{t-1} gets of a gradient from step t is
 * bounded to [-it, it], by each unit, before dy of step t-1 is added.  Not bounded: the
 * gradient of the final h, and that of the initial h of whole sequences (fc_segment).
 * At least FLT_MIN; 0: none.
 *
 * The others are of cells with `roles`.  cell_clip: bounds c_t to [-cell_clip,
 * cell_clip], as the state and before the output reads it.  gate_clip: bounds what the
 * activations are applied to, c_t included, as ONNX' attribute `clip`.  No gradient
 * passes a bound that holds.  At least FLT_MIN; 0: none.
 *
 * activation: by role.  Of an RNN: its only one; of a GRU: that of r and z, that of n;
 * of an LSTM: that of i, f and o, that of g, that of c_t. */
enum { FC_MOST_ROLES = 3 };

typedef struct fc_options {
    int given;
    double cell_clip, gate_clip;
    fc_activation activation[FC_MOST_ROLES];
    double update_dropout, recurrent_grad_clip;
} fc_options;

#endif

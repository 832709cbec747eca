/* A trace: states and gates of all steps, layers and directions.  A part of fastcell.h,
 * which includes it.  Its rules for memory and threads hold here too. */
#ifndef FASTCELL_TRACE_H
#define FASTCELL_TRACE_H

#ifndef FASTCELL_H
#error "include fastcell.h"
#endif

/* The name of a value that a trace has of a cell beside its states, from 0 on; NULL
 * past the last.  A gate has its name of fc_describe_cell.  Others: "h_n" of a GRU with
 * the reset after the product, R_n h + b_hn, which r is a factor of; "s" of a minLSTM,
 * the share of h_{t-1}.  A gate whose value is the state itself, as that of an RNN, is
 * no value here. */
FC_API const char *fc_trace_name(int cell, int value);

/* h, c: the states after each step.  values: N of them, in the order of fc_trace_name.
 * All contiguous and written, or NULL.  Layers and directions are those of fc_weights.
 * Past a row's length all is 0.  A masked step has the states that the row keeps, or 0
 * if an episode begins with it, and values of 0. */
typedef struct fc_trace_output {
    void *h;      /* (L D, T, B, P) */
    void *c;      /* (S-1, L D, T, B, H): all S states but h */
    void *values; /* (N, L D, T, B, H) */
} fc_trace_output;

/* Copies from `saved` what forward computed, with the same bits, in place of backward,
 * and uses it up as that does.  The batch is as that of fc_backward, without
 * `recompute`, which keeps no gates: with it, FC_BAD_ARGUMENT. */
FC_API fc_status fc_trace(const fc_stack *stack, const fc_batch *batch, void *saved,
                          const fc_trace_output *output);

#endif

/* Gradients of inputs and weights: the products of backward that follow the time loop.
 */
#ifndef FC_STACK_GRADIENTS_H
#define FC_STACK_GRADIENTS_H

#include "recurrent/layer_job.h"

/* All functions here run one part of `parts`; `context` is an fc_layer_job.
 *
 * Adds the gradients of weights, and writes those of inputs, of the pairs that are due.
 */
void fc_pair_gradients(void *context, int part, int parts);
/* With an index: clears dtable; adds the pairs' gradients to its rows; and computes the
 * gradients of weights and of x from it, after the last chunk. */
void fc_clear_table(void *context, int part, int parts);
void fc_scatter(void *context, int part, int parts);
void fc_table_gradients(void *context, int part, int parts);
/* Multiplies dx of a layer by the dropout factors of its input. */
void fc_input_dropout(void *context, int part, int parts);

#endif

/* The products of backward that follow the time loop: gradients of inputs and weights.
 */
#ifndef FC_STACK_GRADIENTS_H
#define FC_STACK_GRADIENTS_H

#include "recurrent/layer_job.h"

/* Part functions; context: a layer job.  Gradients of inputs and weights from pairs, */
void fc_pair_gradients(void *context, int part, int parts);
/* or, with an index: clear dtable, add the pairs to it, and from it in the end. */
void fc_clear_table(void *context, int part, int parts);
void fc_scatter(void *context, int part, int parts);
void fc_table_gradients(void *context, int part, int parts);
void fc_input_dropout(void *context, int part, int parts);

#endif

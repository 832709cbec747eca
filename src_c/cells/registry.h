/* The list of all cells, compiled once per instruction set and real type.  A new cell
 * adds its file here and its descriptor to the list below, where its place is the
 * number that fc_cell_index returns. */
#include "cells/gru.c"
#include "cells/gru_layer_norm.c"
#include "cells/gru_reset_before.c"
#include "cells/gru_reset_before_with_options.c"
#include "cells/gru_with_options.c"
#include "cells/indrnn.c"
#include "cells/ligru.c"
#include "cells/lru.c"
#include "cells/lstm.c"
#include "cells/lstm_coupled.c"
#include "cells/lstm_coupled_projected.c"
#include "cells/lstm_coupled_with_options.c"
#include "cells/lstm_layer_norm.c"
#include "cells/lstm_peephole.c"
#include "cells/lstm_peephole_coupled.c"
#include "cells/lstm_peephole_coupled_projected.c"
#include "cells/lstm_peephole_coupled_with_options.c"
#include "cells/lstm_peephole_projected.c"
#include "cells/lstm_peephole_with_options.c"
#include "cells/lstm_projected.c"
#include "cells/lstm_projected_with_options.c"
#include "cells/lstm_with_options.c"
#include "cells/mgu.c"
#include "cells/min_gru.c"
#include "cells/min_lstm.c"
#include "cells/rnn.c"
#include "cells/rnn_with_options.c"
#include "cells/slstm.c"

static const fc_cell *const fc_registry[] = {
    &rnn_tanh,
    &rnn_relu,
    &lstm,
    &lstm_projected,
    &gru,
    &gru_reset_before,
    &lstm_peephole,
    &lstm_layer_norm,
    &indrnn_tanh,
    &indrnn_relu,
    &min_gru,
    &min_gru_positive,
    &min_lstm,
    &min_lstm_positive,
    &lstm_coupled,
    &lstm_peephole_coupled,
    &lstm_peephole_projected,
    &lstm_coupled_projected,
    &lstm_peephole_coupled_projected,
    &mgu,
    &ligru,
    &gru_layer_norm,
    &slstm,
    &slstm_plain,
    &slstm_clamped,
    &slstm_exponential,
    &rnn_with_options,
    &gru_with_options,
    &gru_reset_before_with_options,
    &lstm_with_options,
    &lstm_projected_with_options,
    &lstm_peephole_with_options,
    &lstm_coupled_with_options,
    &lstm_peephole_coupled_with_options,
    &lru,
};

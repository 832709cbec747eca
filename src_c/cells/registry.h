/* The cells.  A new cell adds its file here and its name below. */
#include "gru.c"
#include "gru_reset_before.c"
#include "lstm.c"
#include "lstm_projected.c"
#include "rnn.c"

static const fc_cell *const fc_registry[] = {
    &rnn_tanh, &rnn_relu, &lstm, &lstm_projected, &gru, &gru_reset_before,
};

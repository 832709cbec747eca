/* Projected LSTM: Sak, Senior & Beaufays, Interspeech 2014 (arXiv:1402.1128).
 *
 *     i, f, g, o, c_t  as in lstm.c, R of shape (4H, P)                      (1) (2)
 *     m_t = o * tanh(c_t)                         the middle row, H units    (3)
 *     h_t = W_hr m_t                              P units, no bias           (4)
 *
 * Gates: i f g o.  Saved: i, f, g, o and m_t (the middle row, for dW_hr).  The fifth
 * slot is empty until backward puts dh_t there, for dW_hr = dh_t m_t^T.
 *
 *     dm = W_hr^T dh_t  (a product of the driver's)                          (4')
 *     the rest as in lstm.c, with dm for dh                        (3') to (1') */
#include "cells/lstm_math.h"

static void lstm_projected_gates_forward(const fc_tile *t) {
    lstm_gates_forward(t, LSTM_PLAIN);
}
static void lstm_projected_gates_forward_dropped(const fc_tile *t) {
    lstm_gates_forward(t, LSTM_DROPPED);
}
static void lstm_projected_out_forward(const fc_tile *t) { lstm_projection_forward(t); }
static void lstm_projected_out_backward(const fc_back_tile *t) {
    lstm_projection_backward(t, LSTM_PLAIN);
}
static void lstm_projected_gates_backward(const fc_back_tile *t) {
    lstm_gates_backward(t, LSTM_PLAIN);
}
static void lstm_projected_gates_backward_dropped(const fc_back_tile *t) {
    lstm_gates_backward(t, LSTM_DROPPED);
}

static const fc_cell lstm_projected = {
    .name = "lstm_projected",
    .gates = 4,
    .states = 2,
    .slots = 5,
    .x_gate = {0, 1, 2, 3},
    .gate_names = {"i", "f", "g", "o"},
    .slot_names = {"i", "f", "g", "o"},
    .has_middle = true,
    .phases = 2,
    .phase = {{.gates = 4},
              {.gates = 1, .slot = 4, .from_middle = true, .projects = true}},
    .forward = {lstm_projected_gates_forward, lstm_projected_out_forward},
    .backward = {lstm_projected_gates_backward, lstm_projected_out_backward},
    .forward_dropped = {lstm_projected_gates_forward_dropped,
                        lstm_projected_out_forward},
    .backward_dropped = {lstm_projected_gates_backward_dropped,
                         lstm_projected_out_backward},
};

/* LSTM with coupled gates (Greff et al. 2017, arXiv:1503.04069) and a projection (Sak,
 * Senior & Beaufays 2014, arXiv:1402.1128).
 *
 *     f, g, o, c_t  as in lstm_coupled.c, R of shape (3H, P)                 (1) (2)
 *     m_t = o * tanh(c_t)                         the middle row, H units    (3)
 *     h_t = W_hr m_t                              P units, no bias           (4)
 *
 * Gates: f g o.  Saved: f, g, o and m_t (the middle row).  The fourth slot is empty
 * until backward puts dh_t there, for dW_hr = dh_t m_t^T.
 *
 *     dm = W_hr^T dh_t  (a product of the driver's)                          (4')
 *     the rest as in lstm_coupled.c, with dm for dh                   (3') to (1') */
#include "cells/lstm_math.h"

static void lstm_coupled_projected_gates_forward(const fc_tile *t) {
    lstm_gates_forward(t, LSTM_COUPLED);
}
static void lstm_coupled_projected_gates_forward_dropped(const fc_tile *t) {
    lstm_gates_forward(t, LSTM_COUPLED | LSTM_DROPPED);
}
static void lstm_coupled_projected_out_forward(const fc_tile *t) {
    lstm_projection_forward(t);
}
static void lstm_coupled_projected_out_backward(const fc_back_tile *t) {
    lstm_projection_backward(t, LSTM_COUPLED);
}
static void lstm_coupled_projected_gates_backward(const fc_back_tile *t) {
    lstm_gates_backward(t, LSTM_COUPLED);
}
static void lstm_coupled_projected_gates_backward_dropped(const fc_back_tile *t) {
    lstm_gates_backward(t, LSTM_COUPLED | LSTM_DROPPED);
}

static const fc_cell lstm_coupled_projected = {
    .name = "lstm_coupled_projected",
    .gates = 3,
    .states = 2,
    .slots = 4,
    .x_gate = {0, 1, 2},
    .gate_names = {"f", "g", "o"},
    .slot_names = {"f", "g", "o"},
    .has_middle = true,
    .phases = 2,
    .phase = {{.gates = 3},
              {.gates = 1, .slot = 3, .from_middle = true, .projects = true}},
    .forward = {lstm_coupled_projected_gates_forward,
                lstm_coupled_projected_out_forward},
    .backward = {lstm_coupled_projected_gates_backward,
                 lstm_coupled_projected_out_backward},
    .forward_dropped = {lstm_coupled_projected_gates_forward_dropped,
                        lstm_coupled_projected_out_forward},
    .backward_dropped = {lstm_coupled_projected_gates_backward_dropped,
                         lstm_coupled_projected_out_backward},
};

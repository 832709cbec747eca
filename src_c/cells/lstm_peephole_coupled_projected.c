/* LSTM with peepholes, coupled gates (Greff et al. 2017, arXiv:1503.04069) and a
 * projection (Sak, Senior & Beaufays 2014, arXiv:1402.1128).
 *
 *     f, g, o, c_t  as in lstm_peephole_coupled.c, R of shape (3H, P)        (1) to (3)
 *     m_t = o * tanh(c_t)                         the middle row, H units    (4)
 *     h_t = W_hr m_t                              P units, no bias           (5)
 *
 * Gates: f g o.  Parameter: weight_ch, that is p_f p_o, of H values each.  Saved: f, g,
 * o and m_t (the middle row).  The fourth slot is empty until backward puts dh_t there,
 * for dW_hr = dh_t m_t^T.
 *
 *     dm = W_hr^T dh_t  (a product of the driver's)                          (5')
 *     the rest as in lstm_peephole_coupled.c, with dm for dh          (4') to (1') */
#include "cells/lstm_math.h"

static void lstm_peephole_coupled_projected_gates_forward(const fc_tile *t) {
    lstm_gates_forward(t, LSTM_PEEPHOLE | LSTM_COUPLED);
}
static void lstm_peephole_coupled_projected_gates_forward_dropped(const fc_tile *t) {
    lstm_gates_forward(t, LSTM_PEEPHOLE | LSTM_COUPLED | LSTM_DROPPED);
}
static void lstm_peephole_coupled_projected_out_forward(const fc_tile *t) {
    lstm_projection_forward(t);
}
static void lstm_peephole_coupled_projected_out_backward(const fc_back_tile *t) {
    lstm_projection_backward(t, LSTM_PEEPHOLE | LSTM_COUPLED);
}
static void lstm_peephole_coupled_projected_gates_backward(const fc_back_tile *t) {
    lstm_gates_backward(t, LSTM_PEEPHOLE | LSTM_COUPLED);
}
static void
lstm_peephole_coupled_projected_gates_backward_dropped(const fc_back_tile *t) {
    lstm_gates_backward(t, LSTM_PEEPHOLE | LSTM_COUPLED | LSTM_DROPPED);
}

static const fc_cell lstm_peephole_coupled_projected = {
    .name = "lstm_peephole_coupled_projected",
    .gates = 3,
    .states = 2,
    .slots = 4,
    .x_gate = {0, 1, 2},
    .gate_names = {"f", "g", "o"},
    .slot_names = {"f", "g", "o"},
    .has_middle = true,
    .owns = 1,
    .own = {{"weight_ch", 2, FC_BEGIN_DRAWN}},
    .sums = 2,
    .sum = {{.to = 0, .vectors = 1, .slot = 0, .factor = FC_BY_C_PREV},
            {.to = 1, .vectors = 1, .slot = 2, .factor = FC_BY_C}},
    .phases = 2,
    .phase = {{.gates = 3},
              {.gates = 1, .slot = 3, .from_middle = true, .projects = true}},
    .forward = {lstm_peephole_coupled_projected_gates_forward,
                lstm_peephole_coupled_projected_out_forward},
    .backward = {lstm_peephole_coupled_projected_gates_backward,
                 lstm_peephole_coupled_projected_out_backward},
    .forward_dropped = {lstm_peephole_coupled_projected_gates_forward_dropped,
                        lstm_peephole_coupled_projected_out_forward},
    .backward_dropped = {lstm_peephole_coupled_projected_gates_backward_dropped,
                         lstm_peephole_coupled_projected_out_backward},
};

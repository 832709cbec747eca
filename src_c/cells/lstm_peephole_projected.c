/* Peephole LSTM with a projection: Sak, Senior & Beaufays, Interspeech 2014
 * (arXiv:1402.1128), whose LSTMP has peepholes.
 *
 *     i, f, g, o, c_t  as in lstm_peephole.c, R of shape (4H, P)             (1) to (3)
 *     m_t = o * tanh(c_t)                         the middle row, H units    (4)
 *     h_t = W_hr m_t                              P units, no bias           (5)
 *
 * Gates: i f g o.  Parameter: weight_ch, that is p_i p_f p_o, of H values each: c_t is
 * not projected.  Saved: i, f, g, o and m_t (the middle row).  The fifth slot is empty
 * until backward puts dh_t there, for dW_hr = dh_t m_t^T.
 *
 *     dm = W_hr^T dh_t  (a product of the driver's)                          (5')
 *     the rest as in lstm_peephole.c, with dm for dh                  (4') to (1') */
#include "cells/lstm_math.h"

static void lstm_peephole_projected_gates_forward(const fc_tile *t) {
    lstm_gates_forward(t, LSTM_PEEPHOLE);
}
static void lstm_peephole_projected_gates_forward_dropped(const fc_tile *t) {
    lstm_gates_forward(t, LSTM_PEEPHOLE | LSTM_DROPPED);
}
static void lstm_peephole_projected_out_forward(const fc_tile *t) {
    lstm_projection_forward(t);
}
static void lstm_peephole_projected_out_backward(const fc_back_tile *t) {
    lstm_projection_backward(t, LSTM_PEEPHOLE);
}
static void lstm_peephole_projected_gates_backward(const fc_back_tile *t) {
    lstm_gates_backward(t, LSTM_PEEPHOLE);
}
static void lstm_peephole_projected_gates_backward_dropped(const fc_back_tile *t) {
    lstm_gates_backward(t, LSTM_PEEPHOLE | LSTM_DROPPED);
}

static const fc_cell lstm_peephole_projected = {
    .name = "lstm_peephole_projected",
    .gates = 4,
    .states = 2,
    .slots = 5,
    .x_gate = {0, 1, 2, 3},
    .gate_names = {"i", "f", "g", "o"},
    .slot_names = {"i", "f", "g", "o"},
    .has_middle = true,
    .owns = 1,
    .own = {{"weight_ch", 3, FC_BEGIN_DRAWN}},
    .sums = 2,
    .sum = {{.to = 0, .vectors = 2, .slot = LSTM_I, .factor = FC_BY_C_PREV},
            {.to = 2, .vectors = 1, .slot = LSTM_O, .factor = FC_BY_C}},
    .phases = 2,
    .phase = {{.gates = 4},
              {.gates = 1, .slot = 4, .from_middle = true, .projects = true}},
    .forward = {lstm_peephole_projected_gates_forward,
                lstm_peephole_projected_out_forward},
    .backward = {lstm_peephole_projected_gates_backward,
                 lstm_peephole_projected_out_backward},
    .forward_dropped = {lstm_peephole_projected_gates_forward_dropped,
                        lstm_peephole_projected_out_forward},
    .backward_dropped = {lstm_peephole_projected_gates_backward_dropped,
                         lstm_peephole_projected_out_backward},
};

/* LSTM with peepholes and coupled gates: Greff et al., "LSTM: A Search Space Odyssey",
 * IEEE TNNLS 28(10), 2017 (arXiv:1503.04069), where it is named CIFG.
 *
 *     f = sigmoid(a_f + p_f * c_{t-1}),  g = tanh(a_g)                       (1)
 *         with a = W x_t + b_ih + R h_{t-1} + b_hh
 *     c_t = f * c_{t-1} + (1 - f) * g                                        (2)
 *     o = sigmoid(a_o + p_o * c_t)                                           (3)
 *     h_t = o * tanh(c_t)                                                    (4)
 *
 * Gates: f g o.  Parameter: weight_ch, that is p_f p_o.  Saved: f, g, o, as in
 * lstm_coupled.c.
 *
 *     the gradients of lstm_peephole.c, with                                 (4') (3')
 *     df = dc * (c_{t-1} - g),  dg = dc * (1 - f)                            (2')
 *     dc_{t-1} = dc * f + da_f * p_f                                         (1')
 *     dp_f = sum of da_f * c_{t-1},  dp_o = sum of da_o * c_t */
#include "cells/lstm_math.h"

static void lstm_peephole_coupled_forward(const fc_tile *t) {
    lstm_forward_of(t, LSTM_PEEPHOLE | LSTM_COUPLED);
}
static void lstm_peephole_coupled_forward_dropped(const fc_tile *t) {
    lstm_forward_of(t, LSTM_PEEPHOLE | LSTM_COUPLED | LSTM_DROPPED);
}
static void lstm_peephole_coupled_backward(const fc_back_tile *t) {
    lstm_backward_of(t, LSTM_PEEPHOLE | LSTM_COUPLED);
}
static void lstm_peephole_coupled_backward_dropped(const fc_back_tile *t) {
    lstm_backward_of(t, LSTM_PEEPHOLE | LSTM_COUPLED | LSTM_DROPPED);
}

static const fc_cell lstm_peephole_coupled = {
    .name = "lstm_peephole_coupled",
    .gates = 3,
    .states = 2,
    .slots = 3,
    .x_gate = {0, 1, 2},
    .gate_names = {"f", "g", "o"},
    .slot_names = {"f", "g", "o"},
    .owns = 1,
    .own = {{"weight_ch", 2, FC_BEGIN_DRAWN}},
    .sums = 2,
    .sum = {{.to = 0, .vectors = 1, .slot = 0, .factor = FC_BY_C_PREV},
            {.to = 1, .vectors = 1, .slot = 2, .factor = FC_BY_C}},
    .phases = 1,
    .phase = {{.gates = 3, .bounded = true}},
    .forward = {lstm_peephole_coupled_forward},
    .backward = {lstm_peephole_coupled_backward},
    .forward_dropped = {lstm_peephole_coupled_forward_dropped},
    .backward_dropped = {lstm_peephole_coupled_backward_dropped},
};

/* LSTM with coupled input and forget gates: Greff et al., "LSTM: A Search Space
 * Odyssey", IEEE TNNLS 28(10), 2017 (arXiv:1503.04069), where it is named CIFG.
 *
 *     f, o = sigmoid(a_f, a_o),  g = tanh(a_g)                               (1)
 *            with a = W x_t + b_ih + R h_{t-1} + b_hh
 *     c_t = f * c_{t-1} + (1 - f) * g                                        (2)
 *     h_t = o * tanh(c_t)                                                    (3)
 *
 * Gates: f g o.  Saved: f, g, o, which backward overwrites with their gradients, as in
 * lstm.c; 1 - f is computed again.
 *
 *     do = dh * tanh(c_t),  dc += dh * o * (1 - tanh(c_t)^2)                 (3')
 *     df = dc * (c_{t-1} - g),  dg = dc * (1 - f),  dc_{t-1} = dc * f        (2')
 *     da = df * f (1-f), dg * (1 - g^2), do * o (1-o)                        (1') */
#include "cells/lstm_math.h"

static void lstm_coupled_forward(const fc_tile *t) { lstm_forward_of(t, LSTM_COUPLED); }
static void lstm_coupled_forward_dropped(const fc_tile *t) {
    lstm_forward_of(t, LSTM_COUPLED | LSTM_DROPPED);
}
static void lstm_coupled_backward(const fc_back_tile *t) {
    lstm_backward_of(t, LSTM_COUPLED);
}
static void lstm_coupled_backward_dropped(const fc_back_tile *t) {
    lstm_backward_of(t, LSTM_COUPLED | LSTM_DROPPED);
}

static const fc_cell lstm_coupled = {
    .name = "lstm_coupled",
    .gates = 3,
    .states = 2,
    .slots = 3,
    .x_gate = {0, 1, 2},
    .gate_names = {"f", "g", "o"},
    .slot_names = {"f", "g", "o"},
    .phases = 1,
    .phase = {{.gates = 3, .bounded = true}},
    .forward = {lstm_coupled_forward},
    .backward = {lstm_coupled_backward},
    .forward_dropped = {lstm_coupled_forward_dropped},
    .backward_dropped = {lstm_coupled_backward_dropped},
};

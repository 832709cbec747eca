/* LSTM: Hochreiter & Schmidhuber, Neural Computation 9(8), 1997, with the forget gate
 * of Gers, Schmidhuber & Cummins, Neural Computation 12(10), 2000.
 *
 *     i, f, o = sigmoid(a_i, a_f, a_o),  g = tanh(a_g)                       (1)
 *               with a = W x_t + b_ih + R h_{t-1} + b_hh
 *     c_t = f * c_{t-1} + i * g                                              (2)
 *     h_t = o * tanh(c_t)                                                    (3)
 *
 * Gates: i f g o, as in PyTorch.  Saved: i, f, g, o, which backward overwrites with
 * their gradients.  tanh(c_t) is computed again from c_t, which is kept anyway: one
 * tanh costs no more than writing and reading 4 H more bytes for each row.
 *
 *     do = dh * tanh(c_t),  dc += dh * o * (1 - tanh(c_t)^2)                 (3')
 *     di = dc * g,  dg = dc * i,  df = dc * c_{t-1},  dc_{t-1} = dc * f      (2')
 *     da = di * i (1-i), df * f (1-f), dg * (1 - g^2), do * o (1-o)          (1') */
#include "cells/lstm_math.h"

static void lstm_forward(const fc_tile *t) { lstm_forward_of(t, LSTM_PLAIN); }
static void lstm_forward_dropped(const fc_tile *t) { lstm_forward_of(t, LSTM_DROPPED); }
static void lstm_backward(const fc_back_tile *t) { lstm_backward_of(t, LSTM_PLAIN); }
static void lstm_backward_dropped(const fc_back_tile *t) {
    lstm_backward_of(t, LSTM_DROPPED);
}

static const fc_cell lstm = {
    .name = "lstm",
    .gates = 4,
    .states = 2,
    .slots = 4,
    .x_gate = {0, 1, 2, 3},
    .gate_names = {"i", "f", "g", "o"},
    .slot_names = {"i", "f", "g", "o"},
    .phases = 1,
    .phase = {{.gates = 4, .bounded = true}},
    .forward = {lstm_forward},
    .backward = {lstm_backward},
    .forward_dropped = {lstm_forward_dropped},
    .backward_dropped = {lstm_backward_dropped},
};

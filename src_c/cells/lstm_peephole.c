/* Peephole LSTM: Gers, Schraudolph & Schmidhuber, "Learning Precise Timing with LSTM
 * Recurrent Networks", JMLR 3, 2002.
 *
 *     i, f = sigmoid(a_i + p_i * c_{t-1}, a_f + p_f * c_{t-1}),  g = tanh(a_g)   (1)
 *            with a = W x_t + b_ih + R h_{t-1} + b_hh
 *     c_t = f * c_{t-1} + i * g                                                  (2)
 *     o = sigmoid(a_o + p_o * c_t)                                               (3)
 *     h_t = o * tanh(c_t)                                                        (4)
 *
 * Gates: i f g o.  Parameter: weight_ch, that is p_i p_f p_o, one value for each unit.
 * Saved: i, f, g, o, which backward overwrites with their gradients, as in lstm.c.
 *
 *     do = dh * tanh(c_t),  dc += dh * o * (1 - tanh(c_t)^2)                     (4')
 *     da_o = do * o (1-o),  dc += da_o * p_o,  dp_o = sum of da_o * c_t          (3')
 *     di = dc * g,  dg = dc * i,  df = dc * c_{t-1}                              (2')
 *     da = di * i (1-i), df * f (1-f), dg * (1 - g^2)                            (1')
 *     dc_{t-1} = dc * f + da_i * p_i + da_f * p_f
 *     dp_i, dp_f = sums of da_i * c_{t-1}, da_f * c_{t-1} */
#include "cells/lstm_math.h"

static void lstm_peephole_forward(const fc_tile *t) {
    lstm_forward_of(t, LSTM_PEEPHOLE);
}
static void lstm_peephole_forward_dropped(const fc_tile *t) {
    lstm_forward_of(t, LSTM_PEEPHOLE | LSTM_DROPPED);
}
static void lstm_peephole_backward(const fc_back_tile *t) {
    lstm_backward_of(t, LSTM_PEEPHOLE);
}
static void lstm_peephole_backward_dropped(const fc_back_tile *t) {
    lstm_backward_of(t, LSTM_PEEPHOLE | LSTM_DROPPED);
}

static const fc_cell lstm_peephole = {
    .name = "lstm_peephole",
    .gates = 4,
    .gate_names = {"i", "f", "g", "o"},
    .slot_names = {"i", "f", "g", "o"},
    .states = 2,
    .slots = 4,
    .x_gate = {0, 1, 2, 3},
    .owns = 1,
    .own = {{"weight_ch", 3, FC_BEGIN_DRAWN}},
    .sums = 2,
    .sum = {{.to = 0, .vectors = 2, .slot = LSTM_I, .factor = FC_BY_C_PREV},
            {.to = 2, .vectors = 1, .slot = LSTM_O, .factor = FC_BY_C}},
    .phases = 1,
    .phase = {{.gates = 4, .bounded = true}},
    .forward = {lstm_peephole_forward},
    .backward = {lstm_peephole_backward},
    .forward_dropped = {lstm_peephole_forward_dropped},
    .backward_dropped = {lstm_peephole_backward_dropped},
};

/* RNN (rnn.c) whose activation the options choose.
 *
 *     h_t = f(a),   a = W x_t + b_ih + R h_{t-1} + b_hh                      (1)
 *
 * Gates: one.  Saved: a, since f' does not follow from f(a): see activation.h.
 *
 *     da = dh_t * f'(a)                                                      (1') */
#include "cells/activation.h"

static void rnn_with_options_forward(const fc_tile *t) {
    const activation f = chosen_activation(t->options, 0, FC_ACT_TANH);
    FOR_EACH_BLOCK(t, r, u) {
        vreal a = input_gate(t, r, u, 0, 1) + recurrent_gate(t, r, u, 0, 1);
        save_slot(t, r, u, 0, a);
        store_row(t->h, r, u, of_units(t->hidden, u, activate(&f, a)));
    }
}

static void rnn_with_options_backward(const fc_back_tile *t) {
    const activation f = chosen_activation(t->options, 0, FC_ACT_TANH);
    FOR_EACH_BACK_BLOCK(t, r, u) {
        vreal slope;
        activate_again(&f, load_slot(t, r, u, 0), &slope);
        store_slot(t, r, u, 0, load_mutable(t->dh, r, u) * slope);
        store_row(t->dh, r, u, vzero());
    }
}

static const fc_cell rnn_with_options = {
    .name = "rnn_with_options",
    .gates = 1,
    .states = 1,
    .slots = 1,
    .x_gate = {0},
    .gate_names = {"h"},
    .roles = 1,
    .phases = 1,
    .phase = {{.gates = 1}},
    .forward = {rnn_with_options_forward},
    .backward = {rnn_with_options_backward},
};

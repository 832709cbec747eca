/* LSTM whose activations and clips the options choose: lstm_choice.h has the equations
 * and what is saved.  Gates: i f g o. */
#include "cells/lstm_choice.h"

static void lstmo_forward(const fc_tile *t) { lstmo_forward_of(t, LSTM_PLAIN); }
static void lstmo_forward_dropped(const fc_tile *t) {
    lstmo_forward_of(t, LSTM_DROPPED);
}
static void lstmo_backward(const fc_back_tile *t) { lstmo_backward_of(t, LSTM_PLAIN); }
static void lstmo_backward_dropped(const fc_back_tile *t) {
    lstmo_backward_of(t, LSTM_DROPPED);
}

static const fc_cell lstm_with_options = {
    .name = "lstm_with_options",
    .gates = 4,
    .states = 2,
    .slots = 4,
    .x_gate = {0, 1, 2, 3},
    .gate_names = {"i", "f", "g", "o"},
    .slot_names = {"i", "f", "g", "o"},
    .roles = 3,
    .clips_cell = true,
    .phases = 1,
    .phase = {{.gates = 4}},
    .forward = {lstmo_forward},
    .backward = {lstmo_backward},
    .reveal = lstmo_reveal,
    .forward_dropped = {lstmo_forward_dropped},
    .backward_dropped = {lstmo_backward_dropped},
};

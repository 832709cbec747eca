/* LSTM with coupled gates (lstm_coupled.c) whose activations and clips the options
 * choose: lstm_choice.h has the equations and what is saved.  Gates: f g o. */
#include "cells/lstm_choice.h"

static void lstmo_coupled_forward(const fc_tile *t) {
    lstmo_forward_of(t, LSTM_COUPLED);
}
static void lstmo_coupled_forward_dropped(const fc_tile *t) {
    lstmo_forward_of(t, LSTM_COUPLED | LSTM_DROPPED);
}
static void lstmo_coupled_backward(const fc_back_tile *t) {
    lstmo_backward_of(t, LSTM_COUPLED);
}
static void lstmo_coupled_backward_dropped(const fc_back_tile *t) {
    lstmo_backward_of(t, LSTM_COUPLED | LSTM_DROPPED);
}

static const fc_cell lstm_coupled_with_options = {
    .name = "lstm_coupled_with_options",
    .gates = 3,
    .states = 2,
    .slots = 3,
    .x_gate = {0, 1, 2},
    .gate_names = {"f", "g", "o"},
    .slot_names = {"f", "g", "o"},
    .roles = 3,
    .clips_cell = true,
    .phases = 1,
    .phase = {{.gates = 3}},
    .forward = {lstmo_coupled_forward},
    .backward = {lstmo_coupled_backward},
    .reveal = lstmo_coupled_reveal,
    .forward_dropped = {lstmo_coupled_forward_dropped},
    .backward_dropped = {lstmo_coupled_backward_dropped},
};

/* LSTM with peepholes and coupled gates (lstm_peephole_coupled.c) whose activations and
 * clips the options choose: lstm_choice.h has the equations and what is saved.  Gates:
 * f g o.  Parameter: weight_ch, that is p_f p_o. */
#include "cells/lstm_choice.h"

static void lstmo_peephole_coupled_forward(const fc_tile *t) {
    lstmo_forward_of(t, LSTM_PEEPHOLE | LSTM_COUPLED);
}
static void lstmo_peephole_coupled_forward_dropped(const fc_tile *t) {
    lstmo_forward_of(t, LSTM_PEEPHOLE | LSTM_COUPLED | LSTM_DROPPED);
}
static void lstmo_peephole_coupled_backward(const fc_back_tile *t) {
    lstmo_backward_of(t, LSTM_PEEPHOLE | LSTM_COUPLED);
}
static void lstmo_peephole_coupled_backward_dropped(const fc_back_tile *t) {
    lstmo_backward_of(t, LSTM_PEEPHOLE | LSTM_COUPLED | LSTM_DROPPED);
}

static const fc_cell lstm_peephole_coupled_with_options = {
    .name = "lstm_peephole_coupled_with_options",
    .gates = 3,
    .states = 2,
    .slots = 3,
    .x_gate = {0, 1, 2},
    .gate_names = {"f", "g", "o"},
    .slot_names = {"f", "g", "o"},
    .roles = 3,
    .clips_cell = true,
    .owns = 1,
    .own = {{"weight_ch", 2, FC_BEGIN_DRAWN}},
    .sums = 2,
    .sum = {{.to = 0, .vectors = 1, .slot = 0, .factor = FC_BY_C_PREV},
            {.to = 1, .vectors = 1, .slot = 2, .factor = FC_BY_C}},
    .phases = 1,
    .phase = {{.gates = 3}},
    .forward = {lstmo_peephole_coupled_forward},
    .backward = {lstmo_peephole_coupled_backward},
    .reveal = lstmo_coupled_reveal,
    .forward_dropped = {lstmo_peephole_coupled_forward_dropped},
    .backward_dropped = {lstmo_peephole_coupled_backward_dropped},
};

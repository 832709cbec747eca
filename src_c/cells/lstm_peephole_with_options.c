/* LSTM with peepholes (lstm_peephole.c) whose activations and clips the options choose:
 * lstm_choice.h has the equations and what is saved.  Gates: i f g o.  Parameter:
 * weight_ch, that is p_i p_f p_o, with the gradients of lstm_peephole.c. */
#include "cells/lstm_choice.h"

static void lstmo_peephole_forward(const fc_tile *t) {
    lstmo_forward_of(t, LSTM_PEEPHOLE);
}
static void lstmo_peephole_forward_dropped(const fc_tile *t) {
    lstmo_forward_of(t, LSTM_PEEPHOLE | LSTM_DROPPED);
}
static void lstmo_peephole_backward(const fc_back_tile *t) {
    lstmo_backward_of(t, LSTM_PEEPHOLE);
}
static void lstmo_peephole_backward_dropped(const fc_back_tile *t) {
    lstmo_backward_of(t, LSTM_PEEPHOLE | LSTM_DROPPED);
}

static const fc_cell lstm_peephole_with_options = {
    .name = "lstm_peephole_with_options",
    .gates = 4,
    .states = 2,
    .slots = 4,
    .x_gate = {0, 1, 2, 3},
    .gate_names = {"i", "f", "g", "o"},
    .slot_names = {"i", "f", "g", "o"},
    .roles = 3,
    .clips_cell = true,
    .owns = 1,
    .own = {{"weight_ch", 3, FC_BEGIN_DRAWN}},
    .sums = 2,
    .sum = {{.to = 0, .vectors = 2, .slot = LSTM_I, .factor = FC_BY_C_PREV},
            {.to = 2, .vectors = 1, .slot = LSTM_O, .factor = FC_BY_C}},
    .phases = 1,
    .phase = {{.gates = 4}},
    .forward = {lstmo_peephole_forward},
    .backward = {lstmo_peephole_backward},
    .reveal = lstmo_reveal,
    .forward_dropped = {lstmo_peephole_forward_dropped},
    .backward_dropped = {lstmo_peephole_backward_dropped},
};

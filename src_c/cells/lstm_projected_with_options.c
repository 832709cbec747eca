/* Projected LSTM (Sak, Senior & Beaufays 2014, arXiv:1402.1128) whose activations and
 * clips the options choose: m_t as in lstm_choice.h, h_t = W_hr m_t.
 *
 * Gates: i f g o.  Saved: as in lstm_choice.h, and m_t; the fifth slot is what it is in
 * lstm_projected.c. */
#include "cells/lstm_choice.h"

static void lstmo_projected_gates_forward(const fc_tile *t) {
    lstmo_gates_forward_of(t, LSTM_PLAIN);
}
static void lstmo_projected_gates_forward_dropped(const fc_tile *t) {
    lstmo_gates_forward_of(t, LSTM_DROPPED);
}
static void lstmo_projected_out_forward(const fc_tile *t) {
    lstm_projection_forward(t);
}
static void lstmo_projected_out_backward(const fc_back_tile *t) {
    lstm_projection_backward(t, LSTM_PLAIN);
}
static void lstmo_projected_gates_backward(const fc_back_tile *t) {
    lstmo_gates_backward_of(t, LSTM_PLAIN);
}
static void lstmo_projected_gates_backward_dropped(const fc_back_tile *t) {
    lstmo_gates_backward_of(t, LSTM_DROPPED);
}

static const fc_cell lstm_projected_with_options = {
    .name = "lstm_projected_with_options",
    .gates = 4,
    .states = 2,
    .slots = 5,
    .x_gate = {0, 1, 2, 3},
    .gate_names = {"i", "f", "g", "o"},
    .slot_names = {"i", "f", "g", "o"},
    .has_middle = true,
    .roles = 3,
    .clips_cell = true,
    .phases = 2,
    .phase = {{.gates = 4},
              {.gates = 1, .slot = 4, .from_middle = true, .projects = true}},
    .forward = {lstmo_projected_gates_forward, lstmo_projected_out_forward},
    .backward = {lstmo_projected_gates_backward, lstmo_projected_out_backward},
    .reveal = lstmo_reveal,
    .forward_dropped = {lstmo_projected_gates_forward_dropped,
                        lstmo_projected_out_forward},
    .backward_dropped = {lstmo_projected_gates_backward_dropped,
                         lstmo_projected_out_backward},
};

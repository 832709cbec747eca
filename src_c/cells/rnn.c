/* RNN: Elman, "Finding Structure in Time", Cognitive Science 14 (1990).
 *
 *     h_t = f(W x_t + b_ih + R h_{t-1} + b_hh),   f = tanh or relu           (1)
 *
 * Gates: one.  Saved: nothing, since f' is a function of h_t, which is kept anyway.
 *
 *     da  = dh_t * (1 - h_t^2)                  tanh                         (1')
 *     da  = dh_t where h_t > 0, else 0          relu  (NaN: 0, as PyTorch's) */
#include "cells/tile.h"

FC_INLINE vreal rnn_sum(const fc_tile *t, ptrdiff_t r, ptrdiff_t u) {
    return input_gate(t, r, u, 0, 1) + recurrent_gate(t, r, u, 0, 1);
}

static void rnn_tanh_forward(const fc_tile *t) {
    FOR_EACH_BLOCK(t, r, u)
    store_row(t->h, r, u, vtanh(rnn_sum(t, r, u)));
}

static void rnn_relu_forward(const fc_tile *t) {
    FOR_EACH_BLOCK(t, r, u)
    store_row(t->h, r, u, vmax_keep_nan(rnn_sum(t, r, u), vzero()));
}

static void rnn_tanh_backward(const fc_back_tile *t) {
    FOR_EACH_BACK_BLOCK(t, r, u) {
        vreal h = load_row(t->h, r, u);
        store_slot(t, r, u, 0, load_mutable(t->dh, r, u) * (vset1(1) - h * h));
        store_row(t->dh, r, u, vzero());
    }
}

static void rnn_relu_backward(const fc_back_tile *t) {
    FOR_EACH_BACK_BLOCK(t, r, u) {
        vreal dh = load_mutable(t->dh, r, u);
        store_slot(t, r, u, 0, vif_positive(load_row(t->h, r, u), dh, vzero()));
        store_row(t->dh, r, u, vzero());
    }
}

static const fc_cell rnn_tanh = {
    .name = "rnn_tanh",
    .gates = 1,
    .states = 1,
    .slots = 1,
    .x_gate = {0},
    .gate_names = {"h"},
    .phases = 1,
    .phase = {{.gates = 1, .bounded = true}},
    .forward = {rnn_tanh_forward},
    .backward = {rnn_tanh_backward},
};

static const fc_cell rnn_relu = {
    .name = "rnn_relu",
    .gates = 1,
    .states = 1,
    .slots = 1,
    .x_gate = {0},
    .gate_names = {"h"},
    .phases = 1,
    .phase = {{.gates = 1}},
    .forward = {rnn_relu_forward},
    .backward = {rnn_relu_backward},
};

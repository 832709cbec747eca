/* IndRNN: Li, Li, Cook, Zhu & Gao, "Independently Recurrent Neural Network", CVPR 2018
 * (arXiv:1803.04831).
 *
 *     h_t = f(W x_t + b_ih + u * h_{t-1}),   f = tanh or relu               (1)
 *
 * A unit reads only its own h, with one weight: u, the parameter weight_u.  There is no
 * R.  Gates: one.  Saved: nothing, since f' is a function of h_t, which is kept anyway.
 *
 *     da  = dh_t * (1 - h_t^2)                  tanh                        (1')
 *     da  = dh_t where h_t > 0, else 0          relu
 *     dh_{t-1} = da * u,  du = sum of da * h_{t-1} */
#include "cells/tile.h"

FC_INLINE vreal indrnn_sum(const fc_tile *t, ptrdiff_t r, ptrdiff_t u) {
    return vfma(unit_param(t, 0, u), load_row(t->h_prev, r, u),
                input_gate(t, r, u, 0, 1));
}

static void indrnn_tanh_forward(const fc_tile *t) {
    FOR_EACH_BLOCK(t, r, u)
    store_row(t->h, r, u, vtanh(indrnn_sum(t, r, u)));
}

static void indrnn_relu_forward(const fc_tile *t) {
    FOR_EACH_BLOCK(t, r, u)
    store_row(t->h, r, u, vmax_keep_nan(indrnn_sum(t, r, u), vzero()));
}

FC_INLINE void indrnn_gradients(const fc_back_tile *t, ptrdiff_t r, ptrdiff_t u,
                                vreal da) {
    store_slot(t, r, u, 0, da);
    store_row(t->dh, r, u, da * back_param(t, 0, u));
}

static void indrnn_tanh_backward(const fc_back_tile *t) {
    FOR_EACH_BACK_BLOCK(t, r, u) {
        vreal h = load_row(t->h, r, u);
        indrnn_gradients(t, r, u, load_mutable(t->dh, r, u) * (vset1(1) - h * h));
    }
}

static void indrnn_relu_backward(const fc_back_tile *t) {
    FOR_EACH_BACK_BLOCK(t, r, u) {
        vreal dh = load_mutable(t->dh, r, u);
        indrnn_gradients(t, r, u, vif_positive(load_row(t->h, r, u), dh, vzero()));
    }
}

static const fc_cell indrnn_tanh = {
    .name = "indrnn_tanh",
    .gates = 1,
    .states = 1,
    .slots = 1,
    .x_gate = {0},
    .gate_names = {"h"},
    .owns = 1,
    .own = {{"weight_u", 1, FC_BEGIN_FRACTION}},
    .sums = 1,
    .sum = {{.to = 0, .vectors = 1, .slot = 0, .factor = FC_BY_H_PREV}},
    .phases = 1,
    .phase = {{.gates = 0}},
    .forward = {indrnn_tanh_forward},
    .backward = {indrnn_tanh_backward},
};

static const fc_cell indrnn_relu = {
    .name = "indrnn_relu",
    .gates = 1,
    .states = 1,
    .slots = 1,
    .x_gate = {0},
    .gate_names = {"h"},
    .owns = 1,
    .own = {{"weight_u", 1, FC_BEGIN_FRACTION}},
    .sums = 1,
    .sum = {{.to = 0, .vectors = 1, .slot = 0, .factor = FC_BY_H_PREV}},
    .phases = 1,
    .phase = {{.gates = 0}},
    .forward = {indrnn_relu_forward},
    .backward = {indrnn_relu_backward},
};

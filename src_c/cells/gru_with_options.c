/* GRU with the reset after the product (gru.c), whose activations the options choose.
 *
 *     r, z = f(x_r + h_r, x_z + h_z)                                         (1)
 *     n = g(x_n + r * h_n)                                                   (2)
 *     h_t = n + z * (h_{t-1} - n)                                            (3)
 *
 * Gates: r z n.  Saved: what f and g are applied to, and h_n, in the order of gru.c;
 * see activation.h.
 *
 *     dz = dh * (h_{t-1} - n),  dn = dh * (1 - z),  dh_{t-1} = dh * z        (3')
 *     dx_n = dn * g',  dh_n = dx_n * r,  dr = dx_n * h_n                     (2')
 *     da_r = dr * f',  da_z = dz * f'                                        (1') */
#include "cells/activation.h"

enum { GRUO_N, GRUO_R, GRUO_Z, GRUO_HN };

FC_INLINE void gruo_forward_of(const fc_tile *t, bool drops) {
    const activation f = chosen_activation(t->options, 0, FC_ACT_SIGMOID);
    const activation g = chosen_activation(t->options, 1, FC_ACT_TANH);
    FOR_EACH_BLOCK(t, r_, u) {
        vreal a_r = input_gate(t, r_, u, 0, 3) + recurrent_gate(t, r_, u, 0, 3);
        vreal a_z = input_gate(t, r_, u, 1, 3) + recurrent_gate(t, r_, u, 1, 3);
        vreal hn = recurrent_gate(t, r_, u, 2, 3);
        vreal a_n = vfma(activate(&f, a_r), hn, input_gate(t, r_, u, 2, 3));
        vreal n = update_of(t, r_, u, activate(&g, a_n), drops), z = activate(&f, a_z);
        vreal h = vfma(z, load_row(t->h_prev, r_, u) - n, n);
        store_row(t->h, r_, u, of_units(t->hidden, u, h));
        save_slot(t, r_, u, GRUO_N, a_n);
        save_slot(t, r_, u, GRUO_R, a_r);
        save_slot(t, r_, u, GRUO_Z, a_z);
        save_slot(t, r_, u, GRUO_HN, hn);
    }
}

FC_INLINE void gruo_backward_of(const fc_back_tile *t, bool drops) {
    const activation f = chosen_activation(t->options, 0, FC_ACT_SIGMOID);
    const activation g = chosen_activation(t->options, 1, FC_ACT_TANH);
    FOR_EACH_BACK_BLOCK(t, r_, u) {
        vreal n_slope, r_slope, z_slope;
        vreal n = activate_again(&g, load_slot(t, r_, u, GRUO_N), &n_slope);
        vreal r = activate_again(&f, load_slot(t, r_, u, GRUO_R), &r_slope);
        vreal z = activate_again(&f, load_slot(t, r_, u, GRUO_Z), &z_slope);
        vreal hn = load_slot(t, r_, u, GRUO_HN);
        vreal dh = load_mutable(t->dh, r_, u);
        vreal dxn = back_update_of(t, r_, u, dh * (vset1(1) - z), drops) * n_slope;
        vreal d_n = back_update_of(t, r_, u, n, drops);
        vreal dz = dh * (load_row(t->h_prev, r_, u) - d_n);
        store_slot(t, r_, u, GRUO_N, dxn);
        store_slot(t, r_, u, GRUO_R, dxn * hn * r_slope);
        store_slot(t, r_, u, GRUO_Z, dz * z_slope);
        store_slot(t, r_, u, GRUO_HN, dxn * r);
        store_row(t->dh, r_, u, dh * z);
    }
}

static void gruo_reveal(const fc_back_tile *t) {
    const activation f = chosen_activation(t->options, 0, FC_ACT_SIGMOID);
    const activation g = chosen_activation(t->options, 1, FC_ACT_TANH);
    reveal_slot(t, GRUO_N, &g);
    reveal_slot(t, GRUO_R, &f);
    reveal_slot(t, GRUO_Z, &f);
}
WITH_UPDATE_DROPOUT(gruo_forward, gruo_backward)

static const fc_cell gru_with_options = {
    .name = "gru_with_options",
    .gates = 3,
    .states = 1,
    .slots = 4,
    .x_gate = {2, 0, 1},
    .gate_names = {"r", "z", "n"},
    .slot_names = {"n", "r", "z", "h_n"},
    .roles = 2,
    .phases = 1,
    .phase = {{.gates = 3, .slot = 1}},
    .forward = {gruo_forward},
    .backward = {gruo_backward},
    .reveal = gruo_reveal,
    .forward_dropped = {gruo_forward_dropped},
    .backward_dropped = {gruo_backward_dropped},
};

/* GRU with the reset before the product (gru_reset_before.c), whose activations the
 * options choose.
 *
 *     r, z = f(x_r + h_r, x_z + h_z)                                         (1)
 *     m = r * h_{t-1}                             the middle row             (2)
 *     n = g(x_n + R_n m + b_hn)                                              (3)
 *     h_t = n + z * (h_{t-1} - n)                                            (4)
 *
 * Gates: r z n.  Saved: what f and g are applied to, see activation.h, and m.
 *
 *     dz = dh * (h_{t-1} - n),  dn = dh * (1 - z),  dh_{t-1} = dh * z        (4')
 *     da_n = dn * g',  dm = R_n^T da_n  (a product of the driver's)          (3')
 *     dr = dm * h_{t-1},  dh_{t-1} += dm * r                                 (2')
 *     da_r = dr * f',  da_z = dz * f'                                        (1') */
#include "cells/activation.h"

enum { GRUBO_R, GRUBO_Z, GRUBO_N };

static void grubo_gates_forward(const fc_tile *t) {
    const activation f = chosen_activation(t->options, 0, FC_ACT_SIGMOID);
    FOR_EACH_BLOCK(t, r_, u) {
        vreal a_r = input_gate(t, r_, u, 0, 3) + recurrent_gate(t, r_, u, 0, 2);
        vreal a_z = input_gate(t, r_, u, 1, 3) + recurrent_gate(t, r_, u, 1, 2);
        save_slot(t, r_, u, GRUBO_R, a_r);
        save_slot(t, r_, u, GRUBO_Z, a_z);
        vreal m = activate(&f, a_r) * load_row(t->h_prev, r_, u);
        store_row(t->middle, r_, u, of_units(t->hidden, u, m));
    }
}

FC_INLINE void grubo_candidate_forward_of(const fc_tile *t, bool drops) {
    const activation f = chosen_activation(t->options, 0, FC_ACT_SIGMOID);
    const activation g = chosen_activation(t->options, 1, FC_ACT_TANH);
    FOR_EACH_BLOCK(t, r_, u) {
        vreal a_n = input_gate(t, r_, u, 2, 3) + recurrent_gate(t, r_, u, 0, 1);
        vreal a_z = vload((const real *)t->saved[r_] + GRUBO_Z * t->slot + u);
        vreal n = update_of(t, r_, u, activate(&g, a_n), drops), z = activate(&f, a_z);
        save_slot(t, r_, u, GRUBO_N, a_n);
        vreal h = vfma(z, load_row(t->h_prev, r_, u) - n, n);
        store_row(t->h, r_, u, of_units(t->hidden, u, h));
    }
}

FC_INLINE void grubo_candidate_backward_of(const fc_back_tile *t, bool drops) {
    const activation f = chosen_activation(t->options, 0, FC_ACT_SIGMOID);
    const activation g = chosen_activation(t->options, 1, FC_ACT_TANH);
    FOR_EACH_BACK_BLOCK(t, r_, u) {
        vreal n_slope, z_slope;
        vreal n = activate_again(&g, load_slot(t, r_, u, GRUBO_N), &n_slope);
        vreal z = activate_again(&f, load_slot(t, r_, u, GRUBO_Z), &z_slope);
        vreal dh = load_mutable(t->dh, r_, u);
        vreal d_n = back_update_of(t, r_, u, n, drops);
        vreal dn = back_update_of(t, r_, u, dh * (vset1(1) - z), drops);
        vreal dz = dh * (load_row(t->h_prev, r_, u) - d_n);
        store_slot(t, r_, u, GRUBO_Z, dz * z_slope);
        store_slot(t, r_, u, GRUBO_N, dn * n_slope);
        store_row(t->dh, r_, u, dh * z);
    }
}

WITH_UPDATE_DROPOUT(grubo_candidate_forward, grubo_candidate_backward)

static void grubo_gates_backward(const fc_back_tile *t) {
    const activation f = chosen_activation(t->options, 0, FC_ACT_SIGMOID);
    FOR_EACH_BACK_BLOCK(t, r_, u) {
        vreal slope;
        vreal r = activate_again(&f, load_slot(t, r_, u, GRUBO_R), &slope);
        vreal dm = load_mutable(t->dmiddle, r_, u);
        store_slot(t, r_, u, GRUBO_R, dm * load_row(t->h_prev, r_, u) * slope);
        store_row(t->dh, r_, u, vfma(dm, r, load_mutable(t->dh, r_, u)));
    }
}

static void grubo_reveal(const fc_back_tile *t) {
    const activation f = chosen_activation(t->options, 0, FC_ACT_SIGMOID);
    const activation g = chosen_activation(t->options, 1, FC_ACT_TANH);
    reveal_slot(t, GRUBO_R, &f);
    reveal_slot(t, GRUBO_Z, &f);
    reveal_slot(t, GRUBO_N, &g);
}

static const fc_cell gru_reset_before_with_options = {
    .name = "gru_reset_before_with_options",
    .gates = 3,
    .states = 1,
    .slots = 3,
    .x_gate = {0, 1, 2},
    .gate_names = {"r", "z", "n"},
    .slot_names = {"r", "z", "n"},
    .has_middle = true,
    .roles = 2,
    .phases = 2,
    .phase = {{.gates = 2},
              {.gates = 1, .first_gate = 2, .slot = 2, .from_middle = true}},
    .forward = {grubo_gates_forward, grubo_candidate_forward},
    .backward = {grubo_gates_backward, grubo_candidate_backward},
    .reveal = grubo_reveal,
    .forward_dropped = {grubo_gates_forward, grubo_candidate_forward_dropped},
    .backward_dropped = {grubo_gates_backward, grubo_candidate_backward_dropped},
};

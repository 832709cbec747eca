/* GRU, reset before the product: Cho et al., EMNLP 2014 (arXiv:1406.1078), as printed
 * (Keras: reset_after=False, ONNX: linear_before_reset=0).
 *
 *     r, z = sigmoid(x_r + h_r, x_z + h_z)                                   (1)
 *     m = r * h_{t-1}                             the middle row             (2)
 *     n = tanh(x_n + R_n m + b_hn)                                           (3)
 *     h_t = n + z * (h_{t-1} - n)                                            (4)
 *               with x = W x_t + b_ih,  h = R h_{t-1} + b_hh
 *
 * Gates: r z n.  Saved: r, z, n and m (the middle row, for dR_n).
 *
 *     dz = dh * (h_{t-1} - n),  dn = dh * (1 - z),  dh_{t-1} = dh * z        (4')
 *     da_n = dn * (1 - n^2),  dm = R_n^T da_n  (a product of the driver's)   (3')
 *     dr = dm * h_{t-1},  dh_{t-1} += dm * r                                 (2')
 *     da_r = dr * r (1-r),  da_z = dz * z (1-z)                              (1')
 *
 * With update dropout (4) and dz have d * n for n, and dn is d times as much. */
#include "cells/tile.h"

enum { GRUB_R, GRUB_Z, GRUB_N };

static void grub_gates_forward(const fc_tile *t) {
    FOR_EACH_BLOCK(t, r_, u) {
        vreal r = vsigmoid(input_gate(t, r_, u, 0, 3) + recurrent_gate(t, r_, u, 0, 2));
        vreal z = vsigmoid(input_gate(t, r_, u, 1, 3) + recurrent_gate(t, r_, u, 1, 2));
        save_slot(t, r_, u, GRUB_R, r);
        save_slot(t, r_, u, GRUB_Z, z);
        store_row(t->middle, r_, u, r * load_row(t->h_prev, r_, u));
    }
}

FC_INLINE void grub_candidate_forward_of(const fc_tile *t, bool drops) {
    FOR_EACH_BLOCK(t, r_, u) {
        vreal n = vtanh(input_gate(t, r_, u, 2, 3) + recurrent_gate(t, r_, u, 0, 1));
        vreal z = vload((const real *)t->saved[r_] + GRUB_Z * t->slot + u);
        save_slot(t, r_, u, GRUB_N, n);
        vreal d_n = update_of(t, r_, u, n, drops);
        store_row(t->h, r_, u, vfma(z, load_row(t->h_prev, r_, u) - d_n, d_n));
    }
}

FC_INLINE void grub_candidate_backward_of(const fc_back_tile *t, bool drops) {
    vreal one = vset1(1);
    FOR_EACH_BACK_BLOCK(t, r_, u) {
        vreal dh = load_mutable(t->dh, r_, u);
        vreal z = load_slot(t, r_, u, GRUB_Z);
        vreal n = load_slot(t, r_, u, GRUB_N);
        vreal d_n = back_update_of(t, r_, u, n, drops);
        vreal dn = back_update_of(t, r_, u, dh * (one - z), drops);
        vreal dz = dh * (load_row(t->h_prev, r_, u) - d_n);
        store_slot(t, r_, u, GRUB_Z, dz * (z * (one - z)));
        store_slot(t, r_, u, GRUB_N, dn * (one - n * n));
        store_row(t->dh, r_, u, dh * z);
    }
}

WITH_UPDATE_DROPOUT(grub_candidate_forward, grub_candidate_backward)

static void grub_gates_backward(const fc_back_tile *t) {
    vreal one = vset1(1);
    FOR_EACH_BACK_BLOCK(t, r_, u) {
        vreal dm = load_mutable(t->dmiddle, r_, u);
        vreal r = load_slot(t, r_, u, GRUB_R);
        vreal h_prev = load_row(t->h_prev, r_, u);
        store_slot(t, r_, u, GRUB_R, dm * h_prev * (r * (one - r)));
        store_row(t->dh, r_, u, vfma(dm, r, load_mutable(t->dh, r_, u)));
    }
}

static const fc_cell gru_reset_before = {
    .name = "gru_reset_before",
    .gates = 3,
    .states = 1,
    .slots = 3,
    .x_gate = {0, 1, 2},
    .gate_names = {"r", "z", "n"},
    .slot_names = {"r", "z", "n"},
    .has_middle = true,
    .phases = 2,
    .phase = {{.gates = 2, .bounded = true},
              {.gates = 1,
               .first_gate = 2,
               .slot = 2,
               .from_middle = true,
               .bounded = true}},
    .forward = {grub_gates_forward, grub_candidate_forward},
    .backward = {grub_gates_backward, grub_candidate_backward},
    .forward_dropped = {grub_gates_forward, grub_candidate_forward_dropped},
    .backward_dropped = {grub_gates_backward, grub_candidate_backward_dropped},
};

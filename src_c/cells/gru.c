/* GRU, reset after the product: Cho et al., EMNLP 2014 (arXiv:1406.1078), in the form
 * of cuDNN and PyTorch (Keras: reset_after=True, ONNX: linear_before_reset=1).
 *
 *     r, z = sigmoid(x_r + h_r, x_z + h_z)                                   (1)
 *     n = tanh(x_n + r * h_n)                                                (2)
 *     h_t = n + z * (h_{t-1} - n)                                            (3)
 *               with x = W x_t + b_ih,  h = R h_{t-1} + b_hh
 *
 * Gates: r z n, as in PyTorch.  Saved: n, r, z, h_n, which backward overwrites with
 * their gradients.  In this order the input part's window (n r z) and the recurrent
 * part's (r z h_n) are both contiguous.
 *
 *     dz = dh * (h_{t-1} - n),  dn = dh * (1 - z),  dh_{t-1} = dh * z        (3')
 *     dx_n = dn * (1 - n^2),  dh_n = dx_n * r,  dr = dx_n * h_n              (2')
 *     da_r = dr * r (1-r),  da_z = dz * z (1-z)                              (1')
 *
 * With update dropout (3) and dz have d * n for n, and dn is d times as much. */
#include "cells/tile.h"

enum { GRU_SAVED_N, GRU_SAVED_R, GRU_SAVED_Z, GRU_SAVED_HN };

FC_INLINE void gru_forward_of(const fc_tile *t, bool drops) {
    FOR_EACH_BLOCK(t, r_, u) {
        vreal r = vsigmoid(input_gate(t, r_, u, 0, 3) + recurrent_gate(t, r_, u, 0, 3));
        vreal z = vsigmoid(input_gate(t, r_, u, 1, 3) + recurrent_gate(t, r_, u, 1, 3));
        vreal hn = recurrent_gate(t, r_, u, 2, 3);
        vreal n = vtanh(vfma(r, hn, input_gate(t, r_, u, 2, 3)));
        vreal d_n = update_of(t, r_, u, n, drops);
        store_row(t->h, r_, u, vfma(z, load_row(t->h_prev, r_, u) - d_n, d_n));
        save_slot(t, r_, u, GRU_SAVED_N, n);
        save_slot(t, r_, u, GRU_SAVED_R, r);
        save_slot(t, r_, u, GRU_SAVED_Z, z);
        save_slot(t, r_, u, GRU_SAVED_HN, hn);
    }
}

FC_INLINE void gru_backward_of(const fc_back_tile *t, bool drops) {
    vreal one = vset1(1);
    FOR_EACH_BACK_BLOCK(t, r_, u) {
        vreal dh = load_mutable(t->dh, r_, u);
        vreal n = load_slot(t, r_, u, GRU_SAVED_N);
        vreal r = load_slot(t, r_, u, GRU_SAVED_R);
        vreal z = load_slot(t, r_, u, GRU_SAVED_Z);
        vreal hn = load_slot(t, r_, u, GRU_SAVED_HN);
        vreal d_n = back_update_of(t, r_, u, n, drops);
        vreal dn = back_update_of(t, r_, u, dh * (one - z), drops);
        vreal dxn = dn * (one - n * n);
        vreal dz = dh * (load_row(t->h_prev, r_, u) - d_n);
        store_slot(t, r_, u, GRU_SAVED_N, dxn);
        store_slot(t, r_, u, GRU_SAVED_R, dxn * hn * (r * (one - r)));
        store_slot(t, r_, u, GRU_SAVED_Z, dz * (z * (one - z)));
        store_slot(t, r_, u, GRU_SAVED_HN, dxn * r);
        store_row(t->dh, r_, u, dh * z);
    }
}

WITH_UPDATE_DROPOUT(gru_forward, gru_backward)

static const fc_cell gru = {
    .name = "gru",
    .gates = 3,
    .states = 1,
    .slots = 4,
    .x_gate = {2, 0, 1},
    .gate_names = {"r", "z", "n"},
    .slot_names = {"n", "r", "z", "h_n"},
    .phases = 1,
    .phase = {{.gates = 3, .slot = 1, .bounded = true}},
    .forward = {gru_forward},
    .backward = {gru_backward},
    .forward_dropped = {gru_forward_dropped},
    .backward_dropped = {gru_backward_dropped},
};

/* Light GRU: Ravanelli, Brakel, Omologo & Bengio, IEEE Transactions on Emerging Topics
 * in Computational Intelligence 2(2), 2018 (arXiv:1803.10225), without its batch
 * normalization of W x_t.
 *
 *     z = sigmoid(a_z),  n = relu(a_n)                                       (1)
 *         with a = W x_t + b_ih + R h_{t-1} + b_hh
 *     h_t = z * h_{t-1} + (1 - z) * n                                        (2)
 *
 * Gates: z n.  Saved: z, n, which backward overwrites with their gradients.  The slope
 * of relu is 1 where n > 0.
 *
 *     dz = dh * (h_{t-1} - n),  dn = dh * (1 - z),  dh_{t-1} = dh * z        (2')
 *     da_z = dz * z (1-z),  da_n = dn where n > 0, else 0                    (1')
 *
 * With update dropout (2) and dz have d * n for n, and dn is d times as much. */
#include "cells/tile.h"

enum { LIGRU_Z, LIGRU_N };

FC_INLINE vreal ligru_sum(const fc_tile *t, ptrdiff_t r, ptrdiff_t u, int g) {
    return input_gate(t, r, u, g, 2) + recurrent_gate(t, r, u, g, 2);
}

FC_INLINE void ligru_forward_of(const fc_tile *t, bool drops) {
    FOR_EACH_BLOCK(t, r, u) {
        vreal z = vsigmoid(ligru_sum(t, r, u, LIGRU_Z));
        vreal n = vmax_keep_nan(ligru_sum(t, r, u, LIGRU_N), vzero());
        vreal d_n = update_of(t, r, u, n, drops);
        vreal h = vfma(z, load_row(t->h_prev, r, u), (vset1(1) - z) * d_n);
        store_row(t->h, r, u, h); /* n + z * (h - n) would be NaN for infinite n */
        save_slot(t, r, u, LIGRU_Z, z);
        save_slot(t, r, u, LIGRU_N, n);
    }
}

FC_INLINE void ligru_backward_of(const fc_back_tile *t, bool drops) {
    vreal one = vset1(1);
    FOR_EACH_BACK_BLOCK(t, r, u) {
        vreal dh = load_mutable(t->dh, r, u);
        vreal z = load_slot(t, r, u, LIGRU_Z);
        vreal n = load_slot(t, r, u, LIGRU_N);
        vreal d_n = back_update_of(t, r, u, n, drops);
        vreal dn = back_update_of(t, r, u, dh * (one - z), drops);
        vreal dz = dh * (load_row(t->h_prev, r, u) - d_n);
        store_slot(t, r, u, LIGRU_Z, dz * (z * (one - z)));
        store_slot(t, r, u, LIGRU_N, vif_positive(n, dn, vzero()));
        store_row(t->dh, r, u, dh * z);
    }
}

WITH_UPDATE_DROPOUT(ligru_forward, ligru_backward)

static const fc_cell ligru = {
    .name = "ligru",
    .gates = 2,
    .states = 1,
    .slots = 2,
    .x_gate = {0, 1},
    .gate_names = {"z", "n"},
    .slot_names = {"z", "n"},
    .phases = 1,
    .phase = {{.gates = 2}},
    .forward = {ligru_forward},
    .backward = {ligru_backward},
    .forward_dropped = {ligru_forward_dropped},
    .backward_dropped = {ligru_backward_dropped},
};

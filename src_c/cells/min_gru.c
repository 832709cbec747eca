/* minGRU: Feng, Tung, Ahmed, Bengio & Hajimirsadeghi, "Were RNNs All We Needed?", 2024
 * (arXiv:2410.01201).
 *
 *     z = sigmoid(a_z),  n = g(a_n),   a = W x_t + b_ih                      (1)
 *     h_t = (1 - z) * h_{t-1} + z * n                                        (2)
 *
 * The gates are functions of x alone; there is no R.  g is the identity or, in the
 * positive form, which the authors compute in log space, a + 1/2 where a >= 0, else
 * sigmoid(a).
 * Gates: z n.  Saved: z, n, which backward overwrites with their gradients.
 *
 *     dz = dh * (n - h_{t-1}),  dn = dh * z,  dh_{t-1} = dh * (1 - z)        (2')
 *     da_z = dz * z (1-z),  da_n = dn * g'                                   (1')
 *            with g' = 1; in the positive form n (1-n) where n < 1/2
 *
 * With update dropout (2) and dz have d * n for n, and dn is d times as much. */
#include "cells/min_positive.h"

enum { MIN_GRU_Z, MIN_GRU_N };

FC_INLINE void min_gru_step(const fc_tile *t, ptrdiff_t r, ptrdiff_t u, vreal n,
                            bool drops) {
    vreal z = vsigmoid(input_gate(t, r, u, MIN_GRU_Z, 2));
    vreal h_prev = load_row(t->h_prev, r, u);
    vreal d_n = update_of(t, r, u, n, drops);
    store_row(t->h, r, u, vfma(z, d_n - h_prev, h_prev));
    save_slot(t, r, u, MIN_GRU_Z, z);
    save_slot(t, r, u, MIN_GRU_N, n);
}

FC_INLINE void min_gru_forward_of(const fc_tile *t, bool drops) {
    FOR_EACH_BLOCK(t, r, u)
    min_gru_step(t, r, u, input_gate(t, r, u, MIN_GRU_N, 2), drops);
}

FC_INLINE void min_gru_positive_forward_of(const fc_tile *t, bool drops) {
    FOR_EACH_BLOCK(t, r, u)
    min_gru_step(t, r, u, min_positive(input_gate(t, r, u, MIN_GRU_N, 2)), drops);
}

FC_INLINE void min_gru_gradients(const fc_back_tile *t, ptrdiff_t r, ptrdiff_t u,
                                 vreal slope, bool drops) {
    vreal one = vset1(1), dh = load_mutable(t->dh, r, u);
    vreal z = load_slot(t, r, u, MIN_GRU_Z), n = load_slot(t, r, u, MIN_GRU_N);
    vreal d_n = back_update_of(t, r, u, n, drops);
    vreal dn = back_update_of(t, r, u, dh * z, drops);
    vreal dz = dh * (d_n - load_row(t->h_prev, r, u));
    store_slot(t, r, u, MIN_GRU_Z, dz * (z * (one - z)));
    store_slot(t, r, u, MIN_GRU_N, dn * slope);
    store_row(t->dh, r, u, dh * (one - z));
}

FC_INLINE void min_gru_backward_of(const fc_back_tile *t, bool drops) {
    FOR_EACH_BACK_BLOCK(t, r, u)
    min_gru_gradients(t, r, u, vset1(1), drops);
}

FC_INLINE void min_gru_positive_backward_of(const fc_back_tile *t, bool drops) {
    FOR_EACH_BACK_BLOCK(t, r, u)
    min_gru_gradients(t, r, u, min_positive_slope(load_slot(t, r, u, MIN_GRU_N)),
                      drops);
}

WITH_UPDATE_DROPOUT(min_gru_forward, min_gru_backward)
WITH_UPDATE_DROPOUT(min_gru_positive_forward, min_gru_positive_backward)

static const fc_cell min_gru = {
    .name = "min_gru",
    .gates = 2,
    .states = 1,
    .slots = 2,
    .x_gate = {0, 1},
    .gate_names = {"z", "n"},
    .slot_names = {"z", "n"},
    .phases = 1,
    .phase = {{.gates = 0}},
    .forward = {min_gru_forward},
    .backward = {min_gru_backward},
    .forward_dropped = {min_gru_forward_dropped},
    .backward_dropped = {min_gru_backward_dropped},
};

static const fc_cell min_gru_positive = {
    .name = "min_gru_positive",
    .gates = 2,
    .states = 1,
    .slots = 2,
    .x_gate = {0, 1},
    .gate_names = {"z", "n"},
    .slot_names = {"z", "n"},
    .phases = 1,
    .phase = {{.gates = 0}},
    .forward = {min_gru_positive_forward},
    .backward = {min_gru_positive_backward},
    .forward_dropped = {min_gru_positive_forward_dropped},
    .backward_dropped = {min_gru_positive_backward_dropped},
};

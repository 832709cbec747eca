/* minLSTM: Feng, Tung, Ahmed, Bengio & Hajimirsadeghi, "Were RNNs All We Needed?", 2024
 * (arXiv:2410.01201).
 *
 *     f, i = sigmoid(a_f, a_i),  n = g(a_n),   a = W x_t + b_ih              (1)
 *     s = f / (f + i)                                                        (2)
 *     h_t = s * h_{t-1} + (1 - s) * n                                        (3)
 *
 * The gates are functions of x alone; there is no R, and h is the only state.  g is
 * that of min_gru.c.  Gates: f i n.  Saved: f, i, n, which backward overwrites with
 * their gradients; and s.
 *
 *     ds = dh * (h_{t-1} - n),  dn = dh * (1 - s),  dh_{t-1} = dh * s        (3')
 *     da_f = ds * s (1-s) * (1-f),  da_i = -ds * s (1-s) * (1-i)        (2') (1')
 *     da_n = dn * g'
 *
 * With update dropout (3) and ds have d * n for n, and dn is d times as much. */
#include "cells/min_positive.h"

enum { MIN_LSTM_F, MIN_LSTM_I, MIN_LSTM_N, MIN_LSTM_S };

/* least - a, for a >= least; 0 if both are the same infinity. */
FC_INLINE vreal min_lstm_difference(vreal least, vreal a) {
    return vif_positive(a - least, least - a, vzero());
}

FC_INLINE void min_lstm_step(const fc_tile *t, ptrdiff_t r, ptrdiff_t u, vreal n,
                             bool drops) {
    vreal one = vset1(1), h_prev = load_row(t->h_prev, r, u);
    vreal a_f = input_gate(t, r, u, MIN_LSTM_F, 3);
    vreal a_i = input_gate(t, r, u, MIN_LSTM_I, 3);
    /* f + i may underflow to 0, so (2) is computed as
     * (1 + exp(-a_i)) / (2 + exp(-a_i) + exp(-a_f)), with both sides of the quotient
     * times exp(least): then no exponent is above 0. */
    vreal least = vmin_keep_nan(vmin_keep_nan(a_f, a_i), vzero());
    vreal unit = vexp(least);
    vreal by_f = vexp(min_lstm_difference(least, a_f));
    vreal by_i = vexp(min_lstm_difference(least, a_i));
    vreal s = (unit + by_i) / (unit + unit + by_i + by_f);
    vreal d_n = update_of(t, r, u, n, drops);
    store_row(t->h, r, u, vfma(s, h_prev, (one - s) * d_n));
    save_slot(t, r, u, MIN_LSTM_F, vsigmoid(a_f));
    save_slot(t, r, u, MIN_LSTM_I, vsigmoid(a_i));
    save_slot(t, r, u, MIN_LSTM_N, n);
    save_slot(t, r, u, MIN_LSTM_S, s);
}

FC_INLINE void min_lstm_forward_of(const fc_tile *t, bool drops) {
    FOR_EACH_BLOCK(t, r, u)
    min_lstm_step(t, r, u, input_gate(t, r, u, MIN_LSTM_N, 3), drops);
}

FC_INLINE void min_lstm_positive_forward_of(const fc_tile *t, bool drops) {
    FOR_EACH_BLOCK(t, r, u)
    min_lstm_step(t, r, u, min_positive(input_gate(t, r, u, MIN_LSTM_N, 3)), drops);
}

FC_INLINE void min_lstm_gradients(const fc_back_tile *t, ptrdiff_t r, ptrdiff_t u,
                                  vreal slope, bool drops) {
    vreal one = vset1(1), dh = load_mutable(t->dh, r, u);
    vreal s = load_slot(t, r, u, MIN_LSTM_S), n = load_slot(t, r, u, MIN_LSTM_N);
    vreal d_n = back_update_of(t, r, u, n, drops);
    vreal dn = back_update_of(t, r, u, dh * (one - s), drops);
    vreal da = dh * (load_row(t->h_prev, r, u) - d_n) * (s * (one - s));
    store_slot(t, r, u, MIN_LSTM_F, da * (one - load_slot(t, r, u, MIN_LSTM_F)));
    vreal of_i = one - load_slot(t, r, u, MIN_LSTM_I);
    store_slot(t, r, u, MIN_LSTM_I, vzero() - da * of_i);
    store_slot(t, r, u, MIN_LSTM_N, dn * slope);
    store_row(t->dh, r, u, dh * s);
}

FC_INLINE void min_lstm_backward_of(const fc_back_tile *t, bool drops) {
    FOR_EACH_BACK_BLOCK(t, r, u)
    min_lstm_gradients(t, r, u, vset1(1), drops);
}

FC_INLINE void min_lstm_positive_backward_of(const fc_back_tile *t, bool drops) {
    FOR_EACH_BACK_BLOCK(t, r, u)
    min_lstm_gradients(t, r, u, min_positive_slope(load_slot(t, r, u, MIN_LSTM_N)),
                       drops);
}

WITH_UPDATE_DROPOUT(min_lstm_forward, min_lstm_backward)
WITH_UPDATE_DROPOUT(min_lstm_positive_forward, min_lstm_positive_backward)

static const fc_cell min_lstm = {
    .name = "min_lstm",
    .gates = 3,
    .states = 1,
    .slots = 4,
    .x_gate = {0, 1, 2},
    .gate_names = {"f", "i", "n"},
    .slot_names = {"f", "i", "n", "s"},
    .phases = 1,
    .phase = {{.gates = 0}},
    .forward = {min_lstm_forward},
    .backward = {min_lstm_backward},
    .forward_dropped = {min_lstm_forward_dropped},
    .backward_dropped = {min_lstm_backward_dropped},
};

static const fc_cell min_lstm_positive = {
    .name = "min_lstm_positive",
    .gates = 3,
    .states = 1,
    .slots = 4,
    .x_gate = {0, 1, 2},
    .gate_names = {"f", "i", "n"},
    .slot_names = {"f", "i", "n", "s"},
    .phases = 1,
    .phase = {{.gates = 0}},
    .forward = {min_lstm_positive_forward},
    .backward = {min_lstm_positive_backward},
    .forward_dropped = {min_lstm_positive_forward_dropped},
    .backward_dropped = {min_lstm_positive_backward_dropped},
};

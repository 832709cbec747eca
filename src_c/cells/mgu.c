/* Minimal gated unit: Zhou, Wu, Zhang & Zhou, International Journal of Automation and
 * Computing 13(3), 2016 (arXiv:1603.09420).
 *
 *     f = sigmoid(x_f + h_f)                                                 (1)
 *     m = f * h_{t-1}                             the middle row             (2)
 *     n = tanh(x_n + R_n m + b_hn)                                           (3)
 *     h_t = h_{t-1} + f * (n - h_{t-1})                                      (4)
 *               with x = W x_t + b_ih,  h = R h_{t-1} + b_hh
 *
 * Gates: f n.  Saved: f, n and m (the middle row, for dR_n).  The third slot is empty
 * until backward stores df of (4') there, for (2').  df from h_t - h_{t-1} would have
 * few correct digits where f is small.
 *
 *     df = dh * (n - h_{t-1}),  dn = dh * f,  dh_{t-1} = dh * (1 - f)        (4')
 *     da_n = dn * (1 - n^2),  dm = R_n^T da_n  (a product of the driver's)   (3')
 *     df += dm * h_{t-1},  dh_{t-1} += dm * f                                (2')
 *     da_f = df * f (1-f)                                                    (1')
 *
 * With update dropout (4) and df have d * n for n, and dn is d times as much. */
#include "cells/tile.h"

enum { MGU_F, MGU_N, MGU_DF };

static void mgu_gate_forward(const fc_tile *t) {
    FOR_EACH_BLOCK(t, r, u) {
        vreal f = vsigmoid(input_gate(t, r, u, 0, 2) + recurrent_gate(t, r, u, 0, 1));
        save_slot(t, r, u, MGU_F, f);
        store_row(t->middle, r, u, f * load_row(t->h_prev, r, u));
    }
}

FC_INLINE void mgu_candidate_forward_of(const fc_tile *t, bool drops) {
    FOR_EACH_BLOCK(t, r, u) {
        vreal n = vtanh(input_gate(t, r, u, 1, 2) + recurrent_gate(t, r, u, 0, 1));
        vreal f = vload((const real *)t->saved[r] + MGU_F * t->slot + u);
        vreal h_prev = load_row(t->h_prev, r, u);
        save_slot(t, r, u, MGU_N, n);
        vreal d_n = update_of(t, r, u, n, drops);
        store_row(t->h, r, u, vfma(f, d_n - h_prev, h_prev));
    }
}

FC_INLINE void mgu_candidate_backward_of(const fc_back_tile *t, bool drops) {
    vreal one = vset1(1);
    FOR_EACH_BACK_BLOCK(t, r, u) {
        vreal dh = load_mutable(t->dh, r, u);
        vreal f = load_slot(t, r, u, MGU_F);
        vreal n = load_slot(t, r, u, MGU_N);
        vreal d_n = back_update_of(t, r, u, n, drops);
        vreal dn = back_update_of(t, r, u, dh * f, drops);
        store_slot(t, r, u, MGU_DF, dh * (d_n - load_row(t->h_prev, r, u)));
        store_slot(t, r, u, MGU_N, dn * (one - n * n));
        store_row(t->dh, r, u, dh * (one - f));
    }
}

WITH_UPDATE_DROPOUT(mgu_candidate_forward, mgu_candidate_backward)

static void mgu_gate_backward(const fc_back_tile *t) {
    vreal one = vset1(1);
    FOR_EACH_BACK_BLOCK(t, r, u) {
        vreal dm = load_mutable(t->dmiddle, r, u);
        vreal f = load_slot(t, r, u, MGU_F);
        vreal df = vfma(dm, load_row(t->h_prev, r, u), load_slot(t, r, u, MGU_DF));
        store_slot(t, r, u, MGU_F, df * (f * (one - f)));
        store_row(t->dh, r, u, vfma(dm, f, load_mutable(t->dh, r, u)));
    }
}

static const fc_cell mgu = {
    .name = "mgu",
    .gates = 2,
    .states = 1,
    .slots = 3,
    .x_gate = {0, 1},
    .gate_names = {"f", "n"},
    .slot_names = {"f", "n"},
    .has_middle = true,
    .phases = 2,
    .phase = {{.gates = 1, .bounded = true},
              {.gates = 1,
               .first_gate = 1,
               .slot = 1,
               .from_middle = true,
               .bounded = true}},
    .forward = {mgu_gate_forward, mgu_candidate_forward},
    .backward = {mgu_gate_backward, mgu_candidate_backward},
    .forward_dropped = {mgu_gate_forward, mgu_candidate_forward_dropped},
    .backward_dropped = {mgu_gate_backward, mgu_candidate_backward_dropped},
};

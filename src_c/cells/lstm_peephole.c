/* Peephole LSTM: Gers, Schraudolph & Schmidhuber, "Learning Precise Timing with LSTM
 * Recurrent Networks", JMLR 3, 2002.
 *
 *     i, f = sigmoid(a_i + p_i * c_{t-1}, a_f + p_f * c_{t-1}),  g = tanh(a_g)   (1)
 *            with a = W x_t + b_ih + R h_{t-1} + b_hh
 *     c_t = f * c_{t-1} + i * g                                                  (2)
 *     o = sigmoid(a_o + p_o * c_t)                                               (3)
 *     h_t = o * tanh(c_t)                                                        (4)
 *
 * Gates: i f g o.  Parameter: weight_ch, that is p_i p_f p_o, one value for each unit.
 * Saved: i, f, g, o, which backward overwrites with their gradients, as in lstm.c.
 *
 *     do = dh * tanh(c_t),  dc += dh * o * (1 - tanh(c_t)^2)                     (4')
 *     da_o = do * o (1-o),  dc += da_o * p_o,  dp_o = sum of da_o * c_t          (3')
 *     di = dc * g,  dg = dc * i,  df = dc * c_{t-1}                              (2')
 *     da = di * i (1-i), df * f (1-f), dg * (1 - g^2)                            (1')
 *     dc_{t-1} = dc * f + da_i * p_i + da_f * p_f
 *     dp_i, dp_f = sums of da_i * c_{t-1}, da_f * c_{t-1} */
#include "cells/tile.h"

enum { PEEP_I, PEEP_F, PEEP_G, PEEP_O };
enum { PEEP_P_I, PEEP_P_F, PEEP_P_O };

FC_INLINE vreal peep_sum(const fc_tile *t, ptrdiff_t r, ptrdiff_t u, int g) {
    return input_gate(t, r, u, g, 4) + recurrent_gate(t, r, u, g, 4);
}

static void lstm_peephole_forward(const fc_tile *t) {
    FOR_EACH_BLOCK(t, r, u) {
        vreal c_prev = load_row(t->c_prev, r, u);
        vreal i = vsigmoid(
            vfma(unit_param(t, PEEP_P_I, u), c_prev, peep_sum(t, r, u, PEEP_I)));
        vreal f = vsigmoid(
            vfma(unit_param(t, PEEP_P_F, u), c_prev, peep_sum(t, r, u, PEEP_F)));
        vreal g = vtanh(peep_sum(t, r, u, PEEP_G));
        vreal c = vfma(f, c_prev, i * g);
        vreal o =
            vsigmoid(vfma(unit_param(t, PEEP_P_O, u), c, peep_sum(t, r, u, PEEP_O)));
        store_row(t->c, r, u, c);
        store_row(t->h, r, u, o * vtanh(c));
        save_slot(t, r, u, PEEP_I, i);
        save_slot(t, r, u, PEEP_F, f);
        save_slot(t, r, u, PEEP_G, g);
        save_slot(t, r, u, PEEP_O, o);
    }
}

static void lstm_peephole_backward(const fc_back_tile *t) {
    vreal one = vset1(1);
    FOR_EACH_BACK_BLOCK(t, r, u) {
        vreal i = load_slot(t, r, u, PEEP_I);
        vreal f = load_slot(t, r, u, PEEP_F);
        vreal g = load_slot(t, r, u, PEEP_G);
        vreal o = load_slot(t, r, u, PEEP_O);
        vreal s = vtanh(load_row(t->c, r, u));
        vreal dh = load_mutable(t->dh, r, u);
        vreal da_o = dh * s * (o * (one - o));
        vreal dc = vfma(dh * o, one - s * s, load_mutable(t->dc, r, u));
        dc = vfma(da_o, back_param(t, PEEP_P_O, u), dc);
        vreal da_i = dc * g * (i * (one - i));
        vreal da_f = dc * load_row(t->c_prev, r, u) * (f * (one - f));
        store_slot(t, r, u, PEEP_I, da_i);
        store_slot(t, r, u, PEEP_F, da_f);
        store_slot(t, r, u, PEEP_G, dc * i * (one - g * g));
        store_slot(t, r, u, PEEP_O, da_o);
        dc = vfma(da_i, back_param(t, PEEP_P_I, u), dc * f);
        store_row(t->dc, r, u, vfma(da_f, back_param(t, PEEP_P_F, u), dc));
        store_row(t->dh, r, u, vzero());
    }
}

static const fc_cell lstm_peephole = {
    .name = "lstm_peephole",
    .gates = 4,
    .gate_names = {"i", "f", "g", "o"},
    .states = 2,
    .slots = 4,
    .x_gate = {0, 1, 2, 3},
    .owns = 1,
    .own = {{"weight_ch", 3, FC_BEGIN_DRAWN}},
    .sums = 2,
    .sum = {{.to = PEEP_P_I, .vectors = 2, .slot = PEEP_I, .factor = FC_BY_C_PREV},
            {.to = PEEP_P_O, .vectors = 1, .slot = PEEP_O, .factor = FC_BY_C}},
    .phases = 1,
    .phase = {{.gates = 4, .bounded = true}},
    .forward = {lstm_peephole_forward},
    .backward = {lstm_peephole_backward},
};

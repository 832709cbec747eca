/* The equations that all forms of the LSTM share, forward and backward.
 *
 *     i, f = sigmoid(a_i + p_i * c_{t-1}, a_f + p_f * c_{t-1}),  g = tanh(a_g)   (1)
 *            with a = W x_t + b_ih + R h_{t-1} + b_hh;  coupled: i = 1 - f
 *     c_t = f * c_{t-1} + i * g                                                  (2)
 *     o = sigmoid(a_o + p_o * c_t)                                               (3)
 *     m_t = o * tanh(c_t)                                                        (4)
 *
 *     do = dm * tanh(c_t),  dc += dm * o * (1 - tanh(c_t)^2)                     (4')
 *     da_o = do * o (1-o),  dc += da_o * p_o                                     (3')
 *     di = dc * g,  dg = dc * i,  df = dc * c_{t-1};  coupled: df -= di          (2')
 *     da = di * i (1-i), df * f (1-f), dg * (1 - g^2)                            (1')
 *     dc_{t-1} = dc * f + da_i * p_i + da_f * p_f
 *
 * `form` is a constant in each call, so the compiler removes what a form does not have:
 * without LSTM_PEEPHOLE all p, with LSTM_COUPLED a_i and p_i.  With LSTM_DROPPED, (2)
 * and (2') have d * g for g, and dg is d times as much: update dropout, whose d is the
 * driver's. */
#ifndef FC_LSTM_MATH_H
#define FC_LSTM_MATH_H

#include "cells/tile.h"

enum { LSTM_I, LSTM_F, LSTM_G, LSTM_O };
enum { LSTM_PLAIN = 0, LSTM_PEEPHOLE = 1, LSTM_COUPLED = 2, LSTM_DROPPED = 4 };

/* The number of a gate in the form, which is also its slot. */
FC_INLINE int lstm_gate(int gate, int form) {
    return form & LSTM_COUPLED ? gate - 1 : gate;
}
/* The vector of a gate's peepholes; g has none. */
FC_INLINE int lstm_peephole_of(int gate, int form) {
    return lstm_gate(gate == LSTM_O ? LSTM_G : gate, form);
}

/* a of a gate. */
FC_INLINE vreal lstm_sum(const fc_tile *t, ptrdiff_t r, ptrdiff_t u, int gate,
                         int form) {
    int gates = lstm_gate(LSTM_O, form) + 1;
    return input_gate(t, r, u, lstm_gate(gate, form), gates) +
           recurrent_gate(t, r, u, lstm_gate(gate, form), gates);
}
/* The gates i and f, which read c_{t-1} if the form has peepholes. */
FC_INLINE vreal lstm_early(const fc_tile *t, ptrdiff_t r, ptrdiff_t u, int gate,
                           int form) {
    vreal a = lstm_sum(t, r, u, gate, form);
    if (form & LSTM_PEEPHOLE)
        a = vfma(unit_param(t, lstm_peephole_of(gate, form), u),
                 load_row(t->c_prev, r, u), a);
    return vsigmoid(a);
}

/* (1) to (4): stores c_t and the saved gates, returns o * tanh(c_t). */
FC_INLINE vreal lstm_output(const fc_tile *t, ptrdiff_t r, ptrdiff_t u, int form) {
    vreal i = vzero();
    if (!(form & LSTM_COUPLED))
        i = lstm_early(t, r, u, LSTM_I, form);
    vreal f = lstm_early(t, r, u, LSTM_F, form);
    if (form & LSTM_COUPLED)
        i = vset1(1) - f;
    vreal g = vtanh(lstm_sum(t, r, u, LSTM_G, form));
    vreal o = vzero();
    if (!(form & LSTM_PEEPHOLE)) /* before c: fewer values are live */
        o = vsigmoid(lstm_sum(t, r, u, LSTM_O, form));
    vreal d_g = update_of(t, r, u, g, form & LSTM_DROPPED);
    vreal c = vfma(f, load_row(t->c_prev, r, u), i * d_g); /* (2) */
    if (form & LSTM_PEEPHOLE)
        o = vsigmoid(vfma(unit_param(t, lstm_peephole_of(LSTM_O, form), u), c,
                          lstm_sum(t, r, u, LSTM_O, form)));
    store_row(t->c, r, u, c);
    if (!(form & LSTM_COUPLED))
        save_slot(t, r, u, LSTM_I, i);
    save_slot(t, r, u, lstm_gate(LSTM_F, form), f);
    save_slot(t, r, u, lstm_gate(LSTM_G, form), g);
    save_slot(t, r, u, lstm_gate(LSTM_O, form), o);
    return o * vtanh(c);
}

/* (4') to (1').  dm: the gradient of m_t.  The gradient of c_t is in t->dc. */
FC_INLINE void lstm_gradients(const fc_back_tile *t, ptrdiff_t r, ptrdiff_t u, vreal dm,
                              int form) {
    vreal one = vset1(1);
    vreal f = load_slot(t, r, u, lstm_gate(LSTM_F, form));
    vreal i = one - f;
    if (!(form & LSTM_COUPLED))
        i = load_slot(t, r, u, LSTM_I);
    vreal g = load_slot(t, r, u, lstm_gate(LSTM_G, form));
    vreal o = load_slot(t, r, u, lstm_gate(LSTM_O, form));
    vreal c_prev = load_row(t->c_prev, r, u);
    vreal s = vtanh(load_row(t->c, r, u));
    vreal da_o = dm * s * (o * (one - o));
    vreal dc = vfma(dm * o, one - s * s, load_mutable(t->dc, r, u));
    if (form & LSTM_PEEPHOLE)
        dc = vfma(da_o, back_param(t, lstm_peephole_of(LSTM_O, form), u), dc);
    vreal d_g = back_update_of(t, r, u, g, form & LSTM_DROPPED);
    vreal da_i = dc * d_g * (i * (one - i));
    vreal of_f = c_prev;
    if (form & LSTM_COUPLED)
        of_f = c_prev - d_g;
    vreal da_f = dc * of_f * (f * (one - f));
    if (!(form & LSTM_COUPLED))
        store_slot(t, r, u, LSTM_I, da_i);
    store_slot(t, r, u, lstm_gate(LSTM_F, form), da_f);
    vreal dg = back_update_of(t, r, u, dc * i, form & LSTM_DROPPED);
    store_slot(t, r, u, lstm_gate(LSTM_G, form), dg * (one - g * g));
    store_slot(t, r, u, lstm_gate(LSTM_O, form), da_o);
    vreal dc_prev = dc * f;
    if ((form & ~LSTM_DROPPED) == LSTM_PEEPHOLE)
        dc_prev = vfma(da_i, back_param(t, lstm_peephole_of(LSTM_I, form), u), dc_prev);
    if (form & LSTM_PEEPHOLE)
        dc_prev = vfma(da_f, back_param(t, lstm_peephole_of(LSTM_F, form), u), dc_prev);
    store_row(t->dc, r, u, dc_prev);
}

/* Forward and backward of a form whose h_t is m_t. */
FC_INLINE void lstm_forward_of(const fc_tile *t, int form) {
    FOR_EACH_BLOCK(t, r, u)
    store_row(t->h, r, u, lstm_output(t, r, u, form));
}
FC_INLINE void lstm_backward_of(const fc_back_tile *t, int form) {
    FOR_EACH_BACK_BLOCK(t, r, u) {
        lstm_gradients(t, r, u, load_mutable(t->dh, r, u), form);
        store_row(t->dh, r, u, vzero());
    }
}

/* The phases of a form whose output is W_hr m_t.  m_t is the middle row.  The slot
 * after those of the gates is empty until backward puts dh_t there, for dW_hr = dh_t
 * m_t^T. */
FC_INLINE void lstm_gates_forward(const fc_tile *t, int form) {
    FOR_EACH_BLOCK(t, r, u)
    store_row(t->middle, r, u, lstm_output(t, r, u, form));
}
FC_INLINE void lstm_projection_forward(const fc_tile *t) {
    FOR_EACH_BLOCK(t, r, u)
    store_row(t->h, r, u, recurrent_gate(t, r, u, 0, 1));
}
FC_INLINE void lstm_projection_backward(const fc_back_tile *t, int form) {
    FOR_EACH_BACK_BLOCK(t, r, u) {
        store_slot(t, r, u, lstm_gate(LSTM_O, form) + 1, load_mutable(t->dh, r, u));
        store_row(t->dh, r, u, vzero());
    }
}
FC_INLINE void lstm_gates_backward(const fc_back_tile *t, int form) {
    FOR_EACH_BACK_BLOCK(t, r, u)
    lstm_gradients(t, r, u, load_mutable(t->dmiddle, r, u), form);
}

#endif

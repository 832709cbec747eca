/* What the forms of the LSTM share whose activations and clips the options choose; the
 * forms are those of lstm_math.h.
 *
 *     i, f = s(a_i + p_i * c_{t-1}, a_f + p_f * c_{t-1}),  g = t(a_g)            (1)
 *            with a = W x_t + b_ih + R h_{t-1} + b_hh;  coupled: i = 1 - f
 *     c_t = clip(f * c_{t-1} + i * g)                                            (2)
 *     o = s(a_o + p_o * c_t)                                                     (3)
 *     m_t = o * v(c_t)                                                           (4)
 *
 * The cell clip is that of Sak, Senior & Beaufays 2014 (arXiv:1402.1128) and of
 * TensorFlow's LSTMCell: what is clipped is the state.  ONNX' clip, the gate clip, is
 * within s, t and v, also of c_t there, whose state stays.
 *
 * Saved: what s and t are applied to, see activation.h.
 *
 *     do = dm * v(c_t),  dc += dm * o * v'                                       (4')
 *     da_o = do * s',  dc += da_o * p_o                                          (3')
 *     dc = 0 where c_t is clipped
 *     di = dc * g,  dg = dc * i,  df = dc * c_{t-1};  coupled: df -= di          (2')
 *     da = di * s', df * s', dg * t'                                             (1')
 *     dc_{t-1} = dc * f + da_i * p_i + da_f * p_f */
#ifndef FC_LSTM_CHOICE_H
#define FC_LSTM_CHOICE_H

#include "cells/activation.h"
#include "cells/lstm_math.h"

typedef struct lstm_choice {
    activation gate, candidate, output; /* s, t, v */
    real clip;                          /* of c; 0: none */
} lstm_choice;

FC_INLINE lstm_choice lstm_choice_of(const fc_options *options) {
    return (lstm_choice){chosen_activation(options, 0, FC_ACT_SIGMOID),
                         chosen_activation(options, 1, FC_ACT_TANH),
                         chosen_activation(options, 2, FC_ACT_TANH),
                         (real)options->cell_clip};
}

/* What i or f is applied to. */
FC_INLINE vreal lstmo_early(const fc_tile *t, ptrdiff_t r, ptrdiff_t u, int gate,
                            int form) {
    vreal a = lstm_sum(t, r, u, gate, form);
    if (form & LSTM_PEEPHOLE)
        a = vfma(unit_param(t, lstm_peephole_of(gate, form), u),
                 load_row(t->c_prev, r, u), a);
    return a;
}

/* (1) to (4): stores c_t and what is saved, returns m_t. */
FC_INLINE vreal lstmo_output(const fc_tile *t, ptrdiff_t r, ptrdiff_t u,
                             const lstm_choice *choice, int form) {
    vreal i = vzero();
    if (!(form & LSTM_COUPLED)) {
        vreal a_i = lstmo_early(t, r, u, LSTM_I, form);
        save_slot(t, r, u, LSTM_I, a_i);
        i = activate(&choice->gate, a_i);
    }
    vreal a_f = lstmo_early(t, r, u, LSTM_F, form);
    save_slot(t, r, u, lstm_gate(LSTM_F, form), a_f);
    vreal f = activate(&choice->gate, a_f);
    if (form & LSTM_COUPLED)
        i = vset1(1) - f;
    vreal a_g = lstm_sum(t, r, u, LSTM_G, form);
    save_slot(t, r, u, lstm_gate(LSTM_G, form), a_g);
    vreal g = activate(&choice->candidate, a_g);
    g = update_of(t, r, u, g, form & LSTM_DROPPED);
    vreal c =
        bounded(vfma(f, load_row(t->c_prev, r, u), i * g), choice->clip); /* (2) */
    c = of_units(t->hidden, u, c);
    store_row(t->c, r, u, c);
    vreal a_o = lstm_sum(t, r, u, LSTM_O, form);
    if (form & LSTM_PEEPHOLE)
        a_o = vfma(unit_param(t, lstm_peephole_of(LSTM_O, form), u), c, a_o);
    save_slot(t, r, u, lstm_gate(LSTM_O, form), a_o);
    vreal o = activate(&choice->gate, a_o);
    return of_units(t->hidden, u, o * activate(&choice->output, c));
}

/* (4') to (1'), from dm. */
FC_INLINE void lstmo_gradients(const fc_back_tile *t, ptrdiff_t r, ptrdiff_t u,
                               vreal dm, const lstm_choice *choice, int form) {
    const activation *s = &choice->gate;
    vreal one = vset1(1), c = load_row(t->c, r, u), c_prev = load_row(t->c_prev, r, u);
    vreal i_slope = one, f_slope, g_slope, o_slope, v_slope;
    vreal f = activate_again(s, load_slot(t, r, u, lstm_gate(LSTM_F, form)), &f_slope);
    vreal i = one - f;
    if (!(form & LSTM_COUPLED))
        i = activate_again(s, load_slot(t, r, u, LSTM_I), &i_slope);
    vreal g = activate_again(&choice->candidate,
                             load_slot(t, r, u, lstm_gate(LSTM_G, form)), &g_slope);
    g = back_update_of(t, r, u, g, form & LSTM_DROPPED);
    g_slope = back_update_of(t, r, u, g_slope, form & LSTM_DROPPED);
    vreal o = activate_again(s, load_slot(t, r, u, lstm_gate(LSTM_O, form)), &o_slope);
    vreal v = activate_again(&choice->output, c, &v_slope);
    vreal da_o = dm * v * o_slope;
    vreal dc = vfma(dm * o, v_slope, load_mutable(t->dc, r, u));
    if (form & LSTM_PEEPHOLE)
        dc = vfma(da_o, back_param(t, lstm_peephole_of(LSTM_O, form), u), dc);
    dc = bounded_gradient(c, choice->clip, dc);
    vreal da_i = dc * g * i_slope;
    vreal of_f = c_prev;
    if (form & LSTM_COUPLED)
        of_f = c_prev - g;
    vreal da_f = dc * of_f * f_slope;
    if (!(form & LSTM_COUPLED))
        store_slot(t, r, u, LSTM_I, da_i);
    store_slot(t, r, u, lstm_gate(LSTM_F, form), da_f);
    store_slot(t, r, u, lstm_gate(LSTM_G, form), dc * i * g_slope);
    store_slot(t, r, u, lstm_gate(LSTM_O, form), da_o);
    vreal dc_prev = dc * f;
    if ((form & ~LSTM_DROPPED) == LSTM_PEEPHOLE)
        dc_prev = vfma(da_i, back_param(t, lstm_peephole_of(LSTM_I, form), u), dc_prev);
    if (form & LSTM_PEEPHOLE)
        dc_prev = vfma(da_f, back_param(t, lstm_peephole_of(LSTM_F, form), u), dc_prev);
    store_row(t->dc, r, u, dc_prev);
}

static void lstmo_reveal_of(const fc_back_tile *t, int form) {
    const lstm_choice choice = lstm_choice_of(t->options);
    if (!(form & LSTM_COUPLED))
        reveal_slot(t, LSTM_I, &choice.gate);
    reveal_slot(t, lstm_gate(LSTM_F, form), &choice.gate);
    reveal_slot(t, lstm_gate(LSTM_G, form), &choice.candidate);
    reveal_slot(t, lstm_gate(LSTM_O, form), &choice.gate);
}
static void lstmo_reveal(const fc_back_tile *t) { lstmo_reveal_of(t, LSTM_PLAIN); }
static void lstmo_coupled_reveal(const fc_back_tile *t) {
    lstmo_reveal_of(t, LSTM_COUPLED);
}

FC_INLINE void lstmo_forward_of(const fc_tile *t, int form) {
    const lstm_choice choice = lstm_choice_of(t->options);
    FOR_EACH_BLOCK(t, r, u)
    store_row(t->h, r, u, lstmo_output(t, r, u, &choice, form));
}
FC_INLINE void lstmo_backward_of(const fc_back_tile *t, int form) {
    const lstm_choice choice = lstm_choice_of(t->options);
    FOR_EACH_BACK_BLOCK(t, r, u) {
        lstmo_gradients(t, r, u, load_mutable(t->dh, r, u), &choice, form);
        store_row(t->dh, r, u, vzero());
    }
}
/* Of the form whose output is W_hr m_t: the rest is in lstm_math.h. */
FC_INLINE void lstmo_gates_forward_of(const fc_tile *t, int form) {
    const lstm_choice choice = lstm_choice_of(t->options);
    FOR_EACH_BLOCK(t, r, u)
    store_row(t->middle, r, u, lstmo_output(t, r, u, &choice, form));
}
FC_INLINE void lstmo_gates_backward_of(const fc_back_tile *t, int form) {
    const lstm_choice choice = lstm_choice_of(t->options);
    FOR_EACH_BACK_BLOCK(t, r, u)
    lstmo_gradients(t, r, u, load_mutable(t->dmiddle, r, u), &choice, form);
}

#endif

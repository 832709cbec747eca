/* What the LSTM and its projected form share: equations (1) to (3) and back. */
#ifndef FC_LSTM_MATH_H
#define FC_LSTM_MATH_H

#include "cells/tile.h"

enum { LSTM_I, LSTM_F, LSTM_G, LSTM_O };

FC_INLINE vreal lstm_sum(const fc_tile *t, ptrdiff_t r, ptrdiff_t u, int g) {
    return input_gate(t, r, u, g, 4) + recurrent_gate(t, r, u, g, 4);
}

/* (1) to (3): stores c_t and the saved gates, returns o * tanh(c_t). */
FC_INLINE vreal lstm_output(const fc_tile *t, ptrdiff_t r, ptrdiff_t u) {
    vreal i = vsigmoid(lstm_sum(t, r, u, LSTM_I));
    vreal f = vsigmoid(lstm_sum(t, r, u, LSTM_F));
    vreal g = vtanh(lstm_sum(t, r, u, LSTM_G));
    vreal o = vsigmoid(lstm_sum(t, r, u, LSTM_O));
    vreal c = vfma(f, load_row(t->c_prev, r, u), i * g);
    store_row(t->c, r, u, c);
    save_slot(t, r, u, LSTM_I, i);
    save_slot(t, r, u, LSTM_F, f);
    save_slot(t, r, u, LSTM_G, g);
    save_slot(t, r, u, LSTM_O, o);
    return o * vtanh(c);
}

/* (3') to (1'): from the gradient of o * tanh(c_t) and of c_t. */
FC_INLINE void lstm_gradients(const fc_back_tile *t, ptrdiff_t r, ptrdiff_t u,
                              vreal dm) {
    vreal one = vset1(1);
    vreal i = load_slot(t, r, u, LSTM_I);
    vreal f = load_slot(t, r, u, LSTM_F);
    vreal g = load_slot(t, r, u, LSTM_G);
    vreal o = load_slot(t, r, u, LSTM_O);
    vreal s = vtanh(load_row(t->c, r, u));
    vreal dc = vfma(dm * o, one - s * s, load_mutable(t->dc, r, u));
    store_slot(t, r, u, LSTM_I, dc * g * (i * (one - i)));
    store_slot(t, r, u, LSTM_F, dc * load_row(t->c_prev, r, u) * (f * (one - f)));
    store_slot(t, r, u, LSTM_G, dc * i * (one - g * g));
    store_slot(t, r, u, LSTM_O, dm * s * (o * (one - o)));
    store_row(t->dc, r, u, dc * f);
}

#endif

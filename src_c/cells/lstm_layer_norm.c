/* Layer-normalized LSTM: Ba, Kiros & Hinton, "Layer Normalization", arXiv:1607.06450.
 *
 *     x^ = norm(W x_t),  h^ = norm(R h_{t-1})   each over the 4 H values of      (1)
 *          a row: layer_norm.h
 *     a = u_ih * x^ + b_ih + u_hh * h^ + b_hh                                    (2)
 *     i, f, o = sigmoid(a_i, a_f, a_o),  g = tanh(a_g)                           (3)
 *     c_t = f * c_{t-1} + i * g                                                  (4)
 *     c^ = norm(c_t)   over the H values of a row                                (5)
 *     h_t = o * tanh(u_c * c^ + b_c)                                             (6)
 *
 * Gates: i f g o.  Parameters: weight_ln_ih = u_ih, weight_ln_hh = u_hh, weight_ln_c =
 * u_c and bias_ln_c = b_c.  b_ih and b_hh are added after the normalization, not by the
 * products.  Saved: i f g o, x^, h^, c^; and the scales of the norms, one number for
 * each row, in slots that are free until backward.
 *
 * Forward stores o in the row of h until c_t is complete.
 *
 *     do = dh * tanh(u_c * c^ + b_c),  e = dh * o * (1 - tanh(u_c * c^ + b_c)^2)  (6')
 *     du_c = sum of e * c^,  db_c = sum of e
 *     dc += norm' of e * u_c                                                     (5')
 *     di = dc * g,  dg = dc * i,  df = dc * c_{t-1},  dc_{t-1} = dc * f          (4')
 *     da = di * i (1-i), df * f (1-f), dg * (1 - g^2), do * o (1-o)              (3')
 *     db_ih = db_hh = sum of da,  du_ih = sum of da * x^,  du_hh = sum of da * h^ (2')
 *     d(W x) = norm' of da * u_ih,  d(R h) = norm' of da * u_hh                  (1')
 *
 * With update dropout (4) and di have d * g for g, and dg is d times as much. */
#include "cells/layer_norm.h"

/* Slots: four each of da, d(W x), d(R h), x^ and h^; c^; and e. */
enum { LSTMN_A = 0, LSTMN_DX = 4, LSTMN_DH = 8, LSTMN_X = 12, LSTMN_H = 16 };
enum { LSTMN_C = 20, LSTMN_E = 21, LSTMN_SLOTS = 22 };
enum { LSTMN_I, LSTMN_F, LSTMN_G, LSTMN_O };
/* The first vector of each parameter. */
enum { LSTMN_B_IH = 0, LSTMN_B_HH = 4, LSTMN_U_IH = 8, LSTMN_U_HH = 12 };
enum { LSTMN_U_C = 16, LSTMN_B_C = 17 };

/* (1) to (4) for a row: stores c_t, and o in the place of h_t. */
FC_INLINE void lstm_layer_norm_gates(const fc_tile *t, ptrdiff_t r, bool drops) {
    const real *x = t->input[r], *h = (const real *)t->recurrent + r * t->units * 4;
    layer_norm of_x = layer_norm_of(x, t->hidden, 4);
    layer_norm of_h = layer_norm_of(h, t->hidden, 4);
    for (ptrdiff_t u = 0; u < t->units; u += V) {
        vreal a[4];
#pragma GCC unroll 4
        for (int g = 0; g < 4; g++) {
            vreal x_hat = (vload(x + u * 4 + g * V) - of_x.mean) * of_x.scale;
            vreal h_hat = (vload(h + u * 4 + g * V) - of_h.mean) * of_h.scale;
            save_slot(t, r, u, LSTMN_X + g, x_hat);
            save_slot(t, r, u, LSTMN_H + g, h_hat);
            a[g] = vfma(unit_param(t, LSTMN_U_IH + g, u), x_hat,
                        unit_param(t, LSTMN_B_IH + g, u)) +
                   vfma(unit_param(t, LSTMN_U_HH + g, u), h_hat,
                        unit_param(t, LSTMN_B_HH + g, u));
        }
        vreal i = vsigmoid(a[LSTMN_I]), f = vsigmoid(a[LSTMN_F]);
        vreal g = vtanh(a[LSTMN_G]), o = vsigmoid(a[LSTMN_O]);
        vreal d_g = update_of(t, r, u, g, drops);
        store_row(t->c, r, u, vfma(f, load_row(t->c_prev, r, u), i * d_g));
        store_row(t->h, r, u, o);
        save_slot(t, r, u, LSTMN_A + LSTMN_I, i);
        save_slot(t, r, u, LSTMN_A + LSTMN_F, f);
        save_slot(t, r, u, LSTMN_A + LSTMN_G, g);
        save_slot(t, r, u, LSTMN_A + LSTMN_O, o);
    }
    save_slot(t, r, 0, LSTMN_DX, of_x.scale);
    save_slot(t, r, 0, LSTMN_DH, of_h.scale);
}

FC_INLINE void lstm_layer_norm_forward_of(const fc_tile *t, bool drops) {
    for (ptrdiff_t r = 0; r < t->rows; r++) {
        lstm_layer_norm_gates(t, r, drops);
        layer_norm of_c = layer_norm_of(t->c[r], t->hidden, 1);
        for (ptrdiff_t u = 0; u < t->units; u += V) {
            vreal c_hat = (load_mutable(t->c, r, u) - of_c.mean) * of_c.scale;
            save_slot(t, r, u, LSTMN_C, c_hat);
            vreal s = vtanh(
                vfma(unit_param(t, LSTMN_U_C, u), c_hat, unit_param(t, LSTMN_B_C, u)));
            store_row(t->h, r, u, load_mutable(t->h, r, u) * s);
        }
        save_slot(t, r, 0, LSTMN_E, of_c.scale);
    }
}

/* (6') for a row: stores e and da_o in their slots, and returns the means of (5'). */
FC_INLINE layer_norm_means lstm_layer_norm_output(const fc_back_tile *t, ptrdiff_t r) {
    layer_norm_means sums = {vzero(), vzero()};
    vreal one = vset1(1);
    for (ptrdiff_t u = 0; u < t->units; u += V) {
        vreal c_hat = load_slot(t, r, u, LSTMN_C), weight = back_param(t, LSTMN_U_C, u);
        vreal o = load_slot(t, r, u, LSTMN_A + LSTMN_O);
        vreal dh = load_mutable(t->dh, r, u);
        vreal s = vtanh(vfma(weight, c_hat, back_param(t, LSTMN_B_C, u)));
        vreal e = dh * o * (one - s * s);
        store_slot(t, r, u, LSTMN_E, e);
        store_slot(t, r, u, LSTMN_A + LSTMN_O, dh * s * (o * (one - o)));
        store_row(t->dh, r, u, vzero());
        layer_norm_add(&sums, e * weight, c_hat);
    }
    return layer_norm_divide(sums, t->hidden);
}

/* The means of both products. */
typedef struct lstm_layer_norm_sums {
    layer_norm_means of_x, of_h;
} lstm_layer_norm_sums;

/* (5') to (3') for a row: stores da, and returns the means of (1'). */
FC_INLINE lstm_layer_norm_sums lstm_layer_norm_state(const fc_back_tile *t, ptrdiff_t r,
                                                     layer_norm_means means,
                                                     vreal scale, bool drops) {
    lstm_layer_norm_sums sums = {{vzero(), vzero()}, {vzero(), vzero()}};
    vreal one = vset1(1);
    for (ptrdiff_t u = 0; u < t->units; u += V) {
        vreal i = load_slot(t, r, u, LSTMN_A + LSTMN_I);
        vreal f = load_slot(t, r, u, LSTMN_A + LSTMN_F);
        vreal g = load_slot(t, r, u, LSTMN_A + LSTMN_G);
        vreal dn = load_slot(t, r, u, LSTMN_E) * back_param(t, LSTMN_U_C, u);
        vreal dc = load_mutable(t->dc, r, u) +
                   layer_norm_gradient(dn, load_slot(t, r, u, LSTMN_C), means, scale);
        vreal d_g = back_update_of(t, r, u, g, drops);
        vreal dg = back_update_of(t, r, u, dc * i, drops);
        vreal da[4];
        da[LSTMN_I] = dc * d_g * (i * (one - i));
        da[LSTMN_F] = dc * load_row(t->c_prev, r, u) * (f * (one - f));
        da[LSTMN_G] = dg * (one - g * g);
        da[LSTMN_O] = load_slot(t, r, u, LSTMN_A + LSTMN_O);
        store_row(t->dc, r, u, dc * f);
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            if (k != LSTMN_O)
                store_slot(t, r, u, LSTMN_A + k, da[k]);
            layer_norm_add(&sums.of_x, da[k] * back_param(t, LSTMN_U_IH + k, u),
                           load_slot(t, r, u, LSTMN_X + k));
            layer_norm_add(&sums.of_h, da[k] * back_param(t, LSTMN_U_HH + k, u),
                           load_slot(t, r, u, LSTMN_H + k));
        }
    }
    sums.of_x = layer_norm_divide(sums.of_x, 4 * t->hidden);
    sums.of_h = layer_norm_divide(sums.of_h, 4 * t->hidden);
    return sums;
}

/* (1') for a row: the gradients of both products. */
FC_INLINE void lstm_layer_norm_products(const fc_back_tile *t, ptrdiff_t r,
                                        lstm_layer_norm_sums means, vreal scale_x,
                                        vreal scale_h) {
    for (ptrdiff_t u = 0; u < t->units; u += V)
#pragma GCC unroll 4
        for (int g = 0; g < 4; g++) {
            vreal da = load_slot(t, r, u, LSTMN_A + g);
            vreal dx = da * back_param(t, LSTMN_U_IH + g, u);
            vreal dh = da * back_param(t, LSTMN_U_HH + g, u);
            store_slot(t, r, u, LSTMN_DX + g,
                       layer_norm_gradient(dx, load_slot(t, r, u, LSTMN_X + g),
                                           means.of_x, scale_x));
            store_slot(t, r, u, LSTMN_DH + g,
                       layer_norm_gradient(dh, load_slot(t, r, u, LSTMN_H + g),
                                           means.of_h, scale_h));
        }
}

FC_INLINE void lstm_layer_norm_backward_of(const fc_back_tile *t, bool drops) {
    for (ptrdiff_t r = 0; r < t->rows; r++) {
        vreal of_x = load_slot(t, r, 0, LSTMN_DX), of_h = load_slot(t, r, 0, LSTMN_DH);
        vreal of_c = load_slot(t, r, 0, LSTMN_E);
        layer_norm_means of_e = lstm_layer_norm_output(t, r);
        lstm_layer_norm_sums means = lstm_layer_norm_state(t, r, of_e, of_c, drops);
        lstm_layer_norm_products(t, r, means, of_x, of_h);
    }
}

WITH_UPDATE_DROPOUT(lstm_layer_norm_forward, lstm_layer_norm_backward)

static const fc_cell lstm_layer_norm = {
    .name = "lstm_layer_norm",
    .gates = 4,
    .gate_names = {"i", "f", "g", "o"},
    .slot_names = {"i", "f", "g", "o"},
    .states = 2,
    .slots = LSTMN_SLOTS,
    .x_slot = LSTMN_DX,
    .x_gate = {0, 1, 2, 3},
    .whole_row = true,
    .own_biases = true,
    .owns = 4,
    .own = {{"weight_ln_ih", 4, FC_BEGIN_ONE},
            {"weight_ln_hh", 4, FC_BEGIN_ONE},
            {"weight_ln_c", 1, FC_BEGIN_ONE},
            {"bias_ln_c", 1, FC_BEGIN_ZERO}},
    .sums = 6,
    .sum = {{.to = LSTMN_B_IH, .vectors = 4, .slot = LSTMN_A},
            {.to = LSTMN_B_HH, .vectors = 4, .slot = LSTMN_A},
            {LSTMN_U_IH, 4, LSTMN_A, FC_BY_SLOT, LSTMN_X},
            {LSTMN_U_HH, 4, LSTMN_A, FC_BY_SLOT, LSTMN_H},
            {LSTMN_U_C, 1, LSTMN_E, FC_BY_SLOT, LSTMN_C},
            {.to = LSTMN_B_C, .vectors = 1, .slot = LSTMN_E}},
    .phases = 1,
    .phase = {{.gates = 4, .slot = LSTMN_DH}},
    .forward = {lstm_layer_norm_forward},
    .backward = {lstm_layer_norm_backward},
    .forward_dropped = {lstm_layer_norm_forward_dropped},
    .backward_dropped = {lstm_layer_norm_backward_dropped},
};

/* Layer-normalized GRU: Ba, Kiros & Hinton, "Layer Normalization", arXiv:1607.06450,
 * with the reset after the product, as printed there.
 *
 *     x^ = norm(W x_t),  h^ = norm(R h_{t-1})                                    (1)
 *          each over the 2 H values of r and z, and over the H of n: layer_norm.h
 *     x = u_ih * x^ + b_ih,  h = u_hh * h^ + b_hh                                (2)
 *     r, z = sigmoid(x_r + h_r, x_z + h_z)                                       (3)
 *     n = tanh(x_n + r * h_n)                                                    (4)
 *     h_t = n + z * (h_{t-1} - n)                                                (5)
 *
 * Gates: r z n.  Parameters: weight_ln_ih = u_ih and weight_ln_hh = u_hh.  b_ih and
 * b_hh are added after the normalization, not by the products.  Saved: r z n, x^, h^;
 * and the scales of the norms, one number for each row, in slots that are free until
 * backward.  h_n is computed again from h^.
 *
 *     dz = dh * (h_{t-1} - n),  dn = dh * (1 - z),  dh_{t-1} = dh * z            (5')
 *     dx_n = dn * (1 - n^2),  dh_n = dx_n * r,  dr = dx_n * h_n                  (4')
 *     dx_r = dh_r = dr * r (1-r),  dx_z = dh_z = dz * z (1-z)                    (3')
 *     db_ih, db_hh = sums of dx, dh;  du_ih, du_hh = sums of dx * x^, dh * h^    (2')
 *     d(W x) = norm' of dx * u_ih,  d(R h) = norm' of dh * u_hh                  (1')
 *
 * With update dropout (5) and dz have d * n for n, and dn is d times as much. */
#include "cells/layer_norm.h"

/* Slots: dx of r z n, of which dh_r and dh_z are the same; dh_n; and three each of
 * d(W x), d(R h), x^ and h^. */
enum { GRUN_A = 0, GRUN_HN = 3, GRUN_DX = 4, GRUN_DH = 7, GRUN_X = 10, GRUN_H = 13 };
enum { GRUN_SLOTS = 16 };
enum { GRUN_R, GRUN_Z, GRUN_N };
/* The first vector of each parameter. */
enum { GRUN_B_IH = 0, GRUN_B_HH = 3, GRUN_U_IH = 6, GRUN_U_HH = 9 };
/* The norm of each gate; r and z share one. */
typedef struct grun_norms {
    layer_norm of[3];
} grun_norms;

FC_INLINE grun_norms grun_norms_of(const real *a, ptrdiff_t units) {
    layer_norm rz = layer_norm_of_some(a, units, 3, GRUN_R, 2);
    return (grun_norms){{rz, rz, layer_norm_of_some(a, units, 3, GRUN_N, 1)}};
}

/* (1) to (5) for a row. */
FC_INLINE void grun_row_forward(const fc_tile *t, ptrdiff_t r_, bool drops) {
    const real *x = t->input[r_], *h = (const real *)t->recurrent + r_ * t->units * 3;
    grun_norms of_x = grun_norms_of(x, t->hidden);
    grun_norms of_h = grun_norms_of(h, t->hidden);
    for (ptrdiff_t u = 0; u < t->units; u += V) {
        vreal xs[3], hs[3];
#pragma GCC unroll 3
        for (int g = 0; g < 3; g++) {
            vreal x_hat =
                (vload(x + u * 3 + g * V) - of_x.of[g].mean) * of_x.of[g].scale;
            vreal h_hat =
                (vload(h + u * 3 + g * V) - of_h.of[g].mean) * of_h.of[g].scale;
            save_slot(t, r_, u, GRUN_X + g, x_hat);
            save_slot(t, r_, u, GRUN_H + g, h_hat);
            xs[g] = vfma(unit_param(t, GRUN_U_IH + g, u), x_hat,
                         unit_param(t, GRUN_B_IH + g, u));
            hs[g] = vfma(unit_param(t, GRUN_U_HH + g, u), h_hat,
                         unit_param(t, GRUN_B_HH + g, u));
        }
        vreal r = vsigmoid(xs[GRUN_R] + hs[GRUN_R]);
        vreal z = vsigmoid(xs[GRUN_Z] + hs[GRUN_Z]);
        vreal n = vtanh(vfma(r, hs[GRUN_N], xs[GRUN_N]));
        vreal d_n = update_of(t, r_, u, n, drops);
        store_row(t->h, r_, u, vfma(z, load_row(t->h_prev, r_, u) - d_n, d_n));
        save_slot(t, r_, u, GRUN_A + GRUN_R, r);
        save_slot(t, r_, u, GRUN_A + GRUN_Z, z);
        save_slot(t, r_, u, GRUN_A + GRUN_N, n);
    }
    save_slot(t, r_, 0, GRUN_DX, of_x.of[GRUN_Z].scale);
    save_slot(t, r_, 0, GRUN_DX + 1, of_x.of[GRUN_N].scale);
    save_slot(t, r_, 0, GRUN_DH, of_h.of[GRUN_Z].scale);
    save_slot(t, r_, 0, GRUN_DH + 1, of_h.of[GRUN_N].scale);
}

/* (5') to (3') for a row. */
FC_INLINE void grun_gates_backward(const fc_back_tile *t, ptrdiff_t r_, bool drops) {
    vreal one = vset1(1);
    for (ptrdiff_t u = 0; u < t->units; u += V) {
        vreal dh = load_mutable(t->dh, r_, u);
        vreal r = load_slot(t, r_, u, GRUN_A + GRUN_R);
        vreal z = load_slot(t, r_, u, GRUN_A + GRUN_Z);
        vreal n = load_slot(t, r_, u, GRUN_A + GRUN_N);
        vreal hn = vfma(back_param(t, GRUN_U_HH + GRUN_N, u),
                        load_slot(t, r_, u, GRUN_H + GRUN_N),
                        back_param(t, GRUN_B_HH + GRUN_N, u));
        vreal d_n = back_update_of(t, r_, u, n, drops);
        vreal dn = back_update_of(t, r_, u, dh * (one - z), drops);
        vreal dz = dh * (load_row(t->h_prev, r_, u) - d_n);
        vreal dxn = dn * (one - n * n);
        store_slot(t, r_, u, GRUN_A + GRUN_R, dxn * hn * (r * (one - r)));
        store_slot(t, r_, u, GRUN_A + GRUN_Z, dz * (z * (one - z)));
        store_slot(t, r_, u, GRUN_A + GRUN_N, dxn);
        store_slot(t, r_, u, GRUN_HN, dxn * r);
        store_row(t->dh, r_, u, dh * z);
    }
}

/* The slot of a gate's gradient in (2'): of dx with GRUN_DX, of dh with GRUN_DH. */
FC_INLINE int grun_gradient(int gate, int of) {
    return gate == GRUN_N && of == GRUN_DH ? GRUN_HN : GRUN_A + gate;
}

/* (1') for gates first .. first+count-1: the gradient of the product with W, to slots
 * GRUN_DX, or with R, to GRUN_DH. */
FC_INLINE void grun_product(const fc_back_tile *t, ptrdiff_t r, int of, int first,
                            int count, vreal scale) {
    int weights = of == GRUN_DX ? GRUN_U_IH : GRUN_U_HH;
    int hats = of == GRUN_DX ? GRUN_X : GRUN_H;
    layer_norm_means sums = {vzero(), vzero()};
    for (ptrdiff_t u = 0; u < t->units; u += V)
#pragma GCC unroll 3
        for (int g = first; g < first + count; g++) {
            vreal d = load_slot(t, r, u, grun_gradient(g, of));
            layer_norm_add(&sums, d * back_param(t, weights + g, u),
                           load_slot(t, r, u, hats + g));
        }
    layer_norm_means means = layer_norm_divide(sums, count * t->hidden);
    for (ptrdiff_t u = 0; u < t->units; u += V)
#pragma GCC unroll 3
        for (int g = first; g < first + count; g++) {
            vreal d = load_slot(t, r, u, grun_gradient(g, of));
            store_slot(t, r, u, of + g,
                       layer_norm_gradient(d * back_param(t, weights + g, u),
                                           load_slot(t, r, u, hats + g), means, scale));
        }
}

FC_INLINE void gru_layer_norm_forward_of(const fc_tile *t, bool drops) {
    for (ptrdiff_t r = 0; r < t->rows; r++)
        grun_row_forward(t, r, drops);
}

FC_INLINE void gru_layer_norm_backward_of(const fc_back_tile *t, bool drops) {
    for (ptrdiff_t r = 0; r < t->rows; r++) {
        vreal x = load_slot(t, r, 0, GRUN_DX), x_n = load_slot(t, r, 0, GRUN_DX + 1);
        vreal h = load_slot(t, r, 0, GRUN_DH), h_n = load_slot(t, r, 0, GRUN_DH + 1);
        grun_gates_backward(t, r, drops);
        grun_product(t, r, GRUN_DX, GRUN_R, 2, x);
        grun_product(t, r, GRUN_DX, GRUN_N, 1, x_n);
        grun_product(t, r, GRUN_DH, GRUN_R, 2, h);
        grun_product(t, r, GRUN_DH, GRUN_N, 1, h_n);
    }
}

WITH_UPDATE_DROPOUT(gru_layer_norm_forward, gru_layer_norm_backward)

static const fc_cell gru_layer_norm = {
    .name = "gru_layer_norm",
    .gates = 3,
    .gate_names = {"r", "z", "n"},
    .slot_names = {"r", "z", "n"},
    .states = 1,
    .slots = GRUN_SLOTS,
    .x_slot = GRUN_DX,
    .x_gate = {0, 1, 2},
    .whole_row = true,
    .own_biases = true,
    .owns = 2,
    .own = {{"weight_ln_ih", 3, FC_BEGIN_ONE}, {"weight_ln_hh", 3, FC_BEGIN_ONE}},
    .sums = 6,
    .sum = {{.to = GRUN_B_IH, .vectors = 3, .slot = GRUN_A},
            {.to = GRUN_B_HH, .vectors = 2, .slot = GRUN_A},
            {.to = GRUN_B_HH + 2, .vectors = 1, .slot = GRUN_HN},
            {GRUN_U_IH, 3, GRUN_A, FC_BY_SLOT, GRUN_X},
            {GRUN_U_HH, 2, GRUN_A, FC_BY_SLOT, GRUN_H},
            {GRUN_U_HH + 2, 1, GRUN_HN, FC_BY_SLOT, GRUN_H + 2}},
    .phases = 1,
    .phase = {{.gates = 3, .slot = GRUN_DH, .bounded = true}},
    .forward = {gru_layer_norm_forward},
    .backward = {gru_layer_norm_backward},
    .forward_dropped = {gru_layer_norm_forward_dropped},
    .backward_dropped = {gru_layer_norm_backward_dropped},
};

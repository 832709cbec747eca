/* sLSTM, the scalar-memory cell of xLSTM: Beck et al. 2024, arXiv:2405.04517.
 *
 *     a = W x_t + b_ih + R h_{t-1} + b_hh,  l = log f + m_{t-1}              (1)
 *     m_t = max(a_i, l), and a_i where n_{t-1} = 0: nothing was seen yet     (2)
 *     i = exp(a_i - m_t),  f = exp(min(l - m_t, 0))                          (3)
 *     c_t = f c_{t-1} + i z,  z = tanh(a_z)                                  (4)
 *     n_t = f n_{t-1} + i                                                    (5)
 *     h_t = o c_t / n_t,  o = sigmoid(a_o)                                   (6)
 *
 * The forms differ in log f, and in a bound of n:
 *
 *     slstm              log sigmoid(a_f), n_t >= 1        FlashRNN
 *     slstm_plain        log sigmoid(a_f)                  the paper, xlstm
 *     slstm_clamped      log sigmoid(min(a_f, 15))         TiRex
 *     slstm_exponential  a_f                               the paper's other gate
 *
 * By (2) one of i and f is 1, so nothing overflows, and by induction from a state of
 * zeros |c_t| <= n_t and n_t >= 1: rounding is monotonous, and (4) and (5) round in the
 * same way.
 *
 * Gates: i f z o.  Saved: exp(-|a_i - l|), which is the one of i and f that is not 1,
 * with the sign of a_i - l; d log f / d a_f; z; o.  Backward overwrites them with the
 * gradients.
 *
 *     do = dh c_t / n_t,  dc += dh o / n_t,  dn -= dh o c_t / n_t^2          (6')
 *     dn = 0 where the bound holds n_t                                       (5')
 *     dz = dc i,  A = i (dc z + dn),  F = f (dc c_{t-1} + dn n_{t-1})        (4' 3')
 *     dc_{t-1} = dc f,  dn_{t-1} = dn f
 *     da_i = dm - F,  dl = F         where m_t is a_i                        (2')
 *     da_i = A,  dl = dm - A         where m_t is l
 *     dm_{t-1} = dl,  da_f = dl (d log f / d a_f)                            (1')
 *
 * A and F are the gradients of the exponents in (3), and dm - A - F goes on to what m_t
 * is.  c, n and m may have gradients of their own, so this term is not left out.  For a
 * loss of h alone it is 0, up to rounding: h does not depend on m.  Where n_{t-1} = 0
 * and l > a_i, f is 1 and F is 0.
 *
 * With update dropout (4) and A have d * z for z, and dz is d times as much. */
#include "cells/tile.h"
#include "math/log_sigmoid.h"

enum { SLSTM_I, SLSTM_F, SLSTM_Z, SLSTM_O, SLSTM_GATES };
enum { SLSTM_C = 1, SLSTM_N, SLSTM_M };
typedef enum slstm_forget {
    SLSTM_SIGMOID,
    SLSTM_CLAMPED,
    SLSTM_EXPONENTIAL
} slstm_forget;

/* From here on the clamped forget gate is constant. */
static const real slstm_largest_forget = 15;

FC_INLINE vreal slstm_sum(const fc_tile *t, ptrdiff_t r, ptrdiff_t u, int g) {
    return input_gate(t, r, u, g, SLSTM_GATES) +
           recurrent_gate(t, r, u, g, SLSTM_GATES);
}

/* log f, and its derivative to be saved. */
FC_INLINE vreal slstm_log_forget(const fc_tile *t, ptrdiff_t r, ptrdiff_t u,
                                 slstm_forget forget) {
    vreal e, most = vset1(slstm_largest_forget);
    vreal a = slstm_sum(t, r, u, SLSTM_F);
    if (forget == SLSTM_EXPONENTIAL) {
        save_slot(t, r, u, SLSTM_F, vset1(1));
        return a;
    }
    vreal x = forget == SLSTM_CLAMPED ? vmin_keep_nan(a, most) : a;
    vreal log_f = vlog_sigmoid(x, &e);
    if (t->saved) {
        vreal slope = vlog_sigmoid_slope(x, e);
        if (forget == SLSTM_CLAMPED)
            slope = vif_positive(a - most, vzero(), slope);
        save_slot(t, r, u, SLSTM_F, slope);
    }
    return log_f;
}

/* (3) from a_i - l, where e is exp(-|a_i - l|). */
FC_INLINE vreal slstm_input(vreal lead, vreal e, vreal seen) {
    vreal one = vset1(1);
    return vif_positive(seen, vif_negative(lead, e, one), one);
}
FC_INLINE vreal slstm_kept(vreal lead, vreal e) {
    return vif_negative(lead, vset1(1), e);
}

FC_INLINE void slstm_forward_as(const fc_tile *t, slstm_forget forget, bool bounded,
                                bool drops) {
    const ptrdiff_t at_n = state_at(t->slot, SLSTM_N, 0);
    const ptrdiff_t at_m = state_at(t->slot, SLSTM_M, 0);
    const vreal one = vset1(1);
    FOR_EACH_BLOCK(t, r, u) {
        vreal n_prev = load_row(t->c_prev, r, u + at_n), seen = vabs(n_prev);
        vreal a_i = slstm_sum(t, r, u, SLSTM_I);
        vreal l = slstm_log_forget(t, r, u, forget) + load_row(t->c_prev, r, u + at_m);
        vreal lead = a_i - l, e = vexp_below_one(lead);
        vreal i = slstm_input(lead, e, seen), f = slstm_kept(lead, e);
        vreal z = vtanh(slstm_sum(t, r, u, SLSTM_Z));
        vreal o = vsigmoid(slstm_sum(t, r, u, SLSTM_O));
        vreal d_z = update_of(t, r, u, z, drops);
        vreal c = vfma(f, load_row(t->c_prev, r, u), i * d_z);
        vreal n = vfma(f, n_prev, i);
        if (bounded)
            n = vmax_keep_nan(n, one);
        store_row(t->c, r, u, c);
        store_row(t->c, r, u + at_n, n);
        store_row(t->c, r, u + at_m, vif_positive(seen, vmax_keep_nan(a_i, l), a_i));
        store_row(t->h, r, u, o * vquotient(c, n));
        save_slot(t, r, u, SLSTM_I, vcopysign(e, lead));
        save_slot(t, r, u, SLSTM_Z, z);
        save_slot(t, r, u, SLSTM_O, o);
    }
}

FC_INLINE void slstm_backward_as(const fc_back_tile *t, bool bounded, bool drops) {
    const ptrdiff_t at_n = state_at(t->slot, SLSTM_N, 0);
    const ptrdiff_t at_m = state_at(t->slot, SLSTM_M, 0);
    const vreal one = vset1(1), zero = vzero();
    FOR_EACH_BACK_BLOCK(t, r, u) {
        vreal lead = load_slot(t, r, u, SLSTM_I), e = vabs(lead);
        vreal z = load_slot(t, r, u, SLSTM_Z), o = load_slot(t, r, u, SLSTM_O);
        vreal c_prev = load_row(t->c_prev, r, u);
        vreal n_prev = load_row(t->c_prev, r, u + at_n), seen = vabs(n_prev);
        vreal i = slstm_input(lead, e, seen), f = slstm_kept(lead, e);

        vreal per_n = vquotient(one, load_row(t->c, r, u + at_n));
        vreal ratio = load_row(t->c, r, u) * per_n;
        vreal dh = load_mutable(t->dh, r, u), dratio = dh * o;
        vreal dc = vfma(dratio, per_n, load_mutable(t->dc, r, u));
        vreal dn = load_mutable(t->dc, r, u + at_n) - dratio * ratio * per_n;
        if (bounded)
            dn = vif_positive(one - vfma(f, n_prev, i), zero, dn);
        vreal dm = load_mutable(t->dc, r, u + at_m);

        vreal d_z = back_update_of(t, r, u, z, drops);
        vreal dz = back_update_of(t, r, u, dc * i, drops);
        vreal di = i * vfma(dc, d_z, dn);
        vreal df = f * vfma(dc, c_prev, dn * n_prev);
        df = vif_positive(seen, df, vif_negative(lead, zero, df));
        vreal to_i = vif_positive(seen, vif_negative(lead, di, dm - df), dm - df);
        vreal dl = vif_positive(seen, vif_negative(lead, dm - di, df), df);

        store_row(t->dc, r, u, dc * f);
        store_row(t->dc, r, u + at_n, dn * f);
        store_row(t->dc, r, u + at_m, dl);
        store_row(t->dh, r, u, zero);
        store_slot(t, r, u, SLSTM_F, dl * load_slot(t, r, u, SLSTM_F));
        store_slot(t, r, u, SLSTM_I, to_i);
        store_slot(t, r, u, SLSTM_Z, dz * (one - z * z));
        store_slot(t, r, u, SLSTM_O, dh * ratio * (o * (one - o)));
    }
}

FC_INLINE void slstm_forward_of(const fc_tile *t, bool drops) {
    slstm_forward_as(t, SLSTM_SIGMOID, true, drops);
}
FC_INLINE void slstm_plain_forward_of(const fc_tile *t, bool drops) {
    slstm_forward_as(t, SLSTM_SIGMOID, false, drops);
}
FC_INLINE void slstm_clamped_forward_of(const fc_tile *t, bool drops) {
    slstm_forward_as(t, SLSTM_CLAMPED, false, drops);
}
FC_INLINE void slstm_exponential_forward_of(const fc_tile *t, bool drops) {
    slstm_forward_as(t, SLSTM_EXPONENTIAL, false, drops);
}
FC_INLINE void slstm_backward_of(const fc_back_tile *t, bool drops) {
    slstm_backward_as(t, true, drops);
}
FC_INLINE void slstm_unbounded_backward_of(const fc_back_tile *t, bool drops) {
    slstm_backward_as(t, false, drops);
}

FORWARD_WITH_UPDATE_DROPOUT(slstm_plain_forward)
FORWARD_WITH_UPDATE_DROPOUT(slstm_clamped_forward)
WITH_UPDATE_DROPOUT(slstm_forward, slstm_backward)
WITH_UPDATE_DROPOUT(slstm_exponential_forward, slstm_unbounded_backward)

static void slstm_reveal(const fc_back_tile *t) {
    const ptrdiff_t at_n = state_at(t->slot, SLSTM_N, 0);
    FOR_EACH_BACK_BLOCK(t, r, u) {
        vreal lead = load_slot(t, r, u, SLSTM_I), e = vabs(lead);
        vreal seen = vabs(load_row(t->c_prev, r, u + at_n));
        store_slot(t, r, u, SLSTM_I, slstm_input(lead, e, seen));
        store_slot(t, r, u, SLSTM_F, slstm_kept(lead, e));
    }
}

#define SLSTM_CELL(cell, forward_of, backward_of)                                      \
    static const fc_cell cell = {                                                      \
        .name = #cell,                                                                 \
        .gates = SLSTM_GATES,                                                          \
        .states = 4,                                                                   \
        .slots = SLSTM_GATES,                                                          \
        .x_gate = {0, 1, 2, 3},                                                        \
        .gate_names = {"i", "f", "z", "o"},                                            \
        .slot_names = {"i", "f", "z", "o"},                                            \
        .phases = 1,                                                                   \
        .phase = {{.gates = SLSTM_GATES, .bounded = true}},                            \
        .forward = {forward_of},                                                       \
        .backward = {backward_of},                                                     \
        .reveal = slstm_reveal,                                                        \
        .forward_dropped = {forward_of##_dropped},                                     \
        .backward_dropped = {backward_of##_dropped},                                   \
    }

SLSTM_CELL(slstm, slstm_forward, slstm_backward);
SLSTM_CELL(slstm_plain, slstm_plain_forward, slstm_unbounded_backward);
SLSTM_CELL(slstm_clamped, slstm_clamped_forward, slstm_unbounded_backward);
SLSTM_CELL(slstm_exponential, slstm_exponential_forward, slstm_unbounded_backward);

#undef SLSTM_CELL

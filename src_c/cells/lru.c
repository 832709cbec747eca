/* Linear recurrent unit: Orvieto, Smith, Gu, Fernando, Gulcehre, Pascanu & De,
 * "Resurrecting Recurrent Neural Networks for Long Sequences", ICML 2023
 * (arXiv:2303.06349).
 *
 *     lambda = exp(-exp(nu) + i exp(theta)),  g = exp(gamma)                 (1)
 *     p = g * a,  a = W x_t + b_ih                                           (2)
 *     h_t = lambda * h_{t-1} + p                                             (3)
 *
 * h, a, p and lambda are complex.  A complex number is two units, its real part and its
 * imaginary part: units 2k and 2k+1, which are neighbours in one vector.  nu, theta and
 * gamma have one value for each pair: weight_lambda is nu theta nu theta .., and
 * weight_gamma is gamma, unread, gamma, unread ...  With an odd H the last unit has no
 * partner; it is real, with theta = -inf, and so lambda = exp(-exp(nu)).
 *
 * There is no R.  Gates: one.  Saved: p, since to take it from h_t would lose digits
 * where |lambda| is almost 1.  lambda and g are computed once a step for all rows.
 *
 * With d . e = Re(conj(d) e) = d_re e_re + d_im e_im:
 *
 *     dh_{t-1} = conj(lambda) * dh,  dp = dh                                 (3')
 *     da = g * dh,  dgamma = sum of dh . p                                   (2')
 *     dnu = sum of -exp(nu) (dh . l),  dtheta = sum of exp(theta) (dh . i l) (1')
 *            with l = lambda * h_{t-1} */
#include "cells/tile.h"
#include "math/rotation.h"

enum { LRU_A, LRU_LAMBDA, LRU_P, LRU_SLOTS }; /* slots; backward: LRU_P has dgamma */
enum { LRU_GAMMA = 1 };                       /* the second vector of the parameters */

/* 1 in the lanes of real parts, -1 in those of imaginary parts. */
FC_INLINE vreal lru_signs(void) {
    static const real signs[16] = {1, -1, 1, -1, 1, -1, 1, -1,
                                   1, -1, 1, -1, 1, -1, 1, -1};
    return vload(signs);
}
/* In both lanes of a pair: the sum of its two values; a's value in the first lane, b's
 * in the second. */
FC_INLINE vreal lru_pair_sum(vreal x) { return x + vswap_pairs(x); }
FC_INLINE vreal lru_pair(vreal a, vreal b) { return vif_positive(lru_signs(), a, b); }
FC_INLINE vreal lru_firsts(vreal x) { return lru_pair(x, vswap_pairs(x)); }
FC_INLINE vreal lru_seconds(vreal x) { return lru_pair(vswap_pairs(x), x); }

/* (1), each value in both lanes of its pair but `turn`: -Im lambda, Im lambda. */
typedef struct lru_factors {
    vreal decay, angle;    /* exp(nu), exp(theta) */
    vreal real_part, turn; /* of lambda */
    vreal gain;            /* g */
} lru_factors;

FC_INLINE lru_factors lru_factors_of(const real *params, ptrdiff_t slot,
                                     ptrdiff_t hidden, ptrdiff_t u) {
    lru_factors f;
    vreal sine, cosine, rest, pairs = vload(params + u);
    f.decay = lru_firsts(vexp(pairs));
    f.angle = lru_seconds(of_units(hidden, u, vexp_in_two(pairs, &rest)));
    vsin_cos(f.angle, lru_seconds(of_units(hidden, u, rest)), &sine, &cosine);
    vreal size = vexp(vzero() - f.decay);
    f.real_part = size * cosine;
    f.turn = size * sine * (vzero() - lru_signs());
    f.gain = lru_firsts(vexp(vload(params + LRU_GAMMA * slot + u)));
    return f;
}

/* lambda * z and conj(lambda) * z */
FC_INLINE vreal lru_turned(const lru_factors *f, vreal z) {
    return vfma(f->real_part, z, f->turn * vswap_pairs(z));
}
FC_INLINE vreal lru_turned_back(const lru_factors *f, vreal z) {
    return vfma(f->real_part, z, vzero() - f->turn * vswap_pairs(z));
}

static void lru_forward(const fc_tile *t) {
    for (ptrdiff_t u = t->unit; u < t->unit + t->units; u += V) {
        lru_factors f = lru_factors_of(t->params, t->slot, t->hidden, u);
        for (ptrdiff_t r = 0; r < t->rows; r++) {
            vreal p = f.gain * input_gate(t, r, u, 0, 1);
            store_row(t->h, r, u, lru_turned(&f, load_row(t->h_prev, r, u)) + p);
            save_slot(t, r, u, LRU_P, p);
        }
    }
}

static void lru_backward(const fc_back_tile *t) {
    vreal signs = lru_signs();
    for (ptrdiff_t u = t->unit; u < t->unit + t->units; u += V) {
        lru_factors f = lru_factors_of(t->params, t->slot, t->hidden, u);
        for (ptrdiff_t r = 0; r < t->rows; r++) {
            vreal dh = load_mutable(t->dh, r, u), p = load_slot(t, r, u, LRU_P);
            vreal l = lru_turned(&f, load_row(t->h_prev, r, u));
            vreal along = lru_pair_sum(dh * l);
            vreal across = lru_pair_sum((vzero() - signs) * dh * vswap_pairs(l));
            store_slot(t, r, u, LRU_LAMBDA,
                       lru_pair(vzero() - f.decay * along, f.angle * across));
            store_slot(t, r, u, LRU_P, lru_pair(lru_pair_sum(dh * p), vzero()));
            store_slot(t, r, u, LRU_A, f.gain * dh);
            store_row(t->dh, r, u, lru_turned_back(&f, dh));
        }
    }
}

static const fc_cell lru = {
    .name = "lru",
    .gates = 1,
    .states = 1,
    .slots = LRU_SLOTS,
    .x_slot = LRU_A,
    .x_gate = {0},
    .gate_names = {"h"},
    .owns = 2,
    .own = {{"weight_lambda", 1, FC_BEGIN_DRAWN}, {"weight_gamma", 1, FC_BEGIN_DRAWN}},
    .sums = 2,
    .sum = {{.to = 0, .vectors = 1, .slot = LRU_LAMBDA},
            {.to = LRU_GAMMA, .vectors = 1, .slot = LRU_P}},
    .phases = 1,
    .phase = {{.gates = 0}},
    .forward = {lru_forward},
    .backward = {lru_backward},
};

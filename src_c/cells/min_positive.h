/* The candidate's activation in the positive forms of minGRU and minLSTM, which their
 * authors compute in log space (arXiv:2410.01201, appendix B).
 *
 *     g(a) = a + 1/2 where a >= 0, else sigmoid(a) */
#ifndef FC_CELLS_MIN_POSITIVE_H
#define FC_CELLS_MIN_POSITIVE_H

#include "cells/tile.h"

FC_INLINE vreal min_positive(vreal a) {
    return vif_negative(a, vsigmoid(a), a + vset1((real)0.5));
}
/* g'(a), computed from n = g(a): n (1-n) where n < 1/2, else 1. */
FC_INLINE vreal min_positive_slope(vreal n) {
    vreal one = vset1(1);
    return vif_negative(n - vset1((real)0.5), n * (one - n), one);
}

#endif

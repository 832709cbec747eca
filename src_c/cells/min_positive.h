/* The candidate of minGRU and minLSTM in the form that their authors compute in log
 * space (arXiv:2410.01201, appendix B): positive.
 *
 *     g(a) = a + 1/2 where a >= 0, else sigmoid(a) */
#ifndef FC_CELLS_MIN_POSITIVE_H
#define FC_CELLS_MIN_POSITIVE_H

#include "cells/tile.h"

FC_INLINE vreal min_positive(vreal a) {
    return vif_negative(a, vsigmoid(a), a + vset1((real)0.5));
}
/* g' from n = g(a): 1, or n (1-n) where n < 1/2. */
FC_INLINE vreal min_positive_slope(vreal n) {
    vreal one = vset1(1);
    return vif_negative(n - vset1((real)0.5), n * (one - n), one);
}

#endif

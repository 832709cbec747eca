/* ---- What the exported file has in the place of the library's own. ---- */

/* 1 / sqrt(x), x > 0: Newton's steps from an estimate by the exponent. */
static double net_inverse_root(double x) {
    uint64_t bits;
    double y;
    memcpy(&bits, &x, sizeof bits);
    bits = UINT64_C(0x5fe6eb50c7b537a9) - (bits >> 1);
    memcpy(&y, &bits, sizeof y);
    for (int i = 0; i < 5; i++)
        y = y * (1.5 - 0.5 * x * y * y);
    return y;
}

/* What layer_norm.h takes the root of. */
FC_INLINE double net_root(double x) { return x * net_inverse_root(x); }

/* The input part of gate g: gate by gate here, not interleaved. */
FC_INLINE vreal input_gate(const fc_tile *t, ptrdiff_t r, ptrdiff_t u, int g,
                           int gates) {
    (void)gates;
    return vload((const real *)t->input[r] + g * t->slot + u);
}
/* The recurrent part of the phase's gate g. */
FC_INLINE vreal recurrent_gate(const fc_tile *t, ptrdiff_t r, ptrdiff_t u, int g,
                               int gates) {
    (void)r, (void)gates;
    return vload((const real *)t->recurrent + g * t->units + u);
}

/* a * b + c of one number, fused as vfma. */
FC_INLINE real net_multiply_add(real a, real b, real c) {
    return NET_MULTIPLY_ADD(a, b, c);
}

/* The mean and the scale of gates first .. first+count-1 of a row of `units` units,
 * with sums as of NET_LANES lanes for any V: the bits of the library's set of as many.
 */
static layer_norm layer_norm_of_some(const real *a, ptrdiff_t units, const int gates,
                                     const int first, const int count) {
    real sums[NET_LANES] = {0}, squares[NET_LANES] = {0}, all = 0;
    const double values = (double)(units * count);
    for (int g = first; g < first + count; g++) {
        real of_gate[NET_LANES] = {0};
        for (ptrdiff_t u = 0; u < units; u++)
            of_gate[u % NET_LANES] += a[u / V * V * gates + g * V + u % V];
        for (int lane = 0; lane < NET_LANES; lane++)
            sums[lane] = g == first ? of_gate[lane] : sums[lane] + of_gate[lane];
    }
    for (int lane = 0; lane < NET_LANES; lane++)
        all += sums[lane];
    const real mean = (real)((double)all / values);
    for (int g = first; g < first + count; g++) {
        real of_gate[NET_LANES] = {0};
        for (ptrdiff_t u = 0; u < units; u++) {
            real d = a[u / V * V * gates + g * V + u % V] - mean;
            real *square = of_gate + u % NET_LANES;
            *square = net_multiply_add(d, d, *square);
        }
        for (int lane = 0; lane < NET_LANES; lane++)
            squares[lane] = g == first ? of_gate[lane] : squares[lane] + of_gate[lane];
    }
    all = 0;
    for (int lane = 0; lane < NET_LANES; lane++)
        all += squares[lane];
    const double root = net_root((double)all / values + layer_norm_eps);
    const layer_norm norm = {vset1(mean), vset1((real)(1 / root))};
    return norm;
}

/* The first `there` numbers, at most V, and zeros: none past the last unit, which whole
 * vectors may be here. */
FC_INLINE vreal vload_part(const real *from, ptrdiff_t there) {
    if (there >= V)
        return vload(from);
    real lane[V] = {0};
    for (ptrdiff_t i = 0; i < V; i++)
        if (i < there)
            lane[i] = from[i];
    return vload(lane);
}

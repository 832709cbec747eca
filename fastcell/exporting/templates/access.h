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

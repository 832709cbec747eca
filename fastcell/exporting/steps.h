/* ---- The exported file's own functions: products, and the layers without a state. */

/* Columns 0 .. n*V-1 of `net_product`, their sums in registers. */
FC_INLINE void net_columns(const int n, const real *x, int depth, const real *w,
                           int columns, const real *bias, real *out) {
    /* Weights that no first-level cache holds; 16 loads a k leave no time to prefetch.
     */
    const bool is_far = depth * columns > 10240 && n <= 12;
    vreal sum[16];
    NET_UNROLL
    for (int i = 0; i < n; i++)
        sum[i] = bias ? vload(bias + i * V) : vset1(0);
    for (int k = 0; k < depth; k++) {
        vreal x_k = vset1(x[k]);
        if (is_far && k + 4 < depth) {
            NET_UNROLL
            for (int i = 0; i < n; i++)
                NET_PREFETCH(w + 4 * columns + i * V);
        }
        NET_UNROLL
        for (int i = 0; i < n; i++)
            sum[i] = vfma(x_k, vload(w + i * V), sum[i]);
        w += columns;
    }
    NET_UNROLL
    for (int i = 0; i < n; i++)
        vstore(out + i * V, sum[i]);
}

/* `net_product` without vectors: loops over columns, four k at once, which compilers
 * vectorize. */
static void net_plain_product(const real *x, int depth, const real *w, const real *bias,
                              int columns, real *restrict out) {
    const int whole = depth / 4 * 4;
    for (int j = 0; j < columns; j++)
        out[j] = bias ? bias[j] : 0;
    for (int k = 0; k < whole; k += 4) {
        const real a = x[k], b = x[k + 1], c = x[k + 2], d = x[k + 3];
        const real *w_b = w + columns, *w_c = w_b + columns, *w_d = w_c + columns;
        for (int j = 0; j < columns; j++) {
            real sum = net_multiply_add(a, w[j], out[j]);
            sum = net_multiply_add(b, w_b[j], sum);
            sum = net_multiply_add(c, w_c[j], sum);
            out[j] = net_multiply_add(d, w_d[j], sum);
        }
        w = w_d + columns;
    }
    for (int k = whole; k < depth; k++, w += columns)
        for (int j = 0; j < columns; j++)
            out[j] = net_multiply_add(x[k], w[j], out[j]);
}

#define NET_CASE(n)                                                                    \
    case n:                                                                            \
        net_columns(n, x, depth, w, columns, bias, out);                               \
        break;

/* out[columns] = bias + x w, with w [depth][columns]; bias may be NULL.  Each column is
 * one chain of multiply-adds, from the bias on, in the order of x.  Where `columns` is
 * constant, one of the remainders is left of the code. */
FC_INLINE void net_product(const real *x, int depth, const real *w, const real *bias,
                           int columns, real *restrict out) {
    int j = 0;
    if (NET_PLAIN) {
        net_plain_product(x, depth, w, bias, columns, out);
        return;
    }
    for (; j + NET_BLOCK * V <= columns; j += NET_BLOCK * V)
        net_columns(NET_BLOCK, x, depth, w + j, columns, bias ? bias + j : NULL,
                    out + j);
    w += j;
    out += j;
    bias = bias ? bias + j : NULL;
    switch ((columns - j) / V) {
        NET_CASE(1)
        NET_CASE(2)
        NET_CASE(3)
        NET_CASE(4)
        NET_CASE(5)
        NET_CASE(6)
        NET_CASE(7)
        NET_CASE(8)
        NET_CASE(9)
        NET_CASE(10)
        NET_CASE(11)
        NET_CASE(12)
        NET_CASE(13)
        NET_CASE(14)
        NET_CASE(15)
    }
}

/* |x| of one number, also where V is not 1. */
FC_INLINE real net_magnitude(real x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits &= 0x7fffffffu;
    memcpy(&x, &bits, sizeof bits);
    return x;
}

/* A row of numbers as integers q times the scale that is returned, as the library's
 * kernels/operand.h.  bounded: the row is in [-1, 1] if its state is.  A row with NaN
 * or an infinity has the scale NaN. */
static real net_quantized(const real *x, int n, int bounded, signed char *q) {
    real most = 0, bad = 0;
    for (int k = 0; k < n; k++) {
        real a = net_magnitude(x[k]);
        most = a > most ? a : most;
        bad += a * 0;
    }
    most += bad;
    real scale = (bounded && most <= 1 ? 1 : most) / 127;
    real inverse = scale >= FLT_MIN ? 1 / scale : 0;
    for (int k = 0; k < n; k++) {
        real scaled = x[k] * inverse;
        real integer = scaled + 12582912.0f; /* rounds: 1.5 * 2^23 */
        integer -= 12582912.0f;
        q[k] = (signed char)(integer >= -127 && integer <= 127 ? integer : 0);
    }
    return scale;
}

/* A matrix of 8-bit integers [depth][columns], with a scale for each column. */
typedef struct net_integers {
    const signed char *w;
    const real *scale, *bias; /* bias may be NULL */
} net_integers;

/* V columns of a result, from their sums. */
FC_INLINE void net_integer_result(const net_integers *m, int j, real scale, vint sum,
                                  real *out) {
    vreal y = NET_CONVERTED(sum, vreal) * (vset1(scale) * vload(m->scale + j));
    vstore(out + j, m->bias ? y + vload(m->bias + j) : y);
}

/* Columns first .. first+n*V-1 of `net_integer_product`, their sums in registers.
 * Products and sums of up to 1024 of them are integers below 2^24: exact in floats,
 * which vectors multiply faster. */
FC_INLINE void net_integer_columns(const int n, const signed char *q, real scale,
                                   int depth, const net_integers *m, int first,
                                   int columns, real *out) {
    vint sum[8];
    const signed char *w = m->w + first;
    NET_UNROLL
    for (int i = 0; i < n; i++)
        sum[i] = NET_CONVERTED(vset1(0), vint);
    for (int k = 0; k < depth;) {
        const int end = depth - k < 1024 ? depth : k + 1024;
        vreal part[8];
        NET_UNROLL
        for (int i = 0; i < n; i++)
            part[i] = vset1(0);
        for (; k < end; k++, w += columns) {
            const vreal q_k = vset1(q[k]);
            NET_UNROLL
            for (int i = 0; i < n; i++)
                part[i] = vfma(q_k, vload_bytes(w + i * V), part[i]);
        }
        NET_UNROLL
        for (int i = 0; i < n; i++)
            sum[i] += NET_CONVERTED(part[i], vint);
    }
    NET_UNROLL
    for (int i = 0; i < n; i++)
        net_integer_result(m, first + i * V, scale, sum[i], out);
}

/* `net_integer_product` without vectors, some columns at a time. */
FC_INLINE void net_plain_integer_product(const signed char *q, real scale, int depth,
                                         const net_integers *m, int columns,
                                         real *restrict out) {
    enum { BLOCK = 64 };
    for (int first = 0; first < columns; first += BLOCK) {
        const int n = columns - first < BLOCK ? columns - first : BLOCK;
        const signed char *w = m->w + first;
        const int whole = depth / 4 * 4;
        int32_t sum[BLOCK] = {0};
        for (int k = 0; k < whole; k += 4, w += 4 * columns) {
            const signed char *w_b = w + columns, *w_c = w_b + columns;
            const signed char *w_d = w_c + columns;
            for (int j = 0; j < n; j++)
                sum[j] += q[k] * w[j] + q[k + 1] * w_b[j] + q[k + 2] * w_c[j] +
                          q[k + 3] * w_d[j];
        }
        for (int k = whole; k < depth; k++, w += columns)
            for (int j = 0; j < n; j++)
                sum[j] += q[k] * w[j];
        for (int j = 0; j < n; j++) {
            real y = (real)sum[j] * (scale * m->scale[first + j]);
            out[first + j] = m->bias ? y + m->bias[first + j] : y;
        }
    }
}

/* out[columns] = bias + scale q w.  The sums are exact. */
static void net_integer_product(const signed char *q, real scale, int depth,
                                const net_integers *m, int columns,
                                real *restrict out) {
    int j = 0;
    if (NET_PLAIN) {
        net_plain_integer_product(q, scale, depth, m, columns, out);
        return;
    }
    for (; j + 8 * V <= columns; j += 8 * V)
        net_integer_columns(8, q, scale, depth, m, j, columns, out);
    for (; j + 4 * V <= columns; j += 4 * V)
        net_integer_columns(4, q, scale, depth, m, j, columns, out);
    for (; j + V <= columns; j += V)
        net_integer_columns(1, q, scale, depth, m, j, columns, out);
}

/* Gates side by side for each V units, which cells that read whole rows expect. */
static void net_interleave(const real *from, int gates, int units, real *to) {
    for (int u = 0; u < units; u += V)
        for (int g = 0; g < gates; g++)
            vstore(to + u * gates + g * V, vload(from + g * units + u));
}

/* Zoneout of inference: of the old state, every unit keeps a share. */
static void net_zone(const real *fresh, const real *old, real share, int n, real *to) {
    for (int i = 0; i < n; i++)
        to[i] = fresh[i] + share * (old[i] - fresh[i]);
}

/* A LayerNorm: weight and bias [n]. */
static void net_layer_norm(const real *x, const real *weight, const real *bias,
                           real eps, int n, real *y) {
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++)
        sum += x[i];
    real mean = (real)(sum / n);
    for (int i = 0; i < n; i++) {
        y[i] = x[i] - mean;
        squares += (double)(y[i] * y[i]);
    }
    real scale = (real)net_inverse_root((double)((real)(squares / n) + eps));
    for (int i = 0; i < n; i++) {
        real normalized = y[i] * scale;
        real scaled = normalized * weight[i];
        y[i] = scaled + bias[i];
    }
}

/* n is a multiple of V here and below. */
static void net_tanh(const real *x, int n, real *y) {
    for (int i = 0; i < n; i += V)
        vstore(y + i, vtanh(vload(x + i)));
}

static void net_sigmoid(const real *x, int n, real *y) {
    for (int i = 0; i < n; i += V)
        vstore(y + i, vsigmoid(vload(x + i)));
}

static void net_relu(const real *x, int n, real *y) {
    for (int i = 0; i < n; i += V)
        vstore(y + i, vmax_keep_nan(vload(x + i), vset1(0)));
}

static void net_add(const real *x, const real *h, int n, real *y) {
    for (int i = 0; i < n; i++)
        y[i] = x[i] + h[i];
}

/* y = x + t (h - x), t = sigmoid(a); writes t over a. */
static void net_highway(const real *x, const real *h, real *a, int n, real *y) {
    for (int i = 0; i < n; i += V)
        vstore(a + i, vsigmoid(vload(a + i)));
    for (int i = 0; i < n; i++) {
        real step = a[i] * (h[i] - x[i]);
        y[i] = x[i] + step;
    }
}

/* The row of an id; an id that is none counts as 0. */
FC_INLINE const real *net_row(const real *table, int32_t id, int32_t rows, int width) {
    return table + (ptrdiff_t)(id >= 0 && id < rows ? id : 0) * width;
}

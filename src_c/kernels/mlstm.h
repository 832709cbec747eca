/* mLSTM: an LSTM with a matrix as memory and no recurrent weights (Beck et al. 2024,
 * arXiv:2405.04517).  For one head of one sequence, with q, k of K and v of N numbers:
 *
 *     m_t = max(log f_t + m_{t-1}, i_t),   log f = log sigmoid of the forget gate  (1)
 *     C_t = f' C_{t-1} + i' k_t v_t^T,   n_t = f' n_{t-1} + i' k_t                 (2)
 *           with f' = exp(log f_t + m_{t-1} - m_t),  i' = exp(i_t - m_t)
 *     y_t = s C_t^T q_t / (max(|s n_t . q_t|, exp(-m_t)) + eps)                    (3)
 *
 * A chunk of steps needs C and n only of the step before it.  With b_t the sum of log f
 * from the chunk's second step on, p = log f of its first step + m of the step before:
 *
 *     m_t = b_t + max(p, w_1 ... w_t),   w_j = i_j - b_j                           (4)
 *     P_tj = s (q_t . k_j) exp(b_t - m_t + w_j)  for j <= t                        (5)
 *     y_t = (a_t C^T q_t + sum_j P_tj v_j) / (max(|d_t|, exp(-m_t)) + eps)         (6)
 *           d_t = a_t n . q_t + sum_j P_tj,   a_t = s exp(b_t + p - m_t)
 *     C' = g C + sum_j k'_j v_j^T,   n' = g n + sum_j k'_j                         (7)
 *          k'_j = k_j exp(b_T - m_T + w_j),   g = exp(b_T + p - m_T)
 *
 * (5), (6) and (7) are products of matrices.  The exponents are sums of numbers that
 * may be large and cancel: they are computed in double.  A step whose log f is below
 * MLSTM_LEAST_LOG begins a chunk, so that such a number, which may be infinite, is in
 * no sum b.  P_tj is only multiplied for j <= t: a NaN does not reach earlier steps.
 *
 * The number of threads and of other heads changes no bit: the chunks and the order of
 * every sum depend on the head's own sizes and forget gates. */
#ifndef FC_MLSTM_KERNELS_H
#define FC_MLSTM_KERNELS_H

#include "math/elementary.h"
#include "runtime/kernels.h"

/* Rows and vectors of a tile of accumulators. */
#if FC_REGISTERS == 32
enum { MLSTM_ROWS = 8, MLSTM_WIDTH = 3, MLSTM_STEP_WIDTH = 8 };
#else
enum { MLSTM_ROWS = 6, MLSTM_WIDTH = 2, MLSTM_STEP_WIDTH = 4 };
#endif
/* Steps of a chunk: of long sequences, and at most.  Both are multiples of the rows of
 * a tile and of all V.  (5) and the second sum of (6) cost a multiply-add for each pair
 * of steps and each of K + N, the memory 2 K N for each step; and nothing in the first
 * chunk before there is a memory, nor in the last if nobody wants it.  So a short
 * sequence without a state before it is one chunk. */
enum { MLSTM_USUAL = 48, MLSTM_CHUNK = 96 };
enum { MLSTM_LEAST_LOG = -256 };

/* log sigmoid(x) = min(x, 0) - log(1 + e),  e = exp(-|x|);  log(1 + e) is twice
 *
 *     atanh(s) = s + s^3/3 + s^5/5 + ...,   s = e / (2 + e) <= 1/3
 *
 * The first neglected term, relative to s: 1.4e-9 (float32), 5e-19 (float64). */
enum { MLSTM_LOG_TERMS = FC_REAL_BITS == 32 ? 8 : 18 };

FC_INLINE vreal mlstm_log_sigmoid(vreal x) {
    vreal e = vexp(vnegative_abs(x));
    vreal s = vquotient(e, vset1(2) + e), z = s * s, p = vzero();
#pragma GCC unroll 18
    for (int k = MLSTM_LOG_TERMS - 1; k >= 0; k--)
        p = vfma(p, z, vset1((real)(2.0 / (2 * k + 1))));
    return vmin_keep_nan(x, vzero()) - s * p;
}

/* Matrices with N columns are in panels of at most MLSTM_WIDTH vectors. */
typedef struct mlstm_panel {
    ptrdiff_t first; /* its first vector */
    int width;
} mlstm_panel;

typedef struct mlstm_chunk {
    const fc_mlstm_head *head;
    ptrdiff_t first, steps;
    bool has_memory; /* else C is 0, and `c` not written yet */
    real m;          /* after the last chunk */
    /* Scratch.  Rows of k are padded with zeros to `keys`, rows of tiles. */
    ptrdiff_t keys;
    real *c;  /* panels of C, (keys, width V) each */
    real *n;  /* (keys) */
    real *kt; /* (K, MLSTM_CHUNK): k transposed */
    real *k;  /* (steps, keys): k' of (7) */
    real *p;  /* (steps, MLSTM_CHUNK): P of (5) */
    real *v;  /* panels of v, (steps, width V) each */
    /* Of each step; see (4) to (7). */
    double w[MLSTM_CHUNK], b_m[MLSTM_CHUNK];                       /* b_m: b - m */
    real a[MLSTM_CHUNK], to_end[MLSTM_CHUNK], factor[MLSTM_CHUNK]; /* of y */
    real g, last_m;
} mlstm_chunk;

static ptrdiff_t mlstm_padded(ptrdiff_t n, ptrdiff_t step) {
    return (n + step - 1) / step * step;
}

static ptrdiff_t mlstm_panels(ptrdiff_t vectors) {
    return (vectors + MLSTM_WIDTH - 1) / MLSTM_WIDTH;
}

/* Panels differ by at most one vector. */
static mlstm_panel mlstm_panel_of(ptrdiff_t vectors, ptrdiff_t panel) {
    ptrdiff_t panels = mlstm_panels(vectors), first = vectors * panel / panels;
    return (mlstm_panel){first, (int)(vectors * (panel + 1) / panels - first)};
}

/* Reals of the parts of scratch, each a multiple of 64 bytes. */
static size_t mlstm_scratch(ptrdiff_t keys, ptrdiff_t values) {
    size_t padded_keys = (size_t)mlstm_padded(keys, MLSTM_ROWS);
    size_t padded_values = (size_t)mlstm_padded(values, V);
    size_t reals = padded_keys * padded_values + (size_t)mlstm_padded(keys, 16) +
                   MLSTM_CHUNK * (2 * padded_keys + MLSTM_CHUNK + padded_values);
    return reals * sizeof(real);
}

/* The larger, or NaN if one is. */
FC_INLINE double mlstm_larger(double a, double b) { return a > b || a != a ? a : b; }

FC_INLINE real mlstm_exp(double x) {
    real lane[V];
    vstore(lane, vexp(vset1((real)x)));
    return lane[0];
}

/* 1 / (max(|d|, exp(-m)) + eps); NaN for a NaN. */
FC_INLINE real mlstm_factor(real d, real least, double eps) {
    real size = d < 0 ? -d : d;
    return (real)(1 / ((double)(size < least ? least : size) + eps));
}

/* (4), and the factors that follow from it.  Returns the steps of the chunk: `most`, or
 * fewer if a later one has to begin its own. */
static ptrdiff_t mlstm_gates(mlstm_chunk *chunk, ptrdiff_t most) {
    const fc_mlstm_head *h = chunk->head;
    const real *i = (const real *)h->i + chunk->first * h->i_step;
    const real *f = (const real *)h->f + chunk->first * h->f_step;
    real log_f[MLSTM_CHUNK] = {0}, m[MLSTM_CHUNK] = {0}, e[MLSTM_CHUNK] = {0};
    for (ptrdiff_t t = 0; t < most; t++)
        log_f[t] = f[t * h->f_step];
    for (ptrdiff_t t = 0; t < most; t += V)
        vstore(log_f + t, mlstm_log_sigmoid(vload(log_f + t)));
    ptrdiff_t steps = 1;
    while (steps < most && !(log_f[steps] < MLSTM_LEAST_LOG))
        steps++;

    const double past = (double)log_f[0] + chunk->m;
    double b = 0, largest = past;
    for (ptrdiff_t t = 0; t < steps; t++) {
        b += t ? (double)log_f[t] : 0;
        chunk->w[t] = i[t * h->i_step] - b;
        largest = mlstm_larger(largest, chunk->w[t]);
        m[t] = (real)(b + largest);
        chunk->b_m[t] = b - m[t];
        e[t] = (real)(chunk->b_m[t] + past);
    }
    for (ptrdiff_t t = steps; t < MLSTM_CHUNK; t++)
        chunk->w[t] = 0;
    const double end = chunk->b_m[steps - 1];
    chunk->g = mlstm_exp(end + past);
    chunk->last_m = m[steps - 1];
    for (ptrdiff_t t = 0; t < steps; t += V) {
        vstore(chunk->a + t, vset1((real)h->scale) * vexp(vload(e + t)));
        vstore(chunk->factor + t, vexp(vzero() - vload(m + t))); /* as yet the least */
    }
    for (ptrdiff_t t = 0; t < steps; t++)
        e[t] = (real)(end + chunk->w[t]);
    for (ptrdiff_t t = 0; t < steps; t += V)
        vstore(chunk->to_end + t, vexp(vload(e + t)));
    return steps;
}

/* Transposes 4 x 4 reals; the rows of `to` are MLSTM_CHUNK apart. */
FC_INLINE void mlstm_transpose(const real *const *k, ptrdiff_t d, real *to) {
    typedef real four
        __attribute__((vector_size(4 * sizeof(real)), aligned(sizeof(real))));
    /* By elements: GCC and clang make two-operand shuffles of it. */
    const four a = *(const four *)(k[0] + d), b = *(const four *)(k[1] + d);
    const four c = *(const four *)(k[2] + d), e = *(const four *)(k[3] + d);
    four ab[2] = {{a[0], b[0], a[1], b[1]}, {a[2], b[2], a[3], b[3]}};
    four ce[2] = {{c[0], e[0], c[1], e[1]}, {c[2], e[2], c[3], e[3]}};
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++, to += 2 * MLSTM_CHUNK) {
        four first = {ab[i][0], ab[i][1], ce[i][0], ce[i][1]};
        four second = {ab[i][2], ab[i][3], ce[i][2], ce[i][3]};
        *(four *)to = first;
        *(four *)(to + MLSTM_CHUNK) = second;
    }
}

/* k transposed, and k'. */
static void mlstm_take_keys(const mlstm_chunk *chunk) {
    const fc_mlstm_head *h = chunk->head;
    const ptrdiff_t K = h->keys, last = chunk->steps - 1;
    const real *from = (const real *)h->k + chunk->first * h->k_step;
    for (ptrdiff_t t = 0; t <= last; t += 4) {
        const real *k[4]; /* columns past the last step are not used */
        for (int r = 0; r < 4; r++)
            k[r] = from + (t + r < last ? t + r : last) * h->k_step;
        ptrdiff_t d = 0;
        for (; d + 4 <= K; d += 4)
            mlstm_transpose(k, d, chunk->kt + d * MLSTM_CHUNK + t);
        for (; d < K; d++)
            for (int r = 0; r < 4; r++)
                chunk->kt[d * MLSTM_CHUNK + t + r] = k[r][d];
        for (int r = 0; r < 4 && t + r <= last; r++) {
            real *restrict to = chunk->k + (t + r) * chunk->keys;
            const real factor = chunk->to_end[t + r], *k_r = k[r];
            for (d = 0; d < K; d++)
                to[d] = factor * k_r[d];
            for (; d < chunk->keys; d++)
                to[d] = 0;
        }
    }
}

static void mlstm_take_values(const mlstm_chunk *chunk) {
    const fc_mlstm_head *h = chunk->head;
    const ptrdiff_t vectors = (h->values + V - 1) / V, panels = mlstm_panels(vectors);
    const real *v = (const real *)h->v + chunk->first * h->v_step;
    for (ptrdiff_t t = 0; t < chunk->steps; t++, v += h->v_step)
        for (ptrdiff_t at = 0; at < panels; at++) {
            const mlstm_panel panel = mlstm_panel_of(vectors, at);
            const ptrdiff_t first = panel.first * V;
            real *to = chunk->v + first * chunk->steps + t * panel.width * V;
            for (ptrdiff_t j = 0; j < panel.width * V; j += V)
                vstore(to + j, vload_part(v + first + j, h->values - first - j));
        }
}

/* acc[r][j] += sum over k of a[r][k a_step] b[k b_step][j], for n vectors j. */
FC_INLINE void mlstm_multiply(const int n, ptrdiff_t depth, const real *const *a,
                              const ptrdiff_t a_step, const real *b,
                              const ptrdiff_t b_step, vreal (*acc)[MLSTM_WIDTH]) {
    for (ptrdiff_t k = 0; k < depth; k++, b += b_step) {
        vreal b_k[MLSTM_WIDTH];
#pragma GCC unroll 4
        for (int j = 0; j < n; j++)
            b_k[j] = vload(b + j * V);
#pragma GCC unroll 8
        for (int r = 0; r < MLSTM_ROWS; r++) {
            vreal a_r = vset1(a[r][k * a_step]);
#pragma GCC unroll 4
            for (int j = 0; j < n; j++)
                acc[r][j] = vfma(a_r, b_k[j], acc[r][j]);
        }
    }
}

FC_INLINE void mlstm_clear(vreal (*acc)[MLSTM_WIDTH]) {
#pragma GCC unroll 8
    for (int r = 0; r < MLSTM_ROWS; r++)
#pragma GCC unroll 4
        for (int j = 0; j < MLSTM_WIDTH; j++)
            acc[r][j] = vzero();
}

/* One tile: MLSTM_ROWS rows, from `row` on, and one panel. */
typedef struct mlstm_tile {
    const mlstm_chunk *chunk;
    ptrdiff_t row;
    mlstm_panel panel;
    const real *q[MLSTM_ROWS]; /* of the rows; the last again past the steps */
} mlstm_tile;

typedef void mlstm_tile_fn(const mlstm_tile *tile);

/* q k^T of (5) */
FC_INLINE void mlstm_scores(const int n, const mlstm_tile *tile) {
    const mlstm_chunk *chunk = tile->chunk;
    const ptrdiff_t column = tile->panel.first * V;
    vreal acc[MLSTM_ROWS][MLSTM_WIDTH];
    mlstm_clear(acc);
    mlstm_multiply(n, chunk->head->keys, tile->q, 1, chunk->kt + column, MLSTM_CHUNK,
                   acc);
    real *to = chunk->p + tile->row * MLSTM_CHUNK + column;
#pragma GCC unroll 8
    for (int r = 0; r < MLSTM_ROWS; r++)
#pragma GCC unroll 4
        for (int j = 0; j < n; j++)
            vstore(to + r * MLSTM_CHUNK + j * V, acc[r][j]);
}

/* (6); rows of the tile past the steps are not stored. */
FC_INLINE void mlstm_outputs(const int n, const mlstm_tile *tile) {
    const mlstm_chunk *chunk = tile->chunk;
    const fc_mlstm_head *h = chunk->head;
    const ptrdiff_t row = tile->row, column = tile->panel.first * V,
                    left = chunk->steps - row;
    const int rows = left < MLSTM_ROWS ? (int)left : MLSTM_ROWS;
    vreal acc[MLSTM_ROWS][MLSTM_WIDTH];
    const real *p[MLSTM_ROWS];
    mlstm_clear(acc);
    if (chunk->has_memory)
        mlstm_multiply(n, h->keys, tile->q, 1, chunk->c + column * chunk->keys, n * V,
                       acc);
#pragma GCC unroll 8
    for (int r = 0; r < MLSTM_ROWS; r++) {
        p[r] = chunk->p + (row + (r < rows ? r : rows - 1)) * MLSTM_CHUNK;
        vreal a = vset1(chunk->a[row + (r < rows ? r : rows - 1)]);
#pragma GCC unroll 4
        for (int j = 0; j < n; j++)
            acc[r][j] = a * acc[r][j];
    }
    const real *v = chunk->v + column * chunk->steps;
    mlstm_multiply(n, row, p, 1, v, n * V, acc);
    v += row * n * V;
#pragma GCC unroll 8
    for (int t = 0; t < MLSTM_ROWS; t++, v += n * V) {
        if (t >= rows)
            break;
#pragma GCC unroll 8
        for (int r = t; r < MLSTM_ROWS; r++) {
            vreal p_r = vset1(p[r][row + t]);
#pragma GCC unroll 4
            for (int j = 0; j < n; j++)
                acc[r][j] = vfma(p_r, vload(v + j * V), acc[r][j]);
        }
    }
    real *y = (real *)h->y + (chunk->first + row) * h->values + column;
    const bool whole = column + n * V <= h->values;
#pragma GCC unroll 8
    for (int r = 0; r < MLSTM_ROWS; r++, y += h->values) {
        if (r >= rows)
            break;
        vreal factor = vset1(chunk->factor[row + r]);
#pragma GCC unroll 4
        for (int j = 0; j < n; j++)
            if (whole)
                vstore(y + j * V, factor * acc[r][j]);
            else
                vstore_part(y + j * V, factor * acc[r][j], h->values - column - j * V);
    }
}

/* C' of (7); the rows are those of C. */
FC_INLINE void mlstm_memory(const int n, const mlstm_tile *tile) {
    const mlstm_chunk *chunk = tile->chunk;
    vreal acc[MLSTM_ROWS][MLSTM_WIDTH], g = vset1(chunk->g);
    const real *k[MLSTM_ROWS];
#pragma GCC unroll 8
    for (int r = 0; r < MLSTM_ROWS; r++)
        k[r] = chunk->k + tile->row + r;
    mlstm_clear(acc);
    const ptrdiff_t column = tile->panel.first * V;
    mlstm_multiply(n, chunk->steps, k, chunk->keys, chunk->v + column * chunk->steps,
                   n * V, acc);
    real *c = chunk->c + column * chunk->keys + tile->row * n * V;
#pragma GCC unroll 8
    for (int r = 0; r < MLSTM_ROWS; r++, c += n * V)
#pragma GCC unroll 4
        for (int j = 0; j < n; j++)
            vstore(c + j * V, chunk->has_memory ? vfma(g, vload(c + j * V), acc[r][j])
                                                : acc[r][j]);
}

#define FC_DEFINE_MLSTM(n)                                                             \
    static void mlstm_scores_##n(const mlstm_tile *tile) { mlstm_scores(n, tile); }    \
    static void mlstm_outputs_##n(const mlstm_tile *tile) { mlstm_outputs(n, tile); }  \
    static void mlstm_memory_##n(const mlstm_tile *tile) { mlstm_memory(n, tile); }
FC_DEFINE_MLSTM(1)
FC_DEFINE_MLSTM(2)
#if FC_REGISTERS == 32
FC_DEFINE_MLSTM(3)
#define FC_MLSTM_OF_WIDTH(name)                                                        \
    static mlstm_tile_fn *const name##_of_width[] = {NULL, name##_1, name##_2, name##_3}
#else
#define FC_MLSTM_OF_WIDTH(name)                                                        \
    static mlstm_tile_fn *const name##_of_width[] = {NULL, name##_1, name##_2}
#endif
FC_MLSTM_OF_WIDTH(mlstm_scores);
FC_MLSTM_OF_WIDTH(mlstm_outputs);
FC_MLSTM_OF_WIDTH(mlstm_memory);

static void mlstm_tile_rows(mlstm_tile *tile, ptrdiff_t row) {
    const mlstm_chunk *chunk = tile->chunk;
    const fc_mlstm_head *h = chunk->head;
    tile->row = row;
    for (int r = 0; r < MLSTM_ROWS; r++) {
        ptrdiff_t t = row + r < chunk->steps ? row + r : chunk->steps - 1;
        tile->q[r] = (const real *)h->q + (chunk->first + t) * h->q_step;
    }
}

/* P of row t from its products: zeros up to the end of the vector of step t. */
static void mlstm_decay(const mlstm_chunk *chunk, ptrdiff_t t) {
    real e[MLSTM_CHUNK], *p = chunk->p + t * MLSTM_CHUNK;
    const ptrdiff_t end = (t / V + 1) * V;
    const double b_m = chunk->b_m[t];
    const vreal scale = vset1((real)chunk->head->scale);
    for (ptrdiff_t j = 0; j < end; j++)
        e[j] = (real)(b_m + chunk->w[j]);
    for (ptrdiff_t j = 0; j < end; j += V)
        vstore(p + j, vload(p + j) * scale * vexp(vload(e + j)));
    for (ptrdiff_t j = t + 1; j < end; j++)
        p[j] = 0;
}

/* The factors of y of (6), for the rows of a tile. */
static void mlstm_factors(mlstm_chunk *chunk, const mlstm_tile *tile) {
    const fc_mlstm_head *h = chunk->head;
    const real *n = chunk->n;
    real lane[MLSTM_ROWS][V], d[MLSTM_ROWS] = {0};
    const ptrdiff_t left = chunk->steps - tile->row;
    const int rows = left < MLSTM_ROWS ? (int)left : MLSTM_ROWS;
    for (int r = 0; r < rows; r++) {
        const ptrdiff_t t = tile->row + r;
        const real *p = chunk->p + t * MLSTM_CHUNK;
        vreal sum = vzero();
        for (ptrdiff_t i = 0; i < h->keys; i += V)
            sum = vfma(vload_part(tile->q[r] + i, h->keys - i),
                       vload_part(n + i, h->keys - i), sum);
        sum = vset1(chunk->a[t]) * sum;
        for (ptrdiff_t j = 0; j <= t; j += V)
            sum = sum + vload(p + j);
        vstore(lane[r], sum);
    }
    for (int i = 0; i < V; i++) /* rows in turn: a sum alone waits for its last */
        for (int r = 0; r < rows; r++)
            d[r] += lane[r][i];
    for (int r = 0; r < rows; r++) {
        real *factor = chunk->factor + tile->row + r;
        *factor = mlstm_factor(d[r], *factor, h->eps);
    }
}

/* `ends`: nobody wants the memory after it. */
static void mlstm_run_chunk(mlstm_chunk *chunk, bool ends) {
    const fc_mlstm_head *h = chunk->head;
    mlstm_tile tile = {.chunk = chunk};
    mlstm_take_keys(chunk);
    mlstm_take_values(chunk);
    const ptrdiff_t of_steps = (chunk->steps + V - 1) / V;
    for (ptrdiff_t row = 0; row < chunk->steps; row += MLSTM_ROWS) {
        mlstm_tile_rows(&tile, row);
        for (ptrdiff_t at = 0; at < mlstm_panels(of_steps); at++) {
            tile.panel = mlstm_panel_of(of_steps, at);
            if (tile.panel.first * V < row + MLSTM_ROWS)
                mlstm_scores_of_width[tile.panel.width](&tile);
        }
        for (ptrdiff_t t = row; t < row + MLSTM_ROWS && t < chunk->steps; t++)
            mlstm_decay(chunk, t);
        mlstm_factors(chunk, &tile);
    }
    const ptrdiff_t vectors = (h->values + V - 1) / V;
    for (ptrdiff_t at = 0; at < mlstm_panels(vectors); at++) {
        tile.panel = mlstm_panel_of(vectors, at);
        for (ptrdiff_t row = 0; row < chunk->steps; row += MLSTM_ROWS) {
            mlstm_tile_rows(&tile, row);
            mlstm_outputs_of_width[tile.panel.width](&tile);
        }
        for (tile.row = 0; !ends && tile.row < chunk->keys; tile.row += MLSTM_ROWS)
            mlstm_memory_of_width[tile.panel.width](&tile);
    }
    real *n = chunk->n;
    for (ptrdiff_t d = 0; d < h->keys; d++)
        n[d] *= chunk->g;
    for (ptrdiff_t t = 0; t < chunk->steps; t++)
        for (ptrdiff_t d = 0; d < h->keys; d++)
            n[d] += chunk->k[t * chunk->keys + d];
    chunk->m = chunk->last_m;
    chunk->has_memory = true;
}

/* Copies the memory between its rows (K, N) and the panels. */
static void mlstm_copy_memory(const mlstm_chunk *chunk, const real *from, real *to) {
    const fc_mlstm_head *h = chunk->head;
    const ptrdiff_t vectors = (h->values + V - 1) / V;
    for (ptrdiff_t at = 0; at < mlstm_panels(vectors); at++) {
        const mlstm_panel panel = mlstm_panel_of(vectors, at);
        real *c = chunk->c + panel.first * V * chunk->keys;
        for (ptrdiff_t d = 0; d < chunk->keys; d++)
            for (ptrdiff_t j = 0; j < panel.width; j++, c += V) {
                const ptrdiff_t column = (panel.first + j) * V;
                const ptrdiff_t there = h->values - column;
                if (to && d < h->keys)
                    vstore_part(to + d * h->values + column, vload(c), there);
                else if (from)
                    vstore(c, d < h->keys
                                  ? vload_part(from + d * h->values + column, there)
                                  : vzero());
            }
    }
}

static void mlstm_sequence(const fc_mlstm_head *h, void *scratch) {
    mlstm_chunk chunk = {.head = h, .keys = mlstm_padded(h->keys, MLSTM_ROWS)};
    chunk.c = scratch;
    chunk.n = chunk.c + chunk.keys * mlstm_padded(h->values, V);
    chunk.kt = chunk.n + mlstm_padded(h->keys, 16);
    chunk.k = chunk.kt + chunk.keys * MLSTM_CHUNK;
    chunk.p = chunk.k + chunk.keys * MLSTM_CHUNK;
    chunk.v = chunk.p + MLSTM_CHUNK * MLSTM_CHUNK;
    const size_t n_bytes = (size_t)h->keys * sizeof(real);
    if (h->first_c) {
        mlstm_copy_memory(&chunk, h->first_c, NULL);
        memcpy(chunk.n, h->first_n, n_bytes);
        chunk.m = *(const real *)h->first_m;
        chunk.has_memory = true;
    } else {
        memset(chunk.n, 0, n_bytes);
    }
    ptrdiff_t most = h->steps;
    if (h->first_c || most > MLSTM_CHUNK) {
        const ptrdiff_t chunks = (most + MLSTM_USUAL - 1) / MLSTM_USUAL;
        most = mlstm_padded((most + chunks - 1) / chunks, MLSTM_ROWS);
    }
    while (chunk.first < h->steps) {
        const ptrdiff_t left = h->steps - chunk.first;
        chunk.steps = mlstm_gates(&chunk, left < most ? left : most);
        if (fc_stops(h->watch, 4 * chunk.steps * h->keys * h->values))
            return;
        mlstm_run_chunk(&chunk, !h->c && chunk.steps == left);
        chunk.first += chunk.steps;
    }
    if (!h->c)
        return;
    mlstm_copy_memory(&chunk, NULL, h->c);
    memcpy(h->n, chunk.n, n_bytes);
    *(real *)h->m = chunk.m;
}

/* (2) and (3) for `n` vectors of columns. */
FC_INLINE void mlstm_step_columns(const int n, const fc_mlstm_head *h, ptrdiff_t column,
                                  real keep, real add, real factor) {
    const real *q = h->q, *k = h->k, *v = (const real *)h->v + column;
    const real *from = (const real *)h->first_c + column;
    real *to = (real *)h->c + column, *y = (real *)h->y + column;
    const ptrdiff_t there = n == 1 ? h->values - column : V;
    vreal v_j[MLSTM_STEP_WIDTH], sum[MLSTM_STEP_WIDTH];
#pragma GCC unroll 8
    for (int j = 0; j < n; j++) {
        v_j[j] = vload_part(v + j * V, there);
        sum[j] = vzero();
    }
    for (ptrdiff_t d = 0; d < h->keys; d++, from += h->values, to += h->values) {
        vreal f = vset1(keep), k_d = vset1(add * k[d]), q_d = vset1(q[d]);
#pragma GCC unroll 8
        for (int j = 0; j < n; j++) {
            vreal c = vfma(k_d, v_j[j], f * vload_part(from + j * V, there));
            vstore_part(to + j * V, c, there);
            sum[j] = vfma(q_d, c, sum[j]);
        }
    }
#pragma GCC unroll 8
    for (int j = 0; j < n; j++)
        vstore_part(y + j * V, vset1(factor) * sum[j], there);
}

/* One step, with a state before it. */
static void mlstm_step(const fc_mlstm_head *h) {
    const real *q = h->q, *k = h->k, *first_n = h->first_n, i = *(const real *)h->i;
    real lane[V], *n = h->n;
    vstore(lane, mlstm_log_sigmoid(vset1(*(const real *)h->f)));
    const double past = (double)lane[0] + *(const real *)h->first_m;
    const real m = (real)mlstm_larger(past, i);
    const real keep = mlstm_exp(past - m), add = mlstm_exp((double)i - m);
    vreal d = vzero();
    for (ptrdiff_t at = 0; at < h->keys; at += V) {
        const ptrdiff_t there = h->keys - at;
        vreal n_d = vfma(vset1(add), vload_part(k + at, there),
                         vset1(keep) * vload_part(first_n + at, there));
        vstore_part(n + at, n_d, there);
        d = vfma(vload_part(q + at, there), n_d, d);
    }
    const real scale = (real)h->scale;
    const real factor = scale * mlstm_factor(scale * vsum(d), mlstm_exp(-m), h->eps);
    ptrdiff_t column = 0;
    for (; column + MLSTM_STEP_WIDTH * V <= h->values; column += MLSTM_STEP_WIDTH * V)
        mlstm_step_columns(MLSTM_STEP_WIDTH, h, column, keep, add, factor);
    for (; column < h->values; column += V)
        mlstm_step_columns(1, h, column, keep, add, factor);
    *(real *)h->m = m;
}

#endif

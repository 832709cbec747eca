/* Pooling over time, its gradients, and addition of rows to those of a table.  All are
 * memory-bound, so they have one thread. */
#include <string.h>

#include "runtime/dispatch.h"

typedef struct shape {
    const fc_kernels *k;
    ptrdiff_t steps, rows, n;
    const int64_t *lengths;
} shape;

static fc_status check(shape *s, fc_dtype dtype, ptrdiff_t steps, ptrdiff_t rows,
                       ptrdiff_t n, const int64_t *lengths) {
    ptrdiff_t reals;
    if ((dtype != FC_F32 && dtype != FC_F64) || steps < 0 || rows < 0 || n < 0)
        return FC_BAD_ARGUMENT;
    if (steps > INT32_MAX || __builtin_mul_overflow(steps, rows, &reals) ||
        __builtin_mul_overflow(reals, n, &reals) || reals > PTRDIFF_MAX / 16 ||
        __builtin_mul_overflow(rows, n, &reals) || reals > PTRDIFF_MAX / 16)
        return FC_TOO_LARGE;
    for (ptrdiff_t row = 0; lengths && row < rows; row++)
        if (lengths[row] < 0 || lengths[row] > steps)
            return FC_BAD_LENGTH;
    *s = (shape){fc_kernels_of(dtype), steps, rows, n, lengths};
    return FC_OK;
}

static ptrdiff_t steps_of(const shape *s, ptrdiff_t row) {
    return s->lengths ? (ptrdiff_t)s->lengths[row] : s->steps;
}

static size_t row_bytes(const shape *s) { return (size_t)s->n * s->k->real_size; }

fc_status fc_sum_steps(fc_dtype dtype, ptrdiff_t steps, ptrdiff_t rows, ptrdiff_t n,
                       const int64_t *lengths, const void *h, void *y) {
    shape s;
    fc_status status = check(&s, dtype, steps, rows, n, lengths);
    if (!status && rows && n && (!y || (steps && !h)))
        status = FC_BAD_ARGUMENT;
    if (status || !rows || !n)
        return status;
    memset(y, 0, (size_t)rows * row_bytes(&s));
    const char *ht = h;
    for (ptrdiff_t t = 0; t < steps; t++)
        for (ptrdiff_t row = 0; row < rows; row++, ht += row_bytes(&s))
            if (t < steps_of(&s, row))
                s.k->add((char *)y + (size_t)row * row_bytes(&s), ht, n);
    return FC_OK;
}

fc_status fc_max_steps(fc_dtype dtype, ptrdiff_t steps, ptrdiff_t rows, ptrdiff_t n,
                       const int64_t *lengths, const void *h, void *y, int32_t *where) {
    shape s;
    fc_status status = check(&s, dtype, steps, rows, n, lengths);
    if (!status && rows && n && (!y || !where || (steps && !h)))
        status = FC_BAD_ARGUMENT;
    if (status || !rows || !n)
        return status;
    memset(y, 0, (size_t)rows * row_bytes(&s));
    memset(where, 0, (size_t)(rows * n) * sizeof *where);
    const char *ht = h;
    for (ptrdiff_t t = 0; t < steps; t++)
        for (ptrdiff_t row = 0; row < rows; row++, ht += row_bytes(&s)) {
            char *yr = (char *)y + (size_t)row * row_bytes(&s);
            if (t >= steps_of(&s, row))
                continue;
            if (t == 0)
                memcpy(yr, ht, row_bytes(&s));
            else
                s.k->maximum(yr, where + row * n, ht, (int32_t)t, n);
        }
    return FC_OK;
}

fc_status fc_spread_steps(fc_dtype dtype, ptrdiff_t steps, ptrdiff_t rows, ptrdiff_t n,
                          const int64_t *lengths, const int32_t *where, const void *dy,
                          void *dh) {
    shape s;
    fc_status status = check(&s, dtype, steps, rows, n, lengths);
    if (!status && rows && n && steps && (!dy || !dh))
        status = FC_BAD_ARGUMENT;
    if (status || !rows || !n || !steps)
        return status;
    for (ptrdiff_t i = 0; where && i < rows * n; i++)
        if (where[i] < 0 || where[i] >= steps)
            return FC_BAD_INDEX;
    char *to = dh;
    for (ptrdiff_t t = 0; t < steps; t++)
        for (ptrdiff_t row = 0; row < rows; row++, to += row_bytes(&s))
            if (!where && t < steps_of(&s, row))
                memcpy(to, (const char *)dy + (size_t)row * row_bytes(&s),
                       row_bytes(&s));
            else
                memset(to, 0, row_bytes(&s));
    for (ptrdiff_t row = 0; where && row < rows; row++) {
        if (steps_of(&s, row) == 0)
            continue;
        for (ptrdiff_t i = row * n; i < (row + 1) * n; i++) {
            size_t at = (size_t)(where[i] * rows * n + i) * s.k->real_size;
            memcpy((char *)dh + at, (const char *)dy + (size_t)i * s.k->real_size,
                   s.k->real_size);
        }
    }
    return FC_OK;
}

fc_status fc_add_rows(fc_dtype dtype, ptrdiff_t rows, ptrdiff_t n, const int64_t *ids,
                      const void *x, ptrdiff_t count, void *table) {
    shape s;
    fc_status status = check(&s, dtype, 1, rows, n, NULL);
    if (!status && (count < 0 || (rows && (!ids || (n && (!x || !table))))))
        status = FC_BAD_ARGUMENT;
    if (status)
        return status;
    for (ptrdiff_t row = 0; row < rows; row++)
        if (ids[row] < 0 || ids[row] >= count)
            return FC_BAD_INDEX;
    for (ptrdiff_t row = 0; row < rows; row++)
        s.k->add((char *)table + (size_t)ids[row] * row_bytes(&s),
                 (const char *)x + (size_t)row * row_bytes(&s), n);
    return FC_OK;
}

/* Steps of optimizers, and clipping: all arrays of a model are processed as one,
 * divided into parts of equal size for the threads. */
#include "runtime/dispatch.h"
#include "runtime/pool.h"

enum {
    LEAST_OF_A_PART = 1 << 15, /* elements; for fewer no thread is woken */
    MOST_SUMS = 64,
    LINE = 16, /* elements: parts begin at multiples of it, in every array */
    KEPT = sizeof(((fc_parameter *)0)->kept) / sizeof(void *)
};

static ptrdiff_t lines_of(ptrdiff_t n) { return (n + LINE - 1) / LINE; }

typedef struct walk {
    const fc_kernels *k;
    const fc_parameter *arrays;
    ptrdiff_t lines, numbers; /* lines and elements of all arrays together */
    int update;
    const void *rule;
    int blocks; /* for sums */
    double *sum;
} walk;

static void *past(void *array, size_t bytes) {
    return array ? (char *)array + bytes : NULL;
}

/* The elements first .. last-1 of an array. */
static fc_parameter cut(const fc_parameter *a, ptrdiff_t first, ptrdiff_t last,
                        size_t real_size) {
    size_t bytes = (size_t)first * real_size;
    fc_parameter part = {.n = last - first,
                         .p = past(a->p, bytes),
                         .g = a->g ? (const char *)a->g + bytes : NULL};
    for (int i = 0; i < KEPT; i++)
        part.kept[i] = past(a->kept[i], bytes);
    return part;
}

/* Updates the lines from `begin` to `end`; returns their sum of squares, or 0. */
static double walk_lines(const walk *w, ptrdiff_t begin, ptrdiff_t end) {
    double sum = 0;
    const fc_parameter *a = w->arrays;
    for (ptrdiff_t line = 0; line < end; a++) {
        ptrdiff_t first = begin > line ? (begin - line) * LINE : 0;
        ptrdiff_t last = (end - line) * LINE < a->n ? (end - line) * LINE : a->n;
        line += lines_of(a->n);
        if (first >= last)
            continue;
        fc_parameter part = cut(a, first, last, w->k->real_size);
        if (w->sum)
            sum += w->k->sum_of_squares(part.p, part.n);
        else
            w->k->update[w->update](w->rule, &part);
    }
    return sum;
}

static void run_update(void *context, int part, int parts) {
    const walk *w = context;
    walk_lines(w, w->lines * part / parts, w->lines * (part + 1) / parts);
}

static void run_sums(void *context, int part, int parts) {
    const walk *w = context;
    int end = w->blocks * (part + 1) / parts;
    for (int b = w->blocks * part / parts; b < end; b++)
        w->sum[b] =
            walk_lines(w, w->lines * b / w->blocks, w->lines * (b + 1) / w->blocks);
}

static int at_most(int most, ptrdiff_t numbers) {
    return fc_useful_parts((double)numbers / LEAST_OF_A_PART, most);
}

/* Checks `count` arrays.  Pointers in `needed` must not be NULL: bit 0 is g, bit i + 1
 * is kept[i]. */
static fc_status begin(walk *w, fc_dtype dtype, ptrdiff_t count,
                       const fc_parameter *arrays, unsigned needed, int threads) {
    if ((dtype != FC_F32 && dtype != FC_F64) || count < 0 || (count && !arrays) ||
        threads < 1)
        return FC_BAD_ARGUMENT;
    *w = (walk){.k = fc_kernels_of(dtype), .arrays = arrays};
    for (ptrdiff_t i = 0; i < count; i++) {
        const fc_parameter *a = &arrays[i];
        if (a->n < 0 || (a->n && !a->p) || (a->n && (needed & 1) && !a->g))
            return FC_BAD_ARGUMENT;
        for (int j = 0; j < KEPT; j++)
            if (a->n && (needed >> (j + 1) & 1) && !a->kept[j])
                return FC_BAD_ARGUMENT;
        w->lines += lines_of(a->n);
        w->numbers += a->n;
    }
    return FC_OK;
}

static fc_status run(int update, fc_dtype dtype, const void *rule, ptrdiff_t count,
                     const fc_parameter *arrays, unsigned needed, int threads) {
    walk w;
    fc_status status = begin(&w, dtype, count, arrays, needed, threads);
    if (status != FC_OK || !rule)
        return FC_BAD_ARGUMENT;
    w.update = update;
    w.rule = rule;
    if (w.numbers)
        fc_run_brief_parts(run_update, &w, at_most(threads, w.numbers));
    return FC_OK;
}

enum { P = 0, G = 1, FIRST = 2, SECOND = 4 }; /* bits of `needed` */

fc_status fc_sgd(fc_dtype dtype, const fc_sgd_rule *rule, ptrdiff_t count,
                 const fc_parameter *parameters, int threads) {
    return run(FC_SGD, dtype, rule, count, parameters, G, threads);
}

fc_status fc_rmsprop(fc_dtype dtype, const fc_rmsprop_rule *rule, ptrdiff_t count,
                     const fc_parameter *parameters, int threads) {
    return run(FC_RMSPROP, dtype, rule, count, parameters, G | FIRST, threads);
}

fc_status fc_adagrad(fc_dtype dtype, const fc_adagrad_rule *rule, ptrdiff_t count,
                     const fc_parameter *parameters, int threads) {
    return run(FC_ADAGRAD, dtype, rule, count, parameters, G | FIRST, threads);
}

fc_status fc_adam(fc_dtype dtype, const fc_adam_rule *rule, ptrdiff_t count,
                  const fc_parameter *parameters, int threads) {
    return run(FC_ADAM, dtype, rule, count, parameters, G | FIRST | SECOND, threads);
}

fc_status fc_scale(fc_dtype dtype, double factor, ptrdiff_t count,
                   const fc_parameter *arrays, int threads) {
    return run(FC_SCALE, dtype, &factor, count, arrays, P, threads);
}

fc_status fc_clip(fc_dtype dtype, double limit, ptrdiff_t count,
                  const fc_parameter *arrays, int threads) {
    return run(FC_CLIP, dtype, &limit, count, arrays, P, threads);
}

/* By blocks, whose number depends on the arrays' sizes only, and so does the order of
 * the sum. */
fc_status fc_sum_of_squares(fc_dtype dtype, ptrdiff_t count, const fc_parameter *arrays,
                            double *sum, int threads) {
    double sums[MOST_SUMS];
    walk w;
    if (begin(&w, dtype, count, arrays, P, threads) != FC_OK || !sum)
        return FC_BAD_ARGUMENT;
    w.blocks = at_most(MOST_SUMS, w.numbers);
    w.sum = sums;
    fc_run_brief_parts(run_sums, &w, threads < w.blocks ? threads : w.blocks);
    *sum = 0;
    for (int b = 0; b < w.blocks; b++)
        *sum += sums[b];
    return FC_OK;
}

/* Optimizer steps, on the kernels of the set in use. */
#include "dispatch.h"
#include "pool.h"

enum { LEAST_OF_A_PART = 1 << 15, LINE = 16 }; /* reals */

static int is_bad(fc_dtype dtype, ptrdiff_t n) {
    return (dtype != FC_F32 && dtype != FC_F64) || n < 0;
}

static ptrdiff_t lines_of(ptrdiff_t n) { return (n + LINE - 1) / LINE; }

typedef struct adam_job {
    const fc_kernels *k;
    const fc_adam_rule *rule;
    const fc_adam_parameter *parameters;
    ptrdiff_t lines; /* of all parameters, one behind the other */
} adam_job;

static void run_adam(void *context, int part, int parts) {
    const adam_job *job = context;
    ptrdiff_t begin = job->lines * part / parts, end = job->lines * (part + 1) / parts;
    const fc_adam_parameter *a = job->parameters;
    fc_adam_rule rule = *job->rule;
    for (ptrdiff_t line = 0; line < end; a++) {
        ptrdiff_t first = begin > line ? (begin - line) * LINE : 0;
        ptrdiff_t last = (end - line) * LINE < a->n ? (end - line) * LINE : a->n;
        line += lines_of(a->n);
        if (first >= last)
            continue;
        size_t skip = (size_t)first * job->k->real_size;
        rule.v_max = a->v_max ? (char *)a->v_max + skip : NULL;
        job->k->adam(&rule, (char *)a->p + skip, (const char *)a->g + skip,
                     (char *)a->m + skip, (char *)a->v + skip, last - first);
    }
}

fc_status fc_adam_all(fc_dtype dtype, const fc_adam_rule *rule, ptrdiff_t count,
                      const fc_adam_parameter *parameters, int threads) {
    if (is_bad(dtype, count) || !rule || threads < 1 || (count && !parameters))
        return FC_BAD_ARGUMENT;
    adam_job job = {fc_kernels_of(dtype), rule, parameters, 0};
    ptrdiff_t total = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        const fc_adam_parameter *a = &parameters[i];
        if (a->n < 0 || (a->n && (!a->p || !a->g || !a->m || !a->v)))
            return FC_BAD_ARGUMENT;
        job.lines += lines_of(a->n);
        total += a->n;
    }
    ptrdiff_t most = total / LEAST_OF_A_PART;
    if (total)
        fc_run_brief_parts(run_adam, &job,
                           most < 2         ? 1
                           : most < threads ? (int)most
                                            : threads);
    return FC_OK;
}

fc_status fc_adam(fc_dtype dtype, const fc_adam_rule *rule, ptrdiff_t n, void *p,
                  const void *g, void *m, void *v, int threads) {
    if (!rule)
        return FC_BAD_ARGUMENT;
    fc_adam_parameter parameter = {n, p, g, m, v, rule->v_max};
    return fc_adam_all(dtype, rule, 1, &parameter, threads);
}

fc_status fc_scale(fc_dtype dtype, ptrdiff_t n, double factor, void *x) {
    if (is_bad(dtype, n) || (n && !x))
        return FC_BAD_ARGUMENT;
    fc_kernels_of(dtype)->scale(x, factor, n);
    return FC_OK;
}

fc_status fc_sum_of_squares(fc_dtype dtype, ptrdiff_t n, const void *x, double *sum) {
    if (is_bad(dtype, n) || !sum || (n && !x))
        return FC_BAD_ARGUMENT;
    *sum = fc_kernels_of(dtype)->sum_of_squares(x, n);
    return FC_OK;
}

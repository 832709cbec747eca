/* Optimizer steps, on the kernels of the set in use. */
#include "dispatch.h"
#include "pool.h"

enum { LEAST_OF_A_PART = 1 << 15, LINE = 16 }; /* reals */

static int is_bad(fc_dtype dtype, ptrdiff_t n) {
    return (dtype != FC_F32 && dtype != FC_F64) || n < 0;
}

typedef struct adam_job {
    const fc_kernels *k;
    const fc_adam_rule *rule;
    ptrdiff_t n;
    char *p, *m, *v;
    const char *g;
} adam_job;

static void run_adam(void *context, int part, int parts) {
    const adam_job *job = context;
    ptrdiff_t lines = (job->n + LINE - 1) / LINE;
    ptrdiff_t first = lines * part / parts * LINE,
              last = lines * (part + 1) / parts * LINE;
    last = last < job->n ? last : job->n;
    size_t skip = (size_t)first * job->k->real_size;
    fc_adam_rule rule = *job->rule;
    if (rule.v_max)
        rule.v_max = (char *)rule.v_max + skip;
    job->k->adam(&rule, job->p + skip, job->g + skip, job->m + skip, job->v + skip,
                 last - first);
}

fc_status fc_adam(fc_dtype dtype, const fc_adam_rule *rule, ptrdiff_t n, void *p,
                  const void *g, void *m, void *v, int threads) {
    if (is_bad(dtype, n) || !rule || threads < 1 || (n && (!p || !g || !m || !v)))
        return FC_BAD_ARGUMENT;
    adam_job job = {fc_kernels_of(dtype), rule, n, p, m, v, g};
    ptrdiff_t most = n / LEAST_OF_A_PART;
    if (n)
        fc_run_parts(run_adam, &job,
                     fc_parts_of_brief_work(most < 2         ? 1
                                            : most < threads ? (int)most
                                                             : threads));
    return FC_OK;
}

fc_status fc_sum_of_squares(fc_dtype dtype, ptrdiff_t n, const void *x, double *sum) {
    if (is_bad(dtype, n) || !sum || (n && !x))
        return FC_BAD_ARGUMENT;
    *sum = fc_kernels_of(dtype)->sum_of_squares(x, n);
    return FC_OK;
}
